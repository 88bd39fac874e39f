"""How single samples become a batch."""

from collections.abc import Mapping, MutableMapping, Sequence
from copy import copy
from typing import Any

from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv.backend import get, host
from tinygrad_cv.backend.base import DEFAULT
from tinygrad_cv.data.transforms.images import array_of, is_pillow
from tinygrad_cv.dtypes import CATEGORIES
from tinygrad_cv.ops.shape import stack


def default_collate(batch: Sequence[Any]) -> Any:
    """Samples as a batch: [(x₁, y₁), (x₂, y₂), ...] becomes [stack of x, stack of y].

    - Tensors, arrays and numbers are stacked along a new first axis. Python's floats are of
      the default dtype.
      Values of several dtypes get the widest float dtype among them, as in arithmetic.
    - Tuples and lists of n values become a list of n batches, dicts a dict and named tuples one of
      their kind: each value is a batch again.
    - Pillow images become uint8 (C, H, W), as images are everywhere here.
    - Strings and bytes stay as they are, in a list or, where they came in tuples, a tuple.

    Raises ValueError if the samples differ in their number of values or in shape, and TypeError for
    other objects: those need a `collate_fn` of their own.

    >>> from tinygrad_cv.data import default_collate
    >>> default_collate([(1, {"x": [0.5, 1.5]}, "a"), (2, {"x": [0.0, 1.0]}, "b")])
    [tensor([1, 2]), {'x': [tensor([0.5, 0. ]), tensor([1.5, 1. ])]}, ('a', 'b')]
    """
    return tensors(stacked(batch))


def default_convert(data: Any) -> Any:
    """A sample with Tensors for NumPy's arrays and numbers, and lists for tuples, else as it is.

    >>> import numpy as np
    >>> from tinygrad_cv.data import default_convert
    >>> default_convert({"x": np.ones(2, "float32"), "name": "a", "y": 3})
    {'x': tensor([1., 1.]), 'name': 'a', 'y': 3}
    """
    return tensors(data, tuples=list)


def stacked(samples: Sequence[Any], field: str = "") -> Any:
    """Samples as a batch in host memory: a list, dict or named tuple of arrays, or an array.

    Tensors that lie on a GPU, or belong to a graph, are stacked as such.

    >>> stacked([(1, 0.5), (2.5, 1.5)])
    [array([1. , 2.5], dtype=float32), array([0.5, 1.5], dtype=float32)]
    """
    first = samples[0]
    if isinstance(first, str | bytes):
        return samples
    if isinstance(first, Mapping):
        parts = {key: stacked([sample[key] for sample in samples], str(key)) for key in first}
        return like(first, parts)
    if isinstance(first, Sequence):
        rows = [sample if isinstance(sample, Sequence) else (sample,) for sample in samples]
        lengths = sorted({len(row) for row in rows})
        if len(lengths) > 1:
            raise ValueError(
                f"the samples of a batch must have the same number of fields; found {lengths}."
            )
        columns = zip(*rows, strict=True)
        return like(first, [stacked(column, str(i)) for i, column in enumerate(columns)])
    where = f"in field {field} " if field else ""
    devices = {sample.device if stays(sample) else None for sample in samples}
    if together := len(devices) == 1 and None not in devices:
        arrays = [*samples]
    else:
        arrays = [as_array(sample) for sample in samples]
        for sample, array in zip(samples, arrays, strict=True):
            if array.dtype.kind not in CATEGORIES:
                raise TypeError(
                    "a batch is made of tensors, arrays, numbers, strings, dicts, lists and "
                    f"tuples; {where}found a {type(sample).__name__}. Give the DataLoader a "
                    "collate_fn that makes a batch of a list of samples."
                )
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise ValueError(
            f"the samples of a batch must have the same shapes; {where}found "
            f"{', '.join(map(str, shapes))}."
        )
    return stack(arrays) if together else host.stack(arrays, dtype=_common_dtype(arrays))


def stays(value: Any) -> bool:
    """Whether it is a Tensor that is not to be read as an array in between."""
    return isinstance(value, Tensor) and (value.is_cuda or value.requires_grad)


def tensors(
    batch: Any, device: str | None = None, tuples: type = tuple, fresh: bool = False
) -> Any:
    """The batch with Tensors in the place of arrays; those that are Tensors move if told to.

    The arrays are copied, unless they are `fresh`: nobody else has them.
    """
    if isinstance(batch, Tensor):
        return batch if device is None else batch.to(device=device)
    if isinstance(batch, host.ndarray | host.generic) and batch.dtype.kind in CATEGORIES:
        backend = get(device)
        if fresh and backend.device.type == "cpu":
            return wrap(host.asarray(batch), backend)
        return Tensor(host.asarray(batch), device=device)
    if isinstance(batch, Mapping):
        parts: Any = {key: tensors(value, device, tuples, fresh) for key, value in batch.items()}
        return like(batch, parts)
    if isinstance(batch, tuple | list):
        parts = [tensors(value, device, tuples, fresh) for value in batch]
        return tuples(parts) if type(batch) is tuple else like(batch, parts)
    return batch


def like(first: Any, parts: Any) -> Any:
    """The parts of a batch in a container like that of a sample; those of a tuple in a list."""
    if isinstance(first, MutableMapping):
        made = copy(first)
        made.update(parts)
        return made
    return type(first)(*parts) if hasattr(first, "_fields") else parts


def _common_dtype(arrays: Sequence[host.ndarray]) -> Any:
    """The widest float dtype; of no floats, the one that holds all values."""
    floats = {array.dtype for array in arrays if array.dtype.kind == "f"}
    return host.result_type(*(floats or {array.dtype for array in arrays}))


def as_array(value: Any) -> host.ndarray:
    """A value in host memory: arrays and Tensors keep their dtype, Python floats have the default.

    So do NumPy's numbers, also in a list. A Pillow image becomes uint8 (C, H, W).
    """
    if is_pillow(value):
        return array_of(value)
    array = value.numpy() if isinstance(value, Tensor) else host.asarray(value)
    if array.dtype == host.float64 and not _has_float64(value):
        return array.astype(DEFAULT.float)
    return array


def _has_float64(value: Any) -> bool:
    """Whether a value, or something in a list, is in double precision itself."""
    if isinstance(value, list | tuple):
        return any(map(_has_float64, value))
    return getattr(value, "dtype", None) == host.float64
