"""How the whole suite runs: the hypothesis profiles, and the tour before everything else."""

import importlib
import importlib.util
import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import TestCase

import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

import tinygrad_cv as tg
from tinygrad_cv._op import REGISTRY
from tinygrad_cv.backend.switch import has_numba

# A shared machine pauses at any moment, so no example has a deadline.
settings.register_profile("dev", max_examples=20, deadline=None)
settings.register_profile("ci", max_examples=30, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("intense", max_examples=1000, deadline=None)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "dev")
settings.load_profile(PROFILE)
# The stand-in computes with NumPy. What is new there, the rules of CuPy, needs fewer draws.
settings.register_profile("stand-in", max_examples=settings.default.max_examples // 3)


@cache
def has_card() -> bool:
    """Whether CuPy and a GPU are here."""
    if importlib.util.find_spec("cupy") is None:
        return False
    cupy = importlib.import_module("cupy")
    return bool(cupy.cuda.is_available())


DEVICES = ("cpu", "fakecuda:1", *(["cuda"] if has_card() else []))
"""Where the suite runs; of the stand-in the second device, so that it is not the active one."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--torch", action="store_true", help="also compare with PyTorch")
    parser.addoption(
        "--device", action="append", help="run on this device only (default: cpu and fakecuda:1)"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The comparison with PyTorch is a run of its own: PyTorch is large, and no dependency."""
    if collection_path.name == "beside_torch" and not config.getoption("--torch"):
        return True
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests for a card are skipped without one, unless the run is there to test the card."""
    if item.get_closest_marker("gpu") and not has_card():
        if os.environ.get("TINYGRAD_CV_REQUIRE_GPU") == "1":
            pytest.fail("TINYGRAD_CV_REQUIRE_GPU=1, and there is no CuPy with a CUDA device.")
        pytest.skip("no CuPy with a CUDA device")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test runs on every device, but for those that are about the host."""
    if metafunc.definition.get_closest_marker("host"):
        devices: tuple[str, ...] = ("cpu",)
    elif chosen := metafunc.config.getoption("--device"):
        devices = tuple(chosen)
    else:
        devices = DEVICES
    if not issubclass(metafunc.cls or object, TestCase):  # which takes no parameters
        metafunc.parametrize("device", devices, indirect=True)


@pytest.fixture(autouse=True)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """The device that the test runs on: new tensors are made there."""
    before = tg.get_default_device()
    tg.set_default_device(getattr(request, "param", before))
    settings.load_profile("stand-in" if "fake" in tg.get_default_device() else PROFILE)
    yield tg.get_default_device()
    tg.set_default_device(before)
    settings.load_profile(PROFILE)


@pytest.fixture(scope="module")
def one_blas_thread() -> Iterator[None]:
    """No BLAS threads that spin: the products of small nets do not pay for them."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture
def compiled_kernels() -> Iterator[None]:
    """Compiled kernels, whatever is set; what a test chooses, and how many threads, is undone."""
    if not has_numba():
        pytest.skip("no numba: the extra `fast` is not installed")
    kernels, threads = tg.get_kernels(), tg.get_num_threads()
    tg.set_kernels("compiled")
    yield
    tg.set_kernels(kernels)
    tg.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _ops_of_a_test_go_with_it() -> Iterator[None]:
    """Two tests may each write an op of the same name."""
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """test_tiny.py first: where the stack is broken at all, it says so within seconds."""
    items.sort(key=lambda item: item.path.name != "test_tiny.py")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many broken rules were caught, and how many cases of ONNX and of PyTorch pass."""
    reports = [*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())]
    counts: dict[str, Counter[str]] = {}
    for report in reports:
        for name, value in report.user_properties:
            if name == "onnx":
                passed, scope, total = value
                terminalreporter.section("ONNX")
                terminalreporter.line(
                    f"{passed} node cases passed of {scope} in scope, {total} in all"
                )
            if name == "op_db":
                ops, passed, total = value
                terminalreporter.section("PyTorch's samples")
                terminalreporter.line(
                    f"{passed} of {total} samples of {ops} ops agree, {passed / total:.2%}"
                )
            if name == "mutant":
                counts.setdefault(value[0], Counter())[value[1]] += 1
    if not counts:
        return
    terminalreporter.section("broken rules")
    terminalreporter.line(f"{'mutant':<18} {'caught':>7} {'equal':>7} {'escaped':>8}")
    for mutant, count in counts.items():
        terminalreporter.line(
            f"{mutant:<18} {count['caught']:>7} {count['equal']:>7} {count['escaped']:>8}"
        )
