"""Changes in place that are recorded: how a tensor, its base and its views move on together.

A change in place gives memory new values, so it gives the tensors that lie in it new nodes. The
whole of the memory moves on from its node, the root, to one of `index_put`: the old values, and the
new ones at the place that was written to. What lies in a part of it moves on to the ops that make
the part out of the new root. Those nodes are made when somebody asks (see `View.node`), so a change
costs as much as what it writes, and the views that nobody uses again cost nothing.

A view belongs to the family of its base, unless it was taken outside of the graph: by `detach` or
`data` it shares memory and not history. A family knows its tensors by weak references, and nodes
know no tensors; so the memory goes as it does without views.
"""

import weakref
from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

from tinygrad_cv._grad_mode import is_grad_enabled
from tinygrad_cv._graph import Node, numbers, observer
from tinygrad_cv._op import REGISTRY, Op
from tinygrad_cv.backend import host

if TYPE_CHECKING:
    from tinygrad_cv._tensor import Tensor


class Family:
    """A tensor and its views: one memory and one history.

    `root` is the node of the whole since the last recorded change, and None before the first.
    `members` are the views that have a node (or are plain data) at that root; the others wait for
    somebody to ask for one. Whenever that is, it gets one of `numbers`, which come right after that
    of the root.
    """

    __slots__ = ("base", "members", "numbers", "root")

    def __init__(self, base: "Tensor") -> None:
        self.base = weakref.ref(base)
        self.members: deque[weakref.ref[Tensor]] = deque()
        self.root: Node | None = None
        self.numbers: Iterator[int] = iter(())

    def move_on(self, root: Node) -> None:
        """Let the whole stand at this node from now on."""
        self.root, self.numbers = root, count(next(numbers))

    def join(self, tensor: "Tensor") -> None:
        """Let the next change find this view; of two that joined before, those that died go.

        So the list stays about as long as the views that live, whatever threads do.
        """
        members = self.members
        members.append(weakref.ref(tensor))
        try:
            for _ in (0, 1):
                old = members.popleft()
                if old() is not None:
                    members.append(old)
        except IndexError:  # other threads took them, and will put them back
            return

    def whole(self) -> "Tensor | None":
        """The base, if it lives and has not left (see `Tensor.detach_`)."""
        base = self.base()
        return base if base is not None and _family(base) is self else None


class View:
    """Where a tensor lies in its base: one op further than `outer`. The base itself has no op.

    A view that was taken under no_grad(), or inside of recompute or a Function, has no family.
    """

    __slots__ = ("family", "op", "outer", "shape")

    def __init__(
        self, family: Family | None, outer: "View | None", op: Op | None, shape: tuple[int, ...]
    ) -> None:
        self.family, self.outer, self.op, self.shape = family, outer, op, shape

    def path(self) -> list["View"]:
        """The way from the base to here."""
        way = []
        view: View | None = self
        while view is not None and view.op is not None:
            way.append(view)
            view = view.outer
        return way[::-1]

    def node(self, tensor: "Tensor") -> Node:
        """The node of a tensor that has none: made at the root if the memory was changed."""
        family = self.family
        if family is None or family.root is None:
            return Node.leaf(tensor)
        node = root = family.root
        for view in self.path():
            assert view.op is not None
            plan = view.op.plan((True,))
            node = Node(view.op, (node,), view.shape, root.dtype, root.backend, True, plan)
            node.number, node.counter = next(family.numbers), tensor._counter
        if node is not root and tensor._name is not None:
            node.title = tensor._name
        tensor._node = node
        family.join(tensor)
        return node


def _family(tensor: "Tensor") -> Family | None:
    return None if tensor._view is None else tensor._view.family


def follow(op: Op, inputs: tuple[Any, ...], out: "Tensor") -> None:
    """A view counts its changes together with its base, and moves on with it.

    Of an op that makes no views, what lies in the memory of an input, or of another output, is
    copied.
    """
    backend, array = out._backend, out._array
    if op.views:
        value = inputs[0]
        if backend.shares_memory(array, value._array):
            out._counter = value._counter
            _join(value, out, op)
        return
    for value in inputs:
        if hasattr(value, "_counter") and backend.shares_memory(array, value._array):
            out._array = backend.array(array, None)
            return


