"""Functions of functions: products with Jacobians, Jacobians and Hessians, and checkpoints.

The first five are shaped as those in `torch.autograd.functional`. They differentiate `func` at
`inputs`, a tensor or a tuple of tensors, and touch no `.grad`. With `create_graph` the results can
be differentiated again, also with respect to the inputs where these require a gradient; otherwise
they are constants. Where an output does not depend on an input the derivative is 0, or an error
if `strict`.

>>> import tinygrad_cv as tg
>>> from tinygrad_cv.transforms import hessian, jacobian
>>> jacobian(lambda x: x**2, tg.tensor([1.0, 3.0]))
tensor([[2., 0.],
        [0., 6.]])
>>> hessian(lambda x: (x**3).sum(), tg.tensor([1.0, 2.0]))
tensor([[ 6.,  0.],
        [ 0., 12.]])
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from tinygrad_cv._apply import F, Recorded, apply
from tinygrad_cv._autograd import grad
from tinygrad_cv._grad_mode import enable_grad, is_grad_enabled
from tinygrad_cv._graph import Node, backpropagate
from tinygrad_cv._op import Op
from tinygrad_cv._tensor import Tensor, as_input, wrap
from tinygrad_cv.backend import default_generator, host
from tinygrad_cv.backend.base import Backend, draw_listeners
from tinygrad_cv.ops.elementwise import Clone

Tensors = Tensor | tuple[Tensor, ...]


# ----- products with Jacobians -------------------------------------------------------------------


def vjp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensors, Tensors]:
    """The outputs of `func`, and vᵀ J: what a backward pass computes.

    `v` has the shapes of the outputs; it may be left out for a single number (it is 1).

    >>> import tinygrad_cv as tg
    >>> vjp(lambda x, y: x * y, (tg.tensor([1.0, 2.0]), tg.tensor(3.0)), tg.tensor([1.0, 10.0]))
    (tensor([3., 6.]), (tensor([ 3., 30.]), tensor(21.)))
    """
    point = _Point("vjp", func, inputs, create_graph)
    weights = _directions("vjp", "v", v, point.outputs, "output")
    found = _gradients(point.outputs, point.inputs, weights, create_graph)
    result = [_or_zeros(g, x, point, strict) for g, x in zip(found, point.inputs, strict=True)]
    return point.value(), point.like_inputs(result)


def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensors, Tensors]:
    """The outputs of `func`, and J v: how they move when the inputs move along v.

    `v` has the shapes of the inputs; it may be left out for a single number (it is 1). uᵀ J is
    linear in u, and its derivative along v is J v: so two backward passes make one forward.

    >>> import tinygrad_cv as tg
    >>> jvp(lambda x: x**2, tg.tensor([1.0, 3.0]), tg.tensor([1.0, 0.5]))
    (tensor([1., 9.]), tensor([2., 3.]))
    """
    point = _Point("jvp", func, inputs, create_graph)
    directions = _directions("jvp", "v", v, point.inputs, "input")
    moving = [y for y in point.outputs if y.requires_grad]
    u = [_zeros(y).requires_grad_() for y in moving]
    pulled = _gradients(moving, point.inputs, u, create_graph=True)
    moved = iter(_gradients(pulled, u, directions, create_graph))
    result = [
        _or_zeros(next(moved) if y.requires_grad else None, y, point, strict) for y in point.outputs
    ]
    return point.value(), point.like_outputs(result)


def hvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensors, Tensors]:
    """The value of `func`, a single number, and H v, without the Hessian H itself.

    `v` has the shapes of the inputs. H is symmetric, so H v is the gradient of <gradient, v>.

    >>> import tinygrad_cv as tg
    >>> hvp(lambda x: (x**3).sum(), tg.tensor([1.0, 2.0]), tg.tensor([1.0, 1.0]))
    (tensor(9.), tensor([ 6., 12.]))
    """
    point = _Point("hvp", func, inputs, create_graph)
    directions = _directions("hvp", "v", v, point.inputs, "input")
    first = _gradients([point.number()], point.inputs, [None], create_graph=True)
    if strict:
        first = [_or_zeros(g, x, point, strict) for g, x in zip(first, point.inputs, strict=True)]
    second = _gradients(first, point.inputs, directions, create_graph)
    result = [_or_zeros(h, x, point, strict) for h, x in zip(second, point.inputs, strict=True)]
    return point.value(), point.like_inputs(result)


# ----- whole matrices ----------------------------------------------------------------------------


def jacobian(
    func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False
) -> Any:
    """The derivative of each output by each input, with one backward pass for each number of them.

    Of one output by one input it has the shape (*output.shape, *input.shape). For a tuple of
    inputs there is a tuple of these, and for a tuple of outputs a tuple of what each has.

    >>> import tinygrad_cv as tg
    >>> jacobian(lambda x, y: x * y, (tg.tensor([1.0, 2.0]), tg.tensor(3.0)))
    (tensor([[3., 0.],
            [0., 3.]]), tensor([1., 2.]))
    """
    point = _Point("jacobian", func, inputs, create_graph)
    rows = [point.like_inputs(_rows(point, y, create_graph, strict)) for y in point.outputs]
    return tuple(rows) if point.many_outputs else rows[0]


def hessian(
    func: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = False
) -> Any:
    """The second derivatives of `func`, a single number, by each pair of inputs.

    It is the Jacobian of the gradient: for one input, (*input.shape, *input.shape). For a tuple of
    inputs, element [i][j] is the derivative by input i and by input j.

    >>> import tinygrad_cv as tg
    >>> hessian(lambda x, y: x**2 * y, (tg.tensor(3.0), tg.tensor(5.0)))
    ((tensor(10.), tensor(6.)), (tensor(6.), tensor(0.)))
    """

    def gradient(*xs: Tensor) -> Tensors:
        point = _Point("hessian", func, xs, create_graph=True)
        found = _gradients([point.number()], point.inputs, [None], create_graph=True)
        result = [_or_zeros(g, x, point, strict) for g, x in zip(found, xs, strict=True)]
        return tuple(result) if isinstance(inputs, tuple | list) else result[0]

    return jacobian(gradient, inputs, create_graph, strict)


class _Point:
    """A function at one place: its inputs as variables of their own, and its outputs."""

    def __init__(
        self, name: str, func: Callable[..., Any], inputs: Any, create_graph: bool
    ) -> None:
        self.name, self.create_graph = name, create_graph
        self.many_inputs = isinstance(inputs, tuple | list)
        self.inputs = [self.variable(x) for x in _tensors(name, "inputs", inputs)]
        with enable_grad():
            returned = func(*self.inputs)
        self.many_outputs = isinstance(returned, tuple | list)
        self.outputs = _tensors(name, "the outputs of the function", returned)

    def variable(self, x: Tensor) -> Tensor:
        """A tensor that stands for this input alone, wherever the input came from."""
        if not x.is_floating_point():
            raise TypeError(
                f"{self.name}: an input of dtype {x.dtype} has no derivative; use x.float(), or "
                "leave it out of the inputs: lambda x: func(x, labels)."
            )
        if self.create_graph and x.requires_grad:
            with enable_grad():
                return F.clone(x)
        return x.detach().requires_grad_()

    def number(self) -> Tensor:
        """The output, which must be a single number."""
        shapes = [y.shape for y in self.outputs]
        if self.many_outputs or self.outputs[0].numel() != 1:
            raise ValueError(
                f"{self.name}: the function must return one number, as a loss is; it returned "
                f"{'the shapes ' if self.many_outputs else 'the shape '}"
                f"{', '.join(map(str, shapes))}."
            )
        return self.outputs[0]

    def value(self) -> Tensors:
        """What the function returned."""
        return self.like_outputs(self.outputs)

    def like_inputs(self, tensors: list[Tensor]) -> Tensors:
        """One tensor for each input, as the inputs were given."""
        return self.result(tensors, self.many_inputs)

    def like_outputs(self, tensors: list[Tensor]) -> Tensors:
        """One tensor for each output, as the function returned them."""
        return self.result(tensors, self.many_outputs)

    def result(self, tensors: list[Tensor], many: bool) -> Tensors:
        if not self.create_graph:
            tensors = [t.detach() for t in tensors]
        return tuple(tensors) if many else tensors[0]


def _tensors(name: str, what: str, given: Any) -> list[Tensor]:
    tensors = list(given) if isinstance(given, tuple | list) else [given]
    for tensor in tensors:
        if not hasattr(tensor, "dtype"):
            raise TypeError(
                f"{name}: {what} must be a tensor or a tuple of tensors; got "
                f"{type(tensor).__name__}."
            )
    return [as_input(tensor) for tensor in tensors]


def _directions(name: str, label: str, v: Any, like: list[Tensor], what: str) -> list[Any]:
    """The tensors v, one for each of `like`; None for a single number stands for 1."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            shapes = ", ".join(str(x.shape) for x in like)
            raise ValueError(
                f"{name}: {label} may be left out for a single number only; the {what}s have the "
                f"shapes {shapes}. Pass one tensor of its shape for each."
            )
        return [F.broadcast_to(Tensor(1.0, like[0].dtype, like[0].device), shape=like[0].shape)]
    given = _tensors(name, label, v)
    if [t.shape for t in given] != [x.shape for x in like]:
        raise ValueError(
            f"{name}: {label} has the shapes {', '.join(str(t.shape) for t in given)}, and the "
            f"{what}s {', '.join(str(x.shape) for x in like)}; they must be equal."
        )
    return given


