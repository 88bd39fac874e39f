"""From DOT text to a picture: run Graphviz's `dot`, or `graphviz-pure` where there is none."""

import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import warnings
from pathlib import Path
from typing import Any

from tinygrad_cv.viz.widths import fitted, width

FORMATS = (".svg", ".png")
PNG_DPI = 144  # small type stays legible on a projector
PIXELS = 100_000_000
"""The most that a PNG may have: 400 MB while it is painted, and some seconds."""
HURRY = ("-Gsplines=line", "-Gnslimit=0.5", "-Gnslimit1=0.5", "-Gmclimit=0.1")
PAGE = 14_400  # points, the longest side that a page of a PDF may have


def renderer() -> str:
    """The program that lays out graphs: `dot` on PATH, else `graphviz-pure`, which takes the same.

    A wheel puts its programs beside the interpreter, and that folder is often not on PATH.
    """
    beside = (str(Path(sys.executable).parent), sysconfig.get_path("scripts"))
    found = (
        shutil.which("dot")
        or shutil.which("graphviz-pure", path=os.pathsep.join(beside))
        or shutil.which("graphviz-pure")
    )
    if found is None:
        raise RuntimeError(
            "to render a graph, the program `dot` or `graphviz-pure` is needed; run "
            "pip install 'tinygrad_cv[viz]', or install Graphviz (https://graphviz.org/download). "
            "Saving as .dot works without them."
        )
    return found


def encoded(text: str) -> bytes:
    """Text in UTF-8; the name of the user's file may be none, and is escaped, as JSON does too."""
    return text.encode(errors="backslashreplace")


def render(
    source: str, suffix: str, timeout: float, large: bool = False, quick: bool = False
) -> bytes:
    """The picture of DOT text as the contents of a file with this suffix: .svg, .png or .pdf.

    A `large` picture is measured first, so that a PNG of it has no more pixels than it may. One
    with many long arrows is made in a hurry (`quick`): they are straight, and cross more often.
    `graphviz-pure` makes no PDF; then it lays out, and matplotlib draws.
    """
    program, end = renderer(), time.monotonic() + timeout

    def run(*flags: str) -> bytes:
        left = max(0.0, end - time.monotonic())
        command = [program, *flags, *(HURRY if quick else ())]
        done = subprocess.run(command, input=encoded(source), capture_output=True, timeout=left)
        if done.returncode != 0:
            complaint = done.stderr.decode(errors="replace").strip()[-1000:]
            raise RuntimeError(f"{program} failed with status {done.returncode}: {complaint}")
        return done.stdout

    try:
        if suffix == ".pdf" and Path(program).stem == "graphviz-pure":
            return _pdf(json.loads(run("-Tjson")), end)
        if suffix == ".svg":
            return encoded(fitted(run("-Tsvg").decode()))
        if suffix != ".png":
            return run(f"-T{suffix[1:]}")
        return run("-Tpng", f"-Gdpi={_dpi(run('-Tplain')) if large else PNG_DPI}")
    except (subprocess.TimeoutExpired, TimeoutError):
        raise TimeoutError(
            f"{program} did not finish within {timeout:g} s. Give it longer (timeout=...), draw a "
            "smaller part of the graph, or save it as .dot."
        ) from None


def _dpi(plain: bytes) -> int:
    """Dots per inch for a layout in the format `plain`: "graph scale width height", in inches."""
    _, _, width, height = plain.split(b"\n", 1)[0].split()
    return max(1, min(PNG_DPI, math.isqrt(int(PIXELS / (float(width) * float(height))))))


