"""How PyTorch programs call functions and methods, and the smaller of them beside NumPy."""

import inspect
import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from calls import PUBLIC, call_of
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.testing import check_gradients

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 4))
A, B = RNG.standard_normal((4, 4)), RNG.standard_normal((4, 2))
FACTOR = np.linalg.cholesky(A @ A.T + np.eye(4))

# ----- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by_name", "by_place"),
    [
        (lambda x: x.permute(dims=(2, 0, 1)), lambda x: x.permute(2, 0, 1)),
        (lambda x: tg.permute(input=x, dims=(2, 0, 1)), lambda x: x.permute((2, 0, 1))),
        (lambda x: x.reshape(shape=(4, 6)), lambda x: x.reshape(4, 6)),
        (lambda x: x.view(size=(4, 6)), lambda x: x.view(4, 6)),
        (lambda x: x[:1].expand(size=(5, -1, -1)), lambda x: x[:1].expand(5, -1, -1)),
        (lambda x: x[0].broadcast_to(size=(2, 3, 4)), lambda x: x[0].broadcast_to(2, 3, 4)),
        (lambda x: x.repeat(repeats=(1, 2, 1)), lambda x: x.repeat(1, 2, 1)),
        (lambda x: x.tile(dims=(2,)), lambda x: x.tile(2)),
        (lambda x: x.flip(dims=(0, 2)), lambda x: x.flip(0, 2)),
        (lambda x: x.flip(dims=[1]), lambda x: tg.flip(x, [1])),
        (lambda x: x.sum(axis=1, keepdims=True), lambda x: x.sum(1, True)),
        (lambda x: tg.unsqueeze(x, axis=0), lambda x: x.unsqueeze(0)),
        (lambda x: tg.index_select(x, axis=2, index=[0, 0]), lambda x: x[:, :, [0, 0]]),
        (lambda x: x.split(split_size=2, dim=2)[1], lambda x: x.split(2, 2)[1]),
        (lambda x: x.tensor_split(sections=2)[0], lambda x: x.tensor_split(2)[0]),
        (lambda x: x.tensor_split(indices=[1])[1], lambda x: x.tensor_split([1])[1]),
        (lambda x: x.max(other=x[0]), lambda x: tg.maximum(x, x[0])),
        (lambda x: tg.min(x, other=x[0]), lambda x: x.min(x[0])),
        (lambda x: x.norm(2, 1, True, tg.float64), lambda x: x.norm(p=2, dim=1, keepdim=True)),
        (lambda x: tg.stack(tensors=[x, x], dim=1), lambda x: tg.stack([x, x], 1)),
        (lambda x: tg.cat(tensors=(x, x), axis=0), lambda x: tg.cat([x, x])),
        (lambda x: x.new_zeros(size=(2, 1)), lambda x: x.new_zeros(2, 1)),
        (lambda x: tg.zeros_like(x).copy_(src=x, non_blocking=True), lambda x: x),
        (
            lambda x: x.gather(0, index=x.long() * 0, sparse_grad=False),
            lambda x: x[:1].tile(2, 1, 1),
        ),
        (lambda x: x.swapdims(dim0=0, dim1=2), lambda x: x.transpose(0, 2)),
        (lambda x: x.split_with_sizes([1, 3], 2)[1], lambda x: x[:, :, 1:]),
    ],
)
def test_what_stands_without_a_name_has_one(
    by_name: Callable[[Tensor], Tensor], by_place: Callable[[Tensor], Tensor]
) -> None:
    x = tg.tensor(X)
    assert_array_equal(by_name(x).numpy(), by_place(x).numpy())


def test_a_size_is_given_once() -> None:
    for call in (
        lambda x: x.permute(0, 1, 2, dims=(0, 1, 2)),
        lambda x: x.reshape(24, shape=(24,)),
        lambda x: tg.max(x, 1, other=x),
    ):
        with pytest.raises(TypeError, match=r"twice|got both"):
            call(tg.tensor(X))


