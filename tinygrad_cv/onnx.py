"""ONNX models as modules that can be run, trained, drawn and printed like any other.

`import_model` reads a model, and each of its nodes becomes calls of the public functions of
`tinygrad_cv`. What an operator takes is written down once, in the signature of its handler: inputs
by position (None where one may be left out), attributes by keyword, with the defaults of the
standard (https://onnx.ai/onnx/operators/). An attribute that a later version of the standard made
an input is taken as that input. A handler that depends on the version of the operator set, or on
how many outputs are wanted, asks for `opset` or `outputs`.

The package `onnx`, which reads the files, comes with an extra: pip install 'tinygrad_cv[onnx]'.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import partial, reduce
from importlib import import_module
from os import PathLike
from typing import Any, TypeVar

import tinygrad_cv as tg
from tinygrad_cv._apply import F
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.nn.module import Module, Parameter
from tinygrad_cv.ops.image import simple_fraction

Handler = TypeVar("Handler", bound=Callable[..., Any])

DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
}
"""The element types of the standard (TensorProto.DataType) that a tensor can have."""

STANDARD = ("", "ai.onnx")
"""The names of the domain that the standard's own operators belong to."""


# ----- the frame ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operator:
    """A handler, and what its signature says."""

    handler: Callable[..., Any]
    inputs: tuple[str, ...]
    least: int
    variadic: bool
    keywords: frozenset[str]


OPERATORS: dict[str, Operator] = {}
"""Every operator that can be imported, by its name in the standard."""


def operator(*names: str) -> Callable[[Handler], Handler]:
    """Register a handler for the operators of these names."""

    def register(handler: Handler) -> Handler:
        parameters = inspect.signature(handler).parameters.values()
        inputs = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        described = Operator(
            handler,
            inputs=tuple(p.name for p in inputs),
            least=sum(p.default is p.empty for p in inputs),
            variadic=any(p.kind is p.VAR_POSITIONAL for p in parameters),
            keywords=frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY),
        )
        OPERATORS.update(dict.fromkeys(names, described))
        return handler

    return register


@dataclass(frozen=True)
class Step:
    """A node of the model, ready to run."""

    label: str
    call: Callable[..., Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, values: dict[str, Tensor]) -> None:
        """Add the outputs to the tensors by name."""
        arguments = [values[name] if name else None for name in self.inputs]
        try:
            results = self.call(*arguments)
        except Exception as error:
            error.add_note(f"This happened in the ONNX node {self.label}.")
            raise
        if isinstance(results, Tensor):
            results = (results,)
        for i, name in enumerate(self.outputs):
            if name:
                if i >= len(results):
                    raise NotImplementedError(
                        f"output {i} ({name}) of the ONNX node {self.label} is not supported."
                    )
                values[name] = results[i]


class OnnxModel(Module):
    """An imported model; see `import_model`.

    Its weights are parameters and buffers, under the names that they have in the model. `inputs`
    and `outputs` are the names of what it takes and gives.
    """

    def __init__(self, model: Any, requires_grad: bool, device: str | None) -> None:
        graph = model.graph
        _refuse_unsupported(graph)
        opset = _opset(model)
        arrays = {tensor.name: _array(tensor) for tensor in graph.initializer}
        trained = {name for name, array in arrays.items() if array.dtype.kind == "f"}
        steps = []
        for node in graph.node:
            if node.op_type == "Constant":
                arrays[node.output[0]] = _constant(node)
                continue
            if node.op_type == "BatchNormalization":
                trained -= {*node.input[3:5]}  # the running mean and variance
            steps.append(_step(node, opset))
        own = {*dir(self), "weights", "inputs", "outputs", "steps"}
        for name, array in arrays.items():
            if name in own:
                raise ValueError(
                    f"a constant of the model is called {name!r}, as is an attribute of the module "
                    "that it becomes; rename it in the model."
                )
            tensor = Tensor(array, device=device)
            # Names may have dots here: there are no modules below whose they could be.
            if name in trained:
                self._hold(name, "parameter", Parameter(tensor, requires_grad=requires_grad))
            else:
                self._hold(name, "buffer", tensor)
        self.weights = tuple(arrays)
        self.inputs = tuple(value.name for value in graph.input if value.name not in arrays)
        self.outputs = tuple(value.name for value in graph.output)
        self.steps = tuple(steps)
        self._check_names()

    def _check_names(self) -> None:
        known = {*self.weights, *self.inputs, ""}
        for step in self.steps:
            for name in step.inputs:
                if name not in known:
                    raise ValueError(
                        f"the ONNX node {step.label} takes {name!r}, which is neither an input nor "
                        "an initializer of the model, nor made by a node before it."
                    )
            known.update(step.outputs)
        for name in self.outputs:
            if name not in known:
                raise ValueError(f"no node of the model makes its output {name!r}.")

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Tensor]:
        """The outputs by name for inputs by name; a weight may be given another value."""
        missing = [name for name in self.inputs if name not in feeds]
        unknown = [name for name in feeds if name not in (*self.inputs, *self.weights)]
        if missing or unknown:
            raise TypeError(
                f"the model takes the inputs ({', '.join(self.inputs)}); "
                f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}."
            )
        values = {name: getattr(self, name) for name in self.weights}
        for name, value in feeds.items():
            values[name] = value if isinstance(value, Tensor) else tg.tensor(value)
        for step in self.steps:
            step.run(values)
        return {name: values[name] for name in self.outputs}

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The output for inputs in the model's order, or by name; a tuple where it has several."""
        if len(inputs) > len(self.inputs):
            raise TypeError(
                f"the model takes the inputs ({', '.join(self.inputs)}); got {len(inputs)}."
            )
        results = self.run(dict(zip(self.inputs, inputs, strict=False)) | named)
        return results[self.outputs[0]] if len(results) == 1 else tuple(results.values())

    def extra_repr(self) -> str:
        return f"({', '.join(self.inputs)}) -> ({', '.join(self.outputs)}), {len(self.steps)} nodes"


def import_model(model: Any, requires_grad: bool = False, device: str | None = None) -> OnnxModel:
    """An ONNX model, given as onnx.ModelProto or as the path of a file, as a Module.

    Called with tensors it gives tensors, results in an ordinary graph: they can be differentiated,
    drawn and listed. `run` takes and gives them by name. Float initializers become parameters,
    learned if `requires_grad`; other constants, and the running statistics of batch normalization,
    become buffers. They lie on `device`, as the inputs must. Whether dropout drops and whether
    batch normalization uses the batch is what the model says, whatever `train` and `eval` say.

    Raises ImportError without the package onnx, and NotImplementedError where the model has what
    is not supported: an unknown operator, a subgraph, an element type that NumPy does not have.
    """
    onnx = _onnx()
    if isinstance(model, str | PathLike):
        model = onnx.load(model)
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(f"expected an onnx.ModelProto or a path; got {type(model).__name__}.")
    if model.functions:
        model = import_module("onnx.inliner").inline_local_functions(model)
    return OnnxModel(model, requires_grad, device)


