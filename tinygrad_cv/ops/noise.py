"""Noise that regularizes. It is drawn in training and left out in evaluation.

The draws come from `generator`, or from the one that `manual_seed` seeds: the same state gives the
same noise.
"""

import math
from numbers import Real
from typing import Any

from tinygrad_cv._apply import F as T
from tinygrad_cv._inputs import public
from tinygrad_cv._op import Op, per_output
from tinygrad_cv._public import FUNCTIONAL, TOP
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import as_generator
from tinygrad_cv.ops.activation import SELU_ALPHA, SELU_SCALE, result


class Dropout(Op):
    """0 with probability p, else x / (1 - p), or x itself unless `scaled`.

    The elements along the last `shared` axes are dropped together. A mask of truth values says
    which are kept; what is dropped is 0 even if it was infinite.
    """

    p: float
    generator: Any
    scaled: bool = True
    shared: int = 0
    kept = ("mask",)
    hidden = ("generator",)
    flops = per_output

    def forward(self, xp, x):
        own = x.ndim - self.shared
        shape = (*x.shape[:own], *[1] * self.shared)
        self.mask = xp.uniform(shape, "float32", self.generator) >= self.p
        self.scale = 1 / (1 - self.p) if self.scaled and self.p < 1 else 1.0
        return xp.gate_backward(x, self.mask, self.scale)

    def grad_x(self, F, g, mask):
        return F.where(mask, self.scale * g, 0.0)

    def fused(self, xp, g, mask):
        return (xp.gate_backward(g, mask, self.scale),)


class AlphaDropout(Op):
    """a · α' + b with probability p, else a · x + b.

    α' = -scale · α is the value at which `selu` saturates; a and b restore the mean 0 and the
    variance 1. The elements along the last `shared` axes are dropped together.
    """

    p: float
    generator: Any
    shared: int = 0
    kept = ("mask",)
    hidden = ("generator",)
    flops = per_output

    def forward(self, xp, x):
        low = -SELU_SCALE * SELU_ALPHA
        self.a = a = 1 / math.sqrt((1 - self.p) * (1 + self.p * low * low))
        shape = (*x.shape[: x.ndim - self.shared], *[1] * self.shared)
        self.mask = xp.uniform(shape, "float32", self.generator) >= self.p
        return xp.where(self.mask, a * x, a * low) - a * low * self.p

    def grad_x(self, F, g, mask):
        return F.where(mask, self.a * g, 0.0)

    def fused(self, xp, g, mask):
        return (xp.gate_backward(g, mask, self.a),)


class GaussianNoise(Op):
    """x + std · n, where the n are independent and standard normal."""

    std: float
    generator: Any
    hidden = ("generator",)
    flops = per_output

    def forward(self, xp, x):
        return x + self.std * xp.normal(x.shape, "float32", self.generator)

    def grad_x(self, F, g):
        return g


# ----- as functions ------------------------------------------------------------------------------


@public(TOP, FUNCTIONAL)
def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """Each element dropped with probability p, the others scaled by 1/(1 - p) (inverted dropout).

    The scaling keeps the expected value, so nothing is left to do at test time (Srivastava et
    al., 2014).

    >>> dropout(Tensor([1.0, 2.0]), p=0.5, training=False)
    tensor([1., 2.])
    """
    return _inverted("dropout", input, p, training, inplace, generator, 0)


@public(TOP, FUNCTIONAL)
def dropout1d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """Whole channels dropped with probability p, the others scaled by 1/(1 - p).

    `input` is (N, C, L) or (C, L). Neighbours in a channel are alike, so that dropping one by one
    takes little away (Tompson et al., 2015).

    >>> kept = dropout1d(Tensor([[[1.0, 2.0], [3.0, 4.0]]])) != 0
    >>> (kept[:, :, 0] == kept[:, :, 1]).tolist()
    [[True, True]]
    """
    if input.ndim not in (2, 3):
        raise ValueError(
            f"dropout1d: expected an input (N, C, L) or (C, L); got the shape {input.shape}."
        )
    return _inverted("dropout1d", input, p, training, inplace, generator, 1)


@public(TOP, FUNCTIONAL)
def dropout2d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """Whole channels of images (N, C, H, W) dropped; see `dropout1d`.

    Of any number of axes the first two are N and C: three are (N, C, L), as in PyTorch, and not one
    image; of (N, C) it is `dropout`.

    >>> dropout2d(Tensor([[[[1.0, 2.0]]]]), p=1.0)
    tensor([[[[0., 0.]]]])
    """
    shared = _behind_channels("dropout2d", input, 0, "(N, C, H, W), (N, C, L) or (N, C)")
    return _inverted("dropout2d", input, p, training, inplace, generator, shared)


