"""PyTorch's switches of how numbers are computed; here there is one way, and they say so."""

from typing import Any

from tinygrad_cv._public import TOP, public

_asked = {"deterministic": False, "warn_only": False, "precision": "highest"}


@public(TOP)
def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted: on the CPU the same program gives the same bits in any case.

    >>> use_deterministic_algorithms(False)
    """
    _asked["deterministic"], _asked["warn_only"] = bool(mode), bool(warn_only)


@public(TOP)
def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was told; False at first.

    >>> are_deterministic_algorithms_enabled()
    False
    """
    return bool(_asked["deterministic"])


@public(TOP)
def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What `use_deterministic_algorithms` was told of warnings; False at first.

    >>> is_deterministic_algorithms_warn_only_enabled()
    False
    """
    return bool(_asked["warn_only"])


@public(TOP)
def set_float32_matmul_precision(precision: str) -> None:
    """Accepted: "highest", "high" or "medium"; products of float32 matrices have full precision.

    >>> set_float32_matmul_precision("highest")
    """
    if precision not in ("highest", "high", "medium"):
        raise ValueError(
            f"set_float32_matmul_precision: 'highest', 'high' or 'medium'; got {precision!r}."
        )
    _asked["precision"] = precision


@public(TOP)
def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was told; "highest" at first.

    >>> get_float32_matmul_precision()
    'highest'
    """
    return str(_asked["precision"])


@public(TOP)
def set_flush_denormal(mode: Any) -> bool:
    """False: numbers close to 0 stay what they are.

    >>> set_flush_denormal(True)
    False
    """
    return False


@public(TOP)
def get_num_interop_threads() -> int:
    """1: ops run one after the other; see `get_num_threads` for what each of them uses.

    >>> get_num_interop_threads()
    1
    """
    return 1


@public(TOP)
def set_num_interop_threads(num: int) -> None:
    """Accepted: ops run one after the other; see `set_num_threads`.

    >>> set_num_interop_threads(1)
    """
