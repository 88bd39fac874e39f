"""`torch.jit` as it is with PYTORCH_JIT=0: programs run as they are written, in Python.

`script` and the other decorators give back what they get; nothing is traced or compiled.

>>> from tinygrad_cv import jit
>>> @jit.script
... def mish(x):
...     return x * x.softplus().tanh()
>>> jit.is_scripting()
False
"""

from typing import Any, Final, TypeVar

from tinygrad_cv.nn.module import Module

__all__ = [
    "Final",
    "ScriptModule",
    "annotate",
    "export",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "script",
    "script_if_tracing",
    "script_method",
    "unused",
]

Given = TypeVar("Given")


class ScriptModule(Module):
    """A module. PyTorch compiles the methods of a class that derives from it; here they run."""


def script(
    obj: Given,
    optimize: Any = None,
    _frames_up: int = 0,
    _rcb: Any = None,
    example_inputs: Any = None,
) -> Given:
    """`obj` itself: a function, a class or a module."""
    return obj


def script_method(fn: Given) -> Given:
    """`fn` itself, as of all decorators here."""
    return fn


script_if_tracing = export = unused = interface = script_method


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """A decorator without effect, as `@ignore` or `@ignore(drop=True)`."""
    return drop if callable(drop) else script_method


def annotate(the_type: Any, the_value: Given) -> Given:
    """The value itself."""
    return the_value


def is_scripting() -> bool:
    """False: nothing is compiled."""
    return False


def is_tracing() -> bool:
    """False: nothing is traced."""
    return False
