"""How files are written: whole or not at all, by however many writers, and only regular ones."""

import ast
import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn, storage, viz
from tinygrad_cv.storage import write
from tinygrad_cv.train import load_model, save_model

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(os.name != "posix", reason="permissions, links and pipes of Unix"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("written")


# ----- what is written ---------------------------------------------------------------------------

NAMES = (
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1)
    | st.binary(min_size=1, max_size=255).map(os.fsdecode)
    | st.integers(1, 255).map("x".__mul__)
).filter(
    lambda name: (
        name not in (".", "..") and len(os.fsencode(name)) <= 255 and not {"/", "\0"} & {*name}
    )
)


@given(NAMES, st.binary(), st.binary(), st.integers(0, 0o777), st.booleans(), st.booleans())
def test_contents_name_mode_and_links_are_those_of_a_plain_write(
    folder: Path, name: str, old: bytes, new: bytes, mode: int, there: bool, link: bool
) -> None:
    path = folder / name
    umask = os.umask(mode & 0o077)
    try:
        if there:
            path.write_bytes(old)
            path.chmod(mode | stat.S_IWUSR)
        named = path
        if link and name != "link":
            named = folder / "link"
            named.symlink_to(path)
        write(named, new)
        assert path.read_bytes() == new
        assert named.is_symlink() == (named is not path)
        expected = mode | stat.S_IWUSR if there else 0o666 & ~(mode & 0o077)
        assert stat.S_IMODE(path.stat().st_mode) == expected
        assert {*os.listdir(folder)} == {path.name, named.name}
    finally:
        os.umask(umask)
        for left in folder.iterdir():
            left.unlink()


