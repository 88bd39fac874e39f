"""The switches of recording: as contexts, as decorators, and set for good."""

import asyncio
import inspect
import sys
import threading
import types
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn

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
    st.tuples(st.just("end"), st.integers(0, 9)),
)


@given(st.lists(STEPS, max_size=12))
def test_blocks_and_calls_in_any_order(steps: list[tuple[str, Any]]) -> None:
    """Beside a list of states: a block adds one and takes it away, a call overwrites the last.

    Generators that are closed in any order end their blocks so, too.
    """
    states, blocks = [True], []
    for step, what in [*steps, *[("end", 0)] * len(steps)]:
        if step == "with":
            make, inside = SWITCHES[what]
            blocks.append(make())
            blocks[-1].__enter__()
            states.append(inside)
        elif step == "set":
            states[-1] = what
            tg.set_grad_enabled(what)
        elif blocks:
            place = what % len(blocks)
            blocks.pop(place).__exit__(None, None, None)
            states.pop(1 + place)
        assert tg.is_grad_enabled() == states[-1]
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
    from tinygrad_cv._grad_mode import _blocks

    for mode in (True, False) * 50:
        tg.set_grad_enabled(mode)
    assert _blocks.get() == (False, None)


# ----- random programs, beside a naive model -----------------------------------------------------


SHARED = {name: make() for name, (make, _) in SWITCHES.items() if "set" not in name}
"""One object for all threads and tasks."""


def switch(name: str) -> Any:
    return SHARED[name] if name in SHARED else SWITCHES[name][0]()


@types.coroutine
def pause() -> Iterator[None]:
    yield


class Programs:
    """Runs a program; `states` is what a naive reader thinks: a list that each block adds to.

    A step of a generator or of a coroutine has a list of its own, whoever resumes it.
    """

    def __init__(self, decorate: Callable[[str, Any], Any]) -> None:
        self.decorate = decorate

    def run(self, program: Any, states: list[bool]) -> None:
        for kind, name, bodies in program:
            assert tg.is_grad_enabled() == states[-1]
            inside = SWITCHES[name][1]
            getattr(self, kind)(name, inside, bodies, states)
            assert tg.is_grad_enabled() == states[-1]

    def set(self, name: str, inside: bool, bodies: Any, states: list[bool]) -> None:
        tg.set_grad_enabled(inside)
        states[-1] = inside

    def block(self, name: str, inside: bool, bodies: Any, states: list[bool]) -> None:
        with switch(name):
            own = [inside]
            for body in bodies:
                self.run(body, own)

    def fails(self, name: str, inside: bool, bodies: Any, states: list[bool]) -> None:
        with pytest.raises(KeyError):
            self.block(name, inside, [*bodies, [("error", name, [])]], states)

    def error(self, *_: Any) -> None:
        raise KeyError

    def call(self, name: str, inside: bool, bodies: Any, states: list[bool]) -> None:
        def function(body: Any) -> None:
            self.run(body, [inside])

        decorated = self.decorate(name, function)
        for body in bodies:
            decorated(body)

    def generator(self, name: str, inside: bool, bodies: Any, states: list[bool]) -> None:
        def function() -> Iterator[int]:
            own = [inside]
            for k, body in enumerate(bodies):
                self.run(body, own)
                yield k
            with tg.enable_grad(), tg.no_grad():
                yield len(bodies)
                assert not tg.is_grad_enabled()
            assert tg.is_grad_enabled() == own[-1]

        found = self.decorate(name, function)()
        for k in found:
            assert tg.is_grad_enabled() == states[-1]
            self.run(bodies[k - 1] if bodies else [], states)

    def coroutine(self, name: str, inside: bool, bodies: Any, states: list[bool]) -> None:
        async def function() -> int:
            own = [inside]
            for body in bodies:
                self.run(body, own)
                await pause()
                assert tg.is_grad_enabled() == own[-1]
            with tg.enable_grad(), tg.no_grad():
                await pause()
                assert not tg.is_grad_enabled()
            return len(bodies)

        running = self.decorate(name, function)()
        result = None
        while result is None:
            try:
                running.send(None)
            except StopIteration as end:
                result = end.value
            self.run(bodies[0] if bodies else [], states)
        assert result == len(bodies)


KINDS = ("set", "block", "fails", "call", "generator", "coroutine")


