"""A residual net trained with momentum, stopped, saved, and resumed in new objects."""

import io
from collections import OrderedDict

import numpy as np
import torch
from torch import nn, optim

from moving import fixed


class Block(nn.Module):
    expansion = 1

    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(
            OrderedDict(
                [
                    ("conv", nn.Conv2d(channels, channels, 3, padding="same", bias=False)),
                    ("norm", nn.GroupNorm(2, channels)),
                    ("relu", nn.ReLU(inplace=True)),
                ]
            )
        )

    def forward(self, x):
        return x + self.body(x)


def make():
    layers = [nn.Conv2d(3, 4, 1)] + [Block(4) for _ in range(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 36, 2)).double()
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 1e-2},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "lr": 0.02},
    ]
    optimizer = optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)
    return model, optimizer, scheduler


rng = np.random.default_rng(2)
x = torch.tensor(rng.standard_normal((5, 3, 6, 6)))
y = torch.tensor(rng.integers(0, 2, 5), dtype=torch.long)
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
losses = []


def train(model, optimizer, scheduler, steps):
    for _ in range(steps):
        loss = criterion(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        scheduler.step()
        losses.extend([loss.item(), optimizer.param_groups[0]["lr"], scheduler.get_last_lr()[1]])


first = make()
fixed(first[0])
train(*first, 3)
file = io.BytesIO()
torch.save(
    {
        "epoch": 3,
        "model": first[0].state_dict(),
        "optimizer": first[1].state_dict(),
        "scheduler": first[2].state_dict(),
    },
    file,
)
file.seek(0)
checkpoint = torch.load(file, map_location="cpu", weights_only=False)
second = make()
for part, name in zip(second, ("model", "optimizer", "scheduler")):
    part.load_state_dict(checkpoint[name])
train(*second, 3)
