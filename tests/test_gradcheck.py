"""The checker is tested too: planted mistakes must fail, and right rules must pass."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv._op import Op
from tinygrad_cv.testing import GradientError, check_gradients, check_op, numerical_gradient
from tinygrad_cv.testing.measure import slope
from tinygrad_cv.testing.strategies import arrays, shapes

RNG = np.random.default_rng(0)


# ----- canaries: each has the mistake that its name says -----------------------------------------


class ScaledTanh(Op, register=False):
    def forward(self, xp, x):
        return xp.tanh(x)

    def local_x(self, F, y):
        return 1.001 * (1 - y * y)


class DroppedTerm(Op, register=False):
    """x · σ(x), whose rule forgets that σ depends on x."""

    def forward(self, xp, x):
        return x / (1 + xp.exp(-x))

    def local_x(self, F, x):
        return F.sigmoid(x)


class WrongAxis(Op, register=False):
    """Softmax along axis 1, whose rule sums along axis 0."""

    def forward(self, xp, x):
        e = xp.exp(x)
        return e / xp.sum(e, axis=1, keepdims=True)

    def grad_x(self, F, g, y):
        return y * (g - F.sum(g * y, axis=(0,), keepdims=True))


class MissingSum(Op, register=False):
    """x + b with b broadcast over the rows, whose rule takes one row instead of the sum."""

    def forward(self, xp, x, b):
        return x + b

    def grad_x(self, F, g):
        return g

    def grad_b(self, F, g):
        return F.getitem(g, index=(0,))


class StaleMean(Op, register=False):
    """x - mean(x), right to first order, whose rule keeps x² as if it were constant."""

    kept = ("frozen",)

    def forward(self, xp, x):
        self.frozen = x * x
        return x * x * x

    def grad_x(self, F, g, frozen):
        return g * 3 * frozen


CANARIES = {
    ScaledTanh: [(3, 4)],
    DroppedTerm: [(3, 4)],
    WrongAxis: [(3, 4)],
    MissingSum: [(3, 4), (4,)],
    StaleMean: [(3, 4)],
}


@pytest.mark.parametrize("mode", ["full", "direction"])
@pytest.mark.parametrize("canary", CANARIES)
def test_a_canary_fails(canary: type[Op], mode: str) -> None:
    inputs = [RNG.standard_normal(shape) for shape in CANARIES[canary]]
    with pytest.raises(GradientError) as caught:
        check_gradients(tg.function(canary), inputs, mode=mode)
    assert caught.value.report is not None
    assert caught.value.report.order == (2 if canary is StaleMean else 1)


@pytest.mark.host
def test_the_report_names_the_worst_element() -> None:
    class OneWrong(Op, register=False):
        def forward(self, xp, x):
            return x * x

        def grad_x(self, F, g, x):
            mask = np.zeros(x.shape)
            mask[1, 2] = 0.5
            return g * x * (2 + mask)

    with pytest.raises(GradientError, match=r"input 0 is wrong at index \(1, 2\)") as caught:
        check_gradients(tg.function(OneWrong), [RNG.standard_normal((5, 6))])
    report = caught.value.report
    assert report is not None
    assert report.worst.index == (1, 2)
    assert report.worst.relative_error == pytest.approx(0.2, rel=1e-3)
    assert "(1, 2)" in report.table().splitlines()[1]


# ----- no empty pass -----------------------------------------------------------------------------

x = RNG.standard_normal((2, 3))


@pytest.mark.parametrize(
    ("fn", "inputs", "message"),
    [
        (lambda a, b: a * 2, [x, x], "input 1 is unused"),
        (lambda a: a.detach() * 2, [x], "detached"),
        (lambda a: (a * 0).sum(), [x], "every gradient is zero"),
        (lambda a: a * float(np.random.default_rng().random()), [x], "not deterministic"),
        (lambda a: tg.log(a * 0), [x], "not finite"),
        (lambda a: a, [np.array([1, 2])], "no input is a float array"),
        (lambda a: tg.sin(a * 1e20), [x], "rough|wrong"),
    ],
)
def test_an_empty_check_fails(fn: Callable[..., Any], inputs: list[Any], message: str) -> None:
    with pytest.raises(GradientError, match=message):
        check_gradients(fn, inputs)


def test_a_fused_rule_that_disagrees_fails() -> None:
    class Disagrees(Op, register=False):
        def forward(self, xp, x):
            return x * x

        def grad_x(self, F, g, x):
            return g * 2 * x * (1 + 1e-6)

        def fused(self, xp, g, x):
            return (g * 2 * x,)

    with pytest.raises(GradientError, match="raw and the recorded reading"):
        check_gradients(tg.function(Disagrees), [x])


# ----- the measuring -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "exact"),
    [
        (lambda t: np.sin(3 + t), np.cos(3)),
        (lambda t: np.exp(2 * t), 2.0),
        (lambda t: (1 + t) ** 7, 7.0),
        (lambda t: 1e6 + t, 1.0),
        (lambda t: abs(t - 1e-4) + t, 0.0),  # a kink inside the largest step
    ],
)
def test_slope_is_measured_to_its_stated_error(f: Callable[[float], float], exact: float) -> None:
    measured = slope(f)
    assert not measured.has_kink
    assert abs(measured.value - exact) <= 4 * measured.error + 1e-9


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_a_kink_has_two_slopes(left: float, right: float) -> None:
    measured = slope(lambda t: left * t if t < 0 else right * t)
    if abs(left - right) > 1e-2:
        assert measured.has_kink
    assert (measured.low, measured.high) == pytest.approx(sorted((left, right)), abs=1e-3)


def test_a_subgradient_passes_at_a_kink_and_nothing_outside_it() -> None:
    class Absolute(Op, register=False):
        at_zero: float = 0.0

        def forward(self, xp, x):
            return xp.abs(x)

        def grad_x(self, F, g, x):
            return F.where(x == 0, g * self.at_zero, g * F.sign(x))

    absolute, zero = tg.function(Absolute), np.array([0.0, 1.0])
    for inside in (-1.0, 0.0, 0.3, 1.0):
        report = check_gradients(
            lambda v, s=inside: absolute(v, at_zero=s), [zero], order=1, mode="full"
        )
        assert {entry.band for entry in report.entries} <= {
            "right",
            "right: on a kink, between its slopes",
        }
    for outside in (-1.1, 1.1):
        with pytest.raises(GradientError):
            check_gradients(
                lambda v, s=outside: absolute(v, at_zero=s), [zero], order=1, mode="full"
            )


def test_numerical_gradient_is_the_taught_one() -> None:
    at = np.random.default_rng(0).standard_normal((2, 3))
    of_cubes = 3 * at**2 + 1e-10  # ((x + h)³ - (x - h)³) / 2h = 3x² + h²
    np.testing.assert_allclose(numerical_gradient(lambda v: (v**3).sum(), at), of_cubes, rtol=1e-6)


def test_float32_inputs_are_checked_in_float64() -> None:
    check_gradients(tg.tanh, [x.astype("float32")])
    check_gradients(tg.tanh, [tg.tensor(x.astype("float32"))])


# ----- what a mistake looks like -----------------------------------------------------------------


def broken(result: Callable[..., Any], forward: Callable[..., Any] = lambda x: x * x) -> type[Op]:
    """x², with another gradient: `result(F, right)`."""

    class Broken(Op, register=False):
        def forward(self, xp, x):
            return forward(x)

        def grad_x(self, F, g, x):
            return result(F, g * 2 * x)

    return Broken


HINTS = {
    "the sign is wrong": lambda F, r: -r,
    "off by the factor 2": lambda F, r: 2 * r,
    "off by the factor 1/2": lambda F, r: r / 2,
    "off by the factor 1/5, the length of an axis": lambda F, r: r / 5,
    "off by the factor 5, the length of an axis": lambda F, r: r * 5,
    "off by the constant factor 1.7": lambda F, r: r * 1.7,
    "the gradient is transposed": lambda F, r: F.mT(r),
    "zero everywhere": lambda F, r: r * 0,
}


@pytest.mark.parametrize("hint", HINTS)
def test_a_known_mistake_is_named(hint: str) -> None:
    with pytest.raises(GradientError) as caught:
        check_gradients(tg.function(broken(HINTS[hint])), [RNG.standard_normal((5, 5))])
    assert caught.value.report is not None
    assert hint in caught.value.report.hint
    assert hint in str(caught.value)


def test_a_missing_sum_is_named_with_its_axis() -> None:
    inputs = [RNG.standard_normal((3, 4)), RNG.standard_normal(4)]
    with pytest.raises(GradientError, match="along axis 0 of the output: is the sum"):
        check_gradients(tg.function(MissingSum), inputs)


def test_a_transposed_gradient_of_another_shape_is_named() -> None:
    turned = broken(lambda F, r: F.reshape(F.mT(r), shape=(2, 3)))
    with pytest.raises(GradientError, match="transposed gradient, in another shape"):
        check_gradients(tg.function(turned), [RNG.standard_normal((2, 3))])


def test_the_sweep_shows_that_no_step_size_helps() -> None:
    with pytest.raises(GradientError) as caught:
        check_gradients(tg.function(ScaledTanh), [x])
    report = caught.value.report
    assert report is not None
    assert len(report.sweep) == 6
    assert all(error > 5e-4 for error in report.sweep.values())
    assert "over step sizes" in report.table()


def test_a_notebook_shows_a_table() -> None:
    report = check_gradients(tg.tanh, [x], names=["<b>x</b>"])
    html = report._repr_html_()
    assert html.startswith("<table>")
    assert html.count("<tr>") == 1 + x.size
    assert "&lt;b&gt;" in html
    assert "<b>x" not in html


# ----- other ways to measure ---------------------------------------------------------------------


def test_complex_steps_see_what_differences_cannot() -> None:
    slightly = broken(lambda F, r: r * (1 + 1e-8))
    check_gradients(tg.function(slightly), [x], order=1)
    with pytest.raises(GradientError):
        check_gradients(tg.function(slightly), [x], method="complex")
    check_gradients(tg.function(broken(lambda F, r: r)), [x], method="complex")


def test_the_linear_method_is_exact_and_refuses_what_is_not_linear() -> None:
    weight = tg.tensor(RNG.standard_normal((3, 2)))
    check_gradients(lambda v: v @ weight, [x], method="linear")
    with pytest.raises(GradientError, match="not linear in input 0"):
        check_gradients(tg.tanh, [x], method="linear")
    with pytest.raises(GradientError, match="not linear"):
        check_gradients(lambda v: v + 1, [x], method="linear")

    class Almost(Op, register=False):
        def forward(self, xp, x):
            return 3 * x

        def grad_x(self, F, g):
            return g * (3 + 1e-8)

    with pytest.raises(GradientError):
        check_gradients(tg.function(Almost), [x], method="linear")


def test_the_way_of_cs231n_has_bands() -> None:
    report = check_gradients(tg.tanh, [x], mode="cs231n", order=1)
    assert {entry.band for entry in report.entries} == {"right"}
    with pytest.raises(GradientError) as caught:
        check_gradients(tg.function(ScaledTanh), [x], mode="cs231n", order=1)
    assert caught.value.report is not None
    assert caught.value.report.worst.band == "doubtful"
    assert caught.value.report.worst.relative_error == pytest.approx(1e-3, rel=0.01)


def test_unknown_settings_are_refused() -> None:
    for options in ({"mode": "quick"}, {"method": "guess"}):
        with pytest.raises(ValueError, match="must be one of"):
            check_gradients(tg.tanh, [x], **options)  # type: ignore[arg-type]


# ----- check_op ----------------------------------------------------------------------------------


def test_check_op_compares_the_forward_too() -> None:
    drawn = arrays(shapes())
    check_op(tg.tanh, drawn, reference=np.tanh, examples=5)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_op(tg.tanh, drawn, reference=np.sinh, examples=5)
    with pytest.raises(AssertionError, match="the forward gives the shape"):
        check_op(tg.tanh, drawn, reference=lambda v: np.tanh(v).sum(), examples=20)


def test_check_op_wants_as_many_examples_as_were_asked() -> None:
    with pytest.raises(GradientError, match="made 1 examples with a float input; 5 were asked"):
        check_op(tg.tanh, st.just(np.ones(2)), examples=5)


@pytest.mark.host  # what the checker asks for does not depend on the device
def test_check_op_wants_a_gradient_that_moves() -> None:
    flat = arrays(shapes(1), low=2.0, high=3.0)
    with pytest.raises(GradientError, match="was zero in all"):
        check_op(lambda v: v.clamp(-1, 1), flat, examples=5)


def test_check_op_wants_a_kink_where_one_is_announced() -> None:
    drawn = arrays(shapes(), kinks=(0.0,))
    check_op(tg.relu, drawn, examples=5, kinks=[np.array([0.0, 1.0])])
    with pytest.raises(GradientError, match="there is no kink"):
        check_op(tg.tanh, drawn, examples=5, kinks=[np.array([0.0, 1.0])])


def test_check_op_finds_a_canary() -> None:
    with pytest.raises(GradientError):
        check_op(ScaledTanh, arrays(shapes()), examples=20)


@pytest.mark.host  # a process of its own, which chooses no device
def test_checking_gradients_needs_numpy_alone() -> None:
    program = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import tinygrad_cv as tg\n"
        "from tinygrad_cv.testing import check_gradients\n"
        "check_gradients(tg.tanh, [tg.rand(3)])\n"
        "try:\n    import tinygrad_cv.testing.strategies\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pip install 'tinygrad_cv[test]'" in done.stdout
