"""Can the checker be fooled? Each rule of each op is broken in several ways; none may pass.

A mutant that gives the same numbers as the rule in every example (a flipped gradient of one
element, say) is no mutant, and is counted apart. The table is printed at the end of the run.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import tinygrad_cv as tg
from rows import ROWS, Case, Row
from tinygrad_cv._op import REGISTRY, Op, Rule
from tinygrad_cv._reading import Raw, raw
from tinygrad_cv.backend import get
from tinygrad_cv.testing import GradientError, check_gradients
from tinygrad_cv.testing.ops import split

DIFFERENTIABLE = [name for name, row in sorted(ROWS.items()) if row.op.rules]
# Before any test registers an op of its own.
REGISTERED = {
    name for name, op in REGISTRY.items() if op.rules and op.__module__.startswith("tinygrad_cv.")
}
EXAMPLES = 12

# ----- ways to be wrong: what becomes of a rule's result, for an input of some shape --------------


def without_first(F: Any, result: Any, shape: tuple[int, ...]) -> Any:
    """One term is forgotten: the first element is 0."""
    if 0 in result.shape:
        return result
    first = (0,) * len(result.shape)
    return result - F.scatter_add(F.getitem(result, index=first), index=first, shape=result.shape)


def reversed_axes(F: Any, result: Any, shape: tuple[int, ...]) -> Any:
    """The right numbers in the wrong places."""
    return F.getitem(result, index=(slice(None, None, -1),) * len(result.shape))


def transposed(F: Any, result: Any, shape: tuple[int, ...]) -> Any:
    """The elements in the order of the transposed gradient."""
    axes = tuple(range(len(result.shape)))[::-1]
    return F.reshape(F.permute(result, axes=axes), shape=result.shape)


def averaged(F: Any, result: Any, shape: tuple[int, ...]) -> Any:
    """Off by the length of the longest axis, as a mean for a sum over the batch."""
    return result / max((*result.shape, 2))


def one_share(F: Any, result: Any, shape: tuple[int, ...]) -> Any:
    """The sum over broadcast axes is missing: the share of the first index stands for it."""
    extra = len(result.shape) - len(shape)
    if extra < 0 or result.shape == shape:
        return result
    index = (0,) * extra + tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)
    return F.getitem(result, index=index)


def smallest_element(F: Any, result: Any, shape: tuple[int, ...]) -> Any:
    """One element is off by 1 %: the smallest of those that are not next to nothing."""
    values = result.detach().numpy() if isinstance(result, tg.Tensor) else on_host(result)
    sizes = np.abs(values)
    sizes = np.where(sizes > 1e-5 * sizes.max(initial=0), sizes, np.inf)
    if not np.isfinite(sizes).any():
        return result
    index = tuple(map(int, np.unravel_index(sizes.argmin(), sizes.shape)))
    share = F.getitem(result, index=index) * 0.01
    return result + F.scatter_add(share, index=index, shape=result.shape)


def on_host(array: Any) -> np.ndarray:
    """An array of any device as NumPy's."""
    return np.asarray(array.get() if hasattr(array, "get") else array)


MUTANTS: dict[str, Callable[..., Any] | None] = {
    "scaled by 1.001": lambda F, result, shape: result * 1.001,
    "sign": lambda F, result, shape: -result,
    "factor 2": lambda F, result, shape: result * 2,
    "dropped term": without_first,
    "reversed": reversed_axes,
    "transposed": transposed,
    "off by the batch": averaged,
    "missing sum": one_share,
    "offset": lambda F, result, shape: result + 0.01,
    "smallest element": smallest_element,
    "small input": lambda F, result, shape: result * 1.001,  # see `beside_a_large_input`
    "stale values": None,  # right to order 1; what the rule asked for is taken as constant
}


def mutate(op: type[Op], rule_name: str, mutant: str, case: Case) -> type[Op]:
    """The op with one of its rules broken."""
    rule = op.rules[rule_name]
    position = op.inputs.index(rule_name)
    break_it = MUTANTS[mutant]

    def broken(self: Op, F: Any, g: Any, *asked: Any) -> Any:
        if break_it is None:
            return rule.function(self, F, g, *map(frozen, asked))
        result = rule.function(self, F, g, *asked)
        home = get(None)  # where the inputs are; the output of a transfer is elsewhere
        with home.active:
            if not isinstance(F, Raw):
                return break_all(F, result)
            result = list(map(F.memory, result)) if isinstance(result, list) else F.memory(result)
            return break_all(raw(home), result)

    def break_all(F: Any, result: Any) -> Any:
        assert break_it is not None
        if isinstance(result, list):
            shapes = [value.shape for value in case.inputs[position:]]
            return [break_it(F, part, shape) for part, shape in zip(result, shapes, strict=True)]
        return break_it(F, result, case.inputs[position].shape)

    copy = type(op.__name__, (op,), {"name": op.name}, register=False)
    copy.rules = op.rules | {rule_name: Rule(broken, rule.asks)}
    copy.fusion, copy.plans = None, {}  # type: ignore[attr-defined]
    return copy


