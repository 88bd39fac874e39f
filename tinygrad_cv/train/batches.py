"""What a batch is to a Trainer: how many samples are in it, and what its labels and scores are."""

import math
from typing import Any

from tinygrad_cv._tensor import Tensor
from tinygrad_cv._trees import tensors_in


def size_of(batch: Any) -> int:
    """How many samples a batch has. Raises TypeError for what is no batch of inputs and labels."""
    if not (isinstance(batch, list | tuple) and len(batch) == 2):
        what = f"a {type(batch).__name__}"
        if isinstance(batch, list | tuple):
            what += f" of {len(batch)}"
        raise TypeError(
            f"a batch is (inputs, labels); the loader gave {what}. Its collate_fn can make pairs, "
            "of which each may be a tuple or dict of tensors."
        )
    if next(tensors_in(batch[1]), None) is None:
        raise TypeError(
            f"the labels of a batch are tensors; the loader gave a {type(batch[1]).__name__}."
        )
    return samples_in(batch[1])


def samples_in(labels: Any) -> int:
    """How many samples these are the labels of."""
    return len(next(tensors_in(labels)))


def are_classes(labels: Any, scores: Tensor) -> bool:
    """Whether labels are whole numbers, of the classes that the scores are of."""
    if not isinstance(labels, Tensor) or labels.dtype.kind not in "iu" or scores.ndim < 2:
        return False
    return tuple(scores.shape[:1] + scores.shape[2:]) == tuple(labels.shape)


def has_limits(outputs: Any) -> bool:
    """Whether no score is NaN or the best infinite."""
    return bool((next(tensors_in(outputs)) < math.inf).all())  # -inf rules a class out


def as_half(x: Any) -> Any:
    """A tensor of float numbers in float16, all else as it is."""
    return x.half() if isinstance(x, Tensor) and x.is_floating_point() else x


def as_single(x: Any) -> Any:
    """A tensor of float16 in float32, all else as it is."""
    return x.float() if isinstance(x, Tensor) and x.dtype == "float16" else x


def count_batches(loader: Any) -> int | None:
    """How many batches the loader gives, at least one; None if it does not know."""
    try:
        batches = len(loader)
    except TypeError:
        return None
    if batches == 0 and not hasattr(loader, "drop_last"):
        raise ValueError("the loader has no batches.")
    if batches == 0:
        raise ValueError(
            f"the loader has no batches: {len(loader.dataset)} samples in batches of "
            f"{loader.batch_size}, drop_last={loader.drop_last}."
        )
    return batches
