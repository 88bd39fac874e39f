"""Ops that take elements from places, or put them there."""

import math
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.onnx.tracing import Varying
from tinygrad_cv.onnx.writing.graph import (
    DeclinedError,
    Value,
    Writer,
    refuses,
    writes,
    writes_call,
)

FAR = 2**31 - 1
"""Beyond the end of every axis."""


def _whole(n: Any) -> bool:
    return isinstance(n, int | Varying) and not isinstance(n, bool)


@writes("getitem")
def _getitem(g: Writer, x: Value, *, index: Any) -> Value:
    return taken(g, x, index)


def parts_of(g: Writer, x: Value, index: Any) -> list[Any]:
    """The index as a part for every axis of x, and None for new ones."""
    parts = list(index) if isinstance(index, tuple) else [index]
    used = sum(0 if p is None or p is Ellipsis else p.ndim if _is_mask(p) else 1 for p in parts)
    rest = [slice(None)] * (x.ndim - used)
    for i, part in enumerate(parts):
        if part is Ellipsis:
            return [*parts[:i], *rest, *parts[i + 1 :]]
    return [*parts, *rest]


def _is_mask(part: Any) -> bool:
    return isinstance(part, Value) and part.dtype == "bool"


def taken(g: Writer, x: Value, index: Any) -> Value:
    """x[index]."""
    parts = parts_of(g, x, index)
    if any(_is_mask(part) and part.array is None for part in parts):
        g.refuse(
            "how many elements a mask takes depends on their values; choose with where() instead"
        )
    if any(isinstance(part, Value) for part in parts):
        return _advanced(g, x, parts)
    return _basic(g, x, parts)


def _basic(g: Writer, x: Value, parts: list[Any]) -> Value:
    """An index of numbers, slices and new axes."""
    starts: list[Any] = []
    stops: list[Any] = []
    axes: list[int] = []
    steps: list[int] = []
    gone: list[int] = []
    new: list[int] = []
    axis = 0
    for part in parts:
        if part is None:
            new.append(axis - len(gone) + len(new))
            continue
        n = x.shape[axis]
        if _whole(part):
            at = part
            starts.append(at)
            stops.append(_after(at))
            axes.append(axis)
            steps.append(1)
            gone.append(axis)
        elif (limits := _limits(g, part, n)) is not None:
            starts.append(limits[0])
            stops.append(limits[1])
            steps.append(limits[2])
            axes.append(axis)
        axis += 1
    y = x
    if len(axes) == len(gone) == 1 and not isinstance(starts[0], Varying):
        y = g.node("Gather", x, g.const(starts[0], "int64"), axis=axes[0])
    elif axes:
        by = None if set(steps) == {1} else g.ints(steps)
        y = g.node("Slice", x, g.shape(starts), g.shape(stops), g.ints(axes), by)
        y = g.squeeze(y, gone) if gone else y
    return g.unsqueeze(y, new) if new else y


def _after(at: Any) -> Any:
    """Where a slice of the one element at a place stops."""
    if isinstance(at, Varying):
        return Varying(at.first + 1, at.second + 1)
    return FAR if at == -1 else at + 1


def _limits(g: Writer, part: slice, n: Any) -> tuple[Any, Any, int] | None:
    """Start, stop and step of a slice; None of one that takes all."""
    step = 1 if part.step is None else part.step
    if isinstance(step, Varying):
        g.refuse("the step of a slice depends on an axis that is free")
    start = part.start if part.start is not None else (0 if step > 0 else -1)
    stop = part.stop if part.stop is not None else (FAR if step > 0 else -FAR)
    if (
        step == 1
        and start == 0
        and (stop in (n, FAR) or (isinstance(n, int) and isinstance(stop, int) and stop >= n))
    ):
        return None
    return start, stop, step


