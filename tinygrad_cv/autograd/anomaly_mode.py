"""Where a NaN comes from, or an infinite number: the op that made it, and the line.

A NaN is an error where an op makes it of what has none. An infinite number may be meant, as in a
mask, so it is only remembered, with the op that made it of finite ones; it becomes an error when a
NaN comes of it, when a backward pass begins from it, and when it gets into a parameter.
"""

import linecache
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from tinygrad_cv._frames import frames_of_user, place_of
from tinygrad_cv._graph import Beside, Node, Observer, Scope, failed, observer, scope
from tinygrad_cv._op import Op, is_array, is_float, per_output
from tinygrad_cv._public import AUTOGRAD, public
from tinygrad_cv.backend import host
from tinygrad_cv.backend.recording import recording

Frames = tuple[tuple[str, int, str], ...]
"""File, line and function of the calls that are running, the innermost last."""


@dataclass(frozen=True)
class Anomaly:
    """Where a NaN or an infinite number arose; an error of `detect_anomaly` has it as `.anomaly`.

    It is what the error says, by parts: `during` which part of a step, by the rule or the forward
    of which `op` (by the `update` of which optimizer), `index` the first bad place of the array and
    `value` the bad number there, `got` what went into the op there. `layer` is the path and the
    type of the module that was running, `line` the file and the line of the program.
    """

    during: Literal["forward", "backward", "update"]
    op: str
    index: tuple[int, ...]
    value: str
    got: str
    layer: str = ""
    frames: Frames = ()
    node: Any = None
    """The op's node, if it has one: a weak reference."""
    numbers: tuple[tuple[str, str], ...] = ()
    """What `got` says, by the names of what went in."""

    @property
    def line(self) -> str:
        """The file and the line that called the op: "train.py:12"."""
        return place_of(*self.frames[-1][:2]) if self.frames else ""

    @property
    def where(self) -> str:
        """The layer and the line: "2 (Linear), train.py:12"."""
        return ", ".join(filter(None, (self.layer, self.line)))

    def __str__(self) -> str:
        return self.op + self.rest()

    def rest(self, gave: str | None = None) -> str:
        """All but what made it."""
        place = f"first at {list(self.index)}" if self.index else ""
        got = f"where it got {self.got}" if self.got else ""
        told = ", ".join(filter(None, (gave or f" gave {self.value}", place, got)))
        return told + (f" ({self.where})" if self.where else "")


