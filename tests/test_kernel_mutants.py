"""Broken compiled kernels, which the comparison with NumPy's has to reject.

A kernel is broken from Python, in what it is given: tables of places, parts of the work, buffers.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_cv as tg
from tinygrad_cv.backend import threads
from tinygrad_cv.backend.numpy_backend import NumpyBackend
from tinygrad_cv.backend.switch import has_numba

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(not has_numba(), reason="needs numba, of the extra fast"),
]

Array = Any
Patch = pytest.MonkeyPatch
NUMPY, ONES = NumpyBackend(), (1, 1)


@pytest.fixture(autouse=True)
def _many_parts(monkeypatch: Patch) -> Iterator[None]:
    """One worker: what a part leaves undone nobody else does."""
    before = tg.get_num_threads(), tg.get_kernels(), tg.get_conv_precision()
    tg.set_num_threads(1)
    tg.set_kernels("compiled")
    monkeypatch.setattr(threads, "WORTH_A_PART", 1 << 12)
    yield
    tg.set_num_threads(before[0])
    tg.set_kernels(before[1])
    tg.set_conv_precision(before[2])


def results(backend: Any, kernels: tuple[str, ...], precision: str) -> list[Array]:
    """Of an uneven image with a border, and of weights that fill no tile."""
    tg.set_conv_precision(precision)
    rng = np.random.default_rng(0)
    x, g, w, b = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((4, 33, 9, 10), (4, 35, 9, 10), (35, 33, 3, 3), (35,))
    )
    strided = rng.standard_normal((4, 35, 5, 5)).astype(np.float32)
    calls: dict[str, Callable[[], Any]] = {
        "conv": lambda: backend.conv(x, w, b, ONES, ONES, ONES, 1),
        "conv_transpose": lambda: backend.conv_transpose(g, w, (9, 10), ONES, ONES, ONES, 1),
        "phases": lambda: backend.conv_transpose(strided, w, (9, 10), (2, 2), ONES, ONES, 1),
        "conv_weight": lambda: backend.conv_weight(x, g, (3, 3), ONES, ONES, ONES, 1),
        "batch_norm": lambda: backend.batch_norm(x, b[:33], None, 1e-5)[0],
        "layer_norm": lambda: backend.standardize(x, None, None, (1, 2, 3), 1e-5)[0],
        "group_norm": lambda: backend.standardize(
            x.reshape(4, 3, 11, 9, 10), b[:33].reshape(3, 11, 1, 1), None, (2, 3, 4), 1e-5
        )[0],
        "rms_norm": lambda: backend.rms_norm(x, None, (2, 3), 1e-5)[0],
        "scale_channels": lambda: backend.scale_channels(
            x, *[b[:33].reshape(1, 33, 1, 1)] * 2, 1.0
        ),
        "softmax": lambda: backend.softmax(x.reshape(-1, 90), 1),
        "total": lambda: backend.total(np.tile(x, (4, 1, 1, 1)), (0, 2, 3)),
        "relu": lambda: backend.relu(x)[0],
        "matmul": lambda: backend.matmul(x.reshape(108, 110), x.reshape(110, 108)),
    }
    return [calls[name]() for name in kernels]


def same(kernels: tuple[str, ...], precision: str) -> bool:
    """Whether compiled kernels compute what NumPy's do, up to rounding."""
    from tinygrad_cv.backend.compiled.backend import CompiledBackend

    got = results(CompiledBackend(), kernels, precision)
    expected = results(NUMPY, kernels, precision)
    errors = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(got, expected, strict=True)]
    return bool(np.isfinite(errors).all()) and max(errors) < 1e-5


CONVOLUTIONS = ("conv", "conv_transpose", "phases", "conv_weight")
NORMS = ("batch_norm", "layer_norm", "group_norm", "rms_norm", "scale_channels")
ALL = (*CONVOLUTIONS, *NORMS, "softmax", "total", "relu", "matmul")


@pytest.fixture(params=["exact", "fast"])
def precision(request: Any) -> str:
    return str(request.param)


def test_what_is_not_broken_is_accepted(precision: str) -> None:
    assert same(ALL, precision)


def wrong_border(patch: Patch) -> None:
    """Windows begin one pixel too far to the left."""
    from tinygrad_cv.backend.compiled import conv

    axis = conv._axis
    patch.setattr(conv, "_axis", lambda n, k, s, p, d: axis(n, k, s, p + 1, d))


def wrong_phase(patch: Patch) -> None:
    """Of the transposed convolution, the taps of one phase go to the other."""
    from tinygrad_cv.backend.compiled import conv

    axis = conv._transposed_axis

    def broken(*geometry: int) -> Any:
        phases = axis(*geometry)
        return [
            phase._replace(taps=other.taps)
            for phase, other in zip(phases, reversed(phases), strict=True)
        ]

    patch.setattr(conv, "_transposed_axis", broken)


def bias_twice(patch: Patch) -> None:
    from tinygrad_cv.backend.compiled import conv

    bias = conv.padded_bias
    patch.setattr(conv, "padded_bias", lambda *args: 2 * bias(*args))


