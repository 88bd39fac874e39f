"""PyTorch's files, .pth and .pt, read without PyTorch and without running anything in them.

Such a file is a pickle, a program for a small machine with a stack, and beside it the memory of
the tensors. Python's own machine imports and calls whatever the program names. The one here
(`Machine`) cannot: it imports nothing, and a name in the file becomes a `Name`, which is text.
Where the program asks for a call, the name is looked up in `MAKERS`, and the functions of this
table are all that is ever called. They make tensors, arrays, dicts and tuples of arguments whose
types they check, and take no code. A name that is in no table ends the loading, and the error says
it.

Nothing is larger in memory than the file has bytes for: tensors are views of their storage, whose
size is compared with what is there before it is read, and what is copied of a value is counted,
since a few bytes can ask for another copy (`Machine.pay`). Values of the file are never printed,
compared or hashed as a whole, since a few bytes can describe a value that would take forever.
"""

import math
import pickletools
import re
import sys
import zipfile
import zlib
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterator
from copy import copy
from dataclasses import dataclass
from io import BytesIO
from struct import error as StructError
from typing import Any

from tinygrad_cv._public import NN, PUBLIC
from tinygrad_cv._tensor import Size, Tensor, wrap
from tinygrad_cv.backend import Backend, get, host
from tinygrad_cv.backend.devices import KINDS, device

LEGACY = 0x1950A86A20F9469CFC6C
"""The magic number at the start of files that PyTorch wrote before 1.6."""
LEGACY_PROTOCOL = 1001
AXES = 64  # the most that NumPy has
PARTS = 64  # the most that a tuple has that is a key
COPIES = 8  # of its own size that a storage may cause on a GPU, and a file in the machine

DTYPES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
}
"""The dtype of a storage, by PyTorch's name of its class without the "Storage"."""

STORAGES = {f"torch.{name}Storage": dtype for name, dtype in DTYPES.items()}
STORAGES["torch.storage.UntypedStorage"] = "bytes"  # their dtype stands with the tensor

VALUES = {
    f"torch.{name}": host.dtype(name)
    for name in (*DTYPES.values(), "uint16", "uint32", "uint64")
    if name != "bfloat16"
}
VALUES |= {"torch.bfloat16": host.dtype("float32")}  # as such tensors are read
VALUES |= {f"torch.{short}": VALUES[f"torch.{long}"] for short, long in (
    ("double", "float64"), ("float", "float32"), ("half", "float16"), ("long", "int64"),
    ("int", "int32"), ("short", "int16"),
)}  # fmt: skip

WITHOUT = {
    r"\w*[Cc]omplex\w+": "complex numbers",
    r"\w*[Ff]loat(8|4)\w*": "floats of 8 bits or fewer",
    r"Q\w+Storage|qu?int\d\w*|\w*_rebuild_qtensor": "quantized numbers",
    r"_rebuild_(sparse\w*|nested)_tensor": "a sparse or nested tensor",
    r"_rebuild_meta_tensor_no_storage": "a tensor without values, of the device 'meta'",
}
"""What PyTorch has and tinygrad_cv has not, by a pattern of the name in the file."""


@dataclass(frozen=True)
class Name:
    """A function or class that the file names, such as torch.FloatStorage: the name, as text."""

    text: str


