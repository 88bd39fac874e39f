"""What is looked at during the training."""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from tinygrad_cv._graph import observer
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.autograd.anomaly_mode import detect_anomaly
from tinygrad_cv.backend import host
from tinygrad_cv.nn import Module
from tinygrad_cv.nn.batchnorm import _BatchNorm
from tinygrad_cv.nn.dropout import _DropoutNd
from tinygrad_cv.optim import Optimizer
from tinygrad_cv.optim.lr_scheduler import LRScheduler, schedules_of
from tinygrad_cv.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from tinygrad_cv.train.batches import size_of
from tinygrad_cv.train.callbacks import Callback
from tinygrad_cv.train.health.before import told_by
from tinygrad_cv.train.health.finding import Finding, report, worst_first
from tinygrad_cv.train.health.kinds import found
from tinygrad_cv.train.health.looks import entropy, flattened, neighbours, uniform_weights
from tinygrad_cv.train.health.rules import RULES
from tinygrad_cv.train.health.seen import MANY, Seen
from tinygrad_cv.train.health.sight import Sight, is_finite, named_tensors, norm_of, rows_are_equal

if TYPE_CHECKING:
    from tinygrad_cv.train.trainer import Trainer

SAMPLES = 512
"""Those whose neighbours are looked at."""

WINDOW = 100
"""The steps of a loop of one's own after which units that slept all along are dead."""


