"""`tinygrad-cv reference`: the API reference as a folder of HTML pages, from the docstrings."""

import argparse
import base64
import html
import importlib
import inspect
import json
import re
import textwrap
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from tinygrad_cv._absent import _Absent
from tinygrad_cv._op import REGISTRY
from tinygrad_cv._symbol import formula
from tinygrad_cv.cli.arguments import CommandError, path
from tinygrad_cv.storage import write

TOP = "tinygrad_cv"
PAGES = (
    "",
    "accelerator amp autograd autograd.forward_ad autograd.functional autograd.profiler backends",
    "cuda data data.datasets data.transforms distributed distributions einops examples.course func",
    "hub jit linalg models multiprocessing nn nn.functional nn.init nn.utils onnx optim",
    "optim.lr_scheduler optim.swa_utils random signal testing train train.health train.search",
    "utils.checkpoint utils.data viz",
)
"""What has a page, under tinygrad_cv; what of it is not there is left out."""


def add(commands: Any) -> None:
    """Describe the options."""
    parser = commands.add_parser(
        "reference",
        help="write the API reference as HTML pages",
        description=(
            "Write a page for each module that is public, from the docstrings: signatures, the "
            "formulas of the gradient rules, examples, and the labs that use a name. The pages "
            "need no network, and neither does their search. (Extra docs.)"
        ),
        allow_abbrev=False,
    )
    parser.add_argument(
        "--out", type=path, default=Path("reference"), metavar="DIR", help="default: %(default)s"
    )
    parser.set_defaults(run=reference)


def reference(options: argparse.Namespace) -> None:
    """Write the pages."""
    started = time.perf_counter()
    try:
        import pdoc  # noqa: F401
    except ModuleNotFoundError as error:
        raise CommandError(
            "the pages are made by pdoc; run pip install 'tinygrad_cv[docs]'.", status=1
        ) from error
    files = pages()
    try:
        for name, text in files.items():
            file = options.out / name
            file.parent.mkdir(parents=True, exist_ok=True)
            write(file, text.encode())
    except OSError as error:
        raise CommandError(f"argument --out: {file}: {error.strerror}.") from error
    seconds = time.perf_counter() - started
    print(f"{options.out / 'index.html'}: {len(files) - 1} pages and a search, in {seconds:.1f} s")


def modules() -> dict[str, ModuleType]:
    """The modules that have a page, by their names."""
    found = {}
    for name in ("", *" ".join(PAGES).split()):
        full = f"{TOP}.{name}".rstrip(".")
        try:
            found[full] = importlib.import_module(full)
        except ModuleNotFoundError as error:
            if not full.startswith(str(error.name)):  # a package that is not installed
                continue
    return found


def public_names(module: ModuleType) -> list[str]:
    """What a page tells of: what the module exports, or what it has from this package."""
    listed = getattr(module, "__all__", None) or dir(module)
    exported = hasattr(module, "__all__") or hasattr(module, "__path__")
    names = []
    for name in listed:
        if name.startswith("_"):
            continue
        try:
            value = getattr(module, name)
        except ModuleNotFoundError:  # of an extra that is not installed
            continue
        if inspect.ismodule(value):
            continue
        origin = getattr(value, "__module__", "")
        if origin == module.__name__ or (
            exported and (hasattr(module, "__all__") or f"{origin}.".startswith(f"{TOP}."))
        ):
            names.append(name)
    return names


# ----- docstrings as HTML ------------------------------------------------------------------------

DOT = r'<span class="o">\.</span>'
_TAG = re.compile(r"<[^>]*>")
ENOUGH = 84
"""A line that ends although the next word would fit into so many columns ends on purpose."""


def as_html(text: str, link: Callable[[str], str] = html.escape) -> str:
    """A docstring as HTML: plain text with lists, indented blocks and examples.

    Nothing in it is markup but `names` in backticks, for which `link` writes what stands there.

    >>> from tinygrad_cv.cli.reference import as_html
    >>> print(as_html("y_i = a * b * c < 1, see `relu`"))
    <p>y_i = a * b * c &lt; 1, see <code>relu</code></p>
    """
    return "\n".join(_blocks(inspect.cleandoc(text).splitlines(), link))


