"""The nonlinearities.

Where a truth value tells enough, the forward keeps that for the rule: a bit an element, and both x
and y may go. A rule asks for the output y rather than for x where y tells enough: the next layer
keeps y anyway. Where the curve runs into a bound, y has lost its digits there (tanh 10 is 1 in
single precision, and 1 - y² is 0); then the rule asks for x.

At ±∞ a value and a slope are their limits. What is multiplied by something that dies out faster is
limited to ±FAR first, since ∞ · 0 is no number.
"""

import functools
import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

from tinygrad_cv._apply import F as T
from tinygrad_cv._apply import function
from tinygrad_cv._inputs import public
from tinygrad_cv._op import Op, per_output
from tinygrad_cv._public import FUNCTIONAL, IN_PLACE, METHOD, TOP
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import as_generator
from tinygrad_cv.ops.elementwise import Elementwise
from tinygrad_cv.ops.reduce import axis_of

FAR = 1000.0
"""So far out e⁻ˣ is 0 in every float dtype."""


class Activation(Op):
    """Base of the activations."""

    flops = per_output


class OfReals(Activation):
    """Base of the functions of real numbers."""

    real = True


class Smooth(OfReals):
    """Base of those for which a backend may have one kernel, and one for the slope.

    Forward and rule say what the kernels compute, and compute it where there are none.
    """

    def kernel(self):
        """The name of the kernel, or None, and the numbers that it depends on."""
        return self.name, ()

    def run(self, xp, x):
        name, numbers = self.kernel()
        y = xp.pointwise(name, x, numbers=numbers) if name else None
        return super().run(xp, x) if y is None else y

    def fused(self, xp, g, x):
        name, numbers = self.kernel()
        gradient = xp.pointwise(f"{name}_backward", g, x, numbers=numbers) if name else None
        return NotImplemented if gradient is None else (gradient,)


class Relu(Activation):
    """max(x, 0), with the derivative 0 at 0 (Nair and Hinton, 2010).

    >>> relu(Tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])
    """

    kept = ("positive",)

    def forward(self, xp, x):
        y, self.positive = xp.relu(x)
        return y

    def grad_x(self, F, g, positive):
        return F.where(positive, g, 0.0)

    def fused(self, xp, g, positive):
        return (xp.relu_backward(g, positive),)


class LeakyRelu(Activation):
    """x where x > 0, else negative_slope · x (Maas, Hannun and Ng, 2013).

    >>> leaky_relu(Tensor([-1.0, 2.0]))
    tensor([-0.01,  2.  ])
    """

    negative_slope: float = 0.01
    kept = ("positive",)

    def forward(self, xp, x):
        if self.negative_slope == 0:  # also at -∞
            y, self.positive = xp.relu(x)
            return y
        if made := xp.gate("leaky_relu", x, self.negative_slope):
            y, self.positive = made
            return y
        self.positive = x > 0
        return xp.where(self.positive, x, self.negative_slope * x)

    def grad_x(self, F, g, positive):
        return F.where(positive, g, self.negative_slope * g)

    def fused(self, xp, g, positive):
        return (xp.gate_backward(g, positive, 1.0, self.negative_slope),)


class Prelu(Activation, Elementwise):
    """x where x > 0, else weight · x with a learned slope (He et al., 2015).

    >>> prelu(Tensor([-1.0, 2.0]), Tensor([0.25]))
    tensor([-0.25,  2.  ])
    """

    def forward(self, xp, x, weight):
        zero = xp.logical_or(x > 0, xp.logical_and(weight == 0, xp.isinf(x)))
        return xp.where(x > 0, x, weight * xp.where(zero, 0, x))

    def grad_x(self, F, g, x, weight):
        return F.where(x > 0, g, weight * g)

    def grad_weight(self, F, g, x):
        return g * F.where(x > 0, 0.0, x)


class Rrelu(Activation):
    """slope · x: the slope is 1 where x > 0, else drawn from [lower, upper) (Xu et al., 2015)."""

    lower: float
    upper: float
    generator: Any
    kept = ("slope",)
    hidden = ("generator",)

    def forward(self, xp, x):
        drawn = xp.uniform(x.shape, "float32", self.generator)
        self.slope = xp.where(x > 0, 1, self.lower + (self.upper - self.lower) * drawn)
        return xp.where(xp.logical_and(self.slope == 0, xp.isinf(x)), 0, x) * self.slope

    def grad_x(self, F, g, slope):
        return g * slope


