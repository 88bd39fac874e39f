"""Written by `python -m tests.stubs`."""

# ruff: noqa

from collections.abc import Callable
from collections.abc import Sequence
from tinygrad_cv._apply import apply as apply
from tinygrad_cv._apply import function as function
from tinygrad_cv._autograd import grad as grad
from tinygrad_cv._autograd import graph as graph
from tinygrad_cv._grad_mode import enable_grad as enable_grad
from tinygrad_cv._grad_mode import inference_mode as inference_mode
from tinygrad_cv._grad_mode import is_grad_enabled as is_grad_enabled
from tinygrad_cv._grad_mode import is_inference_mode_enabled as is_inference_mode_enabled
from tinygrad_cv._grad_mode import no_grad as no_grad
from tinygrad_cv._grad_mode import set_grad_enabled as set_grad_enabled
from tinygrad_cv._graph import Graph as Graph
from tinygrad_cv._graph import Node as Node
from tinygrad_cv._methods import fill as fill
from tinygrad_cv._methods import fill_ as fill_
from tinygrad_cv._methods import resize_as_ as resize_as_
from tinygrad_cv._op import Op as Op
from tinygrad_cv._recompute import recompute as recompute
from tinygrad_cv._symbol import formula as formula
from tinygrad_cv._tensor import Size as Size
from tinygrad_cv._tensor import Tensor as Tensor
from tinygrad_cv.amp.autocast_mode import autocast as autocast
from tinygrad_cv.amp.autocast_mode import get_autocast_dtype as get_autocast_dtype
from tinygrad_cv.amp.autocast_mode import is_autocast_enabled as is_autocast_enabled
from tinygrad_cv.amp.grad_scaler import GradScaler as GradScaler
from tinygrad_cv.backend import get_default_device as get_default_device
from tinygrad_cv.backend import set_default_device as set_default_device
from tinygrad_cv.backend.devices import device as device
from tinygrad_cv.backend.switch import get_conv_precision as get_conv_precision
from tinygrad_cv.backend.switch import get_kernels as get_kernels
from tinygrad_cv.backend.switch import set_conv_precision as set_conv_precision
from tinygrad_cv.backend.switch import set_kernels as set_kernels
from tinygrad_cv.backend.threads import get_num_threads as get_num_threads
from tinygrad_cv.backend.threads import set_num_threads as set_num_threads
from tinygrad_cv.creation import as_tensor as as_tensor
from tinygrad_cv.creation import asarray as asarray
from tinygrad_cv.creation import from_dlpack as from_dlpack
from tinygrad_cv.creation import from_numpy as from_numpy
from tinygrad_cv.dtypes import broadcast_shapes as broadcast_shapes
from tinygrad_cv.dtypes import can_cast as can_cast
from tinygrad_cv.dtypes import finfo as finfo
from tinygrad_cv.dtypes import iinfo as iinfo
from tinygrad_cv.dtypes import is_complex as is_complex
from tinygrad_cv.dtypes import is_floating_point as is_floating_point
from tinygrad_cv.dtypes import is_nonzero as is_nonzero
from tinygrad_cv.dtypes import is_signed as is_signed
from tinygrad_cv.dtypes import is_tensor as is_tensor
from tinygrad_cv.dtypes import numel as numel
from tinygrad_cv.dtypes import promote_types as promote_types
from tinygrad_cv.dtypes import result_type as result_type
from tinygrad_cv.dtypes import typename as typename
from tinygrad_cv.func.vectorized import vmap as vmap
from tinygrad_cv.layouts import layout as layout
from tinygrad_cv.layouts import memory_format as memory_format
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
from tinygrad_cv.ops.activation import maxout as maxout
from tinygrad_cv.ops.activation import mish as mish
from tinygrad_cv.ops.activation import prelu as prelu
from tinygrad_cv.ops.activation import relu6 as relu6
from tinygrad_cv.ops.activation import rrelu as rrelu
from tinygrad_cv.ops.activation import selu as selu
from tinygrad_cv.ops.activation import silu as silu
from tinygrad_cv.ops.activation import softmax as softmax
from tinygrad_cv.ops.activation import softmin as softmin
from tinygrad_cv.ops.activation import softplus as softplus
from tinygrad_cv.ops.activation import softshrink as softshrink
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
from tinygrad_cv.ops.elementwise import add as add
from tinygrad_cv.ops.elementwise import addcdiv as addcdiv
from tinygrad_cv.ops.elementwise import addcmul as addcmul
from tinygrad_cv.ops.elementwise import allclose as allclose
from tinygrad_cv.ops.elementwise import angle as angle
from tinygrad_cv.ops.elementwise import clamp as clamp
from tinygrad_cv.ops.elementwise import clamp_max as clamp_max
from tinygrad_cv.ops.elementwise import clamp_min as clamp_min
from tinygrad_cv.ops.elementwise import conj as conj
from tinygrad_cv.ops.elementwise import conj_physical as conj_physical
from tinygrad_cv.ops.elementwise import deg2rad as deg2rad
from tinygrad_cv.ops.elementwise import digamma as digamma
from tinygrad_cv.ops.elementwise import div as div
from tinygrad_cv.ops.elementwise import equal as equal
from tinygrad_cv.ops.elementwise import float_power as float_power
from tinygrad_cv.ops.elementwise import fmax as fmax
from tinygrad_cv.ops.elementwise import fmin as fmin
from tinygrad_cv.ops.elementwise import frac as frac
from tinygrad_cv.ops.elementwise import heaviside as heaviside
from tinygrad_cv.ops.elementwise import isclose as isclose
from tinygrad_cv.ops.elementwise import isneginf as isneginf
from tinygrad_cv.ops.elementwise import isposinf as isposinf
from tinygrad_cv.ops.elementwise import isreal as isreal
from tinygrad_cv.ops.elementwise import ldexp as ldexp
from tinygrad_cv.ops.elementwise import lerp as lerp
from tinygrad_cv.ops.elementwise import logit as logit
from tinygrad_cv.ops.elementwise import mvlgamma as mvlgamma
from tinygrad_cv.ops.elementwise import nan_to_num as nan_to_num
from tinygrad_cv.ops.elementwise import polygamma as polygamma
from tinygrad_cv.ops.elementwise import positive as positive
from tinygrad_cv.ops.elementwise import pow as pow
from tinygrad_cv.ops.elementwise import rad2deg as rad2deg
from tinygrad_cv.ops.elementwise import real as real
from tinygrad_cv.ops.elementwise import round as round
from tinygrad_cv.ops.elementwise import rsub as rsub
from tinygrad_cv.ops.elementwise import sgn as sgn
from tinygrad_cv.ops.elementwise import signbit as signbit
from tinygrad_cv.ops.elementwise import sinc as sinc
from tinygrad_cv.ops.elementwise import sub as sub
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
from tinygrad_cv.ops.index import combinations as combinations
from tinygrad_cv.ops.index import diag as diag
from tinygrad_cv.ops.index import diag_embed as diag_embed
from tinygrad_cv.ops.index import diagflat as diagflat
from tinygrad_cv.ops.index import diagonal as diagonal
from tinygrad_cv.ops.index import diagonal_scatter as diagonal_scatter
from tinygrad_cv.ops.index import embedding as embedding
from tinygrad_cv.ops.index import gather as gather
from tinygrad_cv.ops.index import index_add as index_add
from tinygrad_cv.ops.index import index_copy as index_copy
from tinygrad_cv.ops.index import index_fill as index_fill
from tinygrad_cv.ops.index import index_put as index_put
from tinygrad_cv.ops.index import index_reduce as index_reduce
from tinygrad_cv.ops.index import index_select as index_select
from tinygrad_cv.ops.index import masked_fill as masked_fill
from tinygrad_cv.ops.index import masked_scatter as masked_scatter
from tinygrad_cv.ops.index import masked_select as masked_select
from tinygrad_cv.ops.index import narrow as narrow
from tinygrad_cv.ops.index import nonzero as nonzero
from tinygrad_cv.ops.index import one_hot as one_hot
from tinygrad_cv.ops.index import put as put
from tinygrad_cv.ops.index import scatter as scatter
from tinygrad_cv.ops.index import scatter_add as scatter_add
from tinygrad_cv.ops.index import scatter_reduce as scatter_reduce
from tinygrad_cv.ops.index import select as select
from tinygrad_cv.ops.index import select_scatter as select_scatter
from tinygrad_cv.ops.index import slice_scatter as slice_scatter
from tinygrad_cv.ops.index import take as take
from tinygrad_cv.ops.index import tril as tril
from tinygrad_cv.ops.index import triu as triu
from tinygrad_cv.ops.index import unravel_index as unravel_index
from tinygrad_cv.ops.linalg import addbmm as addbmm
from tinygrad_cv.ops.linalg import addmm as addmm
from tinygrad_cv.ops.linalg import addmv as addmv
from tinygrad_cv.ops.linalg import addr as addr
from tinygrad_cv.ops.linalg import baddbmm as baddbmm
from tinygrad_cv.ops.linalg import bilinear as bilinear
from tinygrad_cv.ops.linalg import bmm as bmm
from tinygrad_cv.ops.linalg import cdist as cdist
from tinygrad_cv.ops.linalg import chain_matmul as chain_matmul
from tinygrad_cv.ops.linalg import cholesky as cholesky
from tinygrad_cv.ops.linalg import cholesky_inverse as cholesky_inverse
from tinygrad_cv.ops.linalg import cholesky_solve as cholesky_solve
from tinygrad_cv.ops.linalg import cross as cross
from tinygrad_cv.ops.linalg import det as det
from tinygrad_cv.ops.linalg import dist as dist
from tinygrad_cv.ops.linalg import dot as dot
from tinygrad_cv.ops.linalg import einsum as einsum
from tinygrad_cv.ops.linalg import inner as inner
from tinygrad_cv.ops.linalg import kron as kron
from tinygrad_cv.ops.linalg import linear as linear
from tinygrad_cv.ops.linalg import logdet as logdet
from tinygrad_cv.ops.linalg import matmul as matmul
from tinygrad_cv.ops.linalg import matrix_exp as matrix_exp
from tinygrad_cv.ops.linalg import matrix_power as matrix_power
from tinygrad_cv.ops.linalg import mm as mm
from tinygrad_cv.ops.linalg import mv as mv
from tinygrad_cv.ops.linalg import nuclear_norm as nuclear_norm
from tinygrad_cv.ops.linalg import outer as outer
from tinygrad_cv.ops.linalg import pdist as pdist
from tinygrad_cv.ops.linalg import pinverse as pinverse
from tinygrad_cv.ops.linalg import renorm as renorm
from tinygrad_cv.ops.linalg import slogdet as slogdet
from tinygrad_cv.ops.linalg import svd as svd
from tinygrad_cv.ops.linalg import tensordot as tensordot
from tinygrad_cv.ops.linalg import trace as trace
from tinygrad_cv.ops.linalg import vander as vander
from tinygrad_cv.ops.linalg import vdot as vdot
from tinygrad_cv.ops.loss import binary_cross_entropy as binary_cross_entropy
from tinygrad_cv.ops.loss import (
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
)
from tinygrad_cv.ops.loss import cosine_embedding_loss as cosine_embedding_loss
from tinygrad_cv.ops.loss import cosine_similarity as cosine_similarity
from tinygrad_cv.ops.loss import cross_entropy as cross_entropy
from tinygrad_cv.ops.loss import ctc_loss as ctc_loss
from tinygrad_cv.ops.loss import euclidean_loss as euclidean_loss
from tinygrad_cv.ops.loss import gaussian_nll_loss as gaussian_nll_loss
from tinygrad_cv.ops.loss import hinge_embedding_loss as hinge_embedding_loss
from tinygrad_cv.ops.loss import huber_loss as huber_loss
from tinygrad_cv.ops.loss import kl_div as kl_div
from tinygrad_cv.ops.loss import l1_loss as l1_loss
from tinygrad_cv.ops.loss import margin_ranking_loss as margin_ranking_loss
from tinygrad_cv.ops.loss import mse_loss as mse_loss
from tinygrad_cv.ops.loss import multi_margin_loss as multi_margin_loss
from tinygrad_cv.ops.loss import multilabel_margin_loss as multilabel_margin_loss
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
from tinygrad_cv.ops.noise import feature_alpha_dropout as feature_alpha_dropout
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
from tinygrad_cv.ops.recurrent import gru_cell as gru_cell
from tinygrad_cv.ops.recurrent import lstm_cell as lstm_cell
from tinygrad_cv.ops.recurrent import rnn_relu_cell as rnn_relu_cell
from tinygrad_cv.ops.recurrent import rnn_tanh_cell as rnn_tanh_cell
from tinygrad_cv.ops.reduce import all as all
from tinygrad_cv.ops.reduce import amax as amax
from tinygrad_cv.ops.reduce import amin as amin
from tinygrad_cv.ops.reduce import aminmax as aminmax
from tinygrad_cv.ops.reduce import any as any
from tinygrad_cv.ops.reduce import argmax as argmax
from tinygrad_cv.ops.reduce import argmin as argmin
from tinygrad_cv.ops.reduce import corrcoef as corrcoef
from tinygrad_cv.ops.reduce import count_nonzero as count_nonzero
from tinygrad_cv.ops.reduce import cov as cov
from tinygrad_cv.ops.reduce import cummax as cummax
from tinygrad_cv.ops.reduce import cummin as cummin
from tinygrad_cv.ops.reduce import cumprod as cumprod
from tinygrad_cv.ops.reduce import cumsum as cumsum
from tinygrad_cv.ops.reduce import cumulative_trapezoid as cumulative_trapezoid
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
from tinygrad_cv.ops.reduce import trapezoid as trapezoid
from tinygrad_cv.ops.reduce import var as var
from tinygrad_cv.ops.reduce import var_mean as var_mean
from tinygrad_cv.ops.shape import adjoint as adjoint
from tinygrad_cv.ops.shape import atleast_1d as atleast_1d
from tinygrad_cv.ops.shape import atleast_2d as atleast_2d
from tinygrad_cv.ops.shape import atleast_3d as atleast_3d
from tinygrad_cv.ops.shape import block_diag as block_diag
from tinygrad_cv.ops.shape import broadcast_tensors as broadcast_tensors
from tinygrad_cv.ops.shape import broadcast_to as broadcast_to
from tinygrad_cv.ops.shape import cartesian_prod as cartesian_prod
from tinygrad_cv.ops.shape import cat as cat
from tinygrad_cv.ops.shape import chunk as chunk
from tinygrad_cv.ops.shape import column_stack as column_stack
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
from tinygrad_cv.ops.shape import movedim as movedim
from tinygrad_cv.ops.shape import pad as pad
from tinygrad_cv.ops.shape import permute as permute
from tinygrad_cv.ops.shape import ravel as ravel
from tinygrad_cv.ops.shape import repeat_interleave as repeat_interleave
from tinygrad_cv.ops.shape import reshape as reshape
from tinygrad_cv.ops.shape import roll as roll
from tinygrad_cv.ops.shape import split as split
from tinygrad_cv.ops.shape import split_with_sizes as split_with_sizes
from tinygrad_cv.ops.shape import squeeze as squeeze
from tinygrad_cv.ops.shape import stack as stack
from tinygrad_cv.ops.shape import swapaxes as swapaxes
from tinygrad_cv.ops.shape import swapdims as swapdims
from tinygrad_cv.ops.shape import t as t
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
from tinygrad_cv.ops.sort import isin as isin
from tinygrad_cv.ops.sort import kthvalue as kthvalue
from tinygrad_cv.ops.sort import median as median
from tinygrad_cv.ops.sort import mode as mode
from tinygrad_cv.ops.sort import msort as msort
from tinygrad_cv.ops.sort import nanmedian as nanmedian
from tinygrad_cv.ops.sort import nanquantile as nanquantile
from tinygrad_cv.ops.sort import quantile as quantile
from tinygrad_cv.ops.sort import searchsorted as searchsorted
from tinygrad_cv.ops.sort import sort as sort
from tinygrad_cv.ops.sort import topk as topk
from tinygrad_cv.ops.sort import unique as unique
from tinygrad_cv.ops.sort import unique_consecutive as unique_consecutive
from tinygrad_cv.printing import set_printoptions as set_printoptions
from tinygrad_cv.program.compiled import Compiled as Compiled
from tinygrad_cv.program.compiled import compile as compile
from tinygrad_cv.random import Generator as Generator
from tinygrad_cv.random import bernoulli as bernoulli
from tinygrad_cv.random import binomial as binomial
from tinygrad_cv.random import get_rng_state as get_rng_state
from tinygrad_cv.random import initial_seed as initial_seed
from tinygrad_cv.random import manual_seed as manual_seed
from tinygrad_cv.random import multinomial as multinomial
from tinygrad_cv.random import poisson as poisson
from tinygrad_cv.random import seed as seed
from tinygrad_cv.random import set_rng_state as set_rng_state
from tinygrad_cv.signal import bartlett_window as bartlett_window
from tinygrad_cv.signal import blackman_window as blackman_window
from tinygrad_cv.signal import hamming_window as hamming_window
from tinygrad_cv.signal import hann_window as hann_window
from tinygrad_cv.signal import kaiser_window as kaiser_window
from tinygrad_cv.storage import load as load
from tinygrad_cv.storage import save as save
from tinygrad_cv.switches import (
    are_deterministic_algorithms_enabled as are_deterministic_algorithms_enabled,
)
from tinygrad_cv.switches import get_float32_matmul_precision as get_float32_matmul_precision
from tinygrad_cv.switches import get_num_interop_threads as get_num_interop_threads
from tinygrad_cv.switches import (
    is_deterministic_algorithms_warn_only_enabled as is_deterministic_algorithms_warn_only_enabled,
)
from tinygrad_cv.switches import set_float32_matmul_precision as set_float32_matmul_precision
from tinygrad_cv.switches import set_flush_denormal as set_flush_denormal
from tinygrad_cv.switches import set_num_interop_threads as set_num_interop_threads
from tinygrad_cv.switches import use_deterministic_algorithms as use_deterministic_algorithms
from tinygrad_cv.transforms import hessian as hessian
from tinygrad_cv.transforms import hvp as hvp
from tinygrad_cv.transforms import jacobian as jacobian
from tinygrad_cv.transforms import jvp as jvp
from tinygrad_cv.transforms import vhp as vhp
from tinygrad_cv.transforms import vjp as vjp
from tinygrad_cv.typed import BoolTensor as BoolTensor
from tinygrad_cv.typed import ByteTensor as ByteTensor
from tinygrad_cv.typed import CharTensor as CharTensor
from tinygrad_cv.typed import DoubleTensor as DoubleTensor
from tinygrad_cv.typed import FloatTensor as FloatTensor
from tinygrad_cv.typed import HalfTensor as HalfTensor
from tinygrad_cv.typed import IntTensor as IntTensor
from tinygrad_cv.typed import LongTensor as LongTensor
from tinygrad_cv.typed import ShortTensor as ShortTensor
from tinygrad_cv.typed import get_default_dtype as get_default_dtype
from tinygrad_cv.typed import set_default_dtype as set_default_dtype
from tinygrad_cv.typed import set_default_tensor_type as set_default_tensor_type
from typing import Any

