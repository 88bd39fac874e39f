"""Arithmetic, functions and comparisons, element by element with broadcasting.

An op here may forget about broadcasting: the engine sums a gradient back over the axes along
which its input was repeated.
"""

import math
from collections.abc import Callable
from functools import wraps
from numbers import Real
from typing import Any, ClassVar, overload

from tinygrad_cv import backend as backends
from tinygrad_cv._apply import F as T
from tinygrad_cv._apply import computed_in, function
from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._inputs import public
from tinygrad_cv._op import Op, moves, per_output, whole
from tinygrad_cv._public import IN_PLACE, METHOD, TOP, Marked
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host


class Elementwise(Op):
    """Base of the ops whose inputs are broadcast against each other."""

    flops = per_output

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        shapes = [a.shape for a in arrays if hasattr(a, "shape")]
        try:
            host.broadcast_shapes(*shapes)
        except ValueError:
            return ValueError(
                f"{self.name}: the shapes {' and '.join(map(str, shapes))} do not broadcast. "
                "Compared from the last axis backwards, two lengths must be equal or one of them "
                "1; insert axes of length 1 where needed, as in b.reshape(-1, 1) or b[:, None]."
            )
        return error


class Arithmetic(Elementwise):
    """Base of the ops that bring integers, too, to one dtype."""

    promotes = True


class OfReals(Elementwise):
    """Base of the functions of real numbers: integers go in as floats."""

    real = True


# ----- arithmetic ------------------------------------------------------------------------------


class Add(Arithmetic):
    """x + y.

    >>> add(Tensor([1.0, 2.0]), 10)
    tensor([11., 12.])
    """

    def forward(self, xp, x, y):
        return xp.add(x, y)

    def grad_x(self, F, g):
        return g

    def grad_y(self, F, g):
        return g


class Sub(Arithmetic):
    """x - y.

    >>> sub(Tensor([1.0, 2.0]), 10)
    tensor([-9., -8.])
    """

    def forward(self, xp, x, y):
        return xp.subtract(x, y)

    def grad_x(self, F, g):
        return g

    def grad_y(self, F, g):
        return -g


class Mul(Arithmetic):
    """x · y: each factor is the other's local gradient.

    >>> mul(Tensor([1.0, 2.0]), 10)
    tensor([10., 20.])
    """

    def forward(self, xp, x, y):
        return xp.multiply(x, y)

    def grad_x(self, F, g, y):
        return g * y

    def grad_y(self, F, g, x):
        return g * x


class Div(Elementwise):
    """x / y.

    >>> div(Tensor([1.0, 2.0]), 10)
    tensor([0.1, 0.2])
    """

    def forward(self, xp, x, y):
        return xp.true_divide(x, y)

    def grad_x(self, F, g, y):
        return g / y

    def grad_y(self, F, g, x, y):
        return -g * (x / y) / y  # y · y could over- or underflow


class Neg(Elementwise):
    """-x.

    >>> neg(Tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """

    def forward(self, xp, x):
        return xp.negative(x)

    def grad_x(self, F, g):
        return -g


class Pow(Arithmetic):
    """x ** n for a number n.

    >>> Tensor([1.0, 2.0]) ** 3
    tensor([1., 8.])
    """

    n: float

    def forward(self, xp, x):
        floating = x.dtype.kind == "f"
        if self.n < 0 and not floating and isinstance(self.n, int):
            raise ValueError(_negative_power(f"{self.n}", x))
        # NumPy's power takes hundreds of times as long as a product.
        exact = floating or (x.dtype.kind in "iu" and isinstance(self.n, int))
        known = _POWERS.get(self.n) if exact else None
        return xp.power(x, self.n) if known is None else known(xp, x)

    def grad_x(self, F, g, x):
        # The constant x ** 0 apart: 0 · x ** -1 would be 0 · ∞ at x = 0.
        return g * (self.n * x ** (self.n - 1)) if self.n else 0.0 * g


def _cube(xp, x):
    return xp.square(x) * x


_POWERS: dict[float, Any] = {
    -3: lambda xp, x: _cube(xp, xp.true_divide(1, x)),
    -2: lambda xp, x: xp.square(xp.true_divide(1, x)),
    -1: lambda xp, x: xp.true_divide(1, x),
    0.5: lambda xp, x: xp.sqrt(x),
    1: lambda xp, x: xp.multiply(x, 1),
    2: lambda xp, x: xp.square(x),
    3: _cube,
    4: lambda xp, x: xp.square(xp.square(x)),
    5: lambda xp, x: xp.square(xp.square(x)) * x,
    6: lambda xp, x: xp.square(_cube(xp, x)),
    8: lambda xp, x: xp.square(xp.square(xp.square(x))),
}
"""Powers that a few products or roots give to the last digit."""


def _negative_power(n: str, x: Any) -> str:
    return (
        f"pow: {x.dtype} numbers to the power {n} are no integers. Convert them to floats first: "
        f"x.float() ** {n}."
    )


class PowTensor(Arithmetic):
    """x ** n for a tensor n. As a function of n it is differentiable where x > 0.

    >>> Tensor([2.0, 3.0]) ** Tensor([3.0, 2.0])
    tensor([8., 9.])
    """

    def forward(self, xp, x, n):
        return xp.power(x, n)

    def grad_x(self, F, g, x, n):
        # Where n is 0 the power is constant, and n · x ** -1 would be 0 · ∞ at x = 0.
        pole = F.logical_and(n == 0, F.logical_or(x == 0, F.isinf(x)))
        return g * n * F.where(pole, 1.0, x) ** (n - 1)

    def grad_n(self, F, g, x, n, y):
        # 0 ** n does not move with n > 0, nor does ∞ ** n with n < 0, though log x is infinite.
        still = F.logical_or(F.logical_and(x == 0, n >= 0), F.logical_and(x == math.inf, n < 0))
        return g * y * F.log(F.where(still, 1.0, x))

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        x, n = arrays
        if "negative" in str(error):
            return ValueError(_negative_power("n", x if hasattr(x, "dtype") else n))
        return super().explain(error, arrays)


class Maximum(Arithmetic):
    """The larger of x and y; where they are equal the gradient is split evenly.

    >>> maximum(Tensor([1.0, 5.0]), 3)
    tensor([3., 5.])
    """

    def forward(self, xp, x, y):
        return xp.maximum(x, y)

    def grad_x(self, F, g, x, y):
        return F.where(x == y, g / 2, F.where(x > y, g, 0.0))

    def grad_y(self, F, g, x, y):
        return F.where(x == y, g / 2, F.where(x < y, g, 0.0))


class Minimum(Arithmetic):
    """The smaller of x and y; where they are equal the gradient is split evenly.

    >>> minimum(Tensor([1.0, 5.0]), 3)
    tensor([1., 3.])
    """

    def forward(self, xp, x, y):
        return xp.minimum(x, y)

    def grad_x(self, F, g, x, y):
        return F.where(x == y, g / 2, F.where(x < y, g, 0.0))

    def grad_y(self, F, g, x, y):
        return F.where(x == y, g / 2, F.where(x > y, g, 0.0))


class FloorDivide(Arithmetic):
    """⌊x / y⌋. A step function: no gradient flows through it.

    >>> floor_divide(Tensor([7.0, -7.0]), 2)
    tensor([ 3., -4.])
    """

    nondifferentiable = ("x", "y")

    def forward(self, xp, x, y):
        return xp.floor_divide(x, y)