def _zeros(like: Tensor) -> Tensor:
    return wrap(like._backend.zeros(like.shape, dtype=like.dtype), like._backend)


def _gradients(
    outputs: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    weights: Sequence[Any],
    create_graph: bool,
    retain_graph: bool | None = None,
) -> list[Tensor | None]:
    """The gradients of the outputs that have any; None where nothing depends on an input."""
    pairs = [
        (y, w) for y, w in zip(outputs, weights, strict=True) if y is not None and y.requires_grad
    ]
    if not pairs:
        return [None] * len(inputs)
    with enable_grad():  # for what `create_graph` records
        return list(
            grad(
                [y for y, _ in pairs],
                inputs,
                [w for _, w in pairs],
                create_graph,
                allow_unused=True,
                retain_graph=retain_graph,
            )
        )


def _or_zeros(found: Tensor | None, like: Tensor, point: _Point, strict: bool) -> Tensor:
    if found is not None:
        return found
    if strict:
        raise RuntimeError(
            f"{point.name}: with strict, every output must depend on every input; nothing connects "
            f"a tensor of shape {like.shape} to the other side. Without it the derivative is 0."
        )
    return _zeros(like)


def _rows(point: _Point, y: Tensor, create_graph: bool, strict: bool) -> list[Tensor]:
    """The derivative of one output by each input."""
    rows: list[list[Tensor]] = [[] for _ in point.inputs]
    one = Tensor(1.0, y.dtype, y.device)
    for place in host.ndindex(y.shape):
        chosen = F.scatter_add(one, index=place, shape=y.shape)
        found = _gradients([y], point.inputs, [chosen], create_graph, retain_graph=True)
        for row, g, x in zip(rows, found, point.inputs, strict=True):
            row.append(_or_zeros(g, x, point, strict))
    with enable_grad():
        return [
            F.reshape(F.stack(*row), shape=(*y.shape, *x.shape))
            if row
            else wrap(x._backend.zeros((*y.shape, *x.shape), dtype=x.dtype), x._backend)
            for row, x in zip(rows, point.inputs, strict=True)
        ]


