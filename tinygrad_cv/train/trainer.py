"""The training loop."""

import io
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from os import PathLike
from typing import Any

from tqdm import tqdm

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._tensor import Tensor
from tinygrad_cv._trees import mapped, tensors_in
from tinygrad_cv.amp import GradScaler, autocast
from tinygrad_cv.autograd.anomaly_mode import is_anomaly_enabled
from tinygrad_cv.backend.base import rows
from tinygrad_cv.backend.threads import on_one_blas_thread
from tinygrad_cv.nn import Module
from tinygrad_cv.nn.utils import clip_grad_norm_, clip_grad_value_
from tinygrad_cv.ops.loss import cross_entropy
from tinygrad_cv.ops.shape import cat
from tinygrad_cv.optim import Optimizer
from tinygrad_cv.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from tinygrad_cv.optim.regularizers import Regularizer
from tinygrad_cv.optim.swa_utils import running_norms, whole_set_statistics
from tinygrad_cv.program.compiled import Compiled
from tinygrad_cv.storage import save
from tinygrad_cv.train.batches import (
    are_classes,
    as_half,
    as_single,
    count_batches,
    has_limits,
    samples_in,
    size_of,
)
from tinygrad_cv.train.callbacks import Callback, listed
from tinygrad_cv.train.checkpoint import newest, options_of, restore, save_run
from tinygrad_cv.train.randomness import Randomness
from tinygrad_cv.train.ranks import Ranks, is_shared_out, nothing_of
from tinygrad_cv.train.sums import Sums

BAR = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"  # fits into 80 columns


class DivergenceError(ArithmeticError):
    """The loss is no longer a finite number. `loss` is what it became, in epoch `epoch`."""

    def __init__(self, loss: float, epoch: int) -> None:
        super().__init__(
            f"the loss became {loss} in epoch {epoch}; a lower learning rate is the likely cure."
        )
        self.loss, self.epoch = loss, epoch

    def __reduce__(self) -> Any:
        return type(self), (self.loss, self.epoch)


def constant(progress: float) -> float:
    """1: the learning rate stays as it is."""
    return 1.0


def cosine(progress: float) -> float:
    """½ (1 + cos(π · progress)): the learning rate glides from its full value to 0.

    `progress` is the share of the training that is done, from 0 to 1.

    Source: I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
    2017.

    >>> from tinygrad_cv.train import cosine
    >>> [round(cosine(progress), 2) for progress in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.85, 0.5, 0.0]
    """
    return (1 + math.cos(math.pi * progress)) / 2


