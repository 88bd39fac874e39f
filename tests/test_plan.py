"""Plans of programs: what is replayed gives what was recorded, wherever its values lie."""

import math
import operator
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tinygrad_cv.backend.compiled.backend import CompiledBackend
from tinygrad_cv.backend.numpy_backend import NumpyBackend
from tinygrad_cv.backend.switch import KERNELS, has_numba
from tinygrad_cv.program import emit
from tinygrad_cv.program import plan as plan_module
from tinygrad_cv.program.fuse import COMPARISONS, LOGICAL, REAL, Group, dependencies
from tinygrad_cv.program.instructions import Instruction, Program, Value, values_in
from tinygrad_cv.program.places import overlap, view
from tinygrad_cv.program.plan import Plan, arranged, needed

pytestmark = pytest.mark.host

XP = CompiledBackend()


class Recording:
    """A program written by hand: each call runs, to know shapes and layouts, and is noted."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.inputs: list[Value] = []
        self.arrays: dict[Value, Any] = {}

    def _value(self, array: Any, /, **options: Any) -> Value:
        array = np.asarray(array)
        value = Value(array.shape, array.dtype, array.strides, **options)
        self.arrays[value] = array
        return value

    def input(self, array: Any) -> Value:
        value = self._value(array.copy("K"), kind="input")
        self.inputs.append(value)
        return value

    def held(self, array: Any) -> Value:
        return self._value(array, kind="held", array=array)

    def __call__(self, function: str, *args: Any, **options: Any) -> Any:
        made = perform(function, bound(args, self.arrays), bound(options, self.arrays))
        writes = tuple(values_in(options.get("out", ())))
        if function in ("setitem", "copyto"):
            writes = (args[0],)
            made = ()
        arrays = made if isinstance(made, tuple) else (made,)
        outputs = writes or tuple(self._seen(args, np.asarray(a)) for a in arrays)
        if function in ("setitem", "copyto"):
            outputs = ()
        self.instructions.append(Instruction(function, args, options, outputs, writes))
        return outputs[0] if len(outputs) == 1 else outputs

    def _seen(self, args: Any, array: Any) -> Value:
        for v in values_in(args):
            source = self.arrays[v]
            if array.size and np.may_share_memory(source, array):
                root = v.root
                at = array.ctypes.data - self.arrays[root].ctypes.data
                return self._value(array, base=root, offset=at)
        return self._value(array)

    def program(self, *outputs: Value) -> Program:
        return Program(self.instructions, self.inputs, list(outputs))


def bound(tree: Any, arrays: dict[Value, Any]) -> Any:
    if isinstance(tree, Value):
        return arrays[tree]
    if isinstance(tree, tuple | list):
        return type(tree)(bound(t, arrays) for t in tree)
    if isinstance(tree, dict):
        return {name: bound(t, arrays) for name, t in tree.items()}
    return tree


def perform(function: str, args: Any, options: Any) -> Any:
    if function in ("getitem", "setitem"):
        return getattr(operator, function)(*args)
    if function == "copyto":
        return np.copyto(*args, **options)
    if function in ("astype", "transpose"):
        return getattr(args[0], function)(*args[1:], **options)
    with np.errstate(all="ignore"):
        return getattr(NumpyBackend(), function)(*args, **options)


def naive(program: Program, inputs: list[Any]) -> list[Any]:
    """The program, instruction by instruction, on arrays of its own."""
    arrays = dict(zip(program.inputs, (x.copy("K") for x in inputs), strict=True))
    arrays.update((v, v.array) for v in program.outputs if v.kind == "held")
    for instruction in program.instructions:
        for v in values_in((instruction.args, instruction.options)):
            if v.root.kind in ("held", "constant") and v.base is None:
                arrays.setdefault(v, v.array)
        made = perform(
            instruction.function,
            bound(instruction.args, arrays),
            bound(instruction.options, arrays),
        )
        if not instruction.writes:
            results = made if isinstance(made, tuple) else (made,)
            for v, array in zip(instruction.outputs, results, strict=True):
                arrays[v] = np.asarray(array)
    return [arrays[v].copy() for v in program.outputs]


def poison(plan: Plan) -> None:
    plan.arena[...] = 0xFF  # NaN as a float


@pytest.fixture(params=["numpy", "compiled"], autouse=True)
def kernels(request: Any) -> Any:
    if request.param == "compiled" and not has_numba():
        pytest.skip("numba is missing")
    before = KERNELS.compiled
    KERNELS.compiled = request.param == "compiled"
    yield request.param
    KERNELS.compiled = before


def close(a: Any, b: Any) -> None:
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


def check(program: Program, inputs: list[Any]) -> Plan:
    plan = Plan(program, XP)
    wanted = naive(program, inputs)
    first = plan.run(inputs)
    poison(plan)
    second = plan.run(inputs)
    for a, b, c in zip(first, wanted, second, strict=True):
        close(a, b)
        np.testing.assert_array_equal(a, c)
        assert not np.may_share_memory(a, plan.arena)
    return plan


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def test_a_chain_is_one_kernel(kernels: str) -> None:
    r = Recording()
    x, y, row = r.input(numbers(40, 30)), r.input(numbers(40, 30)), r.held(numbers(30))
    h = r("tanh", r("add", r("multiply", x, y), row))
    gate = r("greater", h, 0.1)
    out = r("where", gate, h, 0.0)
    plan = check(r.program(out, gate), [numbers(40, 30, seed=1), numbers(40, 30, seed=2)])
    assert len(plan.order) == 1
    if kernels == "compiled":
        assert len(plan.calls) == 1
    assert "tanh" in str(plan)


def test_views_and_changes_in_place_keep_their_order() -> None:
    r = Recording()
    x = r.input(numbers(6, 8))
    a = r("multiply", x, 2.0)
    upper = r("getitem", a, (slice(0, 3), slice(None)))
    before = r("sum", a, axis=0)
    r("add", upper, 1.0, out=upper)
    after = r("sum", a, axis=0)
    turned = r("transpose", a)
    r("setitem", turned, 2, 5.0)
    check(r.program(before, after, a), [numbers(6, 8, seed=3)])


def test_held_memory_is_changed_where_it_is() -> None:
    weight = numbers(4, 4)
    r = Recording()
    w, x = r.held(weight.copy()), r.input(numbers(4, 4))
    r("subtract", w, r("multiply", x, 0.1), out=w)
    y = r("matmul", x, w)
    plan = Plan(r.program(y, w), XP)
    held = r.arrays[w]
    start, step = held.copy(), numbers(4, 4, seed=5)
    y, _ = plan.run([step])
    close(held, start - np.float32(0.1) * step)
    close(y, step @ held)


def test_what_nobody_reads_is_not_done() -> None:
    r = Recording()
    x = r.input(numbers(5, 5))
    y = r("exp", x)
    r("matmul", x, y)
    r("sum", y, axis=0)
    assert len(check(r.program(y), [numbers(5, 5)]).order) == 1


@pytest.mark.parametrize("count", [7, 200_000])
def test_truth_that_was_packed_stays_as_it_is(count: int) -> None:
    r = Recording()
    x = r.input(numbers(count))
    positive = r("greater", x, 0.0)
    bits = r("packbits", positive)
    again = r("getitem", r("unpackbits", bits), slice(0, count))
    y = r("multiply", again, x)
    plan = check(r.program(y), [numbers(count, seed=9)])
    assert not any("packbits" in line for line in str(plan).splitlines())


def test_large_arrays_come_and_go() -> None:
    r = Recording()
    x, w = r.input(numbers(2, 3, 40, 40)), r.held(numbers(4, 3, 3, 3))
    one = (1, 1)
    y = r("conv", x, w, None, one, one, one, 1)
    z = r("multiply", r("getitem", y, (slice(None), slice(1, 3))), 0.5)
    mean = r("mean", z)
    plan = check(r.program(y, z, mean), [numbers(2, 3, 40, 40, seed=4)])
    assert all(s is None for s in plan.memory.slots)


def one_early(lives: Any) -> Any:
    return arranged([(first, max(first, last - 1), n) for first, last, n in lives])


def without_changes(program: Program) -> list[Instruction]:
    return [i for i in needed(program) if not i.writes]


def beside(array: Any, offset: int, *layout: Any) -> Any:
    return view(array, max(0, offset - 4), *layout)


def once(plan: Plan, inputs: Any) -> None:
    if not hasattr(plan, "entered"):
        entered(plan, inputs)
    plan.entered = True  # type: ignore[attr-defined]


entered = Plan._enter
MUTANTS = {
    "a lifetime that ends one early": (plan_module, "arranged", one_early),
    "a change that is left out": (plan_module, "needed", without_changes),
    "a view beside its place": (emit, "view", beside),
    "inputs of the replay before": (Plan, "_enter", once),
}


@pytest.mark.parametrize("name", [None, *MUTANTS])
def test_plans_that_are_wrong_are_found(name: str | None, monkeypatch: Any) -> None:
    r = Recording()
    x = r.input(numbers(16, 16))
    a = r("matmul", x, x)
    b = r("matmul", x, a)
    lower = r("getitem", b, (slice(8, 16), slice(None)))
    r("multiply", lower, 3.0, out=lower)
    chosen = r("where", r("greater", b, 0.0), r("transpose", a), b)
    program = r.program(r("matmul", chosen, x))
    if name is None:
        check(program, [numbers(16, 16, seed=1)])
        return
    monkeypatch.setattr(*MUTANTS[name])
    with pytest.raises(AssertionError):
        check(program, [numbers(16, 16, seed=1)])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 400)), max_size=30))
def test_who_lives_at_the_same_time_has_places_apart(lives: Any) -> None:
    lives = [(min(a, b), max(a, b), n) for a, b, n in lives]
    offsets, total = arranged(lives)
    for i, (a, b, n) in enumerate(lives):
        assert offsets[i] % 64 == 0
        assert offsets[i] + n <= total
        for j in range(i):
            c, d, m = lives[j]
            if a <= d and c <= b:
                assert offsets[i] + n <= offsets[j] or offsets[j] + m <= offsets[i]


@pytest.mark.parametrize("name", sorted(REAL | COMPARISONS | LOGICAL.keys() | {"astype"}))
def test_each_elementwise_function_is_a_kernel(name: str, kernels: str) -> None:
    """Also of nan, of both zeros and of infinity."""
    x, y = numbers(40, 70), numbers(40, 70, seed=1)
    x[0, :4] = y[0, 1:5] = [math.nan, math.inf, -0.0, 0.0]
    y[2] = x[2]
    r = Recording()
    args: list[Any] = [r.input(x), r.input(y)]
    if name in LOGICAL and not name.startswith("logical"):
        args = [r("greater", args[0], 0.0), r("less", args[1], 0.0)]
    if name == "astype":
        args[1] = "bool"
    elif getattr(getattr(NumpyBackend(), name), "nin", 1) == 1:
        args = args[:1]
    plan = check(r.program(r(name, *args)), [x, y])
    assert type(plan.order[0]) is Group


@pytest.mark.parametrize("name", ["tanh_backward", "softplus", "silu_backward"])
def test_named_functions_join_the_loop(name: str, kernels: str) -> None:
    if kernels == "numpy":
        pytest.skip("NumPy has no kernels of such names")
    x, y = numbers(40, 70), numbers(40, 70, seed=1)
    limits = (3.0,) if name == "softplus" else ()
    wanted = XP.pointwise(name, *([x] if limits else [x, y]), numbers=limits) * 2
    a, b = (Value(v.shape, v.dtype, v.strides, kind="input") for v in (x, y))
    c, d = (Value(x.shape, x.dtype, x.strides) for _ in range(2))
    given = (name, a) if limits else (name, a, b)
    instructions = [
        Instruction("pointwise", given, {"numbers": limits}, (c,)),
        Instruction("multiply", (c, 2.0), {}, (d,)),
    ]
    plan = Plan(Program(instructions, [a, b], [d]), XP)
    assert len(plan.calls) == 1
    np.testing.assert_array_equal(plan.run([x, y])[0], wanted)


FUNCTIONS = {
    1: ["negative", "square", "abs", "exp", "tanh", "sqrt", "relu", "logical_not", "isnan"],
    2: [
        "add",
        "subtract",
        "multiply",
        "true_divide",
        "maximum",
        "minimum",
        "greater",
        "less_equal",
        "logical_and",
    ],
}


def fits(v: Value, w: Any) -> bool:
    """Whether two can be calculated with."""
    if not isinstance(w, Value):
        return v.dtype == "float32"
    pairs = zip(reversed(v.shape), reversed(w.shape), strict=False)
    return v.dtype == w.dtype == "float32" and all(n == m or 1 in (n, m) for n, m in pairs)


@st.composite
def programs(draw: Any) -> tuple[Program, list[Any]]:
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 40))
    r = Recording()
    seed = draw(st.integers(0, 1000))
    x, y = (
        r.input(numbers(rows, columns, seed=seed)),
        r.input(numbers(rows, columns, seed=seed + 1)),
    )
    values = [x, y, r.held(numbers(columns, seed=7)), r.held(numbers(rows, 1, seed=8))]
    for _ in range(draw(st.integers(1, 12))):
        v = draw(st.sampled_from(values))
        w = draw(st.sampled_from([*values, 0.5, 2]))
        match draw(st.integers(0, 9)):
            case 0 | 1:
                name = draw(st.sampled_from(FUNCTIONS[1]))
                if v.dtype != "float32":
                    continue
                made = r(name, v)
                values += made if isinstance(made, tuple) else [made]
            case 2 | 3 | 4:
                if fits(v, w):
                    values.append(r(draw(st.sampled_from(FUNCTIONS[2])), v, w))
            case 5:
                if len(v.shape) == 2 and v.dtype == "float32":
                    values.append(r("sum", v, axis=draw(st.integers(0, 1)), keepdims=True))
            case 6:
                values.append(r("transpose", v))
            case 7:
                values.append(
                    r("getitem", v, draw(st.sampled_from([..., slice(0, 1), slice(1, None)])))
                )
            case 8:  # in place
                if v.root.kind == "made" and v.dtype == "float32" and v.strides != ():
                    r(draw(st.sampled_from(["add", "multiply"])), v, 0.5, out=v)
            case 9:
                if v.dtype == "float32":
                    condition = r("greater", v, 0.0)
                    values.append(r("where", condition, v, 0.0))
    outputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=4))
    inputs = [numbers(rows, columns, seed=seed + k) for k in (5, 6)]
    return r.program(*outputs), inputs


@given(programs())
def test_random_programs_give_what_they_give_step_by_step(chosen: Any) -> None:
    check(*chosen)


def closed(before: list[set[int]]) -> list[set[int]]:
    """All that comes before each instruction, those before those included."""
    found: list[set[int]] = []
    for needs in before:
        found.append(needs.union(*(found[j] for j in needs)))
    return found


@given(programs())
def test_who_shares_memory_keeps_the_order(chosen: Any) -> None:
    instructions = chosen[0].instructions
    naively: list[set[int]] = []
    for i, later in enumerate(instructions):
        writes, touches = touched(later)
        naively.append(set())
        for j, earlier in enumerate(instructions[:i]):
            wrote, met = touched(earlier)
            if any(overlap(v, w) for v in touches for w in wrote) or any(
                overlap(v, w) for v in writes for w in met
            ):
                naively[i].add(j)
    assert closed(dependencies(instructions)) == closed(naively)


def touched(instruction: Instruction) -> tuple[list[Value], list[Value]]:
    writes = [*instruction.outputs, *instruction.writes]
    return writes, [*instruction.reads(), *writes]


def test_many_slices_are_planned_in_linear_time() -> None:
    r = Recording()
    x = r.input(numbers(3000, 4))
    for i in range(3000):
        row = r("getitem", x, i)
        r("multiply", row, 2.0, out=row)
        r("setitem", x, 0, row)  # which is said to change all of it
    before = dependencies([i for i in r.instructions if i.function != "getitem"])
    assert sum(map(len, before)) < 4 * len(before)
