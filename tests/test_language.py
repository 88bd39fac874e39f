"""Texts by characters, bytes and words; language models; texts drawn from them."""

import math
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_cv as tg
from tinygrad_cv import nn, optim
from tinygrad_cv.data import DataLoader, DatasetError, Text
from tinygrad_cv.models import LanguageModel, generate

CELLS = ("RNN", "LSTM", "GRU")

# ----- texts -------------------------------------------------------------------------------------

words = st.lists(st.sampled_from(["To", "be", "don't", "x-ray", "é", "7", ",", "!", "(", "\n"]))


@pytest.mark.host
@given(words.filter(lambda w: len(w) > 2), st.sampled_from([" ", "  ", "\t"]))
def test_words_are_the_tokens_of_a_text(tokens: list[str], space: str) -> None:
    text = Text(space.join(tokens), length=1, units="words")
    assert text.vocabulary[0] == "<unk>"
    assert [text.vocabulary[place] for place in text.data] == tokens
    counts = Counter(tokens)
    frequencies = [counts[word] for word in text.vocabulary[1:]]
    assert frequencies == sorted(frequencies, reverse=True)
    assert set(text.vocabulary[1:]) == set(tokens)
    again = text.decode(text.data)
    np.testing.assert_array_equal(text.encode(again), text.data)
    assert not re.search(r" [,!)\n]|[(\n] ", again)


@pytest.mark.host
@given(words.filter(lambda w: len(w) > 2), st.integers(1, 8))
def test_a_vocabulary_that_is_cut(tokens: list[str], most: int) -> None:
    """The rare words are <unk>, in this text and in any other; characters likewise."""
    text = Text(" ".join(tokens), 1, units="words", max_vocabulary=most)
    assert len(text.vocabulary) == min(most, 1 + len(set(tokens)))
    kept = set(text.vocabulary[1:])
    rest = set(tokens) - kept
    counts = Counter(tokens)
    assert min((counts[k] for k in kept), default=9**9) >= max((counts[r] for r in rest), default=0)
    assert [place == 0 for place in text.data] == [token in rest for token in tokens]
    assert text.encode("zebra").tolist() == [0]
    other = Text("zebra zebra be", 1, units="words", vocabulary=text.vocabulary)
    assert other.data[:2].tolist() == [0, 0]
    letters = Text("".join(tokens), 1, max_vocabulary=most)
    assert letters.vocabulary[0] == "<unk>"
    assert len(letters.vocabulary) <= most


@pytest.mark.host
def test_the_text_of_the_lecture() -> None:
    text = Text("hello", length=4, vocabulary="helo")
    x, y = text[0]
    assert (x.tolist(), y.tolist()) == ([0, 1, 2, 2], [1, 2, 2, 3])
    assert Text(b"hello", 4).vocabulary == ["e", "h", "l", "o"]
    assert Text("hé", 2, units="bytes").decode([104, 195, 169]) == "hé".encode()
    assert Text("<unk> and <unk>", 1, units="words").vocabulary == ["<unk>", "and"]
    for units in ("characters", "words", "bytes"):
        text = Text("é té té", 1, units=units)
        assert text.encode("té".encode()).tolist() == text.encode("té").tolist()


