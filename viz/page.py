"""One HTML page of a trace: everything is in it, and it opens without a network.

The page is made of files beside this one: `page.html` is the frame, `page.css` the looks;
the files in `PROGRAM` are one program. Here the trace goes in, as JSON that can end no script, with
the words of its boxes, which are those of the static pictures.
"""

import json
import re
from base64 import b64encode
from collections.abc import Collection
from dataclasses import astuple, replace
from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template
from typing import Any, get_args

from tinygrad_cv.viz import labels, words
from tinygrad_cv.viz.cost import Cost, shares
from tinygrad_cv.viz.data import Step, Trace
from tinygrad_cv.viz.grouping import grouped
from tinygrad_cv.viz.judging import judge_steps
from tinygrad_cv.viz.marking import first_bad, first_bad_gradient, name
from tinygrad_cv.viz.packing import packed
from tinygrad_cv.viz.symptoms import symptoms
from tinygrad_cv.viz.text import one_line

PROGRAM = (
    "reading.js",
    "graph.js",
    "boxes.js",
    "layout.js",
    "drawing.js",
    "steps.js",
    "details.js",
    "page.js",
    "following.js",
    "finding.js",
    "minimap.js",
    "saving.js",
    "lines.js",
    "heat.js",
    "linking.js",
)
HEADING = 200  # characters of the title; a longer one ends in …


def page(
    trace: Trace,
    folded: Collection[int] | None = None,
    title: str = "",
    repeated: Collection[int] | None = None,
) -> str:
    """A trace as the text of one HTML document, to be looked at in a browser.

    `folded` are the ids of the modules that are one box at first; in the page each is unfolded by
    a click. Without it equal blocks in a row are found, and as much is folded as makes the graph
    fit the window in which it is opened. Of each group of equal blocks one is shown at first, or
    only of the groups in `repeated`. `title` is that of the trace if none is given. The same trace
    gives the same text.

    The page loads nothing, and its own policy forbids it to. No text of the trace can become
    markup or program: it is JSON with `<`, `>` and `&` escaped, and is shown as text alone.

    Raises ValueError for an id that is not that of a module.
    """
    if folded is None:
        trace = grouped(trace)
    elif unknown := set(folded) - {module.id for module in trace.modules}:
        raise ValueError(
            f"only modules are folded, and the trace has no module {min(unknown)}; it has "
            f"{len(trace.modules)}, with ids from 0."
        )
    heading = one_line(title or trace.title or "graph", HEADING)
    style, script = beside("page.css"), "\n".join(map(beside, PROGRAM))
    contents = {
        "title": heading,
        "folded": None if folded is None else sorted(folded),
        "repeated": None if repeated is None else sorted(repeated),
        **_told(trace),
    }
    return Template(beside("page.html")).substitute(
        title=escape(heading),
        policy=f"default-src 'none'; style-src {hash_of(style)}; script-src {hash_of(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        style=style,
        data=inert(json.dumps(contents, ensure_ascii=False, allow_nan=False)),
        script=script,
    )


def _told(trace: Trace) -> dict[str, Any]:
    """What a page carries of a trace."""
    wording = words.Wording(trace)
    modules = [module.id for module in trace.modules]
    nodes = [node.id for node in trace.nodes]
    named = [*trace.output_names, *[""] * len(trace.outputs)]
    judged = judge_steps(trace)
    remarks = symptoms(trace, judged) or None if trace.remarks is None else trace.remarks
    return {
        "trace": replace(trace, steps=[], remarks=remarks).plain(),
        "steps": packed(trace.steps, judged),
        "marks": [_marks(trace, step) for step in trace.steps],
        "words": {
            "nodes": [astuple(wording.of_node(i)) for i in nodes],
            "modules": [astuple(wording.of_module(m)) for m in modules],
            "frames": [words.frame(module) for module in trace.modules],
            "parameters": {
                i: words.parameter(trace, i) for i in nodes if trace.nodes[i].kind == "parameter"
            },
            "outputs": [
                key or trace.nodes[i].name or "output"
                for i, key in zip(trace.outputs, named, strict=False)
            ],
        },
        "singles": words.singles(trace),
        "leaves": sorted(words.leaves(trace)),
        "costs": {
            what: told for what in get_args(Cost) if any((told := shares(trace, what)).values())
        },
    }


def _marks(trace: Trace, step: Step) -> dict[str, Any]:
    """What is pointed out in a step: the node, what is said of it, and its name."""
    found = {"value": first_bad(trace, step), "gradient": first_bad_gradient(trace, step)}
    return {
        kind: [told[0], labels.wrapped(told[1].words), name(trace, told[0])]
        for kind, told in found.items()
        if told is not None
    }


@cache
def beside(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def hash_of(text: str) -> str:
    """What the policy of a page calls an inline style or script."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def inert(text: str) -> str:
    """JSON without the characters that HTML or an encoder reads as more than text."""
    return re.sub("[<>&\u2028\u2029\ud800-\udfff]", lambda c: f"\\u{ord(c[0]):04x}", text)
