"""The steps of SGD and Adam in one pass, against NumPy's and against float64."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

import tinygrad_cv as tg
from tinygrad_cv import optim
from tinygrad_cv.backend.compiled import update
from tinygrad_cv.backend.compiled.backend import CompiledBackend
from tinygrad_cv.backend.numpy_backend import NumpyBackend

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("compiled_kernels")]

Array = Any
NUMPY, COMPILED = NumpyBackend(), CompiledBackend()


def close(found: list[Array], wanted: list[Array]) -> None:
    """To rounding, of numbers around 1."""
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6)


def lists(arrays: Iterable[Array]) -> list[list[Array]]:
    """What belongs to a single parameter, as what belongs to many."""
    return [[a] for a in arrays]


@given(
    size=st.integers(0, 70),
    seed=st.integers(0, 100),
    velocity=st.booleans(),
    momentum=st.sampled_from([0.5, 0.9]),
    dampening=st.sampled_from([0.0, 0.25]),
    decay=st.sampled_from([0.0, 0.1]),
    nesterov=st.booleans(),
)
def test_sgd(
    size: int,
    seed: int,
    velocity: bool,
    momentum: float,
    dampening: float,
    decay: float,
    nesterov: bool,
) -> None:
    """Whole vectors, and a last one that is not full; whatever is switched on."""
    rng = np.random.default_rng(seed)
    given = [*rng.normal(size=(3, size)).astype("float32")]
    if not velocity:
        given = given[:2]
    arrays = [a.copy() for a in given]
    wide = [a.astype("float64") for a in given]
    options = (0.3, momentum, dampening, decay, nesterov)
    assert update.sgd_steps(*lists(arrays[:2]), [arrays[2]] if velocity else None, *options)
    NUMPY.sgd_step(*wide[:2], wide[2] if velocity else None, *options)
    close(arrays, wide)
    np.testing.assert_array_equal(arrays[1], given[1])  # the gradient is left alone


@given(
    size=st.integers(0, 70),
    seed=st.integers(0, 100),
    step=st.sampled_from([1, 7, np.inf]),
    decay=st.sampled_from([0.0, 0.1]),
    kept=st.sampled_from([1.0, 0.75]),
)
def test_adam(size: int, seed: int, step: float, decay: float, kept: float) -> None:
    """The moments and the step that is made of them."""
    rng = np.random.default_rng(seed)
    given = [*rng.normal(size=(4, size)).astype("float32")]
    given[3] = np.abs(given[3]) + np.float32(0.1)
    arrays, wide = [a.copy() for a in given], [a.astype("float64") for a in given]
    options = (step, 0.01, (0.9, 0.99), 1e-3, decay)
    assert update.adam_steps(*lists(arrays), *options, kept)
    NUMPY.adam_step(*wide, *options, kept=kept)
    close(arrays, wide)


@pytest.mark.parametrize("size", [2 * update.PART - 1, 3 * update.PART + 1])
def test_the_same_bits_for_any_number_of_threads(size: int) -> None:
    """And the last number of each part is changed."""
    rng = np.random.default_rng(0)
    given = [*np.abs(rng.normal(size=(4, size))).astype("float32")]
    results = []
    for threads in (1, 2, 3):
        tg.set_num_threads(threads)
        sgd, adam = [a.copy() for a in given[:3]], [a.copy() for a in given]
        update.sgd_steps(*lists(sgd), 0.1, 0.9, 0.0, 0.0, False)
        update.adam_steps(*lists(adam), 3, 0.01, (0.9, 0.99), 1e-8, 0.0, 1.0)
        results.append([*sgd, *adam])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    close(results[0][:1], [given[0] - 0.1 * (0.9 * given[2] + given[1])])


PART = update.PART


@given(
    sizes=st.lists(
        st.sampled_from([0, 1, 5, 33, 300, PART - 1, PART, PART + 17, 2 * PART + 3]), max_size=6
    ),
    threads=st.integers(1, 3),
    kind=st.sampled_from(["sgd", "momentum", "adam"]),
)
def test_many_at_once_are_one_after_another(sizes: list[int], threads: int, kind: str) -> None:
    """Parts begin and end inside of parameters, and between them: the same bits as one by one."""
    rng = np.random.default_rng(len(sizes))
    columns = {"sgd": 2, "momentum": 3, "adam": 4}[kind]
    alone = [[np.abs(rng.normal(size=n)).astype("float32") for _ in range(columns)] for n in sizes]
    listed = [[a.copy() for a in arrays] for arrays in alone]
    tg.set_num_threads(threads)
    if kind == "adam":
        numbers: tuple[Any, ...] = (3, 0.01, (0.9, 0.99), 1e-8, 0.1, 0.9)
        step: Any = update.adam_steps
    else:
        numbers, step = (0.1, 0.9, 0.0, 0.1, False), update.sgd_steps
    rest = [None] if kind == "sgd" else []
    for arrays in alone:
        assert step(*lists(arrays), *rest, *numbers)
    if sizes:
        assert step(*map(list, zip(*listed, strict=True)), *rest, *numbers)
    for one, other in zip(alone, listed, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.1),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, maximize=True, velocity_holds_lr=True),
        lambda p: optim.Adam(p, lr=0.1),
        lambda p: optim.Adam(p, lr=0.1, amsgrad=True, weight_decay=0.01),
        lambda p: optim.AdamW(p, lr=0.1),
    ],
)
def test_optimizers_are_the_same_with_and_without(make: Any) -> None:
    """Parameters of any layout and size, whose gradients may lie otherwise; five steps."""
    found = []
    for kind in ("numpy", "compiled"):
        tg.set_kernels(kind)
        rng = np.random.default_rng(0)
        weight = rng.normal(size=(40, 50)).astype("float32")
        params = [
            tg.tensor(a, requires_grad=True)
            for a in (weight, weight.T[:13], rng.normal(size=7), rng.normal(size=(3, 4, 2)))
        ]
        params[0].data = params[0].data.T  # lies column by column
        params.append(tg.tensor(np.ones(300, "float16"), requires_grad=True))
        optimizer = make(params)
        for _ in range(5):
            for p in params:
                p.grad = tg.tensor(rng.normal(size=p.shape), dtype=p.dtype)
            optimizer.step()
        found.append([p.detach().numpy() for p in params])
    for plain, compiled in zip(*found, strict=True):
        assert plain.dtype == compiled.dtype
        rtol = 1e-3 if plain.dtype == "float16" else 1e-5
        np.testing.assert_allclose(compiled, plain, rtol=rtol, atol=1e-5)


def test_a_parameter_with_gaps_is_left_to_numpy() -> None:
    """A view of a part of a larger array is changed, and nothing beside it."""
    base = np.ones((40, 80), "float32")
    p, g = base[:, ::2], np.ones((40, 40), "float32")
    COMPILED.sgd_step(
        p, g, None, lr=0.5, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False
    )
    COMPILED.sgd_step(
        p, g, g.copy(), lr=0.25, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False
    )
    np.testing.assert_array_equal(p, np.full((40, 40), 0.25))
    np.testing.assert_array_equal(base[:, 1::2], np.ones((40, 40)))


def test_a_parameter_that_is_read_only_is_not_written_to() -> None:
    from tinygrad_cv.backend.compiled.backend import CompiledBackend

    p = np.ones(5000, np.float32)
    p.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        CompiledBackend().sgd_step(p, np.ones_like(p), None, 0.1, 0, 0, 0, False)
    with pytest.raises(ValueError, match="read-only"):
        CompiledBackend().adam_step(p, *np.ones((3, 5000), np.float32), 1, 0.1, (0.9, 0.99), 1, 0)
    assert (p == 1).all()


@given(
    sizes=st.lists(
        st.sampled_from([0, 1, 5, 33, 300, PART - 1, PART, PART + 17, 2 * PART + 3]), max_size=6
    ),
    scale=st.sampled_from([1e-42, 1e-25, 1.0, 1e25, 1e38]),
)
def test_the_norm_of_many_gradients(sizes: list[int], scale: float) -> None:
    """As float64 has it, whatever the size of the numbers; the same for any number of threads."""
    rng = np.random.default_rng(len(sizes))
    xs = [(rng.uniform(-1, 1, n) * scale).astype("float32") for n in sizes]
    found = []
    for threads in (1, 2, 3):
        tg.set_num_threads(threads)
        with np.errstate(over="ignore"):  # as a backend at work has it
            found.append(update.norm_of_all(xs))
    wide = np.concatenate([np.zeros(1), *xs])
    with np.errstate(over="ignore"):
        wanted = np.float32(np.sqrt(np.sum(wide * wide)))
    assert found[0].dtype == np.float32
    assert found[0].shape == ()
    np.testing.assert_allclose(found[0], wanted, rtol=2e-7)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(("number", "wanted"), [(np.nan, np.nan), (-np.inf, np.inf)])
def test_the_norm_of_what_is_not_finite(number: float, wanted: float) -> None:
    xs = [np.ones(300, "float32"), np.ones(7, "float32")]
    xs[1][6] = number
    np.testing.assert_equal(update.norm_of_all(xs), np.float32(wanted))


def test_clipping_is_the_same_with_and_without() -> None:
    """Also where the gradients have gaps, or are of two dtypes, which no kernel takes."""
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(20, 40)).astype("float32")
    kinds = {
        "plain": [wide, wide[0].copy()],
        "turned": [wide.T, wide[0].copy()],
        "gaps": [wide[:, ::2], wide[0]],
        "two dtypes": [wide, wide.astype("float64")],
    }
    for name, gradients in kinds.items():
        found = []
        for kernels in ("numpy", "compiled"):
            tg.set_kernels(kernels)
            params = [tg.nn.Parameter(tg.zeros(*g.shape, dtype=str(g.dtype))) for g in gradients]
            for p, g in zip(params, gradients, strict=True):
                p.grad = tg.from_numpy(g.copy(order="K"))
            norm = tg.nn.utils.clip_grad_norm_(params, 1.5)
            found.append([norm.numpy(), *(p.grad.numpy() for p in params)])
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=name)


def test_what_is_remembered_in_another_order_is_left_to_numpy() -> None:
    """As it comes from a file: the parameter lies row by row, its velocity column by column."""
    rng = np.random.default_rng(0)
    p, g, v = rng.normal(size=(3, 40, 50)).astype("float32")
    turned, wide = np.asfortranarray(v), [a.astype("float64") for a in (p, g, v)]
    numbers = {"lr": 0.1, "momentum": 0.9, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
    COMPILED.sgd_steps([p], [g], [turned], **numbers)
    NUMPY.sgd_step(*wide, **numbers)
    close([p, turned], [wide[0], wide[2]])