class Remainder(Arithmetic):
    """x - ⌊x / d⌋ · d: what is left of x, with the sign of d, as Python's %.

    >>> remainder(Tensor([7.0, -7.0]), 4)
    tensor([3., 1.])
    """

    def forward(self, xp, x, d):
        return xp.remainder(x, d)

    def grad_x(self, F, g):
        return g

    def grad_d(self, F, g, x, d):
        return -g * F.floor_divide(x, d)


class Fmod(Arithmetic):
    """x - trunc(x / d) · d: what is left of x, with the sign of x, as C's fmod.

    >>> fmod(Tensor([7.0, -7.0]), 4)
    tensor([ 3., -3.])
    """

    def forward(self, xp, x, d):
        return xp.fmod(x, d)

    def grad_x(self, F, g):
        return g

    def grad_d(self, F, g, x, d, y):
        # Close below a whole number x / d may round up to it; without y it is that number.
        return -g * F.round((x - y) / d)


class Hypot(OfReals):
    """√(a² + b²) without overflow: the length of a vector, with the gradient 0 where it is 0.

    >>> hypot(Tensor([3.0, 0.0]), 4)
    tensor([5., 4.])
    """

    computes_in = "float64"  # a quotient of numbers close to the smallest has few digits

    def forward(self, xp, a, b):
        return xp.hypot(a, b)

    def grad_a(self, F, g, a, b):
        return g * self.cosine(F, a, F.hypot(a, b))

    def grad_b(self, F, g, a, b):
        return g * self.cosine(F, b, F.hypot(a, b))

    def cosine(self, F, side, y):
        """side / y: 0 at the origin, and ±1 or 0 where y is infinite."""
        y = F.let("y", y)
        far = F.let("far", F.isinf(y))
        direction = F.where(F.isinf(side), F.sign(side), 0.0)
        return F.where(far, direction, side) / F.where(F.logical_or(far, y == 0), 1.0, y)


# ----- functions -------------------------------------------------------------------------------


class Exp(OfReals):
    """eˣ: its own derivative.

    >>> exp(Tensor([0.0, 1.0]))
    tensor([1.    , 2.7183])
    """

    def forward(self, xp, x):
        return xp.exp(x)

    def local_x(self, F, y):
        return y


class Log(OfReals):
    """The natural logarithm.

    >>> log(Tensor([1.0, 2.718281828]))
    tensor([0., 1.])
    """

    def forward(self, xp, x):
        return xp.log(x)

    def grad_x(self, F, g, x):
        return g / x


class Expm1(OfReals):
    """eˣ - 1, accurate where x is small.

    >>> expm1(Tensor([0.0, 1e-7]))
    tensor([0.e+00, 1.e-07])
    """

    def forward(self, xp, x):
        return xp.expm1(x)

    def local_x(self, F, x):
        return F.exp(x)


class Log1p(OfReals):
    """log(1 + x), accurate where x is small.

    >>> log1p(Tensor([0.0, 1e-7]))
    tensor([0.e+00, 1.e-07])
    """

    def forward(self, xp, x):
        return xp.log1p(x)

    def grad_x(self, F, g, x):
        return g / (1 + x)


class Log2(OfReals):
    """The logarithm to base 2.

    >>> log2(Tensor([1.0, 8.0]))
    tensor([0., 3.])
    """

    def forward(self, xp, x):
        return xp.log2(x)

    def grad_x(self, F, g, x):
        return g / F.let("ln2", math.log(2)) / x


class Log10(OfReals):
    """The logarithm to base 10.

    >>> log10(Tensor([1.0, 1000.0]))
    tensor([0., 3.])
    """

    def forward(self, xp, x):
        return xp.log10(x)

    def grad_x(self, F, g, x):
        return g / F.let("ln10", math.log(10)) / x


class Logaddexp(OfReals):
    """log(eᵃ + eᵇ), where neither power can overflow. The shares of a and b are their softmax.

    >>> logaddexp(Tensor([0.0, 1000.0]), Tensor([0.0, 1000.0]))
    tensor([6.9315e-01, 1.0007e+03])
    """

    computes_in = "float64"  # an exponent that is rounded moves the power by more than a digit

    def forward(self, xp, a, b):
        return xp.logaddexp(a, b)

    def grad_a(self, F, g, a, b):
        return g * F.sigmoid(a - b)

    def grad_b(self, F, g, a, b):
        return g * F.sigmoid(b - a)


class Xlogy(OfReals):
    """a · log b, and 0 where a is 0, even for b = 0 and b = ∞: the terms of an entropy.

    >>> xlogy(Tensor([0.0, 2.0]), Tensor([0.0, 1.0]))
    tensor([0., 0.])
    """

    def forward(self, xp, a, b):
        return a * xp.log(self.argument(xp, a, b))

    def grad_a(self, F, g, a, b):
        return g * F.log(self.argument(F, a, b))

    def grad_b(self, F, g, a, b):
        return g * a / self.argument(F, a, b)

    def argument(self, F, a, b):
        """b; where a is 0 an infinite logarithm does not count, and nor does its slope."""
        pole = F.logical_or(b <= 0, b == math.inf)
        return F.where(F.logical_and(a == 0, pole), 1.0, b)


class Sqrt(OfReals):
    """The square root.

    >>> sqrt(Tensor([4.0, 9.0]))
    tensor([2., 3.])
    """

    def forward(self, xp, x):
        return xp.sqrt(x)

    def grad_x(self, F, g, y):
        return g / (2 * y)


class Square(Elementwise):
    """x².

    >>> square(Tensor([3.0, -4.0]))
    tensor([ 9., 16.])
    """

    def forward(self, xp, x):
        return xp.square(x)

    def local_x(self, F, x):
        return 2 * x


class Reciprocal(Elementwise):
    """1 / x.

    >>> reciprocal(Tensor([2.0, 4.0]))
    tensor([0.5 , 0.25])
    """

    def forward(self, xp, x):
        return xp.true_divide(1, x)

    def grad_x(self, F, g, y):
        return -g * y * y


class Rsqrt(OfReals):
    """1 / √x.

    >>> rsqrt(Tensor([4.0, 0.25]))
    tensor([0.5, 2. ])
    """

    def forward(self, xp, x):
        return xp.true_divide(1, xp.sqrt(x))

    def grad_x(self, F, g, y):
        return -g / 2 * y * y * y


class Sin(OfReals):
    """sin x.

    >>> sin(Tensor([0.0]))
    tensor([0.])
    """

    def forward(self, xp, x):
        return xp.sin(x)

    def local_x(self, F, x):
        return F.cos(x)


class Cos(OfReals):
    """cos x.

    >>> cos(Tensor([0.0]))
    tensor([1.])
    """

    def forward(self, xp, x):
        return xp.cos(x)

    def grad_x(self, F, g, x):
        return -g * F.sin(x)


class Tan(OfReals):
    """tan x.

    >>> tan(Tensor([0.0]))
    tensor([0.])
    """

    def forward(self, xp, x):
        return xp.tan(x)

    def local_x(self, F, y):
        return 1 + y * y


class Asin(OfReals):
    """The angle in [-π/2, π/2] whose sine is x.

    >>> asin(Tensor([0.0, 1.0]))
    tensor([0.    , 1.5708])
    """

    def forward(self, xp, x):
        return xp.arcsin(x)

    def grad_x(self, F, g, x):
        return g / F.sqrt((1 - x) * (1 + x))


class Acos(OfReals):
    """The angle in [0, π] whose cosine is x.

    >>> acos(Tensor([1.0, 0.0]))
    tensor([0.    , 1.5708])
    """

    def forward(self, xp, x):
        return xp.arccos(x)

    def grad_x(self, F, g, x):
        return -g / F.sqrt((1 - x) * (1 + x))


