"""What every op has to compute, written the way a textbook defines it.

The oracles share nothing with the package: loops over output positions, NumPy, SciPy and Python.
Clarity comes before speed, so give them small arrays.

Arithmetic is done in float64 whatever the float or integer type of the input (a wider type stays
as it is), so that a float32 result is held to something better than itself. What merely moves
elements (`pad`, `max_pool2d`, `window_gather`) keeps their type.

Images are (N, C, H, W); names and meanings of arguments are PyTorch's; sizes in two dimensions are
pairs (height, width).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import scipy.special
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Pair = tuple[int, int]
Axis = int | tuple[int, ...] | None
Axes = tuple[int, ...]
Reduction = Literal["none", "mean", "sum"]


def _wide(array: ArrayLike) -> Array:
    """A copy of the array in float64, or in its own type where that is wider."""
    array = np.asarray(array)
    return array.astype(np.result_type(array, np.float64))


# ----- windows: what a kernel sees of an image -----


def _window(
    position: Pair, size: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> dict[Pair, Pair]:
    """{tap: pixel} of the window at an output position, in row-major order of the taps.

    Tap (u, v) looks at pixel (i·stride - padding + u·dilation, the same for v) of an image of the
    given size. Taps that look into the padding see no pixel and are left out.
    """
    taps = {}
    for u, v in np.ndindex(*kernel_size):
        row = position[0] * stride[0] - padding[0] + u * dilation[0]
        column = position[1] * stride[1] - padding[1] + v * dilation[1]
        if 0 <= row < size[0] and 0 <= column < size[1]:
            taps[u, v] = row, column
    return taps


def _output_size(
    size: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Pair:
    """How many windows fit: ⌊(size + 2·padding - dilation·(kernel - 1) - 1) / stride⌋ + 1."""
    height, width = (
        (size[a] + 2 * padding[a] - dilation[a] * (kernel_size[a] - 1) - 1) // stride[a] + 1
        for a in (0, 1)
    )
    return height, width


def conv2d(
    x: Array,
    w: Array,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Cross-correlation. (N, C, H, W) * (O, C/groups, kh, kw) -> (N, O, H', W').

    y[n, o, i, j] = Σ_{c, u, v} w[o, c, u, v] · x[n, c, pixel that tap (u, v) sees from (i, j)],
    with c over the channels of o's group.
    """
    x, w = _wide(x), _wide(w)
    size, (outputs, channels, *kernel_size) = x.shape[2:], w.shape
    geometry = size, tuple(kernel_size), stride, padding, dilation
    y = np.zeros((len(x), outputs, *_output_size(*geometry)), np.result_type(x, w))
    for n, o, i, j in np.ndindex(*y.shape):
        first = o // (outputs // groups) * channels
        for (u, v), (row, column) in _window((i, j), *geometry).items():
            for c in range(channels):
                y[n, o, i, j] += w[o, c, u, v] * x[n, first + c, row, column]
    return y


