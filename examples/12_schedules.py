"""Schedules: a learning rate that falls, and a momentum that rises."""

# %% [markdown]
# No rate is best all the time: a high one is fast at first, a low one settles. The lectures list
# how it can fall: CS5670, "Learning rate schedule", and CS231n, lecture 6, "Learning rate decay
# over time". Each is a schedule of `optim.lr_scheduler`, which is stepped after each epoch, or
# after each mini-batch where t counts those.

# %%
import math

import numpy as np
from matplotlib.figure import Figure

import tinygrad_cv as tg
from tinygrad_cv import optim
from tinygrad_cv.examples.course import Lab
from tinygrad_cv.optim import lr_scheduler

lab = Lab("12_schedules")


def rate(make, t):
    """The rate at time t of a schedule that begins with the rate 1."""
    optimizer = optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)
    schedule = make(optimizer)
    optimizer.step()
    schedule.step(t)
    return schedule.get_last_lr()[0]


T = 100
schedules = {
    "half every 20 epochs": lambda o: lr_scheduler.StepLR(o, 20, 0.5),
    ".97 an epoch": lambda o: lr_scheduler.ExponentialLR(o, 0.97),
    "exp(-kt), k = .05": lambda o: lr_scheduler.ExponentialLR(o, math.exp(-0.05)),
    "1/(1 + kt), k = .05": lambda o: lr_scheduler.InverseTimeLR(o, 0.05),
    "sqrt(1 - t/T)": lambda o: lr_scheduler.PolynomialLR(o, T, 0.5),
    "1/t": lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / max(1, t)),
    "exp(-t)": lambda o: lr_scheduler.ExponentialLR(o, math.exp(-1)),
    ".1 every 50,000 batches": lambda o: lr_scheduler.StepLR(o, 50_000, 0.1),
}
for name, t, formula in (
    ("half every 20 epochs", 59, 0.25),
    (".97 an epoch", 10, 0.97**10),
    ("exp(-kt), k = .05", 20, math.exp(-1)),
    ("1/(1 + kt), k = .05", 20, 0.5),
    ("sqrt(1 - t/T)", 50, math.sqrt(1 - 0.5)),
    ("1/t", 4, 0.25),
    ("exp(-t)", 3, math.exp(-3)),
    (".1 every 50,000 batches", 49_999, 1.0),
    (".1 every 50,000 batches", 150_000, 0.001),
):
    expected = (formula - 1e-9, formula + 1e-9)
    lab.compare(f"{name}: at t = {t:,}", rate(schedules[name], t), f"{formula:.4f}", expected)

# %% [markdown]
# ## Why it should fall
# Mini-batches make the gradient noisy. At a constant rate the loss of a bowl ends where the noise
# holds it; with a rate that falls it goes on falling. With gradients w + noise of variance 1 a step
# is w ← (1 - lr) w - lr · noise, so w² ends at (1 - lr)² w² + lr² = w², which is lr / (2 - lr).


# %%
def noisy(make, steps=400, bowls=200):
    """The mean loss of many bowls ½ w² from w = 1, whose gradients are w + noise."""
    noise = np.random.default_rng(lab.seed)
    w = tg.ones(bowls, dtype="float64", requires_grad=True)
    optimizer = optim.SGD([w], lr=0.5)
    schedule, losses = make(optimizer), []
    for _ in range(steps):
        losses.append(w.square().mean().item() / 2)
        w.grad = w.detach() + tg.tensor(noise.normal(size=bowls))
        optimizer.step()
        schedule.step()
    return np.array(losses)


kinds = {
    "constant": lambda o: lr_scheduler.LambdaLR(o, lambda t: 1.0),
    "half every 80 steps": lambda o: lr_scheduler.StepLR(o, 80, 0.5),
    "exp(-kt), k = .01": lambda o: lr_scheduler.ExponentialLR(o, math.exp(-0.01)),
    "1/(1 + kt), k = .5": lambda o: lr_scheduler.InverseTimeLR(o, 0.5),
}
losses = {name: noisy(make) for name, make in kinds.items()}
floor = losses["constant"][100:].mean()  # ½ · .5 / (2 - .5) in theory
lab.compare("noise floor at lr .5; in theory 1/6", floor, expected=(0.15, 0.18))
for name in list(kinds)[1:]:
    gain = losses["constant"][-50:].mean() / losses[name][-50:].mean()
    lab.compare(f"{name}: so much lower at the end", gain, expected=(10, 1000))

# %% [markdown]
# ## Momentum under a schedule
# The deck's velocity v = μv - lr·dx contains the rate, PyTorch's does not: it is lr·v that is
# subtracted. They are the same while the rate stays. When it falls, the deck's v goes on with what
# it took up at the old rate. `SGD(velocity_holds_lr=True)` is the deck's. μ itself may be annealed,
# "e.g. from 0.5 -> 0.99" (CS231n).


# %%
def descend(make, holds=True, steps=30):
    """The places of the bowl ½ w² that SGD with momentum comes by from w = 1."""
    w = tg.ones(1, dtype="float64", requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1, momentum=0.5, velocity_holds_lr=holds)
    schedule, places = make(optimizer), []
    for _ in range(steps):
        optimizer.zero_grad()
        (w**2 / 2).sum().backward()
        optimizer.step()
        schedule.step()
        places.append(w.item())
    return np.array(places)


def deck(lr=lambda t: 0.1, mu=lambda t: 0.5, steps=30):
    """The same by the deck's lines."""
    x, v, places = 1.0, 0.0, []
    for t in range(steps):
        v = mu(t) * v - lr(t) * x
        x += v
        places.append(x)
    return np.array(places)


def halved(o):
    return lr_scheduler.StepLR(o, 3, 0.5)


def anneal(t):
    return min(0.99, 0.5 + 0.05 * t)


halves = deck(lr=lambda t: 0.1 * 0.5 ** (t // 3))
annealed = descend(lambda o: lr_scheduler.LambdaMomentum(o, anneal)) - deck(mu=anneal)
for what, difference, expected in (
    ("constant rate: PyTorch's", descend(kinds["constant"], False) - deck(), (0, 1e-12)),
    ("halved rate: ours", descend(halved) - halves, (0, 1e-12)),
    ("halved rate: PyTorch's", descend(halved, False) - halves, (0.01, 1)),
    ("annealed momentum:", annealed, (0, 1e-12)),
):
    lab.compare(f"{what} off the deck's", np.abs(difference).max(), expected=expected)

# %%
figure = Figure(figsize=(11, 4.2), layout="constrained")
left, right = figure.subplots(1, 2)
for name, make in list(schedules.items())[:-1]:
    left.plot(range(T + 1), [rate(make, t) for t in range(T + 1)], label=name)
left.set(title="learning rate", xlabel="t (epochs)", ylabel="share of the first rate")
for name, each in losses.items():
    right.plot(each, label=name)
right.set(title="noisy gradients", xlabel="step", ylabel="mean loss", yscale="log")
for axes in (left, right):
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
lab.picture(figure, "curves")
lab.end()
