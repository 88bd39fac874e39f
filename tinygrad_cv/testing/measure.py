"""Measuring slopes: how fast a function of one number moves, without knowing its rule."""

from collections.abc import Callable
from dataclasses import dataclass

STEPS = (2e-3, 1e-4, 5e-6, 2e-7)
"""Step sizes tried, the largest first: the first at which the function is smooth is used."""


@dataclass(frozen=True)
class Slope:
    """The slope of a function of one number at 0, measured.

    Where there is a kink, `low` and `high` are the slopes on its two sides; elsewhere both equal
    `value`, which is known to about `error`.
    """

    value: float
    error: float
    low: float
    high: float

    @property
    def has_kink(self) -> bool:
        return self.low != self.high


def slope(f: Callable[[float], float]) -> Slope:
    """Measure f'(0) by central differences at three step sizes, extrapolated twice (Richardson).

    A smooth function agrees with itself across step sizes. One that does not, however small the
    steps, has a kink if each side has a slope of its own; otherwise `error` is large.

    >>> import math
    >>> abs(slope(math.sin).value - 1) < 1e-10
    True
    >>> kink = slope(abs)
    >>> round(kink.low, 6), round(kink.high, 6)
    (-1.0, 1.0)
    """
    here = f(0.0)
    for h in STEPS:
        up = [f(h / 2**k) for k in range(3)]
        down = [f(-h / 2**k) for k in range(3)]
        steps = [h / 2**k for k in range(3)]
        left = [(here - b) / s for b, s in zip(down, steps, strict=True)]
        right = [(a - here) / s for a, s in zip(up, steps, strict=True)]
        centred = [(a + b) / 2 for a, b in zip(left, right, strict=True)]
        once = [(4 * centred[k + 1] - centred[k]) / 3 for k in range(2)]
        twice = (16 * once[1] - once[0]) / 15
        # Rounding moves a difference quotient by about eps·|f| / h.
        rounding = 4e-15 * max(map(abs, (*up, *down, here))) / h
        largest = max(map(abs, (twice, *left, *right)))
        # The slopes of the two sides come closer with h if f is smooth; across a kink they do not.
        gap = [a - b for a, b in zip(right, left, strict=True)]
        ragged = max(abs(gap[0] - 2 * gap[1]), abs(gap[1] - 2 * gap[2]), abs(once[1] - once[0]))
        if ragged <= 1e-4 * largest + 8 * rounding:
            return Slope(twice, abs(twice - once[1]) + rounding, twice, twice)
    # No step is small enough: a kink, if each side has a slope of its own.
    error = max(abs(side[1] - side[2]) for side in (left, right))
    low, high = sorted((left[2], right[2]))
    return Slope((low + high) / 2, error, low, high)


def complex_slope(f: Callable[[complex], complex]) -> Slope:
    """Measure f'(0) of an analytic function by one step along the imaginary axis.

    f(ih) = f(0) + ih·f'(0) + O(h²): nothing is subtracted, so nothing cancels, and h can be so
    small that the result is exact to rounding (Squire and Trapp, 1998).

    >>> import cmath
    >>> abs(complex_slope(cmath.exp).value - 1) < 1e-15
    True
    """
    h = 1e-30
    value = f(1j * h).imag / h
    return Slope(value, 4e-15 * abs(value), value, value)
