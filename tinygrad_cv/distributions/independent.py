"""`Independent`: axes of a batch as axes of an event."""

from collections.abc import Sequence
from typing import Any

from tinygrad_cv._public import DISTRIBUTIONS, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.distributions.constraints import Constraint
from tinygrad_cv.distributions.distribution import Distribution


@public(DISTRIBUTIONS)
class Independent(Distribution):
    """The last axes of a batch, taken together as one event: their log-probabilities add up.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.distributions import Normal
    >>> law = Independent(Normal(tg.zeros(5, 3), 1.0), 1)
    >>> law.batch_shape, law.event_shape, law.log_prob(tg.zeros(5, 3)).shape
    ((5,), (3,), (5,))
    """

    def __init__(
        self,
        base_distribution: Distribution,
        reinterpreted_batch_ndims: int,
        validate_args: bool | None = None,
    ) -> None:
        batch, count = base_distribution.batch_shape, reinterpreted_batch_ndims
        if not 0 <= count <= len(batch):
            raise ValueError(
                f"Independent: reinterpreted_batch_ndims lies between 0 and {len(batch)}, the axes "
                f"of the batch {batch}; got {count}."
            )
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, count
        kept = len(batch) - count
        super().__init__(
            batch[:kept], (*batch[kept:], *base_distribution.event_shape), validate_args
        )

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether gradients flow through `rsample`."""
        return self.base_dist.has_rsample

    @property
    def support(self) -> Constraint:
        base = self.base_dist.support
        return Constraint(
            base.text,
            lambda x: self._together(base.check(x), "all"),
            base.event_dim + self.reinterpreted_batch_ndims,
            base.is_discrete,
        )

    def _together(self, values: Tensor, how: str = "sum") -> Tensor:
        """Values of the batch, reduced over the axes of the event."""
        count = self.reinterpreted_batch_ndims
        return getattr(values.flatten(-count), how)(-1) if count else values

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "Independent":
        """The same distribution for a larger batch."""
        kept = len(self.event_shape) - len(self.base_dist.event_shape)
        base = self.base_dist.expand((*batch_shape, *self.event_shape[:kept]))
        return Independent(base, self.reinterpreted_batch_ndims, self._validate_args)

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def sample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        return self.base_dist.sample(sample_shape, generator=generator)

    def rsample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        return self.base_dist.rsample(sample_shape, generator=generator)

    def log_prob(self, value: Any) -> Tensor:
        return self._together(self.base_dist.log_prob(value))

    def entropy(self) -> Tensor:
        return self._together(self.base_dist.entropy())

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"
