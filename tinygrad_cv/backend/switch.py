"""Which kernels compute on the CPU: NumPy's, or those that numba compiles for it."""

import importlib.util
import os
from collections.abc import Mapping

from tinygrad_cv._public import TOP, public

KINDS = ("compiled", "numpy")
INSTALL = 'install the extra "fast": pip install tinygrad_cv[fast]'


def has_numba() -> bool:
    """Whether it is installed; it is imported when the first kernel runs."""
    return importlib.util.find_spec("numba") is not None


class _Kernels:
    """What is chosen, for the whole process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        wanted = environment.get("TINYGRAD_CV_KERNELS", "").strip()
        if wanted and wanted not in KINDS:
            raise ValueError(
                f"the environment variable TINYGRAD_CV_KERNELS is {wanted!r}; expected 'compiled' "
                "or 'numpy'. Unset it for compiled kernels where numba is installed."
            )
        if wanted == "compiled" and not has_numba():
            raise ValueError(f"TINYGRAD_CV_KERNELS is 'compiled', and numba is missing; {INSTALL}.")
        self.compiled = wanted != "numpy" and has_numba()


KERNELS = _Kernels(os.environ)


@public(TOP)
def get_kernels() -> str:
    """Which kernels compute on the CPU: "compiled" or "numpy" (see `set_kernels`).

    >>> get_kernels() in ("compiled", "numpy")
    True
    """
    return "compiled" if KERNELS.compiled else "numpy"


@public(TOP)
def set_kernels(kind: str) -> None:
    """Choose the kernels that compute on the CPU from now on, in all threads.

    "numpy" is plain NumPy, the reference, readable and complete. "compiled" are those that numba
    compiles for this CPU on their first use, and keeps for the next time; it is what is used at
    first where the extra `fast` is installed, unless the environment variable TINYGRAD_CV_KERNELS
    says numpy. They compute the same, up to rounding.

    Raises ValueError for another word, and ImportError for "compiled" without numba.

    >>> before = get_kernels()
    >>> set_kernels("numpy")
    >>> get_kernels()
    'numpy'
    >>> set_kernels(before)
    """
    if kind not in KINDS:
        raise ValueError(f"set_kernels: 'compiled' or 'numpy'; got {kind!r}.")
    if kind == "compiled" and not has_numba():
        raise ImportError(f"set_kernels('compiled') needs numba; {INSTALL}.")
    KERNELS.compiled = kind == "compiled"
