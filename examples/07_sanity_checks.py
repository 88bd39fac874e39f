"""Sanity checks: the first loss, the loss with regularization, and 20 examples learned by heart."""

# %% [markdown]
# **D0 (Yashunin), "Double check that the loss is reasonable" and "Make sure that you can overfit
# very small portion of the training data"; D1 (Snavely), "(3) Check that the loss is reasonable"
# and "(4) Overfit a small portion of the data"; D2 (He), the same; D3 (Solberg), "Monitor the loss
# function" and "Debug the code".**
#
# Three checks before any training. They take seconds and save days: each fails loudly where a
# training would only be a little worse.

# %%
import copy
import math

import matplotlib.pyplot as plt

import tinygrad_cv as tg
from tinygrad_cv import nn
from tinygrad_cv.examples.course import ClassifierTrainer, Lab, init_two_layer_model, two_layer_net
from tinygrad_cv.train import health

lab = Lab("07_sanity_checks")
images = lab.images()
rows, held_back = len(images.train_labels), 1000 if lab.data else 143
X, y = tg.tensor(images.train_images).reshape(rows, -1), tg.tensor(images.train_labels)
X, y = X[:-held_back], y[:-held_back]
X = X - X.mean(dim=0)  # the mean image of the training part

# %% [markdown]
# ## The first loss
# A net that knows nothing gives equal scores, so each of K classes gets probability 1/K, and the
# cross-entropy is −ln 1/K = ln K. Each loss has such a number: it is the loss of scores 0, and
# `health.expected_loss` computes it so. D3 has it for n = 3: ln 3.

# %%
scores, labels = tg.zeros(6, 10), tg.tensor([0, 1, 2, 3, 4, 5])
three = health.expected_loss(tg.cross_entropy, tg.zeros(3, 3), labels[:3])
lab.compare("softmax, 3 classes: ln 3", three, "1.098612", (1.09861, 1.09862))
softmax = health.expected_loss(tg.cross_entropy, scores, labels)
lab.compare("softmax, 10 classes: ln 10", softmax, "2.3026", (2.30258, 2.30259))
logistic = health.expected_loss(tg.one_vs_all_logistic_loss, scores, labels)
lab.compare("one-vs-all, 10 classes: 10 ln 2", logistic, "6.931", (6.9314, 6.9316))
svm = health.expected_loss(tg.svm_loss, scores, labels)
lab.compare("SVM, 10 classes: 9", svm, "9.0", (9, 9))

# %% [markdown]
# The decks' net, 3072-50-10 with weights 0.0001 · randn, is as good as equal scores.

# %%
model = init_two_layer_model(3072, 50, 10, generator=tg.manual_seed(lab.seed))
batch = (X, y) if len(X) < 2000 else (X[:2000], y[:2000])
first = two_layer_net(batch[0], model, batch[1]).item()
lab.compare("loss at initialization, reg 0", first, "2.302612", (2.302485, 2.302685))

# %% [markdown]
# ## It must rise with the regularization
# With reg = 1e3 the loss goes up: the term is a part of the objective. `weight_decay` of an
# optimizer has the same gradient, but never shows in the loss, so it cannot pass this check.

# %%
strong = two_layer_net(batch[0], model, batch[1], reg=1e3).item()
lab.compare("loss at initialization, reg 1e3", strong, "3.068597", (3.0602, 3.0852))
squares = float((model["W1"] ** 2).sum() + (model["W2"] ** 2).sum())
risen = strong - first
lab.compare("what reg 1e3 adds / (1/2 reg sum W^2)", risen / (500 * squares), 1, (0.9999, 1.0001))

# %% [markdown]
# D1 writes the term as ½λΣW², D2 as λΣW², D3 as λ/2m ΣW². Only one of them gives all four costs
# that the decks print, since ΣW² is known: 154,100 weights of variance 1e-8 make 1.541e-3.

# %%
squares = (3072 * 50 + 50 * 10) * 1e-8
printed = {0: 2.302612, 1e3: 3.068597, 0.6: 2.303033, 0.3: 2.302811}
print("\n  reg    the decks   1/2 reg W^2   reg W^2    reg/2m W^2")
for reg, cost in printed.items():
    half, whole, shared = (math.log(10) + k * reg * squares for k in (1 / 2, 1, 1 / (2 * 200)))
    print(f"  {reg:<6g} {cost:.6f}    {half:.6f}      {whole:.6f}   {shared:.6f}  (m = 200)")
