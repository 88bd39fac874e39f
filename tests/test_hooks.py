"""Hooks: when they are called, with what, in which order, and what they may change."""

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn
from tinygrad_cv._public import NN, PUBLIC
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
)


class Scale(nn.Module):
    """x ↦ factor · x, with a keyword."""

    def __init__(self, factor: float = 2.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(tg.tensor(factor))

    def forward(self, x: Any, *, plus: float = 0.0) -> Any:
        return x * self.factor + plus


# ----- forward -----------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=5), st.lists(st.booleans(), max_size=5), st.data())
def test_the_order_of_hooks_is_that_of_a_list(pre: Any, post: Any, data: Any) -> None:
    """With `prepend` at the front, else at the end; what was removed is not called."""
    module, called = nn.ReLU(), []
    for name, register, flags in (
        ("pre", module.register_forward_pre_hook, pre),
        ("post", module.register_forward_hook, post),
    ):
        expected: list[str] = []
        handles = {}
        for i, first in enumerate(flags):
            tag = f"{name}{i}"
            handles[tag] = register(lambda *a, tag=tag: called.append(tag), prepend=first)
            expected.insert(0 if first else len(expected), tag)
        for tag in data.draw(st.sets(st.sampled_from(expected))) if expected else ():
            handles[tag].remove()
            handles[tag].remove()  # once more does nothing
            expected.remove(tag)
        called.clear()
        module(tg.ones(1))
        assert [tag for tag in called if tag.startswith(name)] == expected


def test_what_a_forward_hook_returns_takes_the_place() -> None:
    module, seen = Scale(), []
    module.register_forward_pre_hook(lambda m, args: args[0] + 1)
    module.register_forward_pre_hook(lambda m, args: (args[0] * 10,))
    module.register_forward_hook(lambda m, args, y: seen.append((args[0].item(), y.item())))
    module.register_forward_hook(lambda m, args, y: -y)
    module.register_forward_hook(lambda m, args, y: seen.append(y.item()))
    assert module(tg.tensor(1.0)).item() == -40
    assert seen == [(20.0, 40.0), -40.0]


def test_hooks_with_keywords() -> None:
    module, seen = Scale(), []
    module.register_forward_pre_hook(
        lambda m, args, kwargs: (args, {"plus": kwargs["plus"] * 2}), with_kwargs=True
    )
    module.register_forward_hook(
        lambda m, args, kwargs, y: seen.append((kwargs, y.item())), with_kwargs=True
    )
    assert module(tg.tensor(1.0), plus=3.0).item() == 8
    assert seen == [({"plus": 6.0}, 8.0)]
    module.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
    with pytest.raises(RuntimeError, match=r"returns None or \(args, kwargs\)"):
        module(tg.tensor(1.0), plus=3.0)


def test_a_hook_that_is_always_called() -> None:
    module, seen = Scale(), []
    module.register_forward_hook(lambda *a: seen.append("usual"))
    module.register_forward_hook(lambda m, a, y: seen.append(y), always_call=True)
    with pytest.raises(TypeError):
        module(tg.tensor(1.0), minus=3.0)
    assert seen == [None]

    def fails(*args: Any) -> None:
        raise ZeroDivisionError

    module.register_forward_hook(fails, prepend=True)
    with pytest.raises(ZeroDivisionError):
        module(tg.tensor(1.0))
    assert seen[1].item() == 2


def test_hooks_of_every_module_go_before_a_modules_own() -> None:
    net, called = nn.Sequential(nn.ReLU(), nn.Tanh()), []
    net[0].register_forward_hook(lambda m, a, y: called.append("own"))
    net[0].register_forward_pre_hook(lambda m, a: called.append("own pre"))
    with (
        register_module_forward_hook(lambda m, a, y: called.append(type(m).__name__)),
        register_module_forward_pre_hook(lambda m, a: called.append(f"pre {type(m).__name__}")),
    ):
        net(tg.ones(1))
    assert called == [
        *("pre Sequential", "pre ReLU", "own pre", "ReLU", "own"),
        *("pre Tanh", "Tanh", "Sequential"),
    ]
    called.clear()
    net(tg.ones(1))
    assert called == ["own pre", "own"]


def test_hooks_of_what_is_registered() -> None:
    seen: list[Any] = []

    def told(module: nn.Module, name: str, value: Any) -> None:
        seen.append((type(module).__name__, name, type(value).__name__))

    at = import_module("tinygrad_cv.nn.modules.module")
    with (
        at.register_module_parameter_registration_hook(told),
        at.register_module_buffer_registration_hook(told),
        at.register_module_module_registration_hook(told),
    ):
        net = nn.Sequential(nn.BatchNorm1d(1, affine=False))
        net[0].running_mean = tg.ones(1)
        net[0].weight = nn.Parameter([1.0])
    assert seen == [
        ("BatchNorm1d", "running_mean", "Tensor"),
        ("BatchNorm1d", "running_var", "Tensor"),
        ("BatchNorm1d", "num_batches_tracked", "Tensor"),
        ("Sequential", "0", "BatchNorm1d"),
        ("BatchNorm1d", "running_mean", "Tensor"),
        ("BatchNorm1d", "weight", "Parameter"),
    ]
    with at.register_module_module_registration_hook(lambda *_: nn.Identity()):
        net = nn.Sequential(nn.ReLU())
    net.append(nn.Tanh())
    assert [type(module).__name__ for module in net] == ["Identity", "Tanh"]
    assert len(seen) == 6


def test_a_hook_is_a_function() -> None:
    with pytest.raises(TypeError, match="a hook is a function; got a int"):
        nn.ReLU().register_forward_hook(3)  # type: ignore[arg-type]


def shows(module: nn.Module, args: Any, y: Any) -> Any:
    return y + 1


def test_copies_have_hooks_of_their_own() -> None:
    module = Scale()
    handle = module.register_forward_hook(shows)
    twins = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]
    handle.remove()
    assert [m(tg.tensor(1.0)).item() for m in (module, *twins)] == [2, 3, 3]


