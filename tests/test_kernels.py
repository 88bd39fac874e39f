"""The CUDA kernels without a card: what their references compute, and that the sources do the same.

A reference is held against loops and formulas written here. A source is compiled by the host's
C++ compiler, with cuda_shim.h in the place of CUDA, and run thread by thread on a grid that is
smaller than the work; and it is compiled for a card where there is a compiler for that.
"""

import ctypes
import functools
import itertools
import math
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st

import oracles
from tinygrad_cv.backend import kernels
from tinygrad_cv.backend.kernels import KERNELS, Elementwise, RawKernel, Reduction
from tinygrad_cv.backend.numpy_backend import NumpyBackend
from tinygrad_cv.testing.geometry import BATCHES, Axis, Geometry, axes

pytestmark = pytest.mark.host

Array = Any
Library = Callable[[str], Any]
Rng = np.random.Generator

CPU = NumpyBackend()

LABELS = {"int64": "long long", "int32": "int", "uint8": "unsigned char"}
"""What S may be in a formula."""

C_NAMES = {"float64": "double", "int64": "long long"}
"""The types that a formula names, and does not call T or S."""

GRIDS = st.tuples(st.integers(1, 3), st.integers(1, 3))
"""Blocks and threads: fewer than there are elements, as a rule."""

SEEDS = st.integers(0, 2**32 - 1)


# ----- sources to compile -----


def parameters(kernel: Elementwise | Reduction) -> Iterator[tuple[str, str, bool, bool]]:
    """(type, name, is raw, is an output) for each parameter, in order."""
    for text, is_output in ((kernel.inputs, False), (kernel.outputs, True)):
        for parameter in text.split(", "):
            *raw, type_name, name = parameter.split()
            yield type_name, name, raw == ["raw"], is_output


def formula(kernel: Elementwise | Reduction) -> str:
    """A kernel around a formula, roughly as CuPy writes it: one address for each array.

    Of an elementwise one all arrays have `count` elements; a reduction joins `count` terms.
    """
    declared, elements = ["long long count"], []
    for type_name, name, is_raw, is_output in parameters(kernel):
        c_type = C_NAMES.get(type_name, type_name)
        if type_name in ("int64", "bool"):
            declared.append(f"{c_type} {name}")
        elif is_raw:
            declared.append(f"const {c_type}* {name}")
        else:
            const = "" if is_output else "const "
            declared.append(f"{const}{c_type}* {name}_")
            elements.append(f"{const}{c_type}& {name} = {name}_[i];")
    head = f'extern "C" __global__ void {kernel.name}_NAME({", ".join(declared)})'
    if isinstance(kernel, Elementwise):
        return f"{head} {{ FOR_EACH(i, count) {{ {' '.join(elements)} {kernel.body}; }} }}"
    *given_elements, _ = elements
    total = C_NAMES.get(kernel.outputs.split()[0], "T")
    return (
        f"{head} {{ FOR_EACH(one, 1) {{ {total} a = {kernel.identity}; "
        f"for (long long i = 0; i < count; ++i) {{ {' '.join(given_elements)} "
        f"const {total} b = {kernel.map}; a = {kernel.reduce}; }} "
        f"{total}& y = *y_; {kernel.post}; }} }}"
    )


PROBES = """
extern "C" __global__ void philox_probe(unsigned int* words, unsigned int k0, unsigned int k1) {
    FOR_EACH(i, 1) {
        Words c = {{words[0], words[1], words[2], words[3]}};
        c = philox(c, k0, k1);
        for (int j = 0; j < 4; ++j) words[j] = c.w[j];
    }
}
extern "C" __global__ void unit_probe(T* y, long long number, unsigned long long key) {
    FOR_EACH(i, 1) *y = unit(key, number);
}
"""


