"""Gradients cut down to a length, or to a range."""

import math
from collections.abc import Iterable
from typing import Any

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv.creation import tensor as as_new_tensor
from tinygrad_cv.ops.linalg import vector_norm
from tinygrad_cv.ops.shape import stack

Tensors = Tensor | Iterable[Tensor]


def _gradients(parameters: Tensors) -> list[Tensor]:
    """The gradients that there are."""
    several = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in several if p.grad is not None]


def _at_once(tensors: list[Tensor]) -> Tensor | None:
    """Their Euclidean norm in one pass, where a kernel does that."""
    backend = tensors[0]._backend
    if any(t._backend is not backend for t in tensors):
        return None
    with backend.active:
        norm = backend.norm_of_all([t._array for t in tensors])
    return None if norm is None else wrap(norm, backend)


def get_total_norm(
    tensors: Tensors,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The p-norm of all elements of all tensors, as if they were one vector.

    `norm_type` is p, also `math.inf`. Raises RuntimeError for a norm that is no finite number, with
    `error_if_nonfinite`. `foreach` changes nothing here.

    >>> get_total_norm([as_new_tensor([3.0]), as_new_tensor([[4.0]])]).item()
    5.0
    """
    several = [tensors] if isinstance(tensors, Tensor) else [*tensors]
    if not several:
        return as_new_tensor(0.0)
    order = float(norm_type)
    total = _at_once(several) if order == 2 else None
    if total is None:
        with no_grad():
            home = several[0].device
            norms = [vector_norm(t.detach(), order).to(device=home) for t in several]
            total = vector_norm(stack(norms), order)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"the total norm of order {norm_type} is {total.item()}, so nothing can be clipped by "
            "it; without error_if_nonfinite the gradients are scaled all the same."
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Any, foreach: bool | None = None
) -> None:
    """Scale the gradients by max_norm / (total_norm + 1e-6), unless that is above 1.

    The small number is PyTorch's.

    >>> from tinygrad_cv import tensor
    >>> w = tensor([3.0, 4.0], requires_grad=True)
    >>> w.grad = tensor([3.0, 4.0])
    >>> clip_grads_with_norm_([w], 1.0, get_total_norm([w.grad]))
    >>> w.grad
    tensor([0.6, 0.8])
    """
    with no_grad():
        factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        for gradient in _gradients(parameters):
            gradient.mul_(factor.to(device=gradient.device, dtype=gradient.dtype))


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients so that the norm of all together is at most `max_norm`.

    Returns the norm that they had (Pascanu et al., 2013). See `get_total_norm` for `norm_type`.

    >>> w = as_new_tensor([1.0, 1.0], requires_grad=True)
    >>> (w * as_new_tensor([3.0, 4.0])).sum().backward()
    >>> clip_grad_norm_([w], max_norm=1.0).item()
    5.0
    >>> w.grad
    tensor([0.6, 0.8])
    """
    several = [parameters] if isinstance(parameters, Tensor) else [*parameters]
    total = get_total_norm(_gradients(several), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(several, max_norm, total)
    return total


clip_grad_norm = clip_grad_norm_


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Cut every element of the gradients to [-clip_value, clip_value].

    >>> w = as_new_tensor([1.0, 1.0], requires_grad=True)
    >>> (w * as_new_tensor([3.0, -4.0])).sum().backward()
    >>> clip_grad_value_(w, 1)
    >>> w.grad
    tensor([ 1., -1.])
    """
    bound = float(clip_value)
    with no_grad():
        for gradient in _gradients(parameters):
            gradient.clamp_(-bound, bound)
