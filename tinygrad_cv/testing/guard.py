"""Who writes into what it was only lent: inputs of an op, g and saved values of its rules."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from tinygrad_cv._graph import Observer, observer
from tinygrad_cv._reading import Raw, raw
from tinygrad_cv.backend import host
from tinygrad_cv.testing.report import GradientError


@contextmanager
def guarded() -> Iterator[None]:
    """Inside it, an op that writes into an input, into g or into a saved value is an error.

    On the host they are read-only while the op runs; elsewhere they are compared with copies.

    >>> import tinygrad_cv as tg
    >>> class Destroyer(tg.Op, register=False):
    ...     def forward(self, xp, x):
    ...         return xp.exp(x, out=x)
    ...
    ...     def local_x(self, F, y):
    ...         return y
    >>> with guarded():
    ...     tg.function(Destroyer)(tg.ones(2))
    Traceback (most recent call last):
    tinygrad_cv.testing.report.GradientError: the forward of destroyer wrote into its input x.
    """
    token = observer.set(Guard())
    try:
        yield
    finally:
        observer.reset(token)


class Guard(Observer):
    """Lends arrays to ops, and says who wrote into what."""

    def forward(self, op: Any, backend: Any, arrays: Iterable[Any]) -> Any:
        run, arrays = super().forward, list(arrays)
        if op.views:  # which stays as writable as the input is
            return run(op, backend, arrays)
        result, intact = lend(backend, arrays, lambda: run(op, backend, arrays))
        if intact:
            return result
        place = culprit(backend, arrays, lambda values: run(op, backend, values))
        into = "one of its inputs"
        if place is not None:
            into = f"its input {op.inputs[min(place, len(op.inputs) - 1)]}"
        raise GradientError(f"the forward of {op.name} wrote into {into}.")

    def backward(self, reading: Any, node: Any, gradient: Any, useful: Any) -> Any:
        backend, run, g = node.backend, super().backward, reading.memory(gradient)
        lent = [g, *(node.saved or ())]
        result, intact = lend(backend, lent, lambda: run(reading, node, gradient, useful))
        # Where memory cannot be protected, the rules of others are lent copies (see `Raw.lent`).
        unseen = node.op.foreign and backend.device != "cpu" and isinstance(reading, Raw)
        if intact and not unseen:
            return result
        op, plan, given = node.op, node.plan, raw(backend).values(node)
        rules = [
            (f"rule of {op.name} for {op.inputs[at if isinstance(at, int) else -1]}", rule, slots)
            for at, rule, slots in plan.rules
        ]
        if plan.fused is not None:
            rules.append((f"fused rule of {op.name}", *plan.fused))
        for who, rule, slots in rules:
            place = culprit(
                backend,
                [g, *(given[slot] for slot in slots)],
                partial(starred, partial(rule, op, raw(backend))),
            )
            if place is not None:
                into = ["g", *(f"its saved value {plan.names[slot]}" for slot in slots)][place]
                raise GradientError(f"the {who} wrote into {into}.")
        if intact:
            return result
        raise GradientError(f"a rule of {op.name} wrote into g or into a saved value.")


def starred(function: Callable[..., Any], values: list[Any]) -> Any:
    """The function of all these values."""
    return function(*values)


def culprit(backend: Any, values: list[Any], run: Callable[[list[Any]], Any]) -> int | None:
    """The place of the first value that `run(values)` writes into; it is given copies."""
    for place in range(len(values)):
        copies = [copied(backend, value) for value in values]
        if not lend(backend, [copies[place]], partial(run, copies))[1]:
            return place
    return None


def lend(backend: Any, values: list[Any], run: Callable[[], Any]) -> tuple[Any, bool]:
    """What `run()` gives, and whether it left the arrays among the values as they were."""
    arrays = flat(values)
    on_host = [a for a in arrays if isinstance(a, host.ndarray) and a.flags.writeable]
    elsewhere = [(a, copied(backend, a)) for a in arrays if not isinstance(a, host.ndarray)]
    for array in on_host:
        array.flags.writeable = False
    try:
        result = run()
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        return None, False
    finally:
        for array in on_host:
            with suppress(ValueError):  # a view of an array that is lent to somebody else as well
                array.flags.writeable = True
    intact = True
    for array, before in elsewhere:
        old, new = backend.to_host(before), backend.to_host(array)
        if not host.array_equal(old, new, equal_nan=old.dtype.kind in "fc"):
            backend.assign(array, ..., before)
            intact = False
    return result, intact


def copied(backend: Any, value: Any) -> Any:
    """A value with memory of its own, if it is an array or a tuple of some."""
    if isinstance(value, tuple):
        return tuple(copied(backend, part) for part in value)
    return backend.array(value, None) if hasattr(value, "dtype") else value


def flat(values: Iterable[Any]) -> list[Any]:
    """The arrays among the values, also those inside tuples, each once."""
    parts = [part for v in values for part in (v if isinstance(v, tuple) else (v,))]
    return list({id(part): part for part in parts if hasattr(part, "dtype")}.values())
