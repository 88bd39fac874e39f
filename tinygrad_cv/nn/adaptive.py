"""The adaptive softmax: many classes, most of them rare."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.container import ModuleList, Sequential
from tinygrad_cv.nn.linear import Linear
from tinygrad_cv.nn.module import Module
from tinygrad_cv.ops.index import gather
from tinygrad_cv.ops.shape import cat


class OutputAndLoss(NamedTuple):
    """log of the probability of each target, and the mean of its negative."""

    output: Tensor
    loss: Tensor


@public(NN)
class AdaptiveLogSoftmaxWithLoss(Module):
    """log softmax over classes in clusters, the frequent ones first (Grave et al., 2017).

    The classes below cutoffs[0], and a score for each further cluster, come from one linear layer,
    the head. The classes of cluster i, from cutoffs[i] on, come from two, with in_features /
    div_value^(i+1) numbers between them: log p(class) = log p(cluster) + log p(class | cluster).
    Called with input (N, in_features) and target (N,), or (in_features,) and (), it returns
    `(output, loss)`: log p of each target, and -mean(output). Raises ValueError where the cutoffs
    do not increase from 1 to n_classes - 1, or a target is out of range.

    >>> from tinygrad_cv import ones, tensor
    >>> layer = AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10], div_value=2.0)
    >>> output, loss = layer(ones(3, 8), tensor([0, 5, 19]))
    >>> output.shape, layer.log_prob(ones(3, 8)).shape
    ((3,), (3, 20))
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        bounds = [0, *cutoffs, n_classes]
        if not cutoffs or any(int(b) != b or a >= b for a, b in pairwise(bounds)):
            raise ValueError(
                f"cutoffs are integers that increase from 1 to n_classes - 1 = {n_classes - 1}; "
                f"got {list(cutoffs)}."
            )
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs = [int(n) for n in bounds[1:]]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = self.cutoffs[0], len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        new: dict[str, Any] = {"device": device, "dtype": dtype, "generator": generator}
        self.head = Linear(in_features, self.head_size, head_bias, **new)
        self.tail = ModuleList()
        for i, (start, end) in enumerate(pairwise(self.cutoffs)):
            hidden = int(in_features // div_value ** (i + 1))
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, False, **new),
                    Linear(hidden, end - start, False, **new),
                )
            )

    def reset_parameters(self) -> None:
        """New initial values."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> OutputAndLoss:
        single = target_.ndim == 0
        input = input_.reshape(1, -1) if single else input_
        target = target_.reshape(-1)
        if input.ndim != 2 or target_.ndim > 1 or len(input) != len(target):
            raise ValueError(
                f"expected an input (N, {self.in_features}) with a target (N,), or "
                f"({self.in_features},) with (); got {input_.shape} and {target_.shape}."
            )
        head = F.log_softmax(self.head(input), dim=1)
        # The rows of each cluster, wherever its classes are targets; together they are all rows.
        rows, parts = [], []
        for i, (start, end) in enumerate(pairwise([0, *self.cutoffs])):
            here = ((target >= start) & (target < end)).nonzero().flatten()
            if i and not len(here):
                continue
            own = (target[here] - start).reshape(-1, 1)
            if i == 0:
                part = gather(head[here], 1, own)
            else:
                cluster = head[here, self.shortlist_size + i - 1].reshape(-1, 1)
                scores = F.log_softmax(self.tail[i - 1](input[here]), dim=1)
                part = cluster + gather(scores, 1, own)
            rows.append(here)
            parts.append(part.flatten())
        if sum(map(len, rows)) != len(target):
            raise ValueError(f"targets are classes from 0 to {self.n_classes - 1}.")
        output = cat(parts)[cat(rows).argsort()] if parts else head[:, 0]
        return OutputAndLoss(output.reshape(()) if single else output, -output.mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """log of the probabilities of all classes: (N, in_features) -> (N, n_classes)."""
        head = F.log_softmax(self.head(input), dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            cluster = head[:, self.shortlist_size + i].reshape(-1, 1)
            parts.append(cluster + F.log_softmax(tail(input), dim=1))
        return cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each sample: (N, in_features) -> (N,), integers."""
        return self.log_prob(input).argmax(1)
