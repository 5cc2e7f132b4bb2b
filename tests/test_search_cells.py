"""Candidates of a search: graphs compute what their text computes, mutations do what the paper
says, and twins are recognised, whatever they look like.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import sigmoid, tanh

from rnnbench.catalogue import resolve
from rnnbench.catalogue import step as step_of
from rnnbench.cells.gru import gru
from rnnbench.cells.lstm import lstm
from rnnbench.cells.mut import mut1, mut3
from rnnbench.equations.plan import plan
from rnnbench.equations.trace import trace
from rnnbench.errors import UserError
from rnnbench.search.graph import REFERENCES, Graph, Limits, Node, graph, ordered, why_not
from rnnbench.search.identity import canonical, fingerprint, known
from rnnbench.search.mutate import (
    MUTATIONS,
    Draft,
    Grammar,
    changed,
    combine,
    insert,
    mutant,
    mutate_at,
    remove,
    shrink,
)
from rnnbench.search.starts import start
from rnnbench.search.writing import INPUTS, Idle, compiled, function_text

WIDTH = 5
# blocks of the graphs' text → the shipped cells'
RENAMED = {
    "lstm": {"t1": "z", "g": "i", "g1": "f", "g2": "o"},
    "gru": {"g": "r", "g1": "z", "t": "n"},
}
SHIPPED = {"lstm": lstm, "gru": gru}


def function(candidate, inputs="project"):
    return compiled(function_text(candidate, "cell", inputs), "cell")


def read_by(make):
    """W, R or b: every block is what make(name) says, always the same."""
    found = {}

    class Blocks:
        def __getattr__(self, name):
            return found.setdefault(name, make(name))

    return Blocks()


def normal(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


OWN = """from torch import sigmoid, tanh

def leaky(W, R, b, x, h, c):
    g = sigmoid(W.g @ x + R.g @ tanh(h) + b.g)
    n = tanh(W.e @ x - R.n @ (g * h) + b.n + h)
    c = (1 - g) * n + c * g
    return 2 * tanh(c), c

def bare(W, R, b, x, h):
    return tanh(W.h @ x + b.h + 0.5 * h)

def loose(W, R, b, x, h):
    return tanh(W.h @ x + b.h + sigmoid(R.h @ h) * h)

def twice(W, R, b, x, h):
    return tanh(W.one @ x) + tanh(W.other @ x) * tanh(R.h @ h + b.h)
