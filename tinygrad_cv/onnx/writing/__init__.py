"""From the ops of a traced model to the operators of ONNX: a handler for each, by family.

`graph` holds what a handler is given: the graph that it writes into, and the values there. The
families mirror those of the import: `arithmetic`, `reductions`, `shapes`, `places`, `layers`,
`windows`, `images`. What cannot be written is named there too, with what to do instead.
"""

from tinygrad_cv.onnx.writing import (  # noqa: F401  the handlers, which register themselves
    arithmetic,
    images,
    layers,
    places,
    reductions,
    shapes,
    windows,
)
from tinygrad_cv.onnx.writing.graph import CALLS, OPS, REFUSED, Value, Writer

__all__ = ["CALLS", "OPS", "REFUSED", "Value", "Writer"]
