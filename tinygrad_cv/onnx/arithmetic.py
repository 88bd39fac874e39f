"""Operators on single elements: arithmetic, comparisons, casts and activations."""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import tinygrad_cv as tg
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.onnx.operators import beside, count, meet, number, operator
from tinygrad_cv.onnx.protobuf import dtype_of

# ----- operators that are one function -----------------------------------------------------------

UNARY = """
    Abs=abs Acos=acos Acosh=acosh Asin=asin Asinh=asinh Atan=atan Atanh=atanh Ceil=ceil Cos=cos
    BitwiseNot=bitwise_not Cosh=cosh Det=det Erf=erf Exp=exp Floor=floor HardSwish=hardswish
    IsNaN=isnan Log=log Mish=mish
    Neg=neg Not=logical_not Reciprocal=reciprocal Relu=relu Round=round Sigmoid=sigmoid Sign=sign
    Sin=sin Sinh=sinh Softplus=softplus Softsign=softsign Sqrt=sqrt Tan=tan Tanh=tanh
"""
BINARY = """
    BitwiseAnd=bitwise_and BitwiseOr=bitwise_or BitwiseXor=bitwise_xor
    Add=add And=logical_and Equal=eq Greater=gt GreaterOrEqual=ge Less=lt LessOrEqual=le
    Mul=mul Or=logical_or Sub=sub Xor=logical_xor
"""
VARIADIC = "Max=maximum Min=minimum Sum=add"
"""Operators and the functions that they are."""


def _unary(name: str) -> Callable[[Tensor], Tensor]:
    def handler(x: Tensor) -> Tensor:
        result: Tensor = getattr(tg, name)(x)
        return result

    return handler


def _binary(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    def handler(x: Tensor, y: Tensor) -> Tensor:
        meet(x, y)
        result: Tensor = getattr(tg, name)(x, y)
        return result

    return handler


def _folded(name: str) -> Callable[..., Tensor]:
    def handler(*xs: Tensor) -> Tensor:
        meet(*xs)
        return reduce(getattr(tg, name), xs)

    return handler


for _kind, _table in ((_unary, UNARY), (_binary, BINARY), (_folded, VARIADIC)):
    for _name, _function in (entry.split("=") for entry in _table.split()):
        operator(_name)(_kind(_function))


@operator("BitShift")
def _bit_shift(x: Tensor, y: Tensor, *, direction: str) -> Tensor:
    meet(x, y)
    shift = tg.bitwise_left_shift if direction == "LEFT" else tg.bitwise_right_shift
    return shift(x, y)


# ----- arithmetic --------------------------------------------------------------------------------


@operator("Div")
def _div(x: Tensor, y: Tensor) -> Tensor:
    meet(x, y)
    if x.is_floating_point():
        return x / y
    return tg.floor_divide(x - tg.fmod(x, y), y)  # rounded towards 0


@operator("Mod")
def _mod(x: Tensor, y: Tensor, *, fmod: int = 0) -> Tensor:
    meet(x, y)
    return tg.fmod(x, y) if fmod else tg.remainder(x, y)


@operator("Pow")
def _pow(x: Tensor, y: Tensor) -> Tensor:
    meet(x, y)
    return tg.pow(x, y).to(dtype=x.dtype)


@operator("Mean")
def _mean(*xs: Tensor) -> Tensor:
    meet(*xs)
    return reduce(tg.add, xs) / len(xs)


@operator("Clip")
def _clip(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    low, high = number(min), number(max)
    return x if low is None and high is None else tg.clamp(x, low, high)


@operator("IsInf")
def _isinf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    infinite = tg.isinf(x)
    if not detect_negative:
        infinite = infinite & (x > 0)
    return infinite if detect_positive else infinite & (x < 0)


@operator("Where")
def _where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    meet(condition, x, y)
    return tg.where(condition, x, y)


@operator("Cast")
def _cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    return x.to(dtype=dtype_of(to))


@operator("CastLike")
def _cast_like(x: Tensor, target: Tensor, *, saturate: int = 1, round_mode: str = "up") -> Tensor:
    return x.to(dtype=target.dtype)


# ----- activations -------------------------------------------------------------------------------


@operator("LeakyRelu")
def _leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return tg.leaky_relu(x, alpha)


@operator("PRelu")
def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    meet(x, slope)
    return tg.where(x > 0, x, slope * x)


@operator("Elu")
def _elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return tg.elu(x, alpha)


@operator("Celu")
def _celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return tg.celu(x, alpha)


SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


@operator("Selu")
def _selu(x: Tensor, *, alpha: float = SELU_ALPHA, gamma: float = SELU_GAMMA) -> Tensor:
    if (alpha, gamma) == (SELU_ALPHA, SELU_GAMMA):
        return tg.selu(x)
    return gamma * tg.elu(x, alpha)


@operator("Gelu")
def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    return tg.gelu(x, approximate=approximate)


@operator("Swish")
def _swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return tg.silu(x) if alpha == 1 else x * tg.sigmoid(alpha * x)


@operator("HardSigmoid")
def _hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return tg.clamp(alpha * x + beta, 0, 1)


@operator("ThresholdedRelu")
def _thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return tg.threshold(x, alpha, 0.0)


@operator("Shrink")
def _shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    return tg.where(x < -lambd, x + bias, tg.where(x > lambd, x - bias, 0.0))


def _normalized_along(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function along one axis; until version 13 along all axes from that one on."""

    def handler(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
        if opset >= 13:
            return function(x, -1 if axis is None else axis)
        axis = 1 if axis is None else axis
        rows = x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
        return function(rows, 1).reshape(x.shape)

    return handler


def _hardmax_along(x: Tensor, axis: int) -> Tensor:
    axis %= x.ndim
    first = tg.argmax(x, axis, keepdim=True)
    return (beside(count(x.shape[axis], x), axis, x.ndim) == first).to(dtype=x.dtype)


operator("Softmax")(_normalized_along(lambda x, axis: tg.softmax(x, axis)))
operator("LogSoftmax")(_normalized_along(lambda x, axis: tg.log_softmax(x, axis)))
operator("Hardmax")(_normalized_along(_hardmax_along))


@operator("Dropout")
def _dropout(
    x: Tensor, ratio: Any = None, training_mode: Any = None, *, seed: int = 0, outputs: int
) -> Any:
    p = number(ratio, 0.5) if number(training_mode, False) else 0.0
    if outputs == 1:
        return tg.dropout(x, p)
    scale = tg.dropout(tg.ones_like(x), p)
    kept = scale != 0
    return tg.where(kept, x, 0.0) * scale, kept
