"""The one table of public names: what the places hold, what `help` says, what checkers read."""

import inspect
import os
import pydoc
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stubs
import tinygrad_cv as tg
from tinygrad_cv import nn
from tinygrad_cv._op import REGISTRY
from tinygrad_cv._public import (
    AMP,
    AUTOGRAD,
    AUTOGRAD_FUNCTIONAL,
    DISTRIBUTIONS,
    FUNC,
    FUNCTIONAL,
    IN_PLACE,
    INIT,
    LINALG,
    METHOD,
    NN,
    OPTIM,
    PUBLIC,
    SCHEDULERS,
    TOP,
    public,
)
from tinygrad_cv.ops import activation
from tinygrad_cv.testing import check_gradients

pytestmark = pytest.mark.host  # nothing is computed

ROOT = Path(__file__).parent.parent
MODULES = {
    TOP: tg,
    FUNCTIONAL: nn.functional,
    LINALG: tg.linalg,
    NN: nn,
    INIT: nn.init,
    OPTIM: tg.optim,
    SCHEDULERS: tg.optim.lr_scheduler,
    AUTOGRAD: tg.autograd,
    AUTOGRAD_FUNCTIONAL: tg.autograd.functional,
    FUNC: tg.func,
    AMP: tg.amp,
    DISTRIBUTIONS: tg.distributions,
}


THINGS = list({id(thing): thing for names in PUBLIC.values() for thing in names.values()}.values())
"""What is public, each once."""


# ----- what the places hold ----------------------------------------------------------------------


@pytest.mark.parametrize("place", MODULES)
def test_a_module_holds_its_part_of_the_table(place: str) -> None:
    module, names = MODULES[place], PUBLIC[place]
    assert {name: getattr(module, name) for name in names} == names
    assert set(module.__all__) >= names.keys()
    taken: dict[str, Any] = {}
    exec(f"from {place} import *", taken)
    assert taken.keys() - {"__builtins__"} == set(module.__all__)


def test_nothing_accidental_is_public() -> None:
    for place in (FUNCTIONAL, LINALG):
        shown = {name for name in dir(MODULES[place]) if not name.startswith("_")}
        assert shown == PUBLIC[place].keys()
    dtypes = {"bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8"}
    dtypes |= {"half", "float", "double", "short", "int", "long"}
    formats = {"channels_last", "channels_last_3d", "contiguous_format", "preserve_format"}
    values = {"default_generator", "dtype", "e", "inf", "nan", "newaxis", "pi", "strided"}
    constants = dtypes | formats | values
    others = {name for name in dir(tg) if name[0] != "_"} - PUBLIC[TOP].keys() - constants
    assert all(isinstance(getattr(tg, name), ModuleType) for name in others)
    assert set(tg.__all__) == PUBLIC[TOP].keys() | constants | {"data", "linalg", "nn", "optim"}
    assert others >= {"data", "linalg", "nn", "onnx", "optim", "testing", "train", "viz"}


def test_no_name_hides_a_module() -> None:
    """`tinygrad_cv.graph` was once a function, and a module with another content."""
    for package in ["", ".data", ".nn", ".onnx", ".ops", ".optim", ".testing", ".train", ".viz"]:
        above = import_module(f"tinygrad_cv{package}")
        for found in iter_modules(above.__path__):
            name = f"{above.__name__}.{found.name}"
            if name != "tinygrad_cv.__main__":
                assert getattr(above, found.name, None) in (None, import_module(name)), name


def test_tensor_has_the_methods() -> None:
    for name, thing in PUBLIC[METHOD].items():
        assert getattr(tg.Tensor, name) is thing
    assert PUBLIC[IN_PLACE].items() <= PUBLIC[METHOD].items()
    for name in PUBLIC[IN_PLACE]:
        method = getattr(tg.Tensor, f"{name}_")
        assert method.__qualname__ == f"Tensor.{name}_"
        assert name in (inspect.getdoc(method) or "")


def test_a_public_thing_is_defined_where_it_says() -> None:
    for thing in THINGS:
        assert inspect.getdoc(thing), thing
        assert any(thing.__name__ in names for names in PUBLIC.values()), thing
        method = thing.__qualname__.startswith("Tensor.")
        assert (
            getattr(tg.Tensor if method else import_module(thing.__module__), thing.__name__)
            is thing
        )


