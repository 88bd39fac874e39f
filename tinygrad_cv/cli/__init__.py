"""The command `tinygrad-cv`, also `python -m tinygrad_cv`.

Each command is a module: `add` describes its options, and a function of them does the work. What
goes wrong by the user's doing is a `CommandError` and ends the program with one sentence and a
status: 2 for a bad argument, 1 for work that failed. When the reader of the output wants no more of
it, as in `tinygrad-cv ops | head`, the program ends without a word.
"""

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from tinygrad_cv import __version__, distributed
from tinygrad_cv.cli import check, doctor, draw, gallery, lab, ops, reference, train, warm_up
from tinygrad_cv.cli.arguments import CommandError as CommandError
from tinygrad_cv.cli.arguments import Parser as Parser

COMMANDS = (train, doctor, lab, check, draw, gallery, ops, reference, warm_up)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command in `argv`, by default that of the process.

    Raises SystemExit with a status other than 0 if it fails.
    """
    parser = Parser(
        prog="tinygrad-cv",
        description="Automatic differentiation for computer vision, from the command line.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for command in COMMANDS:
        command.add(commands)
    prog = parser.prog
    _open_streams()
    try:
        options = parser.parse_args(argv)
        options.said = {word.partition("=")[0] for word in (sys.argv[1:] if argv is None else argv)}
        if options.command is None:
            parser.exit(2, parser.format_help())
        prog = f"{parser.prog} {options.command}"
        options.run(options)
        sys.stdout.flush()
    except CommandError as error:
        _end(parser, error.status, f"{prog}: {error}")
    except BrokenPipeError:
        sys.exit(BROKEN_PIPE)
    except OSError as error:  # such as a full disk
        _end(parser, 1, f"{prog}: {error}")
    except MemoryError as error:
        _end(parser, 1, f"{prog}: there is not enough memory: {error}")
    except KeyboardInterrupt:
        parser.exit(130, f"{prog}: interrupted; no file is left half-written.\n")
    finally:
        try:
            sys.stdout.flush()
        except OSError:  # the interpreter must not try again, and complain, as it ends
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(parser: Parser, status: int, sentence: str) -> NoReturn:
    """End the program, and with it the other ranks."""
    distributed.abort(sentence, status)
    parser.exit(status, f"{sentence}\n")


BROKEN_PIPE = 128 + 13  # the status of a program that the signal SIGPIPE has ended


def _open_streams() -> None:
    """Make the standard streams take all that is written to them.

    One that is closed becomes the null device, lest the next file that is opened is taken for it.
    What the encoding of the other end lacks is written as in Python: \\xb7 for a middle dot.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
