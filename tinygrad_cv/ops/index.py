"""Taking elements out, and adding gradients back in where they came from."""

from typing import Any

from tinygrad_cv.op import Op
from tinygrad_cv.tensor import F as T
from tinygrad_cv.tensor import Tensor


class Getitem(Op):
    """x[index] for a basic (slices, integers, None, ...) or an advanced (arrays) index."""

    index: Any

    def forward(self, xp, x):
        self.shape = x.shape
        index = self.index if isinstance(self.index, tuple) else (self.index,)
        if not any(part is Ellipsis for part in index):
            index = (*index, ...)  # one element is then a view as well, and not a copy
        return x[index]

    def grad_x(self, F, g):
        return F.scatter_add(g, index=self.index, shape=self.shape)


class ScatterAdd(Op):
    """Zeros of `shape` with x added at `index`; places named twice accumulate."""

    index: Any
    shape: tuple[int, ...]

    def forward(self, xp, x):
        return xp.scatter_add(self.shape, self.index, x)

    def grad_x(self, F, g):
        return F.getitem(g, index=self.index)


class OneHot(Op):
    """A new last axis of length `num_classes` with a 1 at the place that x names."""

    num_classes: int
    dtype: Any = "float32"
    nondifferentiable = ("x",)

    def forward(self, xp, x):
        return xp.equal(x[..., None], xp.arange(self.num_classes)).astype(self.dtype)


def one_hot(tensor: Tensor, num_classes: int) -> Tensor:
    """Labels as rows with a single 1 (int64, as PyTorch's). On a GPU, checking them takes a wait.

    >>> one_hot(Tensor([0, 2], dtype="int64"), 3)
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if tensor.dtype.kind not in "iu" or ((tensor < 0) | (tensor >= num_classes)).any():
        raise ValueError(
            f"one_hot: expected integers from 0 to {num_classes - 1} for num_classes="
            f"{num_classes}; got {tensor!r}."
        )
    return T.one_hot(tensor, num_classes=num_classes, dtype="int64")
