"""Processes that make the batches of a DataLoader.

Each worker has a pipe of its own, so that one which dies in the middle of a message disturbs no
other. Batches travel through memory that both processes map (`memfd_create`, where the system has
it): it has no name, so nothing is left over however the processes end. Each task says into which of
the worker's pieces of memory its batch goes, and a piece is used again once it has been read.
"""

import mmap
import os
import pickle
import random
import signal
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from itertools import accumulate
from multiprocessing import get_all_start_methods, get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any, NamedTuple
from weakref import finalize

from tinygrad_cv.backend import (
    get_default_device,
    get_kernels,
    host,
    set_default_device,
    set_kernels,
    set_num_threads,
)
from tinygrad_cv.backend.base import DEFAULT
from tinygrad_cv.backend.threads import on_one_blas_thread
from tinygrad_cv.data.batches import ABOUT_WORKER, END, Place, Recipe, Task, WorkerInfo
from tinygrad_cv.data.dataset import IterableDataset
from tinygrad_cv.random import manual_seed

SHARES = hasattr(os, "memfd_create")
"""Whether batches go through shared memory; else through the pipes, one at a time."""

LEAST = 1 << 16  # bytes of a piece of memory
APART = 64  # bytes, of which the place of an array is a multiple
PATIENCE = 0.5  # seconds that a worker has to finish its batch when it is no longer wanted


class Settings(NamedTuple):
    """What a program may have chosen, and a process that is started afresh does not know."""

    dtype: Any
    device: str
    kernels: str

    @classmethod
    def here(cls) -> "Settings":
        return cls(DEFAULT.float, str(get_default_device()), get_kernels())

    def choose(self) -> None:
        DEFAULT.float = self.dtype
        set_default_device(self.device)
        if get_kernels() != self.kernels:
            set_kernels(self.kernels)


class Begin(NamedTuple):
    """What a worker is told at the start of an epoch."""

    epoch: int
    seed: int
    settings: Settings


def context_named(method: Any) -> Any:
    """How processes are started: by this name or context, or for None as usual."""
    methods = get_all_start_methods()
    if isinstance(method, BaseContext):
        return method
    if method is None or method in methods:
        return get_context(method)
    raise ValueError(
        "multiprocessing_context is one of this system's ways to start a process, "
        f"{', '.join(map(repr, methods))}, or a context; got {method!r}."
    )


# ----- in the main process ------------------------------------------------------------------------


