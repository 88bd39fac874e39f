"""From a model to an ONNX file."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any

from tinygrad_cv import version
from tinygrad_cv._apply import F
from tinygrad_cv._grad_mode import enable_grad
from tinygrad_cv._graph import observer
from tinygrad_cv._tensor import Tensor
from tinygrad_cv._trees import leaves, mapped, tensors_in
from tinygrad_cv.backend import host
from tinygrad_cv.nn import Module
from tinygrad_cv.onnx.folding import without_batch_norm
from tinygrad_cv.onnx.protobuf import package
from tinygrad_cv.onnx.tracing import Trace, Varying
from tinygrad_cv.onnx.writing import Value, Writer
from tinygrad_cv.onnx.writing.graph import CODES
from tinygrad_cv.storage import write

OPSET = 26
"""The version of the standard's operators that is written unless another one is asked for."""

LEAST_OPSET = 20
"""The first version with Gelu, AffineGrid and GridSample on volumes."""

MOST_BYTES = 2**31 - 2**20
"""The bytes of weights that fit into one file, which protobuf limits to 2 GiB."""

ALIGNMENT = 4096
"""Each large weight in a file beside the model begins at a multiple of this, to be mapped."""

SMALL = 1024
"""The bytes of a constant that stays in the model whatever becomes of the weights."""

Axes = Mapping[str, Mapping[int, str] | Sequence[int]]


def export_model(
    model: Callable[..., Any],
    example: Any,
    path: str | PathLike[str] | None,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic_axes: Axes | None = None,
    opset_version: int = OPSET,
    training: bool = False,
    fold_batch_norm: bool = False,
    external_data: bool | None = None,
    doc: str = "",
) -> Any:
    """Write a model as an ONNX file, for other programs to run; returns the onnx.ModelProto.

    `model` is a module, or any function of tensors. `example` is what it is called with: a tensor
    or an array, a tuple of them, or a dict of them by the names of its parameters. The model runs
    in evaluation mode (with `training`, as in training), and afterwards its buffers are as before.
    Every op becomes an operator of the standard, or several. So the file computes what the model
    computes on tensors; what it decides in Python (an `if`, a loop, a number taken with `.item()`)
    would be decided for good. It is therefore run twice, on the example and on the example reversed
    along its axes, and what is not the same is refused.

    - `input_names` are by default those of the parameters of `forward`; `output_names` are the keys
      of a dict that the model returns, or "output", or "output_0", "output_1", ....
    - `dynamic_axes` says which axes are free, by the name of an input: {"input": {0: "batch"}}. By
      default that is axis 0 of each input, "batch"; {} fixes all. Axes of one name have one length.
      How long the example is there does not matter. Of such a length n the model may make k n, n/k
      and n + k in Python, and products of two; another number, as n // 2 of a batch, is refused.
    - `opset_version` is the version of the operators, from 20 on.
    - `fold_batch_norm` makes a batch norm right behind a convolution or a linear layer part of the
      weights of that.
    - Weights have the names of the state dict. They lie in the file, or, with `external_data` and
      where they exceed 2 GiB, in a file beside it, of the same name with ".data" at its end.
    - `doc` is a text for those who look at the file.
    - With None as the `path` nothing is written, and the model that is returned holds its weights.

    The model is checked (onnx.checker, with the inference of all shapes) before a file is written,
    and a file is written whole or not at all. The same model gives the same bytes.

    Raises ImportError without the package onnx, NotImplementedError where something cannot be
    exported (it names the op, the layer, and what to do), ValueError and TypeError for arguments
    that do not fit together, OSError where the file cannot be written. See also `import_model`.

    >>> import tempfile
    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = export_model(model, tg.zeros(1, 3, 8, 8), f"{folder}/model.onnx")
    ...     again = tg.onnx.import_model(f"{folder}/model.onnx")
    >>> [node.op_type for node in made.graph.node]
    ['Conv', 'Relu', 'Reshape', 'Gemm']
    >>> x = tg.randn(5, 3, 8, 8)
    >>> tg.allclose(again(x), model(x), atol=1e-5)
    True
    """
    onnx = package()
    target = None if path is None else Path(path)
    _check_opset(opset_version)
    arguments, named = _arguments(model, example)
    names = _input_names(model, arguments, named, input_names)
    tensors = [*tensors_in([*arguments, *named.values()])]
    axes = _axes(names, tensors, dynamic_axes, output_names or ())
    lengths = _lengths(names, tensors, axes)
    traces = []
    with _run(model, training):
        weights, modules = _weights(model)
        traces.append(_traced(model, arguments, named, names, tensors, axes, lengths, 0))
    with _run(model, training):
        traces.append(_traced(model, arguments, named, names, tensors, axes, lengths, 1))
    free = [
        tuple(Varying(*lengths[known[i]]) if i in known else n for i, n in enumerate(tensor.shape))
        for tensor, known in zip(tensors, axes, strict=True)
    ]
    (first, structure), (second, _) = traces
    writer = Writer(
        (first, second), opset_version, weights, modules, list(zip(names, free, strict=True))
    )
    results = _named(writer, structure, writer.write(first.outputs), output_names)
    graph = _graph(model, writer, axes, lengths, results, doc)
    opsets = [onnx.helper.make_opsetid("", opset_version)]
    made = onnx.helper.make_model(
        graph,
        opset_imports=opsets,
        producer_name="tinygrad_cv",
        producer_version=version.__version__,
        ir_version=onnx.helper.find_min_ir_version_for(opsets),
        doc_string=doc,
    )
    arrays = writer.initializers
    if fold_batch_norm:
        arrays = without_batch_norm(made.graph, arrays)
    _save(made, arrays, target, external_data)
    return made


