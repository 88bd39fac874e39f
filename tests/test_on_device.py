"""Plans for a GPU: what is replayed gives what was recorded, and the generated kernels are C++."""

import ctypes
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import tinygrad_cv as tg
from test_plan import Recording, close, naive, numbers, programs
from tinygrad_cv import backend as backends
from tinygrad_cv.backend.recording import RecordingError
from tinygrad_cv.program.fuse import COMPARISONS, LOGICAL, REAL, WORTH_A_KERNEL, Group, grouped
from tinygrad_cv.program.instructions import Program
from tinygrad_cv.program.on_device import DevicePlan, source
from tinygrad_cv.program.plan import copied
from tinygrad_cv.testing import no_sync
from tinygrad_cv.testing.kernel_source import Body

pytestmark = pytest.mark.host


def check(program: Program, inputs: list[Any]) -> DevicePlan:
    """Replay a program on the stand-in, twice, and compare with its plain reading on the host."""
    xp: Any = backends.get("fakecuda:1")
    wanted = naive(program, inputs)
    there, _ = copied(program)
    touched = [v for i in there.instructions for v in (*i.reads(), *i.writes)]
    for v in {*touched, *there.outputs}:
        if v.kind == "held":
            v.array = xp.array(v.array, None)
    plan = DevicePlan(there, xp)
    for _ in range(2):
        results = plan.run([xp.array(x, None) for x in inputs])
        for a, b in zip(results, wanted, strict=True):
            close(xp.to_host(a), b)
    return plan


@given(programs())
def test_random_programs_give_what_they_give_step_by_step(chosen: Any) -> None:
    check(*chosen)


def test_a_chain_is_one_kernel() -> None:
    r = Recording()
    x, w = r.input(numbers(4, 5)), r.held(numbers(5, seed=1))
    y = r("tanh", r("add", r("multiply", x, w), 0.1))
    r("multiply", y, 2.0, out=y)
    plan = check(r.program(r("sum", y)), [numbers(4, 5)])
    assert [getattr(i, "function", "") for i in plan.order] == ["group", "sum"]
    assert len(plan.steps) == 2


def test_a_step_looks_at_what_another_one_of_its_kernel_made() -> None:
    r = Recording()
    y = r("add", r.input(numbers(4, 5)), 1.0)
    z = r("multiply", r("getitem", y, ...), 2.0)
    plan = check(r.program(z, r("transpose", y)), [numbers(4, 5)])
    assert len([i for i in plan.order if isinstance(i, Group)]) == 1


def test_results_lie_as_they_did_when_they_were_recorded() -> None:
    xp: Any = backends.get("fakecuda:1")
    r = Recording()
    y = r("multiply", r("add", r("transpose", r.input(numbers(4, 5))), 1.0), 2.0)
    (result,) = DevicePlan(r.program(y), xp).run([xp.array(numbers(4, 5), None)])
    assert result.strides == y.strides == (4, 20)


def test_values_go_when_nobody_reads_them_any_more() -> None:
    xp: Any = backends.get("fakecuda:0")
    r = Recording()
    x = r.input(numbers(3, 3))
    for _ in range(4):
        x = r("matmul", x, x)
    plan = DevicePlan(r.program(x), xp)
    assert [len(leaving) for _, leaving in plan.steps] == [1, 1, 1, 1]


# ----- generated source --------------------------------------------------------------------------

NAMES = sorted(
    REAL | COMPARISONS | LOGICAL.keys() | {"where", "where of truth", "to bool", "power"}
)
UNARY = {
    *("negative", "square", "reciprocal", "abs", "sqrt", "floor", "exp", "expm1", "log", "log1p"),
    *("tanh", "erf", "erfc", "isnan", "logical_not", "invert"),
}
SPECIAL = [0.0, -0.0, 0.3, -0.3, 1.0, -2.5, 88.0, 3e-39, math.inf, -math.inf, math.nan]


