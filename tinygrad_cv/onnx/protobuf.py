"""What an ONNX file holds: its names, element types and tensors, checked as they are read."""

import math
from collections.abc import Iterable
from importlib import import_module
from os import PathLike
from typing import Any

DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
}
"""The element types of the standard (TensorProto.DataType) that a tensor can have."""


def package() -> Any:
    """The package onnx."""
    try:
        return import_module("onnx")
    except ImportError as error:
        raise ImportError(
            "reading ONNX models needs the package onnx: pip install 'tinygrad_cv[onnx]'"
        ) from error


def read(path: str | PathLike[str]) -> Any:
    """The model in a file, as onnx.ModelProto."""
    load = package().load
    try:
        return load(path)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # binary, JSON and text each have a parser with errors of its own
        told = str(error).strip() or type(error).__name__
        raise ValueError(f"{path}: found no intact ONNX model ({told}).") from error


def refuse_damaged_names(message: Any) -> None:
    """Raise ValueError if a name in a message, or in one inside of it, is no text."""
    for field, value in message.ListFields():
        for part in value if _is_repeated(value) else (value,):
            if hasattr(part, "ListFields"):
                refuse_damaged_names(part)
            elif field.type == field.TYPE_STRING and isinstance(part, bytes):
                raise ValueError(
                    f"the ONNX model is damaged: {part!r} where the {field.name} of a "
                    f"{message.DESCRIPTOR.name} was expected, as text in UTF-8."
                )
            elif not isinstance(part, str | bytes):
                break  # numbers, of which there may be many


def _is_repeated(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


def dtype_of(code: int) -> str:
    """The dtype for an element type of the standard."""
    if code not in DTYPES:
        known = package().TensorProto.DataType
        if code not in known.values():
            raise ValueError(
                f"an ONNX tensor has the element type {code}, which the standard does not have: "
                "the model is damaged, or newer than the package onnx."
            )
        raise NotImplementedError(
            f"tensors of the element type {known.Name(code)} cannot be imported; those of "
            f"{', '.join(DTYPES.values())} can."
        )
    return DTYPES[code]


def array_of(tensor: Any) -> Any:
    """The values of a TensorProto."""
    onnx, dtype, shape = package(), dtype_of(tensor.data_type), tuple(tensor.dims)
    called = f"the ONNX tensor {tensor.name!r} of {dtype} {shape}"
    if onnx.external_data_helper.uses_external_data(tensor):
        raise ValueError(
            f"{called} lies in another file: give the path of the model, and it is found beside it."
        )
    if tensor.HasField("raw_data"):
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        held, whole = divmod(len(tensor.raw_data), width)
    else:
        held, whole = len(getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type))), 0
    if min(shape, default=0) < 0 or whole or held != math.prod(shape) or tensor.HasField("segment"):
        raise ValueError(f"{called} is damaged: it holds {held} elements.")
    return onnx.numpy_helper.to_array(tensor).astype(dtype, copy=False)
