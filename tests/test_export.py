"""Models as ONNX files: each op, each layer and each model, run by the package's own evaluator."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import tinygrad_cv as tg
from export_layers import LAYERS, WRONG, Layer, inputs_of, made_of
from rows import ROWS
from tinygrad_cv import models, nn
from tinygrad_cv._op import REGISTRY
from tinygrad_cv._trees import tensors_in
from tinygrad_cv.onnx import export, export_model, import_model, is_in_onnx_export
from tinygrad_cv.onnx.writing import OPS, REFUSED

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
reference = pytest.importorskip("onnx.reference")

Array = NDArray[Any]

pytestmark = [
    pytest.mark.host,
    pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning"),  # the evaluator's
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning"),
]


def ran(made: Any, feeds: dict[str, Array]) -> list[Array]:
    """The outputs of a model by the package's evaluator."""
    return [np.asarray(y) for y in reference.ReferenceEvaluator(made).run(None, feeds)]


def imported(made: Any, feeds: dict[str, Array]) -> list[Array]:
    """The outputs of a model by our own import."""
    return [y.numpy(force=True) for y in import_model(made).run(feeds).values()]


def agree(found: list[Array], expected: list[Array], rtol: float = 1e-5) -> None:
    """Raise unless values, shapes and dtypes are equal, to rounding."""
    for y, wanted in zip(found, expected, strict=True):
        assert (y.shape, y.dtype) == (wanted.shape, wanted.dtype)
        assert_allclose(y, wanted, rtol, rtol)


# ----- the ops -----------------------------------------------------------------------------------

OURS = [name for name, op in REGISTRY.items() if not op.foreign]


def test_every_op_is_written_or_refused_by_name() -> None:
    assert {*OURS} == {*OPS} | {*REFUSED}
    assert not {*OPS} & {*REFUSED}
    assert all(len(why) > 20 for why in REFUSED.values())


@pytest.mark.parametrize("name", [name for name in OPS if name in ROWS])
@settings(max_examples=2, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_an_op_computes_there_what_it_computes_here(name: str, data: Any) -> None:
    row = ROWS[name]
    case = data.draw(row.cases)
    arrays = [value for value in case.inputs if isinstance(value, np.ndarray)]

    def function(*tensors: Any) -> Any:
        rest = iter(tensors)
        given = [next(rest) if isinstance(v, np.ndarray) else v for v in case.inputs]
        return tg.apply(case.make(row.op), *given)

    names = [f"x{i}" for i in range(len(arrays))]
    made = export_model(function, tuple(arrays), None, input_names=names, dynamic_axes={})
    results = function(*(tg.Tensor(a, dtype=a.dtype) for a in arrays))
    expected = [y.numpy(force=True) for y in tensors_in(results)]
    feeds = dict(zip(names, arrays, strict=True))
    agree(imported(made, feeds), expected)
    if name not in WRONG and not (name in EMPTY and any(not a.size for a in arrays)):
        agree(ran(made, feeds), expected)


EMPTY = {"fold", "max_pool_with_places"}
"""Ops of which the evaluator cannot take an input or make a result without elements."""


# ----- the layers --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_there_what_it_computes_here(name: str) -> None:
    layer = LAYERS[name]
    model, made = made_of(layer)
    arrays = inputs_of(layer, 3)  # not the batch that it was exported with
    expected = [y.numpy(force=True) for y in tensors_in(model(*map(tg.tensor, arrays)))]
    feeds = dict(zip((value.name for value in made.graph.input), arrays, strict=True))
    agree(imported(made, feeds), expected, layer.rtol)
    if name not in WRONG:
        agree(ran(made, feeds), expected, layer.rtol)
    if layer.nodes:
        assert " ".join(node.op_type for node in made.graph.node) == layer.nodes
    if isinstance(model, nn.Module) and layer.keeps:
        weights = {value.name for value in made.graph.initializer}
        assert weights >= {k for k in model.state_dict() if "num_batches_tracked" not in k}


def test_every_layer_is_tried() -> None:
    """But for containers, losses, what is abstract, and what is told to be left out."""
    tried = {layer.make().__class__.__name__ for layer in LAYERS.values() if layer.make}
    tried |= {type(m).__name__ for layer in LAYERS.values() for m in _modules(layer)}
    classes = {
        name
        for name in nn.__all__
        if isinstance(thing := getattr(nn, name), type) and issubclass(thing, nn.Module)
    }
    left = {name for name in classes - tried if not name.startswith("Lazy")}
    assert left == LEFT_OUT


def _modules(layer: Layer) -> Any:
    model = layer.make()
    return model.modules() if isinstance(model, nn.Module) else ()


LEFT_OUT: set[str] = set()


# ----- the models --------------------------------------------------------------------------------

SMALL = {
    "lenet5": (1, 28),
    "example_net": (3, 32),
    "resnet20": (3, 32),
    "squeezenet1_1": (3, 32),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_model_computes_there_what_it_computes_here(name: str) -> None:
    channels, size = SMALL[name]
    tg.manual_seed(0)
    model = models.get_model(name, weights=None).eval()
    x = tg.randn(3, channels, size, size)
    made = export_model(model, x[:1], None)
    (y,) = ran(made, {made.graph.input[0].name: x.numpy()})
    expected = model(x).numpy(force=True)
    assert np.abs(y - expected).max() <= 1e-5 * np.abs(expected).max()
