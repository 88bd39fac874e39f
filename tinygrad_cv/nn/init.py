"""Initial values for weights. Each function fills a tensor in place and returns it.

A layer's signal keeps its scale when the variance of its weights is about 1 / fan_in, where
fan_in is the number of inputs to one unit.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tinygrad_cv import creation
from tinygrad_cv._public import INIT, fill, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import zeros
from tinygrad_cv.ops.elementwise import erfinv, sign
from tinygrad_cv.ops.linalg import qr
from tinygrad_cv.random import rand, randn, randperm

_GAINS = {
    **dict.fromkeys(("linear", "sigmoid", "conv1d", "conv2d", "conv3d"), 1.0),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1.0),
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


@public(INIT)
def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that makes up for what a nonlinearity takes from the scale of the signal.

    `param` is the slope of a leaky ReLU, by default 0.01. That of "selu" is 3/4, as in PyTorch.

    >>> round(calculate_gain("relu"), 3), calculate_gain("conv2d")
    (1.414, 1.0)
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, int | float):
            raise ValueError(f"the slope of a leaky ReLU is a number; got {slope!r}.")
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"nonlinearity must be one of {', '.join(_GAINS)} or leaky_relu.")
    return _GAINS[nonlinearity]


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """(inputs to, outputs of) one unit of a weight (out, in) or (out, in, kh, kw)."""
    if tensor.ndim < 2:
        raise ValueError(
            f"a tensor of shape {tensor.shape} has no fan; weights have the shape (out, in) or "
            "(out, in, kh, kw)."
        )
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    """One of the two: of the mode "fan_in" or "fan_out"."""
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out'; got {mode!r}.")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def _std(tensor: Tensor, gain: float, mode: str) -> float:
    fan = _calculate_correct_fan(tensor, mode)
    return gain / math.sqrt(fan) if fan else 0.0  # there is no element then


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


_drawing: ContextVar[bool] = ContextVar("drawing", default=True)


@contextmanager
def undrawn() -> Iterator[None]:
    """In here nothing is drawn: a module that is made for values to be loaded is made faster."""
    token = _drawing.set(False)
    try:
        yield
    finally:
        _drawing.reset(token)


@public(INIT)
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform on [a, b)."""
    if not a <= b:
        raise ValueError(f"uniform_: the numbers go from a up to b; got a={a} and b={b}.")
    if _drawing.get():
        draw = rand(tensor.shape, generator=generator, dtype=tensor.dtype, device=tensor.device)
        tensor.data.copy_(draw * (b - a) + a)
    return tensor


@public(INIT)
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with this mean and standard deviation."""
    if not std >= 0:
        raise ValueError(f"normal_: std is 0 or more; got {std}.")
    if _drawing.get():
        draw = randn(tensor.shape, generator=generator, dtype=tensor.dtype, device=tensor.device)
        tensor.data.copy_(draw * std + mean)
    return tensor


@public(INIT)
def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Variance gain² · 2 / (fan_in + fan_out), uniform (Glorot and Bengio, 2010)."""
    bound = gain * math.sqrt(6 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound, generator)


@public(INIT)
def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Variance gain² · 2 / (fan_in + fan_out), normal (Glorot and Bengio, 2010)."""
    return normal_(
        tensor, 0.0, gain * math.sqrt(2 / sum(_calculate_fan_in_and_fan_out(tensor))), generator
    )


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


@public(INIT)
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Normal with this mean and standard deviation, of which only what lies in [a, b] is drawn.

    x = mean + std · Φ⁻¹(u) with u uniform on [Φ((a - mean) / std), Φ((b - mean) / std)], where Φ
    is the distribution function of a standard normal. The bounds are values, not multiples of std.

    >>> from tinygrad_cv import empty
    >>> trunc_normal_(empty(1000), std=5.0).abs().max().item() <= 2
    True
    """
    if not (std > 0 and a < b):
        raise ValueError(f"trunc_normal_: std > 0 and a < b; got std={std}, a={a} and b={b}.")
    if not _drawing.get():
        return tensor
    # 2Φ(z) - 1 is erf(z / √2), whose inverse there is.
    low, high = (math.erf((bound - mean) / (std * math.sqrt(2))) for bound in (a, b))
    draw = rand(tensor.shape, generator=generator, dtype="float64", device=tensor.device)
    draw = mean + std * math.sqrt(2) * erfinv(low + (high - low) * draw)
    tensor.data.copy_(draw.clamp(a, b).to(dtype=tensor.dtype))
    return tensor