class Relu6(Activation):
    """min(max(x, 0), 6), with the derivative 0 at 0 and at 6 (Krizhevsky, 2010).

    >>> relu6(Tensor([-1.0, 2.0, 8.0]))
    tensor([0., 2., 6.])
    """

    kept = ("inside",)

    def forward(self, xp, x):
        if made := xp.gate("relu6", x):
            y, self.inside = made
            return y
        self.inside = xp.logical_and(x > 0, x < 6)
        return xp.minimum(xp.maximum(x, 0), 6)

    def grad_x(self, F, g, inside):
        return F.where(inside, g, 0.0)

    def fused(self, xp, g, inside):
        return (xp.gate_backward(g, inside, 1.0),)


class Hardtanh(Activation):
    """x limited to [min_val, max_val], with the derivative 0 at the bounds (Collobert, 2004).

    >>> hardtanh(Tensor([-3.0, 0.5, 3.0]))
    tensor([-1. ,  0.5,  1. ])
    """

    min_val: float = -1.0
    max_val: float = 1.0
    kept = ("inside",)

    def forward(self, xp, x):
        self.inside = xp.logical_and(x > self.min_val, x < self.max_val)
        return xp.minimum(xp.maximum(x, self.min_val), self.max_val)

    def grad_x(self, F, g, inside):
        return F.where(inside, g, 0.0)


class Elu(Smooth):
    """x where x > 0, else α(eˣ - 1) (Clevert, Unterthiner and Hochreiter, 2016).

    >>> elu(Tensor([-1000.0, -1.0, 2.0]))
    tensor([-1.    , -0.6321,  2.    ])
    """

    alpha: float = 1.0

    def kernel(self):
        return "elu", (self.alpha,)

    def forward(self, xp, x):
        return xp.where(x > 0, x, self.alpha * xp.expm1(xp.minimum(x, 0)))

    def grad_x(self, F, g, x):
        return F.where(x > 0, g, g * self.alpha * F.exp(F.clamp(x, max=0)))


SELU_SCALE, SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848
"""With these, independent inputs of mean 0 and variance 1 give outputs of mean 0 and variance 1."""


class Selu(Smooth):
    """scale · elu(x), with a scale and an α that make layers normalize themselves.

    Klambauer, Unterthiner, Mayr and Hochreiter, 2017; for weights of variance 1 / inputs.

    >>> selu(Tensor([-1.0, 2.0]))
    tensor([-1.1113,  2.1014])
    """

    def forward(self, xp, x):
        return SELU_SCALE * xp.where(x > 0, x, SELU_ALPHA * xp.expm1(xp.minimum(x, 0)))

    def grad_x(self, F, g, x):
        scale, alpha = F.let("scale", SELU_SCALE), F.let("alpha", SELU_ALPHA)
        return g * scale * F.where(x > 0, 1.0, alpha * F.exp(F.clamp(x, max=0)))


class Celu(Smooth):
    """x where x > 0, else α(e^(x/α) - 1): an ELU without a kink, whatever α (Barron, 2017).

    >>> celu(Tensor([-1.0, 2.0]), alpha=0.5)
    tensor([-0.4323,  2.    ])
    """

    alpha: float = 1.0
    computes_in = "float64"  # an exponent that is rounded moves the power by more than a digit

    def kernel(self):
        return "elu" if self.alpha == 1 else None, (1.0,)

    def forward(self, xp, x):
        return xp.where(x > 0, x, self.alpha * xp.expm1(xp.minimum(x, 0) / self.alpha))

    def grad_x(self, F, g, x):
        return F.where(x > 0, g, g * F.exp(F.clamp(x, max=0) / self.alpha))


def _sigmoid(xp, x):
    return xp.sigmoid(x)


def _bell(xp, x, k):
    """σ(kx) · σ(-kx), with one power."""
    small = xp.exp(-k * xp.abs(x))
    total = 1 + small
    return small / (total * total)


def _softplus(xp, x):
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


class Sigmoid(Smooth):
    """σ(x) = 1 / (1 + e⁻ˣ), computed so that neither tail overflows.

    >>> sigmoid(Tensor([0.0, 2.0, -1000.0]))
    tensor([0.5   , 0.8808, 0.    ])
    """

    def forward(self, xp, x):
        return _sigmoid(xp, x)

    def local_x(self, F, x):
        return F.sigmoid(x) * F.sigmoid(-x)  # 1 - σ(x) = σ(-x)

    def fused(self, xp, g, x):
        found = super().fused(xp, g, x)
        return (g * _bell(xp, x, 1),) if found is NotImplemented else found


