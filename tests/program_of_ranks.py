"""What test_distributed.py lets ranks do that `mpiexec` starts: `all FOLDER`, or `three`."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tinygrad_cv as tg
from tinygrad_cv import cli, data, nn, optim, train
from tinygrad_cv import distributed as dist
from tinygrad_cv.distributed import ReduceOp
from tinygrad_cv.nn.parallel import DistributedDataParallel

dist.init_process_group(timeout=60)
rank, size = dist.get_rank(), dist.get_world_size()


def collectives() -> None:
    """Every function, every dtype."""
    assert (dist.get_backend(), size) == ("mpi", 2)
    for dtype in ("float16", "float32", "float64", "int8", "uint8", "int32", "int64"):
        expected = {"SUM": [3, 7], "PRODUCT": [2, 12], "MIN": [1, 3], "MAX": [2, 4]}
        expected |= {"AVG": [1.5, 3.5]} if "f" in dtype else {"BOR": [3, 7], "BXOR": [3, 7]}
        for op, values in expected.items():
            x = tg.tensor([1 + rank, 3 + rank], dtype=dtype)
            dist.all_reduce(x, ReduceOp[op])
            assert (x.tolist(), str(x.dtype)) == (values, dtype)
    x = tg.tensor([[True, False], [rank == 0, rank == 0]])
    for op, values in ((ReduceOp.SUM, [[True, False], [True, True]]), (ReduceOp.MIN, x.tolist())):
        y = x.clone()
        dist.all_reduce(y, op)
        assert y.tolist() == (values if op is ReduceOp.SUM else [[True, False], [False, False]])
    x = tg.arange(6.0).reshape(2, 3).T + 10 * rank  # with gaps
    parts = [tg.zeros(3, 2) for _ in range(2)]
    dist.all_gather(parts, x)
    assert [p[0].tolist() for p in parts] == [[0.0, 3.0], [10.0, 13.0]]
    whole = tg.zeros(6, 2)
    dist.all_gather_into_tensor(whole, x)
    assert whole.tolist() == tg.cat(parts).tolist()
    own = tg.zeros(3, 2)
    dist.reduce_scatter_tensor(own, whole, ReduceOp.AVG)
    assert own.tolist() == parts[rank].tolist()
    dist.scatter(own, [p + 1 for p in parts] if rank == 1 else None, 1)
    assert own.tolist() == (parts[rank] + 1).tolist()
    dist.gather(own, parts if rank == 0 else None)
    if rank == 0:
        assert [p[0, 0].item() for p in parts] == [1.0, 11.0]
    y = tg.tensor([float(rank)], dtype="float16")
    dist.reduce(y, 1)
    assert y.item() == rank
    on_device = tg.tensor([rank, 5], device="fakecuda:1")
    work = dist.broadcast(on_device, 1, async_op=True)
    assert work is not None
    work.wait()
    assert on_device.tolist() == [1, 5]
    if rank == 0:
        sent = dist.isend(y + 7, 1, tag=3)
        assert dist.recv(y, tag=4) == 1
        assert sent.wait()
    else:
        dist.send(y + 8, 0, tag=4)
        assert dist.recv(y, 0, tag=3) == 0
    assert y.item() == (9.0 if rank == 0 else 7.0)
    things: list[Any] = [None, None]
    dist.all_gather_object(things, "x" * (1 + 1000 * rank))
    assert [len(x) for x in things] == [1, 1001]
    things = [rank, {"rank": rank}]
    dist.broadcast_object_list(things, 1)
    assert things == [1, {"rank": 1}]
    big = tg.full((3_000_000,), 1.0 + rank)
    dist.all_reduce(big)
    assert big.equal(tg.full((3_000_000,), 3.0))
    z = tg.tensor([1.0 + rank], requires_grad=True)
    (dist.differentiable_sum(z) ** 3).sum().backward()
    assert z.grad.item() == 2 * 27.0  # type: ignore[union-attr]
    [g] = tg.autograd.grad((dist.differentiable_sum(z) ** 3).sum(), z, create_graph=True)
    [h] = tg.autograd.grad(g.sum(), z)  # of 6 s² on each of 2 ranks, where s = 3
    assert (g.item(), h.item()) == (54.0, 72.0)


def net(norm: bool = True) -> nn.Module:
    parts = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)] if norm else [nn.Conv2d(1, 3, 3)]
    return nn.Sequential(*parts, nn.Tanh(), nn.Flatten(), nn.Linear(27, 4)).double()


def same_on_all(tensors: Any) -> bool:
    values = [t.detach().numpy().tobytes() for t in tensors]
    found: list[Any] = [None] * size
    dist.all_gather_object(found, values)
    return all(x == values for x in found)


def against_one_process(ends: list[int], compiled: bool) -> None:
    """A model over unequal parts, in steps as they are or compiled, and one process beside it."""
    tg.manual_seed(rank)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(net())
    ddp = DistributedDataParallel(model, bucket_cap_mb=1e-4)
    one = net()
    one.load_state_dict(model.state_dict())  # that of rank 0
    tg.manual_seed(5)
    x, y = tg.randn(ends[-1], 1, 5, 5).double(), tg.randint(0, 4, (ends[-1],))
    mine = slice(ends[rank], ends[rank + 1])
    ours, other = (optim.SGD(m.parameters(), 0.1, momentum=0.9) for m in (ddp, one))

    def step(inputs: Any, labels: Any) -> Any:
        ours.zero_grad()
        loss = nn.functional.cross_entropy(ddp(inputs), labels, reduction="sum")
        (loss * (size / ends[-1])).backward()
        ours.step()
        return loss

    replayed = [tg.compile(step)] * 3 if compiled else []
    for function in (step, step, *replayed):
        function(x[mine].clone(), y[mine].clone())
        other.zero_grad()
        nn.functional.cross_entropy(one(x), y).backward()
        other.step()
    for a, b in zip(model.state_dict().values(), one.state_dict().values(), strict=True):
        assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-12)
    assert same_on_all(model.state_dict().values())


def unused() -> None:
    """The gradients of parameters that one rank, or none, has used, and of sums."""
    tg.manual_seed(rank)
    layers = nn.ModuleList(nn.Linear(2, 1) for _ in range(3))
    ddp = DistributedDataParallel(layers, find_unused_parameters=True)
    x = tg.ones(1, 2) * (rank + 1)
    for sync in (False, True):
        ddp.require_backward_grad_sync = sync
        ddp._averaging.active = sync
        (layers[0](x) + (layers[1](x) if rank else 0)).sum().backward()
    grads = [layer.weight.grad for layer in layers]
    assert [g if g is None else g.tolist() for g in grads] == [[[3.0, 3.0]], [[2.0, 2.0]], None]


def fitted(folder: Path, name: str, epochs: int, ranks: bool, **options: Any) -> Any:
    """The history and state of a model that a Trainer has fitted."""
    group = dist.state._group
    if not ranks:
        dist.state._group = None
    generator = tg.manual_seed(4)
    images, labels = tg.randn(31, 1, 5, 5).double(), tg.randint(0, 4, (31,))
    model = nn.Sequential(nn.Dropout(0.2), net(), nn.Dropout(0.3))
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    samples = data.TensorDataset(images, labels)
    loader = data.DataLoader(samples, 6, shuffle=True, generator=generator)
    validation = data.DataLoader(samples, 10)
    optimizer = optim.Adam(model.parameters(), 0.01)
    regularizer = optim.L2(0.01) + optim.MaxNorm(0.5)
    trainer = train.Trainer(
        model, optimizer, accumulate=2, clip_grad_norm=0.5, regularizer=regularizer
    )
    callbacks = [
        train.Checkpoint(folder / name, every_steps=2, keep=99),
        train.CSVLogger(folder / f"{name}.csv"),
        train.UpdateBN(),
    ]
    history = trainer.fit(loader, validation, epochs, callbacks=callbacks, **options)
    dist.state._group = group
    return history, model.state_dict(), trainer


def trainer_and_checkpoints(folder: Path) -> None:
    history, state, trainer = fitted(folder, "whole", 3, True)
    dist.barrier()
    if rank == 0:
        one, alone, _ = fitted(folder, "alone", 3, False)
        for a, b in zip(history, one, strict=True):
            assert a.keys() == b.keys()
            assert_allclose([*a.values()], [*b.values()], rtol=1e-9)
        for name, value in state.items():
            assert_allclose(value.numpy(), alone[name].numpy(), rtol=1e-9, atol=1e-9)
        assert (folder / "whole.csv").read_text().count("\n") == 4
    files = sorted((folder / "whole").iterdir())
    assert len(files) == 4  # of 9 steps
    assert trainer.step == 9
    assert same_on_all(state.values())
    again, second, resumed = fitted(folder, "again", 3, True, resume=files[1])
    assert resumed.resumed
    assert again == history
    assert all(second[name].equal(value) for name, value in state.items())
    compiled = train.Trainer(net(), optim.SGD(net().parameters(), 0.1), compile=True)
    with pytest.raises(ValueError, match="compile=True fits in one process"):
        compiled.fit([[0]])


def the_command(folder: Path) -> None:
    """As `mpiexec -n 2 tinygrad-cv train`, which joins the others by itself."""
    dist.destroy_process_group()
    cli.train._draw = lambda *args: []  # type: ignore[assignment]  it takes as long as all else
    command = ["train", "--epochs=1", "--limit=90", "--batch-size=27", f"--out={folder / 'two'}"]
    cli.main(command)
    assert not dist.is_initialized()
    dist.init_process_group(timeout=60)


if sys.argv[1] == "all":
    collectives()
    against_one_process([0, 3, 8], compiled=True)
    unused()
    trainer_and_checkpoints(Path(sys.argv[2]))
    the_command(Path(sys.argv[2]))
    print("all is well", flush=True)
    dist.barrier()
    if rank == 1:
        sys.exit(3)
else:
    against_one_process([0, 2, 2, 5], compiled=False)
    x = tg.tensor(np.random.default_rng(rank).normal(size=10_001).astype("float32"))
    dist.all_reduce(x)
    assert same_on_all([x])
    print("all is well", flush=True)
    dist.barrier()
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
dist.barrier()