def _join(value: "Tensor", out: "Tensor", op: Op | None) -> None:
    """Let `out`, the result of a view op on `value` (None: the same place), move on with it."""
    outer, recording = value._view, is_grad_enabled()
    if outer is None:
        outer = View(Family(value) if recording else None, None, None, value._array.shape)
        value._view = outer if recording else None
    family = outer.family if recording else None
    out._view = View(family, outer if op else outer.outer, op or outer.op, out._array.shape)
    if family is not None:
        family.join(out)


def copied(value: "Tensor", out: "Tensor") -> None:
    """`out` stands for the same value in the same memory (see `Tensor.__copy__`)."""
    _join(value, out, None)


def is_rearranged(tensor: "Tensor") -> bool:
    """Whether a view is row-major only because the memory of its base is not."""
    way = [] if tensor._view is None else tensor._view.path()
    if not way or way[0].outer is None:
        return False
    base = part = host.empty(way[0].outer.shape, "bool")
    for view in way:
        assert view.op is not None
        part = view.op.forward(host, part)
    return not (part.flags.c_contiguous and host.may_share_memory(base, part))


def is_recorded(tensor: "Tensor", value: Any) -> bool:
    """Whether a change of this tensor, to this value, has to be recorded."""
    if not is_grad_enabled() or tensor._array.dtype.kind != "f":
        return False
    if tensor._requires_grad or getattr(value, "_requires_grad", False):
        return True
    family = _family(tensor)
    base = None if family is None else family.whole()
    return base is not None and base._requires_grad


def root_of(tensor: "Tensor", how: str, value: Any) -> Node:
    """The node of the whole memory of a tensor, which is about to be changed to a value."""
    view = tensor._view
    whole: Tensor | None = tensor
    if view is None:
        root = tensor.node
    elif view.family is None:
        raise RuntimeError(
            f"{how} in place on a view of shape {tensor.shape} that was taken under no_grad(), or "
            "inside of recompute() or a Function: the tensor that it is a view of would not know "
            "of it, and its gradient would be wrong. Take the view where a graph is recorded, or "
            "change a copy: x.clone()."
        )
    elif (whole := view.family.whole()) is not None:
        root = whole.node
    elif view.family.root is not None:
        root = view.family.root
    elif tensor._requires_grad:
        root = tensor.node
        for _ in view.path():
            root = root.inputs[0]
    else:  # plain data, and the base is gone
        while view.outer is not None:
            view = view.outer
        root = Node(None, (), view.shape, tensor.dtype, tensor._backend, False)
    own = tensor._requires_grad and tensor.is_leaf
    if own or (root.requires_grad and root.op is None):
        raise RuntimeError(
            f"{how} in place on a {'' if own else 'view of a '}leaf that requires a gradient "
            f"(shape {tensor.shape if own else root.shape}): the parameter would be replaced by "
            "the result of a recorded op. Update it with x.data -= ..., or inside `with "
            "no_grad():`; to compute with changed values, change a copy: x.clone()."
        )
    if whole is not None and (eye := observer.get()) is not None:
        eye.changing(whole, value)
    return root


def overwritten(tensor: "Tensor", root: Node, first: Any, rest: Any, value: Any) -> Node:
    """The node of the whole memory, in which tensor[first][rest] is now `value`."""
    steps = [view.op for view in tensor._view.path() if view.op] if tensor._view else []
    index = first
    if rest is not None:
        index = rest
        steps.append(REGISTRY["getitem"](index=first))
    elif first is Ellipsis and steps and steps[-1].name == "getitem":
        index = steps.pop().index
    op = REGISTRY["index_put"](index=index, view=tuple(steps))
    # Its forward, which does not run, leaves this for the rule.
    op.before = getattr(value, "shape", ())  # type: ignore[attr-defined]
    source = value if isinstance(value, int | float) else value.node
    plan = op.plan((root.requires_grad, getattr(value, "_requires_grad", False)))
    return Node(op, (root, source), root.shape, root.dtype, root.backend, True, plan)


