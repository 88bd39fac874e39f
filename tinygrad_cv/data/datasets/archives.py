"""Archives, tar and zip, unpacked without trust in what they say.

Every member is read as it comes and counted, so a small archive cannot fill the disk; each lands
inside the folder or nowhere; and a folder gets either all of them or none.
"""

import os
import re
import secrets
import shutil
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO
from unicodedata import normalize

from tinygrad_cv.data.files import CHUNK, DatasetError, opened, read

fcntl: Any = import_module("fcntl") if os.name == "posix" else None

MAX_UNPACKED = 8 << 30
"""The most bytes that an archive may unpack to by default: twice the largest that is known here."""
MAX_FILES = 2_000_000
"""The most members that an archive may have by default: ImageNet has 1,331,167."""
MAX_DIRECTORY = 256 << 20  # bytes of the list of what is in a zip file, which is read as a whole
MAX_HEADER = 1 << 16  # bytes that describe one member of a tar file
BLOCK = 512  # what a tar file is made of
DEPTH = 64  # folders in one another
DAY = 24 * 60 * 60

LINKS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device",
         b"6": "a pipe", b"S": "a file with holes"}  # fmt: skip

Member = tuple[str, bool, Iterator[bytes]]
"""The name of a member, whether it is a folder, and its contents piece by piece."""


def extract_archive(
    from_path: str | PathLike[str],
    to_path: str | PathLike[str] | None = None,
    *,
    members: Collection[str] | None = None,
    max_bytes: int = MAX_UNPACKED,
    max_files: int = MAX_FILES,
) -> Path:
    """Unpack a tar file, which may be zipped by gzip or xz, or a zip file; give the folder.

    That is `to_path`, by default the one with the archive. `members` are the names of the files to
    unpack, by default all. The files get their places when the last of them is unpacked; those that
    were there by these names are replaced.

    Raises DatasetError, with nothing in the folder changed, for an archive that is damaged, lacks
    one of the `members`, has more than `max_files` members or `max_bytes` bytes in them, a name
    twice (or twice but for upper and lower case), a name that leads out of the folder, a link, a
    device, or anything but files and folders. Raises OSError if the folder cannot be written.

    >>> import zipfile
    >>> from tinygrad_cv.data.datasets import extract_archive
    >>> with zipfile.ZipFile("images.zip", "w") as archive:
    ...     archive.writestr("images/cat/1.txt", "a cat")
    >>> (extract_archive("images.zip", "there") / "images" / "cat" / "1.txt").read_text()
    'a cat'
    """
    path = Path(from_path)
    folder = path.parent if to_path is None else Path(to_path)
    expected = "an intact tar or zip file"
    wanted = None if members is None else {*members}
    with (
        opened(path, expected) as (file, _, zipped),
        _partial_folder(folder, path.name) as partial,
    ):
        is_zip = not zipped and file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
        if not zipped:
            file.seek(0)
        listed = (_zip_members if is_zip else _tar_members)(file, path, max_files, max_bytes)
        places: dict[str, str] = {}
        left = max_bytes
        for count, (name, is_folder, pieces) in enumerate(listed, start=1):
            if count > max_files:
                raise DatasetError.about(path, "more members", f"at most {max_files:,}")
            parts = _parts(name, path)
            if not parts and is_folder:  # "./"
                continue
            _take_place(places, parts, is_folder, path)
            if wanted is not None:
                if name not in wanted:
                    continue
                wanted.discard(name)
            target = partial.joinpath(*parts)
            if is_folder:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as out:
                for piece in pieces:
                    left -= len(piece)
                    if left < 0:  # of a zip file, which may lie about it
                        _check_size(max_bytes - left, max_bytes, path)
                    out.write(piece)
        if wanted:
            raise DatasetError.about(
                path, "an archive without it", f"{', '.join(sorted(wanted))} in it"
            )
        if not places:
            raise DatasetError.about(path, "nothing in it", expected)
        _move(partial, folder)
    return folder


def _check_size(size: int, max_bytes: int, path: Path) -> None:
    if size > max_bytes:
        raise DatasetError.about(
            path, f"{size:,} bytes or more in its members", f"at most {max_bytes:,}"
        )


def _parts(name: str, path: Path) -> list[str]:
    """The folders and the file of a name, if that stays inside the folder, on every system."""
    shown = ascii(name if len(name) <= 100 else name[:100] + "...")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\\" in name or re.match(r"[A-Za-z]:", name):
        raise DatasetError.about(path, f"a member {shown}", "names that stay inside the folder")
    bad = any(not c.isprintable() for c in name) or (os.name == "nt" and ":" in name)
    bad |= not parts and not name.endswith("/")
    if bad or any(len(part.encode(errors="replace")) > 255 for part in parts) or len(parts) > DEPTH:
        raise DatasetError.about(path, f"a member {shown}", "names that every system can have")
    return parts


