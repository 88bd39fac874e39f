"""Gradients: `backward`, `grad`, hooks, and the graph as a listing."""

import functools
import weakref
from collections.abc import Callable, Iterable, Sequence
from sys import getrefcount
from typing import Any

from tinygrad_cv._apply import F
from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._graph import Graph, Handle, Node, backpropagate, current, ending
from tinygrad_cv._public import AUTOGRAD, TOP, public
from tinygrad_cv._reading import ALONE, Reading, raw
from tinygrad_cv._tensor import Tensor, adopt, as_content, wrap
from tinygrad_cv.backend.locks import Locked
from tinygrad_cv.backend.threads import on_one_blas_thread


@adopt
class Gradients(Tensor):
    """The methods that differentiate."""

    __slots__ = ()

    def retain_grad(self) -> None:
        """Keep the gradient of this intermediate result in `.grad` as well."""
        if not self._requires_grad:
            raise RuntimeError(
                f"retain_grad of a tensor of shape {self.shape} that needs no gradient: nothing "
                "it was computed from has requires_grad=True."
            )
        self.node.tensor = weakref.ref(self)

    def register_hook(self, hook: Callable[["Tensor"], "Tensor | None"]) -> Handle:
        """Call `hook(gradient)` whenever the gradient of this tensor is complete.

        What the hook returns takes the place of the gradient, for `.grad` as for what lies behind.
        It may also change the gradient in place, which is its own copy; None leaves that as it is.
        With `create_graph` what it computes is recorded. Several hooks are called in the order of
        their registration. Returns a handle, whose `remove()` takes the hook away.

        >>> import tinygrad_cv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> handle = x.register_hook(lambda g: g.clamp(max=3))
        >>> (x**2).sum().backward()
        >>> x.grad
        tensor([2., 3.])
        >>> handle.remove()
        """
        if not self._requires_grad:
            raise RuntimeError(
                f"register_hook on a tensor of shape {self.shape} that needs no gradient: nothing "
                "it was computed from has requires_grad=True."
            )
        if not callable(hook):
            raise TypeError(f"register_hook takes a function of the gradient; got {hook!r}.")
        node = self.node
        node.hooks = {} if node.hooks is None else node.hooks
        return Handle(node.hooks, functools.partial(_call_hook, hook))

    @property
    def retains_grad(self) -> bool:
        """Whether the gradient of this intermediate result is kept (see `retain_grad`)."""
        node = self.node
        return node.op is not None and node.tensor is not None and node.tensor() is self

    def register_post_accumulate_grad_hook(self, hook: Callable[["Tensor"], None]) -> Handle:
        """Call `hook(tensor)` whenever a backward pass has added to the gradient of this leaf.

        Returns a handle, whose `remove()` takes the hook away.

        >>> import tinygrad_cv as tg
        >>> w = tg.tensor(3.0, requires_grad=True)
        >>> def step(w):
        ...     w.data -= 0.1 * w.grad
        ...     w.grad = None
        >>> handle = w.register_post_accumulate_grad_hook(step)
        >>> (w * w).backward()
        >>> w
        tensor(2.4, requires_grad=True)
        """
        if not self.is_leaf or not self._requires_grad:
            raise RuntimeError(
                "register_post_accumulate_grad_hook is for leaves that require a gradient; this is "
                f"{'a result' if not self.is_leaf else 'a tensor'} of shape {self.shape}"
                f"{'' if not self.is_leaf else ' without requires_grad=True'}."
            )
        if not callable(hook):
            raise TypeError(f"a hook is a function of the tensor; got {hook!r}.")
        node = self.node
        node.hooks = {} if node.hooks is None else node.hooks
        return Handle(node.hooks, _Afterwards(hook))

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Add the gradient of this tensor with respect to every leaf to the leaf's `.grad`.

        `gradient` is dL/d(self); it may be left out for a scalar (it is 1). The graph's saved
        values are freed on the way unless `retain_graph`. With `create_graph` the pass is itself
        recorded, so the gradients can be differentiated again. With `inputs` only they get one.

        >>> import tinygrad_cv as tg
        >>> x = tg.tensor(3.0, requires_grad=True)
        >>> (x**2).backward()
        >>> x.grad.item()
        6.0
        """
        seed: Any = _seed(self, gradient)
        seed = seed if create_graph else seed._array
        seeds = {self.node: seed}
        on_one_blas_thread(_backward, seeds, self, retain_graph, create_graph, inputs)


def _backward(
    seeds: dict[Node, Any],
    root: Tensor,
    retain_graph: bool | None,
    create_graph: bool,
    inputs: Tensor | Sequence[Tensor] | None,
) -> None:
    reading: Reading = F if create_graph else raw(root._backend)
    keep = bool(retain_graph) or create_graph
    wanted: dict[Node, Tensor] | None = None
    if inputs is not None:
        wanted = {x.node: x for x in _differentiable(inputs)}
        if not wanted:
            raise ValueError("backward: inputs is empty; leave it out to reach every leaf.")
    towards = None if wanted is None else set(wanted)
    outer = ending.get()
    last: list[Callable[[], None]] = []
    ending.set(last)
    try:
        for node, g in backpropagate(seeds, reading, towards=towards, keep=keep):
            if wanted is not None:
                target = wanted.get(current(node))
            else:
                target = node.tensor() if node.tensor is not None else None
            if target is None or (node.op is None and not target._requires_grad):
                continue  # nobody asks for it, or it was frozen since
            alone = getrefcount(g) == ALONE_IN_LOOP and node.op is None
            _accumulate(target, _own(g, node, alone), create_graph)
            if node.hooks and node.op is None:
                for hook in tuple(node.hooks.values()):
                    if isinstance(hook, _Afterwards):
                        hook.call(target)
        for call in last:
            call()
    finally:
        ending.set(outer)


class _Afterwards:
    """A hook for when a gradient has been added; among the others it changes nothing."""

    def __init__(self, call: Callable[[Tensor], None]) -> None:
        self.call = call

    def __call__(self, node: Node, g: Any) -> Any:
        return g


def _call_hook(hook: Callable[[Tensor], Tensor | None], node: Node, g: Any) -> Any:
    """The gradient g (an array or a Tensor) of a node, or what the hook makes of it."""
    if isinstance(g, Tensor):
        given = F.clone(g)
        result = hook(given)
    else:
        given = wrap(node.backend.array(g, None), node.backend)
        with no_grad():
            result = hook(given)
    if result is None:
        if not given._version:
            return g
        result = given  # which the hook has changed in place
    if not isinstance(result, Tensor) or result.shape != node.shape:
        raise ValueError(
            f"a hook returned {getattr(result, 'shape', result)!r} for a gradient of shape "
            f"{node.shape}; it returns a tensor of that shape, or None."
        )
    if isinstance(g, Tensor):
        return result.to(device=node.backend.device, dtype=node.dtype)
    return result.detach().to(device=node.backend.device, dtype=node.dtype, copy=True)._array


def _yielded() -> int:
    """What `getrefcount` says of what only the variable of a loop holds; versions differ."""
    for thing in (object() for _ in range(1)):
        count = getrefcount(thing)
    return count


ALONE_IN_LOOP = _yielded()


def _own(g: Any, node: Node, alone: bool) -> Tensor:
    """The gradient g (an array or a Tensor) of a node as a Tensor with memory of its own.

    No two gradients share memory, nor a gradient and a value: each may be changed in place. An
    array that nobody else holds is taken as it is.
    """
    if isinstance(g, Tensor):
        # Of two inputs that get the same gradient, neither may seem to depend on the other.
        return F.clone(g)
    taken = alone and node.backend.owns(g)
    return wrap(g if taken else node.backend.array(g, None), node.backend)


_accumulating = Locked()


def _accumulate(target: Tensor, g: Tensor, create_graph: bool) -> None:
    """Add to the gradient of a leaf; several threads may do so at once."""
    if target.shape != g.shape:
        raise RuntimeError(
            f"a tensor got data of the shape {target.shape} after it was used with that of "
            f"{g.shape}, which its gradient has; set .data before the forward pass."
        )
    if target.device != g.device or target.dtype != g.dtype:  # it moved since
        g = g.to(device=target.device, dtype=target.dtype)
    with _accumulating.lock:
        if target._grad is None:
            target._grad = g
        elif create_graph:
            target._grad = target._grad + g
        else:
            backend = target._backend
            alone = getrefcount(target._grad) == getrefcount(target._grad._array) == ALONE
            with backend.active:
                if alone and backend.owns(target._grad._array):
                    target._grad._array += g._array
                else:
                    total = backend.result(target._grad._array + g._array, g.dtype)
                    target._grad = wrap(total, backend)


def _seed(output: Tensor, gradient: Any) -> Tensor:
    """dL/d(output), checked."""
    if not output._requires_grad:
        raise RuntimeError(
            f"backward from a tensor of shape {output.shape} that does not require a gradient: "
            "nothing it was computed from has requires_grad=True, or it was made under no_grad() "
            "or detached."
        )
    if gradient is None:
        if output.numel() != 1:
            raise RuntimeError(
                f"backward from a tensor of shape {output.shape}: only a scalar has an obvious "
                "starting gradient. Reduce it first (loss.sum() or loss.mean()), or pass "
                f"gradient=, a tensor of shape {output.shape}."
            )
        return wrap(output._backend.ones(output.shape, output.dtype), output._backend)
    gradient = as_content(gradient, output)
    if gradient.shape != output.shape:
        raise ValueError(
            f"the gradient of shape {gradient.shape} does not match the output of shape "
            f"{output.shape}; they must be equal."
        )
    if gradient._backend is not output._backend:
        raise ValueError(
            f"the gradient is on {gradient.device} and the output on {output.device}; "
            "move it with gradient.to(output.device)."
        )
    return gradient if gradient.dtype == output.dtype else F.cast(gradient, dtype=output.dtype)


@public(AUTOGRAD)
def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradient of several tensors together to the `.grad` of every leaf, in one pass.

    `grad_tensors` holds dL/d(tensor) of each (`grad_variables` is its old name), None for a single
    number. All else is as in `Tensor.backward`.

    >>> import tinygrad_cv as tg
    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> tg.autograd.backward([x * 2, x * x])
    >>> x.grad.item()
    8.0
    """
    if grad_variables is not None:
        if grad_tensors is not None:
            raise TypeError("backward got grad_tensors and its old name grad_variables; pass one.")
        grad_tensors = grad_variables
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not tensors:
        raise ValueError("backward needs at least one tensor to start from; got none.")
    on_one_blas_thread(
        _backward,
        _seeds(tensors, grad_tensors, "grad_tensors", create_graph),
        tensors[0],
        retain_graph,
        create_graph,
        inputs,
    )


