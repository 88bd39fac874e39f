"""The command `tinygrad-cv`: what it writes, what it says, and how it ends."""

import errno
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

import tinygrad_cv as tg
from tinygrad_cv import cli, models, nn
from tinygrad_cv.cli import main
from tinygrad_cv.data import load_dataset
from tinygrad_cv.models import resnet20
from tinygrad_cv.train import Trainer, convnet, load_model

pytestmark = pytest.mark.host  # the command chooses its device itself

FILES = {"metrics.json", "model.safetensors", "curves.svg", "graph.svg", "training.html"}
SMALL = ("--limit", "40", "--epochs", "2")
SVG = "{http://www.w3.org/2000/svg}"


def train(*arguments: object) -> None:
    main(["train", *map(str, arguments)])


def metrics(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return found


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that need none: to lay out a graph takes a while."""
    monkeypatch.setattr(cli.train, "_draw", lambda *_: [])


class Ended(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def ended(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """How `main` ends when it ends early."""

    def call(*arguments: object) -> Ended:
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments)])
        assert isinstance(stop.value.code, int)
        return Ended(stop.value.code, *capsys.readouterr())

    return call


def python(*arguments: object, cwd: Path) -> Ended:
    """How a process of its own ends."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    return Ended(done.returncode, done.stdout, done.stderr)


# ----- a run -------------------------------------------------------------------------------------


class Run(NamedTuple):
    out: Path
    said: Ended


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Four epochs on the digits, in a process of its own, with no --out."""
    folder = tmp_path_factory.mktemp("run")
    said = python("-m", "tinygrad_cv", "train", "--epochs", 4, "--seed", 3, cwd=folder)
    [out] = (folder / "runs").iterdir()
    return Run(out, said)


def test_a_run_says_just_how_it_went(run: Run) -> None:
    assert (run.said.status, run.said.err) == (0, "")
    samples, result, files = run.said.out.splitlines()
    assert samples == "digits samples: 1,290 to train, 143 to validate, 364 to test"
    found = metrics(run.out)
    validation = found["epochs"][-1]["val_accuracy"]
    assert result == (
        f"test accuracy {found['test_accuracy']:.2%}, validation accuracy {validation:.2%}, "
        f"epochs 4, {found['seconds']:.1f} s"
    )
    written = "metrics.json, model.safetensors, curves.svg, graph.svg, training.html"
    assert files == f"runs/{run.out.name}: {written}"


def test_a_run_without_out_is_named_after_the_time(run: Run) -> None:
    begun = time.mktime(time.strptime(run.out.name, "%Y-%m-%d_%H-%M-%S"))
    assert 0 <= run.out.stat().st_mtime - begun < 120


def test_a_run_learns(run: Run) -> None:
    found = metrics(run.out)
    losses = [record["loss"] for record in found["epochs"]]
    assert losses == sorted(losses, reverse=True)
    assert found["test_accuracy"] > 0.9
    assert found["epochs"][-1]["val_accuracy"] > 0.9


def test_a_run_leaves_these_files(run: Run) -> None:
    assert names(run.out) == FILES


def test_metrics_hold_the_history_and_how_it_came_about(run: Run) -> None:
    found = metrics(run.out)
    assert list(found) == ["dataset", "seed", "settings", "epochs", "test_accuracy", "seconds"]
    assert (found["dataset"], found["seed"]) == ("digits", 3)
    assert found["settings"] == {
        "image_size": None,
        "epochs": 4,
        "batch_size": 64,
        "lr": 0.03,
        "limit": None,
        "device": "cpu",
        "model": None,
        "augment": "shift",
        "accumulate": 1,
        "clip": None,
    }
    assert [list(record) for record in found["epochs"]] == (
        [["loss", "train_accuracy", "lr", "val_loss", "val_accuracy"]] * 4
    )
    assert 0 < found["seconds"] < 60
    for record in found["epochs"]:  # fractions of 1,290 and of 143 samples
        assert record["train_accuracy"] * 1290 == pytest.approx(
            round(record["train_accuracy"] * 1290)
        )
        assert record["val_accuracy"] * 143 == pytest.approx(round(record["val_accuracy"] * 143))


def test_the_saved_model_has_the_accuracy_that_was_measured(run: Run) -> None:
    model = convnet((1, 8, 8), 10)
    load_model(model, run.out / "model.safetensors")
    digits = load_dataset("digits")
    scores = model.eval()(tg.tensor(digits.test_images)).detach().numpy()
    right = np.argmax(scores, axis=1) == digits.test_labels
    assert metrics(run.out)["test_accuracy"] == right.sum() / 364


def test_the_pictures_show_the_run(run: Run) -> None:
    for name, words in (
        ("curves.svg", ()),
        (
            "graph.svg",
            ("images", "labels", "0 Conv2d", "1 BatchNorm2d", "17 Linear 10", "cross_entropy"),
        ),
    ):
        root = ET.parse(run.out / name).getroot()
        assert root.tag == f"{SVG}svg"
        assert len(list(root.iter(f"{SVG}path"))) > 10
        text = " ".join("".join(element.itertext()) for element in root.iter(f"{SVG}text"))
        for word in words:
            assert word in text


def test_the_page_has_a_slider_over_the_training(run: Run) -> None:
    text = (run.out / "training.html").read_text(encoding="utf-8")
    [data] = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    told = json.loads(data)
    numbers = [step["number"] for step in told["steps"]["told"]]
    assert numbers
    assert numbers == [100 * i for i in range(len(numbers))]
    trace = told["trace"]
    assert {"0.weight", "17.bias"} <= {node["name"] for node in trace["nodes"]}


# ----- the same again ----------------------------------------------------------------------------


def outcome(out: Path, seed: int, *arguments: object) -> tuple[dict[str, Any], bytes]:
    train("--out", out, "--seed", seed, *SMALL, *arguments)
    found = metrics(out)
    del found["seconds"]
    return found, (out / "model.safetensors").read_bytes()


@pytest.mark.usefixtures("no_pictures")
def test_the_same_seed_gives_the_same_metrics_and_model(tmp_path: Path) -> None:
    first = outcome(tmp_path / "a", 7)
    tg.manual_seed(5)
    np.random.seed(5)  # a run must not depend on either
    assert outcome(tmp_path / "b", 7) == first


@pytest.mark.usefixtures("no_pictures")
def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    (first, model), (second, other) = (outcome(tmp_path / str(seed), seed) for seed in (7, 8))
    assert first["epochs"] != second["epochs"]
    assert model != other


def test_another_process_gives_the_same_metrics_and_model(run: Run, tmp_path: Path) -> None:
    train("--out", tmp_path, "--epochs", 4, "--seed", 3)
    first, second = metrics(run.out), metrics(tmp_path)
    del first["seconds"], second["seconds"]
    assert first == second
    for name in FILES - {"metrics.json"}:
        assert (tmp_path / name).read_bytes() == (run.out / name).read_bytes()


# ----- options -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("limit", "training", "validation"),
    [(2, 1, 1), (19, 18, 1), (40, 36, 4), (1433, 1290, 143), (5000, 1290, 143)],
)
def test_limit_is_the_most_that_trains_and_validates(
    limit: int,
    training: int,
    validation: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    met: dict[str, Any] = {}

    def fit(
        self: Trainer, train_loader: Any, val_loader: Any, epochs: int, **options: Any
    ) -> list[Any]:
        met["training"], met["validation"] = train_loader.dataset, val_loader.dataset
        return [{"loss": 0.0, "train_accuracy": 0.0, "val_accuracy": 0.0}]

    monkeypatch.setattr(Trainer, "fit", fit)
    train("--out", tmp_path, "--limit", limit)
    assert (len(met["training"]), len(met["validation"])) == (training, validation)
    assert f"samples: {training:,} to train, {validation:,} to" in capsys.readouterr().out
    parts = [images for part in met.values() for images in part[:][0]]
    given = {image.tobytes() for image in load_dataset("digits").train_images}
    assert len({image.tobytes() for image in parts}) == len(parts)  # no sample is in both
    assert {image.tobytes() for image in parts} <= given  # and none is of the test


@pytest.mark.usefixtures("no_pictures")
def test_settings_reach_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    rates: list[float] = []
    shift, step = cli.train.random_shift, cli.train.SGD.step

    def spy_shift(images: Any, pixels: int, generator: Any) -> Any:
        assert pixels == 1
        sizes.append(len(images))
        return shift(images, pixels, generator)

    def spy_step(self: Any) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self)

    monkeypatch.setattr(cli.train, "random_shift", spy_shift)
    monkeypatch.setattr(cli.train.SGD, "step", spy_step)
    train("--out", tmp_path, "--limit", 40, "--epochs", 3, "--batch-size", 10, "--lr", 0.2)
    # 36 samples train in each epoch. Those that validate and test are never shifted.
    assert sizes == [10, 10, 10, 6] * 3
    assert rates == pytest.approx([0.1 * (1 + np.cos(np.pi * i / 12)) for i in range(12)])


def write_mnist(folder: Path, shape: tuple[int, int] = (9, 8), training: int = 20) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for part, count in (("train", training), ("t10k", 5)):
        images = rng.integers(256, size=(count, *shape), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        header = struct.pack(">4B3I", 0, 0, 8, 3, count, *shape)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">4BI", 0, 0, 8, 1, count)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


def write_cifar10(folder: Path) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        records = rng.integers(256, size=(4, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (folder / name).write_bytes(records.tobytes())


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("write", "said", "shape"),
    [
        (write_mnist, "MNIST samples: 18 to train, 2 to validate, 5 to test", (1, 9, 8)),
        (write_cifar10, "CIFAR-10 samples: 18 to train, 2 to validate, 4 to test", (3, 32, 32)),
    ],
)
def test_other_datasets(
    write: Callable[[Path], None],
    said: str,
    shape: tuple[int, int, int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "data")
    train("--dataset", tmp_path / "data", "--out", tmp_path / "out", "--epochs", 1)
    assert capsys.readouterr().out.splitlines()[0] == said
    load_model(convnet(shape, 10), tmp_path / "out" / "model.safetensors")


@pytest.mark.usefixtures("no_pictures")
def test_a_terminal_sees_the_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    train("--out", tmp_path, *SMALL)
    last = terminal.getvalue().split("\r")[-1]
    for word in ("epoch 2/2", "100%", "loss ", "train ", "val "):
        assert word in last


# ----- stopped, and gone on with -----------------------------------------------------------------

LONG = ("--limit", "40", "--batch-size", "8", "--epochs", "12", "--seed", "5")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed."""
    out = tmp_path_factory.mktemp("stopped") / "out"
    options = ["--out", out, *LONG, "--checkpoint-every", "0"]
    command = [sys.executable, "-m", "tinygrad_cv", "train", *map(str, options)]
    with subprocess.Popen(command, stdout=-1, stderr=-1) as process:
        deadline = time.monotonic() + 60
        while not [*out.glob("checkpoints/step_00000000[6-9]*")] and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    return out


@pytest.mark.skipif(os.name != "posix", reason="there is no kill -9")
@pytest.mark.usefixtures("no_pictures")
def test_a_run_that_was_killed_goes_on_to_the_same_files(
    stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ended: Callable[..., Ended]
) -> None:
    shutil.copytree(stopped, tmp_path / "out")
    assert names(tmp_path / "out") == {"checkpoints"}
    status, _, err = ended("train", "--out", tmp_path / "out", *LONG)
    assert (status, err.count("\n")) == (2, 1)
    assert f"has a run that was stopped: go on with --resume {tmp_path / 'out'}" in err
    status, _, err = ended("train", "--resume", tmp_path / "out", "--lr", 0.5)
    assert (status, err.count("\n")) == (2, 1)
    assert f"argument --lr: the run in {tmp_path / 'out'} has 0.03, given 0.5; leave it out" in err
    train("--resume", tmp_path / "out", "--seed", 5)
    assert names(tmp_path / "out") == {"metrics.json", "model.safetensors"}
    train("--out", tmp_path / "whole", *LONG)
    one, other = metrics(tmp_path / "out"), metrics(tmp_path / "whole")
    del one["seconds"], other["seconds"]
    assert one == other
    model = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert model == (tmp_path / "whole" / "model.safetensors").read_bytes()
    capsys.readouterr()
    train("--resume", tmp_path / "out")
    assert capsys.readouterr().out == (
        f"{tmp_path / 'out'}: the run is finished; there is nothing to resume.\n"
    )


@pytest.mark.skipif(os.name != "posix", reason="there is no kill -9")
def test_a_damaged_checkpoint_is_told_in_one_sentence(
    stopped: Path, tmp_path: Path, ended: Callable[..., Ended]
) -> None:
    shutil.copytree(stopped, tmp_path / "out")
    checkpoint = max((tmp_path / "out" / "checkpoints").glob("step_*"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    status, out, err = ended("train", "--resume", tmp_path / "out")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"tinygrad-cv train: argument --resume: {checkpoint}: found no intact")


def test_where_there_is_nothing_to_go_on_with(tmp_path: Path, ended: Callable[..., Ended]) -> None:
    for arguments, told in (
        ([tmp_path], f"argument --resume: {tmp_path}: found no checkpoints of a run that was"),
        ([tmp_path / "no"], f"argument --resume: {tmp_path / 'no'}: found no checkpoints"),
        ([tmp_path, "--out", "x"], "arguments --resume and --out: the run goes on in its own"),
    ):
        status, out, err = ended("train", "--resume", *arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert err.startswith(f"tinygrad-cv train: {told}")
    assert names(tmp_path) == set()


@pytest.mark.usefixtures("no_pictures")
def test_ctrl_c_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: Callable[..., Ended]
) -> None:
    step = Trainer._step

    def interrupted(self: Trainer, group: Any) -> bool:
        if self.step == 3:
            raise KeyboardInterrupt
        return step(self, group)

    monkeypatch.setattr(Trainer, "_step", interrupted)
    out = tmp_path / "out"
    said = ended("train", "--out", out, *LONG, "--checkpoint-every", 0)
    assert said == (130, "", f"tinygrad-cv train: interrupted; go on with --resume {out}.\n")


@pytest.mark.usefixtures("no_pictures")
def test_more_options_reach_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ended: Callable[..., Ended]
) -> None:
    write_cifar10(tmp_path / "data")
    options = ["--model", "resnet20", "--augment", "flip", "--accumulate", 2, "--clip", 0.5]
    train("--dataset", tmp_path / "data", "--out", tmp_path / "out", "--epochs", 1, *options)
    settings = metrics(tmp_path / "out")["settings"]
    assert [settings[name] for name in ("model", "augment", "accumulate", "clip")] == options[1::2]
    load_model(resnet20(num_classes=10), tmp_path / "out" / "model.safetensors")
    capsys.readouterr()
    for name, told in (("unet", r"\(1, 8, 8\): this UNet takes"), ("resnet7", "resnet7")):
        status, out, err = ended("train", "--model", name, "--out", tmp_path / "no")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert re.search(f"argument --model: {name} .*{told}", err)


def test_models_that_classify_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the scores that some give from their middle; others that some give are no classes."""
    model, channels = cli.train._known_model("googlenet", (1, 32, 32), 3, np.random.default_rng(0))
    assert (model.training, channels) == (True, 3)
    assert model(tg.zeros(2, 3, 32, 32)).shape == (2, 3)
    monkeypatch.setattr(models, "get_model", lambda name, **options: nn.Conv2d(3, 3, 1))
    with pytest.raises(cli.CommandError, match=r"\(1, 3, 16, 16\), and not a score for each of 3"):
        cli.train._known_model("net", (3, 16, 16), 3, np.random.default_rng(0))


@pytest.mark.usefixtures("no_pictures")
def test_a_folder_of_images_is_brought_to_a_size(
    tmp_path: Path, ended: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(12):
        path = tmp_path / "data" / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + k, 16), (k, 0, 0)).save(path)
    shapes, made = [], cli.train.convnet
    monkeypatch.setattr(
        cli.train, "convnet", lambda shape, *a, **k: shapes.append(shape) or made(shape, *a, **k)
    )
    options = "--epochs", 1, "--out", tmp_path / "out", "--image-size", 12
    train("--dataset", tmp_path / "data", *options)
    assert shapes == [(3, 12, 12)]
    assert metrics(tmp_path / "out")["settings"]["image_size"] == 12
    said = ended("train", *options)
    assert said.status == 2
    assert "--image-size: the images of digits are 8x8 and stay so" in said.err


@pytest.mark.usefixtures("no_pictures")
def test_a_model_for_colours_gets_grey_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, load = [], cli.train.load_dataset

    def few(*options: Any) -> Any:
        splits = load(*options)
        return replace(
            splits, test_images=splits.test_images[:2], test_labels=splits.test_labels[:2]
        )

    def evaluate(self: Trainer, loader: Any) -> float:
        seen.extend(images for images, _ in loader)
        return 0.0

    monkeypatch.setattr(cli.train, "load_dataset", few)
    monkeypatch.setattr(Trainer, "evaluate", evaluate)
    train("--model", "resnet20", "--limit", 10, "--epochs", 1, "--out", tmp_path)
    [images] = seen
    assert images.shape == (2, 3, 8, 8)
    assert images[:, 1].equal(images[:, 0])
    assert images[:, 2].equal(images[:, 0])


# ----- without the packages that draw ------------------------------------------------------------

BARE = """
import sys
sys.modules.update(dict.fromkeys({blocked!r}))  # to import one of them is a ModuleNotFoundError
from tinygrad_cv.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("blocked", "left_out"),
    [
        (["graphviz", "matplotlib"], ["curves.svg", "graph.svg"]),
        (["matplotlib"], ["curves.svg"]),
        (["graphviz"], ["graph.svg"]),
    ],
)
def test_a_run_goes_without_the_pictures(
    blocked: list[str],
    left_out: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without any of the packages from the start, or without one of them later."""
    for name in FILES:
        (tmp_path / name).write_text("of an earlier run")
    if len(blocked) == 2:
        code = BARE.format(blocked=blocked)
        said = python("-c", code, "train", "--out", ".", *SMALL, cwd=tmp_path)
    else:
        monkeypatch.setitem(sys.modules, blocked[0], None)
        train("--out", tmp_path, *SMALL)
        said = Ended(0, *capsys.readouterr())
    assert said.status == 0
    assert said.err == (
        f"left out {' and '.join(left_out)}; run pip install 'tinygrad_cv[viz]' for the packages "
        "that draw.\n"
    )
    assert names(tmp_path) == FILES - set(left_out)
    assert all(name not in said.out for name in left_out)
    assert len(metrics(tmp_path)["epochs"]) == 2


def test_a_picture_that_fails_does_not_take_the_run_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("dot failed with status 1: no memory.")

    monkeypatch.setattr("tinygrad_cv.viz.draw", fail)
    train("--out", tmp_path, *SMALL)
    said = capsys.readouterr()
    assert said.err == "left out graph.svg: dot failed with status 1: no memory.\n"
    assert said.out.endswith(": metrics.json, model.safetensors, curves.svg, training.html\n")
    assert names(tmp_path) == FILES - {"graph.svg"}


# ----- how it ends otherwise ---------------------------------------------------------------------


def test_version() -> None:
    said = python("-m", "tinygrad_cv", "--version", cwd=Path())
    assert said == (0, f"tinygrad-cv {tg.__version__}\n", "")


def test_no_command_shows_the_help(ended: Callable[..., Ended]) -> None:
    status, out, err = ended()
    assert (status, out) == (2, "")
    assert err.startswith("usage: tinygrad-cv")
    assert re.search(r"^ +train +\w", err, re.MULTILINE)


def test_help_names_every_option_and_its_default(ended: Callable[..., Ended]) -> None:
    status, out, err = ended("train", "--help")
    assert (status, err) == (0, "")
    for option in ("dataset PATH", "out DIR", "epochs N", "batch-size N", "lr RATE", "seed N"):
        assert f"--{option}" in out
    for default in ("runs/<time>", "60", "64", "0.03", "0", "all"):
        assert f"(default: {default})" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["fly"], "'fly'"),
        (["train", "--sed", "1"], "--sed 1"),
        (["train", "more"], "more"),
        (["train", "--epochs"], "argument --epochs: expected one argument"),
        (["train", "--epochs", "0"], "a whole number of at least 1, given '0'."),
        (["train", "--epochs", "1.5"], "a whole number of at least 1, given '1.5'."),
        (["train", "--batch-size", "-4"], "a whole number of at least 1, given '-4'."),
        (["train", "--limit", "1"], "a whole number of at least 2, given '1'."),
        (["train", "--seed", "-1"], "a whole number of at least 0, given '-1'."),
        (["train", "--seed", "one"], "a whole number of at least 0, given 'one'."),
        (["train", "--lr", "0"], "argument --lr: expected a number above 0, given '0'."),
        (["train", "--lr", "-1"], "a number above 0, given '-1'."),
        (["train", "--lr", "nan"], "a number above 0, given 'nan'."),
        (["train", "--lr", "inf"], "a number above 0, given 'inf'."),
        (["train", "--lr", "fast"], "a number above 0, given 'fast'."),
        (["train", "--dataset", "absent"], "argument --dataset: absent: found nothing by this"),
        (["train", "--dataset", "empty"], "argument --dataset: empty: found a folder with nothing"),
        (["train", "--dataset", "file"], "argument --dataset: file: found something that cannot"),
        (["train", "--dataset", "single"], "argument --dataset: single: found 1 training sample"),
        (["train", "--dataset", "tiny"], "argument --dataset: the ConvNet takes images of at"),
        (["train", "--out", "file"], "argument --out: file must be a folder to write in (File "),
        (["train", "--out", "file/run"], "argument --out: file/run must be a folder to write in"),
    ],
)
def test_bad_arguments_end_in_one_sentence(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ended: Callable[..., Ended],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("here first")
    write_mnist(tmp_path / "single", training=1)
    write_mnist(tmp_path / "tiny", shape=(3, 3))
    before = names(tmp_path)
    status, out, err = ended(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("tinygrad-cv")
    assert told in err
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert names(tmp_path) == before
    assert (tmp_path / "file").read_text() == "here first"


def test_a_process_with_bad_arguments_shows_no_traceback(tmp_path: Path) -> None:
    said = python("-m", "tinygrad_cv", "train", "--dataset", "absent", cwd=tmp_path)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("tinygrad-cv train: argument --dataset: absent: found nothing")
    assert said.err.count("\n") == 1
    assert names(tmp_path) == set()


def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: Callable[..., Ended]
) -> None:
    def denied(dir: Path) -> None:  # permissions do not stop every user who runs this test
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dir))

    monkeypatch.setattr(cli.train, "TemporaryFile", denied)
    status, _, err = ended("train", "--out", tmp_path)
    assert (status, err.count("\n")) == (2, 1)
    assert f"argument --out: {tmp_path} must be a folder to write in (Permission denied)." in err


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path, ended: Callable[..., Ended]) -> None:
    status, out, err = ended("train", "--out", tmp_path / "out", "--lr", "1e30", "--limit", "200")
    assert (status, out) == (1, "")
    assert re.fullmatch(
        r"tinygrad-cv train: the loss became (nan|inf) in epoch 1; try an --lr lower than "
        r"1e\+30\.\n",
        err,
    )
    assert names(tmp_path) == set()


def test_a_run_that_fails_leaves_an_earlier_one_alone(
    tmp_path: Path, ended: Callable[..., Ended]
) -> None:
    (tmp_path / "metrics.json").write_text("of an earlier run")
    assert ended("train", "--out", tmp_path, "--lr", "1e30", "--limit", "200").status == 1
    assert names(tmp_path) == {"metrics.json"}
    assert (tmp_path / "metrics.json").read_text() == "of an earlier run"


def test_a_full_disk_ends_the_run_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: Callable[..., Ended]
) -> None:
    def full(path: Path, contents: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("tinygrad_cv.train.checkpoint.write", full)
    status, out, err = ended("train", "--out", tmp_path / "out", *SMALL)
    assert (status, out) == (1, "")
    assert err.startswith("tinygrad-cv train: [Errno")
    assert os.strerror(errno.ENOSPC) in err
    assert err.count("\n") == 1
    assert names(tmp_path) == set()


INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever this process inherited
from tinygrad_cv import cli, models, nn
fit = cli.train._fit
def announced(*arguments):
    open(sys.argv[1], "w").close()
    return fit(*arguments)
cli.train._fit = announced
cli.main(sys.argv[2:])
"""


@pytest.mark.parametrize("earlier", [False, True])
def test_ctrl_c_ends_the_run_in_one_sentence(earlier: bool, tmp_path: Path) -> None:
    out, begun = tmp_path / "out", tmp_path / "begun"
    if earlier:
        out.mkdir()
        (out / "metrics.json").write_text("of an earlier run")
    train = ["train", "--out", out, "--epochs", "100000"]
    command = [sys.executable, "-c", INTERRUPTIBLE, begun, *train]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as process:
        try:
            deadline = time.monotonic() + 60
            while not begun.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.5)  # well into the training
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert said == ("", "tinygrad-cv train: interrupted; no file is left half-written.\n")
    if earlier:
        assert (out / "metrics.json").read_text() == "of an earlier run"
        assert names(out) == {"metrics.json"}
    else:
        assert names(tmp_path) == {"begun"}
