"""Tensors between processes: each function is called by all ranks of the group, in the same order.

They work in place, as PyTorch's: what comes is written into the tensors given, past autograd (for a
sum that is differentiated see `differentiable_sum`). All dtypes of ours are taken, on any device;
the tensors of all ranks have the same shape and dtype. With `async_op` a function returns at once,
with a `Work` whose `wait()` returns when the result is there.
"""

import pickle
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from tinygrad_cv import backend as backends
from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv.autograd.function import Function
from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import Backend
from tinygrad_cv.backend.recording import recording, refuse
from tinygrad_cv.distributed.group import Array, Group, ReduceOp, Work
from tinygrad_cv.distributed.state import group_given
from tinygrad_cv.ops.shape import cat

SUM = ReduceOp.SUM


def taken(group: Group, tensor: Any, what: str) -> Array:
    """A copy of the numbers of a tensor where the group takes them, without gaps."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{what} takes tensors; got {type(tensor).__name__}.")
    if recording.get() is not None:
        refuse(
            f"{what}, which waits for other processes,",
            "Leave it out of what is compiled: compile the model, and communicate outside.",
        )
    return copied(group, tensor._backend, tensor._array)


def copied(group: Group, backend: Backend, array: Array) -> Array:
    """A copy of an array where the group takes it, without gaps."""
    if not group.takes(backend):
        return host.array(backend.to_host(array), order="C")
    with backend.active:
        copy = backend.empty(array.shape, dtype=array.dtype)
        copy[...] = array
    return copy


def give(tensor: Tensor, array: Array) -> None:
    """Write an array of the group's into a tensor, which has as many elements."""
    backend = tensor._backend
    with backend.active:
        array = array.reshape(tensor.shape)
        if isinstance(array, host.ndarray) and backend.device != "cpu":
            array = backend.from_host(array)
    tensor.detach().copy_(wrap(array, backend))


def empty_like(group: Group, x: Array, *shape: int) -> Array:
    """Memory for `shape` arrays such as x, at the same place."""
    if isinstance(x, host.ndarray):
        return host.empty((*shape, *x.shape), x.dtype)
    backend = group.backend  # type: ignore[attr-defined]
    with backend.active:
        return backend.empty((*shape, *x.shape), dtype=x.dtype)


def _done(work: Work, async_op: bool) -> Work | None:
    if async_op:
        return work
    work.wait()
    return None


def _rank(group: Group, rank: Any, name: str) -> int:
    """A rank that is one of the group."""
    if not isinstance(rank, int) or isinstance(rank, bool) or not 0 <= rank < group.size:
        raise ValueError(
            f"{name} is a rank of {group.size}, from 0 to {group.size - 1}; got {rank!r}."
        )
    return rank


def _op(op: Any, tensor: Any) -> ReduceOp:
    if not isinstance(op, ReduceOp):
        raise TypeError(f"op is one of {', '.join(map(str, ReduceOp))}; got {op!r}.")
    if isinstance(tensor, Tensor):
        op.check(tensor.dtype)
    return op


def _alike(tensors: Any, tensor: Tensor, group: Group, name: str) -> Sequence[Tensor]:
    """One tensor for each rank, of the shape and dtype of `tensor`."""
    if not isinstance(tensors, list | tuple) or len(tensors) != group.size:
        given = len(tensors) if isinstance(tensors, list | tuple) else type(tensors).__name__
        raise ValueError(
            f"{name} is a list of {group.size} tensors, one for each rank; got {given}."
        )
    for x in tensors:
        if not isinstance(x, Tensor) or (x.shape, x.dtype) != (tensor.shape, tensor.dtype):
            got = f"{x.dtype} {x.shape}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(
                f"{name} holds tensors such as the one that is sent, {tensor.dtype} "
                f"{tensor.shape}; got {got}."
            )
    return tensors