def weights_not_transposed(patch: Patch) -> None:
    """The taps of a kernel are taken along its columns."""
    from tinygrad_cv.backend.compiled import conv

    pack = conv._pack

    def broken(w: Array, taps: Array, *rest: Any) -> None:
        pack(w, np.ascontiguousarray(taps // 3 + taps % 3 * 3), *rest)

    patch.setattr(conv, "_pack", broken)


def stale_sums(patch: Patch) -> None:
    """What the sums of a weight gradient begin with is not cleared."""
    from tinygrad_cv.backend.compiled import conv

    weigh = conv.weigh

    def broken(x: Array, g: Array, dw: Array, *rest: Any) -> None:
        dw[: dw.size // 3] = 0.5
        weigh(x, g, dw, *rest)

    patch.setattr(conv, "weigh", broken)


def winograds_border(patch: Patch) -> None:
    from tinygrad_cv.backend.compiled import winograd

    forward = winograd._forward

    def broken(x: Array, w: Array, bias: Any, padding: Any, *rest: Any) -> Any:
        rolled = np.roll(x, 1, 3)  # what leaves the image on one side comes in on the other
        return forward(rolled, w, bias, padding, *rest)

    patch.setattr(winograd, "_forward", broken)


def stale_tiles(patch: Patch) -> None:
    """A group of tiles goes through with the transforms of the one before."""
    from tinygrad_cv.backend.compiled import winograd

    kernels = winograd.kernels

    def broken(m: int) -> Any:
        do = kernels(m)
        old: dict[str, Any] = vars(do).copy()

        def tiles(x: Array, *rest: Any) -> Any:
            *others, first, last, group = rest
            if first:
                x = np.roll(x, x.size // 4)
            return old["tiles"](x, *others, first, last, group)

        return type(do)(**{**old, "tiles": tiles})

    patch.setattr(winograd, "kernels", broken)


def winograds_weights_not_turned(patch: Patch) -> None:
    from tinygrad_cv.backend.compiled import winograd

    forward = winograd._forward

    def broken(x: Array, w: Array, *rest: Any) -> Any:
        *others, (_, o, c, k) = rest
        return forward(x, w, *others, (0, o, c, abs(k)))

    patch.setattr(winograd, "_forward", broken)


def dropped_last_part(patch: Patch, family: str) -> None:
    """The last part of the work is not done, or half of the only one; memory is not 0."""
    from tinygrad_cv.backend.compiled.backend import family as module_of

    module = module_of(family)

    def broken(work: Any, parts: Any, *rest: Any) -> Any:
        *done, last = parts
        shorter = slice(last.start, last.start + (last.stop - last.start) // 2)
        return threads.parallel(work, done or [shorter], *rest)

    empty = np.empty_like
    patch.setattr(module, "parallel", broken)
    patch.setattr(np, "empty_like", lambda *a, **k: filled(empty(*a, **k)))
    plain = np.empty
    patch.setattr(np, "empty", lambda *a, **k: filled(plain(*a, **k)))


def filled(x: Array) -> Array:
    x[...] = 7 if x.dtype != bool else True
    return x


BROKEN: dict[Any, tuple[str, tuple[str, ...]]] = {
    wrong_border: ("exact", ("conv", "conv_weight")),
    wrong_phase: ("exact", ("phases",)),
    bias_twice: ("exact", ("conv",)),
    weights_not_transposed: ("exact", ("conv", "conv_transpose", "phases")),
    stale_sums: ("exact", ("conv_weight",)),
    winograds_border: ("fast", ("conv", "conv_transpose")),
    stale_tiles: ("fast", ("conv", "conv_transpose")),
    winograds_weights_not_turned: ("fast", ("conv_transpose",)),
}


@pytest.mark.parametrize(
    ("broken", "kernel"),
    [(broken, kernel) for broken, (_, kernels) in BROKEN.items() for kernel in kernels],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_broken_kernel_is_rejected(broken: Any, kernel: str) -> None:
    from tinygrad_cv.backend.compiled import conv

    with Patch.context() as patch:
        broken(patch)
        conv.windows_of.cache_clear()
        assert not same((kernel,), BROKEN[broken][0])
    conv.windows_of.cache_clear()
    assert same((kernel,), BROKEN[broken][0])


LAST_PARTS = {
    ("conv", "exact"): ("conv", "conv_transpose", "phases", "conv_weight"),
    ("winograd", "fast"): ("conv", "conv_transpose", "conv_weight"),
    ("norm", "fast"): NORMS,
    ("turn", "fast"): ("batch_norm", "scale_channels"),
    ("rows", "fast"): ("softmax",),
    ("sums", "fast"): ("total",),
    ("matmul", "fast"): ("matmul",),
}


@pytest.mark.parametrize(
    ("family", "precision", "kernel"),
    [(*key, kernel) for key, kernels in LAST_PARTS.items() for kernel in kernels],
)
def test_a_last_part_that_is_dropped_is_missed(family: str, precision: str, kernel: str) -> None:
    assert same((kernel,), precision)  # and compiled
    with Patch.context() as patch:
        dropped_last_part(patch, family)
        assert not same((kernel,), precision)
