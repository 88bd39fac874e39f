"""Hooks: functions that are called when a module is, when gradients pass it, or with its state."""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import cache, cached_property, partial
from typing import Any
from warnings import warn

from tinygrad_cv._apply import Recorded, apply
from tinygrad_cv._grad_mode import is_grad_enabled, no_grad
from tinygrad_cv._graph import Handle
from tinygrad_cv._op import Op
from tinygrad_cv._tensor import Tensor, wrap

Hooks = OrderedDict[int, Callable[..., Any]]


class Hooked:
    """What a module knows of its hooks; `EVERY` knows those of all modules.

    A module that has none, as nearly all, has no dicts of them either: they are made when they are
    first asked for, and `_hooked` tells the call that it has to look.
    """

    _hooked: bool = False

    def _none_yet(self) -> Any:
        vars(self)["_hooked"] = True
        return OrderedDict()

    _forward_pre_hooks: "cached_property[Hooks]" = cached_property(_none_yet)
    _forward_hooks: "cached_property[Hooks]" = cached_property(_none_yet)
    _backward_pre_hooks: "cached_property[Hooks]" = cached_property(_none_yet)
    _backward_hooks: "cached_property[Hooks]" = cached_property(_none_yet)
    _state_dict_pre_hooks: "cached_property[Hooks]" = cached_property(_none_yet)
    _state_dict_hooks: "cached_property[Hooks]" = cached_property(_none_yet)
    _load_state_dict_pre_hooks: "cached_property[Hooks]" = cached_property(_none_yet)
    _load_state_dict_post_hooks: "cached_property[Hooks]" = cached_property(_none_yet)
    _hook_options: "cached_property[dict[int, tuple[str, ...]]]" = cached_property(_none_yet)
    """Of the forward hooks that asked for it: "with_kwargs" and "always_call"."""

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Handle:
        """Call `hook(module, args)` before each `forward`.

        What it returns, unless that is None, takes the place of the positional arguments: a tuple
        of them, or one. With `with_kwargs` it is `hook(module, args, kwargs)`, and returns None or
        a tuple `(args, kwargs)`. Hooks are called in the order of their registration, with
        `prepend` before those that are there. Returns a handle: `handle.remove()` takes the hook
        away, and so does the end of a `with handle:`.

        >>> from tinygrad_cv import nn, ones
        >>> layer = nn.ReLU()
        >>> with layer.register_forward_pre_hook(lambda module, args: -args[0]):
        ...     layer(ones(1)).tolist()
        [0.0]
        >>> layer(ones(1)).tolist()
        [1.0]
        """
        options = ("with_kwargs",) * with_kwargs
        return self._add_hook(self._forward_pre_hooks, hook, prepend, options)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> Handle:
        """Call `hook(module, args, output)` after each `forward`.

        What it returns, unless that is None, takes the place of the output. With `with_kwargs` it
        is `hook(module, args, kwargs, output)`; with `always_call` it is called after an error,
        too, with the output that there is then. For order and handle see
        `register_forward_pre_hook`.

        >>> from tinygrad_cv import nn, ones
        >>> seen, layer = [], nn.Linear(2, 3)
        >>> handle = layer.register_forward_hook(lambda m, args, y: seen.append(y.shape))
        >>> y = layer(ones(4, 2))
        >>> handle.remove()
        >>> seen
        [(4, 3)]
        """
        options = ("with_kwargs",) * with_kwargs + ("always_call",) * always_call
        return self._add_hook(self._forward_hooks, hook, prepend, options)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> Handle:
        """Call `hook(module, grad_output)` when the gradients of the outputs are complete.

        `grad_output` is a tuple with the gradient of each output, None for what has none. What the
        hook returns, a tuple or the gradient of the only output, takes its place.
        """
        return self._add_hook(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> Handle:
        """Call `hook(module, grad_input, grad_output)` when the gradients have passed the module.

        Both are tuples: one gradient for each positional argument and for each output, None for
        what is no tensor or needs no gradient. What the hook returns, a tuple or the gradient of
        the only input, takes the place of `grad_input`. If no argument needs a gradient it is
        called with that of the outputs. The gradients of the inputs are those through this module
        alone.

        >>> from tinygrad_cv import nn, tensor
        >>> layer = nn.ReLU()
        >>> handle = layer.register_full_backward_hook(lambda module, gx, gy: 2 * gx[0])
        >>> x = tensor([1.0, 2.0], requires_grad=True)
        >>> layer(x).sum().backward()
        >>> x.grad.tolist()
        [2.0, 2.0]
        """
        return self._add_hook(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> Handle:
        """The older name of `register_full_backward_hook`, with the same gradients."""
        return self._add_hook(self._backward_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, prefix, keep_vars)` before the state of the module is collected."""
        return self._add_hook(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, state_dict, prefix, local_metadata)` after its state is collected.

        It changes the dict in place.
        """
        return self._add_hook(self._state_dict_hooks, partial(_in_place, hook))

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> Handle:
        """The older form: the hook may also return another dict."""
        return self._add_hook(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call a hook before this module takes its part of a state that is loaded.

        It is `hook(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)`, and may change the dict and the lists.
        """
        return self._add_hook(self._load_state_dict_pre_hooks, partial(hook, self))

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> Handle:
        """The older form, without the module among the arguments."""
        hook = partial(hook, self) if with_module else hook
        return self._add_hook(self._load_state_dict_pre_hooks, hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, incompatible_keys)` when the modules in this one have been looked at.

        The two lists in `incompatible_keys` may be changed: what is taken out is no error.
        """
        return self._add_hook(self._load_state_dict_post_hooks, hook)

    def _add_hook(
        self, hooks: Hooks, hook: Callable[..., Any], first: bool = False, options: Any = ()
    ) -> Handle:
        if not callable(hook):
            raise TypeError(f"a hook is a function; got a {type(hook).__name__}.")
        handle = Handle(hooks, hook)
        if first:
            hooks.move_to_end(handle.id, last=False)
        if options:
            self._hook_options[handle.id] = options
        return handle

    def _hooks_of(self, name: str) -> list[tuple[int, Callable[..., Any]]]:
        """The hooks of this kind, those for every module first."""
        found = []
        for holder in (EVERY, self):
            if name in vars(holder):
                found += vars(holder)[name].items()
        return found

    def _asked(self, number: int, option: str) -> bool:
        """Whether a forward hook asked for this option."""
        return any(
            option in vars(holder).get("_hook_options", {}).get(number, ())
            for holder in (EVERY, self)
        )


EVERY = Hooked()
"""Holds the hooks that are called with every module."""


# ----- the call of a module that has hooks -------------------------------------------------------


def hooked_call(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`module.forward(*args, **kwargs)` with the hooks around it."""
    output, called = None, set()
    try:
        for number, hook in module._hooks_of("_forward_pre_hooks"):
            if module._asked(number, "with_kwargs"):
                result = hook(module, args, kwargs)
                if result is not None:
                    if not (isinstance(result, tuple) and len(result) == 2):
                        raise RuntimeError(
                            "a forward pre-hook with_kwargs returns None or (args, kwargs); got "
                            f"{result!r}."
                        )
                    args, kwargs = result
            else:
                result = hook(module, args)
                if result is not None:
                    args = result if isinstance(result, tuple) else (result,)
        passing = None
        if is_grad_enabled() and (
            module._hooks_of("_backward_hooks") or module._hooks_of("_backward_pre_hooks")
        ):
            passing, outside = Passing(module, len(args)), args
            args = passing.into(args)
        output = module.forward(*args, **kwargs)
        for number, hook in module._hooks_of("_forward_hooks"):
            called.add(number)
            named = (kwargs,) if module._asked(number, "with_kwargs") else ()
            result = hook(module, args, *named, output)
            if result is not None:
                output = result
        return output if passing is None else passing.out(output, outside, args)
    except BaseException:
        for number, hook in module._hooks_of("_forward_hooks"):
            if number not in called and module._asked(number, "always_call"):
                named = (kwargs,) if module._asked(number, "with_kwargs") else ()
                with suppress(Exception):  # the first error is the one to be told
                    hook(module, args, *named, output)
        raise


class Passing:
    """One call of a module with backward hooks: what goes in and what comes out passes a gate.

    Behind the gate of the inputs there are tensors of their own, so that their gradients are those
    through this module. What the module changes in place there is changed outside as well.
    """

    def __init__(self, module: Any, count: int) -> None:
        self.module, self.count = module, count  # no tensors: the graph, which they own, owns this
        self.grad_output: tuple[Any, ...] | None = None

    def into(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments as the module gets them."""
        inside, self.places = gated(args, self.inputs_done)
        return inside

    def out(self, output: Any, args: tuple[Any, ...], inside: tuple[Any, ...]) -> Any:
        """The output as the caller gets it."""
        for place in self.places:
            if inside[place]._version:
                args[place].copy_(inside[place])
        parts = output if isinstance(output, tuple | list) else (output,)
        if not any(isinstance(part, Tensor) for part in parts):
            warn(
                f"the backward hooks of {type(self.module).__name__} are not called: it returned a "
                f"{type(output).__name__}, and they see a tensor or a tuple of tensors.",
                stacklevel=4,
            )
        gone, self.ways = gated(parts, self.outputs_done)
        if not isinstance(output, tuple | list):
            return gone[0]
        kind: Any = type(output)
        return kind(*gone) if hasattr(output, "_fields") else kind(gone)

    def outputs_done(self, gradients: list[Any], whole: int) -> list[Any]:
        """Of the outputs the gradients are complete."""
        full = _spread(gradients, self.ways, whole)
        for _, hook in self.module._hooks_of("_backward_pre_hooks"):
            full = _replaced("pre-hook", full, hook(self.module, full))
        self.grad_output = full
        if not self.places:
            self._after((None,) * self.count)
            self.grad_output = None
        return [full[place] for place in self.ways]

    def inputs_done(self, gradients: list[Any], whole: int) -> list[Any]:
        """Of the inputs the gradients are complete.

        A pass through the gradients of a former pass may get here and not through the outputs; it
        is none that the hooks are told of.
        """
        if self.grad_output is None:
            return gradients
        full = self._after(_spread(gradients, self.places, whole))
        self.grad_output = None
        return [full[place] for place in self.places]

    def _after(self, full: tuple[Any, ...]) -> tuple[Any, ...]:
        for _, hook in self.module._hooks_of("_backward_hooks"):
            full = _replaced("hook", full, hook(self.module, full, self.grad_output))
        return full


def _in_place(hook: Callable[..., Any], *args: Any) -> None:
    """Call a hook that changes what it gets."""
    if hook(*args) is not None:
        raise RuntimeError("a state_dict post-hook changes the dict, and returns None.")


def _spread(gradients: list[Any], places: list[int], whole: int) -> tuple[Any, ...]:
    full = [None] * whole
    for place, gradient in zip(places, gradients, strict=True):
        full[place] = gradient
    return tuple(full)


def _replaced(kind: str, full: tuple[Any, ...], result: Any) -> tuple[Any, ...]:
    """The gradients, or what a hook returned for them."""
    if result is None:
        return full
    parts: tuple[Any, ...] = result if isinstance(result, tuple) else (result,)
    if len(parts) != len(full):
        raise RuntimeError(
            f"a backward {kind} returned {len(parts)} gradients in place of {len(full)}."
        )
    for old, new in zip(full, parts, strict=True):
        if new is not None and (old is None or getattr(new, "shape", None) != old.shape):
            raise RuntimeError(
                f"a backward {kind} returned {getattr(new, 'shape', new)!r} for a gradient of "
                f"shape {None if old is None else old.shape}; it returns one of that shape, or "
                "None where there was none."
            )
    return parts


def gated(
    values: Any, told: Callable[[list[Any], int], list[Any]]
) -> tuple[tuple[Any, ...], list[int]]:
    """The values, with those that need a gradient behind a gate; and the places of these.

    When their gradients are complete, `told` gets them, None for what none came to, and returns
    those that go on.
    """
    places = [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]
    if not places or not is_grad_enabled():
        return tuple(values), []
    came: set[int] = set()
    op = _gate(len(places))(told=told, came=came, whole=len(values))
    passed = apply(op, *[values[place] for place in places])
    full = [*values]
    for i, (place, y) in enumerate(zip(places, passed, strict=True)):
        y.node.hooks = {}
        Handle(y.node.hooks, partial(_came, came, i))
        full[place] = y
    return tuple(full), places


def _came(came: set[int], place: int, node: Any, gradient: Any) -> Any:
    """A gradient has come to this place."""
    came.add(place)
    return gradient


@cache
def _gate(count: int) -> type[Op]:
    """The op of a gate for as many tensors: the identity, whose rule tells of all gradients."""

    class Gate(Op, register=False):
        told: Any
        came: Any
        whole: int
        name = "module_hook"
        outputs = tuple(f"y{i}" for i in range(count))
        hidden = ("told", "came", "whole")

        def forward(self, xp: Any, *xs: Any) -> Any:
            return xs

        def grad_xs(self, F: Any, gs: Any) -> Any:
            recorded = isinstance(F, Recorded)
            here: list[Any] = [None] * count
            came = set(self.came)
            self.came.clear()
            for i, g in enumerate(gs):
                if i in came:
                    here[i] = g if recorded else wrap(F.backend.array(g, None), F.backend)
            if recorded:
                sent = self.told(here, self.whole)
            else:
                with no_grad():
                    changed = self.told(here, self.whole)
                sent = [None if new is None else _array(new, F.backend) for new in changed]
            return [g * 0 if new is None else new for g, new in zip(gs, sent, strict=True)]

    return Gate


def _array(new: Tensor, backend: Any) -> Any:
    return new.detach().to(device=backend.device, copy=True)._array
