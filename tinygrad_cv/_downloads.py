"""Files from the web: whole or not at all, checked before they get their name."""

import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from tinygrad_cv.storage import written

TIMEOUT = 30.0  # seconds that a server may say nothing
WINDOW, SLOWEST = 60.0, 1 << 10  # in each so many seconds it sends so many bytes a second
ATTEMPTS = 4  # at one address
PAUSE = 1.0  # seconds before the second attempt, and twice as many before each further one
MAX_DOWNLOAD = 8 << 30
"""The most bytes that are downloaded by default: three times the largest file known here."""
CHUNK = 1 << 16
SCHEMES = ("https", "http", "file")
MOMENTARY = (408, 425, 429, 500, 502, 503, 504)
"""What a server answers when another attempt may do better."""


class DownloadError(RuntimeError):
    """A file was not downloaded. One sentence for each address says why; nothing was kept.

    >>> from pathlib import Path
    >>> try:
    ...     download(["gopher://example.org/mnist"], Path("mnist"))
    ... except DownloadError as error:
    ...     print(error)
    gopher://example.org/mnist was not downloaded: expected an address of https, http, file.
    """


class _AgainError(Exception):
    """The connection failed in a way that another attempt may mend."""


def download(
    urls: Sequence[str],
    path: Path,
    *,
    md5: str | None = None,
    sha256: str | None = None,
    progress: bool = True,
    max_bytes: int = MAX_DOWNLOAD,
    timeout: float = TIMEOUT,
) -> None:
    """Write what is at the first of the addresses that gives it to a file, whole or not at all.

    Its MD5 has to be `md5`, and its SHA-256 has to begin with `sha256`, both in hexadecimal digits.
    An address is tried four times: what was cut off goes on where it ended if the server can do
    that, and begins anew else. An answer is given up that stops for `timeout` seconds, brings less
    than a KiB a second for a minute, has more than `max_bytes`, or leads from https to http.

    Several processes may download a file at once: each writes one of its own, and the last to end
    names it. Where nobody sees stderr on a terminal, no bar is drawn there.

    Raises DownloadError, or OSError if the file cannot be written.
    """
    failures = []
    with written(path) as file:
        for url in urls:
            try:
                _Answer(url, file, md5, sha256, max_bytes, timeout).fetch(path.name, progress)
            except DownloadError as error:
                failures.append(str(error))
            else:
                return
        raise DownloadError(" ".join(failures))


