"""The derivative J of a function at one place, from which `transforms` and `func` take theirs."""

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_cv._apply import F
from tinygrad_cv._autograd import grad
from tinygrad_cv._grad_mode import enable_grad, is_grad_enabled
from tinygrad_cv._graph import topological
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv._trees import leaves, mapped, tensors_in
from tinygrad_cv.backend import host

Places = int | tuple[int, ...]


class Point:
    """A function at one place: the chosen arguments as variables of their own, and its output.

    `create_graph` says whether what comes out can be differentiated again. None stands for: where
    it depends on something outside that requires a gradient, as far as gradients are recorded
    there. With `strict`, every output must depend on every variable; otherwise the derivative is 0
    where it does not.
    """

    def __init__(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        argnums: Places,
        has_aux: bool = False,
        create_graph: bool | None = None,
        strict: bool = False,
    ) -> None:
        self.name, self.create_graph, self.strict = name, create_graph, strict
        self.single = isinstance(argnums, int)
        self._attached = is_grad_enabled() if create_graph is None else create_graph
        numbers = [argnums] if isinstance(argnums, int) else list(argnums)
        for number in numbers:
            if not -len(args) <= number < len(args):
                raise IndexError(
                    f"{name}: argnums has {number}, and the function got {len(args)} arguments by "
                    "position."
                )
        self.variables: list[Tensor] = []
        places = [number % len(args) for number in numbers]
        if len(set(places)) != len(places):
            raise ValueError(f"{name}: argnums names an argument twice; got {argnums}.")
        self.chosen = {i: mapped(self._variable, args[i]) for i in places}
        arguments = [self.chosen.get(i, value) for i, value in enumerate(args)]
        with enable_grad():
            returned = func(*arguments, **kwargs)
        self.aux: Any = None
        if has_aux:
            if not isinstance(returned, tuple) or len(returned) != 2:
                raise TypeError(f"{name}: with has_aux the function returns a pair (output, aux).")
            returned, self.aux = returned
        self.output = returned
        self._ends = {x.node for x in self.variables}
        self.recorded = any(map(self._is_seen, tensors_in(returned)))
        self.aux = mapped(lambda x: self.out(x) if isinstance(x, Tensor) else x, self.aux)

    def _variable(self, x: Any) -> Tensor:
        """A tensor that stands for this argument alone, wherever it came from."""
        if not isinstance(x, Tensor) or not x.is_floating_point():
            what = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise TypeError(
                f"{self.name}: the function is differentiated by float tensors, in tuples, lists "
                f"and dicts; got {what}. argnums says by which arguments."
            )
        if self._attached and x.requires_grad:
            with enable_grad():
                variable: Tensor = F.clone(x)
        else:
            variable = x.detach().requires_grad_()
        self.variables.append(variable)
        return variable

    def _is_seen(self, y: Tensor) -> bool:
        """Whether somebody outside may differentiate a result."""
        if self.create_graph is not None:
            return self.create_graph
        if not (self._attached and y.requires_grad):
            return False
        order = topological([y.node], self._ends, differentiable=True)
        return any(node.op is not None if node in self._ends else node.op is None for node in order)

    def out(self, y: Tensor) -> Tensor:
        """A result, cut off from the variables if nobody outside can differentiate it."""
        return y if self._is_seen(y) else y.detach()

    def outputs(self) -> list[Tensor]:
        """The tensors of the output, which holds nothing else."""
        for y in leaves(self.output):
            if not isinstance(y, Tensor):
                raise TypeError(
                    f"{self.name}: the function returns tensors, in tuples, lists and dicts; got a "
                    f"{type(y).__name__}. Pass has_aux=True for what is not to be differentiated."
                )
        return list(leaves(self.output))

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

    def jacobian(self) -> Any:
        """J, of each output by each variable, with one backward pass for each number of outputs."""
        self.outputs()
        return mapped(lambda y: self.by_argument(self._rows(y)), self.output)

    def _rows(self, y: Tensor) -> list[Tensor]:
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

    def by_argument(self, found: Sequence[Tensor]) -> Any:
        """One tensor for each variable, in the structure of the chosen arguments."""
        each = iter(found)
        trees = [mapped(lambda _: next(each), tree) for tree in self.chosen.values()]
        return trees[0] if self.single else tuple(trees)

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

    def __init__(self, point: Point) -> None:
        self.point, self.outputs = point, point.outputs()
        moving = [y for y in self.outputs if y.requires_grad]
        self.u = [zeros(y).requires_grad_() for y in moving]
        self.pulled = _gradients(moving, point.variables, self.u, create_graph=True)

    def each(self, directions: Sequence[Any]) -> list[Tensor]:
        """How each output moves."""
        recorded = self.point.recorded
        if self.point.create_graph is None and is_grad_enabled():
            recorded = recorded or any(v.requires_grad for v in directions)
        moved = iter(_gradients(self.pulled, self.u, directions, recorded, retain_graph=True))
        shares = [next(moved) if y.requires_grad else None for y in self.outputs]
        return [self.point.or_zeros(g, y) for g, y in zip(shares, self.outputs, strict=True)]

    def along(self, directions: Sequence[Any]) -> Any:
        """How the outputs move, in their structure."""
        each = iter(self.each(directions))
        return mapped(lambda _: next(each), self.point.output)


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
