"""Adaptive moments: Adam and AdamW, Adamax, NAdam and RAdam."""

import math
from typing import Any

from tinygrad_cv._public import OPTIM, public
from tinygrad_cv.optim.optimizer import Optimizer, ParamsT

INF = math.inf
BOUNDS = {"lr": INF, "eps": INF, "weight_decay": INF, "betas": 1.0}


@public(OPTIM)
class Adam(Optimizer):
    """Adaptive moments (D. Kingma and J. Ba, "Adam: a method for stochastic optimization", 2015).

    m ← β₁m + (1 - β₁)g;  v ← β₂v + (1 - β₂)g²;  p ← p - lr · m̂ / (√v̂ + eps), where m̂ and v̂
    are m / (1 - β₁ᵗ) and v / (1 - β₂ᵗ). Weight decay is added to g, as an L2 penalty; decoupled, it
    is p ← (1 - lr · weight_decay) p before the step (see `AdamW`). With `amsgrad` v̂ comes from the
    largest v so far (S. Reddi et al., "On the convergence of Adam and beyond", 2018).

    With `bias_correction=False` m̂ = m and v̂ = v, as in the first, incomplete form of CS231n's
    slides: the first steps are longer then, for √v is further from its mean than m is.

    Parameters in float16 are updated in float32, and so are the moments. `foreach`, `capturable`
    and `fused` are accepted and change nothing.

    State: step, exp_avg (m), exp_avg_sq (v), with amsgrad max_exp_avg_sq. Raises ValueError for
    options that make no sense.

    >>> from tinygrad_cv import tensor
    >>> w = tensor([1.0], requires_grad=True)
    >>> w.grad = tensor([123.0])
    >>> Adam([w], lr=0.1).step()  # the first step is lr, whatever the size of g
    >>> w
    tensor([0.9], requires_grad=True)
    """

    bounds = BOUNDS
    numbers = ("step",)
    arrays = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        bias_correction: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        if not bias_correction:
            defaults["bias_correction"] = False
        super().__init__(params, defaults)

    def begin(self, xp: Any, p: Any, options: dict[str, Any]) -> dict[str, Any]:
        moments = {"exp_avg": xp.zeros_like(p), "exp_avg_sq": xp.zeros_like(p)}
        largest = {"max_exp_avg_sq": xp.zeros_like(p)} if options["amsgrad"] else {}
        return {"step": 0} | moments | largest

    def update(
        self, xp: Any, p: Any, g: Any, state: dict[str, Any], options: dict[str, Any]
    ) -> None:
        state["step"] += 1
        decay, kept = options["weight_decay"], 1.0
        if options["decoupled_weight_decay"] and decay:
            decay, kept = 0, 1 - options["lr"] * decay
        if options["amsgrad"] and state.get("max_exp_avg_sq") is None:
            state["max_exp_avg_sq"] = xp.zeros_like(p)
        numbers = {
            "step": state["step"] if options.get("bias_correction", True) else INF,
            "lr": options["lr"],
            "betas": options["betas"],
            "eps": options["eps"],
            "weight_decay": decay,
            "kept": kept,
        }
        moments = state["exp_avg"], state["exp_avg_sq"]
        if isinstance(p, list):
            xp.adam_steps(p, g, *moments, **numbers)
            return
        largest = state["max_exp_avg_sq"] if options["amsgrad"] else None
        xp.adam_step(p, g, *moments, **numbers, largest=largest)

    def takes_lists(self, state: dict[str, Any], options: dict[str, Any]) -> bool:
        return bool(state) and not options["amsgrad"]


