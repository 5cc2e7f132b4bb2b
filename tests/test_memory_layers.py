"""Cells whose states have shapes of their own, beside the papers' equations in loops of NumPy."""

import numpy as np
import pytest
import torch

from rnnbench.cells import fastweights, memory, normalised
from rnnbench.engine.network import Network, stacked
from rnnbench.equations.plan import plan
from rnnbench.errors import UserError
from rnnbench.layers.memn2n import MemN2N
from rnnbench.layers.recurrent import Recurrent
from rnnbench.runs.records import Folder
from rnnbench.tools.eval import run_eval
from rnnbench.training.loop import Training

K, T, B, I, H = 2, 7, 2, 3, 6  # noqa: E741
KINDS = {
    "linattn": (fastweights.linattn, {"heads": 2}),
    "deltanet": (fastweights.deltanet, {"heads": 2, "reach": 2}),
    "mlstm": (fastweights.mlstm, {"heads": 2}),
    "lstm_ln": (normalised.lstm_ln, {}),
    "gru_ln": (normalised.gru_ln, {}),
    "stackrnn": (memory.stackrnn, {"stacks": 2, "size": 3, "cells": 9}),
    "ntm": (memory.ntm, {"rows": 5, "columns": 4}),
}
every_kind = pytest.mark.parametrize("name", KINDS)


