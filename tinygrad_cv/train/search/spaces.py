"""What a search may choose from: ranges on a scale, lists of numbers, options."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from tinygrad_cv.backend import host

BORDER = 0.05
"""The share of a range, on its scale, that counts as its border at either end."""

Side = Literal["", "smaller", "greater"]


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, even on their scale; see `uniform` and `log_uniform`."""

    low: float
    high: float
    integer: bool = False
    log: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, as_python(getattr(self, name)))
        for end in (self.low, self.high):
            if not is_number(end):
                raise TypeError(f"{self}: the ends of a range are finite numbers; got {end!r}.")
        if not (self.low < self.high and math.isfinite(self.high - self.low)):
            raise ValueError(f"{self}: a range goes from a smaller number to a greater one.")
        if self.log and self.low <= 0:
            raise ValueError(
                f"{self}: a logarithm needs numbers above 0. Begin above it, or use uniform."
            )
        if self.integer:
            if self.low % 1 or self.high % 1:
                raise ValueError(f"{self}: whole numbers lie between whole numbers.")
            object.__setattr__(self, "low", int(self.low))
            object.__setattr__(self, "high", int(self.high))

    def __repr__(self) -> str:
        whole = ", integer=True" if self.integer else ""
        return f"{'log_' if self.log else ''}uniform({self.low!r}, {self.high!r}{whole})"

    def scale(self, value: float) -> float:
        """Where a value stands on the scale."""
        if not self.log:
            return value
        return math.log(value) if value > 0 else -math.inf  # as one replayed without regularization

    def at(self, place: float) -> float:
        """The value at a place on the scale, inside of the range."""
        value = math.exp(place) if self.log else place
        value = math.floor(value + 0.5) if self.integer else value
        return min(max(value, self.low), self.high)

    def draw(self, generator: Any) -> float:
        """A value, each part of the scale being as likely as another."""
        # Each whole number has the room of those that are rounded to it.
        room = 0.5 if self.integer else 0.0
        first, last = self.scale(self.low - room), self.scale(self.high + room)
        share = generator.random()
        return self.at((1 - share) * first + share * last)

    def share(self, value: float) -> float:
        """How far a value is from low, 0, to high, 1, on the scale."""
        first, last = self.scale(self.low), self.scale(self.high)
        return (self.scale(value) - first) / (last - first)

    def border(self, value: float) -> Side:
        """At which end of the range a value lies, within 5 % of it on the scale."""
        share = self.share(value)
        return "greater" if share >= 1 - BORDER else "smaller" if share <= BORDER else ""

    def grid(self, points: int) -> "Grid":
        """So many values from end to end, evenly spaced on the scale; whole ones each once.

        >>> from tinygrad_cv.train import search
        >>> search.log_uniform(1, 1000, integer=True).grid(4)
        grid([1, 10, 100, 1000])
        """
        points = whole("points", points, 1)
        first, last = self.scale(self.low), self.scale(self.high)
        shares = [k / (points - 1) for k in range(points)] if points > 1 else [0.5]
        return Grid(
            tuple(dict.fromkeys(self.at((1 - share) * first + share * last) for share in shares))
        )

    def narrowed(self, best: float, by: float, extend: bool) -> tuple["Range", str]:
        """A range `by` times as narrow round a value, and in words what its ends came up against.

        It is as wide as that also where the value is near an end: it is moved to stay within this
        range, or with `extend` goes beyond it, yet never from positive numbers below 0.
        """
        least, most = self.scale(self.low), self.scale(self.high)
        width = (most - least) / by
        place = self.scale(best)
        low = (place if math.isfinite(place) else least) - width / 2
        high = low + width
        note = ""
        if low < least or high > most:
            end = self.low if low < least else self.high
            where = f"the declared end {end:.4g}"
            if not extend:
                low = min(max(low, least), most - width)
                high = low + width
                note = f"kept within {where}; the best may lie beyond"
            elif low < least and not self.log and self.low >= 0 > low:
                low, high = 0.0, width
                note = f"extended beyond {where}, and kept from negative numbers"
            else:
                note = f"extended beyond {where}"
        ends = [math.exp(end) if self.log else end for end in (low, high)]
        if self.integer:
            first, last = math.floor(ends[0] + 0.5), math.floor(ends[1] + 0.5)
            first = max(first, 1) if self.log else first
            if first == last:  # a range has two numbers at least
                first, last = (first - 1, last) if first > self.low else (first, last + 1)
            stays = extend and self.low <= first and last <= self.high
            return Range(first, last, True, self.log), "" if stays else note
        if not extend:  # exp(log(x)) may be the neighbour of x
            ends = [max(ends[0], self.low), min(ends[1], self.high)]
        if not ends[0] < ends[1]:
            return self, "is as narrow as numbers get"
        return Range(ends[0], ends[1], False, self.log), note


