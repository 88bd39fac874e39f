"""Images in another geometry: resized, sampled on a grid, and with pixels moved into channels."""

import functools
import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import Any, NamedTuple

from tinygrad_cv._apply import F as T
from tinygrad_cv._apply import computed_in
from tinygrad_cv._graph import in_one
from tinygrad_cv._inputs import public
from tinygrad_cv._op import Op, promoted
from tinygrad_cv._public import FUNCTIONAL, METHOD, TOP
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.ops.conv import check_float
from tinygrad_cv.ops.pool import adaptive_mean
from tinygrad_cv.ops.shape import apart

MODES = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "area": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
}
"""The modes of `interpolate`, with the numbers of spatial axes that they are for."""

ROUNDED = {
    ("linear", 1): (1,),
    ("bilinear", 2): (1,),
    ("trilinear", 3): (1,),
    ("nearest", 2): (1, 2),
}
"""By mode and number of axes: the ratios size / length that replace a scale factor near them.

So PyTorch has it; "nearest" on 1 or 3 axes, and the other modes, keep the factor as it is.
"""

CUBIC, CUBIC_WIDE = -0.75, -0.5
"""The slope of the cubic kernel at 1, its free parameter; without and with `antialias`."""

MANY = 8
"""Sums of more terms than this, and means, are added up in double precision."""


class Term(NamedTuple):
    """One term of each of the sums y[rows] = Σ weights · x[places]; a weight of 0 stands for none.

    All weights are 1 where they are None.
    """

    rows: slice
    places: Any
    weights: Any


class _Resampling(Op):
    """Base of y = M x along one axis, where the matrix M (size, length) interpolates.

    Output i looks at the position s = step·i where corners are `aligned`, else at
    s = step·(i + ½) - ½, counted in elements of the input. The step is a fraction, its numerator
    and its denominator, so that a position is never rounded to the wrong side of an element.
    """

    axis: int
    size: int
    step: tuple[int, int]
    mode: str
    aligned: bool = False
    antialias: bool = False

    @property
    def geometry(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.attributes if name != "length"}

    def terms(self, length, adjoint):
        """The sums that M (or its adjoint) consists of."""
        how = (self.size, *self.step, self.mode, self.aligned, self.antialias)
        return _terms(length, *how, adjoint)

    def summed(self, xp, terms, x, count):
        """The sums of `terms`, in double precision where they are long or means."""
        wide = len(terms) > MANY or self.mode == "area"
        return xp.weighted_sums(x, self.axis, terms, count, wide)

    def work(self, x, terms):
        """One product for each weight and one addition for each term after the first."""
        each = sum(len(t.places) * ((k > 0) + (t.weights is not None)) for k, t in enumerate(terms))
        return each * math.prod((*x[: self.axis], *x[self.axis + 1 :]))


