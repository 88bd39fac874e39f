"""A text as the sequences of characters that a language model learns from."""

import sys
from collections.abc import Iterable, Sequence
from operator import index as as_index
from os import PathLike
from pathlib import Path
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.data.dataset import Dataset
from tinygrad_cv.data.files import MAX_BYTES, DatasetError, opened, read


class TextFile(Dataset):
    """A text, to predict each character from those before it.

    Sample i is (x, y): `length` characters from place i·`stride` on, and the same one place later,
    so y[t] follows x[t]. They are int64 (length,), the places of the characters in `vocabulary`.
    With `stride` None the sequences do not overlap, and a net that is shown them in order can carry
    its state from each to the next.

    `units` is "characters" (of UTF-8) or "bytes", whose vocabulary are all 256. That of characters
    are those of the text, sorted; give `vocabulary` for that of another text. `encode` makes places
    of a text and `decode` a text of places. `data` are the places of the whole text, in the
    smallest unsigned dtype.

    The file may be gzipped. Raises DatasetError for a file that is missing, damaged, larger than
    `max_bytes`, shorter than a sample, not UTF-8, or has a character that the vocabulary lacks;
    ValueError for lengths below 1.

    Source: A. Karpathy, "The unreasonable effectiveness of recurrent neural networks", 2015.

    >>> from pathlib import Path
    >>> from tinygrad_cv.data import TextFile
    >>> _ = Path("hello.txt").write_text("hello hello")
    >>> text = TextFile("hello.txt", length=4)
    >>> text.vocabulary
    [' ', 'e', 'h', 'l', 'o']
    >>> x, y = text[0]
    >>> x, text.decode(x), text.decode(y), len(text)
    (array([2, 1, 3, 3]), 'hell', 'ello', 2)
    """

    batched = True

    def __init__(
        self,
        path: str | PathLike[str],
        length: int = 64,
        stride: int | None = None,
        units: str = "characters",
        vocabulary: Iterable[Any] | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.path = Path(path)
        self.length = as_index(length)
        self.stride = self.length if stride is None else as_index(stride)
        if self.length < 1 or self.stride < 1:
            raise ValueError(
                f"length and stride are at least 1; given {self.length} and {self.stride}."
            )
        if units not in ("characters", "bytes"):
            raise ValueError(f"units are 'characters' or 'bytes'; given {units!r}.")
        self.units = units
        expected = f"a text of at most {max_bytes:,} bytes"
        with opened(self.path, expected) as (file, _, _):
            contents = read(file, max_bytes + 1)
        if len(contents) > max_bytes:
            raise DatasetError.about(self.path, "more", expected)
        values = host.frombuffer(contents, host.uint8)
        if units == "characters":
            try:
                text = contents.decode("utf-8")
            except UnicodeDecodeError as error:
                found = f"the byte {contents[error.start]:#04x} at position {error.start:,}"
                raise DatasetError.about(self.path, found, "UTF-8, or units='bytes'") from None
            values = host.frombuffer(text.encode("utf-32-le"), "<u4")
        codes = _distinct(values)
        if vocabulary is not None:
            self.vocabulary = [*vocabulary]
        elif units == "bytes":
            self.vocabulary = [*range(256)]
        else:
            self.vocabulary = [*map(chr, codes)]
        self.stoi = {unit: place for place, unit in enumerate(self.vocabulary)}
        self.data = self._placed(values, codes)
        if len(self.data) <= self.length:
            raise DatasetError.about(
                self.path, f"{len(self.data):,} {units}", f"more than the length {self.length:,}"
            )

    def _placed(self, values: host.ndarray, codes: list[int]) -> host.ndarray:
        """The places in the vocabulary of values, which are made of these codes."""
        dtype = host.min_scalar_type(max(len(self.vocabulary) - 1, 0))
        table = host.zeros(max(codes, default=0) + 1, dtype)
        for code in codes:
            unit = chr(code) if self.units == "characters" else code
            if unit not in self.stoi:
                raise DatasetError.about(
                    self.path, f"{unit!r}", f"the {len(self.vocabulary)} {self.units} given"
                )
            table[code] = self.stoi[unit]
        placed: host.ndarray = table[values]
        return placed

    def encode(self, text: str | bytes) -> host.ndarray:
        """The places of a text's characters, or bytes, int64 (n,). Raises ValueError for others."""
        units = text.encode() if self.units == "bytes" and isinstance(text, str) else text
        missing = [unit for unit in units if unit not in self.stoi]
        if missing:
            raise ValueError(f"{missing[0]!r} is not in the vocabulary of {self.path}.")
        return host.asarray([self.stoi[unit] for unit in units], host.int64)

    def decode(self, places: Any) -> str | bytes:
        """The text of these places: a str, or bytes where those are the units."""
        units = [self.vocabulary[place] for place in _listed(places)]
        return bytes(units) if self.units == "bytes" else "".join(units)

    def __len__(self) -> int:
        return (len(self.data) - 1 - self.length) // self.stride + 1

    def __getitem__(self, index: Any) -> tuple[host.ndarray, host.ndarray]:
        chosen = host.asarray(index)
        if chosen.size and not ((chosen >= -len(self)) & (chosen < len(self))).all():
            raise IndexError(f"sample {index} of a dataset of {len(self)}.")
        starts = host.where(chosen < 0, chosen + len(self), chosen) * self.stride
        windows = self.data[starts[..., None] + host.arange(self.length + 1)].astype(host.int64)
        return windows[..., :-1], windows[..., 1:]


def _distinct(values: host.ndarray) -> list[int]:
    """The values that there are, sorted."""
    seen = host.zeros(sys.maxunicode + 1, bool)
    seen[values] = True
    found: list[int] = host.flatnonzero(seen).tolist()
    return found


def _listed(places: Any) -> Sequence[int]:
    listed: Sequence[int] = places.tolist() if hasattr(places, "tolist") else [*places]
    return listed