# ----- backward ----------------------------------------------------------------------------------


class Several(nn.Module):
    """(x, y, n) ↦ (x y, n x, x + 1), by which the gradients are easily written down."""

    def forward(self, x: Any, y: Any, n: int) -> Any:
        return x * y, x * n, x + 1


@given(st.lists(st.booleans(), min_size=3, max_size=3), st.booleans(), st.booleans())
def test_backward_hooks_get_the_gradients(used: list[bool], needs: bool, recorded: bool) -> None:
    """Of each output the gradient, None for one that was not used; of each input that of all."""
    module, seen = Several(), []
    module.register_full_backward_pre_hook(lambda m, gy: seen.append(gy))
    module.register_full_backward_hook(lambda m, gx, gy: seen.append((gx, gy)))
    x = tg.tensor([2.0, 3.0], requires_grad=True)
    y = tg.tensor([5.0, 7.0], requires_grad=needs)
    outputs = module(x, y, 4)
    weights = [tg.tensor([1.0, 2.0]), tg.tensor([3.0, 1.0]), tg.tensor([2.0, 2.0])]
    terms = [(o * w).sum() for o, w, u in zip(outputs, weights, used, strict=True) if u]
    if not terms:
        return
    loss = sum(terms[1:], start=terms[0])
    loss.backward(create_graph=recorded)
    first, (gx, gy) = seen
    for i, weight in enumerate(weights):
        for got in (first[i], gy[i]):
            assert (got is None) == (not used[i])
            if got is not None:
                np.testing.assert_array_equal(got.detach().numpy(), weight.numpy())
    w = [weight.numpy() * u for weight, u in zip(weights, used, strict=True)]
    to_x = w[0] * [5, 7] + w[1] * 4 + w[2]
    np.testing.assert_array_equal(gx[0].detach().numpy(), to_x)
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.detach().numpy(), to_x)
    assert gx[2] is None
    assert (gx[1] is None) == (not needs)
    if needs:
        np.testing.assert_array_equal(gx[1].detach().numpy(), w[0] * [2, 3])


