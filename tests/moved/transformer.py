"""nn.TransformerEncoder with a causal mask and a mask of padding; a schedule by a function."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from moving import fixed


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=20):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pe[: x.size(0)]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 8, padding_idx=0)
        self.position = PositionalEncoding(8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.out = nn.Linear(8, 7)

    def forward(self, src):
        mask = nn.Transformer.generate_square_subsequent_mask(len(src))
        padding = (src == 0).t()
        x = self.position(self.embedding(src) * math.sqrt(8))
        mask, padding = mask.to(x.dtype), torch.zeros_like(padding, dtype=x.dtype)
        return self.out(self.encoder(x, mask=mask, src_key_padding_mask=padding))


model = fixed(Model()).double()
optimizer = torch.optim.RAdam(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 4))
rng = np.random.default_rng(7)
losses = []
for _ in range(6):
    src = torch.as_tensor(rng.integers(0, 7, (6, 3)))
    out = model(src)
    loss = nn.functional.cross_entropy(out.reshape(-1, 7), src.flatten(), ignore_index=0)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    losses += [loss.item(), scheduler.get_last_lr()[0]]
