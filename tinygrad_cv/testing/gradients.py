"""Gradient checking: what the rules say against what small steps of the function say.

Everything is done in float64. Along a direction u the function becomes one of a single number,
t -> <v, f(x + t·u)> with a random cotangent v, and its slope at 0 is measured by central
differences at three step sizes, extrapolated twice (Richardson). A smooth function agrees with
itself across step sizes; one that does not has a kink, and there the rule must lie between the
slopes on the two sides.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.tensor import Tensor, grad

STEPS = (2e-3, 1e-4, 5e-6, 2e-7)
"""Step sizes tried, the largest first: the first at which the function is smooth is used."""


class GradientError(AssertionError):
    """A gradient does not agree with finite differences. `report` holds the details."""

    def __init__(self, message: str, report: "Report | None" = None) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class Slope:
    """The slope of a function of one number at 0, measured.

    Where there is a kink, `low` and `high` are the slopes on its two sides; elsewhere both equal
    `value`, which is known to about `error`.
    """

    value: float
    error: float
    low: float
    high: float

    @property
    def has_kink(self) -> bool:
        return self.low != self.high


@dataclass(frozen=True)
class Entry:
    """One comparison: of element `index` of input `name`, or of a random direction (index None)."""

    name: str
    index: tuple[int, ...] | None
    analytic: float
    numeric: Slope
    scale: float

    @property
    def excess(self) -> float:
        """How far the analytic value lies outside what was measured, relative to the gradient."""
        low, high = self.numeric.low - self.numeric.error, self.numeric.high + self.numeric.error
        outside = max(low - self.analytic, self.analytic - high, 0.0)
        if not math.isfinite(self.analytic):
            return math.inf
        return outside / self.scale if outside else 0.0

    @property
    def relative_error(self) -> float:
        """|a - n| / max(|a|, |n|), the measure of CS231n."""
        largest = max(abs(self.analytic), abs(self.numeric.value))
        return abs(self.analytic - self.numeric.value) / largest if largest else 0.0


@dataclass
class Report:
    """All comparisons of one check."""

    order: int
    entries: list[Entry] = field(default_factory=list)

    @property
    def worst(self) -> Entry:
        """The comparison that is furthest off."""
        return max(self.entries, key=lambda entry: entry.excess)

    def table(self, rows: int = 10) -> str:
        """The worst comparisons as text, one a line."""
        lines = [f"{'input':<12} {'index':<14} {'analytic':>14} {'numeric':>14} {'relative':>10}"]
        for entry in sorted(self.entries, key=lambda entry: -entry.excess)[:rows]:
            place = "direction" if entry.index is None else str(entry.index)
            lines.append(
                f"{entry.name:<12} {place:<14} {entry.analytic:>14.6g} "
                f"{entry.numeric.value:>14.6g} {entry.relative_error:>10.1e}"
            )
        return "\n".join(lines)


def slope(f: Callable[[float], float]) -> Slope:
    """Measure f'(0).

    >>> import math
    >>> abs(slope(math.sin).value - 1) < 1e-10
    True
    >>> kink = slope(abs)
    >>> round(kink.low, 6), round(kink.high, 6)
    (-1.0, 1.0)
    """
    here = f(0.0)
    for h in STEPS:
        up = [f(h / 2**k) for k in range(3)]
        down = [f(-h / 2**k) for k in range(3)]
        steps = [h / 2**k for k in range(3)]
        left = [(here - b) / s for b, s in zip(down, steps, strict=True)]
        right = [(a - here) / s for a, s in zip(up, steps, strict=True)]
        centred = [(a + b) / 2 for a, b in zip(left, right, strict=True)]
        once = [(4 * centred[k + 1] - centred[k]) / 3 for k in range(2)]
        twice = (16 * once[1] - once[0]) / 15
        # Rounding moves a difference quotient by about eps·|f| / h.
        rounding = 4e-15 * max(map(abs, (*up, *down, here))) / h
        largest = max(map(abs, (twice, *left, *right)))
        # The slopes of the two sides come closer with h if f is smooth; across a kink they do not.
        gap = [a - b for a, b in zip(right, left, strict=True)]
        ragged = max(abs(gap[0] - 2 * gap[1]), abs(gap[1] - 2 * gap[2]), abs(once[1] - once[0]))
        if ragged <= 1e-4 * largest + 8 * rounding:
            return Slope(twice, abs(twice - once[1]) + rounding, twice, twice)
    # No step is small enough: a kink, if each side has a slope of its own.
    error = max(abs(side[1] - side[2]) for side in (left, right))
    low, high = sorted((left[2], right[2]))
    return Slope((low + high) / 2, error, low, high)


def numerical_gradient(fn: Callable[..., Any], x: Any, h: float = 1e-5) -> Any:
    """The gradient of a scalar function by central differences, as it is taught.

    (f(x + h) - f(x - h)) / 2h for each element of the array `x`, one after the other.

    >>> import numpy as np
    >>> numerical_gradient(lambda x: (x**2).sum(), np.array([1.0, -2.0])).round(6)
    array([ 2., -4.])
    """
    x = host.array(x, dtype="float64")
    gradient = host.zeros_like(x)
    for index in host.ndindex(x.shape):
        before = x[index]
        x[index] = before + h
        above = float(fn(x))
        x[index] = before - h
        below = float(fn(x))
        x[index] = before
        gradient[index] = (above - below) / (2 * h)
    return gradient


def check_gradients(
    fn: Callable[..., Any],
    inputs: Sequence[Any],
    order: int = 2,
    *,
    mode: str = "auto",
    rtol: float = 1e-6,
    seed: int = 0,
    names: Sequence[str] | None = None,
    allow_zero: bool = False,
) -> Report:
    """Hold the gradients of `fn(*inputs)` against finite differences, up to `order` times.

    Every float input is differentiated, in float64; others pass as they are. In the mode "full"
    each element is moved by itself, in "direction" all of them along random directions; "auto"
    chooses by size. The cotangent is random, never ones: the sum of a batch norm, say, has the
    gradient zero. Order 2 checks the gradient as a function of the inputs and the cotangent.

    Returns a `Report`. Raises GradientError, with the report, where a gradient is wrong, and also
    where a check would be empty: an input is unused, every gradient is zero, the function gives
    different results when run twice, or is too rough to be measured.

    >>> import tinygrad_cv as tg
    >>> report = check_gradients(lambda x, y: x * y.sin(), [tg.rand(3), tg.rand(2, 3)])
    """
    if mode not in ("auto", "full", "direction"):
        raise ValueError(f"mode must be 'auto', 'full' or 'direction'; got {mode!r}.")
    rng = host.random.default_rng(seed)
    values = [_double(value) for value in inputs]
    names = names or [f"input {i}" for i in range(len(values))]
    settings = _Settings(order, mode, rtol, rng, allow_zero)
    return _check(fn, values, list(names), 1, settings)


@dataclass(frozen=True)
class _Settings:
    order: int
    mode: str
    rtol: float
    rng: Any
    allow_zero: bool


def _double(value: Any) -> Any:
    """A float input as a float64 array of our own, in the memory layout it has."""
    array = value.detach().numpy() if isinstance(value, Tensor) else value
    if hasattr(array, "dtype") and array.dtype.kind == "f":
        return array.astype("float64")
    return value


def _is_variable(value: Any) -> bool:
    return isinstance(value, host.ndarray) and value.dtype.kind == "f"


def _outputs(fn: Callable[..., Any], values: list[Any]) -> list[Tensor]:
    result = fn(*values)
    return [result] if isinstance(result, Tensor) else list(result)


def _check(
    fn: Callable[..., Any],
    values: list[Any],
    names: list[str],
    level: int,
    settings: _Settings,
) -> Report:
    rng, rtol = settings.rng, settings.rtol
    at = [i for i, value in enumerate(values) if _is_variable(value)]
    if not at:
        raise GradientError("no input is a float array, so there is nothing to check.")

    def tensors(arrays: list[Any]) -> list[Any]:
        return [Tensor(a, requires_grad=True) if i in at else a for i, a in enumerate(arrays)]

    leaves = tensors(values)
    outputs = _outputs(fn, leaves)
    again = _outputs(fn, tensors(values))
    for first, second in zip(outputs, again, strict=True):
        if not host.array_equal(first.detach().numpy(), second.detach().numpy(), equal_nan=True):
            raise GradientError("the function is not deterministic: two runs gave two results.")
        if not host.isfinite(first.detach().numpy()).all():
            raise GradientError("the function is not finite here, so it has no gradient to check.")
    live = [k for k, output in enumerate(outputs) if output.requires_grad]
    if not live:
        raise GradientError(
            "no output depends on an input through recorded ops; is the path detached?"
        )
    cotangents = [rng.standard_normal(outputs[k].shape) for k in live]

    def gradients(arguments: list[Any], weights: list[Any], create_graph: bool) -> list[Any]:
        chosen = [_outputs(fn, arguments)[k] for k in live]
        variables = [arguments[i] for i in at]
        return list(grad(chosen, variables, weights, create_graph=create_graph, allow_unused=True))

    fixed = [Tensor(v) for v in cotangents]
    found = gradients(leaves, fixed, create_graph=False)
    for i, g in zip(at, found, strict=True):
        if g is None and level == 1:
            raise GradientError(f"{names[i]} is unused: no gradient reaches it.")
    # Of a derivative it is fair not to depend on an input; then the slope must be 0 as well.
    analytic = {
        i: host.zeros_like(values[i]) if g is None else g.numpy()
        for i, g in zip(at, found, strict=True)
    }
    if not settings.allow_zero and not any(g.any() for g in analytic.values()):
        raise GradientError("every gradient is zero; a check of that would show nothing.")

    # The same rules read as a graph give the same numbers.
    recorded = gradients(tensors(values), fixed, create_graph=True)
    for i, g in zip(at, recorded, strict=True):
        if g is not None and not host.allclose(
            g.detach().numpy(), analytic[i], rtol=1e-9, atol=1e-9 * _rms(analytic)
        ):
            raise GradientError(
                f"the gradient of {names[i]} differs between the raw and the recorded reading "
                f"by up to {abs(g.detach().numpy() - analytic[i]).max():.3g}: the fused rule and "
                "the plain rule do not agree."
            )

    def objective(moved: dict[int, Any]) -> float:
        """<v, f(inputs)> with some of the inputs replaced."""
        arguments = tensors([moved.get(i, a) for i, a in enumerate(values)])
        chosen = _outputs(fn, arguments)
        terms = (
            (v * chosen[k].detach().numpy()).sum() for k, v in zip(live, cotangents, strict=True)
        )
        return float(sum(terms))

    report = Report(level, _compare(objective, values, analytic, names, settings.mode, rng))
    _judge(report, rtol, analytic, objective, values, names)
    if level < settings.order:
        count = len(values)
        needed = [k for k, g in enumerate(recorded) if g is not None]

        def derivative(*arguments: Any) -> list[Tensor]:
            result = gradients(list(arguments[:count]), list(arguments[count:]), create_graph=True)
            return [result[k] for k in needed]

        more = [f"cotangent {k}" for k in live]
        _check(derivative, [*values, *cotangents], [*names, *more], level + 1, settings)
    return report


def _rms(gradients: dict[int, Any]) -> float:
    """The typical size of one element over all gradients."""
    count = sum(g.size for g in gradients.values())
    total = sum(float((g * g).sum()) for g in gradients.values())
    return math.sqrt(total / count) if count else 0.0


def _compare(
    objective: Callable[[dict[int, Any]], float],
    values: list[Any],
    analytic: dict[int, Any],
    names: list[str],
    mode: str,
    rng: Any,
) -> list[Entry]:
    entries = []
    typical = _rms(analytic)
    for i, gradient in analytic.items():
        if not gradient.size:
            continue
        full = mode == "full" or (mode == "auto" and gradient.size <= 12)
        places: list[Any] = list(host.ndindex(gradient.shape)) if full else [None] * 2
        for place in places:
            if place is None:
                u = rng.uniform(-1, 1, gradient.shape)
            else:
                u = host.zeros(gradient.shape)
                u[place] = 1.0

            def along(t: float, i: int = i, u: Any = u) -> float:
                return objective({i: values[i] + t * u})

            parts = gradient * u
            scale = max(math.sqrt(float((parts * parts).sum())), typical) or 1.0
            entries.append(Entry(names[i], place, float(parts.sum()), slope(along), scale))
    return entries


def _judge(
    report: Report,
    rtol: float,
    analytic: dict[int, Any],
    objective: Callable[[dict[int, Any]], float],
    values: list[Any],
    names: list[str],
) -> None:
    """Raise if a comparison is off, or was too rough to mean anything."""
    for entry in report.entries:
        if entry.numeric.error > 1e-3 * entry.scale:
            raise GradientError(
                f"{entry.name}: the function is too rough to be measured here "
                f"(slope {entry.numeric.value:.6g} ± {entry.numeric.error:.1g}).",
                report,
            )
    if not report.entries:
        return
    worst = report.worst
    if worst.excess <= rtol:
        return
    if worst.index is None:  # look closer: where is it wrong?
        i = names.index(worst.name)
        if analytic[i].size <= 400:
            rng = host.random.default_rng(0)
            report.entries += _compare(objective, values, {i: analytic[i]}, names, "full", rng)
            worst = report.worst
    place = "along a random direction" if worst.index is None else f"at index {worst.index}"
    kind = "the gradient" if report.order == 1 else f"the derivative of order {report.order}"
    raise GradientError(
        f"{kind} of {worst.name} is wrong {place}: the rule gives {worst.analytic:.8g}, finite "
        f"differences {worst.numeric.value:.8g} (relative error {worst.relative_error:.1e}).\n"
        f"{report.table()}",
        report,
    )
