"""tinygrad_cv: reverse-mode automatic differentiation for computer vision on NumPy.

>>> import tinygrad_cv as tg
>>> x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> loss = (x.tanh() ** 2).sum()
>>> loss.backward()
>>> x.grad.shape
(3,)
>>> print(tg.graph(loss))
%0  parameter                  float32 (3,)
%1  tanh       (%0)            float32 (3,)
%2  pow        (%1)       n=2  float32 (3,)
%3  sum        (%2)            float32 ()
"""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import Any as _Any

from tinygrad_cv.backend import get_default_device as get_default_device
from tinygrad_cv.backend import host as _host
from tinygrad_cv.backend import manual_seed as manual_seed
from tinygrad_cv.backend import set_default_device as set_default_device
from tinygrad_cv.graph import Graph as Graph
from tinygrad_cv.graph import Node as Node
from tinygrad_cv.graph import enable_grad as enable_grad
from tinygrad_cv.graph import inference_mode as inference_mode
from tinygrad_cv.graph import is_grad_enabled as is_grad_enabled
from tinygrad_cv.graph import no_grad as no_grad
from tinygrad_cv.graph import set_grad_enabled as set_grad_enabled
from tinygrad_cv.op import Op as Op
from tinygrad_cv.printing import set_printoptions as set_printoptions
from tinygrad_cv.symbol import formula as formula
from tinygrad_cv.tensor import Tensor as Tensor
from tinygrad_cv.tensor import apply as apply
from tinygrad_cv.tensor import function as function
from tinygrad_cv.tensor import grad as grad
from tinygrad_cv.tensor import graph as graph

