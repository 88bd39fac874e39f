"""The workloads, a file a family. Each is written once, for any library with PyTorch's names."""

from . import kernels, networks, sequences, small  # noqa: F401  they fill the table
from .base import WORKLOADS, Library, Workload

__all__ = ["WORKLOADS", "Library", "Workload"]
