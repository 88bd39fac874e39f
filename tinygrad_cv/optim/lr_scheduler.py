"""Schedules: they change the learning rates of an optimizer from one epoch, or step, to the next.

A schedule sets `group["lr"]` of each of `optimizer.param_groups` when it is made, and at each
`step()`; η₀ below is the rate that a group had when the first schedule was made, and t counts the
steps. Most of them multiply the rate that is there, so several may work on one optimizer.

    for epoch in range(30):
        train(...)          # optimizer.step() for each batch
        schedule.step()

Two more of the lectures are among them: e^(-kt) is ExponentialLR(gamma=exp(-k)), ×0.97 an epoch is
ExponentialLR(gamma=0.97), and √(1 - t/T) is PolynomialLR(total_iters=T, power=0.5).
"""

import math
import types
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from weakref import WeakSet

from tinygrad_cv._public import SCHEDULERS, fill, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend.recording import on_host
from tinygrad_cv.optim.optimizer import Optimizer


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def _set(group: dict[str, Any], name: str, value: Any) -> None:
    """Give a group a new number; a tensor stays the same tensor."""
    if isinstance(group[name], Tensor):
        group[name].data.fill_(float(value))
    else:
        group[name] = float(value) if isinstance(value, Tensor) else value


def _each(optimizer: Optimizer, name: str, value: Any) -> list[Any]:
    """One value for each group, from one for all or from a list of them."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(f"{name}: expected {groups} values, one for each group; got {len(value)}.")
    return list(value)


_made: "WeakSet[LRScheduler]" = WeakSet()
"""The schedules that are there."""


def schedules_of(optimizer: Optimizer) -> list["LRScheduler"]:
    """The schedules that were made for an optimizer, but for those that are parts of others."""
    own = [schedule for schedule in _made if schedule.optimizer is optimizer]
    parts = {id(part) for schedule in own for part in getattr(schedule, "_schedulers", ())}
    return [schedule for schedule in own if id(schedule) not in parts]


@public(SCHEDULERS, also="_LRScheduler")
class LRScheduler:
    """Base of the schedules. One of your own says in `get_lr` what the rates are at `last_epoch`.

    `base_lrs` are the rates η₀ of the groups, `last_epoch` is t, and `get_last_lr()` gives the
    rates that were set last. With `last_epoch` above -1 it goes on at the step after that one, for
    which the optimizer has the rates already; its groups have an "initial_lr" then, as those from a
    `load_state_dict` have.

    Raises TypeError for what is no optimizer. Warns if `step` is called before any
    `optimizer.step()`: the first rate would be skipped.

    >>> from tinygrad_cv import optim, tensor
    >>> class Halved(optim.lr_scheduler.LRScheduler):
    ...     def get_lr(self):
    ...         return [rate / 2**self.last_epoch for rate in self.base_lrs]
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=0.4)
    >>> schedule = Halved(optimizer)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     schedule.step()
    >>> schedule.get_last_lr(), optimizer.param_groups[0]["lr"]
    ([0.1], 0.1)
    """

    _get_lr_called_within_step = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not hasattr(cls.step, "on_host"):
            setattr(cls, "step", on_host(cls.step))  # noqa: B010  for checkers

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1, verbose: Any = None) -> None:
        self._attach(optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", _copy(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"a schedule that goes on at last_epoch={last_epoch} needs the 'initial_lr' of "
                    f"each group, and group {i} has none; load the optimizer's state_dict first."
                )
        self.base_lrs = [_copy(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._begin()

    def _attach(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"a schedule is of an optimizer; got a {type(optimizer).__name__}.")
        self.optimizer = optimizer
        self._steps_before = optimizer._steps
        _made.add(self)

    def _begin(self) -> None:
        """The first step, which sets the rates that training begins with."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def _get_state(self, without: Iterable[str] = ()) -> dict[str, Any]:
        hidden = {"optimizer", "_steps_before", *without}
        return {name: value for name, value in vars(self).items() if name not in hidden}

    def state_dict(self) -> dict[str, Any]:
        """All that the schedule knows but the optimizer: numbers and lists of them."""
        return self._get_state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where another schedule of this kind was. Load the optimizer's state too: it holds
        the rates."""
        vars(self).update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """The rates of the groups that were set last."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The rates of the groups for `last_epoch`, from those they have now."""
        raise NotImplementedError(f"{type(self).__name__} has no get_lr.")

    @on_host
    def step(self, epoch: int | None = None) -> None:
        """Set the rates for the next epoch; or for this one, where the schedule has a formula."""
        if self._step_count == 1 and self.optimizer._steps == self._steps_before:
            warnings.warn(
                "lr_scheduler.step() was called before optimizer.step(), so the first learning "
                "rate is skipped; call it after the steps of an epoch.",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        self._get_lr_called_within_step = True  # which schedules of programs ask for in get_lr
        try:
            if epoch is None:
                self.last_epoch += 1
                rates = self.get_lr()
            else:
                self.last_epoch = epoch
                rates = getattr(self, "_get_closed_form_lr", self.get_lr)()
        finally:
            self._get_lr_called_within_step = False
        self._apply(rates)

    def _apply(self, rates: Sequence[Any]) -> None:
        self._check_groups(len(rates))
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            _set(group, "lr", rate)
        self._last_lr = [_copy(group["lr"]) for group in self.optimizer.param_groups]

    def _check_groups(self, known: int) -> None:
        """Raise unless there are as many groups as the schedule knows of."""
        if known != len(self.optimizer.param_groups):
            raise ValueError(
                f"{type(self).__name__} was made for {known} groups of parameters, and the "
                f"optimizer has {len(self.optimizer.param_groups)} by now; make the schedule after "
                "add_param_group."
            )

    def _rates(self) -> list[Any]:
        """The rates as they are."""
        return [_copy(group["lr"]) for group in self.optimizer.param_groups]

    def _scaled(self, factor: float) -> list[Any]:
        return [rate * factor for rate in self._rates()]


# ----- by a function of the epoch ----------------------------------------------------------------


class _Functions(LRScheduler):
    """A function of t for each group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
        verbose: Any = None,
    ) -> None:
        self._attach(optimizer)
        self.lr_lambdas = _each(optimizer, "lr_lambda", lr_lambda)
        for function in self.lr_lambdas:
            if not callable(function):
                raise TypeError(
                    f"a schedule's lambda is a function of the epoch; got a "
                    f"{type(function).__name__}."
                )
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """What the schedule knows. Of functions that are objects it keeps their `__dict__`, of
        others nothing: the same are to be given to the schedule that goes on."""
        lambdas = [
            None if isinstance(f, types.FunctionType) else dict(getattr(f, "__dict__", {}))
            for f in self.lr_lambdas
        ]
        return self._get_state(["lr_lambdas"]) | {"lr_lambdas": lambdas}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where another schedule of this kind was."""
        own = {name: value for name, value in state_dict.items() if name != "lr_lambdas"}
        vars(self).update(own)
        for function, remembered in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if remembered is not None:
                vars(function).update(remembered)


@public(SCHEDULERS)
class LambdaLR(_Functions):
    """η = η₀ · lr_lambda(t); a function for all groups, or a list of one for each.

    Raises TypeError for what is no function, ValueError for a list of another length.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=0.4)
    >>> schedule = LambdaLR(optimizer, lambda t: 1 / (1 + t))
    >>> optimizer.step()
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.2]
    """

    def get_lr(self) -> list[Any]:
        return [
            base * function(self.last_epoch)
            for base, function in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]


@public(SCHEDULERS)
class MultiplicativeLR(_Functions):
    """η ← η · lr_lambda(t) at each step, from t = 1 on.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=0.4)
    >>> schedule = MultiplicativeLR(optimizer, lambda t: 0.5)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [0.1]
    """

    def get_lr(self) -> list[Any]:
        rates = self._rates()
        if self._is_initial:
            return rates
        return [
            rate * function(self.last_epoch)
            for rate, function in zip(rates, self.lr_lambdas, strict=True)
        ]


# ----- by steps ----------------------------------------------------------------------------------


@public(SCHEDULERS)
class StepLR(LRScheduler):
    """η ← gamma · η every `step_size` epochs: η₀ · gamma^⌊t / step_size⌋.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule, rates = StepLR(optimizer, step_size=2, gamma=0.5), []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        step_size: int,
        gamma: float = 0.1,
        last_epoch: int = -1,
        verbose: Any = None,
    ) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        if self._is_initial or self.last_epoch == 0 or self.last_epoch % self.step_size:
            return self._rates()
        return self._scaled(self.gamma)

    def _get_closed_form_lr(self) -> list[Any]:
        return [base * self.gamma ** (self.last_epoch // self.step_size) for base in self.base_lrs]


@public(SCHEDULERS)
class MultiStepLR(LRScheduler):
    """η ← gamma · η at each of the `milestones`, which are epochs.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule, rates = MultiStepLR(optimizer, [1, 3], gamma=0.5), []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [1.0, 0.5, 0.5, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
        verbose: Any = None,
    ) -> None:
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where another schedule of this kind was."""
        super().load_state_dict(state_dict)
        # A file of JSON has text for the numbers of the epochs.
        self.milestones = Counter({int(k): n for k, n in self.milestones.items()})

    def get_lr(self) -> list[Any]:
        if self._is_initial and self.last_epoch > 0:
            return self._rates()
        return self._scaled(self.gamma ** self.milestones[self.last_epoch])

    def _get_closed_form_lr(self) -> list[Any]:
        past = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return [base * self.gamma**past for base in self.base_lrs]


@public(SCHEDULERS)
class ConstantLR(LRScheduler):
    """η = factor · η₀ until epoch `total_iters`, then η₀.

    Raises ValueError for a factor that is not between 0 and 1.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule, rates = ConstantLR(optimizer, 0.5, total_iters=2), []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.5, 0.5, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
        verbose: Any = None,
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"the factor of ConstantLR lies between 0 and 1; got {factor!r}.")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        if self.last_epoch == 0:
            return self._scaled(self.factor)
        if self._is_initial:
            return self._rates()
        return (
            self._scaled(1 / self.factor) if self.last_epoch == self.total_iters else self._rates()
        )

    def _get_closed_form_lr(self) -> list[Any]:
        factor = 1 if self.last_epoch >= self.total_iters else self.factor
        return [base * factor for base in self.base_lrs]


