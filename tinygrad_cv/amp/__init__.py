"""Mixed precision as programs ask for it. Everything is computed in the dtypes of its inputs.

Half precision is no faster on the CPU, so `autocast` changes nothing and float32 stays float32:
results are at least as exact as with rounding. `GradScaler` is a real one, for parameters that are
float16 themselves.

>>> import tinygrad_cv as tg
>>> with tg.amp.autocast("cuda", dtype=tg.float16):
...     print((tg.ones(2, 2) @ tg.ones(2, 2)).dtype)
float32
"""

import typing as _typing

from tinygrad_cv._public import AMP as _AMP
from tinygrad_cv._public import fill as _fill
from tinygrad_cv.amp import autocast_mode as autocast_mode
from tinygrad_cv.amp import grad_scaler as grad_scaler

if _typing.TYPE_CHECKING:
    from tinygrad_cv._stubs.amp import *  # noqa: F403  generated
else:
    _fill(globals(), _AMP)
