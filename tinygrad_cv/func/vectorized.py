"""`vmap`: a function of one sample as a function of a batch."""

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from tinygrad_cv._apply import F
from tinygrad_cv._draws import Draws
from tinygrad_cv._public import FUNC, TOP, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv._trees import leaves, mapped, spread
from tinygrad_cv.backend.base import drawing
from tinygrad_cv.func.derivatives import named_after


@public(FUNC, TOP)
def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function that maps `func` over an axis of its arguments, and stacks what it returns.

    - `in_dims` says for each argument along which axis the samples lie; None gives all of them the
      same. It is an int, or a tuple with one for each argument; in it, for an argument that is a
      tuple, list or dict, an int or the same structure again. Keyword arguments are not mapped.
    - `out_dims` says for each output where the new axis goes; None keeps the first sample's.
    - `randomness`: "error" refuses random numbers, "different" draws new ones for each sample, and
      "same" the same for each.

    The function is called once for each sample, so it may do whatever it likes with its values, and
    a batch costs as much as a loop. The results are exact and differentiable. `chunk_size` has no
    effect.

    Raises ValueError where the axes have different lengths, or none is mapped.

    >>> import tinygrad_cv as tg
    >>> vmap(lambda a, b: a @ b, in_dims=(0, None))(tg.ones(2, 3), tg.ones(3))
    tensor([3., 3.])
    """
    if randomness not in ("error", "different", "same"):
        raise ValueError(f"vmap: randomness is 'error', 'different' or 'same'; got {randomness!r}.")

    def mapped_function(*args: Any, **kwargs: Any) -> Any:
        dims = in_dims if isinstance(in_dims, int | None) else tuple(in_dims)
        at = spread(dims, args, "vmap: in_dims")
        lengths = set(leaves(mapped(_length, args, at))) - {None}
        if len(lengths) != 1:
            found = f"the lengths {sorted(lengths)}" if lengths else "none"
            raise ValueError(
                f"vmap: the axes that are mapped over must have one length; got {found}."
            )
        (count,) = lengths
        if not count:
            raise ValueError("vmap: an axis of length 0 has no sample to say what comes out.")
        draws = Draws()
        results = []
        for i in range(count):

            def sample(x: Any, dim: int | None, i: int = i) -> Any:
                return x if dim is None else x.select(dim, i)

            with _drawn(randomness, draws, i):
                results.append(func(*mapped(sample, args, at), **kwargs))
        return _stacked(results, out_dims)

    return named_after(func, mapped_function)


def _length(x: Any, dim: int | None) -> int | None:
    """How many samples there are along an axis."""
    if dim is None:
        return None
    if not isinstance(x, Tensor):
        raise ValueError(
            f"vmap: in_dims has {dim} for a {type(x).__name__}, which has no axes; it must be None."
        )
    if not -x.ndim <= dim < x.ndim:
        raise ValueError(f"vmap: in_dims has {dim} for a tensor of shape {x.shape}.")
    return x.shape[dim]


def _drawn(randomness: str, draws: Draws, i: int) -> AbstractContextManager[None]:
    if randomness == "different":
        return nullcontext()
    if randomness == "same":
        return draws.again(_differs) if i else draws.noted()
    return _no_draws()


def _differs(how: str) -> RuntimeError:
    return RuntimeError(
        f"vmap: called for another sample, the function {how}. With randomness='same' it must draw "
        "as many for each."
    )


@contextmanager
def _no_draws() -> Any:
    def refuse(generator: Any, law: Any) -> Any:
        raise RuntimeError(
            "vmap: the function drew random numbers; say whether they are the 'same' for "
            "each sample or 'different': vmap(func, randomness='different')."
        )

    before = drawing.get()
    try:
        drawing.set(refuse)
        yield
    finally:
        drawing.set(before)


def _stacked(results: list[Any], out_dims: Any) -> Any:
    for y in leaves(results[0]):
        if not isinstance(y, Tensor):
            raise ValueError(f"vmap: the function returns tensors; got a {type(y).__name__}.")
    dims = out_dims
    if isinstance(dims, list | tuple) and isinstance(results[0], Tensor) and len(dims) == 1:
        (dims,) = dims
    places = spread(dims, results[0], "vmap: out_dims")

    def stack(first: Tensor, dim: int | None, *others: Tensor) -> Tensor:
        return first if dim is None else F.stack(first, *others, axis=dim)

    return mapped(stack, results[0], places, *results[1:])
