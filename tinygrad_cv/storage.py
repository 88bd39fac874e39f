"""Files that are written whole or not at all; and what a program keeps, in one file.

The format is that of safetensors: a JSON header, and behind it the numbers as they lie in memory.
`save` keeps the tensors under readable names, and the structure around them as JSON in the
header's metadata. Reading a file runs no code of it, nor of those of PyTorch (see `pth`).
"""

import errno
import json
import os
import re
import secrets
import stat
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError, deserialize
from safetensors import numpy as safetensors

from tinygrad_cv._public import NN, PUBLIC, TOP, public
from tinygrad_cv._tensor import Size, Tensor
from tinygrad_cv.backend import Backend, get, host
from tinygrad_cv.backend.devices import device as Device
from tinygrad_cv.pth import as_parameter, is_pth, note_versions, versions_of, widened
from tinygrad_cv.pth import load as load_pth

STRUCTURE = "tinygrad_cv"
"""The key of the structure in the metadata."""


# ----- regular files -----------------------------------------------------------------------------

fcntl: Any = import_module("fcntl") if os.name == "posix" else None

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
SHOWN = 40  # characters of a file's name in that of its partial file, which may not get too long
DAY = 24 * 60 * 60


def read(path: Path) -> bytes:
    """The contents of a regular file. Of others OSError: to open a pipe would wait for a writer."""
    _refuse_irregular(path, path.stat())
    return path.read_bytes()


def write(path: Path, contents: bytes) -> None:
    """Write a whole file or none, as `written` does."""
    with written(path) as file:
        file.write(contents)


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file to write, whole or not at all: under another name first, then renamed in one step.

    What ends the block with an exception leaves everything as it was.

    However many threads, processes and machines write it at once, at any time the file is what one
    of them has written, and after a power cut too. A symbolic link stays, and the file that it
    leads to is written. A file that is there keeps its permissions; to a new one the umask applies.
    What killed writers have left beside it is cleared away.

    Raises OSError, with nothing changed, where the system cannot or may not write, and for what is
    no regular file: a folder, a device, a pipe or a socket is never replaced, nor waited for.
    """
    target = Path(os.path.realpath(path))
    try:
        try:
            before = path.stat()
        except FileNotFoundError:
            before = None
        if before is not None:
            _refuse_irregular(path, before)
            if not os.access(target, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        _clear(target)
        # What takes the place of a file is hidden until it has the permissions of that.
        with _partial(target, 0o666 if before is None else 0o600) as (name, file):
            yield file
            file.flush()
            if before is not None:
                with suppress(OSError, AttributeError):  # not everyone may, not every system can
                    os.chown(name, before.st_uid, before.st_gid)
                with suppress(OSError):  # nor is a mode kept on every disk
                    name.chmod(before.st_mode & 0o777)
            _sync(file.fileno())
            if fcntl is None:
                file.close()  # Windows renames no open file
            name.replace(target)
    except OSError as error:
        if error.errno is None or error.filename in (str(path), str(target.parent)):
            raise
        # A partial file, of which the user knows nothing, was named, or none.
        raise OSError(error.errno, error.strerror, str(path)) from error
    if hasattr(os, "O_DIRECTORY"):
        with suppress(OSError):  # the file is there; not every system promises that it stays
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _refuse_irregular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(number, f"found {kind}, expected an ordinary file", str(path))


@contextmanager
def _partial(target: Path, mode: int) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file beside the target: nobody else's, locked while its writer lives, gone at the end.

    A file that another writer has taken for stale before it was locked is made again.
    """
    while True:
        name = target.with_name(f".{target.name[:SHOWN]}.{secrets.token_hex(8)}.partial")
        try:
            file = open(name, "xb", opener=partial(os.open, mode=mode))  # noqa: SIM115
        except OSError as error:
            error.filename = str(target.parent)
            raise
        try:
            with file:
                if fcntl is not None:
                    with suppress(OSError):  # where there are no locks
                        fcntl.flock(file, fcntl.LOCK_EX)
                if name.exists():
                    yield name, file
                    return
        finally:
            name.unlink(missing_ok=True)


