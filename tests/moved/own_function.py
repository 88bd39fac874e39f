"""autograd.Function: a ReLU with its rule, a straight-through estimator, a function of two."""

import numpy as np
import torch
from torch.autograd import Function


class MyReLU(Function):
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return input.clamp(min=0)

    @staticmethod
    def backward(ctx, grad_output):
        (input,) = ctx.saved_tensors
        grad_input = grad_output.clone()
        grad_input[input < 0] = 0
        return grad_input


class Sign(Function):
    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, g):
        return g


class Scaled(Function):
    @staticmethod
    def forward(ctx, x, w, power):
        ctx.power = power
        ctx.save_for_backward(x, w)
        return x * w**power

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        gx = gw = None
        if ctx.needs_input_grad[0]:
            gx = g * w**ctx.power
        if ctx.needs_input_grad[1]:
            gw = (g * x * ctx.power * w ** (ctx.power - 1)).sum(0)
        return gx, gw, None


rng = np.random.default_rng(8)
x = torch.from_numpy(rng.standard_normal((6, 4)))
y = torch.from_numpy(rng.standard_normal((6, 2)))
w1 = torch.from_numpy(rng.standard_normal((4, 5))).requires_grad_(True)
w2 = torch.from_numpy(rng.standard_normal((5, 2))).requires_grad_(True)
s = torch.full((2,), 1.5, dtype=torch.float64, requires_grad=True)
losses = []
for _ in range(5):
    hidden = MyReLU.apply(x.mm(w1))
    out = Scaled.apply((hidden + 0.1 * Sign.apply(hidden)).mm(w2), s, 2)
    loss = (out - y).pow(2).sum()
    loss.backward()
    with torch.no_grad():
        for p in (w1, w2, s):
            p -= 1e-3 * p.grad
            p.grad.zero_()
    losses.append(loss.item())
