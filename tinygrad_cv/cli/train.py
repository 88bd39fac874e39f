"""`tinygrad-cv train`: train a ConvNet, measure it, and write the results."""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tinygrad_cv import distributed
from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.cli.arguments import CommandError, given, integer, path, positive, seconds
from tinygrad_cv.creation import zeros
from tinygrad_cv.data import (
    DataLoader,
    Dataset,
    Splits,
    TensorDataset,
    load_dataset,
    random_horizontal_flip,
    random_shift,
    random_split,
)
from tinygrad_cv.data.files import MAX_BYTES
from tinygrad_cv.nn import Module, SyncBatchNorm
from tinygrad_cv.ops.loss import cross_entropy
from tinygrad_cv.optim import SGD
from tinygrad_cv.storage import write
from tinygrad_cv.train import Checkpoint, DivergenceError, Trainer, convnet, cosine, save_model
from tinygrad_cv.train.checkpoint import checkpoints, load_run, newest

METRICS, MODEL = "metrics.json", "model.safetensors"
CURVES, GRAPH, PAGE = "curves.svg", "graph.svg", "training.html"
CHECKPOINTS = "checkpoints"  # a folder, there as long as the run is not finished


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train a ConvNet on the digits that come with the package, on MNIST or on CIFAR-10",
        description=(
            "Train a ConvNet with batch norm to tell what is on an image. A tenth of the training "
            "samples is held back to validate after each epoch; the test samples are used once, at "
            f"the end. DIR receives {METRICS}, {MODEL}, {CURVES}, {GRAPH} and {PAGE}. On one "
            "machine, the same seed gives the same metrics and the same model, also where a run "
            "was killed and has gone on with --resume DIR. Under mpiexec -n N (extra mpi) N "
            "processes share every batch, to the same results but for rounding."
        ),
        allow_abbrev=False,
    )
    parser.add_argument(
        "--dataset",
        type=given,
        default="digits",
        metavar="PATH",
        help="a folder with MNIST's IDX files or the binary version of CIFAR-10, or one with your "
        "images in a folder for each class, also as train/CLASS and test/CLASS; or 'digits', which "
        "come with the package (default)",
    )
    parser.add_argument(
        "--image-size",
        type=integer(1, 10_000),
        metavar="N",
        help="the height and width to which the images of a folder are brought (default: as they "
        "are, or 64 if they differ)",
    )
    parser.add_argument(
        "--out", type=path, metavar="DIR", help="where the results go (default: runs/<time>)"
    )
    parser.add_argument(
        "--resume",
        type=path,
        metavar="DIR",
        help="go on with the run in DIR that was stopped, with its options, from its last "
        "checkpoint; nothing else need be said",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help=f"how often DIR/{CHECKPOINTS} gets one, from which the run can go on; it is removed "
        "when the run is finished (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        type=given,
        metavar="NAME",
        help="a model of tinygrad_cv.models, such as resnet20 (default: the ConvNet)",
    )
    parser.add_argument(
        "--epochs",
        type=integer(1),
        default=60,
        metavar="N",
        help="passes over the training samples (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=integer(1),
        default=64,
        metavar="N",
        help="samples in one step (default: %(default)s)",
    )
    parser.add_argument(
        "--lr",
        type=positive,
        default=0.03,
        metavar="RATE",
        help="the learning rate to start with; it falls to 0 (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=integer(0, math.inf),
        default=0,
        metavar="N",
        help="where every random number comes from (default: %(default)s)",
    )
    parser.add_argument(
        "--limit",
        type=integer(2),
        metavar="N",
        help="use no more than N training samples (default: all)",
    )
    parser.add_argument(
        "--max-bytes",
        type=integer(0, math.inf),
        default=MAX_BYTES,
        metavar="N",
        help="the most that a gzipped file of the dataset may unzip to; 0 for any size "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--device",
        default="cpu",
        metavar="DEVICE",
        help="where to compute: cpu (default), or cuda for an NVIDIA GPU",
    )
    parser.add_argument(
        "--workers",
        type=integer(0, 1000),
        default=0,
        metavar="N",
        help="processes that make batches ahead; the numbers are the same (default: %(default)s)",
    )
    parser.add_argument(
        "--augment",
        choices=AUGMENTS,
        default="shift",
        help="how images are changed in each epoch: moved by up to an eighth, also mirrored, or "
        "not at all (default: %(default)s)",
    )
    parser.add_argument(
        "--accumulate",
        type=integer(1),
        default=1,
        metavar="N",
        help="batches that make one step (default: %(default)s)",
    )
    parser.add_argument(
        "--clip",
        type=positive,
        metavar="NORM",
        help="the most that the norm of a step's gradients may be (default: any)",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="record the step once and replay it: the same numbers sooner",
    )
    parser.set_defaults(run=train)


