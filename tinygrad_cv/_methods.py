"""Methods of Tensor that are made of functions: in place, and for new tensors like this one.

`x.exp_()` is `x.exp()`, written into the memory of x; so are all that are public `IN_PLACE`. Where
a graph is recorded x moves on to the node of the result, as with `x[...] = y`. On a parameter they
are an error: it is changed as `x.data`, or inside `with no_grad():`.
"""

import functools
import inspect
import math
import operator
from collections.abc import Callable
from typing import Any

from tinygrad_cv import _operators as _operators  # adopted before they are looked up here
from tinygrad_cv._apply import F
from tinygrad_cv._indexing import raw_index
from tinygrad_cv._public import IN_PLACE, METHOD, PUBLIC, TOP, public
from tinygrad_cv._tensor import Tensor, as_input, sizes_given
from tinygrad_cv.backend import as_generator, host
from tinygrad_cv.backend.base import drawn
from tinygrad_cv.creation import empty, full, number, ones, shape_from, tensor, zeros
from tinygrad_cv.ops.elementwise import polygamma as derivative_of_digamma
from tinygrad_cv.ops.shape import cat
from tinygrad_cv.random import bernoulli, rand, randn


def _relaid(name: str) -> Callable[..., Tensor]:
    function = PUBLIC[METHOD][name]

    @functools.wraps(function)
    def method(self: Tensor, *args: Any, **options: Any) -> Tensor:
        return self._relay(function, f"{name}_", *args, **options)

    method.__module__ = __name__
    method.__name__, method.__qualname__ = f"{name}_", f"Tensor.{name}_"
    method.__doc__ = f"`{name}` in place: the tensor has other axes, over the memory that it has."
    return method