def _blocks(lines: list[str], link: Callable[[str], str]) -> Iterator[str]:
    lines = list(lines)
    while lines:
        if not lines[0].strip():
            lines.pop(0)
        elif lines[0].startswith(">>>"):
            yield _highlighted("\n".join(_taken(lines, lambda line: bool(line.strip()))), "pycon")
        elif lines[0].startswith("  "):
            block = _taken(lines, lambda line: line.startswith("  ") or not line.strip())
            shown = textwrap.dedent("\n".join(block)).strip("\n")
            yield f"<pre><code>{html.escape(shown)}</code></pre>"
        elif lines[0].startswith("|"):
            table = "\n".join(_taken(lines, lambda line: line.startswith("|")))
            yield f"<pre><code>{html.escape(table)}</code></pre>"
        elif lines[0].startswith("- "):
            yield "<ul>"
            while lines and lines[0].startswith("- "):
                item = [lines.pop(0)[2:]]
                item += _taken(lines, lambda line: line.startswith("  "))
                body = "\n".join(_blocks(inspect.cleandoc("\n".join(item)).splitlines(), link))
                yield f"<li>{body}</li>"
            yield "</ul>"
        else:
            paragraph = [lines.pop(0)]
            paragraph += _taken(
                lines, lambda line: bool(line.strip()) and not line.startswith(("- ", "  ", ">>>"))
            )
            yield f"<p>{_flowing(paragraph, link)}</p>"


def _taken(lines: list[str], wanted: Callable[[str], bool]) -> list[str]:
    """Take the lines from the beginning for as long as they are wanted."""
    count = next((i for i, line in enumerate(lines) if not wanted(line)), len(lines))
    taken = lines[:count]
    del lines[:count]
    return taken


def _flowing(lines: list[str], link: Callable[[str], str]) -> str:
    """A paragraph, whose lines end where the page does, but for those that ended on purpose."""
    text = ""
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        fits = len(line) + 1 + len(after.partition(" ")[0]) <= ENOUGH
        text += line + ("\0" if after and fits else "\n" if after else "")
    parts = re.split(r"`([^`]+)`", text)
    for i, part in enumerate(parts):
        parts[i] = f"<code>{link(' '.join(part.split()))}</code>" if i % 2 else html.escape(part)
    return "".join(parts).replace("\0", "<br>\n")


