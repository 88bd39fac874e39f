"""PyTorch's own samples of its modules: constructors, state, results, gradients, refusals."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip(
    "expecttest", reason="PyTorch's samples of its modules need the package expecttest"
)
module_db = pytest.importorskip(
    "beside_torch.module_db",
    reason="this PyTorch has no torch.testing._internal.common_modules",
    exc_type=ImportError,
)

from beside_torch.module_db_known import ABSENT, KNOWN, KNOWN_ACCEPTED  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_class_is_here_or_has_a_reason_not_to_be() -> None:
    assert set(module_db.MODULES) - set(module_db.HERE) == set(ABSENT)


@pytest.mark.parametrize("name", module_db.HERE)
def test_the_samples_of_a_module_agree(name: str, device: str) -> None:
    samples = module_db.samples(name)
    wrong = [
        f"sample {i} ({samples[i]}): {different}"
        for i, different in module_db.unexplained(name, device).items()
    ]
    assert not wrong, f"{len(wrong)} of {len(samples)}\n" + "\n".join(wrong)


def test_98_percent_of_the_samples_agree(
    device: str, record_property: Callable[[str, Any], None]
) -> None:
    total = sum(len(module_db.samples(name)) for name in module_db.HERE)
    passed = total - sum(len(module_db.failures(name, device)) for name in module_db.HERE)
    record_property("module_db", (len(module_db.HERE), passed, total))
    print(f"{len(module_db.HERE)} classes on {device}: {passed} of {total}, {passed / total:.2%}")
    assert len(module_db.HERE) >= 95
    assert passed >= 0.98 * total


@pytest.mark.parametrize("name", [name for name in module_db.HERE if module_db.refused(name)])
def test_what_pytorch_refuses_is_refused(name: str) -> None:
    calls = module_db.unduly_accepted(name)
    assert not calls, "\n".join(calls)


@pytest.mark.host
def test_every_known_difference_is_one() -> None:
    for entry in KNOWN:
        assert any(
            entry.explains(name, module_db.samples(name)[i], different.order)
            for name in module_db.HERE
            for i, different in module_db.failures(name, "cpu").items()
        ), f"{entry.ops}: no sample differs so; the entry in module_db_known.py has to go"
    for entry in KNOWN_ACCEPTED:
        assert any(
            entry.explains(name, sample) and module_db.acceptance(name, sample)
            for name in module_db.HERE
            for sample in module_db.refused(name)
        ), f"{entry.ops}: all such calls are refused; the entry in module_db_known.py has to go"
