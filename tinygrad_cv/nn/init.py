"""Initial values for weights. Each function fills a tensor in place and returns it.

A layer's signal keeps its scale when the variance of its weights is about 1 / fan_in, where
fan_in is the number of inputs to one unit.
"""

import math
from typing import Any

from tinygrad_cv._public import INIT, fill, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.random import rand, randn

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}


@public(INIT)
def calculate_gain(nonlinearity: str, param: float = 0.01) -> float:
    """The factor that makes up for what a nonlinearity takes from the scale of the signal.

    >>> round(calculate_gain("relu"), 3)
    1.414
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + param**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"nonlinearity must be one of {', '.join(_GAINS)} or leaky_relu.")
    return _GAINS[nonlinearity]


def _fans(tensor: Tensor) -> tuple[int, int]:
    """(inputs to, outputs of) one unit of a weight (out, in) or (out, in, kh, kw)."""
    if tensor.ndim < 2:
        raise ValueError(
            f"a tensor of shape {tensor.shape} has no fan; weights have the shape (out, in) or "
            "(out, in, kh, kw)."
        )
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _std(tensor: Tensor, gain: float, mode: str) -> float:
    fan_in, fan_out = _fans(tensor)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out'; got {mode!r}.")
    return gain / math.sqrt(fan_in if mode == "fan_in" else fan_out)


@public(INIT)
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every element `val`."""
    tensor.data.copy_(val)
    return tensor


@public(INIT)
def zeros_(tensor: Tensor) -> Tensor:
    """Every element 0."""
    return constant_(tensor, 0.0)


@public(INIT)
def ones_(tensor: Tensor) -> Tensor:
    """Every element 1."""
    return constant_(tensor, 1.0)


@public(INIT)
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform on [a, b)."""
    if not a <= b:
        raise ValueError(f"uniform_: the numbers go from a up to b; got a={a} and b={b}.")
    draw = rand(tensor.shape, generator=generator, dtype=tensor.dtype, device=tensor.device)
    tensor.data.copy_(draw * (b - a) + a)
    return tensor


@public(INIT)
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with this mean and standard deviation."""
    if not std >= 0:
        raise ValueError(f"normal_: std is 0 or more; got {std}.")
    draw = randn(tensor.shape, generator=generator, dtype=tensor.dtype, device=tensor.device)
    tensor.data.copy_(draw * std + mean)
    return tensor


@public(INIT)
def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Variance gain² · 2 / (fan_in + fan_out), uniform (Glorot and Bengio, 2010)."""
    bound = gain * math.sqrt(6 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


@public(INIT)
def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Variance gain² · 2 / (fan_in + fan_out), normal (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_fans(tensor))), generator)


@public(INIT)
def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Variance gain² / fan, uniform (He et al., 2015); `a` is the slope of a leaky ReLU."""
    bound = math.sqrt(3) * _std(tensor, calculate_gain(nonlinearity, a), mode)
    return uniform_(tensor, -bound, bound, generator)


@public(INIT)
def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Variance gain² / fan, normal (He et al., 2015); `a` is the slope of a leaky ReLU."""
    return normal_(tensor, 0.0, _std(tensor, calculate_gain(nonlinearity, a), mode), generator)


fill(globals(), INIT)
