"""`tinygrad-cv ops`: list the ops with the formulas of their rules."""

import argparse
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from tinygrad_cv._op import REGISTRY, Op
from tinygrad_cv._symbol import formula
from tinygrad_cv.cli.arguments import CommandError


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "ops",
        help="list the ops: the formula of each gradient rule, and what it saves",
        description=(
            "List every op with its gradient rules. g is the gradient of the output, y the output. "
            "What a rule saves stays in memory until the backward pass. The orders are those that "
            "the tests hold against finite differences."
        ),
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="these ops only (default: all)")
    parser.set_defaults(run=ops)


def ops(options: argparse.Namespace) -> None:
    """Print the table of ops."""
    ours = {k: op for k, op in sorted(REGISTRY.items()) if op.__module__.startswith("tinygrad_cv.")}
    unknown = [name for name in options.names if name not in ours]
    if unknown:
        close = [close for name in unknown for close in get_close_matches(name, ours)]
        raise CommandError(
            f"no op is named {', '.join(unknown)}; "
            + (f"did you mean {', '.join(close)}?" if close else "run it without names for all.")
        )
    rows = [("op", "input", "orders", "saves", "gradient")]
    for name in options.names or ours:
        rows += _rules(ours[name])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0  # the formulas are as long as they like
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _rules(op: type[Op]) -> Iterator[tuple[str, str, str, str, str]]:
    """The rows of one op."""
    if not op.rules:
        yield (op.name, "", "-", "-", "(none flows through it)")
    try:
        formulas = formula(op, attributes=False)
    except ValueError:  # a part of g for each input, and it takes shapes to say which
        formulas = dict.fromkeys(op.rules, "(as the shapes have it)")
    for i, (name, rule) in enumerate(op.rules.items()):
        key = f"{name}[0]" if f"{name}[0]" in formulas else name
        saves = ", ".join(dict.fromkeys(rule.asks)) or "-"
        orders = ", ".join(map(str, range(1, op.orders + 1)))
        yield ("" if i else op.name, key, "" if i else orders, saves, formulas[key])
