"""Gamma, Beta and Dirichlet: one kind of draw, and its derivative by the concentration."""

from functools import cache
from typing import Any

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._public import DISTRIBUTIONS, public
from tinygrad_cv._tensor import Tensor, as_input
from tinygrad_cv.autograd.function import Function, once_differentiable
from tinygrad_cv.backend import as_generator, host
from tinygrad_cv.backend.base import drawn
from tinygrad_cv.distributions import constraints
from tinygrad_cv.distributions.distribution import Distribution, together
from tinygrad_cv.ops.elementwise import where
from tinygrad_cv.ops.index import one_hot
from tinygrad_cv.ops.shape import stack

# ----- a standard gamma draw and its slope -------------------------------------------------------


def standard_gamma(concentration: Tensor, generator: Any) -> Tensor:
    """Draws with the density xᵃ⁻¹ e⁻ˣ / Γ(a), for each element a; drawn on the host.

    None is 0, where logarithms would be infinite.
    """
    a = concentration.detach().cpu().numpy()
    values = drawn(as_generator(generator), lambda source: source.standard_gamma(a))
    least = host.finfo(a.dtype).tiny
    draw = Tensor(host.maximum(values, least), dtype=a.dtype, device=concentration.device)
    return StandardGamma.apply(concentration, draw)  # type: ignore[no-any-return]


class StandardGamma(Function):
    """A draw as a function of the concentration, of which it is the same quantile."""

    @staticmethod
    def forward(ctx: Any, concentration: Tensor, draw: Tensor) -> Tensor:
        ctx.save_for_backward(concentration, draw)
        return draw.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        concentration, draw = ctx.saved_tensors
        return g * quantile_slope(concentration, draw), None


REACH = 45.0
"""Where e to the minus this counts as nothing."""


