"""Pooling: one number for each window of an image.

The ops on windows take images with any number of spatial axes; max_pool has a name for each.
"""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_cv._apply import F as T
from tinygrad_cv._apply import computed_in
from tinygrad_cv._graph import in_one
from tinygrad_cv._inputs import public
from tinygrad_cv._op import Op, moves, per_input
from tinygrad_cv._public import FUNCTIONAL, TOP
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.ops.conv import (
    AXES,
    Ints,
    Spatial,
    as_batch,
    check_float,
    check_windows,
    is_integer,
    per_axis,
)
from tinygrad_cv.ops.reduce import norm


class _Windows(Spatial):
    kernel: Ints
    stride: Ints
    padding: Ints = (0, 0)

    @property
    def geometry(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.attributes if name != "size"}

    def flops(self, out, *inputs):
        """Each window looks at, or adds, what it sees."""
        return math.prod(out) * math.prod(self.kernel)


class _MaxPool(_Windows, register=False):
    dilation: Ints = (1, 1)
    kept = ("index",)

    def forward(self, xp, x):
        self.size = x.shape[2:]
        y, self.index = xp.max_pool(x, **self.geometry)
        return y

    def grad_x(self, F, g, index):
        return F.window_scatter(g, index, size=self.size, **self.geometry)


class MaxPool1d(_MaxPool, axes=1):
    """The largest element of each window of a sequence; see max_pool2d."""


class MaxPool2d(_MaxPool, axes=2):
    """The largest element of each window. Its place is kept: that is where the gradient goes."""


class MaxPool3d(_MaxPool, axes=3):
    """The largest element of each window of a volume; see max_pool2d."""


class MaxPoolWithPlaces(_MaxPool):
    """The largest element of each window, and its number in the flat image."""

    outputs = ("values", "places")

    def forward(self, xp, x):
        y = super().forward(xp, x)
        rest, place, step = self.index.astype("int64"), 0, 1
        for axis in reversed(range(len(self.kernel))):
            # Tap u of window i looks at i·s - p + u·d.
            tap, rest = rest % self.kernel[axis], rest // self.kernel[axis]
            starts = xp.arange(y.shape[2 + axis]) * self.stride[axis] - self.padding[axis]
            starts = xp.reshape(starts, (-1, *(1,) * (len(self.kernel) - 1 - axis)))
            place = place + (starts + tap * self.dilation[axis]) * step
            step *= x.shape[2 + axis]
        return y, place

    def grad_x(self, F, g, index):
        return super().grad_x(F, g[0], index)


class WindowScatter(_Windows):
    """Zeros of the image's size with each x added at the indexed place of its window."""

    size: Ints
    dilation: Ints = (1, 1)
    nondifferentiable = ("index",)
    flops = per_input

    def forward(self, xp, x, index):
        return xp.window_scatter(x, index, size=self.size, **self.geometry)

    def grad_x(self, F, g, index):
        return F.window_gather(g, index, **self.geometry)


class WindowGather(_Windows):
    """The element at the indexed place of each window: the adjoint of window_scatter."""

    dilation: Ints = (1, 1)
    nondifferentiable = ("index",)
    flops = moves

    def forward(self, xp, x, index):
        self.size = x.shape[2:]
        return xp.window_gather(x, index, **self.geometry)

    def grad_x(self, F, g, index):
        return F.window_scatter(g, index, size=self.size, **self.geometry)


class WindowSum(_Windows):
    """The sum over each window, divided by a number; rounded once."""

    divisor: int = 1

    def forward(self, xp, x):
        self.size = x.shape[2:]
        return xp.window_sum(x, **self.geometry)

    def grad_x(self, F, g):
        return F.window_spread(g, size=self.size, **self.geometry)


class WindowSpread(_Windows):
    """Each x, divided, added to every place of its window: the adjoint of window_sum."""

    size: Ints
    divisor: int = 1

    def forward(self, xp, x):
        return xp.window_spread(x, size=self.size, **self.geometry)

    def flops(self, out, x):
        return math.prod(x) * math.prod(self.kernel)

    def grad_x(self, F, g):
        return F.window_sum(g, **self.geometry)


