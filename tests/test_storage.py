"""save and load: every structure comes back, and no file does harm."""

import io
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import numpy as safetensors

import tinygrad_cv as tg
from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.storage import STRUCTURE

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")

NUMBERS = st.booleans() | st.integers() | st.floats() | st.none() | st.text()


@st.composite
def tensors(draw: Any) -> Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    dtype = draw(st.sampled_from(DTYPES))
    values = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 2, shape).astype(dtype)
    x = tg.tensor(values)
    if draw(st.booleans()):
        x = x.permute(*range(x.ndim)[::-1])
    return x.requires_grad_(x.is_floating_point() and draw(st.booleans()))


KEYS = st.text(max_size=5) | st.sampled_from(("__metadata__", "a.b", "a", "0")) | st.integers()
STRUCTURES = st.recursive(
    NUMBERS | tensors(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS | st.none() | st.booleans() | st.floats(0, 1), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    """Equal in all that can be seen, NaN and the sign of 0 as well."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        kinds = (a.dtype, a.shape, a.requires_grad) == (b.dtype, b.shape, b.requires_grad)
        return kinds and np.array_equal(a.detach().numpy(), b.detach().numpy())
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same([*a.items()], [*b.items()])
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (
            a == b and math.copysign(1, a) == math.copysign(1, b)
        )
    return bool(a == b)


def through(value: Any) -> Any:
    file = io.BytesIO()
    tg.save(value, file)
    file.seek(0)
    return tg.load(file)


@given(STRUCTURES)
def test_what_is_saved_comes_back(value: Any) -> None:
    assert same(through(value), value)


def test_tensors_come_to_the_device_that_is_named(device: str) -> None:
    file = io.BytesIO()
    tg.save([tg.ones(2)], file)
    for where, expected in ((None, device), ("cpu", "cpu"), ("fakecuda:0", "fakecuda:0")):
        file.seek(0)
        assert tg.load(file, map_location=where)[0].device == expected
    with pytest.raises(ValueError, match=r"^unknown device 'nowhere'; expected"):
        tg.load(file, map_location="nowhere")


def test_one_tensor_in_two_places_stays_one() -> None:
    x = tg.ones(2, requires_grad=True)
    a, (b, c) = through([x, (x, tg.ones(2))])
    assert a is b
    assert a is not c
    y = (x * 2).detach()
    assert through({"a.b": y, "a": {"b": x}})["a"]["b"].tolist() == [1, 1]


def test_the_state_of_a_model(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3))
    path = tmp_path / "state.safetensors"
    tg.save(model.state_dict(), path)
    loaded = tg.load(path)
    assert same(loaded, model.state_dict())
    model.load_state_dict(loaded)
    # Others read the tensors of a state dict under its names.
    assert safetensors.load_file(path).keys() == model.state_dict().keys()
    tg.save({"epoch": 3, "model": model.state_dict(), "best": (0.5, "a")}, str(path))
    assert tg.load(str(path))["best"] == (0.5, "a")
    assert safetensors.load_file(path).keys() == {f"model.{k}" for k in model.state_dict()}


def test_equal_values_give_equal_bytes() -> None:
    def contents() -> bytes:
        file = io.BytesIO()
        tg.save({"b": tg.ones(2), "a": [1, tg.zeros(3)]}, file)
        return file.getvalue()

    assert contents() == contents()


def test_the_tensors_of_any_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    safetensors.save_file({"w": np.ones((2, 2), "float32")}, path, metadata={"format": "pt"})
    loaded = tg.load(path)
    assert loaded.keys() == {"w"}
    assert loaded["w"].tolist() == [[1, 1], [1, 1]]


# ----- what cannot be saved ----------------------------------------------------------------------


class Anything:
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, Anything()]}, r"a/1 is a Anything"),
        (Anything(), "what was given is a Anything"),
        ([np.ones(2, complex)], "0 is an array of complex128"),
        ({"x": {(1, 2): 3}}, r"x has the key \(1, 2\)"),
        ([1 + 2j], "0 is a complex"),
        ([{1}], "0 is a set"),
        (b"bytes", "is a bytes"),
        (nn.Linear(1, 1), "is a Linear.*state_dict"),
    ],
)
def test_what_cannot_be_saved_is_named(value: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(TypeError, match=message):
        tg.save(value, path)
    assert path.read_bytes() == b"before"


def test_data_that_contains_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="contains itself"):
        tg.save(loop, io.BytesIO())


def test_numbers_of_numpy_become_pythons() -> None:
    value = through([np.float32(0.5), np.int64(3), np.True_])
    assert value == [0.5, 3, True]
    assert [*map(type, value)] == [float, int, bool]


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    tg.save([1], path)

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        tg.save([2], path)
    monkeypatch.undo()
    assert tg.load(path) == [1]
    assert os.listdir(tmp_path) == ["file"]


# ----- files that do harm ------------------------------------------------------------------------


def saved() -> bytes:
    file = io.BytesIO()
    tg.save({"w": tg.ones(2, 2), "n": [1, (2.5, None)]}, file)
    return file.getvalue()


@given(st.data())
def test_a_damaged_file_is_one_clear_error(data: Any) -> None:
    """Cut off anywhere, or with other bytes: it is a ValueError, or the change was in a number."""
    contents = bytearray(saved())
    if data.draw(st.booleans()):
        contents = contents[: data.draw(st.integers(0, len(contents) - 1))]
        with pytest.raises(ValueError, match="the file: "):
            tg.load(io.BytesIO(bytes(contents)))
        return
    for _ in range(data.draw(st.integers(1, 4))):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    message = "the file: a number may have changed"
    try:
        tg.load(io.BytesIO(bytes(contents)))
    except ValueError as error:
        message = str(error)
    assert message.startswith("the file: ")


HOSTILE: dict[str, Any] = {
    "an unknown tensor": {"tensor": "x", "requires_grad": False},
    "a tensor without a name": {"tensor": ["w"], "requires_grad": False},
    "a gradient of integers": {"tensor": "i", "requires_grad": True},
    "no truth value": {"tensor": "w", "requires_grad": "yes"},
    "an unknown kind": {"module": "os", "call": "system"},
    "too much": {"tuple": [], "dict": []},
    "no pairs": {"dict": [[1, 2, 3]]},
    "a key that is a list": {"dict": [[[1], 2]]},
    "a tuple that is none": {"tuple": 3},
    "nothing": {},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_structure_that_save_has_not_written(name: str, tmp_path: Path) -> None:
    arrays = {"w": np.ones(2, "float32"), "i": np.ones(2, "int64")}
    path = tmp_path / "file"
    for structure in (json.dumps(HOSTILE[name]), json.dumps([[HOSTILE[name]]])):
        safetensors.save_file(arrays, path, metadata={STRUCTURE: structure})
        with pytest.raises(ValueError, match=r"file: the file is damaged, or was not made by save"):
            tg.load(path)


def test_a_structure_that_is_no_json_or_endless(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for structure in ("", "{", "[" * 100_000, "[" * 100_000 + "]" * 100_000, "nonsense"):
        safetensors.save_file({"w": np.ones(2)}, path, metadata={STRUCTURE: structure})
        with pytest.raises(ValueError, match="file: the file is damaged"):
            tg.load(path)


def test_numbers_that_numpy_lacks(tmp_path: Path) -> None:
    path = tmp_path / "file"
    header = b'{"w":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(ValueError, match=r"file: found values of type.*F8_E4M3"):
        tg.load(path)


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    path = tmp_path / "file"
    header = b'{"w":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]}}'
    bits = np.array([1.5, -0.0, np.inf], "float32").view("uint32") >> 16
    path.write_bytes(len(header).to_bytes(8, "little") + header + bits.astype("<u2").tobytes())
    loaded = tg.load(path)["w"]
    assert loaded.dtype == "float32"
    np.testing.assert_array_equal(loaded.numpy(), np.array([1.5, -0.0, np.inf], "float32"))


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"cos\nsystem\n(S'touch harm'\ntR.")
    with pytest.raises(ValueError, match="no intact safetensors file"):
        tg.load(path)
    with pytest.raises(FileNotFoundError):
        tg.load(tmp_path / "missing")
