"""Downloads over the loopback: servers that answer well, late, wrongly, too much or not at all."""

import hashlib
import io
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_cv import _downloads, hub
from tinygrad_cv._downloads import DownloadError, download

pytestmark = pytest.mark.host  # nothing is computed

CONTENTS = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENTS).hexdigest()
SHA = hashlib.sha256(CONTENTS).hexdigest()
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers as the path says, and notes what was asked for."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        ANSWERS[self.path.strip("/").partition("?")[0]](self)

    def log_message(self, *_: Any) -> None:
        pass

    @property
    def times(self) -> int:
        """How often this path was asked for."""
        server: Any = self.server
        return [path for path, _ in server.asked].count(self.path)

    def head(self, status: int = 200, **headers: Any) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


def good(answer: Handler) -> None:
    answer.head(Content_Length=len(CONTENTS))
    answer.wfile.write(CONTENTS)


def without_length(answer: Handler) -> None:
    answer.head()
    answer.wfile.write(CONTENTS)


def chunked(answer: Handler, cut: bool = False) -> None:
    answer.protocol_version = "HTTP/1.1"
    answer.head(Transfer_Encoding="chunked")
    for start in range(0, len(CONTENTS), 100_000):
        part = CONTENTS[start : start + 100_000]
        answer.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
    if not cut:
        answer.wfile.write(b"0\r\n\r\n")
    answer.close_connection = True


def wrong_chunks(answer: Handler) -> None:
    answer.protocol_version = "HTTP/1.1"
    answer.head(Transfer_Encoding="chunked")
    answer.wfile.write(b"no length\r\n" + CONTENTS)
    answer.close_connection = True


