"""Our CUDA kernels as data: a source for the card, and beside it the same sum in NumPy.

CuPy compiles the sources. The references need NumPy alone: they say what a kernel computes, and
they are what runs where there is no card. A reference takes the arguments of its kernel in their
order, as NumPy arrays and numbers, and writes into the output arrays.

No kernel adds with atomics, and every element of a result is one thread's work: the same arguments
give the same bits, whatever the launch.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
Ints = Sequence[int]

TYPES = {
    "float32": ("float", "log(0.0f)", "double"),
    "float64": ("double", "log(0.0)", "double"),
    "int32": ("int", "(-2147483647 - 1)", "int"),
    "int64": ("long long", "(-9223372036854775807LL - 1)", "long long"),
    "uint8": ("unsigned char", "0", "unsigned char"),
}
"""For each dtype its name in C, its lowest value, and what its numbers are added up in. The names
for infinity are in headers that a card's compiler may not find; the logarithm of 0 is -infinity
everywhere."""

FLOATS = ("float32", "float64")


@dataclass(frozen=True)
class Elementwise:
    """A formula for each element of arrays that broadcast: `cupy.ElementwiseKernel`.

    `inputs` and `outputs` declare the parameters as CuPy reads them, with T and S for dtypes;
    `body` is C++ on one element of each. An output may be read: it holds what it held before.
    `reference(*inputs, *outputs)` writes into the outputs.
    """

    name: str
    inputs: str
    outputs: str
    body: str
    reference: Callable[..., None]


@dataclass(frozen=True)
class Reduction:
    """A sum over axes of arrays that broadcast: `cupy.ReductionKernel`.

    `map` gives a term, `reduce` joins two terms a and b, starting from `identity`, and `post`
    writes the result. `reference(*inputs, axis=...)` returns the result without those axes.
    """

    name: str
    inputs: str
    outputs: str
    map: str
    reduce: str
    post: str
    identity: str
    reference: Callable[..., Array]


@dataclass(frozen=True)
class RawKernel:
    """A function of whole arrays, row-major in memory: `cupy.RawKernel(kernel.code(dtype), name)`.

    A grid of any size does: each thread takes one element, and walks on where there are more.
    """

    name: str
    source: str
    reference: Callable[..., None]
    dtypes: tuple[str, ...] = tuple(TYPES)

    def code(self, dtype: Any) -> str:
        """The source for arrays of a dtype, which it calls T; sums of them may be of the type SUM.

        TypeError for a dtype not in `dtypes`.
        """
        dtype = np.dtype(dtype).name
        if dtype not in self.dtypes:
            raise TypeError(
                f"the kernel {self.name} has no {dtype} version; it computes in "
                f"{', '.join(self.dtypes)}. Convert the array first."
            )
        name, lowest, wide = TYPES[dtype]
        head = f"typedef {name} T;\n#define LOWEST T({lowest})\n#define SUM {wide}\n"
        return f"{head}{PRELUDE}{self.source}"


PRELUDE = """
// i = 0, 1, ... count - 1, shared out among all threads of the grid.
#define FOR_EACH(i, count) \\
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (count); \\
         i += gridDim.x * (long long)blockDim.x)

// Three axes: size of the image, number of windows, taps; stride, padding, dilation.
#define GEOMETRY \\
    int S0, int S1, int S2, int O0, int O1, int O2, int K0, int K1, int K2, \\
    int s0, int s1, int s2, int p0, int p1, int p2, int d0, int d1, int d2
"""


# ----- windows on images -------------------------------------------------------------------------
# Images have three axes. Everything is numbered in row-major order: the pixels of an image, the
# windows on it, and the taps of a window, which are the places where it looks at a pixel.

WINDOWS = """
#define WINDOWS {{S0, O0, K0, s0, p0, d0}, {S1, O1, K1, s1, p1, d1}, {S2, O2, K2, s2, p2, d2}}

struct Axis {
    int size, out, kernel, stride, padding, dilation;

    // The place that tap u of window o sees; negative in the padding.
    __device__ int seen(int o, int u) const {
        const int place = o * stride - padding + u * dilation;
        return place < size ? place : -1;
    }

    // The window whose tap u sees the place; negative where there is none.
    __device__ int seeing(int place, int u) const {
        const int start = place + padding - u * dilation, o = start / stride;
        return o * stride == start && o < out ? o : -1;
    }
};

