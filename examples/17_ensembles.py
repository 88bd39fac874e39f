"""Ensembles: independent models, checkpoints and a running average of the weights."""

# %% [markdown]
# **D4 (CS231n, lecture 6), "Evaluation: Model Ensembles": train multiple independent models, at
# test time average their results. "Enjoy 2% extra performance."** And two tricks for one model
# alone: average its checkpoints; keep a running average of the parameters,
# x_test = 0.995·x_test + 0.005·x, and use that for the test.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim, train
from tinygrad_cv.examples.course import Lab

lab = Lab("17_ensembles")

# %% [markdown]
# ## The running average forgets slowly
# It starts at the initial weights. After t steps .995ᵗ of them is left: a half after
# ln ½ / ln .995 = 138.3 steps, and .7 % after 1,000. Here the weight is 1 at first, and then 0.

# %%
weight = nn.Parameter(tg.ones(1, dtype=tg.float64))
model = nn.ParameterList([weight])
average = optim.swa_utils.AveragedModel(model, avg_fn=optim.swa_utils.get_ema_avg_fn(0.995))
average.update_parameters(model)  # the initial weights
nn.init.zeros_(weight)
for _ in range(1000):
    average.update_parameters(model)
left = average.module[0].item()
half_life = 1000 * np.log(0.5) / np.log(left)
lab.compare("share of the initial weights after 1,000 steps", left, expected=(0.0066, 0.0067))
lab.compare("half-life in steps", half_life, deck=138.3, expected=(138.2, 138.4))

# %% [markdown]
# ## Nets
# On the digits nets that are too small, with 6 hidden units; on CIFAR-10 (`--data`) the decks'
# two-layer net, at their pixel scale. Each is trained twice: at a constant rate, as the slide's
# loop does it, and with a rate that falls to 0. At a high constant rate the last weights are noisy.
# (CIFAR-10 takes two minutes.)

# %%
if lab.data is None:
    splits, hidden, std = data.load_dataset("digits"), 6, None
    epochs, batch, rate, momentum = 20, 50, 0.2, 0.9
else:  # as the decks: their search ran without momentum
    splits, hidden, std = lab.images(), 50, 1e-4
    epochs, batch, rate, momentum = 8, 200, 1e-3, 0.0
epochs, members, times = (7, 3, 1) if lab.quick else (epochs, 5, 2 if lab.data is None else 1)
centre = splits.train_images.mean(axis=0)
inputs = (splits.train_images - centre).reshape(len(splits.train_images), -1)
samples = data.TensorDataset(inputs, splits.train_labels)
inputs = (splits.test_images - centre).reshape(len(splits.test_images), -1)
unseen = data.DataLoader(data.TensorDataset(inputs, splits.test_labels), 1000)


def net():
    model = nn.Sequential(nn.Linear(inputs.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, 10))
    for layer in (model[0], model[2]):
        if std is not None:
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
    return model


def accuracy(model):
    return train.Trainer(model, optim.SGD(model.parameters(), lr=0.1)).evaluate(unseen)


def trained(seed, schedule):
    """A model, its running average, and the average of its last three checkpoints."""
    generator = tg.manual_seed(seed)
    model, average, checkpoints = net(), train.MovingAverage(0.995), []

    def keep(trainer):
        if trainer.epoch in (epochs - 1, epochs - 3, epochs - 5):
            checkpoints.append({k: v.clone() for k, v in model.state_dict().items()})

    optimizer = optim.SGD(model.parameters(), lr=rate, momentum=momentum)
    trainer = train.Trainer(model, optimizer, schedule=schedule, compile=True)
    loader = data.DataLoader(samples, batch, shuffle=True, generator=generator)
    trainer.fit(loader, epochs=epochs, progress=False, callbacks=[average, keep])
    mean = net()
    mean.load_state_dict(train.average_checkpoints(checkpoints))
    return model, average.averaged, mean


# %%
WAYS = ("single", "running average", "three checkpoints", "ensemble", "ensemble of scores")
results = {}
for name, schedule in (("constant rate", lambda progress: 1.0), ("falling rate", train.cosine)):
    rows = []
    for k in range(times):
        first = lab.seed + members * k
        every = [trained(seed, schedule) for seed in range(first, first + members)]
        models, averages, means = zip(*every, strict=True)
        rows.append(
            [np.mean([accuracy(model) for model in kind]) for kind in (models, averages, means)]
            + [accuracy(train.Ensemble(models)), accuracy(train.Ensemble(models, "outputs"))]
        )
    results[name] = np.mean(rows, axis=0)
    for way, value in zip(WAYS, results[name], strict=True):
        lab.compare(f"{name}: {way}", value)
    gain = results[name][3] - results[name][0]
    least = 0.02 if lab.data is not None and name == "constant rate" else 0.005
    lab.compare(f"{name}: gain of the ensemble", gain, deck=0.02, expected=(least, 0.2))
gains = results["constant rate"][1:3] - results["constant rate"][0]
lab.compare(
    "constant rate: gain of the two averages", gains, expected=(-0.05 if lab.quick else -0.01, 0.2)
)
lab.note("the averages gain what a falling rate gains too: little is left for them where it falls.")

# %%
figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
for k, (name, values) in enumerate(results.items()):
    places = np.arange(len(WAYS)) + 0.4 * k - 0.2
    bars = axes.bar(places, 100 * values, width=0.38, label=name)
    axes.bar_label(bars, fmt="%.1f", padding=2)
axes.set(xticks=range(len(WAYS)), xticklabels=WAYS, ylabel="test accuracy (%)")
every = 100 * np.concatenate(list(results.values()))
axes.set_ylim(every.min() - 2, every.max() + 1)
figure.legend(loc="outside upper center", ncols=2)
lab.picture(figure, "bars")
lab.end()
