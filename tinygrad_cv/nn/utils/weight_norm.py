"""Weight normalization by a hook; `parametrizations.weight_norm` is the newer form of it."""

from typing import Any, TypeVar

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter
from tinygrad_cv.ops.linalg import vector_norm

Given = TypeVar("Given", bound=Module)


def norm_except_dim(v: Tensor, dim: int | None) -> Tensor:
    """The length of v along all axes but `dim`, which stay with length 1; of the whole for None."""
    if dim is None or dim == -1:
        return vector_norm(v)
    axes = tuple(axis for axis in range(v.ndim) if axis != dim % v.ndim)
    return vector_norm(v, dim=axes, keepdim=True)


class WeightNorm:
    """The hook that computes w = g · v / ‖v‖ before each call."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name, self.dim = name, -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Tensor:
        """The weight of now."""
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return g * (v / norm_except_dim(v, self.dim))  # type: ignore[no-any-return]

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Given, name: str = "weight", dim: int | None = 0) -> Given:
    """Let a weight be its length `name_g` times its direction `name_v` / ‖`name_v`‖.

    The length is that along all axes but `dim`; None means one length for the whole (Salimans and
    Kingma, 2016).

    >>> from tinygrad_cv import nn
    >>> list(weight_norm(nn.Linear(2, 3)).state_dict())
    ['bias', 'weight_g', 'weight_v']
    """
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and hook.name == name:
            raise RuntimeError(f"the parameter {name!r} has a weight_norm already.")
    hook = WeightNorm(name, dim)
    weight = getattr(module, name)
    del module._parameters[name]
    length = norm_except_dim(weight.detach(), hook.dim)
    module.register_parameter(f"{name}_g", Parameter(length))
    module.register_parameter(f"{name}_v", Parameter(weight))
    setattr(module, name, hook.compute_weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Given, name: str = "weight") -> Given:
    """Let the weight be a parameter again, with the values of now; ValueError if it has no norm.

    >>> from tinygrad_cv import nn
    >>> list(remove_weight_norm(weight_norm(nn.Linear(2, 3))).state_dict())
    ['bias', 'weight']
    """
    for number, hook in [*module._forward_pre_hooks.items()]:
        if isinstance(hook, WeightNorm) and hook.name == name:
            weight = hook.compute_weight(module).detach()
            for part in (name, f"{name}_g", f"{name}_v"):
                delattr(module, part)
            setattr(module, name, Parameter(weight))
            del module._forward_pre_hooks[number]
            return module
    raise ValueError(f"there is no weight_norm of {name!r} in {type(module).__name__}.")
