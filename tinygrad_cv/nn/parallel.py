"""Data parallelism, where there are one process and one device for all the data."""

from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv.nn.module import Module


@public(NN)
class DataParallel(Module):
    """The module inside, called with the whole batch on the device where it lies.

    PyTorch splits a batch over GPUs. Here one device computes all of it, so the results are those
    of the module; programs and checkpoints that hold their model under the name `module` run as
    they are. `device_ids` may name one device; of several ValueError says so.

    >>> from tinygrad_cv import nn
    >>> list(DataParallel(nn.Linear(2, 1)).state_dict())
    ['module.weight', 'module.bias']
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        _check(device_ids)
        self.module, self.dim = module, dim
        self.device_ids, self.output_device = device_ids, output_device

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


class DistributedDataParallel(Module):
    """What PyTorch wraps a module in that is trained in several processes: RuntimeError here.

    No module is one, so a program that asks with `isinstance` goes on.
    """

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            "DistributedDataParallel: training runs in one process here; use the module itself."
        )


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Any = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """`module(*inputs)`, as `DataParallel` calls it."""
    _check(device_ids)
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    return module(*inputs, **(module_kwargs or {}))


def _check(device_ids: Any) -> None:
    if device_ids is not None and len(device_ids) > 1:
        raise ValueError(
            f"a batch is not split over devices here, and {len(device_ids)} were named: "
            f"{list(device_ids)}. Name one, or none."
        )
