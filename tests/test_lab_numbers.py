"""The numbers of the labs, each in a short run: what theory says, or many seeds."""

import io
import math
import os
import runpy
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import pytest

import tinygrad_cv as tg
from tinygrad_cv.examples.course import FOLDER, NAMES, title

pytestmark = pytest.mark.host  # they run as they are

Numbers = dict[str, float]
Run = Callable[[str], Numbers]


@pytest.fixture
def lab_run() -> Run:
    """The numbers of a lab, which writes its pictures where it is told, and nothing else."""

    def run(name: str) -> Numbers:
        printed, said = io.StringIO(), io.StringIO()
        with TemporaryDirectory() as here, TemporaryDirectory() as out, _state_kept(), chdir(here):
            argv = [name, "--quick", "--out", out]
            with patch("sys.argv", argv), redirect_stdout(printed), redirect_stderr(said):
                variables = runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
            pictures, left = sorted(os.listdir(out)), os.listdir(here)
        assert left == []
        assert said.getvalue() == ""
        told = printed.getvalue()
        assert told.startswith(f"{name}. {title(name)}\n")
        assert "OFF" not in told
        assert pictures
        for picture in pictures:
            assert picture.startswith(name)
            assert f"picture: {Path(out, picture)}\n" in told
        numbers: Numbers = variables["lab"].numbers
        return numbers

    return run


@contextmanager
def _state_kept() -> Iterator[None]:
    """A lab seeds the default generator; the tests after it go on with theirs."""
    state = tg.get_rng_state()
    try:
        yield
    finally:
        tg.set_rng_state(state)


def test_every_lab_has_a_test() -> None:
    assert [name for name in NAMES if f"test_{name}" not in globals()] == []


def test_01_backprop(lab_run: Run) -> None:
    numbers = lab_run("01_backprop")
    by_hand = [value for what, value in numbers.items() if "against" in what]
    assert len(by_hand) == 7
    assert max(by_hand) < 1e-14
    assert numbers["gradient of C·L over that of L"] == pytest.approx(10, rel=1e-12)
    assert numbers["24 bins: loss before training, ln 24"] == pytest.approx(math.log(24))


def test_02_convolution(lab_run: Run) -> None:
    numbers = lab_run("02_convolution")
    assert numbers["parameters of one 5x5 filter, 3 channels"] == 3 * 5 * 5 + 1
    assert [numbers[f"six filters 5x5: axis {k} of the output"] for k in (1, 2, 3)] == [6, 28, 28]
    assert numbers["32 filters 5x5x3, shared"] == 32 * 76 == 2432
    assert numbers["32 filters 5x5x3, not shared"] == 28 * 28 * 32 * 76 == 1_906_688
    assert numbers["locally connected, equal kernels: differs by"] < 1e-5
    assert [numbers[f"2x2 max pool [{k}]"] for k in (1, 2, 3, 4)] == [6, 8, 3, 4]
    assert [numbers[f"stored index [{k}]"] for k in (1, 2, 3, 4)] == [5, 7, 8, 15]
    assert numbers["gradient: sum in all"] == numbers["gradient: sum where the maxima were"] == 4
    convolutions = 3 * 9 * 10 + 10 + 5 * (10 * 9 * 10 + 10)
    assert numbers["parameters of the example net"] == convolutions + 4 * 4 * 10 * 10 + 10 == 6440


def test_03_activations(lab_run: Run) -> None:
    numbers = lab_run("03_activations")
    for x in (-10, 0, 10):
        assert numbers[f"tanh'({x})"] == pytest.approx(1 / math.cosh(x) ** 2, rel=1e-9)
        assert numbers[f"ReLU'({x})"] == (x > 0)
        assert numbers[f"σ'({x})"] == pytest.approx(0.25 / math.cosh(x / 2) ** 2, rel=1e-9)
    assert numbers["1 - tanh²(10) in float32"] == 0  # the trap
    assert numbers["tanh'(10) in float32"] == pytest.approx(1 / math.cosh(10) ** 2, rel=1e-5)
    assert numbers["gradients of one sign, pixels ≥ 0"] == 1
    assert numbers["gradients of one sign, centred"] < 0.01
    assert numbers["|maxout - ReLU|"] < 1e-5
    assert numbers["parameters, maxout against ReLU"] == 2
    assert numbers["dead units, ReLU, rate 0.1"] == 0
    assert 0.5 < numbers["dead units, ReLU, rate 10"] < 0.95
    for name in ("leaky, .01", "leaky, .1", "PReLU", "maxout"):
        assert numbers[f"dead units, {name}, rate 10"] == 0


