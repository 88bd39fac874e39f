"""The API reference: docstrings as they are written, public names alone, and no network."""

import html
import inspect
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from pkgutil import iter_modules

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv._op import REGISTRY
from tinygrad_cv.cli import main, reference
from tinygrad_cv.examples.course import NAMES

pytest.importorskip("pdoc", reason="pdoc is not installed")

pytestmark = pytest.mark.host  # nothing is computed

FEW = ("tinygrad_cv.linalg", "tinygrad_cv.testing", "tinygrad_cv.train.search")


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """The pages of a few modules."""
    return reference.pages(FEW)


class Text(HTMLParser):
    """The words of a page, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def words(page: str) -> str:
    return " ".join("".join(Text(page).words).split())


# ----- docstrings --------------------------------------------------------------------------------


def test_nothing_of_a_docstring_is_taken_for_markup() -> None:
    text = """y_i = a * b * c < 1 & d > 2, __init__, #1, [x](y), and `f(x)`.

        - `one`: first,
          and more;
        - two.

            an indented   block
              stays

        >>> print("1 < 2")
        1 < 2
    """
    shown = reference.as_html(text)
    assert shown.startswith("<p>y_i = a * b * c &lt; 1 &amp; d &gt; 2, __init__, #1, [x](y), and ")
    assert "<code>f(x)</code>" in shown
    assert shown.count("<li>") == shown.count("</li>") == 2
    assert "<pre><code>an indented   block\n  stays</code></pre>" in shown
    assert words(shown).endswith('>>> print("1 < 2") 1 < 2')


ALPHABET = st.sampled_from([*"ab *_<>&#[]()-|\"'\\", "\n", "\n\n", "  ", "- ", ">>> "])


@given(st.lists(ALPHABET, max_size=30).map("".join))
def test_every_word_of_a_docstring_is_shown(text: str) -> None:
    """In its order, and with no tag but those that lists, blocks and paragraphs need."""
    shown = reference.as_html(text)
    kept = re.sub(r"\s|^ *- |(?<=\n)(?: *- )+", "", inspect.cleandoc(text), flags=re.MULTILINE)
    seen = re.sub(r"\s", "", html.unescape(re.sub(r"<[^>]*>", "", shown)))
    assert seen.replace("-", "") == kept.replace("-", "")
    tags = {tag for tag, _ in Text(shown).tags}
    assert tags <= {"p", "ul", "li", "pre", "code", "br", "div", "span"}


def test_lines_that_end_on_purpose_do() -> None:
    formulas = "y = a\nz = b"
    assert "y = a<br>" in reference.as_html(formulas)
    flowing = f"{'word ' * 17}\n{'word ' * 17}"
    assert "<br>" not in reference.as_html(flowing)


# ----- pages -------------------------------------------------------------------------------------


def test_a_page_shows_signatures_examples_and_formulas(files: dict[str, str]) -> None:
    page = files["tinygrad_cv/linalg.html"]
    assert "inv(A: Tensor) -> Tensor:" in words(page)
    section = page.split('<section id="inv">')[1].split("</section>")[0]
    rules = tg.formula(REGISTRY["inv"], attributes=False)
    assert "Gradient rules" in section
    for name, rule in rules.items():
        assert html.escape(f"∂L/∂{name} = {rule}") in section
    assert ">>> " in words(section)
    checks = words(files["tinygrad_cv/testing.html"])
    assert (
        "check_gradients( fn: Callable[..., Any], inputs: Sequence[Any], order: int = 2" in checks
    )


def test_no_private_name_and_no_place_on_the_network(files: dict[str, str]) -> None:
    for name, page in files.items():
        if name == "search.js":
            continue
        found = Text(page)
        for tag, attributes in found.tags:
            for source in ("src", "srcset", "data"):
                assert not (attributes.get(source) or "").startswith(("http", "//")), (name, tag)
            if tag == "link":
                assert not (attributes.get("href") or "").startswith(("http", "//")), name
            assert not re.search(r"(^|\.)_(?!_init__)", attributes.get("id") or ""), (
                name,
                attributes,
            )
        assert "@import" not in page
        if name.startswith("tinygrad_cv"):
            assert not re.search(r"tinygrad_cv\._", words(page)), name


def test_every_link_within_leads_somewhere(files: dict[str, str]) -> None:
    written = {Path(f"{name.replace('.', '/')}.html") for name in reference.modules()}
    written |= {Path(name) for name in files}
    for name, page in files.items():
        if not name.endswith(".html"):
            continue
        anchors = {attributes.get("id") for _, attributes in Text(page).tags}
        for tag, attributes in Text(page).tags:
            link = attributes.get("href") or ""
            if tag != "a" or link.startswith("http"):
                continue
            file, _, anchor = link.partition("#")
            if not file:
                assert not anchor or anchor in anchors, (name, link)
                continue
            parts: list[str] = list(Path(name).parent.parts)
            for part in Path(file).parts:
                parts = parts[:-1] if part == ".." else [*parts, part]
            assert Path(*parts) in written, (name, link)


def test_the_search_knows_what_the_pages_have(files: dict[str, str]) -> None:
    index = re.search(r"const docs = (\[.*?\]);\n", files["search.js"])
    assert index is not None
    entries = {entry["fullname"]: entry for entry in json.loads(index[1])}
    assert "tinygrad_cv.linalg.inv" in entries
    assert "tinygrad_cv.testing.check_gradients" in entries
    assert not [name for name in entries if "._" in name]
    assert "elasticlunr" in files["search.js"]
    for entry in entries.values():  # a result is a link: another within it would end it
        assert "<a" not in entry.get("signature", "")


def test_what_python_says_of_a_named_tuple_is_not_shown(files: dict[str, str]) -> None:
    assert 'id="Edge.side"' in files["tinygrad_cv/train/search.html"]
    for page in files.values():
        assert "Alias for field number" not in page
        assert "Create new instance of" not in page


def test_what_a_class_takes_is_not_taken_for_a_function(files: dict[str, str]) -> None:
    """`mode` of a search's result is not tinygrad_cv.mode."""
    section = files["tinygrad_cv/train/search.html"].split('<section id="Result">')[1]
    section = section.split("<section")[0]
    assert "<code>mode</code>" in section
    assert "tinygrad_cv.html#mode" not in section