def export(
    model: Callable[..., Any],
    args: Any = (),
    f: str | PathLike[str] | None = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    verbose: bool | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int | None = None,
    dynamo: bool = True,
    external_data: bool | None = None,
    optimize: bool = True,
    export_params: bool = True,
    dynamic_axes: Axes | None = None,
    do_constant_folding: bool = True,
) -> Any:
    """`export_model` under PyTorch's name; as there, without `dynamic_axes` no axis is free.

    As there, too, a dict at the end of a tuple of `args` holds arguments by name, as `kwargs` does.
    `verbose`, `dynamo`, `optimize`, `export_params` and `do_constant_folding` are accepted, and
    change nothing.

    >>> import tempfile
    >>> import tinygrad_cv as tg
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = export(tg.nn.Linear(2, 3), tg.zeros(1, 2), f"{folder}/model.onnx")
    >>> [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim]
    [1, 2]
    """
    named = dict(kwargs or {})
    if isinstance(args, tuple) and args and isinstance(args[-1], dict):
        *args, last = args
        named = {**last, **named}
    if named:
        given = args if isinstance(args, tuple | list) else (args,)
        function = model.forward if isinstance(model, Module) else model
        args = dict(inspect.signature(function).bind_partial(*given, **named).arguments)
    return export_model(
        model,
        args,
        f,
        input_names=input_names,
        output_names=output_names,
        dynamic_axes={} if dynamic_axes is None else dynamic_axes,
        opset_version=OPSET if opset_version is None else opset_version,
        external_data=external_data,
    )


# ----- what was given ----------------------------------------------------------------------------


def _check_opset(opset: int) -> None:
    latest = package().defs.onnx_opset_version()
    if type(opset) is not int or not LEAST_OPSET <= opset <= latest:
        raise ValueError(
            f"opset_version is a whole number from {LEAST_OPSET} to {latest}, the newest that the "
            f"package onnx knows; got {opset!r}."
        )