def _onnx() -> Any:
    try:
        return import_module("onnx")
    except ImportError as error:
        raise ImportError(
            "reading ONNX models needs the package onnx: pip install 'tinygrad_cv[onnx]'"
        ) from error


def _opset(model: Any) -> int:
    """The version of the standard's operators that the model is written in."""
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD]
    return int(max(versions, default=_onnx().defs.onnx_opset_version()))


def _refuse_unsupported(graph: Any) -> None:
    """Raise for what no handler can do anything about, before any work."""
    for node in graph.node:
        if any(
            attribute.type in (attribute.GRAPH, attribute.GRAPHS) for attribute in node.attribute
        ):
            raise NotImplementedError(
                f"the ONNX node {_label(node)} holds a subgraph, and control flow cannot be "
                "imported: export the model with the loops unrolled and the branches decided."
            )
    supported = {*OPERATORS, "Constant"}
    unknown = {
        node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
        for node in graph.node
        if node.domain not in STANDARD or node.op_type not in supported
    }
    if unknown:
        raise NotImplementedError(
            f"operators that cannot be imported: {', '.join(sorted(unknown))}. Supported are: "
            f"{', '.join(sorted(supported))}."
        )
    if graph.sparse_initializer:
        raise NotImplementedError("sparse initializers cannot be imported; make them dense.")


def _dtype(code: int) -> str:
    """The dtype for an element type of the standard."""
    if code not in DTYPES:
        kind = _onnx().TensorProto.DataType.Name(code)
        raise NotImplementedError(
            f"tensors of the element type {kind} cannot be imported; those of "
            f"{', '.join(DTYPES.values())} can."
        )
    return DTYPES[code]


def _array(tensor: Any) -> Any:
    """The values of a TensorProto."""
    dtype = _dtype(tensor.data_type)
    return import_module("onnx.numpy_helper").to_array(tensor).astype(dtype, copy=False)


def _constant(node: Any) -> Any:
    """The value of a Constant node."""
    (attribute,) = node.attribute
    kinds = {"value_float": "float32", "value_floats": "float32"}
    kinds |= {"value_int": "int64", "value_ints": "int64"}
    if attribute.name == "value":
        return _array(attribute.t)
    if attribute.name not in kinds:
        raise NotImplementedError(
            f"the ONNX node {_label(node)} holds a {attribute.name}, which is not supported."
        )
    value = _onnx().helper.get_attribute_value(attribute)
    return host.asarray(value, dtype=kinds[attribute.name])


def _label(node: Any) -> str:
    name = f" {node.name!r}" if node.name else ""
    return f"{node.op_type}{name} ({', '.join(node.input)}) -> ({', '.join(node.output)})"


def _step(node: Any, opset: int) -> Step:
    """A node bound to its handler and its attributes."""
    described, label = OPERATORS[node.op_type], _label(node)
    given = len(node.input)
    moves = GEOMETRY if "geometry" in described.keywords else frozenset[str]()
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.name not in described.keywords | moves | {*described.inputs[given:]}:
            raise NotImplementedError(
                f"the attribute {attribute.name} of the ONNX node {label} cannot be imported."
            )
        value = _onnx().helper.get_attribute_value(attribute)
        if attribute.type == attribute.TENSOR:
            value = _array(value)
        attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
    missing = {*described.inputs[given : described.least]} - attributes.keys()
    if missing or (given > len(described.inputs) and not described.variadic):
        raise ValueError(
            f"the ONNX node {label} has {given} inputs; expected ({', '.join(described.inputs)}), "
            f"of which the first {described.least} are required."
        )
    geometry = Geometry(**{name: attributes.pop(name) for name in moves & attributes.keys()})
    facts = {"geometry": geometry, "opset": opset, "outputs": len(node.output)}
    attributes |= {name: fact for name, fact in facts.items() if name in described.keywords}
    call = partial(described.handler, **attributes)
    return Step(label, call, tuple(node.input), tuple(node.output))


# ----- what handlers share -----------------------------------------------------------------------

Ints = Sequence[int] | None
Pads = list[tuple[int, int]]
"""For each axis, how much is put before and after."""


def _numbers(value: Any) -> list[Any]:
    """The numbers in an input that says what to do (axes, a shape); none where it is left out."""
    listed = value.tolist() if isinstance(value, Tensor) else value
    if listed is None:
        return []
    return list(listed) if isinstance(listed, list | tuple) else [listed]


def _number(value: Any, otherwise: Any = None) -> Any:
    """The one number in such an input."""
    return _numbers(value)[0] if value is not None else otherwise


def _count(n: int, like: Tensor) -> Tensor:
    """0, 1, ..., n - 1 beside `like`."""
    return tg.arange(n, device=like.device)


def _along(axis: int, index: Any) -> tuple[Any, ...]:
    """The index that takes `index` along one axis and all of the axes before it."""
    return (*(slice(None),) * axis, index)


def _beside(values: Tensor, axis: int, ndim: int) -> Tensor:
    """A vector along one of `ndim` axes."""
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _from_end(index: Tensor, n: int) -> Tensor:
    """Places in a length n, of which negative ones count from the end, as places from 0 on."""
    return tg.where(index < 0, index + n, index)


def _pad(x: Tensor, pads: Pads, value: float = 0.0, mode: str = "constant") -> Tensor:
    """`x` with (before, after) put around its last axes."""
    if not any(map(any, pads)):
        return x
    flat = [width for pair in reversed(pads) for width in pair]
    return tg.pad(x, flat, mode, value) if mode == "constant" else tg.pad(x, flat, mode)


# ----- operators that are one function -----------------------------------------------------------

