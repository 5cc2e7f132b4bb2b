# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # Why gates? A notebook for students
#
# Each section is a claim of the lecture, a few lines that test it, and a question. Everything
# runs on a laptop; the budgets here are small, so that the whole notebook takes a minute.

# %%
import matplotlib.pyplot as plt
import torch

import rnnbench
from rnnbench.nn import Recurrent

# %% [markdown]
# ## 1. A plain network forgets
#
# How much does the state at step *t* depend on the first input? Let us differentiate one by the
# other.


# %%
def dependence(layer, steps=30):
    """Norm of the derivative of the state at each step by the first input."""
    x = torch.randn(steps, 1, layer.input_size)
    first = x[0].clone().requires_grad_()
    output, _ = layer(torch.cat([first[None], x[1:]]))
    norms = []
    for state in output:
        rows = [torch.autograd.grad(unit, first, retain_graph=True)[0] for unit in state[0]]
        norms.append(torch.stack(rows).norm().item())
    return norms


torch.manual_seed(0)
layers = {
    "tanh, small weights": Recurrent("tanh", 2, 16, init="scaled:0.7"),
    "lstm": Recurrent("lstm", 2, 16),
    "lstm, forget bias 3": Recurrent("lstm", 2, 16, forget_bias=3.0),
}
for name, layer in layers.items():
    plt.semilogy(dependence(layer), label=name)
plt.xlabel("step")
plt.ylabel("dependence on the first input")
plt.legend()
plt.show()

# %% [markdown]
# An LSTM whose gates stand half open forgets as a plain network does. It is the *open* forget
# gate that keeps the memory.
#
# **Question.** Which forget bias keeps half of the dependence over 30 steps? (Hint: σ(b)³⁰ =
# ½.)

# %% [markdown]
# ## 2. Does that matter for learning?
#
# Two marked numbers of a long sequence are to be added. A network that forgets can only answer
# the mean, whose squared error is 1/6.

# %%
settings = {
    "train": {"steps": 60, "batch": 20, "eval_every": 20},  # for a real answer: steps 2000
    "model": {"hidden": 16},
    "task.length": 20,
    "task.valid_size": 100,
    "task.test_size": 100,
    "paths.results": "runs",
}
run = rnnbench.train(cell="lstm", task="adding", **{"cell.forget_bias": 1}, **settings)
run

# %%
curve = run.curve
valid = curve[curve["split"] == "valid"]
plt.plot(valid["step"], valid["mse"], label="validation")
plt.axhline(run.record["baseline"]["mse"], linestyle="--", color="black", label="without memory")
plt.xlabel("step")
plt.ylabel("mean squared error")
plt.legend()
plt.show()

# %% [markdown]
# ## 3. Which cell? With which spread?
#
# One run is an anecdote. Here are three seeds of two cells, trained together.

# %%
table = rnnbench.sweep(
    cell=["tanh", "gru"], task="adding", seed=range(3), study="student", workers=1, **settings
)
table.groupby("cell")["value"].agg(["min", "median", "max", "count"])

# %% [markdown]
# **Question.** How many seeds would you want before you believe a difference?
# `rnnbench.report("runs/student")` answers for these runs.
#
# ## 4. Look inside
#
# A trained network is a PyTorch module.

# %%
x = torch.zeros(20, 1, 2)
x[:, 0, 0] = torch.rand(20)
x[[3, 15], 0, 1] = 1.0
predictions, _ = run.network(x)
print("wanted", float((x[:, 0, 0] * x[:, 0, 1]).sum()), "answered", float(predictions[-1]))
