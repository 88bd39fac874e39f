"""Memory: gradients share none, and a value that changed is never used unnoticed."""

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import oracles
import tinygrad_cv as tg
from programs import IN_PLACE, Array, differentiate_again, leaf, right_or_refused, values
from tinygrad_cv import nn, optim
from tinygrad_cv._op import Op
from tinygrad_cv._tensor import Tensor

# ----- gradients have memory of their own --------------------------------------------------------


class Same(Op, register=False):
    """The identity, without a copy in either direction."""

    def forward(self, xp, x):
        return x

    def grad_x(self, F, g):
        return g


class HalfSquare(Op, register=False):
    """x²/2: the gradient is x itself where the gradient of the output is 1."""

    def forward(self, xp, x):
        return x * x / 2

    def grad_x(self, F, g, x):
        return x


class Exponential(Op, register=False):
    """eˣ: the gradient is y itself where the gradient of the output is 1."""

    def forward(self, xp, x):
        return xp.exp(x)

    def grad_x(self, F, g, y):
        return y


class Both(Op, register=False):
    """x + y with one array for both gradients."""

    def forward(self, xp, x, y):
        return x + y

    def grad_x(self, F, g):
        return g

    def grad_y(self, F, g):
        return g


class FusedBoth(Both, register=False):
    """The same, fused."""

    def fused(self, xp, g):
        g = g + 0
        return g, g


SHARING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda p, q: p + q,
    "sub": lambda p, q: p - q,
    "neg": lambda p, q: -p + -q,
    "a sum of the same": lambda p, q: p + p + q,
    "reshape": lambda p, q: p.reshape(2, 2) + q.reshape(2, 2),
    "reshape of one": lambda p, q: p.reshape(4) + q,
    "transpose": lambda p, q: (p.reshape(2, 2).T + q.reshape(2, 2)).reshape(4),
    "permute twice": lambda p, q: p.reshape(2, 2).T.T + q.reshape(2, 2),
    "broadcast": lambda p, q: p.broadcast_to(3, 4) + q,
    "expand": lambda p, q: p[None].expand(1, 4) + q,
    "clone": lambda p, q: p.clone() + q.clone(),
    "cast": lambda p, q: p.double() + q.float().double(),
    "cat": lambda p, q: tg.cat([p, q]),
    "stack": lambda p, q: tg.stack([p, q]),
    "slices": lambda p, q: p[:2] + q[2:],
    "a whole slice": lambda p, q: p[:] + q[...],
    "pad": lambda p, q: tg.pad(p, (0, 0)) + q,
    "where": lambda p, q: tg.where(np.array([True] * 4), p, q),
    "clamp with far bounds": lambda p, q: p.clamp(min=-9) + q.clamp(max=9),
    "sum": lambda p, q: p.sum() + q.sum(),
    "mean of one element": lambda p, q: p[:1].mean() + q[:1].mean(),
    "max_pool2d of one pixel": lambda p, q: (
        tg.max_pool2d(p.reshape(1, 1, 2, 2), 1) + q.reshape(1, 1, 2, 2)
    ),
    "conv2d with a bias": lambda p, q: tg.conv2d(tg.ones(1, 1, 1, 1), p.reshape(4, 1, 1, 1), q),
    "linear with a bias": lambda p, q: tg.linear(tg.ones(1, 1), p.reshape(4, 1), q),
    "the identity of a user": lambda p, q: tg.function(Same)(p) + tg.function(Same)(q),
    "the identity twice": lambda p, q: tg.function(Same)(tg.function(Same)(p)) + q,
    "a rule that gives its input": lambda p, q: tg.function(HalfSquare)(p) + q,
    "a rule that gives its output": lambda p, q: tg.function(Exponential)(p) + q,
    "a rule that gives one array twice": tg.function(Both),
    "a fused rule that gives one array twice": tg.function(FusedBoth),
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("through_grad", [False, True], ids=["backward", "grad"])
@pytest.mark.parametrize("f", SHARING.values(), ids=SHARING.keys())
def test_gradients_share_memory_with_nothing(
    f: Callable[[Tensor, Tensor], Tensor], through_grad: bool, create_graph: bool
) -> None:
    p, q = leaf([1.0, 2.0, 3.0, 4.0]), leaf([5.0, 6.0, 7.0, 8.0])
    h = p * 1.0  # not a leaf, so that a saved value is somebody else's memory too
    y = f(h, q)
    seed = tg.ones(*y.shape, dtype=tg.float64)

    def gradients() -> list[Tensor]:
        if through_grad:
            options = {"create_graph": create_graph, "retain_graph": True}
            return list(tg.grad(y, [h, q], grad_outputs=seed, **options))
        h.grad = q.grad = None
        h.retain_grad()
        y.backward(seed, retain_graph=True, create_graph=create_graph)
        return [h.grad, q.grad]

    first = gradients()
    expected = [values(g) for g in first]
    bystanders = [seed, p, q, h, y]
    for a, b in combinations([*first, *bystanders], 2):
        if any(a is g for g in first):
            assert not np.shares_memory(a.detach().numpy(), b.detach().numpy())
    before = [values(t) for t in bystanders]
    for g, e in zip(first, expected, strict=True):
        assert_array_equal(values(g), e)
        g.data.copy_(float("nan"))
    for t, e in zip(bystanders, before, strict=True):
        assert_array_equal(values(t), e)
    for g, e in zip(gradients(), expected, strict=True):
        assert_array_equal(values(g), e)


