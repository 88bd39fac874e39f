"""Ops on single elements: arithmetic, comparisons, casts and activations."""

import math
from collections.abc import Callable
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.onnx.writing.graph import Value, Writer, refuses, writes

# ----- ops that are one operator -----------------------------------------------------------------

UNARY = """
    neg=Neg exp=Exp log=Log sqrt=Sqrt reciprocal=Reciprocal sin=Sin cos=Cos tan=Tan asin=Asin
    acos=Acos atan=Atan sinh=Sinh cosh=Cosh asinh=Asinh acosh=Acosh atanh=Atanh erf=Erf abs=Abs
    floor=Floor ceil=Ceil relu=Relu tanh=Tanh sigmoid=Sigmoid softsign=Softsign
    hardswish=HardSwish mish=Mish logical_not=Not selu=Selu
"""
BINARY = """
    add=Add sub=Sub mul=Mul maximum=Max minimum=Min
"""
COMPARISONS = "lt=Less le=LessOrEqual gt=Greater ge=GreaterOrEqual eq=Equal"
LOGIC = "logical_and=And logical_or=Or logical_xor=Xor"
BITS = "bitwise_and=And bitwise_or=Or bitwise_xor=Xor"
"""Ops and the operators that they are."""


def _pairs(table: str) -> list[list[str]]:
    return [entry.split("=") for entry in table.split()]


def _unary(operator: str) -> Callable[..., Value]:
    def handler(g: Writer, x: Any) -> Value:
        if operator in ("Neg", "Abs", "Floor", "Ceil", "Relu") and g.out.dtype[:4] in (
            "uint",
            "bool",
        ):
            return _of_unsigned(g, operator, x)
        if operator in ("Floor", "Ceil") and g.out.dtype[:3] == "int":
            return g.cast(x, g.out.dtype)  # it is whole
        made = g.node(operator, *g.alike(x))
        return made

    return handler


def _of_unsigned(g: Writer, operator: str, x: Value) -> Value:
    if operator != "Neg":
        return g.cast(x, g.out.dtype)
    made = g.node("Neg", g.cast(x, "int64"))
    return made


def _binary(operator: str) -> Callable[..., Value]:
    def handler(g: Writer, x: Any, y: Any) -> Value:
        if g.out.dtype == "bool":
            truth = {"Add": "Or", "Max": "Or", "Mul": "And", "Min": "And", "Sub": "Xor"}
            made = g.node(truth[operator], *g.alike(x, y))
            return made
        made = g.node(operator, *g.alike(x, y))
        return made

    return handler


def common(g: Writer, x: Any, y: Any) -> list[Value]:
    """Two operands, of which one may be a number, in one dtype."""
    kinds = [host.dtype(v.dtype) if isinstance(v, Value) else v for v in (x, y)]
    numbers = [v for v in kinds if not isinstance(v, host.dtype)]
    dtype = host.result_type(*kinds)
    if any(isinstance(n, float) for n in numbers) and dtype.kind != "f":
        dtype = host.dtype("float32")
    if dtype.kind in "iu" and any(
        not host.iinfo(dtype).min <= n <= host.iinfo(dtype).max for n in numbers
    ):
        dtype = host.dtype("int64")
    return [g.cast(v, dtype.name) for v in (x, y)]


def _comparison(operator: str) -> Callable[..., Value]:
    def handler(g: Writer, x: Any, y: Any) -> Value:
        x, y = common(g, x, y)
        if operator != "Equal" and x.dtype == "bool":
            x, y = g.cast(x, "int32"), g.cast(y, "int32")
        made = g.node(operator, x, y, dtype="bool")
        return made

    return handler


def _logic(operator: str) -> Callable[..., Value]:
    def handler(g: Writer, x: Any, y: Any) -> Value:
        made = g.node(operator, g.cast(x, "bool"), g.cast(y, "bool"))
        return made

    return handler


def _bits(operator: str) -> Callable[..., Value]:
    def handler(g: Writer, x: Any, y: Any) -> Value:
        x, y = g.alike(x, y)
        made = g.node(operator if x.dtype == "bool" else f"Bitwise{operator}", x, y)
        return made

    return handler


for _kind, _table in (
    (_unary, UNARY),
    (_binary, BINARY),
    (_comparison, COMPARISONS),
    (_logic, LOGIC),
    (_bits, BITS),
):
    for _name, _operator in _pairs(_table):
        writes(_name)(_kind(_operator))