@pytest.mark.parametrize("name", PUBLIC)
def test_out_is_refused_in_one_sentence(name: str) -> None:
    function = PUBLIC[name]
    if inspect.signature(function).return_annotation is not Tensor:
        return
    args, options = call_of(name).on(tg.tensor)
    with pytest.raises(TypeError, match=r"takes no out=.*copy_"):
        function(*args, **options, out=tg.zeros(1))
    function(*args, **options, out=None)


# ----- what there is -----------------------------------------------------------------------------


def most_frequent(row: Any) -> Any:
    counts = Counter(row.tolist())
    return min(value for value, count in counts.items() if count == max(counts.values()))


FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], Any]] = {
    "mode": (lambda x: x.mode(1).values, lambda x: np.apply_along_axis(most_frequent, 1, x), None),
    "diagflat": (lambda x: x.diagflat(1), lambda x: np.diagflat(x, 1), X),
    "combinations": (
        lambda x: tg.combinations(x, 3),
        lambda x: np.array([*itertools.combinations(x, 3)]),
        X[0, 0],
    ),
    "combinations with replacement": (
        lambda x: tg.combinations(x, with_replacement=True),
        lambda x: np.array([*itertools.combinations_with_replacement(x, 2)]),
        X[0, 0],
    ),
    "vander": (lambda x: tg.vander(x, 3), lambda x: np.vander(x, 3), X[0, 0]),
    "linalg.vander": (
        lambda x: tg.linalg.vander(x),
        lambda x: np.stack([np.vander(r, increasing=True) for r in x]),
        X[0],
    ),
    "matrix_exp": (tg.matrix_exp, scipy.linalg.expm, A),
    "matrix_exp of large ones": (tg.matrix_exp, scipy.linalg.expm, np.stack([9 * A, A / 50])),
    "cholesky_solve": (
        lambda x: x.cholesky_solve(tg.tensor(FACTOR)),
        lambda x: np.linalg.solve(FACTOR @ FACTOR.T, x),
        B,
    ),
    "cholesky_solve upper": (
        lambda x: x.cholesky_solve(tg.tensor(FACTOR.T), True),
        lambda x: np.linalg.solve(FACTOR @ FACTOR.T, x),
        B,
    ),
    "cholesky_inverse": (
        lambda x: x.tril().cholesky_inverse(),
        lambda x: np.linalg.inv(np.tril(x) @ np.tril(x).T),
        FACTOR,
    ),
    "tensorinv": (
        lambda x: tg.linalg.tensorinv(x, 1),
        lambda x: np.linalg.tensorinv(x, 1),
        A.reshape(4, 2, 2),
    ),
    "tensorsolve": (
        lambda x: tg.linalg.tensorsolve(x, tg.tensor(B[:, 0])),
        lambda x: np.linalg.tensorsolve(x, B[:, 0]),
        A.reshape(4, 2, 2),
    ),
    "svd": (lambda x: (lambda u, s, v: u @ s.diag() @ v.T)(*tg.svd(x)), lambda x: x, B),
    "nuclear_norm": (tg.nuclear_norm, lambda x: np.linalg.norm(x, "nuc"), A),
    "chain_matmul": (lambda x: tg.chain_matmul(x, x, x), lambda x: x @ x @ x, A),
    "renorm": (
        lambda x: x.renorm(1, 1, 2.0),
        lambda x: x * np.minimum(1, 2 / (np.abs(x).sum((0, 2), keepdims=True) + 1e-7)),
        X,
    ),
    "sum_to_size": (lambda x: x.sum_to_size(3, 1), lambda x: x.sum((0, 2))[:, None], X),
    "mvlgamma": (
        lambda x: tg.mvlgamma(x, 3),
        lambda x: np.vectorize(lambda v: scipy.special.multigammaln(v, 3))(x),
        np.abs(X) + 1.5,
    ),
    "angle": (tg.angle, np.angle, X),
    "select_scatter": (
        lambda x: x.select_scatter(x[0] * 2, 0, 1),
        lambda x: np.stack([x[0], x[0] * 2]),
        X,
    ),
    "slice_scatter": (
        lambda x: x.slice_scatter(x[..., :2], 2, 1, None, 2),
        lambda x: np.stack([x[..., 0], x[..., 0], x[..., 2], x[..., 1]], -1),
        X,
    ),
    "diagonal_scatter": (
        lambda x: x.diagonal_scatter(x[0], dim1=-2, dim2=-1),
        lambda x: x - np.diag(np.diag(x)) + np.diag(x[0]),
        A,
    ),
    "put": (
        lambda x: x.put(tg.tensor([5, 0]), x[0, 0, 1:3]),
        lambda x: np.concatenate(
            [x[0, 0, 2:3], x.ravel()[1:5], x[0, 0, 1:2], x.ravel()[6:]]
        ).reshape(x.shape),
        X,
    ),
    "put and add": (
        lambda x: x.put(tg.tensor([1, 1]), x[0, 0, 1:3], True),
        lambda x: np.concatenate(
            [x.ravel()[:1], x[0, 0, 1:2] * 2 + x[0, 0, 2], x.ravel()[2:]]
        ).reshape(x.shape),
        X,
    ),
    "masked_scatter": (
        lambda x: x.masked_scatter(tg.tensor([True, False, False, True]), x * 2),
        lambda x: np.stack(
            [x.ravel()[0:12:2] * 2, x[..., 1].ravel(), x[..., 2].ravel(), x.ravel()[1:12:2] * 2], -1
        ).reshape(x.shape),
        X,
    ),
    "index_reduce": (
        lambda x: x.index_reduce(1, tg.tensor([0, 0]), x[:, 1:], "mean"),
        lambda x: np.stack([x.mean(1), x[:, 1], x[:, 2]], 1),
        X,
    ),
    "index_reduce alone": (
        lambda x: x.index_reduce(1, tg.tensor([0, 0]), x[:, 1:], "prod", include_self=False),
        lambda x: np.stack([x[:, 1] * x[:, 2], x[:, 1], x[:, 2]], 1),
        X,
    ),
    "H": (lambda x: x.H, lambda x: x.T, A),
    "mH": (lambda x: x.mH, lambda x: x.swapaxes(-1, -2), X),
    "adjoint": (tg.adjoint, lambda x: x.swapaxes(-1, -2), X),
    "t": (tg.t, lambda x: x.T, B),
    "real and conj": (lambda x: x.real().conj().conj_physical().resolve_conj(), lambda x: x, X),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gives_what_numpy_says_and_its_gradient(name: str) -> None:
    ours, oracle, x = FUNCTIONS[name]
    if x is None:
        x = RNG.integers(0, 3, (2, 7, 4)).astype(float)
        assert_array_equal(ours(tg.tensor(x)).numpy(), oracle(x))
        return
    found = ours(tg.tensor(x))
    assert_allclose(found.numpy(), oracle(x), rtol=1e-9, atol=1e-10)
    if name not in ("angle", "cholesky_inverse", "matrix_exp of large ones"):
        check_gradients(ours, [tg.tensor(x)])


def test_the_place_of_a_mode_is_its_last() -> None:
    x = tg.tensor([[1.0, 2.0, 2.0, 1.0], [3.0, 3.0, 3.0, 0.0]], requires_grad=True)
    values, places = x.mode(keepdim=True)
    assert (values.tolist(), places.tolist()) == ([[1], [3]], [[3], [2]])
    values.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 0, 0, 1], [0, 0, 1, 0]]
    assert tg.tensor(5.0).mode().indices.tolist() == 0


