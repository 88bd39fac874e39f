"""Files that torch.save has written, in all its forms, load to equal values; ours to nobody's."""

import io
import random
import warnings
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tinygrad_cv as tg
from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor

FORMS: dict[str, dict[str, Any]] = {
    "zip": {},
    "protocol 4": {"pickle_protocol": 4},
    "protocol 5": {"pickle_protocol": 5},
    "protocol 3": {"pickle_protocol": 3},
    "legacy": {"_use_new_zipfile_serialization": False},
    "legacy 4": {"_use_new_zipfile_serialization": False, "pickle_protocol": 4},
}
NEW = ("uint16", "uint32", "uint64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", *FLOATS, *NEW)


def through(value: Any, **options: Any) -> Any:
    file = io.BytesIO()
    torch.save(value, file, **options)
    file.seek(0)
    return tg.load(file, "cpu")


def same(ours: Any, theirs: Any) -> None:
    """Equal in kind and value, all the way down."""
    if isinstance(theirs, torch.Tensor):
        kind = nn.Parameter if isinstance(theirs, torch.nn.Parameter) else Tensor
        assert type(ours) is kind
        assert ours.requires_grad == theirs.requires_grad
        wide = theirs.detach()
        wide = wide.float() if theirs.dtype == torch.bfloat16 else wide
        np.testing.assert_array_equal(ours.detach().numpy(), wide.numpy(), strict=True)
        assert ours.stride() == theirs.stride() or 0 in theirs.shape or 1 in theirs.shape
    elif isinstance(theirs, np.ndarray):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    elif isinstance(theirs, torch.device):
        assert ours == str(theirs)
    elif isinstance(theirs, torch.dtype):
        assert ours == str(theirs).removeprefix("torch.")
    elif isinstance(theirs, dict):
        assert type(ours) is type(theirs)
        assert [*ours] == [*theirs]
        for key, value in theirs.items():
            same(ours[key], value)
    elif isinstance(theirs, list | tuple):
        assert isinstance(ours, list if isinstance(theirs, list) else tuple)
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    else:
        assert type(ours) is type(theirs)
        assert ours == theirs or ours != ours


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU()
        )
        self.head = torch.nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.features(x).mean((2, 3)))


def trained() -> dict[str, Any]:
    """A whole training state, of every optimizer and some schedules."""
    state: dict[str, Any] = {"epoch": 3, "best": 0.25, "args": {"lr": 0.1, "name": "net"}}
    for optimizer in (torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop, torch.optim.LBFGS):
        model = Net()
        options = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
        stepper = optimizer(model.parameters(), lr=0.1, **options)
        schedule = torch.optim.lr_scheduler.MultiStepLR(stepper, [1, 3, 3])

        def closure(model: Any = model, stepper: Any = stepper) -> Any:
            stepper.zero_grad()
            loss = model(torch.ones(2, 1, 5, 5)).square().sum()
            loss.backward()
            return loss

        stepper.step(closure)
        schedule.step()
        state |= {
            f"{optimizer.__name__} {name}": part.state_dict()
            for name, part in (("model", model), ("optimizer", stepper), ("schedule", schedule))
        }
    return state | {
        "torch": torch.get_rng_state(),
        "numpy": np.random.RandomState(0).get_state(),
        "python": random.Random(0).getstate(),
    }


@pytest.mark.parametrize("form", FORMS)
def test_a_training_state(form: str) -> None:
    state = trained()
    same(through(state, **FORMS[form]), state)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_layout_and_size(form: str, dtype: str) -> None:
    x = torch.randint(0, 2, (4, 3, 2)).to(getattr(torch, dtype))
    value = {
        "whole": x,
        "turned": x.permute(2, 0, 1),
        "gaps": x[::2, 1:],
        "column": x[:, 1],
        "wide": x[:1, :1, :1].expand(3, 2, 2),
        "scalar": x[0, 0, 0],
        "empty": x[:0],
        "none": torch.empty(0, 3, dtype=x.dtype),
    }
    same(through(value, **FORMS[form]), value)


@pytest.mark.parametrize("form", FORMS)
def test_containers_and_numbers(form: str) -> None:
    ordered = OrderedDict([("b", 1), ("a", (2, [3.5, None]))])
    value = {
        "ordered": ordered,
        "counter": Counter("abca"),
        "default": defaultdict(list, {1: [2]}),
        "set": {1, "a"},
        "frozen": frozenset({2}) if "4" in form or "5" in form else 0,
        "bytes": b"\x00\xff",
        "long": [2**70, -(2**2000), True, float("inf"), float("nan"), 1 + 2j],
        "text": "ä\n😀",
        "size": torch.Size([2, 3]),
        "where": [torch.device("cpu"), torch.device("cuda", 1)],
        "dtype": [torch.float32, torch.int64, torch.bool],
        "numpy": [np.float64(0.5), np.int32(3), np.bool_(True), np.float32(2)],
        "arrays": [np.arange(6.0).reshape(2, 3), np.array(3), np.arange(4, dtype=np.uint32)],
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "no array": np.zeros((0, 2)),
        (1, "a"): "key",
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "frozen parameter": torch.nn.Parameter(torch.ones(2), requires_grad=False),
        "leaf": torch.ones(2, requires_grad=True),
    }
    loop: list[Any] = [1]
    same(through(value, **FORMS[form]), value)
    loop.append(loop)
    got = through(loop, **FORMS[form])
    assert got[0] == 1
    assert got[1] is got


