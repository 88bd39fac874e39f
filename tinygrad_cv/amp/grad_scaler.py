"""`GradScaler`: losses scaled up, so that gradients in half precision do not vanish."""

from functools import partial
from typing import Any

from tinygrad_cv._public import AMP, TOP, public
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv._trees import mapped
from tinygrad_cv.backend import host
from tinygrad_cv.backend.recording import on_host, recording


@public(AMP, TOP)
class GradScaler:
    """Scales the loss by a factor, and the gradients back; a step with an ∞ or NaN is left out.

    The factor goes down by `backoff_factor` after such a step, and up by `growth_factor` after
    `growth_interval` good ones in a row (Micikevicius et al., Mixed precision training, 2018). It
    works on every device, and to look for infinities waits for a GPU. `device` has no effect. With
    `enabled=False` it does nothing.

    >>> import tinygrad_cv as tg
    >>> w = tg.tensor(3.0, requires_grad=True)
    >>> scaler = GradScaler(init_scale=1024.0)
    >>> scaler.scale(w * w).backward()
    >>> w.grad
    tensor(6144.)
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and not growth_factor > 1:
            raise ValueError(f"GradScaler: growth_factor is above 1; got {growth_factor}.")
        if enabled and not 0 < backoff_factor < 1:
            raise ValueError(
                f"GradScaler: backoff_factor lies between 0 and 1; got {backoff_factor}."
            )
        self._enabled = enabled
        self._scale = float(init_scale)
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval, self._growth_tracker = growth_interval, 0
        self._found: dict[int, bool] = {}
        """For each optimizer whose gradients were scaled back: whether one was not finite."""
        self._stepped: set[int] = set()

    def scale(self, outputs: Any) -> Any:
        """A tensor, or each in lists and tuples, times the factor."""
        if not self._enabled:
            return outputs

        def scaled(y: Any) -> Tensor:
            if not isinstance(y, Tensor):
                raise TypeError(
                    f"scale takes tensors, in lists and tuples; got {type(y).__name__}."
                )
            if (recorder := recording.get()) is None:
                return y * self._scale
            number = recorder.note_call("call", (self._number,), {})  # that of each replay
            factor = wrap(y._backend.array(number, None), y._backend)
            return (y.to(dtype="float32") * factor).to(dtype=y.dtype)

        return mapped(scaled, outputs)

    def _number(self) -> Any:
        return host.float32(self._scale)

    def unscale_(self, optimizer: Any) -> None:
        """Scale the gradients of an optimizer's parameters back, in place, as before clipping."""
        if not self._enabled:
            return
        if (recorder := recording.get()) is not None:
            again = partial(self.unscale_, optimizer)
            return recorder.host_call(again, optimizer._parameters())  # type: ignore[no-any-return]
        key = id(optimizer)
        if key in self._stepped:
            raise RuntimeError("unscale_() is called before step(), not after it.")
        if key in self._found:
            raise RuntimeError(
                "unscale_() was called for this optimizer already since the last update()."
            )
        finite = []
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    gradient = parameter.grad.detach()
                    gradient *= 1 / self._scale
                    finite.append(gradient.isfinite().all())
        if not finite:
            raise AssertionError(
                "GradScaler: no parameter of the optimizer has a gradient; call "
                "scaler.scale(loss).backward() first."
            )
        self._found[key] = not all(map(bool, finite))

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step()`, unless a gradient is not finite; they are scaled back first.

        Returns what the step returns, or None where it was left out.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if (recorder := recording.get()) is not None:
            again = partial(self.step, optimizer, *args, **kwargs)
            return recorder.host_call(again, optimizer._parameters())
        if "closure" in kwargs or args:
            raise RuntimeError("GradScaler: a step with a closure cannot be scaled.")
        key = id(optimizer)
        if key in self._stepped:
            raise RuntimeError("step() was called already since the last update().")
        if key not in self._found:
            self.unscale_(optimizer)
        self._stepped.add(key)
        return None if self._found[key] else optimizer.step(**kwargs)

    @on_host
    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Change the factor by what was found since the last update, or set it."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._found:
            raise AssertionError("GradScaler: update() comes after a step().")
        elif any(self._found.values()):
            self._scale *= self._backoff_factor
            self._growth_tracker = 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                grown = self._scale * self._growth_factor
                self._scale = grown if grown < 2.0**128 else self._scale  # where float32 ends
                self._growth_tracker = 0
        self._found, self._stepped = {}, set()

    def get_scale(self) -> float:
        """The factor; 1 if not enabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """What the factor grows by."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the factor grows by."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the factor shrinks by."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the factor shrinks by."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many good steps the factor grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many good steps the factor grows."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """What a run needs to go on; empty if not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "GradScaler: the state is empty, as that of a scaler that was not enabled is."
            )
        self._scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
