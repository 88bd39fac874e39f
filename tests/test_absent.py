"""A name of PyTorch's that is not here says what to use instead, however it is asked for."""

import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

import tinygrad_cv as tg
from absent import found, stale
from tinygrad_cv._absent import ABSENT, GROUPS, sentence

pytestmark = pytest.mark.host  # nothing is computed

ENTRIES = [(place, name) for place, names in ABSENT.items() for name in names]
IMPORTED = {place: found(place) for place in ABSENT}


def test_a_name_is_here_or_in_the_table_and_not_in_both() -> None:
    assert stale() == [], "python -m tests.absent --prune takes them out of the table"


def test_a_name_stands_once_for_each_place() -> None:
    listed = Counter(
        (place, name) for places, names, _ in GROUPS for place in places for name in names.split()
    )
    assert [entry for entry, count in listed.items() if count > 1] == []


@pytest.mark.parametrize("place", ABSENT)
def test_each_entry_gives_its_sentence(place: str) -> None:
    owner: Any = tg.ones(1) if place == "tinygrad_cv.Tensor" else IMPORTED[place]
    assert owner is not None
    for name in ABSENT[place]:
        with pytest.raises(AttributeError) as caught:
            getattr(owner, name)
        assert str(caught.value) == sentence(place, name)
        assert str(caught.value).startswith(f"{place} has no {name}: ")


def test_a_sentence_is_one() -> None:
    for _, names, words in GROUPS:
        assert words.endswith("."), names
        assert "  " not in words, names
        assert words[:1] == words[:1].lower() or words[:5] == "NumPy" or words[:4] == "CuPy", words


MODULES = [(place, name) for place, name in ENTRIES if place != "tinygrad_cv.Tensor"]


@pytest.mark.parametrize(("place", "name"), MODULES[::25])
def test_an_import_gives_the_sentence_too(place: str, name: str) -> None:
    with pytest.raises(ImportError) as caught:
        exec(f"from {place} import {name}", {})
    assert str(caught.value) == sentence(place, name)


def test_a_module_that_is_not_there_gives_the_sentence() -> None:
    for program in (
        "import tinygrad_cv.fx",
        "import tinygrad_cv.distributed.fsdp",
        "import tinygrad_cv.fft as fft",
        "from tinygrad_cv.utils.tensorboard import SummaryWriter",
    ):
        name = program.split()[1].rpartition(".")
        with pytest.raises(ModuleNotFoundError) as caught:
            exec(program, {})
        assert str(caught.value) == sentence(name[0], name[2])


def test_what_nobody_has_is_an_ordinary_error() -> None:
    for place, module in IMPORTED.items():
        if place != "tinygrad_cv.Tensor":
            with pytest.raises(AttributeError, match=f"module '{place}' has no attribute 'nosuch'"):
                _ = module.nosuch
            with pytest.raises(ImportError, match=f"cannot import name 'nosuch' from '{place}'"):
                exec(f"from {place} import nosuch", {})
    with pytest.raises(AttributeError, match="'Tensor' object has no attribute 'nosuch'"):
        _ = tg.ones(1).nosuch  # type: ignore[attr-defined]
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'tinygrad_cv\.nosuch'"):
        exec("import tinygrad_cv.nosuch", {})
    assert not hasattr(tg, "compiler")
    assert not hasattr(tg.ones(1), "to_sparse")
    assert not hasattr(tg.Tensor, "to_sparse")
    assert "to_sparse" not in dir(tg.ones(1))
    assert "mul_" in dir(tg.ones(1))
    # With one, CPython reads each attribute of each tensor the slow way.
    assert not hasattr(tg.Tensor, "__getattr__")


def test_a_program_that_guards_itself_goes_on() -> None:
    program = """
import tinygrad_cv as torch
compiled = torch.compiler if hasattr(torch, "compiler") else (lambda model: model)
try:
    from tinygrad_cv.utils.tensorboard import SummaryWriter
except ImportError:
    SummaryWriter = None
print(compiled(3), SummaryWriter, getattr(torch.ones(1), "is_sparse_csr", False))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("3 None False\n", "")