"""


@pytest.mark.parametrize("typed", ["mut1", "mut2", "mut3", "mgu", "own.py:leaky"])
def test_a_cell_as_the_start_of_a_search_computes_what_the_cell_does(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    theirs = resolve(typed if ".py" in typed else step_of(typed), "cell")
    ours = function(start("cell", typed))
    # all blocks of a family alike: then their names do not matter
    blocks = [normal(1, WIDTH, 3), normal(2, WIDTH, WIDTH), normal(3, WIDTH)]
    families = [read_by(lambda _, block=block: block) for block in blocks]
    one = other = (normal(5, WIDTH), normal(6, WIDTH))[: 2 if typed == "own.py:leaky" else 1]
    for k in range(9):
        x = normal(10 + k, 3)
        one, other = ours(*families, x, *one), theirs(*families, x, *other)
        one, other = (v if isinstance(v, tuple) else (v,) for v in (one, other))
        for mine, known_ in zip(one, other, strict=True):
            torch.testing.assert_close(mine, known_, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("own.py:bare", "the number 0.5"),
        ("own.py:loose", "R.h without a bias"),
        ("own.py:twice", "no graph that computes the same"),
        ("lstm_vanilla", "p\\.i"),
        ("tcn", "a layer without equations"),
        ("linattn", "shapes of their own"),
    ],
)
def test_a_cell_that_no_graph_says_is_refused_as_a_start(typed, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(UserError, match=why) as refused:
        start("cell", typed)
    assert typed in str(refused.value)


@pytest.mark.parametrize("name", REFERENCES)
def test_lstm_and_gru_as_graphs_are_the_shipped_cells(name):
    shapes = {"W": (WIDTH, 3), "R": (WIDTH, WIDTH), "b": (WIDTH,)}
    blocks = {
        family: {old: normal(sum(map(ord, family + old)), *shape) for old in RENAMED[name]}
        for family, shape in shapes.items()
    }
    ours = [SimpleNamespace(**blocks[family]) for family in "WRb"]
    theirs = [
        SimpleNamespace(**{RENAMED[name][old]: t for old, t in blocks[family].items()})
        for family in "WRb"
    ]
    drawn = function(REFERENCES[name])
    states = [normal(5, WIDTH), normal(6, WIDTH)][: len(REFERENCES[name].state)]
    one = other = tuple(states)
    for step in range(9):
        x = normal(10 + step, 3)
        one, other = drawn(*ours, x, *one), SHIPPED[name](*theirs, x, *other)
        one, other = (s if isinstance(s, tuple) else (s,) for s in (one, other))
        for a, b in zip(one, other, strict=True):
            assert (a - b).abs().max() < 1e-10


def mutants(count, seed=0, steps=4, **grammar):
    made = []
    for k in range(count):
        rng = np.random.default_rng((seed, k))
        candidate = REFERENCES[("lstm", "gru")[k % 2]]
        for _ in range(1 + k % steps):
            candidate, _ = mutant(candidate, rng, Grammar(**grammar))
        made.append(candidate)
    return made


def interpreted(candidate, embed, x, states, W, R):
    """The graph node by node: `linear a` is (matrix + a · identity) @ v."""
    functions = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}
    two = {"add": torch.add, "sub": torch.sub, "mul": torch.mul}
    values = [None, *states]
    for node in candidate.nodes:
        if node.linear and node.inputs[0] == 0 and not embed:
            values.append(W @ x)
            continue
        read = [W @ x if v == 0 else values[v] for v in node.inputs]
        if node.linear:
            values.append((R + node.diagonal * torch.eye(WIDTH, dtype=R.dtype)) @ read[0])
        else:
            values.append((functions | two)[node.op](*read))
    return [values[v] for v in candidate.results]


@pytest.mark.parametrize("inputs", INPUTS)
def test_the_text_of_a_graph_computes_the_graph(inputs):
    W, R = normal(1, WIDTH, 3), 0.5 * normal(2, WIDTH, WIDTH)
    compared = 0
    for candidate in mutants(400):
        try:
            made = function(candidate, inputs)
        except Idle:
            continue
        program = trace(made)
        bare = inputs == "embed" or any(0 in n.inputs for n in candidate.nodes if not n.linear)
        written = len(program.products("W")) + len(program.products("R"))
        if written != candidate.products + bare:
            continue  # matrices of one operand in a sum are one, so that weights differ by design
        arguments = {"W": read_by(lambda _: W), "R": read_by(lambda _: R)}
        arguments["b"] = read_by(lambda _: torch.zeros(WIDTH, dtype=torch.float64))
        states = [normal(7 + k, WIDTH) for k in range(len(candidate.state))]
        x = normal(9, 3)
        names = made.__code__.co_varnames[: made.__code__.co_argcount]
        given = dict(zip(candidate.state, states, strict=True)) | {"x": x} | arguments
        found = made(*(given[name] for name in names))
        expected = interpreted(candidate, inputs == "embed", x, states, W, R)
        for a, b in zip(found if isinstance(found, tuple) else (found,), expected, strict=True):
            assert torch.allclose(a, b, rtol=1e-10, atol=1e-10, equal_nan=True)
        compared += 1
    assert compared > 200


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_a_diagonal_beside_the_matrix_learns_as_one_on_it(optimizer):
    start, v = normal(3, WIDTH, WIDTH), normal(4, WIDTH)
    beside = start.clone().requires_grad_()
    on = (start + 0.9 * torch.eye(WIDTH, dtype=torch.float64)).requires_grad_()
    forwards = (lambda: tanh(beside @ v + 0.9 * v), lambda: tanh(on @ v))
    for parameter, forward in zip((beside, on), forwards, strict=True):
        rule = optimizer([parameter], lr=0.1)
        for _ in range(5):
            rule.zero_grad()
            (forward() - 0.3).square().sum().backward()
            rule.step()
    assert torch.allclose(forwards[0](), forwards[1](), rtol=1e-12)


@pytest.mark.parametrize("mutate", ["each", "few"])
def test_every_mutant_is_a_cell(mutate):
    planned = 0
    for candidate in mutants(300, seed=1, mutate=mutate):
        for k, node in enumerate(candidate.nodes, candidate.first):
            assert all(value < k for value in node.inputs)  # acyclic
        assert len(candidate.results) == len(candidate.state)
        assert why_not(candidate, Limits()) is None
        try:
            made = plan(function(candidate))
        except (Idle, UserError):
            continue
        planned += 1
        read = sum(len(names) for names in made.blocks.values())
        assert made.count(1, 1) == read and made.blocks["W"]
    assert planned > 240


def test_mutants_of_one_seed_are_one_list():
    assert mutants(20, seed=2) == mutants(20, seed=2) != mutants(20, seed=3)


def test_few_changes_less_than_each():
    """p from [0, 1) changes half of the nodes on average, `few` at most three."""
    rng = np.random.default_rng(0)
    base = REFERENCES["lstm"]

    def kept(mutate):
        same = []
        for _ in range(200):
            made = changed(base, rng, Grammar(mutate=mutate))
            same.append(sum(node in made.nodes for node in base.nodes) / len(base.nodes))
        return np.mean(same)

    assert kept("few") > kept("each") + 0.1


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.__name__)
def test_a_mutation_changes_what_is_computed(mutation):
    rng, differ, applied = np.random.default_rng(3), 0, 0
    for k in range(120):
        base = REFERENCES[("lstm", "gru")[k % 2]]
        draft = Draft(base)
        at = int(rng.integers(base.first, base.first + len(base.nodes)))
        if not mutation(draft, at, rng, Grammar()) or why_not(draft.drawn(), Limits()):
            continue
        try:
            after = fingerprint(trace(function(draft.drawn())))
        except (Idle, UserError):
            continue
        applied += 1
        differ += after != fingerprint(trace(function(base)))
    assert applied > 15 and differ > applied / 2


def test_removing_what_was_inserted_restores_the_graph():
    rng = np.random.default_rng(4)
    for _ in range(50):
        base = REFERENCES["gru"]
        draft = Draft(base)
        at = int(rng.integers(base.first, base.first + len(base.nodes)))
        insert(draft, at, rng, Grammar())
        between = max(draft.nodes)
        assert draft.drawn() != base
        assert remove(draft, between, rng, Grammar())
        assert draft.drawn() == base


def test_shrinking_never_adds_a_node_and_combining_never_makes_a_circle():
    rng = np.random.default_rng(5)
    for candidate in mutants(60, seed=6):
        for mutation in (shrink, combine):
            draft = Draft(candidate)
            at = int(rng.integers(candidate.first, candidate.first + len(candidate.nodes)))
            mutation(draft, at, rng, Grammar())
            made = draft.drawn()  # raises where there is a circle
            assert mutation is combine or len(made.nodes) < len(candidate.nodes)


def test_a_circle_is_noticed():
    with pytest.raises(ValueError, match="circle"):
        ordered(("h",), {2: Node("tanh", (3,)), 3: Node("tanh", (2,))}, (2,))


@pytest.mark.parametrize(
    ("nodes", "results", "state", "why"),
    [
        ([("linear 0", 1)], (2,), ("h",), "x is never used"),
        ([("linear 0", 0), ("tanh", 2)], (3,), ("h",), "nothing recurs"),
        ([("add", 0, 1), ("tanh", 2)], (3,), ("h",), "nothing is learnt"),
        ([("linear 0", 0), ("add", 3, 1)], (4, 2), ("h", "c"), "never depends on x"),
        ([("linear 0", 0), ("add", 3, 1), ("add", 3, 2)], (4, 5), ("h", "c"), "never reaches"),
        ([("linear 0", 0)] + [("tanh", 2)] * 60 + [("add", 2, 1)], (63,), ("h",), "at most"),
    ],
)
def test_what_is_no_cell_is_refused(nodes, results, state, why):
    made = Graph(state, tuple(Node(op, tuple(read)) for op, *read in nodes), results)
    assert why in why_not(made, Limits())


def test_a_graph_survives_json():
    import json

    for candidate in mutants(10):
        assert graph(json.loads(json.dumps(candidate.plain()))) == candidate


# Which cell is it?


def test_references_and_their_relatives_are_known_by_name():
    assert known()[fingerprint(trace(function(REFERENCES["gru"])))] == "gru"
    assert known()[fingerprint(trace(function(REFERENCES["lstm"])))] == "lstm"
    assert known()[fingerprint(trace(mut3))] == "mut3"


def twin(W, R, b, x, h):
    keep = sigmoid(R.a @ h + b.a + W.a @ x)
    reset = sigmoid(b.q + W.q @ x + R.q @ h)
    new = tanh(R.c @ (h * reset) + (b.c + W.c @ x))
    return keep * (h - new) + new


def other_way(W, R, b, x, h):
    r = sigmoid(W.r @ x + R.r @ h + b.r)
    z = sigmoid(W.z @ x + R.z @ h + b.z)
    n = tanh(W.n @ x + R.n @ (r * h) + b.n)
    return z * n + (1 - z) * h


def tied(W, R, b, x, h):
    r = sigmoid(W.r @ x + R.r @ h + b.r)
    n = tanh(W.n @ x + R.n @ (r * h) + b.n)
    return r * h + (1 - r) * n


def test_algebra_leaves_a_fingerprint_alone_and_nothing_else_does():
    prints = {f.__name__: fingerprint(trace(f)) for f in (gru, twin, other_way, tied, mut1)}
    assert prints["twin"] == prints["gru"]
    assert len(set(prints.values())) == 4
    assert canonical(trace(twin)) != canonical(trace(gru))


def squares(W, R, b, x, h):
    u = tanh(W.u @ x + R.u @ h + b.u)
    return u * u


def two_factors(W, R, b, x, h):
    u = tanh(W.u @ x + R.u @ h + b.u)
    v = tanh(W.v @ x + R.v @ h + b.v)
    return v * u


def two_renamed(W, R, b, x, h):
    a = tanh(R.a @ h + (W.a @ x + b.a))
    v = tanh(W.v @ x + R.v @ h + b.v)
    return a * v


def test_one_value_twice_is_not_two_values():
    assert fingerprint(trace(squares)) != fingerprint(trace(two_factors))
    assert fingerprint(trace(two_renamed)) == fingerprint(trace(two_factors))
    assert canonical(trace(squares)) != canonical(trace(two_factors))


def test_names_and_order_leave_the_canonical_form_alone():
    def renamed(W, R, b, x, s):
        a = sigmoid(R.one @ s + W.one @ x + b.one)
        q = sigmoid(b.two + (R.two @ s + W.two @ x))
        k = tanh(R.k @ (s * a) + W.k @ x + b.k)
        return q * s + k * (1 - q)

    assert fingerprint(trace(renamed)) == fingerprint(trace(gru))


def test_mutating_at_a_node_takes_what_can_act():
    """At an elementwise node operators 1 and 4 cannot act; something else always does."""
    base, rng = REFERENCES["gru"], np.random.default_rng(0)
    at = next(k for k, n in enumerate(base.nodes, base.first) if n.op == "mul")
    for _ in range(30):
        draft = Draft(base)
        mutate_at(draft, at, rng, Grammar())
        assert draft.drawn() != base
