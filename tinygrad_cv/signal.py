"""Window functions: weights for a stretch of a signal, which fall off towards its ends."""

import math
from collections.abc import Callable
from typing import Any

from tinygrad_cv._public import TOP, public
from tinygrad_cv._tensor import Tensor, dtype_named
from tinygrad_cv.backend import host


def _window(
    name: str,
    window_length: int,
    periodic: bool,
    weight: Callable[[Any], Any],
    dtype: Any,
    device: str | None,
    requires_grad: bool,
) -> Tensor:
    """weight(t) for t from 0 to 1; a periodic window leaves out the last of one place more."""
    if window_length < 0:
        raise ValueError(f"{name}: a window has 0 places or more; got {window_length}.")
    steps = max(window_length - (not periodic), 1)
    place = (
        host.arange(window_length) / steps if window_length > 1 else host.full(window_length, 0.5)
    )
    values = weight(place)
    return Tensor(values, dtype=dtype_named(dtype), device=device, requires_grad=requires_grad)


@public(TOP)
def hann_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """sin²(π t) for t = n / N, n = 0 ... N - 1; without `periodic` t = n / (N - 1).

    >>> import tinygrad_cv as tg
    >>> tg.hann_window(4)
    tensor([0. , 0.5, 1. , 0.5])
    """

    def weight(t: Any) -> Any:
        return host.sin(math.pi * t) ** 2

    return _window("hann_window", window_length, periodic, weight, dtype, device, requires_grad)


@public(TOP)
def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """alpha - beta · cos(2π t) for t as in hann_window.

    >>> import tinygrad_cv as tg
    >>> tg.hamming_window(4)
    tensor([0.08, 0.54, 1.  , 0.54])
    """

    def weight(t: Any) -> Any:
        return alpha - beta * host.cos(2 * math.pi * t)

    return _window("hamming_window", window_length, periodic, weight, dtype, device, requires_grad)


@public(TOP)
def blackman_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """0.42 - 0.5 · cos(2π t) + 0.08 · cos(4π t) for t as in hann_window.

    >>> import tinygrad_cv as tg
    >>> tg.blackman_window(3, periodic=False)[1]
    tensor(1.)
    """

    def weight(t: Any) -> Any:
        return 0.42 - 0.5 * host.cos(2 * math.pi * t) + 0.08 * host.cos(4 * math.pi * t)

    return _window("blackman_window", window_length, periodic, weight, dtype, device, requires_grad)


@public(TOP)
def bartlett_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """1 - |2t - 1| for t as in hann_window: a triangle.

    >>> import tinygrad_cv as tg
    >>> tg.bartlett_window(4)
    tensor([0. , 0.5, 1. , 0.5])
    """

    def weight(t: Any) -> Any:
        return 1 - abs(2 * t - 1)

    return _window("bartlett_window", window_length, periodic, weight, dtype, device, requires_grad)


@public(TOP)
def kaiser_window(
    window_length: int,
    periodic: bool = True,
    beta: float = 12.0,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """I₀(beta · √(1 - (2t - 1)²)) / I₀(beta) for t as in hann_window, I₀ the Bessel function.

    >>> import tinygrad_cv as tg
    >>> tg.kaiser_window(4)[2]
    tensor(1.)
    """

    def weight(t: Any) -> Any:
        return host.i0(beta * host.sqrt(1 - (2 * t - 1) ** 2)) / host.i0(beta)

    return _window("kaiser_window", window_length, periodic, weight, dtype, device, requires_grad)
