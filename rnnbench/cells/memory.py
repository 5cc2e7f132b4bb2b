"""Cells with a memory beside their units: stacks, and a tape that heads read and write."""

from torch import exp, log, maximum, norm, outer, roll, sigmoid, softmax, tanh
from torch.nn.functional import softplus


def stackrnn(
    W,
    R: "push pop rest: stacks, v: stacks size",
    b: "push pop rest: stacks",
    x,
    h=0,
    S: "stacks cells size" = -1,
    top: "cells" = "first",
    *,
    stacks=1,
    size=8,
    cells=0,
):
    """Stack-RNN: units that push on stacks and pop from them, by degrees.

    Source: Joulin & Mikolov (2015), Inferring algorithmic patterns with stack-augmented recurrent
        nets; vectors on the stack and a choice to leave it as in Delétang et al. (2023), Neural
        networks and the Chomsky hierarchy.
    Reading: units are tanh and see each other, too, and the two uppermost cells; actions are not
        rounded at test. An empty cell holds −1. A stack is a ring: what is popped goes to its
        bottom, which is reached in as many steps as it has cells. stacks, size: how many, and of
        how many numbers a cell. cells: of a stack; 0: as many as the task's horizon has steps.
    """
    h = tanh(W.h @ x + R.h @ h + R.first @ (top @ S) + R.second @ (roll(top, 1) @ S) + b.h)
    up = R.push @ h + b.push
    down = R.pop @ h + b.pop
    stay = R.rest @ h + b.rest
    most = maximum(maximum(up, down), stay)
    total = exp(up - most) + exp(down - most) + exp(stay - most)
    push = exp(up - most) / total
    pop = exp(down - most) / total
    rest = exp(stay - most) / total
    v = tanh(R.v @ h)
    lower = roll(S, 1, -2)
    S = push * (lower + outer(top, v - top @ lower)) + pop * roll(S, -1, -2) + rest * S
    return h, S, top


def ntm(
    W,
    R: "k: 2 columns, beta g l s r gamma: 2, e a: columns",
    b: "k: 2 columns, beta g l s r gamma: 2, e a: columns",
    x,
    y=0,
    h=0,
    c=0,
    read: "columns" = 0,
    w: "2 rows" = "first",
    reads: "2" = "first",
    M: "rows columns" = "learnt",
    *,
    rows=64,
    columns=16,
):
    """Neural Turing machine: an LSTM with a head that reads from a memory and one that writes.

    Source: Graves, Wayne & Danihelka (2014), Neural Turing machines, eqs. 1 to 9.
    Reading: heads address the memory before it is written. It starts as it is learnt, and both
        heads at its first row, as Collier & Beel (2018), Implementing neural Turing machines, found
        starts to matter. Of all that there is twice, the first belongs to the head that reads.
        Shifts to the left, none and to the right have logits l, s and r; sharpening is in
        logarithms. The output is the controller's, with what was read added by a matrix.
    """
    z = tanh(W.z @ x + R.z @ h + R.zr @ read + b.z)
    i = sigmoid(W.i @ x + R.i @ h + R.ir @ read + b.i)
    f = sigmoid(W.f @ x + R.f @ h + R.fr @ read + b.f)
    o = sigmoid(W.o @ x + R.o @ h + R.or_ @ read + b.o)
    c = f * c + i * z
    h = o * tanh(c)
    k = tanh(R.k @ h + b.k)
    like = (M / maximum(norm(M, dim=-1), 1e-12)) @ (k / maximum(norm(k, dim=-1), 1e-12))
    g = sigmoid(R.g @ h + b.g)
    mixed = g * softmax(softplus(R.beta @ h + b.beta) * like, -1) + (1 - g) * w
    l = R.l @ h + b.l
    s = R.s @ h + b.s
    r = R.r @ h + b.r
    most = maximum(maximum(l, s), r)
    left = exp(l - most)
    stay = exp(s - most)
    right = exp(r - most)
    moved = (left * roll(mixed, -1) + stay * mixed + right * roll(mixed, 1)) / (left + stay + right)
    w = softmax((1 + softplus(R.gamma @ h + b.gamma)) * log(moved + 1e-16), -1)
    read = (reads @ w) @ M
    u = roll(reads, 1) @ w
    e = sigmoid(R.e @ h + b.e)
    a = tanh(R.a @ h + b.a)
    M = M * (1 - outer(u, e)) + outer(u, a)
    return h + R.y @ read, h, c, read, w, reads, M