struct Place {  // in an array (planes, n0, n1, n2)
    long long plane;
    int i, j, k;
};

__device__ inline Place place(long long number, int n0, int n1, int n2) {
    const long long row = number / n2, sheet = row / n1, plane = sheet / n0;
    return {plane, int(sheet - plane * n0), int(row - sheet * n1), int(number - row * n2)};
}

// The number of an element in its plane; -1 where one of the three is negative.
__device__ inline long long number(int i, int j, int k, int n1, int n2) {
    return i < 0 || j < 0 || k < 0 ? -1 : (i * (long long)n1 + j) * n2 + k;
}

struct Tap {
    int number, i, j, k;
};

// The taps of a window of w, in row-major order.
#define FOR_TAPS(u, w)                                                    \\
    for (Tap u = {0, 0, 0, 0}; u.i < w.a.kernel; ++u.i, u.j = 0)          \\
        for (; u.j < w.b.kernel; ++u.j, u.k = 0)                          \\
            for (; u.k < w.c.kernel; ++u.k, ++u.number)

struct Windows {
    Axis a, b, c;

    __device__ long long pixels() const { return (long long)a.size * b.size * c.size; }
    __device__ long long windows() const { return (long long)a.out * b.out * c.out; }
    __device__ int taps() const { return a.kernel * b.kernel * c.kernel; }

    __device__ Place pixel(long long i) const { return place(i, a.size, b.size, c.size); }
    __device__ Place window(long long i) const { return place(i, a.out, b.out, c.out); }
    __device__ Tap tap(int i) const {
        const Place u = place(i, a.kernel, b.kernel, c.kernel);
        return {i, u.i, u.j, u.k};
    }

    // The number of the pixel that tap u of window o sees; -1 in the padding.
    __device__ long long seen(const Place& o, const Tap& u) const {
        return number(a.seen(o.i, u.i), b.seen(o.j, u.j), c.seen(o.k, u.k), b.size, c.size);
    }

    // The number of the window whose tap u sees the pixel; -1 where there is none.
    __device__ long long seeing(const Place& x, const Tap& u) const {
        return number(a.seeing(x.i, u.i), b.seeing(x.j, u.j), c.seeing(x.k, u.k), b.out, c.out);
    }
};
"""


def geometry(
    size: Ints, out: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> tuple[int, ...]:
    """The 18 numbers at the end of a kernel's arguments, for one to three axes.

    Fewer than three axes follow axes on which one window of one tap sees one pixel.
    """
    if not 1 <= len(size) <= 3:
        raise ValueError(f"the GPU kernels take images with 1 to 3 axes; got size {tuple(size)}.")
    missing = 3 - len(size)
    given = ((size, 1), (out, 1), (kernel, 1), (stride, 1), (padding, 0), (dilation, 1))
    return tuple(int(n) for numbers, neutral in given for n in (*(neutral,) * missing, *numbers))


@dataclass(frozen=True)
class _Windows:
    """The 18 numbers, as the references use them."""

    size: Ints
    out: Ints
    kernel: Ints
    stride: Ints
    padding: Ints
    dilation: Ints

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    def walk(self) -> Iterator[tuple[int, tuple[Any, ...], tuple[Any, ...]]]:
        """For each tap its number, the windows in which it sees a pixel, and those pixels."""
        for number, tap in enumerate(itertools.product(*map(range, self.kernel))):
            windows, pixels = [], []
            for u, size, out, s, p, d in zip(
                tap, self.size, self.out, self.stride, self.padding, self.dilation, strict=True
            ):
                shift = u * d - p  # window o sees the pixel o·s + shift
                first = max(0, math.ceil(-shift / s))
                count = max(0, min(out, (size - 1 - shift) // s + 1) - first)
                start = first * s + shift
                windows.append(slice(first, first + count))
                pixels.append(slice(start, start + count * s, s) if count else slice(0))
            yield number, (..., *windows), (..., *pixels)


def _windows(numbers: Ints) -> _Windows:
    return _Windows(*(numbers[i : i + 3] for i in range(0, 18, 3)))


def _shaped(array: Array, *shape: int) -> Array:
    """A view of that shape; a kernel sees no more of an array than its memory."""
    if not array.flags.c_contiguous:
        raise ValueError(
            f"a raw kernel got an array of shape {array.shape} with strides {array.strides}; it "
            "reads memory in row-major order. Make it contiguous first."
        )
    return array.reshape(shape)


def _im2col(x: Array, columns: Array, count: int, channels: int, *numbers: int) -> None:
    w = _windows(numbers)
    x = _shaped(x, count, channels, *w.size)
    columns = _shaped(columns, channels, w.taps, count, *w.out)
    columns[...] = 0
    for tap, windows, pixels in w.walk():
        columns[:, tap][windows] = x[pixels].swapaxes(0, 1)


IM2COL = RawKernel(
    "im2col",
    WINDOWS
    + """
