"""Layers before a batch normalization, with its scale and shift taken into their weights."""

from copy import deepcopy
from typing import Any, TypeVar

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import ones_like, zeros_like
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter

Layer = TypeVar("Layer", bound=Module)


def _fused(
    weight: Any, bias: Any, mean: Tensor, var: Tensor, eps: float, scale: Any, shift: Any, axis: int
) -> tuple[Parameter, Parameter]:
    """The weight and bias of y ↦ scale · (y - mean) / √(var + eps) + shift after a layer."""
    scale = ones_like(mean) if scale is None else scale
    shift = zeros_like(mean) if shift is None else shift
    bias = zeros_like(mean) if bias is None else bias
    with no_grad():
        factor = scale / (var + eps).sqrt()
        shape = [1] * weight.ndim
        shape[axis] = -1
        new = (
            (weight * factor.reshape(*shape)).to(dtype=weight.dtype),
            ((bias - mean) * factor + shift).to(dtype=bias.dtype),
        )
    return Parameter(new[0], weight.requires_grad), Parameter(new[1], bias.requires_grad)


def fuse_conv_bn_weights(
    conv_w: Any,
    conv_b: Any,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Any,
    bn_b: Any,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """The weight and bias of a convolution with a batch normalization after it.

    With s = bn_w / √(bn_rv + bn_eps) for each channel they are conv_w · s and
    (conv_b - bn_rm) · s + bn_b.

    >>> from tinygrad_cv import ones, zeros
    >>> w = ones(1, 1, 1, 1)
    >>> weight, bias = fuse_conv_bn_weights(w, None, ones(1), ones(1), 0.0, 2 * ones(1), zeros(1))
    >>> weight.item(), bias.item()
    (2.0, -2.0)
    """
    return _fused(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 1 if transpose else 0)


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """The weight and bias of a linear layer with a batch normalization after it.

    The formula is that of `fuse_conv_bn_weights`.

    >>> from tinygrad_cv import ones, zeros
    >>> w = ones(1, 3)
    >>> weight, bias = fuse_linear_bn_weights(w, None, ones(1), ones(1), 0.0, 2 * ones(1), zeros(1))
    >>> weight.tolist(), bias.tolist()
    ([[2.0, 2.0, 2.0]], [-2.0])
    """
    return _fused(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def fuse_conv_bn_eval(conv: Layer, bn: Any, transpose: bool = False) -> Layer:
    """A copy of a convolution that does what it and the batch normalization after it do.

    Both are in test mode: the running mean and variance are numbers by then.

    >>> from tinygrad_cv import nn, randn
    >>> conv, bn = nn.Conv2d(2, 3, 1).eval(), nn.BatchNorm2d(3).eval()
    >>> x = randn(1, 2, 4, 4)
    >>> (fuse_conv_bn_eval(conv, bn)(x) - bn(conv(x))).abs().max().item() < 1e-5
    True
    """
    return _fused_layer(conv, bn, 1 if transpose else 0)


def fuse_linear_bn_eval(linear: Layer, bn: Any) -> Layer:
    """A copy of a linear layer that does what it and the batch normalization after it do.

    >>> from tinygrad_cv import nn, randn
    >>> linear, bn = nn.Linear(2, 3).eval(), nn.BatchNorm1d(3).eval()
    >>> x = randn(5, 2)
    >>> (fuse_linear_bn_eval(linear, bn)(x) - bn(linear(x))).abs().max().item() < 1e-5
    True
    """
    return _fused_layer(linear, bn, 0)


def _fused_layer(layer: Layer, bn: Any, axis: int) -> Layer:
    if layer.training or bn.training:
        raise ValueError("only layers in test mode can be fused; call .eval() on both first.")
    if bn.running_mean is None:
        raise ValueError("the batch normalization has no running mean and variance to fuse.")
    fused: Any = deepcopy(layer)
    fused.weight, fused.bias = _fused(
        *(fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias),
        axis,
    )
    return fused  # type: ignore[no-any-return]