UNARY = """
    Abs=abs Acos=acos Acosh=acosh Asin=asin Asinh=asinh Atan=atan Atanh=atanh Ceil=ceil Cos=cos
    Cosh=cosh Det=det Erf=erf Exp=exp Floor=floor HardSwish=hardswish IsNaN=isnan Log=log Mish=mish
    Neg=neg Not=logical_not Reciprocal=reciprocal Relu=relu Round=round Sigmoid=sigmoid Sign=sign
    Sin=sin Sinh=sinh Softplus=softplus Softsign=softsign Sqrt=sqrt Tan=tan Tanh=tanh
"""
BINARY = """
    Add=add And=logical_and Equal=eq Greater=gt GreaterOrEqual=ge Less=lt LessOrEqual=le
    MatMul=matmul Mul=mul Or=logical_or Sub=sub Xor=logical_xor
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
        result: Tensor = getattr(tg, name)(x, y)
        return result

    return handler


def _folded(name: str) -> Callable[..., Tensor]:
    def handler(*xs: Tensor) -> Tensor:
        return reduce(getattr(tg, name), xs)

    return handler


for _kind, _table in ((_unary, UNARY), (_binary, BINARY), (_folded, VARIADIC)):
    for _name, _function in (entry.split("=") for entry in _table.split()):
        operator(_name)(_kind(_function))


# ----- arithmetic --------------------------------------------------------------------------------


@operator("Div")
def _div(x: Tensor, y: Tensor) -> Tensor:
    if x.is_floating_point():
        return x / y
    return tg.floor_divide(x - tg.fmod(x, y), y)  # rounded towards 0


@operator("Mod")
def _mod(x: Tensor, y: Tensor, *, fmod: int = 0) -> Tensor:
    return tg.fmod(x, y) if fmod else tg.remainder(x, y)


@operator("Pow")
def _pow(x: Tensor, y: Tensor) -> Tensor:
    return tg.pow(x, y).to(dtype=x.dtype)


@operator("Mean")
def _mean(*xs: Tensor) -> Tensor:
    return reduce(tg.add, xs) / len(xs)


@operator("Clip")
def _clip(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    low, high = _number(min), _number(max)
    return x if low is None and high is None else tg.clamp(x, low, high)


@operator("IsInf")
def _isinf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    infinite = tg.isinf(x)
    if not detect_negative:
        infinite = infinite & (x > 0)
    return infinite if detect_positive else infinite & (x < 0)


@operator("Where")
def _where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return tg.where(condition, x, y)


@operator("Cast")
def _cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    return x.to(dtype=_dtype(to))


@operator("CastLike")
def _cast_like(x: Tensor, target: Tensor, *, saturate: int = 1, round_mode: str = "up") -> Tensor:
    return x.to(dtype=target.dtype)


# ----- activations -------------------------------------------------------------------------------


@operator("LeakyRelu")
def _leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return tg.leaky_relu(x, alpha)


@operator("PRelu")
def _prelu(x: Tensor, slope: Tensor) -> Tensor:
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
        shape = x.shape
        return function(_flatten(x, axis=1 if axis is None else axis), 1).reshape(shape)

    return handler


def _hardmax_along(x: Tensor, axis: int) -> Tensor:
    axis %= x.ndim
    first = tg.argmax(x, axis, keepdim=True)
    return (_beside(_count(x.shape[axis], x), axis, x.ndim) == first).to(dtype=x.dtype)


operator("Softmax")(_normalized_along(lambda x, axis: tg.softmax(x, axis)))
operator("LogSoftmax")(_normalized_along(lambda x, axis: tg.log_softmax(x, axis)))
operator("Hardmax")(_normalized_along(_hardmax_along))


@operator("Dropout")
def _dropout(
    x: Tensor, ratio: Any = None, training_mode: Any = None, *, seed: int = 0, outputs: int
) -> Any:
    p = _number(ratio, 0.5) if _number(training_mode, False) else 0.0
    if outputs == 1:
        return tg.dropout(x, p)
    scale = tg.dropout(tg.ones_like(x), p)
    kept = scale != 0
    return tg.where(kept, x, 0.0) * scale, kept


# ----- reductions --------------------------------------------------------------------------------


def _reduction(name: str, function: Callable[..., Tensor], empty: Any = None) -> None:
    """Register `function(x, dim, keepdim)`; `empty` is the result over no elements."""

    @operator(name)
    def handler(
        x: Tensor, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Tensor:
        dims = tuple(_numbers(axes))
        if (
            not dims and noop_with_empty_axes
        ):  # each element for itself: over a new axis of length 1
            return function(x[None], (0,), False).to(dtype=x.dtype)
        if not dims:
            dims = tuple(range(x.ndim))
        if empty is not None and any(x.shape[dim] == 0 for dim in dims):
            shape = tg.sum(x, dims, bool(keepdims)).shape
            return tg.full(shape, empty(x.dtype), dtype=x.dtype, device=x.device)
        return function(x, dims, bool(keepdims)).to(dtype=x.dtype)


def _smallest(dtype: Any) -> Any:
    if dtype.kind == "b":
        return False
    return -math.inf if dtype.kind == "f" else host.iinfo(dtype).min


def _largest(dtype: Any) -> Any:
    if dtype.kind == "b":
        return True
    return math.inf if dtype.kind == "f" else host.iinfo(dtype).max


def _product(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    for dim in sorted((dim % x.ndim for dim in dims), reverse=True):
        x = tg.prod(x, dim, keepdim)
    return x


_reduction("ReduceSum", tg.sum)
_reduction("ReduceMean", tg.mean)
_reduction("ReduceMax", tg.amax, _smallest)
_reduction("ReduceMin", tg.amin, _largest)
_reduction("ReduceProd", _product)
_reduction("ReduceL1", lambda x, dim, keep: tg.sum(tg.abs(x), dim, keep))
_reduction("ReduceL2", lambda x, dim, keep: tg.norm(x, 2, dim, keep))
_reduction("ReduceSumSquare", lambda x, dim, keep: tg.sum(tg.square(x), dim, keep))
_reduction("ReduceLogSum", lambda x, dim, keep: tg.log(tg.sum(x, dim, keep)))
_reduction("ReduceLogSumExp", tg.logsumexp, _smallest)


def _place(function: str) -> Callable[..., Tensor]:
    def handler(
        x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
    ) -> Tensor:
        x = tg.flip(x, (axis,)) if select_last_index else x
        place: Tensor = getattr(tg, function)(x, axis, bool(keepdims))
        return x.shape[axis] - 1 - place if select_last_index else place

    return handler


operator("ArgMax")(_place("argmax"))
operator("ArgMin")(_place("argmin"))


@operator("TopK")
def _top_k(
    x: Tensor, k: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[Tensor, Tensor]:
    values, indices = tg.topk(x, _number(k), axis, bool(largest), bool(sorted))
    return values, indices


def _cumulative(function: str, start: int) -> Callable[..., Tensor]:
    """A running sum or product; an exclusive one begins at `start` and leaves each element out."""

    def handler(x: Tensor, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
        dim = _number(axis) % x.ndim
        x = tg.flip(x, (dim,)) if reverse else x
        total: Tensor = getattr(tg, function)(x, dim).to(dtype=x.dtype)
        if exclusive:
            first = x[_along(dim, slice(0, 1))]
            before = tg.full(first.shape, start, dtype=x.dtype, device=x.device)
            total = tg.cat([before, total[_along(dim, slice(0, -1))]], dim)
        return tg.flip(total, (dim,)) if reverse else total

    return handler


operator("CumSum")(_cumulative("cumsum", 0))
operator("CumProd")(_cumulative("cumprod", 1))


# ----- shapes ------------------------------------------------------------------------------------


@operator("Identity")
def _identity(x: Tensor) -> Tensor:
    return x


@operator("Shape")
def _shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return tg.tensor(list(x.shape[start:end]), dtype="int64", device=x.device)


@operator("Size")
def _size(x: Tensor) -> Tensor:
    return tg.tensor(x.numel(), device=x.device)


@operator("Reshape")
def _reshape(x: Tensor, shape: Any, *, allowzero: int = 0) -> Tensor:
    sizes = _numbers(shape)
    if not allowzero:
        sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    return x.reshape(sizes)


@operator("Flatten")
def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Transpose")
def _transpose(x: Tensor, *, perm: Ints = None) -> Tensor:
    return tg.permute(x, perm if perm is not None else list(range(x.ndim))[::-1])


@operator("Squeeze")
def _squeeze(x: Tensor, axes: Any = None) -> Tensor:
    gone = [axis % x.ndim for axis in _numbers(axes)]
    gone = gone if axes is not None else [i for i, n in enumerate(x.shape) if n == 1]
    for axis in sorted(gone, reverse=True):
        x = tg.squeeze(x, axis)
    return x


@operator("Unsqueeze")
def _unsqueeze(x: Tensor, axes: Any) -> Tensor:
    new = _numbers(axes)
    for axis in sorted(axis % (x.ndim + len(new)) for axis in new):
        x = tg.unsqueeze(x, axis)
    return x


@operator("Expand")
def _expand(x: Tensor, shape: Any) -> Tensor:
    return tg.broadcast_to(x, host.broadcast_shapes(x.shape, tuple(_numbers(shape))))


@operator("Concat")
def _concat(*xs: Tensor, axis: int) -> Tensor:
    return tg.cat(xs, axis)


@operator("Split")
def _split(
    x: Tensor, split: Any = None, *, axis: int = 0, num_outputs: int | None = None, outputs: int
) -> Any:
    n, parts = x.shape[axis], num_outputs or outputs
    share = math.ceil(n / parts)
    even = [max(0, min(share, n - i * share)) for i in range(parts)]
    return tuple(tg.split(x, _numbers(split) or even, axis))


@operator("Tile")
def _tile(x: Tensor, repeats: Any) -> Tensor:
    return tg.tile(x, _numbers(repeats))


PAD_MODES = {"edge": "replicate", "wrap": "circular"}


@operator("Pad")
def _pad_node(
    x: Tensor,
    pads: Any,
    constant_value: Any = None,
    axes: Any = None,
    *,
    mode: str = "constant",
    value: float = 0.0,
) -> Tensor:
    widths = _numbers(pads)
    pairs: Pads = [(0, 0)] * x.ndim
    padded = _numbers(axes) or range(x.ndim)
    for axis, before, after in zip(
        padded, widths[: len(padded)], widths[len(padded) :], strict=True
    ):
        pairs[axis] = (before, after)
    while len(pairs) > 1 and pairs[0] == (0, 0):
        pairs = pairs[1:]
    return _pad(x, pairs, _number(constant_value, value), PAD_MODES.get(mode, mode))


@operator("Slice")
def _slice(x: Tensor, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Tensor:
    first, last = _numbers(starts), _numbers(ends)
    index = [slice(None)] * x.ndim
    by = _numbers(steps) or [1] * len(first)
    for axis, *parts in zip(_numbers(axes) or range(len(first)), first, last, by, strict=True):
        index[axis] = slice(*parts)
    return x[tuple(index)]


@operator("CenterCropPad")
def _center_crop_pad(x: Tensor, shape: Any, *, axes: Ints = None) -> Tensor:
    pairs: Pads = [(0, 0)] * x.ndim
    for axis, n in zip(axes or range(x.ndim), _numbers(shape), strict=True):
        more = n - x.shape[axis]
        before = more // 2 if more > 0 else -(-more // 2)
        pairs[axis] = (before, more - before)
    return _pad(x, pairs)


@operator("ConstantOfShape")
def _constant_of_shape(shape: Tensor, *, value: Any = None) -> Tensor:
    filled, dtype = (0.0, "float32") if value is None else (value.item(), value.dtype)
    return tg.full(tuple(_numbers(shape)), filled, dtype=dtype, device=shape.device)


@operator("Range")
def _range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    bounds = (_number(start), _number(limit), _number(delta))
    if (bounds[1] - bounds[0]) * bounds[2] < 0:
        bounds = (0, 0, 1)  # such steps lead nowhere, which in ONNX is no error
    return tg.arange(*bounds, dtype=start.dtype, device=start.device)


@operator("EyeLike")
def _eye_like(x: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    rows, columns = (_count(n, x) for n in x.shape)
    diagonal = _beside(rows, 0, 2) + k == _beside(columns, 1, 2)
    return diagonal.to(dtype=x.dtype if dtype is None else _dtype(dtype))


@operator("Trilu")
def _trilu(x: Tensor, k: Any = None, *, upper: int = 1) -> Tensor:
    return tg.triu(x, _number(k, 0)) if upper else tg.tril(x, _number(k, 0))


# ----- places ------------------------------------------------------------------------------------


@operator("Gather")
def _gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    return x[_along(axis % x.ndim, indices)]


@operator("GatherElements")
def _gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    return tg.gather(x, axis, _from_end(indices, x.shape[axis]))


def _coordinates(indices: Tensor, batch_dims: int = 0) -> tuple[Any, ...]:
    """An index from the last axis of `indices`, one part for each number along it."""
    batches = [
        _beside(_count(indices.shape[i], indices), i, indices.ndim - 1) for i in range(batch_dims)
    ]
    return (*batches, *(indices[..., i] for i in range(indices.shape[-1])))


@operator("GatherND")
def _gather_nd(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    return x[_coordinates(indices, batch_dims)]


def _combined(x: Tensor, places: Tensor, updates: Tensor, reduction: str) -> Tensor:
    """x (n,) with each of the updates (m,) combined into the place (m,) that is named for it."""
    if reduction == "none":
        return tg.scatter(x, 0, places, updates)
    if reduction == "add":
        return tg.scatter_add(x, 0, places, updates)
    # (m, n): each update at its place, elsewhere what changes nothing
    here = places.reshape(-1, 1) == _count(x.numel(), x)
    neutral = {"mul": 1.0, "max": _smallest(x.dtype), "min": _largest(x.dtype)}[reduction]
    spread = tg.where(here, updates.reshape(-1, 1), neutral)
    if reduction == "mul":
        return x * tg.prod(spread, 0)
    if reduction == "max":
        return tg.maximum(x, tg.amax(spread, 0))
    return tg.minimum(x, tg.amin(spread, 0))


def _flat_places(index: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """The place in row-major order for each coordinate of an index."""
    places = _from_end(index[0], shape[0])
    for part, n in zip(index[1:], shape[1:], strict=True):
        places = places * n + _from_end(part, n)
    return places.flatten()


@operator("ScatterElements", "Scatter")
def _scatter_elements(
    x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Tensor:
    axis %= x.ndim
    index = [
        indices if i == axis else tg.broadcast_to(_beside(_count(n, x), i, x.ndim), indices.shape)
        for i, n in enumerate(indices.shape)
    ]
    places = _flat_places(index, x.shape)
    return _combined(x.flatten(), places, updates.flatten(), reduction).reshape(x.shape)


@operator("ScatterND")
def _scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    depth = indices.shape[-1]
    rows = _flat_places(_coordinates(indices), x.shape[:depth])
    inner = math.prod(x.shape[depth:])
    places = (rows.reshape(-1, 1) * inner + _count(inner, x)).flatten()
    return _combined(x.flatten(), places, updates.flatten(), reduction).reshape(x.shape)


@operator("OneHot")
def _one_hot(indices: Tensor, depth: Any, values: Tensor, *, axis: int = -1) -> Tensor:
    n = int(_number(depth))
    axis %= indices.ndim + 1
    classes = _beside(_count(n, indices), axis, indices.ndim + 1)
    hot = tg.unsqueeze(_from_end(indices, n), axis) == classes
    return tg.where(hot, values[1], values[0])


@operator("NonZero")
def _non_zero(x: Tensor) -> Tensor:
    places: Tensor = tg.nonzero(x)
    return places.T


@operator("Compress")
def _compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    if axis is None:
        x, axis = x.flatten(), 0
    chosen = _count(condition.numel(), x)[condition]
    return x[_along(axis % x.ndim, chosen)]


# ----- linear algebra ----------------------------------------------------------------------------


@operator("Gemm")
def _gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    # As in BLAS, what has the factor 0 is not read: it may hold anything.
    c = None if beta == 0 else c
    if transB and alpha == beta == 1 and (c is None or c.shape == b.shape[:1]):
        return tg.linear(a.T if transA else a, b, c)
    if alpha == 0:
        a, b = tg.zeros_like(a), tg.zeros_like(b)
    product = (a.T if transA else a) @ (b.T if transB else b)
    product = product if alpha in (0, 1) else alpha * product
    if c is None:
        return product
    return product + (c if beta == 1 else beta * c)


@operator("Einsum")
def _einsum(*xs: Tensor, equation: str) -> Tensor:
    return tg.einsum(equation, *xs)


# ----- normalization -----------------------------------------------------------------------------


@operator("BatchNormalization")
def _batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Any:
    if not training_mode:
        return tg.batch_norm(x, mean, var, scale, bias, eps=epsilon)
    y = tg.batch_norm(x, weight=scale, bias=bias, training=True, eps=epsilon)
    # The standard's momentum is the share of the old value, and its variance the biased one.
    axes = (0, *range(2, x.ndim))
    moved = [
        old * momentum + new.detach() * (1 - momentum)
        for old, new in ((mean, tg.mean(x, axes)), (var, tg.var(x, axes, correction=0)))
    ]
    return y, *moved


@operator("InstanceNormalization")
def _instance_norm(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    return tg.group_norm(x, x.shape[1], scale, bias, epsilon)  # which takes a single position too


@operator("GroupNormalization")
def _group_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    opset: int,
) -> Tensor:
    if opset < 21:  # one number for each group
        channels = (num_groups, x.shape[1] // num_groups)
        scale, bias = (tg.broadcast_to(v.reshape(-1, 1), channels).flatten() for v in (scale, bias))
    return tg.group_norm(x, num_groups, scale, bias, epsilon)


@operator("LayerNormalization")
def _layer_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int,
) -> Any:
    axes = tuple(range(axis % x.ndim, x.ndim))
    y = tg.layer_norm(x, [x.shape[i] for i in axes], scale, bias, epsilon)
    if outputs == 1:
        return y
    var = tg.var(x, axes, correction=0, keepdim=True)
    return y, tg.mean(x, axes, True), (var + epsilon) ** -0.5


@operator("RMSNormalization")
def _rms_norm(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    axes = tuple(range(axis % x.ndim, x.ndim))
    return x * (tg.mean(tg.square(x), axes, True) + epsilon) ** -0.5 * scale


@operator("MeanVarianceNormalization")
def _mean_variance_norm(x: Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> Tensor:
    over = tuple(axes)
    deviation = tg.sqrt(tg.var(x, over, correction=0, keepdim=True))
    return (x - tg.mean(x, over, True)) / (deviation + 1e-9)


@operator("LpNormalization")
def _lp_norm(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    length = tg.norm(x, p, axis, True)
    return x / tg.where(length == 0, 1.0, length)


@operator("LRN")
def _lrn(
    x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Tensor:
    if size % 2:
        return tg.local_response_norm(x, size, alpha, beta, bias)
    # In an even window the odd one out is the next channel; in PyTorch's it is the one before.
    mirrored = tg.local_response_norm(tg.flip(x, (1,)), size, alpha, beta, bias)
    return tg.flip(mirrored, (1,))


# ----- losses ------------------------------------------------------------------------------------


@operator("NegativeLogLikelihoodLoss")
def _nll_loss(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
) -> Tensor:
    return tg.nll_loss(x, target, weight=weight, ignore_index=ignore_index, reduction=reduction)


@operator("SoftmaxCrossEntropyLoss")
def _cross_entropy(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
    outputs: int,
) -> Any:
    loss = tg.cross_entropy(
        x, target, weight=weight, ignore_index=ignore_index, reduction=reduction
    )
    return loss if outputs == 1 else (loss, tg.log_softmax(x, 1))


# ----- windows -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Windows:
    """How windows move over the spatial axes."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: Pads

    @property
    def padding(self) -> list[int] | None:
        """The padding of both sides, where it is the same."""
        if any(before != after or before < 0 for before, after in self.pads):
            return None
        return [before for before, _ in self.pads]

    @property
    def pools(self) -> bool:
        """Whether the pooling functions take the padding: at most half of the kernel."""
        sides = self.padding
        return sides is not None and all(
            2 * p <= k for p, k in zip(sides, self.kernel, strict=True)
        )

    def missing(self, size: Sequence[int]) -> Pads:
        """What is missing after each axis for the last window, where lengths are rounded up.

        A window that would begin in the padding after the input is left out.
        """
        missing = []
        for i, (n, (before, after)) in enumerate(zip(size, self.pads, strict=True)):
            stride, span = self.strides[i], self.dilations[i] * (self.kernel[i] - 1) + 1
            last = math.ceil((n + before + after - span) / stride)
            if last * stride >= n + before:
                last -= 1
            missing.append((0, max(0, last * stride + span - n - before - after)))
        return missing

    def function(self, name: str) -> Callable[..., Any]:
        """The function for so many axes, such as conv2d."""
        n = len(self.kernel)
        if n not in (1, 2, 3):
            raise NotImplementedError(f"windows over {n} axes cannot be imported; 1, 2 or 3 can.")
        found: Callable[..., Any] = getattr(tg, f"{name}{n}d")
        return found


