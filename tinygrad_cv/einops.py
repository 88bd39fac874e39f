"""einops (Rogozhnikov, Einops: Clear and reliable tensor manipulations, ICLR 2022) on our tensors.

    from tinygrad_cv.einops import einsum, pack, rearrange, reduce, repeat, unpack
    from tinygrad_cv.einops import EinMix, Rearrange, Reduce

The functions are those of the package einops: `from einops import rearrange` does as well, before
or after `import tinygrad_cv`, since einops is told of our tensors (see `_einops`). The layers are
modules of ours, in the place of those of einops.layers.torch.

>>> import tinygrad_cv as tg
>>> from tinygrad_cv.einops import Rearrange, rearrange
>>> image = tg.ones(1, 4, 6, 3)
>>> rearrange(image, "b (h p) (w q) c -> b (h w) (p q c)", p=2, q=2).shape
(1, 6, 12)
>>> Rearrange("b h w c -> b c h w")(image).shape
(1, 3, 4, 6)
"""

from collections.abc import Sequence

from einops import EinopsError, einsum, pack, parse_shape, rearrange, reduce, repeat, unpack
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
