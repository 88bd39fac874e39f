"""DataLoader: a dataset as batches of Tensors, in order or shuffled."""

import operator
from collections.abc import Callable, Iterable, Iterator
from itertools import count, repeat
from typing import TYPE_CHECKING, Any
from weakref import ref

from tinygrad_cv.backend import Seeded, as_generator, host
from tinygrad_cv.data.batches import END, Place, Recipe, Task
from tinygrad_cv.data.batches import get_worker_info as get_worker_info
from tinygrad_cv.data.collate import default_collate, default_convert, stacked, tensors
from tinygrad_cv.data.dataset import IterableDataset
from tinygrad_cv.data.sampler import BatchSampler, RandomSampler, SequentialSampler, count_of

if TYPE_CHECKING:  # it is imported where there are workers, since that takes a while
    from tinygrad_cv.data.workers import Workers

FIXED = ("dataset", "batch_size", "sampler", "batch_sampler", "drop_last")
"""What cannot be set anew, in the order in which it is set."""


class DataLoader:
    """The batches of a dataset. Iterating over it is one epoch.

    A batch is what `collate_fn` makes of a list of samples: by default `default_collate`, which
    gives a list of Tensors where a sample is a tuple, a dict where it is a dict, and so on.

    - `batch_size` samples are a batch; with None each comes alone, through `default_convert`.
    - `shuffle` puts the samples into a new random order in each epoch.
    - `sampler`, an iterable of indices, gives the order instead, and `batch_sampler`, an iterable
      of lists of indices, the batches.
    - `drop_last` leaves out the last batch if it is not full.
    - `generator` draws what is random; None stands for the one that `tinygrad_cv.manual_seed`
      seeds. The same seed gives the same batches.
    - `transform(*fields, generator)` takes the host arrays of a batch and a generator, and returns
      a tuple of arrays, which becomes the list that is the batch. It is the place for augmentation.
    - `device` is where the Tensors are made, each field of a batch moved in one piece; None stands
      for the default device, and leaves Tensors on a GPU where they are.

    `num_workers` processes make the batches in the background, each up to `prefetch_factor` (2)
    ahead; with 0 they are made in this process, when they are asked for. The batches, their order
    and all that is random in them do not depend on it: in each epoch the loader draws one number
    from `generator`, the seed of that epoch, and what follows is a function of that.

    - The order: a sampler draws it with the default generator (see `manual_seed`), Python's
      `random` and NumPy's functions seeded for it. One with a generator of its own uses that.
    - The samples: sample k of the epoch is fetched while these three are seeded with k and the
      seed of the epoch. A dataset that is `batched` makes all of a batch with those of its first
      sample, and `collate_fn` and `transform` draw on where the last sample has stopped.

    Afterwards the three go on from where they were. So whatever is random in a dataset or a
    transform draws from them, and not from a generator of its own.

    - A worker has a copy of the dataset. The processes are started as `multiprocessing_context`
      says, "fork", "spawn", "forkserver" or such a context, by default as the system usually does;
      where they do not fork, what they need is pickled, and the program's main module is imported
      again, so that it begins its work under `if __name__ == "__main__":`.
    - Each worker of an IterableDataset goes through all of it, unless the dataset asks
      `get_worker_info()` for its share. Their batches come in turns.
    - `worker_init_fn(id)` is called first in each worker. `persistent_workers` stay for the next
      epoch. `timeout` is how many seconds to wait for a batch; 0 stands for as long as it takes.
    - `in_order=False` gives the batches as they get ready.
    - An error in a worker is raised here when its batch is due, of the same type, and with the
      worker's traceback in its words. The next batches can be had after it.
    - `pin_memory` and `pin_memory_device` are kept as attributes and change nothing.

    `state_dict` tells how far an epoch has come, and `load_state_dict` goes on from there.

    `share`, an attribute, is (0, 1); with (rank, size) this process makes, of every batch, the part
    of that rank alone: size consecutive parts that differ by at most one sample, maybe none.
    Samples are as in the whole batch, random ones too, and so are `len`, order and `state_dict`;
    with a `transform` the whole batch is made and cut. The `Trainer` sets it under mpiexec.

    `len(loader)` is the number of batches. Raises ValueError for arguments that exclude each other,
    and TypeError by `len` if the dataset has none. Iterating raises RuntimeError if a worker dies,
    or if a batch takes longer than `timeout`, and TypeError if a worker cannot be started because
    something does not pickle.

    >>> import tinygrad_cv as tg
    >>> from tinygrad_cv.data import DataLoader, TensorDataset, random_shift
    >>> images, labels = tg.ones(5, 1, 8, 8), [0, 1, 2, 3, 4]
    >>> def augment(images, labels, generator):
    ...     return random_shift(images, 1, generator), labels
    >>> loader = DataLoader(
    ...     TensorDataset(images, labels),
    ...     batch_size=2,
    ...     shuffle=True,
    ...     generator=tg.manual_seed(0),
    ...     transform=augment,
    ... )
    >>> len(loader)
    3
    >>> for x, y in loader:
    ...     print(x.shape, y.shape)
    (2, 1, 8, 8) (2,)
    (2, 1, 8, 8) (2,)
    (1, 1, 8, 8) (1,)
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        transform: Callable[..., tuple[host.ndarray, ...]] | None = None,
        device: str | None = None,
    ) -> None:
        try:
            num_workers = operator.index(num_workers)
        except TypeError:
            raise TypeError(f"num_workers is a whole number; got {num_workers!r}.") from None
        if num_workers < 0 or timeout < 0:
            raise ValueError(
                f"num_workers and timeout are 0 or more; got {num_workers} and {timeout}."
            )
        if num_workers:
            prefetch_factor = count_of(
                "prefetch_factor", 2 if prefetch_factor is None else prefetch_factor
            )
            if multiprocessing_context is not None:
                from tinygrad_cv.data.workers import context_named

                multiprocessing_context = context_named(multiprocessing_context)
        else:
            for name, value in (
                ("prefetch_factor", prefetch_factor),
                ("persistent_workers", persistent_workers or None),
                ("multiprocessing_context", multiprocessing_context),
                ("timeout", timeout or None),
            ):
                if value is not None:
                    raise ValueError(
                        f"{name} is about workers, and there are none; leave it out, or give a "
                        "num_workers above 0."
                    )
        streams = isinstance(dataset, IterableDataset)
        if streams and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError(
                "an IterableDataset gives its samples in its own order; leave out shuffle, sampler "
                "and batch_sampler."
            )
        if sampler is not None and shuffle:
            raise ValueError("a sampler gives the order itself; leave out shuffle=True.")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "a batch_sampler gives the batches itself; leave out batch_size, shuffle, "
                    "sampler and drop_last."
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None gives single samples; leave out drop_last=True.")
        self._own_order = sampler is None and batch_sampler is None
        self._own_batches = batch_sampler is None
        if sampler is None:
            if streams:
                sampler = repeat(None)  # as often as there are samples
            elif shuffle:
                sampler = RandomSampler(dataset)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
            batch_size = batch_sampler.batch_size
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.drop_last = drop_last
        self.collate_fn = collate_fn
        self.generator = generator
        self.transform = transform
        self.device = device
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.prefetch_factor = prefetch_factor
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        self.share = (0, 1)
        self._place = Place()
        self._resumed = False
        self._workers: Workers | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in FIXED and hasattr(self, FIXED[-1]):
            raise ValueError(
                f"the {name} of a DataLoader is fixed, since its samplers were made for it; make "
                "another DataLoader."
            )
        super().__setattr__(name, value)

    def __class_getitem__(cls, kind: Any) -> Any:
        return cls

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            samples: Any = self.dataset
            if self.batch_size is None:
                return len(samples)
            return len(BatchSampler(samples, self.batch_size, self.drop_last))
        batches: Any = self.sampler if self.batch_sampler is None else self.batch_sampler
        return len(batches)

    def __iter__(self) -> "Epoch":
        return Epoch(self)

    def __getstate__(self) -> dict[str, Any]:
        """A copy has workers of its own."""
        return {**vars(self), "_workers": None, "_place": Place()}

    def state_dict(self) -> dict[str, Any]:
        """How far the epoch has come, in plain values that `tinygrad_cv.save` keeps.

        "seed" is the seed of the epoch under way, or None; "given" and "beyond" say which of its
        batches have been given, whatever has been prefetched: so many, and where `in_order` is
        False the numbers of those beyond. "sampler" is what the sampler or batch sampler had for a
        `state_dict` at the start of the epoch, and "generator" the state of the loader's own
        generator, if there is one. If several iterators are under way, the last one counts.

        Raises ValueError for a stream with `in_order=False`, which has no place.
        """
        place = self._place
        if place.given is None:
            raise ValueError(
                "the batches of several workers of an IterableDataset that come as they get ready "
                "have no place in the epoch; in_order=True gives them one."
            )
        generator = self.generator
        return {
            "seed": place.seed,
            "given": place.given,
            "beyond": sorted(place.beyond),
            "sampler": place.sampler if place.seed is not None else _state_of(self._order),
            "generator": None if generator is None else as_generator(generator).bit_generator.state,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next `iter(loader)` go on with the batch after those that have been given.

        It draws no seed, and fetches nothing of what came before; a stream alone is gone through
        once more. Then the epoch's remaining batches are those that would have come, bit for bit,
        whatever `num_workers` was and is. `len(loader)` is still that of a whole epoch.

        Raises ValueError for what `state_dict` has not given; nothing is changed then.

        >>> from tinygrad_cv.data import DataLoader
        >>> loader = DataLoader(range(6), batch_size=2, shuffle=True)
        >>> first, *rest = loader
        >>> epoch = iter(loader)
        >>> _ = next(epoch)
        >>> state = loader.state_dict()
        >>> rest = [batch.tolist() for batch in epoch]
        >>> loader.load_state_dict(state)
        >>> [batch.tolist() for batch in loader] == rest
        True
        """
        try:
            place = Place(
                None if state_dict["seed"] is None else operator.index(state_dict["seed"]),
                operator.index(state_dict["given"]),
                {operator.index(number) for number in state_dict["beyond"]},
                state_dict["sampler"],
            )
            if min(place.seed or 0, place.given or 0, *place.beyond) < 0:
                raise ValueError("a number is below 0")
            state = state_dict["generator"]
            if (state is None) != (self.generator is None):
                raise ValueError(
                    "one of the two loaders has a generator of its own, and the other none"
                )
            if (place.sampler is None) != (_state_of(self._order) is None):
                raise ValueError(
                    "one of the two loaders has a sampler that tells its state, and the other none"
                )
            if place.seed is None and place.sampler is not None:
                self._order.load_state_dict(place.sampler)
            if state is not None:
                as_generator(self.generator).bit_generator.state = state
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "load_state_dict: expected what the state_dict of a DataLoader like this one gave; "
                f"got {state_dict!r} ({type(error).__name__}: {error})."
            ) from None
        self._place, self._resumed = place, place.seed is not None

    def _hired(self, recipe: Recipe) -> "Workers":
        """Workers that do nothing else: new ones, or those that have stayed."""
        from tinygrad_cv.data.workers import Workers, context_named

        context = context_named(self.multiprocessing_context)
        prefetch = self.prefetch_factor or 1
        terms = *recipe, self.num_workers, prefetch, self.worker_init_fn, context
        staying = self._workers
        busy = staying is not None and staying.end.alive and staying.is_busy()
        if staying is not None and staying.end.alive and not busy:
            if all(map(operator.is_, staying.terms, terms)):
                return staying
            staying.end()
        workers = Workers(recipe, self.num_workers, prefetch, self.worker_init_fn, context)
        workers.terms = terms
        if self.persistent_workers and not busy:
            self._workers = workers
        return workers

    @property
    def _order(self) -> Any:
        """What gives the order, of batches or of single samples."""
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def _recipe(self) -> Recipe:
        return Recipe(
            self.dataset,
            self.batch_sampler is None,
            self.batch_size,
            self.drop_last,
            stacked if self.collate_fn is default_collate else self.collate_fn,
            self.transform,
            self.share,
        )


