"""Random programs that change tensors in place, and NumPy's own views as their oracle.

A program runs on our tensors, on PyTorch's, and on jets: arrays with the coefficients of 1, t and
t² of each element, when the leaves start at x + t·u. A jet is changed in place as the tensor is,
and NumPy's memory decides who sees it. The oracle knows no graph: what it says of a loss are its
value, its slope along u, and half of its curvature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Array = npt.NDArray[Any]


@dataclass(eq=False)
class Jet:
    """(3, *shape): what each element is at t, up to t²."""

    c: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.c.shape[1:]

    @property
    def ndim(self) -> int:
        return self.c.ndim - 1

    def __add__(self, other: Any) -> "Jet":
        a, b = aligned(self, jet(other))
        return Jet(a + b)

    def __sub__(self, other: Any) -> "Jet":
        return self + jet(other) * -1.0

    def __mul__(self, other: Any) -> "Jet":
        a, b = aligned(self, jet(other))
        return Jet(
            np.stack(
                [a[0] * b[0], a[0] * b[1] + a[1] * b[0], a[0] * b[2] + a[1] * b[1] + a[2] * b[0]]
            )
        )

    def tanh(self) -> "Jet":
        y = np.tanh(self.c[0])
        slope = 1 - y * y
        return Jet(np.stack([y, slope * self.c[1], slope * self.c[2] - y * slope * self.c[1] ** 2]))

    def sin(self) -> "Jet":
        y, slope = np.sin(self.c[0]), np.cos(self.c[0])
        return Jet(np.stack([y, slope * self.c[1], slope * self.c[2] - y * self.c[1] ** 2 / 2]))

    def sum(self) -> "Jet":
        return Jet(self.c.reshape(3, -1).sum(1))

    # ----- views and changes in place --------------------------------------------------------

    @property
    def T(self) -> "Jet":
        return Jet(self.c.transpose(0, *range(self.ndim, 0, -1)))

    def reshape(self, *shape: int) -> "Jet":
        return Jet(self.c.reshape(3, *shape))

    def diagonal(self) -> "Jet":
        view = self.c.diagonal(0, 1, 2)
        view.flags.writeable = True
        return Jet(view)

    def unbind(self) -> "list[Jet]":
        return [self[i] for i in range(self.shape[0])]

    def __getitem__(self, index: Any) -> "Jet":
        return Jet(self.c[inside(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        part, value = aligned(Jet(self.c[inside(index)]), jet(value))
        self.c[inside(index)] = np.broadcast_to(value, part.shape)

    def write(self, value: Any) -> "Jet":
        self[...] = value
        return self

    def __iadd__(self, other: Any) -> "Jet":
        return self.write(self + other)

    def __isub__(self, other: Any) -> "Jet":
        return self.write(self - other)

    def __imul__(self, other: Any) -> "Jet":
        return self.write(self * other)

    def tanh_(self) -> "Jet":
        return self.write(self.tanh())

    def sin_(self) -> "Jet":
        return self.write(self.sin())

    def zero_(self) -> "Jet":
        return self.write(0.0)

    copy_ = fill_ = write

    def relay(self, view: Array) -> "Jet":
        self.c = view
        return self

    def t_(self) -> "Jet":
        return self.relay(self.c.swapaxes(1, 2))

    def transpose_(self, a: int, b: int) -> "Jet":
        return self.relay(self.c.swapaxes(a % self.ndim + 1, b % self.ndim + 1))

    def unsqueeze_(self, axis: int) -> "Jet":
        return self.relay(np.expand_dims(self.c, axis if axis < 0 else axis + 1))

    def squeeze_(self) -> "Jet":
        return self.relay(
            self.c.squeeze(tuple(i for i, n in enumerate(self.c.shape) if i and n == 1))
        )

    def addcmul_(self, a: "Jet", b: "Jet") -> "Jet":
        return self.write(self + a * b)

    def masked_fill_(self, mask: Any, value: "Jet") -> "Jet":
        self[mask] = value
        return self


def jet(value: Any) -> Jet:
    return value if isinstance(value, Jet) else Jet(np.array([value, 0.0, 0.0]))


def aligned(a: Jet, b: Jet) -> tuple[Array, Array]:
    """The coefficients with equally many axes behind the first, so that they broadcast."""
    most = max(a.ndim, b.ndim)
    return tuple(x.c.reshape(3, *(1,) * (most - x.ndim), *x.shape) for x in (a, b))  # type: ignore[return-value]


def inside(index: Any) -> tuple[Any, ...]:
    return (slice(None), *(index if isinstance(index, tuple) else (index,)))


# ----- the steps ---------------------------------------------------------------------------------


def fit(x: Any, y: Any) -> Any:
    """y, or its sum where it does not broadcast to the shape of x."""
    try:
        fits = np.broadcast_shapes(x.shape, y.shape) == tuple(x.shape)
    except ValueError:
        fits = False
    return y if fits else y.sum()


def number(x: Any) -> Any:
    return x.sum() * 0.25


def has_rows(x: Any) -> bool:
    return bool(x.ndim and x.shape[0])


COMPUTE: dict[str, Callable[[Any, Any], Any]] = {
    "scale": lambda x, y: x * 0.5 + 0.25,
    "add": lambda x, y: x + fit(x, y),
    "sub": lambda x, y: x * 0.5 - fit(x, y) * 0.5,
    "tanh": lambda x, y: x.tanh(),
    "mul": lambda x, y: x * fit(x, y),
}
VIEW: dict[str, Callable[[Any, Any], Any]] = {
    "row": lambda x, y: x[0] if has_rows(x) else x[...],
    "element": lambda x, y: x[(-1,) * x.ndim] if x.ndim and 0 not in x.shape else x[None],
    "slice": lambda x, y: x[..., 1:] if x.ndim else x[None],
    "step": lambda x, y: x[..., ::2] if x.ndim else x[None],
    "new axis": lambda x, y: x[None],
    "T": lambda x, y: x.T if x.ndim == 2 else x[...],
    "flat": lambda x, y: x.reshape(-1),
    "diagonal": lambda x, y: x.diagonal() if x.ndim == 2 else x[...],
    "unbound": lambda x, y: x.unbind()[-1] if has_rows(x) else x[...],
}


def put(x: Any, index: Any, value: Any) -> Any:
    x[index] = value


def rows(x: Any, y: Any) -> Any:
    """`for row in x: row += ...`, each a view of its own."""
    for row in x.unbind() if x.ndim else [x]:
        row += number(y)


def part(x: Any, y: Any) -> Any:
    x[0 if has_rows(x) else ...] *= fit(x[0] if has_rows(x) else x, y)


def shift(x: Any, y: Any) -> Any:
    """What is written is read from the same memory."""
    if x.ndim:
        x[..., 1:] = x[..., :-1] * 1.0 if isinstance(x, Jet) else x[..., :-1]


def add(x: Any, y: Any) -> None:
    x += fit(x, y)


def subtract(x: Any, y: Any) -> None:
    x -= fit(x, y)


def multiply(x: Any, y: Any) -> None:
    x *= fit(x, y)


WRITE: dict[str, Callable[[Any, Any], Any]] = {
    "[i] = a number": lambda x, y: put(x, 0 if has_rows(x) else ..., 0.5),
    "[i] =": lambda x, y: put(x, -1 if has_rows(x) else ..., number(y)),
    "[a:b] =": lambda x, y: put(x, (..., slice(1, None)) if x.ndim else ..., number(y)),
    "[...] =": lambda x, y: put(x, ..., fit(x, y)),
    "[mask] =": lambda x, y: put(x, checkered(x) if x.ndim else ..., number(y)),
    "[array] =": lambda x, y: put(x, np.array([-1]) if has_rows(x) else ..., number(y)),
    "[1:] = [:-1]": shift,
    "[i] *=": part,
    "rows": rows,
    "+=": add,
    "-=": subtract,
    "*=": multiply,
    "*= itself": lambda x, y: multiply(x, x),
    "tanh_": lambda x, y: x.tanh_(),
    "sin_": lambda x, y: x.sin_(),
    "zero_": lambda x, y: x.zero_(),
    "copy_": lambda x, y: x.copy_(fit(x, y)),
    "fill_": lambda x, y: x.fill_(number(y)),
    "addcmul_": lambda x, y: x.addcmul_(fit(x, y), fit(x, y)),
}


RELAY: dict[str, Callable[[Any, Any], Any]] = {
    "t_": lambda x, y: x.t_() if x.ndim == 2 else x,
    "transpose_": lambda x, y: x.transpose_(0, -1) if x.ndim else x,
    "unsqueeze_": lambda x, y: x.unsqueeze_(0),
    "unsqueeze_(-1)": lambda x, y: x.unsqueeze_(-1),
    "squeeze_": lambda x, y: x.squeeze_(),
}


def checkered(x: Any) -> Array:
    return np.arange(int(np.prod(x.shape))).reshape(tuple(x.shape)) % 2 == 0


STEPS = {**COMPUTE, **VIEW, **WRITE, **RELAY}
Program = list[tuple[str, int, int]]

programs: st.SearchStrategy[Program] = st.lists(
    st.tuples(
        st.one_of(*(st.sampled_from(list(kind)) for kind in (COMPUTE, VIEW, WRITE, WRITE, RELAY))),
        st.integers(0, 4),
        st.integers(0, 6),
    ),
    min_size=2,
    max_size=12,
)
START = (
    np.array([[0.3, -0.7, 0.9], [0.2, 0.5, -0.4], [0.8, -0.1, 0.6]]),
    np.array([0.5, -0.3, 0.7]),
)
ALONG = (
    np.array([[1.0, 0.5, -1.0], [2.0, 0.3, 0.7], [-0.6, 1.1, 0.2]]),
    np.array([0.4, -1.2, 0.9]),
)


def run(program: Program, leaves: list[Any], plain: Any) -> Any:
    """The loss of a program: of all the tensors that it made, and that are still there.

    It starts from two leaves, results of them, and plain data; it changes no leaf. A step takes
    some of the tensors that were made last.
    """
    x, w = leaves
    made = [x * 1.0, w * 0.5, plain]
    for name, i, j in program:
        target, other = made[-1 - i % len(made)], made[-1 - j % len(made)]
        result = STEPS[name](target, other)
        if name in COMPUTE or name in VIEW:
            made.append(result)
    loss = (x * x).sum()
    for k, y in enumerate(made):
        loss = loss + (y * y * (0.3 + 0.1 * k) + y).sum()
    return loss


def expected(program: Program) -> tuple[float, float, float]:
    """The loss, its slope and its curvature along ALONG."""
    leaves = [Jet(np.stack([x, u, 0 * x])) for x, u in zip(START, ALONG, strict=True)]
    value, slope, half = run(program, leaves, Jet(np.zeros((3, 2, 3)))).c
    return float(value), float(slope), 2 * float(half)