class Look:
    """A look at what an op made, or at what a rule of it gave: now, and at each replay.

    `sources` are the looks at what went in. `arose` is what the last look remembered, `came` an
    infinite number that was in the data or a parameter: only a backward pass that begins from it
    is an error.
    """

    during: Literal["forward", "backward"] = "forward"
    each: bool
    """Whether each element is made of what went in at the same place."""

    def __init__(self, op: Op, backend: Any, sources: list["Look | None"]) -> None:
        self.op, self.backend, self.sources = op, backend, sources
        self.each = type(op).flops is per_output
        self.scope = scope.get()
        self.frames: Frames | None = None
        self.node: weakref.ref[Node] | None = None
        self.arose: Anomaly | None = None
        self.came: Anomaly | None = None

    def __call__(self, made: Any, *given: Any) -> None:
        """Raise if a NaN is there that was not in what was given; remember what is infinite."""
        self.arose = self.came = None
        if _is_finite(self.backend, made):
            return
        made, given = self._on_host(made), tuple(map(self._on_host, given))
        known = next((s.arose for s in self.sources if s is not None and s.arose), None)
        nan = host.isnan(made)
        index = _first(nan if nan.any() else ~host.isfinite(made))
        numbers = self._numbers_at(index, made.shape, given)
        here = Anomaly(
            self.during,
            self.name,
            index,
            _brief(made[index]),
            _told(numbers),
            layer_of(self.scope),
            self.frames or calls_of_user(),
            self.node,
            tuple(numbers),
        )
        given_nan = next((i for i, value in enumerate(given) if _has(host.isnan, value)), None)
        if known is None and given_nan is not None:
            known = self._given(given_nan, given[given_nan], here)
        elif known is None and all(map(_all_finite, self._numbers(given))):
            known = here
        elif known is None:
            infinite = next((i for i, x in enumerate(given) if not _all_finite(x)), None)
            self.came = next((s.came for s in self.sources if s is not None and s.came), None)
            if self.came is None and infinite is not None:
                self.came = self._given(infinite, given[infinite], here)
        self.arose = known
        if nan.any() and (given_nan is None or self.during == "backward"):
            self.fail(known or here, here)

    @property
    def name(self) -> str:
        return self.op.name

    def _given(self, i: int, value: Any, here: Anomaly) -> Anomaly:
        """That a number came from outside: in the data, or in a parameter."""
        array = host.asarray(value)
        nan = host.isnan(array)
        index = _first(nan if nan.any() else ~host.isfinite(array))
        at = f" at {list(index)}" if index else ""
        bad = _brief(array[index])
        got = f"{self.names(i)} = {bad}{at}, which was there before"
        return replace(here, index=index, value=bad, got=got)

    def names(self, i: int) -> str:
        """What the op calls this one of what went in."""
        return self.op.inputs[min(i, len(self.op.inputs) - 1)]

    def _numbers(self, given: tuple[Any, ...]) -> Iterable[Any]:
        """All numbers that went in; an attribute may be one as well."""
        yield from given
        yield from (value for value in vars(self.op).values() if type(value) is float)

    def _on_host(self, value: Any) -> Any:
        return self.backend.to_host(value) if is_float(value) else value

    def _numbers_at(
        self, index: tuple[int, ...], shape: tuple[int, ...], given: tuple[Any, ...]
    ) -> list[tuple[str, str]]:
        """What went into the op at a place of its result."""
        pairs = [(self.names(i), value) for i, value in enumerate(given)]
        return numbers_at(index, shape, pairs, self.each)

    def at_root(self, *arrived: Any) -> None:
        """Raise if what a backward pass begins from is not finite."""
        known = self.arose or self.came
        if known is not None:
            self.fail(known, known, "; a backward pass begins from what comes of it")

    def fail(self, arose: Anomaly, seen: Anomaly, then: str = "") -> None:
        """Raise for what was seen here, and arose there."""
        if arose is not seen:
            then = f"; {seen.op} then gave {seen.value}" + (
                f" ({seen.where})" if seen.where else ""
            )
        raise_for(arose, f"{arose}{then}.\n{_called(arose)}")


class LookBack(Look):
    """A look at the gradient that a node sends to one of its inputs."""

    during = "backward"

    def __init__(
        self,
        node: Node,
        port: int,
        parent: Node,
        sources: list[Look | None],
        frames: Frames,
        asked: Sequence[str],
    ) -> None:
        assert node.op is not None
        super().__init__(node.op, parent.backend, sources)
        self.port, self.asked, self.each = port, asked, True
        self.label, self.shape = node.label, node.shape
        self.towards = f"{parent.label} of shape {parent.shape}"
        self.scope, self.frames, self.node = node.scope, frames, weakref.ref(node)

    @property
    def name(self) -> str:
        return f"the backward of {self.label} of shape {self.shape}"

    def names(self, i: int) -> str:
        return ("the gradient", *self.asked)[i]

    def fail(self, arose: Anomaly, seen: Anomaly, then: str = "") -> None:
        """Raise for NaN that a rule gave."""
        nan = f" gave NaN as the gradient of its input {self.port}, a {self.towards}"
        if arose is seen:
            text = arose.op + arose.rest(nan)
        else:
            text = f"{arose}; {seen.op}{seen.rest(nan)}"
        node = None if self.node is None else self.node()
        raise_for(arose, f"{text}.\n{_called(arose)}", node)


