"""Weights from the web, under PyTorch's older name; see `tinygrad_cv.hub`."""

from tinygrad_cv.hub import load_state_dict_from_url as load_url

__all__ = ["load_url"]
