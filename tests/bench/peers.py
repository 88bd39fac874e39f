"""Who is measured: our library at its settings, PyTorch at its own, and others where installed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

import tinygrad_cv as tg

from .workloads import WORKLOADS, Library, Workload

OURS = "tinygrad_cv"
THEIRS = "torch"


def found(name: str) -> Any:
    """A module, or None where it is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None


torch = found("torch")
KERNELS = tg.get_kernels()


def channels_last(value: Any) -> Any:
    """Images as our layers hand them on; a module is as it is."""
    if not isinstance(value, tg.Tensor):
        return value
    rows = np.ascontiguousarray(value.numpy().transpose(0, 2, 3, 1))
    return tg.from_numpy(rows.transpose(0, 3, 1, 2))


EAGER = Library(OURS, tg, tg, switch=lambda: tg.set_kernels(KERNELS), arrange=channels_last)
PLAIN = replace(EAGER, name=f"{OURS} numpy", switch=lambda: tg.set_kernels("numpy"), every=3)


def ours() -> Iterator[Library]:
    """Eager; with its steps compiled; and with NumPy's kernels alone."""
    yield EAGER
    if hasattr(tg, "compile"):
        yield replace(EAGER, name=f"{OURS} compiled", replay=tg.compile)
    if KERNELS != "numpy":
        yield PLAIN


def theirs(images: bool, compiled: bool) -> Iterator[Library]:
    """Eager, with images in both memory formats; and compiled, which takes minutes."""
    if torch is None:
        return

    def channels_last(value: Any) -> Any:
        return value.to(memory_format=torch.channels_last)

    settings = [Library(THEIRS, torch, torch.nn.functional)]
    if images:
        settings.append(replace(settings[0], name=f"{THEIRS} channels_last", arrange=channels_last))
    yield from settings
    if compiled:
        for setting in settings:
            yield replace(setting, name=f"{setting.name} compile", wrap=torch.compile)


# ----- libraries with names of their own ----------------------------------------------------------
# They get the weights and the data of `mlp` and `tiny_mlp` as plain arrays.

NETS = {"mlp": ((3072, 50, 10), 100, 0.0), "tiny_mlp": ((8, 16, 2), 32, 0.9)}
RATE = 0.001


def others(name: str) -> dict[str, Callable[[], Workload]]:
    """MyGrad, HIPS autograd and JAX, where installed and the workload is written for them."""
    makers = {"mygrad": _mygrad, "autograd": _autograd, "jax": _jax}
    if name not in NETS:
        return {}
    return {
        peer: lambda make=make, module=module: make(module, name)
        for peer, make in makers.items()
        if (module := found(peer)) is not None
    }


def _start(name: str) -> tuple[list[Any], Any, Any, float]:
    """(W, b, W, b), images and labels of the workload, and its momentum."""
    (inputs, hidden, classes), batch, momentum = NETS[name]
    parameters = WORKLOADS[name](EAGER).parameters.values()
    rng = np.random.default_rng(0)
    for _ in range(1):  # as `training` draws them: first the matrices
        rng.standard_normal((hidden, inputs), np.float32)
        rng.standard_normal((classes, hidden), np.float32)
    images = rng.standard_normal((batch, inputs), np.float32)
    labels = rng.integers(classes, size=batch)
    return [p.detach().numpy().copy() for p in parameters], images, labels, momentum


class _Array:
    """What the check asks of a tensor."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def detach(self) -> "_Array":
        return self

    cpu = detach

    def numpy(self) -> Any:
        return np.asarray(self.array)


class _Parameter:
    grad: _Array


def _workload(step: Callable[[], tuple[Any, Any]]) -> Workload:
    """Of a step that gives the loss and the gradients."""
    parameters = {
        f"{layer}.{name}": _Parameter() for layer in (0, 2) for name in ("weight", "bias")
    }

    def keep() -> _Array:
        loss, gradients = step()
        for parameter, gradient in zip(parameters.values(), gradients, strict=True):
            parameter.grad = _Array(gradient)
        return _Array(loss)

    return Workload(parameters, keep)


def _mygrad(mg: Any, name: str) -> Workload:
    arrays, images, labels, momentum = _start(name)
    nnet = import_module("mygrad.nnet")
    parameters = [mg.tensor(array) for array in arrays]
    velocities = [np.zeros_like(array) for array in arrays]

    def step() -> Any:
        W1, b1, W2, b2 = parameters
        h = nnet.activations.relu(mg.matmul(images, W1.T) + b1)
        loss = nnet.losses.softmax_crossentropy(mg.matmul(h, W2.T) + b2, labels)
        loss.backward()
        gradients = [p.grad for p in parameters]
        for parameter, velocity, gradient in zip(parameters, velocities, gradients, strict=True):
            velocity *= momentum
            velocity += gradient
            parameter.data -= RATE * velocity
        return loss.data, gradients

    return _workload(step)


def _loss(np: Any, labels: Any) -> Callable[[Any, Any], Any]:
    """Cross-entropy of the two-layer net, in a library with NumPy's names."""

    def loss(parameters: Any, images: Any) -> Any:
        W1, b1, W2, b2 = parameters
        scores = np.maximum(images @ W1.T + b1, 0) @ W2.T + b2
        scores = scores - np.max(scores, axis=1, keepdims=True)
        chosen = scores[np.arange(len(labels)), labels]
        return np.mean(np.log(np.sum(np.exp(scores), axis=1)) - chosen)

    return loss


def _autograd(autograd: Any, name: str) -> Workload:
    parameters, images, labels, momentum = _start(name)
    velocities = [np.zeros_like(array) for array in parameters]
    differentiate = autograd.value_and_grad(_loss(import_module("autograd.numpy"), labels))

    def step() -> Any:
        loss, gradients = differentiate(parameters, images)
        for parameter, velocity, gradient in zip(parameters, velocities, gradients, strict=True):
            velocity *= momentum
            velocity += gradient
            parameter -= RATE * velocity
        return loss, gradients

    return _workload(step)


def _jax(jax: Any, name: str) -> Workload:
    arrays, images, labels, momentum = _start(name)
    jnp = import_module("jax.numpy")
    state = [*map(jnp.array, arrays)], [jnp.zeros_like(array) for array in arrays]
    differentiate = jax.value_and_grad(_loss(jnp, jnp.array(labels)))

    @jax.jit
    def update(parameters: Any, velocities: Any, images: Any) -> Any:
        loss, gradients = differentiate(parameters, images)
        velocities = [momentum * v + g for v, g in zip(velocities, gradients, strict=True)]
        parameters = [p - RATE * v for p, v in zip(parameters, velocities, strict=True)]
        return parameters, velocities, loss, gradients

    images = jnp.array(images)

    def step() -> Any:
        nonlocal state
        *state, loss, gradients = update(*state, images)
        return loss.block_until_ready(), gradients

    return _workload(step)
