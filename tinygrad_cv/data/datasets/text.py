"""A text as the sequences of characters or words that a language model learns from."""

import re
import sys
from collections.abc import Iterable, Sequence
from operator import index as as_index
from os import PathLike
from pathlib import Path
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.data.dataset import Dataset
from tinygrad_cv.data.files import MAX_BYTES, DatasetError, opened, read

UNKNOWN = "<unk>"
"""What stands for all that a vocabulary has no place for."""

TOKEN = re.compile(r"<unk>|\w+(?:['’-]\w+)*|[^\w\s]|\n")
"""A word, with what apostrophes and hyphens join; a mark of punctuation; the end of a line."""

GLUED = re.compile(r"(?<=[(\[{\n]) | (?=[.,;:!?)\]}\n])")
"""The spaces between tokens that are not written."""


class Text(Dataset):
    r"""A text, to predict each unit of it (a character or a word) from those before it.

    Sample i is (x, y): `length` units from place i·`stride` on, and the same one place later, so
    y[t] follows x[t]: the targets are the inputs of the next step, which is called teacher forcing.
    They are int64 (length,), the places of the units in `vocabulary`. With `stride` None the
    sequences do not overlap, and a net that is shown them in order can carry its state from each to
    the next; `streams` is that order for batches.

    `units` is "characters", "bytes" or "words". The vocabulary of characters are those of the text,
    sorted; that of bytes all 256. Words are runs of letters and digits, what an apostrophe or a
    hyphen joins being one; each mark of punctuation and each end of line is a word too, and other
    space is not kept. Their vocabulary is "<unk>", which stands for what it lacks, and then the
    words of the text, the most frequent ones first, and of equal ones the one that comes first.
    `max_vocabulary` is the most that it may hold, "<unk>" counted (characters have an "<unk>" then
    too). Give `vocabulary` for that of another text; one that holds "<unk>" takes any text.

    `encode` makes places of a text and `decode` a text of places; of words it puts one space
    between two, but none before , . ; : ! ? and a closing bracket and none at the ends of a line.
    `data` are the places of the whole text, in the smallest unsigned dtype.

    Raises DatasetError (a ValueError) for a text that is not longer than a sample, or is not UTF-8,
    or has a unit that the vocabulary lacks; ValueError for lengths below 1, and for a vocabulary in
    which a unit is there twice.

    Source: A. Karpathy, "The unreasonable effectiveness of recurrent neural networks", 2015;
    X. He's CS150, whose text "hello" is.

    >>> from tinygrad_cv.data import Text
    >>> text = Text("hello", length=4, vocabulary="helo")
    >>> text[0]  # hell, and what follows each of its characters
    (array([0, 1, 2, 2]), array([1, 2, 2, 3]))
    >>> text.decode([0, 1, 2, 2, 3])
    'hello'

    >>> text = Text("To be, or not to be.\nTo be!", length=2, units="words", max_vocabulary=5)
    >>> text.vocabulary
    ['<unk>', 'be', 'To', ',', 'or']
    >>> text.decode(text.data)
    'To be, or <unk> <unk> be <unk> <unk> To be <unk>'
    """

    batched = True
    name = "the text"

    def __init__(
        self,
        text: str | bytes | bytearray,
        length: int = 64,
        stride: int | None = None,
        units: str = "characters",
        vocabulary: Iterable[Any] | None = None,
        max_vocabulary: int | None = None,
    ) -> None:
        self.length = as_index(length)
        self.stride = self.length if stride is None else as_index(stride)
        if self.length < 1 or self.stride < 1:
            raise ValueError(
                f"length and stride are at least 1; given {self.length} and {self.stride}."
            )
        if units not in ("characters", "bytes", "words"):
            raise ValueError(f"units are 'characters', 'bytes' or 'words'; given {units!r}.")
        self.units = units
        if max_vocabulary is not None:
            max_vocabulary = as_index(max_vocabulary)
            if vocabulary is not None or units == "bytes" or max_vocabulary < 1:
                raise ValueError(
                    "max_vocabulary, at least 1, is for the characters or words of the text itself;"
                    f" given max_vocabulary={max_vocabulary} with units={units!r}"
                    + (" and a vocabulary." if vocabulary is not None else ".")
                )
        codes, names = self._coded(text)
        if vocabulary is not None:
            self.vocabulary = [*vocabulary]
        elif units == "bytes":
            self.vocabulary = [*range(256)]
        elif units == "characters" and max_vocabulary is None:
            self.vocabulary = [*names.values()]
        else:
            counts = host.bincount(codes)
            often = sorted(names, key=lambda code: -counts[code])  # of equals, the first in names
            kept = [names[code] for code in often if names[code] != UNKNOWN]
            self.vocabulary = [UNKNOWN, *kept][:max_vocabulary]
        self.stoi = {unit: place for place, unit in enumerate(self.vocabulary)}
        if len(self.stoi) < len(self.vocabulary):
            twice = next(u for place, u in enumerate(self.vocabulary) if self.stoi[u] != place)
            raise ValueError(f"a vocabulary has each unit once; {twice!r} is there twice.")
        missing = [unit for unit in names.values() if self._place(unit) is None]
        if missing:
            raise DatasetError.about(
                self.name, f"{missing[0]!r}", f"the {len(self.vocabulary)} {units} given"
            )
        table = host.zeros(
            max(names, default=0) + 1, host.min_scalar_type(max(len(self.vocabulary) - 1, 0))
        )
        for code, unit in names.items():
            table[code] = self._place(unit)
        self.data: host.ndarray = table[codes]
        if len(self.data) <= self.length:
            raise DatasetError.about(
                self.name, f"{len(self.data):,} {units}", f"more than the length {self.length:,}"
            )

    def _coded(self, text: str | bytes | bytearray) -> tuple[host.ndarray, dict[int, Any]]:
        """The text as numbers, and the unit that each of them stands for: characters and bytes in
        order, words as they come."""
        if self.units == "bytes":
            codes = host.frombuffer(text.encode() if isinstance(text, str) else text, host.uint8)
            return codes, {code: code for code in _distinct(codes)}
        if not isinstance(text, str):
            contents = bytes(text)
            try:
                text = contents.decode("utf-8")
            except UnicodeDecodeError as error:
                found = f"the byte {contents[error.start]:#04x} at position {error.start:,}"
                raise DatasetError.about(self.name, found, "UTF-8, or units='bytes'") from None
        if self.units == "words":
            tokens = TOKEN.findall(text)
            places = {token: place for place, token in enumerate(dict.fromkeys(tokens))}
            codes = host.asarray([places[token] for token in tokens], host.int64)
            return codes, {place: token for token, place in places.items()}
        codes = host.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        return codes, {code: chr(code) for code in _distinct(codes)}

    def _place(self, unit: Any) -> int | None:
        return self.stoi.get(unit, self.stoi.get(UNKNOWN))

    def encode(self, text: str | bytes) -> host.ndarray:
        """The places of a text's units, int64 (n,). Raises ValueError for one that the vocabulary
        lacks, unless it has "<unk>"."""
        units: Iterable[Any]
        if self.units == "bytes":
            units = text.encode() if isinstance(text, str) else text
        else:
            units = text.decode() if isinstance(text, bytes) else text
            units = TOKEN.findall(units) if self.units == "words" else units
        places = []
        for unit in units:
            place = self._place(unit)
            if place is None:
                raise ValueError(f"{unit!r} is not in the vocabulary of {self.name}.")
            places.append(place)
        return host.asarray(places, host.int64)

    def decode(self, places: Any) -> str | bytes:
        """The text of these places: a str, or bytes where those are the units."""
        units = [self.vocabulary[place] for place in _listed(places)]
        if self.units == "words":
            return GLUED.sub("", " ".join(units))
        return bytes(units) if self.units == "bytes" else "".join(units)

    def streams(self, batch_size: int) -> list[list[int]]:
        """Batches of samples such that each row goes on where that row of the batch before ended.

        It is a `batch_sampler` for `DataLoader`. The text is cut into `batch_size` long pieces, of
        which each is read from its beginning to its end: so a net's state can be carried from batch
        to batch (detached, lest the graph reach back to the beginning of the text). What is left
        over at the end is not read. Raises ValueError where sequences overlap, or there are fewer
        of them than rows.

        >>> from tinygrad_cv.data import DataLoader, Text
        >>> text = Text("abcdefghi", length=2)
        >>> text.streams(2)
        [[0, 2], [1, 3]]
        >>> for x, y in DataLoader(text, batch_sampler=text.streams(2)):
        ...     print([text.decode(row) for row in x], [text.decode(row) for row in y])
        ['ab', 'ef'] ['bc', 'fg']
        ['cd', 'gh'] ['de', 'hi']
        """
        rows = as_index(batch_size)
        if self.stride != self.length or not 1 <= rows <= len(self):
            raise ValueError(
                f"streams are 1 to {len(self)} rows of sequences that follow one another; given "
                f"{rows} rows, length={self.length} and stride={self.stride}."
            )
        steps = len(self) // rows
        return [[row * steps + step for row in range(rows)] for step in range(steps)]

    def __len__(self) -> int:
        return (len(self.data) - 1 - self.length) // self.stride + 1

    def __getitem__(self, index: Any) -> tuple[host.ndarray, host.ndarray]:
        chosen = host.asarray(index)
        if chosen.size and not ((chosen >= -len(self)) & (chosen < len(self))).all():
            raise IndexError(f"sample {index} of a dataset of {len(self)}.")
        starts = host.where(chosen < 0, chosen + len(self), chosen) * self.stride
        windows = self.data[starts[..., None] + host.arange(self.length + 1)].astype(host.int64)
        return windows[..., :-1], windows[..., 1:]


class TextFile(Text):
    """The `Text` of a file, which may be gzipped.

    Raises what `Text` does, and DatasetError for a file that is missing, damaged or larger than
    `max_bytes`.

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

    def __init__(
        self,
        path: str | PathLike[str],
        length: int = 64,
        stride: int | None = None,
        units: str = "characters",
        vocabulary: Iterable[Any] | None = None,
        max_bytes: int = MAX_BYTES,
        max_vocabulary: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.name = str(self.path)
        expected = f"a text of at most {max_bytes:,} bytes"
        with opened(self.path, expected) as (file, _, _):
            contents = read(file, max_bytes + 1)
        if len(contents) > max_bytes:
            raise DatasetError.about(self.path, "more", expected)
        super().__init__(contents, length, stride, units, vocabulary, max_vocabulary)


def _distinct(values: host.ndarray) -> list[int]:
    """The values that there are, sorted."""
    seen = host.zeros(sys.maxunicode + 1, bool)
    seen[values] = True
    found: list[int] = host.flatnonzero(seen).tolist()
    return found


def _listed(places: Any) -> Sequence[int]:
    listed: Sequence[int] = places.tolist() if hasattr(places, "tolist") else [*places]
    return listed
