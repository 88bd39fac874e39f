"""Vectors of float64 and of places beside those of float32, lane by lane.

`wide` holds LANES numbers of float64, in which sums of float32 lose nothing worth mentioning.
`places` holds LANES whole numbers: which tap of a window each lane has found. In memory they are
unsigned and as narrow as their array.
"""

import operator
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, overload, register_model

from tinygrad_cv.backend.compiled.jit import inner
from tinygrad_cv.backend.compiled.vectors import (
    I32,
    LANES,
    VECTOR,
    call,
    first_lanes,
    load,
    load_first,
    place,
    read,
    spread,
    store,
    store_first,
    vector,
    write,
)

Array = Any

F64 = ir.DoubleType()
WIDE, PLACES = ir.VectorType(F64, LANES), ir.VectorType(I32, LANES)


class _WideType(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"float64x{LANES}")


class _PlacesType(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"placesx{LANES}")


wide, places = _WideType(), _PlacesType()


@register_model(_WideType)
class _WideModel(models.PrimitiveModel):
    def __init__(self, manager: Any, type: Any) -> None:
        super().__init__(manager, type, WIDE)


@register_model(_PlacesType)
class _PlacesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, type: Any) -> None:
        super().__init__(manager, type, PLACES)


# ----- the ends of rows --------------------------------------------------------------------------


@inner
def load_up_to(x: Array, i: int, n: int) -> Any:
    """x[i : i + min(n, LANES)], and 0 in the other lanes"""
    return load(x, i) if n >= LANES else load_first(x, i, n)


@inner
def store_up_to(y: Array, i: int, v: Any, n: int) -> None:
    """y[i : i + min(n, LANES)] = the first lanes of v"""
    if n >= LANES:
        store(y, i, v)
    else:
        store_first(y, i, v, n)


# ----- float64 -----------------------------------------------------------------------------------


@intrinsic
def widened(typing: Any, x: Any) -> Any:
    """The same numbers as float64"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fpext(args[0], WIDE)

    return wide(vector), generate


@intrinsic
def rounded(typing: Any, x: Any) -> Any:
    """The numbers rounded to float32"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fptrunc(args[0], VECTOR)

    return vector(wide), generate


@intrinsic
def splat_wide(typing: Any, s: Any) -> Any:
    """The number s in all lanes"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return spread(builder, args[0], WIDE)

    return wide(types.float64), generate


@intrinsic
def _add(typing: Any, x: Any, y: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args)

    return wide(wide, wide), generate


@intrinsic
def _multiply(typing: Any, x: Any, y: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fmul(*args)

    return wide(wide, wide), generate


@overload(operator.add, inline="never")
def _plus(x, y):  # type: ignore[no-untyped-def]  # numba compares it with the lambda's
    return (lambda x, y: _add(x, y)) if x is wide and y is wide else None


@overload(operator.mul, inline="never")
def _times(x, y):  # type: ignore[no-untyped-def]
    return (lambda x, y: _multiply(x, y)) if x is wide and y is wide else None


# ----- places ------------------------------------------------------------------------------------


@intrinsic
def splat_place(typing: Any, k: Any) -> Any:
    """The place k in all lanes"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return spread(builder, builder.trunc(args[0], I32), PLACES)

    return places(types.intp), generate


def _wins(builder: Any, x: Any, best: Any) -> Any:
    """Where x > best, or x is NaN and best is not."""
    unordered = builder.fcmp_unordered(">", x, best)
    return builder.and_(unordered, builder.fcmp_ordered("ord", best, best))


@intrinsic
def better(typing: Any, x: Any, best: Any) -> Any:
    """x where it is more than the best so far, or the first NaN; else the best so far"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, best = args
        return builder.select(_wins(builder, x, best), x, best)

    return vector(vector, vector), generate


@intrinsic
def where_better(typing: Any, x: Any, best: Any, k: Any, where: Any) -> Any:
    """The place k where `better(x, best)` is x, else the one in `where`"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, best, k, where = args
        here = spread(builder, builder.trunc(k, I32), PLACES)
        return builder.select(_wins(builder, x, best), here, where)

    return places(vector, vector, types.intp, places), generate


@intrinsic
def at_place(typing: Any, x: Any, where: Any, k: Any, other: Any) -> Any:
    """x where the place is k, else the other"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, where, k, other = args
        here = builder.icmp_signed("==", where, spread(builder, builder.trunc(k, I32), PLACES))
        return builder.select(here, x, other)

    return vector(vector, places, types.intp, vector), generate


def _narrow(array: Any) -> Any:
    """Places as they lie in an array."""
    return ir.VectorType(ir.IntType(array.dtype.bitwidth), LANES)


@intrinsic
def load_places(typing: Any, index: Any, i: Any, n: Any) -> Any:
    """index[i : i + min(n, LANES)], and 0 in the other lanes"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        index, i, n = args
        kind = _narrow(signature.args[0])
        address = place(context, builder, signature.args[0], index, i)
        whole = builder.icmp_signed(">=", n, ir.Constant(n.type, LANES))
        with builder.if_else(whole) as (then, otherwise):
            with then:
                all_lanes, first = read(builder, address, kind), builder.block
            with otherwise:
                name = f"llvm.masked.load.v{LANES}i{kind.element.width}.p0"
                none = ir.Constant(kind, [0] * LANES)
                alignment = ir.Constant(I32, kind.element.width // 8)
                pointer, mask = builder.bitcast(address, kind.as_pointer()), first_lanes(builder, n)
                some, second = (
                    call(builder, name, kind, pointer, alignment, mask, none),
                    builder.block,
                )
        found = builder.phi(kind)
        found.add_incoming(all_lanes, first)
        found.add_incoming(some, second)
        return builder.zext(found, PLACES) if kind.element.width < 32 else found

    return places(index, types.intp, types.intp), generate


@intrinsic
def store_places(typing: Any, index: Any, i: Any, where: Any, n: Any) -> Any:
    """index[i : i + min(n, LANES)] = the first lanes of `where`"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        index, i, where, n = args
        kind = _narrow(signature.args[0])
        address = place(context, builder, signature.args[0], index, i)
        value = builder.trunc(where, kind) if kind.element.width < 32 else where
        whole = builder.icmp_signed(">=", n, ir.Constant(n.type, LANES))
        with builder.if_else(whole) as (then, otherwise):
            with then:
                write(builder, value, address)
            with otherwise:
                name = f"llvm.masked.store.v{LANES}i{kind.element.width}.p0"
                alignment = ir.Constant(I32, kind.element.width // 8)
                pointer, mask = builder.bitcast(address, kind.as_pointer()), first_lanes(builder, n)
                call(builder, name, ir.VoidType(), value, pointer, alignment, mask)
        return context.get_dummy_value()

    return types.void(index, types.intp, places, types.intp), generate