def _arguments(model: Any, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the model as tensors, by position and by name."""
    if not callable(model):
        raise TypeError(f"expected a module or a function; got {type(model).__name__}.")
    named = example if isinstance(example, dict) else {}
    given = () if named else example if isinstance(example, tuple | list) else (example,)
    arguments = tuple(mapped(_as_tensor, value) for value in given)
    by_name = {name: mapped(_as_tensor, value) for name, value in named.items()}
    if not any(True for _ in tensors_in([*arguments, *by_name.values()])):
        raise ValueError("the example holds no tensor: it is what the model is called with.")
    return arguments, by_name


def _as_tensor(value: Any) -> Any:
    return Tensor(value, dtype=value.dtype) if isinstance(value, host.ndarray) else value


def _input_names(
    model: Any,
    arguments: tuple[Any, ...],
    named: dict[str, Any],
    given: Sequence[str] | None,
) -> list[str]:
    """A name for each tensor of the example."""
    function = model.forward if isinstance(model, Module) else model
    try:
        parameters = [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        parameters = []
    places = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    found: list[str] = []
    for i, value in enumerate([*arguments, *named.values()]):
        count = len([*tensors_in([value])])
        if i >= len(arguments):
            name = [*named][i - len(arguments)]
        else:
            name = places[i] if i < len(places) else f"input_{i}"
        found += [name] if isinstance(value, Tensor) else [f"{name}_{k}" for k in range(count)]
    taken = {*model.state_dict()} if isinstance(model, Module) else set()
    if given is None:
        for i, name in enumerate(found):
            while name in taken:
                name += "_"
            taken.add(name)
            found[i] = name
        return found
    if len(given) != len(found) or not _are_names(given):
        raise ValueError(
            f"input_names holds a name of its own for each of the {len(found)} tensors of the "
            f"example; got {list(given)}."
        )
    if both := taken.intersection(given):
        raise ValueError(f"input_names: {min(both)!r} is the name of a weight.")
    return list(given)


def _are_names(given: Sequence[Any]) -> bool:
    """Whether these are words, each another one."""
    return len({*given}) == len(given) and all(isinstance(n, str) and n for n in given)


def _axes(
    names: Sequence[str], tensors: Sequence[Tensor], given: Axes | None, results: Sequence[str]
) -> list[dict[int, str]]:
    """The free axes of each input, with their names. Those of results follow from them."""
    if given is None:
        return [{0: "batch"} if tensor.ndim else {} for tensor in tensors]
    if not isinstance(given, Mapping):
        raise TypeError(
            "dynamic_axes: the free axes are given by the name of an input, as in "
            f"{{{names[0]!r}: {{0: 'batch'}}}}; got {given!r}."
        )
    if unknown := [name for name in given if name not in (*names, *results)]:
        raise ValueError(
            f"dynamic_axes: {unknown[0]!r} is no input; the inputs are ({', '.join(names)})."
        )
    found = []
    for name, tensor in zip(names, tensors, strict=True):
        known: Any = given.get(name, {})
        pairs: dict[Any, Any]
        if isinstance(known, Mapping):
            pairs = {**known}
        else:
            pairs = {i: f"{name}_{i}" for i in (known if isinstance(known, Iterable) else [known])}
        for axis, symbol in pairs.items():
            there = type(axis) is int and -tensor.ndim <= axis < tensor.ndim
            if not there or not isinstance(symbol, str) or not symbol:
                raise ValueError(
                    f"dynamic_axes: {name} of shape {tensor.shape} has no axis {axis!r} to be "
                    f"called {symbol!r}."
                )
        found.append({axis % tensor.ndim: symbol for axis, symbol in pairs.items()})
    return found


def _lengths(
    names: Sequence[str], tensors: Sequence[Tensor], axes: Sequence[dict[int, str]]
) -> dict[str, tuple[int, int]]:
    """The lengths in the two traces of each free axis, by its name.

    A batch has 2 and 5 samples (another one 3 and 8, 5 and 14, ...), so that half of it, what is
    left over of pairs, or the larger part of it are other numbers in the second trace, and neither
    a multiple of the first nor as much more. An axis of another kind, as of images, is as long as
    in the example, and some times as long.
    """
    found: dict[str, tuple[int, int]] = {}
    origin: dict[str, tuple[str, int]] = {}
    batches, multiples = _primes(), _primes()
    for name, tensor, known in zip(names, tensors, axes, strict=True):
        for axis, symbol in known.items():
            n = tensor.shape[axis]
            if not n:
                raise ValueError(
                    f"the example has no elements along the axis {symbol!r} of {name}, of shape "
                    f"{tensor.shape}; give one that has."
                )
            before, length = origin.setdefault(symbol, (name, n))
            if length != n:
                raise ValueError(
                    f"the axis {symbol!r} is {length} long in {before} and {n} in {name}; give the "
                    "free axes names of their own with dynamic_axes={'" + name + "': {...}}."
                )
            if symbol in found:
                continue
            if axis == 0:
                p = next(batches)
                found[symbol] = (p, 3 * p - 1)
            else:
                n = max(n, 2)
                found[symbol] = (n, n * next(multiples))
    return found


def _primes() -> Iterator[int]:
    return (n for n in count(2) if all(n % m for m in range(2, n)))


def _weights(model: Any) -> tuple[dict[int, str], dict[int, str]]:
    """The names of the model's parameters and buffers by their arrays, and those of its modules."""
    if not isinstance(model, Module):
        return {}, {}
    weights: dict[int, str] = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        weights.setdefault(id(tensor._array), name)
    return weights, {id(module): name for name, module in model.named_modules()}


@contextmanager
def _run(model: Any, training: bool) -> Iterator[None]:
    """The model in evaluation or in training mode, with buffers to change; then as it was."""
    modules = [*model.modules()] if isinstance(model, Module) else []
    modes = [(module, module.training) for module in modules]
    buffers = [(m, name, b) for m in modules for name, b in m._buffers.items() if b is not None]
    copies = {id(buffer): buffer.detach().clone() for _, _, buffer in buffers}
    for module, name, buffer in buffers:
        module._buffers[name] = copies[id(buffer)]
    try:
        if modules:
            model.train(training)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for module, name, buffer in buffers:
            module._buffers[name] = buffer


# ----- traced ------------------------------------------------------------------------------------


def _traced(
    model: Any,
    arguments: tuple[Any, ...],
    named: dict[str, Any],
    names: Sequence[str],
    tensors: Sequence[Tensor],
    axes: Sequence[dict[int, str]],
    lengths: Mapping[str, tuple[int, int]],
    which: int,
) -> tuple[Trace, Any]:
    """One run of the model under observation, and what it returned."""
    trace = Trace()
    fresh = []
    for tensor, known in zip(tensors, axes, strict=True):
        array = tensor.numpy(force=True)
        if which:  # other numbers, of those that the model takes
            array = host.flip(array)
            array = array * array.dtype.type(0.75) if array.dtype.kind == "f" else array
        for axis, symbol in known.items():
            array = host.take(array, host.arange(lengths[symbol][which]), axis, mode="wrap")
        leaf = Tensor(array, dtype=tensor.dtype, device=tensor.device)
        leaf.requires_grad = leaf.is_floating_point()
        fresh.append(leaf)
    token = observer.set(trace)
    try:
        with enable_grad():
            # No leaves, so that the model may change its inputs in place.
            given = [F.clone(leaf) for leaf in fresh]
            trace.inputs = [tensor.node for tensor in given]
            rest = iter(given)
            args, options = mapped(
                lambda value: next(rest) if isinstance(value, Tensor) else value, (arguments, named)
            )
            result = model(*args, **options)
            outputs = [*leaves(result)]
            if not outputs or not all(isinstance(y, Tensor) for y in outputs if y is not None):
                found = ", ".join(sorted({type(y).__name__ for y in outputs}))
                raise TypeError(
                    f"the model returns {found or 'nothing'}; an ONNX model gives tensors, in "
                    "tuples, lists and dicts."
                )
            for y in tensors_in(result):
                trace.meet(y)
                trace.outputs.append(y.node)
    except NotImplementedError:
        raise
    except Exception as error:
        if lengths or which:
            sizes = ", ".join(f"{n} {leaf.shape}" for n, leaf in zip(names, fresh, strict=True))
            error.add_note(
                f"This happened while the model was traced for export, with {sizes}; if an axis is "
                "not free, say so: dynamic_axes={'input': {0: 'batch'}}, or {} for none."
            )
        raise
    finally:
        observer.reset(token)
    return trace, result


# ----- written -----------------------------------------------------------------------------------


def _named(
    writer: Writer, structure: Any, values: Sequence[Value], given: Sequence[str] | None
) -> list[tuple[str, Value]]:
    """The results with their names, each made by a node of its own."""
    names = list(given) if given is not None else _names_of(structure, len(values))
    if len(names) != len(values) or not _are_names(names):
        raise ValueError(
            f"output_names holds a name of its own for each of the {len(values)} outputs of the "
            f"model; got {names}."
        )
    results = []
    for name, value in zip(names, values, strict=True):
        if name in writer.names:
            if given is not None:
                raise ValueError(f"output_names: {name!r} is the name of an input or a weight.")
            name = writer.name(name)
        writer.names.add(name)
        node = writer.helper.make_node("Identity", [value.name], [name], name=writer.name("Output"))
        writer.nodes.append(node)
        results.append((name, value))
    return results


def _names_of(structure: Any, count: int) -> list[str]:
    if isinstance(structure, dict) and all(isinstance(v, Tensor) for v in structure.values()):
        return [str(key) for key in structure]
    return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]


