"""Parametrizations: a parameter of a module becomes a function of others.

A module with one is of a new class, whose attribute of that name is a property: reading it calls
the functions, writing it goes back through their `right_inverse`. They and what they work on are
in `module.parametrizations`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn.container import ModuleDict, ModuleList
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter

_known: "ContextVar[dict[tuple[int, str], Tensor] | None]" = ContextVar("known", default=None)
"""Inside of `cached`: the values that have been computed, by module and name."""


@contextmanager
def cached() -> Iterator[None]:
    """Inside, a parametrized tensor is computed when it is first read, and then known.

    >>> from tinygrad_cv import nn
    >>> layer = register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
    >>> with cached():
    ...     layer.weight is layer.weight
    True
    """
    before = _known.get()
    _known.set({} if before is None else before)
    try:
        yield
    finally:
        _known.set(before)


class ParametrizationList(ModuleList):
    """The functions of one tensor, and what they are functions of: `original`, or several.

    `forward` computes the tensor. If the `right_inverse` of the first function returns a tuple,
    the originals are `original0`, `original1`, and so on. Unless `unsafe`, the tensor must come out
    in its shape and dtype.

    >>> from tinygrad_cv import nn
    >>> layer = nn.Linear(1, 1)
    >>> _ = register_parametrization(layer, "weight", nn.Tanh())
    >>> type(layer.parametrizations.weight).__name__, list(layer.state_dict())
    ('ParametrizationList', ['bias', 'parametrizations.weight.original'])
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if not modules:
            raise ValueError("a ParametrizationList takes at least one module; got none.")
        super().__init__(modules)
        self.unsafe = unsafe
        new: Any = original
        with no_grad():
            for module in reversed(modules):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except NotImplementedError:
                        break
        self.is_tensor = isinstance(new, Tensor)
        if self.is_tensor:
            self.ntensors = 1
            self._own_as("original", original, new)
        elif isinstance(new, Sequence):
            self.ntensors = len(new)
            for i, part in enumerate(new):
                if not isinstance(part, Tensor):
                    raise ValueError(
                        "a right_inverse returns a tensor or a tuple of tensors; of its tuple, "
                        f"element {i} is a {type(part).__name__}."
                    )
                self._own_as(f"original{i}", original, part)
        else:
            raise ValueError(
                "a right_inverse returns a tensor or a tuple of tensors; got a "
                f"{type(new).__name__}."
            )
        if not unsafe:
            _check_fits(self(), original)

    def _own_as(self, name: str, original: Tensor, value: Tensor) -> None:
        """Register a value: a parameter if the tensor was one, which it stays if it can."""
        if not isinstance(original, Parameter):
            self.register_buffer(name, value)
        elif name == "original":
            if value is not original:
                original.data = value.detach()
            self.register_parameter(name, original)
        else:
            wanted = original.requires_grad and value.is_floating_point()
            self.register_parameter(name, Parameter(value.detach(), wanted))

    def _originals(self) -> list[Tensor]:
        names = ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]
        return [getattr(self, name) for name in names]

    def right_inverse(self, value: Tensor) -> None:
        """Let the originals be such that the tensor gets a value, or one near to it."""
        with no_grad():
            new: Any = value
            for module in reversed([*self]):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"a {type(module).__name__} has no method right_inverse, by which the "
                        "tensor could be assigned to."
                    )
                new = module.right_inverse(new)
            parts = [new] if self.is_tensor else [*new]
            if len(parts) != self.ntensors:
                raise ValueError(
                    f"right_inverse returned {len(parts)} tensors in place of {self.ntensors}."
                )
            for original, part in zip(self._originals(), parts, strict=True):
                original.data = part.detach().clone()

    def forward(self) -> Any:
        """The tensor."""
        value = self[0](*self._originals())
        for module in [*self][1:]:
            value = module(value)
        return value


def _check_fits(value: Any, original: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"a parametrization returns a tensor; got a {type(value).__name__}.")
    if (value.shape, value.dtype) != (original.shape, original.dtype):
        raise ValueError(
            f"the parametrization makes {value.dtype} {value.shape} of a tensor of "
            f"{original.dtype} {original.shape}; it keeps both, or unsafe=True is passed."
        )


