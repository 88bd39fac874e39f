"""Rprop: steps by the sign of the gradient."""

import math
from typing import Any

from tinygrad_cv._public import OPTIM, public
from tinygrad_cv.optim.optimizer import Optimizer, ParamsT, checked


@public(OPTIM)
class Rprop(Optimizer):
    """A step size for each weight: longer while the sign of its slope stays, shorter when it turns.

    s ← min(s · etas[1], step_sizes[1]) where g has the sign it had, max(s · etas[0], step_sizes[0])
    where it turned, and there g ← 0;  p ← p - s · sign(g). s begins with lr. It is meant for
    gradients of all the data, which have no noise.

    State: step, prev (the last g), step_size (s). Source: M. Riedmiller and H. Braun, "A direct
    adaptive method for faster backpropagation learning: the RPROP algorithm", 1993.

    Raises ValueError unless 0 < etas[0] < 1 < etas[1].

    >>> from tinygrad_cv import tensor
    >>> w = tensor([1.0], requires_grad=True)
    >>> optimizer = Rprop([w], lr=0.1)
    >>> for slope in (5.0, 0.01):
    ...     w.grad = tensor([slope])
    ...     optimizer.step()
    >>> w  # 1 - 0.1 - 0.12
    tensor([0.78], requires_grad=True)
    """

    bounds = dict.fromkeys(("lr",), math.inf)
    numbers = ("step",)
    arrays = ("prev", "step_size")

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        shorter, longer = options["etas"]
        if not 0 < shorter < 1 < longer:
            raise ValueError(
                f"etas lie below and above 1: 0 < etas[0] < 1 < etas[1]; got {options['etas']!r}."
            )
        for i, size in enumerate(options["step_sizes"]):
            checked(f"step_sizes[{i}]", size)

    def begin(self, xp: Any, p: Any, options: dict[str, Any]) -> dict[str, Any]:
        return {"step": 0, "prev": xp.zeros_like(p), "step_size": xp.full_like(p, options["lr"])}

    def update(
        self, xp: Any, p: Any, g: Any, state: dict[str, Any], options: dict[str, Any]
    ) -> None:
        (shorter, longer), size, before = options["etas"], state["step_size"], state["prev"]
        state["step"] += 1
        # The signs and not g · before, which may vanish in the digits of float32.
        kept = xp.sign(g) * xp.sign(before)
        size *= xp.where(kept > 0, longer, xp.where(kept < 0, shorter, 1.0)).astype(size.dtype)
        size[...] = xp.clip(size, *options["step_sizes"])
        before[...] = xp.where(kept < 0, 0, g)
        p -= size * xp.sign(before)
