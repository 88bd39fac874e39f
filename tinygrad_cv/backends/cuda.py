"""The switches of PyTorch's CUDA kernels: they have no effect.

>>> from tinygrad_cv import backends
>>> backends.cuda.matmul.allow_tf32 = True
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

matmul = SimpleNamespace(
    allow_tf32=False,
    allow_fp16_reduced_precision_reduction=False,
    allow_bf16_reduced_precision_reduction=False,
)


def is_built() -> bool:
    """False: CuPy compiles its kernels when they are first used."""
    return False


def enable_flash_sdp(enabled: bool) -> None:
    """No effect: `scaled_dot_product_attention` is one function of the tensors, done in one way."""


enable_mem_efficient_sdp = enable_math_sdp = enable_cudnn_sdp = enable_flash_sdp


def flash_sdp_enabled() -> bool:
    """False"""
    return False


mem_efficient_sdp_enabled = cudnn_sdp_enabled = flash_sdp_enabled


def math_sdp_enabled() -> bool:
    """True"""
    return True


@contextmanager
def sdp_kernel(
    enable_flash: bool = True,
    enable_math: bool = True,
    enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> Iterator[None]:
    """A `with` block without effect; see `enable_flash_sdp`."""
    yield
