"""Gradient descent: SGD with momentum, and the average of its iterates, ASGD."""

from typing import Any

from tinygrad_cv._public import OPTIM, public
from tinygrad_cv.optim.optimizer import Optimizer, ParamsT

INF = float("inf")


@public(OPTIM)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked.

    g ← g + weight_decay · p;  v ← momentum · v + (1 - dampening) · g;
    p ← p - lr · v, or with Nesterov p ← p - lr · (g + momentum · v)  (Sutskever et al., 2013).
    The first v is g itself. `maximize` climbs along the gradient instead.

    With `velocity_holds_lr` the rate is part of the velocity, as in CS231n's notes:
    v ← momentum · v + lr · (1 - dampening) · g;  p ← p - v, or with Nesterov
    p ← p - (lr · g + momentum · v). It is the same at a constant rate; as the rate falls, what the
    velocity has taken up at the old rate goes on with it.

    Parameters in float16 are updated in float32, and so is what is kept. `foreach` and `fused` are
    accepted and change nothing.

    State: momentum_buffer, the velocity. Raises ValueError for options that make no sense.

    >>> from tinygrad_cv import tensor
    >>> w = tensor([1.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.1, momentum=0.9)
    >>> for _ in range(2):
    ...     w.grad = tensor([1.0])
    ...     optimizer.step()
    >>> w  # 1 - 0.1 · 1 - 0.1 · 1.9
    tensor([0.71], requires_grad=True)
    """

    bounds = dict.fromkeys(("lr", "momentum", "dampening", "weight_decay"), INF)
    arrays = ("momentum_buffer",)

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: Any = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        velocity_holds_lr: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        if velocity_holds_lr:
            defaults["velocity_holds_lr"] = True
        super().__init__(params, defaults)

    def _check(self, options: dict[str, Any]) -> None:
        momentum, dampening = options["momentum"], options["dampening"]
        if options["nesterov"] and not (momentum > 0 and dampening == 0):
            raise ValueError(
                "Nesterov's method looks ahead along the momentum: it needs momentum > 0 and "
                f"dampening = 0; got {momentum} and {dampening}."
            )
        super()._check(options)

    def update(
        self, xp: Any, p: Any, g: Any, state: dict[str, Any], options: dict[str, Any]
    ) -> None:
        lr, decay, velocity = options["lr"], options["weight_decay"], None
        dampening = options["dampening"]
        if options["momentum"] != 0:
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"], dampening = xp.zeros_like(p), 0
            velocity = state["momentum_buffer"]
        if options.get("velocity_holds_lr"):
            g, decay, lr = lr * g, lr * decay, 1.0
        step = xp.sgd_steps if isinstance(p, list) else xp.sgd_step
        step(
            p,
            g,
            velocity,
            lr=lr,
            momentum=options["momentum"],
            dampening=dampening,
            weight_decay=decay,
            nesterov=options["nesterov"],
        )

    def takes_lists(self, state: dict[str, Any], options: dict[str, Any]) -> bool:
        begun = options["momentum"] == 0 or state.get("momentum_buffer") is not None
        return begun and not options.get("velocity_holds_lr")


@public(OPTIM)
class ASGD(Optimizer):
    """Stochastic gradient descent whose iterates are averaged.

    p ← (1 - lambd · η) p - η · g, where g contains weight_decay · p;  ax ← ax + μ (p - ax);
    η = lr / (1 + lambd · lr · t)^alpha and μ = 1 / max(1, t - t0) for the next step.

    State: step, eta, mu, and ax, the average. Source: B. Polyak and A. Juditsky, "Acceleration of
    stochastic approximation by averaging", 1992; the rates are those of L. Bottou's SGD programs.

    >>> from tinygrad_cv import tensor
    >>> w = tensor([1.0], requires_grad=True)
    >>> w.grad = tensor([1.0])
    >>> ASGD([w], lr=0.1, lambd=0.0).step()
    >>> w
    tensor([0.9], requires_grad=True)
    """

    bounds = dict.fromkeys(("lr", "weight_decay"), INF)
    numbers = ("step", "eta", "mu")
    arrays = ("ax",)

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def begin(self, xp: Any, p: Any, options: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "eta": options["lr"], "mu": 1.0, "ax": xp.zeros_like(p)}

    def update(
        self, xp: Any, p: Any, g: Any, state: dict[str, Any], options: dict[str, Any]
    ) -> None:
        lr, lambd, average = options["lr"], options["lambd"], state["ax"]
        if options["weight_decay"]:
            g = g + options["weight_decay"] * p
        state["step"] += 1
        p *= 1 - lambd * state["eta"]
        p -= state["eta"] * g
        mu = state["mu"]  # what ran away to infinity has no difference
        average[...] = p if mu == 1 else average + mu * (p - average)
        state["eta"] = lr / (1 + lambd * lr * state["step"]) ** options["alpha"]
        state["mu"] = 1 / max(1, state["step"] - options["t0"])