class Atan(OfReals):
    """The angle in (-π/2, π/2) whose tangent is x.

    >>> atan(Tensor([0.0, 1.0]))
    tensor([0.    , 0.7854])
    """

    def forward(self, xp, x):
        return xp.arctan(x)

    def grad_x(self, F, g, x):
        h = F.let("h", F.hypot(x, 1.0))  # x · x could overflow
        return g / h / h


class Atan2(OfReals):
    """The angle in [-π, π] of the point (b, a), as a is its height; the gradient is 0 at (0, 0).

    >>> atan2(Tensor([0.0, 1.0, 0.0]), Tensor([1.0, 1.0, -1.0]))
    tensor([0.    , 0.7854, 3.1416])
    """

    computes_in = "float64"  # a quotient of numbers close to the smallest has few digits

    def forward(self, xp, a, b):
        return xp.arctan2(a, b)

    def grad_a(self, F, g, a, b):
        r = self.radius(F, a, b)
        return g * (F.where(F.isinf(r), 0.0, b) / r) / r

    def grad_b(self, F, g, a, b):
        r = self.radius(F, a, b)
        return -g * (F.where(F.isinf(r), 0.0, a) / r) / r

    def radius(self, F, a, b):
        """The distance from the origin; anything but 0 there, where it divides 0."""
        h = F.let("h", F.hypot(a, b))
        return F.let("r", F.where(h == 0, 1.0, h))


class Sinh(OfReals):
    """sinh x = (eˣ - e⁻ˣ) / 2.

    >>> sinh(Tensor([0.0, 1.0]))
    tensor([0.    , 1.1752])
    """

    def forward(self, xp, x):
        return xp.sinh(x)

    def local_x(self, F, x):
        return F.cosh(x)


class Cosh(OfReals):
    """cosh x = (eˣ + e⁻ˣ) / 2.

    >>> cosh(Tensor([0.0, 1.0]))
    tensor([1.    , 1.5431])
    """

    def forward(self, xp, x):
        return xp.cosh(x)

    def local_x(self, F, x):
        return F.sinh(x)


class Asinh(OfReals):
    """The number whose sinh is x.

    >>> asinh(Tensor([0.0, 1.0]))
    tensor([0.    , 0.8814])
    """

    def forward(self, xp, x):
        return xp.arcsinh(x)

    def grad_x(self, F, g, x):
        return g / F.hypot(x, 1.0)


class Acosh(OfReals):
    """The number not below 0 whose cosh is x >= 1.

    >>> acosh(Tensor([1.0, 2.0]))
    tensor([0.   , 1.317])
    """

    def forward(self, xp, x):
        return xp.arccosh(x)

    def grad_x(self, F, g, x):
        return g / F.sqrt(x - 1) / F.sqrt(x + 1)  # the product could overflow


class Atanh(OfReals):
    """The number whose tanh is x, between -1 and 1.

    >>> atanh(Tensor([0.0, 0.5]))
    tensor([0.    , 0.5493])
    """

    def forward(self, xp, x):
        return xp.arctanh(x)

    def grad_x(self, F, g, x):
        return g / ((1 - x) * (1 + x))


class Erf(Elementwise):
    """erf x = 2/√π ∫₀ˣ e^(-t²) dt.

    >>> erf(Tensor([0.0, 1.0]))
    tensor([0.    , 0.8427])
    """

    computes_in = "float64"  # an exponent that is rounded moves the power by more than a digit

    def forward(self, xp, x):
        return xp.erf(x)

    def local_x(self, F, x):
        z = F.let("z", F.clamp(x, min=-30, max=30))  # beyond, the slope is 0
        return F.let("c", 2 / math.sqrt(math.pi)) * F.exp(-z * z)


class Erfc(Elementwise):
    """erfc x = 1 - erf x, accurate where that is small.

    >>> erfc(Tensor([0.0, 5.0]))
    tensor([1.0000e+00, 1.5375e-12])
    """

    computes_in = "float64"  # an exponent that is rounded moves the power by more than a digit

    def forward(self, xp, x):
        return xp.erfc(x)

    def local_x(self, F, x):
        z = F.let("z", F.clamp(x, min=-30, max=30))  # beyond, the slope is 0
        return F.let("c", -2 / math.sqrt(math.pi)) * F.exp(-z * z)


class Lgamma(Elementwise):
    """log |Γ(x)|; Γ(n + 1) = n!.

    >>> lgamma(Tensor([1.0, 5.0])).exp()
    tensor([ 1., 24.])
    """

    def forward(self, xp, x):
        return xp.lgamma(x)

    def local_x(self, F, x):
        return F.polygamma(x, n=0)


class Polygamma(Elementwise):
    """ψₙ(x), the derivative of order n + 1 of log Γ(x). Each is the derivative of the one before.

    >>> polygamma(1, Tensor([1.0]))  # π² / 6
    tensor([1.6449])
    """

    n: int

    def forward(self, xp, x):
        return xp.polygamma(self.n, x)

    def local_x(self, F, x):
        return F.polygamma(x, n=self.n + 1)


class Abs(Elementwise):
    """|x|, with the derivative 0 at 0.

    >>> abs(Tensor([-1.5, 2.0]))
    tensor([1.5, 2. ])
    """

    def forward(self, xp, x):
        return xp.abs(x)

    def local_x(self, F, x):
        return F.sign(x)


class Sign(Elementwise):
    """-1, 0 or 1. A step function: no gradient flows through it.

    >>> sign(Tensor([-1.5, 0.0, 2.0]))
    tensor([-1.,  0.,  1.])
    """

    nondifferentiable = ("x",)

    def forward(self, xp, x):
        return x != 0 if x.dtype.kind == "b" else xp.sign(x)


class Floor(Elementwise):
    """The largest whole number not above x. No gradient flows through a step function.

    >>> floor(Tensor([-1.5, 1.5]))
    tensor([-2.,  1.])
    """

    nondifferentiable = ("x",)

    def forward(self, xp, x):
        return xp.floor(x)


class Ceil(Elementwise):
    """The smallest whole number not below x. No gradient flows through a step function.

    >>> ceil(Tensor([-1.5, 1.5]))
    tensor([-1.,  2.])
    """

    nondifferentiable = ("x",)

    def forward(self, xp, x):
        return xp.ceil(x)


class Trunc(Elementwise):
    """x without what stands behind the point. No gradient flows through a step function.

    >>> trunc(Tensor([-1.5, 1.5]))
    tensor([-1.,  1.])
    """

    nondifferentiable = ("x",)

    def forward(self, xp, x):
        return xp.trunc(x)


class Round(Elementwise):
    """The nearest number with so many decimals, halves to even ones.

    >>> round(Tensor([0.5, 1.5, 2.6]))
    tensor([0., 2., 3.])
    """

    decimals: int = 0
    nondifferentiable = ("x",)
    computes_in = "float64"

    def forward(self, xp, x):
        if x.dtype.kind != "f" or self.decimals == 0:
            return xp.round(x, self.decimals)
        if self.decimals < -308:  # 10 ** 309 is no float64
            return xp.where(xp.isfinite(x), 0.0, x)
        # NumPy multiplies by a power of 10. What this would make too large for a digit behind the
        # point has no such digit now.
        decimals = min(self.decimals, 308)
        coarse = xp.abs(x) < 2.0**53 / 10.0**decimals
        return xp.where(coarse, xp.round(xp.where(coarse, x, 0), decimals), x)


