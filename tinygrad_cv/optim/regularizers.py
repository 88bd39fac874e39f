"""Regularizers: what is asked of the weights beside a low loss.

    loss = cross_entropy(model(x), y) + regularizer(model)

They are terms of the objective, L = L_data + R(W), and bounds in which the weights are kept after
each step.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._public import OPTIM, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.nn.batchnorm import _NormBase
from tinygrad_cv.nn.conv import LocallyConnected2d, _ConvTransposeNd
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.normalization import GroupNorm, LayerNorm, RMSNorm
from tinygrad_cv.ops.elementwise import where
from tinygrad_cv.ops.linalg import vector_norm
from tinygrad_cv.optim.optimizer import Optimizer

Chosen = Callable[[str, Tensor], bool] | str | Sequence[str] | None
"""Which parameters: a function of a name and a tensor, names with * in them, or the weights."""

Weights = Module | Mapping[str, Any] | Iterable[Tensor] | Iterable[tuple[str, Tensor]]
"""A model, a group of an optimizer's parameters, or tensors, with or without names."""

NORMS = (_NormBase, LayerNorm, GroupNorm, RMSNorm)


# ----- which parameters --------------------------------------------------------------------------


def is_weight(name: str, parameter: Tensor, layer: Module | None = None) -> bool:
    """Whether a parameter is a weight, and not a bias or what a normalization learns.

    A weight has two axes or more, is none of a batch norm or its kin, and is not called bias..., b
    or b1.

    >>> from tinygrad_cv import nn
    >>> layer = nn.Conv2d(1, 2, 3)
    >>> is_weight("weight", layer.weight), is_weight("bias", layer.bias)
    (True, False)
    """
    called = name.rpartition(".")[2]
    return (
        parameter.ndim >= 2
        and parameter.is_floating_point()
        and not isinstance(layer, NORMS)
        and re.fullmatch(r"b\d*|(.*_)?bias.*", called) is None
    )


def _named(weights: Weights) -> Iterator[tuple[str, Tensor, Module | None]]:
    """Names, tensors and, of a model, the layers that they are parameters of; each once."""
    if isinstance(weights, Module):
        seen = set()
        for path, layer in weights.named_modules():
            for name, parameter in layer.named_parameters(recurse=False):
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield f"{path}.{name}" if path else name, parameter, layer
        return
    given: Any = weights
    if isinstance(given, Mapping):
        if "params" not in given:
            raise TypeError(
                'a group of parameters is a dict with "params"; got one with '
                f"{', '.join(map(repr, given))}."
            )
        names = given.get("param_names")
        given = given["params"]
        given = given if names is None else zip(names, given, strict=True)
    if isinstance(given, Tensor) or not isinstance(given, Iterable):
        raise TypeError(
            "a regularizer takes a model, a group of parameters, or a list of tensors; got a "
            f"{type(given).__name__}."
        )
    tensors: dict[int, tuple[str, Tensor, None]] = {}
    for k, entry in enumerate(given):
        name, tensor = entry if isinstance(entry, tuple) and len(entry) == 2 else (str(k), entry)
        if not isinstance(tensor, Tensor):
            raise TypeError(f"a regularizer is of tensors; got {tensor!r}.")
        tensors.setdefault(id(tensor), (name, tensor, None))
    yield from tensors.values()


def _chosen(weights: Weights, only: Chosen) -> list[tuple[str, Tensor, Module | None]]:
    """The parameters that are meant. Raises ValueError if there are none."""
    given = list(_named(weights))
    if only is None:
        of_model = isinstance(weights, Module)
        found = [one for one in given if not of_model or is_weight(*one)]
    elif callable(only):
        found = [one for one in given if only(one[0], one[1])]
    else:
        patterns = [only] if isinstance(only, str) else only
        fits = {p: [one for one in given if fnmatchcase(one[0], p)] for p in patterns}
        idle = [pattern for pattern, fitting in fits.items() if not fitting]
        if idle:
            raise ValueError(
                f"only: no parameter is called {', '.join(map(repr, idle))}; there are "
                f"{_listed(given)}."
            )
        names = {one[0] for fitting in fits.values() for one in fitting}
        found = [one for one in given if one[0] in names]
    if not found:
        why = "a weight, of two axes or more; say which by `only`" if only is None else "chosen"
        raise ValueError(f"there is nothing to regularize: of {_listed(given)} none is {why}.")
    return found