def test_the_gradient_of_an_input_is_that_through_the_module() -> None:
    module, seen = Scale(3.0), []
    module.register_full_backward_hook(lambda m, gx, gy: seen.append(gx[0].item()))
    x = tg.tensor(1.0, requires_grad=True)
    (module(x) + 10 * x).backward()
    assert seen == [3]
    assert x.grad is not None
    assert x.grad.item() == 13


def test_what_backward_hooks_return_takes_the_place() -> None:
    module, seen = Scale(3.0), []
    module.register_full_backward_pre_hook(lambda m, gy: (gy[0] * 2,))
    module.register_full_backward_hook(lambda m, gx, gy: gx[0] + gy[0])
    module.register_full_backward_hook(lambda m, gx, gy: seen.append((gx[0].item(), gy[0].item())))
    x = tg.tensor(5.0, requires_grad=True)
    module(x).backward()
    assert seen == [(8.0, 2.0)]
    assert x.grad is not None
    assert module.factor.grad is not None
    assert (x.grad.item(), module.factor.grad.item()) == (8, 10)


WRONG: dict[str, tuple[str, Callable[..., Any]]] = {
    "too many": ("returned 2 gradients in place of 1", lambda m, gx, gy: (gx[0], gx[0])),
    "a shape": (r"returned \(3,\) for a gradient of shape \(2,\)", lambda m, gx, gy: tg.ones(3)),
    "a number": ("returned 3.0 for a gradient", lambda m, gx, gy: 3.0),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_backward_hook_cannot_return(name: str) -> None:
    message, hook = WRONG[name]
    module = Scale()
    module.register_full_backward_hook(hook)
    y = module(tg.tensor([1.0, 2.0], requires_grad=True))
    with pytest.raises(RuntimeError, match=message):
        y.sum().backward()


def test_no_input_needs_a_gradient() -> None:
    module, seen = Scale(), []
    module.register_full_backward_hook(lambda m, gx, gy: seen.append((gx, gy[0].item())))
    module(tg.tensor(1.0)).backward()
    assert seen == [((None,), 1.0)]
    with tg.no_grad():
        module(tg.tensor(1.0))
    assert len(seen) == 1


def test_a_graph_with_hooks_goes_with_its_results() -> None:
    """Nothing in it owns a tensor, so it needs no collector of garbage."""
    module = Scale()
    module.register_full_backward_hook(lambda m, gx, gy: None)
    x = tg.ones(3, requires_grad=True) * 2
    y = module(x)
    seen = [weakref.ref(x), weakref.ref(y), weakref.ref(y.node)]
    gc.disable()
    try:
        y.sum().backward()
        del x, y
        assert [ref() for ref in seen] == [None] * 3
    finally:
        gc.enable()


def test_outputs_that_backward_hooks_do_not_see() -> None:
    module = nn.Module()
    module.forward = lambda x: {"y": x}
    module.register_full_backward_hook(lambda *args: None)
    with pytest.warns(UserWarning, match="not called: it returned a dict"):
        module(tg.tensor(1.0, requires_grad=True))


class InPlace(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.relu_()


def test_a_module_that_changes_its_input() -> None:
    module, seen = InPlace(), []
    module.register_full_backward_hook(lambda m, gx, gy: seen.append(gx[0].tolist()))
    x = tg.tensor([-1.0, 2.0], requires_grad=True)
    z = x * 3
    y = module(z)
    y += 1  # and its output is changed afterwards
    assert (y.tolist(), z.tolist()) == ([1, 7], [0, 6])
    (y * z).sum().backward()
    assert seen == [[0.0, 13.0]]
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), [0, 39])


