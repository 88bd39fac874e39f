"""Optimizers: the deck's update lines, and a race down a bowl."""

# %% [markdown]
# CS231n, lecture 6, slides "Momentum update" to "Adam update": each optimizer is two or three lines
# of NumPy. Here they stand as the slides print them, beside the optimizers of `tinygrad_cv.optim`,
# which must walk the same way; then all of them race down a loss that is "steep vertically but
# shallow horizontally".

# %%
from functools import partial
from types import SimpleNamespace

import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import optim, viz
from tinygrad_cv.examples.course import Lab

lab = Lab("11_optimizers")
START = [-4.0, 1.0]


def bowl(x, y):
    """½ (x² + 50 y²): its Hessian is diag(1, 50)."""
    return (x**2 + 50 * y**2) / 2


def walk(make, steps=200):
    """The places that an optimizer comes by, until the loss is at most 1e-3."""
    w = tg.tensor(START, dtype="float64", requires_grad=True)
    optimizer, places = make([w]), [w.tolist()]
    while bowl(*w) > 1e-3 and len(places) <= steps:
        optimizer.zero_grad()
        bowl(*w).backward()
        optimizer.step()
        places.append(w.tolist())
    return np.array(places)


# %% [markdown]
# ## The lines of the slides
# `s` keeps what the slide keeps (v, cache, m), all 0 at first. The velocity holds the learning
# rate, which PyTorch's does not: the same, while the rate stays (lab 12). The slides add 1e-7 to
# the root, outside of it, as ours do; only PyTorch's defaults differ: 1e-10 for Adagrad, 1e-8 else,
# and a decay rate of .99 for RMSProp.


# %%
def sgd(x, dx, s, lr=0.035):
    x += -lr * dx


def momentum(x, dx, s, lr=0.01, mu=0.9):
    s.v = mu * s.v - lr * dx  # integrate velocity
    x += s.v  # integrate position


def nesterov(x, dx, s, lr=0.01, mu=0.9):
    v_prev = s.v
    s.v = mu * s.v - lr * dx
    x += -mu * v_prev + (1 + mu) * s.v


def adagrad(x, dx, s, lr=2.0):
    s.cache += dx**2
    x += -lr * dx / (np.sqrt(s.cache) + 1e-7)


def rmsprop(x, dx, s, lr=0.1, decay_rate=0.9):
    s.cache = decay_rate * s.cache + (1 - decay_rate) * dx**2
    x += -lr * dx / (np.sqrt(s.cache) + 1e-7)


def adam_incomplete(x, dx, s, lr=0.3, beta1=0.9, beta2=0.999):
    s.m = beta1 * s.m + (1 - beta1) * dx  # update first moment
    s.v = beta2 * s.v + (1 - beta2) * (dx**2)  # update second moment
    x += -lr * s.m / (np.sqrt(s.v) + 1e-7)


def adam(x, dx, s, lr=0.3, beta1=0.9, beta2=0.999):
    s.m = beta1 * s.m + (1 - beta1) * dx
    s.v = beta2 * s.v + (1 - beta2) * (dx**2)
    mb = s.m / (1 - beta1**s.t)  # correct bias
    vb = s.v / (1 - beta2**s.t)
    x += -lr * mb / (np.sqrt(vb) + 1e-7)


race = {
    "SGD": (sgd, lambda w, lr=0.035: optim.SGD(w, lr)),
    "momentum": (momentum, lambda w, lr=0.01: optim.SGD(w, lr, 0.9)),
    "Nesterov": (nesterov, lambda w, lr=0.01: optim.SGD(w, lr, 0.9, nesterov=True)),
    "Adagrad": (adagrad, lambda w, lr=2.0: optim.Adagrad(w, lr, eps=1e-7)),
    "RMSProp": (rmsprop, lambda w, lr=0.1: optim.RMSprop(w, lr, alpha=0.9, eps=1e-7)),
    "incomplete Adam": (
        adam_incomplete,
        lambda w, lr=0.3: optim.Adam(w, lr, eps=1e-7, bias_correction=False),
    ),
    "Adam": (adam, lambda w, lr=0.3: optim.Adam(w, lr, eps=1e-7)),
}
ways = {}
for name, (lines, ours) in race.items():
    ways[name] = walk(ours)
    x, s = np.array(START), SimpleNamespace(v=0.0, m=0.0, cache=0.0, t=0)
    theirs = [x.copy()]
    for s.t in range(1, len(ways[name])):
        lines(x, x * [1, 50], s)
        theirs.append(x.copy())
    off = np.abs(ways[name] - theirs).max()
    lab.compare(f"{name}: off the deck's lines by", off, expected=(0, 1e-12))

# %% [markdown]
# Nesterov's method has two forms: the gradient at the place ahead, θ + μv, or the slides' rewrite,
# whose variable is that place, φ = θ + μv.

# %%
theta, v = np.array(START), 0.0
ahead = [theta + 0.9 * v]
for _ in ways["Nesterov"][1:]:
    v = 0.9 * v - 0.01 * (theta + 0.9 * v) * [1, 50]
    theta = theta + v
    ahead.append(theta + 0.9 * v)
off = np.abs(ways["Nesterov"] - ahead).max()
lab.compare("Nesterov: φ off θ + μv by", off, expected=(0, 1e-12))

# %% [markdown]
# ## The race
# How many steps until the loss, 33 at first, is at most 1e-3? Adagrad's rate can be large, for what
# is divided by the root of all squares so far is small soon. Newton's step θ - H⁻¹∇J, which knows
# the curvature, needs no rate and lands in the minimum (lab 13).

# %%
w = tg.tensor(START, dtype="float64")
slopes = tg.func.grad(lambda w: bowl(*w))(w)
step = tg.linalg.solve(tg.func.hessian(lambda w: bowl(*w))(w), slopes)
ways["Newton"] = np.array([START, (w - step).tolist()])
for (name, way), steps in zip(ways.items(), (127, 61, 24, 8, 55, 74, 61, 1), strict=True):
    lab.compare(f"steps of {name}", len(way) - 1, expected=(steps, steps))
lab.compare("Newton ends with the loss", bowl(*tg.tensor(ways["Newton"][-1])), expected=(0, 1e-24))
lab.compare("momentum overshoots to x =", ways["momentum"][:, 0].max(), expected=(0.5, 4))
ways["SGD, lr .041"] = walk(lambda w: optim.SGD(w, 0.041))
growth = ways["SGD, lr .041"][-1, 1] / ways["SGD, lr .041"][-2, 1]
lab.compare("SGD at .041: y's factor, 1 - 50 lr", growth, expected=(-1.0501, -1.0499))

# %% [markdown]
# Averages that begin at 0 are too small at first, and the root most of all: the first step of
# RMSProp is lr dx / (√.1 |dx|), that of the incomplete Adam lr .1 dx / (√.001 |dx|), both 3.16 lr.

# %%
sizes = {"Adagrad": 0.01, "Adam": 0.01}
sizes |= {"RMSProp": 0.01 / 0.1**0.5, "incomplete Adam": 0.01 * 0.1 / 0.001**0.5}
for name, size in sizes.items():
    first = np.abs(walk(partial(race[name][1], lr=0.01), steps=1)[1] - START)
    lab.compare(f"{name}: first step at lr .01", first[0], expected=(size - 1e-7, size + 1e-7))

shown = {name: ways[name] for name in ways if name not in ("incomplete Adam", "SGD, lr .041")}
lab.picture(viz.contours(bowl, shown, x=(-4.6, 2.6), y=(-1.4, 1.4)), "trajectories")
lab.end()
