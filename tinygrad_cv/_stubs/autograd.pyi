"""Written by `python -m tests.stubs`."""

# ruff: noqa

from tinygrad_cv._autograd import backward as backward
from tinygrad_cv._autograd import grad as grad
from tinygrad_cv._grad_mode import enable_grad as enable_grad
from tinygrad_cv._grad_mode import inference_mode as inference_mode
from tinygrad_cv._grad_mode import no_grad as no_grad
from tinygrad_cv._grad_mode import set_grad_enabled as set_grad_enabled
from tinygrad_cv.autograd.anomaly_mode import detect_anomaly as detect_anomaly
from tinygrad_cv.autograd.anomaly_mode import set_detect_anomaly as set_detect_anomaly
from tinygrad_cv.autograd.function import Function as Function
from tinygrad_cv.autograd.function import once_differentiable as once_differentiable
from tinygrad_cv.autograd.gradcheck import gradcheck as gradcheck
from tinygrad_cv.autograd.gradcheck import gradgradcheck as gradgradcheck
from tinygrad_cv.autograd.variable import Variable as Variable
from typing import Any
