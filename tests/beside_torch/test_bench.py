"""The workloads of `tests.bench`, at tiny sizes: every library computes the same."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinygrad_cv as tg
from bench import peers
from bench.limits import least_ms
from bench.measure import disagreements
from bench.workloads import WORKLOADS

pytestmark = pytest.mark.host

LIBRARIES = {library.name: library for library in (*peers.ours(), *peers.theirs(True, False))}


@pytest.mark.parametrize("library", [name for name in LIBRARIES if name != peers.OURS])
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_is_the_same_in_every_library(name: str, library: str) -> None:
    entry, other = WORKLOADS[name], LIBRARIES[library]
    before = tg.get_kernels()
    try:
        for dtype in ("float64", "float32"):
            ours = entry(replace(peers.EAGER, dtype=dtype), **entry.tiny)
            other.switch()
            theirs = entry(replace(other, dtype=dtype), **entry.tiny)
            assert not list(disagreements(ours, theirs, dtype))
            peers.EAGER.switch()
    finally:
        tg.set_kernels(before)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_knows_its_work(name: str) -> None:
    entry = WORKLOADS[name]
    limit = {"gflops_1": 1e9, "gbytes_1": 1e9}
    least = least_ms(entry(peers.EAGER, **entry.tiny), limit, 1)
    assert (least is None) == (name in ("elementwise", "slices"))
    assert least is None or least > 0


@pytest.mark.parametrize("name", peers.NETS)
@pytest.mark.parametrize("peer", ["mygrad", "autograd", "jax"])
def test_other_libraries(name: str, peer: str) -> None:
    pytest.importorskip(peer)
    ours, theirs = WORKLOADS[name](peers.EAGER), peers.others(name)[peer]()
    assert not list(disagreements(ours, theirs, "float32"))


def test_a_difference_is_found() -> None:
    """Of a loss, of a gradient, of a shape, and of NaN."""
    build = WORKLOADS["tiny_mlp"]
    first = replace(peers.EAGER, dtype="float64")

    def found(change: Any) -> list[str]:
        theirs = build(first)
        change(theirs)
        return [line.split(" in ")[0] for line in disagreements(build(first), theirs, "float64")]

    def wrong_start(theirs: Any) -> None:
        theirs.parameters["0.bias"].data += 1

    def wrong_gradient(theirs: Any) -> None:
        theirs.parameters["0.bias"].register_hook(lambda g: g * 1.1)

    def not_a_number(theirs: Any) -> None:
        theirs.parameters["2.bias"].data += np.nan

    assert "loss 1" in found(wrong_start)
    assert found(wrong_gradient)[0] == "gradient of 0.bias"
    assert "loss 1" in found(not_a_number)
    assert not found(lambda theirs: None)
