"""Worker threads: one backend a device, splits that no number shows in, errors, and Ctrl-C."""

import dis
import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_allclose, assert_array_equal
from threadpoolctl import threadpool_limits

import tinygrad_cv as tg
from tinygrad_cv import backend, nn, train
from tinygrad_cv._graph import scope
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import recording, switch, threads, windows
from tinygrad_cv.backend.compiled.backend import CompiledBackend

pytestmark = pytest.mark.host

Array = Any


@pytest.fixture(autouse=True)
def _the_number_stays() -> Iterator[None]:
    before = tg.get_num_threads()
    yield
    tg.set_num_threads(before)


def at_once(work: Callable[[int], Any], count: int) -> list[Any]:
    """`work(i)` in that many threads, let go at the same moment."""
    barrier = threading.Barrier(count)

    def run(i: int) -> Any:
        barrier.wait(10)
        return work(i)

    with ThreadPoolExecutor(count) as executor:
        return list(executor.map(run, range(count)))


def blas_threads() -> set[int]:
    """The number of threads of NumPy's BLAS; SciPy brings one of its own."""
    return {blas.get() for blas in threads._of_process}


def run(program: str, environment: dict[str, str] | None = None) -> Any:
    """A program in a process of its own, which has some time and says nothing."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=40,
        env=os.environ | (environment or {}),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


# ----- one backend a device -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cpu", "fakecuda"])
def test_threads_that_open_a_device_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_opened", {})
    module = import_module(backend.KINDS[kind])
    open_device = module.open_device

    def slowly(index: int) -> Any:
        time.sleep(0.01)
        return open_device(index)

    monkeypatch.setattr(module, "open_device", slowly)
    spellings = ["cpu"] if kind == "cpu" else ["fakecuda", "fakecuda:0", "fakecuda:00"]
    found = at_once(lambda i: backend.get(spellings[i % len(spellings)]), 6)
    assert len({id(b) for b in found}) == 1


def test_threads_that_meet_on_a_device_opened_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_opened", {})
    a, b = at_once(lambda i: tg.full((2,), float(i + 1), device="fakecuda:1"), 2)
    assert (a + b).tolist() == [3, 3]


# ----- how many -----------------------------------------------------------------------------------


def test_the_number_is_what_was_set() -> None:
    for n in (1, 5, np.int64(2)):
        tg.set_num_threads(n)
        assert tg.get_num_threads() == n


@pytest.mark.parametrize("n", [0, -1, np.int64(0)])
def test_fewer_than_one_thread_is_refused(n: Any) -> None:
    with pytest.raises(ValueError, match=f"set_num_threads.{n}.: .* 1 is the least"):
        tg.set_num_threads(n)


@pytest.mark.parametrize("n", [2.0, "2", None, True, [2]])
def test_a_number_of_threads_that_is_no_integer_is_refused(n: Any) -> None:
    with pytest.raises(TypeError, match="takes an integer, 1 or more; given"):
        tg.set_num_threads(n)


@pytest.mark.parametrize(
    ("environment", "number"),
    [
        ({"TINYGRAD_CV_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"TINYGRAD_CV_NUM_THREADS": "", "OMP_NUM_THREADS": "6"}, 6),
    ],
)
def test_the_number_at_the_start(environment: dict[str, str], number: int) -> None:
    assert threads._number_at_start(environment) == number


@pytest.mark.parametrize("omp", [None, "", "0", "many", "-2"])
def test_without_a_word_there_is_a_thread_for_each_processor(omp: str | None) -> None:
    environment = {} if omp is None else {"OMP_NUM_THREADS": omp}
    assert 1 <= threads._number_at_start(environment) <= (os.cpu_count() or 1)


@pytest.mark.parametrize("given", ["0", "two", "-1", "1.5"])
def test_a_wrong_number_in_the_environment(given: str) -> None:
    with pytest.raises(ValueError, match=f"TINYGRAD_CV_NUM_THREADS is '{given}'; expected"):
        threads._number_at_start({"TINYGRAD_CV_NUM_THREADS": given})


@pytest.mark.parametrize(
    ("text", "cores"), [("150000 100000", 2), ("max 100000", 8), ("5000 100000", 1), ("", 8)]
)
def test_the_quota_of_a_container(
    text: str, cores: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(text)
    monkeypatch.setattr(threads, "Path", lambda _: file)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    assert threads._available() == cores


# ----- no number of threads shows in a result -----------------------------------------------------


def normal(*shape: int, seed: int = 0, dtype: str = "float32") -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def with_gradients(function: Callable[..., Any], *arrays: Array) -> list[bytes]:
    """The bits of what a function of tensors computes, and of its gradients."""
    leaves = [Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    y = function(*leaves)
    found = [y]
    if y.requires_grad:
        y.backward(Tensor(normal(*y.shape, seed=9, dtype=str(y.dtype))))
        found += [leaf.grad for leaf in leaves if leaf.grad is not None]
    return [t.detach().numpy().tobytes() for t in found]


def assert_same_bits(compute: Callable[[], list[bytes]]) -> None:
    """With any number of workers, and with any number of threads that BLAS had before."""
    found = []
    for workers, blas in ((1, 1), (2, 2), (3, 1), (7, 2)):
        tg.set_num_threads(workers)
        with threadpool_limits(blas, "blas"):
            found.append(compute())
    for again in found[1:]:
        assert again == found[0]


@contextmanager
def many_parts(block_bytes: int) -> Iterator[None]:
    """What is small otherwise goes in many parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "BLOCK_BYTES", block_bytes)
        patch.setattr(threads, "WORTH_A_PART", block_bytes // 4)
        patch.setattr(threads, "_matrices", 0)
        yield


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[str, tuple[Array, Array], dict[str, Any]]:
    """A function, images (N, G·C, *S) and kernels for it, and its geometry."""
    axes = draw(st.integers(1, 2))
    groups, c, o = (draw(st.integers(1, 4)) for _ in range(3))
    kernel = [draw(st.integers(1, 3)) for _ in range(axes)]
    how = {
        "stride": draw(st.integers(1, 2)),
        "padding": draw(st.integers(0, 1)),
        "dilation": draw(st.integers(1, 2)),
        "groups": groups,
    }
    size = [draw(st.integers(5, 13)) for _ in range(axes)]
    dtype = draw(st.sampled_from(["float32", "float64"]))
    x = normal(draw(st.integers(1, 11)), groups * c, *size, dtype=dtype)
    forward = draw(st.booleans())
    w = normal(*((groups * o, c) if forward else (groups * c, o)), *kernel, seed=1, dtype=dtype)
    return f"conv{'' if forward else '_transpose'}{axes}d", (x, w), how


@given(convolutions(), st.integers(6, 14))
def test_convolutions_have_the_same_bits(case: Any, log_bytes: int) -> None:
    name, arrays, how = case
    with many_parts(1 << log_bytes):
        assert_same_bits(
            lambda: with_gradients(lambda x, w: getattr(tg, name)(x, w, **how), *arrays)
        )


@given(
    st.integers(1, 70),
    st.integers(1, 40),
    st.integers(1, 70),
    st.sampled_from([((), ()), ((3,), (3,)), ((3,), ()), ((), (3,)), ((2, 1), (3,))]),
    st.sampled_from(["float32", "float64"]),
)
def test_products_have_the_same_bits(n: int, k: int, m: int, stacks: Any, dtype: str) -> None:
    a, b = (
        normal(*stack, *shape, dtype=dtype)
        for stack, shape in zip(stacks, ((n, k), (k, m)), strict=True)
    )
    with many_parts(1 << 8):
        assert_same_bits(lambda: with_gradients(tg.matmul, a, b))


IMAGES = {
    "max_pool2d": lambda x: tg.max_pool2d(x, 3, 2, padding=1),
    "avg_pool2d": lambda x: tg.avg_pool2d(x, 2),
    "batch_norm": lambda x: tg.batch_norm(x, training=True),
    "layer_norm": lambda x: nn.functional.layer_norm(x, x.shape[1:]),
    "rms_norm": lambda x: nn.functional.rms_norm(x, x.shape[1:]),
    "relu": tg.relu,
    "sum": lambda x: x.sum((0, 2)),
    "mean": lambda x: x.mean(),
    "columns": lambda x: x.sum((0, 2, 3)),
    "var": lambda x: x.var((0, 2, 3)),
    "softmax": lambda x: tg.softmax(x, 1),
    "sort": lambda x: x.sort(-1).values,
    "topk": lambda x: x.flatten().topk(5).values,
    "cumsum": lambda x: x.cumsum(0),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", IMAGES)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(3, 11), st.integers(3, 11)),
    st.integers(6, 12),
)
def test_kernels_on_images_have_the_same_bits(
    name: str, dtype: str, shape: Any, log_bytes: int
) -> None:
    x = normal(*shape, dtype=dtype)
    with many_parts(1 << log_bytes):
        assert_same_bits(lambda: with_gradients(IMAGES[name], x))


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return nn.functional.scaled_dot_product_attention(q, k, v)


def positive(n: int) -> Array:
    a = normal(n, n, dtype="float64")
    return a @ a.T + n * np.eye(n)


# So large that BLAS takes several threads where it may.
LARGE: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    "conv2d": (
        lambda x, w: tg.conv2d(x, w, padding=1),
        (normal(9, 16, 33, 31), normal(24, 16, 3, 3)),
    ),
    "conv2d, strides": (
        lambda x, w: tg.conv2d(x, w, stride=2),
        (normal(9, 16, 33, 31), normal(24, 16, 3, 3)),
    ),
    "conv2d, groups": (
        lambda x, w: tg.conv2d(x, w, groups=2, dilation=2),
        (normal(9, 32, 33, 31), normal(24, 16, 3, 3)),
    ),
    "conv2d, depthwise": (
        lambda x, w: tg.conv2d(x, w, groups=64),
        (normal(9, 64, 33, 31), normal(64, 1, 3, 3)),
    ),
    "conv_transpose2d": (
        lambda x, w: tg.conv_transpose2d(x, w, stride=2),
        (normal(9, 16, 33, 31), normal(16, 24, 3, 3)),
    ),
    "one image": (lambda x, w: tg.conv2d(x, w), (normal(1, 16, 65, 65), normal(24, 16, 3, 3))),
    "rows": (tg.matmul, (normal(501, 90), normal(90, 99))),
    "columns": (tg.matmul, (normal(99, 90), normal(90, 501))),
    "a square": (lambda x: x @ x.T, (normal(201, 150),)),
    "a matrix and a vector": (tg.matmul, (normal(901, 803), normal(803))),
    "a vector and a matrix": (tg.matmul, (normal(1, 901), normal(901, 803))),
    "two vectors": (tg.matmul, (normal(40001, dtype="float64"), normal(40001, dtype="float64"))),
    "a stack": (tg.matmul, (normal(7, 90, 150), normal(7, 150, 101))),
    "a stack and a matrix": (tg.matmul, (normal(7, 90, 150), normal(150, 101))),
    "linear": (tg.linear, (normal(111, 300), normal(90, 300), normal(90))),
    "einsum": (
        lambda *xs: tg.einsum("ij,jk,kl->il", *xs),
        (normal(150, 160), normal(160, 170), normal(170, 90)),
    ),
    "attention": (attention, (normal(2, 3, 130, 64), normal(2, 3, 130, 64), normal(2, 3, 130, 64))),
    "scatter_add": (
        lambda x: x[np.random.default_rng(0).integers(0, 40, 90_000)],
        (normal(40, 11),),
    ),
    "inv": (tg.linalg.inv, (positive(180),)),
    "solve": (tg.linalg.solve, (positive(180), normal(180, 170, dtype="float64"))),
    "cholesky": (tg.linalg.cholesky, (positive(180),)),
    "slogdet": (lambda x: tg.linalg.slogdet(x)[1], (positive(180),)),
    "eigh": (lambda x: tg.linalg.eigh(x)[0], (positive(150),)),
    "svd": (lambda x: tg.linalg.svd(x)[1], (normal(160, 140, dtype="float64"),)),
    "qr": (lambda x: tg.linalg.qr(x)[1], (normal(190, 140, dtype="float64"),)),
}  # fmt: skip


