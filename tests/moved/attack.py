"""Gradients of the input: FGSM, a saliency map, and Grad-CAM by forward and backward hooks."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from moving import fixed

rng = np.random.default_rng(10)
model = fixed(
    nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.Softplus(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4)
    )
).double()
model.eval()
data = torch.from_numpy(rng.random((2, 1, 8, 8)))
target = torch.tensor([1, 3])
data.requires_grad = True
loss = F.cross_entropy(model(data), target)
model.zero_grad()
loss.backward()
perturbed = torch.clamp(data + 0.1 * data.grad.data.sign(), 0, 1).detach()
losses = [loss.item(), F.cross_entropy(model(perturbed), target).item()]
saliency, _ = torch.max(data.grad.data.abs(), dim=1)
losses += saliency.view(2, -1).max(1)[0].tolist()

activations, gradients = [], []
layer = model[0]
handle = layer.register_forward_hook(lambda m, i, o: activations.append(o))
back = layer.register_full_backward_hook(lambda m, gi, go: gradients.append(go[0]))
logits = model(data)
index = logits.argmax(-1)
one_hot = torch.zeros_like(logits).scatter_(1, index.unsqueeze(1), 1.0)
model.zero_grad()
(one_hot * logits).sum().backward()
weights = gradients[0].mean(dim=(2, 3), keepdim=True)
cam = F.relu((weights * activations[0]).sum(1, keepdim=True))
cam = F.interpolate(cam, size=data.shape[2:], mode="bilinear", align_corners=False)
handle.remove()
back.remove()
losses += [*index.tolist(), *cam.detach().flatten(1).sum(1).tolist()]
