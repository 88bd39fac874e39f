"""What several of the networks are made of, under the names of `torchvision.ops`."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from tinygrad_cv import nn
from tinygrad_cv._apply import F as T
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import as_generator
from tinygrad_cv.nn import functional as F
from tinygrad_cv.ops.conv import per_axis
from tinygrad_cv.ops.noise import check_probability

Layer = Callable[..., nn.Module]
"""A class of layers, or a function that makes one."""

Made = TypeVar("Made")


def seeded(make: Callable[..., Made], generator: Any) -> Callable[..., Made]:
    """`make`, which is told of the generator if there is one: a layer of others may know none."""
    return make if generator is None else partial(make, generator=generator)


def make_divisible(v: float, divisor: int, min_value: int | None = None) -> int:
    """A number of channels near `v`: a multiple of `divisor`, not below 0.9 v or `min_value`.

    >>> make_divisible(30, 8), make_divisible(11, 8), make_divisible(3, 8)
    (32, 16, 8)
    """
    nearest = int(v + divisor / 2) // divisor * divisor
    nearest = max(divisor if min_value is None else min_value, nearest)
    return nearest if nearest >= 0.9 * v else nearest + divisor


def zero_bias(layer: Any) -> None:
    """The bias of a convolution or a linear layer, where there is one, becomes 0."""
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def check_setting(name: str, setting: Any, kind: Any) -> None:
    """Raise unless a network gets a list of rows of this kind, and at least one."""
    if not isinstance(setting, Sequence) or not all(isinstance(row, kind) for row in setting):
        kinds = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise TypeError(f"{name}: the setting is a list of {kinds}; got {setting!r}.")
    if not setting:
        raise ValueError(f"{name}: the setting has a row for each stage; got none.")


class Conv2dNormActivation(nn.Sequential):
    """Convolution, normalization, activation: (N, C, H, W) -> (N, out_channels, H', W').

    By default the padding keeps the size of the image at stride 1, and the convolution has a bias
    only where no normalization follows. `norm_layer` is called with the number of channels,
    `activation_layer` with `inplace` unless that is None; None leaves either out. The weights are
    drawn from `generator`, or from the one that `manual_seed` seeds.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import Conv2dNormActivation
    >>> Conv2dNormActivation(3, 8, kernel_size=5, stride=2)(ones(2, 3, 8, 8)).shape
    (2, 8, 4, 4)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any = 3,
        stride: Any = 1,
        padding: Any = None,
        groups: int = 1,
        norm_layer: Layer | None = nn.BatchNorm2d,
        activation_layer: Layer | None = nn.ReLU,
        dilation: Any = 1,
        inplace: bool | None = True,
        bias: bool | None = None,
        *,
        generator: Any = None,
    ) -> None:
        if padding is None:
            kernel_size = per_axis(2, kernel_size, "kernel_size", 1)
            dilation = per_axis(2, dilation, "dilation", 1)
            padding = tuple((k - 1) // 2 * d for k, d in zip(kernel_size, dilation, strict=True))
        layers: list[nn.Module] = [
            nn.Conv2d(
                in_channels,
                out_channels,
                kernel_size,
                stride,
                padding,
                dilation,
                groups,
                norm_layer is None if bias is None else bias,
                generator=generator,
            )
        ]
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            layers.append(activation_layer(**({} if inplace is None else {"inplace": inplace})))
        super().__init__(*layers)
        self.out_channels = out_channels


class SqueezeExcitation(nn.Module):
    """y = x · s(W₂ a(W₁ mean(x) + b₁) + b₂): each channel scaled by what the whole image shows.

    (N, C, H, W) -> (N, C, H, W): the mean over the image, `squeeze_channels` numbers of it with the
    activation a, then a scale for each of the `input_channels` by s (J. Hu et al.,
    "Squeeze-and-excitation networks", 2018).

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import SqueezeExcitation
    >>> SqueezeExcitation(8, 2)(ones(2, 8, 4, 4)).shape
    (2, 8, 4, 4)
    """

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Layer = nn.ReLU,
        scale_activation: Layer = nn.Sigmoid,
        *,
        generator: Any = None,
    ) -> None:
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1, generator=generator)
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1, generator=generator)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, input: Tensor) -> Tensor:
        squeezed = self.activation(self.fc1(self.avgpool(input)))
        scale: Tensor = self.scale_activation(self.fc2(squeezed))
        return scale * input


