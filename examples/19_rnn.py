"""Recurrent nets: running sums, "hello", and an image in glimpses."""

# %% [markdown]
# A recurrent net applies the same step to each part of a sequence, and hands a state h on
# (CS150, "Recurrent Neural Network"). The vanilla one is
#
#     h_t = tanh(W_hh h_{t-1} + W_xh x_t),    y_t = W_hy h_t
#
# without biases. PyTorch's `nn.RNN` has two of them, and no output layer. This lab unrolls the
# recurrence by hand, sets the weights of a summation network, learns "hello" with the vocabulary
# [h, e, l, o], and classifies digits that are read row by row.

# %%
import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim, viz
from tinygrad_cv.examples.course import Lab
from tinygrad_cv.models import LanguageModel, generate

lab = Lab("19_rnn")

# %% [markdown]
# ## The recurrence, by hand
# Unrolled in time it is an ordinary graph, in which each step takes the same three matrices; their
# gradients are the sums over the steps.

# %%
W_xh, W_hh, W_hy = ((0.5 * tg.randn(*shape)).requires_grad_() for shape in [(8, 4), (8, 8), (4, 8)])
hello = data.Text("hello", length=4, vocabulary="helo")
inputs, targets = map(tg.tensor, hello[0])  # hell, ello: each target is the next input
hot = tg.one_hot(inputs, 4).float()

x, h, y = [row[:, None] for row in hot], [tg.zeros(8, 1)], []
for t in range(4):
    h.append(tg.tanh(W_hh @ h[t] + W_xh @ x[t]))
    y.append(W_hy @ h[t + 1])
scores = tg.cat(y, 1).T
loss = tg.cross_entropy(scores, targets)
lab.picture(viz.draw(loss, formulas=False), "unrolled")

layer, head = nn.RNN(4, 8, bias=False), nn.Linear(8, 4, bias=False)
layer.load_state_dict({"weight_ih_l0": W_xh, "weight_hh_l0": W_hh})
head.load_state_dict({"weight": W_hy})
difference = (head(layer(hot)[0]) - scores).abs().max()
count = [sum(p.numel() for p in net.parameters()) for net in (layer, head, nn.RNN(4, 8))]
lab.compare("by hand against nn.RNN(bias=False)", difference, expected=(0, 1e-6))
lab.compare("parameters of the deck's net", count[0] + count[1], expected=(128, 128))
lab.compare("parameters of nn.RNN(4, 8)", count[2], expected=(112, 112))

# %% [markdown]
# ## The summation network
# One unit whose three weights are 1 adds up what comes in. (`nn.RNN` has no W_hy, which is as if it
# were 1; of numbers that are positive ReLU is the identity.) The weights can also be learned.

# %%
adder = nn.RNN(1, 1, nonlinearity="relu", bias=False)
for weight in adder.parameters():
    weight.data.fill_(1.0)
sums, _ = adder(tg.tensor([[1.0], [2.0], [3.0], [4.0]]))
true = [1, 3, 6, 10]
lab.compare("running sum of 1 2 3 4", sums.flatten().tolist(), expected=(true, true))

for weight in adder.parameters():
    weight.data.fill_(0.5)
optimizer = optim.Adam(adder.parameters(), lr=0.02)
for _ in range(300):
    x = tg.rand(6, 32, 1)
    optimizer.zero_grad()
    loss = tg.mse_loss(adder(x)[0], tg.cumsum(x, 0))
    loss.backward()
    optimizer.step()
for name, weight in zip(("W_xh", "W_hh"), adder.parameters(), strict=True):
    lab.compare(f"{name}, learned", weight.item(), expected=(0.99, 1.01))

# %% [markdown]
# ## "hello"
# At training time the inputs are the characters of the text, whatever the net would have said:
# teacher forcing. At test time its own output is fed back. A new net knows nothing: its loss is
# ln 4. The second l is followed by another character than the first, so without a state nobody
# gets below ½ ln 2.


# %%
def train(model, optimizer, texts, steps):
    """Teach it that `targets` follow the places in `texts`; return the last loss."""
    for _ in range(steps):
        optimizer.zero_grad()
        scores, _ = model(texts)
        loss = tg.cross_entropy(scores.reshape(4, 4), targets)
        loss.backward()
        optimizer.step()
    return loss.item()


model = LanguageModel(4, hidden_size=16, bias=False)
optimizer = optim.Adam(model.parameters(), lr=0.02)
first = tg.cross_entropy(model(inputs)[0], targets)
done = 0
for steps in (1, 5, 10, 300):
    last, done = train(model, optimizer, inputs, steps - done), steps
    said = hello.decode(generate(model, hello.encode("h"), 4, temperature=0))
    print(f"  steps: {steps}, loss: {last:.4f}, from h on it says {said}")
lab.compare("hello: first loss; ln 4 = 1.386", first, expected=(1.2, 1.6))
lab.compare("hello: loss after 300 steps", last, expected=(0, 1e-3))
lab.compare("hello: h is continued to hello", said == "hello", expected=(1, 1))

model = LanguageModel(4, hidden_size=16, bias=False)
optimizer = optim.Adam(model.parameters(), lr=0.02)
last = train(model, optimizer, inputs[:, None], 300)  # four texts of one character
lab.compare("hello without a state; ½ ln 2 = .3466", last, expected=(0.346, 0.348))

# %% [markdown]
# ## Many to one: glimpses
# An image is no sequence, but it can be read as one: here each row of a digit is a glimpse, and the
# class is read from the last state. (One to many, as for a caption, is `generate` with a single
# place as the prompt; many to many is "hello".)

# %%
splits = data.load_dataset("digits" if lab.data is None else lab.data)
rows, classes = map(tg.tensor, (splits.train_images[:, 0], splits.train_labels))
test_rows, test_classes = map(tg.tensor, (splits.test_images[:, 0], splits.test_labels))
reader, head = nn.GRU(rows.shape[2], 64, batch_first=True), nn.Linear(64, splits.classes)
optimizer = optim.Adam([*reader.parameters(), *head.parameters()], lr=0.005)


@tg.compile
def glimpse(x, y):
    optimizer.zero_grad()
    _, last = reader(x)
    loss = tg.cross_entropy(head(last[0]), y)
    loss.backward()
    optimizer.step()
    return loss


batches = data.DataLoader(data.TensorDataset(rows, classes), 64, shuffle=True, drop_last=True)
epochs = 4 if lab.quick else 30
for _ in range(epochs if lab.data is None else 2):
    for x, y in batches:
        glimpse(x, y)
with tg.no_grad():
    right = (head(reader(test_rows)[1][0]).argmax(1) == test_classes).float().mean()
likely = (0.8 if lab.quick else 0.95, 1) if lab.data is None else None
lab.compare("digits, row by row: test accuracy", right, expected=likely)
lab.end()
