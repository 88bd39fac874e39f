"""What a notebook shows of tensors, modules and traces, beside their text."""

from html import escape

from tinygrad_cv._graph import Graph
from tinygrad_cv._symbol import formula
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import Module, Parameter
from tinygrad_cv.viz.data import Trace

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
    try:
        rules = [f"∂L/∂{name} = {rule}" for name, rule in formula(tensor).items()]
    except ValueError:  # its rule may do with arrays what cannot be done with symbols
        rules = []
    made = "".join(f"<br><code>{escape(rule)}</code>" for rule in rules)
    html += f", made by <b>{escape(node.label)}</b>{made}</p>"
    size = len(Graph([node]))
    if size <= SMALL:
        picture = _picture(tensor)
        html += f"<details><summary>its graph, {size} nodes</summary>{picture}</details>"
    return html


def _picture(tensor: Tensor) -> str:
    """The graph of a tensor as inline SVG, or the sentence that says what is missing."""
    from tinygrad_cv.viz.drawing import draw

    try:
        svg = draw(tensor)._repr_svg_()
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


def framed(page: str) -> str:
    """A whole page within another."""
    style = "width:100%;height:600px;border:1px solid #999"
    inside = escape(page, quote=True)
    return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{inside}"></iframe>'