def _take_place(places: dict[str, str], parts: list[str], is_folder: bool, path: Path) -> None:
    """Note that a name is taken, and by what; folders may be named again, in the same spelling."""
    for depth in range(1, len(parts) + 1):
        name = "/".join(parts[:depth])
        is_file = depth == len(parts) and not is_folder
        new = f"{'file' if is_file else 'folder'} {name}"
        # So names are compared on disks that do not tell upper from lower case.
        place = normalize("NFC", name).casefold()
        before = places.get(place, "" if is_file else new)
        if before != ("" if is_file else new):
            raise DatasetError.about(
                path, f"the {ascii(before)[1:-1]} and the {ascii(new)[1:-1]}", "each name once"
            )
        places[place] = new


@contextmanager
def _partial_folder(folder: Path, name: str) -> Iterator[Path]:
    """A new folder in the folder: nobody else's, locked while it is filled, gone at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    begins = f".{name[:40]}."
    for stale in folder.glob(".*.unpacked"):
        if stale.name.startswith(begins) and _is_stale(stale):
            shutil.rmtree(stale, ignore_errors=True)
    partial = folder / f"{begins}{secrets.token_hex(8)}.unpacked"
    partial.mkdir()
    lock = os.open(partial, os.O_RDONLY) if fcntl is not None else None
    try:
        if lock is not None:
            with suppress(OSError):  # where there are no locks
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _is_stale(partial: Path) -> bool:
    """Whether whoever has filled this folder is dead: nobody holds its lock."""
    try:
        if fcntl is None or time.time() - partial.stat().st_mtime < 1:  # perhaps not locked yet
            return time.time() - partial.stat().st_mtime > DAY
        lock = os.open(partial, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _move(source: Path, target: Path) -> None:
    """Move what is in one folder to another, file by file only where a folder is there already."""
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir():
            with suppress(OSError):  # there is one, and it is not empty
                entry.rename(place)
                continue
            place.mkdir(exist_ok=True)
            _move(entry, place)
        else:
            entry.replace(place)


# ----- zip ---------------------------------------------------------------------------------------

DAMAGE = (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error,
          EOFError, RuntimeError, zlib.error, LookupError)  # fmt: skip
"""How it shows that a zip file is damaged."""


def _zip_members(file: BinaryIO, path: Path, max_files: int, max_bytes: int) -> Iterator[Member]:
    with _intact_zip(path):
        _check_directory(file, path)
        archive = zipfile.ZipFile(file)
    with archive:
        entries = archive.infolist()
        if len(entries) > max_files:
            raise DatasetError.about(path, f"{len(entries):,} members", f"at most {max_files:,}")
        _check_size(sum(entry.file_size for entry in entries), max_bytes, path)
        for entry in entries:
            shown = ascii(entry.filename[:100])
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DatasetError.about(path, f"a link or a device, {shown}", "files and folders")
            if entry.flag_bits & 1:
                raise DatasetError.about(path, f"an encrypted member, {shown}", "none")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DatasetError.about(
                    path, f"{shown}, compressed by method {entry.compress_type}", "deflate, or none"
                )
            name = entry.orig_filename
            yield name, name.endswith("/"), _zip_pieces(archive, entry, path)


def _zip_pieces(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> Iterator[bytes]:
    with _intact_zip(path), archive.open(entry) as member:
        while piece := member.read(CHUNK):
            yield piece


@contextmanager
def _intact_zip(path: Path) -> Iterator[None]:
    try:
        yield
    except DatasetError:
        raise
    except DAMAGE as error:
        said = "".join(c if c.isprintable() else "?" for c in str(error)[:200])
        raise DatasetError.about(path, f"a damaged zip file ({said})", "an intact one") from error


def _check_directory(file: BinaryIO, path: Path) -> None:
    """That the list of what is in a zip file is not too large to be read, by the record behind it.

    The list cannot be longer than the file, but each entry takes far more memory than bytes.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 22))
    end = file.read()
    listed = int.from_bytes(end.rpartition(b"PK\x05\x06")[2][8:12], "little")
    if listed == 0xFFFFFFFF:  # it stands in the record of large files
        listed = int.from_bytes(end.rpartition(b"PK\x06\x06")[2][36:44], "little")
    if min(listed, size) > MAX_DIRECTORY:
        raise DatasetError.about(
            path, f"a list of members of {listed:,} bytes", f"at most {MAX_DIRECTORY:,}"
        )
    file.seek(0)


# ----- tar ---------------------------------------------------------------------------------------


