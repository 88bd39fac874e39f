"""Distributions beside SciPy's; draws beside moments, and their gradients beside expectations."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import special, stats

import tinygrad_cv as tg
from tinygrad_cv import distributions as d
from tinygrad_cv.distributions.gamma import quantile_slope
from tinygrad_cv.testing import check_gradients

numbers = st.floats(-3, 3)
sizes = st.floats(0.1, 5)
shares = st.floats(0.05, 0.95)
LAWS: dict[str, tuple[Any, tuple[Any, ...], Any]] = {
    "Normal": (d.Normal, (numbers, sizes), stats.norm),
    "Uniform": (
        lambda low, size: d.Uniform(low, low + size),
        (numbers, sizes),
        stats.uniform,
    ),
    "Exponential": (d.Exponential, (sizes,), lambda rate: stats.expon(scale=1 / rate)),
    "Laplace": (d.Laplace, (numbers, sizes), stats.laplace),
    "Gamma": (d.Gamma, (sizes, sizes), lambda a, rate: stats.gamma(a, scale=1 / rate)),
    "Beta": (d.Beta, (sizes, sizes), stats.beta),
    "Bernoulli": (d.Bernoulli, (shares,), stats.bernoulli),
}
"""For each law of one number how to make it, of which parameters, and SciPy's."""


def double(values: Any) -> Any:
    return tg.tensor(np.asarray(values, dtype="float64"))


def values(tensor: Any) -> Any:
    return np.asarray(tensor.detach().numpy())


@pytest.mark.parametrize("name", LAWS)
@given(data=st.data(), batch=st.sampled_from([(), (2,), (3, 1)]))
def test_densities_and_moments_are_scipys(name: str, data: Any, batch: tuple[int, ...]) -> None:
    make, parameters, scipys = LAWS[name]
    count = math.prod(batch)
    given_ = [
        np.reshape(data.draw(st.lists(p, min_size=count, max_size=count)), batch)
        for p in parameters
    ]
    law, other = make(*map(double, given_)), scipys(*given_)
    assert law.batch_shape == batch
    for ours, theirs in [
        (law.mean, other.mean()),
        (law.variance, other.var()),
        (law.stddev, other.std()),
        (law.entropy(), np.vectorize(lambda *p: float(scipys(*p).entropy()))(*given_)),
    ]:
        assert_allclose(values(ours), theirs, rtol=1e-8, atol=1e-10)
    if name == "Bernoulli":
        x = np.reshape(np.arange(count) % 2, batch)
        assert_allclose(values(law.log_prob(double(x))), other.logpmf(x), rtol=1e-8)
        return
    level = np.reshape(data.draw(st.lists(shares, min_size=count, max_size=count)), batch)
    x = other.ppf(level)
    assert_allclose(values(law.log_prob(double(x))), other.logpdf(x), rtol=1e-7, atol=1e-8)
    if name not in ("Gamma", "Beta"):
        assert_allclose(values(law.cdf(double(x))), level, rtol=1e-8, atol=1e-12)
        assert_allclose(values(law.icdf(double(level))), x, rtol=1e-8, atol=1e-10)


LARGE = {
    "Normal": lambda: d.Normal(1.0, 2.0),
    "Uniform": lambda: d.Uniform(-1.0, 3.0),
    "Exponential": lambda: d.Exponential(0.5),
    "Laplace": lambda: d.Laplace(1.0, 2.0),
    "Gamma": lambda: d.Gamma(0.7, 2.0),
    "Beta": lambda: d.Beta(0.7, 2.0),
    "Dirichlet": lambda: d.Dirichlet(tg.tensor([0.5, 1.0, 3.0])),
    "Bernoulli": lambda: d.Bernoulli(logits=-1.0),
    "OneHotCategorical": lambda: d.OneHotCategorical(tg.tensor([1.0, 0.0, 3.0])),
    "MultivariateNormal": lambda: d.MultivariateNormal(
        tg.tensor([1.0, 2.0]), tg.tensor([[2.0, 0.5], [0.5, 1.0]])
    ),
    "Independent": lambda: d.Independent(d.Normal(tg.tensor([1.0, 2.0]), 1.0), 1),
}


