"""`tinygrad-cv doctor`: what is wrong with a training run, before it and in its first steps."""

import argparse
import inspect
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.cli.arguments import CommandError, given, integer, path, positive
from tinygrad_cv.cli.programs import load, required, told
from tinygrad_cv.data import DataLoader, TensorDataset, load_dataset, random_split
from tinygrad_cv.nn import Module
from tinygrad_cv.ops.loss import cross_entropy
from tinygrad_cv.optim import SGD, Optimizer
from tinygrad_cv.random import manual_seed
from tinygrad_cv.storage import write
from tinygrad_cv.train import DivergenceError, Health, LambdaCallback, Trainer, convnet
from tinygrad_cv.train.health import Finding, check

PAGE = "doctor.html"
PARTS = ("model", "optimizer", "loss_fn", "train_loader", "val_loader", "step")


def add(commands: Any) -> None:
    """Describe the options."""
    parser = commands.add_parser(
        "doctor",
        help="find what is wrong with a training run: look before it, and at its first steps",
        description=(
            "Make the sanity checks of the course, train for a few steps and look on, and print "
            "what was found: what was seen, what it usually means and what to try, the likely "
            "causes before what follows from them. Without PATH::NAME it looks at the job of "
            "`tinygrad-cv train`."
        ),
        epilog=(
            "The status is 1 if an error was found. Warnings and notes leave it at 0, as what "
            "they say may be meant; with --strict warnings make it 1, too. It is 2 for a wrong "
            "argument."
        ),
        allow_abbrev=False,
    )
    parser.add_argument(
        "target",
        nargs="?",
        type=given,
        metavar="PATH::NAME",
        help="a function or class in a Python file, such as net.py::make_model. What it returns is "
        "a model, which is trained on --dataset; or a Trainer; or a dict (or tuple) with any of "
        f"{', '.join(PARTS)}, where step(inputs, labels) makes one step by hand and returns the "
        "loss. The file is run as a Python program",
    )
    parser.add_argument(
        "--dataset",
        type=given,
        default="digits",
        metavar="PATH",
        help="what is trained on where the program brings no data; see `tinygrad-cv train`",
    )
    parser.add_argument(
        "--steps",
        type=integer(1),
        default=150,
        metavar="N",
        help="how many steps of the training to look at (default: %(default)s)",
    )
    parser.add_argument("--batch-size", type=integer(1), default=64, metavar="N", help="of them")
    parser.add_argument(
        "--lr",
        type=positive,
        default=0.03,
        metavar="RATE",
        help="the learning rate where the program brings no optimizer (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=integer(0, math.inf),
        default=0,
        metavar="N",
        help="where every random number comes from (default: %(default)s)",
    )
    parser.add_argument(
        "--json", type=path, metavar="FILE", help="also write the findings there; - for stdout"
    )
    parser.add_argument(
        "--out",
        type=path,
        metavar="DIR",
        help=f"also write DIR/{PAGE}: the findings on the graph of the model, as a page",
    )
    parser.add_argument("--strict", action="store_true", help="let warnings end with status 1")
    parser.set_defaults(run=doctor)


@dataclass
class Case:
    """What is looked at: a training run, by its parts."""

    name: str
    model: Any = None
    optimizer: Any = None
    loss_fn: Any = None
    train_loader: Any = None
    val_loader: Any = None
    step: Any = None
    trainer: Any = None
    losses: list[float] = field(default_factory=list)


