"""Embeddings by triplets and by a contrastive loss; pairs from a dataset of dicts."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

from moving import fixed


class Pairs(Dataset):
    def __init__(self):
        rng = np.random.default_rng(13)
        self.x = rng.standard_normal((12, 5))

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return {
            "a": self.x[i],
            "b": self.x[i + 1],
            "c": self.x[i + 2],
            "same": i % 2,
            "name": str(i),
        }


net = fixed(nn.Sequential(nn.Linear(5, 6), nn.PReLU(), nn.Linear(6, 3))).double()
optimizer = torch.optim.Adamax(net.parameters(), lr=0.01)
triplet = nn.TripletMarginLoss(margin=0.7)
losses = []
for _ in range(2):
    for batch in DataLoader(Pairs(), batch_size=4, drop_last=True):
        a, b, c = (F.normalize(net(batch[k]), dim=-1) for k in "abc")
        d = F.pairwise_distance(a, b, keepdim=True).squeeze(1)
        y = batch["same"].to(d.dtype)
        contrastive = torch.mean(y * d.pow(2) + (1 - y) * torch.clamp(1.0 - d, min=0.0).pow(2))
        cosine = F.cosine_embedding_loss(a, c, 2 * y - 1)
        loss = triplet(a, b, c) + contrastive + cosine
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses += [loss.item(), float(batch["name"][-1])]
