"""What a module holds: names, order and state, whatever is shared or goes in a circle."""

import copy
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor

# ----- modules at random -------------------------------------------------------------------------

Spec = list[dict[str, tuple[str, int]]]
"""For each module, what it holds by name: a kind, and which one of this kind."""


@st.composite
def specs(draw: Any) -> Spec:
    count = draw(st.integers(1, 4))
    kinds = st.sampled_from(("parameter", "buffer", "transient", "module", "module"))
    member = kinds.flatmap(
        lambda kind: st.tuples(st.just(kind), st.integers(0, count - 1 if kind == "module" else 2))
    )
    names = st.sampled_from(("w", "b", "next", "0"))
    return draw(
        st.lists(st.dictionaries(names, member, max_size=4), min_size=count, max_size=count)
    )


def build(spec: Spec) -> tuple[list[nn.Module], dict[str, list[Tensor]]]:
    """The modules, and the tensors that they share by kind: the n-th has n + 1 elements."""
    tensors: dict[str, list[Tensor]] = {
        "parameter": [nn.Parameter(tg.zeros(n + 1)) for n in range(3)],
        "buffer": [tg.zeros(n + 1) for n in range(3)],
        "transient": [tg.zeros(n + 1) for n in range(3)],
    }
    modules = [nn.Module() for _ in spec]
    for module, members in zip(modules, spec, strict=True):
        for name, (kind, which) in members.items():
            if kind == "module":
                setattr(module, name, modules[which])
            elif kind == "parameter":
                setattr(module, name, tensors[kind][which])
            else:
                module.register_buffer(name, tensors[kind][which], persistent=kind == "buffer")
    return modules, tensors


def below(spec: Spec, at: int) -> set[int]:
    """The modules that one step or more lead to."""
    found: set[int] = set()
    new = {at}
    while new:
        new = {k for i in new for kind, k in spec[i].values() if kind == "module"} - found
        found |= new
    return found


def paths(
    spec: Spec, at: int = 0, prefix: str = "", listed: set[int] | None = None
) -> Iterator[Any]:
    """Every way to a module, parents first; to one that leads into a circle the first alone."""
    listed = set() if listed is None else listed
    if any(i in below(spec, i) for i in {at} | below(spec, at)):
        if at in listed:
            return
        listed.add(at)
    yield prefix, at
    for name, (kind, which) in spec[at].items():
        if kind == "module":
            yield from paths(spec, which, f"{prefix}{name}.", listed)


def once(pairs: list[tuple[str, Any]]) -> list[str]:
    """The first name of each."""
    firsts: dict[Any, str] = {}
    for name, value in pairs:
        firsts.setdefault(value, name)
    return [*firsts.values()]


@given(specs())
def test_names_and_their_order(spec: Spec) -> None:
    """A module's own parameters, then its buffers, then its children: as they were registered."""
    ways = [*paths(spec)]
    walked: list[tuple[str, Any]] = []  # each module once, where it is come to first
    for prefix, at in depth_first(spec):
        walked += [(prefix + name, member) for name, member in spec[at].items()]
    model = build(spec)[0][0]
    assert [f"{name}." if name else "" for name, _ in model.named_modules()] == [
        prefix for prefix, _ in depth_first(spec)
    ]
    assert [
        f"{name}." if name else "" for name, _ in model.named_modules(remove_duplicate=False)
    ] == [prefix for prefix, _ in ways]
    for kinds, found in (
        (("parameter",), model.named_parameters()),
        (("buffer", "transient"), model.named_buffers()),
    ):
        expected = once([(name, member) for name, member in walked if member[0] in kinds])
        assert [name for name, _ in found] == expected
    state = [
        prefix + name
        for prefix, at in ways
        for wanted in ("parameter", "buffer")
        for name, (kind, _) in spec[at].items()
        if kind == wanted
    ]
    assert [*model.state_dict()] == state
    assert [*model.state_dict(prefix="x.")] == [f"x.{name}" for name in state]
    own = [f"p.{name}" for name, (kind, which) in spec[0].items() if kind == "parameter"]
    found = model.named_parameters("p", recurse=False, remove_duplicate=False)
    assert [name for name, _ in found] == own


