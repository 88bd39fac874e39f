"""What is looked at before the training."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tinygrad_cv._graph import observer
from tinygrad_cv._tensor import Tensor
from tinygrad_cv._trees import mapped, tensors_in
from tinygrad_cv.backend import host
from tinygrad_cv.nn import Module
from tinygrad_cv.nn.dropout import _DropoutNd
from tinygrad_cv.ops.loss import cross_entropy
from tinygrad_cv.optim import Adam, Optimizer
from tinygrad_cv.train.batches import are_classes, samples_in, size_of
from tinygrad_cv.train.health.finding import Finding, worst_first
from tinygrad_cv.train.health.kinds import found
from tinygrad_cv.train.health.looks import (
    ENOUGH,
    by_chance,
    expected_loss,
    flattened,
    neighbours,
    told_inputs,
    told_labels,
    told_neighbours,
    told_uniform,
    uniform_weights,
)
from tinygrad_cv.train.health.sight import Sight, named_tensors, rows_are_equal
from tinygrad_cv.train.randomness import Randomness

Loss = Callable[[Any, Any], Tensor]

RATES = (1e-3, 1e-2, 1e-4)
"""Those of Adam, at which a few samples are to be learned by heart."""

SAMPLES = 512
"""Those whose neighbours are looked at."""


def check(
    model: Module,
    loss_fn: Loss | None = cross_entropy,
    loader: Iterable[Any] | None = None,
    *,
    optimizer: Optimizer | None = None,
    regularized: Callable[[float], Loss] | None = None,
    strength: float = 1e3,
    subset: int = 20,
    steps: int = 200,
) -> list[Finding]:
    """The sanity checks of the course before the training: what was found, the worst first.

    `loader` gives batches (inputs, labels), or is a list with one. The first batch is looked at:

    - the loss of the model beside the one of a net that knows nothing (see `expected_loss`);
    - the data: inputs that are not centred or finite, labels that are no classes, or that have
      nothing to do with the inputs: the nearest neighbours of samples then have equal labels no
      more often than by chance;
    - a backward pass: layers without a gradient, weights that are all equal, a softmax applied
      twice, a loss that is summed;
    - whether `subset` samples are overfitted in `steps` steps of Adam, without dropout; 0 steps
      leave it out;
    - with `regularized`, a function that gives the whole loss function for a strength of the
      regularization, whether the loss rises from strength 0 to `strength`. An `optimizer` is looked
      at for weight decay, which is not in the loss.

    Of a loss_fn that is None, as it is not known, the data alone are looked at.

    All is done on a copy: the model, the optimizer and the random states stay as they are. A loader
    that can be asked but once loses what is taken.

    Raises ValueError for a loader without batches, TypeError for a batch that is no pair.

    Source: D0 to D3 of the course, from "Double check that the loss is reasonable" on.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import nn
    >>> from tinygrad_cv.train import health
    >>> _ = tg.manual_seed(0)
    >>> batch = tg.randn(50, 8), tg.randint(4, (50,))
    >>> net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    >>> health.check(net, loader=[batch])
    []
    >>> squashed = nn.Sequential(net, nn.Softmax(dim=1))
    >>> [finding.kind for finding in health.check(squashed, loader=[batch], steps=0)]
    ['softmax_twice']
    """
    with Randomness(model, loss_fn, loader, optimizer).kept():
        batches = [] if loader is None else [*_some(loader)]
        if not batches:
            raise ValueError("the loader has no batches: a check looks at the first one.")
        told = [*_of_data(batches)]
        if loss_fn is None:
            return told
        trial = _copy(model)
        inputs, labels = batches[0]
        scores = None
        with _quiet():
            outputs, told_pass = _pass(trial, loss_fn, inputs, labels)
        if outputs is not None:
            scores = next(tensors_in(outputs))
        told += told_pass
        spoiled = any(f.kind in ("labels_out_of_range", "inputs_not_finite") for f in told)
        if scores is not None and not spoiled:
            told += _of_start(trial, loss_fn, inputs, labels)
            if regularized is not None:
                told += _of_regularization(trial, regularized, strength, inputs, labels)
            if steps and subset:
                told += _of_subset(model, loss_fn, inputs, labels, subset, steps)
    if optimizer is not None and regularized is None:
        told += _of_decay(optimizer)
    return worst_first(told)


def _copy(model: Module) -> Module:
    """A copy that learns like the model, and has no gradients."""
    trial = copy.deepcopy(model)
    for parameter in trial.parameters():
        parameter.grad = None
    return trial


def _some(loader: Iterable[Any]) -> Iterator[Any]:
    """The first batches, of as many samples as are looked at, on the device where they are."""
    count = 0
    for batch in loader:
        count += size_of(batch)
        yield batch
        if count >= SAMPLES:
            return


@contextmanager
def _quiet() -> Iterator[None]:
    """A block in which NumPy does not warn of what is looked for."""
    with host.errstate(all="ignore"):
        yield


# ----- the data ----------------------------------------------------------------------------------


def _of_data(batches: list[Any]) -> Iterator[Finding]:
    """Whether labels have to do with inputs."""
    parts = [_rows(*batch) for batch in batches]
    pairs = [part for part in parts if part is not None]
    if len(pairs) < len(parts) or len({x.shape[1:] for x, _ in pairs}) != 1:
        return
    inputs = host.concatenate([x for x, _ in pairs])[:SAMPLES]
    labels = host.concatenate([y for _, y in pairs])[:SAMPLES]
    known = neighbours(inputs, labels) if len(labels) >= ENOUGH else None
    if known is not None and by_chance(*known):
        yield told_neighbours(*known)


def _rows(inputs: Any, labels: Any) -> tuple[Any, Any] | None:
    """Inputs and labels on the host, if they are numbers and classes, one for each.

    Of labels in float numbers, 0 and 1 are classes.
    """
    if not (isinstance(inputs, Tensor) and isinstance(labels, Tensor)):
        return None
    if inputs.ndim < 2 or labels.shape not in ((len(inputs),), (len(inputs), 1)):
        return None
    if inputs.dtype.kind != "f" and inputs.dtype != "uint8":
        return None
    classes = labels.detach().numpy().reshape(-1)
    if labels.dtype.kind not in "iu" and not ((classes == 0) | (classes == 1)).all():
        return None
    return flattened(inputs.detach().numpy()), classes


# ----- a pass ------------------------------------------------------------------------------------


def _pass(trial: Module, loss_fn: Loss, inputs: Any, labels: Any) -> tuple[Any, list[Finding]]:
    """What the model gives, and what a forward and a backward pass show."""
    modules = {id(module): path for path, module in trial.named_modules()}
    parameters = dict(named_tensors(trial))
    ids = {id(parameter): name for name, parameter in parameters.items()}
    sight = Sight(observer.get(), modules, ids, {}, True, lambda: None)
    told: list[Finding] = []
    token = observer.set(sight)
    try:
        outputs = trial(inputs)
        wrong = told_labels(next(tensors_in(outputs)), labels)
        try:
            loss = loss_fn(outputs, labels)
        except (IndexError, ValueError):
            if wrong is None:
                raise
        else:
            if wrong is not None and math.isfinite(loss.item()):
                wrong = None  # such labels are ignored
        if wrong is not None:
            told.append(wrong)
        else:
            loss.backward()
    finally:
        observer.reset(token)
    told += told_by(sight)
    if wrong is None:
        told += _of_gradients(sight, parameters)
    return outputs, told


def told_by(sight: Sight, step: int | None = None) -> Iterator[Finding]:
    """What a close look at a pass shows of the inputs and the loss."""
    if sight.inputs is not None:
        told, place = sight.inputs
        finding = told_inputs(told, place.where, place.path, step)
        if finding is not None:
            yield finding
    if sight.squashed is not None:
        maker, taker, place = sight.squashed
        text = f"{taker} gets what {maker} gave"
        yield found("softmax_twice", text, step=step, where=place.where, key=place.path)
    if sight.summed is not None:
        count, place = sight.summed
        text = f"the loss is a sum over {count} samples, and not their mean"
        yield found("loss_summed", text, step=step, where=place.where, key=place.path)


def _of_gradients(sight: Sight, parameters: dict[str, Tensor]) -> Iterator[Finding]:
    """Parameters that get none, and layers whose units are equal."""
    layers: dict[str, list[str]] = {}
    uniform = uniform_weights(parameters)
    if uniform:
        yield told_uniform(uniform)
    for name, parameter in parameters.items():
        gradient = parameter.grad
        if not parameter.requires_grad:
            continue
        if gradient is None:
            layers.setdefault(name.rpartition(".")[0], []).append(name)
        elif name not in uniform and _is_one(parameter) and rows_are_equal(gradient):
            yield found(
                "symmetry",
                f"the rows of {name} are all equal, and so are their gradients",
                where=name.rpartition(".")[0] or name,
                key=name,
            )
    for path, names in layers.items():
        used = path in sight.called
        story = "its layer was called, and what it gave is detached" if used else "nobody calls it"
        yield found(
            "no_gradient",
            f"{', '.join(names)} got no gradient in a backward pass; {story}",
            where=path,
            key=path or names[0],
        )


def _is_one(parameter: Tensor) -> bool:
    """Whether it is a matrix whose rows are all equal."""
    return parameter.ndim > 1 and len(parameter) > 1 and rows_are_equal(parameter)


# ----- the loss ----------------------------------------------------------------------------------


def _of_start(trial: Module, loss_fn: Loss, inputs: Any, labels: Any) -> Iterator[Finding]:
    """The loss beside the one of a net that knows nothing."""
    with _quiet():
        outputs = trial(inputs)
        loss = float(loss_fn(outputs, labels).item())
        try:
            expected = expected_loss(loss_fn, outputs, labels)
        except (ArithmeticError, RuntimeError, TypeError, ValueError):
            return  # a loss that scores of 0 are nothing for
    if not math.isfinite(loss):
        yield found("not_finite", f"the loss of the untrained model is {loss}")
    elif math.isfinite(expected) and expected > 1e-6:
        off = loss / expected
        # Numbers have no scale that a net knows of before it learns.
        high = 1.2 if are_classes(labels, next(tensors_in(outputs))) else 5.0
        if off > high or off < 0.8:
            yield found(
                "loss_at_start",
                f"the loss is {loss:.6g}, and {expected:.6g} for a net that knows nothing",
                level="warning" if off > 1.7 * high and samples_in(labels) >= 10 else "note",
                means="the model has learned already" if off < 0.8 else None,
                remedy="nothing, if it goes on from a checkpoint" if off < 0.8 else None,
            )


def _of_regularization(
    trial: Module, regularized: Callable[[float], Loss], strength: float, inputs: Any, labels: Any
) -> Iterator[Finding]:
    """Whether the loss rises with the strength of the regularization."""
    randomness = Randomness(trial)
    with _quiet():
        with randomness.kept():
            without = float(regularized(0.0)(trial(inputs), labels).item())
        with randomness.kept():
            loss = float(regularized(strength)(trial(inputs), labels).item())
    if not loss > without:
        yield found(
            "regularization_missing",
            f"the loss is {without:.6g} without regularization and {loss:.6g} with strength "
            f"{strength:g}",
        )


def _of_decay(optimizer: Optimizer) -> Iterator[Finding]:
    decays = sorted({float(group.get("weight_decay", 0)) for group in optimizer.param_groups})
    if decays[-1]:
        yield found("weight_decay", f"{type(optimizer).__name__} has weight_decay={decays[-1]:g}")


def _of_subset(
    model: Module, loss_fn: Loss, inputs: Any, labels: Any, subset: int, steps: int
) -> Iterator[Finding]:
    """Whether a few samples are learned by heart."""
    size = samples_in(labels)
    count = min(subset, size)

    def cut(x: Any) -> Any:
        return x[:count] if isinstance(x, Tensor) and x.ndim and len(x) == size else x

    few, known = mapped(cut, inputs), mapped(cut, labels)
    best = math.inf, math.inf, 0.0
    for rate in RATES:
        trial = _copy(model)
        trial.train()
        for module in trial.modules():
            if isinstance(module, _DropoutNd):
                module.eval()
        learning = [p for p in trial.parameters() if p.requires_grad]
        if not learning:
            return
        try:
            with _quiet():
                first, last, right = _learned(trial, loss_fn, few, known, learning, rate, steps)
        except (ArithmeticError, RuntimeError):
            continue  # too high
        if right == 1 or last < 0.05 * first:
            return
        if last < best[1]:
            best = first, last, right
    if not math.isfinite(best[1]) or best[0] <= 0:
        return
    rows = "" if best[2] < 0 else f", and {best[2]:.0%} of the labels are right"
    numbers = best[2] < 0  # whose size a net has to grow to
    nearly = best[1] < (0.95 if numbers else 0.5) * best[0] or best[2] >= 0.75
    yield found(
        "cannot_overfit",
        f"{count} samples are not learned by heart in {steps} steps: the loss goes from "
        f"{best[0]:.4g} to {best[1]:.4g}{rows}",
        level="note" if nearly else None,
        means="a small model, too few steps, or targets far larger than what the net gives"
        if nearly
        else None,
        remedy="scale the targets to a deviation of about 1; or nothing" if nearly else None,
    )


def _learned(
    trial: Module,
    loss_fn: Loss,
    inputs: Any,
    labels: Any,
    learning: Sequence[Tensor],
    rate: float,
    steps: int,
) -> tuple[float, float, float]:
    """The first and the last loss, and the share of right labels (-1 if there are none)."""
    optimizer, losses, right = Adam(learning, lr=rate), [], -1.0
    for _ in range(steps):
        outputs = trial(inputs)
        loss = loss_fn(outputs, labels)
        losses.append(float(loss.item()))
        scores = next(tensors_in(outputs))
        if are_classes(labels, scores):
            right = float((scores.argmax(dim=1) == labels).float().mean())
        if right == 1 or losses[-1] < 0.05 * losses[0] or not math.isfinite(losses[-1]):
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses[0], losses[-1] if math.isfinite(losses[-1]) else math.inf, right
