"""How wide text is in Helvetica, so that a picture holds where another font stands in for it."""

import re
from html import unescape

# Of the characters from " " to "~", in thousandths of the size (Adobe's font metrics).
REGULAR = (
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 "
    "556 556 556 556 278 278 584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 "
    "556 833 722 778 667 778 722 667 611 722 667 944 667 667 611 278 278 278 469 556 333 556 "
    "556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 278 556 500 722 "
    "500 500 500 334 260 334 584"
)
BOLD = (
    "278 333 474 556 556 889 722 238 333 333 389 584 278 333 278 278 556 556 556 556 556 556 "
    "556 556 556 556 333 333 584 584 584 611 975 722 722 722 722 667 611 778 722 278 556 722 "
    "611 833 722 778 667 778 722 667 611 722 667 944 667 667 611 333 278 333 584 556 333 556 "
    "611 556 611 556 333 611 611 278 278 556 278 889 611 611 611 611 389 556 333 611 556 778 "
    "556 556 500 389 280 389 584"
)
TABLES = {
    bold: {chr(32 + i): int(width) for i, width in enumerate(table.split())}
    | dict.fromkeys("\u00a0·", 278)
    for bold, table in ((False, REGULAR), (True, BOLD))
}
OTHER = 556  # of a character that is in no table, such as ∂


def width(text: str, size: float, bold: bool = False) -> float:
    """How wide a line of text is, in the unit of its size.

    >>> width("dot", 10.0)
    13.9
    """
    table = TABLES[bold]
    return size * sum(table.get(character, OTHER) for character in text) / 1000


def padded(line: str) -> str:
    """A line with blanks at its end for what `graphviz-pure` takes for a blank, such as ∂."""
    table = TABLES[False]
    return line + "\u00a0" * sum(character not in table for character in line)


def fitted(svg: str) -> str:
    """The text of an SVG with its width said in full, so that no other font makes it wider."""

    def fit(found: re.Match[str]) -> str:
        attributes, text = found.groups()
        told = unescape(text).rstrip("\u00a0 ")
        size = re.search(r'font-size="([\d.]+)', attributes)
        if size is None or not told:
            return found[0]
        length = width(told, float(size[1]), 'font-weight="bold"' in attributes)
        text = re.sub(r"(?:\u00a0|&#160;|&#xa0;| )+$", "", text)
        fixed = f'textLength="{length:.2f}" lengthAdjust="spacingAndGlyphs"'
        return f"<text{attributes} {fixed}>{text}</text>"

    return re.sub(r"<text([^>]*)>([^<]*)</text>", fit, svg)