@pytest.mark.parametrize("name", LARGE)
def test_draws_have_the_moments(name: str) -> None:
    law = LARGE[name]()
    n = 20_000
    draw = law.sample((n,), generator=np.random.default_rng(0))
    assert draw.shape == (n, *law.batch_shape, *law.event_shape)
    assert not draw.requires_grad
    mean, deviation = values(law.mean), values(law.stddev)
    bound = 5 * deviation / math.sqrt(n) + 1e-6
    assert (np.abs(values(draw).mean(0) - mean) <= bound).all()
    assert_allclose(values(draw).std(0), deviation, rtol=0.1, atol=1e-6)
    again = law.sample((n,), generator=np.random.default_rng(0))
    assert values(again).tolist() == values(draw).tolist()
    law.log_prob(draw)  # each of them is a value
    assert law.sample((2, 3)).shape == (2, 3, *law.batch_shape, *law.event_shape)
    assert law.sample().shape == law.batch_shape + law.event_shape
    assert law.expand((4, *law.batch_shape)).sample((2,)).shape == (
        (2, 4, *law.batch_shape, *law.event_shape)
    )


@pytest.mark.parametrize("name", [name for name in LARGE if LARGE[name]().has_rsample])
def test_the_gradient_of_a_draw_is_that_of_the_expectation(name: str) -> None:
    """d/dp E[f(x)] is the mean of the gradients; f is x² here, whose expectation is known."""
    law = LARGE[name]()
    if name == "Independent":
        law = law.base_dist
    leaves = {key: p.detach().double().requires_grad_() for key, p in law.parameters.items()}
    law = type(law)(**leaves)
    draw = law.rsample((20_000,), generator=np.random.default_rng(1))
    found = tg.grad((draw**2).mean(0).sum(), list(leaves.values()), retain_graph=True)
    expected = tg.grad((law.mean**2 + law.variance).sum(), list(leaves.values()))
    scale = max(np.abs(values(g)).max() for g in expected)
    for g, other in zip(found, expected, strict=True):
        assert_allclose(values(g), values(other), atol=0.12 * scale)


@pytest.mark.host
@given(st.floats(-7, 12), st.floats(0.001, 0.999))
def test_the_slope_of_a_gamma_quantile_is_measured(power: float, level: float) -> None:
    a = math.exp(power)
    x = float(special.gammaincinv(a, level))
    if x < 1e-250:
        return
    h, lower = 1e-4 * a, x < a

    def distribution(a: float) -> float:
        return float(special.gammainc(a, x) if lower else -special.gammaincc(a, x))

    ends = [distribution(a + k * h) for k in (-2, -1, 1, 2)]
    slope = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * h)
    density = math.exp((a - 1) * math.log(x) - x - special.gammaln(a))
    found = quantile_slope(double(a), double(x)).item()
    assert found == pytest.approx(-slope / density, rel=1e-5)


@pytest.mark.host
def test_gradients_of_densities_are_measured() -> None:
    x, p = tg.rand(3) * 0.8 + 0.1, tg.rand(3) * 0.8 + 0.1
    for f in [
        lambda x, p: d.Normal(p, p).log_prob(x),
        lambda x, p: d.Laplace(p, p + 1).log_prob(x + 2),
        lambda x, p: d.Exponential(p).log_prob(x),
        lambda x, p: d.Gamma(p, p + 1).log_prob(x),
        lambda x, p: d.Beta(p, p + 1).log_prob(x),
        lambda x, p: d.Dirichlet(p).log_prob(x / x.sum()),
        lambda x, p: d.Independent(d.Normal(p, 1.0), 1).log_prob(x),
        lambda x, p: d.MultivariateNormal(p, scale_tril=tg.diag_embed(p)).log_prob(x),
    ]:
        check_gradients(lambda x, p, f=f: f(x, p), [x, p], order=1)
    for g in [
        lambda p: d.Categorical(p).log_prob(tg.tensor([2, 0])),
        lambda p: d.Categorical(logits=p).entropy(),
        lambda p: d.Bernoulli(p).log_prob(tg.tensor([0.0, 1.0, 1.0])),
        lambda p: d.Bernoulli(logits=p).entropy(),
        lambda p: d.kl_divergence(d.Categorical(p), d.Categorical(p**2)),
    ]:
        check_gradients(g, [p])


