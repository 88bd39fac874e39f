"""Module: a tree of parameters, buffers and modules that can be called."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from inspect import isroutine
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from warnings import warn

from tinygrad_cv._graph import Handle, Scope, failed, scope
from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor, as_input, dtype_named, where_to, wrap
from tinygrad_cv.backend import get, host
from tinygrad_cv.nn.hooks import EVERY, Hooked, hooked_call
from tinygrad_cv.nn.parameter import Buffer, Parameter, UninitializedBuffer, is_lazy

T_destination = TypeVar("T_destination", bound=dict[str, Any])


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find, and what it found and does not know."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if self.missing_keys or self.unexpected_keys:
            names = ("missing_keys", "unexpected_keys")
            said = ", ".join(f"{n}={keys}" for n, keys in zip(names, self, strict=True))
            return f"IncompatibleKeys({said})"
        return "<All keys matched successfully>"  # PyTorch's words, which programs print


class StateError(ValueError, RuntimeError):
    """A state does not fit the module that was to load it."""


class Members(MutableMapping[str, Any]):
    """What a module holds of one kind, by name, None included: to read and to write.

    >>> from tinygrad_cv import nn
    >>> net = nn.Sequential(nn.ReLU())
    >>> net._modules["0"] = nn.Tanh()
    >>> net
    Sequential(
      (0): Tanh()
    )
    """

    __slots__ = ("kind", "module")

    def __init__(self, module: "Module", kind: str) -> None:
        self.module, self.kind = module, kind

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        return vars(self.module).get(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self.module._hold(name, self.kind, value)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        vars(self.module).pop(name, None)
        self.module._forget(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.module._kinds.get(name) == self.kind

    def __iter__(self) -> Iterator[str]:
        return iter(self.copy())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self.copy())

    def __len__(self) -> int:
        return len(self.copy())

    def __repr__(self) -> str:
        return repr(self.copy())

    def copy(self) -> dict[str, Any]:
        """What is there now."""
        held, kinds = vars(self.module), self.module._kinds
        return {name: held.get(name) for name, kind in kinds.items() if kind == self.kind}

    def keys(self) -> Any:
        """The names of now."""
        return self.copy().keys()

    def values(self) -> Any:
        """What has these names."""
        return self.copy().values()

    def items(self) -> Any:
        """The pairs of a name and what has it."""
        return self.copy().items()

    def _become(self, members: Mapping[str, Any]) -> None:
        """Hold these and no others."""
        members = dict(members)
        self.clear()
        self.update(members)

    def popitem(self) -> tuple[str, Any]:
        """Remove and return the last pair, as of a dict."""
        name = next(reversed(self), None)
        if name is None:
            raise KeyError(f"there is no {self.kind}.")
        return name, self.pop(name)


@public(NN)
class Module(Hooked):
    """Base of layers and models: assign parameters and modules in __init__, write `forward`.

    What is assigned is registered: parameters are learned, moved and saved, and so are those of
    modules below. A tensor that is saved and not learned is a buffer; see `register_buffer`. Lists
    and dicts of modules are `nn.ModuleList` and `nn.ModuleDict`, those of parameters
    `nn.ParameterList` and `nn.ParameterDict`: of what plain ones hold, and nothing trains,
    `parameters()` warns. Modules may be shared, and may hold one another in a circle.

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

    def _no_forward(self, *inputs: Any, **options: Any) -> Any:
        raise NotImplementedError(
            f"{type(self).__name__} is called, and has no forward: write def forward(self, x)."
        )

    forward: Callable[..., Any] = _no_forward

    _kinds: Mapping[str, str] = {}
    """What is registered, in this order: "parameter", "buffer" or "module" by name.

    It is replaced and never changed, so that copies of a module may share it.
    """
    _transient: frozenset[str] = frozenset()
    """The names of the buffers that are no part of the state."""

    dump_patches: bool = False
    call_super_init: bool = False
    """Whether `Module.__init__` goes on to the class after it in a multiple inheritance."""
    _version: int = 1
    """Of the layout of the state; `_load_from_state_dict` is told that of the state it gets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.call_super_init:
            super().__init__(*args, **kwargs)
        elif args or kwargs:
            raise TypeError(
                f"Module.__init__ takes no arguments; {type(self).__name__} gave it "
                f"{', '.join([*map(repr, args), *kwargs])}."
            )

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        before = scope.get()
        here = Scope(self, before)  # the nodes made meanwhile will know it
        try:
            scope.set(here)
            if self._hooked:
                return hooked_call(self, inputs, options)
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
            self._register_as(name, "parameter", value)
        elif isinstance(value, Module) and kind != "parameter":
            self._register_as(name, "module", value)
        elif isinstance(value, Buffer) and kind in (None, "buffer"):
            self._register_buffer(name, value, getattr(value, "persistent", True))
        elif kind == "buffer" and isinstance(value, Tensor):
            self._register_as(name, kind, value)
        elif kind is None or value is None:
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

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """For what is not there; and for classes that ask for it from a `__getattr__`."""
            if name in self._kinds and name in vars(self):
                return vars(self)[name]
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted(name for name in super().__dir__() if name.isidentifier())

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    @property
    def _parameters(self) -> Members:
        """The parameters of this module by name, as a mapping that can be written to."""
        return Members(self, "parameter")

    @_parameters.setter
    def _parameters(self, members: Mapping[str, Any]) -> None:
        self._parameters._become(members)

    @property
    def _buffers(self) -> Members:
        """The buffers of this module by name, as a mapping that can be written to."""
        return Members(self, "buffer")

    @_buffers.setter
    def _buffers(self, members: Mapping[str, Any]) -> None:
        self._buffers._become(members)

    @property
    def _modules(self) -> Members:
        """The modules in this one by name, as a mapping that can be written to."""
        return Members(self, "module")

    @_modules.setter
    def _modules(self, members: Mapping[str, Any]) -> None:
        self._modules._become(members)

    def _forget(self, name: str) -> None:
        if name in self._kinds:
            kept = {key: kind for key, kind in self._kinds.items() if key != name}
            super().__setattr__("_kinds", kept)
            super().__setattr__("_transient", self._transient - {name})

    def _register_as(self, name: str, kind: str, value: Any) -> None:
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
        told = () if kind == "parameter" and value is None else REGISTRATIONS[kind].values()
        for hook in [*told]:
            other = hook(self, name, value)
            value = value if other is None else other
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
        self._register_as(name, kind, value)

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
        self._persists(name, persistent)

    def _register_buffer(self, name: str, tensor: Tensor, persistent: bool) -> None:
        self._register_as(name, "buffer", tensor)
        self._persists(name, persistent)

    def _persists(self, name: str, persistent: bool) -> None:
        """Let a buffer be part of the state, or not."""
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

    def _warn_of_unregistered(self, name: str, value: Any, known: "set[Any]") -> None:
        """Warn if a list holds what a module should: parameters that are not among the known."""
        for part in _held(value):
            tensors = part.parameters() if isinstance(part, Module) else [part]
            if part not in known and any(t.requires_grad and t not in known for t in tensors):
                kind, lists = "parameter", "nn.ParameterList or nn.ParameterDict"
                if isinstance(part, Module):
                    kind, lists = "module", "nn.ModuleList, nn.ModuleDict or nn.Sequential"
                warn(
                    f"{type(self).__name__}.{name} is a {type(value).__name__} with a {kind}, "
                    f"a {type(part).__name__}, which is neither trained nor moved nor saved. "
                    f"Make it an {lists}; what is not to be learned can stay in a function: "
                    f"self.{name} = lambda: ...",
                    stacklevel=5,
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

    def modules(self, remove_duplicate: bool = True) -> Iterator["Module"]:
        """This module and all below it; each once, or without `remove_duplicate` on each path."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def _named_members(
        self,
        get_members_fn: Callable[["Module"], Iterable[tuple[str, Any]]],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        """What a function finds in each module, a module's own before those below; each once."""
        self._look_into_lists()
        walk = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        seen = set()
        for path, module in walk if recurse else [(prefix, self)]:
            for name, member in get_members_fn(module):
                if member is not None and member not in seen:
                    if remove_duplicate:
                        seen.add(member)
                    yield f"{path}.{name}" if path else name, member

    def _look_into_lists(self) -> None:
        """Warn of what the plain lists of modules hold, and nobody registered."""
        modules = [*self.modules()]
        known: set[Any] = set()
        for module in modules:
            for name, value in [*vars(module).items()]:
                if isinstance(value, COLLECTIONS) and name not in ENGINES and _held(value):
                    if not known:
                        known = {t for m in modules for t in m._own("parameter").values()}
                        known.update(modules)
                    module._warn_of_unregistered(name, value, known)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters, by dotted path: ("0.weight", ...).

        A shared one is listed once, under its first path, or without `remove_duplicate` under
        each. Without `recurse` those of modules below are left out.
        """
        yield from self._named_members(
            lambda module: module._own("parameter").items(), prefix, recurse, remove_duplicate
        )

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, as an optimizer wants them; each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers, by dotted path; the options are those of `named_parameters`."""
        yield from self._named_members(
            lambda module: module._own("buffer").items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers; each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> "Module":
        """The module at a dotted path; "" is this one.

        Raises AttributeError if there is none.

        >>> from tinygrad_cv import nn
        >>> nn.Sequential(nn.Sequential(nn.ReLU())).get_submodule("0.0")
        ReLU()
        """
        module = self
        for name in target.split(".") if target else ():
            found = getattr(module, name, None)
            if not isinstance(found, Module):
                raise AttributeError(
                    f"{target!r} leads to no module: the {type(module).__name__} on its way has "
                    f"{'no' if found is None else 'as'} {name!r}"
                    f"{'' if found is None else f' a {type(found).__name__}'}."
                )
            module = found
        return module

    def set_submodule(self, target: str, module: "Module", strict: bool = False) -> None:
        """Put a module at a dotted path, in place of that which is there.

        If none is there, it is new; with `strict` that is an AttributeError.
        """
        if not target:
            raise ValueError("set_submodule: the path is empty; a module cannot replace itself.")
        if not isinstance(module, Module):
            raise ValueError(f"set_submodule takes a module; got a {type(module).__name__}.")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict or hasattr(parent, name):
            self.get_submodule(target)  # AttributeError if it is no module
        setattr(parent, name, module)

    def _get_tensor(self, target: str, kind: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if module._kinds.get(name) != kind:
            raise AttributeError(f"{type(module).__name__} has no {kind} {name!r} ({target!r}).")
        return getattr(module, name)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path; AttributeError if there is none."""
        return self._get_tensor(target, "parameter")  # type: ignore[no-any-return]

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path; AttributeError if there is none."""
        return self._get_tensor(target, "buffer")  # type: ignore[no-any-return]

    # ----- state -----------------------------------------------------------------------------

    def state_dict(
        self,
        *args: Any,
        destination: "dict[str, Any] | None" = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by dotted path; the tensors share the module's memory.

        They come in the order of PyTorch's: of each module the parameters, the buffers and what
        `get_extra_state` gives, and then the modules in it. A shared tensor is there under each of
        its paths (see `named_modules`). `keep_vars` gives the tensors themselves. The entries are
        added to `destination` if there is one, with `prefix` before their names.

        >>> from tinygrad_cv import nn
        >>> list(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict())[2:5]
        ['1.weight', '1.bias', '1.running_mean']
        """
        if args:  # as older programs call it
            named = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False))
            destination = named.get("destination", destination)
            prefix, keep_vars = named.get("prefix", prefix), named.get("keep_vars", keep_vars)
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()  # type: ignore[attr-defined]
        before = _walks.get()
        try:
            if not _enters(self, f"state {id(destination)}"):
                return destination
            for _, hook in self._hooks_of("_state_dict_pre_hooks"):
                hook(self, prefix, keep_vars)
            metadata = {"version": self._version}
            if hasattr(destination, "_metadata"):
                destination._metadata[prefix[:-1]] = metadata
            self._save_to_state_dict(destination, prefix, keep_vars)
            for name, module in self._own("module").items():
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        finally:
            _walks.set(before)
        for _, hook in self._hooks_of("_state_dict_hooks"):
            destination = hook(self, destination, prefix, metadata) or destination
        return destination

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        """Put the state of this module, without those in it, into a dict."""
        for kind in ("parameter", "buffer"):
            for name, tensor in self._own(kind).items():
                if name not in self._transient:
                    kept = keep_vars or is_lazy(tensor)
                    destination[prefix + name] = tensor if kept else tensor.detach()
        if type(self).get_extra_state is not Module.get_extra_state:
            destination[f"{prefix}{EXTRA}"] = self.get_extra_state()

    def get_extra_state(self) -> Any:
        """What a module has to save beside tensors; one that does so overrides this.

        It stands in the `state_dict` under the name "_extra_state", and goes to `set_extra_state`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no extra state.")

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` gave; a module that has that overrides this, too."""
        raise NotImplementedError(
            f"{type(self).__name__} got an extra state; it takes one if it overrides "
            "set_extra_state."
        )

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy values into the parameters and buffers: all of them, or none if one does not fit.

        The values are tensors or arrays. They fit if they have the shape, and numbers that the
        dtype can hold: what is finite stays so, and an integer takes the whole part. A shared
        tensor may be given under any of its names. `strict` asks for every name and for no other;
        without it what is there is loaded. With `assign` the given tensors take the place of those
        that are there, with their dtype and device. Returns `(missing_keys, unexpected_keys)`.

        Raises an error, both ValueError and RuntimeError, which names all that does not fit, with
        nothing changed.

        >>> from tinygrad_cv import nn
        >>> nn.Linear(2, 1).load_state_dict({"bias": [0.5], "x": [1.0]}, strict=False)
        IncompatibleKeys(missing_keys=['weight'], unexpected_keys=['x'])
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"a state is a dict of tensors; got a {type(state_dict).__name__}.")
        loading = Loading(assign)
        versions = getattr(state_dict, "_metadata", None) or {}
        missing: list[str] = []
        unexpected: list[str] = []
        wrong: list[str] = []
        visited: list[tuple[str, Module]] = []

        def load(module: Module, state: dict[str, Any], prefix: str) -> None:
            walks = _walks.get()
            try:
                if not _enters(module, f"load {id(loading)}"):
                    return
                visited.append((prefix, module))
                metadata = {**versions.get(prefix[:-1], {})}
                if assign:
                    metadata["assign_to_params_buffers"] = True
                module._load_from_state_dict(
                    state, prefix, metadata, True, missing, unexpected, wrong
                )
                for name, child in module._own("module").items():
                    below = f"{prefix}{name}."
                    part = {k: v for k, v in state.items() if str(k).startswith(below)}
                    load(child, part, below)
            finally:
                _walks.set(walks)

        before = _loading.get()
        try:
            _loading.set(loading)
            load(self, dict(state_dict), "")
        finally:
            _loading.set(before)
        missing = [k for k in missing if loading.missing.get(k) not in loading.new]
        result = IncompatibleKeys(missing, unexpected)
        for _, module in reversed(visited):
            for _, hook in module._hooks_of("_load_state_dict_post_hooks"):
                hook(module, result)
        if wrong or (strict and (missing or unexpected)):
            lines = [f"the state does not fit {type(self).__name__}, which stays as it was."]
            for names, what in ((missing, "Missing"), (unexpected, "Unexpected")):
                if strict and names:
                    quoted = ", ".join(f'"{name}"' for name in names)
                    lines.append(f"{what} key(s) in state_dict: {quoted}.")
            raise StateError("\n\t".join([*lines, *wrong]))
        loading.finish()
        return result

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take what is there for this module, without those in it; all is written at the end.

        A class may override it, to rename or to leave out entries of older states first.
        """
        for _, hook in self._hooks_of("_load_state_dict_pre_hooks"):
            hook(
                *(state_dict, prefix, local_metadata, strict),
                *(missing_keys, unexpected_keys, error_msgs),
            )
        loading = _loading.get() or Loading(bool(local_metadata.get("assign_to_params_buffers")))
        own = {
            name: tensor
            for kind in ("parameter", "buffer")
            for name, tensor in self._own(kind).items()
            if name not in self._transient
        }
        for name, tensor in own.items():
            key = prefix + name
            if key not in state_dict:
                missing_keys.append(key)
                loading.missing[key] = tensor
                continue
            if is_lazy(tensor) and is_lazy(state_dict[key]):
                continue  # neither has a value yet
            try:
                loading.take(self, name, tensor, state_dict[key])
            except (TypeError, ValueError, RuntimeError) as error:
                what = f"size mismatch for {key}:" if isinstance(error, ShapeError) else key
                error_msgs.append(f"{what} {str(error).rstrip('.')}.")
        extra = type(self).set_extra_state is not Module.set_extra_state
        if extra and prefix + EXTRA in state_dict:
            loading.extras.append((self, state_dict[prefix + EXTRA]))
        elif extra:
            missing_keys.append(prefix + EXTRA)
        for key in state_dict:
            rest = str(key)[len(prefix) :]
            first, dot, _ = rest.partition(".")
            known = first in self._own("module") if dot else first in own
            if str(key).startswith(prefix) and not known and not (extra and rest == EXTRA):
                unexpected_keys.append(key)
        if _loading.get() is None:  # it was called by itself
            loading.finish()

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
        return self._apply(
            lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else None)
        )

    def cpu(self) -> "Module":
        """The parameters and buffers in host memory."""
        return self.to("cpu")

    def cuda(self, device: str | int | None = None) -> "Module":
        """The parameters and buffers on a GPU, by default the current one."""
        return self.to("cuda" if device is None else device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Module":
        """Replace every parameter, its gradient and every buffer by what `fn` makes of it.

        They stay the same objects. A class that has tensors of its own overrides it.
        """
        before = _walks.get()
        try:
            if _enters(self, f"apply {id(fn)}"):
                for child in self.children() if recurse else ():
                    child._apply(fn)
                for tensor in [*self._own("parameter").values(), *self._own("buffer").values()]:
                    tensor._turn_into(fn)
        finally:
            _walks.set(before)
        return self

    def _as_floats(self, dtype: Any) -> "Module":
        return self._apply(lambda t: t.to(dtype=dtype) if t.is_floating_point() else t)

    def half(self) -> "Module":
        """The parameters and buffers of floats in float16."""
        return self._as_floats("float16")

    def float(self) -> "Module":
        """The parameters and buffers of floats in float32."""
        return self._as_floats("float32")

    def double(self) -> "Module":
        """The parameters and buffers of floats in float64.

        >>> from tinygrad_cv import nn
        >>> nn.Linear(2, 3).double().weight.dtype
        dtype('float64')
        """
        return self._as_floats("float64")

    def bfloat16(self) -> "Module":
        """Refused: NumPy has no bfloat16."""
        raise NotImplementedError(
            "bfloat16 is no dtype here, as NumPy has none; use .half() or .float()."
        )

    def type(self, dst_type: Any) -> "Module":
        """All parameters and buffers in a dtype."""
        dtype = dtype_named(getattr(dst_type, "dtype", dst_type))
        return self._apply(lambda t: t.to(dtype=dtype))

    def to_empty(self, *, device: str | None, recurse: bool = True) -> "Module":
        """The parameters and buffers on a device, with values that are not those of before.

        So a model that was made on "meta", without numbers, gets memory for those to be loaded.

        >>> from tinygrad_cv import nn
        >>> nn.Linear(2, 3, device="meta").to_empty(device="cpu").bias
        Parameter containing:
        tensor([0., 0., 0.], requires_grad=True)
        """

        def empty(t: Tensor) -> Tensor:
            place = t._backend if device is None else get(device)
            return wrap(place.zeros(t.shape, dtype=t.dtype), place)

        return self._apply(empty, recurse=recurse)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: there is no compiler here, and the module computes the same without."""

    def share_memory(self) -> "Module":
        """Refused: tensors are not shared between processes."""
        raise NotImplementedError(
            "tensors are not shared between processes here; use threads, or send the state_dict."
        )

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

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; or let them be 0, without `set_to_none`."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad = parameter.grad.detach().zero_()

    def requires_grad_(self, requires_grad: bool = True) -> "Module":
        """Whether the parameters are learned."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def extra_repr(self) -> str:
        """What stands between the parentheses of the layer's repr."""
        return ""

    def _get_name(self) -> str:
        """What the repr calls it."""
        return type(self).__name__

    def __repr__(self) -> str:
        before = _walks.get()
        try:
            if not _enters(self, "repr"):
                return f"{self._get_name()}(...)"  # it is below itself
            extra = self.extra_repr()
            children = [
                _addindent(f"({name}): {module!r}", 2) for name, module in self._modules.items()
            ]
        finally:
            _walks.set(before)
        return lines_of(self._get_name(), extra.split("\n") if extra else [], children)


# ----- what modules share ------------------------------------------------------------------------


def lines_of(name: str, extra: list[str], children: list[str]) -> str:
    """The repr of a module: on one line where it has nothing in it."""
    if not children and len(extra) <= 1:
        return f"{name}({''.join(extra)})"
    return "\n".join([f"{name}(", *[f"  {line}" for line in (*extra, *children)], ")"])


def _addindent(s_: str, numSpaces: int) -> str:
    """The lines after the first one further to the right."""
    return s_.replace("\n", "\n" + " " * numSpaces)


EXTRA = "_extra_state"
ENGINES = {"_kinds", "_transient", *vars(Hooked)}
"""Attributes of a module that are the engine's own."""

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


class ShapeError(ValueError):
    """A value has another shape than the tensor that it is for."""


class Loading:
    """What a `load_state_dict` under way is going to write."""

    def __init__(self, assign: bool) -> None:
        self.assign = assign
        self.missing: dict[str, Tensor] = {}
        self.new: dict[Tensor, Tensor] = {}
        self.places: list[tuple[Module, str, Tensor]] = []
        self.extras: list[tuple[Module, Any]] = []

    def take(self, module: Module, name: str, tensor: Tensor, value: Any) -> None:
        """A value for a tensor of a module; it is checked, and not yet written."""
        if isinstance(tensor, UninitializedBuffer):  # it takes any shape, and the dtype with it
            array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
            self.places.append((module, name, Tensor(host.array(array), device=tensor.device)))
            return
        if self.assign:
            new = as_input(value)
            if new.shape != tensor.shape:
                raise ShapeError(f"it is {new.shape} and should be {tensor.shape}")
            if isinstance(tensor, Parameter) and not isinstance(new, Parameter):
                new = Parameter(new, tensor.requires_grad)
            self.new[tensor] = new
            self.places.append((module, name, new))
            return
        new = _fitting(value, tensor)
        if tensor in self.new and not _equal(new, self.new[tensor]):
            raise ValueError("is one tensor with another of these names, and differs")
        self.new[tensor] = new

    def finish(self) -> None:
        """Write all of it, or nothing if a write fails."""
        old: dict[Tensor, Tensor] = {}
        try:
            for tensor in [] if self.assign else [*self.new]:
                old[tensor] = tensor.detach().clone()
                tensor.detach().copy_(self.new.pop(tensor))
        except BaseException:
            for tensor, value in old.items():
                with suppress(ValueError):  # of memory that cannot be written
                    tensor.detach().copy_(value)
            raise
        for module, name, tensor in self.places:
            module._hold(name, module._kinds[name], tensor)
        for module, state in self.extras:
            module.set_extra_state(state)


_loading: ContextVar[Loading | None] = ContextVar("loading", default=None)
"""What the `load_state_dict` that runs here is going to write."""


def _fitting(value: Any, tensor: Tensor) -> Tensor:
    """The value as a new tensor of the same shape, dtype and device; ValueError if it cannot be."""
    if tensor.is_meta:
        raise ValueError(
            "is on meta and keeps no numbers; load with assign=True, or call to_empty(device='cpu')"
        )
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    array = host.asarray(value)
    if not tensor.ndim and array.shape == (1,):
        array = array[0]  # what once was one number in a row
    shape, dtype = array.shape, array.dtype
    if shape != tensor.shape:
        raise ShapeError(f"it is {shape} and should be {tensor.shape}")
    if dtype.kind not in "biuf":
        raise ValueError(f"holds values of type {dtype} and should be {tensor.dtype}")
    with host.errstate(all="ignore"):  # what overflows is told from what is there at the end
        new = array.astype(tensor.dtype)
    if new.dtype.kind == "f":
        kept = host.isfinite(new) | ~host.isfinite(array)
    else:
        kept = new == host.trunc(array)  # a mean of counts, say, loses its fraction
    if not kept.all():
        raise ValueError(f"holds {array[~kept][0]}, which is no {tensor.dtype}")
    return Tensor(new, device=tensor.device)


def _equal(a: Tensor, b: Tensor) -> bool:
    return host.array_equal(a.cpu().numpy(), b.cpu().numpy(), equal_nan=a.is_floating_point())


# ----- hooks of every module ---------------------------------------------------------------------


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> Handle:
    """Call `hook(module, args)` before the `forward` of every module; see the method's."""
    Module._hooked = True
    return EVERY.register_forward_pre_hook(hook)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> Handle:
    """Call `hook(module, args, output)` after the `forward` of every module.

    The hooks of the modules themselves come after those of all modules.

    >>> from tinygrad_cv import nn, ones
    >>> names = []
    >>> def seen(module, args, output):
    ...     names.append(type(module).__name__)
    >>> with register_module_forward_hook(seen):
    ...     y = nn.Sequential(nn.ReLU(), nn.Tanh())(ones(1))
    >>> names
    ['ReLU', 'Tanh', 'Sequential']
    """
    Module._hooked = True
    return EVERY.register_forward_hook(hook, with_kwargs=with_kwargs, always_call=always_call)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> Handle:
    """Call `hook(module, grad_output)` before the gradients pass any module."""
    Module._hooked = True
    return EVERY.register_full_backward_pre_hook(hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> Handle:
    """Call `hook(module, grad_input, grad_output)` when the gradients have passed any module."""
    Module._hooked = True
    return EVERY.register_full_backward_hook(hook)


register_module_backward_hook = register_module_full_backward_hook

REGISTRATIONS: dict[str, dict[int, Callable[..., Any]]] = {
    kind: {} for kind in ("parameter", "buffer", "module")
}
"""The hooks that are called when a module registers something."""


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> Handle:
    """Call `hook(module, name, parameter)` when any module registers a parameter.

    What it returns, unless that is None, is registered in its place.

    >>> from tinygrad_cv import nn
    >>> names = []
    >>> def seen(module, name, parameter):
    ...     names.append(name)
    >>> with register_module_parameter_registration_hook(seen):
    ...     layer = nn.Linear(2, 3)
    >>> names
    ['weight', 'bias']
    """
    return Handle(REGISTRATIONS["parameter"], hook)


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> Handle:
    """Call `hook(module, name, buffer)` when any module registers a buffer; see parameters."""
    return Handle(REGISTRATIONS["buffer"], hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> Handle:
    """Call `hook(module, name, submodule)` when any module registers one; see parameters."""
    return Handle(REGISTRATIONS["module"], hook)
