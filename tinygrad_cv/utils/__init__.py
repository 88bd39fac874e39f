"""What stands in PyTorch's `torch.utils`: `data` (see `tinygrad_cv.data`), `checkpoint` and
`model_zoo`."""

from tinygrad_cv.utils import checkpoint as checkpoint
from tinygrad_cv.utils import data as data
from tinygrad_cv.utils import model_zoo as model_zoo
