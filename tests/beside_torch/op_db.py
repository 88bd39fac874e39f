"""PyTorch's own samples of each of its ops, and the same calls made of this library.

`OPS` are PyTorch's ops by name, each with the calls that PyTorch is tested with. `ours` finds the
function of that name here, `difference` makes one of those calls in both libraries and says where
they part: in the values, or in the first or second derivatives. From the shell,

    python -m tests.beside_torch.op_db nn.functional.pad conv      # every op named so

lists the samples that fail, with the kind of each failure.
"""

import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch

import tinygrad_cv as tg

from .op_db_known import KNOWN, KNOWN_ACCEPTED, Known

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_utils import set_rng_seed

RTOL = 1e-7
"""Relative to an element, and a hundredth of it relative to the largest one."""

OPS: dict[str, Any] = {op.full_name: op for op in op_db}

Function = Callable[..., Any]

ADAPTED: dict[str, Function] = {
    "einsum": lambda tensors, equation: tg.einsum(equation, *tensors),
    "linalg.pinv.singular": lambda a, b: tg.linalg.pinv(a @ b.mT),
    "nn.functional.embedding": lambda w, i, **options: tg.nn.functional.embedding(i, w, **options),
    "nn.functional.embedding_bag": lambda w, i, **options: tg.nn.functional.embedding_bag(
        i, w, **options
    ),
    "nn.functional.triplet_margin_with_distance_loss": lambda *x, distance_function, **options: (
        tg.nn.functional.triplet_margin_with_distance_loss(
            *x, distance_function=tg.nn.PairwiseDistance(), **options
        )
    ),
    "where": lambda x, condition, other: tg.where(condition, x, other),
    "linalg.lstsq.grad_oriented": lambda a, b, driver: tg.linalg.lstsq(a, b, driver=driver)[:2],
    "normal.in_place": lambda x, *args, **options: x.clone().normal_(*args, **options),
    "normal.number_mean": lambda std, mean, *size, **options: tg.normal(
        mean, std, *size, **options
    ),
    **dict.fromkeys(
        (f"polygamma.polygamma_n_{n}" for n in range(5)), lambda x, n: tg.polygamma(n, x)
    ),
}
"""Ops whose samples hold the arguments in another order than the function takes them."""

_DRAWN = """
    bernoulli cauchy exponential geometric log_normal multinomial normal normal.in_place
    normal.number_mean rand rand_like randint randint_like randn randn_like uniform
    nn.functional.alpha_dropout nn.functional.dropout nn.functional.dropout2d
    nn.functional.multi_head_attention_forward
    nn.functional.dropout3d nn.functional.feature_alpha_dropout.with_train nn.functional.rrelu
    nn.functional.fractional_max_pool2d nn.functional.fractional_max_pool3d
    nn.functional.scaled_dot_product_attention nn.functional.multi_head_attention_forward
    empty empty_like empty_permuted empty_strided new_empty new_empty_strided
    pca_lowrank svd_lowrank
""".split()  # noqa: SIM905  as lines of words it is easier to read


def drawn(name: str, sample: Any) -> bool:
    """Whether the values come from a generator (or from nowhere): then only shapes agree."""
    if name not in _DRAWN:
        return False
    chance = sample.kwargs.get("p", sample.kwargs.get("dropout_p", 0.5))
    if name == "nn.functional.scaled_dot_product_attention":
        return bool(sample.kwargs.get("dropout_p", 0.0) > 0)
    if name == "nn.functional.multi_head_attention_forward":
        return bool(sample.kwargs["training"] and sample.args[9] > 0)
    return not (sample.kwargs.get("training", True) is False or chance == 0)


UP_TO_SIGN = {"linalg.eigh", "linalg.svd", "svd", "linalg.eig", "linalg.qr", "qr", "linalg.lstsq"}
"""Decompositions that leave a choice: what agrees is the part that PyTorch differentiates."""


# ----- the function of the same name -------------------------------------------------------------


def _reach(root: Any, path: str) -> Any:
    for part in path.split("."):
        root = getattr(root, part, None)
    return root


