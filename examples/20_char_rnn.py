"""A character RNN: Shakespeare, one letter at a time."""

# %% [markdown]
# A language model gives the probability of each next character (CS150, "RNN for language
# modeling"). It is trained on one long text: the inputs are the characters of the text, the
# targets the same ones a place later. The text is read in chunks; h is handed on from chunk to
# chunk, but detached, so that the gradients end where the chunk begins.
#
# As training goes, the samples become words: the lecture shows four of them, from *War and Peace*.
# Here it is two sonnets of Shakespeare (1609), which a small net soon knows by heart; with
# `--data tinyshakespeare.txt` it is a million characters of his plays, 65 different ones, and the
# loss falls from ln 65 = 4.17 to 3.2 in 100 steps, 2.4 in 500, and 2.1 in 1500.

# %%
import math
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim
from tinygrad_cv.examples import course
from tinygrad_cv.models import LanguageModel, generate

lab = course.Lab("20_char_rnn")
embedded = lab.data is None
file = Path(course.__file__).parent / "sonnets.txt" if embedded else lab.data
if file.is_dir():
    file = max(file.glob("*.txt"), key=lambda each: each.stat().st_size, default=file / "text.txt")
batch = 4 if embedded else 32  # streams that are read side by side
text = data.TextFile(file, length=25)
size = len(text.vocabulary)
lab.compare("different characters", size, expected=(45, 45) if embedded else None)

# %% [markdown]
# ## The net of the lecture
# h_t = tanh(W_hh h_{t-1} + W_xh x_t), y_t = W_hy h_t, with 100 units and one-hot x. The step is
# compiled: forward, backward and update are recorded once and replayed.

# %%
model = LanguageModel(size, hidden_size=100, cell="RNN", bias=False)
optimizer = optim.Adam(model.parameters(), lr=2e-3 if embedded else 1e-3)


@tg.compile
def train(x, y, h):
    optimizer.zero_grad()
    scores, h = model(x, h)
    loss = tg.cross_entropy(scores.reshape(-1, size), y.reshape(-1))
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    return loss, h.detach()  # with its graph, the next backward pass would go through this chunk


def sample(length=160, temperature=0.7):
    """The first character of the text, and on: what the net says is fed back to it."""
    return text.decode(generate(model, text.data[:1], length, temperature))


# %%
shown = [0, 20, 50] if lab.quick else [0, 100, 500, 1500]
losses = []
samples = {0: sample()}
while len(losses) < shown[-1]:
    h = tg.zeros(1, batch, 100)  # at the beginning of the text nothing is known
    for x, y in data.DataLoader(text, batch_sampler=text.streams(batch)):
        loss, h = train(x, y, h)
        losses.append(loss.item())
        if len(losses) in shown:
            samples[len(losses)] = sample()
        if len(losses) == shown[-1]:
            break
for steps, said in samples.items():
    print(f"--- after {steps} steps:\n{said}")

first = math.log(size)
lab.note(f"A net that knows nothing has the loss ln {size} = {first:.4f}.")
lab.compare("first loss", losses[0], expected=(first - 0.05, first + 0.05))
bounds = {20: (2.9, 3.6), 50: (2.8, 3.4), 100: (2.5, 3.0), 500: (0.8, 1.6), 1500: (0, 0.3)}
if not embedded:
    bounds = {20: (3.0, 4.0), 50: (3.0, 3.7), 100: (3.0, 3.4), 500: (2.2, 2.6), 1500: (1.9, 2.2)}
for steps in shown[1:]:
    around = np.mean(losses[steps - 10 : steps])
    lab.compare(f"loss after {steps} steps", around, expected=bounds[steps])

# %% [markdown]
# ## Temperature
# A place is drawn from softmax(scores / temperature). At 0 the likeliest character is always
# taken; high temperatures flatten the distribution.

# %%
for temperature in (0, 0.5, 1, 2):
    said = sample(70, temperature).replace("\n", " / ")
    print(f"  temperature {temperature}: {said}")

# %% [markdown]
# ## Words
# At word level each word is an indicator vector, or picks a learned one (`embedding`); rare words
# are `<unk>`, so that the vocabulary stays small. The cell may be an LSTM or a GRU as well.

# %%
words = data.TextFile(file, length=25, units="words", max_vocabulary=2000)
writer = LanguageModel(len(words.vocabulary), hidden_size=100, cell="GRU", embedding=50)
optimizer_of_words = optim.Adam(writer.parameters(), lr=5e-3)


@tg.compile
def train_words(x, y):
    optimizer_of_words.zero_grad()
    loss = tg.cross_entropy(writer(x)[0].flatten(0, 1), y.flatten())
    loss.backward()
    optimizer_of_words.step()
    return loss


word_losses = []
for _ in range(1 if not embedded else 4 if lab.quick else 100):
    for x, y in data.DataLoader(words, batch_size=batch, shuffle=True, drop_last=True):
        word_losses.append(train_words(x, y).item())
first = math.log(len(words.vocabulary))
lab.note(f"There are {len(words.vocabulary)} words, and ln {len(words.vocabulary)} = {first:.4f}.")
lab.compare("words: first loss", word_losses[0], expected=(first - 0.1, first + 0.1))
least = (0, first if lab.quick else 0.5 if embedded else 5.0)
lab.compare(f"words: after {len(word_losses)} steps", np.mean(word_losses[-3:]), expected=least)
print(words.decode(generate(writer, words.encode("So long"), 30)))

# %%
figure = Figure(figsize=(12, 5), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
window = max(1, len(losses) // 30)
smooth = np.convolve(losses, np.ones(window) / window, "valid")
left.plot(losses, color="C0", alpha=0.3, label="each step")
left.plot(np.arange(len(smooth)) + window / 2, smooth, color="C0", label=f"mean of {window}")
left.axhline(math.log(size), color="grey", ls="--", label=f"ln {size}: knows nothing")
left.set(xlabel="step", ylabel="loss of a character", ylim=(0, None))
left.legend(frameon=False)
left.spines[["top", "right"]].set_visible(False)
right.set_axis_off()
for k, (steps, said) in enumerate(samples.items()):
    lines = textwrap.wrap(" ".join(said.split()), 66)[:3]
    top = 1 - k / len(samples)
    right.text(0, top, f"after {steps} steps", va="top", weight="bold")
    right.text(0, top - 0.05, "\n".join(lines), va="top", family="monospace", parse_math=False)
lab.picture(figure, "samples")
lab.end()
