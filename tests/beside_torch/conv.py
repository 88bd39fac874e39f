"""Convolutions, unfold and fold beside PyTorch's."""

import warnings
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from beside_torch.call import Beside, Call
from tinygrad_cv.ops import conv as ours
from tinygrad_cv.testing.strategies import arrays, conv_geometry

GEOMETRY = ("stride", "padding", "dilation")


@st.composite
def images(draw: Any, shape: tuple[int, ...]) -> Any:
    """An array, or one image of it: without the batch axis."""
    x = draw(arrays(shape))
    return x[0] if len(x) == 1 and draw(st.booleans()) else x


@st.composite
def convolutions(draw: Any, spatial: int) -> Call:
    geometry = draw(conv_geometry(spatial))
    x, w = draw(images(geometry.images)), draw(arrays(geometry.weight))
    options = geometry.attributes()
    if draw(st.integers(0, 3)) == 0:  # no bias, and a padding that is a word
        options |= {"stride": 1, "padding": "same"}
        return Call((x, w), options)
    return Call((x, w, draw(arrays((geometry.outputs,)))), options)


@st.composite
def transposed(draw: Any, spatial: int) -> Call:
    geometry = draw(conv_geometry(spatial))
    x, w = draw(images(geometry.maps)), draw(arrays(geometry.weight))
    options = geometry.attributes()
    most = [max(s, d) - 1 for s, d in zip(options["stride"], options["dilation"], strict=True)]
    options["output_padding"] = tuple(draw(st.integers(0, n)) for n in most)
    if draw(st.booleans()):
        return Call((x, w), options)
    return Call((x, w, draw(arrays((geometry.channels,)))), options)


def has_pixels(call: Call) -> bool:
    """Whether the output of a transposed convolution is there at all."""
    x, w, *_ = call.inputs
    names = ("stride", "padding", "dilation", "output_padding")
    spatial = w.ndim - 2
    lengths = zip(x.shape[-spatial:], w.shape[2:], *(call.options[n] for n in names), strict=True)
    return all((n - 1) * s - 2 * p + d * (k - 1) + e >= 0 for n, k, s, p, d, e in lengths)


@st.composite
def unfolded(draw: Any) -> Call:
    geometry = draw(conv_geometry().filter(lambda geometry: geometry.batch))
    options = {name: geometry.lengths(name) for name in GEOMETRY}
    return Call((draw(images(geometry.images)), geometry.lengths("kernel")), options)


@st.composite
def folded(draw: Any) -> Call:
    geometry = draw(conv_geometry().filter(lambda geometry: geometry.batch))
    options = {name: geometry.lengths(name) for name in GEOMETRY}
    kernel = geometry.lengths("kernel")
    rows, windows = int(np.prod(kernel)), int(np.prod(geometry.lengths("out")))
    x = draw(images((geometry.batch, geometry.channels * rows, windows)))
    return Call((x, geometry.lengths("size"), kernel), options)


def quiet(name: str) -> Any:
    """PyTorch's function without its hint that 'same' with an even kernel makes a copy."""

    def call(*inputs: Any, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using padding='same'")
            return getattr(torch.nn.functional, name)(*inputs, **options)

    return call


CALLS = [
    *(
        Beside(f"conv{n}d", convolutions(n), getattr(ours, f"conv{n}d"), quiet(f"conv{n}d"))
        for n in (1, 2, 3)
    ),
    *(
        Beside(
            f"conv_transpose{n}d",
            transposed(n).filter(has_pixels),
            getattr(ours, f"conv_transpose{n}d"),
        )
        for n in (1, 2, 3)
    ),
    Beside("unfold", unfolded(), ours.unfold),
    Beside("fold", folded(), ours.fold),
]
