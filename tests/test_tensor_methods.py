"""Methods of tensors: in place, conversions, what a tensor is, hooks on gradients."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_cv as tg
from tinygrad_cv import nn
from tinygrad_cv._public import IN_PLACE, PUBLIC
from tinygrad_cv._tensor import Tensor

# ----- in place ----------------------------------------------------------------------------------

X = np.array([[0.3, 0.6, 0.9], [0.2, 0.5, 0.7]])
OTHER = np.array([0.4, 0.5, 0.6])
COLUMNS = np.array([0, 2])

WITH_ANOTHER = (
    "add arctan2 atan2 copysign div divide eq float_power floor_divide fmod ge greater "
    "greater_equal gt heaviside hypot le less less_equal logical_and logical_or logical_xor lt "
    "mul multiply ne not_equal pow remainder sub subtract true_divide xlogy"
)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(WITH_ANOTHER.split(), (OTHER,)),
    "addbmm": (np.ones((4, 2, 5)), np.ones((4, 5, 3))),
    "addcdiv": (X, OTHER),
    "addcmul": (X, OTHER),
    "addmm": (np.ones((2, 4)), np.ones((4, 3))),
    "addmv": (np.ones((2, 3)), OTHER),
    "addr": (X[:, 0], OTHER),
    "baddbmm": (np.ones((2, 3, 4)), np.ones((2, 4, 3))),
    "clamp": (0.3, 0.6),
    "clamp_max": (0.6,),
    "clamp_min": (0.3,),
    "clip": (0.3, 0.6),
    "cumprod": (1,),
    "cumsum": (0,),
    "index_add": (1, COLUMNS, np.ones((2, 2))),
    "index_copy": (1, COLUMNS, np.ones((2, 2))),
    "index_fill": (1, COLUMNS, 5.0),
    "index_put": ((COLUMNS[:1], COLUMNS[1:]), np.ones(1)),
    "index_reduce": (1, COLUMNS, np.ones((2, 2)), "mean"),
    "ldexp": (COLUMNS[1:],),
    "lerp": (OTHER, 0.3),
    "masked_fill": (X > 0.5, 2.0),
    "masked_scatter": (X > 0.5, np.arange(6.0)),
    "mvlgamma": (2,),
    "put": (COLUMNS, OTHER[:2]),
    "renorm": (2.0, 0, 0.5),
    "scatter": (1, np.array([[0], [2]]), 3.0),
    "scatter_add": (1, np.array([[0], [2]]), np.ones((2, 1))),
    "scatter_reduce": (1, np.array([[0, 0], [2, 2]]), np.ones((2, 2)), "prod"),
}
START = {
    "acosh": X + 1,
    "arccosh": X + 1,
    "addmv": X[:, 0],
    "baddbmm": np.stack([X, X, X[::-1]])[:, :1].repeat(3, 1)[:2],
    "mvlgamma": X + 1,
}
BITS = [name for name in PUBLIC[IN_PLACE] if name.startswith("bitwise_")] + ["gcd", "lcm"]
FUNCTIONS = [name for name in PUBLIC[IN_PLACE] if name not in BITS]
RANDOM = ["bernoulli", "cauchy", "exponential", "log_normal", "normal", "random", "uniform"]
ALL = [*FUNCTIONS, *RANDOM, "fill", "zero", "copy", "apply", "map", "geometric", "polygamma"]


def as_tensors(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(as_tensors, value))
    return tg.tensor(value) if isinstance(value, np.ndarray) else value


def run(name: str, x: Tensor) -> Any:
    """The method in place, with arguments that fit."""
    arguments = {
        "fill": (7.0,),
        "copy": (X,),
        "apply": (abs,),
        "map": (X, max),
        "geometric": (0.5,),
        "polygamma": (1,),
        **ARGUMENTS,
    }.get(name, ())
    return getattr(x, f"{name}_")(*as_tensors(arguments))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_in_place_gives_the_values_of_the_function(name: str) -> None:
    start = START.get(name, X)
    expected = getattr(tg.tensor(start), name)(*as_tensors(ARGUMENTS.get(name, ())))
    x = tg.tensor(start)
    assert run(name, x) is x
    assert x.dtype == "float64"
    assert_array_equal(x.numpy(), expected.numpy().astype("float64"))


@pytest.mark.parametrize("name", ALL)
def test_in_place_changes_the_memory_that_views_share(name: str) -> None:
    base = tg.tensor(np.stack([START.get(name, X)] * 2))
    other = base[1].numpy().copy()
    view = base[0]
    run(name, view)
    assert_array_equal(base[0].numpy(), view.numpy())
    assert_array_equal(base[1].numpy(), other)


@pytest.mark.parametrize("name", ALL)
def test_a_graph_notices_that_it_was_changed_in_place(name: str) -> None:
    x = tg.tensor(START.get(name, X))
    w = tg.ones(x.shape, dtype="float64", requires_grad=True)
    y = (w * x).sum()
    run(name, x)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


@pytest.mark.parametrize("name", ALL)
def test_in_place_on_a_parameter_is_an_error(name: str) -> None:
    start = START.get(name, X)
    leaf = tg.tensor(start, requires_grad=True)
    for x in (leaf, leaf[...]):
        with pytest.raises(RuntimeError, match=rf"{name}_ in place on a .*leaf .*no_grad"):
            run(name, x)
        assert_array_equal(x.detach().numpy(), start)
    with tg.no_grad():
        run(name, leaf)
    assert leaf.requires_grad
    assert leaf.is_leaf
    run(name, tg.tensor(start, requires_grad=True).data)


@pytest.mark.parametrize("name", ALL)
def test_in_place_in_a_graph_is_the_function(name: str) -> None:
    """Its values, and its gradient: that of a new tensor, or zeros where nothing is left of x."""
    start = START.get(name, X)
    g = tg.tensor(np.linspace(-1, 2, start.size).reshape(start.shape))
    leaf = tg.tensor(start, requires_grad=True)
    x = leaf * 1.0
    if name in FUNCTIONS or name == "polygamma":
        y = getattr(leaf * 1.0, name)(*as_tensors({**ARGUMENTS, "polygamma": (1,)}.get(name, ())))
        expected = tg.grad(y, leaf, g, allow_unused=True)[0] if y.requires_grad else None
    else:
        y, expected = None, None
    assert run(name, x) is x
    assert x.requires_grad
    assert not x.is_leaf
    (found,) = tg.grad(x, leaf, g)
    assert_array_equal(found.numpy(), 0.0 * start if expected is None else expected.numpy())
    if y is not None:
        assert_array_equal(x.detach().numpy(), y.detach().numpy().astype("float64"))


@pytest.mark.parametrize("name", BITS)
def test_integers_in_place(name: str) -> None:
    x = tg.tensor([12, 5, 0])
    arguments = () if name == "bitwise_not" else (tg.tensor([2, 3, 1]),)
    expected = getattr(x, name)(*arguments)
    assert getattr(x, f"{name}_")(*arguments) is x
    assert x.tolist() == expected.tolist()


def test_in_place_on_plain_data_with_a_recorded_argument_is_recorded() -> None:
    w = tg.ones(2, requires_grad=True)
    for change, expected in (
        (lambda x: x.add_(w), [1, 1]),
        (lambda x: x.masked_fill_(x == 0, w[0]), [2, 0]),
        (lambda x: x.copy_(w), [1, 1]),
        (lambda x: x.fill_(w[1]), [0, 2]),
    ):
        x = tg.zeros(2)
        change(x)
        assert x.tolist() == [1, 1]
        assert tg.grad(x.sum(), w)[0].tolist() == expected
    whole = tg.zeros(2, dtype="int64")
    whole[0] = w[0]  # integers have no gradients
    assert whole.tolist() == [1, 0]
    assert not whole.requires_grad


def test_a_result_must_fit() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 2\) does not fit in place into \(2,\)"):
        tg.ones(2).add_(tg.ones(2, 2))
    for change in (
        lambda x: x.add_(1.5),
        lambda x: x.div_(2),
        lambda x: x.sqrt_(),
        lambda x: x.clamp_(0.5),
    ):
        x = tg.tensor([1, 2])
        with pytest.raises(TypeError, match="float32 would be cut to int64 in place"):
            change(x)
        assert x.tolist() == [1, 2]
    byte = tg.tensor([1, 2], dtype="uint8").add_(tg.tensor([3, 4]))
    assert (byte.tolist(), byte.dtype) == ([4, 6], "uint8")
    half = tg.tensor([1.0], dtype="float16").mul_(tg.tensor([3.0], dtype="float64"))
    assert (half.tolist(), half.dtype) == ([3], "float16")
    assert tg.tensor([1.0, 2.0]).lt_(1.5).tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"takes one number; got a value of shape \(2,\)"):
        tg.ones(2).fill_(tg.ones(2))
    assert tg.ones(2).fill_(tg.tensor(3)).tolist() == [3, 3]
    assert tg.tensor([1, 2]).fill_(2.75).tolist() == [2, 2]


def test_in_place_calls_follow_one_another() -> None:
    x = tg.tensor([1.0, -2.0])
    assert x.neg_().abs_().add_(1).mul_(2).sub_(tg.ones(2), alpha=2) is x
    assert x.tolist() == [2, 4]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda x: x.__ipow__(2), [9, 16]),
        (lambda x: x.__imod__(2), [1, 0]),
        (lambda x: x.__ifloordiv__(2), [1, 2]),
    ],
)
def test_augmented_operators_are_in_place_on_plain_data(change: Any, expected: Any) -> None:
    x = tg.tensor([3.0, 4.0])
    assert change(x) is x
    assert x.tolist() == expected
    leaf = tg.tensor([3.0, 4.0], requires_grad=True)
    assert change(leaf * 1).tolist() == expected


# ----- conversions -------------------------------------------------------------------------------

DTYPES = {
    "bool": "bool",
    "byte": "uint8",
    "char": "int8",
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "int": "int32",
    "long": "int64",
    "short": "int16",
}


@pytest.mark.parametrize("name", DTYPES)
def test_conversions_by_name(name: str) -> None:
    x = tg.tensor([0.0, 1.75, 100.5], dtype="float64")
    y = getattr(x, name)()
    assert y.dtype == DTYPES[name]
    assert_array_equal(y.numpy(), x.numpy().astype(DTYPES[name]))
    assert getattr(y, name)() is y
    assert x.type(DTYPES[name]).dtype == DTYPES[name]
    theirs = {"double": "Double", "half": "Half", "float": "Float", "bool": "Bool"}
    kind = f"{theirs.get(name, name.capitalize())}Tensor"
    assert y.type() == (f"torch.{kind}" if y.is_cpu else f"torch.cuda.{kind}")
    assert x.type(y.type()).dtype == DTYPES[name]
    assert x.type(y.type()).device == x.device
    assert x.type(f"torch.{kind}").is_cpu
    assert x.type_as(y).dtype == DTYPES[name]


@pytest.mark.parametrize("name", ["add", "sub", "subtract", "addcmul", "addcdiv"])
def test_the_factor_may_come_second(name: str) -> None:
    """As in the optimizers of older programs: exp_avg.mul_(0.9).add_(0.1, grad)."""
    x, y, z = (tg.tensor(numbers) for numbers in ([1.0, 2.0], [3.0, 5.0], [2.0, 4.0]))
    others, factor = ([y, z], "value") if name.startswith("addc") else ([y], "alpha")
    expected = getattr(tg, name)(x, *others, **{factor: 0.5})
    assert tg.equal(getattr(tg, name)(x, 0.5, *others), expected)
    assert tg.equal(getattr(x, name)(np.float64(0.5), *others), expected)
    assert getattr(x.clone(), f"{name}_")(0.5, *others).tolist() == expected.tolist()
    for wrong in ([*others, 0.5], [0.5, 0.5, *others]):
        with pytest.raises(TypeError, match="positional"):
            getattr(x, name)(*wrong)
    with pytest.raises(TypeError, match="positional"):
        getattr(x, name)(0.5, *others, **{factor: 2})


def test_conversions_keep_the_graph_where_they_can() -> None:
    x = tg.ones(2, requires_grad=True)
    assert x.type("float64").requires_grad
    assert not x.int().requires_grad
    x.type_as(tg.ones(1, dtype="float64")).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == "float32"


def test_to_copies_where_it_is_asked(device: str) -> None:
    x = tg.ones(2, requires_grad=True)
    assert x.to(device) is x
    assert x.to(dtype="float32", non_blocking=True) is x
    copy = x.to(device, copy=True)
    assert copy is not x
    copy.sum().backward()
    assert x.grad is not None
    plain = tg.ones(2)
    plain.to(copy=True).zero_()
    assert plain.tolist() == [1, 1]
    other = tg.ones(1, dtype="float64", device="fakecuda:0")
    moved = plain.to(other)
    assert (moved.dtype, moved.device) == ("float64", "fakecuda:0")
    assert plain.to(other, copy=True).device == "fakecuda:0"
    assert moved.cpu().device == "cpu"


def test_contiguous_means_in_row_major_order() -> None:
    x = tg.tensor(np.arange(6.0).reshape(2, 3))
    assert x.is_contiguous()
    assert x.contiguous() is x
    assert (x.stride(), x.stride(0), x.stride(-1)) == ((3, 1), 3, 1)
    for view, strides in ((x.T, (1, 3)), (x[:, ::2], (3, 2)), (tg.ones(2, 1).expand(2, 3), (1, 0))):
        assert view.stride() == strides
        assert not view.is_contiguous()
        copy = view.contiguous()
        assert copy.is_contiguous()
        assert_array_equal(copy.numpy(), view.numpy())
        copy.zero_()  # it has memory of its own
        assert view.numpy().any()
    leaf = tg.ones(2, 3, requires_grad=True)
    (leaf.T.contiguous() * tg.tensor([[1.0, 2.0]])).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [[1, 1, 1], [2, 2, 2]]


def test_what_a_tensor_is(device: str) -> None:
    x = tg.ones(2, 3, dtype="float64")
    assert (x.nelement(), x.element_size(), x.itemsize, x.nbytes) == (6, 8, 8, 48)
    assert x.is_cuda == (device != "cpu")
    assert x.get_device() == (-1 if device == "cpu" else int(device[-1]))
    assert x.grad_fn is None
    leaf = tg.ones(2, requires_grad=True)
    assert leaf.grad_fn is None
    y = leaf * 2
    assert y.grad_fn is y.node
    assert y.grad_fn is not None
    assert y.grad_fn.label == "mul"
    assert tg.tensor(1.0).stride() == ()
    assert (x.is_cpu, x.ndimension()) == (device == "cpu", 2)
    assert x.is_same_size(tg.ones(2, 3))
    assert not x.is_same_size(tg.ones(3, 2))


def test_detach_in_place_leaves_the_graph() -> None:
    x = tg.ones(2, requires_grad=True)
    y = x * 2
    z = y * 3
    assert y.detach_() is y
    assert y.is_leaf
    assert not y.requires_grad
    y.add_(1)
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        (y * 2).sum().backward()
    z.sum().backward()  # what was made before stays as it was
    assert x.grad is not None
    assert x.grad.tolist() == [6, 6]


def test_where_and_one_sided_clamps() -> None:
    x = tg.tensor([-1.0, 0.5, 2.0], requires_grad=True)
    y = x.where(x > 0, 9.0)
    assert y.tolist() == [9, 0.5, 2]
    assert x.clamp_min(0).tolist() == [0, 0.5, 2]
    assert x.clamp_max(tg.tensor([0.0, 1.0, 1.0])).tolist() == [-1, 0.5, 1]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1]


def test_t_is_for_matrices() -> None:
    x = tg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    assert_array_equal(x.t().detach().numpy(), x.detach().numpy().T)
    assert x.t().requires_grad
    for few in (tg.tensor(1.0), tg.ones(3)):
        assert few.t() is few
    with pytest.raises(ValueError, match=r"for matrices; got the shape \(2, 3, 4\)"):
        tg.ones(2, 3, 4).t()


def test_new_tensors_of_this_kind() -> None:
    x = tg.tensor([1, 2], dtype="int32")
    assert x.new_tensor([3.7]).tolist() == [3]
    assert x.new_zeros(2, 3).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert x.new_ones((2,)).tolist() == [1, 1]
    assert x.new_full((2,), 5).tolist() == [5, 5]
    assert x.new_empty(2, 0).shape == (2, 0)
    assert x.new_zeros(1, dtype="float64", requires_grad=True).requires_grad


# ----- hooks -------------------------------------------------------------------------------------


def gradients(create_graph: bool, y: Tensor, *leaves: Tensor) -> list[Any]:
    """By grad() and by backward(), which must agree."""
    found = tg.grad(y, leaves, create_graph=create_graph, retain_graph=True)
    y.backward(create_graph=create_graph)
    for leaf, g in zip(leaves, found, strict=True):
        assert leaf.grad is not None
        assert g is not None
        assert_array_equal(leaf.grad.detach().numpy(), g.detach().numpy())
    return [g.detach().numpy() for g in found if g is not None]


@pytest.mark.parametrize("create_graph", [False, True])
@given(
    place=st.integers(0, 3),
    factors=st.lists(st.integers(-3, 3), max_size=3),
    none=st.booleans(),
)
def test_what_a_hook_returns_flows_on(
    create_graph: bool, place: int, factors: list[int], none: bool
) -> None:
    """A hook that multiplies at one place of a chain multiplies the gradient of all before it."""
    x = tg.tensor([0.5, -1.0], dtype="float64", requires_grad=True)
    chain = [x]
    for f in (lambda v: v * v, lambda v: v.exp(), lambda v: v * 3):
        chain.append(f(chain[-1]))
    seen = []
    if none:
        chain[place].register_hook(seen.append)
    for factor in factors:
        chain[place].register_hook(lambda g, factor=factor: g * factor)
    plain = 6 * x.detach().numpy() * np.exp(x.detach().numpy() ** 2)
    (found,) = gradients(create_graph, chain[-1].sum(), x)
    assert_allclose(found, plain * np.prod([1, *factors]), rtol=1e-12)
    assert len(seen) == 2 * none


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_hook_waits_until_the_gradient_is_complete(create_graph: bool) -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    seen: list[Any] = []
    x.register_hook(lambda g: seen.append(g.detach().tolist()))
    (x * 2 + x * x + x).sum().backward(create_graph=create_graph)
    assert seen == [[5, 7]]


def test_a_hook_is_recorded_with_create_graph() -> None:
    x = tg.tensor(3.0, requires_grad=True)
    y = x * x
    y.register_hook(lambda g: g * x)
    (first,) = tg.grad(y, x, create_graph=True)  # x · 2x
    assert first is not None
    (second,) = tg.grad(first, x)
    assert second is not None
    assert (first.item(), second.item()) == (18, 12)
    records: list[bool] = []
    y.register_hook(lambda g: records.append((g * x).requires_grad))
    tg.grad(y, x, create_graph=True)
    tg.grad(y, x)
    assert records == [True, False]


def test_a_handle_takes_the_hook_away() -> None:
    x = tg.ones(1, requires_grad=True)
    seen: list[str] = []
    one = x.register_hook(lambda g: seen.append("one"))
    x.register_hook(lambda g: seen.append("two"))
    with x.register_hook(lambda g: seen.append("three")):
        (x * 2).backward()
    assert seen == ["one", "two", "three"]
    one.remove()
    one.remove()
    (x * 2).backward()
    assert seen[3:] == ["two"]


def test_a_hook_may_remove_itself() -> None:
    x = tg.ones(1, requires_grad=True)
    seen: list[int] = []

    def once(g: Tensor) -> None:
        seen.append(1)
        handle.remove()

    handle = x.register_hook(once)
    for _ in range(2):
        (x * 2).backward()
    assert seen == [1]


def test_hooks_of_a_leaf_live_as_long_as_the_leaf() -> None:
    """They stay when it is frozen for a while, moved, or converted; and go with it."""
    x = tg.ones(2, requires_grad=True)
    x.register_hook(lambda g: g * 10)
    x.requires_grad_(False).requires_grad_(True)
    (x * 1).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [10, 10]
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.register_hook(lambda g: g * 10)
    layer.to("fakecuda:0")
    layer.to(dtype="float64")
    layer(tg.ones(1, 1, device="fakecuda:0", dtype="float64")).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[10]]


def test_a_hook_goes_with_the_graph_at_once() -> None:
    class Hook:
        def __call__(self, g: Tensor) -> None: ...

    hook, y = Hook(), tg.ones(2, requires_grad=True) * 2
    handle = y.register_hook(hook)
    alive = weakref.ref(hook), weakref.ref(y.node)
    del hook, handle, y
    assert [reference() for reference in alive] == [None, None]


def test_what_a_hook_keeps_is_its_own() -> None:
    x = tg.ones(2, requires_grad=True)
    kept: list[Tensor] = []
    constant = tg.tensor([5.0, 5.0])

    def hook(g: Tensor) -> Tensor:
        kept.append(g.mul_(7))
        return constant

    x.register_hook(hook)
    (x * 2).sum().backward()
    assert x.grad is not None
    x.grad.zero_()
    assert kept[0].tolist() == [14, 14]
    assert constant.tolist() == [5, 5]


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_hook_may_change_the_gradient_in_place(create_graph: bool) -> None:
    kept: list[Tensor] = []

    def first_is_held(g: Tensor) -> None:
        g[0] = 0
        kept.append(g)

    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    other = y * 1  # its gradient is that of y, and stays
    other.register_hook(lambda g: kept.append(g))
    y.register_hook(first_is_held)
    x.register_hook(lambda g: kept.append(g.data.mul_(10)))
    (other**2).sum().backward(create_graph=create_graph)
    assert x.grad is not None
    assert x.grad.tolist() == [0, 360]
    assert [g.tolist() for g in kept] == [[6, 12], [0, 12], [0, 360]]
    with tg.no_grad():
        x.grad.zero_()
    assert kept[1].tolist() == [0, 12]
    assert kept[2].tolist() == [0, 360]


@pytest.mark.parametrize("create_graph", [False, True])
def test_what_a_hook_returns_must_be_a_gradient(create_graph: bool) -> None:
    x = tg.ones(2, requires_grad=True)
    for wrong in (tg.ones(3), 2.0):
        with x.register_hook(lambda g, wrong=wrong: wrong):
            y = (x * 2).sum()
            with pytest.raises(ValueError, match=r"gradient of shape \(2,\); it returns a tensor"):
                y.backward(create_graph=create_graph)
    with x.register_hook(lambda g: g.double()):
        (x * 2).sum().backward(create_graph=create_graph)
    assert x.grad is not None
    assert x.grad.dtype == "float32"
    with pytest.raises(RuntimeError, match=r"register_hook on a tensor.*needs no gradient"):
        tg.ones(2).register_hook(lambda g: g)


def test_a_hook_on_what_retains_its_gradient() -> None:
    x = tg.ones(2, requires_grad=True)
    y = x * 3
    y.retain_grad()
    y.register_hook(lambda g: g * 2)
    y.sum().backward()
    assert y.grad is not None
    assert x.grad is not None
    assert (y.grad.tolist(), x.grad.tolist()) == ([2, 2], [6, 6])


ATTACHED: dict[str, Callable[..., Any]] = {"bernoulli": tg.bernoulli, "multinomial": tg.multinomial}


@pytest.mark.parametrize("name", ATTACHED)
def test_functions_that_are_methods_too(name: str) -> None:
    assert getattr(Tensor, name) is ATTACHED[name]