def _clear(target: Path) -> None:
    """Remove the partial files of writers that are dead: nobody holds their locks."""
    ours = re.compile(
        rf"\.{re.escape(target.name[:SHOWN])}\.([0-9a-f]{{16}}|[0-9]+)\.partial", re.S
    )
    names = []
    with suppress(OSError):  # to write into a folder takes no right to list it
        names = [name for name in os.listdir(target.parent) if ours.fullmatch(name)]
    for name in names:
        stale = target.with_name(name)
        with suppress(OSError):
            if not stat.S_ISREG(stale.lstat().st_mode):
                continue
            if fcntl is None:
                if time.time() - stale.stat().st_mtime > DAY:
                    stale.unlink()
                continue
            with stale.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stale.unlink()


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # the filesystem cannot
            raise


# ----- what a program keeps ----------------------------------------------------------------------


@public(TOP)
def save(
    obj: Any,
    f: Any,
    pickle_module: None = None,
    pickle_protocol: int | None = None,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Write tensors, numbers, strings, None, and dicts, lists and tuples of them, to one file.

    So it keeps the state of models, optimizers, schedulers and generators, and whatever stands
    around them, such as the epoch. Arrays and dtypes of NumPy are kept too, devices and sizes, and
    OrderedDict and Counter; of other kinds of dicts, lists, tuples and strings what they are at
    bottom.

    `f` is a path, whose file is written whole or not at all, or a file opened for writing bytes,
    such as sys.stdout.buffer: a path must be that of a regular file, not of a pipe or a device.
    What is written is a safetensors file: of `model.state_dict()` others can read it too, but not
    `torch.load`. It holds no code, so nothing else can be saved; TypeError says what was found
    where. There is no pickle in it: a `pickle_module` is refused, and the two arguments after it
    make no difference.

    >>> import tinygrad_cv as tg
    >>> tg.save({"step": 3, "weights": [tg.ones(2)]}, "state.safetensors")
    >>> tg.load("state.safetensors")
    {'step': 3, 'weights': [tensor([1., 1.])]}
    """
    _refuse_pickles("save", pickle_module)
    tensors: dict[str, Any] = {}
    names: dict[int, str] = {}
    try:
        structure = json.dumps(_plain(obj, (), tensors, names))
    except RecursionError as error:
        raise ValueError("save: the data contains itself, or is nested too deeply.") from error
    # safetensors writes memory as it lies, whatever the strides say.
    rows = {
        name: host.asarray(
            value.detach().numpy() if isinstance(value, Tensor) else value, order="C"
        )
        for name, value in tensors.items()
    }
    try:
        contents = safetensors.save(rows, {STRUCTURE: structure})
    except SafetensorError as error:
        raise ValueError(
            f"save: {error}. What stands around the tensors may take 100 MB; put long lists of "
            "numbers into tensors."
        ) from error
    if hasattr(f, "write"):
        f.write(contents)
    else:
        write(Path(f), contents)


def _refuse_pickles(name: str, pickle_module: Any) -> None:
    if pickle_module is not None:
        raise TypeError(
            f"{name} makes and runs no pickles; leave out pickle_module. What it cannot keep, such "
            "as an object of a class, put into numbers, strings, lists and dicts."
        )


KEYS = bool | int | float | str | None
DICTS = {"OrderedDict": OrderedDict, "Counter": Counter}


def _plain(
    value: Any, path: tuple[str, ...], tensors: dict[str, Any], names: dict[int, str]
) -> Any:
    """The value as JSON, with names for its tensors; the same tensor has the same name again."""
    if isinstance(value, Tensor | host.ndarray):
        if value.dtype.name not in TYPES.values():
            raise TypeError(f"save: {_place(path)} is made of {value.dtype}, not of numbers.")
        if id(value) not in names:
            name = base = ".".join(path).encode(errors="replace").decode() or "tensor"
            count = 1
            while name in tensors or name == "__metadata__":
                count += 1
                name = f"{base}#{count}"
            tensors[name], names[id(value)] = value, name
        if isinstance(value, host.ndarray):
            return {"array": names[id(value)]}
        kind = "parameter" if isinstance(value, PUBLIC[NN]["Parameter"]) else "tensor"
        return {kind: names[id(value)], "requires_grad": value.requires_grad}
    if isinstance(value, Device):
        return {"device": str(value)}
    if isinstance(value, KEYS):
        return value
    if _is_number(value):
        return value.item()
    if isinstance(value, host.dtype) and value.name in TYPES.values():
        return {"dtype": value.name}
    if isinstance(value, list | tuple):
        parts = [_plain(part, (*path, str(i)), tensors, names) for i, part in enumerate(value)]
        kind = "size" if isinstance(value, Size) else "tuple"
        return parts if isinstance(value, list) else {kind: parts}
    if isinstance(value, dict):
        for key in value:
            if not (isinstance(key, KEYS) or _is_number(key)):
                raise TypeError(
                    f"save: keys are strings and numbers; {_place(path)} has the key {key!r}."
                )
        items = [
            [k.item() if _is_number(k) else k, _plain(v, (*path, str(k)), tensors, names)]
            for k, v in value.items()
        ]
        said = {"kind": type(value).__name__} if type(value) in DICTS.values() else {}
        versions = versions_of(getattr(value, "_metadata", None))
        return {"dict": items} | said | ({"versions": versions} if said and versions else {})
    kind = type(value).__name__
    if hasattr(value, "state_dict"):  # a model, an optimizer, a scheduler
        raise TypeError(
            f"save keeps no code; {_place(path)} is a {kind}. Save its state: "
            "save(x.state_dict(), f), and later x.load_state_dict(load(f))."
        )
    raise TypeError(
        f"save keeps tensors, numbers, strings, None, dicts, lists and tuples; {_place(path)} is a "
        f"{kind}."
    )


def _is_number(value: Any) -> bool:
    """Whether it is one of NumPy's numbers, which become Python's."""
    return isinstance(value, host.generic) and value.dtype.name in TYPES.values()


def _place(path: tuple[str, ...]) -> str:
    return "/".join(path) or "what was given"


@public(TOP)
def load(
    f: Any,
    map_location: Any = None,
    pickle_module: None = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    encoding: str | None = None,
) -> Any:
    """Read what `save` has written, a .pth or .pt file of PyTorch, or a safetensors file as a dict.

    Which it is shows in its contents. `f` is a path, or a file opened for reading bytes.

    `map_location` says to which device the tensors come; by default it is that on which new tensors
    are made. It is a device, a dict from the device in the file to another, or, as in PyTorch, a
    function of a storage and the device in the file ("cpu" where a file tells none), such as
    `lambda storage, location: storage`, which stands for the CPU.

    Of a file of PyTorch tensors, numbers, strings, containers and what NumPy makes of them are
    read, and nothing else, whatever `weights_only` says: no file can run code here. Tensors that
    share memory there do so here. bfloat16 becomes float32. `mmap` and
    `encoding` make no difference; a `pickle_module` is refused.

    Raises ValueError if the file is damaged, or holds what is not read, which it names, and OSError
    if it cannot be read.
    """
    _refuse_pickles("load", pickle_module)
    place = _places(map_location)
    contents = f.read() if hasattr(f, "read") else read(Path(f))
    where = getattr(f, "name", "the file") if hasattr(f, "read") else f
    if not isinstance(contents, bytes):
        raise TypeError("load reads bytes; open the file with mode 'rb'.")
    loads = _load_pth if is_pth(contents) else _load_safetensors
    try:
        return loads(contents, place, where)
    except MapLocationError as error:
        raise error.args[0] from None


def _load_pth(contents: bytes, place: Callable[[str], Backend], where: Any) -> Any:
    try:
        return load_pth(contents, place)
    except ValueError as error:
        raise ValueError(f"{where}: {str(error).rstrip('.')}.") from error.__cause__


def _load_safetensors(contents: bytes, place: Callable[[str], Backend], where: Any) -> Any:
    device = place("cpu").device
    read_parts: Any = deserialize
    try:
        arrays = {name: _array(**entry) for name, entry in read_parts(contents)}
    except (SafetensorError, TypeError) as error:
        raise ValueError(f"{where}: found no intact safetensors file ({error}).") from error
    except KeyError as error:
        raise ValueError(f"{where}: found values of type {error}, which NumPy lacks.") from error
    try:
        # What safetensors has read begins with the length of its header.
        header = json.loads(contents[8 : 8 + int.from_bytes(contents[:8], "little")])
        structure = header.get("__metadata__", {}).get(STRUCTURE)
        if structure is None:
            return {name: Tensor(array, device=device) for name, array in arrays.items()}
        return _built(json.loads(structure), _Loaded(arrays, device))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{where}: the file is damaged, or was not made by save ({type(error).__name__}: "
            f"{error})."
        ) from error


class MapLocationError(Exception):
    """Something was wrong in the caller's function, and not in the file."""


class Place:
    """What a function for `map_location` is given: it says where the values of a tensor will be."""

    def __init__(self, device: str) -> None:
        self.device = device

    def cpu(self) -> "Place":
        return Place("cpu")

    def cuda(self, device: Any = None) -> "Place":
        return Place(f"cuda:{device}" if isinstance(device, int) else device or "cuda")


def _places(map_location: Any) -> Callable[[str], Backend]:
    """The backend for each location that a file names."""
    if callable(map_location):

        def place(location: str) -> Backend:
            try:
                answer = map_location(Place("cpu"), location)
                if answer is not None and not isinstance(answer, Place):
                    raise TypeError(
                        "the function for map_location returns its storage, storage.cuda() or "
                        f"None; got a {type(answer).__name__}."
                    )
                return get(None if answer is None else answer.device)
            except Exception as error:
                raise MapLocationError(error) from error

        return place
    if isinstance(map_location, Mapping):
        places = {str(source): get(target) for source, target in map_location.items()}
        return lambda location: places.get(location) or get(None)
    backend = get(map_location)
    return lambda location: backend


TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "uint16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
"""The dtypes of safetensors that are read; NumPy has no BF16, which becomes float32."""


def _array(dtype: str, shape: list[int], data: bytes) -> host.ndarray:
    values = host.frombuffer(data, host.dtype(TYPES[dtype]).newbyteorder("<")).reshape(shape)
    if dtype == "BF16":
        return widened(values)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


class _Loaded:
    """The tensors and arrays of a file, by name: each is made once, when the structure has it."""

    def __init__(self, arrays: dict[str, host.ndarray], device: str) -> None:
        self.arrays, self.device = arrays, device
        self.made: dict[tuple[str, str], Any] = {}

    def get(self, kind: str, name: str) -> Any:
        if (kind, name) not in self.made:
            values = self.arrays[name]
            if kind == "array":
                made: Any = values.copy()
            else:
                made = Tensor(values, device=self.device)
                made = as_parameter(made, False) if kind == "parameter" else made
            self.made[kind, name] = made
        return self.made[kind, name]


def _built(plain: Any, loaded: _Loaded) -> Any:
    """The value that `_plain` has written."""
    if isinstance(plain, list):
        return [_built(part, loaded) for part in plain]
    if not isinstance(plain, dict):
        return plain
    match plain:
        case {"tensor": name, "requires_grad": bool(requires_grad), **rest} if not rest:
            return loaded.get("tensor", name).requires_grad_(requires_grad)
        case {"parameter": name, "requires_grad": bool(requires_grad), **rest} if not rest:
            return loaded.get("parameter", name).requires_grad_(requires_grad)
        case {"array": name, **rest} if not rest:
            return loaded.get("array", name)
        case {"dtype": str(name), **rest} if not rest and name in TYPES.values():
            return host.dtype(name)
        case {"device": str(name), **rest} if not rest:
            return Device(name)
        case {"size": list(parts), **rest} if not rest and all(type(n) is int for n in parts):
            return Size(parts)
        case {"tuple": list(parts), **rest} if not rest:
            return tuple(_built(part, loaded) for part in parts)
        case {"dict": list(items), "kind": str(kind), **rest} if rest.keys() <= {"versions"}:
            made = DICTS[kind]({key: _built(value, loaded) for key, value in items})
            if rest:
                noted = {path: {"version": n} for path, n in rest["versions"].items()}
                note_versions(made, versions_of(noted))
            return made
        case {"dict": list(items), **rest} if not rest:
            return {key: _built(value, loaded) for key, value in items}
    raise ValueError(f"found {[*plain]} where a tensor, a tuple or a dict is described")