@writes("ne")
def _ne(g: Writer, x: Any, y: Any) -> Any:
    return g.node("Not", g.node("Equal", *common(g, x, y), dtype="bool"))


@writes("bitwise_not")
def _bitwise_not(g: Writer, x: Value) -> Any:
    return g.node("Not" if x.dtype == "bool" else "BitwiseNot", x)


# ----- arithmetic --------------------------------------------------------------------------------


@writes("div")
def _div(g: Writer, x: Any, y: Any) -> Any:
    return g.node("Div", *g.alike(x, y))


POWERS = ("float16", "float32", "float64", "int32", "int64")
"""What Pow takes; other integers are taken to it as int64."""


@writes("pow")
def _pow(g: Writer, x: Value, n: Any) -> Any:
    x = g.cast(x, g.out.dtype if g.out.dtype in POWERS else "int64")
    powers = {-1: "Reciprocal", 0.5: "Sqrt"}
    if n == 2:
        return g.node("Mul", x, x)
    if n in powers and x.dtype[:5] == "float":
        return g.node(powers[n], x)
    if n == -0.5:
        return g.node("Reciprocal", g.node("Sqrt", x))
    return g.node("Pow", x, g.const(n, x.dtype))


@writes("pow_tensor")
def _pow_tensor(g: Writer, x: Any, n: Any) -> Any:
    dtype = g.out.dtype if g.out.dtype in POWERS else "int64"
    return g.node("Pow", g.cast(x, dtype), g.cast(n, dtype))


@writes("floor_divide")
def _floor_divide(g: Writer, x: Any, y: Any) -> Any:
    x, y = g.alike(x, y)
    if x.dtype == "float16":  # the quotient is not to be rounded before it is cut
        x, y = g.cast(x, "float32"), g.cast(y, "float32")
    if x.dtype[:5] == "float":
        return g.node("Floor", g.node("Div", x, y))
    rest = g.node("Mod", x, y)  # which has the sign of y
    return g.node("Div", g.node("Sub", x, rest), y)


@writes("remainder")
def _remainder(g: Writer, x: Any, d: Any) -> Any:
    x, d = g.alike(x, d)
    if x.dtype[:5] != "float":
        return g.node("Mod", x, d)
    rest = g.node("Mod", x, d, fmod=1)  # which has the sign of x
    zero = g.const(0, x.dtype)
    differ = g.node(
        "Xor",
        g.node("Less", rest, zero, dtype="bool"),
        g.node("Less", d, zero, dtype="bool"),
    )
    moved = g.node("And", differ, g.node("Not", g.node("Equal", rest, zero, dtype="bool")))
    return g.where(moved, g.node("Add", rest, d), rest)


@writes("fmod")
def _fmod(g: Writer, x: Any, d: Any) -> Any:
    return g.node("Mod", *g.alike(x, d), fmod=1)


@writes("hypot")
def _hypot(g: Writer, a: Any, b: Any) -> Any:
    a, b = (g.node("Abs", v) for v in g.alike(a, b))
    # With the larger one in front of the root, no square overflows.
    most, least = g.node("Max", a, b), g.node("Min", a, b)
    plain = g.node("Or", _equals(g, most, 0.0), g.node("IsInf", most, dtype="bool"))
    ratio = g.node("Div", least, g.where(plain, 1.0, most))
    root = g.node("Sqrt", g.node("Add", g.node("Mul", ratio, ratio), g.const(1, a.dtype)))
    return g.where(plain, most, g.node("Mul", most, root))


def _equals(g: Writer, x: Value, n: float) -> Value:
    made = g.node("Equal", x, g.const(n, x.dtype), dtype="bool")
    return made


@writes("expm1")
def expm1(g: Writer, x: Value) -> Any:
    """e^x - 1 = 2 tanh(x/2) / (1 - tanh(x/2)) near 0, where the difference would cancel."""
    x = g.cast(x, g.out.dtype)
    one = g.const(1, x.dtype)
    near = g.node("Min", x, one)
    half = g.node("Tanh", g.node("Mul", near, g.const(0.5, x.dtype)))
    small = g.node("Div", g.node("Add", half, half), g.node("Sub", one, half))
    large = g.node("Sub", g.node("Exp", x), one)
    near_zero = g.node("Less", g.node("Abs", x), one, dtype="bool")
    return g.where(near_zero, small, large)


