"""Models around models: on one machine with one device at work, the model itself does it all."""

from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv.nn.module import Module


@public(NN)
class DataParallel(Module):
    """A model that calls the one in it, with the whole batch, on the device where that is.

    It shares no batch between devices: its use is that programs and states go on as they are, with
    `model.module` and with names that begin with "module.". The devices are remembered.

    >>> from tinygrad_cv import nn, ones
    >>> model = nn.DataParallel(nn.Linear(2, 3))
    >>> model(ones(4, 2)).shape, list(model.state_dict())
    ((4, 3), ['module.weight', 'module.bias'])
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        self.module = module
        self.device_ids, self.output_device, self.dim = device_ids, output_device, dim

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)