@functools.lru_cache(maxsize=256)
def _terms(
    length: int,
    size: int,
    numerator: int,
    denominator: int,
    mode: str,
    aligned: bool,
    antialias: bool,
    adjoint: bool,
) -> tuple[Term, ...]:
    """The weights of M that are not 0, as sums for each output; if `adjoint`, for each input."""
    columns: Any
    weights: Any
    i = host.arange(size)[:, None]
    # The position s as a fraction p / q, in whole numbers.
    p, q = numerator * i, denominator
    if not aligned:
        p, q = numerator * (2 * i + 1) - q, 2 * q
    if mode == "nearest":
        columns, weights = host.minimum(numerator * i // denominator, length - 1), host.ones(1)
    elif mode == "nearest-exact":  # the element whose square, s ± ½, holds the position
        columns, weights = host.minimum((2 * p + q) // (2 * q), length - 1), host.ones(1)
    elif mode == "area":
        first, end = i * length // size, -((i + 1) * -length // size)
        columns = first + host.arange((end - first).max())
        weights = (columns < end) / (end - first)
    elif antialias:
        # A kernel as wide as the step, over what there is of it inside of the image.
        wide = max(numerator, denominator)
        reach = math.ceil((1 if mode == "linear" else 2) * wide / denominator)
        columns = p // q + host.arange(1 - reach, reach + 1)
        distances = abs(columns * q - p) * denominator / (q * wide)
        weights = _kernel(mode, distances, CUBIC_WIDE)
        weights = weights * ((columns >= 0) & (columns < length))
        weights /= weights.sum(1, keepdims=True)
    else:
        columns = p // q + (host.arange(2) if mode == "linear" else host.arange(-1, 3))
        weights = _kernel(mode, abs(columns * q - p) / q, CUBIC)
    rows, columns, weights = (
        a.ravel() for a in host.broadcast_arrays(i, host.clip(columns, 0, length - 1), weights)
    )
    # What was clipped to the edge is added up there.
    entries, which = host.unique(
        columns * size + rows if adjoint else rows * length + columns, return_inverse=True
    )
    weights = host.bincount(which, weights)
    entries, weights = entries[weights != 0], weights[weights != 0]
    rows, places = host.divmod(entries, size if adjoint else length)
    number = host.arange(len(rows)) - host.searchsorted(rows, rows)  # of a term in its sum
    terms = []
    for k in range(number.max(initial=-1) + 1):
        here = number == k
        span = slice(int(rows[here][0]), int(rows[here][-1]) + 1)
        where = host.zeros(span.stop - span.start, places.dtype)
        weight = host.zeros(len(where))
        where[rows[here] - span.start] = places[here]
        weight[rows[here] - span.start] = weights[here]
        terms.append(Term(span, where, None if (weight == 1).all() else weight))
    return tuple(terms)


def _kernel(mode: str, d: Any, a: float) -> Any:
    """The weight of an element at the distance d: a tent, or Keys' cubic kernel (1981)."""
    if mode == "linear":
        return host.maximum(1 - d, 0)
    return host.where(d <= 1, _near(d, a), host.where(d < 2, _far(d, a), 0.0))


def _near(d: Any, a: float = CUBIC) -> Any:
    """The cubic kernel at a distance d up to 1."""
    return ((a + 2) * d - (a + 3)) * d * d + 1


def _far(d: Any, a: float = CUBIC) -> Any:
    """The cubic kernel at a distance d from 1 to 2."""
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a


class Resample(_Resampling):
    """x interpolated to `size` elements along an axis; linear in x."""

    def forward(self, xp, x):
        self.length = x.shape[self.axis]
        return self.summed(xp, self.terms(self.length, adjoint=False), x, self.size)

    def flops(self, out, x):
        return self.work(x, self.terms(x[self.axis], adjoint=False))

    def grad_x(self, F, g):
        return F.resample_transpose(g, length=self.length, **self.geometry)


class ResampleTranspose(_Resampling):
    """The adjoint of resample: each x shared out among the elements that it was made of."""

    length: int

    def forward(self, xp, x):
        return self.summed(xp, self.terms(self.length, adjoint=True), x, self.length)

    def flops(self, out, x):
        return self.work(x, self.terms(self.length, adjoint=True))

    def grad_x(self, F, g):
        return F.resample(g, **self.geometry)


class _Sampling(Op):
    """Base of the three ops around Σ w[n, k, l] · x[n, c, index[n, k, l]] · g[n, c, l].

    As with convolutions, each is the derivative of that sum in one of x (N, C, P), w (N, K, L) and
    g (N, C, L), and so are their rules. What has the weight 0 has no part, not even as 0·∞.
    """

    nondifferentiable = ("index",)

    def flops(self, out, *inputs):
        """A product and an addition for each n, k, l and c."""
        return 2 * math.prod(inputs[-1]) * inputs[0][1]


class Sample(_Sampling):
    """y[n, c, l] = Σ w[n, k, l] · x[n, c, index[n, k, l]], over k."""

    def forward(self, xp, x, w, index):
        self.length = x.shape[2]
        return xp.sample(x, w, index)

    def grad_x(self, F, g, w, index):
        return F.sample_transpose(g, w, index, length=self.length)

    def grad_w(self, F, g, x, index):
        return F.sample_weight(x, g, index)


class SampleTranspose(_Sampling):
    """x[n, c, p] = Σ w[n, k, l] · d[n, c, l], over all k and l with index[n, k, l] = p."""

    length: int

    def forward(self, xp, d, w, index):
        return xp.sample_transpose(d, w, index, self.length)

    def grad_d(self, F, g, w, index):
        return F.sample(g, w, index)

    def grad_w(self, F, g, d, index):
        return F.sample_weight(g, d, index)


class SampleWeight(_Sampling):
    """w[n, k, l] = Σ x[n, c, index[n, k, l]] · d[n, c, l], over c."""

    def forward(self, xp, x, d, index):
        self.length = x.shape[2]
        return xp.sample_weight(x, d, index)

    def grad_x(self, F, g, d, index):
        return F.sample_transpose(d, g, index, length=self.length)

    def grad_d(self, F, g, x, index):
        return F.sample(x, g, index)


# ----- as functions ------------------------------------------------------------------------------


def _each(name: str, value: Any, count: int) -> list[Any]:
    """One value for each spatial axis, from one for all or from a sequence."""
    values = list(value) if isinstance(value, tuple | list) else [value] * count
    if len(values) != count:
        raise ValueError(
            f"interpolate: {name}={value} has {len(values)} values for {count} spatial axes."
        )
    kind, words = (Integral, "whole") if name == "size" else (Real, "finite")
    if value is not None and not all(isinstance(n, kind) and math.isfinite(n) for n in values):
        raise TypeError(f"interpolate: {name} is made of {words} numbers; got {value!r}.")
    return values


def simple_fraction(factor: Any) -> Fraction:
    """A simple fraction that rounds to the factor: 1/10 for 0.1, although the float is not that."""
    if isinstance(factor, Rational):
        return Fraction(factor)
    kind = type(factor)  # float, or a narrower one of NumPy
    exact, largest = Fraction(float(factor)), 1
    while kind(simple := exact.limit_denominator(largest)) != factor:
        largest *= 2
    return simple


@public(TOP, FUNCTIONAL)
@in_one
@computed_in("float32")
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Images (N, C, *S) resized to `size`, or by `scale_factor`, with 1 to 3 spatial axes.

    Pixels are squares: output i lies at the position step·(i + ½) - ½ of the input, where step is
    length / size, or 1 / scale_factor if that was given (unless `recompute_scale_factor`). With
    `align_corners` the centres of the corners meet instead: step·i, and step is
    (length - 1) / (size - 1). The modes:

    - "nearest" takes pixel ⌊step·i⌋, "nearest-exact" the one that holds the position;
    - "linear", "bilinear" and "trilinear" (for 1, 2 and 3 axes) weigh the two neighbours along
      each axis by their distance;
    - "bicubic" (2 axes) weighs four of them, by the kernel of Keys (1981) with a = -0.75;
    - "area" is the mean of the pixels that an output touches.

    With `antialias`, for "bilinear" and "bicubic" (then with a = -0.5), an axis that gets shorter
    is weighed by a kernel that is longer by the same factor, so that no pixel is passed over.

    A scale factor is taken as the fraction that it was written for: 0.1 as 1/10, not as the number
    that a float holds for it; and no position is rounded. A pixel without weight has no part in an
    output: a NaN or an infinity stays among its neighbours.

    >>> interpolate(Tensor([[[1.0, 3.0]]]), scale_factor=2, mode="linear")
    tensor([[[1. , 1.5, 2.5, 3. ]]])
    """
    lengths = input.shape[2:]
    if mode not in MODES:
        raise ValueError(f"interpolate: the mode is one of {', '.join(MODES)}; got {mode!r}.")
    if len(lengths) not in MODES[mode]:
        axes = " or ".join(map(str, MODES[mode]))
        raise ValueError(
            f"interpolate: the mode {mode!r} is for images (N, C, *S) with {axes} spatial axes; "
            f"got {input.shape}."
        )
    if min(lengths) == 0:
        raise ValueError(f"interpolate: there are no pixels in images of shape {input.shape}.")
    if mode not in ("nearest", "nearest-exact") and not input.is_floating_point():
        raise TypeError(
            f"interpolate: the mode {mode!r} makes fractions, and the images are {input.dtype}. "
            "Convert them: images.float()."
        )
    if align_corners is not None and not mode.endswith(("linear", "cubic")):
        raise ValueError(
            f"interpolate: align_corners goes with the linear and cubic modes, not with {mode!r}."
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(
            f"interpolate: antialias goes with 'bilinear' and 'bicubic', not with {mode!r}."
        )
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"interpolate: expected either size or scale_factor; got size={size} and "
            f"scale_factor={scale_factor}."
        )
    if recompute_scale_factor and size is not None:
        raise ValueError("interpolate: recompute_scale_factor goes with scale_factor, not size.")
    count = len(lengths)
    factors = _each("scale_factor", scale_factor, count)
    if size is None:
        factors = [simple_fraction(factor) for factor in factors]
        sizes = [math.floor(n * factor) for n, factor in zip(lengths, factors, strict=True)]
    else:
        sizes = _each("size", size, count)
    if min(sizes) < 1:
        raise ValueError(
            f"interpolate: images of size {lengths} would get the size {tuple(sizes)}; each length "
            "must be 1 or more."
        )
    if recompute_scale_factor:
        factors = [None] * count
    if mode == "area":
        return adaptive_mean(count, input, sizes)
    method = mode.removeprefix("bi").removeprefix("tri")
    steps = []
    for length, size, factor in zip(lengths, sizes, factors, strict=True):
        if align_corners:
            step = Fraction(length - 1, size - 1) if size > 1 else Fraction(0)
        elif factor is None or size / length in ROUNDED.get((mode, count), ()):
            step = Fraction(length, size)
        else:
            step = 1 / factor
        steps.append(step)
    # First the axes that get shorter, and of equal ones the last: that is the least work.
    for k in sorted(range(count), key=lambda k: (sizes[k] / lengths[k], -k)):
        input = T.resample(
            input,
            axis=2 + k,
            size=sizes[k],
            step=steps[k].as_integer_ratio(),
            mode=method,
            aligned=bool(align_corners),
            antialias=antialias,
        )
    return input


# ----- sampling on a grid ------------------------------------------------------------------------


def _check_grid(input: Tensor, grid: Tensor, mode: str, padding_mode: str) -> None:
    check_float("grid_sample", input, grid)
    spatial = input.ndim - 2
    if spatial not in (2, 3) or grid.ndim != input.ndim or grid.shape[-1] != spatial:
        raise ValueError(
            "grid_sample: expected an input (N, C, H, W) with a grid (N, H', W', 2), or an input "
            f"(N, C, D, H, W) with a grid (N, D', H', W', 3); got {input.shape} and {grid.shape}."
        )
    if grid.shape[0] != input.shape[0]:
        raise ValueError(
            f"grid_sample: a grid for each image was expected; got {grid.shape[0]} grids for "
            f"{input.shape[0]} images."
        )
    if 0 in input.shape[2:]:
        raise ValueError(f"grid_sample: there are no pixels in images of shape {input.shape}.")
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"grid_sample: mode must be 'bilinear', 'nearest' or 'bicubic'; got {mode!r}."
        )
    if mode == "bicubic" and spatial == 3:
        raise ValueError(
            f"grid_sample: the mode 'bicubic' is for images (N, C, H, W); got {input.shape}."
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "grid_sample: padding_mode must be 'zeros', 'border' or 'reflection'; got "
            f"{padding_mode!r}."
        )


def _unpadded(coordinate: Tensor, length: int, align_corners: bool) -> Tensor:
    """Where a coordinate from -1 to 1 falls along an axis, counted in pixels."""
    if align_corners:
        return (coordinate + 1) * ((length - 1) / 2)
    return ((coordinate + 1) * length - 1) / 2


def _position(coordinate: Tensor, length: int, padding_mode: str, align_corners: bool) -> Tensor:
    """Where a coordinate falls, or where it is sent to if that is outside of the image."""
    position = _unpadded(coordinate, length, align_corners)
    if padding_mode == "zeros":
        # Beyond the first pixel outside there is nothing new; at infinity there is inf - inf.
        return T.clamp(position, min=-1.0, max=float(length))
    if padding_mode == "reflection":
        low, span = (0.0, length - 1.0) if align_corners else (-0.5, float(length))
        if span == 0:
            return position * 0
        distance = T.abs(position - low)
        turns = T.floor(distance / span).detach()
        rest = distance - turns * span
        there = T.floor(turns / 2) * 2 == turns
        position = T.where(there, rest, span - rest) + low
    # As in PyTorch, and unlike clamp, the gradient stops at the edge itself.
    edge = T.clamp(position.detach(), min=0.0, max=length - 1.0)
    return T.where(T.logical_and(position > 0, position < length - 1), position, edge)


def _reflected(place: Tensor, length: int, align_corners: bool) -> Tensor:
    """A whole place on an axis that goes on as its own mirror image."""
    period = max(2 * (length - 1), 1) if align_corners else 2 * length
    place = place - T.floor(place / period) * period
    there: Tensor = T.minimum(place, (period if align_corners else period - 1) - place)
    return there


def _pixel(place: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """A whole place along an axis as the index of a pixel, and whether it is outside of them."""
    inside = T.where(place >= 0, T.minimum(place, length - 1.0), 0.0)
    return T.cast(inside, dtype="int64"), T.logical_or(place < 0, place > length - 1)


def _neighbours(
    coordinate: Tensor, length: int, mode: str, padding_mode: str, align_corners: bool
) -> list[tuple[Tensor, Tensor]]:
    """The pixels along an axis that a coordinate sees: their indices, and the weight of each."""
    if mode == "bicubic":
        position = _unpadded(coordinate, length, align_corners)
        if padding_mode != "reflection":
            # Beyond two pixels outside there is nothing new; at infinity there is inf - inf.
            position = T.clamp(position, min=-2.0, max=length + 1.0)
        below = T.floor(position.detach())
        t = position - below
        weights = [_far(t + 1), _near(t), _near(1 - t), _far(2 - t)]
        places = [below + offset for offset in (-1, 0, 1, 2)]
        if padding_mode == "reflection":
            places = [_reflected(place, length, align_corners) for place in places]
        elif padding_mode == "border":
            places = [T.clamp(place, min=0.0, max=length - 1.0) for place in places]
    else:
        position = _position(coordinate, length, padding_mode, align_corners)
        if mode == "nearest":
            places = [T.round(position.detach())]
            weights = [places[0] * 0 + 1]  # but NaN where the place is
        else:
            below = T.floor(position.detach())
            t = position - below
            places, weights = [below, below + 1], [1 - t, t]
    neighbours = []
    for place, weight in zip(places, weights, strict=True):
        index, outside = _pixel(place, length)
        neighbours.append((index, T.where(outside, 0.0, weight)))
    return neighbours


@public(TOP, FUNCTIONAL)
@in_one
@computed_in("float32")
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:
    """Images read at the places of a grid (Jaderberg et al., 2015, "Spatial Transformer Networks").

    input (N, C, H, W) and grid (N, H', W', 2) -> (N, C, H', W'), or input (N, C, D, H, W) and
    grid (N, D', H', W', 3) -> (N, C, D', H', W'). A place is (x, y) or (x, y, z), x along the last
    axis; -1 and 1 are the outer edges of the image, or with `align_corners` the centres of its
    outermost pixels.

    "bilinear" weighs the 4 (or 8) pixels around a place, "bicubic" (for images) 16 of them by the
    kernel of Keys (1981) with a = -0.75: the gradients reach the input and the grid. "nearest"
    takes one pixel, and the grid gets no gradient. Outside of the image there are zeros; with the
    padding mode "border" the nearest pixel, with "reflection" the image mirrored at its edges.

    A pixel without weight has no part in a sample, whatever it holds. A place that is NaN gives
    NaN, and so does an infinite one with "reflection".

    As a function of the grid it has kinks where a place meets the centre of a pixel along some
    axis; the gradient is there that of the next cell, and 0 on the centres of the outermost pixels
    with the padding modes "border" and "reflection".

    >>> image = Tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> grid_sample(image, Tensor([[[[0.0, 0.0], [-0.5, 0.0]]]]))
    tensor([[[[2.5, 2. ]]]])
    """
    _check_grid(input, grid, mode, padding_mode)
    sizes, spatial = input.shape[2:], input.ndim - 2
    dtype = promoted((input, grid))
    grid = T.cast(grid, dtype="float64")  # a place counts in pixels, its weights in parts of one
    along = [
        _neighbours(grid[..., spatial - 1 - axis], length, mode, padding_mode, align_corners)
        for axis, length in enumerate(sizes)
    ]
    indices, weights = [], []
    for corner in itertools.product(*along):
        place, weight = corner[0]
        for (index, other), length in zip(corner[1:], sizes[1:], strict=True):
            place, weight = place * length + index, weight * other
        indices.append(place.flatten(1))
        weights.append(weight.flatten(1))
    shares = T.cast(T.stack(*weights, axis=1), dtype=dtype)
    y = T.sample(input.flatten(2), shares, T.stack(*indices, axis=1))
    return T.reshape(y, shape=(*input.shape[:2], *grid.shape[1:-1]))


@public(TOP, FUNCTIONAL)
@in_one
@computed_in("float64")
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """The grid for `grid_sample` whose places are theta · (x, y, 1) of the output's own places.

    theta (N, 2, 3) and size (N, C, H, W) -> (N, H, W, 2), or theta (N, 3, 4) and size
    (N, C, D, H, W) -> (N, D, H, W, 3).

    >>> affine_grid(Tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.5]]]), (1, 1, 1, 2))
    tensor([[[[-0.5,  0.5],
              [ 0.5,  0.5]]]])
    """
    count, lengths = len(size) - 2, tuple(size[2:])
    if count not in (2, 3) or theta.shape != (size[0], count, count + 1):
        raise ValueError(
            "affine_grid: expected theta (N, 2, 3) with a size (N, C, H, W), or theta (N, 3, 4) "
            f"with a size (N, C, D, H, W); got {theta.shape} and {tuple(size)}."
        )
    columns = []
    for axis, length in reversed(list(enumerate(lengths))):
        last = length - 1
        numerators = 2 * host.arange(length) - last
        coordinate = numerators / (max(last, 1) if align_corners else length)
        column = coordinate.reshape(-1, *(1,) * (count - 1 - axis))
        columns.append(host.broadcast_to(column, lengths).ravel())
    own = host.stack([*columns, host.ones(math.prod(lengths))], axis=1)
    places = T.matmul(Tensor(own, device=theta.device), T.mT(theta))  # (N, H·W, 2)
    return T.reshape(places, shape=(size[0], *lengths, count))


@public(FUNCTIONAL)
def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`interpolate`, under its older name.

    >>> upsample(Tensor([[[1.0, 3.0]]]), scale_factor=2)
    tensor([[[1., 1., 3., 3.]]])
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


@public(FUNCTIONAL)
def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with the mode "nearest".

    >>> upsample_nearest(Tensor([[[1.0, 3.0]]]), scale_factor=2)
    tensor([[[1., 1., 3., 3.]]])
    """
    return interpolate(input, size, scale_factor)


