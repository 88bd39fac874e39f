"""PyTorch's own list of optimizers and their options: the same steps, states and refusals."""

import copy
import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import tinygrad_cv as tg
from tinygrad_cv import optim

pytest.importorskip(
    "expecttest", reason="PyTorch's list of optimizers needs the package expecttest"
)
common = pytest.importorskip(
    "torch.testing._internal.common_optimizers",
    reason="this PyTorch has no torch.testing._internal.common_optimizers",
    exc_type=ImportError,
)

OURS = {info.optim_cls.__name__: info for info in common.optim_db if info.name != "SparseAdam"}
CASES = [
    (name, case.kwargs)
    for name, info in OURS.items()
    for case in info.optim_inputs_func(device="cpu")
]
SHAPES = [(3, 4), (4, 2), (2, 5)]
STEPS = 12
TOLERANCE = {"Muon": 2e-2}  # PyTorch's iteration is in bfloat16, of three digits


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    """PyTorch keeps some numbers, such as the product of NAdam, in its default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def start() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [*SHAPES, (5,), ()]
    return [rng.standard_normal(shape) for shape in shapes]


def plain(options: dict[str, Any], to: Any) -> dict[str, Any]:
    """The options, with tensors of the library that takes them."""
    return {
        name: to(value.item()) if isinstance(value, torch.Tensor) else value
        for name, value in options.items()
    }


def loss_of(params: list[Any]) -> Any:
    """A bumpy valley, in the words of both libraries."""
    first, second, third, *rest = params
    loss = ((first @ second @ third - 1) ** 2).sum() + (first**4).sum() * 0.1
    for p in rest:
        loss = loss + ((p - 0.5) ** 2).sum() + (p.sin() * 2).sum()
    return loss


class Run:
    """One of the two libraries at the same work."""

    def __init__(self, lib: Any, name: str, options: dict[str, Any], values: list[Any]) -> None:
        if name == "Muon":
            values = values[:3]
        if name == "LBFGS":  # more steps let the last digits of the two grow apart
            options = {"max_iter": 3, **options}
        self.lib = lib
        self.params = [lib.tensor(value, dtype=lib.float64, requires_grad=True) for value in values]
        scalar = lib.tensor
        self.optimizer = getattr(lib.optim, name)(self.params, **plain(options, scalar))

    def closure(self) -> Any:
        self.optimizer.zero_grad()
        loss = loss_of(self.params)
        loss.backward()
        return loss

    def step(self) -> list[np.ndarray]:
        self.optimizer.step(self.closure)
        return [p.detach().cpu().numpy().copy() for p in self.params]


def check_states(name: str, theirs: Any, ours: Any, tolerance: float) -> None:
    """The same names of the same values, and the same groups."""
    theirs, ours = theirs.optimizer.state_dict(), ours.optimizer.state_dict()
    assert [g.keys() for g in theirs["param_groups"]] == [g.keys() for g in ours["param_groups"]]
    for i, expected in theirs["state"].items():
        expected.pop("al", None)  # where LBFGS of PyTorch puts what it computes with
        assert set(expected) == set(ours["state"][i]), name
        for key, value in expected.items():
            found = ours["state"][i][key]
            if value is None or isinstance(value, list):
                assert len(value or ()) == len(found or ())
                continue
            assert_allclose(
                np.asarray(found.tolist() if hasattr(found, "tolist") else found),
                np.asarray(value.tolist() if hasattr(value, "tolist") else value),
                rtol=tolerance,
                atol=tolerance,
                err_msg=f"{name}: {key}",
            )


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_the_steps_are_pytorchs(name: str, options: dict[str, Any], device: str) -> None:
    theirs, ours = (Run(lib, name, options, start()) for lib in (torch, tg))
    tolerance = TOLERANCE.get(name, 1e-10)
    for _ in range(STEPS):
        for expected, found in zip(theirs.step(), ours.step(), strict=True):
            assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    if name != "Muon":
        check_states(name, theirs, ours, 1e-8)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_what_pytorch_wrote_goes_on_here(name: str, options: dict[str, Any], device: str) -> None:
    theirs, ours = (Run(lib, name, options, start()) for lib in (torch, tg))
    for _ in range(3):
        values = theirs.step()
    for p, value in zip(ours.params, values, strict=True):
        p.data.copy_(tg.tensor(value, dtype="float64"))
    ours.optimizer.load_state_dict(copy.deepcopy(theirs.optimizer.state_dict()))
    tolerance = TOLERANCE.get(name, 1e-10)
    for _ in range(5):
        for expected, found in zip(theirs.step(), ours.step(), strict=True):
            assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.host
@pytest.mark.parametrize("name", OURS)
def test_the_arguments_and_the_repr_are_pytorchs(name: str) -> None:
    theirs, ours = (Run(lib, name, {}, start()) for lib in (torch, tg))
    assert repr(ours.optimizer) == repr(theirs.optimizer)
    expected, found = (
        {
            k: (p.kind, p.default)
            for k, p in inspect.signature(getattr(lib.optim, name).__init__).parameters.items()
        }
        for lib in (torch, tg)
    )
    ours_alone = found.keys() - expected.keys()
    assert list(expected) == [k for k in found if k not in ours_alone]
    assert all(found[k] == expected[k] for k in expected)
    assert all(found[k][0] is inspect.Parameter.KEYWORD_ONLY for k in ours_alone)


TAKEN_HERE = (
    "lr as Tensor doesn't work with foreach",
    "betas[0] as a Tensor is not supported",
    "betas must be either both floats or both Tensors",
    "does not support complex",
    "betas\\[0\\] as a Tensor",
)
"""What PyTorch's own ways of computing cannot do, and what no tensor here can be."""


def translated(value: Any) -> Any:
    """PyTorch's tensors as ours, each once."""
    seen: dict[int, Any] = {}

    def walk(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if id(value) not in seen:
                seen[id(value)] = tg.tensor(
                    value.detach().numpy(), requires_grad=value.requires_grad
                )
            return seen[id(value)]
        if isinstance(value, dict):
            return {k: walk(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return type(value)([walk(v) for v in value])
        return value

    return walk(value)


@pytest.mark.host
@pytest.mark.parametrize("name", OURS)
def test_what_pytorch_refuses_is_refused(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        errors = OURS[name].optim_error_inputs_func("cpu", torch.float64)
    count = 0
    for error in errors:
        case = error.optimizer_error_input
        if any(words in case.desc + str(error.error_regex) for words in TAKEN_HERE):
            continue
        kind = ValueError if error.error_type is UserWarning else error.error_type
        params = translated(case.params) or [tg.ones(2, requires_grad=True)]
        options = translated(case.kwargs)
        with pytest.raises(kind):
            getattr(optim, name)(params, **options)
        count += 1
    assert count >= 5