class _Anomalies(Beside):
    """Remembers where each op was called, and looks for NaN in what it makes and its rules give.

    While it looks on, so does the observer that was there before.
    """

    def __init__(self, before: Observer | None, check_nan: bool) -> None:
        super().__init__(before)
        self.check_nan = check_nan
        self.calls: weakref.WeakKeyDictionary[Node, Frames] = weakref.WeakKeyDictionary()
        self.values: dict[int, tuple[Any, Look]] = {}
        """The looks at arrays, by their identity: at all while a step is recorded, else at those
        in which something is not finite."""
        self.roots: weakref.WeakKeyDictionary[Node, Look] = weakref.WeakKeyDictionary()
        """The same by the node that made them."""
        self.gradients: weakref.WeakKeyDictionary[Node, list[Look]] = weakref.WeakKeyDictionary()
        """The looks at what a node got as its gradient."""
        self.scope: weakref.ref[Any] | None = None
        """The outermost module that was called last: its parameters have the names one knows."""

    # ----- forward ---------------------------------------------------------------------------

    def forward(self, op: Any, backend: Any, arrays: Any) -> Any:
        made = super().forward(op, backend, arrays)
        if self.check_nan:
            for array in made if type(made) is tuple else (made,):
                if is_float(array):
                    self._look(op, backend, array, arrays)
        return made

    def _look(self, op: Any, backend: Any, array: Any, arrays: Sequence[Any]) -> None:
        recorder = recording.get()
        if recorder is None and _is_finite(backend, array):
            return
        given = [x for part in arrays for x in (part if type(part) is tuple else (part,))]
        look = Look(op, backend, [self._known(x) for x in given])
        if recorder is None:
            look(array, *given)
        else:
            look.frames = calls_of_user()
            recorder.check(look, array, *given)
        self._know(array, look)

    def _known(self, array: Any) -> Look | None:
        held, look = self.values.get(id(array), (None, None))
        return look if held is not None and held() is array else None

    def _know(self, array: Any, look: Look) -> None:
        key = id(array)
        self.values[key] = (weakref.ref(array, lambda _: self.values.pop(key, None)), look)

    def made(self, tensor: Any, inputs: tuple[Any, ...]) -> None:
        node = tensor._node
        if node is not None and node.op is not None:
            where = calls_of_user()
            look = self._known(tensor._array)
            for made in (node, *(node.parents() if node.op.name == "output" else ())):
                self.calls[made] = where
                if look is not None:
                    self.roots[made] = look
            if look is not None:
                look.node = weakref.ref(node)
        if (here := scope.get()) is not None:
            while here.outer is not None:
                here = here.outer
            self.scope = here.module
        super().made(tensor, inputs)

    # ----- backward --------------------------------------------------------------------------

    def arrived(self, node: Node, gradient: Any) -> None:
        super().arrived(node, gradient)
        look = self.roots.get(node) if all(n == 1 for n in node.shape) else None
        if look is not None:
            recorder = recording.get()
            look.at_root() if recorder is None else recorder.check(look.at_root, gradient)

    def backward(self, reading: Any, node: Node, gradient: Any, useful: Any) -> Any:
        saved = node.saved or ()
        names = node.plan.names if node.plan is not None else ()
        try:
            sent = super().backward(reading, node, gradient, useful)
        except Exception as error:
            if node in self.calls:
                error.add_note(f"{node.label} was called here:\n{_listed(self.calls[node])}")
            raise
        for parent, share in sent if self.check_nan else ():
            with parent.backend.active:
                array = reading.on(parent.backend).memory(share)
                if is_float(array):
                    came = reading.memory(gradient) if is_array(gradient) else None
                    self._look_back(
                        node, parent, array, came, dict(zip(names, saved, strict=False))
                    )
        return sent

    def _look_back(
        self, node: Node, parent: Node, array: Any, gradient: Any, saved: dict[str, Any]
    ) -> None:
        recorder = recording.get()
        if recorder is None and _is_finite(parent.backend, array):
            return
        asked = {
            name: value
            for name, value in saved.items()
            if is_float(value) and type(value) is type(array)
        }
        here: list[Look | None] = [self.roots.get(n) for n in (node, *node.parents())]
        here += self.gradients.get(node, [])
        place = list(node.parents()).index(parent)
        frames = self.calls.get(node, ())
        look = LookBack(node, place, parent, here, frames, list(asked))
        if type(gradient) is not type(array):
            gradient = None
        if recorder is None:
            look(array, gradient, *asked.values())
        else:
            recorder.check(look, array, gradient, *asked.values())
        self.gradients.setdefault(parent, []).append(look)

    # ----- updates ---------------------------------------------------------------------------

    def updated(self, optimizer: Any) -> None:
        super().updated(optimizer)
        if not self.check_nan:
            return
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                backend, array = parameter._backend, parameter._array
                if parameter._grad is not None and is_float(array):
                    with backend.active:
                        if not _is_finite(backend, array):
                            self._fail_update(optimizer, parameter, group)

    def _fail_update(self, optimizer: Any, parameter: Any, group: dict[str, Any]) -> None:
        backend = parameter._backend
        array = backend.to_host(parameter._array)
        gradient = backend.to_host(parameter._grad._array)
        index = _first(~host.isfinite(array))
        known = self.gradients.get(parameter._node, []) if parameter._node is not None else []
        origin = next((look.arose for look in known if look.arose), None)
        update = Anomaly(
            "update",
            f"the step of {type(optimizer).__name__}",
            index,
            _brief(array[index]),
            f"the gradient {_brief(gradient[index])} and lr {_brief(group['lr'])}",
            self._name(parameter),
            calls_of_user(),
        )
        place = f" at {list(index)}" if index else ""
        text = (
            f"{update.op} made the parameter {update.layer or 'of no name'} of shape "
            f"{array.shape} {update.value}{place}, with {update.got} ({update.line})."
        )
        if origin is not None:
            text = f"{origin}; {text}\n{_listed(origin.frames)}"
        raise_for(origin or update, text)

    def _name(self, parameter: Any) -> str:
        """The path of a parameter in the model that ran last, or its own name."""
        model = None if self.scope is None else self.scope()
        if model is not None:
            for name, own in model.named_parameters():
                if own is parameter:
                    return str(name)
        return parameter.name or ""