def test_choices() -> None:
    law = d.Categorical(tg.tensor([[1.0, 3.0, 0.0], [2.0, 2.0, 4.0]]))
    assert law.probs.tolist() == [[0.25, 0.75, 0], [0.25, 0.25, 0.5]]
    draw = law.sample((1000,))
    assert (draw.shape, draw.dtype) == ((1000, 2), "int64")
    assert set(values(draw)[:, 0]) == {0, 1}
    assert_allclose(values(law.log_prob(tg.tensor([1, 2])).exp()), [0.75, 0.5], rtol=1e-6)
    assert law.log_prob(tg.tensor([[1], [0], [0]])).shape == (3, 2)
    expected = stats.entropy([[0.25, 0.75, 0], [0.25, 0.25, 0.5]], axis=1)
    assert_allclose(values(law.entropy()), expected, rtol=1e-5)
    assert_allclose(values(law.perplexity()), np.exp(expected), rtol=1e-5)
    assert law.mode.tolist() == [1, 2]
    assert law.enumerate_support().tolist() == [[0, 0], [1, 1], [2, 2]]
    assert law.enumerate_support(expand=False).shape == (3, 1)
    same = d.Categorical(logits=law.logits + 7)
    assert_allclose(values(same.probs), values(law.probs), atol=1e-6)
    hot = d.OneHotCategorical(law.probs)
    assert hot.log_prob(hot.enumerate_support()[1]).exp().tolist() == pytest.approx([0.75, 0.25])
    assert hot.sample((5,)).sum(-1).tolist() == [[1, 1]] * 5
    both = d.Bernoulli(tg.tensor([0.25, 0.5]))
    assert both.enumerate_support().tolist() == [[0, 0], [1, 1]]
    assert_allclose(values(both.logits), [-math.log(3), 0], atol=1e-6)
    assert both.log_prob(1).exp().tolist() == pytest.approx([0.25, 0.5])
    assert (both.mode[0].item(), both.mode[1].isnan().item()) == (0, True)


def test_normal_vectors() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((2, 3, 3))
    covariance, mean = A @ A.transpose(0, 2, 1) + np.eye(3), rng.standard_normal(3)
    precision, tril = np.linalg.inv(covariance), np.linalg.cholesky(covariance)
    x = rng.standard_normal((5, 1, 3))
    expected = np.stack([stats.multivariate_normal(mean, c).logpdf(x[:, 0]) for c in covariance], 1)
    for options in (
        {"covariance_matrix": covariance},
        {"precision_matrix": (precision + precision.transpose(0, 2, 1)) / 2},
        {"scale_tril": tril},
    ):
        law = d.MultivariateNormal(double(mean), **{k: double(v) for k, v in options.items()})
        assert (law.batch_shape, law.event_shape) == ((2,), (3,))
        assert_allclose(values(law.log_prob(double(x))), expected, rtol=1e-9)
        assert_allclose(values(law.covariance_matrix), covariance, rtol=1e-9)
        assert_allclose(values(law.precision_matrix), precision, rtol=1e-8)
        assert_allclose(values(law.scale_tril), tril, rtol=1e-9, atol=1e-12)
        entropies = [stats.multivariate_normal(mean, c).entropy() for c in covariance]
        assert_allclose(values(law.entropy()), entropies, rtol=1e-10)


