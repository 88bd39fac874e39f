"""The command `tinygrad-cv`, also `python -m tinygrad_cv`.

A command is a function of its options, which `_add_...` describes. What goes wrong by the user's
doing is a `CommandError` and ends the program with one sentence and a status: 2 for a bad
argument, 1 for work that failed. When the reader of the output wants no more of it, as in
`tinygrad-cv ops | head`, the program ends without a word.
"""

import argparse
import importlib.util
import inspect
import io
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches
from itertools import count
from pathlib import Path
from reprlib import repr as short
from tempfile import TemporaryFile
from typing import Any, NoReturn

from tinygrad_cv import __version__, distributed
from tinygrad_cv._apply import function
from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._op import REGISTRY, Op
from tinygrad_cv._symbol import formula
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host, set_kernels
from tinygrad_cv.backend.switch import INSTALL, has_numba
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
from tinygrad_cv.random import randn
from tinygrad_cv.storage import write
from tinygrad_cv.testing import GradientError, check_gradients
from tinygrad_cv.train import Checkpoint, DivergenceError, Trainer, convnet, cosine, save_model
from tinygrad_cv.train.checkpoint import checkpoints, load_run, newest


class CommandError(Exception):
    """Ends the program with this sentence and this status."""

    def __init__(self, sentence: str, status: int = 2) -> None:
        super().__init__(sentence)
        self.status = status


class Parser(argparse.ArgumentParser):
    """A parser that says in one sentence what is wrong, without a page of usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        with suppress(OSError):  # nobody is there to read it
            super()._print_message(message, file)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command in `argv`, by default that of the process.

    Raises SystemExit with a status other than 0 if it fails.
    """
    parser = Parser(
        prog="tinygrad-cv",
        description="Automatic differentiation for computer vision, from the command line.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    _add_train(commands)
    _add_check(commands)
    _add_draw(commands)
    _add_ops(commands)
    _add_warm_up(commands)
    prog = parser.prog
    _open_streams()
    try:
        options = parser.parse_args(argv)
        options.said = {word.partition("=")[0] for word in (sys.argv[1:] if argv is None else argv)}
        if options.command is None:
            parser.exit(2, parser.format_help())
        prog = f"{parser.prog} {options.command}"
        options.run(options)
        sys.stdout.flush()
    except CommandError as error:
        _end(parser, error.status, f"{prog}: {error}")
    except BrokenPipeError:
        sys.exit(BROKEN_PIPE)
    except OSError as error:  # such as a full disk
        _end(parser, 1, f"{prog}: {error}")
    except MemoryError as error:
        _end(parser, 1, f"{prog}: there is not enough memory: {error}")
    except KeyboardInterrupt:
        parser.exit(130, f"{prog}: interrupted; no file is left half-written.\n")
    finally:
        try:
            sys.stdout.flush()
        except OSError:  # the interpreter must not try again, and complain, as it ends
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(parser: Parser, status: int, sentence: str) -> NoReturn:
    """End the program, and with it the other ranks."""
    distributed.abort(sentence, status)
    parser.exit(status, f"{sentence}\n")


BROKEN_PIPE = 128 + 13  # the status of a program that the signal SIGPIPE has ended


def _open_streams() -> None:
    """Make the standard streams take all that is written to them.

    One that is closed becomes the null device, lest the next file that is opened is taken for it.
    What the encoding of the other end lacks is written as in Python: \\xb7 for a middle dot.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


# ----- arguments ---------------------------------------------------------------------------------


MOST = 1_000_000_000


def integer(least: int, most: float = MOST) -> Callable[[str], int]:
    """The argument type of whole numbers from `least` to `most`."""

    def convert(text: str) -> int:
        with suppress(ValueError):
            if least <= (number := int(text)) <= most:
                return number
            if number > most:
                raise argparse.ArgumentTypeError(
                    f"expected a whole number of at most {most:,}, given {short(text)}."
                )
        raise argparse.ArgumentTypeError(
            f"expected a whole number of at least {least}, given {short(text)}."
        )

    return convert


def positive(text: str) -> float:
    """The argument type of numbers above 0."""
    with suppress(ValueError):
        if 0 < (number := float(text)) < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"expected a number above 0, given {short(text)}.")


def seconds(text: str) -> float:
    """The argument type of times."""
    with suppress(ValueError):
        if 0 <= (number := float(text)) < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"expected a number, 0 or more, given {short(text)}.")


def finite(text: str) -> float:
    """The argument type of numbers that are neither NaN nor infinite."""
    with suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    raise argparse.ArgumentTypeError(f"expected a finite number, given {short(text)}.")


def given(text: str) -> str:
    """The argument type of names: an empty one, as of a variable that is not set, is none."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name, given ''.")
    return text


