"""Whose memory a gradient is: nobody's value, nobody else's gradient, no more than is needed."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import backend as backends


def leaf(values: Any, **options: Any) -> tg.Tensor:
    return tg.tensor(values, requires_grad=True, **options)


def gradient(x: tg.Tensor) -> Any:
    assert x.grad is not None
    return x.grad.tolist()


# ----- nobody's value is a gradient ---------------------------------------------------------------


def toggled(x: tg.Tensor) -> None:
    x.requires_grad_(False).requires_grad_(True)


def there_and_back(x: tg.Tensor) -> None:
    x._turn_into(lambda y: y.to("float64"))
    x._turn_into(lambda y: y.to("float32"))


@pytest.mark.parametrize("change", [toggled, there_and_back])
def test_two_leaves_never_share_a_gradient(change: Callable[[tg.Tensor], None]) -> None:
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    loss = (x + y).sum()
    change(x)
    loss.backward()
    x.grad.zero_()  # type: ignore[union-attr]
    assert gradient(y) == [1.0, 1.0]


def test_a_leaf_that_was_frozen_since_gets_no_gradient() -> None:
    x, y = leaf([1.0]), leaf([2.0])
    loss = (x * y).sum()
    x.requires_grad_(False)
    loss.backward()
    assert x.grad is None
    assert gradient(y) == [1.0]


class Sneaky(tg.Op, register=False):
    """x + 0·y..., whose rules return what is not theirs, each in its own way."""

    way: str

    def forward(self, xp: Any, x: Any, y: Any) -> Any:
        self.shape = x.shape
        return x + 0 * y

    def grad_x(self, F: Any, g: Any, x: Any) -> Any:
        if self.way == "a saved value":
            return x
        if self.way == "a view of one":
            return x[:]
        if self.way == "kept in an attribute":
            self.__dict__["hidden_away"] = [g]
        return g

    def grad_y(self, F: Any, g: Any) -> Any:
        return self.hidden_away[0] if "hidden_away" in vars(self) else g


@pytest.mark.parametrize(
    "way", ["a saved value", "a view of one", "kept in an attribute", "g itself"]
)
@pytest.mark.parametrize("retain", [True, False])
def test_a_gradient_can_be_changed_and_nothing_else_is(way: str, retain: bool) -> None:
    x, y, z = leaf([1.0, 2.0]), leaf([1.0, 2.0]), leaf([5.0, 5.0])
    out = tg.function(Sneaky)(x, y, way=way) + z
    seed = tg.ones(2)
    out.backward(seed, retain_graph=retain)
    others = [y.grad, z.grad, x.detach(), seed]
    before = [t.tolist() for t in others if t is not None]
    x.grad.fill_(77.0)  # type: ignore[union-attr]
    assert [t.tolist() for t in others if t is not None] == before


class Tripled(tg.Op, register=False):
    """3 x, by a rule that changes the gradient it was given."""

    def forward(self, xp: Any, x: Any) -> Any:
        return x * 3

    def grad_x(self, F: Any, g: Any) -> Any:
        g *= 3
        return g


def test_a_rule_that_changes_its_gradient_reaches_nobody_else() -> None:
    x, z = leaf([1.0]), leaf([1.0])
    out = tg.function(Tripled)(x) + z
    try:
        out.backward(tg.ones(1))
    except ValueError as error:
        assert "read-only" in str(error)  # noqa: PT017  where memory can be protected
    else:
        assert gradient(x) == [3.0]
        assert gradient(z) == [1.0]


# ----- by-products --------------------------------------------------------------------------------


class Kept(tg.Op, register=False):
    """e^x; the rule reads a by-product, which lies in the memory of the output."""

    form: str
    kept = ("e",)

    def forward(self, xp: Any, x: Any) -> Any:
        y = xp.exp(x)
        self.e = {"the output": y, "a view": y[:], "a tuple": (y, 2.0), "a list": [y[:]]}[self.form]
        return y

    def grad_x(self, F: Any, g: Any, e: Any) -> Any:
        return g * (e[0] if isinstance(e, tuple | list) else e)


@pytest.mark.parametrize("form", ["the output", "a view", "a tuple", "a list"])
def test_a_by_product_in_the_memory_of_the_output_is_guarded(form: str) -> None:
    x = leaf([0.0, 0.0])
    y = tg.function(Kept)(x, form=form)
    loss = y.sum()
    with tg.no_grad():
        y += 5
    with pytest.raises(RuntimeError, match="'e' was changed in place"):
        loss.backward()


# ----- what is added up ---------------------------------------------------------------------------


@given(
    shape=st.sampled_from([(6,), (5, 3), (4, 2, 3)]),
    seed=st.integers(0, 99),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
    data=st.data(),
)
def test_shares_by_slices_add_up_to_the_gradient(
    shape: tuple[int, ...], seed: int, dtype: str, data: Any
) -> None:
    rng = np.random.default_rng(seed)
    x = leaf(rng.integers(-3, 4, shape).astype(dtype))
    expected = np.zeros(shape)
    loss = tg.zeros((), dtype=dtype)
    for _ in range(data.draw(st.integers(1, 5))):
        index = data.draw(
            st.sampled_from([0, -1, slice(None), slice(1, None, 2), (slice(None, None, -1),), ...])
        )
        factor = data.draw(st.integers(-2, 2))
        loss = loss + (x[index] * factor).sum()
        expected[index] += factor
        if data.draw(st.booleans()):
            loss = loss + (x * 2).sum()
            expected += 2
    loss.backward()
    assert gradient(x) == expected.tolist()
    assert x.grad is not None
    assert x.grad.dtype == dtype


@pytest.mark.host
def test_many_slices_cost_what_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backward through T slices makes zeros of the whole once, not T times."""
    made = []
    zeros = backends.get("cpu").zeros
    monkeypatch.setattr(
        backends.get("cpu"), "zeros", lambda *a, **k: made.append(1) or zeros(*a, **k)
    )
    counts = []
    for length in (10, 40):
        made.clear()
        x = leaf(np.ones((length, 3), np.float32))
        tg.stack([row * 2 for row in x]).sum().backward()
        assert gradient(x) == [[2.0] * 3] * length
        counts.append(len(made))
    assert counts[0] == counts[1]


