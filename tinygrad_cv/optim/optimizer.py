"""Optimizer: groups of parameters, what is remembered of each, and the step that changes them."""

import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial, wraps
from numbers import Real
from typing import Any, ClassVar

from tinygrad_cv._grad_mode import enable_grad
from tinygrad_cv._graph import Handle, observer
from tinygrad_cv._public import OPTIM, public
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv._trees import mapped
from tinygrad_cv.backend import host
from tinygrad_cv.backend.recording import recording, refuse
from tinygrad_cv.optim._together import Alike, Joined, Listed, alike

ParamsT = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
"""Tensors, groups of them with options of their own, or named tensors."""


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()
"""In `defaults`: an option that each group must have."""

FLOAT32, HALF = host.dtype("float32"), host.dtype("float16")
PLAIN = frozenset((bool, int, float, str, type(None)))
"""What options are made of, as Python has them."""


Hooks = OrderedDict[int, Callable[..., Any]]

EVERY: dict[str, Hooks] = {"step_pre": OrderedDict(), "step_post": OrderedDict()}
"""The hooks of all optimizers."""


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> Handle:
    """Call hook(optimizer, args, kwargs) before each step of every optimizer; see the method's."""
    return Handle(EVERY["step_pre"], hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> Handle:
    """Call hook(optimizer, args, kwargs) after each step of every optimizer.

    >>> from tinygrad_cv import optim, tensor
    >>> def seen(optimizer, args, kwargs):
    ...     print(type(optimizer).__name__)
    >>> with register_optimizer_step_post_hook(seen):
    ...     optim.Adam([tensor(1.0, requires_grad=True)]).step()
    Adam
    """
    return Handle(EVERY["step_post"], hook)


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """The `step` of a class, with the hooks around it, and counted for the schedules."""

    @wraps(step)
    def stepped(self: "Optimizer", *args: Any, **options: Any) -> Any:
        if self._inside:  # super().step()
            return step(self, *args, **options)
        if (recorder := recording.get()) is not None:
            if any(callable(value) for value in (*args, *options.values())):
                refuse(
                    "a step with a closure",
                    "Compute the gradients before it, or compile the closure.",
                )
            again = partial(stepped, self, *args, **options)
            return recorder.host_call(Again(self, again), self._parameters())
        self._inside, args = True, (self, *args)
        try:
            for hook in [*EVERY["step_pre"].values(), *self._hooks["step_pre"].values()]:
                changed = hook(self, args, options)
                if changed is None:
                    continue
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        "a hook before a step returns None or a tuple of new (args, kwargs), the "
                        f"first of args being the optimizer; got {changed!r}."
                    )
                args, options = changed
            result = step(*args, **options)
            self._steps += 1
            for hook in [*self._hooks["step_post"].values(), *EVERY["step_post"].values()]:
                hook(self, args, options)
            if (eye := observer.get()) is not None:
                eye.updated(self)
        finally:
            self._inside = False
        return result

    stepped.hooked = True  # type: ignore[attr-defined]
    return stepped


