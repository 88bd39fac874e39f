"""PyTorch's switches of the libraries below it (`torch.backends`).

What is here computes with NumPy and CuPy, whose results the switches do not change: they can be set
and read, and have no effect.

>>> from tinygrad_cv import backends
>>> backends.cudnn.benchmark = True
>>> backends.mps.is_available()
False
"""

from tinygrad_cv.backends import cuda as cuda
from tinygrad_cv.backends import cudnn as cudnn
from tinygrad_cv.backends import mkl as mkl
from tinygrad_cv.backends import mkldnn as mkldnn
from tinygrad_cv.backends import mps as mps
from tinygrad_cv.backends import openmp as openmp
