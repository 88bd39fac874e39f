"""Batch norm: unit gaussian activations, whatever the weights, and what it does at test time."""

# %% [markdown]
# # Batch normalization
# "You want unit gaussian activations? Just make them so" (Yashunin, CS231n, and Solberg's "Batch
# normalization"): x̂ = (x - E[x])/√Var[x], over the batch and for each unit, then y = γx̂ + β. It is
# "usually inserted after fully connected or convolutional layers, and before nonlinearity".

# %%
import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim, train, viz
from tinygrad_cv.examples.course import Lab
from tinygrad_cv.optim.swa_utils import update_bn

lab = Lab("06_batch_norm")
N, DEPTH, ROWS = 500, 10, 200 if lab.quick else 1000
X = tg.randn(ROWS, N, dtype="float64")


def layers_of(scale, f, normalize):
    """What ten layers give that begin as scale · randn, and the gradients on their inputs."""
    generator = np.random.default_rng(lab.seed)  # the same weights for every scale
    hs = [X.detach().requires_grad_()]
    for _ in range(DEPTH):
        w = scale * tg.randn(N, N, dtype="float64", generator=generator)
        z = hs[-1] @ w
        hs.append(f(nn.BatchNorm1d(N, dtype="float64")(z) if normalize else z))
    top = tg.randn(ROWS, N, dtype="float64", generator=generator)
    return [h.detach().numpy() for h in hs[1:]], tg.grad(hs[-1], hs[0], grad_outputs=top)[0].std()


# %% [markdown]
# ## The ten layers of lab 05 again
# With unit gaussian sums the std is √E[tanh²(z)] = .628 and √(½ - 1/2π) = .584 in all layers: the
# first line of the Xavier table, ten times. A factor of the weights falls out, and out of the
# gradients on the inputs too: "improves gradient flow through the network", "reduces the strong
# dependence on initialization".

# %%
rows, arriving = {}, {}
for name, f, std in (("tanh", tg.tanh, 0.628), ("ReLU", tg.relu, 0.584)):
    for scale in (0.01, 1.0):
        rows[f"{name}, {scale} randn"], _ = layers_of(scale, f, normalize=False)
        told = f"{name}, {scale} randn + BN"
        rows[told], arriving[told] = layers_of(scale, f, normalize=True)
        ours = [h.std() for h in rows[told]]
        lab.compare(f"{told}: std", ours, expected=(std - 0.006, std + 0.006))
    told = [arriving[f"{name}, {scale} randn + BN"] for scale in (1.0, 0.01)]
    lab.compare(f"{name}: gradients on x, 1.0 : 0.01", told[0] / told[1], expected=(0.95, 1.05))
h, _ = layers_of(1e-4, tg.tanh, normalize=True)
lab.compare("tanh, 0.0001 randn + BN: std [1]", h[0].std(), expected=(0.45, 0.5))
lab.note("There Var = 5e-6 is below eps = 1e-5, which stands beside it under the root.")
shown = {name: row for name, row in rows.items() if name.startswith("tanh")}
lab.picture(viz.histograms(shown, limit=1 if lab.quick else DEPTH), "activations")

# %% [markdown]
# ## "The network can learn γ = √Var[x], β = E[x] to recover the identity mapping"
# √(Var[x] + eps), to be exact. "For CONV layer we normalize activations across mini batch for all
# spatial locations": a channel has one mean, over N, H and W.

# %%
x = 3 * X + 5
norm = nn.BatchNorm1d(N, dtype="float64")
z = norm(x)
lab.compare("x̂: greatest |mean|", abs(z.mean(dim=0)).max(), expected=(0, 1e-12))
lab.compare("x̂: std", z.var(correction=0).sqrt(), expected=(0.9999, 1.0001))
with tg.no_grad():
    norm.weight.copy_((x.var(dim=0, correction=0) + norm.eps).sqrt())
    norm.bias.copy_(x.mean(dim=0))
lab.compare("|BN(x) - x| with γ = √Var, β = E", abs(norm(x) - x).max(), expected=(0, 1e-12))
means = nn.BatchNorm2d(3)(tg.rand(8, 3, 5, 5)).mean(dim=(0, 2, 3))
lab.compare("maps: greatest |mean| of a channel", abs(means).max(), expected=(0, 1e-6))