def _graph(
    model: Any,
    writer: Writer,
    axes: Sequence[dict[int, str]],
    lengths: Mapping[str, tuple[int, int]],
    results: Sequence[tuple[str, Value]],
    doc: str,
) -> Any:
    helper = writer.helper
    symbols = {Varying(*pair): symbol for symbol, pair in lengths.items()}

    def described(name: str, value: Value) -> Any:
        shape = [symbols.get(n) if isinstance(n, Varying) else n for n in value.shape or ()]
        return helper.make_tensor_value_info(name, CODES[value.dtype], shape)

    for value in (*writer.inputs, *(value for _, value in results)):
        if value.dtype not in CODES:
            raise NotImplementedError(f"ONNX has no tensors of {value.dtype}.")
    _merge_identities(writer.nodes)
    name = type(model).__name__ if isinstance(model, Module) else getattr(model, "__name__", "")
    return helper.make_graph(
        writer.nodes,
        name or "model",
        [described(value.name, value) for value in writer.inputs],
        [described(name, value) for name, value in results],
        doc_string=doc,
    )


def _merge_identities(nodes: list[Any]) -> None:
    """Let the node that makes an output give it the output's name, where only one wants it."""
    makers = {name: node for node in nodes for name in node.output}
    kept = []
    final: set[str] = set()
    for node in nodes:
        (source,) = node.input if node.op_type == "Identity" else ("",)
        maker = makers.get(source) if node.name[:6] == "Output" else None
        if maker is None or source in final:
            kept.append(node)
            continue
        (name,) = node.output
        for other in nodes:
            for names in (other.input, other.output):
                for i, known in enumerate(names):
                    if known == source and other is not node:
                        names[i] = name
        makers[name] = maker
        final.add(name)
    nodes[:] = kept


