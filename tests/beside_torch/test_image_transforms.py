"""The functions of images beside torchvision's, on tensors and on Pillow images."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision.transforms import _presets, v2
from torchvision.transforms.v2 import functional as theirs

import tinygrad_cv as tg
from tinygrad_cv.data import transforms
from tinygrad_cv.data.transforms import functional as ours
from tinygrad_cv.data.transforms import policies

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("one_thread")]

RNG = np.random.default_rng(0)
PIXELS = {
    "noise": RNG.integers(0, 256, (3, 13, 18), dtype=np.uint8),
    "smooth": np.stack(
        [np.add.outer(np.arange(16) * k, np.arange(20) * 5).astype(np.uint8) for k in (3, 7, 5)]
    ),
}


class Call:
    """A function by its name, with what stands behind the image.

    `off` is by how many levels an integer may differ, and at most how large a part of the pixels.
    """

    def __init__(
        self,
        name: str,
        *args: Any,
        off: tuple[int, float] = (0, 0.0),
        only: str = "",
        **options: Any,
    ) -> None:
        self.name, self.args, self.options = name, args, options
        self.off, self.only = off, only

    def __repr__(self) -> str:
        options = [f"{key}={value}" for key, value in self.options.items()]
        return f"{self.name}({', '.join([*map(str, self.args), *options])})"


ROUNDED = (1, 0.02)
"""Where torchvision computes with integers of fewer digits, or sums in another order."""
RESIZED = (1, 0.8)
CLIPPED = (8, 0.6)
"""Torchvision rounds, and clips, between the rows and the columns."""
CORNERS = [[0, 0], [17, 0], [17, 12], [0, 12]]
ENDS = [[2, 1], [15, 2], [16, 12], [1, 10]]

CALLS = [
    Call("horizontal_flip"),
    Call("vertical_flip"),
    Call("pad", [2]),
    Call("pad", [1, 2], fill=7),
    Call("pad", [1, 2, 3, 4], fill=[1, 2, 3]),
    *(Call("pad", [2, 1, 3, 4], padding_mode=mode) for mode in ("edge", "reflect", "symmetric")),
    Call("crop", 1, 2, 5, 6),
    Call("crop", -2, 3, 9, 30),
    Call("center_crop", [4, 5]),
    Call("center_crop", [9, 4]),
    Call("center_crop", [20, 7]),
    Call("five_crop", [5, 6]),
    Call("ten_crop", [5, 6]),
    Call("ten_crop", [5, 6], vertical_flip=True),
    Call("resize", [7, 30], off=RESIZED),
    Call("resize", [7], off=RESIZED),
    Call("resize", [9], max_size=10, off=RESIZED),
    Call("resize", [30, 31], antialias=False, off=RESIZED, only="uint8 float32"),
    Call("resize", [7, 30], interpolation=v2.InterpolationMode.BICUBIC, off=CLIPPED),
    Call("resize", [7, 30], interpolation=v2.InterpolationMode.NEAREST),
    Call("resize", [7, 30], interpolation=v2.InterpolationMode.NEAREST_EXACT),
    Call("resize", [7, 9], interpolation=v2.InterpolationMode.LANCZOS, only="pillow"),
    Call("resized_crop", 1, 2, 9, 8, [6, 5], off=RESIZED),
    Call("rotate", 180),
    Call("rotate", 30),
    Call("rotate", 30, fill=[9.0]),
    Call("rotate", -17.5, interpolation=v2.InterpolationMode.BILINEAR, off=ROUNDED),
    Call("rotate", 30, expand=True),
    Call("rotate", 90, expand=True),
    *(Call("rotate", angle, expand=True) for angle in (-20, 45.0, 123, 270)),
    Call("rotate", 30, center=[3, 4]),
    Call("affine", 10, [2, -1], 1.25, [5.0, -3.0]),
    Call("affine", 10, [2, -1], 0.7, [5.0, -3.0], fill=[20.0], center=[2, 3]),
    Call(
        "affine",
        -40,
        [0, 0],
        0.8,
        [0.0, 0.0],
        interpolation=v2.InterpolationMode.BILINEAR,
        off=ROUNDED,
    ),
    Call("perspective", CORNERS, ENDS, off=ROUNDED),
    Call("perspective", CORNERS, ENDS, interpolation=v2.InterpolationMode.NEAREST),
    *(Call("adjust_brightness", factor) for factor in (0, 0.5, 1, 1.7)),
    *(Call("adjust_contrast", factor) for factor in (0.0, 0.5, 1.0, 1.7)),
    *(Call("adjust_saturation", factor) for factor in (0.0, 0.5, 1.0, 1.7)),
    *(Call("adjust_sharpness", factor) for factor in (0.0, 0.5, 1.0, 1.7)),
    *(Call("adjust_hue", factor) for factor in (-0.5, -0.1, 0.0, 0.25)),
    Call("adjust_gamma", 0.7),
    Call("adjust_gamma", 2.2, gain=1.5),
    Call("invert"),
    *(Call("posterize", bits) for bits in (1, 3, 8)),
    Call("solarize", 0.5),
    Call("autocontrast"),
    Call("equalize"),
    Call("rgb_to_grayscale"),
    Call("rgb_to_grayscale", num_output_channels=3),
    Call("gaussian_blur", [3, 5], [1.5, 0.5], off=ROUNDED),
    Call("gaussian_blur", [5, 5], off=ROUNDED),
    Call("permute_channels", [2, 0, 1]),
    Call("normalize", [0.5, 0.4, 0.3], [0.2, 0.3, 0.1], only="float32"),
]


def compared(call: Call, mine: Any, other: Any) -> None:
    if isinstance(other, tuple):
        assert len(mine) == len(other)
        for a, b in zip(mine, other, strict=True):
            compared(call, a, b)
        return
    got = np.asarray(mine) if isinstance(mine, Image.Image) else mine.numpy()
    want = np.asarray(other) if isinstance(other, Image.Image) else other.numpy()
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    if want.dtype == np.uint8:
        apart = abs(got.astype(int) - want)
        levels, part = call.off
        assert apart.max() <= levels, f"{apart.max()} levels off"
        assert (apart > 0).mean() <= part, f"{(apart > 0).mean()} of the pixels differ"
    else:
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=3e-6)


@pytest.mark.parametrize("picture", PIXELS)
@pytest.mark.parametrize("kind", ["uint8", "float32", "pillow"])
@pytest.mark.parametrize("call", CALLS, ids=repr)
def test_a_function_beside_theirs(call: Call, kind: str, picture: str) -> None:
    pixels, args = PIXELS[picture], call.args
    if (call.only and kind not in call.only) or (
        kind == "pillow" and call.name == "permute_channels"
    ):
        return
    if call.name == "solarize" and kind != "float32":
        args = (128,)
    options = {
        k: getattr(v, "value", v) if k == "interpolation" else v for k, v in call.options.items()
    }
    mine: Callable[..., Any] = getattr(ours, call.name)
    other: Callable[..., Any] = getattr(theirs, call.name)
    if kind == "pillow":
        image = Image.fromarray(pixels.transpose(1, 2, 0).copy())
        compared(call, mine(image, *args, **options), other(image, *args, **call.options))
        return
    if kind == "float32":
        pixels = pixels.astype(np.float32) / np.float32(255)
    want = other(torch.from_numpy(pixels), *args, **call.options)
    compared(call, mine(tg.Tensor(pixels), *args, **options), want)
    batch = mine(np.stack([pixels, pixels]), *args, **options)
    for part in batch if isinstance(want, tuple) else (batch,):
        np.testing.assert_array_equal(part[0], part[1])


@pytest.mark.parametrize("kind", ["uint8", "float32", "pillow"])
def test_conversions_beside_theirs(kind: str) -> None:
    pixels = PIXELS["noise"]
    image = Image.fromarray(pixels.transpose(1, 2, 0).copy())
    floats = pixels.astype(np.float32) / np.float32(255)
    tensor = {"uint8": pixels, "float32": floats}.get(kind)
    if tensor is None:
        last = np.ascontiguousarray(pixels.transpose(1, 2, 0))
        for given in (image, last, image.convert("L"), image.convert("RGBA"), image.convert("1")):
            compared(Call(""), transforms.ToTensor()(given), v1.ToTensor()(given))
            compared(Call(""), transforms.ToImage()(given), theirs.to_image(given))
        for given in (image, image.convert("L"), image.convert("CMYK"), image.convert("I")):
            compared(Call(""), transforms.PILToTensor()(given), v1.PILToTensor()(given))
        for given in (last, last[..., :1], last[..., 0], np.dstack([last, last[..., :1]])):
            compared(Call(""), transforms.ToPILImage()(given), v2.ToPILImage()(given))
        return
    for dtype in ("uint8", "float32", "float64", "int16", "int32"):
        if kind == "float32" and dtype == "int32":  # refused by both
            continue
        for scale in (False, True):
            mine = ours.to_dtype(tg.Tensor(tensor), dtype, scale)
            other = theirs.to_dtype(torch.from_numpy(tensor), getattr(torch, dtype), scale)
            compared(Call("", off=(0, 0.0)), mine, other)
    for channels in (1, 2, 3):
        mine = ours.to_pil_image(tg.Tensor(tensor[:channels]))
        compared(Call(""), mine, theirs.to_pil_image(torch.from_numpy(tensor[:channels])))


@pytest.mark.parametrize("kind", ["uint8", "float32", "pillow"])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_preset_beside_theirs(kind: str, mode: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 40, 50), dtype=np.uint8)
    own = transforms.ImageClassification(crop_size=24, resize_size=29, interpolation=mode)
    other = _presets.ImageClassification(
        crop_size=24, resize_size=29, interpolation=v2.InterpolationMode(mode)
    )
    given: Any = pixels if kind == "uint8" else pixels.astype(np.float32) / np.float32(255)
    if kind == "pillow":
        image = Image.fromarray(pixels.transpose(1, 2, 0).copy())
        mine, want = own(image), other(image)
    else:
        mine, want = own(tg.Tensor(given)), other(torch.from_numpy(given))
    levels = {"uint8": 8 if mode == "bicubic" else 1, "float32": 0, "pillow": 0}[kind]
    assert mine.dtype == "float32"
    np.testing.assert_allclose(
        mine.numpy(), want.numpy(), rtol=1e-6, atol=levels / 255 / 0.22 + 1e-5
    )


LEFT_OUT = {
    *("SanitizeBoundingBoxes", "SanitizeKeyPoints", "SetClampingMode", "ClampBoundingBoxes"),
    *("ClampKeyPoints", "ConvertBoundingBoxFormat", "RandomIoUCrop", "UniformTemporalSubsample"),
    *("JPEG", "RandomPhotometricDistort"),
}
"""Of boxes, key points and video; and two that are not here."""
OTHER_DEFAULTS = {
    ("ColorJitter", "brightness"),  # 0, as in v1
    ("ColorJitter", "contrast"),
    ("ColorJitter", "saturation"),
    ("ColorJitter", "hue"),
}


@pytest.mark.parametrize("theirs", [v1, v2])
def test_names_arguments_and_defaults_are_theirs(theirs: Any) -> None:
    for name, thing in vars(theirs).items():
        if not inspect.isclass(thing) or name in LEFT_OUT:
            continue
        own = getattr(transforms, name)
        if not issubclass(thing, torch.nn.Module) and name not in dir(v1):
            continue
        if issubclass(own, transforms.Transform):
            mine = inspect.signature(own).parameters
            for key, parameter in inspect.signature(thing).parameters.items():
                if parameter.kind is parameter.VAR_POSITIONAL or (name, key) in OTHER_DEFAULTS:
                    continue
                wanted = getattr(parameter.default, "value", parameter.default)
                if (name, key) == ("ConvertImageDtype", "dtype"):
                    wanted = "float32"
                found = getattr(mine[key].default, "value", mine[key].default)
                assert (name, key, found) == (name, key, wanted)
            order = [key for key in mine if key not in ("generator", "types")]
            wanted = [key for key in inspect.signature(thing).parameters if key != "types"]
            assert order == wanted
        else:
            assert {m.name: m.value for m in own} == {m.name: m.value for m in thing}


def test_functions_and_their_arguments_are_theirs() -> None:
    extra = {"register_kernel", "is_pure_tensor", "jpeg", "uniform_temporal_subsample"}
    extra |= {"convert_bounding_box_format", "get_num_frames"}
    parts = ("_image", "_video", "_bounding_boxes", "_keypoints", "_mask")
    for name, thing in vars(theirs).items():
        if not inspect.isfunction(thing) or name.startswith("_") or name in extra:
            continue
        if not hasattr(ours, name):
            assert name.endswith(parts), name
            continue
        mine = [*inspect.signature(getattr(ours, name)).parameters]
        assert [key for key in mine if key != "generator"] == [*inspect.signature(thing).parameters]


def test_the_policies_are_theirs() -> None:
    for policy in v2.AutoAugmentPolicy:
        mine = policies.POLICIES[transforms.AutoAugmentPolicy(policy.value)]
        wanted = [
            tuple((name, p, level or 0) for name, p, level in pair)
            for pair in v2.AutoAugment(policy)._policies
        ]
        assert mine == wanted


@pytest.mark.parametrize("kind", ["uint8", "float32", "pillow"])
@pytest.mark.parametrize("name", ["AutoAugment", "RandAugment", "TrivialAugmentWide", "AugMix"])
def test_the_changes_of_the_policies_are_theirs(name: str, kind: str) -> None:
    own, other = getattr(transforms, name)(), getattr(v2, name)()
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 44), dtype=np.uint8)
    image: Any = Image.fromarray(pixels.transpose(1, 2, 0).copy())
    bins = 10 if name in ("AutoAugment", "AugMix") else 31
    for change, (magnitudes, signed) in other._AUGMENTATION_SPACE.items():
        for level in (0, bins // 3, bins - 1):
            found = magnitudes(bins, 32, 44)
            magnitude = 0.0 if found is None else found[level].item()
            strength = level / (bins - 1)
            if signed:
                magnitude, strength = -magnitude, -strength
            if (name, kind, change, level) == ("AugMix", "pillow", "Posterize", bins - 1):
                continue  # to 0 bits, which Pillow refuses
            values = pixels / np.float32(255) if kind == "float32" else pixels
            given: Any = image if kind == "pillow" else torch.from_numpy(values)
            mine: Any = image if kind == "pillow" else tg.Tensor(values)
            want = other._apply_image_or_video_transform(
                given, change, magnitude, interpolation=other.interpolation, fill={}
            )
            got = own._change(mine, change, np.array([strength]))
            call = Call(change, off=(1, 0.05))
            if change in (*policies.MOVES, "Solarize"):
                a, b = (np.asarray(v) if kind == "pillow" else v.numpy() for v in (got, want))
                # the nearest pixel, and what reaches a threshold, is a matter of rounding
                assert (abs(a.astype(float) - b) > 2e-6).mean() < 0.05
            else:
                compared(call, got, want)
