"""Recurrent layers, attention and transformers beside naive loops over steps and heads."""

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tinygrad_cv as tg
from tinygrad_cv import nn
from tinygrad_cv.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from tinygrad_cv.testing import check_gradients


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def stepped(kind: str, x: Any, state: list[Any], w: dict[str, Any]) -> list[Any]:
    """The state of one sequence after one step."""
    a = w["weight_ih"] @ x + w.get("bias_ih", 0)
    b = w["weight_hh"] @ state[0] + w.get("bias_hh", 0)
    if kind in ("tanh", "relu"):
        return [np.tanh(a + b) if kind == "tanh" else np.maximum(a + b, 0)]
    if kind == "LSTM":
        i, f, u, o = np.split(a + b, 4)
        c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(u)
        h = sigmoid(o) * np.tanh(c)
        return [w["weight_hr"] @ h if "weight_hr" in w else h, c]
    (a_r, a_z, a_n), (b_r, b_z, b_n) = np.split(a, 3), np.split(b, 3)
    z = sigmoid(a_z + b_z)
    return [(1 - z) * np.tanh(a_n + sigmoid(a_r + b_r) * b_n) + z * state[0]]


def naive(kind: str, layer: Any, xs: Any, starts: list[Any]) -> tuple[Any, list[Any]]:
    """All layers and directions over one sequence (T, D), from starts (layers · directions, H)."""
    weights = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    ends = [[] for _ in starts]
    for k in range(layer.num_layers):
        outs = []
        for d in range(1 + layer.bidirectional):
            suffix = f"_l{k}" + "_reverse" * d
            w = {n.removesuffix(suffix): p for n, p in weights.items() if n.endswith(suffix)}
            state = [s[k * (1 + layer.bidirectional) + d] for s in starts]
            out = []
            for x in xs[::-1] if d else xs:
                state = stepped(kind, x, state, w)
                out.append(state[0])
            outs.append(out[::-1] if d else out)
            for end, s in zip(ends, state, strict=True):
                end.append(s)
        xs = np.concatenate(outs, 1)
    return xs, ends


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "tanh": ("RNN", {"num_layers": 2, "bidirectional": True}),
    "relu": ("RNN", {"nonlinearity": "relu", "bias": False}),
    "LSTM": ("LSTM", {"num_layers": 2, "bidirectional": True}),
    "LSTM with a projection": ("LSTM", {"proj_size": 2, "bidirectional": True, "num_layers": 2}),
    "GRU": ("GRU", {"num_layers": 2, "bidirectional": True}),
    "GRU in one direction": ("GRU", {"bias": False, "batch_first": True}),
}


