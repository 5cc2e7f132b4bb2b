# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # A new cell: a notebook for researchers
#
# A cell is a function that reads like its paper. Write it here, compare it with what there is,
# use it in a model of yours.

# %%
import numpy as np
import torch
from torch import nn, sigmoid, tanh

import rnnbench
from rnnbench.nn import Recurrent


# %%
def leaky(W, R, b, x, h):
    """A gate that leaks: half a GRU, without reset."""
    z = sigmoid(W.z @ x + R.z @ h + b.z)
    return z * h + (1 - z) * tanh(W.n @ x + R.n @ h + b.n)


# %% [markdown]
# ## Beside known cells
#
# The source of `leaky` is written into the folder of each of its runs, so that they can be
# opened, repeated and exported anywhere.

# %%
settings = {
    "train": {"steps": 60, "batch": 20, "eval_every": 20},  # for a real answer: steps 3000
    "task.length": 20,
    "task.valid_size": 100,
    "task.test_size": 100,
    "model.match": "params:1000",
    "paths.results": "runs",
}
table = rnnbench.sweep(
    cell=[leaky, "gru", "lstm"],
    task="adding",
    seed=range(2),
    study="leaky",
    workers=1,
    **settings,
)
table.pivot_table(index="cell", values=["value", "params"], aggfunc="median")

# %%
rnnbench.report("runs/leaky")

# %% [markdown]
# ## In a model of yours
#
# The same cell takes the place of `nn.LSTM`, with its shapes, at the speed of compiled code.


# %%
class Tagger(nn.Module):
    def __init__(self, cell, symbols=10, units=16):
        super().__init__()
        self.embed = nn.Embedding(symbols, 8)
        self.layer = Recurrent(cell, 8, units, batch_first=True, bidirectional=True)
        self.readout = nn.Linear(2 * units, symbols)

    def forward(self, words):
        return self.readout(self.layer(self.embed(words))[0])


torch.manual_seed(0)
model = Tagger(leaky)
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
for _ in range(30):
    words = torch.randint(10, (16, 12))
    wanted = words.roll(1, dims=1)  # the word before
    loss = nn.functional.cross_entropy(model(words).flatten(0, 1), wanted.flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"loss {loss.item():.2f}, by guessing {np.log(10):.2f}")

# %% [markdown]
# ## On data of yours
#
# Arrays of sequences and labels, from a file; `task="table"` reads CSV and Parquet.

# %%
random = np.random.default_rng(0)
x = random.normal(size=(60, 15, 2)).cumsum(axis=1)
np.savez("walks.npz", x=x, y=(x[:, -1, 0] > 0).astype(int))
few = {key: value for key, value in settings.items() if not key.startswith("task.")}
run = rnnbench.train(
    cell=leaky, task="arrays", **{"task.path": "walks.npz", "task.kind": "classification"}, **few
)
run