def _listed(given: list[tuple[str, Tensor, Module | None]]) -> str:
    shown = [f"{name} {tuple(tensor.shape)}" for name, tensor, _ in given[:8]]
    more = [f"{len(given) - 8} more"] if len(given) > 8 else []
    return ", ".join([*shown, *more]) or "no parameters"


def _single(w: Tensor) -> Tensor:
    """In float32 at least: sums of many squares leave the range of float16."""
    return w.float() if w.dtype == "float16" else w


@public(OPTIM)
def decay_groups(model: Module, weight_decay: float, only: Chosen = None) -> list[dict[str, Any]]:
    """Two groups of parameters for an optimizer: those that decay, and the others, which do not.

    `only` says which decay, as in `Regularizer`: by default the weights, not biases, nor what batch
    norm and its kin learn. "Biases are sometimes excluded from regularization" (N. Snavely, CS5670,
    "Weight decay").

    >>> from tinygrad_cv import nn, optim
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    >>> groups = optim.decay_groups(model, 0.01)
    >>> [(group["weight_decay"], len(group["params"])) for group in groups]
    [(0.01, 2), (0.0, 4)]
    >>> optimizer = optim.SGD(groups, lr=0.1, momentum=0.9)
    """
    decaying = [parameter for _, parameter, _ in _chosen(model, only)]
    known = {id(parameter) for parameter in decaying}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    groups: list[dict[str, Any]] = [{"params": decaying, "weight_decay": weight_decay}]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    return groups


# ----- terms -------------------------------------------------------------------------------------


@public(OPTIM)
class Regularizer:
    """Base of the regularizers: R(W), a term of the loss, and what is done after a step.

    - `regularizer(model)` is the term, a number with gradients of every order, to be added to the
      loss: `loss = cross_entropy(model(x), y) + regularizer(model)`. A `train.Trainer` adds it by
      itself: `Trainer(model, optimizer, regularizer=...)`.
    - `regularizer.project_(model, lr)` is called after each step, and changes the weights in place
      where a regularizer does that (`MaxNorm`, `Proximal`); a Trainer calls it.
    - `one + other` is both.

    Instead of a model a group of an optimizer's may be given, or a list of tensors, with names or
    without: of these all are meant. Of a model it is the weights: parameters with two axes or more
    that are no biases, nor what batch norm and its kin learn. `only` chooses otherwise: names, in
    which * stands for anything ("features.*", ["0.weight", "2.weight"]), or a function of the name
    and the parameter that says whether it is meant. `chosen(model)` shows the choice. A tensor that
    several layers share counts once. Frozen parameters are part of the term, and no projection
    moves them.

    The term has the dtype of the parameters, float32 for those in float16. Raises ValueError where
    nothing is chosen, and TypeError for what has no parameters.

    >>> from tinygrad_cv import nn, optim
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    >>> list(optim.L2(0.1).chosen(model)), list(optim.L2(0.1, only="*.bias").chosen(model))
    (['0.weight', '2.weight'], ['0.bias', '1.bias', '2.bias'])
    """

    def __init__(self, *, only: Chosen = None) -> None:
        self.only = only

    def chosen(self, model: Weights) -> dict[str, Tensor]:
        """The parameters that it is of, by their names."""
        return {name: parameter for name, parameter, _ in _chosen(model, self.only)}

    def term(self, w: Tensor) -> Tensor:
        """What one parameter adds."""
        raise NotImplementedError(f"{type(self).__name__} has no term.")

    def __call__(self, model: Weights) -> Tensor:
        """R(W)."""
        first, *others = [self.term(_single(w)) for _, w, _ in _chosen(model, self.only)]
        return sum(others, start=first)

    def project_(self, model: Weights, lr: Any = 1.0) -> None:
        """What is done after a step of the optimizer: nothing, for a term.

        `lr` is the learning rate of the step, or the optimizer that has made it, each of whose
        groups has its own; parameters that it does not have stay as they are.
        """

    def __add__(self, other: "Regularizer") -> "Regularizer":
        if not isinstance(other, Regularizer):
            return NotImplemented
        return _Both(self, other)

    def _options(self) -> dict[str, Any]:
        """What it was made with, as its repr shows it."""
        return {}

    def _numbers(self) -> tuple[Any, ...]:
        """What its term depends on beside the weights, for which a compiled step is recorded.

        A tensor may have other numbers at each replay, so it stands there by itself.
        """
        options = self._options().values()
        return type(self), *(id(x) if isinstance(x, Tensor) else x for x in options)

    def __repr__(self) -> str:
        shown = [f"{name}={value!r}" for name, value in self._options().items()]
        if self.only is not None:
            only = getattr(self.only, "__qualname__", None) or repr(self.only)
            shown.append(f"only={only}")
        return f"{type(self).__name__}({', '.join(shown)})"


