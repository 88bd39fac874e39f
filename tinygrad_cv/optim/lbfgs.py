"""L-BFGS: Newton's method with the curvature that the last steps have met."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinygrad_cv._public import OPTIM, public
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv.optim._flat import Flat
from tinygrad_cv.optim.optimizer import Optimizer, ParamsT, _value_of, plain


@public(OPTIM)
class LBFGS(Optimizer):
    """Steps along -H g, where H, about the inverse Hessian, comes from the last `history_size`
    steps s and the changes y of the gradient that they met, without ever being written down.

    A call of `step(closure)` makes up to `max_iter` steps and calls the closure up to about
    `max_eval` times (5/4 of max_iter unless given); it returns the loss before them. It ends
    earlier where no slope is above `tolerance_grad`, or step or loss change by less than
    `tolerance_change`. With line_search_fn="strong_wolfe" the length of each step is searched for;
    otherwise it is lr.

    For a loss of all the data, without noise. All parameters are one group. State (of the first
    parameter): func_evals, n_iter, d and t (the last direction and length), old_dirs (y), old_stps
    (s), ro (1/yᵀs), H_diag, prev_flat_grad, prev_loss.

    Sources: J. Nocedal, "Updating quasi-Newton matrices with limited storage", 1980; the search:
    J. Nocedal and S. Wright, "Numerical optimization", 2006, algorithms 3.5 and 3.6.

    Raises ValueError for several groups and for another line search.

    >>> from tinygrad_cv import tensor
    >>> w = tensor([-1.0, 1.0], requires_grad=True)
    >>> optimizer = LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():  # Rosenbrock's valley, which is lowest at (1, 1)
    ...     optimizer.zero_grad()
    ...     loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
    ...     loss.backward()
    ...     return loss
    >>> for _ in range(4):
    ...     _ = optimizer.step(closure)
    >>> [round(number, 3) for number in w.tolist()]
    [1.0, 1.0]
    """

    bounds = dict.fromkeys(("lr",), math.inf)
    numbers = ("func_evals", "n_iter", "t", "ro", "H_diag", "prev_loss")
    elementwise = False

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        if line_search_fn not in (None, "strong_wolfe"):
            raise ValueError(f"line_search_fn is None or 'strong_wolfe'; got {line_search_fn!r}.")
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
            "maximize": maximize,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS works on one group; options for some parameters have no sense.")

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Make up to `max_iter` steps; `closure` computes the loss and its gradients anew."""
        (group,) = self.param_groups
        options = {k: plain(v) for k, v in group.items() if k not in ("params", "param_names")}
        first = _value_of(closure)
        flat = Flat(group["params"])
        state = self.state[flat.params[0]]
        self._check_device(flat.params[0], state)
        with flat.backend.active:
            memory = _Memory(flat, state, options)
            memory.minimize(closure, float(first))
        memory.save(state)
        return first


@dataclass
class _Point:
    """A place on the line x + t d: the loss there, its gradient, and its slope along d."""

    t: float
    loss: float
    gradient: Any
    slope: float


