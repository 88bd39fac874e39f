"""PyTorch's way to ask for any GPU (`torch.accelerator`): here it is the one of `tinygrad_cv.cuda`.

>>> from tinygrad_cv import accelerator
>>> device = accelerator.current_accelerator(check_available=True) or "cpu"
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from tinygrad_cv import cuda
from tinygrad_cv.backend.devices import device
from tinygrad_cv.cuda import current_device as current_device_index
from tinygrad_cv.cuda import device_count as device_count
from tinygrad_cv.cuda import empty_cache as empty_cache
from tinygrad_cv.cuda import is_available as is_available
from tinygrad_cv.cuda import max_memory_allocated as max_memory_allocated
from tinygrad_cv.cuda import max_memory_reserved as max_memory_reserved
from tinygrad_cv.cuda import mem_get_info
from tinygrad_cv.cuda import memory_allocated as memory_allocated
from tinygrad_cv.cuda import memory_reserved as memory_reserved
from tinygrad_cv.cuda import reset_peak_memory_stats as reset_peak_memory_stats
from tinygrad_cv.cuda import set_device as set_device_index
from tinygrad_cv.cuda import synchronize as synchronize

get_memory_info = mem_get_info
current_device_idx, set_device_idx = current_device_index, set_device_index


def current_accelerator(check_available: bool = False) -> device | None:
    """The device "cuda" if there is a GPU to work with, else None.

    `check_available` changes nothing: PyTorch without it names what it was built for.
    """
    return device("cuda") if is_available() else None


@contextmanager
def device_index(device: int | None) -> Iterator[None]:
    """A `with` block in which "cuda" stands for the GPU of this number; None changes nothing."""
    with nullcontext() if device is None else cuda.device(device):
        yield
