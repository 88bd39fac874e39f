"""What the strategies promise, and that they shrink to something readable."""

from typing import Any

import numpy as np
import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from tinygrad_cv.testing import GradientError, check_gradients
from tinygrad_cv.testing.strategies import (
    LAYOUTS,
    arrange,
    arrays,
    broadcastable,
    conv_geometry,
    expressions,
    labels,
    layouts,
    pool_geometry,
    shapes,
)


@given(arrays(shapes(min_side=0), -1.0, 1.0, kinks=(0.0, 0.5), margin=0.1))
def test_arrays_keep_away_from_kinks(x: Any) -> None:
    assert x.dtype == np.float64
    for kink in (0.0, 0.5):
        assert (np.abs(x - kink) >= 0.1 - 1e-12).all()


@given(arrays(shapes(), distinct=True, margin=0.05))
def test_distinct_elements_are_apart(x: Any) -> None:
    assert (np.diff(np.sort(x.ravel())) >= 0.05).all()


@given(broadcastable(3))
def test_broadcastable_shapes_broadcast(drawn: Any) -> None:
    assert len(drawn) == 3
    np.broadcast_shapes(*drawn)


@given(arrays(shapes(min_side=0)), layouts())
def test_a_layout_changes_no_value(x: Any, layout: str) -> None:
    arranged = arrange(x, layout)
    np.testing.assert_array_equal(arranged, x)
    assert arranged.shape == x.shape


def test_layouts_are_what_they_are_called() -> None:
    x = np.arange(6.0).reshape(2, 3)
    arranged = {layout: arrange(x, layout) for layout in LAYOUTS}
    assert arranged["F"].flags.f_contiguous
    assert min(arranged["reversed"].strides) < 0
    assert not arranged["strided"].flags.c_contiguous
    assert not arranged["read-only"].flags.writeable
    assert not arranged["broadcast"].flags.writeable


@given(st.data())
def test_labels_are_classes(data: Any) -> None:
    drawn = data.draw(labels(5, 3))
    assert drawn.dtype == np.int64
    assert drawn.shape == (5,)
    assert set(drawn.tolist()) <= {0, 1, 2}


@given(conv_geometry())
def test_conv_geometry_has_room_for_a_window(geometry: Any) -> None:
    assert min(geometry.lengths("out")) >= 1
    assert geometry.channels % geometry.groups == geometry.outputs % geometry.groups == 0
    assert geometry.weight[1] * geometry.groups == geometry.images[1]


@given(pool_geometry())
def test_every_window_of_a_pool_sees_a_pixel(geometry: Any) -> None:
    assert all(seen for axis in geometry.axes for seen in axis.seen)


@given(expressions())
def test_random_expressions_have_right_gradients(drawn: Any) -> None:
    expression, inputs = drawn
    check_gradients(expression, inputs)


def test_examples_shrink_to_something_small() -> None:
    assert find(arrays(shapes()), lambda x: x.size > 3).size <= 8
    expression, inputs = find(
        expressions(), lambda drawn: any(name == "matmul" for name, _ in drawn[0].steps)
    )
    assert repr(expression) == "v1 = matmul(x0, x0)"
    assert len(inputs) == 1


@pytest.mark.host  # how a report is shortened does not depend on the device
def test_a_mistake_in_a_graph_is_reported_as_a_short_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tinygrad_cv._op import REGISTRY, Rule

    tanh = REGISTRY["tanh"]
    wrong = Rule(lambda self, F, g, y: g * (1 - y), ("y",))
    monkeypatch.setattr(tanh, "rules", {"x": wrong})
    monkeypatch.setattr(tanh, "plans", {})

    def fails(drawn: Any) -> bool:
        try:
            check_gradients(*drawn, order=1)
        except GradientError:
            return True
        return False

    expression, _ = find(expressions(), fails)
    assert repr(expression) == "v1 = tanh(x0)"
