"""What a forward costs, as each op counts it: beside loops that count what they do.

That every op says it is seen in test_ops.py, where each forward runs.
"""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from rows import ROWS, Case
from tinygrad_cv import models, nn, viz
from tinygrad_cv._op import REGISTRY, Op, per_output
from tinygrad_cv.viz.cost import costs, shares

pytestmark = pytest.mark.host

Shape = tuple[int, ...]


def called(name: str, case: Case) -> tuple[Op, tuple[Any, ...], tg.Tensor]:
    """The op, the shapes of its inputs, and its output."""
    op = case.make(ROWS[name].op)
    inputs = [tg.Tensor(v) if isinstance(v, np.ndarray) else v for v in case.inputs]
    y = tg.function(type(op))(*inputs, **case.fresh_attributes())
    shapes = tuple(None if v is None else getattr(v, "shape", ()) for v in inputs)
    return op, shapes, y


def claimed(name: str, case: Case) -> int:
    op, shapes, y = called(name, case)
    count = op.flops(y.shape, *shapes)
    assert type(count) is int
    return count


def test_an_op_of_your_own_says_it_in_a_word_or_nobody_knows() -> None:
    class Silent(tg.Op, register=False):
        nondifferentiable = ("x",)

        def forward(self, xp: Any, x: Any) -> Any:
            return x + 1

    class Counted(Silent, register=False):
        flops = per_output

    assert Silent().flops((2, 3), (2, 3)) is None
    assert Counted().flops((2, 3), (2, 3)) == 6


# ----- products: every multiply-add is two -------------------------------------------------------


class Tally:
    """A number that counts what is done with numbers of its kind."""

    done = 0

    def _count(self, *others: Any) -> "Tally":
        Tally.done += 1
        return self

    __add__ = __sub__ = __mul__ = __truediv__ = __gt__ = exp = _count


def tallies(shape: Shape) -> Any:
    array = np.empty(shape, dtype=object)
    for place in np.ndindex(*shape):
        array[place] = Tally()
    return array


def total(numbers: Any) -> Any:
    """A sum as a loop has it, from 0 on: one addition for each."""
    result = Tally()
    for number in numbers:
        result = result + number
    return result


def counted(function: Any, *shapes: Any) -> int:
    """What a function of arrays did to their elements."""
    arrays = [None if shape is None else tallies(shape) for shape in shapes]
    Tally.done = 0
    function(*arrays)
    return Tally.done


def matmul(x: Any, y: Any) -> None:
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x = np.broadcast_to(x, (*batch, *x.shape[-2:]))
    y = np.broadcast_to(y, (*batch, *y.shape[-2:]))
    for place in np.ndindex(*batch):
        for row in x[place]:
            for column in y[place].T:
                total(a * b for a, b in zip(row, column, strict=True))


def linear(x: Any, w: Any, b: Any = None) -> None:
    for row in x:
        for j, weights in enumerate(w):
            y = total(a * c for a, c in zip(row, weights, strict=True))
            if b is not None:
                y + b[j]


@given(data=st.data())
def test_products_of_matrices(data: st.DataObject) -> None:
    for name, naive in (("matmul", matmul), ("linear", linear)):
        case = data.draw(ROWS[name].cases)
        _, shapes, _ = called(name, case)
        assert claimed(name, case) == counted(naive, *shapes)


@given(case=ROWS["einsum"].cases)
def test_contractions(case: Case) -> None:
    op, shapes, _ = called("einsum", case)
    equation: str = op.equation
    left, _, out = equation.partition("->")
    terms = left.split(",")
    lengths = {
        c: n
        for term, shape in zip(terms, shapes, strict=True)
        for c, n in zip(term, shape, strict=True)
    }
    summed = set(lengths) - set(out)
    count = 0
    for _ in np.ndindex(*lengths.values()):
        for _ in terms[1:]:
            count += 1  # a product
        if summed:
            count += 1  # and its addition
    assert claimed("einsum", case) == count


