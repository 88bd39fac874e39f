"""Gradients, products with Jacobians, Jacobians and Hessians, as functions.

Arguments and results are tensors, alone or in tuples, lists and dicts.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from tinygrad_cv._apply import F
from tinygrad_cv._grad_mode import is_grad_enabled
from tinygrad_cv._point import Point, Push, stacked, zeros
from tinygrad_cv._public import FUNC, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv._trees import mapped
from tinygrad_cv.backend import host

Function = TypeVar("Function", bound=Callable[..., Any])


# ----- gradients ---------------------------------------------------------------------------------


@public(FUNC)
def grad(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """The function that computes the gradient of `func`, whose result is one number.

    `argnums` says by which of its arguments: an int, or a tuple of them for a tuple of gradients.
    With `has_aux` the function returns its number and something else, and so does the result:
    (gradient, aux).

    >>> import tinygrad_cv as tg
    >>> grad(lambda x, y: x**2 * y, argnums=(0, 1))(tg.tensor(3.0), tg.tensor(5.0))
    (tensor(30.), tensor(9.))
    """
    both = grad_and_value(func, argnums, has_aux)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        found, value = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return named_after(func, gradient)


@public(FUNC)
def grad_and_value(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """As `grad`; the function returns (gradient, value), or (gradient, (value, aux)).

    >>> import tinygrad_cv as tg
    >>> grad_and_value(lambda x: (x**2).sum())(tg.tensor([1.0, 3.0]))
    (tensor([2., 6.]), tensor(10.))
    """

    def gradient(*args: Any, **kwargs: Any) -> Any:
        point = Point("grad", func, args, kwargs, argnums, has_aux)
        y = point.output
        if not isinstance(y, Tensor) or y.shape != ():
            got = f"shape {y.shape}" if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(
                f"grad: the function must return one number, a tensor of shape (); got {got}. Sum "
                "it first, or use jacrev."
            )
        found = point.pulled([y], [None])
        value = (point.out(y), point.aux) if has_aux else point.out(y)
        return point.by_argument(found), value

    return named_after(func, gradient)


# ----- products with Jacobians -------------------------------------------------------------------


@public(FUNC)
def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `func(*primals)`, and the function that computes vᵀ J, a tuple for the primals.

    v has the structure and shapes of the value. With `has_aux`: (value, function, aux).

    >>> import tinygrad_cv as tg
    >>> value, pull = vjp(lambda x: x**2, tg.tensor([1.0, 3.0]))
    >>> pull(tg.tensor([1.0, 10.0]))
    (tensor([ 2., 60.]),)
    """
    point = Point("vjp", func, primals, {}, tuple(range(len(primals))), has_aux)
    outputs = point.outputs()

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        weights = _checked("vjp", "cotangents", cotangents, point.output, "the value")
        recorded = point.recorded or any(w.requires_grad for w in weights)
        recorded = recorded and is_grad_enabled() if create_graph is None else create_graph
        return point.by_argument(point.pulled(outputs, weights, recorded, retain_graph))

    value = mapped(point.out, point.output)
    return (value, pull, point.aux) if has_aux else (value, pull)


