"""The losses beside their definitions, sample by sample; what they do at the edges."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_cv as tg
from tinygrad_cv.ops import loss as losses
from tinygrad_cv.testing import Case, check_op, no_sync
from tinygrad_cv.testing.strategies import arrays, shapes

REDUCTIONS = st.sampled_from(("none", "mean", "sum"))


@dataclass(frozen=True)
class Definition:
    """A loss, inputs for it, and its definition on arrays."""

    ours: Callable[..., Any]
    cases: st.SearchStrategy[Case]
    reference: Callable[..., Any]


def reduce(values: Any, reduction: str) -> Any:
    return {"none": np.asarray, "mean": np.mean, "sum": np.sum}[reduction](values)


# ----- inputs ------------------------------------------------------------------------------------


@st.composite
def labelled(
    draw: Any,
    options: dict[str, st.SearchStrategy[Any]] | None = None,
    *,
    weighted: bool = False,
    ignored: bool = False,
) -> Case:
    """Scores (C,), (N, C), (N, C, L) or (N, C, H, W), labels, and perhaps a weight per class.

    With `ignored` some labels are a number that is to be ignored, but not all of them.
    """
    classes = draw(st.integers(1, 4))
    space = draw(shapes(0, 2, 1, 2))
    batch = draw(st.sampled_from(((), (1,), (3,))))
    shape = (*batch, classes, *space) if batch else (classes,)
    places = (*batch, *space) if batch else ()
    labels = draw(hnp.arrays(np.int64, places, elements=st.integers(0, classes - 1)))
    keywords = {"reduction": draw(REDUCTIONS)}
    keywords |= {name: draw(values) for name, values in (options or {}).items()}
    if ignored:
        keywords["ignore_index"] = draw(st.sampled_from((-100, 255, 0)))
        left_out = draw(hnp.arrays(bool, places))
        labels = np.where(left_out, keywords["ignore_index"], labels)
        if classes == 1 or (labels == keywords["ignore_index"]).all():
            keywords["ignore_index"] = -7  # which no label is
            labels = np.clip(labels, 0, classes - 1)
    weights = (draw(arrays((classes,), 0.5, 2.0)),) if weighted and draw(st.booleans()) else ()
    return Case((draw(arrays(shape, -3.0, 3.0)), labels, *weights), keywords)


@st.composite
def distributions(draw: Any) -> Case:
    """Scores and the probability of each class, with or without weights and smoothing."""
    shape = draw(shapes(1, 3, 1, 3))
    classes = shape[0] if len(shape) == 1 else shape[1]
    target = draw(arrays(shape, 0.0, 1.0))
    weights = (draw(arrays((classes,), 0.5, 2.0)),) if draw(st.booleans()) else ()
    smoothing = draw(st.sampled_from((0.0, 0.1, 1.0)))
    keywords = {"reduction": draw(REDUCTIONS), "label_smoothing": smoothing}
    return Case((draw(arrays(shape, -3.0, 3.0)), target, *weights), keywords)


@st.composite
def pairs(
    draw: Any,
    options: dict[str, st.SearchStrategy[Any]] | None = None,
    kinks: tuple[float, ...] = (),
    min_dims: int = 0,
) -> Case:
    """Predictions and targets of one shape, whose differences keep away from the kinks."""
    shape = draw(shapes(min_dims, 3))
    target = draw(arrays(shape))
    keywords = {"reduction": draw(REDUCTIONS)}
    keywords |= {name: draw(values) for name, values in (options or {}).items()}
    return Case((target + draw(arrays(shape, -3.0, 3.0, kinks)), target), keywords)


@st.composite
def events(
    draw: Any, low: float, high: float, *, pos_weight: bool = False, min_dims: int = 0
) -> Case:
    """Predictions, how probable each event was, and perhaps weights that broadcast."""
    shape = draw(shapes(min_dims, 3))
    x, t = draw(arrays(shape, low, high)), draw(arrays(shape, 0.0, 1.0))
    keywords: dict[str, Any] = {"reduction": draw(REDUCTIONS)}
    weights = (draw(arrays(shape[-1:], 0.5, 2.0)),) if draw(st.booleans()) else ()
    if pos_weight and draw(st.booleans()):
        keywords["pos_weight"] = draw(arrays(shape[-1:], 0.5, 2.0))
    return Case((x, t, *weights), keywords)


def signs(shape: Any) -> Any:
    """Which of two kinds each sample is: 1 or -1."""
    return hnp.arrays(np.int64, shape, elements=st.sampled_from((1, -1)))


@st.composite
def signed(
    draw: Any,
    options: dict[str, st.SearchStrategy[Any]] | None = None,
    *,
    vectors: int = 1,
    embedded: bool = False,
) -> Case:
    """Numbers, or with `embedded` vectors, and for each place or vector 1 or -1."""
    # The cosine of two numbers is 1 or -1 whatever they are, so a vector has two at least.
    shape = draw(shapes(1, 2, min_side=2) if embedded else shapes())
    xs = draw(arrays((vectors, *shape), distinct=True))
    keywords = {"reduction": draw(REDUCTIONS)}
    keywords |= {name: draw(values) for name, values in (options or {}).items()}
    return Case((*xs, draw(signs(shape[:-1] if embedded else shape))), keywords)


@st.composite
def vectors(draw: Any, count: int, options: dict[str, st.SearchStrategy[Any]]) -> Case:
    """`count` batches of vectors, away from one another."""
    shape = draw(shapes(1, 3))
    steps = [draw(arrays(shape, 0.1, 1.0)) for _ in range(count)]
    keywords = {name: draw(values) for name, values in options.items()}
    return Case(tuple((-1) ** i * step * (i + 1) for i, step in enumerate(steps)), keywords)


@st.composite
def counts(draw: Any) -> Case:
    shape = draw(shapes())
    log_input = draw(st.booleans())
    x = draw(arrays(shape, *((-2.0, 2.0) if log_input else (0.2, 3.0))))
    target = draw(arrays(shape, 0.0, 5.0, kinks=(1.0,)))
    keywords = {"log_input": log_input, "full": draw(st.booleans()), "reduction": draw(REDUCTIONS)}
    return Case((x, target), keywords)


@st.composite
def measurements(draw: Any) -> Case:
    shape = draw(shapes(1, 3))
    of_var = draw(st.sampled_from((shape, shape[:-1], (*shape[:-1], 1), ())))
    keywords = {"full": draw(st.booleans()), "reduction": draw(REDUCTIONS)}
    x, target, var = (
        draw(arrays(s, low, 2.0)) for s, low in ((shape, -2.0), (shape, -2.0), (of_var, 0.2))
    )
    return Case((x, target, var), keywords)


# ----- definitions -------------------------------------------------------------------------------


def each(x: Any, labels: Any) -> list[tuple[list[float], int]]:
    """The scores of each sample as a list, and its label."""
    if x.ndim == 1:
        return [(x.tolist(), int(labels))]
    return [
        (x[n, :, *place].tolist(), int(labels[n, *place])) for n, *place in np.ndindex(labels.shape)
    ]


def log_softmax(scores: list[float]) -> list[float]:
    total = math.fsum(map(math.exp, scores))
    return [s - math.log(total) for s in scores]


def class_losses(
    x: Any,
    labels: Any,
    logarithms: Callable[[list[float]], list[float]],
    weight: Any = None,
    ignore_index: int | None = None,
    smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """-Σ_c q_c · weight_c · log p_c with q = (1 - ε) · one-hot + ε / C; ignored samples are 0."""
    values, divisor = [], 0.0
    for scores, label in each(x, labels):
        weights = [1.0] * len(scores) if weight is None else weight.tolist()
        if label == ignore_index:
            values.append(0.0)
            continue
        q = [(1 - smoothing) * (c == label) + smoothing / len(scores) for c in range(len(scores))]
        terms = zip(q, weights, logarithms(scores), strict=True)
        values.append(-math.fsum(a * w * log_p for a, w, log_p in terms))
        divisor += weights[label]
    if reduction == "mean":
        return math.fsum(values) / divisor
    return reduce(np.reshape(values, labels.shape), reduction)


def cross_entropy(
    x: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    return class_losses(x, target, log_softmax, weight, ignore_index, label_smoothing, reduction)


def soft_cross_entropy(
    x: Any, target: Any, weight: Any = None, label_smoothing: float = 0.0, reduction: str = "mean"
) -> Any:
    axis = 0 if x.ndim == 1 else 1
    x, target = np.moveaxis(x, axis, -1), np.moveaxis(target, axis, -1)
    values = np.zeros(x.shape[:-1])
    for place in np.ndindex(values.shape):
        log_p = log_softmax(x[place].tolist())
        for c, q in enumerate(target[place]):
            q = (1 - label_smoothing) * q + label_smoothing / x.shape[-1]
            values[place] -= q * log_p[c] * (1 if weight is None else weight[c])
    return reduce(values, reduction)


def nll_loss(
    x: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any:
    return class_losses(x, target, list, weight, ignore_index, 0.0, reduction)


def hinges(
    x: Any,
    target: Any,
    margin: float,
    p: int = 1,
    weight: Any = None,
    reduction: str = "mean",
    divide: bool = True,
) -> Any:
    values = [
        sum(max(0.0, margin - scores[y] + s) ** p for c, s in enumerate(scores) if c != y)
        * (1 if weight is None else weight[y])
        / (len(scores) if divide else 1)
        for scores, y in each(x, target)
    ]
    return reduce(np.reshape(values, target.shape), reduction)


def logistic(s: float) -> float:
    """-log σ(s)"""
    return math.log1p(math.exp(-s))


def one_vs_all(x: Any, target: Any, reduction: str) -> Any:
    values = [
        math.fsum(logistic(s if c == y else -s) for c, s in enumerate(scores))
        for scores, y in each(x, target)
    ]
    return reduce(np.reshape(values, target.shape), reduction)


def over(f: Callable[..., float]) -> Callable[..., Any]:
    """A loss of numbers, element by element, then reduced."""

    def reference(*inputs: Any, reduction: str, **options: Any) -> Any:
        count = len(inputs[0].ravel())
        rows = zip(*(a.ravel().tolist() for a in inputs), strict=True)
        values = np.array([f(*row, **options) for row in rows]).reshape(inputs[0].shape)
        assert values.size == count
        return reduce(values, reduction)

    return reference


def bernoulli(x: Any, t: Any, weight: Any, reduction: str, yes: Any, no: Any) -> Any:
    """Σ over both outcomes of probability times loss, weighted."""
    values = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        values[place] = t[place] * yes(x[place], place) + (1 - t[place]) * no(x[place])
    return reduce(values if weight is None else values * weight, reduction)


def binary_cross_entropy(x: Any, t: Any, weight: Any = None, reduction: str = "mean") -> Any:
    return bernoulli(x, t, weight, reduction, lambda p, _: -math.log(p), lambda p: -math.log1p(-p))


def with_logits(
    x: Any, t: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    def yes(s: float, place: tuple[int, ...]) -> float:
        return logistic(s) * (
            1 if pos_weight is None else np.broadcast_to(pos_weight, x.shape)[place]
        )

    return bernoulli(x, t, weight, reduction, yes, lambda s: logistic(-s))


def multilabel(x: Any, t: Any, weight: Any = None, reduction: str = "mean") -> Any:
    return reduce(with_logits(x, t, weight, "none").mean(-1), reduction)


def huber(x: float, t: float, delta: float) -> float:
    d = abs(x - t)
    return d * d / 2 if d <= delta else delta * (d - delta / 2)


def smooth_l1(x: float, t: float, beta: float) -> float:
    d = abs(x - t)
    return d * d / (2 * beta) if d < beta else d - beta / 2


def euclidean(x: Any, t: Any, reduction: str) -> Any:
    return reduce(
        np.array([np.linalg.norm(a - b) ** 2 / 2 for a, b in zip(x, t, strict=True)]), reduction
    )


def kl_div(x: float, t: float, log_target: bool) -> float:
    if log_target:
        return math.exp(t) * (t - x)
    return t * (math.log(t) - x) if t else 0.0


def batchmean(x: Any, t: Any, reduction: str, log_target: bool) -> Any:
    if reduction != "batchmean":
        return over(kl_div)(x, t, reduction=reduction, log_target=log_target)
    return over(kl_div)(x, t, reduction="sum", log_target=log_target) / len(x)


def cosine(a: Any, b: Any) -> float:
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def cosine_similarity(a: Any, b: Any, dim: int) -> Any:
    a, b = np.moveaxis(a, dim, -1), np.moveaxis(b, dim, -1)
    y = np.empty(a.shape[:-1])
    for place in np.ndindex(y.shape):
        y[place] = cosine(a[place], b[place])
    return y


def distance(a: Any, b: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    return np.linalg.norm(a - b + eps, p, axis=-1, keepdims=keepdim)


def cosine_embedding(a: Any, b: Any, target: Any, margin: float, reduction: str) -> Any:
    similar = np.atleast_2d(a), np.atleast_2d(b)
    values = [
        1 - cosine(u, v) if t == 1 else max(0.0, cosine(u, v) - margin)
        for u, v, t in zip(*similar, np.atleast_1d(target), strict=True)
    ]
    return reduce(np.reshape(values, target.shape), reduction)


def triplet(a: Any, b: Any, c: Any, margin: float, p: float, swap: bool, reduction: str) -> Any:
    far = distance(a, c, p)
    far = np.minimum(far, distance(b, c, p)) if swap else far
    return reduce(np.maximum(0, distance(a, b, p) - far + margin), reduction)


def poisson(x: float, t: float, log_input: bool, full: bool) -> float:
    rate = math.exp(x) if log_input else x + 1e-8
    loss = rate - (0 if log_input else 1e-8) - t * math.log(rate)
    return loss + (t * math.log(t) - t + math.log(2 * math.pi * t) / 2 if full and t > 1 else 0)


def gaussian(x: Any, t: Any, var: Any, full: bool, reduction: str) -> Any:
    var = var[..., np.newaxis] if var.ndim == x.ndim - 1 else var
    values = np.log(var) / 2 + (x - t) ** 2 / (2 * var) + full * math.log(2 * math.pi) / 2
    return reduce(values, reduction)


@st.composite
def divergences(draw: Any) -> Case:
    shape = draw(shapes(1, 3))
    log_target = draw(st.booleans())
    target = draw(arrays(shape, *((-3.0, 0.0) if log_target else (0.1, 1.0))))
    reduction = draw(st.sampled_from(("none", "mean", "sum", "batchmean")))
    keywords = {"reduction": reduction, "log_target": log_target}
    return Case((draw(arrays(shape, -3.0, 0.0)), target), keywords)


@st.composite
def angles(draw: Any) -> Case:
    shape = draw(shapes(1, 3, min_side=2))
    a, b = (draw(arrays(shape, low, high)) for low, high in ((0.2, 2.0), (-2.0, -0.2)))
    return Case((a, b), {"dim": draw(st.integers(-len(shape), len(shape) - 1))})


@st.composite
def members(draw: Any) -> Case:
    """Scores, and the classes of each sample: in a row up to the first -1."""
    shape = draw(shapes(1, 2, 1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    target = rng.integers(-1, shape[-1], shape)
    # Apart from each other, and no difference is 1, where the hinge has its kink.
    x = rng.permuted(np.broadcast_to(0.3 * np.arange(shape[-1]), shape), axis=-1)
    return Case((x + rng.uniform(0, 0.05, shape), target), {"reduction": draw(REDUCTIONS)})


def multilabel_margin(x: Any, target: Any, reduction: str) -> Any:
    values = []
    for scores, row in zip(np.atleast_2d(x), np.atleast_2d(target), strict=True):
        classes = [int(y) for y in takewhile(lambda y: y >= 0, row)]
        others = set(range(len(scores))) - set(classes)
        hinges = [max(0.0, 1 - scores[y] + scores[c]) for y in classes for c in others]
        values.append(math.fsum(hinges) / len(scores))
    return reduce(np.reshape(values, x.shape[:-1]), reduction)


@st.composite
def transcripts(draw: Any) -> Case:
    """Probabilities of each step, and targets that fit; in rows, or one after the other."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    steps, number, classes = (int(rng.integers(1, n)) for n in (4, 3, 4))
    log_probs = np.log(rng.dirichlet(np.ones(classes), (steps, number)))
    blank = int(rng.integers(classes))
    input_lengths = rng.integers(1, steps + 1, number)
    rows = []
    for length in input_lengths:
        emitted = collapsed(rng.integers(0, classes, length), blank)  # so a way exists
        rows.append(emitted + [blank] * (steps - len(emitted)))
    lengths = [next((i for i, y in enumerate(row) if y == blank), steps) for row in rows]
    targets = rows if draw(st.booleans()) else [y for row in rows for y in row if y != blank]
    options = {"targets": targets, "blank": blank, "reduction": draw(REDUCTIONS)}
    options |= {"input_lengths": input_lengths.tolist(), "target_lengths": lengths}
    return Case((log_probs,), options)