class Workers:
    """`count` processes, each of which makes batches by a recipe, in the order of its tasks."""

    def __init__(
        self,
        recipe: Recipe,
        count: int,
        prefetch: int,
        worker_init_fn: Callable[[int], None] | None,
        context: Any,
    ) -> None:
        self.prefetch = prefetch if SHARES else 1
        self.epoch = 0
        self.death: str | None = None
        """What to say of it, once a worker is gone."""
        self.terms: tuple[Any, ...] = ()
        """What they were hired for."""
        self.user: Callable[[], Any] | None = None
        """A weak reference to the epoch that they work for."""
        self.processes: list[Any] = []
        self.connections: list[Any] = []
        self.end = finalize(self, _end, os.getpid(), self.processes, self.connections)
        try:
            for id in range(count):
                self._start(context, recipe, id, count, worker_init_fn)
        except BaseException:
            self.end()
            raise
        self.arrived: list[deque[Answer]] = [deque() for _ in range(count)]
        self.owed = [0] * count  # answers that a worker has still to give
        self.memory: list[list[mmap.mmap | None]] = [[] for _ in range(count)]
        self.free: list[list[int]] = [[] for _ in range(count)]

    def _start(self, context: Any, *about: Any) -> None:
        ours, theirs = context.Pipe()
        _ours.add(ours)
        self.connections.append(ours)
        method = context.get_start_method()
        process = context.Process(
            target=_work, args=(theirs, *about), name=f"DataLoader worker {about[1]}", daemon=True
        )
        self.processes.append(process)
        try:
            with _ctrl_c_later(method), warnings.catch_warnings():
                # The threads that compute take no part in a worker, which starts its own.
                warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
                process.start()
        except (AttributeError, TypeError, pickle.PicklingError) as error:
            raise TypeError(
                f"the workers of this DataLoader are started by {method!r}, for which the dataset, "
                f"collate_fn, transform and worker_init_fn are pickled: {error} Define them at the "
                "top level of a module, or choose multiprocessing_context='fork' where the system "
                "has it."
            ) from error
        finally:
            theirs.close()

    def is_busy(self) -> bool:
        return self.user is not None and self.user() is not None

    def begin(self, seed: int) -> None:
        """An epoch; what is under way for another is not wanted any more."""
        self.epoch += 1
        for worker, arrived in enumerate(self.arrived):
            arrived.clear()
            self._tell(worker, Begin(self.epoch, seed, Settings.here()))

    def ask(self, worker: int, task: Task | None) -> None:
        """Give the worker a task; its answer comes after those that it owes already."""
        while self.owed[worker] and not SHARES:  # while it waits for us to read, it reads nothing
            if not self._hear(worker):
                raise self._death(worker)
        if not self.free[worker]:
            self.free[worker].append(len(self.memory[worker]))
            self.memory[worker].append(None)
        self.owed[worker] += 1
        self._tell(worker, (self.free[worker].pop(), task))

    def answer(self, workers: Sequence[int], timeout: float = 0) -> tuple[int, Any]:
        """The next batch of whichever of these workers is the first, and which that is.

        The batch is a Failure where the worker raised an error. Raises RuntimeError if a worker has
        died, or if it takes longer than `timeout` seconds; 0 stands for as long as it takes.
        """
        until = time.monotonic() + timeout if timeout else None
        dead: set[int] = set()
        while True:
            for worker in workers:
                if self.arrived[worker]:
                    stream, buffers = self.arrived[worker].popleft()
                    return worker, pickle.loads(stream, buffers=buffers)
            if dead or self.death is not None:
                raise self._death(min(dead, default=0))
            left = None if until is None else max(0.0, until - time.monotonic())
            talking = wait(self.connections + [each.sentinel for each in self.processes], left)
            if not talking:
                raise RuntimeError(
                    f"no batch came from the workers of the DataLoader within {timeout} s, which "
                    "is its timeout."
                )
            for worker, connection in enumerate(self.connections):
                if connection in talking:
                    if not self._hear(worker):
                        dead.add(worker)
                elif self.processes[worker].sentinel in talking:
                    dead.add(worker)

    def _hear(self, worker: int) -> bool:
        """Read an answer, if the worker is there to give one."""
        connection = self.connections[worker]
        try:
            epoch, piece, grown, contents = connection.recv()
            if grown:
                with open(recv_handle(connection), "r+b") as file:
                    self.memory[worker][piece] = mmap.mmap(file.fileno(), 0)
        except (EOFError, OSError):
            return False
        self.owed[worker] -= 1
        self.free[worker].append(piece)
        if epoch == self.epoch:
            memory = self.memory[worker][piece]
            self.arrived[worker].append(contents if memory is None else _read(memory, contents))
        return True

    def _tell(self, worker: int, message: Any) -> None:
        try:
            self.connections[worker].send(message)
        except OSError:
            raise self._death(worker) from None

    def _death(self, worker: int) -> RuntimeError:
        """What to raise for a worker that is gone. The others end too."""
        if self.death is None:
            process = self.processes[worker]
            process.join(PATIENCE)
            code = process.exitcode
            if code is None:
                how = "closed its pipe"
            elif code >= 0:
                how = f"ended by itself, with exit code {code}"
            else:
                how = f"was killed by {signal.Signals(-code).name}"
                if -code == signal.SIGKILL:
                    how += ", as the system does when memory runs out"
            self.death = f"worker {worker} of the DataLoader (process {process.pid}) {how}."
            self.end()
        return RuntimeError(self.death)