def test_second_derivatives_pass_hooks() -> None:
    module = nn.Module()
    module.forward = lambda x: x**3
    module.register_full_backward_hook(lambda m, gx, gy: gx[0] * 2)
    x = tg.tensor(2.0, requires_grad=True)
    (first,) = tg.grad(module(x), x, create_graph=True)
    (second,) = tg.grad(first, x)
    assert (first.item(), second.item()) == (24, 24)  # 2 · 3x², 2 · 6x: not doubled again


def test_backward_hooks_of_every_module() -> None:
    net, called = nn.Sequential(Scale(), Scale()), []
    x = tg.tensor(2.0, requires_grad=True)
    with register_module_full_backward_hook(lambda m, gx, gy: called.append((m, gx[0].item()))):
        y = net(x)
        y.backward()
    assert called == [(net[1], 2.0), (net[0], 4.0), (net, 4.0)]


# ----- state -------------------------------------------------------------------------------------


def test_hooks_around_the_state() -> None:
    net, seen = nn.Sequential(Scale(), nn.Linear(1, 1)), []
    net[0].register_state_dict_pre_hook(lambda m, prefix, keep: seen.append((prefix, keep)))
    net[1].register_state_dict_post_hook(lambda m, state, prefix, meta: state.pop(f"{prefix}bias"))
    with pytest.raises(RuntimeError, match="returns None"):
        net.state_dict()
    assert seen == [("0.", False)]
    net[1]._state_dict_hooks.clear()
    net._register_state_dict_hook(lambda m, state, prefix, meta: {"all": state})
    assert [*net.state_dict()] == ["all"]


def test_hooks_around_loading() -> None:
    net, seen = nn.Sequential(nn.Linear(1, 1)), []

    def older(module: Any, state: Any, prefix: str, *rest: Any) -> None:
        seen.append((module, prefix))
        state[f"{prefix}weight"] = state.pop(f"{prefix}w")

    net[0].register_load_state_dict_pre_hook(older)
    net[0].register_load_state_dict_post_hook(lambda m, keys: keys.missing_keys.clear())
    given = {"0.w": tg.full((1, 1), 3.0)}
    net.load_state_dict(given)
    assert (net[0].weight.item(), seen, [*given]) == (3, [(net[0], "0.")], ["0.w"])


