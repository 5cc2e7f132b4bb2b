"""Promise: sequences of synthetic tasks are distributed as their papers say.

What they mean, and that their answers are right, is in `test_tasks.py`. Frequencies are compared
within four or five standard errors.
"""

from collections import Counter
from math import comb, log2

import numpy as np
import pytest
import torch
from task_readings import dynamic_ngrams, legal_brackets, may_follow

from rnnbench.draw import Draw
from rnnbench.tasks.languages import AnBn, Dyck
from rnnbench.tasks.mqar import Mqar
from rnnbench.tasks.ngrams import NGrams, best_bits
from rnnbench.tasks.noisy import Noisy
from rnnbench.tasks.order import Order
from rnnbench.tasks.reber import Reber
from rnnbench.tasks.stories import VOCABULARY, BabiOwn
from rnnbench.tasks.tracking import Groups, Modular, products
from rnnbench.tasks.vectors import CopyVectors, PrioritySort, Recall, RepeatCopy


def drawn(task, size, seed=1):
    return task.sample(np.random.default_rng(seed), size)


def alike(counts, expected):
    return max(abs(n - expected) for n in counts) < 4.5 * np.sqrt(expected)


# ---- state tracking


@pytest.mark.parametrize(
    ("group", "order", "solvable"),
    [("S3", 6, True), ("S5", 120, False), ("A5", 60, False), ("Z60", 60, True)],
)
def test_groups_are_groups(group, order, solvable):
    table = products(group)
    every = np.arange(order)
    assert table.shape == (order, order)
    assert all(np.array_equal(np.sort(line), every) for line in [*table, *table.T])
    # (ab)c = a(bc)
    assert np.array_equal(table[table][:, :, :], table[every[:, None, None], table[None]])
    [unit] = np.flatnonzero((table == every).all(1))
    inverse = np.argmax(table == unit, 1)
    members = set(every.tolist())
    for _ in range(4):  # the derived series ends at the unit just where a group is solvable
        a, b = np.array(sorted(members)), np.array(sorted(members))[:, None]
        members = set(table[table[inverse[a], inverse[b]], table[a, b]].ravel().tolist())
        size = 0
        while len(members) > size:
            size, part = len(members), np.array(sorted(members))
            members |= set(table[part[:, None], part].ravel().tolist())
    assert (members == {int(unit)}) == solvable


def test_elements_and_expressions_are_uniform():
    x = drawn(Groups(group="S3", length=20), 600).x
    assert alike(np.bincount(x.ravel(), minlength=6), x.size / 6)
    x = drawn(Modular(length=21), 600).x
    assert alike(np.bincount(x[::2].ravel(), minlength=5), 11 * 120)
    assert x[1::2].min() == 5 and alike(np.bincount(x[1::2].ravel() - 5, minlength=3), 10 * 200)


# ---- languages


def test_every_word_is_tested_once_and_trained_on_as_often_as_others():
    task = AnBn(length=25, letters=3)
    words = [
        b.x[: b.mask[:, k].sum() + b.mask[:, k].argmax(), k]
        for b in task.evaluation("valid", Draw(0), 3)
        for k in range(b.x.shape[1])
    ]
    assert ["".join("abc"[i] for i in word) for word in words] == [
        "a" * n + "b" * n + "c" * n for n in range(1, 9)
    ]
    assert alike(Counter(task.batch(Draw(0), 0, 4000).mask.argmax(0).tolist()).values(), 500)


@pytest.mark.parametrize(("pairs", "kinds"), [(4, 1), (3, 2)])
def test_balanced_strings_are_uniform(pairs, kinds):
    strings = Counter(map(tuple, drawn(Dyck(length=2 * pairs, kinds=kinds), 8000).x.T.tolist()))
    number = comb(2 * pairs, pairs) // (pairs + 1) * kinds**pairs
    assert len(strings) == number and alike(strings.values(), 8000 / number)
    assert all(len(list(legal_brackets(string, kinds))) == 2 * pairs for string in strings)


