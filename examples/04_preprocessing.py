"""Preprocessing: why the data are centred and scaled, what is stored, and what whitening does."""

# %% [markdown]
# "Preprocess the data so that learning is better conditioned" (Snavely), "scaling of the features
# matters" (Solberg), "in practice for images: center only" (Yashunin). The decks show the data
# original, zero-centred, normalized, decorrelated by PCA, and whitened.

# %%
from importlib.util import find_spec

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import data, nn, viz
from tinygrad_cv.data import features
from tinygrad_cv.data.preprocessing import PCA, Center, ChannelMean, MeanImage, Normalize, Whitening
from tinygrad_cv.examples.course import Lab

lab = Lab("04_preprocessing")
rng = np.random.default_rng(lab.seed)

# %% [markdown]
# ## The error surface of two samples (Solberg, "Data preprocessing")
# A linear unit with squared loss has the surface ½‖Xw - y‖². Gradient descent at the rate 1/λmax of
# H = XᵀX shrinks the error along each axis of H by 1 - λ/λmax a step, so the slowest takes about
# κ ln 1000 steps to a thousandth, where κ = λmax/λmin is the condition number. The picture shows
# the first fifty, from the same distance.
#
# Solberg's (101, ·) becomes (1, ·) by subtracting 100, and not the mean, 101; and (.2, ·) becomes
# (1, ·) by dividing by the root of the mean square: its variance is 0.

# %%
y = np.array([2.0, 0.0])
examples = {  # the samples, and what to expect: the condition and the steps
    "(101, ·)": ([[101, 101], [101, 99]], (40_005, 40_007), (275_000, 278_000)),
    "(.2, ·)": ([[0.2, 10], [0.2, -10]], (2499, 2501), (17_200, 17_300)),
    "(1, ·)": ([[1, 1], [1, -1]], (1, 1), (1, 1)),  # what both become
}


def descent(X, w, most=10**6):
    """Where w goes until its distance from the minimum is a thousandth of what it was."""
    best, rate = np.linalg.solve(X, y), 1 / np.linalg.eigvalsh(X.T @ X)[-1]
    way, aim = [w], 1e-6 * (w - best) @ (w - best)
    while (way[-1] - best) @ (way[-1] - best) > aim and len(way) <= most:
        way.append(way[-1] - rate * X.T @ (X @ way[-1] - y))
    return way


def surface(X):
    """½‖Xw - y‖² as a function of w₁ and w₂."""
    (a, b), (c, d) = X
    return lambda w1, w2: ((a * w1 + b * w2 - y[0]) ** 2 + (c * w1 + d * w2 - y[1]) ** 2) / 2


surfaces, ways = {}, {}
for name, (rows, condition, steps) in examples.items():
    X = np.array(rows, float)
    kappa, start = np.linalg.cond(X.T @ X), np.linalg.solve(X, y) + np.array([-3, 2])
    lab.compare(f"condition, {name}", kappa, expected=condition)
    if steps[1] < 20_000 or not lab.quick:
        lab.compare(f"steps, {name}", len(descent(X, np.zeros(2))) - 1, expected=steps)
    surfaces[f"{name}: κ = {kappa:,.0f}"] = surface(X)
    ways[f"{name}: κ = {kappa:,.0f}"] = {"descent": descent(X, start, most=50)}
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
    "zero-centred": Center().fit_transform(points),
    "normalized": Normalize().fit_transform(points),
    "decorrelated (PCA)": PCA().fit_transform(points),
    "whitened": Whitening(eps=0).fit_transform(points),
}
before, _, _, turned, white = (np.cov(each.T, bias=True) for each in shown.values())
lab.compare("covariance of x₁ and x₂", before[0, 1], expected=(2, 3))
lab.compare("  of the decorrelated", turned[0, 1], 0, (-1e-9, 1e-9))
lab.compare("whitened: |covariance - identity|", abs(white - np.eye(2)).max(), 0, (0, 1e-9))
lab.picture(viz.scatter(shown, same_scale=True), "scatters")

