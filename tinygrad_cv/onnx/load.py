"""From an ONNX model to a module; what is damaged, too large or unsupported is refused here."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import partial
from graphlib import TopologicalSorter
from importlib import import_module
from os import PathLike
from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.nn import Parameter
from tinygrad_cv.onnx import (  # noqa: F401  the handlers, which register themselves
    arithmetic,
    images,
    layers,
    places,
    recurrent,
    reductions,
    shapes,
)
from tinygrad_cv.onnx.model import OnnxModel, Step
from tinygrad_cv.onnx.operators import LIMIT, OPERATORS, fits, limited, room
from tinygrad_cv.onnx.protobuf import array_of, package, read, refuse_damaged_names
from tinygrad_cv.onnx.windows import Geometry

STANDARD = ("", "ai.onnx")
"""The names of the domain that the standard's own operators belong to."""

GEOMETRY = {field.name: field.type for field in fields(Geometry)}

MOST_NODES = 100_000
"""How many nodes a limited model may become when its functions are put in place."""


def import_model(
    model: Any,
    requires_grad: bool = False,
    device: str | None = None,
    *,
    limit: int | None = LIMIT,
) -> OnnxModel:
    """An ONNX model, given as onnx.ModelProto or as the path of a file, as a Module.

    Called with tensors it gives tensors, results in an ordinary graph: they can be differentiated,
    drawn and listed. `run` takes and gives them by name. Float initializers become parameters,
    learned if `requires_grad`; other constants, and the running statistics of batch normalization,
    become buffers. They lie on `device`, as the inputs must. Whether dropout drops and whether
    batch normalization uses the batch is what the model says, whatever `train` and `eval` say.

    A model of a few bytes can ask for more than any memory holds. So a result of more than `limit`
    elements is refused: here, where the shapes that the model declares say so, or by the node that
    is about to make it from smaller inputs. None lifts the limit.

    Raises ImportError without the package onnx, OSError where the file cannot be read, ValueError
    where the model is damaged or too large, and NotImplementedError where it has what is not
    supported: an unknown operator, a subgraph, an element type that NumPy does not have.
    """
    onnx = package()
    if isinstance(model, str | PathLike):
        model = read(model)
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(f"expected an onnx.ModelProto or a path; got {type(model).__name__}.")
    if not model.HasField("graph"):
        raise ValueError("the ONNX model holds no graph: the file is empty, or is something else.")
    refuse_damaged_names(model)
    if model.functions:
        model = _inlined(model, limit)
    graph, opset = model.graph, _opset(model)
    _refuse_unsupported(graph)
    _refuse_too_large(graph, limit)
    arrays = {tensor.name: array_of(tensor) for tensor in graph.initializer}
    trained = {name for name, array in arrays.items() if array.dtype.kind == "f"}
    steps = []
    for node in graph.node:
        if node.op_type == "Constant":
            name, value = _constant(node)
            arrays[name] = value
            continue
        if node.op_type == "BatchNormalization":
            trained -= {*node.input[3:5]}  # the running mean and variance
        steps.append(_step(node, opset))
    weights = {}
    for name, array in arrays.items():
        tensor = Tensor(array, device=device)
        trains = name in trained
        weights[name] = Parameter(tensor, requires_grad=requires_grad) if trains else tensor
    return OnnxModel(
        weights,
        [value.name for value in graph.input],
        [value.name for value in graph.output],
        steps,
        limit,
    )


def _opset(model: Any) -> int:
    """The version of the standard's operators that the model is written in."""
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD]
    return int(max(versions, default=package().defs.onnx_opset_version()))


def _inlined(model: Any, limit: int | None) -> Any:
    """The model with the nodes of its functions in place of their calls."""
    bodies = {
        (function.domain, function.name): [(n.domain, n.op_type) for n in _nodes(function.node)]
        for function in model.functions
    }
    sizes: dict[tuple[str, str], int] = {}
    try:
        for function in TopologicalSorter(bodies).static_order():  # those that are called first
            body = bodies.get(function)
            sizes[function] = 1 if body is None else sum(sizes[called] for called in body)
        total = sum(sizes.get((n.domain, n.op_type), 1) for n in _nodes(model.graph.node))
        if limit is None or total <= MOST_NODES:
            return import_module("onnx.inliner").inline_local_functions(model)
    except Exception as error:  # of the sorter or the inliner, as for a function that calls itself
        raise ValueError(
            f"the functions of the ONNX model cannot be put in place: {error}"
        ) from error
    raise ValueError(
        f"with its functions in place, the ONNX model has more than {MOST_NODES:,} nodes; if that "
        "is meant, import it with limit=None."
    )


