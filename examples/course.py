"""What the labs share: their options, the rows that set our numbers beside the deck's, pictures,
the images they train on, and the two-layer net and the trainer of the decks.
"""

import argparse
import ast
import io
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import data, optim
from tinygrad_cv.viz.plots import saved

OPTIONS = "TINYGRAD_CV_LAB"
"""The variable with the options of a lab that runs as a notebook, which has no command line."""

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("[0-9][0-9]_*.py"))
"""The labs."""


def title(name: str) -> str:
    """What a lab is about: the first line of its file.

    >>> from tinygrad_cv.examples.course import title
    >>> title("05_initialization")
    'Initialization: ...'
    """
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0].rstrip(".")


class Lab:
    """One run of a lab, with its options and what it measured.

    - `data` is the folder or file given by --data, or None: the lab runs on what is embedded;
    - `out` is the folder for the pictures, by default labs/;
    - `seed` is the seed of the run, 0 by default, which is that of `manual_seed` too;
    - `quick` says to make a short run, of a few seconds;
    - `numbers` are those measured so far, by their names.

    >>> from tinygrad_cv.examples.course import Lab
    >>> lab = Lab("05_initialization", ["--seed", "7"])
    05_initialization. ...
    >>> lab.compare("std of layer 1", 0.2135, deck=0.213081, expected=(0.2029, 0.2242))
    std of layer 1                                      0.2135   deck 0.213081
    >>> lab.compare("dead units", [0, 3], expected=(0, 0))
    dead units [1]                                           0
    dead units [2]                                           3                    OFF: expected 0
    >>> lab.numbers
    {'std of layer 1': 0.2135, 'dead units [1]': 0.0, 'dead units [2]': 3.0}
    >>> lab.end()
    Traceback (most recent call last):
    SystemExit: 05_initialization: 1 of 3 numbers is off: dead units [2].
    """

    def __init__(self, name: str, argv: Sequence[str] | None = None) -> None:
        parser = argparse.ArgumentParser(prog=name, description=title(name), allow_abbrev=False)
        parser.add_argument(
            "--data", type=Path, metavar="PATH", help="real data in place of what is embedded"
        )
        parser.add_argument(
            "--out", type=Path, default=Path("labs"), metavar="DIR", help="where pictures go"
        )
        parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
        parser.add_argument("--quick", action="store_true", help="a short run")
        in_notebook = _in_notebook()
        if argv is None:
            argv = shlex.split(os.environ.get(OPTIONS, "")) if in_notebook else sys.argv[1:]
        options = parser.parse_args(argv)
        self.name, self.in_notebook = name, in_notebook
        self.data: Path | None = options.data
        self.out: Path = options.out
        self.seed: int = options.seed
        self.quick: bool = options.quick
        self.numbers: dict[str, float] = {}
        self._off: list[str] = []
        self._started = time.perf_counter()
        if self.data is not None and not self.data.exists():
            parser.error(f"argument --data: there is no {self.data}.")
        tg.manual_seed(self.seed)
        print(f"{name}. {title(name)}")

    def compare(
        self,
        what: str,
        ours: Any,
        deck: Any = None,
        expected: tuple[Any, Any] | None = None,
    ) -> None:
        """Print our number beside the deck's, and keep it.

        `expected` is the least and the greatest that it should be, from theory or from many seeds:
        the deck's digits follow from a seed that nobody knows. Of a sequence each number has a row,
        and `deck` and the bounds may be sequences too. What is out of bounds is told, here and at
        the end.
        """
        if _several(ours):
            for k, each in enumerate(ours):
                parts = None if expected is None else (_of(expected[0], k), _of(expected[1], k))
                self.compare(f"{what} [{k + 1}]", each, _of(deck, k), parts)
            return
        value = float(ours)
        self.numbers[what] = value
        row = f"{what:<44}{_digits(value):>14}"
        beside = "" if deck is None else f"   deck {deck}"
        told = ""
        if expected is not None:
            low, high = map(float, expected)
            if not low <= value <= high:  # also where it is NaN
                self._off.append(what)
                bounds = _digits(low) if low == high else f"{_digits(low)} to {_digits(high)}"
                told = f"   OFF: expected {bounds}"
        print(f"{row}{beside:<18}{told}".rstrip())

    def note(self, sentence: str) -> None:
        """Print a sentence that belongs to the numbers."""
        print(f"  {sentence}")

    def picture(self, drawn: Any, name: str = "", kind: str = "svg") -> Path:
        """Save a picture, which a notebook also shows.

        `drawn` is a matplotlib Figure or what `viz.draw`, `viz.watch` or `viz.playback` gives. The
        file is OUT/<lab>_<name>.<kind>.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / f"{self.name}{f'_{name}' if name else ''}.{kind}"
        if hasattr(drawn, "savefig"):
            saved(drawn, path)
        else:
            try:
                drawn.save(path)
            except RuntimeError as error:  # nothing here lays out graphs: it says what to install
                raise SystemExit(f"{self.name}: {error}") from error
        if self.in_notebook:
            from IPython.display import Image, display

            if hasattr(drawn, "savefig"):  # a Figure that was made without pyplot shows its name
                contents = io.BytesIO()
                drawn.savefig(contents, format="png", dpi=96)
                drawn = Image(contents.getvalue())
            display(drawn)
        print(f"  picture: {path}")
        return path

    def images(self) -> data.Splits:
        """Images with pixels from 0 to 255: CIFAR-10 in --data, or else the enlarged digits.

        The decks' learning rates assume that scale, with the mean image subtracted (of the training
        part, after the split).
        """
        splits = data.load_dataset("digits" if self.data is None else self.data)
        if self.data is None:
            return enlarged(splits)
        return replace(
            splits, train_images=splits.train_images * 255, test_images=splits.test_images * 255
        )

    def end(self) -> None:
        """Say how long it took, and end with status 1 if a number was off."""
        print(f"  {time.perf_counter() - self._started:.1f} s")
        if self._off:
            are = "is" if len(self._off) == 1 else "are"
            raise SystemExit(
                f"{self.name}: {len(self._off)} of {len(self.numbers)} numbers {are} off: "
                f"{', '.join(self._off)}."
            )


def _in_notebook() -> bool:
    """Whether a kernel of Jupyter runs this program; to have it imported is another thing."""
    found = sys.modules.get("IPython")
    return found is not None and hasattr(found.get_ipython(), "kernel")


def _of(values: Any, k: int) -> Any:
    """The k-th of some values, or the one that there is for all."""
    return values[k] if _several(values) else values


def _several(values: Any) -> bool:
    """Whether these are several numbers; an array or a Tensor may be one."""
    if isinstance(values, str):
        return False
    return isinstance(values, Sequence) or getattr(values, "ndim", 0) > 0


def _digits(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e12 else f"{value:.6g}"


def enlarged(splits: data.Splits) -> data.Splits:
    """Digits 1x8x8 in [0, 1] as images 3x32x32 in 0..255: each pixel four times four, thrice.

    Without their mean image, their rows have the length of CIFAR-10's, so that the decks' nets and
    learning rates fit.

    >>> from tinygrad_cv import data
    >>> from tinygrad_cv.examples.course import enlarged
    >>> images = enlarged(data.load_dataset("digits")).train_images
    >>> images.shape, images.max()
    ((1433, 3, 32, 32), np.float32(255.0))
    """

    def large(images: np.ndarray) -> np.ndarray:
        return np.repeat((255 * images).repeat(4, axis=2).repeat(4, axis=3), 3, axis=1)

    return replace(
        splits,
        train_images=large(splits.train_images),
        test_images=large(splits.test_images),
    )


# ----- the net and the trainer of the decks ------------------------------------------------------

Model = dict[str, tg.Tensor]


def init_two_layer_model(
    input_size: int,
    hidden_size: int,
    output_size: int,
    scale: float = 1e-4,
    generator: np.random.Generator | None = None,
) -> Model:
    """The weights of the decks: `scale` · randn, and biases 0.

    >>> from tinygrad_cv.examples.course import init_two_layer_model
    >>> {name: w.shape for name, w in init_two_layer_model(3072, 50, 10).items()}
    {'W1': (3072, 50), 'b1': (50,), 'W2': (50, 10), 'b2': (10,)}
    """
    model = {
        "W1": scale * tg.randn(input_size, hidden_size, generator=generator),
        "b1": tg.zeros(hidden_size),
        "W2": scale * tg.randn(hidden_size, output_size, generator=generator),
        "b2": tg.zeros(output_size),
    }
    return {name: weights.requires_grad_() for name, weights in model.items()}


def two_layer_net(X: Any, model: Model, y: Any = None, reg: float = 0.0) -> tg.Tensor:
    """relu(X W1 + b1) W2 + b2: the scores, or with labels y the loss.

    That is the cross-entropy + ½ · reg · (ΣW1² + ΣW2²): with the ½ and without the biases the
    decks' printed costs come out.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.examples.course import init_two_layer_model, two_layer_net
    >>> model = init_two_layer_model(3072, 50, 10, generator=tg.manual_seed(0))
    >>> round(two_layer_net(tg.randn(100, 3072), model, tg.randint(10, (100,))).item(), 3)
    2.303
    """
    scores = tg.relu(X @ model["W1"] + model["b1"]) @ model["W2"] + model["b2"]
    if y is None:
        return scores
    loss = tg.cross_entropy(scores, y)
    if reg:
        loss = loss + 0.5 * reg * ((model["W1"] ** 2).sum() + (model["W2"] ** 2).sum())
    return loss


def accuracy(X: tg.Tensor, y: tg.Tensor, model: Model, net: Callable[..., tg.Tensor]) -> float:
    """The share of the rows whose label has the highest score."""
    with tg.no_grad():
        return float((net(X, model).argmax(dim=1) == y).float().mean())


class ClassifierTrainer:
    """The trainer of the decks: batches drawn with replacement, and a line for each epoch.

    The cost that it prints is that of the last batch, with the regularization, and the accuracies
    are those after the epoch, that of the training set of 1,000 of its rows.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.examples.course import ClassifierTrainer, init_two_layer_model
    >>> from tinygrad_cv.examples.course import two_layer_net
    >>> generator = tg.manual_seed(0)
    >>> X, y = 60 * tg.randn(20, 3072), tg.randint(10, (20,))
    >>> model = init_two_layer_model(3072, 50, 10)
    >>> _, stats = ClassifierTrainer().train(
    ...     X, y, X, y, model, two_layer_net, num_epochs=2, sample_batches=False, verbose=True
    ... )
    Finished epoch 1 / 2: cost 2.302..., train: ..., val ..., lr 1.000000e-03
    Finished epoch 2 / 2: cost 2.30..., train: ..., val ..., lr 1.000000e-03
    >>> list(stats)
    ['loss_history', 'train_acc_history', 'val_acc_history']
    """

    def train(
        self,
        X: Any,
        y: Any,
        X_val: Any,
        y_val: Any,
        model: Model,
        net: Callable[..., tg.Tensor] = two_layer_net,
        num_epochs: int = 10,
        reg: float = 0.0,
        learning_rate: float = 1e-3,
        learning_rate_decay: float = 1.0,
        momentum: float = 0.0,
        batch_size: int = 100,
        sample_batches: bool = True,
        verbose: bool = False,
        generator: np.random.Generator | None = None,
        stop: Callable[[float], bool] | None = None,
    ) -> tuple[Model, dict[str, list[float]]]:
        """Train, and return the best model (on validation) and what was seen.

        Without `sample_batches` each step takes all rows. `stop` sees the cost of each step, and
        ends the training by True.
        """
        X, y, X_val, y_val = (tg.tensor(part) for part in (X, y, X_val, y_val))
        rng = np.random.default_rng(0) if generator is None else generator
        # The deck's v = mu v - lr dx holds the learning rate, PyTorch's does not.
        optimizer = optim.SGD(
            list(model.values()), learning_rate, momentum, velocity_holds_lr=momentum > 0
        )
        steps = max(1, len(X) // batch_size) if sample_batches else 1
        stats: dict[str, list[float]] = {
            "loss_history": [],
            "train_acc_history": [],
            "val_acc_history": [],
        }
        best, best_model, stopped = -1.0, model, False
        for epoch in range(num_epochs):
            for _ in range(steps):
                rows = rng.integers(len(X), size=batch_size) if sample_batches else slice(None)
                optimizer.zero_grad()
                loss = net(X[rows], model, y[rows], reg)
                loss.backward()
                optimizer.step()
                cost = loss.item()
                stats["loss_history"].append(cost)
                if stopped := stop is not None and stop(cost):
                    break
            seen = rng.permutation(len(X))[:1000]
            train_acc = accuracy(X[seen], y[seen], model, net)
            val_acc = accuracy(X_val, y_val, model, net)
            stats["train_acc_history"].append(train_acc)
            stats["val_acc_history"].append(val_acc)
            if val_acc > best:
                best = val_acc
                best_model = {name: w.detach().clone() for name, w in model.items()}
            if verbose:
                rate = optimizer.param_groups[0]["lr"]
                print(
                    f"Finished epoch {epoch + 1} / {num_epochs}: cost {cost:.6f}, train: "
                    f"{train_acc:.6f}, val {val_acc:.6f}, lr {rate:.6e}"
                )
            if stopped:
                break
            optimizer.param_groups[0]["lr"] *= learning_rate_decay
        return best_model, stats
