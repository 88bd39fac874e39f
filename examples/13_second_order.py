"""Second order: Newton's step, L-BFGS with all the data, and with mini-batches."""

# %% [markdown]
# CS231n, lecture 6, "Second order optimization methods": the Taylor expansion to second order has
# its critical point at θ* = θ₀ - H⁻¹ ∇J(θ₀). It needs no learning rate; but H has n² numbers, and
# to invert it takes O(n³). Quasi-Newton methods (BFGS, which the slide misspells as "BGFS") build
# up an H⁻¹ from the gradients they meet; L-BFGS does not even store it. They "usually work very
# well in full batch, deterministic mode", and do "not transfer very well to mini-batch setting".

# %%
import numpy as np
from matplotlib.figure import Figure

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim
from tinygrad_cv.examples.course import Lab

lab = Lab("13_second_order")
splits = data.load_dataset("digits" if lab.data is None else lab.data)
X = tg.tensor(splits.train_images[:1500]).flatten(1)
y = tg.tensor(splits.train_labels[:1500])
N, D = X.shape

# %% [markdown]
# ## Newton
# Logistic regression, "is it a zero?", from its 16 mean pixels of 2x2 and a constant: H is 17x17.
# Close to the minimum, the gradient's norm is squared by each step.

# %%
side = round((D / splits.train_images.shape[1]) ** 0.5)
small = tg.avg_pool2d(tg.tensor(splits.train_images[:1500, :1]), side // 4).flatten(1)
features = tg.cat([small, tg.ones(N, 1)], 1).double()
is_zero = (y == 0).double()


def logistic(theta, rows=slice(None)):
    """The loss J(θ)."""
    fit = tg.binary_cross_entropy_with_logits(features[rows] @ theta, is_zero[rows])
    return fit + 0.5e-3 * (theta**2).sum()


theta, norms = tg.zeros(features.shape[1], dtype="float64"), []
for step in range(9):
    slopes = tg.func.grad(logistic)(theta)
    norms.append(slopes.norm().item())
    print(f"  step {step}: J = {logistic(theta).item():.6f}, gradient {norms[-1]:.1e}")
    theta = theta - tg.linalg.solve(tg.func.hessian(logistic)(theta), slopes)
lab.compare("Newton: gradient after 8 steps", norms[-1], expected=(0, 1e-10))

w = tg.zeros(features.shape[1], dtype="float64", requires_grad=True)
bfgs = optim.LBFGS([w], max_iter=60, line_search_fn="strong_wolfe")


def closure():
    bfgs.zero_grad()
    loss = logistic(w)
    loss.backward()
    return loss


bfgs.step(closure)
lab.compare("BFGS (all pairs kept): off Newton's by", (w - theta).abs().max(), expected=(0, 1e-3))
numbers = 3072 * 50 + 50 + 50 * 10 + 10
lab.compare("GB for H of the 3072-50-10 net", 4 * numbers**2 / 1e9, expected=(95, 95.2))

# %% [markdown]
# ## All the data
# A net 64-32-10 with an L2 term: no noise. What counts is not the steps but the evaluations of the
# loss with its gradient, for a line search takes several a step, and for `NewtonCG` the products
# Hv, which cost about as much.


# %%
def run(make, budget, batch=N):
    """The loss over all the data, by passes over the data (evaluations, for a full batch)."""
    tg.manual_seed(lab.seed)
    net = nn.Sequential(nn.Linear(D, 32), nn.Tanh(), nn.Linear(32, splits.classes))
    parameters = list(net.parameters())
    optimizer = make(parameters)
    order = np.random.default_rng(lab.seed)
    seen = 0

    def objective(rows):
        l2 = sum((p**2).sum() for p in parameters)
        return tg.cross_entropy(net(X[rows]), y[rows]) + 0.5e-3 * l2

    passes, losses = [0.0], [objective(slice(None)).item()]
    while passes[-1] < budget:
        shuffled = order.permutation(N)
        for start in range(0, N - batch + 1, batch):
            rows = slice(None) if batch == N else shuffled[start : start + batch]

            def closure(rows=rows):
                nonlocal seen
                seen += batch
                optimizer.zero_grad()
                loss = objective(rows)
                if not isinstance(optimizer, optim.NewtonCG):  # it differentiates twice, by itself
                    loss.backward()
                return loss

            optimizer.step(closure)
        products = optimizer.state[parameters[0]].get("hvp_evals", 0)
        passes.append(seen / N + products)
        with tg.no_grad():
            losses.append(objective(slice(None)).item())
    return passes, losses


evaluations = 30 if lab.quick else 200
full = {
    "gradient descent": run(lambda w: optim.SGD(w, 0.5), evaluations),
    "momentum": run(lambda w: optim.SGD(w, 0.1, 0.9), evaluations),
    "Adam": run(lambda w: optim.Adam(w, 0.01), evaluations),
    "Newton-CG": run(lambda w: optim.NewtonCG(w), evaluations),
    "L-BFGS": run(lambda w: optim.LBFGS(w, line_search_fn="strong_wolfe"), evaluations),
}
*others, ours = (losses[-1] for _, losses in full.values())
for name, loss in zip(full, (*others, ours), strict=True):
    lab.compare(f"full batch, {evaluations} evaluations: {name}", loss)
lab.compare("L-BFGS against the best other one", ours / min(others), expected=(0, 1))

# %% [markdown]
# ## Mini-batches
# The same with batches of 100. L-BFGS takes the difference of two gradients for curvature; when
# they belong to different images, most of it is noise, as here after a step from Newton's minimum.
# It begins well; sooner or later a bad pair throws it off, and out of the picture.

# %%
slope = tg.func.grad(logistic)
one, other = slice(100), slice(100, 200)
moved = theta - slope(theta, one)
curvature, noise = slope(moved, one) - slope(theta, one), slope(moved, other) - slope(moved, one)
lab.compare("noise over curvature", noise.norm() / curvature.norm(), expected=(1, 100))

epochs = 2 if lab.quick else 20
mini = {
    "momentum": run(lambda w: optim.SGD(w, 0.1, 0.9), epochs, batch=100),
    "Adam": run(lambda w: optim.Adam(w, 0.005), epochs, batch=100),
    "L-BFGS, rate 1": run(lambda w: optim.LBFGS(w, max_iter=1), epochs, batch=100),
    "L-BFGS, rate .1": run(lambda w: optim.LBFGS(w, 0.1, max_iter=1), epochs, batch=100),
}
for name, (_, losses) in mini.items():
    lab.compare(f"mini-batches, {epochs} epochs: {name}", losses[-1])
worst = max(loss for name in mini if "L-BFGS" in name for loss in mini[name][1][2:])
lab.compare("  the worst on the way: L-BFGS", worst, expected=None if lab.quick else (2.4, 1e99))
lab.compare("  the worst on the way: momentum", max(mini["momentum"][1][2:]), expected=(0, 1))

# %%
figure = Figure(figsize=(11, 4.2), layout="constrained")
panels = figure.subplots(1, 2, sharey=True)
for axes, runs, title in zip(panels, (full, mini), ("full batch", "batches of 100"), strict=True):
    for name, (passes, losses) in runs.items():
        axes.plot(passes, losses, label=name)
    axes.set(title=title, yscale="log", ylim=(0.05, 5))
    axes.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], [".1", ".2", ".5", "1", "2", "5"])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize="small", ncols=3, loc="lower center")
    axes.spines[["top", "right"]].set_visible(False)
panels[0].set(xlabel="evaluations of loss and gradient", ylabel="loss over all the data")
panels[1].set(xlabel="passes over the data")
lab.picture(figure, "losses")
lab.end()
