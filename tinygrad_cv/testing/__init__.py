"""Gradient checks for anyone's ops. `testing.strategies` makes inputs for them with hypothesis."""

from tinygrad_cv.testing.gradients import check_gradients as check_gradients
from tinygrad_cv.testing.gradients import numerical_gradient as numerical_gradient
from tinygrad_cv.testing.ops import Case as Case
from tinygrad_cv.testing.ops import check_op as check_op
from tinygrad_cv.testing.report import GradientError as GradientError
from tinygrad_cv.testing.report import Report as Report