def with_second_gradients(function: Callable[..., Any], *arrays: Array) -> list[bytes]:
    leaves = [Tensor(a, requires_grad=True) for a in arrays]
    y = function(*leaves)
    gradients = tg.grad((y * y).sum(), leaves, create_graph=True)
    second = tg.grad(sum((g * g).sum() for g in gradients), leaves, allow_unused=True)
    found = (y, *gradients, *(g for g in second if g is not None))
    return [t.detach().numpy().tobytes() for t in found]


@pytest.mark.parametrize("name", LARGE)
def test_large_kernels_have_the_same_bits(name: str) -> None:
    function, arrays = LARGE[name]
    assert_same_bits(lambda: with_second_gradients(function, *arrays))


TRAINING = """
    import hashlib
    import tinygrad_cv as tg
    from tinygrad_cv import nn, optim

    tg.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 7 * 7, 150),
    )
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    digest = hashlib.sha256()
    for _ in range(2):
        optimizer.zero_grad()
        loss = tg.cross_entropy(model(tg.randn(33, 3, 32, 32)), tg.arange(33))
        loss.backward()
        optimizer.step()
        for p in model.parameters():
            digest.update(p.grad.numpy().tobytes() + p.detach().numpy().tobytes())
    print(tg.get_num_threads(), digest.hexdigest())
"""