def _method(name: str) -> Function | None:
    """`name` as a method or a property."""
    if not hasattr(torch.Tensor, name):
        name += "_"
    found = getattr(tg.Tensor, name, None)
    if isinstance(found, property):
        return lambda x: getattr(x, name)
    return found if found is None else _of_a_copy(name, found)


def _of_a_copy(name: str, function: Function) -> Function:
    """A function that writes is given a copy, as PyTorch's own is in its samples."""
    if not name.endswith("_") or name.endswith("__"):
        return function
    return lambda x, *args, **options: function(x.detach().clone(), *args, **options)


def _named(name: str) -> Function | None:
    """The function of that name; `torch.bool` is none, so that `bool` is a method."""
    if not callable(_reach(torch, name)) and not name.startswith("nn.functional."):
        return _method(name) if "." not in name else None
    found = _reach(tg, name)
    if found is None and name.startswith("nn.functional."):
        found = _reach(tg, name.removeprefix("nn.functional."))
    if found is None and "." not in name:
        found = _method(name)
    return _of_a_copy(name, found) if callable(found) else None


def ours(op: Any) -> Function | None:
    """Our function that does what `op` does; None if there is none of its names."""
    names = [op.name, *(alias.name.removeprefix("torch.") for alias in op.aliases)]
    found = next((f for f in map(_named, names) if f is not None), None)
    return ADAPTED.get(op.full_name, found) if found is not None else None


# ----- a sample ----------------------------------------------------------------------------------


class ForeignError(Exception):
    """The sample holds something that has no counterpart here, such as a complex tensor."""


def dtype_of(op: Any) -> torch.dtype | None:
    """What the samples are made of: float64, or int64 where the op takes no floats."""
    supported = op.supported_dtypes("cpu")
    return next((d for d in (torch.float64, torch.int64) if d in supported), None)


@cache
def samples(name: str) -> list[Any]:
    """The samples of an op, drawn from a fixed seed."""
    op = OPS[name]
    dtype = dtype_of(op)
    if dtype is None:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        floats = dtype.is_floating_point and op.supports_autograd
        set_rng_seed(0)
        # Not op.sample_inputs, which looks for a unittest up the stack, for seconds under pytest.
        return list(op.sample_inputs_func(op, "cpu", dtype, floats))


_LAYOUT = ("layout", "memory_format", "pin_memory")
"""Keywords about where the bytes lie, and not about what they are: PyTorch alone is told."""


class Pairs:
    """The arguments of a sample for PyTorch and for us, a tensor that comes twice being one."""

    def __init__(self) -> None:
        self.tensors: dict[int, tuple[Any, Any]] = {}

    def of(self, value: Any) -> tuple[Any, Any]:
        """The value for PyTorch, and ours."""
        if isinstance(value, torch.Tensor):
            if id(value) not in self.tensors:
                self.tensors[id(value)] = self._pair(value)
            return self.tensors[id(value)]
        if isinstance(value, torch.Size):
            return value, tuple(value)
        if isinstance(value, tuple | list):
            both = [self.of(item) for item in value]
            return type(value)(a for a, _ in both), type(value)(b for _, b in both)
        if isinstance(value, dict):
            found = {key: self.of(item) for key, item in value.items() if key not in _LAYOUT}
            layout = {key: item for key, item in value.items() if key in _LAYOUT}
            theirs = {k: a for k, (a, _) in found.items()} | layout
            return theirs, {k: b for k, (_, b) in found.items()}
        if isinstance(value, torch.dtype):
            return value, our_dtype(value)
        if isinstance(value, torch.device) and value.type != "cpu":
            raise ForeignError(f"the device {value}")
        if value == "cpu" or isinstance(value, torch.device):
            return value, tg.get_default_device()
        if isinstance(value, torch.nn.PairwiseDistance):
            return value, tg.nn.PairwiseDistance(value.norm, value.eps, value.keepdim)
        if isinstance(value, torch.Generator):
            return value, np.random.default_rng(0)
        if isinstance(value, torch.layout | torch.memory_format):
            raise ForeignError(f"{value}")
        if isinstance(value, complex):
            raise ForeignError("complex numbers")
        return value, value

    @staticmethod
    def _pair(value: Any) -> tuple[Any, Any]:
        if value.layout is not torch.strided:
            raise ForeignError(f"{value.layout}")
        if value.is_meta:
            raise ForeignError("a tensor without values")
        our_dtype(value.dtype)
        if value.ndim > 64:
            raise ForeignError(f"{value.ndim} axes")  # NumPy has 64
        array = value.numpy(force=True)
        mine = tg.Tensor(array, requires_grad=value.requires_grad)
        return value.detach().requires_grad_(value.requires_grad), mine

    def differentiated(self) -> list[tuple[Any, Any]]:
        """The tensors whose gradient is asked for."""
        return [pair for pair in self.tensors.values() if pair[0].requires_grad]

    def constants(self) -> list[tuple[Any, Any]]:
        """The others, into which an op may write, as batch norm does."""
        return [pair for pair in self.tensors.values() if not pair[0].requires_grad]


