"""A traced graph, and beside it the backward graph, as a picture in a file or a notebook."""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.program.compiled import Compiled
from tinygrad_cv.storage import write
from tinygrad_cv.viz import tracing
from tinygrad_cv.viz.cost import Cost, shares
from tinygrad_cv.viz.data import Module, Trace
from tinygrad_cv.viz.folding import Collapse, View, chunked, fold
from tinygrad_cv.viz.painting import Backward, Painter, Style
from tinygrad_cv.viz.passes import PassPainter
from tinygrad_cv.viz.program import ProgramPainter, program
from tinygrad_cv.viz.render import FORMATS, check_path, encoded, render

SUFFIXES = (*FORMATS, ".pdf", ".dot", ".json", ".html")
HOPELESS = 120
"""Boxes that a layout manages in a second, about, or 12 times as many rows that arrows skip. More
than that in the time that there is are not even tried."""
QUICK = 1000  # skipped rows, above which a layout is made in a hurry, with straight arrows
LARGE = 50  # boxes, above which a picture may be too large for its usual fineness
SMALLER = 60  # boxes of the first picture that is tried instead of one that took too long


@dataclass(frozen=True, repr=False, eq=False)
class Drawing:
    """A picture of a graph: `source` is its DOT text. A notebook shows it by itself."""

    trace: Trace
    view: View
    """What of the trace is visible."""
    style: Style
    painter: type[Painter] = Painter

    @cached_property
    def source(self) -> str:
        """The DOT text. Raises ModuleNotFoundError without the graphviz package."""
        return self.painter(self.view, self.style).source()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Drawing) and self.source == other.source

    def __hash__(self) -> int:
        return hash(self.source)

    def __repr__(self) -> str:
        return f"<Drawing of {len(self.trace.nodes):,} nodes in {self.view.size:,} boxes>"

    def save(self, path: str | os.PathLike[str], timeout: float = 30.0) -> Path:
        """Write the picture to a file, whole or not at all, in the format that its suffix names.

        `.dot` is the text itself, `.json` the trace, `.html` a page of it that needs no other
        file. `.svg`, `.png` and `.pdf` are rendered by Graphviz's `dot` or by `graphviz-pure`,
        taking at most `timeout` seconds in all. A picture that would take longer is collapsed
        further, and says so, in the picture and as a UserWarning.

        Raises ValueError for another suffix, RuntimeError if neither program is there or it
        fails, TimeoutError if even a collapsed picture takes longer.
        """
        path = check_path(path, SUFFIXES)
        suffix = path.suffix.lower()
        if suffix == ".dot":
            contents = encoded(self.source)
        elif suffix == ".json":
            contents = encoded(self.trace.to_json())
        elif suffix == ".html":
            from tinygrad_cv.viz.page import page

            view = self.view
            contents = encoded(page(view.trace, view.folded, repeated=view.repeated))
        else:
            contents = self.render(suffix, timeout)
        write(path, contents)
        return path

    def render(self, suffix: str, timeout: float = 30.0) -> bytes:
        """The contents of a file with this suffix (.svg, .png or .pdf); see `save`."""
        end = time.monotonic() + timeout
        size = len(self.view.boxes)
        reason = f"laying out so many would take longer than {timeout:g} s"
        hopeless = size + self.view.skipped / 12 > HOPELESS * timeout
        views = self._smaller()
        view, last = next(views) if hopeless else (self.view, self.view.size <= SMALLER)
        while True:
            # The first picture gets half of the time, and so on; the last one all that is left.
            left = max(0.0, end - time.monotonic())
            whole = view is self.view
            note = (
                f"Collapsed from {size:,} boxes to {len(view.boxes):,}, since {reason}. To see "
                "all: save as .html, or give more time, save(..., timeout=...)."
            )
            source = self.source if whole else self.painter(view, self.style, note).source()
            large, quick = len(view.boxes) > LARGE, view.skipped > QUICK
            share = (timeout if whole else left) * (1 if last else 1 / 2)
            try:
                contents = render(source, suffix, share, large, quick)
            except TimeoutError as error:
                if whole and last:
                    raise
                if last:
                    raise TimeoutError(
                        f"neither the picture nor one collapsed to {len(view.boxes):,} boxes was "
                        f"rendered within {timeout:g} s. Give it longer (timeout=...), or save it "
                        "as .html or .dot."
                    ) from error
                if whole:
                    reason = f"it took longer than {share:g} s"
                view, last = next(views)
                continue
            if not whole:
                warnings.warn(note, UserWarning, stacklevel=3)
            return contents

    def _smaller(self) -> Iterator[tuple[View, bool]]:
        """Views with ever fewer boxes, and whether it is the last one."""
        trace, size, terse = self.view.trace, self.view.size, self.painter is Painter
        folded: list[dict[str, Any]] = [{"budget": SMALLER}, {"depth": 1, "collapse": "repeats"}]
        for options in folded if trace.modules else ():
            view = fold(trace, **options, terse=terse)
            if view.size <= size * 3 // 4:
                size = view.size
                yield view, size <= SMALLER
        yield chunked(trace), True

    def _repr_svg_(self) -> str:
        return self.render(".svg").decode()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"image/svg+xml": self._repr_svg_(), "text/plain": repr(self)}