@pytest.mark.parametrize("axes", [1, 2, 3])
@given(data=st.data())
def test_convolutions(axes: int, data: st.DataObject) -> None:
    case = data.draw(ROWS[f"conv{axes}d"].cases)
    _, (_, w, *b), y = called(f"conv{axes}d", case)
    count = 0
    for _ in np.ndindex(*y.shape):
        for _ in np.ndindex(*w[1:]):  # each tap of each channel of the group
            count += 2
        count += b not in ([], [None])
    assert claimed(f"conv{axes}d", case) == count
    case = data.draw(ROWS[f"conv_transpose{axes}d"].cases)
    _, (x, w, *b), y = called(f"conv_transpose{axes}d", case)
    count = 2 * sum(1 for _ in np.ndindex(*x) for _ in np.ndindex(*w[1:]))
    if b not in ([], [None]):
        count += y.numel()
    assert claimed(f"conv_transpose{axes}d", case) == count


@given(case=ROWS["conv_weight"].cases)
def test_the_weight_gradient_of_a_convolution_costs_what_the_convolution_does(case: Case) -> None:
    op, (x, d), w = called("conv_weight", case)
    forward = REGISTRY[f"conv{len(x) - 2}d"](
        **{k: getattr(op, k) for k in ("stride", "padding", "dilation", "groups")}
    )
    assert claimed("conv_weight", case) == forward.flops(d, x, w.shape, None)


def test_attention_is_two_products_and_a_softmax() -> None:
    batch, queries, keys, width, depth = 2, 5, 7, 4, 3
    table = viz.summary(
        tg.scaled_dot_product_attention,
        (batch, queries, width), (batch, keys, width), (batch, keys, depth),
    )  # fmt: skip
    products = 2 * batch * queries * keys * (width + depth)
    softmax = counted(rowwise, (batch * queries, keys))
    assert products + softmax <= table.flops <= products + softmax + 2 * batch * queries * keys


# ----- the rest ----------------------------------------------------------------------------------


def rowwise(x: Any) -> None:
    """Softmax, row by row: the maximum and the sum from nothing on."""
    for row in x:
        most = Tally()
        for number in row:
            most > number  # noqa: B015  it is counted
        powers = [(number - most).exp() for number in row]
        whole = total(powers)
        for power in powers:
            power / whole


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name: str) -> None:
    op = REGISTRY[name](axis=1)
    assert op.flops((4, 6), (4, 6)) == counted(rowwise, (4, 6)) == 120
    assert REGISTRY["cross_entropy"]().flops((4,), (4, 6), (4,)) == 120


@pytest.mark.parametrize("name", ["max_pool2d", "window_sum"])
@given(data=st.data())
def test_windows(name: str, data: st.DataObject) -> None:
    case = data.draw(ROWS[name].cases)
    op, _, y = called(name, case)
    kernel: Shape = op.kernel
    assert claimed(name, case) == sum(1 for _ in np.ndindex(*y.shape) for _ in np.ndindex(*kernel))


@given(case=ROWS["resample"].cases)
def test_interpolation_costs_its_weights(case: Case) -> None:
    op, (shape,), y = called("resample", case)
    axis: int = op.axis
    unit = tg.Tensor(np.eye(shape[axis]))
    attributes = case.fresh_attributes() | {"axis": 0}
    matrix = tg.function(REGISTRY["resample"])(unit, **attributes).numpy()  # (size, length)
    used = matrix != 0
    others = math.prod((*shape[:axis], *shape[axis + 1 :]))
    sums = int((used.sum(1) - 1).clip(0).sum())
    products = int(used[~np.isin(matrix, (0, 1)).all(1)].sum())
    most = len(matrix) * (2 * int(used.sum(1).max(initial=0)) - 1)
    assert others * (sums + products) <= claimed("resample", case) <= others * max(0, most)
    assert y.shape[axis] == len(matrix)


@given(case=ROWS["sample"].cases)
def test_sampling_costs_a_product_and_a_sum_for_each_weight(case: Case) -> None:
    _, (x, w, _), _ = called("sample", case)
    assert claimed("sample", case) == 2 * math.prod(w) * x[1]


