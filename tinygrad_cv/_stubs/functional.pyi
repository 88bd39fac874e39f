"""Written by `python -m tests.stubs`."""

# ruff: noqa

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.ops.activation import celu as celu
from tinygrad_cv.ops.activation import elu as elu
from tinygrad_cv.ops.activation import gelu as gelu
from tinygrad_cv.ops.activation import glu as glu
from tinygrad_cv.ops.activation import gumbel_softmax as gumbel_softmax
from tinygrad_cv.ops.activation import hardshrink as hardshrink
from tinygrad_cv.ops.activation import hardsigmoid as hardsigmoid
from tinygrad_cv.ops.activation import hardswish as hardswish
from tinygrad_cv.ops.activation import hardtanh as hardtanh
from tinygrad_cv.ops.activation import leaky_relu as leaky_relu
from tinygrad_cv.ops.activation import log_softmax as log_softmax
from tinygrad_cv.ops.activation import mish as mish
from tinygrad_cv.ops.activation import prelu as prelu
from tinygrad_cv.ops.activation import relu6 as relu6
from tinygrad_cv.ops.activation import relu_ as relu_
from tinygrad_cv.ops.activation import rrelu as rrelu
from tinygrad_cv.ops.activation import selu as selu
from tinygrad_cv.ops.activation import silu as silu
from tinygrad_cv.ops.activation import softmax as softmax
from tinygrad_cv.ops.activation import softmin as softmin
from tinygrad_cv.ops.activation import softplus as softplus
from tinygrad_cv.ops.activation import softshrink as softshrink
from tinygrad_cv.ops.activation import threshold as threshold
from tinygrad_cv.ops.attention import multi_head_attention_forward as multi_head_attention_forward
from tinygrad_cv.ops.attention import scaled_dot_product_attention as scaled_dot_product_attention
from tinygrad_cv.ops.conv import conv1d as conv1d
from tinygrad_cv.ops.conv import conv2d as conv2d
from tinygrad_cv.ops.conv import conv3d as conv3d
from tinygrad_cv.ops.conv import conv_transpose1d as conv_transpose1d
from tinygrad_cv.ops.conv import conv_transpose2d as conv_transpose2d
from tinygrad_cv.ops.conv import conv_transpose3d as conv_transpose3d
from tinygrad_cv.ops.conv import fold as fold
from tinygrad_cv.ops.conv import unfold as unfold
from tinygrad_cv.ops.image import affine_grid as affine_grid
from tinygrad_cv.ops.image import channel_shuffle as channel_shuffle
from tinygrad_cv.ops.image import grid_sample as grid_sample
from tinygrad_cv.ops.image import interpolate as interpolate
from tinygrad_cv.ops.image import pixel_shuffle as pixel_shuffle
from tinygrad_cv.ops.image import pixel_unshuffle as pixel_unshuffle
from tinygrad_cv.ops.image import upsample as upsample
from tinygrad_cv.ops.image import upsample_bilinear as upsample_bilinear
from tinygrad_cv.ops.image import upsample_nearest as upsample_nearest
from tinygrad_cv.ops.index import embedding as embedding
from tinygrad_cv.ops.index import embedding_bag as embedding_bag
from tinygrad_cv.ops.index import one_hot as one_hot
from tinygrad_cv.ops.linalg import bilinear as bilinear
from tinygrad_cv.ops.linalg import linear as linear
from tinygrad_cv.ops.linalg import pdist as pdist
from tinygrad_cv.ops.loss import binary_cross_entropy as binary_cross_entropy
from tinygrad_cv.ops.loss import (
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
)
from tinygrad_cv.ops.loss import cosine_embedding_loss as cosine_embedding_loss
from tinygrad_cv.ops.loss import cosine_similarity as cosine_similarity
from tinygrad_cv.ops.loss import cross_entropy as cross_entropy
from tinygrad_cv.ops.loss import ctc_loss as ctc_loss
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
from tinygrad_cv.ops.loss import pairwise_distance as pairwise_distance
from tinygrad_cv.ops.loss import poisson_nll_loss as poisson_nll_loss
from tinygrad_cv.ops.loss import smooth_l1_loss as smooth_l1_loss
from tinygrad_cv.ops.loss import soft_margin_loss as soft_margin_loss
from tinygrad_cv.ops.loss import triplet_margin_loss as triplet_margin_loss
from tinygrad_cv.ops.loss import (
    triplet_margin_with_distance_loss as triplet_margin_with_distance_loss,
)
from tinygrad_cv.ops.noise import alpha_dropout as alpha_dropout
from tinygrad_cv.ops.noise import dropout as dropout
from tinygrad_cv.ops.noise import dropout1d as dropout1d
from tinygrad_cv.ops.noise import dropout2d as dropout2d
from tinygrad_cv.ops.noise import dropout3d as dropout3d
from tinygrad_cv.ops.noise import feature_alpha_dropout as feature_alpha_dropout
from tinygrad_cv.ops.norm import batch_norm as batch_norm
from tinygrad_cv.ops.norm import group_norm as group_norm
from tinygrad_cv.ops.norm import instance_norm as instance_norm
from tinygrad_cv.ops.norm import layer_norm as layer_norm
from tinygrad_cv.ops.norm import local_response_norm as local_response_norm
from tinygrad_cv.ops.norm import normalize as normalize
from tinygrad_cv.ops.norm import rms_norm as rms_norm
from tinygrad_cv.ops.pool import adaptive_avg_pool1d as adaptive_avg_pool1d
from tinygrad_cv.ops.pool import adaptive_avg_pool2d as adaptive_avg_pool2d
from tinygrad_cv.ops.pool import adaptive_avg_pool3d as adaptive_avg_pool3d
from tinygrad_cv.ops.pool import adaptive_max_pool1d as adaptive_max_pool1d
from tinygrad_cv.ops.pool import (
    adaptive_max_pool1d_with_indices as adaptive_max_pool1d_with_indices,
)
from tinygrad_cv.ops.pool import adaptive_max_pool2d as adaptive_max_pool2d
from tinygrad_cv.ops.pool import (
    adaptive_max_pool2d_with_indices as adaptive_max_pool2d_with_indices,
)
from tinygrad_cv.ops.pool import adaptive_max_pool3d as adaptive_max_pool3d
from tinygrad_cv.ops.pool import (
    adaptive_max_pool3d_with_indices as adaptive_max_pool3d_with_indices,
)
from tinygrad_cv.ops.pool import avg_pool1d as avg_pool1d
from tinygrad_cv.ops.pool import avg_pool2d as avg_pool2d
from tinygrad_cv.ops.pool import avg_pool3d as avg_pool3d
from tinygrad_cv.ops.pool import fractional_max_pool2d as fractional_max_pool2d
from tinygrad_cv.ops.pool import (
    fractional_max_pool2d_with_indices as fractional_max_pool2d_with_indices,
)
from tinygrad_cv.ops.pool import fractional_max_pool3d as fractional_max_pool3d
from tinygrad_cv.ops.pool import (
    fractional_max_pool3d_with_indices as fractional_max_pool3d_with_indices,
)
from tinygrad_cv.ops.pool import lp_pool1d as lp_pool1d
from tinygrad_cv.ops.pool import lp_pool2d as lp_pool2d
from tinygrad_cv.ops.pool import lp_pool3d as lp_pool3d
from tinygrad_cv.ops.pool import max_pool1d as max_pool1d
from tinygrad_cv.ops.pool import max_pool1d_with_indices as max_pool1d_with_indices
from tinygrad_cv.ops.pool import max_pool2d as max_pool2d
from tinygrad_cv.ops.pool import max_pool2d_with_indices as max_pool2d_with_indices
from tinygrad_cv.ops.pool import max_pool3d as max_pool3d
from tinygrad_cv.ops.pool import max_pool3d_with_indices as max_pool3d_with_indices
from tinygrad_cv.ops.pool import max_unpool1d as max_unpool1d
from tinygrad_cv.ops.pool import max_unpool2d as max_unpool2d
from tinygrad_cv.ops.pool import max_unpool3d as max_unpool3d
from tinygrad_cv.ops.shape import pad as pad
from typing import Any

def celu_(input: Tensor, alpha: float = 1.0) -> Tensor: ...
def elu_(input: Tensor, alpha: float = 1.0) -> Tensor: ...
def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor: ...
def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor: ...
def logsigmoid(input: Tensor) -> Tensor: ...
def native_channel_shuffle(input: Tensor, groups: int) -> Tensor: ...
def rrelu_(
    input: Tensor,
    lower: float = 0.125,
    upper: float = 0.3333333333333333,
    training: bool = False,
    *,
    generator: Any = None,
) -> Tensor: ...
def selu_(input: Tensor) -> Tensor: ...
def sigmoid(input: Tensor) -> Tensor: ...
def softsign(input: Tensor) -> Tensor: ...
def tanh(input: Tensor) -> Tensor: ...
def tanhshrink(input: Tensor) -> Tensor: ...
def threshold_(input: Tensor, threshold: float, value: float) -> Tensor: ...
