"""A variational autoencoder; the noise comes from outside."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from moving import fixed

rng = np.random.default_rng(3)


class VAE(nn.Module):
    def __init__(self, latent=2):
        super().__init__()
        self.fc1 = nn.Linear(12, 8)
        self.fc21, self.fc22 = nn.Linear(8, latent), nn.Linear(8, latent)
        self.fc3 = nn.Linear(latent, 8)
        self.fc4 = nn.Linear(8, 12)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.from_numpy(rng.standard_normal(tuple(std.shape)))
        return mu + eps * std

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 12))
        z = self.reparameterize(mu, logvar)
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


model = fixed(VAE()).double()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
data = torch.from_numpy(rng.random((6, 1, 3, 4)))
losses = []
for _ in range(6):
    recon, mu, logvar = model(data)
    bce = F.binary_cross_entropy(recon, data.view(-1, 12), reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    loss = bce + kld
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