def test_what_only_moves_costs_nothing_and_what_adds_does() -> None:
    model = viz.summary(lambda x: tg.cat([x.T, x.T]).reshape(-1)[::2], (3, 4))
    assert model.flops == 0
    assert REGISTRY["sum"](axis=None).flops((), (3, 4)) == 12
    assert REGISTRY["fold"](kernel=(2, 2), size=(4, 4)).flops((1, 1, 4, 4), (1, 4, 9)) == 36
    assert REGISTRY["add"]().flops((3, 4), (3, 1), ()) == 12


@pytest.mark.parametrize(
    ("name", "shapes", "count"),
    [
        ("inv", [(5, 3, 3)], 5 * 2 * 27),
        ("solve", [(3, 3), (3, 2)], 18 + 2 * 9 * 2),
        ("cholesky", [(2, 6, 6)], 2 * 72),
        ("svd", [(6, 3)], 14 * 6 * 9 + 8 * 27),
        ("svd", [(3, 6)], 14 * 6 * 9 + 8 * 27),
    ],
)
def test_factorizations(name: str, shapes: list[Shape], count: int) -> None:
    assert REGISTRY[name]().flops((), *shapes) == count


# ----- of a trace --------------------------------------------------------------------------------


def test_shares_are_of_the_whole_and_a_shared_parameter_counts_at_the_first_that_reads_it() -> None:
    weight = tg.ones((4, 4), requires_grad=True)

    def twice(x: tg.Tensor) -> tg.Tensor:
        return tg.relu(tg.matmul(tg.matmul(x, weight), weight))

    trace = viz.trace(twice, (2, 4), gradients=True)
    first, second, relu = (node.id for node in trace.nodes if node.kind == "op")
    assert shares(trace, "parameters") == {first: 1.0, second: 0.0, relu: 0.0}
    assert shares(trace, "flops") == {first: 64 / 136, second: 64 / 136, relu: 8 / 136}
    for what in ("flops", "parameters", "saved", "time"):
        assert sum(shares(trace, what).values()) == pytest.approx(1)
    for node in trace.nodes:
        if node.kind == "op":
            assert node.backward_seconds is not None
            assert costs(trace, "time")[node.id] == node.seconds + node.backward_seconds


def test_what_is_not_known_has_no_share() -> None:
    class Silent(tg.Op, register=False):
        nondifferentiable = ("x",)

        def forward(self, xp: Any, x: Any) -> Any:
            return x + 1

    trace = viz.trace(lambda x: tg.relu(tg.function(Silent)(x)), (2, 3))
    silent, relu = (node.id for node in trace.nodes if node.kind == "op")
    assert shares(trace, "flops") == {relu: 1.0}
    assert shares(trace, "parameters") == {silent: 0.0, relu: 0.0}
    trace = viz.trace(tg.tensor([1.0], requires_grad=True) * 2)
    assert shares(trace, "time") == {}  # it was not watched
    with pytest.raises(ValueError, match="one of 'flops', 'parameters', 'saved', 'time'; got 'x'"):
        shares(trace, "x")  # type: ignore[arg-type]


# ----- the table of a model ----------------------------------------------------------------------


def spread(*windows: tuple[int, int]) -> int:
    """The receptive field of windows (kernel, stride): from the last one back to the image."""
    seen = 1
    for kernel, stride in reversed(windows):
        seen = (seen - 1) * stride + kernel
    return seen


def by_name(table: Any) -> dict[str, Any]:
    """Rows by their paths."""
    found, path = {}, []
    for row in table.rows:
        path[row.depth :] = [row.name]
        found[".".join(path[1:])] = row
    return found


BASIC = [(3, 1), (3, 1)]
RESNET = [(7, 2), (3, 2), *BASIC * 2, *(((3, 2), *BASIC, (3, 1)) * 3)]


