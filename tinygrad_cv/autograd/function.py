"""`Function`: a differentiable function whose forward and backward are written on tensors.

An `Op` is shorter, takes all readings of its rules and checks more. A `Function` is what programs
written for PyTorch have.
"""

import functools
import inspect
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from tinygrad_cv._apply import F, Recorded, _output, _record, apply
from tinygrad_cv._grad_mode import is_grad_enabled, no_grad
from tinygrad_cv._graph import Node, failed, observer
from tinygrad_cv._inplace import View
from tinygrad_cv._op import NOTHING, Op
from tinygrad_cv._public import AUTOGRAD, public
from tinygrad_cv._tensor import Tensor, wrap
from tinygrad_cv.backend.base import Backend


class FunctionCtx:
    """What one call of a `Function` keeps from its forward for its backward, as `ctx`.

    Attributes of any name can be set on it. Tensors that go in or come out are kept with
    `save_for_backward`, so that the graph can free them and notice that one was changed since.
    """

    needs_input_grad: tuple[bool, ...] = ()
    """For each argument of `apply`, whether it is a tensor that needs a gradient."""

    def __init__(self, function: type["Function"], args: tuple[Any, ...]) -> None:
        self._function = function
        self._args: tuple[Any, ...] = args
        self._to_save: tuple[Tensor | None, ...] = ()
        self._dirty: tuple[Tensor, ...] = ()
        self._constant: tuple[Tensor, ...] = ()
        self._materializes = True
        self._saved: tuple[_Saved | None, ...] | None = ()
        self._node: Callable[[], Node | None] = lambda: None
        self._tensors = [isinstance(x, Tensor) for x in args]
        self._outputs: list[Any] = []
        self.needs_input_grad = tuple(isinstance(x, Tensor) and x.requires_grad for x in args)

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors (or None) for the backward, which finds them in `saved_tensors`."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    f"{self._function.__name__}: save_for_backward takes tensors and None; got a "
                    f"{type(tensor).__name__}. Set anything else as an attribute: ctx.size = ..."
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Taken, and not used: there is no forward mode."""

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say that the forward changes these inputs in place; it returns them."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that no gradient flows through these outputs."""
        self._constant = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether the backward gets zeros (or else None) for an output without a gradient."""
        self._materializes = bool(value)

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What `save_for_backward` kept."""
        if self._saved is None:
            raise RuntimeError(
                f"{self._function.__name__}: the saved tensors were freed by the first backward "
                "pass. Call backward(retain_graph=True) the first time."
            )
        node = self._node()
        return tuple(None if saved is None else saved.tensor(node) for saved in self._saved)

    saved_variables = saved_tensors  # its name before PyTorch 0.4

    # ----- after the forward -----------------------------------------------------------------

    def _record(self, returned: Any) -> Any:
        """What the forward returned, standing in the graph."""
        several = isinstance(returned, tuple)
        outputs = list(returned) if several else [returned]
        inputs = [x for x in self._args if isinstance(x, Tensor)]
        constant = {id(x) for x in self._constant}
        dirty = {id(x) for x in self._dirty}
        if lost := dirty - {id(y) for y in outputs}:
            shapes = ", ".join(str(x.shape) for x in self._dirty if id(x) in lost)
            raise RuntimeError(
                f"{self._function.__name__}: mark_dirty was called with a tensor of shape {shapes} "
                "that the forward does not return; return it."
            )
        results = [self._result(y, inputs, id(y) in dirty) for y in outputs]
        places = [
            i
            for i, y in enumerate(outputs)
            if isinstance(y, Tensor) and id(y) not in constant and y.is_floating_point()
        ]
        eye = observer.get()
        wanted = tuple(x.requires_grad for x in inputs)
        needs = any(wanted) and is_grad_enabled() and bool(places)
        if needs or (eye is not None and eye.everything and inputs and places):
            self._stand(inputs, outputs, results, places, wanted if needs else ())
        self._args = ()
        for y, result in zip(outputs, results, strict=True):
            if isinstance(result, Tensor) and eye is not None:
                eye.made(result, tuple(inputs))
            if id(y) in dirty:
                y._become(result, f"{self._function.__name__}: mark_dirty")
        final = [
            y if id(y) in dirty else result for y, result in zip(outputs, results, strict=True)
        ]
        return tuple(final) if several else final[0]

    def _result(self, y: Any, inputs: list[Tensor], dirty: bool) -> Any:
        """An output as a tensor of its own; it may lie in the memory of an input."""
        if not isinstance(y, Tensor):
            return y
        if dirty:
            return wrap(y._backend.array(y._array, None), y._backend)
        result = y.detach()
        if any(x._backend is y._backend and _shared(x, y) for x in inputs):
            result._view = View(None, None, None, y.shape)  # which cannot be changed in place
        return result

    def _stand(
        self,
        inputs: list[Tensor],
        outputs: list[Any],
        results: list[Any],
        places: list[int],
        wanted: tuple[bool, ...],
    ) -> None:
        """Record the results at these places as outputs of one op."""
        backends = {results[i]._backend for i in places}
        if len(backends) > 1:
            raise RuntimeError(
                f"{self._function.__name__}: outputs that have gradients lie on one device; got "
                f"{', '.join(sorted(results[i].device for i in places))}."
            )
        self._outputs = [
            (y.shape, y.dtype, y._backend) if isinstance(y, Tensor) else None for y in results
        ]
        self._places = places
        outs = [results[i] for i in places]
        op = Call(self, places if len(outs) > 1 else [])
        plan = op.plan(wanted or (False,) * len(inputs))
        arrays = [x._array for x in inputs]
        if len(outs) == 1:
            _record(op, plan, tuple(inputs), arrays, outs[0])
            node = outs[0].node
        else:
            op.made = tuple((y.shape, y.dtype) for y in outs)
            whole = wrap(outs[0]._array, outs[0]._backend)
            _record(op, plan, tuple(inputs), arrays, whole)
            node = whole.node
            for k, out in enumerate(outs):
                out._node = _output(node, k)
                out._requires_grad = node.requires_grad
        if wanted:
            self._save(inputs, outputs, results, places, node)

    def _save(
        self,
        inputs: list[Tensor],
        outputs: list[Any],
        results: list[Any],
        places: list[int],
        node: Node,
    ) -> None:
        saved: list[_Saved | None] = []
        guards = []
        for number, x in enumerate(self._to_save):
            if x is None:
                saved.append(None)
                continue
            kept = x
            at: tuple[str, int] | None = None
            for i, y in enumerate(outputs):
                if y is x and i in places:
                    kept, at = results[i], ("output", places.index(i))
            if at is None:
                at = next((("input", k) for k, y in enumerate(inputs) if y is x), None)
            saved.append(_Saved(kept._array, kept._backend, kept._counter, at))
            guards.append((f"saved_tensors[{number}]", kept._counter, kept._counter[0]))
        self._saved = tuple(saved)
        # The arrays stand beside it, for who counts what is saved.
        node.saved = ((self, *[kept.array for kept in saved if kept is not None]),)
        self._to_save = ()
        self._node = weakref.ref(node)
        node.guards += tuple(guards)
        if not saved:  # there is nothing to free, so the pass can come again
            assert node.op is not None
            node.op.kept = ()  # type: ignore[misc]

    # ----- the backward ----------------------------------------------------------------------

    def _gradients(self, reading: Any, g: Any) -> list[Any]:
        """The gradient for each tensor among the inputs."""
        recorded = isinstance(reading, Recorded)
        parts = dict(zip(self._places, g if isinstance(g, tuple) else (g,), strict=True))

        def given(i: int, made: Any) -> Tensor | None:
            if made is None:
                return None
            shape, dtype, home = made
            part = parts.get(i)
            if part is None:
                if not self._materializes:
                    return None
                with home.active:
                    return wrap(home.zeros(shape, dtype=dtype), home)
            # The backward may change it, and it may be the gradient of others, too.
            return F.clone(part) if recorded else wrap(home.array(part, None), home)

        gradients = [given(i, made) for i, made in enumerate(self._outputs)]
        before = observer.get()
        try:
            if recorded:
                returned = self._function.backward(self, *gradients)
            else:
                observer.set(None)  # what happens inside is no step of the walk outside
                with no_grad():
                    returned = self._function.backward(self, *gradients)
        finally:
            observer.set(before)
        found = self._checked(returned)
        node = self._node()
        assert node is not None
        return [
            self._fitted(reading, share, receiver, i)
            for (i, share), receiver in zip(found, node.inputs, strict=True)
        ]

    def _checked(self, returned: Any) -> list[tuple[int, Any]]:
        """For each tensor that went in its place among the arguments, and its gradient."""
        name, count = self._function.__name__, len(self._tensors)
        shares = list(returned) if isinstance(returned, tuple | list) else [returned]
        if len(shares) < count or any(share is not None for share in shares[count:]):
            raise RuntimeError(
                f"{name}.backward returned {len(shares)} gradients, and apply() got {count} "
                "arguments; it returns one for each, None for what is no tensor or needs none."
            )
        for i, is_tensor in enumerate(self._tensors):
            share = shares[i]
            if share is None or (is_tensor and isinstance(share, Tensor)):
                continue
            what = "a tensor" if is_tensor else "no tensor and has no gradient"
            raise RuntimeError(
                f"{name}.backward returned a {type(share).__name__} for argument {i}, which is "
                f"{what}; it returns {'a tensor or ' if is_tensor else ''}None there."
            )
        return [(i, shares[i]) for i, is_tensor in enumerate(self._tensors) if is_tensor]

    def _fitted(self, reading: Any, share: Any, receiver: Node, place: int) -> Any:
        """A gradient as its receiver takes it: in its shape and dtype, on its device."""
        if share is None or not receiver.requires_grad:
            return NOTHING
        name = self._function.__name__
        if share._backend is not receiver.backend:
            raise RuntimeError(
                f"{name}.backward returned a gradient on {share.device} for argument {place}, "
                f"which is on {receiver.backend.device}; move it there: g.to(x.device)."
            )
        if not share.is_floating_point():
            share = F.cast(share, dtype=receiver.dtype)
        if share.shape != receiver.shape:
            extra = share.ndim - len(receiver.shape)
            own = (1,) * extra + receiver.shape
            if extra < 0 or any(m not in (1, n) for n, m in zip(share.shape, own, strict=True)):
                raise RuntimeError(
                    f"{name}.backward returned a gradient of shape {share.shape} for argument "
                    f"{place}, which has the shape {receiver.shape}; it returns one of that shape, "
                    "or of a shape to which that broadcasts."
                )
            share = F.sum_to(share, shape=receiver.shape)
        return share if isinstance(reading, Recorded) else share._array