# ----- checkpoints -------------------------------------------------------------------------------


def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`function(*args, **kwargs)`, saving nothing of it but what goes in.

    The backward pass computes it again, when the gradient arrives (Chen et al., Training deep nets
    with sublinear memory cost, 2016): more time for less memory. Values and gradients of every
    order are those of the plain call. Parameters that the function uses get their gradients too,
    and random numbers are drawn again as they were.

    The function returns a tensor, or a tuple of tensors and other values. It must compute the same
    once more: what it reads besides its arguments may not change before the backward pass, and
    what it writes is written twice (the running statistics of a batch norm, for one, move twice).

    >>> import tinygrad_cv as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> y = checkpoint(lambda x: (x * x).tanh() * x, x)
    >>> print(tg.graph(y))
    %0  parameter         float32 (2,)
    %1  checkpoint  (%0)  float32 (2,)
    """
    if not is_grad_enabled():
        return function(*args, **kwargs)
    start = _number()
    with _noting_draws() as draws:
        returned = function(*args, **kwargs)
    outputs = list(returned) if isinstance(returned, tuple | list) else [returned]
    places = [k for k, y in enumerate(outputs) if isinstance(y, Tensor) and y.requires_grad]
    if not places:
        if not any(isinstance(y, Tensor) for y in outputs):
            raise TypeError(
                "checkpoint: the function must return a tensor, or a tuple with tensors in it; "
                f"got {type(returned).__name__}."
            )
        return returned
    segment = _Segment(function, args, kwargs, places, draws)
    joined = segment.record(_joined([outputs[k] for k in places]), start)
    if len(places) == 1:
        outputs[places[0]] = joined
    else:
        end = 0
        for k in places:
            part, end = slice(end, end + outputs[k].numel()), end + outputs[k].numel()
            flat = F.getitem(joined, index=(part,))
            y = F.reshape(flat, shape=outputs[k].shape)
            outputs[k] = y if y.dtype == outputs[k].dtype else F.cast(y, dtype=outputs[k].dtype)
    if not isinstance(returned, tuple | list):
        return outputs[0]
    make = type(returned)
    return make(*outputs) if hasattr(make, "_fields") else make(outputs)


class Checkpoint(Op, register=False):
    """What a function computed, of which nothing is saved: the rule computes it again."""

    segment: "_Segment"
    dtype: Any
    kept = ("segment",)  # so that the function goes where the inputs go, after the pass
    hidden = ("segment", "dtype")

    def forward(self, xp: Any, *xs: Any) -> Any:
        return self.segment.take()

    def destination(self, backend: Backend) -> Backend:
        return self.segment.backend

    def grad_xs(self, F: Any, g: Any, xs: Any, segment: Any) -> Any:
        return F.memory(segment).gradients(F, g, xs)


class _Segment:
    """One call of a function, to be run again.

    `nodes` are what its result depends on: the nodes of the tensors among the arguments, and then
    those outside the call that the function found by itself, such as parameters.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        places: list[int],
        draws: "_Draws",
    ) -> None:
        self.function, self.names = function, tuple(kwargs)
        self.given: tuple[Any, ...] = (*args, *kwargs.values())
        self.places, self.draws = places, draws

    def record(self, y: Tensor, start: int) -> Tensor:
        """The result of the first run as the output of one op on all that it depends on."""
        inner, outside = _between(y.node, start)
        inputs: dict[Node, Tensor] = {}

        def entered(value: Any) -> Any:
            """An argument; of a tensor its place, for the graph saves its array and frees it."""
            if not isinstance(value, Tensor):
                return value
            value = value if value.node in outside else value.detach()
            inputs[value.node] = value
            return _Place(list(inputs).index(value.node))

        self.given = tuple(map(entered, self.given))
        self.arguments = len(inputs)
        guards = [guard for node in inner for guard in node.guards]
        for node in outside:
            tensor = _tensor_of(node)
            if tensor is not None:
                guards.append((node.label, tensor._version, tensor._version[0]))
            if node not in inputs and _needs_gradient(node):
                inputs[node] = _standing_at(node) if tensor is None else tensor
        self.nodes = list(inputs)
        self.result, self.backend = y._array, y._backend
        out = apply(Checkpoint(segment=self, dtype=y.dtype), *inputs.values())
        out.node.guards += tuple(guards)
        return out

    def take(self) -> Any:
        """The array that the first run computed."""
        result = self.result
        del self.result
        return result

    def gradients(self, reading: Any, g: Any, xs: Sequence[Any]) -> list[Any]:
        """The gradient for each of `nodes`, in the reading at hand."""
        shape, recorded = g.shape, isinstance(reading, Recorded)
        inputs = [
            x if recorded else _standing_at(node, x) for x, node in zip(xs, self.nodes, strict=True)
        ]
        # Within another checkpoint an argument may come from a node that stands in for its own.
        owners = [{node, x.node} for node, x in zip(self.nodes, inputs, strict=True)]
        self.check_parameters(inputs)
        start = _number()
        with enable_grad(), self.draws.again():
            y = self.run(inputs)
        inner, outside = _between(y.node, start)
        _check_repetition(y, shape, set(filter(_needs_gradient, outside)) - set().union(*owners))
        # What lies outside is cut off: its own inputs get their share from the graph around it.
        cuts = {
            node: node if node.op is None else _cut(node, start, recorded)
            for node in outside
            if node.requires_grad
        }
        for node in inner:
            node.inputs = tuple(cuts.get(value, value) for value in node.inputs)
        seeds = {cuts.get(y.node, y.node): g}
        wanted = set(cuts.values())
        # What happens inside is no step of the walk outside, which may be kept a record of.
        own = F if recorded else reading
        walk = backpropagate(seeds, own, towards=wanted, keep=recorded)
        found = {node: gradient for node, gradient in walk if node in wanted}

        def total(nodes: set[Node], x: Tensor) -> Any:
            shares = [found[cuts[node]] for node in nodes if cuts.get(node) in found]
            if shares:
                return sum(shares[1:], start=shares[0])
            return _zeros(x) if recorded else _zeros(x)._array

        return [total(nodes, x) for nodes, x in zip(owners, inputs, strict=True)]

    def check_parameters(self, inputs: Sequence[Tensor]) -> None:
        """Raise if what the function finds by itself is no longer what it found at first."""
        for node, x in zip(self.nodes[self.arguments :], inputs[self.arguments :], strict=True):
            tensor = _tensor_of(node)
            if node.op is None and (tensor is None or tensor._array is not x._array):
                raise RuntimeError(
                    f"checkpoint: a parameter of shape {node.shape} that the function used was "
                    "replaced before the backward pass, so nothing can be computed again with it. "
                    "Update parameters after backward()."
                )

    def run(self, inputs: Sequence[Tensor]) -> Tensor:
        """The function on these inputs, and of its outputs those that have gradients, joined."""
        given = [inputs[a.number] if isinstance(a, _Place) else a for a in self.given]
        count = len(given) - len(self.names)
        named = dict(zip(self.names, given[count:], strict=True))
        returned = self.function(*given[:count], **named)
        outputs = returned if isinstance(returned, tuple | list) else [returned]
        return _joined([outputs[k] for k in self.places])


@dataclass(frozen=True)
class _Place:
    """An argument that is the tensor at a place among the inputs."""

    number: int


def _check_repetition(y: Tensor, shape: tuple[int, ...], strangers: set[Node]) -> None:
    """Raise unless the second run was as the first."""
    if strangers:
        stranger = min(strangers, key=lambda node: node.number)
        what = f"used a {stranger.label} of shape {stranger.shape} that it had not used before"
    elif y.shape != shape:
        what = f"gave the shape {y.shape}, and before {shape}"
    elif not y.requires_grad:
        what = "gave a result that depends on no input"
    else:
        return
    raise RuntimeError(
        f"checkpoint: computed again for the backward pass, the function {what}. It must do the "
        "same each time."
    )


def _number() -> int:
    """A number between those of the nodes made before and after."""
    return Tensor(0.0, device="cpu").node.number


def _between(root: Node, start: int) -> tuple[list[Node], list[Node]]:
    """The nodes made since `start` that `root` depends on, and those outside that they use."""
    inner: dict[Node, None] = {}
    outside: dict[Node, None] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if node.op is None or node.number < start:
            outside[node] = None
        elif node not in inner:
            inner[node] = None
            stack += node.parents()
    return list(inner), sorted(outside, key=attrgetter("number"))


def _tensor_of(node: Node) -> Tensor | None:
    """The tensor of a leaf, if it is still there."""
    return None if node.tensor is None else node.tensor()


