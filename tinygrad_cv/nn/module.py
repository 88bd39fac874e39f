"""Module: a tree of parameters, buffers and modules that can be called."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tinygrad_cv._graph import Scope, failed, scope
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host


class Parameter(Tensor):
    """A tensor that a module learns: it requires a gradient, and modules list it.

    >>> Parameter(Tensor([1.0]))
    tensor([1.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad=requires_grad)


class Module:
    """Base of layers and models: assign parameters and modules in __init__, write `forward`.

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = Parameter([2.0])
    ...
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> model = Scale()
    >>> model(Tensor([3.0])).tolist(), list(model.state_dict())
    ([6.0], ['factor'])
    """

    training: bool = True
    forward: Callable[..., Any]

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        here = Scope(self, scope.get())  # the nodes made meanwhile will know it
        token = scope.set(here)
        try:
            return self.forward(*inputs, **options)
        except BaseException as error:
            failed(error)
            raise
        finally:
            scope.reset(token)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter) and value.name is None:
            value.name = name  # for listings and pictures
        super().__setattr__(name, value)

    # ----- what it holds ---------------------------------------------------------------------

    def register_buffer(self, name: str, tensor: Tensor | None) -> None:
        """A tensor that belongs to the state but is not learned, such as a running mean."""
        vars(self).setdefault("_buffers", []).append(name)
        setattr(self, name, tensor)

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """The modules assigned to this one, by name."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator["Module"]:
        """The modules assigned to this one."""
        for _, module in self.named_children():
            yield module

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """This module and all below it, by dotted path."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator["Module"]:
        """This module and all below it."""
        for _, module in self.named_modules():
            yield module

    def _named_tensors(self, pick: Callable[["Module"], Any]) -> Iterator[tuple[str, Tensor]]:
        seen = set()  # a shared tensor is listed once, under its first name
        for path, module in self.named_modules():
            for name in pick(module):
                tensor = getattr(module, name)
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield f"{path}.{name}" if path else name, tensor

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters, by dotted path: ("0.weight", ...)."""
        return self._named_tensors(  # type: ignore[return-value]
            lambda module: [k for k, v in vars(module).items() if isinstance(v, Parameter)]
        )

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, as an optimizer wants them."""
        for _, parameter in self.named_parameters():
            yield parameter

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """All buffers, by dotted path."""
        return self._named_tensors(lambda module: vars(module).get("_buffers", ()))

    # ----- state -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by dotted path; the tensors share the module's memory."""
        state = [*self.named_parameters(), *self.named_buffers()]
        return {name: tensor.detach() for name, tensor in state}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Copy values into the parameters and buffers; nothing changes unless all of them fit."""
        own = self.state_dict()
        missing, unexpected = own.keys() - state_dict.keys(), state_dict.keys() - own.keys()
        wrong = [
            f"{name} is {tuple(state_dict[name].shape)} and should be {tensor.shape}"
            for name, tensor in own.items()
            if name in state_dict and tuple(state_dict[name].shape) != tensor.shape
        ]
        if missing or unexpected or wrong:
            raise ValueError(
                "the state does not fit the module. "
                f"Missing: {', '.join(sorted(missing)) or 'none'}. "
                f"Unexpected: {', '.join(sorted(unexpected)) or 'none'}. "
                f"Wrong shape: {'; '.join(wrong) or 'none'}."
            )
        for name, tensor in own.items():
            tensor.copy_(state_dict[name])

    def to(self, *target: Any, device: str | None = None, dtype: Any = None) -> "Module":
        """Move the parameters (with their gradients) and buffers to a device or float dtype.

        They stay the same objects, so an optimizer that was given them goes on with them. Make
        the move before its first step: what it remembers stays where it is.

        >>> from tinygrad_cv import nn
        >>> nn.Linear(2, 3).to("cpu", "float64").weight.dtype
        dtype('float64')
        """
        for value in target:
            if isinstance(value, str) and not hasattr(host, value):
                device = value
            else:
                dtype = value
        if dtype is not None and host.dtype(dtype).kind != "f":
            raise TypeError(f"a module's parameters are floats; got the dtype {dtype}.")
        for _, tensor in [*self.named_parameters(), *self.named_buffers()]:
            tensor._move(device, dtype)
        return self

    def cpu(self) -> "Module":
        """The parameters and buffers in host memory."""
        return self.to("cpu")

    def cuda(self) -> "Module":
        """The parameters and buffers on the GPU."""
        return self.to("cuda")

    def train(self, mode: bool = True) -> "Module":
        """Training behaviour (dropout drops, batch norm uses the batch), here and below."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> "Module":
        """Test behaviour, here and below."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> "Module":
        """Whether the parameters are learned."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def extra_repr(self) -> str:
        """What stands between the parentheses of the layer's repr."""
        return ""

    def __repr__(self) -> str:
        children = [
            f"  ({name}): " + repr(child).replace("\n", "\n  ")
            for name, child in self.named_children()
        ]
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        return "\n".join([f"{type(self).__name__}(", *children, ")"])


class Sequential(Module):
    """Modules applied one after the other.

    >>> from tinygrad_cv import nn
    >>> nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *modules: Module) -> None:
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(
                    f"Sequential takes Module objects, such as nn.ReLU(), one argument each; "
                    f"argument {i} is a {type(module).__name__}, {module!r}."
                )
            setattr(self, str(i), module)

    def forward(self, x: Any) -> Any:
        for module in self.children():
            x = module(x)
        return x

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int | slice) -> Any:
        chosen = list(self.children())[index]
        return Sequential(*chosen) if isinstance(chosen, list) else chosen
