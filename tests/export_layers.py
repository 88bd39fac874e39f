"""The layers and functions that are exported, and what is known of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinygrad_cv as tg
from tinygrad_cv import nn
from tinygrad_cv.onnx import export_model

Array = NDArray[Any]
Shape = tuple[Any, ...]


@dataclass(frozen=True)
class Layer:
    """A model, the shapes of its inputs ("n" is the batch's), and how it is exported.

    A shape that begins with "int", "mask", "half" or "double" is of such numbers. `nodes` are the
    operators that it should become, and `keeps` says that its weights have their names there.
    """

    make: Callable[[], Any]
    shapes: tuple[Shape, ...]
    options: dict[str, Any]
    nodes: str = ""
    keeps: bool = True
    rtol: float = 1e-5


LAYERS: dict[str, Layer] = {}

IMAGES = ("n", 4, 8, 8)
ROWS_OF_4 = ("n", 4)


def layer(
    name: str,
    make: Callable[[], Any],
    *shapes: Shape,
    nodes: str = "",
    keeps: bool = True,
    rtol: float = 1e-5,
    **options: Any,
) -> None:
    LAYERS[name] = Layer(make, shapes or (IMAGES,), options, nodes, keeps, rtol)


def inputs_of(layer: Layer, n: int, seed: int = 1) -> list[Array]:
    rng = np.random.default_rng(seed)
    arrays = []
    for shape in layer.shapes:
        kind = shape[0] if shape[0] in ("int", "mask", "half", "double") else ""
        known = {"n": n, "n + 4": n + 4}
        lengths = [known.get(k, k) for k in (shape[1:] if kind else shape)]
        dtype = {"half": "float16", "double": "float64"}.get(kind, "float32")
        if kind == "int":
            arrays.append(rng.integers(0, 4, lengths))
        elif kind == "mask":
            mask = rng.random(lengths) < 0.3
            mask[..., 0] = False
            arrays.append(mask)
        else:
            arrays.append(rng.standard_normal(lengths).astype(dtype))
    return arrays


def made_of(layer: Layer, path: Any = None) -> tuple[Any, Any]:
    """The model in evaluation mode, with statistics of its own, and what it is exported as."""
    tg.manual_seed(0)
    model = layer.make()
    if isinstance(model, nn.Module):
        for part in model.modules():
            if getattr(part, "running_var", None) is not None:
                part.running_var.data[...] = tg.rand(*part.running_var.shape) + 0.5
                part.running_mean.data[...] = tg.randn(*part.running_mean.shape)
        model.eval()
    example = tuple(map(tg.tensor, inputs_of(layer, 1, 0)))
    return model, export_model(model, example, path, **layer.options)


WRONG = {
    "softsign": "the evaluator makes a scalar of an array without axes, and refuses that",
    "conv_transpose1d": "the evaluator knows no groups there",
    "conv_transpose2d": "the evaluator knows no groups there",
    "conv_transpose3d": "the evaluator knows no groups there",
    "ConvTranspose2d with groups": "the evaluator knows no groups there",
    "local_response_norm": "the evaluator's window is another one, and of 4 axes only",
    "LocalResponseNorm": "the evaluator's window is another one",
    "CrossMapLRN2d": "the evaluator's window is another one",
    "log_softmax": "the evaluator takes the logarithm of a probability, which may be 0",
    "RNN with relu": "the evaluator has no relu there",
    "grid_sample, bicubic": "the evaluator puts the neighbours of a border elsewhere",
}
"""What the evaluator of the package gets wrong; our own import and onnxruntime do not."""

# ----- linear and convolutions -------------------------------------------------------------------

layer("Linear", lambda: nn.Linear(4, 3), ROWS_OF_4, nodes="Gemm")
layer("Linear of sequences", lambda: nn.Linear(4, 3), ("n", 5, 4), nodes="Transpose MatMul Add")
layer("Bilinear", lambda: nn.Bilinear(4, 4, 3), ROWS_OF_4, ROWS_OF_4, keeps=False)
layer("Conv1d", lambda: nn.Conv1d(4, 8, 3, padding=1, groups=2), ("n", 4, 9), nodes="Conv")
layer("Conv2d", lambda: nn.Conv2d(4, 8, 3, 2, 1, 2), nodes="Conv")
layer("Conv3d", lambda: nn.Conv3d(4, 8, 3, padding=1), ("n", 4, 5, 6, 7), nodes="Conv")
layer("Conv2d, same", lambda: nn.Conv2d(4, 8, 4, padding="same"), nodes="Pad Conv")
for _mode in ("reflect", "replicate", "circular"):
    layer(
        f"Conv2d, {_mode}",
        lambda mode=_mode: nn.Conv2d(4, 8, 3, padding=1, padding_mode=mode),
        nodes="Pad Conv",
    )
layer("ConvTranspose1d", lambda: nn.ConvTranspose1d(4, 8, 3, 2, 1, dilation=2), ("n", 4, 9))
layer(
    "ConvTranspose2d",
    lambda: nn.ConvTranspose2d(4, 8, 3, stride=2, output_padding=1),
    nodes="ConvTranspose",
)
layer("ConvTranspose2d with groups", lambda: nn.ConvTranspose2d(4, 8, 3, 2, groups=2))
layer("ConvTranspose3d", lambda: nn.ConvTranspose3d(4, 8, 2, stride=2), ("n", 4, 3, 4, 5))
layer("Conv2d of halves", lambda: nn.Conv2d(4, 8, 3).half(), ("half", "n", 4, 8, 8), rtol=3e-3)
layer(
    "doubles",
    lambda: nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Softmax(-1)).double(),
    ("double", "n", 4),
    nodes="Gemm Gelu Softmax",
)
layer(
    "weight_norm",
    lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
    ROWS_OF_4,
    nodes="Gemm",
    keeps=False,
)

# ----- normalization -----------------------------------------------------------------------------

layer("BatchNorm1d", lambda: nn.BatchNorm1d(4, affine=False), ROWS_OF_4)
layer("BatchNorm2d", lambda: nn.BatchNorm2d(4), nodes="BatchNormalization")
layer("BatchNorm3d", lambda: nn.BatchNorm3d(2), ("n", 2, 3, 3, 3), nodes="BatchNormalization")
layer("BatchNorm2d of the batch", lambda: nn.BatchNorm2d(4, track_running_stats=False))
layer("InstanceNorm1d", lambda: nn.InstanceNorm1d(4), ("n", 4, 9), nodes="InstanceNormalization")
layer("InstanceNorm2d", lambda: nn.InstanceNorm2d(4, affine=True), nodes="InstanceNormalization")
layer("InstanceNorm3d", lambda: nn.InstanceNorm3d(2), ("n", 2, 3, 3, 3))
layer("GroupNorm", lambda: nn.GroupNorm(2, 4), nodes="GroupNormalization")
layer("LayerNorm", lambda: nn.LayerNorm(8), nodes="LayerNormalization")
layer("LayerNorm of 2 axes", lambda: nn.LayerNorm((8, 8), elementwise_affine=False))
layer("RMSNorm", lambda: nn.RMSNorm(8), nodes="RMSNormalization")
layer("LocalResponseNorm", lambda: nn.LocalResponseNorm(3), nodes="LRN")
layer("LocalResponseNorm, even", lambda: nn.LocalResponseNorm(2))
layer("CrossMapLRN2d", lambda: nn.CrossMapLRN2d(2))

# ----- pools -------------------------------------------------------------------------------------

for _d, _shape in ((1, ("n", 4, 9)), (2, ("n", 4, 9, 8)), (3, ("n", 2, 5, 4, 6))):
    for _ceil in (False, True):
        _word = ", ceil" if _ceil else ""
        layer(
            f"MaxPool{_d}d{_word}",
            lambda d=_d, c=_ceil: getattr(nn, f"MaxPool{d}d")(3, 2, 1, ceil_mode=c),
            _shape,
            nodes="MaxPool",
        )
        layer(
            f"AvgPool{_d}d{_word}",
            lambda d=_d, c=_ceil: getattr(nn, f"AvgPool{d}d")(
                3, 2, 1, ceil_mode=c, count_include_pad=c
            ),
            _shape,
            nodes="AveragePool",
        )
    layer(
        f"AdaptiveAvgPool{_d}d to 1",
        lambda d=_d: getattr(nn, f"AdaptiveAvgPool{d}d")(1),
        _shape,
        nodes="GlobalAveragePool",
    )
    layer(f"AdaptiveAvgPool{_d}d", lambda d=_d: getattr(nn, f"AdaptiveAvgPool{d}d")(2), _shape)
    layer(f"AdaptiveMaxPool{_d}d", lambda d=_d: getattr(nn, f"AdaptiveMaxPool{d}d")(2), _shape)
    layer(f"LPPool{_d}d", lambda d=_d: getattr(nn, f"LPPool{d}d")(2, 2), _shape, nodes="LpPool")
layer("MaxPool2d, dilated", lambda: nn.MaxPool2d(3, 2, 1, dilation=2), nodes="MaxPool")
layer("MaxPool2d with places", lambda: nn.MaxPool2d(3, 2, 1, return_indices=True))
layer("AvgPool2d with a divisor", lambda: nn.AvgPool2d(3, 2, divisor_override=5))
layer("AdaptiveAvgPool2d to a divisor", lambda: nn.AdaptiveAvgPool2d(4), nodes="AveragePool")
layer("AdaptiveMaxPool2d to 1", lambda: nn.AdaptiveMaxPool2d(1), nodes="GlobalMaxPool")
layer("LPPool2d, odd", lambda: nn.LPPool2d(3, 3, 2), ("n", 4, 8, 8))


class Unpooled(nn.Module):
    def __init__(self, axes: int) -> None:
        self.pool = getattr(nn, f"MaxPool{axes}d")(2, return_indices=True)
        self.unpool = getattr(nn, f"MaxUnpool{axes}d")(2)

    def forward(self, x: Any) -> Any:
        return self.unpool(*self.pool(x))


for _d in (1, 2, 3):
    layer(f"MaxUnpool{_d}d", lambda d=_d: Unpooled(d), ("n", 2, *(4,) * _d))

# ----- images ------------------------------------------------------------------------------------

for _mode in ("nearest", "bilinear", "bicubic"):
    for _what, _kind in (
        ("twice", {"scale_factor": 2}),
        ("1.3 times", {"scale_factor": 1.3}),
        ("to a size", {"size": (5, 11)}),
    ):
        layer(
            f"Upsample {_what}, {_mode}",
            lambda mode=_mode, kind=_kind: nn.Upsample(mode=mode, **kind),
            nodes="Resize" if _what == "twice" else "",
        )
    if _mode != "nearest":
        layer(
            f"Upsample by corners, {_mode}",
            lambda mode=_mode: nn.Upsample(size=(5, 11), mode=mode, align_corners=True),
            nodes="Resize",
        )
layer("UpsamplingBilinear2d", lambda: nn.UpsamplingBilinear2d(scale_factor=2))
layer("UpsamplingNearest2d", lambda: nn.UpsamplingNearest2d(scale_factor=2))
layer("Upsample, linear", lambda: nn.Upsample(scale_factor=2, mode="linear"), ("n", 4, 9))
layer(
    "Upsample, trilinear",
    lambda: nn.Upsample(scale_factor=2, mode="trilinear"),
    ("n", 2, 3, 4, 2),
    nodes="Resize",
)
for _options in (
    {"size": (5, 3), "mode": "bilinear", "antialias": True},
    {"size": (5, 3), "mode": "area"},
    {"size": (5, 16), "mode": "nearest-exact"},
):
    layer(
        f"interpolate, {_options['mode']} {_options['size']}",
        lambda o=_options: lambda x: tg.interpolate(x, **o),
    )
layer("PixelShuffle", lambda: nn.PixelShuffle(2), nodes="DepthToSpace")
layer("PixelUnshuffle", lambda: nn.PixelUnshuffle(2))
layer("ChannelShuffle", lambda: nn.ChannelShuffle(2))
layer("Unfold", lambda: nn.Unfold(3, padding=1, stride=2), nodes="Conv Reshape")
layer("Fold", lambda: nn.Fold((8, 8), 2, stride=2), ("n", 16, 16), nodes="Col2Im")
layer(
    "grid_sample of an affine_grid",
    lambda: lambda x, t: tg.grid_sample(x, tg.affine_grid(t, [x.shape[0], 4, 5, 5])),
    IMAGES,
    ("n", 2, 3),
    nodes="Shape Concat AffineGrid GridSample",
    rtol=1e-4,
)
layer(
    "grid_sample, bicubic",
    lambda: lambda x, g: tg.grid_sample(x, g, "bicubic", "border", align_corners=True),
    IMAGES,
    ("n", 3, 3, 2),
    nodes="GridSample",
    rtol=1e-4,
)
for _name, _args in (
    ("ReflectionPad1d", ((1, 2),)),
    ("ReplicationPad1d", ((1, 2),)),
    ("CircularPad1d", ((1, 2),)),
    ("ZeroPad1d", ((1, 2),)),
    ("ConstantPad1d", ((1, 2), 3.5)),
):
    for _d, _shape in ((1, ("n", 4, 9)), (2, IMAGES), (3, ("n", 2, 3, 4, 5))):
        layer(
            f"{_name[:-2]}{_d}d",
            lambda name=f"{_name[:-2]}{_d}d", a=_args, d=_d: getattr(nn, name)(a[0] * d, *a[1:]),
            _shape,
            nodes="Pad",
        )
layer("ZeroPad2d, cropping", lambda: nn.ZeroPad2d(-1), nodes="Slice")

# ----- activations, shapes -----------------------------------------------------------------------

ELEMENTWISE = """
    ReLU=Relu LeakyReLU=LeakyRelu PReLU=PRelu RReLU=LeakyRelu ReLU6=Clip Hardtanh=Clip ELU=Elu
    SELU=Selu CELU=Celu Sigmoid=Sigmoid Tanh=Tanh LogSigmoid= Softplus=Softplus SiLU= Mish=Mish
    GELU=Gelu Softsign=Softsign Softshrink=Shrink Hardshrink=Shrink Tanhshrink= GLU=
    Hardsigmoid=HardSigmoid Hardswish=HardSwish Softmax2d=Softmax Flatten=Reshape
    Dropout=Identity Dropout1d=Identity Dropout2d=Identity Dropout3d=Identity
    AlphaDropout=Identity FeatureAlphaDropout=Identity Identity=Identity
"""
for _name in ELEMENTWISE.split():
    _name, _, _nodes = _name.partition("=")
    _shape = {"Dropout1d": ("n", 4, 9), "Dropout3d": ("n", 4, 2, 3, 2)}.get(_name, IMAGES)
    layer(_name, lambda name=_name: getattr(nn, name)(), _shape, nodes=_nodes, keeps=False)
layer("Threshold", lambda: nn.Threshold(0.1, 20.0))
layer("Softmax", lambda: nn.Softmax(1), nodes="Softmax")
layer("Softmin", lambda: nn.Softmin(1))
layer("LogSoftmax", lambda: nn.LogSoftmax(-1), nodes="LogSoftmax")
layer("GELU by tanh", lambda: nn.GELU("tanh"), nodes="Gelu")
layer("Softplus of another rate", lambda: nn.Softplus(2, 1))
layer("Unflatten", lambda: nn.Unflatten(1, (2, 2)), nodes="Reshape")
layer("ReLU in place", lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True)), ROWS_OF_4)
layer("CosineSimilarity", lambda: nn.CosineSimilarity(), IMAGES, IMAGES)
layer("PairwiseDistance", lambda: nn.PairwiseDistance(), ROWS_OF_4, ROWS_OF_4)

# ----- sequences ---------------------------------------------------------------------------------

_BOTH = {"dynamic_axes": {"input": {0: "time", 1: "batch"}}}
layer("Embedding", lambda: nn.Embedding(5, 3), ("int", "n", 4), nodes="Gather")
for _mode in ("sum", "mean", "max"):
    layer(
        f"EmbeddingBag, {_mode}",
        lambda mode=_mode: nn.EmbeddingBag(5, 3, mode=mode),
        ("int", "n", 4),
    )
for _name in ("LSTM", "GRU", "RNN"):
    layer(
        _name,
        lambda name=_name: getattr(nn, name)(4, 3),
        (6, "n", 4),
        keeps=False,
        **_BOTH,
    )
    layer(
        f"{_name} both ways",
        lambda name=_name: getattr(nn, name)(
            4, 3, num_layers=2, bidirectional=True, batch_first=True, bias=name != "RNN"
        ),
        ("n", 5, 4),
        keeps=False,
    )
    layer(
        f"{_name}Cell",
        lambda name=_name: getattr(nn, f"{name}Cell")(4, 3),
        ROWS_OF_4,
        keeps=False,
    )
layer(
    "RNN with relu",
    lambda: nn.RNN(4, 3, nonlinearity="relu", batch_first=True),
    ("n", 5, 4),
    keeps=False,
)
layer(
    "LSTM with a projection",
    lambda: nn.LSTM(4, 3, proj_size=2, batch_first=True),
    ("n", 3, 4),
    keeps=False,
)


class WithState(nn.Module):
    def __init__(self) -> None:
        self.layer = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x: Any, h: Any, c: Any) -> Any:
        return self.layer(x, (h, c))


layer(
    "LSTM with a state",
    WithState,
    ("n", 5, 4),
    (1, "n", 3),
    (1, "n", 3),
    keeps=False,
    dynamic_axes={"x": {0: "batch"}, "h": {1: "batch"}, "c": {1: "batch"}},
)


class Attention(nn.Module):
    def __init__(self) -> None:
        self.layer = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Any, mask: Any = None) -> Any:
        return self.layer(x, x, x, key_padding_mask=mask)


layer("MultiheadAttention", Attention, ("n", 5, 8))
layer("MultiheadAttention with a mask", Attention, ("n", 5, 8), ("mask", "n", 5))
layer(
    "TransformerEncoder",
    lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu", norm_first=True),
        2,
    ),
    ("n", 5, 8),
)
layer(
    "Transformer",
    lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
    ("n", 5, 8),
    ("n", 3, 8),
    keeps=False,
)
layer(
    "scaled_dot_product_attention of free length",
    lambda: lambda x: tg.scaled_dot_product_attention(x, x, x, is_causal=True),
    ("n", 2, "n + 4", 4),
    dynamic_axes={"x": {0: "n", 2: "t"}},
)
layer(
    "scaled_dot_product_attention",
    lambda: lambda x: tg.scaled_dot_product_attention(x, x, x, is_causal=True),
    ("n", 2, 5, 8),
)

# ----- functions ---------------------------------------------------------------------------------


def written(x: Any) -> Any:
    x = x * 2
    x[:, 1] = x[:, 0] * 3
    x[:, 2, 1:3] = 0
    return x + 1


def with_class(x: Any) -> Any:
    token = tg.zeros(1, 1, 8, 8).expand(x.shape[0], -1, -1, -1)
    return tg.cat([token, x], 1)


def numbered(x: Any) -> Any:
    return x + tg.arange(x.shape[0]).reshape(-1, 1, 1, 1)


def filled(x: Any) -> Any:
    """A constant that is changed part by part, and was used before."""
    whole = tg.zeros(x.shape[0], 3)
    before = whole + 1
    for i in range(3):
        whole[:, i] = x[:, i, 0, 0] * i
    whole[:, :2] += whole[:, 1:]
    return before + whole


def seen_outside_of_the_graph(x: Any) -> Any:
    """What was changed through a view."""
    y = x.clone()
    y[:, 0].add_(1)
    y[:, 1] *= 2
    return y.detach() * 2


def masked(x: Any) -> Any:
    y = x.clone()
    y[y < 0] = 0.5
    y[x[:, :, 0, 0] > 0.5] = x.mean()
    y[x[:, :, 0, 0] > 1] = x[0, 0]
    y[:, 1] = tg.ones(8)
    return y


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "detach": lambda x: x.detach() * 2,
    "relu_": lambda x: (x * 2).relu_() + 1,
    "relu_ of the input": lambda x: x.relu_() + 1,
    "assignment": written,
    "a constant is filled": filled,
    "a change through a view": seen_outside_of_the_graph,
    "assignment by masks": masked,
    "a class token": with_class,
    "places of the batch": numbered,
    "topk": lambda x: x.topk(2),
    "sort": lambda x: x.sort(descending=True),
    "argmax": lambda x: x.argmax(1),
    "einsum": lambda x: tg.einsum("nchw,nchv->nwv", x, x),
    "normalize": lambda x: tg.normalize(x),
    "gather": lambda x: x.gather(1, (x > 0).long()),
    "scatter": lambda x: x.scatter(1, x.argsort(1)[:, :2], 0.5),
    "masked_fill": lambda x: x.masked_fill(x > 0, 1.0),
    "cumsum": lambda x: x.cumsum(1),
    "cumprod": lambda x: x.cumprod(1),
    "an index of lists": lambda x: x[:, [0, 2], 1:3],
    "an index of two lists": lambda x: x[..., [0, 1], [1, -1]],
    "an index of lists apart": lambda x: x[:, [0, 2], :, [[1], [3]]],
    "an index that is computed": lambda x: x[:, (x.sum((0, 2, 3)) > 0).long()],
    "two indices that are computed": lambda x: x[:, x[0, 0, 0].argsort()[:2] // 2, [1, 2]],
    "a place that is computed": lambda x: x[:, (x.sum() > 0).long()],
    "a negative index": lambda x: x[:, -1, None, ::2],
    "an identity": lambda x: x[:, 0, 0] @ x[:, 0, 0].T - 2 * tg.eye(x.shape[0]),
    "a triangle": lambda x: (x[:, 0, 0] @ x[:, 0, 0].T) * tg.tril(tg.ones(x.shape[0], x.shape[0])),
    "roll": lambda x: tg.roll(x, (1, -2), (2, 3)),
    "roll of the batch": lambda x: tg.roll(x, 1, 0),
    "roll of the batch, more than once": lambda x: tg.roll(x, (-5, 4), (0, 0)),
    "one_hot": lambda x: tg.nn.functional.one_hot(x.argmax(1), 4),
    "flip": lambda x: x.flip(2, 3),
    "chunk": lambda x: tg.chunk(x, 2, 1),
    "the mean over the batch": lambda x: x.sum(0) / x.shape[0],
    "a dict": lambda x: {"a": x + 1, "b": x},
    "the input twice": lambda x: (x, x, x + 1),
    "no input": lambda x: (x, tg.ones(2)),
    "nothing at all": lambda x: (x, None),
}
for _name, _function in FUNCTIONS.items():
    layer(_name, lambda f=_function: f)

layer(
    "free height and width",
    lambda: nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1),
        nn.MaxPool2d(2),
        nn.Upsample(scale_factor=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    ),
    ("n", 4, 12, 10),
    dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}},
)

# ----- losses and others -------------------------------------------------------------------------

_SCORES, _LABELS, _FLOATS = ("n", 4), ("int", "n"), ("n", 4)
for _name, _shapes in {
    "MSELoss": (_FLOATS, _FLOATS),
    "L1Loss": (_FLOATS, _FLOATS),
    "SmoothL1Loss": (_FLOATS, _FLOATS),
    "HuberLoss": (_FLOATS, _FLOATS),
    "CrossEntropyLoss": (_SCORES, _LABELS),
    "NLLLoss": (_SCORES, _LABELS),
    "NLLLoss2d": (("n", 4, 2, 3), ("int", "n", 2, 3)),
    "BCEWithLogitsLoss": (_FLOATS, _FLOATS),
    "KLDivLoss": (_FLOATS, _FLOATS),
    "PoissonNLLLoss": (_FLOATS, _FLOATS),
    "SoftMarginLoss": (_FLOATS, _FLOATS),
    "MultiLabelSoftMarginLoss": (_FLOATS, _FLOATS),
    "TripletMarginLoss": (_FLOATS, _FLOATS, _FLOATS),
    "MarginRankingLoss": (("n",), ("n",), ("n",)),
    "HingeEmbeddingLoss": (_FLOATS, _FLOATS),
    "CosineEmbeddingLoss": (_FLOATS, _FLOATS, ("n",)),
    "MultiMarginLoss": (_SCORES, _LABELS),
    "MultiLabelMarginLoss": (_SCORES, ("int", "n", 4)),
    "SVMLoss": (_SCORES, _LABELS),
    "OneVsAllLoss": (_SCORES, _LABELS),
    "EuclideanLoss": (_FLOATS, _FLOATS),
}.items():
    layer(_name, lambda name=_name: getattr(nn, name)(), *_shapes, keeps=False)


class OfProbabilities(nn.Module):
    def __init__(self, loss: str) -> None:
        self.loss = getattr(nn, loss)()

    def forward(self, x: Any, y: Any) -> Any:
        if isinstance(self.loss, nn.BCELoss):
            return self.loss(tg.sigmoid(x), tg.sigmoid(y))
        return self.loss(x, y, tg.sigmoid(x))


layer("BCELoss", lambda: OfProbabilities("BCELoss"), _FLOATS, _FLOATS)
layer("GaussianNLLLoss", lambda: OfProbabilities("GaussianNLLLoss"), _FLOATS, _FLOATS)
layer(
    "CrossEntropyLoss with weights",
    lambda: nn.CrossEntropyLoss(weight=tg.tensor([1.0, 2.0, 0.5, 3.0]), label_smoothing=0.1),
    _SCORES,
    _LABELS,
    keeps=False,
)
layer(
    "BinnedCrossEntropyLoss",
    lambda: nn.BinnedCrossEntropyLoss(-1.0, 1.0, 4),
    _SCORES,
    ("n",),
    keeps=False,
)
layer("LinearCrossEntropyLoss", lambda: nn.LinearCrossEntropyLoss(4, 4), _SCORES, _LABELS)
layer("LocallyConnected2d", lambda: nn.LocallyConnected2d(4, 3, (8, 8), 3), keeps=False)
layer("Maxout", lambda: nn.Maxout(2), ROWS_OF_4, keeps=False)
layer("VanillaDropout", lambda: nn.VanillaDropout(), nodes="Mul")
layer("SyncBatchNorm", lambda: nn.SyncBatchNorm(4), nodes="BatchNormalization")


class Decoder(nn.Module):
    """Its places and its mask are as long as the sequence."""

    def __init__(self) -> None:
        self.words = nn.Embedding(5, 4)
        self.places = nn.Parameter(tg.randn(1, 32, 4))
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, x: Any) -> Any:
        time = x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(time)
        return self.layer(self.words(x) + self.places[:, :time], src_mask=mask)


class Segments(nn.Module):
    """What comes out is as large as what went in."""

    def __init__(self) -> None:
        self.down, self.scores = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Any) -> Any:
        y = tg.recompute(lambda z: tg.relu(self.down(z)), x)
        return tg.interpolate(self.scores(y), size=x.shape[2:], mode="bilinear")


layer(
    "a decoder",
    Decoder,
    ("int", "n", "n + 4"),
    keeps=False,
    dynamic_axes={"x": {0: "n", 1: "t"}},
)
layer(
    "segments",
    Segments,
    ("n", 3, "n + 4", 6),
    nodes="Conv Relu Conv Shape Shape Concat Resize",
    dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}},
)
