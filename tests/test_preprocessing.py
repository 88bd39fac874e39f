"""Preprocessing that is fitted and stored, against two passes and singular values by NumPy."""

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from programs import Array, values
from tinygrad_cv import data, nn, train
from tinygrad_cv._moments import Moments
from tinygrad_cv.data import DataLoader, TensorDataset, preprocessing
from tinygrad_cv.data.preprocessing import (
    PCA,
    Center,
    ChannelMean,
    ChannelNormalize,
    MeanImage,
    Normalize,
    Pipeline,
    Whitening,
)
from tinygrad_cv.testing import check_gradients, no_sync

IMAGES = np.random.default_rng(5).normal(3.0, 2.0, size=(40, 3, 2, 4))
DIGITS = data.load_dataset("digits").train_images.astype("float64")
STILL = np.ptp(DIGITS, axis=0) == 0
"""The pixels that are constant."""


def by_hand(name: str, x: Array, y: Array) -> Array:
    """What a kind of preprocessing, fitted to x, makes of y: in two passes, with NumPy."""
    axes = (0, 2, 3) if name.startswith("Channel") else 0
    centred = y - x.mean(axis=axes, keepdims=True)
    if name.endswith("Normalize"):
        return centred / x.std(axis=axes, keepdims=True)
    if name.startswith(("PCA", "Whitening")):
        rows = (x - x.mean(axis=0)).reshape(len(x), -1)
        _, singular, axes_ = np.linalg.svd(rows, full_matrices=False)
        axes_ *= np.sign(axes_[range(len(axes_)), abs(axes_).argmax(axis=1)])[:, None]
        z = centred.reshape(len(y), -1) @ axes_.T
        if name != "PCA":
            z /= np.sqrt(singular**2 / len(x) + 0.01)
        return (z @ axes_).reshape(y.shape) if name == "Whitening, zca" else z
    return centred


KINDS: dict[str, Callable[[], Any]] = {
    "Center": Center,
    "Normalize": Normalize,
    "MeanImage": MeanImage,
    "ChannelMean": ChannelMean,
    "ChannelNormalize": ChannelNormalize,
    "PCA": PCA,
    "Whitening": lambda: Whitening(eps=0.01),
    "Whitening, zca": lambda: Whitening(zca=True, eps=0.01),
}


@pytest.mark.host
def test_the_table_holds_every_kind() -> None:
    kinds = {
        name
        for name, thing in vars(preprocessing).items()
        if isinstance(thing, type)
        and issubclass(thing, preprocessing.Fitted)
        and thing is not preprocessing.Fitted
    }
    assert kinds == {name.partition(",")[0] for name in KINDS}


# ----- one pass ----------------------------------------------------------------------------------


@pytest.mark.host
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from([0.0, 1.0, 1e7]),
    st.booleans(),
)
def test_moments_do_not_depend_on_how_the_samples_come(
    sizes: list[int], features: int, places: int, offset: float, products: bool
) -> None:
    places = 1 if products else places
    x = np.random.default_rng(sum(sizes)).normal(offset, 1.0, size=(sum(sizes), features, places))
    x[:, 0] = offset + 0.1  # one of them is constant
    moments = Moments(products)
    for part in np.split(x, np.cumsum(sizes)[:-1]):
        moments.add(part)
    rows = np.moveaxis(x, 1, 2).reshape(-1, features)
    centred = rows - offset
    assert moments.count == len(rows)
    assert_allclose(moments.mean - offset, centred.mean(axis=0), atol=1e-15 + offset * 1e-15)
    expected = np.cov(centred.T, bias=True).reshape(features, features)
    if not products:
        expected = np.diag(expected)
    assert_allclose(moments.variance, expected, atol=1e-13 + offset * 1e-15)
    assert_array_equal(moments.variance[0], 0)
    assert moments.mean[0] == offset + 0.1