@dataclass(frozen=True)
class Geometry:
    """The attributes that say how windows move; a handler that asks for `geometry` gets them."""

    auto_pad: str = "NOTSET"
    dilations: Sequence[int] = ()
    kernel_shape: Sequence[int] = ()
    pads: Sequence[int] = ()
    strides: Sequence[int] = ()

    def over(self, size: Sequence[int], kernel: Sequence[int]) -> Windows:
        """The windows over axes of lengths `size`."""
        n = len(kernel)
        strides, dilations = list(self.strides or [1] * n), list(self.dilations or [1] * n)
        pairs = [(0, 0)] * n
        if self.auto_pad in SAME:
            for i, (length, k, s, d) in enumerate(
                zip(size, kernel, strides, dilations, strict=True)
            ):
                span = (math.ceil(length / s) - 1) * s + d * (k - 1) + 1
                pairs[i] = self.shared(max(span - length, 0))
        elif self.auto_pad == "NOTSET" and self.pads:
            pairs = list(zip(self.pads[:n], self.pads[n:], strict=True))
        return Windows(list(kernel), strides, dilations, pairs)

    def shared(self, total: int) -> tuple[int, int]:
        """The two sides' shares in the padding: the upper or the lower one gets the odd one."""
        small, large = total // 2, total - total // 2
        return (small, large) if self.auto_pad == "SAME_UPPER" else (large, small)


