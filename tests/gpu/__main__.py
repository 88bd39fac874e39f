"""Everything that a real card should check, in one command: `python -m tests.gpu`.

The suite on the device; values and gradients of every op beside the CPU; memory over 500 steps;
the main job; the ConvNet step beside PyTorch. One JSON file and a table; status 1 if a part failed.
`--device fakecuda` rehearses the same on the stand-in.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # where the rows are

from hypothesis import HealthCheck, Phase, given, settings

import tinygrad_cv as tg
from bench.measure import disagreements, interleaved  # type: ignore[import-not-found]
from bench.workloads import Library, convnet  # type: ignore[import-not-found]
from rows import ROWS, Case, Row
from tinygrad_cv.backend import get
from tinygrad_cv.testing.ops import run, split

ROOT = Path(__file__).parents[2]
BATCH = 256


@contextmanager
def made_on(device: str) -> Iterator[None]:
    """Inside it new tensors are made on the device."""
    before = tg.get_default_device()
    tg.set_default_device(device)
    try:
        yield
    finally:
        tg.set_default_device(before)


# ----- the parts: each returns what it found, with "ok" ------------------------------------------


def suite(device: str, options: argparse.Namespace) -> dict[str, Any]:
    """The whole test suite on the device."""
    command = [sys.executable, "-m", "pytest", "-q", "--device", device, *options.pytest]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    counts = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-2000:], file=sys.stderr)
    return {"ok": done.returncode == 0 and counts.get("passed", 0) > 0, **counts}


def agreement(device: str, options: argparse.Namespace) -> dict[str, Any]:
    """The largest difference between the device and the CPU over all ops, in both precisions."""
    found: dict[str, Any] = {"ok": True, "ops": len(ROWS)}
    for dtype, allowed in (("float64", 1e-9), ("float32", 1e-3)):
        worst = max((difference(row, dtype, device), name) for name, row in ROWS.items())
        found[dtype] = {"worst": worst[0], "op": worst[1], "allowed": allowed}
        found["ok"] = found["ok"] and worst[0] <= allowed
    return found


def difference(row: Row, dtype: str, device: str) -> float:
    """The largest |a - b| / max(1, |b|) of values and gradients over some examples of an op."""
    worst = [0.0]

    @settings(
        max_examples=20,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(row.cases)
    def compare(case: Case) -> None:
        ours, theirs = (results(row, case, dtype, place) for place in (device, "cpu"))
        for a, b in zip(ours, theirs, strict=True):
            scale = max(1.0, float(np.abs(b).max(initial=0)))
            error = float(np.abs(a - b).max(initial=0)) / scale
            worst.append(error if error == error else np.inf)

    if row.name != "dropout":  # each kind of device draws numbers of its own
        compare()
    return max(worst)


def results(row: Row, case: Case, dtype: str, device: str) -> list[Any]:
    """The outputs of an op and its gradients, for a fixed cotangent."""
    floats = tuple(
        v.astype(dtype) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v
        for v in case.inputs
    )
    with made_on(device):
        case = Case(floats, case.attributes)
        variables, _, call = split(row.op, case)
        leaves = [tg.Tensor(v, requires_grad=bool(row.op.rules)) for v in variables]
        y = call(*leaves) if variables else run(row.op, case, map(as_tensor, case.inputs))
        outputs = y if isinstance(y, tuple) else (y,)
        found = [y.detach().cpu().numpy().astype("float64") for y in outputs]
        live = [y for y in outputs if y.requires_grad]
        if live:
            rng = np.random.default_rng(0)
            v = [
                tg.Tensor(rng.standard_normal(y.shape).astype(dtype), device=y.device) for y in live
            ]
            gradients = tg.grad(live, leaves, v, allow_unused=True)
            found += [g.cpu().numpy().astype("float64") for g in gradients if g is not None]
    return found


def as_tensor(value: Any) -> Any:
    return tg.Tensor(value) if isinstance(value, np.ndarray) else value


def memory(device: str, options: argparse.Namespace) -> dict[str, Any]:
    """Bytes in use after 50 and after 500 steps of the ConvNet."""
    with made_on(device):
        step = convnet(Library("tinygrad_cv", tg, tg), 16).step
        used = {}
        for number in range(1, options.steps + 1):
            step()
            if number in (options.steps // 10, options.steps):
                used[number] = bytes_in_use(device)
    first, last = used.values()
    return {"ok": first is None or last <= first, "bytes": used}


def bytes_in_use(device: str) -> int | None:
    """What CuPy's pool has given out; None on the stand-in."""
    if not device.startswith("cuda"):
        return None
    import cupy

    cupy.cuda.Device().synchronize()
    return int(cupy.get_default_memory_pool().used_bytes())


