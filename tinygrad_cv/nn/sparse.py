"""Embeddings: vectors for numbers."""

from typing import Any

from tinygrad_cv._public import NN, public
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import empty, shape_from
from tinygrad_cv.nn import functional as F
from tinygrad_cv.nn import init
from tinygrad_cv.nn.linear import given
from tinygrad_cv.nn.module import Module
from tinygrad_cv.nn.parameter import Parameter


class _Table(Module):
    """A weight (num_embeddings, embedding_dim) whose rows are looked up."""

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        weight: Tensor | None,
        frozen: bool,
        options: dict[str, Any],
        generator: Any,
    ) -> None:
        count, width = shape_from((num_embeddings, embedding_dim))
        self.num_embeddings, self.embedding_dim, self.generator = count, width, generator
        if padding_idx is not None:
            if not -count <= padding_idx < count:
                raise ValueError(
                    f"{type(self).__name__}: padding_idx={padding_idx} is none of the {count} rows."
                )
            padding_idx %= count
        self.padding_idx = padding_idx
        if weight is None:
            self.weight = Parameter(empty((count, width), **options), requires_grad=not frozen)
            self.reset_parameters()
            return
        if weight.shape != (count, width):
            raise ValueError(
                f"{type(self).__name__}: the weight must have the shape {(count, width)}; got "
                f"{weight.shape}."
            )
        self.weight = Parameter(weight, requires_grad=not frozen)

    def reset_parameters(self) -> None:
        """New standard normal rows, and the row `padding_idx` 0."""
        init.normal_(self.weight, generator=self.generator)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0.0

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        usual = {
            "padding_idx": None,
            "max_norm": None,
            "norm_type": 2,
            "scale_grad_by_freq": False,
            "sparse": False,
            "mode": None,
        }
        for name, value in usual.items():
            own = getattr(self, name, value)
            if own != value:
                text += f", {name}={own!r}"
        return text


@public(NN)
class Embedding(_Table):
    """A learned row of length embedding_dim for each of the numbers from 0: (*) -> (*, D).

    The weight (num_embeddings, embedding_dim) is standard normal at first, drawn from `generator`
    or from the one that `manual_seed` seeds; the row `padding_idx` is 0 and gets no gradient.
    `max_norm`, `norm_type`, `scale_grad_by_freq` and `sparse` are those of `embedding`.

    >>> Embedding(10, 3)(Tensor([[1, 2], [4, 5]], dtype="int64")).shape
    (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        options = given(device, dtype)
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, _weight, _freeze, options, generator
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> "Embedding":
        """A layer with these rows (num_embeddings, embedding_dim), learned only if not `freeze`.

        >>> Embedding.from_pretrained(Tensor([[1.0, 2.0], [3.0, 4.0]]))(Tensor([1], dtype="int64"))
        tensor([[3., 4.]])
        """
        if embeddings.ndim != 2:
            raise ValueError(f"from_pretrained: expected rows (V, D); got {embeddings.shape}.")
        count, width = embeddings.shape
        return cls(
            count,
            width,
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
            _weight=embeddings,
            _freeze=freeze,
        )

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )


@public(NN)
class EmbeddingBag(_Table):
    """The sum, the mean or the largest elements of the rows that a bag of numbers names.

    The arguments, and how bags are given, are those of `embedding_bag`; the weight is that of
    `Embedding`.

    >>> EmbeddingBag(10, 3, mode="sum")(Tensor([[1, 2], [4, 5]], dtype="int64")).shape
    (2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        self.max_norm, self.norm_type, self.mode = max_norm, norm_type, mode
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self.include_last_offset = include_last_offset
        options = given(device, dtype)
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, _weight, False, options, generator
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> "EmbeddingBag":
        """A layer with these rows (num_embeddings, embedding_dim), learned only if not `freeze`.

        >>> rows = Tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> EmbeddingBag.from_pretrained(rows)(Tensor([[0, 1]], dtype="int64"))
        tensor([[2., 3.]])
        """
        if embeddings.ndim != 2:
            raise ValueError(f"from_pretrained: expected rows (V, D); got {embeddings.shape}.")
        count, width = embeddings.shape
        layer = cls(
            count,
            width,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            mode=mode,
            sparse=sparse,
            _weight=embeddings,
            include_last_offset=include_last_offset,
            padding_idx=padding_idx,
        )
        layer.weight.requires_grad = not freeze
        return layer

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )
