"""What is done once another package is imported, be it before this one or after."""

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class Watch:
    """Finds one package as Python itself does, and calls `then` when its code has run."""

    def __init__(self, package: str, then: Callable[[], object]) -> None:
        self.package, self.then = package, then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of the package; None for all others, which the next finder looks for."""
        found = PathFinder.find_spec(fullname, path) if fullname == self.package else None
        if found is None or found.loader is None:
            return None
        execute = found.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self.then()

        found.loader.exec_module = exec_module  # type: ignore[method-assign]
        return found


def when_imported(package: str, then: Callable[[], object]) -> None:
    """Call `then` at once if the package is there, otherwise when somebody imports it."""
    if sys.modules.get(package) is not None:
        then()
    else:
        sys.meta_path.insert(0, Watch(package, then))
