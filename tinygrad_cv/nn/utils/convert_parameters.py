"""All parameters as one vector, and back."""

from collections.abc import Iterable

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.ops.shape import cat


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after the other; gradients flow through.

    >>> from tinygrad_cv import nn
    >>> parameters_to_vector(nn.Linear(2, 3).parameters()).shape
    (9,)
    """
    return cat([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Let the parameters be the parts of a vector, whose memory they share from then on.

    >>> from tinygrad_cv import nn, arange
    >>> layer = nn.Linear(2, 1)
    >>> vector_to_parameters(arange(3).float(), layer.parameters())
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[0.0, 1.0]], [2.0])
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters takes a tensor; got a {type(vec).__name__}.")
    start = 0
    for parameter in parameters:
        part = vec.detach()[start : start + parameter.numel()]
        parameter.data = part.reshape(parameter.shape)
        start += parameter.numel()