def _pdf(layout: dict[str, Any], end: float) -> bytes:
    """A laid out graph, with the drawing operations of its parts, as a page.

    Raises TimeoutError if it takes until `end` (of the monotonic clock).
    """
    try:
        import matplotlib
        from matplotlib.artist import Artist
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "graphviz-pure makes no PDF by itself, it needs matplotlib; run "
            "pip install 'tinygrad_cv[viz]', or install Graphviz.",
            name=error.name,
        ) from error
    left, bottom, right, top = map(float, layout["bb"].split(","))
    margin = 4.0
    width, height = right - left + 2 * margin, top - bottom + 2 * margin
    scale = min(1.0, PAGE / width, PAGE / height)

    class Graph(Artist):
        def draw(self, renderer: Any) -> None:
            for part in (layout, *layout.get("objects", ()), *layout.get("edges", ())):
                if time.monotonic() > end:
                    raise TimeoutError
                for path in ("_draw_", "_ldraw_", "_hdraw_", "_tdraw_"):
                    _play(renderer, part.get(path, ()), scale, (margin - left, margin - bottom))

    figure = Figure(figsize=(scale * width / 72, scale * height / 72), dpi=72, facecolor="white")
    figure.add_artist(Graph())
    contents = io.BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 42}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a character that the font lacks is an empty box
        figure.savefig(contents, format="pdf", metadata={"CreationDate": None})
    return contents.getvalue()


def _play(
    renderer: Any, operations: list[dict[str, Any]], scale: float, shift: tuple[float, float]
) -> None:
    """Run drawing operations, as Graphviz's formats `xdot` and `json` have them."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.path import Path as Outline
    from matplotlib.transforms import Affine2D

    transform = Affine2D().translate(*shift).scale(scale)
    pen, fill, size, bold = "#000000", "#000000", 14.0, False
    line, dash = 1.0, ""
    for step in operations:
        kind = step["op"]
        if kind == "c":
            pen = step["color"]
        elif kind == "C":
            fill = step["color"]
        elif kind == "F":
            size = step["size"]
        elif kind == "t":
            bold = bool(step["fontchar"] & 1)
        elif kind == "S":
            found = re.fullmatch(r"setlinewidth\((.*)\)", step["style"])
            if found:
                line = float(found[1])
            elif step["style"] in DASHES:
                dash = step["style"]
        else:
            context = renderer.new_gc()
            context.set_foreground(_rgba(pen), isRGBA=True)
            context.set_linewidth(scale * line)
            context.set_dashes(0, DASHES.get(dash))
            if kind == "T":
                prop = FontProperties(weight="bold" if bold else "normal", size=scale * size)
                words = step["text"].rstrip("\u00a0 ")  # what `widths.padded` added
                told, _, _ = renderer.get_text_width_height_descent(words, prop, False)
                wanted = scale * min(step["width"], width(words, size, bold))
                if told > wanted > 0:  # another font than the one that was measured
                    prop.set_size(scale * size * wanted / told)
                    told = wanted
                x, y = transform.transform(step["pt"])
                x -= {"l": 0.0, "c": told / 2, "r": told}[step["align"]]
                renderer.draw_text(context, x, y, words, prop, 0)
            else:
                points, codes = _outline(kind, step)
                path = Outline(points, [getattr(Outline, code) for code in codes])
                renderer.draw_path(context, path, transform, _rgba(fill) if kind in "PEB" else None)
            context.restore()


DASHES = {"solid": None, "dashed": [4.0, 3.0], "dotted": [1.0, 3.0]}


def _outline(kind: str, step: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """The points of a polygon, polyline, ellipse or spline, and what each is on the way."""
    if kind in "Ee":
        x, y, across, up = step["rect"]
        points = [
            [x + across * math.cos(turn), y + up * math.sin(turn)]
            for turn in (math.tau * i / 32 for i in range(32))
        ]
    else:
        points = step["points"]
    on = "CURVE4" if kind in "Bb" else "LINETO"
    codes = ["MOVETO", *[on] * (len(points) - 1)]
    return (points, codes) if kind in "BbL" else ([*points, points[0]], [*codes, "CLOSEPOLY"])


def _rgba(color: str) -> tuple[float, ...]:
    """A colour such as #FCE9DE or #fffffe00 in red, green, blue and opacity."""
    channels = [int(color[i : i + 2], 16) / 255 for i in range(1, len(color), 2)]
    return (*channels, 1.0)[:4]


def check_path(path: str | os.PathLike[str], suffixes: tuple[str, ...]) -> Path:
    """The path, if a picture can be saved there in a format that its suffix names."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(
            f"the suffix of a picture's file says its format, one of {', '.join(suffixes)}; "
            f"got {str(path)!r}."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {str(path.parent)!r} for {path.name!r} does not exist; create it first."
        )
    return path
