"""Activation functions: where they saturate, why inputs are centred, and how units die."""

# %% [markdown]
# Every deck compares them (Yashunin's "Тренировка нейронных сетей", Solberg's "Activation
# functions", the opening of CS231n's lecture 6): the sigmoid "kills gradients" where it saturates
# and is not zero-centred; tanh is, but saturates too; ReLU does not for x > 0 and may die; leaky
# ReLU, PReLU, ELU and maxout mend that. It runs on the digits; `--data` changes nothing here.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim
from tinygrad_cv.examples.course import Lab

lab = Lab("03_activations")


# %% [markdown]
# ## "What happens with gradients when x = -10? When x = 0? When x = 10?"
# σ' = σ(1 - σ) and tanh' = 1 - tanh². In float32 tanh(10) rounds to 1, and 1 - tanh² to 0. The rule
# of `tg.tanh` is 4σ(2x)σ(-2x), which loses nothing; look at a rule of your own in float64.


# %%
def slopes(function, at, dtype="float64"):
    x = tg.tensor(at, dtype=dtype, requires_grad=True)
    return tg.grad(function(x).sum(), x)[0].numpy()


checks = {"σ": (tg.sigmoid, (4.5396e-5, 0.25, 4.5396e-5))}
checks |= {"tanh": (tg.tanh, (8.2446e-9, 1, 8.2446e-9)), "ReLU": (tg.relu, (0, 0, 1))}
for name, (function, theory) in checks.items():
    for x, slope, likely in zip((-10, 0, 10), slopes(function, [-10, 0, 10]), theory, strict=True):
        lab.compare(f"{name}'({x})", slope, expected=(0.9999 * likely, 1.0001 * likely))
lost = 1 - tg.tanh(tg.tensor(10.0, dtype="float32")) ** 2
lab.compare("1 - tanh²(10) in float32", lost, expected=(0, 0))
lab.compare("tanh'(10) in float32", slopes(tg.tanh, [10], "float32")[0], expected=(8.2e-9, 8.3e-9))
x = tg.linspace(-5, 5, 101, dtype="float64")
apart = (tg.tanh(x) - (2 * tg.sigmoid(2 * x) - 1)).abs().max()
lab.compare("|tanh x - (2σ(2x) - 1)|", apart, 0, (0, 1e-15))

# %% [markdown]
# ## The functions and their slopes
# Leaky ReLU has the slope .01 on the left with Yashunin and Solberg, .1 in CS231n (drawn). That of
# PReLU is learned, from .25 on. Maxout is any convex function of straight lines, here max(x, -x/2).

# %%
functions = {
    "sigmoid": tg.sigmoid,
    "tanh": tg.tanh,
    "ReLU": tg.relu,
    "leaky ReLU, .1": nn.LeakyReLU(0.1),
    "PReLU": nn.PReLU(dtype="float64"),
    "ELU": nn.ELU(),
    "maxout": lambda x: tg.maxout(tg.stack([x, -x / 2], 1), 2).flatten(),
}
grid = np.linspace(-5, 5, 401)
figure, axes = plt.subplots(2, 4, figsize=(11, 5.4), layout="constrained", sharex=True, sharey=True)
axes[0, 0].set_ylim(-1.5, 3)
for panel, (name, function) in zip(axes.flat, functions.items(), strict=False):
    panel.plot(grid, function(tg.tensor(grid)).detach().numpy(), linewidth=2.5, label="f(x)")
    panel.plot(grid, slopes(function, grid), "--", linewidth=2, label="f'(x)")
    panel.set_title(name, fontsize=15)
    panel.grid(color="0.9")
axes[1, 3].axis("off")
axes[1, 3].legend(*axes[0, 0].get_legend_handles_labels(), loc="center", fontsize=17, frameon=False)
lab.picture(figure, "functions")

# %% [markdown]
# ## The gradients on w: "always all positive or all negative"
# For one example ∂L/∂w = x · ∂L/∂f: if all of x is positive, all of it has the sign of ∂L/∂f, and
# the steps zigzag. "This is also why you want zero-mean data!"