SAME = ("SAME_UPPER", "SAME_LOWER")
GEOMETRY = frozenset(field.name for field in fields(Geometry))


@operator("Conv")
def _conv(
    x: Tensor, w: Tensor, b: Tensor | None = None, *, group: int = 1, geometry: Geometry
) -> Tensor:
    windows = geometry.over(x.shape[2:], w.shape[2:])
    if windows.padding is None:
        x = _pad(x, windows.pads)
    conv = windows.function("conv")
    y: Tensor = conv(x, w, b, windows.strides, windows.padding or 0, windows.dilations, group)
    return y


@operator("ConvTranspose")
def _conv_transpose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    group: int = 1,
    output_padding: Ints = None,
    output_shape: Ints = None,
    geometry: Geometry,
) -> Tensor:
    windows = geometry.over(x.shape[2:], w.shape[2:])
    n = len(windows.kernel)
    extra = list(output_padding or [0] * n)
    if output_shape or geometry.auto_pad in SAME:
        lengths = output_shape or [a * b for a, b in zip(x.shape[2:], windows.strides, strict=True)]
        for i, length in enumerate(lengths[-n:]):
            span = windows.dilations[i] * (windows.kernel[i] - 1) + 1
            total = windows.strides[i] * (x.shape[2 + i] - 1) + extra[i] + span - length
            extra[i] += max(0, -total)
            windows.pads[i] = geometry.shared(max(0, total))
    transposed = windows.function("conv_transpose")
    padding = windows.padding or 0
    y: Tensor = transposed(x, w, b, windows.strides, padding, extra, group, windows.dilations)
    if windows.padding is None:
        y = _pad(y, [(-before, -after) for before, after in windows.pads])
    return y


