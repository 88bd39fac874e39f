"""Written by `python -m tests.stubs`."""

# ruff: noqa

from tinygrad_cv.amp.autocast_mode import autocast as autocast
from tinygrad_cv.amp.autocast_mode import custom_bwd as custom_bwd
from tinygrad_cv.amp.autocast_mode import custom_fwd as custom_fwd
from tinygrad_cv.amp.autocast_mode import is_autocast_available as is_autocast_available
from tinygrad_cv.amp.grad_scaler import GradScaler as GradScaler
from typing import Any
