"""Why random search finds more than a grid of as many trials."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tinygrad_cv.backend import as_generator, host
from tinygrad_cv.viz.plots import (
    BLUE,
    VERMILION,
    OptionalPath,
    array_of,
    blank_figure,
    plain,
    saved,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREEN, OCHRE = "#009E73", "#E69F00"


def _hills(x: Any) -> Any:
    """What the important parameter does: a broad hill and a narrow, higher one."""
    return 0.45 * host.exp(-(((x - 0.25) / 0.16) ** 2)) + host.exp(-(((x - 0.71) / 0.07) ** 2))


def _flat(y: Any) -> Any:
    """What the unimportant parameter does: little."""
    return 0.06 * host.sin(4.0 * y + 0.6)


def grid_against_random(
    important: Callable[[Any], Any] = _hills,
    unimportant: Callable[[Any], Any] = _flat,
    path: OptionalPath = None,
    *,
    side: int = 3,
    generator: Any = None,
) -> "Figure":
    """As many trials in a grid and at random: what each tries of the parameter that matters.

    The score is important(x) + unimportant(y), functions of arrays of numbers from 0 to 1. The left
    panels try side² points in a grid, the right ones as many at random (uniform, by `generator`,
    or the default one). Above stands important(x) and at the right unimportant(y), with what was
    tried: a grid tries `side` different values of x, random search side². The titles tell the
    best score of each.

    Raises ValueError for a side below 1.

    Source: the decks of the course on hyperparameters, after J. Bergstra and Y. Bengio, "Random
    search for hyper-parameter optimization", 2012.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import viz
    >>> figure = viz.grid_against_random(path="grid.svg", generator=tg.manual_seed(0))
    >>> print(figure.axes[0].get_title())
    grid: 3 different values
    best score 0.40
    >>> print(figure.axes[3].get_title())
    random: 9 different values
    best score 0.98
    """
    if side < 1:
        raise ValueError(f"side is how many trials stand in a row of the grid; got {side}.")
    ticks = (host.arange(side) + 0.5) / side
    layouts = {
        "grid": host.stack(host.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2),
        "random": as_generator(generator).random((side * side, 2)),
    }
    line = host.linspace(0, 1, 201)
    figure = blank_figure(10.5, 5.4)
    halves = figure.add_gridspec(1, 2, wspace=0.08)
    for half, (name, trials) in enumerate(layouts.items()):
        places = halves[half].subgridspec(2, 2, width_ratios=[4, 1], height_ratios=[1, 3])
        above, main, beside = (figure.add_subplot(places[at]) for at in ((0, 0), (1, 0), (1, 1)))
        x, y = trials.T
        gain, extra = _values(important, x), _values(unimportant, y)
        above.fill_between(line, _values(important, line), color=GREEN, alpha=0.3, lw=0)
        above.plot(line, _values(important, line), color=GREEN)
        above.plot(x, gain, "o", color=BLUE, ms=6, clip_on=False)
        heights = _values(unimportant, line)
        beside.plot(heights, line, color=OCHRE)
        beside.plot(extra, y, "o", color=BLUE, ms=6)
        spread = _values(important, line)
        room = float(spread.max() - spread.min()) or 1.0
        beside.set_xlim(heights.min() - 0.1 * room, heights.min() + 0.5 * room)
        main.vlines(x, 0, 1, color=GREEN, lw=0.8, alpha=0.6)
        main.hlines(y, 0, 1, color=OCHRE, lw=0.8, alpha=0.6)
        main.plot(x, y, "o", color=BLUE, ms=8)
        best = int((gain + extra).argmax())
        main.plot(x[best], y[best], "o", ms=16, mfc="none", mec=VERMILION, mew=2.2)
        for axes in (above, main, beside):
            axes.set(xticks=[], yticks=[])
            plain(axes)
        for axes, limits in ((above, "x"), (main, "xy"), (beside, "y")):
            axes.set(**{f"{axis}lim": (0, 1) for axis in limits})
        main.set(xlabel="important parameter", ylabel="unimportant parameter")
        count = len(set(x.tolist()))
        above.set_title(
            f"{name}: {count} different value{'' if count == 1 else 's'}\n"
            f"best score {gain[best] + extra[best]:.2f}"
        )
    return saved(figure, path)


def _values(function: Callable[[Any], Any], places: Any) -> Any:
    """A function at places of an array."""
    found = array_of(function(places), "what the function gives")
    values = host.broadcast_to(found, places.shape).astype("float64")
    if not host.isfinite(values).all():
        raise ValueError("the functions give finite numbers from 0 to 1; got NaN or infinity.")
    return values
