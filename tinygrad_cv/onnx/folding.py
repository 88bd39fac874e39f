"""Batch norms that become part of the layer before them."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tinygrad_cv.backend import host

LAYERS = {"Conv": 0, "Gemm": 0, "ConvTranspose": 1}
"""The operators whose weights take up a batch norm, and the axis of those that is the channels."""


def without_batch_norm(graph: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Fold each BatchNormalization into the layer that it alone reads; the weights after that.

    (w x + b - mean) · s + shift = (s w) x + (b - mean) · s + shift with s = scale / √(var + eps).
    """
    folded = dict(arrays)
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)
    makers = {node.output[0]: node for node in graph.node}
    gone = []
    for norm in graph.node:
        if norm.op_type != "BatchNormalization":
            continue
        layer = makers.get(norm.input[0])
        if layer is None or layer.op_type not in LAYERS or uses[norm.input[0]] > 1:
            continue
        if any(name not in folded for name in (*layer.input[1:], *norm.input[1:])):
            continue
        attributes = {a.name: a for a in (*layer.attribute, *norm.attribute)}
        if layer.op_type == "Gemm" and not attributes["transB"].i:
            continue
        if layer.op_type == "ConvTranspose" and attributes["group"].i != 1:
            continue
        weight = folded[layer.input[1]]
        scale, shift, mean, var = (folded[name].astype("float64") for name in norm.input[1:])
        factor = scale / host.sqrt(var + attributes["epsilon"].f)
        axis = LAYERS[layer.op_type]
        along = factor.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
        bias = folded[layer.input[2]] if len(layer.input) > 2 else host.zeros(len(factor))
        names = _names(layer, norm, uses, folded)
        folded[names[0]] = (weight * along).astype(weight.dtype)
        folded[names[1]] = ((bias - mean) * factor + shift).astype(weight.dtype)
        layer.input[1:] = names
        layer.output[0] = norm.output[0]
        makers[norm.output[0]] = layer
        gone.append(norm)
    for norm in gone:
        graph.node.remove(norm)
    return folded


def _names(layer: Any, norm: Any, uses: Counter[str], known: Mapping[str, Any]) -> list[str]:
    """The names of the new weights: the old ones, unless others use those."""
    weight = layer.input[1]
    if uses[weight] > 1:
        weight = _new(f"{weight}.folded", known)
    if len(layer.input) > 2 and uses[layer.input[2]] == 1:
        return [weight, layer.input[2]]
    stem = layer.input[1].removesuffix("weight")
    return [weight, _new(f"{stem}bias", known)]


def _new(name: str, known: Mapping[str, Any]) -> str:
    while name in known:
        name += "_"
    return name