def all_sources(dtype: str) -> str:
    """Every kernel for a dtype, each in a namespace of its own."""
    parts = []
    for kernel in KERNELS.values():
        if isinstance(kernel, RawKernel):
            if dtype in kernel.dtypes:
                probes = PROBES if kernel is kernels.UNIFORM else ""
                parts.append(f"namespace {kernel.name}_ {{ {kernel.code(dtype)} {probes} }}")
        elif dtype in kernels.FLOATS:
            for label, c_type in LABELS.items():
                parts.append(
                    f"namespace {kernel.name}_{label}_ {{ typedef {kernels.TYPES[dtype][0]} T; "
                    f"typedef {c_type} S;\n{kernels.PRELUDE}\n"
                    f"{formula(kernel).replace('_NAME', f'_{label}')} }}"
                )
    return "\n".join(parts)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Gives all kernels of a dtype as functions on the host."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler (c++, g++ or clang++) on the PATH")
    folder = tmp_path_factory.mktemp("kernels")
    shim = Path(__file__).with_name("cuda_shim.h")

    @functools.cache
    def compiled(dtype: str) -> Any:
        source, target = folder / f"{dtype}.cpp", folder / f"{dtype}.so"
        source.write_text(f'#include "{shim}"\n{all_sources(dtype)}', encoding="utf-8")
        warnings = ("-Wall", "-Wextra", "-Werror", "-Wno-tautological-compare")  # x == x: no NaN
        # Without contraction a·b + c is rounded twice, as it is in NumPy.
        options = ("-std=c++11", "-O1", "-ffp-contract=off", "-shared", "-fPIC", *warnings)
        done = subprocess.run(
            [compiler, *options, "-o", target, source], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return ctypes.CDLL(str(target))

    return compiled


# ----- running them -----

MARGIN = 16


def guarded(array: Array) -> tuple[Array, Array]:
    """A copy of the array and the larger array in which it lies.

    Around it are numbers that would show in a result, or show where they are written over.
    """
    fill = np.nan if array.dtype.kind == "f" else 99
    around = np.full(array.size + 2 * MARGIN, fill, array.dtype)
    inside = around[MARGIN : MARGIN + array.size].reshape(array.shape)
    inside[...] = array
    return inside, around


def launch(function: Any, grid: tuple[int, int], *args: Any) -> list[Any]:
    """Run a compiled kernel, thread by thread from the last to the first.

    The arrays are copied; returned are the arguments, with the copies as the kernel left them.
    """
    function.restype = None
    copies, native, borders = [], [], []
    for argument in args:
        if isinstance(argument, np.ndarray):
            inside, around = guarded(argument)
            borders.append((around, around.copy()))
            native.append(ctypes.c_void_p(inside.ctypes.data))
            copies.append(inside)
        else:
            c_type = np.ctypeslib.as_ctypes_type(np.asarray(argument).dtype)
            native.append(c_type(argument))
            copies.append(argument)
    (blocks, threads), become = grid, function.become
    for block, thread in itertools.product(reversed(range(blocks)), reversed(range(threads))):
        become(blocks, threads, block, thread)
        function(*native)
    for after, before in borders:
        for border in (slice(MARGIN), slice(after.size - MARGIN, None)):
            np.testing.assert_array_equal(after[border], before[border], "outside an array")
    return copies


def source(library: Library, dtype: str, name: str) -> Any:
    compiled = library(dtype)
    function = getattr(compiled, name)
    function.become = compiled.become
    return function


# ----- kernels on windows -----


@st.composite
def geometries(draw: Any) -> Geometry:
    """Windows in one to three dimensions; some of them may see nothing but padding."""
    return Geometry(
        batch=draw(BATCHES),
        channels=draw(st.integers(1, 2)),
        axes=tuple(draw(st.lists(axes(), min_size=1, max_size=3))),
    )


def geometry_numbers(geometry: Geometry) -> tuple[int, ...]:
    names = ("size", "out", "kernel", "stride", "padding", "dilation")
    return kernels.geometry(*(geometry.lengths(name) for name in names))


def looks(geometry: Geometry) -> Iterator[tuple[Any, int, Any]]:
    """(window, number of the tap, pixel) for each tap of each window that sees a pixel."""
    for window in np.ndindex(*geometry.lengths("out")):
        for number, tap in enumerate(np.ndindex(*geometry.lengths("kernel"))):
            pixel = tuple(
                axis.starts[o] + u * axis.dilation
                for axis, o, u in zip(geometry.axes, window, tap, strict=True)
            )
            if all(0 <= x < axis.size for axis, x in zip(geometry.axes, pixel, strict=True)):
                yield window, number, pixel


def numbers(rng: Rng, shape: Any, dtype: str, special: bool = False) -> Array:
    """Small integers, whose sums are exact in every dtype; now and then NaN or an infinity."""
    values = rng.integers(0 if dtype == "uint8" else -7, 8, shape).astype(dtype)
    if special and dtype in kernels.FLOATS:
        strange = rng.choice([np.nan, np.inf, -np.inf], shape)
        values = np.where(rng.random(shape) < 0.2, strange, values).astype(dtype)
    return values


def unset(shape: Any, dtype: Any) -> Array:
    """What an output holds before: nothing that a result may contain."""
    return np.full(shape, 101, dtype)


def columns_shape(geometry: Geometry) -> tuple[int, ...]:
    taps = math.prod(geometry.lengths("kernel"))
    return (geometry.channels, taps, geometry.batch, *geometry.lengths("out"))


Call = tuple[list[Any], dict[int, Array]]
"""A kernel's arguments, and what some of them have to be afterwards."""


def im2col(geometry: Geometry, dtype: str, rng: Rng) -> Call:
    x = numbers(rng, geometry.images, dtype, special=True)
    columns = np.zeros(columns_shape(geometry), dtype)
    for window, tap, pixel in looks(geometry):
        columns[:, tap, :, *window] = x[:, :, *pixel].T
    return [x, unset(columns.shape, dtype), geometry.batch, geometry.channels], {1: columns}


def col2im(geometry: Geometry, dtype: str, rng: Rng) -> Call:
    columns = numbers(rng, columns_shape(geometry), dtype)
    x = np.zeros(geometry.images, dtype)
    for window, tap, pixel in looks(geometry):
        x[:, :, *pixel] += columns[:, tap, :, *window].T
    return [columns, unset(x.shape, dtype), geometry.batch, geometry.channels], {1: x}


def max_pool(geometry: Geometry, dtype: str, rng: Rng) -> Call:
    x = numbers(rng, geometry.images, dtype, special=True)
    lowest = -np.inf if dtype in kernels.FLOATS else np.iinfo(dtype).min
    y, index = np.full(geometry.windows, lowest, dtype), np.zeros(geometry.windows, np.int32)
    seen: dict[Any, list[tuple[int, Any]]] = {}
    for window, tap, pixel in looks(geometry):
        seen.setdefault(window, []).append((tap, pixel))
    for plane in np.ndindex(geometry.batch, geometry.channels):
        for window, taps in seen.items():
            values = [x[*plane, *pixel] for _, pixel in taps]
            best = int(np.argmax(values))  # the first of equal ones, and NaN before all numbers
            y[*plane, *window], index[*plane, *window] = values[best], taps[best][0]
    given_arrays = [x, unset(y.shape, dtype), unset(y.shape, np.int32)]
    return [*given_arrays, geometry.batch * geometry.channels], {1: y, 2: index}


def some_index(geometry: Geometry, rng: Rng) -> Array:
    taps = math.prod(geometry.lengths("kernel"))
    return rng.integers(0, taps, geometry.windows, dtype=np.int32)


def window_scatter(geometry: Geometry, dtype: str, rng: Rng) -> Call:
    g, index = numbers(rng, geometry.windows, dtype), some_index(geometry, rng)
    x = np.zeros(geometry.images, dtype)
    for window, tap, pixel in looks(geometry):
        for plane in np.ndindex(geometry.batch, geometry.channels):
            if index[*plane, *window] == tap:
                x[*plane, *pixel] += g[*plane, *window]
    return [g, index, unset(x.shape, dtype), geometry.batch * geometry.channels], {2: x}


def window_gather(geometry: Geometry, dtype: str, rng: Rng) -> Call:
    x, index = numbers(rng, geometry.images, dtype, special=True), some_index(geometry, rng)
    y = np.zeros(geometry.windows, dtype)
    for window, tap, pixel in looks(geometry):
        for plane in np.ndindex(geometry.batch, geometry.channels):
            if index[*plane, *window] == tap:
                y[*plane, *window] = x[*plane, *pixel]
    return [x, index, unset(y.shape, dtype), geometry.batch * geometry.channels], {2: y}


def window_sum(geometry: Geometry, dtype: str, rng: Rng) -> Call:
    x, y = numbers(rng, geometry.images, dtype), np.zeros(geometry.windows, dtype)
    for window, _, pixel in looks(geometry):
        y[:, :, *window] += x[:, :, *pixel]
    divisor, y = divided(rng, y)
    return [x, unset(y.shape, dtype), geometry.batch * geometry.channels, divisor], {1: y}


def window_spread(geometry: Geometry, dtype: str, rng: Rng) -> Call:
    g, x = numbers(rng, geometry.windows, dtype), np.zeros(geometry.images, dtype)
    for window, _, pixel in looks(geometry):
        x[:, :, *pixel] += g[:, :, *window]
    divisor, x = divided(rng, x)
    return [g, unset(x.shape, dtype), geometry.batch * geometry.channels, divisor], {1: x}


def divided(rng: Rng, total: Array) -> tuple[int, Array]:
    """A divisor (of whole numbers 1), and what it makes of whole numbers, rounded once."""
    divisor = int(rng.integers(1, 5)) if total.dtype.kind == "f" else 1
    return divisor, (total.astype(np.float64) / divisor).astype(total.dtype)


ON_WINDOWS: dict[str, Callable[[Geometry, str, Rng], Call]] = {
    f.__name__: f
    for f in (
        im2col,
        col2im,
        max_pool,
        window_scatter,
        window_gather,
        window_sum,
        window_spread,
    )
}

IN_THE_PADDING = Geometry(2, 1, (Axis(1, 1, 1, 2, 1), Axis(3, 3, 4, 2, 2)))
NO_IMAGES = Geometry(0, 2, (Axis(3, 2, 1, 0, 1),))

on_windows = pytest.mark.parametrize("name", ON_WINDOWS)
of_all_types = pytest.mark.parametrize("dtype", kernels.TYPES)
of_floats = pytest.mark.parametrize("dtype", kernels.FLOATS)


@on_windows
@of_all_types
@given(geometry=geometries(), seed=SEEDS)
@example(geometry=IN_THE_PADDING, seed=0)
@example(geometry=NO_IMAGES, seed=0)
def test_references_on_windows_do_what_loops_do(
    name: str, dtype: str, geometry: Geometry, seed: int
) -> None:
    args, expected = ON_WINDOWS[name](geometry, dtype, np.random.default_rng(seed))
    KERNELS[name].reference(*args, *geometry_numbers(geometry))
    for place, values in expected.items():
        np.testing.assert_array_equal(args[place], values, strict=True)


@on_windows
@of_all_types
@given(geometry=geometries(), seed=SEEDS, grid=GRIDS)
@example(geometry=IN_THE_PADDING, seed=0, grid=(2, 2))
@example(geometry=NO_IMAGES, seed=0, grid=(1, 1))
def test_sources_on_windows_do_what_references_do(
    library: Library,
    name: str,
    dtype: str,
    geometry: Geometry,
    seed: int,
    grid: tuple[int, int],
) -> None:
    args, expected = ON_WINDOWS[name](geometry, dtype, np.random.default_rng(seed))
    args += map(np.int32, geometry_numbers(geometry))
    native = [np.int32(a) if isinstance(a, int) else a for a in args]
    results = launch(source(library, dtype, name), grid, *native)
    KERNELS[name].reference(*args)
    for place in expected:
        np.testing.assert_array_equal(results[place], args[place], strict=True)


@given(geometry=geometries(), seed=SEEDS)
def test_the_columns_times_the_kernel_are_the_convolution(geometry: Geometry, seed: int) -> None:
    """w (O, C·K) @ im2col(x) (C·K, N·S') = conv(x, w), here in two dimensions."""
    missing = (Axis(1, 1, 1, 0, 1),) * (2 - len(geometry.axes))
    geometry = Geometry(geometry.batch, geometry.channels, (*missing, *geometry.axes[:2]))
    rng = np.random.default_rng(seed)
    x = numbers(rng, geometry.images, "float64")
    w = numbers(rng, (2, geometry.channels, *geometry.lengths("kernel")), "float64")
    columns = unset(columns_shape(geometry), "float64")
    counts = geometry.batch, geometry.channels
    kernels.IM2COL.reference(x, columns, *counts, *geometry_numbers(geometry))
    width = math.prod(columns.shape[:2])
    product = w.reshape(2, width) @ columns.reshape(width, math.prod(columns.shape[2:]))
    y = product.reshape(2, geometry.batch, *geometry.lengths("out")).swapaxes(0, 1)
    expected = oracles.conv2d(x, w, **geometry.attributes("stride", "padding", "dilation"))
    np.testing.assert_array_equal(y, expected)


# ----- random numbers -----

ONES, PI = "ffffffff ffffffff", "243f6a88 85a308d3 13198a2e 03707344"

VECTORS = [  # from Random123, the paper's own library: kat_vectors, philox4x32 of 10 rounds
    ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    (f"{ONES} {ONES}", ONES, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (PI, "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]

RANDOM = {"uniform": "uniform", "normal": "norm"}
"""The kernels and the distributions as SciPy calls them."""

known_answers = pytest.mark.parametrize(("counter", "key", "answer"), VECTORS)
random_kernels = pytest.mark.parametrize("name", RANDOM)
KEYS = st.integers(0, 2**64 - 1)


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def drawn(name: str, dtype: str, count: int, key: int) -> Array:
    y = np.empty(count, dtype)
    KERNELS[name].reference(y, count, key)
    return y


@known_answers
def test_philox_gives_the_known_answers(counter: str, key: str, answer: str) -> None:
    k0, k1 = words(key)
    np.testing.assert_array_equal(kernels.philox(words(counter), (k0, k1)), words(answer))


@known_answers
def test_the_source_of_philox_gives_the_known_answers(
    library: Library, counter: str, key: str, answer: str
) -> None:
    probe = source(library, "float32", "philox_probe")
    result, *_ = launch(
        probe, (1, 1), np.array(words(counter), np.uint32), *map(np.uint32, words(key))
    )
    np.testing.assert_array_equal(result, words(answer))


@of_floats
@given(number=st.one_of(st.integers(0, 9), st.integers(2**33, 2**62)), key=KEYS)
def test_a_number_is_made_from_the_words_of_its_block(
    library: Library, dtype: str, number: int, key: int
) -> None:
    each = {"float32": 4, "float64": 2}[dtype]
    block, place = divmod(number, each)
    stream = kernels.philox(
        (block % 2**32, block // 2**32, 0, 0), (key % 2**32, key // 2**32)
    ).tolist()
    if dtype == "float32":
        expected = (stream[place] // 2**8) / 2**24
    else:
        expected = (stream[2 * place] * 2**32 + stream[2 * place + 1]) // 2**11 / 2**53
    probe = source(library, dtype, "unit_probe")
    result, *_ = launch(probe, (1, 1), unset(1, dtype), np.int64(number), np.uint64(key))
    assert result.item() == expected
    if number < 10:
        assert drawn("uniform", dtype, number + 1, key)[-1] == expected


@random_kernels
@of_floats
@given(count=st.integers(0, 20), key=KEYS, grid=GRIDS)
def test_sources_of_random_numbers_do_what_references_do(
    library: Library, name: str, dtype: str, count: int, key: int, grid: tuple[int, int]
) -> None:
    args = unset(count, dtype), np.int64(count), np.uint64(key)
    result, *_ = launch(source(library, dtype, name), grid, *args)
    expected = drawn(name, dtype, count, key)
    if name == "uniform":
        np.testing.assert_array_equal(result, expected, strict=True)
    else:  # each library has its own last digit of a logarithm and of a sine
        eps = float(np.finfo(dtype).eps)
        np.testing.assert_allclose(result, expected, rtol=4 * eps, atol=16 * eps)


@random_kernels
@of_floats
@given(count=st.integers(1, 20), more=st.integers(1, 20), key=KEYS)
def test_an_element_does_not_depend_on_how_many_there_are(
    name: str, dtype: str, count: int, more: int, key: int
) -> None:
    few, many = drawn(name, dtype, count, key), drawn(name, dtype, count + more, key)
    np.testing.assert_array_equal(few, many[:count], strict=True)


@random_kernels
@of_floats
def test_random_numbers_are_distributed_as_they_should(name: str, dtype: str) -> None:
    y = drawn(name, dtype, 100_000, 2011)
    assert np.isfinite(y).all()
    if name == "uniform":
        assert (y >= 0).all()
        assert (y < 1).all()
    assert scipy.stats.kstest(y, RANDOM[name]).pvalue > 0.01
    assert scipy.stats.kstest(y[::2], y[1::2]).pvalue > 0.01
    # Neighbours have nothing to do with each other, nor have their sizes.
    for sequence in (y, np.abs(y - y.mean())):
        for first in (0, 1):
            pairs = sequence[first : len(y) - first].reshape(-1, 2)
            assert scipy.stats.pearsonr(*pairs.T).pvalue > 0.01


@random_kernels
@given(keys=st.lists(KEYS, min_size=2, max_size=2, unique=True))
def test_another_key_gives_other_numbers(name: str, keys: list[int]) -> None:
    first, second = (drawn(name, "float64", 4, key) for key in keys)
    assert (first != second).all()


# ----- formulas -----

Formula = tuple[list[Any], list[Array], list[Array]]
"""The inputs, what the outputs hold before, and what they have to hold afterwards."""


def floats(rng: Rng, shape: Any, dtype: str) -> Array:
    return rng.normal(size=shape).astype(dtype)


def some_labels(rng: Rng, count: int, classes: int, label: str) -> Array:
    """Labels of which some are out of range."""
    return rng.integers(0 if label == "uint8" else -2, classes + 2, count).astype(label)


def pick_label(rng: Rng, dtype: str, label: str, count: int) -> Formula:
    classes = int(rng.integers(1, 5))
    log_p = -np.abs(floats(rng, (count, classes), dtype))
    labels = some_labels(rng, count, classes, label)
    loss = [-row[k] if 0 <= k < classes else np.nan for row, k in zip(log_p, labels, strict=True)]
    return [log_p, labels, classes], [unset(count, dtype)], [np.array(loss, dtype)]


def cross_entropy_backward(rng: Rng, dtype: str, label: str, count: int) -> Formula:
    classes = int(rng.integers(1, 5))
    log_p, g = -np.abs(floats(rng, (count, classes), dtype)), floats(rng, (count, 1), dtype)
    labels = some_labels(rng, count, classes, label)
    x = np.full(log_p.shape, np.nan)
    for row, k in enumerate(labels):
        if 0 <= k < classes:
            x[row] = [
                g[row, 0] * (math.exp(log_p[row, column]) - (column == k))
                for column in range(classes)
            ]
    column = np.arange(classes, dtype=label)
    outputs = [unset(log_p.shape, dtype)]
    return [g, log_p, labels[:, None], column, classes], outputs, [x.astype(dtype)]


def batch_norm(rng: Rng, dtype: str, label: str, count: int) -> Formula:
    """Large numbers close to one another, that in the dtype itself would lose their digits."""
    x = (1e4 + floats(rng, (count, 3), "float64")).astype(dtype)
    mean, scale, shift = 1e4 + floats(rng, 3, "float64"), *floats(rng, (2, 3), "float64")
    y = [[(float(row[c]) - mean[c]) * scale[c] + shift[c] for c in range(3)] for row in x]
    return [x, mean, scale, shift], [unset(x.shape, dtype)], [np.array(y, dtype).reshape(x.shape)]


def batch_norm_backward(rng: Rng, dtype: str, label: str, count: int) -> Formula:
    g, x = ((1e4 + floats(rng, (count, 2), "float64")).astype(dtype) for _ in "gx")
    mean, c = 1e4 + floats(rng, (2, 2), "float64")
    a, b = floats(rng, (2, 2), "float64")
    y = [
        [a[k] * (float(g[i, k]) - c[k] - (float(x[i, k]) - mean[k]) * b[k]) for k in range(2)]
        for i in range(count)
    ]
    outputs = [unset(x.shape, dtype)]
    return [g, x, mean, a, b, c], outputs, [np.array(y, dtype).reshape(x.shape)]


def scalars(dtype: str, *values: float) -> list[Array]:
    """Numbers as CuPy hands them to a kernel whose parameters say T."""
    return [np.array(value, dtype) for value in values]


def sgd(rng: Rng, dtype: str, label: str, count: int) -> Formula:
    g, p = floats(rng, count, dtype), floats(rng, count, dtype)
    decay = rng.choice([0.0, 0.1])
    if not decay:  # then a parameter that has run away must not become NaN
        p[:1] = np.inf
    after = p.copy()
    CPU.sgd_step(after, g, None, 0.3, 0.0, 0.0, decay, False)
    return [g, *scalars(dtype, 0.3, decay)], [p], [after]


def sgd_momentum(rng: Rng, dtype: str, label: str, count: int) -> Formula:
    g, p, velocity = (floats(rng, count, dtype) for _ in range(3))
    decay, dampening = rng.choice([0.0, 0.1]), rng.choice([0.0, 0.4])
    nesterov = bool(rng.integers(2))
    after, moved = p.copy(), velocity.copy()
    CPU.sgd_step(after, g, moved, 0.3, 0.9, dampening, decay, nesterov)
    inputs = [g, *scalars(dtype, 0.3, 0.9, 1 - dampening, decay), nesterov]
    return inputs, [p, velocity], [after, moved]


def adam(rng: Rng, dtype: str, label: str, count: int) -> Formula:
    g, p, m = (floats(rng, count, dtype) for _ in range(3))
    v = rng.uniform(0.1, 2, count).astype(dtype)
    step, lr, betas, eps = int(rng.integers(1, 9)), 0.01, (0.9, 0.99), 1e-3
    decay = rng.choice([0.0, 0.1])
    after = p.copy(), m.copy(), v.copy()
    CPU.adam_step(after[0], g, *after[1:], step, lr, betas, eps, decay)
    step_size, correction = lr / (1 - betas[0] ** step), 1 - betas[1] ** step
    rates = (betas[0], 1 - betas[0], betas[1], 1 - betas[1])
    inputs = scalars(dtype, *rates, step_size, correction, eps, decay)
    return [g, *inputs], [p, m, v], list(after)


def amsgrad(rng: Rng, dtype: str, label: str, count: int) -> Formula:
    (g, p, m), numbers = (floats(rng, count, dtype) for _ in range(3)), (0.01, (0.9, 0.99), 1e-3)
    v, largest = (rng.uniform(0.1, 2, count).astype(dtype) for _ in range(2))
    step, decay = int(rng.integers(1, 9)), rng.choice([0.0, 0.1])
    after = [a.copy() for a in (p, m, v, largest)]
    CPU.adam_step(after[0], g, *after[1:3], step, *numbers, decay, after[3])
    rates = (0.9, 1 - 0.9, 0.99, 1 - 0.99, 0.01 / (1 - 0.9**step), 1 - 0.99**step)
    return [g, *scalars(dtype, *rates, 1e-3, decay)], [p, m, v, largest], after


FORMULAS: dict[str, Callable[[Rng, str, str, int], Formula]] = {
    f.__name__: f
    for f in (
        pick_label,
        cross_entropy_backward,
        batch_norm,
        batch_norm_backward,
        sgd,
        sgd_momentum,
        adam,
        amsgrad,
    )
}

with_formulas = pytest.mark.parametrize("name", FORMULAS)
with_labels = pytest.mark.parametrize("label", LABELS)
COUNTS = st.integers(0, 9)


def assert_close(result: Array, expected: Array, dtype: str) -> None:
    """Equal but for the last digits of numbers that are of the order of 1."""
    eps = float(np.finfo(dtype).eps)
    assert result.dtype == expected.dtype == dtype
    np.testing.assert_allclose(result, expected, rtol=8 * eps, atol=8 * eps)


@with_formulas
@of_floats
@with_labels
@given(seed=SEEDS, count=COUNTS)
def test_references_follow_the_formulas(
    name: str, dtype: str, label: str, seed: int, count: int
) -> None:
    inputs, outputs, expected = FORMULAS[name](np.random.default_rng(seed), dtype, label, count)
    KERNELS[name].reference(*inputs, *outputs)
    for output, values in zip(outputs, expected, strict=True):
        assert_close(output, values, dtype)


@with_formulas
@of_floats
@with_labels
@given(seed=SEEDS, count=COUNTS, grid=GRIDS)
def test_bodies_do_what_references_do(
    library: Library,
    name: str,
    dtype: str,
    label: str,
    seed: int,
    count: int,
    grid: tuple[int, int],
) -> None:
    kernel = KERNELS[name]
    assert isinstance(kernel, Elementwise)
    inputs, outputs, _ = FORMULAS[name](np.random.default_rng(seed), dtype, label, count)
    shape = outputs[0].shape
    native: list[Any] = [np.int64(outputs[0].size)]
    for (type_name, _, is_raw, _), value in zip(
        parameters(kernel), [*inputs, *outputs], strict=True
    ):
        if type_name in ("int64", "bool"):
            native.append(np.dtype(type_name).type(value))
        else:
            native.append(value if is_raw else np.broadcast_to(value, shape))
    results = launch(source(library, dtype, f"{name}_{label}"), grid, *native)
    kernel.reference(*inputs, *outputs)
    for result, output in zip(results[-len(outputs) :], outputs, strict=True):
        assert_close(result, output, dtype)


# ----- sums -----


def deviations(rng: Rng, dtype: str, shape: tuple[int, int]) -> tuple[Array, Array, Array]:
    """g and x (channels, count), and what is to be taken off each channel of x.

    Their products are exact in float64, and not in float32.
    """
    g, x = ((4097 * numbers(rng, shape, "float64") + 0.5).astype(dtype) for _ in "gx")
    return g, x, numbers(rng, (shape[0], 1), "float64")


def square_deviations(g: Array, x: Array, mean: Array) -> tuple[list[Array], list[float]]:
    rows = zip(x.tolist(), mean.ravel().tolist(), strict=True)
    return [x, mean], [sum((value - m) ** 2 for value in row) for row, m in rows]


def product_deviations(g: Array, x: Array, mean: Array) -> tuple[list[Array], list[float]]:
    rows = zip(g.tolist(), x.tolist(), mean.ravel().tolist(), strict=True)
    return [g, x, mean], [
        sum(a * (value - m) for a, value in zip(left, row, strict=True)) for left, row, m in rows
    ]


SUMS: dict[str, Callable[[Array, Array, Array], tuple[list[Array], list[float]]]] = {
    f.__name__: f for f in (square_deviations, product_deviations)
}


@pytest.mark.parametrize("name", SUMS)
@of_floats
@given(seed=SEEDS, channels=st.integers(1, 3), count=COUNTS)
def test_references_of_sums_do_what_loops_do(
    name: str, dtype: str, seed: int, channels: int, count: int
) -> None:
    arrays = deviations(np.random.default_rng(seed), dtype, (channels, count))
    inputs, expected = SUMS[name](*arrays)
    result = KERNELS[name].reference(*inputs, axis=1)
    np.testing.assert_array_equal(result, np.array(expected, "float64"), strict=True)


@pytest.mark.parametrize("name", SUMS)
@of_floats
@with_labels
@given(seed=SEEDS, count=COUNTS, grid=GRIDS)
def test_sources_of_sums_do_what_references_do(
    library: Library,
    name: str,
    dtype: str,
    label: str,
    seed: int,
    count: int,
    grid: tuple[int, int],
) -> None:
    inputs, _ = SUMS[name](*deviations(np.random.default_rng(seed), dtype, (1, count)))
    native = [np.broadcast_to(value[0], count) for value in inputs]
    function = source(library, dtype, f"{name}_{label}")
    *_, result = launch(function, grid, np.int64(count), *native, unset(1, "float64"))
    np.testing.assert_array_equal(result, KERNELS[name].reference(*inputs, axis=1), strict=True)


# ----- for a card -----


def compile_with_nvcc(text: str, folder: Path) -> None:
    compiler = shutil.which("nvcc")
    if compiler is None:
        pytest.skip("no nvcc on the PATH")
    given_file, ptx = folder / "kernels.cu", folder / "kernels.ptx"
    given_file.write_text(text, encoding="utf-8")
    options = ("--ptx", "-std=c++17", "--Werror", "all-warnings")
    done = subprocess.run(
        [compiler, *options, "-o", ptx, given_file], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr + done.stdout


def compile_with_nvrtc(text: str, folder: Path) -> None:
    nvrtc = pytest.importorskip("cupy", reason="no CuPy, which NVRTC is reached by").cuda.nvrtc
    try:
        program = nvrtc.createProgram(text, "kernels.cu", [], [])
    except RuntimeError as error:
        pytest.skip(f"CuPy has no NVRTC to work with: {error}")
    try:
        nvrtc.compileProgram(program, ("--std=c++11",))
    except nvrtc.NVRTCError as error:
        pytest.fail(f"{error}: {nvrtc.getProgramLog(program)}")


@pytest.mark.parametrize("compiler", [compile_with_nvcc, compile_with_nvrtc])
@of_all_types
def test_sources_compile_for_a_card(
    compiler: Callable[[str, Path], None], dtype: str, tmp_path: Path
) -> None:
    compiler(all_sources(dtype), tmp_path)


# ----- the table -----


def test_every_kernel_is_in_the_table_and_in_these_tests() -> None:
    defined = {
        name.lower(): value
        for name, value in vars(kernels).items()
        if isinstance(value, Elementwise | Reduction | RawKernel)
    }
    assert defined == KERNELS
    assert all(kernel.name == name for name, kernel in KERNELS.items())
    for kind, tested in (
        (RawKernel, {*ON_WINDOWS, *RANDOM}),
        (Elementwise, {*FORMULAS}),
        (Reduction, {*SUMS}),
    ):
        assert {name for name, k in KERNELS.items() if isinstance(k, kind)} == tested


def test_a_source_says_which_dtypes_it_has() -> None:
    assert "typedef unsigned char T;" in kernels.MAX_POOL.code(np.dtype("uint8"))
    with pytest.raises(TypeError, match="max_pool has no float16 version; it computes in float32"):
        kernels.MAX_POOL.code("float16")
    with pytest.raises(TypeError, match="normal has no int32 version; it computes in float32, fl"):
        kernels.NORMAL.code("int32")


def test_geometry_puts_the_axes_last() -> None:
    assert kernels.geometry((7,), (3,), (2,), (3,), (1,), (2,)) == (
        *(1, 1, 7),
        *(1, 1, 3),
        *(1, 1, 2),
        *(1, 1, 3),
        *(0, 0, 1),
        *(1, 1, 2),
    )
    for axes_given in ((), (2, 2, 2, 2)):
        with pytest.raises(ValueError, match=r"1 to 3 axes; got size \("):
            kernels.geometry(*(axes_given,) * 6)


def test_references_take_memory_in_row_major_order_alone() -> None:
    images = np.zeros((1, 2, 2)).transpose(0, 2, 1)
    numbers_given = kernels.geometry((2, 2), (1, 1), (2, 2), (1, 1), (0, 0), (1, 1))
    with pytest.raises(ValueError, match="Make it contiguous first"):
        kernels.WINDOW_SUM.reference(images, np.zeros((1, 1, 1)), 1, *numbers_given)
