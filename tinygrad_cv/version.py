"""The version of this package, and of CUDA's toolkit: none is built in."""

from typing import TYPE_CHECKING

cuda = hip = rocm = xpu = git_version = None
debug = False

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name):
        """`__version__` stands in the package's metadata, which takes time to read."""
        if name != "__version__":
            raise AttributeError(f"module 'tinygrad_cv.version' has no attribute {name!r}")
        from importlib.metadata import version

        return version("tinygrad_cv")
