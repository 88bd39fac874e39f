"""Gradient checking: what the rules say against what small steps of the function say.

Everything is done in float64. Along a direction u the function becomes one of a single number,
t -> <v, f(x + t·u)> with a random cotangent v, whose slope at 0 is measured (see `measure`) and
compared with <gradient, u>.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tinygrad_cv._autograd import grad
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.testing.guard import guarded
from tinygrad_cv.testing.measure import EPS, STEP, Slope, complex_slope, rounding, slope
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
      methods, 1e-4 for "cs231n". Each element is judged by its own size, and never by that of
      another element or input; in "direction" mode elements of like size move together.

    Steps fit the size of the input and stay where the function is finite; beside the end of a
    domain the differences are one-sided.

    Returns a `Report`. Raises GradientError, with the report, where a gradient is wrong, and also
    where a check would be empty: an input is unused, an output that moves carries no gradient,
    every gradient is zero (unless `allow_zero`), the function gives different results when run
    twice, or is too rough to be measured. It says where a rule gave a NaN or an infinity, and which
    op wrote into an input, into g or into a saved value.

    >>> import tinygrad_cv as tg
    >>> report = check_gradients(lambda x, y: x * y.sin(), [tg.rand(3), tg.rand(2, 3)])
    """
    if mode not in MODES or method not in METHODS:
        raise ValueError(
            f"mode must be one of {MODES} and method one of {METHODS}; got {mode!r}, {method!r}."
        )
    if isinstance(inputs, Tensor) or hasattr(inputs, "dtype"):
        raise TypeError("inputs is a sequence, with one entry for each input of fn: [x].")
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
    if len(names) != len(values):
        raise ValueError(f"expected {len(values)} names, one for each input; got {len(names)}.")
    with host.errstate(all="ignore"):  # steps may leave the domain of the function
        return _Check(fn, fn, values, names, 1, settings).run()


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


def _flat(arrays: list[Any]) -> Any:
    """All elements of some arrays, one after the other."""
    return host.concatenate([array.reshape(-1) for array in arrays])


def _outputs(fn: Callable[..., Any], values: list[Any]) -> list[Tensor]:
    result = fn(*values)
    if isinstance(result, Tensor):
        return [result]
    several = isinstance(result, Iterable) and not hasattr(result, "dtype")
    outputs = list(result.values() if isinstance(result, dict) else result) if several else [result]
    for output in outputs:
        if not isinstance(output, Tensor):
            raise TypeError(
                "fn returns a Tensor or several, as a sequence or a dict; got "
                f"{type(output).__name__}{' among them' if several else ''}."
            )
    return outputs


def _not_finite(values: Any) -> tuple[int, ...] | None:
    """The index of the first element that is not finite."""
    wrong = host.argwhere(~host.isfinite(values))
    return tuple(wrong[0].tolist()) if len(wrong) else None


def _largest(array: Any) -> float:
    """The size of the largest finite element."""
    return float(host.abs(array).max(initial=0, where=host.isfinite(array)))


