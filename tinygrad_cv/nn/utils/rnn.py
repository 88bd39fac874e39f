"""Sequences of different lengths: padded to one length, or packed step by step without padding.

A packed sequence holds the first steps of all sequences, longest first, then the second steps of
those that have one, and so on: `batch_sizes` says how many there are of each.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tinygrad_cv._tensor import Tensor
from tinygrad_cv.backend import host
from tinygrad_cv.creation import tensor as as_new_tensor
from tinygrad_cv.ops.elementwise import where
from tinygrad_cv.ops.index import index_select
from tinygrad_cv.ops.shape import pad, stack


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """Sequences step by step, longest first; `pack_padded_sequence` makes them.

    `data` holds the steps, `batch_sizes` (int64, on the host) how many sequences have a first, a
    second, ... step. `sorted_indices` says which sequence became the first, the second, ..., and
    `unsorted_indices` leads back; both are None if they were sorted already.

    >>> from tinygrad_cv import ones
    >>> pack_sequence([ones(3), ones(2)]).batch_sizes
    tensor([2, 2, 1])
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Any = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> "PackedSequence":
        if batch_sizes is None:  # one tuple of all
            return super().__new__(cls, *data)
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> "PackedSequence":
        """The data as `Tensor.to` makes it; the indices go to its device."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        rest = [None if x is None else x.to(device=data.device) for x in self[2:]]
        return type(self)(data, self.batch_sizes, *rest)

    def cpu(self) -> "PackedSequence":
        """In host memory."""
        return self.to("cpu")

    def cuda(self, device: Any = "cuda", non_blocking: bool = False) -> "PackedSequence":
        """On the GPU."""
        return self.to(device)

    def half(self) -> "PackedSequence":
        """The data in float16."""
        return self.to(dtype="float16")

    def float(self) -> "PackedSequence":
        """The data in float32."""
        return self.to(dtype="float32")

    def double(self) -> "PackedSequence":
        """The data in float64."""
        return self.to(dtype="float64")

    def int(self) -> "PackedSequence":
        """The data in int32."""
        return self.to(dtype="int32")

    def long(self) -> "PackedSequence":
        """The data in int64."""
        return self.to(dtype="int64")

    def short(self) -> "PackedSequence":
        """The data in int16."""
        return self.to(dtype="int16")

    def char(self) -> "PackedSequence":
        """The data in int8."""
        return self.to(dtype="int8")

    def byte(self) -> "PackedSequence":
        """The data in uint8."""
        return self.to(dtype="uint8")

    @property
    def is_cuda(self) -> bool:
        """Whether the data lies on a GPU."""
        return self.data.is_cuda

    def pin_memory(self) -> "PackedSequence":
        """The same: host memory is not pinned here."""
        return self

    def is_pinned(self) -> bool:
        """Whether its host memory is pinned, which it never is."""
        return False


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that leads back.

    >>> invert_permutation(as_new_tensor([2, 0, 1])).tolist()
    [1, 2, 0]
    """
    if permutation is None:
        return None
    return as_new_tensor(host.argsort(_on_host(permutation)), device=permutation.device)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack sequences that were padded: (T, B, ...), or with `batch_first` (B, T, ...).

    `lengths` holds how many steps of each are its own: from 1 to T. They come in descending order,
    or are put into it without `enforce_sorted`. Gradients flow to the steps that are packed.

    Raises RuntimeError for lengths that do not fit, or are not sorted.

    >>> x = as_new_tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]])
    >>> packed = pack_padded_sequence(x, [3, 2], batch_first=True)
    >>> packed.data.tolist(), packed.batch_sizes.tolist()
    ([1.0, 4.0, 2.0, 5.0, 3.0], [2, 2, 1])
    """
    if input.ndim < 2:
        raise RuntimeError(
            "pack_padded_sequence takes (T, B, ...), or (B, T, ...) with batch_first; got "
            f"{input.shape}."
        )
    steps, batch = input.shape[1::-1] if batch_first else input.shape[:2]
    sizes = _on_host(lengths)
    if sizes.shape != (batch,):
        raise RuntimeError(
            f"pack_padded_sequence: {sizes.size} lengths were given for a batch of {batch}."
        )
    if not batch or sizes.min() < 1 or sizes.max() > steps:
        raise RuntimeError(
            f"pack_padded_sequence: a length is from 1 to the {steps} steps there are; got "
            f"{sizes.tolist()}."
        )
    order = None
    if not enforce_sorted:
        order = host.argsort(-sizes, kind="stable")
        sizes = sizes[order]
    elif (sizes[1:] > sizes[:-1]).any():
        raise RuntimeError(
            f"pack_padded_sequence: the lengths {sizes.tolist()} do not descend; sort the "
            "sequences, or pass enforce_sorted=False."
        )
    batch_sizes = (sizes > host.arange(int(sizes.max()))[:, None]).sum(1)
    which = host.arange(batch) if order is None else order
    rows = [
        which[:n] * steps + t if batch_first else which[:n] + t * batch
        for t, n in enumerate(batch_sizes.tolist())
    ]
    flat = input.reshape(steps * batch, *input.shape[2:])
    data = index_select(flat, 0, host.concatenate(rows))
    sorted_indices = None if order is None else as_new_tensor(order, device=input.device)
    return PackedSequence(data, as_new_tensor(batch_sizes, device="cpu"), sorted_indices)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The padded sequences (T, B, ...), with `batch_first` (B, T, ...), and their lengths.

    They stand in the order in which they were packed. T is the longest length, or `total_length`.
    The lengths are int64, on the host.

    >>> packed = pack_sequence([as_new_tensor([1.0, 2.0]), as_new_tensor([3.0])])
    >>> padded, lengths = pad_packed_sequence(packed, batch_first=True)
    >>> padded.tolist(), lengths.tolist()
    ([[1.0, 2.0], [3.0, 0.0]], [2, 1])
    """
    data, batch_sizes = sequence.data, _on_host(sequence.batch_sizes)
    longest, batch = len(batch_sizes), int(batch_sizes[0])
    steps = longest if total_length is None else total_length
    if steps < longest:
        raise ValueError(
            f"pad_packed_sequence: total_length={total_length}, and the longest sequence has "
            f"{longest} steps."
        )
    lengths = (batch_sizes[:, None] > host.arange(batch)).sum(0)
    starts = host.cumsum(batch_sizes) - batch_sizes
    if sequence.unsorted_indices is None:
        places = host.arange(batch)
    else:
        places = _on_host(sequence.unsorted_indices)
    lengths = lengths[places]
    there = host.arange(steps)[:, None] < lengths
    rows = host.zeros((steps, batch), dtype="int64")
    rows[:longest] = starts[:, None] + places
    rows[~there] = 0
    if batch_first:
        there, rows = there.T, rows.T
    shape = (*there.shape, *data.shape[1:])
    padded = index_select(data, 0, rows.reshape(-1)).reshape(shape)
    if not there.all():
        mask = as_new_tensor(there.copy(), device=data.device)
        mask = mask.reshape(*there.shape, *(1,) * (data.ndim - 1))
        padded = where(mask, padded, padding_value)
    return padded, as_new_tensor(lengths, device="cpu")