class Tanh(Smooth):
    """tanh x = 2σ(2x) - 1.

    >>> tanh(Tensor([0.0, 1.0]))
    tensor([0.    , 0.7616])
    """

    def forward(self, xp, x):
        return xp.tanh(x)

    def local_x(self, F, x):
        return 4 * F.sigmoid(2 * x) * F.sigmoid(-2 * x)  # 1 - tanh² x

    def fused(self, xp, g, x):
        found = super().fused(xp, g, x)
        return (g * (4 * _bell(xp, x, 2)),) if found is NotImplemented else found


class Logsigmoid(Smooth):
    """log σ(x) = -log(1 + e⁻ˣ), without ever forming a probability that rounds to 0.

    >>> logsigmoid(Tensor([0.0, -1000.0]))
    tensor([-6.9315e-01, -1.0000e+03])
    """

    def forward(self, xp, x):
        return -_softplus(xp, -x)

    def grad_x(self, F, g, x):
        return g * F.sigmoid(-x)


class Softplus(Smooth):
    """log(1 + e^(βx)) / β: a smooth max(x, 0), whose derivative is σ(βx) (Dugas et al., 2001).

    >>> softplus(Tensor([0.0, 1000.0]))
    tensor([6.9315e-01, 1.0000e+03])
    """

    beta: float = 1.0
    threshold: float = 20.0
    computes_in = "float64"  # an exponent that is rounded moves the power by more than a digit

    def kernel(self):
        return "softplus" if self.beta == 1 else None, (self.threshold,)

    def forward(self, xp, x):
        z = self.beta * x
        return xp.where(z > self.threshold, x, _softplus(xp, z) / self.beta)

    def grad_x(self, F, g, x):
        z = F.let("z", self.beta * x)
        return F.where(z > self.threshold, g, g * F.sigmoid(z))


class Silu(Smooth):
    """x · σ(x), also called swish (Elfwing, Uchibe and Doya, 2018; Ramachandran et al., 2017).

    >>> silu(Tensor([-1000.0, 0.0, 2.0]))
    tensor([-0.    ,  0.    ,  1.7616])
    """

    def forward(self, xp, x):
        return xp.maximum(x, -FAR) * _sigmoid(xp, x)

    def grad_x(self, F, g, x):
        z = F.let("z", F.clamp(x, min=-FAR, max=FAR))
        return g * F.sigmoid(z) * (1 + z * F.sigmoid(-z))


class Mish(Smooth):
    """x · tanh(softplus(x)) (Misra, 2020).

    >>> mish(Tensor([-1000.0, 0.0, 2.0]))
    tensor([-0.   ,  0.   ,  1.944])
    """

    def forward(self, xp, x):
        return xp.maximum(x, -FAR) * xp.tanh(_softplus(xp, x))

    def grad_x(self, F, g, x):
        z = F.let("z", F.clamp(x, min=-FAR, max=FAR))
        s = F.let("s", F.softplus(z))
        slope = F.let("slope", 4 * F.sigmoid(2 * s) * F.sigmoid(-2 * s))  # of tanh at s
        return g * (F.tanh(s) + z * F.sigmoid(z) * slope)


GELU_SCALE, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


class Gelu(Smooth):
    """x · Φ(x), where Φ is the normal distribution function (Hendrycks and Gimpel, 2016).

    With approximate="tanh", Φ(x) is (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2.

    >>> gelu(Tensor([-1000.0, 0.0, 2.0]))
    tensor([-0.    ,  0.    ,  1.9545])
    """

    approximate: str = "none"
    computes_in = "float64"  # an exponent that is rounded moves the power by more than a digit

    def kernel(self):
        return "gelu" if self.approximate == "none" else "gelu_tanh", ()

    def forward(self, xp, x):
        if self.approximate == "none":
            return xp.maximum(x, -FAR) * (xp.erfc(-x / math.sqrt(2)) / 2)
        # (1 + tanh z) / 2 is σ(2z), which keeps its digits where the tanh is close to -1. Beyond 25
        # it is 0 or 1 to the last digit, and a cube could overflow.
        z = xp.minimum(xp.maximum(x, -25), 25)
        share = _sigmoid(xp, 2 * GELU_SCALE * (z + GELU_CUBE * z * z * z))
        return xp.maximum(x, -25) * share

    def grad_x(self, F, g, x):
        if self.approximate == "none":
            z = F.let("z", F.clamp(x, min=-FAR, max=FAR))
            share = F.let("Φ", F.erfc(-z / math.sqrt(2)) / 2)
            density = F.let("φ", F.exp(-z * z / 2) / math.sqrt(2 * math.pi))
            return g * (share + z * density)
        c, k = F.let("c", GELU_SCALE), F.let("k", GELU_CUBE)
        z = F.let("z", F.clamp(x, min=-25, max=25))
        u = F.let("u", 2 * c * (z + k * z * z * z))
        slope = F.let("slope", 2 * c * (1 + 3 * k * z * z))
        return g * F.sigmoid(u) * (1 + z * slope * F.sigmoid(-u))


