"""What a group of processes can do with arrays, and the group of one."""

from collections.abc import Callable
from enum import Enum
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.backend.base import Backend

Array = Any

WORLD = None
"""The group of all ranks, which stands wherever no group is given."""


class ReduceOp(Enum):
    """How the numbers of the ranks become one: SUM, AVG (the mean), PRODUCT, MIN, MAX, and of whole
    numbers bit by bit BAND, BOR and BXOR.

    Of truth values SUM and MAX say whether any is true, PRODUCT and MIN whether all are.
    """

    SUM = "sum"
    AVG = "avg"
    PRODUCT = "product"
    MIN = "min"
    MAX = "max"
    BAND = "band"
    BOR = "bor"
    BXOR = "bxor"

    def check(self, dtype: Any) -> None:
        """Raise TypeError for numbers that it does not take."""
        if self is ReduceOp.AVG and dtype.kind != "f":
            raise TypeError(f"ReduceOp.AVG is the mean of floats; got {dtype}. Use ReduceOp.SUM.")
        if self in (ReduceOp.BAND, ReduceOp.BOR, ReduceOp.BXOR) and dtype.kind == "f":
            raise TypeError(
                f"ReduceOp.{self.name} takes whole numbers or truth values; got {dtype}."
            )


class Work:
    """A piece of communication that has been started. `wait()` returns when its result is there."""

    source: int | None = None
    """From which rank it came, if it is one's receiving."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self._then: Callable[[], None] | None = then

    def _arrived(self) -> bool:
        """Whether the other ranks have done their part; by itself they need not."""
        return True

    def _await(self) -> None:
        """Return when they have."""

    def is_completed(self) -> bool:
        """Whether the result is there."""
        if self._then is not None and self._arrived():
            self._finish()
        return self._then is None

    def wait(self, timeout: Any = None) -> bool:
        """Return True once the result is there; `timeout` is that of the group."""
        if self._then is not None:
            self._await()
            self._finish()
        return True

    def _finish(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()

    def before(self, then: Callable[[], None]) -> "Work":
        """The same, and then this."""
        first = self._then

        def both() -> None:
            if first is not None:
                first()
            then()

        self._then = both
        return self


class Group:
    """Processes that compute together; this one is `rank` of `size`.

    Each method starts something that all ranks start in the same order (only send and recv are
    between two), and gives a `Work`. Arrays are without gaps, of any of our dtypes, and lie in host
    memory, or where `takes` says. Those of all ranks have the same shape.
    """

    name = "mpi"
    rank = 0
    size = 1

    def __deepcopy__(self, memo: Any) -> "Group":
        """Itself: a copy of a layer is for the same ranks."""
        return self

    def takes(self, backend: Backend) -> bool:
        """Whether it takes the arrays of this device as they are."""
        return backend.device == "cpu"

    def duplicate(self) -> "Group":
        """The same ranks once more: what they do there keeps an order of its own."""
        return self

    def progress(self) -> None:
        """Let what was started go on, if it does not by itself."""

    def close(self) -> None:
        """Nothing is communicated any more."""

    def abort(self, why: str, status: int) -> None:
        """End all ranks, if there are others, with a sentence and a status."""

    def all_reduce(self, x: Array, op: ReduceOp) -> Work:
        """x becomes what `op` makes of the x of all ranks; the same bits on each."""
        return Work()

    def reduce(self, x: Array, root: int, op: ReduceOp) -> Work:
        """On the root, x becomes what `op` makes of the x of all ranks."""
        return Work()

    def broadcast(self, x: Array, root: int) -> Work:
        """x becomes that of the root."""
        return Work()

    def all_gather(self, parts: Array, x: Array) -> Work:
        """parts[r] becomes the x of rank r. The shape of parts is (size, *x.shape)."""
        parts[0] = x
        return Work()

    def gather(self, parts: Array | None, x: Array, root: int) -> Work:
        """On the root, parts[r] becomes the x of rank r; on the others parts is None."""
        if parts is not None:
            parts[0] = x
        return Work()

    def scatter(self, x: Array, parts: Array | None, root: int) -> Work:
        """x becomes the root's parts[rank]; on the others parts is None."""
        if parts is not None:
            x[...] = parts[0]
        return Work()

    def reduce_scatter(self, x: Array, parts: Array, op: ReduceOp) -> Work:
        """x becomes what `op` makes of the part of this rank of `parts`, which has size of them."""
        x[...] = parts.reshape(x.shape)
        return Work()

    def send(self, x: Array, to: int, tag: int) -> Work:
        """Hand x to a rank that receives."""
        raise ValueError("send: there is one process, and no other to send to.")

    def receive(self, x: Array, source: int | None, tag: int) -> Work:
        """x becomes what a rank, or any one, sends. Then the `source` of the Work is that rank."""
        raise ValueError("recv: there is one process, and no other to receive from.")

    def barrier(self) -> Work:
        """Done when all ranks have come here."""
        return Work()


def part_of(total: int, rank: int, size: int) -> tuple[int, int]:
    """From where to where a rank has its part of so many; the parts differ by at most one.

    >>> [part_of(5, rank, 3) for rank in range(3)]
    [(0, 1), (1, 3), (3, 5)]
    """
    return total * rank // size, total * (rank + 1) // size


def flat_bytes(x: Array) -> Array:
    """The memory of an array without gaps, byte by byte."""
    return x.reshape(-1).view(host.uint8)