def test_04_preprocessing(lab_run: Run) -> None:
    numbers = lab_run("04_preprocessing")
    # Of [[20402, 20200], [20200, 20002]]: det = 4·101², trace = 40,404; det/trace² is 1/κ, nearly.
    assert numbers["condition, (101, ·)"] == pytest.approx(40_006, rel=1e-4)
    assert numbers["condition, (.2, ·)"] == pytest.approx((10 / 0.2) ** 2)
    assert numbers["steps, (.2, ·)"] == pytest.approx(math.log(1000) * 2500, rel=1e-3)
    assert numbers["condition, (1, ·)"] == pytest.approx(1)
    assert numbers["steps, (1, ·)"] == 1
    assert numbers["|covariance - identity|"] < 1e-9
    assert numbers["whitened: |covariance - identity|"] < 1e-9
    assert abs(numbers["  of the decorrelated"]) < 1e-9
    assert (numbers["constant pixels"], numbers["axes kept"]) == (3, 61)
    assert numbers["numbers in the mean image"] == 3 * 32 * 32
    raw, centred, normalized = (
        numbers[f"steps to the loss 0.6, {name}"] for name in ("raw", "centred", "normalized")
    )
    assert raw > 7 * max(centred, normalized)


def column(numbers: Numbers, name: str) -> list[float]:
    """The ten numbers of a table."""
    return [numbers[f"{name} [{layer}]"] for layer in range(1, 11)]


# From integrals over a standard normal: q <- E[tanh²(s √(500 q) z)].
TANH = {
    "0.01 randn": [
        2.135e-1, 4.764e-2, 1.065e-2, 2.382e-3, 5.326e-4,
        1.191e-4, 2.663e-5, 5.955e-6, 1.331e-6, 2.977e-7,
    ],
    "1.0 randn": [0.98203, *[0.98170] * 9],
    "Xavier": [
        0.6279, 0.4863, 0.4082, 0.3576, 0.3216, 0.2944, 0.2729, 0.2554, 0.2409, 0.2285,
    ],
}  # fmt: skip

DECK = [0.213081, 0.047551, 0.010630, 0.002378, 0.000532, 0.000119, 0.000026, 0.000006, 1e-6, 0.0]


def test_05_initialization(lab_run: Run) -> None:
    numbers = lab_run("05_initialization")
    small = column(numbers, "tanh, 0.01 randn: std")
    assert small == pytest.approx(TANH["0.01 randn"], rel=0.05)
    assert small == pytest.approx(DECK, rel=0.02, abs=1e-6)
    large = column(numbers, "tanh, 1.0 randn: std")
    assert large == pytest.approx(TANH["1.0 randn"], abs=1e-3)
    assert column(numbers, "tanh, Xavier: std") == pytest.approx(TANH["Xavier"], rel=0.03)
    for name, first in (("std", math.sqrt(1 - 1 / math.pi)), ("mean", 1 / math.sqrt(math.pi))):
        he = column(numbers, f"ReLU, He: {name}")
        assert he[0] == pytest.approx(first, rel=0.02)
        assert all(first / 2 < each < 2 * first for each in he)
    xavier = column(numbers, "ReLU, Xavier: std")
    assert xavier[0] == pytest.approx(0.5838, rel=0.02)
    assert xavier[9] == pytest.approx(0.5838 / 2**4.5, rel=0.5)

    # The gradients: with W = 1.0 they grow, whatever the deck says.
    grown = column(numbers, "tanh, 1.0 randn: gradient, down")
    assert all(3 < after / before < 4 for before, after in pairwise(grown))
    assert 1e5 < grown[9] < 6e5
    assert 0.9 < numbers["W = 1.0: saturated units"] < 0.93
    assert column(numbers, "tanh, 0.01 randn: gradient, down")[9] == pytest.approx(3e-7, rel=0.15)
    assert column(numbers, "tanh, Xavier: gradient, down")[9] == pytest.approx(0.27, rel=0.15)

    assert numbers["Var(Σwx), W = 0.01 randn"] == pytest.approx(1 / 20, rel=0.05)
    assert numbers["Var(Σwx), W = 1.0 randn"] == pytest.approx(500, rel=0.05)
    assert [numbers[f"W = 0: W1, b1, W2 after 20 steps [{k}]"] for k in (1, 2, 3)] == [0, 0, 0]
    assert numbers["W = 0: b2 after 20 steps"] > 0
    rand = [numbers[f"ReLU, rand: std [{k}]"] for k in (1, 2, 3, 4)]
    assert rand == pytest.approx([0.47, 6.2, 98, 1547], rel=0.15)


