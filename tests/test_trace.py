"""Every mistake in a user's cell ends in one line that names file, line and remedy."""

import re

import pytest
import torch

from rnnbench.catalogue import resolve
from rnnbench.equations.plan import plan
from rnnbench.equations.trace import trace
from rnnbench.errors import UserError
from rnnbench.evidence.problem import differentiated, draw, planned
from rnnbench.evidence.verify import against_literal

HEAD = "import torch\nfrom torch import sigmoid, tanh\n\n\n"

# what is wrong: (the function, with the guilty line marked «, words of the message)
MISTAKES = {
    "a state left of @": (
        """def cell(W, R, b, x, h):
    return tanh(W.h @ x + h @ R.h)  «
""",
        ["R.h is a matrix and must stand left of @: R.h @ h"],
    ),
    "two vectors and @": (
        """def cell(W, R, b, x, h):
    z = sigmoid(W.z @ x)
    return z @ h  «
""",
        ["left of @ must be W.name or R.name", "use * for vectors"],
    ),
    "a vector left of @": (
        """def cell(W, R, b, x, h):
    z = sigmoid(W.z @ x + b.z @ h)  «
    return z * h
""",
        ["left of @", "got b.z", "use * for vectors"],
    ),
    "W multiplies a state": (
        """def cell(W, R, b, x, h):
    return tanh(W.h @ x
                + W.r @ h  «
                + b.h)
""",
        ["W.r must not multiply h", "W multiplies x"],
    ),
    "R multiplies x": (
        """def cell(W, R, b, x, h):
    return tanh(R.h @ x + b.h) * h  «
""",
        ["R.h must not multiply x", "R multiplies a state"],
    ),
    "R multiplies a number": (
        """def cell(W, R, b, x, h):
    return tanh(W.h @ x + R.h @ 2)  «
""",
        ["R.h must not multiply 2"],
    ),
    "R multiplies what is the same for all": (
        """def cell(W, R, b, x, h):
    v = tanh(b.v)
    return tanh(W.h @ x + R.h @ v) + h  «
""",
        ["R.h", "neither x nor a state"],
    ),
    "augmented assignment": (
        """def cell(W, R, b, x, h, c):
    c += tanh(W.c @ x + R.c @ h + b.c)  «
    return tanh(c), c
""",
        ["c is changed in place", "write c = "],
    ),
    "item assignment": (
        """def cell(W, R, b, x, h, c):
    z = tanh(W.c @ x + R.c @ h + b.c)
    c[0] = z  «
    return tanh(c), c
""",
        ["c[0] is changed in place", "write c = "],
    ),
    "item assignment among others": (
        """def cell(W, R, b, x, h, c):
    z, c[0] = tanh(W.c @ x), 1  «
    return z, c
""",
        ["c[0] is changed in place", "write c = "],
    ),
    "a method that changes in place": (
        """def cell(W, R, b, x, h, c):
    c.add_(tanh(W.c @ x + R.c @ h + b.c))  «
    return tanh(c), c
""",
        [".add_() changes a tensor in place"],
    ),
    "a method that is no operation": (
        """def cell(W, R, b, x, h):
    return tanh(W.h @ x + R.h @ h).detach()  «
""",
        [".detach is not an operation of cells", "sigmoid"],
    ),
    "a branch": (
        """def cell(W, R, b, x, h):
    z = W.h @ x + R.h @ h
    if z > 0:  «
        return z
    return tanh(z)
""",
        ["cannot branch on a tensor", "maximum"],
    ),
    "a loop": (
        """def cell(W, R, b, x, h):
    total = W.h @ x
    for value in h:  «
        total = total + value
    return total
""",
        ["cannot loop over", "whole vectors"],
    ),
    "its length": (
        """def cell(W, R, b, x, h):
    z = W.h @ x
    return z * len(h)  «
""",
        ["len"],
    ),
    "a block used twice": (
        """def cell(W, R, b, x, h):
    z = sigmoid(W.z @ x + R.z @ h)
    n = tanh(W.n @ x + R.z @ (z * h))  «
    return n
""",
        ["R.z is used a second time", "block of its own"],
    ),
    "a bias used twice": (
        """def cell(W, R, b, x, h):
    z = sigmoid(W.z @ x + b.z)
    return z * h + b.z  «
""",
        ["b.z is used a second time"],
    ),
    "bare x": (
        """def cell(W, R, b, x, h):
    r = sigmoid(W.r @ x + R.r @ h)
    return tanh(x) * r  «
""",
        ["x is used outside W.name @ x", "project it"],
    ),
    "x is returned": (
        """def cell(W, R, b, x, h, c):
    return tanh(W.r @ x + h + c), x
""",
        ["x is used outside W.name @ x"],
    ),
    "x is not used": (
        """def cell(W, R, b, x, h):  «
    return tanh(R.r @ h)
""",
        ["x is never used", "W.name @ x"],
    ),
    "no x": (
        """def cell(W, R, b, h):  «
    return tanh(R.r @ h)
""",
        ["takes x and at least one state", "def cell(W, R, b, x, h)"],
    ),
    "no state": (
        """def cell(W, b, x):  «
    return tanh(W.h @ x)
""",
        ["at least one state"],
    ),
    "too few states returned": (
        """def cell(W, R, b, x, h, c):  «
    return tanh(W.h @ x + R.h @ h) + c
""",
        ["takes states h, c but returns 1 values"],
    ),
    "too many states returned": (
        """def cell(W, R, b, x, h):  «
    n = tanh(W.h @ x + R.h @ h)
    return n, n
""",
        ["takes states h but returns 2 values"],
    ),
    "a constant returned": (
        """def cell(W, R, b, x, h, c):  «
    return tanh(W.h @ x + R.h @ h), 1
""",
        ["returns a constant", "must be a new state"],
    ),
    "nothing returned": (
        """def cell(W, R, b, x, h):  «
    n = tanh(W.h @ x + R.h @ h)
""",
        ["must be a new state"],
    ),
    "a state that is a bias": (
        """def cell(W, R, b, x, h, c):  «
    return tanh(W.h @ x + R.h @ h) + c, b.c
""",
        ["the new c depends on neither x nor a state"],
    ),
    "another function": (
        """def cell(W, R, b, x, h):
    n = W.h @ x + R.h @ h
    return torch.cumsum(n, -1)  «
""",
        ["torch.cumsum is not an operation of cells"],
    ),
    "a function of another module": (
        """def cell(W, R, b, x, h):
    return torch.nn.functional.elu(W.h @ x + R.h @ h)  «
""",
        ["torch.nn.functional.elu is not an operation", "relu"],
    ),
    "an operator that is not there": (
        """def cell(W, R, b, x, h):
    n = W.h @ x + R.h @ h
    return n % 2  «
""",
        ["% is not an operation of cells"],
    ),
    "a slice": (
        """def cell(W, R, b, x, h):
    n = W.h @ x + R.h @ h
    return n[0]  «
""",
        ["[ ] is not an operation of cells"],
    ),
    "no parentheses": (
        """def cell(W, R, b, x, h):
    z = sigmoid(W.z @ x)
    return z * R.h @ h  «
""",
        ["R.h is a matrix", "in parentheses, (R.h @ h)"],
    ),
    "a matrix as a vector": (
        """def cell(W, R, b, x, h):
    return tanh(W.h @ x + R.h)  «
""",
        ["R.h is a matrix", "left of @"],
    ),
    "a bias without a name": (
        """def cell(W, R, b, x, h):
    n = tanh(W.h @ x + R.h @ h + b)  «
    return n
""",
        ["b is used as a whole", "b.z"],
    ),
    "a matrix without a name": (
        """def cell(W, R, b, x, h):
    return tanh(W @ x + R.h @ h)  «
""",
        ["W is used as a whole", "W.z"],
    ),
    "a transposed matrix": (
        """def cell(W, R, b, x, h):
    return tanh(W.h @ x + R.h.T @ h)  «
""",
        ["R.h is a matrix", "left of @"],
    ),
    "a property of a state": (
        """def cell(W, R, b, x, h):
    return tanh(W.h @ x) * h.shape  «
""",
        ["h.shape cannot be read here"],
    ),
    "a tensor made in the cell": (
        """def cell(W, R, b, x, h):
    n = tanh(W.h @ x)
    return n * torch.ones(3) + h  «
""",
        ["a tensor is made here", "p.name or b.name"],
    ),
    "a number where a tensor belongs": (
        """def cell(W, R, b, x, h, *, beta=1.0):
    n = tanh(W.h @ x)
    return n * sigmoid(beta) + h  «
""",
        ["TypeError", "sigmoid"],
    ),
    "a name that does not exist": (
        """def cell(W, R, b, x, h):
    n = tanh(W.h @ x)
    return n + p.h * h  «
""",
        ["NameError", "'p'", "take it as an argument"],
    ),
    "a function that is not imported": (
        """def cell(W, R, b, x, h):
    n = relu(W.h @ x)  «
    return n + R.h @ h
""",
        ["NameError", "'relu'", "from torch import relu"],
    ),
    "a recurrent product that nothing reads": (
        """def cell(W, R, b, x, h):
    dead = R.dead @ tanh(h)  «
    return tanh(W.h @ x + R.h @ h)
""",
        ["R.dead would never learn: nothing reads it", "remove it"],
    ),
    "an input product that nothing reads": (
        """def cell(W, R, b, x, h):
    spare = sigmoid(W.spare @ x)  «
    return tanh(W.h @ x + R.h @ h)
""",
        ["W.spare would never learn: nothing reads it"],
    ),
    "a bias that only a comparison reads": (
        """def cell(W, R, b, x, h):
    n = tanh(W.h @ x + R.h @ h)
    return torch.where(n > b.edge, n, h)  «
""",
        ["b.edge would never learn: only a comparison reads it"],
    ),
    "a list returned": (
        """def cell(W, R, b, x, h, c):  «
    n = tanh(W.h @ x + R.h @ h)
    return [n, n * c]
""",
        ["returns a list", "return h, c"],
    ),
    "a dictionary returned": (
        """def cell(W, R, b, x, h):  «
    return {"h": tanh(W.h @ x + R.h @ h)}
""",
        ["returns a dict", "return h"],
    ),
    "the Python function max": (
        """def cell(W, R, b, x, h):
    return max(W.h @ x, 0)  «
""",
        ["cannot branch on a tensor", "maximum"],
    ),
    "a comparison as a number": (
        """def cell(W, R, b, x, h):
    n = tanh(W.h @ x)
    return (n > h) * n + h  «
""",
        ["a comparison is no vector", "where(c > 0, a, b)"],
    ),
    "where without a comparison": (
        """def cell(W, R, b, x, h):
    n = tanh(W.h @ x)
    return torch.where(n, n, h)  «
""",
        ["where needs a comparison first"],
    ),
    "where between numbers": (
        """def cell(W, R, b, x, h):
    n = tanh(W.h @ x)
    return torch.where(n > 0, 1.0, 2.0) * h  «
""",
        ["between two numbers"],
    ),
    "a comparison returned": (
        """def cell(W, R, b, x, h):
    n = tanh(W.h @ x)
    return n > h
""",
        ["a comparison is no vector", "new h"],
    ),
    "an unknown option": (
        """def cell(W, R, b, x, h):
    return torch.add(W.h @ x, h, alpha=2)  «
""",
        ["add(input, other) was called otherwise", "alpha"],
    ),
    "an option that is a vector": (
        """def cell(W, R, b, x, h):
    n = tanh(W.h @ x)
    return torch.clamp(n, h, 1) + h  «
""",
        ["min of clamp must be a number, got h"],
    ),
    "clamp without bounds": (
        """def cell(W, R, b, x, h):
    return torch.clamp(W.h @ x) + h  «
""",
        ["clamp needs min, max or both"],
    ),
    "a list where a vector belongs": (
        """def cell(W, R, b, x, h):
    return (W.h @ x) * [h]  «
""",
        ["mul takes vectors and numbers, got [h] (list)"],
    ),
    "an error in what it calls": (
        """def gate(value):
    return sigmoid(valu)  «


def cell(W, R, b, x, h):
    n = tanh(W.h @ x)
    return gate(n) + h
""",
        ["NameError", "valu"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_place_and_remedy(mistake, tmp_path):
    body, words = MISTAKES[mistake]
    path = tmp_path / "mine.py"
    path.write_text(HEAD + body.replace("  «", ""), "utf-8")
    lines = (HEAD + body).splitlines()
    guilty = next((k for k, line in enumerate(lines, 1) if "«" in line), None)
    with pytest.raises(UserError) as caught:
        plan(resolve(f"{path}:cell", "cell.step"))
    said = str(caught.value)
    assert "\n" not in said
    assert re.match(rf"{re.escape(str(path))}:{guilty or '[0-9]+'} cell: ", said), said
    for word in words:
        assert word in said


@pytest.mark.parametrize("thing", [torch.tanh, len, lambda W, x, h: W.h @ x + h, 3])
def test_what_is_not_a_function_is_refused(thing):
    with pytest.raises(UserError, match="is not a cell"):
        plan(thing)


GOOD = """def cell(W, R, p, b, x, h, c, *, beta=1.0, act=tanh):
    # 'if' is a keyword, hence the underscore; twice is not reused, but named and reused
    v = R.v @ h
    i = sigmoid(W.in_ @ x + v
                + b.i)
    f = torch.exp(-beta * (R.if_ @ c) - v / 2)
    if beta > 2:
        f = 1 - f
    return act(i) * h, f * c + p.c * i
"""


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.py"
    path.write_text(HEAD + GOOD, "utf-8")
    return resolve(f"{path}:cell", "cell.step")


def test_the_graph_knows_blocks_states_and_names(good):
    traced = trace(good)
    assert traced.state == ("h", "c")
    assert [v.owned for v in traced.values if v.op in "WRpb"] == [
        ("R", "v"),
        ("W", "in"),
        ("b", "i"),
        ("R", "if"),
        ("p", "c"),
    ]
    assert [traced.names[v] for v in traced.results] == ["h", "c"]
    assert {"v", "i", "f"} <= set(traced.names.values())
    groups = [(operand.block, names) for operand, names in plan(good).groups]
    assert groups == [("h", ("v",)), ("c", ("if",))]


def test_constants_are_bound_before_the_trace(good):
    assert len(trace(good, {"beta": 3.0}).values) == len(trace(good).values) + 1  # 1 - f
    with_sigmoid = trace(good, {"act": torch.sigmoid})
    assert "sigmoid" in [v.op for v in with_sigmoid.results[0].inputs]
    with pytest.raises(
        UserError,
        match=r"good\.py:5 cell: no constant 'gamma'; keyword-only arguments: \['beta', 'act'\]",
    ):
        trace(good, {"gamma": 1})


SYNONYMS = """import torch
from torch import maximum, minimum
from torch.nn import functional as F


def gate(value):
    return maximum(value, 0.25)


def cell(W, R, b, x, h):
    a = torch.add(W.a @ x, R.a @ h)
    g = F.relu(a) + F.sigmoid(h) + torch.relu(h).sigmoid() - F.tanh(a).mul(h)
    return torch.special.expit(g) * gate(g) + torch.minimum(0.5, h) - torch.maximum(h, -1).abs()


def plain(W, R, b, x, h):
    a = W.a @ x + R.a @ h
    g = torch.relu(a) + torch.sigmoid(h) + torch.sigmoid(torch.relu(h)) - torch.tanh(a) * h
    most = torch.clamp(g, min=0.25)
    return torch.sigmoid(g) * most + torch.clamp(h, max=0.5) - abs(torch.clamp(h, min=-1))
"""


def test_synonyms_methods_and_numbers_mean_what_torch_means(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SYNONYMS, "utf-8")
    words, plain = (plan(resolve(f"{path}:{name}", "cell.step")) for name in ("cell", "plain"))
    assert against_literal(words, draw(words), {}).passed
    problem = draw(words)
    found, expected = (differentiated(problem, planned(made)) for made in (words, plain))
    for quantity in expected:
        torch.testing.assert_close(found[quantity], expected[quantity], rtol=1e-12, atol=1e-12)
