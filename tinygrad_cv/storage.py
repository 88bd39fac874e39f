"""Files that are written whole or not at all; and what a program keeps, in one file.

The format is that of safetensors: a JSON header, and behind it the numbers as they lie in memory.
`save` keeps the tensors under readable names, and the structure around them as JSON in the
header's metadata. Reading a file runs no code of it.
"""

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors import numpy as safetensors

from tinygrad_cv._public import TOP, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host

STRUCTURE = "tinygrad_cv"
"""The key of the structure in the metadata."""


def write(path: Path, contents: bytes) -> None:
    """Write a whole file or none: under another name first, then renamed in one step."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(contents)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@public(TOP)
def save(obj: Any, f: Any) -> None:
    """Write tensors, numbers, strings, None, and dicts, lists and tuples of them, to one file.

    `f` is a path, whose file is written whole or not at all, or a file opened for writing bytes.
    The file is a safetensors file: of `model.state_dict()` others can read it too. It holds no
    code, so nothing else can be saved; TypeError says what was found where.

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
    contents = f.read() if hasattr(f, "read") else Path(f).read_bytes()
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
        tensors = {name: Tensor(array, device=map_location) for name, array in arrays.items()}
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
