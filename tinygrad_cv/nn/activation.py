"""Activations: functions of single elements, as layers. The formulas are those of the functions.

With `inplace=True` an activation writes into its input and returns it, as `x.relu_()` does.
"""

from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import full, shape_from
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn.attention import MultiheadAttention as MultiheadAttention  # its path there
from tinygrad_cv.nn.init import constant_
from tinygrad_cv.nn.linear import given
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter
from tinygrad_cv.ops.activation import maxout


class _InPlace(Module):
    """An activation that can write into its input."""

    shown: tuple[str, ...] = ()
    """The attributes that stand in the repr."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def extra_repr(self) -> str:
        own = [f"{name}={getattr(self, name)}" for name in self.shown]
        return ", ".join([*own, *["inplace=True"] * self.inplace])


@public(NN)
class ReLU(_InPlace):
    """max(x, 0); see `relu`.

    >>> ReLU(inplace=True)(Tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, self.inplace)


@public(NN)
class RReLU(_InPlace):
    """x where x > 0, else x times a slope that is random while training; see `rrelu`.

    >>> RReLU(0.1, 0.3).eval()(Tensor([-1.0, 2.0]))
    tensor([-0.2,  2. ])
    """

    shown = ("lower", "upper")

    def __init__(
        self,
        lower: float = 1 / 8,
        upper: float = 1 / 3,
        inplace: bool = False,
        *,
        generator: Any = None,
    ) -> None:
        super().__init__(inplace)
        self.lower, self.upper, self.generator = lower, upper, generator

    def forward(self, input: Tensor) -> Tensor:
        bounds = self.lower, self.upper
        return F.rrelu(input, *bounds, self.training, self.inplace, generator=self.generator)


@public(NN)
class Hardtanh(_InPlace):
    """x limited to [min_val, max_val]; see `hardtanh`. The bounds have older names as well.

    >>> Hardtanh(-2.0, 2.0)(Tensor([-3.0, 0.5]))
    tensor([-2. ,  0.5])
    """

    shown: tuple[str, ...] = ("min_val", "max_val")

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__(inplace)
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        if not self.min_val < self.max_val:
            raise ValueError(
                f"Hardtanh: min_val must be below max_val; got {self.min_val} and {self.max_val}."
            )

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


@public(NN)
class ReLU6(Hardtanh):
    """min(max(x, 0), 6); see `relu6`.

    >>> ReLU6()(Tensor([-1.0, 2.0, 8.0]))
    tensor([0., 2., 6.])
    """

    shown = ()

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def forward(self, input: Tensor) -> Tensor:
        return F.relu6(input, self.inplace)


@public(NN)
class Threshold(_InPlace):
    """x where x > threshold, else value; see `threshold`.

    >>> Threshold(0.5, 7.0)(Tensor([-1.0, 2.0]))
    tensor([7., 2.])
    """

    shown = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.threshold, self.value = threshold, value

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)


@public(NN)
class Sigmoid(Module):
    """1 / (1 + e⁻ˣ); see `sigmoid`.

    >>> Sigmoid()(Tensor([0.0]))
    tensor([0.5])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


@public(NN)
class Tanh(Module):
    """tanh x; see `tanh`.

    >>> Tanh()(Tensor([0.0]))
    tensor([0.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


@public(NN)
class Hardsigmoid(Module):
    """relu6(x + 3) / 6; see `hardsigmoid`.

    >>> Hardsigmoid()(Tensor([-4.0, 0.0, 1.5]))
    tensor([0.  , 0.5 , 0.75])
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, self.inplace)


@public(NN)
class Hardswish(Module):
    """x · hardsigmoid(x); see `hardswish`.

    >>> Hardswish()(Tensor([0.0, 1.5, 4.0]))
    tensor([0.   , 1.125, 4.   ])
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.inplace)


@public(NN)
class SiLU(_InPlace):
    """x · σ(x), also called swish; see `silu`.

    >>> SiLU()(Tensor([0.0, 2.0]))
    tensor([0.    , 1.7616])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, self.inplace)


@public(NN)
class Mish(_InPlace):
    """x · tanh(softplus(x)); see `mish`.

    >>> Mish()(Tensor([0.0, 2.0]))
    tensor([0.   , 1.944])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, self.inplace)


@public(NN)
class ELU(_InPlace):
    """x where x > 0, else α(eˣ - 1); see `elu`.

    >>> ELU()(Tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.    ])
    """

    shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)


@public(NN)
class CELU(_InPlace):
    """x where x > 0, else α(e^(x/α) - 1); see `celu`.

    >>> CELU(0.5)(Tensor([-1.0, 2.0]))
    tensor([-0.4323,  2.    ])
    """

    shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)


