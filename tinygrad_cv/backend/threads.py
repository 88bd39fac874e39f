"""Worker threads for kernels that walk a batch in blocks.

NumPy releases the interpreter lock inside copies, ufuncs and matrix products, so plain threads
are enough. BLAS itself is held to one thread while it multiplies for a kernel: the parts already
use every core, and a BLAS worker goes on spinning for some 30 ms after its share is done, on a core
that the next kernel needs.

Into what parts work is split follows from its shapes alone. The number of workers says only how
many parts are under way at once, so that it changes no bit of a result.
"""

import atexit
import math
import os
import sys
import time
from _thread import LockType, allocate_lock, start_new_thread
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from itertools import pairwise, product
from operator import index
from pathlib import Path
from queue import SimpleQueue
from threading import Thread, current_thread, get_ident, main_thread
from typing import Any, NamedTuple, cast

from threadpoolctl import ThreadpoolController

from tinygrad_cv._public import TOP, public
from tinygrad_cv.backend.locks import Locked

# ----- how many ----------------------------------------------------------------------------------


def _available() -> int:
    """The processors that this process may use: affinity, and the quota of a container."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or no quota: "max"
        return cores


def _number_at_start(environment: Mapping[str, str]) -> int:
    """TINYGRAD_CV_NUM_THREADS, or OMP_NUM_THREADS, or one for each processor."""
    if own := environment.get("TINYGRAD_CV_NUM_THREADS", "").strip():
        if not own.isdecimal() or int(own) < 1:
            raise ValueError(
                f"the environment variable TINYGRAD_CV_NUM_THREADS is {own!r}; expected a number "
                "of threads, 1 or more. Unset it for one thread on each processor."
            )
        return int(own)
    # OpenMP takes a list, a number for each level of nesting.
    common = environment.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(common) if common.isdecimal() and int(common) else _available()


_number = _number_at_start(os.environ)


@public(TOP)
def get_num_threads() -> int:
    """How many threads compute on the CPU (see `set_num_threads`).

    >>> import tinygrad_cv as tg
    >>> tg.get_num_threads() >= 1
    True
    """
    return _number


@public(TOP)
def set_num_threads(n: int) -> None:
    """How many threads compute on the CPU from now on, the one that calls included.

    It changes how long a large kernel takes, and no bit of its result: work is split by its shapes
    alone. At first the number is that of the environment variable TINYGRAD_CV_NUM_THREADS, or else
    of OMP_NUM_THREADS, or else one for each processor that the process may use. It holds for all
    threads of the process; what is under way goes on as it began.

    Args:
        n: 1 or more.

    Raises:
        ValueError: n is less than 1.
        TypeError: n is no integer.

    >>> import tinygrad_cv as tg
    >>> before = tg.get_num_threads()
    >>> tg.set_num_threads(1)
    >>> tg.get_num_threads()
    1
    >>> tg.set_num_threads(before)
    """
    global _number
    try:
        number = index(n)
    except TypeError:
        number = None
    if number is None or isinstance(n, bool):
        raise TypeError(f"set_num_threads takes an integer, 1 or more; given {n!r}.")
    if number < 1:
        raise ValueError(
            f"set_num_threads({number}): the thread that calls computes too, so 1 is the least."
        )
    _number = number


# ----- splitting ---------------------------------------------------------------------------------

MOST_PARTS = 16
"""Into how many parts the products of one kernel go at most."""

WORTH_A_PART = 1 << 21
"""How many multiplications a part has at least: handing it over takes as long as some 2¹⁹."""


def split(length: int, parts: int) -> list[slice]:
    """`length` items as at most `parts` contiguous slices of nearly equal size."""
    parts = max(1, min(parts, length))
    bounds = [length * i // parts for i in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]


def by_products(length: int, products: int, most: int = MOST_PARTS) -> list[slice]:
    """`length` items that take so many multiplications in all, in parts worth a hand-over.

    Their number is a power of 2, which most numbers of cores share out evenly.
    """
    parts = min(length, products // WORTH_A_PART, most, MOST_PARTS)
    return split(length, 1 << parts.bit_length() >> 1)


# ----- BLAS --------------------------------------------------------------------------------------
# The number of its threads belongs to the process, as a rule: the first kernel to come sets it to
# one, and the last to leave restores what was there, so that kernels at the same time do not undo
# each other.
#
# Ctrl-C may raise an error in the main thread after any call, in here too. So whoever holds BLAS is
# listed in a set, one call that nothing interrupts takes him off it, and `_settle` makes the number
# what the set says it should be: it may stop anywhere, and be called again.


class _Blas(NamedTuple):
    """The number of threads of a library that multiplies matrices."""

    get: Callable[[], int]
    set: Callable[[int], Any]


def _is_per_thread(library: Any) -> bool:
    """Whether its number of threads is set for the calling thread alone."""
    layer = getattr(library, "threading_layer", None)
    return library.internal_api == "mkl" or (library.internal_api, layer) == ("openblas", "openmp")


def _controls(library: Any) -> _Blas:
    """OpenBLAS is asked itself: threadpoolctl 3.8 lets one thread alone set its number."""
    if library.internal_api == "openblas" and not _is_per_thread(library):
        for prefix, suffix in product(("", "scipy_"), ("", "64_", "_64")):
            name = f"{prefix}openblas_{{}}_num_threads{suffix}"
            if hasattr(library.dynlib, name.format("set")):
                return _Blas(*(getattr(library.dynlib, name.format(do)) for do in ("get", "set")))
    return _Blas(library.get_num_threads, library.set_num_threads)


# Found at import, not later, when Ctrl-C might break it off: NumPy has loaded its library by then.
_libraries = ThreadpoolController().select(user_api="blas").lib_controllers
_of_process = [_controls(library) for library in _libraries if not _is_per_thread(library)]
_per_thread = [_controls(library) for library in _libraries if _is_per_thread(library)]

# How many multiplications BLAS does on one thread by itself, of matrices and of a vector. OpenBLAS
# takes more from 2¹⁸ and from 9216 on, or later, by its version; of others that is not known.
_known = all(library.internal_api == "openblas" for library in _libraries)
_matrices, _vector = (1 << 18, 1 << 13) if _known else (0, 0)

_holding: set[int] = set()  # threads
_settling = Locked()  # a signal handler may come in between, and compute
_before: list[int] | None = None


def is_below_threads(rows: int, inner: int, columns: int) -> bool:
    """Whether BLAS keeps to one thread anyway for (rows, inner) @ (inner, columns)."""
    return rows * inner * columns < (_vector if rows == 1 or columns == 1 else _matrices)


def _settle() -> None:
    """BLAS has one thread where somebody holds it, and elsewhere the number it had before."""
    global _before
    with _settling.lock:
        if _holding:
            if _before is None:
                found = [blas.get() for blas in _of_process]
                _before = found if _before is None else _before  # a handler may have been quicker
            for blas in _of_process:
                blas.set(1)
        elif (before := _before) is not None:
            for blas, number in zip(_of_process, before, strict=True):
                blas.set(number)
            _before = None


def on_one_blas_thread(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """`call(*args, **options)`, with BLAS held to one thread.

    It costs 2 µs, and next to nothing inside of another such call: a whole training step is worth
    being one. It is no context manager, for Ctrl-C at the start of an __exit__ would leave BLAS
    held.
    """
    holder = get_ident()
    if holder in _holding:
        return call(*args, **options)
    own = [(blas, blas.get()) for blas in _per_thread]
    try:
        _holding.add(holder)
        _settle()
        for blas, _ in own:
            blas.set(1)
        return call(*args, **options)
    finally:
        try:
            _holding.discard(holder)
            if not _holding:
                _settle()
            for blas, number in own:
                blas.set(number)
        except BaseException:  # Ctrl-C on the way: a thread in which it raises nothing finishes
            start_new_thread(_settle, ())
            for blas, number in own:
                blas.set(number)
            raise


# ----- out of the reach of Ctrl-C -----------------------------------------------------------------


def undisturbed(call: Callable[..., Any], *args: Any) -> Any:
    """`call(*args)`, which no Ctrl-C breaks off half-way: it runs where none comes.

    Who waits for it is interrupted all the same, and the call ends by itself.
    """
    if current_thread() is not main_thread():
        return call(*args)
    made, errors, done = list[Any](), list[BaseException](), allocate_lock()

    def run() -> None:
        _under_way.add(done)
        try:
            made.append(call(*args))
        except BaseException as error:
            errors.append(error)
        finally:
            _under_way.discard(done)
            done.release()

    done.acquire()
    start_new_thread(run, ())
    done.acquire()
    try:
        if errors:
            raise errors[0]
        return made[0]
    finally:
        errors.clear()  # which know this frame


_under_way: set[LockType] = set()


@atexit.register
def _finish() -> None:
    """Before the process ends, so does what is under way (see `_dismiss`)."""
    for done in [*_under_way]:
        done.acquire(timeout=60)


# ----- workers -----------------------------------------------------------------------------------
# They are daemons, since the interpreter joins other threads at exit, also one whose start Ctrl-C
# broke off half-way. `_dismiss` sees to it that none is at work when the process ends.

_jobs: "SimpleQueue[Callable[[], Any] | None]" = SimpleQueue()
_workers: list[Thread] = []
_hiring = Locked()


def _serve(jobs: "SimpleQueue[Callable[[], Any] | None]") -> None:
    for blas in _per_thread:
        blas.set(1)
    for job in iter(jobs.get, None):
        job()
        del job  # and the arrays that it holds
    jobs.put(None)  # the end, for the next of them


def _hire(count: int) -> None:
    """Have that many workers; fewer where the system has no more threads, or the process ends."""
    if len(_workers) >= count or sys.is_finalizing():  # when a new thread does not start any more
        return
    with _hiring.lock:
        while len(_workers) < count:
            worker = Thread(target=_serve, args=(_jobs,), name="tinygrad_cv", daemon=True)
            try:
                worker.start()
            except RuntimeError:
                return
            _workers.append(worker)


@atexit.register
def _dismiss() -> None:
    """Before the process ends: what a thread computes while memory is taken apart may crash it."""
    global _jobs
    leaving, jobs = list(_workers), _jobs
    _workers.clear()
    _jobs = SimpleQueue()
    jobs.put(None)
    until = time.monotonic() + 2
    for worker in leaving:
        worker.join(max(0, until - time.monotonic()))


def _after_fork() -> None:
    """Threads do not survive a fork: start afresh in the child."""
    global _jobs
    _jobs = SimpleQueue()
    _workers.clear()
    _under_way.clear()
    _holding.clear()
    _settle()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def parallel(
    work: Callable[[slice], Any],
    parts: Sequence[slice],
    factors: tuple[int, int, int] | None = None,
) -> list[Any]:
    """`[work(part) for part in parts]`, over the worker threads, results in the order of parts.

    Handing parts over takes some 55 µs, most of it until the other threads wake up: two parts are
    worth it from 110 µs of work on, for a kernel that does not need the interpreter.

    The calling thread works too. Every thread takes the next part when it is done with its last.
    The first error ends it: nobody starts another part, and who calls gets the error when the parts
    under way are done.

    `factors` is (rows, inner, columns) of the largest product that is left to BLAS, if one is.
    """
    if factors is not None and not is_below_threads(*factors):
        return cast("list[Any]", on_one_blas_thread(parallel, work, parts))
    helpers = min(_number, len(parts)) - 1
    if helpers < 1:
        return [work(part) for part in parts]
    results: list[Any] = [None] * len(parts)
    waiting = deque(enumerate(parts))
    errors: deque[BaseException] = deque(maxlen=1)
    busy: set[int] = set()
    done: SimpleQueue[None] = SimpleQueue()

    def drain() -> None:
        while waiting:
            try:
                i, part = waiting.popleft()
            except IndexError:  # another thread was quicker
                return
            results[i] = work(part)  # noqa: F821  both are there until nobody is busy

    def help_out(name: int) -> None:
        busy.add(name)  # before it looks for a part: who finds nobody busy can go
        try:
            drain()
        except BaseException as error:
            waiting.clear()
            errors.append(error)
        finally:
            busy.discard(name)
            done.put(None)

    _hire(helpers)
    try:
        for name in range(helpers):
            # NumPy's errstate is part of the context, which a worker does not inherit.
            _jobs.put(partial(copy_context().run, help_out, name))
        drain()
    finally:
        waiting.clear()  # whoever comes late finds nothing, and nobody waits for him
        while busy:
            done.get()
        error = errors.pop() if errors else None
        made = results
        del work, results  # the job of who comes late would keep the arrays until then
    if error is None:
        return made
    try:
        raise error
    finally:
        del error  # which knows this frame: a cycle would keep the arrays of the parts