def test_dirichlet() -> None:
    a = np.array([[0.5, 1.0, 3.0], [2.0, 2.0, 0.3]])
    x = np.array([0.2, 0.3, 0.5])
    law = d.Dirichlet(double(a))
    assert_allclose(values(law.log_prob(double(x))), [stats.dirichlet(p).logpdf(x) for p in a])
    assert_allclose(values(law.entropy()), [stats.dirichlet(p).entropy() for p in a], rtol=1e-9)
    assert_allclose(values(law.variance), [stats.dirichlet(p).var() for p in a], rtol=1e-9)
    assert law.mode.tolist() == [[0, 0, 1], [0.5, 0.5, 0]]


PAIRS = [  # made when the device is chosen
    lambda: (d.Normal(1.0, 2.0), d.Normal(0.0, 3.0)),
    lambda: (d.Uniform(0.0, 1.0), d.Uniform(-1.0, 2.0)),
    lambda: (d.Exponential(2.0), d.Exponential(3.0)),
    lambda: (d.Laplace(0.0, 1.0), d.Laplace(1.0, 2.0)),
    lambda: (d.Gamma(2.0, 1.0), d.Gamma(3.0, 2.0)),
    lambda: (d.Beta(2.0, 3.0), d.Beta(1.0, 2.0)),
]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: type(pair()[0]).__name__)
def test_divergences_are_integrals(pair: Any) -> None:
    """∫ p (ln p - ln q), by the trapezoidal rule between two quantiles."""
    p, q = pair()
    low, high = {"Uniform": (0, 1), "Beta": (0, 1), "Exponential": (0, 20)}.get(
        type(p).__name__, (-30, 30)
    )
    low = 0 if type(p).__name__ == "Gamma" else low
    edge = (high - low) * 1e-9
    x = np.linspace(low + edge, high - edge, 20_001)
    kind = type(p)
    wide_p, wide_q = (kind(**{k: v.double() for k, v in law.parameters.items()}) for law in (p, q))
    log_p, log_q = values(wide_p.log_prob(double(x))), values(wide_q.log_prob(double(x)))
    expected = np.trapezoid(np.exp(log_p) * (log_p - log_q), x)
    assert d.kl_divergence(p, q).item() == pytest.approx(expected, rel=2e-4)


def test_divergences_of_choices_and_vectors() -> None:
    a, b = [0.2, 0.3, 0.5], [0.5, 0.25, 0.25]
    expected = stats.entropy(a, b)
    for kind in (d.Categorical, d.OneHotCategorical):
        found = d.kl_divergence(kind(tg.tensor(a)), kind(tg.tensor(b)))
        assert found.item() == pytest.approx(expected, rel=1e-5)
    one, two = d.Bernoulli(0.2), d.Bernoulli(logits=0.0)
    found = d.kl_divergence(one, two).item()
    assert found == pytest.approx(stats.entropy([0.2, 0.8], [0.5, 0.5]), rel=1e-5)
    none = d.Categorical(tg.tensor([0.0, 1.0]))
    even = d.Categorical(tg.tensor([0.5, 0.5]))
    assert d.kl_divergence(none, even).item() == pytest.approx(math.log(2))
    assert d.kl_divergence(even, none).item() == math.inf
    assert d.kl_divergence(d.Bernoulli(0.5), d.Bernoulli(0.0)).item() == math.inf
    outside = d.kl_divergence(d.Uniform(0.0, 3.0), d.Uniform(0.0, 1.0))
    assert outside.item() == math.inf
    mean, deviation = tg.tensor([1.0, -1.0]), tg.tensor([0.5, 2.0])
    vector = d.MultivariateNormal(mean, tg.diag_embed(deviation**2))
    unit = d.MultivariateNormal(tg.zeros(2), tg.eye(2))
    apart = d.kl_divergence(d.Normal(mean, deviation), d.Normal(tg.zeros(2), 1.0)).sum().item()
    assert d.kl_divergence(vector, unit).item() == pytest.approx(apart, rel=1e-5)
    joint = [d.Independent(law, 1) for law in (d.Normal(mean, deviation), d.Normal(mean * 0, 1.0))]
    assert d.kl_divergence(*joint).item() == pytest.approx(apart, rel=1e-5)
    dirichlets = [d.Dirichlet(tg.tensor(a)) for a in ([2.0, 3.0], [1.0, 2.0])]
    betas = d.kl_divergence(*PAIRS[-1]()).item()
    assert d.kl_divergence(*dirichlets).item() == pytest.approx(betas)


