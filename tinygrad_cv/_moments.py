"""Means and variances of samples that come in parts."""

from typing import Any

from tinygrad_cv.backend import host


class Moments:
    """The count, the mean and the second moments of samples that come in parts; one pass.

    `add` takes (n, D, m): n samples of D features, each at m places that count as samples of their
    own. `mean` is (D,); `second` is Σ (x - μ)² of each feature or, with `products`, the matrix
    Σ (x - μ)(x - μ)ᵀ. All is in float64. A part is centred by its own mean, and then joined,

        δ = mean_B - mean_A,   M = M_A + M_B + δδᵀ · n_A n_B / (n_A + n_B),

    so that nothing large is subtracted from anything large (Chan, Golub & LeVeque, 1979, "Updating
    formulae and a pairwise algorithm for computing sample variances").

    >>> moments = Moments()
    >>> for part in ([1e9, 1e9 + 2], [1e9 + 4]):
    ...     moments.add(host.array(part).reshape(-1, 1, 1))
    >>> moments.mean - 1e9, moments.variance
    (array([2.]), array([2.66666667]))
    """

    def __init__(self, products: bool = False) -> None:
        self.products = products
        self.count = 0
        self.mean: Any = 0.0
        self.second: Any = 0.0
        self.first: Any = None
        self.varies: Any = None

    def add(self, x: host.ndarray) -> None:
        """Take n more samples, at least one."""
        part = Moments(self.products)
        part.count = x.shape[0] * x.shape[2]
        part.first = x[0, :, 0].copy()
        part.varies = (x != part.first[:, None]).any(axis=(0, 2))
        part.mean = x.mean(axis=(0, 2))
        x = x - part.mean[:, None]
        if self.products:
            rows = x[:, :, 0]
            part.second = rows.T @ rows
        else:
            part.second = (x * x).sum(axis=(0, 2))
        self.join(part)

    def join(self, other: "Moments") -> None:
        """Take the samples of another, which may have none."""
        if not other.count:
            return
        if self.first is None:
            self.first, self.varies = other.first, other.varies
        self.varies = self.varies | other.varies | (self.first != other.first)
        delta = other.mean - self.mean
        outer = delta[:, None] * delta if self.products else delta * delta
        total = self.count + other.count
        self.second = self.second + other.second + outer * (self.count * other.count / total)
        self.mean = self.mean + delta * (other.count / total)
        self.count = total
        # What is constant has no rounding either: its variance is 0, exactly.
        still = ~self.varies
        self.mean[still] = self.first[still]
        self.second[still] = 0
        if self.products:
            self.second[:, still] = 0

    @property
    def variance(self) -> host.ndarray:
        """The variance of each feature, or the covariance."""
        return self.second / self.count  # type: ignore[no-any-return]
