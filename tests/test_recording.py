"""Recording switched off and on: blocks, decorators, generators, tasks and threads."""

import asyncio
import math
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import oracles
import tinygrad_cv as tg
from programs import BINARY, UNARY, Array, Program, agree, leaf, starting_values, values
from tinygrad_cv import nn
from tinygrad_cv._tensor import Tensor

# ----- no_grad -----------------------------------------------------------------------------------


def recording() -> bool:
    """Whether an op is recorded, found out by doing one."""
    found = (leaf(1.0) * 2).requires_grad
    assert found == tg.is_grad_enabled()
    return found


def test_no_grad_nests() -> None:
    with tg.no_grad():
        assert not recording()
        with tg.enable_grad():
            assert recording()
            with tg.no_grad():
                assert not recording()
            assert recording()
        assert not recording()
    assert recording()


def test_no_grad_ends_with_an_exception() -> None:
    with pytest.raises(KeyError), tg.no_grad():
        raise KeyError
    assert recording()


def test_one_no_grad_serves_many_times() -> None:
    quiet = tg.no_grad()
    for _ in range(2):
        with quiet:
            assert not recording()
            with quiet, tg.enable_grad():
                assert recording()
            assert not recording()
        assert recording()


def test_no_grad_makes_a_decorator() -> None:
    @tg.no_grad()
    def inner(depth: int) -> list[bool]:
        return [recording()] + (inner(depth - 1) if depth else [])

    @tg.enable_grad()
    def outer() -> list[bool]:
        return [recording(), *inner(2), recording()]

    with tg.no_grad():
        assert outer() == [True, False, False, False, True]
    assert inner(0) == [False]  # more than once
    assert recording()


def test_no_grad_decorates_a_generator() -> None:
    """The body runs without recording, and who takes the values goes on recording."""

    @tg.no_grad()
    def batches() -> Iterator[bool]:
        for _ in range(3):
            yield recording()

    seen = [(inside, recording()) for inside in batches()]
    assert seen == [(False, True)] * 3


def test_a_generator_restores_what_it_found() -> None:
    def batches() -> Iterator[bool]:
        with tg.no_grad():
            yield recording()

    assert list(batches()) == [False]
    assert recording()
    generator = batches()
    next(generator)
    generator.close()
    assert recording()


def test_a_generator_may_be_closed_in_another_thread() -> None:
    """As happens to the last batch of a loader whose worker is gone."""

    def batches() -> Iterator[int]:
        with tg.no_grad():
            yield 1

    generator = batches()
    thread = threading.Thread(target=next, args=(generator,))
    thread.start()
    thread.join()
    generator.close()
    assert recording()


def test_no_grad_belongs_to_one_thread() -> None:
    inside, checked = threading.Event(), threading.Event()
    found = []

    def other() -> None:
        inside.wait(10)
        found.append(recording())
        with tg.no_grad():
            checked.set()
            found.append(recording())

    thread = threading.Thread(target=other)
    thread.start()
    with tg.no_grad():
        inside.set()
        assert checked.wait(10)
    assert recording()
    thread.join()
    assert found == [True, False]


def test_no_grad_belongs_to_one_task() -> None:
    async def quiet(turn: asyncio.Event, done: asyncio.Event) -> bool:
        with tg.no_grad():
            turn.set()
            await done.wait()
            return recording()

    async def loud(turn: asyncio.Event, done: asyncio.Event) -> bool:
        await turn.wait()
        found = recording()
        done.set()
        return found

    async def both() -> list[bool]:
        turn, done = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(quiet(turn, done), loud(turn, done))

    assert asyncio.run(both()) == [False, True]
    assert recording()


def test_an_abandoned_asynchronous_generator_is_closed_without_a_word() -> None:
    """asyncio closes it in a task of its own."""
    complaints = []

    async def batches() -> AsyncIterator[int]:
        with tg.no_grad():
            yield 1

    async def first() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, c: complaints.append(c))
        async for _ in batches():
            break

    asyncio.run(first())
    assert complaints == []


# ----- threads -----------------------------------------------------------------------------------


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def at_once(work: Callable[[int], Any], threads: int) -> list[Any]:
    """`work(i)` in that many threads, let go at the same moment."""
    barrier = threading.Barrier(threads)

    def run(i: int) -> Any:
        barrier.wait(10)
        return work(i)

    with ThreadPoolExecutor(threads) as executor:
        return list(executor.map(run, range(threads)))


def test_threads_with_graphs_of_their_own(hasty_threads: None) -> None:
    def work(i: int) -> tuple[Tensor, list[Array]]:
        program = Program(*starting_values(i))
        names = [*UNARY, *BINARY]
        rng = np.random.default_rng(i)
        program.run([(rng.choice(names), *rng.integers(0, 30, 2)) for _ in range(30)])
        loss, expected = program.loss()
        loss.backward()
        return [x.grad for x in program.leaves], expected

    for gradients, expected in at_once(work, 8):
        agree(gradients, expected)


def test_threads_that_share_parameters(hasty_threads: None) -> None:
    """Whoever uses a leaf first makes its node; two that come at once must not make two."""
    for _ in range(150):
        x = leaf([0.5, 1.5])

        def work(i: int, x: Tensor = x) -> Array:
            y = x * x + x.sin() * i
            return values(tg.grad(y.sum(), x)[0])

        for i, g in enumerate(at_once(work, 6)):
            assert_allclose(g, [1 + i * math.cos(0.5), 3 + i * math.cos(1.5)])


def test_threads_that_share_a_module(hasty_threads: None) -> None:
    """Each knows which call of it made a node, and sees the values that one thread sees."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 2)))
    x = tg.rand(5, 3)
    expected = values(model(x))

    def work(i: int) -> None:
        for _ in range(20):
            y = model(x)
            assert_array_equal(values(y), expected)
            calls, scope = [], y.node.scope
            while scope is not None:
                calls.append(scope.module())
                scope = scope.outer
            assert calls == [model[1][1], model[1], model]

    at_once(work, 6)


def test_threads_whose_kernels_use_threads() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(4, 3, 8, 8)), rng.normal(size=(5, 3, 3, 3))
    g = rng.normal(size=(4, 5, 6, 6))
    expected = oracles.conv2d_weight(x, g, (3, 3))

    def work(i: int) -> Tensor:
        kernel = leaf(w)
        tg.conv2d(Tensor(x), kernel).backward((i + 1) * g)
        return kernel.grad

    for i, gradient in enumerate(at_once(work, 6)):
        assert_allclose(values(gradient), (i + 1) * expected, rtol=1e-10, atol=1e-10)