# isort: split
# The ops need Tensor, and everything below needs the ops.
from tinygrad_cv.ops.activation import celu as celu
from tinygrad_cv.ops.activation import elu as elu
from tinygrad_cv.ops.activation import gelu as gelu
from tinygrad_cv.ops.activation import glu as glu
from tinygrad_cv.ops.activation import hardshrink as hardshrink
from tinygrad_cv.ops.activation import hardsigmoid as hardsigmoid
from tinygrad_cv.ops.activation import hardswish as hardswish
from tinygrad_cv.ops.activation import hardtanh as hardtanh
from tinygrad_cv.ops.activation import leaky_relu as leaky_relu
from tinygrad_cv.ops.activation import log_softmax as log_softmax
from tinygrad_cv.ops.activation import logsigmoid as logsigmoid
from tinygrad_cv.ops.activation import maxout as maxout
from tinygrad_cv.ops.activation import mish as mish
from tinygrad_cv.ops.activation import prelu as prelu
from tinygrad_cv.ops.activation import relu as relu
from tinygrad_cv.ops.activation import relu6 as relu6
from tinygrad_cv.ops.activation import rrelu as rrelu
from tinygrad_cv.ops.activation import selu as selu
from tinygrad_cv.ops.activation import sigmoid as sigmoid
from tinygrad_cv.ops.activation import silu as silu
from tinygrad_cv.ops.activation import softmax as softmax
from tinygrad_cv.ops.activation import softmin as softmin
from tinygrad_cv.ops.activation import softplus as softplus
from tinygrad_cv.ops.activation import softshrink as softshrink
from tinygrad_cv.ops.activation import softsign as softsign
from tinygrad_cv.ops.activation import tanh as tanh
from tinygrad_cv.ops.activation import tanhshrink as tanhshrink
from tinygrad_cv.ops.activation import threshold as threshold
from tinygrad_cv.ops.attention import scaled_dot_product_attention as scaled_dot_product_attention
from tinygrad_cv.ops.conv import conv1d as conv1d
from tinygrad_cv.ops.conv import conv2d as conv2d
from tinygrad_cv.ops.conv import conv3d as conv3d
from tinygrad_cv.ops.conv import conv_output_size as conv_output_size
from tinygrad_cv.ops.conv import conv_transpose1d as conv_transpose1d
from tinygrad_cv.ops.conv import conv_transpose2d as conv_transpose2d
from tinygrad_cv.ops.conv import conv_transpose3d as conv_transpose3d
from tinygrad_cv.ops.conv import fold as fold
from tinygrad_cv.ops.conv import locally_connected2d as locally_connected2d
from tinygrad_cv.ops.conv import unfold as unfold
from tinygrad_cv.ops.elementwise import abs as abs
from tinygrad_cv.ops.elementwise import absolute as absolute
from tinygrad_cv.ops.elementwise import acos as acos
from tinygrad_cv.ops.elementwise import acosh as acosh
from tinygrad_cv.ops.elementwise import add as add
from tinygrad_cv.ops.elementwise import addcdiv as addcdiv
from tinygrad_cv.ops.elementwise import addcmul as addcmul
from tinygrad_cv.ops.elementwise import allclose as allclose
from tinygrad_cv.ops.elementwise import arccos as arccos
from tinygrad_cv.ops.elementwise import arccosh as arccosh
from tinygrad_cv.ops.elementwise import arcsin as arcsin
from tinygrad_cv.ops.elementwise import arcsinh as arcsinh
from tinygrad_cv.ops.elementwise import arctan as arctan
from tinygrad_cv.ops.elementwise import arctan2 as arctan2
from tinygrad_cv.ops.elementwise import arctanh as arctanh
from tinygrad_cv.ops.elementwise import asin as asin
from tinygrad_cv.ops.elementwise import asinh as asinh
from tinygrad_cv.ops.elementwise import atan as atan
from tinygrad_cv.ops.elementwise import atan2 as atan2
from tinygrad_cv.ops.elementwise import atanh as atanh
from tinygrad_cv.ops.elementwise import bitwise_and as bitwise_and
from tinygrad_cv.ops.elementwise import bitwise_left_shift as bitwise_left_shift
from tinygrad_cv.ops.elementwise import bitwise_not as bitwise_not
from tinygrad_cv.ops.elementwise import bitwise_or as bitwise_or
from tinygrad_cv.ops.elementwise import bitwise_right_shift as bitwise_right_shift
from tinygrad_cv.ops.elementwise import bitwise_xor as bitwise_xor
from tinygrad_cv.ops.elementwise import ceil as ceil
from tinygrad_cv.ops.elementwise import clamp as clamp
from tinygrad_cv.ops.elementwise import clamp_max as clamp_max
from tinygrad_cv.ops.elementwise import clamp_min as clamp_min
from tinygrad_cv.ops.elementwise import clip as clip
from tinygrad_cv.ops.elementwise import clone as clone
from tinygrad_cv.ops.elementwise import copysign as copysign
from tinygrad_cv.ops.elementwise import cos as cos
from tinygrad_cv.ops.elementwise import cosh as cosh
from tinygrad_cv.ops.elementwise import deg2rad as deg2rad
from tinygrad_cv.ops.elementwise import digamma as digamma
from tinygrad_cv.ops.elementwise import div as div
from tinygrad_cv.ops.elementwise import divide as divide
from tinygrad_cv.ops.elementwise import eq as eq
from tinygrad_cv.ops.elementwise import equal as equal
from tinygrad_cv.ops.elementwise import erf as erf
from tinygrad_cv.ops.elementwise import erfc as erfc
from tinygrad_cv.ops.elementwise import erfinv as erfinv
from tinygrad_cv.ops.elementwise import exp as exp
from tinygrad_cv.ops.elementwise import exp2 as exp2
from tinygrad_cv.ops.elementwise import expm1 as expm1
from tinygrad_cv.ops.elementwise import fix as fix
from tinygrad_cv.ops.elementwise import float_power as float_power
from tinygrad_cv.ops.elementwise import floor as floor
from tinygrad_cv.ops.elementwise import floor_divide as floor_divide
from tinygrad_cv.ops.elementwise import fmax as fmax
from tinygrad_cv.ops.elementwise import fmin as fmin
from tinygrad_cv.ops.elementwise import fmod as fmod
from tinygrad_cv.ops.elementwise import frac as frac
from tinygrad_cv.ops.elementwise import ge as ge
from tinygrad_cv.ops.elementwise import greater as greater
from tinygrad_cv.ops.elementwise import greater_equal as greater_equal
from tinygrad_cv.ops.elementwise import gt as gt
from tinygrad_cv.ops.elementwise import heaviside as heaviside
from tinygrad_cv.ops.elementwise import hypot as hypot
from tinygrad_cv.ops.elementwise import isclose as isclose
from tinygrad_cv.ops.elementwise import isfinite as isfinite
from tinygrad_cv.ops.elementwise import isinf as isinf
from tinygrad_cv.ops.elementwise import isnan as isnan
from tinygrad_cv.ops.elementwise import isneginf as isneginf
from tinygrad_cv.ops.elementwise import isposinf as isposinf
from tinygrad_cv.ops.elementwise import isreal as isreal
from tinygrad_cv.ops.elementwise import le as le
from tinygrad_cv.ops.elementwise import lerp as lerp
from tinygrad_cv.ops.elementwise import less as less
from tinygrad_cv.ops.elementwise import less_equal as less_equal
from tinygrad_cv.ops.elementwise import lgamma as lgamma
from tinygrad_cv.ops.elementwise import log as log
from tinygrad_cv.ops.elementwise import log1p as log1p
from tinygrad_cv.ops.elementwise import log2 as log2
from tinygrad_cv.ops.elementwise import log10 as log10
from tinygrad_cv.ops.elementwise import logaddexp as logaddexp
from tinygrad_cv.ops.elementwise import logaddexp2 as logaddexp2
from tinygrad_cv.ops.elementwise import logical_and as logical_and
from tinygrad_cv.ops.elementwise import logical_not as logical_not
from tinygrad_cv.ops.elementwise import logical_or as logical_or
from tinygrad_cv.ops.elementwise import logical_xor as logical_xor
from tinygrad_cv.ops.elementwise import logit as logit
from tinygrad_cv.ops.elementwise import lt as lt
from tinygrad_cv.ops.elementwise import maximum as maximum
from tinygrad_cv.ops.elementwise import minimum as minimum
from tinygrad_cv.ops.elementwise import mul as mul
from tinygrad_cv.ops.elementwise import multiply as multiply
from tinygrad_cv.ops.elementwise import nan_to_num as nan_to_num
from tinygrad_cv.ops.elementwise import ne as ne
from tinygrad_cv.ops.elementwise import neg as neg
from tinygrad_cv.ops.elementwise import negative as negative
from tinygrad_cv.ops.elementwise import not_equal as not_equal
from tinygrad_cv.ops.elementwise import polygamma as polygamma
from tinygrad_cv.ops.elementwise import positive as positive
from tinygrad_cv.ops.elementwise import pow as pow
from tinygrad_cv.ops.elementwise import rad2deg as rad2deg
from tinygrad_cv.ops.elementwise import reciprocal as reciprocal
from tinygrad_cv.ops.elementwise import remainder as remainder
from tinygrad_cv.ops.elementwise import round as round
from tinygrad_cv.ops.elementwise import rsqrt as rsqrt
from tinygrad_cv.ops.elementwise import rsub as rsub
from tinygrad_cv.ops.elementwise import sgn as sgn
from tinygrad_cv.ops.elementwise import sign as sign
from tinygrad_cv.ops.elementwise import signbit as signbit
from tinygrad_cv.ops.elementwise import sin as sin
from tinygrad_cv.ops.elementwise import sinc as sinc
from tinygrad_cv.ops.elementwise import sinh as sinh
from tinygrad_cv.ops.elementwise import sqrt as sqrt
from tinygrad_cv.ops.elementwise import square as square
from tinygrad_cv.ops.elementwise import sub as sub
from tinygrad_cv.ops.elementwise import subtract as subtract
from tinygrad_cv.ops.elementwise import tan as tan
from tinygrad_cv.ops.elementwise import true_divide as true_divide
from tinygrad_cv.ops.elementwise import trunc as trunc
from tinygrad_cv.ops.elementwise import where as where
from tinygrad_cv.ops.elementwise import xlogy as xlogy
from tinygrad_cv.ops.image import affine_grid as affine_grid
from tinygrad_cv.ops.image import channel_shuffle as channel_shuffle
from tinygrad_cv.ops.image import grid_sample as grid_sample
from tinygrad_cv.ops.image import interpolate as interpolate
from tinygrad_cv.ops.image import pixel_shuffle as pixel_shuffle
from tinygrad_cv.ops.image import pixel_unshuffle as pixel_unshuffle
from tinygrad_cv.ops.image import rot90 as rot90
from tinygrad_cv.ops.index import argwhere as argwhere
from tinygrad_cv.ops.index import diag as diag
from tinygrad_cv.ops.index import diag_embed as diag_embed
from tinygrad_cv.ops.index import diagonal as diagonal
from tinygrad_cv.ops.index import embedding as embedding
from tinygrad_cv.ops.index import gather as gather
from tinygrad_cv.ops.index import index_add as index_add
from tinygrad_cv.ops.index import index_copy as index_copy
from tinygrad_cv.ops.index import index_fill as index_fill
from tinygrad_cv.ops.index import index_put as index_put
from tinygrad_cv.ops.index import index_select as index_select
from tinygrad_cv.ops.index import masked_fill as masked_fill
from tinygrad_cv.ops.index import masked_select as masked_select
from tinygrad_cv.ops.index import narrow as narrow
from tinygrad_cv.ops.index import nonzero as nonzero
from tinygrad_cv.ops.index import one_hot as one_hot
from tinygrad_cv.ops.index import scatter as scatter
from tinygrad_cv.ops.index import scatter_add as scatter_add
from tinygrad_cv.ops.index import scatter_reduce as scatter_reduce
from tinygrad_cv.ops.index import select as select
from tinygrad_cv.ops.index import take as take
from tinygrad_cv.ops.index import tril as tril
from tinygrad_cv.ops.index import triu as triu
from tinygrad_cv.ops.linalg import bmm as bmm
from tinygrad_cv.ops.linalg import cdist as cdist
from tinygrad_cv.ops.linalg import cholesky as cholesky
from tinygrad_cv.ops.linalg import cross as cross
from tinygrad_cv.ops.linalg import det as det
from tinygrad_cv.ops.linalg import dot as dot
from tinygrad_cv.ops.linalg import einsum as einsum
from tinygrad_cv.ops.linalg import inner as inner
from tinygrad_cv.ops.linalg import kron as kron
from tinygrad_cv.ops.linalg import linear as linear
from tinygrad_cv.ops.linalg import matmul as matmul
from tinygrad_cv.ops.linalg import matrix_power as matrix_power
from tinygrad_cv.ops.linalg import mm as mm
from tinygrad_cv.ops.linalg import mv as mv
from tinygrad_cv.ops.linalg import outer as outer
from tinygrad_cv.ops.linalg import slogdet as slogdet
from tinygrad_cv.ops.linalg import tensordot as tensordot
from tinygrad_cv.ops.linalg import trace as trace
from tinygrad_cv.ops.linalg import vdot as vdot
from tinygrad_cv.ops.loss import binary_cross_entropy as binary_cross_entropy
from tinygrad_cv.ops.loss import (
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
)
from tinygrad_cv.ops.loss import cosine_embedding_loss as cosine_embedding_loss
from tinygrad_cv.ops.loss import cosine_similarity as cosine_similarity
from tinygrad_cv.ops.loss import cross_entropy as cross_entropy
from tinygrad_cv.ops.loss import euclidean_loss as euclidean_loss
from tinygrad_cv.ops.loss import gaussian_nll_loss as gaussian_nll_loss
from tinygrad_cv.ops.loss import hinge_embedding_loss as hinge_embedding_loss
from tinygrad_cv.ops.loss import huber_loss as huber_loss
from tinygrad_cv.ops.loss import kl_div as kl_div
from tinygrad_cv.ops.loss import l1_loss as l1_loss
from tinygrad_cv.ops.loss import margin_ranking_loss as margin_ranking_loss
from tinygrad_cv.ops.loss import mse_loss as mse_loss
from tinygrad_cv.ops.loss import multi_margin_loss as multi_margin_loss
from tinygrad_cv.ops.loss import multilabel_soft_margin_loss as multilabel_soft_margin_loss
from tinygrad_cv.ops.loss import nll_loss as nll_loss
from tinygrad_cv.ops.loss import one_vs_all_logistic_loss as one_vs_all_logistic_loss
from tinygrad_cv.ops.loss import pairwise_distance as pairwise_distance
from tinygrad_cv.ops.loss import poisson_nll_loss as poisson_nll_loss
from tinygrad_cv.ops.loss import smooth_l1_loss as smooth_l1_loss
from tinygrad_cv.ops.loss import soft_margin_loss as soft_margin_loss
from tinygrad_cv.ops.loss import svm_loss as svm_loss
from tinygrad_cv.ops.loss import triplet_margin_loss as triplet_margin_loss
from tinygrad_cv.ops.noise import alpha_dropout as alpha_dropout
from tinygrad_cv.ops.noise import dropout as dropout
from tinygrad_cv.ops.noise import dropout1d as dropout1d
from tinygrad_cv.ops.noise import dropout2d as dropout2d
from tinygrad_cv.ops.noise import dropout3d as dropout3d
from tinygrad_cv.ops.noise import gaussian_noise as gaussian_noise
from tinygrad_cv.ops.noise import vanilla_dropout as vanilla_dropout
from tinygrad_cv.ops.norm import batch_norm as batch_norm
from tinygrad_cv.ops.norm import group_norm as group_norm
from tinygrad_cv.ops.norm import instance_norm as instance_norm
from tinygrad_cv.ops.norm import layer_norm as layer_norm
from tinygrad_cv.ops.norm import local_response_norm as local_response_norm
from tinygrad_cv.ops.norm import normalize as normalize
from tinygrad_cv.ops.norm import rms_norm as rms_norm
from tinygrad_cv.ops.norm import subtract_mean as subtract_mean
from tinygrad_cv.ops.pool import adaptive_avg_pool1d as adaptive_avg_pool1d
from tinygrad_cv.ops.pool import adaptive_avg_pool2d as adaptive_avg_pool2d
from tinygrad_cv.ops.pool import adaptive_avg_pool3d as adaptive_avg_pool3d
from tinygrad_cv.ops.pool import adaptive_max_pool1d as adaptive_max_pool1d
from tinygrad_cv.ops.pool import adaptive_max_pool2d as adaptive_max_pool2d
from tinygrad_cv.ops.pool import adaptive_max_pool3d as adaptive_max_pool3d
from tinygrad_cv.ops.pool import avg_pool1d as avg_pool1d
from tinygrad_cv.ops.pool import avg_pool2d as avg_pool2d
from tinygrad_cv.ops.pool import avg_pool3d as avg_pool3d
from tinygrad_cv.ops.pool import lp_pool1d as lp_pool1d
from tinygrad_cv.ops.pool import lp_pool2d as lp_pool2d
from tinygrad_cv.ops.pool import lp_pool3d as lp_pool3d
from tinygrad_cv.ops.pool import max_pool1d as max_pool1d
from tinygrad_cv.ops.pool import max_pool2d as max_pool2d
from tinygrad_cv.ops.pool import max_pool3d as max_pool3d
from tinygrad_cv.ops.pool import max_unpool1d as max_unpool1d
from tinygrad_cv.ops.pool import max_unpool2d as max_unpool2d
from tinygrad_cv.ops.pool import max_unpool3d as max_unpool3d
from tinygrad_cv.ops.reduce import all as all
from tinygrad_cv.ops.reduce import amax as amax
from tinygrad_cv.ops.reduce import amin as amin
from tinygrad_cv.ops.reduce import aminmax as aminmax
from tinygrad_cv.ops.reduce import any as any
from tinygrad_cv.ops.reduce import argmax as argmax
from tinygrad_cv.ops.reduce import argmin as argmin
from tinygrad_cv.ops.reduce import count_nonzero as count_nonzero
from tinygrad_cv.ops.reduce import cummax as cummax
from tinygrad_cv.ops.reduce import cummin as cummin
from tinygrad_cv.ops.reduce import cumprod as cumprod
from tinygrad_cv.ops.reduce import cumsum as cumsum
from tinygrad_cv.ops.reduce import diff as diff
from tinygrad_cv.ops.reduce import gradient as gradient
from tinygrad_cv.ops.reduce import logcumsumexp as logcumsumexp
from tinygrad_cv.ops.reduce import logsumexp as logsumexp
from tinygrad_cv.ops.reduce import max as max
from tinygrad_cv.ops.reduce import mean as mean
from tinygrad_cv.ops.reduce import min as min
from tinygrad_cv.ops.reduce import nanmean as nanmean
from tinygrad_cv.ops.reduce import nansum as nansum
from tinygrad_cv.ops.reduce import norm as norm
from tinygrad_cv.ops.reduce import prod as prod
from tinygrad_cv.ops.reduce import std as std
from tinygrad_cv.ops.reduce import std_mean as std_mean
from tinygrad_cv.ops.reduce import sum as sum
from tinygrad_cv.ops.reduce import var as var
from tinygrad_cv.ops.reduce import var_mean as var_mean
from tinygrad_cv.ops.shape import atleast_1d as atleast_1d
from tinygrad_cv.ops.shape import atleast_2d as atleast_2d
from tinygrad_cv.ops.shape import atleast_3d as atleast_3d
from tinygrad_cv.ops.shape import broadcast_to as broadcast_to
from tinygrad_cv.ops.shape import cat as cat
from tinygrad_cv.ops.shape import chunk as chunk
from tinygrad_cv.ops.shape import column_stack as column_stack
from tinygrad_cv.ops.shape import concat as concat
from tinygrad_cv.ops.shape import concatenate as concatenate
from tinygrad_cv.ops.shape import dsplit as dsplit
from tinygrad_cv.ops.shape import dstack as dstack
from tinygrad_cv.ops.shape import expand as expand
from tinygrad_cv.ops.shape import flatten as flatten
from tinygrad_cv.ops.shape import flip as flip
from tinygrad_cv.ops.shape import fliplr as fliplr
from tinygrad_cv.ops.shape import flipud as flipud
from tinygrad_cv.ops.shape import hsplit as hsplit
from tinygrad_cv.ops.shape import hstack as hstack
from tinygrad_cv.ops.shape import meshgrid as meshgrid
from tinygrad_cv.ops.shape import moveaxis as moveaxis
from tinygrad_cv.ops.shape import movedim as movedim
from tinygrad_cv.ops.shape import pad as pad
from tinygrad_cv.ops.shape import permute as permute
from tinygrad_cv.ops.shape import ravel as ravel
from tinygrad_cv.ops.shape import repeat_interleave as repeat_interleave
from tinygrad_cv.ops.shape import reshape as reshape
from tinygrad_cv.ops.shape import roll as roll
from tinygrad_cv.ops.shape import row_stack as row_stack
from tinygrad_cv.ops.shape import split as split
from tinygrad_cv.ops.shape import squeeze as squeeze
from tinygrad_cv.ops.shape import stack as stack
from tinygrad_cv.ops.shape import swapaxes as swapaxes
from tinygrad_cv.ops.shape import take_along_dim as take_along_dim
from tinygrad_cv.ops.shape import tensor_split as tensor_split
from tinygrad_cv.ops.shape import tile as tile
from tinygrad_cv.ops.shape import transpose as transpose
from tinygrad_cv.ops.shape import unbind as unbind
from tinygrad_cv.ops.shape import unflatten as unflatten
from tinygrad_cv.ops.shape import unsqueeze as unsqueeze
from tinygrad_cv.ops.shape import vsplit as vsplit
from tinygrad_cv.ops.shape import vstack as vstack
from tinygrad_cv.ops.sort import argsort as argsort
from tinygrad_cv.ops.sort import bincount as bincount
from tinygrad_cv.ops.sort import bucketize as bucketize
from tinygrad_cv.ops.sort import histc as histc
from tinygrad_cv.ops.sort import kthvalue as kthvalue
from tinygrad_cv.ops.sort import median as median
from tinygrad_cv.ops.sort import msort as msort
from tinygrad_cv.ops.sort import searchsorted as searchsorted
from tinygrad_cv.ops.sort import sort as sort
from tinygrad_cv.ops.sort import topk as topk
from tinygrad_cv.ops.sort import unique as unique
from tinygrad_cv.ops.sort import unique_consecutive as unique_consecutive

