"""Regularization: three L2 conventions, L1's zeros, max norm, weight decay, dropout, boundaries."""

# %% [markdown]
# **D1 (Snavely, CS5670): "Regularization", "Example Regularizers", "Weight decay", "Dropout"; D2
# (He, CS150): "Regularization: Add term to loss"; D3 (Solberg, INF5860): the softmax loss.**
#
# L = L_data + L_reg: the term is part of what is minimized, and so of the cost that is printed.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim, train, viz
from tinygrad_cv.examples.course import Lab, init_two_layer_model, two_layer_net

lab = Lab("14_regularization")

# %% [markdown]
# ## Three conventions
# λ ½‖W‖² (D1), λ ΣW² (D2) and λ/(2m) ΣΘ² (D3), all without the biases. Which one ran? The decks
# print the first cost of a 3072-50-10 net with W = 0.0001·randn at three strengths. Zero scores
# give ln 10 = 2.302585, so the rest is the term: only the first convention explains all three.

# %%
images = lab.images()
X = tg.tensor(images.train_images - images.train_images.mean(axis=0)).flatten(1)
y = tg.tensor(images.train_labels)
net = init_two_layer_model(3072, 50, 10, generator=tg.manual_seed(lab.seed))
weights = [net["W1"], net["W2"]]
data_loss = two_layer_net(X[:1000], net, y[:1000])
lab.compare("data loss, ln 10", data_loss, deck=2.302612, expected=(2.30249, 2.30269))
squares = 1e-8 * (3072 * 50 + 50 * 10)  # what ΣW² is on average
for strength, deck in ((1e3, 3.068597), (0.6, 2.303033), (0.3, 2.302811)):
    for name, term, factor in (
        ("λ/2 ΣW² (D1)", optim.L2(strength), strength / 2),
        ("λ ΣW² (D2)", optim.L2(strength, half=False), strength),
        ("λ/2m ΣΘ² (D3)", optim.L2(strength, samples=len(X)), strength / 2 / len(X)),
    ):
        near, off = np.log(10) + factor * squares, 1e-4 + 0.013 * factor * squares
        bounds = (near - off, near + off)
        lab.compare(f"λ = {strength:g}: {name}", data_loss + term(weights), deck, bounds)
lab.note("D3's formula divides by m, but its log (2.303033, 2.302811) was made without that.")

# %% [markdown]
# ## Weight decay, without the biases
# ∂/∂W ½λ‖W‖² = λW, so a step shrinks W by αλ. An optimizer's `weight_decay` does the same, but the
# cost never shows the term. "Biases are sometimes excluded": parameter groups, one with decay.

# %%
layer = nn.Linear(2, 2)
nn.init.ones_(layer.weight), nn.init.ones_(layer.bias)
optimizer = optim.SGD(optim.decay_groups(layer, weight_decay=0.1), lr=0.1)
for _ in range(10):
    (0 * layer(tg.ones(1, 2)).sum()).backward()  # no gradient of the data
    optimizer.step()
    optimizer.zero_grad()
lab.compare("W after 10 steps: (1 − αλ)¹⁰", layer.weight[0, 0], expected=(0.90437, 0.90439))
lab.compare("b after 10 steps", layer.bias[0], expected=(1, 1))
lab.note("misprint in D1: W ← W − αλW − ∂L/∂W lacks the α of its last term.")

# %% [markdown]
# ## L1's zeros, max norm
# "Weights are encouraged to reduce to exactly zero": a digits net 64-30-10 with each regularizer.
# The gradient of L1 jumps over zero and back; the proximal step, which pulls |W| by αλ and stops at
# zero, is what makes zeros. Max norm clamps ‖w‖² ≤ c for each unit after each step.

# %%
digits = data.load_dataset("digits")
centre = digits.train_images.mean(axis=0)
inputs = (digits.train_images - centre).reshape(-1, 64)
samples = data.TensorDataset(inputs, digits.train_labels)
inputs = (digits.test_images - centre).reshape(-1, 64)
unseen = data.DataLoader(data.TensorDataset(inputs, digits.test_labels), 400)


def fitted(regularizer=None):
    """A net for the digits, its cost and its test accuracy."""
    generator = tg.manual_seed(lab.seed)
    model = nn.Sequential(nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 10))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = train.Trainer(model, optimizer, regularizer=regularizer)
    loader = data.DataLoader(samples, 50, shuffle=True, generator=generator)
    history = trainer.fit(loader, epochs=2 if lab.quick else 20, progress=False)
    return model, history[-1]["loss"], trainer.evaluate(unseen)


