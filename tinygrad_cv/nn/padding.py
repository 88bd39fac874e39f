"""Images with more around them: zeros, a constant, or the image itself continued.

`padding` is a number for all sides, or (left, right, top, bottom, front, back), as far as there are
axes; an input may be without N. A negative width crops.
"""

from collections.abc import Sequence
from typing import ClassVar

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module


class _Padding(Module):
    """Base of the paddings of `axes` spatial axes; see `pad`."""

    axes: ClassVar[int]
    mode: ClassVar[str]

    def __init__(self, padding: int | Sequence[int]) -> None:
        many = isinstance(padding, Sequence)
        self.padding: tuple[int, ...] = (
            tuple(padding) if isinstance(padding, Sequence) else (padding,) * (2 * self.axes)
        )
        if many and len(self.padding) != 2 * self.axes:
            raise ValueError(
                f"{type(self).__name__}: padding is one number or {2 * self.axes} of them; got "
                f"{padding}."
            )

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (self.axes + 1, self.axes + 2):
            raise ValueError(
                f"{type(self).__name__} expects an input with {self.axes + 1} or {self.axes + 2} "
                f"axes; got {input.shape}."
            )
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_Padding):
    mode = "constant"
    value: float

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPadNd(_ConstantPadNd):
    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ReflectionPadNd(_Padding):
    mode = "reflect"


class _ReplicationPadNd(_Padding):
    mode = "replicate"


class _CircularPadNd(_Padding):
    mode = "circular"


@public(NN)
class ConstantPad1d(_ConstantPadNd):
    """`value` around a sequence (N, C, L).

    >>> ConstantPad1d((2, 1), 7.0)(Tensor([[1.0, 2.0, 3.0]])).flatten()
    tensor([7., 7., 1., 2., 3., 7.])
    """

    axes = 1


@public(NN)
class ConstantPad2d(_ConstantPadNd):
    """`value` around an image (N, C, H, W).

    >>> ConstantPad2d((2, 1, 0, 0), 7.0)(Tensor([[[1.0, 2.0, 3.0]]])).flatten()
    tensor([7., 7., 1., 2., 3., 7.])
    """

    axes = 2


@public(NN)
class ConstantPad3d(_ConstantPadNd):
    """`value` around a volume (N, C, D, H, W).

    >>> ConstantPad3d((2, 1, 0, 0, 0, 0), 7.0)(Tensor([[[[1.0, 2.0, 3.0]]]])).flatten()
    tensor([7., 7., 1., 2., 3., 7.])
    """

    axes = 3


@public(NN)
class ZeroPad1d(_ZeroPadNd):
    """Zeros around a sequence (N, C, L).

    >>> ZeroPad1d((2, 1))(Tensor([[1.0, 2.0, 3.0]])).flatten()
    tensor([0., 0., 1., 2., 3., 0.])
    """

    axes = 1


@public(NN)
class ZeroPad2d(_ZeroPadNd):
    """Zeros around an image (N, C, H, W).

    >>> ZeroPad2d((2, 1, 0, 0))(Tensor([[[1.0, 2.0, 3.0]]])).flatten()
    tensor([0., 0., 1., 2., 3., 0.])
    """

    axes = 2


@public(NN)
class ZeroPad3d(_ZeroPadNd):
    """Zeros around a volume (N, C, D, H, W).

    >>> ZeroPad3d((2, 1, 0, 0, 0, 0))(Tensor([[[[1.0, 2.0, 3.0]]]])).flatten()
    tensor([0., 0., 1., 2., 3., 0.])
    """

    axes = 3


@public(NN)
class ReflectionPad1d(_ReflectionPadNd):
    """A sequence (N, C, L) mirrored at its outermost elements.

    >>> ReflectionPad1d((2, 1))(Tensor([[1.0, 2.0, 3.0]])).flatten()
    tensor([3., 2., 1., 2., 3., 2.])
    """

    axes = 1


@public(NN)
class ReflectionPad2d(_ReflectionPadNd):
    """An image (N, C, H, W) mirrored at its outermost elements.

    >>> ReflectionPad2d((2, 1, 0, 0))(Tensor([[[1.0, 2.0, 3.0]]])).flatten()
    tensor([3., 2., 1., 2., 3., 2.])
    """

    axes = 2


@public(NN)
class ReflectionPad3d(_ReflectionPadNd):
    """A volume (N, C, D, H, W) mirrored at its outermost elements.

    >>> ReflectionPad3d((2, 1, 0, 0, 0, 0))(Tensor([[[[1.0, 2.0, 3.0]]]])).flatten()
    tensor([3., 2., 1., 2., 3., 2.])
    """

    axes = 3


@public(NN)
class ReplicationPad1d(_ReplicationPadNd):
    """A sequence (N, C, L) with its outermost elements repeated.

    >>> ReplicationPad1d((2, 1))(Tensor([[1.0, 2.0, 3.0]])).flatten()
    tensor([1., 1., 1., 2., 3., 3.])
    """

    axes = 1


@public(NN)
class ReplicationPad2d(_ReplicationPadNd):
    """An image (N, C, H, W) with its outermost elements repeated.

    >>> ReplicationPad2d((2, 1, 0, 0))(Tensor([[[1.0, 2.0, 3.0]]])).flatten()
    tensor([1., 1., 1., 2., 3., 3.])
    """

    axes = 2


@public(NN)
class ReplicationPad3d(_ReplicationPadNd):
    """A volume (N, C, D, H, W) with its outermost elements repeated.

    >>> ReplicationPad3d((2, 1, 0, 0, 0, 0))(Tensor([[[[1.0, 2.0, 3.0]]]])).flatten()
    tensor([1., 1., 1., 2., 3., 3.])
    """

    axes = 3


@public(NN)
class CircularPad1d(_CircularPadNd):
    """A sequence (N, C, L) continued by its other end.

    >>> CircularPad1d((2, 1))(Tensor([[1.0, 2.0, 3.0]])).flatten()
    tensor([2., 3., 1., 2., 3., 1.])
    """

    axes = 1


@public(NN)
class CircularPad2d(_CircularPadNd):
    """An image (N, C, H, W) continued by its other end.

    >>> CircularPad2d((2, 1, 0, 0))(Tensor([[[1.0, 2.0, 3.0]]])).flatten()
    tensor([2., 3., 1., 2., 3., 1.])
    """

    axes = 2


@public(NN)
class CircularPad3d(_CircularPadNd):
    """A volume (N, C, D, H, W) continued by its other end.

    >>> CircularPad3d((2, 1, 0, 0, 0, 0))(Tensor([[[[1.0, 2.0, 3.0]]]])).flatten()
    tensor([2., 3., 1., 2., 3., 1.])
    """

    axes = 3
