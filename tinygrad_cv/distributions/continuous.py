"""Distributions of one number: normal, uniform, exponential and Laplace."""

import math
from typing import Any

from tinygrad_cv._public import DISTRIBUTIONS, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.distributions import constraints
from tinygrad_cv.distributions.constraints import Constraint
from tinygrad_cv.distributions.distribution import Distribution, together
from tinygrad_cv.random import rand, randn


@public(DISTRIBUTIONS)
class Normal(Distribution):
    """The normal distribution with mean `loc` and standard deviation `scale`.

    >>> import tinygrad_cv as tg
    >>> mean = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> law = Normal(mean, 0.5)
    >>> law.rsample((3,)).sum().backward()
    >>> mean.grad
    tensor([3., 3.])
    """

    has_rsample = True
    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    support = constraints.real

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = together(loc, scale)
        super().__init__(self.loc.shape, (), validate_args, loc=self.loc, scale=self.scale)

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = mean

    @property
    def stddev(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        return self.scale**2

    def rsample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        shape, like = self._shape(sample_shape), self.loc
        noise = randn(shape, generator=generator, dtype=like.dtype, device=like.device)
        return self.loc + noise * self.scale

    def log_prob(self, value: Any) -> Tensor:
        z = (self._value(value) - self.loc) / self.scale
        return -(z**2) / 2 - self.scale.log() - math.log(2 * math.pi) / 2

    def cdf(self, value: Any) -> Tensor:
        z = (self._value(value) - self.loc) / self.scale
        return (-z / math.sqrt(2)).erfc() / 2

    def icdf(self, value: Any) -> Tensor:
        return self.loc + self.scale * (2 * self._level(value) - 1).erfinv() * math.sqrt(2)

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + math.log(2 * math.pi)) / 2


@public(DISTRIBUTIONS)
class Uniform(Distribution):
    """Numbers from `low` to `high`, each as likely.

    >>> Uniform(0.0, 4.0).entropy().exp()
    tensor(4.)
    """

    has_rsample = True
    arg_constraints = {"low": constraints.real, "high": constraints.real}  # noqa: RUF012

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = together(low, high)
        super().__init__(self.low.shape, (), validate_args, low=self.low, high=self.high)
        if self._validate_args and not (self.low < self.high).all():
            raise ValueError("Uniform: low must be below high.")

    @property
    def support(self) -> Constraint:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.low + self.high) / 2

    @property
    def mode(self) -> Tensor:
        return self.low * math.nan  # each is as likely

    @property
    def variance(self) -> Tensor:
        return (self.high - self.low) ** 2 / 12

    def rsample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        shape, like = self._shape(sample_shape), self.low
        share = rand(shape, generator=generator, dtype=like.dtype, device=like.device)
        return self.low + share * (self.high - self.low)

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value)
        inside = (x >= self.low).logical_and(x < self.high)
        return -(self.high - self.low).log() + inside.to(dtype=self.low.dtype).log()

    def cdf(self, value: Any) -> Tensor:
        return ((self._value(value) - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, value: Any) -> Tensor:
        return self.low + self._level(value) * (self.high - self.low)

    def entropy(self) -> Tensor:
        return (self.high - self.low).log()


@public(DISTRIBUTIONS)
class Exponential(Distribution):
    """Waiting times: the density rate · exp(-rate · x).

    >>> Exponential(2.0).mean
    tensor(0.5)
    """

    has_rsample = True
    arg_constraints = {"rate": constraints.positive}  # noqa: RUF012
    support = constraints.nonnegative

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = together(rate)
        super().__init__(self.rate.shape, (), validate_args, rate=self.rate)

    @property
    def mean(self) -> Tensor:
        return 1 / self.rate

    stddev = mean

    @property
    def mode(self) -> Tensor:
        return self.rate.detach() * 0

    @property
    def variance(self) -> Tensor:
        return 1 / self.rate**2

    def rsample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        shape, like = self._shape(sample_shape), self.rate
        share = rand(shape, generator=generator, dtype=like.dtype, device=like.device)
        return -(-share).log1p() / self.rate

    def log_prob(self, value: Any) -> Tensor:
        return self.rate.log() - self.rate * self._value(value)

    def cdf(self, value: Any) -> Tensor:
        return -(-self.rate * self._value(value)).expm1()

    def icdf(self, value: Any) -> Tensor:
        return -(-self._level(value)).log1p() / self.rate

    def entropy(self) -> Tensor:
        return 1 - self.rate.log()


@public(DISTRIBUTIONS)
class Laplace(Distribution):
    """The density exp(-|x - loc| / scale) / (2 scale).

    >>> Laplace(1.0, 2.0).variance
    tensor(8.)
    """

    has_rsample = True
    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    support = constraints.real

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = together(loc, scale)
        super().__init__(self.loc.shape, (), validate_args, loc=self.loc, scale=self.scale)

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = mean

    @property
    def stddev(self) -> Tensor:
        return self.scale * math.sqrt(2)

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale**2

    def rsample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        shape, like = self._shape(sample_shape), self.loc
        share = rand(shape, generator=generator, dtype=like.dtype, device=like.device) - 0.5
        # |share| is at most a half, and log1p(-1) would be -∞
        size = (-2 * share.abs()).clamp(min=-1 + 2.0**-24).log1p()
        return self.loc - self.scale * share.sign() * size

    def log_prob(self, value: Any) -> Tensor:
        return -(2 * self.scale).log() - (self._value(value) - self.loc).abs() / self.scale

    def cdf(self, value: Any) -> Tensor:
        z = (self._value(value) - self.loc) / self.scale
        return 0.5 - 0.5 * z.sign() * (-z.abs()).expm1()

    def icdf(self, value: Any) -> Tensor:
        share = self._level(value) - 0.5
        return self.loc - self.scale * share.sign() * (-2 * share.abs()).log1p()

    def entropy(self) -> Tensor:
        return 1 + (2 * self.scale).log()