def our_dtype(dtype: torch.dtype) -> Any:
    name = str(dtype).removeprefix("torch.")
    if hasattr(tg, name):
        return getattr(tg, name)
    try:
        found = np.dtype(name)
    except TypeError:
        raise ForeignError(name) from None
    if found.kind == "c":
        raise ForeignError(name)
    return found


def show(value: Any) -> str:
    """An argument; of a tensor the shape, of a module the class."""
    if isinstance(value, torch.Tensor):
        kind = "" if value.dtype == torch.float64 else str(value.dtype).removeprefix("torch.")
        return kind + str(tuple(value.shape))
    if isinstance(value, tuple | list) and not isinstance(value, torch.Size):
        return "[" + ", ".join(map(show, value)) + "]"
    return type(value).__name__ if isinstance(value, torch.nn.Module) else repr(value)


def described(sample: Any) -> str:
    """The arguments in a line."""
    options = [f"{key}={show(value)}" for key, value in sample.kwargs.items()]
    return ", ".join([show(sample.input), *map(show, sample.args), *options])


# ----- a comparison ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """Where the libraries part: at the values (order 0) or at a derivative; and how."""

    order: int
    what: str

    def __str__(self) -> str:
        return f"{('value', 'gradient', 'second gradient')[self.order]}: {self.what}"


def leaves(value: Any) -> Iterator[Any]:
    """The tensors and numbers of a result."""
    if isinstance(value, tuple | list) and not isinstance(value, torch.Size):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))
    else:
        yield value


def array_of(value: Any) -> Any:
    if isinstance(value, tg.Tensor):
        return value.detach().numpy()
    return np.asarray(value.numpy(force=True) if isinstance(value, torch.Tensor) else value)


def unlike(mine: Any, other: Any, values: bool = True) -> str | None:
    """How two results differ in number, dtype, shape or (with `values`) in their elements."""
    y, z = list(leaves(mine)), list(leaves(other))
    if len(y) != len(z):
        return f"{len(y)} results, not {len(z)}"
    for a, b in zip(y, z, strict=True):
        if isinstance(b, torch.dtype):
            b = our_dtype(b)
        if isinstance(b, torch.Tensor) and not isinstance(a, tg.Tensor):
            return f"{type(a).__name__}, not a tensor"
        if b is None or isinstance(b, str | np.dtype):
            if a != b:
                return f"{a!r}, not {b!r}"
            continue
        if isinstance(b, torch.Tensor) and b.is_complex():
            return "real, not complex"
        p, q = array_of(a), array_of(b)
        if p.shape != q.shape:
            return f"shape {p.shape}, not {q.shape}"
        if p.dtype != q.dtype:
            return f"{p.dtype}, not {q.dtype}"
        if values and (error := distance(p, q)):
            return error
    return None


