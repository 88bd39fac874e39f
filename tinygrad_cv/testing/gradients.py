"""Gradient checking: what the rules say against what small steps of the function say.

Everything is done in float64. Along a direction u the function becomes one of a single number,
t -> <v, f(x + t·u)> with a random cotangent v, whose slope at 0 is measured (see `measure`) and
compared with <gradient, u>.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.tensor import Tensor, grad
from tinygrad_cv.testing.measure import Slope, complex_slope, slope
from tinygrad_cv.testing.report import Entry, GradientError, Report

METHODS = ("differences", "complex", "linear")
MODES = ("auto", "full", "direction", "cs231n")


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
    method: str = "differences",
    rtol: float | None = None,
    seed: int = 0,
    names: Sequence[str] | None = None,
    allow_zero: bool = False,
) -> Report:
    """Hold the gradients of `fn(*inputs)` against what can be measured, up to `order` times.

    Every float input is differentiated, in float64; others pass as they are. `fn` returns a
    Tensor or several. Order 2 checks the gradient as a function of the inputs and the cotangent.

    - `mode`: "full" moves each element by itself, "direction" all of them along random
      directions; "auto" chooses by size. The cotangent is random, never ones: the sum of a batch
      norm, say, has the gradient zero. "cs231n" is the course's way: each element, one central
      difference with h = 1e-5, and |a - n| / max(|a|, |n|) in its bands.
    - `method`: "differences" extrapolates central differences and detects kinks, where the rule
      must lie between the slopes of the two sides; "complex" steps along the imaginary axis,
      exact to rounding, for a function that is analytic (it must accept complex tensors), at
      order 1; "linear" checks <A u, v> = <u, Aᵀ v> exactly, and that the function is linear.
    - `rtol`: the error allowed, relative to the gradient: 1e-6 by default, 1e-10 for the exact
      methods, 1e-4 for "cs231n".

    Returns a `Report`. Raises GradientError, with the report, where a gradient is wrong, and also
    where a check would be empty: an input is unused, every gradient is zero (unless `allow_zero`),
    the function gives different results when run twice, or is too rough to be measured.

    >>> import tinygrad_cv as tg
    >>> report = check_gradients(lambda x, y: x * y.sin(), [tg.rand(3), tg.rand(2, 3)])
    """
    if mode not in MODES or method not in METHODS:
        raise ValueError(
            f"mode must be one of {MODES} and method one of {METHODS}; got {mode!r}, {method!r}."
        )
    values = [_double(value) for value in inputs]
    if rtol is None:
        rtol = 1e-4 if mode == "cs231n" else 1e-6 if method == "differences" else 1e-10
    settings = _Settings(
        order=order if method == "differences" else 1,
        mode=mode,
        method=method,
        rtol=rtol,
        rng=host.random.default_rng(seed),
        allow_zero=allow_zero,
    )
    names = [f"input {i}" for i in range(len(values))] if names is None else list(names)
    return _Check(fn, values, names, 1, settings).run()


@dataclass(frozen=True)
class _Settings:
    order: int
    mode: str
    method: str
    rtol: float
    rng: Any
    allow_zero: bool


def _double(value: Any) -> Any:
    """A float input as a float64 array of our own, in the memory layout it has."""
    array = value.detach().numpy() if isinstance(value, Tensor) else value
    if hasattr(array, "dtype") and array.dtype.kind == "f":
        return array.astype("float64")
    return value


def _outputs(fn: Callable[..., Any], values: list[Any]) -> list[Tensor]:
    result = fn(*values)
    return [result] if isinstance(result, Tensor) else list(result)


def _rms(gradients: dict[int, Any]) -> float:
    """The typical size of one element over all gradients."""
    count = sum(g.size for g in gradients.values())
    total = sum(float((g * g).sum()) for g in gradients.values())
    return math.sqrt(total / count) if count else 0.0


class _Check:
    """One function at one point, at one order (`level`)."""

    def __init__(
        self,
        fn: Callable[..., Any],
        values: list[Any],
        names: list[str],
        level: int,
        settings: _Settings,
    ) -> None:
        self.fn, self.values, self.names = fn, values, names
        self.level, self.settings = level, settings
        self.at = [
            i for i, v in enumerate(values) if isinstance(v, host.ndarray) and v.dtype.kind == "f"
        ]
        if not self.at:
            raise GradientError("no input is a float array, so there is nothing to check.")
        outputs = _outputs(fn, self.leaves())
        for first, second in zip(outputs, _outputs(fn, self.leaves()), strict=True):
            a, b = first.detach().numpy(), second.detach().numpy()
            # A GPU adds up repeated places in any order, so the last digits may differ.
            if not host.allclose(a, b, rtol=1e-12, atol=1e-12, equal_nan=True):
                raise GradientError("the function is not deterministic: two runs differ.")
            if not host.isfinite(a).all():
                raise GradientError("the function is not finite here, so it has no gradient.")
        self.live = [k for k, output in enumerate(outputs) if output.requires_grad]
        if not self.live:
            raise GradientError(
                "no output depends on an input through recorded ops: is the path detached, or "
                "computed outside the graph?"
            )
        self.cotangents = [settings.rng.standard_normal(outputs[k].shape) for k in self.live]

    def leaves(self, moved: dict[int, Any] | None = None) -> list[Any]:
        """The inputs as leaf tensors, some of them replaced."""
        moved = moved or {}
        return [
            Tensor(moved.get(i, value), requires_grad=True) if i in self.at else value
            for i, value in enumerate(self.values)
        ]

    def gradients(self, arguments: list[Any], weights: list[Any], create_graph: bool) -> list[Any]:
        outputs = _outputs(self.fn, arguments)
        return list(
            grad(
                [outputs[k] for k in self.live],
                [arguments[i] for i in self.at],
                [w.to(outputs[k].device) for k, w in zip(self.live, weights, strict=True)],
                create_graph=create_graph,
                allow_unused=True,
            )
        )

    def objective(self, moved: dict[int, Any], cotangents: list[Any]) -> Any:
        """<v, f(inputs)> with some of the inputs replaced."""
        complex_inputs = any(value.dtype.kind == "c" for value in moved.values())
        if complex_inputs:
            arguments = [
                Tensor(moved.get(i, v)) if i in self.at else v for i, v in enumerate(self.values)
            ]
        else:
            arguments = self.leaves(moved)
        outputs = _outputs(self.fn, arguments)
        chosen = [outputs[k].detach().numpy() for k in self.live]
        total = sum((v * y).sum() for v, y in zip(cotangents, chosen, strict=True))
        return complex(total) if complex_inputs else float(total)

    def slope(self, i: int, u: Any, cotangents: list[Any] | None = None) -> Slope:
        """The slope of the objective when input i moves along u."""
        cotangents = cotangents or self.cotangents

        def along(t: Any) -> Any:
            return self.objective({i: self.values[i] + t * u}, cotangents)

        if self.settings.method == "complex":
            return complex_slope(along)
        if self.settings.mode == "cs231n":
            h = 1e-5
            value = (along(h) - along(-h)) / (2 * h)
            return Slope(value, 0.0, value, value)
        if self.settings.method == "linear":
            # A linear function moves by f(u) whatever it is moved from.
            value = along(1.0) - along(0.0)
            return Slope(value, 0.0, value, value)
        return slope(along)

    def run(self) -> Report:
        fixed = [Tensor(v) for v in self.cotangents]
        found = self.gradients(self.leaves(), fixed, create_graph=False)
        for i, g in zip(self.at, found, strict=True):
            if g is None and self.level == 1:
                raise GradientError(f"{self.names[i]} is unused: no gradient reaches it.")
        # A derivative may well not depend on an input; then the slope must be 0 as well.
        self.analytic = {
            i: host.zeros_like(self.values[i]) if g is None else g.numpy()
            for i, g in zip(self.at, found, strict=True)
        }
        self.typical = _rms(self.analytic)
        self.compare_readings(self.gradients(self.leaves(), fixed, create_graph=True))
        if self.settings.method == "linear":
            self.check_linear()
        report = Report(self.level)
        for i, gradient in self.analytic.items():
            report.entries += self.compare(i, self.is_full(gradient.size))
        self.judge(report)
        if not self.typical and not self.settings.allow_zero:
            raise GradientError("every gradient is zero; a check of that shows nothing.", report)
        if self.level < self.settings.order:
            self.go_deeper(found)
        return report

    def is_full(self, size: int) -> bool:
        mode = self.settings.mode
        return mode in ("full", "cs231n") or (mode == "auto" and size <= 12)

    def compare_readings(self, recorded: list[Any]) -> None:
        """The same rules read as a graph must give the same numbers."""
        for i, g in zip(self.at, recorded, strict=True):
            if g is None:
                continue
            a, b = g.detach().numpy(), self.analytic[i]
            if not host.allclose(a, b, rtol=1e-9, atol=1e-9 * self.typical):
                raise GradientError(
                    f"the gradient of {self.names[i]} differs between the raw and the recorded "
                    f"reading by up to {abs(a - b).max():.3g}: the fused rule and the plain rule "
                    "do not agree."
                )

    def check_linear(self) -> None:
        """f(2x) = 2 f(x) in each input by itself."""
        for i in self.at:
            once = self.objective({i: self.values[i]}, self.cotangents)
            twice = self.objective({i: 2 * self.values[i]}, self.cotangents)
            nothing = self.objective({i: 0 * self.values[i]}, self.cotangents)
            scale = max(abs(once), abs(twice), abs(nothing))
            if abs(nothing) > 1e-12 * scale or abs(twice - 2 * once) > 1e-10 * scale:
                raise GradientError(f"the function is not linear in {self.names[i]}.")

    def compare(self, i: int, full: bool) -> list[Entry]:
        """The gradient of input i against slopes: of each element, or along two directions."""
        gradient = self.analytic[i]
        if not gradient.size:
            return []
        entries = []
        places: list[Any] = list(host.ndindex(gradient.shape)) if full else [None, None]
        for place in places:
            if place is None:
                u = self.settings.rng.uniform(-1, 1, gradient.shape)
            else:
                u = host.zeros(gradient.shape)
                u[place] = 1.0
            parts = gradient * u
            scale = max(math.sqrt(float((parts * parts).sum())), self.typical) or 1.0
            analytic = float(parts.sum())
            measured = self.slope(i, u)
            if self.settings.mode == "cs231n":
                scale = max(abs(analytic), abs(measured.value)) or 1.0
            entries.append(Entry(self.names[i], place, analytic, measured, scale))
        return entries

    def judge(self, report: Report) -> None:
        """Raise if a comparison is off, or was too rough to mean anything."""
        for entry in report.entries:
            if entry.numeric.error > 1e-3 * entry.scale:
                raise GradientError(
                    f"{entry.name}: the function is too rough to be measured here "
                    f"(slope {entry.numeric.value:.6g} ± {entry.numeric.error:.1g}).",
                    report,
                )
        if not report.entries or report.worst.excess <= self.settings.rtol:
            return
        i = self.names.index(report.worst.name)
        if self.analytic[i].size <= 400:  # look closer: where is it wrong, and how?
            full = self.compare(i, full=True)
            report.entries += [] if report.worst.index is not None else full
            measured = host.array([entry.numeric.value for entry in full])
            report.hint = self.hint(i, measured.reshape(self.analytic[i].shape))
        worst = report.worst
        report.sweep = self.sweep(i, worst)
        place = "along a random direction" if worst.index is None else f"at index {worst.index}"
        kind = "the gradient" if report.order == 1 else f"the derivative of order {report.order}"
        raise GradientError(
            f"{kind} of {worst.name} is wrong {place}: the rule gives {worst.analytic:.8g}, "
            f"measured {worst.numeric.value:.8g} (relative error {worst.relative_error:.1e}).\n"
            f"{report.table()}",
            report,
        )

    def sweep(self, i: int, worst: Entry) -> dict[float, float]:
        """The relative error of one element over step sizes: a right rule has a deep minimum."""
        if worst.index is None:
            return {}
        u = host.zeros(self.values[i].shape)
        u[worst.index] = 1.0
        errors = {}
        for h in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7):
            up, down = (
                self.objective({i: self.values[i] + s * h * u}, self.cotangents) for s in (1, -1)
            )
            numeric = (up - down) / (2 * h)
            largest = max(abs(worst.analytic), abs(numeric)) or 1.0
            errors[h] = abs(worst.analytic - numeric) / largest
        return errors

    def hint(self, i: int, numeric: Any) -> str:
        """What the mistake looks like, in plain words, if it has a known look."""
        analytic = self.analytic[i]

        def same(a: Any, b: Any) -> bool:
            return bool(host.abs(a - b).max() <= 1e-5 * host.abs(b).max())

        if not analytic.any():
            return "the gradient is zero everywhere: is the path detached, or the rule a constant?"
        if not numeric.any():
            return "the function does not move with this input, so the gradient should be zero."
        if same(analytic, -numeric):
            return "the sign is wrong."
        if analytic.ndim >= 2:
            turned = numeric.swapaxes(-1, -2)
            if turned.shape == analytic.shape and same(analytic, turned):
                return "the gradient is transposed."
            if same(analytic, turned.reshape(analytic.shape)):
                return "the elements are those of the transposed gradient, in another shape."
        factor = float((analytic * numeric).sum() / (numeric * numeric).sum())
        if factor and same(analytic, factor * numeric):
            return self.factor_hint(factor)
        axis = self.missing_sum(i, analytic)
        if axis is not None:
            return (
                f"it is the share of the first index along axis {axis} of the output: is the sum "
                "over that broadcast axis missing?"
            )
        return ""

    def factor_hint(self, factor: float) -> str:
        for k, name in ((2.0, "2"), (0.5, "1/2")):
            if math.isclose(factor, k, rel_tol=1e-4):
                return f"it is off by the factor {name}: look at squares and at terms used twice."
        shapes = [v.shape for v in (*self.cotangents, *(self.values[j] for j in self.at))]
        for n in sorted({n for shape in shapes for n in shape if n > 1}):
            if math.isclose(factor, n, rel_tol=1e-4) or math.isclose(factor * n, 1, rel_tol=1e-4):
                return (
                    f"it is off by the factor {'' if factor > 1 else '1/'}{n}, the length of an "
                    "axis: the size of the batch? A mean taken for a sum, or the reverse?"
                )
        return f"it is off by the constant factor {factor:.6g}."

    def missing_sum(self, i: int, analytic: Any) -> int | None:
        """The output axis whose first index alone gives the analytic value, if there is one."""
        for k, v in enumerate(self.cotangents):
            for axis in range(v.ndim):
                if v.shape[axis] == 1 or analytic.size > 64:
                    continue
                first = host.zeros_like(v)
                place = (slice(None),) * axis + (0,)
                first[place] = v[place]
                only = [first if j == k else 0 * w for j, w in enumerate(self.cotangents)]
                shares = host.zeros_like(analytic)
                for index in host.ndindex(analytic.shape):
                    u = host.zeros_like(analytic)
                    u[index] = 1.0
                    shares[index] = self.slope(i, u, only).value
                if host.allclose(shares, analytic, rtol=1e-5, atol=1e-6 * self.typical):
                    return axis
        return None

    def go_deeper(self, found: list[Any]) -> None:
        """Check the gradients as functions of the inputs and the cotangents."""
        count = len(self.values)
        needed = [k for k, g in enumerate(found) if g is not None]

        def derivative(*arguments: Any) -> list[Tensor]:
            inputs, weights = list(arguments[:count]), list(arguments[count:])
            result = self.gradients(inputs, weights, create_graph=True)
            return [result[k] for k in needed]

        names = [*self.names, *(f"cotangent {k}" for k in self.live)]
        values = [*self.values, *self.cotangents]
        _Check(derivative, values, names, self.level + 1, self.settings).run()