def collapsed(path: Any, blank: int) -> list[int]:
    """What a way through the steps emits."""
    return [int(y) for y, _ in groupby(path) if y != blank]


def ctc(
    x: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int, reduction: str
) -> Any:
    """The sum over all ways there are, one by one."""
    rest, values = list(targets), []
    rows = rest[0:1] and isinstance(rest[0], list)
    for n, (time, length) in enumerate(zip(input_lengths, target_lengths, strict=True)):
        target = targets[n][:length] if rows else [rest.pop(0) for _ in range(length)]
        ways = itertools.product(range(x.shape[2]), repeat=time)
        found = [
            math.exp(math.fsum(x[t, n, y] for t, y in enumerate(way)))
            for way in ways
            if collapsed(way, blank) == target
        ]
        values.append(-math.log(math.fsum(found)))
    if reduction == "mean":
        return np.mean(np.array(values) / np.maximum(target_lengths, 1))
    return reduce(np.array(values), reduction)


MARGINS = st.sampled_from((0.0, 0.5, 1.0))
SMOOTHING = {"label_smoothing": st.sampled_from((0.0, 0.1, 1.0))}
DISTANCE = {"p": st.sampled_from((1.0, 2.0, 3.0, math.inf))}

DEFINITIONS = {
    "cross_entropy": Definition(
        losses.cross_entropy, labelled(SMOOTHING, weighted=True, ignored=True), cross_entropy
    ),
    "cross_entropy: plain": Definition(losses.cross_entropy, labelled(), cross_entropy),
    "cross_entropy: probabilities": Definition(
        losses.cross_entropy, distributions(), soft_cross_entropy
    ),
    "nll_loss": Definition(losses.nll_loss, labelled(weighted=True, ignored=True), nll_loss),
    "one_vs_all_logistic_loss": Definition(losses.one_vs_all_logistic_loss, labelled(), one_vs_all),
    "svm_loss": Definition(
        losses.svm_loss,
        labelled({"delta": MARGINS}),
        lambda x, t, delta, reduction: hinges(x, t, delta, reduction=reduction, divide=False),
    ),
    "multi_margin_loss": Definition(
        lambda x, t, w=None, **options: losses.multi_margin_loss(x, t, weight=w, **options),
        labelled({"margin": MARGINS, "p": st.sampled_from((1, 2))}, weighted=True),
        lambda x, t, w=None, **options: hinges(x, t, weight=w, **options),
    ),
    "multilabel_margin_loss": Definition(
        losses.multilabel_margin_loss, members(), multilabel_margin
    ),
    "ctc_loss": Definition(losses.ctc_loss, transcripts(), ctc),
    "binary_cross_entropy": Definition(
        losses.binary_cross_entropy, events(0.05, 0.95), binary_cross_entropy
    ),
    "binary_cross_entropy_with_logits": Definition(
        losses.binary_cross_entropy_with_logits, events(-20.0, 20.0, pos_weight=True), with_logits
    ),
    "multilabel_soft_margin_loss": Definition(
        losses.multilabel_soft_margin_loss, events(-20.0, 20.0, min_dims=1), multilabel
    ),
    "soft_margin_loss": Definition(
        losses.soft_margin_loss, signed(), over(lambda x, t: logistic(t * x))
    ),
    "mse_loss": Definition(losses.mse_loss, pairs(), over(lambda x, t: (x - t) ** 2)),
    "l1_loss": Definition(losses.l1_loss, pairs(kinks=(0.0,)), over(lambda x, t: abs(x - t))),
    "huber_loss": Definition(
        losses.huber_loss,
        pairs({"delta": st.sampled_from((0.5, 1.0, 2.0))}, (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)),
        over(huber),
    ),
    "smooth_l1_loss": Definition(
        losses.smooth_l1_loss,
        pairs({"beta": st.sampled_from((0.0, 0.5, 1.0))}, (-1.0, -0.5, 0.0, 0.5, 1.0)),
        over(smooth_l1),
    ),
    "euclidean_loss": Definition(losses.euclidean_loss, pairs(min_dims=1), euclidean),
    "poisson_nll_loss": Definition(losses.poisson_nll_loss, counts(), over(poisson)),
    "gaussian_nll_loss": Definition(losses.gaussian_nll_loss, measurements(), gaussian),
    "kl_div": Definition(losses.kl_div, divergences(), batchmean),
    "cosine_similarity": Definition(losses.cosine_similarity, angles(), cosine_similarity),
    "pairwise_distance": Definition(
        losses.pairwise_distance, vectors(2, DISTANCE | {"keepdim": st.booleans()}), distance
    ),
    "hinge_embedding_loss": Definition(
        losses.hinge_embedding_loss,
        signed({"margin": MARGINS}),
        over(lambda x, t, margin: x if t == 1 else max(0.0, margin - x)),
    ),
    "margin_ranking_loss": Definition(
        losses.margin_ranking_loss,
        signed({"margin": MARGINS}, vectors=2),
        over(lambda a, b, t, margin: max(0.0, margin - t * (a - b))),
    ),
    "cosine_embedding_loss": Definition(
        losses.cosine_embedding_loss,
        signed({"margin": MARGINS}, vectors=2, embedded=True),
        cosine_embedding,
    ),
    "triplet_margin_loss": Definition(
        losses.triplet_margin_loss,
        vectors(3, DISTANCE | {"margin": MARGINS, "swap": st.booleans(), "reduction": REDUCTIONS}),
        triplet,
    ),
    "triplet_margin_with_distance_loss": Definition(
        lambda a, b, c, **options: losses.triplet_margin_with_distance_loss(
            a, b, c, distance_function=lambda x, y: losses.pairwise_distance(x, y, 1.0), **options
        ),
        vectors(3, {"margin": MARGINS, "swap": st.booleans(), "reduction": REDUCTIONS}),
        lambda a, b, c, **options: triplet(a, b, c, p=1.0, **options),
    ),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_loss_and_its_gradients_follow_the_definition(name: str) -> None:
    """To order 2 in a quarter of the examples: the ops of a loss are checked by their rows."""
    definition = DEFINITIONS[name]
    examples = settings.default.max_examples
    for order, count in ((1, examples - examples // 4), (2, max(1, examples // 4))):
        check_op(definition.ours, definition.cases, definition.reference, order, examples=count)


def test_a_target_that_no_way_emits() -> None:
    """Two equal labels need a blank between them, and three steps."""
    x = tg.log_softmax(tg.Tensor(np.zeros((2, 1, 3)), requires_grad=True), 2)
    loss = losses.ctc_loss(x, [[1, 1]], [2], [2])
    assert loss.item() == math.inf
    loss = losses.ctc_loss(x, [[1, 1]], [2], [2], zero_infinity=True)
    assert loss.item() == 0
    assert not tg.grad(loss, [x])[0].numpy().any()


WRONG_CTC: dict[str, tuple[dict[str, Any], str]] = {
    "no class": ({"targets": [[3, 1]]}, "0 to 2; got"),
    "blank": ({"blank": 3}, "one of the 3 classes; got 3"),
    "steps": ({"input_lengths": [5]}, r"from 0 to 4; got \[5\]"),
    "lengths": ({"target_lengths": [1, 1]}, "target_lengths are 1 integers"),
    "targets": ({"targets": [1, 2, 1]}, r"got \(3,\) with the lengths \[2\]"),
}


@pytest.mark.parametrize("name", WRONG_CTC)
def test_what_ctc_loss_refuses(name: str) -> None:
    options, message = WRONG_CTC[name]
    usual = {"targets": [[1, 2]], "input_lengths": [4], "target_lengths": [2]}
    with pytest.raises(ValueError, match=message):
        losses.ctc_loss(tg.zeros(4, 1, 3), **{**usual, **options})


@pytest.mark.parametrize(
    ("former", "reduction"),
    [
        ({"size_average": False}, "sum"),
        ({"size_average": True}, "mean"),
        ({"reduce": False}, "none"),
        ({"reduce": True}, "mean"),
        ({"reduce": False, "size_average": False}, "none"),
    ],
)
def test_the_former_names_of_a_reduction(former: dict[str, bool], reduction: str) -> None:
    x, y = tg.Tensor([1.0, 3.0]), tg.zeros(2)
    with pytest.warns(UserWarning, match=f"reduction='{reduction}'"):
        loss = losses.mse_loss(x, y, **former)
    np.testing.assert_array_equal(loss.numpy(), losses.mse_loss(x, y, reduction=reduction).numpy())


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_the_mean_of_weighted_pairs_divides_by_the_weights(name: str) -> None:
    loss = getattr(losses, name)
    x, y, weight = tg.Tensor([1.0, 3.0]), tg.zeros(2), tg.Tensor([1.0, 3.0])
    each = loss(x, y, reduction="none").numpy()
    assert loss(x, y, weight=weight).item() == (each[0] + 3 * each[1]) / 4
    assert loss(x, y, weight=weight, reduction="sum").item() == each[0] + 3 * each[1]


@pytest.mark.parametrize("name", DEFINITIONS)
@given(data=st.data())
def test_no_loss_makes_the_host_wait_and_float32_stays(name: str, data: Any) -> None:
    definition = DEFINITIONS[name]
    case = data.draw(definition.cases)
    inputs = [
        tg.Tensor(v.astype("float32"), requires_grad=True) if v.dtype.kind == "f" else tg.Tensor(v)
        for v in case.inputs
    ]
    options = {
        k: tg.Tensor(v.astype("float32")) if isinstance(v, np.ndarray) else v
        for k, v in case.attributes.items()
    }
    with no_sync():
        y = definition.ours(*inputs, **options)
        gradients = tg.grad(y.sum(), inputs[:1])
    assert y.dtype == gradients[0].dtype == tg.float32
    expected = np.asarray(definition.reference(*case.inputs, **case.attributes))
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


# ----- class labels ------------------------------------------------------------------------------

OF_LABELS = {
    "cross_entropy": losses.cross_entropy,
    "nll_loss": losses.nll_loss,
    "one_vs_all_logistic_loss": losses.one_vs_all_logistic_loss,
    "svm_loss": losses.svm_loss,
    "multi_margin_loss": losses.multi_margin_loss,
}


def scores() -> Any:
    return np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])


def test_plain_labels_take_the_short_way(device: str) -> None:
    """On the CPU one sees whether a label is to be ignored; a GPU is not asked, but can be told."""
    x = tg.Tensor(scores(), requires_grad=True)
    ignored = {} if device == "cpu" else {"ignore_index": None}
    loss = losses.cross_entropy(x, tg.tensor([0, 1, 2]), **ignored)
    made = [node.op.name for node in tg.graph(loss) if node.op]
    assert made == ["cross_entropy", "mean"]


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_an_ignored_row_counts_for_nothing(name: str) -> None:
    x = tg.Tensor(scores(), requires_grad=True)
    labels = tg.tensor([0, -100, 2])
    for reduction in ("mean", "sum"):
        loss = OF_LABELS[name](x, labels, ignore_index=-100, reduction=reduction)
        kept = OF_LABELS[name](x[::2], labels[::2], reduction=reduction)
        np.testing.assert_allclose(loss.item(), kept.item(), rtol=1e-12)
        ours, theirs = (tg.grad(y, [x])[0].numpy() for y in (loss, kept))
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        assert not ours[1].any()


@pytest.mark.parametrize("ignored", [255, -100])
def test_the_ignored_label_need_not_fit_the_dtype(ignored: int) -> None:
    labels = tg.tensor([0, 255, 2], dtype="uint8")
    loss = losses.nll_loss(tg.Tensor(scores()), labels, ignore_index=ignored, reduction="none")
    np.testing.assert_array_equal(loss.numpy(), [-3.2, 0.0 if ignored == 255 else np.nan, 3.1])


def test_the_mean_of_nothing_is_nan() -> None:
    x, labels = tg.Tensor(scores()), tg.tensor([1, 1, 1])
    assert np.isnan(losses.cross_entropy(x, labels, ignore_index=1).item())
    assert losses.cross_entropy(x, labels, ignore_index=1, reduction="sum").item() == 0
    empty, none = tg.zeros(0, 3), tg.zeros(0, dtype=tg.int64)
    for loss in OF_LABELS.values():
        assert np.isnan(loss(empty, none).item())
        assert loss(empty, none, reduction="sum").item() == 0
        assert loss(empty, none, reduction="none").shape == (0,)
    for loss in (losses.mse_loss, losses.huber_loss, losses.euclidean_loss, losses.kl_div):
        assert np.isnan(loss(empty, empty).item())
        assert loss(empty, empty, reduction="sum").item() == 0


@pytest.mark.parametrize("name", sorted(OF_LABELS.keys() - {"cross_entropy"}))
@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_gives_nan(name: str, label: int) -> None:
    loss = OF_LABELS[name](tg.Tensor(scores()), tg.tensor([0, label, 2]), reduction="none")
    assert np.isnan(loss.numpy()).tolist() == [False, True, False]


@pytest.mark.host
def test_the_error_about_a_label_says_how_to_leave_it_out() -> None:
    with pytest.raises(ValueError, match=r"label -7 .* 0 to 2.* ignore_index=label"):
        losses.cross_entropy(tg.Tensor(scores()), tg.tensor([0, -7, 2]))


def test_the_hinge_losses_of_three_images() -> None:
    """The numbers of the course: 2.9, 0 and 12.9, on average 5.27."""
    x, labels = tg.Tensor(scores()), tg.tensor([0, 1, 2])
    each = losses.svm_loss(x, labels, reduction="none")
    np.testing.assert_allclose(each.numpy(), [2.9, 0.0, 12.9], rtol=1e-12)
    assert f"{losses.svm_loss(x, labels).item():.2f}" == "5.27"


@given(st.integers(2, 20))
def test_equal_scores_cost_the_logarithm_of_the_classes(classes: int) -> None:
    """What the loss has to be before training, in every way of asking."""
    x, labels = tg.zeros(4, classes), tg.tensor([0, 1, 1, 0])
    assert np.isclose(losses.cross_entropy(x, labels).item(), math.log(classes))
    assert np.isclose(losses.nll_loss(x.log_softmax(1), labels).item(), math.log(classes))
    each = losses.one_vs_all_logistic_loss(x, labels).item()
    assert np.isclose(each, classes * math.log(2))
    assert np.isclose(losses.svm_loss(x, labels).item(), classes - 1)


# ----- large numbers, and the ends of an interval ------------------------------------------------


def test_large_scores_give_finite_losses_and_gradients() -> None:
    values = np.array([[-1e4, -800.0, 0.0, 800.0, 1e4]])
    x = tg.Tensor(values, requires_grad=True)
    for t in (0.0, 0.5, 1.0):
        target = tg.full((1, 5), t, dtype="float64")
        y = losses.binary_cross_entropy_with_logits(x, target, reduction="none")
        at_zero = math.log(2)
        expected = np.where(values > 0, (1 - t) * values, -t * values)
        expected = np.where(values == 0, at_zero, expected)
        np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-15)
        (gradient,) = tg.grad(y.sum(), [x])
        np.testing.assert_allclose(gradient.numpy(), np.heaviside(values, 0.5) - t, atol=1e-15)
    right = losses.one_vs_all_logistic_loss(x, tg.tensor([4]))
    np.testing.assert_allclose(right.item(), 800 + math.log(2), rtol=1e-15)
    (gradient,) = tg.grad(losses.huber_loss(x * 1e200, tg.zeros(1, 5), reduction="sum"), [x])
    np.testing.assert_array_equal(gradient.numpy(), np.sign(values) * 1e200)


