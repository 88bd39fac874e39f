"""The order of a weight's axes in memory, which is the usual one here."""

from typing import TypeVar

from tinygrad_cv.nn.module import Module

Given = TypeVar("Given", bound=Module)


def convert_conv2d_weight_memory_format(module: Given, memory_format: object) -> Given:
    """The module as it is: there is but one order in memory here, and the values are the same.

    >>> from tinygrad_cv import channels_last, nn
    >>> convert_conv2d_weight_memory_format(nn.Conv2d(1, 1, 1), channels_last)
    Conv2d(1, 1, kernel_size=(1, 1), stride=(1, 1))
    """
    return module


convert_conv3d_weight_memory_format = convert_conv2d_weight_memory_format