class Storage:
    """The memory of one tensor or several: an array (n,), and how often it was changed."""

    def __init__(self, kind: str, flat: host.ndarray, backend: Backend) -> None:
        self.kind, self.flat, self.backend = kind, flat, backend
        self.there = flat if backend.device == "cpu" else backend.from_host(flat)
        self.version, self.copied = [0, 0, 0], 0

    def part(self, start: int, length: int) -> "Storage":
        """Some of the elements, in the same memory."""
        part = copy(self)
        with self.backend.active:
            part.flat, part.there = (
                memory[start : start + length] for memory in (self.flat, self.there)
            )
        return part

    def tensor(self, offset: Any, shape: Any, steps: Any, dtype: Any = None) -> Tensor:
        """The elements at offset + Σ i·step, as a view: tensors that shared memory still do.

        A GPU has no views with gaps or repetitions; there such a tensor has its own memory.
        """
        flat = self.flat if dtype is None else self.flat.view(dtype)
        shape, steps = _sizes("a shape", shape), _sizes("strides", steps)
        (offset,) = _sizes("an offset", (offset,))
        if len(shape) != len(steps):
            raise ValueError(f"a tensor of {len(shape)} axes has {len(steps)} strides")
        if 0 in shape:
            flat, offset, steps = flat[:0], 0, (0,) * len(steps)
        else:
            last = offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
            if last >= len(flat):
                raise ValueError(f"a tensor reaches to place {last} of a storage of {len(flat)}")
        strides = [step * flat.itemsize for step in steps]
        view = host.lib.stride_tricks.as_strided(flat[offset:], shape, strides)
        axes = sorted(range(view.ndim), key=lambda axis: -steps[axis])
        rows = view.transpose(axes)
        if self.there is self.flat:
            tensor = wrap(view, self.backend)
        elif rows.flags.c_contiguous and dtype is None:
            back = sorted(range(view.ndim), key=axes.__getitem__)
            with self.backend.active:
                dense = self.there[offset : offset + view.size].reshape(rows.shape)
                tensor = wrap(dense.transpose(back), self.backend)
        else:
            self.copied += view.size
            if self.copied > COPIES * len(flat):
                raise ValueError(
                    f"tensors repeat the elements of a storage of {len(flat)} too often for a GPU; "
                    "map_location='cpu' loads them"
                )
            return wrap(self.backend.from_host(host.ascontiguousarray(view)), self.backend)
        tensor._counter = self.version
        return tensor


def _sizes(what: str, values: Any) -> tuple[int, ...]:
    """Whole numbers, 0 or more, as shapes, strides and offsets are made of."""
    if not isinstance(values, tuple | list) or len(values) > AXES:
        raise ValueError(f"{what} is a {type(values).__name__}, or too long")
    for value in values:
        if type(value) is not int or not 0 <= value < 2**62:
            raise ValueError(f"{what} holds what is no size")
    return tuple(values)


# ----- the machine -------------------------------------------------------------------------------


OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
NEEDLESS = "its pickle uses {}, which no file of PyTorch needs"


def opcodes(stream: BytesIO) -> Iterator[tuple[str, Any]]:
    """The opcodes up to the end of a pickle, and what stands behind each.

    Those of the first two protocols that have their argument as a line of text are left out, but
    for the names of functions and classes.
    """
    while (opcode := OPCODES[stream.read(1)]).name != "STOP":
        if opcode.name == "GLOBAL":
            yield opcode.name, ".".join(_line(stream) for _ in ("module", "name"))
        elif opcode.arg is None:
            yield opcode.name, None
        elif opcode.arg.n == pickletools.UP_TO_NEWLINE:
            raise ValueError(NEEDLESS.format(opcode.name))
        else:
            yield opcode.name, opcode.arg.reader(stream)


def _line(stream: BytesIO) -> str:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return line[:-1].decode()


