"""Language models: what comes next in a text, and texts that are drawn from them."""

from typing import Any

from tinygrad_cv import nn
from tinygrad_cv._grad_mode import no_grad
from tinygrad_cv._tensor import Tensor
from tinygrad_cv.creation import as_tensor
from tinygrad_cv.ops.index import one_hot
from tinygrad_cv.ops.shape import cat
from tinygrad_cv.random import multinomial

CELLS = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}


class LanguageModel(nn.Module):
    """Scores of what comes next in a text: h_t = f(h_{t-1}, x_t), y_t = W_hy h_t.

    Called with places in a vocabulary, int64 (N, T) or (T,) for one text, and the state to go on
    from (None at first), it returns the scores (N, T, vocabulary_size) or (T, vocabulary_size), of
    which those at t are for the place at t + 1, and the last state. f is a `cell`: "RNN", "LSTM" or
    "GRU", in `num_layers` layers. x_t is the one-hot vector of a place, or with `embedding` a
    vector of that many numbers that is learned.

    With `bias=False` an RNN is the one of the lectures, h_t = tanh(W_hh h_{t-1} + W_xh x_t), where
    W_xh is `recurrent.weight_ih_l0`, W_hh `recurrent.weight_hh_l0` and W_hy `head.weight`. A new
    model's scores are near 0, so its loss is about ln(vocabulary_size).

    A text that does not fit into memory is learned in chunks: detach the state between them, or the
    graph reaches back to the beginning. `generate` draws texts.

    Raises ValueError for another cell. Source: X. He, CS150, "Recurrent Neural Network"; A.
    Karpathy, "The unreasonable effectiveness of recurrent neural networks", 2015.

    >>> from tinygrad_cv import tensor
    >>> model = LanguageModel(4, hidden_size=8, bias=False)
    >>> scores, state = model(tensor([[0, 1, 2, 2]]))  # hell, of the vocabulary h, e, l, o
    >>> scores.shape, state.shape
    ((1, 4, 4), (1, 1, 8))
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden_size: int = 128,
        cell: str = "RNN",
        num_layers: int = 1,
        embedding: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        device: Any = None,
        dtype: Any = None,
        *,
        generator: Any = None,
    ) -> None:
        if cell not in CELLS:
            raise ValueError(f"the cell is one of {', '.join(CELLS)}; got {cell!r}.")
        made: dict[str, Any] = {"device": device, "dtype": dtype, "generator": generator}
        self.vocabulary_size = vocabulary_size
        self.embedding = (
            None if embedding is None else nn.Embedding(vocabulary_size, embedding, **made)
        )
        self.recurrent = CELLS[cell](
            vocabulary_size if embedding is None else embedding,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=True,
            dropout=dropout,
            **made,
        )
        self.head = nn.Linear(hidden_size, vocabulary_size, bias, **made)

    def forward(self, places: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        if self.embedding is None:
            x = one_hot(places, self.vocabulary_size).to(self.head.weight.dtype)
        else:
            x = self.embedding(places)
        hidden, state = self.recurrent(x, state)
        return self.head(hidden), state


def generate(
    model: Any, prompt: Any, length: int, temperature: float = 1.0, *, generator: Any = None
) -> Tensor:
    """A text that goes on: each place is drawn from the model's scores, and fed back to it.

    `model` is a `LanguageModel` or anything that is called as one, with places (T,) and a state,
    and returns scores (T, V) and the next state. `prompt` are one or more places to begin with, int
    (T,) or (N, T) for several texts at once; it goes to the device of the model. The probabilities
    are softmax(scores / temperature): below 1 they sharpen, at 0 the highest score is taken, the
    first of equal ones. The model runs in the mode that it is in: call `model.eval()` before if it
    has dropout.

    Returns the prompt and `length` places more, int64 (T + length,) or (N, T + length). Raises
    ValueError for an empty prompt, a negative length or temperature, and scores that are not
    finite, and TypeError for places that are no whole numbers.

    >>> from tinygrad_cv import Tensor, eye
    >>> def alphabet(places, state):  # what comes next is one letter on, of four
    ...     return 5 * eye(4)[(places + 1) % 4], state
    >>> generate(alphabet, [0], 5, temperature=0)
    tensor([0, 1, 2, 3, 0, 1])
    """
    first = next(iter(model.parameters()), None) if isinstance(model, nn.Module) else None
    given = as_tensor(prompt, device=None if first is None else first.device)
    if given.ndim not in (1, 2) or not given.shape[-1]:
        raise ValueError(f"a prompt is one place or more, (T,) or (N, T); got {given.shape}.")
    if given.dtype.kind not in "iu":
        raise TypeError(f"the places of a prompt are whole numbers; got {given.dtype}.")
    text = given.to(dtype="int64")
    if length < 0 or not temperature >= 0:
        raise ValueError(
            f"the length and the temperature are 0 or more; got {length} and {temperature}."
        )
    state, fresh = None, text
    with no_grad():
        for _ in range(length):
            scores, state = model(fresh, state)
            fresh = _chosen(scores[..., -1, :], temperature, generator)
            text = cat([text, fresh], -1)
    return text


def _chosen(scores: Tensor, temperature: float, generator: Any) -> Tensor:
    """A place for each row of scores (V,) or (N, V): int64 (1,) or (N, 1)."""
    scores = scores.double()
    if not scores.isfinite().all():
        raise ValueError("generate: the model's scores are not finite.")
    if temperature == 0:
        return scores.argmax(-1, keepdim=True)
    below = scores - scores.amax(-1, keepdim=True)
    return multinomial((below / temperature).exp(), 1, generator=generator)
