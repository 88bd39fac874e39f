"""How many pixels of the input one element of a layer's output depends on: its receptive field.

Along each axis of the image an element sees r pixels, and its neighbour sees the same moved by j.
A window of k elements, d apart, taken at every s-th place, makes of them

    r <- r + (k - 1) · d · j,        j <- j · s

(Araujo, Norris and Sim, Computing receptive fields of convolutional neural networks, 2019).
Statistics of a batch norm, which see everything while it trains, are left out, as usual; where
branches meet, the largest counts.
"""

import ast
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from tinygrad_cv._op import REGISTRY
from tinygrad_cv.ops.activation import Activation
from tinygrad_cv.ops.elementwise import Elementwise
from tinygrad_cv.viz.data import Node, Trace


class Part(NamedTuple):
    """So many elements of an axis of an array, and what a step from one to the next is."""

    length: int
    image: int | Literal["mixed"] | None = None
    """The axis of the image that it goes along; None for none (samples, channels)."""
    step: float = 0.0
    """In pixels."""


Axis = tuple[Part, ...]
"""An axis of an array, in row-major order of its parts: a reshape may have made one of several."""


@dataclass(frozen=True)
class Field:
    """What an element of an array sees: pixels along each axis of the image; and its axes."""

    sizes: tuple[float, ...]
    axes: tuple[Axis, ...]


Seen = Field | Literal["all", "pixels"] | None
"""All of the input; pixels, that is the input itself; None where nobody knows."""

WINDOWS = re.compile(r"(conv|max_pool|conv_transpose)[123]d|max_pool_with_places|window_sum")
KEEPS = {
    "alpha_dropout", "batch_norm", "cast", "clone", "dropout", "flip", "gaussian_noise",
    "local_response_norm", "normalize", "pad", "rms_norm", "roll", "rrelu", "scale_channels",
    "standardize", "subtract_mean", "to_device", "broadcast_to",
}  # fmt: skip
REDUCES = {"mean", "sum", "amax", "amin", "var", "std", "norm", "logsumexp", "prod"}
ALONG = {"softmax", "log_softmax", "cumsum", "glu"}
"""Not element by element, but along an axis."""
TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
"""Elements that an interpolation looks at, along one axis."""


def receptive_fields(trace: Trace) -> dict[int, str]:
    """The receptive field of each op's output: "7", "1×7" where the axes differ, "all".

    "all" is the whole input, after a global pool or a linear layer. What is not known has no entry.

    >>> from tinygrad_cv import nn, viz
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.Flatten())
    >>> list(receptive_fields(viz.trace(net, (1, 3, 12, 12))).values())
    ['3', '4', '8', '8']
    """
    seen: dict[int, Seen] = {}
    for node in trace.nodes:
        if node.kind == "input" and len(node.shape) > 1:  # others are constants and statistics
            seen[node.id] = "pixels"
        elif node.kind == "op":
            sources = [trace.nodes[i.source] for i in node.inputs if i.source is not None]
            before = [(source, seen[source.id]) for source in sources if source.id in seen]
            if before:
                seen[node.id] = _after(node, before, trace)
    ops = (node.id for node in trace.nodes if node.kind == "op")
    return {i: words for i in ops if (words := told(seen.get(i)))}


def told(seen: Seen) -> str:
    """A field in words; "" if it is not known."""
    if not isinstance(seen, Field):
        return "all" if seen == "all" else "1" if seen == "pixels" else ""
    sizes = [str(math.ceil(size)) for size in seen.sizes]
    return sizes[0] if len(set(sizes)) == 1 else "×".join(sizes)


def attributes_of(node: Node) -> dict[str, Any]:
    """The attributes of an op, read from their text."""
    found = {}
    for name, text in re.findall(r"(\w+)=(\([^)]*\)|\S+)", node.attributes):
        try:
            found[name] = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            found[name] = text
    return found


def kernel_of(node: Node, trace: Trace) -> tuple[int, ...]:
    """The kernel of a convolution or a pool; () of other ops."""
    if not WINDOWS.fullmatch(node.op):
        return ()
    if node.op.startswith("conv"):
        weight = node.inputs[1].source
        return () if weight is None else tuple(trace.nodes[weight].shape[2:])
    return tuple(attributes_of(node)["kernel"])


