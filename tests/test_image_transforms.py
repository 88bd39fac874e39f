"""Transforms of images: against Pillow, SciPy and loops, as batches, seeded, and of bad input."""

import colorsys
import itertools
import math
import pickle
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageOps

import tinygrad_cv as tg
from tinygrad_cv import manual_seed
from tinygrad_cv.data import DataLoader, Dataset, TensorDataset, transforms
from tinygrad_cv.data.transforms import InterpolationMode, functional

Array = np.ndarray[Any, Any]
T, F = transforms, functional


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def double(image: Any) -> Any:
    return image * 2


def noise(*shape: int, dtype: str = "uint8", seed: int = 0) -> Array:
    pixels = rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return pixels if dtype == "uint8" else (pixels / 255).astype(dtype)


def to_pillow(pixels: Array) -> Any:
    """(C, H, W) as Pillow has it, by NumPy alone."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy())


def of_pillow(image: Any) -> Array:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


RANDOM: dict[str, Callable[..., Any]] = {
    "RandomCrop": lambda **o: T.RandomCrop(9, padding=3, fill=1, **o),
    "RandomCrop, padded if needed": lambda **o: T.RandomCrop((14, 9), pad_if_needed=True, **o),
    "RandomHorizontalFlip": lambda **o: T.RandomHorizontalFlip(**o),
    "RandomVerticalFlip": lambda **o: T.RandomVerticalFlip(0.3, **o),
    "RandomResizedCrop": lambda **o: T.RandomResizedCrop((8, 7), **o),
    "RandomErasing": lambda **o: T.RandomErasing(0.7, **o),
    "RandomErasing, noise": lambda **o: T.RandomErasing(0.7, value="random", **o),
    "Cutout": lambda **o: T.Cutout(5, p=0.7, **o),
    "RandomRotation": lambda **o: T.RandomRotation(30, fill=1, **o),
    "RandomAffine": lambda **o: T.RandomAffine(
        10, (0.1, 0.2), (0.8, 1.2), (-5, 5, -3, 3), "bilinear", **o
    ),
    "RandomPerspective": lambda **o: T.RandomPerspective(0.4, 0.6, **o),
    "ElasticTransform": lambda **o: T.ElasticTransform(3.0, 1.0, **o),
    "ColorJitter": lambda **o: T.ColorJitter(0.4, 0.4, 0.4, 0.2, **o),
    "RandomGrayscale": lambda **o: T.RandomGrayscale(0.5, **o),
    "RandomInvert": lambda **o: T.RandomInvert(**o),
    "RandomPosterize": lambda **o: T.RandomPosterize(3, **o),
    "RandomSolarize": lambda **o: T.RandomSolarize(0.7, **o),
    "RandomAdjustSharpness": lambda **o: T.RandomAdjustSharpness(2, **o),
    "RandomAutocontrast": lambda **o: T.RandomAutocontrast(**o),
    "RandomEqualize": lambda **o: T.RandomEqualize(**o),
    "RandomChannelPermutation": lambda **o: T.RandomChannelPermutation(**o),
    "GaussianBlur": lambda **o: T.GaussianBlur((3, 5), **o),
    "GaussianNoise": lambda **o: T.GaussianNoise(**o),
    "AutoAugment": lambda **o: T.AutoAugment("cifar10", **o),
    "RandAugment": lambda **o: T.RandAugment(fill=1, **o),
    "TrivialAugmentWide": lambda **o: T.TrivialAugmentWide(**o),
    "AugMix": lambda **o: T.AugMix(**o),
}
"""The random ones that can be shown a batch."""
ALONE: dict[str, Callable[..., Any]] = {
    "RandomRotation, expanded": lambda **o: T.RandomRotation(30, expand=True, **o),
    "RandomZoomOut": lambda **o: T.RandomZoomOut(1, **o),
    "RandomResize": lambda **o: T.RandomResize(5, 9, **o),
    "RandomShortestSize": lambda **o: T.RandomShortestSize([5, 6, 7], 12, **o),
    "ScaleJitter": lambda **o: T.ScaleJitter((12, 10), **o),
}
PLAIN: dict[str, Callable[[], Any]] = {
    "Normalize": lambda: T.Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.1)),
    "Resize": lambda: T.Resize((5, 8)),
    "Resize, nearest": lambda: T.Resize(20, "nearest"),
    "CenterCrop": lambda: T.CenterCrop((5, 20)),
    "Pad": lambda: T.Pad((1, 2, 3, 4), fill=(1, 2, 3)),
    "Pad, mirrored": lambda: T.Pad(2, padding_mode="reflect"),
    "Grayscale": lambda: T.Grayscale(),
    "RGB": lambda: T.RGB(),
    "ToDtype": lambda: T.ToDtype("float32", scale=True),
    "ConvertImageDtype": lambda: T.ConvertImageDtype(),
    "ImageClassification": lambda: T.ImageClassification(crop_size=6, resize_size=8),
    "Identity": lambda: T.Identity(),
    "Lambda": lambda: T.Lambda(double),
}
OTHERS: dict[str, Callable[[], Any]] = {
    "ToTensor": T.ToTensor,
    "PILToTensor": T.PILToTensor,
    "ToImage": T.ToImage,
    "ToPureTensor": T.ToPureTensor,
    "ToPILImage": T.ToPILImage,
    "FiveCrop": lambda: T.FiveCrop(3),
    "TenCrop": lambda: T.TenCrop(3, vertical_flip=True),
    "LinearTransformation": lambda: T.LinearTransformation(np.eye(2), np.zeros(2)),
    "MixUp": lambda: T.MixUp(num_classes=3),
    "CutMix": lambda: T.CutMix(num_classes=3, alpha=0.5),
    "Compose": lambda: T.Compose([T.RandomInvert(), double]),
    "RandomApply": lambda: T.RandomApply([T.RandomInvert(), T.Identity()], 0.3),
    "RandomChoice": lambda: T.RandomChoice([T.RandomInvert(), T.Identity()], [1, 3]),
    "RandomOrder": lambda: T.RandomOrder([T.RandomInvert(), T.Pad(0)]),
}
EVERY: dict[str, Callable[..., Any]] = {**RANDOM, **ALONE, **PLAIN, **OTHERS}


@pytest.mark.host
def test_the_tables_hold_every_transform() -> None:
    named = {name.partition(",")[0] for name in EVERY}
    classes = {
        name
        for name, thing in vars(T).items()
        if isinstance(thing, type) and issubclass(thing, T.Transform) and thing is not T.Transform
    }
    assert classes == named


@pytest.mark.host
def test_the_import_lines_of_v2() -> None:
    from tinygrad_cv.data.transforms import v2
    from tinygrad_cv.data.transforms.v2 import functional as other

    assert v2.ToDtype is T.ToDtype
    assert other is F
    assert tg.data.transforms is T


# ----- one transform of all kinds of images -------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("name", [*RANDOM, *PLAIN])
def test_a_batch_gets_what_its_images_get_one_after_the_other(name: str, dtype: str) -> None:
    if dtype == "uint8" and name == "RandomSolarize":
        return  # its threshold is for floats
    images = noise(9, 3, 12, 15, dtype=dtype)
    before = images.copy()
    make = RANDOM.get(name)
    change = make(generator=rng(3)) if make else PLAIN[name]()
    together = change(images)
    change = make(generator=rng(3)) if make else PLAIN[name]()
    alone = [change(image) for image in images]
    for mixed, single in zip(together, alone, strict=True):
        if "float" in str(mixed.dtype) and name not in ("RandomCrop", "RandomHorizontalFlip"):
            assert_allclose(mixed, single, rtol=1e-6, atol=1e-6, strict=True)
        else:
            assert_array_equal(mixed, single, strict=True)
    assert_array_equal(images, before)
    change = make(generator=rng(3)) if make else PLAIN[name]()
    tensors = change(tg.Tensor(images))
    assert isinstance(tensors, tg.Tensor)
    assert tensors.device == tg.get_default_device()
    assert_array_equal(tensors.numpy(), together, strict=True)


@pytest.mark.host
@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_gives_one_result(name: str) -> None:
    images = noise(6, 3, 12, 25, dtype="float32")
    make = RANDOM[name]
    wanted = make(generator=rng(1))(images)
    manual_seed(1)
    assert_array_equal(make()(images), wanted)
    assert_array_equal(make()(images, generator=rng(1)), wanted)
    images_, labels = make()(images, "labels", rng(1))
    assert_array_equal(images_, wanted)
    assert labels == "labels"
    manual_seed(1)
    with_label = make()(images, 5)
    assert_array_equal(with_label[0], wanted)
    assert with_label[1] == 5
    own = make(generator=rng(1))
    assert_array_equal(own(images, generator=rng(2)), wanted)
    assert not np.array_equal(own(images), wanted)


@pytest.mark.host
@pytest.mark.parametrize("name", [*RANDOM, *ALONE])
def test_a_pillow_image_draws_what_an_array_draws(name: str) -> None:
    pixels = noise(3, 12, 15)
    change = {**RANDOM, **ALONE}[name]
    if name in ("RandomChannelPermutation", "GaussianNoise", "RandomSolarize"):
        return
    seen, image = change(generator=rng(2))(pixels), change(generator=rng(2))(to_pillow(pixels))
    assert isinstance(image, Image.Image)
    assert of_pillow(image).shape == seen.shape
    if name in (
        "RandomCrop",
        "RandomHorizontalFlip",
        "RandomVerticalFlip",
        "RandomErasing",
        "Cutout",
    ):
        assert_array_equal(of_pillow(image), seen)


@pytest.mark.host
@pytest.mark.parametrize("name", EVERY)
def test_transforms_are_pickled_and_shown(name: str) -> None:
    change = EVERY[name]()
    twin = pickle.loads(pickle.dumps(change))
    assert repr(twin) == repr(change)
    assert repr(change).startswith(name.partition(",")[0] + "(")
    assert "generator" not in repr(change)
    if name in RANDOM:
        assert "generator=Generator(PCG64)" in repr(EVERY[name](generator=rng()))


@pytest.mark.host
def test_the_representation_shows_the_arguments() -> None:
    change = T.Compose([T.RandomApply([T.Pad(1)], p=0.25), T.Resize(4, "bicubic"), double])
    assert repr(change) == (
        "Compose(\n"
        "    RandomApply(\n"
        "        Pad(padding=1, fill=0, padding_mode='constant')\n"
        "        p=0.25\n"
        "    )\n"
        "    Resize(size=4, interpolation='bicubic', max_size=None, antialias=True)\n"
        "    double\n"
        ")"
    )


@pytest.mark.host
@pytest.mark.parametrize("name", [*RANDOM, *PLAIN])
def test_a_batch_of_no_images(name: str) -> None:
    change = EVERY[name]()
    one = change(noise(1, 3, 12, 15, dtype="float32"))
    none = change(np.empty((0, 3, 12, 15), "float32"))
    assert none.shape == (0, *one.shape[1:]) or np.array_equal(none.shape, (0, 3, 12, 15))


# ----- what is random, and how ------------------------------------------------------------------


@pytest.mark.host
def test_a_crop_takes_every_place_equally_often() -> None:
    image = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3)
    out = T.RandomCrop(3, padding=1, generator=rng())(np.repeat(image[None], 9000, axis=0))
    counts = Counter(window.tobytes() for window in out)
    padded = np.pad(image[0], 1)
    places = itertools.product(range(3), repeat=2)
    assert set(counts) == {padded[i : i + 3, j : j + 3].tobytes() for i, j in places}
    assert all(abs(n - 1000) < 160 for n in counts.values())  # over five deviations


@pytest.mark.host
@pytest.mark.parametrize("change", [T.RandomHorizontalFlip, T.RandomVerticalFlip, T.RandomInvert])
@pytest.mark.parametrize(("p", "low", "high"), [(0, 0, 0), (0.25, 2200, 2800), (1, 10**4, 10**4)])
def test_a_change_has_its_probability(change: Any, p: float, low: int, high: int) -> None:
    images = np.tile(np.array([[0.0, 1.0], [1.0, 1.0]]), (10**4, 1, 1, 1))
    changed = (change(p, generator=rng())(images) != images).any(axis=(1, 2, 3)).sum()
    assert low <= changed <= high


@pytest.mark.host
@given(
    st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 1), st.floats(0.2, 5), st.integers(0, 9)
)
def test_windows_are_within_the_image_and_the_limits(
    height: int, width: int, scale: float, ratio: float, seed: int
) -> None:
    crop = T.RandomResizedCrop(4, (scale / 2, scale), (ratio / 1.5, ratio))
    made = crop.parameters(rng(seed).random((20, crop.numbers)), 3, height, width)
    h, w, top, left = (made[name] for name in ("height", "width", "top", "left"))
    assert ((h >= 1) & (w >= 1) & (top >= 0) & (left >= 0)).all()
    assert ((top + h <= height) & (left + w <= width)).all()


@pytest.mark.host
def test_windows_have_their_law() -> None:
    crop = T.RandomResizedCrop(4, (0.1, 0.5), (0.5, 2))
    made = crop.parameters(rng().random((20_000, crop.numbers)), 3, 1000, 1000)
    area = made["height"] * made["width"] / 1e6
    ratio = np.log2(made["width"] / made["height"])
    for values, low, high in ((area, 0.1, 0.5), (ratio, -1, 1)):
        share = np.sort((values - low) / (high - low))
        # Kolmogorov's distance from the uniform law: 1.95/√n is passed once in 1000
        assert abs(share - np.arange(len(share)) / len(share)).max() < 0.02
    assert abs((made["top"] / (1000 - made["height"])).mean() - 0.5) < 0.01


@pytest.mark.host
def test_a_window_that_never_fits_is_the_largest_in_the_middle() -> None:
    crop = T.RandomResizedCrop(4, (1.0, 1.0), (2.0, 2.0))
    made = crop.parameters(rng().random((1, crop.numbers)), 3, 10, 10)
    assert {name: int(v[0]) for name, v in made.items()} == {
        "top": 2, "left": 0, "height": 5, "width": 10,
    }  # fmt: skip


@pytest.mark.host
def test_erased_windows_have_their_area_and_value() -> None:
    images = np.ones((2000, 2, 20, 20), np.float32)
    erase = T.RandomErasing(0.5, (0.1, 0.1), (1, 1), [5, 7], generator=rng())
    out = erase(images)
    changed = out[:, 0] == 5
    assert_array_equal(changed, out[:, 1] == 7)
    sizes = changed.sum(axis=(1, 2))
    assert set(sizes.tolist()) == {0, 36}  # a square of 6: √40 rounded
    assert 880 < (sizes > 0).sum() < 1120
    assert (changed.any(axis=0)).all()  # everywhere
    random = T.RandomErasing(1, (0.5, 0.5), (1, 1), "random", generator=rng())(images[:500])
    values = random[random != 1]
    assert abs(values.mean()) < 0.02
    assert abs(values.std() - 1) < 0.02


@pytest.mark.host
@pytest.mark.parametrize("size", [1, 4, 5, 30])
def test_cutout_is_a_square_about_any_pixel_cut_by_the_border(size: int) -> None:
    height, width = 7, 9
    out = T.Cutout(size, [2, 3], generator=rng())(np.ones((3000, 2, height, width), np.float32))
    assert_array_equal(out[:, 0] == 2, out[:, 1] == 3)
    expected = Counter()
    for i in range(height):
        for j in range(width):
            mask = np.zeros((height, width), bool)
            for a in range(height):
                for b in range(width):
                    down, right = a - i + size // 2, b - j + size // 2
                    mask[a, b] = 0 <= down < size and 0 <= right < size
            expected[mask.tobytes()] += 1
    seen = Counter(mask.tobytes() for mask in out[:, 0] == 2)
    assert seen.keys() == expected.keys()
    for mask, places in expected.items():
        share = places / (height * width)
        assert abs(seen[mask] / 3000 - share) < 5 * (share * (1 - share) / 3000) ** 0.5 + 1e-9
    assert_array_equal(T.Cutout(3, p=0)(X), X)


@pytest.mark.host
def test_jitter_has_every_order_and_its_ranges() -> None:
    jitter = T.ColorJitter(0.5, (0.2, 0.9), None, 0.1)
    made = jitter.parameters(rng().random((4800, 8)), 3, 4, 4)
    counts = Counter(map(tuple, made["order"].tolist()))
    assert len(counts) == 24
    assert all(130 < n < 270 for n in counts.values())
    assert "saturation" not in made
    for name, low, high in (("brightness", 0.5, 1.5), ("contrast", 0.2, 0.9), ("hue", -0.1, 0.1)):
        assert low <= made[name].min() < made[name].max() <= high
        assert abs(made[name].mean() - (low + high) / 2) < 0.03 * (high - low)


@pytest.mark.host
def test_jitter_is_its_adjustments_in_their_order() -> None:
    images = noise(30, 3, 6, 6, dtype="float32")
    jitter = T.ColorJitter(0.5, 0.5, 0.5, 0.3)
    u = rng(5).random((30, 8))
    out = T.ColorJitter(0.5, 0.5, 0.5, 0.3, generator=rng(5))(images)
    made = jitter.parameters(u, 3, 6, 6)
    for n, image in enumerate(images):
        for k in np.argsort(u[n, :4]):
            name = ("brightness", "contrast", "saturation", "hue")[k]
            image = getattr(F, f"adjust_{name}")(image, made[name][n])
        assert_allclose(out[n], image, rtol=1e-5, atol=1e-6)


@pytest.mark.host
def test_choices_and_orders_belong_to_each_image() -> None:
    images = np.ones((9000, 1, 1, 1), np.float32)
    steps = [T.Lambda(lambda x: x + 1), T.Lambda(lambda x: x * 10)]
    chosen = T.RandomChoice(steps, [1, 2], generator=rng())(images).ravel()
    assert set(chosen.tolist()) == {2, 10}
    assert abs((chosen == 2).sum() - 3000) < 250
    ordered = T.RandomOrder(steps, generator=rng())(images).ravel()
    assert set(ordered.tolist()) == {11, 20}
    assert abs((ordered == 11).sum() - 4500) < 250
    applied = T.RandomApply(steps, 0.2, generator=rng())(images).ravel()
    assert set(applied.tolist()) == {1, 20}
    assert abs((applied == 20).sum() - 1800) < 200


@pytest.mark.host
def test_choices_may_change_the_shape_alike() -> None:
    images = np.arange(40 * 16, dtype=np.float32).reshape(40, 1, 4, 4)
    crops = T.RandomChoice([T.CenterCrop(2), T.RandomCrop(2)], generator=rng())(images)
    assert crops.shape == (40, 1, 2, 2)
    ordered = T.RandomOrder([T.Pad(1), T.Lambda(lambda x: x + 1)], generator=rng())(images)
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    first = ordered[:, 0, 0, 0] == 1
    assert 8 < first.sum() < 32
    assert_array_equal(ordered[first], padded[first] + 1)
    assert_array_equal(ordered[~first][..., 1:-1, 1:-1], images[~first] + 1)


@pytest.mark.host
def test_what_moves_in_is_within_the_range() -> None:
    pixels = noise(3, 6, 6)
    for fill, wanted in ((300, 255), (-3, 0), (7.6, 8)):
        assert F.pad(pixels, 1, fill)[0, 0, 0] == wanted
        for mode in ("nearest", "bilinear"):
            assert F.rotate(pixels, 45, mode, fill=fill)[0, 0, 0] == wanted


@pytest.mark.host
@pytest.mark.parametrize("shape", [(3, 0, 5), (2, 3, 4, 0)])
def test_images_without_pixels(shape: tuple[int, ...]) -> None:
    images = np.empty(shape, "float32")
    for mode in ("nearest", "bilinear"):
        assert F.rotate(images, 30, mode, fill=1).shape == shape
        assert F.affine(images, 30, (1, 1), 2.0, 0.0, mode).shape == shape
        assert (F.rotate(images, 45, mode, expand=True, fill=7) == 7).all()
    for change in (T.RandomPerspective(p=1), T.ColorJitter(0.5, 0.5, 0.5, 0.5), T.RandAugment(9)):
        assert change(images).shape == shape
    for resize in (T.Resize(4), T.RandomResize(4, 6), T.RandomShortestSize(4), T.ScaleJitter(4)):
        with pytest.raises(ValueError, match=r"an image of \d x \d has no pixels"):
            resize(images)


@pytest.mark.host
@pytest.mark.parametrize("policy", [*T.AutoAugmentPolicy])
def test_policies_change_what_they_say(policy: Any) -> None:
    """Each change of a policy is met, and none at its edges fails."""
    images = noise(200, 3, 8, 8)
    for change in (
        T.AutoAugment(policy, generator=rng()),
        T.RandAugment(3, 30, generator=rng()),
        T.TrivialAugmentWide(2, generator=rng()),
        T.AugMix(10, 2, 2, all_ops=False, generator=rng()),
    ):
        out = change(images)
        assert (out.shape, out.dtype) == (images.shape, images.dtype)
        assert (out != images).any(axis=(1, 2, 3)).mean() > 0.4
    assert T.RandAugment(3, 0, 1)(images).shape == images.shape  # of no strength, the only bin


@pytest.mark.host
def test_parameters_for_several_images_alike() -> None:
    image = np.zeros((3, 10, 12))
    manual_seed(0)
    tops = {T.RandomCrop.get_params(image, (9, 12))[0] for _ in range(50)}
    assert tops == {0, 1}
    i, j, h, w = T.RandomResizedCrop.get_params(image, (0.3, 0.5), (1.0, 1.0))
    assert h == w
    assert 0 <= i <= 10 - h
    assert 0 <= j <= 12 - w
    assert -3 <= T.RandomRotation.get_params([-3, 3]) <= 3


# ----- the functions against others ---------------------------------------------------------------

PICTURES = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=3, max_dims=3, min_side=5, max_side=9).map(lambda s: (3, *s[1:])),
)


@pytest.mark.host
@given(PICTURES, st.data())
def test_crops_pads_and_flips_move_pixels(pixels: Array, data: Any) -> None:
    top, left = data.draw(st.integers(-12, 12)), data.draw(st.integers(-12, 12))
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    wide = np.pad(pixels, ((0, 0), (24, 24), (24, 24)))
    wanted = wide[:, 24 + top : 24 + top + height, 24 + left : 24 + left + width]
    assert_array_equal(F.crop(pixels, top, left, height, width), wanted)
    assert_array_equal(of_pillow(F.crop(to_pillow(pixels), top, left, height, width)), wanted)
    middle = F.center_crop(pixels, (height, width))
    assert_array_equal(of_pillow(F.center_crop(to_pillow(pixels), (height, width))), middle)
    assert middle.shape == (3, height, width)
    a, b, c, d = (data.draw(st.integers(0, 2)) for _ in range(4))
    for mode in ("constant", "edge", "reflect", "symmetric"):
        wanted = np.pad(pixels, ((0, 0), (b, d), (a, c)), mode)
        assert_array_equal(F.pad(pixels, (a, b, c, d), padding_mode=mode), wanted)
        padded = F.pad(to_pillow(pixels), (a, b, c, d), padding_mode=mode)
        assert_array_equal(of_pillow(padded), wanted)
    filled = F.pad(pixels, (a, b, c, d), fill=(1, 2, 3))
    for channel, value in enumerate((1, 2, 3)):
        wanted = np.pad(pixels[channel], ((b, d), (a, c)), constant_values=value)
        assert_array_equal(filled[channel], wanted)
    assert_array_equal(F.hflip(pixels), [[row[::-1] for row in part] for part in pixels])
    assert_array_equal(F.vflip(pixels), [part[::-1] for part in pixels])


@pytest.mark.host
@given(PICTURES)
def test_tones_of_bytes_are_pillows(pixels: Array) -> None:
    image = to_pillow(pixels)
    assert_array_equal(F.invert(pixels), of_pillow(ImageOps.invert(image)))
    for bits in range(1, 9):
        assert_array_equal(F.posterize(pixels, bits), of_pillow(ImageOps.posterize(image, bits)))
    assert_array_equal(F.solarize(pixels, 100), of_pillow(ImageOps.solarize(image, 100)))
    assert_array_equal(F.equalize(pixels), of_pillow(ImageOps.equalize(image)))
    spread = of_pillow(ImageOps.autocontrast(image)).astype(int)
    assert abs(F.autocontrast(pixels) - spread).max() <= 1
    grey = np.asarray(image.convert("L")).astype(int)
    assert abs(F.rgb_to_grayscale(pixels)[0] - grey).max() <= 1
    for name in ("brightness", "contrast", "saturation", "sharpness"):
        adjust = getattr(F, f"adjust_{name}")
        for factor in (0.0, 0.6, 1.0, 1.9):
            apart = adjust(pixels, factor).astype(int) - of_pillow(adjust(image, factor))
            assert abs(apart).max() <= 2, (name, factor)


@pytest.mark.host
@given(PICTURES, st.floats(-0.5, 0.5))
def test_the_hue_turns_as_in_colorsys(pixels: Array, turn: float) -> None:
    values = pixels / 255
    out = F.adjust_hue(values, turn)
    for place in np.ndindex(*pixels.shape[1:]):
        h, s, v = colorsys.rgb_to_hsv(*values[:, *place])
        assert_allclose(out[:, *place], colorsys.hsv_to_rgb((h + turn) % 1, s, v), atol=1e-7)


@pytest.mark.host
@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from(["bilinear", "bicubic"]))
def test_images_are_resized_as_by_pillow(height: int, width: int, mode: str) -> None:
    pixels = rng().random((1, 11, 16)).astype(np.float32)
    wanted = Image.fromarray(pixels[0]).resize(
        (width, height),
        Image.Resampling.BILINEAR if mode == "bilinear" else Image.Resampling.BICUBIC,
    )
    assert_allclose(F.resize(pixels, (height, width), mode)[0], np.asarray(wanted), atol=1e-5)
    through = F.resize(Image.fromarray(pixels[0]), (height, width), mode)
    assert_array_equal(np.asarray(through), np.asarray(wanted))
    levels = np.rint(64 + pixels * 127).astype(np.uint8)  # Pillow rounds and clips in between
    apart = F.resize(levels, (height, width), mode)[0].astype(int)
    apart -= np.asarray(F.resize(to_pillow(levels), (height, width), mode))
    assert abs(apart).max() <= (1 if mode == "bilinear" else 2)


@pytest.mark.host
@pytest.mark.parametrize(
    ("given_", "size", "max_size", "wanted"),
    [
        ((8, 10), 4, None, (4, 5)),
        ((10, 8), [4], None, (5, 4)),
        ((8, 10), (3, 7), None, (3, 7)),
        ((8, 16), 4, 6, (3, 6)),
        ((16, 8), None, 4, (4, 2)),
        ((1, 100), None, 10, (1, 10)),
        ((8, 8), 8, None, (8, 8)),
    ],
)
def test_the_size_of_what_is_resized(given_: Any, size: Any, max_size: Any, wanted: Any) -> None:
    for image in (np.zeros((3, *given_), np.uint8), to_pillow(np.zeros((3, *given_), np.uint8))):
        assert tuple(F.get_size(T.Resize(size, max_size=max_size)(image))) == wanted


def smooth(height: int, width: int) -> Array:
    i, j = np.mgrid[:height, :width]
    return np.sin(i / 3) + np.cos(j / 4)


@pytest.mark.host
@given(
    st.floats(-180, 180), st.floats(-3, 3), st.floats(-3, 3), st.floats(0.5, 2),
    st.floats(-30, 30), st.floats(-30, 30), st.sampled_from([None, (2.0, 3.0)]),
)  # fmt: skip
def test_affine_maps_are_those_of_scipy(
    angle: float, right: float, down: float, scale: float, a: float, b: float, center: Any
) -> None:
    """Places in pixels, from one matrix that is multiplied out and inverted."""
    x = smooth(9, 12)
    r, a_, b_ = np.deg2rad([angle, a, b])
    turn = np.array([[np.cos(r), -np.sin(r)], [np.sin(r), np.cos(r)]])
    shear = np.array([[1, 0], [-np.tan(b_), 1]]) @ np.array([[1, -np.tan(a_)], [0, 1]])
    back = np.linalg.inv(scale * turn @ shear)
    c = np.array([6, 4.5] if center is None else center) - 0.5  # in places of pixels
    offset = c - back @ (c + np.array([right, down]))
    swapped = back[::-1, ::-1], offset[::-1]
    wanted = scipy.ndimage.affine_transform(x, *swapped, order=1, mode="grid-constant", cval=0)
    out = F.affine(x[None], angle, (right, down), scale, (a, b), "bilinear", center=center)
    assert_allclose(out[0], wanted, atol=1e-9)
    filled = F.affine(x[None], angle, (right, down), scale, (a, b), "bilinear", 2.0, center)
    wanted = scipy.ndimage.affine_transform(x, *swapped, order=1, mode="grid-constant", cval=2)
    assert_allclose(filled[0], wanted, atol=1e-9)


@pytest.mark.host
@pytest.mark.parametrize("angle", [0, 90, 180, 270, -90, 450])
@pytest.mark.parametrize("shape", [(4, 4), (3, 3), (3, 4), (4, 7)])
def test_a_quarter_turn_moves_pixels(angle: int, shape: tuple[int, int]) -> None:
    pixels = noise(3, *shape)
    wanted = np.rot90(pixels, angle // 90, (1, 2))
    assert_array_equal(F.rotate(pixels, angle, expand=True), wanted)
    for mode in ("nearest", "bilinear"):
        if shape[0] == shape[1]:
            assert_array_equal(F.rotate(pixels, angle, mode), wanted)
            both = F.rotate(np.stack([pixels, pixels]), np.array([angle, 0]), mode)
            assert_array_equal(both, np.stack([wanted, pixels]))
    turned = F.rotate(pixels, angle)  # by half a pixel beside the middle, and no pixel twice
    inside = min(shape) - 1
    assert len(np.unique(turned[0])) >= len(np.unique(pixels[0, :inside, :inside])) - 1


@pytest.mark.host
@given(st.integers(0, 2**32 - 1))
def test_a_perspective_maps_points_to_points(seed: int) -> None:
    start = np.array([[0, 0], [11, 0], [11, 8], [0, 8]], float)
    end = start + rng(seed).uniform(-2, 2, (4, 2))
    a, b, c, d, e, f, g, h = F_coefficients(start, end)
    for (x, y), (u, v) in zip(end, start, strict=True):
        below = g * x + h * y + 1
        assert_allclose(
            ((a * x + b * y + c) / below, (d * x + e * y + f) / below), (u, v), atol=1e-8
        )
    x = smooth(9, 12)
    i, j = np.mgrid[:9, :12] + 0.5
    below = g * j + h * i + 1
    places = [(d * j + e * i + f) / below - 0.5, (a * j + b * i + c) / below - 0.5]
    wanted = scipy.ndimage.map_coordinates(x, places, order=1, mode="grid-constant", cval=3)
    assert_allclose(F.perspective(x[None], start, end, fill=3)[0], wanted, atol=1e-8)


def F_coefficients(start: Array, end: Array) -> Array:
    """Of the perspective, through the null space of the homogeneous equations."""
    rows = []
    for (u, v), (x, y) in zip(start, end, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y, -u])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y, -v])
    null = np.linalg.svd(np.array(rows))[2][-1]
    return null[:8] / null[8]


@pytest.mark.host
def test_a_perspective_that_is_none_is_no_error() -> None:
    line = [[0, 0], [4, 4], [8, 8], [0, 8]]
    square = [[0, 0], [8, 0], [8, 8], [0, 8]]
    images = noise(2, 3, 9, 9, dtype="float32")
    both = F.perspective(images, square, np.array([line, square]))
    assert np.isfinite(both).all()
    assert_allclose(both[1], images[1], atol=1e-5)
    shrunk = T.RandomPerspective(1.0, p=1, generator=rng())(noise(200, 1, 4, 4))
    assert shrunk.shape == (200, 1, 4, 4)


@pytest.mark.host
@given(st.sampled_from([1, 3, 5]), st.sampled_from([1, 3, 7]), st.floats(0.2, 4))
def test_a_blur_is_a_convolution(across: int, down: int, sigma: float) -> None:
    x = noise(2, 3, 8, 9, dtype="float64")

    def kernel(k: int) -> Array:
        weights = np.array([math.exp(-((i - k // 2) ** 2) / (2 * sigma**2)) for i in range(k)])
        return weights / weights.sum()

    wanted = scipy.ndimage.convolve(
        x, np.outer(kernel(down), kernel(across))[None, None], mode="mirror"
    )
    assert_allclose(F.gaussian_blur(x, (across, down), sigma), wanted, atol=1e-12)
    both = F.gaussian_blur(x, (across, down), np.array([sigma, 2 * sigma]))
    assert_allclose(both[0], wanted[0], atol=1e-12)
    assert_allclose(both[1], F.gaussian_blur(x[1], (across, down), 2 * sigma), atol=1e-12)


@pytest.mark.host
@given(PICTURES)
def test_images_become_numbers_and_images_again(pixels: Array) -> None:
    image = to_pillow(pixels)
    tensor = T.ToTensor()(image)
    assert (tensor.dtype, tensor.device) == ("float32", "cpu")
    assert_array_equal(tensor.numpy(), pixels.astype(np.float32) / np.float32(255))
    assert_array_equal(T.PILToTensor()(image).numpy(), pixels)
    for kind in (tensor, pixels, tg.Tensor(pixels)):
        assert_array_equal(of_pillow(T.ToPILImage()(kind)), pixels)
    levels = F.to_dtype(tensor, "uint8", scale=True)
    assert_array_equal(levels.numpy(), pixels)
    y = F.normalize(pixels, (0.5, 0.4, 0.3), (0.2, 0.3, 0.1))
    for channel, (mean, std) in enumerate(((0.5, 0.2), (0.4, 0.3), (0.3, 0.1))):
        assert_allclose(y[channel], (pixels[channel] / 255 - mean) / std, atol=1e-5)
    floats = pixels.astype(np.float32) / np.float32(255)
    assert_array_equal(F.normalize(floats, (0.5, 0.4, 0.3), (0.2, 0.3, 0.1)), y)
    assert F.normalize(floats, 0.5, 0.5, inplace=True) is floats


@pytest.mark.host
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F"])
def test_the_modes_of_pillow(mode: str) -> None:
    image = to_pillow(noise(3, 6, 7)).convert("RGBA" if mode == "LA" else "RGB").convert(mode)
    for change in (
        T.Pad(1),
        T.CenterCrop(4),
        T.RandomHorizontalFlip(1),
        T.Resize((4, 5), "nearest"),
    ):
        changed = change(image)
        assert changed.mode == mode
        if mode == "P":
            assert changed.getpalette() == image.getpalette()
    back = T.RandomCrop((6, 7), padding=1)(image)
    assert back.mode == mode
    shape = (len(image.getbands()), 6, 7)
    assert T.ToTensor()(image).shape == T.ToImage()(image).shape == shape
    if mode not in ("1", "P", "CMYK", "LA"):
        assert T.ToPILImage()(T.ToImage()(image)).mode == {"F": "L"}.get(mode, mode)


@pytest.mark.host
@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((5, 6), (1, 5, 6)),
        ((5, 6, 3), (3, 5, 6)),
        ((5, 6, 1), (1, 5, 6)),
        ((3, 5, 6), (3, 5, 6)),
        ((1, 28, 28), (1, 28, 28)),
        ((2, 3, 5, 6), (2, 3, 5, 6)),
        ((5, 6, 13), (13, 5, 6)),
    ],
)
def test_where_the_channels_of_an_array_are(shape: Any, wanted: Any) -> None:
    assert T.ToTensor()(np.zeros(shape, np.uint8)).shape == wanted
    assert T.ToImage()(np.zeros(shape, np.uint8)).shape == wanted


# ----- labels, loaders, datasets ------------------------------------------------------------------


@pytest.mark.host
def test_images_and_labels_are_mixed_in_the_same_shares() -> None:
    count = 40
    images = np.eye(count, dtype=np.float32)[:, :, None, None] * np.ones((1, 1, 9, 11), np.float32)
    labels = np.arange(count)
    for mix in (
        T.MixUp(num_classes=count),
        T.CutMix(num_classes=count),
        T.CutMix(alpha=0.2, num_classes=count),
    ):
        mixed, shares = mix(images, labels, generator=rng(1))
        assert shares.dtype == "float32"
        assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
        assert_allclose(mixed.mean(axis=(2, 3)), shares, atol=1e-6)
        assert ((shares > 0).sum(axis=1) <= 2).all()
        assert (shares[np.arange(count), labels - 1] >= 0).all()
        assert len(np.unique(shares)) > 10  # each image has its own
    again, twice = T.MixUp()(mixed, shares, rng(2))
    assert_allclose(again.mean(axis=(2, 3)), twice, atol=1e-5)


def test_mixed_labels_train(device: str) -> None:
    images, labels = tg.rand(4, 3, 8, 8), tg.tensor([0, 1, 2, 0])
    mixed, shares = T.MixUp(num_classes=3)(images, labels)
    assert mixed.device == shares.device == device
    assert tg.cross_entropy(tg.randn(4, 3), shares).shape == ()


def test_a_loader_changes_batches() -> None:
    images, labels = noise(10, 3, 8, 8), np.arange(10)
    change = T.Compose(
        [T.RandomCrop(8, padding=2), T.RandomHorizontalFlip(), T.Normalize(0.5, 0.5)]
    )

    def batches(transform: Any) -> list[Any]:
        manual_seed(0)
        return [*DataLoader(TensorDataset(images, labels), 4, shuffle=True, transform=transform)]

    got = batches(change)
    assert [tuple(x.shape) for x, _ in got] == [(4, 3, 8, 8), (4, 3, 8, 8), (2, 3, 8, 8)]
    assert all(x.dtype == "float32" for x, _ in got)
    assert sorted(int(y) for _, part in got for y in part.tolist()) == [*range(10)]
    for (x, y), (x_, y_) in zip(got, batches(change), strict=True):
        assert_array_equal(x.numpy(), x_.numpy())
        assert_array_equal(y.numpy(), y_.numpy())
    for x, y in batches(T.Compose([T.ToTensor(), T.Normalize(0.5, 0.5)])):
        assert x.device == y.device == tg.get_default_device()
    single = DataLoader(TensorDataset(images), 5, transform=change)
    assert [x.shape for (x,) in single] == [(5, 3, 8, 8)] * 2
    mix = T.Compose([change, T.MixUp(num_classes=10)])
    assert [tuple(y.shape) for _, y in batches(mix)] == [(4, 10), (4, 10), (2, 10)]


class Folder(Dataset):
    """Pillow images of several sizes."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: Any) -> Any:
        return self.transform(to_pillow(noise(3, 10 + index, 14, seed=index))), index