def test_alexnet_as_published() -> None:
    with tg.device("meta"):
        table = viz.summary(models.alexnet(), (1, 3, 224, 224))
    rows = by_name(table)
    assert table.parameters == 61_100_840
    convs = [(11, 3, 64, 55), (5, 64, 192, 27), (3, 192, 384, 13), (3, 384, 256, 13)]
    convs += [(3, 256, 256, 13)]
    weights = [k * k * a * b for k, a, b, _ in convs]
    for name, (k, a, b, size) in zip((0, 3, 6, 8, 10), convs, strict=True):
        row = rows[f"features.{name}"]
        assert row.flops == (2 * k * k * a + 1) * b * size * size
        assert row.parameters == (k * k * a + 1) * b
        assert row.kernel == (f"{k}×{k}" if name else "11×11 /4")
        assert row.input == (1, a, row.input[2], row.input[2])
    wide = [9216 * 4096, 4096 * 4096, 4096 * 1000]
    products = sum(n * size * size for n, (*_, size) in zip(weights, convs, strict=True))
    assert 714e6 < products + sum(wide) < 715e6  # multiply-adds
    assert table.flops == pytest.approx(2 * (products + sum(wide)), rel=0.002)
    assert rows["features.12"].field == "195"
    assert spread((11, 4), (3, 2), (5, 1), (3, 2), *[(3, 1)] * 3, (3, 2)) == 195
    assert rows["classifier.1"].field == "all"


def test_the_receptive_field_of_resnet18() -> None:
    with tg.device("meta"):
        table = viz.summary(models.resnet18(), (1, 3, 224, 224))
    rows = by_name(table)
    assert table.parameters == 11_689_512
    assert 1.81e9 < table.flops / 2 < 1.83e9
    assert rows["layer4"].field == "435" == str(spread(*RESNET))
    assert rows["layer1"].field == str(spread(*RESNET[:6])) == "43"
    assert rows["avgpool"].field == rows["fc"].field == rows[""].field == "all"
    assert rows["layer2.0.downsample"].field == "43"  # 1×1: it sees what came in
    assert rows["layer2.0.downsample"].kernel == ""  # of what is in it, not its own
    assert rows["layer2.0.downsample.0"].kernel == "1×1 /2"


def test_vgg16_as_published() -> None:
    with tg.device("meta"):
        table = viz.summary(models.vgg16(), (1, 3, 224, 224))
    rows = by_name(table)
    assert table.parameters == 138_357_544
    assert 15.46e9 < table.flops / 2 < 15.51e9
    assert rows["features"].field == rows["avgpool"].field == "212"
    assert rows["features.0"].field == "3"
    assert rows["classifier.0"].field == "all"


