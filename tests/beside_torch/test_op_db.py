"""PyTorch's own samples of its ops: values, gradients, second gradients, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest

import tinygrad_cv as tg

pytest.importorskip(
    "expecttest", reason="PyTorch's samples of its ops need the package expecttest (pip install)"
)
op_db = pytest.importorskip(
    "beside_torch.op_db",
    reason="this PyTorch has no torch.testing._internal.common_methods_invocations",
    exc_type=ImportError,
)

from beside_torch.op_db_known import KNOWN, KNOWN_ACCEPTED  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

COMMON = sorted(name for name, op in op_db.OPS.items() if op_db.ours(op) and op_db.samples(name))
REFUSING = [name for name in COMMON if op_db.refused(name)]
METHODS = [
    (name, method)
    for name in COMMON
    for method, ours in op_db.variants(op_db.OPS[name]).items()
    if ours is not None
]

FLOOR = 505
"""How many of PyTorch's ops are here at least."""


@pytest.mark.parametrize("name", COMMON)
def test_the_samples_of_an_op_agree(name: str, device: str) -> None:
    samples = op_db.samples(name)
    wrong = [
        f"sample {i} ({op_db.described(samples[i])}): {different}"
        for i, different in op_db.unexplained(name, device).items()
    ]
    assert not wrong, f"{len(wrong)} of {len(samples)}\n" + "\n".join(wrong)


def test_99_percent_of_the_samples_agree(
    device: str, record_property: Callable[[str, Any], None]
) -> None:
    total = sum(len(op_db.samples(name)) for name in COMMON)
    passed = total - sum(len(op_db.failures(name, device)) for name in COMMON)
    record_property("op_db", (len(COMMON), passed, total))
    print(f"{len(COMMON)} ops on {device}: {passed} of {total} samples agree, {passed / total:.2%}")
    assert len(COMMON) >= FLOOR
    assert passed >= 0.99 * total


@pytest.mark.parametrize("name", REFUSING)
def test_what_pytorch_refuses_is_refused(name: str, device: str) -> None:
    calls = op_db.unduly_accepted(name, device)
    assert not calls, "\n".join(map(str, calls))


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_a_method_gives_what_the_function_gives(name: str, method: str, device: str) -> None:
    samples = op_db.samples(name)
    different = {
        op_db.described(sample): what
        for i, sample in enumerate(samples)
        if i not in op_db.failures(name, device)
        and (what := op_db.method_difference(name, sample, method))
    }
    assert not different, "\n".join(f"({call}): {what}" for call, what in different.items())


@pytest.mark.host
def test_every_known_difference_is_one() -> None:
    for entry in KNOWN:
        assert any(
            entry.explains(name, op_db.samples(name)[i], different.order)
            for name in COMMON
            for i, different in op_db.failures(name, "cpu").items()
        ), f"{entry.ops}: no sample differs so; the entry in op_db_known.py has to go"
    for entry in KNOWN_ACCEPTED:
        assert any(
            entry.explains(name, call.sample)
            for name in REFUSING
            for call in op_db.accepted(name, "cpu")
        ), f"{entry.ops}: all such calls are refused; the entry in op_db_known.py has to go"


@pytest.mark.host
@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_wrong_function_is_found(order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    right = tg.exp

    def wrong(x: tg.Tensor) -> tg.Tensor:
        """As exp is, but for the derivative of that order at every point."""
        return right(x) + 1e-5 * (x - x.detach()) ** order

    monkeypatch.setattr(tg, "exp", wrong)
    found = [op_db.difference("exp", sample) for sample in op_db.samples("exp")]
    assert found
    assert {different.order for different in found if different} == {order}
