"""What parameters and values may be. `constraint.check(x)` says which of them are so."""

from collections.abc import Callable

from tinygrad_cv._tensor import Tensor


class Constraint:
    """A property of each event, whose axes are the last `event_dim`.

    >>> from tinygrad_cv import tensor
    >>> positive.check(tensor([1.0, 0.0]))
    tensor([ True, False])
    >>> positive
    above 0
    """

    def __init__(
        self,
        text: str,
        check: Callable[[Tensor], Tensor],
        event_dim: int = 0,
        is_discrete: bool = False,
    ) -> None:
        self.text, self.check = text, check
        self.event_dim, self.is_discrete = event_dim, is_discrete

    def __repr__(self) -> str:
        return self.text


def _both(a: Tensor, b: Tensor) -> Tensor:
    return a.logical_and(b)


def _is_whole(x: Tensor) -> Tensor:
    return x == x.floor() if x.is_floating_point() else x == x


def _is_simplex(x: Tensor) -> Tensor:
    return _both((x >= 0).all(-1), ((x.sum(-1) - 1).abs() < 1e-6 * max(1, x.shape[-1])))


def _is_lower_cholesky(x: Tensor) -> Tensor:
    lower = (x.tril() == x).flatten(-2).all(-1)
    return _both(lower, (x.diagonal(dim1=-2, dim2=-1) > 0).all(-1))


def _is_positive_definite(x: Tensor) -> Tensor:
    from tinygrad_cv.linalg import eigvalsh

    symmetric = (x - x.mT).abs().flatten(-2).amax(-1) <= 1e-6 * x.abs().flatten(-2).amax(-1)
    return _both(symmetric, (eigvalsh((x + x.mT) / 2) > 0).all(-1))


def interval(low: float | Tensor, high: float | Tensor) -> Constraint:
    """From `low` to `high`."""
    several = isinstance(low, Tensor) and low.numel() != 1
    text = "from low to high" if several else f"from {float(low)} to {float(high)}"
    return Constraint(text, lambda x: _both(x >= low, x <= high))


def integer_interval(low: int, high: int) -> Constraint:
    """Whole, from `low` to `high`."""
    return Constraint(
        f"whole, from {low} to {high}",
        lambda x: _both(_is_whole(x), _both(x >= low, x <= high)),
        is_discrete=True,
    )


real = Constraint("a number, not NaN", lambda x: x == x)
real_vector = Constraint("numbers, not NaN", lambda x: (x == x).all(-1), 1)
positive = Constraint("above 0", lambda x: x > 0)
nonnegative = Constraint("0 or more", lambda x: x >= 0)
unit_interval = Constraint("from 0 to 1", lambda x: _both(x >= 0, x <= 1))
boolean = Constraint("0 or 1", lambda x: (x == 0).logical_or(x == 1), is_discrete=True)
simplex = Constraint("0 or more, with the sum 1", _is_simplex, 1)
one_hot = Constraint(
    "0, and 1 in one place",
    lambda x: _both(((x == 0).logical_or(x == 1)).all(-1), x.sum(-1) == 1),
    1,
    is_discrete=True,
)
lower_cholesky = Constraint("lower triangular, with a positive diagonal", _is_lower_cholesky, 2)
positive_definite = Constraint("symmetric and positive definite", _is_positive_definite, 2)
weights = Constraint(
    "0 or more, with a sum above 0", lambda x: _both((x >= 0).all(-1), x.sum(-1) > 0), 1
)
