"""A vector of numbers as one value: what the kernels are written in.

LLVM turns a plain loop into vector instructions only where it sees that it may, and then at half of
what the machine can do. Here a vector is a type of its own, as wide as the registers of the CPU
(LANES numbers of float32), and each function below is one instruction. Arrays are flat, contiguous
and float32, and places in them are counted in numbers.

    y[i : i + LANES] = a * x[i : i + LANES] + b     is     store(y, i, fma(splat(a), load(x, i), b))

The last numbers of a row that is no multiple of LANES are `load_first` and `store_first`.

`tile(R, V)` is the heart of all products: R rows by V vectors of sums that stay in registers.
"""

import operator
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, config, types
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, overload, register_model

WIDE = ("avx512", "icelake", "sapphirerapids", "cascadelake", "znver4", "znver5")
"""Names of CPUs with registers of 512 bits, as NUMBA_CPU_NAME may say them."""


def _lanes() -> int:
    """How many float32 a register holds: 16 (AVX-512), 8 (AVX) or 4 (SSE, NEON)."""
    if name := config.CPU_NAME:
        return 16 if any(w in name for w in WIDE) else 4 if name in ("generic", "x86-64") else 8
    features = binding.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx") else 4


LANES = _lanes()

F32, I8, I32, I64 = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(F32, LANES)
BYTES = ir.VectorType(I8, LANES)
MASK = ir.VectorType(ir.IntType(1), LANES)
ZERO = ir.Constant(VECTOR, [0.0] * LANES)
LOOSE = ("contract", "nsz")
"""x · y + z may become one instruction, and -0 may become 0."""


class _VectorType(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


vector = _VectorType()


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, type: Any) -> None:
        super().__init__(manager, type, VECTOR)


# ----- LLVM's side: values of the instruction builder ---------------------------------------------


def place(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    """The address of array[offset]. An array with gaps is refused when its kernel is compiled."""
    if array_type.ndim != 1 or array_type.layout != "C":
        raise TypingError(f"kernels walk over flat, contiguous arrays; got {array_type}")
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [offset], inbounds=True)


def constant(number: float) -> Any:
    """A vector that holds one number in all lanes."""
    return ir.Constant(VECTOR, [float(number)] * LANES)


def _alignment(type: Any) -> int:
    """Of its elements: a vector may begin at any of them."""
    return 4 if type.element == F32 else type.element.width // 8


def read(builder: Any, address: Any, type: Any = VECTOR) -> Any:
    """The vector at an address."""
    return builder.load(builder.bitcast(address, type.as_pointer()), align=_alignment(type))


def write(builder: Any, value: Any, address: Any) -> None:
    """Put a vector at an address."""
    place = builder.bitcast(address, value.type.as_pointer())
    builder.store(value, place, align=_alignment(value.type))


def spread(builder: Any, number: Any, type: Any = VECTOR) -> Any:
    """A number in all lanes."""
    undefined = ir.Constant(type, ir.Undefined)
    one = builder.insert_element(undefined, number, ir.Constant(I32, 0))
    lanes = ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
    return builder.shuffle_vector(one, undefined, lanes)


def call(builder: Any, name: str, result: Any, *args: Any, **options: Any) -> Any:
    """One of LLVM's functions, such as "llvm.sqrt"."""
    kind = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args, **options)


def multiply_add(builder: Any, x: Any, y: Any, z: Any) -> Any:
    # One instruction where the CPU has it; "llvm.fma" would call a function for it elsewhere.
    return call(builder, f"llvm.fmuladd.v{LANES}f32", VECTOR, x, y, z)


def first_lanes(builder: Any, count: Any) -> Any:
    """A mask: the first `count` lanes."""
    kind = ir.VectorType(I32, LANES)
    numbers = ir.Constant(kind, list(range(LANES)))
    return builder.icmp_signed("<", numbers, spread(builder, builder.trunc(count, I32), kind))


# ----- numba's side: what kernels call ------------------------------------------------------------


@intrinsic
def load(typing: Any, x: Any, i: Any) -> Any:
    """x[i : i + LANES]"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return read(builder, place(context, builder, signature.args[0], *args))

    return vector(x, types.intp), generate


@intrinsic
def store(typing: Any, y: Any, i: Any, v: Any) -> Any:
    """y[i : i + LANES] = v"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        y, i, v = args
        write(builder, v, place(context, builder, signature.args[0], y, i))
        return context.get_dummy_value()

    return types.void(y, types.intp, vector), generate


@intrinsic
def load_first(typing: Any, x: Any, i: Any, n: Any) -> Any:
    """x[i : i + n], and 0 in the other lanes, whose memory is not touched"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, i, n = args
        address = builder.bitcast(
            place(context, builder, signature.args[0], x, i), VECTOR.as_pointer()
        )
        name = f"llvm.masked.load.v{LANES}f32.p0"
        mask = first_lanes(builder, n)
        return call(builder, name, VECTOR, address, ir.Constant(I32, 4), mask, ZERO)

    return vector(x, types.intp, types.intp), generate


@intrinsic
def store_first(typing: Any, y: Any, i: Any, v: Any, n: Any) -> Any:
    """y[i : i + n] = the first lanes of v"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        y, i, v, n = args
        address = builder.bitcast(
            place(context, builder, signature.args[0], y, i), VECTOR.as_pointer()
        )
        name = f"llvm.masked.store.v{LANES}f32.p0"
        mask = first_lanes(builder, n)
        call(builder, name, ir.VoidType(), v, address, ir.Constant(I32, 4), mask)
        return context.get_dummy_value()

    return types.void(y, types.intp, vector, types.intp), generate


