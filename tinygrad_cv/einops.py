"""einops (Rogozhnikov, Einops: Clear and reliable tensor manipulations, ICLR 2022) on our tensors.

    from tinygrad_cv.einops import einsum, pack, rearrange, reduce, repeat, unpack
    from tinygrad_cv.einops import EinMix, Rearrange, Reduce

The functions are those of the package einops, which is told of our tensors when this module is
imported; from then on its own take them as well. The layers are modules of ours.

>>> import tinygrad_cv as tg
>>> from tinygrad_cv.einops import Rearrange, rearrange
>>> image = tg.ones(1, 4, 6, 3)
>>> rearrange(image, "b (h p) (w q) c -> b (h w) (p q c)", p=2, q=2).shape
(1, 6, 12)
>>> Rearrange("b h w c -> b c h w")(image).shape
(1, 3, 4, 6)
"""

from collections.abc import Sequence
from typing import Any

from einops import EinopsError, einsum, pack, parse_shape, rearrange, reduce, repeat, unpack
from einops._backends import AbstractBackend
from einops.layers import RearrangeMixin, ReduceMixin
from einops.layers._einmix import _EinmixMixin

import tinygrad_cv
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import Module, Parameter

__all__ = [
    "EinMix",
    "EinopsError",
    "Rearrange",
    "Reduce",
    "einsum",
    "pack",
    "parse_shape",
    "rearrange",
    "reduce",
    "repeat",
    "unpack",
]


class Backend(AbstractBackend):
    """What einops asks of a library: it finds its subclasses by itself."""

    framework_name = "tinygrad_cv"

    def is_appropriate_type(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor)

    def is_float_type(self, x: Tensor) -> bool:
        return x.is_floating_point()

    def from_numpy(self, x: Any) -> Tensor:
        return tinygrad_cv.from_numpy(x)

    def to_numpy(self, x: Tensor) -> Any:
        return x.numpy(force=True)

    def arange(self, start: int, stop: int) -> Tensor:
        return tinygrad_cv.arange(start, stop)

    def transpose(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        return x.permute(axes)

    def reduce(self, x: Tensor, operation: str, axes: Sequence[int]) -> Tensor:
        if operation in ("min", "max"):
            operation = f"a{operation}"
        if operation == "prod":
            for axis in sorted(axes, reverse=True):
                x = x.prod(axis)
            return x
        reduced: Tensor = getattr(x, operation)(dim=tuple(axes))
        return reduced

    def stack_on_zeroth_dimension(self, tensors: list[Tensor]) -> Tensor:
        return tinygrad_cv.stack(tensors)

    def add_axis(self, x: Tensor, new_position: int) -> Tensor:
        return x.unsqueeze(new_position)

    def add_axes(self, x: Tensor, n_axes: int, pos2len: dict[int, int]) -> Tensor:
        for place in pos2len:
            x = x.unsqueeze(place)
        return x.expand([pos2len.get(place, -1) for place in range(n_axes)])

    def tile(self, x: Tensor, repeats: Sequence[int]) -> Tensor:
        return x.repeat(repeats)

    def concat(self, tensors: list[Tensor], axis: int) -> Tensor:
        return tinygrad_cv.cat(tensors, axis)

    def einsum(self, pattern: str, *x: Tensor) -> Tensor:
        return tinygrad_cv.einsum(pattern, *x)


class Rearrange(RearrangeMixin, Module):
    """`rearrange` as a layer: Rearrange("b c h w -> b (c h w)")."""

    def forward(self, input: Tensor) -> Tensor:
        rearranged: Tensor = self._apply_recipe(input)  # type: ignore[no-untyped-call]
        return rearranged


class Reduce(ReduceMixin, Module):
    """`reduce` as a layer: Reduce("b c (h 2) (w 2) -> b c h w", "max")."""

    def forward(self, input: Tensor) -> Tensor:
        rearranged: Tensor = self._apply_recipe(input)  # type: ignore[no-untyped-call]
        return rearranged


class EinMix(_EinmixMixin, Module):
    """`einsum` with a weight, and a bias, of its own as a layer:
    EinMix("b c -> b d", weight_shape="c d", bias_shape="d", c=3, d=4) is linear.

    The weight is drawn from U(-√(3/n), √(3/n)) for the n elements that one of the result is made
    of, the bias from U(-√(1/n), √(1/n)).
    """

    def _create_parameters(
        self,
        weight_shape: Sequence[int],
        weight_bound: float,
        bias_shape: Sequence[int] | None,
        bias_bound: float,
    ) -> None:
        weight = tinygrad_cv.empty(weight_shape).uniform_(-weight_bound, weight_bound)
        self.weight = Parameter(weight)
        self.bias = None
        if bias_shape is not None:
            bias = tinygrad_cv.empty(bias_shape).uniform_(-bias_bound, bias_bound)
            self.bias = Parameter(bias)

    def _create_rearrange_layers(
        self,
        pre_reshape_pattern: str | None,
        pre_reshape_lengths: dict[str, int] | None,
        post_reshape_pattern: str | None,
        post_reshape_lengths: dict[str, int] | None,
    ) -> None:
        self.pre_rearrange = self.post_rearrange = None
        if pre_reshape_pattern is not None:
            self.pre_rearrange = Rearrange(pre_reshape_pattern, **pre_reshape_lengths or {})
        if post_reshape_pattern is not None:
            self.post_rearrange = Rearrange(post_reshape_pattern, **post_reshape_lengths or {})

    def forward(self, input: Tensor) -> Tensor:
        if self.pre_rearrange is not None:
            input = self.pre_rearrange(input)
        result = tinygrad_cv.einsum(self.einsum_pattern, input, self.weight)
        if self.bias is not None:
            result = result + self.bias
        return result if self.post_rearrange is None else self.post_rearrange(result)
