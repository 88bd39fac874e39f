"""New tensors of random numbers.

`generator` is a Generator, or one of NumPy's, on every device; by default the one that
`manual_seed` seeds. The same seed gives the same numbers on the same kind of device; a GPU takes a
key from the generator where it draws itself, and then draws other numbers than the CPU.
"""

import copy
import json
import operator
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from tinygrad_cv import backend as backends
from tinygrad_cv._apply import F
from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._inputs import public
from tinygrad_cv._public import METHOD, TOP
from tinygrad_cv._tensor import Tensor, as_input, dtype_named, wrap
from tinygrad_cv.backend import Backend, as_generator, host
from tinygrad_cv.backend.base import drawn
from tinygrad_cv.creation import laid_out, made, number, shape_from
from tinygrad_cv.dtypes import promote_types

# ----- what is drawn from -------------------------------------------------------------------------


@public(TOP)
class Generator(host.random.Generator):
    """A source of random numbers, with a seed and a state: one of NumPy's, under PyTorch's names.

    Whatever takes a `generator` takes it, on every device. Until it is seeded it draws the same
    numbers in every program, as PyTorch's does.

    >>> import tinygrad_cv as tg
    >>> generator = Generator().manual_seed(3)
    >>> first, state = tg.rand(2, generator=generator), generator.get_state()
    >>> second = tg.rand(2, generator=generator)
    >>> generator.set_state(state).initial_seed()
    3
    >>> (tg.rand(2, generator=generator) == second).all()
    tensor(True)
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = backends.device(device)
        self._seed = 67280421310721
        super().__init__(host.random.PCG64(self._seed))

    def manual_seed(self, seed: int) -> "Generator":
        """Begin anew: the same seed gives the same numbers. Returns the generator.

        A seed is a whole number, others are TypeErrors; -1 is 2⁶⁴ - 1 and so on, as in PyTorch.
        """
        try:
            whole = operator.index(seed)
        except TypeError:
            raise TypeError(f"manual_seed: a seed is a whole number; got {seed!r}.") from None
        whole = whole if whole >= 0 else whole % 2**64
        self.bit_generator.state = host.random.PCG64(whole).state
        self._seed = whole
        return self

    def seed(self) -> int:
        """Begin anew with a seed that nobody can foresee, which is returned."""
        self.manual_seed(secrets.randbits(63))
        return self._seed

    def initial_seed(self) -> int:
        """The seed that it began with."""
        return self._seed

    def get_state(self) -> Tensor:
        """The state as a tensor of bytes, such as `save` keeps."""
        said = {"seed": self._seed, "state": self.bit_generator.state}
        return Tensor(host.frombuffer(json.dumps(said).encode(), "uint8"), device="cpu")

    def set_state(self, new_state: Tensor) -> "Generator":
        """Go on from a state that `get_state` gave. Returns the generator."""
        try:
            said = json.loads(new_state.numpy().tobytes())
            self.bit_generator.state = said["state"]
            self._seed = said["seed"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "set_state: expected a state that get_state of a Generator gave; got "
                f"{new_state!r} ({type(error).__name__}: {error})."
            ) from None
        return self

    def clone_state(self) -> "Generator":
        """Another generator that goes on from the same state."""
        return copy.copy(self)

    def __reduce__(self) -> Any:
        return _generator_like, (str(self.device), self._seed, self.bit_generator)


def _generator_like(device: str, seed: int, source: Any) -> Generator:
    """A generator that was pickled or copied."""
    generator = Generator(device)
    generator.bit_generator.state, generator._seed = source.state, seed
    return generator


default_generator = Generator()
"""Where random numbers come from when no generator is given."""
default_generator.seed()
backends.draw_from(default_generator)


def _default() -> Generator:
    """The default generator, or the one that stands for it (see `backend.Seeded`)."""
    return cast("Generator", as_generator(None))


@public(TOP)
def manual_seed(seed: Any) -> Generator:
    """Seed the generator that is used where none is given, and return it.

    Of a float, such as `time.time()`, the whole part counts.

    Every device draws from it: a GPU takes its keys from here (see `Backend.uniform`).

    >>> import tinygrad_cv as tg
    >>> _ = tg.manual_seed(0)
    >>> a = tg.rand(2)
    >>> _ = tg.manual_seed(0)
    >>> (a == tg.rand(2)).tolist()
    [True, True]
    """
    return _default().manual_seed(int(seed) if isinstance(seed, float) else seed)


@public(TOP)
def seed() -> int:
    """Seed the default generator with a number that nobody can foresee, and return that.

    >>> seed() == initial_seed()
    True
    """
    return _default().seed()


@public(TOP)
def initial_seed() -> int:
    """The seed that the default generator began with.

    >>> _ = manual_seed(3)
    >>> initial_seed()
    3
    """
    return _default().initial_seed()


@public(TOP)
def get_rng_state() -> Tensor:
    """The state of the default generator, as a tensor of bytes.

    >>> state = get_rng_state()
    >>> first = rand(2)
    >>> set_rng_state(state)
    >>> (rand(2) == first).all()
    tensor(True)
    """
    return _default().get_state()


@public(TOP)
def set_rng_state(new_state: Tensor) -> None:
    """Let the default generator go on from a state that `get_rng_state` gave; see there."""
    _default().set_state(new_state)


@contextmanager
def fork_rng(
    devices: Any = None, enabled: bool = True, *, device_type: str = "cuda"
) -> Iterator[None]:
    """A `with` block after which the default generator is where it was before.

    All devices draw from it, so `devices` and `device_type` have no effect.

    >>> from tinygrad_cv import random
    >>> state = get_rng_state()
    >>> with random.fork_rng():
    ...     _ = rand(2)
    >>> (get_rng_state() == state).all()
    tensor(True)
    """
    state = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(state)


# ----- tensors of random numbers ------------------------------------------------------------------


@public(TOP)
@laid_out
def rand(
    *sizes: Any,
    size: Any = (),
    generator: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Random numbers, uniform on [0, 1).

    `generator` is a Generator or a numpy.random.Generator; by default the one that `manual_seed`
    seeds.

    >>> rand(2, 3).shape
    (2, 3)
    """
    backend = backends.get(device)
    values = _draw(backend, "uniform", shape_from(sizes or (size,)), dtype, generator)
    return made(values, backend, requires_grad)