def test_a_gradient_is_not_the_memory_of_a_parameter() -> None:
    """Zeroing the gradients must not zero the parameters."""
    for op in (Same, HalfSquare, Exponential):
        for create_graph in (False, True):
            x = leaf([1.0, 2.0])
            y = tg.function(op)(x)
            result = values(y)
            y.sum().backward(create_graph=create_graph)
            x.grad.data.zero_()
            assert x.tolist() == [1, 2]
            assert_array_equal(values(y), result)


def test_a_gradient_that_was_changed_does_not_spoil_the_next() -> None:
    p, q = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = (p + q).sum()
    y.backward(retain_graph=True)
    p.grad *= 100.0
    y.backward()
    assert p.grad.tolist() == [101, 101]
    assert q.grad.tolist() == [2, 2]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_gets_its_own_gradient(copied: Callable[[Tensor], Tensor]) -> None:
    x = leaf([1.0, 2.0])
    (x * 3).sum().backward()
    z = copied(x)
    (z * 5).sum().backward()
    assert x.grad.tolist() == [3, 3]
    assert z.grad.tolist() == [8, 8]  # its own came along
    z.grad.zero_()
    assert x.grad.tolist() == [3, 3]


# ----- values that change ------------------------------------------------------------------------

LEAF_ONLY: dict[str, Callable[[Tensor], Any]] = {
    "SGD": lambda x: step(optim.SGD([x], lr=0.1), x),
    "SGD with momentum": lambda x: step(optim.SGD([x], lr=0.1, momentum=0.9), x),
    "Adam": lambda x: step(optim.Adam([x], lr=0.1), x),
    "load_state_dict": lambda x: holder(x).load_state_dict({"x": tg.zeros(*x.shape)}),
    "state_dict": lambda x: holder(x).state_dict()["x"].zero_(),
}


def step(optimizer: optim.Optimizer, x: Tensor) -> None:
    x.grad = tg.ones(*x.shape, dtype=x.dtype)
    optimizer.step()


def holder(x: Tensor) -> nn.Module:
    module = nn.Module()
    module.register_buffer("x", x)
    return module


@pytest.mark.parametrize("name", [*IN_PLACE, *LEAF_ONLY])
def test_a_parameter_that_changed_since_is_refused(name: str) -> None:
    x = leaf([[0.5, -1.5], [2.5, 3.5]])
    y = (x * x).sum()
    (IN_PLACE | LEAF_ONLY)[name](x)
    assert x.tolist() != [[0.5, -1.5], [2.5, 3.5]]
    with pytest.raises(RuntimeError, match="in place"):
        y.backward()
    assert x.grad is None or x.grad.tolist() == [[1, 1], [1, 1]]  # the one of `step`
    (x * x).sum().backward()  # a new forward pass sees the new values


@pytest.mark.parametrize("name", IN_PLACE)
def test_an_intermediate_value_that_changed_since_is_refused(name: str) -> None:
    x = leaf([[0.5, -1.5], [2.5, 3.5]])
    for made in (lambda: x * 1.0, lambda: x.tanh(), lambda: x.T, lambda: x[:1]):
        h = made()
        y = (h * h).sum()
        before = values(h)
        IN_PLACE[name](h)
        if not (values(h) == before).all():  # reshape copies what is transposed
            with pytest.raises(RuntimeError, match="in place"):
                y.backward()
        x.data.copy_([[0.5, -1.5], [2.5, 3.5]])