def _nodes(nodes: Any) -> Iterator[Any]:
    """Nodes, and those in their subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)


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


def _refuse_too_large(graph: Any, limit: int | None) -> None:
    """Raise for a result that is too large already by the shape that the model declares for it.

    Nothing is inferred: of a damaged model, the package's own inference may not return.
    """
    with limited(limit):
        for value in (*graph.value_info, *graph.output):
            if not value.type.tensor_type.HasField("shape"):
                continue
            lengths = value.type.tensor_type.shape.dim
            try:
                # A length without a number, such as that of the batch, is 1 at least.
                room(n.dim_value if n.HasField("dim_value") else 1 for n in lengths)
            except ValueError as error:
                error.add_note(f"This is {value.name!r}, which the ONNX model makes.")
                raise


def _label(node: Any) -> str:
    name = f" {node.name!r}" if node.name else ""
    return f"{node.op_type}{name} ({', '.join(node.input)}) -> ({', '.join(node.output)})"


def _value(node: Any, attribute: Any) -> Any:
    """The value of an attribute: a number, text, a list, or an array."""
    if attribute.type == attribute.TENSOR:
        return array_of(attribute.t)
    try:
        value = package().helper.get_attribute_value(attribute)
        if isinstance(value, list):
            return [part.decode() if isinstance(part, bytes) else part for part in value]
        return value.decode() if isinstance(value, bytes) else value
    except ValueError as error:
        raise ValueError(
            f"the attribute {attribute.name} of the ONNX node {_label(node)} is damaged: {error}"
        ) from error


CONSTANTS: dict[str, tuple[Any, str]] = {
    "value_float": (float, "float32"),
    "value_floats": (Sequence[float], "float32"),
    "value_int": (int, "int64"),
    "value_ints": (Sequence[int], "int64"),
}
"""What a Constant may hold beside a tensor, and the dtype that it becomes."""


def _constant(node: Any) -> tuple[str, Any]:
    """The name and the value of a Constant node."""
    if len(node.attribute) != 1 or len(node.output) != 1:
        raise ValueError(
            f"the ONNX node {_label(node)} has {len(node.attribute)} attributes and "
            f"{len(node.output)} outputs; a constant has one value and one name."
        )
    (name,), (attribute,) = node.output, node.attribute
    value = _value(node, attribute)
    if attribute.name == "value" and attribute.type == attribute.TENSOR:
        return name, value
    if attribute.name not in CONSTANTS:
        raise NotImplementedError(
            f"the ONNX node {_label(node)} holds a {attribute.name}, which is not supported."
        )
    kind, dtype = CONSTANTS[attribute.name]
    _check_kind(node, attribute, value, kind)
    return name, host.asarray(value, dtype=dtype)


def _check_kind(node: Any, attribute: Any, value: Any, kind: Any) -> None:
    if not fits(value, kind):
        raise ValueError(
            f"the attribute {attribute.name} of the ONNX node {_label(node)} is damaged: its value "
            "has another type than the standard says."
        )


def _step(node: Any, opset: int) -> Step:
    """A node bound to its handler and its attributes."""
    described, label = OPERATORS[node.op_type], _label(node)
    given = len(node.input)
    kinds = {name: described.kinds[name] for name in described.keywords}
    kinds |= {name: described.kinds[name] for name in described.inputs[given:]}
    moves = GEOMETRY if "geometry" in kinds else {}
    kinds |= moves
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        name = attribute.name
        if name not in kinds:
            raise NotImplementedError(
                f"the attribute {name} of the ONNX node {label} cannot be imported."
            )
        attributes[name] = _value(node, attribute)
        _check_kind(node, attribute, attributes[name], kinds[name])
    named = {name for name, source in zip(described.inputs, node.input, strict=False) if source}
    missing = {*described.inputs[: described.least]} - named - attributes.keys()
    if missing or (given > len(described.inputs) and not described.variadic):
        raise ValueError(
            f"the ONNX node {label} has {given} inputs; expected ({', '.join(described.inputs)}), "
            f"of which the first {described.least} are required."
        )
    if described.variadic and not (given and all(node.input)):
        raise ValueError(f"the ONNX node {label} takes one input or more, and leaves none out.")
    geometry = Geometry(**{name: attributes.pop(name) for name in moves.keys() & attributes})
    facts = {"geometry": geometry, "opset": opset, "outputs": len(node.output)}
    attributes |= {name: fact for name, fact in facts.items() if name in described.keywords}
    if lacking := described.required - attributes.keys():
        raise ValueError(f"the ONNX node {label} lacks the attribute {', '.join(sorted(lacking))}.")
    call = partial(described.handler, **attributes)
    return Step(label, call, tuple(node.input), tuple(node.output))
