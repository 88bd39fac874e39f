"""Products of windows: the tiles of direct convolution, whose sums stay in registers.

Of an image in memory x a window is where it begins, `places[p]`, and a tap of the kernel how far it
lies from there, `taps[t]`, both counted in numbers. Two sums are all that a convolution needs:

    window_tile     y[p, j] = bias[j] + Σ_t x[places[p] + taps[t]] · w[t, j]      over the taps
    weight_tile    dw[t, j] += Σ_p x[places[p] + taps[t]] · g[p, j]               over the windows

j runs over output channels. Where each channel has a kernel of its own (depthwise), x is read at
j as well, x[places[p] + taps[t] + j]. No window is copied, and neither its size nor the stride nor
the dilation is seen in here.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from tinygrad_cv.backend.compiled.vectors import (
    I32,
    I64,
    LANES,
    VECTOR,
    ZERO,
    call,
    first_lanes,
    multiply_add,
    place,
    read,
    spread,
    write,
)

INDEX = types.intp


def _number(n: int) -> Any:
    return ir.Constant(I64, n)


def _in_lanes(builder: Any, lanes: Any, vectors: int, body: Callable[[Any, Any], None]) -> None:
    """`body(fetch, put)`, which read and write the first `lanes` numbers of that many vectors.

    The code is there twice, with masks and without.
    """

    def masks() -> list[Any]:
        return [
            first_lanes(builder, builder.sub(lanes, _number(v * LANES))) for v in range(vectors)
        ]

    def at(address: Any, v: int) -> Any:
        return builder.gep(address, [_number(v * LANES)])

    whole = builder.icmp_signed(">=", lanes, _number(vectors * LANES))
    with builder.if_else(whole) as (then, otherwise):
        with then:

            def fetch_all(address: Any) -> list[Any]:
                return [read(builder, at(address, v)) for v in range(vectors)]

            def put_all(address: Any, values: list[Any]) -> None:
                for v, x in enumerate(values):
                    write(builder, x, at(address, v))

            body(fetch_all, put_all)
        with otherwise:
            chosen = masks()

            def fetch(address: Any) -> list[Any]:
                name, four = f"llvm.masked.load.v{LANES}f32.p0", ir.Constant(I32, 4)
                return [
                    call(
                        builder,
                        name,
                        VECTOR,
                        builder.bitcast(at(address, v), VECTOR.as_pointer()),
                        four,
                        chosen[v],
                        ZERO,
                    )
                    for v in range(vectors)
                ]

            def put(address: Any, values: list[Any]) -> None:
                name, four = f"llvm.masked.store.v{LANES}f32.p0", ir.Constant(I32, 4)
                for v, x in enumerate(values):
                    to = builder.bitcast(at(address, v), VECTOR.as_pointer())
                    call(builder, name, ir.VoidType(), x, to, four, chosen[v])

            body(fetch, put)


def _sums(builder: Any, rows: int, vectors: int) -> list[list[Any]]:
    return [[cgutils.alloca_once(builder, VECTOR) for _ in range(vectors)] for _ in range(rows)]


def _index(builder: Any, table: Any, offset: Any, row: int) -> Any:
    """table[offset + row]"""
    address = builder.gep(table, [builder.add(offset, _number(row))], inbounds=True)
    return builder.load(address, align=8)


def window_tile(rows: int, vectors: int, depthwise: bool = False) -> Any:
    """R windows by V vectors of output channels.

    f(A, a, places, p, segments, s, S, K,  B, b, ldb, bias, o,  C, c, out, n):

        C[c + out[p + r] + j] = bias[o + j] + Σ_s Σ_k A[a + places[p + r] + segments[s] + k]
                                                        · B[b + (s·K + k)·ldb + j]

    for r < R and j < min(n, V · LANES). A segment is K taps that lie side by side; `depthwise` has
    K = 1 and reads A at j as well.
    """

    @intrinsic
    def product(
        typing: Any,
        A: Any,
        a: Any,
        places: Any,
        p: Any,
        segments: Any,
        s: Any,
        S: Any,
        K: Any,
        B: Any,
        b: Any,
        ldb: Any,
        bias: Any,
        o: Any,
        C: Any,
        c: Any,
        out: Any,
        n: Any,
    ) -> Any:
        i = INDEX
        signature = types.void(A, i, places, i, segments, i, i, i, B, i, i, bias, i, C, i, out, i)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            A, a, places, p, segments, s, S, K, B, b, ldb, bias, o, C, c, out, n = args
            kinds = signature.args
            A = place(context, builder, kinds[0], A, a)
            places = place(context, builder, kinds[2], places, p)
            segments = place(context, builder, kinds[4], segments, s)
            B = place(context, builder, kinds[8], B, b)
            bias = place(context, builder, kinds[11], bias, o)
            C = place(context, builder, kinds[13], C, c)
            out = place(context, builder, kinds[15], out, p)
            sums = _sums(builder, rows, vectors)
            zero = _number(0)
            windows = [builder.gep(A, [_index(builder, places, zero, r)]) for r in range(rows)]

            def body(fetch: Any, put: Any) -> None:
                for v, start in enumerate(fetch(bias)):
                    for r in range(rows):
                        builder.store(start, sums[r][v])
                with cgutils.for_range(builder, S) as segment:
                    offset = _index(builder, segments, segment.index, 0)
                    down = builder.mul(segment.index, K)
                    with cgutils.for_range(builder, K) as step:
                        at = builder.mul(builder.add(down, step.index), ldb)
                        weights = builder.gep(B, [at])
                        across = (
                            fetch(weights)
                            if depthwise
                            else [
                                read(builder, builder.gep(weights, [_number(v * LANES)]))
                                for v in range(vectors)
                            ]
                        )
                        along = builder.add(offset, step.index)
                        for r in range(rows):
                            number = builder.gep(windows[r], [along])
                            if depthwise:
                                xs = fetch(number)
                            else:
                                xs = [spread(builder, builder.load(number, align=4))] * vectors
                            for v in range(vectors):
                                old = builder.load(sums[r][v])
                                builder.store(
                                    multiply_add(builder, xs[v], across[v], old), sums[r][v]
                                )
                for r in range(rows):
                    address = builder.gep(C, [_index(builder, out, zero, r)])
                    put(address, [builder.load(sums[r][v]) for v in range(vectors)])

            _in_lanes(builder, n, vectors, body)
            return context.get_dummy_value()

        return signature, generate

    return product


def weight_tile(rows: int, vectors: int, depthwise: bool = False) -> Any:
    """R taps by V vectors of output channels.

    f(A, a, places, P, taps, t,  B, b, ldb,  C, c, ldc, n):

        C[c + r·ldc + j] += Σ_{p < P} A[a + places[p] + taps[t + r]] · B[b + p·ldb + j]

    for r < R and j < min(n, V · LANES); `depthwise` reads A at j as well.
    """

    @intrinsic
    def product(
        typing: Any,
        A: Any,
        a: Any,
        places: Any,
        P: Any,
        taps: Any,
        t: Any,
        B: Any,
        b: Any,
        ldb: Any,
        C: Any,
        c: Any,
        ldc: Any,
        n: Any,
    ) -> Any:
        i = INDEX
        signature = types.void(A, i, places, i, taps, i, B, i, i, C, i, i, i)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            A, a, places, P, taps, t, B, b, ldb, C, c, ldc, n = args
            kinds = signature.args
            A = place(context, builder, kinds[0], A, a)
            places = place(context, builder, kinds[2], places, _number(0))
            taps = place(context, builder, kinds[4], taps, t)
            B = place(context, builder, kinds[6], B, b)
            C = place(context, builder, kinds[9], C, c)
            sums = _sums(builder, rows, vectors)
            starts = [builder.gep(A, [_index(builder, taps, _number(0), r)]) for r in range(rows)]
            lines = [builder.gep(C, [builder.mul(ldc, _number(r))]) for r in range(rows)]

            def body(fetch: Any, put: Any) -> None:
                for r in range(rows):
                    for v, old in enumerate(fetch(lines[r])):
                        builder.store(old, sums[r][v])
                with cgutils.for_range(builder, P) as step:
                    window = _index(builder, places, step.index, 0)
                    across = fetch(builder.gep(B, [builder.mul(step.index, ldb)]))
                    for r in range(rows):
                        number = builder.gep(starts[r], [window])
                        if depthwise:
                            xs = fetch(number)
                        else:
                            xs = [spread(builder, builder.load(number, align=4))] * vectors
                        for v in range(vectors):
                            old = builder.load(sums[r][v])
                            builder.store(multiply_add(builder, xs[v], across[v], old), sums[r][v])
                for r in range(rows):
                    put(lines[r], [builder.load(sums[r][v]) for v in range(vectors)])

            _in_lanes(builder, n, vectors, body)
            return context.get_dummy_value()

        return signature, generate

    return product