class Machine:
    """Runs a pickle and gives the value that it describes.

    `memory(kind, key, location, size)` gives the storage of a tensor; the file has `length` bytes.
    """

    def __init__(self, memory: Callable[[str, str, str, int], Storage], length: int) -> None:
        self.memory = memory
        self.left = COPIES * length

    def run(self, stream: BytesIO) -> Any:
        """The value of the pickle that begins here; the stream is left at its end."""
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under the marks
        self.memo: dict[int, Any] = {}
        for opcode, argument in opcodes(stream):
            self.step(opcode, argument)
        return _whole(self.stack.pop())

    def step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode])
            case (
                "BININT" | "BININT1" | "BININT2" | "LONG1" | "LONG4" | "BINFLOAT"
                | "BINSTRING" | "SHORT_BINSTRING"
                | "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8"
                | "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8"
            ):  # fmt: skip
                stack.append(argument)
            case "MARK":
                self.below.append(stack)
                self.stack = []
            case "POP":
                if stack:
                    stack.pop()
                else:
                    self.since_mark()
            case "POP_MARK":
                self.since_mark()
            case "DUP":
                stack.append(stack[-1])
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode[-1])
                if len(stack) < count:
                    raise IndexError("nothing is left on the stack")
                stack[-count:] = [tuple(stack[-count:])]
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_SET":
                stack.append({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}[opcode]())
            case "TUPLE" | "LIST" | "FROZENSET" | "DICT":
                values = self.since_mark()
                if opcode == "TUPLE":
                    made: Any = tuple(values)
                elif opcode == "LIST":
                    made = values
                elif opcode == "FROZENSET":
                    made = frozenset(map(_key, values))
                else:
                    made = {}
                    _set_items(made, values)
                self.stack.append(made)
            case "APPEND":
                value = stack.pop()
                _of(list, stack[-1]).append(value)
            case "APPENDS":
                values = self.since_mark()
                _of(list, self.stack[-1]).extend(values)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set_items(stack[-1], [key, value])
            case "SETITEMS":
                values = self.since_mark()
                _set_items(self.stack[-1], values)
            case "ADDITEMS":
                values = self.since_mark()
                _of(set, self.stack[-1]).update(map(_key, values))
            case "GLOBAL":
                stack.append(named(argument))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(named(f"{_of(str, module)}.{_of(str, name)}"))
            case "REDUCE" | "NEWOBJ":
                arguments, called = stack.pop(), stack.pop()
                stack.append(self.call(called, arguments))
            case "BUILD":
                state = stack.pop()
                if type(state) in (tuple, dict):
                    self.pay(state if type(state) is tuple else state.values())
                _set_state(stack[-1], state)
            case "BINPERSID":
                stack.append(self.storage(stack.pop()))
            case _:
                raise ValueError(NEEDLESS.format(opcode))

    def since_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.below.pop()
        return values

    def call(self, name: Any, arguments: Any) -> Any:
        """The only place that calls what a file names: it must be in the table."""
        if not (isinstance(name, Name) and name.text in MAKERS and type(arguments) is tuple):
            what = name.text if isinstance(name, Name) else f"a {type(name).__name__}"
            raise ValueError(f"the file calls {what}, which is nothing to call")
        self.pay(arguments)
        return MAKERS[name.text](self, *arguments)

    def pay(self, values: Collection[Any]) -> None:
        """Count the values from which something is made: a file may ask for it again and again.

        An element that is there once has two bytes in the file, nearly always.
        """
        self.left -= 2 * COPIES * len(values)
        if self.left >= 0:
            for value in values:
                if isinstance(value, str | bytes | bytearray):
                    self.left -= len(value)
                elif isinstance(value, list | tuple | dict):
                    self.left -= 2 * COPIES * len(value)
        if self.left < 0:
            raise ValueError("the file copies more than it has")

    def storage(self, description: Any) -> Storage:
        """The storage that a persistent id describes."""
        match description:
            case [str(first), *_] if first == "module":
                raise ValueError(WHOLE_MODULE.format("an nn.Module"))
            case [str(first), Name(text=text), str(key), str(location), int(size), *view] if (
                first == "storage" and text in STORAGES and 0 <= size < 2**62
            ):
                whole = self.memory(STORAGES[text], key, location, size)
                match view:
                    case [] | [None]:
                        return whole
                    case [[str(), int(start), int(length)]] if 0 <= start <= start + length <= size:
                        return whole.part(start, length)
        raise ValueError("a storage is described in a way that is not PyTorch's")


WHOLE_MODULE = (
    "the file holds a whole model, {}, which is code and not only numbers. Save its state instead, "
    "with torch.save(model.state_dict(), file), and load it here with "
    "model.load_state_dict(load(file))"
)


def named(text: str) -> Any:
    """What a name in a file stands for: a dtype, or the name. Of unknown names ValueError."""
    for old, new in (
        ("__builtin__.long", "builtins.int"),  # as protocol 2 calls it
        ("__builtin__.", "builtins."),
        ("numpy._core.", "numpy.core."),
    ):
        if text.startswith(old):
            text = new + text.removeprefix(old)
    if text in VALUES:
        return VALUES[text]
    if text in MAKERS or text in STORAGES or text in BARE:
        return Name(text)
    raise UnknownNameError(text)


class UnknownNameError(ValueError):
    """A name that the file asks for and that is in no table."""

    def __init__(self, text: str) -> None:
        shown = "".join(c if c.isprintable() else "?" for c in text[:200])  # in a terminal
        self.text = shown if len(text) <= 200 else shown + "..."
        message = (
            f"the file asks for {self.text}, and got nothing: only tensors, numbers, strings, "
            "dicts, lists and tuples are loaded, and no code. Save those"
        )
        module, _, last = self.text.rpartition(".")  # long names can take forever to match
        for pattern, what in WITHOUT.items():
            if module.partition(".")[0] == "torch" and re.fullmatch(pattern, last):
                message = f"the file holds {what} ({self.text}), which tinygrad_cv has not"
        super().__init__(message)