@pytest.mark.host
def test_wrong_parameters_and_values_are_told() -> None:
    for call, message in [
        (lambda: d.Normal(0.0, -1.0), r"Normal: the parameter scale .* above 0; got \[-1.0\]"),
        (lambda: d.Normal(math.nan, 1.0), "parameter loc .* not NaN"),
        (lambda: d.Bernoulli(1.5), "from 0 to 1; got .1.5."),
        (lambda: d.Bernoulli(0.5, 0.5), "one of probs, logits; got probs and logits"),
        (lambda: d.Categorical(), "one of probs, logits; got none"),
        (lambda: d.Categorical(tg.tensor([-1.0, 2.0])), "0 or more"),
        (lambda: d.Categorical(tg.tensor([1, 2])), "floats of shape"),
        (lambda: d.Categorical(tg.ones(2)).log_prob(tg.tensor(2)), "whole, from 0 to 1"),
        (lambda: d.Normal(tg.zeros(3), 1.0).log_prob(tg.zeros(2)), "does not fit the batch"),
        (lambda: d.Uniform(1.0, 0.0), "low must be below high"),
        (lambda: d.Uniform(0.0, 1.0).log_prob(2.0), "the value"),
        (lambda: d.Dirichlet(tg.ones(2)).log_prob([0.5, 0.6]), "the sum 1"),
        (lambda: d.MultivariateNormal(tg.zeros(2), -tg.eye(2)), "positive definite"),
        (lambda: d.MultivariateNormal(tg.zeros(2), scale_tril=tg.ones(2, 2)), "lower triangular"),
        (lambda: d.MultivariateNormal(tg.zeros(2), tg.eye(3)), r"\(..., n, n\)"),
        (lambda: d.Independent(d.Normal(0.0, 1.0), 1), "between 0 and 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert d.Uniform(0.0, 1.0, validate_args=False).log_prob(2.0).item() == -math.inf
    d.Distribution.set_default_validate_args(False)
    try:
        assert d.Normal(0.0, -1.0).scale.item() == -1
    finally:
        d.Distribution.set_default_validate_args(True)
    with pytest.raises(NotImplementedError, match="Bernoulli has no rsample"):
        d.Bernoulli(0.5).rsample()
    with pytest.raises(NotImplementedError, match=r"KL\(Normal .. Gamma\)"):
        d.kl_divergence(d.Normal(0.0, 1.0), d.Gamma(1.0, 1.0))
    with pytest.raises(AttributeError, match=r"distributions has no StudentT: .*Normal"):
        _ = d.StudentT
    a = tg.ones(1, requires_grad=True)
    (g,) = tg.grad(d.Gamma(a, 1.0).rsample().sum(), a, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.backward()


@pytest.mark.host
def test_how_they_look() -> None:
    assert repr(d.Normal(0.0, tg.ones(3))) == "Normal(loc: (3,), scale: (3,))"
    assert repr(d.Bernoulli(0.5)) == "Bernoulli(probs: 0.5)"
    assert (
        repr(d.Independent(d.Exponential(tg.ones(2)), 1))
        == "Independent(Exponential(rate: (2,)), 1)"
    )
    assert d.Normal(0, 1).loc.dtype == "float32"
    assert d.Normal(double(0.0), 1).scale.dtype == "float64"


@pytest.mark.host
def test_numbers_become_floats_of_the_default_dtype() -> None:
    try:
        tg.set_default_dtype(tg.float64)
        for law in (
            d.Normal(0, 1),
            d.Uniform(0.0, 1.0),
            d.Bernoulli(0.5),
            d.Gamma(tg.tensor(2), 1),
        ):
            assert {value.dtype.name for value in law.parameters.values()} == {"float64"}
            assert law.sample().dtype == law.entropy().dtype == "float64"
    finally:
        tg.set_default_dtype(tg.float32)
