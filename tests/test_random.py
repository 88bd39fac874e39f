"""Random tensors: their laws, their seeds, and what is refused."""

import math
from collections import Counter
from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from tinygrad_cv._tensor import Tensor

MANY = 20_000

DRAWS: dict[str, Callable[..., Tensor]] = {
    "alpha_dropout": lambda **g: tg.alpha_dropout(tg.ones(50), 0.5, True, **g),
    "bernoulli": lambda **g: tg.bernoulli(tg.full((50,), 0.5), **g),
    "bernoulli_": lambda **g: tg.ones(50).bernoulli_(0.5, **g),
    "dropout": lambda **g: tg.dropout(tg.ones(50), 0.5, **g),
    "exponential_": lambda **g: tg.ones(50).exponential_(**g),
    "gaussian_noise": lambda **g: tg.gaussian_noise(tg.ones(50), 0.5, **g),
    "multinomial": lambda **g: tg.multinomial(tg.ones(50), 50, **g),
    "normal": lambda **g: tg.normal(0.0, 1.0, (50,), **g),
    "normal of tensors": lambda **g: tg.normal(tg.ones(50), tg.ones(50), **g),
    "normal_": lambda **g: tg.ones(50).normal_(**g),
    "rand": lambda **g: tg.rand(50, **g),
    "rand in half precision": lambda **g: tg.rand(50, dtype="float16", **g),
    "rand_like": lambda **g: tg.rand_like(tg.ones(50), **g),
    "randint": lambda **g: tg.randint(0, 1000, (50,), **g),
    "randint_like": lambda **g: tg.randint_like(tg.ones(50), 1000, **g),
    "randn": lambda **g: tg.randn(50, **g),
    "randn in half precision": lambda **g: tg.randn(50, dtype="float16", **g),
    "randn_like": lambda **g: tg.randn_like(tg.ones(50), **g),
    "random_": lambda **g: tg.zeros(50).random_(**g),
    "randperm": lambda **g: tg.randperm(50, **g),
    "rrelu": lambda **g: tg.rrelu(-tg.ones(50), training=True, **g),
    "uniform_": lambda **g: tg.ones(50).uniform_(**g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_seed_gives_the_same_numbers(name: str) -> None:
    draw = DRAWS[name]
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    first, second = draw(generator=one), draw(generator=one)
    assert_array_equal(first.numpy(), draw(generator=two).numpy())
    assert_array_equal(second.numpy(), draw(generator=two).numpy())
    assert not np.array_equal(first.numpy(), second.numpy())
    tg.manual_seed(3)
    assert_array_equal(first.numpy(), draw().numpy())
    tg.manual_seed(3)
    draw(generator=one)  # leaves the default one alone
    assert_array_equal(first.numpy(), draw(generator=None).numpy())


@pytest.mark.parametrize("wrong", [0, False, 42, "seed", np.random, np.random.RandomState(0)])
@pytest.mark.parametrize("name", DRAWS)
def test_what_is_no_generator_is_refused(name: str, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"numpy\.random\.Generator.*default_rng\(seed\)"):
        DRAWS[name](generator=wrong)


@pytest.mark.parametrize("name", sorted(DRAWS.keys() - {"rrelu"}))
def test_a_function_that_is_called_again_draws_the_same(name: str) -> None:
    """Whoever draws says so first, and the second run starts from the same state."""
    seen: list[Any] = []

    def block(x: Tensor) -> Tensor:
        noise = DRAWS[name](generator=generator)
        seen.append(noise.numpy().copy())
        return x * noise.float().sum()

    generator = np.random.default_rng(1)
    x = tg.ones(3, requires_grad=True)
    tg.recompute(block, x).sum().backward()
    assert len(seen) == 2
    assert_array_equal(seen[0], seen[1])


# ----- laws --------------------------------------------------------------------------------------


def moments(x: Tensor) -> tuple[float, float]:
    values = x.numpy().astype("float64")
    return float(values.mean()), float(values.std())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_uniform_and_normal(dtype: str) -> None:
    generator = np.random.default_rng(0)
    u = tg.rand(10 * MANY, dtype=dtype, generator=generator)
    assert u.dtype == dtype
    assert float(u.numpy().min()) >= 0
    assert float(u.numpy().max()) < 1  # in half precision a rounding would reach it
    assert_allclose(moments(u), (0.5, math.sqrt(1 / 12)), atol=0.01)
    n = tg.randn(MANY, dtype=dtype, generator=generator)
    assert n.dtype == dtype
    assert_allclose(moments(n), (0, 1), atol=0.05)
    x = tg.empty(MANY, dtype=dtype)
    assert x.uniform_(2, 5, generator=generator) is x
    assert_allclose(moments(x), (3.5, 3 * math.sqrt(1 / 12)), atol=0.05)
    x.normal_(-1, 2, generator=generator)
    assert_allclose(moments(x), (-1, 2), atol=0.1)
    x.exponential_(0.5, generator=generator)
    assert_allclose(moments(x), (2, 2), atol=0.1)
    assert (x >= 0).all()


def test_floats_are_drawn_as_floats() -> None:
    for draw in (
        lambda: tg.rand(2, dtype="int64"),
        lambda: tg.randn_like(tg.tensor([1])),
        lambda: tg.tensor([1]).normal_(),
        lambda: tg.tensor([1]).uniform_(),
    ):
        with pytest.raises(TypeError, match=r"random numbers are floats.*randint"):
            draw()


def test_normal_has_the_mean_and_the_deviation_given() -> None:
    generator = np.random.default_rng(0)
    mean = tg.tensor([[-5.0], [7.0]], requires_grad=True)
    std = tg.tensor([0.0, 0.5, 2.0], requires_grad=True)
    draws = tg.stack([tg.normal(mean, std, generator=generator) for _ in range(3000)])
    assert draws.shape == (3000, 2, 3)
    values = draws.detach().numpy()
    assert_allclose(values.mean(0), np.broadcast_to([[-5], [7]], (2, 3)), atol=0.15)
    assert_allclose(values.std(0), np.broadcast_to([0, 0.5, 2], (2, 3)), atol=0.1)
    one = tg.normal(mean, std, generator=generator)
    one.sum().backward()  # y = mean + std n, for the n that was drawn
    assert mean.grad is not None
    assert std.grad is not None
    assert mean.grad.tolist() == [[3], [3]]
    noise = (one.detach().numpy() - mean.detach().numpy())[:, 1:] / [0.5, 2]
    assert_allclose(std.grad.numpy()[1:], noise.sum(0), rtol=1e-4)


def test_normal_is_called_with_a_size_or_with_tensors() -> None:
    assert tg.normal(0, 1, (2, 3)).dtype == "float32"
    assert tg.normal(0.0, 1.0, size=(2,), dtype="float64", requires_grad=True).requires_grad
    assert tg.normal(tg.zeros(2), 1.0).shape == (2,)
    assert tg.normal(0.0, tg.ones(2, dtype="float64")).dtype == "float64"
    assert tg.normal(tg.zeros(2, dtype="float16")).dtype == "float16"
    for arguments in ((0.0, 1.0), (tg.zeros(2), 1.0, (2,))):
        with pytest.raises(TypeError, match="a size goes with a mean and a std that are numbers"):
            tg.normal(*arguments)
    with pytest.raises(TypeError, match="are those of the tensors"):
        tg.normal(tg.zeros(2), 1.0, dtype="float64")
    for std in (-1.0, tg.tensor([1.0, -1.0], device="cpu")):
        with pytest.raises(ValueError, match="std is 0 or more; got -1"):
            tg.normal(tg.zeros(2, device="cpu"), std)
    with pytest.raises(ValueError, match="std is 0 or more"):
        tg.zeros(2).normal_(0, -1)
    with pytest.raises(ValueError, match="is above"):
        tg.zeros(2).uniform_(2, 1)
    with pytest.raises(ValueError, match="the rate is above 0"):
        tg.zeros(2).exponential_(0)


# ----- whole numbers -----------------------------------------------------------------------------


@given(st.integers(-(2**40), 2**40), st.integers(1, 5))
def test_randint_keeps_to_its_bounds(low: int, count: int) -> None:
    calls = [tg.randint(low, low + count, (40,)), tg.randint(low=low, high=low + count, size=(40,))]
    calls.append(tg.zeros(40, dtype="int64").random_(low, low + count))
    for drawn in calls:
        assert drawn.dtype == "int64"
        assert {*drawn.tolist()} <= {*range(low, low + count)}
    for drawn in (
        tg.randint(count, (40,)),
        tg.randint(count, size=(40,)),
        tg.randint(high=count, size=[40]),
    ):
        assert {*drawn.tolist()} <= {*range(count)}


def test_randint_draws_all_evenly() -> None:
    counts = Counter(tg.randint(4, (MANY,), generator=np.random.default_rng(0)).tolist())
    assert counts.keys() == {0, 1, 2, 3}
    assert min(counts.values()) > 0.9 * MANY / 4


def test_randint_refuses() -> None:
    with pytest.raises(ValueError, match="high is above low; got low=5, high=5"):
        tg.randint(5, 5, (2,))
    with pytest.raises(TypeError, match=r"randint\(low, high, size\) or randint\(high, size\)"):
        tg.randint(2.5, (2,))
    with pytest.raises(ValueError, match="is not below"):
        tg.zeros(2).random_(5, 5)
    with pytest.raises(ValueError, match="from 0 is not below to 0"):
        tg.zeros(2).random_(0)
    assert tg.randint(0, 10, (2,), dtype="float32").dtype == "float32"


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int64", "float16", "float32"])
def test_random_without_bounds_fills_the_dtype(dtype: str) -> None:
    """Of a float the whole numbers that it holds without a gap."""
    x = tg.zeros(MANY, dtype=dtype).random_(generator=np.random.default_rng(0)).numpy()
    kind = np.dtype(dtype).kind
    top = 1 if kind == "b" else 2 ** (np.finfo(dtype).nmant + 1) if kind == "f" else None
    top = np.iinfo(dtype).max if top is None else top
    assert x.min() >= 0
    assert 0.99 * float(top) <= float(x.max()) <= float(top)
    assert_allclose(x.astype("float64").mean() / float(top), 0.5, atol=0.02)


def test_randperm_gives_every_order_equally_often() -> None:
    generator = np.random.default_rng(0)
    counts = Counter(tuple(tg.randperm(3, generator=generator).tolist()) for _ in range(1200))
    assert counts.keys() == {*permutations(range(3))}
    assert min(counts.values()) > 140
    assert tg.randperm(0).shape == (0,)
    assert tg.randperm(3, dtype="int32").dtype == "int32"


# ----- chances -----------------------------------------------------------------------------------


def test_bernoulli_is_1_as_often_as_asked() -> None:
    generator = np.random.default_rng(0)
    for dtype in ("float16", "float32", "float64"):
        p = tg.tensor([[0.0, 0.25, 0.75, 1.0]], dtype=dtype).expand(MANY, 4)
        draw = tg.bernoulli(p, generator=generator)
        assert draw.dtype == dtype
        assert {*np.unique(draw.numpy())} == {0, 1}
        shares = draw.numpy().astype("float64").mean(0)
        assert_allclose(shares, [0, 0.25, 0.75, 1], atol=0.02)
        assert (shares[0], shares[3]) == (0, 1)
    whole = tg.zeros(MANY, dtype="int64").bernoulli_(0.25, generator=generator)
    assert_allclose(moments(whole)[0], 0.25, atol=0.02)
    assert tg.bernoulli(tg.zeros(3), 1.0).tolist() == [1, 1, 1]
    assert tg.zeros(2).bernoulli_(tg.tensor([0.0, 1.0])).tolist() == [0, 1]
    assert not tg.bernoulli(tg.full((2,), 0.5, requires_grad=True)).requires_grad


def test_a_probability_lies_between_0_and_1(device: str) -> None:
    for wrong in (-0.5, 1.5, math.nan):
        p = tg.tensor([0.5, wrong])
        if device == "cpu":
            with pytest.raises(ValueError, match="between 0 and 1"):
                tg.bernoulli(p)
        else:  # a GPU is not waited for
            assert np.isnan(tg.bernoulli(p).numpy()).tolist() == [False, True]
        with pytest.raises(ValueError, match="between 0 and 1; got p="):
            tg.zeros(2).bernoulli_(wrong)
    with pytest.raises(TypeError, match="probabilities are floats"):
        tg.bernoulli(tg.tensor([0, 1]))


def test_multinomial_draws_in_proportion() -> None:
    generator = np.random.default_rng(0)
    weights = tg.tensor([[0.0, 1.0, 3.0, 0.0], [2.0, 0.0, 0.0, 2.0]])
    draws = tg.multinomial(weights, MANY, replacement=True, generator=generator)
    assert (draws.shape, draws.dtype) == ((2, MANY), "int64")
    for row, share in zip(draws.numpy(), ([0, 0.25, 0.75, 0], [0.5, 0, 0, 0.5]), strict=True):
        assert_allclose(np.bincount(row, minlength=4) / MANY, share, atol=0.02)
        assert np.bincount(row, minlength=4)[np.equal(share, 0)].sum() == 0


def test_multinomial_without_replacement_draws_one_after_the_other() -> None:
    generator = np.random.default_rng(0)
    weights = tg.tensor([1.0, 2.0, 5.0])
    counts = Counter(
        tuple(tg.multinomial(weights, 2, generator=generator).tolist()) for _ in range(4000)
    )
    w = [1 / 8, 2 / 8, 5 / 8]
    for i, j in permutations(range(3), 2):
        assert_allclose(counts[i, j] / 4000, w[i] * w[j] / (1 - w[i]), atol=0.03)
    tiny = tg.tensor([1e300, 1e-300, 0.0], dtype="float64")
    assert tg.multinomial(tiny, 2).tolist() == [0, 1]


def test_multinomial_refuses() -> None:
    for weights in ([-1.0, 1.0], [math.nan, 1.0], [math.inf, 1.0]):
        with pytest.raises(ValueError, match="finite and 0 or more"):
            tg.multinomial(tg.tensor(weights), 1)
    with pytest.raises(ValueError, match=r"2 different places.*1 have a weight above 0; replac"):
        tg.multinomial(tg.tensor([1.0, 0.0]), 2)
    with pytest.raises(ValueError, match="0 have a weight above 0"):
        tg.multinomial(tg.zeros(3), 2, True)
    with pytest.raises(ValueError, match=r"shape \(n,\) or \(m, n\); got \(2, 2, 2\)"):
        tg.multinomial(tg.ones(2, 2, 2), 1)
    with pytest.raises(ValueError, match="at least one sample"):
        tg.multinomial(tg.ones(3), 0)
    with pytest.raises(TypeError, match="weights are floats; got int64"):
        tg.multinomial(tg.tensor([1, 2]), 1)
    assert tg.multinomial(tg.ones(0, 3), 2).shape == (0, 2)