@public(FUNCTIONAL)
def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` of images with the mode "bilinear", the centres of the corners held.

    >>> upsample_bilinear(Tensor([[[[1.0, 2.0]]]]), size=(1, 3))
    tensor([[[[1. , 1.5, 2. ]]]])
    """
    return interpolate(input, size, scale_factor, "bilinear", True)


# ----- pixels and channels -----------------------------------------------------------------------


@public(TOP, FUNCTIONAL)
@in_one
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """r² channels become squares of r x r pixels: (*, C·r², H, W) -> (*, C, H·r, W·r).

    Shi et al., 2016, "Real-Time Single Image and Video Super-Resolution Using an Efficient
    Sub-Pixel Convolutional Neural Network".

    >>> pixel_shuffle(Tensor([[[1.0]], [[2.0]], [[3.0]], [[4.0]]]), 2)
    tensor([[[1., 2.],
             [3., 4.]]])
    """
    r = upscale_factor
    if input.ndim < 3 or r < 1 or input.shape[-3] % (r * r):
        raise ValueError(
            f"pixel_shuffle: expected images (*, C·r², H, W) with r = {r}; got {input.shape}."
        )
    *batch, channels, height, width = input.shape
    n = len(batch)
    split = T.reshape(input, shape=(*batch, channels // (r * r), r, r, height, width))
    # (C, r, r, H, W) -> (C, H, r, W, r)
    moved = T.permute(split, axes=(*range(n + 1), n + 3, n + 1, n + 4, n + 2))
    shape = (*batch, channels // (r * r), height * r, width * r)
    return apart(T.reshape(moved, shape=shape), input)


@public(TOP, FUNCTIONAL)
@in_one
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Squares of r x r pixels become r² channels: the inverse of `pixel_shuffle`.

    >>> pixel_unshuffle(Tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2).flatten()
    tensor([1., 2., 3., 4.])
    """
    r = downscale_factor
    if input.ndim < 3 or r < 1 or input.shape[-2] % r or input.shape[-1] % r:
        raise ValueError(
            f"pixel_unshuffle: expected images (*, C, H·r, W·r) with r = {r}; got {input.shape}."
        )
    *batch, channels, height, width = input.shape
    n = len(batch)
    split = T.reshape(input, shape=(*batch, channels, height // r, r, width // r, r))
    # (C, H, r, W, r) -> (C, r, r, H, W)
    moved = T.permute(split, axes=(*range(n + 1), n + 2, n + 4, n + 1, n + 3))
    shape = (*batch, channels * r * r, height // r, width // r)
    return apart(T.reshape(moved, shape=shape), input)


@public(TOP, FUNCTIONAL, also="native_channel_shuffle")
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of (N, C, *S) dealt out like cards: the first of each group, the second, ...

    Zhang et al., 2018, "ShuffleNet".

    >>> channel_shuffle(Tensor([[[1.0], [2.0], [3.0], [4.0]]]), 2).flatten()
    tensor([1., 3., 2., 4.])
    """
    if input.ndim < 3 or groups < 1 or input.shape[1] % groups:
        raise ValueError(
            f"channel_shuffle: expected images (N, C, *S), C a multiple of groups={groups}; got "
            f"{input.shape}."
        )
    batch, channels, *lengths = input.shape
    split = T.reshape(input, shape=(batch, groups, channels // groups, *lengths))
    dealt = T.permute(split, axes=(0, 2, 1, *range(3, split.ndim)))
    return apart(T.reshape(dealt, shape=input.shape), input)


@public(TOP, METHOD)
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned k times by 90° in the plane of two axes, from the first towards the second.

    >>> rot90(Tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[2., 4.],
            [1., 3.]])
    """
    if len(dims) != 2 or not all(-input.ndim <= d < input.ndim for d in dims):
        raise ValueError(f"rot90: {tuple(dims)} does not name two axes of {input.shape}.")
    first, second = (d % input.ndim for d in dims)
    if first == second:
        raise ValueError(f"rot90: {tuple(dims)} names one axis of {input.shape} twice.")
    turned = input if k % 4 in (0, 3) else _reversed(input, second)
    if k % 2:
        turned = turned.transpose(first, second)
    if k % 4 in (2, 3):
        turned = _reversed(turned, first if k % 4 == 2 else second)
    return apart(turned, input)


def _reversed(input: Tensor, axis: int) -> Tensor:
    return T.getitem(input, index=(slice(None),) * axis + (slice(None, None, -1),))
