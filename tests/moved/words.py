"""Sentences of different lengths: packed, through a GRU both ways, attention over the steps."""

import numpy as np
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from moving import fixed

rng = np.random.default_rng(15)
sentences = [torch.tensor(rng.integers(1, 9, n)) for n in (5, 3, 6, 2)]
lengths = torch.LongTensor([len(s) for s in sentences])
labels = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64)


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(9, 4, padding_idx=0)
        self.gru = nn.GRU(4, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.attention = nn.MultiheadAttention(10, 2, batch_first=True)
        self.out = nn.Linear(10, 1)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(
            self.emb(x), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        out, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        pad = torch.arange(out.size(1))[None, :] >= lengths[:, None]
        mixed, weights = self.attention(out, out, out, key_padding_mask=pad)
        mixed = mixed.masked_fill(pad.unsqueeze(-1), 0).sum(1) / lengths.unsqueeze(1)
        return self.out(mixed).squeeze(-1), weights


model = fixed(Tagger()).double()
optimizer = torch.optim.NAdam(model.parameters(), lr=0.01)
criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))
padded = pad_sequence(sentences, batch_first=True, padding_value=0)
losses = []
for _ in range(4):
    logits, weights = model(padded, lengths)
    loss = criterion(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses += [loss.item(), weights.max().item()]