def _after(node: Node, before: Sequence[tuple[Node, Seen]], trace: Trace) -> Seen:
    """The field of an op's output, given those of its inputs that come from the trace's inputs."""
    if any(field == "all" for _, field in before):
        return "all"
    if any(field is None for _, field in before):
        return None
    if node.op == "matmul" and len(before) > 1 and isinstance(before[1][1], Field):
        return _product(before)
    if node.op == "cat" or node.op in KEEPS or (is_elementwise(node.op) and node.op not in ALONG):
        return _joined(node, before)
    source, field = before[0]
    if field == "pixels":
        if node.op == "reshape" and _without_ones(source.shape) == _without_ones(node.shape):
            return "pixels"
        field = _begun(source, bool(WINDOWS.fullmatch(node.op)))
    if not isinstance(field, Field) or len(field.axes) != len(source.shape):
        return None
    options = attributes_of(node)
    if WINDOWS.fullmatch(node.op):
        return _windowed(node, field, kernel_of(node, trace), options)
    if node.op in ("linear", "matmul"):
        return "all" if _along(field.axes[-1]) else _with(field, -1, (Part(node.shape[-1]),))
    if node.op == "reshape":
        return _reshaped(field, node.shape)
    if node.op == "permute":
        return replace(field, axes=tuple(field.axes[axis] for axis in options["axes"]))
    if node.op == "mT":
        return replace(field, axes=(*field.axes[:-2], field.axes[-1], field.axes[-2]))
    if node.op == "resample":
        return _resampled(node, source, field, options)
    if node.op in REDUCES:
        return _reduced(source, field, options.get("axis"), bool(options.get("keepdims")))
    if node.op in ALONG:
        return "all" if _along(field.axes[options.get("axis", -1)]) else field
    if node.op == "getitem":
        return _cut(node, field)
    return None


def is_elementwise(op: str) -> bool:
    """Whether an op is a function of one element, or an activation."""
    return issubclass(REGISTRY.get(op, object), Elementwise | Activation)


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [length for length in shape if length != 1]


def _along(axis: Axis) -> bool:
    """Whether an axis goes along one of the image."""
    return any(part.image is not None for part in axis)


def _with(field: Field, i: int, axis: Axis) -> Field:
    """The field with another axis in this place."""
    axes = list(field.axes)
    axes[i] = axis
    return replace(field, axes=tuple(axes))


def _begun(source: Node, windows: bool) -> Seen:
    """The field of a pixel of the input: (N, C, *S), or (N, features)."""
    samples, channels, *image = source.shape
    if len(image) >= 2 or (len(image) == 1 and windows):
        axes = [(Part(samples),), (Part(channels),)]
        axes += [(Part(length, i, 1.0),) for i, length in enumerate(image)]
        return Field((1.0,) * len(image), tuple(axes))
    return None if image else Field((1.0,), ((Part(samples),), (Part(channels, "mixed"),)))


def _joined(node: Node, before: Sequence[tuple[Node, Seen]]) -> Seen:
    """Where branches meet, element by element or one beside the other: the largest counts."""
    fields = [field for _, field in before if isinstance(field, Field)]
    if not fields:
        return "pixels"
    if len({len(field.sizes) for field in fields}) > 1:
        return None
    axes = []
    for i, length in enumerate(node.shape):
        behind = i - len(node.shape)  # axes are broadcast from the last one on
        found = [field.axes[behind] for field in fields if len(field.axes) >= -behind]
        fitting = (axis for axis in found if math.prod(part.length for part in axis) == length)
        mixed: Axis = (Part(length, "mixed" if any(map(_along, found)) else None),)
        axes.append(next(fitting, mixed))
    return Field(tuple(map(max, zip(*(field.sizes for field in fields), strict=True))), tuple(axes))


def _windowed(node: Node, field: Field, kernel: Sequence[int], options: dict[str, Any]) -> Seen:
    ones = (1,) * len(kernel)
    strides, dilations = options.get("stride", ones), options.get("dilation", ones)
    field = _with(field, 1, (Part(node.shape[1]),))
    for i, (k, s, d) in enumerate(zip(kernel, strides, dilations, strict=True), start=2):
        if "transpose" in node.op:  # between two elements there are s - 1 new ones
            taps, scale = math.ceil(((k - 1) * d + 1) / s), 1 / s
        else:
            taps, scale = (k - 1) * d + 1, s
        if (wider := _seeing(field, i, taps, scale, node.shape[i])) is None:
            return None
        field = wider
    return field