print()
for reg, cost in printed.items():
    half = math.log(10) + reg / 2 * squares
    near = 2e-4 if reg < 1 else 0.006  # the decks' own weights differ by that
    lab.compare(f"ln 10 + 1/2 reg sum W^2, reg {reg:g}", half, cost, (cost - near, cost + near))
lab.note("D3's formula says reg/2m, its log needs 1/2 reg; D2's reg without the 1/2 fits neither.")
lab.note("D1's text says 0.001 randn, its code .0001: with .001 and reg 1e3 the loss is 79.")

# %% [markdown]
# ## 20 examples, learned by heart
# Without regularization, by plain gradient descent, all 20 in each step. "Very small loss, train
# accuracy 1.00, nice!" What cannot do that has a bug, and needs no more data.

# %%
trained, stats = ClassifierTrainer().train(
    X[:20], y[:20], X[:20], y[:20], copy.deepcopy(model), two_layer_net,
    num_epochs=200, reg=0.0, learning_rate=1e-3, sample_batches=False,
)  # fmt: skip
costs, accuracy = stats["loss_history"], stats["train_acc_history"]
lab.compare("20 examples: first cost", costs[0], "2.302603", (2.3024, 2.3028))
lab.compare("20 examples: cost after 19 epochs", costs[18], "1.421527", (0.3, 2.3))
lab.compare("20 examples: cost after 200 epochs", costs[-1], "0.002597", (0, 0.005))
lab.compare("20 examples: accuracy", accuracy[-1], "1.0", (1, 1))
if lab.data:
    lab.note("These are not the decks' first 20: the file has another order.")
_, small = ClassifierTrainer().train(
    X[:20] / 255, y[:20], X[:20] / 255, y[:20], copy.deepcopy(model), two_layer_net,
    num_epochs=200, reg=0.0, learning_rate=1e-3, sample_batches=False,
)  # fmt: skip
lab.compare("the same with pixels up to 1", small["loss_history"][-1], None, (2.29, 2.3028))
lab.note("The decks' rates are for pixels up to 255: with smaller inputs nothing moves.")

# %%
deck = {1: 2.302603, 8: 2.285096, 12: 2.076862, 16: 1.737430, 19: 1.421527, 200: 0.002597}
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
axes[0].semilogy(range(1, 201), costs, label="ours")
axes[0].semilogy(deck.keys(), deck.values(), "o", color="C3", markersize=4, label="the decks")
axes[0].axhline(math.log(10), color="0.5", linestyle=":", label="ln 10")
axes[0].set(title="20 examples: cost", xlabel="epoch", ylabel="cost", ylim=(5e-4, 5))
axes[0].legend()
axes[1].plot(range(1, 201), accuracy)
axes[1].set(title="20 examples: accuracy", xlabel="epoch", ylabel="accuracy", ylim=(0, 1.05))
lab.picture(figure, "overfit")

# %% [markdown]
# ## All of it in one call
# `health.check` does these checks, and more, for any model, loss and data, on a copy: here for a
# net that is right, and for one whose regularization somebody forgot to add.

# %%
net = nn.Sequential(nn.Linear(3072, 50), nn.ReLU(), nn.Linear(50, 10))


def with_term(reg):
    """The loss with regularization, for a strength."""
    weights = [p for p in net.parameters() if p.ndim > 1]
    return lambda scores, labels: (
        tg.cross_entropy(scores, labels) + reg / 2 * sum((w**2).sum() for w in weights)
    )


few = [(X[:200] / 64, y[:200])]  # the usual initialization is for inputs of about 1
for title, term in (("right", with_term), ("no term", lambda reg: tg.cross_entropy)):
    found = health.check(net, loader=few, regularized=term)
    bad = [finding for finding in found if finding.level != "note"]
    lab.compare(f"findings: {title}", len(bad), None, (0, 0) if title == "right" else (1, 1))
    for finding in bad:
        print(finding)
lab.end()