def test_06_batch_norm(lab_run: Run) -> None:
    numbers = lab_run("06_batch_norm")
    relu = math.sqrt(0.5 - 0.5 / math.pi)
    for scale in ("0.01", "1.0"):
        tanh = column(numbers, f"tanh, {scale} randn + BN: std")
        assert tanh == pytest.approx([0.6279] * 10, abs=0.006)
        assert column(numbers, f"ReLU, {scale} randn + BN: std") == pytest.approx(
            [relu] * 10, abs=0.006
        )
    assert numbers["|BN(x) - x| with γ = √Var, β = E"] < 1e-12
    assert numbers["exact, by batches of 50 and of 275"] < 1e-3
    assert numbers["after 8 steps: accuracy, exact"] > numbers["after 8 steps: accuracy, running"]
    assert numbers["without: validation accuracy"] < 0.3
    assert numbers["with batch norm: validation accuracy"] > 0.5
    assert numbers["an image in two batches, evaluation"] < 1e-4
    assert numbers["an image in two batches, training"] > 1e-3


def test_07_sanity_checks(lab_run: Run) -> None:
    numbers = lab_run("07_sanity_checks")
    assert numbers["softmax, 3 classes: ln 3"] == pytest.approx(1.098612, abs=1e-6)
    assert numbers["one-vs-all, 10 classes: 10 ln 2"] == pytest.approx(6.931, abs=1e-3)
    assert numbers["SVM, 10 classes: 9"] == 9
    first = numbers["loss at initialization, reg 0"]
    assert first == pytest.approx(math.log(10), abs=1e-4)
    strong = numbers["loss at initialization, reg 1e3"]
    assert strong == pytest.approx(math.log(10) + 500 * 154_100 * 1e-8, abs=0.01)
    assert numbers["20 examples: cost after 200 epochs"] < 0.005
    assert numbers["20 examples: accuracy"] == 1
    assert numbers["findings: right"] == 0
    assert numbers["findings: no term"] == 1


def test_08_learning_rate(lab_run: Run) -> None:
    numbers = lab_run("08_learning_rate")
    assert abs(numbers["1e-6: last cost"] - numbers["1e-6: first cost"]) < 5e-4
    assert abs(numbers["1e-6: first cost"] - 2.302585) < 2e-4
    assert numbers["1e6: NaN in the end"] == 1
    fires = numbers["0.01: step at which the 3x rule fires"]
    assert 0 < fires < 72
    assert numbers["steps made with the 3x rule"] == fires + 1
    # ln 10 + λ/2 · E ΣW², with the ½ and without biases
    squares = 1e-4**2 * (3072 * 50 + 50 * 10)
    assert abs(numbers["rate 0.05, reg 0.6: iteration 0"] - 2.302585 - 0.3 * squares) < 5e-5
    assert abs(numbers["rate 0.001, reg 0.3: iteration 0"] - 2.302585 - 0.15 * squares) < 5e-5
    assert numbers["rate 0.05, reg 0.6: finite at the end"] == 0
    assert numbers["rate 0.001, reg 0.3: finite at the end"] == 1


