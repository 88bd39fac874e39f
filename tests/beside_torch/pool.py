"""Pooling beside PyTorch's."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from beside_torch.call import Beside, Call
from beside_torch.conv import images
from tinygrad_cv.ops import pool as ours
from tinygrad_cv.testing.strategies import arrays, pool_geometry

DIMENSIONS = (1, 2, 3)


@st.composite
def pooled(draw: Any, spatial: int, most_dilation: int = 1, **options: Any) -> Call:
    """Windows with ceil_mode or without, and by keyword what `options` draw."""
    geometry = draw(pool_geometry(most_dilation, spatial).filter(lambda each: each.batch))
    x = draw(images(geometry.images))
    given = {
        "stride": draw(st.sampled_from((None, geometry.lengths("stride")))),
        "padding": geometry.lengths("padding"),
        "ceil_mode": draw(st.booleans()),
        **({"dilation": geometry.lengths("dilation")} if most_dilation > 1 else {}),
    }
    given |= {name: draw(option) for name, option in options.items()}
    return Call((x, geometry.lengths("kernel")), given)


def means(spatial: int) -> Any:
    options = {"count_include_pad": st.booleans()}
    if spatial > 1:
        options["divisor_override"] = st.none() | st.integers(1, 5)
    return pooled(spatial, **options)


@st.composite
def powers(draw: Any, spatial: int) -> Call:
    """Positive numbers; in some windows all are 0."""
    call = draw(pooled(spatial))
    (x, kernel), options = call.inputs, dict(call.options)
    del options["padding"]
    x = np.abs(x) + 0.5
    norm_type = draw(st.sampled_from((1.0, 2.0, 3.5)))
    if spatial == 1:
        (kernel,), options["stride"] = kernel, options["stride"] and options["stride"][0]
    return Call((x, norm_type, kernel), options)


def fits(call: Call) -> bool:
    """Whether a window fits in without padding, as PyTorch asks of some functions."""
    x, *_, kernel = call.inputs
    sizes = kernel if isinstance(kernel, tuple) else (kernel,)
    return all(n >= k for n, k in zip(x.shape[-len(sizes) :], sizes, strict=True))


@st.composite
def unpooled(draw: Any, spatial: int) -> Call:
    """One place of each window; windows do not overlap, and may leave a border."""
    kernel = draw(st.tuples(*[st.integers(1, 3)] * spatial))
    out = draw(st.tuples(*[st.integers(1, 3)] * spatial))
    size = tuple(k * n + draw(st.integers(0, k - 1)) for k, n in zip(kernel, out, strict=True))
    x = draw(images((draw(st.integers(1, 2)), 2, *out)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    steps = zip(np.indices(out), kernel, strict=True)
    places = [i * k + rng.integers(0, k, x.shape) for i, k in steps]
    index = np.ravel_multi_index(tuple(places), size)
    return Call((x, index, kernel), {"output_size": size})


@st.composite
def adaptive(draw: Any, spatial: int, **options: Any) -> Call:
    most = 7 if spatial < 3 else 5
    shape = [draw(st.integers(1, 2)), 2, *(draw(st.integers(1, most)) for _ in range(spatial))]
    number = st.integers(1, most)
    sizes = number | st.tuples(*[number if spatial == 1 else st.none() | number] * spatial)
    given = {name: draw(option) for name, option in options.items()}
    return Call((draw(arrays(tuple(shape))), draw(sizes)), given)


CALLS = [
    Beside(f"{name}{n}d", calls(n), getattr(ours, f"{name}{n}d"))
    for n in DIMENSIONS
    for name, calls in {
        "max_pool": lambda n: pooled(n, 2, return_indices=st.booleans()),
        "avg_pool": lambda n: means(n).filter(lambda call: n < 3 or fits(call)),
        "lp_pool": lambda n: powers(n).filter(fits),
        "max_unpool": unpooled,
        "adaptive_avg_pool": adaptive,
        "adaptive_max_pool": lambda n: adaptive(n, return_indices=st.booleans()),
    }.items()
]
