"""Matrix products."""

from typing import Any

from tinygrad_cv.op import Op
from tinygrad_cv.tensor import F as T
from tinygrad_cv.tensor import Tensor


class Matmul(Op):
    """x @ y for x (..., n, k) and y (..., k, m) -> (..., n, m); leading axes broadcast."""

    symbol = "{} @ {}"

    def forward(self, xp, x, y):
        return xp.matmul(x, y)

    def grad_x(self, F, g, y):
        return F.matmul(g, F.mT(y))

    def grad_y(self, F, g, x):
        return F.matmul(F.mT(x), g)

    def explain(self, error: ValueError, arrays: tuple[Any, ...]) -> ValueError:
        x, y = arrays[0].shape, arrays[1].shape
        return ValueError(
            f"matmul: {x} @ {y}: the last axis of the first must equal axis -2 of the second, and "
            "the axes before them must broadcast. Transpose one of them (y.mT), or reshape it."
        )


class Linear(Op):
    """x wᵀ + b for x (n, in), w (out, in) and b (out,) or None -> (n, out)."""

    def forward(self, xp, x, w, b=None):
        y = xp.matmul(x, w.T)
        if b is not None:
            y += b
        return y

    def grad_x(self, F, g, w):
        return F.matmul(g, w)

    def grad_w(self, F, g, x):
        return F.matmul(F.mT(g), x)

    def grad_b(self, F, g):
        return F.sum(g, axis=(0,))


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product, as PyTorch and NumPy define it.

    (n, k) @ (k, m) -> (n, m); leading axes are a batch and broadcast; a vector on the left is a
    row, a vector on the right a column, and that axis is gone from the result.

    >>> matmul(Tensor([[1.0, 2.0]]), Tensor([3.0, 4.0]))
    tensor([11.])
    """
    if input.ndim == 0 or other.ndim == 0:
        raise ValueError(
            f"matmul: {input.shape} @ {other.shape}: both need an axis; use * for numbers."
        )
    inner = other.shape[-2] if other.ndim > 1 else other.shape[0]
    if input.shape[-1] != inner:
        raise ValueError(
            f"matmul: {input.shape} @ {other.shape}: the last axis of the first has length "
            f"{input.shape[-1]}, and the axis of the second that it meets {inner}. Transpose one "
            "of them (y.mT), or reshape it."
        )
    left = input if input.ndim > 1 else T.reshape(input, shape=(1, *input.shape))
    right = other if other.ndim > 1 else T.reshape(other, shape=(*other.shape, 1))
    product = T.matmul(left, right)
    if left is input and right is other:
        return product
    shape = product.shape
    rows = shape[:-2] if left is not input else shape[:-1]
    columns = () if right is not other else shape[-1:]
    return T.reshape(product, shape=(*rows, *columns))


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x wᵀ + b along the last axis: (..., in) -> (..., out), with the weight (out, in).

    >>> linear(Tensor([[1.0, 2.0]]), Tensor([[3.0, 4.0]]), Tensor([0.5]))
    tensor([[11.5]])
    """
    w, b = weight.shape, None if bias is None else bias.shape
    if len(w) != 2 or input.shape[-1:] != w[1:] or b not in (None, w[:1]):
        raise ValueError(
            f"linear: the input {input.shape} must end in the in_features of the weight "
            f"(out_features, in_features), here {w}, and the bias be (out_features,), here {b}. "
            "A stack of images is flattened first: x.flatten(1)."
        )
    if input.ndim == 2:
        return T.linear(input, weight, bias)
    # (..., in) -> (n, in) -> (n, out) -> (..., out)
    flat = T.reshape(input, shape=(-1, w[1]))
    return T.reshape(T.linear(flat, weight, bias), shape=(*input.shape[:-1], weight.shape[0]))