class Ahead:
    """Batches that workers make, some of them before they are asked for."""

    def __init__(
        self,
        workers: Workers,
        seed: int,
        tasks: Iterator[Any],
        place: Place,
        in_order: bool,
        timeout: float,
    ) -> None:
        self.workers, self.tasks, self.place = workers, tasks, place
        self.in_order, self.timeout = in_order, timeout
        self.pending: deque[tuple[int, Any]] = deque()
        """Who was asked, and for which batch, in this order."""
        self.error: Exception | None = None
        workers.begin(seed)
        for _ in range(workers.prefetch):
            for worker in range(len(workers.processes)):
                self._ask(worker)

    def _ask(self, worker: int) -> None:
        if self.error is None:
            try:
                number, task = next(self.tasks)
            except StopIteration:
                return
            except Exception as error:  # of a sampler, whose turn comes
                self.error = error
                return
            self.workers.ask(worker, task)
            self.pending.append((worker, number))

    def __iter__(self) -> "Ahead":
        return self

    def __next__(self) -> Any:
        while self.pending:
            if self.in_order:
                waited_for = [self.pending[0][0]]
            else:
                waited_for = [worker for worker, _ in self.pending]
            worker, batch = self.workers.answer(waited_for, self.timeout)
            place = next(i for i, (asked, _) in enumerate(self.pending) if asked == worker)
            number = self.pending[place][1]
            del self.pending[place]
            if batch is END:  # of its stream; the others may go on
                continue
            self._ask(worker)
            self.place.give(number)
            if isinstance(batch, Failure):
                raise batch.error()
            return batch
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return END


Answer = tuple[Any, Sequence[Any]]
"""A pickled batch, and the buffers of its arrays."""

_ours: set[Any] = set()
"""The ends of pipes that this process, or the one it was forked from, holds to its workers."""


def _end(owner: int, processes: Sequence[Any], connections: Sequence[Any]) -> None:
    """Let the workers go; who is not done soon is ended."""
    if os.getpid() != owner:  # in a child of it, where they are not ours
        return
    for connection in connections:
        with suppress(OSError):  # it is gone already
            connection.send(None)
        _ours.discard(connection)
        connection.close()
    started = [process for process in processes if process.pid is not None]
    for end in (None, "terminate", "kill"):
        until = time.monotonic() + PATIENCE
        for process in started:
            if end is not None and process.is_alive():
                getattr(process, end)()
        for process in started:
            process.join(max(0.0, until - time.monotonic()))


@contextmanager
def _ctrl_c_later(method: str) -> Iterator[None]:
    """Inside, SIGINT waits; also in a child that is started, until it says otherwise.

    The server that forks for "forkserver" would pass it on to children that are not ours.
    """
    if method == "forkserver" or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    if method == "spawn":  # its first use starts a process too, and lets SIGINT in after that
        import_module("multiprocessing.resource_tracker").ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ----- batches in shared memory -------------------------------------------------------------------


