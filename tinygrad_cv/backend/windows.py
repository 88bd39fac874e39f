"""Convolution and pooling on NumPy arrays: walks over windows of images.

Images have the shape (N, C, *S), with any number of spatial axes. Results lie channels-last in
memory (a transposed view of an (N, *S, C) array): the copy of a window then moves whole rows of
kw·C numbers, and a block of windows is the left operand of one matrix product.

The batch goes in parts over the worker threads, which walk theirs in blocks whose column buffer
stays in the second-level cache; a buffer for the whole batch would leave it.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_cv.backend.threads import MOST_PARTS, by_products, parallel, split

Array = Any
Ints = Sequence[int]

BLOCK_BYTES = 768 * 1024
"""The size of a column buffer: most of the second-level cache of one core."""

WEIGHT_PARTS = 8
"""Partial sums of a weight gradient at most: each is as large as the weight."""

COPY = 32
"""As many multiplications of a matrix product take as long as to copy a number."""


products = np.errstate(invalid="ignore")
"""Around matrix products: of an infinity BLAS multiplies lanes that it then throws away."""


def output_size(size: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints) -> Any:
    """floor((S + 2p - d(k - 1) - 1) / s) + 1 for each axis."""
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )


def channels_last(x: Array) -> Array:
    """(N, C, *S) -> (N, *S, C), contiguous; no copy where the memory already lies so."""
    return np.ascontiguousarray(x.transpose(0, *range(2, x.ndim), 1))


def channels_first(x: Array) -> Array:
    """(N, *S, C) -> (N, C, *S), a view."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


def batch_parts(count: int, item_bytes: int) -> list[slice]:
    """`count` items in slices that fit into the cache: the same for any number of workers, and so
    is what is added up slice by slice."""
    return split(count, math.ceil(count * item_bytes / BLOCK_BYTES))