def test_a_small_loss_is_not_rounded_away() -> None:
    """log(1 + e⁻⁴⁰) is e⁻⁴⁰; next to 40 it would be lost."""
    x = tg.Tensor([[40.0, -40.0]])
    tiny = math.exp(-40)
    loss = losses.one_vs_all_logistic_loss(x, tg.tensor([0])).item()
    assert math.isclose(loss, 2 * tiny, rel_tol=1e-6)
    p = tg.Tensor([1e-12])
    assert math.isclose(losses.binary_cross_entropy(p, tg.zeros(1)).item(), 1e-12, rel_tol=1e-6)


def test_sure_probabilities_cost_0_or_100() -> None:
    p = tg.Tensor([0.0, 0.0, 1.0, 1.0], requires_grad=True)
    t = tg.Tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    y = losses.binary_cross_entropy(p, t, reduction="none")
    assert y.tolist() == [0, 100, 100, 0]
    y.sum().backward()
    assert p.grad is not None
    assert t.grad is not None
    np.testing.assert_allclose(p.grad.numpy(), [1, -1e12, 1e12, -1], rtol=1e-6)
    assert t.grad.tolist() == [100, 100, -100, -100]


def test_nan_passes() -> None:
    nan, one = tg.Tensor([math.nan]), tg.ones(1)
    for loss in (
        losses.binary_cross_entropy,
        losses.binary_cross_entropy_with_logits,
        losses.huber_loss,
        losses.kl_div,
        losses.soft_margin_loss,
        losses.hinge_embedding_loss,
    ):
        assert np.isnan(loss(nan, one).item()), loss