# ----- by curves ---------------------------------------------------------------------------------


@public(SCHEDULERS)
class LinearLR(LRScheduler):
    """η moves along a line from start_factor · η₀ to end_factor · η₀ in `total_iters` epochs.

    Raises ValueError for factors that are not between 0 and 1; the first is not 0.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule, rates = LinearLR(optimizer, 0.5, total_iters=2), []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
        verbose: Any = None,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"start_factor lies above 0 and up to 1; got {start_factor!r}.")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"end_factor lies between 0 and 1; got {end_factor!r}.")
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        share = min(self.total_iters, epoch) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * share

    def get_lr(self) -> list[Any]:
        if self.last_epoch == 0:
            return self._scaled(self.start_factor)
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._rates()
        return self._scaled(self._factor(self.last_epoch) / self._factor(self.last_epoch - 1))

    def _get_closed_form_lr(self) -> list[Any]:
        return [base * self._factor(self.last_epoch) for base in self.base_lrs]


@public(SCHEDULERS)
class ExponentialLR(LRScheduler):
    """η ← gamma · η at each epoch: η₀ · gammaᵗ.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule = ExponentialLR(optimizer, gamma=0.97)
    >>> for _ in range(10):
    ...     optimizer.step()
    ...     schedule.step()
    >>> round(schedule.get_last_lr()[0], 4)
    0.7374
    """

    def __init__(
        self, optimizer: Optimizer, gamma: float, last_epoch: int = -1, verbose: Any = None
    ) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        return self._rates() if self._is_initial else self._scaled(self.gamma)

    def _get_closed_form_lr(self) -> list[Any]:
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


@public(SCHEDULERS)
class PolynomialLR(LRScheduler):
    """η = η₀ (1 - t / total_iters)^power, and 0 from `total_iters` on. √(1 - t/T) has power 0.5.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule = PolynomialLR(optimizer, total_iters=2, power=0.5)
    >>> optimizer.step()
    >>> schedule.step()
    >>> round(schedule.get_last_lr()[0], 4)
    0.7071
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
        verbose: Any = None,
    ) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        t, total = self.last_epoch, self.total_iters
        if self._is_initial or t > total:
            return self._rates()
        return self._scaled(((total - t) / (total - t + 1)) ** self.power)

    def _get_closed_form_lr(self) -> list[Any]:
        left = 1 - min(self.last_epoch, self.total_iters) / self.total_iters
        return [base * left**self.power for base in self.base_lrs]


