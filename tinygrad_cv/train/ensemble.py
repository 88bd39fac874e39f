"""Several models as one."""

import math
from collections.abc import Iterable
from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv._trees import tensors_in
from tinygrad_cv.nn import Module, ModuleList
from tinygrad_cv.nn.functional import log_softmax, logsigmoid
from tinygrad_cv.ops.reduce import logsumexp
from tinygrad_cv.ops.shape import stack


class Ensemble(Module):
    """Independent models, whose results are averaged: "enjoy 2 % extra performance".

    (N, ...) -> (N, K) or (N, K, ...), whatever the members give; they may be of different kinds.
    `mean_of` says what is averaged:

    - "softmax", by default: the probabilities of K classes, along axis 1. The result is
      log (1/M) Σ softmax(sₘ), scores whose softmax is the mean of the members' probabilities, so
      `cross_entropy`, accuracy and a Trainer take them as those of one model;
    - "sigmoid": the probabilities of labels that are asked one by one, as for
      `binary_cross_entropy_with_logits`; the result is the logit of their mean;
    - "outputs": the results themselves, such as the numbers of a regression, or scores.

    Of a member that gives several tensors the first one counts. The members are the models
    themselves, trained one by one, in `members`; the state dict has those of all, as
    "members.0...". In training mode they are so too, and learn by the loss of their mean.

    Raises TypeError for what is no model, and ValueError for no members, for results of different
    shapes, and for a softmax without classes.

    Source: CS231n, lecture 6, "Model ensembles": train multiple independent models, at test time
    average their results.

    >>> from tinygrad_cv import nn, softmax, tensor
    >>> from tinygrad_cv.train import Ensemble
    >>> one, other = nn.Linear(1, 2), nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 2))
    >>> both, x = Ensemble([one, other]), tensor([[1.0]])
    >>> mean = (softmax(one(x), dim=1) + softmax(other(x), dim=1)) / 2
    >>> softmax(both(x), dim=1).allclose(mean)
    True
    """

    members: ModuleList

    def __init__(self, members: Iterable[Module], mean_of: str = "softmax") -> None:
        super().__init__()
        if isinstance(members, Module) and not isinstance(members, ModuleList):
            raise TypeError(f"an ensemble has several members; got one {type(members).__name__}.")
        given = list(members)
        for member in given:
            if not isinstance(member, Module):
                raise TypeError(f"the members of an ensemble are models; got {member!r}.")
        if not given:
            raise ValueError("an ensemble has at least one member; got none.")
        if mean_of not in MEANS:
            raise ValueError(f"mean_of is one of {', '.join(map(repr, MEANS))}; got {mean_of!r}.")
        self.members, self.mean_of = ModuleList(given), mean_of

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        """The mean of what the members give."""
        outputs = [_first(member(*inputs, **options)) for member in self.members]
        if shapes := {tuple(x.shape) for x in outputs[1:]} - {tuple(outputs[0].shape)}:
            raise ValueError(
                f"the members of an ensemble give results of one shape; got {outputs[0].shape} "
                f"and {shapes.pop()}."
            )
        return MEANS[self.mean_of](stack(outputs))

    def extra_repr(self) -> str:
        return f"mean_of={self.mean_of!r}"


def _first(result: Any) -> Tensor:
    for tensor in tensors_in(result):
        return tensor
    raise TypeError(f"the members of an ensemble give tensors; got a {type(result).__name__}.")


def _softmax(scores: Tensor) -> Tensor:
    if scores.ndim < 3 or scores.shape[2] < 2:
        raise ValueError(
            f"a softmax is of two classes or more, (N, K, ...); got {scores.shape[1:]}. For a "
            "regression let mean_of be 'outputs', for single scores 'sigmoid'."
        )
    return logsumexp(log_softmax(scores, dim=2), dim=0) - math.log(len(scores))


def _sigmoid(scores: Tensor) -> Tensor:
    """log Σ σ(s) - log Σ σ(-s): each sum is M times a mean."""
    return logsumexp(logsigmoid(scores), dim=0) - logsumexp(logsigmoid(-scores), dim=0)


def _outputs(results: Tensor) -> Tensor:
    return results.mean(dim=0)


MEANS = {"softmax": _softmax, "sigmoid": _sigmoid, "outputs": _outputs}
