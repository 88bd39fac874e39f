"""A character RNN: Shakespeare, one letter at a time."""

# %% [markdown]
# A language model gives the probability of each next character (CS150, "RNN for language
# modeling"). It is trained on one long text: the inputs are the characters of the text, the
# targets the same ones a place later. The text is read in chunks; h is handed on from chunk to
# chunk, but detached, so that the gradients end where the chunk begins.
#
# As training goes, the samples become words: the lecture shows four of them, from *War and Peace*.
# Here it is two sonnets of Shakespeare (1609), which a small net soon knows by heart; with
# `--data tinyshakespeare.txt` it is a million characters of his plays.

# %%
from pathlib import Path

import matplotlib.pyplot as plt

import tinygrad_cv as tg
from tinygrad_cv import data, nn, optim
from tinygrad_cv.examples import course
from tinygrad_cv.models import LanguageModel, generate

lab = course.Lab("20_char_rnn")
file = Path(course.__file__).parent / "sonnets.txt" if lab.data is None else lab.data
if file.is_dir():
    [file] = sorted(file.glob("*.txt"))
batch = 4 if lab.data is None else 32  # streams that are read side by side
text = data.TextFile(file, length=25)
size = len(text.vocabulary)
print(f"  {len(text.data):,} characters, {size} different ones")

# %% [markdown]
# ## The net of the lecture
# h_t = tanh(W_hh h_{t-1} + W_xh x_t), y_t = W_hy h_t, with 100 units and one-hot x. The compiled
# step makes forward, backward and update in one go.

# %%
model = LanguageModel(size, hidden_size=100, cell="RNN", bias=False)
optimizer = optim.Adam(model.parameters(), lr=2e-3 if lab.data is None else 1e-3)


@tg.compile
def train(x: tg.Tensor, y: tg.Tensor, h: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
    optimizer.zero_grad()
    scores, h = model(x, h)
    loss = tg.cross_entropy(scores.reshape(-1, size), y.reshape(-1))
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    return loss, h.detach()  # without detach the graph would reach back to the first character


def sample(temperature: float, length: int = 200) -> str:
    return text.decode(generate(model, text.encode("\n"), length, temperature))


# %%
shown = [0, 50] if lab.quick else [0, 100, 500, 1500]
losses: list[float] = []
while len(losses) <= shown[-1]:
    h = tg.zeros(1, batch, 100)
    for x, y in data.DataLoader(text, batch_sampler=text.streams(batch)):
        if len(losses) in shown:
            print(f"\n--- after {len(losses)} steps:{sample(temperature=1)}")
        loss, h = train(x, y, h)
        losses.append(loss.item())
        if len(losses) > shown[-1]:
            break
lab.end()
