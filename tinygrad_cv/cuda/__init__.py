"""What a program asks about GPUs, under PyTorch's names (`torch.cuda`).

A GPU is used through CuPy. Without CuPy, or without a card, `is_available()` is False, and what
only frees, counts or seeds has nothing to do. The stand-in "fakecuda" counts as no GPU.

>>> from tinygrad_cv import cuda
>>> device = "cuda" if cuda.is_available() else "cpu"
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from tinygrad_cv import backend as backends
from tinygrad_cv import random, typed
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import cupy_backend
from tinygrad_cv.cuda import amp as amp
from tinygrad_cv.typed import OfDtype


def device_count() -> int:
    """How many GPUs there are, for CuPy to work with."""
    return cupy_backend.count()


def is_available() -> bool:
    """Whether there is a GPU, and CuPy to work with it."""
    return device_count() > 0


def _gpu(device: Any = None) -> Any:
    """The backend of a GPU, by default of the current one; an error says what is missing."""
    return backends.get("cuda" if device is None else device)


def current_device() -> int:
    """The number of the GPU that "cuda" stands for; 0 at first."""
    return int(_gpu().device.index)


def set_device(device: Any) -> None:
    """Let "cuda" stand for this GPU from now on; a negative number changes nothing."""
    if not (isinstance(device, int) and device < 0):
        backends.choose(device)


@contextmanager
def device(device: Any) -> Iterator[None]:
    """A `with` block in which "cuda" stands for this GPU."""
    before = current_device()
    set_device(device)
    try:
        yield
    finally:
        set_device(before)


def get_device_name(device: Any = None) -> str:
    """What the card is called."""
    return str(get_device_properties(device).name)


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability, such as (9, 0)."""
    found = get_device_properties(device)
    return found.major, found.minor


def get_device_properties(device: Any = None) -> SimpleNamespace:
    """`name`, `major`, `minor`, `total_memory` (bytes) and `multi_processor_count`."""
    return SimpleNamespace(**_gpu(device).properties())


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has done all that it was given."""
    _gpu(device).synchronize()


def is_initialized() -> bool:
    """Whether a GPU can be used: nothing has to be initialized."""
    return is_available()


def init() -> None:
    """There is nothing to initialize."""


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False: NumPy and CuPy have no bfloat16."""
    return False


# ----- memory ------------------------------------------------------------------------------------


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """The bytes of the card that are free, and all of them."""
    found: tuple[int, int] = _gpu(device).memory()
    return found


def empty_cache() -> None:
    """Give the memory that CuPy's pool keeps for later back to the card."""
    if is_available():
        _gpu().pool().free_all_blocks()


def memory_allocated(device: Any = None) -> int:
    """The bytes of the GPU that arrays hold; 0 without one."""
    return int(_gpu(device).pool().used_bytes()) if is_available() else 0


def memory_reserved(device: Any = None) -> int:
    """The bytes of the GPU that CuPy's pool holds, for arrays and for later; 0 without one."""
    return int(_gpu(device).pool().total_bytes()) if is_available() else 0


def max_memory_allocated(device: Any = None) -> int:
    """At most so many bytes were held by arrays since `empty_cache`: what the pool holds.

    CuPy counts no peak. Its pool gives nothing back by itself, so that is a bound from above.
    """
    return memory_reserved(device)


max_memory_reserved = max_memory_cached = max_memory_allocated
memory_cached = memory_reserved


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let the bound of `max_memory_allocated` begin anew: `empty_cache`."""
    empty_cache()


reset_max_memory_allocated = reset_max_memory_cached = reset_peak_memory_stats


# ----- random numbers ----------------------------------------------------------------------------


def manual_seed(seed: int) -> None:
    """Seed the generator of all devices, see `tinygrad_cv.manual_seed`; without a GPU nothing."""
    if is_available():
        random.manual_seed(seed)


manual_seed_all = manual_seed


def seed() -> None:
    """Seed the generator with a number that nobody can foresee; without a GPU nothing."""
    if is_available():
        random.seed()


seed_all = seed


def initial_seed() -> int:
    """The seed that the generator of all devices began with."""
    return random.initial_seed()


def get_rng_state(device: Any = "cuda") -> Tensor:
    """The state of the generator, from which all devices draw."""
    return random.get_rng_state()


def set_rng_state(new_state: Tensor, device: Any = "cuda") -> None:
    """Let the generator of all devices go on from a state."""
    random.set_rng_state(new_state)


def get_rng_state_all() -> list[Tensor]:
    """The state of the generator, once for each GPU."""
    return [random.get_rng_state() for _ in range(device_count())]


def set_rng_state_all(new_states: Any) -> None:
    """Let the generator of all devices go on from the first of these states."""
    for state in new_states[:1]:
        random.set_rng_state(state)


# ----- constructors ------------------------------------------------------------------------------


def _on_gpu(kind: OfDtype) -> OfDtype:
    """The constructor of the same name for tensors on the GPU."""
    says = f"A {kind.dtype} tensor on the GPU; see `tinygrad_cv.{kind.__name__}`."
    body = {"dtype": kind.dtype, "kind": "cuda", "__doc__": says, "__module__": __name__}
    return OfDtype(kind.__name__, (), body)


FloatTensor, DoubleTensor, HalfTensor = map(_on_gpu, typed.FLOATS)
LongTensor, IntTensor, ShortTensor, CharTensor, ByteTensor = map(_on_gpu, typed.INTEGERS)
BoolTensor = _on_gpu(typed.BoolTensor)
