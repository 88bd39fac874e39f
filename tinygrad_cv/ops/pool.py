"""Pooling: one number for each window of an image."""

from typing import Any

from tinygrad_cv.op import Op
from tinygrad_cv.ops.conv import Pair, check_windows, pair
from tinygrad_cv.tensor import F as T
from tinygrad_cv.tensor import Tensor, wrap


class _Windows(Op):
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)

    @property
    def geometry(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.attributes if name != "size"}


class MaxPool2d(_Windows):
    """The largest element of each window. Its place is kept: that is where the gradient goes."""

    dilation: Pair = (1, 1)
    kept = ("index",)

    def forward(self, xp, x):
        self.size = x.shape[2:]
        y, self.index = xp.max_pool(x, **self.geometry)
        return y

    def grad_x(self, F, g, index):
        return F.window_scatter(g, index, size=self.size, **self.geometry)


class WindowScatter(_Windows):
    """Zeros of the image's size with each x added at the indexed place of its window."""

    size: Pair
    dilation: Pair = (1, 1)
    nondifferentiable = ("index",)

    def forward(self, xp, x, index):
        return xp.window_scatter(x, index, size=self.size, **self.geometry)

    def grad_x(self, F, g, index):
        return F.window_gather(g, index, **self.geometry)


class WindowGather(_Windows):
    """The element at the indexed place of each window: the adjoint of window_scatter."""

    dilation: Pair = (1, 1)
    nondifferentiable = ("index",)

    def forward(self, xp, x, index):
        self.size = x.shape[2:]
        return xp.window_gather(x, index, **self.geometry)

    def grad_x(self, F, g, index):
        return F.window_scatter(g, index, size=self.size, **self.geometry)


class WindowSum(_Windows):
    """The sum over each window."""

    def forward(self, xp, x):
        self.size = x.shape[2:]
        return xp.window_sum(x, **self.geometry)

    def grad_x(self, F, g):
        return F.window_spread(g, size=self.size, **self.geometry)


class WindowSpread(_Windows):
    """Each x added to every place of its window: the adjoint of window_sum."""

    size: Pair

    def forward(self, xp, x):
        return xp.window_spread(x, size=self.size, **self.geometry)

    def grad_x(self, F, g):
        return F.window_sum(g, **self.geometry)


# ----- as functions ------------------------------------------------------------------------------


def _checked(name: str, input: Tensor, op: type[_Windows], **attributes: Any) -> dict[str, Any]:
    if input.ndim != 4:
        raise ValueError(f"{name}: expected an input (N, C, H, W); got {input.shape}.")
    padding, kernel = attributes["padding"], attributes["kernel"]
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(
            f"{name}: the padding {padding} may be at most half of the kernel {kernel}; "
            "otherwise some windows would hold padding alone."
        )
    dilation = attributes.get("dilation", (1, 1))
    check_windows(name, input.shape, kernel, op(**attributes), dilation)
    return attributes


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
) -> Tensor:
    """The largest element of each window; (N, C, H, W) -> (N, C, H', W') as conv2d.

    `stride` is the kernel size by default. Padding never wins. The whole gradient goes to the
    first maximum of a window (row by row).

    >>> x = Tensor([[[[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]]])
    >>> max_pool2d(x, 2)
    tensor([[[[6., 8.],
              [3., 4.]]]])
    """
    kernel = pair(kernel_size, "kernel_size", 1)
    attributes = _checked(
        "max_pool2d",
        input,
        MaxPool2d,
        kernel=kernel,
        stride=kernel if stride is None else pair(stride, "stride", 1),
        padding=pair(padding, "padding", 0),
        dilation=pair(dilation, "dilation", 1),
    )
    return T.max_pool2d(input, **attributes)


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    *,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window; (N, C, H, W) -> (N, C, H', W') as conv2d.

    `stride` is the kernel size by default. With `count_include_pad` padding counts as zeros,
    otherwise it does not count.

    >>> avg_pool2d(Tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 2)
    tensor([[[[2.5]]]])
    """
    kernel = pair(kernel_size, "kernel_size", 1)
    attributes = _checked(
        "avg_pool2d",
        input,
        WindowSum,
        kernel=kernel,
        stride=kernel if stride is None else pair(stride, "stride", 1),
        padding=pair(padding, "padding", 0),
    )
    total = T.window_sum(input, **attributes)
    if count_include_pad:
        return total / (kernel[0] * kernel[1])
    ones = wrap(input._backend.ones((1, 1, *input.shape[2:]), input.dtype), input._backend)
    return total / T.window_sum(ones, **attributes)
