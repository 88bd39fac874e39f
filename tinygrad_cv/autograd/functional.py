"""Products with Jacobians, Jacobians and Hessians of a function at a place: see `transforms`."""

import typing as _typing

from tinygrad_cv import transforms as transforms
from tinygrad_cv._public import AUTOGRAD_FUNCTIONAL as _AUTOGRAD_FUNCTIONAL
from tinygrad_cv._public import fill as _fill

if _typing.TYPE_CHECKING:
    from tinygrad_cv._stubs.autograd_functional import *  # noqa: F403  generated
else:
    _fill(globals(), _AUTOGRAD_FUNCTIONAL)
