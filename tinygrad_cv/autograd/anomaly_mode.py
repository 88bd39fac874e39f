"""Where a NaN in a backward pass comes from."""

import traceback
import weakref
from functools import partial
from pathlib import Path
from typing import Any

from tinygrad_cv._graph import Node, Observer, failed, observer
from tinygrad_cv._op import is_float
from tinygrad_cv._public import AUTOGRAD, public
from tinygrad_cv.backend.recording import recording

PACKAGE = str(Path(__file__).parent.parent)
"""Frames from in here are not where the user called."""


class _Anomalies(Observer):
    """Remembers where each op was called, and looks for NaN in what its rules give.

    While it looks on, so does the observer that was there before.
    """

    def __init__(self, before: Observer | None, check_nan: bool) -> None:
        self.before = before or Observer()
        self.everything = self.before.everything
        self.check_nan = check_nan
        self.calls: weakref.WeakKeyDictionary[Node, str] = weakref.WeakKeyDictionary()

    def forward(self, op: Any, backend: Any, arrays: Any) -> Any:
        return self.before.forward(op, backend, arrays)

    def made(self, tensor: Any, inputs: tuple[Any, ...]) -> None:
        node = tensor._node
        if node is not None and node.op is not None:
            frames = [f for f in traceback.extract_stack() if not f.filename.startswith(PACKAGE)]
            where = "".join(traceback.format_list(frames[-8:]))
            for made in (node, *(node.parents() if node.op.name == "output" else ())):
                self.calls[made] = where
        self.before.made(tensor, inputs)

    def arrived(self, node: Node, gradient: Any) -> None:
        self.before.arrived(node, gradient)

    def backward(self, reading: Any, node: Node, gradient: Any, useful: Any) -> Any:
        try:
            sent = self.before.backward(reading, node, gradient, useful)
        except Exception as error:
            if node in self.calls:
                error.add_note(f"{node.label} was called here:\n{self.calls[node]}")
            raise
        for parent, share in sent if self.check_nan else ():
            with parent.backend.active:
                array = reading.on(parent.backend).memory(share)
            if is_float(array):
                look = partial(self._check, parent.backend, node, parent)
                recorder = recording.get()
                look(array) if recorder is None else recorder.check(look, array)
        return sent

    def _check(self, backend: Any, node: Node, parent: Node, array: Any) -> None:
        """Raise if there is a NaN in what a node sends to this one of its inputs."""
        with backend.active:
            if not bool(backend.isnan(array).any()):
                return
        place = list(node.parents()).index(parent)
        nan = RuntimeError(
            f"the backward of {node.label} of shape {node.shape} gave NaN as the gradient "
            f"of its input {place}, a {parent.label} of shape {parent.shape}. "
            + (
                f"It was called here:\n{self.calls[node]}"
                if node in self.calls
                else "It was called before detect_anomaly, which knows no more."
            )
        )
        failed(nan, node.op, node.inputs)
        raise nan


@public(AUTOGRAD)
class detect_anomaly:  # noqa: N801  PyTorch's name
    """Inside, a backward pass that makes a NaN is an error, which names the op and where it ran.

    Forward and backward both belong inside: each op then remembers where it was called, and an
    error in a rule says so, too. With `check_nan=False` only that is done. It costs a look at
    every gradient, which a GPU is waited for.

    >>> import tinygrad_cv as tg
    >>> x = tg.tensor(0.0, requires_grad=True)
    >>> with tg.autograd.detect_anomaly():
    ...     y = (x * 0).sqrt() * 0
    ...     y.backward()
    Traceback (most recent call last):
    RuntimeError: the backward of sqrt of shape () gave NaN as the gradient of its input 0, ...
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        self.before: list[Observer | None] = []

    def __enter__(self) -> None:
        self.before.append(observer.get())
        observer.set(_Anomalies(self.before[-1], self.check_nan))

    def __exit__(self, *error: object) -> None:
        observer.set(self.before.pop())


@public(AUTOGRAD)
class set_detect_anomaly:  # noqa: N801  PyTorch's name
    """Detect anomalies from now on in this thread, or not any more; as a context, only inside.

    >>> import tinygrad_cv as tg
    >>> with tg.autograd.set_detect_anomaly(True):
    ...     print(is_anomaly_enabled())
    True
    >>> is_anomaly_enabled()
    False
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.before = now = observer.get()
        if isinstance(now, _Anomalies):
            now = now.before if type(now.before) is not Observer else None
        observer.set(_Anomalies(now, check_nan) if mode else now)

    def __enter__(self) -> None:
        pass  # it holds since it was made

    def __exit__(self, *error: object) -> None:
        observer.set(self.before)


def is_anomaly_enabled() -> bool:
    """Whether anomalies are detected in this thread."""
    return isinstance(observer.get(), _Anomalies)
