"""The batches of a DataLoader are the same whoever makes them, and whenever it goes on."""

import gc
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_cv as tg
from tests.noisy import Noisy
from tinygrad_cv.backend import as_generator
from tinygrad_cv.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
    workers,
)

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the system forks no processes"),
]


def plain(batch: Any) -> Any:
    """Tensors as lists, with their dtypes."""
    if isinstance(batch, tg.Tensor):
        return str(batch.dtype), batch.tolist()
    if isinstance(batch, dict):
        return {key: plain(value) for key, value in batch.items()}
    return [plain(part) for part in batch] if isinstance(batch, list | tuple) else batch


def forked(count: int, **options: Any) -> dict[str, Any]:
    """The options of a loader with so many workers."""
    if not count:
        return {}
    return {"num_workers": count, "multiprocessing_context": "fork", **options}


def threading_and_files() -> tuple[int, int]:
    folder = Path("/proc/self/fd")
    return threading.active_count(), len([*folder.iterdir()]) if folder.is_dir() else 0


def none_left(within: float = 5.0) -> bool:
    until = time.monotonic() + within
    while multiprocessing.active_children() and time.monotonic() < until:
        gc.collect()  # an error that a test has kept may know an epoch
    return not multiprocessing.active_children()


# ----- whatever is random ------------------------------------------------------------------------


class NoisyRows(TensorDataset):
    """The same for a whole batch."""

    batched = True

    def __init__(self, length: int = 13) -> None:
        super().__init__(np.arange(length))

    def __getitem__(self, index: Any) -> Any:
        (rows,) = super().__getitem__(index)
        return rows, as_generator(None).random(np.shape(rows)), np.random.rand(*np.shape(rows))


class NoisyStream(IterableDataset):
    """A stream of them, of which a worker has its share."""

    def __init__(self, length: int = 13) -> None:
        self.length = length

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        for index in range(first, self.length, step):
            yield index, tg.rand(()).item(), random.random()


class Shuffled(Sampler):
    """An order that Python's `random` draws bit by bit, and the loader's worth of it lazily."""

    def __init__(self, length: int = 13) -> None:
        self.left = [*range(length)]

    def __iter__(self) -> Iterator[int]:
        left = [*self.left]
        while left:
            yield left.pop(
                random.randrange(len(left)) if len(left) % 2 else int(tg.randint(len(left), ()))
            )


def add_noise(*fields: Any) -> tuple[Any, ...]:
    *arrays, generator = fields
    return *arrays, generator.random(len(arrays[0]))


def summed(samples: Any) -> Any:
    return sum(sample["index"] for sample in samples), tg.rand(2), random.random()