def test_a_link_to_nothing_makes_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(Path("there", "file"))
    tg.save([1], tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert tg.load(tmp_path / "there" / "file") == [1]


def test_the_disk_has_the_file_before_its_name_and_then_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut at any moment leaves the old file or the new one."""
    fsync, replace, done = os.fsync, Path.replace, []

    def synced(descriptor: int) -> None:
        status = os.fstat(descriptor)
        done.append("folder" if stat.S_ISDIR(status.st_mode) else f"{status.st_size} bytes")
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        done.append("renamed")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    write(tmp_path / "file", bytes(100_000))
    assert done == ["100000 bytes", "renamed", "folder"]


@pytest.mark.skipif(os.name == "posix" and os.getuid() != 0, reason="only root gives files away")
def test_what_root_writes_stays_its_owners(tmp_path: Path) -> None:
    write(tmp_path / "file", b"before")
    os.chown(tmp_path / "file", 65534, 65533)
    write(tmp_path / "file", b"after")
    status = (tmp_path / "file").stat()
    assert (status.st_uid, status.st_gid) == (65534, 65533)


# ----- what is refused ---------------------------------------------------------------------------


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(path))


IRREGULAR: dict[str, Callable[[Path], Any]] = {
    "a pipe": os.mkfifo,
    "a socket": make_socket,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/null"),
}
WRITERS: dict[str, Callable[[Path], Any]] = {
    "save": lambda path: tg.save([1], path),
    "save_model": lambda path: save_model(nn.Linear(1, 1), path),
    "draw": lambda path: viz.draw(tg.ones(1, requires_grad=True) * 2).save(path),
    "curves": lambda path: viz.curves({"loss": [1.0, 2.0]}, path),
    "load": tg.load,
    "load_model": lambda path: load_model(nn.Linear(1, 1), path),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", IRREGULAR)
def test_what_is_no_regular_file_is_neither_replaced_nor_waited_for(
    kind: str, writer: str, tmp_path: Path
) -> None:
    path = tmp_path / ("it.json" if writer == "draw" else "it.svg")
    IRREGULAR[kind](path)
    before = path.lstat()
    with pytest.raises(OSError, match=rf"found {kind}, expected an ordinary file: '.*{path.name}'"):
        WRITERS[writer](path)
    assert os.path.samestat(path.lstat(), before)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("name", "number", "named"),
    [
        ("absent/file", errno.ENOENT, "absent"),
        ("file/below", errno.ENOTDIR, "file/below"),
        ("x" * 256, errno.ENAMETOOLONG, "x" * 256),
        ("loop", errno.ELOOP, "loop"),
        ("", errno.EISDIR, ""),
    ],
)
def test_an_error_is_one_sentence_that_names_what_the_user_named(
    name: str, number: int, named: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"before")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OSError, match=os.strerror(number) if name else "found a folder") as caught:
        write(tmp_path / name, b"new")
    assert caught.value.errno == number
    assert caught.value.filename == str(tmp_path / named)
    assert sorted(os.listdir(tmp_path)) == ["file", "loop"]
    assert (tmp_path / "file").read_bytes() == b"before"


DENIED = """
import os, sys
from pathlib import Path
from tinygrad_cv.storage import write
if os.getuid() == 0:
    os.setuid(65534)  # nothing is denied to root
for name in sys.argv[1:]:
    try:
        write(Path(name), b"new")
    except OSError as error:
        print(error)
"""


def test_what_may_not_be_written_is_left_alone() -> None:
    """A folder and a file that are read-only, and one of which the owner alone may know."""
    with tempfile.TemporaryDirectory() as name:  # pytest's are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "closed").mkdir()
        (folder / "open").mkdir()
        (folder / "closed").chmod(0o555)
        (folder / "open").chmod(0o777)
        (folder / "open" / "file").write_bytes(b"before")
        (folder / "open" / "file").chmod(0o444)
        targets = ["closed/new", "open/file", "open/new"]
        command = [sys.executable, "-c", DENIED, *targets]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.stderr == ""
        assert done.stdout.splitlines() == [
            f"[Errno 13] Permission denied: '{folder / 'closed'}'",
            "[Errno 13] Permission denied: 'open/file'",
        ]
        assert (folder / "open" / "file").read_bytes() == b"before"
        assert sorted(os.listdir(folder / "open")) == ["file", "new"]
        (folder / "closed").chmod(0o755)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("call", ["fsync", "replace", "write"])
def test_a_write_that_fails_anywhere_changes_nothing(
    call: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    if there:
        write(path, b"before")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if call == "write":
        partial = storage._partial

        @contextmanager
        def filled(*arguments: Any) -> Iterator[Any]:
            with partial(*arguments) as (name, file):
                file.write(b"n")
                yield name, SimpleNamespace(write=full)

        monkeypatch.setattr(storage, "_partial", filled)
    else:
        monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match=rf"No space left on device: '{path}'"):
        write(path, b"new")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["file"] * there
    assert not there or path.read_bytes() == b"before"


# ----- several writers ---------------------------------------------------------------------------


def test_threads_that_write_one_file_leave_it_whole(tmp_path: Path) -> None:
    """Every read finds what one of them has written, and no writer fails."""
    path = tmp_path / "state"
    errors: list[BaseException] = []

    def constant(value: float) -> nn.Linear:
        model = nn.Linear(20, 20, bias=False)
        model.weight.data.copy_(value)
        return model

    def again(value: float) -> None:
        model = constant(value)
        try:
            for _ in range(25):
                save_model(model, path)
        except BaseException as error:
            errors.append(error)

    save_model(constant(4.0), path)
    writers = [threading.Thread(target=again, args=(float(i),)) for i in range(4)]
    for writer in writers:
        writer.start()
    model, met = constant(5.0), set()
    while any(writer.is_alive() for writer in writers):
        load_model(model, path)
        [value] = np.unique(model.weight.detach().numpy())
        met.add(value)
    for writer in writers:
        writer.join()
    assert errors == []
    assert met <= {0.0, 1.0, 2.0, 3.0, 4.0}
    assert os.listdir(tmp_path) == ["state"]


KILLED = """
import os, sys, time
from pathlib import Path
from tinygrad_cv import storage
def slow(descriptor):
    print("writing", flush=True)
    time.sleep(60)
storage._sync = slow
storage.write(Path(sys.argv[1]), b"never seen")
"""


def test_what_a_killed_writer_leaves_is_cleared_and_a_living_one_is_let_be(tmp_path: Path) -> None:
    path = tmp_path / ("long " * 50)
    write(path, b"before")
    command = [sys.executable, "-c", KILLED, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        [partial] = {*os.listdir(tmp_path)} - {path.name}
        write(path, b"meanwhile")
        assert {*os.listdir(tmp_path)} == {path.name, partial}
        process.send_signal(signal.SIGKILL)
    assert path.read_bytes() == b"meanwhile"
    assert partial in os.listdir(tmp_path)
    others = [".other.0123456789abcdef.partial", f".{path.name[:40]}.notes.partial"]
    for name in others:
        (tmp_path / name).touch()
    write(path, b"after")
    assert {*os.listdir(tmp_path)} == {path.name, *others}
    assert path.read_bytes() == b"after"


def test_a_partial_file_that_is_taken_for_stale_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer may come between its making and its locking."""
    flock, taken = storage.fcntl.flock, []

    def late(file: Any, how: int) -> None:
        if not taken:
            [name] = os.listdir(tmp_path)
            (tmp_path / name).unlink()
            taken.append(name)
        flock(file, how)

    monkeypatch.setattr(storage.fcntl, "flock", late)
    write(tmp_path / "file", b"new")
    assert len(taken) == 1
    assert (tmp_path / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


# ----- every file of the package goes this way ---------------------------------------------------


ELSEWHERE = {
    "cli/__init__.py": "the standard streams, where they are closed",
    "archives.py": "files in a folder that gets its name when it is whole",
    "loggers.py": "a row at the end of a table; a torn one is dropped by the run that goes on",
    "results.py": "a line at the end of the trials; the search that goes on drops a torn one",
    "workers.py": "memory that has no name",
}


def test_nothing_in_the_package_writes_a_file_past_it() -> None:
    package = Path(tg.__file__).parent
    direct = []
    for path in [*package.rglob("*.py"), *Path(viz.__file__).parent.rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or path.name == "storage.py":
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            modes = [a.value for a in node.args if isinstance(a, ast.Constant)]
            if name in ("write_bytes", "write_text", "tofile", "save_file") or (
                name == "open" and any(isinstance(m, str) and {*"wxa+"} & {*m} for m in modes)
            ):
                file = "/".join(path.parts[-2:]) if path.name == "__init__.py" else path.name
                direct.append(f"{file}:{node.lineno}: {name}")
    assert [line for line in direct if line.partition(":")[0] not in ELSEWHERE] == []