def draw(
    *targets: Any,
    backward: Backward = False,
    formulas: bool = True,
    health: bool | None = None,
    step: int | None = None,
    depth: int | None = None,
    collapse: Collapse = "auto",
    budget: int | None = None,
    expand: Callable[[Module], bool | None] | None = None,
    details: bool = False,
    frame: int | None = None,
    direction: Literal["down", "right"] = "down",
    style: Literal["color", "print"] = "color",
    color: Cost | None = None,
    **named: Any,
) -> Drawing:
    """Draw the graph of tensors, of a model or of a trace, with the formula of each gradient rule.

    What is drawn is one or more tensors; or a module or a function and its inputs, those that are
    `named` too, which is called as by `viz.trace`; or a `Trace`. A compiled function alone is drawn
    as the program that it replays: a box for each instruction with the memory that it reads and
    makes, joined ones in one, a "loop" with its steps; the backward pass flows up beside the
    forward pass.

    With `backward=True` an arrow for the gradient runs up beside that of each value.
    `backward="ops"` draws every op of the backward pass instead, in a column of their own; to find
    them it runs the pass (starting from ones), so the saved values must still be there.
    `formulas=False` leaves the formulas out. Neither `.grad` nor the graph is changed.

    In a formula, y is the op's output and g is ∂L/∂y, the gradient that reaches it. Where an input
    was broadcast, its gradient is then summed back to its shape. Boxes are numbered as in
    `print(tg.graph(...))`, and the same graph gives the same text in every run.

    `health=True` runs the backward pass and adds what was seen: the values in a box, and arrows
    in the colour and the width of the gradient on them, against that at the output (see
    `viz.judging`); a trace that has numbers shows them by itself, those of `step` or of the last
    one. "–" is what was not computed. `details=True` adds the line of the program, bytes saved,
    FLOPs and times. `color="flops"`, "parameters", "saved" or "time" gives boxes the colour of
    their share of that. A picture larger than a screen is folded; `depth`, `collapse`, `budget`
    and `expand` say how, and `collapse=None` shows all: see `viz.folding.fold`. `frame` shows a
    playback as far as that frame. `direction="right"` lets values flow to the right, and
    `style="print"` draws in greys.

    Raises RuntimeError if no gradient can flow, or if the values that `backward="ops"` needs were
    freed.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import viz
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> picture = viz.draw(tg.sqrt(x).sum(), backward=True)
    >>> "∂L/∂x = g / (2 · y)" in picture.source
    True
    >>> picture.save("graph.svg").name
    'graph.svg'
    """
    if backward not in (False, True, "ops"):
        raise ValueError(f"backward must be False, True or 'ops'; got {backward!r}.")
    if direction not in ("down", "right"):
        raise ValueError(f"direction must be 'down' or 'right'; got {direction!r}.")
    if style not in ("color", "print"):
        raise ValueError(f"style must be 'color' or 'print'; got {style!r}.")
    look = Style(backward, formulas, details, direction=direction, print=style == "print")
    if len(targets) == 1 and isinstance(targets[0], Compiled):
        trace = program(targets[0])
        view = fold(trace, depth, collapse, budget, expand, terse=False)
        return Drawing(trace, view, replace(look, formulas=False), ProgramPainter)
    trace = _traced(targets, named, backward, bool(health))
    if backward == "ops" and all(node.rule is None for node in trace.nodes):
        _check_can_flow(trace)
        raise ValueError(
            "this trace has no ops of a backward pass; make it with trace(..., backward='ops')."
        )
    if frame is not None:
        if not 0 <= frame < len(trace.frames):
            raise ValueError(
                f"there is no frame {frame}; the trace has {len(trace.frames)}, numbered from 0."
            )
        backward = True
    if backward:
        _check_can_flow(trace)
    seen = trace if step is None else trace.at(step)
    if health and not seen.steps:
        raise ValueError(
            "there are no numbers to show: this trace has no steps. Make it with "
            "trace(..., values=True, gradients=True)."
        )
    shown = seen.steps[-1] if seen.steps and health is not False else None
    look = replace(look, backward=backward, step=shown, frame=frame)
    if color is not None:
        look = replace(look, cost=color, shares=shares(trace, color))
    ops = backward == "ops"
    view = fold(trace, depth, collapse, budget, expand, terse=not ops)
    return Drawing(trace, view, look, PassPainter if ops else Painter)


def _traced(
    targets: tuple[Any, ...], named: dict[str, Any], backward: Backward, health: bool
) -> Trace:
    """The trace of what `draw` was given."""
    if len(targets) == 1 and isinstance(targets[0], Trace) and not named:
        return targets[0]
    tensors = [target for target in targets if isinstance(target, Tensor)]
    if not targets or (isinstance(targets[0], Tensor) and len(tensors) < len(targets)):
        given = ", ".join(type(target).__name__ for target in targets) or "nothing"
        raise TypeError(
            "draw takes the tensors whose graph to draw, a model or a function with its inputs, "
            f"or a trace; got {given}."
        )
    first, *others = ([*tensors],) if isinstance(targets[0], Tensor) else targets
    ops: Literal[False, "ops"] = "ops" if backward == "ops" else False
    return tracing.trace(first, *others, values=health, gradients=health, backward=ops, **named)


def _check_can_flow(trace: Trace) -> None:
    if not any(trace.nodes[i].requires_grad for i in trace.outputs):
        raise RuntimeError(
            "there is no backward pass to draw: none of the tensors requires a gradient. Nothing "
            "they were computed from has requires_grad=True, or they were made under no_grad() or "
            "detached."
        )
