"""RegNet (I. Radosavovic et al., "Designing network design spaces", 2020)."""
# ruff: noqa: N801  weights have torchvision's names

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.models._blocks import (
    Conv2dNormActivation,
    Layer,
    SqueezeExcitation,
    make_divisible,
    seeded,
    zero_bias,
)
from tinygrad_cv.models._weights import Weights, WeightsEnum, constructor


class SimpleStemIN(Conv2dNormActivation):
    """3x3 at stride 2, normalization, activation."""

    def __init__(
        self,
        width_in: int,
        width_out: int,
        norm_layer: Layer,
        activation_layer: Layer,
        *,
        generator: Any = None,
    ) -> None:
        super().__init__(
            width_in,
            width_out,
            stride=2,
            norm_layer=norm_layer,
            activation_layer=activation_layer,
            generator=generator,
        )


class BottleneckTransform(nn.Sequential):
    """1x1, 3x3 in groups of `group_width` channels, with an `se_ratio` squeeze and excite, 1x1."""

    def __init__(
        self,
        width_in: int,
        width_out: int,
        stride: int,
        norm_layer: Layer,
        activation_layer: Layer,
        group_width: int,
        bottleneck_multiplier: float,
        se_ratio: float | None,
        *,
        generator: Any = None,
    ) -> None:
        width = round(width_out * bottleneck_multiplier)
        conv = partial(
            Conv2dNormActivation,
            norm_layer=norm_layer,
            activation_layer=activation_layer,
            generator=generator,
        )
        layers: dict[str, nn.Module] = {
            "a": conv(width_in, width, 1),
            "b": conv(width, width, 3, stride, groups=width // group_width),
        }
        if se_ratio:
            squeezed = round(se_ratio * width_in)
            layers["se"] = SqueezeExcitation(width, squeezed, activation_layer, generator=generator)
        layers["c"] = conv(width, width_out, 1, activation_layer=None)
        super().__init__(layers)


class ResBottleneckBlock(nn.Module):
    """Figure 4: y = a(x + f(x)), where f is a `BottleneckTransform` and a the activation.

    Where the shape changes, x goes through a 1x1 convolution.
    """

    def __init__(
        self,
        width_in: int,
        width_out: int,
        stride: int,
        norm_layer: Layer,
        activation_layer: Layer,
        group_width: int = 1,
        bottleneck_multiplier: float = 1.0,
        se_ratio: float | None = None,
        *,
        generator: Any = None,
    ) -> None:
        self.proj: nn.Module | None = None
        if width_in != width_out or stride != 1:
            self.proj = Conv2dNormActivation(
                width_in,
                width_out,
                1,
                stride,
                norm_layer=norm_layer,
                activation_layer=None,
                generator=generator,
            )
        layers = norm_layer, activation_layer
        kind: Any = group_width, bottleneck_multiplier, se_ratio
        self.f = BottleneckTransform(
            width_in, width_out, stride, *layers, *kind, generator=generator
        )
        self.activation = activation_layer(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation((x if self.proj is None else self.proj(x)) + self.f(x))
        return y


class AnyStage(nn.Sequential):
    """`depth` blocks, of which the first has the stride."""

    def __init__(
        self,
        width_in: int,
        width_out: int,
        stride: int,
        depth: int,
        block_constructor: Layer,
        norm_layer: Layer,
        activation_layer: Layer,
        group_width: int,
        bottleneck_multiplier: float,
        se_ratio: float | None = None,
        stage_index: int = 0,
    ) -> None:
        layers = norm_layer, activation_layer
        kind = group_width, bottleneck_multiplier, se_ratio
        blocks = {}
        for i in range(depth):
            sizes = width_out if i else width_in, width_out, 1 if i else stride
            blocks[f"block{stage_index}-{i}"] = block_constructor(*sizes, *layers, *kind)
        super().__init__(blocks)


class BlockParams:
    """The stages of a network: depths, widths, widths of the groups, bottlenecks, strides.

    `from_init_params` makes them of the four numbers of section 3.3.
    """

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int],
        group_widths: Sequence[int],
        bottleneck_multipliers: Sequence[float],
        strides: Sequence[int],
        se_ratio: float | None = None,
    ) -> None:
        self.depths, self.widths, self.group_widths = depths, widths, group_widths
        self.bottleneck_multipliers, self.strides = bottleneck_multipliers, strides
        self.se_ratio = se_ratio

    @classmethod
    def from_init_params(
        cls,
        depth: int,
        w_0: int,
        w_a: float,
        w_m: float,
        group_width: int,
        bottleneck_multiplier: float = 1.0,
        se_ratio: float | None = None,
    ) -> "BlockParams":
        """Widths that grow as a line, w₀ + w_a · j for block j, and are rounded to powers of w_m.

        u_j = w₀ + w_a j;  s_j = round(log(u_j / w₀) / log w_m);  w_j = w₀ w_m^s_j, to multiples of
        8 (equations 2 to 4). Blocks of one width are a stage; its width becomes a multiple of that
        of the groups.

        Raises ValueError for numbers that give no such widths.
        """
        if w_a < 0 or w_0 <= 0 or w_m <= 1 or w_0 % 8:
            raise ValueError(
                "RegNet: w_a is 0 or more, w_0 a multiple of 8 above 0, and w_m above 1; got "
                f"w_a={w_a}, w_0={w_0} and w_m={w_m}."
            )
        line = (w_0 + w_a * j for j in range(depth))
        powers = (round(math.log(u / w_0) / math.log(w_m)) for u in line)
        steps = [8 * round(w_0 * w_m**s / 8) for s in powers]
        stages = {width: len([*blocks]) for width, blocks in groupby(steps)}
        inner = [int(width * bottleneck_multiplier) for width in stages]
        groups = [min(group_width, width) for width in inner]
        inner = [make_divisible(w, g) for w, g in zip(inner, groups, strict=True)]
        count = len(stages)
        return cls(
            depths=[*stages.values()],
            widths=[int(width / bottleneck_multiplier) for width in inner],
            group_widths=groups,
            bottleneck_multipliers=[bottleneck_multiplier] * count,
            strides=[2] * count,
            se_ratio=se_ratio,
        )

    def _get_expanded_params(self) -> Iterator[tuple[int, int, int, int, float]]:
        """Of each stage width, stride, depth, width of the groups, bottleneck."""
        lists = self.widths, self.strides, self.depths, self.group_widths
        return zip(*lists, self.bottleneck_multipliers, strict=True)