def test_no_probability_is_no_divergence() -> None:
    target = tg.Tensor([0.0, 1.0], requires_grad=True)
    y = losses.kl_div(tg.Tensor([-2.0, -3.0]), target, reduction="none")
    assert y.tolist() == [0, 3]
    y.sum().backward()
    assert target.grad is not None
    assert np.isfinite(target.grad.numpy()).all()


def test_the_distance_of_equal_points_has_the_gradient_0() -> None:
    x = tg.ones(1, 3, requires_grad=True)
    losses.pairwise_distance(x, tg.ones(1, 3), eps=0.0).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 0, 0]]


def test_cosine_similarity_broadcasts_as_arithmetic_does() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 4)), rng.standard_normal((3, 1))
    y = losses.cosine_similarity(tg.Tensor(a), tg.Tensor(b), dim=2)
    np.testing.assert_allclose(
        y.numpy(), cosine_similarity(*np.broadcast_arrays(a, b), dim=2), rtol=1e-12
    )
    zero = losses.cosine_similarity(tg.zeros(1, 3), tg.ones(1, 3))
    assert zero.tolist() == [0]


# ----- what stands in the course -----------------------------------------------------------------


def test_the_euclidean_loss_sends_back_what_the_course_derives() -> None:
    """∂L/∂z = (z - y) / N and ∂L/∂y = (y - z) / N."""
    rng = np.random.default_rng(0)
    z, y = (tg.Tensor(rng.standard_normal((5, 3)), requires_grad=True) for _ in "zy")
    losses.euclidean_loss(z, y).backward()
    difference = (z.detach() - y.detach()).numpy()
    assert z.grad is not None
    assert y.grad is not None
    np.testing.assert_allclose(z.grad.numpy(), difference / 5, rtol=1e-12)
    np.testing.assert_allclose(y.grad.numpy(), -difference / 5, rtol=1e-12)


