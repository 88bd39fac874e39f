"""ONNX models as modules that can be run, trained, drawn and printed like any other.

`import_model` reads a model, and each of its nodes becomes calls of the public functions of
`tinygrad_cv`. Where to find what:

- `load`: from a file to a module; what is damaged, too large or unsupported is refused here.
- `protobuf`: what a file holds: its tensors, its names.
- `model`: the module and its steps.
- `operators`: what an operator is, and the limit on what it makes.
- `arithmetic`, `reductions`, `shapes`, `places`, `layers`, `windows`, `images`: the operators by
  family, each a handler.

The package `onnx`, which reads the files, comes with an extra: pip install 'tinygrad_cv[onnx]'.
"""

from tinygrad_cv._absent import told as _told
from tinygrad_cv.onnx.load import import_model
from tinygrad_cv.onnx.model import OnnxModel
from tinygrad_cv.onnx.operators import OPERATORS, Operator, operator
from tinygrad_cv.onnx.protobuf import DTYPES

__all__ = ["DTYPES", "OPERATORS", "OnnxModel", "Operator", "import_model"]
__all__ += ["is_in_onnx_export", "operator"]


def is_in_onnx_export() -> bool:
    """False: models are read, and not written."""
    return False


__getattr__ = _told(__name__)
