"""Hold the table of absent names beside PyTorch (extra `bench`).

    python -m tests.absent            says what is missing in it, and what is there by now
    python -m tests.absent --prune    takes the names that are there by now out of it

A name of PyTorch is here, or in `tinygrad_cv._absent`, or it is none of a user's: see `is_public`.
"""

import argparse
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from tinygrad_cv import _absent
from tinygrad_cv._absent import ABSENT

PLACES = {
    "torch": "tinygrad_cv",
    "torch.Tensor": "tinygrad_cv.Tensor",
    "torch.autograd": "tinygrad_cv.autograd",
    "torch.backends": "tinygrad_cv.backends",
    "torch.backends.cudnn": "tinygrad_cv.backends.cudnn",
    "torch.cuda": "tinygrad_cv.cuda",
    "torch.cuda.amp": "tinygrad_cv.cuda.amp",
    "torch.distributions": "tinygrad_cv.distributions",
    "torch.func": "tinygrad_cv.func",
    "torch.linalg": "tinygrad_cv.linalg",
    "torch.nn": "tinygrad_cv.nn",
    "torch.nn.functional": "tinygrad_cv.nn.functional",
    "torch.nn.init": "tinygrad_cv.nn.init",
    "torch.nn.utils": "tinygrad_cv.nn.utils",
    "torch.nn.utils.parametrizations": "tinygrad_cv.nn.utils.parametrizations",
    "torch.nn.utils.parametrize": "tinygrad_cv.nn.utils.parametrize",
    "torch.nn.utils.rnn": "tinygrad_cv.nn.utils.rnn",
    "torch.optim": "tinygrad_cv.optim",
    "torch.optim.lr_scheduler": "tinygrad_cv.optim.lr_scheduler",
    "torch.optim.swa_utils": "tinygrad_cv.optim.swa_utils",
    "torch.random": "tinygrad_cv.random",
    "torch.utils": "tinygrad_cv.utils",
    "torch.utils.checkpoint": "tinygrad_cv.utils.checkpoint",
    "torch.utils.data": "tinygrad_cv.utils.data",
}
"""Each namespace of PyTorch's, and ours."""

INNER = re.compile(
    r"(cudnn|miopen|mkldnn|fbgemm|quantized|profiler_allow)_.*"  # kernels
    r"|(get|set|is|clear)_autocast_.*|autocast_(in|de)crement_nesting"  # what autocast calls
    r"|import_ir_module.*|parse_.*|unify_type_list|merge_type_from_type_comment|.*Type|AVG|SUM"
    r"|(Disable|Exclude).*|USE_.*|TYPE_CHECKING|PRIVATE_OPS|DEVICE_REQUIREMENT|PYTORCH_RELEASES.*"
    r"|.*_notes|factory_kwargs|common_types|classproperty|legacy_contiguous_format|Tag"
    r"|init_num_threads|handle_torch_function|has_torch_function.*|FatalError|JITException"
    r"|classes|cpp|types|windows|m|is_anomaly_.*|thread_safe_generator|amp_definitely_not_available|common|autocast_mode|grad_scaler|rearrange|set_anomaly_enabled|index|PackedSequence_"
    r"|ParamSpec|[TP]|R_co|T_co|.*_co"
)
"""Names that PyTorch leaves lying about: no program needs them."""


LISTED = re.compile(
    r"torch\.(random|distributions|func|utils\.checkpoint|optim\.\w+|nn\.utils\.\w+)"
)
"""Modules whose `__all__` says what they hold for users."""


def names_of(path: str) -> list[str]:
    """The names of a namespace of PyTorch's that a program could use."""
    owner = found(path)
    names = owner.__all__ if LISTED.fullmatch(path) else dir(owner)
    return [name for name in names if is_public(owner, name)]


def found(path: str) -> Any:
    """A module, or the class Tensor; None if it is not here."""
    if path.endswith(".Tensor"):
        return import_module(path.removesuffix(".Tensor")).Tensor
    try:
        return import_module(path)
    except ImportError:
        return None


def is_public(owner: Any, name: str) -> bool:
    """Whether a name in a namespace of PyTorch is one that a program could use."""
    value = getattr(owner, name, None)
    if name.startswith("_") or INNER.fullmatch(name):
        return False
    if isinstance(value, ModuleType):
        return value.__name__.split(".")[0] == "torch" and value.__name__ != "torch"
    if type(value).__module__ == "pybind11_builtins":
        return False
    home = str(getattr(value, "__module__", None) or type(value).__module__)
    return home.split(".")[0] not in sys.stdlib_module_names - {"builtins"}


def missing() -> dict[str, list[str]]:
    """By place the names of PyTorch's that are neither here nor in the table."""
    lacks = {}
    for theirs, ours in PLACES.items():
        own = found(ours)
        if own is None:
            lacks[ours] = ["(the whole of it)"]
            continue
        known = ABSENT.get(ours, {})
        lacks[ours] = [
            name for name in names_of(theirs) if name not in known and not hasattr(own, name)
        ]
    return {place: names for place, names in lacks.items() if names}


def stale() -> list[tuple[str, str]]:
    """The entries of the table that are there: place and name."""
    return [
        (place, name)
        for place, names in ABSENT.items()
        for name in names
        if (own := found(place)) is not None and hasattr(own, name)
    ]


def prune() -> None:
    """Take the stale names out of the source of the table."""
    path = Path(_absent.__file__)
    source = path.read_text(encoding="utf-8")
    gone = stale()
    for places, names, words in _absent.GROUPS:
        places_of = {
            name: [p for p, n in gone if n == name and p in places] for name in names.split()
        }
        kept = [name for name, where in places_of.items() if not where]
        if len(kept) == len(places_of):
            continue
        begin = source.index(words[:40])
        start = source.rindex("    (\n", 0, begin)
        block = source[start : source.index("    ),\n", begin) + len("    ),\n")]
        changed = block
        for name in places_of.keys() - set(kept):
            changed = re.sub(rf"(?<=[\" ]){re.escape(name)}(?=[\" ]) ?", "", changed, count=1)
        source = source.replace(block, changed if kept else "", 1)
    path.write_text(source, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.absent", description=__doc__)
    parser.add_argument("--prune", action="store_true", help="take out what is there by now")
    if parser.parse_args().prune:
        prune()
        return
    for place, name in stale():
        print(f"is there by now: {place}.{name}")
    for place, names in missing().items():
        print(f"neither here nor in the table: {place}: {' '.join(names)}")


if __name__ == "__main__":
    main()
