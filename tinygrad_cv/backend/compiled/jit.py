"""How kernels are compiled: on their first use, once a machine, and kept in a folder of the user.

`@kernel` marks a function that is called from Python, `@inner` one that kernels call. Both run
without the interpreter lock, on the threads of `backend/threads.py`.

Compiled code is kept for each kernel, the types of its arguments and the kind of CPU, and counts
while no file of this package has changed. Numba's own way of keeping it would miss a change in
what generates code (`vectors.py`), and finds no function that was made inside of another one.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Timer
from typing import Any

import numba
from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

REASSOCIATED = {"contract", "reassoc", "nsz", "arcp"}
"""What the compiler may take for equal in a sum over a row. NaN and ∞ stay what they are."""


def cache_folder() -> Path:
    """Where compiled code is kept: tinygrad_cv/kernels in the user's cache folder.

    That is $XDG_CACHE_HOME, by default ~/.cache, or what the system has instead. It may be deleted
    at any time.
    """
    if sys.platform == "win32":
        cache = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        cache = "~/Library/Caches"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "tinygrad_cv" / "kernels"


@cache
def _usable_folder() -> Path | None:
    """The folder, made if it was not there; None where nothing can be written, or others can.

    What lies in it is run, so it has to be the user's own.
    """
    try:
        folder = cache_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid"):
            status = folder.stat()
            if status.st_uid != os.getuid() or status.st_mode & 0o022:
                return None
        return folder if os.access(folder, os.W_OK) else None
    except (OSError, RuntimeError):  # no home
        return None


@cache
def _stamp() -> str:
    """A hash of all files of this package."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


class _Locator(_CacheLocator):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def from_function(cls, function: Any, file: str) -> "_Locator | None":
        folder = _usable_folder()
        return None if folder is None else cls(folder)

    def get_cache_path(self) -> str:
        return str(self.folder)

    def get_source_stamp(self) -> str:
        return _stamp()

    def get_disambiguator(self) -> str:
        return "1"


class _Kept(CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _Cache(FunctionCache):
    """The compiled forms of one kernel; and who waits for one is told."""

    _impl_class = _Kept
    _said = False
    _timer: Timer | None = None

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return sig, codegen.magic_tuple()  # the stamp stands for the code

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = super().load_overload(sig, target_context)
        if found is None and not _Cache._said and sys.stderr.isatty():
            self._timer = Timer(1, self._say)
            self._timer.daemon = True
            self._timer.start()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().save_overload(sig, data)

    @staticmethod
    def _say() -> None:
        if not _Cache._said:
            _Cache._said = True
            print("tinygrad_cv: compiling kernels for this CPU, once", file=sys.stderr)


def kernel(
    function: Callable[..., Any] | None = None, *, name: str = "", fast: bool = False
) -> Any:
    """A function that is called from Python, compiled for the types of its arguments.

    `fast` allows sums in any order (see REASSOCIATED). A function that is made inside of another
    one needs a `name` that no other has.
    """
    if function is None:
        return lambda function: kernel(function, name=name, fast=fast)
    if name:
        function.__qualname__ = function.__name__ = name
    compiled = numba.njit(
        nogil=True, fastmath=REASSOCIATED if fast else False, error_model="numpy"
    )(function)
    if _usable_folder() is not None:
        compiled._cache = _Cache(function)
    return compiled


def inner(function: Callable[..., Any] | None = None, *, fast: bool = False) -> Any:
    """A function that kernels call."""
    if function is None:
        return lambda function: inner(function, fast=fast)
    return numba.njit(nogil=True, fastmath=REASSOCIATED if fast else False, error_model="numpy")(
        function
    )


def cpu_name() -> str:
    """The kind of CPU that is compiled for: this one's, or what NUMBA_CPU_NAME says."""
    from llvmlite import binding

    return config.CPU_NAME or binding.get_host_cpu_name()
