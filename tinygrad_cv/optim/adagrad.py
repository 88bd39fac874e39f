"""A rate for each weight from its past gradients: Adagrad, Adadelta and RMSprop."""

import math
from typing import Any

from tinygrad_cv._public import OPTIM, public
from tinygrad_cv.optim.optimizer import Optimizer, ParamsT

INF = math.inf


@public(OPTIM)
class Adagrad(Optimizer):
    """Steps that get shorter with all that has been climbed down so far, for each weight.

    s ← s + g²;  p ← p - lr / (1 + (t - 1) · lr_decay) · g / (√s + eps), where s begins with
    `initial_accumulator_value`. Weight decay is added to g.

    State: step, sum (s). Source: J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods
    for online learning and stochastic optimization", 2011.

    >>> from tinygrad_cv import tensor
    >>> w = tensor([1.0], requires_grad=True)
    >>> w.grad = tensor([123.0])
    >>> Adagrad([w], lr=0.1).step()
    >>> w
    tensor([0.9], requires_grad=True)
    """

    bounds = dict.fromkeys(
        ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"), INF
    )
    numbers = ("step",)
    arrays = ("sum",)

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def begin(self, xp: Any, p: Any, options: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "sum": xp.full_like(p, options["initial_accumulator_value"])}

    def update(
        self, xp: Any, p: Any, g: Any, state: dict[str, Any], options: dict[str, Any]
    ) -> None:
        total = state["sum"]
        if options["weight_decay"]:
            g = g + options["weight_decay"] * p
        rate = options["lr"] / (1 + state["step"] * options["lr_decay"])
        state["step"] += 1
        total += g * g
        p -= rate * g / (xp.sqrt(total) + options["eps"])


@public(OPTIM)
class Adadelta(Optimizer):
    """Steps as long as the last ones were, in the mean, for each weight.

    s ← rho · s + (1 - rho) g²;  δ = √(d + eps) / √(s + eps) · g;  d ← rho · d + (1 - rho) δ²;
    p ← p - lr · δ. Weight decay is added to g.

    State: step, square_avg (s), acc_delta (d). Source: M. Zeiler, "ADADELTA: an adaptive learning
    rate method", 2012.

    >>> from tinygrad_cv import tensor
    >>> w = tensor([1.0], requires_grad=True)
    >>> w.grad = tensor([123.0])
    >>> Adadelta([w], eps=1e-4).step()
    >>> round(w.item(), 4)
    0.9684
    """

    bounds = dict.fromkeys(("lr", "eps", "weight_decay"), INF) | {"rho": 1 + 2**-52}  # 1 is taken
    numbers = ("step",)
    arrays = ("square_avg", "acc_delta")

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def begin(self, xp: Any, p: Any, options: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "square_avg": xp.zeros_like(p), "acc_delta": xp.zeros_like(p)}

    def update(
        self, xp: Any, p: Any, g: Any, state: dict[str, Any], options: dict[str, Any]
    ) -> None:
        rho, eps, squares, steps = (
            options["rho"],
            options["eps"],
            state["square_avg"],
            state["acc_delta"],
        )
        if options["weight_decay"]:
            g = g + options["weight_decay"] * p
        state["step"] += 1
        squares *= rho
        squares += (1 - rho) * (g * g)
        delta = xp.sqrt(steps + eps) / xp.sqrt(squares + eps) * g
        steps *= rho
        steps += (1 - rho) * (delta * delta)
        p -= options["lr"] * delta


@public(OPTIM)
class RMSprop(Optimizer):
    """The gradient over the root of its mean square, with momentum if asked.

    s ← alpha · s + (1 - alpha) g²;  d = g / (√s + eps), or `centered` g / (√(s - a²) + eps) with
    a ← alpha · a + (1 - alpha) g;  p ← p - lr · d, or with momentum v ← momentum · v + d and
    p ← p - lr · v. Weight decay is added to g.

    State: step, square_avg (s), momentum_buffer (v), grad_avg (a). Source: T. Tieleman and
    G. Hinton, "Lecture 6.5: RMSprop", 2012; centered: A. Graves, "Generating sequences with
    recurrent neural networks", 2013.

    >>> from tinygrad_cv import tensor
    >>> w = tensor([1.0], requires_grad=True)
    >>> w.grad = tensor([123.0])
    >>> RMSprop([w], lr=0.1, alpha=0.75).step()  # lr / √(1 - alpha)
    >>> w
    tensor([0.8], requires_grad=True)
    """

    bounds = dict.fromkeys(("lr", "alpha", "eps", "weight_decay", "momentum"), INF)
    numbers = ("step",)
    arrays = ("square_avg", "momentum_buffer", "grad_avg")

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def begin(self, xp: Any, p: Any, options: dict[str, Any]) -> dict[str, Any]:
        state = {"step": 0, "square_avg": xp.zeros_like(p)}
        if options["centered"]:
            state["grad_avg"] = xp.zeros_like(p)
        return state

    def update(
        self, xp: Any, p: Any, g: Any, state: dict[str, Any], options: dict[str, Any]
    ) -> None:
        alpha, squares = options["alpha"], state["square_avg"]
        if options["weight_decay"]:
            g = g + options["weight_decay"] * p
        state["step"] += 1
        squares *= alpha
        squares += (1 - alpha) * (g * g)
        spread = squares
        if options["centered"]:
            mean = state["grad_avg"]
            mean *= alpha
            mean += (1 - alpha) * g
            spread = xp.maximum(squares - mean * mean, 0)  # rounding may leave it below 0
        step = g / (xp.sqrt(spread) + options["eps"])
        if options["momentum"] > 0:
            if state.get("momentum_buffer") is None:  # a schedule may begin with none
                state["momentum_buffer"] = xp.zeros_like(p)
            velocity = state["momentum_buffer"]
            velocity *= options["momentum"]
            velocity += step
            step = velocity
        p -= options["lr"] * step
