"""Ready-made parametrizations: weight normalization, spectral normalization, orthogonality."""

from functools import partial
from typing import Any

from tinygrad_cv import linalg
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import eye, zeros_like
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.utils.parametrize import register_parametrization
from tinygrad_cv.nn.utils.spectral_norm import as_matrix, default_dim, iterate, starts
from tinygrad_cv.nn.utils.weight_norm import norm_except_dim
from tinygrad_cv.ops.elementwise import where
from tinygrad_cv.ops.shape import cat
from tinygrad_cv.random import randn


class _WeightNorm(Module):
    """w = g · v / ‖v‖, of the originals g and v."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_g * (weight_v / norm_except_dim(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Let a weight be a length g times a direction v / ‖v‖: `original0` and `original1`.

    The length is that along all axes but `dim`; None means one length for the whole (Salimans and
    Kingma, 2016). A state with the names of the older form, "weight_g" and "weight_v", is loaded.

    >>> from tinygrad_cv import nn
    >>> list(weight_norm(nn.Linear(2, 3)).state_dict())[1:]
    ['parametrizations.weight.original0', 'parametrizations.weight.original1']
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    module._register_load_state_dict_pre_hook(partial(_renamed, name))
    return module


def _renamed(name: str, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """The names of the older weight_norm become those of the newer."""
    old = (f"{prefix}{name}_g", f"{prefix}{name}_v")
    if state.keys() >= {*old}:
        for i, key in enumerate(old):
            state[f"{prefix}parametrizations.{name}.original{i}"] = state.pop(key)


class _SpectralNorm(Module):
    """w / σ, with σ ≈ uᵀ W v by power iteration: the steps are made in training mode."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float) -> None:
        super().__init__()
        if n_power_iterations < 1:
            raise ValueError(f"n_power_iterations is 1 or more; got {n_power_iterations}.")
        self.dim = dim if dim >= 0 else dim + weight.ndim
        self.eps, self.n_power_iterations = eps, n_power_iterations
        if weight.ndim > 1:
            matrix = as_matrix(weight.detach(), self.dim)
            u, v = starts(matrix, eps)
            iterate(matrix.t(), v, u, 15, eps)  # here u goes first, as in PyTorch
            self.register_buffer("_u", u)
            self.register_buffer("_v", v)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            iterate(matrix.t(), self._v, self._u, self.n_power_iterations, self.eps)
        return weight / (self._u.clone() @ (matrix @ self._v.clone()))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Any:
    """Divide a weight by its largest singular value (Miyato et al., 2018).

    The value is found by power iteration, which each reading in training mode goes on with; `dim`
    is the axis of the outputs.

    >>> from tinygrad_cv import nn, linalg
    >>> layer = spectral_norm(nn.Linear(3, 2), n_power_iterations=50)
    >>> round(linalg.svdvals(layer.weight).max().item(), 3)
    1.0
    """
    weight = _tensor_of(module, name)
    made = _SpectralNorm(weight, n_power_iterations, default_dim(module, dim), eps)
    return register_parametrization(module, name, made)


def _tensor_of(module: Module, name: str) -> Tensor:
    """The tensor that gets a parametrization; ValueError if there is none."""
    tensor = getattr(module, name, None)
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{type(module).__name__} has no parameter and no buffer {name!r}.")
    return tensor


class _Orthogonal(Module):
    """A matrix with orthonormal columns, or rows if there are more columns.

    With a `base` Q₀ it is Q₀ times what the map makes of the original, which begins at the identity
    (Lezcano-Casado, 2019).
    """

    base: Tensor | None

    def __init__(self, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        self.orthogonal_map, self.use_trivialization = orthogonal_map, use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        n, k = X.shape[-2:]
        if n < k:
            return self._tall(X.transpose(-2, -1)).transpose(-2, -1)
        return self._tall(X)

    def _tall(self, X: Tensor) -> Tensor:
        n, k = X.shape[-2:]
        if self.orthogonal_map == "householder":
            Q = _reflections(X)
        else:
            X = X.tril()
            if n != k:
                X = cat([X, zeros_like(X[..., :1]).expand(*X.shape[:-1], n - k)], -1)
            A = X - X.transpose(-2, -1)
            identity = eye(n, dtype=X.dtype, device=X.device)
            if self.orthogonal_map == "cayley":
                Q = linalg.solve(identity - A / 2, identity + A / 2)
            else:
                Q = _exponential(A, identity)
            Q = Q[..., :k]
        return Q if getattr(self, "base", None) is None else self.base @ Q

    def right_inverse(self, Q: Tensor) -> Tensor:
        if not self.use_trivialization:
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "an orthogonal parametrization can be assigned to with "
                    "use_trivialization=True, or if it is made of reflections."
                )
            if Q.shape[-2] < Q.shape[-1]:
                return _vectors(Q.transpose(-2, -1)).transpose(-2, -1)
            return _vectors(Q)
        tall = Q if Q.shape[-2] >= Q.shape[-1] else Q.transpose(-2, -1)
        n, k = tall.shape[-2:]
        identity = eye(k, dtype=Q.dtype, device=Q.device)
        error = (tall.transpose(-2, -1) @ tall - identity).abs().max().item()
        if n != k:
            more = randn((*tall.shape[:-1], n - k), dtype=Q.dtype, device=Q.device)
            tall = cat([tall, more], -1)
        if n != k or error > 10 * n * host_eps(Q):
            q, r = linalg.qr(tall)
            tall = q * r.diagonal(0, -2, -1).sign().unsqueeze(-2)
        self.base = tall.detach().clone()
        start = zeros_like(Q)
        start.diagonal(0, -2, -1).fill_(-1.0)  # all of the maps make the identity of it
        return start


