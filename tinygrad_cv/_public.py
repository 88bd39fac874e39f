"""The one table of public names. A function or class is marked where it is defined:

    @public(TOP, METHOD, IN_PLACE)
    def clamp(input, min=None, max=None):  # tg.clamp(x), x.clamp() and x.clamp_()
        ...

    tanh = public(TOP, METHOD, IN_PLACE, FUNCTIONAL)(function(Tanh, "input"))

The places fill themselves from the table, and `python -m tests.stubs` writes from it what type
checkers read. Nowhere else is a list of names.
"""

from collections.abc import Callable
from typing import Any, TypeVar

TOP = "tinygrad_cv"
FUNCTIONAL = "tinygrad_cv.nn.functional"
LINALG = "tinygrad_cv.linalg"
METHOD = "tinygrad_cv.Tensor"
"""A method of Tensor, the tensor being its first argument."""
IN_PLACE = "tinygrad_cv.Tensor, in place"
"""A method of Tensor with a _ behind its name, which writes the result into the tensor."""

PUBLIC: dict[str, dict[str, Any]] = {TOP: {}, FUNCTIONAL: {}, LINALG: {}, METHOD: {}, IN_PLACE: {}}
"""What each place holds, by name."""

Marked = TypeVar("Marked", bound=Callable[..., Any])


def public(*places: str, name: str = "", also: str = "") -> Callable[[Marked], Marked]:
    """Make a function or class public in these places.

    Its name there is `name`, by default its own; `also` holds further names, with spaces between.

    >>> square = public(TOP, name="x_squared")(lambda x: x * x)
    >>> PUBLIC[TOP].pop("x_squared")(3)
    9
    """

    def mark(thing: Marked) -> Marked:
        for place in places:
            for known_as in (name or thing.__name__, *also.split()):
                other = PUBLIC[place].setdefault(known_as, thing)
                if origin(other) != origin(thing):
                    raise TypeError(
                        f"{place} holds a {known_as} already, {origin(other)}; the name of "
                        f"{origin(thing)} must be another one."
                    )
                PUBLIC[place][known_as] = thing  # a notebook may define it a second time
        return thing

    return mark


def origin(thing: Any) -> str:
    """Where a public thing is defined, such as tinygrad_cv.ops.shape.reshape."""
    return f"{thing.__module__}.{thing.__qualname__}"
