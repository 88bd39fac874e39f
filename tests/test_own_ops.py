"""An op of one's own is an op like any other."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from programs import leaf, right_or_refused, values
from tinygrad_cv._apply import F
from tinygrad_cv._op import REGISTRY, Op
from tinygrad_cv._tensor import Tensor

# ----- an op of one's own ------------------------------------------------------------------------


class Local(Op, register=False):
    """x³, by its local gradient."""

    def forward(self, xp, x):
        return x * x * x

    def local_x(self, F, x):
        return 3 * x * x


class Full(Op, register=False):
    """x³, by its gradient."""

    def forward(self, xp, x):
        return x * x * x

    def grad_x(self, F, g, x):
        return g * 3 * x * x


class FromOutput(Op, register=False):
    """x³, by its output: 3 y / x."""

    def forward(self, xp, x):
        return x * x * x

    def grad_x(self, F, g, x, y):
        return g * 3 * y / x


class Power(Op, register=False):
    """xⁿ for an attribute n."""

    n: int = 3

    def forward(self, xp, x):
        return x**self.n

    def local_x(self, F, x):
        return self.n * x ** (self.n - 1)


class Masked(Op, register=False):
    """x³ where x is positive or negative, by a mask that is kept."""

    kept = ("sign",)

    def forward(self, xp, x):
        self.sign = xp.sign(x)
        return self.sign * xp.abs(x * x * x)

    def local_x(self, F, x, sign):
        return 3 * x * x * sign * sign


class Product(Op, register=False):
    """x · x · ... of any number of inputs."""

    def forward(self, xp, *xs):
        y = 1
        for x in xs:
            y = y * x
        return y

    def grad_xs(self, F, g, xs):
        shares = []
        for i in range(len(xs)):
            share = g
            for x in (*xs[:i], *xs[i + 1 :]):
                share = share * x
            shares.append(share)
        return shares


class Scaled(Op, register=False):
    """x³ · w if there is a w."""

    def forward(self, xp, x, w=None):
        y = x * x * x
        return y if w is None else y * w

    def grad_x(self, F, g, x, w):
        g = g * 3 * x * x
        return g if w is None else g * w

    def grad_w(self, F, g, x):
        return g * x * x * x


class Weighted(Op, register=False):
    """x³ · weights, which no gradient reaches."""

    nondifferentiable = ("weights",)

    def forward(self, xp, x, weights):
        return x * x * x * weights

    def grad_x(self, F, g, x, weights):
        return g * 3 * x * x * weights


class Fused(Full, register=False):
    """x³ with a rule for arrays alone."""

    def fused(self, xp, g, x):
        return (xp.multiply(g, 3 * x * x),)


CUBES: dict[str, Callable[[Tensor], Tensor]] = {
    "local rule": tg.function(Local),
    "full rule": tg.function(Full),
    "rule of the output": tg.function(FromOutput),
    "attribute": lambda x: tg.function(Power)(x, n=3),
    "default attribute": tg.function(Power),
    "kept by-product": tg.function(Masked),
    "variadic": lambda x: tg.function(Product)(x, x, x),
    "variadic, with a number": lambda x: tg.function(Product)(x, 2.0, x, x, Tensor(0.5)),
    "optional input left out": tg.function(Scaled),
    "optional input None": lambda x: tg.function(Scaled)(x, None),
    "optional input given": lambda x: tg.function(Scaled)(x, tg.ones(3, dtype=tg.float64)),
    "input without a gradient": lambda x: tg.function(Weighted)(x, leaf(np.ones(3))),
    "input of integers": lambda x: tg.function(Weighted)(x, tg.tensor([1, 1, 1])),
    "fused": tg.function(Fused),
}


@pytest.mark.parametrize("cube", CUBES.values(), ids=CUBES.keys())
def test_an_op_of_ones_own_is_an_op_like_any_other(cube: Callable[[Tensor], Tensor]) -> None:
    start, v = np.array([0.5, -1.5, 2.0]), np.array([1.0, -2.0, 0.5])
    x = leaf(start)
    y = cube(x)
    assert_allclose(values(y), start**3)
    (first,) = tg.grad(y.sum(), x, create_graph=True)
    assert_allclose(values(first), 3 * start**2)
    (second,) = tg.grad((first * v).sum(), x, create_graph=True)
    assert_allclose(values(second), 6 * start * v)
    y.sum().backward()
    assert_allclose(values(x.grad), 3 * start**2)

    z = cube(x.tanh()).sum()  # in the middle of a graph
    z.backward()
    expected = 3 * start**2 + 3 * np.tanh(start) ** 2 * (1 - np.tanh(start) ** 2)
    assert_allclose(values(x.grad), expected)

    op = y.node.op
    assert op is not None
    assert f"  {op.name} " in str(tg.graph(y))
    assert "grad_fn=<" in repr(y)
    assert tg.formula(y)
    with tg.no_grad():
        assert not cube(x).requires_grad
    y = cube(x)
    x.data.zero_()
    with pytest.raises(RuntimeError, match="in place"):
        y.sum().backward()


def test_a_listing_shows_the_attributes_of_ones_own_op() -> None:
    x = leaf([1.0, 2.0])
    assert str(tg.graph(tg.function(Power)(x, n=4))).splitlines() == [
        "%0  parameter             float64 (2,)",
        "%1  power      (%0)  n=4  float64 (2,)",
    ]


def test_formulas_of_ones_own_op() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    assert tg.formula(Local) == {"x": "g · 3 · x · x"}
    assert tg.formula(FromOutput) == {"x": "g · 3 · y / x"}
    assert tg.formula(tg.function(Power)(x, n=4)) == {"x": "g · 4 · x ** 3"}
    assert tg.formula(tg.function(Scaled)(x, w)) == {"x": "g · 3 · x · x · w", "w": "g · x · x · x"}


def test_a_fused_rule_runs_on_arrays_and_the_plain_rules_on_tensors() -> None:
    seen = []

    class Noted(Op, register=False):
        def forward(self, xp, x, w):
            return x * w

        def grad_x(self, F, g, w):
            seen.append(("x", type(g)))
            return g * w

        def grad_w(self, F, g, x):
            seen.append(("w", type(g)))
            return g * x

        def fused(self, xp, g, x, w):
            seen.append(("both", type(g)))
            return g * w, g * x

    x, w = leaf([2.0]), leaf([3.0])
    tg.function(Noted)(x, w).backward()
    assert seen == [("both", type(x._array))]
    tg.function(Noted)(x, w).backward(create_graph=True)
    assert seen[1:] == [("x", Tensor), ("w", Tensor)]
    assert (values(x.grad).tolist(), values(w.grad).tolist()) == ([6], [4])
    (g,) = tg.grad(tg.function(Noted)(x, 5.0), x)
    assert g.tolist() == [5]


@pytest.mark.parametrize(
    "returned", [lambda g: None, lambda g: g, lambda g: (g,), lambda g: [g] * 3]
)
def test_a_fused_rule_gives_one_gradient_for_each_input(returned: Callable[[Any], Any]) -> None:
    class Halved(Op, register=False):
        def forward(self, xp, x, w):
            return x * w

        def grad_x(self, F, g, w):
            return g * w

        def grad_w(self, F, g, x):
            return g * x

        def fused(self, xp, g):
            return returned(g)

    y = tg.function(Halved)(leaf([[1.0], [1.0]]), leaf([[1.0], [1.0]])).sum()
    with pytest.raises(TypeError, match=r"fused rule of halved .* 2 differentiable inputs; .*"):
        y.backward()


def test_every_input_of_a_variadic_op_gets_its_own_gradient() -> None:
    parts = [leaf(2.0), Tensor(3.0, dtype="float64"), leaf(5.0), leaf(7.0)]
    y = tg.function(Product)(*parts, 2.0)
    y.backward()
    assert [p.grad and p.grad.item() for p in parts] == [210, None, 84, 60]


@given(st.sets(st.sampled_from("abcd")), st.integers(0, 4))
def test_any_optional_input_may_be_left_out_or_named(given_ones: set[str], by_place: int) -> None:
    """By position up to one of them, and by name from there on: as the signature says."""

    class Digits(tg.Op, register=False):
        nondifferentiable = ("a", "b", "c", "d")

        def forward(self, xp: Any, a: Any, b: Any, c: Any = None, d: Any = None) -> Any:
            return (
                a * 1.0 + b * 10.0 + sum(x * f for x, f in ((c, 100), (d, 1000)) if x is not None)
            )

    function = tg.function(Digits)
    one = tg.ones(1)
    inputs = {name: one for name in "abcd" if name in given_ones}
    placed = [inputs.pop(name, None) for name in "abcd"[:by_place]]
    if {"a", "b"} <= given_ones:
        number = sum(10**i for i, name in enumerate("abcd") if name in given_ones)
        assert function(*placed, **inputs).item() == number
    else:
        with pytest.raises(TypeError, match=r"digits takes the inputs|None"):
            function(*placed, **inputs)
    with pytest.raises(TypeError, match="digits got its input b twice"):
        function(one, one, b=one)


def test_an_optional_input_gets_a_gradient_when_it_is_there() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    tg.function(Scaled)(x, w).sum().backward()
    assert w.grad.tolist() == [1, 8]
    with pytest.raises(TypeError, match=r"scaled takes the inputs \(x, w\)"):
        tg.function(Scaled)()


def test_an_op_may_broadcast_without_knowing_it() -> None:
    x, w = leaf(np.ones((2, 3))), leaf(np.full((2, 1), 2.0))
    for create_graph in (False, True):
        gx, gw = tg.grad(tg.function(Scaled)(x, w).sum(), [x, w], create_graph=create_graph)
        assert_array_equal(values(gx), np.full((2, 3), 6.0))
        assert_array_equal(values(gw), [[3], [3]])


def refused_class(error: str, define: Callable[[], Any]) -> None:
    known = dict(REGISTRY)
    with pytest.raises(TypeError, match=error):
        define()
    assert known == REGISTRY


class TestRefusedOps:
    """What a class cannot mean is refused where it is written."""

    def test_no_rule_for_an_input(self) -> None:
        def define() -> None:
            class Halfway(Op, register=False):
                def forward(self, xp, x, y):
                    return x * y

                def grad_x(self, F, g, y):
                    return g * y

        refused_class("Halfway has no rule for its input y.*nondifferentiable", define)

    def test_a_rule_that_asks_for_something_unknown(self) -> None:
        def define() -> None:
            class Curious(Op, register=False):
                def forward(self, xp, x):
                    return x * x

                def grad_x(self, F, g, z):
                    return g * z

        refused_class("Curious.grad_x asks for z.*kept", define)

    def test_a_local_rule_that_asks_for_the_gradient(self) -> None:
        def define() -> None:
            class Greedy(Op, register=False):
                def forward(self, xp, x):
                    return x * x

                def local_x(self, F, g, x):
                    return g * x

        refused_class("Greedy.local_x asks for g", define)

    @pytest.mark.parametrize("kind", ["grad", "local"])
    def test_a_rule_for_something_that_is_no_input(self, kind: str) -> None:
        def define() -> None:
            body = {
                "forward": lambda self, xp, x: x * 1,
                "grad_x": lambda self, F, g: g,
                f"{kind}_zzz": lambda self, F, g: g,
            }
            type("Stray", (Op,), body, register=False)

        refused_class(f"Stray.{kind}_zzz is a rule for zzz.*not an input", define)

    def test_a_fused_rule_that_asks_for_something_unknown(self) -> None:
        def define() -> None:
            class Fast(Op, register=False):
                def forward(self, xp, x):
                    return x * 1

                def grad_x(self, F, g):
                    return g

                def fused(self, xp, g, z):
                    return (g,)

        refused_class("fused asks for z", define)

    def test_a_name_that_is_taken(self) -> None:
        def define() -> None:
            class Tanh(Op):
                def forward(self, xp, x):
                    return x * 1

                def grad_x(self, F, g):
                    return g

        refused_class("'tanh' exists already.*rename.*register=False", define)

    def test_attributes(self) -> None:
        class Named(Op, register=False):
            size: int

            def forward(self, xp, x):
                return x * self.size

            def grad_x(self, F, g):
                return g * self.size

        named = tg.function(Named)
        assert named(tg.ones(1), size=2).tolist() == [2]
        with pytest.raises(TypeError, match="missing: size"):
            named(tg.ones(1))
        with pytest.raises(TypeError, match="unknown: sizes"):
            named(tg.ones(1), size=1, sizes=2)


def wrong_rule(rule: Callable[..., Any]) -> Callable[[Tensor], Tensor]:
    """The identity with this for a rule."""
    body = {"forward": lambda self, xp, x: x * 1, "grad_x": rule}
    return tg.function(type("Wrong", (Op,), body, register=False))


WRONG_RULES: dict[str, Callable[..., Any]] = {
    "nothing": lambda self, F, g: None,
    "a number": lambda self, F, g: 0.0,
    "too few elements": lambda self, F, g: g[:1],
    "a scalar": lambda self, F, g: F.sum(g),
    "another length": lambda self, F, g: F.getitem(g, index=slice(1, None)),
    "too many elements": lambda self, F, g, x: F.reshape(g, shape=(-1, 1)) * x,
    "a matrix": lambda self, F, g: F.broadcast_to(g, shape=(2, 3)),
    "a list": lambda self, F, g: [g],
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("rule", WRONG_RULES.values(), ids=WRONG_RULES.keys())
def test_what_a_wrong_rule_returns_is_refused_by_name(
    rule: Callable[..., Any], create_graph: bool
) -> None:
    x = leaf([1.0, 2.0, 3.0])
    y = wrong_rule(rule)(x).sum()
    with pytest.raises((TypeError, ValueError), match="wrong"):
        y.backward(create_graph=create_graph)
    assert x.grad is None


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_is_summed_over_axes_that_were_broadcast_and_no_others(
    create_graph: bool,
) -> None:
    """A length 1 that stayed 1 was not broadcast: a longer gradient is a mistake of the rule."""
    x = leaf([[2.0]])
    y = wrong_rule(lambda self, F, g: F.broadcast_to(g, shape=(1, 3)))(x)
    with pytest.raises((TypeError, ValueError), match="wrong"):
        y.backward(create_graph=create_graph)


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_variadic_rule_gives_one_gradient_for_each_input(count: int, create_graph: bool) -> None:
    class Total(Op, register=False):
        def forward(self, xp, *xs):
            return xs[0] + xs[1]

        def grad_xs(self, F, g):
            return [g] * count

    x, y = leaf(1.0), leaf(2.0)
    z = tg.function(Total)(x, y)
    with pytest.raises((TypeError, ValueError), match="total"):
        z.backward(create_graph=create_graph)


def test_a_tensor_cannot_hide_in_an_attribute() -> None:
    """No gradient would reach it, without a word."""
    x, n = leaf([1.0, 2.0]), leaf(3.0)
    with pytest.raises(TypeError, match=r"power.*n|n.*power"):
        tg.function(Power)(x, n=n)


def test_an_array_attribute_that_changed_is_right_or_refused() -> None:
    class Window(Op, register=False):
        weights: Any

        def forward(self, xp, x):
            return x * self.weights

        def grad_x(self, F, g):
            return g * self.weights

    x, weights = leaf([1.0, 2.0]), np.array([3.0, 4.0])
    y = tg.function(Window)(x, weights=weights).sum()
    weights[:] = 0
    with right_or_refused():
        y.backward()
        assert x.grad.tolist() == [3, 4]


def test_an_array_that_an_op_keeps_without_saying_so_is_right_or_refused() -> None:
    """It would be a constant of the second derivative, and no guard would watch it."""

    class Secretive(Op, register=False):
        def forward(self, xp, x):
            self.x = x
            return x * x * x

        def grad_x(self, F, g):
            return g * 3 * self.x * self.x

    x = leaf([1.0, 2.0])
    try:
        y = tg.function(Secretive)(x).sum()
        (first,) = tg.grad(y, x, create_graph=True)
        (second,) = tg.grad(first.sum(), x)
    except TypeError as error:
        if "kept" not in str(error):
            raise
        return
    assert second.tolist() == [6, 12]


@pytest.fixture
def registry() -> Iterator[dict[str, type[Op]]]:
    """The registry, put back in order afterwards."""
    before = dict(REGISTRY)
    yield REGISTRY
    REGISTRY.clear()
    REGISTRY.update(before)


def test_a_notebook_cell_that_runs_again_replaces_its_op(registry: dict[str, type[Op]]) -> None:
    def cell(factor: float) -> Callable[[Tensor], Tensor]:
        class CellTimes(Op):
            def forward(self, xp, x):
                return x * factor

            def grad_x(self, F, g):
                return F.cell_times(g)

        return tg.function(CellTimes)

    for factor in (2.0, 3.0):
        times = cell(factor)
        assert registry["cell_times"].__qualname__.endswith("CellTimes")
        for create_graph in (False, True):
            x = leaf(1.0)
            y = times(x)
            y.backward(create_graph=create_graph)
            assert (y.item(), x.grad.item()) == (factor, factor)
        assert F.cell_times(leaf(1.0)).item() == factor


def test_a_listing_shows_no_state() -> None:
    """Running statistics and generators are no part of what an op computes, and have addresses."""
    x = leaf(np.ones((4, 2)))
    y = tg.dropout(x, 0.5, generator=np.random.default_rng(0))
    z = tg.batch_norm(y, tg.zeros(2), tg.ones(2), training=True)
    assert "0x" not in str(tg.graph(z))
    assert [node.op.describe() for node in tg.graph(z) if node.op] == ["p=0.5", ""]


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("outputs", "values", r"outputs is a tuple of names: \('values',\)"),
        ("kept", "mask", r"kept is a tuple of names: \('mask',\)"),
        ("nondifferentiable", "x", r"nondifferentiable is a tuple of names: \('x',\)"),
        ("outputs", ("a", "a"), "which a it asks for"),
        ("outputs", ("x", "a"), "which x it asks for"),
        ("kept", ("x",), "which x it asks for"),
        ("computes_in", "float", "computes_in is one of float16, float32, float64; got 'float'"),
        ("flops", 7, "flops is a function of the shapes, .*; got 7"),
    ],
)
def test_what_an_op_says_of_itself_is_checked_where_it_is_defined(
    attribute: str, value: Any, message: str
) -> None:
    body = {attribute: value, "forward": lambda self, xp, x: x, "grad_x": lambda self, F, g: g}
    with pytest.raises(TypeError, match=message):
        type("Wrong", (Op,), body, register=False)