def steps_of(bodies: Any) -> Any:
    step = st.tuples(st.sampled_from(KINDS), st.sampled_from(sorted(SWITCHES)), bodies)
    return st.lists(step, max_size=3)


PROGRAMS = st.recursive(
    st.just([]), lambda inner: steps_of(st.lists(inner, max_size=2)), max_leaves=6
)


def decorated_once() -> Callable[[str, Any], Any]:
    """Decorates with the object that all share, or without parentheses where there is no choice."""

    def decorate(name: str, function: Any) -> Any:
        bare = {"no_grad": tg.no_grad, "enable_grad": tg.enable_grad}.get(name)
        return bare(function) if bare and hash(name) % 2 else switch(name)(function)

    return decorate


@given(PROGRAMS)
def test_programs_beside_a_naive_model(program: Any) -> None:
    Programs(decorated_once()).run(program, [True])
    tg.set_grad_enabled(True)


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PROGRAMS, min_size=4, max_size=4))
def test_programs_in_threads_that_share_their_switches(
    hasty_threads: None, programs: list[Any]
) -> None:
    barrier = threading.Barrier(4)

    def work(program: Any) -> None:
        barrier.wait(10)
        for _ in range(3):
            Programs(decorated_once()).run(program, [tg.is_grad_enabled()])

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(work, programs))
    assert tg.is_grad_enabled()


def test_one_switch_in_two_threads_that_overlap() -> None:
    """The first to enter is the first to leave."""
    quiet, entered, left = tg.no_grad(), threading.Event(), threading.Event()
    found = []

    def work() -> None:
        with quiet:
            entered.set()
            assert left.wait(10)
            found.append(tg.is_grad_enabled())
        found.append(tg.is_grad_enabled())

    thread = threading.Thread(target=work)
    with quiet:
        thread.start()
        assert entered.wait(10)
    assert tg.is_grad_enabled()
    left.set()
    thread.join()
    assert found == [False, True]
    assert tg.is_grad_enabled()


def test_one_switch_in_tasks_that_overlap() -> None:
    async def work(quiet: Any, first: float, then: float) -> list[bool]:
        await asyncio.sleep(first)
        with quiet:
            await asyncio.sleep(then)
            inside = tg.is_grad_enabled()
        return [inside, tg.is_grad_enabled()]

    async def both() -> list[list[bool]]:
        quiet = tg.no_grad()
        return await asyncio.gather(work(quiet, 0, 0.02), work(quiet, 0.01, 0.02))

    assert asyncio.run(both()) == [[False, True]] * 2
    assert tg.is_grad_enabled()


# ----- what a decorated generator or coroutine is to its caller ----------------------------------


def conversation() -> Iterator[Any]:
    """Answers what it is sent; takes some errors, and one of them in a cleanup that yields."""
    said = [tg.is_grad_enabled()]
    while len(said) < 8:
        try:
            said.append((yield list(said)))
            if said[-1] == "return":
                return said
        except ValueError as error:
            said.append(f"caught {error}")
        except GeneratorExit:
            said.append("closed")
            if len(said) % 2:
                raise
            return said
        finally:
            said.append(tg.is_grad_enabled())
    yield "the last"
    return said


async def awaited() -> Any:
    return await types.coroutine(conversation)()


async def streamed() -> AsyncIterator[Any]:
    said: list[Any] = [tg.is_grad_enabled()]
    while len(said) < 8:
        try:
            said.append((yield list(said)))
            await asyncio.sleep(0)
            if said[-1] == "return":
                return
        except ValueError as error:
            said.append(f"caught {error}")
        finally:
            said.append(tg.is_grad_enabled())


ERRORS: list[Any] = [ValueError("v"), KeyError("k"), StopIteration(3)]
MOVES = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(["a", "return", None])),
    st.tuples(st.just("throw"), st.sampled_from(ERRORS)),
    st.tuples(st.just("close"), st.none()),
)


def transcript(talk: Any, moves: list[Any]) -> list[Any]:
    """What comes of sending, throwing and closing."""
    said = []
    for move, what in [("send", None), *moves]:
        try:
            answer = getattr(talk, move)(*([] if move == "close" else [what]))
            said.append(("gave", None if move == "close" else answer))
        except BaseException as error:
            said.append((type(error).__name__, str(error)))
    return said


