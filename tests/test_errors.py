"""The errors that people meet: of the right kind, with what was given and what to do about it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygrad_cv as tg
from tinygrad_cv import nn, optim
from tinygrad_cv._op import REGISTRY
from tinygrad_cv._tensor import Tensor

ones = tg.ones


def leaf(*shape: int) -> Tensor:
    return tg.ones(*shape, requires_grad=True)


def labels(*values: float) -> Tensor:
    return tg.tensor(list(values))


class Case(NamedTuple):
    """A mistake, the error it is, and words that its message has to contain."""

    mistake: Callable[[], Any]
    error: type[Exception]
    words: tuple[str, ...]


def twice(retain_first: bool = False) -> None:
    x = leaf(2, 3)
    y = (x * x).sum()
    y.backward()
    y.backward()


def change_a_saved_value() -> None:
    x = leaf(2, 3)
    y = (x * x).sum()
    x.data[0] = 5.0
    y.backward()


def assign(x: Tensor, index: Any, value: Any) -> None:
    x[index] = value


def add_in_place(x: Tensor, value: Any) -> None:
    x += value


def unpack(x: Tensor) -> None:
    list(x)


CASES = {
    # ----- shapes that do not fit
    "matmul: inner lengths": Case(
        lambda: ones(2, 3) @ ones(2, 3), ValueError, ("(2, 3) @ (2, 3)", "Transpose")
    ),
    "matmul: batches": Case(
        lambda: ones(2, 4, 3) @ ones(5, 3, 4), ValueError, ("(2, 4, 3)", "(5, 3, 4)", "broadcast")
    ),
    "matmul: a vector": Case(lambda: ones(2, 3) @ ones(2), ValueError, ("(2, 3) @ (2,)",)),
    "matmul: a number": Case(lambda: ones(2, 3) @ 2.0, ValueError, ("(2, 3) @ ()", "use *")),
    "linear: in_features": Case(
        lambda: tg.linear(ones(2, 3), ones(5, 4)), ValueError, ("(2, 3)", "(5, 4)", "in_features")
    ),
    "linear: bias": Case(
        lambda: tg.linear(ones(2, 3), ones(5, 3), ones(4)), ValueError, ("(4,)", "(5, 3)", "bias")
    ),
    "linear: images not flattened": Case(
        lambda: nn.Linear(12, 5)(ones(7, 3, 2, 2)), ValueError, ("(7, 3, 2, 2)", "flatten(1)")
    ),
    "linear: a stack of weights": Case(
        lambda: tg.linear(ones(2, 2), ones(2, 2, 2)), ValueError, ("(2, 2, 2)", "out_features")
    ),
    "conv2d: channels": Case(
        lambda: tg.conv2d(ones(1, 3, 4, 4), ones(2, 4, 3, 3)),
        ValueError,
        ("(1, 3, 4, 4)", "(2, 4, 3, 3)", "3 channels", "(out_channels, in_channels / groups, kh"),
    ),
    "conv2d: groups that do not divide": Case(
        lambda: tg.conv2d(ones(1, 4, 4, 4), ones(3, 2, 3, 3), groups=2),
        ValueError,
        ("(3, 2, 3, 3)", "groups=2", "divide"),
    ),
    "conv2d: no groups": Case(
        lambda: tg.conv2d(ones(1, 3, 4, 4), ones(2, 3, 3, 3), groups=0), ValueError, ("groups=0",)
    ),
    "conv2d: bias": Case(
        lambda: tg.conv2d(ones(1, 3, 4, 4), ones(2, 3, 3, 3), ones(3)),
        ValueError,
        ("bias", "(2,)", "(3,)"),
    ),
    "conv2d: no room for a window": Case(
        lambda: tg.conv2d(ones(1, 3, 2, 5), ones(2, 3, 3, 3)),
        ValueError,
        ("(1, 3, 2, 5)", "kernel 3", "more padding"),
    ),
    "conv2d: no channels": Case(
        lambda: tg.conv2d(ones(4, 4), ones(2, 3, 3, 3)), ValueError, ("(4, 4)", "(N, C, H, W)")
    ),
    "conv2d: stride": Case(
        lambda: tg.conv2d(ones(1, 3, 4, 4), ones(2, 3, 3, 3), stride=0), ValueError, ("stride", "0")
    ),
    "conv2d: images of bytes": Case(
        lambda: tg.conv2d(tg.zeros(1, 3, 4, 4, dtype=tg.uint8), ones(2, 3, 3, 3)),
        TypeError,
        ("conv2d", "uint8", "float"),
    ),
    "conv_transpose2d: channels": Case(
        lambda: tg.conv_transpose2d(ones(1, 3, 4, 4), ones(2, 3, 3, 3)),
        ValueError,
        ("(1, 3, 4, 4)", "(2, 3, 3, 3)"),
    ),
    "conv_transpose2d: no groups": Case(
        lambda: tg.conv_transpose2d(ones(1, 3, 4, 4), ones(3, 2, 3, 3), groups=0),
        ValueError,
        ("groups=0",),
    ),
    "conv_transpose2d: output_padding": Case(
        lambda: tg.conv_transpose2d(ones(1, 3, 4, 4), ones(3, 2, 3, 3), output_padding=1),
        ValueError,
        ("output_padding", "smaller than the stride"),
    ),
    "broadcast": Case(
        lambda: ones(2, 3) + ones(2), ValueError, ("add", "(2, 3)", "(2,)", "b[:, None]")
    ),
    "broadcast_to": Case(lambda: ones(2, 3).expand(4, 3), ValueError, ("(2, 3)", "(4, 3)")),
    "where": Case(
        lambda: tg.where(ones(2) > 0, ones(3), ones(2)), ValueError, ("where", "(2,)", "(3,)")
    ),
    "cat: lengths": Case(
        lambda: tg.cat([ones(2, 3), ones(2, 2)]), ValueError, ("(2, 3), (2, 2)", "every other axis")
    ),
    "cat: numbers of axes": Case(
        lambda: tg.cat([ones(2, 3), ones(2)], dim=1), ValueError, ("(2, 3), (2,)",)
    ),
    "cat: nothing": Case(lambda: tg.cat([]), ValueError, ("cat",)),
    "stack: lengths": Case(
        lambda: tg.stack([ones(2, 3), ones(2, 2)]), ValueError, ("(2, 3), (2, 2)", "equal")
    ),
    "stack: nothing": Case(lambda: tg.stack([]), ValueError, ("stack",)),
    "reshape": Case(
        lambda: ones(2, 3).reshape(4, 2), ValueError, ("6 elements", "(2, 3)", "(4, 2)", "-1")
    ),
    "reshape: two unknowns": Case(
        lambda: ones(2, 3).reshape(-1, -1), ValueError, ("(2, 3)", "(-1, -1)", "One length")
    ),
    "permute": Case(lambda: ones(2, 3).permute(0, 0), ValueError, ("(0, 0)", "(2, 3)")),
    "max_pool2d: padding alone": Case(
        lambda: tg.max_pool2d(ones(1, 1, 4, 4), 2, padding=2),
        ValueError,
        ("padding (2, 2)", "kernel (2, 2)", "half"),
    ),
    "max_pool2d: no channels": Case(
        lambda: tg.max_pool2d(ones(4, 4), 2), ValueError, ("(4, 4)", "(N, C, H, W)")
    ),
    "avg_pool2d: no room for a window": Case(
        lambda: tg.avg_pool2d(ones(1, 1, 2, 2), 3), ValueError, ("(1, 1, 2, 2)", "smaller kernel")
    ),
    "avg_pool2d: half a pixel": Case(
        lambda: tg.avg_pool2d(ones(1, 1, 2, 2), 1.5), ValueError, ("kernel_size", "1.5", "whole")
    ),
    "pad: half a pair": Case(lambda: tg.pad(ones(2), (1,)), ValueError, ("pairs", "(2,)", "(1,)")),
    "pad: mode": Case(lambda: tg.pad(ones(2), (1, 1), "mirror"), ValueError, ("'mirror'",)),
    # ----- backward
    "backward: not a scalar": Case(
        lambda: (leaf(2, 3) * 2).backward(), RuntimeError, ("(2, 3)", "loss.sum()", "gradient=")
    ),
    "backward: no gradient required": Case(
        lambda: ones(2, 3).sum().backward(), RuntimeError, ("requires_grad=True", "no_grad()")
    ),
    "backward: a second time": Case(
        twice, RuntimeError, ("second time", "retain_graph=True", "forward pass again")
    ),
    "backward: gradient of another shape": Case(
        lambda: (leaf(2, 3) * 2).backward(ones(3)), ValueError, ("(3,)", "(2, 3)", "equal")
    ),
    "backward: a saved value has changed": Case(
        change_a_saved_value, RuntimeError, ("mul of shape (2, 3)", "in place", "detach().clone()")
    ),
    "grad: input without a gradient": Case(
        lambda: tg.grad(leaf(2).sum(), ones(2, 3)), RuntimeError, ("(2, 3)", "requires_grad=True")
    ),
    "grad: unused input": Case(
        lambda: tg.grad(leaf(2).sum(), [leaf(2, 3)]), RuntimeError, ("(2, 3)", "allow_unused=True")
    ),
    "grad: too few grad_outputs": Case(
        lambda: tg.grad([leaf(2).sum(), leaf(2).sum()], leaf(2), grad_outputs=[ones()]),
        ValueError,
        ("grad_outputs", "2", "1"),
    ),
    "requires_grad: of integers": Case(
        lambda: tg.tensor([1, 2], requires_grad=True), TypeError, ("int64", "(2,)", "x.float()")
    ),
    "requires_grad: of a result": Case(
        lambda: (leaf(2) * 2).requires_grad_(False), RuntimeError, ("leaves", "mul", "x.detach()")
    ),
    "retain_grad: no gradient required": Case(
        lambda: ones(2, 3).retain_grad(), RuntimeError, ("(2, 3)", "requires_grad=True")
    ),
    # ----- in place
    "in place: elements": Case(
        lambda: assign(leaf(2), 0, 1.0), RuntimeError, ("in place", "x.data", "no_grad()")
    ),
    "in place: a view of a parameter": Case(
        lambda: assign(leaf(2)[:1], 0, 1.0), RuntimeError, ("view of a leaf", "(2,)", "x.clone()")
    ),
    "in place: a view from no_grad": Case(
        lambda: assign(tg.no_grad()(lambda: ones(2)[:1])(), 0, leaf(2)[0]),
        RuntimeError,
        ("in place", "(1,)", "no_grad()", "x.clone()"),
    ),
    "in place: a place twice": Case(
        lambda: assign(ones(2), [0, 0], leaf(2)), RuntimeError, ("twice", "index_add")
    ),
    "in place: an operator on a parameter": Case(
        lambda: add_in_place(leaf(2), 1.0), RuntimeError, ("leaf", "x.data -=", "no_grad()")
    ),
    "in place: zero_": Case(lambda: leaf(2).zero_(), RuntimeError, ("zero_", "x.data")),
    "in place: the result has grown": Case(
        lambda: add_in_place(ones(3), ones(2, 3)), ValueError, ("(2, 3)", "(3,)")
    ),
    "data: another shape": Case(
        lambda: setattr(leaf(2, 3) * 2, "data", ones(3)), ValueError, ("(3,)", "(2, 3)")
    ),
    "numpy: of a parameter": Case(lambda: leaf(2).numpy(), RuntimeError, ("x.detach().numpy()",)),
    # ----- losses
    "cross_entropy: float labels": Case(
        lambda: tg.cross_entropy(ones(2, 3), labels(0.0, 1.0)),
        TypeError,
        ("float32", "integer", "labels.long()"),
    ),
    "cross_entropy: a column of labels": Case(
        lambda: tg.cross_entropy(ones(2, 3), tg.tensor([[0], [1]])),
        ValueError,
        ("(2, 3)", "(2, 1)", "labels (N,)"),
    ),
    "cross_entropy: probabilities of other classes": Case(
        lambda: tg.cross_entropy(ones(2, 3), ones(2, 4)), ValueError, ("(2, 3)", "(2, 4)")
    ),
    "cross_entropy: reduction": Case(
        lambda: tg.cross_entropy(ones(2, 3), labels(0, 1), reduction="average"),
        ValueError,
        ("'average'", "'mean', 'sum' or 'none'"),
    ),
    "mse_loss: shapes that do not broadcast": Case(
        lambda: tg.mse_loss(ones(4, 2), ones(4)), ValueError, ("(4, 2)", "(4,)", "equal")
    ),
    "mse_loss: reduction": Case(
        lambda: tg.mse_loss(ones(2), ones(2), reduction="average"), ValueError, ("'average'",)
    ),
    "one_hot: label too large": Case(
        lambda: tg.one_hot(labels(0, 5), 3), ValueError, ("one_hot", "5", "3")
    ),
    # ----- layers
    "batch_norm: one value per channel": Case(
        lambda: nn.BatchNorm1d(3)(ones(1, 3)), ValueError, ("(1, 3)", "at least 2")
    ),
    "batch_norm: another number of channels": Case(
        lambda: nn.BatchNorm2d(3)(ones(2, 4, 2, 2)), ValueError, ("(2, 4, 2, 2)", "(3,)", "(4,)")
    ),
    "batch_norm: number of axes": Case(
        lambda: nn.BatchNorm2d(3)(ones(2, 3)), ValueError, ("BatchNorm2d", "(2, 3)", "4 axes")
    ),
    "batch_norm: no statistics": Case(
        lambda: tg.batch_norm(ones(2, 3)), ValueError, ("running_mean", "training=True")
    ),
    "dropout: p": Case(lambda: tg.dropout(ones(2), 1.5), ValueError, ("probability", "1.5")),
    "Dropout: p": Case(lambda: nn.Dropout(-0.1)(ones(2)), ValueError, ("probability", "-0.1")),
    "Conv2d: groups": Case(lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, ("groups=2", "3")),
    "Sequential: a list": Case(
        lambda: nn.Sequential([nn.Linear(2, 2), nn.ReLU()]), TypeError, ("list", "Module")
    ),
    "Sequential: a function": Case(
        lambda: nn.Sequential(nn.Linear(2, 2), tg.relu), TypeError, ("function", "Module")
    ),
    "Sequential: a class": Case(
        lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU), TypeError, ("ReLU", "Module")
    ),
    "Sequential: layers that do not fit": Case(
        lambda: nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2))(ones(4, 3)),
        ValueError,
        ("(4, 2)", "(2, 3)"),
    ),
    "Module: no forward": Case(
        lambda: nn.Module()(ones(2)), (NotImplementedError, AttributeError), ("forward",)
    ),
    # ----- optimizers
    "optimizer: no parameters": Case(
        lambda: optim.SGD(nn.ReLU().parameters(), lr=0.1), ValueError, ("model.parameters()",)
    ),
    "optimizer: a result": Case(
        lambda: optim.Adam([leaf(2) * 2]), ValueError, ("leaf", "computed")
    ),
    "optimizer: a tensor for a list": Case(
        lambda: optim.SGD(leaf(2)), TypeError, ("list", "[w]", "a Tensor")
    ),
    "optimizer: a name": Case(lambda: optim.SGD(["weight"]), TypeError, ("tensors", "weight")),
    "optimizer: a parameter twice": Case(
        lambda: optim.SGD([leaf(2)] * 2, lr=0.1), ValueError, ("(2,)",)
    ),
    "optimizer: uphill": Case(lambda: optim.SGD([leaf(2)], lr=-1.0), ValueError, ("-1",)),
    # ----- one value, many values
    "bool": Case(lambda: bool(ones(2, 3)), ValueError, ("(2, 3)", ".any()", ".all()")),
    "if": Case(lambda: 1 if ones(2) > 0 else 0, ValueError, ("(2,)", "ambiguous")),
    "item": Case(lambda: ones(2, 3).item(), ValueError, ("(2, 3)", "one element")),
    "float": Case(lambda: float(ones(2, 3)), ValueError, ("(2, 3)",)),
    "len of a number": Case(lambda: len(ones()), TypeError, ("0-d",)),
    "iteration over a number": Case(lambda: unpack(ones()), TypeError, ("0-d",)),
    # ----- axes and indices
    "sum: axis": Case(lambda: ones(2, 3).sum(2), IndexError, ("axis 2", "(2, 3)", "2 axes")),
    "sum: axis below": Case(lambda: ones(2, 3).sum(-3), IndexError, ("axis -3", "(2, 3)")),
    "sum: axis twice": Case(lambda: ones(2, 3).sum((0, -2)), ValueError, ("(2, 3)", "repeat")),
    "sum: half an axis": Case(lambda: ones(2, 3).sum(0.5), TypeError, ("0.5", "axis")),
    "sum: dim and axis": Case(
        lambda: ones(2, 3).sum(0, axis=1), TypeError, ("dim=0", "axis=1", "same")
    ),
    "softmax: axis": Case(lambda: ones(2, 3).softmax(2), IndexError, ("axis 2", "(2, 3)")),
    "max: two axes": Case(lambda: ones(2, 3).max((0, 1)), TypeError, ("one axis", "amax")),
    "amax: nothing": Case(lambda: tg.zeros(0, 3).amax(), ValueError, ("amax", "(0, 3)")),
    "argmax: nothing": Case(lambda: tg.zeros(0, 3).argmax(), ValueError, ("argmax", "(0, 3)")),
    "cat: axis": Case(lambda: tg.cat([ones(2, 3)] * 2, dim=2), IndexError, ("axis 2", "(2, 3)")),
    "squeeze: axis": Case(lambda: ones(2, 3).squeeze(2), IndexError, ("axis 2", "(2, 3)")),
    "unsqueeze: axis": Case(lambda: ones(2, 3).unsqueeze(4), IndexError, ("axis 4", "(2, 3)")),
    "transpose: axis": Case(lambda: ones(2, 3).transpose(0, 2), IndexError, ("axis 2", "(2, 3)")),
    "flatten: axis": Case(lambda: ones(2, 3).flatten(2), IndexError, ("axis 2", "(2, 3)")),
    "index: out of range": Case(lambda: ones(2, 3)[2], IndexError, ("2", "out of bounds")),
    "index: a float": Case(lambda: ones(2, 3)[1.0], IndexError, ("integer",)),
    "index: a mask of another length": Case(
        lambda: ones(2, 3)[tg.tensor([True, False, True])], IndexError, ("2", "3", "boolean")
    ),
    # ----- kinds of values
    "device: unknown": Case(lambda: tg.Tensor([1.0], device="gpu"), ValueError, ("'gpu'", "'cpu'")),
    "to: unknown": Case(lambda: ones(2).to("gpu"), (ValueError, TypeError), ("'gpu'", "cpu")),
    "operand: text": Case(lambda: ones(2) + "1", TypeError, ("+", "Tensor", "str")),
    "operand: an object": Case(lambda: object() * ones(2), TypeError, ("*", "object", "Tensor")),
    "operand: nothing": Case(lambda: ones(2) + None, TypeError, ("+", "NoneType")),
    "apply: nothing": Case(
        lambda: tg.apply(REGISTRY["cat"](axis=0)), TypeError, ("cat", "at least one input", "none")
    ),
    "grad: of nothing": Case(lambda: tg.grad([], leaf(2)), ValueError, ("one output", "none")),
    "add: text": Case(lambda: tg.add(ones(2), "1"), TypeError, ("add", "str", "tensors")),
    "softmax: text": Case(lambda: tg.softmax("1"), TypeError, ("softmax", "'1'", "tensor")),
    "sin: another name": Case(lambda: tg.sin(x=ones(2)), TypeError, ("sin", "(input)", "x")),
    "softmax: another name": Case(
        lambda: tg.softmax(y=ones(2)), TypeError, ("softmax", "(input, dim", "y")
    ),
    "relu: nothing": Case(lambda: tg.relu(None), TypeError, ("relu", "None")),
    "Tensor: nothing": Case(lambda: tg.Tensor(None), TypeError, ("None",)),
    "tensor: text": Case(lambda: tg.tensor(["a"]), (TypeError, ValueError), ("a",)),
    "tensor: ragged": Case(lambda: tg.tensor([[1.0], [2.0, 3.0]]), ValueError, ("inhomogeneous",)),
    "leaky_relu: a slope to learn": Case(
        lambda: tg.leaky_relu(ones(2), leaf(1)), TypeError, ("negative_slope", "Tensor")
    ),
    "op: too few inputs": Case(
        lambda: tg.maximum(ones(2)), TypeError, ("maximum", "(input, other)", "1")
    ),
    "op: too many inputs": Case(
        lambda: tg.exp(ones(2), ones(2)), TypeError, ("exp", "(input)", "2")
    ),
    "op: unknown attribute": Case(
        lambda: tg.relu(ones(2), slope=1), TypeError, ("relu", "unknown: slope")
    ),
    "formula: of a leaf": Case(lambda: tg.formula(leaf(2)), TypeError, ("leaf", "op")),
}

# A GPU is not made to wait for the labels: it answers with NaN (see test_fakecuda.py).
HOST_CASES = {
    "cross_entropy: label too large": Case(
        lambda: tg.cross_entropy(ones(2, 3), labels(0, 3)),
        ValueError,
        ("label 3", "(2, 3)", "0 to 2"),
    ),
    "cross_entropy: label below zero": Case(
        lambda: tg.cross_entropy(ones(2, 3), labels(0, -1)), ValueError, ("label -1", "0 to 2")
    ),
}


@pytest.mark.host
@pytest.mark.parametrize("case", HOST_CASES.values(), ids=HOST_CASES.keys())
def test_the_message_on_the_host(case: Case) -> None:
    test_the_message_says_what_was_given_and_what_to_do(case)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_message_says_what_was_given_and_what_to_do(case: Case) -> None:
    with pytest.raises(case.error) as caught:
        case.mistake()
    message = str(caught.value)
    assert [word for word in case.words if word not in message] == [], message


# ----- an error leaves everything as it was ------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("2.bias"), ("Missing key(s)", "2.bias")),
        (lambda state: state.update(extra=ones(1)), ("Unexpected key(s)", "extra")),
        (lambda state: state.update({"2.weight": ones(3, 2)}), ("(3, 2)", "(2, 3)")),
        # It would broadcast, and it is no less wrong for that.
        (lambda state: state.update({"1.running_mean": ones(1)}), ("(1,)", "(3,)")),
    ],
    ids=["missing", "unexpected", "wrong shape", "a shape that broadcasts"],
)
def test_a_state_that_does_not_fit_changes_nothing(
    change: Callable[[dict[str, Tensor]], Any], words: tuple[str, ...]
) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    state = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    change(state)
    with pytest.raises(ValueError, match="does not fit") as caught:
        model.load_state_dict(state)
    assert all(word in str(caught.value) for word in words)
    for name, tensor in model.state_dict().items():
        assert_array_equal(tensor.numpy(), before[name])


def test_an_assignment_that_does_not_fit_changes_nothing() -> None:
    x = leaf(2, 3)
    y = (x * x).sum()
    for mistake in (lambda: assign(x.data, 0, ones(2)), lambda: x.data.copy_(ones(2))):
        with pytest.raises(ValueError, match=r"\(2,\)"):
            mistake()
    y.backward()  # nothing was changed, so nothing is refused
    assert_array_equal(x.grad.numpy(), np.full((2, 3), 2.0))


def test_statistics_do_not_move_when_batch_norm_refuses() -> None:
    layer = nn.BatchNorm1d(3)
    before = {name: tensor.numpy().copy() for name, tensor in layer.state_dict().items()}
    for batch in (ones(1, 3), ones(5, 4), ones(5)):
        with pytest.raises(ValueError, match=r"expect|at least 2|shape"):
            layer(batch)
    for name, tensor in layer.state_dict().items():
        assert_array_equal(tensor.numpy(), before[name])


# ----- what looks like a mistake and is none -----------------------------------------------------


def test_labels_come_in_any_integer_dtype() -> None:
    scores = leaf(2, 3)
    for dtype in (tg.int32, tg.int64, tg.uint8):
        loss = tg.cross_entropy(scores, tg.tensor([0, 2], dtype=dtype))
        loss.backward()
        assert np.isclose(loss.item(), np.log(3))
        expected = [[1 / 6 - 1 / 2, 1 / 6, 1 / 6], [1 / 6, 1 / 6, 1 / 6 - 1 / 2]]
        assert np.allclose(scores.grad.numpy(), expected)
        scores.grad = None


def test_labels_come_as_arrays_and_lists() -> None:
    for labels_ in (np.array([0, 2]), [0, 2]):
        assert np.isclose(tg.cross_entropy(ones(2, 3), labels_).item(), np.log(3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: tg.matmul(x, 3), ValueError, "matmul: .*use \\* for numbers"),
        (lambda x: tg.cat([1, 2]), ValueError, "cat: .* got the shape \\(\\)"),
        (lambda x: tg.cat([x, "1"]), TypeError, "cat: expected a tensor, .*'1'"),
        (lambda x: tg.einsum("ij"), TypeError, "einsum takes an equation"),
        (lambda x: tg.einsum(x, x), TypeError, "einsum takes an equation"),
        (lambda x: tg.pad(x, 1), TypeError, "pad: expected widths .*; got 1"),
        (lambda x: tg.clamp(x), ValueError, "clamp: expected min, max or both"),
        (lambda x: x.size(9), IndexError, "axis 9 of a tensor of shape"),
        (lambda x: x.stride(-3), IndexError, "axis -3 of a tensor of shape"),
    ],
)
def test_arguments_of_another_kind_are_named(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(tg.ones(2, 3))


@pytest.mark.parametrize("name", ["gather", "index_select", "embedding", "x[...]"])
def test_an_index_out_of_range_is_named_with_its_op(name: str) -> None:
    calls = {
        "gather": lambda x: tg.gather(x, 0, tg.tensor([[9]], device="cpu")),
        "index_select": lambda x: tg.index_select(x, 0, tg.tensor([7], device="cpu")),
        "embedding": lambda x: tg.embedding(tg.tensor([9], device="cpu"), x),
        "x[...]": lambda x: x[0, 9],
    }
    with pytest.raises(IndexError, match=r"of .*\(2, .*out of bounds"):
        calls[name](tg.ones(2, 3, device="cpu"))
