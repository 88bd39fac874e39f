"""AlexNet: its sizes, its 61 million parameters, and a small twin that learns."""

# %% [markdown]
# **D1 (Snavely, CS5670, lecture 26), "Example: AlexNet [Krizhevsky 2012]", "Dropout: Case study"**
#
# The deck shows the net as a figure: "max" is max pooling, "norm" local response normalization,
# "full" fully connected; dropout stands before the fully connected layers and nowhere else. The
# table of sizes is that of CS231n's notes, the parameters those of the paper.

# %%
from copy import deepcopy

from matplotlib.figure import Figure

import tinygrad_cv as tg
from tinygrad_cv import data, models, nn, optim, train, viz
from tinygrad_cv.examples.course import Lab

lab = Lab("16_alexnet")
generator = tg.manual_seed(lab.seed)

# %% [markdown]
# ## Sizes
# A window of k moved by s over w + 2p pixels fits ⌊(w + 2p − k)/s⌋ + 1 times. The first layer makes
# 55 of 224 pixels with a padding of 2, which the paper leaves out (some say: of 227 pixels).

# %%
CONV, POOL, FULL = "conv", "pool", "full"
LAYERS = [  # kind, from, to, kernel, stride, padding, groups as the net was spread over two GPUs
    (CONV, 3, 96, 11, 4, 2, 1), (POOL, 96, 96, 3, 2, 0, 1),
    (CONV, 96, 256, 5, 1, 2, 2), (POOL, 256, 256, 3, 2, 0, 1),
    (CONV, 256, 384, 3, 1, 1, 1), (CONV, 384, 384, 3, 1, 1, 2),
    (CONV, 384, 256, 3, 1, 1, 2), (POOL, 256, 256, 3, 2, 0, 1),
    (FULL, 256 * 6 * 6, 4096, 1, 1, 0, 1), (FULL, 4096, 4096, 1, 1, 0, 1),
    (FULL, 4096, 1000, 1, 1, 0, 1),
]  # fmt: skip
sizes, width = [], 224
for kind, _, _, k, s, p, _ in LAYERS:
    if kind != FULL:
        width = (width + 2 * p - k) // s + 1
        sizes.append(width)
table = [55, 27, 27, 13, 13, 13, 13, 6]
lab.compare("size after layer", sizes, expected=(table, table))

# %% [markdown]
# ## Parameters, and where the work is
# A filter sees the channels of its group alone: 60,965,224 parameters in all, or 62,378,344 if each
# filter saw all channels. The convolutions do nine tenths of the multiplications with a 26th of the
# parameters: that is where dropout has nothing to do, and the deck's "But not here — why?".


