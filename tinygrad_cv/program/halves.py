"""A compiled function whose results have a graph: its forward and its backward as two programs.

When the function has run, the backward pass from its results is recorded behind it, with ones for
the gradients that are to come (`backward_of`). A border stands between the two, so that layers can
be joined on both sides of it before the program is cut there (`Halves`). What the backward needs of
the forward goes out of the one and into the other, and belongs to the call: several calls may wait
for their gradients at once. In the graph of the caller the results come from one op, `Replay`.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_cv._apply import Recorded as GraphReading
from tinygrad_cv._apply import _output, _record
from tinygrad_cv._graph import Guard, Node, backpropagate, topological
from tinygrad_cv._op import Op
from tinygrad_cv._reading import raw
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv._trees import tensors_in
from tinygrad_cv.backend.base import Backend
from tinygrad_cv.backend.recording import RecordingError, Traced
from tinygrad_cv.program.instructions import Instruction, Program, Value
from tinygrad_cv.program.interpret import interpret
from tinygrad_cv.program.on_device import planned
from tinygrad_cv.program.plan import LARGE, copied, is_view, simplified
from tinygrad_cv.program.record import Recorder

Array = Any


def border() -> None:
    """Nothing: the forward of a program ends here, and its backward begins."""


class Backward:
    """The recorded backward pass of a function.

    A gradient for each of the `roots` comes in as one of the `seeds`. What goes out are the
    `gradients` of the `receivers`, each the number of an argument or a reference to a tensor. The
    numbers that it found the first time are `known`.
    """

    def __init__(self, roots: list[Node], seeds: list[Value]) -> None:
        self.roots, self.seeds = roots, seeds
        self.receivers: list[int | weakref.ref[Tensor]] = []
        self.gradients: list[Value] = []
        self.known: dict[Value, Array] = {}

    def plain(self, program: Program) -> tuple[Program, list[Array]]:
        """The backward as it was recorded, and what it takes beside the seeds, of the first call.

        It is for that call alone, whose values are those of the recording.
        """
        steps = program.instructions[_border_in(program) + 1 :]
        made = {v for i in steps for v in i.outputs}
        taken = [v for v in self.known if v not in made and v not in self.seeds and v.array is None]
        numbers = [self.known[v] for v in taken]
        return Program(steps, [*self.seeds, *taken], self.gradients), numbers


def backward_of(
    recorder: Recorder, given: list[Tensor], returned: Any, place: str
) -> Backward | None:
    """Record the backward pass from what a function returned; None if there is no graph.

    Results that a backward pass inside of the function went through have none any more.
    """
    roots = list(
        dict.fromkeys(
            x.node
            for x in tensors_in(returned)
            if x._requires_grad and x.node.number not in recorder.walked
        )
    )
    if not roots:
        return None

    def refuse(what: str, instead: str) -> RecordingError:
        return RecordingError(
            f"{place}: a compiled function returned a tensor of shape {roots[0].shape} that "
            f"requires a gradient, and {what}. {instead}"
        )

    order = topological(roots, differentiable=True)
    own = {n for n in order if n.op is not None and n.number >= recorder.start}
    if any(node.saved is None for node in own):
        raise refuse(
            "a backward pass inside has freed what that needs", "detach() what is returned."
        )
    if any(node.tensor is not None and node.tensor() is not None for node in own):
        raise refuse(
            "retain_grad() was called on a value inside",
            "Return that value, and call it on what is returned.",
        )
    seeds = [recorder.enter(recorder.real.ones(n.shape, dtype=n.dtype)) for n in roots]
    back = Backward(roots, [seed.value for seed in seeds])
    recorder.program.instructions.append(Instruction("call", (border,)))
    recorder.known = back.known
    recorder.before = None  # the walk that counts is the one to come
    walk = backpropagate(
        dict(zip(roots, seeds, strict=True)),
        raw(recorder.host),
        ends=set(order) - own,
        keep=False,
    )
    places = {x.node: k for k, x in reversed([*enumerate(given)]) if x._requires_grad}
    for node, gradient in walk:
        assert type(gradient) is Traced
        receiver: int | weakref.ref[Tensor] | None = places.get(node)
        if receiver is None and node.op is not None:
            raise refuse(
                f"depends on a {node.label} of shape {node.shape} that was computed before",
                "Let that be an argument, or detach() it.",
            )
        if receiver is None:
            leaf = None if node.tensor is None else node.tensor()
            if leaf is None:
                continue  # it was made inside, and nobody will ask for its gradient
            if leaf not in recorder.tensors:
                raise refuse(
                    f"depends on a leaf of shape {node.shape} that is made anew in each call",
                    "Make it outside.",
                )
            receiver = weakref.ref(leaf)
        back.receivers.append(receiver)
        back.gradients.append(gradient.value)
        back.known[gradient.value] = gradient.numbers
    if not back.receivers:
        raise refuse("no tensor is left that would get one", "detach() what is returned.")
    return back


def _border_in(program: Program) -> int:
    """Where the forward ends."""
    return next(
        k
        for k, i in enumerate(program.instructions)
        if i.function == "call" and i.args[0] is border
    )


class Halves:
    """The forward and the backward of a recorded function, planned.

    The last outputs of the program are the gradients.
    """

    def __init__(self, program: Program, back: Backward, xp: Backend) -> None:
        self.xp = xp
        whole, _ = copied(program)
        simplified(whole, xp)
        seeds = [whole.inputs[program.inputs.index(seed)] for seed in back.seeds]
        given = [v for v in whole.inputs if v not in seeds]
        self.count = len(whole.outputs) - len(back.gradients)
        outputs, gradients = whole.outputs[: self.count], whole.outputs[self.count :]
        at = _border_in(whole)
        before, after = whole.instructions[:at], whole.instructions[at + 1 :]
        made = {v.root for i in before for v in i.outputs if v.root.kind == "made"}
        read = dict.fromkeys(v.root for v in (*_touched(after), *gradients))
        kept = [root for root in read if root in made]
        self.reads = [k for k, v in enumerate(given) if v in read]
        self.forward = planned(Program(before, given, [*outputs, *kept]), xp)
        taken = [*seeds, *(given[k] for k in self.reads), *kept]
        views = filter(is_view, before)  # which say where a value lies, behind the border as well
        behind, _ = copied(Program([*views, *after], taken, gradients))
        for value in behind.inputs:
            value.kind, value.array = "input", None
        self.backward = planned(behind, xp)
        # What the caller may change while the backward still waits for it is his own.
        self.shared = [
            k for k, v in enumerate(outputs) if v.root in kept and v.root.nbytes >= LARGE
        ]
        first = _touched(program.instructions[_border_in(program) + 1 :])
        self.held = {id(v.root.array) for v in (*read, *first) if v.root.kind == "held"}

    def run(self, arrays: Sequence[Array], timed: bool = False) -> tuple[list[Array], list[Array]]:
        """The outputs of the forward, and what the backward takes beside the seeds."""
        outputs = self.forward.run(arrays, timed)
        kept = [*(arrays[k] for k in self.reads), *outputs[self.count :]]
        with self.xp.active:
            for k in self.shared:
                outputs[k] = outputs[k].copy(order="K")
        return outputs[: self.count], kept


def _touched(instructions: Sequence[Instruction]) -> list[Value]:
    return [v for i in instructions for v in (*i.reads(), *i.writes)]


class Replay(Op, register=False):
    """One call of a compiled function in the graph of the caller; its rule replays the backward."""

    kept = ("waiting",)
    computes_in = "float16"  # gradients go in as they are

    def __init__(self, name: str, backward: Callable[..., Any], outputs: int) -> None:
        self.waiting = backward  # beside which `stand` puts what that takes
        several = range(outputs) if outputs > 1 else ()
        vars(self).update(name=name, outputs=tuple(f"y{k}" for k in several))

    def forward(self, xp: Any, *xs: Any) -> Any:
        raise NotImplementedError  # it has run when this op is made

    def grad_xs(self, F: Any, g: Any, waiting: Any) -> Any:
        if isinstance(F, GraphReading):
            raise RuntimeError(
                f"the gradient of the compiled function {self.name} cannot be differentiated "
                "again: its backward pass is replayed and leaves no graph. Take both derivatives "
                "inside of what is compiled, or call the function without compile."
            )
        backward, *kept = F.memory(waiting)
        return backward([*(g if isinstance(g, tuple) else (g,)), *kept])


def stand(
    results: dict[int, list[Tensor]],
    receivers: list[Tensor | None],
    backward: Callable[[list[Array]], list[Array]],
    kept: list[Array],
    guards: tuple[Guard, ...],
    name: str,
) -> None:
    """Let results, by the number of their root, be those of one op on what gets a gradient.

    A receiver that is gone is None.
    """
    op = Replay(name, backward, len(results))
    plan = op.plan(tuple(x is not None for x in receivers))
    first = [results[k][0] for k in range(len(results))]
    whole = wrap(first[0]._array, first[0]._backend)
    op.made = tuple((y.shape, y.dtype) for y in first)
    _record(op, plan, tuple(receivers), [], whole)
    node = whole.node
    node.saved, node.guards = ((backward, *kept),), guards
    for k, tensors in results.items():
        for y in tensors:
            y._node = node if len(results) == 1 else _output(node, k)
            y._requires_grad = True


def interpreted(program: Program, xp: Backend) -> Callable[[list[Array]], list[Array]]:
    """The plain reading of a program, as a function of its inputs."""
    return lambda arrays: interpret(program, arrays, xp)
