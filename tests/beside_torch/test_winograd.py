"""The error of Winograd's convolutions beside that of PyTorch's."""

import numpy as np
import pytest
import torch

from test_compiled_winograd import ours, reference, relative

pytestmark = pytest.mark.host


@pytest.mark.parametrize("C", [24, 96])
@pytest.mark.parametrize(
    ("count", "size"), [(1, 16), (2, 32), (16, 4), (64, 4), (16, 8), (8, 16), (16, 16)]
)
@pytest.mark.parametrize("nowhere_negative", [False, True])
def test_error_is_at_most_three_times_that_of_pytorch(count, size, C, nowhere_negative):
    """PyTorch's channels-last, on one thread and on two, which sum in other parts."""
    rng = np.random.default_rng(C + size)
    x, g, w = (
        rng.standard_normal(shape, dtype=np.float32)
        for shape in ((count, C, size, size), (count, C, size, size), (C, C, 3, 3))
    )
    if nowhere_negative:
        x = np.abs(x)
    right = reference(x, w, None, g, (1, 1))
    errors = list(map(relative, ours(x, w, None, g, (1, 1)), right))
    last, threads = torch.channels_last, torch.get_num_threads()
    tx, tg, tw = (torch.from_numpy(a).to(memory_format=last) for a in (x, g, w))
    for number in (1, 2):
        torch.set_num_threads(number)
        y = torch.nn.functional.conv2d(tx, tw, padding=1)
        dx, dw, _ = torch.ops.aten.convolution_backward(
            tg, tx, tw, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, False]
        )
        torch.set_num_threads(threads)
        for mine, theirs, exact in zip(errors, (y, dx, dw), right, strict=True):
            assert mine < 3 * relative(theirs.numpy(), exact)
