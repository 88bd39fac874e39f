"""Random changes of colour. Every image of a batch gets its own."""

from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.data.transforms import functional
from tinygrad_cv.data.transforms.images import numbers_of, pair, sizes, span
from tinygrad_cv.data.transforms.random_geometry import Parameters, between
from tinygrad_cv.data.transforms.transform import (
    Sometimes,
    Transform,
    by_group,
    count,
    is_batch,
)

ADJUSTMENTS = ("brightness", "contrast", "saturation", "hue")


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed by random factors, in a random order.

    One number b stands for the range (max(0, 1 - b), 1 + b), of the hue for (-b, b) within
    [-0.5, 0.5]; 0 and None for none. See `adjust_brightness` and its kin. It draws 8 numbers an
    image: 4 that put the adjustments in order, the least first, and then the 4 factors.

    >>> import tinygrad_cv as tg
    >>> ColorJitter(brightness=(0.5, 0.5))(tg.ones(3, 1, 1)).flatten()
    tensor([0.5, 0.5, 0.5])
    """

    numbers = 8

    def __init__(
        self,
        brightness: Any = 0,
        contrast: Any = 0,
        saturation: Any = 0,
        hue: Any = 0,
        *,
        generator: Any = None,
    ) -> None:
        self.brightness = _about(brightness, "brightness", 1.0, 0.0, host.inf)
        self.contrast = _about(contrast, "contrast", 1.0, 0.0, host.inf)
        self.saturation = _about(saturation, "saturation", 1.0, 0.0, host.inf)
        self.hue = _about(hue, "hue", 0.0, -0.5, 0.5)
        self.generator = generator

    def parameters(self, u: host.ndarray, channels: int, height: int, width: int) -> Parameters:
        made = {"order": u[:, :4].argsort(axis=1, kind="stable")}
        for name, number in zip(ADJUSTMENTS, u[:, 4:].T, strict=True):
            limits = getattr(self, name)
            if limits is not None:
                made[name] = between(number, limits)
        return made

    def change(self, image: Any, **parameters: Any) -> Any:
        order = host.atleast_2d(parameters["order"])

        def adjusted(k: int, images: Any, chosen: host.ndarray) -> Any:
            name = ADJUSTMENTS[k]
            if name not in parameters:
                return images
            factor = parameters[name]
            adjust = getattr(functional, f"adjust_{name}")
            return adjust(images, factor[chosen] if host.ndim(factor) else factor)

        for which in order.T:
            image = by_group(image, which, adjusted)
        return image


def _about(value: Any, name: str, centre: float, low: float, high: float) -> Any:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= high:
            limit = " or more" if high == host.inf else f" to {high}"
            raise ValueError(f"{name} as one number is 0{limit}; got {value}.")
        value = (max(low, centre - value), centre + value)
    limits = span(value, name, low, high)
    return None if limits == (centre, centre) else limits


class RandomGrayscale(Sometimes):
    """With the probability `p` grey, in as many channels as before.

    It draws 1 number an image.

    >>> import tinygrad_cv as tg
    >>> RandomGrayscale(p=1)(tg.tensor([[[1.0]], [[1.0]], [[0.0]]])).flatten()
    tensor([0.8859, 0.8859, 0.8859])
    """

    def __init__(self, p: float = 0.1, *, generator: Any = None) -> None:
        super().__init__(p, generator=generator)

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.rgb_to_grayscale(image, sizes(image, "RandomGrayscale")[0])


class RandomInvert(Sometimes):
    """With the probability `p` white - x.

    It draws 1 number an image.

    >>> import tinygrad_cv as tg
    >>> RandomInvert(p=1)(tg.zeros(1, 1, 2))
    tensor([[[1., 1.]]])
    """

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.invert(image)


class RandomPosterize(Sometimes):
    """With the probability `p` only the upper `bits` of each value.

    It draws 1 number an image.

    >>> import tinygrad_cv as tg
    >>> RandomPosterize(1, p=1)(tg.tensor([[[100, 200]]], dtype="uint8"))
    tensor([[[  0, 128]]], dtype=uint8)
    """

    def __init__(self, bits: int, p: float = 0.5, *, generator: Any = None) -> None:
        super().__init__(p, generator=generator)
        if not isinstance(bits, int) or not 0 <= bits <= 8:
            raise ValueError(f"bits is a whole number from 0 to 8; got {bits}.")
        self.bits = bits

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.posterize(image, self.bits)


class RandomSolarize(Sometimes):
    """With the probability `p` white - x where x is the threshold or more.

    It draws 1 number an image.

    >>> import tinygrad_cv as tg
    >>> RandomSolarize(0.5, p=1)(tg.tensor([[[0.25, 0.75]]]))
    tensor([[[0.25, 0.25]]])
    """

    def __init__(self, threshold: float, p: float = 0.5, *, generator: Any = None) -> None:
        super().__init__(p, generator=generator)
        self.threshold = threshold

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.solarize(image, self.threshold)


class RandomAdjustSharpness(Sometimes):
    """With the probability `p` sharper (a factor above 1) or blurred (below 1).

    It draws 1 number an image.

    >>> import tinygrad_cv as tg
    >>> RandomAdjustSharpness(0, p=1)(tg.eye(3)[None])[0, 1]
    tensor([0.    , 0.5385, 0.    ])
    """

    def __init__(self, sharpness_factor: float, p: float = 0.5, *, generator: Any = None) -> None:
        super().__init__(p, generator=generator)
        if not sharpness_factor >= 0:
            raise ValueError(f"sharpness_factor is 0 or more; got {sharpness_factor}.")
        self.sharpness_factor = sharpness_factor

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.adjust_sharpness(image, self.sharpness_factor)


class RandomAutocontrast(Sometimes):
    """With the probability `p` each channel spread from black to white.

    It draws 1 number an image.

    >>> import tinygrad_cv as tg
    >>> RandomAutocontrast(p=1)(tg.tensor([[[0.25, 0.5, 0.75]]]))
    tensor([[[0. , 0.5, 1. ]]])
    """

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.autocontrast(image)


class RandomEqualize(Sometimes):
    """With the probability `p` all levels of a channel about equally frequent.

    It draws 1 number an image.

    >>> import tinygrad_cv as tg
    >>> RandomEqualize(p=1)(tg.zeros(1, 2, 2, dtype="uint8")).sum()
    tensor(0)
    """

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.equalize(image)


class RandomChannelPermutation(Transform):
    """The channels in a random order.

    It draws C numbers an image, which put the channels in order, the least first.

    >>> import tinygrad_cv as tg
    >>> RandomChannelPermutation()(tg.arange(3).reshape(3, 1, 1)).sum()
    tensor(3)
    """

    def __init__(self, *, generator: Any = None) -> None:
        self.generator = generator

    def forward(self, image: Any, generator: Any = None) -> Any:
        channels, _, _ = sizes(image, "RandomChannelPermutation")
        u = self.draws(generator).random((count(image), channels))
        order = u.argsort(axis=1, kind="stable")
        return functional.permute_channels(image, order if is_batch(image) else order[0])


class GaussianBlur(Transform):
    """Blurred by a Gaussian whose deviation is uniform in `sigma`; see `gaussian_blur`.

    It draws 1 number an image.

    >>> import tinygrad_cv as tg
    >>> GaussianBlur(3)(tg.ones(1, 4, 4)).shape
    (1, 4, 4)
    """

    numbers = 1

    def __init__(self, kernel_size: Any, sigma: Any = (0.1, 2.0), *, generator: Any = None) -> None:
        self.kernel_size = pair(kernel_size, "kernel_size")
        if any(k % 2 == 0 for k in self.kernel_size):
            raise ValueError(f"kernel_size is odd; got {kernel_size}.")
        values = numbers_of(sigma, "sigma")
        self.sigma = span((values[0], values[-1]), "sigma", 0)
        if self.sigma[0] == 0:
            raise ValueError(f"sigma is above 0; got {sigma}.")
        self.generator = generator

    def parameters(self, u: host.ndarray, channels: int, height: int, width: int) -> Parameters:
        return {"sigma": between(u[:, 0], self.sigma)}

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.gaussian_blur(image, self.kernel_size, parameters["sigma"])


class GaussianNoise(Transform):
    """x + mean + sigma · ε, ε normal; within [0, 1] if `clip`. See `gaussian_noise`.

    It draws C·H·W normal numbers an image.

    >>> import tinygrad_cv as tg
    >>> GaussianNoise(mean=2.0, sigma=0.0)(tg.zeros(1, 1, 2))
    tensor([[[1., 1.]]])
    """

    def __init__(
        self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True, *, generator: Any = None
    ) -> None:
        if not sigma >= 0:
            raise ValueError(f"sigma is 0 or more; got {sigma}.")
        self.mean, self.sigma, self.clip = float(mean), float(sigma), clip
        self.generator = generator

    def forward(self, image: Any, generator: Any = None) -> Any:
        return functional.gaussian_noise(
            image, self.mean, self.sigma, self.clip, self.draws(generator)
        )
