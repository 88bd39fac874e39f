"""Locks that a forked child finds free: the thread that held one is not there to release it."""

import os
from threading import RLock
from weakref import WeakSet


class Locked:
    """What one thread at a time does: `with it.lock:`, in which the same thread may come again."""

    def __init__(self) -> None:
        self.lock = RLock()
        _all.add(self)


_all: WeakSet[Locked] = WeakSet()


def _after_fork() -> None:
    for each in [*_all]:
        each.lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
