"""Operators on images: rearranged, sampled and resized."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import tinygrad_cv as tg
from tinygrad_cv._apply import F
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.onnx.operators import Ints, along, beside, numbers, operator, room
from tinygrad_cv.ops.image import simple_fraction


def _positive(blocksize: int) -> int:
    if blocksize < 1:
        raise ValueError(f"the blocksize must be at least 1; got {blocksize}.")
    return blocksize


@operator("DepthToSpace")
def _depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    if mode == "CRD":
        return tg.pixel_shuffle(x, blocksize)
    n, c, h, w = x.shape
    b = _positive(blocksize)
    cells = x.reshape(n, b, b, c // b**2, h, w)
    return tg.permute(cells, 0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


@operator("SpaceToDepth")
def _space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    if mode == "CRD":
        return tg.pixel_unshuffle(x, blocksize)
    n, c, h, w = x.shape
    b = _positive(blocksize)
    cells = x.reshape(n, c, h // b, b, w // b, b)
    return tg.permute(cells, 0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)


@operator("GridSample")
def _grid_sample(
    x: Tensor,
    grid: Tensor,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> Tensor:
    room((*x.shape[:2], *grid.shape[1:-1]))
    name = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    y: Tensor = tg.grid_sample(x, grid, name, padding_mode, bool(align_corners))
    return y


@operator("AffineGrid")
def _affine_grid(theta: Tensor, size: Any, *, align_corners: int = 0) -> Tensor:
    wanted = numbers(size)
    room((*wanted[:1], *wanted[2:], len(wanted) - 2))
    grid: Tensor = tg.affine_grid(theta, wanted, align_corners=bool(align_corners))
    return grid


@operator("Upsample")
def _upsample(x: Tensor, scales: Any, *, mode: str = "nearest") -> Tensor:
    return _resize(
        x,
        scales=scales,
        mode=mode,
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
        opset=11,
    )


@dataclass(frozen=True)
class Resized:
    """One axis on its way from `before` to `after` elements, `scale` times as many."""

    axis: int
    before: int
    after: int
    scale: Fraction
    roi: tuple[float, float]

    @property
    def whole(self) -> bool:
        """Whether nothing is cut off the length that the scale gives."""
        return self.before * self.scale == self.after

    def sources(self, mode: str) -> list[Any]:
        """Where each element of the result lies among the elements of the input."""
        return [self.source(i, mode) for i in range(self.after)]

    def source(self, i: int, mode: str) -> Any:
        """An exact place, so that none is rounded to the wrong side of an element."""
        n, s, half = self.before, self.scale, Fraction(1, 2)
        if mode == "asymmetric":
            return i / s
        if mode == "align_corners":
            return i * (n - 1) / (s * n - 1) if s * n != 1 else 0.0
        if mode == "tf_crop_and_resize":
            start, end = self.roi
            if s * n == 1:
                return (start + end) * (n - 1) / 2
            return start * (n - 1) + i * (end - start) * (n - 1) / (s * n - 1)
        if mode == "pytorch_half_pixel" and self.after == 1:
            return 0.0
        # What is cut off a length that is not whole comes, in the symmetric mode, off both ends.
        cut = half * n * (1 - self.after / (s * n)) if mode == "half_pixel_symmetric" else 0
        return cut + (i + half) / s - half

    def weights(
        self,
        kernel: Callable[[float], float],
        reach: int,
        narrow: float,
        mode: str,
        inside: bool,
    ) -> Any:
        """Row i: what the elements of the input count for in element i of the result.

        The kernel reaches so far to both sides, or 1 / `narrow` times as far. Beyond the edge it
        finds the element at the edge, or, if it must stay `inside`, nothing.
        """
        rows = host.zeros((self.after, self.before))
        for row, s in zip(rows, self.sources(mode), strict=True):
            first, last = math.ceil(s - reach / narrow), math.floor(s + reach / narrow)
            for j in range(first, last + 1):
                if 0 <= j < self.before or not inside:
                    row[min(max(j, 0), self.before - 1)] += kernel((j - s) * narrow)
            row /= row.sum() or 1
        return rows


WEIGHED, EXACT = 8, 1024
"""How many elements one place along an axis is worth, with its weights and as an exact number."""

NEAREST: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda x: math.ceil(x - Fraction(1, 2)),
    "round_prefer_ceil": lambda x: math.floor(x + Fraction(1, 2)),
    "floor": math.floor,
    "ceil": math.ceil,
}


def _linear(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _cubic(d: Any, a: float = -0.75, outer: bool = False) -> Any:
    """The cubic kernel (Keys, 1981) at a distance d up to 1, or `outer`, from 1 to 2."""
    if outer:
        return (((d - 5) * d + 8) * d - 4) * a
    return ((a + 2) * d - (a + 3)) * d * d + 1


def _cubic_at(d: float, a: float) -> float:
    """The cubic kernel at any place."""
    d = abs(d)
    value: float = _cubic(d, a, outer=d > 1) if d < 2 else 0.0
    return value


def _axes_to_resize(
    x: Tensor, roi: Any, scales: Any, sizes: Any, axes: Ints, policy: str
) -> list[Resized]:
    chosen = [axis % x.ndim for axis in (range(x.ndim) if axes is None else axes)]
    before = [x.shape[axis] for axis in chosen]
    if not all(0 < scale < math.inf for scale in numbers(scales)):
        raise ValueError(f"the scales of a Resize are positive numbers; got {numbers(scales)}.")
    # A scale is a number in single precision: 0.7 stands for 7/10.
    factors = [simple_fraction(host.float32(scale)) for scale in numbers(scales)]
    after = numbers(sizes)
    if after:
        factors = [Fraction(m, n) for n, m in zip(before, after, strict=True)]
        if policy != "stretch":  # one scale for all axes
            factors = [(min if policy == "not_larger" else max)(factors)] * len(chosen)
            after = [
                math.floor(n * s + Fraction(1, 2)) for n, s in zip(before, factors, strict=True)
            ]
    else:
        after = [math.floor(n * s) for n, s in zip(before, factors, strict=True)]
    corners = numbers(roi) or [0.0] * len(chosen) + [1.0] * len(chosen)
    pairs = zip(corners[: len(chosen)], corners[len(chosen) :], strict=True)
    return [Resized(*parts) for parts in zip(chosen, before, after, factors, pairs, strict=True)]


def _interpolated(
    x: Tensor, changed: list[Resized], mode: str, where: str, nearest_mode: str
) -> Tensor | None:
    """The result of tg.interpolate, if it has what is asked for."""
    half = where == "half_pixel" or (
        where == "pytorch_half_pixel" and all(one.after > 1 for one in changed)
    )
    corners = where == "align_corners" and all(one.whole for one in changed)
    if not 3 <= x.ndim <= 5 or any(one.axis < 2 for one in changed):
        return None
    options: dict[str, Any]
    if mode == "nearest" and (where, nearest_mode) == ("asymmetric", "floor"):
        options = {"mode": "nearest"}
    elif mode == "linear" and (half or corners):
        name = {3: "linear", 4: "bilinear", 5: "trilinear"}[x.ndim]
        options = {"mode": name, "align_corners": corners}
    elif mode == "cubic" and x.ndim == 4 and (half or corners):
        options = {"mode": "bicubic", "align_corners": corners}
    else:
        return None
    by_axis = {one.axis: one for one in changed}
    if all(one.whole for one in changed):
        options["size"] = [
            by_axis[i].after if i in by_axis else x.shape[i] for i in range(2, x.ndim)
        ]
    else:
        options["scale_factor"] = [
            by_axis[i].scale if i in by_axis else 1.0 for i in range(2, x.ndim)
        ]
    result: Tensor = tg.interpolate(x, **options)
    return result


def _weighed(x: Tensor, axis: int, weights: Any) -> Tensor:
    """The product of a matrix and x along an axis, where what has no weight has no part in it."""
    most = max(1, (weights != 0).sum(1).max())
    places = host.argsort(weights == 0, axis=1, kind="stable")[:, :most]
    used = host.take_along_axis(weights, places, axis=1)
    lines = tg.transpose(x, axis, -1)
    y = F.sample(
        lines.reshape(1, -1, lines.shape[-1]),
        Tensor(used.T[None], dtype=x.dtype, device=x.device),
        Tensor(places.T[None], device=x.device),
    )
    return tg.transpose(y.reshape(*lines.shape[:-1], len(weights)), axis, -1)


@operator("Resize")
def _resize(
    x: Tensor,
    roi: Any = None,
    scales: Any = None,
    sizes: Any = None,
    *,
    antialias: int = 0,
    axes: Ints = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    opset: int,
) -> Tensor:
    if opset < 11:  # its second input is what the third one is today
        return _upsample(x, roi, mode=mode)
    where = coordinate_transformation_mode
    resized = _axes_to_resize(x, roi, scales, sizes, axes, keep_aspect_ratio_policy)
    crops = where == "tf_crop_and_resize"
    changed = [one for one in resized if crops or one.after != one.before or one.scale != 1]
    most = list(x.shape)
    for one in changed:
        most[one.axis] = max(one.before, one.after)
        room((one.after, WEIGHED))
    room(most)  # whatever axis comes first
    if not (antialias or exclude_outside or cubic_coeff_a != -0.75):
        known = _interpolated(x, changed, mode, where, nearest_mode)
        if known is not None:
            return known
    for one in changed:
        room((one.after, EXACT))
        if mode == "nearest":
            places = [NEAREST[nearest_mode](s) for s in one.sources(where)]
            x = x[along(one.axis, [min(max(j, 0), one.before - 1) for j in places])]
            continue
        kernel = _linear if mode == "linear" else partial(_cubic_at, a=cubic_coeff_a)
        # Where the result is smaller, antialiasing widens the kernel.
        narrow = min(float(one.scale), 1.0) if antialias else 1.0
        reach = 1 if mode == "linear" else 2
        room((one.after, one.before))
        weights = one.weights(kernel, reach, narrow, where, bool(exclude_outside))
        x = _weighed(x, one.axis, weights)
    if not crops:
        return x
    for one in changed:
        outside = [not 0 <= s <= one.before - 1 for s in one.sources(where)]
        beyond = beside(tg.tensor(outside, device=x.device), one.axis, x.ndim)
        x = tg.where(beyond, extrapolation_value, x)
    return x
