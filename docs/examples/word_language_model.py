"""A word language model in plain PyTorch, as everybody has written it once.

python word_language_model.py TEXT_FILE [EPOCHS]

To try another cell change one line, the one that makes `self.rnn`:

    self.rnn = Recurrent("mut1", embedding, hidden, layers, dropout=dropout)
"""

import math
import sys
from pathlib import Path

import torch
from torch import nn

from rnnbench.nn import Recurrent  # noqa: F401


def read(path):
    """A text as numbers, and how many words there are."""
    words = Path(path).read_text("utf-8").replace("\n", " <eos> ").split()
    index = {word: k for k, word in enumerate(dict.fromkeys(words))}
    return torch.tensor([index[word] for word in words]), len(index)


def in_columns(words, batch):
    """(T, B): a part of the text in each column."""
    steps = len(words) // batch
    return words[: steps * batch].view(batch, steps).t().contiguous()


class Model(nn.Module):
    def __init__(self, words, embedding=32, hidden=64, layers=2, dropout=0.2):
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(words, embedding)
        self.rnn = nn.LSTM(embedding, hidden, layers, dropout=dropout)
        self.decoder = nn.Linear(hidden, words)

    def forward(self, words, state):
        output, state = self.rnn(self.drop(self.encoder(words)), state)
        return self.decoder(self.drop(output)), state


def detached(state):
    """The state without its history."""
    return state.detach() if isinstance(state, torch.Tensor) else tuple(map(detached, state))


def train(text, epochs=3, batch=8, steps=12, rate=5.0, clip=0.25):
    """Loss per word after each epoch."""
    words, count = read(text)
    columns = in_columns(words, batch)
    torch.manual_seed(0)
    model = Model(count)
    losses = []
    for _ in range(epochs):
        state, total = None, 0.0
        starts = range(0, len(columns) - 1, steps)
        for start in starts:
            x = columns[start : start + steps]
            wanted = columns[start + 1 : start + 1 + steps]
            x = x[: len(wanted)]
            state = None if state is None else detached(state)
            model.zero_grad()
            output, state = model(x, state)
            loss = nn.functional.cross_entropy(output.flatten(0, 1), wanted.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            with torch.no_grad():
                for weight in model.parameters():
                    weight -= rate * weight.grad
            total += loss.item()
        losses.append(total / len(starts))
        print(f"loss {losses[-1]:.3f}, perplexity {math.exp(losses[-1]):.1f}")
    return losses


if __name__ == "__main__":
    train(sys.argv[1], *map(int, sys.argv[2:3]))
