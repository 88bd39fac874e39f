"""WGAN with a gradient penalty (the gradient of a gradient), and weights that are clipped."""

import numpy as np
import torch
import torch.autograd as autograd
import torch.nn as nn

from moving import fixed

rng = np.random.default_rng(5)
Tensor = torch.cuda.DoubleTensor if torch.cuda.is_available() else torch.DoubleTensor
D = fixed(nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(0.2, inplace=True), nn.Linear(8, 1)))
D.double()
optimizer = torch.optim.RMSprop(D.parameters(), lr=0.005)
losses = []
for _ in range(5):
    real = Tensor(rng.standard_normal((6, 3)))
    fake = Tensor(rng.standard_normal((6, 3)) * 2)
    alpha = Tensor(rng.random((6, 1)))
    between = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    d = D(between)
    ones = torch.ones_like(d, requires_grad=False)
    gradients = autograd.grad(
        outputs=d,
        inputs=between,
        grad_outputs=ones,
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
    )[0]
    penalty = ((gradients.view(gradients.size(0), -1).norm(2, dim=1) - 1) ** 2).mean()
    loss = -torch.mean(D(real)) + torch.mean(D(fake)) + 10 * penalty
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    for p in D.parameters():
        p.data.clamp_(-0.5, 0.5)
    losses += [loss.item(), penalty.item()]
