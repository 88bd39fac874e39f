"""Backpropagation by hand and by rule: mean subtraction, Euclidean loss, weights."""

# %% [markdown]
# **D1 (Snavely, CS5670, lecture 26), "Backprop in N-dimensions", "Mean Subtraction", "Euclidean
# Loss", "What about the weights?"**
#
# For each layer the backward pass computes
#
#     [gradient to the left] = [gradient from the right] · [local gradient]
#
# and with more subscripts ∂L/∂x_j = Σ_i ∂L/∂h_i · ∂h_i/∂x_j. The lecture derives two layers by hand
# and says: check it numerically. So we do.

# %%
import tinygrad_cv as tg
from tinygrad_cv import testing, viz
from tinygrad_cv.examples.course import Lab

lab = Lab("01_backprop")
generator = tg.manual_seed(lab.seed)


def same(what, ours, by_hand):
    """Print the largest difference of two tensors, which has to be one of rounding."""
    lab.compare(what, (ours - by_hand).abs().max().item(), expected=(0, 1e-15))


# %% [markdown]
# ## Mean subtraction
# h_i = x_i − (1/D) Σ_k x_k. Its Jacobian is ∂h_i/∂x_j = δ_ij − 1/D, so that the gradient of x is g
# minus the mean of g: forward and backward are the same operation.


# %%
def subtract_mean(x):
    return x - x.mean()


D = 5
x = tg.randn(D, generator=generator, dtype=tg.float64, requires_grad=True)
g = tg.randn(D, generator=generator, dtype=tg.float64)
jacobian = tg.autograd.functional.jacobian(subtract_mean, x)
same("Jacobian against δ − 1/D", jacobian, tg.eye(D, dtype=tg.float64) - 1 / D)
(to_the_left,) = tg.autograd.grad(subtract_mean(x), x, g)
same("backward against forward of g", to_the_left, subtract_mean(g))
print(testing.check_gradients(subtract_mean, [x], names=["x"]).table())

# %% [markdown]
# ## Euclidean loss
# L_i = ½ Σ_j (z_ij − y_ij)² and L = (1/N) Σ_i L_i. So ∂L/∂z = (z − y)/N and ∂L/∂y = (y − z)/N; the
# slide that asks for it writes x for z. If the loss is scaled by C, so is every gradient.

# %%
N, J, C = 4, 3, 10
z, y = (tg.randn(N, J, generator=generator, dtype=tg.float64, requires_grad=True) for _ in range(2))
loss = tg.euclidean_loss(z, y)
dz, dy = tg.autograd.grad(loss, (z, y))
same("loss against ½ Σ (z − y)² / N", loss, ((z - y) ** 2).sum() / 2 / N)
same("∂L/∂z against (z − y)/N", dz, (z - y) / N)
same("∂L/∂y against (y − z)/N", dy, (y - z) / N)
scaled = tg.autograd.grad(C * tg.euclidean_loss(z, y), (z, y))
lab.compare(
    "gradient of C·L over that of L",
    (scaled[0] / dz).mean().item(),
    deck="C = 10",
    expected=(10 - 1e-12, 10 + 1e-12),
)

# %% [markdown]
# The slide adds that other losses often work better: the L1 distance, whose gradient does not grow
# with the error, or bins and a softmax. With bins the net gives a score for each, the label is the
# bin of the target, and the prediction is the expected centre.

# %%
far = tg.tensor([1.0, 1000.0], requires_grad=True)
(l1,) = tg.autograd.grad(tg.l1_loss(far, tg.zeros(2)), far)
(l2,) = tg.autograd.grad(tg.euclidean_loss(far[:, None], tg.zeros(2, 1)), far)
lab.compare("L1: largest gradient, an error of 1000", l1.max().item(), expected=(0.5, 0.5))
lab.compare("L2: largest gradient, an error of 1000", l2.max().item(), expected=(500, 500))

edges = tg.linspace(-3, 3, 25)  # 24 bins, each a quarter wide
centres = (edges[1:] + edges[:-1]) / 2
targets = tg.randn(200, generator=generator).clamp(-2.9, 2.9)
scores = tg.zeros(200, 24, requires_grad=True)  # of a net that has learned nothing
labels = tg.bucketize(targets, edges) - 1
lab.compare(
    "24 bins: loss before training, ln 24",
    tg.cross_entropy(scores, labels).item(),
    expected=(3.1780, 3.1781),
)
for _ in range(20):
    (slope,) = tg.autograd.grad(tg.cross_entropy(scores, labels, reduction="sum"), scores)
    scores = (scores - 5 * slope).detach().requires_grad_()
error = (scores.softmax(dim=1) @ centres - targets).abs().max().item()
lab.compare("24 bins: largest error, half a bin wide", error, expected=(0, 0.14))

# %% [markdown]
# ## The weights
# The chain rule again, ∂L/∂W_ij = Σ_k ∂L/∂h_k ∂h_k/∂W_ij: for h = Wx + b it is g xᵀ, and g for b.

# %%
W = tg.randn(3, D, generator=generator, dtype=tg.float64, requires_grad=True)
b = tg.zeros(3, dtype=tg.float64, requires_grad=True)
g = tg.randn(3, generator=generator, dtype=tg.float64)
to_weight, to_bias = tg.autograd.grad(W @ x + b, (W, b), g)
same("∂L/∂W against g xᵀ", to_weight, tg.outer(g, x))
same("∂L/∂b against g", to_bias, g)

# %% [markdown]
# ## Both graphs, and the backward pass step by step
# All of it in one loss with small numbers: the forward pass, and beside it the rules that run back.

# %%
x = tg.tensor([[1.0, 2.0]], requires_grad=True)
W = tg.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], requires_grad=True)
b = tg.zeros(3, requires_grad=True)
h = subtract_mean(x @ W + b)
y = tg.tensor([[-1.0, 0.0, -2.0]])
loss = tg.euclidean_loss(h, y)
steps = viz.playback(loss)
print(steps)
lab.picture(viz.draw(loss, backward=True, health=True), "graphs")
lab.picture(steps, "playback", "html")
lab.end()
