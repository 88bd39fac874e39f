"""Which functions give views, which give the tensor itself, and that all others copy.

The declared answer stands in `ops.VIEWS` and `ops.ITSELF`. Each public function is called in many
ways, above all those in which it has nothing to do and a copy would seem needless.
"""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_cv as tg
from tinygrad_cv._op import REGISTRY
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.ops import ITSELF, VIEWS

FUNCTIONS = {
    name: value
    for name, value in vars(tg).items()
    if callable(value) and str(getattr(value, "__module__", "")).startswith("tinygrad_cv.ops.")
    if not name.endswith("_")  # in place
}
SHAPES = [(), (1,), (2, 2), (1, 1, 1), (1, 4, 2, 2), (1, 1, 1, 1)]


def arguments(x: Tensor) -> Iterator[tuple[Any, ...]]:
    """What may follow a tensor, for any function."""
    yield from [(), (0,), (1,), (-1,), (0, 0), (1, 0), (0, 1), (0, 0, 1), (1, 1), (1, 1, 1, 1)]
    yield from [((1, 1),), ([0],), (0, [0]), (0.0,), (0.5, False), (x.shape,)]
    place, mask = x.long() * 0, x == x
    yield from [(x,), (x, x), (x, x, x), (mask,), (mask, x), (mask, 1.0)]
    yield from [(place,), (0, place), (0, place, x), (0, [0], x), ([place] * x.ndim, x)]


def _matrices(*shape: int) -> Tensor:
    return tg.ones(*shape, dtype="float64")


X = _matrices(1, 1)
WHOLE = tg.ones(1, 1, dtype="int64")
OTHERS: dict[str, Callable[[], tuple[Tensor, Any]]] = {
    "conv_transpose2d": lambda: ((x := _matrices(1, 1, 1, 1)), tg.conv_transpose2d(x, x)),
    **{
        f"{name}3d": lambda name=name: (
            (x := _matrices(1, 1, 1, 1, 1)),
            getattr(tg, f"{name}3d")(x, x),
        )
        for name in ("conv", "conv_transpose")
    },
    "cross": lambda: ((x := _matrices(1, 3)), tg.cross(x, x)),
    "locally_connected2d": lambda: (
        (x := _matrices(1, 1, 1, 1)),
        tg.locally_connected2d(x, _matrices(1, 1, 1, 1, 1, 1)),
    ),
    **{
        f"bitwise_{name}": lambda name=name: (WHOLE, getattr(tg, f"bitwise_{name}")(WHOLE, 0))
        for name in ("and", "or", "xor", "left_shift", "right_shift")
    },
    "bitwise_not": lambda: (WHOLE, tg.bitwise_not(WHOLE)),
    "gcd": lambda: (WHOLE, tg.gcd(WHOLE, WHOLE)),
    "lcm": lambda: (WHOLE, tg.lcm(WHOLE, WHOLE)),
    "polygamma": lambda: (X, tg.polygamma(0, X)),
    "affine_grid": lambda: ((x := _matrices(1, 2, 3)), tg.affine_grid(x, (1, 1, 1, 3))),
    "embedding": lambda: (X, tg.embedding(WHOLE[0] * 0, X)),
    "one_hot": lambda: (WHOLE, tg.one_hot(WHOLE * 0, 1)),
    "scatter_reduce": lambda: (X, tg.scatter_reduce(X, 0, WHOLE * 0, X, "sum")),
    "addbmm": lambda: (X, tg.addbmm(X, X[None], X[None])),
    "addmv": lambda: (X[0], tg.addmv(X[0], X, X[0])),
    "baddbmm": lambda: (X[None], tg.baddbmm(X[None], X[None], X[None])),
    "bmm": lambda: (X[None], tg.bmm(X[None], X[None])),
    "mv": lambda: (X[0], tg.mv(X, X[0])),
    "einsum": lambda: (X, [tg.einsum(rule, X) for rule in ("ij->ij", "ij->ji", "ii->i", "ij->")]),
    "cosine_embedding_loss": lambda: (X, tg.cosine_embedding_loss(X, X, X[0], reduction="none")),
    "batch_norm": lambda: (
        (x := _matrices(2, 1)),
        tg.batch_norm(x, x[0] * 0, x[0], training=False),
    ),
    **{
        f"max_unpool{n}d": lambda n=n: (
            (x := _matrices(*[1] * (n + 2))),
            getattr(tg, f"max_unpool{n}d")(x, x.long() * 0, 1),
        )
        for n in (1, 2, 3)
    },
    "ctc_loss": lambda: (X[None], tg.ctc_loss(X[None] * 0, [[1] * 0], [1], [0], reduction="none")),
    "gru_cell": lambda: (X[:1, :1], tg.gru_cell(X[:1, :1], X[:1, :1], *[X.new_ones(3, 1)] * 2)),
    "lstm_cell": lambda: (X[0], tg.lstm_cell(X[0], [X[0]] * 2, *[X.new_ones(4, 1)] * 2)),
    "unflatten": lambda: (X, tg.unflatten(X, 0, (1, 1))),
    "bincount": lambda: (WHOLE[0], tg.bincount(WHOLE[0])),
    "put": lambda: (X, tg.put(X, [0], X[:1, :1])),
    "diagonal_scatter": lambda: (X, tg.diagonal_scatter(X, X[:, 0])),
    "index_reduce": lambda: (X, tg.index_reduce(X, 0, [0] * len(X), X, "mean")),
    "renorm": lambda: (X, tg.renorm(X, 2.0, 0, 1e3)),
    "select_scatter": lambda: (X, tg.select_scatter(X, X[0], 0, 0)),
    "unravel_index": lambda: (WHOLE, tg.unravel_index(WHOLE, (1000,))),
}
"""Functions that take what `arguments` does not offer."""
NO_TENSOR = {"allclose", "equal"}
"""Functions whose results are plain Python values."""