def main_job(device: str, options: argparse.Namespace) -> dict[str, Any]:
    """The digits, on the device and on the CPU."""
    accuracies = {}
    for place in (device, "cpu"):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "tinygrad_cv", "train", "--device", place]
            command += ["--out", folder, "--epochs", str(options.epochs)]
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            metrics = json.loads(Path(folder, "metrics.json").read_text(encoding="utf-8"))
            accuracies[place] = {key: metrics[key] for key in ("test_accuracy", "seconds")}
    ours, theirs = (found["test_accuracy"] for found in accuracies.values())
    return {"ok": abs(ours - theirs) <= 0.015, **accuracies}


def speed(device: str, options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of a ConvNet step at batch 256, beside PyTorch in single precision."""
    with made_on(device):
        ours = convnet(Library("tinygrad_cv", tg, tg), BATCH)
        steps = {"tinygrad_cv": lambda: ours.step().item()}
        torch = pytorch() if device.startswith("cuda") else None
        found: dict[str, Any] = {"ok": True, "batch": BATCH}
        if torch is not None:
            library = Library("torch", torch, torch.nn.functional)
            theirs = convnet(library, BATCH)
            found["disagreements"] = list(
                disagreements(
                    convnet(Library("tinygrad_cv", tg, tg), BATCH), convnet(library, BATCH)
                )
            )
            found["ok"] = not found["disagreements"]
            steps["torch"] = lambda: theirs.step().item()
        times = interleaved(steps, options.rounds, lambda done: None)
    found["ms"] = {name: median(values) for name, values in times.items()}
    return found


def pytorch() -> Any:
    """PyTorch on the card, without the shortcuts of TF32; None if it is not installed."""
    try:
        import torch
    except ModuleNotFoundError:
        return None
    torch.set_default_device("cuda")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch


PARTS: tuple[Callable[[str, argparse.Namespace], dict[str, Any]], ...] = (
    suite,
    agreement,
    memory,
    main_job,
    speed,
)


def card(device: str) -> str:
    """The name of what the device is."""
    if not device.startswith("cuda"):
        return "the stand-in"
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(int(device.partition(":")[2] or 0))
    return f"{properties['name'].decode()}, CuPy {cupy.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda (default), or fakecuda to rehearse")
    parser.add_argument("--only", choices=[part.__name__ for part in PARTS], help="one part alone")
    parser.add_argument("--steps", type=int, default=500, help="of the memory test (500)")
    parser.add_argument("--epochs", type=int, default=60, help="of the main job (60)")
    parser.add_argument("--rounds", type=int, default=15, help="of the timing (15)")
    parser.add_argument("--out", type=Path, help="the JSON file (default: tests/bench/results/)")
    parser.add_argument("--pytest", nargs=argparse.REMAINDER, default=[], help="pytest's arguments")
    options = parser.parse_args()
    device = get(options.device).device  # says what is missing, before anything starts
    found: dict[str, Any] = {"card": card(device), "date": f"{date.today()}", "device": device}
    print(f"{found['card']} ({device})")
    for part in PARTS:
        if options.only in (None, part.__name__):
            started = time.perf_counter()
            result = part(device, options)
            found[part.__name__] = result | {"seconds": round(time.perf_counter() - started, 1)}
            shown = {key: value for key, value in result.items() if key != "ok"}
            print(
                f"  {part.__name__:<10} {'ok' if result['ok'] else 'FAILED':<7} {shown}", flush=True
            )
    name = f"gpu-{re.sub('[^a-z0-9]+', '-', found['card'].lower())}-{found['date']}.json"
    out = options.out or ROOT / "tests" / "bench" / "results" / name
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(out)
    sys.exit(not all(found[part.__name__]["ok"] for part in PARTS if part.__name__ in found))


if __name__ == "__main__":
    main()
