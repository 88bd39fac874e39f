"""Random numbers that are noted as they are drawn, to be drawn again."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinygrad_cv.backend.base import drawing


class Draws:
    """The generators that a function drew from, for each draw a copy of how it was before."""

    def __init__(self) -> None:
        self.sources: list[Any] = []

    def first(self, generator: Any, law: Callable[[Any], Any]) -> Any:
        """Draw, and note from what; nobody else draws in between."""
        with generator.bit_generator.lock:
            source, before = copy.deepcopy(generator), generator.bit_generator.state
            values = law(source)
            generator.bit_generator.state = source.bit_generator.state
        source.bit_generator.state = before
        self.sources.append(source)
        return values

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Inside, draws are noted."""
        outer = drawing.get()

        def draw(generator: Any, law: Callable[[Any], Any]) -> Any:
            if outer is None:
                return self.first(generator, law)
            return outer(generator, lambda source: self.first(source, law))

        try:
            drawing.set(draw)
            yield
        finally:
            drawing.set(outer)

    @contextmanager
    def again(self, error: Callable[[str], Exception]) -> Iterator[None]:
        """Inside, the same numbers are drawn once more, and no generator is touched.

        If the function draws more of them, `error` makes of these words what is raised.
        """
        sources = iter(copy.deepcopy(self.sources))

        def draw(generator: Any, law: Callable[[Any], Any]) -> Any:
            source = next(sources, None)
            if source is None:
                raise error("drew more random numbers than before")
            return law(source)

        before = drawing.get()
        try:
            drawing.set(draw)
            yield
        finally:
            drawing.set(before)