def doctor(options: argparse.Namespace) -> None:
    """Look, print what was found, and end with a status."""
    from tinygrad_cv import viz

    manual_seed(options.seed)
    if options.out is not None:
        _make_folder(options.out)
    case = _main_job(options) if options.target is None else _case_of(options)
    _complete(case, options)
    watch = viz.watch(case.model, every=max(1, options.steps // 10))
    before: list[Finding] = []
    try:
        before += _looked_at_before(case)
        findings = _looked_at(case, before, options, watch)
    except (CommandError, KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # whatever the program raises
        if options.target is None:
            raise
        stop = CommandError(f"{case.name} does not train: {told(error)}", status=1)
        if not any(finding.level == "error" for finding in before):
            raise stop from error
        print(f"tinygrad-cv doctor: {stop}", file=sys.stderr)
        findings = before
    findings = [_in_program(finding) for finding in causes_first(findings)]
    plain = {
        "target": case.name,
        "steps": len(case.losses),
        "losses": [loss if math.isfinite(loss) else str(loss) for loss in case.losses],
        "findings": [finding.to_dict() for finding in findings],
    }
    if options.out is not None:
        _draw(options.out / PAGE, case, watch, findings)
    text = json.dumps(plain, indent=2, allow_nan=False) + "\n"
    if options.json is not None and str(options.json) == "-":
        print(text, end="")
    else:
        if options.json is not None:
            write(options.json, text.encode())
        print(_report(case, findings, coloured=_is_terminal(sys.stdout)))
        if options.out is not None:
            print(f"{options.out}: {PAGE}")
    bad = ("error", "warning") if options.strict else ("error",)
    if any(finding.level in bad for finding in findings):
        raise SystemExit(1)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"argument --out: {out} must be a folder to write in ({error.strerror})."
        ) from error


# ----- the case ----------------------------------------------------------------------------------


def _main_job(options: argparse.Namespace) -> Case:
    """The job of `tinygrad-cv train`, at the beginning of its schedule."""
    case = Case(f"train on {options.dataset}")
    images, _ = _splits(options)
    try:
        case.model = convnet(images[0].shape[1:], images[1])
    except ValueError as error:
        raise CommandError(f"argument --dataset: {error}") from error
    return case


def _case_of(options: argparse.Namespace) -> Case:
    """What the user's function gives."""
    make = load(options.target, Module)
    if needed := [] if inspect.isbuiltin(make) else required(make):
        raise CommandError(
            f"{options.target} is called without arguments, and needs {', '.join(needed)}."
        )
    try:
        made = make()
    except (Exception, SystemExit) as error:
        raise CommandError(f"{options.target} does not run: {told(error)}", status=1) from error
    case = Case(options.target.replace(os.sep, "/").rpartition("/")[2])
    parts = made if isinstance(made, dict) else _by_kind(made)
    if parts is None or not all(isinstance(key, str) for key in parts):
        raise CommandError(
            f"{options.target} gave a {type(made).__name__}; expected a model, a Trainer, or a "
            f"dict with any of {', '.join(PARTS)}."
        )
    unknown = [key for key in parts if key not in (*PARTS, "trainer")]
    if unknown:
        raise CommandError(
            f"{options.target} gave a dict with {unknown[0]!r}; expected any of {', '.join(PARTS)}."
        )
    for key, value in parts.items():
        setattr(case, key, value)
    if case.trainer is not None:
        case.model = case.model or case.trainer.model
        case.optimizer = case.optimizer or case.trainer.optimizer
        case.loss_fn = case.loss_fn or case.trainer.loss_fn
    if not isinstance(case.model, Module):
        raise CommandError(
            f"{options.target} gave no model: an nn.Module, by the name 'model' in a dict."
        )
    return case


def _by_kind(made: Any) -> dict[str, Any] | None:
    """The parts that one thing is, or several are: the first module is the model, and so on."""
    parts: dict[str, Any] = {}
    for thing in made if isinstance(made, tuple | list) else (made,):
        if isinstance(thing, Trainer):
            names: tuple[str, ...] = ("trainer",)
        elif isinstance(thing, Optimizer):
            names = ("optimizer",)
        elif isinstance(thing, Module):
            names = ("model", "loss_fn")
        elif callable(thing):
            own = "step" in getattr(thing, "__name__", "")
            names = ("step",) if own else ("loss_fn", "step")
        elif isinstance(thing, Iterable) and not isinstance(thing, Tensor):
            names = ("train_loader", "val_loader")
        elif thing is None:
            continue
        else:
            return None
        name = next((name for name in names if name not in parts), None)
        if name is None:
            return None
        parts[name] = thing
    return parts or None


def _complete(case: Case, options: argparse.Namespace) -> None:
    """Add to a case what it does not bring: data, an optimizer, a loss."""
    if case.train_loader is None:
        (images, classes), labels = _splits(options)
        images = _fitting(case, images, labels, classes, options)
        data = TensorDataset(images, labels)
        held_back = max(1, len(data) // 10)
        rng = host.random.default_rng(options.seed)
        training, validation = random_split(data, [len(data) - held_back, held_back], rng)
        case.train_loader = DataLoader(training, options.batch_size, shuffle=True, generator=rng)
        if case.val_loader is None:
            case.val_loader = DataLoader(validation, options.batch_size)
    if case.step is not None or case.trainer is not None:
        return
    if case.optimizer is None:
        case.optimizer = SGD(case.model.parameters(), options.lr, momentum=0.9)
    case.loss_fn = case.loss_fn or cross_entropy
    case.trainer = Trainer(case.model, case.optimizer, case.loss_fn)


def _splits(options: argparse.Namespace) -> tuple[tuple[Any, int], Any]:
    """The training images with the number of classes, and the labels, of the dataset."""
    try:
        splits = load_dataset(options.dataset)
    except ValueError as error:
        raise CommandError(f"argument --dataset: {error}") from error
    return (splits.train_images, splits.classes), splits.train_labels


def _fitting(
    case: Case, images: Any, labels: Any, classes: int, options: argparse.Namespace
) -> Any:
    """The images as a model takes them: as they are, as rows, in three channels, enlarged.

    Enlarged ones are 3x32x32, the form for which the nets of the course are written.
    """
    channels = images.shape[1]
    colour = images if channels == 3 else host.repeat(images[:, :1], 3, axis=1)
    by = max(1, 32 // images.shape[2])
    large = colour.repeat(by, axis=2).repeat(by, axis=3) if by > 1 else colour
    mode = {module: module.training for module in case.model.modules()}
    failures = []
    for form in (
        images,
        images.reshape(len(images), -1),
        colour,
        large,
        large.reshape(len(large), -1),
    ):
        try:
            with no_grad():
                scores = case.model.eval()(Tensor(host.ascontiguousarray(form[:2])))
        except Exception as error:  # whatever the model raises
            failures.append(f"{form.shape[1:]}: {told(error)}")
            continue
        finally:
            for module, training in mode.items():
                module.training = training
        if isinstance(scores, Tensor) and scores.ndim == 2 and scores.shape[1] < classes:
            failures.append(f"{form.shape[1:]}: {scores.shape[1]} scores for {classes} classes")
            continue
        return form
    raise CommandError(
        f"{options.target}: the model takes no images of {options.dataset}, and no train_loader "
        f"was given ({failures[0]})."
    )


# ----- looking -----------------------------------------------------------------------------------


def _looked_at_before(case: Case) -> list[Finding]:
    """What is found before the training; of a step by hand the loss may not be known."""
    return check(case.model, case.loss_fn, case.train_loader, optimizer=case.optimizer)


def _looked_at(
    case: Case, before: list[Finding], options: argparse.Namespace, watch: Any
) -> list[Finding]:
    """What is found before the training and in its first steps; what both find, once."""
    health = Health(case.model, case.optimizer, every=max(1, options.steps // 15))
    if case.step is not None:
        _train_by_hand(case, health, options.steps, watch)
    else:
        _train(case, health, options.steps, watch)
    during = health.findings
    kinds = {finding.kind for finding in during}
    return [*(finding for finding in before if finding.kind not in kinds), *during]


def _train(case: Case, health: Health, steps: int, watch: Any) -> None:
    """So many steps of the Trainer."""
    trainer = case.trainer
    start = trainer.step

    before = [0.0, 0.0, -1]  # the sum of the losses, of how many samples, in this epoch

    def noted(trainer: Trainer) -> None:
        total, count = trainer.sums.totals["loss"]
        if before[2] != trainer.epoch:
            before[:] = 0.0, 0.0, trainer.epoch
        case.losses.append((total - before[0]) / (count - before[1]))
        before[:2] = total, count
        trainer.should_stop |= trainer.step - start >= steps

    batches = max(1, _length(case.train_loader, steps))
    try:
        trainer.fit(
            case.train_loader,
            case.val_loader,
            epochs=math.ceil(steps / batches) if trainer.schedule else 1,
            watch=watch,
            callbacks=[health, LambdaCallback(on_step=noted)],
        )
    except DivergenceError as error:
        case.losses.append(error.loss)


def _train_by_hand(case: Case, health: Health, steps: int, watch: Any) -> None:
    """So many steps of the user's function."""
    with tqdm(total=steps, disable=None, leave=False) as bar:
        for inputs, labels in islice(_again_and_again(case.train_loader), steps):
            try:
                with watch.step(), health.step():
                    loss = case.step(inputs, labels)
            except RuntimeError as error:
                if not hasattr(error, "anomaly"):
                    raise
                return  # of which health has heard
            case.losses.append(_number(loss))
            bar.update()
            if health.should_stop:
                return


def _again_and_again(loader: Any) -> Iterator[Any]:
    while True:
        count = 0
        for batch in loader:
            count += 1
            yield batch
        if not count:
            raise ValueError("the loader has no batches.")


def _length(loader: Any, otherwise: int) -> int:
    try:
        return len(loader)
    except TypeError:
        return otherwise


def _number(loss: Any) -> float:
    """What a step by hand returned as its loss; NaN if that is none."""
    try:
        return float(loss.item() if hasattr(loss, "item") else loss)
    except (TypeError, ValueError):
        return math.nan


def _is_launcher(line: str) -> bool:
    """Whether a line is that which started this command, and no line of the user's program."""
    name = line.rpartition(":")[0]
    return name == os.path.basename(sys.argv[0]) or name.startswith("<")


def _in_program(finding: Finding) -> Finding:
    """A finding without the line that started this command."""
    layer, _, line = finding.where.rpartition(", ")
    return replace(finding, where=layer) if _is_launcher(line) else finding


# ----- the report --------------------------------------------------------------------------------

SYMPTOMS = (
    "rate_too_high",
    "cost_exploded",
    "not_finite",
    "loss_not_moving",
    "cannot_overfit",
    "constant_predictions",
    "loss_at_start",
    "dead_units",
    "saturated",
    "gap",
    "no_gap",
    "update_ratio",
)
"""What has many causes; so it comes behind those that were found."""


def causes_first(findings: Iterable[Finding]) -> list[Finding]:
    """What is worse than a note before the notes; of it what explains the rest, the worst first."""
    levels = ("error", "warning", "note")

    def place(finding: Finding) -> tuple[bool, bool, bool, int]:
        return (
            finding.level == "note",
            finding.kind in SYMPTOMS,
            finding.kind != "rate_too_high",
            levels.index(finding.level),
        )

    return sorted(findings, key=place)


COLOURS = {"error": "31;1", "warning": "33;1", "note": "2"}


def _report(case: Case, findings: Sequence[Finding], coloured: bool) -> str:
    """The findings as text."""
    losses = case.losses
    ran = f"{len(losses)} step{'s' * (len(losses) != 1)}"
    if losses:
        ran += f", loss {losses[0]:.4g} to {losses[-1]:.4g}"
    counts = {level: sum(f.level == level for f in findings) for level in COLOURS}
    counted = [f"{n} {level}{'s' * (n > 1)}" for level, n in counts.items() if n]
    lines = [f"{case.name}: {ran}; {', '.join(counted) or 'nothing was found'}."]
    for finding in findings:
        text = str(finding)
        if coloured:
            colour = COLOURS[finding.level]
            text = text.replace(finding.level, f"\33[{colour}m{finding.level}\33[0m", 1)
        lines.append(text)
    return "\n".join(lines)


def _is_terminal(stream: Any) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ


def _draw(page: Path, case: Case, watch: Any, findings: Sequence[Finding]) -> None:
    """Write the page: the graph of the recorded steps, or of the model alone."""
    from tinygrad_cv import viz

    trace = watch.trace
    if not trace.steps:  # nothing was learned, such as by a step without a backward pass
        inputs, _ = next(iter(case.train_loader))
        trace = viz.trace(case.model, inputs, values=True)
    for node in trace.nodes:
        if _is_launcher(node.source):
            node.source = node.code = ""
    trace = replace(trace, title=case.name)
    viz.diagnosis(trace, findings).save(page)
