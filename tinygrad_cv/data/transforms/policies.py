"""Random choices among changes of images: AutoAugment, RandAugment, TrivialAugmentWide, AugMix.

Every image of a batch has its own choices; those that share one are changed together.
"""

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

from tinygrad_cv.backend import host
from tinygrad_cv.data.transforms import functional
from tinygrad_cv.data.transforms.geometry import in_dtype_of
from tinygrad_cv.data.transforms.images import (
    InterpolationMode,
    bound,
    interpolation_mode,
    is_pillow,
    on_pixels,
    opened,
    sizes,
)
from tinygrad_cv.data.transforms.random_geometry import whole
from tinygrad_cv.data.transforms.transform import Transform, by_group, count, is_batch


class Reach(NamedTuple):
    """How far the changes go at the strength 1; at the strength s the part s of it."""

    shear: float = 0.3
    translate: float = 150 / 331
    """Of the width or height; in pixels if it is more than 1."""
    rotate: float = 30.0
    colour: float = 0.9
    bits: tuple[int, int] = (8, 4)
    """How many are kept at the strengths 0 and 1."""


WIDE = Reach(shear=0.99, translate=32.0, rotate=135.0, colour=0.99, bits=(8, 2))
"""TrivialAugment's wide space."""
MIXED = Reach(translate=1 / 3, bits=(4, 0))
"""AugMix's."""

MOVES = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
COLOURS = ("Brightness", "Color", "Contrast", "Sharpness")
TONES = ("Posterize", "Solarize", "AutoContrast", "Equalize")
SIGNED = (*MOVES, *COLOURS)
ALL = ("Identity", *MOVES, *COLOURS, *TONES)
"""The changes that RandAugment and TrivialAugment choose from."""

PLAIN: dict[str, Callable[[Any], Any]] = {
    "Identity": lambda image: image,
    "AutoContrast": functional.autocontrast,
    "Equalize": functional.equalize,
    "Invert": functional.invert,
}
ADJUST: dict[str, Callable[..., Any]] = {
    "Brightness": functional.adjust_brightness,
    "Color": functional.adjust_saturation,
    "Contrast": functional.adjust_contrast,
    "Sharpness": functional.adjust_sharpness,
}


class _Policy(Transform):
    """Base: what a change of this name and strength is."""

    reach = Reach()
    interpolation: InterpolationMode
    fill: Any

    def changed(
        self, image: Any, names: tuple[str, ...], which: host.ndarray, strength: host.ndarray
    ) -> Any:
        """Image n changed by names[which[n]] with the signed strength[n] in [-1, 1]."""

        def one(k: int, images: Any, chosen: host.ndarray) -> Any:
            return self._change(images, names[k], strength[chosen])

        return by_group(image, which, one)

    def _change(self, image: Any, name: str, strength: host.ndarray) -> Any:
        if name in PLAIN:
            return PLAIN[name](image)
        batch = is_batch(image)
        if name in ADJUST:
            factor = 1 + self.reach.colour * strength
            return ADJUST[name](image, factor if batch else factor.item())
        size = abs(strength)
        if name == "Posterize":
            most, least = self.reach.bits
            bits = host.rint(most + (least - most) * size).astype("int64")
            return functional.posterize(image, bits if batch else bits.item())
        if name == "Solarize":
            white = 255.0 if is_pillow(image) else bound(image.dtype)
            threshold = white - white * size
            return functional.solarize(image, threshold if batch else threshold.item())
        options = {"interpolation": self.interpolation, "fill": self.fill}
        if name == "Rotate":
            angle = self.reach.rotate * strength
            return functional.rotate(image, angle if batch else angle.item(), **options)
        axis = 0 if name.endswith("X") else 1
        along = host.zeros((len(strength), 2))
        still = host.zeros_like(along)
        if name.startswith("Shear"):
            along[:, axis] = host.rad2deg(host.arctan(self.reach.shear * strength))
            return functional.affine(image, 0.0, still, 1.0, along, **options, center=(0, 0))
        _, height, width = sizes(image, type(self).__name__)
        far = self.reach.translate
        far *= (width, height)[axis] if far <= 1 else 1
        along[:, axis] = host.trunc(far * strength)
        return functional.affine(image, 0.0, along, 1.0, still, **options)


