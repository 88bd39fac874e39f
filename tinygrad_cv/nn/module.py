"""Module: a tree of parameters, buffers and modules that can be called."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from inspect import isroutine
from itertools import islice
from typing import Any, NamedTuple

from tinygrad_cv._graph import Scope, failed, scope
from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor, where_to
from tinygrad_cv.backend import host
from tinygrad_cv.nn.parameter import Parameter


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find, and what it found and does not know."""

    missing_keys: list[str]
    unexpected_keys: list[str]


Visit = tuple[str, "Module", str, Tensor]
"""A path, the module there, and one of its tensors by name."""


@public(NN)
class Module:
    """Base of layers and models: assign parameters and modules in __init__, write `forward`.

    What is assigned is registered: parameters are learned, moved and saved, and so are those of
    modules below. A tensor that is saved and not learned is a buffer; see `register_buffer`. Lists
    and dicts of modules are `nn.ModuleList` and `nn.ModuleDict`, those of parameters
    `nn.ParameterList` and `nn.ParameterDict`: plain ones are refused, for nothing would train what
    they hold. Modules may be shared, and may hold one another in a circle.

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = Parameter([2.0])
    ...
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> model = Scale()
    >>> model(Tensor([3.0])).tolist(), list(model.state_dict())
    ([6.0], ['factor'])
    """

    training: bool = True
    forward: Callable[..., Any]

    _kinds: Mapping[str, str] = {}
    """What is registered, in this order: "parameter", "buffer" or "module" by name.

    It is replaced and never changed, so that copies of a module may share it.
    """
    _transient: frozenset[str] = frozenset()
    """The names of the buffers that are no part of the state."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, value in vars(cls).items():
            if _held([value]):
                raise TypeError(
                    f"{cls.__name__}.{name} is written in the class, where all its objects share "
                    f"it and nothing trains it; assign it in __init__: self.{name} = ..."
                )

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        before = scope.get()
        here = Scope(self, before)  # the nodes made meanwhile will know it
        try:
            scope.set(here)
            return self.forward(*inputs, **options)
        except BaseException as error:
            failed(error)
            raise
        finally:
            scope.set(before)

    # ----- what is assigned ------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        kind = self._kinds.get(name)
        if isinstance(value, Parameter):
            self._register(name, "parameter", value)
        elif isinstance(value, Module) and kind != "parameter":
            self._register(name, "module", value)
        elif kind is None:
            if isinstance(value, COLLECTIONS):
                self._refuse_unregistered(name, value, self.modules())
            super().__setattr__(name, value)
        elif value is None or (kind == "buffer" and isinstance(value, Tensor)):
            super().__setattr__(name, value)
        else:
            expected = {"parameter": "an nn.Parameter", "module": "an nn.Module"}
            hint = ", or change its values: .data.copy_(...)" if isinstance(value, Tensor) else ""
            raise TypeError(
                f"{type(self).__name__}.{name} is a {kind}; it can become "
                f"{expected.get(kind, 'a Tensor')} or None, and got a {type(value).__name__}. "
                f"To make it something else, delete it first{hint}."
            )

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._forget(name)

    def _forget(self, name: str) -> None:
        if name in self._kinds:
            kept = {key: kind for key, kind in self._kinds.items() if key != name}
            super().__setattr__("_kinds", kept)
            super().__setattr__("_transient", self._transient - {name})

    def _register(self, name: str, kind: str, value: Any) -> None:
        """Take a value under a name, which no other can have: neither a method nor a path."""
        if not isinstance(name, str):
            raise TypeError(f"a {kind} is named by a string; got {name!r}.")
        if not name or "." in name:
            raise KeyError(
                f"{name!r} cannot name a {kind}: names are not empty and have no dots, which stand "
                "between the names of modules."
            )
        if hasattr(Module, name) or isroutine(getattr(type(self), name, None)):
            raise KeyError(
                f"{name!r} cannot name a {kind}: it is an attribute of every {type(self).__name__}."
            )
        self._hold(name, kind, value)

    def _hold(self, name: str, kind: str, value: Any) -> None:
        """Take a value under whatever name."""
        if self._kinds.get(name) != kind:
            self._forget(name)  # it comes last, as if it were new
            super().__setattr__("_kinds", {**self._kinds, name: kind})
        if isinstance(value, Parameter) and value.name is None:
            value.name = name  # for listings and pictures
        super().__setattr__(name, value)

    def _register_anew(self, name: str, kind: str, value: Any) -> None:
        """The same for a name that has no other use yet."""
        if name in vars(self) and self._kinds.get(name) != kind:
            raise KeyError(f"the module has an attribute {name!r} already; delete it first.")
        self._register(name, kind, value)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """The same as an assignment, also of None: a place for a parameter that is not there.

        Raises KeyError for a name that is taken, or has dots.
        """
        if not (param is None or isinstance(param, Parameter)):
            raise TypeError(f"{name!r} must be an nn.Parameter or None; got {param!r}.")
        self._register_anew(name, "parameter", param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """A tensor that belongs to the state but is not learned, such as a running mean.

        If it is not `persistent`, it is moved with the module but not in its `state_dict`. Raises
        KeyError for a name that is taken, or has dots.
        """
        if not (tensor is None or isinstance(tensor, Tensor)):
            raise TypeError(f"the buffer {name!r} must be a Tensor or None; got {tensor!r}.")
        self._register_anew(name, "buffer", tensor)
        transient = self._transient - {name} if persistent else self._transient | {name}
        super().__setattr__("_transient", transient)

    def add_module(self, name: str, module: "Module | None") -> None:
        """The same as an assignment, for names that are made by a program.

        Raises KeyError for a name that is taken, or has dots.
        """
        if not (module is None or isinstance(module, Module)):
            raise TypeError(f"{name!r} must be an nn.Module or None; got {module!r}.")
        self._register_anew(name, "module", module)

    register_module = add_module

    def _refuse_unregistered(self, name: str, value: Any, modules: "Iterable[Module]") -> None:
        """Raise if a list holds what a module should: a parameter or module not among these."""
        held = _held(value)
        if not held:
            return
        known = {*modules}
        known |= {tensor for module in known for tensor in module._own("parameter").values()}
        for part in held:
            if part not in known:
                kind = "module" if isinstance(part, Module) else "parameter"
                lists = "nn.ModuleList, nn.ModuleDict or nn.Sequential"
                if kind == "parameter":
                    lists = "nn.ParameterList or nn.ParameterDict"
                raise TypeError(
                    f"{type(self).__name__}.{name} is a {type(value).__name__} with a {kind}, "
                    f"a {type(part).__name__}, which would be neither trained nor moved nor saved. "
                    f"Make it an {lists}; what is not to be learned can stay in a function: "
                    f"self.{name} = lambda: ..."
                )

    # ----- what it holds ---------------------------------------------------------------------

    def _own(self, kind: str) -> dict[str, Any]:
        """What is registered of this kind and is not None, by name."""
        names = [name for name, registered in self._kinds.items() if registered == kind]
        return {name: value for name in names if (value := vars(self).get(name)) is not None}

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """The modules assigned to this one, by name; each once."""
        seen = set()
        for name, module in self._own("module").items():
            if module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator["Module"]:
        """The modules assigned to this one; each once."""
        for _, module in self.named_children():
            yield module

    def named_modules(
        self, memo: "set[Module] | None" = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, "Module"]]:
        """This module and all below it, by dotted path; each once, under its first path.

        Without `remove_duplicate` a shared module is listed under each of its paths; but one that
        leads into a circle under its first alone, as there may be more than can be counted. What is
        in `memo` is left out.
        """
        memo = set() if memo is None else memo
        if self in memo:
            return
        memo.add(self)
        yield prefix, self
        for name, child in self._own("module").items():
            path = f"{prefix}.{name}" if prefix else name
            yield from child.named_modules(memo, path, remove_duplicate)
        if not remove_duplicate and memo.isdisjoint(self._own("module").values()):
            memo.remove(self)  # no circle is below it

    def modules(self) -> Iterator["Module"]:
        """This module and all below it; each once."""
        for _, module in self.named_modules():
            yield module

    def _visits(
        self, kinds: tuple[str, ...], prefix: str = "", recurse: bool = True, once: bool = True
    ) -> Iterator[Visit]:
        """The tensors of these kinds, a module's own before those below; a shared one once."""
        for module in self.modules():
            for name, value in [*vars(module).items()]:
                if isinstance(value, COLLECTIONS) and name not in ("_kinds", "_transient"):
                    module._refuse_unregistered(name, value, self.modules())
        walk = self.named_modules(prefix=prefix, remove_duplicate=once)
        seen = set()
        for path, module in walk if recurse else [(prefix, self)]:
            for name, tensor in [pair for kind in kinds for pair in module._own(kind).items()]:
                if tensor not in seen:
                    if once:
                        seen.add(tensor)
                    yield f"{path}.{name}" if path else name, module, name, tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters, by dotted path: ("0.weight", ...).

        A shared one is listed once, under its first path, or without `remove_duplicate` under
        each. Without `recurse` those of modules below are left out.
        """
        for path, _, _, tensor in self._visits(("parameter",), prefix, recurse, remove_duplicate):
            yield path, tensor  # type: ignore[misc]

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, as an optimizer wants them; each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers, by dotted path; the options are those of `named_parameters`."""
        for path, _, _, tensor in self._visits(("buffer",), prefix, recurse, remove_duplicate):
            yield path, tensor

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers; each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    # ----- state -----------------------------------------------------------------------------

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """Parameters and persistent buffers by dotted path; the tensors share the module's memory.

        A shared one is there under each of its paths (see `named_modules`). `keep_vars` gives the
        tensors themselves.

        >>> from tinygrad_cv import nn
        >>> list(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict())[2:]
        ['1.weight', '1.bias', '1.running_mean', '1.running_var']
        """
        return {
            prefix + path: tensor if keep_vars else tensor.detach()
            for path, module, name, tensor in self._visits(("parameter", "buffer"), once=False)
            if name not in module._transient
        }

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy values into the parameters and buffers: all of them, or none if one does not fit.

        The values are tensors or arrays. They fit if they have the shape, and numbers that the
        dtype can hold: whole ones for integers, finite ones that stay finite for floats. A shared
        tensor may be given under any of its names. `strict` asks for every name and for no other;
        without it what is there is loaded. Returns `(missing_keys, unexpected_keys)`.

        Raises ValueError, which names all that does not fit, with nothing changed.

        >>> from tinygrad_cv import nn
        >>> nn.Linear(2, 1).load_state_dict({"bias": [0.5], "x": [1.0]}, strict=False)
        IncompatibleKeys(missing_keys=['weight'], unexpected_keys=['x'])
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"a state is a dict of tensors; got a {type(state_dict).__name__}.")
        own = self.state_dict(keep_vars=True)
        given = {tensor for name, tensor in own.items() if name in state_dict}
        missing = [name for name, tensor in own.items() if tensor not in given]
        unexpected = [name for name in state_dict if name not in own]
        wrong: list[str] = []
        new: dict[Tensor, Tensor] = {}
        for name, tensor in own.items():
            if name in state_dict:
                try:
                    value = _fitting(state_dict[name], tensor)
                    if tensor in new and not _equal(value, new[tensor]):
                        raise ValueError("is one tensor with another of these names, and differs")
                    new[tensor] = value
                except (TypeError, ValueError, RuntimeError) as error:
                    wrong.append(f"{name} {str(error).rstrip('.')}")
        if wrong or (strict and (missing or unexpected)):
            raise ValueError(
                "the state does not fit the module. "
                f"Missing: {', '.join(missing) or 'none'}. "
                f"Unexpected: {', '.join(map(str, unexpected)) or 'none'}. "
                f"Wrong: {'; '.join(wrong) or 'none'}."
            )
        old: dict[Tensor, Tensor] = {}
        try:
            for tensor in [*new]:
                old[tensor] = tensor.detach().clone()
                tensor.detach().copy_(new.pop(tensor))
        except BaseException:
            for tensor, value in old.items():
                with suppress(ValueError):  # of memory that cannot be written
                    tensor.detach().copy_(value)
            raise
        return IncompatibleKeys(missing, unexpected)

    def to(
        self,
        *target: Any,
        device: str | int | None = None,
        dtype: Any = None,
        non_blocking: bool = False,
        memory_format: Any = None,
    ) -> "Module":
        """Move the parameters (with their gradients) and buffers to a device or float dtype.

        Of a tensor it takes both. `non_blocking` and `memory_format` change nothing.

        They stay the same objects, so an optimizer that was given them goes on with them. Make
        the move before its first step: what it remembers stays where it is.

        >>> from tinygrad_cv import nn
        >>> nn.Linear(2, 3).to("cpu", "float64").weight.dtype
        dtype('float64')
        """
        device, dtype = where_to(target, device, dtype)
        if dtype is not None and host.dtype(dtype).kind != "f":
            raise TypeError(f"a module's parameters are floats; got the dtype {dtype}.")
        for tensor in [*self.parameters(), *self.buffers()]:
            tensor._move(device, dtype)
        return self

    def cpu(self) -> "Module":
        """The parameters and buffers in host memory."""
        return self.to("cpu")

    def cuda(self, device: str | int | None = None) -> "Module":
        """The parameters and buffers on a GPU, by default the current one."""
        return self.to("cuda" if device is None else device)

    def train(self, mode: bool = True) -> "Module":
        """Training behaviour (dropout drops, batch norm uses the batch), here and below.

        It is passed on to the `train` of each child, which may have its own idea: a layer that
        stays as it is says `def train(self, mode=True): return super().train(False)`.
        """
        if not isinstance(mode, bool):
            raise TypeError(f"train: the mode is True or False; got {mode!r}.")
        before = _walks.get()
        try:
            if _enters(self, "train", mode):
                self.training = mode
                for child in self.children():
                    child.train(mode)
        finally:
            _walks.set(before)
        return self

    def eval(self) -> "Module":
        """Test behaviour, here and below: `train(False)`."""
        return self.train(False)

    def apply(self, fn: Callable[["Module"], Any]) -> "Module":
        """Call `fn` with each module below and then with this one, as to initialize weights."""
        before = _walks.get()
        try:
            if _enters(self, f"apply {id(fn)}"):
                for child in self.children():
                    child.apply(fn)
                fn(self)
        finally:
            _walks.set(before)
        return self

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> "Module":
        """Whether the parameters are learned."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def extra_repr(self) -> str:
        """What stands between the parentheses of the layer's repr."""
        return ""

    def __repr__(self) -> str:
        before = _walks.get()
        try:
            if not _enters(self, "repr"):
                return f"{type(self).__name__}(...)"  # it is below itself
            extra = self.extra_repr()
            children = [
                f"  ({name}): " + repr(vars(self)[name]).replace("\n", "\n  ")
                for name, kind in self._kinds.items()
                if kind == "module"
            ]
        finally:
            _walks.set(before)
        if not children:
            return f"{type(self).__name__}({extra})"
        return "\n".join([f"{type(self).__name__}(", *[f"  {extra}"] * bool(extra), *children, ")"])