def _seeds(
    outputs: Sequence[Tensor], gradients: Any, name: str, create_graph: bool
) -> dict[Node, Any]:
    """dL/d(output) of several outputs, checked; those of one node are added up."""
    if gradients is None or isinstance(gradients, Tensor):
        gradients = [gradients] * (len(outputs) if gradients is None else 1)
    if len(gradients) != len(outputs):
        raise ValueError(
            f"{name} must hold one gradient (or None) for each of the {len(outputs)} outputs; got "
            f"{len(gradients)}."
        )
    seeds: dict[Node, Any] = {}
    for output, gradient in zip(outputs, gradients, strict=True):
        seed: Any = _seed(output, gradient)
        seed = seed if create_graph else seed._array
        with output._backend.active:
            seeds[output.node] = seeds[output.node] + seed if output.node in seeds else seed
    return seeds


@public(TOP, AUTOGRAD)
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to `inputs`, without touching any `.grad`.

    Returns one gradient per input: sum over outputs of grad_output · d(output)/d(input). With
    `create_graph` they can be differentiated again. An input that the outputs do not depend on is
    an error, or None with `allow_unused`, or zeros with `materialize_grads`. The graph is kept if
    `retain_graph`, which is by default the value of `create_graph`. With `is_grads_batched` each
    grad_output has one more axis in front, and so has each gradient; there is a pass for each.

    >>> import tinygrad_cv as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> (first,) = tg.grad(x**3, x, create_graph=True)
    >>> (second,) = tg.grad(first, x)
    >>> first.item(), second.item()
    (12.0, 12.0)
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    if not only_inputs:
        raise ValueError("grad: only_inputs=False is not taken; backward() reaches every leaf.")
    if materialize_grads and allow_unused is False:
        raise ValueError("grad: materialize_grads gives zeros to what is unused; allow that, too.")
    if not outputs:
        raise ValueError("grad needs at least one output to differentiate; got none.")
    inputs = _differentiable(inputs)
    if is_grads_batched:
        single = grad_outputs is None or isinstance(grad_outputs, Tensor)
        grad_outputs = [grad_outputs] if single else list(grad_outputs)
        batches = [g for g in grad_outputs if g is not None]
        if not batches:
            raise ValueError("grad: is_grads_batched asks for grad_outputs.")
        options = (create_graph, True, allow_unused, False, materialize_grads)
        rows = [
            grad(outputs, inputs, [g if g is None else g[k] for g in grad_outputs], True, *options)
            for k in range(len(batches[0]))
        ]
        return tuple(
            None if any(g is None for g in column) else F.stack(*column)
            for column in zip(*rows, strict=True)
        )
    reading: Reading = F if create_graph else raw(outputs[0]._backend)
    seeds = _seeds(outputs, grad_outputs, "grad_outputs", create_graph)
    found: dict[Node, Tensor] = {}
    wanted = {value.node for value in inputs}
    keep = create_graph if retain_graph is None else retain_graph
    for node, g in backpropagate(seeds, reading, towards=wanted, keep=keep):
        place = node if node in wanted else current(node)
        if place in wanted:
            alone = node.op is None and getrefcount(g) == ALONE_IN_LOOP
            gradient = _own(g, node, alone)
            found[place] = found[place] + gradient if place in found else gradient
    for value in inputs if materialize_grads else ():
        if value.node not in found:
            zeros = value._backend.zeros(value.shape, dtype=value.dtype)
            found[value.node] = wrap(zeros, value._backend)
    missing = [i for i, value in enumerate(inputs) if value.node not in found]
    if missing and not allow_unused:
        raise RuntimeError(
            f"the outputs do not depend on input {missing[0]} (shape "
            f"{inputs[missing[0]].shape}). Pass allow_unused=True to get None for it."
        )
    return tuple(found.get(value.node) for value in inputs)


def _differentiable(inputs: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """The tensors for which gradients are asked, checked."""
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for value in tensors:
        if not value.requires_grad:
            raise RuntimeError(
                f"a gradient was asked with respect to a tensor of shape {value.shape} that does "
                "not require one; create it with requires_grad=True."
            )
    return tensors


@public(TOP)
def graph(*tensors: Tensor | Iterable[Tensor]) -> Graph:
    """The expression graph of one or more tensors; `print` lists it, one line a node.

    >>> import tinygrad_cv as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> print(tg.graph((x * x).sum()))
    %0  parameter            float32 (2,)
    %1  mul        (%0, %0)  float32 (2,)
    %2  sum        (%1)      float32 ()
    """
    flat = [t for group in tensors for t in ([group] if isinstance(group, Tensor) else group)]
    return Graph([tensor.node for tensor in flat])
