"""Preprocessing: why the data are centred and scaled, what is stored, and what whitening does."""

# %% [markdown]
# # Preprocessing
#
# "Preprocess the data so that learning is better conditioned" (Snavely), "scaling of the features
# matters" (Solberg), "in practice for images: center only" (Yashunin). All decks show the data
# original, zero-centred, normalized, decorrelated by PCA, and whitened.

# %%
from importlib.util import find_spec

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim, viz
from tinygrad_cv.data import features, preprocessing
from tinygrad_cv.examples.course import Lab

lab = Lab("04_preprocessing")
rng = np.random.default_rng(lab.seed)

# %% [markdown]
# ## The error surface of two samples (Solberg, "Data preprocessing")
# A linear unit with squared loss has the surface ½‖Xw - y‖². Gradient descent at the rate 1/λmax of
# XᵀX shrinks the error along each axis by 1 - λ/λmax a step, so the worst needs about κ ln 1000
# steps to a thousandth, where κ = λmax/λmin is the condition number.
#
# The picture shows fifty steps, if it takes as many, from the same distance.
#
# Solberg's (101, ·) becomes (1, ·) by subtracting 100, and not the mean, 101; and (.2, ·) becomes
# (1, ·) by dividing by the root of the mean square: its variance is 0.

# %%
y = np.array([2.0, 0.0])
examples = [  # the samples, and what to expect: the condition and the steps
    ("(101, ·)", [[101, 101], [101, 99]], (40_005, 40_007), (275_000, 278_000)),
    ("less 100", [[1, 1], [1, -1]], (1, 1), (1, 1)),
    ("(.2, ·)", [[0.2, 10], [0.2, -10]], (2499, 2501), (17_200, 17_300)),
    ("scaled", [[1, 1], [1, -1]], (1, 1), (1, 1)),
]


def descent(H, w, best, most=10**6):
    """Where w goes until its error is a thousandth of what it was, or for the most steps."""
    values, axes = np.linalg.eigh(H)
    error, shrinks = axes.T @ (w - best), 1 - values / values[-1]
    aim, way = 1e-3 * np.linalg.norm(error), [w]
    while np.linalg.norm(error) > aim and len(way) <= most:
        error = shrinks * error
        way.append(best + axes @ error)
    return way


def surface(X):
    """½‖Xw - y‖² of two samples, as a function of w₁ and w₂."""
    return lambda w1, w2: (
        sum((a * w1 + b * w2 - t) ** 2 for (a, b), t in zip(X, y, strict=True)) / 2
    )


surfaces, ways = {}, {}
for name, rows, condition, steps in examples:
    X = np.array(rows, float)
    H, best = X.T @ X, np.linalg.solve(X, y)
    kappa = np.linalg.cond(H)
    lab.compare(f"condition, {name}", kappa, expected=condition)
    if steps[1] < 20_000 or not lab.quick:
        lab.compare(f"steps, {name}", len(descent(H, np.zeros(2), best)) - 1, expected=steps)
    title = f"{name}: κ = {kappa:,.0f}"
    surfaces[title] = surface(rows)
    ways[title] = {"descent": descent(H, best + np.array([-3, 2]), best, most=50)}
figure = viz.contours(surfaces, ways, x=(-5, 6), y=(-4, 5), names=("w₁", "w₂"))
lab.picture(figure, "error_surfaces")

# %% [markdown]
# ## Centred, normalized, decorrelated, whitened
# `X -= np.mean(X, axis=0)`, `X /= np.std(X, axis=0)`, and the rotation to the axes of the
# covariance: "the data has diagonal covariance", then "the covariance matrix is the identity".

# %%
points = rng.normal(size=(600, 2)) @ [[2.0, 1.2], [0.0, 0.6]] + [3.0, 2.0]
shown = {
    "original": points,
    "zero-centred": preprocessing.Center().fit_transform(points),
    "normalized": preprocessing.Normalize().fit_transform(points),
    "decorrelated (PCA)": preprocessing.PCA().fit_transform(points),
    "whitened": preprocessing.Whitening(eps=0).fit_transform(points),
}
covariance = {name: np.cov(x.T, bias=True) for name, x in shown.items()}
lab.compare("covariance, original", covariance["original"][0, 1], expected=(2, 3))
lab.compare("covariance, PCA", covariance["decorrelated (PCA)"][0, 1], 0, (-1e-9, 1e-9))
off = abs(covariance["whitened"] - np.eye(2)).max()
lab.compare("whitened: |covariance - identity|", off, 0, (0, 1e-9))
lab.picture(viz.scatter(shown, same_scale=True), "scatters")

# %% [markdown]
# ## For images: the mean image, or a mean for each channel
# Fitted on the training part, after the split, and stored with the model: "STORE μ and σ because
# new data/test data must have the same normalization". The slides write [32,32,3]; here channels
# come first, (3, 32, 32).