def _spread(sizes: Sequence[int]) -> list[int]:
    """Where each of several stretches begins, and where the last ends."""
    return [*accumulate((-(-size // APART) * APART for size in sizes), initial=0)]


def _read(memory: Any, sizes: Sequence[int]) -> Answer:
    """Copies of what lies there, so that the memory can be used again."""
    view, starts = memoryview(memory), _spread(sizes)
    stream, *buffers = (
        host.frombuffer(view[start : start + size], "uint8").copy()
        for start, size in zip(starts, sizes, strict=False)
    )
    return stream, buffers


class _Sender:
    """A worker's end of the pipe, and the pieces of memory into which it writes its batches."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.memory: dict[int, mmap.mmap] = {}

    def send(self, epoch: int, piece: int, answer: Answer) -> None:
        parts = [memoryview(answer[0]), *answer[1]]
        if not SHARES:
            contents = bytes(parts[0]), [*map(bytearray, parts[1:])]
            self.connection.send((epoch, piece, False, contents))
            return
        sizes = [part.nbytes for part in parts]
        starts, memory = _spread(sizes), self.memory.get(piece)
        grown = None
        if memory is None or len(memory) < starts[-1]:
            grown = os.memfd_create("tinygrad_cv batch")
            os.ftruncate(grown, max(LEAST, starts[-1]))
            memory = self.memory[piece] = mmap.mmap(grown, 0)
        try:
            for start, size, part in zip(starts, sizes, parts, strict=False):
                memory[start : start + size] = part
            self.connection.send((epoch, piece, grown is not None, sizes))
            if grown is not None:
                send_handle(self.connection, grown, None)
        finally:
            if grown is not None:
                os.close(grown)


def _pickled(value: Any) -> Answer:
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return stream, [buffer.raw() for buffer in buffers]


# ----- in a worker --------------------------------------------------------------------------------


def _work(connection: Any, recipe: Recipe, id: int, count: int, init: Any) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process sees to it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever that does there
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for end in _ours:  # a pipe ends when nobody holds its other end
        end.close()
    _ours.clear()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    set_num_threads(1)
    on_one_blas_thread(_serve, connection, recipe, id, count, init)


def _end_with_parent(pid: int) -> None:
    """Also while a batch is made. A child of the parent may hold our pipes, so ask for its id."""
    parent = parent_process()
    assert parent is not None
    while parent.is_alive() and os.getppid() == pid:
        parent.join(1.0)
    os._exit(1)


def _serve(connection: Any, recipe: Recipe, id: int, count: int, init: Any) -> None:
    sender, epoch = _Sender(connection), 0
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # we are not wanted any more
        while (message := connection.recv()) is not None:
            if isinstance(message, Begin):
                epoch = message.epoch
                try:
                    make = _begun(recipe, id, count, init, message)
                except Exception as error:
                    make = partial(Failure.of, error, id)
                continue
            piece, task = message
            try:
                answer = _pickled(make(task))
            except Exception as error:
                answer = _pickled(Failure.of(error, id))
            sender.send(epoch, piece, answer)
            del answer


def _begun(recipe: Recipe, id: int, count: int, init: Any, begin: Begin) -> Callable[[Any], Any]:
    """What makes the batches of an epoch, in a process in which all is seeded."""
    seed = begin.seed + id
    begin.settings.choose()
    manual_seed(seed)
    random.seed(seed)
    host.random.seed(seed % 2**32)
    if ABOUT_WORKER:
        ABOUT_WORKER[0].seed = seed
    else:
        ABOUT_WORKER[0] = WorkerInfo(id, count, seed, recipe.dataset)
        try:
            if init is not None:
                init(id)
        except BaseException:
            ABOUT_WORKER.clear()
            raise
    # The samples of a dataset with an index are the same whoever makes them.
    return recipe.begin(seed if isinstance(recipe.dataset, IterableDataset) else begin.seed)


# ----- errors on their way ------------------------------------------------------------------------


class Failure(NamedTuple):
    """What was raised in a worker, in the place of a batch."""

    kind: bytes | None
    """Its type, pickled."""
    state: bytes | None
    """Its arguments and attributes, pickled."""
    words: str

    @classmethod
    def of(cls, error: Exception, id: int, _: Any = None) -> "Failure":
        told = "".join(traceback.format_exception(error)).rstrip()
        words = f"It was raised in worker {id} of a DataLoader:\n\n{told}"
        kind, args = type(error), error.args
        with suppress(Exception):
            first = str(error)
            if isinstance(error, OSError) and error.errno is not None:
                args = error.errno, error.strerror, error.filename, None, error.filename2
                first = error.strerror or ""
            words = f"{first}\n\n{words}" if first else words
        if isinstance(error, StopIteration):  # which would end the epoch without a word
            kind = RuntimeError
        return cls(_if_pickled(kind), _if_pickled((args, vars(error))), words)

    def error(self) -> BaseException:
        """An error of the same type, which tells the traceback of the worker.

        It has the attributes of the other. If its type makes its words itself, of other things than
        its arguments, then it is of a type below. Where the type is not known here, it is a
        RuntimeError.
        """
        args, attributes = (), {}
        with suppress(Exception):
            args, attributes = pickle.loads(self.state or b"")
        with suppress(Exception):
            kind = pickle.loads(self.kind or b"")
            for build in (_told, _told_below):
                with suppress(Exception):
                    error: BaseException = build(kind, args, _Words(self.words))
                    vars(error).update(attributes)
                    if self.words in str(error):
                        return error
        return RuntimeError(self.words)


class _Words(str):
    """What looks the same in the words of a KeyError, which show how their argument looks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _told(kind: Any, args: Any, words: str) -> Any:
    """As if it had been given the words alone, whatever its constructor wants."""
    if issubclass(kind, OSError) and len(args) > 1:
        return kind(args[0], words, *args[2:])
    error = kind.__new__(kind)
    error.args = (words,)
    return error


def _told_below(kind: Any, args: Any, words: str) -> Any:
    """For types whose words are made of other things, such as UnicodeDecodeError."""
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    below = type(kind.__name__, (kind,), {**names, "__str__": lambda _: str(words)})
    error = below.__new__(below, *args)
    with suppress(Exception):
        kind.__init__(error, *args)
    return error


def _if_pickled(value: Any) -> bytes | None:
    try:
        return pickle.dumps(value)
    except Exception:
        return None
