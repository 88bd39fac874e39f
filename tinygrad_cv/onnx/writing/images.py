"""Ops on images: resized and sampled."""

from fractions import Fraction
from numbers import Real
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
from tinygrad_cv.ops.image import simple_fraction

NEAREST = {
    "mode": "nearest",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}
EXACT = NEAREST | {
    "coordinate_transformation_mode": "half_pixel",
    "nearest_mode": "round_prefer_ceil",
}
MODES: dict[str, dict[str, Any]] = {
    "nearest": NEAREST,
    "nearest-exact": EXACT,
    "linear": {"mode": "linear"},
    "bilinear": {"mode": "linear"},
    "trilinear": {"mode": "linear"},
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.75},
}


@writes_call("interpolate")
def _interpolate(
    g: Writer,
    input: Value,
    size: Any,
    scale_factor: Any,
    mode: str,
    align_corners: bool | None,
    recompute_scale_factor: bool | None,
    antialias: bool,
) -> Any:
    if antialias or mode not in MODES:
        raise DeclinedError
    before, after = input.shape[2:], g.out.shape[2:]
    axes = list(range(2, input.ndim))
    parameters = dict(MODES[mode])
    if mode[:7] != "nearest":
        where = "align_corners" if align_corners else "half_pixel"
        parameters["coordinate_transformation_mode"] = where
    free = any(isinstance(n, Varying) for n in before)
    x = g.cast(input, g.out.dtype)
    if free and scale_factor is not None:
        factors = scale_factor if isinstance(scale_factor, tuple) else (scale_factor,) * len(axes)
        if not all(isinstance(f, Real) for f in factors):
            raise DeclinedError
        whole = all(simple_fraction(f).denominator == 1 for f in factors)
        if not whole and (recompute_scale_factor or align_corners):
            g.refuse("its scale depends on an axis that is free; fix the axis, or give a size")
        scales = g.const([float(f) for f in factors], "float32")
        return g.node("Resize", x, None, scales, axes=axes, **parameters)
    if not free:
        exact = all(isinstance(n, int) and n for n in after) and _sizes_say_all(
            before, after, scale_factor, len(axes)
        )
        # A float may put a position on the wrong side of an element; whole factors cannot.
        whole = all(m % n == 0 for n, m in zip(before, after, strict=True) if exact)
        if not exact or (mode[:7] == "nearest" and not whole):
            raise DeclinedError
    return g.node("Resize", x, None, None, g.shape(after), axes=axes, **parameters)


def _sizes_say_all(before: Any, after: Any, scale_factor: Any, axes: int) -> bool:
    """Whether the scale is that of the lengths: none was given, or nothing was cut off."""
    if scale_factor is None:
        return True
    factors = scale_factor if isinstance(scale_factor, tuple) else (scale_factor,) * axes
    return all(
        isinstance(f, Real) and simple_fraction(f) == Fraction(m, n)
        for f, n, m in zip(factors, before, after, strict=True)
    )


@writes("resample", "resample_transpose")
def _resample(g: Writer, x: Value, *, axis: int, **how: Any) -> Any:
    """The product with the matrix of the weights; where each row has one, and it is 1, a Gather."""
    transposed = g.here.op.name == "resample_transpose"
    n = how["length"] if transposed else x.shape[axis]
    g.fixed([n, *x.shape[axis : axis + 1], how["size"], *how["step"]], "a length that is resampled")
    terms = g.here.op.terms(n, adjoint=transposed)
    rows = n if transposed else how["size"]
    matrix = host.zeros((rows, x.shape[axis]))
    for term in terms:
        weights = 1.0 if term.weights is None else term.weights
        host.add.at(matrix, (host.arange(rows)[term.rows], term.places), weights)
    if (matrix.astype(bool).sum(1) == 1).all() and (matrix.max(1) == 1).all():
        return g.node("Gather", x, g.ints(matrix.argmax(1)), axis=axis)
    wide = g.cast(x, g.out.dtype)
    if axis == x.ndim - 1:
        return g.node("MatMul", wide, g.const(matrix.T, wide.dtype))
    if axis == x.ndim - 2:
        return g.node("MatMul", g.const(matrix, wide.dtype), wide)
    order = [i for i in range(x.ndim) if i != axis] + [axis]
    product = g.node("MatMul", g.transpose(wide, order), g.const(matrix.T, wide.dtype))
    return g.transpose(Value(product.name, product.dtype), [order.index(i) for i in range(x.ndim)])


@writes_call("grid_sample")
def _grid_sample(
    g: Writer, input: Value, grid: Value, mode: str, padding_mode: str, align_corners: bool | None
) -> Any:
    x, places = g.alike(input, grid)
    return g.node(
        "GridSample",
        x,
        places,
        mode={"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode),
        padding_mode=padding_mode,
        align_corners=int(bool(align_corners)),
    )


@writes_call("affine_grid")
def _affine_grid(g: Writer, theta: Value, size: Any, align_corners: bool | None) -> Any:
    return g.node(
        "AffineGrid",
        g.cast(theta, g.out.dtype),
        g.shape(size),
        align_corners=int(bool(align_corners)),
    )


@writes("sample")
def _sample(g: Writer, x: Value, w: Value, index: Value) -> Any:
    """Σ w[n, k, l] · x[n, c, index[n, k, l]], over k; what has the weight 0 has no part."""
    x, w = g.alike(x, w)
    n, c, _ = x.shape
    _, k, out = w.shape
    k, out = g.fixed((k, out), "the number of places that are sampled")
    lines = g.reshape(g.cast(index, "int64"), (n, 1, k * out))
    wide = g.node("Expand", lines, g.shape((n, c, k * out)))
    found = g.node("GatherElements", x, wide, axis=2)
    found = g.reshape(Value(found.name, x.dtype, (n, c, k * out)), (n, c, k, out))
    beside = g.unsqueeze(w, [1])
    none = g.node("Equal", beside, g.const(0, w.dtype), dtype="bool")
    products = g.where(none, 0.0, g.node("Mul", found, beside))
    return g.node("ReduceSum", products, g.ints([2]), keepdims=0)


refuses(
    "sample_transpose sample_weight",
    "it belongs to a backward pass, and gradients are not exported",
)
