"""The names that a program of PyTorch's begins with: devices, generators, sizes, constructors."""

import copy
import json
import math
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import backends, cuda, nn, utils
from tinygrad_cv import random as tg_random
from tinygrad_cv._tensor import Size


@pytest.fixture(autouse=True)
def _defaults_stay() -> Iterator[None]:
    """What a test chooses for all tensors ends with it."""
    yield
    tg.set_default_dtype(tg.float32)


# ----- devices -----------------------------------------------------------------------------------


@pytest.mark.host
@pytest.mark.parametrize(
    ("given", "name", "kind", "index"),
    [
        (("cpu",), "cpu", "cpu", None),
        (("cpu", 0), "cpu:0", "cpu", 0),
        (("cuda",), "cuda", "cuda", None),
        (("cuda", 1), "cuda:1", "cuda", 1),
        (("cuda:12",), "cuda:12", "cuda", 12),
        ((3,), "cuda:3", "cuda", 3),
        ((np.int64(0),), "cuda:0", "cuda", 0),
        ((tg.device("fakecuda:1"),), "fakecuda:1", "fakecuda", 1),
    ],
)
def test_a_device_is_a_string_with_parts(given: Any, name: str, kind: str, index: Any) -> None:
    place = tg.device(*given)
    assert place == name
    assert hash(place) == hash(name)
    assert (place.type, place.index) == (kind, index)
    assert (str(place), f"{place}", json.dumps(place)) == (name, name, f'"{name}"')
    assert type(str(place)) is str
    for twin in (pickle.loads(pickle.dumps(place)), copy.copy(place), copy.deepcopy(place)):
        assert (type(twin), twin, twin.index) == (tg.device, place, index)
    assert eval(repr(place), {"device": tg.device}) == place


