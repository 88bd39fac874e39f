"""Programs that change tensors in place give PyTorch's losses and gradients, where it runs them."""

import numpy as np
import torch
from hypothesis import event, given
from numpy.testing import assert_allclose

import tinygrad_cv as tg
from inplace_programs import START, Program, programs, run
from programs import right_or_refused


def theirs(program: Program) -> list[np.ndarray] | None:
    """The loss and its gradients; None where PyTorch refuses."""
    if any(name == "[1:] = [:-1]" for name, *_ in program):
        return None  # it copies over what it is about to read
    leaves = [torch.tensor(x, requires_grad=True) for x in START]
    try:
        loss = run(program, leaves, torch.zeros(2, 3, dtype=torch.float64))
        found = torch.autograd.grad(loss, leaves, allow_unused=True)
    except RuntimeError:
        return None
    return [y.detach().numpy() for y in (loss, *found) if y is not None]


@given(program=programs)
def test_what_pytorch_runs_gives_the_same_here(program: Program) -> None:
    expected = theirs(program)
    event("refused by PyTorch" if expected is None else "run by both")
    if expected is None or not np.abs(expected[0]) < 1e6:
        return
    leaves = [tg.Tensor(x, requires_grad=True) for x in START]
    with right_or_refused():  # our tanh saves x, and PyTorch's y
        loss = run(program, leaves, tg.zeros(2, 3, dtype="float64"))
        found = tg.grad(loss, leaves, allow_unused=True)
        for y, z in zip([y for y in (loss, *found) if y is not None], expected, strict=True):
            assert_allclose(y.detach().numpy(), z, rtol=1e-9, atol=1e-9)