# %%
images = lab.images()
mean_image = preprocessing.MeanImage().fit(images.train_images)
channel_mean = preprocessing.ChannelMean().fit(images.train_images)
size = mean_image.mean.numel()
net = nn.Sequential(mean_image, nn.Flatten(), nn.Linear(size, 10))
lab.compare("numbers in the mean image", net.state_dict()["0.mean"].numel(), 3072, (size, size))
lab.compare("numbers in the channel mean", channel_mean.mean.numel(), 3, (1, 3))
rows = mean_image.transform(images.train_images[:1000]).reshape(-1, size)
lab.compare("mean length of a row", np.linalg.norm(rows, axis=1).mean(), expected=(3000, 4500))
lab.note("Of CIFAR-10 it is 3,407; the enlarged digits have 3,801.")
figure, panels = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
shown = {"an image": images.train_images[0], "the mean image": mean_image.mean.numpy()}
shown["their difference"] = shown["an image"] - shown["the mean image"]
for panel, (name, image) in zip(panels, shown.items(), strict=True):
    low = image.min() if image.min() < 0 else 0
    panel.imshow(((image - low) / max(image.max() - low, 255)).transpose(1, 2, 0), cmap="gray")
    panel.set_title(name, fontsize=15)
    panel.axis("off")
lab.picture(figure, "mean_image")

# %% [markdown]
# ## Whitening the digits: the identity on the axes that are kept
# Three of the 64 pixels are constant, so that the covariance has the rank 61; to divide by √λ, or
# by σ, takes an eps or leaves these out.

# %%
digits = data.load_dataset("digits")
train = digits.train_images.reshape(-1, 64).astype("float64")
lab.compare("constant pixels", (train.std(axis=0) == 0).sum(), expected=(3, 3))
z = preprocessing.Whitening(eps=0).fit_transform(train)
lab.compare("axes kept", z.shape[1], expected=(61, 61))
lab.compare("|covariance - identity|", abs(z.T @ z / len(z) - np.eye(61)).max(), 0, (0, 1e-9))
zca = preprocessing.Whitening(zca=True, eps=0).fit(train)
back = zca.inverse(zca.transform(train))
lab.compare("|inverse - image|", abs(back - train).max(), 0, (0, 1e-9))

# %% [markdown]
# ## What it is for: softmax regression on the digits
# Gradient descent on all images at the rate 1/λmax of XᵀX/N, until the loss is .2. The pixels are
# all positive, so their mean is one direction in which the surface is far steeper than elsewhere.

# %%
labels = tg.tensor(digits.train_labels)


def steps_until(X, loss_at):
    rate = 1 / np.linalg.eigvalsh(X.T @ X / len(X))[-1]
    X, W = tg.tensor(X), tg.zeros(64, 10, dtype="float64", requires_grad=True)
    optimizer = optim.SGD([W], lr=rate)
    for step in range(5000):
        loss = tg.cross_entropy(X @ W, labels)
        if loss.item() <= loss_at:
            return step
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return 5000


if lab.quick:
    loss_at, most = 0.6, {"raw": (150, 600), "centred": (10, 60), "normalized": (10, 60)}
else:
    loss_at, most = 0.2, {"raw": (1000, 3000), "centred": (90, 200), "normalized": (90, 220)}
centred = preprocessing.Center().fit_transform(train)
normalized = preprocessing.Normalize(eps=1e-8).fit_transform(train)
for name, X in (("raw", train), ("centred", centred), ("normalized", normalized)):
    steps = steps_until(X, loss_at)
    lab.compare(f"steps to the loss {loss_at}, {name}", steps, expected=most[name])

# %% [markdown]
# ## Aside: hand-made features (an exercise of Solberg's course)
# Histograms of oriented gradients describe the edges, and a linear classifier does the rest. They
# are made for larger images: on digits of 8x8 pixels the pixels themselves are as good.

# %%
if find_spec("skimage") and not lab.quick:
    hog = features.HOG(orientations=8, pixels_per_cell=2, cells_per_block=2)
    for name, of in (("pixels", lambda x: x.reshape(len(x), -1)), ("HOG", hog)):
        prep = preprocessing.Normalize(eps=1e-3).fit(of(digits.train_images))
        X, X_test = (prep(tg.tensor(of(x))) for x in (digits.train_images, digits.test_images))
        linear = nn.Linear(X.shape[1], 10)
        optimizer = optim.SGD(linear.parameters(), lr=0.05, momentum=0.9)
        for _ in range(200):
            optimizer.zero_grad()
            tg.cross_entropy(linear(X), labels).backward()
            optimizer.step()
        right = linear(X_test).argmax(1) == tg.tensor(digits.test_labels)
        lab.compare(f"test accuracy, linear on {name}", right.float().mean(), expected=(0.9, 1))
lab.end()
