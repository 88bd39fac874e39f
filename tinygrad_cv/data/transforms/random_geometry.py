"""Random crops, flips, turns and holes. Every image of a batch gets its own."""

import math
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.data.transforms import functional
from tinygrad_cv.data.transforms.geometry import margins, padding_kind, resized_to
from tinygrad_cv.data.transforms.images import (
    InterpolationMode,
    interpolation_mode,
    is_pillow,
    numbers_of,
    on_pixels,
    opened,
    pair,
    sizes,
    span,
)
from tinygrad_cv.data.transforms.transform import (
    Sometimes,
    Transform,
    count,
    is_batch,
)

TRIES = 10
"""How often a window of a random area is drawn until it fits."""

Parameters = dict[str, host.ndarray]


def whole(u: host.ndarray, values: Any) -> Any:
    """Uniform numbers in [0, 1) as one of 0, 1, ..., values - 1 each."""
    return host.minimum((u * values).astype("int64"), host.maximum(values, 1) - 1)


def between(u: host.ndarray, limits: tuple[float, float]) -> host.ndarray:
    """Uniform numbers in [0, 1) as uniform ones within limits."""
    return limits[0] + u * (limits[1] - limits[0])


class RandomHorizontalFlip(Sometimes):
    """Mirrored left to right with the probability `p`.

    It draws 1 number an image.

    >>> import tinygrad_cv as tg
    >>> RandomHorizontalFlip(p=1)(tg.tensor([[[1, 2, 3]]]))
    tensor([[[3, 2, 1]]])
    """

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.horizontal_flip(image)


class RandomVerticalFlip(Sometimes):
    """Turned upside down with the probability `p`.

    It draws 1 number an image.

    >>> import tinygrad_cv as tg
    >>> RandomVerticalFlip(p=1)(tg.tensor([[[1], [2]]])).flatten()
    tensor([2, 1])
    """

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.vertical_flip(image)


class RandomCrop(Transform):
    """A window of `size` at a random place: (.., H, W) -> (.., *size).

    `padding`, `fill` and `padding_mode` pad the image before, as `pad` does, and `pad_if_needed`
    one that is smaller than the window. All places that the window fits in are equally likely. It
    draws 2 numbers an image: for the row and for the column of the upper left corner.

    Raises ValueError if the image is smaller than the window.

    >>> import tinygrad_cv as tg
    >>> generator = tg.manual_seed(0)
    >>> RandomCrop(2)(tg.arange(9).reshape(1, 3, 3))
    tensor([[[3, 4],
             [6, 7]]])
    """

    numbers = 2

    def __init__(
        self,
        size: Any,
        padding: Any = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
        *,
        generator: Any = None,
    ) -> None:
        self.size = pair(size, "size")
        if padding is not None:
            margins(padding)  # says what is wrong with them
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = padding_kind(padding_mode)
        self.generator = generator

    def forward(self, image: Any, generator: Any = None) -> Any:
        if self.padding is not None:
            image = functional.pad(image, self.padding, self.fill, self.padding_mode)
        if self.pad_if_needed:
            _, height, width = sizes(image, "RandomCrop")
            missing = max(self.size[1] - width, 0), max(self.size[0] - height, 0)
            if any(missing):
                image = functional.pad(image, missing, self.fill, self.padding_mode)
        return super().forward(image, generator)

    def parameters(self, u: host.ndarray, channels: int, height: int, width: int) -> Parameters:
        h, w = self.size
        if h > height or w > width:
            raise ValueError(
                f"RandomCrop: the window {self.size} is larger than the image (C, H, W) = "
                f"{(channels, height, width)}; give padding, or pad_if_needed=True."
            )
        return {"top": whole(u[:, 0], height - h + 1), "left": whole(u[:, 1], width - w + 1)}

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.crop(image, parameters["top"], parameters["left"], *self.size)

    @staticmethod
    def get_params(img: Any, output_size: Any) -> tuple[int, int, int, int]:
        """Top, left, height and width of a random window, for a crop of several images alike.

        >>> import tinygrad_cv as tg
        >>> RandomCrop.get_params(tg.zeros(1, 4, 4), (4, 4))
        (0, 0, 4, 4)
        """
        crop = RandomCrop(output_size)
        u = crop.draws(None).random((1, crop.numbers))
        made = crop.parameters(u, *sizes(img, "RandomCrop"))
        return int(made["top"][0]), int(made["left"][0]), *crop.size