def depth_first(spec: Spec) -> list[tuple[str, int]]:
    """Each module with the path on which it is come to first, children in order."""
    found: dict[int, str] = {}

    def visit(at: int, prefix: str) -> None:
        if at not in found:
            found[at] = prefix
            for name, (kind, which) in spec[at].items():
                if kind == "module":
                    visit(which, f"{prefix}{name}.")

    visit(0, "")
    return [(prefix, at) for at, prefix in found.items()]


@given(specs())
def test_every_walk_ends_and_reaches_every_module(spec: Spec) -> None:
    modules, tensors = build(spec)
    model = modules[0]
    reached = [modules[at] for _, at in depth_first(spec)]
    for mode in (False, True):
        assert model.train(mode) is model
        assert [m.training for m in modules] == [mode if m in reached else True for m in modules]
    met: list[nn.Module] = []
    assert model.apply(met.append) is model
    assert {*met} == {*reached}
    assert met[-1] is model
    assert repr(model).count("(...)") <= repr(model).count("Module(")
    model.to("float64")
    held = {id(t) for t in [*model.parameters(), *model.buffers()]}
    for tensor in chain.from_iterable(tensors.values()):
        assert tensor.dtype == ("float64" if id(tensor) in held else "float32")
    twin = copy.deepcopy(model)
    assert [*twin.state_dict()] == [*model.state_dict()]
    assert len([*twin.modules()]) == len(reached)


def test_a_circle_in_which_all_hold_all_is_walked_in_no_time() -> None:
    """There are 16! ways through it."""
    modules = [nn.Module() for _ in range(16)]
    for module in modules:
        module.w = nn.Parameter([1.0])
        for i, other in enumerate(modules):
            setattr(module, f"m{i}", other)
    model = nn.Sequential(modules[0], modules[1])
    assert len(model.state_dict()) == len([*model.named_parameters()]) == 16
    assert len([*model.named_modules(remove_duplicate=False)]) == 17
    for mode in (False, True):
        assert {m.training for m in model.train(mode).modules()} == {mode}
    met: list[nn.Module] = []
    model.apply(met.append)
    assert len(met) == len({*met}) == 17
    assert 16 <= repr(model).count("\n") < 16**2 + 16 * 3


def test_what_is_applied_may_apply_and_train() -> None:
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    met: list[nn.Module] = []
    net.apply(lambda module: module.apply(met.append))
    assert met == [net[0], net[1], net[0], net[1], net]
    net.apply(lambda module: net.eval() if module is net[0] else module.train())
    assert [module.training for module in net.modules()] == [True] * 3


@given(specs(), st.data())
def test_a_shared_tensor_is_loaded_from_any_of_its_names(spec: Spec, data: Any) -> None:
    model = build(spec)[0][0]
    own = model.state_dict(keep_vars=True)
    for i, tensor in enumerate(dict.fromkeys(own.values())):
        tensor.data.copy_(float(i + 1))
    given = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    for tensor in {*own.values()}:
        named = [name for name in own if own[name] is tensor]
        for name in data.draw(st.sets(st.sampled_from(named), max_size=len(named) - 1)):
            del given[name]
    twin = copy.deepcopy(model)
    for tensor in twin.state_dict().values():
        tensor.zero_()
    twin.load_state_dict(given)
    for name, tensor in twin.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), own[name].detach().numpy())


def test_names_of_one_tensor_must_agree() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    before = model[0].weight.detach().numpy().copy()
    state = {"0.weight": np.zeros((2, 2)), "1.weight": np.eye(2)}
    with pytest.raises(ValueError, match=r"1\.weight is one tensor with another of these names"):
        model.load_state_dict(state)
    np.testing.assert_array_equal(model[0].weight.detach().numpy(), before)
    nans = np.full((2, 2), math.nan)
    model.load_state_dict({"0.weight": nans, "1.weight": nans})


