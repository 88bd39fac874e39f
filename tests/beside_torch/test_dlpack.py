"""PyTorch reads our tensors, and we PyTorch's, without a change of one showing in the other."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv.testing.strategies import arrays, shapes

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


@pytest.mark.host
@given(arrays(shapes(0, 3)), st.sampled_from(DTYPES), st.booleans())
def test_values_go_both_ways(values: np.ndarray, dtype: str, turned: bool) -> None:
    values = values.astype(dtype)
    ours, theirs = tg.tensor(values), torch.tensor(values)
    if turned:
        ours, theirs = ours.T, theirs.permute(tuple(range(theirs.ndim))[::-1])
    for found in (torch.from_dlpack(ours), torch.utils.dlpack.from_dlpack(ours)):
        assert torch.equal(found, theirs)
        found.zero_()
    back = tg.from_dlpack(theirs)
    assert back.dtype == ours.dtype
    np.testing.assert_array_equal(back.numpy(), ours.numpy())
    np.testing.assert_array_equal(ours.numpy(), values.T if turned else values)
    theirs.zero_()
    np.testing.assert_array_equal(back.numpy(), ours.numpy())


@pytest.mark.host
def test_a_graph_is_left_by_a_word_on_both_sides() -> None:
    with pytest.raises(BufferError, match=r"x\.detach\(\)"):
        torch.from_dlpack(tg.ones(2, requires_grad=True))
    with pytest.raises(BufferError, match="detach"):
        tg.from_dlpack(torch.ones(2, requires_grad=True))


@pytest.mark.host
def test_a_graph_s_values_are_safe_from_pytorch() -> None:
    x = tg.ones(3, requires_grad=True)
    y = (x * x).sum()
    torch.from_dlpack(x.detach()).mul_(7)
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
