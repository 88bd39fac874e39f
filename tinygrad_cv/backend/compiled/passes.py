"""Layers image by image: a few images go through several kernels while they are in the cache.

A training step of convolution, batch norm and ReLU that takes each of them through all images reads
and writes every map many times. Here a pass takes as many images at a time as fit into the cache of
a core through

    evaluation  the convolution - batch norm and ReLU (and windows)
    forward     batch norm and ReLU (and windows) of a map, with known statistics - the convolution
                - what its result adds to the statistics of the next
    backward    the gradient behind them - the convolution's two gradients, for which what it saw is
                worked out again - what the new gradient adds to the sums of the layer below

so that in memory each map is written once and read twice, its gradient likewise, and activations
are not kept. A stage is an object that is made for the whole pass; each part of the images begins
with a state of its own and runs chunk by chunk, and `end` joins the states in the parts' order.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygrad_cv.backend.base import Local
from tinygrad_cv.backend.compiled import conv, joined, norm, winograd
from tinygrad_cv.backend.compiled.vectors import ROWS
from tinygrad_cv.backend.threads import parallel, split
from tinygrad_cv.backend.windows import WEIGHT_PARTS, channels_first, channels_last, output_size

Array = Any
Ints = Sequence[int]

CHUNK = 1 << 17
"""How many numbers of the largest map are taken at a time: 512 KB. A quarter of it is as fast but
for the calls, which then are four times as many."""

MOST_SUMS = 1 << 13
"""A weight gradient of at most so many weights, or pairs of channels by tiles, is added up chunk by
chunk: its sums, 36 for a pair, have to stay in the cache as well."""


class UnfitError(Exception):
    """The numbers ask for the kernels one by one."""


class Stage:
    """What a kernel does to a few images at a time.

    The first `images` arguments are maps, given by their shape (*S, C); `made` says the shape and
    dtype of those that it makes, none where it adds up over images.
    """

    images = 1
    made: tuple[tuple[tuple[int, ...], Any], ...] = ()

    def begin(self) -> Any:
        """What a part of the images adds to."""

    def run(self, state: Any, ins: Sequence[Array], outs: Sequence[Array], chunk: int) -> None:
        """Do it to some images, (n, *S, C), those of this chunk."""
        raise NotImplementedError

    def end(self, states: Sequence[Any]) -> tuple[Array, ...]:
        """What is added up over all images."""
        return ()


# ----- batch norm ---------------------------------------------------------------------------------


class _Channels(Stage):
    """Rows of channels, of which a few are taken as one (see `norm.fold`)."""

    def __init__(self, shape: tuple[int, ...], count: int, chunks: int) -> None:
        self.pixels, self.channels = math.prod(shape[:-1]), shape[-1]
        self.fold = norm.fold(self.pixels, self.channels)
        self.width = self.fold * self.channels
        self.count, self.chunks = count, chunks

    def rows(self, images: Array) -> int:
        return len(images) * self.pixels // self.fold

    def vector(self, v: Array) -> Array:
        return np.concatenate((v.astype(np.float32),) * self.fold)

    def folded(self, sums: Array) -> Array:
        """Sums of each chunk (chunks, width), of all and for each channel."""
        return sums.reshape(-1, self.channels).sum(0)


class ChannelMoments(_Channels):
    """See `Backend.channel_moments`."""

    def __init__(self, shape: tuple[int, ...], count: int, chunks: int) -> None:
        super().__init__(shape, count, chunks)
        self.means, self.squares = np.empty((2, chunks, self.width))
        self.counts = np.empty((chunks, 1, 1), np.int64)

    def run(self, state: Any, ins: Sequence[Array], outs: Sequence[Array], chunk: int) -> None:
        (x,), here = ins, slice(chunk, chunk + 1)
        rows = self.counts[chunk] = self.rows(x)
        bounds, sums = np.array([0, rows]), (self.means[here], self.squares[here])
        norm._moments(x.reshape(-1), bounds, 0, 1, self.width, *sums)

    def end(self, states: Sequence[Any]) -> tuple[Array, ...]:
        shape = self.chunks, self.fold, self.channels
        counts = np.broadcast_to(self.counts, shape)
        parts = self.means.reshape(shape), self.squares.reshape(shape)
        mean, var = (a.reshape(-1) for a in norm.joined(counts, *parts, (0, 1)))
        if not np.isfinite(var).all():
            raise UnfitError
        return mean, var


class _Normalized(_Channels):
    def __init__(
        self, shape: tuple[int, ...], norm_: Any, top: float | None, count: int, chunks: int
    ) -> None:
        super().__init__(shape, count, chunks)
        self.norm, self.plain = norm_, top is None
        if len(norm_) == 5:
            mean, var, weight, bias, eps = norm_
            if not np.isfinite(var).all():
                raise UnfitError
            norm_ = joined.affine(weight, bias, mean, var, eps)
        self.affine = [self.vector(v.reshape(-1)) for v in norm_]
        if top is not None:
            self.top, self.last = np.float32(top), joined.last_below(top)


class Normalized(_Normalized):
    """See `Backend.normalized`."""

    def __init__(
        self, shape: tuple[int, ...], norm_: Any, top: float | None, count: int, chunks: int
    ) -> None:
        super().__init__(shape, norm_, top, count, chunks)
        self.made = ((shape, np.float32),)

    def run(self, state: Any, ins: Sequence[Array], outs: Sequence[Array], chunk: int) -> None:
        x, y, rows = ins[0].reshape(-1), outs[0].reshape(-1), self.rows(ins[0])
        if self.plain:
            norm._scale(x, y, np.array([0, rows]), 0, 1, self.width, 0, *self.affine)
        else:
            joined.scale_relu(x, y, 0, rows, self.width, *self.affine, self.top)


class NormalizedSums(_Normalized):
    """See `Backend.normalized_sums`."""

    images = 2

    def __init__(
        self, g: Any, shape: tuple[int, ...], norm_: Any, top: float | None, count: int, chunks: int
    ) -> None:
        super().__init__(shape, norm_, top, count, chunks)
        self.sums, self.products = np.empty((2, chunks, self.width))

    def run(self, state: Any, ins: Sequence[Array], outs: Sequence[Array], chunk: int) -> None:
        (g, x), rows, here = (
            (a.reshape(-1) for a in ins),
            self.rows(ins[0]),
            slice(chunk, chunk + 1),
        )
        if self.plain:
            added, bounds = (self.sums[here], self.products[here]), np.array([0, rows])
            norm._products(g, x, bounds, 0, 1, self.width, 0, self.affine[0], *added)
        else:
            vectors = *self.affine, self.last
            added = self.sums[chunk], self.products[chunk]
            joined.gated_products(g, x, 0, rows, self.width, *vectors, *added)

    def end(self, states: Sequence[Any]) -> tuple[Array, ...]:
        mean, var, _, _, eps = self.norm
        sums = self.folded(self.sums)
        return joined.weight_sum(sums, self.folded(self.products), mean, var, eps), sums


class NormalizedBackward(_Normalized):
    """See `Backend.normalized_backward`."""

    images = 2

    def __init__(
        self, g: Any, shape: tuple[int, ...], norm_: Any, weight_sum: Array, bias_sum: Array,
        top: float | None, count: int, chunks: int,
    ) -> None:  # fmt: skip
        super().__init__(shape, norm_, top, count, chunks)
        self.made = ((shape, np.float32),)
        mean, var, weight, _, eps = norm_
        total = count * self.pixels
        abc = joined.slopes(weight_sum, bias_sum, total, weight, mean, var, eps)
        self.abc = [self.vector(v) for v in abc]

    def run(self, state: Any, ins: Sequence[Array], outs: Sequence[Array], chunk: int) -> None:
        g, x, dx = (a.reshape(-1) for a in (*ins, *outs))
        rows = self.rows(ins[0])
        if self.plain:
            place = np.array([0, rows]), 0, 1, self.width, 0
            norm._combine(g, x, dx, *place, self.affine[0], *self.abc)
        else:
            vectors = *self.affine, self.last, *self.abc
            joined.gated_combine(g, x, dx, 0, rows, self.width, *vectors)


class _Pooled(_Normalized):
    def __init__(
        self, shape: tuple[int, ...], norm_: Any, kernel: Ints, count: int, chunks: int
    ) -> None:
        super().__init__(shape, norm_, math.inf, count, chunks)
        self.vectors = [v[: self.channels] for v in self.affine]
        self.height = shape[0] // kernel[0]
        self.place = self.channels, shape[1] // kernel[1], *kernel


class Pooled(_Pooled):
    """See `Backend.pooled`."""

    def __init__(
        self, shape: tuple[int, ...], norm_: Any, kernel: Ints, count: int, chunks: int
    ) -> None:
        super().__init__(shape, norm_, kernel, count, chunks)
        result = self.height, self.place[1], self.channels
        self.made = ((result, np.float32), (result, np.uint8))

    def run(self, state: Any, ins: Sequence[Array], outs: Sequence[Array], chunk: int) -> None:
        flat, rows = [a.reshape(-1) for a in (*ins, *outs)], len(ins[0]) * self.height
        joined.scale_relu_pool(*flat, *self.place, 0, rows, *self.vectors)


class PooledSums(_Pooled):
    """See `Backend.pooled_sums`."""

    images = 4

    def __init__(
        self, g: Any, y: Any, index: Any, shape: tuple[int, ...], norm_: Any, kernel: Ints,
        count: int, chunks: int,
    ) -> None:  # fmt: skip
        super().__init__(shape, norm_, kernel, count, chunks)
        self.sums, self.products = np.empty((2, chunks, self.channels))

    def run(self, state: Any, ins: Sequence[Array], outs: Sequence[Array], chunk: int) -> None:
        flat, rows = [a.reshape(-1) for a in ins], len(ins[0]) * self.height
        added = self.sums[chunk], self.products[chunk]
        joined.pool_products(*flat, *self.place, 0, rows, self.vectors[0], *added)

    def end(self, states: Sequence[Any]) -> tuple[Array, ...]:
        mean, var, _, _, eps = self.norm
        sums = self.folded(self.sums)
        return joined.weight_sum(sums, self.folded(self.products), mean, var, eps), sums


class PooledBackward(_Pooled):
    """See `Backend.pooled_backward`."""

    images = 4

    def __init__(
        self, g: Any, y: Any, index: Any, shape: tuple[int, ...], norm_: Any, weight_sum: Array,
        bias_sum: Array, kernel: Ints, count: int, chunks: int,
    ) -> None:  # fmt: skip
        super().__init__(shape, norm_, kernel, count, chunks)
        self.made = ((shape, np.float32),)
        mean, var, weight, _, eps = norm_
        total = count * self.pixels
        abc = joined.slopes(weight_sum, bias_sum, total, weight, mean, var, eps)
        self.abc = [v.astype(np.float32) for v in abc]

    def run(self, state: Any, ins: Sequence[Array], outs: Sequence[Array], chunk: int) -> None:
        flat, rows = [a.reshape(-1) for a in (*ins, *outs)], len(ins[0]) * self.height
        joined.pool_combine(*flat, *self.place, 0, rows, self.vectors[0], *self.abc)


# ----- convolutions -------------------------------------------------------------------------------


class Convolution(Stage):
    """See `Backend.conv`."""

    transposed = False

    def __init__(
        self, shape: tuple[int, ...], w: Array, bias: Array | None, stride: Ints, padding: Ints,
        dilation: Ints, groups: int, count: int, chunks: int,
    ) -> None:  # fmt: skip
        size = output_size(shape[:-1], w.shape[2:], stride, padding, dilation)
        self.prepare(shape, w, bias, (*size, len(w)), (stride, padding, dilation, groups), count)

    def prepare(
        self, shape: tuple[int, ...], w: Array, bias: Array | None, result: tuple[int, ...],
        steps: tuple[Ints, Ints, Ints, int], count: int,
    ) -> None:  # fmt: skip
        """From images of `shape` (*S, C) to those of `result`."""
        stride, padding, dilation, groups = steps
        self.made, self.tiles = ((result, np.float32),), None
        pixels = result if self.transposed else shape
        if winograd.suits((count, pixels[-1], *pixels[:-1]), w.shape, *steps):
            own, C = w.shape[1], shape[-1]
            strides = (8, 9, 9 * own, -1) if self.transposed else (0, 9 * own, 9, 1)
            around = [2 - p for p in padding] if self.transposed else padding
            m = winograd.tile_size(count, result[:-1], C, result[-1])
            self.tiles = winograd.Tiles(w, strides, bias, m, shape, around, result)
            return
        if self.transposed and not math.isfinite(np.add.reduce(w, axis=None)):
            raise UnfitError
        self.depthwise = conv.is_depthwise(w, groups)
        places = shape[:-1], result[:-1], w.shape[2:], tuple(stride), tuple(padding)
        channels = tuple(dilation), groups, shape[-1], result[-1], self.transposed, self.depthwise
        self.windows = partial(
            conv.windows_of, **dict(zip(WINDOWS, (*places, *channels), strict=True))
        )
        self.packed = conv.packed_weight(w, self.windows(1), groups, self.transposed)
        self.starts = conv.padded_bias(bias, result[-1], groups, self.depthwise)

    def begin(self) -> list[float]:
        return [0.0]

    def run(
        self, state: list[float], ins: Sequence[Array], outs: Sequence[Array], chunk: int
    ) -> None:
        x, y = ins[0].reshape(-1), outs[0].reshape(-1)
        if self.tiles is not None:
            tiles = len(ins[0]) * math.prod(self.tiles.grid)
            state[0] += self.tiles(x, y, 0, tiles)
            return
        w = self.windows(len(ins[0]))
        arrays = x, self.packed, self.starts, y, w.places, w.out, w.segments, w.phases, w.geometry
        if self.depthwise:
            conv.convolve_each(*arrays, 0, w.blocks)
        else:
            conv.convolve(*arrays, 0, w.blocks, 0, len(self.starts) // conv.BLOCK)

    def end(self, states: Sequence[list[float]]) -> tuple[Array, ...]:
        if not math.isfinite(sum(state[0] for state in states)):
            raise UnfitError
        return ()


WINDOWS = (
    "source", "result", "kernel", "stride", "padding",
    "dilation", "groups", "channels", "outputs", "transposed", "depthwise",
)  # fmt: skip


class Transposed(Convolution):
    """See `Backend.conv_transpose`."""

    transposed = True

    def __init__(
        self, shape: tuple[int, ...], w: Array, size: Ints, stride: Ints, padding: Ints,
        dilation: Ints, groups: int, count: int, chunks: int,
    ) -> None:  # fmt: skip
        result = *size, w.shape[1] * groups
        self.prepare(shape, w, None, result, (stride, padding, dilation, groups), count)


class WeightGradient(Stage):
    """See `Backend.conv_weight`."""

    images = 2

    def __init__(
        self, shape: tuple[int, ...], g: tuple[int, ...], kernel: Ints, stride: Ints, padding: Ints,
        dilation: Ints, groups: int, count: int, chunks: int,
    ) -> None:  # fmt: skip
        C, O = shape[-1], g[-1]  # noqa: E741  the channels in and out
        self.shape, self.groups, self.tiles = (O, C // groups, *kernel), groups, None
        steps = stride, padding, dilation, groups
        if winograd.suits((count, C, *shape[:-1]), self.shape, *steps, channels=16):
            m = winograd.weight_tile_size(count, g[:-1], C, O)
            self.tiles = winograd.TileSums(m, shape, padding, g)
            return
        self.depthwise = groups == C == O > 1
        places = shape[:-1], g[:-1], tuple(kernel), tuple(stride), tuple(padding)
        channels = tuple(dilation), groups, C, O, False, self.depthwise
        self.windows = partial(
            conv.windows_of, **dict(zip(WINDOWS, (*places, *channels), strict=True))
        )
        K = math.prod(kernel)
        multiple = ROWS if not self.depthwise else 3 if K <= 3 else conv.DEEP
        # A tap lies where it does in any number of images.
        starts = tuple(self.windows(1).starts.tolist())
        self.taps = conv.tap_table(starts, self.shape[1], multiple)
        self.panels = groups * -(-(O // groups) // conv.BLOCK)

    def begin(self) -> Array:
        if self.tiles is not None:
            return np.zeros(self.tiles.each, np.float32)
        width = self.shape[0] if self.depthwise else self.panels * conv.BLOCK
        return np.zeros(len(self.taps) * width, np.float32)

    def run(self, state: Array, ins: Sequence[Array], outs: Sequence[Array], chunk: int) -> None:
        x, g = (a.reshape(-1) for a in ins)
        if self.tiles is not None:
            self.tiles.add(x, g, 0, len(ins[0]) * math.prod(self.tiles.grid), state, 0)
            return
        w = self.windows(len(ins[0]))
        arrays = x, g, state, w.places, self.taps, w.phases, w.geometry
        if self.depthwise:
            conv.weigh_each(*arrays, 0, w.blocks)
        else:
            conv.weigh(*arrays, 0, w.blocks, 0, self.panels)

    def end(self, states: Sequence[Array]) -> tuple[Array, ...]:
        sums = np.concatenate(states)
        if self.tiles is not None:
            dw = self.tiles.gradient(sums)
            if dw is None:
                raise UnfitError
            return (dw,)
        (O, C), K = self.shape[:2], math.prod(self.shape[2:])  # noqa: E741
        dw = np.empty(self.shape, np.float32)
        if self.depthwise:
            dw.reshape(O, K)[...] = sums.reshape(len(states), -1, O).sum(0)[:K].T
        else:
            count, own = len(states), len(self.taps)
            each = self.panels // self.groups, O // self.groups
            conv.unpack(sums, dw.reshape(-1), count, own, *each, C, K, 0, self.panels)
        return (dw,)


def is_for_pass(name: str, args: Sequence[Any]) -> bool:
    """Whether this convolution, or gradient of one, goes well a few images at a time.

    Not where weights are larger than what is convolved: they go through the cache for each chunk.
    """
    if any(a.dtype != "float32" for a in args[:2]):
        return False
    if name == "conv_weight":
        x, g, kernel, stride, padding, dilation, groups = args
        shape = g.shape[1], x.shape[1] // groups, *kernel
        steps = stride, padding, dilation, groups
        by_tiles = winograd.suits(x.shape, shape, *steps, channels=16)
        return math.prod(shape[:2] if by_tiles else shape) <= MOST_SUMS
    x, w, last, stride, padding, dilation, groups = args
    if name == "conv":
        result, outputs = (
            output_size(x.shape[2:], w.shape[2:], stride, padding, dilation),
            w.shape[0],
        )
        shape = x.shape
    else:
        result, outputs = last, w.shape[1] * groups
        shape = x.shape[0], outputs, *result
    if winograd.suits(shape, w.shape, stride, padding, dilation, groups):
        m = winograd.tile_size(x.shape[0], result, x.shape[1], outputs)
        tiles = x.shape[0] * math.prod(-(-n // m) for n in result)
        return not winograd.by_columns(tiles, outputs)
    return True


STAGES: dict[str, Any] = {
    "channel_moments": ChannelMoments,
    "normalized": Normalized,
    "normalized_sums": NormalizedSums,
    "normalized_backward": NormalizedBackward,
    "pooled": Pooled,
    "pooled_sums": PooledSums,
    "pooled_backward": PooledBackward,
    "conv": Convolution,
    "conv_transpose": Transposed,
    "conv_weight": WeightGradient,
}


# ----- the pass -----------------------------------------------------------------------------------


def image_pass(stages: Sequence[Any], wanted: Sequence[Local]) -> tuple[Array, ...] | None:
    """See `Backend.image_pass`. None where a kernel leaves its numbers to another."""
    try:
        return _image_pass(stages, wanted)
    except UnfitError:
        return None


def _image_pass(stages: Sequence[Any], wanted: Sequence[Local]) -> tuple[Array, ...]:
    maps = [a for s in stages for a in s[1][: STAGES[s[0]].images] if type(a) is not Local]
    lying = {id(a): channels_last(a) for a in maps}
    count = len(maps[0])
    largest = max(a.size // count for a in maps)
    size = max(1, CHUNK // largest)
    chunks = -(-count // size)
    shapes: dict[Local, Any] = {}
    steps = []
    for name, args, options, results in stages:
        kind = STAGES[name]
        sources = args[: kind.images]
        given = [shapes[a][0] if type(a) is Local else lying[id(a)].shape[1:] for a in sources]
        stage = kind(*given, *args[kind.images :], **options, count=count, chunks=chunks)
        made = results if stage.made else ()
        shapes |= zip(made, stage.made, strict=True)
        steps.append((stage, sources, made, results))
    whole = {
        local: np.empty((count, *shape), dtype)
        for local, (shape, dtype) in shapes.items()
        if local in wanted
    }
    sums = any(name == "conv_weight" for name, *_ in stages)
    parts = split(chunks, WEIGHT_PARTS if sums else 2 * WEIGHT_PARTS)

    def work(job: slice) -> list[Any]:
        part = parts[job.start]
        own = {
            local: np.empty((size, *shape), dtype)
            for local, (shape, dtype) in shapes.items()
            if local not in whole
        }
        states = [stage.begin() for stage, *_ in steps]
        for chunk in range(part.start, part.stop):
            low, high = chunk * size, min(count, (chunk + 1) * size)

            def here(a: Any) -> Array:
                if type(a) is Local and a in own:
                    return own[a][: high - low]  # noqa: B023  used within this round
                return (whole[a] if type(a) is Local else lying[id(a)])[low:high]  # noqa: B023

            for (stage, sources, made, _), state in zip(steps, states, strict=True):
                stage.run(state, [*map(here, sources)], [*map(here, made)], chunk)
        return states

    states = parallel(work, split(len(parts), len(parts)))
    found = {local: channels_first(array) for local, array in whole.items()}
    for (stage, _, made, results), own in zip(steps, zip(*states, strict=True), strict=True):
        added = stage.end(own)
        if not made:
            found |= zip(results, added, strict=True)
    return tuple(found[local] for local in wanted)