# ----- all or nothing ----------------------------------------------------------------------------


def model() -> nn.Module:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    net.register_buffer("count", tg.tensor([3, 4], dtype="uint8"))
    net.register_buffer("small", tg.tensor([1.0, 2.0], dtype="float16"))
    return net


def contents(net: nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in net.state_dict().items()}


WRONG: dict[str, Callable[[Any], Any]] = {
    "strings": lambda a: np.full(a.shape, "3"),
    "bytes": lambda a: np.full(a.shape, b"3"),
    "complex": lambda a: a + 0j,
    "objects": lambda a: a.astype(object),
    "dates": lambda a: np.zeros(a.shape, "datetime64[s]"),
    "records": lambda a: np.zeros(a.shape, [("x", "f4")]),
    "nothing": lambda a: None,
    "another shape": lambda a: a[None],
    "fewer": lambda a: a[:-1],
    "a ragged list": lambda a: [[1.0], [2.0, 3.0]],
    "a number": lambda a: 1.0,
    "a string": lambda a: "state",
    "a module": lambda a: nn.ReLU(),
    "a complex tensor": lambda a: tg.tensor(a + 0j),
}


NAMED = [name for name in model().state_dict() if "num_batches" not in name]  # a number fits there


@given(st.sampled_from(NAMED), st.sampled_from([*WRONG]), st.booleans())
def test_one_entry_that_does_not_fit_leaves_all_as_they_were(
    name: str, wrong: str, strict: bool
) -> None:
    net = model()
    before = contents(net)
    state: dict[str, Any] = {k: v.numpy().copy() + 1 for k, v in net.state_dict().items()}
    state[name] = WRONG[wrong](state[name])
    with pytest.raises(ValueError, match=rf"does not fit[^\t]*\t.*{re.escape(name)}"):
        net.load_state_dict(state, strict=strict)
    assert contents(net) == before


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("count", [255.5, -0.5], None),
        ("count", [256.5, 1.0], "256.5, which is no uint8"),
        ("count", [256, 1], "256, which is no uint8"),
        ("count", [1, -1], "-1, which is no uint8"),
        ("count", [math.nan, 1.0], "nan, which is no uint8"),
        ("small", [1.0, 1e5], "100000.0, which is no float16"),
        ("small", [1, 10**6], "1000000, which is no float16"),
        ("count", [2.0, True], None),
        ("small", [math.inf, math.nan], None),
        ("small", [1 / 3, 7], None),
    ],
)
def test_values_that_a_dtype_cannot_hold(name: str, values: Any, told: str | None) -> None:
    net = model()
    before = contents(net)
    if told is None:
        net.load_state_dict({name: values}, strict=False)
        expected = np.array(values).astype(net.state_dict()[name].numpy().dtype)
        np.testing.assert_array_equal(net.state_dict()[name].numpy(), expected)
    else:
        with pytest.raises(ValueError, match=f"\t{name} holds {re.escape(told)}"):
            net.load_state_dict({name: values}, strict=False)
        assert contents(net) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("at", [1, 4, 10])