def generator(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


LOADERS: dict[str, Callable[..., DataLoader]] = {
    "in order": partial(DataLoader, Noisy(), 3),
    "shuffled": partial(DataLoader, Noisy(), 2, shuffle=True, drop_last=True),
    "own generator": lambda **o: DataLoader(Noisy(), 3, shuffle=True, generator=generator(), **o),
    "alone": partial(DataLoader, Noisy(5), None),
    "rows": partial(DataLoader, NoisyRows(), 4, shuffle=True, transform=add_noise),
    "drawn rows": partial(DataLoader, NoisyRows(), 4),
    "collated": partial(DataLoader, Noisy(), 3, collate_fn=summed),
    "subset": partial(DataLoader, Subset(Subset(Noisy(), [3, 1, 4, 1, 5, 9]), [5, 1, 0]), 2),
    "still": partial(DataLoader, TensorDataset(np.arange(13), np.eye(13)), 4, shuffle=True),
    "still in order": partial(DataLoader, TensorDataset(np.arange(13)), 4),
    "lazy": partial(DataLoader, Noisy(), 3, sampler=Shuffled()),
    "drawn": lambda **o: DataLoader(
        Noisy(), 3, sampler=RandomSampler(range(13), True, 9, generator()), **o
    ),
    "one for all": lambda **o: shared(generator(), **o),
    "weighted": partial(DataLoader, Noisy(), 3, sampler=WeightedRandomSampler(range(13), 10)),
    "batches": lambda **o: DataLoader(
        Noisy(),
        batch_sampler=BatchSampler(SubsetRandomSampler([5, 3, 8, 2, 1], generator()), 2, False),
        **o,
    ),
    "a share": partial(DataLoader, Noisy(), 2, sampler=DistributedSampler(range(13), 3, 1)),
}


def shared(source: Any, **options: Any) -> DataLoader:
    """Order and seeds are drawn from one generator."""
    sampler = RandomSampler(range(13), num_samples=20, generator=source)
    return DataLoader(Noisy(), 3, sampler=sampler, generator=source, **options)


class OfPlaces(Dataset):
    """Rows and the random number that each has got."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        return index, tg.rand(()).item()


def begun(name: str, seed: int, count: int, **options: Any) -> DataLoader:
    loader = LOADERS[name](**forked(count, **options))
    tg.manual_seed(seed)
    return loader


def batches(loader: DataLoader, epochs: int = 2) -> list[Any]:
    return [plain(batch) for _ in range(epochs) for batch in loader]


@pytest.mark.parametrize("name", LOADERS)
@given(data=st.data())
@settings(max_examples=settings.default.max_examples // 15)
def test_batches_depend_on_the_seed_alone_and_go_on_from_any_moment(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    seed = data.draw(st.integers(0, 2**64))
    expected = batches(begun(name, seed, 0))
    after = tg.rand(2).tolist()
    half = len(expected) // 2
    assert (expected[:half] == expected[half:]) == (name == "still in order")
    stop = data.draw(st.integers(0, len(expected)))
    first, second = data.draw(st.sampled_from([(0, 2), (1, 0), (2, 3), (3, 1)]))
    loader = begun(name, seed, first, prefetch_factor=data.draw(st.integers(1, 4)))
    given: list[Any] = []
    done = max(stop - 1, 0) // half  # epochs, of two
    for _ in range(done + 1):
        epoch = iter(loader)
        while len(given) < stop and (batch := next(epoch, None)) is not None:
            given.append(plain(batch))
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    tg.save({"loader": loader.state_dict(), "random": tg.get_rng_state()}, path)
    state = tg.load(path)
    loader = begun(name, seed + 1, second, persistent_workers=True)
    loader.load_state_dict(state["loader"])
    tg.set_rng_state(state["random"])
    assert given + batches(loader, 2 - done) == expected
    assert tg.rand(2).tolist() == after


@pytest.mark.parametrize("name", sorted({*LOADERS} - {"alone", "collated"}))
def test_the_parts_of_a_batch_are_rows_of_the_whole(name: str) -> None:
    """With a share, each process makes its part of what one would make."""

    def made(rank: int, size: int) -> list[Any]:
        loader = begun(name, 7, 0)
        loader.share = (rank, size)
        return [rows(batch) for batch in loader]

    def rows(batch: Any) -> list[Any]:
        fields = map(plain, batch.values() if isinstance(batch, dict) else batch)
        columns = [field[1] if isinstance(field, tuple) else field for field in fields]
        return [*zip(*columns, strict=True)]

    parts = zip(*(made(rank, 3) for rank in range(3)), strict=True)
    assert [[row for part in batch for row in part] for batch in parts] == made(0, 1)


def stream(count: int, **options: Any) -> DataLoader:
    tg.manual_seed(5)
    return DataLoader(NoisyStream(), 2, **forked(count), **options)


def test_a_stream_is_shared_out_by_itself() -> None:
    alone = [
        row for batch in batches(stream(0), 1) for row in zip(*(x for _, x in batch), strict=True)
    ]
    assert [index for index, *_ in alone] == [*range(13)]
    assert batches(stream(1)) == batches(stream(0))
    shared = batches(stream(2), 1)
    # Of the workers 0 and 1 in turns; the first has one batch more.
    assert [batch[0][1] for batch in shared] == [
        [0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9, 11], [12]
    ]  # fmt: skip
    drawn = [x for batch in shared for x in batch[1][1] + batch[2][1]]
    assert len({*drawn}) == len(drawn)
    loader = stream(2)
    epoch = iter(loader)
    given = [plain(next(epoch)) for _ in range(4)]
    state = loader.state_dict()
    loader = stream(2)
    loader.load_state_dict(state)
    assert given + batches(loader, 1) == shared


def test_each_worker_goes_through_a_stream_that_does_not_ask() -> None:
    class Plain(IterableDataset):
        def __iter__(self) -> Iterator[int]:
            return iter(range(3))

    loader = DataLoader(Plain(), 2, **forked(2))
    assert [batch.tolist() for batch in loader] == [[0, 1], [0, 1], [2], [2]]
    loader = DataLoader(Plain(), 2, drop_last=True, **forked(2))
    assert [batch.tolist() for batch in loader] == [[0, 1], [0, 1]]
    loader = DataLoader(Plain(), None, **forked(2, in_order=False))
    assert sorted(loader) == [0, 0, 1, 1, 2, 2]
    next(iter(loader))
    with pytest.raises(ValueError, match="in_order=True gives them one"):
        loader.state_dict()


def test_the_number_of_a_sample_is_that_of_the_epoch_that_processes_share() -> None:
    """What two processes give together is what one gives."""

    def drawn(rank: int, size: int) -> dict[int, float]:
        tg.manual_seed(3)
        sampler = DistributedSampler(range(12), size, rank, seed=4)
        loader = DataLoader(OfPlaces(), 2, sampler=sampler)
        return {
            i: x
            for rows, noise in loader
            for i, x in zip(rows.tolist(), noise.tolist(), strict=True)
        }

    assert drawn(0, 2) | drawn(1, 2) == drawn(0, 1)


def test_a_state_that_is_none_changes_nothing() -> None:
    loader = DataLoader(range(4), shuffle=True, generator=generator(1))
    state = loader.state_dict()
    for wrong in (
        {},
        {**state, "given": "a"},
        {**state, "given": -1},
        {**state, "generator": None},
        {**state, "sampler": None},
        {**state, "seed": 0.5},
        {**state, "seed": -1},
    ):
        with pytest.raises(ValueError, match="expected what the state_dict of a DataLoader like"):
            loader.load_state_dict(wrong)
    assert loader.state_dict() == state
    with pytest.raises(ValueError, match="one of the two loaders has a generator of its own"):
        DataLoader(range(4)).load_state_dict(state)
    before = tg.get_rng_state()
    state = RandomSampler(range(4), generator=generator()).state_dict()
    with pytest.raises(ValueError, match="one of the two samplers has a generator of its own"):
        RandomSampler(range(4)).load_state_dict(state)
    assert tg.get_rng_state().tolist() == before.tolist()


def test_a_generator_of_another_kind_is_the_affair_of_the_sampler() -> None:
    class Pythons(Sampler):
        generator = random.Random(3)

        def __iter__(self) -> Iterator[int]:
            return iter(self.generator.sample(range(4), 4))

    assert sorted(DataLoader(range(4), None, sampler=Pythons())) == [0, 1, 2, 3]


# ----- workers -----------------------------------------------------------------------------------


class Told(Dataset):
    """What a worker knows of itself."""

    def __init__(self) -> None:
        self.changed = 0

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        info = get_worker_info()
        assert info is not None
        assert info.dataset is self
        assert repr(info).startswith(f"WorkerInfo(id={info.id}, num_workers=2, seed=")
        return info.id, info.num_workers, info.seed, self.changed, os.getpid(), tg.get_num_threads()


def change(id: int) -> None:
    info = get_worker_info()
    assert info is not None
    info.dataset.changed = 10 + id
    assert tg.initial_seed() == info.seed
    assert np.random.rand() == np.random.RandomState(info.seed % 2**32).rand()


def test_a_worker_knows_itself_and_stays_if_it_is_told_to() -> None:
    options = forked(2, worker_init_fn=change, persistent_workers=True)
    loader = DataLoader(Told(), None, generator=generator(), **options)
    seeds = generator().integers(2**63, size=2).tolist()
    epochs = [[*loader], [*loader]]
    for seed, epoch in zip(seeds, epochs, strict=True):
        assert [row[:4] for row in epoch] == [
            [i % 2, 2, seed + i % 2, 10 + i % 2] for i in range(4)
        ]
        assert {row[5] for row in epoch} == {1}
    assert [row[4] for row in epochs[0]] == [row[4] for row in epochs[1]]
    assert loader.dataset.changed == 0
    first = iter(loader)
    pids = {next(first)[4]}
    assert {row[4] for row in loader}.isdisjoint(pids)  # they work for another epoch
    del first
    assert pids < {row[4] for row in loader}  # what that had asked for is forgotten
    loader.collate_fn = str
    assert "10" in next(iter(loader))
    del loader
    assert none_left()


def test_batches_come_as_they_get_ready() -> None:
    now = multiprocessing.get_context("fork").Event()

    class Late(Dataset):
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> int:
            if index == 0:
                now.wait()
            return index

    loader = DataLoader(Late(), None, **forked(2, in_order=False, prefetch_factor=1))
    epoch = iter(loader)
    given = [next(epoch) for _ in range(3)]
    assert given == [1, 2, 3]
    state = loader.state_dict()
    now.set()
    del epoch
    loader = DataLoader(Late(), None)
    loader.load_state_dict(state)
    assert [*loader] == [0, 4]


@pytest.mark.parametrize("shares", [True, False])
def test_batches_of_all_sizes_are_their_own(shares: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the system has no memory that processes share."""
    monkeypatch.setattr(workers, "SHARES", shares and workers.SHARES)

    class Sized(Dataset):
        def __len__(self) -> int:
            return 9

        def __getitem__(self, index: int) -> Any:
            size = [0, 3, 10**5, 5, 10**5, 2 * 10**5, 1, 0, 10**5][index]
            return np.full((size, 2), index), np.asfortranarray(np.eye(3)) * index, "x" * size

    loader = DataLoader(Sized(), None, **forked(2, prefetch_factor=3))
    files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    given = [*loader]
    for index, (rows, square, word) in enumerate(given):
        assert (rows.numpy() == index).all()
        assert (square.numpy() == np.eye(3) * index).all()
        assert len(rows) == len(word)
        rows += 1  # nobody else has it
    if files:
        assert len(os.listdir("/proc/self/fd")) <= files + 1


def test_more_is_asked_for_than_pipes_and_descriptors_have_room_for() -> None:
    loader = DataLoader(range(1000), None, **forked(1, prefetch_factor=1000))
    assert [*loader] == [*range(1000)]


def test_epochs_that_nobody_goes_through() -> None:
    """Their answers are read all the same: who cannot give one takes no task."""
    loader = DataLoader(range(4), None, **forked(1, persistent_workers=True))
    for _ in range(300):
        iter(loader)
    assert [*loader] == [*range(4)]


# ----- errors ------------------------------------------------------------------------------------


class TwoArgumentsError(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} boom {b}")
        self.a = a


class OwnWordsError(Exception):
    def __init__(self, a: int) -> None:
        self.a = a

    def __str__(self) -> str:
        return f"boom {self.a}"


class NoPickleError(ValueError):
    def __init__(self) -> None:
        super().__init__("boom", lambda: 0)


def local() -> Exception:
    class LocalError(KeyError):
        pass

    return LocalError("boom")


ERRORS = [
    ValueError("boom"),
    KeyError("boom"),
    TwoArgumentsError(1, 2),
    OwnWordsError(3),
    FileNotFoundError(2, "boom", "name"),
    UnicodeDecodeError("utf-8", b"boom", 0, 1, "boom"),
    ExceptionGroup("boom", [ValueError(1)]),
    NoPickleError(),
    BrokenPipeError("boom"),
    EOFError("boom"),
    StopIteration("boom"),
    local(),
]


class Failing(Dataset):
    def __len__(self) -> int:
        return 2 * len(ERRORS)

    def __getitem__(self, index: int) -> int:
        if index % 2:
            raise ERRORS[index // 2]
        return index


def test_an_error_arrives_in_its_turn_and_tells_where_it_was() -> None:
    epoch = iter(DataLoader(Failing(), None, **forked(2)))
    for index, error in enumerate(ERRORS):
        assert next(epoch) == 2 * index
        kind: type = type(error)
        if isinstance(error, StopIteration) or kind.__name__ == "LocalError":
            kind = RuntimeError
        with pytest.raises(kind, match="boom") as raised:
            next(epoch)
        words = str(raised.value)
        assert "It was raised in worker 1 of a DataLoader:\n\n" in words
        assert "in __getitem__\n" in words
        assert "\\n" not in words
        assert not isinstance(raised.value, StopIteration)
        if not isinstance(error, OwnWordsError | UnicodeError | ExceptionGroup):
            assert type(raised.value) is kind
        for name in ("a", "errno", "filename", "object", "exceptions"):
            assert repr(getattr(raised.value, name, None)) == repr(getattr(error, name, None))
    assert [*epoch] == []


def test_an_error_before_the_first_batch() -> None:
    def init(id: int) -> None:
        raise ValueError(f"boom {id}")

    loader = DataLoader(range(4), **forked(1, worker_init_fn=init, persistent_workers=True))
    for _ in range(2):
        with pytest.raises(ValueError, match="boom 0\n\nIt was raised in worker 0"):
            next(iter(loader))

    class Torn(IterableDataset):
        def __iter__(self) -> Iterator[int]:
            raise KeyError("boom")

    with pytest.raises(KeyError, match="boom"):
        next(iter(DataLoader(Torn(), **forked(1))))

    def places() -> Iterator[int]:
        yield 3
        raise ValueError("boom")

    epoch = iter(DataLoader(range(4), None, sampler=places(), **forked(2)))
    assert next(epoch) == 3
    with pytest.raises(ValueError, match=r"^boom$"):
        next(epoch)


class NotForOthers:
    """It can be pickled, and that is all."""

    def __init__(self, index: int) -> None:
        self.index = index

    def __setstate__(self, state: Any) -> None:
        raise ValueError(f"boom {state['index']}")


class OddOnesNotForOthers(Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        return NotForOthers(index) if index % 2 else index


def test_what_cannot_be_unpickled_is_told_in_its_turn() -> None:
    epoch = iter(DataLoader(OddOnesNotForOthers(), None, **forked(2)))
    for index in range(0, 6, 2):
        assert next(epoch) == index
        with pytest.raises(ValueError, match=f"boom {index + 1}"):
            next(epoch)
    assert [*epoch] == []


@pytest.mark.skipif(not workers.SHARES, reason="batches come with what is told of them")
def test_a_message_that_is_interrupted_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of it in the pipe is not taken for another one."""

    def interrupted(_: Any) -> None:
        raise KeyboardInterrupt

    loader = DataLoader(range(5), None, **forked(2, persistent_workers=True))
    epoch = iter(loader)
    with monkeypatch.context() as patch:
        patch.setattr(workers, "recv_handle", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(epoch)
    with pytest.raises(RuntimeError, match="ended when a message was interrupted"):
        next(epoch)
    assert [*loader] == [*range(5)]


class Does(Dataset):
    """In sample 3 it does what it is told."""

    def __init__(self, deed: Callable[[], Any]) -> None:
        self.deed = deed

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> int:
        if index == 3:
            self.deed()
        return index


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        (lambda: os._exit(3), "ended by itself, with exit code 3"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "was killed by SIGKILL, as the system does"),
        (sys.exit, "ended by itself, with exit code 0"),
    ],
)
def test_a_worker_that_dies_is_told_at_once(deed: Callable[[], Any], told: str) -> None:
    epoch = iter(DataLoader(Does(deed), None, **forked(2)))
    with pytest.raises(RuntimeError, match=rf"worker 1 of the DataLoader \(process \d+\) {told}"):
        list(epoch)
    with pytest.raises(RuntimeError, match=told):
        next(epoch)
    assert none_left()


def test_who_takes_too_long() -> None:
    now = multiprocessing.get_context("fork").Event()
    epoch = iter(DataLoader(Does(now.wait), None, **forked(1, timeout=60)))
    assert [next(epoch) for _ in range(3)] == [0, 1, 2]
    epoch._source.timeout = 0.05  # the start of a process may take longer
    with pytest.raises(RuntimeError, match=r"no batch came .* within 0.05 s, which is its timeout"):
        next(epoch)
    epoch._source.timeout = 60
    now.set()
    assert [*epoch] == [3, 4, 5, 6, 7]


def test_workers_go_with_whoever_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.05)
    before = threading_and_files()
    loader = DataLoader(Does(partial(time.sleep, 60)), None, **forked(2))
    for _ in loader:
        break
    assert none_left()
    epoch = iter(loader)
    del epoch
    assert none_left()
    loader = DataLoader(range(3), **forked(2, persistent_workers=True))
    assert len([*loader]) == 3
    assert len(multiprocessing.active_children()) == 2
    del loader
    assert none_left()
    assert threading_and_files() == before


def test_what_cannot_be_pickled_is_told_in_a_sentence() -> None:
    loader = DataLoader(
        range(3), collate_fn=lambda x: x, num_workers=2, multiprocessing_context="spawn"
    )
    with pytest.raises(TypeError, match=r"started by 'spawn', for which the dataset.*are pickled"):
        iter(loader)
    assert none_left()


def test_workers_that_are_started_afresh() -> None:
    """They do what is done here, in the dtype that is chosen here."""
    before = tg.get_default_dtype()
    tg.set_default_dtype("float64")
    try:
        loader = DataLoader(
            Noisy(), 3, shuffle=True, num_workers=1, multiprocessing_context="spawn"
        )
        tg.manual_seed(2)
        given = batches(loader, 1)
        tg.manual_seed(2)
        assert given == batches(DataLoader(Noisy(), 3, shuffle=True), 1)
    finally:
        tg.set_default_dtype(before)
    assert given[0]["python"][0] == "float64"
    assert none_left()


def wait_for_a_batch(said: Any) -> None:
    """A program of its own."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.close(2)  # Python tells of the KeyboardInterrupt
    epoch = iter(DataLoader(Does(partial(time.sleep, 60)), None, **forked(2)))
    said.send(len(multiprocessing.active_children()))
    list(epoch)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_the_end_of_the_program_is_the_end_of_its_workers(
    how: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.05)
    monkeypatch.setattr(workers, "PERIOD", 0.05)
    context = multiprocessing.get_context("fork")
    heard, said = context.Pipe()
    program = context.Process(target=wait_for_a_batch, args=(said,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        program.start()
    said.close()
    assert heard.recv() == 2
    time.sleep(0.1)
    (os.killpg if how == signal.SIGINT else os.kill)(program.pid, how)
    program.join(10)
    assert program.exitcode == (1 if how == signal.SIGINT else -how)
    assert heard.poll(10)
    with pytest.raises(EOFError):  # nobody has the other end any more, of which each had a copy
        heard.recv()
