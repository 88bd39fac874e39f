"""ONNX models as modules that can be run, trained, drawn and printed like any other, and back.

`import_model` reads a model, and each of its nodes becomes calls of the public functions of
`tinygrad_cv`. Where to find what:

- `load`: from a file to a module; what is damaged, too large or unsupported is refused here.
- `protobuf`: what a file holds: its tensors, its names.
- `model`: the module and its steps.
- `operators`: what an operator is, and the limit on what it makes.
- `arithmetic`, `reductions`, `shapes`, `places`, `layers`, `windows`, `images`,
  `recurrent`: the operators by family, each a handler.

`export_model` writes one, of a module or any function of tensors, for other programs:

- `save`: from a model to a file, checked and written whole.
- `tracing`: what the model computes, op by op, and which lengths are free.
- `writing`: the ops by family, each a handler.
- `folding`: batch norms as part of the layers before them.

The package `onnx`, which reads and checks the files, comes with an extra:
pip install 'tinygrad_cv[onnx]'.
"""

from tinygrad_cv._absent import told as _told
from tinygrad_cv._graph import observer as _observer
from tinygrad_cv.onnx.load import import_model
from tinygrad_cv.onnx.model import OnnxModel
from tinygrad_cv.onnx.operators import OPERATORS, Operator, operator
from tinygrad_cv.onnx.protobuf import DTYPES
from tinygrad_cv.onnx.save import export, export_model
from tinygrad_cv.onnx.tracing import Trace as _Trace

__all__ = ["DTYPES", "OPERATORS", "OnnxModel", "Operator", "export", "export_model", "import_model"]
__all__ += ["is_in_onnx_export", "operator"]


def is_in_onnx_export() -> bool:
    """Whether a model is running to be exported."""
    return isinstance(_observer.get(), _Trace)


__getattr__ = _told(__name__)
