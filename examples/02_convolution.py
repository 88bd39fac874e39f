"""Convolution: shared weights, sizes, parameters, and pooling that remembers."""

# %% [markdown]
# **D1 (Snavely, CS5670, lecture 26), "3D Activations", "Convolution Layer", "Stride", "Padding",
# "Max Pooling"; D0 (Yashunin, lesson 5), "Convolutional Layer", "MAX POOLING"**
#
# A ConvNet is a neural net with 3D activations and weight sharing. Here each size and each number
# of parameters of the slides is counted on layers, and not by formulas alone.

# %%
from matplotlib.figure import Figure

import tinygrad_cv as tg
from tinygrad_cv import models, nn, viz
from tinygrad_cv.examples.course import Lab

lab = Lab("02_convolution")
generator = tg.manual_seed(lab.seed)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def exactly(what, ours, deck):
    lab.compare(what, ours, deck=f"{deck:,}", expected=(deck, deck))


# %% [markdown]
# ## One neuron, one filter, six filters
# A neuron of a 5x5 filter on 3 channels depends on a 3x5x5 chunk: 75 weights and a bias. Six
# filters on a 3x32x32 image give six activation maps, a "new image" of 6x28x28.

# %%
image = tg.randn(1, 3, 32, 32, generator=generator)
exactly("parameters of one 5x5 filter, 3 channels", count(nn.Conv2d(3, 1, 5)), 76)
six = nn.Conv2d(3, 6, 5)(image)
for axis, size in enumerate((6, 28, 28), 1):
    exactly(f"six filters 5x5: axis {axis} of the output", six.shape[axis], size)

# %% [markdown]
# ## How big is the output?
# w_out = ⌊(w_in + 2p − k)/s⌋ + 1. With k = 3, s = 1, p = 1 the size stays, as in VGG.

# %%
for width, k, s, p in [(32, 5, 1, 0), (32, 3, 1, 1), (7, 3, 2, 0), (7, 3, 2, 1), (8, 3, 2, 0)]:
    out = nn.Conv2d(1, 1, k, s, p)(tg.zeros(1, 1, width, width)).shape[-1]
    by_formula = (width + 2 * p - k) // s + 1
    lab.compare(f"width {width}, k {k}, s {s}, p {p}", out, expected=(by_formula, by_formula))
lab.note("Of width 8 with k 3 and s 2 the last column is never seen.")

# %% [markdown]
# ## Weight sharing
# 32 filters 5x5x3 have 2,432 parameters. Without sharing, as a locally connected layer, each of the
# 28x28 places has its own: 1,906,688. With equal kernels everywhere it is the convolution.

# %%
shared = nn.Conv2d(3, 32, 5, generator=generator)
exactly("32 filters 5x5x3, shared", count(shared), 2432)
unshared = nn.LocallyConnected2d(3, 32, 32, 5, generator=generator)
exactly("32 filters 5x5x3, not shared", count(unshared), 1_906_688)
weight = shared.weight.expand(28, 28, 32, 3, 5, 5)
bias = shared.bias[:, None, None].expand(32, 28, 28)
difference = tg.locally_connected2d(image, weight, bias) - shared(image)
lab.compare(
    "locally connected, equal kernels: differs by", difference.abs().max(), expected=(0, 1e-5)
)

# %% [markdown]
# ## Max pooling
# Forward, the index that took the max is stored; backward, the gradient goes there, nowhere else.

# %%
slice_ = tg.tensor([[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]], requires_grad=True)
pooled, index = tg.max_pool2d(slice_[None, None], 2, return_indices=True)
lab.compare(
    "2x2 max pool", pooled.flatten().tolist(), deck=[6, 8, 3, 4], expected=([6, 8, 3, 4],) * 2
)
lab.compare("stored index", index.flatten().tolist(), expected=([5, 7, 8, 15],) * 2)
(gradient,) = tg.autograd.grad(pooled.sum(), slice_)
print(gradient)
lab.compare(
    "gradient: sum where the maxima were",
    gradient.flatten()[index.flatten()].sum(),
    expected=(4, 4),
)
lab.compare("gradient: sum in all", gradient.sum(), expected=(4, 4))

# %% [markdown]
# ## The example net
# [CONV-ReLU-CONV-ReLU-POOL] three times, ten 3x3 filters each, and scores: 6,440 parameters.

# %%
net = models.example_net(generator=generator)
exactly("parameters of the example net", count(net), 6440)
print(viz.summary(net, (1, 3, 32, 32)))

# %% [markdown]
# ## Activation maps
# One filter, one depth slice. Filters that anyone can read: edges and their opposites, a blur and a
# spot, on a digit of 8x8 pixels enlarged four times.

# %%
splits = lab.images()
picture = tg.tensor(splits.test_images[:1]) / 255
sobel = tg.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
filters = {
    "rises to the right": sobel,
    "rises downward": sobel.T,
    "blur": tg.ones(3, 3) / 9,
    "spot": tg.tensor([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]]) / 8,
}
weight = tg.stack(list(filters.values()))[:, None].expand(4, 3, 3, 3) / 3  # the same on 3 channels
maps = tg.relu(tg.conv2d(picture, weight, padding=1))
figure = Figure(figsize=(11, 5), layout="constrained")
panels = figure.subplots(2, 5)
panels[0, 0].imshow(picture[0].permute(1, 2, 0).numpy())
panels[0, 0].set_title("3x32x32")
panels[1, 0].text(0.5, 0.5, "relu(conv(image)):\n4x32x32", ha="center", va="center", fontsize=13)
for k, name in enumerate(filters, 1):
    panels[0, k].imshow(filters[name].numpy(), cmap="gray", vmin=-0.5, vmax=0.5)
    panels[1, k].imshow(maps[0, k - 1].numpy(), cmap="gray")
    panels[0, k].set_title(name)
for panel in panels.flat:
    panel.set_axis_off()
lab.picture(figure, "activation_maps", "png")
lab.end()
