"""Row of batch normalization."""

import math
from typing import Any

from hypothesis import strategies as st

import oracles
from rows.row import Case, Row
from tinygrad_cv.testing.strategies import arrays, shapes


@st.composite
def batches(draw: Any) -> Case:
    """(N, C), (N, C, L) and (N, C, H, W); each channel has several values, none of them equal.

    Equal values would have the variance 0, where 1 / √(var + eps) bends too sharply to be measured.
    """
    space = draw(shapes(0, 2, 1, 3))
    least = math.ceil(3 / math.prod(space))
    shape = (draw(st.integers(least, 4)), draw(st.integers(1, 3)), *space)
    x = draw(arrays(shape, distinct=True))
    w, b = (draw(st.none() | arrays(shape[1:2])) for _ in "wb")
    return Case((x, w, b), {"eps": draw(st.sampled_from((1e-5, 1e-3, 0.1)))})


ROWS = [
    Row(
        "batch_norm",
        batches(),
        lambda x, w, b, eps: oracles.batch_norm_train(x, w, b, eps)[0],
    )
]