def test_the_formulas_are_those_of_the_course() -> None:
    assert tg.formula(losses.EuclideanLoss, attributes=False) == {
        "x": "reshape(g) · (x - t)",
        "t": "reshape(g) · (t - x)",
    }
    formula = tg.formula(losses.BinaryCrossEntropyWithLogits)
    assert formula["x"] == "g · ((1 - t) · sigmoid(x) - t · sigmoid(-x))"  # σ(x) - t


# ----- at a kink ---------------------------------------------------------------------------------


def test_at_the_margin() -> None:
    """The multi-class hinges are flat there; those of pairs still pull."""
    x = tg.Tensor([[1.0, 0.0]], requires_grad=True)
    for loss in (losses.svm_loss, losses.multi_margin_loss):
        assert tg.grad(loss(x, tg.tensor([0])), [x])[0].tolist() == [[0, 0]]
    one, zero = tg.Tensor([1.0], requires_grad=True), tg.zeros(1)
    hinge = losses.hinge_embedding_loss(one, -tg.ones(1))
    assert tg.grad(hinge, [one])[0].tolist() == [-1]
    ranking = losses.margin_ranking_loss(one, zero, tg.ones(1), margin=1.0)
    assert tg.grad(ranking, [one])[0].tolist() == [-1]


# ----- errors ------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "labels of another shape": (
        lambda: losses.nll_loss(tg.ones(2, 3), tg.tensor([0, 1, 2])),
        ValueError,
        r"nll_loss: .*labels \(N,\).*\(2, 3\) and \(3,\)",
    ),
    "one-hot labels of integers": (
        lambda: losses.cross_entropy(tg.ones(2, 3), tg.ones(2, 3, dtype=tg.int64)),
        ValueError,
        r"labels \(N,\)",
    ),
    "float labels": (
        lambda: losses.svm_loss(tg.ones(2, 3), tg.ones(2)),
        TypeError,
        r"svm_loss: labels are class numbers.*float32.*labels\.long\(\)",
    ),
    "a weight for each sample": (
        lambda: losses.cross_entropy(tg.ones(2, 3), tg.tensor([0, 1]), tg.ones(2)),
        ValueError,
        r"weight must have the shape \(3,\).*got \(2,\)",
    ),
    "smoothing": (
        lambda: losses.cross_entropy(tg.ones(2, 3), tg.tensor([0, 1]), label_smoothing=1.5),
        ValueError,
        "label_smoothing is from 0 to 1; got 1.5",
    ),
    "p of a margin": (
        lambda: losses.multi_margin_loss(tg.ones(2, 3), tg.tensor([0, 1]), p=3),
        ValueError,
        "p is 1 or 2; got 3",
    ),
    "delta": (
        lambda: losses.huber_loss(tg.ones(2), tg.ones(2), delta=0.0),
        ValueError,
        "delta must be above 0; got 0.0",
    ),
    "beta": (
        lambda: losses.smooth_l1_loss(tg.ones(2), tg.ones(2), beta=-1.0),
        ValueError,
        "beta must not be negative; got -1.0",
    ),
    "a batch of no axis": (
        lambda: losses.euclidean_loss(tg.tensor(1.0), tg.tensor(1.0)),
        ValueError,
        r"expected a batch \(N, ...\)",
    ),
    "reduction": (
        lambda: losses.l1_loss(tg.ones(2), tg.ones(2), reduction="batchmean"),
        ValueError,
        "'mean', 'sum' or 'none'; got 'batchmean'",
    ),
    "a variance of another shape": (
        lambda: losses.gaussian_nll_loss(tg.ones(2, 3), tg.ones(2, 3), tg.ones(3)),
        ValueError,
        r"var must be a number, or have the shape \(2, 3\).*got \(3,\)",
    ),
    "directions that do not broadcast": (
        lambda: losses.cosine_similarity(tg.ones(2, 3), tg.ones(2, 2)),
        ValueError,
        r"\(2, 3\) and \(2, 2\) do not broadcast",
    ),
    "targets of pairs": (
        lambda: losses.cosine_embedding_loss(tg.ones(2, 3), tg.ones(2, 3), tg.ones(3)),
        ValueError,
        r"target \(N,\).*\(2, 3\) and \(3,\)",
    ),
    "a distance of numbers": (
        lambda: losses.pairwise_distance(tg.tensor(1.0), tg.tensor(2.0)),
        ValueError,
        "expected vectors",
    ),
    "no norm": (
        lambda: losses.pairwise_distance(tg.ones(1, 2), tg.ones(1, 2), p=math.nan),
        ValueError,
        "norm: p is .*got nan",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_says_what_was_given_and_expected(name: str) -> None:
    call, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        call()


OF_PAIRS = [
    losses.mse_loss,
    losses.l1_loss,
    losses.huber_loss,
    losses.smooth_l1_loss,
    losses.euclidean_loss,
    losses.kl_div,
    losses.binary_cross_entropy,
    losses.binary_cross_entropy_with_logits,
    losses.multilabel_soft_margin_loss,
    losses.soft_margin_loss,
    losses.hinge_embedding_loss,
    losses.poisson_nll_loss,
]


STRICT = [
    losses.binary_cross_entropy,
    losses.binary_cross_entropy_with_logits,
    losses.euclidean_loss,
]


@pytest.mark.parametrize("loss", OF_PAIRS, ids=lambda loss: loss.__name__)
def test_shapes_that_differ_broadcast_with_a_warning(loss: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    x, y = tg.Tensor(rng.random((3, 1))), tg.Tensor(rng.random(4))
    if loss in STRICT:
        with pytest.raises(ValueError, match=rf"{loss.__name__}: .*\(3, 1\) and \(4,\) must be"):
            loss(x, y)
        return
    with pytest.warns(UserWarning, match=rf"{loss.__name__}: .*\(3, 1\) and \(4,\).*\(3, 4\)"):
        broadcast = loss(x, y)
    assert broadcast.item() == loss(x.expand(3, 4).clone(), y.expand(3, 4).clone()).item()
    with pytest.raises(ValueError, match=rf"{loss.__name__}: .*\(2,\) and \(3,\) must be equal"):
        loss(tg.ones(2), tg.ones(3))


@pytest.mark.parametrize(
    "loss", [losses.margin_ranking_loss, losses.triplet_margin_loss], ids=lambda loss: loss.__name__
)
def test_three_tensors_have_equally_many_axes(loss: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"equally many axes; got \(4,\), \(4,\), \(4, 1\)"):
        loss(tg.ones(4), tg.ones(4), tg.ones(4, 1))
    with pytest.warns(UserWarning, match=r"broadcast to \(3, 4\)"):
        loss(tg.ones(3, 4), tg.ones(1, 4), tg.ones(3, 1))


WEIGHTLESS: dict[str, tuple[Callable[..., Any], list[Any], list[Any]]] = {
    "binary cross entropy with logits": (
        lambda x, w: losses.binary_cross_entropy_with_logits(x, tg.ones_like(x), w),
        [-math.inf, 0.0],
        [0.0, -0.25],
    ),
    "multilabel soft margin": (
        lambda x, w: losses.multilabel_soft_margin_loss(x, tg.ones_like(x), w),
        [[-math.inf, 0.0]],
        [[0.0, -0.25]],
    ),
    "multi margin": (
        lambda x, w: losses.multi_margin_loss(x, [0, 1], weight=w),
        [[-math.inf, 0.0], [0.0, 0.0]],
        [[0.0, 0.0], [0.25, -0.25]],
    ),
    "multi margin, squared": (
        lambda x, w: losses.multi_margin_loss(x, [0, 1], p=2, weight=w),
        [[-math.inf, 0.0], [0.0, 0.0]],
        [[0.0, 0.0], [0.5, -0.5]],
    ),
}


@pytest.mark.parametrize("name", WEIGHTLESS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("recorded", [False, True])
def test_nothing_comes_of_an_infinite_loss_of_weight_0(
    name: str, dtype: str, recorded: bool
) -> None:
    f, x, expected = WEIGHTLESS[name]
    leaf = tg.tensor(x, dtype=dtype, requires_grad=True)
    y = f(leaf, tg.tensor([0.0, 1.0], dtype=dtype))
    assert math.isfinite(y.item())
    (gradient,) = tg.grad(y, [leaf], create_graph=recorded)
    np.testing.assert_allclose(gradient.detach().numpy(), expected, rtol=1e-6)


def test_an_infinite_rate_is_an_infinite_loss() -> None:
    x = tg.tensor([math.inf, -math.inf], requires_grad=True)
    y = losses.poisson_nll_loss(x, tg.tensor([2.0, 0.0]), reduction="none")
    assert y.tolist() == [math.inf, 0]


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_targets_may_be_integers(dtype: str) -> None:
    x, t = tg.tensor([0.2, 0.9]), tg.tensor([1.0, 0.0])
    for f in (losses.binary_cross_entropy, losses.binary_cross_entropy_with_logits):
        assert f(x, t.to(dtype)).item() == f(x, t).item()


# ----- as layers ---------------------------------------------------------------------------------

PAIR = np.array([[0.2, 0.6, 0.4], [0.7, 0.1, 0.3]]), np.array([[0.9, 0.5, 0.1], [0.3, 0.2, 0.8]])
THREE = (*PAIR, PAIR[0][::-1])
SCORED = PAIR[0], np.array([2, 0])
CLASS_WEIGHT = {"weight": np.array([1.0, 2.0, 3.0])}

LAYERS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "CrossEntropyLoss": (
        losses.cross_entropy,
        SCORED,
        CLASS_WEIGHT | {"ignore_index": 0, "label_smoothing": 0.1},
    ),
    "NLLLoss": (losses.nll_loss, SCORED, CLASS_WEIGHT | {"ignore_index": 0}),
    "BCELoss": (losses.binary_cross_entropy, PAIR, CLASS_WEIGHT),
    "BCEWithLogitsLoss": (
        losses.binary_cross_entropy_with_logits,
        PAIR,
        CLASS_WEIGHT | {"pos_weight": np.array([3.0, 1.0, 2.0])},
    ),
    "SoftMarginLoss": (losses.soft_margin_loss, PAIR, {}),
    "MultiLabelSoftMarginLoss": (losses.multilabel_soft_margin_loss, PAIR, CLASS_WEIGHT),
    "MultiLabelMarginLoss": (
        losses.multilabel_margin_loss,
        (PAIR[0], np.array([[2, -1, 0], [0, 1, -1]])),
        {},
    ),
    "MultiMarginLoss": (
        losses.multi_margin_loss,
        SCORED,
        CLASS_WEIGHT | {"p": 2, "margin": 0.5},
    ),
    "OneVsAllLoss": (losses.one_vs_all_logistic_loss, SCORED, {}),
    "SVMLoss": (losses.svm_loss, SCORED, {"delta": 0.5}),
    "MSELoss": (losses.mse_loss, PAIR, {}),
    "EuclideanLoss": (losses.euclidean_loss, PAIR, {}),
    "L1Loss": (losses.l1_loss, PAIR, {}),
    "SmoothL1Loss": (losses.smooth_l1_loss, PAIR, {"beta": 0.3}),
    "HuberLoss": (losses.huber_loss, PAIR, {"delta": 0.3}),
    "PoissonNLLLoss": (
        losses.poisson_nll_loss,
        PAIR,
        {"log_input": False, "full": True, "eps": 0.1},
    ),
    "GaussianNLLLoss": (losses.gaussian_nll_loss, THREE, {"full": True, "eps": 0.5}),
    "KLDivLoss": (losses.kl_div, PAIR, {"log_target": True}),
    "HingeEmbeddingLoss": (losses.hinge_embedding_loss, PAIR, {"margin": 2.0}),
    "MarginRankingLoss": (losses.margin_ranking_loss, THREE, {"margin": 0.5}),
    "CosineEmbeddingLoss": (
        losses.cosine_embedding_loss,
        (*PAIR, np.array([1, -1])),
        {"margin": 0.1},
    ),
    "TripletMarginLoss": (
        losses.triplet_margin_loss,
        THREE,
        {"margin": 2.0, "p": 1.0, "eps": 0.1, "swap": True},
    ),
    "TripletMarginWithDistanceLoss": (
        losses.triplet_margin_with_distance_loss,
        THREE,
        {"margin": 2.0, "swap": True, "distance_function": lambda x, y: (x - y).square().sum(1)},
    ),
    "CTCLoss": (
        losses.ctc_loss,
        (np.log(PAIR[0])[:, None], np.array([[1, 1]]), np.array([2]), np.array([2])),
        {"blank": 2, "zero_infinity": True},
    ),
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_function_with_its_options(name: str, reduction: str) -> None:
    function, inputs, options = LAYERS[name]
    inputs = tuple(map(tg.Tensor, inputs))
    tensors = {k: tg.Tensor(v) for k, v in options.items() if isinstance(v, np.ndarray)}
    layer = getattr(tg.nn, name)(**options | tensors, reduction=reduction)
    assert sorted(layer.state_dict()) == sorted(tensors)
    expected = function(*inputs, **options | tensors, reduction=reduction)
    np.testing.assert_array_equal(layer(*inputs).numpy(), expected.numpy())
    if options and name != "CTCLoss":  # and they do matter
        assert not np.array_equal(function(*inputs, reduction=reduction).numpy(), expected.numpy())


def test_a_layer_knows_its_reductions() -> None:
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none'; got 'batchmean'"):
        tg.nn.MSELoss(reduction="batchmean")
    assert tg.nn.KLDivLoss(reduction="batchmean").reduction == "batchmean"
    with pytest.warns(UserWarning, match="reduction='sum'"):
        assert tg.nn.CrossEntropyLoss(size_average=False).reduction == "sum"
    assert repr(tg.nn.CrossEntropyLoss()) == "CrossEntropyLoss()"
    assert tg.nn.NLLLoss2d is tg.nn.NLLLoss


def test_the_scores_of_the_last_layer_and_their_loss() -> None:
    layer = tg.nn.LinearCrossEntropyLoss(4, 3, out_features=(2,), bias=True)
    x, labels = tg.rand(5, 4), tg.tensor([[0, 1]] * 5)
    scores = layer.linear(x).reshape(5, 3, 2)
    assert layer(x, labels).item() == losses.cross_entropy(scores, labels).item()
    assert list(layer.state_dict()) == ["linear.weight", "linear.bias"]
    with pytest.raises(ValueError, match=r"weight is \(3,\), one a class; got \(2,\)"):
        tg.nn.LinearCrossEntropyLoss(4, 3, weight=tg.ones(2))


# ----- regression by classes ---------------------------------------------------------------------


@given(st.integers(2, 9), st.floats(-5, 5), st.floats(0.5, 10), st.sampled_from([(), (3,), (2, 2)]))
def test_binned_targets_are_the_classes_of_a_softmax(
    bins: int, low: float, width: float, places: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(bins)
    loss = tg.nn.BinnedCrossEntropyLoss(low, low + width, bins, reduction="none")
    scores = rng.normal(size=(4, bins, *places))
    target = low + width * rng.uniform(-0.2, 1.2, size=(4, *places))
    edges = low + width * np.arange(1, bins) / bins
    labels = np.searchsorted(edges, target, side="right")
    np.testing.assert_array_equal(loss.classes(tg.Tensor(target)).numpy(), labels)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = -np.log(np.take_along_axis(p, labels[:, None], 1)[:, 0])
    x = tg.Tensor(scores, requires_grad=True)
    got = loss(x, tg.Tensor(target))
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-12)
    middles = low + width * (np.arange(bins) + 0.5) / bins
    np.testing.assert_allclose(
        loss.values(x).detach().numpy(), np.moveaxis(p, 1, -1) @ middles, rtol=1e-9, atol=1e-9
    )
    got.sum().backward()
    one_hot = np.moveaxis(np.eye(bins)[labels], -1, 1)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), p - one_hot, atol=1e-12)


def test_an_outlier_costs_a_binned_loss_no_more_than_another_mistake() -> None:
    loss = tg.nn.BinnedCrossEntropyLoss(0, 10, 5)
    scores = tg.tensor([[9.0, 0.0, 0.0, 0.0, 0.0]])
    assert loss(scores, tg.tensor([9.5])) == loss(scores, tg.tensor([1e6]))
    assert loss.classes(tg.tensor([10, 0])).tolist() == [4, 0]
    assert repr(loss) == "BinnedCrossEntropyLoss(0, 10, bins=5)"


def test_halves_are_binned_as_what_they_are() -> None:
    target = np.linspace(0, 10, 999).astype("float16")
    classes = tg.nn.BinnedCrossEntropyLoss(0, 10, np.int64(1000)).classes(tg.Tensor(target))
    assert classes.tolist() == np.minimum(target.astype("float64") * 100, 999).astype(int).tolist()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((1, 1, 4), "greater high; got 1 and 1"),
        ((0, np.inf, 4), "greater high; got 0 and inf"),
        ((0, 1, 1), "2 or more; got 1"),
        ((0, 1, 2.0), "2 or more; got 2.0"),
    ],
)
def test_a_binned_loss_refuses(options: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        tg.nn.BinnedCrossEntropyLoss(*options)
    with pytest.raises(ValueError, match=r"\(N, 3, ...\); got \(2, 4\)"):
        tg.nn.BinnedCrossEntropyLoss(0, 1, 3)(tg.ones(2, 4), tg.ones(2))