def _save(made: Any, arrays: Mapping[str, Any], target: Path | None, external: bool | None) -> None:
    """Check the model, and write it: the weights first, if they go beside it."""
    onnx = package()
    used = {name for node in made.graph.node for name in node.input}
    used |= {output.name for output in made.graph.output}
    arrays = {name: array for name, array in arrays.items() if name in used}
    total = sum(array.nbytes for array in arrays.values())
    if external is None:
        external = total > MOST_BYTES
    elif not external and total > MOST_BYTES:
        raise ValueError(
            f"the weights have {total:,} bytes, and one file of ONNX holds less than 2 GiB: pass "
            "external_data=True."
        )
    if external and target is None:
        raise ValueError(
            f"weights of {total:,} bytes go into a file beside the model: give a path."
        )
    outside = {name: array for name, array in arrays.items() if external and array.nbytes > SMALL}
    for name, array in arrays.items():
        if name not in outside:
            made.graph.initializer.append(onnx.numpy_helper.from_array(_plain(array), name))
    _check(made, outside)
    if target is None:
        return
    beside = target.with_name(f"{target.name}.data")
    content = bytearray()
    for name, array in outside.items():
        content += bytes(-len(content) % ALIGNMENT)
        tensor = made.graph.initializer.add()
        tensor.name, tensor.data_type = name, CODES[array.dtype.name]
        tensor.dims.extend(array.shape)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (
            ("location", beside.name),
            ("offset", len(content)),
            ("length", array.nbytes),
        ):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
        content += _plain(array).tobytes()
    whole = made.SerializeToString(deterministic=True)
    if outside:
        write(beside, bytes(content))
    write(target, whole)


def _plain(array: Any) -> Any:
    """An array row by row, and its numbers as ONNX has them."""
    return host.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)


def _check(made: Any, outside: Mapping[str, Any]) -> None:
    """Raise unless the model is as the standard says; large weights stand there as inputs."""
    onnx = package()
    checked = onnx.ModelProto()
    checked.CopyFrom(made)
    for name, array in outside.items():
        checked.graph.input.append(
            onnx.helper.make_tensor_value_info(name, CODES[array.dtype.name], array.shape)
        )
    try:
        onnx.checker.check_model(checked, full_check=True)
    except Exception as error:
        raise NotImplementedError(
            f"the model cannot be exported: what would be written does not fit the standard "
            f"({str(error).strip()})."
        ) from error
