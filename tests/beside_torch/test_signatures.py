"""What a call may say by name and by place: our signatures beside PyTorch's.

PyTorch's are the schemas of its compiled functions, one for each form of a call, and the signatures
of those that are written in Python. Every form must fit ours: the same names, in the same order
where they may stand without a name, with the same defaults, and nothing more that has to be given.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch

import tinygrad_cv as tg
from tinygrad_cv._inputs import ALSO
from tinygrad_cv._public import FUNCTIONAL, LINALG, METHOD, PUBLIC, TOP

pytestmark = pytest.mark.host  # nothing is computed

SPACES: dict[str, tuple[Any, str]] = {
    TOP: (torch, ""),
    METHOD: (torch.Tensor, ""),
    LINALG: (torch.linalg, "linalg_"),
    FUNCTIONAL: (torch.nn.functional, ""),
}

ANYWHERE = {
    "out": "refused in one place, with a sentence",
    "generator": "taken by name, after everything else",
    "layout": "there is one layout",
    "memory_format": "there is one memory format",
    "pin_memory": "nothing is held for a GPU",
    "out_dtype": "cuBLAS's; the result is converted instead",
    "size_average": "older than reduction=",
    "reduce": "older than reduction=",
    "_stacklevel": "private",
    "implicit": "private",
    "non_blocking": "see Tensor.to",
    "values": "an out= by its name",
    "indices": "an out= by its name, or see ALSO",
    "cudnn_enabled": "private",
    "cudnn_enable": "private",
}
"""Names of theirs that no function of ours has, and why."""

KNOWN = {
    "add sub subtract rsub add_ sub_ subtract_: alpha": "taken by name only, as documented",
    "batch_norm instance_norm": "the order of torch.nn.functional, which programs call",
    "dropout alpha_dropout feature_alpha_dropout bilinear: *": "those of torch.nn.functional",
    "embedding: *": "those of torch.nn.functional",
    "binary_cross_entropy_with_logits cosine_embedding_loss hinge_embedding_loss kl_div "
    "margin_ranking_loss poisson_nll_loss triplet_margin_loss ctc_loss: *": (
        "those of torch.nn.functional, where a reduction is a word"
    ),
    "max min: max max_values min_indices min": "an out= by its name",
    "std var std_mean var_mean: unbiased": "may stand in the place of dim; None means True",
    "linspace logspace: dtype": "None is the default dtype",
    "cumulative_trapezoid trapezoid trapz: dx": "None means 1",
    "gradient: spacing": "None means 1",
    "meshgrid: indexing": "None means ij, and warns",
    "eigh eigvalsh: UPLO": "None takes the symmetric part; a named triangle counts alone",
    "to: *": "what it takes without a name is told apart by its kind",
    "randint_like: *": "one bound is the upper one",
    "softmax log_softmax softmin: dtype": "taken by name only",
    "repeat_interleave: repeats": "the one argument of its shortest form",
    "sort: stable": "may stand behind",
    "random_: to": "one bound is the upper one",
    "uniform_ random_: from": "no name in Python",
    "load save: *": "safetensors and a reader of .pth that executes nothing",
    "from_dlpack: device copy": "always a copy",
    "backward: *": "retain_graph=None means create_graph",
    "cholesky_solve: input2 L": "documented as L",
    "tensorsolve: other B": "documented as B",
    "lstsq: b B": "documented as B",
    "isin: test_element test_elements": "one name, whatever is a number",
    "max min: other": "another tensor may stand in the place of dim",
    "nuclear_norm: keepdim": "a form without dim is called by name",
    "result_type: other": "any number of tensors",
    "new_empty new_ones new_zeros: size": "several numbers, or one size",
    "elu_: scale input_scale": "private",
    "set_: *": "there are no storages",
    "view: dtype": "told apart from a size by its kind",
    "where: other": "the condition alone is for the function",
    "cross_entropy nll_loss: ignore_index": "None: every label must be a class",
    "huber_loss l1_loss mse_loss: weight": "not here",
    "scatter scatter_: value": "the value may stand in the place of src",
}
"""Functions and what of their parameters differs (nothing said: the order), and why."""


class Parameter(NamedTuple):
    """One of theirs."""

    name: str
    by_name: bool
    default: Any


SCRIPTED = {"eq": {"b"}, "ne": {"b"}, "sort": {"reverse"}, "copy_": {"other"}}
"""Forms that only compiled programs have, told by a name."""

EMPTY = inspect.Parameter.empty


def forms(space: Any, prefix: str, name: str) -> Iterator[list[Parameter]]:
    """Each way in which PyTorch's function is called, without the tensor of a method."""
    theirs = getattr(space, name)
    if inspect.isfunction(theirs):
        parameters = [*inspect.signature(theirs).parameters.values()]
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
            return
        yield [Parameter(p.name, p.kind is p.KEYWORD_ONLY, p.default) for p in parameters]
        return
    for schema in torch._C._jit_get_schemas_for_operator(f"aten::{prefix}{name}"):
        arguments = schema.arguments
        if not arguments or "Tensor" not in str(arguments[0].type):
            continue  # a form of compiled programs, on numbers
        if "Dimname" in str(schema) or "str[]" in str(schema) or any(a.is_out for a in arguments):
            continue
        if {a.name for a in arguments} & SCRIPTED.get(name, set()):
            continue
        yield [
            Parameter(
                "input" if a.name == "self" else a.name,
                a.kwarg_only,
                a.default_value if a.has_default_value() else EMPTY,
            )
            for a in arguments
        ]