// What each tap of each window sees, 0 in the padding:
// x (count, channels, *S) -> columns (channels, *K, count, *O).
extern "C" __global__ void im2col(const T* x, T* columns, int count, int channels, GEOMETRY) {
    const Windows w = WINDOWS;
    const long long each = count * w.windows();  // what one tap sees in one channel
    FOR_EACH(i, channels * each) {
        const Place o = w.window(i);
        const long long channel = o.plane / count, image = o.plane % count;
        const T* pixels = x + (image * channels + channel) * w.pixels();
        T* seen = columns + channel * w.taps() * each + i % each;
        FOR_TAPS(u, w) {
            const long long pixel = w.seen(o, u);
            seen[u.number * each] = pixel < 0 ? T(0) : pixels[pixel];
        }
    }
}
""",
    _im2col,
)


def _col2im(columns: Array, x: Array, count: int, channels: int, *numbers: int) -> None:
    w = _windows(numbers)
    columns = _shaped(columns, channels, w.taps, count, *w.out)
    x = _shaped(x, count, channels, *w.size)
    x[...] = 0
    for tap, windows, pixels in w.walk():
        x[pixels] += columns[:, tap][windows].swapaxes(0, 1)


COL2IM = RawKernel(
    "col2im",
    WINDOWS
    + """
// The adjoint of im2col: each pixel sums up where it was seen,
// columns (channels, *K, count, *O) -> x (count, channels, *S).
extern "C" __global__ void col2im(const T* columns, T* x, int count, int channels, GEOMETRY) {
    const Windows w = WINDOWS;
    const long long each = count * w.windows();
    FOR_EACH(i, (long long)count * channels * w.pixels()) {
        const Place pixel = w.pixel(i);
        const long long image = pixel.plane / channels, channel = pixel.plane % channels;
        const T* seen = columns + channel * w.taps() * each + image * w.windows();
        T total = 0;
        FOR_TAPS(u, w) {
            const long long o = w.seeing(pixel, u);
            if (o >= 0) total += seen[u.number * each + o];
        }
        x[i] = total;
    }
}
""",
    _col2im,
)


def _max_pool(x: Array, y: Array, index: Array, planes: int, *numbers: int) -> None:
    w = _windows(numbers)
    x = _shaped(x, planes, *w.size)
    y, index = _shaped(y, planes, *w.out), _shaped(index, planes, *w.out)
    y[...] = -np.inf if y.dtype.kind == "f" else np.iinfo(y.dtype).min
    index[...] = -1
    for tap, windows, pixels in w.walk():
        best, seen = y[windows], x[pixels]
        better = (index[windows] < 0) | ((best == best) & ~(seen <= best))
        best[better], index[windows][better] = seen[better], tap
    index[index < 0] = 0


MAX_POOL = RawKernel(
    "max_pool",
    WINDOWS
    + """
// The maximum of each window and the number of the tap that sees it: the first of equal ones, and
// NaN before all numbers. x (planes, *S) -> y, index (planes, *O). A window in the padding has
// none, and gives LOWEST and 0.
extern "C" __global__ void max_pool(const T* x, T* y, int* index, int planes, GEOMETRY) {
    const Windows w = WINDOWS;
    FOR_EACH(i, planes * w.windows()) {
        const Place o = w.window(i);
        const T* pixels = x + o.plane * w.pixels();
        T best = LOWEST;
        int where = -1;
        FOR_TAPS(u, w) {
            const long long pixel = w.seen(o, u);
            if (pixel < 0) continue;
            // NaN equals nothing and is not less than anything.
            if (where < 0 || (best == best && !(pixels[pixel] <= best))) {
                best = pixels[pixel];
                where = u.number;
            }
        }
        y[i] = best;
        index[i] = where < 0 ? 0 : where;
    }
}
""",
    _max_pool,
)


def _window_scatter(g: Array, index: Array, x: Array, planes: int, *numbers: int) -> None:
    w = _windows(numbers)
    g, index = _shaped(g, planes, *w.out), _shaped(index, planes, *w.out)
    x = _shaped(x, planes, *w.size)
    x[...] = 0
    for tap, windows, pixels in w.walk():
        x[pixels] += np.where(index[windows] == tap, g[windows], g.dtype.type(0))


WINDOW_SCATTER = RawKernel(
    "window_scatter",
    WINDOWS
    + """