def program_of(name: str) -> tuple[Program, list[Any]]:
    """One call of an elementwise function on all pairs of SPECIAL, and they.

    They are so many that a single call is worth a kernel.
    """
    pairs = np.meshgrid(SPECIAL, SPECIAL)
    arrays = [np.tile(np.array(v, "float32").ravel(), 1 + WORTH_A_KERNEL // v.size) for v in pairs]
    r = Recording()
    a, b = map(r.input, arrays)
    if (name in LOGICAL and not name.startswith("logical")) or name == "where of truth":
        a, b = r("greater", a, 0.0), r("less_equal", a, 0.5)  # NaN is neither
    match name:
        case "where":
            y = r(name, r("greater", a, 0.5), b, -math.inf)
        case "where of truth":
            y = r("where", a, b, a)
        case "to bool":
            y = r("astype", a, "bool")
        case "power":
            y = r(name, a, 2)
        case _:
            y = r(name, *([a] if name in UNARY else [a, b]))
    return r.program(y), arrays


def compiled_by(compiler: str, folder: Path, sources: dict[str, tuple[Any, Any, str]]) -> Any:
    """The kernels as functions of pointers that do one element."""
    text = ["#include <cmath>"]
    for name, (inputs, outputs, body) in sources.items():
        given = [d.replace("float32", "float") for d, _ in (*inputs, *outputs)]
        pointers = ", ".join(d.replace(" ", "* p_") for d in given)
        references = " ".join(f"{d.replace(' ', '& ')} = *p_{d.split()[1]};" for d in given)
        text.append(f'extern "C" void do_{name}({pointers}) {{ {references} {body} }}')
    path, target = folder / "groups.cpp", folder / "groups.so"
    path.write_text("\n".join(text), encoding="utf-8")
    warnings = ("-Wall", "-Wextra", "-Werror", "-Wno-tautological-compare", "-Wno-float-equal")
    options = ("-std=c++11", "-O1", "-ffp-contract=off", "-shared", "-fPIC", *warnings)
    done = subprocess.run([compiler, *options, "-o", target, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(target))


def test_the_stand_in_reads_a_source_as_a_compiler_does(tmp_path: Path) -> None:
    """Every step of every name, on special numbers: C++, the stand-in, and NumPy."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler (c++, g++ or clang++) on the PATH")
    programs = {name.replace(" ", "_"): program_of(name) for name in NAMES}
    groups = {name: grouped(program.instructions) for name, (program, _) in programs.items()}
    assert all(len(found) == 1 and isinstance(found[0], Group) for found in groups.values())
    sources: Any = {name: source(group) for name, (group,) in groups.items()}  # type: ignore[arg-type]
    library = compiled_by(compiler, tmp_path, sources)
    for name, (program, arrays) in programs.items():
        inputs, outputs, body = sources[name]
        known = dict(zip(program.inputs, arrays, strict=True))
        given = [known[v] for _, v in inputs]
        names = {d.split()[1]: x for (d, _), x in zip(inputs, given, strict=True)}
        with np.errstate(all="ignore"):
            Body(body)(names)
        read = [np.asarray(names[d.split()[1]], d.split()[0]) for d, _ in outputs]
        ours = [np.empty_like(y) for y in read]
        for k in range(len(SPECIAL) ** 2):
            element = [x[k : k + 1] for x in (*given, *ours)]
            getattr(library, f"do_{name}")(*[ctypes.c_void_p(e.ctypes.data) for e in element])
        for y, z in zip(ours, read, strict=True):
            y, z = (a[: len(SPECIAL) ** 2] for a in (y, z))
            np.testing.assert_allclose(y, z, rtol=1e-6, err_msg=f"{name}: {body}")
            signed = ~np.isnan(z)
            np.testing.assert_array_equal(np.signbit(y[signed]), np.signbit(z[signed]), body)


@pytest.mark.parametrize("name", NAMES)
def test_each_elementwise_function_is_a_kernel(name: str) -> None:
    plan = check(*program_of(name))
    assert [type(i) for i in plan.order] == [Group]


def test_a_sentence_says_where_a_source_is_wrong() -> None:
    for text in ("float r1 = x0 +;", "r1 x0;", "float r1 = x0 x0;", "float r1 = x0 @ x0;"):
        with pytest.raises(SyntaxError, match="kernel"):
            Body(text)({"x0": np.ones(2)})


# ----- devices -----------------------------------------------------------------------------------


def test_a_function_without_arguments_finds_its_device() -> None:
    w = tg.ones(3, device="fakecuda:1")
    compiled = tg.compile(lambda: w * 2)
    for k in range(3):
        assert compiled().device == "fakecuda:1"
        w.fill_(k)
        assert compiled().tolist() == [2.0 * k] * 3


def test_devices_do_not_mix() -> None:
    w = tg.ones(3, device="cpu")
    with pytest.raises(RecordingError, match="mul on cpu cannot be recorded"):
        tg.compile(lambda x: (x * 2, w * 2))(tg.ones(3, device="fakecuda:1"))


def test_a_replay_does_not_wait_for_the_device() -> None:
    model = tg.nn.Sequential(tg.nn.Linear(3, 4), tg.nn.ReLU(), tg.nn.Linear(4, 2)).to("fakecuda:1")
    descent = tg.optim.SGD(model.parameters(), lr=0.1)

    @tg.compile
    def step(x: Any, y: Any) -> Any:
        descent.zero_grad()
        loss = tg.cross_entropy(model(x), y)
        loss.backward()
        descent.step()
        return loss

    x, y = tg.randn(5, 3, device="fakecuda:1"), tg.tensor([0, 1, 1, 0, 1], device="fakecuda:1")
    for _ in range(2):
        step(x, y)
    with no_sync():
        step(x, y)
