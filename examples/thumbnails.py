"""The pictures of the labs in README.md, and its table: python examples/thumbnails.py [NAMES].

Runs these labs, by default all, and writes pictures/<lab>.png of the picture that stands for each.
"""

import io
import runpy
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from PIL import Image

from tinygrad_cv.examples.course import FOLDER, NAMES, Lab, title
from tinygrad_cv.examples.index import DECKS, INDEX

BEGIN, END = "<!-- labs -->\n", "<!-- end of labs -->\n"


def drawn(name: str, options: list[str]) -> Image.Image:
    """Run a lab, and return the picture that stands for it."""
    kept: list[tuple[str, Any]] = []
    saved = Lab.picture

    def keep(self: Lab, drawing: Any, name: str = "", kind: str = "svg") -> Path:
        kept.append((name, drawing))
        return saved(self, drawing, name, kind)

    with TemporaryDirectory() as folder, patch.object(Lab, "picture", keep):
        argv = [name, "--out", folder, *options]
        with patch("sys.argv", argv):
            runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
        wanted = INDEX[name].picture
        found = [drawing for known_as, drawing in kept if known_as == wanted and wanted]
        found += [drawing for _, drawing in kept if hasattr(drawing, "savefig")]
        found += [drawing for _, drawing in kept if hasattr(drawing, "source")]
        if hasattr(found[0], "savefig"):
            contents = io.BytesIO()
            found[0].savefig(contents, format="png", dpi=100, facecolor="white")
            return Image.open(contents)
        return Image.open(io.BytesIO(found[0].save(Path(folder) / "graph.png").read_bytes()))


def shrunk(picture: Image.Image, most: int = 60_000) -> bytes:
    """A PNG of at most so many bytes."""
    picture = picture.convert("RGB")
    for width in (640, 560, 480, 400, 320, 240):
        small = picture.copy()
        small.thumbnail((width, width), Image.Resampling.LANCZOS)
        contents = io.BytesIO()
        # Of the methods this one keeps the colours of thin lines apart, however few their pixels.
        few = small.quantize(256, Image.Quantize.MAXCOVERAGE)
        few.save(contents, format="png", optimize=True)
        if len(contents.getvalue()) <= most:
            break
    return contents.getvalue()


def table() -> str:
    """The index of the labs, by lecture and by name."""
    rows = []
    for key, deck in DECKS.items():
        labs = [f"[{n[:2]}]({n}.py)" for n in NAMES if key in INDEX[n].decks.split()]
        rows.append(f"- **{key}** {deck}: {', '.join(labs)}")
    rows += ["", "| lab | decks | slides | seconds | picture |", "|---|---|---|---|---|"]
    for name in NAMES:
        entry = INDEX[name]
        about = f"[{name}]({name}.py): {title(name)}"
        shown = f'<img src="pictures/{name}.png" alt="{name}" width="240">'
        rows.append(f"| {about} | {entry.decks} | {entry.slides} | {entry.seconds:g} | {shown} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    given = sys.argv[1:]
    names = [word for word in given if not word.startswith("--")]
    for name in names or NAMES:
        picture = drawn(name, [word for word in given if word.startswith("--")])
        (FOLDER / "pictures" / f"{name}.png").write_bytes(shrunk(picture))
    readme = FOLDER / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    readme.write_text(f"{before}{BEGIN}{table()}{END}{after}", encoding="utf-8")