def windows(
    u: host.ndarray,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[host.ndarray, ...]:
    """The sides (N, TRIES) of random windows, their quotient the ratio.

    The area is uniform between the parts `scale` of the image, the logarithm of the ratio uniform.
    """
    shares, ratios = u[:, :TRIES], u[:, TRIES : 2 * TRIES]
    area = height * width * between(shares, scale)
    aspect = host.exp(between(ratios, (math.log(ratio[0]), math.log(ratio[1]))))
    return tuple(host.rint(host.sqrt(v)).astype("int64") for v in (area * aspect, area / aspect))


class RandomResizedCrop(Transform):
    """A window of random area and ratio at a random place, resized to `size`.

    Szegedy et al., 2015, "Going deeper with convolutions". The area is a part of the image's within
    `scale`, the ratio of width to height within `ratio`, its logarithm uniform. What does not fit
    is drawn again, up to 10 times; then it is the largest window in the middle with a ratio within
    the limits. It draws 22 numbers an image: 10 areas, 10 ratios, the row and the column.

    >>> import tinygrad_cv as tg
    >>> RandomResizedCrop(4)(tg.zeros(3, 8, 9)).shape
    (3, 4, 4)
    """

    numbers = 2 * TRIES + 2

    def __init__(
        self,
        size: Any,
        scale: Any = (0.08, 1.0),
        ratio: Any = (3 / 4, 4 / 3),
        interpolation: Any = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
        *,
        generator: Any = None,
    ) -> None:
        self.size = pair(size, "size")
        self.scale = span(scale, "scale", 0)
        self.ratio = _ratio(ratio)
        self.interpolation = interpolation_mode(interpolation)
        self.antialias = antialias
        self.generator = generator

    def parameters(self, u: host.ndarray, channels: int, height: int, width: int) -> Parameters:
        across, down = windows(u, height, width, self.scale, self.ratio)
        fits = (across > 0) & (across <= width) & (down > 0) & (down <= height)
        rows, which = host.arange(len(u)), fits.argmax(axis=1)
        w, h = across[rows, which], down[rows, which]
        some = fits.any(axis=1)
        narrow, wide = self.ratio
        largest = height, width
        if width < narrow * height:
            largest = max(round(width / narrow), 1), width
        elif width > wide * height:
            largest = height, max(round(height * wide), 1)
        h, w = host.where(some, h, largest[0]), host.where(some, w, largest[1])
        top, left = whole(u[:, -2], height - h + 1), whole(u[:, -1], width - w + 1)
        return {
            "top": host.where(some, top, (height - h) // 2),
            "left": host.where(some, left, (width - w) // 2),
            "height": h,
            "width": w,
        }

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.resized_crop(
            image,
            **parameters,
            size=self.size,
            interpolation=self.interpolation,
            antialias=self.antialias,
        )

    @staticmethod
    def get_params(img: Any, scale: Any, ratio: Any) -> tuple[int, int, int, int]:
        """Top, left, height and width of a random window, for a crop of several images alike.

        >>> import tinygrad_cv as tg
        >>> RandomResizedCrop.get_params(tg.zeros(1, 4, 4), (1.0, 1.0), (1.0, 1.0))
        (0, 0, 4, 4)
        """
        crop = RandomResizedCrop(1, tuple(scale), tuple(ratio))
        u = crop.draws(None).random((1, crop.numbers))
        made = crop.parameters(u, *sizes(img, "RandomResizedCrop"))
        top, left, height, width = (int(made[n][0]) for n in ("top", "left", "height", "width"))
        return top, left, height, width


def _ratio(ratio: Any, name: str = "ratio") -> tuple[float, float]:
    low, high = span(ratio, name, 0)
    if low == 0:
        raise ValueError(f"{name} is a range of numbers above 0; got {ratio}.")
    return low, high


class RandomErasing(Sometimes):
    """With the probability `p` a random window becomes `value`.

    Zhong et al., 2017, "Random erasing data augmentation"; see also `Cutout`. The area is a part of
    the image's within `scale`, the ratio of height to width within `ratio`; a window that is not
    smaller than the image is drawn again, up to 10 times, and then none. `value` is a number, one
    for each channel, or "random": normal numbers.
    It draws 24 numbers an image: whether, 10 areas, 10 ratios, the row, the column, and the seed of
    the normal numbers.

    >>> import tinygrad_cv as tg
    >>> generator = tg.manual_seed(0)
    >>> RandomErasing(p=1, scale=(0.3, 0.3), ratio=(1, 1))(tg.ones(1, 4, 4)).sum()
    tensor(12.)
    """

    numbers = 1 + 2 * TRIES + 3

    def __init__(
        self,
        p: float = 0.5,
        scale: Any = (0.02, 0.33),
        ratio: Any = (0.3, 3.3),
        value: Any = 0.0,
        inplace: bool = False,
        *,
        generator: Any = None,
    ) -> None:
        super().__init__(p, generator=generator)
        self.scale = span(scale, "scale", 0, 1)
        self.ratio = _ratio(ratio)
        if isinstance(value, str) and value != "random":
            raise ValueError(f'value is a number, one for each channel, or "random"; got {value!r}')
        self.value = value if isinstance(value, str | float | int) else numbers_of(value, "value")
        self.inplace = inplace

    def parameters(self, u: host.ndarray, channels: int, height: int, width: int) -> Parameters:
        down, across = windows(u, height, width, self.scale, self.ratio)
        fits = (down < height) & (across < width)
        rows, which = host.arange(len(u)), fits.argmax(axis=1)
        some = fits.any(axis=1)
        h, w = host.where(some, down[rows, which], 0), host.where(some, across[rows, which], 0)
        top, left = whole(u[:, -3], height - h + 1), whole(u[:, -2], width - w + 1)
        made = {"i": top, "j": left, "h": h, "w": w}
        return made | {"seed": whole(u[:, -1], 2**53)} if self.value == "random" else made

    def change(self, image: Any, **parameters: Any) -> Any:
        if "seed" not in parameters:
            value = host.asarray(self.value, float)
            return functional.erase(image, **parameters, v=value, inplace=self.inplace)
        if is_pillow(image):
            return on_pixels(lambda x: self.change(x, **parameters), image)
        x, back = opened(image, "RandomErasing")
        y = x.copy()
        spots = [host.broadcast_to(value, len(x)).tolist() for value in parameters.values()]
        for each, i, j, h, w, seed in zip(y, *spots, strict=True):
            noise = host.random.default_rng(seed).standard_normal((len(each), h, w))
            functional.erase(each, i, j, h, w, noise, inplace=True)
        return back(y)


class Cutout(Sometimes):
    """A square of the side `size` becomes `value`, and may be cut by the border.

    DeVries & Taylor, 2017, "Improved regularization of convolutional neural networks with cutout".
    Its middle is a pixel of the image, each with the same probability; what lies outside of the
    image is cut, so that near the border less than size² pixels are lost. The square covers the
    rows i - ⌊size/2⌋ to i - ⌊size/2⌋ + size - 1 about a middle i, and columns likewise. For
    normalized images the value 0 is their mean; `value` is a number, or one for each channel.
    CIFAR-10 takes 16 of 32 pixels. With the probability `p`, by default always. It draws 3 numbers
    an image: whether, the row and the column.

    >>> import tinygrad_cv as tg
    >>> generator = tg.manual_seed(3)
    >>> Cutout(3)(tg.ones(1, 4, 4))
    tensor([[[1., 1., 0., 0.],
             [1., 1., 0., 0.],
             [1., 1., 1., 1.],
             [1., 1., 1., 1.]]])
    """

    numbers = 3

    def __init__(
        self, size: int, value: Any = 0.0, p: float = 1.0, *, generator: Any = None
    ) -> None:
        super().__init__(p, generator=generator)
        if not isinstance(size, int | host.integer) or isinstance(size, bool) or size < 1:
            raise ValueError(f"size is the side of the square in pixels, 1 or more; got {size!r}.")
        self.size = int(size)
        self.value = value if isinstance(value, float | int) else numbers_of(value, "value")

    def parameters(self, u: host.ndarray, channels: int, height: int, width: int) -> Parameters:
        made: Parameters = {}
        for name, length, number, extent in (
            ("i", "h", u[:, 0], height),
            ("j", "w", u[:, 1], width),
        ):
            start = whole(number, extent) - self.size // 2
            first, end = host.maximum(start, 0), host.minimum(start + self.size, extent)
            made |= {name: first, length: end - first}
        return made

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.erase(image, **parameters, v=host.asarray(self.value, float))


class RandomRotation(Transform):
    """Turned by a random angle, uniform in `degrees`: a range, or one number for (-d, d).

    See `rotate` for the rest. With `expand` the images come alone, since their sizes differ. It
    draws 1 number an image.

    >>> import tinygrad_cv as tg
    >>> RandomRotation((90, 90))(tg.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    tensor([[[2., 4.],
             [1., 3.]]])
    """

    numbers = 1

    def __init__(
        self,
        degrees: Any,
        interpolation: Any = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Any = None,
        fill: Any = 0,
        *,
        generator: Any = None,
    ) -> None:
        self.degrees = _about_0(degrees, "degrees")
        self.interpolation = interpolation_mode(interpolation)
        self.expand = expand
        self.center = _point(center)
        self.fill = fill
        self.generator = generator

    def parameters(self, u: host.ndarray, channels: int, height: int, width: int) -> Parameters:
        return {"angle": between(u[:, 0], self.degrees)}

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.rotate(
            image, parameters["angle"], self.interpolation, self.expand, self.center, self.fill
        )

    @staticmethod
    def get_params(degrees: Any) -> float:
        """A random angle, for several images that are turned alike.

        >>> RandomRotation.get_params((5, 5))
        5.0
        """
        rotation = RandomRotation(tuple(degrees))
        return float(between(rotation.draws(None).random(1), rotation.degrees)[0])


def _about_0(value: Any, name: str) -> tuple[float, float]:
    """A range, of one number that about 0."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} as one number is 0 or more; got {value}.")
        return -float(value), float(value)
    low, high = span(value, name)
    return low, high


def _point(center: Any) -> tuple[float, float] | None:
    if center is None:
        return None
    numbers = numbers_of(center, "center")
    if len(numbers) != 2:
        raise ValueError(f"center is a place (x, y); got {center}.")
    return numbers[0], numbers[1]


class RandomAffine(Transform):
    """A random rotation, translation, scale and shear; see `affine`.

    Uniform are the angle in `degrees` (a range, or one number for (-d, d)); the translation, in
    whole pixels, up to the parts `translate` = (of the width, of the height); the factor in
    `scale`; the angles of shear in `shear`: one number or a range along x, or two ranges in one
    tuple for x and y. It draws 6 numbers an image, in this order.

    >>> import tinygrad_cv as tg
    >>> RandomAffine(0)(tg.tensor([[[1.0, 2.0]]]))
    tensor([[[1., 2.]]])
    """

    numbers = 6

    def __init__(
        self,
        degrees: Any,
        translate: Any = None,
        scale: Any = None,
        shear: Any = None,
        interpolation: Any = InterpolationMode.NEAREST,
        fill: Any = 0,
        center: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        self.degrees = _about_0(degrees, "degrees")
        if translate is not None:
            parts = numbers_of(translate, "translate")
            if len(parts) != 2 or not all(0 <= part <= 1 for part in parts):
                raise ValueError(
                    f"translate is two parts, of the width and of the height, in [0, 1]; got "
                    f"{translate}."
                )
            translate = tuple(parts)
        self.translate = translate
        self.scale = None if scale is None else _ratio(scale, "scale")
        if shear is None or (isinstance(shear, list | tuple) and len(shear) == 4):
            self.shear = shear and (*span(shear[:2], "shear"), *span(shear[2:], "shear"))
        else:
            self.shear = (*_about_0(shear, "shear"), 0.0, 0.0)
        self.interpolation = interpolation_mode(interpolation)
        self.fill = fill
        self.center = _point(center)
        self.generator = generator

    def parameters(self, u: host.ndarray, channels: int, height: int, width: int) -> Parameters:
        reach = host.array(self.translate or (0.0, 0.0)) * (width, height)
        shear = self.shear or (0.0,) * 4
        return {
            "angle": between(u[:, 0], self.degrees),
            "translate": host.rint((2 * u[:, 1:3] - 1) * reach),
            "scale": between(u[:, 3], self.scale or (1.0, 1.0)),
            "shear": host.stack([between(u[:, 4], shear[:2]), between(u[:, 5], shear[2:])], axis=1),
        }

    def change(self, image: Any, **parameters: Any) -> Any:
        return functional.affine(
            image,
            **parameters,
            interpolation=self.interpolation,
            fill=self.fill,
            center=self.center,
        )


class RandomPerspective(Sometimes):
    """With the probability `p` each corner moves inwards at random; see `perspective`.

    Along each axis it moves by a whole number of pixels, uniform up to `distortion_scale` times
    half of the image. It draws 9 numbers an image: whether, then x and y of the corners, clockwise
    from the upper left.

    >>> import tinygrad_cv as tg
    >>> RandomPerspective(p=1)(tg.zeros(3, 8, 8)).shape
    (3, 8, 8)
    """

    numbers = 9

    def __init__(
        self,
        distortion_scale: float = 0.5,
        p: float = 0.5,
        interpolation: Any = InterpolationMode.BILINEAR,
        fill: Any = 0,
        *,
        generator: Any = None,
    ) -> None:
        super().__init__(p, generator=generator)
        if not 0 <= distortion_scale <= 1:
            raise ValueError(f"distortion_scale is in [0, 1]; got {distortion_scale}.")
        self.distortion_scale = float(distortion_scale)
        self.interpolation = interpolation_mode(interpolation)
        self.fill = fill

    def parameters(self, u: host.ndarray, channels: int, height: int, width: int) -> Parameters:
        reach = host.array([width // 2, height // 2]) * self.distortion_scale
        moved = whole(u.reshape(-1, 4, 2), reach.astype("int64") + 1)
        inwards = host.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
        return {"endpoints": _corners(height, width) + inwards * moved}

    def change(self, image: Any, **parameters: Any) -> Any:
        _, height, width = sizes(image, "RandomPerspective")
        return functional.perspective(
            image,
            _corners(height, width),
            parameters["endpoints"],
            self.interpolation,
            self.fill,
        )


def _corners(height: int, width: int) -> host.ndarray:
    right, bottom = width - 1, height - 1
    return host.array([[0, 0], [right, 0], [right, bottom], [0, bottom]])


class ElasticTransform(Transform):
    """Each pixel moves at random, as its neighbours do: noise blurred by `sigma`, times `alpha`.

    The noise is uniform on [-1, 1], and a move of 1 after the blur is `alpha` pixels; both may be
    two numbers, along x and y. It draws 2·H·W numbers an image: all moves along x, then y.

    >>> import tinygrad_cv as tg
    >>> ElasticTransform(alpha=5.0, sigma=1.0)(tg.zeros(1, 16, 16)).shape
    (1, 16, 16)
    """

    def __init__(
        self,
        alpha: Any = 50.0,
        sigma: Any = 5.0,
        interpolation: Any = InterpolationMode.BILINEAR,
        fill: Any = 0,
        *,
        generator: Any = None,
    ) -> None:
        self.alpha, self.sigma = _two(alpha, "alpha"), _two(sigma, "sigma")
        if min(self.sigma) < 0:
            raise ValueError(f"sigma is 0 or more; got {sigma}.")
        self.interpolation = interpolation_mode(interpolation)
        self.fill = fill
        self.generator = generator

    def forward(self, image: Any, generator: Any = None) -> Any:
        _, height, width = sizes(image, "ElasticTransform")
        u = self.draws(generator).random((count(image), 2, 1, height, width)) * 2 - 1
        moves = []
        for axis, length in enumerate((width, height)):
            move, sigma = u[:, axis], self.sigma[axis]
            if sigma > 0:
                kernel = int(8 * sigma + 1) | 1
                move = functional.gaussian_blur(move, kernel, sigma)
            moves.append(move[:, 0] * (self.alpha[axis] / length))
        displacement = host.stack(moves, axis=-1)
        return functional.elastic(image, displacement, self.interpolation, self.fill)


def _two(value: Any, name: str) -> tuple[float, float]:
    numbers = numbers_of(value, name)
    if len(numbers) not in (1, 2):
        raise ValueError(f"{name} is one number, or two, along x and y; got {value}.")
    return numbers[0], numbers[-1]


class RandomZoomOut(Sometimes):
    """With the probability `p` the image in a larger one that is `fill` elsewhere.

    The sides grow by a factor uniform in `side_range`, and the place is uniform. For images that
    come alone: those of a batch would get different sizes. It draws 4 numbers: whether, the
    factor, and the place, from the left and from the top.

    >>> import tinygrad_cv as tg
    >>> RandomZoomOut(side_range=(2, 2), p=1)(tg.ones(1, 3, 4)).shape
    (1, 6, 8)
    """

    numbers = 4

    def __init__(
        self, fill: Any = 0, side_range: Any = (1.0, 4.0), p: float = 0.5, *, generator: Any = None
    ) -> None:
        super().__init__(p, generator=generator)
        self.fill = fill
        self.side_range = span(side_range, "side_range", 1)

    def parameters(self, u: host.ndarray, channels: int, height: int, width: int) -> Parameters:
        factor = between(u[:, 0], self.side_range)
        more = host.stack([factor * width - width, factor * height - height]).astype("int64")
        before = (u[:, 1:].T * more).astype("int64")
        return {"padding": host.concatenate([before, more - before]).T}

    def change(self, image: Any, **parameters: Any) -> Any:
        if is_batch(image):
            raise ValueError("RandomZoomOut takes one image: those of a batch differ in size then.")
        return functional.pad(image, parameters["padding"].tolist(), self.fill)


class _OneSize(Transform):
    """Base of those that resize at random. The images of a batch get one size."""

    numbers = 1

    def forward(self, image: Any, generator: Any = None) -> Any:
        name = type(self).__name__
        _, height, width = sizes(image, name)
        if not height or not width:
            raise ValueError(f"{name}: an image of {height} x {width} has no pixels.")
        u = self.draws(generator).random()
        return functional.resize(
            image,
            self.sized(u, height, width),
            self.interpolation,
            antialias=self.antialias,
        )

    interpolation: InterpolationMode
    antialias: bool | None

    def sized(self, u: float, height: int, width: int) -> tuple[int, int]:
        """The new height and width."""
        raise NotImplementedError


class RandomResize(_OneSize):
    """The shorter side resized to a length from `min_size` to `max_size` - 1, the ratio kept.

    The images of a batch get one size. It draws 1 number.

    >>> import tinygrad_cv as tg
    >>> RandomResize(4, 5)(tg.zeros(1, 8, 10)).shape
    (1, 4, 5)
    """

    def __init__(
        self,
        min_size: int,
        max_size: int,
        interpolation: Any = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
        *,
        generator: Any = None,
    ) -> None:
        if not 0 < min_size < max_size:
            raise ValueError(f"min_size is below max_size; got {min_size} and {max_size}.")
        self.min_size, self.max_size = min_size, max_size
        self.interpolation = interpolation_mode(interpolation)
        self.antialias = antialias
        self.generator = generator

    def sized(self, u: float, height: int, width: int) -> tuple[int, int]:
        return resized_to(height, width, self.min_size + int(u * (self.max_size - self.min_size)))


class RandomShortestSize(_OneSize):
    """The shorter side resized to one of the lengths `min_size`, the longer to `max_size` at most.

    The images of a batch get one size. It draws 1 number.

    >>> import tinygrad_cv as tg
    >>> RandomShortestSize([4], max_size=5)(tg.zeros(1, 8, 16)).shape
    (1, 2, 5)
    """

    def __init__(
        self,
        min_size: Any,
        max_size: int | None = None,
        interpolation: Any = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
        *,
        generator: Any = None,
    ) -> None:
        lengths = [min_size] if isinstance(min_size, int) else [*min_size]
        self.min_size = [pair(length, "min_size")[0] for length in lengths]
        self.max_size = max_size
        self.interpolation = interpolation_mode(interpolation)
        self.antialias = antialias
        self.generator = generator

    def sized(self, u: float, height: int, width: int) -> tuple[int, int]:
        short = self.min_size[int(u * len(self.min_size))]
        factor = short / min(height, width)
        if self.max_size is not None:
            factor = min(factor, self.max_size / max(height, width))
        return max(int(height * factor), 1), max(int(width * factor), 1)


class ScaleJitter(_OneSize):
    """Resized to fit in `target_size` times a factor uniform in `scale_range`, the ratio kept.

    The images of a batch get one size. It draws 1 number.

    >>> import tinygrad_cv as tg
    >>> ScaleJitter((8, 8), scale_range=(2, 2))(tg.zeros(1, 4, 8)).shape
    (1, 8, 16)
    """

    def __init__(
        self,
        target_size: Any,
        scale_range: Any = (0.1, 2.0),
        interpolation: Any = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
        *,
        generator: Any = None,
    ) -> None:
        self.target_size = pair(target_size, "target_size")
        self.scale_range = _ratio(scale_range, "scale_range")
        self.interpolation = interpolation_mode(interpolation)
        self.antialias = antialias
        self.generator = generator

    def sized(self, u: float, height: int, width: int) -> tuple[int, int]:
        low, high = self.scale_range
        factor = low + u * (high - low)
        factor *= min(self.target_size[0] / height, self.target_size[1] / width)
        return max(int(height * factor), 1), max(int(width * factor), 1)
