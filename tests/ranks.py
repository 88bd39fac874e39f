"""Ranks that are threads of one process, and a stand-in for CuPy's NCCL, to test what ranks do."""

import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import numpy as np

from tinygrad_cv.distributed import ProcessGroup, ReduceOp, Work

LIMIT = 20.0
"""After so many seconds a rank that waits for the others gives up."""

REDUCTIONS: dict[str, Any] = {
    "sum": lambda xs: sum(xs[1:], xs[0]),
    "avg": lambda xs: sum(xs[1:], xs[0]) / len(xs),
    "product": np.prod,
    "min": np.min,
    "max": np.max,
    "band": np.bitwise_and.reduce,
    "bor": np.bitwise_or.reduce,
    "bxor": np.bitwise_xor.reduce,
}


class Room:
    """Where ranks meet: each brings something, and gets what all have brought."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.condition = threading.Condition()
        self.tables: dict[Any, dict[int, Any]] = {}
        self.failure: BaseException | None = None
        self.log: list[tuple[int, Any, int]] = []
        """Which rank has started what, and how much it brought, in the order of time."""

    def bring(self, key: Any, rank: int, thing: Any) -> None:
        with self.condition:
            self.tables.setdefault(key, {})[rank] = thing
            self.log.append((rank, key, getattr(thing, "size", 0)))
            self.condition.notify_all()

    def complete(self, key: Any) -> bool:
        return len(self.tables.get(key, {})) == self.size

    def all(self, key: Any) -> list[Any]:
        with self.condition:
            here = self.condition.wait_for(lambda: self.complete(key) or self.failure, LIMIT)
            if self.failure is not None:
                raise self.failure
            if not here:
                raise TimeoutError(f"{key}: only {sorted(self.tables[key])} have come")
            return [self.tables[key][rank] for rank in range(self.size)]


class Met(Work):
    """Work that is done when all have come."""

    def __init__(self, room: Room, key: Any, then: Callable[[list[Any]], None]) -> None:
        super().__init__(lambda: then(room.all(key)))
        self.room, self.key = room, key

    def _arrived(self) -> bool:
        return self.room.complete(self.key)


class ThreadGroup(ProcessGroup):
    """One rank of a room."""

    def __init__(self, room: Room, rank: int, channel: int = 0) -> None:
        self.room, self.rank, self.size, self.channel = room, rank, room.size, channel
        self.started = self.duplicates = 0

    def duplicate(self) -> "ThreadGroup":
        self.duplicates += 1
        return ThreadGroup(self.room, self.rank, 100 * self.channel + self.duplicates)

    def meet(self, thing: Any, then: Callable[[list[Any]], None]) -> Work:
        self.started += 1
        key = (self.channel, self.started)
        self.room.bring(key, self.rank, thing)
        return Met(self.room, key, then)

    def all_reduce(self, x: Any, op: ReduceOp) -> Work:
        def then(xs: list[Any]) -> None:
            x[...] = reduced(xs, op.value)

        return self.meet(x.copy(), then)

    def broadcast(self, x: Any, root: int) -> Work:
        def then(xs: list[Any]) -> None:
            x[...] = xs[root]

        return self.meet(x.copy(), then)

    def all_gather(self, parts: Any, x: Any) -> Work:
        def then(xs: list[Any]) -> None:
            parts[...] = xs

        return self.meet(x.copy(), then)

    def barrier(self) -> Work:
        return self.meet(None, lambda xs: None)


def reduced(xs: list[Any], op: str) -> Any:
    """What MPI makes of arrays: half precision is added up in single."""
    if op in ("sum", "avg"):
        wide = [x.astype("float32") if x.dtype == "float16" else x for x in xs]
        return REDUCTIONS[op](wide)
    stacked = np.stack(xs)
    reduce = REDUCTIONS[op]
    return (
        reduce(stacked)
        if isinstance(getattr(reduce, "__self__", None), np.ufunc)
        else reduce(stacked, axis=0)
    )


def on_ranks(size: int, work: Callable[[ThreadGroup], Any]) -> list[Any]:
    """What `work` returns on each of so many ranks, which run at once."""
    room = Room(size)
    groups = [ThreadGroup(room, rank) for rank in range(size)]

    def run(group: ThreadGroup) -> Any:
        try:
            return work(group)
        except BaseException as error:
            with room.condition:
                room.failure = room.failure or error
                room.condition.notify_all()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(copy_context().run, run, group) for group in groups]
        return [future.result(2 * LIMIT) for future in futures]


# ----- NCCL --------------------------------------------------------------------------------------

KINDS = "int8 uint8 int32 uint32 int64 uint64 float16 float32 float64".split()  # noqa: SIM905
OPS = ("sum", "product", "max", "min")


class Nccl:
    """What we use of `cupy.cuda.nccl`, for one rank. It knows memory by its address alone."""

    available = True

    def __init__(self, room: Room) -> None:
        self.room, self.communicators = room, 0
        for number, kind in enumerate(KINDS):
            setattr(self, f"NCCL_{kind.upper()}", number)
        for number, op in enumerate(("SUM", "PROD", "MAX", "MIN")):
            setattr(self, f"NCCL_{op}", number)

    def get_unique_id(self) -> tuple[int, ...]:
        return tuple(range(-64, 64))

    def NcclCommunicator(self, ndev: int, commId: tuple[int, ...], rank: int) -> "Communicator":
        assert commId == self.get_unique_id()
        assert ndev == self.room.size
        self.communicators += 1
        return Communicator(self.room, rank, self.communicators)


def memory(address: int, count: int, kind: int) -> Any:
    """The numbers at an address."""
    dtype = np.dtype(KINDS[kind])
    raw = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    return np.frombuffer(raw, dtype)


class Communicator:
    """The methods of CuPy's NcclCommunicator, by position as they are documented."""

    def __init__(self, room: Room, rank: int, number: int) -> None:
        self.room, self.rank, self.number, self.started = room, rank, number, 0
        self.alive = True

    def _all(self, thing: Any) -> list[Any]:
        assert self.alive
        self.started += 1
        key = ("nccl", self.number, self.started)
        self.room.bring(key, self.rank, thing)
        return self.room.all(key)

    def allReduce(
        self, sendbuf: int, recvbuf: int, count: int, datatype: int, op: int, stream: int
    ) -> None:
        xs = self._all(memory(sendbuf, count, datatype).copy())
        memory(recvbuf, count, datatype)[...] = reduced(xs, OPS[op])

    def reduce(
        self,
        sendbuf: int,
        recvbuf: int,
        count: int,
        datatype: int,
        op: int,
        root: int,
        stream: int,
    ) -> None:
        xs = self._all(memory(sendbuf, count, datatype).copy())
        if self.rank == root:
            memory(recvbuf, count, datatype)[...] = reduced(xs, OPS[op])

    def broadcast(
        self, sendbuff: int, recvbuff: int, count: int, datatype: int, root: int, stream: int
    ) -> None:
        memory(recvbuff, count, datatype)[...] = self._all(
            memory(sendbuff, count, datatype).copy()
        )[root]

    def reduceScatter(
        self, sendbuf: int, recvbuf: int, recvcount: int, datatype: int, op: int, stream: int
    ) -> None:
        xs = self._all(memory(sendbuf, recvcount * self.room.size, datatype).copy())
        part = reduced(xs, OPS[op]).reshape(self.room.size, -1)[self.rank]
        memory(recvbuf, recvcount, datatype)[...] = part

    def allGather(self, sendbuf: int, recvbuf: int, count: int, datatype: int, stream: int) -> None:
        xs = self._all(memory(sendbuf, count, datatype).copy())
        memory(recvbuf, count * self.room.size, datatype)[...] = np.concatenate(xs)

    def send(self, sendbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        self.room.bring(("to", self.rank, peer), self.rank, memory(sendbuf, count, datatype).copy())

    def recv(self, recvbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        key, room = ("to", peer, self.rank), self.room
        with room.condition:
            assert room.condition.wait_for(lambda: key in room.tables, LIMIT)
            memory(recvbuf, count, datatype)[...] = room.tables.pop(key)[peer]

    def destroy(self) -> None:
        self.alive = False
