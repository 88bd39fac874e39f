"""`checkpoint` where PyTorch has it; see `tinygrad_cv.recompute`."""

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any

from tinygrad_cv._recompute import recompute

checkpoint = recompute


def checkpoint_sequential(
    functions: Iterable[Callable[..., Any]], segments: int, input: Any, **kwargs: Any
) -> Any:
    """The functions, such as the layers of a Sequential, one after the other in `segments` parts.

    Of a part only what goes in is saved, see `recompute`; the last one is called as it is. All but
    the last have len(functions) // segments functions. More segments than functions, or less than
    one, are a ValueError.

    >>> import tinygrad_cv as tg
    >>> x = tg.tensor([1.0], requires_grad=True)
    >>> y = checkpoint_sequential([tg.exp, tg.sin, tg.tanh], 3, x)
    >>> print(tg.graph(y))
    %0  parameter        float32 (1,)
    %1  recompute  (%0)  float32 (1,)
    %2  recompute  (%1)  float32 (1,)
    %3  tanh       (%2)  float32 (1,)
    """
    steps = list(functions)
    if not 1 <= segments <= len(steps):
        raise ValueError(
            f"checkpoint_sequential: from 1 to {len(steps)} segments, for so many functions there "
            f"are; got {segments}."
        )
    size = len(steps) // segments
    for start in range(0, (segments - 1) * size, size):
        part = steps[start : start + size]
        input = checkpoint(lambda x, part=part: reduce(lambda x, f: f(x), part, x), input, **kwargs)
    return reduce(lambda x, f: f(x), steps[(segments - 1) * size :], input)
