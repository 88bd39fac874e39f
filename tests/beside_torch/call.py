"""One function of both libraries, and the calls to try it with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis.strategies import SearchStrategy


@dataclass(frozen=True)
class Call:
    """Arguments by position (arrays become tensors, other values pass) and by keyword.

    The keywords are the same for both libraries: that is part of what is tested.
    """

    inputs: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Beside:
    """A function that both libraries have, under one name.

    `ours` and `theirs` stand for the function of that name in `tinygrad_cv`, and in
    `torch.nn.functional` or `torch`. Its result is a tensor or a tuple of tensors.
    """

    name: str
    calls: SearchStrategy[Call]
    ours: Callable[..., Any] | None = None
    theirs: Callable[..., Any] | None = None
    gradients: bool = True
    rtol: float = 1e-9