def _advanced(g: Writer, x: Value, parts: list[Any]) -> Value:
    """An index with arrays: places that are constant, or computed by the model."""
    lead = 0
    while parts and isinstance(parts[0], slice) and parts[0] == slice(None) and lead < x.ndim:
        parts, lead = parts[1:], lead + 1
    rest = x.shape[lead:]
    arrays = [i for i, part in enumerate(parts) if isinstance(part, Value)]
    apart = arrays[-1] - arrays[0] >= len(arrays)
    computed = [part for part in parts if isinstance(part, Value) and part.array is None]
    if not computed and not any(isinstance(n, Varying) for n in rest):
        index = tuple(part.array if isinstance(part, Value) else part for part in parts)
        places = host.arange(math.prod(rest)).reshape(rest)[index]
        if len(rest) > 1:
            x = g.reshape(x, (*x.shape[:lead], math.prod(rest)))
        made = g.node("Gather", x, g.const(places), axis=lead)
        if apart:  # what arrays take that are not side by side lies in front of all
            count = max(1 if _is_mask(parts[i]) else parts[i].ndim for i in arrays)
            order = [*range(lead, lead + count), *range(lead)]
            return g.transpose(made, [*order, *range(lead + count, lead + places.ndim)])
        return made
    if any(_is_mask(parts[i]) for i in arrays):
        g.refuse("it takes by a mask beside an axis that is free; choose with where() instead")
    before = [slice(None)] * lead
    if len(arrays) == 1:
        # The array goes along its axis; what is beside it is a basic index, taken after.
        at = arrays[0]
        axis = lead + sum(part is not None for part in parts[:at])
        places_ = parts[at]
        found = g.node("Gather", x, g.cast(places_, "int64"), axis=axis)
        shape = (*x.shape[:axis], *(places_.shape or ()), *x.shape[axis + 1 :])
        whole = [slice(None)] * places_.ndim
        return _basic(
            g,
            Value(found.name, found.dtype, shape),
            [*before, *parts[:at], *whole, *parts[at + 1 :]],
        )
    if apart:
        g.refuse("arrays that are not side by side index it; bring the axes together first")
    # Side by side: those axes come first, and GatherND takes the places of all of them.
    first = lead + sum(part is not None for part in parts[: arrays[0]])
    axes = list(range(first, first + len(arrays)))
    others = [i for i in range(x.ndim) if i not in axes]
    values = [g.cast(parts[i], "int64") for i in arrays]
    shape = _broadcast([value.shape or () for value in values])
    wide = [
        g.unsqueeze(
            value if value.shape == shape else g.node("Expand", value, g.shape(shape)), [len(shape)]
        )
        for value in values
    ]
    moved = g.transpose(x, [*axes, *others])
    found = g.node("GatherND", moved, g.node("Concat", *wide, axis=len(shape)))
    count = len(shape)
    order = [count + i for i in range(first)] + list(range(count))
    order += [count + i for i in range(first, len(others))]
    found = g.transpose(found, order)
    made_shape = (*x.shape[:first], *shape, *x.shape[first + len(arrays) :])
    whole = [slice(None)] * count
    kept = [*before, *parts[: arrays[0]], *whole, *parts[arrays[-1] + 1 :]]
    return _basic(g, Value(found.name, found.dtype, made_shape), kept)