def made(name: str) -> tuple[str, Any, list[Any]]:
    """The kind of a step, a layer of 3 numbers to 4, and first states of a batch of 3."""
    cls, options = KINDS[name]
    layer = getattr(nn, cls)(3, 4, dtype="float64", **options, generator=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    depth = layer.num_layers * (1 + layer.bidirectional)
    sizes = [layer.proj_size or 4] + [4] * (cls == "LSTM")
    return name.split()[0], layer, [rng.standard_normal((depth, 3, size)) for size in sizes]


def given(starts: list[Any], cut: Any = slice(None)) -> Any:
    """The first states, as the layer takes them."""
    tensors = tuple(tg.Tensor(s[:, cut]) for s in starts)
    return tensors if len(tensors) == 2 else tensors[0]


def parts(state: Any) -> list[Any]:
    return [s.detach().numpy() for s in (state if isinstance(state, tuple) else (state,))]


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_is_each_sequence_step_by_step(name: str) -> None:
    kind, layer, starts = made(name)
    xs = np.random.default_rng(2).standard_normal((3, 5, 3))
    x = tg.Tensor(xs if layer.batch_first else xs.swapaxes(0, 1))
    out, state = layer(x, given(starts))
    outs = out.detach().numpy()
    outs = outs if layer.batch_first else outs.swapaxes(0, 1)
    for n in range(3):
        expected, ends = naive(kind, layer, xs[n], [s[:, n] for s in starts])
        assert_allclose(outs[n], expected, rtol=1e-12, atol=1e-14)
        for end, last in zip(ends, parts(state), strict=True):
            assert_allclose(last[:, n], end, rtol=1e-12, atol=1e-14)
        alone, last = layer(tg.Tensor(xs[n]), given(starts, n))  # without an axis of sequences
        assert_allclose(alone.detach().numpy(), expected, rtol=1e-12, atol=1e-14)
        assert parts(last)[0].shape == np.shape(ends[0])


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("lengths", [[2, 5, 1], [3, 3, 1], [4, 4, 4]])
def test_packed_sequences_are_each_sequence_by_itself(name: str, lengths: list[int]) -> None:
    kind, layer, starts = made(name)
    xs = np.random.default_rng(2).standard_normal((3, 5, 3))
    packed = pack_padded_sequence(tg.Tensor(xs), lengths, batch_first=True, enforce_sorted=False)
    out, state = layer(packed, given(starts))
    outs, sizes = pad_packed_sequence(out, batch_first=True)
    assert sizes.tolist() == lengths
    for n, length in enumerate(lengths):
        expected, ends = naive(kind, layer, xs[n, :length], [s[:, n] for s in starts])
        assert_allclose(outs[n, :length].detach().numpy(), expected, rtol=1e-12, atol=1e-14)
        for end, last in zip(ends, parts(state), strict=True):
            assert_allclose(last[:, n], end, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["tanh", "LSTM with a projection", "GRU"])
def test_gradients_of_a_recurrent_layer(name: str) -> None:
    _, layer, starts = made(name)
    names = [n for n, _ in layer.named_parameters()][:2]

    def call(x: Any, start: Any, *weights: Any) -> Any:
        for n, w in zip(names, weights, strict=True):
            object.__setattr__(layer, n, w)
        out, state = layer(x, start if len(starts) == 1 else (start, start_c))
        return out.sum() + (state if len(starts) == 1 else state[1]).square().sum()

    start_c = tg.Tensor(starts[-1][:, :2])
    weights = [getattr(layer, n).detach() for n in names]
    x = tg.Tensor(np.random.default_rng(2).standard_normal((2, 2, 3)))
    check_gradients(call, [x, tg.Tensor(starts[0][:, :2]), *weights], order=1)


@pytest.mark.parametrize("cell", ["RNNCell", "LSTMCell", "GRUCell"])
def test_a_cell_is_one_step(cell: str) -> None:
    kind = {"RNNCell": "tanh"}.get(cell, cell[:-4])
    layer = getattr(nn, cell)(3, 4, dtype="float64")
    weights = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    rng = np.random.default_rng(0)
    x, state = rng.standard_normal((2, 3)), rng.standard_normal((1 + (kind == "LSTM"), 2, 4))
    tensors = tuple(map(tg.Tensor, state))
    new = parts(layer(tg.Tensor(x), tensors if kind == "LSTM" else tensors[0]))
    zero = parts(layer(tg.Tensor(x[0])))
    for n in range(2):
        expected = stepped(kind, x[n], list(state[:, n]), weights)
        assert_allclose([s[n] for s in new], expected, rtol=1e-12, atol=1e-14)
    assert_allclose(
        zero, stepped(kind, x[0], list(0 * state[:, 0]), weights), rtol=1e-12, atol=1e-14
    )


def test_the_names_of_the_weights() -> None:
    layer = nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2)
    kinds = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"]
    ways = [f"_l{k}{way}" for k in range(2) for way in ("", "_reverse")]
    assert list(layer.state_dict()) == [kind + way for way in ways for kind in kinds]
    assert [len(weights) for weights in layer.all_weights] == [5] * 4
    assert layer.weight_ih_l1.shape == (16, 4)
    assert layer.weight_hr_l0.shape == (2, 4)
    assert all(abs(p.detach().numpy()).max() <= 0.5 for p in layer.parameters())


def test_dropout_acts_between_layers_while_training() -> None:
    layer = nn.GRU(3, 4, 2, dropout=1.0)
    x = tg.ones(5, 2, 3)
    blind = layer(x)[0].detach().numpy()
    layer.weight_ih_l1.data.zero_()
    assert_allclose(blind, layer(x)[0].detach().numpy())  # the second layer saw nothing
    one = nn.GRU(3, 4, 2)
    one.load_state_dict(layer.state_dict())
    assert_allclose(layer.eval()(x)[0].detach().numpy(), one(x)[0].detach().numpy())