// Each pixel sums up the g of the windows whose indexed tap sees it:
// g, index (planes, *O) -> x (planes, *S).
extern "C" __global__ void window_scatter(
        const T* g, const int* index, T* x, int planes, GEOMETRY) {
    const Windows w = WINDOWS;
    FOR_EACH(i, planes * w.pixels()) {
        const Place pixel = w.pixel(i);
        T total = 0;
        FOR_TAPS(u, w) {
            const long long o = w.seeing(pixel, u), window = pixel.plane * w.windows() + o;
            if (o >= 0 && index[window] == u.number) total += g[window];
        }
        x[i] = total;
    }
}
""",
    _window_scatter,
)


def _window_gather(x: Array, index: Array, y: Array, planes: int, *numbers: int) -> None:
    w = _windows(numbers)
    x = _shaped(x, planes, *w.size)
    index, y = _shaped(index, planes, *w.out), _shaped(y, planes, *w.out)
    y[...] = 0
    for tap, windows, pixels in w.walk():
        np.copyto(y[windows], x[pixels], where=index[windows] == tap)


WINDOW_GATHER = RawKernel(
    "window_gather",
    WINDOWS
    + """
// The adjoint of window_scatter: what the indexed tap of each window sees, 0 in the padding.
// x (planes, *S), index (planes, *O) -> y (planes, *O).
extern "C" __global__ void window_gather(
        const T* x, const int* index, T* y, int planes, GEOMETRY) {
    const Windows w = WINDOWS;
    FOR_EACH(i, planes * w.windows()) {
        const Place o = w.window(i);
        const long long pixel = w.seen(o, w.tap(index[i]));
        y[i] = pixel < 0 ? T(0) : x[o.plane * w.pixels() + pixel];
    }
}
""",
    _window_gather,
)


def _window_sum(x: Array, y: Array, planes: int, divisor: int, *numbers: int) -> None:
    w = _windows(numbers)
    x, y = _shaped(x, planes, *w.size), _shaped(y, planes, *w.out)
    total = _sums(y)
    for _, windows, pixels in w.walk():
        total[windows] += x[pixels]
    y[...] = _shares(total, divisor)


def _sums(y: Array) -> Array:
    """Zeros to add up what is to go into y."""
    return np.zeros(y.shape, np.float64 if y.dtype.kind == "f" else y.dtype)


def _shares(total: Array, divisor: int) -> Array:
    return total / divisor if total.dtype.kind == "f" else total // divisor


WINDOW_SUM = RawKernel(
    "window_sum",
    WINDOWS
    + """
// The sum of what each window sees, over a divisor: x (planes, *S) -> y (planes, *O).
extern "C" __global__ void window_sum(const T* x, T* y, int planes, int divisor, GEOMETRY) {
    const Windows w = WINDOWS;
    FOR_EACH(i, planes * w.windows()) {
        const Place o = w.window(i);
        const T* pixels = x + o.plane * w.pixels();
        SUM total = 0;
        FOR_TAPS(u, w) {
            const long long pixel = w.seen(o, u);
            if (pixel >= 0) total += pixels[pixel];
        }
        y[i] = T(total / divisor);
    }
}
""",
    _window_sum,
)


def _window_spread(g: Array, x: Array, planes: int, divisor: int, *numbers: int) -> None:
    w = _windows(numbers)
    g, x = _shaped(g, planes, *w.out), _shaped(x, planes, *w.size)
    total = _sums(x)
    for _, windows, pixels in w.walk():
        total[pixels] += g[windows]
    x[...] = _shares(total, divisor)


WINDOW_SPREAD = RawKernel(
    "window_spread",
    WINDOWS
    + """