class Unpool(Op):
    """Zeros of `length` along the last axis, each x (N, C, n) at its index; of several the last.

    Each x gets the gradient of its place, as in PyTorch: also one that is not the last there, on
    which nothing depends. Where no place is named twice it is the derivative.
    """

    length: int
    nondifferentiable = ("index",)
    flops = moves

    def forward(self, xp, x, index):
        index = xp.where(index < 0, index + self.length, index)
        order = xp.argsort(index, axis=2, kind="stable")
        x, index = xp.take_along_axis(x, order, 2), xp.take_along_axis(index, order, 2)
        others = index[..., 1:] != index[..., :-1]
        last = xp.concatenate((others, xp.ones_like(index[..., :1], dtype=bool)), axis=2)
        batch, channels = (xp.arange(n) for n in x.shape[:2])
        places = xp.reshape(batch, (-1, 1, 1)), xp.reshape(channels, (-1, 1)), index
        return xp.scatter_add((*x.shape[:2], self.length), places, xp.where(last, x, 0))

    def grad_x(self, F, g, index):
        return F.take_along_dim(g, index, axis=2)


# ----- as functions ------------------------------------------------------------------------------


def _check_images(name: str, axes: int, input: Tensor) -> None:
    if input.ndim != 2 + axes:
        raise ValueError(
            f"{name}: expected an input (N, C, {AXES[axes]}), or without N; got {input.shape}."
        )


def kernel_and_stride(axes: int, kernel_size: Any, stride: Any) -> tuple[Ints, Ints]:
    """The kernel and the stride for each axis; none is the kernel's, and () is none in PyTorch."""
    kernel = per_axis(axes, kernel_size, "kernel_size", 1)
    unsaid = stride is None or (isinstance(stride, tuple | list) and not stride)
    return kernel, kernel if unsaid else per_axis(axes, stride, "stride", 1)


