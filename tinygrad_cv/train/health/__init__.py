"""The babysitter as code: what a training run shows that its loss alone does not say.

`check` looks before the training, `Health` looks on during it, and both tell `Finding`s: what was
seen, what it usually means, and what to try.
"""

from tinygrad_cv.train.health.before import check as check
from tinygrad_cv.train.health.during import Health as Health
from tinygrad_cv.train.health.finding import Finding as Finding
from tinygrad_cv.train.health.finding import report as report
from tinygrad_cv.train.health.looks import expected_loss as expected_loss
