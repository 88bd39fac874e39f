"""The checker where sizes differ, at the edges of domains, and against ops that do not keep still:
nothing may hide behind something larger, and every failure is a GradientError that says what."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv._op import Op
from tinygrad_cv.testing import GradientError, check_gradients, check_op
from tinygrad_cv.testing.measure import slope
from tinygrad_cv.testing.strategies import arrays, shapes

RNG = np.random.default_rng(0)
MODES = st.sampled_from(["full", "direction"])


def power_of_ten(largest: float = 8) -> Any:
    return st.floats(-largest, largest).map(lambda exponent: 10.0**exponent)


class Wrong(Op, register=False):
    """x, with a gradient that is off by a factor for each element."""

    def forward(self, xp, x, factor):
        return x + 0

    nondifferentiable = ("factor",)

    def grad_x(self, F, g, factor):
        return g * factor


wrong = tg.function(Wrong)


def wrong_by(x: Any, factor: float) -> tg.Tensor:
    """x, with all of its gradient off by this factor."""
    return wrong(x, tg.full(x.shape, factor, dtype="float64"))


# ----- sizes -------------------------------------------------------------------------------------


@pytest.mark.host
@given(MODES, st.integers(1, 20), st.integers(0, 2**32 - 1), st.data())
def test_one_wrong_element_among_any_sizes_fails(mode: str, n: int, seed: int, data: Any) -> None:
    rng = np.random.default_rng(seed)
    inputs, outputs = 10 ** rng.uniform(-8, 8, (2, n))
    factor = np.ones(n)

    def cubes(x: tg.Tensor) -> tg.Tensor:
        z = wrong(x, tg.tensor(factor)) / tg.tensor(inputs)
        return (z**3 + z) * tg.tensor(outputs)

    x = inputs * rng.uniform(0.5, 2, n) * rng.choice([-1, 1], n)
    check_gradients(cubes, [x], mode=mode)
    factor[data.draw(st.integers(0, n - 1))] = 1.001
    with pytest.raises(GradientError, match="is wrong"):
        check_gradients(cubes, [x], mode=mode)


@pytest.mark.host
@given(MODES, power_of_ten(), power_of_ten(), power_of_ten(), st.integers(0, 1), st.booleans())
def test_a_wrong_rule_of_one_input_of_any_size_fails(
    mode: str, first: float, second: float, out: float, which: int, product: bool
) -> None:
    factors = [1.0, 1.0]

    def function(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
        x, w = (wrong_by(v, f) for v, f in zip((x, w), factors, strict=True))
        return (x @ w if product else x + w) * out

    inputs = [RNG.uniform(1, 2, (3, 3)) * first, RNG.uniform(1, 2, (3, 3)) * second]
    check_gradients(function, inputs, mode=mode)
    factors[which] = 1.001
    with pytest.raises(GradientError, match=f"of input {which} is wrong"):
        check_gradients(function, inputs, mode=mode)


@pytest.mark.host
@given(power_of_ten(), st.booleans())
def test_a_small_output_does_not_hide_behind_a_large_one(size: float, second: bool) -> None:
    factor = 1.0

    def function(x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        a, b = x.sin(), wrong_by(x, factor).cos() * size
        return (a, b) if second else (b, a)

    x = RNG.uniform(0.5, 1, (2, 3))
    check_gradients(function, [x])
    factor = 1.001
    with pytest.raises(GradientError, match="is wrong"):
        check_gradients(function, [x])


@pytest.mark.host
@pytest.mark.parametrize("mode", ["full", "direction"])
@pytest.mark.parametrize("size", [1e7, 1e12])
@pytest.mark.parametrize("factor", [0.0, 0.999, 3.0])
def test_a_gradient_far_below_that_of_another_input_is_judged_on_its_own(
    mode: str, size: float, factor: float
) -> None:
    inputs = [RNG.standard_normal((4, 4)), RNG.standard_normal((4, 4))]
    check_gradients(lambda x, b: x * size + b, inputs, mode=mode)
    with pytest.raises(GradientError, match="of input 1 is wrong"):
        check_gradients(lambda x, b: x * size + wrong_by(b, factor), inputs, mode=mode)


def test_what_rounding_drowns_is_said_to_be() -> None:
    with pytest.raises(GradientError, match="cannot be resolved"):
        check_gradients(lambda x, b: x * 1e13 + b.sin(), [np.ones(2), np.ones(2)], order=1)


def test_a_fused_rule_that_is_wrong_for_a_small_input_alone_fails() -> None:
    class Disagrees(Op, register=False):
        def forward(self, xp, x, b):
            return x * 1e10 + b

        def grad_x(self, F, g):
            return g * 1e10

        def grad_b(self, F, g):
            return g

        def fused(self, xp, g):
            return g * 1e10, g * 1.001

    with pytest.raises(GradientError, match="gradient of input 1 differs between the raw"):
        check_gradients(tg.function(Disagrees), [np.ones(2), np.ones(2)])


@pytest.mark.host
def test_rounding_errors_of_a_rule_are_no_mistake() -> None:
    # Sums of which nothing is left: what the rules give there is rounding, and so is the slope.
    for seed in range(5):
        x = np.random.default_rng(seed).standard_normal((2, 4)) * 100
        check_gradients(lambda v: tg.softmax(v, 1).sum(1, keepdim=True) + v, [x])
        check_gradients(lambda v: tg.log_softmax(v, 1), [x])
        check_gradients(lambda v: v * 0.5 + v * 0.25 - v * 0.75 + v[0, 0], [x])
        check_gradients(lambda v: tg.std(v[:, :2], 1, correction=0), [x[:, :2] + 1000])


# ----- the edges of domains ----------------------------------------------------------------------

EDGES: dict[str, tuple[Callable[..., Any], list[float]]] = {
    "log": (tg.log, [1e-9, 1e-100, 1.0, 1e12]),
    "sqrt": (tg.sqrt, [1e-8, 1e-20]),
    "reciprocal": (lambda x: 1 / x, [1e-4, -1e-4, 1e-12]),
    "asin": (tg.asin, [1 - 1e-9, -1 + 1e-6]),
    "acosh": (tg.acosh, [1 + 1e-9]),
    "pole": (lambda x: 1 / (x - 1), [1 + 1e-6]),
    "sin": (tg.sin, [1e6, 1e8]),
    "exp": (tg.exp, [1e-9, 300.0, -600.0]),
}


@pytest.mark.host
@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("mode", ["full", "direction"])
def test_steps_stay_in_the_domain(name: str, mode: str) -> None:
    function, places = EDGES[name]
    for place in places:
        check_gradients(function, [np.array([place])], mode=mode)
        with pytest.raises(GradientError, match="is wrong"):
            check_gradients(lambda x: function(wrong_by(x, 1.001)), [np.array([place])], mode=mode)


def test_differences_are_one_sided_where_the_domain_ends() -> None:
    measured = slope(lambda t: np.exp(2 * t) if t >= 0 else np.nan)
    assert measured.value == pytest.approx(2, rel=1e-5)
    assert not measured.has_kink
    measured = slope(lambda t: np.exp(2 * t) if t <= 0 else np.inf)
    assert measured.value == pytest.approx(2, rel=1e-5)
    assert np.isinf(slope(lambda t: 0.0 if t == 0 else np.nan).error)


def test_a_function_that_refuses_its_inputs_beside_the_point() -> None:
    def picky(x: tg.Tensor) -> tg.Tensor:
        if float(x.detach().numpy().max()) > 1.0001:
            raise ValueError("too large")
        return x.exp()

    check_gradients(picky, [np.array([1.0])])

    def alone(x: tg.Tensor) -> tg.Tensor:
        if float(x.detach().numpy().max()) != 1:
            raise ValueError("something else")
        return x.exp()

    with pytest.raises(GradientError, match="not finite at any step from input 0 at index"):
        check_gradients(alone, [np.array([1.0])])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "options",
    [{"mode": m} for m in ("full", "direction", "cs231n")]
    + [{"method": m} for m in ("linear", "complex")],
)
def test_a_rule_that_is_not_finite_is_named_with_its_place(bad: float, options: Any) -> None:
    class Bad(Op, register=False):
        def forward(self, xp, x):
            return x * 1

        def grad_x(self, F, g, x):
            return F.where(x > 0, F.abs(g), x * 0 + bad)

    x = np.array([[1.0, 2.0], [3.0, -1.0]])
    with pytest.raises(GradientError, match=rf"the rule gave {bad} at index \(1, 1\) of input 0"):
        check_gradients(tg.function(Bad), [x], **options)


def test_an_output_that_is_not_finite_is_named_with_its_place() -> None:
    with pytest.raises(GradientError, match=r"not finite here.*output 1 is .*inf at index \(0,\)"):
        check_gradients(lambda x: (x * 2, 1 / (x - 1)), [np.array([1.0, 2.0])])


# ----- outputs without a gradient ----------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_an_output_that_moves_and_has_no_gradient_fails(size: float) -> None:
    x = RNG.standard_normal((2, 3)) * size
    with pytest.raises(GradientError, match="output 1 moves with input 0, and no gradient flows"):
        check_gradients(lambda v: (v * 2, (v * 3).detach()), [x])


def test_an_output_that_does_not_move_needs_no_gradient() -> None:
    x = np.array([1.1, 2.3, -0.2])
    check_gradients(lambda v: (v * 2, v.round().detach(), v.argmax(), v > 0, tg.ones(3)), [x])
    check_gradients(lambda v: v.max(0), [x])


# ----- ops that write into what they were lent ---------------------------------------------------


class ForwardWrites(Op, register=False):
    def forward(self, xp, x):
        return xp.exp(x, out=x)

    def local_x(self, F, y):
        return y


class RuleWritesIntoG(Op, register=False):
    def forward(self, xp, x, w):
        return x + w

    def grad_x(self, F, g):
        return g

    def grad_w(self, F, g):
        g *= 1
        g += 1
        return g - 1


class RuleWritesIntoSaved(Op, register=False):
    def forward(self, xp, x):
        return xp.exp(x)

    def grad_x(self, F, g, y):
        y *= g
        return y


class FusedRuleWrites(Op, register=False):
    def forward(self, xp, x, w):
        return x * w

    def grad_x(self, F, g, w):
        return g * w

    def grad_w(self, F, g, x):
        return g * x

    def fused(self, xp, g, x, w):
        left = g * w
        x *= g
        return left, x


WRITERS = {
    ForwardWrites: "the forward of forward_writes wrote into its input x",
    RuleWritesIntoG: "the rule of rule_writes_into_g for w wrote into g",
    RuleWritesIntoSaved: "the rule of rule_writes_into_saved for x wrote into its saved value y",
    FusedRuleWrites: "the fused rule of fused_rule_writes wrote into its saved value x",
}


@pytest.mark.parametrize("op", WRITERS)
def test_who_writes_into_what_is_named(op: type[Op]) -> None:
    inputs = [RNG.standard_normal((2, 3)) for _ in op.inputs]
    with pytest.raises(GradientError, match=WRITERS[op]):
        check_gradients(tg.function(op), inputs)
    with pytest.raises(GradientError, match=WRITERS[op]):  # deep inside a function, too
        check_gradients(lambda *vs: (tg.function(op)(*[v * 2 for v in vs])).sin().sum(), inputs)


def test_a_rule_that_writes_in_the_recorded_reading_alone_is_named() -> None:
    class Recorded(Op, register=False):
        def forward(self, xp, x):
            return x * 3

        def grad_x(self, F, g):
            if isinstance(g, tg.Tensor):
                g *= 3
                return g
            return g * 3

    with pytest.raises(GradientError, match="a rule of recorded wrote into g or into a saved"):
        check_gradients(tg.function(Recorded), [np.ones(2)])


def test_check_op_names_who_writes() -> None:
    with pytest.raises(GradientError, match=WRITERS[ForwardWrites]):
        check_op(ForwardWrites, arrays(shapes(1)), reference=np.exp, examples=5)


# ----- a check is no toss of a coin --------------------------------------------------------------


def test_a_gradient_that_is_seldom_nonzero_is_waited_for() -> None:
    seldom = st.integers(0, 19).map(lambda k: np.array([0.5 if k == 7 else 2.0 + k]))
    for _ in range(10):
        report = check_op(lambda v: v.clamp(-1, 1), seldom, examples=3)
        assert report.entries


# ----- what a function and a rule may not do -----------------------------------------------------


def test_a_function_that_changes_its_input_is_refused() -> None:
    def function(x: tg.Tensor) -> tg.Tensor:
        y = x * 2
        x.data.add_(1)
        return y

    with pytest.raises(GradientError, match="changes input 0 in place"):
        check_gradients(function, [np.ones(3)])


@pytest.mark.parametrize("bend", [abs, lambda g: g * g, lambda g: g + 1])
def test_a_rule_that_is_not_linear_in_g_is_refused(bend: Callable[[Any], Any]) -> None:
    class Bent(Op, register=False):
        def forward(self, xp, x):
            return x * 2

        def grad_x(self, F, g):
            return 2 * bend(g)

    for seed in range(4):  # whatever the sign of g
        with pytest.raises(GradientError, match=r"not linear in g|is wrong"):
            check_gradients(tg.function(Bent), [np.ones(1)], seed=seed)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "got NoneType"),
        (1.5, "got float"),
        (np.ones(2), "got ndarray"),
        ([tg.ones(2), None], "got NoneType among them"),
    ],
)
def test_what_a_function_returns_is_tensors(result: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        check_gradients(lambda x: result, [np.ones(2)])


def test_what_is_given_in_another_form_than_asked_is_refused() -> None:
    with pytest.raises(TypeError, match=r"inputs is a sequence.*\[x\]"):
        check_gradients(tg.sin, np.ones(2))
    with pytest.raises(TypeError, match="inputs is a sequence"):
        check_gradients(tg.sin, tg.ones(2))
    with pytest.raises(ValueError, match="expected 2 names"):
        check_gradients(lambda x, y: x * y, [np.ones(2), np.ones(2)], names=["x"])


def test_outputs_may_be_named() -> None:
    check_gradients(lambda x: {"sine": x.sin(), "twice": 2 * x}, [RNG.standard_normal(3)])


# ----- saturated ---------------------------------------------------------------------------------


def test_a_share_that_is_1_but_for_its_rounding_passes() -> None:
    check_gradients(lambda x: tg.softmax(x, 0), [np.array([40.0, 0.0, -40.0, 1.0])])


def test_a_leak_from_an_output_that_stays_is_found() -> None:
    class Leak(Op, register=False):
        """Elementwise, with a rule that mixes the elements."""

        def forward(self, xp, x):
            return xp.tanh(x)

        def grad_x(self, F, g, y):
            return g * (1 - y * y) + F.flip(g, axes=(0,)) * 1e-3

    with pytest.raises(GradientError, match="is wrong"):
        check_gradients(tg.function(Leak), [np.array([0.5, 40.0, 1.0, -0.5])])


def test_a_slope_that_no_step_shows_is_not_blamed_on_the_rule() -> None:
    with pytest.raises(GradientError, match="cannot be resolved"):
        check_gradients(tg.acos, [np.array([1 - 1e-14])])


def test_a_narrow_dtype_on_the_way_is_suspected() -> None:
    with pytest.raises(GradientError, match=r"Is all of it computed in float64\?"):
        check_gradients(lambda x: (x * 100).float().sin().double(), [np.array([0.3, 0.7])])


def test_outputs_of_integers_alone_are_refused() -> None:
    with pytest.raises(GradientError, match="every output is int64, and only floats"):
        check_gradients(lambda x: (x * 3).long(), [RNG.standard_normal(3)])


def test_check_op_raises_one_error_where_several_things_are_wrong() -> None:
    with pytest.raises(AssertionError, match=r"forward (is not what the reference )?gives"):
        check_op(tg.sin, arrays(shapes()), lambda x: np.sum(x), examples=20)


def test_a_gradient_below_the_normal_numbers_is_not_held_to_nine_digits() -> None:
    x = np.array([337.83673447, -493.32487732, -268.55174443, -385.7644554])
    for seed in range(10):
        check_gradients(lambda x: tg.log_softmax(x, dim=0), [x], seed=seed)