# %%
def parameters(layer, grouped=True):
    kind, before, after, k, _, _, groups = layer
    return 0 if kind == POOL else after * (before // (groups if grouped else 1) * k * k + 1)


places = [size**2 for size in sizes] + [1, 1, 1]
table = [(layer, n) for layer, n in zip(LAYERS, places, strict=True) if layer[0] != POOL]
counts = [parameters(layer) for layer, _ in table]
work = [2 * n * parameters(layer) for layer, n in table]  # a multiplication and an addition each
lab.compare("parameters, grouped", sum(counts), expected=(60_965_224, 60_965_224))
whole = sum(parameters(layer, grouped=False) for layer in LAYERS)
lab.compare("parameters, not grouped", whole, expected=(62_378_344, 62_378_344))
lab.compare(
    "parameters in convolutions: share", sum(counts[:5]) / sum(counts), expected=(0.03, 0.05)
)
lab.compare("operations in convolutions: share", sum(work[:5]) / sum(work), expected=(0.9, 0.95))
if not lab.quick:  # the net itself: 244 MB
    net = models.alexnet_original(generator=generator)
    real = sum(p.numel() for p in net.parameters())
    lab.compare("parameters of models.alexnet_original", real, expected=(60_965_224, 60_965_224))
    print(viz.summary(net, (1, 3, 224, 224), depth=3))
    del net

figure = Figure(figsize=(9, 4), layout="constrained")
left, right = figure.subplots(1, 2)
names = [f"{layer[0]} {number}" for number, (layer, _) in enumerate(table, 1)]
for axes, shares, what in ((left, counts, "parameters"), (right, work, "FLOPs of one image")):
    axes.barh(names, [share / 1e6 for share in shares], color=["#0072b2"] * 5 + ["#d55e00"] * 3)
    axes.invert_yaxis()
    axes.set(xlabel="million", title=f"{sum(shares) / 1e6:,.0f} million {what}")
lab.picture(figure, "where")

# %% [markdown]
# ## A small twin
# The same plan for images of 32x32 pixels: five convolutions, overlapping pools, normalization
# after the first two, groups of two where AlexNet has them, dropout before the two hidden layers.


# %%
def conv(before, after, k, groups=1):
    return nn.Conv2d(before, after, k, padding=k // 2, groups=groups, generator=generator)


def full(before, after):
    return nn.Linear(before, after, generator=generator)


twin = nn.Sequential(
    conv(3, 12, 5), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2),  # 15
    conv(12, 32, 5, 2), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2),  # 7
    conv(32, 48, 3), nn.ReLU(), conv(48, 48, 3, 2), nn.ReLU(), conv(48, 32, 3, 2), nn.ReLU(),
    nn.MaxPool2d(3, 2), nn.Flatten(),  # 3
    nn.Dropout(0.5, generator=generator), full(288, 64), nn.ReLU(),
    nn.Dropout(0.5, generator=generator), full(64, 64), nn.ReLU(), full(64, 10),
)  # fmt: skip
for weight in twin.parameters():
    if weight.ndim > 1:
        nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
nn.init.normal_(twin[-1].weight, std=0.001, generator=generator)  # the scores say nothing yet
splits = lab.images()
rows = 60 if lab.quick else len(splits.train_images) if lab.data is None else 8000
cut = rows // 10  # a tenth is for validation
mean_image = splits.train_images[cut:rows].mean(axis=0)


def samples(images, labels):
    return data.TensorDataset((images - mean_image) / 64, labels)


validation = samples(splits.train_images[:cut], splits.train_labels[:cut])
training = samples(splits.train_images[cut:rows], splits.train_labels[cut:rows])
test = samples(splits.test_images, splits.test_labels)
if lab.quick:
    test = data.Subset(test, range(20))

# %% [markdown]
# Before it is trained: does it learn 20 images by heart? Without dropout, which is there to
# prevent that.

# %%
images, labels = training[:20]
learner = deepcopy(twin).eval()
adam, losses = optim.Adam(learner.parameters(), 0.003), []
for _ in range(40):
    adam.zero_grad()
    loss = tg.cross_entropy(learner(tg.tensor(images)), tg.tensor(labels))
    loss.backward()
    adam.step()
    losses.append(loss.item())
lab.compare("twin: loss at first", losses[0], deck="ln 10 = 2.3026", expected=(2.25, 2.35))
lab.compare("twin: loss of 20 images, 40 steps", losses[-1], expected=(0, 0.2))

# %% [markdown]
# Then a rate, by the validation part, and the run; the test samples are used once, at the end.

# %%
loader = data.DataLoader(training, 20, shuffle=True, generator=generator)


def trained(rate, epochs):
    copy = deepcopy(twin)
    trainer = train.Trainer(copy, optim.Adam(copy.parameters(), rate), schedule=train.cosine)
    history = trainer.fit(loader, data.DataLoader(validation, 200), epochs)
    return trainer, history[-1]["val_loss"]


found = {}
for rate in (0.003,) if lab.quick else (0.001, 0.003, 0.01):
    _, found[rate] = trained(rate, epochs=1)
    lab.compare(f"twin, rate {rate}: validation loss", found[rate])
trainer, _ = trained(min(found, key=found.get), epochs=1 if lab.quick else 8)
accuracy = trainer.evaluate(data.DataLoader(test, 200))
bounds = None if lab.quick else (0.9 if lab.data is None else 0.4, 1)  # quick: it has seen nothing
lab.compare("twin: test accuracy", accuracy, expected=bounds)
lab.picture(viz.draw(twin, (1, 3, 32, 32)), "twin")
lab.end()
