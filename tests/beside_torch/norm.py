"""Normalization beside PyTorch."""

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from beside_torch.call import Beside, Call
from tinygrad_cv.ops import norm
from tinygrad_cv.testing.strategies import arrays, shapes

EPS = st.sampled_from((1e-5, 1e-3, 0.1))


@st.composite
def layers(draw: Any, biases: int) -> Call:
    batch, shape = draw(shapes(0, 2, 1, 3)), (*draw(shapes(0, 2, 1, 3)), draw(st.integers(2, 4)))
    affine = [draw(st.none() | arrays(shape)) for _ in range(biases)]
    return Call((draw(arrays((*batch, *shape))), shape, *affine), {"eps": draw(EPS)})


@st.composite
def grouped(draw: Any) -> Call:
    count, each = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    shape = (draw(st.integers(1, 3)), count * each, *draw(shapes(1, 2, 2, 3)))
    # PyTorch fails on the gradient of a bias without a weight.
    affine = [draw(arrays(shape[1:2])) for _ in range(draw(st.integers(0, 2)))]
    return Call((draw(arrays(shape)), count, *affine), {"eps": draw(EPS)})


@st.composite
def instances(draw: Any) -> Call:
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), *draw(shapes(1, 2, 2, 3)))
    affine = [draw(st.none() | arrays(shape[1:2])) for _ in range(2)]
    return Call((draw(arrays(shape)), None, None, *affine), {"eps": draw(EPS)})


@st.composite
def tracked(draw: Any) -> Call:
    shape = (draw(st.integers(2, 3)), draw(st.integers(1, 3)), *draw(shapes(1, 2, 2, 3)))
    mean, var = draw(arrays(shape[1:2])), draw(arrays(shape[1:2], 0.5, 2.0))
    options = {"momentum": draw(st.sampled_from((0.1, 0.5, 1.0))), "eps": draw(EPS)}
    return Call((draw(arrays(shape)), mean, var), options)


@st.composite
def responses(draw: Any) -> Call:
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 6)), *draw(shapes(1, 2, 1, 3)))
    options = {
        "alpha": draw(st.sampled_from((1e-4, 0.5))),
        "beta": draw(st.sampled_from((0.5, 0.75, 1.0))),
        "k": draw(st.sampled_from((1.0, 2.0))),
    }
    return Call((draw(arrays(shape)), draw(st.integers(1, 6))), options)


@st.composite
def rows(draw: Any) -> Call:
    shape = draw(shapes(1, 3))
    x = draw(arrays(shape)) * draw(st.sampled_from((0, 1)))
    p = draw(st.sampled_from((1.0, 2.0, 3.0, math.inf)))
    return Call((np.round(x, 1),), {"p": p, "dim": draw(st.integers(-len(shape), len(shape) - 1))})


def with_statistics(name: str, **always: Any) -> Beside:
    """A normalization that moves running statistics, which count as outputs."""
    import torch

    def call(function: Any) -> Any:
        def run(x: Any, mean: Any, var: Any, **options: Any) -> Any:
            statistics = mean.detach() * 1, var.detach() * 1
            return (function(x, *statistics, **options, **always), *statistics)

        return run

    theirs = getattr(torch.nn.functional, name)
    return Beside(f"{name}: statistics", tracked(), call(getattr(norm, name)), call(theirs))


CALLS = [
    Beside("layer_norm", layers(biases=2), norm.layer_norm),
    Beside("rms_norm", layers(biases=1), norm.rms_norm),
    Beside("group_norm", grouped(), norm.group_norm),
    Beside("instance_norm", instances(), norm.instance_norm),
    with_statistics("instance_norm"),
    with_statistics("batch_norm", training=True),
    Beside("local_response_norm", responses(), norm.local_response_norm),
    Beside("normalize", rows(), norm.normalize),
]