def _broadcast(shapes: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The shape to which these broadcast."""
    most = max(map(len, shapes))
    lengths = [(1,) * (most - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(next((n for n in ends if n != 1), 1) for ends in zip(*lengths, strict=True))


# ----- along an axis -----------------------------------------------------------------------------


def _beside(g: Writer, x: Value, index: Value, axis: int) -> tuple[Value, Value]:
    """x and an index in one shape, but for the axis."""
    shape = _broadcast(
        [
            tuple(1 if i == axis else n for i, n in enumerate(value.shape))
            for value in (x, index)
            if value.shape is not None
        ]
    )
    wide = []
    for value in (x, index):
        target = [value.shape[i] if i == axis else n for i, n in enumerate(shape)]
        if tuple(target) != value.shape:
            made = g.node("Expand", value, g.shape(target))
            value = Value(made.name, made.dtype, tuple(target))
        wide.append(value)
    return wide[0], g.cast(wide[1], "int64")


@writes("take_along_dim")
def _take_along_dim(g: Writer, x: Value, index: Value, *, axis: int) -> Any:
    return g.node("GatherElements", *_beside(g, x, index, axis), axis=axis)


def zeros(g: Writer, shape: Any, dtype: str) -> Value:
    """Zeros of a shape."""
    made = g.node("Expand", g.const(0, dtype), g.shape(shape))
    return Value(made.name, dtype, tuple(shape))


def scattered(
    g: Writer, x: Value, index: Value, source: Value, axis: int, how: str | None = None
) -> Value:
    """x with the source put at the places along an axis."""
    made = g.node("ScatterElements", x, index, source, axis=axis, reduction=how)
    return made


@writes("put_along_dim")
def _put_along_dim(g: Writer, x: Value, index: Value, *, axis: int, length: Any) -> Value:
    x, index = _beside(g, x, index, axis)
    if x.shape != index.shape:
        x = g.node("Expand", x, g.shape(index.shape))
    x = g.cast(x, g.out.dtype)
    return scattered(g, zeros(g, g.out.shape, g.out.dtype), index, x, axis, "add")


@writes("scatter")
def _scatter(g: Writer, x: Value, index: Value, source: Any, *, axis: int) -> Value:
    source = g.cast(source, g.out.dtype)
    if source.shape != index.shape:
        source = g.node("Expand", source, g.shape(index.shape))
    return scattered(g, x, g.cast(index, "int64"), source, axis)


refuses(
    "scatter_extreme",
    "a place that nothing is sent to holds 0 here, and the old value in ONNX; write amax with a "
    "mask and where()",
)


@writes("unpool")
def _unpool(g: Writer, x: Value, index: Value, *, length: Any) -> Value:
    return scattered(g, zeros(g, g.out.shape, g.out.dtype), g.cast(index, "int64"), x, 2)


@writes("scatter_add")
def _scatter_add(g: Writer, x: Value, *, index: Any, shape: Any) -> Value:
    places, _ = _flat_places(g, Value("", x.dtype, tuple(shape)), index)
    size = _product(g, shape)
    line = g.reshape(x, (_product(g, x.shape),))
    total = scattered(g, zeros(g, (size,), x.dtype), places, line, 0, "add")
    return g.reshape(Value(total.name, x.dtype, (size,)), shape)


def _product(g: Writer, shape: Any) -> Any:
    """How many elements a shape has."""
    first = math.prod(n.first if isinstance(n, Varying) else n for n in shape)
    second = math.prod(n.second if isinstance(n, Varying) else n for n in shape)
    return first if first == second else Varying(first, second)


def _flat_places(g: Writer, x: Value, index: Any) -> tuple[Value, tuple[Any, ...]]:
    """The numbers of the places that an index names, in row-major order, and their shape."""
    parts = parts_of(g, x, index)
    if any(_is_mask(part) and part.array is None for part in parts):
        g.refuse("which places a mask names depends on its values; choose with where() instead")
    computed = [i for i, p in enumerate(parts) if isinstance(p, Value) and p.array is None]
    if not computed:
        shape = g.fixed(x.shape, "a shape whose places are numbered")
        raw = tuple(part.array if isinstance(part, Value) else part for part in parts)
        places = host.arange(math.prod(shape)).reshape(shape)[raw]
        return g.ints(places.ravel()), places.shape
    if (
        len(parts) > 1
        and computed == [0]
        and all(isinstance(p, slice) and p == slice(None) for p in parts[1:])
    ):
        parts = [parts[0]]
    if len(parts) != 1:
        g.refuse("it is put at places that are computed, beside others; put whole rows")
    # Whole rows: row k has the places k · size + (0, 1, ..., size - 1).
    rest = g.fixed(x.shape[1:], "the length of the rows that are put")
    size = math.prod(rest)
    rows = g.cast(parts[0], "int64")
    n = x.shape[0]
    below = g.node("Less", rows, g.const(0, "int64"), dtype="bool")
    more = g.node("Add", rows, g.number(n))
    rows = g.node("Where", below, more, rows, dtype="int64")
    places = g.node("Mul", g.node("Reshape", rows, g.ints([-1, 1])), g.const(size, "int64"))
    places = g.node("Add", places, g.ints(range(size)))
    return g.node("Reshape", places, g.ints([-1])), (*(parts[0].shape or ()), *rest)


@writes("index_put")
def _index_put(g: Writer, x: Value, source: Any, *, index: Any, view: Any) -> Value:
    mask = index[0] if isinstance(index, tuple) and len(index) == 1 else index
    if _is_mask(mask) and mask.array is None and not view:
        beside = x.ndim - mask.ndim
        if isinstance(source, Value) and source.ndim > beside and source.shape[0] != 1:
            g.refuse(
                "which places a mask names depends on its values; put one number there, or choose "
                "with where() instead"
            )
        if beside:
            mask = g.unsqueeze(mask, range(mask.ndim, x.ndim))
        return g.where(mask, source, x)
    if view or not isinstance(source, Value) or any(isinstance(n, Varying) for n in x.shape):
        return _index_put_by_mask(g, x, source, index, view)
    places, shape = _flat_places(g, x, index)
    return _put(g, x, source, places, shape)


def _put(g: Writer, x: Value, source: Any, places: Value, shape: tuple[Any, ...]) -> Value:
    size = _product(g, x.shape)
    source = g.cast(source, x.dtype)
    if source.shape != tuple(shape):
        made = g.node("Expand", source, g.shape(shape))
        source = Value(made.name, made.dtype, tuple(shape))
    line = g.reshape(source, (_product(g, shape),))
    flat = scattered(g, g.reshape(x, (size,)), places, line, 0)
    return g.reshape(Value(flat.name, x.dtype, (size,)), x.shape)


def _index_put_by_mask(g: Writer, x: Value, source: Any, index: Any, view: Any) -> Value:
    """What is put into a part that is the same of each row along the axes that vary.

    The places are found on rows of the fixed axes; along those that vary, which an index here must
    leave whole, each row gets its part of the source.
    """
    lead = 0
    while lead < x.ndim and isinstance(x.shape[lead], Varying):
        lead += 1
    fixed = g.fixed(x.shape[lead:], "an axis behind one that is fixed")
    shape = (1,) * lead + tuple(fixed)
    numbered = host.arange(math.prod(fixed)).reshape(shape)
    steps = [*view, ("getitem", {"index": index})]
    for name, attributes in steps:
        numbered = _numbered(g, name, attributes, numbered, x.shape[:lead])
    if lead == 0:
        return _put(g, x, source, g.ints(numbered.ravel()), numbered.shape)
    count = math.prod(fixed)
    rows = g.reshape(x, (*x.shape[:lead], count))
    wanted = (*x.shape[:lead], *numbered.shape[lead:])
    if numbered.shape[:lead] != (1,) * lead:
        g.refuse("it is put into a part of an axis that is free; fix the axis with dynamic_axes")
    source = g.cast(source, x.dtype)
    made = g.node("Expand", source, g.shape(wanted))
    line = g.reshape(Value(made.name, x.dtype, wanted), (*x.shape[:lead], numbered.size))
    places = g.ints(numbered.ravel())
    places = g.node("Expand", places, g.shape((*x.shape[:lead], numbered.size)))
    put = scattered(g, rows, places, line, lead)
    return g.reshape(Value(put.name, x.dtype, (*x.shape[:lead], count)), x.shape)


def _numbered(g: Writer, name: str, attributes: Any, numbered: Any, lead: tuple[Any, ...]) -> Any:
    """The numbers of the places in a view of them; the axes that vary have the length 1 there."""
    if name == "getitem":
        index = attributes["index"]
        parts = list(index) if isinstance(index, tuple) else [index]
        raw = []
        axis = 0
        for part in parts:
            if isinstance(part, Value):
                if part.array is None:
                    g.refuse(
                        "it is put at places that are computed; put whole rows, or use where()"
                    )
                part = part.array
            if axis < len(lead) and isinstance(part, slice):
                start = part.start in (None, 0)
                stop = part.stop is None or part.stop == lead[axis]
                if not (start and stop and part.step in (None, 1)):
                    g.refuse("it is put into a part of an axis that is free; fix the axis")
                part = slice(None)
            elif axis < len(lead) and part is not Ellipsis and part is not None:
                g.refuse("it is put into a part of an axis that is free; fix the axis")
            axis += part is not None
            raw.append(part)
        return numbered[tuple(raw)]
    if name == "permute":
        axes = [i % numbered.ndim for i in attributes["axes"]]
        if axes[: len(lead)] != list(range(len(lead))):
            g.refuse("it is put into a view in which a free axis has moved; fix the axis")
        return numbered.transpose(axes)
    if not lead and name == "reshape":
        return numbered.reshape(attributes["shape"])
    if not lead and name == "mT":
        return numbered.swapaxes(-1, -2)
    if not lead and name == "diagonal":
        return numbered.diagonal(*(attributes[k] for k in ("offset", "axis1", "axis2")))
    if not lead and name == "broadcast_to":
        return host.broadcast_to(numbered, attributes["shape"])
    g.refuse(f"it is put into a view ({name}) of a tensor; write a new tensor instead")


# ----- places as such ----------------------------------------------------------------------------


@writes_call("embedding_bag")
def _embedding_bag(
    g: Writer,
    input: Any,
    weight: Value,
    offsets: Any,
    max_norm: Any,
    norm_type: float,
    scale_grad_by_freq: bool,
    mode: str,
    sparse: bool,
    per_sample_weights: Value | None,
    include_last_offset: bool,
    padding_idx: int | None,
) -> Any:
    if (
        not isinstance(input, Value)
        or input.ndim != 2
        or max_norm is not None
        or padding_idx is not None
    ):
        raise DeclinedError
    rows = g.node("Gather", weight, g.cast(input, "int64"), axis=0)
    if per_sample_weights is not None:
        factors = g.cast(per_sample_weights, rows.dtype)
        rows = g.node("Mul", rows, g.unsqueeze(factors, [2]))
    operator = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax"}[mode]
    return g.node(operator, rows, g.ints([1]), keepdims=0)


refuses(
    "nonzero",
    "how many elements are not 0 depends on their values; choose with where() instead",
)


@writes("tril", "triu")
def _triangle(g: Writer, x: Value, *, diagonal: int) -> Any:
    upper = int(g.here.op.name == "triu")
    return g.node("Trilu", x, g.const(diagonal, "int64"), upper=upper)


@writes("diagonal")
def _diagonal(g: Writer, x: Value, *, offset: int, axis1: int, axis2: int) -> Any:
    axis1, axis2 = axis1 % x.ndim, axis2 % x.ndim
    rows, columns = g.fixed((x.shape[axis1], x.shape[axis2]), "the size of a matrix")
    others = [i for i in range(x.ndim) if i not in (axis1, axis2)]
    lead = tuple(x.shape[i] for i in others)
    flat = g.reshape(g.transpose(x, [*others, axis1, axis2]), (*lead, rows * columns))
    numbers = host.arange(rows * columns).reshape(rows, columns).diagonal(offset)
    return g.node("Gather", flat, g.ints(numbers), axis=len(others))


@writes("diag_embed")
def _diag_embed(g: Writer, x: Value, **where: Any) -> Any:
    offset, rows, columns = where["offset"], where["rows"], where["columns"]
    # A last axis with a 0 at its end: all places off the diagonal take that.
    wider = [(0, 0)] * (x.ndim - 1) + [(0, 1)]
    ends = [a for a, _ in wider] + [b for _, b in wider]
    extended = g.node("Pad", x, g.ints(ends))
    (n,) = g.fixed(x.shape[-1:], "the length of a diagonal")
    numbers = host.full((rows, columns), n)
    i = host.arange(n)
    numbers[i - min(offset, 0), i + max(offset, 0)] = i
    found = g.node("Gather", extended, g.const(numbers), axis=x.ndim - 1)
    order = list(range(x.ndim - 1))
    count = x.ndim + 1
    first, second = where["axis1"] % count, where["axis2"] % count
    for axis, source in sorted(((first, x.ndim - 1), (second, x.ndim))):
        order.insert(axis, source)
    return g.transpose(Value(found.name, found.dtype), order)


@writes("one_hot")
def _one_hot(g: Writer, x: Value, *, num_classes: Any, dtype: Any) -> Any:
    wide = g.unsqueeze(g.cast(x, "int64"), [x.ndim])
    (n,) = g.fixed([num_classes], "the number of classes")
    return g.node("Equal", wide, g.ints(range(n)), dtype="bool")
