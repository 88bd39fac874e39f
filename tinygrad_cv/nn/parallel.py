"""Data parallelism, where there are one process and one device for all the data."""

from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv.nn.module import Module


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
    """Refused: nothing is trained by several processes. Programs may ask whether a model is one."""

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "no training by several processes is here; use the model itself, or nn.DataParallel, "
            "which computes the whole batch on one device."
        )
