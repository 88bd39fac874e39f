"""What a workload is: a step of some library, and what it starts from.

Weights and data are drawn by NumPy from a fixed seed, so every library starts from the same
numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Library:
    """A library under test, at one of its settings. Its names resolve at run time, hence `Any`."""

    name: str
    module: Any
    functional: Any  # where cross_entropy lives
    arrange: Callable[[Any], Any] = lambda value: value  # memory format of a model or of images
    wrap: Callable[[Any], Any] = lambda model: model  # what makes a model a faster one
    replay: Callable[[Any], Any] = lambda step: step  # what makes a step a faster one
    switch: Callable[[], Any] = lambda: None  # before it computes, where others did
    dtype: str = "float32"
    every: int = 1  # it takes part in one round of so many

    def normal(self, rng: np.random.Generator, *shape: int) -> Any:
        """A tensor of normal numbers, the same in every dtype up to rounding."""
        return self.module.tensor(rng.standard_normal(shape, np.float32).astype(self.dtype))

    def zeros(self, *shape: int) -> Any:
        return self.module.zeros(shape, dtype=getattr(self.module, self.dtype))


@dataclass(frozen=True)
class Workload:
    """`step()` runs one step and returns its loss; the gradients stay on `parameters`.

    What the step has to do at least is `flops`, of the forward pass where `loss` gives its graph,
    and `bytes` moved.
    """

    parameters: dict[str, Any]
    step: Callable[[], Any]
    loss: Callable[[], Any] | None = None
    passes: int = 3  # a training step: forward, and the gradients of data and of weights
    flops: float = 0
    bytes: float = 0


@dataclass(frozen=True)
class Entry:
    """A workload as the table has it; called with a library it is built."""

    build: Callable[..., Workload]
    images: bool  # there is a memory format to choose
    tiny: dict[str, Any] = field(default_factory=dict)  # sizes with which a test is quick

    @property
    def doc(self) -> str:
        return " ".join((self.build.__doc__ or "").split())

    def __call__(self, library: Library, **sizes: Any) -> Workload:
        return self.build(library, **sizes)


WORKLOADS: dict[str, Entry] = {}


def workload(*, images: bool = False, **tiny: Any) -> Callable[[Any], Any]:
    """Enter a function into the table, by its name."""

    def enter(build: Callable[..., Workload]) -> Callable[..., Workload]:
        WORKLOADS[build.__name__] = Entry(build, images, tiny)
        return build

    return enter


def load(library: Library, model: Any, rng: np.random.Generator) -> Any:
    """Give a model the initial weights."""
    lib = library.module
    model = model.to(getattr(lib, library.dtype))
    weights = {
        name: lib.tensor(_initial(name, tuple(parameter.shape), rng).astype(library.dtype))
        for name, parameter in model.named_parameters()
    }
    model.load_state_dict({**model.state_dict(), **weights})
    return library.arrange(model)


def _initial(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """He et al. (2015) for matrices and filters; gains of normalization 1, biases 0."""
    if len(shape) > 1:
        fan_in = np.prod(shape[1:])
        return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / fan_in))
    return np.full(shape, 0 if "bias" in name else 1, np.float32)


def training(
    library: Library,
    model: Any,
    shape: tuple[int, ...],
    labels: tuple[int, ...] = (),
    classes: int = 10,
    optimizer: Callable[[Any, Any], Any] | None = None,
) -> Workload:
    """One step: forward, cross-entropy, backward, update; plain SGD by default.

    There are `labels` for each of the images, one by default.
    """
    lib = library.module
    rng = np.random.default_rng(0)
    model = load(library, model, rng)
    images = library.normal(rng, *shape)
    images = library.arrange(images) if len(shape) == 4 else images
    targets = lib.tensor(rng.integers(classes, size=(shape[0], *labels)))
    update = (optimizer or sgd(0.0))(lib.optim, model.parameters())
    forward = library.wrap(model)

    def loss() -> Any:
        return library.functional.cross_entropy(forward(images), targets)

    def step() -> Any:
        update.zero_grad()
        value = loss()
        value.backward()
        update.step()
        return value

    return Workload(dict(model.named_parameters()), library.replay(step), loss)


def sgd(momentum: float) -> Callable[[Any, Any], Any]:
    return lambda optim, parameters: optim.SGD(parameters, lr=0.001, momentum=momentum)


def adamw(optim: Any, parameters: Any) -> Any:
    return optim.AdamW(parameters, lr=1e-4)


def inference(library: Library, model: Any, shape: tuple[int, ...]) -> Workload:
    """The scores of a batch, without a graph, in evaluation mode."""
    lib = library.module
    rng = np.random.default_rng(0)
    model = load(library, model, rng).eval()
    images = library.arrange(library.normal(rng, *shape))
    forward = library.wrap(model)

    def step() -> Any:
        with lib.no_grad():
            return forward(images)

    return Workload({}, library.replay(step), lambda: forward(images), passes=1)
