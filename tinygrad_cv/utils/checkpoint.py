"""`checkpoint` where PyTorch has it; see `tinygrad_cv.recompute`."""

from tinygrad_cv._recompute import recompute

checkpoint = recompute