class Older(nn.Linear):
    """Its states once had another name for the weight, and a count that is gone."""

    _version = 2

    def _load_from_state_dict(
        self, state: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        if local_metadata.get("version", 1) < 2:
            state.pop(f"{prefix}count")
            state[f"{prefix}weight"] = state.pop(f"{prefix}w")
        super()._load_from_state_dict(state, prefix, local_metadata, *rest)


def test_a_class_knows_the_version_of_a_state() -> None:
    net = nn.Sequential(Older(1, 1))
    state = {"0.w": tg.ones(1, 1), "0.bias": tg.ones(1), "0.count": tg.ones(())}
    net.load_state_dict(state)
    assert net[0].weight.item() == 1
    new = net.state_dict()
    assert new._metadata == {"": {"version": 1}, "0": {"version": 2}}
    assert net.load_state_dict(new) == ([], [])


@pytest.mark.parametrize("assign", [False, True])
def test_states_without_a_number_of_batches(assign: bool) -> None:
    """A dict of no known version is as old as can be; one that says its version is held to it."""
    layer = nn.BatchNorm2d(2)
    net = nn.ModuleDict({"a": nn.Sequential(nn.Conv2d(2, 2, 1), layer), "b": layer})
    layer.num_batches_tracked.fill_(7)
    state = net.state_dict()
    name = "num_batches_tracked"
    old = {key: value for key, value in state.items() if not key.endswith(name)}
    assert net.load_state_dict(old, assign=assign) == ([], [])
    assert layer.num_batches_tracked.item() == 7
    assert net.load_state_dict({**old, f"b.{name}": tg.tensor(3)}, assign=assign) == ([], [])
    assert net.b.num_batches_tracked.item() == 3
    one = {key: value for key, value in old.items() if key != "a.1.running_var"}
    one.pop("b.running_var")
    missing = ["a.1.running_var", "b.running_var"]
    assert net.load_state_dict(one, strict=False).missing_keys == missing
    del state[f"a.1.{name}"], state[f"b.{name}"]
    assert net.load_state_dict(state, strict=False).missing_keys == [f"a.1.{name}", f"b.{name}"]


class Extra(nn.Module):
    def __init__(self, words: Any) -> None:
        super().__init__()
        self.words = words

    def get_extra_state(self) -> Any:
        return self.words

    def set_extra_state(self, state: Any) -> None:
        self.words = state


def test_extra_state() -> None:
    net = nn.ModuleDict({"a": Extra(["x"])})
    state = net.state_dict()
    assert [*state] == ["a._extra_state"]
    other = nn.ModuleDict({"a": Extra([])})
    other.load_state_dict(state)
    assert other["a"].words == ["x"]
    with pytest.raises(RuntimeError, match=r'Missing.*"a\._extra_state"'):
        other.load_state_dict({})
    with pytest.raises(RuntimeError, match=r'Unexpected.*"_extra_state"'):
        nn.ReLU().load_state_dict({"_extra_state": 1})


def test_a_state_that_is_assigned() -> None:
    net = nn.Linear(2, 1)
    new = tg.ones(1, 2, dtype="float64")
    net.load_state_dict({"weight": new, "bias": nn.Parameter([2.0])}, assign=True)
    assert isinstance(net.weight, nn.Parameter)
    assert net.weight.dtype == "float64"
    new.fill_(3.0)
    assert net.weight.tolist() == [[3, 3]]
    before = net.weight
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        net.load_state_dict({"weight": tg.ones(2), "bias": tg.ones(1)}, assign=True)
    assert net.weight is before


# ----- what a module holds, as mappings ----------------------------------------------------------


def test_the_mappings_of_a_module_live() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert [*net[0]._parameters] == ["weight", "bias"]
    assert {*net[1]._buffers} >= {"running_mean", "running_var"}
    net._modules["0"] = nn.Tanh()
    net._modules["more"] = nn.ReLU()
    assert [type(m).__name__ for m in net] == ["Tanh", "BatchNorm1d", "ReLU"]
    del net._modules["1"]
    assert [*reversed(net._modules)] == ["more", "0"]
    assert (len(net._modules), "1" in net._modules) == (2, False)
    assert isinstance(net._modules.pop("more"), nn.ReLU)
    with pytest.raises(KeyError):
        del net._parameters["0"]
    linear = nn.Linear(1, 1, bias=False)
    linear._parameters["weight"] = None
    assert (linear.weight, [*linear.parameters()]) == (None, [])
    assert [*linear._parameters.items()] == [("weight", None), ("bias", None)]


def test_the_mappings_of_a_module_are_ordered_like_dicts() -> None:
    plain = {"a": nn.ReLU(), "b": None, "c": nn.Tanh(), "d": nn.GELU()}
    net = nn.Module()
    net._modules = plain
    held = net._modules
    for view in ("keys", "values", "items"):
        assert [*reversed(getattr(held, view)())] == [*reversed(getattr(plain, view)())]
    assert [*reversed(held)] == [*"dcba"]
    assert held.popitem() == plain.popitem()
    assert (held.copy(), [*net.children()]) == (plain, [net.a, net.c])
    held.clear()
    with pytest.raises(KeyError, match="no module"):
        held.popitem()
    net._parameters = {"w": nn.Parameter([1.0])}
    net._buffers = {"x": tg.ones(1)}
    assert [*net.state_dict()] == ["w", "x"]


def test_members_of_any_kind_are_listed_by_path() -> None:
    net = nn.Sequential(nn.Linear(1, 1), nn.Module())
    net[1].twin = net[0]
    known = net._named_members(lambda module: module._modules.items(), prefix="net")
    assert [name for name, _ in known] == ["net.0", "net.1"]
    known = net._named_members(lambda module: module._modules.items(), remove_duplicate=False)
    assert [name for name, _ in known] == ["0", "1", "1.twin"]
    assert [*net._named_members(lambda module: [("x", None), ("y", 3)], recurse=False)] == [
        ("y", 3)
    ]


def test_states_make_no_module_look_for_hooks() -> None:
    net = nn.Sequential(nn.Linear(1, 1))
    net.load_state_dict(net.state_dict())
    assert not [module for module in net.modules() if "_hooked" in vars(module)]


def test_paths_lead_to_modules_parameters_and_buffers() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1)))
    assert net.get_submodule("") is net
    assert net.get_parameter("0.0.bias") is net[0][0].bias
    assert net.get_buffer("0.1.running_var") is net[0][1].running_var
    for get, path in (
        (net.get_submodule, "0.2"),
        (net.get_submodule, "0.0.weight"),
        (net.get_parameter, "0.1.running_var"),
        (net.get_buffer, "0.0.bias"),
    ):
        with pytest.raises(AttributeError, match=path.rpartition(".")[2]):
            get(path)
    net.set_submodule("0.0", nn.ReLU())
    net.set_submodule("0.new", nn.Tanh())
    assert [type(m).__name__ for m in net[0]] == ["ReLU", "BatchNorm1d", "Tanh"]
    with pytest.raises(AttributeError):
        net.set_submodule("0.none", nn.ReLU(), strict=True)


