"""Hypothesis strategies for inputs of ops: arrays away from kinks, shapes that fit each other.

They shrink towards small shapes and round numbers. hypothesis comes with the extra `test`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinygrad_cv._apply import apply
from tinygrad_cv._op import REGISTRY
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host

try:
    from hypothesis import strategies as st
except ImportError as error:  # pragma: no cover
    raise ImportError(
        "tinygrad_cv.testing.strategies needs hypothesis: pip install 'tinygrad_cv[test]'."
    ) from error

from tinygrad_cv.testing.geometry import conv_geometry as conv_geometry
from tinygrad_cv.testing.geometry import pool_geometry as pool_geometry


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


def layouts() -> Any:
    """The names of the memory layouts that `arrange` makes."""
    return st.sampled_from(LAYOUTS)


@st.composite
def labels(draw: Any, count: int, classes: int) -> Any:
    """`count` class numbers (int64) from 0 to classes - 1."""
    numbers = st.lists(st.integers(0, classes - 1), min_size=count, max_size=count)
    return host.array(draw(numbers), dtype="int64")


# ----- whole graphs ------------------------------------------------------------------------------

SMOOTH = (
    *("add", "sub", "mul", "neg", "sin", "cos", "tanh", "sigmoid", "matmul", "mT"),
    *("mean", "logsumexp", "softmax"),
)
"""Ops that are smooth everywhere and defined for all numbers, to build graphs of."""


@dataclass(frozen=True)
class Expression:
    """A random expression graph: a function of `leaves` square matrices, as a list of steps.

    Step k applies an op to earlier values, which are the leaves and then the results of the steps.
    A reduction works on rows, and its result is broadcast back to a square.
    """

    leaves: int
    steps: tuple[tuple[str, tuple[int, ...]], ...]

    def __call__(self, *inputs: Tensor) -> Tensor:
        values = list(inputs)
        for name, places in self.steps:
            op = REGISTRY[name]
            attributes: dict[str, Any] = {}
            if "keepdims" in op.attributes:
                attributes = {"axis": (1,), "keepdims": True}
            elif "axis" in op.attributes:
                attributes = {"axis": 1}
            value = apply(op(**attributes), *[values[i] for i in places])
            values.append(value.broadcast_to(inputs[0].shape))
        # Every value takes part, each with a weight of its own.
        total = values[0].sum()
        for i, value in enumerate(values[1:], 2):
            total = total + value.sum() / i
        return total

    def __repr__(self) -> str:
        names = [f"x{i}" for i in range(self.leaves)]
        lines = []
        for name, places in self.steps:
            lines.append(f"{name}({', '.join(names[i] for i in places)})")
            names.append(f"v{len(lines)}")
        return "; ".join(f"v{i} = {line}" for i, line in enumerate(lines, 1)) or "the leaves"


@st.composite
def expressions(
    draw: Any, max_leaves: int = 3, max_steps: int = 6, ops: Sequence[str] = SMOOTH
) -> Any:
    """Pairs (expression, inputs): random graphs of registered ops with shared subexpressions.

    They shrink towards few steps on few leaves, and print as a list of steps.

    >>> from hypothesis import given
    >>> from tinygrad_cv.testing import check_gradients
    >>> from tinygrad_cv.testing.strategies import expressions
    >>> @given(expressions())
    ... def test(drawn):
    ...     expression, inputs = drawn
    ...     check_gradients(expression, inputs)
    """
    leaves = draw(st.integers(1, max_leaves))
    # Two numbers for each step, taken modulo what there is: a step can be left out on its own.
    number = st.integers(0, leaves + max_steps - 1)
    drawn = draw(
        st.lists(st.tuples(st.sampled_from(sorted(ops)), number, number), max_size=max_steps)
    )
    steps = [
        (name, tuple(i % (leaves + k) for i in places[: len(REGISTRY[name].inputs)]))
        for k, (name, *places) in enumerate(drawn)
    ]
    inputs = tuple(draw(arrays((2, 2), -1.0, 1.0)) for _ in range(leaves))
    return Expression(leaves, tuple(steps)), inputs
