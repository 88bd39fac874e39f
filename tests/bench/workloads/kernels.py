"""Single layers and functions, forward and backward from a given gradient."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .base import Library, Workload, load, workload


def _single(
    library: Library,
    function: Callable[[Any], Any],
    shape: tuple[int, ...],
    moved: float = 0,
    parameters: dict[str, Any] | None = None,
) -> Workload:
    """Forward and backward of a function; `moved` arrays like its input pass by at least."""
    lib = library.module
    rng = np.random.default_rng(0)
    if hasattr(function, "load_state_dict"):
        function = load(library, function, rng)
        parameters = dict(function.named_parameters())
    x = library.normal(rng, *shape)
    x = (library.arrange(x) if len(shape) == 4 else x).requires_grad_(True)
    with lib.no_grad():
        y = function(x)
    g = library.normal(rng, *y.shape)
    g = library.arrange(g) if g.ndim == 4 else g
    parameters = {"x": x, **(parameters or {})}
    forward = library.wrap(function)

    def step() -> Any:
        for parameter in parameters.values():
            parameter.grad = None
        y = forward(x)
        y.backward(g)
        return y

    size = 4 * float(np.prod(shape))
    return Workload(parameters, library.replay(step), lambda: forward(x), bytes=moved * size)


@workload(images=True, batch=2)
def conv_3x3(library: Library, batch: int = 32) -> Workload:
    """Convolution 3x3 of 64 channels on 32 images of 32x32."""
    layer = library.module.nn.Conv2d(64, 64, 3, padding=1, bias=False)
    return _single(library, layer, (batch, 64, 32, 32))


@workload(images=True, batch=2)
def conv_1x1(library: Library, batch: int = 32) -> Workload:
    """Convolution 1x1 from 64 to 128 channels on 32 images of 32x32."""
    layer = library.module.nn.Conv2d(64, 128, 1, bias=False)
    return _single(library, layer, (batch, 64, 32, 32))


@workload(images=True, batch=2)
def depthwise(library: Library, batch: int = 32) -> Workload:
    """Depthwise convolution 3x3 of 96 channels on 32 images of 32x32."""
    layer = library.module.nn.Conv2d(96, 96, 3, padding=1, groups=96, bias=False)
    return _single(library, layer, (batch, 96, 32, 32), moved=5)


@workload(images=True, batch=2)
def batch_norm(library: Library, batch: int = 64) -> Workload:
    """Batch norm of 64 channels, in training, on 64 images of 32x32."""
    return _single(library, library.module.nn.BatchNorm2d(64), (batch, 64, 32, 32), moved=8)


@workload(images=True, batch=2)
def max_pool(library: Library, batch: int = 64) -> Workload:
    """Maximum of windows 2x2 of 64 channels on 64 images of 32x32."""
    return _single(library, library.module.nn.MaxPool2d(2), (batch, 64, 32, 32), moved=2.75)


@workload(rows=8)
def layer_norm(library: Library, rows: int = 8192) -> Workload:
    """Layer norm of 8,192 rows of 512."""
    return _single(library, library.module.nn.LayerNorm(512), (rows, 512), moved=5)


@workload(rows=8)
def softmax(library: Library, rows: int = 8192) -> Workload:
    """Softmax of 8,192 rows of 512."""
    return _single(library, lambda x: library.functional.softmax(x, dim=1), (rows, 512), moved=5)


@workload(rows=8)
def gelu(library: Library, rows: int = 8192) -> Workload:
    """GELU of 8,192 rows of 512."""
    return _single(library, lambda x: library.functional.gelu(x), (rows, 512), moved=5)


@workload(words=50)
def embedding(library: Library, words: int = 16384) -> Workload:
    """16,384 words out of 10,000 looked up, in 256 dimensions; the gradient adds them up."""
    lib = library.module
    places = lib.tensor(np.random.default_rng(1).integers(10_000, size=words))

    def look_up(weight: Any) -> Any:
        return library.functional.embedding(places, weight)

    return _single(library, look_up, (10_000, 256), moved=4)


@workload(width=10)
def adam(library: Library, width: int = 1024) -> Workload:
    """A step of Adam on 24 parameters, 8 million numbers in all."""
    lib = library.module
    rng = np.random.default_rng(0)
    shapes = [(width, width), (width,), (width,)] * 8
    parameters = {
        str(i): lib.nn.Parameter(library.normal(rng, *shape)) for i, shape in enumerate(shapes)
    }
    for parameter in parameters.values():
        parameter.grad = library.normal(rng, *parameter.shape)
    update = lib.optim.Adam(parameters.values(), lr=0.001)

    def step() -> Any:
        update.step()
        return parameters["0"].detach()

    moved = 7 * 4 * sum(float(np.prod(shape)) for shape in shapes)
    return Workload(parameters, library.replay(step), bytes=moved)
