"""What one training step shows to who looks on."""

from collections.abc import Callable, Iterator
from typing import Any

from tinygrad_cv._frames import line_of_user
from tinygrad_cv._graph import Beside, Node, Observer, Scope, scope, topological
from tinygrad_cv._op import is_float
from tinygrad_cv._reading import Reading
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.nn import Parameter
from tinygrad_cv.nn.batchnorm import _BatchNorm

RELUS = {"relu", "relu6"}
ENDS = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
SOFTMAXES = {"cross_entropy", "softmax", "log_softmax"}
PASSED = {"cast", "reshape", "output", "neg", "squeeze", "unsqueeze"}
"""Ops on the way to the loss that neither sum nor scale."""


class Place:
    """A layer, and the line that ran it."""

    def __init__(self, paths: dict[int, str], call: Scope | None, at: str) -> None:
        module = None if call is None else call.module()
        self.path = "" if module is None else paths.get(id(module), "")
        layer = self.path if call is None else f"{self.path} ({call.type.__name__})".strip()
        self.where = ", ".join(part for part in (layer, at) if part)


class Sight(Beside):
    """Looks at one step; what it saw are its attributes.

    `awake` says of each unit of the ReLUs, by their place, whether it ever gave more than 0; it
    outlives the step. Only a `close` look sees all the others but the losses. `began` is called as
    a backward pass begins.
    """

    def __init__(
        self,
        before: Observer | None,
        paths: dict[int, str],
        parameters: dict[int, str],
        awake: dict[str, Any],
        close: bool,
        began: Callable[[], None],
    ) -> None:
        super().__init__(before)
        self.paths, self.parameters, self.awake = paths, parameters, awake
        self.close, self.began = close, began
        self.losses: list[float] = []
        """What the backward passes began from."""
        self.places: dict[str, str] = {}
        """Where each layer of ReLUs runs, by its key in `awake`."""
        self.saturated: dict[str, tuple[float, str, str]] = {}
        """Of tanh and sigmoid: the share of elements within 1 % of an end, the op, the place."""
        self.inputs: tuple[dict[str, float], Place] | None = None
        """What the first layer got, in a few numbers."""
        self.squashed: tuple[str, str, Place] | None = None
        """The op that made probabilities, and the one that took them for scores."""
        self.summed: tuple[int, Place] | None = None
        """The number of samples that the loss is summed over."""
        self.scores: tuple[Any, Any] | None = None
        """The classes with the highest scores, and the labels, on the host."""
        self.rows: Any = None
        """What the first layer got, on the host."""
        self.samples = 0
        """The rows of what the first layer of ReLUs gave, in all passes."""
        self.norms: dict[str, tuple[_BatchNorm, str]] = {}
        """The batch norms that ran in evaluation mode."""
        self.called: set[str] = set()
        """The paths of the modules that made something."""
        self.strangers: dict[int, str] = {}
        """Parameters that got a gradient and are none of the model: their shapes, by their ids."""
        self._scalars: dict[int, Any] = {}
        self._sent: set[int] = set()
        self._places: dict[int, Place] = {}
        self._entered = False
        self._outermost: Scope | None = None
        self._times: dict[str, int] = {}

    # As an observer of the engine.

    def made(self, tensor: Tensor, inputs: tuple[Any, ...]) -> None:
        super().made(tensor, inputs)
        node = tensor._node
        if self.close:
            self._look(tensor, inputs, node)
        if node is None or node.op is None:
            return
        if tensor.numel() == 1 and node.requires_grad:
            self._scalars[node.number] = tensor._array
        elif node.op.name in RELUS and node.requires_grad:
            self._count(tensor, node)

    def arrived(self, node: Node, gradient: Any) -> None:
        super().arrived(node, gradient)
        if self.close and node.op is None and node.tensor is not None:
            tensor = node.tensor()
            if isinstance(tensor, Parameter) and id(tensor) not in self.parameters:
                self.strangers[id(tensor)] = str(tuple(tensor.shape))
        if node.number in self._sent:
            return
        self._outermost, self._times = None, {}
        self.began()
        if node.number in self._scalars:
            loss = float(node.backend.to_host(self._scalars[node.number]).reshape(()))
            self.losses.append(loss)
            if self.close and self.summed is None:
                self._follow(node)

    def backward(
        self, reading: Reading, node: Node, gradient: Any, useful: set[Node] | None
    ) -> list[tuple[Node, Any]]:
        sent = super().backward(reading, node, gradient, useful)
        self._sent.update(receiver.number for receiver, _ in sent)
        return sent

    # What is looked at.

    def _count(self, tensor: Tensor, node: Node) -> None:
        """Note which units of a layer of ReLUs are awake."""
        call = scope.get()
        module = None if call is None else call.module()
        path = "" if module is None else self.paths.get(id(module), "")
        self._begin_pass(call)
        if not self._times and tensor.ndim:
            self.samples += tensor.shape[0]
        time = self._times[path] = self._times.get(path, -1) + 1
        key = f"{path}#{time}"
        awake = self.awake.get(key)
        if tensor.ndim < 2 or not tensor.numel() or (awake is not None and awake.all()):
            return
        if key not in self.places:
            self.places[key] = Place(self.paths, call, line_of_user()).where
        array = tensor._array
        # A unit is a column of (N, F), a channel of (N, C, H, W); of (N, T, F) it is a feature.
        unit = 2 if tensor.ndim == 3 and _is_of_features(node) else 1
        with tensor._backend.active:
            top = array.max(axis=tuple(axis for axis in range(tensor.ndim) if axis != unit))
        here = tensor._backend.to_host(top) > 0
        if awake is None or awake.shape != here.shape:
            self.awake[key] = here
        else:
            self.awake[key] = awake | here

    def _begin_pass(self, call: Scope | None) -> None:
        """Count the calls of a layer anew where the model is called once more."""
        while call is not None and call.outer is not None:
            call = call.outer
        if call is not self._outermost:
            self._outermost, self._times = call, {}

    def _look(self, tensor: Tensor, inputs: tuple[Any, ...], node: Node | None) -> None:
        call = scope.get()
        module = None if call is None else call.module()
        if module is not None:
            path = self.paths.get(id(module))
            if path is not None:
                self.called.add(path)
                if isinstance(module, _BatchNorm) and not module.training:
                    self.norms[path] = module, Place(self.paths, call, line_of_user()).where
        op = None if node is None else node.op
        if op is not None and op.outputs:
            return
        if not self._entered:
            self._enter(inputs, op)
        if node is None or op is None or not node.requires_grad:
            return
        if op.name in ENDS:
            self._saturation(tensor, op.name)
            self._places[node.number] = Place(self.paths, call, line_of_user())
        elif op.name in SOFTMAXES:
            self._scores(tensor, inputs, node)
        elif op.name == "binary_cross_entropy_with_logits":
            self._sigmoids(node)
        elif op.name == "sum":
            self._places[node.number] = Place(self.paths, call, line_of_user())

    def _enter(self, inputs: tuple[Any, ...], op: Any) -> None:
        """Look at what the first layer with parameters gets."""
        own = [x for x in inputs if isinstance(x, Tensor) and id(x) in self.parameters]
        if not own:
            return
        self._entered = True
        data = [
            x
            for x in inputs
            if isinstance(x, Tensor) and id(x) not in self.parameters and not x.requires_grad
        ]
        norm = max(x.ndim for x in own) < 2 or (op is not None and op.name == "getitem")
        if norm or not data or not data[0].is_floating_point() or data[0].numel() < 2:
            return  # which normalizes, or looks up
        values = self.rows = data[0]._backend.to_host(data[0]._array)
        self.inputs = numbers_of(values), Place(self.paths, scope.get(), line_of_user())

    def _saturation(self, tensor: Tensor, name: str) -> None:
        values = tensor._backend.to_host(tensor._array)
        low, high = ENDS[name]
        margin = (high - low) / 100
        place = Place(self.paths, scope.get(), line_of_user())
        share = float(((values < low + margin) | (values > high - margin)).mean())
        self.saturated[f"{place.path}#{len(self.saturated)}"] = share, name, place.where

    def _scores(self, tensor: Tensor, inputs: tuple[Any, ...], node: Node) -> None:
        """Look at scores, and whether they are probabilities already."""
        assert node.op is not None
        scores = inputs[0]
        values = scores._backend.to_host(scores._array)
        axis = 1 if node.op.name == "cross_entropy" else node.op.axis
        if isinstance(axis, tuple):
            if len(axis) != 1:
                return
            axis = axis[0]
        if values.ndim < 1 or values.shape[axis] < 2 or not values.size:
            return
        maker = _maker(node)
        if maker is not None and maker.op is not None and maker.op.name != "log_softmax":
            sums = values.sum(axis=axis)
            if values.min() >= 0 and abs(sums - 1).max() < 1e-2:
                place = Place(self.paths, scope.get(), line_of_user())
                self.squashed = maker.op.name, node.op.name, place
        if node.op.name == "cross_entropy" and values.ndim == 2:
            labels = inputs[1]
            self.scores = values.argmax(axis=1), labels._backend.to_host(labels._array)

    def _sigmoids(self, node: Node) -> None:
        maker = _maker(node)
        while maker is not None and maker.op is not None and maker.op.name == "getitem":
            maker = _maker(maker)  # one of several channels
        if maker is not None and maker.op is not None and maker.op.name == "sigmoid":
            assert node.op is not None
            place = Place(self.paths, scope.get(), line_of_user())
            self.squashed = "sigmoid", node.op.name, place

    def _follow(self, root: Node) -> None:
        """Find out whether the loss is a sum over the samples."""
        waiting, reached, terms = [(root, 1.0)], {root}, 0
        while waiting:
            node, scale = waiting.pop()
            op = node.op
            if op is None:
                continue
            parents = [parent for parent in node.parents() if parent.requires_grad]
            new = [parent for parent in parents if parent not in reached]
            if op.name == "sum" and parents and parents[0].shape:
                count = parents[0].shape[0]
                axes = getattr(op, "axis", None)
                first = axes is None or 0 in ((axes,) if isinstance(axes, int) else axes)
                if first and count > 1 and scale * count > 1.5 and _is_of_data(parents[0], self):
                    at = self._places.get(node.number) or Place(self.paths, None, "")
                    self.summed = count, at
                    return
            elif op.name in PASSED or op.name in ("add", "sub"):
                waiting += [(parent, scale) for parent in new]
                reached.update(new)
            elif op.name in ("mul", "div") and len(parents) == 1:
                number = _number(node)
                if number:
                    waiting += [(parent, scale * abs(number)) for parent in new]
                    reached.update(new)
            elif scale > 0.5 and parents and parents[0].shape[:1] == (1,):
                terms += 1  # of one sample
        if self.rows is not None and self.rows.ndim and terms == len(self.rows) > 1:
            self.summed = terms, Place(self.paths, None, "")


