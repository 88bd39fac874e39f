"""Written by `python -m tests.stubs`."""

# ruff: noqa

from tinygrad_cv.distributions.continuous import Exponential as Exponential
from tinygrad_cv.distributions.continuous import Laplace as Laplace
from tinygrad_cv.distributions.continuous import Normal as Normal
from tinygrad_cv.distributions.continuous import Uniform as Uniform
from tinygrad_cv.distributions.discrete import Bernoulli as Bernoulli
from tinygrad_cv.distributions.discrete import Categorical as Categorical
from tinygrad_cv.distributions.discrete import OneHotCategorical as OneHotCategorical
from tinygrad_cv.distributions.distribution import Distribution as Distribution
from tinygrad_cv.distributions.gamma import Beta as Beta
from tinygrad_cv.distributions.gamma import Dirichlet as Dirichlet
from tinygrad_cv.distributions.gamma import Gamma as Gamma
from tinygrad_cv.distributions.independent import Independent as Independent
from tinygrad_cv.distributions.kl import kl_divergence as kl_divergence
from tinygrad_cv.distributions.kl import register_kl as register_kl
from tinygrad_cv.distributions.multivariate_normal import MultivariateNormal as MultivariateNormal
from typing import Any
