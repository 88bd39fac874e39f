"""Ops with several outputs, beside the same mathematics by ops with one."""

import gc
import itertools
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv.testing import check_op
from tinygrad_cv.testing.strategies import arrays, shapes


class Polar(tg.Op, register=False):
    """The length and the angle of (x, y); both rules ask for both outputs."""

    outputs = ("r", "t")

    def forward(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.hypot(x, y), xp.arctan2(y, x)

    def grad_x(self, F: Any, g: Any, y: Any, r: Any, t: Any) -> Any:
        g_r, g_t = g
        return g_r * F.cos(t) - g_t * y / (r * r)

    def grad_y(self, F: Any, g: Any, x: Any, r: Any, t: Any) -> Any:
        g_r, g_t = g
        return g_r * F.sin(t) + g_t * x / (r * r)


class Largest(tg.Op, register=False):
    """The largest element of each row, and where it is: an output without a gradient."""

    outputs = ("values", "places")

    def forward(self, xp: Any, x: Any) -> Any:
        self.shape = x.shape
        places = xp.argmax(x, axis=-1)
        return xp.take_along_axis(x, places[..., None], -1)[..., 0], places

    def grad_x(self, F: Any, g: Any, places: Any) -> Any:
        rows = F.one_hot(places, num_classes=self.shape[-1], dtype=g[0].dtype)
        return F.reshape(g[0], shape=(*self.shape[:-1], 1)) * rows


polar, largest = tg.function(Polar), tg.function(Largest)


def plain_polar(x: tg.Tensor, y: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
    return tg.hypot(x, y), tg.atan2(y, x)


USES = {
    "both": lambda r, t: (r * t).sum(),
    "the first": lambda r, t: (r**3).sum(),
    "the second": lambda r, t: t.sin().sum(),
    "one twice": lambda r, t: (r * r).sum() + (r * t).sum(),
}


def points(*ranges: tuple[float, float]) -> Any:
    return st.tuples(*[arrays((3,), low, high) for low, high in ranges])


@pytest.mark.parametrize("use", USES)
@given(values=points((0.3, 2.0), (-2.0, 2.0)))
def test_gradients_of_both_orders_are_those_of_the_parts(use: str, values: Any) -> None:
    found = []
    for function in (polar, plain_polar):
        x, y = (tg.Tensor(v, requires_grad=True) for v in values)
        loss = USES[use](*function(x, y))
        loss.backward(retain_graph=True)
        first = tg.grad(loss, (x, y), create_graph=True)
        second = tg.grad((first[0] * first[1]).sum(), (x, y))
        found.append([g.numpy() for g in (x.grad, y.grad, *(f.detach() for f in first), *second)])
    for ours, expected in zip(*found, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


def test_they_pass_the_check() -> None:
    check_op(Polar, points((0.3, 2.0), (0.3, 2.0)), examples=5)
    check_op(Largest, st.tuples(arrays(shapes(1, 2, 2, 4), distinct=True)), examples=5)


def test_an_output_of_integers_has_no_gradient() -> None:
    x = tg.tensor([[1.0, 3.0], [5.0, 2.0]], requires_grad=True)
    values, places = largest(x)
    assert places.tolist() == [1, 0]
    assert not places.requires_grad
    values.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 1], [1, 0]]


def test_the_formula_names_the_gradient_of_each_output() -> None:
    assert tg.formula(Polar)["x"] == "g_r · cos(t) - g_t · y / (r · r)"


def test_the_graph_lists_each_output() -> None:
    x = tg.ones(2, requires_grad=True)
    r, t = polar(x, x)
    assert [node.label for node in tg.graph(r * t)] == [
        "parameter",
        "polar",
        "output",
        "output",
        "mul",
    ]
    assert "of='t'" in str(tg.graph(t))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_dtype_of_each_output_is_that_of_the_inputs(dtype: str) -> None:
    x = tg.ones(2, dtype=dtype, requires_grad=True)
    r, t = polar(x, x)
    assert r.dtype == t.dtype == dtype
    (r + t).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == dtype


def test_hooks_and_retained_gradients_belong_to_one_output() -> None:
    x = tg.tensor([3.0], requires_grad=True)
    y = tg.tensor([4.0], requires_grad=True)
    r, t = polar(x, y)
    r.retain_grad()
    t.register_hook(lambda g: g * 0)
    (r * 2 + t * 100).sum().backward()
    assert r.grad is not None
    assert r.grad.tolist() == [2.0]
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.tolist(), [2 * 3 / 5], rtol=1e-6)


