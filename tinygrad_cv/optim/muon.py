"""Muon: steps along orthogonal matrices."""

import math
from typing import Any

from tinygrad_cv._public import OPTIM, public
from tinygrad_cv.optim.optimizer import Optimizer, ParamsT

RATIOS = {
    "original": lambda n, m: math.sqrt(max(1, n / m)),
    "match_rms_adamw": lambda n, m: 0.2 * math.sqrt(max(n, m)),
    "spectral_unclamped": lambda n, m: math.sqrt(n / m),
}
"""The factor on the step of an (n, m) weight, by `adjust_lr_fn`."""


@public(OPTIM)
class Muon(Optimizer):
    """Momentum whose step is the nearest matrix with orthogonal rows or columns.

    v ← momentum · v + (1 - momentum) g;  u = (1 - momentum) g + momentum · v with Nesterov, else v.
    u = U S Vᵀ becomes about U Vᵀ: X = u / ‖u‖, then `ns_steps` times X ← a X + (b XXᵀ + c (XXᵀ)²) X
    with (a, b, c) = `ns_coefficients`, which moves all singular values close to 1.
    p ← (1 - lr · weight_decay) p - lr · r · X, where r is √max(1, n/m) for an (n, m) weight, or
    0.2 √max(n, m) with adjust_lr_fn="match_rms_adamw", as long as a step of AdamW, or √(n/m) with
    "spectral_unclamped".

    For the matrices of hidden layers; the others (biases, norms, embeddings) go to AdamW. The
    iteration is computed in float32 at least, where PyTorch's is in bfloat16, of three digits.

    State: momentum_buffer. Source: K. Jordan et al., "Muon: an optimizer for hidden layers in
    neural networks", 2024; J. Liu et al., "Muon is scalable for LLM training", 2025.

    Raises ValueError for parameters that are no matrices, and for options that make no sense.

    >>> from tinygrad_cv import tensor
    >>> w = tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    >>> w.grad = tensor([[100.0, 0.0], [0.0, 1.0]])
    >>> Muon([w], lr=0.1, weight_decay=0.0).step()
    >>> ((w[0, 0] - 0.9).abs() < 0.04).item()  # about 0.1, whatever the size of g
    True
    """

    bounds = dict.fromkeys(("lr", "weight_decay", "momentum"), math.inf)
    arrays = ("momentum_buffer",)
    elementwise = False

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        if options["adjust_lr_fn"] not in (None, *RATIOS):
            raise ValueError(
                f"adjust_lr_fn is None or one of {', '.join(map(repr, RATIOS))}; got "
                f"{options['adjust_lr_fn']!r}."
            )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.ndim != 2:
                self.param_groups.pop()
                raise ValueError(
                    f"Muon is for matrices; got a parameter of shape {tuple(parameter.shape)}. "
                    "Give what is none, such as biases, to AdamW."
                )

    def begin(self, xp: Any, p: Any, options: dict[str, Any]) -> dict[str, Any]:
        return {"momentum_buffer": xp.zeros_like(p)}

    def update(
        self, xp: Any, p: Any, g: Any, state: dict[str, Any], options: dict[str, Any]
    ) -> None:
        momentum, lr, velocity = options["momentum"], options["lr"], state["momentum_buffer"]
        velocity *= momentum
        velocity += (1 - momentum) * g
        u = (1 - momentum) * g + momentum * velocity if options["nesterov"] else velocity
        step = _orthogonal(xp, u, options)
        ratio = RATIOS[options["adjust_lr_fn"] or "original"](*p.shape)
        p *= 1 - lr * options["weight_decay"]
        p -= lr * ratio * step


def _orthogonal(xp: Any, u: Any, options: dict[str, Any]) -> Any:
    """About U Vᵀ of u = U S Vᵀ, by the iteration of G. Schulz."""
    a, b, c = options["ns_coefficients"]
    tall = u.shape[0] > u.shape[1]
    x = u.T if tall else u
    x = x / xp.maximum(xp.sqrt(xp.sum(x * x)), options["eps"])
    for _ in range(options["ns_steps"]):
        squared = xp.matmul(x, x.T)
        x = a * x + xp.matmul(b * squared + c * xp.matmul(squared, squared), x)
    return x.T if tall else x