def test_threads_lose_no_share_of_a_leaf() -> None:
    x, threads, passes = leaf([1.0, 2.0]), 4, 300
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(passes):
                (x * 2).sum().backward()
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures
    assert gradient(x) == [2.0 * threads * passes] * 2


def test_a_gradient_that_somebody_holds_is_not_added_to() -> None:
    x = leaf([1.0])
    (x * 2).backward()
    first = x.grad
    (x * 3).backward()
    assert first is not None
    assert first.tolist() == [2.0]
    assert gradient(x) == [5.0]


# ----- a second pass ------------------------------------------------------------------------------

SAVE_NOTHING: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "add": lambda x: x + 1,
    "neg": lambda x: -x,
    "sub": lambda x: 3 - x,
    "twice": lambda x: x * 2,
    "reshape": lambda x: x.reshape(-1, 1),
    "permute": lambda x: x.reshape(1, -1).T,
    "cat": lambda x: tg.cat([x, x]),
    "getitem": lambda x: x[:1],
    "pad": lambda x: tg.pad(x, (1, 1)),
    "sum": lambda x: x.sum(),
    "mean": lambda x: x.mean(),
    "flip": lambda x: x.flip(0),
    "expand": lambda x: x.expand(2, 2),
    "cast": lambda x: x.double(),
    "clone": lambda x: x.clone(),
    "roll": lambda x: x.roll(1, 0),
}


@pytest.mark.parametrize("name", SAVE_NOTHING)
def test_a_second_pass_through_what_saved_nothing_works(name: str) -> None:
    x = leaf([1.0, 2.0])
    h = SAVE_NOTHING[name](x)
    (h**2).sum().backward()
    (h**3).sum().backward()
    again = leaf([1.0, 2.0])
    h = SAVE_NOTHING[name](again)
    ((h**2).sum() + (h**3).sum()).backward()
    np.testing.assert_allclose(gradient(x), gradient(again), rtol=1e-6)


def test_the_sum_of_two_passes() -> None:
    x = leaf([1.0, 2.0])
    h = x + 1
    (h**2).sum().backward()
    (h**3).sum().backward()
    assert gradient(x) == [16.0, 33.0]


# ----- what .grad may be --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (np.ones(2, np.float32), TypeError),
        (1.0, TypeError),
        (tg.ones(3), ValueError),
        (tg.ones(2, dtype="float64"), ValueError),
        (tg.ones(2, 1), ValueError),
    ],
)
def test_a_gradient_is_like_its_tensor(value: Any, error: type[Exception]) -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(error, match="a gradient"):
        x.grad = value
    assert x.grad is None


# ----- names that belong to the engine ------------------------------------------------------------


@pytest.mark.parametrize("name", ["name", "kept", "dtype", "inputs", "plans", "run", "rules"])
def test_an_attribute_with_a_name_of_the_engine_is_refused(name: str) -> None:
    body = {"__annotations__": {name: str}, "forward": lambda self, xp, x: x}
    with pytest.raises(TypeError, match=f"cannot be called {name}"):
        type("Mine", (tg.Op,), {**body, "grad_x": lambda self, F, g: g}, register=False)
