"""Functions of vectors: exp, log, tanh, erf and their kin, a few instructions for LANES numbers.

They are written in `Lanes`, vectors for which an operator writes the instruction:

    @function
    def softsign(x):
        return x / (1.0 + absolute(x))

is called in a kernel, of vectors as `vectors.py` has them, and in other functions here, of Lanes.
The errors that `tests/test_compiled_functions.py` holds them to, over all of float32 with its
subnormals, 0 and ∞: 1 unit in the last place for exp and log, 2.5 for the others, 4.5 for erfc.

The polynomials of exp, log, tanh and erf are those of S. Moshier's Cephes library in single
precision (1989, netlib.org/cephes), reduced as W. Cody and W. Waite do it (Software Manual for the
Elementary Functions, 1980).
"""

import math
from collections.abc import Callable
from inspect import signature
from typing import Any

from llvmlite import ir
from numba.core.extending import _Intrinsic

from tinygrad_cv.backend.compiled.vectors import F32, I32, LANES, VECTOR, call, vector

INTEGERS = ir.VectorType(I32, LANES)


class Lanes:
    """A vector while code is written: of float32, of int32, or of truth values."""

    __slots__ = ("builder", "value")

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    @property
    def is_float(self) -> bool:
        """Whether it holds float32."""
        return bool(self.value.type.element == F32)

    def like(self, other: Any) -> Any:
        """Another vector's value, or that of a number in all lanes."""
        if isinstance(other, Lanes):
            return other.value
        number = float(other) if self.is_float else int(other)
        return ir.Constant(self.value.type, [number] * LANES)

    def full(self, number: float) -> "Lanes":
        """A number in all lanes."""
        return self.made(self.like(number))

    def made(self, value: Any) -> "Lanes":
        """A value that the builder of this one has made."""
        return Lanes(self.builder, value)

    def _by(self, real: str, whole: str, x: Any, y: Any) -> "Lanes":
        if self.is_float:
            return self.made(getattr(self.builder, real)(x, y, flags=("contract",)))
        return self.made(getattr(self.builder, whole)(x, y))

    def __add__(self, other: Any) -> "Lanes":
        return self._by("fadd", "add", self.value, self.like(other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Lanes":
        return self._by("fsub", "sub", self.value, self.like(other))

    def __rsub__(self, other: Any) -> "Lanes":
        return self._by("fsub", "sub", self.like(other), self.value)

    def __mul__(self, other: Any) -> "Lanes":
        return self._by("fmul", "mul", self.value, self.like(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Lanes":
        return self.made(self.builder.fdiv(self.value, self.like(other)))

    def __rtruediv__(self, other: Any) -> "Lanes":
        return self.made(self.builder.fdiv(self.like(other), self.value))

    def __neg__(self) -> "Lanes":
        return self.made(self.builder.fneg(self.value))

    def __lshift__(self, count: int) -> "Lanes":
        return self.made(self.builder.shl(self.value, self.like(count)))

    def __rshift__(self, count: int) -> "Lanes":
        return self.made(self.builder.ashr(self.value, self.like(count)))

    def __and__(self, other: Any) -> "Lanes":
        return self.made(self.builder.and_(self.value, self.like(other)))

    def __or__(self, other: Any) -> "Lanes":
        return self.made(self.builder.or_(self.value, self.like(other)))

    def _compared(self, sign: str, other: Any) -> "Lanes":
        # With NaN nothing is true but !=.
        kind = self.builder.fcmp_unordered if sign == "!=" else self.builder.fcmp_ordered
        return self.made(kind(sign, self.value, self.like(other)))

    def __lt__(self, other: Any) -> "Lanes":
        return self._compared("<", other)

    def __le__(self, other: Any) -> "Lanes":
        return self._compared("<=", other)

    def __gt__(self, other: Any) -> "Lanes":
        return self._compared(">", other)

    def __ge__(self, other: Any) -> "Lanes":
        return self._compared(">=", other)

    def equals(self, other: Any) -> "Lanes":
        """Where the two are equal."""
        return self._compared("==", other)

    def differs(self, other: Any) -> "Lanes":
        """Where the two are not equal; nan is equal to nothing."""
        return self._compared("!=", other)


class Function(_Intrinsic):  # type: ignore[misc]
    """A function of vectors: called in a kernel, or of Lanes while another one is written."""

    def __init__(
        self, name: str, definition: Callable[..., Lanes], count: int | None = None, **options: Any
    ) -> None:
        super().__init__(name, definition, **options)
        self.definition = definition
        self.count = len(signature(definition).parameters) if count is None else count

        def typed(*args: Any) -> Any:
            if args != (vector,) * self.count:
                return None

            def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return definition(*[Lanes(builder, a) for a in args]).value

            return vector(*args), generate

        self._defn = _OF[self.count](typed)
        self._register()

    def __call__(self, *args: Any) -> Lanes:  # type: ignore[override]
        return self.definition(*args)


# Numba wants to see how many arguments there are.
_OF: dict[int, Callable[[Any], Any]] = {
    1: lambda typed: lambda typing, x: typed(x),
    2: lambda typed: lambda typing, x, y: typed(x, y),
    3: lambda typed: lambda typing, x, y, z: typed(x, y, z),
    4: lambda typed: lambda typing, x, y, z, w: typed(x, y, z, w),
}


def function(definition: Callable[..., Lanes]) -> Function:
    """A function of vectors of float32, defined for Lanes."""
    return Function(definition.__name__, definition)


# ----- one instruction, or a few -----------------------------------------------------------------


def select(truth: Lanes, x: Any, y: Any) -> Lanes:
    """x where it is true, else y; one of them may be a number"""
    like = x if isinstance(x, Lanes) else y
    return truth.made(truth.builder.select(truth.value, like.like(x), like.like(y)))


def bits(x: Lanes) -> Lanes:
    """float32 as int32, the same bits"""
    return x.made(x.builder.bitcast(x.value, INTEGERS))


def from_bits(n: Lanes) -> Lanes:
    """int32 as float32, the same bits"""
    return n.made(n.builder.bitcast(n.value, VECTOR))


def multiply_add(x: Lanes, y: Any, z: Any) -> Lanes:
    """x · y + z, rounded once where the CPU can"""
    name = f"llvm.fmuladd.v{LANES}f32"
    return x.made(call(x.builder, name, VECTOR, x.value, x.like(y), x.like(z)))


def halves(x: Lanes) -> tuple[Lanes, Lanes]:
    """Two numbers of half as many digits, whose sum is x"""
    high = from_bits(bits(x) & -(1 << 12))
    return high, x - high


def polynomial(x: Lanes, *coefficients: float) -> Lanes:
    """c₀xⁿ + c₁xⁿ⁻¹ + ... + cₙ, by Horner's rule"""
    total: Any = coefficients[0]
    for c in coefficients[1:]:
        total = multiply_add(x, total, c)
    return total


def _instruction(name: str, x: Lanes, *others: Any) -> Lanes:
    args = [x.value, *[x.like(other) for other in others]]
    return x.made(call(x.builder, f"llvm.{name}.v{LANES}f32", VECTOR, *args))


@function
def absolute(x: Lanes) -> Lanes:
    """|x|"""
    return _instruction("fabs", x)


@function
def sqrt(x: Lanes) -> Lanes:
    """√x, correctly rounded"""
    return _instruction("sqrt", x)


@function
def floor(x: Lanes) -> Lanes:
    """The largest integer that is not above x"""
    return _instruction("floor", x)


@function
def copysign(x: Lanes, y: Lanes) -> Lanes:
    """|x| with the sign of y"""
    return _instruction("copysign", x, y)


@function
def largest(x: Lanes, y: Lanes) -> Lanes:
    """max(x, y), and NaN where one of them is"""
    return select(x > y, x, select(x.equals(x), y, x))


@function
def least(x: Lanes, y: Lanes) -> Lanes:
    """min(x, y), and NaN where one of them is"""
    return select(x < y, x, select(x.equals(x), y, x))


def limited(x: Lanes, low: float, high: float) -> Lanes:
    """x within [low, high]; NaN stays NaN"""
    x = select(x < low, low, x)
    return select(x > high, high, x)


# ----- powers of e -------------------------------------------------------------------------------
# eˣ = 2ⁿ · eʳ with |r| <= log 2 / 2. Log 2 is two numbers, of which the first has so few bits that
# n times it is exact.

LOG2_E = 1.44269504088896341
LOG_2_HIGH, LOG_2_LOW = 0.693359375, -2.12194440e-4
ROUND = 1.5 * 2.0**23
"""Added to a small number it leaves the nearest integer, in the last bits."""


def _reduced(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """n as an integer and as a float, and eʳ - 1 to all its digits."""
    shifted = multiply_add(x, LOG2_E, ROUND)
    whole = shifted - ROUND
    n = bits(shifted) - 0x4B400000
    r = multiply_add(whole, -LOG_2_HIGH, x)
    r = multiply_add(whole, -LOG_2_LOW, r)
    p = polynomial(
        r,
        1.9875691500e-4,
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        5.0000001201e-1,
    )
    return n, whole, multiply_add(r * r, p, r)


def _power_of_2(n: Lanes) -> Lanes:
    """2ⁿ for -127 < n < 128"""
    return from_bits((n + 127) << 23)


@function
def exp(x: Lanes) -> Lanes:
    """eˣ, also where it is subnormal"""
    n, _, rest = _reduced(limited(x, -104.0, 89.0))
    half = n >> 1  # 2ⁿ may be out of range while the product is not
    return (rest + 1.0) * _power_of_2(half) * _power_of_2(n - half)


@function
def expm1(x: Lanes) -> Lanes:
    """eˣ - 1, with all its digits where x is small"""
    n, whole, rest = _reduced(limited(x, -18.0, 89.0))
    half = _power_of_2(n - 1)
    y = select(whole.equals(0.0), rest, 2.0 * multiply_add(half, rest, half - 0.5))
    return select(x.equals(0.0), x, y)  # -0 too


@function
def tanh(x: Lanes) -> Lanes:
    """(e²ˣ - 1) / (e²ˣ + 1)"""
    square = x * x
    near = polynomial(
        square,
        -5.70498872745e-3,
        2.06390887954e-2,
        -5.37397155531e-2,
        1.33314422036e-1,
        -3.33332819422e-1,
    )
    size = absolute(x)
    n, _, rest = _reduced(select(size > 10.0, 20.0, size + size))
    far = 1.0 - 2.0 / multiply_add(_power_of_2(n), rest + 1.0, 1.0)
    return copysign(select(size < 0.625, multiply_add(near * square, size, size), far), x)


@function
def sigmoid(x: Lanes) -> Lanes:
    """1 / (1 + e⁻ˣ), whose tails do not overflow"""
    small = exp(-absolute(x))
    return select(x < 0.0, small, 1.0) / (1.0 + small)


# ----- logarithms --------------------------------------------------------------------------------


@function
def log(x: Lanes) -> Lanes:
    """The natural logarithm: x = 2ᵉ · (1 + f) with 1 + f between √½ and √2"""
    subnormal = x < 2.0**-126
    n = bits(select(subnormal, x * 2.0**23, x))
    e = (n - 0x3F3504F3) >> 23
    f = from_bits(n - (e << 23)) - 1.0
    exponent = e.made(e.builder.sitofp(e.value, VECTOR))
    exponent = select(subnormal, exponent - 23.0, exponent)
    square = f * f
    p = polynomial(
        f,
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    )
    rest = multiply_add(exponent, LOG_2_LOW, p * f * square)
    rest = f + multiply_add(square, -0.5, rest)
    y = multiply_add(exponent, LOG_2_HIGH, rest)
    y = select(x < math.inf, y, x)
    return select(x > 0.0, y, select(x.equals(0.0), x.full(-math.inf), math.nan))


@function
def log1p(x: Lanes) -> Lanes:
    """log(1 + x): the logarithm of the rounded sum, and what the rounding took, over the sum"""
    total = x + 1.0
    lost = (x - (total - 1.0)) / total
    y = log(total)
    y = select(x < 0.5, select(x > -1.0, y + lost, y), y)
    return select(x.equals(0.0), x, y)  # -0 too


# ----- the error function ------------------------------------------------------------------------


def _scaled_erfc(a: Lanes) -> Lanes:
    """e^(a²) · erfc a for 0 <= a <= 11, to 5e-8.

    (1 + 2a) times it is all but constant, and a polynomial in (a - 2) / (a + 2): M. Shepherd and J.
    Laframboise, Chebyshev approximation of (1 + 2x) exp(x²) erfc(x), 1981. The coefficients are a
    fit of ours with the least largest relative error.
    """
    p = polynomial(
        (a - 2.0) / (a + 2.0),
        -0.0003906831261701882,
        -0.001213305862620473,
        0.0013110401341691613,
        0.008617539890110493,
        -0.008061940781772137,
        -0.05420047417283058,
        0.16405601799488068,
        -0.16603176295757294,
        -0.09276401996612549,
        1.2769783735275269,
    )
    return p / (1.0 + 2.0 * a)


def far_erfc(x: Lanes, scale: float) -> tuple[Lanes, Lanes]:
    """erfc(√scale · x) for x >= 0, and e^(-scale · x²). A square that is rounded would cost digits:

    x = h + l, where h has half of the bits; h² is exact, and x² is that and (x - h)(x + h). That is
    below 1/8 for x < 16, and its power a few terms of the series.
    """
    high, low = halves(x)
    rest = polynomial(-scale * (low * (x + high)), 1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0)
    bell = exp(-scale * (high * high)) * rest
    return bell * _scaled_erfc(x * math.sqrt(scale)), bell


def _erf_near_0(x: Lanes) -> Lanes:
    """erf x for |x| <= 1"""
    return x * polynomial(
        x * x,
        7.853861353153693e-5,
        -8.010193625184903e-4,
        5.188327685732524e-3,
        -2.685381193529856e-2,
        1.128358514861418e-1,
        -3.761262582423300e-1,
        1.128379165726710,
    )


@function
def erf(x: Lanes) -> Lanes:
    """2/√π ∫₀ˣ e^(-t²) dt"""
    size = limited(absolute(x), 0.0, 5.0)
    far = 1.0 - exp(-(size * size)) * _scaled_erfc(size)
    return select(size < 1.0, _erf_near_0(x), copysign(far, x))


@function
def erfc(x: Lanes) -> Lanes:
    """1 - erf x, accurate where that is small"""
    size = limited(absolute(x), 0.0, 11.0)
    tail, _ = far_erfc(size, 1.0)
    far = select(x < 0.0, 2.0 - tail, tail)
    return select(size < 0.5, 1.0 - _erf_near_0(x), far)