class RegNet(nn.Module):
    """A stem, stages of blocks, the mean, a linear layer: (N, 3, H, W) -> scores (N, num_classes).

    `block_params` are the stages, the first of which gets `stem_width` channels. `stem_type` makes
    a stem of (3, stem_width, norm_layer, activation), `block_type` a block of the arguments of
    `ResBottleneckBlock`, `norm_layer` a normalization of a number of channels. With an `se_ratio`
    of `block_params` it is a network Y, else X (section 3.4).

    At first the weights of convolutions are normal with variance 2 / (kh kw out_channels), those of
    the linear layer with a standard deviation of 0.01, drawn from `generator` or from the one that
    `manual_seed` seeds.
    """

    def __init__(
        self,
        block_params: BlockParams,
        num_classes: int = 1000,
        stem_width: int = 32,
        stem_type: Layer | None = None,
        block_type: Layer | None = None,
        norm_layer: Layer | None = None,
        activation: Layer | None = None,
        *,
        generator: Any = None,
    ) -> None:
        stem = seeded(SimpleStemIN if stem_type is None else stem_type, generator)
        block = seeded(ResBottleneckBlock if block_type is None else block_type, generator)
        norm = nn.BatchNorm2d if norm_layer is None else norm_layer
        act = nn.ReLU if activation is None else activation
        self.stem = stem(3, stem_width, norm, act)
        stages: dict[str, nn.Module] = {}
        width_in = stem_width
        for i, (width, stride, depth, *kind) in enumerate(block_params._get_expanded_params(), 1):
            group_width, bottleneck = kind
            stages[f"block{i}"] = AnyStage(
                width_in,
                width,
                stride,
                depth,
                block,
                norm,
                act,
                int(group_width),
                bottleneck,
                block_params.se_ratio,
                i,
            )
            width_in = width
        self.trunk_output = nn.Sequential(stages)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(width_in, num_classes, generator=generator)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan = math.prod(module.kernel_size) * module.out_channels
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan), generator=generator)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01, generator=generator)
                zero_bias(module)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.trunk_output(self.stem(x))).flatten(1)
        scores: Tensor = self.fc(x)
        return scores