@public(INIT)
def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix, so that a linear layer passes on as many inputs as it can.

    >>> eye_(zeros(2, 3)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if tensor.ndim != 2:
        raise ValueError(f"eye_ fills a matrix; got a tensor of shape {tensor.shape}.")
    tensor.data.copy_(creation.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))
    return tensor


@public(INIT)
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A weight (out, in, *window) of a convolution that passes on its input channels.

    w[i, i, middle of the window] = 1 in each of the groups, as far as there are channels; the rest
    is 0. The weight has 3, 4 or 5 axes.

    >>> dirac_(zeros(2, 2, 3))[0].tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError(
            f"dirac_ fills the weight of a convolution, of 3 to 5 axes; got {tensor.shape}."
        )
    if tensor.shape[0] % groups:
        raise ValueError(f"dirac_: groups={groups} must divide the {tensor.shape[0]} outputs.")
    values = zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    out = tensor.shape[0] // groups
    middle = tuple(n // 2 for n in tensor.shape[2:])
    for group in range(groups):
        for i in range(min(out, tensor.shape[1])):
            values[(group * out + i, i, *middle)] = 1
    tensor.data.copy_(values)
    return tensor


@public(INIT)
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """`gain` times a matrix with orthonormal rows, or columns if there are more rows.

    It is the Q of the decomposition of normal numbers, with the signs of the diagonal of R, and so
    uniform among such matrices (Saxe et al., 2014; Mezzadri, 2007). Axes after the second count as
    columns.

    >>> w = orthogonal_(zeros(2, 3))
    >>> (w @ w.t() - creation.eye(2)).abs().max().item() < 1e-6
    True
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_ fills at least a matrix; got {tensor.shape}.")
    if not tensor.numel():
        return tensor
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    wide = "float32" if tensor.dtype == "float16" else tensor.dtype
    shape = (max(rows, columns), min(rows, columns))
    q, r = qr(randn(shape, generator=generator, dtype=wide, device=tensor.device))
    q = q * sign(r.diagonal())
    q = q if rows >= columns else q.transpose(0, 1)
    tensor.data.copy_((gain * q).reshape(tensor.shape).to(dtype=tensor.dtype))
    return tensor


@public(INIT)
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal numbers in a matrix, of which in each column a share `sparsity` is 0 (Martens, 2010).

    The number of zeros in a column is rounded up.

    >>> from tinygrad_cv import empty
    >>> (sparse_(empty(4, 3), 0.5) == 0).sum(0)
    tensor([2, 2, 2])
    """
    if tensor.ndim != 2:
        raise ValueError(f"sparse_ fills a matrix; got a tensor of shape {tensor.shape}.")
    rows, columns = tensor.shape
    normal_(tensor, 0, std, generator)
    none = math.ceil(sparsity * rows)
    for column in range(columns):
        for row in randperm(rows, generator=generator, device="cpu")[:none].tolist():
            tensor.detach()[row, column] = 0
    return tensor


for _name in ("uniform", "normal", "constant", "eye", "dirac", "xavier_uniform", "xavier_normal"):
    public(INIT, name=_name)(globals()[f"{_name}_"])
for _name in ("kaiming_uniform", "kaiming_normal", "orthogonal", "sparse"):
    public(INIT, name=_name)(globals()[f"{_name}_"])

fill(globals(), INIT)
