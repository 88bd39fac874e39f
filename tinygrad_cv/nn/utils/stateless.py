"""The older place of `func.functional_call`: a module as a function of its parameters."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_cv.func import functional_call as functional_call


def __getattr__(name: str) -> Any:
    if name == "functional_call":
        from tinygrad_cv.func import functional_call  # which stands on nn

        return functional_call
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