class NanToNum(Elementwise):
    """x with numbers in the place of NaN and of ±∞; None stands for the largest of the dtype.

    >>> nan_to_num(Tensor([1.0, float("nan")]))
    tensor([1., 0.])
    """

    nan: float = 0.0
    posinf: float | None = None
    neginf: float | None = None
    computes_in = "float16"  # None is the largest number of the dtype that x has

    def forward(self, xp, x):
        return xp.nan_to_num(x, nan=self.nan, posinf=self.posinf, neginf=self.neginf)

    def grad_x(self, F, g, x):
        return F.where(F.isfinite(x), g, 0.0)


class Clamp(Elementwise):
    """x limited to [min, max]; the gradient passes inside and at the bounds.

    >>> clamp(Tensor([-2.0, 0.5, 3.0]), min=-1, max=1)
    tensor([-1. ,  0.5,  1. ])
    """

    min: float | None = None
    max: float | None = None

    def forward(self, xp, x):
        if self.min is not None:
            x = xp.maximum(x, self.min)
        if self.max is not None:
            x = xp.minimum(x, self.max)
        return x

    def grad_x(self, F, g, x):
        if self.min is not None:
            g = F.where(x >= self.min, g, 0.0)
        if self.max is not None:
            g = F.where(x <= self.max, g, 0.0)
        return g


class Where(Elementwise):
    """x where the condition holds, else y.

    >>> where(Tensor([1.0, -1.0]) > 0, Tensor([5.0, 5.0]), 0.0)
    tensor([5., 0.])
    """

    nondifferentiable = ("condition",)
    computes_in = "float16"

    def forward(self, xp, condition, x, y):
        return xp.where(condition, *whole((x, y)))

    def grad_x(self, F, g, condition):
        return F.where(condition, g, 0.0)

    def grad_y(self, F, g, condition):
        return F.where(condition, 0.0, g)


# ----- conversions -----------------------------------------------------------------------------


class Clone(Op):
    """A copy of the values.

    >>> clone(Tensor([1.0]))
    tensor([1.])
    """

    computes_in = "float16"
    flops = moves

    def forward(self, xp, x):
        return xp.array(x, None)

    def grad_x(self, F, g):
        return g


class Cast(Op):
    """The values in another dtype. The gradient comes back in the dtype of the input.

    >>> cast(Tensor([1.7]), dtype="int64")
    tensor([1])
    """

    chooses_dtype = True
    dtype: Any
    flops = moves

    def forward(self, xp, x):
        return xp.array(x, self.dtype)

    def grad_x(self, F, g):
        return g


class ToDevice(Op):
    """The values on another device. The gradient goes back to the device that they came from.

    >>> to_device(Tensor([1.0]), device="cpu")
    tensor([1.])
    """

    device: str
    computes_in = "float16"
    flops = moves

    def destination(self, backend):
        return backends.get(self.device)

    def forward(self, xp, x):
        self.source = str(xp.device)
        return backends.get(self.device).receive(x, xp)

    def grad_x(self, F, g):
        return F.to_device(g, device=self.source)


# ----- comparisons: no gradient flows through a truth value -------------------------------------


class _Comparison(Elementwise):
    nondifferentiable = ("x", "y")


class Lt(_Comparison):
    """x < y."""

    def forward(self, xp, x, y):
        return xp.less(x, y)


class Le(_Comparison):
    """x <= y."""

    def forward(self, xp, x, y):
        return xp.less_equal(x, y)


class Gt(_Comparison):
    """x > y."""

    def forward(self, xp, x, y):
        return xp.greater(x, y)


class Ge(_Comparison):
    """x >= y."""

    def forward(self, xp, x, y):
        return xp.greater_equal(x, y)


class Eq(_Comparison):
    """x == y."""

    def forward(self, xp, x, y):
        return xp.equal(x, y)


class Ne(_Comparison):
    """x != y."""

    def forward(self, xp, x, y):
        return xp.not_equal(x, y)


class LogicalAnd(_Comparison):
    """x and y."""

    def forward(self, xp, x, y):
        return xp.logical_and(x, y)


class LogicalOr(_Comparison):
    """x or y."""

    def forward(self, xp, x, y):
        return xp.logical_or(x, y)


class LogicalXor(_Comparison):
    """Either x or y."""

    def forward(self, xp, x, y):
        return xp.logical_xor(x, y)


class _Bits(Arithmetic):
    """Base of the ops on the bits of integers; a truth value is a number of one bit."""

    nondifferentiable: ClassVar[tuple[str, ...]] = ("x", "y")
    what: ClassVar[str] = "the bits of integers"

    def check(self, *values, kinds="iub"):
        for value in values:
            dtype = value.dtype if hasattr(value, "dtype") else host.dtype(type(value))
            if dtype.kind not in kinds:
                raise TypeError(
                    f"{self.name} works on {self.what}"
                    f"{' and on truth values' if 'b' in kinds else ''}; got {dtype}. Convert it, "
                    "as in x.long(), or ask a question first, as in x > 0."
                )


class BitwiseAnd(_Bits):
    """The bits that x and y both have; x and y of truth values. As the operator, x & y.

    >>> bitwise_and(Tensor([12], dtype="int64"), 10)
    tensor([8])
    """

    def forward(self, xp, x, y):
        self.check(x, y)
        return xp.bitwise_and(x, y)


class BitwiseOr(_Bits):
    """The bits that x or y has; x or y of truth values. As the operator, x | y.

    >>> bitwise_or(Tensor([12], dtype="int64"), 10)
    tensor([14])
    """

    def forward(self, xp, x, y):
        self.check(x, y)
        return xp.bitwise_or(x, y)


class BitwiseXor(_Bits):
    """The bits in which x and y differ; either x or y of truth values. As the operator, x ^ y.

    >>> bitwise_xor(Tensor([12], dtype="int64"), 10)
    tensor([6])
    """

    def forward(self, xp, x, y):
        self.check(x, y)
        return xp.bitwise_xor(x, y)


class BitwiseLeftShift(_Bits):
    """x · 2ʸ for integers, as the operator x << y.

    >>> bitwise_left_shift(Tensor([3], dtype="int64"), 2)
    tensor([12])
    """

    def forward(self, xp, x, y):
        self.check(x, y, kinds="iu")
        return xp.left_shift(x, y)


class BitwiseRightShift(_Bits):
    """⌊x / 2ʸ⌋ for integers, as the operator x >> y.

    >>> bitwise_right_shift(Tensor([13, -13], dtype="int64"), 2)
    tensor([ 3, -4])
    """

    def forward(self, xp, x, y):
        self.check(x, y, kinds="iu")
        return xp.right_shift(x, y)


class Gcd(_Bits):
    """The greatest common divisor, from 0 up; that of 0 and 0 is 0.

    >>> gcd(Tensor([12, -18], dtype="int64"), 8)
    tensor([4, 2])
    """

    what = "integers"

    def forward(self, xp, x, y):
        self.check(x, y, kinds="iu")
        return xp.gcd(x, y)


class Lcm(_Bits):
    """The least common multiple, from 0 up; that of 0 and anything is 0.

    >>> lcm(Tensor([4, -6], dtype="int64"), 6)
    tensor([12,  6])
    """

    what = "integers"

    def forward(self, xp, x, y):
        self.check(x, y, kinds="iu")
        return xp.lcm(x, y)


class BitwiseNot(_Bits):
    """Every bit turned, -x - 1 of a signed integer; not x of truth values. As the operator, ~x.

    >>> bitwise_not(Tensor([12], dtype="int64"))
    tensor([-13])
    """

    nondifferentiable = ("x",)

    def forward(self, xp, x):
        self.check(x)
        return xp.invert(x)


class _Question(Elementwise):
    nondifferentiable = ("x",)


class LogicalNot(_Question):
    """not x."""

    def forward(self, xp, x):
        return xp.logical_not(x)