def pad_sequence(
    sequences: Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Tensors (L, ...) of different lengths as one (T, B, ...), with `batch_first` (B, T, ...).

    They are padded on the "right" or the "left".

    >>> pad_sequence([as_new_tensor([1, 2]), as_new_tensor([3])], batch_first=True).tolist()
    [[1, 2], [3, 0]]
    """
    if padding_side not in ("right", "left"):
        raise ValueError(f"padding_side is 'right' or 'left'; got {padding_side!r}.")
    parts = [*sequences]
    if not parts:
        raise RuntimeError("pad_sequence takes at least one tensor; got none.")
    longest = max(len(part) for part in parts)
    padded = []
    for part in parts:
        missing = longest - len(part)
        around = (missing, 0) if padding_side == "left" else (0, missing)
        widths = (*(0, 0) * (part.ndim - 1), *around)
        padded.append(pad(part, widths, value=padding_value) if missing else part)
    return stack(padded, dim=0 if batch_first else 1)


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Tensors (L, ...) of different lengths as a packed sequence; see `pack_padded_sequence`.

    >>> pack_sequence([as_new_tensor([1, 2]), as_new_tensor([3])]).data.tolist()
    [1, 3, 2]
    """
    lengths = [len(part) for part in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Any, batch_first: bool = False
) -> list[Tensor]:
    """The sequences of a padded tensor, each in its own length.

    >>> x = as_new_tensor([[1, 2], [3, 0]])
    >>> [part.tolist() for part in unpad_sequence(x, [2, 1], batch_first=True)]
    [[1, 2], [3]]
    """
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    sizes = _on_host(lengths).tolist()
    return [part[:n] for part, n in zip(padded_sequences, sizes, strict=True)]


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed one, in the order in which they were packed.

    >>> [x.tolist() for x in unpack_sequence(pack_sequence([as_new_tensor([1, 2])]))]
    [[1, 2]]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


def _on_host(values: Any) -> Any:
    """Whole numbers as an array of NumPy's."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    elif not hasattr(values, "dtype"):
        values = [int(value) for value in values]
    return host.asarray(values).astype("int64")
