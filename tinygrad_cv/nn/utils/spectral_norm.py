"""Spectral normalization by a hook; `parametrizations.spectral_norm` is the newer form of it."""

from typing import Any, TypeVar

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter
from tinygrad_cv.random import randn

Given = TypeVar("Given", bound=Module)


def default_dim(module: Module, dim: int | None) -> int:
    """The axis of the outputs in the weight: of the adjoint of a convolution, the second."""
    if dim is None:
        dim = 1 if "ConvTranspose" in "".join(c.__name__ for c in type(module).__mro__) else 0
    return dim


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """The weight with the axis `dim` in front and all others in one behind."""
    return weight.movedim(dim, 0).flatten(1)


def iterate(matrix: Tensor, u: Tensor, v: Tensor, times: int, eps: float) -> None:
    """Steps of the power iteration, in place: v ← Wᵀu / ‖Wᵀu‖ and u ← Wv / ‖Wv‖."""
    with no_grad():
        matrix = matrix.detach()
        for _ in range(times):
            v.copy_(F.normalize(matrix.t() @ u, dim=0, eps=eps))
            u.copy_(F.normalize(matrix @ v, dim=0, eps=eps))


def starts(matrix: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Two random directions to begin with."""
    u, v = (
        F.normalize(randn(n, dtype=matrix.dtype, device=matrix.device), dim=0, eps=eps)
        for n in matrix.shape
    )
    return u, v


class SpectralNorm:
    """The hook that computes w / σ before each call, with σ ≈ uᵀ W v."""

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float) -> None:
        if n_power_iterations < 1:
            raise ValueError(f"n_power_iterations is 1 or more; got {n_power_iterations}.")
        self.name, self.dim, self.eps = name, dim, eps
        self.n_power_iterations = n_power_iterations

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The weight of now, after more steps of the iteration if they are asked for."""
        weight = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        matrix = as_matrix(weight, self.dim)
        if do_power_iteration:
            iterate(matrix, u, v, self.n_power_iterations, self.eps)
        sigma = u.clone() @ (matrix @ v.clone())  # which the next steps do not change
        return weight / sigma  # type: ignore[no-any-return]

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))


def spectral_norm(
    module: Given,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Given:
    """Divide a weight by its largest singular value, before each call (Miyato et al., 2018).

    The value is found by power iteration: each call in training mode goes on by
    `n_power_iterations` steps. The parameter is `name_orig`; `name_u` and `name_v` are buffers.

    >>> from tinygrad_cv import nn
    >>> list(spectral_norm(nn.Linear(2, 3)).state_dict())
    ['bias', 'weight_orig', 'weight_u', 'weight_v']
    """
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            raise RuntimeError(f"the parameter {name!r} has a spectral_norm already.")
    hook = SpectralNorm(name, n_power_iterations, default_dim(module, dim), eps)
    weight = module._parameters[name]
    del module._parameters[name]
    u, v = starts(as_matrix(weight.detach(), hook.dim), eps)
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.detach())
    module.register_buffer(f"{name}_u", u)
    module.register_buffer(f"{name}_v", v)
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: Given, name: str = "weight") -> Given:
    """Let the weight be a parameter again, divided as it is now; ValueError if it has no norm.

    >>> from tinygrad_cv import nn
    >>> layer = remove_spectral_norm(spectral_norm(nn.Linear(2, 3)))
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'weight']
    """
    for number, hook in [*module._forward_pre_hooks.items()]:
        if isinstance(hook, SpectralNorm) and hook.name == name:
            weight = hook.compute_weight(module, do_power_iteration=False).detach()
            for part in (name, f"{name}_orig", f"{name}_u", f"{name}_v"):
                delattr(module, part)
            setattr(module, name, Parameter(weight))
            del module._forward_pre_hooks[number]
            return module
    raise ValueError(f"there is no spectral_norm of {name!r} in {type(module).__name__}.")