def test_a_dataset_changes_its_samples() -> None:
    change = T.Compose([T.RandomResizedCrop(8), T.RandomHorizontalFlip(), T.ToTensor()])
    loader = DataLoader(Folder(change), 3, generator=rng(4))
    (a, _), (b, _) = loader
    assert a.shape == b.shape == (3, 3, 8, 8)
    again = next(iter(DataLoader(Folder(pickle.loads(pickle.dumps(change))), 3, generator=rng(4))))
    assert_array_equal(again[0].numpy(), a.numpy())


@pytest.mark.host
def test_functions_of_others_in_a_sequence() -> None:
    image = np.ones((1, 2, 2), np.float32)
    assert T.Compose([double, T.Identity(), double])(image).sum() == 16

    def both(x: Any, y: Any) -> Any:
        return x + y, -y

    x, y = T.Compose([both, T.Lambda(double)])(image, 3)
    assert (x.sum(), y) == (32, -3)
    with pytest.raises(TypeError, match=r"Compose: <lambda> got 2 values.*Lambda\(function\)"):
        T.Compose([lambda x, y: x])(image, 3)
    assert T.Lambda(double, str)(image) is image
    parts = T.Compose([T.FiveCrop(1), T.Lambda(lambda crops: np.stack(crops))])(image)
    assert parts.shape == (5, 1, 1, 1)