// The adjoint of window_sum: each pixel sums up the g of the windows that see it, over a divisor.
// g (planes, *O) -> x (planes, *S).
extern "C" __global__ void window_spread(const T* g, T* x, int planes, int divisor, GEOMETRY) {
    const Windows w = WINDOWS;
    FOR_EACH(i, planes * w.pixels()) {
        const Place pixel = w.pixel(i);
        SUM total = 0;
        FOR_TAPS(u, w) {
            const long long o = w.seeing(pixel, u);
            if (o >= 0) total += g[pixel.plane * w.windows() + o];
        }
        x[i] = T(total / divisor);
    }
}
""",
    _window_spread,
)


# ----- random numbers ----------------------------------------------------------------------------
# Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
# (2011). It has no state: it mixes a counter under a key, ten rounds long, to 128 random bits. So
# element i is a function of i and the key alone.

PHILOX = """
struct Words {
    unsigned int w[4];
};

__device__ inline Words philox(Words c, unsigned int k0, unsigned int k1) {
    for (int round = 0; round < 10; ++round) {
        const unsigned long long a = 0xD2511F53ULL * c.w[0], b = 0xCD9E8D57ULL * c.w[2];
        c = {{(unsigned int)(b >> 32) ^ c.w[1] ^ k0, (unsigned int)b,
              (unsigned int)(a >> 32) ^ c.w[3] ^ k1, (unsigned int)a}};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

// Number i of [0, 1): the upper 24 bits of word i, or the upper 53 of words 2i and 2i + 1. The
// words are those of counters 0, 1, 2, ..., four from each.
__device__ inline T unit(unsigned long long key, long long i) {
    const int each = 16 / sizeof(T), place = i % each;
    const long long block = i / each;
    const Words c = {{(unsigned int)block, (unsigned int)(block >> 32), 0, 0}};
    const Words r = philox(c, (unsigned int)key, (unsigned int)(key >> 32));
    if (sizeof(T) == 4) return (r.w[place] >> 8) * T(1.0 / (1 << 24));
    const unsigned long long high = r.w[2 * place % 4], low = r.w[(2 * place + 1) % 4];
    return ((high << 32 | low) >> 11) * T(1.0 / (1LL << 53));
}
"""

LOW32 = np.uint64(0xFFFFFFFF)


def philox(counter: Array, key: tuple[int, int]) -> Array:
    """Random words (..., 4) for counters (..., 4) and the two words of a key, all uint64 < 2³²."""
    a, b, c, d = (np.asarray(counter, np.uint64)[..., i] for i in range(4))
    half = np.uint64(32)
    for i in range(10):
        k0, k1 = (
            np.uint64((k + i * step) % (1 << 32))
            for k, step in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True)
        )
        first, second = np.uint64(0xD2511F53) * a, np.uint64(0xCD9E8D57) * c
        a, b = (second >> half) ^ b ^ k0, second & LOW32
        c, d = (first >> half) ^ d ^ k1, first & LOW32
    return np.stack((a, b, c, d), axis=-1)


def _unit(count: int, key: int, dtype: Any) -> Array:
    """The first numbers of [0, 1) under a key, as `unit` of the kernels makes them."""
    words = 1 if dtype == np.float32 else 2
    blocks = np.arange(math.ceil(count * words / 4), dtype=np.uint64)
    zero = np.zeros_like(blocks)
    counter = np.stack((blocks & LOW32, blocks >> np.uint64(32), zero, zero), axis=-1)
    stream = philox(counter, (int(key) & 0xFFFFFFFF, int(key) >> 32)).reshape(-1, words)[:count]
    if words == 1:
        return (stream[:, 0] >> np.uint64(8)).astype(dtype) * dtype.type(2.0**-24)
    joined = stream[:, 0] << np.uint64(32) | stream[:, 1]
    return (joined >> np.uint64(11)).astype(dtype) * dtype.type(2.0**-53)


def _uniform(y: Array, count: int, key: int) -> None:
    _shaped(y, y.size)[:count] = _unit(int(count), key, y.dtype)


UNIFORM = RawKernel(
    "uniform",
    PHILOX
    + """
// Numbers from [0, 1).
extern "C" __global__ void uniform(T* y, long long count, unsigned long long key) {
    FOR_EACH(i, count) y[i] = unit(key, i);
}
""",
    _uniform,
    FLOATS,
)


def _normal(y: Array, count: int, key: int) -> None:
    count, pairs = int(count), math.ceil(int(count) / 2)
    u, v = _unit(2 * pairs, key, y.dtype).reshape(-1, 2).T
    radius = np.sqrt(-2 * np.log(1 - u))
    angle = y.dtype.type(2 * math.pi) * v
    both = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=-1)
    _shaped(y, y.size)[:count] = both.reshape(-1)[:count]


NORMAL = RawKernel(
    "normal",
    PHILOX
    + """
// Standard normal numbers, two from two (Box and Muller, 1958): elements 2j and 2j + 1 are the
// coordinates of a random point in the plane, made from numbers 2j and 2j + 1 of [0, 1).
extern "C" __global__ void normal(T* y, long long count, unsigned long long key) {
    FOR_EACH(i, count) {
        const T u = 1 - unit(key, i - i % 2), v = unit(key, i - i % 2 + 1);  // u > 0
        const T radius = sqrt(-2 * log(u)), angle = T(6.283185307179586) * v;
        y[i] = radius * (i % 2 ? sin(angle) : cos(angle));
    }
}
""",
    _normal,
    FLOATS,
)


# ----- elementwise -------------------------------------------------------------------------------


def _pick_label(log_p: Array, label: Array, classes: int, loss: Array) -> None:
    known = (label >= 0) & (label < classes)
    rows = log_p.reshape(-1, classes)
    picked = rows[np.arange(len(rows)), np.where(known, label, 0)]
    loss[...] = np.where(known, -picked, np.nan)


PICK_LABEL = Elementwise(
    "pick_label",
    "raw T log_p, S label, int64 classes",
    "T loss",
    """
    const long long k = label;
    loss = k >= 0 && k < classes ? T(-log_p[i * classes + k]) : T(nan(""))
    """,
    _pick_label,
)
"""-log_p[row, label] for each row of log_p (N, classes); NaN where there is no such label."""


def _cross_entropy_backward(
    g: Array, log_p: Array, label: Array, column: Array, classes: int, x: Array
) -> None:
    known = (label >= 0) & (label < classes)
    share = np.where(column == label, np.expm1(log_p), np.exp(log_p))
    x[...] = np.where(known, g * share, np.nan)


CROSS_ENTROPY_BACKWARD = Elementwise(
    "cross_entropy_backward",
    "T g, T log_p, S label, S column, int64 classes",
    "T x",
    """
    const long long k = label;
    const T share = column == label ? T(expm1(log_p)) : T(exp(log_p));
    x = k >= 0 && k < classes ? T(g * share) : T(nan(""))
    """,
    _cross_entropy_backward,
)
"""g·(softmax - one_hot(label)), with p - 1 as expm1(log p); NaN where there is no such label."""


# Statistics of batch norm are float64, and so is what is computed with them, until it is rounded
# to the dtype of the images.


def _batch_norm(x: Array, mean: Array, scale: Array, shift: Array, y: Array) -> None:
    y[...] = (x - mean) * scale + shift


BATCH_NORM = Elementwise(
    "batch_norm",
    "T x, float64 mean, float64 scale, float64 shift",
    "T y",
    "y = T((x - mean) * scale + shift)",
    _batch_norm,
)


def _batch_norm_backward(
    g: Array, x: Array, mean: Array, a: Array, b: Array, c: Array, y: Array
) -> None:
    y[...] = a * ((g - c) - (x - mean) * b)


BATCH_NORM_BACKWARD = Elementwise(
    "batch_norm_backward",
    "T g, T x, float64 mean, float64 a, float64 b, float64 c",
    "T y",
    "y = T(a * ((g - c) - (x - mean) * b))",
    _batch_norm_backward,
)


# ----- steps of an optimizer ---------------------------------------------------------------------
# See `NumpyBackend.sgd_step` and `adam_step`. Decay by 0 is left out, for 0 times infinity is NaN.


def _decayed(g: Array, weight_decay: Any, p: Array) -> Array:
    return g + weight_decay * p if weight_decay else g


DECAYED = "const T d = weight_decay != 0 ? T(g + weight_decay * p) : g;"


def _sgd(g: Array, lr: Any, weight_decay: Any, p: Array) -> None:
    p -= lr * _decayed(g, weight_decay, p)


SGD = Elementwise(
    "sgd",
    "T g, T lr, T weight_decay",
    "T p",
    f"""
    {DECAYED}
    p -= lr * d
    """,
    _sgd,
)


def _sgd_momentum(
    g: Array,
    lr: Any,
    momentum: Any,
    share: Any,
    weight_decay: Any,
    nesterov: Any,
    p: Array,
    velocity: Array,
) -> None:
    d = _decayed(g, weight_decay, p)
    velocity[...] = momentum * velocity + share * d
    p -= lr * (d + momentum * velocity if nesterov else velocity)


SGD_MOMENTUM = Elementwise(
    "sgd_momentum",
    "T g, T lr, T momentum, T share, T weight_decay, bool nesterov",
    "T p, T velocity",
    f"""
    {DECAYED}
    velocity = momentum * velocity + share * d;
    p -= lr * (nesterov ? T(d + momentum * velocity) : velocity)
    """,
    _sgd_momentum,
)
"""share = 1 - dampening."""


def _adam(
    g: Array,
    beta1: Any,
    one_minus_beta1: Any,
    beta2: Any,
    one_minus_beta2: Any,
    step_size: Any,
    correction2: Any,
    eps: Any,
    weight_decay: Any,
    p: Array,
    m: Array,
    v: Array,
) -> None:
    d = _decayed(g, weight_decay, p)
    m[...] = beta1 * m + one_minus_beta1 * d
    v[...] = beta2 * v + one_minus_beta2 * (d * d)
    p -= step_size * m / (np.sqrt(v / correction2) + eps)


ADAM = Elementwise(
    "adam",
    "T g, T beta1, T one_minus_beta1, T beta2, T one_minus_beta2, T step_size, T correction2, "
    "T eps, T weight_decay",
    "T p, T m, T v",
    f"""
    {DECAYED}
    m = beta1 * m + one_minus_beta1 * d;
    v = beta2 * v + one_minus_beta2 * (d * d);
    p -= step_size * m / (sqrt(v / correction2) + eps)
    """,
    _adam,
)
"""step_size = lr / (1 - β₁ᵗ) and correction2 = 1 - β₂ᵗ at step t. Both β and 1 - β are given: in
float32 the second has few right digits when it is worked out from the first."""


def _amsgrad(*args: Any) -> None:
    *numbers, eps, weight_decay, p, m, v, largest = args
    g, beta1, one_minus_beta1, beta2, one_minus_beta2, step_size, correction2 = numbers
    d = _decayed(g, weight_decay, p)
    m[...] = beta1 * m + one_minus_beta1 * d
    v[...] = beta2 * v + one_minus_beta2 * (d * d)
    np.maximum(largest, v, out=largest)
    p -= step_size * m / (np.sqrt(largest / correction2) + eps)


AMSGRAD = Elementwise(
    "amsgrad",
    ADAM.inputs,
    "T p, T m, T v, T largest",
    f"""
    {DECAYED}
    m = beta1 * m + one_minus_beta1 * d;
    v = beta2 * v + one_minus_beta2 * (d * d);
    largest = v > largest || v != v ? v : largest;
    p -= step_size * m / (sqrt(largest / correction2) + eps)
    """,
    _amsgrad,
)
"""Adam whose step is made of the largest v so far."""


# ----- sums --------------------------------------------------------------------------------------


def _square_deviations(x: Array, mean: Array, axis: Any) -> Array:
    return np.sum((x - mean) ** 2, axis=axis)


SQUARE_DEVIATIONS = Reduction(
    "square_deviations",
    "T x, float64 mean",
    "float64 y",
    map="(x - mean) * (x - mean)",
    reduce="a + b",
    post="y = a",
    identity="0",
    reference=_square_deviations,
)


def _product_deviations(g: Array, x: Array, mean: Array, axis: Any) -> Array:
    return np.sum(g * (x - mean), axis=axis)


PRODUCT_DEVIATIONS = Reduction(
    "product_deviations",
    "T g, T x, float64 mean",
    "float64 y",
    map="g * (x - mean)",
    reduce="a + b",
    post="y = a",
    identity="0",
    reference=_product_deviations,
)


KERNELS: dict[str, Elementwise | Reduction | RawKernel] = {
    kernel.name: kernel
    for kernel in (
        IM2COL,
        COL2IM,
        MAX_POOL,
        WINDOW_SCATTER,
        WINDOW_GATHER,
        WINDOW_SUM,
        WINDOW_SPREAD,
        UNIFORM,
        NORMAL,
        PICK_LABEL,
        CROSS_ENTROPY_BACKWARD,
        BATCH_NORM,
        BATCH_NORM_BACKWARD,
        SGD,
        SGD_MOMENTUM,
        ADAM,
        AMSGRAD,
        SQUARE_DEVIATIONS,
        PRODUCT_DEVIATIONS,
    )
}
"""All of them by name."""
