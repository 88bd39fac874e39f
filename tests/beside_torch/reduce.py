"""Reductions, running totals and sorting."""

from typing import Any

import numpy as np
import torch
from hypothesis import assume
from hypothesis import strategies as st

from beside_torch.call import Beside, Call
from rows.shape import with_empty
from tinygrad_cv.ops import reduce, sort
from tinygrad_cv.testing.strategies import arrays, shapes


@st.composite
def whole(draw: Any, **values: Any) -> Call:
    """Everything by default."""
    return Call((draw(arrays(shapes(), **values)),))


@st.composite
def along_some(
    draw: Any, least: int = 1, keepdim: bool = True, empty: bool = False, **values: Any
) -> Call:
    """Along one axis or several, by keyword; negative numbers count from the last."""
    shape = list(draw(shapes(1)))
    axes = draw(st.lists(st.sampled_from(range(len(shape))), min_size=1, unique=True))
    for i in axes:
        shape[i] = max(least, shape[i])
    if empty and draw(st.booleans()):
        shape[draw(st.integers(0, len(shape) - 1))] = 0
    dims = tuple(i - len(shape) if draw(st.booleans()) else i for i in axes)
    options = {"dim": dims[0] if len(dims) == 1 and draw(st.booleans()) else dims}
    if keepdim:
        options["keepdim"] = draw(st.booleans())
    return Call((draw(arrays(shape, **values)),), options)


@st.composite
def along_one(
    draw: Any, keepdim: bool = True, named: bool = False, empty: bool = False, **values: Any
) -> Call:
    """Along one axis, by position (or by name), of what has axes or none."""
    shape = draw(with_empty() if empty else shapes())
    dim = (
        draw(st.integers(-len(shape), len(shape) - 1)) if shape else draw(st.sampled_from((-1, 0)))
    )
    options: dict[str, Any] = {"keepdim": draw(st.booleans())} if keepdim else {}
    x = draw(arrays(shape, **values))
    return Call((x,), options | {"dim": dim}) if named else Call((x, dim), options)


@st.composite
def spreads(draw: Any) -> Call:
    call = draw(along_some(least=3))
    return Call(call.inputs, call.options | {"correction": draw(st.integers(0, 2))})


@st.composite
def norms(draw: Any) -> Call:
    """Away from zeros, where powers below 2 have no second derivative, or no first."""
    call = draw(whole(kinks=(0.0,), distinct=True) | along_some(kinks=(0.0,), distinct=True))
    powers: list[Any] = [0.5, 1, 1.5, 2, 3, float("inf"), -float("inf")]
    if np.size(call.options.get("dim", 0)) < 3:  # more are no matrix to PyTorch
        powers.append("fro")
    p = draw(st.sampled_from(powers))
    return Call(call.inputs, call.options | {"p": p})


@st.composite
def with_nan(draw: Any) -> Call:
    """Some elements are unknown, but not all of those that become one."""
    call = draw(whole() | along_some(least=2))
    (x,) = call.inputs
    axes = call.options.get("dim", ())
    known = (0,) * x.ndim
    if axes != ():
        first = np.ones(x.shape, bool)
        for i in axes if isinstance(axes, tuple) else (axes,):
            first &= np.moveaxis(np.arange(x.shape[i]).reshape(-1, *(1,) * (x.ndim - 1)), 0, i) == 0
    else:
        first = np.zeros(x.shape, bool)
        first[known] = True
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return Call((np.where((rng.random(x.shape) < 0.3) & ~first, np.nan, x),), call.options)


@st.composite
def factors(draw: Any, named: bool = False) -> Call:
    """Some are 0."""
    call = draw(along_one(keepdim=False))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x, dim = call.inputs
    return Call((np.where(rng.random(x.shape) < 0.25, 0.0, x), dim))


@st.composite
def integers(draw: Any, *dtypes: str) -> Call:
    dtype = draw(st.sampled_from(dtypes or ("int32", "int64", "uint8", "bool")))
    x = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 3, draw(shapes(1)))
    return Call((x.astype(dtype), 0))


@st.composite
def converted(draw: Any) -> Call:
    """As another dtype: by default integers stay integers."""
    call = draw(integers())
    return Call(call.inputs, {"dtype": "float64"})


def to_torch(function: Any) -> Any:
    """PyTorch's function with the dtype by its name."""
    return lambda *inputs, dtype: function(*inputs, dtype=getattr(torch, dtype))


@st.composite
def ranks(draw: Any) -> Call:
    call = draw(along_one(keepdim=False, named=True, distinct=True))
    (x,) = call.inputs
    length = x.shape[call.options["dim"]] if x.ndim else 1
    return Call((x, draw(st.integers(1, length))), call.options)


@st.composite
def tops(draw: Any) -> Call:
    call = draw(ranks())
    return Call(call.inputs, call.options | {"largest": draw(st.booleans())})