def _tar_members(file: BinaryIO, path: Path, max_files: int, max_bytes: int) -> Iterator[Member]:
    """ustar, GNU's and POSIX's: what these have for long names and large sizes is understood.

    Python's own module reads descriptions of any size at once, and goes back in the file, which of
    a zipped one unzips it again.
    """
    told: dict[str, str] = {}  # what was said of the next member
    total = 0
    for _ in range(4 * max_files + 1):
        header = bytes(read(file, BLOCK))
        if len(header) < BLOCK:
            raise DatasetError.about(path, "a tar file that ends too early", "an intact one")
        if not header.strip(b"\0"):
            _read_to_end(file, path)
            return
        _check_header(header, path)
        kind = header[156:157]
        size = int(told["size"]) if "size" in told else _number(header[124:136], path)
        if kind in (b"L", b"K", b"x", b"g"):
            if size > MAX_HEADER:
                raise DatasetError.about(
                    path, f"{size:,} bytes about a member", f"at most {MAX_HEADER:,}"
                )
            about = b"".join(_tar_pieces(file, size, path))
            if kind == b"L":
                told["path"] = _text(about.partition(b"\0")[0])
            elif kind == b"x":
                told |= _records(about, path)
            continue
        name = _text(header[:100].partition(b"\0")[0])
        if header[257:263] == b"ustar\0" and (prefix := header[345:500].partition(b"\0")[0]):
            name = f"{_text(prefix)}/{name}"
        name = told.get("path", name)
        told = {}
        if kind not in (b"\0", b"0", b"7", b"5"):
            what = LINKS.get(kind, f"a member of the kind {kind!r}")
            raise DatasetError.about(path, f"{what}, {name[:100]!a}", "files and folders")
        is_folder = kind == b"5" or name.endswith("/")
        total += size
        _check_size(total, max_bytes, path)
        pieces = _tar_pieces(file, size, path)
        yield name, is_folder, pieces
        for _ in pieces:  # what nobody has read
            pass
    raise DatasetError.about(path, "more members", f"at most {max_files:,}")


def _tar_pieces(file: BinaryIO, size: int, path: Path) -> Iterator[bytes]:
    """The next `size` bytes, and the padding behind them left out."""
    left = size
    while left:
        piece = file.read(min(left, CHUNK))
        if not piece:
            raise DatasetError.about(path, "a tar file that ends too early", "an intact one")
        left -= len(piece)
        yield piece
    if len(read(file, -size % BLOCK)) < -size % BLOCK:
        raise DatasetError.about(path, "a tar file that ends too early", "an intact one")


def _check_header(header: bytes, path: Path) -> None:
    sums = sum(header[:148]) + sum(b" " * 8) + sum(header[156:])
    signed = sums - 256 * sum(byte > 127 for byte in header[:148] + header[156:])
    text = header[148:156].strip(b" \0")
    if (
        len(header) < BLOCK
        or not re.fullmatch(b"[0-7]+", text)
        or int(text, 8) not in (sums, signed)
    ):
        raise DatasetError.about(path, "no tar or zip file, or a damaged one", "an intact one")


def _number(field: bytes, path: Path) -> int:
    """A size: octal digits, or, after a byte 128, big-endian bytes."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    if not re.fullmatch(b"[0-7]*", text):
        raise DatasetError.about(path, "a member of a size that is no number", "an intact tar file")
    return int(text or b"0", 8)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _records(about: bytes, path: Path) -> dict[str, str]:
    """POSIX's description: records "length key=value\\n", of which the path and the size count."""
    told = {}
    while about:
        length, space, _ = about.partition(b" ")
        count = int(length) if re.fullmatch(b"[0-9]{1,6}", length) else 0
        record, about = about[:count], about[count:]
        key, equal, value = record[len(length) + 1 :].partition(b"=")
        if not (space and equal and record.endswith(b"\n")) or len(record) < count:
            raise DatasetError.about(
                path, "a damaged description of a member", "an intact tar file"
            )
        if key == b"path":
            told["path"] = _text(value[:-1])
        elif key == b"size":
            if not re.fullmatch(b"[0-9]{1,20}", value[:-1]):
                raise DatasetError.about(path, "a size that is no number", "an intact tar file")
            told["size"] = value[:-1].decode()
        elif key.startswith(b"GNU.sparse"):
            raise DatasetError.about(path, "a file with holes", "files and folders")
    return told


def _read_to_end(file: BinaryIO, path: Path) -> None:
    """A zipped file shows at its end only whether it is intact."""
    if file.read(1) and len(read(file, CHUNK)) == CHUNK:
        raise DatasetError.about(path, "more behind its end", "an intact tar file")
