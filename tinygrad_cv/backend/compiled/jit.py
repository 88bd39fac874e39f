"""How kernels are compiled: on their first use, once a machine, and kept in a folder of the user.

`@kernel` marks a function that is called from Python, `@inner` one that kernels call. Both run
without the interpreter lock, on the threads of `backend/threads.py`.

Compiled code is kept in one file for each kernel, the types of its arguments and the kind of CPU,
and counts while no file of this package has changed. Numba's own way of keeping it would miss a
change in what generates code (`vectors.py`), finds no function that was made inside of another one,
and mixes up what two processes compile at the same time.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Timer
from types import CodeType
from typing import Any

import llvmlite
import numba
from numba.core import compiler, config, serialize
from numba.core.caching import _Cache
from numba.core.compiler_lock import global_compiler_lock

from tinygrad_cv.backend.threads import undisturbed

REASSOCIATED = {"contract", "reassoc", "nsz", "arcp"}
"""What the compiler may take for equal in a sum over a row. NaN and ∞ stay what they are."""

DIGEST = hashlib.sha256().digest_size
SEASON = 90 * 24 * 3600.0


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


def _is_own(status: os.stat_result) -> bool:
    """Whether a file or folder belongs to this user, and no other can write to it."""
    return not hasattr(os, "getuid") or (
        status.st_uid == os.getuid() and not status.st_mode & 0o022
    )


def usable_folder() -> Path | None:
    """The folder, made if it was not there; None where nothing can be written, or others can.

    What lies in it is run, so it has to be the user's own.
    """
    try:
        folder = cache_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if _is_own(folder.stat()) and os.access(folder, os.W_OK) else None
    except (OSError, RuntimeError):  # no home
        return None


@cache
def _stamp() -> str:
    """What all compiled code depends on: the files of this package, and the compiler."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    sources = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return f"{sources} {numba.__version__} {llvmlite.__version__} {sys.version}"


def _code(function: Any) -> str:
    """What a function does, as far as its own text goes: one that is generated has no file."""
    code = function.__code__
    constants = [c for c in code.co_consts if not isinstance(c, CodeType)]
    return f"{code.co_code.hex()} {constants} {code.co_names}"


def _write(path: Path, content: bytes) -> None:
    """A file that is there as a whole or not at all."""
    with NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        try:
            file.write(content)
            file.close()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


@cache
def _forget_old(folder: Path) -> None:
    """Once a process: code that nobody has loaded for a season, for a newer one replaced it."""
    for path in folder.iterdir():
        if path.stat().st_mtime < time.time() - SEASON:
            path.unlink()


class _Waiting:
    """Whoever waits for the compiler longer than a second is told why, once."""

    def __init__(self) -> None:
        self.spent, self.started, self.said = 0.0, 0.0, False
        self.timer: Timer | None = None

    def begin(self) -> None:
        self.end()
        self.started = time.monotonic()
        with suppress(AttributeError, ValueError, RuntimeError):  # no stderr; the process ends
            if not self.said and sys.stderr.isatty():
                self.timer = Timer(max(0, 1 - self.spent), self.say)
                self.timer.daemon = True
                self.timer.start()

    def end(self) -> None:
        if self.started:
            self.spent += time.monotonic() - self.started
            self.started = 0.0
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def say(self) -> None:
        if self.said:
            return
        self.said = True
        kept = "once" if usable_folder() else "each time, for they cannot be kept"
        with suppress(AttributeError, ValueError, OSError):
            print(f"tinygrad_cv: compiling kernels for this CPU, {kept}", file=sys.stderr)


WAITING = _Waiting()


class _Kept(_Cache):
    """The compiled forms of one kernel, each in a file of its own.

    A file holds a digest of its key and its content before the content, so that what is damaged, or
    was kept for another key, counts as not there. It gets its name when it is whole: processes that
    compile the same at once replace each other's file by an equal one.
    """

    def __init__(self, function: Any) -> None:
        self.function = function

    @property
    def cache_path(self) -> str:
        return str(usable_folder())

    def place(self, signature: Any, codegen: Any) -> tuple[Path, bytes] | None:
        """The file for these types, and the key that it answers to; None without a folder."""
        folder = usable_folder()
        if folder is None:
            return None
        types = ", ".join(map(str, signature))
        name = f"{self.function.__module__}.{self.function.__qualname__}"
        parts = (name, types, *codegen.magic_tuple(), _stamp(), _code(self.function))
        key = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
        return folder / f"{self.function.__name__.strip('_')}-{key.hex()[:32]}", key

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        try:
            if place := self.place(sig, target_context.codegen()):
                path, key = place
                with path.open("rb") as file:
                    if not _is_own(os.fstat(file.fileno())):
                        raise PermissionError
                    digest, content = file.read(DIGEST), file.read()
                if hashlib.sha256(key + content).digest() == digest:
                    os.utime(path)  # see _forget_old
                    return compiler.CompileResult._rebuild(
                        target_context, *serialize.loads(content)
                    )
        except Exception:  # not there, or of no use: it is compiled again
            pass
        WAITING.begin()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        WAITING.end()
        if data.library.has_dynamic_globals:  # addresses of this process
            return
        if place := self.place(sig, data.codegen):
            path, key = place
            content = serialize.dumps(data._reduce())
            with suppress(OSError):  # a full disk, or the folder was deleted this moment
                _write(path, hashlib.sha256(key + content).digest() + content)
                _forget_old(path.parent)

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...


KERNELS: list[Any] = []
"""All kernels that were defined, by numba's handles on them."""


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
    compiled._cache = _Kept(function)
    compiled.compile = partial(undisturbed, compiled.compile)  # half of it would stay for good
    KERNELS.append(compiled)
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


# A child process has none of the other threads: one that compiles has to finish before.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )
