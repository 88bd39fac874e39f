"""`MultivariateNormal`: normal vectors with a covariance."""

import math
from typing import Any

from tinygrad_cv._public import DISTRIBUTIONS, public
from tinygrad_cv._tensor import Tensor, as_input
from tinygrad_cv.backend import host
from tinygrad_cv.creation import eye
from tinygrad_cv.distributions import constraints
from tinygrad_cv.distributions.distribution import Distribution, one_of
from tinygrad_cv.linalg import cholesky, solve_triangular
from tinygrad_cv.random import randn


@public(DISTRIBUTIONS)
class MultivariateNormal(Distribution):
    """Normal vectors of shape (n,), with mean `loc` and covariance L Lᵀ.

    One of `covariance_matrix`, `precision_matrix` (its inverse) and `scale_tril` (L) is given.

    >>> import tinygrad_cv as tg
    >>> law = MultivariateNormal(tg.zeros(2), tg.tensor([[4.0, 0.0], [0.0, 1.0]]))
    >>> law.scale_tril
    tensor([[2., 0.],
            [0., 1.]])
    """

    has_rsample = True
    arg_constraints = {  # noqa: RUF012
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector

    def __init__(
        self,
        loc: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        name, value = one_of(
            "MultivariateNormal",
            covariance_matrix=covariance_matrix,
            precision_matrix=precision_matrix,
            scale_tril=scale_tril,
        )
        mean = as_input(loc)
        matrix = as_input(value, mean)
        if mean.ndim < 1 or matrix.ndim < 2 or matrix.shape[-2:] != (mean.shape[-1],) * 2:
            raise ValueError(
                f"MultivariateNormal: loc has the shape (..., n) and {name} (..., n, n); got "
                f"{mean.shape} and {matrix.shape}."
            )
        n = mean.shape[-1]
        batch = host.broadcast_shapes(mean.shape[:-1], matrix.shape[:-2])
        self.loc, matrix = mean.expand((*batch, n)), matrix.expand((*batch, n, n))
        super().__init__(batch, (n,), validate_args, loc=self.loc, **{name: matrix})
        if name == "scale_tril":
            self.scale_tril = matrix
        elif name == "covariance_matrix":
            self.scale_tril = cholesky(matrix)
        else:  # P = (L Lᵀ)⁻¹, and the factor of P turned around is L⁻ᵀ turned around
            turned = cholesky(matrix.flip((-2, -1))).flip((-2, -1)).mT
            one = eye(n, dtype=matrix.dtype, device=matrix.device)
            self.scale_tril = solve_triangular(turned, one, upper=False)

    @property
    def covariance_matrix(self) -> Tensor:
        """L Lᵀ."""
        given = self.parameters.get("covariance_matrix")
        return self.scale_tril @ self.scale_tril.mT if given is None else given

    @property
    def precision_matrix(self) -> Tensor:
        """(L Lᵀ)⁻¹."""
        given = self.parameters.get("precision_matrix")
        if given is not None:
            return given
        L = self.scale_tril
        inverse = solve_triangular(L, eye(L.shape[-1], dtype=L.dtype, device=L.device), upper=False)
        return inverse.mT @ inverse

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = mean

    @property
    def variance(self) -> Tensor:
        return (self.scale_tril**2).sum(-1)

    def rsample(self, sample_shape: Any = (), *, generator: Any = None) -> Tensor:
        shape, like = self._shape(sample_shape), self.loc
        noise = randn(shape, generator=generator, dtype=like.dtype, device=like.device)
        return self.loc + (self.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)

    def _half_log_det(self) -> Tensor:
        return self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value: Any) -> Tensor:
        difference = (self._value(value) - self.loc).unsqueeze(-1)
        z = solve_triangular(self.scale_tril, difference, upper=False).squeeze(-1)
        n = self.loc.shape[-1]
        return -((z**2).sum(-1) + n * math.log(2 * math.pi)) / 2 - self._half_log_det()

    def entropy(self) -> Tensor:
        n = self.loc.shape[-1]
        return self._half_log_det() + n * (1 + math.log(2 * math.pi)) / 2
