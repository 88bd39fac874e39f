"""All parameters as one vector, for the optimizers that ask how they work together."""

from typing import Any

from tinygrad_cv._tensor import Tensor


class Flat:
    """Parameters of one device, one after the other."""

    def __init__(self, params: list[Tensor]) -> None:
        self.params, self.backend = params, params[0]._backend
        dtypes = {str(parameter.dtype) for parameter in params}
        self.dtype = "float64" if "float64" in dtypes else "float32"
        for parameter in params:
            if parameter._backend is not self.backend:
                raise ValueError(
                    "this optimizer joins all parameters, which lie on one device then; found "
                    f"{parameter.device} beside {params[0].device}."
                )

    def vector(self, arrays: list[Any]) -> Any:
        """Arrays of the shapes of the parameters, one after the other."""
        flat = [a.reshape(-1).astype(self.dtype, copy=False) for a in arrays]
        return self.backend.concatenate(flat)

    def values(self) -> Any:
        """A copy of their values."""
        with self.backend.active:
            return self.vector([p._array for p in self.params])

    def gradient(self) -> Any:
        """Their gradients, 0 where there is none."""
        with self.backend.active:
            xp = self.backend
            return self.vector(
                [xp.zeros_like(p._array) if p.grad is None else p.grad._array for p in self.params]
            )

    def write(self, vector: Any) -> None:
        """Give them the values of a vector."""
        end = 0
        with self.backend.active:
            for parameter in self.params:
                start, end = end, end + parameter._array.size
                parameter._array[...] = vector[start:end].reshape(parameter._array.shape)
                parameter._changed()

    def parts(self, vector: Any) -> list[Any]:
        """A vector as arrays of the shapes and dtypes of the parameters."""
        end, parts = 0, []
        with self.backend.active:
            for p in self.params:
                start, end = end, end + p._array.size
                part = vector[start:end].reshape(p._array.shape)
                parts.append(part.astype(p._array.dtype, copy=False))
        return parts
