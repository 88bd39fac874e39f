"""Channels dealt out among groups."""

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module


@public(NN)
class ChannelShuffle(Module):
    """The channels of (N, C, *S) dealt out like cards, from `groups` hands; see `channel_shuffle`.

    >>> ChannelShuffle(2)(Tensor([[[1.0], [2.0], [3.0], [4.0]]])).flatten()
    tensor([1., 3., 2., 4.])
    """

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