@pytest.mark.parametrize("name", [*IN_PLACE, *LEAF_ONLY])
def test_a_change_between_two_derivatives_is_right_or_refused(name: str) -> None:
    """x³ and eˣ: the first derivative saved x (or what was made of it) for the second."""
    start = np.array([[0.5, -1.5], [2.5, 3.5]])
    for f, second_derivative in (
        (lambda x: x**3, 6 * start),
        (lambda x: x * x * x, 6 * start),
        (lambda x: x.exp(), np.exp(start)),
        (lambda x: x.sin(), -np.sin(start)),
        (lambda x: 1 / x, 2 / start**3),
        (lambda x: x.T.T.log(), -1 / start**2),
    ):
        x = leaf(np.abs(start)) if second_derivative[0, 1] == -1 / 1.5**2 else leaf(start)
        (first,) = tg.grad(f(x).sum(), x, create_graph=True)
        (IN_PLACE | LEAF_ONLY)[name](x)
        with right_or_refused():
            (second,) = tg.grad(first.sum(), x)
            assert_allclose(values(second), second_derivative)


def test_the_view_and_its_base_count_changes_together() -> None:
    for change in (
        lambda x, h: x.data[0].zero_(),
        lambda x, h: h.data.zero_(),
        lambda x, h: x.data.T[1].zero_(),
        lambda x, h: h.detach()[:1].zero_(),
    ):
        for view in (lambda x: x[1:], lambda x: x.T, lambda x: x.reshape(4), lambda x: x[None]):
            x = leaf([[1.0, 2.0], [3.0, 4.0]])
            h = view(x)
            y = (h * h).sum()
            change(x, h)
            with pytest.raises(RuntimeError, match="in place"):
                y.backward()


def test_a_change_through_a_tensor_that_was_put_into_data() -> None:
    x, source = leaf([1.0, 2.0]), Tensor([3.0, 4.0], dtype="float64")
    x.data = source
    y = (x * x).sum()
    source[0] = 9.0
    with pytest.raises(RuntimeError, match="in place"):
        y.backward()


def test_a_change_that_no_rule_can_see_is_not_refused() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = ((x + w).tanh() + x.exp()).sum()  # these rules read outputs
    x.data.zero_()
    w.data.zero_()
    y.backward()
    expected = 1 - np.tanh([4.0, 6.0]) ** 2
    assert_allclose(values(x.grad), expected + np.exp([1.0, 2.0]))
    assert_allclose(values(w.grad), expected)


def test_a_change_before_the_value_is_used_is_not_refused() -> None:
    x = leaf([1.0, 2.0])
    x.data += 2.0
    h = x * 1.0
    h.data *= 10.0
    (h * h).sum().backward()
    assert x.grad.tolist() == [60, 80]


def test_data_replaced_leaves_the_graph_its_old_values() -> None:
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    x.data = Tensor([10.0, 20.0], dtype="float64")
    y.backward()
    assert x.grad.tolist() == [2, 4]
    (x * x).sum().backward()
    assert x.grad.tolist() == [2 + 20, 4 + 40]


def test_a_step_on_a_graph_that_is_kept_is_noticed() -> None:
    w = leaf([1.0, 2.0])
    optimizer = optim.SGD([w], lr=0.1)
    loss = (w**3).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="in place"):
        loss.backward()


def test_arrays_that_tensors_were_made_from_are_copied() -> None:
    a = np.array([1.0, 2.0])
    made = [Tensor(a), tg.tensor(a), nn.Parameter(a), leaf(a), Tensor(Tensor(a))]
    made += [tg.eye(2)[0].double(), tg.full((2,), 1.0).double()]
    a[:] = 9
    assert [t.tolist() for t in made[:5]] == [[1, 2]] * 5


def test_arrays_that_took_part_may_change_afterwards() -> None:
    a, index, mask = np.array([3.0, 4.0]), np.array([0, 1]), np.array([True, False])
    slope = np.array([1.0, 10.0])
    x = leaf([1.0, 2.0])
    y = x * a + x[index] * 1.0 + tg.where(mask, x, 0.0)
    x.grad = tg.zeros(2, dtype=tg.float64)
    (first,) = tg.grad(y, x, grad_outputs=[slope], retain_graph=True)
    a[:], index[:], mask[:] = 0, 0, False
    assert values(first).tolist() == [5, 50]
    y.backward(slope)
    slope[:] = 0
    assert x.grad.tolist() == [5, 50]


