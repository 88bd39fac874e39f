"""Changes in place that are recorded: values, gradients of order 1 and 2, views, and who is told."""

import numpy as np
from hypothesis import event, given
from numpy.testing import assert_allclose

import tinygrad_cv as tg
from inplace_programs import ALONG, START, Program, expected, programs, run
from programs import leaf


def ours(program: Program) -> tuple[float, float, float]:
    """The loss of the program on tensors, its slope, and its curvature by two backward passes."""
    leaves = [leaf(x) for x in START]
    along = [tg.tensor(u) for u in ALONG]
    loss = run(program, leaves, tg.zeros(2, 3, dtype="float64"))
    first = tg.grad(loss, leaves, create_graph=True, allow_unused=True)
    slope = sum((g * u).sum() for g, u in zip(first, along, strict=True) if g is not None)
    second = tg.grad(slope, leaves, allow_unused=True)
    curvature = sum((h * u).sum() for h, u in zip(second, along, strict=True) if h is not None)
    return tuple(float(y.detach()) for y in (loss, slope, curvature))  # type: ignore[return-value]


@given(program=programs)
def test_a_program_in_place_is_what_numpy_says_or_refused(program: Program) -> None:
    wanted = expected(program)
    if not np.abs(wanted).max() < 1e6:
        return
    try:
        found = ours(program)
    except RuntimeError as error:
        assert "was changed in place since" in str(error)
        event("refused")
        return
    event("carried out")
    assert_allclose(found, wanted, rtol=1e-8, atol=1e-8)