def computed(name):
    """(the weights of every replica by their names, x, outputs of a random network), float64."""
    stack = stacked(Recurrent(plan(*KINDS[name])), 1, 10, False)
    network = Network(stack, K, I, H, 4, False, torch.float64, "cpu")
    generator = torch.Generator().manual_seed(5)
    network.flat.copy_(0.7 * torch.randn(network.flat.shape, generator=generator))
    x = torch.randn(K, T, B, I, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        y, _ = network.run(None, x, network.zero_state(B))
    own = [{n: t[k].detach().numpy() for n, t in network.layer(0).items()} for k in range(K)]
    return [named(stack[0].plan, tensors) for tensors in own], x.numpy(), y.numpy(), network


def named(made, tensors):
    """ "W.q" → the matrix as it stands left of x; "b.q" → the vector; "start" as it is."""
    names = {"W": ("W", made.blocks["W"]), "p": ("p", made.blocks["p"])}
    names |= {"b": ("b", made.blocks["b"])}
    names |= {f"R{g}": ("R", blocks) for g, (_, blocks) in enumerate(made.groups)}
    found = {"start": tensors.get("start")}
    for key, (family, blocks) in names.items():
        ends = np.cumsum(made.columns(family, blocks, H))[:-1]
        parts = np.split(tensors[key], ends, -1) if blocks else []
        found |= {f"{family}.{n}": part.T for n, part in zip(blocks, parts, strict=True)}
    return found


def told(w, x, *names):
    """W x + b, of each block."""
    return [w[f"W.{n}"] @ x + w[f"b.{n}"] for n in names]


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softmax(a):
    e = np.exp(a - a.max())
    return e / e.sum()


def unit(a):
    return a / np.sqrt((a**2).sum())


def norm(a):
    return (a - a.mean()) / np.sqrt(((a - a.mean()) ** 2).mean() + 1e-5)


def feature(a):
    return np.where(a > 0, a + 1, np.exp(a))


def linattn(w, xs):
    """Every output anew, as attention over the past: no state is carried."""
    D, made = H // 2, []
    parts = [told(w, x, *"qkv") for x in xs]
    for t in range(len(xs)):
        y = []
        for a in range(2):
            here = slice(a * D, (a + 1) * D)
            q = feature(parts[t][0][here])
            scores = np.array([feature(parts[s][1][here]) @ q for s in range(t + 1)])
            values = np.array([parts[s][2][here] for s in range(t + 1)])
            y.append(scores @ values / scores.sum())
        made.append(np.concatenate(y))
    return made


def deltanet(w, xs):
    """S as a product of (I − β k kᵀ), written as in the paper, columns for values."""
    D, made = H // 2, []
    S = [np.zeros((D, D)) for _ in range(2)]
    for x in xs:
        whole, y = told(w, x, *"qkv"), []
        strength = 2 * sigmoid(told(w, x, "beta")[0])
        for a in range(2):
            q, k, v = (part[a * D : (a + 1) * D] for part in whole)
            q, k = (unit(p * sigmoid(p)) for p in (q, k))
            beta = strength[a]
            S[a] = S[a] @ (np.eye(D) - beta * np.outer(k, k)) + beta * np.outer(v, k)
            y.append(S[a] @ q)
        made.append(np.concatenate(y))
    return made


def mlstm(w, xs):
    """The parallel form of the paper's appendix, without a stabiliser: weights from every past
    step.
    """
    D, made = H // 2, []
    whole = [told(w, x, *"qkvo") for x in xs]
    gates = [told(w, x, *"if") for x in xs]
    for t in range(len(xs)):
        y = []
        for a in range(2):
            here = slice(a * D, (a + 1) * D)
            q, o = whole[t][0][here], whole[t][3][here]
            values, weights = [], []
            for s in range(t + 1):
                i = np.exp(gates[s][0][a])
                f = np.prod([sigmoid(gates[u][1][a]) for u in range(s + 1, t + 1)])
                weights.append(f * i * (q @ whole[s][1][here]) / D**0.5)
                values.append(whole[s][2][here])
            weights = np.array(weights)
            total = weights @ np.array(values) / max(abs(weights.sum()), 1)
            y.append(sigmoid(o) * total)
        made.append(np.concatenate(y))
    return made


def lstm_ln(w, xs):
    h = c = np.zeros(H)
    made = []

    def vector(kind):
        return np.concatenate([w[f"{kind}{gate}"] for gate in "fioz"])

    W, R = (np.concatenate([w[f"{family}.{gate}"] for gate in "fioz"]) for family in "WR")
    for x in xs:
        whole = norm(W @ x) * vector("p.x") + norm(R @ h) * vector("p.h") + vector("b.")
        f, i, o, g = np.split(whole, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(norm(c) * w["p.c"] + w["b.c"])
        made.append(h)
    return made


def gru_ln(w, xs):
    h, made = np.zeros(H), []

    def vector(kind):
        return np.concatenate([w[f"{kind}{gate}"] for gate in "zrn"])

    W, R = (np.concatenate([w[f"{family}.{gate}"] for gate in "zrn"]) for family in "WR")
    for x in xs:
        a_z, a_r, a_n = np.split(norm(W @ x) * vector("p.x") + vector("b."), 3)
        u_z, u_r, u_n = np.split(norm(R @ h) * vector("p.h"), 3)
        z, r = sigmoid(a_z + u_z), sigmoid(a_r + u_r)
        h = z * h + (1 - z) * np.tanh(a_n + r * u_n)
        made.append(h)
    return made


def stackrnn(w, xs):
    """A stack of lists: nothing goes round."""
    S, C, D = 2, 9, 3
    h, stack, made = np.zeros(H), np.full((S, C, D), -1.0), []
    for x in xs:
        first, second = (stack[:, i].reshape(-1) for i in (0, 1))
        seen = w["R.first"] @ first + w["R.second"] @ second
        h = np.tanh(w["W.h"] @ x + w["b.h"] + w["R.h"] @ h + seen)
        actions = [w[f"R.{n}"] @ h + w[f"b.{n}"] for n in ("push", "pop", "rest")]
        values = np.tanh(w["R.v"] @ h).reshape(S, D)
        new = np.empty_like(stack)
        for s in range(S):
            push, pop, rest = softmax(np.array([action[s] for action in actions]))
            for i in range(C):
                above = values[s] if i == 0 else stack[s, i - 1]
                below = stack[s, i + 1] if i + 1 < C else np.full(D, -1.0)
                new[s, i] = push * above + pop * below + rest * stack[s, i]
        stack = new
        made.append(h)
    return made


def ntm(w, xs):
    N, D = 5, 4
    M = w["start"].reshape(N, D)
    place = [np.eye(N)[0], np.eye(N)[0]]
    h = c = np.zeros(H)
    r, made = np.zeros(D), []
    for x in xs:
        z, i, f, o = (
            w[f"W.{n}"] @ x + w[f"b.{n}"] + w[f"R.{n}"] @ h + w[f"R.{n}r"] @ r for n in "zifo"
        )
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(z)
        h = sigmoid(o) * np.tanh(c)

        def asked(name, h=h):
            return w[f"R.{name}"] @ h + w[f"b.{name}"]

        for head in (0, 1):
            key = np.tanh(asked("k").reshape(2, D)[head])
            beta, g = np.log1p(np.exp(asked("beta")[head])), sigmoid(asked("g")[head])
            gamma = 1 + np.log1p(np.exp(asked("gamma")[head]))
            s = softmax(np.array([asked(n)[head] for n in "lsr"]))
            alike = np.array([unit(key) @ unit(row) for row in M])
            mixed = g * softmax(beta * alike) + (1 - g) * place[head]
            moved = np.array(
                [
                    sum(mixed[j] * s[(i - j + 1) % N] for j in range(N) if (i - j + 1) % N < 3)
                    for i in range(N)
                ]
            )
            place[head] = moved**gamma / (moved**gamma).sum()
        r = place[0] @ M
        at = place[1][:, None]
        M = M * (1 - at * sigmoid(asked("e"))) + at * np.tanh(asked("a"))
        made.append(h + w["R.y"] @ r)
    return made


@every_kind
def test_it_is_what_the_paper_says(name):
    own, x, y, _ = computed(name)
    for k in range(K):
        for b in range(B):
            expected = np.stack(globals()[name](own[k], x[k, :, b]))
            np.testing.assert_allclose(y[k, :, b], expected, rtol=1e-9, atol=1e-9)


@every_kind
def test_a_sequence_in_two_windows_is_the_sequence(name):
    _, x, y, network = computed(name)
    x = torch.from_numpy(x)
    with torch.no_grad():
        first, states = network.run(None, x[:, :3], network.zero_state(B))
        second, _ = network.run(None, x[:, 3:], states)
    torch.testing.assert_close(torch.cat([first, second], 1), torch.from_numpy(y))


@every_kind
def test_it_trains_goes_on_and_is_evaluated(name, settings_for, trained, silent, capsys):
    from rnnbench.errors import Interrupted

    small = "task=reverse task.length=5 model.hidden=4 train.steps=6 train.batch=3"
    rest = "train.eval_every=3 train.eval_limit=1 train.eval_batch=4"
    asked = [f"cell={name}", *small.split(), *rest.split()]
    whole = trained(*(settings_for(*asked, f"seed={s}", "study=whole") for s in range(2)))
    parts = [settings_for(*asked, f"seed={s}", "study=parts") for s in range(2)]
    with pytest.raises(Interrupted):
        trained(*parts, watch=silent(stop_after=4))
    for before, after in zip(whole, trained(*parts), strict=True):
        assert after["final"] == before["final"] and after["status"] == "finished"
    run_eval([str(Folder.of(parts[0]).path), "task.length=7"])
    assert "7" in capsys.readouterr().out


def test_memory_network_is_that_of_the_paper():
    """Sentence by sentence: bags of words, ages counted back from the latest, tied hops."""
    hops, stop = 3, 0
    kind = MemN2N(hops=hops, memory=2)
    stack = stacked(kind, 1, 10, True, (stop,))
    network = Network(stack, K, 5, H, 4, True, torch.float64, "cpu")
    generator = torch.Generator().manual_seed(3)
    network.flat.copy_(0.7 * torch.randn(network.flat.shape, generator=generator))
    x = torch.tensor([[1, 2, 0, 3, 0, 4, 2, 0, 1, 3, 4], [2, 0, 1, 1, 4, 0, 3, 2, 1, 4, 2]]).T
    x = x.expand(K, *x.shape)
    with torch.no_grad():
        y, _ = network.run(None, x, network.zero_state(2))
    for k in range(K):
        E, age = (network.layer(0)[name][k].detach().numpy() for name in "ET")
        for b in range(2):
            told, now = [], []
            for t in range(x.shape[1]):
                word = int(x[k, t, b])
                now.append(word)
                u = E[0][now].sum(0)
                seen = told[-2:][::-1]  # the latest first
                for hop in range(hops if seen else 0):
                    m = np.array([E[hop][s].sum(0) + age[hop][a] for a, s in enumerate(seen)])
                    c = [E[hop + 1][s].sum(0) + age[hop + 1][a] for a, s in enumerate(seen)]
                    u = u + softmax(m @ u) @ np.array(c)
                np.testing.assert_allclose(y[k, t, b].numpy(), u, rtol=1e-9, atol=1e-9)
                if word == stop:
                    told.append(now)
                    now = []


def test_memory_network_learns_a_story_and_refuses_what_has_no_sentences(settings_for, pack_of):
    asked = ["cell=memn2n", "task=babi_own", "task.statements=4", "model.hidden=16"]
    run = settings_for(*asked, "optim.lr=0.02", "train.batch=32", "cell.constants.memory=4")
    training = Training(pack_of(run))
    losses = [training.update().item() for _ in range(120)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    with pytest.raises(UserError, match=r"cell=memn2n reads sentences of words"):
        pack_of(settings_for("cell=memn2n", "task=copy"))


def test_a_text_goes_on_with_its_states(settings_for, pack_of, tmp_path):
    """A matrix of states is carried from window to window, and nothing is read twice."""
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question. " * 60)
    asked = [f"task.corpus={text}", "task.window=8", "train.batch=2", "model.hidden=4"]
    training = Training(pack_of(settings_for("cell=deltanet", "task=charlm", *asked)))
    training.update()
    before = training.states[0][1].clone()
    training.update()
    assert training.pack.network.context == 0 and before.shape == (1, 2, 1, 4, 4)
    assert before.any() and not torch.equal(before, training.states[0][1])