@pytest.mark.host
@pytest.mark.parametrize("view", [lambda x: x.detach().numpy(), lambda x: np.asarray(x.detach())])
def test_arrays_that_tensors_hand_out_cannot_be_written(view: Callable[[Tensor], Array]) -> None:
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    y = (x * x).sum()
    for h in (x, x * 1.0, x.T, x.sum(), x[0, 0]):
        given = view(h)
        for same in (given, given[...], given.T):
            with pytest.raises(ValueError, match="read-only"):
                same[...] = 0
    y.backward()
    assert x.grad.tolist() == [[2, 4], [6, 8]]


@pytest.mark.host
def test_arrays_that_are_asked_for_as_copies_can_be_written() -> None:
    x = leaf([1.0, 2.0])
    for mine in (np.array(x.detach()), np.asarray(x.detach(), dtype="float32")):
        mine[:] = 0
    assert x.tolist() == [1, 2]


def test_statistics_that_moved_on_do_not_spoil_a_gradient() -> None:
    rng = np.random.default_rng(0)
    batches = rng.normal(size=(2, 5, 2))
    layer = nn.BatchNorm1d(2)
    x = leaf(batches[0])
    y = (layer(x) * batches[1]).sum()
    moved = values(layer.running_mean)
    layer(Tensor(batches[1]))
    assert (values(layer.running_mean) != moved).all()

    def normalized(x: Array) -> float:
        z = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
        return float((z * batches[1]).sum())

    y.backward()
    assert_allclose(values(x.grad), oracles.numerical_gradient(normalized, batches[0]), atol=1e-7)


def test_statistics_in_use_are_right_or_refused_when_they_move() -> None:
    layer = nn.BatchNorm1d(2)
    layer.eval()
    x = leaf(np.ones((3, 2)))
    y = layer(x).sum()
    layer.train()
    layer(tg.rand(5, 2))
    with right_or_refused():
        y.backward()
        # At first the variance is 1 and the weight is 1.
        assert_allclose(values(x.grad), np.full((3, 2), 1 / np.sqrt(1 + 1e-5)), rtol=1e-6)


def test_statistics_that_a_graph_reads_are_refused_when_they_move() -> None:
    layer = nn.BatchNorm1d(2)
    for statistic in (layer.running_mean, layer.running_var):
        x = leaf(np.ones((3, 2)), "float32")
        y = (x * statistic).sum()
        layer(tg.rand(5, 2))
        with pytest.raises(RuntimeError, match="in place"):
            y.backward()


def fixed(*shape: int) -> Tensor:
    """Numbers in (0, 1), the same ones in each call."""
    return leaf(np.random.default_rng(sum(shape)).uniform(0.1, 0.9, shape))