def _geometry(
    name: str,
    axes: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> tuple[dict[str, Ints], tuple[slice, ...] | None]:
    """The windows of a pool, and which of them to take along the spatial axes (None: all).

    With `ceil_mode` an axis may have one more window than fits in. The kernels count those that
    fit, so the image gets a stride more padding on both sides: that is one window more in front,
    to be left out, and the one wanted at the end.
    """
    _check_images(name, axes, input)
    kernel, strides = kernel_and_stride(axes, kernel_size, stride)
    pads = per_axis(axes, padding, "padding", 0)
    dilations = per_axis(axes, dilation, "dilation", 1)
    check_padding(name, pads, kernel)
    grown, taken = list(pads), [slice(None)] * axes
    lengths = zip(input.shape[2:], kernel, strides, pads, dilations, strict=True)
    for axis, (n, k, s, p, d) in enumerate(lengths if ceil_mode else ()):
        last = n + 2 * p - d * (k - 1) - 1  # where a window may start at most, from -p on
        count = -(-last // s) + 1
        # The additional window must start in the image or in the padding before it.
        if last % s and count >= 1 and (count - 1) * s < n + p:
            grown[axis] += s
            taken[axis] = slice(1, 1 + count)
    check_windows(name, input.shape, kernel, strides, tuple(grown), dilations)
    geometry = {
        "kernel": kernel,
        "stride": strides,
        "padding": tuple(grown),
        "dilation": dilations,
    }
    return geometry, None if tuple(grown) == pads else tuple(taken)


def check_padding(name: str, padding: Ints, kernel: Ints) -> None:
    """Raise if a window could hold padding alone."""
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(
            f"{name}: the padding {padding} may be at most half of the kernel {kernel}; "
            "otherwise some windows would hold padding alone."
        )


def _take(y: Tensor, taken: tuple[slice, ...] | None) -> Tensor:
    if taken is None:
        return y
    result: Tensor = T.getitem(y, index=(slice(None), slice(None), *taken))
    return result


def _max_pool(
    axes: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    name = f"max_pool{axes}d"
    if input.ndim == 1 + axes:
        options = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
        return as_batch(lambda images: _max_pool(axes, images, *options), input)
    geometry, taken = _geometry(
        name, axes, input, kernel_size, stride, padding, dilation, ceil_mode
    )
    if 0 in input.shape[1:]:
        raise ValueError(f"{name}: of the axes only N may have the length 0; got {input.shape}.")
    if return_indices:
        values, places = T.max_pool_with_places(input, **geometry)
        return _take(values, taken), _take(places, taken)
    call: Callable[..., Tensor] = getattr(T, name)
    return _take(call(input, **geometry), taken)


@public(TOP, FUNCTIONAL)
@in_one
def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window; (N, C, L) -> (N, C, L'). See `max_pool2d`.

    >>> max_pool1d(Tensor([[[1.0, 3.0, 2.0, 4.0, 0.0]]]), 2, ceil_mode=True)
    tensor([[[3., 4., 0.]]])
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@public(TOP, FUNCTIONAL)
@in_one
def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window; (N, C, H, W) -> (N, C, H', W') as conv2d.

    `stride` is the kernel size by default. Padding never wins. The whole gradient goes to the
    first maximum of a window (row by row). With `ceil_mode` a last window may reach over the end,
    as long as it starts before it. An input without N is one image.

    With `return_indices` the result is a pair: the maxima, and their places in the flat image,
    h·W + w, as `max_unpool2d` takes them.

    >>> x = Tensor([[[[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]]])
    >>> max_pool2d(x, 2)
    tensor([[[[6., 8.],
              [3., 4.]]]])
    >>> max_pool2d(x, 2, return_indices=True)[1]
    tensor([[[[ 5,  7],
              [ 8, 15]]]])
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@public(TOP, FUNCTIONAL)
@in_one
def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window; (N, C, D, H, W) -> (N, C, D', H', W').

    See `max_pool2d`.

    >>> max_pool3d(Tensor([[[[[1.0, 3.0]], [[2.0, 4.0]]]]]), (2, 1, 1))
    tensor([[[[[2., 4.]]]]])
    """
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _max_unpool(
    axes: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Sequence[int] | None,
) -> Tensor:
    name = f"max_unpool{axes}d"
    if input.shape != indices.shape or indices.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: each element of the input {input.shape} needs a whole number in `indices`; "
            f"got {indices.dtype} {indices.shape}. max_pool{axes}d(..., return_indices=True) "
            "returns them."
        )
    if input.ndim == 1 + axes:
        options = (kernel_size, stride, padding, output_size)
        y: Tensor = as_batch(lambda x, i: _max_unpool(axes, x, i, *options), input, indices)
        return y
    _check_images(name, axes, input)
    kernel, strides = kernel_and_stride(axes, kernel_size, stride)
    pads = per_axis(axes, padding, "padding", 0)
    lengths = zip(input.shape[2:], kernel, strides, pads, strict=True)
    usual = tuple((n - 1) * s - 2 * p + k for n, k, s, p in lengths)
    size = usual if output_size is None else tuple(output_size)[-axes:]
    if len(size) != axes or any(
        abs(n - m) >= s or n < 1 for n, m, s in zip(size, usual, strides, strict=False)
    ):
        raise ValueError(
            f"{name}: the input {input.shape} with kernel {kernel}, stride {strides} and padding "
            f"{pads} comes from an image of about {usual}; the output size {size} must be within "
            "less than a stride of that."
        )
    flat = (*input.shape[:2], math.prod(input.shape[2:]))
    x, index = T.reshape(input, shape=flat), T.reshape(indices, shape=flat)
    try:
        y = T.unpool(x, index, length=math.prod(size))
    except IndexError as error:
        raise IndexError(
            f"{name}: the indices name places outside of an image of size {size} ({error}). Give "
            "the size of the image that was pooled as output_size."
        ) from error
    return T.reshape(y, shape=(*input.shape[:2], *size))


@public(TOP, FUNCTIONAL)
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros with each maximum of `max_pool1d` put back. See `max_unpool2d`.

    >>> y, indices = max_pool1d(Tensor([[[1.0, 3.0, 4.0, 2.0]]]), 2, return_indices=True)
    >>> max_unpool1d(y, indices, 2)
    tensor([[[0., 3., 4., 0.]]])
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


@public(TOP, FUNCTIONAL)
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros with each maximum of `max_pool2d` put back where it was.

    input and indices (N, C, H', W'), or without N -> (N, C, H, W) with
    H = (H' - 1)·stride - 2·padding + kernel_size. Images whose sizes differ by less than a stride
    pool to the same size, so `output_size` (with or without N and C) may say which it was. A place
    that several windows name gets the value of the last of them, row by row, and each of them gets
    the gradient of the place, as in PyTorch.

    >>> x = Tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> y, indices = max_pool2d(x, 2, return_indices=True)
    >>> max_unpool2d(y, indices, 2)
    tensor([[[[0., 0.],
              [0., 4.]]]])
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


@public(TOP, FUNCTIONAL)
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros with each maximum of `max_pool3d` put back. See `max_unpool2d`.

    >>> place = Tensor([[[[[1]]]]], dtype="int64")
    >>> max_unpool3d(Tensor([[[[[5.0]]]]]), place, (1, 1, 2))
    tensor([[[[[0., 5.]]]]])
    """
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


# ----- windows at random places ------------------------------------------------------------------


def _fractional_max_pool(
    axes: int,
    input: Tensor,
    kernel_size: Any,
    output_size: Any,
    output_ratio: Any,
    return_indices: bool,
    samples: Tensor | None,
    generator: Any,
) -> Any:
    name = f"fractional_max_pool{axes}d"
    if input.ndim == 1 + axes:
        options = (kernel_size, output_size, output_ratio, return_indices, samples, generator)
        return as_batch(lambda images: _fractional_max_pool(axes, images, *options), input)
    _check_images(name, axes, input)
    kernel, lengths = per_axis(axes, kernel_size, "kernel_size", 1), input.shape[2:]
    if (output_size is None) == (output_ratio is None):
        raise ValueError(
            f"{name}: either output_size or output_ratio is asked for; got {output_size} and "
            f"{output_ratio}."
        )
    if output_size is None:
        several = isinstance(output_ratio, tuple | list)
        ratios = tuple(output_ratio) if several else (output_ratio,) * axes
        output_size = tuple(int(n * r) for n, r in zip(lengths, ratios, strict=True))
    out = per_axis(axes, output_size, "output_size", 1)
    if any(m + k - 1 > n for n, m, k in zip(lengths, out, kernel, strict=True)):
        raise ValueError(
            f"{name}: {out} windows of size {kernel} do not fit into the input {input.shape}: an "
            "axis has at least as many elements as the output and a window without its first."
        )
    batch = input.shape[:2]
    if samples is None:
        noise = Tensor(host.zeros((*batch, axes)), dtype=input.dtype, device=input.device)
        samples = noise.uniform_(generator=generator)
    samples = samples[: batch[0]]
    if samples.shape != (*batch, axes):
        raise ValueError(
            f"{name}: the random samples have the shape {(*batch, axes)}, one for each channel and "
            f"axis; got {samples.shape}."
        )
    # Places (N, C, *out, *kernel) in the flat image; the samples begin with the last axis for two
    # axes and with the first for three, as PyTorch's.
    places: Any = 0
    for axis, (n, m, k) in enumerate(zip(lengths, out, kernel, strict=True)):
        u = samples[:, :, axes - 1 - axis if axes == 2 else axis].unsqueeze(-1)
        steps = Tensor(host.arange(m), dtype=u.dtype, device=input.device)
        step = (n - k) / (m - 1) if m > 1 else 0.0
        starts = ((steps + u) * step).long() - (u * step).long()
        last = Tensor(host.arange(m) == m - 1, device=input.device)
        starts = T.where(last, n - k, starts)
        seen = starts.unsqueeze(-1) + Tensor(host.arange(k), device=input.device)
        shape = [1] * (2 * axes)
        shape[axis], shape[axes + axis] = m, k
        places = places * n + T.reshape(seen, shape=(*batch, *shape))
    places = T.reshape(places, shape=(*batch, *out, math.prod(kernel)))
    values = _at(input.detach(), places)
    best = values.argmax(-1).unsqueeze(-1)
    where = T.reshape(T.take_along_dim(places, best, axis=places.ndim - 1), shape=(*batch, *out))
    y = _at(input, where)
    return (y, where) if return_indices else y


@public(FUNCTIONAL)
def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
    *,
    generator: Any = None,
) -> Any:
    """The largest elements of windows whose distances are random (Graham, 2014).

    (N, C, H, W), or without N -> (N, C, *output_size), or `output_ratio` times the size of the
    input. Along an axis from n to m the windows of size k start at ⌊(i + u) a⌋ - ⌊u a⌋ with
    a = (n - k) / (m - 1), the last one at n - k; u is drawn for each channel, uniform on [0, 1),
    from `generator` or from the one that `manual_seed` seeds. `_random_samples` (N, C, 2) are
    these u, that of the last axis first. `return_indices` is that of `max_pool2d`.

    >>> from tinygrad_cv import ones
    >>> fractional_max_pool2d(ones(1, 2, 9, 9), 2, output_size=(5, 6)).shape
    (1, 2, 5, 6)
    """
    options = kernel_size, output_size, output_ratio, return_indices, _random_samples, generator
    return _fractional_max_pool(2, input, *options)


@public(FUNCTIONAL)
def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
    *,
    generator: Any = None,
) -> Any:
    """The largest elements of windows whose distances are random, of (N, C, D, H, W).

    See `fractional_max_pool2d`; `_random_samples` (N, C, 3) begin with the first axis.

    >>> from tinygrad_cv import ones
    >>> fractional_max_pool3d(ones(1, 2, 4, 9, 9), 2, output_ratio=0.5).shape
    (1, 2, 2, 4, 4)
    """
    options = kernel_size, output_size, output_ratio, return_indices, _random_samples, generator
    return _fractional_max_pool(3, input, *options)


# ----- means -------------------------------------------------------------------------------------


def _avg_pool(
    axes: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    name = f"avg_pool{axes}d"
    if input.ndim == 1 + axes:
        options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        y: Tensor = as_batch(lambda images: _avg_pool(axes, images, *options), input)
        return y
    check_float(name, input)
    if divisor_override == 0 or not isinstance(divisor_override, int | None):
        raise ValueError(
            f"{name}: divisor_override must be a whole number other than 0; got {divisor_override}."
        )
    geometry, taken = _geometry(name, axes, input, kernel_size, stride, padding, 1, ceil_mode)
    del geometry["dilation"]
    kernel, strides = geometry["kernel"], geometry["stride"]
    pads = per_axis(axes, padding, "padding", 0)
    whole = taken is None and (count_include_pad or not any(pads))
    divisor_of_all = divisor_override or (math.prod(kernel) if whole else 1)
    total = _take(T.window_sum(input, divisor=divisor_of_all, **geometry), taken)
    if whole or divisor_override:
        return total
    counts = _counts(input, total.shape[2:], kernel, strides, pads, count_include_pad)
    return total / counts


def _counts(
    input: Tensor, out: Ints, kernel: Ints, stride: Ints, pads: Ints, count_include_pad: bool
) -> Tensor:
    """How many taps of each window count: those over the end never do."""
    counts = host.ones((), input.dtype)
    for axis, n in enumerate(input.shape[2:]):
        border = pads[axis] if count_include_pad else 0
        starts = host.arange(out[axis]) * stride[axis] - pads[axis]
        ends = host.minimum(starts + kernel[axis], n + border)
        along = ends - host.maximum(starts, -border)
        counts = counts * along.reshape(-1, *(1,) * (len(out) - 1 - axis)).astype(input.dtype)
    return Tensor(counts, device=input.device)


@public(TOP, FUNCTIONAL)
@in_one
@computed_in("float32")
def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window; (N, C, L) -> (N, C, L'). See `avg_pool2d`.

    >>> avg_pool1d(Tensor([[[1.0, 2.0, 3.0]]]), 2, ceil_mode=True)
    tensor([[[1.5, 3. ]]])
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@public(TOP, FUNCTIONAL)
@in_one
@computed_in("float32")
def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window; (N, C, H, W) -> (N, C, H', W') as conv2d.

    `stride` is the kernel size by default. With `count_include_pad` padding counts as zeros,
    otherwise it does not count. With `ceil_mode` a last window may reach over the end, as long as
    it starts before it; what lies there never counts. `divisor_override` is what the sum is
    divided by instead. An input without N is one image. For the mean of each channel see
    `adaptive_avg_pool2d`.

    >>> avg_pool2d(Tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 2)
    tensor([[[[2.5]]]])
    """
    return _avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@public(TOP, FUNCTIONAL)
@in_one
@computed_in("float32")
def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window; (N, C, D, H, W) -> (N, C, D', H', W'). See `avg_pool2d`.

    >>> avg_pool3d(Tensor([[[[[1.0, 3.0]], [[2.0, 4.0]]]]]), (2, 1, 1))
    tensor([[[[[1.5, 3.5]]]]])
    """
    return _avg_pool(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _lp_pool(
    axes: int,
    input: Tensor,
    norm_type: float,
    kernel_size: Any,
    stride: Any,
    ceil_mode: bool,
) -> Tensor:
    name = f"lp_pool{axes}d"
    if not norm_type > 0:
        raise ValueError(f"{name}: norm_type must be above 0; got {norm_type}.")
    check_float(name, input)
    if input.ndim == 1 + axes:
        options = (norm_type, kernel_size, stride, ceil_mode)
        y: Tensor = as_batch(lambda images: _lp_pool(axes, images, *options), input)
        return y
    geometry, taken = _geometry(name, axes, input, kernel_size, stride, 0, 1, ceil_mode)
    taps = math.prod(geometry["kernel"])
    if norm_type == 1:
        windows = {key: value for key, value in geometry.items() if key != "dilation"}
        lengths = _take(T.window_sum(input, **windows), taken)
    else:
        out = check_windows(name, input.shape, **geometry)
        columns = T.reshape(T.unfold(input, **geometry), shape=(*input.shape[:2], taps, *out))
        lengths = _take(norm(columns, norm_type, 2), taken)
    if taken is None:
        return lengths
    counts = _counts(
        input, lengths.shape[2:], geometry["kernel"], geometry["stride"], (0,) * axes, True
    )
    return lengths * (taps / counts) ** (1 / norm_type)


@public(TOP, FUNCTIONAL)
@in_one
@computed_in("float32")
def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ |x|^p)^(1/p) over each window, with p = `norm_type`. See `lp_pool2d`.

    >>> lp_pool1d(Tensor([[[3.0, 4.0]]]), 2, 2)
    tensor([[[5.]]])
    """
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


@public(TOP, FUNCTIONAL)
@in_one
@computed_in("float32")
def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ |x|^p)^(1/p) over each window, with p = `norm_type`; (N, C, H, W) -> (N, C, H', W').

    p = 1 gives the sum Σ x, in which signs count, as in PyTorch; with any other p it is the norm of
    the window (PyTorch has xᵖ, which of a negative x is NaN for most p). The larger p, the closer
    to the maximum, which is p = inf. The sum is the mean of `avg_pool2d` times the taps of a whole
    window, also for a window that reaches over the end. The powers are taken of x over the largest
    |x| of a window, so that the result is finite wherever the exact value is. Where it is 0 the
    gradient is 0.

    Raises ValueError unless p is above 0.

    >>> lp_pool2d(Tensor([[[[3.0, 0.0], [4.0, 0.0]]]]), 2, (2, 1))
    tensor([[[[5., 0.]]]])
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


@public(TOP, FUNCTIONAL)
@in_one
@computed_in("float32")
def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ |x|^p)^(1/p) over each window, with p = `norm_type`. See `lp_pool2d`.

    >>> lp_pool3d(Tensor([[[[[3.0]], [[4.0]]]]]), 2, (2, 1, 1))
    tensor([[[[[5.]]]]])
    """
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


# ----- to a given size ---------------------------------------------------------------------------


def _output_size(name: str, axes: int, input: Tensor, output_size: Any) -> Ints:
    _check_images(name, axes, input)
    given = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size,) * axes
    sizes = zip(given, input.shape[2:], strict=False)
    filled = tuple(n if m is None else m for m, n in sizes)
    if len(given) != axes or not all(is_integer(m) and m >= 1 for m in filled):
        several = "" if axes == 1 else f", or {axes} of them"
        raise ValueError(
            f"{name}: output_size must be a whole number >= 1{several}, where None keeps the size "
            f"of the input {input.shape}; got {output_size}."
        )
    if 0 in input.shape[2:]:
        raise ValueError(f"{name}: the input {input.shape} has no pixels.")
    return tuple(map(int, filled))


def _spans(n: int, m: int) -> list[range]:
    """m windows on n places: from floor(i·n / m) to ceil((i + 1)·n / m)."""
    return [range(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


def adaptive_mean(axes: int, input: Tensor, output_size: Any) -> Tensor:
    name = f"adaptive_avg_pool{axes}d"
    if input.ndim == 1 + axes:
        y: Tensor = as_batch(lambda images: adaptive_mean(axes, images, output_size), input)
        return y
    check_float(name, input)
    lengths = list(zip(input.shape[2:], _output_size(name, axes, input, output_size), strict=True))
    # Where the windows tile an axis, each becomes an axis of its own.
    shape, within = list(input.shape[:2]), []
    for n, m in lengths:
        shape += [m, n // m] if n % m == 0 else [n]
        if n % m == 0:
            within.append(len(shape) - 1)
    y = input
    if within:
        y = T.mean(T.reshape(input, shape=tuple(shape)), axis=tuple(within))
    for axis, (n, m) in enumerate(lengths, 2):
        if n % m:
            y = T.resample(y, axis=axis, size=m, step=(n, m), mode="area")
    return y


@public(TOP, FUNCTIONAL)
@in_one
@computed_in("float32")
def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The mean of each of `output_size` windows; (N, C, L) -> (N, C, L').

    See `adaptive_avg_pool2d`.

    >>> adaptive_avg_pool1d(Tensor([[[1.0, 2.0, 3.0]]]), 2)
    tensor([[[1.5, 2.5]]])
    """
    return adaptive_mean(1, input, output_size)


@public(TOP, FUNCTIONAL)
@in_one
@computed_in("float32")
def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The means of windows chosen so that the output is (N, C, *output_size).

    Along an axis from n to m places, window i reaches from floor(i·n/m) to ceil((i + 1)·n/m).
    None keeps the size of an axis. An input without N is one image.

    `adaptive_avg_pool2d(x, 1)` is the mean of each channel: global average pooling.

    >>> x = Tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> adaptive_avg_pool2d(x, 1)
    tensor([[[[2.5]]]])
    >>> adaptive_avg_pool2d(x, (None, 1))
    tensor([[[[1.5],
              [3.5]]]])
    """
    return adaptive_mean(2, input, output_size)


@public(TOP, FUNCTIONAL)
@in_one
@computed_in("float32")
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The means of windows; (N, C, D, H, W) -> (N, C, *output_size). See `adaptive_avg_pool2d`.

    >>> adaptive_avg_pool3d(Tensor([[[[[1.0]], [[3.0]]]]]), 1)
    tensor([[[[[2.]]]]])
    """
    return adaptive_mean(3, input, output_size)


def _adaptive_max_pool(axes: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    name = f"adaptive_max_pool{axes}d"
    if input.ndim == 1 + axes:
        options = (output_size, return_indices)
        return as_batch(lambda images: _adaptive_max_pool(axes, images, *options), input)
    lengths = list(zip(input.shape[2:], _output_size(name, axes, input, output_size), strict=True))
    y, places = input, None
    if not return_indices and not any(n % m for n, m in lengths):  # of equal length, side by side
        kernel = tuple(n // m for n, m in lengths)
        none, each = (0,) * axes, (1,) * axes
        geometry = {"kernel": kernel, "stride": kernel, "padding": none, "dilation": each}
        return getattr(T, f"max_pool{axes}d")(input, **geometry)
    if return_indices:
        numbers = Tensor(host.arange(math.prod(input.shape[2:])), device=input.device)
        places = T.broadcast_to(T.reshape(numbers, shape=input.shape[2:]), shape=input.shape)
    # One axis after the other, the last one first: the first maximum of a window, row by row, is
    # the first one of the first row whose maximum is the largest.
    for axis, (n, m) in reversed(list(enumerate(lengths))):
        spans = _spans(n, m)
        longest = max(map(len, spans))
        if n % m:
            # Windows of unequal length are laid side by side, each as long as the longest: the
            # last place of a shorter one is repeated, which leaves its first maximum where it is.
            laid = [span[min(u, len(span) - 1)] for span in spans for u in range(longest)]
            index = (slice(None),) * (2 + axis) + (laid,)
            y, places = y[index], None if places is None else places[index]
        kernel = tuple(longest if a == axis else 1 for a in range(axes))
        geometry = {"kernel": kernel, "stride": kernel}
        geometry |= {"padding": (0,) * axes, "dilation": (1,) * axes}
        if places is None:
            y = getattr(T, f"max_pool{axes}d")(y, **geometry)
        else:
            y, found = T.max_pool_with_places(y, **geometry)
            places = _at(places, found)
    return y if places is None else (y, places)


def _at(images: Tensor, places: Tensor) -> Tensor:
    """The elements of flat images at places (N, C, ...)."""
    flat, along = (
        T.reshape(x, shape=(*x.shape[:2], math.prod(x.shape[2:]))) for x in (images, places)
    )
    return T.reshape(T.take_along_dim(flat, along, axis=2), shape=places.shape)


@public(TOP, FUNCTIONAL)
@in_one
def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of each of `output_size` windows; (N, C, L) -> (N, C, L').

    See `adaptive_max_pool2d`.

    >>> adaptive_max_pool1d(Tensor([[[1.0, 3.0, 2.0]]]), 2)
    tensor([[[3., 3.]]])
    """
    return _adaptive_max_pool(1, input, output_size, return_indices)


@public(TOP, FUNCTIONAL)
@in_one
def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of windows chosen so that the output is (N, C, *output_size).

    The windows are those of `adaptive_avg_pool2d`; gradient and indices are as in `max_pool2d`.

    >>> x = Tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> adaptive_max_pool2d(x, 1)
    tensor([[[[4.]]]])
    """
    return _adaptive_max_pool(2, input, output_size, return_indices)


@public(TOP, FUNCTIONAL)
@in_one
def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of windows; (N, C, D, H, W) -> (N, C, *output_size).

    See `adaptive_max_pool2d`.

    >>> adaptive_max_pool3d(Tensor([[[[[1.0]], [[3.0]]]]]), 1)
    tensor([[[[[3.]]]]])
    """
    return _adaptive_max_pool(3, input, output_size, return_indices)


def _with_indices(pool: Callable[..., Any]) -> Callable[..., Any]:
    """A pool that returns the places of the maxima as well, whatever `return_indices` says."""

    @functools.wraps(pool)
    def call(*args: Any, **options: Any) -> Any:
        try:
            given = signature.bind(*args, **options)
        except TypeError:
            return pool(*args, **options)  # which says what it takes
        given.arguments["return_indices"] = True
        return pool(*given.args, **given.kwargs)

    signature = inspect.signature(pool)
    call.__name__ = call.__qualname__ = f"{pool.__name__}_with_indices"
    call.__doc__ = f"`{pool.__name__}`, and the places of the maxima: (values, indices)."
    return call


max_pool1d_with_indices = public(FUNCTIONAL)(_with_indices(max_pool1d))
max_pool2d_with_indices = public(FUNCTIONAL)(_with_indices(max_pool2d))
max_pool3d_with_indices = public(FUNCTIONAL)(_with_indices(max_pool3d))
adaptive_max_pool1d_with_indices = public(FUNCTIONAL)(_with_indices(adaptive_max_pool1d))
adaptive_max_pool2d_with_indices = public(FUNCTIONAL)(_with_indices(adaptive_max_pool2d))
adaptive_max_pool3d_with_indices = public(FUNCTIONAL)(_with_indices(adaptive_max_pool3d))
fractional_max_pool2d_with_indices = public(FUNCTIONAL)(_with_indices(fractional_max_pool2d))
fractional_max_pool3d_with_indices = public(FUNCTIONAL)(_with_indices(fractional_max_pool3d))
