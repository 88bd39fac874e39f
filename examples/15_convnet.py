"""The example ConvNet: 6,440 parameters, trained, and looked into."""

# %% [markdown]
# **D1 (Snavely, CS5670, lecture 26), "Example ConvNet", "Training a convolutional neural network"**
#
#     CONV-ReLU-CONV-ReLU-POOL  CONV-ReLU-CONV-ReLU-POOL  CONV-ReLU-CONV-ReLU-POOL  FC
#
# with ten 3x3 filters each (stride 1, pad 1) and 2x2 pools (stride 2). It is the net of the
# demonstration in CS231n. Every step of the lecture's list: split and preprocess, choose the
# architecture, initialize, find a rate, minimize the loss and monitor progress.

# %%
from copy import deepcopy

from matplotlib.figure import Figure

import tinygrad_cv as tg
from tinygrad_cv import data, models, nn, optim, train, viz
from tinygrad_cv.examples.course import Lab

lab = Lab("15_convnet")
generator = tg.manual_seed(lab.seed)
net = models.example_net(generator=generator)

# %% [markdown]
# ## Sizes and parameters
# The convolutions keep the size, the pools halve it: 32, 16, 8, 4. 280 + 5·910 + 1,610 = 6,440.

# %%
parameters = sum(p.numel() for p in net.parameters())
lab.compare("parameters", parameters, deck="6,440", expected=(6440, 6440))
sizes, x = [], tg.zeros(1, 3, 32, 32)
for layer in net.features:
    x = layer(x)
    if isinstance(layer, nn.MaxPool2d):
        sizes.append(x.shape[-1])
lab.compare("size after pool", sizes, expected=([16, 8, 4], [16, 8, 4]))
lab.picture(viz.draw(net, (1, 3, 32, 32)), "graph")

# %% [markdown]
# ## Split and preprocess
# A tenth of the training samples is for validation; the test samples are used once, at the end. The
# mean image is that of the training part alone, taken after the split.

# %%
splits = lab.images()
count = len(splits.train_images) if lab.data is None else 12_000  # in a minute on two cores
if lab.quick:
    count = 240
order = generator.permutation(len(splits.train_images))[:count]
used, held_back = order[count // 10 :], order[: count // 10]
mean_image = splits.train_images[used].mean(axis=0)


def samples(images, labels):
    return data.TensorDataset((images - mean_image) / 64, labels)  # about unit deviation


training = samples(splits.train_images[used], splits.train_labels[used])
validation = samples(splits.train_images[held_back], splits.train_labels[held_back])
test = samples(splits.test_images, splits.test_labels)
if lab.quick:
    test = data.Subset(test, range(100))

# %% [markdown]
# ## Initialize, and check that the loss is reasonable
# He's weights in front of each ReLU, small ones for the scores. These say nothing yet: the loss is
# about ln 10.

# %%
for layer in net.features:
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(layer.bias)
nn.init.normal_(net.classifier.weight, std=0.001, generator=generator)
images, labels = next(iter(data.DataLoader(training, 100)))
with tg.no_grad():
    start = tg.cross_entropy(net(images), labels).item()
lab.compare("loss at first", start, deck="ln 10 = 2.3026", expected=(2.25, 2.35))

# %% [markdown]
# ## Find a rate
# An epoch with each of three, from the same weights. The validation part chooses; the test samples
# are not looked at.

# %%
loader = data.DataLoader(training, 20, shuffle=True, generator=generator)


def trained(rate, epochs):
    """A trainer of a copy of the net, and what it saw in each epoch."""
    copy = deepcopy(net)
    trainer = train.Trainer(copy, optim.Adam(copy.parameters(), rate), schedule=train.cosine)
    return trainer, trainer.fit(loader, data.DataLoader(validation, 200), epochs)


found = {}
for rate in (0.003,) if lab.quick else (0.0003, 0.003, 0.03):
    found[rate] = trained(rate, epochs=1)[1][-1]["val_accuracy"]
    lab.compare(f"rate {rate}: validation accuracy", found[rate])
best = max(found, key=found.get)

# %% [markdown]
# ## Minimize the loss, and watch it

# %%
trainer, history = trained(best, epochs=4 if lab.quick or lab.data else 11)
accuracy = trainer.evaluate(data.DataLoader(test, 200))
lab.compare("loss in the last epoch", history[-1]["loss"], expected=(0, start))
least = 0.3 if lab.quick else 0.95 if lab.data is None else 0.5
lab.compare("test accuracy", accuracy, expected=(least, 1))
two_layers = 3072 * 50 + 50 + 50 * 10 + 10
lab.compare("parameters of the two-layer net of 50", two_layers, expected=(154_160, 154_160))
lab.note("Weight sharing: the ConvNet has a 24th of them.")

columns = {key: [epoch[key] for epoch in history] for key in history[0]}
lab.picture(viz.curves(columns), "curves")

# %% [markdown]
# ## Look into it
# The maps of the first test image, after each ReLU and pool: edges first, then what the digits are
# told by. What a class is made of gets smaller and more abstract.

# %%
figure = Figure(figsize=(10, 8), layout="constrained")
x = tg.tensor(test[0][0])[None]
rows = iter(figure.subplots(7, 1))
first = next(rows)
first.imshow(splits.test_images[0].transpose(1, 2, 0) / 255)
first.set_title("a test image, 3x32x32", loc="left")
with tg.no_grad():
    for layer in trainer.model.features:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            bright = x[0] / x[0].amax(dim=(1, 2), keepdim=True).clamp(
                min=1e-6
            )  # each map for itself
            framed = tg.pad(bright, (1, 1, 1, 1), value=0.5)
            row = next(rows)
            row.imshow(tg.cat(list(framed), dim=1).numpy(), cmap="gray")
            row.set_title(f"relu(conv), {'x'.join(map(str, x.shape[1:]))}", loc="left")
for row in figure.axes:
    row.set_axis_off()
lab.picture(figure, "maps", "png")
lab.end()
