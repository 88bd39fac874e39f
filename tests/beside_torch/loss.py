"""The losses beside PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cv as tg
from beside_torch.call import Beside, Call
from tinygrad_cv.ops import loss
from tinygrad_cv.testing.strategies import arrays, broadcastable, shapes

Options = dict[str, st.SearchStrategy[Any]]
REDUCTIONS: Options = {"reduction": st.sampled_from(("none", "mean", "sum"))}
# Off the halves that `signed` draws: at the hinge PyTorch's slope depends on its version.
MARGIN: Options = {"margin": st.sampled_from((0.01, 0.51, 1.01))}
IGNORED: Options = {"ignore_index": st.sampled_from((-100, 0, 255))}
SMOOTHING: Options = {"label_smoothing": st.sampled_from((0.0, 0.1, 1.0))}


@st.composite
def drawn(draw: Any, options: Options) -> dict[str, Any]:
    return {name: draw(values) for name, values in options.items()}


@st.composite
def labelled(draw: Any, options: Options, dense: bool = True) -> Call:
    """Scores, labels of which some may be ignored, and a weight per class or None."""
    classes = draw(st.integers(1, 4))
    batch = draw(st.sampled_from(((), (1,), (3,))))
    space = draw(shapes(0, 2, 1, 3)) if dense and batch else ()
    places = (*batch, *space)
    x = draw(arrays((*batch, classes, *space), -5.0, 5.0))
    labels = draw(hnp.arrays(np.int64, places, elements=st.integers(0, classes - 1)))
    keywords = draw(drawn(options | REDUCTIONS))
    if "ignore_index" in keywords:
        left_out = draw(hnp.arrays(bool, places))
        left_out.flat[0] = False  # of nothing the mean is NaN
        labels = np.where(left_out, keywords["ignore_index"], labels)
        if labels.flat[0] == keywords["ignore_index"]:
            keywords["ignore_index"] = -1
            labels = np.clip(labels, 0, classes - 1)
    # PyTorch does not differentiate class weights: they are passed as plain numbers.
    weight = draw(st.none() | arrays((classes,), 0.5, 2.0).map(np.ndarray.tolist))
    return Call((x, np.asarray(labels), weight), keywords)


def weighted(name: str, calls: st.SearchStrategy[Call], of: str = "") -> Beside:
    """A loss whose third input is a weight, which is a constant."""

    def call(function: Callable[..., Any], tensor: Callable[..., Any]) -> Callable[..., Any]:
        def run(x: Any, target: Any, weight: Any, **options: Any) -> Any:
            weight = None if weight is None else tensor(weight, dtype=x.dtype)
            return function(x, target, weight=weight, **options)

        return run

    theirs = call(getattr(torch.nn.functional, name), torch.tensor)
    label = f"{name}: {of}" if of else name
    return Beside(label, calls, call(getattr(loss, name), tg.tensor), theirs)


@st.composite
def distributions(draw: Any) -> Call:
    shape = draw(shapes(1, 4, 1, 3))
    classes = shape[0] if len(shape) == 1 else shape[1]
    weight = draw(st.none() | arrays((classes,), 0.5, 2.0).map(np.ndarray.tolist))
    inputs = draw(arrays(shape, -5.0, 5.0)), draw(arrays(shape, 0.0, 1.0)), weight
    return Call(inputs, draw(drawn(SMOOTHING | REDUCTIONS)))


@st.composite
def pairs(
    draw: Any,
    options: Options,
    low: float = -3.0,
    high: float = 3.0,
    target: tuple[float, float] = (-3.0, 3.0),
    min_dims: int = 0,
) -> Call:
    """Predictions and targets of one shape, coarse enough to meet the kinks."""
    shape = draw(shapes(min_dims, 3))
    x, t = draw(arrays(shape, low, high)), draw(arrays(shape, *target))
    if draw(st.booleans()):
        x, t = (np.asarray(np.round(2 * v) / 2) for v in (x, t))
    return Call((x, t), draw(drawn(REDUCTIONS | options)))


@st.composite
def events(draw: Any, low: float, high: float, pos_weight: bool = False, dims: int = 0) -> Call:
    """Predictions, probabilities, and weights that broadcast."""
    shape = draw(shapes(dims, 3))
    # PyTorch has no gradient of a weight everywhere: they are constants.
    weight = draw(st.none() | arrays(shape[-1:], 0.5, 2.0).map(np.ndarray.tolist))
    positive = draw(st.none() | arrays(shape[-1:], 0.5, 2.0).map(np.ndarray.tolist))
    inputs = draw(arrays(shape, low, high)), draw(arrays(shape, 0.0, 1.0)), weight
    return Call((*inputs, positive) if pos_weight else inputs, draw(drawn(REDUCTIONS)))


def with_pos_weight(function: Callable[..., Any], tensor: Callable[..., Any]) -> Any:
    def run(x: Any, target: Any, weight: Any, pos_weight: Any, **options: Any) -> Any:
        weight, pos_weight = (
            None if w is None else tensor(w, dtype=x.dtype) for w in (weight, pos_weight)
        )
        return function(x, target, weight, pos_weight=pos_weight, **options)

    return run


@st.composite
def signed(draw: Any, options: Options, count: int = 1, vectors: bool = False) -> Call:
    """Numbers or vectors, and for each a target 1 or -1."""
    shape = draw(shapes(1, 2, min_side=2) if vectors else shapes())
    xs = draw(arrays((count, *shape), distinct=True))
    if not vectors and draw(st.booleans()):
        xs = np.round(2 * xs) / 2
    target = np.where(draw(hnp.arrays(bool, shape[:-1] if vectors else shape)), 1, -1)
    return Call((*map(np.asarray, xs), np.asarray(target)), draw(drawn(REDUCTIONS | options)))


@st.composite
def points(draw: Any, count: int, options: Options) -> Call:
    shape = draw(shapes(1, 3))
    xs = draw(arrays((count, *shape), distinct=True))
    return Call(tuple(xs), draw(drawn(options)))


@st.composite
def directions(draw: Any) -> Call:
    a, b = draw(broadcastable())
    ndim = max(len(a), len(b))
    if not ndim:
        a, b, ndim = (2,), (2,), 1
    inputs = draw(arrays(a, 0.1, 2.0)), draw(arrays(b, 0.1, 2.0))
    return Call(inputs, {"dim": draw(st.integers(-ndim, ndim - 1))})


@st.composite
def divergences(draw: Any) -> Call:
    log_target = draw(st.booleans())
    shape = draw(shapes(1, 3))
    target = draw(arrays(shape, *((-3.0, 0.0) if log_target else (0.05, 1.0))))
    reduction = draw(st.sampled_from(("none", "sum", "batchmean")))  # at "mean" PyTorch warns
    options = {"reduction": reduction, "log_target": log_target}
    return Call((draw(arrays(shape, -3.0, 0.0)), target), options)


@st.composite
def counts(draw: Any) -> Call:
    log_input = draw(st.booleans())
    shape = draw(shapes())
    x = draw(arrays(shape, *((-2.0, 2.0) if log_input else (0.2, 3.0))))
    target = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 5)))
    options = draw(drawn({"full": st.booleans()} | REDUCTIONS))
    return Call((x, target), options | {"log_input": log_input})


@st.composite
def measurements(draw: Any) -> Call:
    shape = draw(shapes(1, 3))
    of_var = draw(st.sampled_from((shape, shape[:-1], (*shape[:-1], 1))))
    inputs = (arrays(shape), arrays(shape), arrays(of_var, 0.2, 2.0))
    return Call(tuple(map(draw, inputs)), draw(drawn({"full": st.booleans()} | REDUCTIONS)))


ABOVE_0: Options = {"margin": st.sampled_from((0.5, 1.0))}
NORMS: Options = {"p": st.sampled_from((1.0, 2.0, 3.0))}
BETA: Options = {"beta": st.sampled_from((0.0, 0.5, 1.0))}
DELTA: Options = {"delta": st.sampled_from((0.5, 1.0))}
POWER: Options = {"p": st.sampled_from((1, 2))}

CALLS = [
    weighted("cross_entropy", labelled(IGNORED | SMOOTHING)),
    weighted("nll_loss", labelled(IGNORED)),
    weighted("multi_margin_loss", labelled(MARGIN | POWER, dense=False)),
    weighted("binary_cross_entropy", events(0.01, 0.99)),
    weighted("multilabel_soft_margin_loss", events(-50.0, 50.0, dims=1)),
    weighted("cross_entropy", distributions(), of="probabilities"),
    Beside(
        "binary_cross_entropy_with_logits",
        events(-50.0, 50.0, pos_weight=True),
        with_pos_weight(loss.binary_cross_entropy_with_logits, tg.tensor),
        with_pos_weight(torch.nn.functional.binary_cross_entropy_with_logits, torch.tensor),
    ),
    Beside("mse_loss", pairs({}), loss.mse_loss),
    Beside("l1_loss", pairs({}), loss.l1_loss),
    Beside("huber_loss", pairs(DELTA), loss.huber_loss),
    Beside("smooth_l1_loss", pairs(BETA), loss.smooth_l1_loss),
    Beside("kl_div", divergences(), loss.kl_div),
    Beside("poisson_nll_loss", counts(), loss.poisson_nll_loss),
    Beside("gaussian_nll_loss", measurements(), loss.gaussian_nll_loss),
    Beside("soft_margin_loss", signed({}), loss.soft_margin_loss),
    Beside("hinge_embedding_loss", signed(MARGIN), loss.hinge_embedding_loss),
    Beside("margin_ranking_loss", signed(MARGIN, count=2), loss.margin_ranking_loss),
    Beside(
        "cosine_embedding_loss",
        signed(MARGIN, count=2, vectors=True),
        loss.cosine_embedding_loss,
    ),
    Beside("cosine_similarity", directions(), loss.cosine_similarity),
    Beside(
        "pairwise_distance",
        points(2, NORMS | {"keepdim": st.booleans()}),
        loss.pairwise_distance,
    ),
    Beside(
        "triplet_margin_loss",
        points(3, NORMS | ABOVE_0 | REDUCTIONS | {"swap": st.booleans()}),
        loss.triplet_margin_loss,
    ),
]