RECURRENT_ERRORS: dict[str, tuple[Any, Any, str]] = {
    "a vector": (lambda: nn.LSTM(3, 4)(tg.ones(3)), ValueError, r"\(T, N, 3\).*got \(3,\)"),
    "width": (lambda: nn.GRU(3, 4)(tg.ones(2, 5)), ValueError, r"\(T, 3\).*got \(2, 5\)"),
    "state": (
        lambda: nn.GRU(3, 4)(tg.ones(5, 2, 3), tg.ones(1, 3, 4)),
        ValueError,
        r"\(1, 2, 4\) .*got \(1, 3, 4\)",
    ),
    "one state": (
        lambda: nn.GRU(3, 4)(tg.ones(5, 3), tg.ones(1, 1, 4)),
        ValueError,
        r"\(1, 4\) .*got \(1, 1, 4\)",
    ),
    "no steps": (lambda: nn.RNN(3, 4)(tg.ones(0, 2, 3)), ValueError, "one step or more"),
    "proj_size": (lambda: nn.LSTM(3, 4, proj_size=4), ValueError, "proj_size"),
    "a projected GRU": (lambda: nn.GRU(3, 4, proj_size=2), ValueError, "for an LSTM"),
    "nonlinearity": (lambda: nn.RNN(3, 4, nonlinearity="sin"), ValueError, "'tanh' or 'relu'"),
    "size": (lambda: nn.RNN(3, 0), ValueError, "hidden_size is above 0"),
    "cell": (lambda: nn.RNNCell(3, 4)(tg.ones(2, 3), tg.ones(3, 4)), ValueError, r"\(3, 4\)"),
}


@pytest.mark.parametrize("name", RECURRENT_ERRORS)
def test_what_recurrent_layers_refuse(name: str) -> None:
    call, kind, message = RECURRENT_ERRORS[name]
    with pytest.raises(kind, match=message):
        call()


def test_dropout_of_one_layer_warns() -> None:
    with pytest.warns(UserWarning, match="no effect with num_layers=1"):
        nn.LSTM(3, 4, dropout=0.5)


# ----- attention ---------------------------------------------------------------------------------


def attended(q: Any, k: Any, v: Any, added: Any) -> tuple[Any, Any]:
    """One head of one sample; where nothing is to be seen, 0."""
    out, weights = np.zeros((len(q), v.shape[1])), np.zeros((len(q), len(k)))
    for i, j in itertools.product(range(len(q)), range(len(k))):
        weights[i, j] = math.exp(q[i] @ k[j] / math.sqrt(q.shape[1]) + added[i, j])
    for i in range(len(q)):
        weights[i] /= weights[i].sum() or 1
        out[i] = weights[i] @ v
    return out, weights


def multi_head(layer: Any, q: Any, k: Any, v: Any, added: Any) -> tuple[Any, Any]:
    """One sample, head by head; `added` (H, L, S) to the scores."""
    w = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    if "in_proj_weight" in w:
        projections = np.split(w["in_proj_weight"], 3)
    else:
        projections = [w[f"{x}_proj_weight"] for x in "qkv"]
    biases = np.split(w["in_proj_bias"], 3) if "in_proj_bias" in w else [0.0] * 3
    q, k, v = (x @ p.T + b for x, p, b in zip((q, k, v), projections, biases, strict=True))
    if "bias_k" in w:
        k, v = np.vstack([k, w["bias_k"][0]]), np.vstack([v, w["bias_v"][0]])
    if layer.add_zero_attn:
        k, v = (np.vstack([x, np.zeros(x.shape[1])]) for x in (k, v))
    added = np.pad(added, ((0, 0), (0, 0), (0, len(k) - added.shape[2])))
    heads = [np.split(x, layer.num_heads, 1) for x in (q, k, v)]
    outs, weights = zip(*map(attended, *heads, added), strict=True)
    out = np.hstack(outs) @ w["out_proj.weight"].T + w.get("out_proj.bias", 0.0)
    return out, np.array(weights)


ATTENTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "without biases": {"bias": False, "batch_first": True},
    "other widths": {"kdim": 3, "vdim": 5},
    "a further key": {"add_bias_kv": True, "add_zero_attn": True},
}


@pytest.mark.parametrize("masks", ["none", "truth", "numbers", "each head"])
@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_is_each_sample_head_by_head(name: str, masks: str) -> None:
    options = ATTENTIONS[name]
    layer = nn.MultiheadAttention(4, 2, dtype="float64", **options)
    for parameter in layer.parameters():  # biases, too
        nn.init.uniform_(parameter, -0.5, 0.5)
    rng = np.random.default_rng(0)
    N, L, S = 2, 3, 5
    q, k, v = (
        rng.standard_normal((N, n, d)) for n, d in ((L, 4), (S, layer.kdim), (S, layer.vdim))
    )
    hidden = rng.random((N * 2, L, S) if masks == "each head" else (L, S)) < 0.4
    hidden[..., 0, :] = masks == "each head"  # a query that sees nothing
    padded = np.zeros((N, S), dtype=bool)
    padded[1, 3:] = True
    given: dict[str, Any] = {}
    if masks != "none":
        mask = np.where(hidden, -np.inf, 0.5) if masks == "numbers" else hidden
        given = {"attn_mask": tg.Tensor(mask), "key_padding_mask": tg.Tensor(padded)}
    tensors = [tg.Tensor(x if layer.batch_first else x.swapaxes(0, 1)) for x in (q, k, v)]
    out, weights = layer(*tensors, **given, average_attn_weights=False)
    outs = out.detach().numpy()
    outs = outs if layer.batch_first else outs.swapaxes(0, 1)
    for n in range(N):
        added = np.zeros((2, L, S))
        if masks != "none":
            added += np.where(hidden[2 * n : 2 * n + 2] if hidden.ndim == 3 else hidden, -np.inf, 0)
            added += 0.5 * (masks == "numbers")
            added[..., padded[n]] = -np.inf
        expected, shares = multi_head(layer, q[n], k[n], v[n], added)
        assert_allclose(outs[n], expected, rtol=1e-10, atol=1e-12)
        assert_allclose(weights[n].detach().numpy(), shares, rtol=1e-10, atol=1e-12)
    again, mean = layer(*tensors, **given)
    assert_allclose(mean.detach().numpy(), weights.detach().numpy().mean(1), rtol=1e-12, atol=1e-14)
    assert_allclose(again.detach().numpy(), out.detach().numpy())
    assert layer(*tensors, **given, need_weights=False)[1] is None


def test_one_sample_needs_no_axis() -> None:
    layer = nn.MultiheadAttention(4, 2)
    x = tg.rand(3, 4)
    alone, weights = layer(x, x, x)
    batch, of_batch = layer(*[x.unsqueeze(1)] * 3)
    assert_allclose(alone.detach().numpy(), batch.detach().numpy()[:, 0], rtol=1e-6)
    assert_allclose(weights.detach().numpy(), of_batch.detach().numpy()[0], rtol=1e-6)
    copies, _ = layer(x, x.clone(), x.clone())  # in three products
    assert_allclose(copies.detach().numpy(), alone.detach().numpy(), rtol=1e-5)


def test_what_attention_refuses() -> None:
    layer = nn.MultiheadAttention(4, 2)
    x = tg.ones(3, 2, 4)
    with pytest.raises(ValueError, match="multiple of num_heads"):
        nn.MultiheadAttention(5, 2)
    with pytest.raises(ValueError, match=r"attn_mask is \(3, 3\) or \(4, 3, 3\); got \(2, 3\)"):
        layer(x, x, x, attn_mask=tg.ones(2, 3))
    with pytest.raises(ValueError, match=r"key_padding_mask is \(2, 3\); got \(3, 2\)"):
        layer(x, x, x, key_padding_mask=tg.ones(3, 2))
    with pytest.raises(ValueError, match="is_causal says what attn_mask is"):
        layer(x, x, x, is_causal=True)
    with pytest.raises(ValueError, match="embed_dim=4"):
        layer(tg.ones(3, 2, 6), x, x)


