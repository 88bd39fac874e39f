"""Averaged weights (SWA and EMA), a frozen part, state dicts loaded in part, a cycle of rates."""

import copy

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn

from moving import fixed

rng = np.random.default_rng(14)
x = torch.from_numpy(rng.standard_normal((16, 4)))
y = x.sum(1, keepdim=True).sin()
model = fixed(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ELU(), nn.Linear(8, 1)))
model.double()
teacher = copy.deepcopy(model)
for p in teacher.parameters():
    p.requires_grad = False
model[0].weight.requires_grad = False
optimizer = torch.optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.05)
cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=6)
swa_model, swa_scheduler = AveragedModel(model), SWALR(optimizer, swa_lr=0.02, anneal_epochs=2)
losses = []
for step in range(6):
    optimizer.zero_grad()
    loss = nn.functional.smooth_l1_loss(model(x), y)
    loss.backward()
    optimizer.step()
    for a, b in zip(teacher.parameters(), model.parameters()):
        a.data.mul_(0.9).add_(b.data, alpha=0.1)
    if step < 3:
        cycle.step()
    else:
        swa_model.update_parameters(model)
        swa_scheduler.step()
    losses += [loss.item(), optimizer.param_groups[0]["lr"]]
update_bn([x], swa_model)
swa_model.eval()
losses += [nn.functional.mse_loss(swa_model(x), y).item(), teacher(x).mean().item()]
part = {k: v for k, v in model.state_dict().items() if k.startswith("0.")}
report = teacher.load_state_dict(part, strict=False)
losses += [len(report.missing_keys), len(report.unexpected_keys), teacher(x).std().item()]
