"""Distributions of choices: Bernoulli, Categorical and OneHotCategorical."""

import math
from typing import Any

from tinygrad_cv._public import DISTRIBUTIONS, public
from tinygrad_cv._tensor import Tensor, as_input
from tinygrad_cv.backend import host
from tinygrad_cv.creation import arange
from tinygrad_cv.distributions import constraints
from tinygrad_cv.distributions.constraints import Constraint
from tinygrad_cv.distributions.distribution import Distribution, one_of, together
from tinygrad_cv.ops.index import one_hot
from tinygrad_cv.ops.loss import binary_cross_entropy_with_logits
from tinygrad_cv.ops.shape import broadcast_tensors
from tinygrad_cv.random import bernoulli, multinomial


def _inside(probs: Tensor) -> Tensor:
    """Probabilities that have logarithms."""
    eps = float(host.finfo(probs.dtype).eps)
    return probs.clamp(eps, 1 - eps)


@public(DISTRIBUTIONS)
class Bernoulli(Distribution):
    """1 with the probability `probs` = sigmoid(`logits`), else 0. One of the two is given.

    >>> Bernoulli(0.25).variance
    tensor(0.1875)
    """

    has_enumerate_support = True
    arg_constraints = {  # noqa: RUF012
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    support = constraints.boolean

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        name, value = one_of("Bernoulli", probs=probs, logits=logits)
        (self._given,) = together(value)
        super().__init__(self._given.shape, (), validate_args, **{name: self._given})

    @property
    def probs(self) -> Tensor:
        """The probability of 1."""
        return self._given if "probs" in self.parameters else self._given.sigmoid()

    @property
    def logits(self) -> Tensor:
        """The logarithm of the odds."""
        if "logits" in self.parameters:
            return self._given
        inside = _inside(self._given)
        return inside.log() - (-inside).log1p()

    @property
    def param_shape(self) -> tuple[int, ...]:
        """The shape of the parameter."""
        return self._given.shape

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        probs = self.probs.detach()
        return (probs > 0.5).to(dtype=probs.dtype).masked_fill(probs == 0.5, math.nan)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        probs = self.probs.detach()
        return bernoulli(probs.expand(self._shape(sample_shape)), generator=generator)

    def log_prob(self, value: Any) -> Tensor:
        target = self._value(value).to(dtype=self._given.dtype)
        logits, target = broadcast_tensors(self.logits, target)
        return -binary_cross_entropy_with_logits(logits, target, reduction="none")

    def entropy(self) -> Tensor:
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        both = arange(2, dtype=self._given.dtype, device=self._given.device)
        both = both.reshape((2,) + (1,) * len(self._batch_shape))
        return both.expand((2, *self._batch_shape)) if expand else both


@public(DISTRIBUTIONS)
class Categorical(Distribution):
    """A class from 0 to K - 1, by weights or by logarithms of weights, of shape (..., K).

    One of the two is given. `probs` and `logits` then hold both, normalized.

    >>> import tinygrad_cv as tg
    >>> law = Categorical(tg.tensor([[1.0, 3.0], [1.0, 1.0]]))
    >>> law.probs, law.sample().shape
    (tensor([[0.25, 0.75],
            [0.5 , 0.5 ]]), (2,))
    """

    has_enumerate_support = True
    arg_constraints = {  # noqa: RUF012
        "probs": constraints.weights,
        "logits": constraints.real_vector,
    }

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        name, value = one_of(type(self).__name__, probs=probs, logits=logits)
        self._given = as_input(value)
        if self._given.ndim < 1 or not self._given.is_floating_point():
            raise ValueError(
                f"{type(self).__name__}: {name} are floats of shape (..., classes); got "
                f"{self._given.dtype} {self._given.shape}."
            )
        shape = self._given.shape
        super().__init__(shape[:-1], self._events(shape[-1]), validate_args, **{name: self._given})
        if name == "probs":
            self.probs = self._given / self._given.sum(-1, keepdim=True)
            self.logits = _inside(self.probs).log()
        else:
            self.logits = self._given - self._given.logsumexp(-1, keepdim=True)
            self.probs = self.logits.exp()

    def _events(self, classes: int) -> tuple[int, ...]:
        return ()

    @property
    def support(self) -> Constraint:
        return constraints.integer_interval(0, self._given.shape[-1] - 1)

    @property
    def param_shape(self) -> tuple[int, ...]:
        """The shape of the parameter."""
        return self._given.shape

    @property
    def mean(self) -> Tensor:
        return self.probs[..., 0].detach() * math.nan  # classes are no numbers

    variance = mean

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)

    def sample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        classes = self._given.shape[-1]
        rows = self.probs.detach().reshape(-1, classes)
        shape = Distribution(self._batch_shape)._shape(sample_shape)
        count = math.prod(shape) // max(1, len(rows))
        if not math.prod(shape):
            return arange(0, device=rows.device).reshape(shape)
        drawn = multinomial(rows, count, True, generator=generator)
        return drawn.T.reshape(shape)

    def log_prob(self, value: Any) -> Tensor:
        place = self._value(value).long()
        shape = host.broadcast_shapes(place.shape, self._batch_shape)
        logits = self.logits.expand((*shape, self._given.shape[-1]))
        return logits.gather(-1, place.expand(shape).unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        least = float(host.finfo(self.logits.dtype).min)
        return -(self.logits.clamp(min=least) * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        count, batch = self._given.shape[-1], self._batch_shape
        values = arange(count, device=self._given.device).reshape((count,) + (1,) * len(batch))
        return values.expand((count, *batch)) if expand else values


@public(DISTRIBUTIONS)
class OneHotCategorical(Categorical):
    """As `Categorical`; a value has a 1 in the place of its class, and 0 elsewhere.

    >>> import tinygrad_cv as tg
    >>> OneHotCategorical(tg.tensor([0.0, 1.0])).sample()
    tensor([0., 1.])
    """

    support = constraints.one_hot

    def _events(self, classes: int) -> tuple[int, ...]:
        return (classes,)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def _hot(self, classes: Tensor) -> Tensor:
        return one_hot(classes, self._given.shape[-1]).to(dtype=self._given.dtype)

    @property
    def mode(self) -> Tensor:
        return self._hot(self.probs.argmax(-1))

    def sample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        return self._hot(super().sample(sample_shape, generator=generator))

    def log_prob(self, value: Any) -> Tensor:
        hot = self._value(value)
        shape = host.broadcast_shapes(hot.shape, self.logits.shape)
        place = hot.argmax(-1).expand(shape[:-1]).unsqueeze(-1)
        return self.logits.expand(shape).gather(-1, place).squeeze(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._hot(super().enumerate_support(expand))