class _Memory:
    """What L-BFGS knows, and the steps that it makes with it."""

    def __init__(self, flat: Flat, state: dict[str, Any], options: dict[str, Any]) -> None:
        self.flat, self.xp, self.options = flat, flat.backend, options
        self.sign = -1 if options.get("maximize") else 1
        self.evaluations, self.steps = state.get("func_evals", 0), state.get("n_iter", 0)
        self.ys, self.ss = ([v._array for v in state.get(n, ())] for n in ("old_dirs", "old_stps"))
        self.rho = list(state.get("ro", ()))
        self.scale = float(state.get("H_diag", 1))
        self.loss = state.get("prev_loss")
        self.t: Any = state.get("t")
        self.d: Any
        self.before: Any
        self.d, self.before = (
            None if state.get(name) is None else state[name]._array
            for name in ("d", "prev_flat_grad")
        )

    def save(self, state: dict[str, Any]) -> None:
        """Write it down under PyTorch's names."""

        def tensor(array: Any) -> Tensor:
            return wrap(array, self.xp)

        state["func_evals"], state["n_iter"] = self.evaluations, self.steps
        if self.d is None:
            return
        state |= {
            "d": tensor(self.d),
            "t": self.t,
            "old_dirs": [tensor(y) for y in self.ys],
            "old_stps": [tensor(s) for s in self.ss],
            "ro": self.rho,
            "H_diag": self.scale,
            "prev_flat_grad": tensor(self.before),
            "prev_loss": self.loss,
        }

    def _dot(self, a: Any, b: Any) -> float:
        return float(self.xp.sum(a * b))

    def _largest(self, a: Any) -> float:
        return float(self.xp.max(self.xp.abs(a)))

    def gradient(self) -> Any:
        """The gradient of what is minimized, in one row."""
        return self.sign * self.flat.gradient()

    def minimize(self, closure: Callable[[], Any], value: float) -> None:
        """Up to max_iter steps from where the parameters are, and the closure's value with them."""
        options, most = self.options, self.options["max_iter"]
        self.evaluations += 1
        calls, loss, gradient = 1, self.sign * value, self.gradient()
        if self._largest(gradient) <= options["tolerance_grad"]:
            return
        for i in range(1, most + 1):
            self.steps += 1
            self._learn(gradient)
            self.before, self.loss = gradient, loss
            self.t = options["lr"]
            if self.steps == 1:
                self.t *= min(1.0, 1 / float(self.xp.sum(self.xp.abs(gradient))))
            slope = self._dot(gradient, self.d)
            if slope > -options["tolerance_change"]:
                return
            line = _Line(self, closure)
            here = _Point(0.0, loss, gradient, slope)
            if options["line_search_fn"] is not None:
                left = max(1, options["max_eval"] - calls)
                found = line.search(here, self.t, options["tolerance_change"], left)
                self.t, loss, gradient = found.t, found.loss, found.gradient
                line.go(self.t)
            elif i == most:
                line.go(self.t)  # nobody needs the loss there
            else:
                found = line.at(self.t)
                loss, gradient = found.loss, found.gradient
            calls += line.calls
            self.evaluations += line.calls
            if (
                i == most
                or calls >= options["max_eval"]
                or self._largest(gradient) <= options["tolerance_grad"]
                or self._largest(self.d * self.t) <= options["tolerance_change"]
                or abs(loss - self.loss) < options["tolerance_change"]
            ):
                return

    def _learn(self, gradient: Any) -> None:
        """Take in the last step, and find the next direction d = -H g with two loops."""
        if self.steps == 1:
            self.d, self.ys, self.ss, self.rho, self.scale = -gradient, [], [], [], 1.0
            return
        y, s = gradient - self.before, self.d * self.t
        curvature = self._dot(y, s)
        if curvature > 1e-10:
            if len(self.ys) == self.options["history_size"]:
                for oldest in (self.ys, self.ss, self.rho):
                    oldest.pop(0)
            self.ys.append(y)
            self.ss.append(s)
            self.rho.append(1 / curvature)
            self.scale = curvature / self._dot(y, y)
        d, shares = -gradient, []
        for y, s, rho in zip(self.ys[::-1], self.ss[::-1], self.rho[::-1], strict=True):
            shares.append(rho * self._dot(s, d))
            d = d - shares[-1] * y
        d = d * self.scale
        for y, s, rho in zip(self.ys, self.ss, self.rho, strict=True):
            d = d + (shares.pop() - rho * self._dot(y, d)) * s
        self.d = d


class _Line:
    """The line x + t d through the parameters as they are."""

    def __init__(self, memory: _Memory, closure: Callable[[], Any]) -> None:
        self.memory, self.closure, self.calls = memory, closure, 0
        self.x, self.d = memory.flat.values(), memory.d

    def go(self, t: float) -> None:
        """Move the parameters to x + t d."""
        self.memory.flat.write(self.x + t * self.d)

    def at(self, t: float) -> _Point:
        """What the closure finds there."""
        self.calls += 1
        self.go(t)
        loss = self.memory.sign * float(_value_of(self.closure))
        gradient = self.memory.gradient()
        return _Point(t, loss, gradient, self.memory._dot(gradient, self.d))

    def search(self, start: _Point, t: float, least: float, most: int) -> _Point:
        """A point where the loss has fallen enough and its slope is small (strong Wolfe).

        Or the lowest that was met, after one try and `most` more.
        """

        def falls(point: _Point) -> bool:
            return point.loss <= start.loss + 1e-4 * point.t * start.slope

        def is_flat(point: _Point) -> bool:
            return abs(point.slope) <= -0.9 * start.slope

        before, point, count = start, self.at(t), 0
        while count < most:  # forwards, until a minimum lies in between
            if not falls(point) or (count > 1 and point.loss >= before.loss):
                break
            if is_flat(point):
                return point
            if point.slope >= 0:
                break
            near, far = point.t + 0.01 * (point.t - before.t), point.t * 10
            before, point = point, self.at(_lowest(before, point, near, far))
            count += 1
        else:
            before = start
        low, high = (before, point) if before.loss <= point.loss else (point, before)
        stuck = False
        width = self.memory._largest(self.d)
        while count < most and abs(high.t - low.t) * width > least:  # and closer to it
            left, right = sorted((low.t, high.t))
            first, second = (low, high) if low is before else (high, low)
            t, margin = _lowest(first, second, left, right), 0.1 * (right - left)
            close = min(right - t, t - left) < margin
            if close and (stuck or t >= right or t <= left):
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                close = False
            stuck = close
            point = self.at(t)
            count += 1
            if not falls(point) or point.loss >= low.loss:
                before = before if low is before else point
                low, high = (low, point) if low.loss <= point.loss else (point, low)
            else:
                if is_flat(point):
                    return point
                if point.slope * (high.t - low.t) >= 0:
                    high = low
                before = point
                low = point
        return low


def _lowest(a: _Point, b: _Point, left: float, right: float) -> float:
    """Where the cubic through two points with these slopes is lowest, between two bounds."""
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (left + right) / 2
    d2 = math.sqrt(square)
    if a.t > b.t:
        a, b = b, a
    bend = b.slope - a.slope + 2 * d2
    if bend == 0:  # a straight line
        return right if a.slope < 0 else left
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / bend)
    return min(max(t, left), right)