@given(st.lists(MOVES, max_size=6), st.sampled_from([conversation, awaited]))
def test_sending_throwing_and_closing_reach_the_function(moves: list[Any], talk: Any) -> None:
    with tg.enable_grad():
        expected = transcript(talk(), moves)
    with tg.no_grad():
        assert transcript(tg.enable_grad()(talk)(), moves) == expected
        assert not tg.is_grad_enabled()


@given(st.lists(MOVES, max_size=6))
def test_so_they_do_in_asynchronous_generators(moves: list[Any]) -> None:
    async def talk(stream: Any) -> list[Any]:
        said = []
        for move, what in [("send", None), *moves]:
            try:
                if move == "close":
                    said.append(await stream.aclose())
                else:
                    said.append(await getattr(stream, "a" + move)(what))
            except BaseException as error:
                said.append((type(error).__name__, str(error)))
        return said

    with tg.enable_grad():
        expected = asyncio.run(talk(streamed()))
    with tg.no_grad():
        found = asyncio.run(talk(tg.enable_grad()(streamed)()))
    assert found == expected


def test_a_decorated_coroutine_lets_others_record() -> None:
    @tg.no_grad()
    async def quiet(turn: asyncio.Event) -> bool:
        await turn.wait()
        await asyncio.sleep(0)
        return tg.is_grad_enabled()

    @tg.no_grad
    async def numbers() -> AsyncIterator[bool]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield tg.is_grad_enabled()

    async def all_of_it() -> list[Any]:
        turn = asyncio.Event()
        waiting = asyncio.ensure_future(quiet(turn))
        await asyncio.sleep(0)
        seen: list[Any] = [(k, tg.is_grad_enabled()) async for k in numbers()]
        turn.set()
        return [*seen, await waiting, await quiet(turn), tg.is_grad_enabled()]

    assert asyncio.run(all_of_it()) == [(False, True)] * 3 + [False, False, True]


def test_a_decorated_stream_that_is_left_is_closed() -> None:
    closed, complaints = [], []

    @tg.no_grad()
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            closed.append(tg.is_grad_enabled())

    async def first() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, c: complaints.append(c))
        async for _ in numbers():
            break
        await asyncio.sleep(0.01)  # asyncio closes it in a task of its own

    asyncio.run(first())
    assert (closed, complaints) == ([False], [])


@pytest.mark.parametrize("how", [tg.no_grad, tg.no_grad()])
def test_what_can_be_decorated(how: Any) -> None:
    class Model:
        @how
        def method(self) -> Any:
            return self, tg.is_grad_enabled()

        @how
        @staticmethod
        def static(x: int) -> Any:
            return x, tg.is_grad_enabled()

        @staticmethod
        @how
        def inside(x: int) -> Any:
            return x, tg.is_grad_enabled()

        @how
        @classmethod
        def made(cls) -> Any:
            return cls, tg.is_grad_enabled()

    model = Model()
    assert model.method() == (model, False)
    assert model.static(1) == Model.static(1) == (1, False)
    assert Model.inside(3) == (3, False)
    assert model.made() == Model.made() == (Model, False)

    async def coroutine() -> None: ...
    def generator() -> Iterator[None]:
        yield

    async def stream() -> AsyncIterator[None]:
        yield

    assert inspect.iscoroutinefunction(how(coroutine))
    assert inspect.isgeneratorfunction(how(generator))
    assert inspect.isasyncgenfunction(how(stream))
    assert list(how(partial(generator))()) == [None]
    layer = nn.Linear(2, 2)
    assert not how(layer)(tg.ones(1, 2)).requires_grad
    assert layer(tg.ones(1, 2)).requires_grad


@pytest.mark.parametrize("how", [tg.no_grad, tg.no_grad(), tg.inference_mode()])
def test_what_cannot(how: Any) -> None:
    class Model:
        pass

    with pytest.raises(TypeError, match=r"decorates functions and methods; got .*Model.*__init__"):
        how(Model)
    for wrong in (3, None, "f", property(lambda self: 1)):
        with pytest.raises(TypeError):
            tg.no_grad(wrong)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="decorates functions and methods"):
            tg.no_grad()(wrong)
    with pytest.raises(TypeError):
        tg.set_grad_enabled(lambda: 1)  # type: ignore[arg-type]