@public(SCHEDULERS)
class InverseTimeLR(LRScheduler):
    """η = η₀ / (1 + k t), the 1/t decay of CS231n's notes.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule = InverseTimeLR(optimizer, k=0.25)
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     schedule.step()
    >>> round(schedule.get_last_lr()[0], 4)
    0.5
    """

    def __init__(self, optimizer: Optimizer, k: float, last_epoch: int = -1) -> None:
        if not 0 <= k < math.inf:
            raise ValueError(f"k of InverseTimeLR is finite and 0 or more; got {k!r}.")
        self.k = k
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        if self._is_initial:
            return self._rates()
        after = 1 + self.k * self.last_epoch
        return self._scaled((after - self.k) / after)

    def _get_closed_form_lr(self) -> list[Any]:
        return [base / (1 + self.k * self.last_epoch) for base in self.base_lrs]


@public(SCHEDULERS)
class CosineAnnealingLR(LRScheduler):
    """η = eta_min + (η₀ - eta_min) (1 + cos(π t / T_max)) / 2; after T_max it rises again.

    Source: I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
    2017.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule = CosineAnnealingLR(optimizer, T_max=2)
    >>> optimizer.step()
    >>> schedule.step()
    >>> round(schedule.get_last_lr()[0], 4)
    0.5
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
        verbose: Any = None,
    ) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def _height(self, t: float) -> float:
        return (1 + math.cos(math.pi * t / self.T_max)) / 2

    def get_lr(self) -> list[Any]:
        t = self.last_epoch
        if self._is_initial:
            return self._rates()
        if self._step_count == 1 and t > 0:
            return self._get_closed_form_lr()
        if (t - 1 - self.T_max) % (2 * self.T_max) == 0:  # it was at its lowest, and no factor
            rise = self._height(self.T_max - 1)  # of 0 leads away from there
            return [
                rate + (base - self.eta_min) * rise
                for rate, base in zip(self._rates(), self.base_lrs, strict=True)
            ]
        ratio = self._height(t) / self._height(t - 1)
        return [self.eta_min + (rate - self.eta_min) * ratio for rate in self._rates()]

    def _get_closed_form_lr(self) -> list[Any]:
        height = self._height(self.last_epoch)
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]


@public(SCHEDULERS)
class CosineAnnealingWarmRestarts(LRScheduler):
    """A cosine from η₀ to eta_min again and again, over T_0, T_0 · T_mult, T_0 · T_mult² … epochs.

    η = eta_min + (η₀ - eta_min) (1 + cos(π T_cur / T_i)) / 2, where T_cur counts from the last
    restart. `step` may be given the epoch as a float, so that it can be called for each batch.

    Source: I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
    2017. Raises ValueError unless T_0 and T_mult are whole and 1 or more.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule, rates = CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=2), []
    >>> for _ in range(5):
    ...     rates += [round(rate, 2) for rate in schedule.get_last_lr()]
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [1.0, 0.5, 1.0, 0.85, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
        verbose: Any = None,
    ) -> None:
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is a whole number, 1 or more; got {value!r}.")
        if not isinstance(eta_min, float | int):
            raise ValueError(f"eta_min is a number; got a {type(eta_min).__name__}.")
        self.T_0, self.T_i, self.T_mult, self.eta_min = T_0, T_0, T_mult, eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Set the rates for the next epoch, or for this one, which may be 3.25."""
        if epoch is None and self._is_initial:
            epoch = self.last_epoch + 1
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        elif epoch < 0:
            raise ValueError(f"an epoch is 0 or more; got {epoch!r}.")
        else:
            self.T_cur, self.T_i = epoch, self.T_0
            if self.T_mult == 1:
                self.T_cur = epoch % self.T_0
            while self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        self.last_epoch = math.floor(epoch)
        self._step_count += 1
        self._apply(self.get_lr())


# ----- by cycles, of the momentum too ------------------------------------------------------------


def _momentum_of(optimizer: Optimizer, asked: bool, name: str) -> bool:
    """Whether the momentum is β₁ of betas. ValueError if it is asked for and not there."""
    if asked and not {"momentum", "betas"} & optimizer.defaults.keys():
        raise ValueError(
            f"{name} needs an optimizer with 'momentum' or 'betas'; {type(optimizer).__name__} has "
            f"none.{'' if name == 'LambdaMomentum' else ' Pass cycle_momentum=False.'}"
        )
    return "betas" in optimizer.defaults


def _set_momentum(group: dict[str, Any], use_betas: bool, value: float) -> None:
    if use_betas:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


@public(SCHEDULERS)
class LambdaMomentum(_Functions):
    """μ = momentum_lambda(t), a function for all groups, or a list of one for each; η stays.

    The momentum, or β₁ of an optimizer that has betas, is annealed with it: "usually 0.5, 0.9 or
    0.99, sometimes annealed over time, e.g. from 0.5 to 0.99" (CS231n, lecture 6). Both the rate
    and the momentum are scheduled by a `ChainedScheduler` of two.

    Raises TypeError for what is no function, ValueError for a list of another length and for an
    optimizer that has neither.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=0.1, momentum=0.5)
    >>> schedule, momenta = LambdaMomentum(optimizer, lambda t: min(0.99, 1 - 0.5 / (1 + t))), []
    >>> for _ in range(4):
    ...     momenta.append(optimizer.param_groups[0]["momentum"])
    ...     optimizer.step()
    ...     schedule.step()
    >>> momenta, schedule.get_last_lr()
    ([0.5, 0.75, 0.8333333333333334, 0.875], [0.1])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        momentum_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self._attach(optimizer)
        self.use_beta1 = _momentum_of(optimizer, True, "LambdaMomentum")
        super().__init__(optimizer, momentum_lambda, last_epoch)

    def get_lr(self) -> list[Any]:
        self._check_groups(len(self.lr_lambdas))
        for group, function in zip(self.optimizer.param_groups, self.lr_lambdas, strict=True):
            _set_momentum(group, self.use_beta1, function(self.last_epoch))
        return self._rates()