class Columns:
    """The windows of images x (N, *S, C) as rows of a matrix, block by block (im2col)."""

    def __init__(
        self, x: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, groups: int
    ) -> None:
        self.x, self.kernel, self.stride, self.dilation = x, kernel, stride, dilation
        self.padding, self.groups = padding, groups
        count, *size, channels = x.shape
        self.channels = channels // groups
        self.out = output_size(size, kernel, stride, padding, dilation)
        self.rows = count * math.prod(self.out)
        self.width = math.prod(kernel) * self.channels  # columns in a row of one group
        self.row_bytes = math.prod(self.out[1:]) * self.width * groups * x.itemsize
        per_image = self.row_bytes * self.out[0]
        # Blocks are several whole images, or a band of output rows of one image.
        self.images = max(1, min(count, BLOCK_BYTES // max(1, per_image)))
        self.band = self.out[0]
        if self.images == 1:
            self.band = min(self.out[0], max(1, BLOCK_BYTES // max(1, self.row_bytes)))

    @property
    def is_plain(self) -> bool:
        """Whether each window is one pixel, so that the images already are the matrix."""
        return self.groups == 1 and all(
            (k, s, p) == (1, 1, 0)
            for k, s, p in zip(self.kernel, self.stride, self.padding, strict=True)
        )

    def _windows(self, images: Array) -> Array:
        """(n, *S, C) -> a view (G, n, *S', *K, C/G) of all windows."""
        step, *strides, item = images.strides
        return np.lib.stride_tricks.as_strided(
            images,
            (self.groups, len(images), *self.out, *self.kernel, self.channels),
            (
                self.channels * item,
                step,
                *(a * b for a, b in zip(strides, self.stride, strict=True)),
                *(a * b for a, b in zip(strides, self.dilation, strict=True)),
                item,
            ),
        )

    def walk(self, part: slice) -> Iterator[tuple[tuple[slice, slice], Array]]:
        """For each block: its place (images, output rows), and its matrix (G, rows, K·C/G)."""
        _, *size, channels = self.x.shape
        if self.is_plain:
            for start in range(part.start, part.stop, self.images):
                place = slice(start, min(start + self.images, part.stop))
                yield (place, slice(None)), self.x[place].reshape(1, -1, channels)
            return
        padded = np.zeros(
            (self.images, *(n + 2 * p for n, p in zip(size, self.padding, strict=True)), channels),
            self.x.dtype,
        )
        inside = padded[
            (slice(None), *(slice(p, p + n) for n, p in zip(size, self.padding, strict=True)))
        ]
        windows = self._windows(padded)
        buffer = np.empty(
            (self.groups, self.images * self.band, *self.out[1:], *self.kernel, self.channels),
            self.x.dtype,
        )
        for start in range(part.start, part.stop, self.images):
            stop = min(start + self.images, part.stop)
            inside[: stop - start] = self.x[start:stop]
            for top in range(0, self.out[0], self.band):
                bottom = min(top + self.band, self.out[0])
                rows = (stop - start) * (bottom - top)
                # (G, n·rows, *S'[1:], *K, C/G), the leading rows of the buffer
                block = buffer[:, :rows]
                view = block.reshape(self.groups, stop - start, bottom - top, *buffer.shape[2:])
                np.copyto(view, windows[:, : stop - start, top:bottom])
                yield (
                    (slice(start, stop), slice(top, bottom)),
                    block.reshape(self.groups, -1, self.width),
                )


def _weight_matrices(w: Array, groups: int) -> Array:
    """(O, C/G, *K) -> (G, K·C/G, O/G), contiguous: one right operand for each group."""
    o, c, *kernel = w.shape
    split_groups = w.reshape(groups, o // groups, c, *kernel)
    axes = (0, *range(3, 3 + len(kernel)), 2, 1)
    return np.ascontiguousarray(split_groups.transpose(axes)).reshape(groups, -1, o // groups)


def conv(
    x: Array,
    w: Array,
    bias: Array | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> Array:
    """See `Backend.conv`: one matrix product for each block of windows."""
    x, w = _alike(x, w)
    if _is_depthwise(w, groups):
        return _depthwise(x, w, bias, stride, padding, dilation)
    x = channels_last(x)
    columns = Columns(x, w.shape[2:], stride, padding, dilation, groups)
    weights = _weight_matrices(w, groups)
    y = np.empty((len(x), *columns.out, w.shape[0]), x.dtype)

    @products
    def work(part: slice) -> None:
        for place, matrix in columns.walk(part):
            target = y[place]
            if groups == 1:
                np.matmul(matrix[0], weights[0], out=target.reshape(-1, w.shape[0]))
            else:  # (G, rows, O/G) -> (rows, G, O/G)
                product = np.matmul(matrix, weights).swapaxes(0, 1)
                target[...] = product.reshape(target.shape)
            if bias is not None:
                target += bias

    factors = columns.rows, columns.width, w.shape[0] // groups
    parallel(work, _image_parts(len(x), groups * columns.rows * columns.width, factors[2]), factors)
    return channels_first(y)


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
    x, w = _alike(x, w)
    o, c, *kernel = w.shape
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    inverse = [r - p for r, p in zip(reach, padding, strict=True)]
    if (
        all(s == 1 for s in stride)
        and min(inverse) >= 0
        and output_size(x.shape[2:], kernel, stride, inverse, dilation) == tuple(size)
    ):
        # With stride 1 the adjoint is a convolution again: of the kernel turned around, its
        # channels exchanged. (G, O/G, C/G, *K) -> (G, C/G, O/G, *K) -> (C, O/G, *K)
        turned = np.flip(
            w.reshape(groups, o // groups, c, *kernel).swapaxes(1, 2),
            tuple(range(3, 3 + len(kernel))),
        )
        return conv(
            x,
            turned.reshape(groups * c, o // groups, *kernel),
            None,
            stride,
            inverse,
            dilation,
            groups,
        )
    if _is_depthwise(w, groups):
        return _depthwise_transpose(x, w, size, stride, padding, dilation)
    x = channels_last(x)
    count, *small, _ = x.shape
    weights = _weight_matrices(w, groups).swapaxes(1, 2)  # (G, O/G, K·C/G)
    result = np.zeros((count, *size, groups * c), x.dtype)
    row_bytes = math.prod(small) * math.prod(kernel) * groups * c * x.itemsize
    images = max(1, BLOCK_BYTES // max(1, row_bytes))

    @products
    def work(part: slice) -> None:
        for start in range(part.start, part.stop, images):
            block = slice(start, min(start + images, part.stop))
            n = block.stop - block.start
            # (n, *S', O) -> (G, n·S', O/G) @ (G, O/G, K·C/G) -> (n, *S', *K, G, C/G)
            left = x[block].reshape(-1, groups, o // groups).swapaxes(0, 1)
            spread = np.matmul(left, weights).reshape(groups, n, *small, *kernel, c)
            spread = np.moveaxis(spread, 0, -2)
            grown = [m + 2 * p for m, p in zip(size, padding, strict=True)]
            padded = np.zeros((n, *grown, groups, c), x.dtype)
            for offset in itertools.product(*map(range, kernel)):
                place = tuple(
                    slice(i * d, i * d + s * (q - 1) + 1, s)
                    for i, d, s, q in zip(offset, dilation, stride, small, strict=True)
                )
                between = (slice(None),) * (1 + len(small))
                padded[(slice(None), *place)] += spread[(*between, *offset)]
            inside = tuple(slice(p, p + m) for p, m in zip(padding, size, strict=True))
            result[block] = padded[(slice(None), *inside)].reshape(n, *size, groups * c)

    if math.prod(small):
        rows, _, width = factors = count * math.prod(small), o // groups, math.prod(kernel) * c
        parallel(work, _image_parts(count, groups * rows * width, o // groups), factors)
    return channels_first(result)


def conv_weight(
    x: Array,
    g: Array,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
) -> Array:
    """See `Backend.conv_weight`: windowsᵀ @ g, added up over the blocks."""
    x, g = _alike(x, g)
    if groups == x.shape[1] == g.shape[1] > 1:
        return _depthwise_weight(x, g, kernel, stride, padding, dilation)
    x, g = channels_last(x), channels_last(g)
    columns = Columns(x, kernel, stride, padding, dilation, groups)
    per_group = g.shape[-1] // groups
    shape = (groups, columns.width, per_group)

    @products
    def work(part: slice) -> Array:
        total = np.zeros(shape, x.dtype)
        for place, matrix in columns.walk(part):
            # (n, rows, *S'[1:], O) -> (G, n·S', O/G)
            right = g[place].reshape(-1, groups, per_group).swapaxes(0, 1)
            total += np.matmul(matrix.swapaxes(1, 2), right)
        return total

    factors = columns.width, columns.rows, per_group
    parts = _image_parts(len(x), groups * columns.rows * columns.width, per_group, WEIGHT_PARTS)
    total = sum(parallel(work, parts, factors), np.zeros(shape, x.dtype))
    # (G, K·C/G, O/G) -> (G, *K, C/G, O/G) -> (G, O/G, C/G, *K) -> (O, C/G, *K)
    total = total.reshape(groups, *kernel, columns.channels, per_group)
    axes = (0, total.ndim - 1, total.ndim - 2, *range(1, 1 + len(kernel)))
    return np.ascontiguousarray(total.transpose(axes)).reshape(-1, columns.channels, *kernel)


def _image_parts(count: int, copied: int, each: int, most: int = MOST_PARTS) -> list[slice]:
    """The batch in parts, where so many numbers are copied and each multiplied so many times."""
    return by_products(count, copied * (COPY + each), most)


def _alike(a: Array, b: Array) -> tuple[Array, Array]:
    """Both in the dtype of their product."""
    dtype = np.result_type(a, b)
    return a.astype(dtype, copy=False), b.astype(dtype, copy=False)


# ----- a channel, a kernel -----------------------------------------------------------------------
# A group of one channel is no matrix product. Its convolution is a sum over the taps of the kernel:
# the image, shifted, times one number for each channel.


def _is_depthwise(w: Array, groups: int) -> bool:
    return groups > 1 and w.shape[:2] == (groups, 1)


def _taps(
    w: Array, stride: Ints, dilation: Ints, out: Ints
) -> Iterator[tuple[tuple[Any, ...], Array]]:
    """For each tap of w (C, 1, *K): its place in all windows at once, and its weights (S', C).

    They are repeated along the last spatial axis: NumPy then walks over whole rows.
    """
    flat = w.reshape(len(w), -1)
    for number, (_, *spatial) in _window_places(w.shape[2:], stride, dilation, out):
        yield (slice(None), *spatial), np.tile(flat[:, number], (out[-1], 1))


def _bordered(x: Array, padding: Ints) -> Array:
    """Images (N, *S, C) with a border of zeros."""
    count, *size, channels = x.shape
    grown = [n + 2 * p for n, p in zip(size, padding, strict=True)]
    padded = np.zeros((count, *grown, channels), x.dtype)
    padded[(slice(None), *_inside(size, padding)[1:])] = x
    return padded


def _depthwise(
    x: Array, w: Array, bias: Array | None, stride: Ints, padding: Ints, dilation: Ints
) -> Array:
    x = channels_last(x)
    kernel = w.shape[2:]
    out = output_size(x.shape[1:-1], kernel, stride, padding, dilation)
    y = np.empty((len(x), *out, len(w)), x.dtype)

    def work(part: slice) -> None:
        images, total = _bordered(x[part], padding), y[part]
        total[...] = 0 if bias is None else bias
        share = np.empty_like(total)
        for place, weights in _taps(w, stride, dilation, out):
            np.multiply(images[place], weights, out=share)
            total += share

    parallel(work, batch_parts(len(x), y[:1].nbytes))
    return channels_first(y)


def _depthwise_transpose(
    x: Array, w: Array, size: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> Array:
    x = channels_last(x)
    out = x.shape[1:-1]
    y = np.empty((len(x), *size, len(w)), x.dtype)

    def work(part: slice) -> None:
        grown = _bordered(np.zeros_like(y[part]), padding)
        if math.prod(out):
            for place, weights in _taps(w, stride, dilation, out):
                grown[place] += x[part] * weights
        y[part] = grown[(slice(None), *_inside(size, padding)[1:])]

    parallel(work, batch_parts(len(x), y[:1].nbytes))
    return channels_first(y)


def _depthwise_weight(
    x: Array, g: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> Array:
    x, g = channels_last(x), channels_last(g)
    channels, out = x.shape[-1], g.shape[1:-1]

    def work(part: slice) -> Array:
        total = np.zeros((math.prod(kernel), channels), x.dtype)
        for i in range(part.start, part.stop):  # an image and its products fit into the cache
            images, maps = _bordered(x[i : i + 1], padding), g[i : i + 1]
            ones = np.ones(math.prod(out), x.dtype)
            for number, (_, *spatial) in _window_places(kernel, stride, dilation, out):
                products = images[(slice(None), *spatial)] * maps
                total[number] += ones @ products.reshape(-1, channels)
        return total

    zero = np.zeros((math.prod(kernel), channels), x.dtype)
    parts = split(len(x), min(WEIGHT_PARTS, math.ceil(x.nbytes / BLOCK_BYTES)))
    total = sum(parallel(work, parts, (1, math.prod(out), channels)), zero)
    return np.ascontiguousarray(total.T).reshape(channels, 1, *kernel)


# ----- pooling ---------------------------------------------------------------------------------


def _window_places(
    kernel: Ints, stride: Ints, dilation: Ints, out: Ints
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """For each place in the window (row-major): the index of that place in all windows at once."""
    for number, offset in enumerate(itertools.product(*map(range, kernel))):
        yield (
            number,
            (
                ...,
                *(
                    slice(i * d, i * d + s * (n - 1) + 1, s)
                    for i, d, s, n in zip(offset, dilation, stride, out, strict=True)
                ),
            ),
        )


def _pad_spatial(x: Array, padding: Ints, value: float) -> Array:
    """The images with a border of `value`; the memory layout stays."""
    if not any(padding):
        return x
    grown = [n + 2 * p for n, p in zip(x.shape[2:], padding, strict=True)]
    padded = channels_first(np.full((len(x), *grown, x.shape[1]), value, x.dtype))
    padded[_inside(x.shape[2:], padding)] = x
    return padded


def _inside(size: Ints, padding: Ints) -> tuple[Any, ...]:
    return (..., *(slice(p, p + n) for n, p in zip(size, padding, strict=True)))


def _empty_like_images(x: Array, size: Ints, dtype: Any = None) -> Array:
    """An uninitialized (N, C, *size) that lies in memory as x does."""
    n, c = x.shape[:2]
    if x.strides[1] <= min(x.strides[2:], default=0):
        return channels_first(np.empty((n, *size, c), dtype or x.dtype))
    return np.empty((n, c, *size), dtype or x.dtype)


def bits(x: Array) -> Array:
    """The same memory as integers. Multiplied by a truth value a number stays or becomes +0.0,
    infinities and NaN as well; NumPy vectorizes that, and where() it does not."""
    return x.view(f"i{x.itemsize}")


def _in_parts(work: Callable[[slice], None], x: Array) -> None:
    item_bytes = x.nbytes // max(1, len(x))
    parallel(work, batch_parts(len(x), item_bytes))


def _lowest(dtype: Any) -> Any:
    """Nothing is less."""
    if dtype.kind == "f":
        return -np.inf
    return False if dtype.kind == "b" else np.iinfo(dtype).min


def max_pool(
    x: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> tuple[Array, Array]:
    """See `Backend.max_pool`. The index is counted without branches, so that it vectorizes."""
    out = output_size(x.shape[2:], kernel, stride, padding, dilation)
    lowest = _lowest(x.dtype)
    last = math.prod(kernel) - 1
    y = _empty_like_images(x, out)
    index = _empty_like_images(x, out, np.min_scalar_type(last))
    places = [place for _, place in _window_places(kernel, stride, dilation, out)]

    def work(part: slice) -> None:
        images = _pad_spatial(x[part], padding, lowest)
        views = [images[place] for place in places]
        best, where = y[part], index[part]
        np.copyto(best, views[0])
        for view in views[1:]:
            np.maximum(best, view, out=best)
        # The index of the first maximum is the number of places before it. NaN is a maximum that
        # equals nothing; that it is there shows in the sum.
        has_nan = best.dtype.kind == "f" and np.isnan(best.sum())
        # What lies in the padding equals a maximum only where that is the lowest value.
        hidden = None
        if any(padding) and (best == lowest).any():
            border = _pad_spatial(np.zeros((1, 1, *x.shape[2:]), bool), padding, True)
            hidden = [border[place] for place in places]
        where[...] = 0
        before = np.ones_like(best, dtype=bool)
        for number, view in enumerate(views[:-1]):
            differs = view != best
            if hidden is not None:
                differs |= hidden[number]
            before &= differs
            if has_nan:
                before &= ~np.isnan(view)
            where += before
        if hidden is not None:
            where[before & hidden[-1]] = 0  # a window in the padding has no maximum

    _in_parts(work, x)
    return y, index


def window_scatter(
    g: Array,
    index: Array,
    size: Ints,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
) -> Array:
    """See `Backend.window_scatter`."""
    out = g.shape[2:]
    grown = [n + 2 * p for n, p in zip(size, padding, strict=True)]
    padded = _empty_like_images(g, grown)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    disjoint = all(s >= r for s, r in zip(stride, reach, strict=True))
    tiled = disjoint and all(
        k == s and k * n == m for k, s, n, m in zip(kernel, stride, out, grown, strict=True)
    )

    def work(part: slice) -> None:
        target, source, places = padded[part], bits(g[part]), index[part]
        if not tiled:
            target[...] = 0
        for number, place in _window_places(kernel, stride, dilation, out):
            here = places == number
            if disjoint:
                np.multiply(source, here, out=bits(target)[place])
            else:
                target[place] += (source * here).view(g.dtype)

    _in_parts(work, padded)
    return padded[_inside(size, padding)]


def window_gather(
    x: Array, index: Array, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> Array:
    """See `Backend.window_gather`."""
    out = index.shape[2:]
    y = _empty_like_images(x, out)

    def work(part: slice) -> None:
        images, places = bits(_pad_spatial(x[part], padding, 0)), index[part]
        target = bits(y[part])
        target[...] = 0
        for number, place in _window_places(kernel, stride, dilation, out):
            target |= images[place] * (places == number)  # one of them is not 0

    _in_parts(work, x)
    return y


def window_sum(x: Array, kernel: Ints, stride: Ints, padding: Ints, divisor: int) -> Array:
    """See `Backend.window_sum`."""
    ones = (1,) * len(kernel)
    out = output_size(x.shape[2:], kernel, stride, padding, ones)
    y = _empty_like_images(x, out)

    def work(part: slice) -> None:
        images, total = _pad_spatial(x[part], padding, 0), np.zeros_like(y[part], _wide(x.dtype))
        for _, place in _window_places(kernel, stride, ones, out):
            total += images[place]
        y[part] = _shares(total, divisor)

    _in_parts(work, x)
    return y


def window_spread(
    g: Array, size: Ints, kernel: Ints, stride: Ints, padding: Ints, divisor: int
) -> Array:
    """See `Backend.window_spread`."""
    grown = [n + 2 * p for n, p in zip(size, padding, strict=True)]
    y = _empty_like_images(g, size)

    def work(part: slice) -> None:
        padded, source = _empty_like_images(g[part], grown, _wide(g.dtype)), g[part]
        padded[...] = 0
        for _, place in _window_places(kernel, stride, (1,) * len(kernel), g.shape[2:]):
            padded[place] += source
        y[part] = _shares(padded[_inside(size, padding)], divisor)

    _in_parts(work, y)
    return y


def _wide(dtype: Any) -> Any:
    """What numbers of a dtype are added up in."""
    return np.float64 if dtype.kind == "f" else dtype


def _shares(total: Array, divisor: int) -> Array:
    divide = np.divide if total.dtype.kind == "f" else np.floor_divide
    return divide(total, divisor, out=total)
