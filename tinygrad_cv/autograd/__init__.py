"""Gradients, as PyTorch's programs ask for them: `grad`, `backward`, `Function` and the checks.

There is one engine behind it, which knows nothing of this package.

>>> from tinygrad_cv import autograd, tensor
>>> x = tensor(3.0, requires_grad=True)
>>> autograd.grad(x * x, x)
(tensor(6.),)
"""

import typing as _typing

from tinygrad_cv import _grad_mode as grad_mode  # noqa: F401
from tinygrad_cv._public import AUTOGRAD as _AUTOGRAD
from tinygrad_cv._public import fill as _fill
from tinygrad_cv.autograd import anomaly_mode as anomaly_mode
from tinygrad_cv.autograd import function as function
from tinygrad_cv.autograd import functional as functional
from tinygrad_cv.autograd import gradcheck as _gradcheck  # noqa: F401
from tinygrad_cv.autograd import variable as variable

if _typing.TYPE_CHECKING:
    from tinygrad_cv._stubs.autograd import *  # noqa: F403  generated
else:
    _fill(globals(), _AUTOGRAD)