@pytest.fixture
def _own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test makes public goes with it."""
    for place, names in PUBLIC.items():
        monkeypatch.setitem(PUBLIC, place, dict(names))


@pytest.mark.usefixtures("_own_table")
def test_a_name_is_given_once() -> None:
    def relu() -> None: ...

    with pytest.raises(TypeError, match=r"tinygrad_cv has a relu already, .*activation.relu; .*"):
        public(TOP)(relu)
    with pytest.raises(TypeError, match=r"tinygrad_cv has a absolute already"):
        public(TOP, name="rectified", also="absolute")(relu)
    assert public(TOP)(tg.relu) is tg.relu  # a cell of a notebook, run twice


@pytest.mark.usefixtures("_own_table")
def test_the_page_on_adding_an_op_is_right() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = page.partition("## Adding an op\n")[2].partition("\n## ")[0]
    [program] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    family = dict(vars(activation))
    exec(program, family)
    assert PUBLIC[METHOD]["softplus2"] is PUBLIC[FUNCTIONAL]["softplus2"] is family["softplus2"]
    x = tg.tensor([-1.0, 0.5, 3.0], dtype="float64")
    check_gradients(family["softplus2"], [x])
    assert tg.allclose(family["softplus2"](x), (1 + tg.exp2(x)).log2())
    for name in re.findall(r"`([\w/]+\.pyi?)`", section):
        assert [*ROOT.glob(f"*/**/{name}")] or (ROOT / name).exists(), name


# ----- what help says ----------------------------------------------------------------------------


def test_help_shows_the_functions_with_their_signatures() -> None:
    text = pydoc.plain(pydoc.render_doc(tg))
    for name, thing in PUBLIC[TOP].items():
        if inspect.isfunction(thing):
            known_as = name if name == thing.__name__ else f"{name} = {thing.__name__}"
            assert f"\n    {known_as}(" in text
    assert "relu(input: tinygrad_cv._tensor.Tensor) -> tinygrad_cv._tensor.Tensor" in text


def test_no_public_function_hides_its_signature() -> None:
    allowed = {tg.checkpoint, tg.apply, tg.graph, tg.result_type}
    for thing in filter(inspect.isfunction, THINGS):
        parameters = inspect.signature(thing).parameters.values()
        assert all(p.annotation is not p.empty or p.name == "self" for p in parameters), thing
        assert inspect.signature(thing).return_annotation is not inspect.Signature.empty, thing
        if thing not in allowed:
            assert not any(p.kind is p.VAR_KEYWORD for p in parameters), thing


def test_a_method_in_place_has_the_signature_of_its_origin() -> None:
    for name, thing in PUBLIC[IN_PLACE].items():
        assert inspect.signature(getattr(tg.Tensor, f"{name}_")) == inspect.signature(thing)
    x = tg.zeros(2)
    assert list(inspect.signature(x.relu).parameters) == []
    assert list(inspect.signature(x.clamp_).parameters) == ["min", "max"]
    assert "self" not in inspect.signature(x.new_zeros).parameters


class Probe(tg.Op, register=False):
    """x, and two inputs that may be missing."""

    scale: float
    shift: int = 0

    def forward(self, xp: Any, x: Any, y: Any = None, z: Any = None) -> Any:
        return x

    def grad_x(self, F: Any, g: Any) -> Any:
        return g

    grad_y = grad_z = grad_x


class Several(tg.Op, register=False):
    """As many as there are."""

    nondifferentiable = ("xs",)

    def forward(self, xp: Any, first: Any, *xs: Any) -> Any:
        return first

    def grad_first(self, F: Any, g: Any) -> Any:
        return g


def test_the_signature_of_an_op() -> None:
    signature = inspect.signature(tg.function(Probe, "input", "other", "third"))
    optional = "input: Any, other: Any = None, third: Any = None"
    assert str(signature).startswith(f"({optional}, *, scale: float, shift: int = 0) -> ")
    assert signature.return_annotation is tg.Tensor
    assert str(inspect.signature(tg.function(Several))).startswith("(first: Any, *xs: Any) -> ")


names = st.sampled_from(["input", "other", "third", "scale", "shift", "x"])


@given(st.integers(0, 4), st.lists(names, max_size=4, unique=True))
def test_a_signature_takes_what_the_function_takes(count: int, named: list[str]) -> None:
    if "third" in named and count < 2 and "other" not in named:
        return  # an input that may be missing is not left out before another
    probe = tg.function(Probe, "input", "other", "third")
    values: dict[str, Any] = {name: tg.ones(2) for name in ("input", "other", "third", "x")}
    options = {name: values.get(name, 1) for name in named}
    inputs = [tg.ones(2)] * count
    try:
        inspect.signature(probe).bind(*inputs, **options)
    except TypeError:
        with pytest.raises(TypeError):
            probe(*inputs, **options)
    else:
        assert probe(*inputs, **options).tolist() == [1, 1]


def test_the_signature_of_each_op_is_that_of_its_forward() -> None:
    for op in REGISTRY.values():
        found = inspect.signature(tg.function(op)).parameters.values()
        inputs = [(p.name, p.kind, p.default) for p in found if p.kind is not p.KEYWORD_ONLY]
        forward = list(inspect.signature(op.forward).parameters.values())[2:]
        assert inputs == [(p.name, p.kind, p.default) for p in forward]
        attributes = {p.name: p.default for p in found if p.kind is p.KEYWORD_ONLY}
        assert attributes == {
            name: getattr(op, name, inspect.Parameter.empty) for name in attributes
        }
        assert attributes.keys() == op.attributes.keys()


# ----- what type checkers read -------------------------------------------------------------------


def test_the_stubs_are_what_the_table_says() -> None:
    assert stubs.stale() == []


def test_a_stale_stub_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stubs, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["stubs"])
    stubs.main()
    assert stubs.stale() == []
    path = tmp_path / "methods.pyi"
    path.write_text(path.read_text().replace("def relu(self)", "def relu(self, slope: float)"))
    (tmp_path / "older.pyi").touch()
    assert stubs.stale() == ["methods.pyi", "older.pyi"]
    monkeypatch.setattr(sys, "argv", ["stubs", "--check"])
    with pytest.raises(SystemExit, match=r"stale: methods.pyi, older.pyi. Run python -m tests"):
        stubs.main()


PROGRAM = """
from typing import Any