def test_choices_of_the_grammar_are_fair_and_strings_whole():
    b = drawn(Reber(), 2000)
    chosen = Counter()
    for x, y, mask in zip(b.x.T, b.y.T, b.mask.T, strict=True):
        n = int(mask.sum())
        text = "".join("BTPSXVE"[s] for s in [*x[:n], y[n - 1]])
        assert mask[:n].all() and text[0] == "B" and text[1] == text[-2] in "TP" and text[-1] == "E"
        if n < 10:
            chosen[text[2:-2]] += 1
        chosen[text[1]] += 1
    assert alike([chosen["T"], chosen["P"]], 1000)
    assert set(chosen) - {"T", "P"} == {"BTXSE", "BPVVE", "BTSXSE", "BPTVVE", "BPVPSE"}
    assert all(
        abs(n - 2000 * p) < 5 * np.sqrt(2000 * p)
        for n, p in ((chosen["BTXSE"], 1 / 8), (chosen["BTSXSE"], 1 / 16))
    )
    assert (
        may_follow("BTBT") == ["S", "X"]
        and may_follow("BPBPVVE") == ["P"]
        and not may_follow("BTT")
    )


# ---- vectors


def test_layouts_of_the_neural_turing_machine():
    b = drawn(CopyVectors(length=3, width=2), 4000)
    assert b.x.shape == (7, 4000, 3) and b.y.shape == (7, 4000, 2)
    assert (b.x[..., 2].T == [0, 0, 0, 1, 0, 0, 0]).all() and not b.x[3:, :, :2].any()
    assert alike(np.bincount((b.x[:3, :, :2].reshape(-1) > 0).astype(int)), 12_000)
    b = drawn(RepeatCopy(length=2, repeats=3, width=2), 5)
    assert b.x.shape == (10, 5, 3) and np.allclose(b.x[2, :, 2], -2.5 / np.sqrt(99 / 12))
    assert b.mask[3:].all() and not b.mask[:3].any() and (b.y[..., 2].T == [0] * 9 + [1]).all()
    b = drawn(Recall(items=4), 3000)
    assert b.x.shape == (4 * 4 + 5 + 3, 3000, 8) and b.mask[-3:].all() and b.mask.sum() == 9000
    asked = [
        [(b.x[17:20, k] == b.x[4 * item + 1 : 4 * item + 4, k]).all() for item in range(4)]
        for k in range(3000)
    ]
    assert alike(np.sum(asked, 0)[:3], 1000) and np.sum(asked, 0)[3] < 5  # by chance: 18 bits alike
    b = drawn(PrioritySort(), 500)
    priority = b.x[:20, :, 8]
    assert (
        b.x.shape == (37, 500, 10)
        and b.mask.sum() == 16 * 500
        and -1 <= priority.min() < -0.99 < 0.99 < priority.max() < 1
    )
    assert abs(priority.mean()) < 4 / np.sqrt(3 * priority.size)


# ---- others


def test_ngrams_cost_what_the_paper_says_they_cost_at_least():
    bits = drawn(NGrams(), 4000).y[..., 0].astype(int)
    best = best_bits(torch.from_numpy(bits), 5)
    rng = np.random.default_rng(8)
    literal = []
    for _ in range(400):
        seen, cost = Counter(), 5.0
        text = "".join(dynamic_ngrams(rng, 200, 5))
        for step in range(5, 200):
            behind = text[step - 5 : step]
            cost -= log2(
                (seen[behind, text[step]] + 0.5) / (seen[behind, "0"] + seen[behind, "1"] + 1)
            )
            seen[behind, text[step]] += 1
        literal.append(cost)
        [same] = best_bits(torch.tensor([[int(bit)] for bit in text]), 5).tolist()
        assert same == pytest.approx(cost)
    error = np.std(literal) / np.sqrt(400) + best.std().item() / np.sqrt(4000)
    assert abs(best.mean().item() - np.mean(literal)) < 4 * error
    assert 131 - 4 * error < best.mean().item() < 132 + 4 * error