def _needs_gradient(node: Node) -> bool:
    """Whether a gradient for the node can be seen: a leaf that is gone shows it to nobody."""
    return node.requires_grad and (node.op is not None or _tensor_of(node) is not None)


def _standing_at(node: Node, array: Any = None) -> Tensor:
    """A tensor at a node; without an array, one whose values nobody reads."""
    if array is None:
        with node.backend.active:
            zero = node.backend.zeros((), dtype=node.dtype)
            array = node.backend.broadcast_to(zero, node.shape)
    tensor = wrap(array, node.backend)
    tensor._node, tensor._requires_grad = node, node.requires_grad
    return tensor


def _cut(node: Node, number: int, recorded: bool) -> Node:
    """A node in place of one outside, which it leads to in the recorded reading only."""
    op, inputs, plan = (Clone(), (node,), Clone.plan((True,))) if recorded else (None, (), None)
    cut = Node(op, inputs, node.shape, node.dtype, node.backend, True, plan)
    cut.number = number  # before all that uses it
    return cut


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """One tensor with the elements of all; a single one as it is."""
    if len(tensors) == 1:
        return tensors[0]
    dtype = host.result_type(*(tensor.dtype for tensor in tensors))
    flat = [F.reshape(tensor, shape=(-1,)) for tensor in tensors]
    return F.cat(*(t if t.dtype == dtype else F.cast(t, dtype=dtype) for t in flat), axis=0)


# ----- random numbers, drawn again ---------------------------------------------------------------


class _Draws:
    """The states that generators had when a function first drew from them."""

    def __init__(self) -> None:
        self.default = default_generator().bit_generator.state
        self.states: dict[Any, Any] = {}

    def note(self, generator: Any) -> None:
        """Note the state of a generator that is about to be drawn from."""
        if generator not in self.states:
            self.states[generator] = generator.bit_generator.state

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, the generators draw once more what they drew then; after it they go on."""
        states = self.states | {default_generator(): self.default}
        now = {generator: generator.bit_generator.state for generator in states}
        try:
            for generator, state in states.items():
                generator.bit_generator.state = state
            yield
        finally:
            for generator, state in now.items():
                generator.bit_generator.state = state


@contextmanager
def _noting_draws() -> Iterator[_Draws]:
    """Inside, the state of each generator is noted before a backend first draws from it."""
    draws = _Draws()
    token = draw_listeners.set((*draw_listeners.get(), draws.note))
    try:
        yield draws
    finally:
        draw_listeners.reset(token)
