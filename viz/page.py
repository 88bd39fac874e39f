"""One HTML page of a trace: everything is in it, and it opens without a network.

The page is made of files beside this one: `page.html` is the frame, `page.css` the looks;
`graph.js`, `layout.js` and `page.js` are one program. Here the trace goes in, as JSON that can end
no script.
"""

import json
import re
from base64 import b64encode
from collections.abc import Collection
from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template

from tinygrad_cv.viz.data import Trace
from tinygrad_cv.viz.text import one_line

PROGRAM = ("graph.js", "layout.js", "page.js")
HEADING = 200  # characters of the title; a longer one ends in …


def page(trace: Trace, folded: Collection[int] = (), title: str = "") -> str:
    """A trace as the text of one HTML document, to be looked at in a browser.

    `folded` are the ids of the modules that are one box at first; in the page each is unfolded by
    a click. `title` is that of the trace if none is given. The same trace gives the same text.

    The page loads nothing, and its own policy forbids it to. No text of the trace can become
    markup or program: it is JSON with `<`, `>` and `&` escaped, and is shown as text alone.

    Raises ValueError for an id that is not that of a module.
    """
    if unknown := set(folded) - {module.id for module in trace.modules}:
        raise ValueError(
            f"only modules are folded, and the trace has no module {min(unknown)}; it has "
            f"{len(trace.modules)}, with ids from 0."
        )
    heading = one_line(title or trace.title or "graph", HEADING)
    style, script = beside("page.css"), "\n".join(map(beside, PROGRAM))
    contents = {"title": heading, "folded": sorted(folded), "trace": trace.plain()}
    return Template(beside("page.html")).substitute(
        title=escape(heading),
        policy=f"default-src 'none'; style-src {hash_of(style)}; script-src {hash_of(script)}; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        data=inert(json.dumps(contents, ensure_ascii=False, allow_nan=False)),
        script=script,
    )


@cache
def beside(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def hash_of(text: str) -> str:
    """What the policy of a page calls an inline style or script."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def inert(text: str) -> str:
    """JSON without the characters that HTML or an encoder reads as more than text."""
    return re.sub("[<>&\u2028\u2029\ud800-\udfff]", lambda c: f"\\u{ord(c[0]):04x}", text)
