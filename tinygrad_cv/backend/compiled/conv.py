"""Convolution in 1 to 3 dimensions: any stride, padding, dilation and groups, by one kernel.

Images are rows (N, *S, C) in memory, and an output is a sum over the taps of the kernel:

    y[q] = bias + Σ_i x[s·q - p + d·i] · w[i]                           conv
    x[q] = Σ_i y[(q + p - d·i) / s] · w[i]ᵀ, where s divides            conv_transpose

In both a place of the result reads the images at `step·m + offset(i)`: conv with step s and offset
d·i - p for all places q = m, conv_transpose with step 1 and offset (f + p - d·i) / s for the places
q = s·m + f, one *phase* for each f < s with the taps that reach it. `Windows` writes all offsets
down once for a geometry, as tables of places in memory; what then remains is `window_tile`.

Images are walked in blocks that stay in the second-level cache: some images, or a band of one. A
block is copied with its border of zeros, unless no window leaves the images.

The sum over the taps of an output always runs in the same order, so that blocks and threads change
no bit of it. A weight gradient is summed over parts of the batch that follow from the shapes.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from tinygrad_cv.backend.compiled import winograd
from tinygrad_cv.backend.compiled.jit import inner, kernel
from tinygrad_cv.backend.compiled.turn import channels_last
from tinygrad_cv.backend.compiled.vectors import (
    LANES,
    ROWS,
    load,
    load_first,
    splat,
    store,
    store_first,
)
from tinygrad_cv.backend.compiled.window_tiles import weight_tile, window_tile
from tinygrad_cv.backend.threads import MOST_PARTS, by_products, parallel, split
from tinygrad_cv.backend.windows import channels_first, output_size

Array = Any
Ints = Sequence[int]

BLOCK_BYTES = 384 * 1024
"""The size of a block of images: it shares the second-level cache with the weights."""

BLOCK_WINDOWS = 4096
"""How many windows a block has at most: their places are in a table."""

BLOCKS = 16
"""Into how many blocks images go at least, if there is so much of them."""

ENOUGH_WINDOWS = 256
"""So many windows make up for reading all weights once."""

BLOCK = 2 * LANES
"""Output channels that are summed at a time: the width of a tile."""

SUMS = 8
"""Partial sums of a weight gradient at most."""

_windows = window_tile(ROWS, 2)
_narrow = window_tile(ROWS, 1)
_window = window_tile(1, 2)
_deep_windows = window_tile(ROWS, 1, depthwise=True)
_deep_pairs = window_tile(ROWS, 2, depthwise=True)
_deep_window = window_tile(1, 1, depthwise=True)
_taps = weight_tile(ROWS, 2)
_narrow_taps = weight_tile(ROWS, 1)
DEEP = 9
_deep_taps = weight_tile(DEEP, 1, depthwise=True)
_few_deep_taps = weight_tile(3, 1, depthwise=True)


# ----- where windows lie -------------------------------------------------------------------------


class _Phase(NamedTuple):
    """Places first, first + every, ... of the result along an axis, `length` of them.

    `taps` are pairs (which of the kernel, offset), in the order of their offsets.
    """

    first: int
    every: int
    length: int
    taps: tuple[tuple[int, int], ...]


def _axis(size: int, k: int, s: int, p: int, d: int) -> list[_Phase]:
    """Of a convolution whose result has that size."""
    return [_Phase(0, 1, size, tuple((i, d * i - p) for i in range(k)))]


def _transposed_axis(size: int, k: int, s: int, p: int, d: int) -> list[_Phase]:
    return [
        _Phase(
            f,
            s,
            -(-(size - f) // s),
            tuple(
                (i, (f + p - d * i) // s) for i in reversed(range(k)) if (f + p - d * i) % s == 0
            ),
        )
        for f in range(min(s, size))
    ]


def _three(values: Ints, missing: int) -> tuple[int, ...]:
    """Always three axes: (L,) is (1, 1, L), and (H, W) is (H, 1, W).

    Blocks are bands of the first axis, and rows of the last one are copied.
    """
    first, last = values[:-1], values[-1:]
    return (*first, *(missing,) * (3 - len(values)), *last)


def _side_by_side(starts: Array, width: int) -> int:
    """How many taps of that width lie in memory one after the other, throughout."""
    for number in range(len(starts), 1, -1):
        if len(starts) % number == 0:
            steps = np.diff(starts.reshape(-1, number), axis=1)
            if (steps == width).all():
                return number
    return 1


class Windows(NamedTuple):
    """All offsets of a convolution, in numbers."""

    places: Array
    """Where each window of a block begins, phase by phase."""
    out: Array
    """Where its result belongs, from that of the block's first."""
    segments: Array
    """Where taps begin that lie side by side, from the window's begin."""
    phases: Array
    """(phases, 8): first in `places`, windows of an image, of a row, rows; first in `segments`,
    how many, their length; first in the packed weights."""
    starts: Array
    """Where every tap begins, from the window's begin."""
    taps: tuple[Array, ...]
    """Of each phase, which of the kernel's taps these are."""
    packed: int
    """How many numbers the packed weights are."""
    geometry: tuple[int, ...]
    """See `_block`."""
    blocks: int


