"""Averages of weights over the steps: a model that is often better than the last one.

The plain mean is stochastic weight averaging (P. Izmailov et al., "Averaging weights leads to wider
optima and better generalization", 2018); the moving one forgets what is long ago (B. Polyak and
A. Juditsky, "Acceleration of stochastic approximation by averaging", 1992).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from functools import partial
from itertools import islice
from typing import Any

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._tensor import Tensor, as_input
from tinygrad_cv._trees import mapped
from tinygrad_cv.backend.recording import as_written
from tinygrad_cv.nn.instancenorm import _InstanceNorm
from tinygrad_cv.nn.module import EXTRA, Module
from tinygrad_cv.nn.parameter import is_lazy
from tinygrad_cv.optim.lr_scheduler import LRScheduler, _each
from tinygrad_cv.optim.optimizer import Optimizer

__all__ = [
    "SWALR",
    "AveragedModel",
    "average_states",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def _share(decay: float) -> float:
    if not 0 <= decay <= 1:
        raise ValueError(f"the decay of a moving average lies between 0 and 1; got {decay!r}.")
    return decay


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """The exponential moving average, a ← decay · a + (1 - decay) p, as an `avg_fn`.

    >>> from tinygrad_cv import tensor
    >>> get_ema_avg_fn(0.9)(tensor(1.0), tensor(2.0), 7)
    tensor(1.1)
    """
    decay = _share(decay)

    def average(averaged: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        with no_grad():
            return decay * averaged + (1 - decay) * current

    return average


def get_swa_avg_fn() -> Callable[[Tensor, Tensor, Any], Tensor]:
    """The mean of all so far, a ← a + (p - a) / (n + 1), as an `avg_fn`.

    >>> from tinygrad_cv import tensor
    >>> get_swa_avg_fn()(tensor(1.0), tensor(2.0), 1)
    tensor(1.5)
    """

    def average(averaged: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        with no_grad():
            return averaged + (current - averaged) / (float(num_averaged) + 1)

    return average


def _of_many(average: Callable[[Tensor, Tensor, Any], Tensor]) -> Callable[..., None]:
    def averages(averaged: list[Tensor], current: list[Tensor], num_averaged: Any) -> None:
        for mean, value in zip(averaged, current, strict=True):
            mean.data.copy_(average(mean.detach(), value.detach(), num_averaged))

    return averages


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[..., None]:
    """The exponential moving average as a `multi_avg_fn`, which writes into a list of averages.

    >>> from tinygrad_cv import tensor
    >>> average = tensor([1.0])
    >>> get_ema_multi_avg_fn(0.75)([average], [tensor([5.0])], 1)
    >>> average
    tensor([2.])
    """
    return _of_many(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Callable[..., None]:
    """The mean of all so far as a `multi_avg_fn`, which writes into a list of averages.

    >>> from tinygrad_cv import tensor
    >>> average = tensor([1.0])
    >>> get_swa_multi_avg_fn()([average], [tensor([5.0])], 3)
    >>> average
    tensor([2.])
    """
    return _of_many(get_swa_avg_fn())


class AveragedModel(Module):
    """A copy of a model, `module`, whose parameters are averages of those that it is shown.

    `update_parameters(model)` takes in the parameters as they are now; the first time they are
    copied. The average is the mean, or `avg_fn(averaged, current, n)`, or what
    `multi_avg_fn(averages, currents, n)` writes. With `use_buffers` buffers are averaged too;
    otherwise they are copied, and `update_bn` works the statistics of batch norm out anew.

    The buffer n_averaged, which is n above, counts the updates. Raises ValueError for both
    functions at once, and for a lazy model that has no values yet.

    >>> from tinygrad_cv import nn, no_grad, optim
    >>> model = nn.Linear(1, 1)
    >>> averaged = optim.swa_utils.AveragedModel(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     with no_grad():
    ...         _ = model.weight.fill_(value)
    ...     averaged.update_parameters(model)
    >>> averaged.module.weight.item()
    3.0
    """

    module: Module
    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable[[Tensor, Tensor, Any], Tensor] | None = None,
        multi_avg_fn: Callable[[list[Tensor], list[Tensor], Any], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel takes avg_fn or multi_avg_fn, not both.")
        if any(map(is_lazy, model.parameters())):
            raise ValueError("there are no values yet to average: run the model once before.")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", Tensor(0, dtype="int64", device=device))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **options: Any) -> Any:
        """What the averaged model gives."""
        return self.module(*args, **options)

    def update_parameters(self, model: Module) -> None:
        """Take the parameters of a model into the averages."""
        averaged, current = (
            [*m.parameters(), *(m.buffers() if self.use_buffers else ())]
            for m in (self.module, model)
        )
        pairs = [
            (mean.detach(), value.detach().to(mean.device))
            for mean, value in zip(averaged, current, strict=True)
        ]
        count = int(self.n_averaged)
        if count == 0:
            for mean, value in pairs:
                mean.copy_(value)
        else:
            floats = [pair for pair in pairs if pair[0].is_floating_point()]
            for mean, value in pairs:
                if not mean.is_floating_point():  # such as num_batches_tracked
                    mean.copy_(value)
            if self.multi_avg_fn is not None or self.avg_fn is None:
                many = self.multi_avg_fn or get_swa_multi_avg_fn()
                many([m for m, _ in floats], [v for _, v in floats], self.n_averaged)
            else:
                for mean, value in floats:
                    mean.copy_(self.avg_fn(mean, value, self.n_averaged.to(mean.device)))
        if not self.use_buffers:
            for mean, value in zip(self.module.buffers(), model.buffers(), strict=True):
                mean.detach().copy_(value.detach().to(mean.device))
        self.n_averaged.data.fill_(count + 1)


def average_states(states: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of several states of one model, such as those of its checkpoints.

    "Can also get a small boost from averaging multiple model checkpoints of a single model"
    (CS231n, lecture 6, "Model ensembles"). Floats are averaged, in float64, and keep their dtype;
    what is none, such as the number of batches that a batch norm has seen, is that of the last
    state. The running statistics of batch norm belong to the weights that they were measured with,
    and their mean to no weights: work them out anew by `update_bn`.

    Raises ValueError for no states, and for states of different names or shapes.

    >>> from tinygrad_cv import nn, optim, tensor
    >>> model, states = nn.Linear(1, 1), [{"weight": [[1.0]], "bias": [0.0]}]
    >>> states.append({"weight": [[4.0]], "bias": [2.0]})
    >>> model.load_state_dict(optim.swa_utils.average_states(states))
    <All keys matched successfully>
    >>> model(tensor([[2.0]])).item()
    6.0
    """
    mean: dict[str, Any] = {}
    last: dict[str, Any] = {}
    average, count = get_swa_avg_fn(), 0
    for count, state in enumerate(states):
        if not isinstance(state, Mapping):
            raise TypeError(f"a state is a dict of tensors; got a {type(state).__name__}.")
        if count and (other := mean.keys() ^ state.keys()):
            raise ValueError(
                f"state {count + 1} is not of the same model as the first one: only one of them "
                f"has {', '.join(map(repr, sorted(other)))}."
            )
        now = {
            name: value if name.rpartition(".")[2] == EXTRA else as_input(value).detach()
            for name, value in state.items()
        }
        tensors = {name: value for name, value in now.items() if isinstance(value, Tensor)}
        wrong = [
            f"{name} is {value.shape} in state {count + 1} and {last[name].shape} before"
            for name, value in sorted(tensors.items())
            if count and value.shape != last[name].shape
        ]
        if wrong:
            raise ValueError(f"states of one model are averaged: {', '.join(wrong)}.")
        for name, value in now.items():
            if name not in tensors or not value.is_floating_point():
                mean[name] = value
            elif not count:
                mean[name] = value.double().clone()  # the next state may come of the same tensors
            else:
                mean[name] = average(mean[name], value.double().to(mean[name].device), count)
        last = now
    if not last:
        raise ValueError("there are no states to average.")
    return {
        name: value.to(last[name].dtype).clone() if isinstance(value, Tensor) else value
        for name, value in mean.items()
    }


def update_bn(
    loader: Iterable[Any], model: Module, device: Any = None, *, exact: bool = False
) -> None:
    """Work the running statistics of batch norm out anew, from the batches of a loader.

    They are the means over the batches of what each batch has, as in training: with each layer's
    inputs normalized by the batch at hand, and dropout at work.

    With `exact` they are the mean and the variance over all samples of what a layer gets in
    evaluation, "computed for the entire training set" (A. Solberg, INF5860, "Batch normalization:
    test time"): layer after layer, behind those that have theirs already, whatever the batches are.
    That takes a pass over the loader for each layer, as far as the layer; so the loader is one that
    can be asked again.

    A batch is the inputs, or a list or tuple whose first element is. The modes of all modules stay
    as they are. With `exact` the statistics of instance norm stay, too, and a loader without
    samples is a ValueError.

    >>> from tinygrad_cv import nn, optim, tensor
    >>> model = nn.BatchNorm1d(1)
    >>> batches = [tensor([[1.0], [3.0]]), tensor([[5.0], [7.0]])]
    >>> optim.swa_utils.update_bn(batches, model)
    >>> model.running_mean, model.running_var
    (tensor([4.]), tensor([2.]))
    >>> optim.swa_utils.update_bn(batches, model, exact=True)
    >>> model.running_mean, round(model.running_var.item(), 4)
    (tensor([4.]), 6.6667)
    """
    norms = running_norms(model, exact)
    if not norms:
        return

    def inputs_of(batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            inputs = batch[0] if isinstance(batch, list | tuple) else batch
            yield inputs if device is None else mapped(lambda x: _moved(x, device), inputs)

    modes = [(module, module.training) for module in model.modules()]
    momenta = [(norm, norm.momentum) for norm in norms]
    try:
        with no_grad(), as_written():
            if exact:
                model.eval()
                whole_set_statistics(lambda: inputs_of(loader), model, norms)
                return
            model.train()
            for norm in norms:
                norm.running_mean.data.zero_()
                norm.running_var.data.fill_(1.0)
                if getattr(norm, "num_batches_tracked", None) is not None:
                    norm.num_batches_tracked.data.zero_()
            for count, inputs in enumerate(inputs_of(loader), 1):
                for norm in norms:
                    norm.momentum = 1 / count  # so the moving average is the mean
                model(inputs)
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum
        for module, training in modes:
            module.training = training


def running_norms(model: Module, exact: bool) -> list[Any]:
    """The layers that keep running statistics; those of an instance norm are of no whole set."""
    return [
        module
        for module in model.modules()
        if getattr(module, "running_mean", None) is not None
        and hasattr(module, "momentum")
        and not (exact and isinstance(module, _InstanceNorm))
    ]


def _moved(x: Any, device: Any) -> Any:
    return x.to(device) if isinstance(x, Tensor) else x


class Moments:
    """Of each channel the mean of all values so far, and the sum of squared distances from it.

    Batches are joined as T. Chan, G. Golub and R. LeVeque do it, "Updating formulae and a pairwise
    algorithm for computing sample variances", 1979.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    @classmethod
    def of(cls, x: Tensor) -> "Moments":
        """Those of a batch (N, C, *S)."""
        moments, values = cls(), x.detach().double().transpose(0, 1).flatten(1).cpu()
        moments.count = values.shape[1]
        if moments.count:
            moments.mean = values.mean(dim=1)
            moments.squares = (values - moments.mean[:, None]).square().sum(dim=1)
        return moments

    def join(self, other: "Moments") -> None:
        """Take in the values of another."""
        if not other.count:
            return
        count = self.count + other.count
        step = other.mean - self.mean
        self.squares = (
            self.squares + other.squares + step * step * (self.count * other.count / count)
        )
        self.mean = self.mean + step * (other.count / count)
        self.count = count


class _ReachedError(BaseException):
    """A forward pass has come to the layer that was asked for; no `except Exception` stops it."""


@as_written()
def whole_set_statistics(
    batches: Callable[[], Iterable[Any]],
    model: Callable[[Any], Any],
    norms: list[Any],
    everyone: Callable[[Any], list[Any]] = lambda own: [own],
) -> None:
    """Let the running statistics of the layers be those of all inputs of a model in evaluation.

    `everyone` gives what each rank has found in its part of the batches.
    """
    calls: dict[int, int] = {}  # of each layer, in the order in which they are reached

    def counted(k: int, norm: Any, inputs: Any) -> None:
        calls[k] = calls.get(k, 0) + 1

    hooks = [norm.register_forward_pre_hook(partial(counted, k)) for k, norm in enumerate(norms)]
    try:
        for inputs in islice(batches(), 1):
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    reached = next(filter(None, everyone(calls)), {0: 1})  # a rank may have no batch
    for k, times in reached.items():
        norm, whole = norms[k], Moments()
        for part in everyone(_moments_at(norm, times, batches(), model)):
            whole.join(part)
        if not whole.count:
            raise ValueError(
                "the loader gave no samples; with exact=True it is asked once for each layer, so "
                "pass a DataLoader or a list, and no iterator."
            )
        norm.running_mean.copy_(whole.mean)
        norm.running_var.copy_(whole.squares / max(whole.count - 1, 1))


def _moments_at(
    norm: Any, calls: int, batches: Iterable[Any], model: Callable[[Any], Any]
) -> Moments:
    """The moments of what a layer gets, which a forward pass calls so often."""
    moments, left = Moments(), 0

    def look(norm: Any, inputs: Any) -> None:
        nonlocal left
        moments.join(Moments.of(inputs[0]))
        left -= 1
        if not left:
            raise _ReachedError

    with norm.register_forward_pre_hook(look):
        for inputs in batches:
            left = calls
            with suppress(_ReachedError):
                model(inputs)
    return moments


class SWALR(LRScheduler):
    """From the rates as they are to `swa_lr` in `anneal_epochs` epochs, and constant from then on.

    `anneal_strategy` is "cos" or "linear"; swa_lr is a number, or a list of one for each group.
    Raises ValueError for other strategies and for a negative number of epochs.

    >>> from tinygrad_cv import optim, tensor
    >>> optimizer = optim.SGD([tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule, rates = SWALR(optimizer, 0.5, 2, "linear"), []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [1.0, 0.75, 0.5, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        self._attach(optimizer)
        rates = _each(optimizer, "swa_lr", swa_lr)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy is 'cos' or 'linear'; got {anneal_strategy!r}.")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs is a whole number, 0 or more; got {anneal_epochs!r}.")
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["swa_lr"] = rate
        self.anneal_epochs, self._anneal_strategy = anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _weight(self, t: float) -> float:
        """How much of swa_lr is in the rate of epoch t."""
        share = max(0.0, min(1.0, t / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * share)) / 2 if self._anneal_strategy == "cos" else share

    def get_lr(self) -> list[Any]:
        if self._is_initial:
            return self._rates()
        t = self.last_epoch if self.anneal_epochs else self.last_epoch + 1
        before, now = self._weight(t - 1), self._weight(t)
        return [
            group["swa_lr"]
            if before == 1
            else group["swa_lr"] + (rate - group["swa_lr"]) * (1 - now) / (1 - before)
            for group, rate in zip(self.optimizer.param_groups, self._rates(), strict=True)
        ]
