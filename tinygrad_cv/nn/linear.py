"""Linear layers."""

import math
from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import empty, shape_from
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn import init
from tinygrad_cv.nn.lazy import LazyModuleMixin
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter, UninitializedParameter


def given(device: Any, dtype: Any) -> dict[str, Any]:
    """A device and a dtype as options of the functions that make tensors; None is their default."""
    options = {"device": device, "dtype": dtype}
    return {name: value for name, value in options.items() if value is not None}


def uniform_(fan_in: int, generator: Any, *parameters: Parameter | None) -> None:
    """New values, uniform on ±1/√fan_in: those of PyTorch's layers."""
    bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
    for parameter in parameters:
        if parameter is not None:
            init.uniform_(parameter, -bound, bound, generator=generator)


@public(NN)
class Identity(Module):
    """The input as it is, whatever the arguments: a place for a layer that is not there.

    >>> Identity(54, unused=True)(Tensor([1.0]))
    tensor([1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        return input


@public(NN)
class Linear(Module):
    """y = x wᵀ + b: (..., in_features) -> (..., out_features); the weight is (out, in).

    Both are uniform on ±1/√in_features at first, drawn from `generator` or from the one that
    `manual_seed` seeds.

    >>> from tinygrad_cv import ones
    >>> Linear(4, 3)(ones(2, 4)).shape
    (2, 3)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        in_features, out_features = shape_from((in_features, out_features))
        self.in_features, self.out_features = in_features, out_features
        self.generator = generator
        self._make_parameters(bias, given(device, dtype))

    def _make_parameters(self, bias: bool, options: dict[str, Any]) -> None:
        self.weight = Parameter(empty((self.out_features, self.in_features), **options))
        one_each = Parameter(empty((self.out_features,), **options)) if bias else None
        self.register_parameter("bias", one_each)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """New random values, by the law of the first ones."""
        uniform_(self.in_features, self.generator, self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


@public(NN)
class LazyLinear(LazyModuleMixin, Linear):
    """A Linear whose in_features is the length of the last axis of its first input.

    >>> from tinygrad_cv import ones
    >>> layer = LazyLinear(3)
    >>> layer(ones(2, 4)).shape, layer
    ((2, 3), Linear(in_features=4, out_features=3, bias=True))
    """

    cls_to_become = Linear
    weight: Any
    bias: Any

    def __init__(
        self,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        super().__init__(0, out_features, bias, device, dtype, generator=generator)

    def _make_parameters(self, bias: bool, options: dict[str, Any]) -> None:
        self.weight = UninitializedParameter(**options)
        self.register_parameter("bias", UninitializedParameter(**options) if bias else None)

    def reset_parameters(self) -> None:
        """New random values, once the shapes are known."""
        if not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take the number of features from the first input."""
        self.in_features = input.shape[-1]
        if not self.has_uninitialized_params():
            return  # of a state that was loaded
        self.weight.materialize((self.out_features, self.in_features))
        if self.bias is not None:
            self.bias.materialize((self.out_features,))
        self.reset_parameters()


@public(NN)
class Bilinear(Module):
    """y_o = x₁ᵀ w_o x₂ + b_o: (..., in1) and (..., in2) -> (..., out); see `bilinear`.

    The weight is (out, in1, in2); weight and bias are uniform on ±1/√in1 at first.

    >>> from tinygrad_cv import ones
    >>> Bilinear(2, 3, 4)(ones(5, 2), ones(5, 3)).shape
    (5, 4)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        if in1_features <= 0:
            raise ValueError(f"Bilinear: in1_features must be above 0; got {in1_features}.")
        in1, in2, out = shape_from((in1_features, in2_features, out_features))
        options = given(device, dtype)
        self.in1_features, self.in2_features, self.out_features = in1, in2, out
        self.generator = generator
        self.weight = Parameter(empty((out, in1, in2), **options))
        self.register_parameter("bias", Parameter(empty((out,), **options)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """New random values, by the law of the first ones."""
        uniform_(self.in1_features, self.generator, self.weight, self.bias)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
