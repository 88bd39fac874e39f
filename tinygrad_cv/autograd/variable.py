"""`Variable`, which tensors have been themselves since PyTorch 0.4."""

from typing import Any

from tinygrad_cv._public import AUTOGRAD, public
from tinygrad_cv._tensor import Tensor


class _IsTensor(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor)


@public(AUTOGRAD)
class Variable(metaclass=_IsTensor):
    """A tensor: `Variable(x)` is the memory of x outside of its graph.

    Programs from before PyTorch 0.4 wrap their tensors with it. `volatile` was its `no_grad()`,
    and is refused.

    >>> import tinygrad_cv as tg
    >>> x = Variable(tg.ones(2), requires_grad=True)
    >>> x, isinstance(x, Variable)
    (tensor([1., 1.], requires_grad=True), True)
    """

    def __new__(  # type: ignore[misc]
        cls, data: Any, requires_grad: bool = False, volatile: bool = False
    ) -> Tensor:
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable takes a tensor; got a {type(data).__name__}. Use tensor(x).")
        if volatile:
            raise ValueError(
                "Variable: volatile=True is no more; compute inside of `with no_grad():` instead."
            )
        return data.detach().requires_grad_(requires_grad)