class Around(nn.Module):
    """Attributes that it does not have are those of the module in it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)  # type: ignore[misc]
        except AttributeError:
            return getattr(super().__getattr__("module"), name)  # type: ignore[misc]


def test_attributes_may_be_passed_on() -> None:
    assert Around(nn.Linear(2, 3)).out_features == 3
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'x'"):
        Around(nn.Linear(2, 3)).x  # noqa: B018


def test_a_module_without_a_forward_says_so() -> None:
    for module in (nn.Module(), nn.ModuleList([nn.ReLU()])):
        with pytest.raises(NotImplementedError, match=f"{type(module).__name__} is called"):
            module(tg.ones(1))
    assert nn.Linear(1, 1).compile() is None  # type: ignore[func-returns-value]


def test_buffers_are_registered_by_assignment() -> None:
    net = nn.Module()
    net.a, net.b = nn.Buffer(tg.ones(1)), nn.Buffer(tg.ones(1), persistent=False)
    assert ([name for name, _ in net.named_buffers()], [*net.state_dict()]) == (["a", "b"], ["a"])
    net.b = nn.Buffer(tg.ones(2))
    assert [*net.state_dict()] == ["a", "b"]


def test_conversions_keep_the_tensors_and_leave_integers() -> None:
    net = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    net.register_buffer("count", tg.tensor(3))
    net(tg.ones(2, 1)).sum().backward()
    before = [*net.parameters()]
    for convert, dtype in ((net.double, "float64"), (net.half, "float16"), (net.float, "float32")):
        assert convert() is net
        assert all(p is q for p, q in zip(net.parameters(), before, strict=True))
        assert {str(p.dtype) for p in net.parameters()} == {dtype}
        assert net[0].weight.grad.dtype == dtype
        assert net.count.dtype == "int64"
    assert net.to_empty(device="cpu")[0].weight.shape == (1, 1)
    for refused in (net.bfloat16, net.share_memory):
        with pytest.raises(NotImplementedError, match="here"):
            refused()


class Anchors(nn.Module):
    """It has a tensor that is no buffer, and moves it itself."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors = tg.ones(2)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Anchors":
        super()._apply(fn, recurse)
        self.anchors = fn(self.anchors)
        return self


def test_a_class_may_move_more() -> None:
    for moved in (nn.Sequential(Anchors()).double(), nn.Sequential(Anchors()).to("float64")):
        assert moved[0].anchors.dtype == "float64"