def abs(input: Tensor) -> Tensor: ...
def abs_(input: Tensor) -> Tensor: ...
def absolute(input: Tensor) -> Tensor: ...
def acos(input: Tensor) -> Tensor: ...
def acos_(input: Tensor) -> Tensor: ...
def acosh(input: Tensor) -> Tensor: ...
def acosh_(input: Tensor) -> Tensor: ...
def addmv_(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor: ...
def arange(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def arccos(input: Tensor) -> Tensor: ...
def arccos_(input: Tensor) -> Tensor: ...
def arccosh(input: Tensor) -> Tensor: ...
def arccosh_(input: Tensor) -> Tensor: ...
def arcsin(input: Tensor) -> Tensor: ...
def arcsin_(input: Tensor) -> Tensor: ...
def arcsinh(input: Tensor) -> Tensor: ...
def arcsinh_(input: Tensor) -> Tensor: ...
def arctan(input: Tensor) -> Tensor: ...
def arctan2(input: Any, other: Any) -> Tensor: ...
def arctan_(input: Tensor) -> Tensor: ...
def arctanh(input: Tensor) -> Tensor: ...
def arctanh_(input: Tensor) -> Tensor: ...
def asin(input: Tensor) -> Tensor: ...
def asin_(input: Tensor) -> Tensor: ...
def asinh(input: Tensor) -> Tensor: ...
def asinh_(input: Tensor) -> Tensor: ...
def atan(input: Tensor) -> Tensor: ...
def atan2(input: Any, other: Any) -> Tensor: ...
def atan_(input: Tensor) -> Tensor: ...
def atanh(input: Tensor) -> Tensor: ...
def atanh_(input: Tensor) -> Tensor: ...
def bitwise_and(input: Any, other: Any) -> Tensor: ...
def bitwise_left_shift(input: Any, other: Any) -> Tensor: ...
def bitwise_not(input: Tensor) -> Tensor: ...
def bitwise_or(input: Any, other: Any) -> Tensor: ...
def bitwise_right_shift(input: Any, other: Any) -> Tensor: ...
def bitwise_xor(input: Any, other: Any) -> Tensor: ...
def ceil(input: Tensor) -> Tensor: ...
def ceil_(input: Tensor) -> Tensor: ...
def celu_(input: Tensor, alpha: float = 1.0) -> Tensor: ...
def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    determinism_check: str = "default",
    debug: bool = False,
    **kwargs: Any,
) -> Any: ...
def clamp_(input: Tensor, min: Any = None, max: Any = None) -> Tensor: ...
def clamp_max_(input: Tensor, max: Any) -> Tensor: ...
def clamp_min_(input: Tensor, min: Any) -> Tensor: ...
def clip(input: Tensor, min: Any = None, max: Any = None) -> Tensor: ...
def clip_(input: Tensor, min: Any = None, max: Any = None) -> Tensor: ...
def clone(input: Tensor) -> Tensor: ...
def concat(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor: ...
def concatenate(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor: ...
def conj_physical_(input: Tensor) -> Tensor: ...
def copysign(input: Any, other: Any) -> Tensor: ...
def cos(input: Tensor) -> Tensor: ...
def cos_(input: Tensor) -> Tensor: ...
def cosh(input: Tensor) -> Tensor: ...
def cosh_(input: Tensor) -> Tensor: ...
def deg2rad_(input: Tensor) -> Tensor: ...
def detach(self: Tensor) -> Tensor: ...
def detach_(self: Tensor) -> Tensor: ...
def divide(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor: ...
def empty(
    *sizes: Any,
    size: Any = (),
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def empty_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def eq(input: Any, other: Any) -> Tensor: ...
def erf(input: Tensor) -> Tensor: ...
def erf_(input: Tensor) -> Tensor: ...
def erfc(input: Tensor) -> Tensor: ...
def erfc_(input: Tensor) -> Tensor: ...
def erfinv(input: Tensor) -> Tensor: ...
def exp(input: Tensor) -> Tensor: ...
def exp2(input: Tensor) -> Tensor: ...
def exp2_(input: Tensor) -> Tensor: ...
def exp_(input: Tensor) -> Tensor: ...
def expm1(input: Tensor) -> Tensor: ...
def expm1_(input: Tensor) -> Tensor: ...
def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def fix(input: Tensor) -> Tensor: ...
def fix_(input: Tensor) -> Tensor: ...
def floor(input: Tensor) -> Tensor: ...
def floor_(input: Tensor) -> Tensor: ...
def floor_divide(input: Any, other: Any) -> Tensor: ...
def fmod(input: Any, other: Any) -> Tensor: ...
def frac_(input: Tensor) -> Tensor: ...
def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def gcd(input: Any, other: Any) -> Tensor: ...
def gcd_(input: Any, other: Any) -> Tensor: ...
def ge(input: Any, other: Any) -> Tensor: ...
def ger(input: Tensor, vec2: Tensor) -> Tensor: ...
def get_device(self: Tensor) -> int: ...
def greater(input: Any, other: Any) -> Tensor: ...
def greater_equal(input: Any, other: Any) -> Tensor: ...
def gt(input: Any, other: Any) -> Tensor: ...
def hypot(input: Any, other: Any) -> Tensor: ...
def index_put_(
    input: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False
) -> Tensor: ...
def inverse(A: Tensor) -> Tensor: ...
def is_same_size(self: Tensor, other: Tensor) -> bool: ...
def isfinite(input: Tensor) -> Tensor: ...
def isinf(input: Tensor) -> Tensor: ...
def isnan(input: Tensor) -> Tensor: ...
def lcm(input: Any, other: Any) -> Tensor: ...
def lcm_(input: Any, other: Any) -> Tensor: ...
def ldexp_(input: Tensor, other: Tensor) -> Tensor: ...
def le(input: Any, other: Any) -> Tensor: ...
def less(input: Any, other: Any) -> Tensor: ...
def less_equal(input: Any, other: Any) -> Tensor: ...
def lgamma(input: Tensor) -> Tensor: ...
def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def log(input: Tensor) -> Tensor: ...
def log10(input: Tensor) -> Tensor: ...
def log10_(input: Tensor) -> Tensor: ...
def log1p(input: Tensor) -> Tensor: ...
def log1p_(input: Tensor) -> Tensor: ...
def log2(input: Tensor) -> Tensor: ...
def log2_(input: Tensor) -> Tensor: ...
def log_(input: Tensor) -> Tensor: ...
def logaddexp(input: Any, other: Any) -> Tensor: ...
def logaddexp2(input: Any, other: Any) -> Tensor: ...
def logical_and(input: Any, other: Any) -> Tensor: ...
def logical_not(input: Tensor) -> Tensor: ...
def logical_or(input: Any, other: Any) -> Tensor: ...
def logical_xor(input: Any, other: Any) -> Tensor: ...
def logit_(input: Tensor, eps: float | None = None) -> Tensor: ...
def logsigmoid(input: Tensor) -> Tensor: ...
def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def lt(input: Any, other: Any) -> Tensor: ...
def maximum(input: Any, other: Any) -> Tensor: ...
def minimum(input: Any, other: Any) -> Tensor: ...
def moveaxis(
    input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]
) -> Tensor: ...
def mul(input: Any, other: Any) -> Tensor: ...
def multiply(input: Any, other: Any) -> Tensor: ...
def nan_to_num_(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor: ...
def native_channel_shuffle(input: Tensor, groups: int) -> Tensor: ...
def ne(input: Any, other: Any) -> Tensor: ...
def neg(input: Tensor) -> Tensor: ...
def neg_(input: Tensor) -> Tensor: ...
def negative(input: Tensor) -> Tensor: ...
def negative_(input: Tensor) -> Tensor: ...
def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def not_equal(input: Any, other: Any) -> Tensor: ...
def ones(
    *sizes: Any,
    size: Any = (),
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def ones_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def rad2deg_(input: Tensor) -> Tensor: ...
def rand(
    *sizes: Any,
    size: Any = (),
    generator: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def rand_like(
    input: Tensor,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def randint(
    low: Any = None,
    high: Any = None,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = "int64",
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def randint_like(
    input: Tensor,
    low: Any,
    high: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def randn(
    *sizes: Any,
    size: Any = (),
    generator: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def randn_like(
    input: Tensor,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def randperm(
    n: int,
    *,
    generator: Any = None,
    dtype: Any = "int64",
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def reciprocal(input: Tensor) -> Tensor: ...
def reciprocal_(input: Tensor) -> Tensor: ...
def relu(input: Tensor) -> Tensor: ...
def relu_(input: Tensor) -> Tensor: ...
def remainder(input: Any, other: Any) -> Tensor: ...
def resolve_conj(input: Tensor) -> Tensor: ...
def resolve_neg(input: Tensor) -> Tensor: ...
def round_(input: Tensor, *, decimals: int = 0) -> Tensor: ...
def row_stack(tensors: Sequence[Tensor]) -> Tensor: ...
def rrelu_(
    input: Tensor,
    lower: float = 0.125,
    upper: float = 0.3333333333333333,
    training: bool = False,
    *,
    generator: Any = None,
) -> Tensor: ...
def rsqrt(input: Tensor) -> Tensor: ...
def rsqrt_(input: Tensor) -> Tensor: ...
def scalar_tensor(
    s: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def selu_(input: Tensor) -> Tensor: ...
def sigmoid(input: Tensor) -> Tensor: ...
def sigmoid_(input: Tensor) -> Tensor: ...
def sign(input: Tensor) -> Tensor: ...
def sin(input: Tensor) -> Tensor: ...
def sin_(input: Tensor) -> Tensor: ...
def sinc_(input: Tensor) -> Tensor: ...
def sinh(input: Tensor) -> Tensor: ...
def sinh_(input: Tensor) -> Tensor: ...
def softsign(input: Tensor) -> Tensor: ...
def sqrt(input: Tensor) -> Tensor: ...
def sqrt_(input: Tensor) -> Tensor: ...
def square(input: Tensor) -> Tensor: ...
def square_(input: Tensor) -> Tensor: ...
def subtract(input: Any, other: Any, *, alpha: float = 1) -> Tensor: ...
def tan(input: Tensor) -> Tensor: ...
def tan_(input: Tensor) -> Tensor: ...
def tanh(input: Tensor) -> Tensor: ...
def tanh_(input: Tensor) -> Tensor: ...
def tanhshrink(input: Tensor) -> Tensor: ...
def tensor(
    data: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def threshold_(input: Tensor, threshold: float, value: float) -> Tensor: ...
def trapz(
    y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1
) -> Tensor: ...
def tril_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: Any = "int64",
    device: str | None = None,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def triu_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: Any = "int64",
    device: str | None = None,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def true_divide(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor: ...
def trunc(input: Tensor) -> Tensor: ...
def trunc_(input: Tensor) -> Tensor: ...
def xlogy_(input: Any, other: Any) -> Tensor: ...
def zero_(self: Tensor) -> Tensor: ...
def zeros(
    *sizes: Any,
    size: Any = (),
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
def zeros_like(
    input: Tensor,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    out: Any = None,
    layout: Any = None,
    pin_memory: Any = False,
    memory_format: Any = None,
) -> Tensor: ...