def beside_a_large_input(call: Callable[..., Any]) -> Callable[..., Any]:
    """The function, made so small that its gradients are far below that of another input."""

    def both(large: tg.Tensor, *variables: tg.Tensor) -> list[tg.Tensor]:
        found = call(*variables)
        found = found if isinstance(found, tuple) else (found,)
        return [y * 1e-7 + large.to(y.device) for y in found if y.is_floating_point()]

    return both


def frozen(value: Any) -> Any:
    """A value of the recorded reading without its graph; arrays pass."""
    return value.detach() if isinstance(value, tg.Tensor) else value


def cases(row: Row) -> list[Case]:
    """The same examples for every mutant."""
    found: list[Case] = []

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(row.cases)
    def collect(case: Case) -> None:
        if split(row.op, case)[0]:
            found.append(case)

    collect()
    # Large ones first: they tell mutants apart sooner.
    return sorted(found, key=lambda case: -sum(np.size(value) for value in case.inputs))


def derivatives(op: type[Op], case: Case, order: int) -> list[np.ndarray]:
    """The gradients of the op, or those of a weighted sum of its gradients."""
    variables, _, call = split(op, case)
    leaves = [tg.Tensor(v, requires_grad=True) for v in variables]
    y = call(*leaves)
    live = [part for part in (y if isinstance(y, tuple) else (y,)) if part.requires_grad]
    if not live:
        return []
    rng = np.random.default_rng(2)
    v = [
        tg.Tensor(rng.standard_normal(y.shape), device=y.device, requires_grad=order == 2)
        for y in live
    ]
    found = tg.grad(live, leaves, v, create_graph=order == 2, allow_unused=True)
    if order == 2:
        parts = [
            (g * rng.standard_normal(g.shape)).sum()
            for g in found
            if g is not None and g.requires_grad
        ]
        found = tg.grad(parts, [*leaves, *v], allow_unused=True) if parts else ()
    return [np.zeros(()) if g is None else g.detach().numpy() for g in found]


def differs(op: type[Op], mutated: type[Op], case: Case, order: int) -> bool:
    """Whether the mutant gives other numbers, by more than the checker forgives."""
    for right, wrong in zip(
        derivatives(op, case, order), derivatives(mutated, case, order), strict=True
    ):
        if right.shape != wrong.shape:
            return True
        sizes = np.abs(right)
        scales = np.maximum(sizes, 1e-6 * max(float(sizes.max(initial=0)), 1e-3))
        if (np.abs(right - wrong) > 2e-4 * scales).any():
            return True
    return False


@pytest.mark.host  # whether a wrong number is found does not depend on where it was computed
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_no_mutant_escapes(name: str, record_property: Callable[[str, object], None]) -> None:
    row = ROWS[name]
    drawn = cases(row)
    for mutant in MUTANTS:
        order = 2 if MUTANTS[mutant] is None else 1
        for rule_name in row.op.rules:
            outcome = "equal"
            for case in drawn:
                if case.inputs[row.op.inputs.index(rule_name)] is None or not isinstance(
                    case.inputs[row.op.inputs.index(rule_name)], np.ndarray
                ):
                    continue
                mutated = mutate(row.op, rule_name, mutant, case)
                if not differs(row.op, mutated, case, order):
                    continue
                variables, _, call = split(mutated, case)
                if mutant == "small input":
                    variables, call = [np.array(1.0), *variables], beside_a_large_input(call)
                try:
                    check_gradients(call, variables, order=order, allow_zero=True)
                except GradientError:
                    outcome = "caught"
                    break
                outcome = f"escaped with {case}"
            record_property("mutant", (mutant, outcome.split()[0]))
            assert not outcome.startswith("escaped"), f"{mutant}, {name}.{rule_name}: {outcome}"


def test_at_least_six_kinds_of_mutants() -> None:
    assert len(MUTANTS) >= 6
    assert set(DIFFERENTIABLE) == REGISTERED