class Softsign(Smooth):
    """x / (1 + |x|): a tanh with slower tails (Bergstra et al., 2009).

    >>> softsign(Tensor([-1.0, 0.0, 3.0]))
    tensor([-0.5 ,  0.  ,  0.75])
    """

    def forward(self, xp, x):
        z = xp.minimum(xp.maximum(x, -1e30), 1e30)  # where it is ±1 to the last digit
        return z / (1 + xp.abs(z))

    def grad_x(self, F, g, x):
        a = F.let("a", 1 + F.abs(x))
        return g / a / a


class Softshrink(OfReals):
    """x drawn λ towards 0, and 0 within λ of it (Donoho, 1995).

    >>> softshrink(Tensor([-2.0, 0.3, 2.0]))
    tensor([-1.5,  0. ,  1.5])
    """

    lambd: float = 0.5
    kept = ("small",)

    def forward(self, xp, x):
        self.small = xp.abs(x) <= self.lambd
        return xp.where(self.small, 0, x - self.lambd * xp.sign(x))

    def grad_x(self, F, g, small):
        return F.where(small, 0.0, g)


class Hardshrink(Activation):
    """x, but 0 within λ of 0 (hard thresholding; Donoho and Johnstone, 1994).

    >>> hardshrink(Tensor([-2.0, 0.3, 2.0]))
    tensor([-2.,  0.,  2.])
    """

    lambd: float = 0.5
    kept = ("small",)

    def forward(self, xp, x):
        self.small = xp.abs(x) <= self.lambd
        return xp.where(self.small, 0, x)

    def grad_x(self, F, g, small):
        return F.where(small, 0.0, g)


class Tanhshrink(OfReals):
    """x - tanh x.

    >>> tanhshrink(Tensor([0.0, 2.0]))
    tensor([0.   , 1.036])
    """

    def forward(self, xp, x):
        # Near 0 the two cancel. There tanh x = x / (1 + t) with Lambert's continued fraction
        # t = x² / (3 + x² / (5 + ...)), so that the difference is x · t / (1 + t).
        near = xp.minimum(xp.maximum(x, -1), 1)
        square, t = near * near, 0
        for odd in range(17, 1, -2):
            t = square / (odd + t)
        return xp.where(xp.abs(x) < 1, near * (t / (1 + t)), x - xp.tanh(x))

    def grad_x(self, F, g, x):
        t = F.let("t", F.tanh(x))
        return g * t * t


class Hardsigmoid(OfReals):
    """relu6(x + 3) / 6: a sigmoid of straight lines (Howard et al., 2019).

    >>> hardsigmoid(Tensor([-4.0, 0.0, 1.5]))
    tensor([0.  , 0.5 , 0.75])
    """

    kept = ("inside",)

    def forward(self, xp, x):
        if made := xp.gate("hardsigmoid", x):
            y, self.inside = made
            return y
        self.inside = xp.logical_and(x > -3, x < 3)
        return xp.minimum(xp.maximum(x + 3, 0), 6) / 6

    def grad_x(self, F, g, inside):
        return F.where(inside, g / 6, 0.0)

    def fused(self, xp, g, inside):
        return (xp.gate_backward(g, inside, 1 / 6),)


