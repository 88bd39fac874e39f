"""Fine-tuning: features learned from many images serve where there are few."""

# %% [markdown]
# **D1 (Snavely, CS5670), "Summary": fine-tune from ImageNet. D0 (Yashunin), "next time": knowledge
# transfer.** Here MNIST is the ImageNet: a ConvNet of 6,186 parameters was trained on its 60,000
# images at 8x8, and its weights come with the package ([digit_net.py](digit_net.py) made them). Our
# own images are the 1,797 digits of another collection, of which only 1, 2 or 5 of each class have
# labels.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinygrad_cv as tg
from tinygrad_cv import data, optim
from tinygrad_cv.examples.course import Lab
from tinygrad_cv.examples.digit_net import WEIGHTS, digit_net, pretrained

lab = Lab("18_fine_tuning")
weights = tg.load(WEIGHTS)
if lab.data is not None:  # MNIST: they are made anew
    weights = pretrained(lab.data, epochs=1 if lab.quick else 5).state_dict()
images, labels = map(tg.tensor, data.load_digits())
unseen = slice(1000, None)  # the first 1,000 give the labelled ones

# %% [markdown]
# ## Taking over the weights
# The head is new, as it would be for other classes; all else is loaded. `strict=False` takes what
# is there and tells what was missing: only the head, so the names fit. (A name that is mistyped
# would be told here, and nowhere else. A shape that does not fit is an error even so.)

# %%
features = {name: values for name, values in weights.items() if not name.startswith("9.")}


def with_features():
    model = digit_net()  # whose head, layer 9, is new
    return model, model.load_state_dict(features, strict=False)


model, keys = with_features()
print(keys)
lab.compare("parameters", sum(p.numel() for p in model.parameters()), expected=(6186, 6186))
lab.compare("missing: the head's", len(keys.missing_keys), expected=(2, 2))
lab.compare("unexpected", len(keys.unexpected_keys), expected=(0, 0))


# %% [markdown]
# ## Three ways
# From scratch; frozen, where only the head learns; and tuned: first the head, then all with a tenth
# of the rate. Batch norm stays in evaluation mode while features are taken over: the statistics of
# ten images are worse than those of MNIST.


# %%
def accuracy(model):
    model.eval()
    with tg.no_grad():
        return float((model(images[unseen]).argmax(dim=1) == labels[unseen]).float().mean())


def learn(model, parameters, lr, steps, rows):
    optimizer = optim.Adam(parameters, lr=lr)
    for _ in range(steps // 2 if lab.quick else steps):
        optimizer.zero_grad()
        tg.cross_entropy(model(images[rows]), labels[rows]).backward()
        optimizer.step()


def three_ways(each, seed):
    """The accuracies from scratch, frozen and tuned, with so many images of each class."""
    rng = np.random.default_rng(seed)
    tg.manual_seed(seed)
    order = rng.permutation(1000)
    rows = np.concatenate([order[labels.numpy()[order] == k][:each] for k in range(10)])
    scratch = digit_net()
    learn(scratch, scratch.parameters(), 1e-2, 60, rows)
    model, _ = with_features()
    model.eval()
    model.requires_grad_(False)
    model[9].requires_grad_()
    learn(model, model[9].parameters(), 1e-2, 40, rows)
    frozen = accuracy(model)
    model.requires_grad_()
    learn(model, model.parameters(), 1e-3, 30, rows)
    return accuracy(scratch), frozen, accuracy(model)


# What the course's notes have, from other draws and without the two stages.
MEASURED = {1: (0.663, 0.715, 0.722), 2: (0.795, 0.831, 0.843), 5: (0.884, 0.921, 0.929)}
WAYS = ("from scratch", "frozen", "tuned")
counts = (1, 2, 5) if lab.quick else (1, 2, 5, 20)
means, spreads = [], []
for each in counts:
    every = [three_ways(each, lab.seed + k) for k in range(2 if lab.quick else 10)]
    means.append(np.mean(every, axis=0))
    spreads.append(np.std(every, axis=0))
    for way, value, near in zip(WAYS, means[-1], MEASURED.get(each, WAYS), strict=True):
        bounds = None if lab.quick or each not in MEASURED else (near - 0.12, near + 0.12)
        lab.compare(f"{each} per class, {way}", value, expected=bounds)
    lab.compare(
        f"{each} per class: gain of frozen",
        means[-1][1] - means[-1][0],
        expected=(0.02, 0.3) if each in MEASURED else None,
    )
lab.note("tuning adds little to frozen features where there are ten images: do not promise more.")
lab.note("From the digits 0-4 to 5-9 of one small collection it loses a point or two.")

# %% [markdown]
# What MNIST's own head says of our digits, without a single label of theirs:

# %%
model = digit_net()
model.load_state_dict(weights)
lab.compare("MNIST's head, no label at all", accuracy(model), expected=(0.8, 0.97))

# %%
figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
for k, way in enumerate(WAYS):
    places = np.array(counts) * 1.04 ** (k - 1)
    values, sd = 100 * np.array(means)[:, k], 100 * np.array(spreads)[:, k]
    axes.errorbar(places, values, sd, marker="o", lw=2, capsize=4, label=way)
own = 100 * lab.numbers["MNIST's head, no label at all"]
axes.axhline(own, ls=":", color="gray")
axes.text(counts[-1], own, "MNIST's own head ", va="bottom", ha="right")
axes.set_xscale("log")
axes.set_xticks(counts, [str(each) for each in counts])
axes.minorticks_off()
axes.set(xlabel="labelled images of each class", ylabel="test accuracy (%)")
axes.grid(alpha=0.3)
axes.legend(loc="lower right")
lab.picture(figure, "accuracy")
lab.end()
