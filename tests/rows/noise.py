"""Rows of the noise that regularizes."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from numpy.typing import NDArray

import tinygrad_cv as tg
from rows.row import Case, Row
from rows.shape import with_empty
from tinygrad_cv.testing.strategies import arrays

Array = NDArray[Any]


def dropout(
    x: Array,
    p: float,
    generator: np.random.Generator,
    scaled: bool = True,
    shared: int = 0,
) -> Array:
    """One single-precision draw an element: below p it is dropped, else divided by 1 - p."""
    own = x.shape[: x.ndim - shared]
    kept = tg.rand(own, generator=generator).numpy() >= p
    kept = np.broadcast_to(kept.reshape((*own, *[1] * shared)), x.shape)
    return np.divide(x, 1 - p if scaled else 1, out=np.zeros_like(x), where=kept)


def alpha_dropout(x: Array, p: float, generator: np.random.Generator, shared: int = 0) -> Array:
    """A dropped element becomes -λα; then all are moved to mean 0 and scaled to variance 1.

    If x has mean 0 and variance 1, the mean after dropping is -λα · p, and the variance is
    1 - p + p · (λα)² - (λα · p)².
    """
    low = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717
    own = x.shape[: x.ndim - shared]
    kept = tg.rand(own, generator=generator).numpy() >= p
    kept = kept.reshape((*own, *[1] * shared))
    mean, variance = low * p, 1 - p + p * low**2 - (low * p) ** 2
    return (np.where(kept, x, low) - mean) / variance**0.5


def gaussian_noise(x: Array, std: float, generator: np.random.Generator) -> Array:
    return x + std * tg.randn(x.shape, generator=generator).numpy()


@st.composite
def droppings(draw: Any) -> Case:
    x, p = draw(arrays(with_empty())), draw(st.sampled_from((0.5, 0.0, 0.1, 0.9, 1.0)))
    options = {"scaled": draw(st.booleans()), "shared": draw(st.integers(0, x.ndim))}
    return Case((x,), {"p": p, "generator": np.random.default_rng(0), **options})


@st.composite
def alpha_droppings(draw: Any) -> Case:
    x, p = draw(arrays(with_empty())), draw(st.sampled_from((0.5, 0.0, 0.1, 0.9)))
    generator = np.random.default_rng(0)
    return Case((x,), {"p": p, "generator": generator, "shared": draw(st.integers(0, x.ndim))})


def noisy(name: str, *values: float) -> SearchStrategy[Case]:
    """Calls with one of the values for the attribute of that name."""
    return st.builds(
        lambda x, value: Case((x,), {name: value, "generator": np.random.default_rng(0)}),
        arrays(with_empty()),
        st.sampled_from(values),
    )


ROWS = [
    Row("dropout", droppings(), dropout, exact="linear"),
    Row("alpha_dropout", alpha_droppings(), alpha_dropout),
    Row("gaussian_noise", noisy("std", 0.1, 0.0, 2.0), gaussian_noise),
]