@pytest.mark.host
@pytest.mark.parametrize(
    "given", [("gpu",), ("",), ("cpu:1",), ("cuda", -1), (-1,), (True,), (1.0,), (None,), (b"cpu",)]
)
def test_what_is_no_device(given: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown device .*; expected 'cpu', 'cuda'"):
        tg.device(*given)


def test_tensors_and_nodes_say_their_device(device: str) -> None:
    x = tg.ones(2, requires_grad=True)
    for place in (x.device, (x * 2).device, x.node.backend.device, tg.get_default_device()):
        assert isinstance(place, tg.device)
        assert place == device
    assert x.device.type == device.partition(":")[0]
    assert x.is_cuda == (x.device.type != "cpu")
    assert tg.zeros_like(x, device=x.device).device == device
    assert pickle.loads(pickle.dumps(x)).device == device


@pytest.mark.host
def test_a_block_makes_tensors_on_its_device() -> None:
    with tg.device("fakecuda:1"):
        assert tg.ones(1).device == tg.get_default_device() == "fakecuda:1"
        with tg.device("cpu"):
            layer = nn.Linear(1, 1)
        assert layer.weight.device == "cpu"
        assert tg.rand(1).device == tg.tensor([1.0]).device == tg.Tensor(2).device == "fakecuda:1"
        elsewhere: list[str] = []
        thread = threading.Thread(target=lambda: elsewhere.append(tg.ones(1).device))
        thread.start()
        thread.join()
        assert elsewhere == ["cpu"]
    with pytest.raises(ZeroDivisionError), tg.device("fakecuda"):
        _ = 1 // 0
    assert tg.ones(1).device == "cpu"


@pytest.mark.host
def test_to_takes_what_a_program_says() -> None:
    x, like = tg.tensor([1.5]), tg.zeros(1, dtype="float64", device="fakecuda:1")
    there = tg.device("fakecuda", 1)
    for y in (
        x.to(there, non_blocking=True).double(),
        x.to(there, tg.float64, True, True),
        x.to(other=like),
        x.to(like, non_blocking=True),
        x.to(device=there, dtype=tg.double, memory_format=tg.preserve_format),
        x.to(tg.double).to(there).to(memory_format=tg.contiguous_format),
    ):
        assert (y.device, y.dtype, y.tolist()) == ("fakecuda:1", "float64", [1.5])
    assert x.to(memory_format=tg.channels_last) is x
    assert x.to(None) is x
    assert x.share_memory_() is x
    assert x.cpu() is x
    assert x.layout is tg.strided
    for call in (lambda: x.to(0), x.cuda, lambda: x.cuda(0), lambda: x.cuda(tg.device(0))):
        with pytest.raises(ModuleNotFoundError, match="device 'cuda' needs CuPy"):
            call()
    model = nn.Linear(2, 2)
    assert model.to(there, non_blocking=True).weight.device == there
    assert model.to(tg.ones(1, dtype="float64")).weight.device == "cpu"
    assert model.weight.dtype == "float64"
    assert model.to(tg.device("cpu"), tg.float).weight.dtype == tg.float32


@pytest.mark.host
def test_without_a_card() -> None:
    if cuda.is_available():
        pytest.skip("there is a card")
    assert (cuda.device_count(), cuda.is_initialized(), cuda.is_bf16_supported()) == (
        0,
        False,
        False,
    )
    for call in (cuda.current_device, cuda.synchronize, cuda.get_device_name):
        with pytest.raises(ModuleNotFoundError, match="device 'cuda' needs CuPy"):
            call()
    state = tg.get_rng_state()
    for nothing in (cuda.empty_cache, cuda.reset_peak_memory_stats, cuda.init, cuda.seed_all):
        nothing()
    cuda.manual_seed(1)
    cuda.manual_seed_all(1)
    assert (tg.get_rng_state() == state).all()
    assert cuda.memory_allocated() == cuda.max_memory_allocated() == cuda.memory_reserved() == 0
    assert cuda.get_rng_state_all() == []
    cuda.set_rng_state_all([])
    cuda.set_device(-1)
    with pytest.raises(ModuleNotFoundError, match="device 'cuda' needs CuPy"):
        cuda.FloatTensor(2, 3)
    assert not isinstance(tg.ones(1), cuda.FloatTensor)
    assert isinstance(tg.device("cuda" if cuda.is_available() else "cpu"), str)


@pytest.mark.gpu
@pytest.mark.host
def test_with_a_card() -> None:
    count = cuda.device_count()
    assert cuda.is_available()
    assert cuda.current_device() == 0
    assert cuda.get_device_name()
    assert cuda.get_device_properties().total_memory >= cuda.mem_get_info()[1] // 2
    x = tg.ones(1000, device="cuda")
    assert cuda.memory_allocated() >= x.nbytes
    assert cuda.max_memory_allocated() >= cuda.memory_allocated()
    cuda.synchronize()
    cuda.empty_cache()
    with cuda.device(count - 1):
        assert tg.ones(1).cuda().device == f"cuda:{count - 1}"
    cuda.manual_seed_all(3)
    assert tg.initial_seed() == 3
    assert isinstance(cuda.FloatTensor(2), cuda.FloatTensor)


@pytest.mark.host
def test_the_current_device_of_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_cv import backend

    monkeypatch.setattr(backend, "_opened", dict(backend._opened))
    assert tg.ones(1, device="fakecuda").device == "fakecuda:0"
    backend.choose("fakecuda:1")
    assert tg.ones(1, device="fakecuda").device == "fakecuda:1"
    backend.choose("fakecuda:0")
    assert tg.ones(1, device="fakecuda").device == "fakecuda:0"


@pytest.mark.host
def test_switches_are_accepted() -> None:
    import tinygrad_cv.backends.cudnn as cudnn

    assert cudnn is backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    try:
        cudnn.benchmark, cudnn.deterministic = True, True
        with cudnn.flags(benchmark=False):
            assert not cudnn.benchmark
        with pytest.raises(ZeroDivisionError), cudnn.flags(enabled=False, benchmark=False):
            _ = 1 // 0
        assert cudnn.enabled
        assert cudnn.benchmark
    finally:
        cudnn.benchmark, cudnn.deterministic = before
    for part in (backends.mps, backends.mkl, backends.mkldnn, backends.openmp, cudnn, tg.mps):
        assert part.is_available() is False
    backends.cuda.matmul.allow_tf32 = False
    assert tg.version.__version__ == tg.__version__
    assert tg.version.cuda is None
    tg.use_deterministic_algorithms(True, warn_only=True)
    assert tg.are_deterministic_algorithms_enabled()
    assert tg.is_deterministic_algorithms_warn_only_enabled()
    tg.use_deterministic_algorithms(False)
    assert not tg.are_deterministic_algorithms_enabled()
    with pytest.raises(ValueError, match="'highest', 'high' or 'medium'; got 'low'"):
        tg.set_float32_matmul_precision("low")


@pytest.mark.host
def test_utils() -> None:
    from tinygrad_cv.utils.checkpoint import checkpoint
    from tinygrad_cv.utils.data import DataLoader, TensorDataset
    from tinygrad_cv.utils.data.dataset import Dataset

    assert checkpoint is tg.recompute
    assert Dataset is tg.data.Dataset
    assert utils.data.DataLoader is DataLoader is tg.data.DataLoader
    [(batch,)] = DataLoader(TensorDataset(tg.ones(2, device="cpu")), batch_size=2)
    assert batch.shape == (2,)


# ----- generators --------------------------------------------------------------------------------


def test_a_generator_begins_and_goes_on_where_it_is_told() -> None:
    generator = tg.Generator().manual_seed(5)
    assert generator.initial_seed() == 5
    first = tg.rand(3, generator=generator).tolist()
    state = generator.get_state()
    second = tg.rand(3, generator=generator).tolist()
    assert tg.rand(3, generator=tg.Generator().set_state(state)).tolist() == second
    assert tg.rand(3, generator=generator.manual_seed(5)).tolist() == first
    assert (state.dtype, state.device) == ("uint8", "cpu")
    assert tg.rand(3, generator=np.random.default_rng(5)).tolist() == first
    seeds = {tg.Generator().seed() for _ in range(3)}
    assert len(seeds) == 3
    assert generator.seed() == generator.initial_seed()
    assert tg.Generator().initial_seed() == tg.Generator().initial_seed()
    assert generator.device == tg.device("cpu")
    assert tg.Generator(device="cuda").device.type == "cuda"


@pytest.mark.host
@given(st.integers(0, 2**64), st.integers(0, 5), st.sampled_from([pickle, copy]))
def test_a_generator_is_copied_where_it_is(seed: int, draws: int, how: Any) -> None:
    generator = tg.Generator().manual_seed(seed)
    generator.random(draws)
    twin = copy.deepcopy(generator) if how is copy else pickle.loads(pickle.dumps(generator))
    other = tg.Generator()
    other.set_state(generator.get_state())
    assert type(twin) is tg.Generator
    assert twin.initial_seed() == other.initial_seed() == seed
    expected = np.random.default_rng(seed).random(draws + 2)[draws:].tolist()
    assert generator.random(2).tolist() == expected
    assert twin.random(2).tolist() == other.random(2).tolist() == expected


def test_the_default_generator() -> None:
    assert tg.manual_seed(7) is tg.default_generator
    assert tg.initial_seed() == 7
    state = tg.get_rng_state()
    first = tg.rand(2).tolist()
    with tg_random.fork_rng():
        tg.rand(2)
        tg.manual_seed(9)
    assert tg.initial_seed() == 7
    second = tg.rand(2).tolist()
    tg.set_rng_state(state)
    assert [tg.rand(2).tolist(), tg.rand(2).tolist()] == [first, second]
    assert tg.seed() == tg.initial_seed()


@pytest.mark.host
@pytest.mark.parametrize(
    "state", [tg.zeros(3), tg.tensor([1, 2], dtype="uint8"), "state", np.zeros(2), None]
)
def test_what_is_no_state(state: Any) -> None:
    generator = tg.Generator().manual_seed(1)
    before = generator.bit_generator.state
    with pytest.raises(ValueError, match="set_state: expected a state that get_state"):
        generator.set_state(state)
    assert generator.bit_generator.state == before


@pytest.mark.host
def test_a_seed_is_a_whole_number() -> None:
    for seed in (1.5, "1", None, -1):
        with pytest.raises((TypeError, ValueError), match="a seed is a whole number, 0 or more"):
            tg.Generator().manual_seed(seed)  # type: ignore[arg-type]
    assert tg.Generator().manual_seed(np.int64(3)).initial_seed() == 3


def test_counts_at_random() -> None:
    rates = tg.tensor([0.0, 3.0, 50.0]).unsqueeze(1).broadcast_to(3, 4000)
    counts = tg.poisson(rates, generator=tg.Generator())
    assert (counts.dtype, counts.device, counts.shape) == (rates.dtype, rates.device, rates.shape)
    np.testing.assert_allclose(counts.mean(1).numpy(), [0, 3, 50], rtol=0.05)
    np.testing.assert_allclose(counts.var(1).numpy(), [0, 3, 50], rtol=0.1)
    hits = tg.binomial(tg.full((4000,), 10.0), tg.tensor(0.3), generator=tg.Generator())
    assert set(hits.tolist()) <= set(range(11))
    np.testing.assert_allclose(hits.mean().item(), 3, rtol=0.05)
    np.testing.assert_allclose(hits.var().item(), 2.1, rtol=0.1)
    for call in (
        lambda: tg.poisson(tg.tensor([-1.0])),
        lambda: tg.poisson(tg.tensor([math.inf])),
        lambda: tg.poisson(tg.tensor([1])),
        lambda: tg.binomial(tg.tensor([1.5]), tg.tensor([0.5])),
        lambda: tg.binomial(tg.tensor([1.0]), tg.tensor([1.5])),
        lambda: tg.binomial(tg.tensor([1]), tg.tensor([0.5])),
    ):
        with pytest.raises((TypeError, ValueError), match=r"poisson: rates|binomial: "):
            call()


# ----- sizes -------------------------------------------------------------------------------------


sizes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@pytest.mark.host
@given(sizes, st.data())
def test_a_size_is_a_tuple_that_counts(shape: tuple[int, ...], data: Any) -> None:
    size = tg.empty(shape).shape
    assert isinstance(size, Size)
    assert size == shape
    assert hash(size) == hash(shape)
    assert repr(size) == repr(shape)
    assert size.numel() == tg.empty(shape).numel() == math.prod(shape)
    part = data.draw(st.slices(len(shape)))
    assert isinstance(size[part], Size)
    assert size[part] == shape[part]
    assert size[part].numel() == math.prod(shape[part])
    assert size + shape == (*shape, *shape)
    assert (size + shape).numel() == size.numel() ** 2
    assert [size[i] for i in range(-len(shape), len(shape))] == [*shape, *shape]
    assert type(pickle.loads(pickle.dumps(size))) is Size
    assert tg.zeros(size).shape == tg.Tensor(size).shape == tg.ones(*shape).shape == shape
    assert json.dumps(size) == json.dumps(shape)


# ----- dtypes ------------------------------------------------------------------------------------


@pytest.mark.host
def test_the_names_of_dtypes() -> None:
    names = {"half": 2, "float": 4, "double": 8, "short": 2, "int": 4, "long": 8}
    for name, size in names.items():
        dtype = getattr(tg, name)
        assert isinstance(dtype, tg.dtype)
        assert dtype.itemsize == size
        assert dtype.kind == ("f" if name in ("half", "float", "double") else "i")
    assert isinstance(tg.ones(1).dtype, tg.dtype)
    assert (tg.pi, tg.e, tg.inf, tg.newaxis) == (math.pi, math.e, math.inf, None)
    assert math.isnan(tg.nan)


@pytest.mark.host
@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_the_numbers_of_a_float(name: str) -> None:
    known, theirs = tg.finfo(getattr(tg, name)), np.finfo(name)
    for part in ("eps", "max", "min", "tiny", "smallest_normal", "bits"):
        value = getattr(known, part)
        assert type(value) in (float, int)
        assert value == getattr(theirs, part)
    assert known.dtype == name
    assert known.resolution == 10.0**-theirs.precision
    assert "eps=" in repr(known)
    with pytest.raises(TypeError, match="iinfo is about integers"):
        tg.iinfo(name)


@pytest.mark.host
@pytest.mark.parametrize("name", ["int8", "int16", "int32", "int64", "uint8"])
def test_the_numbers_of_an_integer(name: str) -> None:
    known = tg.iinfo(name)
    assert known.max + 1 - known.min == 2**known.bits
    assert known.dtype == name
    assert f"max={known.max}" in repr(known)
    with pytest.raises(TypeError, match="finfo is about floats"):
        tg.finfo(name)


def test_the_default_dtype() -> None:
    makers: list[Any] = [
        lambda: tg.zeros(2),
        lambda: tg.tensor([1.0]),
        lambda: tg.Tensor([1]),
        lambda: tg.Tensor(2, 3),
        lambda: tg.rand(2),
        lambda: tg.randn(2),
        lambda: tg.normal(0, 1, (2,)),
        lambda: tg.full((2,), 1.0),
        lambda: tg.arange(0, 1, 0.5),
        lambda: tg.linspace(0, 1, 3),
        lambda: tg.logspace(0, 1, 3),
        lambda: tg.eye(2),
        lambda: tg.empty(2),
        lambda: tg.scalar_tensor(2),
        lambda: tg.tensor([1, 2]) / 2,
        lambda: tg.tensor([1, 2]) * 0.5,
        lambda: tg.tensor([1, 2]).sqrt(),
        lambda: tg.relu([1.0, -1.0]),
        lambda: nn.Linear(2, 2).weight,
    ]
    for dtype in (tg.float64, tg.float32):
        tg.set_default_dtype(dtype)
        assert tg.get_default_dtype() == dtype
        for make in makers:
            assert make().dtype == dtype
        assert tg.tensor([1]).dtype == tg.full((1,), 1).dtype == tg.arange(3).dtype == tg.int64
        assert tg.zeros(2, dtype=tg.float16).dtype == tg.float16
        assert tg.from_numpy(np.zeros(2, "float16")).dtype == tg.float16
    for wrong in (tg.int64, "float3", bool):
        with pytest.raises(TypeError, match="dtype"):
            tg.set_default_dtype(wrong)


@pytest.mark.host
def test_the_default_tensor_type() -> None:
    tg.set_default_tensor_type("torch.DoubleTensor")
    assert tg.ones(1).dtype == tg.float64
    tg.set_default_tensor_type(tg.HalfTensor)
    assert tg.ones(1).dtype == tg.float16
    for wrong in ("torch.Tensor", tg.Tensor, 3):
        with pytest.raises(TypeError, match=r"expected a name such as 'torch\.FloatTensor'"):
            tg.set_default_tensor_type(wrong)
    with pytest.raises(TypeError, match="a dtype of floats; got int64"):
        tg.set_default_tensor_type("torch.LongTensor")


# ----- constructors ------------------------------------------------------------------------------


TYPED = {
    "FloatTensor": "float32",
    "DoubleTensor": "float64",
    "HalfTensor": "float16",
    "LongTensor": "int64",
    "IntTensor": "int32",
    "ShortTensor": "int16",
    "CharTensor": "int8",
    "ByteTensor": "uint8",
    "BoolTensor": "bool",
}


@pytest.mark.parametrize("name", TYPED)
def test_constructors_of_one_dtype(name: str) -> None:
    make, dtype = getattr(tg, name), TYPED[name]
    for made, shape in (
        (make([[1, 0], [0, 1]]), (2, 2)),
        (make(2, 3), (2, 3)),
        (make(4), (4,)),
        (make(), (0,)),
        (make(tg.ones(2, 3).shape), (2, 3)),
        (make(np.zeros((2, 1))), (2, 1)),
        (make(tg.ones(5)), (5,)),
        (make([tg.tensor(1.0), tg.tensor(0.0)]), (2,)),
    ):
        assert (made.dtype, made.shape) == (dtype, shape)
        assert made.device == tg.get_default_device()
        assert [other for other in TYPED if isinstance(made, getattr(tg, other))] == [name]
    assert make([1, 0, 1]).tolist() == [1, 0, 1]
    assert tg.LongTensor([2**53 + 1]).tolist() == [2**53 + 1]
    assert not isinstance([1], make)


def test_tensor_takes_sizes_or_data() -> None:
    assert tg.Tensor(2, 3).shape == (2, 3)
    assert tg.Tensor(4).shape == (4,)
    assert tg.Tensor(2, 0, 3).shape == (2, 0, 3)
    assert tg.Tensor().shape == (0,)
    assert tg.Tensor(tg.ones(2, 3).size()).shape == (2, 3)
    assert tg.Tensor([2, 3]).tolist() == [2, 3]
    assert tg.Tensor((2, 3)).tolist() == [2, 3]
    assert tg.Tensor(2.5).tolist() == 2.5
    assert tg.Tensor(2, dtype="int64").tolist() == 2
    assert {x.dtype.name for x in (tg.Tensor(2), tg.Tensor(), tg.Tensor([1]))} == {"float32"}
    for call in (
        lambda: tg.Tensor([1.0], "float64"),
        lambda: tg.Tensor(2, 3.0),
        lambda: tg.Tensor(2, -3),
        lambda: tg.Tensor(2, True),
    ):
        with pytest.raises(TypeError, match=r"sizes as in Tensor\(2, 3\); dtype, device and"):
            call()


MAKERS: dict[str, Any] = {
    "zeros": lambda **o: tg.zeros(2, **o),
    "ones": lambda **o: tg.ones((2, 3), **o),
    "empty": lambda **o: tg.empty(2, **o),
    "full": lambda **o: tg.full((2,), 1.0, **o),
    "rand": lambda **o: tg.rand(2, **o),
    "randn": lambda **o: tg.randn(size=(2,), **o),
    "randint": lambda **o: tg.randint(10, (2,), **o),
    "randperm": lambda **o: tg.randperm(3, **o),
    "arange": lambda **o: tg.arange(end=3, **o),
    "linspace": lambda **o: tg.linspace(start=0, end=1, steps=3, **o),
    "logspace": lambda **o: tg.logspace(0, 1, 3, **o),
    "eye": lambda **o: tg.eye(2, **o),
    "zeros_like": lambda **o: tg.zeros_like(tg.ones(2), **o),
    "ones_like": lambda **o: tg.ones_like(tg.ones(2), **o),
    "empty_like": lambda **o: tg.empty_like(tg.ones(2), **o),
    "full_like": lambda **o: tg.full_like(tg.ones(2), 2.0, **o),
    "rand_like": lambda **o: tg.rand_like(tg.ones(2), **o),
    "randn_like": lambda **o: tg.randn_like(tg.ones(2), **o),
    "randint_like": lambda **o: tg.randint_like(tg.ones(2), 3, **o),
    "new_zeros": lambda **o: tg.ones(1).new_zeros(2, **o),
}


@pytest.mark.parametrize("name", MAKERS)
def test_constructors_take_what_is_said_of_memory(name: str) -> None:
    make = MAKERS[name]
    plain = make()
    for options in (
        {"pin_memory": True},
        {"layout": tg.strided},
        {"memory_format": tg.contiguous_format},
        {"memory_format": tg.channels_last, "layout": None, "out": None, "pin_memory": False},
    ):
        made = make(**options)
        assert (made.shape, made.dtype, made.device) == (plain.shape, plain.dtype, plain.device)
    made = make(dtype=tg.float64, requires_grad=True, device="cpu")
    assert (made.dtype, made.device, made.requires_grad) == ("float64", "cpu", True)
    with pytest.raises(TypeError, match="out"):
        make(out=tg.ones(2))
    with pytest.raises(TypeError, match="every tensor here is dense, of the layout strided"):
        make(layout="sparse_coo")


@pytest.mark.host
def test_formats_are_constants() -> None:
    for name in ("channels_last", "channels_last_3d", "contiguous_format", "preserve_format"):
        value = getattr(tg, name)
        assert isinstance(value, tg.memory_format)
        assert pickle.loads(pickle.dumps(value)) is copy.deepcopy(value) is value
        assert repr(value) == f"tinygrad_cv.{name}"
    assert pickle.loads(pickle.dumps(tg.strided)) is tg.strided


def test_data_keeps_its_dtype() -> None:
    for data, dtype in (
        ([1, 2, 3], "int64"),
        ([1, 2.0], "float32"),
        ([True, False], "bool"),
        (3, "int64"),
        (True, "bool"),
        ([tg.tensor(1), tg.tensor(2)], "int64"),
        ([tg.tensor(1.0), 2], "float32"),
        ([], "float32"),
        (np.arange(2, dtype="int16"), "int16"),
        ([np.float64(1)], "float64"),
    ):
        assert tg.tensor(data).dtype == dtype
        assert tg.as_tensor(data).dtype == dtype
    assert tg.as_tensor([1, 2], dtype=tg.float).dtype == "float32"
    assert tg.from_numpy(np.arange(2)).dtype == "int64"


# ----- small questions ---------------------------------------------------------------------------


def test_small_questions() -> None:
    x = tg.tensor([[1.0, -2.0]])
    assert (tg.is_complex(x), tg.is_signed(x), tg.is_nonzero(x[0, 0])) == (False, True, True)
    assert tg.typename("a") == "builtins.str"
    assert tg.typename(x).endswith("FloatTensor")
    assert tg.detach(x).tolist() == x.tolist()
    assert tg.is_same_size(x, x)
    assert tg.fill(x, 3).tolist() == [[3, 3]]
    assert tg.broadcast_shapes((2, 1), (3,), 1) == (2, 3)
    assert tg.broadcast_shapes((2, 1), (3,)).numel() == 6
    with pytest.raises(RuntimeError, match=r"broadcast_shapes: \(2,\), \(3,\) do not fit"):
        tg.broadcast_shapes((2,), (3,))
    with pytest.raises(RuntimeError, match=r"is_nonzero needs one element; .* shape \(1, 2\)"):
        tg.is_nonzero(x)


def test_functions_in_place_at_the_top() -> None:
    x = tg.tensor([-1.0, 4.0])
    assert tg.relu_(x) is x
    assert tg.sqrt_(x).tolist() == [0, 2]
    assert tg.clamp_(x, max=1).tolist() == [0, 1]
    assert tg.fill_(x, 3).tolist() == [3, 3]
    assert tg.zero_(x).tolist() == [0, 0]
    assert x.tolist() == [0, 0]
