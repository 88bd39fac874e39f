"""The version of this package, and of CUDA's toolkit: none is built in."""

from importlib.metadata import version as _version

__version__ = _version("tinygrad_cv")
cuda = hip = rocm = xpu = git_version = None
debug = False