class Isnan(_Question):
    """Whether x is not a number.

    >>> isnan(Tensor([1.0, float("nan")]))
    tensor([False,  True])
    """

    def forward(self, xp, x):
        return xp.isnan(x)


class Isinf(_Question):
    """Whether x is ∞ or -∞.

    >>> isinf(Tensor([1.0, float("inf")]))
    tensor([False,  True])
    """

    def forward(self, xp, x):
        return xp.isinf(x)


class Isfinite(_Question):
    """Whether x is neither infinite nor NaN.

    >>> isfinite(Tensor([1.0, float("inf"), float("nan")]))
    tensor([ True, False, False])
    """

    def forward(self, xp, x):
        return xp.isfinite(x)


# ----- more functions --------------------------------------------------------------------------


class Copysign(OfReals):
    """|x| with the sign of y, in which -0 is negative. As of |x|, the gradient is 0 at x = 0.

    >>> copysign(Tensor([1.0, -2.0]), -1)
    tensor([-1., -2.])
    """

    nondifferentiable = ("y",)

    def forward(self, xp, x, y):
        return xp.copysign(x, y)

    def grad_x(self, F, g, x, y):
        return g * F.sign(x) * F.copysign(F.sign(x), y)  # on the device of x, if y is a number


class Exp2(OfReals):
    """2ˣ.

    >>> exp2(Tensor([0.0, 3.0]))
    tensor([1., 8.])
    """

    def forward(self, xp, x):
        return xp.exp2(x)

    def local_x(self, F, y):
        return y * F.let("ln2", math.log(2))


class Logaddexp2(OfReals):
    """log₂(2ᵃ + 2ᵇ), where neither power can overflow.

    >>> logaddexp2(Tensor([3.0, 2000.0]), 3)
    tensor([   4., 2000.])
    """

    def forward(self, xp, a, b):
        return xp.logaddexp2(a, b)

    def grad_a(self, F, g, a, b):
        return g * F.sigmoid((a - b) * F.let("ln2", math.log(2)))

    def grad_b(self, F, g, a, b):
        return g * F.sigmoid((b - a) * F.let("ln2", math.log(2)))


class Logit(OfReals):
    """log(x / (1 - x)), the inverse of the sigmoid; infinite at 0 and 1.

    >>> logit(Tensor([0.5, 0.75])).sigmoid()
    tensor([0.5 , 0.75])
    """

    def forward(self, xp, x):
        # Around 1/2 the quotient is rounded to steps around 1, whose logarithm is near 0. There
        # 2x - 1 is exact, and logit x = 2 artanh(2x - 1).
        middle = xp.abs(x - 0.5) < 0.25
        near = 2 * xp.arctanh(xp.where(middle, 2 * x - 1, 0))
        return xp.where(middle, near, xp.log(x / (1 - x)))

    def grad_x(self, F, g, x):
        return g / (x * (1 - x))


class Erfinv(Elementwise):
    """The number whose erf is x; infinite at -1 and 1.

    >>> erfinv(Tensor([0.0, 0.5]))
    tensor([0.    , 0.4769])
    """

    def forward(self, xp, x):
        return xp.erfinv(x)

    def local_x(self, F, y):
        return F.let("c", math.sqrt(math.pi) / 2) * F.exp(y * y)


class SphericalBessel(OfReals):
    """jₙ(z), the spherical Bessel function of the first kind; j₀(z) = sin z / z.

    The derivative is made of the neighbours in order, nowhere with a division by z, so it is exact
    at 0 to every order (Abramowitz and Stegun, 10.1.20).
    """

    n: int = 0

    def forward(self, xp, z):
        n = self.n
        # From the sine and the cosine by a recurrence in n, which loses digits where z is small
        # beside n; there stands the power series zⁿ Σ (-z²/2)ᵏ / (k! (2n + 2k + 1)!!).
        small = xp.abs(z) <= (2 if n else 1e-30)
        far = xp.where(small, 1, z)
        angle = xp.where(xp.isinf(far), 0, far)
        before, y = xp.cos(angle) / far, xp.sin(angle) / far
        for k in range(n):
            before, y = y, (2 * k + 1) / far * y - before
        near = xp.where(small, z, 0)
        term = near**n / math.prod(range(1, 2 * n + 2, 2))
        series = term
        for k in range(1, 14 if n else 1):
            term = term * (near * near) * (-0.5 / (k * (2 * n + 2 * k + 1)))
            series = series + term
        return xp.where(small, series, y)

    def local_z(self, F, z):
        n = self.n
        if n:
            before, after = F.spherical_bessel(z, n=n - 1), F.spherical_bessel(z, n=n + 1)
            return (n * before - (n + 1) * after) / (2 * n + 1)
        return -F.spherical_bessel(z, n=1)


# ----- as functions ----------------------------------------------------------------------------

mul = public(TOP, METHOD, IN_PLACE, also="multiply")(function(Mul, "input", "other"))
neg = public(TOP, METHOD, IN_PLACE, also="negative")(function(Neg, "input"))
maximum = public(TOP, METHOD)(function(Maximum, "input", "other"))
minimum = public(TOP, METHOD)(function(Minimum, "input", "other"))
floor_divide = public(TOP, METHOD, IN_PLACE)(function(FloorDivide, "input", "other"))
remainder = public(TOP, METHOD, IN_PLACE)(function(Remainder, "input", "other"))
fmod = public(TOP, METHOD, IN_PLACE)(function(Fmod, "input", "other"))
hypot = public(TOP, METHOD, IN_PLACE)(function(Hypot, "input", "other"))
exp = public(TOP, METHOD, IN_PLACE)(function(Exp, "input"))
expm1 = public(TOP, METHOD, IN_PLACE)(function(Expm1, "input"))
log = public(TOP, METHOD, IN_PLACE)(function(Log, "input"))
log1p = public(TOP, METHOD, IN_PLACE)(function(Log1p, "input"))
log2 = public(TOP, METHOD, IN_PLACE)(function(Log2, "input"))
log10 = public(TOP, METHOD, IN_PLACE)(function(Log10, "input"))
logaddexp = public(TOP, METHOD)(function(Logaddexp, "input", "other"))
sqrt = public(TOP, METHOD, IN_PLACE)(function(Sqrt, "input"))
rsqrt = public(TOP, METHOD, IN_PLACE)(function(Rsqrt, "input"))
square = public(TOP, METHOD, IN_PLACE)(function(Square, "input"))
reciprocal = public(TOP, METHOD, IN_PLACE)(function(Reciprocal, "input"))
sin = public(TOP, METHOD, IN_PLACE)(function(Sin, "input"))
cos = public(TOP, METHOD, IN_PLACE)(function(Cos, "input"))
tan = public(TOP, METHOD, IN_PLACE)(function(Tan, "input"))
asin = public(TOP, METHOD, IN_PLACE, also="arcsin")(function(Asin, "input"))
acos = public(TOP, METHOD, IN_PLACE, also="arccos")(function(Acos, "input"))
atan = public(TOP, METHOD, IN_PLACE, also="arctan")(function(Atan, "input"))
atan2 = public(TOP, METHOD, IN_PLACE, also="arctan2")(function(Atan2, "input", "other"))
sinh = public(TOP, METHOD, IN_PLACE)(function(Sinh, "input"))
cosh = public(TOP, METHOD, IN_PLACE)(function(Cosh, "input"))
asinh = public(TOP, METHOD, IN_PLACE, also="arcsinh")(function(Asinh, "input"))
acosh = public(TOP, METHOD, IN_PLACE, also="arccosh")(function(Acosh, "input"))
atanh = public(TOP, METHOD, IN_PLACE, also="arctanh")(function(Atanh, "input"))
erf = public(TOP, METHOD, IN_PLACE)(function(Erf, "input"))
erfc = public(TOP, METHOD, IN_PLACE)(function(Erfc, "input"))
lgamma = public(TOP, METHOD, IN_PLACE)(function(Lgamma, "input"))
abs = public(TOP, METHOD, IN_PLACE, also="absolute")(function(Abs, "input"))
sign = public(TOP, METHOD, IN_PLACE)(function(Sign, "input"))
floor = public(TOP, METHOD, IN_PLACE)(function(Floor, "input"))
ceil = public(TOP, METHOD, IN_PLACE)(function(Ceil, "input"))
trunc = public(TOP, METHOD, IN_PLACE, also="fix")(function(Trunc, "input"))
clone = public(TOP)(function(Clone, "input"))