@pytest.mark.host
def test_large_numbers_of_little_variance_keep_it() -> None:
    x = 1e9 + np.random.default_rng(0).normal(size=(1000, 2))
    assert_allclose(Normalize().fit(x).std.numpy(), (x - 1e9).std(axis=0), rtol=1e-7)
    naive = (x**2).mean(axis=0) - x.mean(axis=0) ** 2
    assert abs(naive - 1).max() > 1  # the formula without centring


@pytest.mark.host
def test_a_large_array_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Normalize().fit(IMAGES)
    monkeypatch.setattr(preprocessing, "CHUNK", 100)
    parts = Normalize().fit(IMAGES)
    assert_allclose(parts.std.numpy(), whole.std.numpy(), rtol=1e-14)


def batches(x: Array) -> Iterator[Any]:
    yield tg.tensor(x[:7]), [0] * 7
    yield x[7:], [0] * (len(x) - 7)


def test_an_array_a_tensor_a_loader_a_dataset_and_batches_give_the_same() -> None:
    labels = np.arange(len(IMAGES))
    expected = IMAGES.mean(axis=0)
    for given_ in (
        IMAGES,
        IMAGES.tolist(),
        tg.tensor(IMAGES),
        tg.tensor(IMAGES, requires_grad=True),
        DataLoader(TensorDataset(IMAGES, labels), batch_size=7, shuffle=True),
        DataLoader(TensorDataset(IMAGES), batch_size=40),
        TensorDataset(IMAGES, labels),
        [IMAGES[:1], IMAGES[1:]],
        batches(IMAGES),
    ):
        prep = MeanImage().fit(given_)
        assert_allclose(values(prep.mean), expected, rtol=1e-12)
        assert prep.mean.dtype == "float64"
        assert not prep.mean.requires_grad


def test_whole_numbers_and_halves_have_statistics_of_the_default_dtype() -> None:
    for dtype in ("uint8", "int64", "bool", "float16"):
        x = np.array([[0, 1], [1, 1], [1, 0]]).astype(dtype)
        prep = Center().fit(x)
        assert prep.mean.dtype == "float32"
        assert_allclose(values(prep.mean), [2 / 3, 2 / 3], rtol=1e-6)
        assert prep.transform(x).dtype == ("float16" if dtype == "float16" else "float32")


# ----- use ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_each_is_its_formula_and_goes_back(name: str) -> None:
    prep = KINDS[name]().fit(IMAGES)
    other = IMAGES[:5] + np.random.default_rng(1).normal(size=(5, 3, 2, 4))
    expected = by_hand(name, IMAGES, other)
    z = prep.transform(other)
    assert isinstance(z, np.ndarray)
    assert_allclose(z, expected, atol=1e-9)
    x = tg.tensor(other)
    assert_allclose(values(prep(x)), expected, atol=1e-9)
    assert_allclose(prep.inverse(z), other, atol=1e-9)
    assert_allclose(values(prep.inverse(prep(x))), other, atol=1e-9)
    assert_allclose(values(prep(x[2])), expected[2], atol=1e-9)  # one sample, as of a dataset
    assert prep(x.float()).dtype == "float32"
    assert_allclose(prep.fit_transform(IMAGES), by_hand(name, IMAGES, IMAGES), atol=1e-9)


@pytest.mark.parametrize("name", KINDS)
def test_gradients_go_to_the_image(name: str) -> None:
    prep = KINDS[name]().fit(IMAGES)
    check_gradients(prep, [tg.tensor(IMAGES[:2])])
    x = tg.tensor(IMAGES[:2], requires_grad=True)
    prep.inverse(prep(x)).sum().backward()
    assert x.grad is not None
    assert_allclose(values(x.grad), np.ones_like(IMAGES[:2]), atol=1e-9)


