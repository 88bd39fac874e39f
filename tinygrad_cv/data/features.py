"""Features of images, made by hand: batches in, a matrix of features out.

Before networks learned their features, images were described by the directions of their edges and
by their colours, and a linear classifier did the rest. The lectures set it as an exercise; it is a
good measure of what a ConvNet gains.

Each is a transform as those of `data.transforms` are: of an array or a Tensor, a batch (N, C, H, W)
gives (N, F) and one image (C, H, W) gives (F,), in float32, or in float64 for images of float64.
They can be a dataset's `transform`, stand in a `Compose`, and be followed by what
`data.preprocessing` fits. They record no graph.

>>> import tinygrad_cv as tg
>>> from tinygrad_cv.data import features, preprocessing
>>> images = tg.rand(50, 3, 32, 32, generator=tg.manual_seed(0))
>>> X = features.Features(features.HOG(), features.HueHistogram(bins=10))(images)
>>> X.shape
(50, 334)
>>> preprocessing.Normalize(eps=1e-8).fit_transform(X).shape
(50, 334)
"""

from importlib import import_module
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.data.transforms.images import array_of, bound, is_pillow, opened, pair
from tinygrad_cv.data.transforms.transform import Transform


class _Feature(Transform):
    """Base of the features: `of(images)` makes of (N, C, H, W) in [0, 1], float64, (N, F)."""

    def of(self, x: host.ndarray) -> host.ndarray:
        """The features of a batch of images."""
        raise NotImplementedError(f"{type(self).__name__} has no features.")

    def change(self, image: Any, **parameters: Any) -> Any:
        if is_pillow(image):
            image = array_of(image)
        x, back = opened(image, type(self).__name__)
        if not host.isfinite(x).all():
            raise ValueError(f"{type(self).__name__} takes finite numbers; there are others.")
        scaled = x.astype("float64") / (bound(x.dtype) if x.dtype.kind in "iu" else 1)
        dtype = "float64" if x.dtype == "float64" else "float32"
        return back(self.of(scaled).astype(dtype))


class HOG(_Feature):
    """Histograms of oriented gradients: which way the edges run, in each part of the image.

    Dalal & Triggs, 2005, "Histograms of oriented gradients for human detection". The image becomes
    grey; a pixel votes for the direction of its gradient, in [0°, 180°), with the gradient's
    length; the votes of a cell of `pixels_per_cell` pixels are a histogram of `orientations` bins;
    and blocks of `cells_per_block` cells, at each place where they fit, are normalized together. An
    image of H/h x W/w cells and blocks of b x b has (H/h - b + 1)(W/w - b + 1) b² · orientations
    features: 32x32 pixels with the defaults 324.

    `block_norm` is "L2-Hys", "L2", "L1" or "L1-sqrt". Scikit-image computes it, with votes in
    float32: pip install 'tinygrad_cv[features]'. Raises ModuleNotFoundError without it, and
    ValueError for images that are smaller than a block.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data.features import HOG
    >>> edge = tg.zeros(1, 16, 16)
    >>> edge[:, :, 8:] = 1
    >>> HOG(orientations=4, cells_per_block=1)(edge).reshape(2, 2, 4)[0, 0]
    tensor([1., 0., 0., 0.])
    """

    def __init__(
        self,
        orientations: int = 9,
        pixels_per_cell: Any = 8,
        cells_per_block: Any = 2,
        block_norm: str = "L2-Hys",
    ) -> None:
        if not _counts(orientations):
            raise ValueError(f"orientations is how many bins, 1 or more; got {orientations!r}.")
        if block_norm not in ("L1", "L1-sqrt", "L2", "L2-Hys"):
            raise ValueError(
                f"block_norm is one of 'L1', 'L1-sqrt', 'L2' and 'L2-Hys'; got {block_norm!r}."
            )
        self.orientations = int(orientations)
        self.pixels_per_cell = pair(pixels_per_cell, "pixels_per_cell")
        self.cells_per_block = pair(cells_per_block, "cells_per_block")
        self.block_norm = block_norm

    def of(self, x: host.ndarray) -> host.ndarray:
        try:
            hog = import_module("skimage.feature").hog
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "features.HOG needs scikit-image: pip install 'tinygrad_cv[features]'",
                name=error.name,
            ) from None
        sides = zip(self.pixels_per_cell, self.cells_per_block, strict=True)
        block = tuple(pixels * cells for pixels, cells in sides)
        if x.shape[2] < block[0] or x.shape[3] < block[1]:
            raise ValueError(
                f"HOG: a block is {block[0]}x{block[1]} pixels, and the images {x.shape[2]}x"
                f"{x.shape[3]}; give fewer pixels_per_cell or cells_per_block."
            )
        rows = [
            hog(
                image,
                orientations=self.orientations,
                pixels_per_cell=self.pixels_per_cell,
                cells_per_block=self.cells_per_block,
                block_norm=self.block_norm,
            )
            for image in _grey(x)
        ]
        shape = (
            *(
                x.shape[a + 2] // self.pixels_per_cell[a] - self.cells_per_block[a] + 1
                for a in (0, 1)
            ),
            *self.cells_per_block,
            self.orientations,
        )
        return host.array(rows).reshape(len(x), int(host.prod(shape)))