def test_09_search(lab_run: Run) -> None:
    numbers = lab_run("09_search")
    assert numbers["correlation with the deck's accuracy"] > 0.8
    # Of the 22 printed rows, .531 of the 15th is the greatest, at .976 of the way to the top.
    assert numbers["the deck's best trial"] == 14
    assert numbers["its place in the declared range of lr"] == pytest.approx(0.97642, abs=1e-5)
    assert numbers["edges of the deck's search"] == 1
    # Three decades, a third of which is one.
    assert numbers["fine: decades of lr"] == pytest.approx(1)
    assert numbers["fine: best accuracy"] > 0.5
    assert numbers["grid: different learning rates"] == 2
    assert numbers["random: different learning rates"] == 4


def test_10_babysitting(lab_run: Run) -> None:
    numbers = lab_run("10_babysitting")
    slow, usual, best = (
        numbers[f"rate {rate}: update / weight"] for rate in ("1e-06", "0.0001", "0.001")
    )
    assert 1e-6 < slow < 5e-5
    assert 3e-4 < usual < 1e-2
    assert best > 1e-2  # the best rate breaks the rule of 1e-3
    assert numbers["50 images: training accuracy"] > 0.9
    assert numbers["50 images: gap"] > 0.1
    assert numbers["dead units, by all images"] <= numbers["dead units, by a batch of 50"]
    assert numbers["its cost over the first"] > 3
    assert numbers["rate 0.01: steps until it was stopped"] < 60


def test_11_optimizers(lab_run: Run) -> None:
    numbers = lab_run("11_optimizers")
    for name in ("SGD", "momentum", "Nesterov", "Adagrad", "RMSProp", "incomplete Adam", "Adam"):
        assert numbers[f"{name}: off the deck's lines by"] < 1e-12
    assert numbers["Nesterov: φ off θ + μv by"] < 1e-12
    # |x| shrinks by .965 a step from 4, |y| by .75 from 1: ½ x² + 25 y² is below 1e-3 after
    steps = next(t for t in range(999) if 8 * 0.965 ** (2 * t) + 25 * 0.75 ** (2 * t) <= 1e-3)
    assert numbers["steps of SGD"] == steps == 127
    counts = {"momentum": 61, "Nesterov": 24, "Adagrad": 8, "RMSProp": 55, "Adam": 61, "Newton": 1}
    assert {name: numbers[f"steps of {name}"] for name in counts} == counts
    assert numbers["momentum overshoots to x ="] > 0.5
    assert numbers["SGD at .041: y's factor, 1 - 50 lr"] == pytest.approx(1 - 0.041 * 50)
    for name, first in {
        "Adagrad": 0.01,
        "Adam": 0.01,
        "RMSProp": 0.01 / math.sqrt(1 - 0.9),
        "incomplete Adam": 0.01 * (1 - 0.9) / math.sqrt(1 - 0.999),
    }.items():
        assert numbers[f"{name}: first step at lr .01"] == pytest.approx(first, rel=1e-5)


def test_12_schedules(lab_run: Run) -> None:
    numbers = lab_run("12_schedules")
    for what, rate in {
        "half every 20 epochs: at t = 59": 0.5**2,
        ".97 an epoch: at t = 10": 0.7374,
        "exp(-kt), k = .05: at t = 20": 0.3679,
        "1/(1 + kt), k = .05: at t = 20": 0.5,
        "sqrt(1 - t/T): at t = 50": 0.7071,
        "1/t: at t = 4": 0.25,
        "exp(-t): at t = 3": 0.0498,
        ".1 every 50,000 batches: at t = 49,999": 1.0,
        ".1 every 50,000 batches: at t = 150,000": 0.001,
    }.items():
        assert numbers[what] == pytest.approx(rate, abs=5e-5)
    assert numbers["noise floor at lr .5; in theory 1/6"] == pytest.approx(1 / 6, rel=0.05)
    # trap 5: the deck's velocity contains the rate, PyTorch's does not
    assert numbers["constant rate: PyTorch's off the deck's"] < 1e-12
    assert numbers["halved rate: ours off the deck's"] < 1e-12
    assert numbers["halved rate: PyTorch's off the deck's"] > 0.01
    assert numbers["annealed momentum: off the deck's"] < 1e-12