@public(FUNC)
def jvp(
    func: Callable[..., Any],
    primals: Any,
    tangents: Any,
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """The value of `func(*primals)`, and J v: how it moves when the primals move along `tangents`.

    Both are tuples, with one for each argument. uᵀ J is linear in u, and its derivative along v is
    J v: so two backward passes make one forward. `strict` has no effect: where nothing moves, J v
    is 0. With `has_aux`: (value, J v, aux).

    >>> import tinygrad_cv as tg
    >>> jvp(lambda x: x**2, (tg.tensor([1.0, 3.0]),), (tg.tensor([1.0, 0.5]),))
    (tensor([1., 9.]), tensor([2., 3.]))
    """
    for name, given in {"primals": primals, "tangents": tangents}.items():
        if not isinstance(given, tuple):
            raise TypeError(
                f"jvp: {name} is a tuple; got a {type(given).__name__}: write ({name},)."
            )
    point = Point("jvp", func, primals, {}, tuple(range(len(primals))), has_aux)
    directions = _checked("jvp", "tangents", tangents, primals, "the primals")
    moved = Push(point).along(directions)
    value = mapped(point.out, point.output)
    return (value, moved, point.aux) if has_aux else (value, moved)


@public(FUNC)
def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of `func(*primals)`, and the function v -> J v, with one tangent for each primal.

    >>> import tinygrad_cv as tg
    >>> value, push = linearize(lambda x: x**2, tg.tensor([1.0, 3.0]))
    >>> push(tg.tensor([1.0, 0.5]))
    tensor([2., 3.])
    """
    point = Point("linearize", func, primals, {}, tuple(range(len(primals))), False)
    push = Push(point)

    def along(*tangents: Any) -> Any:
        return push.along(_checked("linearize", "tangents", tangents, primals, "the primals"))

    return mapped(point.out, point.output), along


# ----- whole matrices ----------------------------------------------------------------------------


@public(FUNC)
def jacrev(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function that computes the Jacobian of `func`, with one backward pass for each output.

    Of a tensor by a tensor it has the shape (*output.shape, *input.shape). It has the structure of
    the outputs, and in each place that of the argument (or of a tuple of them). `chunk_size` has
    no effect.

    >>> import tinygrad_cv as tg
    >>> jacrev(lambda x: x**2)(tg.tensor([1.0, 3.0]))
    tensor([[2., 0.],
            [0., 6.]])
    """

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        point = Point("jacrev", func, args, kwargs, argnums, has_aux)
        found = point.jacobian()
        return (found, point.aux) if has_aux else found

    return named_after(func, jacobian)


@public(FUNC)
def jacfwd(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
) -> Callable[..., Any]:
    """As `jacrev`, with one pass for each input: for functions with more outputs than inputs.

    The pass is that of `jvp`. The function runs once, so `randomness` has no effect.

    >>> import tinygrad_cv as tg
    >>> jacfwd(lambda x: x * tg.tensor([1.0, 2.0]))(tg.tensor(3.0))
    tensor([1., 2.])
    """

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        point = Point("jacfwd", func, args, kwargs, argnums, has_aux)
        push = Push(point)
        columns = [_columns(point, push, i) for i in range(len(point.variables))]
        outputs = iter(range(len(push.outputs)))

        def of_output(_: Any) -> Any:
            place = next(outputs)
            return point.by_argument([column[place] for column in columns])

        found = mapped(of_output, point.output)
        return (found, point.aux) if has_aux else found

    return named_after(func, jacobian)


@public(FUNC)
def hessian(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function that computes the second derivatives of `func`: jacfwd(jacrev(func)).

    >>> import tinygrad_cv as tg
    >>> hessian(lambda x: (x**3).sum())(tg.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


# ----- what they share ---------------------------------------------------------------------------


def named_after(func: Callable[..., Any], function: Function) -> Function:
    """A function with the name and the text of another, if that has one."""
    if not hasattr(func, "__name__"):
        return function
    return cast(Function, functools.wraps(func)(function))


def _checked(name: str, label: str, given: Any, like: Any, what: str) -> list[Tensor]:
    """The tensors of a tree, which has the structure and the shapes of another."""
    try:
        pairs: list[tuple[Any, Any]] = []
        mapped(lambda x, v: pairs.append((x, v)), like, given)
    except (TypeError, ValueError, KeyError, IndexError):
        raise ValueError(f"{name}: {label} has not the structure of {what}.") from None
    for x, v in pairs:
        if not isinstance(v, Tensor) or v.shape != x.shape:
            raise ValueError(
                f"{name}: {label} has the shape {getattr(v, 'shape', type(v).__name__)} where "
                f"{what} has {x.shape}; they must be equal."
            )
    return [v for _, v in pairs]


def _columns(point: Point, push: Push, i: int) -> list[Tensor]:
    """The derivative of each output by one variable."""
    columns: list[list[Tensor]] = [[] for _ in push.outputs]
    directions = [zeros(x) for x in point.variables]
    x = point.variables[i]
    one = Tensor(1.0, dtype=x.dtype, device=x.device)
    for place in host.ndindex(x.shape):
        directions[i] = F.scatter_add(one, index=place, shape=x.shape)
        for column, moved in zip(columns, push.each(directions), strict=True):
            column.append(moved)
    return [
        stacked(column, (*y.shape, *x.shape), -1, y)
        for column, y in zip(columns, push.outputs, strict=True)
    ]