def test_the_labs_are_there_and_linked(files: dict[str, str]) -> None:
    for name in NAMES:
        assert f'href="labs/{name}.html"' in files["index.html"]
        assert words(reference_source(name))[:200] in words(files[f"labs/{name}.html"])
    testing = files["tinygrad_cv/testing.html"]
    assert 'href="../labs/21_gradient_check.html"' in testing


def reference_source(name: str) -> str:
    from tinygrad_cv.examples.course import FOLDER

    return html.escape((FOLDER / f"{name}.py").read_text(encoding="utf-8"))


INSIDE = {
    "backend": "the engine's arrays",
    "cli": "the commands",
    "ops": "their functions are on the first page",
    "program": "what compile makes; on the first page",
    "utils": "its parts have pages",
    "examples": "its programs are shown as labs",
}


def test_every_package_has_a_page_or_a_reason() -> None:
    packages = {module.name for module in iter_modules(tg.__path__) if module.ispkg}
    packages = {name for name in packages if not name.startswith("_")}
    told = {name.removeprefix("tinygrad_cv.").partition(".")[0] for name in reference.modules()}
    assert packages - told <= INSIDE.keys()


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "pages", lambda: {"index.html": "<p>", "a/b.html": "<p>"})
    main(["reference", "--out", str(tmp_path / "out")])
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'out' / 'index.html'}: 1 pages")
    assert (tmp_path / "out" / "a" / "b.html").read_text() == "<p>"
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as error:
        main(["reference", "--out", str(tmp_path / "file")])
    assert error.value.code == 2