def _in_place(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(function)  # whose signature it has
    def method(self: Tensor, *args: Any, **options: Any) -> Tensor:
        return self._in_place(function, f"{name}_", *args, **options)

    method.__module__ = __name__
    method.__name__, method.__qualname__ = f"{name}_", f"Tensor.{name}_"
    method.__doc__ = f"`{name}` in place: the result takes the place of the values."
    return method


# ----- new values --------------------------------------------------------------------------------


def _last_whole(dtype: Any) -> int:
    """The last of the whole numbers from 0 on that a dtype holds without a gap."""
    if dtype.kind == "f":
        return int(2 ** (host.finfo(dtype).nmant + 1))
    return 1 if dtype.kind == "b" else int(host.iinfo(dtype).max)


@public(METHOD)
def fill_(self: Tensor, value: Any) -> Tensor:
    """Overwrite the values with a number, or with that of a tensor without axes."""
    if getattr(value, "shape", ()) != ():
        raise ValueError(
            f"fill_ takes one number; got a value of shape {value.shape}. copy_ takes tensors."
        )
    return self._assign(..., value, "fill_")


@public(TOP)
def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like `input`, filled with a number, or with that of a tensor without axes.

    >>> fill(Tensor([1.0, 2.0]), 7)
    tensor([7., 7.])
    """
    return input.clone().fill_(value)


@public(METHOD)
def uniform_(self: Tensor, from_: Any = 0.0, to: Any = 1.0, *, generator: Any = None) -> Tensor:
    """Overwrite the values with random numbers, uniform on [from, to); a rounding may give `to`."""
    low, high = number(from_), number(to)
    if not low <= high:
        raise ValueError(f"uniform_: from {low} is above to {high}.")
    draw = rand(self.shape, generator=generator, dtype=self.dtype, device=self.device)
    return self._become(draw * (high - low) + low, "uniform_")


@public(METHOD)
def normal_(self: Tensor, mean: Any = 0.0, std: Any = 1.0, *, generator: Any = None) -> Tensor:
    """Overwrite the values with normal random numbers of this mean and standard deviation."""
    mean, std = number(mean), number(std)
    if not std >= 0:
        raise ValueError(f"normal_: std is 0 or more; got {std}.")
    draw = randn(self.shape, generator=generator, dtype=self.dtype, device=self.device)
    return self._become(draw * std + mean, "normal_")


@public(METHOD)
def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Overwrite the values with waiting times of rate `lambd`: of density λ e^(-λx)."""
    if not lambd > 0:
        raise ValueError(f"exponential_: the rate is above 0; got {lambd}.")
    draw = rand(self.shape, generator=generator, dtype=self.dtype, device=self.device)
    return self._become((-draw).log1p() / -lambd, "exponential_")


@public(METHOD)
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Overwrite the values with 1 with the probability p (a number or a tensor), else 0."""
    if isinstance(p, Tensor):
        draw = bernoulli(p.detach().broadcast_to(self.shape), generator=generator)
        return self._assign(..., draw, "bernoulli_")
    return self._become(bernoulli(self, p, generator=generator), "bernoulli_")


@public(METHOD)
def random_(self: Tensor, from_: Any = None, to: Any = None, *, generator: Any = None) -> Tensor:
    """Overwrite the values with random whole numbers from `from_` to `to` - 1.

    `random_(to)` starts at 0. Without a bound they are all that the dtype holds from 0 on, of a
    float those that it holds without a gap.
    """
    if to is None:
        from_, to = 0, _last_whole(self.dtype) + 1 if from_ is None else from_
    low, high = operator.index(from_), operator.index(to)
    if low >= high:
        raise ValueError(f"random_: from {low} is not below to {high}.")
    dtype = "uint64" if low >= 0 else "int64"
    values = drawn(as_generator(generator), lambda g: g.integers(low, high, self.shape, dtype))
    return self._become(Tensor(values, dtype=self.dtype, device=self.device), "random_")


@public(METHOD)
def cauchy_(self: Tensor, median: float = 0, sigma: float = 1, *, generator: Any = None) -> Tensor:
    """Overwrite the values with those of a Cauchy law: median + sigma · tan(π (u - 1/2))."""
    if not sigma > 0:
        raise ValueError(f"cauchy_: sigma is above 0; got {sigma}.")
    draw = rand(self.shape, generator=generator, dtype=self.dtype, device=self.device)
    return self._become(((draw - 0.5) * math.pi).tan() * sigma + median, "cauchy_")


@public(METHOD)
def log_normal_(self: Tensor, mean: float = 1, std: float = 2, *, generator: Any = None) -> Tensor:
    """Overwrite the values with numbers whose logarithms are normal, of this mean and std."""
    if not std > 0:
        raise ValueError(f"log_normal_: std is above 0; got {std}.")
    draw = randn(self.shape, generator=generator, dtype=self.dtype, device=self.device)
    return self._become((draw * std + mean).exp(), "log_normal_")


@public(METHOD)
def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Overwrite the values with the number of trials up to the first success, of probability p."""
    if not 0 < p < 1:
        raise ValueError(f"geometric_: p lies between 0 and 1; got {p}.")
    dtype = self.dtype if self.is_floating_point() else "float64"
    draw = rand(self.shape, generator=generator, dtype=dtype, device=self.device)
    trials = ((-draw).log1p() / math.log1p(-p)).ceil().clamp(min=1)
    return self._become(trials.to(dtype=self.dtype), "geometric_")


@public(METHOD)
def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Overwrite the elements x[i, i, ...] with a number.

    A tensor of more than two axes has equal lengths. With `wrap` a tall matrix has a diagonal that
    starts anew, one row below the last.
    """
    n, m = min(self.shape, default=0), self.shape[-1] if self.ndim else 0
    if self.ndim < 2 or (self.ndim > 2 and len(set(self.shape)) > 1):
        raise ValueError(
            "fill_diagonal_: expected a matrix, or more axes of one length; got the shape "
            f"{self.shape}."
        )
    places = range(0, self.numel(), m + 1) if wrap and self.ndim == 2 else range(n)
    rows = [i // m if wrap and self.ndim == 2 else i for i in places]
    columns = [i % m if wrap and self.ndim == 2 else i for i in places]
    index = tuple(host.array(i, "int64") for i in (rows, *[columns] * (self.ndim - 1)))
    return self._assign(raw_index(index, self._backend), number(fill_value), "fill_diagonal_")


@public(METHOD)
def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Overwrite each value with what a function of Python's makes of it; slow, and on the host."""
    values = [callable(value) for value in self.reshape(-1).tolist()]
    return self._assign(..., self.new_tensor(values).reshape(self.shape), "apply_")


@public(METHOD)
def map_(self: Tensor, tensor: Any, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Overwrite each value with what a function of it and that of `tensor` (broadcast) gives."""
    others = as_input(tensor, self).broadcast_to(self.shape).reshape(-1).tolist()
    pairs = zip(self.reshape(-1).tolist(), others, strict=True)
    values = self.new_tensor([callable(*pair) for pair in pairs])
    return self._assign(..., values.reshape(self.shape), "map_")


def _replant(self: Tensor, array: Any, version: list[int], how: str) -> Tensor:
    """The tensor with other memory, which is no part of a graph."""
    if self.requires_grad:
        raise RuntimeError(
            f"{how}: a tensor of shape {self.shape} that requires a gradient keeps its shape and "
            "memory. Change x.data, or a copy: x.detach().clone()."
        )
    self._array, self._counter, self._view = array, version, None
    self._renew_node()
    return self


@public(METHOD)
def resize_(self: Tensor, *size: Any) -> Tensor:
    """Another size: the first elements, in row-major order, and 0 where there were none.

    The memory is new: unlike PyTorch's, views and what shares the old memory do not see it.
    """
    lengths, flat = shape_from(size), self.reshape(-1)
    missing = max(0, math.prod(lengths) - flat.numel())
    grown = cat([flat, zeros(missing, dtype=self.dtype, device=self.device)])
    resized = grown[: math.prod(lengths)].reshape(lengths).clone()
    return _replant(self, resized._array, [0], "resize_")


@public(METHOD)
def resize_as_(self: Tensor, the_template: Tensor) -> Tensor:
    """The size of another tensor; see resize_."""
    return resize_(self, the_template.shape)


@public(METHOD)
def set_(self: Tensor, source: Tensor | None = None) -> Tensor:
    """The memory, and with it the shape and dtype, of another tensor; without one, no elements."""
    if source is None:
        source = empty(0, dtype=self.dtype, device=self.device)
    if not isinstance(source, Tensor):
        raise TypeError(f"set_ takes a tensor: there are no storages here; got {source!r}.")
    self._backend = source._backend
    return _replant(self, source._array, source._counter, "set_")


@public(METHOD)
def where(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """The elements where the condition holds, and those of `other` elsewhere."""
    return F.where(condition, self, other)


@public(METHOD)
def polygamma(self: Tensor, n: int) -> Tensor:
    """ψₙ of the elements, the derivative of order n of digamma."""
    return derivative_of_digamma(n, self)


# ----- new tensors in the dtype and on the device of this one ------------------------------------


@public(METHOD)
def polygamma_(self: Tensor, n: int) -> Tensor:
    """`polygamma` in place: the result takes the place of the values."""
    return self._in_place(polygamma, "polygamma_", n)


@public(METHOD)
def new(self: Tensor, *args: Any, device: str | None = None) -> Tensor:
    """PyTorch's older form: new(2, 3) is new_empty(2, 3), and new([1, 2]) is new_tensor([1, 2]).

    The size of a tensor, as in new(x.size()), is a size.
    """
    place = self.device if device is None else device
    sizes = sizes_given(args)
    if sizes is None:
        return tensor(args[0], dtype=self.dtype, device=place)
    return empty(sizes, dtype=self.dtype, device=place)


def _like(make: Callable[..., Tensor], doc: str) -> Callable[..., Tensor]:
    def method(
        self: Tensor,
        *args: Any,
        dtype: Any = None,
        device: str | None = None,
        **options: Any,
    ) -> Tensor:
        return make(
            *args,
            dtype=self.dtype if dtype is None else dtype,
            device=self.device if device is None else device,
            **options,
        )

    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for parameter in inspect.signature(make).parameters.values():
        own = parameter.name in ("dtype", "device")
        parameters.append(parameter.replace(default=None) if own else parameter)
    method.__name__ = f"new_{make.__name__}"
    method.__qualname__ = f"Tensor.{method.__name__}"
    method.__doc__ = f"{doc} in the dtype and on the device of this tensor."
    signature = inspect.Signature(parameters, return_annotation=Tensor)
    method.__signature__ = signature  # type: ignore[attr-defined]
    return method


for _make, _doc in (
    (tensor, "A tensor with a copy of `data`,"),
    (zeros, "Zeros of any size"),
    (ones, "Ones of any size"),
    (full, "One repeated value of any size"),
    (empty, "Memory that nobody has written to yet,"),
):
    public(METHOD)(_like(_make, _doc))


# ----- Tensor gets them, and those that are marked elsewhere --------------------------------------


for _name, _function in PUBLIC[METHOD].items():
    setattr(Tensor, _name, _function)
for _name in ("squeeze", "unsqueeze", "transpose", "t", "swapaxes", "swapdims"):
    setattr(Tensor, f"{_name}_", _relaid(_name))
for _name, _function in PUBLIC[IN_PLACE].items():
    setattr(Tensor, f"{_name}_", _in_place(_name, _function))

AT_THE_TOP = """
    abs_ acos_ acosh_ addmv_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ asin_ asinh_ atan_
    atanh_ ceil_ clamp_ clamp_max_ clamp_min_ clip_ conj_physical_ cos_ cosh_ deg2rad_ detach
    detach_ erf_ erfc_ exp2_ exp_ expm1_ fill_ fix_ floor_ frac_ get_device index_put_
    is_same_size ldexp_ log10_ log1p_ log2_ log_ logit_ nan_to_num_ neg_ negative_ rad2deg_
    reciprocal_ relu_ resize_as_ round_ rsqrt_ sigmoid_ sin_ sinc_ sinh_ sqrt_ square_ tan_ tanh_
    trunc_ xlogy_ zero_
"""
"""The methods that PyTorch has as functions of the module too, as `torch.relu_(x)`."""

for _name in AT_THE_TOP.split():
    PUBLIC[TOP][_name] = getattr(Tensor, _name)
