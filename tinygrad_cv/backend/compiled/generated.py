"""Kernels that are written while a program is planned: several elementwise steps in one loop.

A `Recipe` says what to compute of one element of each input. `generated(recipe)` is a kernel

    f(*arrays, *steps, row, rows, column, columns)

that does it for rows [row, rows) and columns [column, columns) of arrays which are flat in memory,
the outputs after the inputs. An array has its `step`, the distance of two rows: 0 where all rows
are one. Along a row its numbers are neighbours, or ("spread") there is one for the whole row.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from tinygrad_cv.backend.compiled import functions as of
from tinygrad_cv.backend.compiled.elementwise import POINTWISE
from tinygrad_cv.backend.compiled.functions import Lanes, select
from tinygrad_cv.backend.compiled.jit import kernel
from tinygrad_cv.backend.compiled.vectors import (
    BYTES,
    I32,
    LANES,
    VECTOR,
    call,
    first_lanes,
    place,
    read,
    spread,
    write,
)


class Recipe(NamedTuple):
    """What a kernel computes of one element of each input.

    - inputs: a dtype, "f" (float32) or "b" (bool), and whether it is spread, for each;
    - steps: a name in STEPS and its arguments, which are numbers of registers, or floats. Inputs
      are the first registers, and each step writes the next one;
    - outputs: a register and a dtype for each.
    """

    inputs: tuple[tuple[str, bool], ...]
    steps: tuple[tuple[str, tuple[int | float, ...]], ...]
    outputs: tuple[tuple[int, str], ...]


# ----- steps -------------------------------------------------------------------------------------


def _float(x: Any) -> Any:
    """Truth as 1 and 0."""
    if isinstance(x, Lanes) and not x.is_float:
        return x.made(x.builder.uitofp(x.value, VECTOR))
    return x


def _truth(x: Any) -> Any:
    """Whether a number is not 0."""
    return x.differs(0.0) if isinstance(x, Lanes) and x.is_float else x


def _real(formula: Callable[..., Lanes]) -> Callable[..., Lanes]:
    """A step whose arguments are numbers, of which one at least is no constant."""

    def step(*args: Any) -> Lanes:
        args = tuple(map(_float, args))
        some = next(a for a in args if isinstance(a, Lanes))
        return formula(*[a if isinstance(a, Lanes) else some.made(some.like(a)) for a in args])

    return step


def _logical(formula: Callable[..., Lanes]) -> Callable[..., Lanes]:
    """A step whose arguments are truth values."""
    return lambda *args: formula(*map(_truth, args))


def _rounded(instruction: str) -> Callable[..., Lanes]:
    """Arithmetic that rounds after each step, as NumPy does: x · y + z is two steps."""
    return _real(lambda x, y: x.made(getattr(x.builder, instruction)(x.value, y.value)))


def _unlike(x: Lanes, y: Lanes) -> Lanes:
    return x.made(x.builder.xor(x.value, y.value))


def _where(truth: Lanes, x: Any, y: Any) -> Lanes:
    if isinstance(x, Lanes) and isinstance(y, Lanes) and not x.is_float and not y.is_float:
        return select(_truth(truth), x, y)
    x, y = _float(x), _float(y)
    some = next((a for a in (x, y) if isinstance(a, Lanes)), _float(truth))
    x, y = (a if isinstance(a, Lanes) else some.made(some.like(a)) for a in (x, y))
    return select(_truth(truth), x, y)


STEPS: dict[str, Callable[..., Lanes]] = {
    "add": _rounded("fadd"),
    "subtract": _rounded("fsub"),
    "multiply": _rounded("fmul"),
    "true_divide": _rounded("fdiv"),
    "negative": _real(lambda x: -x),
    "square": _real(lambda x: x.made(x.builder.fmul(x.value, x.value))),
    "reciprocal": _real(lambda x: 1.0 / x),
    "abs": _real(of.absolute),
    "sqrt": _real(of.sqrt),
    "floor": _real(of.floor),
    "copysign": _real(of.copysign),
    "maximum": _real(of.largest),
    "minimum": _real(of.least),
    "exp": _real(of.exp),
    "expm1": _real(of.expm1),
    "log": _real(of.log),
    "log1p": _real(of.log1p),
    "tanh": _real(of.tanh),
    "erf": _real(of.erf),
    "erfc": _real(of.erfc),
    "greater": _real(lambda x, y: x > y),
    "greater_equal": _real(lambda x, y: x >= y),
    "less": _real(lambda x, y: x < y),
    "less_equal": _real(lambda x, y: x <= y),
    "equal": _real(lambda x, y: x.equals(y)),
    "not_equal": _real(lambda x, y: x.differs(y)),
    "isnan": _real(lambda x: x.differs(x)),
    "logical_and": _logical(lambda x, y: x & y),
    "logical_or": _logical(lambda x, y: x | y),
    "logical_xor": _logical(_unlike),
    "logical_not": _logical(lambda x: x.made(x.builder.not_(x.value))),
    "where": _where,
    "float": _float,
    "bool": _truth,
}


def _step(name: str) -> Callable[..., Any]:
    """How a step of this name is computed."""
    return STEPS.get(name) or _real(POINTWISE[name])


# ----- from memory and to it ---------------------------------------------------------------------


def _loaded(builder: Any, address: Any, dtype: str, is_spread: bool, count: Any) -> Lanes:
    """The next numbers, `count` of them, or all lanes where that is None."""
    if is_spread:
        kind = VECTOR if dtype == "f" else BYTES
        value = spread(builder, builder.load(address), kind)
    elif count is None:
        value = read(builder, address, VECTOR if dtype == "f" else BYTES)
    else:
        kind, name = (VECTOR, "f32") if dtype == "f" else (BYTES, "i8")
        nothing = ir.Constant(kind, [0.0 if dtype == "f" else 0] * LANES)
        value = call(
            builder,
            f"llvm.masked.load.v{LANES}{name}.p0",
            kind,
            builder.bitcast(address, kind.as_pointer()),
            ir.Constant(I32, 4 if dtype == "f" else 1),
            first_lanes(builder, count),
            nothing,
        )
    if dtype == "b":
        value = builder.icmp_unsigned("!=", value, ir.Constant(BYTES, [0] * LANES))
    return Lanes(builder, value)


def _stored(builder: Any, x: Lanes, address: Any, dtype: str, count: Any) -> None:
    x = _float(x) if dtype == "f" else _truth(x)
    value = x.value if dtype == "f" else builder.zext(x.value, BYTES)
    if count is None:
        write(builder, value, address)
        return
    name = "f32" if dtype == "f" else "i8"
    call(
        builder,
        f"llvm.masked.store.v{LANES}{name}.p0",
        ir.VoidType(),
        value,
        builder.bitcast(address, value.type.as_pointer()),
        ir.Constant(I32, 4 if dtype == "f" else 1),
        first_lanes(builder, count),
    )


def _vector_of(recipe: Recipe, is_whole: bool) -> Any:
    """The steps on one vector of each array: body(arrays, places, count)."""

    def body(typing: Any, arrays: Any, places: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kinds = signature.args[0].types
            left = None if is_whole else args[2]

            def address(k: int) -> Any:
                array, at = (builder.extract_value(args[i], k) for i in (0, 1))
                return place(context, builder, kinds[k], array, at)

            registers: list[Any] = [
                _loaded(builder, address(k), dtype, is_spread, left)
                for k, (dtype, is_spread) in enumerate(recipe.inputs)
            ]
            for name, operands in recipe.steps:
                args_ = [registers[o] if type(o) is int else o for o in operands]
                registers.append(_step(name)(*args_))
            for k, (register, dtype) in enumerate(recipe.outputs, len(recipe.inputs)):
                _stored(builder, registers[register], address(k), dtype, left)
            return context.get_dummy_value()

        return types.void(arrays, places, count), generate

    return intrinsic(body)


@cache
def generated(recipe: Recipe) -> Callable[..., None]:
    """The kernel of a recipe, compiled on its first use and kept by what the recipe says."""
    count = len(recipe.inputs) + len(recipe.outputs)
    arrays = ", ".join(f"a{k}" for k in range(count))
    steps = ", ".join(f"s{k}" for k in range(count))
    places = ", ".join(
        f"r * s{k}" if k < len(recipe.inputs) and recipe.inputs[k][1] else f"r * s{k} + c"
        for k in range(count)
    )
    source = f"""
def generated({arrays}, {steps}, row, rows, column, columns):
    whole = column + (columns - column) // {LANES} * {LANES}
    for r in range(row, rows):
        for c in range(column, whole, {LANES}):
            vector(({arrays},), ({places},), {LANES})
        if whole < columns:
            c = whole
            rest(({arrays},), ({places},), columns - whole)
"""
    scope: dict[str, Any] = {
        "__name__": __name__,
        "vector": _vector_of(recipe, is_whole=True),
        "rest": _vector_of(recipe, is_whole=False),
    }
    exec(compile(source, __file__, "exec"), scope)
    name = hashlib.sha256(repr(recipe).encode()).hexdigest()[:20]
    return kernel(scope["generated"], name=f"generated_{name}")
