"""`train.Classifier`: scikit-learn's own checks, and what they do not ask."""

import pickle
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import SkipTestWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from tinygrad_cv import nn, optim, train
from tinygrad_cv.data import load_digits
from tinygrad_cv.data.preprocessing import PCA, Normalize, Whitening
from tinygrad_cv.train import Classifier, DivergenceError, EarlyStopping

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    points, labels = make_blobs(120, centers=3, random_state=0)
    return StandardScaler().fit_transform(points), np.array(["ant", "bee", "cat"])[labels]


def test_scikit_learns_own_checks() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        results = check_estimator(Classifier(epochs=8, lr=0.02), on_fail=None)  # 20 pass, later
    failed = {
        result["check_name"]: result["exception"]
        for result in results
        if result["status"] not in ("passed", "skipped")
    }
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    assert not failed
    # One asks for SCIPY_ARRAY_API in the environment, the other for pandas.
    assert skipped <= {"check_array_api_input", "check_classifier_data_not_an_array"}
    assert len(results) > 40


def test_the_seed_decides(blobs: Any) -> None:
    points, labels = blobs

    def scores(seed: int) -> Any:
        return Classifier(epochs=2, random_state=seed).fit(points, labels).predict_proba(points)

    assert (scores(1) == scores(1)).all()
    assert (scores(1) != scores(2)).any()


def test_probabilities_and_decisions_agree_with_the_predictions(blobs: Any) -> None:
    points, labels = blobs
    for chosen in (labels, np.where(labels == "cat", "cat", "dog")):
        fitted = Classifier(epochs=5, random_state=0).fit(points, chosen)
        predicted = fitted.predict(points)
        probabilities, decisions = fitted.predict_proba(points), fitted.decision_function(points)
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
        assert (predicted == fitted.classes_[probabilities.argmax(axis=1)]).all()
        best = decisions > 0 if decisions.ndim == 1 else decisions.argmax(axis=1)
        assert (predicted == fitted.classes_[best.astype(int)]).all()
        assert fitted.score(points, chosen) > 0.9


def test_a_network_of_ones_own(blobs: Any) -> None:
    points, labels = blobs

    def made(shape: tuple[int, ...], classes: int, generator: Any) -> nn.Module:
        return nn.Linear(*shape, classes, generator=generator)

    def momentum(parameters: Any, lr: float) -> optim.SGD:
        return optim.SGD(parameters, lr, momentum=0.9)

    one = nn.Linear(2, 3)
    before = one.weight.detach().numpy().copy()
    for model in (made, one):
        fitted = Classifier(model, optimizer=momentum, lr=0.1, random_state=0).fit(points, labels)
        assert isinstance(fitted.model_, nn.Linear)
        assert fitted.score(points, labels) > 0.9
    assert (one.weight.detach().numpy() == before).all(), (
        "a copy is trained, and not the one that was given"
    )


def test_images_get_a_convnet() -> None:
    images, labels = load_digits()
    fitted = Classifier(epochs=2, lr=0.003, random_state=0, compile=True)
    fitted.fit(images[:600], labels[:600])
    assert fitted.score(images[600:900], labels[600:900]) > 0.8
    assert len(fitted.history_) == 2
    with pytest.raises(ValueError, match=r"fitted to samples of shape \(1, 8, 8\).*\(1, 4, 16\)"):
        fitted.predict(images.reshape(-1, 1, 4, 16)[:2])


def test_it_is_searched_piped_and_pickled(blobs: Any) -> None:
    points, labels = blobs
    pipe = make_pipeline(StandardScaler(), Classifier(epochs=3, random_state=0))
    search = GridSearchCV(pipe, {"classifier__lr": [1e-5, 0.03]}, cv=2).fit(points, labels)
    assert search.best_params_ == {"classifier__lr": 0.03}
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert (again.predict_proba(points) == search.predict_proba(points)).all()
    assert not hasattr(clone(again)[-1], "model_")


def test_callbacks_are_told(blobs: Any) -> None:
    seen: list[int] = []
    stop = EarlyStopping("loss", patience=1, min_delta=9.0)
    chosen = Classifier(epochs=5, callbacks=[stop, lambda trainer: seen.append(trainer.epoch)])
    assert len(chosen.fit(*blobs).history_) == 2
    assert seen == [0, 1]


def test_what_diverges_is_said(blobs: Any) -> None:
    points, labels = blobs
    with pytest.raises(DivergenceError, match="a lower learning rate"):
        Classifier(optimizer=optim.SGD, lr=1e30).fit(points, labels)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "tinygrad_cv.train.classifier")
    with pytest.raises(ImportError, match=r"pip install 'tinygrad_cv\[sklearn\]'"):
        _ = train.Classifier


def test_preprocessing_is_copied_and_runs_in_a_pipeline() -> None:
    twin = clone(Whitening(0.5, zca=True, eps=0.1))
    assert (twin.n_components, twin.zca, twin.eps, twin.fitted) == (0.5, True, 0.1, False)
    images, labels = load_digits()
    rows = images.reshape(len(images), -1)
    steps = make_pipeline(Normalize(eps=1e-5), PCA(3))
    assert steps.fit_transform(rows, labels).shape == (len(rows), 3)
