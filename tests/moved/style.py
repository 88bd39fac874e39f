"""The style of a picture: features by hooks, Gram matrices, LBFGS with a closure on the image."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from moving import fixed

rng = np.random.default_rng(9)
cnn = fixed(
    nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=False), nn.AvgPool2d(2), nn.Conv2d(4, 5, 3)
    )
).double()
cnn.eval()
for param in cnn.parameters():
    param.requires_grad_(False)
features = {}


def keep(name):
    def hook(module, inputs, output):
        features[name] = output

    return hook


handles = [cnn[i].register_forward_hook(keep(i)) for i in (1, 3)]


def gram_matrix(input):
    a, b, c, d = input.size()
    features = input.view(a * b, c * d)
    return torch.mm(features, features.t()).div(a * b * c * d)


content_img = torch.from_numpy(rng.random((1, 3, 8, 8)))
style_img = torch.from_numpy(rng.random((1, 3, 8, 8)))
cnn(content_img)
content = features[3].detach()
cnn(style_img)
style = gram_matrix(features[1]).detach()
input_img = content_img.clone().requires_grad_(True)
optimizer = torch.optim.LBFGS([input_img], max_iter=4, line_search_fn="strong_wolfe")
losses = []
for _ in range(3):

    def closure():
        with torch.no_grad():
            input_img.clamp_(0, 1)
        optimizer.zero_grad()
        cnn(input_img)
        loss = 100 * F.mse_loss(gram_matrix(features[1]), style) + F.mse_loss(features[3], content)
        loss.backward()
        losses.append(loss.item())
        return loss

    optimizer.step(closure)
for handle in handles:
    handle.remove()
losses = losses[:6]
