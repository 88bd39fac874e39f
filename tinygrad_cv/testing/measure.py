"""Measuring slopes: how fast a function of one number moves, without knowing its rule."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tinygrad_cv.backend import host

STEP, SHRINK, GROW = 2.0**-9, 2.0**-5, 2.0**5
"""The first step, relative to inputs of ordinary size, and by what steps shrink or grow at least.
They are powers of two, so that x + h is what it says."""

FINEST, KINK = 2.0**-44, 2.0**-23
"""The smallest step; and the one from which on what still looks like a kink is taken for one."""

TRIES = 8
"""How often steps grow."""

EPS = 2.0**-52


@dataclass(frozen=True)
class Slope:
    """The slope of a function of one number at 0, measured.

    Where there is a kink, `low` and `high` are the slopes on its two sides; elsewhere both equal
    `value`, which is known to about `error`. Where the function is finite on neither side,
    `error` is infinite.
    """

    value: float
    error: float
    low: float
    high: float

    @property
    def has_kink(self) -> bool:
        return self.low != self.high


def rounding(y: Any) -> Any:
    """How far each element may be from the true one by the rounding of a few operations."""
    return 3 * float(host.finfo(y.dtype).eps) * host.abs(y)


def slope(
    f: Callable[[float], Any],
    weights: Any = 1.0,
    *,
    noise: Any = None,
    scale: float = 0.0,
    claim: float = 0.0,
    rtol: float = math.inf,
    first: float = STEP,
) -> Slope:
    """Measure the slope at 0 of <weights, f(t)> by central differences, extrapolated (Richardson).

    f gives a number or an array. Its elements are subtracted before they are weighted and summed:
    one that does not move adds no rounding error, however large it is. `noise` is the rounding
    error of each element of f(0).

    A smooth function agrees with itself across step sizes. Steps that leave the domain of f, or
    over which it is not smooth, shrink; steps over which it moves by little more than its rounding
    error grow, until the error is below `rtol` of the slope, or of what is claimed for it. They
    start from `first`, times `scale`, the size of the input that moves, if that is larger than 1.
    Where only one side of 0 is in the domain, the differences are one-sided. A function that is
    smooth at no step has a kink if each side has a slope of its own; otherwise `error` is large.

    >>> import math
    >>> abs(slope(math.sin).value - 1) < 1e-10
    True
    >>> kink = slope(abs)
    >>> round(kink.low, 6), round(kink.high, 6)
    (-1.0, 1.0)
    """
    here = host.asarray(f(0.0), dtype="float64").reshape(-1)
    weights = host.broadcast_to(weights, here.shape).reshape(-1)
    noise = rounding(here) if noise is None else noise

    def trial(h: float) -> _Trial:
        return _Trial(f, here, weights, noise, h, claim)

    unit = 2.0 ** round(math.log2(scale)) if scale > 1 or 0 < scale < SHRINK else 1.0
    best: _Trial | None = None
    rough: list[Slope] = []
    too_large = math.inf
    for h in _descent(unit, first):
        found = trial(h)
        if found.is_smooth:
            if best is None or found.slope.error < best.slope.error:
                best = found
            if found.is_known_to(rtol):
                return found.slope
            if found.is_drowned:  # at smaller steps the more so
                break
        else:
            rough += found.sides()
            if best is None and h <= KINK * unit and found.has_two_sides:
                break
        too_large = h
    if best is None:
        # Both sides at once, if it was finite there; what agrees with itself most.
        both = [side for side in rough if side.has_kink] or rough
        unknown = Slope(math.nan, math.inf, math.nan, math.nan)
        calm = min(both, key=lambda side: side.error, default=unknown)
        if not both or calm.has_kink:
            return calm
        # Long steps may agree with each other on what shorter ones deny, as beside a vertical end.
        shorter = both[both.index(calm) + 1 :]
        apart = (
            abs(side.value - calm.value)
            for side in shorter
            if abs(side.value - calm.value) > 2 * (side.error + calm.error)
        )
        return replace(calm, error=calm.error + max(apart, default=0.0))
    last = best
    for _ in range(TRIES):
        h = last.h * last.missing(rtol)
        if h >= too_large:
            h = last.h * 2.0 ** round(math.log2(too_large / last.h) / 2)
        if not last.h < h < too_large:
            break
        found = trial(h)
        if not (found.is_smooth and found.is_drowned):
            too_large = h
        else:
            last = found
        # A slope that is all rounding error still says nothing: f may be anything below that.
        if found.is_smooth and found.slope.error < min(
            best.slope.error, abs(found.slope.value) / 10
        ):
            best = found
            if found.is_known_to(rtol):
                break
    return best.slope


def _descent(unit: float, first: float) -> Iterator[float]:
    """Steps to try, from the largest on; a small input has a step of its own size early."""
    h = first * max(unit, 1.0)
    yield h
    if unit < 1:
        yield first * unit
    while h * SHRINK >= FINEST * unit:
        h *= SHRINK
        yield h


class _Trial:
    """Differences of f at the steps h, h/2 and h/4 on both sides of 0, and what they tell."""

    def __init__(
        self, f: Callable[[float], Any], here: Any, weights: Any, noise: Any, h: float, claim: float
    ) -> None:
        self.h, self.claim = h, claim
        steps = host.array((h, h / 2, h / 4))
        up, down = (
            host.array([host.asarray(f(side * t)).reshape(-1) for t in steps]) - here
            for side in (1.0, -1.0)
        )
        self.right, self.left = (up @ weights) / steps, (down @ weights) / -steps
        # A NaN or an infinity among the terms shows in the sum.
        self.ends = [bool(host.isfinite(side).all()) for side in (self.left, self.right)]
        moves = [
            host.abs(side).max(0) for side, ok in zip((down, up), self.ends, strict=True) if ok
        ]
        moved = sum(moves) if moves else here * 0
        which = moved != 0
        if not which.any():  # a claim that it moves may be true by less than its last digit
            which = host.full(here.shape, bool(claim))
        # Differences at h, h/2 and h/4, extrapolated, carry six times the rounding error at h.
        self.noise = 6 * float(host.abs(weights[which]) @ (noise + 3 * EPS * moved)[which]) / h
        self.is_smooth = False
        if all(self.ends):
            self.look()

    def look(self) -> None:
        """Whether f is smooth, and if so its slope."""
        centred = (self.left + self.right) / 2
        once = [(4 * centred[k + 1] - centred[k]) / 3 for k in range(2)]
        twice = float((16 * once[1] - once[0]) / 15)
        # The slopes of the two sides come closer with h if f is smooth; across a kink they do not.
        gap = self.right - self.left
        fine = max(abs(gap[1] - 2 * gap[2]), abs(once[1] - once[0]))
        ragged = max(abs(gap[0] - 2 * gap[1]), fine)
        largest = max(abs(twice), host.abs(self.left).max(), host.abs(self.right).max())
        self.is_smooth = bool(ragged <= 1e-4 * largest + 2 * self.noise)
        self.slope = Slope(twice, float(fine) + self.noise, twice, twice)

    @property
    def is_drowned(self) -> bool:
        """Whether the error is that of rounding, more or less."""
        return self.slope.error <= 8 * self.noise

    def missing(self, rtol: float) -> float:
        """How much larger steps must be for rounding errors to matter no more, about."""
        wanted = rtol * max(self.claim, abs(self.slope.value))
        times = 2 * self.slope.error / wanted if wanted else math.inf
        return 2.0 ** math.ceil(math.log2(min(max(times, GROW), 2.0**40)))

    def is_known_to(self, rtol: float) -> bool:
        size = max(self.claim, abs(self.slope.value))
        return rtol == math.inf or self.slope.error <= rtol * size

    @property
    def has_two_sides(self) -> bool:
        """Whether f has a slope on each side, by itself."""
        if not all(self.ends):
            return False
        largest = max(abs(self.left[2]), abs(self.right[2]))
        return all(
            abs(side[1] - side[2]) <= 1e-3 * largest + self.noise
            for side in (self.left, self.right)
        )

    def sides(self) -> list[Slope]:
        """The slopes of the two sides of a kink; or of the only side where f is finite."""
        if all(self.ends):
            error = max(abs(side[1] - side[2]) for side in (self.left, self.right))
            low, high = sorted((float(self.left[2]), float(self.right[2])))
            return [Slope((low + high) / 2, float(error) + self.noise, low, high)]
        for side, finite in zip((self.left, self.right), self.ends, strict=True):
            if finite:
                once = [2 * side[k + 1] - side[k] for k in range(2)]
                value = float((4 * once[1] - once[0]) / 3)
                error = abs(float(once[1] - once[0])) + 4 * self.noise
                return [Slope(value, error, value, value)]
        return []


def complex_slope(f: Callable[[complex], Any], weights: Any = 1.0) -> Slope:
    """Measure the slope of an analytic function by one step along the imaginary axis.

    f(ih) = f(0) + ih·f'(0) + O(h²): nothing is subtracted, so nothing cancels, and h can be so
    small that the result is exact to rounding (Squire and Trapp, 1998).

    >>> import cmath
    >>> abs(complex_slope(cmath.exp).value - 1) < 1e-15
    True
    """
    h = 1e-30
    shares = host.asarray(f(1j * h)).imag / h * weights
    value = float(shares.sum())
    error = 4e-15 * float(host.abs(shares).sum()) + 1e3 * h * h  # rounding, and the O(h²)
    return Slope(value, error, value, value)