# %%
digits = data.load_dataset("digits")
pixels, labels = tg.tensor(digits.train_images).flatten(1), tg.tensor(digits.train_labels)
centred = pixels - pixels.mean(0)
w = tg.randn(64) / 8
cases = [("pixels ≥ 0", pixels, "always", (1, 1)), ("centred", centred, None, (0, 0.01))]
for name, inputs, deck, likely in cases:
    f = tg.tensor(inputs @ w, requires_grad=True)
    (df,) = tg.grad(((tg.sigmoid(f) - 1) ** 2).sum(), f)
    dw = inputs * df[:, None]  # a row for each example
    one_sign = (dw >= 0).all(1) | (dw <= 0).all(1)
    lab.compare(f"gradients of one sign, {name}", one_sign.float().mean(), deck, likely)

# %% [markdown]
# ## Maxout "generalizes ReLU and Leaky ReLU", and doubles the parameters

# %%
pieces = nn.Sequential(nn.Linear(64, 200), nn.Maxout(2))
w1, b1 = pieces[0].weight[::2].detach(), pieces[0].bias[::2].detach()
for name, slope in (("ReLU", 0.0), ("leaky ReLU", 0.1)):
    with tg.no_grad():  # w2 = slope · w1
        pieces[0].weight[1::2], pieces[0].bias[1::2] = slope * w1, slope * b1
    difference = pieces(centred) - nn.LeakyReLU(slope)(centred @ w1.T + b1)
    lab.compare(f"|maxout - {name}|", difference.abs().max(), 0, (0, 1e-5))
ratio = pieces[0].weight.numel() / nn.Linear(64, 100).weight.numel()
lab.compare("parameters, maxout against ReLU", ratio, "at least 2", (2, 2))

# %% [markdown]
# ## "Be careful with the learning rate": units that die
# Solberg: a ReLU "can sometimes 'die' during training"; "the gradients will be 0 from that point";
# "monitor the fraction of 'dead' units". A unit is dead if no image of the whole training set gives
# it a gradient: in a single batch a living one may be silent too.


# %%
def train(activation, rate, steps, batch=32, until=0.0):
    """A net of 100 hidden units after some steps, or as soon as the loss is low, and the steps."""
    tg.manual_seed(lab.seed)
    pieces = 200 if activation is nn.Maxout else 100  # two a unit, or one
    net = nn.Sequential(nn.Linear(64, pieces), activation(), nn.Linear(100, 10))
    optimizer = optim.SGD(net.parameters(), lr=rate)
    for step in range(steps):
        rows = tg.randint(len(centred), (batch,)) if batch else slice(None)
        loss = tg.cross_entropy(net(centred[rows]), labels[rows])
        if loss.item() < until:
            return net, step
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net, steps


def dead(net):
    """The share of hidden units without a gradient, over the whole training set."""
    z = net[0](centred).detach().requires_grad_()
    slope = tg.grad(net[1](z).sum(), z)[0].reshape(len(z), 100, -1)
    return (slope == 0).all(2).all(0).float().mean()


runs = [("ReLU", nn.ReLU, rate) for rate in (0.1, 1.0, 10.0)]
runs += [("leaky, .01", nn.LeakyReLU, 10.0), ("leaky, .1", lambda: nn.LeakyReLU(0.1), 10.0)]
runs += [("PReLU", nn.PReLU, 10.0), ("ELU", nn.ELU, 10.0), ("maxout", nn.Maxout, 10.0)]
for name, activation, rate in runs:
    net, _ = train(activation, rate, steps=100)
    likely = (0.5, 0.95) if (name, rate) == ("ReLU", 10) else (0, 0.05)
    lab.compare(f"dead units, {name}, rate {rate:g}", dead(net), expected=likely)
    right = net(centred).argmax(1) == labels
    lab.compare(f"  accuracy, {name}, rate {rate:g}", right.float().mean())
lab.note("Over several seeds .70 to .77 of the ReLUs die at rate 10, and none at 1. That none dies")
lab.note("does not mean that a net learns well: 10 is too high a rate for most of them.")

# %% [markdown]
# ## "Converges much faster than sigmoid/tanh in practice (e.g. 6x)"
# The factor is AlexNet's, of a deep ConvNet against tanh on CIFAR-10.

# %%
until = 1.0 if lab.quick else 0.3
relu, tanh, sigmoid = (train(f, 1.0, 1000, 0, until)[1] for f in (nn.ReLU, nn.Tanh, nn.Sigmoid))
lab.compare("steps of tanh against ReLU", tanh / relu, 6, (0.5, 2))
lab.compare("steps of sigmoid against ReLU", sigmoid / relu, 6, (2, 10))
lab.note("Not reproducible on the digits, with one hidden layer: tanh is as fast as ReLU.")
lab.end()
