"""Shapes, parts and repetitions."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

import tinygrad_cv as tg
from beside_torch.call import Beside, Call
from rows.shape import places_along, rolls, stretched, turns, with_empty
from tinygrad_cv.testing.strategies import arrays, broadcastable, shapes


@st.composite
def axis(draw: Any, count: int) -> int:
    """The number of an axis, counted from either end."""
    return int(draw(st.integers(-count, count - 1)))


@st.composite
def plain(draw: Any, least: int = 0, most: int = 4) -> Call:
    return Call((draw(arrays(with_empty(least, most))),))


@st.composite
def with_axes(draw: Any, count: int) -> Call:
    """A tensor, and by position the numbers of some axes."""
    x = draw(arrays(with_empty(1, 4)))
    return Call((x, *(draw(axis(x.ndim)) for _ in range(count))))


@st.composite
def flattened(draw: Any) -> Call:
    x = draw(arrays(with_empty(1, 4)))
    first = draw(st.integers(0, x.ndim - 1))
    return Call(
        (x,), {"start_dim": first, "end_dim": draw(st.integers(first, x.ndim - 1)) - x.ndim}
    )


@st.composite
def unflattened(draw: Any) -> Call:
    sizes = draw(shapes(1, 3))
    before, behind = draw(shapes(0, 1)), draw(with_empty(0, 1))
    x = draw(arrays((*before, prod(sizes), *behind)))
    wanted = list(sizes)
    if draw(st.booleans()):
        wanted[draw(st.integers(0, len(sizes) - 1))] = -1
    return Call((x, len(before) - draw(st.sampled_from((0, x.ndim))), tuple(wanted)))


@st.composite
def reshaped(draw: Any) -> Call:
    x = draw(arrays(with_empty()))
    return Call((x, tuple(draw(st.permutations(x.shape)))))


@st.composite
def permuted(draw: Any) -> Call:
    x = draw(arrays(with_empty()))
    return Call((x, tuple(draw(st.permutations(range(x.ndim))))))


@st.composite
def squeezed(draw: Any) -> Call:
    lengths = draw(st.lists(st.sampled_from((1, 1, 2, 3)), max_size=4))
    x = draw(arrays(lengths))
    dims = draw(st.lists(st.integers(0, max(0, x.ndim - 1)), unique=True)) if lengths else []
    chosen = [(), (tuple(dims),), *((d,) for d in dims)]
    return Call((x, *draw(st.sampled_from(chosen))))


@st.composite
def moved(draw: Any) -> Call:
    x = draw(arrays(with_empty(1, 4)))
    source = draw(st.lists(st.integers(0, x.ndim - 1), unique=True))
    target = draw(st.permutations(range(x.ndim)))[: len(source)]
    if len(source) == 1 and draw(st.booleans()):
        return Call((x, source[0] - x.ndim, target[0]))
    return Call((x, tuple(source), tuple(target)))


@st.composite
def expanded(draw: Any) -> Call:
    narrow, wide = draw(stretched())
    return Call((draw(arrays(narrow)), wide))


@st.composite
def sequences(draw: Any, least: int = 0, most: int = 3) -> Call:
    """Tensors of one shape, each given on its own."""
    shape = draw(with_empty(least, most))
    return Call(tuple(draw(arrays(shape)) for _ in range(draw(st.integers(1, 3)))))


@st.composite
def reshaped_as(draw: Any) -> Call:
    """A tensor, and one whose shape alone counts."""
    x, shape = draw(reshaped()).inputs
    return Call((x, np.zeros(shape, "int64")))


@st.composite
def expanded_as(draw: Any) -> Call:
    x, shape = draw(expanded()).inputs
    return Call((x, np.zeros(shape, "int64")))


@st.composite
def joined(draw: Any, new: int) -> Call:
    call = draw(sequences(1 - new))
    return Call(call.inputs, {"dim": draw(axis(call.inputs[0].ndim + new))})


@st.composite
def lines(draw: Any) -> Call:
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    xs = tuple(draw(arrays((n,) if n or draw(st.booleans()) else ())) for n in lengths)
    return Call(xs, {"indexing": draw(st.sampled_from(("ij", "xy")))})


@st.composite
def cut(draw: Any, how: Callable[[int], Any]) -> Call:
    """Along an axis of length n, by what `how(n)` draws."""
    x = draw(arrays(with_empty(1)))
    dim = draw(axis(x.ndim))
    return Call((x, draw(how(x.shape[dim]))), {"dim": dim})


@st.composite
def lengths(draw: Any, total: int) -> list[int]:
    """Numbers that add up to `total`."""
    ends = sorted(draw(st.lists(st.integers(0, total), max_size=3)))
    return [b - a for a, b in zip([0, *ends], [*ends, total], strict=True)]


@st.composite
def tiled(draw: Any, all_axes: bool) -> Call:
    x = draw(arrays(with_empty()))
    least = x.ndim if all_axes else 0
    counts = draw(st.lists(st.integers(0, 3), min_size=least, max_size=max(3, least)))
    return Call((x, tuple(counts)))


@st.composite
def interleaved(draw: Any) -> Call:
    x = draw(arrays(with_empty(1)))
    dim = draw(st.none() | axis(x.ndim))
    length = x.size if dim is None else x.shape[dim]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    repeats = draw(st.sampled_from((0, 1, 3, rng.integers(0, 3, length), rng.integers(0, 3, 1))))
    return Call((x, repeats), {} if dim is None else {"dim": dim})


@st.composite
def padded(draw: Any) -> Call:
    """In the axes and with the widths that PyTorch takes in this mode."""
    mode = draw(st.sampled_from(("constant", "reflect", "replicate", "circular")))
    count = draw(st.integers(1, 3))
    x = draw(arrays(shapes(count + 1, count + 2)))
    widths: list[int] = []
    for n in x.shape[: -count - 1 : -1]:
        most = {"reflect": n - 1, "circular": n}.get(mode, 4)
        before, after = draw(st.integers(-(n // 2), most)), draw(st.integers(-((n - 1) // 2), most))
        if mode == "circular":  # what is cropped cannot be taken from
            before, after = min(before, n + after), min(after, n + before)
        widths += [before, after]
    options = {"value": draw(st.sampled_from((0.0, 1.5)))} if mode == "constant" else {}
    return Call((x, tuple(widths)), {"mode": mode} | options)


@st.composite
def taken_along(draw: Any) -> Call:
    index, at, length = draw(places_along())
    index %= max(length, 1)  # PyTorch does not count from the end
    x = draw(arrays([length if i == at else n for i, n in enumerate(index.shape)]))
    for i in range(x.ndim):
        if i != at and x.shape[i] and draw(st.booleans()):
            first = (*[slice(None)] * i, slice(0, 1))
            x, index = draw(st.sampled_from(((x[first], index), (x, index[first]))))
    return Call((x, index), {"dim": at - draw(st.sampled_from((0, index.ndim)))})


def turn_calls() -> Any:
    return turns().map(lambda case: Call((case.inputs[0], case.attributes["axes"])))


@st.composite
def rolled(draw: Any) -> Call:
    case = draw(rolls())
    (x,), shifts, axes = case.inputs, case.attributes["shifts"], case.attributes["axes"]
    if not axes or draw(st.booleans()):
        return Call((x, draw(st.integers(-5, 5))))
    return Call((x, (*shifts, 1), (*axes, axes[0])))


def sequence_of(function: Any) -> Any:
    """A function of a sequence as one of tensors by position."""
    return lambda *tensors, **options: function(tensors, **options)


def method(name: str) -> Any:
    return lambda x, *args: getattr(x, name)(*args)


def beside(name: str, calls: Any, theirs: Any = None) -> Beside:
    return Beside(name, calls, getattr(tg, name, method(name)), theirs or getattr(torch, name))


def of_sequences(name: str, calls: Any) -> Beside:
    ours, theirs = sequence_of(getattr(tg, name)), sequence_of(getattr(torch, name))
    return Beside(name, calls, ours, theirs)


def together(sizes: Any) -> Any:
    return st.tuples(*map(arrays, sizes)).map(lambda tensors: Call(tensors))


CALLS = [
    beside("reshape", reshaped()),
    beside("flatten", flattened()),
    beside("unflatten", unflattened()),
    beside("ravel", plain()),
    beside("permute", permuted()),
    beside("transpose", with_axes(2)),
    beside("swapaxes", with_axes(2)),
    beside("movedim", moved()),
    beside("moveaxis", moved()),
    beside("squeeze", squeezed()),
    beside("unsqueeze", with_axes(1)),
    beside("broadcast_to", expanded()),
    beside("expand", expanded(), method("expand")),
    beside("reshape_as", reshaped_as(), method("reshape_as")),
    beside("view_as", reshaped_as(), method("view_as")),
    beside("expand_as", expanded_as(), method("expand_as")),
    beside("atleast_1d", sequences()),
    beside("atleast_2d", sequences()),
    beside("atleast_3d", sequences()),
    beside("meshgrid", lines()),
    of_sequences("cat", joined(0)),
    of_sequences("concatenate", joined(0)),
    beside("broadcast_tensors", broadcastable(max_dims=3).flatmap(together)),
    beside(
        "cartesian_prod", lines().map(lambda call: Call(tuple(map(np.atleast_1d, call.inputs))))
    ),
    beside("block_diag", sequences().filter(lambda call: max(map(np.ndim, call.inputs)) < 3)),
    of_sequences("stack", joined(1)),
    of_sequences("hstack", sequences()),
    of_sequences("vstack", sequences()),
    of_sequences("dstack", sequences()),
    beside("split", cut(lambda n: st.integers(1, 4) | lengths(n))),
    beside("chunk", cut(lambda n: st.integers(1, 5))),
    beside("tensor_split", cut(lambda n: st.integers(1, 5) | st.lists(st.integers(-n, n + 1)))),
    beside("unbind", with_axes(1)),
    beside("flip", turn_calls()),
    beside("roll", rolled()),
    beside("tile", tiled(False)),
    beside("repeat", tiled(True), method("repeat")),
    beside("repeat_interleave", interleaved()),
    beside("pad", padded(), torch.nn.functional.pad),
    beside("take_along_dim", taken_along()),
]