def test_13_second_order(lab_run: Run) -> None:
    numbers = lab_run("13_second_order")
    assert numbers["Newton: gradient after 8 steps"] < 1e-10
    assert numbers["BFGS (all pairs kept): off Newton's by"] < 2e-3
    assert numbers["GB for H of the 3072-50-10 net"] == pytest.approx(154_160**2 * 4e-9)
    assert numbers["L-BFGS against the best other one"] < 1
    assert 1 < numbers["noise over curvature"] < 100


def test_14_regularization(lab_run: Run) -> None:
    numbers = lab_run("14_regularization")
    assert numbers["data loss, ln 10"] == pytest.approx(math.log(10), abs=1e-4)
    costs = {
        (strength, deck): numbers[f"λ = {strength:g}: {name} ({deck})"] - math.log(10)
        for strength in (1e3, 0.6, 0.3)
        for name, deck in (("λ/2 ΣW²", "D1"), ("λ ΣW²", "D2"), ("λ/2m ΣΘ²", "D3"))
    }
    printed = {1e3: 3.068597, 0.6: 2.303033, 0.3: 2.302811}
    for strength, cost in printed.items():  # the ½ without biases, and nothing else
        off = {d: abs(costs[strength, d] + math.log(10) - cost) for d in ("D1", "D2", "D3")}
        assert off["D1"] < 0.01 * (cost - math.log(10)) + 1e-4
        assert off["D1"] == min(off.values())
    assert costs[1e3, "D2"] == pytest.approx(2 * costs[1e3, "D1"], abs=2e-4)
    assert numbers["W after 10 steps: (1 − αλ)¹⁰"] == pytest.approx(0.99**10, rel=1e-5)
    assert numbers["b after 10 steps"] == 1
    zeros = {name[: -len(": zeros in W1")]: x for name, x in numbers.items() if "zeros" in name}
    assert zeros["L1 .002, proximal"] > zeros["elastic .001, .0005, proximal"] > 0.05
    assert max(zeros[name] for name in ("none", "L2 .01", "L1 .002", "max norm 1")) < 0.02
    assert numbers["max norm 1: longest ‖w‖² in W1"] <= 1 + 1e-5
    assert numbers["vanilla, training: mean of h = 3"] == pytest.approx(1.5, abs=0.06)
    assert numbers["vanilla, test: h = 3"] == 1.5
    assert numbers["inverted, training: mean of h = 3"] == pytest.approx(3, abs=0.12)
    assert numbers["inverted, test: h = 3"] == 3
    sizes = [numbers[f"λ = {strength}: ‖W‖²"] for strength in ("0.001", "0.01", "0.1")]
    right = [numbers[f"λ = {s}: training accuracy"] for s in ("0.001", "0.01", "0.1")]
    assert sizes == sorted(sizes, reverse=True)
    assert right == sorted(right, reverse=True)


def test_15_convnet(lab_run: Run) -> None:
    numbers = lab_run("15_convnet")
    assert numbers["parameters"] == 6440
    assert [numbers[f"size after pool [{k}]"] for k in (1, 2, 3)] == [16, 8, 4]
    assert abs(numbers["loss at first"] - math.log(10)) < 0.05
    assert numbers["loss in the last epoch"] < 1.9
    assert numbers["test accuracy"] > 0.3