@dataclass(frozen=True)
class Grid:
    """Numbers to try, in ascending order; see `grid`."""

    values: tuple[float, ...]

    def __repr__(self) -> str:
        return f"grid({[*self.values]!r})"

    def draw(self, generator: Any) -> float:
        """One of the numbers, each as likely as another."""
        return self.values[int(generator.integers(len(self.values)))]

    def border(self, value: float) -> Side:
        """Whether a value is the first or the last of three or more, or beyond them."""
        if len(self.values) < 3 or self.values[0] < value < self.values[-1]:
            return ""
        return "smaller" if value <= self.values[0] else "greater"

    @property
    def log(self) -> bool:
        """Whether the numbers are more evenly spaced by their ratios than by their differences."""
        if len(self.values) < 3 or self.values[0] <= 0:
            return False

        def uneven(places: list[float]) -> float:
            steps = [b - a for a, b in pairwise(places)]
            return max(steps) / min(steps)

        return uneven([math.log(value) for value in self.values]) < uneven([*self.values])

    def narrowed(self, best: float, by: float, extend: bool) -> tuple["Grid", str]:
        """As many numbers between the neighbours of the best one; `by` has no meaning here.

        The neighbours themselves were tried. The first and the last number have one neighbour, and
        stay themselves; with `extend` they get another one beyond.
        """
        if len(self.values) < 2:
            return self, ""
        log, count = self.log, len(self.values)
        places = [math.log(value) if log else value for value in self.values]
        best = min(max(best, self.values[0]), self.values[-1])  # a replayed one may be none of them
        below, above = bisect_left(self.values, best) - 1, bisect_right(self.values, best)
        low, high = places[max(below, 0)], places[min(above, count - 1)]
        at_low, at_high, note = below < 0, above == count, ""
        if at_low or at_high:
            note = f"kept within the declared end {best:.4g}; the best may lie beyond"
            if extend:
                step = high - low
                low, high = (low - step, high) if at_low else (low, high + step)
                note = f"extended beyond the declared end {best:.4g}"
                if not log and self.values[0] >= 0 > low:
                    low, note = 0.0, f"{note}, and kept from negative numbers"
                else:
                    at_low = at_high = False
        # So many steps lead from low to high, if neither is among the new numbers.
        steps = count + 1 - at_low - at_high
        shares = [(i + 1 - at_low) / steps for i in range(count)]
        values = [(1 - share) * low + share * high for share in shares]
        values = [math.exp(value) if log else value for value in values]
        if all(isinstance(value, int) for value in self.values):
            values = [math.floor(value + 0.5) for value in values]
        elif not extend:  # exp(log(x)) may be the neighbour of x
            values = [min(max(v, self.values[0]), self.values[-1]) for v in values]
        return Grid(tuple(sorted(set(values)))), note


@dataclass(frozen=True)
class Choice:
    """Options without an order; see `choice`."""

    options: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"choice({[*self.options]!r})"

    def draw(self, generator: Any) -> Any:
        """One of the options, each as likely as another."""
        return self.options[int(generator.integers(len(self.options)))]

    def border(self, value: Any) -> Side:
        """Options have no ends."""
        return ""

    def narrowed(self, best: Any, by: float, extend: bool) -> tuple["Choice", str]:
        """All the options, which have no order to narrow."""
        return self, "all options stay: they have no order"


Space = Range | Grid | Choice


def uniform(low: float, high: float, integer: bool = False) -> Range:
    """Numbers from `low` to `high`, each as likely as another; with `integer` whole ones.

    Raises TypeError for ends that are no finite numbers, and ValueError unless low < high.

    >>> from tinygrad_cv.train import search
    >>> search.uniform(0, 0.5)
    uniform(0, 0.5)
    >>> search.uniform(50, 150, integer=True).grid(3)
    grid([50, 100, 150])
    """
    return Range(low, high, integer, log=False)


def log_uniform(low: float, high: float, integer: bool = False) -> Range:
    """Numbers from `low` to `high`, each power of ten as likely as another: 10^U(lg low, lg high).

    The right one for learning rates and the strength of regularization, whose effect is that of a
    factor. With `integer` they are whole.

    Raises TypeError for ends that are no finite numbers, and ValueError unless 0 < low < high.

    Source: the deck "training neural networks" of the course: reg = 10**uniform(-5, 5), "note it's
    best to optimize in log space!".

    >>> from tinygrad_cv.train import search
    >>> search.log_uniform(1e-6, 1e-3)
    log_uniform(1e-06, 0.001)
    """
    return Range(low, high, integer, log=True)


