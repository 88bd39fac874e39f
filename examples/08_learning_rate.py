"""The learning rate: too low, too high, much too high, and two logs to read."""

# %% [markdown]
# **D0 (Yashunin), "Start with small regularization and find learning rate that makes the loss go
# down"; D1 (Snavely), "(4) Find a learning rate"; D2 (He), the same; D3 (Solberg), "Study outputs
# during training"; D4 (CS231n, lecture 6), "babysitting the learning process".**
#
# A net with 50 hidden units on 3x32x32 images, weights 0.0001 · randn, as in all decks: its first
# cost is ln 10 = 2.3026. Their rates are for pixels 0 to 255 with the mean image subtracted: at
# pixels 0 to 1 the same rates do nothing. The embedded digits, enlarged, have that scale too.
# A "cost" of the decks is that of the last batch, with regularization, and no mean over an epoch.

# %%
import math

import tinygrad_cv as tg
from tinygrad_cv import viz
from tinygrad_cv.examples.course import ClassifierTrainer, Lab, init_two_layer_model, two_layer_net

lab = Lab("08_learning_rate")
images = lab.images()
rows, held_back = len(images.train_labels), 1000 if lab.data else 143
X, y = tg.tensor(images.train_images).reshape(rows, -1), tg.tensor(images.train_labels)
X, X_val, y, y_val = X[:-held_back], X[-held_back:], y[:-held_back], y[-held_back:]
mean = X.mean(dim=0)  # of the training part
X, X_val = X - mean, X_val - mean
steps = len(X) // 100  # of an epoch


def train(rate, epochs, reg=1e-6, batch=100, decay=1.0, stop=None):
    """The model, and the costs and accuracies of a run of the decks' code."""
    generator = tg.manual_seed(lab.seed)
    model = init_two_layer_model(3072, 50, 10, generator=generator)
    _, stats = ClassifierTrainer().train(
        X, y, X_val, y_val, model, two_layer_net, num_epochs=epochs, reg=reg, learning_rate=rate,
        learning_rate_decay=decay, batch_size=batch, generator=generator, stop=stop,
    )  # fmt: skip
    return stats


# %% [markdown]
# ## 1e-6: the loss barely changes
# "Learning rate is probably too low." But the accuracy doubles: softmax spreads the probabilities
# evenly, and a tiny shift in the right direction is enough for the highest score to be right.

# %%
epochs = 10 if lab.data else 8 if lab.quick else 100
low = train(1e-6, epochs)
cost, val = low["loss_history"], low["val_acc_history"]
lab.compare("1e-6: first cost", cost[0], "2.302576", (2.3024, 2.3027))
lab.compare("1e-6: last cost", cost[-1], "2.302420", (cost[0] - 5e-4, cost[0] + 1e-4))
lab.compare("1e-6: first validation accuracy", val[0], "0.103", (0, 0.2))
risen = (val[0] + (0 if lab.quick else 0.03), 0.6)
lab.compare("1e-6: last validation accuracy", val[-1], "0.192", risen)

# %% [markdown]
# ## 1e6: NaN
# "Cost: NaN almost always means high learning rate." All scores are NaN then, the highest is said
# to be the first, and the accuracy is the share of class 0: that is what the deck's 0.087 is.
# `detect_anomaly` says where it began.

# %%
high = train(1e6, 2)
lab.compare("1e6: NaN in the end", math.isnan(high["loss_history"][-1]), "nan", (1, 1))
zeros = (y_val == 0).float().mean().item()
lab.compare("1e6: validation accuracy", high["val_acc_history"][-1], "0.087", (zeros, zeros))
try:
    with tg.autograd.detect_anomaly():
        train(1e6, 1)
except RuntimeError as error:
    lab.note(f"it began where {error.anomaly}.")

# %% [markdown]
# ## 3e-3: still too high
# It learns for some epochs, then the cost explodes. The decks saw inf, as they took log(softmax) in
# two steps; a stable one shows finite numbers of any size first. "If the cost is ever > 3 *
# original cost, break out early" fires sooner than a look for inf. Digits bear a little more: 1e-2.

