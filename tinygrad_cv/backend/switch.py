"""Which kernels compute on the CPU: NumPy's, or those that numba compiles for it."""

import importlib.util
import os
from collections.abc import Mapping

from tinygrad_cv._public import TOP, public

KINDS = ("compiled", "numpy")
PRECISIONS = ("exact", "fast")
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
        self.precision = environment.get("TINYGRAD_CV_CONV_PRECISION", "").strip() or "fast"
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"the environment variable TINYGRAD_CV_CONV_PRECISION is {self.precision!r}; "
                "expected 'exact' or 'fast'. Unset it for 'fast'."
            )


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


@public(TOP)
def get_conv_precision() -> str:
    """How 3x3 convolutions are computed: "exact" or "fast" (see `set_conv_precision`).

    >>> get_conv_precision() in ("exact", "fast")
    True
    """
    return KERNELS.precision


@public(TOP)
def set_conv_precision(precision: str) -> None:
    """Choose how compiled kernels compute 3x3 convolutions of float32 from now on, in all threads.

    "fast" takes Winograd's tiles (Lavin and Gray 2016) where they pay: stride 1, 24 channels or
    more (16 for gradients in weights). They need 2.25 or 4 multiplications for each result instead
    of 9, of numbers that are larger than the results. Against float64 the error ‖y - y*‖ / ‖y*‖ of
    results and of gradients in images is 5e-7 with 24 channels, 1e-6 with 128 and 2.3e-6 with 512,
    of gradients in weights 2e-7 to 6e-7. It is at most three times that of PyTorch's float32: up
    to 2.9 for images without negative numbers, 2.6 for gradients in images, and 2.2 (2.9 where
    PyTorch uses two threads) for those in weights.

    The error is relative to what is largest in a tile of 6 x 6 pixels: beside 1e30 a 1 is lost, and
    where a window sees nothing but 0, the result may be 1e-7 of its neighbours'. NaN and ∞ reach
    the windows that see them, and no others: where a result is not finite, all are computed as in
    "exact", which sums products and nothing else. Other convolutions, dtypes and devices are the
    same in both.

    At first it is "fast", unless the environment variable TINYGRAD_CV_CONV_PRECISION says exact.

    Raises ValueError for another word.

    >>> before = get_conv_precision()
    >>> set_conv_precision("exact")
    >>> get_conv_precision()
    'exact'
    >>> set_conv_precision(before)
    """
    if precision not in PRECISIONS:
        raise ValueError(f"set_conv_precision: 'exact' or 'fast'; got {precision!r}.")
    KERNELS.precision = precision