def _shared(x: Tensor, y: Tensor) -> bool:
    return x._array is y._array or y._backend.shares_memory(y._array, x._array)


class _Saved:
    """A saved tensor: its array, and where in the graph it stands."""

    __slots__ = ("array", "at", "backend", "version")

    def __init__(
        self, array: Any, backend: Backend, version: list[int], at: tuple[str, int] | None
    ) -> None:
        self.array, self.backend, self.version, self.at = array, backend, version, at

    def tensor(self, node: Node | None) -> Tensor:
        """The tensor, standing where it stood; a leaf that is still there itself."""
        tensor = wrap(self.array, self.backend)
        tensor._counter = self.version
        if node is None or self.at is None:
            return tensor
        assert node.op is not None
        kind, k = self.at
        place = node.inputs[k] if kind == "input" else node
        if kind == "output" and node.op.outputs:
            place = _output(node, k)
        leaf = place.tensor() if place.op is None and place.tensor is not None else None
        if leaf is not None and leaf._node is place and leaf._array is self.array:
            return leaf  # type: ignore[no-any-return]
        tensor._node, tensor._requires_grad = place, place.requires_grad
        return tensor


class Call(Op, register=False):
    """One call of a `Function`, in the graph under the name of that."""

    kept = ("context",)
    computes_in = "float16"  # the function gets gradients as they are

    def __init__(self, ctx: FunctionCtx, places: list[int]) -> None:
        self.context = (ctx,)
        vars(self).update(
            name=ctx._function.__name__,
            fills=ctx._materializes,
            outputs=tuple(f"y{place}" for place in places),
        )

    def forward(self, xp: Any, *xs: Any) -> Any:
        raise NotImplementedError  # it has run when this op is made

    def grad_xs(self, F: Any, g: Any, context: Any) -> Any:
        ctx, *_ = F.memory(context)
        return ctx._gradients(F, g)