class HueHistogram(_Feature):
    """How much of the image has which hue: a histogram of the colours on their circle.

    Each pixel votes for one of `bins` equal parts of [0°, 360°), red at 0°; the histogram adds up
    to 1. With `weigh` a pixel votes with its saturation times its value, max - min over the three
    channels, and an image that is grey all over has the histogram 0; without, each pixel has one
    vote, and those that are grey go to red.

    Raises ValueError for images that have not 3 channels.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data.features import HueHistogram
    >>> green = tg.tensor([0.0, 1.0, 0.0]).reshape(3, 1, 1)
    >>> HueHistogram(bins=3)(green)
    tensor([0., 1., 0.])
    """

    def __init__(self, bins: int = 10, weigh: bool = False) -> None:
        if not _counts(bins):
            raise ValueError(f"bins is how many parts the circle has, 1 or more; got {bins!r}.")
        self.bins = int(bins)
        self.weigh = weigh

    def of(self, x: host.ndarray) -> host.ndarray:
        if x.shape[1] != 3:
            raise ValueError(f"HueHistogram takes images of 3 channels; got {x.shape[1]}.")
        hues, chroma = hue(x)
        # A colour on an edge between two parts belongs to the second, however its digits round.
        which = (hues * self.bins + 1e-4).astype("int64") % self.bins
        votes = chroma if self.weigh else host.ones_like(chroma)
        cells = host.arange(len(x))[:, None, None] * self.bins + which
        counts = host.bincount(cells.ravel(), votes.ravel(), len(x) * self.bins)
        counts = counts.reshape(len(x), self.bins)
        total = counts.sum(axis=1, keepdims=True)
        return counts / host.where(total > 0, total, 1)


class Features(_Feature):
    """Several features of an image, one behind the other in one row.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data.features import Features, HueHistogram
    >>> Features(HueHistogram(4), HueHistogram(6))(tg.rand(2, 3, 5, 5)).shape
    (2, 10)
    """

    def __init__(self, *features: Any) -> None:
        if not features or not all(isinstance(each, _Feature) for each in features):
            raise TypeError(f"Features takes HOG, HueHistogram and their kin; got {features}.")
        self.features = features

    def of(self, x: host.ndarray) -> host.ndarray:
        return host.concatenate([each.of(x) for each in self.features], axis=1)

    def __repr__(self) -> str:
        return f"Features({', '.join(map(repr, self.features))})"


def hue(x: host.ndarray) -> tuple[host.ndarray, host.ndarray]:
    """Of images (N, 3, H, W) the hue in [0, 1) and the chroma max - min, (N, H, W) each.

    With the largest channel red the hue is (G - B)/(6 chroma), with green 1/3 + (B - R)/(6 chroma),
    with blue 2/3 + (R - G)/(6 chroma), modulo 1; grey has the hue 0.

    >>> hue(host.array([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1))[0].item() == 2 / 3
    True
    """
    largest, chroma = x.argmax(axis=1), x.max(axis=1) - x.min(axis=1)
    after, before = ((host.roll(x, -k, axis=1)) for k in (1, 2))
    slopes = host.take_along_axis(after - before, largest[:, None], axis=1)[:, 0]
    hues = largest / 3 + slopes / (6 * host.where(chroma > 0, chroma, 1))
    hues = host.where(chroma > 0, hues % 1, 0.0)
    return host.where(hues < 1, hues, 0.0), chroma


def _counts(n: Any) -> bool:
    """Whether it is a whole number of things, 1 or more."""
    return isinstance(n, int | host.integer) and not isinstance(n, bool) and bool(n >= 1)


def _grey(x: host.ndarray) -> host.ndarray:
    """(N, C, H, W) as (N, H, W): the brightness of colours, or the mean of other channels."""
    if x.shape[1] == 3:
        grey: host.ndarray = host.tensordot(x, [0.299, 0.587, 0.114], axes=(1, 0))
        return grey
    return host.asarray(x.mean(axis=1))
