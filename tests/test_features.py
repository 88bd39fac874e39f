"""Hand-made features, against loops over cells and over pixels."""

import colorsys
import math
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

import tinygrad_cv as tg
from programs import Array
from tinygrad_cv.data import DataLoader, TensorDataset, transforms
from tinygrad_cv.data.features import HOG, Features, HueHistogram

pytestmark = pytest.mark.host  # they are made in host memory

X = np.random.default_rng(3).random((4, 3, 17, 20))


def hog(image: Array, orientations: int, side: int, block: int, norm: str) -> list[float]:
    """Dalal & Triggs' histograms of one image (C, H, W), pixel by pixel."""
    grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2] if len(image) == 3 else image[0]
    height, width = grey.shape
    cells = np.zeros((height // side, width // side, orientations))
    for i in range(height // side * side):
        for j in range(width // side * side):
            down = grey[i + 1, j] - grey[i - 1, j] if 0 < i < height - 1 else 0.0
            right = grey[i, j + 1] - grey[i, j - 1] if 0 < j < width - 1 else 0.0
            angle = math.degrees(math.atan2(down, right)) % 180
            which = int(angle // (180 / orientations)) % orientations
            cells[i // side, j // side, which] += math.hypot(down, right) / side**2
    features = []
    for i in range(height // side - block + 1):
        for j in range(width // side - block + 1):
            v = cells[i : i + block, j : j + block].ravel()
            length = abs(v).sum() + 1e-5 if norm == "L1" else math.sqrt((v * v).sum() + 1e-10)
            v = v / length
            if norm == "L2-Hys":
                v = np.minimum(v, 0.2)
                v = v / math.sqrt((v * v).sum() + 1e-10)
            features += v.tolist()
    return features


@pytest.mark.parametrize(
    ("orientations", "side", "block", "norm", "channels"),
    [(9, 8, 2, "L2-Hys", 3), (4, 5, 1, "L2", 1), (6, 3, 3, "L1", 3), (1, 8, 1, "L2-Hys", 1)],
)
def test_hog_is_the_loop_over_pixels(
    orientations: int, side: int, block: int, norm: str, channels: int
) -> None:
    x = X[:2, :channels]
    expected = [hog(image, orientations, side, block, norm) for image in x]
    made = HOG(orientations, side, block, norm)
    # Scikit-image adds the votes up in float32.
    assert_allclose(made(x), expected, rtol=1e-6, atol=1e-7)
    assert_allclose(made(x[0]), expected[0], rtol=1e-6, atol=1e-7)
    assert made(x[:0]).shape == (0, len(expected[0]))


@given(st.integers(1, 12), st.booleans(), st.integers(0, 9))
def test_the_hue_histogram_is_that_of_colorsys(bins: int, weigh: bool, seed: int) -> None:
    # eighths, so that greys and equal channels are among them
    x = np.random.default_rng(seed).integers(0, 5, size=(2, 3, 3, 4)) / 4
    expected = np.zeros((2, bins))
    for histogram, image in zip(expected, x, strict=True):
        for pixel in image.reshape(3, -1).T:
            turn, _, _ = colorsys.rgb_to_hsv(*pixel)
            place = turn * bins
            if abs(place - round(place)) < 1e-9:  # on an edge, where roundings differ
                place = round(place) % bins
            histogram[int(place)] += np.ptp(pixel) if weigh else 1
        histogram /= histogram.sum() or 1
    assert_allclose(HueHistogram(bins, weigh)(x), expected, atol=1e-9)


@pytest.mark.parametrize("made", [HOG(), HueHistogram(), Features(HueHistogram(3), HOG())])
def test_features_of_whatever_an_image_is(made: Callable[..., Any]) -> None:
    x = X.astype("float32")
    whole = made(x)
    assert (whole.shape[0], whole.ndim, whole.dtype) == (4, 2, "float32")
    assert_array_equal(whole[2], made(x[2]))
    tensor = made(tg.tensor(x))
    assert isinstance(tensor, tg.Tensor)
    assert_array_equal(tensor.numpy(), whole)
    eight_bits = (255 * X).round().astype("uint8")
    assert_allclose(made(eight_bits), made((eight_bits / 255).astype("float32")), atol=1e-6)
    picture = Image.fromarray(eight_bits[0].transpose(1, 2, 0).copy())
    assert_array_equal(made(picture), made(eight_bits[0]))
    assert repr(pickle.loads(pickle.dumps(made))) == repr(made)
    (batch,) = DataLoader(TensorDataset(x), 4, transform=lambda x, generator: (made(x),))
    assert_array_equal(batch[0].numpy(), whole)
    flipped = transforms.Compose([transforms.RandomHorizontalFlip(1), made])(x)
    assert_array_equal(flipped, made(x[..., ::-1]))


def test_several_features_stand_one_behind_the_other() -> None:
    both = Features(HueHistogram(3), HOG(4))(X)
    assert_array_equal(both, np.concatenate([HueHistogram(3)(X), HOG(4)(X)], axis=1))
    counted = Features(HueHistogram(np.int64(3)), HOG(np.int32(4)))  # type: ignore[arg-type]
    assert_array_equal(counted(X), both)
    assert repr(Features(HueHistogram(3))) == "Features(HueHistogram(bins=3, weigh=False))"


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "orientations": (lambda: HOG(0), ValueError, "1 or more; got 0"),
    "a norm": (lambda: HOG(block_norm="L3"), ValueError, "'L2-Hys'; got 'L3'"),
    "cells": (lambda: HOG(pixels_per_cell=0), ValueError, "pixels_per_cell.*got 0"),
    "small images": (lambda: HOG()(X[..., :9]), ValueError, "16x16 pixels, and the images 17x9"),
    "bins": (lambda: HueHistogram(2.0), ValueError, "1 or more; got 2.0"),  # type: ignore[arg-type]
    "truth": (lambda: HueHistogram(True), ValueError, "1 or more; got True"),
    "grey": (lambda: HueHistogram()(X[:, :1]), ValueError, "3 channels; got 1"),
    "NaN": (lambda: HueHistogram()(X * np.nan), ValueError, "finite numbers"),
    "a matrix": (lambda: HOG()(X[0, 0]), ValueError, r"\(C, H, W\).*\(17, 20\)"),
    "a graph": (lambda: HOG()(tg.ones(1, 9, 9, requires_grad=True)), ValueError, "detach"),
    "no features": (lambda: Features(), TypeError, "takes HOG, HueHistogram"),
    "others": (lambda: Features(abs), TypeError, "takes HOG, HueHistogram"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_said(name: str) -> None:
    call, error, told = WRONG[name]
    with pytest.raises(error, match=told):
        call()


def test_without_scikit_image_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_cv\[features\]'"):
        HOG()(X)
