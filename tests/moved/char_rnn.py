"""A character model: embedding, two LSTM layers, the state kept and detached, clipped gradients."""

import numpy as np
import torch
from torch import nn

from moving import fixed

text = "the quick brown fox jumps over the lazy dog. " * 4
chars = sorted(set(text))
index = {c: i for i, c in enumerate(chars)}
data = torch.tensor([index[c] for c in text], dtype=torch.long)


class Model(nn.Module):
    def __init__(self, vocabulary, width=6, layers=2):
        super().__init__()
        self.width, self.layers = width, layers
        self.encoder = nn.Embedding(vocabulary, width)
        self.rnn = nn.LSTM(width, width, layers, batch_first=True, dropout=0.0)
        self.decoder = nn.Linear(width, vocabulary)

    def forward(self, x, hidden):
        out, hidden = self.rnn(self.encoder(x), hidden)
        return self.decoder(out.contiguous().view(-1, out.shape[2])), hidden

    def init_hidden(self, batch):
        weight = next(self.parameters()).data
        return (
            weight.new(self.layers, batch, self.width).zero_(),
            weight.new_zeros(self.layers, batch, self.width),
        )


model = fixed(Model(len(chars))).double()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
hidden = model.init_hidden(2)
rows = data[: len(data) // 2 * 2].view(2, -1)
losses = []
for start in range(0, 36, 12):
    x, y = rows[:, start : start + 12], rows[:, start + 1 : start + 13]
    hidden = tuple(h.detach() for h in hidden)
    model.zero_grad()
    out, hidden = model(x, hidden)
    loss = criterion(out, y.reshape(-1))
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    losses += [loss.item(), float(norm)]
losses += np.asarray(hidden[0].detach().cpu().numpy()).sum(axis=(1, 2)).tolist()