def _sign(u: host.ndarray) -> host.ndarray:
    return host.where(u < 0.5, -1.0, 1.0)


def _signed(
    names: tuple[str, ...], which: host.ndarray, strength: host.ndarray, u: host.ndarray
) -> host.ndarray:
    """The strength, negative in half of the cases where the change has two directions."""
    two = host.array([name in SIGNED for name in names])[which]
    return host.where(two, strength * _sign(u), strength)


class AutoAugmentPolicy(Enum):
    """Which images the choices of `AutoAugment` were found on.

    >>> AutoAugmentPolicy("cifar10")
    <AutoAugmentPolicy.CIFAR10: 'cifar10'>
    """

    IMAGENET = "imagenet"
    CIFAR10 = "cifar10"
    SVHN = "svhn"


def _pairs(text: str) -> list[tuple[tuple[str, float, int], ...]]:
    """Pairs of changes: name, probability in tenths and level of each; a level of 0 is none."""
    rows = [row.split() for row in text.strip().splitlines()]
    return [((a, int(p) / 10, int(k)), (b, int(q) / 10, int(m))) for a, p, k, b, q, m in rows]


POLICIES = {
    AutoAugmentPolicy.IMAGENET: _pairs("""
Posterize 4 8 Rotate 6 9
Solarize 6 5 AutoContrast 6 0
Equalize 8 0 Equalize 6 0
Posterize 6 7 Posterize 6 6
Equalize 4 0 Solarize 2 4
Equalize 4 0 Rotate 8 8
Solarize 6 3 Equalize 6 0
Posterize 8 5 Equalize 10 0
Rotate 2 3 Solarize 6 8
Equalize 6 0 Posterize 4 6
Rotate 8 8 Color 4 0
Rotate 4 9 Equalize 6 0
Equalize 0 0 Equalize 8 0
Invert 6 0 Equalize 10 0
Color 6 4 Contrast 10 8
Rotate 8 8 Color 10 2
Color 8 8 Solarize 8 7
Sharpness 4 7 Invert 6 0
ShearX 6 5 Equalize 10 0
Color 4 0 Equalize 6 0
Equalize 4 0 Solarize 2 4
Solarize 6 5 AutoContrast 6 0
Invert 6 0 Equalize 10 0
Color 6 4 Contrast 10 8
Equalize 8 0 Equalize 6 0
    """),
    AutoAugmentPolicy.CIFAR10: _pairs("""
Invert 1 0 Contrast 2 6
Rotate 7 2 TranslateX 3 9
Sharpness 8 1 Sharpness 9 3
ShearY 5 8 TranslateY 7 9
AutoContrast 5 0 Equalize 9 0
ShearY 2 7 Posterize 3 7
Color 4 3 Brightness 6 7
Sharpness 3 9 Brightness 7 9
Equalize 6 0 Equalize 5 0
Contrast 6 7 Sharpness 6 5
Color 7 7 TranslateX 5 8
Equalize 3 0 AutoContrast 4 0
TranslateY 4 3 Sharpness 2 6
Brightness 9 6 Color 2 8
Solarize 5 2 Invert 0 0
Equalize 2 0 AutoContrast 6 0
Equalize 2 0 Equalize 6 0
Color 9 9 Equalize 6 0
AutoContrast 8 0 Solarize 2 8
Brightness 1 3 Color 7 0
Solarize 4 5 AutoContrast 9 0
TranslateY 9 9 TranslateY 7 9
AutoContrast 9 0 Solarize 8 3
Equalize 8 0 Invert 1 0
TranslateY 7 9 AutoContrast 9 0
    """),
    AutoAugmentPolicy.SVHN: _pairs("""
ShearX 9 4 Invert 2 0
ShearY 9 8 Invert 7 0
Equalize 6 0 Solarize 6 6
Invert 9 0 Equalize 6 0
Equalize 6 0 Rotate 9 3
ShearX 9 4 AutoContrast 8 0
ShearY 9 8 Invert 4 0
ShearY 9 5 Solarize 2 6
Invert 9 0 AutoContrast 8 0
Equalize 6 0 Rotate 9 3
ShearX 9 4 Solarize 3 3
ShearY 8 8 Invert 7 0
Equalize 9 0 TranslateY 6 6
Invert 9 0 Equalize 6 0
Contrast 3 3 Rotate 8 4
Invert 8 0 TranslateY 0 2
ShearY 7 6 Solarize 4 8
Invert 6 0 Rotate 8 4
ShearY 3 7 TranslateX 9 3
ShearX 1 6 Invert 6 0
Solarize 7 2 TranslateY 6 7
ShearY 8 4 Invert 8 0
ShearX 7 9 TranslateY 8 3
ShearY 8 5 AutoContrast 7 0
ShearX 7 2 Invert 1 0
    """),
}


