"""Newton's method with products of the Hessian alone."""

import math
from collections.abc import Callable
from typing import Any

from tinygrad_cv._autograd import grad
from tinygrad_cv._grad_mode import enable_grad
from tinygrad_cv._public import OPTIM, public
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv.optim._flat import Flat
from tinygrad_cv.optim.optimizer import Optimizer, ParamsT, checked, plain


@public(OPTIM)
class NewtonCG(Optimizer):
    """Newton's steps x ← x - t H⁻¹g, in which H is never written down.

    H d = -g is solved by conjugate gradients, which ask for products H v alone: the gradient of
    <g, v>, as in `hvp`. They end after `cg_iter` products, where the residual is at most
    cg_tol · ‖g‖ (min(½, √‖g‖) · ‖g‖ unless given), or where the curvature is not positive; so d
    always leads downhill. `damping` is added to the diagonal of H. The length t begins with lr and
    is halved until the loss falls by 1e-4 of what the slope says, at most `max_search` times.

    A call of `step(closure)` makes up to `max_iter` steps and ends where no slope is above
    `tolerance_grad`. The closure computes the loss and returns it, without `backward()`: the graph
    of the loss is differentiated twice. It returns the loss before the steps.

    For a loss of all the data, without noise. All parameters are one group. State (of the first
    parameter): n_iter, hvp_evals (products so far), func_evals.

    Source: J. Nocedal and S. Wright, "Numerical optimization", 2006, algorithm 7.1. Raises
    ValueError for several groups and for options that make no sense.

    >>> from tinygrad_cv import tensor
    >>> w = tensor([-4.0, 1.0], requires_grad=True)
    >>> scale = tensor([1.0, 50.0])
    >>> optimizer = NewtonCG([w], cg_tol=1e-6)
    >>> optimizer.step(lambda: (scale * w * w).sum() / 2)  # a bowl: one step to the bottom
    tensor(33., grad_fn=<div>)
    >>> abs(w.tolist()[0]) < 1e-4
    True
    """

    bounds = dict.fromkeys(("lr", "damping", "tolerance_grad"), math.inf)
    numbers = ("n_iter", "hvp_evals", "func_evals")
    elementwise = False

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1,
        max_iter: int = 1,
        cg_iter: int = 50,
        cg_tol: float | None = None,
        damping: float = 0.0,
        tolerance_grad: float = 1e-7,
        max_search: int = 20,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "cg_iter": cg_iter,
            "cg_tol": cg_tol,
            "damping": damping,
            "tolerance_grad": tolerance_grad,
            "max_search": max_search,
        }
        checked("cg_tol", 0.0 if cg_tol is None else cg_tol)
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError(
                "NewtonCG works on one group; options for some parameters have no sense."
            )

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Make up to `max_iter` steps; `closure` computes the loss, and no gradients."""
        (group,) = self.param_groups
        options = {k: plain(v) for k, v in group.items() if k not in ("params", "param_names")}
        flat = Flat(group["params"])
        state = self.state[flat.params[0]]
        for name in self.numbers:
            state.setdefault(name, 0)
        first = loss = self._loss(closure, state)
        for _ in range(options["max_iter"]):
            slopes = self._slopes(loss, flat)
            with flat.backend.active:
                g = flat.vector([s.detach()._array for s in slopes])
                if float(flat.backend.max(flat.backend.abs(g))) <= options["tolerance_grad"]:
                    break
                d = self._direction(slopes, g, flat, options, state)
                state["n_iter"] += 1
                x, t, slope = flat.values(), options["lr"], _dot(flat.backend, g, d)
            before = float(loss)
            for _ in range(options["max_search"] + 1):
                with flat.backend.active:
                    moved = x + t * d
                flat.write(moved)
                loss = self._loss(closure, state)
                if float(loss) <= before + 1e-4 * t * slope:
                    break
                t /= 2
            else:
                flat.write(x)  # nothing lower was found
                break
        return first

    def _loss(self, closure: Callable[[], Any], state: dict[str, Any]) -> Tensor:
        state["func_evals"] += 1
        with enable_grad():
            loss = closure()
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            raise ValueError(
                "the closure of NewtonCG returns the loss, a tensor of one number that depends on "
                f"the parameters, and does not call backward(); got {loss!r}."
            )
        return loss

    def _slopes(self, loss: Tensor, flat: Flat) -> list[Tensor]:
        """The gradient with a graph of its own; zeros where the loss does not depend on it."""
        with enable_grad():
            found = grad(loss, flat.params, create_graph=True, allow_unused=True)
        return [
            p.detach() * 0 if slope is None else slope
            for p, slope in zip(flat.params, found, strict=True)
        ]

    def _direction(
        self,
        slopes: list[Tensor],
        g: Any,
        flat: Flat,
        options: dict[str, Any],
        state: dict[str, Any],
    ) -> Any:
        """About -H⁻¹g, by conjugate gradients."""
        xp = flat.backend
        moving = [slope for slope in slopes if slope.requires_grad]
        size = math.sqrt(_dot(xp, g, g))
        share = options["cg_tol"]
        enough = (min(0.5, math.sqrt(size)) if share is None else share) * size
        z, r, d = xp.zeros_like(g), g, -g
        square = _dot(xp, r, r)
        for j in range(options["cg_iter"]):
            if not moving:  # a loss without curvature
                return -g
            parts = [wrap(part, xp) for part in flat.parts(d)]
            weights = [v for v, s in zip(parts, slopes, strict=True) if s.requires_grad]
            products = grad(moving, flat.params, weights, allow_unused=True, retain_graph=True)
            state["hvp_evals"] += 1
            h = options["damping"] * d + flat.vector(
                [
                    xp.zeros_like(p._array) if product is None else product._array
                    for p, product in zip(flat.params, products, strict=True)
                ]
            )
            curvature = _dot(xp, d, h)
            if not curvature > 0:
                return -g if j == 0 else z
            alpha = square / curvature
            z = z + alpha * d
            r = r + alpha * h
            before, square = square, _dot(xp, r, r)
            if math.sqrt(square) <= enough:
                break
            d = square / before * d - r
        return z


def _dot(xp: Any, a: Any, b: Any) -> float:
    return float(xp.sum(a * b))