@public(SCHEDULERS)
class CyclicLR(LRScheduler):
    """η goes up and down between base_lr and max_lr: `step_size_up` steps up, and down as many.

    `mode`: "triangular", "triangular2" (each cycle half as high) or "exp_range" (× gammaᵗ); or a
    `scale_fn` of the number of the cycle, or of t with scale_mode="iterations". With
    `cycle_momentum` the momentum (or β₁) goes the other way, from max_momentum to base_momentum and
    back. It is stepped after each batch.

    Source: L. Smith, "Cyclical learning rates for training neural networks", 2017.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0, momentum=0.9)
    >>> schedule, rates = CyclicLR(optimizer, base_lr=0.5, max_lr=1.5, step_size_up=2), []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.5, 1.0, 1.5, 1.0, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
        verbose: Any = None,
    ) -> None:
        self._attach(optimizer)
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(
                "mode is 'triangular', 'triangular2' or 'exp_range', unless there is a scale_fn; "
                f"got {mode!r}."
            )
        base_lrs = _each(optimizer, "base_lr", base_lr)
        if last_epoch == -1:
            for group, rate in zip(optimizer.param_groups, base_lrs, strict=True):
                _set(group, "lr", rate)
        self.max_lrs = _each(optimizer, "max_lr", max_lr)
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.mode, self.gamma = mode, gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = (
            scale_mode if scale_fn else "iterations" if mode == "exp_range" else "cycle"
        )
        self.cycle_momentum = cycle_momentum
        self.use_beta1 = _momentum_of(optimizer, cycle_momentum, "CyclicLR")
        if cycle_momentum:
            self.base_momentums = _each(optimizer, "base_momentum", base_momentum)
            self.max_momentums = _each(optimizer, "max_momentum", max_momentum)
            if last_epoch == -1:
                for group, high, low in zip(
                    optimizer.param_groups, self.max_momentums, self.base_momentums, strict=True
                ):
                    _set_momentum(group, self.use_beta1, high)
                    group["max_momentum"], group["base_momentum"] = high, low
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """How high the cycle is, as a share of the first one."""
        if self._scale_fn_custom is not None:
            return float(self._scale_fn_custom(x))
        if self.mode == "triangular2":
            return float(2.0 ** (1 - x))
        return float(self.gamma**x) if self.mode == "exp_range" else 1.0

    def state_dict(self) -> dict[str, Any]:
        """What the schedule knows; a `scale_fn` is to be given again to the one that goes on."""
        return self._get_state(["_scale_fn_custom"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where another schedule of this kind was."""
        own = {k: v for k, v in state_dict.items() if not k.startswith("_scale_fn")}
        super().load_state_dict(own)

    def get_lr(self) -> list[Any]:
        """The rates; it sets the momenta too."""
        self._check_groups(len(self.max_lrs))
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1 + self.last_epoch / self.total_size - cycle
        up = x <= self.step_ratio
        share = x / self.step_ratio if up else (x - 1) / (self.step_ratio - 1)
        share *= self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            for group, low, high in zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            ):
                _set_momentum(group, self.use_beta1, high - (high - low) * share)
        return [
            low + (high - low) * share
            for low, high in zip(self.base_lrs, self.max_lrs, strict=True)
        ]