def test_an_output_that_was_changed_in_place_is_noticed() -> None:
    x = tg.ones(2, requires_grad=True)
    r, t = polar(x, x)
    loss = t.sum()
    r.data[0] = 7.0
    with pytest.raises(RuntimeError, match="'r' was changed in place"):
        loss.backward()


class Twins(tg.Op, register=False):
    """The input and 3x, the second in two forms that may share memory."""

    form: Any
    outputs = ("same", "a", "b")

    def forward(self, xp: Any, x: Any) -> Any:
        a = 3 * x
        return x, a, self.form(a)

    def grad_x(self, F: Any, g: Any) -> Any:
        return g[0] + 3 * (g[1] + F.reshape(g[2], shape=g[1].shape))


@pytest.mark.parametrize("changed", range(3))
@pytest.mark.parametrize("form", [lambda a: a, lambda a: a[:], lambda a: a.reshape(-1, 1)])
def test_each_output_is_changed_alone(form: Any, changed: int) -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2
    outs = tg.function(Twins)(h, form=form)
    outs[changed].mul_(5)
    factors = [2, 2, 6, 6]
    factors[changed + 1] *= 5
    for y, factor in zip((h, *outs), factors, strict=True):
        assert y.reshape(-1).tolist() == [factor, 2 * factor]
    sum((y * y).sum() for y in (h, *outs)).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2 * sum(f**2 for f in factors) * v for v in (1, 2)]


def test_a_second_pass_needs_what_was_saved() -> None:
    x = tg.ones(2, requires_grad=True)
    r, t = polar(x, x)
    r.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        t.sum().backward()


@pytest.mark.parametrize("kept", [*itertools.product([True, False], repeat=2)])
def test_memory_goes_when_the_outputs_go(kept: tuple[bool, bool]) -> None:
    x = tg.ones(2, requires_grad=True)
    outputs = polar(x, x)
    node = weakref.ref(outputs[0].node.inputs[0])
    gc.disable()
    try:
        rest = [y for y, keep in zip(outputs, kept, strict=True) if keep]
        del outputs
        assert (node() is not None) == any(kept)
        rest.clear()
        assert node() is None
    finally:
        gc.enable()


def test_several_views_are_refused() -> None:
    with pytest.raises(TypeError, match="never views of its input"):

        class Halves(tg.Op, register=False):
            outputs = ("a", "b")
            views = True

            def forward(self, xp: Any, x: Any) -> Any:
                return x[:1], x[1:]

            def grad_x(self, F: Any, g: Any) -> Any:
                return F.cat(*g, axis=0)


def test_a_wrong_name_is_refused() -> None:
    with pytest.raises(TypeError, match="asks for y"):

        class Wrong(tg.Op, register=False):
            outputs = ("a", "b")

            def forward(self, xp: Any, x: Any) -> Any:
                return x, x

            def grad_x(self, F: Any, g: Any, y: Any) -> Any:
                return g[0]


@pytest.mark.parametrize(
    ("names", "returned"),
    [
        ((), lambda x: None),
        ((), lambda x: (x, x)),
        ((), lambda x: [x]),
        ((), lambda x: "x"),
        (("a", "b"), lambda x: None),
        (("a", "b"), lambda x: x),  # of length 2, it could be taken apart
        (("a", "b"), lambda x: [x, x]),
        (("a", "b"), lambda x: (x,)),
        (("a", "b"), lambda x: (x, x, x)),
        (("a", "b"), lambda x: (x, None)),
    ],
)
def test_a_forward_that_returns_something_else_is_refused(names: Any, returned: Any) -> None:
    class Wrong(tg.Op, register=False):
        outputs = names

        def forward(self, xp: Any, x: Any) -> Any:
            return returned(x)

        def grad_x(self, F: Any, g: Any) -> Any:
            return g

    for x in (tg.ones(2, 3), tg.ones(2, 3, requires_grad=True)):
        with pytest.raises(TypeError, match=r"^wrong: forward returned .*Expected .*(output|a, b)"):
            tg.function(Wrong)(x)
