"""Pruning is left out: whoever asks for a part of it is told what to use instead."""

from typing import Any


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"nn.utils.prune.{name} is not here: pruning is left out. Multiply the weight by a mask of "
        "0 and 1, as a parametrization (nn.utils.parametrize.register_parametrization)."
    )
