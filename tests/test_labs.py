"""The labs of the course: their form, where they write, and what the index says of them.

What a lab measures is asserted in tests/test_labs_*.py.
"""

import ast
import io
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tinygrad_cv as tg
from lab_runs import EXAMPLES, Numbers, lab_run, quick
from tinygrad_cv.examples.course import NAMES, Lab, title
from tinygrad_cv.examples.index import DECKS, INDEX

__all__ = ["lab_run"]

pytestmark = pytest.mark.host  # they run as they are

README = (EXAMPLES / "README.md").read_text(encoding="utf-8")


LECTURERS = r"Yashunin|Snavely|CS5670|\bHe\b|CS150|Solberg|INF5860|CS231n|[Ee]very deck"


def program(name: str) -> str:
    return (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")


# ----- their form --------------------------------------------------------------------------------


def test_the_index_has_every_lab_and_no_other() -> None:
    assert list(INDEX) == sorted(INDEX)
    assert set(NAMES) == set(INDEX)
    assert [int(name[:2]) for name in NAMES] == list(range(1, len(NAMES) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_lab_reads_from_top_to_bottom(name: str) -> None:
    text = program(name)
    docstring = ast.get_docstring(ast.parse(text), clean=False)
    assert docstring is not None
    assert re.fullmatch(r"[A-Z][^\n]*\.", docstring), "its title is a line"
    assert text.startswith(f'"""{docstring}"""\n\n# %% [markdown]\n')
    lecture, *cells = re.split(r"^# %%", text, flags=re.MULTILINE)[1:]
    assert re.search(LECTURERS, lecture), "its first cell names a lecture"
    for cell in cells:
        assert re.match(r"( \[markdown\])?\n", cell)
        if cell.startswith(" [markdown]"):
            prose = cell.partition("\n")[2].rstrip()
            assert all(line.startswith("#") for line in prose.splitlines()), prose
    assert f'Lab("{name}")' in text
    assert text.endswith("\nlab.end()\n")
    code = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert len(code) <= 130, "a page or two"


def test_a_lab_uses_what_a_reader_may_use() -> None:
    """No name of the package that begins with an underscore."""
    for name in NAMES:
        for node in ast.walk(ast.parse(program(name))):
            names = [getattr(node, "attr", "")]
            if isinstance(node, ast.ImportFrom):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            private = [each for each in names if re.match(r"_[a-z]", each)]
            assert not private, f"{name} uses {private}"


def test_a_number_may_be_of_any_kind(capsys: pytest.CaptureFixture[str]) -> None:
    """An array without axes is one number; what the deck says of several may be words."""
    lab = Lab("01_backprop", [])
    lab.compare("one", np.array(2.0), expected=(2, 2))
    lab.compare("another", tg.tensor(3.0))
    lab.compare("two", tg.tensor([4.0, 5.0]), "about 5", (np.array([4, 5]), 6))
    assert list(lab.numbers.values()) == [2, 3, 4, 5]
    assert capsys.readouterr().out.count("deck about 5") == 2
    lab.end()


# ----- what they leave ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_lab_writes_pictures_under_out_and_nothing_else(name: str) -> None:
    run = quick(name)
    assert run.left == ()
    assert run.said == ""
    assert run.pictures
    assert all(picture.startswith(name) for picture in run.pictures)
    assert run.printed.startswith(f"{name}. {title(name)}\n")
    assert "OFF" not in run.printed
    assert run.numbers
    assert all(f"picture: {Path(path)}" for path in run.pictures)


# ----- the index ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_names_a_lab_its_decks_its_time_and_its_picture(name: str) -> None:
    about = f"| [{name}]({name}.py): {title(name)} |"
    [row] = [line for line in README.splitlines() if line.startswith(about)]
    entry = INDEX[name]
    assert f"| {entry.decks} |" in row
    assert f"| {entry.slides} |" in row
    assert f"| {entry.seconds:g} |" in row
    assert f'<img src="pictures/{name}.png" alt="{name}"' in row
    assert 0 < (EXAMPLES / "pictures" / f"{name}.png").stat().st_size <= 60_000


def test_the_readme_names_the_lectures() -> None:
    for key, deck in DECKS.items():
        [line] = [line for line in README.splitlines() if line.startswith(f"- **{key}** {deck}: ")]
        labs = [name for name in NAMES if key in INDEX[name].decks.split()]
        assert re.findall(r"\((\d\d_\w+)\.py\)", line) == labs


def test_a_thumbnail_keeps_the_colours_of_lines_apart() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    from tinygrad_cv.examples.thumbnails import shrunk

    # Many greens and blues, and four short lines.
    drawn = np.zeros((300, 600, 3), np.uint8)
    drawn[..., 1] = np.linspace(0, 255, 600)
    drawn[..., 2] = np.linspace(0, 255, 300)[:, None]
    lines = {(255, 0, 0): 20, (230, 90, 20): 40, (200, 90, 160): 60, (255, 60, 60): 80}
    for colour, y in lines.items():
        drawn[y, :40] = colour
    shown = np.asarray(image.open(io.BytesIO(shrunk(image.fromarray(drawn)))).convert("RGB"))
    for colour, y in lines.items():
        assert abs(shown[y, :40].astype(int) - colour).max() <= 16


# ----- labs 01, 02, 15, 16 and 21 ----------------------------------------------------------------

Run = Callable[[str], Numbers]


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
