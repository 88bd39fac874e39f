"""Groups of processes that each have a GPU, over NCCL, through CuPy.

MPI finds the others and tells them the name of the communicator, and does what lies in host memory.
"""

import hashlib
import socket
from importlib import import_module
from typing import Any

from tinygrad_cv import backend as backends
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import Backend
from tinygrad_cv.distributed.group import Array, Group, ReduceOp, Work

DTYPES = {
    "bool": "UINT8",
    "uint8": "UINT8",
    "int8": "INT8",
    "int32": "INT32",
    "uint32": "UINT32",
    "int64": "INT64",
    "uint64": "UINT64",
    "float16": "FLOAT16",
    "float32": "FLOAT32",
    "float64": "FLOAT64",
}
"""The names by which NCCL knows our dtypes."""

OPS = {"sum": "SUM", "avg": "SUM", "product": "PROD", "min": "MIN", "max": "MAX"}


def nccl() -> Any:
    """CuPy's module; ModuleNotFoundError if there is none, or it has no NCCL."""
    try:
        module = import_module("cupy.cuda.nccl")
    except ImportError as error:
        raise ModuleNotFoundError(
            "the backend 'nccl' needs CuPy: pip install 'tinygrad_cv[cuda,mpi]' (for a driver of "
            "CUDA 12: pip install cupy-cuda12x mpi4py).",
            name="cupy",
        ) from error
    if not module.available:
        raise ModuleNotFoundError(
            "the backend 'nccl' needs NCCL, which CuPy does not find: pip install nvidia-nccl-cu13 "
            "(for CUDA 12: nvidia-nccl-cu12).",
            name="nccl",
        )
    return module