def distance(p: Any, q: Any, rtol: float = RTOL) -> str | None:
    """What is wrong with the elements of p, which should be those of q."""
    if p.size == 0 or p.dtype.kind not in "fc":
        wrong = p != q
    else:
        p, q = p.astype(np.float64), q.astype(np.float64)
        with np.errstate(all="ignore"):
            scale = np.max(np.abs(q), initial=0.0, where=np.isfinite(q))
            wrong = ~np.isclose(p, q, rtol, rtol / 100 * max(scale, 1.0), equal_nan=True)
    if not np.any(wrong):
        return None
    count = f"{np.count_nonzero(wrong)} of {p.size}"
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    got, expected = p[first], q[first]
    place = f" at {first}" if first else ""
    return f"{count} differ, {got:.6g} not {expected:.6g}{place}"


def difference(name: str, sample: Any) -> Difference | None:
    """Where our call of the op parts from PyTorch's; None where it does not."""
    op = OPS[name]
    function = ours(op)
    if function is None:
        raise LookupError(f"there is no {name} here")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return _difference(op, function, sample)
        except ForeignError as error:
            return Difference(0, f"no counterpart of {error}")


def _difference(op: Any, function: Function, sample: Any) -> Difference | None:
    name = op.full_name
    pairs = Pairs()
    (x, args, options), (y, our_args, our_options) = pairs.of(
        [sample.input, sample.args, sample.kwargs]
    )
    theirs = op(x, *args, **options)
    try:
        mine = function(y, *our_args, **our_options)
    except Exception as error:
        return Difference(0, f"{type(error).__name__}: {first_line(error)}")
    random = drawn(name, sample)
    process = sample.output_process_fn_grad
    chosen = process if name.split(".singular")[0] in UP_TO_SIGN else lambda result: result
    if what := unlike(chosen(mine), chosen(theirs), values=not random):
        return Difference(0, what)
    for a, b in () if random else pairs.constants():
        if what := unlike(b, a):
            return Difference(0, f"what is written into an argument: {what}")
    if random or not op.supports_autograd:
        return None
    orders = (1, 2) if op.supports_gradgrad else (1,)
    mine, theirs = list(leaves(process(mine))), list(leaves(process(theirs)))
    return derivatives(pairs.differentiated(), mine, theirs, orders)


def first_line(error: Exception) -> str:
    return (str(error).strip() or "no message").splitlines()[0]


def derivatives(
    inputs: list[tuple[Any, Any]], mine: list[Any], theirs: list[Any], orders: tuple[int, ...]
) -> Difference | None:
    """The gradient of the results along a random cotangent; then that of the gradients.

    `inputs` are pairs of PyTorch's tensor and ours.
    """
    rng = np.random.default_rng(0)
    for order in orders:
        kept = [
            (a, b)
            for a, b in zip(mine, theirs, strict=True)
            if isinstance(b, torch.Tensor) and b.requires_grad
        ]
        if not kept or not inputs:
            return None
        along = [rng.standard_normal(tuple(b.shape)).astype(array_of(b).dtype) for _, b in kept]
        try:
            expected = torch.autograd.grad(
                [b for _, b in kept],
                [b for b, _ in inputs],
                [torch.from_numpy(np.asarray(v)) for v in along],
                create_graph=order < len(orders),
                allow_unused=True,
            )
        except (RuntimeError, NotImplementedError):
            return None  # PyTorch has no such derivative
        differentiable = [i for i, (a, _) in enumerate(kept) if a.requires_grad]
        found: list[Any] = [None] * len(inputs)
        if differentiable:
            try:
                found = list(
                    tg.grad(
                        [kept[i][0] for i in differentiable],
                        [a for _, a in inputs],
                        [tg.Tensor(along[i]) for i in differentiable],
                        create_graph=order < len(orders),
                        allow_unused=True,
                    )
                )
            except Exception as error:
                return Difference(order, f"{type(error).__name__}: {first_line(error)}")
        for (b, a), g, h in zip(inputs, found, expected, strict=True):
            if g is not None and (g.shape, g.dtype) != (a.shape, a.dtype):
                return Difference(order, f"{g.dtype} {g.shape} for {a.dtype} {a.shape}")
            zero = np.zeros(tuple(b.shape))
            p, q = (zero if v is None else array_of(v) for v in (g, h))
            if what := distance(p, q):
                return Difference(order, what)
        mine, theirs = [], []
        for (_, a), g, h in zip(inputs, found, expected, strict=True):
            if h is not None:
                mine.append(tg.zeros(*a.shape, dtype=a.dtype) if g is None else g)
                theirs.append(h)
    return None