@lru_cache(maxsize=512)
def windows_of(
    count: int,
    source: tuple[int, ...],
    result: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
    channels: int,
    outputs: int,
    transposed: bool,
    depthwise: bool = False,
) -> Windows:
    """Of `count` images (*source, channels) with a result (*result, outputs)."""
    source, result, kernel = _three(source, 1), _three(result, 1), _three(kernel, 1)
    stride, padding, dilation = _three(stride, 1), _three(padding, 0), _three(dilation, 1)
    axis = _transposed_axis if transposed else _axis
    axes = [axis(*at) for at in zip(result, kernel, stride, padding, dilation, strict=True)]
    steps = (1, 1, 1) if transposed else stride
    offsets = [[o for phase in phases for _, o in phase.taps] or [0] for phases in axes]
    low = [min(o) for o in offsets]
    spans = [max(o) - min(o) + 1 for o in offsets]
    counts = [max(phase.length for phase in phases) for phases in axes]
    reach = [(c - 1) * s + span for c, s, span in zip(counts, steps, spans, strict=True)]
    copies = any(lo < 0 or lo + n > m for lo, n, m in zip(low, reach, source, strict=True))
    line = (reach if copies else source)[1:]
    line_bytes = 4 * channels * math.prod(line)

    # Blocks: several whole images, or a band of one.
    line_windows = max(1, math.prod(counts[1:]))
    images = min(
        BLOCK_BYTES // max(1, line_bytes * reach[0]),
        BLOCK_WINDOWS // (line_windows * counts[0]),
        max(-(-count // BLOCKS), ENOUGH_WINDOWS // (line_windows * max(1, counts[0]))),
        count,
    )
    images = max(1, images)
    rows = counts[0]
    if images == 1:
        rows = min(
            counts[0],
            (BLOCK_BYTES // max(1, line_bytes) - spans[0]) // steps[0] + 1,
            BLOCK_WINDOWS // line_windows,
            max(-(-counts[0] * count // BLOCKS), -(-ENOUGH_WINDOWS // line_windows)),
        )
        rows = max(1, rows)
    bands = -(-counts[0] // rows)
    height = (rows - 1) * steps[0] + spans[0]  # of the copy of a band

    # In memory, the strides of the images that are read, and of the result.
    x_strides = (math.prod(line) * channels, line[1] * channels, channels)
    x_image = (height if copies else source[0]) * x_strides[0]
    y_strides = (result[1] * result[2] * outputs, result[2] * outputs, outputs)
    y_image = result[0] * y_strides[0]
    width = 1 if depthwise else channels // groups  # numbers of a tap
    panel = 0 if depthwise else BLOCK * -(-(outputs // groups) // BLOCK) * groups

    def table(starts: Iterable[Array]) -> Array:
        a, b, c, d = starts
        sum_ = a[:, None, None, None] + b[:, None, None] + c[:, None] + d
        return np.asarray(sum_, np.int64).reshape(-1)

    places, out, segments, all_starts, all_taps, phases = [], [], [], [], [], []
    place = segment = packed = 0
    for chosen in product(*axes):
        several = np.arange(images)
        ranges = [np.arange(phase.length) for phase in chosen]
        ranges[0] = np.arange(min(rows, chosen[0].length))
        places.append(
            table(
                (
                    several * x_image,
                    *(m * s * e for m, s, e in zip(ranges, steps, x_strides, strict=True)),
                )
            )
        )
        out.append(
            table(
                (
                    several * y_image,
                    *(
                        (phase.first + m * phase.every) * e
                        for phase, m, e in zip(chosen, ranges, y_strides, strict=True)
                    ),
                )
            )
        )
        taps = [np.array(phase.taps, np.int64).reshape(-1, 2) for phase in chosen]
        which, where = ([t[:, i] for t in taps] for i in (0, 1))
        numbers = (which[0][:, None, None] * kernel[1] + which[1][:, None]) * kernel[2] + which[2]
        all_taps.append(numbers.reshape(-1))
        starts = table(
            (
                np.zeros(1, np.int64),
                *((o - lo) * e for o, lo, e in zip(where, low, x_strides, strict=True)),
            )
        )
        all_starts.append(starts)
        together = 1 if depthwise else _side_by_side(starts, width)
        segments.append(starts[::together])
        lines = math.prod(phase.length for phase in chosen[1:])
        phases.append(
            (
                place,
                lines * chosen[0].length,
                lines,
                chosen[0].length,
                segment,
                len(segments[-1]),
                together * width,
                packed,
            )
        )
        place += len(places[-1])
        segment += len(segments[-1])
        packed += len(starts) * (outputs if depthwise else width * panel)
    geometry = (
        count,
        *source,
        channels,
        int(copies),
        *(height, *reach[1:]),
        *low,
        images,
        rows,
        bands,
        steps[0],
        y_image,
        y_strides[0] * axes[0][0].every,
        groups,
        outputs,
    )
    return Windows(
        np.concatenate(places),
        np.concatenate(out),
        np.concatenate(segments),
        np.array(phases, np.int64),
        np.concatenate(all_starts),
        tuple(all_taps),
        packed,
        geometry,
        -(-count // images) * bands,
    )


# ----- blocks of images --------------------------------------------------------------------------


@inner
def _copy(x: Array, i: int, y: Array, j: int, n: int) -> None:
    """y[j : j + n] = x[i : i + n]"""
    k = 0
    while k + LANES <= n:
        store(y, j + k, load(x, i + k))
        k += LANES
    if k < n:
        store_first(y, j + k, load_first(x, i + k, n - k), n - k)


@inner
def _clear(y: Array, j: int, n: int) -> None:
    """y[j : j + n] = 0"""
    zero = splat(np.float32(0))
    k = 0
    while k + LANES <= n:
        store(y, j + k, zero)
        k += LANES
    if k < n:
        store_first(y, j + k, zero, n - k)


@inner
def _lines(
    x: Array, at: int, size: Any, channels: int, box: Any, low: Any, y: Array, to: int
) -> None:
    """A box out of the image at x[at:], from place `low` on, zero where it leaves the image."""
    width = box[2] * channels
    left = max(0, -low[2])
    start = max(0, low[2])
    inside = max(0, min(size[2], low[2] + box[2]) - start)
    right = box[2] - left - inside
    for a in range(low[0], low[0] + box[0]):
        for b in range(low[1], low[1] + box[1]):
            if a < 0 or a >= size[0] or b < 0 or b >= size[1] or inside == 0:
                _clear(y, to, width)
            else:
                source = at + ((a * size[1] + b) * size[2] + start) * channels
                _clear(y, to, left * channels)
                _copy(x, source, y, to + left * channels, inside * channels)
                _clear(y, to + (left + inside) * channels, right * channels)
            to += width


@inner
def _block(x: Array, buffer: Array, block: int, geometry: Any) -> Any:
    """(where the windows of a block begin, how many images, its first row)

    The places count from there, in `buffer` where the geometry copies, and else in x.
    """
    count, A, B, W, C, copies, bA, bB, bW, lA, lB, lW, images, rows, bands, step = geometry[:16]
    image = A * B * W * C
    n = block // bands * images
    row = block % bands * rows
    several = min(images, count - n)
    first = row * step + lA
    if copies == 0:
        return n * image + ((first * B + lB) * W + lW) * C, several, row
    for i in range(several):
        _lines(
            x,
            (n + i) * image,
            (A, B, W),
            C,
            (bA, bB, bW),
            (first, lB, lW),
            buffer,
            i * bA * bB * bW * C,
        )
    return 0, several, row


@inner
def _buffer(geometry: Any) -> Array:
    """Of the size of a block, beginning on a line of the cache."""
    _, _, _, _, C, copies, bA, bB, bW, _, _, _, images = geometry[:13]
    size = copies * images * bA * bB * bW * C
    memory = np.empty(size + 16, np.float32)
    return memory[(-memory.ctypes.data // 4) % 16 :][:size]


@inner
def _in_block(phase: Array, several: int, row: int, geometry: Any) -> int:
    """How many windows of a phase a block has, as many as its table or fewer."""
    rows, bands = geometry[13], geometry[14]
    if bands == 1:
        return several * phase[1]
    return max(0, min(rows, phase[3] - row)) * phase[2]


# ----- the image, and the result -----------------------------------------------------------------


@kernel
def _convolve(
    x: Array,
    w: Array,
    bias: Array,
    y: Array,
    places: Array,
    out: Array,
    segments: Array,
    phases: Array,
    geometry: Any,
    first: int,
    last: int,
    start: int,
    stop: int,
) -> None:
    """y = x * w + bias on the blocks first, ..., last - 1, with w (panels, taps, BLOCK).

    A panel is BLOCK output channels of a group; those from `start` to `stop` are computed.
    """
    y_image, y_row, groups, outputs = geometry[16:20]
    images, bands = geometry[12], geometry[14]
    own, inputs = outputs // groups, geometry[4] // groups
    panels = (own + BLOCK - 1) // BLOCK
    buffer = _buffer(geometry)
    copied = buffer if geometry[5] else x
    for block in range(first, last):
        begin, several, row = _block(x, buffer, block, geometry)
        target = block // bands * images * y_image + row * y_row
        for f in range(len(phases)):
            place, _, _, _, s, S, K, packed = phases[f]
            P = _in_block(phases[f], several, row, geometry)
            for panel in range(start, stop):
                group = panel // panels
                j = panel % panels * BLOCK
                n = min(BLOCK, own - j)
                a = begin + group * inputs
                b = packed + panel * S * K * BLOCK
                o = panel * BLOCK
                c = target + group * own + j
                p = 0
                while p < P:
                    if P < ROWS:
                        _window(
                            copied,
                            a,
                            places,
                            place + p,
                            segments,
                            s,
                            S,
                            K,
                            w,
                            b,
                            BLOCK,
                            bias,
                            o,
                            y,
                            c,
                            out,
                            n,
                        )
                        p += 1
                        continue
                    at = place + min(p, P - ROWS)
                    if n <= LANES:
                        _narrow(
                            copied,
                            a,
                            places,
                            at,
                            segments,
                            s,
                            S,
                            K,
                            w,
                            b,
                            BLOCK,
                            bias,
                            o,
                            y,
                            c,
                            out,
                            n,
                        )
                    else:
                        _windows(
                            copied,
                            a,
                            places,
                            at,
                            segments,
                            s,
                            S,
                            K,
                            w,
                            b,
                            BLOCK,
                            bias,
                            o,
                            y,
                            c,
                            out,
                            n,
                        )
                    p += ROWS


@kernel
def _convolve_each(
    x: Array,
    w: Array,
    bias: Array,
    y: Array,
    places: Array,
    out: Array,
    segments: Array,
    phases: Array,
    geometry: Any,
    first: int,
    last: int,
) -> None:
    """The same where each channel has its own kernel: w (taps, C)."""
    y_image, y_row = geometry[16:18]
    images, bands, C = geometry[12], geometry[14], geometry[4]
    buffer = _buffer(geometry)
    copied = buffer if geometry[5] else x
    for block in range(first, last):
        begin, several, row = _block(x, buffer, block, geometry)
        target = block // bands * images * y_image + row * y_row
        for f in range(len(phases)):
            place, _, _, _, s, S, _, packed = phases[f]
            P = _in_block(phases[f], several, row, geometry)
            p = 0
            while p < P:
                at = place + (min(p, P - ROWS) if P >= ROWS else p)
                c = 0
                while c < C:
                    a, b, o = begin + c, packed + c, target + c
                    if P < ROWS:
                        _deep_window(
                            copied,
                            a,
                            places,
                            at,
                            segments,
                            s,
                            S,
                            1,
                            w,
                            b,
                            C,
                            bias,
                            c,
                            y,
                            o,
                            out,
                            C - c,
                        )
                    elif c + BLOCK <= C:
                        _deep_pairs(
                            copied,
                            a,
                            places,
                            at,
                            segments,
                            s,
                            S,
                            1,
                            w,
                            b,
                            C,
                            bias,
                            c,
                            y,
                            o,
                            out,
                            BLOCK,
                        )
                        c += LANES
                    else:
                        _deep_windows(
                            copied,
                            a,
                            places,
                            at,
                            segments,
                            s,
                            S,
                            1,
                            w,
                            b,
                            C,
                            bias,
                            c,
                            y,
                            o,
                            out,
                            C - c,
                        )
                    c += LANES
                p += ROWS if P >= ROWS else 1


@kernel
def _pack(
    w: Array,
    taps: Array,
    packed: Array,
    to: int,
    groups: int,
    own: int,
    inputs: int,
    per_group: int,
    per_output: int,
    per_input: int,
    width: int,
) -> None:
    """Weights as the tiles read them: packed (G, blocks of outputs, taps, inputs, BLOCK).

    w is read at group·per_group + output·per_output + input·per_input + tap; `width` is BLOCK.
    """
    for group in range(groups):
        for j in range(0, own, width):
            n = min(width, own - j)
            for t in range(len(taps)):
                for i in range(inputs):
                    at = group * per_group + j * per_output + i * per_input + taps[t]
                    for k in range(n):
                        packed[to + k] = w[at + k * per_output]
                    for k in range(n, width):
                        packed[to + k] = np.float32(0)
                    to += width


def _run(
    x: Array,
    w: Array,
    bias: Array | None,
    windows: Windows,
    result: tuple[int, ...],
    groups: int,
    outputs: int,
    transposed: bool,
) -> Array:
    """x (N, C, *S) with weights w (O, C/groups, *K) -> (N, *result, outputs) as a view NCHW."""
    rows = channels_last(x)
    w = np.ascontiguousarray(w)
    o, c, *kernel = w.shape
    K = math.prod(kernel)
    flat = w.reshape(-1)
    packed = np.empty(windows.packed, np.float32)
    depthwise = _is_depthwise(w, groups)
    for taps, to in zip(windows.taps, windows.phases[:, 7].tolist(), strict=True):
        if depthwise:
            _pack(flat, taps, packed, to, 1, o, 1, 0, K, 0, o)
        elif transposed:
            _pack(
                flat, taps, packed, to, groups, c, o // groups, o // groups * c * K, K, c * K, BLOCK
            )
        else:
            _pack(
                flat, taps, packed, to, groups, o // groups, c, o // groups * c * K, c * K, K, BLOCK
            )
    starts = _padded_bias(bias, outputs, groups, depthwise)
    y = np.empty((len(x), *result, outputs), np.float32)
    tables = windows.places, windows.out, windows.segments, windows.phases, windows.geometry
    arrays = rows.reshape(-1), packed, starts, y.reshape(-1)
    products = y.size // max(1, outputs) * windows.packed // len(windows.phases)
    if depthwise:
        parallel(
            lambda part: _convolve_each(*arrays, *tables, part.start, part.stop),
            by_products(windows.blocks, products * 4),
        )
        return channels_first(y)
    # Parts are blocks of images; where those are few, of output channels as well.
    along = by_products(windows.blocks, products)
    across = by_products(
        len(starts) // BLOCK, products // len(along), max(1, MOST_PARTS // len(along) // 2)
    )
    in_parts(
        lambda part, panels: _convolve(
            *arrays, *tables, part.start, part.stop, panels.start, panels.stop
        ),
        along,
        across,
    )
    return channels_first(y)


def in_parts(work: Callable[[slice, slice], Any], along: list[slice], across: list[slice]) -> None:
    """`work` on each of `along` with each of `across`, over the threads."""
    pairs = list(product(along, across))
    parallel(lambda job: work(*pairs[job.start]), split(len(pairs), len(pairs)))


def _is_depthwise(w: Array, groups: int) -> bool:
    return groups > 1 and w.shape[:2] == (groups, 1)


def _padded_bias(bias: Array | None, outputs: int, groups: int, depthwise: bool) -> Array:
    """Where the sums start: (groups, blocks of outputs, BLOCK)."""
    if depthwise:
        return np.zeros(outputs, np.float32) if bias is None else np.ascontiguousarray(bias)
    own = outputs // groups
    starts = np.zeros((groups, -(-own // BLOCK) * BLOCK), np.float32)
    if bias is not None:
        starts[:, :own] = bias.reshape(groups, own)
    return starts.reshape(-1)


def conv(
    x: Array,
    w: Array,
    bias: Array | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> Array:
    """See `Backend.conv`."""
    if winograd.suits(x.shape, w.shape, stride, padding, dilation, groups):
        y = winograd.conv(x, w, bias, padding)
        if y is not None:
            return y
    size, kernel, o = x.shape[2:], w.shape[2:], w.shape[0]
    result = output_size(size, kernel, stride, padding, dilation)
    windows = windows_of(
        len(x),
        size,
        result,
        kernel,
        tuple(stride),
        tuple(padding),
        tuple(dilation),
        groups,
        x.shape[1],
        o,
        False,
        _is_depthwise(w, groups),
    )
    return _run(x, w, bias, windows, result, groups, o, False)


def conv_transpose(
    x: Array,
    w: Array,
    size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> Array:
    """See `Backend.conv_transpose`."""
    result, outputs = tuple(size), w.shape[1] * groups
    if winograd.suits((len(x), outputs, *size), w.shape, stride, padding, dilation, groups):
        y = winograd.conv_transpose(x, w, padding)
        if y is not None:
            return y
    windows = windows_of(
        len(x),
        x.shape[2:],
        result,
        w.shape[2:],
        tuple(stride),
        tuple(padding),
        tuple(dilation),
        groups,
        x.shape[1],
        outputs,
        True,
        _is_depthwise(w, groups),
    )
    return _run(x, w, None, windows, result, groups, outputs, True)


# ----- the weight --------------------------------------------------------------------------------


@kernel
def _weigh(
    x: Array,
    g: Array,
    dw: Array,
    places: Array,
    taps: Array,
    phases: Array,
    geometry: Any,
    first: int,
    last: int,
    start: int,
    stop: int,
) -> None:
    """dw (panels, taps, BLOCK) += windowsᵀ @ g on the blocks first, ..., last - 1.

    `taps` counts each input channel of a tap, and is filled up to a multiple of ROWS; a panel is
    BLOCK output channels of a group, and those are summed from `start` to `stop`.
    """
    y_image, y_row, groups, outputs = geometry[16:20]
    images, bands = geometry[12], geometry[14]
    own, inputs = outputs // groups, geometry[4] // groups
    panels = (own + BLOCK - 1) // BLOCK
    buffer = _buffer(geometry)
    copied = buffer if geometry[5] else x
    maps = np.empty(len(places) * BLOCK, np.float32)
    for block in range(first, last):
        begin, several, row = _block(x, buffer, block, geometry)
        P = _in_block(phases[0], several, row, geometry)
        source = block // bands * images * y_image + row * y_row
        for panel in range(start, stop):
            group = panel // panels
            j = panel % panels * BLOCK
            n = min(BLOCK, own - j)
            low = min(n, LANES)
            for p in range(P):
                at = source + p * outputs + group * own + j
                store(maps, p * BLOCK, load_first(g, at, low))
                if n > LANES:
                    store(maps, p * BLOCK + LANES, load_first(g, at + LANES, n - LANES))
            a, c = begin + group * inputs, (panel - start) * len(taps) * BLOCK
            for t in range(0, len(taps), ROWS):
                if n <= LANES:
                    _narrow_taps(
                        copied,
                        a,
                        places,
                        P,
                        taps,
                        t,
                        maps,
                        0,
                        BLOCK,
                        dw,
                        c + t * BLOCK,
                        BLOCK,
                        BLOCK,
                    )
                else:
                    _taps(
                        copied,
                        a,
                        places,
                        P,
                        taps,
                        t,
                        maps,
                        0,
                        BLOCK,
                        dw,
                        c + t * BLOCK,
                        BLOCK,
                        BLOCK,
                    )


@kernel
def _weigh_each(
    x: Array,
    g: Array,
    dw: Array,
    places: Array,
    taps: Array,
    phases: Array,
    geometry: Any,
    first: int,
    last: int,
) -> None:
    """The same where each channel has its own kernel: dw (taps, C)."""
    y_image, y_row = geometry[16:18]
    images, bands, C = geometry[12], geometry[14], geometry[4]
    buffer = _buffer(geometry)
    copied = buffer if geometry[5] else x
    for block in range(first, last):
        begin, several, row = _block(x, buffer, block, geometry)
        P = _in_block(phases[0], several, row, geometry)
        source = block // bands * images * y_image + row * y_row
        for c in range(0, C, LANES):
            if len(taps) == 3:
                _few_deep_taps(
                    copied, begin + c, places, P, taps, 0, g, source + c, C, dw, c, C, C - c
                )
            else:
                for t in range(0, len(taps), DEEP):
                    _deep_taps(
                        copied,
                        begin + c,
                        places,
                        P,
                        taps,
                        t,
                        g,
                        source + c,
                        C,
                        dw,
                        t * C + c,
                        C,
                        C - c,
                    )


@kernel
def _unpack(
    dw: Array,
    out: Array,
    parts: int,
    part_size: int,
    stride: int,
    own: int,
    inputs: int,
    taps: int,
    first: int,
    panels: int,
) -> None:
    """The sum over parts of dw (panels, taps · inputs, BLOCK), as (outputs, inputs, taps)."""
    for panel in range(panels):
        group = (first + panel) // stride
        j = (first + panel) % stride * BLOCK
        for k in range(min(BLOCK, own - j)):
            to = (group * own + j + k) * inputs * taps
            for i in range(inputs):
                for t in range(taps):
                    at = (panel * part_size + t * inputs + i) * BLOCK + k
                    total = dw[at]
                    for part in range(1, parts):
                        total += dw[part * panels * part_size * BLOCK + at]
                    out[to + i * taps + t] = total


@lru_cache(maxsize=512)
def _tap_table(starts: tuple[int, ...], width: int, multiple: int) -> Array:
    table = (np.array(starts, np.int64)[:, None] + np.arange(width)).reshape(-1)
    return np.concatenate([table, np.zeros(-len(table) % multiple, np.int64)])


def conv_weight(
    x: Array,
    g: Array,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> Array:
    """See `Backend.conv_weight`."""
    channels, outputs = x.shape[1], g.shape[1]
    w_shape = (outputs, channels // groups, *kernel)
    if winograd.suits(x.shape, w_shape, stride, padding, dilation, groups, channels=16):
        dw = winograd.conv_weight(x, g, padding)
        if dw is not None:
            return dw
    depthwise = groups == channels == outputs > 1
    windows = windows_of(
        len(x),
        x.shape[2:],
        g.shape[2:],
        tuple(kernel),
        tuple(stride),
        tuple(padding),
        tuple(dilation),
        groups,
        channels,
        outputs,
        False,
        depthwise,
    )
    K, inputs = math.prod(kernel), channels // groups
    rows, maps = channels_last(x).reshape(-1), channels_last(g).reshape(-1)
    multiple = (3 if K <= 3 else DEEP) if depthwise else ROWS
    taps = _tap_table(tuple(windows.starts.tolist()), inputs, multiple)
    tables = windows.places, taps, windows.phases, windows.geometry
    products = math.prod(g.shape) * K * inputs
    result = np.empty((outputs, inputs, *kernel), np.float32)
    if depthwise:
        parts = by_products(windows.blocks, products * 4, SUMS)
        sums = np.zeros((len(parts), len(taps), channels), np.float32)

        def weigh(job: slice) -> None:
            i = job.start
            part = sums[i].reshape(-1)
            _weigh_each(rows, maps, part, *tables, parts[i].start, parts[i].stop)

        parallel(weigh, split(len(parts), len(parts)))
        result.reshape(channels, K)[...] = sum(sums[1:], sums[0])[:K].T
        return result
    # Panels of output channels are summed apart; where those are few, parts of the batch as well.
    panels = -(-(outputs // groups) // BLOCK)
    across = by_products(panels if groups == 1 else 1, products)
    if groups > 1:
        across = [slice(0, panels * groups)]
    along = by_products(windows.blocks, products // len(across), max(1, SUMS // len(across)))
    shares = [
        np.zeros((len(along), (these.stop - these.start) * len(taps) * BLOCK), np.float32)
        for these in across
    ]

    in_parts(
        lambda i, j: _weigh(
            rows,
            maps,
            shares[i.start][j.start],
            *tables,
            along[j.start].start,
            along[j.start].stop,
            across[i.start].start,
            across[i.start].stop,
        ),
        split(len(across), len(across)),
        split(len(along), len(along)),
    )
    for these, share in zip(across, shares, strict=True):
        _unpack(
            share.reshape(-1),
            result.reshape(-1),
            len(along),
            len(taps),
            panels,
            outputs // groups,
            inputs,
            K,
            these.start,
            these.stop - these.start,
        )
    return result
