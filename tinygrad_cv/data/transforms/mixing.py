"""Images of a batch mixed with one another, and their labels in the same shares."""

from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import DEFAULT
from tinygrad_cv.data.transforms.images import opened
from tinygrad_cv.data.transforms.random_geometry import whole
from tinygrad_cv.data.transforms.transform import Transform


class _Mixing(Transform):
    """Base: image n is mixed with image n - 1, the first with the last."""

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        num_classes: int | None = None,
        labels_getter: str = "default",
        generator: Any = None,
    ) -> None:
        if not alpha > 0:
            raise ValueError(f"alpha, of the Beta distribution, is above 0; got {alpha}.")
        if labels_getter != "default":
            raise ValueError(
                f"{type(self).__name__} takes the labels as its second argument; leave out "
                "labels_getter."
            )
        self.alpha = float(alpha)
        self.num_classes = num_classes
        self.labels_getter = labels_getter
        self.generator = generator

    def run(self, inputs: tuple[Any, ...], generator: Any) -> tuple[Any, ...]:
        name = type(self).__name__
        if len(inputs) < 2:
            raise TypeError(f"{name} takes a batch of images and their labels; got images alone.")
        images, labels, *rest = inputs
        x, back = opened(images, name)
        if getattr(images, "ndim", 0) != 4:
            raise ValueError(
                f"{name} takes a batch (N, C, H, W), as after collation; got {images.shape}."
            )
        shares = self._shares(labels, len(x))
        mixed, kept = self.mixed(x, self.draws(generator))
        kept = kept[:, None].astype(shares.dtype)
        labelled = kept * shares + (1 - kept) * host.roll(shares, 1, axis=0)
        if isinstance(labels, Tensor):
            labelled = Tensor(labelled, device=labels.device)
        return back(mixed), labelled, *rest

    def _shares(self, labels: Any, count: int) -> host.ndarray:
        """Labels (N,) as one-hot rows (N, num_classes); rows of shares as they are."""
        name = type(self).__name__
        y = labels.numpy() if isinstance(labels, Tensor) else host.asarray(labels)
        if y.ndim == 2 and y.dtype.kind == "f" and len(y) == count:
            return y
        if y.shape != (count,) or y.dtype.kind not in "iu":
            raise ValueError(
                f"{name} takes one whole number for each of the {count} images as its label, or "
                f"shares of classes (N, K) as floats; got {y.dtype} of the shape {y.shape}."
            )
        if self.num_classes is None:
            raise ValueError(f"{name} needs num_classes to make shares of whole numbers.")
        if count and not 0 <= y.min() <= y.max() < self.num_classes:
            raise ValueError(
                f"{name}: labels go from 0 to num_classes - 1 = {self.num_classes - 1}; got "
                f"{y.min()} to {y.max()}."
            )
        rows: host.ndarray = host.eye(self.num_classes, dtype=DEFAULT.float)[y]
        return rows

    def mixed(
        self, x: host.ndarray, generator: host.random.Generator
    ) -> tuple[host.ndarray, host.ndarray]:
        """The images mixed, and which share each has kept."""
        raise NotImplementedError


class MixUp(_Mixing):
    """λ · x[n] + (1 - λ) · x[n - 1], images and labels, with λ ~ Beta(alpha, alpha) an image.

    Zhang et al., 2018, "mixup: Beyond empirical risk minimization". Images (N, C, H, W) of floats,
    labels (N,) or shares of classes (N, K) -> (N, C, H, W), (N, K). It draws N numbers λ.

    >>> import tinygrad_cv as tg
    >>> images, labels = MixUp(num_classes=3)(tg.rand(4, 1, 2, 2), tg.tensor([0, 1, 2, 0]))
    >>> labels.sum(1)
    tensor([1., 1., 1., 1.])
    """

    def mixed(
        self, x: host.ndarray, generator: host.random.Generator
    ) -> tuple[host.ndarray, host.ndarray]:
        if x.dtype.kind != "f":
            raise TypeError(f"MixUp takes images of floats; got {x.dtype}: ToDtype comes first.")
        kept = generator.beta(self.alpha, self.alpha, len(x))
        share = kept[:, None, None, None].astype(x.dtype)
        return share * x + (1 - share) * host.roll(x, 1, axis=0), kept


class CutMix(_Mixing):
    """A window of x[n - 1] put into x[n], and the labels mixed in the shares of the area.

    Yun et al., 2019, "CutMix: Regularization strategy to train strong classifiers with localizable
    features". The sides of the window are √(1 - λ) of the image's, λ ~ Beta(alpha, alpha) an image,
    about a uniform place, and what is outside is cut off. Images (N, C, H, W), labels (N,) or
    shares of classes (N, K) -> (N, C, H, W), (N, K). It draws N numbers λ, and 2·N for the places.

    >>> import tinygrad_cv as tg
    >>> images, labels = CutMix(num_classes=3)(tg.rand(4, 1, 2, 2), tg.tensor([0, 1, 2, 0]))
    >>> labels.sum(1)
    tensor([1., 1., 1., 1.])
    """

    def mixed(
        self, x: host.ndarray, generator: host.random.Generator
    ) -> tuple[host.ndarray, host.ndarray]:
        count, _, height, width = x.shape
        part = 0.5 * host.sqrt(1 - generator.beta(self.alpha, self.alpha, count))
        u = generator.random((count, 2))
        ends = []
        for number, length in zip(u.T, (width, height), strict=True):
            middle, half = whole(number, length), (part * length).astype("int64")
            ends += [host.maximum(middle - half, 0), host.minimum(middle + half, length)]
        left, right, top, bottom = ends
        y, other = x.copy(), host.roll(x, 1, axis=0)
        windows = zip(*(v.tolist() for v in (top, bottom, left, right)), strict=True)
        for n, (i, end, j, last) in enumerate(windows):
            y[n, :, i:end, j:last] = other[n, :, i:end, j:last]
        return y, 1 - (bottom - top) * (right - left) / (height * width)
