"""Files of PyTorch, written by hand: they are read, and whatever they ask for, nothing runs."""

import io
import itertools
import os
import pickle
import struct
import sys
import tarfile
import tracemalloc
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn

# ----- a writer, from the description of the format -----------------------------------------------


def name(text: str) -> bytes:
    module, _, last = text.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def put(value: Any) -> bytes:
    """The opcodes for a plain value; bytes are opcodes already."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, tuple):
        return b"(" + b"".join(map(put, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(put, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(map(put, itertools.chain(*value.items()))) + b"u"
    return pickle.dumps(value, 2)[2:-1]


def call(function: str, *arguments: Any) -> bytes:
    return name(function) + put(arguments) + b"R"


ORDERED = call("collections.OrderedDict")


def storage(kind: str, key: Any, size: Any, location: Any = "cpu") -> bytes:
    described = b"torch.storage.UntypedStorage" if kind == "Untyped" else b""
    kind_name = described.decode() or f"torch.{kind}Storage"
    return put(("storage", name(kind_name), key, location, size)) + b"Q"


def tensor(
    size: Any, shape: Any, steps: Any, offset: Any = 0, kind: str = "Float", key: Any = "0"
) -> bytes:
    arguments = (storage(kind, key, size), offset, shape, steps, False, ORDERED)
    return call("torch._utils._rebuild_tensor_v2", *arguments)


def program(value: Any) -> bytes:
    return b"\x80\x02" + put(value) + b"."


def zipped(value: Any, order: str = "little", **storages: bytes) -> bytes:
    """The file; the storages are named s0, s1, ..."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", value if type(value) is Raw else program(value))
        archive.writestr("archive/byteorder", order)
        for key, values in storages.items():
            archive.writestr(f"archive/data/{key[1:]}", values)
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


class Raw(bytes):
    """A pickle that is not to be wrapped."""


def legacy(value: Any, items: dict[str, tuple[int, bytes]] | None = None) -> bytes:
    """The format before 1.6; of each storage its number of elements and its bytes."""
    items = items or {}
    system = {"protocol_version": 1001, "little_endian": True}
    pickles = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    main = bytes(value) if type(value) is Raw else program(value)
    contents = b"".join([*pickles, main, pickle.dumps([*items], 2)])
    return contents + b"".join(struct.pack("<q", n) + values for n, values in items.values())


def load(contents: bytes, **options: Any) -> Any:
    return tg.load(io.BytesIO(contents), **options)


# ----- what is read -------------------------------------------------------------------------------

KINDS = {
    "Double": "f8",
    "Float": "f4",
    "Half": "f2",
    "Long": "i8",
    "Int": "i4",
    "Short": "i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "?",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_storage(kind: str, device: str) -> None:
    values = np.array([0, 1, 3, 100]).astype(KINDS[kind])
    described = {"x": tensor(4, (2, 2), (2, 1), kind=kind)}
    swapped = values.astype(values.dtype.newbyteorder(">")).tobytes()
    for contents in (
        zipped(described, s0=values.tobytes()),
        zipped(described, "big", s0=swapped),
        legacy(described, {"0": (4, values.tobytes())}),
    ):
        x = load(contents)["x"]
        assert x.device == device
        np.testing.assert_array_equal(x.numpy(), values.reshape(2, 2), strict=True)


@given(st.lists(st.floats(width=16), min_size=1))
def test_bfloat16_is_the_upper_half_of_float32(values: list[float]) -> None:
    bits = (np.array(values, "float32").view("uint32") >> 16).astype("<u2")
    size = len(values)
    described = tensor(size, (size,), (1,), kind="BFloat16")
    expected = [struct.unpack("<f", b"\0\0" + struct.pack("<H", b))[0] for b in bits]
    for contents in (
        zipped(described, s0=bits.tobytes()),
        legacy(described, {"0": (size, bits.tobytes())}),
    ):
        x = load(contents)
        assert x.dtype == "float32"
        np.testing.assert_array_equal(x.numpy(), np.array(expected, "float32"))


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
def test_dtypes_that_lie_in_storages_of_bytes(dtype: str) -> None:
    values = np.array([1, 2, 65535], dtype)
    bits = storage("Untyped", "0", values.nbytes)
    arguments = (bits, 1, (2,), (1,), False, ORDERED, name(f"torch.{dtype}"))
    x = load(zipped(call("torch._utils._rebuild_tensor_v3", *arguments), s0=values.tobytes()))
    np.testing.assert_array_equal(x.numpy(), values[1:], strict=True)


SIZES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=3)


