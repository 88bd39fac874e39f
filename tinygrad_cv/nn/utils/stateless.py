"""A module as a function of its parameters and buffers."""

from collections.abc import Mapping
from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn.module import Module


def functional_call(
    module: Module,
    parameters_and_buffers: Any,
    args: Any = None,
    kwargs: "dict[str, Any] | None" = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module with these tensors in place of its own, which are there again afterwards.

    `parameters_and_buffers` is a dict by dotted name, or several of them; what it leaves out stays
    the module's own. Gradients flow to the tensors. With `tie_weights` a tensor that the module has
    under several names is replaced under all of them. With `strict` every name must be given, and
    no other. Raises RuntimeError for names that do not fit.

    >>> from tinygrad_cv import nn, tensor, ones
    >>> w = tensor([[1.0, 2.0]], requires_grad=True)
    >>> functional_call(nn.Linear(2, 1, bias=False), {"weight": w}, ones(1, 2)).item()
    3.0
    """
    new: dict[str, Tensor] = {}
    given = parameters_and_buffers
    for part in (given,) if isinstance(given, Mapping) else given:
        if double := new.keys() & part.keys():
            raise ValueError(f"functional_call: {sorted(double)} are given twice.")
        new |= part
    own = {
        name: tensor
        for named in (module.named_parameters, module.named_buffers)
        for name, tensor in named(remove_duplicate=False)
    }
    unexpected = [name for name in new if name not in own]
    replaced = {own[name]: tensor for name, tensor in new.items() if name in own}
    missing = [name for name, tensor in own.items() if tensor not in replaced]
    if strict and (unexpected or missing):
        raise RuntimeError(
            f"functional_call: missing key(s) {missing}, unexpected key(s) {unexpected}."
        )
    if unexpected:
        raise RuntimeError(
            f"functional_call: {type(module).__name__} has no parameter or buffer {unexpected[0]!r}"
        )
    if tie_weights:
        new = {name: replaced[tensor] for name, tensor in own.items() if tensor in replaced} | new
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    before: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for path, tensor in new.items():
            where, _, name = path.rpartition(".")
            held = vars(module.get_submodule(where))
            before.append((held, name, held[name]))
            held[name] = tensor
        return module(*args, **(kwargs or {}))
    finally:
        for held, name, tensor in reversed(before):
            held[name] = tensor