class Epoch:
    """The batches of a loader, from the first or from where it was told to go on."""

    def __init__(self, loader: DataLoader) -> None:
        generator, order = as_generator(loader.generator), loader._order
        before = generator.bit_generator.state
        streams = isinstance(loader.dataset, IterableDataset)
        if resumed := loader._resumed:
            place, loader._resumed = loader._place, False
            if place.sampler is not None:
                order.load_state_dict(place.sampler)
        else:
            place = Place(int(generator.integers(2**63)), sampler=_state_of(order))
        seed, given = place.seed, place.given
        assert seed is not None
        tasks: Iterator[tuple[int, Task] | tuple[None, None]]
        if streams:
            tasks = repeat((None, None))
            place.given = None if loader.num_workers > 1 and not loader.in_order else 0
        else:
            tasks = _tasks(loader, seed, place)
            if resumed:  # it had drawn the order already, if a sampler draws from it too
                generator.bit_generator.state = before
        self.loader, self.place = loader, place
        recipe = loader._recipe()
        self._source: Iterator[Any] | None
        self._workers: Workers | None = None
        if loader.num_workers:
            from tinygrad_cv.data.workers import Ahead

            self._workers = loader._hired(recipe)
            self._workers.user = ref(self)
            terms = loader.in_order, loader.timeout
            self._source = Ahead(self._workers, seed, tasks, place, *terms)
        else:
            self._source = Here(recipe, seed, tasks, place)
        loader._place = place
        while streams and resumed and place.given != given:
            if next(self._source, END) is END:
                break

    def __iter__(self) -> "Epoch":
        return self

    def __len__(self) -> int:
        return len(self.loader)

    def __next__(self) -> Any:
        if self._source is None:
            raise StopIteration
        loader, batch = self.loader, next(self._source, END)
        if batch is END:
            self.place.end()
            if self._workers is not None:
                self._workers.user = None
                if self._workers is not loader._workers:
                    self._workers.end()
            self._source = None
            raise StopIteration
        if (
            loader.transform is None
            and loader.device is None
            and loader.collate_fn not in (default_collate, default_convert)
        ):
            return batch  # as the function has made it
        return tensors(batch, loader.device, fresh=loader.num_workers > 0)


