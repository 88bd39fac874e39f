"""Rows of the losses."""

from typing import Any

import numpy as np
import scipy.special
from hypothesis import strategies as st

import oracles
from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays, broadcastable, shapes


@st.composite
def classified(draw: Any) -> Case:
    """Scores, near 0 or all of them large, and labels of several integer types."""
    samples, classes = draw(st.sampled_from((1, 2, 3, 4, 0))), draw(st.integers(1, 4))
    middle = draw(st.sampled_from((0.0, 1000.0)))
    x = draw(arrays((samples, classes), middle - 2, middle + 2))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    dtype = draw(st.sampled_from(("int64", "int32", "uint8")))
    return Case((x, rng.integers(0, classes, samples, dtype)))


@st.composite
def pairs(draw: Any) -> Case:
    shape = (draw(st.integers(0, 4)), draw(st.integers(0, 3)))
    return Case((draw(arrays(shape)), draw(arrays(shape))))


@st.composite
def judged(draw: Any, low: float, high: float) -> Case:
    """Predictions from `low` to `high`, and how probable each event was."""
    first, second = draw(broadcastable())
    return Case((draw(arrays(first, low, high)), draw(arrays(second, 0.0, 1.0))))


@st.composite
def deviations(draw: Any) -> Case:
    """Numbers on both sides of delta, and not on it, where the slope has a kink."""
    delta = draw(st.sampled_from((0.5, 1.0)))
    x = draw(arrays(shapes(), kinks=(-delta, delta)))
    return Case((x,), {"delta": delta, "scale": draw(st.sampled_from((1.0, 0.5)))})


def binary_cross_entropy(x: Any, t: Any) -> Any:
    """By the divergence: -Σ t log x over the two outcomes is H(t) + KL(t ‖ x)."""
    x, t = np.broadcast_arrays(x, t)
    return sum(
        scipy.special.entr(b) + scipy.special.rel_entr(b, a) for a, b in ((x, t), (1 - x, 1 - t))
    )


ROWS = [
    Row(
        "cross_entropy",
        classified(),
        lambda x, labels: oracles.cross_entropy(x, labels, reduction="none"),
    ),
    Row("pick", classified(), lambda x, labels: np.array([*map(np.take, x, labels)])),
    Row(
        "euclidean_loss",
        pairs(),
        lambda x, t: np.array([np.dot(d, d) / 2 for d in x - t]),
    ),
    Row(
        "huber",
        deviations(),
        lambda x, delta, scale: scipy.special.huber(delta, x) / scale,
    ),
    Row("binary_cross_entropy", judged(0.05, 0.95), binary_cross_entropy),
    Row(
        "binary_cross_entropy_with_logits",
        judged(-30.0, 30.0),
        lambda x, t: -t * scipy.special.log_expit(x) - (1 - t) * scipy.special.log_expit(-x),
    ),
]