class NcclGroup(Group):
    """The ranks of `over`, each with the GPU that "cuda" stands for.

    What is started runs on the stream of the caller, so what comes later on it finds the result.
    """

    name = "nccl"

    def __init__(self, over: Group, module: Any, backend: Backend) -> None:
        self.over, self.module, self.backend = over, module, backend
        self.rank, self.size = over.rank, over.size
        name = host.zeros(128, "int8")  # the bytes of it
        if self.rank == 0:
            name[...] = module.get_unique_id()
        over.broadcast(name, 0).wait()
        with backend.active:
            self.comm = module.NcclCommunicator(self.size, tuple(name.tolist()), self.rank)

    def takes(self, backend: Backend) -> bool:
        return backend is self.backend or backend.device == "cpu"

    def duplicate(self) -> Group:
        return NcclGroup(self.over.duplicate(), self.module, self.backend)

    def progress(self) -> None:
        self.over.progress()

    def close(self) -> None:
        self.comm.destroy()
        self.over.close()

    def abort(self, why: str, status: int) -> None:
        self.over.abort(why, status)

    def _kind(self, x: Array) -> int:
        if str(x.dtype) not in DTYPES:
            raise TypeError(f"NCCL has no numbers of {x.dtype}; it has {', '.join(DTYPES)}.")
        return int(getattr(self.module, f"NCCL_{DTYPES[str(x.dtype)]}"))

    def _op(self, x: Array, op: ReduceOp) -> int:
        if op.value not in OPS:
            raise TypeError(
                f"NCCL has no ReduceOp.{op.name}; take the tensor to the host: x.cpu()."
            )
        truth = x.dtype == "bool" and op.value in ("sum", "product")
        name = {"sum": "MAX", "product": "MIN"}[op.value] if truth else OPS[op.value]
        return int(getattr(self.module, f"NCCL_{name}"))

    @property
    def _stream(self) -> int:
        return int(self.backend.cp.cuda.get_current_stream().ptr)

    def _shared(self, x: Array, op: ReduceOp) -> None:
        """A mean is a sum of shares: a sum of all in half precision might be infinite."""
        if op is ReduceOp.AVG:
            x /= self.size

    def all_reduce(self, x: Array, op: ReduceOp) -> Work:
        if isinstance(x, host.ndarray):
            return self.over.all_reduce(x, op)
        with self.backend.active:
            self._shared(x, op)
            to = x.data.ptr
            self.comm.allReduce(to, to, x.size, self._kind(x), self._op(x, op), self._stream)
        return Work()

    def reduce(self, x: Array, root: int, op: ReduceOp) -> Work:
        if isinstance(x, host.ndarray):
            return self.over.reduce(x, root, op)
        with self.backend.active:
            self._shared(x, op)
            to, kind = x.data.ptr, self._kind(x)
            self.comm.reduce(to, to, x.size, kind, self._op(x, op), root, self._stream)
        return Work()

    def reduce_scatter(self, x: Array, parts: Array, op: ReduceOp) -> Work:
        if isinstance(x, host.ndarray):
            return self.over.reduce_scatter(x, parts, op)
        with self.backend.active:
            self._shared(parts, op)
            here, to, kind = parts.data.ptr, x.data.ptr, self._kind(x)
            self.comm.reduceScatter(here, to, x.size, kind, self._op(x, op), self._stream)
        return Work()

    def broadcast(self, x: Array, root: int) -> Work:
        if isinstance(x, host.ndarray):
            return self.over.broadcast(x, root)
        with self.backend.active:
            to = x.data.ptr
            self.comm.broadcast(to, to, x.nbytes, self.module.NCCL_UINT8, root, self._stream)
        return Work()

    def all_gather(self, parts: Array, x: Array) -> Work:
        if isinstance(x, host.ndarray):
            return self.over.all_gather(parts, x)
        with self.backend.active:
            here, to = x.data.ptr, parts.data.ptr
            self.comm.allGather(here, to, x.nbytes, self.module.NCCL_UINT8, self._stream)
        return Work()

    def gather(self, parts: Array | None, x: Array, root: int) -> Work:
        """Each gets all, as NCCL has no gather of its own."""
        if isinstance(x, host.ndarray):
            return self.over.gather(parts, x, root)
        if parts is None:
            with self.backend.active:
                parts = self.backend.empty((self.size, *x.shape), dtype=x.dtype)
        return self.all_gather(parts, x)

    def scatter(self, x: Array, parts: Array | None, root: int) -> Work:
        """Each gets all, as NCCL has no scatter of its own."""
        if isinstance(x, host.ndarray):
            return self.over.scatter(x, parts, root)
        with self.backend.active:
            if parts is None:
                parts = self.backend.empty((self.size, *x.shape), dtype=x.dtype)
            work = self.broadcast(parts, root)
            x[...] = parts[self.rank]
        return work

    def send(self, x: Array, to: int, tag: int) -> Work:
        """NCCL has no tags: what is sent first is received first."""
        if isinstance(x, host.ndarray):
            return self.over.send(x, to, tag)
        with self.backend.active:
            place, kind = x.data.ptr, self.module.NCCL_UINT8
            self.comm.send(place, x.nbytes, kind, to, self._stream)
        return Work()

    def receive(self, x: Array, source: int | None, tag: int) -> Work:
        if isinstance(x, host.ndarray):
            return self.over.receive(x, source, tag)
        if source is None:
            raise ValueError("recv: NCCL must know the source; pass src, the rank that sends.")
        with self.backend.active:
            place, kind = x.data.ptr, self.module.NCCL_UINT8
            self.comm.recv(place, x.nbytes, kind, source, self._stream)
        work = Work()
        work.source = source
        return work

    def barrier(self) -> Work:
        """Done when all ranks and their GPUs have come here."""
        self.backend.synchronize()
        return self.over.barrier()


def start(over: Group) -> NcclGroup:
    """One GPU a rank: of those of a machine, the ranks there take one each in their turn."""
    module = nccl()
    names = host.frombuffer(_machine(), "uint8")
    all_names = host.zeros((over.size, len(names)), "uint8")
    over.all_gather(all_names, names).wait()
    before = int((all_names[: over.rank] == names).all(axis=1).sum())
    from tinygrad_cv.backend import cupy_backend  # with its kernels, only where it is asked for

    count = cupy_backend.count()
    if before >= count:
        raise RuntimeError(
            f"rank {over.rank} is number {before + 1} on this machine, which has {count} GPU(s); "
            "NCCL takes one for each rank. Start fewer ranks, or use the backend 'mpi'."
        )
    backends.choose(f"cuda:{before}")
    return NcclGroup(over, module, backends.get(f"cuda:{before}"))


def _machine() -> bytes:
    """A number of this machine, in 8 bytes."""
    return hashlib.blake2b(socket.gethostname().encode(), digest_size=8).digest()
