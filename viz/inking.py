"""The drawing of a circuit as PNG or PDF, by matplotlib."""

import io
from typing import Any

from tinygrad_cv.viz.boxing import Letters
from tinygrad_cv.viz.plots import blank_figure
from tinygrad_cv.viz.sheets import Curve, Layer, Plate, Sheet

DOTS = 144  # per inch of 96 units: small type stays legible on a projector
COLORS = {
    "gate op": ("#ffffff", "#1c1e22", "#1c1e22"),
    "gate input": ("#eeeeee", "#666666", "#1c1e22"),
    "gate parameter": ("#d6e9f6", "#0072b2", "#1c1e22"),
    "wire": ("none", "#5f6570", "#5f6570"),
    "value": ("none", "#00704f", "#00704f"),
    "gradient": ("none", "#b34700", "#b34700"),
    "name": ("none", "#5f6570", "#5f6570"),
    "said backward": ("none", "#b34700", "#b34700"),
}
"""How each kind of element is filled, drawn and written, as circuit.css has it."""


def painted(sheet: Sheet, kind: str) -> bytes:
    """A picture as the contents of a file: "png" or "pdf".

    Raises ModuleNotFoundError without matplotlib.
    """
    figure = blank_figure(sheet.width / 96, sheet.height / 96)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, sheet.width)
    axes.set_ylim(sheet.height, 0)
    for layer in sheet.layers:
        _paint(axes, layer)
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=DOTS)
    return file.getvalue()


def _paint(axes: Any, layer: Layer) -> None:
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import FancyBboxPatch, Patch, PathPatch
    from matplotlib.path import Path as Outline
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    place = Affine2D().scale(layer.scale).translate(layer.x, layer.y)
    points = 72 / 96 * layer.scale  # of a unit
    for element in layer.elements:
        fill, pen, ink = COLORS[element.kind]
        for shape in element.shapes:
            patch: Patch
            if isinstance(shape, Plate):
                corner = (shape.x - shape.width / 2, shape.y - shape.height / 2)
                style = f"round,pad=0,rounding_size={shape.radius}"
                patch = FancyBboxPatch(corner, shape.width, shape.height, boxstyle=style)
                patch.set(linewidth=2 * points, facecolor=fill, edgecolor=pen)
            elif isinstance(shape, Letters):
                font = FontProperties(style="italic" if shape.slanted else "normal")
                glyphs = TextPath((0, 0), shape.text, size=shape.size, prop=font)
                wide = glyphs.get_extents().width or 1.0
                fit = Affine2D().scale(min(1.0, shape.width / wide), -1)
                fit.translate(shape.x, shape.y)
                patch = PathPatch(fit.transform_path(glyphs), linewidth=0, facecolor=ink)
            else:
                bend = Outline.CURVE4 if isinstance(shape, Curve) else Outline.LINETO
                codes = [Outline.MOVETO, *[bend] * (len(shape.points) - 1)]
                width = points * (2.0 if isinstance(shape, Curve) else shape.width)
                way = Outline(shape.points, codes)
                patch = PathPatch(way, fill=False, linewidth=width, edgecolor=pen)
            patch.set_transform(place + axes.transData)
            axes.add_patch(patch)
