"""Exported models, run by onnxruntime: every layer, and every model that people know."""

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import tinygrad_cv as tg
from export_layers import LAYERS, inputs_of, made_of
from tinygrad_cv import models
from tinygrad_cv._trees import tensors_in
from tinygrad_cv.onnx import export_model

runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

Array = NDArray[Any]

pytestmark = pytest.mark.host

UNKNOWN = {"doubles": "onnxruntime has no Erf of doubles"}
"""What onnxruntime has no kernel for."""


def ran(path: Path, arrays: list[Array]) -> list[Array]:
    """The outputs of a model by onnxruntime."""
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return [np.asarray(y) for y in session.run(None, dict(zip(names, arrays, strict=True)))]


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_there_what_it_computes_here(name: str, tmp_path: Path) -> None:
    layer = LAYERS[name]
    path = tmp_path / "layer.onnx"
    model, _ = made_of(layer, path)
    arrays = inputs_of(layer, 3)
    if name in UNKNOWN:
        with pytest.raises(Exception, match="NOT_IMPLEMENTED"):
            ran(path, arrays)
        return
    expected = [y.numpy(force=True) for y in tensors_in(model(*map(tg.tensor, arrays)))]
    for y, wanted in zip(ran(path, arrays), expected, strict=True):
        assert (y.shape, y.dtype) == (wanted.shape, wanted.dtype)
        assert_allclose(y, wanted, max(layer.rtol, 2e-5), max(layer.rtol, 2e-5))


SIZES = {"lenet5": (1, 28), "example_net": (3, 32), "inception_v3": (3, 299), "googlenet": (3, 96)}
LARGE = (
    *("vit_h", "vit_l", "convnext_base", "convnext_large", "vgg13", "vgg19", "wide_resnet101"),
    *("resnext101_64", "efficientnet_b5", "efficientnet_b6", "efficientnet_b7"),
    *("efficientnet_v2_m", "efficientnet_v2_l"),
)
"""Models that take long, and are built of the same blocks as their smaller relatives."""
FIXED = ("alexnet", "vgg", "vit", "alexnet_original")
"""Those that are for images of 224 pixels."""


@pytest.mark.parametrize("name", [n for n in models.list_models() if not n.startswith(LARGE)])
def test_a_model_computes_there_what_it_computes_here(name: str, tmp_path: Path) -> None:
    channels, size = SIZES.get(name, (3, 224 if name.startswith(FIXED) else 64))
    tg.manual_seed(0)
    model = models.get_model(name, weights=None).eval()
    rng = tg.Generator().manual_seed(1)
    for part in model.modules():
        if getattr(part, "running_var", None) is not None:
            shape = part.running_var.shape
            part.running_var.data[...] = tg.rand(*shape, generator=rng) + 0.5
            part.running_mean.data[...] = tg.randn(*shape, generator=rng) * 0.1
    x = tg.randn(2, channels, size, size, generator=rng)
    expected = [y.numpy(force=True) for y in tensors_in(model(x))]
    for fold in (False, True):
        path = tmp_path / f"{fold}.onnx"
        export_model(model, x[:1], path, fold_batch_norm=fold)
        for y, wanted in zip(ran(path, [x.numpy()]), expected, strict=True):
            assert y.shape == wanted.shape
            assert np.abs(y - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_the_nodes_of_a_resnet_are_about_as_many_as_those_that_pytorch_writes(
    tmp_path: Path,
) -> None:
    torch, torchvision = (importlib.import_module(n) for n in ("torch", "torchvision"))
    onnx = pytest.importorskip("onnx")
    theirs = tmp_path / "theirs.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            torchvision.models.resnet18().eval(),
            (torch.zeros(1, 3, 64, 64),),
            theirs,
            dynamo=False,
        )
    ours = export_model(
        models.resnet18(weights=None), tg.zeros(1, 3, 64, 64), None, fold_batch_norm=True
    )
    assert len(ours.graph.node) <= len(onnx.load(theirs).graph.node) + 2
