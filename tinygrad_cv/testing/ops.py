"""Checking an op over many drawn inputs: its forward, its rules, its kinks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tinygrad_cv import backend as backends
from tinygrad_cv._apply import apply
from tinygrad_cv._op import Op
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.testing.gradients import check_gradients
from tinygrad_cv.testing.guard import guarded
from tinygrad_cv.testing.report import GradientError, Report


@dataclass(frozen=True)
class Case:
    """One call of an op: its inputs (arrays, numbers, None) and its attributes."""

    inputs: tuple[Any, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:  # NumPy turns 0-d arrays into scalars on many occasions
        arrays = tuple(host.asarray(v) if isinstance(v, host.generic) else v for v in self.inputs)
        object.__setattr__(self, "inputs", arrays)

    def fresh_attributes(self) -> dict[str, Any]:
        """The attributes; a generator starts again, so that two runs draw the same."""
        return {
            name: host.random.default_rng(0) if isinstance(value, host.random.Generator) else value
            for name, value in self.attributes.items()
        }

    def make(self, op: type[Op]) -> Op:
        """The op with these attributes, its index arrays on the default device."""
        backend = backends.get(None)

        def moved(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(moved, value))
            return backend.from_host(value) if isinstance(value, host.ndarray) else value

        return op(**{name: moved(value) for name, value in self.fresh_attributes().items()})


def check_op(
    op: type[Op] | Callable[..., Any],
    strategy: Any,
    reference: Callable[..., Any] | None = None,
    order: int = 2,
    *,
    kinks: Iterable[Any] = (),
    examples: int | None = None,
    method: str = "differences",
) -> Report:
    """Check an op, or any function of tensors, on inputs drawn by a hypothesis strategy.

    A draw is an array, a tuple of inputs, or a `Case` with attributes. For each one the forward
    is compared with `reference(*inputs, **attributes)`, where given, and the gradients with finite
    differences (see `check_gradients`). `kinks` are draws that stand on a kink, where the rule
    must lie between the slopes of the two sides. `examples` is how many to draw; the default is
    that of the hypothesis profile.

    Returns the report of the largest example. Raises GradientError for a wrong gradient, for a
    strategy that made fewer examples than asked, for an input whose gradient was zero in all of
    them and in many more, and for an op that writes into what it was given; AssertionError where
    the forward differs from the reference.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.testing.strategies import arrays, shapes
    >>> report = check_op(tg.sin, arrays(shapes()), examples=5)
    """
    from hypothesis import HealthCheck, Phase, given, settings

    default = settings.default
    assert default is not None
    wanted = examples or default.max_examples
    reports: list[Report] = []
    moved: dict[str, bool] = {}

    def check(drawn: Any) -> None:
        case = as_case(drawn)
        if reference is not None:
            _check_forward(op, case, reference)
        variables, names, call = split(op, case)
        if not variables:
            return
        report = check_gradients(
            call, variables, order, names=names, method=method, allow_zero=True
        )
        reports.append(report)
        for entry in report.entries:  # there are none for an empty input
            moved[entry.name] = moved.get(entry.name, False) or entry.analytic != 0

    def check_until_moved(drawn: Any) -> None:
        if not all(moved.values()):
            check(drawn)

    def draw(count: int, test: Callable[[Any], None]) -> None:
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            report_multiple_bugs=False,  # one error, and not a group of them
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def run(drawn: Any) -> None:
            test(drawn)

        run()

    draw(wanted, check)
    if len(reports) < wanted:
        raise GradientError(
            f"the strategy made {len(reports)} examples with a float input; {wanted} were asked."
        )
    if not all(moved.values()):  # bad luck, perhaps: it is not to decide whether a check passes
        draw(max(20 * wanted, 200), check_until_moved)
    for name, has_moved in (moved or {"each input": False}).items():
        if not has_moved:
            raise GradientError(
                f"the gradient of {name} was zero in all {len(reports)} examples; a check of that "
                "shows nothing."
            )
    for drawn in kinks:
        variables, names, call = split(op, as_case(drawn))
        report = check_gradients(call, variables, order=1, mode="full", names=names)
        if not any(entry.numeric.has_kink for entry in report.entries):
            raise GradientError(f"there is no kink at {drawn!r}.", report)
    return max(reports, key=lambda report: len(report.entries))


def as_case(drawn: Any) -> Case:
    """A draw as a Case."""
    if isinstance(drawn, Case):
        return drawn
    return Case(tuple(drawn) if isinstance(drawn, tuple | list) else (drawn,))


def run(op: type[Op] | Callable[..., Any], case: Case, inputs: Iterable[Any]) -> Any:
    """The op or function on these inputs, with the attributes of the case."""
    if isinstance(op, type) and issubclass(op, Op):
        return apply(case.make(op), *inputs)
    return op(*inputs, **case.fresh_attributes())


def split(
    op: type[Op] | Callable[..., Any], case: Case
) -> tuple[list[Any], list[str], Callable[..., Any]]:
    """The inputs that can be differentiated, their names, and the op as a function of them."""
    if isinstance(op, type) and issubclass(op, Op):
        fixed = op.nondifferentiable
        names = list(op.inputs)
        if op.variadic:
            last = names.pop()
            names += [f"{last}[{i}]" for i in range(len(case.inputs) - len(names))]
    else:
        fixed = ()
        names = [f"input {i}" for i in range(len(case.inputs))]
    chosen = [
        i
        for i, (name, value) in enumerate(zip(names, case.inputs, strict=False))
        if isinstance(value, host.ndarray) and value.dtype.kind == "f" and name not in fixed
    ]

    def call(*variables: Any) -> Any:
        inputs = [Tensor(v) if isinstance(v, host.ndarray) else v for v in case.inputs]
        for i, variable in zip(chosen, variables, strict=True):
            inputs[i] = variable
        return run(op, case, inputs)

    return [case.inputs[i] for i in chosen], [names[i] for i in chosen], call


def _check_forward(
    op: type[Op] | Callable[..., Any], case: Case, reference: Callable[..., Any]
) -> None:
    inputs = [Tensor(v) if isinstance(v, host.ndarray) else v for v in case.inputs]
    with guarded():
        found = run(op, case, inputs)
    wanted = reference(*case.inputs, **case.fresh_attributes())
    if not isinstance(found, tuple | list):
        found, wanted = (found,), (wanted,)
    words = "the forward is not what the reference gives"
    for y, expected in zip(found, map(host.asarray, wanted), strict=True):
        if y.shape != expected.shape:
            raise AssertionError(
                f"the forward gives the shape {y.shape}, the reference {expected.shape}."
            )
        host.testing.assert_allclose(
            y.detach().numpy(), expected, rtol=1e-9, atol=1e-12, err_msg=words
        )