def _is_of_features(node: Node) -> bool:
    """Whether what made the first input keeps features on the last axis."""
    maker = _maker(node)
    names = ("linear", "matmul", "layer_norm", "rms_norm")
    return maker is not None and maker.op is not None and maker.op.name in names


def _maker(node: Node) -> Node | None:
    """The op that made the first input, behind those that only change its shape."""
    maker = next(node.parents(), None)
    while maker is not None and maker.op is not None and maker.op.name in (
        "reshape", "squeeze", "unsqueeze", "cast", "permute", "transpose", "flatten",
    ):  # fmt: skip
        maker = next(maker.parents(), None)
    return maker


def _number(node: Node) -> float | None:
    """The plain number, or the constant, that an op multiplies by."""
    assert node.op is not None
    first = isinstance(node.inputs[0], Node) and node.inputs[0].requires_grad
    other = node.inputs[1] if first else node.inputs[0]
    if isinstance(other, Node):
        tensor = other.tensor() if other.op is None and other.tensor is not None else None
        if tensor is None or tensor.numel() != 1:
            return None
        other = tensor.item()
    if node.op.name == "div":
        return 1 / other if first and other else None
    return float(other)


def _is_of_data(node: Node, sight: Sight) -> bool:
    """Whether something that is no parameter went into a node, such as samples or labels."""
    for each in topological([node]):
        if each.op is None and each.shape:
            tensor = None if each.tensor is None else each.tensor()
            if tensor is None or id(tensor) not in sight.parameters:
                return True
        elif each.op is not None and each.op.name == "getitem":
            return True
    return False