# %% [markdown]
# ## Training
# Four hidden layers that begin as 0.01 · randn pass nothing on, in either direction; with batch
# norm they learn, at once and with a high rate.

# %%
splits = data.load_dataset("digits" if lab.data is None else lab.data)
order = np.random.default_rng(lab.seed).permutation(len(splits.train_images))
training, validation = order[:1100], order[1100:1433]
mean, pixels = splits.train_images[training].mean(axis=0), splits.train_images[0].size
parts = [
    data.TensorDataset(splits.train_images[rows] - mean, splits.train_labels[rows])
    for rows in (training, validation)
]
least = 0.15 if lab.data else 0.4 if lab.quick else 0.9  # 1,100 photographs teach little
loaders = [data.DataLoader(part, 40, shuffle=k == 0) for k, part in enumerate(parts)]


def made(normalize):
    layers = [nn.Flatten()]
    for inputs in (pixels, 50, 50, 50):
        layers += [nn.Linear(inputs, 50), *([nn.BatchNorm1d(50)] if normalize else []), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(50, splits.classes))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
    return model


models, histories = {}, {}
for normalize in (False, True):
    name = "with batch norm" if normalize else "without"
    model = models[name] = made(normalize)
    trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.5))
    histories[name] = trainer.fit(*loaders, epochs=2 if lab.quick else 10)
    accuracy = histories[name][-1]["val_accuracy"]
    bounds = (least, 1) if normalize else (0, 0.3)
    lab.compare(f"{name}: validation accuracy", accuracy, expected=bounds)
lab.picture(viz.curves(histories), "training")

# %% [markdown]
# ## At test time
# Solberg: "mean/std is computed for the ENTIRE TRAINING set, not mini batches", "use running
# average to update". PyTorch's momentum is the share of the newest batch, 0.1: the average begins
# as 0 and 1, and after k steps holds .9ᵏ of that. `update_bn(..., exact=True)` computes the
# statistics of the whole set, layer after layer, and does not depend on how it is cut into batches.


# %%
def norms_of(model):
    return [layer for layer in model if isinstance(layer, nn.BatchNorm1d)]


def statistics(model):
    return np.concatenate([b.numpy() for norm in norms_of(model) for b in norm.buffers() if b.ndim])


def with_exact(model, batch_size):
    update_bn(data.DataLoader(parts[0], batch_size), model, exact=True)
    return statistics(model), trainer.evaluate(loaders[1])


model = models["with batch norm"].eval()
running = statistics(model)
accuracy = trainer.evaluate(loaders[1])
exact, with_all = with_exact(model, 50)
far = abs(running - exact).mean() / abs(exact).mean()
lab.compare("trained: running against exact", far, expected=(1e-4, 0.5))
lab.compare("accuracy with running averages", accuracy, expected=(least, 1))
lab.compare("accuracy with the whole set's", with_all, expected=(least, 1))
again, _ = with_exact(model, 275)
lab.compare("exact, by batches of 50 and of 275", abs(again - exact).max(), expected=(0, 1e-3))
with tg.no_grad():
    sums = model[:2](tg.tensor(parts[0][:][0]))  # all that the first norm gets
    error = abs(norms_of(model)[0].running_mean - sums.mean(dim=0)).max()
lab.compare("exact: mean of the first layer", error, expected=(0, 1e-4))

model = made(normalize=True)
trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.5))
trainer.fit([batch for batch, _ in zip(loaders[0], range(8), strict=False)], epochs=1)
early = trainer.evaluate(loaders[1])
_, early_exact = with_exact(model, 50)
lab.compare("after 8 steps: accuracy, running", early, expected=(0, 0.5))
lab.compare("after 8 steps: accuracy, exact", early_exact, expected=(early, 1))
lab.note(f".9^8 = {0.9**8:.2f} of the running averages is still what they began as.")

images = tg.tensor(parts[1][:][0])
with tg.no_grad():
    for mode, bounds in ((True, (1e-3, 1e3)), (False, (0, 1e-4))):
        scores = [model.train(mode)(images[:k])[0] for k in (10, 100)]
        told = f"an image in two batches, {'training' if mode else 'evaluation'}"
        lab.compare(told, abs(scores[0] - scores[1]).max(), expected=bounds)
lab.end()