def test_the_receptive_field_of_vgg16() -> None:
    layers: list[nn.Module] = []
    windows = []
    for count in (2, 2, 3, 3, 3):
        layers += [nn.LazyConv2d(4, 3, padding=1) for _ in range(count)] + [nn.MaxPool2d(2)]
        windows += [(3, 1)] * count + [(2, 2)]
    rows = viz.summary(nn.Sequential(*layers), (1, 3, 32, 32)).rows
    assert rows[0].field == rows[-1].field == "212"
    for i, row in enumerate(rows[1:], start=1):
        assert row.field == str(spread(*windows[:i]))


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2)), max_size=4),
    st.booleans(),
)
def test_the_receptive_field_is_what_a_gradient_reaches(
    windows: list[tuple[int, int, int]], channels_last: bool
) -> None:
    """One element of the output, and how far apart the pixels are that its gradient gets to."""
    layers: list[nn.Module] = []
    for k, s, d in windows:
        layers.append(nn.Conv1d(1, 1, k, stride=s, dilation=d))
        nn.init.ones_(layers[-1].weight)

    def net(x: tg.Tensor) -> tg.Tensor:
        for layer in layers:
            x = layer(x)
            if channels_last:
                x = x.mT.reshape(-1).reshape(1, -1, 1).mT
        return x * 1

    x = tg.ones((1, 1, 200), requires_grad=True)
    y = net(x)
    y[0, 0, y.shape[2] // 2].backward()
    reached = np.flatnonzero(x.grad.numpy())
    row = viz.summary(net, (1, 1, 200)).rows[-1]
    assert row.field == str(reached[-1] - reached[0] + 1)


@pytest.mark.parametrize(
    ("function", "shape", "field"),
    [
        (lambda x: tg.conv2d(x, tg.ones((1, 1, 3, 1))), (1, 1, 9, 9), "3×1"),
        (lambda x: tg.conv2d(x, tg.ones((1, 1, 3, 3))) + tg.conv2d(x[:, :, 1:-1, 1:-1],
            tg.ones((1, 1, 1, 1))), (1, 1, 9, 9), "3"),
        (lambda x: tg.conv_transpose2d(tg.avg_pool2d(x, 2), tg.ones((1, 1, 2, 2)), stride=2),
            (1, 1, 8, 8), "2"),
        (lambda x: tg.interpolate(tg.avg_pool2d(x, 2), scale_factor=2), (1, 1, 8, 8), "2"),
        (lambda x: tg.adaptive_avg_pool2d(x, 2), (1, 1, 8, 8), "4"),
        (lambda x: tg.adaptive_avg_pool2d(x, 1), (1, 1, 8, 8), "all"),
        (lambda x: tg.avg_pool2d(x, 2)[:, :, ::2], (1, 1, 8, 8), "–"),
        (lambda x: tg.conv2d(x, tg.ones((1, 1, 3, 3))).flatten(1), (2, 1, 3, 3), "3"),
        (lambda x: tg.conv2d(x, tg.ones((1, 1, 3, 3))).flatten(1) @ tg.ones((1, 4)),
            (2, 1, 3, 3), "all"),
        (lambda x: tg.relu(x) @ tg.ones((4, 3)), (2, 5, 4), "–"),
        (lambda x: tg.relu(x) @ tg.ones((4, 3)), (2, 4), "all"),
    ],
)  # fmt: skip
def test_receptive_fields(function: Any, shape: Shape, field: str) -> None:
    [*_, row] = viz.summary(function, shape).cells(["field"])
    assert row == (field,)


def test_the_columns_of_the_table() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, (3, 1), stride=(2, 1)), nn.ReLU())
    table = viz.summary(model, (1, 3, 7, 5), columns=("layer", "input", "kernel", "FLOPs %"))
    assert list(table.cells(table.columns))[1] == ("  0", "(1, 3, 7, 5)", "3×1 /2×1", "95%")
    assert str(table).splitlines()[0].split() == ["layer", "input", "kernel", "FLOPs", "%"]
    shares = viz.summary(model, (1, 3, 7, 5), columns=["FLOPs", "FLOPs %", "time"])
    assert str(shares).splitlines()[0].split() == ["FLOPs", "%", "time"]
    with pytest.raises(ValueError, match="there is no 'flops'"):
        viz.summary(model, (1, 3, 7, 5), columns=["flops"])


def test_by_itself_the_table_has_as_many_columns_as_fit() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    short = str(viz.summary(model, (1, 6))).splitlines()
    assert short[0].split()[-1] == "field"
    for _ in range(8):
        model = nn.Sequential(model)
    for extra in ("a" * 10, "b" * 40):
        model.add_module(extra, nn.ReLU())
    long = str(viz.summary(model, (1, 6))).splitlines()
    assert max(map(len, short + long)) <= 100
    assert "input" in short[0]
    assert "input" not in long[0]
    html = viz.summary(model, (1, 6))._repr_html_()
    assert html.count("<th ") == 12


def test_a_table_of_a_model_with_keywords() -> None:
    class Masked(nn.Module):
        def forward(self, x: tg.Tensor, mask: tg.Tensor | None = None) -> tg.Tensor:
            return x if mask is None else x * mask

    table = viz.summary(Masked(), (2, 3), mask=tg.ones((2, 3)))
    assert table.flops == 6
