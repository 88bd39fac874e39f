"""What a picture of a circuit consists of: elements with a state, in layers, written as SVG."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from tinygrad_cv.viz import boxing
from tinygrad_cv.viz.boxing import Letters, Mark
from tinygrad_cv.viz.page import beside


@dataclass(frozen=True)
class Plate:
    """A rectangle with round corners, around a point."""

    x: float
    y: float
    width: float
    height: float
    radius: float


@dataclass(frozen=True)
class Curve:
    """A start, and for each further piece of the way its two control points and its end."""

    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Element:
    """A part of the drawing that has a state of its own."""

    key: str
    kind: str
    shapes: tuple[Mark | Plate | Curve, ...]


@dataclass(frozen=True)
class Layer:
    """Elements, moved and scaled."""

    elements: tuple[Element, ...]
    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Sheet:
    """A whole picture."""

    width: float
    height: float
    layers: tuple[Layer, ...]

    def svg(self) -> str:
        """As SVG with its style, on white."""
        body = "".join(
            f'<g transform="translate({layer.x:.1f} {layer.y:.1f}) scale({layer.scale:.4f})">'
            f"{written(layer.elements)}</g>"
            for layer in self.layers
        )
        size = f"{self.width:.0f} {self.height:.0f}"
        wide, high = size.split()
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" '
            f'viewBox="0 0 {size}">\n<style>{_style()}</style>\n'
            f'<rect class="paper" width="{wide}" height="{high}"/>\n{body}\n</svg>\n'
        )


def corners(shapes: Iterable[Any]) -> Iterable[tuple[float, float]]:
    for shape in shapes:
        if isinstance(shape, Letters):
            yield shape.x, shape.y - 0.76 * shape.size
            yield shape.x + shape.width, shape.y + 0.24 * shape.size
        elif isinstance(shape, Plate):
            yield shape.x - shape.width / 2, shape.y - shape.height / 2
            yield shape.x + shape.width / 2, shape.y + shape.height / 2
        else:
            yield from shape.points


def written(elements: Collection[Element]) -> str:
    """Elements as SVG."""
    parts = []
    for element in elements:
        key = f' data-key="{element.key}"' if element.key else ""
        inside = "".join(map(_svg, element.shapes))
        parts.append(f'<g class="{element.kind}"{key}>{inside}</g>')
    return "\n".join(parts)


def _svg(shape: Mark | Plate | Curve) -> str:
    if isinstance(shape, Plate):
        x, y = shape.x - shape.width / 2, shape.y - shape.height / 2
        return (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{shape.width:.1f}" '
            f'height="{shape.height:.1f}" rx="{shape.radius:g}"/>'
        )
    if isinstance(shape, Curve):
        start, *rest = (f"{x:.1f} {y:.1f}" for x, y in shape.points)
        return f'<path d="M{start}C{" ".join(rest)}"/>'
    return boxing.svg([shape])


def _style() -> str:
    """The looks of the drawing on a light page."""
    drawing = beside("circuit.css").partition("/* The page. */")[0]
    return re.sub(r"light-dark\((\S+), \S+\)", r"\1", drawing)
