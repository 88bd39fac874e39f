"""Programs of the user's: what PATH::NAME stands for."""

import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinygrad_cv.cli.arguments import CommandError


def told(error: BaseException) -> str:
    """The message of an error, with its kind where that says more."""
    plain = isinstance(error, TypeError | ValueError | RuntimeError) and str(error)
    return str(error) if plain else f"{type(error).__name__}({error})"


def required(function: Callable[..., Any]) -> list[str]:
    """The names of the arguments that a function must be given."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]


def load(target: str, kind: type) -> Any:
    """What PATH::NAME stands for: a function, or a class of this kind."""
    noun = kind.__name__.lower()
    path_text, separator, name = target.rpartition("::")
    path = Path(path_text)
    if not separator or not path.is_file():
        raise CommandError(
            f"{target}: expected PATH::NAME, a Python file and the name of one {noun} or function "
            f"in it; {'there is no such file' if separator else 'there is no ::'}."
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise CommandError(f"{path}: is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise CommandError(f"{path}: running it failed with {error!r}.", status=1) from error
    found = getattr(module, name, None)
    if not callable(found):
        choices = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, kind) and value.__module__ == spec.name
        ]
        raise CommandError(
            f"{path}: has no {noun} or function {name!r}; its {noun}s are "
            f"{', '.join(choices) or 'none'}."
        )
    return found
