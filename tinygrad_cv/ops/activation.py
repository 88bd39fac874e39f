"""The nonlinearities."""

from typing import Any

from tinygrad_cv.op import Op
from tinygrad_cv.ops.reduce import axes_of
from tinygrad_cv.tensor import F as T
from tinygrad_cv.tensor import Tensor, function


class Relu(Op):
    """max(x, 0), with the derivative 0 at 0 (Nair and Hinton, 2010).

    >>> relu(Tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])
    """

    def forward(self, xp, x):
        return xp.relu(x)

    def grad_x(self, F, g, y):
        return F.where(y > 0, g, 0.0)

    def fused(self, xp, g, y):
        return (xp.relu_backward(g, y),)


class LeakyRelu(Op):
    """x where x > 0, else negative_slope · x (Maas, Hannun and Ng, 2013).

    >>> leaky_relu(Tensor([-1.0, 2.0]))
    tensor([-0.01,  2.  ])
    """

    negative_slope: float = 0.01

    def forward(self, xp, x):
        return xp.where(x > 0, x, self.negative_slope * x)

    def grad_x(self, F, g, x):
        return F.where(x > 0, g, self.negative_slope * g)


class Sigmoid(Op):
    """σ(x) = 1 / (1 + e⁻ˣ), computed so that neither tail overflows.

    >>> sigmoid(Tensor([0.0, 2.0, -1000.0]))
    tensor([0.5   , 0.8808, 0.    ])
    """

    def forward(self, xp, x):
        small = xp.exp(-xp.abs(x))  # at most 1
        return xp.where(x >= 0, 1, small) / (1 + small)

    def local_x(self, F, y):
        return y * (1 - y)


class Tanh(Op):
    """tanh x = 2σ(2x) - 1.

    >>> tanh(Tensor([0.0, 1.0]))
    tensor([0.    , 0.7616])
    """

    def forward(self, xp, x):
        return xp.tanh(x)

    def local_x(self, F, y):
        return 1 - y * y


class Softmax(Op):
    """eˣ / Σ eˣ along an axis; the largest element is subtracted first, so nothing overflows.

    >>> softmax(Tensor([0.0, 0.0]), dim=0)
    tensor([0.5, 0.5])
    """

    axis: int

    def forward(self, xp, x):
        if not x.size:  # nothing has no maximum
            return x
        e = xp.exp(x - xp.max(x, axis=self.axis, keepdims=True))
        return e / xp.sum(e, axis=self.axis, keepdims=True)

    def grad_x(self, F, g, y):
        return y * (g - F.sum(g * y, axis=self.axis, keepdims=True))


class LogSoftmax(Op):
    """x - log Σ eˣ along an axis, without ever forming a probability that rounds to 0.

    >>> log_softmax(Tensor([0.0, 1000.0]), dim=0)
    tensor([-1000.,     0.])
    """

    axis: int

    def forward(self, xp, x):
        if not x.size:  # nothing has no maximum
            return x
        shifted = x - xp.max(x, axis=self.axis, keepdims=True)
        return shifted - xp.log(xp.sum(xp.exp(shifted), axis=self.axis, keepdims=True))

    def grad_x(self, F, g, y):
        return g - F.exp(y) * F.sum(g, axis=self.axis, keepdims=True)


relu = function(Relu)
sigmoid = function(Sigmoid)
tanh = function(Tanh)


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else `negative_slope` · x (Maas, Hannun and Ng, 2013)."""
    return T.leaky_relu(input, negative_slope=negative_slope)


def softmax(input: Tensor, dim: int | None = None, *, axis: int | None = None) -> Tensor:
    """eˣ / Σ eˣ along `dim`: non-negative numbers that add up to 1.

    >>> softmax(Tensor([[0.0, 0.0], [1000.0, 0.0]]), dim=1)
    tensor([[0.5, 0.5],
            [1. , 0. ]])
    """
    if input.ndim == 0:
        return softmax(input.reshape(1), dim, axis=axis).reshape(())
    return T.softmax(input, axis=_one_axis(input, dim, axis))


def log_softmax(input: Tensor, dim: int | None = None, *, axis: int | None = None) -> Tensor:
    """log softmax(x) along `dim`, accurate where the softmax itself rounds to 0."""
    if input.ndim == 0:
        return log_softmax(input.reshape(1), dim, axis=axis).reshape(())
    return T.log_softmax(input, axis=_one_axis(input, dim, axis))


def _one_axis(input: Tensor, dim: Any, axis: Any) -> int:
    axes = axes_of(input, dim, axis)
    if axes is None or len(axes) != 1:
        raise TypeError(f"dim must be one axis of the {input.ndim}; got dim={dim}, axis={axis}.")
    return axes[0]
