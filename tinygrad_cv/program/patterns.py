"""Layers that a program does one after another, joined into one instruction where nobody looks at
what lies between: batch norm, ReLU (or ReLU6) and the largest of each window, and the way back."""

import math
from typing import Any

from tinygrad_cv.program.instructions import Instruction, Program, Value
from tinygrad_cv.program.places import size

WORTH_A_PASS = 1 << 14
"""With fewer numbers a map stays in the cache from one kernel to the next by itself."""


def join(program: Program) -> Program:
    """Replace what `Backend.batch_norm_relu` and `Backend.batch_norm_relu_max_pool` stand for; and
    in evaluation `Backend.normalized` and `Backend.pooled`.

    An instruction comes to stand where the first of those that it replaces stood on the way
    forward, and where the last of them stood on the way back.
    """
    readers: dict[Value, list[Instruction]] = {}
    places = {instruction: i for i, instruction in enumerate(program.instructions)}
    writes: dict[Value, list[int]] = {}
    for i, instruction in enumerate(program.instructions):
        for v in instruction.reads():
            readers.setdefault(v.root, []).append(instruction)
        for v in instruction.writes:
            writes.setdefault(v.root, []).append(i)
    outputs = {v.root for v in program.outputs}

    def only_reader(value: Value, function: str) -> Instruction | None:
        """The only one to read a value, if it is a call of this function with it in front."""
        found = readers.get(value, [])
        if len(found) != 1 or value in outputs or value in writes or found[0].function != function:
            return None
        return found[0] if any(a is value for a in found[0].args) else None

    def is_unread(value: Value) -> bool:
        return value not in readers and value not in outputs

    replaced: dict[Instruction, Instruction | None] = {}
    for norm in program.instructions:
        if norm.function not in ("batch_norm", "scale_channels") or len(norm.args) != 4:
            continue
        given = norm.function == "scale_channels"
        x, weight, bias, eps = norm.args
        z, *moments = norm.outputs
        if norm.options or (given and not isinstance(eps, Value)):
            continue
        if given and size(x) < WORTH_A_PASS:
            continue
        relu, top = only_reader(z, "relu"), math.inf
        if relu is None and (gate := only_reader(z, "gate")) and gate.args[0] == "relu6":
            relu, top = gate, 6.0
        if relu is None or x.dtype != "float32":
            continue
        y, positive = relu.outputs
        pool = only_reader(y, "max_pool")
        if pool is not None and (top < math.inf or not _covers(pool, y)):
            pool = None
        forward = norm, relu, *(() if pool is None else (pool,))
        back: tuple[Instruction, ...] = ()
        if not is_unread(positive) or not (pool is None or is_unread(pool.outputs[1])):
            name, factor = ("relu_backward", ()) if top == math.inf else ("gate_backward", (1.0,))
            gate = only_reader(positive, name)
            if given or gate is None or gate.options or gate.args[1:] != (positive, *factor):
                continue
            last = only_reader(gate.outputs[0], "batch_norm_backward")
            if (
                last is None
                or last.options
                or [last.args[i] for i in (1, 2, 3, 4, 5)] != [x, weight, *moments, eps]
                or last.args[0] is not gate.outputs[0]
            ):
                continue
            back = gate, last
            g = gate.args[0]
            if pool is not None:
                scatter = only_reader(pool.outputs[1], "window_scatter")
                if (
                    scatter is None
                    or scatter.outputs[0] is not g
                    or only_reader(g, "relu_backward") is None
                ):
                    continue
                g, back = scatter.args[0], (scatter, gate, last)
        # Nothing that they read changes from the first to the last of them.
        chain = *forward, *back
        span = range(places[chain[0]], places[chain[-1]] + 1)
        values = {v.root for i in chain for v in (*i.reads(), *i.outputs)}
        if back:  # a gradient may be added up until it is read
            values.discard(g.root)
            late = range(places[back[0]], span.stop)
            if any(at in late for at in writes.get(g.root, ())):
                continue
        if any(at in span for v in values for at in writes.get(v, ())):
            continue
        name = "batch_norm_relu" if pool is None else "batch_norm_relu_max_pool"
        options: dict[str, Any] = {} if pool is None else {"kernel": pool.options["kernel"]}
        if top < math.inf:
            options["top"] = top
        made = (y,) if pool is None else pool.outputs
        replaced |= dict.fromkeys(chain)
        if given:
            name, options = ("normalized", {"top": top}) if pool is None else ("pooled", options)
            replaced[norm] = Instruction(name, (x, norm.args[1:]), options, made, line=norm.line)
            continue
        replaced[norm] = Instruction(name, norm.args, options, (*made, *moments), line=norm.line)
        if back:
            kept = (x, weight, bias) if pool is None else (*made, x, weight)
            args = g, *kept, *moments, eps
            replaced[back[-1]] = Instruction(
                f"{name}_backward", args, options, back[-1].outputs, line=back[-1].line
            )
    program.instructions = [
        new for i in program.instructions if (new := replaced.get(i, i)) is not None
    ]
    return program


def _covers(pool: Instruction, x: Value) -> bool:
    """Whether windows of two axes lie side by side and cover an image."""
    q = pool.options
    if len(pool.args) != 1 or len(x.shape) != 4 or "kernel" not in q:
        return False
    kernel = tuple(q["kernel"])
    return (
        tuple(q["stride"]) == kernel
        and not any(q["padding"])
        and all(d == 1 for d in q["dilation"])
        and all(n % k == 0 for n, k in zip(x.shape[2:], kernel, strict=True))
        and kernel[0] * kernel[1] <= 256
    )