def grid(values: Iterable[float]) -> Grid:
    """These numbers, in ascending order: a grid search tries each, a random one draws among them.

    Numbers from end to end of a range are `log_uniform(...).grid(points)`. Raises TypeError for
    what is no finite number, and ValueError if there is none.

    >>> from tinygrad_cv.train import search
    >>> search.grid([1e-3, 5e-2, 1e-4])
    grid([0.0001, 0.001, 0.05])
    """
    found = [as_python(value) for value in values]
    for value in found:
        if not is_number(value):
            raise TypeError(f"grid: expected finite numbers; got {value!r}. See choice.")
    if not found:
        raise ValueError("grid: expected numbers to try; got none.")
    return Grid(tuple(sorted(set(found))))


def choice(options: Iterable[Any]) -> Choice:
    """One of some options: strings, numbers, True, False, None, or tuples of them.

    They are written to files by their values, so what is none of these is to be named by a string,
    and looked up by the objective; so are NaN and infinities. Raises TypeError for such, and
    ValueError if there is none.

    >>> from tinygrad_cv.train import search
    >>> search.choice(["sgd", "adam"])
    choice(['sgd', 'adam'])
    """
    if isinstance(options, str):
        raise TypeError(f"choice: expected a list of options; got the one string {options!r}.")
    found = tuple(as_python(option) for option in options)
    for option in found:
        if not _is_plain(option):
            raise TypeError(
                "choice: options are strings, finite numbers, True, False, None, or tuples of "
                f"them; got {option!r}. Give it a name, and let the objective look it up."
            )
    if not found:
        raise ValueError("choice: expected options; got none.")
    return Choice(found)


def _is_plain(option: Any) -> bool:
    if isinstance(option, tuple):
        return all(map(_is_plain, option))
    if isinstance(option, float):
        return math.isfinite(option)
    return option is None or isinstance(option, str | int)


def is_number(value: Any) -> bool:
    """Whether a value of Python's is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def whole(name: str, value: Any, least: int) -> int:
    """A whole number, or an error that says that it is to be one."""
    value = as_python(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is a whole number, {least} or more; got {value!r}.")
    return value


def as_python(value: Any) -> Any:
    """A number of NumPy's as one of Python's, which files and other libraries know."""
    return value.item() if isinstance(value, host.generic) else value


def checked(space: Mapping[str, Space]) -> dict[str, Space]:
    """A space as a dict, or an error that says what is wrong with it."""
    if not isinstance(space, Mapping):
        raise TypeError(
            'a space names what is searched, such as {"lr": log_uniform(1e-6, 1e-3)}; got '
            f"{type(space).__name__}."
        )
    for name, each in space.items():
        if not isinstance(name, str):
            raise TypeError(f"hyperparameters are named by strings; got {name!r}.")
        if not isinstance(each, Space):
            raise TypeError(
                f"{name!r} is to be one of log_uniform, uniform, grid and choice; got {each!r}. "
                "For one fixed value: choice([value])."
            )
    return dict(space)


def drawn(space: Mapping[str, Space], seed: int, number: int) -> dict[str, Any]:
    """The values of a trial: they follow from the seed and the number, whatever came before."""
    generator = host.random.default_rng([seed, number])
    return {name: each.draw(generator) for name, each in space.items()}


class Refined(dict[str, Space]):
    """A narrower space, with `notes` of what its ends came up against, by name; see `refine`."""

    def __init__(self, space: Mapping[str, Space], notes: Mapping[str, str]) -> None:
        super().__init__(space)
        self.notes = {name: note for name, note in notes.items() if note}

    def __str__(self) -> str:
        width = max(map(len, self), default=0)
        notes = {name: f": {note}" for name, note in self.notes.items()}
        return "\n".join(
            f"{name:<{width}}  {_short(each)}{notes.get(name, '')}" for name, each in self.items()
        )


def _short(space: Space) -> str:
    """A space in few digits."""
    if isinstance(space, Choice):
        return repr(space)
    if isinstance(space, Grid):
        return f"grid([{', '.join(f'{value:.4g}' for value in space.values)}])"
    name = "log_uniform" if space.log else "uniform"
    return f"{name}({space.low:.4g}, {space.high:.4g})"