REGULARIZERS = {
    "none": None,
    "L2 .01": optim.L2(0.01),
    "L1 .002": optim.L1(0.002),
    "L1 .002, proximal": optim.Proximal(optim.L1(0.002)),
    "elastic .001, .0005, proximal": optim.Proximal(optim.ElasticNet(0.001, 0.0005)),
    "max norm 1": optim.MaxNorm(1.0),
}
nets = {}
for name, regularizer in REGULARIZERS.items():
    nets[name], cost, accuracy = fitted(regularizer)
    first = nets[name][0].weight.detach()
    some = (0.1, 0.95) if "proximal" in name else (0, 0.02)
    lab.compare(f"{name}: zeros in W1", (first == 0).float().mean(), expected=some)
    longest = (0, 1 + 1e-5) if name == "max norm 1" else None
    lab.compare(f"{name}: longest ‖w‖² in W1", (first**2).sum(dim=1).max(), expected=longest)
    lab.compare(f"{name}: cost", cost)
    lab.compare(f"{name}: test accuracy", accuracy, expected=(0.85, 1))

figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
for name in ("none", "L2 .01", "L1 .002", "L1 .002, proximal"):
    sizes = np.sort(np.abs(nets[name][0].weight.detach().numpy().ravel()))[::-1]
    shares = np.linspace(0, 100, len(sizes))
    axes.semilogy(shares[sizes > 0], sizes[sizes > 0], lw=2, label=name)
axes.set(xlabel="weights of layer 1, the largest first (%)", ylabel="|w|", ylim=(1e-5, 3))
axes.grid(alpha=0.3)
figure.legend(title="where a line ends, zeros begin", loc="outside right")
lab.picture(figure, "zeros")

# %% [markdown]
# ## Dropout, both ways
# The decks' p is the probability of KEEPING; here, as in PyTorch, that of dropping. Vanilla dropout
# (the decks') multiplies by the mask in training and by p in the test: E[h] = ph + (1 − p)0 = ph.
# Inverted dropout divides by p in training, so that a test has nothing to do: E[h] = h. It is for
# large nets: with 200 digits and a small one it made the accuracy worse, .918 in place of .932.

# %%
p, h = 0.5, tg.full((20000,), 3.0)
off = 5 * ((1 - p) / p / len(h)) ** 0.5  # five standard deviations of the mean, relative to it
for name, layer, mean in (
    ("vanilla", nn.VanillaDropout(1 - p), p * 3.0),
    ("inverted", nn.Dropout(1 - p), 3.0),
):
    near = (mean * (1 - off), mean * (1 + off))
    lab.compare(f"{name}, training: mean of h = 3", layer(h).mean(), expected=near)
    lab.compare(f"{name}, test: h = 3", layer.eval()(h).mean(), expected=(mean, mean))

# %% [markdown]
# ## Decision boundaries at λ = .001, .01, .1
# D1's pictures: the larger λ, the smoother the boundary, and the fewer of the noisy training points
# are labelled right.

# %%
rng = np.random.default_rng(lab.seed)
angle = rng.uniform(0, np.pi, 100)
moon = np.stack([np.cos(angle), np.sin(angle)], axis=1)
points = np.concatenate([moon, [1.0, 0.5] - moon]) + 0.3 * rng.standard_normal((200, 2))
points, sides = tg.tensor(points.astype("float32")), tg.tensor([0] * 100 + [1] * 100)
nets = {}
for strength in (0.001, 0.01, 0.1):
    tg.manual_seed(lab.seed)
    model = nn.Sequential(nn.Linear(2, 30), nn.Tanh(), nn.Linear(30, 2))
    optimizer, regularizer = optim.Adam(model.parameters(), lr=0.03), optim.L2(strength)
    for _ in range(50 if lab.quick else 2000):
        optimizer.zero_grad()
        (tg.cross_entropy(model(points), sides) + regularizer(model)).backward()
        optimizer.step()
    nets[f"λ = {strength:g}"] = model
    right = (model(points).argmax(dim=1) == sides).float().mean()
    lab.compare(f"λ = {strength:g}: training accuracy", right, expected=(0.75, 1))
    lab.compare(f"λ = {strength:g}: ‖W‖²", optim.L2(2.0)(model))
resolution = 40 if lab.quick else 160
figure = viz.decision_boundary(nets, points, sides, resolution=resolution)
lab.picture(figure, "boundaries")
lab.end()
