"""The ops, one file a family. Importing this package registers them all.

A function whose first parameter is a tensor is attached to `Tensor` as a method of that name.
"""

from tinygrad_cv.ops import (
    activation,
    conv,
    elementwise,
    image,
    index,
    linalg,
    loss,
    noise,
    norm,
    pool,
    reduce,
    shape,
    sort,
)
from tinygrad_cv.tensor import Tensor

__all__ = ["conv", "image", "loss", "noise", "norm", "pool"]

_METHODS = {
    activation: "hardshrink log_softmax prelu relu sigmoid softmax tanh",
    elementwise: (
        "abs absolute acos acosh add addcdiv addcmul asin asinh atan atan2 atanh bitwise_and "
        "bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor ceil clamp clip "
        "cos cosh digamma div divide eq erf erfc exp expm1 floor floor_divide fmod ge gt hypot "
        "isfinite isinf isnan le lerp lgamma log log10 log1p log2 logaddexp logical_and "
        "logical_not logical_or logical_xor lt maximum minimum mul multiply nan_to_num ne neg "
        "negative pow reciprocal remainder round rsqrt sign sin sinh sqrt square sub subtract tan "
        "trunc xlogy"
    ),
    index: (
        "argwhere diag diag_embed diagonal gather index_add index_copy index_fill index_put "
        "index_select masked_fill masked_select narrow nonzero scatter scatter_add select take "
        "tril triu"
    ),
    linalg: "bmm cholesky det dot inner matmul matrix_power mm mv outer slogdet trace vdot",
    reduce: (
        "all amax amin aminmax any argmax argmin count_nonzero cumprod cumsum logcumsumexp "
        "logsumexp max mean min nanmean nansum norm prod std sum var"
    ),
    shape: (
        "broadcast_to chunk expand expand_as flatten flip moveaxis movedim permute ravel repeat "
        "repeat_interleave reshape reshape_as roll split squeeze swapaxes take_along_dim "
        "tensor_split tile transpose unbind unflatten unsqueeze view_as"
    ),
    sort: "argsort kthvalue median msort sort topk",
}

for _family, _names in _METHODS.items():
    for _name in _names.split():
        setattr(Tensor, _name, getattr(_family, _name))

Tensor.view = Tensor.reshape  # type: ignore[attr-defined]