@given(
    st.lists(st.integers(-3, 3), max_size=6),
    st.lists(st.integers(-3, 3), max_size=6),
    st.booleans(),
    st.sampled_from(("int64", "float64", "bool")),
)
def test_isin(some: list[int], among: list[int], invert: bool, dtype: str) -> None:
    elements, tests = np.array(some, dtype), np.array(among, dtype)
    found = tg.isin(tg.tensor(elements), tg.tensor(tests), invert=invert)
    assert_array_equal(found.numpy(), np.isin(elements, tests, invert=invert))
    assert tg.isin(tg.tensor([1, 2]), 2).tolist() == [False, True]
    assert tg.isin(2.0, tg.tensor([1, 2])).tolist() is True


def test_places_from_one_number() -> None:
    places = RNG.integers(0, 24, (3, 2))
    found = tg.unravel_index(tg.tensor(places), (2, 3, 4))
    for ours, theirs in zip(found, np.unravel_index(places, (2, 3, 4)), strict=True):
        assert_array_equal(ours.numpy(), theirs)
    with pytest.raises(ValueError, match="24 elements"):
        tg.unravel_index(tg.tensor([24]), (2, 3, 4))


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8])
@pytest.mark.parametrize("periodic", [True, False])
def test_windows(n: int, periodic: bool) -> None:
    for name, theirs in {
        "hann": "hann",
        "hamming": "hamming",
        "blackman": "blackman",
        "bartlett": "bartlett",
        "kaiser": ("kaiser", 12.0),
    }.items():
        found = getattr(tg, f"{name}_window")(n, periodic, dtype="float64")
        expected = scipy.signal.get_window(theirs, n, fftbins=periodic) if n else np.ones(0)
        assert_allclose(found.numpy(), expected, atol=1e-12)
        assert getattr(tg, f"{name}_window")(n).dtype == "float32"