def stochastic_depth(
    input: Tensor, p: float, mode: str, training: bool = True, *, generator: Any = None
) -> Tensor:
    """The input as a whole 0 with probability p, else scaled by 1 / (1 - p); x in evaluation.

    What is dropped together is the whole batch in the mode "batch", and each sample by itself in
    the mode "row". In x + stochastic_depth(f(x), …) a network is trained that is shorter by a block
    now and then (G. Huang et al., "Deep networks with stochastic depth", 2016). With p = 1 all is
    0. The draws come from `generator`, or from the one that `manual_seed` seeds.

    Raises ValueError for a p that is no probability, and for another mode.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import stochastic_depth
    >>> rows = stochastic_depth(ones(5, 2), 0.5, "row")
    >>> (rows[:, 0] == rows[:, 1]).all().item(), set(rows.flatten().tolist()) <= {0.0, 2.0}
    (True, True)
    """
    check_depth("stochastic_depth", p, mode)
    if not training or p == 0:
        return input
    shared = input.ndim - (mode == "row")
    return T.dropout(input, p=p, generator=as_generator(generator), shared=shared)


def check_depth(name: str, p: float, mode: str) -> None:
    """Raise for a p that is no probability, and for an unknown mode."""
    check_probability(name, p)
    if mode not in ("batch", "row"):
        raise ValueError(f"{name}: mode is 'batch' or 'row'; got {mode!r}.")


class StochasticDepth(nn.Module):
    """Whole samples, or the whole batch, dropped while training; see `stochastic_depth`.

    >>> from tinygrad_cv import tensor
    >>> from tinygrad_cv.models import StochasticDepth
    >>> StochasticDepth(0.2, "row").eval()(tensor([[1.0, 2.0]]))
    tensor([[1., 2.]])
    """

    def __init__(self, p: float, mode: str, *, generator: Any = None) -> None:
        check_depth("StochasticDepth", p, mode)
        self.p, self.mode, self.generator = p, mode, generator

    def forward(self, input: Tensor) -> Tensor:
        return stochastic_depth(input, self.p, self.mode, self.training, generator=self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"


class MLP(nn.Sequential):
    """Linear layers in a row: (..., in_channels) -> (..., hidden_channels[-1]).

    Behind each but the last come normalization, activation and dropout; behind the last one comes
    dropout. `norm_layer` is called with the number of channels, `activation_layer` and the
    dropouts with `inplace` unless that is None. Weights and what is dropped are drawn from
    `generator`.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import MLP
    >>> MLP(4, [8, 3], dropout=0.1)(ones(2, 5, 4)).shape
    (2, 5, 3)
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: Sequence[int],
        norm_layer: Layer | None = None,
        activation_layer: Layer | None = nn.ReLU,
        inplace: bool | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        *,
        generator: Any = None,
    ) -> None:
        if not hidden_channels:
            raise ValueError("MLP: hidden_channels has a number for each linear layer; got none.")
        options: dict[str, Any] = {} if inplace is None else {"inplace": inplace}
        layers: list[nn.Module] = []
        *inner, last = hidden_channels
        for channels in inner:
            layers.append(nn.Linear(in_channels, channels, bias, generator=generator))
            if norm_layer is not None:
                layers.append(norm_layer(channels))
            if activation_layer is not None:
                layers.append(activation_layer(**options))
            layers.append(nn.Dropout(dropout, **options, generator=generator))
            in_channels = channels
        layers.append(nn.Linear(in_channels, last, bias, generator=generator))
        layers.append(nn.Dropout(dropout, **options, generator=generator))
        super().__init__(*layers)


class Permute(nn.Module):
    """The axes in another order; see `permute`.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import Permute
    >>> Permute([0, 2, 3, 1])(ones(1, 3, 8, 9)).shape
    (1, 8, 9, 3)
    """

    def __init__(self, dims: Sequence[int]) -> None:
        self.dims = list(dims)

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(*self.dims)


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of each pixel of (N, C, H, W); see `nn.LayerNorm`.

    >>> from tinygrad_cv import tensor
    >>> from tinygrad_cv.models import LayerNorm2d
    >>> LayerNorm2d(2, eps=0.0)(tensor([[[[1.0]], [[3.0]]]])).flatten().tolist()
    [-1.0, 1.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        pixels = input.permute(0, 2, 3, 1)
        normal = F.layer_norm(pixels, self.normalized_shape, self.weight, self.bias, self.eps)
        return normal.permute(0, 3, 1, 2)
