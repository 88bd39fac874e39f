"""How the C library keeps the memory of arrays: what is freed is kept, for the next step needs it.

By default glibc maps each large array by itself and gives it back to the system when it is freed;
the next one of the same size is then mapped again, page by page, which takes a tenth of the time of
a training step of a small ConvNet. Here it is told to keep what it has. The peak of what a program
needs stays the same, and the process holds that peak until it ends.

TINYGRAD_CV_MALLOPT=0 leaves the C library alone; so does a setting of its own, MALLOC_... or
GLIBC_TUNABLES, in the environment. Other C libraries than glibc are never touched.
"""

import ctypes
import os
from collections.abc import Mapping

# mallopt(3), and its numbers in malloc.h
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3

SETTINGS = {
    MMAP_THRESHOLD: 32 << 20,  # arrays up to 32 MB come from the heap; more is not allowed
    TRIM_THRESHOLD: (1 << 31) - 1,  # of whose free end up to 2 GB are kept
    TOP_PAD: 64 << 20,  # and which grows by 64 MB at a time
}


def is_wanted(environment: Mapping[str, str]) -> bool:
    """What TINYGRAD_CV_MALLOPT says, and whether anybody else has settled these things."""
    own = environment.get("TINYGRAD_CV_MALLOPT", "").strip()
    if own not in ("", "0", "1"):
        raise ValueError(
            f"the environment variable TINYGRAD_CV_MALLOPT is {own!r}; expected 0, which leaves "
            "the C library's malloc as it is, or 1."
        )
    if own:
        return own == "1"
    return not any(name.startswith("MALLOC_") for name in environment) and (
        "glibc.malloc" not in environment.get("GLIBC_TUNABLES", "")
    )


def is_glibc() -> bool:
    """Whether this process runs on it."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):  # another system, another C library
        return False


def keep_what_is_freed() -> None:
    """Tell the C library, where it is glibc and nothing speaks against it."""
    if is_wanted(os.environ) and is_glibc():
        mallopt = ctypes.CDLL(None).mallopt
        for setting, value in SETTINGS.items():
            mallopt(setting, value)
