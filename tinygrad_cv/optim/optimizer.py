"""SGD and Adam. Each step is one kernel of the parameter's backend."""

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

from tinygrad_cv._public import OPTIM, public
from tinygrad_cv._tensor import Tensor, wrap


@public(OPTIM)
class Optimizer:
    """Base of the optimizers: parameters, and an `update` for one of them.

    >>> from tinygrad_cv import optim, tensor
    >>> w = tensor(3.0, requires_grad=True)
    >>> optimizer = optim.SGD([w], lr=0.1)
    >>> (w * w).backward()
    >>> optimizer.step()
    >>> round(w.item(), 4)
    2.4
    """

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise TypeError(
                "an optimizer takes a list of tensors, such as model.parameters() or [w]; got a "
                f"{type(params).__name__}."
            )
        self.params = list(params)
        if not self.params:
            raise ValueError("the optimizer got no parameters; pass model.parameters().")
        for parameter in self.params:
            if not (isinstance(parameter, Tensor) and parameter.is_leaf):
                raise TypeError(f"an optimizer changes leaf tensors; got {parameter!r}.")
        seen: set[int] = set()
        for parameter in self.params:
            if id(parameter) in seen:
                raise ValueError(
                    f"a parameter of shape {parameter.shape} is in the list twice; it would be "
                    "updated twice a step. Pass each once."
                )
            seen.add(id(parameter))
        self.lr = lr
        self.state: list[dict[str, Any]] = [{} for _ in self.params]

    @property
    def lr(self) -> float:
        """The learning rate; it may be set at any time."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = checked("the learning rate", value)

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: what is remembered as tensors, which know their device."""
        state = [
            {
                name: wrap(value, p._backend) if hasattr(value, "dtype") else value
                for name, value in remembered.items()
            }
            for p, remembered in zip(self.params, self.state, strict=True)
        ]
        return vars(self) | {"state": state}

    def __setstate__(self, values: dict[str, Any]) -> None:
        vars(self).update(values)
        self.state = [
            {
                name: value._array if isinstance(value, Tensor) else value
                for name, value in remembered.items()
            }
            for remembered in self.state
        ]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.params:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for parameter, state in zip(self.params, self.state, strict=True):
            if parameter.grad is not None:
                self._check_device(parameter, state)
                with parameter._backend.active:
                    self.update(parameter, parameter.grad._array, state)
                parameter._changed()

    def _check_device(self, parameter: Tensor, state: dict[str, Any]) -> None:
        """Raise unless a parameter, its gradient and what is remembered of it lie together."""
        gradient = parameter.grad.device if parameter.grad is not None else parameter.device
        remembered = state.setdefault("device", parameter.device)
        if not gradient == remembered == parameter.device:
            raise ValueError(
                f"a parameter of shape {parameter.shape} is on {parameter.device}, its gradient on "
                f"{gradient}, and the optimizer began on {remembered}. Move the model before the "
                "first step, or make a new optimizer."
            )

    def update(self, parameter: Tensor, gradient: Any, state: dict[str, Any]) -> None:
        """Change one parameter in place."""
        raise NotImplementedError


def checked(name: str, value: float, below: float = math.inf) -> float:
    """A number from 0 on and below a bound: NaN, too, is none."""
    if not (isinstance(value, Real) and 0 <= value < below):
        bound = "finite and 0 or more" if below == math.inf else f"0 or more and below {below}"
        raise ValueError(f"{name} is a number, {bound}; got {value!r}.")
    return value


def _remembered(parameter: Tensor) -> Any:
    """Zeros to begin with, in float32 at least: squares and averages are not for half precision."""
    dtype = "float32" if parameter.dtype == "float16" else parameter.dtype
    return parameter._backend.zeros(parameter.shape, dtype=dtype)


@public(OPTIM)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked.

    g ← g + weight_decay · p;  v ← momentum · v + (1 - dampening) · g;
    p ← p - lr · v, or with Nesterov p ← p - lr · (g + momentum · v)  (Sutskever et al., 2013).
    The first v is g itself. Parameters in float16 are updated in float32, and so is what is kept.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                "Nesterov's method looks ahead along the momentum: it needs momentum > 0 and "
                f"dampening = 0; got {momentum} and {dampening}."
            )
        self.momentum = checked("momentum", momentum)
        self.dampening = checked("dampening", dampening)
        self.weight_decay, self.nesterov = checked("weight_decay", weight_decay), nesterov

    def update(self, parameter: Tensor, gradient: Any, state: dict[str, Any]) -> None:
        backend = parameter._backend
        first = self.momentum != 0 and "velocity" not in state
        if first:
            state["velocity"] = _remembered(parameter)
        backend.sgd_step(
            parameter._array,
            gradient,
            state.get("velocity"),
            lr=self.lr,
            momentum=self.momentum,
            dampening=0.0 if first else self.dampening,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )


@public(OPTIM)
class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba, 2015).

    m ← β₁m + (1 - β₁)g;  v ← β₂v + (1 - β₂)g²;  p ← p - lr · m̂ / (√v̂ + eps), where m̂ and v̂
    are m / (1 - β₁ᵗ) and v / (1 - β₂ᵗ). Weight decay is added to g, as an L2 penalty. Parameters in
    float16 are updated in float32, and so are the moments.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        pair = tuple(betas) if isinstance(betas, Iterable) else ()
        if len(pair) != 2:
            raise ValueError(f"betas are two numbers, such as (0.9, 0.999); got {betas!r}.")
        first, second = pair
        self.betas = (checked("betas[0]", first, 1), checked("betas[1]", second, 1))
        self.eps, self.weight_decay = checked("eps", eps), checked("weight_decay", weight_decay)

    def update(self, parameter: Tensor, gradient: Any, state: dict[str, Any]) -> None:
        backend = parameter._backend
        if "step" not in state:
            state["step"] = 0
            state["m"], state["v"] = _remembered(parameter), _remembered(parameter)
        state["step"] += 1
        backend.adam_step(
            parameter._array,
            gradient,
            state["m"],
            state["v"],
            step=state["step"],
            lr=self.lr,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )
