"""The program for a folder of pictures, killed and started again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

PROGRAM = Path(__file__).parent.parent / "examples" / "train_folder.py"


def make_photos(folder: Path) -> None:
    """JPEGs of two classes."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 5), ("test", 2)):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(256, size=(40, 36, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{i}.jpg")


def started(photos: Path, run: Path, before: str) -> "subprocess.Popen[str]":
    """The program, for two epochs, in a process in which these statements ran before."""
    code = f"import runpy, sys; {before}; runpy.run_path({str(PROGRAM)!r}, run_name='__main__')"
    command = [sys.executable, "-c", code, photos, run, "2"]
    plain = {**os.environ, "TINYGRAD_CV_KERNELS": "numpy"}  # which need not be loaded
    return subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=plain)


def comes_to_the_same_bits(folder: Path, before: str) -> str:
    """Run it whole, and killed in its second epoch: what the one that went on has said."""
    photos, whole, parts = folder / "photos", folder / "whole", folder / "parts"
    make_photos(photos)
    first = started(photos, whole, before)
    cut = started(photos, parts, before)
    try:
        deadline = time.monotonic() + 120
        while not [*parts.glob("checkpoints/step_*")] and time.monotonic() < deadline:
            time.sleep(0.01)
        cut.send_signal(signal.SIGKILL)
        cut.communicate()
        assert cut.returncode == -signal.SIGKILL
        assert not (parts / "model.onnx").exists()
        told, errors = first.communicate(timeout=300)
        assert first.returncode == 0, errors
        second = started(photos, parts, before)
        told_again, errors = second.communicate(timeout=300)
        assert second.returncode == 0, errors
    finally:
        first.kill()
        cut.kill()
    assert told_again == told
    for name in ("model.safetensors", "model.onnx"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
    return told
