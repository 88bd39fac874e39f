"""Modules as functions of their parameters and buffers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tinygrad_cv._public import FUNC, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn.module import Module
from tinygrad_cv.ops.shape import stack


@public(FUNC)
def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """`module(*args, **kwargs)`, with other tensors in place of its parameters and buffers.

    The dict (or several) gives them by dotted path; what is not in it stays. `args` is a tuple, or
    the one argument. With `tie_weights` a shared parameter that is given under one of its names is
    replaced under all. `strict` asks for every name and for no other.

    Meanwhile the module holds the other tensors; two threads cannot do this with one module.

    Raises ValueError for a name that the module does not have.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv import nn
    >>> weights = {"weight": tg.ones(1, 2), "bias": tg.zeros(1)}
    >>> functional_call(nn.Linear(2, 1), weights, tg.tensor([[1.0, 2.0]]))
    tensor([[3.]])
    """
    single = isinstance(parameter_and_buffer_dicts, Mapping)
    dicts = [parameter_and_buffer_dicts] if single else list(parameter_and_buffer_dicts)
    given: dict[str, Tensor] = {}
    for one in dicts:
        if twice := given.keys() & one.keys():
            raise ValueError(f"functional_call got {', '.join(sorted(twice))} in two dicts.")
        given |= one
    own = dict(_named(module))
    if unknown := [name for name in given if name not in own]:
        raise ValueError(
            f"functional_call: the {type(module).__name__} has no {', '.join(unknown)}; it has "
            f"{', '.join(own)}."
        )
    if tie_weights:
        tied: dict[int, Tensor] = {}
        for name, value in given.items():
            if tied.setdefault(id(own[name]), value) is not value:
                raise ValueError(
                    f"functional_call: {name} is one tensor with another that was given, and got "
                    "another value; pass tie_weights=False."
                )
        given |= {name: tied[id(x)] for name, x in own.items() if id(x) in tied}
    if strict and (missing := own.keys() - given.keys()):
        raise ValueError(f"functional_call with strict: missing {', '.join(sorted(missing))}.")
    if args is None:
        args = ()
    with _holding(module, given):
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))


def _named(module: Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


@contextmanager
def _holding(module: Module, given: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, the module has these tensors under these paths."""
    modules = dict(module.named_modules(remove_duplicate=False))
    before: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for path, tensor in given.items():
            owner, _, name = path.rpartition(".")
            held = vars(modules[owner])
            before.append((held, name, held[name]))
            held[name] = tensor
        yield
    finally:
        for held, name, value in reversed(before):
            held[name] = value


@public(FUNC)
def stack_module_state(
    models: Sequence[Module],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of models of one kind, stacked along a new first axis.

    With `vmap` and `functional_call` they make an ensemble. The parameters are leaves that require
    gradients.

    >>> from tinygrad_cv import nn
    >>> params, buffers = stack_module_state([nn.Linear(2, 1), nn.Linear(2, 1)])
    >>> {name: value.shape for name, value in params.items()}
    {'weight': (2, 1, 2), 'bias': (2, 1)}
    """
    models = list(models)
    if not models:
        raise ValueError("stack_module_state takes at least one model; got none.")
    if len({type(model) for model in models}) > 1 or len({m.training for m in models}) > 1:
        raise ValueError(
            "stack_module_state takes models of one class, all in training or all in eval mode; "
            f"got {', '.join(sorted({type(model).__name__ for model in models}))}."
        )
    parameters = [dict(model.named_parameters()) for model in models]
    buffers = [dict(model.named_buffers()) for model in models]

    def stacked(states: list[dict[str, Any]], learned: bool) -> dict[str, Tensor]:
        result = {}
        for name, first in states[0].items():
            value = stack([state[name] for state in states]).detach()
            result[name] = value.requires_grad_(learned and first.requires_grad)
        return result

    return stacked(parameters, True), stacked(buffers, False)