import tinygrad_cv as tg
from tinygrad_cv.nn import functional as F


class Shift(tg.Op):
    by: float = 1.0

    def forward(self, xp: Any, x: Any) -> Any:
        return x + self.by

    def grad_x(self, F: Any, g: Any) -> Any:
        return g


x = tg.tensor([1.0, 2.0], requires_grad=True)
reveal_type((x * 2).sum())  # Tensor
reveal_type(2 - x @ x)  # Tensor
reveal_type(x == x)  # Tensor
reveal_type(x[0].T.float())  # Tensor
reveal_type(x.shape)  # Size
reveal_type(tg.relu(x))  # Tensor
reveal_type(F.relu(input=x))  # Tensor
reveal_type(tg.conv2d(x, x, stride=2))  # Tensor
reveal_type(tg.max(x))  # Tensor
reveal_type(tg.max(x, x))  # Tensor
reveal_type(tg.max(x, dim=0).indices)  # Tensor
reveal_type(x.max(axis=0).values)  # Tensor
reveal_type(x.median(0).values.add_(1))  # Tensor
reveal_type(x.split(1))  # tuple[Tensor, ...]
reveal_type(x.view(-1).clamp_(min=0).new_zeros(2))  # Tensor
reveal_type(tg.linalg.svd(x).S)  # Tensor
reveal_type(tg.linalg.cross(x, x))  # Tensor
reveal_type(tg.allclose(x, x))  # bool
reveal_type(tg.isclose(x, x))  # Tensor
(loss,) = tg.grad(x.sum(), x)
reveal_type(loss)  # Tensor | None
with tg.no_grad():
    x += 1
tg.viz.draw(x, backward=True)
tg.relu(x, dim=0)  # call-arg
tg.softmax(x, axes=0)  # call-arg
tg.linalg.inv(x, x)  # call-arg
x.relu(1)  # call-arg
x.exp_(3)  # call-arg
tg.relux(x)  # attr-defined
x.relux()  # attr-defined
F.add(x, x)  # attr-defined
tg.sigmoid("x")  # arg-type
Shift(to=2.0)  # call-arg
"""


def told(program: str, config: pytest.Config) -> list[str]:
    """What mypy says of a program, line by line: a type, the code of an error, or nothing."""
    folder = Path(config.cache.mkdir("mypy"))  # kept, so that only the first run is slow
    package = folder / "path" / "tinygrad_cv"
    package.mkdir(parents=True, exist_ok=True)
    for path in [*package.parent.parent.glob("path/tinygrad_cv/*")]:
        path.unlink()
    for path in [*(ROOT / "tinygrad_cv").iterdir(), ROOT / "viz"]:
        if path.name != "__pycache__":
            (package / path.name).symlink_to(path)
    (folder / "program.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    command += ["--config-file=", "--cache-dir=cache", "program.py"]
    environment = os.environ | {"MYPYPATH": str(package.parent)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    said = [""] * len(program.split("\n"))
    for line in done.stdout.splitlines():
        if found := re.match(
            r'program.py:(\d+): (?:note: Revealed type is "(.*)"|error: .*\[(.*)\])', line
        ):
            said[int(found[1]) - 1] = re.sub(r"[\w.]+\.(?=\w)", "", found[2] or found[3])
    assert done.stderr == ""
    return said


def test_a_typed_program(request: pytest.FixtureRequest) -> None:
    every = [f"tg.{name}" for name in PUBLIC[TOP]]
    every += [f"F.{name}" for name in PUBLIC[FUNCTIONAL]]
    every += [f"tg.linalg.{name}" for name in PUBLIC[LINALG]]
    every += [f"x.{name}" for name in PUBLIC[METHOD]] + [f"x.{name}_" for name in PUBLIC[IN_PLACE]]
    program = PROGRAM + "\n".join(every)
    said = told(program, request.config)
    for line, found in zip(program.split("\n"), said, strict=True):
        assert (line, found) == (line, line.partition("  # ")[2])