class Trainer:
    """Fits a model, (N, ...) -> outputs (N, ...), and measures how well it does.

    A batch is (inputs, labels), and `loss_fn(model(inputs), labels)` is its mean loss; it sees all
    that the model returns, such as the auxiliary scores of some models, while accuracy and metrics
    look at the first tensor of that. Accuracy is the share of whole-numbered labels, (N,) or
    (N, ...), that have the highest of the scores, (N, classes) or (N, classes, ...); for other
    labels there is none.

    - `schedule` is a function: before each step the learning rate of each of the optimizer's groups
      becomes lr · schedule(progress), where lr is the one it came with and progress the share of
      the training that is done (of the epochs, if the loader has no length). By default it is
      constant. Or it is an object of `optim.lr_scheduler`, whose step is made after each epoch, or
      after each step of the optimizer with `schedule_interval="step"`; ReduceLROnPlateau looks at
      what `monitor` names in the record: "val_loss", or "loss" without validation.
    - `accumulate` batches make one step, the last ones of an epoch maybe fewer. Their gradients are
      those of the mean loss over all their samples, as if they were one batch.
    - `clip_grad_norm` and `clip_grad_value` bound the gradients of all parameters before the step:
      their norm, and each number.
    - `amp` scales the loss, so that gradients in float16 do not vanish, by a `GradScaler`, which
      may be given. Inputs become float16 for a model that is (`model.half()`), and its outputs
      float32. A step whose gradients are not finite is left out, and no schedule object moves on.
    - `regularizer`, such as `optim.L2(0.01)`, is a function of the model that is added to the loss,
      in training and wherever the loss is measured: the cost has its term. That alone is
      "train_penalty" and "val_penalty" in the record. One that changes the weights after a step,
      such as `optim.MaxNorm`, does so.
    - `metrics` names functions of (scores, labels), a batch's mean each, such as
      {"top5": ...}: "train_top5" and "val_top5" in the record are means over the samples.
    - `settings` are numbers and strings of yours, such as the seed, that are to be the same when a
      run goes on from a checkpoint.

    With `compile` the scores, the loss and the gradients of a batch are computed by a recorded
    program (see `tinygrad_cv.compile`): the same numbers sooner. A callback may change the strength
    of a regularizer all the same; what else a loss or a function finds stays as it was recorded.

    What is in evaluation mode while the model around it trains, such as a frozen batch norm, stays
    in it. After `fit` and `evaluate`, however they end, every module is in the mode that it was in.

    In a process group of several ranks (see `distributed`) each fits its part of every batch, and
    all come to what one process comes to, but for rounding: gradients are averaged, sums over
    samples are those of all ranks, dropout draws the rows of the whole batch. What is to be
    normalized over the whole batch is a SyncBatchNorm. A DataLoader makes the part alone (see its
    `share`); a loader whose sampler knows of ranks is taken as it is, and of any other the batches
    are cut. All ranks begin with the model and the random states of rank 0, call the same
    methods and tell the same callbacks, but for those that are `first_only`; rank 0 writes.

    Raises ValueError for options that make no sense, and TypeError for settings that are not such.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import data, nn, optim, train
    >>> generator = tg.manual_seed(0)
    >>> x = tg.randn(200, 2, generator=generator)
    >>> points = data.TensorDataset(x, (x.sum(dim=1) > 0).long())
    >>> loader = data.DataLoader(points, batch_size=20, shuffle=True, generator=generator)
    >>> model = nn.Linear(2, 2, generator=generator)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    >>> trainer = train.Trainer(model, optimizer, schedule=train.cosine)
    >>> history = trainer.fit(loader, epochs=5, progress=False)
    >>> list(history[-1])
    ['loss', 'train_accuracy', 'lr']
    >>> trainer.evaluate(loader) > 0.95
    True
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss_fn: Callable[[Any, Any], Tensor] = cross_entropy,
        schedule: Callable[[float], float] | LRScheduler = constant,
        compile: bool = False,
        *,
        schedule_interval: str = "epoch",
        monitor: str | None = None,
        accumulate: int = 1,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        amp: bool | GradScaler = False,
        metrics: Mapping[str, Callable[[Tensor, Any], Any]] | None = None,
        settings: Mapping[str, Any] | None = None,
        regularizer: Callable[[Module], Tensor] | None = None,
    ) -> None:
        self.model, self.optimizer, self.loss_fn, self.schedule = (
            model,
            optimizer,
            loss_fn,
            schedule,
        )
        self.schedule_interval, self.monitor = schedule_interval, monitor
        self.accumulate = accumulate
        self.clip_grad_norm, self.clip_grad_value = clip_grad_norm, clip_grad_value
        self.scaler = amp if isinstance(amp, GradScaler) else GradScaler() if amp else None
        self.metrics = dict(metrics or {})
        self.settings = dict(settings or {})
        self.regularizer = regularizer
        self._check_options()
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.options = options_of(optimizer)
        self._compiled = Compiled(self._with_gradients, self._undo) if compile else None
        self._scores = Compiled(self._outputs, self._undo) if compile else self._outputs
        self.step = 0
        self._begin(loader=None, epochs=0, callbacks=[], watch=None)

    def _check_options(self) -> None:
        if self.schedule_interval not in ("epoch", "step"):
            raise ValueError(
                f"schedule_interval is 'epoch' or 'step'; got {self.schedule_interval!r}."
            )
        if isinstance(self.schedule, LRScheduler):
            if self.schedule.optimizer is not self.optimizer:
                raise ValueError("the schedule is of another optimizer than the Trainer's.")
            if isinstance(self.schedule, ReduceLROnPlateau) and self.schedule_interval == "step":
                raise ValueError(
                    "ReduceLROnPlateau looks at whole epochs: schedule_interval='epoch'."
                )
        elif not callable(self.schedule):
            raise ValueError(
                "schedule is a function of the progress or an object of optim.lr_scheduler; got a "
                f"{type(self.schedule).__name__}."
            )
        if isinstance(self.accumulate, bool) or self.accumulate < 1 or self.accumulate % 1:
            raise ValueError(f"accumulate counts batches, at least 1; got {self.accumulate!r}.")
        for name in ("clip_grad_norm", "clip_grad_value"):
            bound = getattr(self, name)
            if bound is not None and not bound > 0:
                raise ValueError(f"{name} is above 0; got {bound!r}.")
        if self.regularizer is not None and not callable(self.regularizer):
            raise TypeError(
                "regularizer is a function of the model, such as optim.L2(0.01); got "
                f"{self.regularizer!r}."
            )
        if taken := self.metrics.keys() & {"loss", "accuracy", "penalty"}:
            raise ValueError(f"metrics: {taken.pop()!r} is in the record already; choose a name.")
        save({"settings": self.settings}, io.BytesIO())  # raises TypeError now, and not in the run

    def _begin(self, loader: Any, epochs: int, callbacks: list[Callback], watch: Any) -> None:
        """Where a fit begins."""
        self.loader, self.epochs, self.callbacks, self.watch = loader, epochs, callbacks, watch
        self.batches = None if loader is None else count_batches(loader)
        self.epoch = 0
        self.batch = 0  # how many of the running epoch are done
        self.over = False  # whether the loader is known to have no more of them
        self.step_loss = math.nan  # the mean over the samples of the last step
        self.record: dict[str, float] = {}
        self.history: list[dict[str, float]] = []
        self.sums = Sums()
        self.should_stop = self.resumed = False
        self.ranks = Ranks()
        self.randomness = Randomness(
            self.model, self.loss_fn, self.optimizer, self.metrics, loader, callbacks
        )
        self.randomness_of_epoch: dict[str, Any] = {}

    # ----- fit -------------------------------------------------------------------------------

    def fit(
        self,
        train_loader: Iterable[Any],
        val_loader: Iterable[Any] | None = None,
        epochs: int = 1,
        progress: bool | None = None,
        watch: Any = None,
        *,
        callbacks: Iterable[Callback | Callable[["Trainer"], object]] = (),
        resume: str | PathLike[str] | None = None,
    ) -> list[dict[str, float]]:
        """Train, and return the history: a dict for each epoch.

        Its "loss" is the mean over the samples and its "train_accuracy" the share of them labelled
        right, both as the model met them: augmented, with dropout, and learning all the while; "lr"
        is the rate of the last step (of the first group). "val_loss" and "val_accuracy" are what
        the model has on `val_loader` after the epoch. Validation leaves all random numbers as they
        are.

        `progress` says whether to show a bar on stderr; None shows it on a terminal only. `watch`,
        such as `viz.watch(model)`, looks on: each step is done inside `with watch.step():`. Of the
        `callbacks` a plain function is called with the trainer after each epoch; see `Callback`.

        `resume` is a file that `save_checkpoint` wrote, or the folder of a `Checkpoint`, whose
        newest file is taken; without one training begins anew. The run then goes on from there as
        if it had never ended: on one machine, with the same kernels, the same bits come out. The
        model, the loaders and all else are to be made as they were for the run, by the same
        program; a loader without `load_state_dict` is asked once more for the batches of the epoch
        that are done. More `epochs` than before are taken unless the schedule is a function of the
        progress.

        Raises TypeError for a batch that is no pair of inputs and labels; DivergenceError, before
        the step, when a batch has an infinite loss or NaN, and at
        the end when the last step has made the model give infinite scores or NaN; ValueError for a
        loader without batches, and with nothing changed for a checkpoint that is damaged or of
        another run.
        """
        if not hasattr(epochs, "__index__") or epochs < 0:
            raise ValueError(f"epochs is a whole number, 0 or more; got {epochs!r}.")
        if val_loader is not None:
            count_batches(val_loader)
        self._begin(train_loader, epochs, listed(callbacks), watch)
        hidden = None if progress is None else not progress
        if sys.stderr is None or self.ranks.rank:  # closed, or never there; or not ours
            hidden = True
        if self.ranks.size > 1 and self._compiled is not None:
            raise ValueError(
                "a Trainer with compile=True fits in one process: the ranks could not agree when "
                "to record anew. Leave it out, or compile a step with DistributedDataParallel."
            )
        total = None if self.batches is None else epochs * self.batches
        with (
            self.ranks.sharing(train_loader, val_loader),
            self.ranks.averaging_gradients(self.model, self.optimizer._parameters()),
            _modes_kept(self.model),
            tqdm(total=total, bar_format=BAR, disable=hidden) as bar,
        ):
            whole = self.model.training
            frozen = [part for part in self.model.modules() if whole and not part.training]
            self.model.train()  # which a part may take in its own way
            for module in frozen:
                module.training = False
            path = None if resume is None else self.ranks.first(lambda: newest(resume))
            if path is not None:
                restore(self, path)
                self.resumed = True
                bar.initial = bar.n = len(self.history) * (self.batches or 0) + self.batch
            self._tell("on_fit_start")
            while len(self.history) < epochs and (self.batch or not self.should_stop):
                self._run_epoch(val_loader, bar)
            self._check_finite()
            self._tell("on_fit_end")
        return self.history

    @property
    def needs_epochs(self) -> bool:
        """Whether the steps depend on how many epochs there are in all."""
        return not isinstance(self.schedule, LRScheduler) and self.schedule is not constant

    def _tell(self, moment: str) -> None:
        for callback in self.callbacks:
            if self.ranks.rank == 0 or not callback.first_only:
                getattr(callback, moment)(self)

    def _run_epoch(self, val_loader: Any, bar: Any) -> None:
        """An epoch, or what is left of it."""
        self.epoch = len(self.history)
        before = self.history[-1] if self.history else {}  # to show until there is news
        bar.set_description(f"epoch {self.epoch + 1}/{self.epochs}")
        if not self.batch:
            self._agree()
            self.record, self.sums, self.over = {}, Sums(), False
            self._tell("on_epoch_start")
            if self.should_stop:
                return
        group: list[Any] = []
        for group in () if self.should_stop or self.over else self._groups():
            self._set_rates()
            with self._looked_at(group):
                stepped = on_one_blas_thread(self._step, group)
            self.batch += len(group)
            self.record |= self.sums.means("train_")
            self.record["lr"] = float(self.optimizer.param_groups[0]["lr"])
            bar.set_postfix_str(_shown(before | self.record), refresh=False)
            bar.update(len(group))
            if stepped:
                self.step += 1
                if isinstance(self.schedule, LRScheduler) and self.schedule_interval == "step":
                    self.schedule.step()
                self._tell("on_step")
            if self.should_stop:
                break
        if not self.batch:
            raise ValueError("the loader gave no batches.")
        sound = True
        if val_loader is not None:
            sums, sound = self._measure(val_loader)
            self.record |= sums.means("val_", loss="val_loss")
        if self.should_stop or self.epoch == self.epochs - 1:  # no loss will tell of the last step
            if val_loader is None and group:
                sound = self._is_sound(group[-1][0])
            self._check_finite(all(self.ranks.all(sound)))
        if isinstance(self.schedule, LRScheduler) and self.schedule_interval == "epoch":
            self._step_schedule(self.schedule)
        bar.set_postfix_str(_shown(self.record))
        self.history.append(self.record)
        self.batch = 0
        self._tell("on_epoch")

    @contextmanager
    def _looked_at(self, group: list[Any]) -> Iterator[None]:
        """What is around a step: the watch, and the contexts of the callbacks."""
        with ExitStack() as around:
            if self.watch is not None:
                around.enter_context(self.watch.step())
            for callback in self.callbacks:
                if self.ranks.rank == 0 or not callback.first_only:
                    around.enter_context(callback.around_step(self, group))
            yield

    def _agree(self) -> None:
        """Let all ranks have the random states and buffers of the first one."""
        if self.ranks.size > 1:
            self.randomness.load_state_dict(self.ranks.first(self.randomness.state_dict))
            self.ranks.share_buffers(self.model)

    def _groups(self) -> Iterator[list[Any]]:
        """The batches of an epoch, or those that are left, in lists that make one step."""
        loader: Any = self.loader
        if hasattr(getattr(loader, "sampler", None), "set_epoch"):
            loader.sampler.set_epoch(self.epoch)
        by_itself, now = hasattr(loader, "load_state_dict"), self.randomness.state_dict()
        if not self.batch:
            self.randomness_of_epoch = {} if by_itself else now
            batches = iter(loader)
        elif by_itself:
            batches = iter(loader)
            first = [*islice(batches, 1)]  # for which its samplers draw the order again
            self.randomness.load_state_dict(now)
            batches = chain(first, batches)
        else:
            self.randomness.load_state_dict(self.randomness_of_epoch)
            batches = iter(loader)
            if sum(1 for _ in islice(batches, self.batch)) < self.batch:
                raise ValueError(
                    f"the run had {self.batch} batches of epoch {self.epoch + 1} behind it, and "
                    "the loader has fewer now."
                )
            self.randomness.load_state_dict(now)
        while group := [*islice(batches, self.accumulate)]:
            self.over = len(group) < self.accumulate
            yield group
            if self.over:
                return

    def _set_rates(self) -> None:
        """The learning rates of the next step, from a function of the progress."""
        if isinstance(self.schedule, LRScheduler):
            return
        part = self.batch / self.batches if self.batches else 0.0
        done = (self.epoch + part) / self.epochs
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.schedule(done)

    def _step_schedule(self, schedule: LRScheduler) -> None:
        """The step of a schedule object after an epoch."""
        if not self.optimizer._steps:  # all were left out
            return
        if not isinstance(schedule, ReduceLROnPlateau):
            schedule.step()
            return
        name = self.monitor or ("val_loss" if "val_loss" in self.record else "loss")
        if name not in self.record:
            raise ValueError(f"monitor: the record has {', '.join(self.record)}; got {name!r}.")
        schedule.step(self.record[name])

    # ----- a step ----------------------------------------------------------------------------

    def _step(self, group: list[Any]) -> bool:
        """Count some batches, and make a step of the optimizer by them; whether it was made."""
        shared = is_shared_out(self.loader)
        parts = [self.ranks.part(batch, size_of(batch), shared) for batch in group]
        samples = sum(total for _, (_, _, total) in parts)
        if not all(total for _, (_, _, total) in parts):
            raise ValueError("the loader gave a batch without samples.")
        step = Sums()
        for k, ((inputs, labels), (first, end, total)) in enumerate(parts):
            with rows(first, end, total):
                # The gradients of all ranks are averaged, and are to be added up.
                share = (end - first) * self.ranks.size / samples
                self.ranks.average(self.model, last=k == len(parts) - 1)
                if self._compiled is None:
                    outputs = self._outputs(inputs)
                    if end > first:
                        loss, penalty = self._cost(outputs, labels)
                    else:
                        loss, penalty = nothing_of(outputs), None
                else:
                    numbers = _numbers(self.regularizer)
                    outputs, loss, penalty = self._compiled(inputs, labels, share, k == 0, numbers)
                sums = Sums()
                # Read before the step: a GPU then waits once, for what comes first anyway.
                self._count(sums, outputs, labels, loss.item())
                if penalty is not None:
                    sums.add("penalty", penalty.item() * (end - first), end - first)
                sums = self.ranks.total(sums)
                self.sums.take(sums)
                step.take(sums)
                value = sums.means()["loss"]
                self.step_loss = step.means()["loss"]
                if not math.isfinite(value):
                    if is_anomaly_enabled() and self._compiled is None:
                        self._backward(loss, 1, k == 0)  # which says where it began
                    raise DivergenceError(value, self.epoch + 1)
                if self._compiled is None:
                    self._backward(loss, share if end > first else 1, k == 0)
        return self._update()

    def _outputs(self, inputs: Any) -> Any:
        """What the model gives."""
        if self.scaler is None:
            return self.model(inputs)
        parameter = next(self.model.parameters())
        half = parameter.dtype == "float16"
        with autocast(parameter.device.type):
            outputs = self.model(mapped(as_half, inputs) if half else inputs)
        return mapped(as_single, outputs) if half else outputs

    def _cost(self, outputs: Any, labels: Any) -> tuple[Tensor, Tensor | None]:
        """What is to become small: the loss with the regularizer's term; and that term, if any."""
        loss = self.loss_fn(outputs, labels)
        if self.regularizer is None:
            return loss, None
        penalty = self.regularizer(self.model)
        return loss + penalty, penalty

    def _with_gradients(
        self, inputs: Any, labels: Any, share: float, first: bool, numbers: Any = None
    ) -> tuple[Any, Tensor, Tensor | None]:
        """Outputs, cost and penalty of a batch, with the gradients of the cost.

        For other `numbers` of the regularizer it is recorded anew.
        """
        outputs = self._outputs(inputs)
        loss, penalty = self._cost(outputs, labels)
        self._backward(loss, share, first)
        return outputs, loss, penalty

    def _backward(self, loss: Tensor, share: float, first: bool) -> None:
        """The gradients of a batch, whose samples are this share of those of the step."""
        if first:
            self.optimizer.zero_grad()
        if share != 1:
            loss = loss * share
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        loss.backward()

    def _update(self) -> bool:
        """The step of the optimizer; whether it was made."""
        optimizer, scaler = self.optimizer, self.scaler
        if scaler is not None:
            scaler.unscale_(optimizer)
        if self.clip_grad_norm is not None:
            clip_grad_norm_(optimizer._parameters(), self.clip_grad_norm)
        if self.clip_grad_value is not None:
            clip_grad_value_(optimizer._parameters(), self.clip_grad_value)
        before = optimizer._steps
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        if scaler is not None and optimizer._steps == before:
            return False
        if isinstance(self.regularizer, Regularizer):
            self.regularizer.project_(self.model, optimizer)
        return True

    def _undo(self) -> Callable[[], None]:
        """Note what a pass may change, and return what takes it back.

        A recording adds numbers in another order than the replays. It has no effect: the first pass
        is a replay too, lest a run that goes on, and records anew, comes to other bits.
        """
        buffers = [(buffer, buffer.detach().clone()) for buffer in self.model.buffers()]
        parameters = self.optimizer._parameters()
        gradients = [None if p.grad is None else p.grad.detach().clone() for p in parameters]
        randomness = Randomness(self.model, self.loss_fn)
        state = randomness.state_dict()

        def undo() -> None:
            for buffer, values in buffers:
                buffer.detach().copy_(values)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            randomness.load_state_dict(state)

        return undo

    # ----- measures --------------------------------------------------------------------------

    def evaluate(self, loader: Iterable[Any], *, return_dict: bool = False) -> Any:
        """The share of the samples that the model labels right, in evaluation mode.

        With `return_dict` a dict of "loss", "accuracy" and the metrics, and of a regularizer's
        "penalty", which is part of the loss; where there is no accuracy, the loss is returned.
        Nothing is recorded or changed, and random numbers go on as they would have. Raises
        ValueError for a loader without batches.
        """
        count_batches(loader)
        sums, _ = self._measure(loader)
        means = sums.means()
        return means if return_dict else means.get("accuracy", means["loss"])

    def predict(self, loader: Iterable[Any]) -> Any:
        """What the model gives for all samples, in their order and in evaluation mode.

        A batch is the inputs, or a list or tuple that begins with them. Nothing is recorded or
        changed. Raises ValueError for a loader without batches.

        >>> from tinygrad_cv import data, nn, optim, train
        >>> model = nn.Linear(3, 2)
        >>> trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
        >>> samples = data.TensorDataset([[1.0, 2.0, 3.0]] * 5)
        >>> trainer.predict(data.DataLoader(samples, batch_size=2)).shape
        (5, 2)
        """
        count_batches(loader)
        found = []
        with self._evaluating(loader):
            for batch in loader:
                inputs = batch[0] if isinstance(batch, list | tuple) else batch
                found.append(mapped(Tensor.detach, self._scores(inputs)))
        if not found:
            raise ValueError("the loader gave no batches.")
        return mapped(lambda *parts: cat(parts), *found)

    def update_bn(self, loader: Iterable[Any]) -> None:
        """Let the running statistics of batch norm be the mean and variance of all samples.

        As `optim.swa_utils.update_bn` with exact=True, for weights that were not the ones trained:
        averages, or those of another checkpoint. A batch is the inputs, or a list or tuple that
        begins with them. Random numbers go on as they would have, and several ranks measure the set
        together. Raises ValueError for a loader without batches.

        >>> from tinygrad_cv import data, nn, optim, train
        >>> model = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 2))
        >>> trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1))
        >>> samples = data.TensorDataset([[1.0], [2.0], [6.0]])
        >>> trainer.update_bn(data.DataLoader(samples, batch_size=2))
        >>> model[0].running_mean, model[0].running_var
        (tensor([3.]), tensor([7.]))
        """
        count_batches(loader)
        norms, ranks = running_norms(self.model, exact=True), Ranks()

        def batches() -> Iterator[Any]:
            shared = is_shared_out(loader)
            for batch in loader:
                inputs = batch[0] if isinstance(batch, list | tuple) else batch
                part, _ = ranks.part(inputs, samples_in(inputs), shared)
                if samples_in(part):
                    yield part

        with ranks.sharing(loader):
            if norms:
                with self._evaluating(loader):
                    whole_set_statistics(batches, self._outputs, norms, ranks.all)

    @contextmanager
    def _evaluating(self, loader: Any) -> Iterator[None]:
        with _modes_kept(self.model), no_grad(), Randomness(self.model, loader).kept():
            self.model.eval()
            yield

    def _measure(self, batches: Iterable[Any]) -> tuple[Sums, bool]:
        """What is counted over batches, and whether no score is NaN or the best infinite."""
        sums, sound, ranks = Sums(), True, Ranks()
        ranks.share_buffers(self.model)
        with self._evaluating(batches), ranks.sharing(batches):
            shared = is_shared_out(batches)
            penalty = None if self.regularizer is None else self.regularizer(self.model).item()
            for batch in batches:
                size = size_of(batch)
                if not shared:
                    batch, (first, end, _) = ranks.part(batch, size, shared)
                    size = end - first
                if not size:
                    continue
                inputs, labels = batch
                outputs = self._scores(inputs)
                loss = self.loss_fn(outputs, labels).item()
                self._count(sums, outputs, labels, loss + (penalty or 0.0))
                if penalty is not None:
                    sums.add("penalty", penalty * size, size)
                sound = sound and has_limits(outputs)
        sums, sound = ranks.total(sums), all(ranks.all(sound))
        if not sums.totals:
            raise ValueError("the loader gave no batches.")
        return sums, sound

    def _count(self, sums: Sums, outputs: Any, labels: Any, loss: float) -> None:
        """Add a batch to the sums: its loss, accuracy and metrics."""
        size, scores = samples_in(labels), next(tensors_in(outputs))
        if not size:
            return
        sums.add("loss", loss * size, size)
        if are_classes(labels, scores):
            sums.add("accuracy", int((scores.argmax(dim=1) == labels).sum()), labels.numel())
        if self.metrics:
            with no_grad():
                for name, metric in self.metrics.items():
                    sums.add(name, float(metric(scores.detach(), labels)) * size, size)

    def _is_sound(self, inputs: Any) -> bool:
        """Whether no score is NaN or the best infinite, in evaluation mode."""
        with self._evaluating(None):
            return has_limits(self._scores(inputs))

    def _check_finite(self, sound: bool = True) -> None:
        """Raise DivergenceError unless all that the optimizer learns is made of finite numbers."""
        if not (sound and all(bool(p.isfinite().all()) for p in self.optimizer._parameters())):
            raise DivergenceError(math.nan, self.epoch + 1)

    # ----- checkpoints -----------------------------------------------------------------------

    def save_checkpoint(self, path: str | PathLike[str]) -> None:
        """Write all that a run needs to go on to one file, whole or not at all.

        It holds the model, the optimizer, schedule, scaler, callbacks, the history, the position in
        the data, and every random state: those of `manual_seed`, of Python's `random` and of
        `numpy.random`, and of the generators that the model, the loader and the callbacks hold as
        attributes. In a callback it is the state between two steps; see `Checkpoint`, which calls
        this, and `fit(resume=...)`. `tinygrad_cv.load` shows what is in the file. Raises OSError
        where it cannot be written, and TypeError for a state that is no plain value. Of several
        ranks, which all have the same state, rank 0 writes.
        """
        if self.ranks.rank == 0:
            save_run(self, path)

    def load_checkpoint(self, path: str | PathLike[str]) -> None:
        """Take the model, the optimizer, the schedule and the scaler from a checkpoint.

        To evaluate, or to begin another `fit` from there; for the run itself to go on, give
        `fit(resume=path)`. Raises OSError if there is no such file, and ValueError, with nothing
        changed, if it is damaged, or of another model or optimizer.
        """
        restore(self, path, run=False)


# ----- modes and words ---------------------------------------------------------------------------


def _numbers(regularizer: Any) -> Any:
    """What a step that is recorded depends on beside its tensors."""
    return regularizer._numbers() if isinstance(regularizer, Regularizer) else id(regularizer)


@contextmanager
def _modes_kept(model: Module) -> Iterator[None]:
    """Put every module back into the mode, training or evaluation, that it is in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _shown(record: dict[str, float]) -> str:
    """A record as the bar shows it: "loss 0.0123, train 0.998, val 0.993"."""
    names = ["loss", *(name for name in ("train_accuracy", "val_accuracy") if name in record)]
    if "train_accuracy" not in record and "val_loss" in record:
        names.append("val_loss")
    return ", ".join(f"{n.removesuffix('_accuracy')} {record[n]:.3g}" for n in names)
