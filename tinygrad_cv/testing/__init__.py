"""Gradient checks for anyone's ops. `testing.strategies` makes inputs for them with hypothesis,
and `testing.fakecuda` is a device that holds them to the rules of a GPU."""

from tinygrad_cv._absent import told as _told
from tinygrad_cv.testing.fakecuda import SynchronizationError as SynchronizationError
from tinygrad_cv.testing.fakecuda import no_sync as no_sync
from tinygrad_cv.testing.fakecuda import synchronizations as synchronizations
from tinygrad_cv.testing.gradients import check_gradients as check_gradients
from tinygrad_cv.testing.gradients import numerical_gradient as numerical_gradient
from tinygrad_cv.testing.ops import Case as Case
from tinygrad_cv.testing.ops import check_op as check_op
from tinygrad_cv.testing.report import GradientError as GradientError
from tinygrad_cv.testing.report import Report as Report

__getattr__ = _told(__name__)