def raise_for(anomaly: Anomaly, text: str, node: Node | None = None) -> None:
    """Raise the error of an anomaly, which carries it."""
    error = RuntimeError(text)
    error.anomaly = anomaly  # type: ignore[attr-defined]
    if node is not None:
        failed(error, node.op, node.inputs)
    raise error


# ----- what is where -----------------------------------------------------------------------------


def calls_of_user(most: int = 8) -> Frames:
    """The innermost calls of the program that are running."""
    found = [
        (frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        for frame in islice(frames_of_user(), most)
    ]
    return tuple(reversed(found))


def layer_of(here: Scope | None) -> str:
    """The path of a running call of a module in the outermost one, and its type: "2 (Linear)"."""
    if here is None:
        return ""
    root = here
    while root.outer is not None:
        root = root.outer
    model, module = root.module(), here.module()
    named = () if model is None or model is module else model.named_modules()
    path = next((name for name, own in named if own is module), "")
    return f"{path} ({here.type.__name__})" if path else here.type.__name__


def numbers_at(
    index: tuple[int, ...], shape: tuple[int, ...], given: list[tuple[str, Any]], each: bool
) -> list[tuple[str, str]]:
    """Of arrays that went in, the numbers at a place of the result; of other shapes, the range."""
    told = []
    for name, value in given:
        if type(value) in (int, float):
            told.append((name, _brief(value)))
        elif is_float(value) and value.size:
            at = _place_in(value.shape, index, shape) if each else None
            if at is not None:
                told.append((name, _brief(value[at])))
            else:
                told.append((name, f"from {_brief(value.min())} to {_brief(value.max())}"))
    return told


def _told(numbers: list[tuple[str, str]]) -> str:
    """Numbers by their names in words: "x = 1 and y from 0 to 2"."""
    return " and ".join(
        f"{name} {told}" if told.startswith("from ") else f"{name} = {told}"
        for name, told in numbers
    )


def _place_in(
    own: tuple[int, ...], index: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The place of an array that is broadcast to a shape; None if it cannot be."""
    if len(own) > len(shape):
        return None
    at = index[len(index) - len(own) :]
    if any(n not in (1, m) for n, m in zip(own, shape[len(shape) - len(own) :], strict=True)):
        return None
    return tuple(0 if n == 1 else i for n, i in zip(own, at, strict=True))


def _is_finite(backend: Any, array: Any) -> bool:
    """Whether all numbers are finite: one pass, and another only if their sum is not."""
    if not backend.has_numbers:
        return True
    with backend.active:
        total = array.sum(dtype="float32") if array.dtype.itemsize < 4 else array.sum()
        return bool(backend.isfinite(total)) or bool(backend.isfinite(array).all())


def _all_finite(value: Any) -> bool:
    """Whether it is no float, or all of it are finite numbers."""
    return not _has(lambda x: ~host.isfinite(x), value)


def _has(what: Any, value: Any) -> bool:
    if type(value) is float or is_float(value):
        return bool(host.asarray(what(value)).any())
    return False


def _first(where: Any) -> tuple[int, ...]:
    """The first place that is true."""
    return tuple(int(i) for i in host.unravel_index(int(where.argmax()), where.shape))


def _brief(number: Any) -> str:
    number = float(number)
    return "NaN" if number != number else f"{number:.6g}"


def _called(anomaly: Anomaly) -> str:
    """Where the op of an anomaly was called."""
    if not anomaly.frames:
        return "It was called before detect_anomaly, which knows no more."
    op = anomaly.op.removeprefix("the backward of ")
    return f"{op} was called here:\n{_listed(anomaly.frames)}"


def _listed(frames: Frames) -> str:
    """Frames as a traceback lists them."""
    return "".join(
        f'  File "{file}", line {line}, in {name}\n    {linecache.getline(file, line).strip()}\n'
        for file, line, name in frames
    )


@public(AUTOGRAD)
class detect_anomaly:  # noqa: N801  PyTorch's name
    """Inside, NaN is an error that names where it arose: the op, the layer, the line and the place.

    Forward, backward and the update of the parameters all belong inside. An error is raised when

    - an op gives NaN for inputs that have none, or a rule of its backward pass gives NaN;
    - a backward pass begins from a number that is infinite or NaN;
    - the step of an optimizer makes a parameter infinite or NaN.

    It says which op made the first such number of finite ones, whether forward or backward, even if
    another one noticed; at which place of its result, and what went into it there; in which layer
    and line. `error.anomaly` has the same by parts. Infinite numbers alone are no error: masks have
    them. With `check_nan=False` nothing is looked for, and an error in a rule says where its op was
    called. A compiled function is recorded again, with the looks in it.

    It costs a look at all that is computed (a step takes up to twice as long), which a GPU is
    waited for.

    Raises RuntimeError.

    Source: CS231n, "babysitting the learning process": a cost that is NaN means a rate too high.

    >>> import tinygrad_cv as tg
    >>> x = tg.tensor([1.0, 0.0], requires_grad=True)
    >>> with tg.autograd.detect_anomaly():
    ...     y = x.sqrt() * tg.tensor([1.0, 0.0])
    ...     y.sum().backward()
    Traceback (most recent call last):
    RuntimeError: the backward of sqrt of shape (2,) gave NaN as the gradient of its input 0, ...
    >>> try:
    ...     with tg.autograd.detect_anomaly():
    ...         (x - 1).log()
    ... except RuntimeError as error:
    ...     print(error.anomaly.op, error.anomaly.index, error.anomaly.got)
    log (1,) x = -1
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        self.before: list[Observer | None] = []

    def __enter__(self) -> None:
        self.before.append(observer.get())
        observer.set(_Anomalies(self.before[-1], self.check_nan))

    def __exit__(self, *error: object) -> None:
        observer.set(self.before.pop())


@public(AUTOGRAD)
class set_detect_anomaly:  # noqa: N801  PyTorch's name
    """Detect anomalies from now on in this thread, or not any more; as a context, only inside.

    >>> import tinygrad_cv as tg
    >>> with tg.autograd.set_detect_anomaly(True):
    ...     print(is_anomaly_enabled())
    True
    >>> is_anomaly_enabled()
    False
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.before = now = observer.get()
        if isinstance(now, _Anomalies):
            now = now.before if type(now.before) is not Observer else None
        observer.set(_Anomalies(now, check_nan) if mode else now)

    def __enter__(self) -> None:
        pass  # it holds since it was made

    def __exit__(self, *error: object) -> None:
        observer.set(self.before)


def is_anomaly_enabled() -> bool:
    """Whether anomalies are detected in this thread."""
    return isinstance(observer.get(), _Anomalies)