@public(TOP)
def detach(input: Tensor) -> Tensor:
    """The same memory outside the graph: no gradient flows through the result.

    >>> detach(Tensor([1.0], requires_grad=True)).requires_grad
    False
    """
    return input.detach()


cast = function(Cast, "input")
to_device = function(ToDevice, "input")
lt = public(TOP, METHOD, IN_PLACE, also="less")(function(Lt, "input", "other"))
le = public(TOP, METHOD, IN_PLACE, also="less_equal")(function(Le, "input", "other"))
gt = public(TOP, METHOD, IN_PLACE, also="greater")(function(Gt, "input", "other"))
ge = public(TOP, METHOD, IN_PLACE, also="greater_equal")(function(Ge, "input", "other"))
eq = public(TOP, METHOD, IN_PLACE)(function(Eq, "input", "other"))
ne = public(TOP, METHOD, IN_PLACE, also="not_equal")(function(Ne, "input", "other"))
logical_and = public(TOP, METHOD, IN_PLACE)(function(LogicalAnd, "input", "other"))
logical_or = public(TOP, METHOD, IN_PLACE)(function(LogicalOr, "input", "other"))
logical_xor = public(TOP, METHOD, IN_PLACE)(function(LogicalXor, "input", "other"))
logical_not = public(TOP, METHOD, IN_PLACE)(function(LogicalNot, "input"))
bitwise_and = public(TOP, METHOD, IN_PLACE)(function(BitwiseAnd, "input", "other"))
bitwise_or = public(TOP, METHOD, IN_PLACE)(function(BitwiseOr, "input", "other"))
bitwise_xor = public(TOP, METHOD, IN_PLACE)(function(BitwiseXor, "input", "other"))
bitwise_not = public(TOP, METHOD, IN_PLACE)(function(BitwiseNot, "input"))
bitwise_left_shift = public(TOP, METHOD, IN_PLACE)(function(BitwiseLeftShift, "input", "other"))
bitwise_right_shift = public(TOP, METHOD, IN_PLACE)(function(BitwiseRightShift, "input", "other"))
gcd = public(TOP, METHOD, IN_PLACE)(function(Gcd, "input", "other"))
lcm = public(TOP, METHOD, IN_PLACE)(function(Lcm, "input", "other"))
isnan = public(TOP, METHOD)(function(Isnan, "input"))
isinf = public(TOP, METHOD)(function(Isinf, "input"))
isfinite = public(TOP, METHOD)(function(Isfinite, "input"))


def _factor_second(name: str, count: int) -> Callable[[Marked], Marked]:
    """Read the order of PyTorch's older programs too, `x.add_(0.1, y)` for `x.add_(y, alpha=0.1)`:
    `count` arguments by position, of which the second is the number `name`."""

    def mark(function: Marked) -> Marked:
        @wraps(function)
        def read(*args: Any, **options: Any) -> Any:
            if len(args) == count and isinstance(args[1], Real) and name not in options:
                input, options[name], *others = args
                args = (input, *others)
            return function(*args, **options)

        return read  # type: ignore[return-value]

    return mark


