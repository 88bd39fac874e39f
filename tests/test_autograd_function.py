"""`autograd.Function` and what stands beside it, held against written-down numbers and slopes."""

import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tinygrad_cv as tg
from tinygrad_cv import autograd
from tinygrad_cv.autograd.function import once_differentiable
from tinygrad_cv.testing import check_gradients
from tinygrad_cv.testing.strategies import Expression, expressions


class Power(autograd.Function):
    """x to the n-th, with a number among the arguments."""

    @staticmethod
    def forward(ctx: Any, x: Any, n: int) -> Any:
        ctx.save_for_backward(x)
        ctx.n = n
        return x**n

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return g * ctx.n * x ** (ctx.n - 1), None


class Exponential(autograd.Function):
    """The form with a context apart, which saves what comes out."""

    @staticmethod
    def forward(x: Any, factor: float = 2.0) -> Any:
        return x.exp() * factor

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, ctx.factor = inputs  # as many as the forward has, given or not
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (y,) = ctx.saved_tensors
        return g * y, None


class Parts(autograd.Function):
    """Several outputs: two with gradients, one that is held, truth values, and a string."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        ctx.save_for_backward(a, None, b)
        total = a + b
        ctx.mark_non_differentiable(total)
        return a * b, total, a > b, a - b, "text"

    @staticmethod
    def backward(ctx: Any, product: Any, total: Any, mask: Any, difference: Any, text: Any) -> Any:
        a, nothing, b = ctx.saved_tensors
        assert nothing is None
        assert text is None
        assert not total.any()
        assert not mask.any()
        return product * b + difference, product * a - difference


def leaf(*values: float) -> Any:
    return tg.tensor(list(values), dtype="float64", requires_grad=True)


def test_a_function_is_differentiated_as_often_as_its_code() -> None:
    x = leaf(1.0, 2.0)
    y = Power.apply(x, 4)
    for expected in ([4, 32], [12, 48], [24, 48]):
        (y,) = tg.grad(y.sum(), x, create_graph=True)
        assert y.tolist() == expected
    check_gradients(lambda x: Power.apply(x, 3), [tg.rand(3)])
    check_gradients(lambda x: Exponential.apply(x, factor=0.5), [tg.rand(3)])
    check_gradients(lambda a, b: Parts.apply(a, b)[0] * Parts.apply(b, a)[3], [tg.rand(3)] * 2)


def test_several_outputs() -> None:
    a, b = leaf(1.0, 2.0), leaf(3.0, 1.0)
    product, total, mask, difference, text = Parts.apply(a, b)
    flags = [y.requires_grad for y in (product, total, mask, difference)]
    assert (flags, text) == ([True, False, False, True], "text")
    (product * 2 + difference).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([7, 3], [1, 3])
    assert [y.output_nr for y in (product, difference)] == [0, 1]
    behind, number = (difference * 1).grad_fn.next_functions[0]
    assert (behind.name(), number) == ("PartsBackward", 1)


def test_the_graph_shows_it_under_its_name() -> None:
    y = Power.apply(tg.ones(2, requires_grad=True), 2)
    assert str(tg.graph(y)).splitlines()[1].split() == ["%1", "Power", "(%0)", "float32", "(2,)"]
    assert (y.grad_fn.name(), (y * 1).grad_fn.name()) == ("PowerBackward", "MulBackward0")
    assert tg.viz.trace(y).nodes[1].saved_bytes == 8
    (behind, _), *_ = y.grad_fn.next_functions
    assert behind.name() == "AccumulateGrad"
    assert "Power" in tg.viz.draw(y, backward=True).source
    assert [node.op for node in tg.viz.trace(Parts.apply(y, y)[0]).nodes][1] == "Power"


def test_a_gradient_that_is_none_is_no_gradient() -> None:
    class First(autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: Any, b: Any) -> Any:
            assert ctx.needs_input_grad == (True, True)
            return a * b

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g, None

    a, b = leaf(1.0), leaf(2.0)
    First.apply(a, b).backward()
    assert (a.grad.tolist(), b.grad) == ([1], None)


def test_needs_input_grad_and_grad_modes() -> None:
    seen = []

    class Probe(autograd.Function):
        @staticmethod
        def forward(ctx: Any, *xs: Any) -> Any:
            seen.append((ctx.needs_input_grad, tg.is_grad_enabled()))
            return xs[0] * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            seen.append(tg.is_grad_enabled())
            return (g,) + (None,) * (len(ctx.needs_input_grad) - 1)

    x = leaf(1.0)
    y = Probe.apply(x, tg.ones(1), 3)
    tg.grad(y, x, retain_graph=True)
    tg.grad(y, x, create_graph=True)
    assert seen == [((True, False, False), False), False, True]
    with tg.no_grad():
        assert not Probe.apply(x).requires_grad
    assert not Probe.apply(x.detach()).requires_grad


def test_gradients_that_did_not_come() -> None:
    class Two(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, zeros: bool) -> Any:
            ctx.set_materialize_grads(zeros)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, g: Any, h: Any) -> Any:
            assert (g is None) or not g.any()
            seen.append(None if g is None else g.tolist())
            return h * 3, None

    for zeros, expected in ((True, [0, 0]), (False, None)):
        seen: list[Any] = []
        x = leaf(1.0, 2.0)
        y = Two.apply(x, zeros)[1].sum()
        y.backward()
        y.backward()  # nothing was saved, so nothing was freed
        assert (seen, x.grad.tolist()) == ([expected] * 2, [6, 6])


def test_a_change_in_place_moves_the_input_on() -> None:
    class Doubled(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            x.mul_(2)
            ctx.mark_dirty(x)
            ctx.save_for_backward(x)
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            assert ctx.saved_tensors[0].tolist() == [2, 4]
            return g * 2

    x = leaf(1.0, 2.0)
    y = x * 1
    part = y[0]
    assert Doubled.apply(y) is y
    assert (y.tolist(), part.item()) == ([2, 4], 2)
    (y * y).sum().backward()
    assert x.grad.tolist() == [8, 16]
    with pytest.raises(RuntimeError, match="Doubled: mark_dirty in place on a leaf"):
        Doubled.apply(leaf(1.0, 2.0))


@pytest.mark.parametrize("returned", ["x", "view"])
def test_an_input_that_comes_out_again(returned: str) -> None:
    class Reversed(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x if returned == "x" else x.view_as(x)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            g[0] = 0  # g is its own
            return -g

    x = leaf(1.0, 2.0)
    y = Reversed.apply(x)
    z = y * 3
    z.retain_grad()
    y.retain_grad()
    z.sum().backward()
    assert (x.grad.tolist(), y.grad.tolist(), z.grad.tolist()) == ([0, -3], [3, 3], [1, 1])
    with pytest.raises(RuntimeError, match="in place"):
        y += 1


def test_a_gradient_is_fitted_to_its_argument() -> None:
    class Given(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, gradient: Any) -> Any:
            ctx.gradient = gradient
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return ctx.gradient() if callable(ctx.gradient) else (ctx.gradient, None)

    def gradient(value: Any) -> Any:
        x = tg.ones(2, requires_grad=True)
        Given.apply(x, lambda: value).sum().backward()
        return x.grad

    assert gradient((tg.ones(3, 2), None)).tolist() == [3, 3]
    for dtype in ("float64", "int64", "float16"):
        found = gradient((tg.full((2,), 7, dtype=dtype), None, None))
        assert (found.dtype, found.tolist()) == ("float32", [7, 7])
    for value, message in [
        ((tg.ones(2),), r"Given.backward returned 1 gradients, and apply\(\) got 2 arguments"),
        ((tg.ones(2), None, tg.ones(2)), "Given.backward returned 3 gradients"),
        ((tg.ones(3), None), r"Given.backward returned a gradient of shape \(3,\) for argument 0"),
        ((tg.ones(1), None), r"Given.backward returned a gradient of shape \(1,\) for argument 0"),
        ((2.0, None), "Given.backward returned a float for argument 0, which is a tensor"),
        ((tg.ones(2), tg.ones(2)), "a Tensor for argument 1, which is no tensor"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            gradient(value)


def test_wrong_use_is_told() -> None:
    class Empty(autograd.Function):
        pass

    class Careless(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            return x * 1

    class Keeps(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x, 3)

    x = leaf(1.0)
    with pytest.raises(NotImplementedError, match="forward"):
        Empty.apply(x)
    with pytest.raises(RuntimeError, match=r"Power\.apply\(\.\.\.\)"):
        Power()(x, 2)
    with pytest.raises(TypeError, match=r"Power\.apply takes arguments by position; got n"):
        Power.apply(x, n=2)
    with pytest.raises(RuntimeError, match=r"Careless: mark_dirty .* does not return"):
        Careless.apply(x)
    with pytest.raises(TypeError, match="Keeps: save_for_backward takes tensors and None; got a i"):
        Keeps.apply(x)
    y = x * 1
    z = Power.apply(y, 2)
    y += 1
    with pytest.raises(RuntimeError, match=r"Power of shape .* changed in place since"):
        z.backward()
    z = Power.apply(x, 2)
    z.backward()
    with pytest.raises(RuntimeError, match=r"Power of shape .* a second time"):
        z.backward()

    class NoBackward(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

    with pytest.raises(NotImplementedError, match="NoBackward has no static method backward"):
        NoBackward.apply(x).backward()


def test_once_differentiable() -> None:
    class Once(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, g: Any) -> Any:
            return 2 * ctx.saved_tensors[0] * g

    x = leaf(1.0, 3.0)
    assert tg.grad(Once.apply(x).sum(), x)[0].tolist() == [2, 6]
    (g,) = tg.grad(Once.apply(x).sum(), x, create_graph=True)
    assert g.tolist() == [2, 6]
    with pytest.raises(RuntimeError, match="Once is marked once_differentiable"):
        g.sum().backward()


def test_memory_goes_with_the_graph() -> None:
    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        y = Exponential.apply(x)
        context = weakref.ref(y.grad_fn)
        y.sum().backward()
        del y
        assert context() is None
    finally:
        gc.enable()


@given(expressions(), st.booleans())
def test_an_expression_in_a_function_is_the_expression(
    example: tuple[Expression, tuple[Any, ...]], recorded: bool
) -> None:
    """Its backward differentiates the code of its forward, so nothing may change, at any order."""
    expression, arrays = example

    class Wrapped(autograd.Function):
        @staticmethod
        def forward(ctx: Any, *xs: Any) -> Any:
            ctx.save_for_backward(*xs)
            return expression(*xs)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            with tg.enable_grad():
                xs = [x.clone() for x in ctx.saved_tensors]
                y = expression(*xs)
                return tg.grad(y, xs, g, create_graph=recorded)

    def gradients(function: Any) -> list[Any]:
        xs = [tg.Tensor(array, requires_grad=True) for array in arrays]
        found = [tg.grad(function(*xs), xs, create_graph=recorded)]
        if recorded:
            total = sum((g * g).sum() for g in found[0])
            if total.requires_grad:
                found.append(tg.grad(total, xs, materialize_grads=True))
        return [g.detach().numpy() for order in found for g in order]

    for plain, wrapped in zip(gradients(expression), gradients(Wrapped.apply), strict=True):
        assert_allclose(wrapped, plain, rtol=1e-9, atol=1e-12 * np.abs(plain).max())


def test_a_saved_leaf_is_itself() -> None:
    class Kept(autograd.function.InplaceFunction):
        @classmethod
        def forward(cls, ctx: Any, x: Any, w: Any) -> Any:
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, saved = ctx.saved_tensors
            assert saved is w
            assert isinstance(saved, tg.nn.Parameter)
            return g * saved, g * x

    w, x = tg.nn.Parameter(tg.tensor([3.0])), tg.tensor([2.0], requires_grad=True)
    y = Kept.apply(x * 1, w)
    y.backward()
    assert (w.grad.tolist(), x.grad.tolist()) == ([2], [3])


def test_inside_of_recompute() -> None:
    x = leaf(0.5, 2.0)
    plain = tg.grad(Power.apply(x, 3).sin().sum(), x)[0]
    y = tg.recompute(lambda x: Power.apply(x, 3).sin(), x)
    assert_allclose(tg.grad(y.sum(), x)[0].numpy(), plain.numpy(), rtol=1e-14)


# ----- what stands beside it ---------------------------------------------------------------------


def test_variable() -> None:
    x = tg.ones(2)
    v = autograd.Variable(x, requires_grad=True)
    assert (v.requires_grad, x.requires_grad) == (True, False)
    assert isinstance(x, autograd.Variable)
    assert not isinstance(3, autograd.Variable)
    with pytest.raises(ValueError, match="volatile"):
        autograd.Variable(x, volatile=True)
    with pytest.raises(TypeError, match="tensor"):
        autograd.Variable([1.0])


def test_backward_of_several_and_towards_some() -> None:
    x, w = leaf(3.0), leaf(5.0)
    y = x * w
    autograd.backward([y, x * x], [tg.tensor([2.0]), None])
    assert (x.grad.tolist(), w.grad.tolist()) == ([16], [6])
    x.grad = w.grad = None
    y = x * w
    (y * y).backward(inputs=[x, y])
    assert (x.grad.tolist(), w.grad, y.grad.tolist()) == ([150], None, [30])
    with pytest.raises(ValueError, match="grad_tensors must hold one gradient"):
        autograd.backward([y, y], [None])
    with pytest.raises(RuntimeError, match="does not require"):
        y.backward(inputs=[tg.ones(1)])


def test_grad_has_the_arguments_of_pytorch() -> None:
    x, w = leaf(3.0, 1.0), leaf(5.0, 1.0)
    y = (x * x).sum()
    assert [g.tolist() for g in tg.grad(y, [x, w], materialize_grads=True)] == [[6, 2], [0, 0]]
    rows = tg.eye(2, dtype="float64")
    (jacobian,) = tg.grad(x * x, x, rows, is_grads_batched=True)
    assert jacobian.tolist() == [[6, 0], [0, 2]]
    with pytest.raises(ValueError, match="only_inputs"):
        tg.grad(y, x, only_inputs=False)


@pytest.mark.parametrize("later", [False, True])
def test_a_leaf_that_was_frozen_for_a_while(later: bool) -> None:
    w = leaf(3.0)
    y = w * w
    w.requires_grad_(False).requires_grad_(True)
    if later:  # it stands in a graph of its own by now
        y = y + w
    assert tg.grad(y, w, retain_graph=True)[0].tolist() == [6 + later]
    y.backward(inputs=[w])
    assert w.grad.tolist() == [6 + later]


def test_hooks_after_a_gradient_was_added() -> None:
    w = leaf(3.0)
    seen = []
    handle = w.register_post_accumulate_grad_hook(lambda p: seen.append((p is w, p.grad.tolist())))
    w.register_hook(lambda g: g * 10)
    for _ in range(2):
        (w * w).backward()
    assert seen == [(True, [60]), (True, [120])]
    tg.grad(w * w, w)
    handle.remove()
    (w * w).backward()
    assert len(seen) == 2
    with pytest.raises(RuntimeError, match="a result of shape"):
        (w * w).register_post_accumulate_grad_hook(print)
    with pytest.raises(RuntimeError, match="without requires_grad=True"):
        tg.ones(1).register_post_accumulate_grad_hook(print)
    y = w * w
    assert not y.retains_grad
    y.retain_grad()
    assert y.retains_grad
    assert not w.retains_grad


def test_anomalies_are_told_with_the_place() -> None:
    x = tg.tensor([0.0, 1.0], requires_grad=True)
    with autograd.detect_anomaly():
        root = x.sqrt()  # this line
        loss = (root * tg.tensor([0.0, 1.0])).sum()
        with pytest.raises(RuntimeError, match=r"backward of sqrt .* NaN") as caught:
            loss.backward()
    assert "root = x.sqrt()  # this line" in str(caught.value)
    assert caught.value.tinygrad_cv.op.name == "sqrt"
    with autograd.detect_anomaly(check_nan=False):
        loss = (x.sqrt() * tg.tensor([0.0, 1.0])).sum()
        loss.backward()
        assert np.isnan(x.grad.numpy()[0])

        class Fails(autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                return x * 1

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                raise KeyError("lost")

        with pytest.raises(KeyError) as failed:
            Fails.apply(x).sum().backward()  # here
        assert "Fails.apply(x).sum().backward()  # here" in failed.value.__notes__[0]
    autograd.set_detect_anomaly(True)
    try:
        with autograd.set_detect_anomaly(False):
            (x.sqrt() * 0).sum().backward()
        with pytest.raises(RuntimeError, match="NaN"):
            (x.sqrt() * 0).sum().backward()
    finally:
        autograd.set_detect_anomaly(False)
    (x.sqrt() * 0).sum().backward()


def test_gradcheck_finds_a_wrong_gradient() -> None:
    class Wrong(autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * ctx.saved_tensors[0]

    x = tg.rand(3, dtype="float64", requires_grad=True)
    assert autograd.gradcheck(lambda x: Power.apply(x, 3), x)
    assert autograd.gradgradcheck(lambda x, n: Power.apply(x, n), (x, 3), fast_mode=True)
    assert not autograd.gradcheck(Wrong.apply, [x], raise_exception=False)
    with pytest.raises(tg.testing.GradientError):
        autograd.gradgradcheck(Wrong.apply, [x])
    with pytest.raises(ValueError, match="no input requires a gradient"):
        autograd.gradcheck(Wrong.apply, [x.detach()])


def test_modes_are_where_programs_look_for_them() -> None:
    for name in ("no_grad", "enable_grad", "set_grad_enabled", "inference_mode"):
        assert getattr(autograd, name) is getattr(tg, name) is getattr(autograd.grad_mode, name)
    assert not tg.is_inference_mode_enabled()
    with tg.inference_mode():
        assert tg.is_inference_mode_enabled()
        assert not tg.ones(1).is_inference()
        with tg.enable_grad():
            assert tg.is_inference_mode_enabled()
        with tg.inference_mode(mode=False):
            assert not tg.is_inference_mode_enabled()
    assert autograd.functional.jacobian is tg.jacobian
    assert pickle.loads(pickle.dumps(Power)) is Power


def test_the_count_of_changes() -> None:
    x = tg.ones(2)
    part = x[:1]
    assert (x._version, part._version) == (0, 0)
    part.add_(1)
    x[0] = 3
    assert (x._version, part._version, x.detach()._version, x.clone()._version) == (2, 2, 2, 0)