def move_on(tensor: "Tensor", root: Node) -> None:
    """The memory of this tensor was changed, and `root` is the node of all of it now."""
    family = _family(tensor)
    whole = tensor if family is None else family.whole()
    counter = root.counter = tensor._counter
    counter[1] = root.number
    if whole is None or whole.is_leaf:  # other tensors may have this memory, and not move on
        counter[2] = root.number
    if family is None:
        _stand(tensor, root)
    else:
        family.move_on(root)
        members, family.members = family.members, deque()
        if whole is not None:
            _stand(whole, root)
        for reference in members:
            member = reference()
            if member is not None and _family(member) is family:
                _leave(member)
    eye = observer.get()
    if eye is not None:
        eye.made(tensor, (tensor,))


def relaid(tensor: "Tensor", seen: "Tensor") -> None:
    """Let a tensor be this view of itself from now on: other axes over the same memory.

    What was its base, the memory as it lay, has no tensor any more; the views of it stay with it.
    """
    family = _family(tensor)
    if family is not None and family.base() is tensor:
        family.base = weakref.ref(seen)  # which is about to go
        family.join(tensor)
    tensor._array = seen._array
    tensor._view = None if _family(seen) is None else seen._view
    if seen._requires_grad and seen.grad_fn is not None:
        _stand(tensor, seen.node)
    else:
        tensor._renew_node()


def _stand(tensor: "Tensor", node: Node) -> None:
    """The tensor moves on to this node, and retain_grad with it; hooks stay with the old value."""
    old = tensor._node
    tensor._node, tensor._requires_grad = node, True
    if tensor._name is not None:
        node.title = tensor._name
    if old is not None and old.tensor is not None and old.tensor() is tensor:
        old.tensor = None
        if old.op is not None:
            node.tensor = weakref.ref(tensor)


def _leave(member: "Tensor") -> None:
    """The node of a view is that of an old value; the next one is made when somebody asks."""
    old = member._node
    if member._requires_grad and (old is None or old.op is None):
        member._view = None  # a leaf by itself: it shares the memory only, as after detach()
        return
    member._node, member._requires_grad = None, True
    if old is not None and old.tensor is not None and old.tensor() is member:
        old.tensor = None
        if old.op is not None:
            member.node.tensor = weakref.ref(member)


def keep_old(node: Node, since: int, tensor: "Tensor") -> None:
    """What the nodes from number `since` on saved of a tensor that is about to change, as copies.

    x *= w is the product, written into the memory of x; the rule for w reads the old x.
    """
    counter = tensor._counter
    copies: dict[int, Any] = {}
    waiting, seen = [node], {node}
    while waiting:
        node = waiting.pop()
        read = {name for name, guarded, _ in node.guards if guarded is counter}
        if read and node.plan is not None and node.saved is not None:
            names = node.plan.names
            node.saved = tuple(
                _copy(value, tensor._backend, copies) if name in read else value
                for name, value in zip(names, node.saved, strict=True)
            )
            node.guards = tuple(
                (
                    name,
                    [version, 0, 0] if guarded is counter and name in names else guarded,
                    version,
                )
                for name, guarded, version in node.guards
            )
        for parent in node.parents():
            if parent.number > since and parent not in seen:
                seen.add(parent)
                waiting.append(parent)


def _copy(value: Any, backend: Any, copies: dict[int, Any]) -> Any:
    """An array, or each of a tuple, copied once however often it was saved."""
    if type(value) in (tuple, list):
        return type(value)([_copy(part, backend, copies) for part in value])
    if not hasattr(value, "dtype"):
        return value
    if id(value) not in copies:
        copies[id(value)] = backend.array(value, None)
    return copies[id(value)]