@given(SIZES, st.integers(0, 4), st.integers(0, 12))
def test_strides_and_offsets(axes: list[tuple[int, int]], offset: int, size: int) -> None:
    """Element i of a tensor is at offset + Σ iₖ·stepₖ, and if that is no place, it is an error."""
    shape, steps = tuple(n for n, _ in axes), tuple(step for _, step in axes)
    values = np.arange(size, dtype="<f4")
    places = {
        index: offset + sum(i * step for i, step in zip(index, steps, strict=True))
        for index in np.ndindex(*shape)
    }
    contents = zipped(tensor(size, shape, steps, offset), s0=values.tobytes())
    if max(places.values(), default=-1) >= size:
        with pytest.raises(ValueError, match="the file: a tensor reaches to place"):
            load(contents, map_location="cpu")
        return
    x = load(contents, map_location="cpu")
    assert x.shape == shape
    for index, place in places.items():
        assert x.numpy()[index] == values[place]


def test_tensors_that_share_memory_still_do(device: str) -> None:
    weight = call("torch._utils._rebuild_parameter", tensor(6, (2, 3), (3, 1)), True, ORDERED)
    value = {"a": weight, "b": tensor(6, (3, 2), (1, 3)), "row": tensor(6, (3,), (1,), 3)}
    got = load(zipped(value, s0=np.zeros(6, "<f4").tobytes()))
    assert type(got["a"]) is nn.Parameter
    assert got["a"].requires_grad
    with tg.no_grad():
        got["a"][1, 2] = 7.0
    assert got["row"].tolist() == [0, 0, 7]
    assert got["b"].tolist() == [[0, 0], [0, 0], [0, 7]]


def test_a_gpu_does_not_fill_up_with_copies() -> None:
    value = [tensor(6, (3,), (2,))] * 16
    got = load(zipped(value, s0=np.arange(6, dtype="<f4").tobytes()), map_location="fakecuda:1")
    assert [x.tolist() for x in got] == [[0, 2, 4]] * 16
    for many in (value + value[:1], [tensor(6, (49,), (0,))]):
        contents = zipped(many, s0=bytes(24))
        with pytest.raises(ValueError, match="too often for a GPU; map_location='cpu'"):
            load(contents, map_location="fakecuda:1")
        assert len(load(contents, map_location="cpu")) == len(many)


def test_a_change_of_shared_memory_is_counted() -> None:
    value = {"a": tensor(2, (2,), (1,)), "b": tensor(2, (2,), (1,))}
    got = load(zipped(value, s0=np.ones(2, "<f4").tobytes()))
    loss = (got["a"].requires_grad_() ** 2).sum()
    got["b"].mul_(3.0)
    with pytest.raises(RuntimeError, match="chang"):
        loss.backward()


def test_a_model_takes_what_was_loaded() -> None:
    values = np.arange(6, dtype="<f4")
    state = (
        name("collections.OrderedDict")
        + b")R("
        + put("weight")
        + tensor(6, (2, 3), (3, 1))
        + put("bias")
        + tensor(2, (2,), (1,), key="1")
        + b"u"
        + put({"_metadata": {"": {"version": 1}}})
        + b"b"
    )
    contents = zipped(state, s0=values.tobytes(), s1=np.ones(2, "<f4").tobytes())
    loaded = load(contents)
    assert type(loaded) is OrderedDict
    assert loaded._metadata == {"": {"version": 1}}
    model = nn.Linear(3, 2)
    model.load_state_dict(loaded)
    assert model(tg.tensor([1.0, 0.0, 0.0])).tolist() == [1, 4]