@operator("MaxPool")
def _max_pool(
    x: Tensor, *, ceil_mode: int = 0, storage_order: int = 0, geometry: Geometry, outputs: int
) -> Any:
    windows = geometry.over(x.shape[2:], geometry.kernel_shape)
    moves = {"stride": windows.strides, "dilation": windows.dilations}
    pool = partial(windows.function("max_pool"), kernel_size=windows.kernel, **moves)
    if windows.pools:
        pool = partial(pool, padding=windows.padding, ceil_mode=bool(ceil_mode))
        if outputs == 1:
            return pool(x)
        y, places = pool(x, return_indices=True)
        if storage_order:
            places = _column_major(places, x.shape[2:])
        # The standard counts through the whole tensor, not anew in each channel of each image.
        planes = _count(math.prod(x.shape[:2]), x).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
        return y, places + planes * math.prod(x.shape[2:])
    if outputs > 1:
        raise NotImplementedError(
            "MaxPool with indices needs the same padding on both sides, at most half of the kernel."
        )
    lowest = _smallest(x.dtype)
    missing = windows.missing(x.shape[2:]) if ceil_mode else []
    return pool(_pad(_pad(x, windows.pads, lowest), missing, lowest))


def _column_major(places: Tensor, shape: Sequence[int]) -> Tensor:
    """Places counted with the first axis fastest, from places counted with the last one fastest."""
    found = tg.zeros_like(places)
    for i, n in reversed(list(enumerate(shape))):
        along = tg.remainder(places, n)
        found = found + along * math.prod(shape[:i])
        places = tg.floor_divide(places, n)
    return found


@operator("MaxUnpool")
def _max_unpool(
    x: Tensor, indices: Tensor, output_shape: Any = None, *, geometry: Geometry
) -> Tensor:
    windows = geometry.over(x.shape[2:], geometry.kernel_shape)
    size = [
        (n - 1) * s - sum(sides) + k
        for n, s, k, sides in zip(
            x.shape[2:], windows.strides, windows.kernel, windows.pads, strict=True
        )
    ]
    places = tg.remainder(indices, math.prod(size))
    unpool = windows.function("max_unpool")
    y: Tensor = unpool(x, places, windows.kernel, windows.strides, output_size=size)
    wanted = _numbers(output_shape)[2:] or size
    return _pad(y, [(0, n - m) for n, m in zip(wanted, size, strict=True)])