def path(text: str) -> Path:
    """The argument type of paths."""
    return Path(given(text))


# ----- train -------------------------------------------------------------------------------------

METRICS, MODEL = "metrics.json", "model.safetensors"
CURVES, GRAPH, PAGE = "curves.svg", "graph.svg", "training.html"
CHECKPOINTS = "checkpoints"  # a folder, there as long as the run is not finished


def _add_train(commands: Any) -> None:
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

    columns = {key: [record[key] for record in history] for key in history[0]}
    pictures: dict[str, Callable[[Path], object]] = {
        CURVES: lambda path: viz.curves(columns, path),
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


# ----- check -------------------------------------------------------------------------------------


AXES = 64  # what a NumPy array can have


def shape(text: str) -> tuple[int, ...]:
    """The argument type of shapes: "2,3", or "" for a number."""
    with suppress(ValueError):
        lengths = tuple(int(part) for part in text.split(",") if part.strip())
        if (
            min(lengths, default=0) >= 0
            and len(lengths) <= AXES
            and max(lengths, default=0) <= MOST
        ):
            return lengths
    raise argparse.ArgumentTypeError(
        f"expected at most {AXES} lengths of at most {MOST:,}, such as 2,3; given {short(text)}."
    )


def _add_check(commands: Any) -> None:
    parser = commands.add_parser(
        "check",
        help="check the gradients of an op or a function in a file",
        description=(
            "Hold the gradients of an op, or of a function of tensors, against finite differences "
            "on random inputs, and print the report. The status is 1 if a gradient is wrong. The "
            "file is run as a Python program."
        ),
        allow_abbrev=False,
    )
    parser.add_argument("target", metavar="PATH::NAME", help="such as my_ops.py::Swish")
    parser.add_argument(
        "--input",
        type=shape,
        action="append",
        metavar="SHAPE",
        help="the shape of an input, such as 2,3; once for each input (default: 2,3 each)",
    )
    parser.add_argument("--low", type=finite, default=-2.0, help="least input (%(default)s)")
    parser.add_argument("--high", type=finite, default=2.0, help="largest input (%(default)s)")
    # The time grows exponentially with the order.
    parser.add_argument("--order", type=integer(1, 9), default=2, help="orders (%(default)s)")
    parser.add_argument(
        "--seed", type=integer(0, math.inf), default=0, help="of the inputs (%(default)s)"
    )
    parser.set_defaults(run=check)


def check(options: argparse.Namespace) -> None:
    """Check one op and print the report."""
    if not 0 <= options.high - options.low < math.inf:
        raise CommandError(
            f"arguments --low and --high: expected a range of numbers, given {options.low:g} to "
            f"{options.high:g}."
        )
    target = _load(options.target, Op)
    shapes = options.input
    try:
        if isinstance(target, type) and issubclass(target, Op):
            names = list(target.inputs) + [target.inputs[-1]] * target.variadic
            call: Callable[..., Any] = function(target)
        else:
            names, call = _required(target), target
        shapes = shapes or [(2, 3)] * len(names)
        names = [names[i] if i < len(names) else f"input {i}" for i in range(len(shapes))]
        rng = host.random.default_rng(options.seed)
        inputs = [rng.uniform(options.low, options.high, lengths) for lengths in shapes]
        report = check_gradients(call, inputs, options.order, names=names, seed=options.seed)
    except GradientError as error:
        raise CommandError(f"{options.target}: {error}", status=1) from error
    except (Exception, SystemExit) as error:  # whatever the user's function raises
        listed = f" on inputs of the shapes {', '.join(map(str, shapes))}" if shapes else ""
        raise CommandError(f"{options.target} does not run{listed}: {_told(error)}") from error
    print(f"{options.target}: right to order {options.order}, on inputs of the shapes {shapes}")
    print(report.table())


def _told(error: BaseException) -> str:
    """The message of an error, with its kind where that says more."""
    plain = isinstance(error, TypeError | ValueError | RuntimeError) and str(error)
    return str(error) if plain else f"{type(error).__name__}({error})"


def _required(function: Callable[..., Any]) -> list[str]:
    """The names of the arguments that a function must be given."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]


def _load(target: str, kind: type) -> Any:
    """What PATH::NAME stands for: a function, or a class of this kind."""
    noun = kind.__name__.lower()
    path_text, separator, name = target.rpartition("::")
    path = Path(path_text)
    if not separator or not path.is_file():
        raise CommandError(
            f"{target}: expected PATH::NAME, a Python file and the name of one {noun} or function "
            f"in it; {'there is no such file' if separator else 'there is no ::'}."
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise CommandError(f"{path}: is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise CommandError(f"{path}: running it failed with {error!r}.", status=1) from error
    found = getattr(module, name, None)
    if not callable(found):
        choices = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, kind) and value.__module__ == spec.name
        ]
        raise CommandError(
            f"{path}: has no {noun} or function {name!r}; its {noun}s are "
            f"{', '.join(choices) or 'none'}."
        )
    return found


# ----- draw --------------------------------------------------------------------------------------


def _add_draw(commands: Any) -> None:
    parser = commands.add_parser(
        "draw",
        help="draw the graph of a model in a file, forward and backward",
        description=(
            "Draw the graph of a model, or of a function of tensors, on random inputs. NAME is a "
            "Module class or a function that makes a model, called without arguments; or a "
            "function of tensors. The suffix of OUT says what is made: .html is an interactive "
            "page, .svg, .png and .pdf are pictures, .dot and .json are text. Without --out a "
            "table of the layers is printed. The file is run as a Python program."
        ),
        allow_abbrev=False,
    )
    parser.add_argument("target", metavar="PATH::NAME", help="such as models.py::make_model")
    parser.add_argument(
        "--input",
        type=shape,
        action="append",
        required=True,
        metavar="SHAPE",
        help="the shape of an input, such as 1,3,32,32; once for each input",
    )
    parser.add_argument("--out", type=path, metavar="OUT", help="such as graph.html")
    parser.add_argument("--depth", type=integer(1), metavar="N", help="fold modules below level N")
    parser.add_argument(
        "--forward-only", action="store_true", help="leave the backward graph out of a picture"
    )
    parser.add_argument(
        "--health",
        action="store_true",
        help="run the backward pass, from ones, and show values and gradients",
    )
    parser.set_defaults(run=draw)


def draw(options: argparse.Namespace) -> None:
    """Draw a model, or print the table of its layers."""
    from tinygrad_cv import viz

    target, inputs = _load(options.target, Module), options.input
    try:
        if not isinstance(target, Module) and not _required(target):
            target = target()
        if not isinstance(target, Module):  # the gradients of a function are those of its inputs
            rngs = map(host.random.default_rng, range(len(inputs)))
            inputs = [
                randn(*lengths, generator=rng, requires_grad=True)
                for lengths, rng in zip(inputs, rngs, strict=True)
            ]
        if options.out is None:
            table = viz.summary(target, *inputs, depth=options.depth)
        else:
            seen = viz.trace(target, *inputs, values=options.health, gradients=options.health)
    except (Exception, SystemExit) as error:  # whatever the user's program raises
        listed = ", ".join(map(str, options.input))
        raise CommandError(
            f"{options.target} does not run on inputs of the shapes {listed}: {_told(error)}",
            status=1,
        ) from error
    if options.out is None:
        print(table)
        return
    try:
        drawing = viz.draw(seen, backward=not options.forward_only, depth=options.depth)
        drawing.save(options.out)
    except (ModuleNotFoundError, RuntimeError, TimeoutError) as error:
        raise CommandError(str(error), status=1) from error
    except (ValueError, FileNotFoundError) as error:
        raise CommandError(f"argument --out: {error}") from error
    print(f"{options.out}: {len(seen.nodes)} nodes, {len(seen.modules)} module calls")


# ----- ops ---------------------------------------------------------------------------------------


def _add_ops(commands: Any) -> None:
    parser = commands.add_parser(
        "ops",
        help="list the ops: the formula of each gradient rule, and what it saves",
        description=(
            "List every op with its gradient rules. g is the gradient of the output, y the output. "
            "What a rule saves stays in memory until the backward pass. The orders are those that "
            "the tests hold against finite differences."
        ),
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="these ops only (default: all)")
    parser.set_defaults(run=ops)


def ops(options: argparse.Namespace) -> None:
    """Print the table of ops."""
    ours = {k: op for k, op in sorted(REGISTRY.items()) if op.__module__.startswith("tinygrad_cv.")}
    unknown = [name for name in options.names if name not in ours]
    if unknown:
        close = [close for name in unknown for close in get_close_matches(name, ours)]
        raise CommandError(
            f"no op is named {', '.join(unknown)}; "
            + (f"did you mean {', '.join(close)}?" if close else "run it without names for all.")
        )
    rows = [("op", "input", "orders", "saves", "gradient")]
    for name in options.names or ours:
        rows += _rules(ours[name])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0  # the formulas are as long as they like
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _rules(op: type[Op]) -> Iterator[tuple[str, str, str, str, str]]:
    """The rows of one op."""
    if not op.rules:
        yield (op.name, "", "-", "-", "(none flows through it)")
    try:
        formulas = formula(op, attributes=False)
    except ValueError:  # a part of g for each input, and it takes shapes to say which
        formulas = dict.fromkeys(op.rules, "(as the shapes have it)")
    for i, (name, rule) in enumerate(op.rules.items()):
        key = f"{name}[0]" if f"{name}[0]" in formulas else name
        saves = ", ".join(dict.fromkeys(rule.asks)) or "-"
        orders = ", ".join(map(str, range(1, op.orders + 1)))
        yield ("" if i else op.name, key, "" if i else orders, saves, formulas[key])


# ----- warm-up -----------------------------------------------------------------------------------


def _add_warm_up(commands: Any) -> None:
    parser = commands.add_parser(
        "warm-up",
        help="compile the kernels for this CPU now, and not on their first use",
        description=(
            "Compile all kernels for this CPU. They are kept in the user's cache folder, and take "
            "no time again until the package, numba or the CPU is another."
        ),
        allow_abbrev=False,
    )
    parser.set_defaults(run=warm_up)


def warm_up(options: argparse.Namespace) -> None:
    """Run a small network for each family of kernels."""
    if not has_numba():
        raise CommandError(f"kernels are compiled by numba, which is missing; {INSTALL}.", status=1)
    from tinygrad_cv._warm_up import FAMILIES
    from tinygrad_cv.backend.compiled import jit

    jit.WAITING.said = True  # whoever gives this command knows
    set_kernels("compiled")
    started = time.perf_counter()
    terminal = sys.stdout.isatty()
    for number, (name, run) in enumerate(FAMILIES.items(), 1):
        if terminal:
            print(f"\r\x1b[Kcompiling {number} of {len(FAMILIES)}: {name}", end="", flush=True)
        run()
    ready = sum(len(kernel.signatures) for kernel in jit.KERNELS)
    new = sum(kernel.stats.cache_misses.total() for kernel in jit.KERNELS)
    folder = jit.usable_folder()
    print(
        f"{chr(13) + chr(27) + '[K' if terminal else ''}{ready} compiled kernels, {new} of them "
        f"new, in {time.perf_counter() - started:.1f} s"
        + (f"; they are kept in {folder}" if folder else "")
    )
    if folder is None:
        raise CommandError(
            "they are not kept: there is no cache folder that this user alone can write to.",
            status=1,
        )
