"""Gradient checks for anyone's ops."""

from tinygrad_cv.testing.gradients import GradientError as GradientError
from tinygrad_cv.testing.gradients import Report as Report
from tinygrad_cv.testing.gradients import check_gradients as check_gradients
from tinygrad_cv.testing.gradients import numerical_gradient as numerical_gradient