def _window_sum(x: Tensor, windows: Windows) -> Tensor:
    """The sum over each window of an input that is padded already: a convolution with ones."""
    channels = x.reshape(-1, 1, *x.shape[2:])
    ones = tg.ones(1, 1, *windows.kernel, dtype=x.dtype, device=x.device)
    conv = windows.function("conv")
    total: Tensor = conv(channels, ones, None, windows.strides, 0, windows.dilations)
    return total.reshape(*x.shape[:2], *total.shape[2:])


@operator("AveragePool")
def _average_pool(
    x: Tensor, *, ceil_mode: int = 0, count_include_pad: int = 0, geometry: Geometry
) -> Tensor:
    windows = geometry.over(x.shape[2:], geometry.kernel_shape)
    if windows.pools and set(windows.dilations) == {1}:
        pool = windows.function("avg_pool")
        options = {"ceil_mode": bool(ceil_mode), "count_include_pad": bool(count_include_pad)}
        y: Tensor = pool(x, windows.kernel, windows.strides, windows.padding, **options)
        return y
    missing = windows.missing(x.shape[2:]) if ceil_mode else []
    counted = _pad(tg.ones_like(x[:1, :1]), windows.pads, float(count_include_pad))
    total = _window_sum(_pad(_pad(x, windows.pads), missing), windows)
    return total / _window_sum(_pad(counted, missing), windows)


@operator("LpPool")
def _lp_pool(x: Tensor, *, p: int = 2, ceil_mode: int = 0, geometry: Geometry) -> Tensor:
    windows = geometry.over(x.shape[2:], geometry.kernel_shape)
    missing = windows.missing(x.shape[2:]) if ceil_mode else []
    x = _pad(_pad(x, windows.pads), missing)
    if set(windows.dilations) == {1}:
        pool = windows.function("lp_pool")
        y: Tensor = pool(x, p, windows.kernel, windows.strides)
        return y
    return _window_sum(tg.abs(x) ** p, windows) ** (1 / p)


@operator("GlobalAveragePool")
def _global_average_pool(x: Tensor) -> Tensor:
    return tg.mean(x, tuple(range(2, x.ndim)), True)


@operator("GlobalMaxPool")
def _global_max_pool(x: Tensor) -> Tensor:
    return tg.amax(x, tuple(range(2, x.ndim)), True)


@operator("GlobalLpPool")
def _global_lp_pool(x: Tensor, *, p: int = 2) -> Tensor:
    return tg.norm(x, p, tuple(range(2, x.ndim)), True)


@operator("Col2Im")
def _col2im(x: Tensor, image_shape: Any, block_shape: Any, *, geometry: Geometry) -> Tensor:
    size, block = _numbers(image_shape), _numbers(block_shape)
    windows = geometry.over(size, block)
    area = math.prod(block)
    places = [
        (n + sum(sides) - d * (k - 1) - 1) // s + 1
        for n, sides, k, s, d in zip(
            size, windows.pads, block, windows.strides, windows.dilations, strict=True
        )
    ]
    # Each number of a block is a channel, whose kernel puts it into its place.
    kernels = tg.eye(area, dtype=x.dtype, device=x.device).reshape(area, 1, *block)
    columns = x.reshape(-1, area, *places)
    spread = windows.function("conv_transpose")
    y: Tensor = spread(columns, kernels, stride=windows.strides, dilation=windows.dilations)
    around = [
        (-before, before + n - m)
        for n, m, (before, _) in zip(size, y.shape[2:], windows.pads, strict=True)
    ]
    return _pad(y, around).reshape(x.shape[0], -1, *size)


# ----- images ------------------------------------------------------------------------------------