class Hardswish(Smooth):
    """x · hardsigmoid(x): a silu without exponentials (Howard et al., 2019).

    >>> hardswish(Tensor([-4.0, 0.0, 1.5, 4.0]))
    tensor([-0.   ,  0.   ,  1.125,  4.   ])
    """

    def forward(self, xp, x):
        return xp.maximum(x, -3) * (xp.minimum(xp.maximum(x + 3, 0), 6) / 6)

    def grad_x(self, F, g, x):
        bent = g * (2 * F.clamp(x, min=-3, max=3) + 3) / 6
        return F.where(x <= -3, 0.0, F.where(x >= 3, g, bent))


class Threshold(Activation):
    """x where x > threshold, else value.

    >>> threshold(Tensor([-1.0, 2.0]), 0.5, 7.0)
    tensor([7., 2.])
    """

    threshold: float
    value: float
    kept = ("low",)

    def forward(self, xp, x):
        self.low = x <= self.threshold
        return xp.where(self.low, self.value, x)

    def grad_x(self, F, g, low):
        return F.where(low, 0.0, g)


class Glu(OfReals):
    """a · σ(b), where a and b are the halves of x along an axis: b opens the gate for a.

    Dauphin, Fan, Auli and Grangier, 2017.

    >>> glu(Tensor([3.0, 4.0, 0.0, 1000.0]))
    tensor([1.5, 4. ])
    """

    axis: int

    def forward(self, xp, x):
        before, half = (slice(None),) * self.axis, x.shape[self.axis] // 2
        self.first, self.second = (*before, slice(half)), (*before, slice(half, None))
        return x[self.first] * _sigmoid(xp, x[self.second])

    def grad_x(self, F, g, x):
        a = F.let("a", F.getitem(x, index=self.first))
        b = F.let("b", F.getitem(x, index=self.second))
        s = F.let("s", F.sigmoid(b))
        return F.cat(g * s, g * a * s * F.sigmoid(-b), axis=self.axis)


class Softmax(OfReals):
    """eˣ / Σ eˣ along an axis; the largest element is subtracted first, so nothing overflows.

    >>> softmax(Tensor([0.0, 0.0]), dim=0)
    tensor([0.5, 0.5])
    """

    axis: int

    def forward(self, xp, x):
        self.empty = not x.size
        if self.empty:  # nothing has no maximum
            return x
        return xp.softmax(x, self.axis)

    def flops(self, out, x):
        return 5 * math.prod(out)  # the maximum, a difference, an exponential, the sum, a quotient

    def grad_x(self, F, g, y):
        if self.empty:
            return g * y
        # The shares add up to 1, so g may be counted from its value at the largest: where that
        # share is all but 1, what the others get is not lost in a difference.
        top = F.let("top", y == F.amax(y, axis=(self.axis,), keepdims=True))
        level = F.sum(F.where(top, g, 0.0), axis=self.axis, keepdims=True)
        h = F.let("h", g - level / F.sum(top, axis=self.axis, keepdims=True))
        return y * (h - F.sum(h * y, axis=self.axis, keepdims=True))

    def fused(self, xp, g, y):
        return (g * y if self.empty else xp.softmax_backward(g, y, self.axis),)


class LogSoftmax(OfReals):
    """x - log Σ eˣ along an axis, without ever forming a probability that rounds to 0.

    >>> log_softmax(Tensor([0.0, 1000.0]), dim=0)
    tensor([-1000.,     0.])
    """

    axis: int

    def forward(self, xp, x):
        if not x.size:  # nothing has no maximum
            return x
        return xp.log_shares(x, self.axis)

    def flops(self, out, x):
        return 5 * math.prod(out)  # as softmax

    def grad_x(self, F, g, y):
        others = F.sum(g, axis=self.axis, keepdims=True) - g
        return -g * F.expm1(y) - F.exp(y) * others  # expm1(y) is -1 times what the others have

    def fused(self, xp, g, y):
        return (xp.log_softmax_backward(g, y, self.axis) if y.size else g,)


# ----- as functions ----------------------------------------------------------------------------

relu = public(TOP, METHOD, IN_PLACE)(function(Relu, "input"))
sigmoid = public(TOP, METHOD, IN_PLACE, FUNCTIONAL)(function(Sigmoid, "input"))
logsigmoid = public(TOP, FUNCTIONAL)(function(Logsigmoid, "input"))
tanh = public(TOP, METHOD, IN_PLACE, FUNCTIONAL)(function(Tanh, "input"))
softsign = public(TOP, FUNCTIONAL)(function(Softsign, "input"))
tanhshrink = public(TOP, FUNCTIONAL)(function(Tanhshrink, "input"))


