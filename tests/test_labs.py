"""The labs of the course: their form, and what the index says of them.

What a lab measures, and where it writes, is asserted in test_lab_numbers.py.
"""

import ast
import io
import re

import numpy as np
import pytest

import tinygrad_cv as tg
from tinygrad_cv.examples.course import FOLDER as EXAMPLES
from tinygrad_cv.examples.course import NAMES, Lab, title
from tinygrad_cv.examples.index import DECKS, INDEX

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