# isort: split
from tinygrad_cv import data as data
from tinygrad_cv import linalg as linalg
from tinygrad_cv import methods as methods
from tinygrad_cv import nn as nn
from tinygrad_cv import optim as optim
from tinygrad_cv.creation import arange as arange
from tinygrad_cv.creation import as_tensor as as_tensor
from tinygrad_cv.creation import asarray as asarray
from tinygrad_cv.creation import empty as empty
from tinygrad_cv.creation import empty_like as empty_like
from tinygrad_cv.creation import eye as eye
from tinygrad_cv.creation import from_numpy as from_numpy
from tinygrad_cv.creation import full as full
from tinygrad_cv.creation import full_like as full_like
from tinygrad_cv.creation import linspace as linspace
from tinygrad_cv.creation import logspace as logspace
from tinygrad_cv.creation import ones as ones
from tinygrad_cv.creation import ones_like as ones_like
from tinygrad_cv.creation import scalar_tensor as scalar_tensor
from tinygrad_cv.creation import tensor as tensor
from tinygrad_cv.creation import tril_indices as tril_indices
from tinygrad_cv.creation import triu_indices as triu_indices
from tinygrad_cv.creation import zeros as zeros
from tinygrad_cv.creation import zeros_like as zeros_like
from tinygrad_cv.dtypes import can_cast as can_cast
from tinygrad_cv.dtypes import is_floating_point as is_floating_point
from tinygrad_cv.dtypes import is_tensor as is_tensor
from tinygrad_cv.dtypes import numel as numel
from tinygrad_cv.dtypes import promote_types as promote_types
from tinygrad_cv.dtypes import result_type as result_type
from tinygrad_cv.functional import checkpoint as checkpoint
from tinygrad_cv.functional import hessian as hessian
from tinygrad_cv.functional import hvp as hvp
from tinygrad_cv.functional import jacobian as jacobian
from tinygrad_cv.functional import jvp as jvp
from tinygrad_cv.functional import vjp as vjp
from tinygrad_cv.random import bernoulli as bernoulli
from tinygrad_cv.random import multinomial as multinomial
from tinygrad_cv.random import normal as normal
from tinygrad_cv.random import rand as rand
from tinygrad_cv.random import rand_like as rand_like
from tinygrad_cv.random import randint as randint
from tinygrad_cv.random import randint_like as randint_like
from tinygrad_cv.random import randn as randn
from tinygrad_cv.random import randn_like as randn_like
from tinygrad_cv.random import randperm as randperm
from tinygrad_cv.storage import load as load
from tinygrad_cv.storage import save as save

float16, float32, float64 = (_host.dtype(name) for name in ("float16", "float32", "float64"))
int8, int16, int32 = (_host.dtype(name) for name in ("int8", "int16", "int32"))
int64, uint8 = (_host.dtype(name) for name in ("int64", "uint8"))
bool = _host.dtype("bool")

__version__ = _version("tinygrad_cv")


def _in_notebook(self: _Any, include: _Any = None, exclude: _Any = None) -> dict[str, str]:
    """What a notebook shows of a tensor or a module (see `viz`)."""
    from tinygrad_cv.viz.notebook import bundle

    return bundle(self)


# The engine and the layers know nothing of pictures, so they are told here.
for _shown in (Tensor, nn.Module):
    setattr(_shown, "_repr_mimebundle_", _in_notebook)  # noqa: B010


def __getattr__(name: str) -> _Any:
    """`tinygrad_cv.viz`, `.train` and others are imported when they are first used."""
    if name in ("onnx", "testing", "train", "viz"):
        return _import_module(f"tinygrad_cv.{name}")
    raise AttributeError(f"module 'tinygrad_cv' has no attribute {name!r}")
