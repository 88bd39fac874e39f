"""`tinygrad-cv check`: hold the gradients of an op or a function against differences."""

import argparse
import math
from collections.abc import Callable
from typing import Any

from tinygrad_cv._apply import function
from tinygrad_cv._op import Op
from tinygrad_cv.backend import host
from tinygrad_cv.cli.arguments import CommandError, finite, integer, shape
from tinygrad_cv.cli.programs import load, required, told
from tinygrad_cv.testing import GradientError, check_gradients


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "check",
        help="check the gradients of an op or a function in a file",
        description=(
            "Hold the gradients of an op, or of a function of tensors, against finite differences "
            "on random inputs, and print the report. The status is 1 if a gradient is wrong. The "
            "file is run as a Python program."
        ),
        allow_abbrev=False,
    )
    parser.add_argument("target", metavar="PATH::NAME", help="such as my_ops.py::Swish")
    parser.add_argument(
        "--input",
        type=shape,
        action="append",
        metavar="SHAPE",
        help="the shape of an input, such as 2,3; once for each input (default: 2,3 each)",
    )
    parser.add_argument("--low", type=finite, default=-2.0, help="least input (%(default)s)")
    parser.add_argument("--high", type=finite, default=2.0, help="largest input (%(default)s)")
    # The time grows exponentially with the order.
    parser.add_argument("--order", type=integer(1, 9), default=2, help="orders (%(default)s)")
    parser.add_argument(
        "--seed", type=integer(0, math.inf), default=0, help="of the inputs (%(default)s)"
    )
    parser.set_defaults(run=check)


def check(options: argparse.Namespace) -> None:
    """Check one op and print the report."""
    if not 0 <= options.high - options.low < math.inf:
        raise CommandError(
            f"arguments --low and --high: expected a range of numbers, given {options.low:g} to "
            f"{options.high:g}."
        )
    target = load(options.target, Op)
    shapes = options.input
    try:
        if isinstance(target, type) and issubclass(target, Op):
            names = list(target.inputs) + [target.inputs[-1]] * target.variadic
            call: Callable[..., Any] = function(target)
        else:
            names, call = required(target), target
        shapes = shapes or [(2, 3)] * len(names)
        names = [names[i] if i < len(names) else f"input {i}" for i in range(len(shapes))]
        rng = host.random.default_rng(options.seed)
        inputs = [rng.uniform(options.low, options.high, lengths) for lengths in shapes]
        report = check_gradients(call, inputs, options.order, names=names, seed=options.seed)
    except GradientError as error:
        raise CommandError(f"{options.target}: {error}", status=1) from error
    except (Exception, SystemExit) as error:  # whatever the user's function raises
        listed = f" on inputs of the shapes {', '.join(map(str, shapes))}" if shapes else ""
        raise CommandError(f"{options.target} does not run{listed}: {told(error)}") from error
    print(f"{options.target}: right to order {options.order}, on inputs of the shapes {shapes}")
    print(report.table())
