"""Gradients in flat buckets: each is averaged over the ranks while backward goes on.

A bucket is an array in which the gradients of several parameters lie one behind the other, so that
one message carries them. Backward makes the gradients of the last layers first, so the buckets are
filled from the last parameter on, and each is sent as soon as its last gradient is there (Li et
al., PyTorch Distributed: experiences on accelerating data parallel training, 2020).
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from tinygrad_cv._graph import ending
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv.backend import host
from tinygrad_cv.backend.recording import recording
from tinygrad_cv.distributed.group import Array, Group, ReduceOp, Work

FIRST = 1 << 20
"""The bytes of the first bucket at most: the sooner it is full, the sooner something is sent."""


class Bucket:
    """The places of some parameters in one array."""

    def __init__(self, group: Group, places: Sequence[tuple[int, Tensor]]) -> None:
        self.parameters = dict(places)
        first = places[0][1]
        self.slices: dict[int, slice] = {}
        start = 0
        for number, parameter in places:
            self.slices[number] = slice(start, start + parameter.numel())
            start += parameter.numel()
        self.backend = first._backend
        self.direct = group.takes(self.backend)
        if self.direct:
            with self.backend.active:
                self.flat: Array = self.backend.empty((start,), dtype=first.dtype)
        else:
            self.flat = host.empty(start, first.dtype)
        self.reset()

    def reset(self) -> None:
        """No gradient is there, and nothing was sent."""
        self.missing = set(self.parameters)
        self.work: Work | None = None

    def put(self, number: int, gradient: Tensor | None) -> None:
        """Copy a gradient to its place; None stands for 0."""
        values: Any = 0
        with self.backend.active:
            if gradient is not None:
                array = gradient._array
                values = (array if self.direct else self.backend.to_host(array)).reshape(-1)
            self.flat[self.slices[number]] = values
        self.missing.discard(number)

    def take(self, number: int) -> None:
        """Let the gradient of a parameter be what lies in its place."""
        parameter, backend = self.parameters[number], self.backend
        with backend.active:
            part = self.flat[self.slices[number]]
            if parameter._grad is None:
                zeros = backend.empty(parameter.shape, dtype=parameter.dtype)
                parameter._grad = wrap(zeros, backend)
            values = part if self.direct else backend.from_host(part)
            backend.assign(parameter._grad._array, ..., values.reshape(parameter.shape))
        parameter._grad._changed()


def divided(parameters: Sequence[Tensor], cap: float) -> list[list[int]]:
    """The numbers of the parameters, bucket by bucket, from the last one on.

    Those of a bucket have one dtype and device, and together at most `cap` bytes (the first bucket
    at most `FIRST`), unless it is a single one.
    """
    buckets: list[list[int]] = []
    open_: dict[Any, tuple[list[int], int]] = {}
    for number in reversed(range(len(parameters))):
        parameter = parameters[number]
        kind = parameter.dtype, parameter.device
        bucket, size = open_.get(kind, ([], 0))
        limit = min(FIRST, cap) if not bucket or bucket is buckets[0] else cap
        if not bucket or size + parameter.nbytes > limit:
            bucket, size = [], 0
            buckets.append(bucket)
        bucket.append(number)
        open_[kind] = bucket, size + parameter.nbytes
    return buckets


class Averaging:
    """Averages the gradients of parameters over the ranks during backward passes.

    It looks on at each pass while `active`. When the pass ends, all is done: every rank has the
    same bits. A parameter to which a pass gives no gradient on this rank is an error, unless
    `unused` ones are allowed: it then counts as 0, and keeps none if it has none on any rank.
    """

    def __init__(
        self, group: Group, named: Iterable[tuple[str, Tensor]], cap: float, unused: bool
    ) -> None:
        self.group, self.unused = group, unused
        self.names, parameters = zip(*named, strict=True)
        self.parameters: Sequence[Tensor] = parameters
        self.buckets = [
            Bucket(group, [(number, parameters[number]) for number in numbers])
            for numbers in divided(parameters, cap)
        ]
        self.of = {number: bucket for bucket in self.buckets for number in bucket.parameters}
        self.active = self.running = False
        self.sent = 0
        self.handles = [
            parameter.register_post_accumulate_grad_hook(partial(self.arrive, number))
            for number, parameter in enumerate(parameters)
        ]

    def close(self) -> None:
        """Look on no more."""
        for handle in self.handles:
            handle.remove()

    def arrive(self, number: int, parameter: Tensor) -> None:
        """The gradient of a parameter is there."""
        if not self.active:
            return
        if not self.running:
            self.begin()
        gradient = parameter._grad
        if gradient is None:
            return
        if gradient.requires_grad:
            raise RuntimeError(
                "backward(create_graph=True) through a DistributedDataParallel: the average over "
                "the ranks is not differentiated. Call it on the module inside."
            )
        bucket = self.of[number]
        if recording.get() is not None:
            bucket.missing.discard(number)
            return
        if bucket.work is not None:
            raise RuntimeError(
                f"the parameter {self.names[number]} got a gradient in a backward pass after its "
                "bucket was sent; was it frozen and freed again between two uses?"
            )
        bucket.put(number, gradient)
        self.send()
        self.group.progress()

    def begin(self) -> None:
        """A backward pass has given its first gradient."""
        last = ending.get()
        assert last is not None
        last.append(self.finish)
        self.running, self.sent = True, 0
        for bucket in self.buckets:
            bucket.reset()

    def send(self) -> None:
        """Send the buckets that are full, in their order, which all ranks must keep."""
        for bucket in self.buckets[self.sent :]:
            if bucket.missing:
                return
            bucket.work = self.group.all_reduce(bucket.flat, ReduceOp.AVG)
            self.sent += 1

    def finish(self) -> None:
        """The pass is at its end: send the rest, wait, and give the averages."""
        self.running = False
        missing = sorted(number for bucket in self.buckets for number in bucket.missing)
        if missing and not self.unused:
            names = ", ".join(self.names[number] for number in missing[:5])
            raise RuntimeError(
                f"{len(missing)} parameter(s) of a DistributedDataParallel got no gradient in a "
                f"backward pass: {names}{', ...' if len(missing) > 5 else ''}. Leave them out "
                "(requires_grad=False, before it is made), use them, or pass "
                "find_unused_parameters=True."
            )
        recorder = recording.get()
        if recorder is None:
            self.average(missing)
        else:  # now and at each replay: one call, with the gradients it finds
            recorder.host_call(self.average_all, list(self.parameters))

    def average_all(self) -> None:
        """Average all gradients as they are now, after a pass that was not looked at."""
        self.sent = 0
        for bucket in self.buckets:
            bucket.reset()
        self.average(range(len(self.parameters)))

    def average(self, missing: Iterable[int]) -> None:
        """Average all gradients; those that are `missing` are not in their buckets yet."""
        for number in missing:
            self.of[number].put(number, self.parameters[number]._grad)
        self.send()
        used = None
        if self.unused:
            used = host.array([p._grad is not None for p in self.parameters])
            self.group.all_reduce(used, ReduceOp.MAX).wait()
        for bucket in self.buckets:
            assert bucket.work is not None
            bucket.work.wait()
            for number in bucket.parameters:
                if used is None or used[number]:
                    bucket.take(number)