# %%
rate = 3e-3 if lab.data else 1e-2
exploding = train(rate, 6 if lab.quick else 10)
cost = exploding["loss_history"]
first = next(k for k, loss in enumerate(cost) if not loss <= 3 * cost[0])
late = next((k for k, loss in enumerate(cost) if not math.isfinite(loss)), len(cost))
for epoch, deck in enumerate((2.186654, 2.176230, 1.942257, 1.827868, "inf", "inf")):
    lab.compare(f"{rate:g}: cost after epoch {epoch + 1}", cost[steps * (epoch + 1) - 1], deck)
if not lab.data:
    lab.note(
        "The decks' costs are those of rate 3e-3 on CIFAR-10; digits burst at 1e-2, and sooner."
    )
lab.compare(f"{rate:g}: step at which the 3x rule fires", first, expected=(1, len(cost) - 1))
lab.note(
    f"the first cost that is not finite: {late if late < len(cost) else 'none'} of {len(cost)}."
)
stopped = train(rate, 10, stop=lambda loss: not loss <= 3 * cost[0])
lab.compare(
    "steps made with the 3x rule", len(stopped["loss_history"]), None, (first + 1, first + 1)
)

# %% [markdown]
# ## Four rates in one plot
# "For very small learning rates, the loss decreases linearly and slowly. Why linearly?" Since the
# weights hardly move, each step meets the same slope. Good ones look more exponential.

# %%
runs = {f"{rate:g}": exploding["loss_history"]}
for lower in (1e-3, 1e-4, 1e-5):
    runs[f"{lower:g}"] = train(lower, 2 if lab.data or lab.quick else 40)["loss_history"]
shown = min(map(len, runs.values())) if lab.data else None
lab.picture(viz.curves(steps={name: run[:shown] for name, run in runs.items()}), "four_rates")
lab.compare("1e-3: last cost below that of 1e-4", runs["0.001"][-1], None, (0, runs["0.0001"][-1]))

# %% [markdown]
# ## Solberg's two logs
# 1,000 iterations with batches of 200; the rate times .95 each epoch of CIFAR-10, 245 iterations.
# The first numbers say which objective it was: 2.303033 = ln 10 + ½ · 0.6 · ΣW², and 2.302811 the
# same with 0.3, though the slide has λ/2m, which would add 1e-8. E ΣW² = 1e-8 · (3072 + 10) · 50.

# %%
iterations = 30 if lab.quick else 1000
per_epoch = max(1, len(X) // 200)
squares = 1e-8 * (3072 + 10) * 50
logs = {
    (0.05, 0.6): [2.303033, "nan", "nan"],
    (1e-3, 0.3): [2.302811, 1.987349, 1.809840, 1.734420, 1.615647,
                  1.596564, 1.730853, 1.515625, 1.427454, 1.501289],
}  # fmt: skip
for (rate, reg), deck in logs.items():
    epochs = math.ceil(iterations / per_epoch)
    log = train(rate, epochs, reg, 200, 0.95 ** (per_epoch / 245))["loss_history"]
    objective = math.log(10) + reg / 2 * squares
    for k, each in enumerate(deck[: math.ceil(iterations / 100)]):
        bounds = (objective - 5e-5, objective + 5e-5) if k == 0 else None
        if lab.data and rate == 1e-3 and k:
            bounds = (each - 0.25, each + 0.25)
        lab.compare(f"rate {rate:g}, reg {reg:g}: iteration {100 * k}", log[100 * k], each, bounds)
    sound = math.isfinite(log[-1])
    lab.compare(f"rate {rate:g}, reg {reg:g}: finite at the end", sound, None, (rate < 0.01,) * 2)
if not lab.data:
    lab.note(
        "Digits are easier than CIFAR-10: the first cost and the NaN agree, the others cannot."
    )
lab.end()
