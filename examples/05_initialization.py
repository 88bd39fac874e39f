"""Initialization: what ten layers make of the scale of their weights."""

# %% [markdown]
# # Initialization
# Yashunin's "Инициализация весов" sends a batch of 1,000 unit gaussian rows through ten layers of
# 500 units: "First idea: small random numbers", then 1.0 in place of 0.01, Xavier, and He et al.
# for ReLU (CS150 and CS231n print the Xavier table too). The printed digits follow from a seed that
# nobody knows, so ours are held against theory: sums z = Σwx of many terms are normal, with
# Var z = n Var(w) E[x²], and all follows from E[f(z)²] and, on the way back, from E[f'(z)²].

# %%
import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import nn, optim, viz
from tinygrad_cv.examples.course import Lab

lab = Lab("05_initialization")
N, DEPTH, ROWS = 500, 10, 200 if lab.quick else 1000
X = tg.randn(ROWS, N, dtype="float64")
lab.note("The deck's comment says 10-D input; its code, and its numbers, have 500.")


def through_layers(f, initialize):
    """The activations of ten layers, and what becomes of a unit gradient on the last, downwards."""
    hs = [X.detach().requires_grad_()]
    for _ in range(DEPTH):
        linear = nn.Linear(N, N, bias=False, dtype="float64")
        initialize(linear.weight)
        hs.append(f(linear(hs[-1])))
    gradients = tg.grad(hs[-1], hs[:-1], grad_outputs=tg.randn(ROWS, N, dtype="float64"))
    return [h.detach().numpy() for h in hs[1:]], [g.numpy() for g in reversed(gradients)]


def theory(f, slope, variance):
    """The standard deviations of both, by integrals over a standard normal z."""
    z = np.linspace(-9, 9, 4001)
    p = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    q, stds, gains = 1.0, [], []
    for _ in range(DEPTH):
        sums = np.sqrt(N * variance * q) * z
        q, mean = p @ f(sums) ** 2, p @ f(sums)
        stds.append(np.sqrt(q - mean**2))
        gains.append(np.sqrt(N * variance * (p @ slope(sums) ** 2)))
    return np.array(stds), np.cumprod(gains[::-1])


# %% [markdown]
# ## The tables
# The deck's Xavier is randn/√fan_in, PyTorch's has fan_in + fan_out: one and the same on square
# weights, else the deck's is `kaiming_normal_(w, nonlinearity="linear")`. With ReLU "it breaks":
# √2 is lost in each layer (the deck prints no table), and He's "additional /2" mends that. A ReLU
# net wanders from layer to layer, by a factor up to 2 in the tenth; a tanh net does not.

# %%
tanh = (tg.tanh, np.tanh, lambda z: 1 - np.tanh(z) ** 2)
relu = (tg.relu, lambda z: np.maximum(z, 0), lambda z: np.float64(z > 0))
xavier = lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear")  # noqa: E731
wander = np.geomspace(1.02 if lab.quick else 1.007, 2, DEPTH)
cases = {  # function and slope, Var(w), how to draw w, tolerance, what the deck prints
    "tanh, 0.01 randn": (tanh, 1e-4, lambda w: nn.init.normal_(w, std=0.01), 1.05,
        ".213081 .047551 .010630 .002378 .000532 .000119 .000026 .000006 .000001 .000000"),
    "tanh, 1.0 randn": (tanh, 1.0, lambda w: nn.init.normal_(w, std=1.0), 1.001,
        ".981879 .981649 .981601 .981755 .981614 .981560 .981520 .981913 .981728 .981736"),
    "tanh, Xavier": (tanh, 1 / N, xavier, 1.03,
        ".627953 .486051 .407723 .357108 .320917 .292116 .273387 .254935 .239266 .228008"),
    "ReLU, Xavier": (relu, 1 / N, xavier, wander, "– " * DEPTH),
    "ReLU, He": (relu, 2 / N, nn.init.kaiming_normal_, wander,
        ".825232 .827835 .813855 .826902 .834092 .860035 .870610 .889348 .845357 .844523"),
}  # fmt: skip
means = ".562488 .553614 .545867 .565396 .547678 .587103 .596867 .623214 .567498 .552531"
activations, gradients, stds_back = {}, {}, {}
for name, ((f, np_f, slope), variance, initialize, within, deck) in cases.items():
    activations[name], gradients[name] = through_layers(f, initialize)
    stds, stds_back[name] = theory(np_f, slope, variance)
    ours = [h.std() for h in activations[name]]
    lab.compare(f"{name}: std", ours, deck.split(), (stds / within, stds * within))
    lab.note("theory: " + " ".join(f"{std:.4g}" for std in stds))
    if f is tg.tanh:
        most, bound = max(abs(h.mean()) for h in activations[name]), 0.006 * (1000 / ROWS) ** 0.5
        lab.compare(f"{name}: greatest |mean|", most, expected=(0, bound))