@pytest.mark.host
@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("", {}, "the text: found 0 characters, expected more than the length 64"),
        ("a b", {"units": "words", "length": 2}, "found 2 words"),
        ("hello", {"length": 1, "vocabulary": "helx"}, "found 'o', expected the 4 characters"),
        (b"\xff", {"length": 1}, "found the byte 0xff at position 0"),
        ("hello", {"length": 1, "max_vocabulary": 3, "vocabulary": "helo"}, "and a vocabulary"),
        ("hello", {"length": 1, "max_vocabulary": 0}, "max_vocabulary, at least 1"),
        ("hello", {"length": 1, "max_vocabulary": 3, "units": "bytes"}, "units='bytes'"),
        ("hello", {"length": 1, "vocabulary": "hello"}, "each unit once; 'l' is there twice"),
    ],
)
def test_texts_that_are_refused(text: Any, options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Text(text, **options)
    assert issubclass(DatasetError, ValueError)


@pytest.mark.host
@given(st.integers(2, 60), st.integers(1, 5), st.integers(1, 6))
def test_streams_go_on_where_they_were(size: int, length: int, rows: int) -> None:
    """Each row of a batch goes on where that row of the batch before ended."""
    text = Text("".join(map(chr, range(97, 97 + size))), min(length, size - 1))
    if rows > len(text):
        with pytest.raises(ValueError, match=f"{rows} rows"):
            text.streams(rows)
        return
    batches = list(DataLoader(text, batch_sampler=text.streams(rows), device="cpu"))
    assert {x.shape[0] for x, _ in batches} == {rows}
    x, y = (tg.cat([batch[k] for batch in batches], 1).numpy() for k in (0, 1))
    np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
    starts = x[:, 0] - x[0, 0]
    np.testing.assert_array_equal(starts, np.arange(rows) * x.shape[1])
    with pytest.raises(ValueError, match="follow one another"):
        Text("abcdef", 2, stride=1).streams(1)


# ----- models ------------------------------------------------------------------------------------


def test_the_rnn_of_the_lecture() -> None:
    """h = tanh(W_hh h + W_xh x), y = W_hy h, without biases, against NumPy."""
    model = LanguageModel(5, 7, bias=False, dtype="float64")
    assert sorted(name for name, _ in model.named_parameters()) == [
        "head.weight",
        "recurrent.weight_hh_l0",
        "recurrent.weight_ih_l0",
    ]
    W_xh = model.recurrent.weight_ih_l0.detach().numpy()
    W_hh = model.recurrent.weight_hh_l0.detach().numpy()
    W_hy = model.head.weight.detach().numpy()
    places = [3, 1, 1, 4]
    h, expected = np.zeros(7), []
    for place in places:
        h = np.tanh(W_hh @ h + W_xh @ np.eye(5)[place])
        expected.append(W_hy @ h)
    scores, state = model(tg.tensor(places))
    np.testing.assert_allclose(scores.detach().numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(state.detach().numpy()[0], h, rtol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("embedding", [None, 6])
def test_a_text_in_chunks(cell: str, embedding: int | None) -> None:
    """Scores do not depend on where the text is cut, if the state is handed on; and a detached
    state ends the gradients, while the next chunk learns."""
    model = LanguageModel(9, 8, cell, num_layers=2, embedding=embedding)
    text = tg.randint(9, (3, 12))
    whole, _ = model(text)
    parts, state = [], None
    for chunk in tg.split(text, 5, dim=1):
        scores, state = model(chunk, state)
        parts.append(scores)
    assert whole.shape == (3, 12, 9)
    difference = (tg.cat(parts, 1) - whole).abs().max()
    assert difference.item() < 1e-5
    _, state = model(text[:, :6])
    kept = tuple(s.detach() for s in state) if cell == "LSTM" else state.detach()
    for handed, reaches in ((state, True), (kept, False)):
        first = state if cell == "LSTM" else (state,)
        scores, _ = model(text[:, 6:], handed)
        found = tg.autograd.grad(scores.sum(), first, allow_unused=True)
        assert all((slope is not None) == reaches for slope in found)


def test_cells_that_there_are_not() -> None:
    with pytest.raises(ValueError, match="one of RNN, LSTM, GRU; got 'lstm'"):
        LanguageModel(4, cell="lstm")


@pytest.mark.parametrize("cell", CELLS)
def test_a_word_is_learned_and_said(cell: str) -> None:
    tg.manual_seed(0)
    text = Text("hello", 4, vocabulary="helo")
    x, y = map(tg.tensor, text[0])
    model = LanguageModel(4, 16, cell, embedding=None if cell == "RNN" else 8)
    optimizer = optim.Adam(model.parameters(), 0.03)
    for step in range(60):
        optimizer.zero_grad()
        loss = tg.cross_entropy(model(x)[0], y)
        if not step:
            assert loss.item() == pytest.approx(math.log(4), abs=0.3)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    assert text.decode(generate(model, text.encode("h"), 4, temperature=0)) == "hello"
    both = generate(model, tg.tensor([[0, 1], [0, 1]]), 3, temperature=1e-9)
    assert [text.decode(row) for row in both] == ["hello", "hello"]


# ----- texts that are drawn ----------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_a_compiled_model_says_the_same(cell: str) -> None:
    model = LanguageModel(5, 8, cell, embedding=None if cell == "RNN" else 4)
    prompt = tg.tensor([0, 3])
    said = [
        generate(each, prompt, 6, generator=np.random.default_rng(1))
        for each in (model, tg.compile(model))
    ]
    assert said[0].tolist() == said[1].tolist()
    assert said[0].shape == (8,)


class Fixed(nn.Module):
    """The same scores wherever it is; the state counts the places that it has read."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = tg.tensor(scores)

    def forward(self, places: Any, state: Any) -> Any:
        self.read = (state or 0) + places.shape[-1]
        return self.scores + tg.zeros(*places.shape, len(self.scores)), self.read


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("scores", [[0.0, 0.0], [1.0, -2.0, 0.5]])
def test_places_are_drawn_in_proportion(scores: list[float], temperature: float) -> None:
    model, generator = Fixed(scores), np.random.default_rng(0)
    drawn = generate(model, [[0]] * 40, 50, temperature, generator=generator)[:, 1:]
    shares = np.bincount(drawn.numpy().ravel(), minlength=len(scores)) / drawn.numel()
    powers = np.exp((np.array(scores) - max(scores)) / temperature)
    np.testing.assert_allclose(shares, powers / powers.sum(), atol=0.06)
    assert model.read == 50  # each place once: the last one that was drawn was not read


def test_a_prompt_goes_to_the_model() -> None:
    """A text's places are arrays of the host, wherever the model is."""
    model = LanguageModel(4, 4)
    assert generate(model, np.array([1, 2], "uint8"), 2).device == model.head.weight.device
    assert generate(model.cpu(), tg.tensor([1, 2]), 2).device == "cpu"


def test_what_draws_depend_on() -> None:
    model = Fixed([0.0, 1.0, 1.0])
    a, b = (generate(model, [2], 30, generator=np.random.default_rng(5)) for _ in range(2))
    assert a.tolist() == b.tolist()
    assert (a.dtype, a[0].item()) == ("int64", 2)
    tg.manual_seed(1)
    first = generate(model, [2], 30)
    tg.manual_seed(1)
    assert generate(model, [2], 30).tolist() == first.tolist()
    assert generate(model, [0], 3, temperature=0).tolist() == [0, 1, 1, 1]  # the first of equals
    assert generate(model, [0], 0).tolist() == [0]
    assert not generate(model, [0], 9, temperature=1e-320).tolist().count(0) > 1
    assert 0 in generate(model, [1], 99, temperature=math.inf).tolist()
    assert not generate(LanguageModel(3, 4), [0], 2).requires_grad


@pytest.mark.parametrize(
    ("prompt", "options", "words"),
    [
        ([], {}, "one place or more"),
        ([[[0]]], {}, "one place or more"),
        ([0.5], {}, "whole numbers; got float32"),
        ([0], {"length": -1}, "0 or more; got -1"),
        ([0], {"temperature": -1.0}, "0 or more"),
        ([0], {"temperature": math.nan}, "0 or more"),
    ],
)
def test_what_is_no_prompt(prompt: Any, options: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        generate(Fixed([0.0, 1.0]), prompt, **({"length": 1} | options))


def test_a_net_that_diverged_says_nothing() -> None:
    for temperature in (0, 1):
        with pytest.raises(ValueError, match="not finite"):
            generate(Fixed([0.0, math.nan]), [0], 1, temperature)