# ----- what modules share ------------------------------------------------------------------------

COLLECTIONS = (list, tuple, set, frozenset, dict, deque)
PLAIN = frozenset((int, float, bool, str, type(None)))
LOOKED_AT = 1_000
"""How many elements of a list are looked at for modules, and how many lists in it."""


def _held(value: Any) -> list[Any]:
    """The parameters and modules in a list, a dict and so on, and in those in it."""
    found, lists = [], [value]
    for one in lists:  # which grows meanwhile
        parts = [*islice(one.values() if isinstance(one, dict) else one, LOOKED_AT)]
        if PLAIN.issuperset(map(type, parts)):
            continue
        for part in parts:
            if isinstance(part, Parameter | Module):
                found.append(part)
            elif isinstance(part, COLLECTIONS) and len(lists) < LOOKED_AT:
                lists.append(part)
    return found


Walks = Mapping[str, tuple[Mapping[Module, bool], set[tuple[Module, bool]]]]

_walks: ContextVar[Walks | None] = ContextVar("walks", default=None)
"""Of the walks under way where they are: the modules around, and those that lead into a circle.

Who enters a module puts back what was there before, in a `finally` that Ctrl-C cannot skip.
"""


def _enters(module: Module, walk: str, mode: bool = True) -> bool:
    """Whether a walk that calls each child's own method has something to do here.

    Modules may hold one another in a circle: it does not come back to a module that it is below
    already, and to one that leads into a circle only in another mode.
    """
    walks = _walks.get() or {}
    around, circular = walks.get(walk) or ({}, set())
    if module in around or (module, mode) in circular:
        circular.update(around.items())
        return False
    _walks.set({**walks, walk: ({**around, module: mode}, circular)})
    return True


def _fitting(value: Any, tensor: Tensor) -> Tensor:
    """The value as a new tensor of the same shape, dtype and device; ValueError if it cannot be."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    array = host.asarray(value)
    shape, dtype = array.shape, array.dtype
    if shape != tensor.shape:
        raise ValueError(f"is {shape} and should be {tensor.shape}")
    if dtype.kind not in "biuf":
        raise ValueError(f"holds values of type {dtype} and should be {tensor.dtype}")
    with host.errstate(all="ignore"):  # what overflows is told from what is there at the end
        new = array.astype(tensor.dtype)
    kept = host.isfinite(new) | ~host.isfinite(array) if new.dtype.kind == "f" else new == array
    if not kept.all():
        raise ValueError(f"holds {array[~kept][0]}, which is no {tensor.dtype}")
    return Tensor(new, device=tensor.device)


def _equal(a: Tensor, b: Tensor) -> bool:
    return host.array_equal(a.cpu().numpy(), b.cpu().numpy(), equal_nan=a.is_floating_point())
