"""What a notebook shows of tensors, modules and traces, beside their text."""

import sys
from html import escape
from typing import TYPE_CHECKING

from tinygrad_cv._graph import Graph
from tinygrad_cv._symbol import formula
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import Module, Parameter
from tinygrad_cv.viz.data import Trace

if TYPE_CHECKING:
    from tinygrad_cv.viz.drawing import Drawing

SMALL = 40  # nodes of a graph that is drawn below its tensor


def bundle(value: Tensor | Module | Trace) -> dict[str, str]:
    """The representations of a value by media type: its text, and HTML.

    A tensor shows its numbers, what made it with the formulas of its gradient, and its graph if
    that is small; a module its layers and their parameters; a trace the interactive page.
    """
    if isinstance(value, Tensor):
        html = _tensor(value)
    elif isinstance(value, Module):
        html = _module(value)
    else:
        html = _trace(value)
    return {"text/plain": repr(value), "text/html": html}


def _tensor(tensor: Tensor) -> str:
    kind = f"{tensor.dtype} {tensor.shape} on {tensor.device}"
    html = f"<pre>{escape(repr(tensor))}</pre><p>{escape(kind)}"
    node = tensor.grad_fn
    if node is None:
        return f"{html}{', requires a gradient' if tensor.requires_grad else ''}</p>"
    size = len(Graph([node]))
    traced = _traced(tensor) if size <= SMALL else None
    rules = "".join(f"<br><code>{escape(rule)}</code>" for rule in _rules(tensor, traced))
    html += f", made by <b>{escape(node.label)}</b>{rules}</p>"
    if traced is not None:
        picture = _picture(traced)
        html += f"<details><summary>its graph, {size} nodes</summary>{picture}</details>"
    return html


def _traced(tensor: Tensor) -> Trace:
    """The graph of a tensor; what is shown by itself has the names of the session's variables."""
    from tinygrad_cv.viz.naming import named
    from tinygrad_cv.viz.recorder import Recorder

    names = named(vars(sys.modules["__main__"]))
    return Recorder(values=False, gradients=False).traced({tensor: ""}, names)


def _rules(tensor: Tensor, traced: Trace | None) -> list[str]:
    """The formulas of what made a tensor: in the names of its graph, if that is small."""
    if traced is None:
        try:
            return [f"∂L/∂{name} = {rule}" for name, rule in formula(tensor).items()]
        except ValueError:  # its rule may do with arrays what cannot be done with symbols
            return []
    told = []
    for entry in traced.nodes[traced.outputs[0]].inputs:
        where = ", ".join(f"{name} = {meaning}" for name, meaning in entry.where.items())
        if entry.formula:
            told.append(f"∂L/∂{entry.called} = {entry.formula}{where and f'  where {where}'}")
    return told


def _picture(traced: Trace) -> str:
    """A graph as inline SVG, or the sentence that says what is missing."""
    from tinygrad_cv.viz.drawing import draw

    try:
        svg = draw(traced)._repr_svg_()
    except (ModuleNotFoundError, RuntimeError, TimeoutError) as error:
        return f"<p>{escape(str(error))}</p>"
    return svg[svg.index("<svg") :]


def _module(module: Module) -> str:
    rows = []
    for path, part in module.named_modules():
        own = sum(p.numel() for p in vars(part).values() if isinstance(p, Parameter))
        indent = path.count(".") + bool(path)
        name = escape(path.rpartition(".")[2] or type(module).__name__)
        kind = escape(f"{type(part).__name__}({part.extra_repr()})") if path else ""
        rows.append(
            f'<tr><td style="text-align:left;padding-left:{1 + indent}em">{name}</td>'
            f'<td style="text-align:left">{kind}</td><td>{own:,}</td></tr>'
        )
    total = sum(parameter.numel() for parameter in module.parameters())
    return (
        "<table><tr><th>module</th><th>layer</th><th>parameters</th></tr>"
        f"{''.join(rows)}</table><p>{total:,} parameters</p>"
    )


def _trace(trace: Trace) -> str:
    from tinygrad_cv.viz.page import page

    return framed(page(trace))


def interactive(drawing: "Drawing", told: str) -> dict[str, str]:
    """A traced graph as its page, and as text."""
    from tinygrad_cv.viz.page import page

    view = drawing.view
    html = framed(page(view.trace, [*view.folded, *view.repeated]))
    return {"text/plain": told, "text/html": html}


def framed(page: str) -> str:
    """A whole page within another."""
    style = "width:100%;height:600px;border:1px solid #999"
    inside = escape(page, quote=True)
    return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{inside}"></iframe>'
