"""Training in several processes, which PyTorch has (`torch.distributed`) and this has not.

A program that asks first goes on as one process; one that does not is told.

>>> from tinygrad_cv import distributed as dist
>>> dist.is_available() and dist.is_initialized()
False
"""


def is_available() -> bool:
    """False: there is one process."""
    return False


is_initialized = is_torchelastic_launched = is_available
is_nccl_available = is_gloo_available = is_mpi_available = is_ucc_available = is_available
