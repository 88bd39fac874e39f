"""Preprocessing that is fitted to the training images and stored with the model.

What is here learns a few statistics of a training set once, keeps them as buffers, and is a module
like any other:

>>> import tinygrad_cv as tg
>>> from tinygrad_cv import data, nn
>>> from tinygrad_cv.data import preprocessing
>>> digits = data.load_dataset("digits")
>>> centre = preprocessing.MeanImage().fit(digits.train_images)
>>> model = nn.Sequential(centre, nn.Flatten(), nn.Linear(64, 10))
>>> list(model.state_dict())
['0.mean', '2.weight', '2.bias']

So `train.save_model` writes μ and σ too, a model that is loaded needs no fit, and new images get
the statistics of the old ones. Fit on the training part, after the split: the validation and the
test part must not be looked at, not even for a mean.

| | subtracts | and then |
|---|---|---|
| `Center` | the mean of each feature | |
| `Normalize` | the mean of each feature | divides by its standard deviation |
| `MeanImage` | the mean image (C, H, W), as AlexNet does | |
| `ChannelMean` | C numbers, as VGG does | |
| `ChannelNormalize` | C numbers | divides by C numbers |
| `PCA` | the mean | turns to the axes of greatest variance: they are decorrelated |
| `Whitening` | the mean | turns, and scales each axis: the covariance is the identity |

Each has `fit`, `transform` (of arrays and Tensors; a call is the same for Tensors), `fit_transform`
and `inverse`. `Pipeline` is several of them in a row. Variances are means of squares, divided by
the number of samples N and not by N - 1, as `numpy.std` and the lectures have it.
"""

import warnings
from collections.abc import Iterable, Iterator
from inspect import signature
from typing import Any, ClassVar

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._moments import Moments
from tinygrad_cv._tensor import Tensor, as_input
from tinygrad_cv.backend import get_default_device, host
from tinygrad_cv.backend.base import DEFAULT
from tinygrad_cv.data.dataset import Dataset
from tinygrad_cv.data.loader import DataLoader
from tinygrad_cv.nn.container import Sequential
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import UninitializedBuffer, is_lazy

CHUNK = 1 << 22
"""How many numbers of a large array are taken at once, in float64."""