class _Both(Regularizer):
    """Two regularizers, each of the parameters that it chooses."""

    def __init__(self, one: Regularizer, other: Regularizer) -> None:
        super().__init__()
        self.parts = one, other

    def chosen(self, model: Weights) -> dict[str, Tensor]:
        one, other = self.parts
        return one.chosen(model) | other.chosen(model)

    def __call__(self, model: Weights) -> Tensor:
        one, other = self.parts
        model = _kept(model)
        return one(model) + other(model)

    def project_(self, model: Weights, lr: Any = 1.0) -> None:
        model = _kept(model)
        for part in self.parts:
            part.project_(model, lr)

    def _numbers(self) -> tuple[Any, ...]:
        return tuple(part._numbers() for part in self.parts)

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))


def _kept(weights: Any) -> Any:
    """Weights that can be asked for more than once."""
    return list(weights) if isinstance(weights, Iterator) else weights


class _Penalty(Regularizer):
    """a ‖W‖₁ + b ‖W‖²."""

    def _coefficients(self) -> tuple[Any, Any]:
        """a and b."""
        raise NotImplementedError

    def term(self, w: Tensor) -> Tensor:
        a, b = self._coefficients()
        lengths: Tensor = a * w.abs().sum() if not _is_zero(a) else w.new_zeros(())
        if _is_zero(b):
            return lengths
        squares: Tensor = b * (w * w).sum()
        return squares if _is_zero(a) else lengths + squares

    def near(self, w: Tensor, rate: float) -> Tensor:
        """The v of least rate · R(v) + ½‖v - w‖²: pulled to 0 by rate · a, then shrunk."""
        a, b = map(float, self._coefficients())
        return (w - w.clamp(-rate * a, rate * a)) / (1 + 2 * rate * b)


def _is_zero(coefficient: Any) -> bool:
    return not isinstance(coefficient, Tensor) and coefficient == 0


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _strength(name: str, value: Any) -> Any:
    """A number from 0 on; of a tensor nothing is asked, for that may be learned."""
    if isinstance(value, Tensor):
        if value.ndim:
            raise ValueError(f"{name} is one number; got a tensor of shape {value.shape}.")
        return value
    if not _is_number(value) or not 0 <= value < math.inf:
        raise ValueError(f"{name} is a number, 0 or more; got {value!r}.")
    return value


@public(OPTIM)
class L2(_Penalty):
    """R(W) = ½ λ ΣW², whose gradient is λW: the weights decay. λ is `strength`.

    The lectures have three conventions, which differ in the factor alone:

    - ½ λ‖W‖², by default (N. Snavely, CS5670, "Regularization"). `weight_decay=λ` of an
      optimizer has the same gradient, but there the printed loss never contains the term;
    - λ ΣW² with `half=False` (X. He, CS150, "Regularization: add term to loss");
    - λ/(2m) ΣΘ² with `samples=m`, the number of samples (A. Solberg, INF5860, "For a neural net
      with softmax loss function").

    `strength` may be a tensor, of which there are gradients too. For the choice of parameters see
    `Regularizer`. Raises ValueError for a negative strength and for no samples.

    >>> from tinygrad_cv import optim, tensor
    >>> w = tensor([[3.0, -4.0]], requires_grad=True)
    >>> terms = optim.L2(0.1), optim.L2(0.1, half=False), optim.L2(0.1, samples=5)
    >>> [round(term([w]).item(), 4) for term in terms]
    [1.25, 2.5, 0.25]
    >>> optim.L2(0.1)([w]).backward()
    >>> w.grad
    tensor([[ 0.3, -0.4]])
    """

    def __init__(
        self,
        strength: Any,
        half: bool = True,
        samples: int | None = None,
        *,
        only: Chosen = None,
    ) -> None:
        super().__init__(only=only)
        if samples is not None and not samples >= 1:
            raise ValueError(f"samples counts those of the loss, at least 1; got {samples!r}.")
        self.strength, self.half, self.samples = _strength("strength", strength), half, samples

    def _coefficients(self) -> tuple[Any, Any]:
        return 0, self.strength * (0.5 if self.half else 1.0) / (self.samples or 1)

    def _options(self) -> dict[str, Any]:
        samples = {} if self.samples is None else {"samples": self.samples}
        return {"strength": self.strength, "half": self.half, **samples}