@writes("log1p")
def log1p(g: Writer, x: Value) -> Any:
    """log(1 + x) = x · log u / (u - 1) for u = 1 + x as it is rounded (Kahan)."""
    x = g.cast(x, g.out.dtype)
    one = g.const(1, x.dtype)
    u = g.node("Add", x, one)
    less = g.node("Sub", u, one)
    plain = g.node("Or", _equals(g, less, 0.0), g.node("IsInf", u, dtype="bool"))
    log = g.node("Log", u)
    exact = g.node("Mul", log, g.node("Div", x, g.where(plain, 1.0, less)))
    return g.where(_equals(g, less, 0.0), x, g.where(plain, log, exact))


def _in_base(base: float) -> Callable[..., Any]:
    def handler(g: Writer, x: Value) -> Any:
        x = g.cast(x, g.out.dtype)
        return g.node("Mul", g.node("Log", x), g.const(1 / math.log(base), x.dtype))

    return handler


writes("log2")(_in_base(2))
writes("log10")(_in_base(10))


@writes("exp2")
def _exp2(g: Writer, x: Value) -> Any:
    return g.node("Pow", g.const(2, g.out.dtype), *g.alike(x))


def _log_of_sum(g: Writer, a: Any, b: Any, scale: float) -> Any:
    a, b = g.alike(a, b)
    most, least = g.node("Max", a, b), g.node("Min", a, b)
    same = g.node("Equal", a, b, dtype="bool")  # two infinities have no difference
    apart = g.where(same, 0.0, g.node("Sub", least, most))
    power = g.node("Exp", g.node("Mul", apart, g.const(scale, a.dtype)))
    log = g.node("Log", g.node("Add", power, g.const(1, a.dtype)))
    return g.node("Add", most, g.node("Mul", log, g.const(1 / scale, a.dtype)))


@writes("logaddexp")
def _logaddexp(g: Writer, a: Any, b: Any) -> Any:
    return _log_of_sum(g, a, b, 1.0)


@writes("logaddexp2")
def _logaddexp2(g: Writer, a: Any, b: Any) -> Any:
    return _log_of_sum(g, a, b, math.log(2))


@writes("xlogy")
def _xlogy(g: Writer, a: Any, b: Any) -> Any:
    a, b = g.alike(a, b)
    none = g.node("And", _equals(g, a, 0.0), g.node("Not", g.node("IsNaN", b, dtype="bool")))
    return g.where(none, 0.0, g.node("Mul", a, g.node("Log", g.where(none, 1.0, b))))


@writes("square")
def _square(g: Writer, x: Value) -> Any:
    x = g.cast(x, g.out.dtype)
    return g.node("Mul", x, x)


@writes("rsqrt")
def _rsqrt(g: Writer, x: Value) -> Any:
    return g.node("Reciprocal", g.node("Sqrt", *g.alike(x)))


@writes("atan2")
def _atan2(g: Writer, a: Any, b: Any) -> Any:
    """The angle of (b, a): that of the right half plane, or π further."""
    a, b = g.alike(a, b)
    zero = g.const(0, a.dtype)
    upright = _equals(g, b, 0.0)
    level = _equals(g, a, 0.0)
    angle = g.node("Atan", g.node("Div", a, g.where(upright, 1.0, b)))
    negative = _is_negative(g, a)
    half = g.where(negative, -math.pi, math.pi)
    left = g.node("Less", b, zero, dtype="bool")
    turned = g.where(left, g.node("Add", angle, half), angle)
    quarter = g.node("Mul", half, g.const(0.5, a.dtype))
    rest = g.where(level, g.where(_is_negative(g, b), half, a), quarter)
    return g.where(upright, rest, turned)


def _is_negative(g: Writer, x: Value) -> Value:
    """Whether the sign is -, also that of 0."""
    zero = g.const(0, x.dtype)
    below = g.node("Less", x, zero, dtype="bool")
    if x.dtype[:5] != "float":
        made = below
        return made
    inverse = g.node("Less", g.node("Reciprocal", x), zero, dtype="bool")
    made = g.node("Or", below, g.node("And", _equals(g, x, 0.0), inverse))
    return made


@writes("copysign")
def _copysign(g: Writer, x: Any, y: Any) -> Any:
    x, y = g.alike(x, y)
    size = g.node("Abs", x)
    return g.where(_is_negative(g, y), g.node("Neg", size), size)


