"""Hypothesis strategies for inputs of ops: arrays away from kinks, shapes that fit each other.

They shrink towards small shapes and round numbers. hypothesis comes with the extra `test`.
"""

from collections.abc import Sequence
from typing import Any

from tinygrad_cv.backend import host

try:
    from hypothesis import strategies as st
except ImportError as error:  # pragma: no cover
    raise ImportError(
        "tinygrad_cv.testing.strategies needs hypothesis: pip install 'tinygrad_cv[test]'."
    ) from error


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4) -> Any:
    """Shapes of arrays."""
    side = st.integers(min_side, max_side)
    return st.lists(side, min_size=min_dims, max_size=max_dims).map(tuple)


@st.composite
def arrays(
    draw: Any,
    shape: Any,
    low: float = -2.0,
    high: float = 2.0,
    kinks: Sequence[float] = (),
    margin: float = 0.05,
    distinct: bool = False,
) -> Any:
    """Float64 arrays with elements in [low, high], at least `margin` away from every kink.

    With `distinct` any two elements differ by `margin` or more, so that a maximum stays where it
    is under small steps.
    """
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else tuple(shape)
    count = int(host.prod(shape))
    # One seed for all elements: an array is drawn at once and shrinks at once.
    rng = host.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if distinct:
        ranks = rng.permutation(count) + rng.uniform(-0.2, 0.2, count)
        values = (ranks - count / 2) * max(2 * margin, (high - low) / max(count, 1))
    else:
        values = rng.uniform(low, high, count)
    for kink in kinks:
        near = host.abs(values - kink) < margin
        values = host.where(near, kink + host.where(values < kink, -margin, margin), values)
    return values.reshape(shape)


@st.composite
def broadcastable(draw: Any, count: int = 2, max_dims: int = 3, max_side: int = 3) -> Any:
    """`count` shapes that broadcast against each other."""
    whole = draw(shapes(0, max_dims, 1, max_side))
    result = []
    for _ in range(count):
        start = draw(st.integers(0, len(whole)))
        result.append(tuple(1 if draw(st.booleans()) else n for n in whole[start:]))
    return tuple(result)


LAYOUTS = ("C", "F", "reversed", "strided", "read-only", "broadcast")


def arrange(array: Any, layout: str) -> Any:
    """The same values in another memory layout.

    "F" is column-major, "reversed" has negative strides, "strided" leaves gaps, "read-only" cannot
    be written to, and "broadcast" repeats memory along an axis of equal values (length 1).
    """
    if layout == "F":
        return host.array(array, order="F")
    if layout == "reversed":
        return host.flip(host.flip(array).copy())
    if layout == "strided":
        wide = host.zeros((*array.shape, 2), array.dtype)
        wide[..., 0] = array
        return wide[..., 0]
    if layout in ("read-only", "broadcast"):
        array = host.broadcast_to(array, array.shape) if layout == "broadcast" else array.copy()
        array.flags.writeable = False
    return array
