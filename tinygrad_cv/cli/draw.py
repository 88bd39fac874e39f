"""`tinygrad-cv draw`: draw the graph of a model, or print the table of its layers."""

import argparse
from typing import Any

from tinygrad_cv.backend import device, get, host
from tinygrad_cv.cli.arguments import CommandError, integer, path, shape
from tinygrad_cv.cli.programs import load, required, told
from tinygrad_cv.nn import Module
from tinygrad_cv.random import randn


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "draw",
        help="draw the graph of a model in a file, forward and backward",
        description=(
            "Draw the graph of a model, or of a function of tensors, on random inputs. NAME is a "
            "Module class or a function that makes a model, called without arguments; or a "
            "function of tensors. The suffix of OUT says what is made: .html is an interactive "
            "page, .svg, .png and .pdf are pictures, .dot and .json are text. Without --out a "
            "table of the layers is printed. The file is run as a Python program."
        ),
        allow_abbrev=False,
    )
    parser.add_argument("target", metavar="PATH::NAME", help="such as models.py::make_model")
    parser.add_argument(
        "--input",
        type=shape,
        action="append",
        required=True,
        metavar="SHAPE",
        help="the shape of an input, such as 1,3,32,32; once for each input",
    )
    parser.add_argument("--out", type=path, metavar="OUT", help="such as graph.html")
    parser.add_argument("--depth", type=integer(1), metavar="N", help="fold modules below level N")
    parser.add_argument(
        "--forward-only", action="store_true", help="leave the backward graph out of a picture"
    )
    parser.add_argument(
        "--health",
        action="store_true",
        help="run the backward pass, from ones, and show values and gradients",
    )
    parser.add_argument(
        "--device",
        default="cpu",
        metavar="DEVICE",
        help="where the model is made and run, such as meta, where it takes no memory and no time "
        "(default: cpu)",
    )
    parser.set_defaults(run=draw)


def draw(options: argparse.Namespace) -> None:
    """Draw a model, or print the table of its layers."""
    try:
        place = device(options.device)
        has_numbers = get(place).has_numbers
    except (ImportError, RuntimeError, ValueError) as error:
        raise CommandError(f"argument --device: {error}") from error
    if options.health and not has_numbers:
        raise CommandError(
            f"argument --health: on {place} there are no values and no gradients to look at."
        )
    with place:
        _draw(options)


def _draw(options: argparse.Namespace) -> None:
    """Draw on the default device."""
    from tinygrad_cv import viz

    target, inputs = load(options.target, Module), options.input
    try:
        if not isinstance(target, Module) and not required(target):
            target = target()
        if not isinstance(target, Module):  # the gradients of a function are those of its inputs
            rngs = map(host.random.default_rng, range(len(inputs)))
            inputs = [
                randn(*lengths, generator=rng, requires_grad=True)
                for lengths, rng in zip(inputs, rngs, strict=True)
            ]
        if options.out is None:
            table = viz.summary(target, *inputs, depth=options.depth)
        else:
            seen = viz.trace(target, *inputs, values=options.health, gradients=options.health)
    except (Exception, SystemExit) as error:  # whatever the user's program raises
        listed = ", ".join(map(str, options.input))
        raise CommandError(
            f"{options.target} does not run on inputs of the shapes {listed}: {told(error)}",
            status=1,
        ) from error
    if options.out is None:
        print(table)
        return
    try:
        drawing = viz.draw(seen, backward=not options.forward_only, depth=options.depth)
        drawing.save(options.out)
    except (ModuleNotFoundError, RuntimeError, TimeoutError) as error:
        raise CommandError(str(error), status=1) from error
    except (ValueError, FileNotFoundError) as error:
        raise CommandError(f"argument --out: {error}") from error
    print(f"{options.out}: {len(seen.nodes)} nodes, {len(seen.modules)} module calls")