# ----- what PyTorch refuses ----------------------------------------------------------------------


class Accepted(NamedTuple):
    """A call that PyTorch refuses, and that goes through here or fails without saying why."""

    sample: Any
    what: str

    def __str__(self) -> str:
        return f"({described(self.sample)}): {self.what}"


@cache
def refused(name: str) -> list[Any]:
    """The samples that PyTorch refuses, without those that have no counterpart here."""
    op = OPS[name]
    if op.error_inputs_func is None:
        return []
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        set_rng_seed(0)
        for call in op.error_inputs_func(op, "cpu"):
            sample = call.sample_input
            try:
                (x, args, options), _ = Pairs().of([sample.input, sample.args, sample.kwargs])
            except ForeignError:
                continue
            try:
                op(x, *args, **options)
            except Exception:  # some builds of PyTorch take a call that others refuse
                found.append(sample)
    return found


@cache
def accepted(name: str, device: str = "cpu") -> list[Accepted]:
    """Those of the refused samples that raise no error here, or one without a message."""
    function = ours(OPS[name])
    assert function is not None
    assert device == tg.get_default_device()
    found = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for sample in refused(name):
            _, (x, args, options) = Pairs().of([sample.input, sample.args, sample.kwargs])
            try:
                function(x, *args, **options)
            except (TypeError, ValueError, RuntimeError, LookupError) as error:
                if not str(error):
                    found.append(Accepted(sample, f"{type(error).__name__} with no message"))
            except Exception as error:
                found.append(Accepted(sample, f"{type(error).__name__}: {first_line(error)}"))
            else:
                found.append(Accepted(sample, "goes through"))
    return found


# ----- as methods --------------------------------------------------------------------------------


def variants(op: Any) -> dict[str, Function | None]:
    """The methods that PyTorch has beside the function, and ours of those names."""
    theirs = (op.method_variant, op.inplace_variant)
    names = [getattr(method, "__name__", "__") for method in theirs]
    return {
        name: getattr(tg.Tensor, name, None)
        for name in names
        if name[:2] != "__" and hasattr(torch.Tensor, name)
    }


def method_difference(name: str, sample: Any, method: str) -> str | None:
    """Where our method of that name (in place where it ends in "_") parts from PyTorch's."""
    pairs = Pairs()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            (x, args, options), (y, our_args, our_options) = pairs.of(
                [sample.input, sample.args, sample.kwargs]
            )
        except ForeignError:
            return None
        if not isinstance(x, torch.Tensor):
            return None
        x, y = x.detach().clone(), y.detach().clone()
        shape = x.shape
        try:
            theirs = getattr(x, method)(*args, **options)
        except Exception:
            return None  # PyTorch has no such form of this call
        if method in ("addbmm_", "baddbmm_") and x.shape != shape:
            return None  # there it has grown, which no other method in place does
        try:
            # In place nothing is recorded here, and where a gradient is asked for it is an error.
            with tg.no_grad() if method.endswith("_") else nullcontext():
                mine = getattr(y, method)(*our_args, **our_options)
        except Exception as error:
            return f"{method}: {type(error).__name__}: {first_line(error)}"
        values = not drawn(name, sample) and name not in UP_TO_SIGN
        what = unlike(mine, theirs, values)
        if what is None and method.endswith("_"):
            what = unlike(y, x, values)
        return what and f"{method}: {what}"


# ----- the table ---------------------------------------------------------------------------------

NUMBERS = re.compile(r"-?\b\d[\d.]*(e[+-]?\d+)?|\bnan\b|\binf\b")


