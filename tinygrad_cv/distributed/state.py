"""The process group of this process."""

from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from tinygrad_cv.distributed import mpi, nccl
from tinygrad_cv.distributed.group import Group

_group: Group | None = None


def is_available() -> bool:
    """Whether processes can work together: there is always the group of one."""
    return True


def is_mpi_available() -> bool:
    """Whether mpi4py is there (whether it finds an MPI, `init_process_group` says)."""
    return find_spec("mpi4py") is not None


def is_nccl_available() -> bool:
    """Whether there are CuPy, NCCL and a GPU."""
    from tinygrad_cv import cuda

    try:
        nccl.nccl()
    except ModuleNotFoundError:
        return False
    return cuda.is_available()


def is_gloo_available() -> bool:
    """False: ranks speak over MPI or NCCL."""
    return False


is_ucc_available = is_torchelastic_launched = is_gloo_available


def is_backend_available(backend: str) -> bool:
    """Whether ranks can speak over this: "mpi" or "nccl"."""
    asked = {"mpi": is_mpi_available, "nccl": is_nccl_available}
    return asked[backend]() if backend in asked else False


def is_initialized() -> bool:
    """Whether there is a process group: between `init_process_group` and the end of it."""
    return _group is not None


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: timedelta | float | None = None,
    world_size: int = -1,
    rank: int = -1,
    store: Any = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
) -> None:
    """Join the processes that were started together: `mpiexec -n 2 python train.py`.

    `backend` is "mpi", for tensors on any device, or "nccl", for those on GPUs, of which each rank
    takes one ("cuda" then stands for it). None stands for "mpi" in a process that an `mpiexec` has
    started; in any other there is a group of one then, and nothing is imported.

    `world_size` and `rank` may be given, and must then be right: it is MPI that knows them, and the
    way to the others, so `init_method`, `store` and the rest have no effect. `timeout` (seconds, or
    a timedelta) limits how long a rank waits for the others; by default there is no limit.

    Ranks that have the same processors share them: each computes with its part of their threads,
    unless TINYGRAD_CV_NUM_THREADS or OMP_NUM_THREADS says how many; see `set_num_threads`.

    From then on a rank that ends by an exception ends the others too, with a sentence and the
    status 1, and so does one that has left while another waits for it.

    Raises ModuleNotFoundError if mpi4py, an MPI, CuPy or NCCL is missing, ValueError for another
    backend or a wrong rank, RuntimeError if there is a group already, or if the `mpiexec` is not
    that of mpi4py's MPI.

    >>> from tinygrad_cv import distributed as dist
    >>> dist.init_process_group()
    >>> dist.get_rank(), dist.get_world_size()
    (0, 1)
    >>> dist.destroy_process_group()
    """
    global _group
    if _group is not None:
        raise RuntimeError("there is a process group already; call destroy_process_group() first.")
    name = None if backend is None else str(backend).lower()
    if name not in (None, "mpi", "nccl"):
        raise ValueError(
            f"a backend is 'mpi' or 'nccl', or None for the best one; got {backend!r}."
        )
    limit = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if limit is not None and not limit > 0:
        raise ValueError(f"timeout is a time above 0, in seconds or a timedelta; got {timeout!r}.")
    if name == "nccl":
        nccl.nccl()  # says first what is missing
    group: Group = Group()
    if name is not None or mpi.launched_ranks() > 1:
        group = mpi.start(limit)
    for what, given, right in (("world_size", world_size, group.size), ("rank", rank, group.rank)):
        if given not in (-1, None, right):
            raise ValueError(
                f"init_process_group: {what} is {right}, as the processes were started; got "
                f"{given}. Start them with mpiexec -n {max(world_size, 1)}, or leave it out."
            )
    if isinstance(group, mpi.MpiGroup) and group.size > 1:
        group.guard()
    _group = nccl.start(group) if name == "nccl" else group


def destroy_process_group(group: Group | None = None) -> None:
    """Leave the process group. A rank may then end without the others."""
    global _group
    group_given(group).close()
    if group is None or group is _group:
        _group = None


def abort(why: str, status: int = 1) -> None:
    """End all ranks with a sentence and a status, as an exception does; nothing if there is one."""
    if _group is not None:
        _group.abort(why, status)


def launched_ranks() -> int:
    """How many processes were started together with this one, itself included.

    >>> from tinygrad_cv import distributed as dist
    >>> if dist.launched_ranks() > 1:
    ...     dist.init_process_group()
    """
    return mpi.launched_ranks()


def group_given(group: Group | None) -> Group:
    """The group given, or for None that of the process."""
    if group is not None:
        if not isinstance(group, Group):
            raise TypeError(f"group is a process group or None; got {group!r}.")
        return group
    if _group is None:
        raise ValueError("there is no process group; call distributed.init_process_group() first.")
    return _group


def get_rank(group: Group | None = None) -> int:
    """The number of this process among those that work together, from 0 on; 0 without a group."""
    return 0 if group is None and _group is None else group_given(group).rank


def get_world_size(group: Group | None = None) -> int:
    """How many processes work together; 1 without a group."""
    return 1 if group is None and _group is None else group_given(group).size


def get_backend(group: Group | None = None) -> str:
    """Over what they speak: "mpi" or "nccl"."""
    return group_given(group).name