@pytest.mark.host
def test_a_transform_of_ones_own() -> None:
    class Roll(T.Transform):
        numbers = 1

        def __init__(self, steps: int) -> None:
            self.steps = steps

        def parameters(self, u: Array, channels: int, height: int, width: int) -> dict[str, Array]:
            return {"by": (u[:, 0] * self.steps).astype(int)}

        def change(self, image: Any, **parameters: Any) -> Any:
            by = parameters["by"]
            if np.ndim(by) == 0:
                return np.roll(image, by, axis=-1)
            return np.stack([np.roll(x, n, axis=-1) for x, n in zip(image, by, strict=True)])

    assert repr(Roll(3)) == "Roll(steps=3)"
    images = noise(20, 1, 2, 8)
    together = T.Compose([Roll(8)])(images, generator=rng(1))
    source = rng(1)
    assert_array_equal(together, np.stack([Roll(8)(x, generator=source) for x in images]))


# ----- what is refused ----------------------------------------------------------------------------

X = np.zeros((3, 8, 9), np.float32)
MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a list": (lambda: F.hflip([1, 2]), TypeError, r"horizontal_flip takes a Pillow.*got a list"),
    "two axes": (lambda: F.crop(X[0], 0, 0, 1, 1), ValueError, r"\(C, H, W\).*\(8, 9\)"),
    "five axes": (lambda: F.hflip(X[None, None]), ValueError, r"got the shape \(1, 1, 3, 8, 9\)"),
    "channels last": (
        lambda: T.RandomCrop(4)(np.zeros((32, 32, 3))), ValueError,
        r"channels first, \(C, H, W\); the shape \(32, 32, 3\).*transpose\(2, 0, 1\)",
    ),
    "channels last in a batch": (
        lambda: T.Normalize(0, 1)(np.zeros((2, 32, 32, 3))), ValueError, r"transpose\(0, 3, 1, 2\)",
    ),
    "strings": (lambda: F.hflip(np.array([[["a"]]])), TypeError, "uint8 or floats; got <U1"),
    "a gradient": (
        lambda: F.hflip(tg.zeros(1, 2, 2, requires_grad=True)), ValueError, r"x\.detach\(\)",
    ),
    "nothing": (lambda: T.Identity()(), TypeError, "Identity takes an image"),
    "a size": (lambda: T.CenterCrop(0), ValueError, r"size is a whole number above 0.*got 0"),
    "a size of floats": (lambda: T.CenterCrop(2.0), ValueError, r"whole number.*got 2\.0"),
    "three sizes": (lambda: T.RandomCrop((1, 2, 3)), ValueError, r"\(height, width\).*\(1, 2, 3\)"),
    "a large window": (
        lambda: T.RandomCrop(20)(X), ValueError, r"window \(20, 20\).*\(3, 8, 9\).*pad_if_needed",
    ),
    "padding": (lambda: T.Pad(-1), ValueError, r"padding.*0 or more.*got -1"),
    "three paddings": (lambda: T.Pad((1, 2, 3)), ValueError, r"got \(1, 2, 3\)"),
    "a mode of padding": (lambda: T.Pad(1, padding_mode="wrap"), ValueError, "one of.*got 'wrap'"),
    "a wide mirror": (lambda: F.pad(X, 9, padding_mode="reflect"), ValueError, r"\(8, 9\)"),
    "fill": (lambda: F.pad(X, 1, fill=(1, 2)), ValueError, "each of the 3 channels"),
    "fill in words": (lambda: F.pad(X, 1, fill="red"), TypeError, "fill is a number.*got 'red'"),
    "scales": (lambda: T.RandomAffine(0, scale=(0, 1)), ValueError, "scale is a range.*above 0"),
    "no dtype": (lambda: T.ToDtype(None), TypeError, "takes a dtype.*got None"),
    "choices that part": (
        lambda: T.RandomChoice([T.CenterCrop(2), T.Pad(1)], generator=rng())(X[None].repeat(9, 0)),
        ValueError, r"in one shape; they became \(3, 2, 2\) and \(3, 10, 11\)",
    ),
    "a probability": (lambda: T.RandomInvert(1.5), ValueError, "between 0 and 1, given 1.5"),
    "interpolation": (lambda: T.Resize(4, "cubic"), ValueError, "one of 'nearest'.*got 'cubic'"),
    "Pillow's mode": (lambda: F.resize(X, 4, "lanczos"), ValueError, "'lanczos' is Pillow's"),
    "no size": (lambda: T.Resize(None), ValueError, "give a size, or a max_size"),
    "max_size": (lambda: T.Resize(4, max_size=4), ValueError, "max_size=4.*above the size 4"),
    "two sizes and max_size": (lambda: T.Resize((4, 5), max_size=9), ValueError, "goes with one"),
    "std": (lambda: T.Normalize(0.5, 0), ValueError, "must not be 0"),
    "three means": (lambda: T.Normalize((1, 2, 3), 1)(X[:2]), ValueError, "each of the 2 channels"),
    "a mean of words": (lambda: T.Normalize("a", 1), TypeError, "mean is a number"),
    "integers": (lambda: T.Normalize(0, 1)(X.astype(int)), TypeError, "floats or uint8; got int64"),
    "an image of Pillow's": (
        lambda: T.Normalize(0, 1)(to_pillow(noise(3, 4, 4))), TypeError, r"ToTensor\(\) first",
    ),
    "a dtype": (lambda: T.ToDtype("floaty"), TypeError, "takes a dtype.*'floaty'"),
    "no digits": (lambda: F.to_dtype(X, "int32", True), ValueError, "float32 has too few digits"),
    "two channels": (lambda: F.adjust_hue(X[:2], 0.1), ValueError, "1 or 3 channels"),
    "a factor": (lambda: F.adjust_contrast(X, -1), ValueError, "0 or more; got -1"),
    "two factors": (
        lambda: F.adjust_contrast(X[None], np.ones(2)), ValueError, r"each of the 1 images.*\(2,\)",
    ),
    "hue": (lambda: T.ColorJitter(hue=0.6), ValueError, "hue as one number is 0 to 0.5; got 0.6"),
    "a range": (lambda: T.ColorJitter((0.5, 0.1)), ValueError, r"brightness is a range.*\(0\.5"),
    "bits": (lambda: T.RandomPosterize(9), ValueError, "from 0 to 8; got 9"),
    "a threshold": (lambda: F.solarize(X, 128), ValueError, "at most white, 1; got 128"),
    "a kernel": (lambda: T.GaussianBlur(4), ValueError, "kernel_size is odd; got 4"),
    "a large kernel": (lambda: F.gaussian_blur(X, 19), ValueError, "half of the kernel"),
    "sigma": (lambda: F.gaussian_blur(X, 3, 0), ValueError, "sigma is above 0; got 0"),
    "scale": (lambda: T.RandomErasing(scale=(0, 2)), ValueError, r"scale.*within \[0, 1\]"),
    "ratio": (lambda: T.RandomErasing(ratio=(0, 2)), ValueError, "ratio.*above 0"),
    "a value": (lambda: T.RandomErasing(value="zeros"), ValueError, '"random"; got \'zeros\''),
    "channels": (
        lambda: T.Cutout(2, [1, 2, 3])(tg.ones(1, 4, 4)),
        ValueError,
        r"one for each of the 1 channels; got \[1. 2. 3.\]",
    ),
    "a side": (lambda: T.Cutout(0), ValueError, "the side of the square.*1 or more; got 0"),
    "degrees": (lambda: T.RandomRotation(-3), ValueError, "degrees.*0 or more; got -3"),
    "translate": (lambda: T.RandomAffine(0, (2, 0)), ValueError, r"in \[0, 1\]; got \(2, 0\)"),
    "a center": (lambda: T.RandomRotation(3, center=(1,)), ValueError, r"place \(x, y\)"),
    "bicubic turns": (lambda: F.rotate(X, 3, "bicubic"), ValueError, "'nearest' or 'bilinear'"),
    "an expanded batch": (
        lambda: T.RandomRotation(30, expand=True)(X[None].repeat(2, 0)), ValueError, "one angle",
    ),
    "angles": (lambda: F.rotate(X[None], np.ones(2)), ValueError, "2 images, and 1 images"),
    "scale of a map": (lambda: F.affine(X, 0, (0, 0), 0, 0), ValueError, "above 0; got 0"),
    "points": (lambda: F.perspective(X, [[0, 0]], [[0, 0]]), ValueError, "four startpoints"),
    "a zoomed batch": (
        lambda: T.RandomZoomOut(p=1)(X[None]), ValueError, "those of a batch differ in size",
    ),
    "shapes that part": (
        lambda: T.RandomApply([T.CenterCrop(2)], generator=rng())(X[None].repeat(9, 0)), ValueError,
        r"keep their shape \(3, 8, 9\); it became \(3, 2, 2\)",
    ),
    "no function": (lambda: T.Compose([1]), TypeError, "functions of an image; got 1"),
    "no list": (lambda: T.Compose(3), TypeError, "takes a list of transforms; got 3"),
    "choices": (lambda: T.RandomChoice([double], [1, 2]), ValueError, "each of its 1 transforms"),
    "no choice": (lambda: T.RandomChoice([]), ValueError, "each of its 0 transforms"),
    "a Lambda": (lambda: T.Lambda(3), TypeError, "takes a function; got a int"),
    "images alone": (lambda: T.MixUp(num_classes=2)(X[None]), TypeError, "and their labels"),
    "one image": (lambda: T.MixUp(num_classes=2)(X, 1), ValueError, r"batch \(N, C, H, W\)"),
    "no classes": (lambda: T.CutMix()(X[None], [1]), ValueError, "needs num_classes"),
    "a label": (lambda: T.CutMix(num_classes=2)(X[None], [2]), ValueError, "= 1; got 2 to 2"),
    "labels": (lambda: T.CutMix(num_classes=2)(X[None], [1, 0]), ValueError, "each of the 1 image"),
    "bytes mixed": (
        lambda: T.MixUp(num_classes=2)(X[None].astype("uint8"), [1]), TypeError, "ToDtype comes",
    ),
    "colours of a palette": (
        lambda: F.equalize(to_pillow(noise(3, 4, 4)).convert("P")), ValueError,
        r'equalize takes Pillow images of the modes L, RGB; got .* P: image.convert\("RGB"\)',
    ),
    "the contrast of CMYK": (
        lambda: T.ColorJitter(contrast=1)(to_pillow(noise(3, 4, 4)).convert("CMYK")), ValueError,
        "adjust_contrast takes Pillow images of the modes L, LA, RGB, RGBA; got",
    ),
    "a seed": (lambda: T.RandomInvert(generator=3)(X), TypeError, "generator must be a Generator"),
    "severity": (lambda: T.AugMix(11), ValueError, "from 1 to 10; got 11"),
    "magnitude": (lambda: T.RandAugment(2, 31), ValueError, "num_magnitude_bins - 1; got 2, 31"),
    "one bin": (lambda: T.RandAugment(2, 1, 1), ValueError, "num_magnitude_bins - 1; got 2, 1 and"),
    "a policy": (lambda: T.AutoAugment("mnist"), ValueError, "'mnist' is not a valid"),
    "one size of many": (lambda: T.FiveCrop(20)(X), ValueError, "larger than the image"),
    "a matrix": (
        lambda: T.LinearTransformation(np.eye(3), np.ones(2)), ValueError, r"\(3, 3\) and \(2,\)",
    ),
    "whitening": (
        lambda: T.LinearTransformation(np.eye(2), np.ones(2))(X), ValueError, r"images \(3, 8, 9\)",
    ),
    "many channels": (lambda: F.to_pil_image(tg.zeros(5, 8, 8)), ValueError, "1 to 4 channel"),
    "a mode": (lambda: F.to_pil_image(X, "L"), ValueError, "'L' is not one of 3 channels"),
    "no image": (lambda: T.ToTensor()("a.png"), TypeError, "got a str"),
}  # fmt: skip


@pytest.mark.host
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_a_sentence(name: str) -> None:
    mistake, error, words = MISTAKES[name]
    with pytest.raises(error, match=words):
        mistake()


@pytest.mark.host
def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "PIL"]:
        monkeypatch.setitem(sys.modules, module, None)
    x = noise(2, 3, 8, 8)
    changed = T.Compose([T.RandomResizedCrop(4), T.ColorJitter(0.1), T.ToTensor()])(x)
    assert changed.shape == (2, 3, 4, 4)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_cv\[images\]'"):
        T.ToPILImage()(x[0])


@pytest.mark.host
@pytest.mark.parametrize("mode", [*InterpolationMode])
def test_modes_have_names_and_numbers(mode: InterpolationMode) -> None:
    image = to_pillow(noise(3, 7, 8))
    wanted = T.Resize((4, 5), mode)(image)
    assert_array_equal(of_pillow(T.Resize((4, 5), mode.value)(image)), of_pillow(wanted))
