"""Activation functions: where they saturate, why inputs are centred, and how units die."""

# %% [markdown]
# # Activation functions
#
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


look = [-10.0, 0.0, 10.0]
lab.compare(
    "σ' at -10, 0, 10",
    slopes(tg.sigmoid, look),
    expected=([4.53e-5, 0.25] * 2, [4.54e-5, 0.25] * 2),
)
lab.compare(
    "tanh' at -10, 0, 10", slopes(tg.tanh, look), expected=([8.2e-9, 1] * 2, [8.3e-9, 1] * 2)
)
lab.compare("ReLU' at -10, 0, 10", slopes(tg.relu, look), expected=([0, 0, 1], [0, 0, 1]))
y = tg.tanh(tg.tensor(10.0, dtype="float32"))
lab.compare("1 - tanh²(10) in float32", 1 - y * y, expected=(0, 0))
lab.compare("tanh'(10) in float32", slopes(tg.tanh, look, "float32")[2], expected=(8.2e-9, 8.3e-9))
x = tg.linspace(-5, 5, 101, dtype="float64")
lab.compare(
    "|tanh x - (2σ(2x) - 1)|", (x.tanh() - 2 * (2 * x).sigmoid() + 1).abs().max(), 0, (0, 1e-15)
)

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
for panel, (name, function) in zip(axes.flat, functions.items(), strict=False):
    panel.plot(grid, function(tg.tensor(grid)).detach().numpy(), linewidth=2.5, label="f(x)")
    panel.plot(grid, slopes(function, grid), "--", linewidth=2, label="f'(x)")
    panel.set_title(name, fontsize=15)
    panel.set_ylim(-1.5, 3)
    panel.tick_params(labelsize=12)
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
for name, inputs, expected in (("pixels ≥ 0", pixels, (1, 1)), ("centred", centred, (0, 0.01))):
    w = (tg.randn(64) / 8).repeat(len(inputs), 1).requires_grad_()  # a copy for each example
    loss = ((tg.sigmoid((inputs * w).sum(1)) - 1) ** 2).sum()
    (gradients,) = tg.grad(loss, w)
    one_sign = (gradients >= 0).all(1) | (gradients <= 0).all(1)
    deck = "always" if inputs is pixels else None
    lab.compare(f"gradients of one sign, {name}", one_sign.float().mean(), deck, expected)

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
counts = [sum(p.numel() for p in layer.parameters()) for layer in (pieces, nn.Linear(64, 100))]
lab.compare("parameters, maxout against ReLU", counts[0] / counts[1], "at least 2", (2, 2))

# %% [markdown]
# ## "Be careful with the learning rate": units that die
# Solberg: a ReLU "can sometimes 'die' during training"; "the gradients will be 0 from that point";
# "monitor the fraction of 'dead' units". A unit is dead if no image of the whole training set gives
# it a gradient: in a single batch a living one may be silent too.


# %%
def train(activation, rate, steps, batch=32, until=0.0):
    """A net of 100 hidden units after some steps, or as soon as the loss is low, and the steps."""
    generator = tg.manual_seed(lab.seed)
    units = 200 if activation is nn.Maxout else 100
    net = nn.Sequential(nn.Linear(64, units), activation(), nn.Linear(100, 10))
    optimizer = optim.SGD(net.parameters(), lr=rate)
    for step in range(steps):
        rows = tg.randint(len(centred), (batch,), generator=generator) if batch else slice(None)
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


runs = [("ReLU", nn.ReLU, 0.1), ("ReLU", nn.ReLU, 1.0), ("ReLU", nn.ReLU, 10.0)]
runs += [("leaky, .01", nn.LeakyReLU, 10.0), ("leaky, .1", lambda: nn.LeakyReLU(0.1), 10.0)]
runs += [("PReLU", nn.PReLU, 10.0), ("ELU", nn.ELU, 10.0), ("maxout", nn.Maxout, 10.0)]
for name, activation, rate in runs:
    net, _ = train(activation, rate, steps=100)
    dies = activation is nn.ReLU and rate == 10
    lab.compare(
        f"dead units, {name}, rate {rate:g}", dead(net), expected=(0.5, 0.95) if dies else (0, 0.05)
    )
    lab.compare(
        f"  its accuracy, {name}, rate {rate:g}", (net(centred).argmax(1) == labels).float().mean()
    )
lab.note("Over several seeds .70 to .77 of the ReLUs die at rate 10, and none at 1. That none dies")
lab.note("does not mean that a net learns well: 10 is too high a rate for most of them.")

# %% [markdown]
# ## "Converges much faster than sigmoid/tanh in practice (e.g. 6x)"
# The factor is AlexNet's, of a deep ConvNet against tanh on CIFAR-10.

# %%
until = 1.0 if lab.quick else 0.3
steps = [train(f, 1.0, 1000, batch=0, until=until)[1] for f in (nn.ReLU, nn.Tanh, nn.Sigmoid)]
lab.compare("steps of tanh against ReLU", steps[1] / steps[0], 6, (0.5, 2))
lab.compare("steps of sigmoid against ReLU", steps[2] / steps[0], 6, (2, 10))
lab.note("Not reproducible on the digits, with one hidden layer: tanh is as fast as ReLU.")
lab.end()
