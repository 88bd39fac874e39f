"""Data parallelism: by several processes, or in name where one device computes the whole batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tinygrad_cv._grad_mode import is_grad_enabled
from tinygrad_cv._public import NN, public
from tinygrad_cv.backend.recording import on_host
from tinygrad_cv.distributed.buckets import Averaging
from tinygrad_cv.distributed.collectives import broadcast_together, check_alike
from tinygrad_cv.distributed.state import group_given
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import is_lazy


@public(NN)
class DataParallel(Module):
    """The module inside, called with the whole batch on the device where it lies.

    PyTorch splits a batch over GPUs, where there are several. Here one device computes all of it,
    whatever `device_ids` says, so the results are those of the module; programs and checkpoints
    that hold their model under the name `module` run as they are.

    >>> from tinygrad_cv import nn
    >>> list(DataParallel(nn.Linear(2, 1)).state_dict())
    ['module.weight', 'module.bias']
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        self.module, self.dim = module, dim
        self.device_ids, self.output_device = device_ids, output_device

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Any = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """`module(*inputs)`, as `DataParallel` calls it."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    return module(*inputs, **(module_kwargs or {}))


class DistributedDataParallel(Module):
    """The module inside, trained by several processes, each with its own part of the data.

    Every rank makes one of the same module. At the start the parameters and buffers become those of
    rank 0; then backward gives every rank the mean over the ranks of their gradients, the same bits
    on each, so that the same optimizer keeps them equal. With losses that are means over equally
    many samples that is the gradient of the mean over all samples; else weigh them: by
    size · n / N for n samples of N.

    The gradients travel in flat buckets of `bucket_cap_mb` MiB, each sent when its last gradient is
    there, while backward computes the others; all is done when backward returns. `no_sync` leaves
    that out, to accumulate gradients. `broadcast_buffers` lets the buffers be those of rank 0 again
    before each forward pass in training. A parameter that gets no gradient is an error, unless
    `find_unused_parameters`: it then counts as 0, and keeps no gradient where no rank has one.

    `device_ids`, `output_device`, `dim`, `check_reduction`, `gradient_as_bucket_view` and
    `static_graph` have no effect; `init_sync=False` leaves out what is done at the start.

    A copy of it, by `deepcopy` or `pickle`, is for one process: it averages nothing.

    In a function that is compiled all gradients are averaged when backward ends.

    Raises RuntimeError if no parameter requires a gradient or one is lazy, and on every rank if the
    ranks have parameters or buffers of other names, shapes or dtypes; ValueError without a process
    group.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import distributed as dist, nn
    >>> dist.init_process_group()
    >>> model = nn.parallel.DistributedDataParallel(nn.Linear(2, 1))
    >>> model(tg.ones(3, 2)).sum().backward()
    >>> model.module.weight.grad
    tensor([[3., 3.]])
    >>> list(model.state_dict())
    ['module.weight', 'module.bias']
    >>> dist.destroy_process_group()
    """

    def __init__(
        self,
        module: Module,
        device_ids: Any = None,
        output_device: Any = None,
        dim: int = 0,
        broadcast_buffers: bool = True,
        init_sync: bool = True,
        process_group: Any = None,
        bucket_cap_mb: float | None = None,
        find_unused_parameters: bool = False,
        check_reduction: bool = False,
        gradient_as_bucket_view: bool = False,
        static_graph: bool = False,
    ) -> None:
        super().__init__()
        group = group_given(process_group)
        named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        lazy = [name for name, p in named if is_lazy(p)]
        if lazy or not named:
            raise RuntimeError(
                f"the parameter {lazy[0]} of the module has no shape yet; call the module once."
                if lazy
                else "no parameter of the module requires a gradient; there is nothing to average."
            )
        cap = 25.0 if bucket_cap_mb is None else bucket_cap_mb
        if not cap > 0:
            raise ValueError(f"bucket_cap_mb is a size above 0, in MiB; got {bucket_cap_mb!r}.")
        self.module, self.process_group = module, group
        self.broadcast_buffers = broadcast_buffers
        self.require_backward_grad_sync = True
        if init_sync:
            check_alike(group, [*module.named_parameters(), *module.named_buffers()])
            broadcast_together(group, [*module.parameters(), *module.buffers()])
        own = group.duplicate()  # with an order of its own: a layer may communicate meanwhile
        self._averaging: Averaging | None = Averaging(
            own, named, cap * (1 << 20), find_unused_parameters
        )

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        if (averaging := self._averaging) is not None:
            averaging.active = self.require_backward_grad_sync and is_grad_enabled()
            averaging.running = False  # what an error has left
            if averaging.active and self.training and self.broadcast_buffers:
                self._share_buffers()
        return self.module(*inputs, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_averaging": None, "process_group": None}

    @on_host
    def _share_buffers(self) -> None:
        broadcast_together(self.process_group, list(self.module.buffers()))

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Inside, gradients add up on each rank; the next backward pass outside averages the sums.

        The forward pass must be inside.
        """
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before
