"""`tinygrad-cv gallery`: draw a picture of each kind of graph, in every format."""

import argparse
import re
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_cv.cli.arguments import CommandError, given, path
from tinygrad_cv.printing import quantity
from tinygrad_cv.storage import write

if TYPE_CHECKING:
    from tinygrad_cv.examples.gallery import Piece

FORMATS = ("svg", "png", "pdf", "html", "print")
"""What is made of each piece; `print` is an SVG in greys."""


def add(commands: Any) -> None:
    """Describe the options."""
    parser = commands.add_parser(
        "gallery",
        help="draw a picture of each kind of graph: gates, known models, a GAN, a NaN",
        description=(
            "Draw the gallery: two gates, ConvNets and known models, a U-Net, an LSTM, a "
            "transformer, two nets that play against each other, a gradient of a gradient, and "
            "what a NaN, dead units and vanishing gradients look like. Each is saved in every "
            "format, and index.html shows them all."
        ),
        allow_abbrev=False,
    )
    parser.add_argument(
        "names", nargs="*", type=given, metavar="NAME", help="such as resnet18; default: all"
    )
    parser.add_argument(
        "--out", type=path, default=Path("gallery"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--formats",
        type=_formats,
        default=FORMATS,
        metavar="LIST",
        help=f"some of {','.join(FORMATS)}, with commas between; default: all",
    )
    parser.set_defaults(run=gallery)


def _formats(text: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in text.split(","))
    if unknown := [part for part in found if part not in FORMATS]:
        raise argparse.ArgumentTypeError(
            f"expected some of {','.join(FORMATS)}, given {unknown[0]!r}."
        )
    return found


def gallery(options: argparse.Namespace) -> None:
    """Draw the pieces, and tell of each how large it is and how long it took."""
    from tinygrad_cv.examples.gallery import PIECES

    if unknown := [name for name in options.names if name not in PIECES]:
        raise CommandError(
            f"argument NAME: there is no piece {unknown[0]!r}; there are {', '.join(PIECES)}."
        )
    options.out.mkdir(parents=True, exist_ok=True)
    sections = []
    for name in options.names or PIECES:
        started = time.perf_counter()
        try:
            piece = PIECES[name]()
            traced = time.perf_counter()
            files = dict(_saved(piece, options.out / name, options.formats))
        except (ModuleNotFoundError, RuntimeError, TimeoutError) as error:
            raise CommandError(f"{name}: {error}", status=1) from error
        drawn = time.perf_counter()
        sizes = ", ".join(f"{kind} {_size(file)}" for kind, file in files.items())
        times = f"traced in {traced - started:.1f} s, drawn in {drawn - traced:.1f} s"
        told = f"{len(piece.trace.nodes)} nodes, {times}; {sizes}"
        print(f"{name}: {told}", flush=True)
        sections.append(_section(name, (PIECES[name].__doc__ or "").strip(), told, files))
    index = options.out / "index.html"
    write(index, PAGE.format(sections="\n".join(sections)).encode())
    print(f"{index}: {len(sections)} pieces")


def _saved(piece: "Piece", stem: Path, formats: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """The files of a piece, by the names of their formats."""
    from tinygrad_cv import viz

    for kind in formats:
        if kind == "print":
            picture = viz.draw(piece.trace, **piece.look, style="print")
            yield kind, picture.save(stem.with_name(f"{stem.name}-print.svg"))
        else:
            yield kind, viz.draw(piece.trace, **piece.look).save(stem.with_suffix(f".{kind}"))
    for kind in formats:
        if piece.circuit is not None and kind != "print":
            file = stem.with_name(f"{stem.name}-circuit.{kind}")
            yield f"circuit {kind}", piece.circuit.save(file)


def _size(file: Path) -> str:
    """The bytes of a file; and of an SVG its extent, in points."""
    told = quantity(file.stat().st_size, "B")
    if file.suffix != ".svg":
        return told
    beginning = file.read_text(encoding="utf-8")[:2000]
    found = re.search(r'width="([\d.]+)pt"\s+height="([\d.]+)pt"', beginning)
    return f"{told} ({float(found[1]):.0f} x {float(found[2]):.0f} pt)" if found else told


PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tinygrad_cv: the gallery</title>
<style>
:root {{ color-scheme: light dark; font: 17px/1.4 sans-serif }}
body {{ margin: 1em auto; max-width: 80em; padding: 0 1em }}
img {{ max-width: 100%; max-height: 80vh; background: white }}
small {{ color: light-dark(#5f6570, #a3a9b5) }}
</style>
<h1>The gallery</h1>
{sections}
</html>
"""


def _section(name: str, about: str, told: str, files: dict[str, Path]) -> str:
    """A piece in the index: what it is, its smallest picture, and links to its files."""
    links = " · ".join(f'<a href="{file.name}">{kind}</a>' for kind, file in files.items())
    shown = next((file for kind, file in files.items() if kind in ("svg", "png")), None)
    image = (
        "" if shown is None else f'<p><img src="{shown.name}" alt="{escape(about)}" loading="lazy">'
    )
    return (
        f'<h2 id="{name}">{name.replace("_", " ")}</h2><p>{escape(about)} {links}<br>'
        f"<small>{escape(told)}</small></p>{image}"
    )