def shared(a: Tensor, b: Tensor) -> bool:
    return a._backend.shares_memory(a._array, b._array)


def parts(result: Any) -> list[Tensor]:
    several = result if isinstance(result, list | tuple) else [result]
    return [part for part in several if isinstance(part, Tensor)]


def calls(name: str) -> Iterator[tuple[list[Tensor], Any]]:
    """The tensors given, and what came back, for each way in which the function can be called."""
    if name in OTHERS:
        given, result = OTHERS[name]()
        yield [given], result
    function = FUNCTIONS[name]
    if "inplace" in inspect.signature(function).parameters:
        function = functools.partial(function, inplace=False)
    for shape in SHAPES:
        x = _matrices(*shape) if shape else tg.tensor(1.0)
        for more in arguments(x):
            for first in ((x, *more), ([x, *more],)):
                try:
                    result = function(*first)
                except (AttributeError, IndexError, TypeError, ValueError):
                    continue  # this function takes no such arguments
                yield [x, *[v for v in more if isinstance(v, Tensor)]], result


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gives_views_or_the_tensor_itself_or_copies(name: str) -> None:
    seen, found = 0, set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for given, result in calls(name):
            for part in parts(result):
                seen += 1
                for x in given:
                    if part is x:
                        found.add("itself")
                    elif shared(part, x):
                        assert part._counter is x._counter
                        found.add("view")
    assert seen or name in NO_TENSOR
    expected = {"view"} if name in VIEWS.split() else set()
    assert found - {"itself"} == expected
    assert "itself" not in found or name in (*VIEWS.split(), *ITSELF.split())