@pytest.mark.parametrize("form", FORMS)
def test_tied_tensors_stay_tied(form: str) -> None:
    weight = torch.nn.Parameter(torch.zeros(3, 2))
    got = through(
        {"a": weight, "b": weight, "c": weight.data, "row": weight.data[1], "t": weight.data.t()},
        **FORMS[form],
    )
    assert got["a"] is got["b"]
    with tg.no_grad():
        got["c"][1, 0] = 5.0
    assert got["a"][1, 0].item() == got["row"][0].item() == got["t"][0, 1].item() == 5


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_model_is_refused_by_name(form: str) -> None:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(Net(), file, **FORMS[form])
    file.seek(0)
    with pytest.raises(ValueError, match=r"whole model, of the class .*Net.*state_dict"):
        tg.load(file)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.ones(2, dtype=torch.complex64), "complex numbers"),
        (torch.ones(2).to(torch.float8_e4m3fn), "floats of 8 bits"),
        (torch.ones(2).to_sparse(), "sparse"),
        (torch._neg_view(torch.ones(2)), r"negative.*resolve_neg"),
        (torch.empty(2, device="meta"), "without values"),
        (Path("x"), r"pathlib.*Path"),
        (np.array([1 + 2j]), "neither bool, int nor float"),
        (np.array(["a"]), "neither bool, int nor float"),
    ],
)
def test_what_is_not_here_is_named(value: Any, message: str) -> None:
    for options in FORMS.values():
        file = io.BytesIO()
        try:
            torch.save([value], file, **options)
        except (NotImplementedError, AttributeError):  # the old format lacks some
            continue
        file.seek(0)
        with pytest.raises(ValueError, match=rf"the file: .*{message}"):
            tg.load(file)


def test_torchscript_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(1, 1)).save(str(path))
    with pytest.raises(ValueError, match=r"script\.pt: found a TorchScript archive.*state_dict"):
        tg.load(path)


def test_a_model_takes_what_was_loaded(tmp_path: Path) -> None:
    theirs = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3))
    theirs(torch.randn(4, 1, 5, 5))
    theirs.eval()
    ours = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)).eval()
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    ours.load_state_dict(tg.load(tmp_path / "model.pth"))
    x = np.random.default_rng(0).random((2, 1, 5, 5), "float32")
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(tg.tensor(x)).detach().numpy(), expected, atol=1e-6)


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.01, "momentum": 0.9},
    "Adam": {"lr": 0.01},
    "AdamW": {"lr": 0.01, "amsgrad": True},
    "Adagrad": {},
    "Adadelta": {},
    "Adamax": {},
    "NAdam": {},
    "RAdam": {},
    "RMSprop": {"momentum": 0.5, "centered": True},
    "Rprop": {},
    "ASGD": {},
    "Adafactor": {},
    "LBFGS": {"lr": 0.1},
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [1, 4, 4]},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": 20},
    "CosineAnnealingLR": {"T_max": 7},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "ExponentialLR": {"gamma": 0.9},
    "LinearLR": {},
    "PolynomialLR": {},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "cycle_momentum": False},
    "ConstantLR": {},
}


def trains(torch: Any, names: tuple[str, str], steps: range, state: Any = None) -> Any:
    """A program of PyTorch's, by whichever library it imports: its losses and its last state."""
    kind = torch.nn
    model = kind.Sequential(
        kind.Conv2d(1, 3, 3), kind.BatchNorm2d(3), kind.ReLU(), kind.Flatten(), kind.Linear(27, 2)
    ).double()
    optimizer = getattr(torch.optim, names[0])(model.parameters(), **OPTIMIZERS[names[0]])
    schedule = getattr(torch.optim.lr_scheduler, names[1])(optimizer, **SCHEDULES[names[1]])
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    for name, part in parts.items() if state is not None else ():
        part.load_state_dict(state[name])
    losses = []
    for step in steps:
        x = torch.from_numpy(np.random.default_rng(step).random((4, 1, 5, 5)))

        def closure(x: Any = x) -> Any:
            optimizer.zero_grad()
            loss = (model(x) ** 2).sum()
            loss.backward()
            return loss

        losses.append(optimizer.step(closure).item())
        schedule.step()
    return losses, {name: part.state_dict() for name, part in parts.items()}


@pytest.mark.parametrize(
    "names",
    [*((name, "StepLR") for name in OPTIMIZERS), *(("SGD", name) for name in SCHEDULES)],
    ids="-".join,
)
def test_a_run_that_pytorch_has_begun_goes_on_here(names: tuple[str, str]) -> None:
    _, begun = trains(torch, names, range(3))
    file = io.BytesIO()
    torch.save(begun, file)
    expected, _ = trains(torch, names, range(3, 6), begun)
    file.seek(0)
    losses, state = trains(tg, names, range(3, 5), tg.load(file))
    file = io.BytesIO()
    tg.save(state, file)  # and then from a file of ours
    file.seek(0)
    losses += trains(tg, names, range(5, 6), tg.load(file))[0]
    np.testing.assert_allclose(losses, expected, rtol=1e-8)


@pytest.mark.parametrize("form", FORMS)
def test_damage_never_shows_another_error(form: str) -> None:
    """Files of PyTorch itself with changed bytes and cut ends."""
    file = io.BytesIO()
    torch.save({"w": torch.ones(3), "state": {0: {"step": torch.tensor(1.0)}}}, file, **FORMS[form])
    rng, whole = np.random.default_rng(0), file.getvalue()
    for _ in range(300):
        contents = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.2 else whole)
        for _ in range(rng.integers(1, 4)):
            contents[rng.integers(len(contents))] = rng.integers(256)
        message = "the file: a number may have changed"
        try:
            tg.load(io.BytesIO(bytes(contents)))
        except ValueError as error:
            message = str(error)
        assert message.startswith("the file: ")