def test_a_write_that_fails_is_taken_back(
    at: int, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, copy_, calls = model(), Tensor.copy_, 0
    before = contents(net)
    state = {name: tensor + 1 for name, tensor in net.state_dict().items()}

    def failing(self: Tensor, source: Any) -> Tensor:
        nonlocal calls
        calls += 1
        copy_(self, source)
        if calls == at:
            raise error
        return self

    monkeypatch.setattr(Tensor, "copy_", failing)
    with pytest.raises(error):
        net.load_state_dict(state)
    assert contents(net) == before
    assert calls > at


def test_memory_that_cannot_be_written_leaves_the_rest() -> None:
    net = nn.Module()
    net.register_buffer("a", tg.zeros(3))
    net.register_buffer("b", tg.zeros(1).expand(3))
    with pytest.raises(ValueError, match=r"clone\(\)"):
        net.load_state_dict({"a": tg.ones(3), "b": tg.ones(3)})
    assert net.a.tolist() == [0, 0, 0]


def test_a_state_may_lie_in_the_memory_that_it_is_loaded_into() -> None:
    net = nn.Module()
    net.register_buffer("a", tg.tensor([1.0, 2.0]))
    net.register_buffer("b", tg.tensor([3.0, 4.0]))
    state = net.state_dict()
    net.load_state_dict({"a": state["b"], "b": state["a"].flip(0)})
    assert (net.a.tolist(), net.b.tolist()) == ([3, 4], [2, 1])


def test_the_result_names_what_is_missing_and_what_is_unexpected() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    missing, unexpected = net.load_state_dict(net.state_dict())
    assert (missing, unexpected) == ([], [])
    state = {"1.bias": tg.ones(2), "x": tg.ones(1), "0.bias": tg.ones(3), "1.extra": "anything"}
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["0.weight", "1.weight"]
    assert result.unexpected_keys == ["x", "1.extra"]
    assert net[1].bias.tolist() == [1, 1]
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).split("\n\t")[1:] == [
        'Missing key(s) in state_dict: "0.weight", "1.weight".',
        'Unexpected key(s) in state_dict: "x", "1.extra".',
    ]
    with pytest.raises(
        RuntimeError, match=r"size mismatch for 1\.bias: it is \(1,\) and should be"
    ):
        net.load_state_dict({"1.bias": tg.ones(1)}, strict=False)
    with pytest.raises(TypeError, match="a state is a dict of tensors; got a list"):
        net.load_state_dict([1])  # type: ignore[arg-type]


# ----- what can be assigned ----------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self) -> None:
        self.w = nn.Parameter([1.0])
        self.child = nn.Linear(1, 1)
        self.register_buffer("mean", tg.ones(1))
        self.sizes = [1, (2, 3), {"a": "b"}]

    def forward(self, x: Any) -> Any:
        return self.child(x) * self.w


