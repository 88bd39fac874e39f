"""The plain reading of a program: instruction by instruction, as it was recorded."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.backend.arguments import exchanged
from tinygrad_cv.backend.base import Backend
from tinygrad_cv.program.instructions import Program, Value

Array = Any


def function_of(xp: Backend, name: str) -> Callable[..., Any]:
    """What an instruction of this name calls, with its arguments.

    A name of the namespace or a kernel is looked up on the backend, and what is not there is a
    method of the first argument. A "call" calls its first argument with the others.
    """
    if name in ("getitem", "setitem", "call"):
        function: Callable[..., Any] = getattr(operator, name)
        return function
    owner: Any = xp
    for part in name.split("."):
        owner = getattr(owner, part, None)
    return owner or _method(name)


def _method(name: str) -> Callable[..., Any]:
    return lambda x, *args, **options: getattr(x, name)(*args, **options)


def interpret(program: Program, inputs: Sequence[Array], xp: Backend) -> list[Array]:
    """Run the instructions one by one on these inputs; returns copies of the outputs."""
    arrays: dict[Value, Array] = dict(zip(program.inputs, inputs, strict=True))

    def array_of(x: Any) -> Any:
        if not isinstance(x, Value):
            return x
        return x.array if x.array is not None else arrays[x]

    with xp.active:
        for instruction in program.instructions:
            function = function_of(xp, instruction.function)
            args, options = exchanged(array_of, (instruction.args, instruction.options))
            made = function(*args, **options)
            if instruction.outputs:
                several = made if isinstance(made, tuple | list) else (made,)
                results = [_array(array) for array in several if array is not None]
                arrays |= zip(instruction.outputs, results, strict=True)
        return [xp.array(array_of(value), None) for value in program.outputs]


def _array(made: Any) -> Array:
    """What a function made: NumPy gives a number where an array has no axes."""
    return host.asarray(made) if isinstance(made, host.generic) else made
