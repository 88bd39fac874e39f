"""REINFORCE with a Categorical, actions given; returns normalized; PPO's clipped ratio."""

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.distributions import Categorical, Normal

from moving import fixed

rng = np.random.default_rng(11)
policy = fixed(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))).double()
optimizer = optim.Adam(policy.parameters(), lr=1e-2)
losses = []
for _ in range(4):
    states = torch.from_numpy(rng.standard_normal((10, 4))).type(torch.float64)
    actions = torch.from_numpy(rng.integers(0, 3, 10))
    rewards, returns, R = rng.random(10), [], 0
    for r in rewards[::-1]:
        R = r + 0.99 * R
        returns.insert(0, R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + 1e-8)
    m = Categorical(logits=policy(states))
    log_prob = m.log_prob(actions)
    ratio = torch.exp(log_prob - log_prob.detach() + 0.1)
    clipped = torch.min(ratio * returns, torch.clamp(ratio, 0.8, 1.2) * returns)
    loss = -clipped.mean() - 0.01 * m.entropy().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
n = Normal(torch.tensor(0.5), torch.tensor(2.0))
losses += [n.log_prob(torch.tensor(1.0)).item(), n.entropy().item()]
