"""Mixed precision under PyTorch's older names; see `tinygrad_cv.amp`.

>>> from tinygrad_cv.cuda.amp import GradScaler, autocast
>>> with autocast(enabled=False):
...     pass
"""

from functools import partial
from typing import Any

from tinygrad_cv import amp

custom_fwd = partial(amp.custom_fwd, device_type="cuda")
custom_bwd = partial(amp.custom_bwd, device_type="cuda")


class autocast(amp.autocast):  # noqa: N801  PyTorch's name
    """`tinygrad_cv.amp.autocast` for the device "cuda"."""

    def __init__(self, enabled: bool = True, dtype: Any = None, cache_enabled: bool = True) -> None:
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(amp.GradScaler):
    """`tinygrad_cv.amp.GradScaler` for the device "cuda"."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        super().__init__(
            "cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled
        )