@public(OPTIM)
class L1(_Penalty):
    """R(W) = λ Σ|W|, whose gradient is λ sign(W), and 0 at 0. λ is `strength`.

    "Weights are encouraged to reduce to exactly zero" (N. Snavely, CS5670, "Example regularizers").
    A step along the gradient passes zero by, and the next one comes back; they are zeros with
    `Proximal(L1(λ))`. For the choice of parameters see `Regularizer`. Raises ValueError for a
    negative strength.

    >>> from tinygrad_cv import optim, tensor
    >>> w = tensor([[3.0, 0.0, -4.0]], requires_grad=True)
    >>> term = optim.L1(0.1)([w])
    >>> term.backward()
    >>> round(term.item(), 4), w.grad
    (0.7, tensor([[ 0.1,  0. , -0.1]]))
    """

    def __init__(self, strength: Any, *, only: Chosen = None) -> None:
        super().__init__(only=only)
        self.strength = _strength("strength", strength)

    def _coefficients(self) -> tuple[Any, Any]:
        return self.strength, 0

    def _options(self) -> dict[str, Any]:
        return {"strength": self.strength}


@public(OPTIM)
class ElasticNet(_Penalty):
    """R(W) = λ₁ Σ|W| + λ₂ ΣW², with `l1` and `l2`, as N. Snavely's CS5670 has it: no ½.

    With `beta` instead of `l2` it is X. He's λ Σ(βW² + |W|), where λ is `l1` (CS150,
    "Regularization: add term to loss"). For the choice of parameters see `Regularizer`. Raises
    ValueError for negative strengths, and unless one of l2 and beta is given.

    Source: H. Zou and T. Hastie, "Regularization and variable selection via the elastic net", 2005.

    >>> from tinygrad_cv import optim, tensor
    >>> w = tensor([[3.0, -4.0]])
    >>> terms = optim.ElasticNet(0.1, 0.02), optim.ElasticNet(0.1, beta=0.2)
    >>> [round(term([w]).item(), 4) for term in terms]
    [1.2, 1.2]
    """

    def __init__(
        self, l1: Any, l2: Any = None, *, beta: float | None = None, only: Chosen = None
    ) -> None:
        super().__init__(only=only)
        if (l2 is None) == (beta is None):
            raise ValueError("ElasticNet takes l2, or beta, which is l2 / l1.")
        self.l1 = _strength("l1", l1)
        self.l2 = _strength("l2", l2) if beta is None else l1 * _strength("beta", beta)

    def _coefficients(self) -> tuple[Any, Any]:
        return self.l1, self.l2

    def _options(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


# ----- after the step ----------------------------------------------------------------------------


class _AfterStep(Regularizer):
    """Changes weights in place after each step."""

    def _moved(self, w: Tensor, layer: Module | None, rate: float) -> Tensor:
        """The weights of a layer after that."""
        raise NotImplementedError

    @no_grad()
    def project_(self, model: Weights, lr: Any = 1.0) -> None:
        rates: dict[int, float] | None = None
        if isinstance(lr, Optimizer):
            rates = {id(p): _rate(group) for group in lr.param_groups for p in group["params"]}
        for _, parameter, layer in _chosen(model, self.only):
            if not parameter.requires_grad or (rates is not None and id(parameter) not in rates):
                continue
            rate = float(lr) if rates is None else rates[id(parameter)]
            parameter.copy_(self._moved(_single(parameter.detach()), layer, rate))


def _rate(group: Mapping[str, Any]) -> float:
    """How far a steady gradient of 1 leads in a step: with momentum, lr · (1 + μ + μ² + ...)."""
    momentum, dampening = (float(group.get(name, 0)) for name in ("momentum", "dampening"))
    return float(group["lr"]) * (1 - dampening if momentum else 1) / (1 - min(momentum, 0.999))


@public(OPTIM)
class Proximal(_AfterStep):
    """L1, L2 or an elastic net without its gradient: after the step the weights are drawn to it.

    After each step of the data's loss w becomes the v of least lr · R(v) + ½‖v - w‖². For L1 that
    is sign(w) · max(|w| - lr·λ, 0): weights that the data do not hold are zeros, exactly. It is the
    proximal gradient method, for SGD. Of an optimizer with momentum μ the rate is lr / (1 - μ), how
    far a steady gradient leads, so that the same weights are at rest; for Adam and its kin, whose
    steps have lengths of their own, it is a pull of size lr.

    The term is part of the loss's value, and has no gradient there. By hand:

        loss = cross_entropy(model(x), y) + regularizer(model)
        loss.backward()
        optimizer.step()
        regularizer.project_(model, optimizer)

    Source: I. Daubechies et al., "An iterative thresholding algorithm for linear inverse problems",
    2004. Raises TypeError for other regularizers.

    >>> from tinygrad_cv import optim, tensor
    >>> w = tensor([[3.0, 0.05, -4.0]], requires_grad=True)
    >>> optim.Proximal(optim.L1(1.0)).project_([w], lr=0.1)
    >>> w
    tensor([[ 2.9,  0. , -3.9]], requires_grad=True)
    """

    def __init__(self, regularizer: Regularizer) -> None:
        if not isinstance(regularizer, _Penalty):
            raise TypeError(
                f"Proximal is of an L1, L2 or ElasticNet; got a {type(regularizer).__name__}. Add "
                "others to it: Proximal(L1(0.1)) + MaxNorm(3.0)."
            )
        super().__init__(only=regularizer.only)
        self.regularizer = regularizer

    def term(self, w: Tensor) -> Tensor:
        return self.regularizer.term(w.detach()).detach()

    def _moved(self, w: Tensor, layer: Module | None, rate: float) -> Tensor:
        return self.regularizer.near(w, rate)

    def _numbers(self) -> tuple[Any, ...]:
        return type(self), *self.regularizer._numbers()

    def __repr__(self) -> str:
        return f"Proximal({self.regularizer!r})"


@public(OPTIM)
class MaxNorm(_AfterStep):
    """‖w‖² ≤ c for the incoming weights w of each unit: after a step what is longer is shortened.

    w ← w · min(1, √c / ‖w‖) for each row of a Linear's weight, and each filter of a convolution:
    those of the output that they lead to. `per="layer"` bounds ‖W‖² of a whole weight, as it is
    written in N. Snavely's CS5670, "Max norm"; a number is the axis of the units of weights that
    lie otherwise, 1 for W (in, out). The term is 0: call `project_` after each step, as a Trainer
    does.

    For the choice of parameters see `Regularizer`. Raises ValueError for c that is not above 0, and
    for weights without the axis.

    Source: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from
    overfitting", 2014, section 5.1, where the bound is on ‖w‖: c here is the square of theirs.

    >>> from tinygrad_cv import optim, tensor
    >>> w = tensor([[3.0, -4.0], [0.3, 0.4]], requires_grad=True)
    >>> optim.MaxNorm(1.0).project_([w])
    >>> w
    tensor([[ 0.6, -0.8],
            [ 0.3,  0.4]], requires_grad=True)
    """

    def __init__(self, c: float, per: str | int = "unit", *, only: Chosen = None) -> None:
        super().__init__(only=only)
        if not _is_number(c) or not c > 0:
            raise ValueError(f"c bounds squares, and is above 0; got {c!r}.")
        if per not in ("unit", "layer") and (isinstance(per, bool) or not isinstance(per, int)):
            raise ValueError(f"per is 'unit', 'layer' or the axis of the units; got {per!r}.")
        self.c, self.per = c, per

    def term(self, w: Tensor) -> Tensor:
        return w.new_zeros(())

    def _moved(self, w: Tensor, layer: Module | None, rate: float) -> Tensor:
        rows, axes = self._rows(w, layer)
        norm, bound = vector_norm(rows, dim=axes, keepdim=True), math.sqrt(self.c)
        return (rows * where(norm > bound, bound / norm, 1.0)).reshape(w.shape)

    def _rows(self, w: Tensor, layer: Module | None) -> tuple[Tensor, tuple[int, ...]]:
        """The weights, and the axes along which those of one unit lie."""
        every = tuple(range(w.ndim))
        if self.per == "layer" or (self.per == "unit" and w.ndim < 2):
            return w, every
        if isinstance(self.per, int):
            if not -w.ndim <= self.per < w.ndim:
                raise ValueError(f"per={self.per}: weights of shape {w.shape} have no such axis.")
            return w, tuple(axis for axis in every if axis != self.per % w.ndim)
        if isinstance(layer, LocallyConnected2d):  # (H', W', out, ...): each place has its own
            return w, every[3:]
        if isinstance(layer, _ConvTransposeNd):  # (in, out / groups, ...)
            grouped = w.reshape(layer.groups, -1, *w.shape[1:])
            return grouped, (1, *range(3, grouped.ndim))
        return w, every[1:]

    def _options(self) -> dict[str, Any]:
        return {"c": self.c, "per": self.per}