def train(options: argparse.Namespace) -> None:
    """Train, measure, and write the results."""
    from tinygrad_cv import viz

    started = time.perf_counter()
    _join(options)
    first = distributed.get_rank() == 0
    if options.resume is not None:
        if _is_finished(options.resume):
            if first:
                print(f"{options.resume}: the run is finished; there is nothing to resume.")
            return
        _take_settings(options)
    weights, split, order = host.random.default_rng(options.seed).spawn(3)
    try:
        splits = load_dataset(options.dataset, options.max_bytes or None, options.image_size)
        image_shape = splits.train_images.shape[1:]
        if options.image_size is not None and image_shape[1:] != (options.image_size,) * 2:
            raise CommandError(
                f"argument --image-size: the images of {splits.name} are {image_shape[1]}x"
                f"{image_shape[2]} and stay so; those of a folder of images are brought to a size."
            )
        if options.model is None:
            model: Module = convnet(image_shape, splits.classes, generator=weights)
    except ValueError as error:  # a DatasetError, or images that the ConvNet cannot take
        raise CommandError(f"argument --dataset: {error}") from error
    if options.model is not None:
        model, channels = _known_model(options.model, image_shape, splits.classes, weights)
        splits = _with_channels(splits, channels)
    if distributed.get_world_size() > 1:
        SyncBatchNorm.convert_sync_batchnorm(model)
    try:
        model.to(device=options.device)
    except (ValueError, RuntimeError, ModuleNotFoundError) as error:
        raise CommandError(f"argument --device: {error}") from error
    samples = TensorDataset(splits.train_images, splits.train_labels)
    used = min(len(samples), options.limit or len(samples))
    if used < 2:
        raise CommandError(
            f"argument --dataset: {options.dataset}: found {used} training sample, expected at "
            "least 2, to train and to validate."
        )
    held_back = max(1, used // 10)
    training, validation, _ = random_split(
        samples, [used - held_back, held_back, len(samples) - used], split
    )
    test = TensorDataset(splits.test_images, splits.test_labels)
    train_loader = DataLoader(
        training,
        options.batch_size,
        shuffle=True,
        generator=order,
        transform=AUGMENTS[options.augment],
        num_workers=options.workers,
        device=options.device,
    )
    val_loader, test_loader = (
        DataLoader(part, options.batch_size, device=options.device) for part in (validation, test)
    )
    optimizer = SGD(model.parameters(), options.lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    trainer = Trainer(
        model,
        optimizer,
        schedule=cosine,
        compile=options.compile,
        accumulate=options.accumulate,
        clip_grad_norm=options.clip,
        settings={name: getattr(options, name) for name in SETTINGS}
        | {"dataset": _absolute(options.dataset)},
    )
    place = _folder(options.resume or options.out, options.resume is not None)
    with place if first else nullcontext(options.resume or Path()) as out:
        watch = viz.watch(model)
        saving = Checkpoint(out / CHECKPOINTS, every_seconds=options.checkpoint_every, keep=1)
        history = _fit(trainer, train_loader, val_loader, options.epochs, watch, saving)
        for node in watch.trace.nodes:  # the program's line is that which started this command
            node.source = node.code = ""
        test_accuracy = trainer.evaluate(test_loader)
        if distributed.is_initialized():
            distributed.destroy_process_group()
        if not first:
            return
        seconds = time.perf_counter() - started
        metrics = {
            "dataset": splits.name,
            "seed": options.seed,
            "settings": {name: getattr(options, name) for name in RECORDED},
            "epochs": history,
            "test_accuracy": test_accuracy,
            "seconds": seconds,
        }
        save_model(model, out / MODEL)
        write(out / METRICS, (json.dumps(metrics, indent=2) + "\n").encode())
        pictures = _draw(out, history, _training_loss(model, training), watch)
        _forget(saving.folder)
    print(
        f"{splits.name} samples: {len(training):,} to train, {len(validation):,} to validate, "
        f"{len(test):,} to test\n"
        f"test accuracy {test_accuracy:.2%}, "
        f"validation accuracy {history[-1]['val_accuracy']:.2%}, "
        f"epochs {options.epochs}, {seconds:.1f} s\n"
        f"{out}: {', '.join([METRICS, MODEL, *pictures])}"
    )


RECORDED = (
    "image_size",
    "epochs",
    "batch_size",
    "lr",
    "limit",
    "device",
    "model",
    "augment",
    "accumulate",
    "clip",
)
"""The options that the metrics tell, beside the dataset and the seed."""

SETTINGS = ("dataset", "seed", *RECORDED, "max_bytes", "compile")
"""The options that a run keeps when it goes on."""


def _is_finished(folder: Path) -> bool:
    return (folder / METRICS).is_file() and newest(folder / CHECKPOINTS) is None


def _take_settings(options: argparse.Namespace) -> None:
    """Let the options be those of the run that goes on."""
    folder = options.resume
    if options.out is not None:
        raise CommandError("arguments --resume and --out: the run goes on in its own folder.")
    place = newest(folder / CHECKPOINTS)
    if place is None:
        raise CommandError(
            f"argument --resume: {folder}: found no {CHECKPOINTS} of a run that was stopped."
        )
    try:
        kept = load_run(place)["settings"]
        kept = {name: kept[name] for name in SETTINGS}
    except (ValueError, KeyError, TypeError) as error:
        told = error if isinstance(error, ValueError) else f"{place}: is of another program."
        raise CommandError(f"argument --resume: {told}") from error
    for name, value in kept.items():
        option = "--" + name.replace("_", "-")
        here = getattr(options, name)
        if option in options.said and (_absolute(here) if name == "dataset" else here) != value:
            raise CommandError(
                f"argument {option}: the run in {folder} has {value}, given {here}; leave it out, "
                "or begin a new run."
            )
        setattr(options, name, value)


def _absolute(dataset: str) -> str:
    """A dataset as it is called in any folder."""
    return os.path.abspath(dataset) if os.path.exists(dataset) else dataset


def _known_model(
    name: str, image_shape: tuple[int, int, int], classes: int, generator: host.random.Generator
) -> tuple[Module, int]:
    """A model by its name, which takes such images, and how many channels it takes.

    One for colours gets grey images as three channels that are equal.
    """
    from tinygrad_cv.models import get_model

    try:
        model = get_model(name, num_classes=classes, generator=generator)
        if getattr(model, "aux_logits", False):  # scores from its middle, too, which nobody asks
            model = get_model(name, num_classes=classes, generator=generator, aux_logits=False)
        channels, *sides = image_shape
        first = next(p for p in model.parameters() if p.ndim == 4)
        if channels == 1 and first.shape[1] == 3:
            channels = 3
        with no_grad():
            scores = model.eval()(zeros(1, channels, *sides))
        if scores.shape != (1, classes):
            raise ValueError(
                f"it gives {scores.shape}, and not a score for each of {classes} classes"
            )
    except (TypeError, ValueError) as error:
        raise CommandError(
            f"argument --model: {name} with images {image_shape}: {error}"
        ) from error
    return model.train(), channels


def _with_channels(splits: Splits, channels: int) -> Splits:
    """A dataset whose images have so many channels: the one that they have, again and again."""

    def repeated(images: host.ndarray) -> host.ndarray:
        count, _, *sides = images.shape
        return host.broadcast_to(images, (count, channels, *sides))

    return replace(
        splits,
        train_images=repeated(splits.train_images),
        test_images=repeated(splits.test_images),
    )


def _forget(folder: Path) -> None:
    """Remove the checkpoints of a run, which are of no use any more."""
    for found in checkpoints(folder).values():
        found.unlink(missing_ok=True)
    with suppress(OSError):  # which says that something else is in it, or that it is not there
        folder.rmdir()


def _join(options: argparse.Namespace) -> None:
    """Join the other ranks, if an mpiexec has started this process with others."""
    if distributed.launched_ranks() == 1:
        return
    if options.compile:
        raise CommandError(
            "argument --compile: a program is recorded for one process; leave it out."
        )
    try:
        nccl = options.device == "cuda" and distributed.is_nccl_available()
        distributed.init_process_group("nccl" if nccl else "mpi")
    except (ModuleNotFoundError, RuntimeError) as error:
        raise CommandError(str(error), status=1) from error


@contextmanager
def _folder(out: Path | None, resumed: bool = False) -> Iterator[Path]:
    """Make the folder before the work begins, and take it away if the work left nothing in it.

    Without a name it is one that no other run has, called after the time.
    """
    new = True
    try:
        if out is None:
            out = Path("runs")
            out.mkdir(exist_ok=True)
            out = _new_folder(out / f"{datetime.now():%Y-%m-%d_%H-%M-%S}")
        else:
            try:
                out.mkdir(parents=True)
            except FileExistsError:
                new = False
                if not out.is_dir():
                    raise
        if not resumed and newest(out / CHECKPOINTS) is not None:
            raise CommandError(
                f"argument --out: {out} has a run that was stopped: go on with --resume {out}, or "
                "give another folder."
            )
        with TemporaryFile(dir=out):
            pass
        for name in (METRICS, MODEL, CURVES, GRAPH, PAGE):  # now, and not after the training
            if (out / name).exists() and not (out / name).is_file():
                raise CommandError(f"argument --out: {out / name} is there, and is no file.")
    except OSError as error:
        raise CommandError(
            f"argument --out: {out} must be a folder to write in ({error.strerror})."
        ) from error
    try:
        yield out
    except KeyboardInterrupt:
        if newest(out / CHECKPOINTS) is None:
            raise
        raise CommandError(f"interrupted; go on with --resume {out}.", status=130) from None
    finally:
        if new:
            with suppress(OSError):  # which says that there is something in it
                out.rmdir()


def _new_folder(path: Path) -> Path:
    """A folder of this name, or where another run of the same second has it: name_2, name_3, ..."""
    for number in count(1):
        folder = path if number == 1 else path.with_name(f"{path.name}_{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError  # there are always more numbers


def _fit(
    trainer: Trainer,
    train_loader: DataLoader,
    val_loader: DataLoader,
    epochs: int,
    watch: Any,
    saving: Checkpoint,
) -> list[dict[str, float]]:
    try:
        return trainer.fit(
            train_loader,
            val_loader,
            epochs,
            watch=watch,
            callbacks=[saving],
            resume=saving.folder,
        )
    except DivergenceError as error:
        if distributed.get_rank() == 0:
            _forget(saving.folder)  # it would diverge again
        raise CommandError(
            f"the loss became {error.loss} in epoch {error.epoch}; try an --lr lower than "
            f"{trainer.rates[0]:g}.",
            status=1,
        ) from error
    except ValueError as error:
        if not trainer.history and newest(saving.folder) is not None:  # the checkpoint is damaged
            raise CommandError(f"argument --resume: {error}", status=1) from error
        raise


def _shifted(
    images: host.ndarray, labels: host.ndarray, generator: host.random.Generator
) -> tuple[host.ndarray, ...]:
    """Each image moved by up to an eighth of its height: a new view of it in each epoch."""
    return random_shift(images, images.shape[2] // 8, generator), labels


def _mirrored(
    images: host.ndarray, labels: host.ndarray, generator: host.random.Generator
) -> tuple[host.ndarray, ...]:
    """Half of the images mirrored, and each moved."""
    return _shifted(random_horizontal_flip(images, 0.5, generator), labels, generator)


AUGMENTS = {"shift": _shifted, "flip": _mirrored, "none": None}


def _training_loss(model: Module, training: Dataset) -> Tensor:
    """The loss of one training step on a few images, with its graph."""
    device = next(model.parameters()).device
    images, labels = next(iter(DataLoader(training, batch_size=4, device=device)))
    images.name, labels.name = "images", "labels"
    for name, parameter in model.named_parameters():
        parameter.name = name
    loss = cross_entropy(model.train()(images), labels)
    loss.name = "loss"
    return loss


def _draw(out: Path, history: list[dict[str, float]], loss: Tensor, watch: Any) -> list[str]:
    """Draw what the installed packages can, and return the names of the pictures."""
    from tinygrad_cv import viz

    pictures: dict[str, Callable[[Path], object]] = {
        CURVES: lambda path: viz.curves(history, path),
        GRAPH: lambda path: viz.draw(loss, backward=True, health=True).save(path),
        PAGE: watch.save,
    }
    drawn, missing = [], []
    for name, draw in pictures.items():
        path = out / name
        try:
            draw(path)
            drawn.append(name)
            continue
        except ModuleNotFoundError:
            missing.append(name)
        except (RuntimeError, TimeoutError) as error:
            _tell(f"left out {name}: {error}")
        if path.is_file():
            path.unlink()  # that of an earlier run would pass for this one's
    if missing:
        _tell(
            f"left out {' and '.join(missing)}; run pip install 'tinygrad_cv[viz]' for the "
            "packages that draw."
        )
    return drawn


def _tell(sentence: str) -> None:
    with suppress(OSError):  # nobody is there to read it
        print(sentence, file=sys.stderr)