def test_a_file_that_python_2_has_written() -> None:
    """Strings are bytes there, an OrderedDict is made of lists, and tensors have no gradients."""

    def old(text: str) -> bytes:
        return b"U" + bytes([len(text)]) + text.encode("latin-1")

    size = put(4)
    described = b"(" + old("storage") + name("torch.FloatStorage") + old("77") + old("cpu") + size
    for view in (b"N", put((b"U\x0278", 1, 2))):
        part = described + view + b"tQ"
        x = name("torch._utils._rebuild_tensor") + put((part, 0, (2,), (1,))) + b"R"
        state = name("collections.OrderedDict") + put(([[old("w"), x]],)) + b"R"
        loaded = load(legacy(state, {"77": (4, np.arange(4, dtype="<f4").tobytes())}))
        assert type(loaded) is OrderedDict
        assert loaded["w"].tolist() == ([0, 1] if view == b"N" else [1, 2])
    number = call("numpy.core.multiarray.scalar", call("numpy.dtype", "f8", 0, 1), old("\0" * 8))
    assert load(zipped(number)) == 0


KEYS = st.text(max_size=3) | st.integers() | st.booleans() | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3).map(OrderedDict)
        | st.dictionaries(KEYS, inner, max_size=3).map(partial(defaultdict, list))
        | st.dictionaries(KEYS, st.integers(), max_size=3).map(Counter)
        | st.sets(KEYS, max_size=1)
    ),
    max_leaves=8,
)


@given(VALUES, st.integers(2, 5), st.booleans())
def test_plain_values_as_python_writes_them(value: Any, protocol: int, old: bool) -> None:
    pickled = Raw(pickle.dumps(value, protocol))
    got = load(legacy(pickled) if old else zipped(pickled))
    assert repr(got) == repr(value)  # in which NaN is NaN, and 0.0 not -0.0


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_and_numbers_of_numpy(protocol: int) -> None:
    values = [np.float64(0.5), np.int8(-3), np.True_, np.arange(6.0).reshape(2, 3), np.array(3)]
    values += [np.arange(3, dtype="uint32"), np.zeros((0, 2)), np.ones((2, 3), order="F")]
    got = load(zipped(Raw(pickle.dumps(values, protocol))))
    for a, b in zip(got, values, strict=True):
        assert type(a) is type(b)
        np.testing.assert_array_equal(a, b, strict=True)
    assert got[-1].flags.f_contiguous
    got[3][0, 0] = 1  # an array like others


def test_dtypes_devices_and_sizes() -> None:
    value = [
        name("torch.float16"),
        name("torch.long"),
        call("torch.device", "cuda", 1),
        call("torch.device", "cpu"),
        call("torch.Size", (2, 3)),
    ]
    value.append(call("torch.device", "mps"))
    half, long, *devices, size, apple = load(zipped(value))
    assert (half, long, size, apple) == (np.dtype("float16"), np.dtype("int64"), (2, 3), "mps")
    assert devices == [tg.device("cuda:1"), tg.device("cpu")]
    assert [device.type for device in devices] == ["cuda", "cpu"]
    assert type(size) is tg.Size


def test_where_tensors_come_to(device: str) -> None:
    described = storage("Float", "0", 1, "cuda:3")
    value = call("torch._utils._rebuild_tensor_v2", described, 0, (1,), (1,), False, ORDERED)
    contents = zipped([value, tensor(1, (1,), (1,), key="1")], s0=bytes(4), s1=bytes(4))
    seen = []

    def place(given: Any, location: str) -> Any:
        seen.append(location)
        return given if location == "cpu" else None

    for where, expected in (
        (None, [device, device]),
        ("fakecuda:0", ["fakecuda:0", "fakecuda:0"]),
        ({"cuda:3": "fakecuda:1"}, ["fakecuda:1", device]),
        (lambda storage, location: storage, ["cpu", "cpu"]),
        (lambda storage, location: storage.cpu(), ["cpu", "cpu"]),
        (lambda storage, location: storage.cuda("fakecuda:1"), ["fakecuda:1", "fakecuda:1"]),
        (place, [device, "cpu"]),
    ):
        assert [x.device for x in load(contents, map_location=where)] == expected
    assert seen == ["cuda:3", "cpu"]
    with pytest.raises(TypeError, match="returns its storage"):
        load(contents, map_location=lambda storage, location: "cpu")
    with pytest.raises(ZeroDivisionError):
        load(contents, map_location=lambda storage, location: 1 / 0)


# ----- nothing runs -------------------------------------------------------------------------------

EVENTS: list[str] = []
watching = False