@public(SCHEDULERS)
class OneCycleLR(LRScheduler):
    """One rise from max_lr / div_factor to max_lr, and one descent far below where it began.

    The rise takes the share `pct_start` of `total_steps` (or of epochs · steps_per_epoch), the
    descent the rest; it ends at 1 / final_div_factor of the first rate. With `three_phase` the
    descent goes first to the first rate, in as many steps, and then to the last. `anneal_strategy`
    is "cos" or "linear". With `cycle_momentum` the momentum (or β₁) goes from max_momentum to
    base_momentum and back. It is stepped after each batch; beyond the last step it raises
    ValueError.

    Source: L. Smith and N. Topin, "Super-convergence: very fast training of neural networks using
    large learning rates", 2018.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0, momentum=0.9)
    >>> schedule, rates = OneCycleLR(optimizer, 1.0, 11, anneal_strategy="linear"), []
    >>> for _ in range(10):
    ...     rates += [round(rate, 2) for rate in schedule.get_last_lr()]
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.04, 0.46, 0.87, 0.91, 0.78, 0.65, 0.52, 0.39, 0.26, 0.13]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
        verbose: Any = None,
    ) -> None:
        self._attach(optimizer)
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ValueError("OneCycleLR needs total_steps, or epochs and steps_per_epoch.")
        counts = [total_steps] if total_steps is not None else [epochs, steps_per_epoch]
        for count in counts:
            if not isinstance(count, int) or count < 1:
                raise ValueError(f"a number of steps or epochs is whole, 1 or more; got {count!r}.")
        self.total_steps = math.prod(counts)  # type: ignore[arg-type]
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"pct_start is a float between 0 and 1; got {pct_start!r}.")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy is 'cos' or 'linear'; got {anneal_strategy!r}.")
        self._anneal_func_type = anneal_strategy
        steps, top = self.total_steps, pct_start * self.total_steps - 1
        if three_phase:
            ends = [top, 2 * pct_start * steps - 2, steps - 1]
            names = [("initial_lr", "max_lr"), ("max_lr", "initial_lr"), ("initial_lr", "min_lr")]
            momenta = [("max", "base"), ("base", "max"), ("max", "max")]
        else:
            ends = [top, steps - 1]
            names = [("initial_lr", "max_lr"), ("max_lr", "min_lr")]
            momenta = [("max", "base"), ("base", "max")]
        self._schedule_phases: list[dict[str, Any]] = [
            {
                "end_step": float(end),
                "start_lr": first,
                "end_lr": last,
                "start_momentum": f"{before}_momentum",
                "end_momentum": f"{after}_momentum",
            }
            for end, (first, last), (before, after) in zip(ends, names, momenta, strict=True)
        ]
        self.cycle_momentum = cycle_momentum
        self.use_beta1 = _momentum_of(optimizer, cycle_momentum, "OneCycleLR")
        highest = _each(optimizer, "max_lr", max_lr)
        if last_epoch == -1:
            low, high = (
                _each(optimizer, name, value) if cycle_momentum else []
                for name, value in (
                    ("base_momentum", base_momentum),
                    ("max_momentum", max_momentum),
                )
            )
            for i, group in enumerate(optimizer.param_groups):
                group["initial_lr"] = highest[i] / div_factor
                group["max_lr"] = highest[i]
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    _set_momentum(group, self.use_beta1, high[i])
                    group["max_momentum"], group["base_momentum"] = high[i], low[i]
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, share: float) -> float:
        if self._anneal_func_type == "linear":
            return start + (end - start) * share
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2

    def get_lr(self) -> list[Any]:
        """The rates; it sets the momenta too."""
        self._check_groups(len(getattr(self, "base_lrs", self.optimizer.param_groups)))
        t = self.last_epoch
        if t > self.total_steps:
            raise ValueError(
                f"OneCycleLR was made for {self.total_steps} steps, and this is step {t + 1}."
            )
        begin = 0.0
        for phase in self._schedule_phases:
            end = phase["end_step"]
            if t <= end or phase is self._schedule_phases[-1]:
                break
            begin = end
        share = (t - begin) / (end - begin)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[phase["start_lr"]], group[phase["end_lr"]], share))
            if self.cycle_momentum:
                ends = group[phase["start_momentum"]], group[phase["end_momentum"]]
                _set_momentum(group, self.use_beta1, self._between(*ends, share))
        return rates


# ----- by the results ----------------------------------------------------------------------------


@public(SCHEDULERS)
class ReduceLROnPlateau(LRScheduler):
    """η ← factor · η when a measure has not improved for more than `patience` epochs.

    `step(metrics)` is given the measure, such as the validation loss; mode "min" wants it low,
    "max" high. It has improved if it is better than the best by `threshold`, a share of the best
    ("rel") or a number ("abs"). After a change, `cooldown` epochs do not count. η does not fall
    below `min_lr`, nor by less than `eps`.

    Raises ValueError for a factor of 1 or more and for modes that are none.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     schedule.step(loss)
    >>> optimizer.param_groups[0]["lr"]
    0.5
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
        verbose: Any = None,
    ) -> None:
        self._attach(optimizer)
        if not factor < 1:
            raise ValueError(f"the factor of ReduceLROnPlateau is below 1; got {factor!r}.")
        if mode not in ("min", "max"):
            raise ValueError(f"mode is 'min' or 'max'; got {mode!r}.")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold_mode is 'rel' or 'abs'; got {threshold_mode!r}.")
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.min_lrs = _each(optimizer, "min_lr", min_lr)
        self.default_min_lr = None if isinstance(min_lr, list | tuple) else min_lr
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.last_epoch = 0
        self._last_lr = self._rates()
        self._reset()

    def _reset(self) -> None:
        self.best = self.mode_worse
        self.cooldown_counter = self.num_bad_epochs = 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:
        """Look at the measure of an epoch, and lower the rates if it stays where it was."""
        current = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.is_better(current, self.best):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr(self.last_epoch)
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._rates()

    def _reduce_lr(self, epoch: int) -> None:
        groups = self.optimizer.param_groups
        more = len(groups) - len(self.min_lrs)  # groups that came later
        if more and self.default_min_lr is None:
            raise RuntimeError(
                f"min_lr has {len(self.min_lrs)} values, and the optimizer {len(groups)} groups by "
                "now; give one min_lr for all, or append to schedule.min_lrs."
            )
        self.min_lrs += [self.default_min_lr] * more
        for group, least in zip(groups, self.min_lrs, strict=True):
            old = float(group["lr"])
            new = max(old * self.factor, least)
            if old - new > self.eps:
                _set(group, "lr", new)

    @property
    def in_cooldown(self) -> bool:
        """Whether the last change was just now."""
        return self.cooldown_counter > 0

    def is_better(self, a: float, best: float) -> bool:
        """Whether a measure is better than the best by more than the threshold."""
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * a < sign * best * (1 - sign * self.threshold)
        return sign * a < sign * best - self.threshold