def numbers_of(values: Any) -> dict[str, float]:
    """An array on the host in a few numbers; those of what is finite."""
    finite = host.isfinite(values)
    bad = int(values.size - host.count_nonzero(finite))
    first = host.unravel_index(int(host.argmin(finite)), values.shape) if bad else ()
    kept = values[finite] if bad else values
    if not kept.size:
        kept = host.zeros(1)
    return {
        "bad": bad,
        "first": tuple(map(int, first)),  # type: ignore[dict-item]
        "mean": float(kept.mean()),
        "std": float(kept.std()),
        "min": float(kept.min()),
        "max": float(kept.max()),
        "binary": float(bool(((kept == 0) | (kept == 1)).all())),
    }


def norm_of(array: Any) -> float:
    """The Euclidean norm of an array on the host."""
    flat = array.reshape(-1).astype("float64")
    with host.errstate(over="ignore", invalid="ignore"):
        return float(host.sqrt((flat * flat).sum()))  # no BLAS, whose threads would spin


def is_finite(tensor: Any) -> bool:
    """Whether all numbers of a tensor are."""
    if not is_float(tensor._array):
        return True
    return bool(tensor.detach().isfinite().all())


def rows_are_equal(tensor: Any) -> bool:
    """Whether all rows are the same, but for rounding: products are not summed in one order."""
    rows = tensor.detach()
    return bool((rows - rows[:1]).abs().max() <= 1e-4 * rows.abs().max())


def named_tensors(root: Any) -> Iterator[tuple[str, Any]]:
    """The parameters of a model, or of a dict of tensors, by their names."""
    if isinstance(root, dict):
        yield from root.items()
    elif root is not None:
        yield from root.named_parameters()
