"""The one table of public names. A function or class is marked where it is defined:

    @public(TOP, METHOD, IN_PLACE)
    def clamp(input, min=None, max=None):  # tg.clamp(x), x.clamp() and x.clamp_()
        ...

    tanh = public(TOP, METHOD, IN_PLACE, FUNCTIONAL)(function(Tanh, "input"))

The places fill themselves from the table, and `python -m tests.stubs` writes from it what type
checkers read. Nobody writes a list of them.
"""

from collections.abc import Callable
from itertools import product
from typing import Any, TypeVar

TOP = "tinygrad_cv"
FUNCTIONAL = "tinygrad_cv.nn.functional"
LINALG = "tinygrad_cv.linalg"
NN = "tinygrad_cv.nn"
INIT = "tinygrad_cv.nn.init"
OPTIM = "tinygrad_cv.optim"
SCHEDULERS = "tinygrad_cv.optim.lr_scheduler"
AUTOGRAD = "tinygrad_cv.autograd"
AUTOGRAD_FUNCTIONAL = "tinygrad_cv.autograd.functional"
FUNC = "tinygrad_cv.func"
AMP = "tinygrad_cv.amp"
DISTRIBUTIONS = "tinygrad_cv.distributions"
METHOD = "tinygrad_cv.Tensor"
"""A method of Tensor, the tensor being its first argument."""
IN_PLACE = "tinygrad_cv.Tensor, in place"
"""A method of Tensor with a _ behind its name, which writes the result into the tensor."""

PUBLIC: dict[str, dict[str, Any]] = {
    place: {} for place in (TOP, METHOD, IN_PLACE, FUNCTIONAL, LINALG, NN, INIT, OPTIM, SCHEDULERS)
}
PUBLIC |= {place: {} for place in (AUTOGRAD, AUTOGRAD_FUNCTIONAL, FUNC, AMP, DISTRIBUTIONS)}
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
        for place, known_as in product(places, (name or thing.__name__, *also.split())):
            other = PUBLIC[place].get(known_as, thing)
            if origin(other) != origin(thing):  # the same again is a cell of a notebook run twice
                raise TypeError(
                    f"{place} has a {known_as} already, {origin(other)}; {origin(thing)} must get "
                    "another name there."
                )
            PUBLIC[place][known_as] = thing
        return thing

    return mark


def fill(module: dict[str, Any], place: str, *more: str) -> None:
    """Give a module the names of a place. They, and `more`, are what `import *` takes from it."""
    module.update(PUBLIC[place])
    module["__all__"] = [*PUBLIC[place], *more]
    module["__dir__"] = lambda: [
        name for name in module if name in module["__all__"] or name[:2] == "__"
    ]


def origin(thing: Any) -> str:
    """Where a public thing is defined, such as tinygrad_cv.ops.shape.reshape."""
    return f"{thing.__module__}.{thing.__qualname__}"