@writes("erfc")
def _erfc(g: Writer, x: Value) -> Any:
    return g.node("Sub", g.const(1, g.out.dtype), g.node("Erf", *g.alike(x)))


@writes("sign")
def _sign(g: Writer, x: Value) -> Any:
    if x.dtype == "bool":
        return x
    return g.node("Sign", x)


@writes("trunc")
def _trunc(g: Writer, x: Value) -> Any:
    if x.dtype[:5] != "float":
        return x
    return g.node("Mul", g.node("Sign", x), g.node("Floor", g.node("Abs", x)))


@writes("round")
def _round(g: Writer, x: Value, *, decimals: int) -> Any:
    if x.dtype[:5] != "float":
        if decimals >= 0:
            return x
        g.refuse("whole numbers are rounded to tens; make them floats")
    if not decimals:
        return g.node("Round", x)
    scale = g.const(10.0 ** abs(decimals), x.dtype)
    there, back = ("Mul", "Div") if decimals > 0 else ("Div", "Mul")
    return g.node(back, g.node("Round", g.node(there, x, scale)), scale)


@writes("nan_to_num")
def _nan_to_num(g: Writer, x: Value, *, nan: float, posinf: Any, neginf: Any) -> Any:
    if x.dtype[:5] != "float":
        return x
    most = float(host.finfo(x.dtype).max)
    high, low = most if posinf is None else posinf, -most if neginf is None else neginf
    above = g.node("IsInf", x, dtype="bool", detect_negative=0)
    below = g.node("IsInf", x, dtype="bool", detect_positive=0)
    finite = g.where(below, low, g.where(above, high, x))
    return g.where(g.node("IsNaN", x, dtype="bool"), nan, finite)


@writes("clamp")
def _clamp(g: Writer, x: Value, *, min: Any, max: Any) -> Any:
    x = g.cast(x, g.out.dtype)
    low, high = (None if n is None else g.const(n, x.dtype) for n in (min, max))
    if low is not None and high is not None and min > max:
        return g.node("Min", g.node("Max", x, low), high)
    return g.node("Clip", x, low, high)


@writes("where")
def _where(g: Writer, condition: Any, x: Any, y: Any) -> Any:
    return g.where(g.cast(condition, "bool"), x, y)


@writes("clone", "to_device")
def _clone(g: Writer, x: Value, **where: Any) -> Value:
    return x


@writes("cast")
def _cast(g: Writer, x: Value, *, dtype: Any) -> Value:
    return g.cast(x, g.out.dtype)


@writes("isnan", "isinf")
def _is_special(g: Writer, x: Value) -> Any:
    if x.dtype[:5] != "float":
        return g.node("And", g.node("Equal", x, x, dtype="bool"), g.const(False))
    operator = "IsNaN" if g.here.op.name == "isnan" else "IsInf"
    if operator == "IsInf" and x.dtype == "float16" and g.opset < 20:
        x = g.cast(x, "float32")
    return g.node(operator, x, dtype="bool")


@writes("isfinite")
def _isfinite(g: Writer, x: Value) -> Any:
    if x.dtype[:5] != "float":
        return g.node("Equal", x, x, dtype="bool")
    special = (g.node(name, x, dtype="bool") for name in ("IsNaN", "IsInf"))
    return g.node("Not", g.node("Or", *special))


@writes("bitwise_left_shift", "bitwise_right_shift")
def _shift(g: Writer, x: Any, y: Any) -> Any:
    left = g.here.op.name == "bitwise_left_shift"
    x, y = g.alike(x, y)
    if x.dtype[:4] == "uint":
        return g.node("BitShift", x, y, direction="LEFT" if left else "RIGHT")
    power = g.node("Pow", g.const(2, "int64"), g.cast(y, "int64"))
    wide = g.cast(x, "int64")
    if left:
        return g.node("Mul", wide, power)
    return g.node("Div", g.node("Sub", wide, g.node("Mod", wide, power)), power)


@writes("logit")
def _logit(g: Writer, x: Value) -> Any:
    x = g.cast(x, g.out.dtype)
    return g.node("Log", g.node("Div", x, g.node("Sub", g.const(1, x.dtype), x)))


refuses(
    "lgamma polygamma erfinv spherical_bessel",
    "ONNX has no operator for this function; compute it outside of the model",
)
refuses("gcd lcm", "ONNX has no operator for common divisors; compute it outside of the model")