def test_a_seed_trains_the_same_network_with_any_number_of_threads() -> None:
    environments = (
        {"OMP_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "2"},
        {"TINYGRAD_CV_NUM_THREADS": "3"},
    )
    with ThreadPoolExecutor(3) as executor:
        lines = list(executor.map(lambda e: run(TRAINING, e).split(), environments))
    assert [number for number, _ in lines] == ["1", "2", "3"]
    assert len({digest for _, digest in lines}) == 1


# ----- what threads owe each other ----------------------------------------------------------------


@pytest.fixture
def two_threads() -> None:
    tg.set_num_threads(2)


def in_helper() -> bool:
    return threading.current_thread().name == "tinygrad_cv"


def meeting(work: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Two parts of it are under way at once, one of them with a helper."""
    barrier = threading.Barrier(2)

    def met(part: Any) -> Any:
        if part < 2:
            barrier.wait(10)
        return work(part)

    return met


@pytest.mark.usefixtures("two_threads")
def test_results_come_in_the_order_of_the_parts() -> None:
    assert threads.parallel(meeting(lambda part: part * part), range(20)) == [
        i * i for i in range(20)
    ]
    assert threads.parallel(lambda part: part, [7]) == [7]
    assert threads.parallel(lambda part: part, []) == []


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("helper", [True, False])
def test_an_error_reaches_the_caller_and_nobody_starts_another_part(
    helper: bool, error: type[BaseException]
) -> None:
    started = []
    failed = threading.Event()

    def work(part: int) -> None:
        started.append(part)
        if in_helper() == helper:
            failed.set()
            raise error(f"part {part}")
        failed.wait(10)
        time.sleep(0.05)  # for the error to arrive

    with pytest.raises(error, match=r"part [01]"):
        threads.parallel(meeting(work), range(50))
    assert sorted(started) == [0, 1]
    assert threads.parallel(meeting(lambda part: part), range(3)) == [0, 1, 2]


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("failing", [(), (True,), (False,), (True, False)])
def test_arrays_go_when_a_call_is_over(failing: tuple[bool, ...]) -> None:
    """Also after an error in a helper, in the caller, or in both: no cycle keeps them."""
    held: list[Any] = []

    def call() -> None:
        whole = np.ones(5)
        held.append(weakref.ref(whole))

        def work(part: int) -> None:
            share = whole + part
            held.append(weakref.ref(share))
            if in_helper() in failing:
                raise ValueError(part)

        threads.parallel(meeting(work), range(2))

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ValueError, match=r"[01]") if failing else nullcontext():
            call()
        assert len(held) == 3
        until = time.monotonic() + 5
        while any(ref() is not None for ref in held) and time.monotonic() < until:
            time.sleep(0.001)
        assert [ref() is None for ref in held] == [True] * 3
    finally:
        gc.enable()


@pytest.mark.usefixtures("two_threads")
def test_helpers_warn_as_the_caller_does() -> None:
    with np.errstate(divide="raise"):
        assert (
            threads.parallel(meeting(lambda part: np.geterr()["divide"]), range(2)) == ["raise"] * 2
        )


@pytest.mark.usefixtures("two_threads")
def test_nobody_waits_for_a_helper_that_did_not_start() -> None:
    assert threads.parallel(meeting(lambda part: part), range(2)) == [0, 1]  # so that there is one
    free = threading.Event()
    for _ in threads._workers:
        threads._jobs.put(free.wait)
    try:
        begin = time.monotonic()
        assert threads.parallel(lambda part: part + 1, range(9)) == list(range(1, 10))
        assert time.monotonic() - begin < 5
    finally:
        free.set()


@pytest.mark.usefixtures("two_threads")
def test_a_helper_that_comes_late_keeps_no_array() -> None:
    assert threads.parallel(meeting(lambda part: part), range(2)) == [0, 1]
    free = threading.Event()
    for _ in threads._workers:
        threads._jobs.put(free.wait)
    try:
        array = np.ones(3)
        kept = weakref.ref(array)
        made = threads.parallel(partial(np.add, array), range(3))
        del array
        assert kept() is None
        given = weakref.ref(made[0])
        del made
        assert given() is None
    finally:
        free.set()


@pytest.mark.usefixtures("two_threads")
def test_without_another_thread_the_caller_does_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_workers", [])
    monkeypatch.setattr(threads.Thread, "start", refuse)
    assert threads.parallel(lambda part: in_helper(), range(4)) == [False] * 4


@pytest.mark.usefixtures("two_threads")
def test_the_calls_of_a_helper_use_threads_too() -> None:
    def outer(part: int) -> int:
        return sum(threads.parallel(lambda inner: part * inner, range(5)))

    assert threads.parallel(meeting(outer), range(12)) == [10 * i for i in range(12)]


def test_small_work_is_one_part() -> None:
    """And a part of its own costs nothing: it runs where it was called."""
    assert threads.by_products(1000, threads.WORTH_A_PART) == [slice(0, 1000)]
    assert threads.by_products(0, 0) == [slice(0, 0)]
    tg.set_num_threads(8)
    assert threads.parallel(lambda part: in_helper(), [slice(0, 9)]) == [False]


@given(st.integers(0, 300), st.integers(0, 1 << 30), st.integers(1, 40))
def test_parts_follow_from_the_shapes(length: int, products: int, most: int) -> None:
    tg.set_num_threads(1)
    parts = threads.by_products(length, products, most)
    tg.set_num_threads(5)
    assert threads.by_products(length, products, most) == parts
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(length))
    assert len(parts) <= max(1, min(length, most, threads.MOST_PARTS))
    assert len(parts) == 1 or products // len(parts) >= threads.WORTH_A_PART


# ----- BLAS ---------------------------------------------------------------------------------------


def settled(number: int) -> bool:
    """Whether BLAS gets this number of threads, in a moment at the latest."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not threads._holding and blas_threads() == {number}:
            return True
        time.sleep(0.001)
    return False


KERNELS: dict[str, Callable[[], Any]] = {
    "conv": lambda: tg.conv2d(Tensor(normal(8, 16, 20, 20)), Tensor(normal(16, 16, 3, 3))),
    "rows": lambda: Tensor(normal(500, 300)) @ Tensor(normal(300, 200)),
    "product": lambda: Tensor(normal(90, 90)) @ Tensor(normal(90, 90)),
    "inv": lambda: tg.linalg.inv(Tensor(positive(20))),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_holds_blas_to_one_thread_and_gives_it_back(
    name: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tg.set_num_threads(workers)
    monkeypatch.setattr(switch.KERNELS, "compiled", False)  # those have no BLAS
    seen: set[int] = set()
    for module, function in ((np, "matmul"), (np.linalg, "inv")):
        original = getattr(module, function)

        def looking(*args: Any, original: Any = original, **options: Any) -> Any:
            seen.update(blas_threads())
            return original(*args, **options)

        monkeypatch.setattr(module, function, looking)
    monkeypatch.setattr(backend.get("cpu"), "linalg", type(backend.get("cpu").linalg)())
    with threadpool_limits(2, "blas"):
        KERNELS[name]()
        assert blas_threads() == {2}
    assert seen == {1}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_kernel_that_fails_gives_blas_back(workers: int) -> None:
    tg.set_num_threads(workers)

    def work(part: int) -> None:
        assert blas_threads() == {1}
        raise ValueError

    with threadpool_limits(2, "blas"):
        with pytest.raises(ValueError):  # noqa: PT011
            threads.parallel(work, range(4), (999, 999, 999))
        assert blas_threads() == {2}


def test_a_step_that_holds_blas_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it calls need not hold it again, nor give it back, in this thread; in others it may."""
    asked, settle = [], threads._settle
    monkeypatch.setattr(threads, "_settle", lambda: (asked.append(threading.get_ident()), settle()))

    def step() -> None:
        for _ in range(3):
            assert threads.on_one_blas_thread(blas_threads) == {1}
        assert at_once(lambda _: threads.on_one_blas_thread(blas_threads), 1) == [{1}]
        assert blas_threads() == {1}

    with threadpool_limits(2, "blas"):
        threads.on_one_blas_thread(step)
        assert blas_threads() == {2}
    assert asked.count(threading.get_ident()) == 2  # at the start and at the end


def test_the_steps_of_a_training_hold_blas() -> None:
    seen = []

    class Looking(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((self.training, blas_threads()))
            return super().forward(x)

    model = Looking(3, 2)
    data = tg.data.TensorDataset(tg.zeros(8, 3), tg.zeros(8, dtype="int64"))
    loader = tg.data.DataLoader(data, batch_size=4)
    with threadpool_limits(2, "blas"):
        train.Trainer(model, tg.optim.SGD(model.parameters(), 0.1)).fit(loader, None, 1)
    assert [blas for training, blas in seen if training] == [{1}, {1}]


def test_a_blas_whose_number_is_that_of_each_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of MKL, or of OpenBLAS over OpenMP: workers have one for good."""
    number = threading.local()
    blas = threads._Blas(lambda: getattr(number, "n", 4), lambda n: setattr(number, "n", n))
    monkeypatch.setattr(threads, "_per_thread", [blas])
    tg.set_num_threads(2)
    threads._dismiss()
    try:
        seen = threads.parallel(meeting(lambda part: blas.get()), range(5), (999, 999, 999))
        assert seen == [1] * 5
        assert blas.get() == 4
        with pytest.raises(ZeroDivisionError):
            threads.on_one_blas_thread(lambda: blas.get() / 0)
        assert blas.get() == 4
        for _ in interrupted(lambda: threads.on_one_blas_thread(int)):
            assert blas.get() == 4
    finally:
        threads._dismiss()


def test_kernels_in_many_threads() -> None:
    """Their values are right, and BLAS gets its threads back."""
    tg.set_num_threads(3)
    x, w, g = normal(9, 16, 33, 31), normal(24, 16, 3, 3), normal(9, 24, 31, 29)
    views = sliding_window_view(x.astype(float), g.shape[2:], (2, 3))  # (N, C, 3, 3, H', W')
    expected = np.tensordot(g.astype(float), views, ((0, 2, 3), (0, 4, 5)))
    with threadpool_limits(2, "blas"):

        def work(i: int) -> list[Array]:
            found = []
            for _ in range(6):
                kernel = Tensor(w, requires_grad=True)
                tg.conv2d(Tensor(x), kernel).backward(Tensor((i + 1) * g))
                assert kernel.grad is not None
                found.append(kernel.grad.numpy())
            return found

        for i, gradients in enumerate(at_once(work, 5)):
            for gradient in gradients:
                scale = np.abs(expected).max()
                assert_allclose(gradient / (i + 1), expected, rtol=0, atol=1e-5 * scale)
                assert_array_equal(gradient, gradients[0])
        assert blas_threads() == {2}


# ----- Ctrl-C -------------------------------------------------------------------------------------


class CtrlC:
    """A KeyboardInterrupt at one of the places where the interpreter looks for signals.

    These are the entry of a function, the end of a call of C, and a jump back. They are counted in
    all frames of this thread inside the context; `at` is the one where it comes.
    """

    def __init__(self, at: int) -> None:
        self.at, self.steps = at, 0
        self.before = sys.gettrace(), sys.getprofile()

    def __enter__(self) -> "CtrlC":
        sys.settrace(self.jumps)
        sys.setprofile(self.calls)
        return self

    def __exit__(self, *error: object) -> None:
        trace, profile = self.before
        sys.setprofile(profile)
        sys.settrace(trace)

    def calls(self, frame: FrameType, event: str, _: Any) -> None:
        if event in ("call", "c_return"):
            self.step(frame)

    def jumps(self, frame: FrameType, event: str, _: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            name = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if name.startswith("JUMP_BACKWARD"):
                self.step(frame)
        return self.jumps

    def step(self, frame: FrameType) -> None:
        if frame.f_code in (CtrlC.__enter__.__code__, CtrlC.__exit__.__code__):
            return
        if self.steps == self.at:
            self.steps += 1
            raise KeyboardInterrupt
        self.steps += 1


def interrupted(call: Callable[[], Any]) -> Iterator[int]:
    """The call, interrupted at its first place, at its second, and so on until it ends before."""
    for at in range(100_000):
        ctrl_c = CtrlC(at)
        try:
            with ctrl_c:
                call()
        except KeyboardInterrupt:
            yield at
        if ctrl_c.steps <= at:
            return


def unlocked(lock: Any) -> bool:
    """Whether another thread can have it."""

    def take(_: int) -> bool:
        return lock.acquire(timeout=5) and (lock.release() or True)

    return at_once(take, 1) == [True]


def test_ctrl_c_inside_a_product_anywhere() -> None:
    with threadpool_limits(2, "blas"):
        places = 0
        for _ in interrupted(lambda: threads.on_one_blas_thread(int)):
            places += 1
            assert settled(2)
            assert unlocked(threads._settling.lock)
        assert places > 5


@pytest.mark.parametrize("walk", ["train", "apply", "repr", "call"])
def test_ctrl_c_in_a_walk_of_modules_anywhere(walk: str) -> None:
    """The next walk goes everywhere, and what is computed next is part of no call."""
    net = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.Dropout(0.5)))
    net[1].owner = net
    x, met = tg.ones(1, 1), list[nn.Module]()
    calls: dict[str, Callable[[], Any]] = {
        "train": net.train,
        "apply": lambda: net.apply(met.append),
        "repr": lambda: repr(net),
        "call": lambda: net[0](x),
    }
    whole = repr(net)
    for _ in interrupted(calls[walk]):
        assert not any(module.training for module in net.eval().modules())
        met.clear()
        net.apply(met.append)
        assert len(met) == 4
        assert repr(net) == whole
        assert scope.get() is None


class Handler(CtrlC):
    """A signal that is handled by computing something, at one of the same places."""

    def __init__(self, at: int, compute: Callable[[], Any]) -> None:
        super().__init__(at)
        self.compute = compute

    def step(self, frame: FrameType) -> None:
        here, self.steps = self.steps, self.steps + 1
        if here == self.at:
            self.compute()


def test_a_signal_handler_that_computes_anywhere() -> None:
    """Also where a lock is held, that it needs too."""
    tg.set_num_threads(3)

    def call() -> list[int]:
        return threads.parallel(lambda part: part, range(5), (999, 999, 999))

    with threadpool_limits(2, "blas"):
        for at in range(1000):
            threads._dismiss()
            with Handler(at, call) as handler:
                assert call() == list(range(5))
            assert settled(2)
            if handler.steps <= at:
                break
        assert 30 < at < 999


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_inside_parallel_anywhere() -> None:
    """Also while the first worker starts. Python drops it in the callback of a weak reference."""
    tg.set_num_threads(3)
    with threadpool_limits(2, "blas"):
        places = 0

        def call() -> None:
            threads.parallel(lambda part: None, range(5), (999, 999, 999))

        threads._dismiss()
        for _ in interrupted(call):
            places += 1
            assert settled(2)
            assert unlocked(threads._settling.lock)
            assert unlocked(threads._hiring.lock)
            if places % 5 == 0:
                threads._dismiss()
        assert places > 30
    assert threads.parallel(lambda part: part, range(5)) == list(range(5))


def descent() -> tuple[Callable[[], tg.Tensor], nn.Module]:
    """A step of a training that is where it was after each."""
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = tg.optim.SGD(net.parameters(), lr=0.0, momentum=0.9)
    x = tg.randn(5, 3)

    def step() -> tg.Tensor:
        optimizer.zero_grad()
        loss = (net(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    return step, net


def test_ctrl_c_while_something_is_undisturbed() -> None:
    """It is done all the same: as a whole, or not begun."""
    begun, done, places = list[int](), list[int](), 0

    def work(n: int) -> int:
        begun.append(n)
        done.append(n)
        return n

    for _ in interrupted(lambda: threads.undisturbed(work, 3)):
        places += 1
        until = time.monotonic() + 5
        while begun != done:
            assert time.monotonic() < until
    assert threads.undisturbed(work, 3) == 3
    assert places > 5
    with pytest.raises(ZeroDivisionError):
        threads.undisturbed(lambda: 1 / 0)


@pytest.mark.skipif(not switch.has_numba(), reason="needs numba, of the extra fast")
def test_ctrl_c_while_numba_is_imported_and_kernels_are_compiled(tmp_path: Path) -> None:
    """Neither leaves anything behind that is in the way of the next call."""
    program = """
        import signal
        import numpy as np
        import tinygrad_cv as tg

        def stop(*_):
            raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, stop)
        x = tg.Tensor(np.linspace(-1, 1, 4096, dtype=np.float32))
        interrupted = 0
        for n in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.04 * (n + 1), 0.1)
                y = tg.relu(x)
                break
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        print(interrupted > 1, (y.numpy() == np.maximum(x.numpy(), 0)).all())
    """
    environment = {"XDG_CACHE_HOME": str(tmp_path), "TINYGRAD_CV_KERNELS": "compiled"}
    assert run(textwrap.dedent(program), environment).split() == ["True", "True"]
    assert len([*(tmp_path / "tinygrad_cv" / "kernels").iterdir()]) == 1


def test_ctrl_c_where_recording_begins_and_ends_anywhere() -> None:
    host = backend.get("cpu")
    recorder = type("Recorder", (), {"host": host})
    places = 0
    for _ in interrupted(lambda: recording.recorded_by(recorder, host, int)):
        places += 1
        assert recording.recording.get() is None
        assert not recording._recorders
        assert unlocked(recording._settling.lock)
    recording.recorded_by(recorder, host, int)
    assert type(host) is CompiledBackend
    assert places > 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("replayed", [False, True])
def test_ctrl_c_in_a_compiled_step_anywhere(replayed: bool) -> None:
    """Nothing goes on being recorded, tensors hold numbers, and the next call is right."""
    step, net = descent()
    loss = step().item()
    same = tg.compile(step)

    def call() -> None:
        (same if replayed else tg.compile(step))()

    same()
    call()
    with CtrlC(-1) as whole:
        call()
    for at in range(0, whole.steps, whole.steps // 25):
        with suppress(KeyboardInterrupt), CtrlC(at):
            call()
        assert recording.recording.get() is None
        assert not recording._recorders
        for p in net.parameters():
            assert type(p._array) is np.ndarray
            assert p.grad is None or type(p.grad._array) is np.ndarray
        assert same().item() == pytest.approx(loss, rel=1e-5)
        assert step().item() == loss
    assert unlocked(same.lock)


def test_a_signal_handler_that_calls_the_compiled_function_that_runs() -> None:
    w = normal(40, 40)
    twice = tg.compile(lambda x: ((x @ tg.Tensor(w)) * 0.5).relu() @ tg.Tensor(w))
    x, y = tg.Tensor(normal(50, 40)), tg.ones(50, 40)
    wanted, other = twice(x).tolist(), twice(y).numpy()
    for at in range(1000):
        with Handler(at, lambda: assert_allclose(twice(y).numpy(), other, rtol=1e-4)) as handler:
            ours = twice(x)
        assert ours.tolist() == wanted
        if handler.steps <= at:
            break
    assert 30 < at < 999


PROCESS = """
import os, signal, sys, threading, time, warnings
from contextlib import ExitStack
import numpy as np
from threadpoolctl import threadpool_info
import tinygrad_cv as tg
from tinygrad_cv.backend import locks, threads

rng = np.random.default_rng(0)
x, w = (rng.standard_normal(s).astype("float32") for s in ((9, 16, 33, 31), (24, 16, 3, 3)))

def step():
    kernel = tg.Tensor(w, requires_grad=True)
    tg.conv2d(tg.Tensor(x), kernel).sum().backward()
    return kernel.grad.numpy().tobytes()

def settled():
    until = time.monotonic() + 5
    while threads._holding or {p["num_threads"] for p in threadpool_info()} != {2}:
        assert time.monotonic() < until, (threads._holding, threadpool_info())
"""

ENVIRONMENT = {"OMP_NUM_THREADS": "2", "TINYGRAD_CV_NUM_THREADS": "3"}


def test_a_rain_of_ctrl_c() -> None:
    """For two seconds, while kernels hold BLAS, start workers and wait for them; and by single
    drops while small ops keep NumPy from saying anything of 1 / 0."""
    program = """
        sys.unraisablehook = lambda _: None  # what is lost in the callback of a weak reference

        def drop(*_):
            if raining:
                raise KeyboardInterrupt

        leaf = tg.ones(2, requires_grad=True)

        def small():
            for _ in range(1000):  # its drop may be lost
                leaf.grad = None
                (leaf * leaf).sum().backward()

        signal.signal(signal.SIGALRM, drop)
        expected, caught, until = step(), 0, time.monotonic() + 2
        while time.monotonic() < until:
            if caught % 4 == 0:
                threads._dismiss()
            first, again = rng.uniform(1e-6, 3e-3), rng.uniform(1e-5, 1e-3)
            try:
                try:
                    raining = True
                    if caught % 2:
                        signal.setitimer(signal.ITIMER_REAL, first)
                        small()
                    signal.setitimer(signal.ITIMER_REAL, first, again)
                    step()
                finally:
                    raining = False
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                caught += 1
                assert caught % 2 or np.geterr()["divide"] == "raise"
                np.seterr(divide="raise")
            settled()
        assert step() == expected
        print(caught)
    """
    assert int(run(PROCESS + textwrap.dedent(program), ENVIRONMENT)) > 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.skipif(tg.get_kernels() == "numpy", reason="needs numba")
def test_a_child_process_goes_on_with_compiled_kernels() -> None:
    """Those that its parent ran on its threads, and one that is compiled after the fork."""
    program = """
        warnings.simplefilter("ignore")  # Python warns of a fork beside threads
        a = rng.standard_normal((1 << 20)).astype("float32")
        def relu(a):
            x = tg.Tensor(a, requires_grad=True)
            y = tg.relu(x)
            y.backward(tg.Tensor(a))
            found = y.detach().numpy(), x.grad.numpy()
            return all(np.array_equal(part, a.clip(0)) for part in found)
        tg.relu(tg.Tensor(a))
        assert threads._workers and "numba" in sys.modules
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(0 if relu(a) and len(threads._workers) == 2 else 1)
        print(os.waitpid(child, 0)[1], relu(a))
    """
    environment = ENVIRONMENT | {"TINYGRAD_CV_KERNELS": "compiled"}
    assert run(PROCESS + textwrap.dedent(program), environment).split() == ["0", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_process_starts_afresh() -> None:
    """Also where a thread held BLAS, and the locks, at the moment of the fork."""
    program = """
        warnings.simplefilter("ignore")  # Python warns of a fork beside threads
        expected, ready, over = step(), threading.Event(), threading.Event()
        double, one = tg.compile(lambda x: x + x), tg.ones(1)
        double(one)

        def hold():
            with ExitStack() as held:
                for each in locks._all:
                    held.enter_context(each.lock)
                ready.set()
                over.wait()

        for target in (lambda: threads.on_one_blas_thread(over.wait), hold):
            threading.Thread(target=target).start()
            ready.wait(0.1)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            tg.zeros(2, device="fakecuda")
            settled()
            right = step() == expected and double(one).item() == 2
            settled()
            os._exit(0 if right else 1)
        _, status = os.waitpid(child, 0)
        over.set()
        print(status)
    """
    assert run(PROCESS + textwrap.dedent(program), ENVIRONMENT).split() == ["0"]


def test_kernels_while_the_process_ends() -> None:
    """In a thread that outlives the main one, in handlers of its exit, and as modules go."""
    before = """
        import atexit
        @atexit.register
        def late():
            assert step() == expected
            print("late")
    """
    after = """
        @atexit.register
        def early():
            assert step() == expected
            print("early")

        class Last:
            def __del__(self, parallel=threads.parallel, workers=threads._workers, write=os.write):
                workers.clear()  # none is left, and there can be no new one
                assert parallel(lambda part: part, range(5)) == [0, 1, 2, 3, 4]
                write(1, b"last")

        def work(count):
            for _ in range(count):
                assert step() == expected
            print("thread")

        sys.modules["last"] = last = type(sys)("last")
        last.one = Last()
        expected = step()
        threading.Thread(target=work, args=(20,)).start()
        threading.Thread(target=work, args=(10**9,), daemon=True).start()
    """
    printed = run(textwrap.dedent(before) + PROCESS + textwrap.dedent(after), ENVIRONMENT)
    assert printed.split() == ["thread", "early", "late", "last"]