@public(TOP)
@laid_out
def randn(
    *sizes: Any,
    size: Any = (),
    generator: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Random numbers from the standard normal distribution; see `rand`.

    >>> randn(2, 3).shape
    (2, 3)
    """
    backend = backends.get(device)
    values = _draw(backend, "normal", shape_from(sizes or (size,)), dtype, generator)
    return made(values, backend, requires_grad)


def _draw(backend: Backend, law: str, shape: tuple[int, ...], dtype: Any, generator: Any) -> Any:
    dtype = dtype_named(dtype)
    if dtype.kind != "f":
        raise TypeError(
            f"{law} random numbers are floats; asked for {dtype}. randint() draws whole numbers."
        )
    return getattr(backend, law)(shape, dtype, as_generator(generator))


@public(TOP)
@laid_out
def rand_like(
    input: Tensor,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform random numbers in the shape and dtype of `input`, on its device; see `rand`.

    >>> rand_like(Tensor([1.0, 2.0])).shape
    (2,)
    """
    return rand(
        input.shape,
        generator=generator,
        dtype=input.dtype if dtype is None else dtype,
        device=input.device if device is None else device,
        requires_grad=requires_grad,
    )


@public(TOP)
@laid_out
def randn_like(
    input: Tensor,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal random numbers in the shape and dtype of `input`, on its device; see `rand`.

    >>> randn_like(Tensor([1.0, 2.0])).shape
    (2,)
    """
    return randn(
        input.shape,
        generator=generator,
        dtype=input.dtype if dtype is None else dtype,
        device=input.device if device is None else device,
        requires_grad=requires_grad,
    )


@public(TOP)
@laid_out
def randint(
    low: Any = None,
    high: Any = None,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = "int64",
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Random whole numbers from low to high - 1; `randint(high, size)` starts at 0.

    >>> randint(5, 6, (2,)), randint(1, (2,))
    (tensor([5, 5]), tensor([0, 0]))
    """
    if size is None:
        low, high, size = None, low, high
    if high is None:
        low, high = None, low
    try:
        first, end = (operator.index(0 if n is None else n) for n in (low, high))
    except TypeError:
        raise TypeError(
            f"randint is called as randint(low, high, size) or randint(high, size), with whole "
            f"numbers for low and high; got low={low!r}, high={high!r}, size={size!r}."
        ) from None
    if first >= end:
        raise ValueError(f"randint: high is above low; got low={first}, high={end}.")
    shape = shape_from((size,))
    values = drawn(as_generator(generator), lambda g: g.integers(first, end, shape))
    return Tensor(values, dtype=dtype, device=device, requires_grad=requires_grad)


@public(TOP)
@laid_out
def randint_like(
    input: Tensor,
    low: Any,
    high: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Random whole numbers in the shape and dtype of `input`, on its device; see `randint`.

    >>> randint_like(Tensor([1.0, 2.0]), 5, 6)
    tensor([5., 5.])
    """
    return randint(
        low,
        high,
        input.shape,
        generator=generator,
        dtype=input.dtype if dtype is None else dtype,
        device=input.device if device is None else device,
        requires_grad=requires_grad,
    )


@public(TOP)
@laid_out
def randperm(
    n: int,
    *,
    generator: Any = None,
    dtype: Any = "int64",
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """The numbers from 0 to n - 1 in random order.

    >>> randperm(3).sort().values
    tensor([0, 1, 2])
    """
    (count,) = shape_from((n,))
    values = drawn(as_generator(generator), lambda g: g.permutation(count))
    return Tensor(values, dtype=dtype, device=device, requires_grad=requires_grad)


@public(TOP)
@laid_out
def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """`mean` + `std` · n, where the n are independent and standard normal.

    `mean` and `std` are tensors that broadcast, or numbers; `size` is asked for where both are
    numbers. The gradient flows to both tensors, n being held.

    >>> normal(Tensor([1.0, 2.0]), 0)
    tensor([1., 2.])
    """
    mean, std = (
        as_input(value) if isinstance(value, list) or getattr(value, "ndim", False) else value
        for value in (mean, std)
    )
    tensors = [value for value in (mean, std) if isinstance(value, Tensor)]
    if (size is None) != bool(tensors):
        raise TypeError(
            "normal: a size goes with a mean and a std that are numbers; tensors have one. Call "
            "it as normal(0.0, 1.0, (2, 3)) or as normal(mean, std)."
        )
    if not isinstance(std, Tensor):
        lowest = number(std)
    elif std.device == "cpu" and std.numel():
        lowest = std.min().item()
    else:  # a GPU is not waited for
        lowest = 0
    if lowest < 0:
        raise ValueError(f"normal: std is 0 or more; got {lowest}.")
    if not tensors:
        noise = randn(size, generator=generator, dtype=dtype, device=device)
        result: Tensor = mean + std * noise
        result.requires_grad = requires_grad
        return result
    if dtype is not None or device is not None or requires_grad:
        raise TypeError("normal: dtype, device and requires_grad are those of the tensors.")
    wanted = dtype_named(None)
    floats = [value.dtype for value in tensors if value.is_floating_point()]
    if floats:
        wanted = promote_types(floats[0], floats[-1])
    shape = host.broadcast_shapes(*(value.shape for value in tensors))
    noise = randn(shape, generator=generator, dtype=wanted, device=tensors[0].device)
    return F.add(mean, F.mul(std, noise))


@public(TOP, METHOD)
@no_grad()
def bernoulli(input: Tensor, p: float | None = None, *, generator: Any = None) -> Tensor:
    """1 with the probability that each element of `input` gives (or with p), else 0.

    The result has the shape and dtype of `input`. A probability that is none is an error on the
    CPU, and gives NaN on a GPU.

    >>> bernoulli(Tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    if p is None and not input.is_floating_point():
        raise TypeError(f"bernoulli: probabilities are floats; got {input.dtype}.")
    chance: Any = input.detach() if p is None else Tensor(p, dtype="float64", device=input.device)
    inside = (chance >= 0).logical_and(chance <= 1)
    if (p is not None or input.device == "cpu") and not inside.all():
        raise ValueError(
            "bernoulli: probabilities lie between 0 and 1; got "
            + (f"p={p}." if p is not None else f"{chance[inside.logical_not()].tolist()[0]}.")
        )
    dtype = "float64" if chance.dtype == "float64" else "float32"
    draw = _draw(input._backend, "uniform", input.shape, dtype, generator)
    hit: Tensor = (wrap(draw, input._backend) < chance).to(dtype=input.dtype)
    return F.where(inside, hit, host.nan) if p is None and input.device != "cpu" else hit


@public(TOP)
def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """A random count for each rate: k with the probability λᵏ e^(-λ) / k!. No gradient flows.

    The rates are floats, finite and 0 or more; the counts have their shape and dtype. They are
    drawn on the host, which waits for a GPU.

    >>> poisson(Tensor([0.0, 0.0]))
    tensor([0., 0.])
    """
    if not input.is_floating_point():
        raise TypeError(f"poisson: rates are floats; got {input.dtype}. Convert: x.float().")
    rates = input.detach().numpy()
    if not ((rates >= 0) & (rates < host.inf)).all():
        raise ValueError("poisson: rates are finite and 0 or more.")
    counts = drawn(as_generator(generator), lambda source: source.poisson(rates))
    return Tensor(counts, dtype=input.dtype, device=input.device)


@public(TOP)
def binomial(count: Tensor, prob: Tensor, generator: Any = None) -> Tensor:
    """How many of `count` independent tries succeed, each with the probability `prob`.

    Both are floats of shapes that broadcast; so is the result, of the dtype of `count`. No gradient
    flows. It is drawn on the host, which waits for a GPU.

    >>> binomial(Tensor([3.0, 3.0]), Tensor([0.0, 1.0]))
    tensor([0., 3.])
    """
    if not (count.is_floating_point() and prob.is_floating_point()):
        raise TypeError(f"binomial: expected floats; got {count.dtype} and {prob.dtype}.")
    tries, chances = count.detach().numpy(), prob.detach().numpy()
    if not ((tries >= 0) & (tries % 1 == 0)).all() or not ((chances >= 0) & (chances <= 1)).all():
        raise ValueError(
            "binomial: counts are whole and 0 or more, and probabilities lie between 0 and 1."
        )
    hits = drawn(
        as_generator(generator), lambda source: source.binomial(tries.astype("int64"), chances)
    )
    return Tensor(hits, dtype=count.dtype, device=count.device)


@public(TOP, METHOD)
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None
) -> Tensor:
    """`num_samples` places for each row of weights (n,) or (m, n), drawn in proportion to them.

    The weights need not add up to 1. Without `replacement` no place is drawn twice. It is drawn on
    the host, which waits for a GPU. Returns int64 places, (num_samples,) or (m, num_samples).

    >>> multinomial(Tensor([0.0, 2.0, 0.0]), 3, replacement=True)
    tensor([1, 1, 1])
    """
    if input.ndim not in (1, 2):
        raise ValueError(f"multinomial: weights have the shape (n,) or (m, n); got {input.shape}.")
    if not input.is_floating_point():
        raise TypeError(f"multinomial: weights are floats; got {input.dtype}. Convert: x.float().")
    (count,) = shape_from((num_samples,))
    if not count:
        raise ValueError("multinomial: expected at least one sample; got num_samples=0.")
    weights = host.asarray(input.detach().numpy(), "float64")
    if not host.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("multinomial: weights are finite and 0 or more.")
    possible = (weights > 0).sum(-1).min(initial=weights.shape[-1])
    needed = 1 if replacement else count
    if possible < needed:
        raise ValueError(
            f"multinomial: {needed} different places were asked of a row in which {possible} have "
            "a weight above 0" + ("." if replacement else "; replacement=True draws some again.")
        )
    rows = weights if weights.ndim == 2 else weights[None]
    places = drawn(
        as_generator(generator), lambda source: _places(rows, count, replacement, source)
    )
    return Tensor(places.reshape(*input.shape[:-1], count), device=input.device)


def _places(rows: Any, count: int, replacement: bool, source: host.random.Generator) -> Any:
    places = host.empty((len(rows), count), "int64")
    for place, row in zip(places, rows, strict=True):
        if replacement:
            total = host.cumsum(row / row.max())
            place[:] = host.searchsorted(total / total[-1], source.random(count), side="right")
        else:
            # The first of waiting times with these rates are such a draw (Efraimidis and Spirakis,
            # 2006). Logarithms do not overflow.
            times = host.full(row.shape, host.inf)
            some = row > 0
            times[some] = host.log(source.standard_exponential(some.sum())) - host.log(row[some])
            place[:] = host.argsort(times)[:count]
    return places
