"""Functions of functions, shaped as those in `torch.func`: they return functions, and nest.

They touch no `.grad`. What they return is recorded where it depends on something outside that
requires a gradient: an argument, or a tensor that the function finds by itself.

>>> import tinygrad_cv as tg
>>> from tinygrad_cv.func import grad, vmap
>>> grad(grad(lambda x: x**3))(tg.tensor(2.0))
tensor(12.)
>>> vmap(grad(lambda x: x.sin()))(tg.zeros(3))
tensor([1., 1., 1.])
"""

import typing as _typing

from tinygrad_cv._public import FUNC as _FUNC
from tinygrad_cv._public import fill as _fill
from tinygrad_cv.func import derivatives as derivatives
from tinygrad_cv.func import modules as modules
from tinygrad_cv.func import vectorized as vectorized

if _typing.TYPE_CHECKING:
    from tinygrad_cv._stubs.func import *  # noqa: F403  generated
else:
    _fill(globals(), _FUNC)
