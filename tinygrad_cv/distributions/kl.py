"""The divergence of one distribution from another."""

import math
from collections.abc import Callable
from typing import Any

from tinygrad_cv._public import DISTRIBUTIONS, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.distributions.continuous import Exponential, Laplace, Normal, Uniform
from tinygrad_cv.distributions.discrete import Bernoulli, Categorical
from tinygrad_cv.distributions.distribution import Distribution
from tinygrad_cv.distributions.gamma import Beta, Dirichlet, Gamma
from tinygrad_cv.distributions.independent import Independent
from tinygrad_cv.distributions.multivariate_normal import MultivariateNormal
from tinygrad_cv.linalg import solve_triangular
from tinygrad_cv.ops.elementwise import where

Rule = Callable[[Any, Any], Tensor]

RULES: dict[tuple[type, type], Rule] = {}
"""How to compute it, by the classes of the two."""


@public(DISTRIBUTIONS)
def register_kl(type_p: type[Distribution], type_q: type[Distribution]) -> Callable[[Rule], Rule]:
    """A decorator for a function that computes KL(p || q) of these classes.

    >>> class Same(Normal):
    ...     pass
    >>> @register_kl(Same, Same)
    ... def none(p, q):
    ...     return 0 * p.loc
    >>> kl_divergence(Same(1.0, 1.0), Same(2.0, 1.0))
    tensor(0.)
    """
    for kind in (type_p, type_q):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"register_kl takes classes of distributions; got {kind!r}.")

    def register(rule: Rule) -> Rule:
        RULES[type_p, type_q] = rule
        return rule

    return register


@public(DISTRIBUTIONS)
def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(p || q), the expectation under p of log p - log q, in the shape of the batch.

    Raises NotImplementedError for two classes without a formula; `register_kl` adds one.

    >>> kl_divergence(Bernoulli(0.5), Bernoulli(0.5))
    tensor(0.)
    """
    for kind_p in type(p).__mro__:  # the nearest base of p, and for that of q
        for kind_q in type(q).__mro__:
            if (kind_p, kind_q) in RULES:
                return RULES[kind_p, kind_q](p, q)
    raise NotImplementedError(
        f"there is no formula for KL({type(p).__name__} || {type(q).__name__}); register_kl adds "
        "one."
    )


@register_kl(Normal, Normal)
def _normals(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale) ** 2
    return (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ratio.log()) / 2


@register_kl(Uniform, Uniform)
def _uniforms(p: Uniform, q: Uniform) -> Tensor:
    outside = (q.low > p.low).logical_or(q.high < p.high)
    return ((q.high - q.low) / (p.high - p.low)).log().masked_fill(outside, math.inf)


@register_kl(Exponential, Exponential)
def _exponentials(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


@register_kl(Laplace, Laplace)
def _laplaces(p: Laplace, q: Laplace) -> Tensor:
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return ratio * (-distance / p.scale).exp() + distance / q.scale - ratio.log() - 1


@register_kl(Bernoulli, Bernoulli)
def _bernoullis(p: Bernoulli, q: Bernoulli) -> Tensor:
    a, b = p.probs, q.probs
    one, zero = a.xlogy(a) - a.xlogy(b), (1 - a).xlogy(1 - a) - (1 - a).xlogy(1 - b)
    return one + zero


@register_kl(Categorical, Categorical)
def _categoricals(p: Categorical, q: Categorical) -> Tensor:
    share = p.probs * (p.logits - q.logits)
    share = where(q.probs == 0, math.inf, share)
    return where(p.probs == 0, 0.0, share).sum(-1)


@register_kl(Gamma, Gamma)
def _gammas(p: Gamma, q: Gamma) -> Tensor:
    a, b, c, d = p.concentration, p.rate, q.concentration, q.rate
    norms = c.lgamma() - a.lgamma() + c * (b.log() - d.log())
    return norms + (a - c) * a.digamma() + a * (d / b - 1)


@register_kl(Dirichlet, Dirichlet)
def _dirichlets(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    norms = total.lgamma() - b.sum(-1).lgamma() + (b.lgamma() - a.lgamma()).sum(-1)
    return norms + ((a - b) * (a.digamma() - total.digamma().unsqueeze(-1))).sum(-1)


@register_kl(Beta, Beta)
def _betas(p: Beta, q: Beta) -> Tensor:
    return _dirichlets(p._both, q._both)


@register_kl(MultivariateNormal, MultivariateNormal)
def _normal_vectors(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    n = p.event_shape[0]
    if n != q.event_shape[0]:
        raise ValueError(
            f"kl_divergence: the vectors have the lengths {n} and {q.event_shape[0]}; they must be "
            "equal."
        )
    spread = solve_triangular(q.scale_tril, p.scale_tril, upper=False)
    difference = (q.loc - p.loc).unsqueeze(-1)
    moved = solve_triangular(q.scale_tril, difference, upper=False)
    squares = (spread**2).flatten(-2).sum(-1) + (moved**2).flatten(-2).sum(-1)
    return (squares - n) / 2 + q._half_log_det() - p._half_log_det()


@register_kl(Independent, Independent)
def _independents(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("kl_divergence: the two Independent take other axes together.")
    return p._together(kl_divergence(p.base_dist, q.base_dist))