@intrinsic
def splat(typing: Any, s: Any) -> Any:
    """The number s in all lanes"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return spread(builder, args[0])

    return vector(types.float32), generate


def _operation(name: str, doc: str) -> Any:
    """An instruction of two vectors, such as "fadd"."""

    def op(typing: Any, x: Any, y: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, name)(*args, flags=LOOSE)

        return vector(vector, vector), generate

    op.__name__, op.__doc__ = name, doc
    return intrinsic(op)


_add, _subtract = _operation("fadd", "x + y"), _operation("fsub", "x - y")
_multiply, _divide = _operation("fmul", "x · y"), _operation("fdiv", "x / y")


def _overload(symbol: Any, instruction: Any) -> None:
    @overload(symbol, inline="never")
    def chosen(x, y):  # type: ignore[no-untyped-def]  # numba compares it with the lambda's
        if isinstance(x, _VectorType) and isinstance(y, _VectorType):
            return lambda x, y: instruction(x, y)
        return None


_overload(operator.add, _add)
_overload(operator.iadd, _add)
_overload(operator.sub, _subtract)
_overload(operator.mul, _multiply)
_overload(operator.truediv, _divide)


@intrinsic
def fma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """x · y + z, rounded once where the CPU can"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return multiply_add(builder, *args)

    return vector(vector, vector, vector), generate


@intrinsic
def gate(typing: Any, g: Any, y: Any) -> Any:
    """g where y > 0, else 0"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        g, y = args
        return builder.select(builder.fcmp_ordered(">", y, ZERO), g, ZERO)

    return vector(vector, vector), generate


@intrinsic
def gate_up_to(typing: Any, g: Any, y: Any, last: Any) -> Any:
    """g where 0 < y <= last, else 0"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        g, y, last = args
        above, below = builder.fcmp_ordered(">", y, ZERO), builder.fcmp_ordered("<=", y, last)
        return builder.select(builder.and_(above, below), g, ZERO)

    return vector(vector, vector, vector), generate


@intrinsic
def total(typing: Any, x: Any) -> Any:
    """The sum of the lanes, in a tree"""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        return call(builder, name, F32, ir.Constant(F32, 0.0), args[0], fastmath=("reassoc",))

    return types.float32(vector), generate


def tile(rows: int, vectors: int) -> Any:
    """The kernel of a product, R rows by V vectors of it, whose sums stay in registers.

    f(A, a, lda, ka, sa,  B, b, ldb, sb,  C, c, ldc,  K, S, add):

        C[c + r·ldc + j] = Σ_s Σ_k A[a + s·sa + r·lda + k·ka] · B[b + s·sb + k·ldb + j]

    for r < R and j < V · LANES, or C += that sum where `add` is not 0: a sum of sums, which loses
    less than a long one. With S segments of length K the rows of a window need no copy.
    """

    @intrinsic
    def product(
        typing: Any,
        A: Any,
        a: Any,
        lda: Any,
        ka: Any,
        sa: Any,
        B: Any,
        b: Any,
        ldb: Any,
        sb: Any,
        C: Any,
        c: Any,
        ldc: Any,
        K: Any,
        S: Any,
        add: Any,
    ) -> Any:
        n = types.intp
        signature = types.void(A, n, n, n, n, B, n, n, n, C, n, n, n, n, n)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            A, a, lda, ka, sa, B, b, ldb, sb, C, c, ldc, K, S, add = args
            A = place(context, builder, signature.args[0], A, a)
            B = place(context, builder, signature.args[5], B, b)
            C = place(context, builder, signature.args[9], C, c)
            sums = [
                [cgutils.alloca_once(builder, VECTOR) for _ in range(vectors)] for _ in range(rows)
            ]

            def each(row: int) -> Any:
                start = builder.gep(C, [builder.mul(ldc, ir.Constant(I64, row))])
                return [builder.gep(start, [ir.Constant(I64, v * LANES)]) for v in range(vectors)]

            for r in range(rows):
                for v in range(vectors):
                    builder.store(ZERO, sums[r][v])
            down = [builder.mul(lda, ir.Constant(I64, r)) for r in range(rows)]
            with cgutils.for_range(builder, S) as segment:
                left = builder.gep(A, [builder.mul(segment.index, sa)])
                right = builder.gep(B, [builder.mul(segment.index, sb)])
                lefts = [builder.gep(left, [offset]) for offset in down]
                with cgutils.for_range(builder, K) as step:
                    row = builder.gep(right, [builder.mul(step.index, ldb)])
                    across = [
                        read(builder, builder.gep(row, [ir.Constant(I64, v * LANES)]))
                        for v in range(vectors)
                    ]
                    along = builder.mul(step.index, ka)
                    for r in range(rows):
                        x = spread(builder, builder.load(builder.gep(lefts[r], [along]), align=4))
                        for v in range(vectors):
                            old = builder.load(sums[r][v])
                            builder.store(multiply_add(builder, x, across[v], old), sums[r][v])
            adds = builder.icmp_signed("!=", add, ir.Constant(I64, 0))
            with builder.if_then(adds):
                for r in range(rows):
                    for v, address in enumerate(each(r)):
                        old = read(builder, address)
                        new = builder.fadd(old, builder.load(sums[r][v]))
                        builder.store(new, sums[r][v])
            for r in range(rows):
                for v, address in enumerate(each(r)):
                    write(builder, builder.load(sums[r][v]), address)
            return context.get_dummy_value()

        return signature, generate

    return product


ROWS = 8 if LANES == 16 else 6 if LANES == 8 else 8
"""The rows of a tile of two vectors that fill the registers, and no more."""