def _of(kind: type, value: Any) -> Any:
    """The value, if it is of this type and of none below it."""
    if type(value) is not kind:
        raise ValueError(f"found a {type(value).__name__} where a {kind.__name__} was expected")
    return value


def _whole(value: Any) -> Any:
    """The value, if nothing in it is only a part of a description: a name, or a storage."""
    seen: set[int] = set()
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, Name):
            raise UnknownNameError(part.text)
        if isinstance(part, Storage):
            raise ValueError("the file holds a storage that is no tensor; save the tensor")
        if isinstance(part, list | tuple | dict) and id(part) not in seen:
            seen.add(id(part))
            left += part.values() if isinstance(part, dict) else part
    return value


def _key(value: Any) -> Any:
    """A key of a dict, or an element of a set: a number, a string, or a tuple of such.

    A tuple of tuples can be tiny and take forever to hash; so can a long tuple or number whose hash
    is asked for many times. Of 64 bits at most 16 numbers have the same hash.
    """
    parts = value if type(value) is tuple else (value,)
    if len(parts) > PARTS:
        raise ValueError(f"a tuple of {len(parts)} values is a key")
    for part in parts:
        if not isinstance(part, str | int | float | bytes | host.generic | host.dtype | None):
            raise ValueError(f"a {type(part).__name__} is a key, or part of one")
        if isinstance(part, int) and part.bit_length() > 64:
            raise ValueError(f"a number of {part.bit_length()} bits is a key, or part of one")
    return value


def _set_items(target: Any, values: list[Any]) -> None:
    """target[values[0]] = values[1], and so on."""
    if type(target) not in (dict, OrderedDict, Counter, defaultdict) or len(values) % 2:
        raise ValueError(f"items are set of a {type(target).__name__}")
    for key, value in zip(values[::2], values[1::2], strict=True):
        target[_key(key)] = value


def _set_state(target: Any, state: Any) -> None:
    """What BUILD may do: finish an array or a dtype of NumPy, or note the versions of modules."""
    if type(target) is OrderedDict and type(state) is dict:
        note_versions(target, versions_of(state.get("_metadata")))
    elif isinstance(target, host.dtype) and type(state) is tuple and len(state) > 1:
        if _of(str, state[1]) not in "<|=":
            raise ValueError("an array of NumPy was written by a big-endian machine")
    elif type(target) is host.ndarray and type(state) is tuple and len(state) == 5:
        _, shape, dtype, fortran, values = state
        contents = _bytes(values)
        _check_array(shape, dtype, contents)
        array: Any = target
        array.__setstate__((1, shape, dtype, fortran is True, contents))
    else:
        raise ValueError(f"the file sets the inner state of a {type(target).__name__}")


def versions_of(noted: Any) -> dict[str, int]:
    """The versions of the modules in a state dict, by their paths, as `Module.state_dict` notes."""
    return {
        path: about["version"]
        for path, about in (noted.items() if isinstance(noted, dict) else ())
        if type(path) is str and isinstance(about, dict) and type(about.get("version")) is int
    }


def note_versions(state: Any, versions: dict[str, int]) -> None:
    """Note them in a state dict, for `Module.load_state_dict`."""
    state._metadata = OrderedDict((path, {"version": n}) for path, n in versions.items())


# ----- what a file may call ----------------------------------------------------------------------


