"""PyTorch's own samples of its modules, and the same modules built and called here.

`MODULES` are PyTorch's module classes by name, `difference` makes one of the samples in both
libraries: the constructor, the repr, the keys, shapes and dtypes of the state, the state loaded
from PyTorch's, the result, what the call leaves in the buffers, and the gradients of the inputs and
of the parameters. From the shell,

    python -m tests.beside_torch.module_db Conv LSTM      # every class named so

lists the samples that fail.
"""

import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch

import tinygrad_cv as tg
from tinygrad_cv import nn

from .module_db_known import ABSENT, KNOWN, KNOWN_ACCEPTED
from .op_db import (
    Difference,
    ForeignError,
    Pairs,
    array_of,
    derivatives,
    first_line,
    leaves,
    our_dtype,
    show,
    unlike,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import ModuleErrorEnum, module_db
    from torch.testing._internal.common_utils import set_rng_seed

MODULES: dict[str, Any] = {info.module_cls.__name__: info for info in module_db}
HERE = [name for name in MODULES if hasattr(nn, name)]


class Sample(NamedTuple):
    """A constructor, a call, and the mode in which it is made; `fails` in a sample of an error."""

    construct: Any
    call: Any
    training: bool
    fails: str = ""

    def __str__(self) -> str:
        parts = [shown(self.construct)]
        if self.call is not None:
            parts.append(shown(self.call))
        return " of ".join(parts) + ("" if self.training else ", eval")


def shown(call: Any) -> str:
    """The arguments in a line."""
    options = [f"{key}={show(value)}" for key, value in call.kwargs.items()]
    return f"({', '.join([*map(show, call.args), *options])})"


class ModulePairs(Pairs):
    """The arguments for both libraries; among them modules and functions."""

    def of(self, value: Any) -> tuple[Any, Any]:
        if isinstance(value, torch.nn.Module):
            return value, _ours_of(value)
        if value is torch.nn.functional.gelu:
            return value, nn.functional.gelu
        if type(value).__name__ == "LinearCrossEntropyOptions":
            return value, nn.LinearCrossEntropyOptions(**asdict(value))
        return super().of(value)


def _ours_of(module: Any) -> Any:
    """The module that was built of the same arguments; with the same state."""
    args, options = module.built_of
    _, (args, options) = ModulePairs().of([args, options])
    mine = getattr(nn, type(module).__name__)(*args, **options)
    mine.load_state_dict(_state(module))
    return mine


def _state(module: Any) -> dict[str, Any]:
    return {
        name: tg.Tensor(tensor.numpy(force=True)) for name, tensor in module.state_dict().items()
    }


@cache
def samples(name: str) -> list[Sample]:
    """The samples of a class, in both modes, drawn from a fixed seed."""
    found = []
    layer = torch.nn.TransformerEncoderLayer
    build = layer.__init__

    def recording(self: Any, *args: Any, **options: Any) -> None:
        build(self, *args, **options)
        self.built_of = (args, options)

    with warnings.catch_warnings(), mock.patch.object(layer, "__init__", recording):
        warnings.simplefilter("ignore")
        for training in (True, False):
            info = MODULES[name]
            set_rng_seed(0)
            for sample in info.module_inputs_func(
                info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
            ):
                given = (sample.constructor_input, sample.forward_input)
                found.append(Sample(*given, training))
    return found


# ----- a comparison ------------------------------------------------------------------------------


def difference(name: str, sample: Sample, orders: tuple[int, ...] = (1, 2)) -> Difference | None:
    """Where our module parts from PyTorch's; None where it does not."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return _difference(name, sample, orders)
        except ForeignError as error:
            return Difference(0, f"no counterpart of {error}")


def _built(name: str, construct: Any) -> tuple[Any, Any]:
    """PyTorch's module and ours, in float64."""
    pairs = ModulePairs()
    (args, options), (our_args, our_options) = pairs.of([construct.args, construct.kwargs])
    set_rng_seed(0)
    theirs = MODULES[name].module_cls(*args, **options).to(torch.float64)
    return theirs, getattr(nn, name)(*our_args, **our_options).to(tg.float64)


def _difference(name: str, sample: Sample, orders: tuple[int, ...]) -> Difference | None:
    info = MODULES[name]
    try:
        theirs, mine = _built(name, sample.construct)
    except ForeignError:
        raise
    except Exception as error:
        return Difference(0, f"constructor: {type(error).__name__}: {first_line(error)}")
    theirs.train(sample.training)
    mine.train(sample.training)
    # The last layer of an attention has a class of its own there, for the sake of quantization.
    if repr(mine) != (shown := repr(theirs).replace("NonDynamicallyQuantizable", "")):
        return Difference(0, f"repr {mine!r}, not {shown}")
    pairs = ModulePairs()
    (args, options), (our_args, our_options) = pairs.of(
        [sample.call.args, sample.call.kwargs] if sample.call else [(), {}]
    )
    if name == "CTCLoss":  # PyTorch's gradient is right behind a log_softmax alone
        args = [torch.log_softmax(args[0], 2), *args[1:]]
        our_args = [tg.log_softmax(our_args[0], 2), *our_args[1:]]
    if info.is_lazy:
        theirs(*args, **options)
        mine(*our_args, **our_options)
    if what := _unlike_states(mine, theirs):
        return Difference(0, what)
    try:
        mine.load_state_dict(_state(theirs))
    except Exception as error:
        return Difference(0, f"load_state_dict: {type(error).__name__}: {first_line(error)}")
    other = MODULES[name].module_cls(*sample.construct.args, **sample.construct.kwargs)
    random = _is_random(other, theirs, sample)
    set_rng_seed(0)
    expected = theirs(*args, **options)
    try:
        result = mine(*our_args, **our_options)
    except Exception as error:
        return Difference(0, f"{type(error).__name__}: {first_line(error)}")
    if what := unlike(result, expected, values=not random):
        return Difference(0, what)
    if random:
        return None
    for key, (a, b) in _paired(mine.state_dict(), theirs.state_dict()).items():
        if what := unlike(a, b):
            return Difference(0, f"{key} after the call: {what}")
    learned = _paired(dict(mine.named_parameters()), dict(theirs.named_parameters()))
    inputs = [*pairs.differentiated(), *((b, a) for a, b in learned.values() if b.requires_grad)]
    orders = tuple(n for n in orders if n == 1 or info.supports_gradgrad)
    return derivatives(inputs, list(leaves(result)), list(leaves(expected)), orders)


def _is_random(module: Any, like: Any, sample: Sample) -> bool:
    """Whether two calls of PyTorch's module draw different numbers."""
    module = module.to(torch.float64).train(sample.training)
    results = []
    for seed in (1, 2):
        set_rng_seed(seed)
        args, options = (sample.call.args, sample.call.kwargs) if sample.call else ((), {})
        module(*args, **options)  # lazy ones get their shapes
        module.load_state_dict(like.state_dict())
        set_rng_seed(seed)
        results.append([array_of(y) for y in leaves(module(*args, **options)) if y is not None])
    return any(not np.array_equal(a, b, True) for a, b in zip(*results, strict=True))


def _paired(mine: dict[str, Any], theirs: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {key: (mine[key], theirs[key]) for key in theirs}


def _unlike_states(mine: Any, theirs: Any) -> str | None:
    a, b = mine.state_dict(), theirs.state_dict()
    if list(a) != list(b):
        return f"keys {[*a]}, not {[*b]}"
    for key, (x, y) in _paired(a, b).items():
        if tuple(x.shape) != tuple(y.shape) or x.dtype != our_dtype(y.dtype):
            return f"{key} is {x.dtype} {x.shape}, not {y.dtype} {tuple(y.shape)}"
    if [*dict(mine.named_parameters())] != [*dict(theirs.named_parameters())]:
        return "other parameters"
    return None


# ----- what PyTorch refuses ----------------------------------------------------------------------


@cache
def refused(name: str) -> list[Sample]:
    """The samples that PyTorch refuses."""
    info = MODULES[name]
    if info.module_error_inputs_func is None:
        return []
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for training in (True, False):
            set_rng_seed(0)
            for error in info.module_error_inputs_func(
                info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
            ):
                sample = error.module_error_input
                call = error.error_on is ModuleErrorEnum.FORWARD_ERROR
                given = (sample.constructor_input, sample.forward_input if call else None)
                found.append(Sample(*given, training, error.error_regex))
    return found


def acceptance(name: str, sample: Sample) -> str | None:
    """What goes through here though PyTorch refuses it, or fails without saying why."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            _, (args, options) = ModulePairs().of([sample.construct.args, sample.construct.kwargs])
            called = sample.call is not None
            _, (x, more) = ModulePairs().of(
                [sample.call.args, sample.call.kwargs] if called else [(), {}]
            )
        except ForeignError:
            return None
        try:
            module = getattr(nn, name)(*args, **options)
        except (TypeError, ValueError, RuntimeError) as error:
            if "__init__()" in str(error):  # it does not know an argument
                return f"constructor: {error}"
            return None if str(error) else f"{type(error).__name__} with no message"
        except Exception as error:
            return f"constructor: {type(error).__name__}: {error}"
        if not called:
            return "is constructed"
        try:
            module.to(tg.float64).train(sample.training)(*x, **more)
        except (TypeError, ValueError, RuntimeError, LookupError) as error:
            return None if str(error) else f"{type(error).__name__} with no message"
        except Exception as error:
            return f"{type(error).__name__}: {first_line(error)}"
        return "goes through"


# ----- the table ---------------------------------------------------------------------------------


@cache
def failures(name: str, device: str = "cpu") -> dict[int, Difference]:
    """The samples of a class that fail, by their place in the list; `device` is the default."""
    assert device == tg.get_default_device()
    found = {}
    for i, sample in enumerate(samples(name)):
        different = difference(name, sample, (1, 2) if sample.training else (1,))
        if different is not None:
            found[i] = different
    return found


def unexplained(name: str, device: str = "cpu") -> dict[int, Difference]:
    """Those of the failures that have no reason in module_db_known."""
    return {
        i: different
        for i, different in failures(name, device).items()
        if not any(k.explains(name, samples(name)[i], different.order) for k in KNOWN)
    }


def unduly_accepted(name: str) -> list[str]:
    """The calls that are accepted here for no reason in module_db_known."""
    return [
        f"{sample}: {what}, expected {sample.fails!r}"
        for sample in refused(name)
        if (what := acceptance(name, sample))
        and not any(known.explains(name, sample) for known in KNOWN_ACCEPTED)
    ]


def lines(names: list[str]) -> Iterator[str]:
    """The failures of the classes of those names."""
    for name in names:
        by_kind: dict[str, list[int]] = {}
        for i, different in unexplained(name).items():
            by_kind.setdefault(str(different)[:60], []).append(i)
        if by_kind:
            yield f"{name}: {len(unexplained(name))} of {len(samples(name))} fail"
        for places in by_kind.values():
            sample = samples(name)[places[0]]
            yield f"    {len(places)} x {failures(name)[places[0]]}  [{places[0]}: {sample}]"
        for call in unduly_accepted(name):
            yield f"    {name}: PyTorch refuses {call}"


def main(patterns: list[str]) -> None:
    """Print the samples that fail of the classes that hold one of the patterns, or of all."""
    torch.set_num_threads(1)
    names = [name for name in HERE if not patterns or any(p in name for p in patterns)]
    for line in lines(names):
        print(line)
    total = sum(len(samples(name)) for name in names)
    failing = sum(len(failures(name)) for name in names)
    print(f"\n{len(names)} classes: {total - failing} of {total} samples agree.")
    if not patterns:
        print("Not here:", *(name for name in MODULES if name not in {*HERE, *ABSENT}))


if __name__ == "__main__":
    main(sys.argv[1:])