class _Check:
    """One function at one point, at one order (`level`).

    `measured` computes the same values where nobody wants their graph.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        measured: Callable[..., Any],
        values: list[Any],
        names: list[str],
        level: int,
        settings: _Settings,
    ) -> None:
        self.fn, self.measured, self.values, self.names = fn, measured, values, names
        self.level, self.settings = level, settings
        self.analytic: dict[int, Any] = {}
        self.roundings: dict[bool, dict[int, Any]] = {}
        self.at = [
            i for i, v in enumerate(values) if isinstance(v, host.ndarray) and v.dtype.kind == "f"
        ]
        if not self.at:
            raise GradientError("no input is a float array, so there is nothing to check.")
        leaves = self.leaves()
        with guarded():
            outputs = _outputs(fn, leaves)
        for i in self.at:
            if not host.array_equal(leaves[i].detach().numpy(), values[i], equal_nan=True):
                raise GradientError(f"the function changes {names[i]} in place.")
        here = [output.detach().numpy() for output in outputs]
        self.check_outputs(here)
        floats = [k for k, y in enumerate(here) if y.dtype.kind == "f"]
        if here and not floats:
            kinds = ", ".join(sorted({str(y.dtype) for y in here}))
            raise GradientError(f"every output is {kinds}, and only floats have gradients.")
        self.live = [k for k in floats if outputs[k].requires_grad]
        self.silent = [k for k in floats if not outputs[k].requires_grad]
        if not self.live:
            raise GradientError(
                "no output depends on an input through recorded ops: is the path detached, or "
                "computed outside the graph?"
            )
        self.here = _flat([here[k] for k in self.live])
        self.noise = self.rounding_error([here[k] for k in self.live], self.live)
        self.cotangents = self.draw_cotangents([here[k] for k in self.live])

    def check_outputs(self, here: list[Any]) -> None:
        """The outputs are finite, and the same in a second run."""
        # Not as `measured`: a fused rule may round otherwise where a gradient cancels.
        again = [output.detach().numpy() for output in _outputs(self.fn, self.leaves())]
        for k, (a, b) in enumerate(zip(here, again, strict=True)):
            # A GPU adds up repeated places in any order, so the last digits may differ.
            if not host.allclose(a, b, rtol=1e-12, atol=1e-12 * _largest(a), equal_nan=True):
                raise GradientError("the function is not deterministic: two runs differ.")
            index = _not_finite(a)
            if index is not None:
                raise GradientError(
                    f"the function is not finite here, so it has no gradient: output {k} is "
                    f"{a[index]} at index {index}."
                )

    def rounding_error(self, outputs: list[Any], chosen: list[int]) -> Any:
        """The rounding error of each element of the chosen outputs.

        It is what comes of inputs that are off by their last digit, and of a few operations on
        numbers as large as the output itself.
        """
        flat = _flat(outputs)
        moved = host.zeros_like(flat)
        for _ in range(2):
            inputs = {i: self.shaken(self.values[i], 2) for i in self.at}
            shaken = self.evaluate(inputs, chosen, flat)
            moved = host.fmax(moved, host.abs(shaken - flat))
        moved[~host.isfinite(moved)] = 0  # the last digit was at the edge of the domain
        return moved + host.concatenate([rounding(y).reshape(-1) for y in outputs])

    def shaken(self, array: Any, digits: int) -> Any:
        """An array with the last digits of each element up or down."""
        rng = self.settings.rng
        steps = rng.integers(digits // 2, digits + 1, array.shape) * rng.choice(
            (-1, 1), array.shape
        )
        return array * (1 + EPS * steps)

    def draw_cotangents(self, outputs: list[Any]) -> list[Any]:
        """A random weight for each element of the outputs.

        Outputs of very different size weigh about the same, so that none hides what another does.
        """
        drawn = []
        for y in outputs:
            weights = self.settings.rng.standard_normal(y.shape)
            largest = _largest(y)
            if self.level == 1 and self.settings.method == "differences" and largest:
                weights *= 2.0 ** (-10 * round(math.log2(largest) / 10))
            drawn.append(weights)
        return drawn

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

    def evaluate(self, moved: dict[int, Any], chosen: list[int], like: Any) -> Any:
        """All elements of the chosen outputs, with some of the inputs replaced; NaN where the
        function refuses them."""
        if any(value.dtype.kind == "c" for value in moved.values()):
            arguments = [
                Tensor(moved.get(i, v)) if i in self.at else v for i, v in enumerate(self.values)
            ]
        else:
            arguments = self.leaves(moved)
        try:
            outputs = _outputs(self.measured, arguments)
        except (ArithmeticError, ValueError):  # of the function, or of linear algebra
            return host.full_like(like, math.nan)
        return _flat([outputs[k].detach().numpy() for k in chosen])

    def slope(
        self,
        i: int,
        u: Any,
        size: float,
        claim: float,
        cotangents: list[Any] | None = None,
        first: float = STEP,
    ) -> Slope:
        """The slope of <v, f> when input i, whose elements have about this size, moves along u."""
        settings, x = self.settings, self.values[i]
        weights = _flat(cotangents or self.cotangents)

        def along(t: Any) -> Any:
            return self.evaluate({i: x + t * u}, self.live, self.here) if t else self.here

        if settings.method == "complex":
            return complex_slope(along, weights)
        if settings.mode == "cs231n":
            h = 1e-5
            value = float(weights @ (along(h) - along(-h))) / (2 * h)
            return Slope(value, 0.0, value, value)
        if settings.method == "linear":
            # A linear function moves by f(u) whatever it is moved from.
            h = 2.0 ** math.ceil(math.log2(max(size, 1.0)))
            moves = (along(h) - self.here) / h
            value = float(weights @ moves)
            error = 2 * float(host.abs(weights) @ (self.noise * (moves != 0))) / h
            return Slope(value, error, value, value)
        return slope(
            along,
            weights,
            noise=self.noise,
            scale=size,
            claim=claim,
            rtol=settings.rtol / 10,
            first=first,
        )

    def run(self) -> Report:
        fixed = [Tensor(v) for v in self.cotangents]
        with guarded():
            found = self.gradients(self.leaves(), fixed, create_graph=False)
            recorded = self.gradients(self.leaves(), fixed, create_graph=True)
        for i, g in zip(self.at, found, strict=True):
            if g is None and self.level == 1:
                raise GradientError(f"{self.names[i]} is unused: no gradient reaches it.")
        # A derivative may well not depend on an input; then the slope must be 0 as well.
        self.analytic = self.by_input(found)
        self.check_finite(self.analytic, "")
        self.compare_readings(self.by_input(recorded))
        self.compare_opposite(fixed)
        if self.settings.method == "linear":
            self.check_linear()
        if self.silent and self.settings.method == "differences":
            self.check_silent()
        report = Report(self.level)
        for i, gradient in self.analytic.items():
            report.entries += self.compare(i, self.is_full(gradient.size))
        self.judge(report)
        if not self.settings.allow_zero and not any(g.any() for g in self.analytic.values()):
            raise GradientError("every gradient is zero; a check of that shows nothing.", report)
        if self.level < self.settings.order:
            self.go_deeper(found)
        return report

    def by_input(self, found: list[Any]) -> dict[int, Any]:
        """Gradients as arrays, by the place of their input."""
        return {
            i: host.zeros_like(self.values[i]) if g is None else g.detach().numpy()
            for i, g in zip(self.at, found, strict=True)
        }

    def is_full(self, size: int) -> bool:
        mode = self.settings.mode
        return mode in ("full", "cs231n") or (mode == "auto" and size <= 12)

    def check_finite(self, gradients: dict[int, Any], reading: str) -> None:
        """No rule gave a NaN or an infinity."""
        for i, gradient in gradients.items():
            index = _not_finite(gradient)
            if index is not None:
                order = "" if self.level == 1 else f" for the derivative of order {self.level}"
                raise GradientError(
                    f"the rule gave {gradient[index]} at index {index} of {self.names[i]}"
                    f"{order}{reading}, where the function is finite."
                )

    def compare_readings(self, recorded: dict[int, Any]) -> None:
        """The same rules read as a graph must give the same numbers."""
        self.check_finite(recorded, " in the recorded reading")
        for i, a in recorded.items():
            b = self.analytic[i]
            apart = host.abs(a - b)
            allowed = 1e-9 * host.maximum(host.abs(a), host.abs(b))
            if (apart > allowed).any():
                allowed += self.rule_rounding(False)[i] + self.rule_rounding(True)[i]
            if (apart > allowed).any():
                raise GradientError(
                    f"the gradient of {self.names[i]} differs between the raw and the recorded "
                    f"reading by up to {apart.max():.3g}: the fused rule and the plain rule "
                    "do not agree, or a rule computes one thing on arrays and another on tensors."
                )

    def compare_opposite(self, fixed: list[Tensor]) -> None:
        """A rule is linear in g: for -2 v it gives -2 times as much."""
        opposite = self.by_input(self.gradients(self.leaves(), [v * -2 for v in fixed], False))
        for i, a in opposite.items():
            b = -2 * self.analytic[i]
            apart = host.abs(a - b)
            # Numbers below the smallest normal one have few digits.
            allowed = 1e-9 * host.maximum(host.abs(a), host.abs(b)) + host.finfo(a.dtype).tiny
            if (apart > allowed).any():
                allowed += 2 * self.rule_rounding(False)[i]
            if (apart > allowed).any():
                raise GradientError(
                    f"the rule for {self.names[i]} is not linear in g: of -2 g it makes other than "
                    f"-2 times as much, by up to {apart.max():.3g}."
                )

    def rule_rounding(self, create_graph: bool) -> dict[int, Any]:
        """How much of each gradient may be the rounding error of its rule: it moves by about that
        when the last digits of the inputs and cotangents do."""
        if create_graph not in self.roundings:
            found = []
            for digits in (0, 0, 16, 16, 16, 16):
                inputs = {i: self.shaken(self.values[i], digits) for i in self.at}
                weights = [Tensor(self.shaken(v, digits)) for v in self.cotangents]
                gradients = self.gradients(self.leaves(inputs), weights, create_graph)
                found.append(self.by_input(gradients))
            self.roundings[create_graph] = {}
            for i in self.at:
                first, again, *others = [gradients[i] for gradients in found]
                if not host.allclose(first, again, rtol=1e-9, atol=1e-9 * _largest(first)):
                    raise GradientError(
                        f"the rule for {self.names[i]} is not deterministic: two runs differ."
                    )
                apart = host.abs(host.stack(others) - first)
                self.roundings[create_graph][i] = 4 * apart.max(
                    0, where=host.isfinite(apart), initial=0
                )
        return self.roundings[create_graph]

    def check_linear(self) -> None:
        """f(2x) = 2 f(x) in each input by itself."""
        for i in self.at:
            twice, nothing = (
                self.evaluate({i: k * self.values[i]}, self.live, self.here) for k in (2, 0)
            )
            scale = host.maximum(host.abs(self.here), host.abs(twice))
            bent = host.abs(twice - 2 * self.here) > 1e-10 * scale + 16 * self.noise
            if bent.any() or (host.abs(nothing) > 1e-12 * scale + 16 * self.noise).any():
                raise GradientError(f"the function is not linear in {self.names[i]}.")

    def check_silent(self) -> None:
        """An output without a gradient moves with no input."""
        rng = self.settings.rng
        outputs = [y.detach().numpy() for y in _outputs(self.measured, self.leaves())]
        for k in self.silent:
            here = _flat([outputs[k]])
            noise = self.rounding_error([outputs[k]], [k])
            for i in self.at:
                x = self.values[i]
                u = rng.uniform(0.25, 1, x.shape) * host.where(x == 0, 1, x)

                measured = slope(
                    lambda t, i=i, u=u, k=k, here=here: self.evaluate(  # type: ignore[misc]
                        {i: self.values[i] + t * u}, [k], here
                    ),
                    rng.standard_normal(here.shape),
                    noise=noise,
                )
                if abs(measured.value) > 2 * measured.error:
                    raise GradientError(
                        f"output {k} moves with {self.names[i]}, and no gradient flows to it: is "
                        "it detached, or computed outside the graph?"
                    )

    def directions(self, i: int, full: bool) -> Iterator[tuple[Any, Any, float]]:
        """Where to move input i: (index, direction, size of what moves).

        Either each element by itself, or all of one size at a time: elements whose gradients are
        within a factor of 1000, each moved so far that it has about the same share in the slope.
        """
        gradient, x = host.abs(self.analytic[i]), host.abs(self.values[i])
        x = host.where(host.isfinite(x), x, 0)
        if full:
            for index in host.ndindex(x.shape):
                u = host.zeros(x.shape)
                u[index] = 1.0
                yield index, u, float(x[index])
            return
        rng = self.settings.rng
        inputs = host.trunc(host.log10(host.where(x == 0, 1, x)) / 3)  # 0 from 1/1000 to 1000
        shares = host.trunc((host.log10(gradient.max()) - host.log10(gradient)) / 3)
        tiers = inputs + 1000 * host.where(gradient == 0, -1, shares)
        groups = [tiers == tier for tier in host.unique(tiers)]
        for group in groups * (2 if len(groups) == 1 else 1):
            u = rng.uniform(-1, 1, x.shape)
            u += host.copysign(0.25, u)
            least = gradient[group].min()
            u *= group * (host.where(group, least / gradient, 0) if least else 1)
            ordinary = not inputs[group].any()
            yield None, u, 1.0 if ordinary else float(x[group].min())

    def compare(self, i: int, full: bool) -> list[Entry]:
        """The gradient of input i against slopes: of each element, or along random directions."""
        settings, gradient = self.settings, self.analytic[i]
        if not gradient.size:
            return []
        entries = []
        for index, u, size in self.directions(i, full):
            parts = gradient * u
            scale = math.sqrt(float((parts * parts).sum()))
            measured = self.slope(i, u, size, scale)
            if math.isinf(measured.error) or math.isnan(measured.value):
                place = "along a random direction" if index is None else f"at index {index}"
                raise GradientError(
                    f"the function is not finite at any step from {self.names[i]} {place}, so its "
                    "slope cannot be measured."
                )
            scale = max(scale, abs(measured.low), abs(measured.high)) or 1.0
            entry = Entry(self.names[i], index, float(parts.sum()), measured, scale)
            doubtful = entry.excess > settings.rtol or not entry.is_resolved
            if doubtful and settings.mode != "cs231n":
                entry = self.look_again(entry, i, u, size)
            entries.append(entry)
        return entries

    def look_again(self, entry: Entry, i: int, u: Any, size: float) -> Entry:
        """A doubtful comparison, with rounding errors that only show in a second look: the slope
        must be the same from other steps, and the rule for other last digits of its inputs."""
        rounding = 0.0
        if not entry.numeric.has_kink:  # on a kink the rule may jump
            rounding = float((self.rule_rounding(False)[i] * host.abs(u)).sum())
            entry = replace(entry, rounding=rounding)
            if self.settings.method == "differences" and entry.excess > self.settings.rtol:
                steps = (STEP / 2, 2 * STEP, 4 * STEP)
                others = [self.slope(i, u, size, entry.scale, first=first).value for first in steps]
                apart = max(abs(value - entry.numeric.value) for value in others)
                if math.isfinite(apart):
                    numeric = replace(entry.numeric, error=entry.numeric.error + 2 * apart)
                    entry = replace(entry, numeric=numeric)
                if entry.excess:
                    rounding += self.unseen(i, u)
                    entry = replace(entry, rounding=rounding)
        if not entry.excess:
            # What moves the output by less than its last digits when the input moves by its size. A
            # gradient that is constant to ten digits, as where a softmax is saturated, may be so.
            digits = 8 * EPS if self.level == 1 else 2e-11
            output = float(host.abs(_flat(self.cotangents)) @ host.abs(self.here))
            rounding += digits * output * float(host.abs(u).max()) / (min(size, 1) or 1)
            entry = replace(entry, rounding=rounding)
        return entry

    def unseen(self, i: int, u: Any) -> float:
        """What the rule claims for outputs that a short step leaves as they are, if it is less than
        their last digits: the largest share of a saturated softmax, say, is 1 but for its rounding.
        """
        moved = host.zeros(self.here.shape, bool)
        for h in (STEP, -STEP):
            there = self.evaluate({i: self.values[i] + h * u}, self.live, self.here)
            moved |= there != self.here
        ends = host.cumsum([v.size for v in self.cotangents])[:-1]
        weights = [
            v * part.reshape(v.shape)
            for v, part in zip(self.cotangents, host.split(~moved, ends), strict=True)
        ]
        gradients = self.gradients(self.leaves(), [Tensor(w) for w in weights], False)
        claim = abs(float((self.by_input(gradients)[i] * u).sum()))
        return 2 * claim if claim <= float(host.abs(_flat(weights)) @ self.noise) else 0.0

    def judge(self, report: Report) -> None:
        """Raise if a comparison is off, or was too rough to mean anything."""
        for entry in report.entries:
            if not entry.is_resolved and entry.distance <= 10 * entry.numeric.error:
                raise GradientError(
                    f"{entry.name}, {entry.place}: the function is too rough to be measured here, "
                    "or its rounding errors drown what it does: the slope "
                    f"{entry.numeric.value:.6g} ± {entry.numeric.error:.1g} cannot be resolved "
                    f"(the rule gives {entry.analytic:.6g}). Is all of it computed in "
                    "float64?",
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
        weights = _flat(self.cotangents)
        errors = {}
        for h in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7):
            up, down = (
                self.evaluate({i: self.values[i] + s * h * u}, self.live, self.here)
                for s in (1, -1)
            )
            numeric = float(weights @ (up - down)) / (2 * h)
            if math.isfinite(numeric):
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
                    size = float(abs(self.values[i][index]))
                    shares[index] = self.slope(i, u, size, 0.0, only).value
                largest = host.abs(analytic).max()
                if host.allclose(shares, analytic, rtol=1e-5, atol=1e-6 * largest):
                    return axis
        return None

    def go_deeper(self, found: list[Any]) -> None:
        """Check the gradients as functions of the inputs and the cotangents."""
        count = len(self.values)
        needed = [k for k, g in enumerate(found) if g is not None]

        def derivative(*arguments: Any, create_graph: bool = True) -> list[Tensor]:
            inputs, weights = list(arguments[:count]), list(arguments[count:])
            result = self.gradients(inputs, weights, create_graph)
            return [result[k] for k in needed]

        names = [*self.names, *(f"cotangent {k}" for k in self.live)]
        values = [*self.values, *self.cotangents]
        measured = partial(derivative, create_graph=False)
        _Check(derivative, measured, values, names, self.level + 1, self.settings).run()
