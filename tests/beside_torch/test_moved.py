"""The losses that tests/test_moved.py expects are those that PyTorch computes."""

import json
import warnings

import numpy as np
import pytest
import torch

import moving

pytestmark = pytest.mark.host


@pytest.mark.parametrize("name", moving.PROGRAMS)
def test_the_losses_are_those_of_pytorch(name: str) -> None:
    expected = json.loads(moving.LOSSES.read_text(encoding="utf-8"))[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # PyTorch's own tests, if they were imported, forbid programs its switches.
        allowed = getattr(torch.backends, "__allow_nonbracketed_mutation")
        with allowed():
            losses = moving.run(moving.PROGRAMS[name].read_text(encoding="utf-8"))
    np.testing.assert_allclose(losses, expected, rtol=1e-9, atol=1e-12)
