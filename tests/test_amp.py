"""`autocast`, which changes nothing, and `GradScaler`, beside steps written down by hand."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

import tinygrad_cv as tg
from tinygrad_cv import amp


def plain_descent(*parameters: Any) -> Any:
    """An optimizer of learning rate 1."""

    def step() -> str:
        for parameter in parameters:
            parameter.data -= parameter.grad
        return "stepped"

    return SimpleNamespace(param_groups=[{"params": list(parameters)}], step=step)


def test_autocast_changes_nothing_and_is_remembered() -> None:
    x = tg.randn(3, 3)
    plain = x @ x
    assert not tg.is_autocast_enabled()
    with amp.autocast("cuda", dtype=tg.float32), tg.autocast("cpu", enabled=False):
        assert tg.is_autocast_enabled("cuda")
        assert not tg.is_autocast_enabled("cpu")
        assert tg.get_autocast_dtype("cuda") == "float32"
        found = x @ x
    assert found.dtype == "float32"
    assert (found == plain).all()
    assert not tg.is_autocast_enabled()

    @amp.autocast(device_type="cuda")
    def inside(level: int) -> bool:
        """Nested."""
        return inside(level - 1) if level else tg.is_autocast_enabled()

    assert inside(2)
    assert inside.__doc__ == "Nested."
    assert not tg.is_autocast_enabled()
    with pytest.raises(TypeError, match="type of a device"):
        amp.autocast(True)


def test_a_function_with_inputs_cast() -> None:
    class Square(tg.autograd.Function):
        @staticmethod
        @amp.custom_fwd(device_type="cuda", cast_inputs=tg.float16)
        def forward(ctx: Any, x: Any) -> Any:
            seen.append((x.dtype.name, tg.is_autocast_enabled()))
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @amp.custom_bwd(device_type="cuda")
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2 * ctx.saved_tensors[0]

    seen: list[Any] = []
    x = tg.tensor([3.0], requires_grad=True)
    Square.apply(x).backward()
    with amp.autocast("cuda"):
        y = Square.apply(x)
    assert y.dtype == "float16"
    y.backward()
    assert seen == [("float32", False), ("float16", False)]
    assert (x.grad.dtype, x.grad.tolist()) == ("float32", [12])


def test_steps_are_scaled_back_and_left_out() -> None:
    w = tg.tensor(1.0, requires_grad=True)
    optimizer = plain_descent(w)
    scaler = amp.GradScaler(init_scale=8.0, growth_interval=2)
    factors = []
    for factor in (0.25, math.inf, 0.25, 0.25, 0.25, math.nan):
        w.grad = None
        scaler.scale(w * factor).backward()
        before = w.item()
        returned = scaler.step(optimizer)
        good = math.isfinite(factor)
        assert returned == ("stepped" if good else None)
        assert w.item() == (before - factor if good else before)
        scaler.update()
        factors.append(scaler.get_scale())
    assert factors == [8, 4, 4, 8, 8, 4]


def test_the_factor_grows_to_where_float32_ends() -> None:
    w = tg.tensor(1.0, requires_grad=True)
    scaler, factors = amp.GradScaler(init_scale=2.0**125, growth_interval=1), []
    for _ in range(3):
        scaler.scale(w * 2.0**-140).backward()
        scaler.step(plain_descent(w))
        scaler.update()
        factors.append(math.log2(scaler.get_scale()))
    assert factors == [126, 127, 127]


def test_unscaling_before_clipping_and_the_order_of_calls() -> None:
    w, v = (tg.tensor(1.0, requires_grad=True) for _ in range(2))
    one, other = plain_descent(w), plain_descent(v)
    scaler = amp.GradScaler(init_scale=4.0)
    losses = scaler.scale([w * 3, (v * 5,)])
    assert [losses[0].item(), losses[1][0].item()] == [12, 20]
    (losses[0] + losses[1][0]).backward()
    scaler.unscale_(one)
    assert (w.grad.item(), v.grad.item()) == (3, 20)
    with pytest.raises(RuntimeError, match="called for this optimizer already"):
        scaler.unscale_(one)
    scaler.step(one)
    scaler.step(other)
    assert (w.item(), v.item()) == (-2, -4)
    for call in (scaler.step, scaler.unscale_):
        with pytest.raises(RuntimeError, match=r"already since|not after"):
            call(one)
    scaler.update()
    with pytest.raises(AssertionError, match="after a step"):
        scaler.update()
    w.grad = None
    with pytest.raises(AssertionError, match=r"no parameter .* has a gradient"):
        scaler.step(one)
    with pytest.raises(RuntimeError, match="closure"):
        scaler.step(one, closure=lambda: 1)
    with pytest.raises(TypeError, match="scale takes tensors"):
        scaler.scale(3.0)
    scaler.update(new_scale=2.0)
    assert scaler.get_scale() == 2


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_scaled_training_is_the_plain_one(dtype: str) -> None:
    """The factor is a power of two, so it changes no bit; of float16 it saves what would vanish."""
    found = []
    for enabled in (False, True):
        tg.manual_seed(0)
        model = tg.nn.Linear(3, 1).to(dtype=dtype)
        optimizer = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        scaler = amp.GradScaler(init_scale=64.0, growth_interval=2, enabled=enabled)
        x = tg.linspace(-1, 1, 12).reshape(4, 3).to(dtype=dtype)
        for _ in range(5):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            tg.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        assert scaler.get_scale() == (256 if enabled else 1)
        found.append(model.weight.tolist())
    if dtype == "float32":
        assert found[0] == found[1]
    else:
        assert found[0][0] == pytest.approx(found[1][0], abs=2e-3)


def test_the_state_of_a_scaler() -> None:
    scaler = amp.GradScaler("cpu", 16.0, growth_interval=5)
    scaler._growth_tracker = 3
    state = scaler.state_dict()
    assert state == {
        "scale": 16.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 5,
        "_growth_tracker": 3,
    }
    other = amp.GradScaler()
    other.load_state_dict(state)
    assert other.state_dict() == state
    with pytest.raises(RuntimeError, match="empty"):
        other.load_state_dict({})
    off = amp.GradScaler(enabled=False)
    w = tg.tensor(1.0, requires_grad=True)
    off.scale(w * 1).backward()
    off.unscale_(plain_descent(w))
    assert off.step(plain_descent(w)) == "stepped"
    off.update()
    off.load_state_dict({})
    assert (w.item(), off.get_scale(), off.state_dict(), off.is_enabled()) == (0, 1, {}, False)
    with pytest.raises(ValueError, match="growth_factor"):
        amp.GradScaler(growth_factor=1.0)
    with pytest.raises(ValueError, match="backoff_factor"):
        amp.GradScaler(backoff_factor=1.0)
