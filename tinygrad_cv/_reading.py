"""The readings of a rule: a namespace of ops, and the gradients that the rules of a node give."""

import weakref
from collections.abc import Callable
from functools import cache
from sys import getrefcount
from typing import TYPE_CHECKING, Any

from tinygrad_cv._op import NOTHING, REGISTRY, WIDTH, Op, Output, bound_in, is_array, is_float
from tinygrad_cv.backend.base import Bits

if TYPE_CHECKING:
    from tinygrad_cv._graph import Node
    from tinygrad_cv.backend.base import Backend


class Reading:
    """A namespace in which every registered op can be called by name, as rules call them."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            op = REGISTRY[name]
        except KeyError:
            raise AttributeError(f"no op named {name!r} is registered") from None
        bound = self.bind(op)
        setattr(self, name, bound)  # found at once the next time
        bound_in.setdefault(name, weakref.WeakSet()).add(self)
        return bound

    def bind(self, op: type[Op]) -> Callable[..., Any]:
        """The op as a function in this reading: inputs by position, attributes by keyword."""
        raise NotImplementedError

    def let(self, name: str, value: Any) -> Any:
        """Name a subexpression: a formula then says "where name = ..." instead of repeating it."""
        return value

    def memory(self, value: Any) -> Any:
        """The array of a value of this reading; of several a tuple."""
        return value

    def on(self, backend: "Backend") -> "Reading":
        """This reading on another device."""
        return self

    def values(self, node: "Node") -> tuple[Any, ...]:
        """What the rules of this node asked to save, as values of this reading."""
        raise NotImplementedError

    def widened(self, value: Any, least: str) -> Any:
        """A float (or each of a tuple) in the dtype `least`, if its own is narrower."""
        if is_float(value) and value.dtype.itemsize < WIDTH[least]:
            return self.cast(value, dtype=least)
        return value

    def lent(self, op: Op, g: Any, values: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """The gradient and the saved values as the rules of an op get them."""
        g, values = _mapped(lambda value: self.widened(value, op.computes_in), (g, values))
        return g, values

    def shares(self, node: "Node", g: Any, useful: "set[Node] | None") -> list[tuple["Node", Any]]:
        """What each rule gives, in the shape of the input it is for, with the node of that."""
        plan, inputs, op = node.plan, node.inputs, node.op
        assert plan is not None
        assert op is not None
        values = self.values(node)
        if op.widens or op.foreign:
            g, values = self.lent(op, g, values)
        shares = []
        for where, rule, slots in plan.rules:
            if type(where) is int:
                receiver = inputs[where]
                if useful is None or receiver in useful:
                    asked = [values[slot] for slot in slots] if slots else ()
                    share = rule(op, self, g, *asked)
                    if getattr(share, "shape", None) != receiver.shape:
                        share = self._fitted(share, receiver, node)
                    shares.append((receiver, share))
            elif useful is None or not useful.isdisjoint(inputs[where]):
                parts = rule(op, self, g, *[values[s] for s in slots])
                if not isinstance(parts, list | tuple) or len(parts) != len(inputs[where]):
                    raise TypeError(
                        f"the rule of {node.label} for its {len(inputs[where])} inputs must return "
                        f"a list with a gradient for each; it returned {_described(parts)}."
                    )
                shares += [
                    (receiver, self._fitted(part, receiver, node))
                    for receiver, part in zip(inputs[where], parts, strict=True)
                    if _wants(receiver, useful) and part is not NOTHING
                ]
        return shares

    def _fitted(self, share: Any, receiver: "Node", node: "Node") -> Any:
        """A share of a gradient in the shape of its receiver: summed where that was broadcast."""
        if not hasattr(share, "dtype"):
            raise TypeError(
                f"a rule of {node.label} returned {share!r} where a gradient of shape "
                f"{receiver.shape} was expected; is its `return` missing?"
            )
        if share.shape == receiver.shape or type(node.op) is Output:
            return share
        _check_broadcast(share.shape, receiver, node)
        return self.sum_to(share, shape=receiver.shape)

    def gradients(
        self, node: "Node", g: Any, useful: "set[Node] | None"
    ) -> list[tuple["Node", Any]]:
        """The gradients that a node sends to its inputs, each in the shape of the input.

        Where an input was broadcast, its gradient is summed over the repeated axes. The dtype is
        that in which the rule computed; `rounded` is for when all shares have come.
        """
        if node.guards or node.saved is None:
            node.check()
        return self.shares(node, g, useful)

    def placed(self, g: Any, *, index: Any, shape: tuple[int, ...]) -> Any:
        """The gradient of x[index]: zeros of `shape` with g added at `index`.

        A rule returns it as it is. Where it can, the pass then adds g to what has come from the
        other consumers of x, and makes no zeros for each of them.
        """
        return self.scatter_add(g, index=index, shape=shape)

    def collect(self, pending: dict[Any, Any], key: Any, share: Any) -> None:
        """Add a share to a gradient (of a node, or of an output); half precision in single."""
        if key in pending:
            share = self.widened(pending[key], "float32") + share
        pending[key] = share

    def completed(self, node: "Node", pending: dict[int, Any]) -> tuple[Any, ...]:
        """The gradients of several outputs: 0 where none came, None of what is not a float.

        None, too, where none came and the op does not want zeros for it.
        """
        assert node.op is not None
        return tuple(
            None
            if dtype.kind != "f" or (i not in pending and not node.op.fills)
            else pending[i]
            if i in pending
            else self.zeros(node.backend, shape, dtype)
            for i, (shape, dtype) in enumerate(node.op.made)
        )

    def zeros(self, backend: "Backend", shape: tuple[int, ...], dtype: Any) -> Any:
        """Zeros as a value of this reading."""
        raise NotImplementedError

    def rounded(self, gradient: Any, node: "Node") -> Any:
        """A complete gradient in the dtype of its value."""
        if gradient.dtype is node.dtype or gradient.dtype == node.dtype:
            return gradient
        return self.cast(gradient, dtype=node.dtype)


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """The function of a value, or of each in a tuple."""
    if type(value) is tuple:
        return tuple([_mapped(function, part) for part in value])
    return function(value)


def _described(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"{len(value)}"
    return f"a {type(value).__name__}"


def _check_broadcast(shape: tuple[int, ...], receiver: "Node", node: "Node") -> None:
    """Raise unless a gradient of this shape comes from an input that the op had repeated.

    An axis may be summed over if the input has length 1 there (or no such axis), and the output
    has the length of the gradient.
    """
    extra = len(shape) - len(receiver.shape)
    own = (1,) * extra + receiver.shape
    out = (1,) * (len(shape) - len(node.shape)) + node.shape[max(0, len(node.shape) - len(shape)) :]
    if extra < 0 or any(
        n != m and not (m == 1 and n == k) for n, m, k in zip(shape, own, out, strict=True)
    ):
        raise ValueError(
            f"a rule of {node.label} returned a gradient of shape {shape} for an input of shape "
            f"{receiver.shape} (the output has the shape {node.shape}). A gradient has the shape "
            "of its input; only axes along which the input was broadcast are summed for you."
        )


def _wants(receiver: Any, useful: "set[Node] | None") -> bool:
    """Whether an input (a node or a plain value) is to get its gradient."""
    return getattr(receiver, "requires_grad", False) and (useful is None or receiver in useful)


class Raw(Reading):
    """Rules on the arrays of one backend: the fast path. `raw(backend)` gives the one there is."""

    def __init__(self, backend: "Backend") -> None:
        self.backend = backend

    def bind(self, op: type[Op]) -> Callable[..., Any]:
        def call(*arrays: Any, **attributes: Any) -> Any:
            return op(**attributes).run(self.backend, *arrays)

        return call

    def on(self, backend: "Backend") -> Reading:
        return raw(backend)

    def memory(self, value: Any) -> Any:
        return value.whole(self.backend) if type(value) is Placed else value

    def values(self, node: "Node") -> tuple[Any, ...]:
        assert node.saved is not None
        assert node.plan is not None
        if not node.plan.keeps:
            return node.saved
        return tuple([v.truth() if type(v) is Bits else v for v in node.saved])

    def lent(self, op: Op, g: Any, values: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        if op.foreign:
            lend = self.backend.lent
            g, values = _mapped(lambda v: lend(v) if is_array(v) else v, (g, values))
        return super().lent(op, g, values)

    def placed(self, g: Any, *, index: Any, shape: tuple[int, ...]) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        if any(is_array(part) for part in parts):
            return self.scatter_add(g, index=index, shape=shape)
        return Placed(g, parts, shape)

    def collect(self, pending: dict[Any, Any], key: Any, share: Any) -> None:
        placed = type(share) is Placed
        if key not in pending:
            pending[key] = share if not placed else share.whole(self.backend)
            return
        if pending[key].dtype.itemsize < WIDTH["float32"]:
            pending[key] = self.widened(pending[key], "float32")
        # A sum that nobody else knows of is added to in place.
        alone = getrefcount(pending[key]) == ALONE and self.backend.owns(pending[key])
        if placed:
            if not alone:
                pending[key] = self.backend.array(pending[key], None)
            pending[key][share.index] += share.g
        elif alone and pending[key].dtype.itemsize >= share.dtype.itemsize:
            pending[key] += share
        else:
            pending[key] = pending[key] + share

    def zeros(self, backend: "Backend", shape: tuple[int, ...], dtype: Any) -> Any:
        return backend.zeros(shape, dtype=dtype)

    def shares(self, node: "Node", g: Any, useful: "set[Node] | None") -> list[tuple["Node", Any]]:
        assert node.plan is not None
        assert node.op is not None
        if node.plan.fused is None:
            return Reading.shares(self, node, g, useful)  # found sooner than by super()
        function, slots = node.plan.fused
        values = self.values(node)
        if node.op.widens or node.op.foreign:
            g, values = self.lent(node.op, g, values)
        gradients = function(node.op, self.backend, g, *[values[s] for s in slots])
        if gradients is NotImplemented:  # the backend has no kernel for it
            return Reading.shares(self, node, g, useful)
        inputs = [node.inputs[where] for where in node.plan.differentiable]
        if not isinstance(gradients, list | tuple) or len(gradients) != len(inputs):
            raise TypeError(
                f"the fused rule of {node.label} must return a tuple with the gradients of its "
                f"{len(inputs)} differentiable inputs; it returned {_described(gradients)}."
            )
        return [
            (receiver, self._fitted(gradient, receiver, node))
            for receiver, gradient in zip(inputs, gradients, strict=True)
            if _wants(receiver, useful)
        ]


class Placed:
    """Zeros of `shape` with g at a basic index, as long as nobody needs the zeros."""

    __slots__ = ("g", "index", "shape")

    def __init__(self, g: Any, index: tuple[Any, ...], shape: tuple[int, ...]) -> None:
        self.g, self.index, self.shape = g, index, shape

    @property
    def dtype(self) -> Any:
        """The dtype of g."""
        return self.g.dtype

    def whole(self, backend: "Backend") -> Any:
        """The array; of half precision in single, for what may be added to it."""
        dtype = self.dtype if self.dtype.itemsize >= WIDTH["float32"] else "float32"
        zeros = backend.zeros(self.shape, dtype=dtype)
        zeros[self.index] = self.g
        return zeros


_holder = [object()]
ALONE = getrefcount(_holder[0])
"""What `getrefcount` says of an object that one place holds: an element or an attribute."""


@cache
def raw(backend: "Backend") -> Raw:
    """The reading on the arrays of a backend."""
    return Raw(backend)