@public(OPTIM)
class AdamW(Adam):
    """Adam whose weight decay is no part of the gradient: p ← (1 - lr · weight_decay) p, then Adam.

    So the decay is the same for all weights, where Adam's would be weaker for those with large
    gradients. Everything else is as in `Adam`.

    Source: I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", 2019.

    >>> from tinygrad_cv import tensor
    >>> w = tensor([1.0], requires_grad=True)
    >>> w.grad = tensor([0.0])
    >>> AdamW([w], lr=0.1, weight_decay=0.5).step()
    >>> w
    tensor([0.95], requires_grad=True)
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )


@public(OPTIM)
class Adamax(Optimizer):
    """Adam with the largest gradient in place of the root mean square.

    m ← β₁m + (1 - β₁)g;  u ← max(β₂u, |g| + eps);  p ← p - lr / (1 - β₁ᵗ) · m / u. Weight decay is
    added to g.

    State: step, exp_avg (m), exp_inf (u). Source: D. Kingma and J. Ba, 2015, section 7.1.

    >>> from tinygrad_cv import tensor
    >>> w = tensor([1.0], requires_grad=True)
    >>> w.grad = tensor([123.0])
    >>> Adamax([w], lr=0.1).step()
    >>> w
    tensor([0.9], requires_grad=True)
    """

    bounds = BOUNDS
    numbers = ("step",)
    arrays = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def begin(self, xp: Any, p: Any, options: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "exp_avg": xp.zeros_like(p), "exp_inf": xp.zeros_like(p)}

    def update(
        self, xp: Any, p: Any, g: Any, state: dict[str, Any], options: dict[str, Any]
    ) -> None:
        (beta1, beta2), m, u = options["betas"], state["exp_avg"], state["exp_inf"]
        if options["weight_decay"]:
            g = g + options["weight_decay"] * p
        state["step"] += 1
        m *= beta1
        m += (1 - beta1) * g
        u[...] = xp.maximum(beta2 * u, xp.abs(g) + options["eps"])
        p -= options["lr"] / (1 - beta1 ** state["step"]) * m / u


@public(OPTIM)
class NAdam(Optimizer):
    """Adam with Nesterov's momentum: the step looks ahead along m.

    μₜ = β₁ (1 - ½ · 0.96^(t · momentum_decay)), and Πₜ is the product of μ₁ to μₜ;
    m ← β₁m + (1 - β₁)g;  v ← β₂v + (1 - β₂)g²;
    p ← p - lr · (μₜ₊₁ m / (1 - Πₜ₊₁) + (1 - μₜ) g / (1 - Πₜ)) / (√(v / (1 - β₂ᵗ)) + eps).
    Weight decay is added to g, or decoupled as in `AdamW`.

    State: step, mu_product (Π), exp_avg (m), exp_avg_sq (v). Source: T. Dozat, "Incorporating
    Nesterov momentum into Adam", 2016.

    >>> from tinygrad_cv import tensor
    >>> w = tensor([1.0], requires_grad=True)
    >>> w.grad = tensor([2.0])
    >>> NAdam([w], lr=0.1).step()
    >>> round(w.item(), 3)
    0.894
    """

    bounds = BOUNDS | {"momentum_decay": INF}
    numbers = ("step", "mu_product")
    arrays = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def begin(self, xp: Any, p: Any, options: dict[str, Any]) -> dict[str, Any]:
        moments = {"exp_avg": xp.zeros_like(p), "exp_avg_sq": xp.zeros_like(p)}
        return {"step": 0, "mu_product": 1.0} | moments

    def update(
        self, xp: Any, p: Any, g: Any, state: dict[str, Any], options: dict[str, Any]
    ) -> None:
        (beta1, beta2), lr, decay = options["betas"], options["lr"], options["weight_decay"]
        m, v = state["exp_avg"], state["exp_avg_sq"]
        if decay and options["decoupled_weight_decay"]:
            p *= 1 - lr * decay
        elif decay:
            g = g + decay * p
        state["step"] += 1
        t = state["step"]
        mu, next_mu = (
            beta1 * (1 - 0.5 * 0.96 ** (s * options["momentum_decay"])) for s in (t, t + 1)
        )
        state["mu_product"] *= mu
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * (g * g)
        ahead = next_mu / (1 - state["mu_product"] * next_mu) * m
        ahead += (1 - mu) / (1 - state["mu_product"]) * g
        p -= lr * ahead / (xp.sqrt(v / (1 - beta2**t)) + options["eps"])


@public(OPTIM)
class RAdam(Optimizer):
    """Adam that adapts only when the mean of the squares can be trusted.

    m ← β₁m + (1 - β₁)g;  v ← β₂v + (1 - β₂)g²;  m̂ = m / (1 - β₁ᵗ);
    ρ∞ = 2 / (1 - β₂) - 1;  ρ = ρ∞ - 2t β₂ᵗ / (1 - β₂ᵗ).
    Where ρ > 5: p ← p - lr · r · m̂ √(1 - β₂ᵗ) / (√v + eps), with
    r = √((ρ - 4)(ρ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρ)); else p ← p - lr · m̂.
    Weight decay is added to g, or decoupled as in `AdamW`.

    State: step, exp_avg (m), exp_avg_sq (v). Source: L. Liu et al., "On the variance of the
    adaptive learning rate and beyond", 2020.

    >>> from tinygrad_cv import tensor
    >>> w = tensor([1.0], requires_grad=True)
    >>> w.grad = tensor([2.0])
    >>> RAdam([w], lr=0.1).step()  # not adapted at first: lr · g
    >>> w
    tensor([0.8], requires_grad=True)
    """

    bounds = BOUNDS
    numbers = ("step",)
    arrays = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def begin(self, xp: Any, p: Any, options: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "exp_avg": xp.zeros_like(p), "exp_avg_sq": xp.zeros_like(p)}

    def update(
        self, xp: Any, p: Any, g: Any, state: dict[str, Any], options: dict[str, Any]
    ) -> None:
        (beta1, beta2), lr, decay = options["betas"], options["lr"], options["weight_decay"]
        m, v = state["exp_avg"], state["exp_avg_sq"]
        if decay and options["decoupled_weight_decay"]:
            p *= 1 - lr * decay
        elif decay:
            g = g + decay * p
        state["step"] += 1
        t = state["step"]
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * (g * g)
        most = 2 / (1 - beta2) - 1
        rho = most - 2 * t * beta2**t / (1 - beta2**t)
        step_size = lr / (1 - beta1**t)
        if rho > 5:
            trust = (rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)
            step_size *= math.sqrt(trust * (1 - beta2**t))
            p -= step_size * m / (xp.sqrt(v) + options["eps"])
        else:
            p -= step_size * m