@public(OPTIM)
class Optimizer:
    """Base of the optimizers: groups of parameters, and a `step` that changes them.

    `params` are tensors, such as `model.parameters()`; pairs of names and tensors, such as
    `model.named_parameters()`; or groups, dicts with "params" and options that only hold there. The
    other options come from `defaults`. They stand in `param_groups`, to be read and changed at any
    time: `for group in optimizer.param_groups: group["lr"] *= 0.1`.

    `state` maps each parameter to a dict of what is remembered of it, tensors and numbers.

    An optimizer of your own has a `step`, as in PyTorch; or it says with `update` how one array
    changes, and the step is this one (see there).

    Raises TypeError for what is no list of tensors, and ValueError for none, for one that is no
    leaf or is there twice, and for options that make no sense.

    >>> from tinygrad_cv import optim, tensor
    >>> w = tensor(3.0, requires_grad=True)
    >>> optimizer = optim.SGD([w], lr=0.1)
    >>> (w * w).backward()
    >>> optimizer.step()
    >>> round(w.item(), 4)
    2.4
    """

    bounds: ClassVar[Mapping[str, float]] = {}
    """The options that are numbers from 0 on, or tuples of them, and what they stay below."""

    numbers: tuple[str, ...] = ()
    """What is remembered as numbers."""

    arrays: tuple[str, ...] = ()
    """What is remembered as tensors of the shape of the parameter."""

    elementwise = True
    """Whether `update` does the same with each number, so that parameters may be joined for it."""

    _inside = False
    _steps = 0
    """How many steps were made."""

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise TypeError(
                "an optimizer takes a list of tensors, such as model.parameters() or [w]; got a "
                f"{type(params).__name__}."
            )
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        given = list(params)
        if not given:
            raise ValueError("the optimizer got no parameters; pass model.parameters().")
        groups: Any = given if isinstance(given[0], dict) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)

    # These two are neither pickled nor copied; and a wrapper around another optimizer, such as
    # Lookahead, may have left out super().__init__().

    @cached_property
    def _hooks(self) -> dict[str, Hooks]:
        """The hooks of this optimizer."""
        return defaultdict(OrderedDict)

    @cached_property
    def _together(self) -> dict[Any, Joined | Listed]:
        """What is updated together, by the ids of the parameters."""
        return {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "update" in vars(cls) and "takes_lists" not in vars(
            cls
        ):  # of arrays, as far as is known
            cls.takes_lists = Optimizer.takes_lists  # type: ignore[method-assign]
        if not hasattr(cls.step, "hooked"):  # its own, or that of another base
            setattr(cls, "step", _with_hooks(cls.step))  # noqa: B010  for checkers

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: all but the hooks, which may be making the copy in a step."""
        hidden = ("_hooks", "_together", "_inside")
        return {k: v for k, v in vars(self).items() if k not in hidden}

    def __setstate__(self, values: dict[str, Any]) -> None:
        vars(self).update(values)
        self._together = {}

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            names = sorted(group.keys() - {"params"})
            lines += [f"    {name}: {group[name]}" for name in names]
        return "\n".join([*lines, ")"])

    # ----- groups ----------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take more parameters, with options of their own: {"params": [...], "lr": 0.01}.

        Raises as the constructor does.
        """
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(
                'a group of parameters is a dict, {"params": [...], "lr": ...}; got '
                f"{param_group!r}."
            )
        group, given = param_group, param_group["params"]
        if isinstance(given, set):
            raise TypeError("parameters need an order, which a set has not; pass a list.")
        given = [given] if isinstance(given, Tensor) else list(given)
        pairs = [entry for entry in given if isinstance(entry, tuple) and len(entry) == 2]
        if pairs and len(pairs) < len(given):
            raise ValueError("either all parameters of a group have names, or none has.")
        if self.param_groups and bool(pairs) != ("param_names" in self.param_groups[0]):
            raise ValueError(
                "either all groups of an optimizer have names for their parameters, or none has."
            )
        params = [tensor for _, tensor in pairs] if pairs else given
        taken = {p for other in self.param_groups for p in other["params"]}
        for parameter in params:
            if not isinstance(parameter, Tensor):
                raise TypeError(f"an optimizer changes tensors; got {parameter!r}.")
            if not parameter.is_leaf:
                raise ValueError(
                    f"an optimizer changes leaf tensors; this one of shape {parameter.shape} was "
                    "computed from others. Pass those, or a detached one."
                )
            if parameter in taken:
                raise ValueError(
                    f"a parameter of shape {parameter.shape} is in the list twice; it would be "
                    "updated twice a step. Pass each once."
                )
            taken.add(parameter)
        options = {**self.defaults, **group}
        missing = [name for name, value in options.items() if value is required]
        if missing:
            raise ValueError(
                f"a group of parameters needs {', '.join(missing)}; nothing was given."
            )
        self._check(options)
        group["params"] = params
        if pairs:
            group["param_names"] = [name for name, _ in pairs]
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        self.param_groups.append(group)

    def _check(self, options: dict[str, Any]) -> None:
        """Raise ValueError for an option that makes no sense."""
        for name, bound in self.bounds.items():
            value = options[name]
            if name != "betas":
                checked("the learning rate" if name == "lr" else name, value, bound)
                continue
            betas = tuple(value) if isinstance(value, Iterable) else ()
            if len(betas) != 2:
                raise ValueError(f"betas are two numbers, such as (0.9, 0.999); got {value!r}.")
            for i, beta in enumerate(betas):
                checked(f"betas[{i}]", beta, bound)
        if options.get("differentiable"):
            raise ValueError(
                "differentiable=True: a step is not recorded here, so no gradient flows through "
                "it. Write the update with tensors: w = w - lr * grad(loss, w, create_graph=True)."
            )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with `set_to_none=False` fill them with zeros, in place."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none or parameter.grad is None:
                    parameter.grad = None
                else:
                    parameter.grad.detach_().zero_()

    # ----- steps -----------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        `closure`, if given, is called first: it computes the loss and its gradients, and returns
        the loss, which is what the step returns.

        Raises ValueError, with nothing changed, where a parameter has left the device on which its
        state lies.
        """
        loss = _value_of(closure)
        work, begins = [], type(self).begin is not Optimizer.begin
        for group in self.param_groups:
            options = _options_of(group)
            changing = [p for p in group["params"] if p.grad is not None]
            known = self._together.get(tuple(map(id, changing)))
            if known is None or not self._is_right(known, options):
                known = None
            for parameter in changing:
                if known is not None and parameter._grad._backend is known.backend:
                    continue
                state = self.state.get(parameter, {})
                self._check_device(parameter, state)
                if not state and begins:
                    with parameter._backend.active:
                        self._remember(parameter, options)
            work.append((options, changing, known))
        for options, changing, known in work:
            if known is not None:
                gradients = [p._grad._array for p in changing]
                with known.backend.active:
                    self._change_several(known, gradients, options)
                continue
            for part in self._alike(changing, options):
                self._change(part, options)
        return loss

    def _alike(self, params: list[Tensor], options: dict[str, Any]) -> Iterator[Alike]:
        lists = partial(self._lists, options=options)
        return alike(params, self.state, self.numbers, self.elementwise, lists)

    def begin(self, xp: Any, p: Any, options: dict[str, Any]) -> dict[str, Any]:
        """What is remembered of a parameter (an array) before its first step."""
        return {}

    def update(
        self, xp: Any, p: Any, g: Any, state: dict[str, Any], options: dict[str, Any]
    ) -> None:
        """Change an array p in place, and what is remembered of it.

        `xp` is the array library, g the gradient; both arrays are float32 at least. `state` holds
        what `numbers` and `arrays` name and `begin` began with; `options` are those of the group,
        as Python's numbers. Where `elementwise`, several parameters may come as one array.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no step; write step(closure=None), or update(...)."
        )

    def takes_lists(self, state: dict[str, Any], options: dict[str, Any]) -> bool:
        """Whether `update` takes lists of arrays, too: of parameters of which this is remembered.

        In place of p, g and the tensors of the state there are lists then, and the numbers of the
        state are the same for all. A class with an `update` of its own says it for itself.
        """
        return False

    def _remember(self, parameter: Tensor, options: dict[str, Any]) -> None:
        backend = parameter._backend
        for name, value in self.begin(backend, widened(parameter._array), options).items():
            self.state[parameter][name] = wrap(value, backend) if _is_array(value) else value

    def _is_right(self, together: Joined | Listed, options: dict[str, Any]) -> bool:
        """Whether these parameters can still be updated together."""
        return (
            together.holds(self.state)
            and together.agrees(self.numbers)
            and (type(together) is Joined or self._lists(together.params[0], options))
        )

    def _lists(self, parameter: Tensor, options: dict[str, Any]) -> bool:
        """Whether an update finds a parameter in a list."""
        return (
            parameter._backend.updates_at_once
            and parameter._array.dtype == FLOAT32
            and self.takes_lists(self.state.get(parameter, {}), options)
        )

    def _change(self, part: Alike, options: dict[str, Any]) -> None:
        """One update, of a parameter or of several that are alike."""
        backend = part.params[0]._backend
        gradients = [p._grad._array for p in part.params]  # type: ignore[union-attr]
        with backend.active:
            if part.kind is None:
                self._change_one(part.params[0], gradients[0], options)
                return
            key = tuple(map(id, part.params))
            together = self._together.get(key)
            if type(together) is not part.kind or not together.holds(self.state):
                together = part.kind(part.params, self.state, self.arrays)
                others = {k: t for k, t in self._together.items() if t.holds(self.state)}
                self._together = others | {key: together}
            self._change_several(together, gradients, options)

    def _change_one(self, parameter: Tensor, gradient: Any, options: dict[str, Any]) -> None:
        backend, array = parameter._backend, parameter._array
        p, g = widened(array), widened(gradient)
        state = {
            name: value._array if isinstance(value, Tensor) else value
            for name, value in self.state.get(parameter, {}).items()
        }
        before = state.copy()
        self.update(backend, p, -g if options.get("maximize") else g, state, options)
        if p is not array:
            array[...] = p
        parameter._changed()
        for name, value in state.items():
            if name not in before or value is not before[name]:
                kept = wrap(value, backend) if _is_array(value) else value
                self.state[parameter][name] = kept

    def _change_several(
        self, together: Joined | Listed, gradients: list[Any], options: dict[str, Any]
    ) -> None:
        p, state = together.parameters(), together.state(self.numbers)
        g = together.gradients(gradients, -1 if options.get("maximize") else 1)
        self.update(together.backend, p, g, state, options)
        together.write(p, state)

    def _check_device(self, parameter: Tensor, state: dict[str, Any]) -> None:
        """Raise unless a parameter, its gradient and what is remembered of it lie together."""
        place = parameter._backend
        gradient = place if parameter._grad is None else parameter._grad._backend
        began = place
        for value in state.values():
            if isinstance(value, Tensor):
                began = value._backend
                break
        if not gradient is place is began:
            raise ValueError(
                f"a parameter of shape {parameter.shape} is on {parameter.device}, its gradient on "
                f"{gradient.device}, and the optimizer began on {began.device}. Move the model "
                "before the first step, or make a new optimizer."
            )

    # ----- as data ---------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What a run needs to go on: {"state": ..., "param_groups": ...}, in PyTorch's layout.

        The parameters are numbered over all groups; "state" has the number of a parameter where
        `state` has the parameter. The tensors are the optimizer's own, so save or copy them before
        the next step.

        >>> from tinygrad_cv import optim, tensor
        >>> w = tensor(3.0, requires_grad=True)
        >>> optimizer = optim.SGD([w], lr=0.1, momentum=0.9)
        >>> (w * w).backward()
        >>> optimizer.step()
        >>> optimizer.state_dict()["state"]
        {0: {'momentum_buffer': tensor(6.)}}
        """
        for hook in [*self._hooks["state_dict_pre"].values()]:
            hook(self)
        places = {p: i for i, p in enumerate(self._parameters())}
        groups = [
            {k: v for k, v in group.items() if k != "params"}
            | {"params": [places[p] for p in group["params"]]}
            for group in self.param_groups
        ]
        state = {
            places[key] if isinstance(key, Tensor) else key: value
            for key, value in self.state.items()
            if value or not isinstance(key, Tensor)
        }
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in [*self._hooks["state_dict_post"].values()]:
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where another optimizer of this kind was, with as many parameters in each group.

        Tensors are copied, to the device of their parameter. What PyTorch wrote is taken too. An
        option that the other did not know keeps its default.

        Raises ValueError, with nothing changed, if the groups or the shapes do not fit.
        """
        for hook in [*self._hooks["load_state_dict_pre"].values()]:
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        if not isinstance(state_dict, Mapping) or not state_dict.keys() >= {
            "state",
            "param_groups",
        }:
            raise ValueError(
                "the state of an optimizer is what state_dict() gave, a dict with 'state' and "
                f"'param_groups'; got {type(state_dict).__name__}."
            )
        sizes = [
            [len(group["params"]) for group in groups]
            for groups in (self.param_groups, state_dict["param_groups"])
        ]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"this optimizer has groups of {sizes[0]} parameters, and the state is of groups "
                f"of {sizes[1]}."
            )
        numbered = {
            number: parameter
            for group, other in zip(self.param_groups, state_dict["param_groups"], strict=True)
            for number, parameter in zip(other["params"], group["params"], strict=True)
        }
        groups = []
        for group, other in zip(self.param_groups, state_dict["param_groups"], strict=True):
            names = {"param_names": group["param_names"]} if "param_names" in group else {}
            groups.append(
                self.defaults | names | mapped(_copied, dict(other)) | {"params": group["params"]}
            )
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for number, remembered in state_dict["state"].items():
            if number in numbered:
                parameter = numbered[number]
                self._check_shapes(parameter, remembered)
                state[parameter] = {
                    name: mapped(partial(self._fitting, name, parameter), value)
                    for name, value in remembered.items()
                    if value is not None
                }
            else:
                state[number] = mapped(_copied, remembered)
        self.__setstate__({"state": state, "param_groups": groups})  # where subclasses see it
        for hook in [*self._hooks["load_state_dict_post"].values()]:
            hook(self)

    def _check_shapes(self, parameter: Tensor, remembered: dict[str, Any]) -> None:
        """Raise ValueError for a tensor of another shape than the parameter that it is of."""
        for name in self.arrays:
            value = remembered.get(name)
            shape = getattr(value, "shape", None)
            if value is not None and (shape is None or tuple(shape) != tuple(parameter.shape)):
                raise ValueError(
                    f"the {name} of a parameter of shape {tuple(parameter.shape)} has that shape; "
                    f"the state has {type(value).__name__ if shape is None else tuple(shape)}."
                )

    def _fitting(self, name: str, parameter: Tensor, value: Any) -> Any:
        """A tensor or number that another optimizer remembers, for this parameter."""
        if not hasattr(value, "dtype"):
            return value
        if name in self.numbers:
            return value.item()
        if not isinstance(value, Tensor):
            value = Tensor(host.asarray(value))
        wide = "float32" if parameter.dtype == "float16" else parameter.dtype
        cast = name != "step" and value.is_floating_point() and parameter.is_floating_point()
        return Tensor(value, dtype=wide if cast else None, device=parameter.device)

    def _parameters(self) -> list[Tensor]:
        """All parameters of all groups."""
        return [parameter for group in self.param_groups for parameter in group["params"]]

    # ----- hooks -----------------------------------------------------------------------------

    def _hook(self, kind: str, hook: Callable[..., Any], prepend: bool = False) -> Handle:
        handle = Handle(self._hooks[kind], hook)
        if prepend:
            self._hooks[kind].move_to_end(handle.id, last=False)
        return handle

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call hook(optimizer, args, kwargs) before each step; it may return new (args, kwargs).

        The first of args is the optimizer. Raises RuntimeError in the step if a hook returns
        anything else.
        """
        return self._hook("step_pre", hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call hook(optimizer, args, kwargs) after each step."""
        return self._hook("step_post", hook)

    def register_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> Handle:
        """Call hook(optimizer) before `state_dict` reads."""
        return self._hook("state_dict_pre", hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> Handle:
        """Call hook(optimizer, state_dict) after `state_dict`; it may return another one."""
        return self._hook("state_dict_post", hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> Handle:
        """Call hook(optimizer, state_dict) before loading; it may return another state_dict."""
        return self._hook("load_state_dict_pre", hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> Handle:
        """Call hook(optimizer) after loading."""
        return self._hook("load_state_dict_post", hook, prepend)


setattr(Optimizer, "step", _with_hooks(Optimizer.step))  # noqa: B010  its subclasses see to theirs


class Again:
    """The step of an optimizer, made again and again for the same parameters when compiled.

    What a step finds out before it changes anything is kept for the next one: which parameters are
    updated together, and that all lie on one device. The options are those of the moment.
    """

    def __init__(self, optimizer: Optimizer, step: Callable[[], Any]) -> None:
        self.optimizer, self.step = optimizer, step
        self.known: list[tuple[dict[str, Any], int, list[Joined | Listed | Tensor]]] | None = None
        self.__qualname__ = f"{type(optimizer).__name__}.step"

    def __call__(self) -> Any:
        """A step as ever, with the gradients in the `.grad` of the parameters."""
        result = self.step()
        self.known = self._known()
        return result

    def _known(self) -> list[tuple[dict[str, Any], int, list[Joined | Listed | Tensor]]] | None:
        optimizer = self.optimizer
        if type(optimizer).step is not Optimizer.step:
            return None
        found: list[tuple[dict[str, Any], int, list[Joined | Listed | Tensor]]] = []
        for group in optimizer.param_groups:
            changing = [p for p in group["params"] if p._grad is not None]
            parts: list[Joined | Listed | Tensor] = []
            for part in optimizer._alike(changing, _options_of(group)):
                together = optimizer._together.get(tuple(map(id, part.params)))
                if type(together) is not (part.kind or type(None)):
                    return None  # they were not together at their first step
                parts.append(part.params[0] if together is None else together)
            found.append((group, len(group["params"]), parts))
        return found

    def with_gradients(self, gradients: Mapping[Tensor, Any]) -> bool:
        """A step with these arrays as gradients, if it is one like the last; else nothing."""
        optimizer, known = self.optimizer, self.known
        hooks = (*EVERY.values(), *optimizer._hooks.values())
        if known is None or any(hooks) or observer.get() is not None:
            return False
        if len(optimizer.param_groups) != len(known):
            return False
        for (group, count, parts), now in zip(known, optimizer.param_groups, strict=True):
            if group is not now or len(group["params"]) != count:
                return False
            options = _options_of(group)
            for part in parts:
                if not isinstance(part, Tensor) and not optimizer._is_right(part, options):
                    return False
        for group, _, parts in known:
            options = _options_of(group)
            for part in parts:
                if isinstance(part, Tensor):
                    optimizer._change_one(part, gradients[part], options)
                else:
                    of_all = [gradients[p] for p in part.params]
                    optimizer._change_several(part, of_all, options)
        optimizer._steps += 1
        return True


def _options_of(group: dict[str, Any]) -> dict[str, Any]:
    return {k: plain(v) for k, v in group.items() if k not in ("params", "param_names")}


def checked(name: str, value: Any, below: float = math.inf) -> float:
    """A number from 0 on and below a bound: NaN, too, is none. A tensor of one number is one."""
    number = value
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError(f"{name} as a tensor has one element; got the shape {value.shape}.")
        number = value.item()
    if not (isinstance(number, Real) and 0 <= float(number) < below):
        bound = "finite and 0 or more" if below == math.inf else f"0 or more and below {below}"
        raise ValueError(f"{name} is a number, {bound}; got {value!r}.")
    return float(number) if isinstance(value, Tensor) else value


def plain(value: Any) -> Any:
    """An option as Python has it: tensors of one element and NumPy's numbers become numbers."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, tuple | list):
        return tuple(plain(part) for part in value)
    return value.item() if hasattr(value, "dtype") and hasattr(value, "item") else value


def widened(array: Any) -> Any:
    """An array to compute with: squares and averages are not for half precision."""
    return array.astype("float32") if array.dtype == HALF else array


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "strides")


def _value_of(closure: Callable[[], Any] | None) -> Any:
    """The loss that a closure computes, with its gradients."""
    if closure is None:
        return None
    with enable_grad():
        return closure()


def _copied(value: Any) -> Any:
    """A tensor or an array as a tensor of its own; anything else as it is."""
    if hasattr(value, "__array__") and not isinstance(value, host.generic):
        return Tensor(value if isinstance(value, Tensor) else host.asarray(value))
    return value
