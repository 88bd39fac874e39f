"""PyTorch's `torch.nn.functional` names, for code that is used to `F.relu(x)`."""

from typing import TYPE_CHECKING

import tinygrad_cv.ops  # noqa: F401  they are marked there
from tinygrad_cv._public import FUNCTIONAL, fill

if TYPE_CHECKING:
    from tinygrad_cv._stubs.functional import *  # noqa: F403  generated
else:
    fill(globals(), FUNCTIONAL)