# Everything that has a rule, with the tensors whose change has to be noticed.
FUNCTIONS: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "add": (tg.add, ((2, 3), (3,))),
    "mul": (tg.mul, ((2, 3), (3,))),
    "div": (tg.div, ((2, 3), (3,))),
    "pow": (lambda x: x**2.5, ((3,),)),
    "pow of tensors": (lambda x, n: x**n, ((3,), (3,))),
    "maximum": (tg.maximum, ((3,), (3,))),
    "exp": (tg.exp, ((3,),)),
    "log": (tg.log, ((3,),)),
    "sqrt": (tg.sqrt, ((3,),)),
    "square": (tg.square, ((3,),)),
    "reciprocal": (tg.reciprocal, ((3,),)),
    "sin": (tg.sin, ((3,),)),
    "cos": (tg.cos, ((3,),)),
    "abs": (tg.abs, ((3,),)),
    "clamp": (lambda x: x.clamp(0.3, 0.6), ((5,),)),
    "where": (lambda x, y: tg.where(x > y, x * x, y * y), ((5,), (5,))),
    "relu": (lambda x: tg.relu(x - 0.5), ((5,),)),
    "leaky_relu": (lambda x: tg.leaky_relu(x - 0.5), ((5,),)),
    "sigmoid": (tg.sigmoid, ((3,),)),
    "tanh": (tg.tanh, ((3,),)),
    "softmax": (lambda x: tg.softmax(x, 1), ((2, 3),)),
    "log_softmax": (lambda x: tg.log_softmax(x, 1), ((2, 3),)),
    "var": (lambda x: x.var(1), ((2, 3),)),
    "amax": (lambda x: x.amax(1), ((2, 3),)),
    "logsumexp": (lambda x: x.logsumexp(1), ((2, 3),)),
    "matmul": (tg.matmul, ((2, 3), (3, 2))),
    "linear": (tg.linear, ((2, 3), (4, 3), (4,))),
    "conv2d": (tg.conv2d, ((2, 2, 4, 4), (3, 2, 2, 2), (3,))),
    "conv_transpose2d": (tg.conv_transpose2d, ((2, 3, 2, 2), (3, 2, 2, 2), (2,))),
    "max_pool2d": (lambda x: tg.max_pool2d(x, 2), ((2, 2, 4, 4),)),
    "avg_pool2d": (lambda x: tg.avg_pool2d(x, 2), ((2, 2, 4, 4),)),
    "batch_norm": (
        lambda x, w, b: tg.batch_norm(x, weight=w, bias=b, training=True),
        ((4, 2), (2,), (2,)),
    ),
    "dropout": (lambda x: tg.dropout(x, 0.5, generator=np.random.default_rng(0)), ((9,),)),
    "cross_entropy": (lambda x: tg.cross_entropy(x, tg.tensor([0, 2])), ((2, 3),)),
    "mse_loss": (tg.mse_loss, ((3,), (3,))),
    "cat": (lambda x, y: tg.cat([x * x, y * y]), ((3,), (2,))),
    "getitem": (lambda x: x[[0, 0, 1]] * x[1:], ((4,),)),
}


def first_and_second(y: Tensor, leaves: Sequence[Tensor]) -> Iterator[list[Array | None]]:
    """The gradient of Σ w·y for random w, then the gradient of Σ v·gradient for random v."""
    rng = np.random.default_rng(0)
    first = tg.grad(y, leaves, [rng.normal(size=y.shape)], create_graph=True)
    yield [values(g) for g in first]
    weights = [rng.normal(size=g.shape) for g in first]
    yield differentiate_again(first, weights, leaves)  # type: ignore[misc]


@pytest.mark.parametrize(("f", "shapes"), FUNCTIONS.values(), ids=FUNCTIONS.keys())
@pytest.mark.parametrize("after", ["forward", "backward"])
def test_no_op_computes_with_values_that_changed(
    f: Callable[..., Tensor], shapes: Sequence[tuple[int, ...]], after: str
) -> None:
    """What was changed does not matter, or it is refused: the gradients never differ."""
    leaves = [fixed(*shape) for shape in shapes]
    expected = list(first_and_second(f(*leaves), leaves))
    for changed in range(len(leaves) + 1):
        leaves = [fixed(*shape) for shape in shapes]
        y = f(*leaves)
        derivatives = first_and_second(y, leaves)
        passed = [next(derivatives)] if after == "backward" else []
        (*leaves, y)[changed].data.copy_(0.45)
        with right_or_refused():
            passed += derivatives
        for actual, wanted in zip(passed, expected, strict=False):
            for a, w in zip(actual, wanted, strict=True):
                assert_array_equal(a, w)


@pytest.mark.parametrize("backward", ["raw", "recorded"])
def test_what_an_op_keeps_is_guarded_like_what_it_saves(backward: str) -> None:
    """A by-product may be a view of an input."""

    class SquaredNorm(Op, register=False):
        kept = ("flat",)

        def forward(self, xp, x):
            self.flat = xp.reshape(x, -1)
            return xp.sum(self.flat * self.flat)

        def grad_x(self, F, g, x, flat):
            return F.reshape(2 * g * flat, shape=x.shape)

    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    h = x * 1.0
    y = tg.function(SquaredNorm)(h)
    h.data.zero_()
    with pytest.raises(RuntimeError, match="in place"):
        y.backward(create_graph=backward == "recorded")


def test_two_equal_gradients_do_not_depend_on_each_other() -> None:
    """c = a + b sends one gradient to both; each result is a node of its own."""
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    first, second = tg.grad(((a + b) ** 2).sum(), [a, b], create_graph=True)
    assert tg.grad(second.sum(), first, allow_unused=True) == (None,)
    assert tg.grad(first.sum(), b)[0].tolist() == [2, 2]
