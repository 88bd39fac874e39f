"""What float16 and float32 make of each op, beside float64 on the very same numbers.

Inputs are drawn by the op's row and scaled: as they are, large, tiny, or with infinities and NaN
among them. They are rounded to the narrow dtype first, so the float64 result is what a perfect
computation would give. Where a result is sensitive to its inputs, it may be off by what a change of
the inputs in their last place does to it.
"""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from rows import ROWS, Case, Row
from tinygrad_cv._apply import apply
from tinygrad_cv._op import REGISTRY
from tinygrad_cv.ops.elementwise import Elementwise

OURS = sorted(name for name, op in REGISTRY.items() if op.__module__.startswith("tinygrad_cv."))

SCALES = {
    "ordinary": {"float16": 1.0, "float32": 1.0, "float64": 1.0},
    "large": {"float16": 300.0, "float32": 1e20, "float64": 1e20},
    "tiny": {"float16": 1e-4, "float32": 1e-30, "float64": 1e-30},
    "special": {"float16": 1.0, "float32": 1.0, "float64": 1.0},
}
SPECIAL = (np.inf, -np.inf, np.nan, 0.0)
FACTORS = {"einsum": 3}
"""Where so many inputs are multiplied, none is so large that a product of the others overflows
before a 0 is met: matrix products compute in the dtype that they are given."""
ULPS = 16
"""How many units in the last place a result may be off, times what its inputs' last place does."""


def is_variable(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


@st.composite
def scaled(draw: Any, row: Row, dtype: str, mode: str) -> Case:
    """A case of the row whose floats are large, tiny or special, and numbers of the dtype."""
    case = draw(row.cases)
    largest = float(np.finfo(dtype).max)

    def changed(value: Any) -> Any:
        if not is_variable(value):
            return value
        scale = SCALES[mode][dtype] ** (1 / FACTORS.get(row.name, 1))
        wide = np.clip(value * scale, -largest, largest).astype(dtype)
        wide = np.array(wide, "float64")
        if mode == "special" and wide.size:
            place = draw(st.integers(0, wide.size - 1))
            wide.flat[place] = draw(st.sampled_from(SPECIAL))
        return wide

    return Case(tuple(map(changed, case.inputs)), case.attributes)


def perturbed(case: Case, dtype: str, rng: np.random.Generator) -> Case:
    """The case with each number moved by about its last place in the dtype."""
    eps = float(np.finfo(dtype).eps)

    def moved(value: Any) -> Any:
        if not is_variable(value):
            return value
        return value * (1 + eps * rng.uniform(-1, 1, value.shape))

    return Case(tuple(map(moved, case.inputs)), case.attributes)


def computed(row: Row, case: Case, dtype: str, cotangent: Any, recorded: bool) -> list[Any]:
    """The outputs of the op and its gradients, run in a dtype; on the host, in float64."""
    attributes = {
        k: np.dtype(dtype) if isinstance(v, np.dtype) and v.kind == "f" else v
        for k, v in case.attributes.items()
    }
    names = list(row.op.inputs)
    names += [names[-1]] * (len(case.inputs) - len(names))
    leaves = [
        tg.Tensor(
            value.astype(dtype) if is_variable(value) else value,
            requires_grad=is_variable(value) and name not in row.op.nondifferentiable,
        )
        if isinstance(value, np.ndarray)
        else value
        for name, value in zip(names, case.inputs, strict=False)
    ]
    y = apply(Case(case.inputs, attributes).make(row.op), *leaves)
    results = list(y) if isinstance(y, tuple) else [y]
    live = [y for y in results if y.requires_grad]
    if live:
        g = [tg.Tensor(cotangent(y.shape).astype(dtype), device=y.device) for y in live]
        wanted = [x for x in leaves if isinstance(x, tg.Tensor) and x.requires_grad]
        results += tg.grad(live, wanted, g, create_graph=recorded)
    for result in results:
        assert result.dtype.kind != "f" or result.dtype == dtype
    return [result.detach().numpy() for result in results]


def assert_close(
    found: Any, exact: Any, moved: list[Any], dtype: str, each: bool, what: str
) -> None:
    """`found` is `exact`, rounded to the dtype, within ULPS; `moved` are results near by."""
    if exact.dtype.kind != "f":
        np.testing.assert_array_equal(found, exact, err_msg=what)
        return
    info = np.finfo(dtype)
    found, exact = np.asarray(found, "float64"), np.asarray(exact, "float64")
    with np.errstate(all="ignore"):
        rounded = exact.astype(dtype).astype("float64")
        sensitivity = np.zeros(exact.shape)
        for other in moved:
            step = np.abs(other - exact)
            sensitivity = np.fmax(sensitivity, np.where(np.isnan(step), 0, step))
        size = np.abs(exact)
        finite = np.isfinite(exact)
        if not each:  # where numbers are added up, the largest of them sets the error
            size = np.full_like(size, np.max(size[finite], initial=0))
            bounded = np.isfinite(sensitivity)
            sensitivity = np.full_like(size, np.max(sensitivity[bounded], initial=0))
        least = float(info.tiny if dtype != "float16" else info.smallest_subnormal)
        allowed = ULPS * (float(info.eps) * size + sensitivity) + 2 * least
        wrong = np.abs(found - exact) > allowed
        # Beyond the largest number of the dtype it does not matter how the result got there.
        beyond = size + allowed >= float(info.max)
        same = (found == rounded) | (np.isnan(found) & np.isnan(exact))
        bad = ~same & ~(beyond & ~np.isnan(exact)) & (wrong | ~np.isfinite(found) | ~finite)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise AssertionError(
            f"{what} in {dtype} at {place}: {found[place]!r}, exact {exact[place]!r}, allowed "
            f"{allowed[place]:.3g}"
        )


def sweep(name: str, dtype: str, mode: str, data: Any) -> None:
    row = ROWS[name]
    case = data.draw(scaled(row, dtype, mode))
    rng = np.random.default_rng(0)

    def cotangent(shape: tuple[int, ...]) -> Any:
        return np.random.default_rng(1).standard_normal(shape).astype(dtype).astype("float64")

    with np.errstate(all="ignore"):
        try:
            exact = computed(row, case, "float64", cotangent, recorded=False)
        except ValueError as error:  # a matrix with NaN has no decomposition, in any dtype
            with pytest.raises(ValueError, match=re.escape(str(error))):
                computed(row, case, dtype, cotangent, recorded=False)
            return
        moved = [
            computed(row, perturbed(case, dtype, rng), "float64", cotangent, recorded=False)
            for _ in range(2)
        ]
        for recorded in (False, True):
            found = computed(row, case, dtype, cotangent, recorded)
            for i, (a, b) in enumerate(zip(found, exact, strict=True)):
                reading = "recorded" if recorded else "raw"
                assert a.shape == b.shape
                k = i - (len(row.op.outputs) or 1)
                what = f"{name}: " + (f"output {i}" if k < 0 else f"gradient {k} ({reading})")
                each = issubclass(row.op, Elementwise) and a.shape == exact[0].shape
                assert_close(a, b, [m[i] for m in moved], dtype, each, what)


@pytest.mark.parametrize("name", OURS)
@given(data=st.data())
def test_narrow_dtypes_give_the_float64_result(name: str, data: Any) -> None:
    dtype = data.draw(st.sampled_from(["float16", "float32"]))
    sweep(name, dtype, data.draw(st.sampled_from(list(SCALES))), data)
