"""Looks at data and losses, as functions."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from tinygrad_cv._apply import apply
from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._tensor import Tensor
from tinygrad_cv._trees import mapped
from tinygrad_cv.backend import host
from tinygrad_cv.creation import zeros, zeros_like
from tinygrad_cv.train.health.finding import Finding
from tinygrad_cv.train.health.kinds import found

LAST = {"softmax", "log_softmax", "sigmoid", "log_sigmoid", "tanh", "softplus", "exp"}
"""What turns the scores of a net into other numbers."""

ENOUGH = 150
"""Samples, for the neighbours of a sample to say something."""


def expected_loss(loss_fn: Callable[[Any, Any], Tensor], outputs: Any, labels: Any) -> float:
    """The loss of a net that knows nothing: `loss_fn` of scores that are all 0, as a number.

    For cross-entropy over K classes that is ln K, with weights, label smoothing or segmentation
    too; 6.931 for K = 10 one-vs-all logistic losses, 9 for the SVM loss; it is computed, so it is
    right for any other loss. `outputs` are what the net gave, of which the shapes count; where
    their last op is a softmax or a sigmoid, scores of 0 are put into that.

    Source: D0 to D3 of the course, "Double check that the loss is reasonable".

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.train.health import expected_loss
    >>> scores, labels = tg.randn(4, 10), tg.tensor([3, 1, 4, 1])
    >>> round(expected_loss(tg.cross_entropy, scores, labels), 4)
    2.3026
    >>> round(expected_loss(tg.svm_loss, scores, labels), 4)
    9.0
    """
    with no_grad():
        return float(loss_fn(mapped(_of_nothing, outputs), labels).item())


def _of_nothing(outputs: Tensor) -> Tensor:
    """What scores of 0 would have become; whole numbers stay."""
    if not outputs.is_floating_point():
        return outputs
    node = outputs._node
    if node is not None and node.op is not None and node.op.name in LAST:
        shape = next(node.parents()).shape
        scores = zeros(*shape, dtype=outputs.dtype, device=outputs.device)
        made = apply(type(node.op)(**_attributes(node.op)), scores)
        return made if isinstance(made, Tensor) else zeros_like(outputs)
    return zeros_like(outputs.detach())


def _attributes(op: Any) -> dict[str, Any]:
    return {name: getattr(op, name) for name in op.attributes}


def entropy(counts: Mapping[Any, int]) -> float:
    """-Σ p log p: the loss of who knows how frequent the labels are, and nothing else."""
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values() if n)


FEATURES = 4096
"""Numbers of a sample that are looked at: of more, so many evenly spread."""


def flattened(inputs: Any) -> Any:
    """Samples as rows (N, F) of a few thousand numbers at most, on the host."""
    rows = inputs.reshape(len(inputs), -1)
    return rows[:, :: -(-rows.shape[1] // FEATURES) or 1].astype("float32")


def neighbours(inputs: Any, labels: Any) -> tuple[float, float, int] | None:
    """How often the nearest other sample has the same label, how often it would by chance, of what.

    None where there are too few samples for that, or too many classes; or where the nearest is
    about as far as any, as among independent numbers in a hundred dimensions.
    """
    x = flattened(inputs)
    x = x - x.mean(axis=0)
    squares = (x * x).sum(axis=1)
    with host.errstate(all="ignore"):
        far = squares[:, None] + squares - 2 * x @ x.T
    if not host.isfinite(far).all():
        return None
    same = far < 1e-5 * squares.mean()
    new = ~host.tril(same, -1).any(axis=1)  # one of each that is there again
    classes, labels = host.unique(labels[new], return_inverse=True)
    count = len(labels)
    if len(classes) < 2 or count < max(ENOUGH, 10 * len(classes)):
        return None
    far = far[new][:, new]
    usual = float(far.mean())
    host.fill_diagonal(far, host.inf)
    if float(host.median(far.min(axis=1))) > 0.55 * usual:
        return None
    shares = host.bincount(labels) / count
    found_share = float((labels[far.argmin(axis=1)] == labels).mean())
    return found_share, float((shares**2).sum()), count


def by_chance(found_share: float, chance: float, count: int) -> bool:
    """Whether neighbours have equal labels no more often than labels that were shuffled.

    Where nearly all labels are the same one, it cannot be told.
    """
    enough = chance + 3 * math.sqrt(chance * (1 - chance) / count)
    return found_share < enough < (1 + chance) / 2


def uniform_weights(parameters: Mapping[str, Tensor]) -> list[str]:
    """The weight matrices that are one number all over, and should not be: units are equal then.

    Zeros are left out in the last layer, and where but a few layers have them: those are meant.
    """
    matrices = {
        name: parameter.detach()
        for name, parameter in parameters.items()
        if parameter.requires_grad and parameter.ndim > 1 and 1 < len(parameter) < parameter.numel()
    }
    equal = {n: float(w.reshape(-1)[0]) for n, w in matrices.items() if bool((w == w.min()).all())}
    zeros = [name for name in [*matrices][:-1] if equal.get(name) == 0.0]
    few = 2 * len(zeros) < len(matrices) - 1
    return [n for n, value in equal.items() if value or (not few and n in zeros)]


def told_uniform(names: list[str]) -> Finding:
    """That layers began with weights that are all equal."""
    return found(
        "symmetry",
        f"{', '.join(names)} began with all numbers equal",
        where=names[0].rpartition(".")[0] or names[0],
        key=names[0],
    )


def told_inputs(told: Mapping[str, Any], where: str, key: str, step: int | None) -> Finding | None:
    """What is to be said of the inputs of the first layer, by their numbers."""
    if told["bad"]:
        return found(
            "inputs_not_finite",
            f"{told['bad']:,} of the numbers that the first layer gets are NaN or infinite, the "
            f"first at {list(told['first'])}",
            step=step,
            where=where,
            key=key,
        )
    largest = max(abs(told["min"]), abs(told["max"]))
    one_sign = told["min"] >= 0 or told["max"] <= 0
    centred = not one_sign and abs(told["mean"]) <= 0.5 * told["std"]
    if told["binary"] or centred or not largest:
        return None
    return found(
        "inputs_not_centred",
        f"the first layer gets numbers from {told['min']:.4g} to {told['max']:.4g}, with mean "
        f"{told['mean']:.4g} and standard deviation {told['std']:.4g}",
        level="warning" if largest > 20 else "note",
        step=step,
        where=where,
        key=key,
    )


def told_labels(scores: Tensor, labels: Any) -> Finding | None:
    """Whether whole-numbered labels are classes that the scores know."""
    if not isinstance(labels, Tensor) or labels.dtype.kind not in "iu" or scores.ndim < 2:
        return None
    if tuple(scores.shape[:1] + scores.shape[2:]) != tuple(labels.shape) or not labels.numel():
        return None
    values, classes = labels.numpy(), scores.shape[1]
    wrong = (values >= classes) | ((values < 0) & (values != -100))
    if classes < 2 or not wrong.any():
        return None
    first = host.unravel_index(int(wrong.argmax()), values.shape)
    return found(
        "labels_out_of_range",
        f"{int(wrong.sum()):,} of {values.size:,} labels are none of the {classes} classes 0 to "
        f"{classes - 1} that the net has scores for: from {values.min()} to {values.max()}, the "
        f"first at {[int(i) for i in first]}",
    )


def told_neighbours(same: float, chance: float, count: int, step: int | None = None) -> Finding:
    """That labels say nothing about what is near what."""
    return found(
        "labels_shuffled",
        f"the nearest of the other samples has the same label for {same:.1%} of {count}; labels by "
        f"chance give {chance:.1%}",
        step=step,
    )
