"""`gradcheck` and `gradgradcheck`: gradients beside differences, with PyTorch's arguments."""

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_cv._public import AUTOGRAD, public
from tinygrad_cv._tensor import Tensor


@public(AUTOGRAD)
def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the gradients of `func(*inputs)` agree with differences; an error where they do not.

    It is `testing.check_gradients` of order 1, which chooses its steps itself and is the stricter
    of the two: `rtol` is the error allowed relative to each element of the gradient, and of the
    other arguments `raise_exception` and `fast_mode` (random directions instead of each element)
    count. Inputs that require a gradient are checked, in float64; the others are held.

    Raises `testing.GradientError`, or returns False if not `raise_exception`.

    >>> import tinygrad_cv as tg
    >>> x = tg.rand(3, dtype="float64", requires_grad=True)
    >>> tg.autograd.gradcheck(lambda x: x.sin(), (x,))
    True
    """
    return _check(func, inputs, 1, rtol, raise_exception, fast_mode, "gradcheck")


@public(AUTOGRAD)
def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """The same for second derivatives, and for the first: `testing.check_gradients` of order 2.

    The cotangents are random, and `grad_outputs` is not looked at.

    >>> import tinygrad_cv as tg
    >>> x = tg.rand(3, dtype="float64", requires_grad=True)
    >>> tg.autograd.gradgradcheck(lambda x: x.sin(), x)
    True
    """
    return _check(func, inputs, 2, rtol, raise_exception, fast_mode, "gradgradcheck")


def _check(
    func: Callable[..., Any],
    inputs: Any,
    order: int,
    rtol: float,
    raise_exception: bool,
    fast_mode: bool,
    name: str,
) -> bool:
    from tinygrad_cv.testing import GradientError, check_gradients  # heavy, and above

    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    places = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not places:
        raise ValueError(f"{name}: no input requires a gradient; set requires_grad=True on one.")

    def function(*xs: Tensor) -> Any:
        arguments = list(given)
        for place, x in zip(places, xs, strict=True):
            arguments[place] = x
        returned = func(*arguments)
        several = isinstance(returned, tuple | list)
        return [y for y in returned if y.requires_grad] if several else returned

    try:
        check_gradients(
            function,
            [given[place].detach() for place in places],
            order,
            mode="direction" if fast_mode else "auto",
            rtol=rtol,
            allow_zero=True,
            names=[f"input {place}" for place in places],
        )
    except GradientError:
        if raise_exception:
            raise
        return False
    return True