@cache
def _nodes() -> list[tuple[float, float]]:
    """Places and weights of an integral from 0 to 1 (Gauss and Legendre)."""
    places, weights = host.polynomial.legendre.leggauss(100)
    return list(zip(((places + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


@no_grad()
def quantile_slope(a: Tensor, x: Tensor) -> Tensor:
    """dx/da of the x below which a standard gamma variable of concentration a stays with some p.

    With F the distribution function and f the density, F(x, a) = p says dx/da = -∂F/∂a / f. That is
    an integral of f(t) (ln t - ψ(a)) up to x, or from x on with the other sign (Figurnov et al.,
    Implicit reparameterization gradients, 2018). With t = x e⁻ˢ or t = x eˢ, on the side on which f
    falls, there is nothing in it that is large.

    >>> round(quantile_slope(Tensor(1.0), Tensor(2.0)).item(), 6)
    1.631691
    """
    dtype = x.dtype
    a, x = a.to(dtype="float64"), x.to(dtype="float64")
    side = where(x > a, 1.0, -1.0).to(dtype="float64")
    level = x.log() - a.digamma()

    def height(s: Tensor) -> Tensor:
        """-ln of f(t) t / (f(x) x), which is convex in s and grows from 0."""
        return x * (side * s).expm1() - side * a * s

    # Where it is REACH: from a place beyond that, Newton's steps come down to it.
    far = where(x > a, (2 * REACH / x).sqrt(), (REACH + x) / a)
    end = where(x > a, ((REACH + a * far) / x).log1p(), far)
    for _ in range(20):
        end = end - (height(end) - REACH) / (side * (x * (side * end).exp() - a)).clamp(min=1e-300)
    total = end * 0
    for place, weight in _nodes():
        s = place * end
        total += weight * (-height(s)).exp() * (level + side * s)
    return (side * x * end * total).to(dtype=dtype)


# ----- the distributions -------------------------------------------------------------------------


@public(DISTRIBUTIONS)
class Gamma(Distribution):
    """The density rateᵃ xᵃ⁻¹ e^(-rate x) / Γ(a), of concentration a.

    The gradient of a draw by the concentration is that of the quantile which it is; it can be
    taken once.

    >>> Gamma(3.0, 2.0).mean
    tensor(1.5)
    """

    has_rsample = True
    arg_constraints = {  # noqa: RUF012
        "concentration": constraints.positive,
        "rate": constraints.positive,
    }
    support = constraints.nonnegative

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = a, b = together(concentration, rate)
        super().__init__(a.shape, (), validate_args, concentration=a, rate=b)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate**2

    def rsample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        a = self.concentration.expand(self._shape(sample_shape))
        return standard_gamma(a, generator) / self.rate

    def log_prob(self, value: Any) -> Tensor:
        x, a, b = self._value(value), self.concentration, self.rate
        return a * b.log() + (a - 1).xlogy(x) - b * x - a.lgamma()

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - self.rate.log() + a.lgamma() + (1 - a) * a.digamma()


@public(DISTRIBUTIONS)
class Dirichlet(Distribution):
    """Probabilities of K classes, with the density ∏ xᵢ^(aᵢ-1) up to a factor.

    Its gradients are those of `Gamma`.

    >>> import tinygrad_cv as tg
    >>> Dirichlet(tg.tensor([1.0, 3.0])).mean
    tensor([0.25, 0.75])
    """

    has_rsample = True
    arg_constraints = {"concentration": constraints.positive}  # noqa: RUF012
    support = constraints.simplex

    def __init__(self, concentration: Any, validate_args: bool | None = None) -> None:
        self.concentration = a = as_input(concentration)
        if a.ndim < 1:
            raise ValueError("Dirichlet: the concentration has the shape (..., classes); got ().")
        super().__init__(a.shape[:-1], a.shape[-1:], validate_args, concentration=a)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def mode(self) -> Tensor:
        above = (self.concentration - 1).clamp(min=0)
        total = above.sum(-1, keepdim=True)
        corner = one_hot(self.concentration.argmax(-1), above.shape[-1]).to(dtype=above.dtype)
        return where(total > 0, above / where(total > 0, total, 1.0), corner)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, keepdim=True)
        return self.mean * (1 - self.mean) / (total + 1)

    def rsample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        draw = standard_gamma(self.concentration.expand(self._shape(sample_shape)), generator)
        return draw / draw.sum(-1, keepdim=True)

    def log_prob(self, value: Any) -> Tensor:
        a = self.concentration
        density = (a - 1).xlogy(self._value(value)).sum(-1)
        return density + a.sum(-1).lgamma() - a.lgamma().sum(-1)

    def entropy(self) -> Tensor:
        a, k = self.concentration, self.concentration.shape[-1]
        total = a.sum(-1)
        norm = a.lgamma().sum(-1) - total.lgamma()
        return norm - (k - total) * total.digamma() - ((a - 1) * a.digamma()).sum(-1)


@public(DISTRIBUTIONS)
class Beta(Distribution):
    """A probability x, with the density x^(a-1) (1 - x)^(b-1) up to a factor.

    a is `concentration1` and b `concentration0`. Its gradients are those of `Gamma`.

    >>> Beta(1.0, 3.0).mean
    tensor(0.25)
    """

    has_rsample = True
    arg_constraints = {  # noqa: RUF012
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval

    def __init__(
        self, concentration1: Any, concentration0: Any, validate_args: bool | None = None
    ) -> None:
        self.concentration1, self.concentration0 = a, b = together(concentration1, concentration0)
        super().__init__(a.shape, (), validate_args, concentration1=a, concentration0=b)
        self._both = Dirichlet(stack([a, b], -1), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        return self._both.mode[..., 0]

    @property
    def variance(self) -> Tensor:
        return self._both.variance[..., 0]

    def rsample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        return self._both.rsample(sample_shape, generator=generator)[..., 0]

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value)
        return self._both.log_prob(stack([x, 1 - x], -1))

    def entropy(self) -> Tensor:
        return self._both.entropy()
