"""The decks' two-layer net, 50 hidden units, searched from coarse to fine and then trained on.

    python examples/cifar_two_layer.py --data DIR

DIR has CIFAR-10 (cifar-10-batches-bin, as it is distributed); without it the net learns the digits
of the package, enlarged to 3x32x32. The steps are those of the slides "coarse search for 5 epochs",
"adjust range" and "now run finer search": learning rate and regularization are drawn in log space,
batches of 100 with replacement, momentum 0. The search goes on from its files in --out if it was
stopped.

CIFAR-10, seed 0, --trials 12 --epochs 5 8 20: best of the coarse stage .497 (lr 4.46e-4, reg
.0019), of the fine one .519 (lr 3.45e-4, reg .054), trained on for 20 epochs .541 on the validation
set and .496 on the test set (the decks: .53). That took 1,616 s on two cores that did much else
besides.
"""

import argparse
import time
from functools import cache, partial
from pathlib import Path
from typing import Any

import tinygrad_cv as tg
from tinygrad_cv import data, viz
from tinygrad_cv.examples.course import (
    ClassifierTrainer,
    accuracy,
    enlarged,
    init_two_layer_model,
    two_layer_net,
)
from tinygrad_cv.train import search

HIDDEN = 50


@cache
def prepared(path: Path | None) -> dict[str, Any]:
    """Rows of 3,072 pixels, 0 to 255 without the mean image of the training part; split first."""
    splits = data.load_dataset("digits" if path is None else path)
    splits = enlarged(splits) if path is None else splits
    held = 1000 if path else 250
    generator = tg.Generator().manual_seed(0)
    order = generator.permutation(len(splits.train_labels))
    images = splits.train_images.reshape(len(order), -1) * (255 if path else 1)
    mean = images[order[held:]].mean(axis=0)
    images -= mean
    test = splits.test_images.reshape(len(splits.test_labels), -1) * (255 if path else 1) - mean
    return {
        "X": tg.tensor(images[order[held:]]),
        "y": tg.tensor(splits.train_labels[order[held:]]),
        "X_val": tg.tensor(images[order[:held]]),
        "y_val": tg.tensor(splits.train_labels[order[:held]]),
        "test": (tg.tensor(test), tg.tensor(splits.test_labels)),
    }


def trained(trial: Any, path: Path | None, epochs: int, verbose: bool = False) -> Any:
    """The best model of a training with the values of a trial, and its accuracies by epoch."""
    sets, generator = prepared(path), trial.generator()
    model = init_two_layer_model(3072, HIDDEN, 10, generator=generator)
    return ClassifierTrainer().train(
        *(sets[name] for name in ("X", "y", "X_val", "y_val")),
        model,
        two_layer_net,
        num_epochs=epochs,
        reg=trial["reg"],
        learning_rate=trial["lr"],
        learning_rate_decay=0.95,
        batch_size=100 if path else 25,
        verbose=verbose,
        generator=generator,
        stop=trial.is_hopeless,
    )


def objective(trial: search.Trial, path: Path | None, epochs: int) -> float:
    """The best accuracy on the validation set, and the early end of what is hopeless."""
    _, stats = trained(trial, path, epochs)
    return max(stats["val_acc_history"])


def main() -> None:
    parser = argparse.ArgumentParser(description="The two-layer net, from coarse to fine.")
    parser.add_argument("--data", type=Path, metavar="DIR", help="CIFAR-10; default: digits")
    parser.add_argument("--out", type=Path, default=Path("two_layer"), metavar="DIR")
    parser.add_argument("--trials", type=int, default=16, metavar="N", help="of each stage")
    parser.add_argument(
        "--epochs", type=int, nargs=3, default=[5, 10, 20], help="coarse, fine, and of the best"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes; default: one a core")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    coarse_epochs, fine_epochs, epochs = options.epochs
    began = time.perf_counter()

    space = {"lr": search.log_uniform(1e-6, 1e-3), "reg": search.log_uniform(1e-5, 1e5)}
    for stage, count, seed in (
        ("coarse", coarse_epochs, options.seed),
        ("fine", fine_epochs, options.seed + 1),
    ):
        result = search.random_search(
            partial(objective, path=options.data, epochs=count),
            space,
            options.trials,
            seed=seed,
            path=options.out / f"{stage}_{seed}.jsonl",
            max_workers=options.workers,
        )
        viz.search(result, options.out / f"{stage}.html")
        print(f"{stage}: {options.trials} trials of {count} epochs, seed {seed}")
        print(result, f"{time.perf_counter() - began:.0f} s", sep="\n")
        space = result.refine(by=3)
        print(f"narrowed to\n{space}\n")

    best = result.best
    print(f"trial {best.number} again, for {epochs} epochs:")
    again = partial(trained, path=options.data, epochs=epochs, verbose=True)
    model, stats = again(search.Trial.of(best))
    X, y = prepared(options.data)["test"]
    print(
        f"lr {best.params['lr']:.6e}, reg {best.params['reg']:.6e}, seed {best.seed}: validation "
        f"{max(stats['val_acc_history']):.3f}, test {accuracy(X, y, model, two_layer_net):.3f} in "
        f"{time.perf_counter() - began:.0f} s in all"
    )


if __name__ == "__main__":
    main()
