"""Programs written for PyTorch compute here what they compute there (see `moving`)."""

import json
import re
import warnings

import numpy as np
import pytest

import moving

EXPECTED = json.loads(moving.LOSSES.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", moving.PROGRAMS)
def test_a_program_runs_with_its_import_lines_changed(name: str) -> None:
    source = moving.PROGRAMS[name].read_text(encoding="utf-8")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="<program>")
        losses = moving.run(moving.moved(source))
    np.testing.assert_allclose(losses, EXPECTED[name], rtol=1e-9, atol=1e-12)


@pytest.mark.host
def test_nothing_but_import_lines_is_changed() -> None:
    for path in moving.PROGRAMS.values():
        source = path.read_text(encoding="utf-8")
        before, after = source.splitlines(), moving.moved(source).splitlines()
        for old, new in zip(before, after, strict=True):
            assert old == new or re.match(r"(import|from) torch\b", old), path
        assert not re.search(r"^(import|from) torch\b", moving.moved(source), re.MULTILINE), path


@pytest.mark.host
def test_every_program_has_its_losses() -> None:
    assert EXPECTED.keys() == moving.PROGRAMS.keys()
