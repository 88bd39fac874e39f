"""Distributions: draws, densities, entropies and divergences, differentiable by their parameters.

A distribution has a `batch_shape`, of independent ones with parameters of their own, and an
`event_shape`, that of one value. `sample(sample_shape)` has the shape
sample_shape + batch_shape + event_shape. `rsample` is a draw through which gradients flow to the
parameters (Kingma and Welling, Auto-encoding variational Bayes, 2014). The methods that draw take a
`generator`.

>>> import tinygrad_cv as tg
>>> from tinygrad_cv.distributions import Categorical, Normal, kl_divergence
>>> Categorical(probs=tg.tensor([0.25, 0.75])).log_prob(tg.tensor(1)).exp()
tensor(0.75)
>>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 1.0))
tensor(0.5)
"""

import typing as _typing

from tinygrad_cv._absent import told as _told
from tinygrad_cv._public import DISTRIBUTIONS as _DISTRIBUTIONS
from tinygrad_cv._public import fill as _fill
from tinygrad_cv.distributions import constraints as constraints
from tinygrad_cv.distributions import continuous as continuous
from tinygrad_cv.distributions import discrete as discrete
from tinygrad_cv.distributions import distribution as distribution
from tinygrad_cv.distributions import gamma as gamma
from tinygrad_cv.distributions import independent as independent
from tinygrad_cv.distributions import kl as kl
from tinygrad_cv.distributions import multivariate_normal as multivariate_normal

if _typing.TYPE_CHECKING:
    from tinygrad_cv._stubs.distributions import *  # noqa: F403  generated
else:
    _fill(globals(), _DISTRIBUTIONS)
    __getattr__ = _told(_DISTRIBUTIONS)