ours, mean = [h.mean() for h in activations["ReLU, He"]], 1 / np.sqrt(np.pi)
lab.compare("ReLU, He: mean", ours, means.split(), (mean / wander, mean * wander))
lab.note(f"theory: {mean:.4f} = 1/√π, and the std √(1 - 1/π), in every layer")
w = tg.empty(50, 3072)
lab.compare("Xavier on 3072-50: std", xavier(w).std(), "1/√3072", (0.0178, 0.0183))
lab.compare("PyTorch's: std √(2/3122)", nn.init.xavier_normal_(w).std(), None, (0.025, 0.0256))
lab.picture(viz.histograms(activations, limit=1 if lab.quick else DEPTH), "activations")

# %% [markdown]
# ## "Think about the backward pass. What do the gradients look like?"
# With W = 0.01 they vanish as the activations do. With 1.0 "almost all neurons completely
# saturated, either -1 and 1. Gradients will be all zero": the first is true, and so are most local
# gradients 1 - tanh² near 0. But what the few others let through goes on through 500 weights of
# size 1, which more than makes up for it: the gradients grow, 3.5 times in each layer. The table
# goes down with them, from [1] on the ninth layer to [10] on X.

# %%
for name, stds in stds_back.items():
    within = 1.5 if name == "tanh, 1.0 randn" else np.geomspace(1.05, 2, DEPTH)
    ours = [g.std() for g in gradients[name]]
    lab.compare(f"{name}: gradient, down", ours, None, (stds / within, stds * within))
h = activations["tanh, 1.0 randn"][4]
lab.compare("W = 1.0: saturated units", (abs(h) > 0.98).mean(), "almost all", (0.9, 0.93))
below = (1 - h**2 < 1e-3).mean()
lab.compare("W = 1.0: local gradients below 1e-3", below, "all", (0.83, 0.87))
lab.note('"Gradients will be all zero" is false: they grow 3.5 times in each layer.')
places = [f"∂L/∂h{k}" for k in reversed(range(DEPTH))]
from_top = {name: dict(zip(places, gradients[name], strict=True)) for name in list(cases)[:3]}
lab.picture(viz.histograms(from_top, limit=1 if lab.quick else DEPTH), "gradients")

# %% [markdown]
# ## Var(Σwx) = n Var(w) Var(x)
# The deck explains both failures by it: 500 · 1e-4 = 1/20, and 500.

# %%
for scale, deck, variance in ((0.01, "1/20", 0.05), (1.0, "500", 500.0)):
    sums = X @ (scale * tg.randn(N, N, dtype="float64"))
    bounds = (0.95 * variance, 1.05 * variance)
    lab.compare(f"Var(Σwx), W = {scale} randn", sums.var(), deck, bounds)

# %% [markdown]
# ## "What happens when W = 0 init is used?"
# The hidden layer is 0 and passes nothing back: only b2 learns, how frequent the classes are.

# %%
x, y = X.float(), tg.randint(10, (ROWS,))
net = nn.Sequential(nn.Linear(N, 50), nn.ReLU(), nn.Linear(50, 10))
for parameter in net.parameters():
    nn.init.zeros_(parameter)
sgd = optim.SGD(net.parameters(), lr=0.1)
for _ in range(20):
    sgd.zero_grad()
    tg.cross_entropy(net(x), y).backward()
    sgd.step()
*others, b2 = (abs(parameter).max() for parameter in net.parameters())
lab.compare("W = 0: W1, b1, W2 after 20 steps", others, expected=(0, 0))
lab.compare("W = 0: b2 after 20 steps", b2, expected=(1e-3, 1))

# %% [markdown]
# ## A misprint
# Solberg's slide has `np.random.rand(n)*sqrt(2/n)` as Glorot's for ReLU. It is He's, and means
# randn: the weights of rand are positive, so their sums add up, to 15.8 times as much a layer.

# %%
h, ours = X, []
for _ in range(4):
    h = tg.relu(h @ (tg.rand(N, N, dtype="float64") * (2 / N) ** 0.5))
    ours.append(h.std())
expected = np.array([0.47, 6.2, 98, 1547])
lab.compare("ReLU, rand: std", ours, expected=(0.85 * expected, 1.15 * expected))
lab.end()