@public(NN)
class SELU(_InPlace):
    """An ELU whose scale and α make layers normalize themselves; see `selu`.

    >>> SELU()(Tensor([-1.0, 2.0]))
    tensor([-1.1113,  2.1014])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)


@public(NN)
class LeakyReLU(_InPlace):
    """x where x > 0, else negative_slope · x; see `leaky_relu`.

    >>> LeakyReLU(0.1)(Tensor([-1.0, 2.0]))
    tensor([-0.1,  2. ])
    """

    shown = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)


@public(NN)
class PReLU(Module):
    """x where x > 0, else w · x with learned slopes; see `prelu`.

    `weight` holds `num_parameters` slopes, 1 or one for each channel, which start at `init`.

    >>> PReLU()(Tensor([-1.0, 2.0]))
    tensor([-0.25,  2.  ], grad_fn=<prelu>)
    """

    weight: Parameter

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        (num_parameters,) = shape_from((num_parameters,))
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(full((num_parameters,), float(init), **given(device, dtype)))

    def reset_parameters(self) -> None:
        """Every slope as at first."""
        constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


@public(NN)
class GLU(Module):
    """a · σ(b) for the halves a and b of the input along `dim`; see `glu`.

    >>> GLU()(Tensor([3.0, 4.0, 0.0, 1000.0]))
    tensor([1.5, 4. ])
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


@public(NN)
class GELU(Module):
    """x · Φ(x), or with approximate="tanh" close to it; see `gelu`.

    >>> GELU()(Tensor([0.0, 2.0]))
    tensor([0.    , 1.9545])
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


@public(NN)
class Hardshrink(Module):
    """x, but 0 within `lambd` of 0; see `hardshrink`.

    >>> Hardshrink()(Tensor([-2.0, 0.3]))
    tensor([-2.,  0.])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


@public(NN)
class Softshrink(Module):
    """x drawn `lambd` towards 0, and 0 within `lambd` of it; see `softshrink`.

    >>> Softshrink()(Tensor([-2.0, 0.3]))
    tensor([-1.5,  0. ])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


@public(NN)
class LogSigmoid(Module):
    """log σ(x); see `logsigmoid`.

    >>> LogSigmoid()(Tensor([0.0]))
    tensor([-0.6931])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


@public(NN)
class Softplus(Module):
    """log(1 + e^(βx)) / β, and x itself where βx > threshold; see `softplus`.

    >>> Softplus()(Tensor([0.0, 1000.0]))
    tensor([6.9315e-01, 1.0000e+03])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


@public(NN)
class Softsign(Module):
    """x / (1 + |x|); see `softsign`.

    >>> Softsign()(Tensor([-1.0, 3.0]))
    tensor([-0.5 ,  0.75])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


@public(NN)
class Tanhshrink(Module):
    """x - tanh x; see `tanhshrink`.

    >>> Tanhshrink()(Tensor([0.0, 2.0]))
    tensor([0.   , 1.036])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


class _AlongAxis(Module):
    def __init__(self, dim: int | None = None) -> None:
        if dim is not None and (isinstance(dim, bool) or not hasattr(dim, "__index__")):
            raise TypeError(f"{type(self).__name__}: dim is a whole number or None; got {dim!r}.")
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


@public(NN)
class Softmax(_AlongAxis):
    """eˣ / Σ eˣ along `dim`; see `softmax`.

    >>> Softmax(dim=1)(Tensor([[0.0, 0.0]]))
    tensor([[0.5, 0.5]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)


@public(NN)
class Softmin(_AlongAxis):
    """softmax(-x) along `dim`; see `softmin`.

    >>> Softmin(dim=0)(Tensor([0.0, 0.0, 1000.0]))
    tensor([0.5, 0.5, 0. ])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim)


@public(NN)
class LogSoftmax(_AlongAxis):
    """log softmax(x) along `dim`; see `log_softmax`.

    >>> LogSoftmax(dim=0)(Tensor([0.0, 1000.0]))
    tensor([-1000.,     0.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)


@public(NN)
class Softmax2d(Module):
    """The softmax over the channels of each pixel: (N, C, H, W) or (C, H, W).

    >>> Softmax2d()(Tensor([[[0.0]], [[0.0]]])).flatten()
    tensor([0.5, 0.5])
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ValueError(
                f"Softmax2d expects an input (N, C, H, W) or (C, H, W); got {input.shape}."
            )
        return F.softmax(input, -3)


@public(NN)
class Maxout(Module):
    """The largest of each `pieces` channels in a row; see `maxout` (Goodfellow et al., 2013).

    Behind a layer with `pieces` times as many outputs it is max(w₁ᵀx + b₁, w₂ᵀx + b₂, ...).

    >>> Maxout(2)(Tensor([[1.0, 5.0, 3.0, 2.0]]))
    tensor([[5., 3.]])
    """

    def __init__(self, pieces: int = 2, dim: int = 1) -> None:
        self.pieces, self.dim = pieces, dim

    def forward(self, input: Tensor) -> Tensor:
        return maxout(input, self.pieces, self.dim)

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}, dim={self.dim}"
