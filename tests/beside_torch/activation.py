"""The nonlinearities."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from beside_torch.call import Beside, Call
from rows.activation import gated, saturating
from rows.shape import with_empty
from tinygrad_cv.ops import activation
from tinygrad_cv.testing.strategies import arrays, shapes


def curve(*options: dict[str, Any]) -> Any:
    """Numbers near 0 and far out, and one of the options."""
    return saturating((), options or ({},)).map(lambda case: Call(case.inputs, case.attributes))


@st.composite
def along(draw: Any) -> Call:
    x = draw(arrays(shapes(1), -5.0, 5.0))
    return Call((x,), {"dim": draw(st.integers(-x.ndim, x.ndim - 1))})


@st.composite
def halves(draw: Any) -> Call:
    case = draw(gated())
    (x,), axis = case.inputs, case.attributes["axis"]
    return Call((x,), {"dim": draw(st.sampled_from((axis, axis - x.ndim)))})


@st.composite
def learned(draw: Any) -> Call:
    x = draw(arrays(with_empty(1)))
    channels = x.shape[1] if x.ndim > 1 else 1
    slopes = draw(arrays((draw(st.sampled_from((1, channels))) if channels else 1,)))
    return Call((x, slopes))


def options(name: str, *values: Any) -> Sequence[dict[str, Any]]:
    return ({}, *({name: value} for value in values))


def beside(name: str, calls: Any, rtol: float = 1e-9) -> Beside:
    return Beside(name, calls, ours=getattr(activation, name), rtol=rtol)


PLAIN = (
    *("relu", "relu6", "selu", "sigmoid", "logsigmoid", "tanh", "silu", "mish", "softsign"),
    *("tanhshrink", "hardswish"),
)

CALLS = [
    *(beside(name, curve()) for name in PLAIN),
    *(beside(name, along()) for name in ("softmax", "softmin", "log_softmax")),
    beside("leaky_relu", curve(*options("negative_slope", 0.2, 1.5))),
    beside("prelu", learned()),
    beside("rrelu", curve({}, {"lower": 0.1}, {"lower": 0.25, "upper": 0.25, "training": True})),
    beside("hardsigmoid", curve(), rtol=1e-7),  # PyTorch's 1 / 6 has single precision
    beside("hardtanh", curve({}, {"min_val": -2.0, "max_val": 0.5}, {"max_val": 3.0})),
    beside("elu", curve(*options("alpha", 0.3, 2.0))),
    beside("celu", curve(*options("alpha", 0.5, 2.0))),
    beside("gelu", curve(*options("approximate", "none", "tanh"))),
    beside("softplus", curve({}, {"beta": 0.5}, {"beta": 3.0}, {"beta": 2.0, "threshold": 1.0})),
    beside("softshrink", curve(*options("lambd", 0.0, 1.5))),
    beside("hardshrink", curve(*options("lambd", 0.0, 1.5))),
    beside("threshold", curve({"threshold": 0.5, "value": 7.0}, {"threshold": -1.0, "value": 0.0})),
    beside("glu", halves()),
]
