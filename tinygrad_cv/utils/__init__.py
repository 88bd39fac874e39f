"""What stands in PyTorch's `torch.utils`: `data` (see `tinygrad_cv.data`) and `checkpoint`."""

from tinygrad_cv.utils import checkpoint as checkpoint
from tinygrad_cv.utils import data as data