def conv_transpose2d(
    x: Array,
    w: Array,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    output_padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Every pixel stamps the kernel, times itself, onto the output.

    (N, C, H, W) and (C, O/groups, kh, kw) -> (N, O, H', W') with
    H' = (H - 1)·stride - 2·padding + dilation·(kh - 1) + output_padding + 1.

    Pixel (i, j) of channel c adds x[n, c, i, j] · w[c, o, u, v] to output channel o of c's group
    at (i·stride - padding + u·dilation, the same for v); what falls outside is lost.
    """
    x, w = _wide(x), _wide(w)
    channels, outputs, *kernel_size = w.shape
    size = tuple(
        (x.shape[2 + a] - 1) * stride[a]
        - 2 * padding[a]
        + dilation[a] * (kernel_size[a] - 1)
        + output_padding[a]
        + 1
        for a in (0, 1)
    )
    y = np.zeros((len(x), groups * outputs, *size), np.result_type(x, w))
    for n, c, i, j in np.ndindex(*x.shape):
        first = c // (channels // groups) * outputs
        for o, u, v in np.ndindex(*w.shape[1:]):
            row = i * stride[0] - padding[0] + u * dilation[0]
            column = j * stride[1] - padding[1] + v * dilation[1]
            if 0 <= row < size[0] and 0 <= column < size[1]:
                y[n, first + o, row, column] += x[n, c, i, j] * w[c, o, u, v]
    return y


def conv2d_weight(
    x: Array,
    g: Array,
    kernel_size: Pair,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """The gradient of Σ conv2d(x, w)·g with respect to w: (O, C/groups, kh, kw).

    dw[o, c, u, v] = Σ_{n, i, j} g[n, o, i, j] · x[n, c, pixel that tap (u, v) sees from (i, j)]
    """
    x, g = _wide(x), _wide(g)
    geometry = x.shape[2:], kernel_size, stride, padding, dilation
    outputs, channels = g.shape[1], x.shape[1] // groups
    dw = np.zeros((outputs, channels, *kernel_size), np.result_type(x, g))
    for n, o, i, j in np.ndindex(*g.shape):
        first = o // (outputs // groups) * channels
        for (u, v), (row, column) in _window((i, j), *geometry).items():
            for c in range(channels):
                dw[o, c, u, v] += g[n, o, i, j] * x[n, first + c, row, column]
    return dw


def max_pool2d(
    x: Array, kernel_size: Pair, stride: Pair, padding: Pair = (0, 0), dilation: Pair = (1, 1)
) -> tuple[Array, NDArray[np.intp]]:
    """The largest pixel of every window, and the number u·kw + v of the tap that saw it.

    The first of equal maxima wins; padding never wins; NaN beats every number. A window that sees
    padding alone has no maximum: ValueError.
    """
    geometry = x.shape[2:], kernel_size, stride, padding, dilation
    values = np.empty((*x.shape[:2], *_output_size(*geometry)), x.dtype)
    index = np.empty(values.shape, np.intp)
    for n, c, i, j in np.ndindex(*values.shape):
        taps = _window((i, j), *geometry)
        pixels = [x[n, c, *pixel] for pixel in taps.values()]
        first = np.argmax(pixels)
        u, v = list(taps)[first]
        values[n, c, i, j] = pixels[first]
        index[n, c, i, j] = u * kernel_size[1] + v
    return values, index


def avg_pool2d(
    x: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair = (0, 0),
    count_include_pad: bool = True,
) -> Array:
    """The mean of every window, where padding counts as zeros or does not count."""
    x = _wide(x)
    geometry = x.shape[2:], kernel_size, stride, padding, (1, 1)
    y = np.empty((*x.shape[:2], *_output_size(*geometry)), x.dtype)
    for n, c, i, j in np.ndindex(*y.shape):
        pixels = [x[n, c, *pixel] for pixel in _window((i, j), *geometry).values()]
        y[n, c, i, j] = sum(pixels) / (math.prod(kernel_size) if count_include_pad else len(pixels))
    return y


def window_scatter(
    g: Array,
    index: NDArray[np.intp],
    input_shape: Sequence[int],
    kernel_size: Pair,
    stride: Pair,
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> Array:
    """Send the g of every window to the pixel that its tap number `index` sees, adding up.

    A tap that looks into the padding sees no pixel: KeyError.
    """
    x = np.zeros(input_shape, _wide(g).dtype)
    for n, c, i, j in np.ndindex(*g.shape):
        taps = _window((i, j), x.shape[2:], kernel_size, stride, padding, dilation)
        tap = divmod(int(index[n, c, i, j]), kernel_size[1])
        x[n, c, *taps[tap]] += g[n, c, i, j]
    return x


def window_gather(
    x: Array,
    index: NDArray[np.intp],
    kernel_size: Pair,
    stride: Pair,
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> Array:
    """Pick from every window the pixel that its tap number `index` sees.

    A tap that looks into the padding sees no pixel: KeyError.
    """
    y = np.empty(index.shape, x.dtype)
    for n, c, i, j in np.ndindex(*index.shape):
        taps = _window((i, j), x.shape[2:], kernel_size, stride, padding, dilation)
        tap = divmod(int(index[n, c, i, j]), kernel_size[1])
        y[n, c, i, j] = x[n, c, *taps[tap]]
    return y


# ----- windows on images with any number of spatial axes -----


def looks(
    size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Iterator[tuple[Axes, Axes, Axes]]:
    """(window, tap, pixel) for every tap of every window that sees a pixel.

    Windows and their taps come in row-major order. Tap u of window i looks at i·s - p + u·d.
    """
    axes = range(len(size))
    starts = [
        range(-padding[a], size[a] + padding[a] - dilation[a] * (kernel_size[a] - 1), stride[a])
        for a in axes
    ]
    for window in np.ndindex(*map(len, starts)):
        for tap in np.ndindex(*kernel_size):
            pixel = tuple(starts[a][window[a]] + tap[a] * dilation[a] for a in axes)
            if all(0 <= pixel[a] < size[a] for a in axes):
                yield window, tap, pixel


def count_windows(
    size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Axes:
    """How many windows each axis has."""
    geometry = zip(size, kernel_size, stride, padding, dilation, strict=True)
    return tuple(len(range(-p, n + p - d * (k - 1), s)) for n, k, s, p, d in geometry)


def grouped(outputs: int, inputs: int, groups: int) -> Iterator[tuple[slice, slice]]:
    """The channels that each group makes, and those that it reads."""
    for group in range(groups):
        made, read = outputs // groups, inputs // groups
        yield slice(group * made, (group + 1) * made), slice(group * read, (group + 1) * read)


def conv(
    x: Array,
    w: Array,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
) -> Array:
    """(N, C, *S) * (O, C/groups, *K) -> (N, O, *S'): each tap adds w times what it sees."""
    x, w = _wide(x), _wide(w)
    geometry = x.shape[2:], w.shape[2:], stride, padding, dilation
    y = np.zeros((len(x), len(w), *count_windows(*geometry)))
    for window, tap, pixel in looks(*geometry):
        for o, c in grouped(len(w), x.shape[1], groups):
            y[:, o, *window] += x[:, c, *pixel] @ w[o, :, *tap].T
    return y


def conv_transpose(
    x: Array,
    w: Array,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
) -> Array:
    """(N, O, *S'), (O, C/groups, *K) -> (N, C, *size): where `conv` reads, this adds.

    The windows of x may be fewer than those of an image of the given size.
    """
    x, w = _wide(x), _wide(w)
    y = np.zeros((len(x), groups * w.shape[1], *size))
    for window, tap, pixel in looks(size, w.shape[2:], stride, padding, dilation):
        if all(i < n for i, n in zip(window, x.shape[2:], strict=True)):
            for o, c in grouped(len(w), y.shape[1], groups):
                y[:, c, *pixel] += x[:, o, *window] @ w[o, :, *tap]
    return y


def conv_weight(
    x: Array,
    g: Array,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
) -> Array:
    """The gradient of Σ conv(x, w)·g with respect to w: (O, C/groups, *kernel_size)."""
    x, g = _wide(x), _wide(g)
    dw = np.zeros((g.shape[1], x.shape[1] // groups, *kernel_size))
    for window, tap, pixel in looks(x.shape[2:], kernel_size, stride, padding, dilation):
        for o, c in grouped(g.shape[1], x.shape[1], groups):
            dw[o, :, *tap] += g[:, o, *window].T @ x[:, c, *pixel]
    return dw


def unfold(
    x: Array,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Array:
    """(N, C, *S) -> (N, C·K, L): row c·K + u of column l is what tap u of window l sees of c."""
    geometry = x.shape[2:], kernel_size, stride, padding, dilation
    y = np.zeros((*x.shape[:2], *kernel_size, *count_windows(*geometry)), x.dtype)
    for window, tap, pixel in looks(*geometry):
        y[:, :, *tap, *window] = x[:, :, *pixel]
    taps, windows = math.prod(kernel_size), math.prod(count_windows(*geometry))
    return y.reshape(len(x), x.shape[1] * taps, windows)


def fold(
    x: Array,
    size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Array:
    """(N, C·K, L) -> (N, C, *size): each pixel is the sum of all that sees it."""
    geometry = size, kernel_size, stride, padding, dilation
    channels = x.shape[1] // math.prod(kernel_size)
    columns = x.reshape(len(x), channels, *kernel_size, *count_windows(*geometry))
    y = np.zeros((len(x), channels, *size))
    for window, tap, pixel in looks(*geometry):
        y[:, :, *pixel] += columns[:, :, *tap, *window]
    return y


def over_windows(
    x: Array, windows: Sequence[Sequence[Sequence[int]]], function: Callable[[Array, Array], Any]
) -> Array:
    """One number for each window of each channel: function(its pixels, their places), row by row.

    `windows[a][i]` are the places that window i looks at along axis a; those outside of the image
    are left out. Pixels are numbered in row-major order.
    """
    size = x.shape[2:]
    places = np.arange(math.prod(size)).reshape(size)
    y = np.empty((*x.shape[:2], *map(len, windows)))
    for n, c, *window in np.ndindex(*y.shape):
        seen = np.ix_(
            *[
                [place for place in windows[a][i] if 0 <= place < size[a]]
                for a, i in enumerate(window)
            ]
        )
        y[n, c, *window] = function(x[n, c][seen].ravel(), places[seen].ravel())
    return y


# ----- normalization -----


def batch_norm_train(
    x: Array, weight: Array | None, bias: Array | None, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    """(y, mean, biased variance) of (N, C) or (N, C, ...), with statistics per channel.

    y = (x - mean) / √(var + eps) · weight + bias; no weight is 1, no bias is 0 (Ioffe & Szegedy,
    2015, "Batch Normalization", algorithm 1).
    """
    x = _wide(x)
    channels = range(x.shape[1])
    mean = np.array([np.sum(x[:, c]) / x[:, c].size for c in channels])
    var = np.array([np.sum((x[:, c] - mean[c]) ** 2) / x[:, c].size for c in channels])
    return batch_norm_eval(x, mean, var, weight, bias, eps), mean, var


def batch_norm_eval(
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float = 1e-5,
) -> Array:
    """(x - mean) / √(var + eps) · weight + bias, per channel, with the statistics as given."""
    x, mean, var = _wide(x), _wide(mean), _wide(var)
    weight = np.ones_like(mean) if weight is None else weight
    bias = np.zeros_like(mean) if bias is None else bias
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        y[:, c] = (x[:, c] - mean[c]) / np.sqrt(var[c] + eps) * weight[c] + bias[c]
    return y


def running_update(
    running: Array, batch_stat: Array, momentum: float, n: int, unbiased: bool
) -> Array:
    """(1 - momentum)·running + momentum·batch_stat.

    `unbiased` first turns the biased variance of n values into the unbiased one: times n / (n - 1).
    """
    factor = n / (n - 1) if unbiased else 1
    return (1 - momentum) * _wide(running) + momentum * factor * _wide(batch_stat)


# ----- softmax and losses -----


def softmax(x: Array, axis: int) -> Array:
    """e^x / Σ e^x."""
    return np.asarray(scipy.special.softmax(_wide(x), axis))


def log_softmax(x: Array, axis: int) -> Array:
    """log(e^x / Σ e^x)."""
    return np.asarray(scipy.special.log_softmax(_wide(x), axis))


def logsumexp(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """log Σ e^x."""
    return np.asarray(scipy.special.logsumexp(_wide(x), axis, keepdims=keepdims))


def _reduce(losses: Array, reduction: Reduction) -> Array:
    match reduction:
        case "none":
            return losses
        case "sum":
            return np.asarray(np.sum(losses))
        case "mean":
            return np.asarray(np.mean(losses))


def cross_entropy(logits: Array, labels: Array, reduction: Reduction = "mean") -> Array:
    """-log softmax(logits)[label]. (N, C, d1, ...) and class indices (N, d1, ...)."""
    losses = np.empty(labels.shape, _wide(logits).dtype)
    for n, *position in np.ndindex(*labels.shape):
        scores = logits[n, :, *position]
        losses[n, *position] = -log_softmax(scores, axis=0)[labels[n, *position]]
    return _reduce(losses, reduction)


def mse_loss(x: Array, y: Array, reduction: Reduction = "mean") -> Array:
    """(x - y)²."""
    return _reduce(np.asarray((_wide(x) - _wide(y)) ** 2), reduction)


# ----- activations -----


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return np.asarray(scipy.special.expit(_wide(x)))


def relu(x: Array) -> Array:
    """max(x, 0)."""
    y = _wide(x)
    for position in np.ndindex(*y.shape):
        if y[position] <= 0:
            y[position] = 0
    return y


def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """x where x > 0, else negative_slope·x."""
    y = _wide(x)
    for position in np.ndindex(*y.shape):
        if not y[position] > 0:
            y[position] *= negative_slope
    return y


def softplus(x: Array) -> Array:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), where the power cannot overflow."""
    x = _wide(x)
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


# ----- linear algebra -----


def matmul(a: Array, b: Array) -> Array:
    """y[..., i, j] = Σ_k a[..., i, k] · b[..., k, j], with leading axes broadcast.

    A vector is a row on the left and a column on the right, and its axis of size 1 is not seen in
    the result.
    """
    a, b = _wide(a), _wide(b)
    rows = a[np.newaxis, :] if a.ndim == 1 else a
    columns = b[:, np.newaxis] if b.ndim == 1 else b
    batch = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    rows = np.broadcast_to(rows, batch + rows.shape[-2:])
    columns = np.broadcast_to(columns, batch + columns.shape[-2:])

    y = np.zeros((*batch, rows.shape[-2], columns.shape[-1]), np.result_type(a, b))
    for *p, i, j in np.ndindex(*y.shape):
        for left, right in zip(rows[*p, i, :], columns[*p, :, j], strict=True):
            y[*p, i, j] += left * right

    unseen = (-2,) * (a.ndim == 1) + (-1,) * (b.ndim == 1)
    return np.asarray(np.squeeze(y, unseen))


# ----- shape and index -----


def pad(x: Array, widths: Sequence[Pair], value: float = 0.0) -> Array:
    """Surround x with a constant; widths are (before, after) per axis, and a negative one crops."""
    shape = [before + size + after for size, (before, after) in zip(x.shape, widths, strict=True)]
    y = np.full(shape, value, x.dtype)
    for position in np.ndindex(*shape):
        source = [p - before for p, (before, _) in zip(position, widths, strict=True)]
        if all(0 <= s < size for s, size in zip(source, x.shape, strict=True)):
            y[position] = x[*source]
    return y


def scatter_add_index(shape: Sequence[int], index: Any, g: ArrayLike) -> Array:
    """Zeros of `shape` with g added at a NumPy index; a place named twice receives twice."""
    g = _wide(g)
    x = np.zeros(shape, g.dtype)
    np.add.at(x, index, g)
    return x


# ----- statistics -----


def var(x: Array, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Array:
    """Σ (x - mean)² / max(0, n - correction) over n elements, where 0 / 0 is NaN."""
    x = _wide(x)
    n = np.sum(np.ones(x.shape), axis, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.sum(x, axis, keepdims=True) / n
        y = np.sum((x - mean) ** 2, axis, keepdims=True) / np.maximum(0, n - correction)
    return y if keepdims else np.squeeze(y, tuple(range(x.ndim)) if axis is None else axis)


# ----- gradients -----


def numerical_gradient(f: Callable[[Array], Any], x: Array, h: float = 1e-6) -> Array:
    """∂f/∂x of a scalar f by central differences: (f(x + h·e) - f(x - h·e)) / 2h for every unit e.

    f is handed an array of its own each time.
    """
    gradient = np.zeros(x.shape)
    for position in np.ndindex(*x.shape):
        right, left = np.array(x, np.float64), np.array(x, np.float64)
        right[position] += h
        left[position] -= h
        step = right[position] - left[position]  # 2h after rounding: what f really saw
        gradient[position] = (float(f(right)) - float(f(left))) / step
    return gradient