class Health(Callback):
    """Looks on while a model is trained, and tells what is wrong with the run.

    As a callback, `Trainer.fit(..., callbacks=[health])`. In a loop of one's own each step, with
    its forward and backward pass and its update, is done inside `with health.step():`, and the
    model, a Module or a dict of tensors, is given here. `findings` are at any time what there is to
    say, the worst first, and `report()` says it; a healthy run gives nothing worse than a note.

    It tells of a loss that does not move, or is over 3 times the first, or NaN or infinite (and of
    the op, layer, line and index where that began, forward or backward); of a gap between training
    and validation; of updates that are far from 1e-3 of the weights; of units that are dead over
    all samples, saturated or all equal; of batch norm in the wrong mode; of parameters that never
    get a gradient, or but add them up since nobody calls `zero_grad`; of steps that update nothing;
    of a schedule that is not stepped; of inputs that are not centred, a softmax applied twice, a
    loss that is summed over the batch, labels that do not belong to the inputs, and one prediction
    for all.

    With `stop`, a cost over 3 times the first, or one that is not finite, ends a fit after that
    step. In a loop of one's own a NaN then ends the step with the error of
    `autograd.detect_anomaly`, and for the cost there is `should_stop` to ask. Without `stop`
    nothing is ended, and of a NaN there it is not told where it began; a loop with a `GradScaler`
    is looked at so, since infinite gradients are no error in it.

    Steps 0, 1, 2, 4, 8, ... and each of `every` are looked at closely; these take two to three
    times as long, the others next to nothing, except for that `detect_anomaly`. A compiled Trainer
    is looked at by a pass aside, at the steps that are powers of 2, and neither dead units nor
    gradients that nobody clears are seen there. Of several ranks each looks at its part of the
    batch. A resumed run goes on with what was seen.

    Raises ValueError if `every` is less than 1, TypeError if a step is made without a model.

    Source: the decks of the course on babysitting the learning process.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import nn, optim, train
    >>> generator = tg.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> optimizer = optim.SGD(model.parameters(), lr=1e-6)
    >>> health = train.Health(model)
    >>> x = tg.randn(64, 2)
    >>> for _ in range(40):
    ...     with health.step():
    ...         optimizer.zero_grad()
    ...         tg.cross_entropy(model(x), (x[:, 0] > 0).long()).backward()
    ...         optimizer.step()
    >>> print(health.report())
    1 warning, 1 note
    warning: loss_not_moving at step 39
      seen:  the loss went from ... to ... in 40 steps at rate 1e-06; an update changes ...
             by ... of its size
      means: the learning rate is too low
      try:   raise it tenfold at a time, until the loss goes down (...)
    note: update_ratio at step 39, in ...
    """

    def __init__(
        self,
        model: Module | dict[str, Tensor] | None = None,
        optimizer: Optimizer | None = None,
        *,
        every: int = 50,
        stop: bool = True,
    ) -> None:
        if every < 1:
            raise ValueError(f"every is at least 1 step; got {every}.")
        self.model, self.every, self.stop = model, every, stop
        self.given = [] if optimizer is None else [optimizer]
        self.should_stop = False
        """Whether the run is spoiled."""
        self._begin()

    def _begin(self) -> None:
        self.seen = Seen()
        self.should_stop = False
        self.optimizers = list(self.given)
        self._names: dict[str, Tensor] | None = None
        self._awake: dict[str, Any] = {}
        self._rows: list[tuple[Any, Any]] = []
        self._counts: dict[str, int] = {}
        self._stale: set[int] = set()  # the parameters whose gradients made an update already
        self._by_trainer = False
        self._strangers: dict[int, str] = {}
        self._known: set[int] = set()  # by the optimizers that made steps, of other models too
        self._windows = True  # until it is told where epochs end
        self._schedules: WeakKeyDictionary[LRScheduler, tuple[float, int]] = WeakKeyDictionary()

    # ----- what is told ----------------------------------------------------------------------

    @property
    def findings(self) -> list[Finding]:
        """What there is to say by now, the worst first."""
        seen = self.seen
        if not self._by_trainer and not seen.records and not seen.asleep and seen.steps >= 10:
            seen.close_window(self._awake, seen.samples)
            told = [finding for rule in RULES for finding in rule(seen)]
            seen.asleep = {}  # the window goes on
        else:
            told = [finding for rule in RULES for finding in rule(seen)]
        live = (*self._told_schedules(), *self._told_strangers())
        return worst_first([*seen.events.values(), *told, *live])

    def report(self) -> str:
        """The findings as text."""
        return report(self.findings)

    def _tell(self, finding: Finding) -> None:
        """Keep a finding, the first of its kind and place; of a NaN where it began."""
        place = "" if finding.kind == "not_finite" else finding.key
        self.seen.events.setdefault(f"{finding.kind} {place}", finding)

    def _told_strangers(self) -> Iterator[Finding]:
        """Parameters that get gradients, of which neither the model nor an optimizer knows."""
        shapes = [shape for own, shape in self._strangers.items() if own not in self._known]
        if shapes and self.seen.updates:
            more = f" and {len(shapes) - 4} more" if len(shapes) > 4 else ""
            yield found(
                "not_registered",
                f"parameters of shape {', '.join(shapes[:4])}{more} get gradients, and are neither "
                "the model's nor an optimizer's",
            )

    def _told_schedules(self) -> Iterator[Finding]:
        """Schedules that were made, and not stepped, or too often."""
        enough = len(self.seen.records) >= 2 if self._by_trainer else self.seen.updates >= 10
        for schedule, (epoch, steps) in self._schedules.items():
            count = _epoch_of(schedule) - epoch
            made = schedule.optimizer._steps - steps
            name = f"{type(schedule).__name__} was stepped"
            if enough and made >= 2 and not count:
                yield found(
                    "scheduler_never_stepped",
                    f"{name} not once in {made} steps of its optimizer",
                    step=self.seen.steps - 1,
                )
            elif made >= 2 and count > made + 1:
                yield found(
                    "scheduler_too_often",
                    f"{name} {count:g} times in {made} steps of its optimizer",
                    step=self.seen.steps - 1,
                )

    # ----- as a callback ---------------------------------------------------------------------

    def on_fit_start(self, trainer: "Trainer") -> None:
        """Begin anew, or go on."""
        if not trainer.resumed:
            self._begin()
        self.model, self._names, self._by_trainer = trainer.model, None, True
        self.optimizers = [trainer.optimizer]

    def around_step(
        self, trainer: "Trainer", batches: Sequence[Any]
    ) -> AbstractContextManager[object]:
        """Look on."""
        return _Step(self, trainer, batches)

    def on_epoch_start(self, trainer: "Trainer") -> None:
        """Count the dead units of this epoch anew."""
        self._awake, self.seen.samples = {}, 0

    def on_epoch(self, trainer: "Trainer") -> None:
        """Look at the record, and at the units that slept all through the epoch."""
        record = {k: v for k, v in trainer.record.items() if isinstance(v, float | int)}
        self.seen.records.append({name: float(value) for name, value in record.items()})
        # Of a program but some batches were looked at, and a unit may wake in another one.
        awake = self._awake if trainer._compiled is None else {}
        samples = self.seen.samples
        if trainer.ranks.size > 1:
            told = trainer.ranks.all(({k: v.tolist() for k, v in awake.items()}, samples))
            samples = sum(own for _, own in told)
            awake = {
                key: host.array([units[key] for units, _ in told if key in units]).any(axis=0)
                for key in awake
            }
        self.seen.asleep = {}
        self.seen.close_window(awake, samples)
        self._meet_neighbours()

    def state_dict(self) -> dict[str, Any]:
        self.seen.awake = {key: units.tolist() for key, units in self._awake.items()}
        text = self.seen.to_json().encode()
        return {"seen": host.frombuffer(text, "uint8"), "counts": self._counts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seen = Seen.from_json(state_dict["seen"].tobytes().decode())
        self._awake = {key: host.array(units) for key, units in self.seen.awake.items()}
        self._counts = dict(state_dict["counts"])

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: all but the schedules, which are known by weak references."""
        return {name: value for name, value in vars(self).items() if name != "_schedules"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._schedules = WeakKeyDictionary()

    # ----- a loop of one's own ---------------------------------------------------------------

    def epoch(self, **record: float) -> None:
        """Note the end of an epoch of a loop of one's own, and what was measured.

        By the names of a Trainer's record: loss, train_accuracy, val_loss, val_accuracy. Of them
        the gap is told, and units are dead that gave 0 all through the epoch.

        >>> from tinygrad_cv import nn, train
        >>> health = train.Health(nn.Linear(2, 2))
        >>> health.epoch(train_accuracy=0.98, val_accuracy=0.71)
        >>> print(health.findings[0].seen)
        accuracy 98.0% in training, 71.0% in validation, a gap of 27.0%
        """
        seen = self.seen
        seen.records.append({name: float(value) for name, value in record.items()})
        seen.asleep = {}
        seen.close_window(self._awake, seen.samples)
        self._awake, seen.samples, self._windows = {}, 0, False

    def step(self) -> AbstractContextManager[object]:
        """The `with` block of one training step: forward, backward and update."""
        if self.model is None:
            raise TypeError("Health(model) is told what it is to look at: the model is None.")
        return _Step(self)

    def _parameters(self) -> dict[str, Tensor]:
        """The parameters by their names; those that wait for a gradient are noted once."""
        if self._names is None:
            self._names = dict(named_tensors(self.model))
            modules = self.model.named_modules() if isinstance(self.model, Module) else ()
            self._paths = {id(module): path for path, module in modules}
            self._ids = {id(parameter): name for name, parameter in self._names.items()}
            if not self.seen.steps:
                learning = (n for n, p in self._names.items() if p.requires_grad)
                self.seen.waiting = dict.fromkeys(learning, "none")
        return self._names

    def _optimized(self) -> set[int]:
        """Whose parameters an optimizer has, by their ids."""
        groups = (group for known in self.optimizers for group in known.param_groups)
        return {id(parameter) for group in groups for parameter in group["params"]}

    def _norms(self) -> Iterator[tuple[str, _BatchNorm]]:
        """The batch norms that keep running statistics."""
        for path, module in self.model.named_modules() if isinstance(self.model, Module) else ():
            if isinstance(module, _BatchNorm) and module.num_batches_tracked is not None:
                yield path, module

    def _is_close(self) -> bool:
        """Whether this step is looked at closely: 0, 1, 2, 4, 8, ... and each of `every`."""
        step = self.seen.steps
        return step & (step - 1) == 0 or step % self.every == 0

    def _stop(self, trainer: "Trainer | None") -> None:
        """The run is spoiled."""
        self.should_stop = True
        if trainer is not None and self.stop:
            trainer.should_stop = True

    def _hear(self, loss: float, trainer: "Trainer | None") -> None:
        """Note the loss of a step."""
        seen = self.seen
        seen.lose(loss)
        if not math.isfinite(loss):
            self._tell(found("not_finite", f"the loss became {loss}", step=seen.steps))
            self._stop(trainer)
            return
        # The first loss of few samples is as it falls out.
        first = seen.first[0] if seen.rows >= MANY else max(seen.first[:5])
        seen.beyond = seen.beyond + 1 if 0 < 3 * first < loss else 0
        if seen.beyond >= 3 or 0 < 30 * first < loss:
            alone = trainer is None or trainer.ranks.size == 1  # others have seen other labels
            unknowing = _unknowing(seen) if alone else None
            if unknowing is None or loss > 3 * unknowing:
                text = f"the cost is {loss:.6g}, and was {first:.6g} at first"
                self._tell(found("cost_exploded", text, step=seen.steps))
                self._stop(trainer)

    def _meet_neighbours(self) -> None:
        """Compare the labels of samples that are near each other."""
        if self.seen.neighbours is None and self._rows:
            inputs, labels = zip(*self._rows, strict=True)
            if len({part.shape[1:] for part in inputs}) == 1:
                self.seen.neighbours = neighbours(
                    host.concatenate(inputs), host.concatenate(labels)
                )

    # ----- what a close look tells -----------------------------------------------------------

    def _take(self, sight: Sight, modes: tuple[bool, bool]) -> None:
        """Note what was seen at a close look."""
        seen, step = self.seen, self.seen.steps
        seen.called = sorted({*seen.called, *sight.called})
        self._strangers |= sight.strangers
        for finding in told_by(sight, step):
            self._tell(finding)
        for key, (share, op, where) in sight.saturated.items():
            times = seen.saturated[key][0] if key in seen.saturated else 0
            seen.saturated[key] = (times + 1 if share > 0.5 else 0), share, op, where, step
        if sight.scores is not None:
            self._take_scores(*sight.scores, sight.rows)
        self._take_modes(sight, modes)

    def _take_scores(self, best: Any, labels: Any, rows: Any) -> None:
        """Note the classes of a batch, as they are predicted and as they are."""
        seen = self.seen
        for label, count in zip(*host.unique(labels, return_counts=True), strict=True):
            seen.labels[str(label)] = seen.labels.get(str(label), 0) + int(count)
        one = len(labels) >= 8 and bool((best == best[0]).all() and (labels != labels[0]).any())
        times = seen.constant[0] if seen.constant else 0
        seen.constant = [times + 1, len(labels), int(best[0])] if one else []
        if rows is not None and len(rows) == len(labels):
            room = SAMPLES - sum(len(known) for _, known in self._rows)
            if room > 0 and seen.neighbours is None:
                self._rows.append((flattened(rows[:room]), labels[:room].copy()))
                self._meet_neighbours()

    def _take_modes(self, sight: Sight, modes: tuple[bool, bool]) -> None:
        """Tell of layers that are in evaluation mode while the model learns."""
        training, drops = modes
        norms = {
            path: (module, where)
            for path, (module, where) in sight.norms.items()
            if (module.weight is not None and module.weight.requires_grad)
            or _batches(module) == 0
            or (module.weight is None and not training)
        }
        if training and not norms:
            return
        new = any(_batches(module) <= 0 for module, _ in norms.values())
        path, (_, where) = next(iter(norms.items())) if norms else ("", (None, ""))
        layers = [f"{path} ({type(module).__name__})" for path, (module, _) in norms.items()]
        told = ", ".join(layers[:4]) + (f" and {len(layers) - 4} more" if len(layers) > 4 else "")
        what = f"; {told} use running statistics" if told else ""
        harmless = not training and not norms and not drops
        self._tell(
            found(
                "eval_mode",
                f"{'the layer' if training else 'the model'} is in evaluation mode in a training "
                f"step{what}",
                level="warning" if new or not training else "note",
                means="this model has neither batch norm nor dropout, so nothing comes of it; one "
                "that has learns with running statistics, and without dropout"
                if harmless
                else None,
                step=self.seen.steps,
                where=where,
                key=path,
            )
        )


def _batches(norm: _BatchNorm) -> int:
    """How many batches the running statistics are of; -1 if that is not counted."""
    return -1 if norm.num_batches_tracked is None else int(norm.num_batches_tracked)


def _epoch_of(schedule: LRScheduler) -> float:
    """How far a schedule is."""
    parts = getattr(schedule, "_schedulers", [])
    return max([getattr(schedule, "last_epoch", 0), *map(_epoch_of, parts)])


def _unknowing(seen: Seen) -> float | None:
    """The loss of who knows the frequencies of the labels alone."""
    return entropy(seen.labels) if sum(seen.labels.values()) >= 30 else None


class _Step:
    """One step of a training."""

    def __init__(
        self, health: Health, trainer: "Trainer | None" = None, batches: Sequence[Any] = ()
    ) -> None:
        self.health, self.trainer, self.batches = health, trainer, batches
        self.sight: Sight | None = None
        self.began = False

    def __enter__(self) -> None:
        health, trainer = self.health, self.trainer
        names = health._parameters()
        self.close = health._is_close()
        for path, norm in health._norms():
            count, layer = _batches(norm), f"{path} ({type(norm).__name__})"
            if count > health._counts.get(path, count) and norm.momentum is not None:
                text = f"{layer} saw batches in training mode between two training steps"
                health._tell(
                    found("train_mode", text, step=health.seen.steps, where=layer, key=path)
                )
        model = health.model
        self.modes = True, False
        if isinstance(model, Module) and not model.training:
            drops = any(isinstance(m, _DropoutNd) and m.p > 0 for m in model.modules())
            self.modes = False, drops
        if self.close:
            self.before = {
                name: parameter.detach().clone()
                for name, parameter in names.items()
                if parameter.requires_grad and parameter.ndim > 1
            }
        self.stack = ExitStack()
        compiled = trainer is not None and trainer._compiled is not None
        if compiled:
            if self.close and health.seen.steps & (health.seen.steps - 1) == 0:
                self._look_aside()
        else:
            if trainer is None and health.stop:
                self.stack.enter_context(detect_anomaly())
            slept = any(not units.all() for units in health._awake.values())
            if trainer is None or self.close or slept:
                self.sight = self._new_sight()
                token = observer.set(self.sight)
                self.stack.callback(observer.reset, token)
        self.stack.enter_context(register_optimizer_step_pre_hook(self._updating))
        self.stack.enter_context(register_optimizer_step_post_hook(self._updated))

    def _new_sight(self) -> Sight:
        health = self.health
        return Sight(
            observer.get(), health._paths, health._ids, health._awake, self.close, self._begins
        )

    def _begins(self) -> None:
        """A backward pass begins: look whether gradients of the last update are still there."""
        self.began = True
        stale = self.health._stale
        for parameter in self.health._parameters().values() if stale else ():
            gradient = parameter.grad
            if gradient is None or not bool((gradient != 0).any()):
                stale.discard(id(parameter))

    def _updating(self, optimizer: Optimizer, args: Any, options: Any) -> None:
        """Look at the gradients that an update is about to be made by."""
        with host.errstate(all="ignore"):
            self._look_at_gradients(optimizer)

    def _look_at_gradients(self, optimizer: Optimizer) -> None:
        health, seen = self.health, self.health.seen
        names = health._parameters()
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        health._known |= own
        if own.isdisjoint(health._ids):
            return
        if not any(optimizer is known for known in health.optimizers):
            health.optimizers.append(optimizer)
        for schedule in schedules_of(optimizer):
            if schedule not in health._schedules:
                health._schedules[schedule] = _epoch_of(schedule), optimizer._steps
        rate = float(optimizer.param_groups[0]["lr"])
        seen.rates = [*(seen.rates[:1] or [rate]), rate]
        for name in [*seen.waiting]:
            gradient = names[name].grad if name in names else None
            if gradient is not None:
                if bool((gradient != 0).any()):
                    del seen.waiting[name]
                else:
                    seen.waiting[name] = "zeros"
        if self.began and not own.isdisjoint(health._stale):
            seen.unclean += 1
        if self.close:
            self._compare_rows(own)
        bad = next(
            (n for n, p in names.items() if p.grad is not None and not is_finite(p.grad)), None
        )
        if bad is not None:
            text = f"the gradient of {bad} is not finite"
            if not self._explain(backward=True, step=seen.steps):
                path = bad.rpartition(".")[0]
                health._tell(found("not_finite", text, step=seen.steps, where=path or bad, key=bad))
            health._stop(self.trainer)

    def _compare_rows(self, own: set[int]) -> None:
        """Look for layers whose units are all equal, and have equal gradients."""
        seen = self.health.seen
        if not seen.updates:
            seen.uniform = uniform_weights(self.health._parameters())
        for name, parameter in self.health._parameters().items():
            if id(parameter) not in own or parameter.ndim < 2 or len(parameter) < 2:
                continue
            gradient = parameter.grad
            alike = gradient is not None and rows_are_equal(parameter) and rows_are_equal(gradient)
            seen.alike[name] = seen.alike.get(name, 0) + 1 if alike else 0

    def _updated(self, optimizer: Optimizer, args: Any, options: Any) -> None:
        known = [p for group in optimizer.param_groups for p in group["params"]]
        if not self.health._ids.keys().isdisjoint(map(id, known)):
            self.health.seen.updates += 1
            self.health._stale |= {id(p) for p in known if p.grad is not None}

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self.stack.close()
        with host.errstate(all="ignore"):
            self._conclude(error)

    def _conclude(self, error: BaseException | None) -> None:
        """Note what the step has shown."""
        health, seen, trainer = self.health, self.health.seen, self.trainer
        if error is not None:
            self._fail(error)
            return
        if trainer is not None:
            loss: float | None = trainer.step_loss
        else:
            loss = sum(self.sight.losses) if self.sight and self.sight.losses else None
        if self.sight is not None:
            seen.places.update(self.sight.places)
            if self.close:
                health._take(self.sight, self.modes)
        if not seen.steps:
            inputs = self.sight.rows if self.sight is not None else None
            seen.rows = MANY if inputs is None or not inputs.ndim else len(inputs)
            if trainer is not None:
                seen.rows = sum(map(size_of, self.batches)) * trainer.ranks.size
        if loss is not None:
            health._hear(loss, trainer)
        if self.close:
            self._measure_updates()
        for path, norm in health._norms():
            health._counts[path] = _batches(norm)
        seen.steps += 1
        self._count_samples()

    def _count_samples(self) -> None:
        """Count the samples of the window, and begin a new one when it is over."""
        health, seen = self.health, self.health.seen
        if self.trainer is not None:
            seen.samples += sum(map(size_of, self.batches))
            if len(seen.records) == 0 and self.trainer.batch < 10 < 30 <= (
                self.trainer.batches or 0
            ):
                health._awake, seen.samples = {}, 0  # the first steps throw units about
            return
        assert self.sight is not None
        seen.samples += self.sight.samples
        if health._windows and seen.steps % WINDOW == 0:
            seen.asleep = {}
            seen.close_window(health._awake, seen.samples)
            health._awake, seen.samples = {}, 0

    def _measure_updates(self) -> None:
        """Note how much an update changed the weights, for their size."""
        health, seen = self.health, self.health.seen
        names = health._parameters()
        for name, before in self.before.items():
            old = before.numpy()
            size = norm_of(old)
            if not size and not seen.steps:
                seen.zeros.append(name)
            if name in seen.zeros:
                # All that it is are updates; where all weights are so, .01 randn is its size.
                if len(seen.zeros) < len(self.before):
                    continue
                size = max(size, 0.01 * math.sqrt(old.size))
            if not size or name not in names:
                continue
            change = norm_of(names[name].detach().numpy() - old) / size
            if seen.steps:  # the first update is made from weights that know nothing
                seen.ratios[name] = [*seen.ratios.get(name, [])[-7:], change]
                seen.peaks[name] = max(seen.peaks.get(name, 0.0), change)
        known = health._optimized()
        if health.optimizers:
            seen.lonely = [n for n, p in names.items() if p.requires_grad and id(p) not in known]

    # ----- NaN -------------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        """Tell of an error that ended the step, if it is of a number that is not finite."""
        health, step = self.health, self.health.seen.steps
        anomaly = getattr(error, "anomaly", None)
        if anomaly is not None:
            self._tell_anomaly(anomaly, step)
            health._stop(None)
        elif isinstance(error, ArithmeticError) and self.trainer is not None:
            if not self._explain(backward=False, step=step):
                health._tell(found("not_finite", str(error), step=step))
            health._stop(None)

    def _tell_anomaly(self, anomaly: Any, step: int) -> None:
        told = found(
            "not_finite",
            f"{anomaly.during}: {anomaly}".removesuffix(f" ({anomaly.where})"),
            step=step,
            where=anomaly.where,
            key=anomaly.layer.partition(" ")[0],
        )
        self.health._tell(told)

    def _explain(self, backward: bool, step: int) -> bool:
        """Do the step once more, aside, to find out where the NaN began."""
        trainer = self.trainer
        if trainer is None or trainer.ranks.size > 1 or trainer.scaler is not None:
            return False
        for batch in self.batches:
            try:
                with self._aside(trainer), detect_anomaly():
                    inputs, labels = batch
                    trainer._with_gradients(inputs, labels, 1.0, True)
            except RuntimeError as error:
                anomaly = getattr(error, "anomaly", None)
                if anomaly is not None:
                    self._tell_anomaly(anomaly, step)
                    return True
        return False

    @contextmanager
    def _aside(self, trainer: "Trainer") -> Iterator[None]:
        """A block after which buffers, gradients and random states are as they were."""
        undo = trainer._undo()
        try:
            yield
        finally:
            undo()

    def _look_aside(self) -> None:
        """Look at a pass of its own, where the Trainer's is a program."""
        trainer = self.trainer
        assert trainer is not None
        sight = self._new_sight()
        token = observer.set(sight)
        try:
            with self._aside(trainer):
                inputs, labels = self.batches[0]
                trainer._with_gradients(inputs, labels, 1.0, True)
        finally:
            observer.reset(token)
        self.began = False  # which was aside
        self.sight = sight