def test_where_without_values_says_where() -> None:
    x = tg.tensor(X) > 0
    for ours, theirs in zip(tg.where(x), np.nonzero(X > 0), strict=True):
        assert_array_equal(ours.numpy(), theirs)
    with pytest.raises(TypeError, match="two values"):
        tg.where(x, 1.0)


# ----- a tensor ----------------------------------------------------------------------------------


def test_the_bytes_as_another_dtype() -> None:
    x = tg.tensor([[1.0, -2.0]], requires_grad=True)
    bits = x.view(tg.int32)
    assert_array_equal(bits.numpy(), np.array([[1.0, -2.0]], "float32").view("int32"))
    assert not bits.requires_grad
    assert x.view(dtype=tg.int16).shape == (1, 4)
    y = tg.tensor([1.0])
    y.view("int32").fill_(0)
    assert y.tolist() == [0]
    with pytest.raises(ValueError, match=r"\(1, 3\).*cannot be read"):
        tg.ones(1, 3).view(tg.float64)


def test_what_programs_ask_of_a_tensor(device: str) -> None:
    x = tg.tensor([[1.0, 2.0]])
    assert x.data_ptr() == x.detach().data_ptr() == x[0].data_ptr()
    assert x[0, 1:].data_ptr() == x.data_ptr() + 4
    assert not any((x.is_sparse, x.is_quantized, x.is_complex(), x.is_pinned(), x.is_shared()))
    assert x.is_signed()
    assert not x.byte().is_signed()
    assert x[0, :1].is_nonzero()
    assert x.pin_memory() is x.to_dense() is x.share_memory_() is x
    assert x.new(2, 3).shape == (2, 3)
    assert x.new([1, 2]).tolist() == [1, 2]
    assert x.new(x.size()).shape == (1, 2)
    assert (x.new().shape, x.new().dtype) == ((0,), "float32")
    leaf = tg.ones(2, requires_grad=True)
    assert leaf.numpy(force=True).tolist() == [1, 1]
    if leaf.is_cpu:
        for read in (tg.Tensor.numpy, np.asarray, np.unwrap, list):
            with tg.no_grad():  # where nothing is recorded, nothing leaves the graph
                assert read(leaf)[0] == 1
        for refused in (tg.Tensor.numpy, np.asarray, np.unwrap):
            with pytest.raises((RuntimeError, TypeError), match=r"x\.detach\(\)\.numpy\(\)"):
                refused(leaf)