def test_16_alexnet(lab_run: Run) -> None:
    numbers = lab_run("16_alexnet")
    sizes = [numbers[f"size after layer [{k}]"] for k in range(1, 9)]
    assert sizes == [55, 27, 27, 13, 13, 13, 13, 6]
    assert numbers["parameters, grouped"] == 60_965_224
    assert numbers["parameters, not grouped"] == 62_378_344
    assert numbers["operations in convolutions: share"] > 0.9
    assert abs(numbers["twin: loss at first"] - math.log(10)) < 0.05
    assert numbers["twin: loss of 20 images, 40 steps"] < 0.2


def test_17_ensembles(lab_run: Run) -> None:
    numbers = lab_run("17_ensembles")
    left = numbers["share of the initial weights after 1,000 steps"]
    assert left == pytest.approx(0.995**1000)
    assert numbers["half-life in steps"] == pytest.approx(math.log(0.5) / math.log(0.995))
    for rate in ("constant rate", "falling rate"):
        gain = numbers[f"{rate}: ensemble"] - numbers[f"{rate}: single"]
        assert gain >= 0.005


def test_18_fine_tuning(lab_run: Run) -> None:
    numbers = lab_run("18_fine_tuning")
    assert numbers["parameters"] == 6186
    assert numbers["missing: the head's"] == 2
    for each, least in ((1, 0.05), (2, 0.03), (5, 0.01)):
        scratch, frozen, tuned = (
            numbers[f"{each} per class, {way}"] for way in ("from scratch", "frozen", "tuned")
        )
        assert frozen > scratch + least
        assert tuned > scratch + least
    assert numbers["5 per class, tuned"] > numbers["1 per class, tuned"]


def test_19_rnn(lab_run: Run) -> None:
    numbers = lab_run("19_rnn")
    assert numbers["by hand against nn.RNN(bias=False)"] < 1e-6
    assert numbers["parameters of the deck's net"] == 8 * 4 + 8 * 8 + 4 * 8  # trap 19: no biases
    assert numbers["parameters of nn.RNN(4, 8)"] == 8 * 4 + 8 * 8 + 8 + 8  # two, and no output
    sums = [numbers[f"running sum of 1 2 3 4 [{k}]"] for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(sums, np.cumsum([1, 2, 3, 4]), rtol=1e-6)
    assert numbers["W_hh, learned"] == pytest.approx(1, abs=0.01)
    assert numbers["hello: first loss; ln 4 = 1.386"] == pytest.approx(math.log(4), abs=0.2)
    assert numbers["hello: loss after 300 steps"] < 1e-3
    assert numbers["hello: h is continued to hello"] == 1
    # of h, e, l, l only the two l are not followed by one character: by l, and by o
    assert numbers["hello without a state; ½ ln 2 = .3466"] == pytest.approx(
        2 * math.log(2) / 4, abs=1e-3
    )
    assert numbers["digits, row by row: test accuracy"] > 0.75


def test_20_char_rnn(lab_run: Run) -> None:
    numbers = lab_run("20_char_rnn")
    assert numbers["first loss"] == pytest.approx(
        math.log(numbers["different characters"]), abs=0.05
    )
    assert numbers["loss after 50 steps"] < numbers["loss after 20 steps"] < numbers["first loss"]
    assert numbers["words: first loss"] == pytest.approx(math.log(166), abs=0.1)
    assert numbers["words: after 8 steps"] < 5


def test_21_gradient_check(lab_run: Run) -> None:
    """The least errors are about ε^½ and ε^⅔ times what the function is like."""
    numbers, double, single = lab_run("21_gradient_check"), 2.2e-16, 1.2e-7
    for what, theory in (
        ("one-sided, double", double ** (1 / 2)),
        ("central, double", double ** (2 / 3)),
        ("central, single", single ** (2 / 3)),
    ):
        assert theory / 100 < numbers[f"{what}: least error"] < theory * 10
    assert numbers["decades of error for two of h"] == pytest.approx(4, abs=0.1)
    assert numbers["relu at -1e-6, h = 1e-5: difference"] == pytest.approx(0.45)
    assert numbers["relu at -1e-6: rule"] == 0
    assert numbers["a wrong rule: the input is named"] >= 1