# ----- transformers ------------------------------------------------------------------------------


def normed(x: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_parts_of_the_layers_in_their_order(norm_first: bool) -> None:
    """Norms that are new scale by 1 and shift by 0."""
    options = {"dropout": 0.0, "norm_first": norm_first, "dtype": "float64", "activation": "gelu"}
    rng = np.random.default_rng(0)
    x, memory = rng.standard_normal((3, 4)), rng.standard_normal((5, 4))
    encoder = nn.TransformerEncoderLayer(4, 2, 6, **options)
    decoder = nn.TransformerDecoderLayer(4, 2, 6, **options)

    def attention(layer: Any, q: Any, k: Any) -> Any:
        return multi_head(layer, q, k, k, np.zeros((2, len(q), len(k))))[0]

    def network(layer: Any, y: Any) -> Any:
        hidden = tg.gelu(layer.linear1(tg.Tensor(y)))
        return layer.linear2(hidden).detach().numpy()

    def added(y: Any, part: Any) -> Any:
        return y + part(normed(y)) if norm_first else normed(y + part(y))

    y = added(x, lambda y: attention(encoder.self_attn, y, y))
    y = added(y, lambda y: network(encoder, y))
    assert_allclose(encoder(tg.Tensor(x)).detach().numpy(), y, rtol=1e-10)
    y = added(x, lambda y: attention(decoder.self_attn, y, y))
    y = added(y, lambda y: attention(decoder.multihead_attn, y, memory))
    y = added(y, lambda y: network(decoder, y))
    assert_allclose(decoder(tg.Tensor(x), tg.Tensor(memory)).detach().numpy(), y, rtol=1e-10)


def test_a_causal_mask_hides_what_comes_later() -> None:
    model = nn.Transformer(4, 2, 1, 2, 6, dropout=0.0, batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    assert mask.tolist()[1] == [0, 0, -math.inf, -math.inf]
    source, target = tg.rand(2, 3, 4), tg.rand(2, 4, 4)
    later = target.clone()
    later[:, 2:] = 0.0
    a, b = (model(source, t, tgt_mask=mask, tgt_is_causal=True).detach() for t in (target, later))
    assert_allclose(a[:, :2].numpy(), b[:, :2].numpy(), rtol=1e-5)
    assert abs(a[:, 2:].numpy() - b[:, 2:].numpy()).max() > 1e-3


def test_padding_does_not_count() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, nn.LayerNorm(4))
    x = tg.rand(1, 5, 4)
    hidden = tg.tensor([[False, False, False, True, True]])
    padded = model(x, src_key_padding_mask=hidden)[:, :3].detach().numpy()
    assert_allclose(padded, model(x[:, :3]).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_the_layers_of_a_stack_are_copies() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 6)
    stack = nn.TransformerEncoder(layer, 3)
    first, second = (list(one.parameters()) for one in stack.layers[:2])
    for a, b in zip(first, second, strict=True):
        assert a is not b
        assert a.tolist() == b.tolist()
    again = copy.deepcopy(stack)
    assert list(again.state_dict()) == list(stack.state_dict())


def test_the_adaptive_softmax_sums_to_1() -> None:
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 6], div_value=2.0, head_bias=True)
    x, target = tg.randn(5, 8), tg.tensor([0, 2, 3, 7, 11])
    log_p = layer.log_prob(x)
    assert_allclose(log_p.exp().sum(1).detach().numpy(), np.ones(5), rtol=1e-5)
    output, loss = layer(x, target)
    own = log_p.detach().numpy()[np.arange(5), target.numpy()]
    assert_allclose(output.detach().numpy(), own, rtol=1e-5)
    assert_allclose(loss.item(), -own.mean(), rtol=1e-5)
    assert layer(x[0], target[0])[0].shape == ()
    assert layer.predict(x).tolist() == log_p.argmax(1).tolist()
    with pytest.raises(ValueError, match="targets are classes from 0 to 11"):
        layer(x, tg.tensor([0, 2, 3, 7, 12]))
    with pytest.raises(ValueError, match="increase from 1 to n_classes - 1 = 11"):
        nn.AdaptiveLogSoftmaxWithLoss(8, 12, [6, 3])