@st.composite
def orders(draw: Any) -> Call:
    """Few distinct values, so that equal ones are to keep their order; nan is the largest."""
    call = draw(along_one(keepdim=False, named=True, empty=True))
    (x,) = call.inputs
    x = np.asarray(np.rint(x))
    if x.size and draw(st.booleans()):
        x.flat[draw(st.integers(0, x.size - 1))] = np.nan
    options = {"descending": draw(st.booleans()), "stable": True}
    return Call((x,), call.options | options)


def beside(name: str, calls: Any, module: Any = reduce, **others: Any) -> Beside:
    return Beside(name, calls, getattr(module, name), getattr(torch, name), **others)


@st.composite
def shares(draw: Any, nan: bool = False) -> Call:
    x = draw(arrays(shapes(1), distinct=True))
    assume(x.size)
    if nan:
        x = np.where(
            np.random.default_rng(draw(st.integers(0, 9))).random(x.shape) < 0.3, np.nan, x
        )
    q = draw(st.floats(0, 1) | arrays(st.tuples(st.integers(1, 3)), low=0.0, high=1.0))
    dim = draw(st.none() | st.integers(-x.ndim, x.ndim - 1))
    options = {
        "keepdim": draw(st.booleans()),
        "interpolation": draw(st.sampled_from(sort.QUANTILES)),
    }
    return Call((x, q, dim), options)


@st.composite
def some_unknown(draw: Any) -> Call:
    call = draw(shares(nan=True))
    x, _, dim = call.inputs
    assume(not np.isnan(x).all(axis=dim).any())  # where none is known, PyTorch takes all for it
    return Call((x,) if dim is None else (x, dim, call.options["keepdim"]))


@st.composite
def curves(draw: Any) -> Call:
    y = draw(arrays(shapes(1)))
    dim = draw(st.integers(-y.ndim, y.ndim - 1))
    kind = draw(st.sampled_from(("none", "dx", "line", "all")))
    if kind in ("none", "dx"):
        return Call((y,), {"dim": dim} | ({"dx": 0.5} if kind == "dx" else {}))
    return Call((y, draw(arrays((y.shape[dim],) if kind == "line" else y.shape))), {"dim": dim})


@st.composite
def observed(draw: Any) -> Call:
    x = draw(arrays((draw(st.integers(1, 3)), 5)))
    return Call((x if draw(st.booleans()) else x[0],), {"correction": draw(st.integers(0, 2))})


CALLS = [
    beside("sum", whole() | along_some(empty=True) | integers()),
    Beside("sum: dtype", converted(), reduce.sum, to_torch(torch.sum)),
    beside("mean", whole() | along_some()),
    beside("var", spreads()),
    beside("std", spreads()),
    beside("var_mean", spreads()),
    beside("std_mean", spreads()),
    beside("amax", whole(distinct=True) | along_some(distinct=True)),
    beside("amin", whole(distinct=True) | along_some(distinct=True)),
    beside("max", whole(distinct=True) | along_one(distinct=True)),
    beside("min", whole(distinct=True) | along_one(distinct=True)),
    beside("aminmax", whole(distinct=True) | along_one(named=True, distinct=True)),
    beside("argmax", whole(distinct=True) | along_one(distinct=True)),
    beside("argmin", whole(distinct=True) | along_one(distinct=True)),
    beside("any", whole() | along_some() | integers("int64", "bool")),
    beside("all", whole() | along_some() | integers("int64", "bool")),
    beside("logsumexp", along_some()),
    beside("norm", norms()),
    beside("prod", whole() | along_one(empty=True) | factors() | integers()),
    Beside("prod: dtype", converted(), reduce.prod, to_torch(torch.prod)),
    beside("nansum", with_nan()),
    beside("nanmean", with_nan()),
    beside("count_nonzero", factors() | integers()),
    beside("cumsum", along_one(keepdim=False, empty=True) | integers()),
    Beside("cumsum: dtype", converted(), reduce.cumsum, to_torch(torch.cumsum)),
    beside("cumprod", along_one(keepdim=False, empty=True) | factors() | integers()),
    beside("logcumsumexp", along_one(keepdim=False, empty=True)),
    beside("median", whole(distinct=True) | along_one(distinct=True), sort),
    beside("sort", orders(), sort),
    beside("argsort", orders(), sort),
    beside("msort", arrays(shapes(1), distinct=True).map(lambda x: Call((x,))), sort),
    beside("topk", tops(), sort),
    beside("kthvalue", ranks(), sort),
    beside("nanmedian", some_unknown(), sort),
    beside("quantile", shares(), sort),
    beside("nanquantile", shares(nan=True), sort),
    beside("trapezoid", curves()),
    beside("cumulative_trapezoid", curves()),
    beside("cov", observed()),
    Beside(
        "corrcoef",
        arrays(st.tuples(st.integers(2, 3), st.just(4)), distinct=True).map(lambda x: Call((x,))),
    ),
]