def same(ours: Any, theirs: Any) -> bool:
    """Whether two defaults mean the same: 1 is [1, 1] for two axes, and () is no axis."""
    if isinstance(theirs, list):
        return (ours is None and not theirs) or ours in (tuple(theirs), *set(theirs[:1]))
    if isinstance(theirs, str) and theirs == "valid":
        return bool(ours == 0)
    return bool(ours == theirs) or (theirs is None and ours in (0.0, "float32", False))


def differences(place: str, name: str, function: Callable[..., Any]) -> set[tuple[str, str]]:
    """(what, which parameter) of each way in which a form of theirs does not fit ours."""
    space, prefix = SPACES[place]
    parameters = inspect.signature(function).parameters
    names, found = list(parameters), set()
    for form in forms(space, prefix, name):
        theirs = [
            p
            for p in form
            if p.name not in ANYWHERE
            or (
                p.name not in ("generator", "memory_format")
                and {p.name, ALSO.get(p.name)} & {*names}
            )
        ]
        method, ours = place == METHOD, names
        if method:
            theirs, ours = [p for p in theirs if p.name not in ("input", "self")], names[1:]
        older = "size_average" in [p.name for p in form]  # who calls it by place gives those too
        for i, their in enumerate(theirs):
            known_as = their.name
            if known_as not in ours:
                known_as = ALSO.get(known_as, known_as)
            first = i == 0 and not method  # PyTorch's documentation calls it A, x, self or input
            known_as = ours[0] if first and known_as not in ours and ours else known_as
            if known_as not in ours:
                found.add(("lacks", their.name))
                continue
            our = parameters[known_as]
            if our.kind is our.VAR_POSITIONAL:
                continue
            if not (their.by_name or (older and our.kind is our.KEYWORD_ONLY)) and (
                our.kind is our.KEYWORD_ONLY or ours.index(known_as) != i
            ):
                found.add(("place", their.name))
            if their.default is not EMPTY and our.default is EMPTY:
                found.add(("no default", their.name))
            elif their.default is not EMPTY and not same(our.default, their.default):
                found.add(("default", their.name))
        given = {ALSO.get(p.name, p.name) for p in theirs} | {p.name for p in theirs}
        for j, needed in enumerate(ours):
            p = parameters[needed]
            if p.default is EMPTY and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                found |= {("needs", needed)} if j and needed not in given else set()
    return found


def known(name: str, what: str, parameter: str) -> bool:
    """Whether a difference stands in the table."""
    for entry in KNOWN:
        names, _, which = entry.partition(":")
        if name in names.split() and (not which or {"*", parameter} & {*which.split()}):
            return True
    return False


def functions(place: str) -> dict[str, Callable[..., Any]]:
    """Ours that PyTorch has as well; of a tensor all methods."""
    found = dict(PUBLIC[place])
    if place == METHOD:
        found |= {
            name: value
            for name, value in vars(tg.Tensor).items()
            if name[0] != "_" and inspect.isfunction(value)
        }
    space = SPACES[place][0]
    return {
        name: function
        for name, function in found.items()
        if hasattr(space, name) and not inspect.isclass(function)
    }


@pytest.mark.parametrize("place", SPACES)
def test_a_call_of_pytorchs_fits(place: str) -> None:
    wrong = [
        f"{name}: {what} {parameter}; ours is {inspect.signature(function)}"
        for name, function in sorted(functions(place).items())
        for what, parameter in sorted(differences(place, name, function))
        if not known(name, what, parameter)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_comparison_sees_what_differs() -> None:
    def softplus(input: Any, threshold: Any = 20.0, beta: Any = 1.0, *, more: Any) -> None: ...

    assert differences(FUNCTIONAL, "softplus", softplus) == {
        ("place", "beta"),
        ("place", "threshold"),
        ("needs", "more"),
    }

    def permute(input: Any, axes: Any) -> None: ...

    assert differences(TOP, "permute", permute) == {("lacks", "dims"), ("needs", "axes")}

    def cumsum(input: Any, dim: Any, *, dtype: Any = 1) -> None: ...

    assert differences(TOP, "cumsum", cumsum) == {("default", "dtype")}
    forms_seen = sum(
        1 for place in SPACES for name in functions(place) for _ in forms(*SPACES[place], name)
    )
    assert forms_seen > 700
