"""The pages tell the truth: their programs run, and the table of kinks is what the rules do."""

import re
from pathlib import Path

import numpy as np
import pytest

import tinygrad_cv as tg

pytestmark = pytest.mark.host  # its programs run as they are

ROOT = Path(__file__).parent.parent
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        "examples/README.md",
        "tests/bench/README.md",
        "tinygrad_cv/README.md",
        "tinygrad_cv/ops/README.md",
        "viz/README.md",
    )
}
PROGRAMS = {
    f"{name}, {number}": program
    for name, page in PAGES.items()
    for number, program in enumerate(
        re.findall(r"(?<!py -->\n)```python\n(.*?)```", page, re.DOTALL), 1
    )
}
SHOWN = re.findall(
    r"<!-- from (\S+) -->\n```python\n(.*?)```", PAGES["examples/README.md"], re.DOTALL
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tg.manual_seed(0)
    exec(compile(PROGRAMS[name], name, "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out
    for line in re.findall(r"print\(.*\)  # (.*)", PROGRAMS[name]):
        assert line in printed
    if "graph.svg" in PROGRAMS[name]:
        assert (tmp_path / "graph.svg").read_text(encoding="utf-8").count("<svg") == 1


def test_links() -> None:
    """What a page links is there."""
    for name, page in PAGES.items():
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page):
            assert (ROOT / name).parent.joinpath(link).exists(), f"{name}: {link}"


def test_a_program_of_40_lines_is_that_of_the_examples() -> None:
    """Which test_examples runs."""
    ((name, program),) = SHOWN
    assert (ROOT / "examples" / name).read_text(encoding="utf-8").endswith(program)
    assert len([line for line in program.splitlines() if line]) <= 40


def test_the_convnet_is_20_lines() -> None:
    program = PROGRAMS["README.md, 1"]
    lines = [line for line in program.splitlines() if line and "import" not in line]
    assert len(lines) <= 22


def gradient(f: object, at: list[float]) -> list[float]:
    x = tg.tensor(at, requires_grad=True)
    f(x).sum().backward()  # type: ignore[operator]
    assert x.grad is not None
    return list(x.grad.tolist())


def on_the_centre_of_a_pixel(x: tg.Tensor) -> tg.Tensor:
    """A row 0, 2, 5, seen at place x + 1."""
    grid = tg.stack([x, tg.zeros(1)], dim=1).reshape(1, 1, 1, 2)
    row = tg.tensor([0.0, 2.0, 5.0]).reshape(1, 1, 1, 3)
    return tg.grid_sample(row, grid, align_corners=True)


KINKS = {
    "relu": lambda: (
        gradient(tg.relu, [0.0]) == [0.0] and np.allclose(gradient(tg.leaky_relu, [0.0]), [0.01])
    ),
    "abs": lambda: gradient(tg.abs, [0.0]) == [0.0],
    "max_pool2d": lambda: (
        gradient(lambda x: tg.max_pool2d(x.reshape(1, 1, 2, 2), 2), [1, 3, 3, 3.0]) == [0, 1, 0, 0]
    ),
    "lp_pool2d": lambda: (
        gradient(lambda x: tg.lp_pool2d(x.reshape(1, 1, 1, 2), 2.0, (1, 2)), [0.0, 0.0]) == [0, 0]
    ),
    "max": lambda: (
        all(
            gradient(f, [2.0, 2.0, 1.0, 2.0]) == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
            for f in (tg.max, tg.amax, lambda x: tg.max(x, dim=0).values)
        )
        and gradient(tg.min, [1.0, 1.0]) == gradient(tg.amin, [1.0, 1.0]) == [0.5, 0.5]
    ),
    "maximum": lambda: (
        gradient(lambda x: tg.maximum(x, 1.0), [1.0])
        == gradient(lambda x: tg.minimum(1.0, x), [1.0])
        == [0.5]
    ),
    "clamp": lambda: gradient(lambda x: tg.clamp(x, -1, 1), [-1.0, 1.0, 2.0]) == [1, 1, 0],
    "x ** n": lambda: gradient(lambda x: x**0, [0.0]) == [0.0],
    "x ** tensor": lambda: gradient(lambda n: tg.zeros(2) ** n, [0.0, 2.0]) == [0, 0],
    "copysign": lambda: gradient(lambda x: tg.copysign(x, -1.0), [0.0]) == [0],
    "relu6": lambda: (
        gradient(tg.relu6, [0.0, 6.0])
        == gradient(tg.hardtanh, [-1.0, 1.0])
        == gradient(tg.hardsigmoid, [-3.0, 3.0])
        == [0, 0]
    ),
    "elu": lambda: (
        gradient(lambda x: tg.elu(x, 0.5), [0.0]) == [0.5]
        and gradient(lambda x: tg.prelu(x, tg.tensor([0.2])), [0.0]) == pytest.approx([0.2])
        and gradient(tg.selu, [0.0]) == pytest.approx([1.0507009873 * 1.6732632423])
    ),
    "softshrink": lambda: (
        gradient(tg.softshrink, [0.5])
        == gradient(tg.hardshrink, [-0.5])
        == gradient(lambda x: tg.threshold(x, 1.0, 7.0), [1.0])
        == [0]
    ),
    "hardswish": lambda: gradient(tg.hardswish, [-3.0, 3.0]) == [0, 1],
    "hypot": lambda: (
        gradient(lambda x: tg.hypot(x, 0.0), [0.0])
        == gradient(lambda x: tg.atan2(x, tg.zeros(1)), [0.0])
        == [0]
    ),
    "median": lambda: (
        gradient(lambda x: tg.median(x, dim=0).values, [1.0, 1.0, 1.0]).count(1.0) == 1
        and gradient(lambda x: tg.topk(x, 1).values, [2.0, 2.0]) == [1, 0]
    ),
    "cummax": lambda: (
        gradient(lambda x: tg.cummax(x, 0).values, [2.0, 2.0, 1.0]) == [1, 2, 0]
        and gradient(lambda x: tg.cummin(x, 0).values, [1.0, 1.0]) == [1, 1]
    ),
    "norm": lambda: (
        gradient(tg.norm, [0.0, 0.0]) == [0, 0]
        and gradient(lambda x: tg.norm(x, -1), [0.0, 2.0]) == [0, 0]
        and gradient(tg.norm, [3.0, np.inf]) == [0, 1]
    ),
    "logsumexp": lambda: (
        gradient(lambda x: tg.logsumexp(x, 0), [np.inf, 1.0, np.inf]) == [0.5, 0, 0.5]
        and gradient(lambda x: tg.logsumexp(x, 0), [-np.inf, -np.inf]) == [0, 0]
    ),
    "std": lambda: gradient(tg.std, [2.0, 2.0, 2.0]) == [0, 0, 0],
    "svm_loss": lambda: (
        gradient(lambda x: tg.svm_loss(x[None], tg.tensor([0])), [1.0, 0.0])
        == gradient(lambda x: tg.multi_margin_loss(x[None], tg.tensor([0])), [1.0, 0.0])
        == [0, 0]
    ),
    "hinge_embedding_loss": lambda: (
        gradient(lambda x: tg.hinge_embedding_loss(x, tg.tensor([-1.0])), [1.0]) == [-1]
    ),
    "grid_sample": lambda: gradient(on_the_centre_of_a_pixel, [0.0]) == [5 - 2],
    "binary_cross_entropy": lambda: (
        gradient(lambda x: tg.binary_cross_entropy(x, tg.tensor([0.0])), [0.0]) == [1]
        and gradient(lambda x: tg.binary_cross_entropy(x, tg.tensor([1.0])), [1.0]) == [-1]
        and gradient(lambda x: tg.binary_cross_entropy(x, tg.tensor([1.0])), [0.0])
        == pytest.approx([-1e12])
    ),
    "logit": lambda: (
        gradient(lambda x: tg.logit(x, eps=0.25), [0.25, 0.75]) == pytest.approx([16 / 3, 16 / 3])
    ),
}


def test_the_table_of_kinks_is_complete() -> None:
    table = PAGES["tinygrad_cv/ops/README.md"].split("## At a kink")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]*)`", table, re.MULTILINE)
    assert rows == list(KINKS)


@pytest.mark.parametrize("row", KINKS)
def test_kink(row: str) -> None:
    assert KINKS[row]()
