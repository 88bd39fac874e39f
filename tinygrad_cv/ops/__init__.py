"""The ops, one file a family. Importing this package registers them all.

A function whose first parameter is a tensor is attached to `Tensor` as a method of that name.
"""

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.ops import (
    activation,
    attention,
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

__all__ = ["attention", "conv", "image", "loss", "noise", "norm", "pool"]

_METHODS = {
    activation: "hardshrink log_softmax prelu relu sigmoid softmax tanh",
    elementwise: (
        "abs absolute acos acosh add addcdiv addcmul allclose arccos arccosh arcsin arcsinh arctan "
        "arctan2 arctanh asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not "
        "bitwise_or bitwise_right_shift bitwise_xor ceil clamp clamp_max clamp_min clip copysign "
        "cos cosh deg2rad digamma div divide eq equal erf erfc erfinv exp exp2 expm1 fix "
        "float_power floor floor_divide fmax fmin fmod frac ge greater greater_equal gt heaviside "
        "hypot isclose isfinite isinf isnan isneginf isposinf isreal ldexp le lerp less less_equal "
        "lgamma log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or "
        "logical_xor logit lt maximum minimum mul multiply nan_to_num ne neg negative not_equal "
        "positive pow rad2deg reciprocal remainder round rsqrt sgn sign signbit sin sinc sinh sqrt "
        "square sub subtract tan true_divide trunc xlogy"
    ),
    image: "rot90",
    index: (
        "argwhere diag diag_embed diagonal gather index_add index_copy index_fill index_put "
        "index_select masked_fill masked_select narrow nonzero scatter scatter_add "
        "scatter_reduce select take tril triu"
    ),
    linalg: (
        "addbmm addmm addmv addr baddbmm bmm cholesky cross det dist dot ger inner inverse kron "
        "logdet matmul matrix_power mm mv outer pinverse slogdet trace vdot"
    ),
    reduce: (
        "all amax amin aminmax any argmax argmin corrcoef count_nonzero cov cummax cummin cumprod "
        "cumsum diff logcumsumexp logsumexp max mean min nanmean nansum norm prod std sum var"
    ),
    shape: (
        "broadcast_to chunk dsplit expand expand_as flatten flip fliplr flipud hsplit moveaxis "
        "movedim permute ravel repeat repeat_interleave reshape reshape_as roll split "
        "squeeze swapaxes take_along_dim tensor_split tile transpose unbind unflatten unfold "
        "unsqueeze view_as vsplit"
    ),
    sort: (
        "argsort bincount histc kthvalue median msort nanmedian nanquantile quantile sort topk "
        "unique unique_consecutive"
    ),
}

VIEWS = (
    "atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to chunk diagonal dsplit einsum "
    "expand flatten hsplit meshgrid moveaxis movedim narrow permute ravel reshape select "
    "split squeeze swapaxes tensor_split transpose unbind unflatten unsqueeze vsplit"
)
"""The functions whose result lies in the memory of the input wherever it can: a change of one in
place shows in the other. Where nothing is to be done some give the tensor itself; einsum is a view
where it only rearranges one tensor. The methods are views by the same names, and so are x[i],
x[1:], `T`, `mT`, `t`, `view`, `expand_as`, `reshape_as`, `view_as` and `detach`."""

ITSELF = (
    "alpha_dropout cartesian_prod dropout dropout1d dropout2d dropout3d gaussian_noise positive "
    "vanilla_dropout"
)
"""The functions that give the tensor itself where they have nothing to do. All others copy."""

for _family, _names in _METHODS.items():
    for _name in _names.split():
        setattr(Tensor, _name, getattr(_family, _name))

Tensor.view = Tensor.reshape  # type: ignore[attr-defined]
