"""Files that are written whole or not at all; and what a program keeps, in one file.

The format is that of safetensors: a JSON header, and behind it the numbers as they lie in memory.
`save` keeps the tensors under readable names, and the structure around them as JSON in the
header's metadata. Reading a file runs no code of it.
"""

import errno
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError
from safetensors import numpy as safetensors

from tinygrad_cv._public import TOP, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import get, host

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
    """Write a whole file or none: under another name first, then renamed in one step.

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
            file.write(contents)
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
def save(obj: Any, f: Any) -> None:
    """Write tensors, numbers, strings, None, and dicts, lists and tuples of them, to one file.

    `f` is a path, whose file is written whole or not at all, or a file opened for writing bytes,
    such as sys.stdout.buffer: a path must be that of a regular file, not of a pipe or a device.
    What is written is a safetensors file: of `model.state_dict()` others can read it too. It holds
    no code, so nothing else can be saved; TypeError says what was found where.

    >>> import tinygrad_cv as tg
    >>> tg.save({"step": 3, "weights": [tg.ones(2)]}, "state.safetensors")
    >>> tg.load("state.safetensors")
    {'step': 3, 'weights': [tensor([1., 1.])]}
    """
    tensors: dict[str, Tensor] = {}
    names: dict[int, str] = {}
    try:
        structure = json.dumps(_plain(obj, (), tensors, names))
    except RecursionError as error:
        raise ValueError("save: the data contains itself, or is nested too deeply.") from error
    # safetensors writes memory as it lies, whatever the strides say.
    rows = {
        name: host.asarray(value.detach().numpy(), order="C") for name, value in tensors.items()
    }
    contents = safetensors.save(rows, {STRUCTURE: structure})
    if hasattr(f, "write"):
        f.write(contents)
    else:
        write(Path(f), contents)


def _plain(
    value: Any, path: tuple[str, ...], tensors: dict[str, Tensor], names: dict[int, str]
) -> Any:
    """The value as JSON, with names for its tensors; the same tensor has the same name again."""
    if isinstance(value, Tensor):
        if id(value) not in names:
            name = base = ".".join(path) or "tensor"
            count = 1
            while name in tensors or name == "__metadata__":
                count += 1
                name = f"{base}#{count}"
            tensors[name], names[id(value)] = value, name
        return {"tensor": names[id(value)], "requires_grad": value.requires_grad}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, host.generic) and value.dtype.kind in "biuf":
        return value.item()
    if isinstance(value, list | tuple):
        parts = [_plain(part, (*path, str(i)), tensors, names) for i, part in enumerate(value)]
        return parts if isinstance(value, list) else {"tuple": parts}
    if isinstance(value, dict):
        for key in value:
            if not (key is None or isinstance(key, bool | int | float | str)):
                raise TypeError(
                    f"save: keys are strings and numbers; {_place(path)} has the key {key!r}."
                )
        items = value.items()
        return {"dict": [[k, _plain(v, (*path, str(k)), tensors, names)] for k, v in items]}
    raise TypeError(
        f"save keeps tensors, numbers, strings, None, dicts, lists and tuples; {_place(path)} is a "
        f"{type(value).__name__}. Of a model or an optimizer save the state_dict(), of an array a "
        "tensor."
    )


def _place(path: tuple[str, ...]) -> str:
    return "/".join(path) or "what was given"


@public(TOP)
def load(f: Any, map_location: str | None = None, *, weights_only: bool = True) -> Any:
    """Read what `save` has written, or the tensors of any safetensors file as a dict.

    The tensors come to the device `map_location`, by default to that on which new tensors are
    made. No file can run code here, whatever `weights_only` says. Raises ValueError if the file is
    damaged or was not made by `save`, and OSError if it cannot be read.
    """
    device = get(map_location).device
    contents = f.read() if hasattr(f, "read") else read(Path(f))
    where = getattr(f, "name", "the file") if hasattr(f, "read") else f
    try:
        arrays = safetensors.load(contents)
    except (SafetensorError, TypeError) as error:
        raise ValueError(f"{where}: found no intact safetensors file ({error}).") from error
    except KeyError as error:
        raise ValueError(f"{where}: found values of type {error}, which NumPy lacks.") from error
    try:
        # What safetensors has read begins with the length of its header.
        header = json.loads(contents[8 : 8 + int.from_bytes(contents[:8], "little")])
        structure = header.get("__metadata__", {}).get(STRUCTURE)
        tensors = {name: Tensor(array, device=device) for name, array in arrays.items()}
        return tensors if structure is None else _built(json.loads(structure), tensors)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{where}: the file is damaged, or was not made by save ({type(error).__name__}: "
            f"{error})."
        ) from error


def _built(plain: Any, tensors: dict[str, Tensor]) -> Any:
    """The value that `_plain` has written."""
    if isinstance(plain, list):
        return [_built(part, tensors) for part in plain]
    if not isinstance(plain, dict):
        return plain
    match plain:
        case {"tensor": name, "requires_grad": bool(requires_grad), **rest} if not rest:
            return tensors[name].requires_grad_(requires_grad)
        case {"tuple": list(parts), **rest} if not rest:
            return tuple(_built(part, tensors) for part in parts)
        case {"dict": list(items), **rest} if not rest:
            return {key: _built(value, tensors) for key, value in items}
    raise ValueError(f"found {[*plain]} where a tensor, a tuple or a dict is described")