# %% [markdown]
# ## For images: the mean image, or a mean for each channel
# Fitted on the training part, after the split, and stored with the model: "STORE μ and σ because
# new data/test data must have the same normalization". The slides write [32,32,3]; here channels
# come first, (3, 32, 32).

# %%
images = lab.images()
mean_image = MeanImage().fit(images.train_images)
channel_mean = ChannelMean().fit(images.train_images)
size = mean_image.mean.numel()
net = nn.Sequential(mean_image, nn.Flatten(), nn.Linear(size, 10))
lab.compare("numbers in the mean image", net.state_dict()["0.mean"].numel(), 3072, (size, size))
lab.compare("numbers in the channel mean", channel_mean.mean.numel(), 3, (1, 3))
rows = mean_image.transform(images.train_images[:1000]).reshape(-1, size)
lab.compare("mean length of a row", np.linalg.norm(rows, axis=1).mean(), expected=(3000, 4500))
lab.note("Of CIFAR-10 it is 3,407; the enlarged digits have 3,801.")
figure, panels = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
first, mean = images.train_images[0], mean_image.mean.numpy()
shown = {"an image": first, "the mean image": mean, "their difference": (255 + first - mean) / 2}
for panel, (name, image) in zip(panels, shown.items(), strict=True):
    panel.imshow(image.transpose(1, 2, 0) / 255, cmap="gray", vmin=0, vmax=1)
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
z = Whitening(eps=0).fit_transform(train)
lab.compare("axes kept", z.shape[1], expected=(61, 61))
lab.compare("|covariance - identity|", abs(z.T @ z / len(z) - np.eye(61)).max(), 0, (0, 1e-9))
zca = Whitening(zca=True, eps=0).fit(train)
back = zca.inverse(zca.transform(train))
lab.compare("|inverse - image|", abs(back - train).max(), 0, (0, 1e-9))

# %% [markdown]
# ## What it is for: softmax regression on the digits
# Gradient descent on all images at the rate 1/λmax of XᵀX/N, until the loss is .2. The pixels are
# all positive, so their mean is one direction in which the surface is far steeper than elsewhere.
#
# Aside (an exercise of Solberg's course): histograms of oriented gradients describe the edges, and
# the linear classifier does the rest. They are made for larger images: with 8x8 pixels the pixels
# themselves are as good.


# %%
def softmax_regression(X, until):
    """The weights whose loss is low enough, and the steps to there."""
    rate = 1 / np.linalg.eigvalsh(X.T @ X / len(X))[-1]
    X, labels = tg.tensor(X, dtype="float64"), tg.tensor(digits.train_labels)
    W, steps = tg.zeros(X.shape[1], 10, dtype="float64", requires_grad=True), 0
    while (loss := tg.cross_entropy(X @ W, labels)) > until and steps < 5000:
        (dW,) = tg.grad(loss, W)
        W, steps = (W - rate * dW).detach().requires_grad_(), steps + 1
    return W.detach().numpy(), steps


until, raw, others = (0.6, (150, 600), (10, 60)) if lab.quick else (0.2, (1000, 3000), (60, 220))
test = digits.test_images.reshape(-1, 64)
inputs = {"raw": (train, test)}
for name, prep in (("centred", Center()), ("normalized", Normalize(eps=1e-8))):
    inputs[name] = (prep.fit_transform(train), prep.transform(test))
if find_spec("skimage") and not lab.quick:
    hog = features.HOG(orientations=8, pixels_per_cell=2, cells_per_block=2)
    prep = Normalize(eps=1e-3).fit(hog(digits.train_images))
    inputs["HOG"] = tuple(prep.transform(hog(x)) for x in (digits.train_images, digits.test_images))
for name, (X, X_test) in inputs.items():
    W, steps = softmax_regression(X, until)
    lab.compare(f"steps to the loss {until}, {name}", steps, expected=raw if X is train else others)
    right = (X_test @ W).argmax(1) == digits.test_labels
    lab.compare(f"  test accuracy, {name}", right.mean(), expected=(0.8, 1))
lab.end()
