"""Images in another geometry."""

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from beside_torch.call import Beside, Call
from rows.shape import with_empty
from tinygrad_cv.ops import image
from tinygrad_cv.testing.strategies import arrays, shapes

MODES = {
    1: ("nearest", "nearest-exact", "area", "linear"),
    2: ("nearest", "nearest-exact", "area", "bilinear", "bicubic"),
    3: ("nearest", "nearest-exact", "area", "trilinear"),
}


SIDES = st.integers(1, 4)


@st.composite
def resizings(draw: Any) -> Call:
    """Sizes or factors, one for all axes or one each; factors that leave a length, or double it."""
    count = draw(st.integers(1, 3))
    lengths = [draw(st.integers(1, 9)) for _ in range(count)]
    x = draw(arrays((draw(st.integers(1, 2)), draw(st.integers(1, 3)), *lengths)))
    options: dict[str, Any] = {"mode": draw(st.sampled_from(MODES[count]))}
    if draw(st.booleans()):
        size = st.integers(1, 12)
        options["size"] = draw(st.one_of(size, st.tuples(*[size] * count)))
    else:
        least = 1 / min(lengths)
        factor = st.sampled_from((1, 2, 3, 1.1, 2.05, 1.5)) | st.floats(least, 2.5)
        if options["mode"] == "bicubic" or (options["mode"] == "nearest" and count != 2):
            # With a factor such as 1.1, which leaves a short axis as it is (or 2.05, which doubles
            # it), PyTorch's gradient is not the adjoint of its own forward.
            factor = st.sampled_from((1, 2, 3, 1.5))
        options["scale_factor"] = draw(st.one_of(factor, st.tuples(*[factor] * count)))
        options["recompute_scale_factor"] = draw(st.sampled_from((None, False, True)))
    if options["mode"].endswith(("linear", "cubic")):
        options["align_corners"] = draw(st.sampled_from((None, False, True)))
    if options["mode"] in ("bilinear", "bicubic") and not options["align_corners"]:
        options["antialias"] = draw(st.booleans())  # where corners meet, PyTorch's are shifted
    return Call((x,), options)


@st.composite
def samplings(draw: Any) -> Call:
    """Places on and around the image; whole numbers are on the edges or the centres of pixels."""
    spatial = draw(st.sampled_from((2, 3)))
    batch = draw(st.integers(1, 2))
    x = draw(arrays((batch, draw(st.integers(1, 2)), *(draw(SIDES) for _ in range(spatial)))))
    grid = draw(arrays((batch, *(draw(SIDES) for _ in range(spatial)), spatial), -2.5, 2.5))
    if draw(st.booleans()):
        grid = np.round(grid)
    return Call(
        (x, grid),
        {
            "mode": draw(st.sampled_from(("bilinear", "nearest", "bicubic")[: 5 - spatial])),
            "padding_mode": draw(st.sampled_from(("zeros", "border", "reflection"))),
            "align_corners": draw(st.booleans()),
        },
    )


@st.composite
def transformations(draw: Any) -> Call:
    spatial = draw(st.sampled_from((2, 3)))
    theta = draw(arrays((draw(st.integers(1, 2)), spatial, spatial + 1)))
    # Of a single place with its corners aligned, PyTorch warns that it has changed its mind.
    size = (len(theta), 1, *(draw(st.integers(2, 4)) for _ in range(spatial)))
    return Call((theta, size), {"align_corners": draw(st.booleans())})


@st.composite
def squares(draw: Any, large: bool) -> Call:
    r = draw(st.integers(1, 3))
    *batch, channels, height, width = draw(shapes(3, 4))
    shape = (channels, height * r, width * r) if large else (channels * r * r, height, width)
    return Call((draw(arrays((*batch, *shape))), r))


@st.composite
def decks(draw: Any) -> Call:
    groups = draw(st.integers(1, 3))
    batch, each = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    return Call((draw(arrays((batch, groups * each, draw(SIDES), draw(SIDES)))), groups))


@st.composite
def turns(draw: Any) -> Call:
    x = draw(arrays(with_empty(2, 3)))
    return Call((x, draw(st.integers(-5, 5)), draw(st.permutations(range(x.ndim)))[:2]))


CALLS = [
    Beside("affine_grid", transformations(), image.affine_grid),
    Beside("channel_shuffle", decks(), image.channel_shuffle, torch.channel_shuffle),
    Beside("grid_sample", samplings(), image.grid_sample, torch.nn.functional.grid_sample),
    Beside("interpolate", resizings(), image.interpolate),
    Beside("pixel_shuffle", squares(large=False), image.pixel_shuffle),
    Beside("pixel_unshuffle", squares(large=True), image.pixel_unshuffle),
    Beside("rot90", turns(), image.rot90),
]
