"""save and load: every structure comes back, and no file does harm."""

import io
import json
import math
import os
import random
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import numpy as safetensors

import tinygrad_cv as tg
from tinygrad_cv import nn, optim
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


ARRAYS = hnp.arrays(st.sampled_from([*DTYPES, "uint16", "uint32", "uint64"]), hnp.array_shapes())
KEYS = st.text(max_size=5) | st.sampled_from(("__metadata__", "a.b", "a", "0")) | st.integers()
STRUCTURES = st.recursive(
    NUMBERS | tensors() | ARRAYS | st.sampled_from(DTYPES).map(np.dtype),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS | st.none() | st.booleans() | st.floats(0, 1), inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3).map(OrderedDict)
        | st.dictionaries(KEYS, st.integers(), max_size=3).map(Counter)
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
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
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
    assert loaded._metadata == model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(loaded)
    # Others read the tensors of a state dict under its names.
    assert safetensors.load_file(path).keys() == model.state_dict().keys()
    tg.save({"epoch": 3, "model": model.state_dict(), "best": (0.5, "a")}, str(path))
    assert tg.load(str(path))["best"] == (0.5, "a")
    assert safetensors.load_file(path).keys() == {f"model.{k}" for k in model.state_dict()}


def test_a_whole_training_state(tmp_path: Path) -> None:
    """A run that was written down in the middle, and goes on from the file, is the same run."""

    def run(steps: int, state: Any = None, path: Path | None = None) -> list[Any]:
        model = nn.Linear(3, 2, generator=tg.manual_seed(0))
        optimizer = optim.Adam(model.parameters(), lr=0.5)
        schedule = optim.lr_scheduler.MultiStepLR(optimizer, [1, 3, 3])
        generator, other = tg.Generator().manual_seed(1), np.random.default_rng(2)
        if state is not None:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            generator.set_state(state["generator"])
            other.bit_generator.state = state["other"]
        for _ in range(steps):
            x = tg.randn(4, 3, generator=generator) + float(other.random())
            optimizer.zero_grad()
            (model(x) ** 2).sum().backward()
            optimizer.step()
            schedule.step()
        if path is not None:
            whole = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "best": math.inf,
                "generator": generator.get_state(),
                "other": other.bit_generator.state,
                "numpy": np.random.RandomState(0).get_state(),
                "python": random.Random(0).getstate(),
                "size": tg.ones(2, 3).shape,
                "dtype": tg.float32,
                "device": tg.device("cuda", 1),
                "epoch": steps,
            }
            tg.save(whole, path)
            loaded = tg.load(path)
            assert same(loaded, whole)
            random.Random().setstate(loaded["python"])
            np.random.RandomState().set_state(loaded["numpy"])
        return [tensor.tolist() for tensor in model.state_dict().values()]

    path = tmp_path / "checkpoint.pt"
    run(2, path=path)
    assert run(3, tg.load(path)) == run(5)


def test_parameters_come_back_as_such() -> None:
    p = nn.Parameter(tg.ones(2), requires_grad=False)
    a, b = through([p, p])
    assert type(a) is nn.Parameter
    assert a is b
    assert not a.requires_grad


def test_one_array_in_two_places_stays_one() -> None:
    x = np.ones(2)
    a, b = through([x, x])
    assert a is b
    a[0] = 3


class Point(tuple):
    __slots__ = ()


class Named(dict):
    pass


def test_kinds_of_a_programs_own_are_what_they_are_at_bottom() -> None:
    class Text(str):
        __slots__ = ()

    value = through([Point((1, 2)), Named(a=1), Text("x")])
    assert value == [(1, 2), {"a": 1}, "x"]
    assert [*map(type, value)] == [tuple, dict, str]


def test_a_file_that_is_open() -> None:
    file = io.BytesIO(b"before")
    file.seek(6)
    tg.save([1], file)
    file.seek(6)
    assert tg.load(file) == [1]
    with pytest.raises(TypeError, match="mode 'rb'"):
        tg.load(io.StringIO("text"))


@pytest.mark.parametrize("path", ["state.pt", "state.pth", "state"])
def test_arguments_of_pytorch(path: str, tmp_path: Path) -> None:
    where = tmp_path / path
    tg.save({"a": tg.ones(1)}, str(where), _use_new_zipfile_serialization=False, pickle_protocol=4)
    for options in ({"weights_only": True}, {"weights_only": False}, {"mmap": True}, {}):
        assert tg.load(where, "cpu", **options)["a"].tolist() == [1]
    for use in (lambda: tg.save(1, where, json), lambda: tg.load(where, pickle_module=json)):
        with pytest.raises(TypeError, match="no pickles; leave out pickle_module"):
            use()


def test_map_location_of_our_own_files() -> None:
    file = io.BytesIO()
    tg.save([tg.ones(1)], file)
    for where, expected in (
        ({"cpu": "fakecuda:1"}, "fakecuda:1"),
        (lambda storage, location: storage.cuda("fakecuda:0"), "fakecuda:0"),
        (lambda storage, location: storage, "cpu"),
        (lambda storage, location: None, tg.get_default_device()),
    ):
        file.seek(0)
        assert tg.load(file, map_location=where)[0].device == expected
    file.seek(0)
    with pytest.raises(ZeroDivisionError):
        tg.load(file, map_location=lambda storage, location: 1 / 0)


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
        ([np.ones(2, complex)], "0 is made of complex128"),
        ({"x": {(1, 2): 3}}, r"x has the key \(1, 2\)"),
        ([1 + 2j], "0 is a complex"),
        ({"x": tg.Tensor(np.ones(2, complex))}, "x is made of complex"),
        (np.array(["a"]), "what was given is made of <U1"),
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
    "another kind of dict": {"dict": [], "kind": "os.environ"},
    "a counter of none": {"dict": [[[], 1]], "kind": "Counter"},
    "an unknown array": {"array": "x"},
    "versions of a dict": {"dict": [], "versions": {}},
    "versions without a name": {"dict": [], "kind": "OrderedDict", "versions": [1]},
    "an array without a name": {"array": ["w"]},
    "an unknown device": {"device": "gpu"},
    "a size of strings": {"size": ["x"]},
    "an unknown dtype": {"dtype": "O"},
    "a parameter of integers": {"parameter": "i", "requires_grad": True},
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
