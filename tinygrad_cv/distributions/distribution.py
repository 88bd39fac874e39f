"""The base of all distributions."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._public import DISTRIBUTIONS, public
from tinygrad_cv._tensor import Tensor, as_input
from tinygrad_cv.backend.base import DEFAULT
from tinygrad_cv.creation import shape_from
from tinygrad_cv.distributions.constraints import Constraint
from tinygrad_cv.ops.shape import broadcast_tensors

Own = TypeVar("Own", bound="Distribution")
Shape = tuple[int, ...]


@public(DISTRIBUTIONS)
class Distribution:
    """The base of all distributions.

    A subclass keeps its parameters, broadcast, in `parameters`, and has `log_prob` and `rsample`,
    or `sample` where no gradient can flow through a draw.

    `validate_args` says whether parameters and values are looked at, for which a GPU is waited for;
    by default what `set_default_validate_args` has set. What is wrong is a ValueError.

    >>> from tinygrad_cv.distributions import Normal
    >>> isinstance(Normal(0.0, 1.0), Distribution), Normal(0.0, 1.0).mean
    (True, tensor(0.))
    """

    has_rsample: ClassVar[bool] = False
    """Whether gradients flow through `rsample` to the parameters."""
    has_enumerate_support: ClassVar[bool] = False
    """Whether the values are few enough to be listed."""
    arg_constraints: ClassVar[Mapping[str, Constraint]] = {}
    """What each parameter must be."""
    _validates: ClassVar[bool] = True

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions that are made from now on look at parameters and values."""
        Distribution._validates = bool(value)

    def __init__(
        self,
        batch_shape: Sequence[int] = (),
        event_shape: Sequence[int] = (),
        validate_args: bool | None = None,
        **parameters: Tensor,
    ) -> None:
        self._batch_shape, self._event_shape = tuple(batch_shape), tuple(event_shape)
        self.parameters = parameters
        self._validate_args = Distribution._validates if validate_args is None else validate_args
        if self._validate_args:
            for name, value in parameters.items():
                if name in self.arg_constraints:
                    self._check(value, self.arg_constraints[name], f"the parameter {name}")

    def _check(self, value: Tensor, constraint: Constraint, what: str) -> None:
        with no_grad():
            good = constraint.check(value.detach())
        if not good.all():
            raise ValueError(
                f"{type(self).__name__}: {what} of shape {value.shape} must be {constraint}; got "
                f"{value.detach()[good.logical_not()].flatten()[:5].tolist()}"
                f"{' and more' if good.numel() > 5 else ''}."
            )

    @property
    def batch_shape(self) -> Shape:
        """The shape of independent distributions with parameters of their own."""
        return self._batch_shape

    @property
    def event_shape(self) -> Shape:
        """The shape of one value."""
        return self._event_shape

    @property
    def support(self) -> Constraint:
        """What the values are."""
        raise NotImplementedError(f"{type(self).__name__} has no support.")

    @property
    def mean(self) -> Tensor:
        """The expectation."""
        raise NotImplementedError(f"{type(self).__name__} has no mean.")

    @property
    def mode(self) -> Tensor:
        """The most likely value."""
        raise NotImplementedError(f"{type(self).__name__} has no mode.")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise NotImplementedError(f"{type(self).__name__} has no variance.")

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        """Values, through which no gradient flows."""
        with no_grad():
            return self.rsample(sample_shape, generator=generator)

    def rsample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        """Values, through which gradients flow to the parameters."""
        raise NotImplementedError(
            f"{type(self).__name__} has no rsample: no gradient flows through its draws. Use "
            "sample() and the gradient of log_prob (Williams, 1992)."
        )

    def sample_n(self, n: int) -> Tensor:
        """n values: sample((n,))."""
        return self.sample((n,))

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the probability, or of its density, at a value."""
        raise NotImplementedError(f"{type(self).__name__} has no log_prob.")

    def cdf(self, value: Any) -> Tensor:
        """The probability of a value up to this."""
        raise NotImplementedError(f"{type(self).__name__} has no cdf.")

    def icdf(self, value: Any) -> Tensor:
        """The value up to which the probability is this."""
        raise NotImplementedError(f"{type(self).__name__} has no icdf.")

    def entropy(self) -> Tensor:
        """The expectation of -log_prob, in the shape of the batch."""
        raise NotImplementedError(f"{type(self).__name__} has no entropy.")

    def perplexity(self) -> Tensor:
        """The exponential of the entropy."""
        return self.entropy().exp()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values there are, along a new first axis; the same in each place of the batch."""
        raise NotImplementedError(f"{type(self).__name__} has too many values to be listed.")

    def expand(self: Own, batch_shape: Sequence[int], _instance: Any = None) -> Own:
        """The same distribution for a larger batch."""
        own, wanted = len(self._batch_shape), shape_from((batch_shape,))
        larger: dict[str, Any] = {
            name: value.expand((*wanted, *value.shape[own:]))
            for name, value in self.parameters.items()
        }
        new = type(self)(**larger, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _shape(self, sample_shape: Any) -> Shape:
        """The shape of a draw."""
        return (*shape_from((sample_shape,)), *self._batch_shape, *self._event_shape)

    def _value(self, value: Any) -> Tensor:
        """A value as a tensor, checked."""
        x = as_input(value, next(iter(self.parameters.values()), None))
        if self._validate_args:
            last = (*self._batch_shape, *self._event_shape)
            pairs = zip(x.shape[::-1], last[::-1], strict=False)
            events = len(self._event_shape)
            if x.ndim < events or any(
                n != m and (i < events or 1 not in (n, m)) for i, (n, m) in enumerate(pairs)
            ):
                raise ValueError(
                    f"{type(self).__name__}: a value of shape {x.shape} does not fit the batch "
                    f"{self._batch_shape} of events {self._event_shape}."
                )
            self._check(x, self.support, "the value")
        return x

    def _level(self, value: Any) -> Tensor:
        """A probability, of `icdf`, as a tensor."""
        return as_input(value, next(iter(self.parameters.values())))

    def __repr__(self) -> str:
        told = ", ".join(
            f"{name}: {value.item() if value.numel() == 1 else value.shape}"
            for name, value in self.parameters.items()
        )
        return f"{type(self).__name__}({told})"


def together(*values: Any) -> list[Tensor]:
    """Parameters as float tensors of one shape; numbers take their dtype, or the default."""
    like = next((value for value in values if isinstance(value, Tensor)), None)
    dtype = like.dtype if like is not None and like.is_floating_point() else DEFAULT.float
    tensors = []
    for value in values:
        tensor = as_input(value, like)
        if not tensor.is_floating_point() or not hasattr(value, "dtype"):
            tensor = tensor.to(dtype=dtype)
        tensors.append(tensor)
    return list(broadcast_tensors(*tensors))


def one_of(name: str, **given: Any) -> tuple[str, Any]:
    """The one parameter that was given, of several that say the same."""
    found = [(key, value) for key, value in given.items() if value is not None]
    if len(found) != 1:
        raise ValueError(
            f"{name} takes one of {', '.join(given)}; got "
            f"{' and '.join(key for key, _ in found) or 'none'}."
        )
    return found[0]