class Fitted(Module):
    """Base of what is fitted. One of your own says which buffers it has and how it finds them.

    `statistics` are the names of its buffers, `_learn(moments)` gives their values as arrays, and
    `forward` and `inverse` use them. Until `fit` they have no shape.

    They have the dtype of the data, if that is float32 or float64, and else the default one; they
    are on the device of the module or, where that is still the default one, on that of the data.
    The result has the dtype of the input, or of the statistics if the input is whole numbers.
    """

    statistics: ClassVar[tuple[str, ...]] = ("mean",)
    products: ClassVar[bool] = False
    least: ClassVar[int] = 1
    """How many samples it takes to have such statistics."""

    def __init__(self) -> None:
        super().__init__()
        for name in self.statistics:
            self.register_buffer(name, UninitializedBuffer())

    mean: Tensor

    @property
    def fitted(self) -> bool:
        """Whether it has its statistics, by `fit` or from a state that was loaded."""
        return not is_lazy(self.mean)

    def _learn(self, moments: Moments, shape: tuple[int, ...]) -> dict[str, host.ndarray]:
        raise NotImplementedError(f"{type(self).__name__} does not say what it learns.")

    def inverse(self, z: Any) -> Any:
        """From what `transform` gave back to the data, arrays to arrays and Tensors to Tensors."""
        return self._on_either(self._inverse, z)

    def _inverse(self, z: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no inverse.")

    # ----- fit -------------------------------------------------------------------------------

    def fit(self, data: Any, y: Any = None) -> "Fitted":
        """Learn the statistics of the training data, in one pass and in float64; returns itself.

        `data` are samples (N, ...) as an array or a Tensor, or a DataLoader, a Dataset or any
        iterable of batches, of which the first field is taken where there are several. `y` is not
        looked at; it stands there for pipelines of scikit-learn.

        Raises ValueError, and stays as it was, for data without samples or with NaN or infinities,
        for batches of different shapes, and if it was fitted to samples of another shape before.

        >>> from tinygrad_cv.data import DataLoader, TensorDataset, preprocessing
        >>> loader = DataLoader(TensorDataset(host.eye(4), host.arange(4)), batch_size=3)
        >>> preprocessing.Center().fit(loader).mean
        tensor([0.25, 0.25, 0.25, 0.25], dtype=float64)
        """
        name = type(self).__name__
        moments, shape, dtype, device = Moments(self.products), None, None, None
        seen = 0
        for batch in _batches(data, name):
            x = batch.detach().cpu().numpy() if isinstance(batch, Tensor) else host.asarray(batch)
            if x.dtype.kind not in "fiub":
                raise TypeError(f"{name} is fitted to numbers; got {x.dtype}.")
            here = self._shape(x.shape)
            if shape is None:
                shape, dtype = here, x.dtype if x.dtype in ("float32", "float64") else DEFAULT.float
                device = batch.device if isinstance(batch, Tensor) else None
                self._expect(shape)
            elif here != shape:
                raise ValueError(
                    f"{name} is fitted to samples of one shape; the first were {shape}, and sample "
                    f"{seen} is {here}."
                )
            rows = max(CHUNK // max(host.prod(x.shape[1:], dtype=int), 1), 1)
            for start in range(0, len(x), rows):
                part = x[start : start + rows].astype("float64")
                if not host.isfinite(part).all():
                    place = tuple(int(i) for i in host.argwhere(~host.isfinite(part))[0])
                    raise ValueError(
                        f"{name} is fitted to finite numbers; sample {seen + place[0]} has "
                        f"{part[place]} at {place[1:]}."
                    )
                moments.add(self._features(part))
                seen += len(part)
        if shape is None or seen < self.least:
            raise ValueError(f"{name} is fitted to {self.least} or more samples; got {seen}.")
        learned = self._learn(moments, shape)
        if self.mean.device != get_default_device():
            device = self.mean.device
        for key, value in learned.items():
            setattr(self, key, Tensor(value.astype(dtype), device=device))
        return self

    def _expect(self, shape: tuple[int, ...]) -> None:
        if self.fitted and self._fitted_shape() != shape:
            raise ValueError(
                f"{type(self).__name__} was fitted to samples of the shape {self._fitted_shape()}; "
                f"these are {shape}. For other data make a new one."
            )

    def _fitted_shape(self) -> tuple[int, ...]:
        return tuple(self.mean.shape)

    def _shape(self, batch: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what is learned for each feature, from that of a batch."""
        if len(batch) < 2 or 0 in batch[1:]:
            raise ValueError(
                f"{type(self).__name__} is fitted to samples (N, ...) with one or more features "
                f"each; got the shape {batch}."
            )
        return batch[1:]

    def _features(self, x: host.ndarray) -> host.ndarray:
        """Samples as (n, features, places)."""
        return x.reshape(len(x), -1, 1)

    # ----- use -------------------------------------------------------------------------------

    def transform(self, x: Any) -> Any:
        """The data preprocessed: arrays give arrays, Tensors give Tensors, and keep their graph."""
        return self._on_either(self, x)

    def fit_transform(self, data: Any, y: Any = None) -> Any:
        """`fit` to samples that are one array or Tensor, and `transform` of them."""
        if not (isinstance(data, Tensor) or _is_array(data)):
            raise TypeError(
                f"fit_transform takes an array or a Tensor; got a {type(data).__name__}: fit it, "
                "and transform each batch."
            )
        return self.fit(data).transform(data)

    def _on_either(self, function: Any, x: Any) -> Any:
        if isinstance(x, Tensor):
            return function(x)
        self._check()
        with no_grad():
            given = host.asarray(x)
            return function(Tensor(given, device=self.mean.device)).numpy()

    def _check(self) -> None:
        if not self.fitted:
            name = type(self).__name__
            raise RuntimeError(
                f"{name} is used and was not fitted: call fit(training_images), after the split, "
                "or load the state of one that was."
            )

    def _input(self, x: Any) -> Tensor:
        """The input, checked, as floating point."""
        self._check()
        x = as_input(x, self.mean)
        shape, own = tuple(x.shape), self._fitted_shape()
        if shape[len(shape) - len(own) :] != own:
            raise ValueError(
                f"{type(self).__name__} was fitted to samples of the shape {own}; got "
                f"{shape}, which is neither one of them nor a batch (N, ...)."
            )
        return self._floating(x)

    def _floating(self, x: Tensor) -> Tensor:
        return x if x.is_floating_point() else x.to(dtype=self.mean.dtype)

    def _for(self, x: Tensor, name: str) -> Tensor:
        """A statistic in the dtype of an input."""
        value: Tensor = getattr(self, name)
        return value if value.dtype == x.dtype else value.to(dtype=x.dtype)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments it was made with, as scikit-learn asks for to make another one."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def extra_repr(self) -> str:
        return str(self._fitted_shape()) if self.fitted else "not fitted"


# ----- means and standard deviations -------------------------------------------------------------


class Center(Fitted):
    """x - μ, with the mean μ of each feature: the data are centred at 0.

    (N, *S) -> (N, *S), with μ of the shape S. The inverse, z + μ, is exact. "X -= np.mean(X,
    axis=0)" of the lectures.

    >>> centre = Center().fit([[101.0, 101.0], [101.0, 99.0]])
    >>> centre.mean
    tensor([101., 100.], dtype=float64)
    >>> centre.transform([[101.0, 101.0]])
    array([[0., 1.]])
    """

    def _learn(self, moments: Moments, shape: tuple[int, ...]) -> dict[str, host.ndarray]:
        return {"mean": moments.mean.reshape(shape)}

    def forward(self, input: Tensor) -> Tensor:
        x = self._input(input)
        return x - self._spread(self._for(x, "mean"))

    def _inverse(self, z: Tensor) -> Tensor:
        z = self._input(z)
        return z + self._spread(self._for(z, "mean"))

    def _spread(self, statistic: Tensor) -> Tensor:
        """A statistic as it broadcasts to the samples."""
        return statistic


class Normalize(Center):
    """(x - μ) / σ, with the mean and the standard deviation of each feature.

    (N, *S) -> (N, *S); `mean` and `std` have the shape S. The inverse, z σ + μ, is exact.

    A feature that is constant in the training data has no σ to divide by. With eps = 0 it is
    divided by 1, and a UserWarning tells it: with another value it would otherwise be infinite
    later. With eps > 0 the divisor is √(σ² + eps), for all features, and nothing is told. `std` is
    the divisor.

    Raises ValueError for fewer than 2 samples, or a negative eps.

    >>> normalize = Normalize().fit([[0.0, 10.0], [2.0, -10.0]])
    >>> normalize.std
    tensor([ 1., 10.], dtype=float64)
    >>> normalize.transform([[0.0, 10.0], [2.0, -10.0]])
    array([[-1.,  1.],
           [ 1., -1.]])
    """

    statistics = ("mean", "std")
    least = 2
    std: Tensor

    def __init__(self, eps: float = 0.0) -> None:
        super().__init__()
        self.eps = _not_negative(eps, type(self).__name__)

    def _learn(self, moments: Moments, shape: tuple[int, ...]) -> dict[str, host.ndarray]:
        variance = moments.variance
        constant = (variance == 0).reshape(shape)
        if constant.any() and not self.eps:
            place = tuple(int(i) for i in host.argwhere(constant)[0])
            warnings.warn(
                f"{type(self).__name__}: {constant.sum()} of {constant.size} features are constant "
                f"in the training data, the first at {place}; they are divided by 1, as they have "
                "no standard deviation. Give eps, such as 1e-5, if that is meant.",
                UserWarning,
                stacklevel=3,
            )
        std = host.sqrt(variance + self.eps)
        std[std == 0] = 1
        return {"mean": moments.mean.reshape(shape), "std": std.reshape(shape)}

    def forward(self, input: Tensor) -> Tensor:
        x = self._input(input)
        return (x - self._spread(self._for(x, "mean"))) / self._spread(self._for(x, "std"))

    def _inverse(self, z: Tensor) -> Tensor:
        z = self._input(z)
        return z * self._spread(self._for(z, "std")) + self._spread(self._for(z, "mean"))


class MeanImage(Center):
    """x - the mean image: (N, C, H, W) -> (N, C, H, W), as AlexNet does.

    `mean` has the shape (C, H, W), of CIFAR-10 (3, 32, 32); the lectures write [32, 32, 3]. The
    inverse is exact.

    >>> import tinygrad_cv as tg
    >>> prep = MeanImage().fit(tg.arange(16).reshape(2, 1, 2, 4))
    >>> prep
    MeanImage((1, 2, 4))
    >>> prep.mean[0, 0]
    tensor([4., 5., 6., 7.])
    """

    def _shape(self, batch: tuple[int, ...]) -> tuple[int, ...]:
        if len(batch) != 4:
            raise ValueError(
                f"{type(self).__name__} is fitted to images (N, C, H, W); got the shape {batch}."
            )
        return super()._shape(batch)


class ChannelMean(Center):
    """x - μ_c, with one mean for each channel c: (N, C, H, W) -> (N, C, H, W), as VGG does.

    `mean` has the shape (C,), of colour images 3 numbers, so that images of other sizes fit as
    well. The inverse is exact.

    >>> import tinygrad_cv as tg
    >>> prep = ChannelMean().fit(tg.arange(12).reshape(2, 3, 1, 2))
    >>> prep.mean
    tensor([3.5, 5.5, 7.5])
    >>> prep(tg.zeros(1, 3, 5, 5)).shape
    (1, 3, 5, 5)
    """

    def _shape(self, batch: tuple[int, ...]) -> tuple[int, ...]:
        if len(batch) != 4:
            raise ValueError(
                f"{type(self).__name__} is fitted to images (N, C, H, W); got the shape {batch}."
            )
        return super()._shape(batch)[:1]

    def _features(self, x: host.ndarray) -> host.ndarray:
        return x.reshape(*x.shape[:2], -1)

    def _input(self, x: Any) -> Tensor:
        self._check()
        x = as_input(x, self.mean)
        (channels,) = self._fitted_shape()
        if x.ndim not in (3, 4) or x.shape[-3] != channels:
            raise ValueError(
                f"{type(self).__name__} was fitted to images with {channels} channels; it takes "
                f"one (C, H, W) or a batch (N, C, H, W), and got {tuple(x.shape)}."
            )
        return self._floating(x)

    def _spread(self, statistic: Tensor) -> Tensor:
        return statistic[:, None, None]


class ChannelNormalize(ChannelMean, Normalize):
    """(x - μ_c) / σ_c, with one mean and one standard deviation for each channel c.

    It is `data.transforms.Normalize` with numbers that are found and kept. See `Normalize` for
    `eps` and constant channels. The inverse is exact.

    >>> import tinygrad_cv as tg
    >>> prep = ChannelNormalize().fit(tg.arange(12).reshape(2, 3, 1, 2))
    >>> prep.std
    tensor([3.0414, 3.0414, 3.0414])
    """

    forward = Normalize.forward
    _inverse = Normalize._inverse


# ----- axes --------------------------------------------------------------------------------------


class PCA(Fitted):
    """Uᵀ(x - μ): the coordinates on the axes of greatest variance, which are decorrelated.

    (N, *S) -> (N, k). The axes are the eigenvectors of the covariance, those of the greatest
    variance first. `n_components` says how many are kept: a number k, or a share in (0, 1) of the
    variance that they must hold together. None keeps all in which the data vary at all: the digits
    have 64 pixels of which 3 are constant, so 61.

    The buffers: `mean`, of the shape S; `components` (k, *S), rows of length 1 at right angles, so
    images as the data are; their variances `explained_variance` (k,), and `total_variance`. The
    sign of an axis makes its largest entry positive.

    The `inverse`, μ + U z, gives the nearest point on the axes that are kept: it is exact for what
    lies on them, as the training data do when all are kept, and the projection of all else.

    It needs a D x D matrix for samples of D numbers, and O(N D² + D³) steps. Raises ValueError for
    fewer than 2 samples, and for more components than there are directions. With N ≤ D samples at
    most N - 1 directions are seen, which a UserWarning tells.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data import load_dataset
    >>> images = load_dataset("digits").train_images
    >>> prep = PCA(0.95)
    >>> prep.fit_transform(images).shape, prep.components.shape
    ((1433, 28), (28, 1, 8, 8))
    >>> PCA().fit(images)
    PCA((1, 8, 8) -> 61)
    """

    statistics: ClassVar[tuple[str, ...]] = (
        "mean",
        "components",
        "explained_variance",
        "total_variance",
    )
    products = True
    least = 2
    components: Tensor
    explained_variance: Tensor
    total_variance: Tensor

    def __init__(self, n_components: float | None = None) -> None:
        super().__init__()
        whole = isinstance(n_components, int | host.integer) and not isinstance(n_components, bool)
        share = isinstance(n_components, float | host.floating) and 0 < n_components < 1
        if n_components is not None and not share and not (whole and n_components >= 1):
            raise ValueError(
                "n_components is how many axes are kept, 1 or more, or the share of the variance "
                f"that they hold, between 0 and 1, or None for all; got {n_components!r}."
            )
        self.n_components = n_components

    @property
    def explained_variance_ratio(self) -> Tensor:
        """The share of the variance that each axis holds, (k,)."""
        self._check()
        return self.explained_variance / self.total_variance

    def _learn(self, moments: Moments, shape: tuple[int, ...]) -> dict[str, host.ndarray]:
        name, n, features = type(self).__name__, moments.count, len(moments.mean)
        if n <= features:
            warnings.warn(
                f"{name} was fitted to {n} samples of {features} features, which vary in at most "
                f"{n - 1} directions; other samples will lie outside of them.",
                UserWarning,
                stacklevel=3,
            )
        variance, axes = host.linalg.eigh(moments.variance)
        variance, axes = variance[::-1], axes.T[::-1]
        noise = variance[0] * max(n, features) * host.finfo("float64").eps
        rank = min(int((variance > noise).sum()), n - 1)
        if rank == 0:
            raise ValueError(f"{name}: all samples are equal, so there is no axis to find.")
        total = variance[:rank].sum()
        k = rank
        if isinstance(self.n_components, int | host.integer):
            k = int(self.n_components)
        elif self.n_components is not None:
            shares = variance[:rank].cumsum() / total
            k = min(int(host.searchsorted(shares, self.n_components)) + 1, rank)
        if k > rank:
            constant = int((~moments.varies).sum())
            said = f", and {constant} of them constant" if constant else ""
            raise ValueError(
                f"{name}: n_components={k}, and the {n} samples of {features} features{said}, vary "
                f"in {rank} directions only."
            )
        axes = axes[:k]
        largest = axes[host.arange(k), abs(axes).argmax(axis=1)]
        return {
            "mean": moments.mean.reshape(shape),
            "components": (axes * host.sign(largest)[:, None]).reshape(k, *shape),
            "explained_variance": variance[:k].copy(),
            "total_variance": host.asarray(total),
        }

    def forward(self, input: Tensor) -> Tensor:
        x = self._input(input)
        return self._rows(x - self._for(x, "mean")) @ self._axes(x).T

    def _inverse(self, z: Tensor) -> Tensor:
        z = self._coordinates(z)
        return self._samples(z @ self._axes(z)) + self._for(z, "mean")

    def _axes(self, x: Tensor) -> Tensor:
        """U, a row for each axis: (k, D)."""
        return self._for(x, "components").reshape(len(self.components), -1)

    def _rows(self, x: Tensor) -> Tensor:
        """Samples (..., *S) as (..., D)."""
        return x.reshape(*x.shape[: x.ndim - self.mean.ndim], self.mean.numel())

    def _samples(self, rows: Tensor) -> Tensor:
        return rows.reshape(*rows.shape[:-1], *self._fitted_shape())

    def _coordinates(self, z: Any) -> Tensor:
        self._check()
        z = as_input(z, self.mean)
        k = len(self.components)
        if not z.ndim or z.shape[-1] != k:
            raise ValueError(
                f"{type(self).__name__}.inverse takes coordinates (N, {k}); got {tuple(z.shape)}."
            )
        return self._floating(z)

    def extra_repr(self) -> str:
        if not self.fitted:
            return "not fitted"
        return f"{self._fitted_shape()} -> {len(self.components)}"


class Whitening(PCA):
    """(Uᵀ(x - μ)) / √(λ + eps): data whose covariance is the identity.

    (N, *S) -> (N, k), with the axes U and the variances λ of `PCA`, which also tells what
    `n_components` are. With `zca` it is turned back, U (Uᵀ(x - μ)) / √(λ + eps): (N, *S) -> (N,
    *S), of all whitened data the nearest to the data; images still look like images (Bell &
    Sejnowski, 1997, "The independent components of natural scenes are edge filters"). The
    covariance is then the identity on the axes that are kept, and 0 across them, as for a pixel
    that is constant.

    eps keeps the noise of axes with little variance from becoming as large as what matters; it has
    the unit of a variance, and 1e-5 is for data of a variance about 1. With eps = 0 the covariance
    is the identity exactly.

    The `inverse` is exact for what lies on the axes that are kept, and the projection of all else.
    Raises ValueError as `PCA`, and for a negative eps.

    >>> from tinygrad_cv.data import load_dataset
    >>> images = load_dataset("digits").train_images.astype("float64")
    >>> z = Whitening(eps=0).fit_transform(images)
    >>> abs(z.T @ z / len(z) - host.eye(61)).max() < 1e-9
    np.True_
    >>> Whitening(zca=True).fit_transform(images).shape
    (1433, 1, 8, 8)
    """

    statistics = (*PCA.statistics, "std")
    std: Tensor

    def __init__(
        self, n_components: float | None = None, zca: bool = False, eps: float = 1e-5
    ) -> None:
        super().__init__(n_components)
        self.zca = zca
        self.eps = _not_negative(eps, type(self).__name__)

    def _learn(self, moments: Moments, shape: tuple[int, ...]) -> dict[str, host.ndarray]:
        learned = super()._learn(moments, shape)
        return learned | {"std": host.sqrt(learned["explained_variance"] + self.eps)}

    def forward(self, input: Tensor) -> Tensor:
        x = self._input(input)
        z = super().forward(x) / self._for(x, "std")
        return self._samples(z @ self._axes(z)) if self.zca else z

    def _inverse(self, z: Tensor) -> Tensor:
        z = self._rows(self._input(z)) @ self._axes(z).T if self.zca else self._coordinates(z)
        return super()._inverse(z * self._for(z, "std"))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, zca={self.zca}, eps={self.eps}"


# ----- several -----------------------------------------------------------------------------------


class Pipeline(Sequential):
    """Several in a row, each fitted to what those before it give; an `nn.Sequential` with `fit`.

    Modules that are not fitted, such as nn.Flatten, are used as they are. The data are gone through
    once for each that is. The `inverse` goes back through all of them; those that have no inverse
    raise TypeError.

    >>> from tinygrad_cv.data import load_dataset
    >>> images = load_dataset("digits").train_images
    >>> prep = Pipeline(MeanImage(), PCA(16), Normalize())
    >>> z = prep.fit_transform(images)
    >>> z.shape, prep.inverse(z).shape
    ((1433, 16), (1433, 1, 8, 8))
    """

    def fit(self, data: Any, y: Any = None) -> "Pipeline":
        """Fit one after the other; see `Fitted.fit`. Data that can be read once only are refused.

        Raises TypeError for an iterator, as each step goes through the data.
        """
        steps = [step for step in self if isinstance(step, Fitted | Pipeline)]
        if len(steps) > 1 and isinstance(data, Iterator):
            raise TypeError(
                "a Pipeline goes through the data once for each of its steps, and an iterator is "
                "gone after the first; give a DataLoader, a list of batches or an array."
            )
        before: list[Module] = []
        for step in self:
            if isinstance(step, Fitted | Pipeline):
                step.fit(_Through(before[:], data) if before else data)
            before.append(step)
        return self

    def transform(self, x: Any) -> Any:
        """The data preprocessed: arrays give arrays, Tensors give Tensors, and keep their graph."""
        return _through_one([*self], x)

    def fit_transform(self, data: Any, y: Any = None) -> Any:
        """`fit` to samples that are one array or Tensor, and `transform` of them."""
        return self.fit(data).transform(data)

    def inverse(self, z: Any) -> Any:
        """Back through all of the steps, the last first."""
        for step in reversed([*self]):
            if not hasattr(step, "inverse"):
                raise TypeError(f"Pipeline.inverse: {type(step).__name__} has no inverse.")
            z = step.inverse(z)
        return z


class _Through:
    """The batches of some data behind some steps, as often as the data can be gone through."""

    def __init__(self, steps: list[Module], data: Any) -> None:
        self.steps, self.data = steps, data

    def __iter__(self) -> Iterator[Any]:
        for batch in _batches(self.data, "Pipeline"):
            yield _through_one(self.steps, batch)


def _through_one(steps: list[Any], x: Any) -> Any:
    for step in steps:
        if hasattr(step, "transform"):
            x = step.transform(x)
        elif isinstance(x, Tensor):
            x = step(x)
        else:
            with no_grad():
                x = step(Tensor(host.asarray(x))).numpy()
    return x


def _batches(data: Any, name: str) -> Iterable[Any]:
    """The batches (N, ...) of whatever `fit` takes, arrays and Tensors."""
    if isinstance(data, Tensor) or _is_array(data):
        yield data if isinstance(data, Tensor) else host.asarray(data)
        return
    if isinstance(data, Dataset):
        data = DataLoader(data, batch_size=256)
    if isinstance(data, str | bytes | dict) or not isinstance(data, Iterable):
        raise TypeError(
            f"{name} is fitted to an array, a Tensor, a DataLoader, a Dataset or batches; got a "
            f"{type(data).__name__}."
        )
    for batch in data:
        fields = [batch] if not isinstance(batch, list | tuple) or _is_array(batch) else batch
        if not fields or not (isinstance(fields[0], Tensor) or _is_array(fields[0])):
            raise TypeError(
                f"{name} is fitted to batches that are an array or a Tensor, or have it as their "
                f"first field; got a {type(batch).__name__}."
            )
        yield fields[0]


def _is_array(data: Any) -> bool:
    """Whether it is an array, or lists of numbers."""
    if isinstance(data, Tensor):
        return False
    while isinstance(data, list | tuple) and data:
        data = data[0]
        if isinstance(data, Tensor | host.ndarray):
            return False  # several of them
    return hasattr(data, "__array__") or (isinstance(data, int | float) and not callable(data))


def _not_negative(eps: Any, name: str) -> float:
    if not isinstance(eps, float | int | host.number) or not 0 <= eps < host.inf:
        raise ValueError(f"{name}: eps is added to a variance, and 0 or more; got {eps!r}.")
    return float(eps)