def all_reduce(
    tensor: Tensor, op: ReduceOp = SUM, group: Group | None = None, async_op: bool = False
) -> Work | None:
    """The tensor becomes the sum (or what `op` says) of the tensors of all ranks.

    Every rank has the same bits afterwards.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import distributed as dist
    >>> dist.init_process_group()
    >>> x = tg.tensor([1.0, 2.0])
    >>> dist.all_reduce(x)  # of one process
    >>> x
    tensor([1., 2.])
    >>> dist.destroy_process_group()
    """
    group, op = group_given(group), _op(op, tensor)
    x = taken(group, tensor, "all_reduce")
    return _done(group.all_reduce(x, op).before(lambda: give(tensor, x)), async_op)


def reduce(
    tensor: Tensor,
    dst: int,
    op: ReduceOp = SUM,
    group: Group | None = None,
    async_op: bool = False,
) -> Work | None:
    """On the rank `dst` the tensor becomes the sum (or what `op` says) of those of all ranks."""
    group, op = group_given(group), _op(op, tensor)
    root = _rank(group, dst, "dst")
    x = taken(group, tensor, "reduce")
    work = group.reduce(x, root, op)
    return _done(work.before(lambda: give(tensor, x)) if group.rank == root else work, async_op)


def broadcast(
    tensor: Tensor, src: int, group: Group | None = None, async_op: bool = False
) -> Work | None:
    """The tensor becomes that of the rank `src`."""
    group = group_given(group)
    root = _rank(group, src, "src")
    x = taken(group, tensor, "broadcast")
    work = group.broadcast(x, root)
    return _done(work if group.rank == root else work.before(lambda: give(tensor, x)), async_op)


def all_gather(
    tensor_list: list[Tensor],
    tensor: Tensor,
    group: Group | None = None,
    async_op: bool = False,
) -> Work | None:
    """tensor_list[r] becomes the tensor of rank r.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import distributed as dist
    >>> dist.init_process_group()
    >>> parts = [tg.zeros(2)]
    >>> dist.all_gather(parts, tg.ones(2))
    >>> parts
    [tensor([1., 1.])]
    >>> dist.destroy_process_group()
    """
    group = group_given(group)
    x = taken(group, tensor, "all_gather")
    targets = _alike(tensor_list, tensor, group, "tensor_list")
    parts = empty_like(group, x, group.size)
    return _done(group.all_gather(parts, x).before(lambda: _deal(targets, parts)), async_op)


def _deal(targets: Sequence[Tensor], parts: Array) -> None:
    with targets[0]._backend.active:
        each = list(parts)
    for target, part in zip(targets, each, strict=True):
        give(target, part)


def all_gather_into_tensor(
    output_tensor: Tensor,
    input_tensor: Tensor,
    group: Group | None = None,
    async_op: bool = False,
) -> Work | None:
    """The output becomes the inputs of all ranks, one after the other along the first axis.

    Of an input (n, *S) it is (size · n, *S), or (size, n, *S).
    """
    group = group_given(group)
    x = taken(group, input_tensor, "all_gather_into_tensor")
    _of_all(output_tensor, input_tensor, group, "output_tensor", "input_tensor")
    parts = empty_like(group, x, group.size)
    work = group.all_gather(parts, x)
    return _done(work.before(lambda: give(output_tensor, parts)), async_op)


def _of_all(whole: Any, part: Tensor, group: Group, name: str, part_name: str) -> None:
    """Raise unless a tensor has room for, or holds, those of all ranks."""
    if not isinstance(whole, Tensor):
        raise TypeError(f"{name} is a tensor; got {type(whole).__name__}.")
    stacked = (group.size, *part.shape)
    joined = (group.size * part.shape[0], *part.shape[1:]) if part.ndim else (group.size,)
    if whole.shape not in (stacked, joined) or whole.dtype != part.dtype:
        raise ValueError(
            f"{name} is {part.dtype} of the shape {joined} or {stacked} for {group.size} rank(s) "
            f"and an {part_name} of {part.shape}; got {whole.dtype} {whole.shape}."
        )


