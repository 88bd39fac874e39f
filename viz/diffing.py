"""One HTML page of two graphs as aligned lines; like `page`, it loads nothing.

It is made of `diff.html`, `diff.css` and `diff.js`. Text enters as JSON and is shown as text alone.
"""

import json
from collections.abc import Sequence
from html import escape
from string import Template

from tinygrad_cv.viz.aligning import Line, Row, folded
from tinygrad_cv.viz.page import HEADING, beside, hash_of, inert
from tinygrad_cv.viz.text import one_line


def diff_page(
    names: tuple[str, str], rows: Sequence[Row], lines: tuple[Sequence[Line], Sequence[Line]]
) -> str:
    """Aligned lines as the text of one HTML document. The same rows give the same text."""
    style, script = beside("diff.css"), beside("diff.js")
    heading = one_line(" | ".join(names), HEADING)
    contents = {
        "names": [one_line(name, HEADING) for name in names],
        "lines": [[[line.place, line.title, line.rest] for line in side] for side in lines],
        "stretches": [
            [is_folded, [[row.kind, row.left, row.right, list(row.what)] for row in block]]
            for is_folded, block in folded(rows)
        ],
    }
    return Template(beside("diff.html")).substitute(
        title=escape(heading),
        policy=f"default-src 'none'; style-src {hash_of(style)}; script-src {hash_of(script)}; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        data=inert(json.dumps(contents, ensure_ascii=False, allow_nan=False)),
        script=script,
    )