# ----- activations -------------------------------------------------------------------------------


@writes("leaky_relu")
def _leaky_relu(g: Writer, x: Value, *, negative_slope: float) -> Any:
    if negative_slope == 0:
        return g.node("Relu", x)
    return g.node("LeakyRelu", x, alpha=float(negative_slope))


@writes("prelu")
def _prelu(g: Writer, x: Value, weight: Value) -> Any:
    return g.node("PRelu", *g.alike(x, weight))


@writes("relu6")
def _relu6(g: Writer, x: Value) -> Any:
    return g.node("Clip", x, g.const(0, x.dtype), g.const(6, x.dtype))


@writes("hardtanh")
def _hardtanh(g: Writer, x: Value, *, min_val: float, max_val: float) -> Any:
    return g.node("Clip", x, g.const(min_val, x.dtype), g.const(max_val, x.dtype))


@writes("elu")
def _elu(g: Writer, x: Value, *, alpha: float) -> Any:
    return g.node("Elu", *g.alike(x), alpha=float(alpha))


@writes("celu")
def _celu(g: Writer, x: Value, *, alpha: float) -> Any:
    x = g.cast(x, g.out.dtype)
    if x.dtype == "float32":
        return g.node("Celu", x, alpha=float(alpha))
    rate = g.const(alpha, x.dtype)
    return g.node("Mul", g.node("Elu", g.node("Div", x, rate), alpha=1.0), rate)


@writes("logsigmoid")
def _logsigmoid(g: Writer, x: Value) -> Any:
    return g.node("Neg", g.node("Softplus", g.node("Neg", *g.alike(x))))


@writes("softplus")
def _softplus(g: Writer, x: Value, *, beta: float, threshold: float) -> Any:
    x = g.cast(x, g.out.dtype)
    scaled = x if beta == 1 else g.node("Mul", x, g.const(beta, x.dtype))
    made = g.node("Softplus", scaled)
    made = made if beta == 1 else g.node("Div", made, g.const(beta, x.dtype))
    if threshold >= 20:  # from where on the two are the same number
        return made
    above = g.node("Greater", scaled, g.const(threshold, x.dtype), dtype="bool")
    return g.where(above, x, made)


@writes("silu")
def _silu(g: Writer, x: Value) -> Any:
    x = g.cast(x, g.out.dtype)
    return g.node("Mul", x, g.node("Sigmoid", x))


@writes("gelu")
def _gelu(g: Writer, x: Value, *, approximate: str) -> Any:
    return g.node("Gelu", *g.alike(x), approximate=approximate)


@writes("softshrink")
def _softshrink(g: Writer, x: Value, *, lambd: float) -> Any:
    return g.node("Shrink", *g.alike(x), lambd=float(lambd), bias=float(lambd))


@writes("hardshrink")
def _hardshrink(g: Writer, x: Value, *, lambd: float) -> Any:
    return g.node("Shrink", x, lambd=float(lambd), bias=0.0)


@writes("tanhshrink")
def _tanhshrink(g: Writer, x: Value) -> Any:
    x = g.cast(x, g.out.dtype)
    return g.node("Sub", x, g.node("Tanh", x))


@writes("hardsigmoid")
def _hardsigmoid(g: Writer, x: Value) -> Any:
    return g.node("HardSigmoid", *g.alike(x), alpha=1 / 6, beta=0.5)


@writes("threshold")
def _threshold(g: Writer, x: Value, *, threshold: float, value: float) -> Any:
    above = g.node("Greater", x, g.const(threshold, x.dtype), dtype="bool")
    return g.where(above, x, value)


@writes("glu")
def _glu(g: Writer, x: Value, *, axis: int) -> Any:
    x = g.cast(x, g.out.dtype)
    value, gate = g.several("Split", x, outputs=2, axis=axis, num_outputs=2)
    return g.node("Mul", value, g.node("Sigmoid", gate))


@writes("softmax")
def _softmax(g: Writer, x: Value, *, axis: int) -> Any:
    return g.node("Softmax", *g.alike(x), axis=axis)


@writes("log_softmax")
def _log_softmax(g: Writer, x: Value, *, axis: int) -> Any:
    return g.node("LogSoftmax", *g.alike(x), axis=axis)


refuses(
    "rrelu dropout alpha_dropout gaussian_noise",
    "it draws random numbers; export the model for evaluation (training=False)",
)
