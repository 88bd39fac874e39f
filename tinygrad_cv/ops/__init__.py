"""The ops, one file a family. Importing this package registers them all."""

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
    recurrent,
    reduce,
    shape,
    sort,
)

__all__ = [
    "activation",
    "attention",
    "conv",
    "elementwise",
    "image",
    "index",
    "linalg",
    "loss",
    "noise",
    "norm",
    "pool",
    "recurrent",
    "reduce",
    "shape",
    "sort",
]

VIEWS = (
    "adjoint atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to chunk detach diagonal "
    "dsplit einsum expand flatten hsplit meshgrid moveaxis movedim narrow permute ravel reshape "
    "select split split_with_sizes squeeze swapaxes swapdims t tensor_split transpose unbind "
    "unflatten unsqueeze vsplit"
)
"""The functions whose result lies in the memory of the input wherever it can: a change of one in
place shows in the other. Where nothing is to be done some give the tensor itself; einsum is a view
where it only rearranges one tensor. The methods are views by the same names, and so are x[i],
x[1:], `T`, `mT`, `H`, `mH`, `view`, `expand_as`, `reshape_as` and `view_as`."""

ITSELF = (
    "alpha_dropout cartesian_prod chain_matmul conj conj_physical dropout dropout1d dropout2d "
    "dropout3d feature_alpha_dropout gaussian_noise positive real resolve_conj resolve_neg "
    "vanilla_dropout"
)
"""The functions that give the tensor itself where they have nothing to do. All others copy."""
