"""Models as ONNX files: each op, each layer and each model, run by the package's own evaluator."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import tinygrad_cv as tg
from rows import ROWS
from tinygrad_cv import nn
from tinygrad_cv._op import REGISTRY
from tinygrad_cv._trees import tensors_in
from tinygrad_cv.onnx import export_model, import_model
from tinygrad_cv.onnx.writing import OPS, REFUSED

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
reference = pytest.importorskip("onnx.reference")

Array = NDArray[Any]

pytestmark = [
    pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning"),
]

# ----- the ops -----------------------------------------------------------------------------------

OURS = [name for name, op in REGISTRY.items() if not op.foreign]


def test_every_op_is_written_or_refused_by_name() -> None:
    assert {*OURS} == {*OPS} | {*REFUSED}
    assert not {*OPS} & {*REFUSED}
    assert all(len(why) > 20 for why in REFUSED.values())


def ran(made: Any, feeds: dict[str, Array]) -> list[Array]:
    """The outputs of a model by the package's evaluator."""
    return [np.asarray(y) for y in reference.ReferenceEvaluator(made).run(None, feeds)]


def imported(path: Path, feeds: dict[str, Array]) -> list[Array]:
    """The outputs of a model by our own import."""
    return [y.numpy(force=True) for y in import_model(path).run(feeds).values()]