def resumed(answer: Handler, tag: str = '"one"', honest: bool = True, status: int = 206) -> None:
    """Half of it the first time, and the rest when asked for that."""
    half = len(CONTENTS) // 2
    asked = answer.headers.get("Range")
    if asked is None:
        answer.head(Content_Length=len(CONTENTS), ETag=tag)
        answer.wfile.write(CONTENTS if answer.times > 1 else CONTENTS[:half])
    elif status != 206:
        answer.head(status, Content_Length=0)
    else:
        assert asked == f"bytes={half}-"
        assert answer.headers["If-Range"] == tag
        start = half if honest else half - 10
        place = f"bytes {start}-{len(CONTENTS) - 1}/{len(CONTENTS)}"
        rest = CONTENTS[start:]
        if not honest and answer.times == 2:
            rest = rest[: len(rest) // 2]
        answer.head(206, Content_Range=place, Content_Length=len(CONTENTS) - start)
        answer.wfile.write(rest)


def cut(answer: Handler) -> None:
    answer.head(Content_Length=len(CONTENTS))
    answer.wfile.write(CONTENTS[:1000])


def late(answer: Handler) -> None:
    """Cut off twice without a tag to go on from, then whole."""
    (good if answer.times > 2 else cut)(answer)


def busy(answer: Handler) -> None:
    if answer.times > 1:
        good(answer)
    else:
        answer.head(503, Content_Length=0)


def endless(answer: Handler) -> None:
    answer.head()
    try:
        while True:
            answer.wfile.write(bytes(100_000))
    except OSError:
        pass


def drips(answer: Handler) -> None:
    answer.head(Content_Length=len(CONTENTS))
    try:
        for byte in CONTENTS[:200]:
            answer.wfile.write(bytes([byte]))
            time.sleep(0.01)
    except OSError:
        pass


def says_nothing(answer: Handler) -> None:
    answer.head(Content_Length=len(CONTENTS))
    time.sleep(0.4)


def gone(status: int) -> Answer:
    return lambda answer: answer.head(status, Content_Length=0)


def to(where: str) -> Answer:
    return lambda answer: answer.head(302, Location=where, Content_Length=0)


def lying(length: Any) -> Answer:
    def answer_with(answer: Handler) -> None:
        answer.head(Content_Length=length)
        answer.wfile.write(CONTENTS)

    return answer_with


ANSWERS: dict[str, Answer] = {
    "good": good,
    "without_length": without_length,
    "chunked": chunked,
    "chunked_cut": lambda answer: chunked(answer, cut=True),
    "wrong_chunks": wrong_chunks,
    "resumed": resumed,
    "weak": lambda answer: resumed(answer, tag='W/"one"'),
    "elsewhere": lambda answer: resumed(answer, honest=False),
    "shrunk": lambda answer: resumed(answer, status=416),
    "cut": cut,
    "late": late,
    "busy": busy,
    "endless": endless,
    "drips": drips,
    "says_nothing": says_nothing,
    "gone": gone(404),
    "broken": gone(500),
    "to_good": to("/good"),
    "to_itself": to("/to_itself"),
    "to_a_file": to("file:///etc/hostname"),
    "short": lying(len(CONTENTS) - 1),
    "no_number": lying("many"),
    "negative": lying(-5),
    "huge": lying(10**30),
    "large": lying(10**12),
    "no_http": lambda answer: answer.wfile.write(b"SMTP ready\r\n\r\n") and None,
    "head_only": lambda answer: answer.wfile.write(b"HTTP/1.0 200 OK\r\n" + b"a: b\r\n" * 200)
    and None,
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        running.handle_error = lambda *_: None  # type: ignore[method-assign]
        running.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def url(server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(_downloads, "PAUSE", 0.001)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server.asked.clear()
    host, port = server.server_address
    return f"http://{host}:{port}/"


@pytest.mark.parametrize(
    "name",
    [
        "good", "without_length", "chunked", "resumed", "weak", "elsewhere", "shrunk", "late",
        "busy", "to_good", "no_number", "negative",
    ],
)  # fmt: skip
def test_a_file_arrives_whole(name: str, url: str, tmp_path: Path, server: Any) -> None:
    download([url + name], tmp_path / "file", md5=MD5, sha256=SHA[:8])
    assert (tmp_path / "file").read_bytes() == CONTENTS
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    if name == "resumed":  # what was there was not sent again
        assert [ranged for _, ranged in server.asked] == [None, f"bytes={len(CONTENTS) // 2}-"]


@pytest.mark.parametrize(
    ("name", "said", "attempts"),
    [
        ("gone", "the server answered 404 Not Found", 1),
        ("broken", "the server answered 500 .*, at the last of 4 attempts", 4),
        ("cut", "the answer ended after 1,000 of 300,000 bytes, at the last of 4", 4),
        ("chunked_cut", "the connection failed .*, at the last of 4 attempts", 4),
        ("wrong_chunks", "the connection failed .*, at the last of 4 attempts", 4),
        ("no_http", "the connection failed .*, at the last of 4 attempts", 4),
        ("head_only", "the connection failed .*, at the last of 4 attempts", 4),
        ("says_nothing", "the server said nothing for too long, at the last of 4", None),
        ("endless", "it has more than 1,000,000 bytes", 1),
        ("large", "it has 1,000,000,000,000 bytes, more than 1,000,000", 1),
        ("drips", r"it brought \d+ bytes in \d+ seconds", None),
        ("to_itself", "the server answered 302", None),
        ("to_a_file", "the server answered 302", 1),
        ("short", "has the MD5 [0-9a-f]{32}, and", 1),
        ("huge", "it has 1,000,[0,]+ bytes, more than 1,000,000", 1),
    ],
)
def test_what_does_not_arrive_is_said_in_a_sentence(
    name: str, said: str, attempts: int | None, url: str, tmp_path: Path, server: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if name == "drips":
        monkeypatch.setattr(_downloads, "WINDOW", 0.05)
    (tmp_path / "file").write_bytes(b"what was there before")
    timeout = 0.1 if name == "says_nothing" else 20
    with pytest.raises(DownloadError, match=said) as caught:
        download([url + name], tmp_path / "file", md5=MD5, max_bytes=10**6, timeout=timeout)
    assert str(caught.value).startswith(f"{url}{name} ")
    assert str(caught.value).count("\n") == 0
    assert (tmp_path / "file").read_bytes() == b"what was there before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert attempts in (None, [path for path, _ in server.asked].count(f"/{name}"))


def test_https_does_not_lead_to_less(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No certificate is at hand for the loopback: the answer of a server of https is made up."""
    from email.message import Message
    from urllib.request import HTTPSHandler
    from urllib.response import addinfourl

    def https_open(self: Any, request: Any) -> Any:
        headers = Message()
        headers["Location"] = "http://127.0.0.1:9/file"
        answer = addinfourl(io.BytesIO(), headers, request.full_url, 302)
        answer.msg = "Found"
        return answer

    monkeypatch.setattr(HTTPSHandler, "https_open", https_open)
    with pytest.raises(DownloadError, match="answered 302 leads from https to less"):
        download(["https://127.0.0.1:9/file"], tmp_path / "file")


def test_mirrors_are_tried_in_turn(url: str, tmp_path: Path, server: Any) -> None:
    mirrors = [f"{url}gone", f"{url}short", "http://127.0.0.1:1/x", f"{url}good", f"{url}cut"]
    download(mirrors, tmp_path / "file", md5=MD5)
    assert (tmp_path / "file").read_bytes() == CONTENTS
    assert [path for path, _ in server.asked] == ["/gone", "/short", "/good"]
    with pytest.raises(DownloadError) as caught:
        download(mirrors[:3], tmp_path / "other", md5=MD5)
    for mirror in mirrors[:3]:
        assert mirror in str(caught.value)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "address", ["ftp://127.0.0.1/x", "data:,x", "x", "", "http://", "http://a b/", "http:///x",
                "http://[::1/x", "http://127.0.0.1:port/", "file:///no/such/file", "http://x\n.y/"]
)  # fmt: skip
def test_what_is_no_address(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_downloads, "PAUSE", 0)
    with pytest.raises(DownloadError, match="was not downloaded: ") as caught:
        download([address], tmp_path / "file")
    assert str(caught.value).count("\n") <= address.count("\n")
    assert [*tmp_path.iterdir()] == []


def test_a_file_of_another_content_is_refused(url: str, tmp_path: Path) -> None:
    for wanted in ({"md5": "0" * 32}, {"sha256": "0" * 64}, {"sha256": "0"}):
        with pytest.raises(DownloadError, match="was expected to begin it: it is damaged"):
            download([f"{url}good"], tmp_path / "file", **wanted)  # type: ignore[arg-type]
    download([f"{url}good"], tmp_path / "file", md5=MD5.upper(), sha256=SHA.upper())


def test_downloads_at_once_do_not_disturb_each_other(url: str, tmp_path: Path) -> None:
    failures: list[Exception] = []

    def fetch() -> None:
        try:
            download([f"{url}good"], tmp_path / "file", md5=MD5)
            assert (tmp_path / "file").read_bytes() == CONTENTS
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_download_has_left_is_cleared(url: str, tmp_path: Path) -> None:
    (tmp_path / f".file.{'0' * 16}.partial").write_bytes(b"half")
    (tmp_path / f".other.{'0' * 16}.partial").write_bytes(b"somebody else's")
    download([f"{url}good"], tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f".other.{'0' * 16}.partial",
        "file",
    ]


def test_a_place_that_cannot_be_written(url: str, tmp_path: Path, server: Any) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "gone" / "file"):
        with pytest.raises(OSError, match=re.escape(str(path.name if path.exists() else "gone"))):
            download([f"{url}good"], path)
    assert server.asked == []  # it was known before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_drawn_on_a_terminal_alone(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream, progress, drawn in (
        (Terminal(), True, True),
        (Terminal(), False, False),
        (io.StringIO(), True, False),
        (None, True, False),
    ):
        monkeypatch.setattr(sys, "stderr", stream)
        download([f"{url}good"], tmp_path / "file", progress=progress)
        if stream is not None:
            assert ("file:" in stream.getvalue()) == drawn


def test_weights_come_by_the_same_way(url: str, tmp_path: Path) -> None:
    """In pieces, and again after a cut; see test_imports for the rest of `hub`."""
    hub.download_url_to_file(f"{url}resumed", tmp_path / "file", SHA, progress=False)
    assert (tmp_path / "file").read_bytes() == CONTENTS
    with pytest.raises(RuntimeError, match="404"):
        hub.download_url_to_file(f"{url}gone", tmp_path / "other", progress=False)