def _tensor(
    machine: Machine,
    storage: Any,
    offset: Any,
    shape: Any,
    steps: Any,
    grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    if _of(Storage, storage).kind == "bytes":
        raise ValueError("a tensor of bytes has no dtype")
    _refuse_metadata(metadata)
    tensor: Tensor = storage.tensor(offset, shape, steps)
    return tensor.requires_grad_(_of(bool, grad))


def _refuse_metadata(metadata: Any) -> None:
    """It says that the values are not those of the memory, but the negative or conjugate ones."""
    if metadata is not None and (type(metadata) is not dict or metadata):
        raise ValueError(
            "the file holds a view of negative or conjugate values; save x.resolve_neg() and "
            "x.resolve_conj()"
        )


def _tensor_of_bytes(
    machine: Machine,
    storage: Any,
    offset: Any,
    shape: Any,
    steps: Any,
    grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Tensor:
    """PyTorch's way for dtypes without a class of storages: uint16, uint32 and uint64."""
    if not (isinstance(dtype, host.dtype) and dtype.kind == "u"):
        raise ValueError("a tensor of bytes has a dtype that is not unsigned")
    _refuse_metadata(metadata)
    tensor: Tensor = _of(Storage, storage).tensor(offset, shape, steps, dtype)
    return tensor.requires_grad_(_of(bool, grad))


def _parameter(machine: Machine, data: Any, grad: Any, *_: Any) -> Tensor:
    return as_parameter(_of(Tensor, data), _of(bool, grad))


def as_parameter(tensor: Tensor, requires_grad: bool) -> Tensor:
    """The tensor as an nn.Parameter, in the same memory."""
    parameter: Tensor = object.__new__(PUBLIC[NN]["Parameter"])
    parameter._set(tensor._array, tensor._backend)
    parameter._counter = tensor._counter
    return parameter.requires_grad_(requires_grad)


def _with_attributes(machine: Machine, maker: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor that had attributes of its own, which are left out."""
    makers = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3")
    if _of(Name, maker).text not in makers:
        raise ValueError("a tensor is made in a way that is not PyTorch's")
    return machine.call(maker, arguments)


def _ordered(machine: Machine, items: Any = ()) -> OrderedDict[Any, Any]:
    return OrderedDict(_pairs(items))


def _pairs(items: Any) -> list[tuple[Any, Any]]:
    """The items of a dict, or a list of pairs, with keys that are fit to be some."""
    if isinstance(items, dict):
        return [*items.items()]
    if type(items) not in (list, tuple):
        raise ValueError(f"a dict is made of a {type(items).__name__}")
    for pair in items:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise ValueError("a dict is made of what are no pairs")
    return [(_key(key), value) for key, value in items]


def _counter(machine: Machine, items: Any = ()) -> Counter[Any]:
    return Counter(dict(_pairs(items)))


FACTORIES = {f"builtins.{kind.__name__}": kind for kind in (dict, list, set, int, float)}


def _with_default(machine: Machine, factory: Any = None, items: Any = ()) -> Any:
    if factory is not None and not (isinstance(factory, Name) and factory.text in FACTORIES):
        raise ValueError("a defaultdict has a function of its own")
    made = None if factory is None else FACTORIES[factory.text]
    return defaultdict(made, _pairs(items))


def _set_of(machine: Machine, values: Any = ()) -> set[Any]:
    if type(values) not in (list, tuple):
        raise ValueError(f"a set is made of a {type(values).__name__}")
    return set(map(_key, values))


def _frozen_set_of(machine: Machine, values: Any = ()) -> frozenset[Any]:
    return frozenset(_set_of(machine, values))


def _size(machine: Machine, shape: Any = ()) -> Size:
    return Size(_sizes("a shape", shape))


def _device(machine: Machine, kind: Any, index: Any = None) -> str:
    """A device; of kinds that are not here, such as "mps", the name."""
    name = _of(str, kind) if index is None else f"{_of(str, kind)}:{_of(int, index)}"
    return device(name) if kind in KINDS else name


def _no_bytes(machine: Machine) -> bytes:
    return b""


def _encoded(machine: Machine, text: Any, encoding: Any = "latin1") -> bytes:
    """How bytes are written where a pickle has none."""
    if _of(str, encoding) not in ("latin1", "latin-1"):
        raise ValueError("bytes are written in an encoding other than Latin-1")
    return _bytes(text)


def _bytes(value: Any) -> bytes:
    """Bytes; Python 2 wrote them as a string."""
    if type(value) is str:
        return value.encode("latin-1")
    if type(value) not in (bytes, bytearray):
        raise ValueError(f"found a {type(value).__name__} where bytes were expected")
    return bytes(value)


def _bytearray(machine: Machine, values: Any = b"", encoding: Any = "latin-1") -> bytearray:
    return bytearray(_bytes(values))


def _complex(machine: Machine, real: Any, imag: Any) -> complex:
    return complex(_of(float, real), _of(float, imag))


def _dtype(machine: Machine, text: Any, *_: Any) -> Any:
    if not re.fullmatch(r"[<|=]?[biuf][0-9]{1,2}", _of(str, text)):
        raise ValueError("an array or a number of NumPy is neither bool, int nor float")
    return host.dtype(text)


def _check_array(shape: Any, dtype: Any, contents: bytes) -> None:
    if not isinstance(dtype, host.dtype):
        raise ValueError("an array of NumPy has no dtype")
    if math.prod(_sizes("a shape", _of(tuple, shape))) * dtype.itemsize != len(contents):
        raise ValueError(f"an array of NumPy has {len(contents)} bytes, which are not its values")


def _number(machine: Machine, dtype: Any, values: Any) -> Any:
    contents = _bytes(values)
    _check_array((), dtype, contents)
    return host.frombuffer(contents, dtype)[0]


def _empty_array(machine: Machine, kind: Any, *_: Any) -> Any:
    if _of(Name, kind).text != "numpy.ndarray":
        raise ValueError("an array is of a class of its own")
    return host.empty(0, "uint8")  # to be filled by BUILD


def _array(machine: Machine, values: Any, dtype: Any, shape: Any, order: Any = "C") -> Any:
    contents = _bytes(values)
    _check_array(shape, dtype, contents)
    if _of(str, order) not in ("C", "F"):
        raise ValueError("an array of NumPy has no order")
    return host.frombuffer(contents, dtype).reshape(shape, order=order).copy(order)


MAKERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_bytes,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    "torch.Size": _size,
    "torch.device": _device,
    "collections.OrderedDict": _ordered,
    "collections.Counter": _counter,
    "collections.defaultdict": _with_default,
    "builtins.set": _set_of,
    "builtins.frozenset": _frozen_set_of,
    "builtins.bytes": _no_bytes,
    "builtins.bytearray": _bytearray,
    "builtins.complex": _complex,
    "_codecs.encode": _encoded,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray.scalar": _number,
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy.core.numeric._frombuffer": _array,
}
"""All that is ever called for a file. The first argument is the machine."""

BARE = {*FACTORIES, "numpy.ndarray", "torch.Tensor", "torch.nn.parameter.Parameter",
        "torch.nn.parameter.Buffer"}  # fmt: skip
"""Names that are arguments of those, and are not called."""


# ----- the files ---------------------------------------------------------------------------------


def load(contents: bytes, place: Callable[[str], Backend]) -> Any:
    """What torch.save has written; `place` gives the backend for a location such as "cuda:0".

    Raises ValueError for files that are damaged, not PyTorch's, or ask for anything but data.
    """
    try:
        if contents.startswith(b"PK\x03\x04"):
            return _load_zip(contents, place)
        if contents.startswith(b"\x80"):
            return _load_legacy(contents, place)
    except UnknownNameError as error:
        # What a module keeps lies in dicts of these names.
        if b"_parameters" in contents and b"_modules" in contents:
            raise ValueError(WHOLE_MODULE.format(f"of the class {error.text}")) from None
        raise
    except zipfile.BadZipFile as error:
        raise ValueError(f"found no intact zip archive ({error})") from error
    except DAMAGE as error:
        # Not what a library says of values of the file: it could show them.
        raise ValueError(f"the file is damaged ({type(error).__name__})") from error
    if contents[257:262] == b"ustar":
        raise ValueError(
            "found a tar archive, the format of PyTorch 0.1. Load it there, or in a PyTorch that "
            "still reads it, and save it again"
        )
    raise ValueError("found no file of PyTorch")


DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    StructError,
    TypeError,
    zlib.error,
)
"""How it shows that a file is damaged, in the machine, the zip archive, or an array."""


def is_pth(contents: bytes) -> bool:
    """Whether a file is one of PyTorch's, or some other pickle."""
    if contents[8:9] == b"{":  # safetensors, which begins with a number
        return False
    return contents.startswith((b"PK\x03\x04", b"\x80")) or contents[257:262] == b"ustar"


def _load_zip(contents: bytes, place: Callable[[str], Backend]) -> Any:
    """A zip archive: data.pkl, and one file for each storage."""
    with zipfile.ZipFile(BytesIO(contents)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")]
        if any(re.search("/(constants.pkl$|code/)", name) for name in entries):
            raise ValueError(
                "found a TorchScript archive, which is a program. Save the state of the model, "
                "with torch.save(model.state_dict(), file)"
            )
        if len(roots) != 1 or len(entries) != len(archive.infolist()):
            raise ValueError("found a zip archive that torch.save has not written")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise ValueError("found a compressed archive; torch.save does not compress")
        if sum(entry.file_size for entry in entries.values()) > len(contents):
            raise ValueError("found an archive whose parts overlap")
        [root] = roots
        order = archive.read(entries[root + "byteorder"]) if root + "byteorder" in entries else b""
        storages: dict[str, Storage] = {}

        def memory(kind: str, key: str, location: str, size: int) -> Storage:
            if key not in storages:
                values = archive.read(entries[f"{root}data/{key}"])
                storages[key] = _storage(kind, values, size, order == b"big", place(location))
            return _again(storages[key], kind, size)

        machine = Machine(memory, len(contents))
        return machine.run(BytesIO(archive.read(entries[root + "data.pkl"])))


def _load_legacy(contents: bytes, place: Callable[[str], Backend]) -> Any:
    """Five pickles: magic number, version, machine, value, keys; then the storages in that order.

    The value is made twice. The first time with zeros, to learn the dtypes: where each storage lies
    depends on those.
    """
    stream = BytesIO(contents)
    plain = Machine(_no_storage, len(contents))
    try:
        magic = plain.run(stream)
    except (*DAMAGE, ValueError):
        magic = None
    if type(magic) is not int or magic != LEGACY:
        raise ValueError(
            "found a pickle that torch.save has not written. Pickles can run any code, so no "
            "others are read"
        )
    if _of(int, plain.run(stream)) != LEGACY_PROTOCOL:
        raise ValueError("the file has an unknown version of PyTorch's old format")
    little = _of(dict, plain.run(stream)).get("little_endian") is not False
    start = stream.tell()
    left = len(contents)
    blank: dict[str, Storage] = {}

    def measure(kind: str, key: str, location: str, size: int) -> Storage:
        nonlocal left
        if key not in blank:
            left -= size * _item(kind).itemsize
            if left < 0:
                raise ValueError("the file is too short for the tensors that it describes")
            blank[key] = Storage(kind, host.zeros(size, _read_as(kind)), get("cpu"))
        return _again(blank[key], kind, size)

    Machine(measure, len(contents)).run(stream)
    bits: dict[str, bytes] = {}
    for key in _of(list, plain.run(stream)):
        storage = blank[_of(str, key)]
        size = len(storage.flat)
        if int.from_bytes(stream.read(8), "little" if little else "big") != size:
            raise ValueError(f"a storage has not the {size} elements that were announced")
        bits[key] = stream.read(size * _item(storage.kind).itemsize)
    storages: dict[str, Storage] = {}

    def memory(kind: str, key: str, location: str, size: int) -> Storage:
        if key not in storages:
            storages[key] = _storage(kind, bits[key], size, not little, place(location))
        return _again(storages[key], kind, size)

    stream.seek(start)
    return Machine(memory, len(contents)).run(stream)


def _no_storage(*_: Any) -> Storage:
    raise ValueError("a tensor lies where none belongs")


def _again(storage: Storage, kind: str, size: int) -> Storage:
    if (storage.kind, len(storage.flat)) != (kind, size):
        raise ValueError("a storage is described in two ways")
    return storage


def _item(kind: str) -> Any:
    """The dtype of the elements as they lie in the file."""
    return host.dtype({"bfloat16": "uint16", "bytes": "uint8"}.get(kind, kind))


def _read_as(kind: str) -> Any:
    return host.dtype("float32") if kind == "bfloat16" else _item(kind)


def _storage(kind: str, values: bytes, size: int, swapped: bool, backend: Backend) -> Storage:
    item = _item(kind)
    if len(values) != size * item.itemsize:
        raise ValueError(f"a storage of {size} elements of {kind} has {len(values)} bytes")
    flat = host.frombuffer(values, item)
    if swapped != (sys.byteorder == "big"):
        if kind == "bytes":
            raise ValueError("a machine of the other byte order has written numbers as bytes")
        flat = flat.byteswap()
    if kind == "bool":
        flat = flat.view("uint8") != 0  # other bytes are no truth values
    return Storage(kind, widened(flat) if kind == "bfloat16" else flat.copy(), backend)


def widened(bits: host.ndarray) -> host.ndarray:
    """The numbers of bfloat16 as float32, of which they are the upper half."""
    return (bits.astype("uint32") << 16).view("float32")
