"""The derivative J of a function at one place, from which `transforms` and `func` take theirs."""

from collections.abc import Sequence
from typing import Any

from tinygrad_cv._apply import F
from tinygrad_cv._autograd import grad
from tinygrad_cv._grad_mode import enable_grad
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv.backend import host


class Point:
    """A function at one place. Its arguments are variables, which stand for them alone.

    `recorded` says whether the derivatives can be differentiated again. With `strict`, every output
    must depend on every variable; otherwise the derivative is 0 where it does not.
    """

    variables: list[Tensor]
    recorded: bool

    def __init__(self, name: str, strict: bool = False) -> None:
        self.name, self.strict = name, strict

    def pulled(
        self,
        outputs: Sequence[Tensor],
        weights: Sequence[Any],
        recorded: bool | None = None,
        retain_graph: bool | None = None,
    ) -> list[Tensor]:
        """wᵀ J: the gradient for each variable."""
        recorded = self.recorded if recorded is None else recorded
        found = _gradients(outputs, self.variables, weights, recorded, retain_graph)
        return [self.or_zeros(g, x) for g, x in zip(found, self.variables, strict=True)]

    def rows(self, y: Tensor) -> list[Tensor]:
        """The derivative of one output by each variable."""
        rows: list[list[Tensor]] = [[] for _ in self.variables]
        one = Tensor(1.0, dtype=y.dtype, device=y.device)
        for place in host.ndindex(y.shape):
            chosen = F.scatter_add(one, index=place, shape=y.shape)
            for row, g in zip(rows, self.pulled([y], [chosen], retain_graph=True), strict=True):
                row.append(g)
        return [
            stacked(row, (*y.shape, *x.shape), 0, x)
            for row, x in zip(rows, self.variables, strict=True)
        ]

    def or_zeros(self, found: Tensor | None, like: Tensor) -> Tensor:
        """A derivative; where there is none, 0."""
        if found is not None:
            return found
        if self.strict:
            raise RuntimeError(
                f"{self.name}: with strict, every output must depend on every input; nothing "
                f"connects a tensor of shape {like.shape} to the other side. Without it the "
                "derivative is 0."
            )
        return zeros(like)


class Push:
    """J v at a point, for any v: the derivative along v of uᵀ J, which is linear in u."""

    def __init__(self, point: Point, outputs: list[Tensor]) -> None:
        self.point, self.outputs = point, outputs
        moving = [y for y in outputs if y.requires_grad]
        self.u = [zeros(y).requires_grad_() for y in moving]
        self.pulled = _gradients(moving, point.variables, self.u, create_graph=True)

    def along(
        self, directions: Sequence[Any], recorded: bool, retain_graph: bool | None = None
    ) -> list[Tensor]:
        """How each output moves."""
        moved = iter(_gradients(self.pulled, self.u, directions, recorded, retain_graph))
        shares = [next(moved) if y.requires_grad else None for y in self.outputs]
        return [self.point.or_zeros(g, y) for g, y in zip(shares, self.outputs, strict=True)]


def variable(x: Tensor, attached: bool) -> Tensor:
    """A tensor that stands for this one alone; `attached`, in the graph of this one."""
    if not (attached and x.requires_grad):
        return x.detach().requires_grad_()
    with enable_grad():
        clone: Tensor = F.clone(x)
    return clone


def zeros(like: Tensor) -> Tensor:
    return wrap(like._backend.zeros(like.shape, dtype=like.dtype), like._backend)


def stacked(parts: list[Tensor], shape: tuple[int, ...], axis: int, like: Tensor) -> Tensor:
    """A Jacobian of its rows or columns, which may be none."""
    if not parts:
        return wrap(like._backend.zeros(shape, dtype=like.dtype), like._backend)
    with enable_grad():
        whole: Tensor = F.stack(*parts, axis=axis)
        return F.reshape(whole, shape=shape)


def _gradients(
    outputs: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    weights: Sequence[Any],
    create_graph: bool,
    retain_graph: bool | None = None,
) -> list[Tensor | None]:
    """The gradients of the outputs that have any; None where nothing depends on an input."""
    pairs = [
        (y, w) for y, w in zip(outputs, weights, strict=True) if y is not None and y.requires_grad
    ]
    if not pairs:
        return [None] * len(inputs)
    with enable_grad():  # for what `create_graph` records
        return list(
            grad(
                [y for y, _ in pairs],
                inputs,
                [w for _, w in pairs],
                retain_graph,
                create_graph,
                allow_unused=True,
            )
        )