def gather(
    tensor: Tensor,
    gather_list: list[Tensor] | None = None,
    dst: int = 0,
    group: Group | None = None,
    async_op: bool = False,
) -> Work | None:
    """On the rank `dst`, gather_list[r] becomes the tensor of rank r; elsewhere it is None."""
    group = group_given(group)
    root = _rank(group, dst, "dst")
    x = taken(group, tensor, "gather")
    if group.rank != root:
        return _done(group.gather(None, x, root), async_op)
    targets = _alike(gather_list, tensor, group, "gather_list")
    parts = empty_like(group, x, group.size)
    return _done(group.gather(parts, x, root).before(lambda: _deal(targets, parts)), async_op)


def scatter(
    tensor: Tensor,
    scatter_list: list[Tensor] | None = None,
    src: int = 0,
    group: Group | None = None,
    async_op: bool = False,
) -> Work | None:
    """The tensor of rank r becomes scatter_list[r] of the rank `src`; elsewhere that is None."""
    group = group_given(group)
    root = _rank(group, src, "src")
    x = taken(group, tensor, "scatter")
    parts = None
    if group.rank == root:
        sources = _alike(scatter_list, tensor, group, "scatter_list")
        parts = empty_like(group, x, group.size)
        for k, source in enumerate(sources):
            with tensor._backend.active:
                parts[k] = taken(group, source, "scatter")
    return _done(group.scatter(x, parts, root).before(lambda: give(tensor, x)), async_op)


def reduce_scatter_tensor(
    output: Tensor,
    input: Tensor,
    op: ReduceOp = SUM,
    group: Group | None = None,
    async_op: bool = False,
) -> Work | None:
    """The output becomes this rank's part of the sum (or what `op` says) of all inputs.

    Of an output (n, *S) the input is (size · n, *S) or (size, n, *S).
    """
    group, op = group_given(group), _op(op, output)
    x = taken(group, output, "reduce_scatter_tensor")
    parts = taken(group, input, "reduce_scatter_tensor")
    _of_all(input, output, group, "input", "output")
    work = group.reduce_scatter(x, parts, op)
    return _done(work.before(lambda: give(output, x)), async_op)


def isend(tensor: Tensor, dst: int, group: Group | None = None, tag: int = 0) -> Work:
    """Hand the tensor to the rank `dst`, which calls `recv`; `wait()` returns when it is handed."""
    group = group_given(group)
    x = taken(group, tensor, "send")
    return group.send(x, _rank(group, dst, "dst"), tag)


def irecv(tensor: Tensor, src: int | None = None, group: Group | None = None, tag: int = 0) -> Work:
    """The tensor becomes what the rank `src` sends, or any one, once `wait()` has returned."""
    group = group_given(group)
    x = taken(group, tensor, "recv")
    source = None if src is None else _rank(group, src, "src")
    return group.receive(x, source, tag).before(lambda: give(tensor, x))


def send(tensor: Tensor, dst: int, group: Group | None = None, tag: int = 0) -> None:
    """Hand the tensor to the rank `dst`, which calls `recv` with the same tag."""
    isend(tensor, dst, group, tag).wait()


def recv(tensor: Tensor, src: int | None = None, group: Group | None = None, tag: int = 0) -> int:
    """The tensor becomes what the rank `src` sends, or any one; returns which one it was."""
    work = irecv(tensor, src, group, tag)
    work.wait()
    assert work.source is not None
    return work.source


def barrier(
    group: Group | None = None, async_op: bool = False, device_ids: Any = None
) -> Work | None:
    """Return when all ranks have come here."""
    return _done(group_given(group).barrier(), async_op)


# ----- objects -----------------------------------------------------------------------------------


def all_gather_object(object_list: list[Any], obj: Any, group: Group | None = None) -> None:
    """object_list[r] becomes the object of rank r, as `pickle` brings it over.

    >>> from tinygrad_cv import distributed as dist
    >>> dist.init_process_group()
    >>> names = [None]
    >>> dist.all_gather_object(names, {"host": "a"})
    >>> names
    [{'host': 'a'}]
    >>> dist.destroy_process_group()
    """
    group = group_given(group)
    if len(object_list) != group.size:
        raise ValueError(
            f"object_list has a place for each of {group.size} rank(s); got {len(object_list)}."
        )
    mine = host.frombuffer(pickle.dumps(obj), "uint8")
    sizes = host.zeros((group.size, 1), "int64")
    group.all_gather(sizes, host.array([len(mine)], "int64")).wait()
    parts = host.zeros((group.size, int(sizes.max())), "uint8")
    padded = host.zeros(parts.shape[1], "uint8")
    padded[: len(mine)] = mine
    group.all_gather(parts, padded).wait()
    object_list[:] = [
        pickle.loads(part[:size].tobytes())
        for part, size in zip(parts, sizes[:, 0].tolist(), strict=True)
    ]


