"""Gradients: `backward`, `grad`, hooks, and the graph as a listing."""

import functools
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from sys import getrefcount
from typing import Any

from tinygrad_cv._apply import F
from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._graph import Graph, Handle, Node, backpropagate
from tinygrad_cv._public import TOP, public
from tinygrad_cv._reading import ALONE, Reading, raw
from tinygrad_cv._tensor import Tensor, adopt, as_content, wrap


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

        What the hook returns takes the place of the gradient, for `.grad` as for what lies behind;
        None leaves it as it is. The hook gets a copy. With `create_graph` what it computes is
        recorded. Several hooks are called in the order of their registration. Returns a handle,
        whose `remove()` takes the hook away.

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

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool = False,
        create_graph: bool = False,
    ) -> None:
        """Add the gradient of this tensor with respect to every leaf to the leaf's `.grad`.

        `gradient` is dL/d(self); it may be left out for a scalar (it is 1). The graph's saved
        values are freed on the way unless `retain_graph`. With `create_graph` the pass is itself
        recorded, so the gradients can be differentiated again.

        >>> import tinygrad_cv as tg
        >>> x = tg.tensor(3.0, requires_grad=True)
        >>> (x**2).backward()
        >>> x.grad.item()
        6.0
        """
        seed: Any = _seed(self, gradient)
        reading: Reading = F if create_graph else raw(self._backend)
        seed = seed if create_graph else seed._array
        keep = retain_graph or create_graph
        for node, g in backpropagate({self.node: seed}, reading, keep=keep):
            target = node.tensor() if node.tensor is not None else None
            if target is None or (node.op is None and not target._requires_grad):
                continue  # nobody asks for it, or it was frozen since
            alone = getrefcount(g) == ALONE_IN_LOOP and node.op is None
            _accumulate(target, _own(g, node, alone), create_graph)


def _call_hook(hook: Callable[[Tensor], Tensor | None], node: Node, g: Any) -> Any:
    """The gradient g (an array or a Tensor) of a node, or what the hook makes of it."""
    if isinstance(g, Tensor):
        result = hook(F.clone(g))
    else:
        with no_grad():
            result = hook(wrap(node.backend.array(g, None), node.backend))
    if result is None:
        return g
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


_accumulating = threading.Lock()


def _accumulate(target: Tensor, g: Tensor, create_graph: bool) -> None:
    """Add to the gradient of a leaf; several threads may do so at once."""
    if target.device != g.device or target.dtype != g.dtype:  # it moved since (see `_move`)
        g = g.to(device=target.device, dtype=target.dtype)
    with _accumulating:
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


@public(TOP)
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    retain_graph: bool | None = None,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to `inputs`, without touching any `.grad`.

    Returns one gradient per input: sum over outputs of grad_output · d(output)/d(input). With
    `create_graph` they can be differentiated again. An input that the outputs do not depend on is
    an error, or None with `allow_unused`. The graph is kept if `retain_graph`, which is by
    default the value of `create_graph`.

    >>> import tinygrad_cv as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> (first,) = tg.grad(x**3, x, create_graph=True)
    >>> (second,) = tg.grad(first, x)
    >>> first.item(), second.item()
    (12.0, 12.0)
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if not outputs:
        raise ValueError("grad needs at least one output to differentiate; got none.")
    if grad_outputs is None or isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs] * (len(outputs) if grad_outputs is None else 1)
    if len(grad_outputs) != len(outputs):
        raise ValueError(
            f"grad_outputs must hold one gradient (or None) for each of the {len(outputs)} "
            f"outputs; got {len(grad_outputs)}."
        )
    for value in inputs:
        if not value.requires_grad:
            raise RuntimeError(
                f"a gradient was asked with respect to a tensor of shape {value.shape} that does "
                "not require one; create it with requires_grad=True."
            )
    reading: Reading = F if create_graph else raw(outputs[0]._backend)
    seeds: dict[Node, Any] = {}
    for output, gradient in zip(outputs, grad_outputs, strict=True):
        seed: Any = _seed(output, gradient)
        seed = seed if create_graph else seed._array
        with output._backend.active:
            seeds[output.node] = seeds[output.node] + seed if output.node in seeds else seed
    found: dict[Node, Tensor] = {}
    wanted = {value.node for value in inputs}
    keep = create_graph if retain_graph is None else retain_graph
    for node, g in backpropagate(seeds, reading, towards=wanted, keep=keep):
        if node in wanted:
            found[node] = _own(g, node, node.op is None and getrefcount(g) == ALONE_IN_LOOP)
    missing = [i for i, value in enumerate(inputs) if value.node not in found]
    if missing and not allow_unused:
        raise RuntimeError(
            f"the outputs do not depend on input {missing[0]} (shape "
            f"{inputs[missing[0]].shape}). Pass allow_unused=True to get None for it."
        )
    return tuple(found.get(value.node) for value in inputs)


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