def result(inplace: bool, op: Callable[..., Tensor], input: Tensor, **attributes: Any) -> Tensor:
    """op(input), or the same written into `input`, which then moves on (see `Tensor._in_place`)."""
    if inplace:
        return input._in_place(op, op.__name__, **attributes)
    return op(input, **attributes)


def in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function with a _ behind its name, which writes the result into its input."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Tensor:
        return function(*args, inplace=True, **options)

    signature = inspect.signature(function, eval_str=True)
    others = [p for p in signature.parameters.values() if p.name != "inplace"]
    call.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
    call.__name__ = call.__qualname__ = f"{function.__name__}_"
    call.__doc__ = f"`{function.__name__}`, written into `input`."
    return call


@public(TOP, FUNCTIONAL)
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6), with the derivative 0 at 0 and at 6 (Krizhevsky, 2010).

    >>> relu6(Tensor([-1.0, 2.0, 8.0]))
    tensor([0., 2., 6.])
    """
    return result(inplace, T.relu6, input)


@public(TOP, FUNCTIONAL)
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """scale · elu(x), with a scale and an α that make layers normalize themselves.

    Klambauer, Unterthiner, Mayr and Hochreiter, 2017; for weights of variance 1 / inputs.

    >>> selu(Tensor([-1.0, 2.0]))
    tensor([-1.1113,  2.1014])
    """
    return result(inplace, T.selu, input)


@public(TOP, FUNCTIONAL)
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x · σ(x), also called swish (Elfwing, Uchibe and Doya, 2018; Ramachandran et al., 2017).

    >>> silu(Tensor([-1000.0, 0.0, 2.0]))
    tensor([-0.    ,  0.    ,  1.7616])
    """
    return result(inplace, T.silu, input)


@public(TOP, FUNCTIONAL)
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x · tanh(softplus(x)) (Misra, 2020).

    >>> mish(Tensor([-1000.0, 0.0, 2.0]))
    tensor([-0.   ,  0.   ,  1.944])
    """
    return result(inplace, T.mish, input)


@public(TOP, FUNCTIONAL)
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(x + 3) / 6: a sigmoid of straight lines (Howard et al., 2019).

    >>> hardsigmoid(Tensor([-4.0, 0.0, 1.5]))
    tensor([0.  , 0.5 , 0.75])
    """
    return result(inplace, T.hardsigmoid, input)


@public(TOP, FUNCTIONAL)
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x · hardsigmoid(x): a silu without exponentials (Howard et al., 2019).

    >>> hardswish(Tensor([-4.0, 0.0, 1.5, 4.0]))
    tensor([-0.   ,  0.   ,  1.125,  4.   ])
    """
    return result(inplace, T.hardswish, input)


@public(TOP, FUNCTIONAL)
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else `negative_slope` · x (Maas, Hannun and Ng, 2013)."""
    return result(inplace, T.leaky_relu, input, negative_slope=negative_slope)


@public(TOP, METHOD, FUNCTIONAL)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else w · x: a leaky ReLU that learns its slope (He et al., 2015).

    `weight` holds one slope, or one for each channel: input (N, C, ...) and weight (C,).

    >>> prelu(Tensor([[-1.0, -1.0]]), Tensor([0.1, 0.2]))
    tensor([[-0.1, -0.2]])
    """
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim > 1 or weight.numel() not in (1, channels):
        raise ValueError(
            "prelu: weight holds one slope, or one for each of the channels on axis 1; got the "
            f"shape {weight.shape} for an input of shape {input.shape}."
        )
    shape = () if weight.numel() == 1 else (channels, *[1] * (input.ndim - 2))
    return T.prelu(input, T.reshape(weight, shape=shape))


@public(TOP, FUNCTIONAL)
def rrelu(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """x where x > 0, else x times a random slope from [lower, upper) (Xu et al., 2015).

    Each element draws its own slope, from `generator`, or from the one that `manual_seed` seeds.
    In evaluation the slope is the mean, (lower + upper) / 2.

    >>> rrelu(Tensor([-1.0, 2.0]), lower=0.1, upper=0.3)
    tensor([-0.2,  2. ])
    """
    if not lower <= upper:
        raise ValueError(f"rrelu: lower must not be above upper; got {lower} and {upper}.")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    generator = as_generator(generator)
    return result(inplace, T.rrelu, input, lower=lower, upper=upper, generator=generator)


@public(TOP, FUNCTIONAL)
def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """x limited to [min_val, max_val]; unlike `clamp`, with the gradient 0 at the bounds."""
    if min_val > max_val:
        raise ValueError(
            f"hardtanh: min_val must not be above max_val; got {min_val} and {max_val}."
        )
    return result(inplace, T.hardtanh, input, min_val=min_val, max_val=max_val)


@public(TOP, FUNCTIONAL)
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else α(eˣ - 1) (Clevert, Unterthiner and Hochreiter, 2016)."""
    if alpha < 0:
        raise ValueError(
            f"elu: alpha is how far below 0 the function goes, and not negative; got {alpha}."
        )
    return result(inplace, T.elu, input, alpha=alpha)