def host_eps(like: Tensor) -> float:
    """The distance from 1 to the next number of a dtype."""
    return 2.0 ** {"float16": -10, "float32": -23, "float64": -52}[str(like.dtype)]


def _exponential(A: Tensor, identity: Tensor) -> Tensor:
    """e^A of a skew-symmetric A: the series of A / 2ˢ, squared s times."""
    length = A.detach().abs().sum(-1).max().item()
    halvings = 0
    while length > 0.5:
        length, halvings = length / 2, halvings + 1
    part = A / 2.0**halvings
    total = identity + part / 14
    for n in range(13, 0, -1):  # Horner's scheme; the next term is below 0.5¹⁵ / 15!
        total = identity + part @ total / n
    for _ in range(halvings):
        total = total @ total
    return total


def _reflections(X: Tensor) -> Tensor:
    """The first k columns of H₁ ⋯ Hₖ · diag(±1), with the reflections H = 1 - 2 v vᵀ / ‖v‖².

    Below the diagonal of X stand the vectors v, each after a 1; on it the signs.
    """
    n, k = X.shape[-2:]
    identity = eye(n, k, dtype=X.dtype, device=X.device)
    V = X.tril(-1) + identity
    Q = identity
    for i in reversed(range(k)):
        v = V[..., i : i + 1]
        Q = Q - (2 / (v * v).sum(-2, keepdim=True)) * v @ (v.transpose(-2, -1) @ Q)
    return Q * X.diagonal(0, -2, -1).detach().trunc().unsqueeze(-2)


def _vectors(Q: Tensor) -> Tensor:
    """The X of which `_reflections` makes Q; of any matrix, the Q of its decomposition QR."""
    R, X = Q.detach().clone(), zeros_like(Q)
    for i in range(Q.shape[-1]):
        x = R[..., i:, i:][..., :1]
        first = x[..., :1, :]
        sign = where(first < 0, -1.0, 1.0)  # H x = -sign ‖x‖ e₁
        length = first + sign * linalg.vector_norm(x, dim=-2, keepdim=True)
        v = x / where(length == 0, 1.0, length)
        v[..., :1, :] = 1.0
        rest = R[..., i:, i:]
        R[..., i:, i:] = rest - (2 / (v * v).sum(-2, keepdim=True)) * v @ (v.mT @ rest)
        X[..., i:, i : i + 1] = v
        X[..., i : i + 1, i : i + 1] = -sign
    return X


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Any:
    """Let a matrix have orthonormal columns, or rows if there are more columns.

    Q = e^A ("matrix_exp", for square ones), (1 - A/2)⁻¹ (1 + A/2) ("cayley"), both of the
    skew-symmetric A = X - Xᵀ, or a product of reflections ("householder", for others). The weight
    begins at the nearest such matrix that the Q of its decomposition QR gives.

    >>> from tinygrad_cv import nn, eye
    >>> layer = orthogonal(nn.Linear(3, 3))
    >>> (layer.weight @ layer.weight.t() - eye(3)).abs().max().item() < 1e-5
    True
    """
    weight = _tensor_of(module, name)
    if weight.ndim < 2:
        raise ValueError(f"orthogonal takes a matrix, or several; got {weight.shape}.")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            f"orthogonal_map is one of matrix_exp, cayley, householder; got {orthogonal_map!r}."
        )
    made = _Orthogonal(orthogonal_map, use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