def _regnet(*numbers: Any, se_ratio: float | None = None, config: dict[str, Any]) -> RegNet:
    """The network of (depth, w_0, w_a, w_m, group_width)."""
    depth, w_0, w_a, w_m, group_width = numbers
    stages = BlockParams.from_init_params(depth, w_0, w_a, w_m, group_width, se_ratio=se_ratio)
    return RegNet(stages, **config)


class RegNet_Y_400MF_Weights(WeightsEnum):
    """Weights of `regnet_y_400mf`."""

    IMAGENET1K_V1 = Weights("regnet_y_400mf-c65dace8.pth", 4_344_144)
    IMAGENET1K_V2 = Weights("regnet_y_400mf-e6988f5f.pth", 4_344_144, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_Y_800MF_Weights(WeightsEnum):
    """Weights of `regnet_y_800mf`."""

    IMAGENET1K_V1 = Weights("regnet_y_800mf-1b27b58c.pth", 6_432_512)
    IMAGENET1K_V2 = Weights("regnet_y_800mf-58fc7688.pth", 6_432_512, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_Y_1_6GF_Weights(WeightsEnum):
    """Weights of `regnet_y_1_6gf`."""

    IMAGENET1K_V1 = Weights("regnet_y_1_6gf-b11a554e.pth", 11_202_430)
    IMAGENET1K_V2 = Weights("regnet_y_1_6gf-0d7bc02a.pth", 11_202_430, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_Y_3_2GF_Weights(WeightsEnum):
    """Weights of `regnet_y_3_2gf`."""

    IMAGENET1K_V1 = Weights("regnet_y_3_2gf-b5a9779c.pth", 19_436_338)
    IMAGENET1K_V2 = Weights("regnet_y_3_2gf-9180c971.pth", 19_436_338, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_Y_8GF_Weights(WeightsEnum):
    """Weights of `regnet_y_8gf`."""

    IMAGENET1K_V1 = Weights("regnet_y_8gf-d0d0e4a8.pth", 39_381_472)
    IMAGENET1K_V2 = Weights("regnet_y_8gf-dc2b1b54.pth", 39_381_472, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_Y_16GF_Weights(WeightsEnum):
    """Weights of `regnet_y_16gf`."""

    IMAGENET1K_V1 = Weights("regnet_y_16gf-9e6ed7dd.pth", 83_590_140)
    IMAGENET1K_V2 = Weights("regnet_y_16gf-3e4a00f9.pth", 83_590_140, resize_size=232)
    IMAGENET1K_SWAG_E2E_V1 = Weights(
        "regnet_y_16gf_swag-43afe44d.pth",
        83_590_140,
        crop_size=384,
        resize_size=384,
        interpolation="bicubic",
    )
    IMAGENET1K_SWAG_LINEAR_V1 = Weights(
        "regnet_y_16gf_lc_swag-f3ec0043.pth", 83_590_140, resize_size=224, interpolation="bicubic"
    )
    DEFAULT = IMAGENET1K_V2


class RegNet_Y_32GF_Weights(WeightsEnum):
    """Weights of `regnet_y_32gf`."""

    IMAGENET1K_V1 = Weights("regnet_y_32gf-4dee3f7a.pth", 145_046_770)
    IMAGENET1K_V2 = Weights("regnet_y_32gf-8db6d4b5.pth", 145_046_770, resize_size=232)
    IMAGENET1K_SWAG_E2E_V1 = Weights(
        "regnet_y_32gf_swag-04fdfa75.pth",
        145_046_770,
        crop_size=384,
        resize_size=384,
        interpolation="bicubic",
    )
    IMAGENET1K_SWAG_LINEAR_V1 = Weights(
        "regnet_y_32gf_lc_swag-e1583746.pth", 145_046_770, resize_size=224, interpolation="bicubic"
    )
    DEFAULT = IMAGENET1K_V2


class RegNet_Y_128GF_Weights(WeightsEnum):
    """Weights of `regnet_y_128gf`."""

    IMAGENET1K_SWAG_E2E_V1 = Weights(
        "regnet_y_128gf_swag-c8ce3e52.pth",
        644_812_894,
        crop_size=384,
        resize_size=384,
        interpolation="bicubic",
    )
    IMAGENET1K_SWAG_LINEAR_V1 = Weights(
        "regnet_y_128gf_lc_swag-cbe8ce12.pth", 644_812_894, resize_size=224, interpolation="bicubic"
    )
    DEFAULT = IMAGENET1K_SWAG_E2E_V1


class RegNet_X_400MF_Weights(WeightsEnum):
    """Weights of `regnet_x_400mf`."""

    IMAGENET1K_V1 = Weights("regnet_x_400mf-adf1edd5.pth", 5_495_976)
    IMAGENET1K_V2 = Weights("regnet_x_400mf-62229a5f.pth", 5_495_976, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_X_800MF_Weights(WeightsEnum):
    """Weights of `regnet_x_800mf`."""

    IMAGENET1K_V1 = Weights("regnet_x_800mf-ad17e45c.pth", 7_259_656)
    IMAGENET1K_V2 = Weights("regnet_x_800mf-94a99ebd.pth", 7_259_656, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_X_1_6GF_Weights(WeightsEnum):
    """Weights of `regnet_x_1_6gf`."""

    IMAGENET1K_V1 = Weights("regnet_x_1_6gf-e3633e7f.pth", 9_190_136)
    IMAGENET1K_V2 = Weights("regnet_x_1_6gf-a12f2b72.pth", 9_190_136, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_X_3_2GF_Weights(WeightsEnum):
    """Weights of `regnet_x_3_2gf`."""

    IMAGENET1K_V1 = Weights("regnet_x_3_2gf-f342aeae.pth", 15_296_552)
    IMAGENET1K_V2 = Weights("regnet_x_3_2gf-7071aa85.pth", 15_296_552, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_X_8GF_Weights(WeightsEnum):
    """Weights of `regnet_x_8gf`."""

    IMAGENET1K_V1 = Weights("regnet_x_8gf-03ceed89.pth", 39_572_648)
    IMAGENET1K_V2 = Weights("regnet_x_8gf-2b70d774.pth", 39_572_648, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_X_16GF_Weights(WeightsEnum):
    """Weights of `regnet_x_16gf`."""

    IMAGENET1K_V1 = Weights("regnet_x_16gf-2007eb11.pth", 54_278_536)
    IMAGENET1K_V2 = Weights("regnet_x_16gf-ba3796d7.pth", 54_278_536, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class RegNet_X_32GF_Weights(WeightsEnum):
    """Weights of `regnet_x_32gf`."""

    IMAGENET1K_V1 = Weights("regnet_x_32gf-9d47f8d0.pth", 107_811_560)
    IMAGENET1K_V2 = Weights("regnet_x_32gf-6eb8fdc6.pth", 107_811_560, resize_size=232)
    DEFAULT = IMAGENET1K_V2


@constructor(RegNet_Y_400MF_Weights)
def regnet_y_400mf(**config: Any) -> RegNet:
    """`RegNet` Y of 400 MFLOP an image: 4,344,144 parameters.

    An operation is a multiplication with an addition here. `config` are the arguments of the class
    without the stages.

    >>> from tinygrad_cv import ones
    >>> from tinygrad_cv.models import regnet_y_400mf
    >>> regnet_y_400mf(num_classes=10)(ones(2, 3, 32, 32)).shape
    (2, 10)
    """
    return _regnet(16, 48, 27.89, 2.09, 8, se_ratio=0.25, config=config)


@constructor(RegNet_Y_800MF_Weights)
def regnet_y_800mf(**config: Any) -> RegNet:
    """`RegNet` Y of 800 MFLOP an image: 6,432,512 parameters; see `regnet_y_400mf`."""
    return _regnet(14, 56, 38.84, 2.4, 16, se_ratio=0.25, config=config)


@constructor(RegNet_Y_1_6GF_Weights)
def regnet_y_1_6gf(**config: Any) -> RegNet:
    """`RegNet` Y of 1.6 GFLOP an image: 11,202,430 parameters; see `regnet_y_400mf`."""
    return _regnet(27, 48, 20.71, 2.65, 24, se_ratio=0.25, config=config)


@constructor(RegNet_Y_3_2GF_Weights)
def regnet_y_3_2gf(**config: Any) -> RegNet:
    """`RegNet` Y of 3.2 GFLOP an image: 19,436,338 parameters; see `regnet_y_400mf`."""
    return _regnet(21, 80, 42.63, 2.66, 24, se_ratio=0.25, config=config)


@constructor(RegNet_Y_8GF_Weights)
def regnet_y_8gf(**config: Any) -> RegNet:
    """`RegNet` Y of 8 GFLOP an image: 39,381,472 parameters; see `regnet_y_400mf`."""
    return _regnet(17, 192, 76.82, 2.19, 56, se_ratio=0.25, config=config)


@constructor(RegNet_Y_16GF_Weights)
def regnet_y_16gf(**config: Any) -> RegNet:
    """`RegNet` Y of 16 GFLOP an image: 83,590,140 parameters; see `regnet_y_400mf`."""
    return _regnet(18, 200, 106.23, 2.48, 112, se_ratio=0.25, config=config)


@constructor(RegNet_Y_32GF_Weights)
def regnet_y_32gf(**config: Any) -> RegNet:
    """`RegNet` Y of 32 GFLOP an image: 145,046,770 parameters; see `regnet_y_400mf`."""
    return _regnet(20, 232, 115.89, 2.53, 232, se_ratio=0.25, config=config)


@constructor(RegNet_Y_128GF_Weights)
def regnet_y_128gf(**config: Any) -> RegNet:
    """`RegNet` Y of 128 GFLOP an image: 644,812,894 parameters; see `regnet_y_400mf`."""
    return _regnet(27, 456, 160.83, 2.52, 264, se_ratio=0.25, config=config)


@constructor(RegNet_X_400MF_Weights)
def regnet_x_400mf(**config: Any) -> RegNet:
    """`RegNet` X of 400 MFLOP an image: 5,495,976 parameters; see `regnet_y_400mf`."""
    return _regnet(22, 24, 24.48, 2.54, 16, config=config)


@constructor(RegNet_X_800MF_Weights)
def regnet_x_800mf(**config: Any) -> RegNet:
    """`RegNet` X of 800 MFLOP an image: 7,259,656 parameters; see `regnet_y_400mf`."""
    return _regnet(16, 56, 35.73, 2.28, 16, config=config)


@constructor(RegNet_X_1_6GF_Weights)
def regnet_x_1_6gf(**config: Any) -> RegNet:
    """`RegNet` X of 1.6 GFLOP an image: 9,190,136 parameters; see `regnet_y_400mf`."""
    return _regnet(18, 80, 34.01, 2.25, 24, config=config)


@constructor(RegNet_X_3_2GF_Weights)
def regnet_x_3_2gf(**config: Any) -> RegNet:
    """`RegNet` X of 3.2 GFLOP an image: 15,296,552 parameters; see `regnet_y_400mf`."""
    return _regnet(25, 88, 26.31, 2.25, 48, config=config)


@constructor(RegNet_X_8GF_Weights)
def regnet_x_8gf(**config: Any) -> RegNet:
    """`RegNet` X of 8 GFLOP an image: 39,572,648 parameters; see `regnet_y_400mf`."""
    return _regnet(23, 80, 49.56, 2.88, 120, config=config)


@constructor(RegNet_X_16GF_Weights)
def regnet_x_16gf(**config: Any) -> RegNet:
    """`RegNet` X of 16 GFLOP an image: 54,278,536 parameters; see `regnet_y_400mf`."""
    return _regnet(22, 216, 55.59, 2.1, 128, config=config)


@constructor(RegNet_X_32GF_Weights)
def regnet_x_32gf(**config: Any) -> RegNet:
    """`RegNet` X of 32 GFLOP an image: 107,811,560 parameters; see `regnet_y_400mf`."""
    return _regnet(23, 320, 69.86, 2.0, 168, config=config)
