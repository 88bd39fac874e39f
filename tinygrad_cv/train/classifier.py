"""A network as an estimator of scikit-learn: in its pipelines, searches and cross-validations."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from tinygrad_cv import nn
from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.data import DataLoader, TensorDataset
from tinygrad_cv.ops.loss import cross_entropy
from tinygrad_cv.optim import Adam
from tinygrad_cv.train._convnet import convnet
from tinygrad_cv.train.trainer import Trainer

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data
except ImportError as error:
    raise ImportError(
        "train.Classifier is an estimator of scikit-learn; run pip install 'tinygrad_cv[sklearn]'."
    ) from error


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # which have no types
    """A classifier under scikit-learn's names: fit(X, y), predict, predict_proba, score.

    X is (samples, features), or images (samples, C, H, W) or whatever the network takes, as numbers
    that are computed in float32; y are labels of any kind. `predict_proba` gives (samples, classes)
    in the order of `classes_`: the softmax of the network's scores.

    - `model` makes the network, `model(shape, classes, generator)` with the shape of one sample, or
      is one, of which a copy is trained. None stands for a layer of 100 ReLUs for features and for
      `convnet` for images.
    - `optimizer(parameters, lr=lr)` makes the optimizer; `schedule`, `callbacks` and `compile` are
      those of `Trainer`.
    - `random_state` seeds the initial weights and the order of the samples: a number gives the
      same result every time, None another each time.

    A fitted one has `model_`, `classes_`, `n_features_in_` and `history_`, that of `Trainer.fit`.
    It is best fed with features of mean 0 and variance 1, as `StandardScaler` gives them.

    Raises ValueError for samples that are not finite, of other lengths, or of another shape than
    those of `fit`, and sklearn.exceptions.NotFittedError before `fit`.

    >>> from sklearn.model_selection import cross_val_score
    >>> from tinygrad_cv.data import load_digits
    >>> from tinygrad_cv.train import Classifier
    >>> images, labels = load_digits()
    >>> features = images.reshape(len(images), -1)
    >>> scores = cross_val_score(Classifier(epochs=10, random_state=0), features, labels, cv=3)
    >>> scores.min() > 0.85
    np.True_
    """

    def __init__(
        self,
        model: nn.Module | Callable[..., nn.Module] | None = None,
        *,
        optimizer: Callable[..., Any] = Adam,
        lr: float = 0.01,
        epochs: int = 20,
        batch_size: int = 32,
        loss_fn: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
        schedule: Any = None,
        callbacks: Iterable[Any] = (),
        compile: bool = False,
        device: str | None = None,
        random_state: Any = None,
        progress: bool = False,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.loss_fn = loss_fn
        self.schedule = schedule
        self.callbacks = callbacks
        self.compile = compile
        self.device = device
        self.random_state = random_state
        self.progress = progress

    def fit(self, X: Any, y: Any) -> "Classifier":
        """Train a new network on the samples X and their labels y."""
        X, y = validate_data(self, X, y, dtype=host.float32, allow_nd=True)
        check_classification_targets(y)
        self.classes_, labels = host.unique(y, return_inverse=True)
        self._shape = X.shape[1:]
        seed = check_random_state(self.random_state).randint(2**31)
        weights, order = host.random.default_rng(seed).spawn(2)
        self.model_ = self._made(X.shape[1:], len(self.classes_), weights)
        self.model_.to(device=self.device)
        options = {} if self.schedule is None else {"schedule": self.schedule}
        trainer = Trainer(
            self.model_,
            self.optimizer(self.model_.parameters(), lr=self.lr),
            self.loss_fn,
            compile=self.compile,
            **options,
        )
        loader = DataLoader(
            TensorDataset(X, labels.astype(host.int64)),
            self.batch_size,
            shuffle=True,
            generator=order,
            device=self.device,
        )
        self.history_ = trainer.fit(
            loader, epochs=self.epochs, progress=self.progress, callbacks=self.callbacks
        )
        return self

    def _made(self, shape: tuple[int, ...], classes: int, generator: Any) -> nn.Module:
        """The network for samples of this shape."""
        if isinstance(self.model, nn.Module):
            return deepcopy(self.model)
        if self.model is not None:
            return self.model(shape, classes, generator)
        if len(shape) == 3:
            return convnet(shape, classes, generator=generator)
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(int(host.prod(shape)), 100, generator=generator),
            nn.ReLU(),
            nn.Linear(100, classes, generator=generator),
        )

    def decision_function(self, X: Any) -> Any:
        """The scores of the network, (samples, classes); of two classes, how much the second leads.

        That is (samples,), and above 0 where `predict` gives the second class, as scikit-learn
        has it.
        """
        scores = self._scores(X)
        if len(self.classes_) == 2:
            scores = scores[:, 1] - scores[:, 0]
        return scores

    def predict_proba(self, X: Any) -> host.ndarray:
        """The probability of each class, (samples, classes): the softmax of the scores."""
        probabilities: host.ndarray = Tensor(self._scores(X)).softmax(dim=1).numpy()
        return probabilities

    def predict(self, X: Any) -> host.ndarray:
        """The label of the class with the highest score, for each sample."""
        best = self._scores(X).argmax(axis=1)
        labels: host.ndarray = self.classes_[best]
        return labels

    def _scores(self, X: Any) -> Any:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=host.float32, allow_nd=True, reset=False)
        if X.shape[1:] != self._shape:
            raise ValueError(
                f"the classifier was fitted to samples of shape {self._shape}; these are of "
                f"{X.shape[1:]}."
            )
        self.model_.eval()
        loader = DataLoader(TensorDataset(X), self.batch_size, device=self.device)
        with no_grad():
            return host.concatenate([self.model_(inputs).numpy() for (inputs,) in loader])
