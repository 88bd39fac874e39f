"""PyTorch's `torch.nn.functional` names, for code that is used to `F.relu(x)`."""

from typing import TYPE_CHECKING

import tinygrad_cv.ops  # noqa: F401  they are marked there
from tinygrad_cv._inputs import public
from tinygrad_cv._public import FUNCTIONAL, fill
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.ops import activation


@public(FUNCTIONAL)
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), with the derivative 0 at 0 (Nair and Hinton, 2010).

    With `inplace` it is written into `input`, as in `x.relu_()`.

    >>> relu(Tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return activation.result(inplace, activation.relu, input)


if TYPE_CHECKING:
    from tinygrad_cv._stubs.functional import *  # noqa: F403  generated
else:
    fill(globals(), FUNCTIONAL)
