"""Modules beside PyTorch's: the same program builds both, and names, order and reprs agree."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tinygrad_cv as tg

BOTH: tuple[Any, Any] = (tg, torch)

# A module is (kind, parts); a part is a module, or the name of a tensor.
LEAVES = st.sampled_from(["linear", "relu", "tanh", "tensors", "bilinear"])
TREES = st.recursive(
    LEAVES,
    lambda part: st.tuples(
        st.sampled_from(["Sequential", "Named", "ModuleList", "ModuleDict", "Own"]),
        st.lists(part, max_size=4),
    ),
    max_leaves=8,
)


def built(lib: Any, tree: Any) -> Any:
    """The module of a tree, in one of the libraries."""
    nn = lib.nn

    class Own(nn.Module):  # type: ignore[name-defined,misc]
        """Registers in an order that is not that of its state."""

        def __init__(self, parts: Any = ()) -> None:
            super().__init__()
            for i, part in enumerate(parts):
                self.add_module(f"part{i}", part)
            self.register_buffer("mean", lib.zeros(2))
            self.weight = nn.Parameter(lib.ones(2))
            self.register_buffer("hidden", lib.zeros(1), persistent=False)
            self.register_parameter("none", None)
            self.register_buffer("count", lib.zeros(1))
            self.bias = nn.Parameter(lib.ones(1), requires_grad=False)

        def extra_repr(self) -> str:
            return "one line\nand another"

    match tree:
        case "linear":
            return nn.Linear(2, 3)
        case "bilinear":
            return nn.Linear(2, 3, bias=False)
        case "relu":
            return nn.ReLU()
        case "tanh":
            return nn.Tanh()
        case "tensors":
            return Own()
    kind, parts = tree
    parts = [built(lib, part) for part in parts]
    named = OrderedDict((f"key{len(parts) - i}", part) for i, part in enumerate(parts))
    match kind:
        case "Sequential":
            return nn.Sequential(*parts)
        case "Named":
            return nn.Sequential(named)
        case "ModuleList":
            return nn.ModuleList(parts)
        case "ModuleDict":
            return nn.ModuleDict(named)
    return Own(parts)


@given(TREES)
def test_names_order_and_repr(tree: Any) -> None:
    ours, theirs = (built(lib, tree) for lib in BOTH)
    assert repr(ours) == repr(theirs)
    for look in ("state_dict", "named_parameters", "named_buffers", "named_modules"):
        found = [
            [*(dict(getattr(m, look)()) if look != "state_dict" else m.state_dict())]
            for m in (ours, theirs)
        ]
        assert found[0] == found[1], look
    assert [*ours.state_dict(prefix="x.")] == [*theirs.state_dict(prefix="x.")]
    assert [*ours.state_dict(None, "y.", True)] == [
        *theirs.state_dict(destination=None, prefix="y.")
    ]
    assert ours.state_dict()._metadata.keys() == theirs.state_dict()._metadata.keys()
    for held in ("_modules", "_buffers"):
        assert [*getattr(ours, held)] == [*getattr(theirs, held)]


CHANGES = st.sampled_from(
    ["append", "insert", "extend", "pop", "del", "set", "slice", "+", "*", "del slice"]
)


@given(
    st.sampled_from(["Sequential", "ModuleList"]), st.lists(st.tuples(CHANGES, st.integers(-3, 3)))
)
def test_rows_are_changed_alike(kind: str, changes: Any) -> None:
    rows = [built(lib, (kind, ["linear", "relu", "tanh"])) for lib in BOTH]
    for change, at in changes:
        if len(rows[1]) > 20:
            break
        results = []
        for lib, row in zip(BOTH, rows, strict=True):
            try:
                results.append(changed(lib, row, change, at))
            except (IndexError, ValueError, TypeError):
                results.append(None)
        assert (results[0] is None) == (results[1] is None)
        if results[0] is None:
            return
        assert repr(results[0]) == repr(results[1])
        assert [*results[0].state_dict()] == [*results[1].state_dict()]
        rows = results
        if change == "slice":
            return  # it keeps its names, and PyTorch's appends and inserts are lost with them


def changed(lib: Any, row: Any, change: str, at: int) -> Any:
    match change:
        case "append":
            return row.append(lib.nn.ReLU())
        case "insert":
            row.insert(max(at, 0) % (len(row) + 1), lib.nn.Tanh())
        case "extend":
            row.extend(lib.nn.ModuleList([lib.nn.Linear(1, 1), lib.nn.ReLU()]))
        case "pop":
            row.pop(at)
        case "del":
            del row[at]
        case "set":
            row[at] = lib.nn.Sigmoid()
        case "slice":
            return row[min(at, 0) :]
        case "del slice":
            del row[:at]
        case "+":
            return row + type(row)(*[lib.nn.ReLU()] if type(row) is lib.nn.Sequential else [[]])
        case "*":
            return row * 2 if isinstance(row, lib.nn.Sequential) else row
    return row


@pytest.mark.host
def test_lists_and_dicts_of_parameters() -> None:
    reprs = []
    for lib in BOTH:
        values = lib.nn.ParameterList([lib.ones(2), "text", 3, lib.nn.Parameter(lib.ones(2, 3))])
        values[1] = lib.ones(1)
        values += [None]
        named = lib.nn.ParameterDict({"b": lib.ones(1), "a": 3, "c": lib.ones(())})
        named["d"] = lib.ones(3)
        named.pop("a")
        named |= {"z": lib.ones(1), "y": lib.ones(1)}
        reprs.append(
            [
                *(repr(part).replace("torch.FloatTensor", "float32") for part in (values, named)),
                *(list(part.state_dict()) for part in (values, named, values[1:])),
                *(list(named.keys()), list(reversed(named)), named.popitem()[0], "b" in named),
                *(named.setdefault("n", 4), named.get("m", 5), len(values), len(named)),
            ]
        )
    reprs[1][0] = reprs[1][0].replace("torch.float32", "float32")
    assert [str(part) for part in reprs[0]] == [str(part) for part in reprs[1]]


# ----- hooks -------------------------------------------------------------------------------------

KINDS = st.tuples(
    st.sampled_from(["pre", "forward", "backward pre", "backward"]),
    st.sampled_from(["", "0", "1", "1.0"]),
    st.booleans(),
)


@given(st.lists(KINDS, max_size=8))
def test_hooks_are_called_in_the_same_order(kinds: Any) -> None:
    calls = [called(lib, kinds) for lib in BOTH]
    assert [call[0] for call in calls[0]] == [call[0] for call in calls[1]]
    for (_, ours), (_, theirs) in zip(*calls, strict=True):
        assert_allclose(ours, theirs, rtol=1e-6)


def called(lib: Any, kinds: Any) -> list[tuple[Any, list[float]]]:
    nn = lib.nn
    net = nn.Sequential(nn.Tanh(), nn.Sequential(nn.Sigmoid(), nn.Tanh()))
    calls: list[tuple[Any, list[float]]] = []

    def hook(number: int) -> Any:
        def seen(module: Any, *parts: Any) -> None:
            flat = [p for part in parts for p in (part if isinstance(part, tuple) else [part])]
            calls.append((number, [p.item() for p in flat if p is not None]))

        return seen

    for number, (kind, where, first) in enumerate(kinds):
        register = {
            "pre": "register_forward_pre_hook",
            "forward": "register_forward_hook",
            "backward pre": "register_full_backward_pre_hook",
            "backward": "register_full_backward_hook",
        }[kind]
        getattr(net.get_submodule(where), register)(hook(number), prepend=first)
    net(lib.tensor(0.3, requires_grad=True)).backward()
    return calls


# ----- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [{}, {"0.weight": (2, 2)}, {"x": (1,)}, {"0.weight": (3, 2), "0.bias": (3,), "0.x": (1,)}],
)
@pytest.mark.parametrize("strict", [True, False])
def test_states_that_do_not_fit(state: dict[str, Any], strict: bool) -> None:
    said = []
    for lib in BOTH:
        net = lib.nn.Sequential(lib.nn.Linear(2, 3))
        try:
            keys = net.load_state_dict({k: lib.zeros(v) for k, v in state.items()}, strict=strict)
            said.append((keys.missing_keys, keys.unexpected_keys))
        except RuntimeError as error:
            marks = ("Missing key(s)", "Unexpected key(s)", "size mismatch for 0.weight:")
            said.append(tuple([mark in str(error)] for mark in marks))
    assert said[0] == said[1]


def test_initial_values_have_the_same_bounds() -> None:
    """Of the laws that are drawn from, the ends; of the others, all."""
    for name in ("linear", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "selu"):
        assert tg.nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    for shape, groups in (((4, 2, 3), 2), ((4, 4, 3, 2), 1)):
        ours = tg.nn.init.dirac_(tg.ones(shape), groups).numpy()
        np.testing.assert_array_equal(ours, torch.nn.init.dirac_(torch.ones(shape), groups))