def test_new_shapes_in_place() -> None:
    x = tg.tensor(X)
    assert x.resize_(2, 2) is x
    assert_array_equal(x.numpy(), X.ravel()[:4].reshape(2, 2))
    assert x.resize_as_(tg.ones(5)).shape == (5,)
    assert x[4] == 0
    y = tg.zeros(2)
    assert x.set_(y) is x
    y[0] = 3
    assert x.tolist() == [3, 0]
    assert x.set_().shape == (0,)
    leaf = tg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"resize_: .*requires a gradient"):
        leaf.resize_(3)
    with pytest.raises(TypeError, match="no storages"):
        x.set_(3)


def test_other_axes_in_place_on_a_parameter() -> None:
    w = tg.tensor(X[0], requires_grad=True)
    for change in (w.t_, lambda: w.unsqueeze_(0), lambda: w.transpose_(0, 1)):
        with pytest.raises(RuntimeError, match=r"in place on a leaf of shape \(3, 4\)"):
            change()
    with tg.no_grad():
        w.t_()
    assert w.is_leaf
    (w * tg.tensor(X[0].T)).sum().backward()
    assert w.grad is not None
    assert_array_equal(w.grad.numpy(), X[0].T)
    y = w * 2
    with pytest.raises(ValueError, match="for matrices"):
        y.unsqueeze_(0).t_()


def test_a_diagonal_is_filled() -> None:
    for shape in ((3, 3), (2, 5), (5, 2), (8, 3), (2, 2, 2)):
        for wrap in (False, True):
            expected = np.zeros(shape)
            np.fill_diagonal(expected, 7.0, wrap)
            assert_array_equal(tg.zeros(shape).fill_diagonal_(7, wrap).numpy(), expected)
    leaf = tg.ones(2, 2, requires_grad=True)
    (leaf * 1).fill_diagonal_(0.0).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match="one length"):
        tg.ones(2, 3, 2).fill_diagonal_(0)


def test_functions_of_python_in_place() -> None:
    x = tg.tensor([[1.0, -2.0]])
    assert x.apply_(lambda v: v * v).tolist() == [[1, 4]]
    assert x.map_(tg.tensor([3.0, 3.0]), max).tolist() == [[3, 4]]


def test_the_laws_of_what_is_drawn_in_place() -> None:
    n, generator = 20000, np.random.default_rng(0)
    x = tg.zeros(n, dtype="float64")
    drawn = np.sort(x.cauchy_(1.0, 2.0, generator=generator).numpy())
    assert_allclose(drawn[[n // 4, n // 2, 3 * n // 4]], [-1, 1, 3], atol=0.15)
    logs = np.log(x.log_normal_(0.5, 0.25, generator=generator).numpy())
    assert_allclose([logs.mean(), logs.std()], [0.5, 0.25], atol=0.01)
    for trials in (x, tg.zeros(n, dtype="int64")):
        counts = np.bincount(trials.geometric_(0.3, generator=generator).numpy().astype(int))[:5]
        assert_allclose(counts / n, [0, *(0.3 * 0.7 ** np.arange(4))], atol=0.015)
    for wrong in (lambda: x.cauchy_(0, 0), lambda: x.log_normal_(0, 0), lambda: x.geometric_(1.0)):
        with pytest.raises(ValueError, match=r"sigma|std|p lies"):
            wrong()


def test_older_names_of_bounds() -> None:
    x = tg.tensor(np.diag([1.0, 0.1, 1e-3]))
    assert tg.linalg.matrix_rank(x, 0.01) == 2
    assert_allclose(tg.linalg.pinv(x, 0.01).numpy(), np.diag([1.0, 10.0, 0.0]))
    with pytest.raises(TypeError, match="older name"):
        tg.linalg.pinv(x, 0.1, rtol=0.1)
    assert tg.nan_to_num(tg.tensor([math.nan]), nan=None).tolist() == [0]
