"""Training by several processes, under the names of `torch.distributed`.

`mpiexec -n 2 python train.py` starts the processes, the ranks; each calls `init_process_group`, and
from then on they speak over MPI (extra `mpi`), or, with a GPU each, over NCCL:

    from tinygrad_cv import distributed as dist, nn

    dist.init_process_group()
    model = nn.parallel.DistributedDataParallel(model)  # averages the gradients

A program that never calls it, or that no `mpiexec` has started, is the one rank of one.

- `group`: what a group can do with arrays, and the group of one; `mpi`, `nccl`: the others.
- `state`: the group of this process.
- `collectives`: what ranks do together with tensors and objects.

>>> from tinygrad_cv import distributed as dist
>>> dist.is_available() and dist.is_initialized()
False
"""

from tinygrad_cv.distributed.collectives import all_gather as all_gather
from tinygrad_cv.distributed.collectives import all_gather_into_tensor as all_gather_into_tensor
from tinygrad_cv.distributed.collectives import all_gather_object as all_gather_object
from tinygrad_cv.distributed.collectives import all_reduce as all_reduce
from tinygrad_cv.distributed.collectives import barrier as barrier
from tinygrad_cv.distributed.collectives import broadcast as broadcast
from tinygrad_cv.distributed.collectives import broadcast_object_list as broadcast_object_list
from tinygrad_cv.distributed.collectives import differentiable_sum as differentiable_sum
from tinygrad_cv.distributed.collectives import gather as gather
from tinygrad_cv.distributed.collectives import irecv as irecv
from tinygrad_cv.distributed.collectives import isend as isend
from tinygrad_cv.distributed.collectives import recv as recv
from tinygrad_cv.distributed.collectives import reduce as reduce
from tinygrad_cv.distributed.collectives import reduce_scatter_tensor as reduce_scatter_tensor
from tinygrad_cv.distributed.collectives import scatter as scatter
from tinygrad_cv.distributed.collectives import send as send
from tinygrad_cv.distributed.group import Group as Group
from tinygrad_cv.distributed.group import ReduceOp as ReduceOp
from tinygrad_cv.distributed.group import Work as Work
from tinygrad_cv.distributed.state import abort as abort
from tinygrad_cv.distributed.state import destroy_process_group as destroy_process_group
from tinygrad_cv.distributed.state import get_backend as get_backend
from tinygrad_cv.distributed.state import get_rank as get_rank
from tinygrad_cv.distributed.state import get_world_size as get_world_size
from tinygrad_cv.distributed.state import init_process_group as init_process_group
from tinygrad_cv.distributed.state import is_available as is_available
from tinygrad_cv.distributed.state import is_backend_available as is_backend_available
from tinygrad_cv.distributed.state import is_gloo_available as is_gloo_available
from tinygrad_cv.distributed.state import is_initialized as is_initialized
from tinygrad_cv.distributed.state import is_mpi_available as is_mpi_available
from tinygrad_cv.distributed.state import is_nccl_available as is_nccl_available
from tinygrad_cv.distributed.state import is_torchelastic_launched as is_torchelastic_launched
from tinygrad_cv.distributed.state import is_ucc_available as is_ucc_available
from tinygrad_cv.distributed.state import launched_ranks as launched_ranks

ProcessGroup = Group
"""PyTorch's name for it."""