@public(TOP, FUNCTIONAL)
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else α(e^(x/α) - 1): an ELU without a kink, whatever α (Barron, 2017)."""
    if alpha <= 0:
        raise ValueError(f"celu: alpha divides x, and must be above 0; got {alpha}.")
    return result(inplace, T.celu, input, alpha=alpha)


@public(TOP, FUNCTIONAL)
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(βx)) / β: a smooth max(x, 0), whose derivative is σ(βx) (Dugas et al., 2001).

    It is computed so that nothing overflows. Where βx > `threshold` it is x itself, off by less
    than e^-threshold / β, with the derivative 1.

    >>> softplus(Tensor([-1.0, 0.0, 30.0]), beta=2.0)
    tensor([ 0.0635,  0.3466, 30.    ])
    """
    if beta == 0:
        raise ValueError("softplus: beta divides, so it must not be 0.")
    return T.softplus(input, beta=beta, threshold=threshold)


@public(TOP, FUNCTIONAL)
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x · Φ(x), where Φ is the normal distribution function (Hendrycks and Gimpel, 2016).

    With `approximate="tanh"`, Φ(x) is (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate is 'none' or 'tanh'; got {approximate!r}.")
    return T.gelu(input, approximate=approximate)


@public(TOP, FUNCTIONAL)
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x drawn `lambd` towards 0, and 0 within `lambd` of it (Donoho, 1995)."""
    return T.softshrink(input, lambd=_width("softshrink", lambd))


@public(TOP, METHOD, FUNCTIONAL)
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, but 0 within `lambd` of 0 (hard thresholding; Donoho and Johnstone, 1994).

    Nothing is within a negative one.
    """
    return T.hardshrink(input, lambd=lambd)


def _width(name: str, lambd: float) -> float:
    if lambd < 0:
        raise ValueError(f"{name}: lambd is a distance from 0, and not negative; got {lambd}.")
    return lambd


@public(TOP, FUNCTIONAL)
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > `threshold`, else `value`."""
    return result(inplace, T.threshold, input, threshold=threshold, value=value)


@public(TOP, FUNCTIONAL)
def relu_(input: Tensor) -> Tensor:
    """`relu`, written into `input`."""
    return result(True, T.relu, input)


selu_ = public(TOP, FUNCTIONAL)(in_place(selu))
leaky_relu_ = public(FUNCTIONAL)(in_place(leaky_relu))
elu_ = public(FUNCTIONAL)(in_place(elu))
celu_ = public(TOP, FUNCTIONAL)(in_place(celu))
hardtanh_ = public(FUNCTIONAL)(in_place(hardtanh))
rrelu_ = public(TOP, FUNCTIONAL)(in_place(rrelu))
threshold_ = public(TOP, FUNCTIONAL)(in_place(threshold))


@public(TOP)
def maxout(input: Tensor, pieces: int, dim: int = 1) -> Tensor:
    """The largest of each `pieces` channels in a row: (N, C, ...) -> (N, C / pieces, ...).

    After a linear layer or a convolution it is max(w₁ᵀx + b₁, w₂ᵀx + b₂, ...), a convex function
    that is learned piece by piece; it never saturates, and never dies (Goodfellow et al., 2013).
    Equal pieces share the gradient evenly, as in `amax` and `maximum`.

    >>> maxout(Tensor([[1.0, 5.0, 3.0, 2.0]]), pieces=2)
    tensor([[5., 3.]])
    """
    axis = axis_of(input, dim, None)
    count = input.shape[axis]
    if pieces < 1 or count % pieces:
        raise ValueError(
            f"maxout: the {count} channels on axis {axis} of a tensor of shape {input.shape} do "
            f"not make groups of pieces={pieces}."
        )
    groups = (*input.shape[:axis], count // pieces, pieces, *input.shape[axis + 1 :])
    return T.amax(T.reshape(input, shape=groups), axis=(axis + 1,))


@public(TOP, FUNCTIONAL)
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a · σ(b), where a and b are the halves of `input` along `dim` (Dauphin et al., 2017).

    >>> glu(Tensor([[3.0, 4.0, 0.0, 1000.0]]))
    tensor([[1.5, 4. ]])
    """
    axis = axis_of(input, dim, None)
    if input.shape[axis] % 2:
        raise ValueError(
            f"glu: axis {axis} of a tensor of shape {input.shape} has no two equal halves; its "
            "length must be even."
        )
    return T.glu(input, axis=axis)


@public(TOP, METHOD, FUNCTIONAL)
def softmax(
    input: Tensor,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: Any = None,
    *,
    axis: int | None = None,
) -> Tensor:
    """eˣ / Σ eˣ along `dim`, of x as `dtype` if given: non-negative numbers that add up to 1.

    >>> softmax(Tensor([[0.0, 0.0], [1000.0, 0.0]]), dim=1)
    tensor([[0.5, 0.5],
            [1. , 0. ]])
    """
    if dtype is not None:
        input = input.to(dtype=dtype)
    dim = _rows(input, dim, axis)
    if input.ndim == 0:
        return softmax(input.reshape(1), dim).reshape(())
    if not input.numel():  # the rule looks for the largest share, and nothing has none
        return log_softmax(input, dim)
    return T.softmax(input, axis=axis_of(input, dim, None))


def _rows(input: Tensor, dim: int | None, axis: int | None) -> int:
    """The axis that adds up to 1, which PyTorch chooses where nobody does."""
    if dim is not None or axis is not None:
        axis_of(input if input.ndim else input.reshape(1), dim, axis)
        return dim if axis is None else axis  # type: ignore[return-value]
    chosen = 0 if input.ndim in (0, 1, 3) else 1
    warnings.warn(
        f"softmax of a tensor of shape {input.shape} without dim: the elements along axis {chosen} "
        "add up to 1. Say which are meant: dim=...",
        stacklevel=4,
    )
    return chosen


@public(TOP, FUNCTIONAL)
def softmin(
    input: Tensor,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: Any = None,
    *,
    axis: int | None = None,
) -> Tensor:
    """softmax(-x) along `dim`: the smallest element gets the most.

    >>> softmin(Tensor([0.0, 0.0, 1000.0]), dim=0)
    tensor([0.5, 0.5, 0. ])
    """
    return softmax(-input, dim, dtype=dtype, axis=axis)


@public(TOP, METHOD, FUNCTIONAL)
def log_softmax(
    input: Tensor,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: Any = None,
    *,
    axis: int | None = None,
) -> Tensor:
    """log softmax(x) along `dim`, accurate where the softmax itself rounds to 0."""
    if dtype is not None:
        input = input.to(dtype=dtype)
    dim = _rows(input, dim, axis)
    if input.ndim == 0:
        return log_softmax(input.reshape(1), dim).reshape(())
    return T.log_softmax(input, axis=axis_of(input, dim, None))


@public(FUNCTIONAL)
def gumbel_softmax(
    logits: Tensor,
    tau: float = 1,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
    *,
    generator: Any = None,
) -> Tensor:
    """softmax((x + n) / tau) along `dim` for noise n of Gumbel's law: a choice with a gradient.

    The largest element is each with the probability that softmax(x) gives it; the smaller `tau`,
    the closer the result is to its one-hot vector. With `hard` it is that vector, and the gradient
    is that of the soft one (Jang, Gu and Poole, 2017; Maddison, Mnih and Teh, 2017). `eps` has no
    effect; the noise comes from `generator`, or from the one that `manual_seed` seeds.

    >>> gumbel_softmax(Tensor([0.0, 1000.0]), hard=True)
    tensor([0., 1.])
    """
    waits = logits.detach().clone().exponential_(generator=generator)  # -log of these is the noise
    soft = softmax((logits - waits.log()) / tau, dim)
    if not hard:
        return soft
    axis = axis_of(soft, dim, None)
    best = soft.detach().argmax(axis).unsqueeze(axis)
    chosen = T.cast(soft.detach() * 0, dtype=soft.dtype).scatter(axis, best, 1.0)
    return chosen - soft.detach() + soft
