"""Adafactor: the mean squares of a matrix of weights from those of its rows and columns."""

from typing import Any

from tinygrad_cv._public import OPTIM, public
from tinygrad_cv.backend import host
from tinygrad_cv.optim.optimizer import Optimizer, ParamsT, checked


@public(OPTIM)
class Adafactor(Optimizer):
    """Adaptive steps that remember n + m numbers of an (n, m) weight instead of n · m.

    With β = 1 - t^beta2_decay: R ← βR + (1 - β) mean of g² over columns, C ← βC + (1 - β) mean over
    rows, V = R C / mean(R); of vectors V ← βV + (1 - β) g². u = g / √V, shortened so that its root
    mean square is d at most; p ← (1 - lr · weight_decay) p - α u with
    α = max(eps₂, rms(p)) · min(lr, 1/√t). V and mean(R) are kept from 0 by eps₁² and eps₁, which
    is the spacing of the dtype at 1 unless given.

    Of a weight with more axes the last two are its rows and columns. In half precision it computes
    in float32. State: step, and row_var and col_var, or variance.

    Source: N. Shazeer and M. Stern, "Adafactor: adaptive learning rates with sublinear memory
    cost", 2018. Raises ValueError for options that make no sense.

    >>> from tinygrad_cv import ones
    >>> w = ones(2, 3, requires_grad=True)
    >>> (w * 5).sum().backward()
    >>> optimizer = Adafactor([w], lr=0.1)
    >>> optimizer.step()  # a tenth of the size of w
    >>> w[0]
    tensor([0.9, 0.9, 0.9], grad_fn=<getitem>)
    >>> optimizer.state[w]["row_var"].shape, optimizer.state[w]["col_var"].shape
    ((2, 1), (1, 3))
    """

    bounds = dict.fromkeys(("lr", "weight_decay"), float("inf"))
    numbers = ("step",)
    elementwise = False

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        first, second = options["eps"]
        checked("eps[0]", 0.0 if first is None else first)
        checked("eps[1]", second)
        if not options["beta2_decay"] <= 0:
            raise ValueError(f"beta2_decay is 0 or less; got {options['beta2_decay']!r}.")
        if not options["d"] >= 1:
            raise ValueError(
                f"d, the most an update may be long, is 1 or more; got {options['d']}."
            )

    def begin(self, xp: Any, p: Any, options: dict[str, Any]) -> dict[str, Any]:
        if p.ndim < 2:
            return {"step": 0, "variance": xp.zeros_like(p)}
        rows, columns = (*p.shape[:-1], 1), (*p.shape[:-2], 1, p.shape[-1])
        return {
            "step": 0,
            "row_var": xp.zeros(rows, dtype=p.dtype),
            "col_var": xp.zeros(columns, dtype=p.dtype),
        }

    def update(
        self, xp: Any, p: Any, g: Any, state: dict[str, Any], options: dict[str, Any]
    ) -> None:
        state["step"] += 1
        t, (eps1, eps2) = state["step"], options["eps"]
        eps1 = float(host.finfo(p.dtype).eps) if eps1 is None else eps1
        share = t ** options["beta2_decay"]
        alpha = xp.maximum(_rms(xp, p), eps2) * min(options["lr"], t**-0.5)
        if options["weight_decay"]:
            p *= 1 - options["lr"] * options["weight_decay"]
        if g.ndim > 1:
            rows, columns = state["row_var"], state["col_var"]
            for kept, axis in ((rows, -1), (columns, -2)):
                kept += share * (xp.mean(g * g, axis=axis, keepdims=True) - kept)
            mean = xp.maximum(xp.mean(rows, axis=-2, keepdims=True), eps1)
            variance = rows * columns / mean
        else:
            variance = state["variance"]
            variance += share * (g * g - variance)
        u = g / xp.sqrt(xp.maximum(variance, eps1 * eps1))
        p -= alpha / xp.maximum(_rms(xp, u) / options["d"], 1.0) * u


def _rms(xp: Any, x: Any) -> Any:
    """The root of the mean square, left on the device."""
    return xp.sqrt(xp.mean(x * x))
