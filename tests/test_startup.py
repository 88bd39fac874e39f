"""What happens before the first step: imports, compiled kernels and where they are kept, malloc."""

import io
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_cv import cli
from tinygrad_cv.backend import memory

jit = pytest.importorskip("tinygrad_cv.backend.compiled.jit", reason="needs numba")

pytestmark = pytest.mark.host


def start(program: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def printed(process: subprocess.Popen[str]) -> list[str]:
    """What it prints, when it ends well and says nothing on stderr."""
    out, said = process.communicate(timeout=100)
    assert (process.returncode, said) == (0, ""), said
    return out.split()


def test_numba_is_imported_by_the_first_kernel_and_by_none_of_numpys() -> None:
    program = """
        import sys
        import tinygrad_cv as tg
        print("numba" in sys.modules)
        x = tg.randn(64, 64, requires_grad=True)
        tg.relu(x).sum().backward()
        print("numba" in sys.modules)
    """
    processes = {kind: start(program, TINYGRAD_CV_KERNELS=kind) for kind in ("compiled", "numpy")}
    assert printed(processes["compiled"]) == ["False", "True"]
    assert printed(processes["numpy"]) == ["False", "False"]


# ----- where compiled kernels are kept ------------------------------------------------------------


def double(x: Any) -> None:
    for i in range(x.size):
        x[i] = 2 * x[i]


def triple(x: Any) -> None:
    for i in range(x.size):
        x[i] = 3 * x[i]


def run(function: Callable[[Any], None], kind: str = "float32") -> int:
    """A new kernel of the function does what it should. How often was it found compiled?"""
    before = len(jit.KERNELS)
    kernel = jit.kernel(function)
    del jit.KERNELS[before:]
    x = np.arange(5, dtype=kind)
    kernel(x)
    assert x.tolist() == [{"double": 2, "triple": 3}[function.__name__] * i for i in range(5)]
    return int(kernel.stats.cache_hits.total())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(jit, "cache_folder", lambda: tmp_path / "a" / "kernels")
    return tmp_path / "a" / "kernels"


def test_a_kernel_is_compiled_once(folder: Path) -> None:
    assert run(double) == 0
    assert run(double) == 1
    if hasattr(os, "getuid"):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert run(double, "float64") == 0
    assert run(triple) == 0
    assert len(list(folder.iterdir())) == 3
    assert [run(double), run(double, "float64"), run(triple)] == [1, 1, 1]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[:-100],
    "a digest alone": lambda content: content[:32],
    "a bit": lambda content: content[:999] + bytes([content[999] ^ 1]) + content[1000:],
    "no pickle": lambda content: content[:32] + b"x" * 1000,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_made_anew(damage: str, folder: Path) -> None:
    run(double)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(DAMAGE[damage](whole))
    assert [run(double), run(double)] == [0, 1]


def test_the_code_of_another_kernel_under_this_name_does_not_count(folder: Path) -> None:
    run(double)
    (file,) = folder.iterdir()
    run(triple)
    (other,) = set(folder.iterdir()) - {file}
    shutil.copy(other, file)
    assert [run(double), run(double)] == [0, 1]


def test_a_digest_that_fits_content_that_does_not(folder: Path) -> None:
    """As another version of the compiler may have left it."""
    run(double)
    (file,) = folder.iterdir()
    seen = []
    original = jit.hashlib.sha256

    def looking(content: bytes = b"") -> Any:
        seen.append(content)
        return original(content)

    jit.hashlib.sha256 = looking
    try:
        run(double)
    finally:
        jit.hashlib.sha256 = original
    key = next(c[:32] for c in reversed(seen) if len(c) > 1000)
    file.write_bytes(original(key + b"nonsense").digest() + b"nonsense")
    assert [run(double), run(double)] == [0, 1]


def test_a_folder_that_goes_while_the_process_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(double)
    shutil.rmtree(folder.parent)
    assert [run(double), run(double)] == [0, 1]

    def gone(*args: Any, **options: Any) -> Any:
        shutil.rmtree(folder.parent)
        raise FileNotFoundError

    monkeypatch.setattr(jit, "NamedTemporaryFile", gone)
    assert run(triple) == 0


def test_a_full_disk_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert run(double) == 0
    assert not list(folder.iterdir())


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner on this system")
@pytest.mark.parametrize("why", ["no folder", "others may write", "another's", "no home"])
def test_a_folder_that_is_of_no_use(
    why: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(double)
    if why == "no folder":
        shutil.rmtree(folder)
        folder.write_text("a file")
    elif why == "others may write":
        folder.chmod(0o770)
    elif why == "another's":
        monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    else:
        monkeypatch.setattr(jit, "cache_folder", lambda: Path("~nobody-of-this-name").expanduser())
    assert [run(double), run(double)] == [0, 0]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner on this system")
def test_code_that_others_may_have_written_is_not_run(folder: Path) -> None:
    run(double)
    (file,) = folder.iterdir()
    file.chmod(0o666)
    assert [run(double), run(double)] == [0, 1]


def test_code_that_was_not_loaded_for_a_season_goes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jit._forget_old.cache_clear()
    folder.mkdir(parents=True)
    for name, age in (("old", 100), ("new", 80)):
        (folder / name).write_text("")
        then = time.time() - age * 24 * 3600
        os.utime(folder / name, (then, then))
    run(double)
    names = {path.name for path in folder.iterdir()}
    assert "new" in names
    assert "old" not in names


@pytest.mark.parametrize("folder_is", ["there", "not there"])
def test_who_waits_is_told_why(
    folder_is: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    if folder_is == "not there":
        folder.parent.write_text("a file")
    monkeypatch.setattr(sys, "stderr", Terminal())
    waiting = jit._Waiting()
    for _ in range(2):  # many short waits are a long one
        waiting.begin()
        time.sleep(0.02)
        waiting.end()
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]
    waiting.spent = 1.0
    for _ in range(2):
        waiting.begin()
        time.sleep(0.1)
        waiting.end()
    said = sys.stderr.getvalue()  # type: ignore[attr-defined]
    why = "once" if folder_is == "there" else "each time, for "
    assert said.startswith(f"tinygrad_cv: compiling kernels for this CPU, {why}")
    assert said.count("\n") == 1


@pytest.mark.parametrize("stderr", [None, io.StringIO()])
def test_without_a_terminal_nothing_is_said(stderr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    waiting = jit._Waiting()
    waiting.spent = 9.0
    waiting.begin()
    assert waiting.timer is None
    waiting.say()


PROCESS = """
    import os, time
    import numpy as np
    from tinygrad_cv.backend.compiled import jit
    text = "def scale(x, y):\\n  for i in range(x.size):\\n    y[i] = 3 * x[i]\\n"
    exec(compile(text, "<generated>", "exec"))
    kernel = jit.kernel(scale)
    while time.time() < float(os.environ["AT"]):
        pass
    for kind in ("float32", "float64", "int64", "float32"):
        x, y = np.arange(7, dtype=kind), np.zeros(7, kind)
        kernel(x, y)
        assert (y == 3 * x).all()
    print(kernel.stats.cache_hits.total())
"""


def test_processes_that_compile_at_once(tmp_path: Path) -> None:
    """Of two kinds of CPU: none gets what is not for it, and the next finds all."""
    environment = {"XDG_CACHE_HOME": str(tmp_path), "AT": str(time.time() + 2.5)}
    for names in (("", "", "generic"), ("", "generic")):
        processes = [start(PROCESS, **environment, NUMBA_CPU_NAME=name) for name in names]
        hits = [printed(process) for process in processes]
    assert hits == [["3"]] * 2
    if sys.platform == "linux":
        assert len(list((tmp_path / "tinygrad_cv" / "kernels").iterdir())) == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_while_another_thread_compiles(tmp_path: Path) -> None:
    program = """
        import os, signal, threading, warnings
        import numpy as np
        from numba.core.compiler_lock import global_compiler_lock
        from tinygrad_cv.backend.compiled import jit

        warnings.simplefilter("ignore")  # Python warns of a fork beside threads
        compiling = threading.Event()

        def compile_something():
            with global_compiler_lock:
                compiling.set()
                threading.Event().wait(0.5)

        def one(x):
            x[0] = 1

        threading.Thread(target=compile_something).start()
        compiling.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            x = np.zeros(1)
            jit.kernel(one)(x)
            os._exit(int(x[0]) - 1)
        print(os.waitpid(child, 0)[1])
    """
    assert printed(start(program, XDG_CACHE_HOME=str(tmp_path))) == ["0"]


# ----- warm-up ------------------------------------------------------------------------------------


def test_warm_up_compiles_every_kernel() -> None:
    program = """
        from importlib import import_module
        from pkgutil import iter_modules
        from tinygrad_cv import _warm_up
        from tinygrad_cv.backend import compiled
        for module in iter_modules(compiled.__path__):
            import_module(f"{compiled.__name__}.{module.name}")
        for run in _warm_up.FAMILIES.values():
            run()
        from tinygrad_cv.backend.compiled.jit import KERNELS
        print(*(kernel.py_func.__qualname__ for kernel in KERNELS if not kernel.signatures))
    """
    assert printed(start(program, TINYGRAD_CV_KERNELS="compiled")) == []


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit.WAITING, "said", False)
    monkeypatch.setattr("tinygrad_cv._warm_up.FAMILIES", {"none": lambda: None})
    cli.main(["warm-up"])
    assert "compiled kernels, " in capsys.readouterr().out
    monkeypatch.setattr(cli.warm_up, "has_numba", lambda: False)
    with pytest.raises(SystemExit) as error:
        cli.main(["warm-up"])
    assert error.value.code == 1
    assert "install the extra" in capsys.readouterr().err


# ----- malloc -------------------------------------------------------------------------------------


@pytest.mark.skipif(not memory.is_glibc(), reason="another C library than glibc")
def test_memory_that_is_freed_is_kept_for_the_next_array() -> None:
    """A page that is touched for the first time is a fault."""
    program = """
        import resource
        import numpy as np
        import tinygrad_cv as tg
        def arrays():
            for _ in range(10):
                [np.ones(5_000_000, "float32") for _ in range(5)]  # 20 MB, 4,900 pages of 4 kB
        tg.ones(1)
        arrays()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        arrays()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    clean = {"GLIBC_TUNABLES": ""}
    processes = {
        "1": start(program, **clean),
        "0": start(program, **clean, TINYGRAD_CV_MALLOPT="0"),
        "theirs": start(program, **clean, MALLOC_ARENA_MAX="2", MALLOC_MMAP_THRESHOLD_="65536"),
    }
    faults = {name: int(printed(process)[0]) for name, process in processes.items()}
    assert faults["1"] < 0.1 * min(faults["0"], faults["theirs"]), faults


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, True),
        ({"TINYGRAD_CV_MALLOPT": " 1"}, True),
        ({"TINYGRAD_CV_MALLOPT": "0"}, False),
        ({"MALLOC_TRIM_THRESHOLD_": "1"}, False),
        ({"MALLOC_TRIM_THRESHOLD_": "1", "TINYGRAD_CV_MALLOPT": "1"}, True),
        ({"GLIBC_TUNABLES": "glibc.malloc.top_pad=1"}, False),
        ({"GLIBC_TUNABLES": "glibc.rtld.nns=2"}, True),
    ],
)
def test_who_decides_about_malloc(environment: dict[str, str], wanted: bool) -> None:
    assert memory.is_wanted(environment) is wanted


def test_a_wrong_word_about_malloc() -> None:
    with pytest.raises(ValueError, match="TINYGRAD_CV_MALLOPT is 'no'; expected 0"):
        memory.is_wanted({"TINYGRAD_CV_MALLOPT": "no"})