@public(TOP, METHOD, IN_PLACE)
@_factor_second("alpha", 3)
@computed_in("float32")
def add(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """`input` + `alpha` · `other`.

    >>> add(Tensor([1.0, 2.0]), Tensor([3.0, 3.0]), alpha=10)
    tensor([31., 32.])
    """
    return T.add(input, other if alpha == 1 else T.mul(other, alpha))


@public(TOP, METHOD, IN_PLACE, also="subtract")
@_factor_second("alpha", 3)
@computed_in("float32")
def sub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """`input` - `alpha` · `other`.

    >>> sub(Tensor([1.0, 2.0]), Tensor([3.0, 3.0]), alpha=10)
    tensor([-29., -28.])
    """
    return T.sub(input, other if alpha == 1 else T.mul(other, alpha))


@public(TOP, METHOD, IN_PLACE, also="divide true_divide")
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """`input` / `other`, as it is or rounded: down ("floor") or towards 0 ("trunc").

    >>> div(Tensor([7.0, -7.0]), 2)
    tensor([ 3.5, -3.5])
    >>> div(Tensor([7.0, -7.0]), 2, rounding_mode="trunc")
    tensor([ 3., -3.])
    """
    if rounding_mode == "floor":
        return T.floor_divide(input, other)
    if rounding_mode not in (None, "trunc"):
        raise ValueError(f"div: rounding_mode is None, 'floor' or 'trunc'; got {rounding_mode!r}.")
    if rounding_mode is None:
        return T.div(input, other)
    remainder = T.fmod(input, other)
    if remainder.is_floating_point():
        return T.trunc(T.div(input, other))
    return T.floor_divide(input - remainder, other)  # integers stay integers, however large


@public(TOP, METHOD, IN_PLACE)
def pow(input: Tensor, exponent: Any) -> Tensor:
    """`input` ** `exponent`, a number or a tensor."""
    if isinstance(exponent, int | float):
        return T.pow(input, n=exponent)
    return T.pow_tensor(input, exponent)


@public(TOP, METHOD, IN_PLACE)
def xlogy(input: Any, other: Any) -> Tensor:
    """`input` · log `other`, and 0 where `input` is 0, whatever `other` is (unless it is NaN).

    The entropy of the probabilities p is -Σ xlogy(p, p).

    >>> xlogy(Tensor([0.0, 0.5]), Tensor([0.0, 0.5]))
    tensor([ 0.    , -0.3466])
    """
    if isinstance(input, Tensor) and isinstance(other, int | float):
        # A number has no dtype of its own, and its logarithm is to be as exact as the tensor.
        dtype = input.dtype if input.is_floating_point() else None
        other = Tensor(other, dtype=dtype, device=input.device)
    return T.xlogy(input, other)


@public(TOP, METHOD, IN_PLACE)
def digamma(input: Tensor) -> Tensor:
    """ψ(x), the derivative of log Γ(x).

    >>> digamma(Tensor([1.0, 2.0]))
    tensor([-0.5772,  0.4228])
    """
    return T.polygamma(input, n=0)


@public(TOP)
def polygamma(n: int, input: Tensor) -> Tensor:
    """ψₙ(x), the derivative of order n of digamma.

    >>> polygamma(1, Tensor([1.0, 2.0]))
    tensor([1.6449, 0.6449])
    """
    if n < 0:
        raise ValueError(f"polygamma: n counts derivatives, so it is 0 or more; got {n}.")
    return T.polygamma(input if input.is_floating_point() else input.float(), n=n)


@public(TOP, METHOD, IN_PLACE)
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest number with `decimals` places behind the point, halves to even ones.

    Below 0 they count places before the point. No gradient flows through a step function.

    >>> round(Tensor([2.5, 17.0])), round(Tensor([17.0]), decimals=-1)
    (tensor([ 2., 17.]), tensor([20.]))
    """
    return T.round(input, decimals=decimals)


@public(TOP, METHOD, IN_PLACE)
def nan_to_num(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """`input` with `nan` for NaN, `posinf` for ∞ and `neginf` for -∞.

    None stands for 0, for the largest and for the smallest number of the dtype. The gradient passes
    where `input` is finite.

    >>> nan_to_num(Tensor([1.0, float("nan"), float("inf")]), posinf=9)
    tensor([1., 0., 9.])
    """
    return T.nan_to_num(input, nan=nan or 0.0, posinf=posinf, neginf=neginf)


@public(TOP, METHOD, IN_PLACE, also="clip")
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """`input` limited to [min, max], by numbers or by tensors; either bound may be None.

    The gradient passes to `input` inside and at the bounds, and to a bound that is a tensor where
    it decides. Where min is above max, the result is max.

    >>> clamp(Tensor([1.0, 5.0]), max=Tensor([2.0, 3.0]))
    tensor([1., 3.])
    """
    if min is None and max is None:
        raise ValueError("clamp: expected min, max or both; got neither.")
    if all(bound is None or isinstance(bound, int | float) for bound in (min, max)):
        return T.clamp(input, min=min, max=max)
    if min is not None:
        input = T.where(input >= min, input, T.maximum(input, min))
    if max is not None:
        input = T.where(input <= max, input, T.minimum(input, max))
    return input


@overload
def where(condition: Tensor) -> tuple[Tensor, ...]: ...
@overload
def where(condition: Tensor, input: Any, other: Any) -> Tensor: ...
@public(TOP)
def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """`input` where the condition holds, and `other` elsewhere; the three broadcast.

    Given the condition alone, the places where it holds: nonzero(condition, as_tuple=True).

    >>> where(Tensor([1.0, -1.0]) > 0, 5.0, Tensor([6.0, 7.0]))
    tensor([5., 7.])
    """
    if input is None and other is None:
        places = T.nonzero(condition if condition.ndim else T.reshape(condition, shape=(1,)))
        return tuple(T.getitem(places, index=(..., axis)) for axis in range(places.shape[1]))
    if input is None or other is None:
        raise TypeError("where: expected a condition, or a condition and two values; got one.")
    return T.where(condition, input, other)


@public(TOP, METHOD, IN_PLACE)
@computed_in("float64")
def lerp(input: Tensor, end: Any, weight: Any) -> Tensor:
    """`input` + `weight` · (`end` - `input`): a point on the line from `input` to `end`.

    >>> lerp(Tensor([0.0, 10.0]), Tensor([10.0, 20.0]), 0.5)
    tensor([ 5., 15.])
    """
    # From the nearer end: what the other end rounds away would be missing at weight 1.
    span = T.sub(end, input)
    if isinstance(weight, int | float):
        if weight < 0.5:
            return T.add(input, T.mul(weight, span))
        return T.sub(end, T.mul(1.0 - weight, span))
    if not isinstance(weight, Tensor):
        dtype = None if hasattr(weight, "dtype") else span.dtype
        weight = Tensor(weight, dtype=dtype, device=span.device)
    back = T.sub(end, T.mul(T.sub(1.0, weight), span))
    return T.where(weight < 0.5, T.add(input, T.mul(weight, span)), back)


@public(TOP, METHOD, IN_PLACE)
@_factor_second("value", 4)
@computed_in("float64")
def addcmul(input: Tensor, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """`input` + `value` · `tensor1` · `tensor2`.

    >>> addcmul(Tensor([1.0]), Tensor([2.0]), Tensor([3.0]), value=10)
    tensor([61.])
    """
    return T.add(input, T.mul(value, T.mul(tensor1, tensor2)))


@public(TOP, METHOD, IN_PLACE)
@_factor_second("value", 4)
@computed_in("float64")
def addcdiv(input: Tensor, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """`input` + `value` · `tensor1` / `tensor2`.

    >>> addcdiv(Tensor([1.0]), Tensor([3.0]), Tensor([2.0]), value=10)
    tensor([16.])
    """
    return T.add(input, T.mul(value, T.div(tensor1, tensor2)))


@public(TOP, METHOD, IN_PLACE)
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """`input` · 2^`other`.

    >>> ldexp(Tensor([1.0, 3.0]), Tensor([3, -1], dtype="int64"))
    tensor([8. , 1.5])
    """
    if not input.is_floating_point():
        input = input.float()
    exponent = other if other.is_floating_point() else other.to(dtype=input.dtype)
    product: Tensor = T.mul(input, T.exp2(exponent))
    return product


# ----- more functions, and second names ----------------------------------------------------------

copysign = public(TOP, METHOD, IN_PLACE)(function(Copysign, "input", "other"))
exp2 = public(TOP, METHOD, IN_PLACE)(function(Exp2, "input"))
logaddexp2 = public(TOP, METHOD)(function(Logaddexp2, "input", "other"))
erfinv = public(TOP, METHOD, IN_PLACE)(function(Erfinv, "input"))


@public(TOP, METHOD, IN_PLACE)
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """`input`, but not below `min`; see `clamp`.

    >>> clamp_min(Tensor([-1.0, 2.0]), 0)
    tensor([0., 2.])
    """
    return clamp(input, min=min)


@public(TOP, METHOD, IN_PLACE)
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """`input`, but not above `max`; see `clamp`.

    >>> clamp_max(Tensor([-1.0, 2.0]), 0)
    tensor([-1.,  0.])
    """
    return clamp(input, max=max)


@public(TOP)
def rsub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """`other` - `alpha` · `input`.

    >>> rsub(Tensor([1.0, 2.0]), 10)
    tensor([9., 8.])
    """
    return sub(other, input, alpha=alpha)


@public(TOP, METHOD)
def positive(input: Tensor) -> Tensor:
    """`input` as it is: what + stands for.

    >>> positive(Tensor([1.0, -2.0]))
    tensor([ 1., -2.])
    """
    return +input


@public(TOP, METHOD, IN_PLACE)
def deg2rad(input: Tensor) -> Tensor:
    """The angle in radians: `input` · π / 180.

    >>> deg2rad(Tensor([0.0, 90.0]))
    tensor([0.    , 1.5708])
    """
    return T.mul(input, math.pi / 180)


@public(TOP, METHOD, IN_PLACE)
def rad2deg(input: Tensor) -> Tensor:
    """The angle in degrees: `input` · 180 / π.

    >>> rad2deg(Tensor([0.0, 3.14159265]))
    tensor([  0., 180.])
    """
    return T.mul(input, 180 / math.pi)


@public(TOP, METHOD, IN_PLACE)
def frac(input: Tensor) -> Tensor:
    """What stands behind the point, with the sign of `input`; the derivative is 1.

    >>> frac(Tensor([2.25, -2.25]))
    tensor([ 0.25, -0.25])
    """
    return T.sub(input, T.trunc(input))


@public(TOP, METHOD)
def real(input: Tensor) -> Tensor:
    """The tensor itself: there are no complex ones, and no `imag`."""
    return input


@public(TOP, METHOD, also="resolve_conj resolve_neg")
def conj(input: Tensor) -> Tensor:
    """The tensor itself: what is real is its own conjugate."""
    return input


@public(TOP, METHOD, IN_PLACE)
def conj_physical(input: Tensor) -> Tensor:
    """The tensor itself: what is real is its own conjugate."""
    return input


@public(TOP, METHOD)
def angle(input: Tensor) -> Tensor:
    """The angle of a real number in the plane: π below 0, and 0 from there on; nan of nan.

    >>> angle(Tensor([-2.0, 3.0]))
    tensor([3.1416, 0.    ])
    """
    input = input if input.is_floating_point() else input.float()
    return T.where(input < 0, math.pi, T.where(T.isnan(input), input, 0.0))


@public(TOP, METHOD, IN_PLACE)
@computed_in("float32")
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the gamma function of p variables: p (p - 1) / 4 · ln π + Σⱼ ln Γ(x - j / 2)
    over j = 0 ... p - 1, for x > (p - 1) / 2.

    >>> mvlgamma(Tensor([2.0]), 2)
    tensor([0.4516])
    """
    if p < 1:
        raise ValueError(f"mvlgamma: p is 1 or more; got {p}.")
    total = T.lgamma(input)
    for j in range(1, p):
        total = total + T.lgamma(input - j / 2)
    return total + p * (p - 1) / 4 * math.log(math.pi)


@public(TOP, METHOD)
def signbit(input: Tensor) -> Tensor:
    """Whether the sign is a minus, be it that of -0.

    >>> signbit(Tensor([1.0, -2.0, -0.0]))
    tensor([False,  True,  True])
    """
    return T.lt(T.copysign(1.0, input) if input.is_floating_point() else input, 0)


@public(TOP, METHOD, IN_PLACE)
def sgn(input: Tensor) -> Tensor:
    """-1, 0 or 1: `sign`, as all numbers here are real.

    >>> sgn(Tensor([-1.5, 0.0, 2.0]))
    tensor([-1.,  0.,  1.])
    """
    return T.sign(input)


@public(TOP, METHOD)
def isposinf(input: Tensor) -> Tensor:
    """Whether it is ∞.

    >>> isposinf(Tensor([1.0, float("inf"), -float("inf")]))
    tensor([False,  True, False])
    """
    return T.eq(input, math.inf)


@public(TOP, METHOD)
def isneginf(input: Tensor) -> Tensor:
    """Whether it is -∞.

    >>> isneginf(Tensor([1.0, float("inf"), -float("inf")]))
    tensor([False, False,  True])
    """
    return T.eq(input, -math.inf)


@public(TOP, METHOD)
def isreal(input: Tensor) -> Tensor:
    """Whether it has no imaginary part: true everywhere, as all numbers here are real.

    >>> isreal(Tensor([1.0, float("nan")]))
    tensor([ True,  True])
    """
    return T.logical_or(T.eq(input, input), T.isnan(input))


@public(TOP, METHOD, IN_PLACE)
def heaviside(input: Tensor, values: Any) -> Tensor:
    """0 below 0, 1 above, and `values` at 0; NaN stays.

    The gradient passes to `values` where `input` is 0.

    >>> heaviside(Tensor([-1.0, 0.0, 2.0]), 0.5)
    tensor([0. , 0.5, 1. ])
    """
    return T.where(T.eq(input, 0), values, T.maximum(T.sign(input), 0))


@public(TOP, METHOD, IN_PLACE)
def float_power(input: Any, exponent: Any) -> Tensor:
    """`input` ** `exponent` in float64, whatever the dtypes.

    >>> float_power(Tensor([2, 3]), -1).dtype
    dtype('float64')
    """
    wide, power = (
        T.cast(x, dtype="float64") if isinstance(x, Tensor) else x for x in (input, exponent)
    )
    if not isinstance(wide, Tensor):
        wide = Tensor(wide, dtype="float64", device=getattr(power, "device", None))
    return pow(wide, power)


@public(TOP, METHOD)
def fmax(input: Any, other: Any) -> Tensor:
    """The larger of both, and the one that is a number where the other is NaN; see `maximum`.

    >>> fmax(Tensor([1.0, float("nan")]), Tensor([2.0, 3.0]))
    tensor([2., 3.])
    """
    return T.maximum(*_without_nan(input, other))


@public(TOP, METHOD)
def fmin(input: Any, other: Any) -> Tensor:
    """The smaller of both, and the one that is a number where the other is NaN; see `minimum`.

    >>> fmin(Tensor([1.0, float("nan")]), Tensor([2.0, 3.0]))
    tensor([1., 3.])
    """
    return T.minimum(*_without_nan(input, other))


def _without_nan(a: Any, b: Any) -> tuple[Any, Any]:
    """Each with the other's elements in the place of its own NaN."""
    return T.where(T.isnan(a), b, a), T.where(T.isnan(b), a, b)


@public(TOP, METHOD, IN_PLACE)
@computed_in("float32")
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of the sigmoid, of x = `input` limited to [eps, 1 - eps].

    With eps the gradient is 0 where `input` lies outside of the bounds; without, the result is
    infinite at 0 and 1, and NaN outside.

    >>> logit(Tensor([0.5, 1.0]), eps=0.25)
    tensor([0.    , 1.0986])
    """
    if not input.is_floating_point():
        input = input.float()  # 1 - x would wrap around in unsigned integers
    return T.logit(input if eps is None else T.clamp(input, min=eps, max=1 - eps))


@public(TOP, METHOD, IN_PLACE)
@computed_in("float64")
def sinc(input: Tensor) -> Tensor:
    """sin(πx) / (πx), and 1 at 0; differentiable everywhere, and 0 at ±∞.

    >>> sinc(Tensor([0.0, 0.5]))
    tensor([1.    , 0.6366])
    """
    return T.spherical_bessel(T.mul(input, math.pi))


@public(TOP, METHOD)
@no_grad()
def isclose(
    input: Tensor,
    other: Any,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    equal_nan: bool = False,
) -> Tensor:
    """Whether |`input` - `other`| <= `atol` + `rtol` · |`other`|, element by element.

    Infinities are close to their equals alone, NaN to nothing, or to NaN with `equal_nan`. The
    distance of integers is exact; that of floats is taken in float64.

    >>> isclose(Tensor([1.0, 2.0]), Tensor([1.000001, 2.1]))
    tensor([ True, False])
    """
    if rtol < 0 or atol < 0:
        raise ValueError(f"isclose: rtol and atol are 0 or more; got {rtol} and {atol}.")
    same = T.eq(input, other)
    if equal_nan:
        same = T.logical_or(same, T.logical_and(T.isnan(input), T.isnan(other)))
    finite = T.logical_and(T.isfinite(input), T.isfinite(other))
    a, b = T.where(finite, input, 0), T.where(finite, other, 0)
    wide_a, wide_b = T.cast(a, dtype="float64"), T.cast(b, dtype="float64")
    distance = T.abs(T.sub(wide_a, wide_b))
    if not (a.is_floating_point() or b.is_floating_point()):
        # float64 has no room for 64 bits; the difference of integers is exact where it fits.
        exact = T.abs(T.sub(T.cast(a, dtype="int64"), T.cast(b, dtype="int64")))
        distance = T.where(T.lt(distance, 2.0**62), exact, distance)
    allowed = T.add(T.mul(T.abs(wide_b), rtol), atol)
    return T.logical_or(same, T.logical_and(finite, T.le(distance, allowed)))


@public(TOP, METHOD)
def allclose(
    input: Tensor,
    other: Any,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    equal_nan: bool = False,
) -> bool:
    """Whether all elements are close, see `isclose`; the host waits for a GPU to know.

    >>> allclose(Tensor([1.0, 2.0]), Tensor([1.000001, 2.1]))
    False
    """
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@public(TOP, METHOD)
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have one shape and the same elements; the host waits for a GPU to know.

    >>> equal(Tensor([1.0, 2.0]), Tensor([1.0, 2.0])), equal(Tensor([1.0, 1.0]), Tensor([1.0]))
    (True, False)
    """
    return input.shape == other.shape and bool(T.eq(input, other).all())
