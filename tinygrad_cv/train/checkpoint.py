"""Models and whole runs on disk, in the safetensors format.

A model is plain numbers that other libraries read too. A run is what `tinygrad_cv.save` makes of
its state: no code is in it, and none runs when it is read.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

from safetensors.numpy import save

from tinygrad_cv._tensor import Tensor
from tinygrad_cv._trees import mapped
from tinygrad_cv.backend import host
from tinygrad_cv.nn import Module
from tinygrad_cv.nn.parameter import is_lazy
from tinygrad_cv.optim import Optimizer
from tinygrad_cv.optim.optimizer import plain
from tinygrad_cv.optim.regularizers import Regularizer
from tinygrad_cv.optim.swa_utils import average_states
from tinygrad_cv.storage import load, read, write
from tinygrad_cv.storage import save as save_values

if TYPE_CHECKING:
    from tinygrad_cv.train.trainer import Trainer


def save_model(model: Module, path: str | PathLike[str]) -> None:
    """Write the parameters and buffers of a model to a .safetensors file, whole or not at all.

    Equal values give equal bytes. The names are those of `model.state_dict()`. Raises ValueError
    if one of them has no value yet, as of a lazy layer or preprocessing that was not fitted.

    >>> from tinygrad_cv import nn
    >>> from tinygrad_cv.train import load_model, save_model
    >>> model, copy = nn.Linear(2, 3), nn.Linear(2, 3)
    >>> save_model(model, "model.safetensors")
    >>> load_model(copy, "model.safetensors")
    >>> (copy.weight == model.weight).all().item()
    True
    """
    state = model.state_dict()
    if waiting := [name for name, tensor in state.items() if is_lazy(tensor)]:
        raise ValueError(
            f"{', '.join(waiting)}: there is no value yet to save; run the model once, and fit its "
            "preprocessing."
        )
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


def average_checkpoints(
    files: str | PathLike[str] | Iterable[str | PathLike[str] | Mapping[str, Any]],
) -> dict[str, Any]:
    """The mean of the weights in several checkpoints of one model, as a state for it.

    The files are those that `save_model`, `BestModel`, `Trainer.save_checkpoint` or `Checkpoint`
    have written, or what else `tinygrad_cv.load` reads as a state dict. State dicts themselves may
    stand among them. Or it is one folder of a `Checkpoint`: all that are there. For batch norm and
    for what is no float see `optim.swa_utils.average_states`.

    Raises ValueError for no checkpoints, for one that is damaged, and for those of different
    models; OSError for a file that cannot be read.

    >>> from tinygrad_cv import nn, train
    >>> model = nn.Linear(1, 1)
    >>> for value in (1.0, 2.0, 6.0):
    ...     _ = model.weight.data.fill_(value)
    ...     train.save_model(model, f"{value}.safetensors")
    >>> names = [f"{value}.safetensors" for value in (1.0, 2.0, 6.0)]
    >>> model.load_state_dict(train.average_checkpoints(names))
    <All keys matched successfully>
    >>> model.weight.item()
    3.0
    """
    if isinstance(files, Mapping):
        raise TypeError("average_checkpoints takes several; got one dict. Pass a list.")
    given: list[Any]
    if isinstance(files, str | PathLike):
        found = checkpoints(Path(files))
        if not found:
            raise ValueError(
                f"{files}: is no folder with checkpoints; pass one, or a list of files."
            )
        given = [found[step] for step in sorted(found)]
    else:
        given = list(files)
    try:
        return average_states(map(_model_state, given))
    except ValueError as error:
        names = ", ".join(str(file) for file in given if not isinstance(file, Mapping))
        raise ValueError(f"{names}: {error}" if names else str(error)) from error


def _model_state(file: Any) -> Mapping[str, Any]:
    """The state of the model in a file."""
    if isinstance(file, Mapping):
        return file
    state = load(file, "cpu")
    if isinstance(state, dict) and state.get("kind") == KIND:
        state = load_run(Path(file))["model"]  # which looks at the checksum
    if not isinstance(state, Mapping):
        raise ValueError(f"{file} holds a {type(state).__name__}, and no state of a model.")
    return state


# ----- runs --------------------------------------------------------------------------------------

NAME = "step_{:09}.safetensors"
KIND = "tinygrad_cv run 1"
BLANK = "0" * 64
"""What stands in the place of the checksum while that is computed."""


def checkpoints(folder: Path) -> dict[int, Path]:
    """The checkpoints in a folder, by their steps."""
    if not folder.is_dir():
        return {}
    named = ((re.fullmatch(r"step_([0-9]{9,})\.safetensors", p.name), p) for p in folder.iterdir())
    return {int(match[1]): path for match, path in named if match}


def newest(path: str | PathLike[str]) -> Path | None:
    """The checkpoint that a path stands for: a file, or the newest in a folder, if there is one."""
    place = Path(path)
    if place.is_file() or place.suffix == ".safetensors":
        return place
    found = checkpoints(place)
    return found[max(found)] if found else None


def save_run(trainer: "Trainer", path: str | PathLike[str]) -> None:
    """Write the state of a run to a file; see `Trainer.save_checkpoint`."""
    buffer = io.BytesIO()
    save_values({"kind": KIND, "sha256": BLANK, **_state(trainer)}, buffer)
    contents = buffer.getvalue()
    checksum = hashlib.sha256(contents).hexdigest()
    write(Path(path), contents.replace(BLANK.encode(), checksum.encode(), 1))


def load_run(path: Path) -> dict[str, Any]:
    """What `save_run` has written. Raises ValueError for anything else."""
    contents = read(path)
    file = io.BytesIO(contents)
    file.name = str(path)
    state = load(file, "cpu")
    if not isinstance(state, dict) or state.get("kind") != KIND:
        raise ValueError(f"{path}: is no checkpoint of a Trainer.")
    checksum = str(state.get("sha256")).encode()
    blank = contents.replace(checksum, BLANK.encode(), 1)
    if hashlib.sha256(blank).hexdigest().encode() != checksum:
        raise ValueError(f"{path}: the checkpoint is damaged: its checksum is another.")
    return state


def restore(trainer: "Trainer", path: str | PathLike[str], run: bool = True) -> None:
    """Let a trainer be as it was when the file was written; without `run` only what it learned.

    Raises ValueError, with nothing changed, if that cannot be.
    """
    state = load_run(Path(path))
    if run:
        _check_settings(path, settings(trainer), state.get("settings"), trainer.needs_epochs)
    before = mapped(_kept, _state(trainer))
    try:
        _set_state(trainer, state, run)
    except Exception as error:
        _set_state(trainer, before, run)
        raise ValueError(f"{path}: this is no checkpoint of such a run: {error}") from error


def _kept(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def _state(trainer: "Trainer") -> dict[str, Any]:
    """All that a run needs to go on."""
    model, optimizer, loader = trainer.model, trainer.optimizer, trainer.loader
    return {
        "settings": settings(trainer),
        "batch": trainer.batch,
        "over": trainer.over,
        "step": trainer.step,
        "should_stop": trainer.should_stop,
        "history": trainer.history,
        "record": trainer.record,
        "sums": trainer.sums.totals,
        "model": model.state_dict(),
        "learns": {name: p.requires_grad for name, p in model.named_parameters()},
        "trains": {name: module.training for name, module in model.named_modules()},
        "optimizer": _sorted_options(optimizer.state_dict()) | {"steps": optimizer._steps},
        "schedule": _state_of(trainer.schedule),
        "scaler": _state_of(trainer.scaler),
        "watch": _state_of(trainer.watch),
        "callbacks": [[type(c).__name__, c.state_dict()] for c in trainer.callbacks],
        "loader": _state_of(loader),
        "randomness": trainer.randomness.state_dict(),
        "randomness_of_epoch": trainer.randomness_of_epoch,
    }


def _set_state(trainer: "Trainer", state: dict[str, Any], run: bool) -> None:
    model, optimizer = trainer.model, trainer.optimizer
    model.load_state_dict(state["model"])
    optimizer.load_state_dict({k: state["optimizer"][k] for k in ("state", "param_groups")})
    for group in optimizer.param_groups:
        optimizer._check(group)
    optimizer._steps = int(state["optimizer"]["steps"])
    _load(trainer.schedule, state["schedule"])
    _load(trainer.scaler, state["scaler"])
    trainer.step = _count(state["step"])
    if not run:
        return
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(state["learns"][name])
    for name, module in model.named_modules():
        module.training = state["trains"][name]
    trainer.history = [_record(record) for record in state["history"]]
    trainer.record = _record(state["record"])
    trainer.sums.totals = {name: [*sums] for name, sums in state["sums"].items()}
    trainer.batch, trainer.over = _count(state["batch"]), bool(state["over"])
    trainer.should_stop = bool(state["should_stop"])
    _load(trainer.watch, state["watch"])
    waiting = [*trainer.callbacks]
    for name, of_callback in state["callbacks"]:
        place = next((i for i, c in enumerate(waiting) if type(c).__name__ == name), None)
        if place is not None:
            callback = waiting.pop(place)
            if of_callback or callback.state_dict():
                callback.load_state_dict(of_callback)
        elif of_callback:
            raise ValueError(f"it has the state of a {name}, which is not among the callbacks.")
    if new := [type(callback).__name__ for callback in waiting if callback.state_dict()]:
        raise ValueError(f"it has no state of the callbacks {', '.join(new)}.")
    trainer.randomness.load_state_dict(state["randomness"])
    trainer.randomness_of_epoch = state["randomness_of_epoch"]
    if hasattr(trainer.loader, "load_state_dict"):
        trainer.loader.load_state_dict(state["loader"])


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"expected a number of steps or batches, found {value!r}.")
    return value


def _record(value: Any) -> dict[str, float]:
    if not all(isinstance(name, str) and isinstance(x, int | float) for name, x in value.items()):
        raise ValueError(f"expected the numbers of an epoch, found {value!r}.")
    return dict(value)


def _state_of(thing: Any) -> Any:
    return thing.state_dict() if hasattr(thing, "state_dict") else None


def _load(thing: Any, state: Any) -> None:
    """Let a schedule, a scaler, ... go on from its state."""
    own = _state_of(thing)
    if (own is None) != (state is None) or (own is not None and own.keys() != state.keys()):
        raise ValueError(f"its state {short(state)} is not that of {short(thing)}.")
    if own is not None:
        thing.load_state_dict(state)


def _sorted_options(state: dict[str, Any]) -> dict[str, Any]:
    """The state of an optimizer with its options in one order, whatever it was loaded from."""
    groups = [dict(sorted(group.items())) for group in state["param_groups"]]
    return {**state, "param_groups": groups}


# ----- settings ----------------------------------------------------------------------------------


def options_of(optimizer: Optimizer) -> dict[str, Any]:
    """The options of an optimizer, as plain values."""
    return {
        f"{name} of group {i}": plain(value)
        for i, group in enumerate(optimizer.param_groups)
        for name, value in sorted(group.items())
        if name not in ("params", "param_names")
    }


def settings(trainer: "Trainer") -> dict[str, Any]:
    """What is to be the same where a run goes on."""
    loader: Any = trainer.loader
    return {
        "model": type(trainer.model).__name__,
        "optimizer": type(trainer.optimizer).__name__,
        **trainer.options,
        "loss_fn": _name(trainer.loss_fn),
        "schedule": _name(trainer.schedule),
        "schedule_interval": trainer.schedule_interval,
        "monitor": trainer.monitor,
        "accumulate": trainer.accumulate,
        "clip_grad_norm": trainer.clip_grad_norm,
        "clip_grad_value": trainer.clip_grad_value,
        "amp": trainer.scaler is not None,
        "metrics": [*trainer.metrics],
        "regularizer": _regularizer(trainer.regularizer),
        "epochs": trainer.epochs,
        "batches": trainer.batches,
        "batch_size": getattr(loader, "batch_size", None),
        "samples": _length(getattr(loader, "dataset", None)),
        **trainer.settings,
    }


def _length(dataset: Any) -> int | None:
    try:
        return len(dataset)
    except TypeError:
        return None


def _regularizer(regularizer: Any) -> str | None:
    """A regularizer of ours with its strength, any other function by its name."""
    if regularizer is None:
        return None
    return repr(regularizer) if isinstance(regularizer, Regularizer) else _name(regularizer)


def _name(thing: Any) -> str:
    return str(getattr(thing, "__name__", type(thing).__name__))


def _check_settings(path: Any, here: dict[str, Any], there: Any, epochs: bool) -> None:
    """Raise ValueError unless the settings agree; of the epochs only if they count."""
    if not isinstance(there, dict):
        raise ValueError(f"{path}: is no checkpoint of a Trainer: it has no settings.")
    for name in dict.fromkeys([*here, *there]):
        if (name != "epochs" or epochs) and here.get(name) != there.get(name):
            raise ValueError(
                f"{path}: is of a run with {name} = {there.get(name)!r}, and this one has "
                f"{here.get(name)!r}. Let the settings be the same, or begin a new run."
            )
