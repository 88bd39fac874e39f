"""Modules whose parameters get their shapes with the first input."""

from typing import Any, Protocol

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import is_lazy


class _Initialized(Protocol):
    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None: ...


class LazyModuleMixin(Module):
    """Goes before the class of a layer, which makes its parameters `UninitializedParameter`s.

    `initialize_parameters` is called with the arguments of the first call, before it: it gives
    every parameter its shape with `materialize`, unless a state that was loaded before has given
    it. From then on the module is of the class `cls_to_become`, if there is one.

    >>> from tinygrad_cv import nn, ones
    >>> class LazyScale(LazyModuleMixin, nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = nn.UninitializedParameter()
    ...
    ...     def initialize_parameters(self, x):
    ...         if self.has_uninitialized_params():
    ...             self.factor.materialize(x.shape[1:])
    ...
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> model = LazyScale()
    >>> model.has_uninitialized_params(), model(ones(2, 3)).shape, model.factor.shape
    (True, (2, 3), (3,))
    """

    cls_to_become: type[Module] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._first_call = self.register_forward_pre_hook(_infer, prepend=True, with_kwargs=True)
        self._first_state = self.register_load_state_dict_pre_hook(_shapes_of_state)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give every parameter and buffer its shape, from the arguments of the first call."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method initialize_parameters, with the arguments of "
            "its forward."
        )

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer of this module waits for its shape."""
        return any(map(is_lazy, _own(self)))


def _own(module: Module) -> list[Tensor]:
    return [*module._own("parameter").values(), *module._own("buffer").values()]


def _infer(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Before the first call: the shapes, the right class, and no such call again."""
    module.initialize_parameters(*args, **kwargs)
    if module.has_uninitialized_params():
        raise RuntimeError(
            f"{type(module).__name__}.initialize_parameters left a parameter without a shape."
        )
    module._first_call.remove()
    module._first_state.remove()
    del module._first_call, module._first_state
    if module.cls_to_become is not None:
        module.__class__ = module.cls_to_become


def _shapes_of_state(
    module: Any, state_dict: dict[str, Any], prefix: str, metadata: Any, *lists: Any
) -> None:
    """Take the shapes of the state that is loaded."""
    for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
        value = state_dict.get(prefix + name)
        if is_lazy(tensor) and value is not None and not is_lazy(value):
            tensor.materialize(value.shape)