@cache
def failures(name: str, device: str = "cpu") -> dict[int, Difference]:
    """The samples of an op that fail, by their place in the list; `device` is the default one."""
    assert device == tg.get_default_device()
    found = {i: difference(name, sample) for i, sample in enumerate(samples(name))}
    return {i: different for i, different in found.items() if different is not None}


def explained(name: str, sample: Any, order: int, known: list[Known]) -> bool:
    """Whether the list has a reason for it."""
    return any(entry.explains(name, sample, order) for entry in known)


def unexplained(name: str, device: str = "cpu") -> dict[int, Difference]:
    """Those of the failures that have no reason in op_db_known."""
    return {
        i: different
        for i, different in failures(name, device).items()
        if not explained(name, samples(name)[i], different.order, KNOWN)
    }


def unduly_accepted(name: str, device: str = "cpu") -> list[Accepted]:
    """Those of the accepted calls that have no reason in op_db_known."""
    calls = accepted(name, device)
    return [call for call in calls if not explained(name, call.sample, 0, KNOWN_ACCEPTED)]


def kinds(name: str) -> list[str]:
    """One line for each kind of failure of an op: how many samples, the first, and what it says."""
    by_kind: dict[str, list[int]] = {}
    for i, different in unexplained(name).items():
        by_kind.setdefault(NUMBERS.sub("#", str(different))[:80], []).append(i)
    found = []
    for places in by_kind.values():
        first = places[0]
        call = described(samples(name)[first])
        found.append(f"{len(places)} x {failures(name)[first]}  [{first}: {call}]")
    return found


def lines(names: list[str]) -> Iterator[str]:
    """The table of the ops of those names."""
    for name in names:
        if unexplained(name):
            yield f"{name}: {len(unexplained(name))} of {len(samples(name))} fail"
            yield from (f"    {line}" for line in kinds(name))
        methods = variants(OPS[name])
        wrong: dict[str, str] = {}
        for method in (m for m, f in methods.items() if f is not None):
            for i, sample in enumerate(samples(name)):
                what = None if i in failures(name) else method_difference(name, sample, method)
                if what is not None:
                    kind = NUMBERS.sub("#", what)[:80]
                    wrong.setdefault(kind, f"    method {what}  [{described(sample)}]")
        if wrong:
            yield f"{name}: as a method"
            yield from wrong.values()
        if found := unduly_accepted(name):
            yield f"{name}: PyTorch refuses"
            yield from (f"    {call}" for call in found)


def main(patterns: list[str]) -> None:
    """Print the samples that fail of the ops that hold one of the patterns, or the whole table."""
    torch.set_num_threads(1)
    common = sorted(name for name, op in OPS.items() if ours(op) is not None)
    names = [name for name in common if not patterns or any(p in name for p in patterns)]
    for line in lines(names):
        print(line if patterns else line[:240])
    total = sum(len(samples(name)) for name in names)
    failing = sum(len(failures(name)) for name in names)
    refusals = sum(len(refused(name)) for name in names)
    without_reason = sum(len(unexplained(name)) for name in names)
    through = sum(len(accepted(name)) for name in names)
    unduly = sum(len(unduly_accepted(name)) for name in names)
    share = 1 - failing / max(total, 1)
    print(f"\n{len(names)} ops: {total - failing} of {total} samples agree, {share:.2%};", end=" ")
    print(f"{without_reason} of the others have no reason in op_db_known.")
    print(f"Of {refusals} calls that PyTorch refuses {refusals - through} are refused;", end=" ")
    print(f"{unduly} of the others have no reason in op_db_known.")
    if patterns:
        return
    names_of_common = {OPS[name].name for name in common}
    missing = {
        "Only in PyTorch": {op.name for op in OPS.values()} - names_of_common,
        "Other names of common ops": {
            alias.name
            for name in common
            for alias in OPS[name].aliases
            if _named(alias.name) is None
        },
        "Methods of common ops": {
            method for name in common for method, f in variants(OPS[name]).items() if f is None
        },
    }
    for what, found in missing.items():
        print(f"\n{what} ({len(found)}):", *sorted(found))


if __name__ == "__main__":
    main(sys.argv[1:])