@public(AUTOGRAD)
class Function:
    """A differentiable function with a forward and a backward of your own, on tensors.

    Write two static methods in a subclass and call `apply`:

    - `forward(ctx, *args)` computes with what `apply` got, tensors and other things; nothing is
      recorded meanwhile. It returns a tensor or a tuple. Or `forward(*args)` without ctx, and
      beside it `setup_context(ctx, inputs, output)`.
    - `backward(ctx, *gradients)` gets the gradient of each output and returns one for each argument
      of `apply`: None for what is no tensor, or has none. With `create_graph` its ops are recorded,
      so it is differentiated like any other code.

    `ctx` (see its methods) carries what the one leaves for the other. Errors name the class, as do
    listings and pictures of the graph.

    >>> import tinygrad_cv as tg
    >>> class Cube(tg.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x**3
    ...
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return g * 3 * x**2
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> y = Cube.apply(x)
    >>> y.backward()
    >>> x.grad
    tensor(12.)
    >>> print(tg.graph(y))
    %0  parameter        float32 ()
    %1  Cube       (%0)  float32 ()
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The values: forward(ctx, *args), or forward(*args) beside a `setup_context`."""
        raise NotImplementedError("a Function has a static method forward(ctx, ...); write it.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradient of each argument, given that of each output."""
        raise NotImplementedError(
            f"{ctx._function.__name__} has no static method backward(ctx, ...); write it."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Leave on ctx what the backward needs, of a forward that gets no ctx."""

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run the forward on these arguments, and record it if one of them needs a gradient."""
        return _applied(cls, args, kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(
            f"a Function is not called as an object; write {type(self).__name__}.apply(...), with "
            "static methods forward(ctx, ...) and backward(ctx, ...)."
        )


InplaceFunction = Function
"""An older name, of what marks its inputs as dirty; each `Function` can."""

_SIGNATURES: weakref.WeakKeyDictionary[Callable[..., Any], inspect.Signature]
_SIGNATURES = weakref.WeakKeyDictionary()
"""How the forwards are called; to find that out takes longer than a small forward."""


def _applied(cls: type[Function], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    apart = cls.setup_context is not Function.setup_context
    if apart:  # what has a default is an argument, too, also where it was left out
        signature = _SIGNATURES.get(cls.forward)
        if signature is None:
            signature = _SIGNATURES[cls.forward] = inspect.signature(cls.forward)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        args = bound.args
    elif kwargs:
        raise TypeError(
            f"{cls.__name__}.apply takes arguments by position; got {', '.join(kwargs)} by name."
        )
    ctx = FunctionCtx(cls, args)
    try:
        with no_grad():
            if apart:
                returned = cls.forward(*args)
                cls.setup_context(ctx, args, returned)
            else:
                returned = cls.forward(ctx, *args)
        return ctx._record(returned)
    except BaseException as error:
        failed(error)
        raise


class Once(Op, register=False):
    """A gradient that cannot be differentiated: the identity, with an error as its rule."""

    of: str
    nondifferentiable = ("y",)

    def forward(self, xp: Any, y: Any, *gs: Any) -> Any:
        return xp.array(y, None)

    def grad_gs(self, F: Any, g: Any) -> Any:
        raise RuntimeError(
            f"{self.of} is marked once_differentiable: its gradient cannot be differentiated again."
        )


@public(AUTOGRAD)
def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Mark the `backward` of a `Function` whose result cannot be differentiated again.

    It runs without recording, and to differentiate what it returns is an error.

    >>> import tinygrad_cv as tg
    >>> class Double(tg.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return 2 * x
    ...
    ...     @staticmethod
    ...     @tg.autograd.function.once_differentiable
    ...     def backward(ctx, g):
    ...         return 2 * g
    """

    @functools.wraps(fn)
    def once(ctx: FunctionCtx, *gradients: Any) -> Any:
        with no_grad():
            returned = fn(ctx, *gradients)
        known = [*gradients, *(ctx.saved_tensors if is_grad_enabled() else ())]
        behind = [x for x in known if isinstance(x, Tensor) and x.requires_grad]
        if not behind or not is_grad_enabled():
            return returned
        op = Once(of=ctx._function.__name__)
        shares: Sequence[Any] = returned if isinstance(returned, tuple | list) else (returned,)
        return tuple(
            apply(op, y, *behind) if isinstance(y, Tensor) and y.is_floating_point() else y
            for y in shares
        )

    return once
