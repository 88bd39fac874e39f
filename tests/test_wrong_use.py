"""What cannot work is refused where it is said, with one sentence."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from calls import PUBLIC, Call, call_of
from tinygrad_cv import nn, optim
from tinygrad_cv._tensor import Tensor

NO_NUMBERS = (math.nan, -1.0, -math.inf, math.inf, "0.1", None)


def weights() -> list[Tensor]:
    return [tg.ones(2, requires_grad=True)]


# ----- optimizers --------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", NO_NUMBERS, ids=repr)
@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (optim.SGD, "lr", "learning rate"),
        (optim.SGD, "momentum", "momentum"),
        (optim.SGD, "dampening", "dampening"),
        (optim.SGD, "weight_decay", "weight_decay"),
        (optim.Adam, "lr", "learning rate"),
        (optim.Adam, "eps", "eps"),
        (optim.Adam, "weight_decay", "weight_decay"),
    ],
)
def test_an_option_that_is_no_number_from_0_on(kind: Any, name: str, words: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=f"{words} is a number, finite and 0 or more; got"):
        kind(weights(), **{name: bad})
    kind(weights(), **{name: 0.0})


@given(st.floats(0, 1, exclude_max=True), st.sampled_from((1.0, 1.5, -0.1, math.nan, math.inf)))
def test_betas_lie_below_1(good: float, bad: float) -> None:
    optim.Adam(weights(), betas=(good, good))
    for place, betas in enumerate(((bad, good), (good, bad))):
        with pytest.raises(ValueError, match=rf"betas\[{place}\] is a number, 0 or more and below"):
            optim.Adam(weights(), betas=betas)
    for wrong in (good, (good,), (good, good, good), None):
        with pytest.raises(ValueError, match="betas are two numbers"):
            optim.Adam(weights(), betas=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        (lambda: tg.ones(2, requires_grad=True), TypeError, "a list of tensors.*got a Tensor"),
        (lambda: nn.Linear(2, 2), TypeError, r"model.parameters\(\).*got a Linear"),
        (lambda: nn.Parameter([1.0]), TypeError, "got a Parameter"),
        (lambda: 3, TypeError, "got a int"),
        (list, ValueError, "no parameters"),
        (lambda: iter(()), ValueError, "no parameters"),
        (lambda: [tg.ones(2, requires_grad=True) * 2], ValueError, "leaf"),
        (lambda: [np.ones(2)], TypeError, "changes tensors"),
        (lambda: [*(w := weights()), *w], ValueError, "twice"),
    ],
)
def test_what_is_no_list_of_parameters(kind: Any, params: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        kind(params(), lr=0.1)


@pytest.mark.parametrize(("momentum", "dampening"), [(0.0, 0.0), (0.9, 0.1), (math.nan, 0.0)])
def test_nesterov_needs_momentum_and_no_dampening(momentum: float, dampening: float) -> None:
    with pytest.raises(ValueError, match="momentum"):
        optim.SGD(weights(), momentum=momentum, dampening=dampening, nesterov=True)


# ----- layers ------------------------------------------------------------------------------------

LAYERS: dict[str, tuple[Callable[[], Any], Any, str]] = {
    "Linear, negative": (lambda: nn.Linear(-1, 2), ValueError, "negative"),
    "Linear, a float": (lambda: nn.Linear(2.5, 2), TypeError, "whole numbers"),
    "Conv2d, negative": (lambda: nn.Conv2d(-1, 2, 3), ValueError, "negative"),
    "Conv2d, groups 0": (lambda: nn.Conv2d(4, 4, 3, groups=0), ValueError, "groups=0"),
    "Conv2d, groups -1": (lambda: nn.Conv2d(4, 4, 3, groups=-1), ValueError, "negative"),
    "Conv2d, groups 3": (lambda: nn.Conv2d(4, 6, 3, groups=3), ValueError, "groups=3"),
    "Conv2d, groups 1.5": (lambda: nn.Conv2d(4, 4, 3, groups=1.5), TypeError, "whole"),
    "Conv2d, kernel 0": (lambda: nn.Conv2d(1, 1, 0), ValueError, "kernel_size"),
    "Conv2d, padding -1": (lambda: nn.Conv2d(1, 1, 1, padding=-1), ValueError, "padding"),
    "ConvTranspose2d, groups": (
        lambda: nn.ConvTranspose2d(4, 4, 3, groups=3),
        ValueError,
        "groups=3",
    ),
    "MaxPool2d, kernel": (lambda: nn.MaxPool2d(-1), ValueError, "kernel_size"),
    "AvgPool2d, stride": (lambda: nn.AvgPool2d(2, 0), ValueError, "stride"),
    "CrossEntropyLoss": (lambda: nn.CrossEntropyLoss(reduction="total"), ValueError, "reduction"),
    "MSELoss": (lambda: nn.MSELoss(reduction="total"), ValueError, "reduction"),
    "Linear, None": (lambda: nn.Linear(None, 2), TypeError, "whole numbers"),  # type: ignore[arg-type]
    "Linear, a pair": (lambda: nn.Linear((2, 3), 2), TypeError, "whole numbers"),  # type: ignore[arg-type]
    "MaxPool2d, padding": (lambda: nn.MaxPool2d(2, padding=2), ValueError, "half of the kernel"),
    "AvgPool2d, padding": (lambda: nn.AvgPool2d(3, 1, 2), ValueError, "half of the kernel"),
    "BatchNorm2d, eps": (lambda: nn.BatchNorm2d(2, eps=None), ValueError, "eps"),  # type: ignore[arg-type]
    "BatchNorm2d, momentum": (lambda: nn.BatchNorm2d(2, momentum="1"), ValueError, "momentum"),  # type: ignore[arg-type]
    "BatchNorm2d, channels": (
        lambda: nn.BatchNorm2d(-1, affine=False, track_running_stats=False),
        ValueError,
        "negative",
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_that_cannot_be(name: str) -> None:
    make, error, words = LAYERS[name]
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("p", [1.5, -0.1, math.nan, math.inf])
def test_a_probability_is_checked_when_the_layer_is_made(p: float) -> None:
    for name, kind in vars(nn).items():
        if "Dropout" in name:
            with pytest.raises(ValueError, match="p is a probability, between 0 and 1"):
                kind(p)


@pytest.mark.parametrize("bad", [0.0, -1e-5, math.nan, math.inf])
def test_the_eps_of_batch_norm_is_positive(bad: float) -> None:
    for kind in (nn.BatchNorm1d, nn.BatchNorm2d):
        with pytest.raises(ValueError, match=r"eps .* above 0; got"):
            kind(2, eps=bad)
    for training in (True, False):
        with pytest.raises(ValueError, match=r"batch_norm: eps .* above 0; got"):
            tg.batch_norm(tg.ones(3, 2), tg.ones(2), tg.ones(2), training=training, eps=bad)


@pytest.mark.parametrize("bad", [-1e-5, math.nan, math.inf])
def test_the_eps_of_the_other_norms_is_no_negative_number(bad: float) -> None:
    x = tg.ones(2, 4, 3)
    for call in (
        lambda: tg.layer_norm(x, (3,), eps=bad),
        lambda: tg.group_norm(x, 2, eps=bad),
        lambda: tg.instance_norm(x, eps=bad),
        lambda: tg.rms_norm(x, (3,), eps=bad),
    ):
        with pytest.raises(ValueError, match=r"eps .* 0 or more; got"):
            call()


@pytest.mark.parametrize("bad", [-0.1, 1.5, math.nan, None])
def test_the_momentum_of_running_statistics_is_a_share(bad: Any) -> None:
    for call in (
        lambda: nn.BatchNorm1d(2, momentum="0.1" if bad is None else bad),
        lambda: tg.batch_norm(tg.ones(3, 2), tg.ones(2), tg.ones(2), training=True, momentum=bad),
        lambda: tg.instance_norm(tg.ones(3, 2, 2), tg.ones(2), tg.ones(2), momentum=bad),
    ):
        with pytest.raises(
            (ValueError, TypeError), match=r"momentum .*(from 0 to 1|a number); got"
        ):
            call()


# ----- sizes, places and counts ------------------------------------------------------------------

SIZES: dict[str, Callable[[Any], Any]] = {
    "zeros": tg.zeros,
    "ones": tg.ones,
    "empty": tg.empty,
    "rand": tg.rand,
    "randn": tg.randn,
    "full": lambda n: tg.full((n,), 1.0),
    "eye": tg.eye,
    "linspace": lambda n: tg.linspace(0, 1, n),
    "randperm": tg.randperm,
    "randint": lambda n: tg.randint(0, 5, (n,)),
    "new_zeros": lambda n: tg.ones(2).new_zeros(n),
    "reshape": lambda n: tg.ones(2, 3).reshape(n, 3),
    "view": lambda n: tg.ones(2, 3).view(n, 3),
    "expand": lambda n: tg.ones(1).expand(n),
    "broadcast_to": lambda n: tg.ones(1).broadcast_to((n,)),
    "repeat": lambda n: tg.ones(1).repeat(n),
    "tile": lambda n: tg.ones(1).tile(n),
    "permute": lambda n: tg.ones(2, 3, 4).permute(n, 0, 1),
}


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("size", [2.5, 2.0, math.nan, math.inf, True, "2", None], ids=repr)
def test_a_size_is_a_whole_number(name: str, size: Any) -> None:
    with pytest.raises(TypeError, match="whole number"):
        SIZES[name](size)
    for whole in (2, np.int64(2), tg.tensor(2)):
        SIZES[name](whole)


@given(st.lists(st.integers(-4, 6), max_size=3))
def test_a_length_below_0_is_minus_1_once(lengths: list[int]) -> None:
    x = tg.ones(6)
    known = math.prod(n for n in lengths if n != -1)
    fits = known == 6 if -1 not in lengths else known > 0 and 6 % known == 0
    if min(lengths, default=0) >= -1 and lengths.count(-1) < 2 and fits:
        shape = tuple(6 // known if n == -1 else n for n in lengths)
        assert x.reshape(lengths).shape == np.reshape(x, lengths).shape == shape
        return
    for call in (x.reshape, x.view, lambda n: np.reshape(x, n)):
        with pytest.raises(ValueError, match=r"reshape: .*-1 to be worked out|do not fill"):
            call(lengths)


COUNTS = [
    (name, parameter.name)
    for name, function in PUBLIC.items()
    for parameter in inspect.signature(function).parameters.values()
    if parameter.annotation in (int, int | None)
    and any("Tensor" in str(p.annotation) for p in inspect.signature(function).parameters.values())
]


@pytest.mark.parametrize(("name", "parameter"), COUNTS)
def test_a_count_or_a_place_is_a_whole_number(name: str, parameter: str) -> None:
    """In every function, by name and by position."""
    args, options = call_of(name).on(tg.tensor)
    names = list(inspect.signature(PUBLIC[name]).parameters)
    bound = inspect.signature(PUBLIC[name]).bind(*args, **options).arguments
    for bad in (1.5, 2.0, math.nan, True, np.float32(2), "2", 1j, {}.get):
        given = [bad if n == parameter else v for n, v in zip(names, args, strict=False)]
        calls = [Call(tuple(given), {})] if parameter in names[: len(args)] else []
        if parameter not in bound:
            calls.append(Call(args, options | {parameter: bad}))
        for wrong in calls:
            with pytest.raises(TypeError, match=rf"{parameter} is a whole number; got"):
                PUBLIC[name](*wrong.args, **wrong.options)


@pytest.mark.parametrize("bad", [1.5, "2", 1j, len], ids=str)
def test_one_or_several_whole_numbers(bad: Any) -> None:
    x = tg.ones(2, 2)
    for call in (
        lambda: x.split(bad),
        lambda: x.roll(bad),
        lambda: x.movedim(bad, 0),
        lambda: x.movedim(0, bad),
        lambda: x.squeeze(bad),
        lambda: x.unflatten(0, bad),
        lambda: tg.layer_norm(x, bad),
        lambda: x.repeat_interleave(bad),
    ):
        with pytest.raises(TypeError, match="whole number"):
            call()


@pytest.mark.parametrize("bad", [[1.0, 2.0], "1", None, 1j, [None]], ids=repr)
def test_a_tensor_is_filled_with_one_number(bad: Any) -> None:
    for dtype in ("float32", "int64"):
        with pytest.raises(TypeError, match="full: the value is one number"):
            tg.full((2,), bad, dtype=dtype)
        with pytest.raises(TypeError, match="full: the value is one number"):
            tg.full_like(tg.ones(2, dtype=dtype), bad)
    assert tg.full((1,), 1j, dtype="complex64").tolist() == [1j]


REALS = [
    (name, parameter.name)
    for name, function in PUBLIC.items()
    for parameter in inspect.signature(function).parameters.values()
    if parameter.annotation in (float, float | None)
    and any("Tensor" in str(p.annotation) for p in inspect.signature(function).parameters.values())
]


@pytest.mark.parametrize(("name", "parameter"), REALS)
def test_a_factor_is_a_number(name: str, parameter: str) -> None:
    args, options = call_of(name).on(tg.tensor)
    bound = inspect.signature(PUBLIC[name]).bind(*args, **options).arguments
    if parameter in bound and parameter not in options:
        args = args[: list(bound).index(parameter)]
    for bad in ("2", 1j, [1.0], {}):
        with pytest.raises(TypeError, match=rf"{parameter} is a number; got"):
            PUBLIC[name](*args, **options | {parameter: bad})


@pytest.mark.parametrize("bad", ["nonsense", str, object, "U3", "datetime64[s]", "V4"])
def test_a_dtype_is_one_of_numbers(bad: Any) -> None:
    for call in (
        lambda: tg.zeros(2, dtype=bad),
        lambda: tg.empty(2, dtype=bad),
        lambda: tg.full((2,), 1, dtype=bad),
        lambda: tg.rand(2, dtype=bad),
        lambda: tg.tensor([1.0], dtype=bad),
        lambda: tg.Tensor([1.0], dtype=bad),
        lambda: tg.arange(3, dtype=bad),
        lambda: tg.ones_like(tg.ones(2), dtype=bad),
        lambda: tg.ones(2).to(dtype=bad),
    ):
        with pytest.raises(TypeError, match="a dtype is one of numbers"):
            call()


@pytest.mark.parametrize("size", [(10**20,), (10**10, 10**10), (2**62, 8), (10**15,)])
def test_what_no_memory_holds_is_refused_at_once(size: tuple[int, ...]) -> None:
    for make in (tg.zeros, tg.ones, tg.empty, tg.rand, tg.randn, lambda n: tg.full(n, 1.0)):
        with pytest.raises(MemoryError, match=rf"{size[0]}"):
            make(size)


@pytest.mark.parametrize("bad", [math.nan, math.inf, "1", None, [1]], ids=repr)
def test_a_range_goes_from_number_to_number(bad: Any) -> None:
    for call in (lambda: tg.arange(0, 1, bad), lambda: tg.arange(bad, 1)):
        with pytest.raises(ValueError, match="arange: start, end and step are finite numbers"):
            call()


def test_what_is_no_list_of_tensors() -> None:
    x = tg.ones(2)
    for bad in ("ab", b"ab", {1: x}, 3, None):
        for function in (tg.cat, tg.stack, tg.vstack):
            with pytest.raises(TypeError, match=f"{function.__name__}: expected a list of tensors"):
                function(bad)
    assert tg.cat(part for part in (x, x)).shape == tg.cat(map(tg.sin, [x, x])).shape == (4,)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tg.manual_seed("x"), "manual_seed: a seed is a whole number"),
        (lambda: tg.manual_seed(None), "manual_seed: a seed is a whole number"),
        (lambda: tg.zeros(2, device=3.0), "unknown device 3.0"),  # type: ignore[arg-type]
        (lambda: tg.interpolate(tg.ones(1, 1, 2), size=1.5), "size is made of whole numbers"),
        (lambda: tg.interpolate(tg.ones(1, 1, 2), scale_factor=math.nan), "of finite numbers"),
        (lambda: tg.ones(2).requires_grad_("a"), "requires_grad is True or False"),
        (lambda: tg.ones(2, requires_grad=True).register_hook(3), "takes a function"),
        (lambda: tg.grad([], []), "at least one output"),
        (lambda: nn.Dropout(None), "p is a probability"),  # type: ignore[arg-type]
        (lambda: nn.init.normal_(tg.ones(2), std=-1.0), "normal_: std is 0 or more"),
        (lambda: nn.init.uniform_(tg.ones(2), 1.0, 0.0), "uniform_: .* from a up to b"),
        (lambda: nn.ReLU().train("no"), "mode is True or False"),  # type: ignore[arg-type]
        (lambda: tg.add(tg.ones(2), [1, [2]]), "lists have equal lengths"),
    ],
)
def test_one_sentence_says_what_is_expected(call: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        call()


# ----- integers ----------------------------------------------------------------------------------


@pytest.mark.host
@given(st.sampled_from(("uint8", "int8", "int32", "int64", "bool")))
def test_no_integer_is_divided_by_0(dtype: str) -> None:
    """On the CPU; a GPU does not look, as that would take a wait."""
    x, zero = tg.ones(2, dtype=dtype), tg.zeros(2, dtype=dtype)
    for call in (
        lambda: x // 0,
        lambda: x % 0,
        lambda: 1 // zero,
        lambda: x % zero,
        lambda: tg.fmod(x, zero),
        lambda: x.div(zero, rounding_mode="floor"),
        lambda: x.div(0, rounding_mode="trunc"),
        lambda: np.floor_divide(x, 0),
    ):
        with pytest.raises(ZeroDivisionError, match="an integer was divided by 0"):
            call()
    assert (x / zero).tolist() == [math.inf] * 2
    assert (x.float() // 0).tolist() == [math.inf] * 2