@public(TOP, FUNCTIONAL)
def dropout3d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """Whole channels of volumes (N, C, D, H, W), or of one (C, D, H, W); see `dropout2d`."""
    shared = _behind_channels("dropout3d", input, 3, "(N, C, D, H, W), (C, D, H, W) or (N, C)")
    return _inverted("dropout3d", input, p, training, inplace, generator, shared)


@public(TOP)
def vanilla_dropout(
    input: Tensor, p: float = 0.5, training: bool = True, *, generator: Any = None
) -> Tensor:
    """Dropout as it was published: dropped in training, scaled by 1 - p in evaluation.

    With dropout the expected value of h is (1 - p) · h + p · 0, so that is what a test sees
    (Hinton et al., 2012; Srivastava et al., 2014). `p` is the probability of dropping, as in
    `dropout`; where a text calls p the probability of keeping, pass 1 - p.

    >>> vanilla_dropout(Tensor([1.0, 2.0]), p=0.2, training=False)
    tensor([0.8, 1.6])
    """
    check_probability("vanilla_dropout", p)
    if p == 0:
        return input
    if not training:
        return T.mul(input, 1 - p)
    return T.dropout(input, p=p, scaled=False, generator=as_generator(generator))


@public(TOP, FUNCTIONAL)
def alpha_dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """Dropout for `selu`: inputs of mean 0 and variance 1 keep both (Klambauer et al., 2017).

    A dropped element becomes the value at which `selu` saturates instead of 0; then all are scaled
    and shifted. With p = 1 all become 0.

    >>> alpha_dropout(Tensor([1.0, 2.0]), p=0.5)
    tensor([1., 2.])
    """
    return _alpha("alpha_dropout", input, p, training, inplace, generator, 0)


@public(TOP, FUNCTIONAL)
def feature_alpha_dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """`alpha_dropout` of whole channels: input (N, C, *S), dropped for each n and c together.

    >>> feature_alpha_dropout(Tensor([[[1.0, 2.0]]]), p=0.5)
    tensor([[[1., 2.]]])
    """
    shared = _behind_channels("feature_alpha_dropout", input, 0, "(N, C, *S)")
    return _alpha("feature_alpha_dropout", input, p, training, inplace, generator, shared)


@public(TOP)
def gaussian_noise(
    input: Tensor, std: float, training: bool = True, *, generator: Any = None
) -> Tensor:
    """`input` plus independent normal noise of mean 0 and standard deviation `std`.

    >>> gaussian_noise(Tensor([1.0, 2.0]), std=0.1, training=False)
    tensor([1., 2.])
    """
    if std < 0:
        raise ValueError(f"gaussian_noise: std is a standard deviation, not negative; got {std}.")
    if not training or std == 0:
        return input
    return T.gaussian_noise(input, std=std, generator=as_generator(generator))


def _inverted(
    name: str,
    input: Tensor,
    p: float,
    training: bool,
    inplace: bool,
    generator: Any,
    shared: int,
) -> Tensor:
    check_probability(name, p)
    if not training or p == 0:
        return input
    generator = as_generator(generator)
    return result(inplace, T.dropout, input, p=p, generator=generator, shared=shared)


def _alpha(
    name: str,
    input: Tensor,
    p: float,
    training: bool,
    inplace: bool,
    generator: Any,
    shared: int,
) -> Tensor:
    check_probability(name, p)
    if not training or p == 0:
        return input
    op = T.dropout if p == 1 else T.alpha_dropout
    return result(inplace, op, input, p=p, generator=as_generator(generator), shared=shared)


def check_probability(name: str, p: float) -> None:
    """Raise unless `p` lies between 0 and 1."""
    if not (isinstance(p, Real) or hasattr(p, "dtype")) or not 0 <= p <= 1:
        raise ValueError(f"{name}: p is a probability, between 0 and 1; got {p!r}.")


def _behind_channels(name: str, input: Tensor, spatial: int, expected: str) -> int:
    """The axes behind the channels: `spatial` of one image, else all but N and C."""
    if input.ndim < 2:
        raise ValueError(f"{name}: expected an input {expected}; got the shape {input.shape}.")
    return spatial if input.ndim == spatial + 1 else input.ndim - 2
