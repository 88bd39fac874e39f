"""Elementwise steps block by block, where no loop is generated for them.

A block is so small that what one step writes is in the cache when the next one reads it. What no
other instruction sees is never more than a block: it has no place in memory at all.
"""

from collections.abc import Callable
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.backend.threads import parallel, split
from tinygrad_cv.program.fuse import Group, number_of

Array = Any

BLOCK = 1 << 16
"""How many numbers a block has, about: each step costs some µs beside its work."""

WORTH_BLOCKS = 1 << 19
"""With fewer numbers all of them are in the cache anyway."""

PART = 1 << 17
"""How many numbers a part has at least, to be worth a hand-over to another thread."""


def _converted(x: Array, out: Array) -> None:
    host.copyto(out, x, casting="unsafe")


def _where(condition: Array, x: Any, y: Any, out: Array) -> None:
    out[...] = host.where(condition, x, y)  # which may be one of the three


def function_of_step(name: str) -> Callable[..., Any] | None:
    """What writes a step's result to `out`; None where NumPy has no such function."""
    if name in ("float", "bool"):
        return _converted
    if name == "where":
        return _where
    function = getattr(host, name, None)
    return function if isinstance(function, host.ufunc) and function.nout == 1 else None


def is_for_blocks(group: Group) -> bool:
    """Whether it is worth while: several steps, on more than the cache holds."""
    return (
        len(group.steps) > 1
        and group.rows * group.columns >= WORTH_BLOCKS
        and (group.rows == 1 or group.columns <= 2 * BLOCK)
        and all(function_of_step(step.name) for step in group.steps)
    )


def in_blocks(group: Group) -> tuple[Callable[..., None], list[int]]:
    """What does all steps, and the places whose memory it takes, each as rows and columns."""
    steps = [
        (
            function_of_step(step.name),
            [(True, number_of(group, a)) if hasattr(a, "shape") else (False, a) for a in step.args],
            number_of(group, step.out),
        )
        for step in group.steps
    ]
    inner = {k: v.dtype for k, v in enumerate(group.places) if id(v.root) in group.internal}
    outer = [k for k in range(len(group.places)) if k not in inner]
    along = 0 if group.rows > 1 else 1
    length, width = (group.rows, group.columns) if along == 0 else (group.columns, 1)
    most = max(1, BLOCK // width)
    parts = split(length, min(16, group.rows * group.columns // PART))

    def run(*grids: Array) -> None:
        def work(part: slice) -> None:
            shape = (most, width) if along == 0 else (1, most)
            room = {k: host.empty(shape, dtype) for k, dtype in inner.items()}
            for start in range(part.start, part.stop, most):
                stop = min(start + most, part.stop)
                here = (slice(start, stop), slice(None))[:: 1 if along == 0 else -1]
                first = (slice(stop - start), slice(None))[:: 1 if along == 0 else -1]
                block = {k: grid[here] for k, grid in zip(outer, grids, strict=True)}
                block |= {k: array[first] for k, array in room.items()}
                for function, args, out in steps:
                    function(*[block[a] if is_place else a for is_place, a in args], out=block[out])

        parallel(work, parts)

    return run, outer
