"""Arithmetic, functions and comparisons, element by element with broadcasting.

An op here may forget about broadcasting: the engine sums a gradient back over the axes along
which its input was repeated.
"""

from typing import Any

from tinygrad_cv import backend as backends
from tinygrad_cv.op import Op
from tinygrad_cv.tensor import F as T
from tinygrad_cv.tensor import Tensor, function


class Elementwise(Op):
    """Base of the ops whose inputs are broadcast against each other."""

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        shapes = [a.shape for a in arrays if hasattr(a, "shape")]
        return ValueError(
            f"{self.name}: the shapes {' and '.join(map(str, shapes))} do not broadcast. Compared "
            "from the last axis backwards, two lengths must be equal or one of them 1; insert "
            "axes of length 1 where needed, as in b.reshape(-1, 1) or b[:, None]."
        )


# ----- arithmetic ------------------------------------------------------------------------------


class Add(Elementwise):
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


class Sub(Elementwise):
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


class Mul(Elementwise):
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
        return -g * x / (y * y)


class Neg(Elementwise):
    """-x.

    >>> neg(Tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """

    def forward(self, xp, x):
        return xp.negative(x)

    def grad_x(self, F, g):
        return -g


class Pow(Elementwise):
    """x ** n for a number n.

    >>> Tensor([1.0, 2.0]) ** 3
    tensor([1., 8.])
    """

    n: float

    def forward(self, xp, x):
        return xp.power(x, self.n)

    def local_x(self, F, x):
        # The constant x ** 0 apart: 0 · x ** -1 would be 0 · inf at x = 0.
        return self.n * x ** (self.n - 1) if self.n else 0.0 * x


class PowTensor(Elementwise):
    """x ** n for a tensor n. As a function of n it is differentiable where x > 0.

    >>> Tensor([2.0, 3.0]) ** Tensor([3.0, 2.0])
    tensor([8., 9.])
    """

    def forward(self, xp, x, n):
        return xp.power(x, n)

    def grad_x(self, F, g, x, n):
        # Where n is 0 the power is constant; n · x ** -1 would be 0 · inf at x = 0.
        return g * n * x ** F.where(n == 0, 1.0, n - 1)

    def grad_n(self, F, g, x, y):
        # 0 ** n does not move with n > 0, though log 0 is infinite.
        return g * y * F.log(F.where(x == 0, 1.0, x))


class Maximum(Elementwise):
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


class Minimum(Elementwise):
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


# ----- functions -------------------------------------------------------------------------------


class Exp(Elementwise):
    """eˣ: its own derivative.

    >>> exp(Tensor([0.0, 1.0]))
    tensor([1.    , 2.7183])
    """

    def forward(self, xp, x):
        return xp.exp(x)

    def local_x(self, F, y):
        return y


class Log(Elementwise):
    """The natural logarithm.

    >>> log(Tensor([1.0, 2.718281828]))
    tensor([0., 1.])
    """

    def forward(self, xp, x):
        return xp.log(x)

    def grad_x(self, F, g, x):
        return g / x


class Sqrt(Elementwise):
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


class Sin(Elementwise):
    """sin x.

    >>> sin(Tensor([0.0]))
    tensor([0.])
    """

    def forward(self, xp, x):
        return xp.sin(x)

    def local_x(self, F, x):
        return F.cos(x)


class Cos(Elementwise):
    """cos x.

    >>> cos(Tensor([0.0]))
    tensor([1.])
    """

    def forward(self, xp, x):
        return xp.cos(x)

    def grad_x(self, F, g, x):
        return -g * F.sin(x)


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
        return xp.sign(x)


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

    def forward(self, xp, condition, x, y):
        return xp.where(condition, x, y)

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

    def forward(self, xp, x):
        return xp.array(x, None)

    def grad_x(self, F, g):
        return g


class Cast(Op):
    """The values in another dtype. The gradient comes back in the dtype of the input.

    >>> cast(Tensor([1.7]), dtype="int64")
    tensor([1])
    """

    dtype: Any

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

    def destination(self, backend):
        return backends.get(self.device)

    def forward(self, xp, x):
        self.source = xp.device
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


class LogicalNot(Elementwise):
    """not x."""

    nondifferentiable = ("x",)

    def forward(self, xp, x):
        return xp.logical_not(x)


add = function(Add)
sub = function(Sub)
mul = function(Mul)
div = function(Div)
neg = function(Neg)
maximum = function(Maximum)
minimum = function(Minimum)
exp = function(Exp)
log = function(Log)
sqrt = function(Sqrt)
square = function(Square)
reciprocal = function(Reciprocal)
sin = function(Sin)
cos = function(Cos)
abs = function(Abs)
sign = function(Sign)
where = function(Where)
clone = function(Clone)
cast = function(Cast)
to_device = function(ToDevice)
lt, le, gt, ge, eq, ne = map(function, (Lt, Le, Gt, Ge, Eq, Ne))
logical_and, logical_or, logical_not = map(function, (LogicalAnd, LogicalOr, LogicalNot))


def pow(input: Tensor, exponent: Any) -> Tensor:
    """`input` ** `exponent`, a number or a tensor."""
    result: Tensor = input**exponent
    return result


def clamp(input: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """`input` limited to [min, max]; either bound may be None."""
    return T.clamp(input, min=min, max=max)