# ----- of other schedules ------------------------------------------------------------------------


class _Several(LRScheduler):
    """Schedules of one optimizer."""

    _schedulers: list[LRScheduler]

    def _take(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None) -> None:
        name = type(self).__name__
        if len(schedulers) < 1:
            raise ValueError(f"{name} needs at least one schedule.")
        for i, schedule in enumerate(schedulers):
            if not hasattr(schedule, "optimizer"):
                raise TypeError(f"{name}: number {i} is a {type(schedule).__name__}, no schedule.")
            optimizer = optimizer or schedule.optimizer
            if isinstance(schedule, ReduceLROnPlateau):
                raise ValueError(
                    f"{name} has no measure to give to ReduceLROnPlateau; step that by itself."
                )
            if schedule.optimizer is not optimizer:
                raise ValueError(f"{name}: schedule {i} is of another optimizer.")
        assert optimizer is not None  # there is at least one
        self._attach(optimizer)
        self._schedulers = list(schedulers)

    def state_dict(self) -> dict[str, Any]:
        """What the schedules know, each for itself."""
        states = [schedule.state_dict() for schedule in self._schedulers]
        return self._get_state(["_schedulers"]) | {"_schedulers": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where others of these kinds were."""
        own = {name: value for name, value in state_dict.items() if name != "_schedulers"}
        vars(self).update(own)
        for schedule, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            schedule.load_state_dict(state)


@public(SCHEDULERS)
class SequentialLR(_Several):
    """One schedule after the other: number i + 1 takes over at epoch milestones[i].

    Raises ValueError for schedules of other optimizers and for another number of milestones.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0)
    >>> parts = [ConstantLR(optimizer, 0.5, 9), ExponentialLR(optimizer, 0.5)]
    >>> schedule, rates = SequentialLR(optimizer, parts, milestones=[2]), []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.5, 0.5, 1.0, 0.5, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
        verbose: Any = None,
    ) -> None:
        self._take(schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"{len(schedulers)} schedules need {len(schedulers) - 1} milestones between them; "
                f"got {len(milestones)}."
            )
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:
            _set(group, "lr", group["initial_lr"])
        for schedule in self._schedulers:
            _undo(schedule)
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._begin()
        self._last_lr = first.get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """Set the rates for the next epoch."""
        self.last_epoch += 1
        i = bisect_right(self._milestones, self.last_epoch)
        schedule = self._schedulers[i]
        if i > 0 and self._milestones[i - 1] == self.last_epoch:
            schedule.step(0)
        else:
            schedule.step()
        self._last_lr = schedule.get_last_lr()


def _undo(schedule: LRScheduler) -> None:
    """Forget the step that a schedule made when it was made."""
    if not isinstance(schedule, _Several):
        schedule.last_epoch -= 1
        return
    for part in schedule._schedulers:
        _undo(part)


@public(SCHEDULERS)
class ChainedScheduler(_Several):
    """Several schedules at once: each changes what the one before it has set.

    Raises ValueError for schedules of different optimizers.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule = ChainedScheduler([ConstantLR(optimizer, 0.5), ExponentialLR(optimizer, 0.5)])
    >>> optimizer.step()
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        self._take(schedulers, optimizer)
        self._last_lr = self._rates()

    def step(self, epoch: int | None = None) -> None:
        """Set the rates for the next epoch."""
        for schedule in self._schedulers:
            schedule.step()
        self._last_lr = self._rates()


fill(globals(), SCHEDULERS)