def register_parametrization(
    module: Any, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Any:
    """Let a parameter or buffer of a module be what `parametrization` makes of an original.

    The original is a parameter (or buffer) of its own: `parametrizations.NAME.original` in the
    state. Where the parametrization has a method `right_inverse(value)`, the original begins at its
    result, and the tensor can be assigned to; it may return several tensors, which all go into
    `forward`. Further parametrizations are applied after those that are there. Unless `unsafe`, the
    shape and the dtype must stay. Returns the module.

    >>> from tinygrad_cv import nn
    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).t()
    >>> layer = register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    >>> (layer.weight == layer.weight.t()).all().item(), list(layer.state_dict())
    (True, ['bias', 'parametrizations.weight.original'])
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        held = module.parametrizations[tensor_name]
        if not unsafe:
            value = getattr(module, tensor_name)
            _check_fits(parametrization(value), value)
            if hasattr(parametrization, "right_inverse"):
                with no_grad():
                    back = parametrization.right_inverse(value)
                _check_fits(back, value)
        if hasattr(parametrization, "right_inverse"):
            with no_grad():
                held.right_inverse(parametrization.right_inverse(getattr(module, tensor_name)))
        held.append(parametrization)
        held.unsafe |= unsafe
        return module
    kind = module._kinds.get(tensor_name)
    if kind not in ("parameter", "buffer"):
        raise ValueError(
            f"{type(module).__name__} has no parameter and no buffer {tensor_name!r}, nor a "
            "parametrization of it."
        )
    original = getattr(module, tensor_name)
    new = ParametrizationList([parametrization], original, unsafe)
    new.train(module.training)
    delattr(module, tensor_name)
    before = type_before_parametrizations(module)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = new
    module.__class__ = _parametrized(before, frozenset(module.parametrizations))
    return module


@cache
def _parametrized(cls: Any, names: frozenset[str]) -> type:
    """The class of the modules of a class that have parametrizations under these names."""
    body: dict[str, Any] = {name: _property(name) for name in names}
    body |= {"_before": cls, "__reduce__": lambda self: (_new, (cls, names), vars(self).copy())}
    return type(f"Parametrized{cls.__name__}", (cls,), body)


def _new(cls: Any, names: frozenset[str]) -> Any:
    """A parametrized module without attributes, for pickle: its class has no place of its own."""
    made: Any = _parametrized(cls, names)
    return made.__new__(made)


def _property(name: str) -> property:
    """The attribute of a parametrized module."""

    def get(self: Any) -> Tensor:
        known = _known.get()
        if known is None:
            return self.parametrizations[name]()  # type: ignore[no-any-return]
        key = (id(self), name)
        if key not in known:
            known[key] = self.parametrizations[name]()
        return known[key]

    def put(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(get, put)


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has a parametrization, or has one of the tensor of this name.

    >>> from tinygrad_cv import nn
    >>> layer = register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
    >>> is_parametrized(layer), is_parametrized(layer, "bias")
    (True, False)
    """
    held = vars(module).get("parametrizations")
    if not isinstance(held, ModuleDict):
        return False
    return len(held) > 0 if tensor_name is None else tensor_name in held


def remove_parametrizations(module: Any, tensor_name: str, leave_parametrized: bool = True) -> Any:
    """Let a tensor of a module be a plain parameter (or buffer) again. Returns the module.

    Its values are those of now, or with `leave_parametrized=False` those of the original, which is
    possible if there is one original. The parameter is the original one, if it has the shape.

    >>> from tinygrad_cv import nn
    >>> layer = register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
    >>> list(remove_parametrizations(layer, "weight").state_dict())
    ['bias', 'weight']
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"{type(module).__name__} has no parametrization of {tensor_name!r}.")
    held = module.parametrizations[tensor_name]
    originals = held._originals()
    if not (leave_parametrized or held.is_tensor):
        raise ValueError(
            f"{tensor_name!r} has {held.ntensors} originals; only leave_parametrized=True can make "
            "one tensor of them."
        )
    tensor = originals[0]
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name).detach()
        if held.is_tensor:
            tensor.data = value
        elif isinstance(tensor, Parameter):
            tensor = Parameter(value, any(part.requires_grad for part in originals))
        else:
            tensor = value
    before = type_before_parametrizations(module)
    del module.parametrizations[tensor_name]
    module.__class__ = before
    if is_parametrized(module):
        module.__class__ = _parametrized(before, frozenset(module.parametrizations))
    else:
        del module.parametrizations
    if isinstance(tensor, Parameter):
        module.register_parameter(tensor_name, tensor)
    else:
        module.register_buffer(tensor_name, tensor)
    return module


def transfer_parametrizations_and_params(
    from_module: Any, to_module: Any, tensor_name: str | None = None
) -> Any:
    """Let one module have the parametrizations of another, and share what they work on.

    These are all of them, or those of one tensor, which `to_module` gets if it has none. Returns
    `to_module`.

    >>> from tinygrad_cv import nn
    >>> layer = register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
    >>> other = transfer_parametrizations_and_params(layer, nn.Linear(2, 2))
    >>> (other.weight == layer.weight).all().item()
    True
    """
    if not is_parametrized(from_module):
        return to_module
    names = [*from_module.parametrizations] if tensor_name is None else [tensor_name]
    for name in names:
        held = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name)))
        for parametrization in held:
            register_parametrization(to_module, name, parametrization, unsafe=held.unsafe)
        kind = "_parameters" if held._parameters else "_buffers"
        getattr(to_module.parametrizations[name], kind).update(getattr(held, kind))
    return to_module


def type_before_parametrizations(module: Module) -> type:
    """The class that a module had before its parametrizations.

    >>> from tinygrad_cv import nn
    >>> layer = register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
    >>> type(layer).__name__, type_before_parametrizations(layer).__name__
    ('ParametrizedLinear', 'Linear')
    """
    return type(module)._before if is_parametrized(module) else type(module)  # type: ignore[attr-defined]