class AutoAugment(_Policy):
    """One of 25 pairs of changes that were found for these images, each with its probability.

    Cubuk et al., 2019, "AutoAugment: Learning augmentation policies from data", appendix A. The
    strength of level k is k/9. It draws 5 numbers an image: which pair, whether for both, and the
    direction of both.

    >>> import tinygrad_cv as tg
    >>> AutoAugment(AutoAugmentPolicy.CIFAR10)(tg.zeros(2, 3, 8, 8)).shape
    (2, 3, 8, 8)
    """

    numbers = 5

    def __init__(
        self,
        policy: Any = AutoAugmentPolicy.IMAGENET,
        interpolation: Any = InterpolationMode.NEAREST,
        fill: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        self.policy = AutoAugmentPolicy(policy)
        self.interpolation = interpolation_mode(interpolation)
        self.fill = fill
        self.generator = generator

    def forward(self, image: Any, generator: Any = None) -> Any:
        u = self.draws(generator).random((count(image), self.numbers))
        pairs = POLICIES[self.policy]
        which = whole(u[:, 0], len(pairs))
        names = (*ALL, "Invert")
        for part in range(2):
            places = host.array([names.index(pair[part][0]) for pair in pairs])[which]
            chance = host.array([pair[part][1] for pair in pairs])[which]
            level = host.array([pair[part][2] / 9 for pair in pairs])[which]
            places = host.where(u[:, 1 + part] < chance, places, 0)
            strength = _signed(names, places, level, u[:, 3 + part])
            image = self.changed(image, names, places, strength)
        return image


class RandAugment(_Policy):
    """`num_ops` changes out of 14, one after the other, of the strength magnitude / (bins - 1).

    Cubuk et al., 2020, "RandAugment: Practical automated data augmentation with a reduced search
    space". It draws 2 numbers an image for each: which change, and its direction.

    >>> import tinygrad_cv as tg
    >>> RandAugment()(tg.zeros(2, 3, 8, 8)).shape
    (2, 3, 8, 8)
    """

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        interpolation: Any = InterpolationMode.NEAREST,
        fill: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        if num_ops < 0 or not 0 <= magnitude < num_magnitude_bins:
            raise ValueError(
                "RandAugment takes num_ops that are 0 or more, and a magnitude from 0 to "
                f"num_magnitude_bins - 1; got {num_ops}, {magnitude} and {num_magnitude_bins}."
            )
        self.num_ops = num_ops
        self.magnitude = magnitude
        self.num_magnitude_bins = num_magnitude_bins
        self.interpolation = interpolation_mode(interpolation)
        self.fill = fill
        self.generator = generator

    def forward(self, image: Any, generator: Any = None) -> Any:
        u = self.draws(generator).random((count(image), self.num_ops, 2))
        strength = host.full(len(u), self.magnitude / max(self.num_magnitude_bins - 1, 1))
        for step in range(self.num_ops):
            which = whole(u[:, step, 0], len(ALL))
            signed = _signed(ALL, which, strength, u[:, step, 1])
            image = self.changed(image, ALL, which, signed)
        return image


class TrivialAugmentWide(_Policy):
    """One change out of 14, of a random strength k / (bins - 1), which may be far.

    Müller & Hutter, 2021, "TrivialAugment: Tuning-free yet state-of-the-art data augmentation". It
    draws 3 numbers an image: which change, how strong, and its direction.

    >>> import tinygrad_cv as tg
    >>> TrivialAugmentWide()(tg.zeros(2, 3, 8, 8)).shape
    (2, 3, 8, 8)
    """

    numbers = 3
    reach = WIDE

    def __init__(
        self,
        num_magnitude_bins: int = 31,
        interpolation: Any = InterpolationMode.NEAREST,
        fill: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        if num_magnitude_bins < 2:
            raise ValueError(f"num_magnitude_bins is 2 or more; got {num_magnitude_bins}.")
        self.num_magnitude_bins = num_magnitude_bins
        self.interpolation = interpolation_mode(interpolation)
        self.fill = fill
        self.generator = generator

    def forward(self, image: Any, generator: Any = None) -> Any:
        u = self.draws(generator).random((count(image), self.numbers))
        which = whole(u[:, 0], len(ALL))
        strength = whole(u[:, 1], self.num_magnitude_bins) / (self.num_magnitude_bins - 1)
        return self.changed(image, ALL, which, _signed(ALL, which, strength, u[:, 2]))


class AugMix(_Policy):
    """The image mixed with chains of changes of it.

    Hendrycks et al., 2020, "AugMix: A simple data processing method to improve robustness and
    uncertainty". m · x + (1 - m) · Σ w[i] · chain i of x, over `mixture_width` chains of
    `chain_depth` changes, or of 1 to 3 for -1. w is Dirichlet and m Beta distributed, all their
    parameters `alpha`. The strength is k/9 with k uniform below `severity`. Without `all_ops` no
    change is about brightness, colour, contrast or sharpness. Integers are rounded.

    It draws 10 numbers an image for each chain (its depth, then three times which change, how
    strong, and its direction; with a depth of its own d, 3·d + 1), and the seed of w and m.

    >>> import tinygrad_cv as tg
    >>> AugMix()(tg.zeros(2, 3, 8, 8)).shape
    (2, 3, 8, 8)
    """

    reach = MIXED

    def __init__(
        self,
        severity: int = 3,
        mixture_width: int = 3,
        chain_depth: int = -1,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: Any = InterpolationMode.BILINEAR,
        fill: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        if not 1 <= severity <= 10:
            raise ValueError(f"severity is a whole number from 1 to 10; got {severity}.")
        if mixture_width < 1 or not (chain_depth == -1 or chain_depth > 0) or not alpha > 0:
            raise ValueError(
                "AugMix takes a mixture_width of 1 or more, a chain_depth that is -1 or more than "
                f"0, and an alpha above 0; got {mixture_width}, {chain_depth} and {alpha}."
            )
        self.severity = severity
        self.mixture_width = mixture_width
        self.chain_depth = chain_depth
        self.alpha = alpha
        self.all_ops = all_ops
        self.interpolation = interpolation_mode(interpolation)
        self.fill = fill
        self.generator = generator

    def forward(self, image: Any, generator: Any = None) -> Any:
        deepest = 3 if self.chain_depth < 0 else self.chain_depth
        a_chain = 1 + 3 * deepest
        u = self.draws(generator).random((count(image), self.mixture_width * a_chain + 1))
        chains = u[:, :-1].reshape(len(u), self.mixture_width, a_chain)
        mix = partial(self._mixed, chains=chains, seeds=whole(u[:, -1], 2**53).tolist())
        if is_pillow(image):
            return on_pixels(mix, image)
        x, back = opened(image, "AugMix")
        return back(mix(x))

    def _mixed(self, x: host.ndarray, chains: host.ndarray, seeds: list[int]) -> host.ndarray:
        width, deepest = self.mixture_width, (chains.shape[2] - 1) // 3
        gamma = host.array(
            [host.random.default_rng(s).standard_gamma(self.alpha, width + 2) for s in seeds]
        ).reshape(len(x), width + 2)
        shares = gamma[:, :width] / gamma[:, :width].sum(axis=1, keepdims=True)
        kept = gamma[:, width] / gamma[:, width:].sum(axis=1)
        names = ("Identity", *MOVES, *TONES, *(COLOURS if self.all_ops else ()))
        mixed = kept[:, None, None, None] * x
        for chain in range(width):
            u = chains[:, chain]
            depth = deepest if self.chain_depth > 0 else 1 + whole(u[:, 0], 3)
            y = x
            for step, (which, strong, sign) in enumerate(u[:, 1:].T.reshape(deepest, 3, len(x))):
                places = 1 + whole(which, len(names) - 1)
                places = host.where(step < depth, places, 0)
                strength = whole(strong, self.severity) / 9
                signed = _signed(names, places, strength, sign)
                y = self.changed(y, names, places, signed)
            mixed += ((1 - kept) * shares[:, chain])[:, None, None, None] * y
        return in_dtype_of(mixed, x)