REFUSED: dict[str, tuple[type[Exception], str, Callable[[Net], Any]]] = {
    "a tensor over a parameter": (
        *(TypeError, r"Net.w is a parameter.*nn.Parameter or None.*\.data\.copy_"),
        lambda net: setattr(net, "w", tg.ones(1)),
    ),
    "a number over a parameter": (
        *(TypeError, "got a float"),
        lambda net: setattr(net, "w", 1.0),
    ),
    "a module over a parameter": (
        *(TypeError, "Net.w is a parameter"),
        lambda net: setattr(net, "w", nn.ReLU()),
    ),
    "a function over a module": (
        *(TypeError, "Net.child is a module"),
        lambda net: setattr(net, "child", tg.relu),
    ),
    "an array over a buffer": (
        *(TypeError, "Net.mean is a buffer"),
        lambda net: setattr(net, "mean", np.ones(1)),
    ),
    "a dot": (
        *(KeyError, "'child.weight' cannot name a parameter"),
        lambda net: setattr(net, "child.weight", nn.Parameter([1.0])),
    ),
    "a dot in a buffer": (
        *(KeyError, "'a.b' cannot name a buffer"),
        lambda net: net.register_buffer("a.b", tg.ones(1)),
    ),
    "a dot in a module": (
        *(KeyError, "'a.b' cannot name a module"),
        lambda net: net.add_module("a.b", nn.ReLU()),
    ),
    "no name": (*(KeyError, "''"), lambda net: net.register_parameter("", nn.Parameter([1.0]))),
    "a number for a name": (
        *(TypeError, "named by a string; got 3"),
        lambda net: net.add_module(3, nn.ReLU()),  # type: ignore[arg-type]
    ),
    "a method": (*(KeyError, "'train'"), lambda net: setattr(net, "train", nn.Parameter([1.0]))),
    "one's own method": (
        *(KeyError, "'forward'"),
        lambda net: setattr(net, "forward", nn.ReLU()),
    ),
    "a name that is taken": (
        *(KeyError, "'w' already"),
        lambda net: net.register_buffer("w", tg.ones(1)),
    ),
    "no parameter": (
        *(TypeError, "must be an nn.Parameter or None"),
        lambda net: net.register_parameter("v", tg.ones(1)),  # type: ignore[arg-type]
    ),
    "no buffer": (
        *(TypeError, "must be a Tensor or None"),
        lambda net: net.register_buffer("v", [1.0]),  # type: ignore[arg-type]
    ),
    "no module": (
        *(TypeError, "must be an nn.Module or None"),
        lambda net: net.add_module("v", tg.relu),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_silently_untrained_is_refused(name: str) -> None:
    error, message, assign = REFUSED[name]
    net = Net()
    held = dict(vars(net))
    with pytest.raises(error, match=message):
        assign(net)
    assert vars(net) == held


LISTS: dict[str, tuple[str, Callable[[], Any]]] = {
    "a list": (r"a list with a module, a Linear.*nn\.ModuleList", lambda: [nn.Linear(1, 1)]),
    "a nested dict": (
        r"a dict with a module, a Sequential.*nn\.ModuleDict",
        lambda: {"a": [1, (nn.Sequential(nn.Linear(1, 1)),)]},
    ),
    "an ordered dict": (
        "a OrderedDict with a module",
        lambda: OrderedDict(a=nn.Linear(1, 1)),
    ),
    "a set of parameters": (
        r"a set with a parameter.*nn\.ParameterList",
        lambda: {nn.Parameter([1.0])},
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_of_what_a_plain_list_holds_the_parameters_warn(name: str) -> None:
    message, make = LISTS[name]
    net = Net()
    net.layers = make()
    outer = nn.Sequential(net)
    for look in (outer.parameters, outer.buffers):
        with pytest.warns(UserWarning, match=rf"Net\.layers is {message}"):
            [*look()]
    assert len([*outer.state_dict()]) == 4


def test_lists_of_what_is_registered_or_not_learned_are_fine() -> None:
    net = Net()
    net.layers = [net.child, net.w, nn.ReLU()]
    net.layers.append(nn.Linear(1, 1).requires_grad_(False))
    net.layers.append(nn.Linear(1, 1))
    outer = nn.Sequential(net)
    outer.add_module("rest", net.layers[-1])
    assert len([*outer.parameters()]) == 5
    shared = type("Shared", (nn.Module,), {"part": nn.ReLU()})
    assert [*shared().state_dict()] == []


def test_what_may_be_assigned() -> None:
    net = Net()
    net.w = None  # type: ignore[assignment]
    assert [*net.state_dict()] == ["mean", "child.weight", "child.bias"]
    net.w = nn.Parameter([2.0])
    net.mean = tg.zeros(1)
    net.child = nn.Tanh()  # type: ignore[assignment]
    assert [*net.state_dict()] == ["w", "mean"]
    del net.w
    net.w = 3.0  # type: ignore[assignment]
    assert [*net.state_dict()] == ["mean"]
    net.mean = nn.Parameter([1.0])
    assert [name for name, _ in net.named_parameters()] == ["mean"]
    loop: list[Any] = [1]
    loop.append(loop)
    net.loop = loop
    assert len([*net.parameters()]) == 1


def test_copies_of_a_module_do_not_register_for_one_another() -> None:
    net = Net()
    twin = copy.copy(net)
    twin.other = nn.Parameter([3.0])
    del twin.w
    assert [name for name, _ in net.named_parameters()] == ["w", "child.weight", "child.bias"]
    assert [name for name, _ in twin.named_parameters()] == ["other", "child.weight", "child.bias"]


# ----- training mode -----------------------------------------------------------------------------


class Frozen(nn.BatchNorm1d):
    def train(self, mode: bool = True) -> "Frozen":
        super().train(False)
        return self


def test_each_child_has_its_own_idea_of_training() -> None:
    frozen = Frozen(2)
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(frozen, nn.Dropout(0.5)))
    for module in (net.train(), net.eval(), net.train(True)):
        assert not frozen.training
        assert module is net
    assert net.training
    assert net[1][1].training
    net(tg.randn(8, 2))
    assert frozen.running_mean is not None
    assert frozen.running_mean.tolist() == [0, 0]
    frozen.parent = net  # and in a circle
    assert net.train()[1][1].training
    assert not frozen.training


class Finetuned(nn.Module):
    """Its backbone, which knows it, is not learned."""

    def __init__(self) -> None:
        self.backbone = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
        self.backbone.owner = self

    def train(self, mode: bool = True) -> "Finetuned":
        super().train(mode)
        self.backbone.eval()
        return self


def test_a_child_in_a_circle_is_put_into_another_mode() -> None:
    net = nn.Sequential(Finetuned(), nn.Dropout(0.5)).eval().train()
    assert [net.training, net[1].training] == [True, True]
    assert not any(module.training for module in (net[0].backbone, *net[0].backbone[:2]))


# ----- containers --------------------------------------------------------------------------------

POSITIONS = st.integers(-4, 4)
SLICES = st.builds(slice, *[st.none() | POSITIONS] * 2, st.sampled_from((None, 1, 2, -1)))
ROWS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "ModuleList": (nn.ModuleList, nn.ReLU),
    "ParameterList": (nn.ParameterList, lambda: nn.Parameter([1.0])),
    "Sequential": (lambda values: nn.Sequential(*values), nn.ReLU),
}


@given(st.sampled_from([*ROWS]), st.integers(0, 4), st.data())
def test_a_row_is_a_list(name: str, length: int, data: Any) -> None:
    make, member = ROWS[name]
    plain = [member() for _ in range(length)]
    row = make(plain)
    names = row.named_parameters if name == "ParameterList" else row.named_children
    for _ in range(data.draw(st.integers(1, 5))):
        change = data.draw(st.sampled_from(CHANGES))
        at = data.draw(SLICES if change in ("del a slice", "get a slice") else POSITIONS)
        results = []
        for values in (plain, row):
            try:
                results.append(changed(values, change, at, member_of(data, member, values, plain)))
            except IndexError:
                results.append(IndexError)
        assert results[0] == results[1]
        assert [*row] == plain
        assert len(row) == len(plain)
        assert [name for name, _ in names()] == [str(i) for i in range(len(plain))]


CHANGES = (
    *("append", "extend", "insert", "pop", "del", "del a slice", "set", "get", "get a slice"),
    *("+", "+="),
)
_NEW: list[Any] = []


def member_of(data: Any, member: Callable[[], Any], values: Any, plain: Any) -> Any:
    """The same new member for the list and for the row."""
    if values is plain:
        _NEW[:] = [member()]
    return _NEW[0]


def changed(values: Any, change: str, at: Any, new: Any) -> Any:
    """Do it, and return what can be compared."""
    match change:
        case "append":
            values.append(new)
        case "extend":
            values.extend(iter([new]))
        case "insert":
            values.insert(at, new)
        case "pop":
            return values.pop(at)
        case "del" | "del a slice":
            del values[at]
        case "set":
            values[at] = new
        case "get":
            return values[at]
        case "get a slice":
            return [*values[at]]
        case "+":
            return [*(values + [new])]  # noqa: RUF005
        case "+=":
            values += [new]
    return None


def test_dicts_of_modules_and_of_parameters() -> None:
    acts = nn.ModuleDict({"relu": nn.ReLU(), "norm": nn.BatchNorm1d(2)})
    assert [*acts], "relu" in acts == (["relu", "norm"], True)
    assert [*acts.state_dict()][:2] == ["norm.weight", "norm.bias"]
    relu = acts.pop("relu")
    assert isinstance(relu, nn.ReLU)
    acts.update([("a", relu), ("norm", nn.Tanh())])
    assert [(key, type(part).__name__) for key, part in acts.items()] == [
        *(("norm", "Tanh"), ("a", "ReLU")),
    ]
    assert [*acts.keys()], [*acts.values()] == (["norm", "a"], [acts["norm"], relu])
    with pytest.raises(KeyError, match="'keys' cannot name a module"):
        acts["keys"] = nn.ReLU()
    with pytest.raises(TypeError, match="takes Module objects"):
        acts["f"] = tg.relu
    with pytest.raises(KeyError):
        del acts["training"]
    acts.clear()
    assert (len(acts), "a" in acts, [*acts.children()]) == (0, False, [])
    scales = nn.ParameterDict({"a": tg.ones(2), "b": nn.Parameter([3.0])})
    assert [name for name, _ in scales.named_parameters()] == ["a", "b"]


def test_a_place_without_a_module() -> None:
    """As programs write it: a layer that some blocks have and others do not."""
    row = nn.ModuleList([None, nn.Linear(1, 1)])
    row.append(None)
    assert [part is None for part in row] == [True, False, True]
    assert (len(row), [*row.state_dict()]) == (3, ["1.weight", "1.bias"])
    assert repr(row).split("\n")[1:] == [
        "  (0): None",
        "  (1): Linear(in_features=1, out_features=1, bias=True)",
        "  (2): None",
        ")",
    ]
    row[0], row[1] = nn.ReLU(), None
    assert [type(part).__name__ for part in row] == ["ReLU", "NoneType", "NoneType"]
    assert [*row.children()] == [row[0]]
    named = nn.ModuleDict({"a": None, "b": nn.ReLU()})
    assert ([*named], named["a"], [*named.children()]) == (["a", "b"], None, [named["b"]])
    named["b"] = None
    named.pop("a")
    assert [*named.items()] == [("b", None)]
    assert len(nn.Sequential(nn.ReLU(), None)[1:]) == 1


def test_a_subclass_of_a_container_has_names_of_its_own() -> None:
    class Block(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.ReLU())
            self._name, self._names, self._hook = "block", ["x"], None
            self._drop = nn.Dropout(0.5)

    block = Block()
    handle = block.register_forward_hook(lambda module, args, y: y + 1)
    assert block[:1](tg.ones(1)).item() == 1
    block._hook = handle
    block.eval().append(nn.ReLU())
    assert block(tg.ones(1)).item() == 2


def test_a_part_of_a_sequential_keeps_its_names() -> None:
    net = nn.Sequential(OrderedDict(a=nn.Linear(2, 3), b=nn.ReLU(), c=nn.Linear(3, 1)))
    assert [*net[1:].state_dict()] == ["c.weight", "c.bias"]
    assert net[1:](tg.ones(1, 3)).shape == (1, 1)
    part = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid())[1:]
    part.append(nn.ReLU())
    assert [type(layer).__name__ for layer in part] == ["Tanh", "Sigmoid", "ReLU"]
    twice = nn.Sequential(*[nn.Linear(1, 1)] * 2)
    assert len(twice) == 2
    assert len([*twice.parameters()]) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential([nn.ReLU()]), "Sequential takes Module objects.*is a list"),
        (lambda: nn.Sequential(nn.ReLU(), tg.relu), "argument 1 is a"),
        (lambda: nn.ModuleList(nn.ReLU()), "takes a list"),
        (lambda: nn.ModuleList([nn.Parameter([1.0])]), "is a Parameter"),
        (lambda: nn.ParameterList(tg.ones(2)), "takes a list"),
        (lambda: nn.ModuleDict({"a": 3}), "argument a is a int"),
    ],
)
def test_what_a_container_does_not_take(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_a_row_takes_all_or_none() -> None:
    row = nn.ModuleList([nn.ReLU()])
    with pytest.raises(TypeError, match="is a int"):
        row.extend([nn.Tanh(), 3])
    assert len(row) == 1