def _highlighted(program: str, lexer: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name

    shown: str = highlight(
        program, get_lexer_by_name(lexer), HtmlFormatter(cssclass="pdoc-code codehilite")
    )
    return shown


# ----- pages -------------------------------------------------------------------------------------

TEMPLATES = {
    "page.html.jinja2": """\
{% extends "default/module.html.jinja2" %}
{% block attribution %}{% endblock %}
{% block nav_index %}{% endblock %}
{% block view_source %}{% endblock %}
{% block style %}{{ super() }}
<style>html, main { scroll-behavior: auto !important }</style>
{% endblock %}
{% macro docstring(var) %}{{ var | explained }}{% endmacro %}
{% macro bases(cls) %}{{ cls | public_bases }}{% endmacro %}
{% macro annotation(var) %}
{% if var.annotation_str %}
<span class="annotation">{{ var.annotation_str | public }}</span>
{% endif %}
{% endmacro %}
{% macro default_value(var) %}
{% if var.default_value_str %} =
<span class="default_value">{{ var.default_value_str | public }}</span>
{% endif %}
{% endmacro %}
{% macro decorators(doc) %}{% endmacro %}
{% macro is_public(doc) %}
{% if doc.kind == "module" or doc is absent %}
{% elif not doc.name.startswith("_") %}true
{% elif doc.name == "__init__" and doc.signature_without_self.parameters %}true
{% endif %}
{% endmacro %}
{% macro inherited(cls) %}{% endmacro %}
""",
    "first.html.jinja2": """\
{% extends "frame.html.jinja2" %}
{% block title %}tinygrad_cv, API reference{% endblock %}
{% block nav %}
<input type="search" placeholder="Search..." role="searchbox" aria-label="search"
 pattern=".+" required>
<h2>Modules</h2>
<ul>{% for name in all_modules %}
<li><a href="{{ name.replace(".", "/") }}.html">{{ name }}</a></li>
{% endfor %}</ul>
{% endblock %}
{% block content %}
<main class="pdoc"><section class="module-info"><h1 class="modulename">tinygrad_cv</h1>
<div class="docstring">{{ body }}</div></section></main>
{% include "search.html.jinja2" %}
{% endblock %}
""",
    "lab.html.jinja2": """\
{% extends "frame.html.jinja2" %}
{% block title %}{{ name }}{% endblock %}
{% block style %}{{ super() }}
<style>:root { --sidebar-width: 8rem } main.pdoc.pdoc { width: 76rem }</style>
{% endblock %}
{% block nav %}
<a class="pdoc-button module-list-button" href="../index.html">Index</a>
{% endblock %}
{% block content %}
<main class="pdoc"><section class="module-info"><h1 class="modulename">{{ name }}</h1>
<div class="docstring">{{ body }}</div></section></main>
{% endblock %}
""",
}


def pages(only: Collection[str] | None = None) -> dict[str, str]:
    """The files of the reference: their names in its folder, and what is in them.

    `only` names the modules that get a page, by default all; links to the others stay.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", module="pdoc"
        )  # it looks for sources where there are none
        return _Reference().files(only)


class _Reference:
    """The pages, and where each name is explained."""

    def __init__(self) -> None:
        import pdoc.doc
        from pdoc.render import env

        from tinygrad_cv.examples.course import FOLDER, NAMES

        class Module(pdoc.doc.Module):
            """A module whose members are those that are public, wherever they are defined."""

            @property
            def submodules(self) -> list[pdoc.doc.Module]:
                """None: pages have links of their own."""
                return []

            @cached_property
            def _member_objects(self) -> dict[str, Any]:
                return {name: getattr(self.obj, name) for name in public_names(self.obj)}

        self.docs = {name: Module(module) for name, module in modules().items()}
        self.folder, self.labs = FOLDER, NAMES
        self.programs = {n: (FOLDER / f"{n}.py").read_text(encoding="utf-8") for n in NAMES}
        self.places: dict[str, tuple[str, str]] = {}
        """The page and the name there, by what a docstring may call it."""
        self.homes: dict[int, tuple[str, str]] = {}
        """The same by the identity of what is explained: where it has its own name, first."""
        self.types: dict[str, tuple[str, str]] = {}
        """The same of classes, by where they are defined."""
        for page, doc in self.docs.items():
            self.places.setdefault(page.removeprefix(f"{TOP}."), (page, ""))
            for name, value in doc._member_objects.items():
                short = f"{page}.{name}".removeprefix(f"{TOP}.")
                self.places.setdefault(short, (page, name))
                if callable(value):
                    own = getattr(value, "__name__", "")
                    if name == own != self.homes.get(id(value), ("", ""))[1]:
                        self.homes[id(value)] = (page, name)  # and not under another name
                    self.homes.setdefault(id(value), (page, name))
                if inspect.isclass(value):
                    self.types.setdefault(f"{value.__module__}.{value.__qualname__}", (page, name))
                    for method in vars(value):
                        if not method.startswith("_"):
                            self.places.setdefault(f"{short}.{method}", (page, f"{name}.{method}"))
        self.env = env.overlay(loader=self._loader(env.loader))
        self.env.filters = env.filters | {
            "explained": self._explained,
            "public_bases": self._bases,
            "public": self._plain,
            "format_signature": self._signature,
        }
        self.env.tests = env.tests | {"absent": lambda doc: isinstance(doc.obj, _Absent)}
        self.page, self.parameters = "", frozenset[str]()

    @staticmethod
    def _loader(theirs: Any) -> Any:
        from jinja2 import ChoiceLoader, DictLoader

        return ChoiceLoader([DictLoader(TEMPLATES), theirs])

    def files(self, only: Collection[str] | None) -> dict[str, str]:
        """The files by their names."""
        import pdoc.render

        pdoc.render.configure(show_source=False, search=True)
        self.env.globals.update(pdoc.render.env.globals)
        files = {"index.html": self._index()}
        template = self.env.get_template("page.html.jinja2")
        for name, doc in self.docs.items():
            if only is not None and name not in only:
                continue
            self.page = name
            files[f"{name.replace('.', '/')}.html"] = template.render(
                module=doc, all_modules=self.docs, root_module_name=None, edit_url=None, mtime=None
            )
        for name, program in self.programs.items():
            body = self._picture(name) + _highlighted(program, "python")
            files[f"labs/{name}.html"] = self.env.get_template("lab.html.jinja2").render(
                name=name, body=_safe(body), all_modules=self.docs
            )
        found = self.env.get_template("search.js.jinja2")
        files["search.js"] = found.render(search_index=json.dumps(list(self._entries(only))))
        return files

    # ----- what stands on a page -----

    def _explained(self, doc: Any) -> Any:
        """The docstring, the formulas of the rules, and the labs that use it."""
        home = self._home(self.page, doc)
        text = _told(doc)
        if doc.kind == "class":  # what a program gives it, and what it has
            self.parameters = frozenset(doc.members) | frozenset(_taken_by(doc.obj))
        else:
            taken = doc.signature.parameters if doc.kind == "function" else ()
            self.parameters = frozenset(taken)
        method = doc.qualname.rpartition(".")[2]
        if doc.kind == "function" and "." in doc.qualname and ("", method) and text:
            top = self.docs[TOP]._member_objects.get(method)
            if top is not None and inspect.getdoc(top) == inspect.cleandoc(text):
                home = (TOP, method)
        if doc.kind != "module" and home != (self.page, doc.qualname):
            first = as_html(text.partition("\n\n")[0], self._linked)
            there = self._anchor(*home, f"{home[0]}.{home[1]}")
            return _safe(f'<div class="docstring">{first}<p>More: <code>{there}</code></p></div>')
        body = as_html(text, self._linked) if text else ""
        if doc.kind == "function":
            body += self._rules(doc.obj)
        if doc.kind in ("function", "class") and "." not in doc.qualname:
            body += self._used(doc.qualname)
        return _safe(f'<div class="docstring">{body}</div>' if body else "")

    def _home(self, page: str, doc: Any) -> tuple[str, str]:
        """The page and the name where this is explained."""
        members = self.docs[page]._member_objects
        here = (page, doc.qualname)
        return self.homes.get(id(members[doc.qualname]), here) if doc.qualname in members else here

    @staticmethod
    def _rules(function: Any) -> str:
        """The gradient rules of an op."""
        op = REGISTRY.get(getattr(function, "__name__", ""))
        if op is None or op.__module__ != getattr(function, "__module__", "") or not op.rules:
            return ""
        try:
            told = formula(op, attributes=False)
        except ValueError:  # a part of g for each input, and it takes shapes to say which
            return ""
        lines = "\n".join(html.escape(f"∂L/∂{name} = {rule}") for name, rule in told.items())
        where = "with y the output, and g = ∂L/∂y"
        return f"<p>Gradient rules, {where}:</p>\n<pre><code>{lines}</code></pre>"

    def _used(self, name: str) -> str:
        """The labs whose programs use this name."""
        module = self.page.removeprefix(TOP).removeprefix(".").rpartition(".")[2] or "tg"
        pattern = re.compile(rf"\b{re.escape(module)}\.{re.escape(name)}\b")
        labs = [lab for lab, program in self.programs.items() if pattern.search(program)]
        links = [f'<a href="{self._up()}labs/{lab}.html">{lab}</a>' for lab in labs]
        return f"<p>Labs: {', '.join(links)}</p>" if links else ""

    def _bases(self, cls: Any) -> Any:
        """The bases that have a page."""
        homes = [self.homes[id(base)] for base in cls.obj.__bases__ if id(base) in self.homes]
        links = ", ".join(self._anchor(page, name, name) for page, name in homes)
        return _safe(f"({links})" if links else "")

    def _signature(self, signature: inspect.Signature, colon: bool) -> Any:
        from pdoc.render_helpers import format_signature

        shown = str(format_signature(signature, colon))
        dotted = rf'<span class="n">\w+</span>(?:{DOT}<span class="n">\w+</span>)+'
        return _safe(self._types(re.sub(dotted, lambda found: _TAG.sub("", found[0]), shown)))

    def _types(self, text: str) -> str:
        """Types under the names by which they are public, with links to them."""

        def shown(found: re.Match[str]) -> str:
            if found[1] in self.types:
                return self._anchor(*self.types[found[1]], found[1].rpartition(".")[2])
            parts = [part for part in found[1].split(".") if not part.startswith("_")]
            return ".".join(parts) if parts[0] == "numpy" else parts[-1]

        text = re.sub(r"&lt;class &(?:#39|#x27|quot);([\w.]+)&(?:#39|#x27|quot);&gt;", r"\1", text)
        return re.sub(
            r"(?<![\w./#])((?:tinygrad_cv|numpy|typing|collections)(?:\.\w+)+)", shown, text
        )

    def _plain(self, text: str) -> Any:
        """The same for the type or the value of a variable."""
        return _safe(self._types(html.escape(text)))

    # ----- links -----

    def _up(self) -> str:
        return "../" * self.page.count(".")

    def _anchor(self, page: str, name: str, text: str) -> str:
        file = "" if page == self.page else f"{self._up()}{page.replace('.', '/')}.html"
        return f'<a href="{file}{f"#{name}" if name else ""}">{html.escape(text)}</a>'

    def _linked(self, code: str) -> str:
        """What stands in backticks, with a link if it is a name that has a page."""
        name = re.match(r"(?:tinygrad_cv\.|tg\.)?([A-Za-z_][\w.]*)", code)
        if name is None or name[1] in self.parameters:
            return html.escape(code)
        here = self.page.removeprefix(TOP).removeprefix(".")
        for candidate in (f"{here}.{name[1]}".lstrip("."), name[1]):
            if candidate in self.places:
                return self._anchor(*self.places[candidate], code)
        return html.escape(code)

    # ----- the first page, the pictures, the search -----

    def _index(self) -> str:
        from tinygrad_cv.examples.course import title
        from tinygrad_cv.examples.index import DECKS, INDEX

        self.page = ""
        rows = []
        for name, doc in self.docs.items():
            first = _first(doc.docstring)
            rows.append(f"<dt><code>{self._anchor(name, '', name)}</code></dt><dd>{first}</dd>")
        body = [as_html(self.docs[TOP].docstring, self._linked), "<dl>", *rows, "</dl>"]
        body += ["<h2>The labs</h2>", "<ul>"]
        body += [f"<li>{key}: {html.escape(deck)}</li>" for key, deck in DECKS.items()]
        body += ["</ul>", "<table>"]
        for lab in self.labs:
            decks = INDEX[lab].decks if lab in INDEX else ""
            about = f'<a href="labs/{lab}.html">{lab}</a> {html.escape(title(lab))} ({decks})'
            body.append(f"<tr><td>{about}</td><td>{self._picture(lab, 240)}</td></tr>")
        return self.env.get_template("first.html.jinja2").render(
            all_modules=self.docs, body=_safe("\n".join([*body, "</table>"]))
        )

    def _picture(self, lab: str, width: int = 640) -> str:
        """The picture of a lab, where the folder with the pictures is at hand."""
        for file in sorted((self.folder / "pictures").glob(f"{lab}*.png")):
            data = base64.b64encode(file.read_bytes()).decode()
            return f'<img alt="{lab}" width="{width}" src="data:image/png;base64,{data}">'
        return ""

    def _entries(self, only: Collection[str] | None) -> Iterator[dict[str, str]]:
        """What the search finds."""
        for page, doc in self.docs.items():
            if only is not None and page not in only:
                continue
            self.page = page
            yield {
                "fullname": page,
                "modulename": page,
                "qualname": "",
                "kind": "module",
                "doc": _first(doc.docstring),
            }
            for member in doc.members.values():
                if self._home(page, member) == (page, member.name):
                    yield from self._entry(page, member)

    def _entry(self, page: str, doc: Any) -> Iterator[dict[str, str]]:
        entry = {
            "fullname": f"{page}.{doc.qualname}",
            "modulename": page,
            "qualname": doc.qualname,
            "kind": doc.kind,
            "doc": _first(_told(doc)),
        }
        if doc.kind == "function":
            shown = str(self._signature(doc.signature, True))
            shown = re.sub(r"</?a\b[^>]*>", "", shown)  # a result is a link, and holds no other
            entry |= {"signature": shown, "funcdef": "def"}
        yield entry
        if doc.kind == "class":
            for member in doc.own_members:
                if not (member.name.startswith("_") or isinstance(member.obj, _Absent)):
                    yield from self._entry(page, member)


def _told(doc: Any) -> str:
    """The docstring, unless it is one that Python gave to a named tuple or to its fields."""
    text = doc.docstring or ""
    return "" if re.match(r"Alias for field number \d+$|Create new instance of ", text) else text


def _taken_by(cls: type) -> Collection[str]:
    """The parameters of a class."""
    try:
        return inspect.signature(cls).parameters
    except (TypeError, ValueError):  # of one that is written in C
        return ()


def _first(docstring: str) -> str:
    """The first paragraph of a docstring as HTML."""
    return as_html((docstring or "").partition("\n\n")[0])


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)
