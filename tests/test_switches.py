"""The switches of recording: as contexts, as decorators, and set for good."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg

pytestmark = pytest.mark.host

SWITCHES: dict[str, tuple[Callable[[], Any], bool]] = {
    "no_grad": (tg.no_grad, False),
    "enable_grad": (tg.enable_grad, True),
    "inference_mode": (tg.inference_mode, False),
    "inference_mode(False)": (lambda: tg.inference_mode(False), True),
    "inference_mode(mode=True)": (lambda: tg.inference_mode(mode=True), False),
    "set_grad_enabled(False)": (lambda: tg.set_grad_enabled(False), False),
    "set_grad_enabled(True)": (lambda: tg.set_grad_enabled(True), True),
}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    tg.set_grad_enabled(True)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("name", SWITCHES)
def test_as_a_context(name: str, before: bool) -> None:
    make, inside = SWITCHES[name]
    with tg.set_grad_enabled(before):
        with make():
            assert tg.is_grad_enabled() == inside
        assert tg.is_grad_enabled() == before
        with pytest.raises(KeyError), make():
            raise KeyError
        assert tg.is_grad_enabled() == before
    assert tg.is_grad_enabled()


@pytest.mark.parametrize("name", SWITCHES)
def test_as_a_decorator(name: str) -> None:
    make, inside = SWITCHES[name]
    with tg.set_grad_enabled(not inside):

        @make()
        def state(depth: int) -> list[bool]:
            """What it says."""
            return [tg.is_grad_enabled(), *(state(depth - 1) if depth else [])]

        @make()
        def states() -> Any:
            yield tg.is_grad_enabled()
            yield tg.is_grad_enabled()

        assert tg.is_grad_enabled() != inside
        assert state(2) == [inside] * 3
        assert state.__doc__ == "What it says."
        for seen in states():
            assert seen == inside
            assert tg.is_grad_enabled() != inside
        assert tg.is_grad_enabled() != inside


@pytest.mark.parametrize("switch", [tg.no_grad, tg.inference_mode])
def test_as_a_decorator_without_parentheses(switch: Any) -> None:
    @switch
    def state() -> bool:
        return tg.is_grad_enabled()

    assert not state()
    assert tg.is_grad_enabled()

    @tg.enable_grad  # type: ignore[arg-type]
    def enabled() -> bool:
        return tg.is_grad_enabled()

    with tg.no_grad():
        assert enabled()  # type: ignore[operator]


def test_set_for_good() -> None:
    tg.set_grad_enabled(False)
    assert not tg.is_grad_enabled()
    assert not (tg.ones(1, requires_grad=True) * 2).requires_grad
    with tg.enable_grad():
        assert tg.is_grad_enabled()
        tg.set_grad_enabled(False)  # until the end of the block
        assert not tg.is_grad_enabled()
    assert not tg.is_grad_enabled()
    tg.set_grad_enabled(True)
    assert tg.is_grad_enabled()


STEPS = st.one_of(
    st.tuples(st.just("with"), st.sampled_from(sorted(SWITCHES))),
    st.tuples(st.just("set"), st.booleans()),
    st.tuples(st.just("end"), st.none()),
)


@given(st.lists(STEPS, max_size=12))
def test_blocks_and_calls_in_any_order(steps: list[tuple[str, Any]]) -> None:
    """Beside a stack of states: a block pushes and pops one, a call overwrites the top."""
    stack, blocks = [True], []
    for step, what in [*steps, *[("end", None)] * len(steps)]:
        if step == "with":
            make, inside = SWITCHES[what]
            blocks.append(make())
            blocks[-1].__enter__()
            stack.append(inside)
        elif step == "set":
            stack[-1] = what
            tg.set_grad_enabled(what)
        elif blocks:
            blocks.pop().__exit__(None, None, None)
            stack.pop()
        assert tg.is_grad_enabled() == stack[-1]
    tg.set_grad_enabled(True)


def test_a_switch_made_before_its_block() -> None:
    switch = tg.set_grad_enabled(False)
    with tg.enable_grad():
        with switch:
            assert not tg.is_grad_enabled()
            with switch:
                assert not tg.is_grad_enabled()
        assert tg.is_grad_enabled()
    assert not tg.is_grad_enabled()  # it was called, and that stays


def test_a_thread_has_a_state_of_its_own() -> None:
    seen: list[bool] = []

    def work() -> None:
        seen.append(tg.is_grad_enabled())
        tg.set_grad_enabled(True)

    tg.set_grad_enabled(False)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]
    assert not tg.is_grad_enabled()


def test_many_calls_leave_nothing_behind() -> None:
    from tinygrad_cv._grad_mode import _innermost

    for mode in (True, False) * 50:
        tg.set_grad_enabled(mode)
    depth, frame = 0, _innermost.get()
    while frame.outer is not None:
        depth, frame = depth + 1, frame.outer
    assert depth <= 1
