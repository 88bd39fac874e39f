"""Functions of functions: products with Jacobians, Jacobians and Hessians.

They are shaped as those in `torch.autograd.functional`. They differentiate `func` at `inputs`, a
tensor or a tuple of tensors, and touch no `.grad`. With `create_graph` the results can be
differentiated again, also with respect to the inputs where these require a gradient; otherwise they
are constants. Where an output does not depend on an input the derivative is 0, or an error if
`strict`.

>>> import tinygrad_cv as tg
>>> from tinygrad_cv.transforms import hessian, jacobian
>>> jacobian(lambda x: x**2, tg.tensor([1.0, 3.0]))
tensor([[2., 0.],
        [0., 6.]])
>>> hessian(lambda x: (x**3).sum(), tg.tensor([1.0, 2.0]))
tensor([[ 6.,  0.],
        [ 0., 12.]])
"""

from collections.abc import Callable
from typing import Any, cast

from tinygrad_cv._apply import F
from tinygrad_cv._inputs import public
from tinygrad_cv._point import Point, Push
from tinygrad_cv._public import AUTOGRAD_FUNCTIONAL, TOP
from tinygrad_cv._tensor import Tensor, as_input
from tinygrad_cv._trees import mapped

Tensors = Tensor | tuple[Tensor, ...]


# ----- products with Jacobians -------------------------------------------------------------------


@public(TOP, AUTOGRAD_FUNCTIONAL)
def vjp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensors, Tensors]:
    """The outputs of `func`, and vᵀ J: what a backward pass computes.

    `v` has the shapes of the outputs; it may be left out for a single number (it is 1).

    >>> import tinygrad_cv as tg
    >>> vjp(lambda x, y: x * y, (tg.tensor([1.0, 2.0]), tg.tensor(3.0)), tg.tensor([1.0, 10.0]))
    (tensor([3., 6.]), (tensor([ 3., 30.]), tensor(21.)))
    """
    point = _at("vjp", func, inputs, create_graph, strict)
    outputs = point.outputs()
    weights = _directions("vjp", "v", v, outputs, "output")
    return _results(point, point.by_argument(point.pulled(outputs, weights)))


@public(TOP, AUTOGRAD_FUNCTIONAL)
def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensors, Tensors]:
    """The outputs of `func`, and J v: how they move when the inputs move along v.

    `v` has the shapes of the inputs; it may be left out for a single number (it is 1). uᵀ J is
    linear in u, and its derivative along v is J v: so two backward passes make one forward.

    >>> import tinygrad_cv as tg
    >>> jvp(lambda x: x**2, tg.tensor([1.0, 3.0]), tg.tensor([1.0, 0.5]))
    (tensor([1., 9.]), tensor([2., 3.]))
    """
    point = _at("jvp", func, inputs, create_graph, strict)
    directions = _directions("jvp", "v", v, point.variables, "input")
    return _results(point, Push(point).along(directions))


@public(TOP, AUTOGRAD_FUNCTIONAL)
def hvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensors, Tensors]:
    """The value of `func`, a single number, and H v, without the Hessian H itself.

    `v` has the shapes of the inputs. H is symmetric, so H v is the gradient of <gradient, v>.

    >>> import tinygrad_cv as tg
    >>> hvp(lambda x: (x**3).sum(), tg.tensor([1.0, 2.0]), tg.tensor([1.0, 1.0]))
    (tensor(9.), tensor([ 6., 12.]))
    """
    point = _at("hvp", func, inputs, create_graph, strict)
    directions = _directions("hvp", "v", v, point.variables, "input")
    gradient = point.pulled([_number(point)], [None], recorded=True)
    return _results(point, point.by_argument(point.pulled(gradient, directions)))


@public(TOP, AUTOGRAD_FUNCTIONAL)
def vhp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Tensors, Tensors]:
    """The value of `func`, a single number, and vᵀ H: as H is symmetric, the same as `hvp`.

    >>> import tinygrad_cv as tg
    >>> vhp(lambda x: (x**3).sum(), tg.tensor([1.0, 2.0]), tg.tensor([1.0, 1.0]))
    (tensor(9.), tensor([ 6., 12.]))
    """
    return hvp(func, inputs, v, create_graph, strict)


# ----- whole matrices ----------------------------------------------------------------------------