def hook(event: str, arguments: Any) -> None:
    if watching:
        EVENTS.append(event)


@contextmanager
def nothing_runs() -> Iterator[None]:
    """Python tells its auditors of no code that is compiled or run, no import and no file."""
    global watching
    if "hook" not in INSTALLED:
        sys.addaudithook(hook)
        INSTALLED.add("hook")
    EVENTS.clear()
    watching = True
    try:
        yield
    finally:
        watching = False
    harmless = ("object.", "sys._getframe", "builtins.id", "array.", "gc.", "sys.unraisablehook")
    assert [event for event in EVENTS if not event.startswith(harmless)] == []


INSTALLED: set[str] = set()


class Harm:
    """What pickle would do on loading."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def harmful() -> dict[str, tuple[Any, str]]:
    """Programs that ask for more than data, and what the error says of them."""
    rebuild = "torch._utils._rebuild_tensor_v2"
    reduced = {
        "a command": (Harm(os.system, "touch harm"), r"asks for (posix|nt)\.system"),
        "code": (Harm(eval, "1 + 1"), r"asks for builtins\.eval"),
        "exec": (Harm(exec, "x = 1"), r"asks for builtins\.exec"),
        "an attribute": (Harm(getattr, "", "join"), r"asks for builtins\.getattr"),
        "a file": (Harm(open, "harm", "w"), r"asks for _?io\.open"),
        "an import": (Harm(__import__, "os"), r"asks for builtins\.__import__"),
        "a pickle": (Harm(pickle.loads, b"N."), r"asks for _?pickle\.loads"),
        "a range": (range(3), r"asks for builtins\.x?range"),
        "an exception": (ValueError("x"), r"asks for \w+\.ValueError"),
    }
    written = {
        "a method of a class": (
            b"\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93)R",
            r"collections\.OrderedDict\.fromkeys",
        ),
        "ourselves": (call("tinygrad_cv.storage.write", "a", b"C\0"), r"tinygrad_cv\.storage\.wri"),
        "PyTorch": (call("torch.load", "x"), r"asks for torch\.load"),
        "the hub": (call("torch.hub.load", "x"), r"asks for torch\.hub\.load"),
        "a class as a function": (call("builtins.list", [1]), "calls builtins.list"),
        "a storage as a function": (call("torch.FloatStorage", 3), "calls torch.FloatStorage"),
        "a string as a function": (put("os.system") + put(("x",)) + b"R", "calls a str"),
        "a function without a tuple": (name(rebuild) + put([1]) + b"R", "calls torch"),
        "a new object": (b"cos\nsystem\n" + put(("x",)) + b"\x81", r"asks for os\.system"),
        "a new object with names": (ORDERED + b")}\x92", "uses NEWOBJ_EX"),
        "an instance": (b"(ios\nsystem\n", "uses INST"),
        "an object": (b"(" + name("collections.OrderedDict") + b"o", "uses OBJ"),
        "an extension": (b"\x82\x01", "uses EXT1"),
        "a buffer": (b"\x97", "uses NEXT_BUFFER"),
        "an id as text": (b"P0\n", "uses PERSID"),
        "a string as text": (b"S'\\c'\n", "uses STRING"),
        "a name with escapes": (b"co\\x73\nsystem\n", r"asks for o\\x73\.system"),
        "the state of a list": (b"]" + put({"__class__": 1}) + b"b", "inner state of a list"),
        "the state of a name": (name(rebuild) + put({"text": 1}) + b"b", "inner state of a Name"),
        "the state of a tensor": (tensor(1, (1,), (1,)) + b"}b", "inner state of a Tensor"),
        "values that are negated": (
            call(rebuild, storage("Float", "0", 1), 0, (1,), (1,), False, ORDERED, {"neg": True}),
            "negative or conjugate",
        ),
        "a factory": (call("collections.defaultdict", name(rebuild)), "function of its own"),
        "another maker": (
            call("torch._tensor._rebuild_from_type_v2", name("torch.device"), 1, ("x",), {}),
            "not PyTorch's",
        ),
        "objects of NumPy": (call("numpy.dtype", "O8", False, True), "neither bool"),
        "records of NumPy": (call("numpy.dtype", [("a", "f8")], False, True), "found a list"),
        "a class of arrays": (
            call("numpy.core.multiarray._reconstruct", name(rebuild), (0,), b"C\1b"),
            "class of its own",
        ),
        "an encoding": (call("_codecs.encode", "x", "zlib"), "other than Latin-1"),
        "many bytes": (call("builtins.bytes", 10**12), "damaged"),
        "many more bytes": (call("builtins.bytearray", 10**12), "bytes were expected"),
        "another persistent id": (put(("file", "x")) + b"Q", "described in a way"),
        "a whole model of old": (put(("module", b"N", b"N", b"N")) + b"Q", "whole model"),
    }
    return {
        title: (Raw(pickle.dumps(value, 2)), message) for title, (value, message) in reduced.items()
    } | {
        title: (Raw(b"\x80\x02" + opcodes + b"."), message)
        for title, (opcodes, message) in written.items()
    }


@pytest.mark.parametrize("title", harmful())
def test_nothing_is_run_and_the_error_says_what_was_asked(title: str) -> None:
    opcodes, message = harmful()[title]
    files = [zipped(opcodes, s0=bytes(4))]
    files.append(legacy(opcodes, {"0": (1, bytes(4))} if b"FloatStorage" in opcodes else {}))
    for contents in files:
        with pytest.raises(ValueError, match=rf"^the file: .*{message}"), nothing_runs():
            load(contents)
        with pytest.raises(ValueError, match=r"^the file: "), nothing_runs():
            load(bytes(opcodes))  # the pickle alone
    assert not os.path.exists("harm")


def test_a_whole_model_is_named() -> None:
    whole = (
        name("__main__.Net") + b")\x81" + put({"training": True, "_parameters": {}, "_modules": {}})
    )
    with pytest.raises(ValueError, match=r"whole model, of the class __main__\.Net.*state_dict"):
        load(zipped(whole + b"b"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (name("torch.ComplexFloatStorage"), r"complex numbers \(torch\.ComplexFloatStorage\)"),
        (name("torch.complex64"), "complex numbers"),
        (name("torch.float8_e4m3fn"), "floats of 8 bits"),
        (name("torch.QInt8Storage"), "quantized"),
        (name("torch._utils._rebuild_sparse_tensor"), "sparse"),
        (name("torch._utils._rebuild_meta_tensor_no_storage"), "meta"),
        (name("argparse.Namespace"), r"asks for argparse\.Namespace"),
        (name("x" * 10_000 + ".y"), r"asks for x{200}\.\.\."),
    ],
)
def test_what_is_not_here_is_named(value: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load(zipped(value))
    assert len(str(caught.value)) < 500


# Pieces of programs: whatever they make together, it is data or an error.
OPCODES = b"(}]).012NQRbdelostu\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94"
PIECES = st.sampled_from(
    [
        *(bytes([code]) for code in OPCODES),
        *(put(value) for value in (0, 1, -1, 2**40, 0.5, "0", "storage", "cpu", (), (2,), [], {})),
        *(name(text) for text in (
            "os.system", "collections.OrderedDict", "collections.Counter",
            "collections.defaultdict",
            "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter",
            "torch.FloatStorage",
            "torch.Size", "torch.device", "torch.float32", "builtins.set", "builtins.list",
            "numpy.dtype", "numpy.core.multiarray._reconstruct", "numpy.ndarray", "_codecs.encode",
            "numpy.core.multiarray.scalar", "torch._tensor._rebuild_from_type_v2",
        )),
        ORDERED,
        storage("Float", "0", 2),
        tensor(2, (2,), (1,)),
        call("numpy.dtype", "f8", False, True),
        put((3, "<", None, None, None, -1, -1, 0)),
        put((1, (2,), b"h\0", False, b"C\x02ab")),
        b"q\0", b"h\0", b"q\1", b"h\1",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=25), st.booleans())
def test_random_programs(pieces: list[bytes], old: bool) -> None:
    opcodes = Raw(b"\x80\x02" + b"".join(pieces) + b".")
    values = np.ones(2, "<f4").tobytes()
    contents = legacy(opcodes, {"0": (2, values)}) if old else zipped(opcodes, s0=values)
    message = "the file: a value was made"
    try:
        with nothing_runs():
            load(contents)
    except ValueError as error:
        message = str(error)
    assert message.startswith("the file: ")


# ----- damage -------------------------------------------------------------------------------------


def good() -> dict[str, bytes]:
    values = np.arange(6, dtype="<f4").tobytes()
    described = {"w": tensor(6, (2, 3), (3, 1)), "state": {0: {"step": 3, "betas": (0.9, 0.99)}}}
    return {"zip": zipped(described, s0=values), "legacy": legacy(described, {"0": (6, values)})}


@given(st.data(), st.sampled_from(["zip", "legacy", "pickle"]))
def test_a_damaged_file_is_one_clear_error(data: Any, kind: str) -> None:
    contents = bytearray(good()["zip" if kind == "pickle" else kind])
    if kind == "pickle":  # within the archive, whose checksum is right again
        with zipfile.ZipFile(io.BytesIO(bytes(contents))) as archive:
            contents = bytearray(archive.read("archive/data.pkl"))
    if data.draw(st.booleans()):
        contents = contents[: data.draw(st.integers(0, len(contents) - 1))]
    for _ in range(data.draw(st.integers(0, 4)) if contents else 0):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    if kind == "pickle":
        contents = bytearray(zipped(Raw(contents), s0=np.arange(6, dtype="<f4").tobytes()))
    message = "the file: a number may have changed"
    try:
        load(bytes(contents))
    except ValueError as error:
        message = str(error)
    assert message.startswith("the file: ")


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_a_file_that_was_cut_off(kind: str) -> None:
    contents = good()[kind]
    for length in range(0, len(contents), 7):
        with pytest.raises(ValueError, match=r"^the file: "):
            load(contents[:length])


def test_a_changed_value_does_not_fit_its_checksum() -> None:
    contents = zipped(tensor(6, (6,), (1,)), s0=b"A" * 24)
    with pytest.raises(ValueError, match=r"no intact zip archive .*CRC"):
        load(contents.replace(b"A" * 24, b"A" * 23 + b"B"))


SQUARE = np.zeros(4, "<f4").tobytes()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (tensor(4, (2**40, 2**40), (0, 1)), "reaches to place"),
        (tensor(4, (2, 2), (2**61, 1)), "reaches to place"),
        (tensor(4, (2, 2), (-1, 1)), "strides holds"),
        (tensor(4, (-2, 2), (2, 1)), "shape holds"),
        (tensor(4, (True, 2), (2, 1)), "shape holds"),
        (tensor(4, (2, 2), (2,)), "2 axes has 1 strides"),
        (tensor(4, (1,) * 65, (1,) * 65), "too long"),
        (tensor(4, (2, 2), (2, 1), -1), "an offset"),
        (tensor(4, (2, 2), (2, 1), 1), "reaches to place 4 of a storage of 4"),
        (tensor(4, 3, 1), "a shape is a int"),
        (tensor(2**60, (2, 2), (2, 1)), "storage of .* has 16 bytes"),
        (tensor(5, (2, 2), (2, 1)), "storage of 5 elements of float32 has 16 bytes"),
        (tensor(-1, (0,), (1,)), "storage of -1 elements"),
        (tensor(4, (2, 2), (2, 1), key="9"), "damaged"),
        (tensor(4, (2, 2), (2, 1), key=0), "described in a way"),
        ([tensor(4, (4,), (1,)), tensor(4, (4,), (1,), kind="Int")], "described in two ways"),
        (call("torch._utils._rebuild_tensor_v2", 1, 0, (1,), (1,), False, ORDERED), "found a int"),
        (call("torch._utils._rebuild_tensor_v2"), "damaged"),
        (call("collections.OrderedDict", [1, 2]), "no pairs"),
        (call("collections.OrderedDict", [[[], 2]]), "a list is a key"),
        (put({}) + put([]) + b"Ns", "a list is a key"),
        (b"h\x07", "damaged"),
        (b"0", "damaged"),
        (b"t", "damaged"),
    ],
)
def test_descriptions_that_do_not_fit(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^the file: .*{message}"):
        load(zipped(value, s0=SQUARE))


def test_archives_of_other_kinds(tmp_path: Any) -> None:
    def archive(compression: int = zipfile.ZIP_STORED, **files: str) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as made:
            for path, text in files.items():
                made.writestr(path.replace("__", "/").replace("_pkl", ".pkl"), text)
        return file.getvalue()

    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as made:
        made.addfile(tarfile.TarInfo("pickle"), io.BytesIO())
    for contents, message in (
        (archive(a="x"), "that torch.save has not written"),
        (archive(a__data_pkl="N.", b__data_pkl="N."), "that torch.save has not written"),
        (archive(a__data_pkl="N.", a__code__x="x"), "TorchScript"),
        (archive(a__data_pkl="N.", a__constants_pkl="x"), "TorchScript"),
        (archive(zipfile.ZIP_DEFLATED, a__data_pkl="N." + "\0" * 10**6), "does not compress"),
        (b"PK\3\4", "no intact zip"),
        (tarred.getvalue(), r"tar archive, the format of PyTorch 0\.1"),
        (pickle.dumps({"a": 1}, 2), "pickle that torch.save has not written"),
        (pickle.dumps({"a": 1}, 4), "pickle that torch.save has not written"),
    ):
        path = tmp_path / "file.pth"
        path.write_bytes(contents)
        with pytest.raises(ValueError, match=rf"file\.pth: .*{message}"):
            tg.load(path)


# ----- bombs --------------------------------------------------------------------------------------


def peak(contents: bytes) -> int:
    message = "the file: a value was made"
    tracemalloc.start()
    try:
        load(contents)
    except ValueError as error:
        message = str(error)
    finally:
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert message.startswith("the file: ")
    return memory


LAUGHS = b"N" + b"2\x86" * 200  # a tuple of itself twice, 200 times
BOMBS = {
    "a tuple of 2^200 elements": LAUGHS,
    "as a key": b"}" + LAUGHS + b"Ns",
    "in a set": b"\x8f(" + LAUGHS + b"\x90",
    "as a shape": tensor(4, LAUGHS, LAUGHS),
    "as a storage": LAUGHS + b"Q",
    "as a state": ORDERED + LAUGHS + b"b",
    "as a function": LAUGHS + b")R",
    "as arguments": name("torch._utils._rebuild_tensor_v2") + LAUGHS + b"R",
    "deep lists": b"]" * 4_000 + b"a" * 3_999,
    "deep tuples": b")" + b"\x85" * 4_000,
    "deep marks": b"(" * 4_000,
    "a memo far away": b"Nr\xff\xff\xff\xff",
    "a long string that is not there": b"X\xff\xff\xff\x7f",
    "longer bytes that are not there": b"\x8e" + b"\xff" * 7 + b"\x0f",
    "a long number that is not there": b"\x8b\xff\xff\xff\x7f",
    "a frame": b"\x95" + b"\xff" * 7 + b"\x0f",
    "a number of many digits": b"L" + b"9" * 20_000 + b"L\n",
    "a name without an end": b"c" + b"x" * 20_000,
    "elements that are repeated": tensor(4, (10**6, 10**6), (0, 0)),
    "an array that is not there": call(
        "numpy.core.numeric._frombuffer", b"C\0", call("numpy.dtype", "f8", 0, 1), (10**9,), "C"
    ),
}


@pytest.mark.parametrize("title", BOMBS)
def test_no_file_takes_much_more_than_its_size(title: str) -> None:
    opcodes = Raw(b"\x80\x04" + BOMBS[title] + b".")
    for contents in (zipped(opcodes, s0=SQUARE), legacy(opcodes)):
        assert peak(contents) < 100 * len(contents) + 10**6


def test_the_old_format_announces_more_than_is_there() -> None:
    for announced in (2**40, 2**61):
        contents = legacy(tensor(announced, (2,), (1,)), {"0": (announced, bytes(8))})
        with pytest.raises(ValueError, match="too short for the tensors"):
            load(contents)
        assert peak(contents) < 10**6
    with pytest.raises(ValueError, match="not the 2 elements that were announced"):
        load(legacy(tensor(2, (2,), (1,)), {"0": (3, bytes(12))}))


def test_a_large_file_is_read_in_about_its_size() -> None:
    size = 10**6
    for contents in (
        zipped(tensor(size, (size,), (1,)), s0=bytes(4 * size)),
        legacy(tensor(size, (size,), (1,)), {"0": (size, bytes(4 * size))}),
    ):
        assert peak(contents) < 5 * len(contents)
