"""Batch normalization."""

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor, as_input
from tinygrad_cv.creation import ones, shape_from, zeros
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter
from tinygrad_cv.ops.norm import check_eps, check_momentum


class _BatchNorm(Module):
    """Normalization over the batch, with learned scale and shift; see `batch_norm`."""

    dims: tuple[int, ...]
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        (num_features,) = shape_from((num_features,))
        check_eps(type(self).__name__, eps, positive=True)
        check_momentum(type(self).__name__, momentum)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(ones(num_features)) if affine else None
        self.bias = Parameter(zeros(num_features)) if affine else None
        self.register_buffer("running_mean", zeros(num_features) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features) if track_running_stats else None)

    def forward(self, input: Tensor) -> Tensor:
        input = as_input(input, self.weight)
        if input.ndim not in self.dims:
            raise ValueError(
                f"{type(self).__name__} expects an input with {' or '.join(map(str, self.dims))} "
                f"axes; got {input.shape}."
            )
        return F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training or self.running_mean is None,
            momentum=self.momentum,
            eps=self.eps,
        )

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


@public(NN)
class BatchNorm1d(_BatchNorm):
    """Batch normalization of (N, C) or (N, C, L).

    >>> BatchNorm1d(1, eps=1e-9)(Tensor([[1.0], [3.0]]))
    tensor([[-1.],
            [ 1.]], grad_fn=<batch_norm>)
    """

    dims = (2, 3)


@public(NN)
class BatchNorm2d(_BatchNorm):
    """Batch normalization of (N, C, H, W).

    >>> BatchNorm2d(3)(ones(2, 3, 4, 4)).sum().item()
    0.0
    """

    dims = (4,)