def broadcast_object_list(
    object_list: list[Any], src: int = 0, group: Group | None = None, device: Any = None
) -> None:
    """The objects in the list become those of the rank `src`, as `pickle` brings them over."""
    group = group_given(group)
    root = _rank(group, src, "src")
    mine = host.frombuffer(pickle.dumps(list(object_list)), "uint8").copy()
    size = host.array([len(mine)], "int64")
    group.broadcast(size, root).wait()
    if group.rank != root:
        mine = host.empty(int(size[0]), "uint8")
    group.broadcast(mine, root).wait()
    if group.rank != root:
        object_list[:] = pickle.loads(mine.tobytes())


# ----- models ------------------------------------------------------------------------------------


def check_alike(group: Group, named: Iterable[tuple[str, Tensor]]) -> None:
    """Raise on every rank if the tensors of the ranks have other names, shapes or dtypes."""
    mine = [f"{name}: {x.dtype} {tuple(x.shape)}" for name, x in named]
    lists: list[list[str]] = [[]] * group.size
    all_gather_object(lists, mine, group)
    for rank, theirs in enumerate(lists):
        for k, (a, b) in enumerate(zip_longest(lists[0], theirs, fillvalue="none")):
            if a != b:
                raise RuntimeError(
                    f"the ranks have different models: tensor {k} of rank 0 is {a}, of rank {rank} "
                    f"{b}. All ranks must make the same model."
                )


def broadcast_together(group: Group, tensors: Iterable[Tensor]) -> None:
    """Let tensors be those of rank 0: one message for all of a dtype and device."""
    if group.size == 1:
        return
    alike: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        alike.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for same in alike.values():
        with no_grad():
            x = cat([tensor.detach().reshape(-1) for tensor in same])
            broadcast(x, 0, group)
            if group.rank:
                start = 0
                for tensor in same:
                    part = x[start : start + tensor.numel()]
                    tensor.detach().copy_(part.reshape(tensor.shape))
                    start += tensor.numel()


# ----- with gradients ----------------------------------------------------------------------------


class _Total:
    """Σ over ranks of an array, as a new one: what a recorded program calls at each replay."""

    def __init__(self, group: Group, device: Any) -> None:
        self.group, self.device = group, device

    def __repr__(self) -> str:
        return "sum over ranks"

    def __call__(self, array: Array) -> Array:
        backend = backends.get(self.device)
        x = copied(self.group, backend, array)
        self.group.all_reduce(x, SUM).wait()
        return x if self.group.takes(backend) else backend.from_host(x)


class _SumOverRanks(Function):
    """What changes x on one rank changes y on all: so the gradients of all are added up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group = group
        total, recorder = _Total(group, x.device), recording.get()
        if recorder is None:
            return wrap(total(x._array), x._backend)
        return wrap(recorder.note_call("call", (total, x._array), {}), x._backend)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return _SumOverRanks.apply(g, ctx.group), None


def differentiable_sum(tensor: Tensor, group: Group | None = None) -> Tensor:
    """Σ of the tensors of all ranks, as a new tensor. Its gradient is the sum of their gradients.

    The loss that is differentiated is then the sum of the losses of all ranks.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import distributed as dist
    >>> dist.init_process_group()
    >>> dist.differentiable_sum(tg.tensor([1.0, 2.0], requires_grad=True))
    tensor([1., 2.], grad_fn=<_SumOverRanks>)
    >>> dist.destroy_process_group()
    """
    total: Tensor = _SumOverRanks.apply(tensor, group_given(group))
    return total