def test_a_parameter_shares_the_memory_of_its_tensor() -> None:
    x = tg.ones(2)
    p = nn.Parameter(x)
    x.mul_(3)
    assert p.tolist() == [3, 3]
    y = (p * p).sum()
    x.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
    p.data = tg.zeros(3, dtype="float64")
    assert (p.shape, p.dtype, x.tolist(), p.requires_grad) == ((3,), "float64", [4, 4], True)
    p.sum().backward()
    assert p.grad is not None
    y = p.sum()
    p.data = tg.zeros(2)
    with pytest.raises(RuntimeError, match=r"data of the shape \(2,\) after it was used"):
        y.backward()
    assert nn.Parameter().shape == (0,)
    with pytest.raises(TypeError, match="only float"):
        p.data = tg.tensor([1, 2])


class LazyScale(nn.lazy.LazyModuleMixin, Scale):  # type: ignore[name-defined,misc]
    cls_to_become = Scale

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.UninitializedParameter()

    def initialize_parameters(self, x: Any) -> None:
        self.sizes = x.shape
        if self.has_uninitialized_params():
            self.factor.materialize(x.shape)
        nn.init.constant_(self.factor, 2.0)


def test_a_lazy_module_gets_its_shapes_with_the_first_input() -> None:
    net = nn.Sequential(LazyScale())
    with pytest.raises(RuntimeError, match="no shape yet"):
        net[0].factor.shape  # noqa: B018
    twin, given = copy.deepcopy(net), [*net.parameters()]
    assert net(tg.ones(3)).tolist() == [2, 2, 2]
    assert type(net[0]) is Scale
    assert [*net.parameters()] == given  # an optimizer has them already
    assert twin[0].has_uninitialized_params()
    twin.load_state_dict(net.state_dict())
    assert (twin[0].factor.tolist(), twin(tg.ones(3)).tolist()) == ([2, 2, 2], [2, 2, 2])
    assert (type(twin[0]), twin[0].sizes) == (Scale, (3,))


def test_a_lazy_module_and_states() -> None:
    for make, shape, name in (
        (lambda: nn.LazyLinear(2), (4, 3), "in_features"),
        (lambda: nn.LazyConv1d(2, 1), (4, 3, 5), "in_channels"),
        (lambda: nn.LazyInstanceNorm1d(affine=True), (4, 3, 5), "num_features"),
        (
            lambda: nn.LazyBatchNorm1d(affine=False, track_running_stats=False),
            (4, 3),
            "num_features",
        ),
    ):
        empty, known, late = make(), make(), make()
        with pytest.raises(ValueError, match="no number of elements yet"):
            [p.numel() for p in nn.LazyLinear(2).parameters()]
        assert empty.load_state_dict(make().state_dict()) == ([], [])
        x = tg.randn(shape)
        y = known(x)
        late.load_state_dict(known.state_dict())
        assert (late(x).tolist(), getattr(late, name), repr(late)) == (y.tolist(), 3, repr(known))
        assert empty(x).shape == y.shape
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        nn.Linear(1, 1).load_state_dict(nn.LazyLinear(1).state_dict())


def test_longer_paths_lead_to_the_same_files() -> None:
    """PyTorch's programs import from nn.modules.conv and its like."""
    for found in iter_modules(nn.__path__):
        if found.name not in nn.modules._OTHERS:
            longer = import_module(f"tinygrad_cv.nn.modules.{found.name}")
            assert longer is getattr(nn, found.name)
            assert longer is getattr(nn.modules, found.name)
    assert nn.modules.__all__ == [*PUBLIC[NN]]
    assert nn.modules.utils._pair(3) == (3, 3)
    assert nn.modules.utils._reverse_repeat_tuple((1, 2), 2) == (2, 2, 1, 1)
    import_module("tinygrad_cv.nn.common_types")
