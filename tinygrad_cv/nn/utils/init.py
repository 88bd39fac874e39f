"""Modules without initial values."""

from collections.abc import Callable
from typing import TypeVar

from tinygrad_cv.nn.init import undrawn
from tinygrad_cv.nn.module import Module

Made = TypeVar("Made", bound=Module)


def skip_init(module_cls: Callable[..., Made], *args: object, **kwargs: object) -> Made:
    """A new module whose values nobody relies on: they are to be loaded, and are not drawn.

    >>> from tinygrad_cv import nn
    >>> skip_init(nn.Linear, 2, 3).weight.shape
    (3, 2)
    """
    with undrawn():
        return module_cls(*args, **kwargs)