@pytest.mark.parametrize("power", [0.01, 1.0])
def test_keys_come_again_by_a_power_law(power):
    task = Mqar(length=24, pairs=3, vocabulary=40, power=power)
    b = drawn(task, 6000)
    assert (b.mask.sum(0) == 3).all() and not b.mask[:6].any() and not b.mask[7::2].any()
    assert (b.x[:6:2] < 20).all() and (b.x[:6:2] > 0).all() and (b.x[1:6:2] >= 20).all()
    assert alike(np.bincount(b.x[0], minlength=20)[1:], 6000 / 19)
    rng = np.random.default_rng(0)
    odds = np.arange(1, 10) ** (power - 1)
    literal = np.zeros(9)
    for _ in range(6000):
        literal[rng.choice(9, 3, replace=False, p=odds / odds.sum())] += 1
    assert np.abs(b.mask[6::2].sum(1) - literal).max() < 4.5 * np.sqrt(2 * 6000 * 0.25)
    # or noise, 1 in 40
    first = np.array([np.flatnonzero(b.x[6::2, k] == b.x[0, k])[0] for k in range(6000)])
    shares = np.bincount(first, minlength=9)[:9] / 6000
    assert power == 1 or (shares[0] > 0.25 > 0.12 > shares[3])


@pytest.mark.parametrize(
    ("marks", "stretches"), [(2, [(10, 20), (50, 60)]), (3, [(10, 20), (33, 43), (66, 76)])]
)
def test_marks_stand_where_the_paper_puts_them(marks, stretches):
    b = drawn(Order(marks=marks), 3300)
    assert b.x.shape == (110, 3300) and (b.x[0] == 4).all()
    ends = b.mask.argmax(0)
    assert alike(Counter((ends + 1).tolist()).values(), 300) and {*(ends + 1).tolist()} == set(
        range(100, 111)
    )
    assert (b.x[ends, np.arange(3300)] == 5).all() and not b.x[100:][
        np.arange(100, 110)[:, None] > ends
    ].any()
    steps, columns = np.nonzero((b.x >= 6).T)[::-1]
    where = steps.reshape(3300, marks)
    assert np.array_equal(columns, np.repeat(np.arange(3300), marks))
    for place, (start, end) in zip(where.T, stretches, strict=True):
        assert {*place.tolist()} == set(range(start, end + 1)) and alike(
            Counter(place.tolist()).values(), 300
        )
    assert alike(np.bincount(b.y[b.mask]), 3300 / 2**marks)


@pytest.mark.parametrize("kind", [1, 2, 3, 6])
def test_stories(kind):
    task = BabiOwn(kind=kind)
    b = drawn(task, 2400)
    ends = b.mask.argmax(0)
    words = [[VOCABULARY[i] for i in x[: end + 1]] for x, end in zip(b.x.T, ends, strict=True)]
    statements = Counter(story.count(".") for story in words)
    assert set(statements) <= set(range(2, 11)) and all(story[-1] == "?" for story in words)
    assert kind in (2, 3) or alike(statements.values(), 2400 / 9)
    assert alike(np.bincount(b.y[b.mask]), 2400 / task.outputs)


@pytest.mark.parametrize("blurred", [False, True])
def test_noise(blurred):
    b = drawn(Noisy(blurred=blurred), 2000)
    label = b.y[b.mask]
    assert alike(np.bincount(label), 1000) and {*(b.mask.argmax(0) + 1).tolist()} == set(
        range(100, 111)
    )
    shown = b.x[:3, :, 0] - (2 * b.y[b.mask.argmax(0), np.arange(2000)] - 1)
    rest = b.x[3:100]
    assert abs(rest.var() - 0.2) < 4 * 0.2 * np.sqrt(2 / rest.size) and abs(
        rest.mean()
    ) < 4 * np.sqrt(0.2 / rest.size)
    assert (
        not shown.any()
        if not blurred
        else abs(shown.var() - 0.2) < 4 * 0.2 * np.sqrt(2 / shown.size)
    )