def _resampled(node: Node, source: Node, field: Field, options: dict[str, Any]) -> Seen:
    i, mode = options["axis"], str(options["mode"])
    if mode not in TAPS or "antialias" in options:
        return None
    return _seeing(field, i, TAPS[mode], source.shape[i] / node.shape[i], node.shape[i])


def _seeing(field: Field, i: int, taps: int, scale: float, length: int) -> Field | None:
    """The field of what looks at so many elements along an axis, and goes on in longer steps."""
    _, image, step = field.axes[i][0]
    if len(field.axes[i]) != 1 or not isinstance(image, int):
        return None
    sizes = list(field.sizes)
    sizes[image] += (taps - 1) * step
    field = replace(field, sizes=tuple(sizes))
    return _with(field, i, (Part(length, image, step * scale),))


def _reduced(source: Node, field: Field, over: Any, keepdims: bool) -> Seen:
    """One number for all along some axes; once an axis of the image is gone, it has seen all."""
    count = len(source.shape)
    chosen = range(count) if over is None else (over,) if isinstance(over, int) else over
    gone = {axis % count for axis in chosen}
    sizes = list(field.sizes)
    rest = [part for i, axis in enumerate(field.axes) if i not in gone for part in axis]
    for part in (part for i in gone for part in field.axes[i]):
        if isinstance(part.image, int):
            sizes[part.image] += (part.length - 1) * part.step
        if part.image is not None and not any(
            other.image == part.image and other.length > 1 for other in rest
        ):
            return "all"
    one = (Part(1),)
    kept = [one if i in gone else a for i, a in enumerate(field.axes) if keepdims or i not in gone]
    return Field(tuple(sizes), tuple(kept))


def _product(before: Sequence[tuple[Node, Seen]]) -> Seen:
    """x @ y of two arrays that come from the input."""
    (_, x), (_, y) = before
    if not isinstance(x, Field) or not isinstance(y, Field) or len(x.sizes) != len(y.sizes):
        return None
    if _along(x.axes[-1]) or _along(y.axes[-2]):
        return "all"
    return Field(tuple(map(max, zip(x.sizes, y.sizes, strict=True))), (*x.axes[:-1], y.axes[-1]))


def _cut(node: Node, field: Field) -> Seen:
    """x[index] for whole numbers and slices without a step."""
    index = re.fullmatch(r"index=\(?(.*?),?\)?", node.attributes)
    entries = index[1].split(", ") if index else []
    axes: list[Axis] = []
    rest = list(field.axes)
    for entry in entries:
        if not re.fullmatch(r"-?\d+|(-?\d+)?:(-?\d+)?", entry) or not rest:
            return None
        axis = rest.pop(0)
        if ":" not in entry:
            continue
        length = node.shape[len(axes)]
        if length != math.prod(part.length for part in axis):
            image = axis[0].image if len(axis) == 1 else "mixed" if _along(axis) else None
            axis = (Part(length, image, axis[0].step),)
        axes.append(axis)
    return replace(field, axes=(*axes, *rest))


def _reshaped(field: Field, shape: Sequence[int]) -> Seen:
    """The parts of all axes, dealt out anew in their order; one that is too long is split."""
    parts = [part for axis in field.axes for part in axis if part.length != 1 or _along((part,))]
    axes: list[Axis] = []
    for wanted in shape:
        axis: list[Part] = []
        while wanted > 1 or (parts and parts[0].length == 1 and not axis):
            length, image, step = parts.pop(0)
            if length > wanted and length % wanted == 0:
                inner = length // wanted
                parts.insert(0, Part(inner, image, step))
                length, step = wanted, step * inner
            elif wanted % length:
                return None
            axis.append(Part(length, image, step))
            wanted //= length
        axes.append(tuple(axis) or (Part(1),))
    if axes:
        axes[-1] += tuple(parts)  # an image of one pixel
    return replace(field, axes=tuple(axes))