@pytest.mark.parametrize("name", KINDS)
def test_a_model_carries_its_preprocessing(name: str, tmp_path: Path) -> None:
    def made() -> nn.Module:
        return nn.Sequential(KINDS[name](), nn.Flatten(), nn.Linear(24, 2))

    model, loaded = made(), made()
    with pytest.raises(RuntimeError, match=r"not fitted: call fit\(training_images\), after the"):
        model(tg.ones(2, 3, 2, 4))
    with pytest.raises(ValueError, match=r"0\.mean.*no value yet to save"):
        train.save_model(model, tmp_path / "model.safetensors")
    assert not (tmp_path / "model.safetensors").exists()
    model[0].fit(IMAGES.astype("float32"))
    assert {k.partition(".")[2] for k in model.state_dict() if k[0] == "0"} == {
        *model[0].statistics
    }
    assert len([*model.parameters()]) == 2
    train.save_model(model, tmp_path / "model.safetensors")
    wrong = {**model.state_dict(), "2.bias": tg.ones(7)}
    with pytest.raises(ValueError, match="stays as it was"):
        loaded.load_state_dict(wrong)
    assert not loaded[0].fitted
    train.load_model(loaded, tmp_path / "model.safetensors")
    x = tg.tensor(IMAGES[:3].astype("float32"))
    for twin in (loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_array_equal(values(twin(x)), values(model(x)))
        assert repr(twin) == repr(model)


def test_statistics_go_where_the_module_goes() -> None:
    prep = Normalize().fit(IMAGES)
    assert prep.mean.device == tg.get_default_device()
    elsewhere = Normalize().to("fakecuda:0").fit(IMAGES)
    assert (elsewhere.mean.device, elsewhere.std.device) == ("fakecuda:0", "fakecuda:0")
    follows = Normalize().fit(tg.tensor(IMAGES, device="fakecuda:0"))
    assert follows.mean.device == "fakecuda:0"
    assert follows(tg.tensor(IMAGES, device="fakecuda:0")).device == "fakecuda:0"
    assert prep.to(dtype="float32").std.dtype == "float32"


@pytest.mark.host
@pytest.mark.parametrize("name", KINDS)
def test_nothing_waits_for_the_device(name: str) -> None:
    x = tg.tensor(IMAGES.astype("float32"), device="fakecuda:0", requires_grad=True)
    prep = KINDS[name]().fit(x)
    with no_sync():
        prep.inverse(prep(x)).sum().backward()


@pytest.mark.host
def test_what_is_held_out_is_not_looked_at() -> None:
    """Fitted after the split, the statistics are the same whatever the other part holds."""
    found = []
    for held_out in (0.0, 1e6, np.nan):
        x = IMAGES.copy()
        train_part, other = data.random_split(
            TensorDataset(x), [30, 10], generator=np.random.default_rng(2)
        )
        x[other.indices] = held_out
        loader = DataLoader(data.Subset(TensorDataset(x), train_part.indices), batch_size=8)
        found.append(Normalize().fit(loader).state_dict())
    for state in found[1:]:
        for name in ("mean", "std"):
            assert_array_equal(state[name].numpy(), found[0][name].numpy())


# ----- constants, ranks, shares ------------------------------------------------------------------


@pytest.mark.host
def test_constant_features_are_told_and_stay_finite() -> None:
    assert STILL.sum() == 3
    with pytest.warns(UserWarning, match=r"3 of 64 features are constant.*first at \(0, 0, 0\)"):
        prep = Normalize().fit(DIGITS)
    z = prep.transform(DIGITS)
    assert (z[:, STILL] == 0).all()
    assert_allclose(z[:, ~STILL].std(axis=0), 1, rtol=1e-9)
    other = DIGITS[:1] + 0.5
    assert_allclose(prep.transform(other)[:, STILL], 0.5)
    assert_allclose(prep.inverse(prep.transform(other)), other, rtol=1e-12)
    quiet = Normalize(eps=0.01).fit(DIGITS)
    assert_allclose(quiet.std.numpy(), np.sqrt(DIGITS.var(axis=0) + 0.01), rtol=1e-12)


@pytest.mark.host
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
def test_whitened_digits_have_the_identity_on_the_axes_that_are_kept(dtype: str) -> None:
    x = (16 * DIGITS).astype(dtype)
    white = Whitening(eps=0).fit(x)
    assert white.components.shape == (61, 1, 8, 8)
    z = white.transform(x.astype("float64"))
    tolerance = 1e-9 if dtype == "float64" else 1e-2
    assert_allclose(z.T @ z / len(z), np.eye(61), atol=tolerance)
    zca = Whitening(zca=True, eps=0).fit(16 * DIGITS)
    rows = zca.transform(16 * DIGITS).reshape(len(x), 64)
    covariance = rows.T @ rows / len(rows)
    assert_allclose(covariance @ covariance, covariance, atol=1e-9)  # a projection
    assert_allclose(np.trace(covariance), 61)
    assert abs(rows[:, STILL.ravel()]).max() < 1e-9


@pytest.mark.host
@pytest.mark.parametrize("made", [lambda: PCA(5), lambda: Whitening(5), lambda: Whitening(5, True)])
def test_the_inverse_projects_on_what_is_kept(made: Callable[[], Any]) -> None:
    prep = made().fit(DIGITS)
    mean = DIGITS.mean(axis=0).ravel()
    axes = prep.components.numpy().reshape(5, 64)
    x = DIGITS[:9].reshape(9, 64)
    on_axes, *_ = np.linalg.lstsq(axes.T, (x - mean).T, rcond=None)
    expected = mean + on_axes.T @ axes
    assert_allclose(prep.inverse(prep.transform(DIGITS[:9])).reshape(9, 64), expected, atol=1e-9)


@pytest.mark.host
def test_components_are_counted_or_hold_a_share_of_the_variance() -> None:
    rows = DIGITS.reshape(len(DIGITS), 64)
    variance = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2 / len(rows)
    shares = variance.cumsum() / variance.sum()
    for share in (0.3, 0.9, 0.999, float(shares[7])):
        prep = PCA(share).fit(rows)
        k = len(prep.components)
        assert shares[k - 1] >= share - 1e-12
        assert k == 1 or shares[k - 2] < share
        assert_allclose(prep.explained_variance.numpy(), variance[:k], rtol=1e-9)
        assert_allclose(prep.explained_variance_ratio.sum(), shares[k - 1], rtol=1e-9)
    assert len(PCA(4).fit(rows).components) == 4
    with pytest.raises(
        ValueError, match=r"n_components=62, .*64 features, and 3 of them constant.*61"
    ):
        PCA(62).fit(rows)


@pytest.mark.host
def test_few_samples_are_told() -> None:
    with pytest.warns(UserWarning, match="6 samples of 24 features, which vary in at most 5"):
        prep = PCA().fit(IMAGES[:6])
    assert prep.components.shape == (5, 3, 2, 4)
    assert_allclose(prep.inverse(prep.transform(IMAGES[:6])), IMAGES[:6], atol=1e-9)


# ----- several -----------------------------------------------------------------------------------


def test_a_pipeline_fits_each_to_what_those_before_it_give() -> None:
    prep = Pipeline(MeanImage(), nn.Flatten(), PCA(6), Normalize())
    loader = DataLoader(TensorDataset(IMAGES, np.arange(40)), batch_size=16)
    z = prep.fit(loader).transform(IMAGES)
    assert_allclose(z.mean(axis=0), 0, atol=1e-9)
    assert_allclose(z.T @ z / len(z), np.eye(6), atol=1e-9)
    x = tg.tensor(IMAGES)
    assert_allclose(values(prep(x)), z, atol=1e-9)
    assert_allclose(values(prep.transform(x)), z, atol=1e-9)
    assert list(prep.state_dict())[:2] == ["0.mean", "2.mean"]
    with pytest.raises(TypeError, match="Flatten has no inverse"):
        prep.inverse(z)
    back = Pipeline(Center(), Pipeline(Normalize(), Whitening(zca=True)))
    assert_allclose(back.inverse(back.fit_transform(IMAGES)), IMAGES, atol=1e-9)
    with pytest.raises(TypeError, match="an iterator is gone after the first"):
        prep.fit(batches(IMAGES))


# ----- what is refused ---------------------------------------------------------------------------

BAD = IMAGES.copy()
BAD[17, 0, 1, 3] = np.nan
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "NaN": (
        lambda: Center().fit(DataLoader(TensorDataset(BAD), batch_size=7)), ValueError,
        r"finite numbers; sample 17 has nan at \(0, 1, 3\)",
    ),
    "no samples": (lambda: Center().fit(IMAGES[:0]), ValueError, "1 or more samples; got 0"),
    "no batches": (lambda: Center().fit([]), ValueError, "1 or more samples; got 0"),
    "one sample": (lambda: Normalize().fit(IMAGES[:1]), ValueError, "2 or more samples; got 1"),
    "equal samples": (lambda: PCA().fit(np.ones((9, 3))), ValueError, "all samples are equal"),
    "numbers": (lambda: Center().fit(np.ones(4)), ValueError, r"samples \(N, ...\).*\(4,\)"),
    "no features": (lambda: Center().fit(np.ones((4, 0))), ValueError, r"more features.*\(4, 0\)"),
    "no images": (lambda: MeanImage().fit(np.ones((4, 9))), ValueError, r"\(N, C, H, W\).*\(4"),
    "no channels": (lambda: ChannelMean().fit(np.ones((4, 9))), ValueError, r"\(N, C, H, W\).*\(4"),
    "batches": (
        lambda: Center().fit([np.ones((2, 3)), np.ones((2, 4))]), ValueError,
        r"one shape; the first were \(3,\), and sample 2 is \(4,\)",
    ),
    "refitted": (
        lambda: Center().fit(np.ones((2, 3))).fit(np.ones((2, 4))), ValueError,
        r"fitted to samples of the shape \(3,\); these are \(4,\)",
    ),
    "another shape": (
        lambda: Center().fit(IMAGES).transform(IMAGES[..., :3]), ValueError,
        r"of the shape \(3, 2, 4\); got \(40, 3, 2, 3\)",
    ),
    "other channels": (
        lambda: ChannelMean().fit(IMAGES)(tg.ones(1, 4, 2, 4)), ValueError,
        r"with 3 channels.*got \(1, 4, 2, 4\)",
    ),
    "coordinates": (
        lambda: PCA(2).fit(IMAGES).inverse(np.ones((4, 3))), ValueError, r"\(N, 2\); got \(4, 3\)",
    ),
    "words": (lambda: Center().fit("words"), TypeError, "a DataLoader.*got a str"),
    "a dict": (lambda: Center().fit([{"x": IMAGES}]), TypeError, "first field; got a dict"),
    "complex": (lambda: Center().fit(1j * IMAGES), TypeError, "numbers; got complex128"),
    "a loader": (
        lambda: Center().fit_transform([(IMAGES, 0)]), TypeError, "and transform each batch",
    ),
    "n_components": (lambda: PCA(2.0), ValueError, "between 0 and 1, or None for all; got 2.0"),
    "no components": (lambda: PCA(0), ValueError, "1 or more.*got 0"),
    "eps": (lambda: Normalize(-1), ValueError, "0 or more; got -1"),
    "an eps": (lambda: Whitening(eps=float("nan")), ValueError, "0 or more; got nan"),
}  # fmt: skip


@pytest.mark.host
@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_said(name: str) -> None:
    call, error, told = WRONG[name]
    with pytest.raises(error, match=told):
        call()


@pytest.mark.host
def test_a_fit_that_fails_changes_nothing() -> None:
    prep = Normalize().fit(IMAGES)
    before = prep.mean.numpy().copy()
    with pytest.raises(ValueError, match="finite"):
        prep.fit(BAD)
    assert_array_equal(prep.mean.numpy(), before)
    assert_allclose(prep.fit(2 * IMAGES).mean.numpy(), 2 * before)
