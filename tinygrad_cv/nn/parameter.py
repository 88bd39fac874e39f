"""Parameter: a tensor that a module learns."""

from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor


@public(NN)
class Parameter(Tensor):
    """A tensor that a module learns: it requires a gradient, and modules list it.

    >>> Parameter(Tensor([1.0]))
    tensor([1.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad=requires_grad)
