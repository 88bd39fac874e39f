"""The module that an ONNX model becomes, and its steps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tinygrad_cv as tg
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn import Module, Parameter
from tinygrad_cv.onnx.operators import limited


@dataclass(frozen=True)
class Step:
    """A node of the model, ready to run."""

    label: str
    call: Callable[..., Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, values: dict[str, Tensor]) -> None:
        """Add the outputs to the tensors by name."""
        arguments = [values[name] if name else None for name in self.inputs]
        try:
            results = self.call(*arguments)
        except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
            given = ", ".join(f"{x.dtype} {x.shape}" for x in arguments if x is not None)
            raise ValueError(
                f"the ONNX node {self.label} cannot take what it was given, {given}: {error}"
            ) from error
        except Exception as error:
            error.add_note(f"This happened in the ONNX node {self.label}.")
            raise
        if isinstance(results, Tensor):
            results = (results,)
        for i, name in enumerate(self.outputs):
            if name:
                if i >= len(results):
                    raise NotImplementedError(
                        f"output {i} ({name}) of the ONNX node {self.label} is not supported."
                    )
                values[name] = results[i]


class OnnxModel(Module):
    """An imported model; see `import_model`.

    Its weights are parameters and buffers, under the names that they have in the model. `inputs`
    and `outputs` are the names of what it takes and gives.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        inputs: Sequence[str],
        outputs: Sequence[str],
        steps: Sequence[Step],
        limit: int | None,
    ) -> None:
        own = {*dir(self), "weights", "inputs", "outputs", "steps"}
        for name, tensor in weights.items():
            if name in own:
                raise ValueError(
                    f"a constant of the model is called {name!r}, as is an attribute of the module "
                    "that it becomes; rename it in the model."
                )
            # Names may have dots here: there are no modules below whose they could be.
            self._hold(name, "parameter" if isinstance(tensor, Parameter) else "buffer", tensor)
        self.weights = tuple(weights)
        self.inputs = tuple(name for name in inputs if name not in weights)
        self.outputs = tuple(outputs)
        self.steps = tuple(steps)
        self._limit = limit
        self._check_names()
        self._done = self._last_uses()

    def _check_names(self) -> None:
        names = [*self.weights, *self.inputs]
        if len(set(names)) < len(names) or not all(names):
            raise ValueError(
                f"the inputs and constants of the model need a name each; got ({', '.join(names)})."
            )
        known = {*names, ""}
        for step in self.steps:
            for name in step.inputs:
                if name not in known:
                    raise ValueError(
                        f"the ONNX node {step.label} takes {name!r}, which is neither an input nor "
                        "an initializer of the model, nor made by a node before it."
                    )
            known.update(step.outputs)
        for name in self.outputs:
            if name not in known or not name:
                raise ValueError(f"no node of the model makes its output {name!r}.")

    def _last_uses(self) -> list[set[str]]:
        """For each step the names that no later step takes, and that are no output."""
        later = set(self.outputs)
        done = []
        for step in reversed(self.steps):
            names = {*step.inputs, *step.outputs, ""}
            done.append(names - later)
            later |= names
        return done[::-1]

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Tensor]:
        """The outputs by name for inputs by name; a weight may be given another value."""
        missing = [name for name in self.inputs if name not in feeds]
        unknown = [name for name in feeds if name not in (*self.inputs, *self.weights)]
        if missing or unknown:
            raise TypeError(
                f"the model takes the inputs ({', '.join(self.inputs)}); "
                f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}."
            )
        values = {name: getattr(self, name) for name in self.weights}
        for name, value in feeds.items():
            values[name] = value if isinstance(value, Tensor) else tg.tensor(value)
        with limited(self._limit):
            for step, done in zip(self.steps, self._done, strict=True):
                step.run(values)
                for name in done:
                    values.pop(name, None)
        return {name: values[name] for name in self.outputs}

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The output for inputs in the model's order, or by name; a tuple where it has several."""
        if len(inputs) > len(self.inputs):
            raise TypeError(
                f"the model takes the inputs ({', '.join(self.inputs)}); got {len(inputs)}."
            )
        results = self.run(dict(zip(self.inputs, inputs, strict=False)) | named)
        return results[self.outputs[0]] if len(results) == 1 else tuple(results.values())

    def extra_repr(self) -> str:
        return f"({', '.join(self.inputs)}) -> ({', '.join(self.outputs)}), {len(self.steps)} nodes"