def _tasks(loader: DataLoader, seed: int, place: Place) -> Iterator[tuple[int, Task]]:
    """The batches that have not been given, with their numbers.

    The order is asked for at once, so that a sampler that draws all of it then has drawn it.
    """
    seeded = Seeded(seed)
    with seeded:
        seeded.at(-1)
        order = iter(loader._order)
    return _numbered(loader, order, seeded, place)


def _numbered(
    loader: DataLoader, order: Iterator[Any], seeded: Seeded, place: Place
) -> Iterator[tuple[int, Task]]:
    # One of several processes has every so manieth sample of the epoch that they share.
    shares = (
        loader.sampler if loader._own_batches else getattr(loader.batch_sampler, "sampler", None)
    )
    step, first = getattr(shares, "num_replicas", 1), getattr(shares, "rank", 0)
    places: Any
    for number in count():
        if loader._own_order:  # all has been drawn
            places = next(order, END)
        else:
            with seeded:
                seeded.at(-2 - number)
                places = next(order, END)
        if places is END:
            return
        if loader.batch_sampler is None:
            size = 1
        else:
            places = places if hasattr(places, "__len__") else [*places]
            size = len(places)
        numbers = range(first, first + size * step, step)
        first += size * step
        if not place.has(number):
            yield number, Task(places, numbers)


class Here:
    """Batches that are made when they are asked for."""

    def __init__(self, recipe: Recipe, seed: int, tasks: Iterator[Any], place: Place) -> None:
        self.make, self.tasks, self.place = recipe.begin(seed), tasks, place

    def __iter__(self) -> "Here":
        return self

    def __next__(self) -> Any:
        number, task = next(self.tasks)
        try:
            batch = self.make(task)
        except Exception:
            self.place.give(number)  # the next is another one, as it is with workers
            raise
        if batch is not END:
            self.place.give(number)
        return batch


def _state_of(order: Any) -> Any:
    """What a sampler tells of itself, if it does."""
    tell = getattr(order, "state_dict", None)
    return None if tell is None else tell()