METHODS: dict[str, tuple[str, Callable[[Tensor], Any]]] = {
    "x[i]": ("view", lambda x: x[0]),
    "x[i, j]": ("view", lambda x: x[0, 1]),
    "x[a:b]": ("view", lambda x: x[:1]),
    "x[...]": ("view", lambda x: x[...]),
    "x[None]": ("view", lambda x: x[None]),
    "x[:, ::-1]": ("view", lambda x: x[:, ::-1]),
    "x[[i]]": ("copy", lambda x: x[[0]]),
    "x[mask]": ("copy", lambda x: x[x > 0]),
    "for row in x": ("view", lambda x: next(iter(x))),
    "T": ("view", lambda x: x.T),
    "mT": ("view", lambda x: x.mT),
    "t": ("view", lambda x: x.t()),
    "view": ("view", lambda x: x.view(6)),
    "view_as": ("view", lambda x: x.view_as(tg.ones(6))),
    "reshape_as": ("view", lambda x: x.reshape_as(tg.ones(6))),
    "expand_as": ("view", lambda x: x.expand_as(tg.ones(2, 2, 3))),
    "detach": ("view", lambda x: x.detach()),
    "data": ("view", lambda x: x.data),
    "unfold": ("copy", lambda x: x.unfold(0, 1, 1)),
    "flip": ("copy", lambda x: x.flip(0)),
    "clone": ("copy", lambda x: x.clone()),
    "to: a copy": ("copy", lambda x: x.to(x.dtype, copy=True)),
    "to": ("itself", lambda x: x.to(x.dtype)),
    "double": ("itself", lambda x: x.double()),
    "contiguous": ("itself", lambda x: x.contiguous()),
    "contiguous: of a transpose": ("copy", lambda x: x.T.contiguous()),
    "type_as": ("itself", lambda x: x.type_as(x)),
    "+": ("itself", lambda x: +x),
    "x + 0": ("copy", lambda x: x + 0),
    "new_tensor": ("copy", lambda x: x.new_tensor(x)),
    "Tensor": ("copy", lambda x: Tensor(x)),
    "tensor": ("copy", lambda x: tg.tensor(x)),
    "as_tensor": ("itself", lambda x: tg.as_tensor(x)),
    "rot90": ("copy", lambda x: x.rot90(0)),
    "where": ("copy", lambda x: x.where(x == x, 0.0)),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_and_indices(name: str) -> None:
    expected, method = METHODS[name]
    for start in (np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(3, 2).T):
        x = Tensor(np.ascontiguousarray(start))
        y = method(x)
        kind = "itself" if y is x else "view" if shared(x, y) else "copy"
        assert kind == expected


def test_contiguous_of_a_transpose_is_a_copy_however_memory_lies() -> None:
    for x in (tg.zeros(2, 3), tg.zeros(3, 2).T * 1.0, Tensor(np.zeros((3, 2)).T)):
        for reordered in (x.T, x.transpose(0, 1), x.mT, x.permute(1, 0)[:2], x.reshape(1, 2, 3).mT):
            y = reordered.contiguous()
            y[0, 0] = 9.0
            assert x.tolist() == [[0, 0, 0], [0, 0, 0]]
    row = tg.zeros(1, 3)
    assert shared(row.T.contiguous(), row)  # nothing is in another order


def test_what_is_repeated_can_be_written_to() -> None:
    x = tg.tensor([[1.0, 2.0]])
    for y in (
        x.repeat(2, 1),
        x.repeat(1, 1),
        x.tile(1),
        x.repeat_interleave(1, 0),
        x.expand(1, 2) * 1,
    ):
        y[0] = 5.0
        assert y[0].tolist() == [5, 5]
        assert x.tolist() == [[1, 2]]


def test_a_diagonal_can_be_written_to() -> None:
    x = tg.zeros(2, 2, 2)
    x.diagonal(dim1=1, dim2=2)[1] = tg.tensor([1.0, 2.0])
    x[0].diagonal(1).fill_(3.0)
    assert x.tolist() == [[[0, 3], [0, 0]], [[1, 0], [0, 2]]]


class Aside(tg.Op, register=False):
    """x, from its own memory."""

    def forward(self, xp: Any, x: Any) -> Any:
        return x.reshape(-1) if x.ndim > 1 else x

    def grad_x(self, F: Any, g: Any) -> Any:
        return g


def test_an_op_that_makes_no_views_copies_what_lies_in_its_input() -> None:
    """So that no change in place reaches a tensor that was computed."""
    x = tg.tensor([1.0, 2.0], requires_grad=True) * 1.0
    y = tg.function(Aside)(x)
    y *= 2.0
    assert x.tolist() == [1, 2]
    assert not shared(x, y)


def test_a_view_op_saves_nothing() -> None:
    """Its node is made again at the new root when memory has changed (see _inplace.py)."""
    for op in REGISTRY.values():
        if op.views:
            assert len(op.inputs) == 1
            assert op.plan((True,)).saves == ()
