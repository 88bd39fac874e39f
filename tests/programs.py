"""Random programs, and forward-mode differentiation in NumPy as their oracle.

The oracle runs beside the program. It walks no graph, so it shares none of the engine's ways to be
wrong.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import oracles
import tinygrad_cv as tg
from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor

Array = oracles.Array


def leaf(value: Any, dtype: Any = "float64") -> Tensor:
    return Tensor(value, dtype=dtype, requires_grad=True)


def values(tensor: Tensor) -> Array:
    """A copy of what a tensor holds now."""
    return tensor.detach().numpy().copy()


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def memory(tensor: Tensor) -> Array:
    """The array that owns the memory of a tensor."""
    owner = tensor.detach().numpy()
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return owner


# ----- random programs and their oracle ----------------------------------------------------------


def each(f: Callable[[Array], Array]) -> Callable[..., Array]:
    """A linear function of an array as a function of a stack of tangents."""
    return lambda x, tangents: np.stack([f(t) for t in tangents])


def local(slope: Callable[[Array], Array]) -> Callable[..., Array]:
    """The tangent of an elementwise function."""
    return lambda x, tangents: slope(x) * tangents


def sigmoid_slope(x: Array) -> Array:
    y = 1 / (1 + np.exp(-x))
    return y * (1 - y)


def flat(x: Any) -> Any:
    return x.reshape(-1)


UNARY: dict[str, tuple[Callable[[Tensor], Tensor], Callable[..., Array]]] = {
    "tanh": (tg.tanh, local(lambda x: 1 - np.tanh(x) ** 2)),
    "sin": (tg.sin, local(np.cos)),
    "cos": (tg.cos, local(lambda x: -np.sin(x))),
    "sigmoid": (tg.sigmoid, local(sigmoid_slope)),
    "square": (lambda x: x**2, local(lambda x: 2 * x)),
    "cube root of 1 + x²": (
        lambda x: (1 + x * x) ** (1 / 3),
        local(lambda x: 2 / 3 * x * (1 + x * x) ** (-2 / 3)),
    ),
    "relu": (tg.relu, local(lambda x: (x > 0).astype(float))),
    "neg": (lambda x: -x, each(lambda x: -x)),
    "transpose": (lambda x: x.T, each(lambda x: x.T)),
    "flat": (flat, each(flat)),
    "first row": (lambda x: flat(x)[:1], each(lambda x: flat(x)[:1])),
    "backwards": (lambda x: flat(x)[::-1], each(lambda x: flat(x)[::-1])),
    "repeated": (lambda x: flat(x)[[0, -1, 0]], each(lambda x: flat(x)[[0, -1, 0]])),
    "column": (lambda x: flat(x)[:, None], each(lambda x: flat(x)[:, None])),
    "sum": (lambda x: x.sum(), each(lambda x: np.asarray(x.sum()))),
    "mean": (lambda x: x.mean(), each(lambda x: np.asarray(x.mean()))),
}
BINARY: dict[str, tuple[Callable[..., Tensor], Callable[..., Array]]] = {
    "add": (lambda a, b: a + b, lambda a, b, s, t: s + t),
    "sub": (lambda a, b: a - b, lambda a, b, s, t: s - t),
    "mul": (lambda a, b: a * b, lambda a, b, s, t: s * b + a * t),
    "div": (
        lambda a, b: a / (1 + b * b),
        lambda a, b, s, t: s / (1 + b * b) - a * 2 * b * t / (1 + b * b) ** 2,
    ),
    "outer": (
        lambda a, b: flat(a)[:, None] @ flat(b)[None],
        lambda a, b, s, t: np.outer(s, b) + np.outer(a, t),
    ),
    "cat": (
        lambda a, b: tg.cat([flat(a), flat(b)]),
        lambda a, b, s, t: np.concatenate([flat(s), flat(t)]),
    ),
}


def set_no_grad(x: Tensor) -> None:
    with tg.no_grad():
        x[...] = 0.25


def add_no_grad(x: Tensor) -> None:
    with tg.no_grad():
        x += 0.25


def scale_data(x: Tensor) -> None:
    x.data *= -0.5


def subtract_data(x: Tensor) -> None:
    x.data -= 0.75


def subtract_elements(x: Tensor) -> None:
    x.data[...] -= 0.75


def divide_detached(x: Tensor) -> None:
    y = x.detach()
    y /= -2.0


def set_rows(x: Tensor) -> None:
    for row in x.data.reshape(1, -1):
        row[...] = 0.25


def swap_data(x: Tensor) -> None:
    x.data = x.data * -0.5


IN_PLACE: dict[str, Callable[[Tensor], Any]] = {
    "data[...] =": lambda x: x.data.__setitem__(..., 0.25),
    "data[mask] =": lambda x: x.data.__setitem__(x.data == x.data, 0.25),
    "data -=": subtract_data,
    "data[...] -=": subtract_elements,
    "data *=": scale_data,
    "detach() /=": divide_detached,
    "[...] = under no_grad": set_no_grad,
    "+= under no_grad": add_no_grad,
    "copy_ a number": lambda x: x.data.copy_(0.25),
    "copy_ a tensor": lambda x: x.data.copy_(x.detach() * -0.5),
    "zero_": lambda x: x.data.zero_(),
    "data[0] = by a view": lambda x: x.data.reshape(1, -1)[0].__setitem__(0, 0.25),
    "rows": set_rows,
    "T": lambda x: x.data.T.zero_(),
    "mT": lambda x: x.data.reshape(1, -1).mT.zero_(),
    "view": lambda x: x.data.view(-1, 1).zero_(),
    "unsqueeze": lambda x: x.data.unsqueeze(0).zero_(),
    "squeeze": lambda x: x.data.squeeze().zero_(),
    "flatten": lambda x: x.data.flatten().zero_(),
    "to its own dtype": lambda x: x.data.double().zero_(),
    "contiguous": lambda x: x.data.contiguous().zero_(),
    "init.uniform_": lambda x: nn.init.uniform_(x, -1, 1, np.random.default_rng(0)),
}


class Program:
    """A program on tensors that differentiates itself in forward mode while it runs.

    Beside each tensor stand its tangents: (P, *shape), the derivative by each of the P numbers in
    the leaves. They are worked out from the values that an op saw when it ran; what is done to
    those values later cannot reach them.
    """

    def __init__(self, *leaves: Array) -> None:
        self.leaves = [leaf(value) for value in leaves]
        self.tensors = list(self.leaves)
        total = sum(value.size for value in leaves)
        identity = np.eye(total)
        ends = np.cumsum([value.size for value in leaves])[:-1]
        self.tangents = [
            rows.T.reshape(total, *value.shape)
            for rows, value in zip(np.split(identity, ends), leaves, strict=True)
        ]

    def put(self, tensor: Tensor, tangents: Array) -> None:
        assert tangents.shape[1:] == tensor.shape
        self.tensors.append(tensor)
        self.tangents.append(tangents)

    def unary(self, name: str, i: int) -> None:
        f, tangent = UNARY[name]
        i %= len(self.tensors)
        x = values(self.tensors[i])
        # Slopes are broadcast against the stack of tangents from the last axis on.
        self.put(f(self.tensors[i]), tangent(x, self.tangents[i]))

    def binary(self, name: str, i: int, j: int) -> None:
        f, tangent = BINARY[name]
        i, j = i % len(self.tensors), j % len(self.tensors)
        if name not in ("outer", "cat"):
            try:
                np.broadcast_shapes(self.tensors[i].shape, self.tensors[j].shape)
            except ValueError:
                self.unary("sum", j)
                j = len(self.tensors) - 1
        a, b = values(self.tensors[i]), values(self.tensors[j])
        tangents = [
            tangent(a, b, s, t) for s, t in zip(self.tangents[i], self.tangents[j], strict=True)
        ]
        self.put(f(self.tensors[i], self.tensors[j]), np.stack(tangents))

    def write(self, name: str, i: int) -> None:
        x = self.tensors[i % len(self.tensors)]
        before = values(x)
        IN_PLACE[name](x)
        assert x.shape == before.shape

    def run(self, steps: Sequence[tuple[str, int, int]]) -> None:
        for name, i, j in steps:
            if name in UNARY:
                self.unary(name, i)
            elif name in BINARY:
                self.binary(name, i, j)
            else:
                self.write(name, i)

    def loss(self) -> tuple[Tensor, list[Array]]:
        """A random combination of the last results, and its gradient for each leaf."""
        rng = np.random.default_rng(0)
        total, gradient = leaf(0.0) * 1, np.zeros(len(self.tangents[0]))
        for tensor, tangents in list(zip(self.tensors, self.tangents, strict=True))[-3:]:
            weights = rng.normal(size=tensor.shape)
            total = total + (tensor * weights).sum()
            gradient += (tangents * weights).reshape(len(tangents), -1).sum(1)
        ends = np.cumsum([x.numel() for x in self.leaves])[:-1]
        parts = np.split(gradient, ends)
        return total, [p.reshape(x.shape) for p, x in zip(parts, self.leaves, strict=True)]


@contextlib.contextmanager
def right_or_refused() -> Iterator[None]:
    """What runs inside may end with the error that a value changed in place, and only with it."""
    try:
        yield
    except RuntimeError as error:
        if "in place" not in str(error):
            raise


def programs(names: Sequence[str]) -> st.SearchStrategy[list[tuple[str, int, int]]]:
    place = st.integers(0, 30)
    # Most programs talk about what they computed last.
    return st.lists(st.tuples(st.sampled_from(names), place, place), min_size=1, max_size=9)


def starting_values(seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (2, 3)), rng.uniform(-1, 1, (3,))


seeds = st.integers(0, 2**32 - 1)
pure = programs([*UNARY, *BINARY])
writing = programs([*UNARY, *BINARY, *IN_PLACE])


def agree(gradients: Sequence[Tensor | None], expected: Sequence[Array]) -> None:
    for g, e in zip(gradients, expected, strict=True):
        scale = max(1.0, float(np.abs(e).max()))
        actual = np.zeros(e.shape) if g is None else values(g)
        assert actual.shape == e.shape
        assert_allclose(actual, e, rtol=1e-9, atol=1e-10 * scale)


def differentiate_again(
    first: Sequence[Tensor | None], weights: Sequence[Any], leaves: Sequence[Tensor]
) -> list[Array]:
    """The gradient of Σ first · weights, where None and what does not depend stand for zeros."""
    parts = [(g * w).sum() for g, w in zip(first, weights, strict=True) if g is not None]
    parts = [part for part in parts if part.requires_grad]
    second = tg.grad(parts, leaves, allow_unused=True) if parts else [None] * len(leaves)
    return [
        np.zeros(x.shape) if s is None else values(s) for s, x in zip(second, leaves, strict=True)
    ]