class _Answer:
    """What one address has, written to a file as it arrives."""

    def __init__(
        self,
        url: str,
        file: BinaryIO,
        md5: str | None,
        sha256: str | None,
        max_bytes: int,
        timeout: float,
    ) -> None:
        self.url, self.file, self.max_bytes, self.timeout = url, file, max_bytes, timeout
        self.wanted = [
            (name, algorithm, digest)
            for name, algorithm, digest in (("MD5", "md5", md5), ("SHA-256", "sha256", sha256))
            if digest
        ]
        self.begin()

    def begin(self) -> None:
        """Nothing of it is here yet."""
        self.file.seek(0)
        self.file.truncate()
        self.size, self.validator = 0, ""
        # To notice damage, not to prove who wrote it, for which MD5 would not do.
        self.digests = [
            hashlib.new(algorithm, usedforsecurity=False) for _, algorithm, _ in self.wanted
        ]

    def refused(self, why: str) -> DownloadError:
        shown = "".join(c if c.isprintable() else "?" for c in why)  # servers choose some of it
        return DownloadError(f"{self.url} was not downloaded: {shown}.")

    def fetch(self, name: str, progress: bool) -> None:
        """Raises DownloadError."""
        from tqdm import tqdm  # which costs an import of the package much, as urllib.request does

        if _scheme(self.url) not in SCHEMES:
            raise self.refused(f"expected an address of {', '.join(SCHEMES)}")
        hidden = None if progress and sys.stderr is not None else True
        with tqdm(unit="B", unit_scale=True, desc=name, disable=hidden, leave=False) as bar:
            for attempt in range(ATTEMPTS):
                if attempt:
                    time.sleep(PAUSE * 2 ** (attempt - 1))
                try:
                    self.receive(bar)
                    break
                except _AgainError as error:
                    failure = str(error)
            else:
                raise self.refused(f"{failure}, at the last of {ATTEMPTS} attempts")
        for (kind, _, wanted), digest in zip(self.wanted, self.digests, strict=True):
            found = digest.hexdigest()
            if not found.startswith(wanted.lower()):
                raise DownloadError(
                    f"{self.url} has the {kind} {found}, and {wanted} was expected to begin it: it "
                    "is damaged or another file, and was not kept."
                )

    def receive(self, bar: Any) -> None:
        """One attempt: what is missing, or all of it."""
        answer = self.opened()
        with answer:
            if self.size and not self.goes_on(answer):
                self.begin()
            self.validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            length = answer.headers.get("Content-Length") or ""
            coded = answer.headers.get("Transfer-Encoding")
            total = None
            if not coded and length.isascii() and length.isdigit():
                total = self.size + int(length[:100])  # Python reads no number of any length
                if total > self.max_bytes:
                    raise self.refused(f"it has {total:,} bytes, more than {self.max_bytes:,}")
            bar.total = total
            bar.n = self.size
            bar.refresh()
            for chunk in self.chunks(answer, total):
                self.size += len(chunk)
                if self.size > self.max_bytes:
                    raise self.refused(f"it has more than {self.max_bytes:,} bytes")
                self.file.write(chunk)
                for digest in self.digests:
                    digest.update(chunk)
                bar.update(len(chunk))
            if total is not None and self.size < total:
                raise _AgainError(f"the answer ended after {self.size:,} of {total:,} bytes")

    def opened(self) -> Any:
        """The answer of the server."""
        from http.client import HTTPException
        from urllib.error import HTTPError
        from urllib.request import HTTPRedirectHandler, Request, build_opener

        secure = _scheme(self.url) == "https"

        class Redirects(HTTPRedirectHandler):
            def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any,
                                 newurl: str) -> Any:  # fmt: skip
                if secure and _scheme(newurl) != "https":
                    raise HTTPError(req.full_url, code, "leads from https to less", headers, fp)
                return super().redirect_request(req, fp, code, msg, headers, newurl)

        headers = {"User-Agent": "tinygrad_cv", "Accept-Encoding": "identity"}
        # A weak tag does not promise the same bytes.
        if self.size and self.validator and not self.validator.startswith("W/"):
            headers |= {"Range": f"bytes={self.size}-", "If-Range": self.validator}
        try:
            request = Request(self.url, headers=headers)
            return build_opener(Redirects).open(request, timeout=self.timeout)
        except HTTPError as error:
            error.close()
            said = f"the server answered {error.code} {error.reason}"
            if error.code == 416:  # what was there before is shorter now
                self.begin()
                raise _AgainError(said) from None
            if error.code in MOMENTARY:
                raise _AgainError(said) from None
            raise self.refused(said) from None
        except (OSError, HTTPException) as error:
            if _scheme(self.url) == "file":
                raise self.refused(_reason(error)) from None
            raise _AgainError(_reason(error)) from None
        except ValueError as error:  # no address, for all that it begins like one
            raise self.refused(str(error)) from None

    def goes_on(self, answer: Any) -> bool:
        """Whether the answer begins where what is here ends."""
        if answer.status != 206:
            return False
        given = answer.headers.get("Content-Range") or ""
        return bool(given.startswith(f"bytes {self.size}-"))

    def chunks(self, answer: Any, total: int | None) -> Iterator[bytes]:
        from http.client import HTTPException

        began, before = time.monotonic(), self.size
        while total is None or self.size < total:
            most = CHUNK if total is None else min(CHUNK, total - self.size)
            try:
                chunk = answer.read1(most)
            except (OSError, HTTPException, ValueError) as error:  # such as a chunk of no length
                raise _AgainError(_reason(error)) from None
            if not chunk:
                return
            yield chunk
            if (waited := time.monotonic() - began) > WINDOW:
                if self.size - before < SLOWEST * waited:
                    raise self.refused(
                        f"it brought {self.size - before:,} bytes in {waited:.0f} seconds"
                    )
                began, before = time.monotonic(), self.size


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def _reason(error: Exception) -> str:
    """What went wrong with a connection: urllib has the error of the system as the reason."""
    inner = getattr(error, "reason", None)
    cause = inner if isinstance(inner, Exception) else error
    if isinstance(cause, TimeoutError):
        return "the server said nothing for too long"
    said = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return f"the connection failed ({said})"


def has_md5(path: Path, md5: str) -> bool:
    """Whether there is a regular file of this MD5."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, _md5).hexdigest() == md5


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