@public(TOP, AUTOGRAD_FUNCTIONAL)
def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The derivative of each output by each input, with one backward pass for each number of them.

    Of one output by one input it has the shape (*output.shape, *input.shape). For a tuple of
    inputs there is a tuple of these, and for a tuple of outputs a tuple of what each has.
    `vectorize` and `strategy` choose between ways of doing it in PyTorch; there is one here, and
    they have no effect.

    >>> import tinygrad_cv as tg
    >>> jacobian(lambda x, y: x * y, (tg.tensor([1.0, 2.0]), tg.tensor(3.0)))
    (tensor([[3., 0.],
            [0., 3.]]), tensor([1., 2.]))
    """
    point = _at("jacobian", func, inputs, create_graph, strict)
    return mapped(point.out, point.jacobian())


@public(TOP, AUTOGRAD_FUNCTIONAL)
def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of `func`, a single number, by each pair of inputs.

    It is the Jacobian of the gradient: for one input, (*input.shape, *input.shape). For a tuple of
    inputs, element [i][j] is the derivative by input i and by input j. `vectorize` and
    `outer_jacobian_strategy` have no effect (see `jacobian`).

    >>> import tinygrad_cv as tg
    >>> hessian(lambda x, y: x**2 * y, (tg.tensor(3.0), tg.tensor(5.0)))
    ((tensor(10.), tensor(6.)), (tensor(6.), tensor(0.)))
    """

    def gradient(*xs: Tensor) -> Any:
        many = isinstance(inputs, tuple | list)
        point = _at("hessian", func, xs if many else xs[0], True, strict)
        return point.by_argument(point.pulled([_number(point)], [None]))

    return jacobian(gradient, inputs, create_graph, strict)


# ----- what goes in and out ----------------------------------------------------------------------


def _at(
    name: str, func: Callable[..., Any], inputs: Any, create_graph: bool, strict: bool
) -> Point:
    """A function of one tensor or several at one place; so are its outputs."""
    xs = tuple(_tensors(name, "inputs", inputs))
    for x in xs:
        if not x.is_floating_point():
            raise TypeError(
                f"{name}: an input of dtype {x.dtype} has no derivative; use x.float(), or "
                "leave it out of the inputs: lambda x: func(x, labels)."
            )

    def of_tensors(*xs: Tensor) -> Tensors:
        returned = func(*xs)
        outputs = _tensors(name, "the outputs of the function", returned)
        return tuple(outputs) if isinstance(returned, tuple | list) else outputs[0]

    argnums = tuple(range(len(xs))) if isinstance(inputs, tuple | list) else 0
    return Point(name, of_tensors, xs, {}, argnums, create_graph=create_graph, strict=strict)


def _results(point: Point, found: Any) -> tuple[Tensors, Tensors]:
    """The outputs and a derivative, as constants if they are to be."""
    results: tuple[Tensors, Tensors] = mapped(point.out, (point.output, found))
    return results


def _number(point: Point) -> Tensor:
    """The output, which must be a single number."""
    y = point.output
    if isinstance(y, tuple) or y.numel() != 1:
        raise ValueError(
            f"{point.name}: the function must return one number, as a loss is; it returned "
            f"{'the shapes ' if isinstance(y, tuple) else 'the shape '}"
            f"{', '.join(str(part.shape) for part in point.outputs())}."
        )
    return cast(Tensor, y)


def _tensors(name: str, what: str, given: Any) -> list[Tensor]:
    tensors = list(given) if isinstance(given, tuple | list) else [given]
    for tensor in tensors:
        if not hasattr(tensor, "dtype"):
            raise TypeError(
                f"{name}: {what} must be a tensor or a tuple of tensors; got "
                f"{type(tensor).__name__}."
            )
    return [as_input(tensor) for tensor in tensors]


def _directions(name: str, label: str, v: Any, like: list[Tensor], what: str) -> list[Any]:
    """The tensors v, one for each of `like`; None for a single number stands for 1."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            shapes = ", ".join(str(x.shape) for x in like)
            raise ValueError(
                f"{name}: {label} may be left out for a single number only; the {what}s have the "
                f"shapes {shapes}. Pass one tensor of its shape for each."
            )
        return [
            F.broadcast_to(
                Tensor(1.0, dtype=like[0].dtype, device=like[0].device), shape=like[0].shape
            )
        ]
    given = _tensors(name, label, v)
    if [t.shape for t in given] != [x.shape for x in like]:
        raise ValueError(
            f"{name}: {label} has the shapes {', '.join(str(t.shape) for t in given)}, and the "
            f"{what}s {', '.join(str(x.shape) for x in like)}; they must be equal."
        )
    return given