@operator("DepthToSpace")
def _depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    if mode == "CRD":
        return tg.pixel_shuffle(x, blocksize)
    n, c, h, w = x.shape
    b = blocksize
    cells = x.reshape(n, b, b, c // b**2, h, w)
    return tg.permute(cells, 0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


@operator("SpaceToDepth")
def _space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    if mode == "CRD":
        return tg.pixel_unshuffle(x, blocksize)
    n, c, h, w = x.shape
    b = blocksize
    cells = x.reshape(n, c, h // b, b, w // b, b)
    return tg.permute(cells, 0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)


@operator("GridSample")
def _grid_sample(
    x: Tensor,
    grid: Tensor,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> Tensor:
    name = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    y: Tensor = tg.grid_sample(x, grid, name, padding_mode, bool(align_corners))
    return y


@operator("AffineGrid")
def _affine_grid(theta: Tensor, size: Any, *, align_corners: int = 0) -> Tensor:
    grid: Tensor = tg.affine_grid(theta, _numbers(size), align_corners=bool(align_corners))
    return grid


@operator("Upsample")
def _upsample(x: Tensor, scales: Any, *, mode: str = "nearest") -> Tensor:
    return _resize(
        x,
        scales=scales,
        mode=mode,
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
        opset=11,
    )


@dataclass(frozen=True)
class Resized:
    """One axis on its way from `before` to `after` elements, `scale` times as many."""

    axis: int
    before: int
    after: int
    scale: Fraction
    roi: tuple[float, float]

    @property
    def whole(self) -> bool:
        """Whether nothing is cut off the length that the scale gives."""
        return self.before * self.scale == self.after

    def sources(self, mode: str) -> list[Any]:
        """Where each element of the result lies among the elements of the input."""
        return [self.source(i, mode) for i in range(self.after)]

    def source(self, i: int, mode: str) -> Any:
        """An exact place, so that none is rounded to the wrong side of an element."""
        n, s, half = self.before, self.scale, Fraction(1, 2)
        if mode == "asymmetric":
            return i / s
        if mode == "align_corners":
            return i * (n - 1) / (s * n - 1) if s * n != 1 else 0.0
        if mode == "tf_crop_and_resize":
            start, end = self.roi
            if s * n == 1:
                return (start + end) * (n - 1) / 2
            return start * (n - 1) + i * (end - start) * (n - 1) / (s * n - 1)
        if mode == "pytorch_half_pixel" and self.after == 1:
            return 0.0
        # What is cut off a length that is not whole comes, in the symmetric mode, off both ends.
        cut = half * n * (1 - self.after / (s * n)) if mode == "half_pixel_symmetric" else 0
        return cut + (i + half) / s - half

    def weights(
        self,
        kernel: Callable[[float], float],
        reach: int,
        narrow: float,
        mode: str,
        inside: bool,
    ) -> Any:
        """Row i: what the elements of the input count for in element i of the result.

        The kernel reaches so far to both sides, or 1 / `narrow` times as far. Beyond the edge it
        finds the element at the edge, or, if it must stay `inside`, nothing.
        """
        rows = host.zeros((self.after, self.before))
        for row, s in zip(rows, self.sources(mode), strict=True):
            first, last = math.ceil(s - reach / narrow), math.floor(s + reach / narrow)
            for j in range(first, last + 1):
                if 0 <= j < self.before or not inside:
                    row[min(max(j, 0), self.before - 1)] += kernel((j - s) * narrow)
            row /= row.sum() or 1
        return rows


NEAREST: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda x: math.ceil(x - Fraction(1, 2)),
    "round_prefer_ceil": lambda x: math.floor(x + Fraction(1, 2)),
    "floor": math.floor,
    "ceil": math.ceil,
}


def _linear(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _cubic(d: Any, a: float = -0.75, outer: bool = False) -> Any:
    """The cubic kernel (Keys, 1981) at a distance d up to 1, or `outer`, from 1 to 2."""
    if outer:
        return (((d - 5) * d + 8) * d - 4) * a
    return ((a + 2) * d - (a + 3)) * d * d + 1


def _cubic_at(d: float, a: float) -> float:
    """The cubic kernel at any place."""
    d = abs(d)
    value: float = _cubic(d, a, outer=d > 1) if d < 2 else 0.0
    return value


def _axes_to_resize(
    x: Tensor, roi: Any, scales: Any, sizes: Any, axes: Ints, policy: str
) -> list[Resized]:
    chosen = [axis % x.ndim for axis in (range(x.ndim) if axes is None else axes)]
    before = [x.shape[axis] for axis in chosen]
    # A scale is a number in single precision: 0.7 stands for 7/10.
    factors = [simple_fraction(host.float32(scale)) for scale in _numbers(scales)]
    after = _numbers(sizes)
    if after:
        factors = [Fraction(m, n) for n, m in zip(before, after, strict=True)]
        if policy != "stretch":  # one scale for all axes
            factors = [(min if policy == "not_larger" else max)(factors)] * len(chosen)
            after = [
                math.floor(n * s + Fraction(1, 2)) for n, s in zip(before, factors, strict=True)
            ]
    else:
        after = [math.floor(n * s) for n, s in zip(before, factors, strict=True)]
    corners = _numbers(roi) or [0.0] * len(chosen) + [1.0] * len(chosen)
    pairs = zip(corners[: len(chosen)], corners[len(chosen) :], strict=True)
    return [Resized(*parts) for parts in zip(chosen, before, after, factors, pairs, strict=True)]


def _interpolated(
    x: Tensor, changed: list[Resized], mode: str, where: str, nearest_mode: str
) -> Tensor | None:
    """The result of tg.interpolate, if it has what is asked for."""
    half = where == "half_pixel" or (
        where == "pytorch_half_pixel" and all(one.after > 1 for one in changed)
    )
    corners = where == "align_corners" and all(one.whole for one in changed)
    if not 3 <= x.ndim <= 5 or any(one.axis < 2 for one in changed):
        return None
    options: dict[str, Any]
    if mode == "nearest" and (where, nearest_mode) == ("asymmetric", "floor"):
        options = {"mode": "nearest"}
    elif mode == "linear" and (half or corners):
        name = {3: "linear", 4: "bilinear", 5: "trilinear"}[x.ndim]
        options = {"mode": name, "align_corners": corners}
    elif mode == "cubic" and x.ndim == 4 and (half or corners):
        options = {"mode": "bicubic", "align_corners": corners}
    else:
        return None
    by_axis = {one.axis: one for one in changed}
    if all(one.whole for one in changed):
        options["size"] = [
            by_axis[i].after if i in by_axis else x.shape[i] for i in range(2, x.ndim)
        ]
    else:
        options["scale_factor"] = [
            by_axis[i].scale if i in by_axis else 1.0 for i in range(2, x.ndim)
        ]
    result: Tensor = tg.interpolate(x, **options)
    return result


def _weighed(x: Tensor, axis: int, weights: Any) -> Tensor:
    """The product of a matrix and x along an axis, where what has no weight has no part in it."""
    most = max(1, (weights != 0).sum(1).max())
    places = host.argsort(weights == 0, axis=1, kind="stable")[:, :most]
    used = host.take_along_axis(weights, places, axis=1)
    lines = tg.transpose(x, axis, -1)
    y = F.sample(
        lines.reshape(1, -1, lines.shape[-1]),
        Tensor(used.T[None], dtype=x.dtype, device=x.device),
        Tensor(places.T[None], device=x.device),
    )
    return tg.transpose(y.reshape(*lines.shape[:-1], len(weights)), axis, -1)


@operator("Resize")
def _resize(
    x: Tensor,
    roi: Any = None,
    scales: Any = None,
    sizes: Any = None,
    *,
    antialias: int = 0,
    axes: Ints = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    opset: int,
) -> Tensor:
    if opset < 11:  # its second input is what the third one is today
        return _upsample(x, roi, mode=mode)
    where = coordinate_transformation_mode
    resized = _axes_to_resize(x, roi, scales, sizes, axes, keep_aspect_ratio_policy)
    crops = where == "tf_crop_and_resize"
    changed = [one for one in resized if crops or one.after != one.before or one.scale != 1]
    if not (antialias or exclude_outside or cubic_coeff_a != -0.75):
        known = _interpolated(x, changed, mode, where, nearest_mode)
        if known is not None:
            return known
    for one in changed:
        if mode == "nearest":
            places = [NEAREST[nearest_mode](s) for s in one.sources(where)]
            x = x[_along(one.axis, [min(max(j, 0), one.before - 1) for j in places])]
            continue
        kernel = _linear if mode == "linear" else partial(_cubic_at, a=cubic_coeff_a)
        # Where the result is smaller, antialiasing widens the kernel.
        narrow = min(float(one.scale), 1.0) if antialias else 1.0
        reach = 1 if mode == "linear" else 2
        weights = one.weights(kernel, reach, narrow, where, bool(exclude_outside))
        x = _weighed(x, one.axis, weights)
    if not crops:
        return x
    for one in changed:
        outside = [not 0 <= s <= one.before - 1 for s in one.sources(where)]
        beyond = _beside(tg.tensor(outside, device=x.device), one.axis, x.ndim)
        x = tg.where(beyond, extrapolation_value, x)
    return x
