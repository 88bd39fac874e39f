"""What a Trainer does together with other processes: each has its part of every batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv._trees import mapped, tensors_in
from tinygrad_cv.data import DataLoader
from tinygrad_cv.distributed.buckets import Averaging
from tinygrad_cv.distributed.collectives import (
    all_gather_object,
    broadcast_object_list,
    broadcast_together,
    check_alike,
)
from tinygrad_cv.distributed.group import Group, part_of
from tinygrad_cv.distributed.state import get_rank, get_world_size, group_given
from tinygrad_cv.nn import Module
from tinygrad_cv.nn.parallel import DistributedDataParallel
from tinygrad_cv.train.sums import Sums

BUCKET = 25 << 20
"""The bytes of a bucket of gradients."""


class Ranks:
    """The ranks that fit one model. Of one process it does nothing."""

    def __init__(self) -> None:
        self.size, self.rank = get_world_size(), get_rank()
        self.averaging: Averaging | None = None

    @property
    def group(self) -> Group:
        return group_given(None)

    @contextmanager
    def averaging_gradients(self, model: Module, parameters: list[Tensor]) -> Iterator[None]:
        """A block in which gradients are averaged; all ranks begin with the model of rank 0."""
        if self.size == 1:
            yield
            return
        named: dict[str, Tensor] = dict(model.named_parameters())
        known = {id(parameter) for parameter in named.values()}
        others = (p for p in parameters if id(p) not in known)
        named |= {f"other parameter {k}": p for k, p in enumerate(others)}
        buffers = dict(model.named_buffers())
        check_alike(self.group, [*named.items(), *buffers.items()])
        broadcast_together(self.group, [*named.values(), *buffers.values()])
        learning = [(name, p) for name, p in named.items() if p.requires_grad]
        if not isinstance(model, DistributedDataParallel) and learning:
            self.averaging = Averaging(self.group.duplicate(), learning, BUCKET, unused=True)
        try:
            yield
        finally:
            if self.averaging is not None:
                self.averaging.close()
                self.averaging = None

    @contextmanager
    def sharing(self, *loaders: Any) -> Iterator[None]:
        """A block in which DataLoaders make just this rank's part of their batches."""
        alone = [x for x in loaders if isinstance(x, DataLoader) and not is_shared_out(x)]
        alone = alone if self.size > 1 else []
        for loader in alone:
            loader.share = self.rank, self.size
        try:
            yield
        finally:
            for loader in alone:
                loader.share = 0, 1

    def average(self, model: Module, last: bool) -> None:
        """Let the next backward pass average the gradients if it is the `last` one of a step."""
        if isinstance(model, DistributedDataParallel):
            model.require_backward_grad_sync = last
        elif self.averaging is not None:
            self.averaging.active = last

    def part(self, batch: Any, size: int, shared: bool) -> tuple[Any, tuple[int, int, int]]:
        """This rank's part of a batch of so many samples, and its place: (first, end, of all).

        What is `shared` out already is a part.
        """
        if self.size == 1:
            return batch, (0, size, size)
        if shared:
            sizes = self.all(size)
            first = sum(sizes[: self.rank])
            return batch, (first, first + size, sum(sizes))
        first, end = part_of(size, self.rank, self.size)

        def cut(x: Any) -> Any:
            return x[first:end] if isinstance(x, Tensor) and x.ndim and len(x) == size else x

        return mapped(cut, batch), (first, end, size)

    def all(self, thing: Any) -> list[Any]:
        """What each rank has, in their order."""
        if self.size == 1:
            return [thing]
        things = [None] * self.size
        all_gather_object(things, thing)
        return things

    def first(self, make: Callable[[], Any]) -> Any:
        """What rank 0 makes."""
        if self.size == 1:
            return make()
        things = [make() if self.rank == 0 else None]
        broadcast_object_list(things)
        return things[0]

    def total(self, sums: Sums) -> Sums:
        """The sums of all ranks."""
        if self.size == 1:
            return sums
        whole = Sums()
        for part in self.all(sums):
            whole.take(part)
        return whole

    def share_buffers(self, model: Module) -> None:
        """Let the buffers be those of rank 0."""
        if self.size > 1:
            broadcast_together(self.group, model.buffers())


def is_shared_out(loader: Any) -> bool:
    """Whether a loader gives each rank samples of its own: by itself, or by a sampler."""
    if getattr(loader, "share", (0, 1))[1] > 1:
        return True
    batches = getattr(loader, "batch_sampler", None)
    samplers = (getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None))
    return any(getattr(sampler, "num_replicas", 1) > 1 for sampler in samplers)


def nothing_of(outputs: Any) -> Tensor:
    """A loss of 0, of a batch without samples: its gradients are 0, and all layers see them."""
    return next(tensors_in(outputs)).sum() * 0
