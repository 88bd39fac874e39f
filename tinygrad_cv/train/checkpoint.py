"""Models on disk, in the safetensors format: plain numbers that other libraries read too."""

from os import PathLike
from pathlib import Path

from safetensors.numpy import save

from tinygrad_cv.backend import host
from tinygrad_cv.nn import Module
from tinygrad_cv.storage import load, write


def save_model(model: Module, path: str | PathLike[str]) -> None:
    """Write the parameters and buffers of a model to a .safetensors file, whole or not at all.

    Equal values give equal bytes. The names are those of `model.state_dict()`.

    >>> from tinygrad_cv import nn
    >>> from tinygrad_cv.train import load_model, save_model
    >>> model, copy = nn.Linear(2, 3), nn.Linear(2, 3)
    >>> save_model(model, "model.safetensors")
    >>> load_model(copy, "model.safetensors")
    >>> (copy.weight == model.weight).all().item()
    True
    """
    state = model.state_dict()
    # safetensors writes memory as it lies, whatever the strides say.
    rows = {name: host.asarray(tensor.numpy(), order="C") for name, tensor in state.items()}
    write(Path(path), save(rows))


def load_model(model: Module, path: str | PathLike[str]) -> None:
    """Copy the values in a file into the parameters and buffers of a model.

    It is a .safetensors file, or what else `tinygrad_cv.load` reads: a state dict in a .pth file of
    PyTorch. Raises ValueError if the file is damaged, or if its names and shapes are not the
    model's; the model then stays as it was. Raises OSError if the file cannot be read.
    """
    state = load(path, "cpu")
    try:
        model.load_state_dict(state)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
