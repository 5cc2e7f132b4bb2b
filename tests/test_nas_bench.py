"""The recipes of NAS-Bench-NLP (Klyuchnikov et al., 2020), 291 random cells that people of another
project drew, can be written as cells, and both engines compute what their graphs say.
"""

from pathlib import Path

import pytest
import torch

from rnnbench.catalogue import resolve
from rnnbench.engine import loop, native
from rnnbench.equations.plan import plan
from rnnbench.equations.text import latex, unicode
from rnnbench.search.recipes import equations, ordered, read, states

COMPILED = 3  # of all: a compiler takes seconds for each
K, T, B, I, H = 2, 3, 2, 2, 3  # noqa: E741
WEIGHTS = torch.linspace(-1, 1, K * T * B * H, dtype=torch.float64).view(K, T, B, H)


@pytest.fixture(scope="module")
def recipes(mirror):
    path = Path(mirror) / "nas_bench_nlp" / "wikitext2.jsonl"
    if not path.exists():
        pytest.skip(f"no {path}")
    return [one.recipe for one in read(path)]


def blocks(recipe, name):
    """A matrix for every input of a linear node, and the vector that it adds."""
    inputs = recipe[name]["input"]
    matrices = [(f"{'W' if i == 'x' else 'R'}", f"{name}_{k}") for k, i in enumerate(inputs)]
    return matrices, ("b", name)


def literal(recipe, given, k):
    """The last states and the outputs of replica k: the graph of the recipe, node by node."""

    def value(name, known):
        node = recipe[name]
        inputs = [known[i] for i in node["input"]]
        if node["op"] == "linear":
            matrices, bias = blocks(recipe, name)
            total = given[bias][k]
            for owned, v in zip(matrices, inputs, strict=True):
                total = total + v @ given[owned][k]
            return total
        if node["op"] == "blend":
            return inputs[0] * inputs[1] + (1 - inputs[0]) * inputs[2]
        if node["op"] == "elementwise_prod":
            return inputs[0] * inputs[1]
        if node["op"] == "elementwise_sum":
            return inputs[0] + inputs[1]
        functions = {"tanh": torch.tanh, "sigm": torch.sigmoid}
        leaky = torch.nn.functional.leaky_relu
        return functions.get(node["op"].rpartition("activation_")[2], leaky)(*inputs)

    now = {
        name.replace("new", "prev"): torch.full((B, H), 0.3, dtype=torch.float64)
        for name in states(recipe)
    }
    outputs = []
    for t in range(T):
        known = now | {"x": given["x"][k, t]}
        for name in ordered(recipe):
            known[name] = value(name, known)
        now = {name.replace("new", "prev"): known[name] for name in states(recipe)}
        outputs.append(known["h_new_0"])
    return torch.stack(outputs), *now.values()


def drawn(recipe, seed):
    """Every block (K, rows, H) and the inputs, float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return (0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_()

    given = {"x": normal(K, T, B, I)}
    for name in ordered(recipe):
        if recipe[name]["op"] == "linear":
            matrices, bias = blocks(recipe, name)
            given |= {(f, m): normal(K, I if f == "W" else H, H) for f, m in matrices}
            given[bias] = normal(K, H)
    return given


def packed(made, given):
    columns = {"W": made.blocks["W"], "b": made.blocks["b"]}
    columns |= {f"R{g}": names for g, (_, names) in enumerate(made.groups)}
    params = {
        key: torch.cat([given[key[0], name] for name in names], -1)
        for key, names in columns.items()
    }
    assert {n: tuple(p.shape[1:]) for n, p in params.items()} == made.shapes(I, H)
    return params


def quantities(given, outputs, last):
    total = (outputs * WEIGHTS).sum() + sum((state * WEIGHTS[:, 0]).sum() for state in last)
    return outputs, *last, *torch.autograd.grad(total, list(given.values()))


def test_what_was_trained_twice_has_two_losses(mirror):
    path = Path(mirror) / "nas_bench_nlp" / "wikitext2.jsonl"
    if not path.exists():
        pytest.skip(f"no {path}")
    known = read(path)
    assert sum(len(one.losses) for one in known) == 345
    assert len({one.name for one in known}) == len(known) == 291
    assert min(known[1].losses) == pytest.approx(4.56758)  # the smallest of its 50, as published


def test_every_recipe_is_a_cell(recipes, tmp_path):
    assert len(recipes) == 291
    path = tmp_path / "nas.py"
    cells = [equations(recipe, f"cell{k}") for k, recipe in enumerate(recipes)]
    path.write_text("from torch import sigmoid, tanh, where\n\n\n" + "\n\n".join(cells), "utf-8")
    for number, recipe in enumerate(recipes):
        made = plan(resolve(f"{path}:cell{number}", "cell.step"))
        assert unicode(made.program).count("\n") >= len(states(recipe)) - 1
        assert latex(made.program).startswith("\\begin{aligned}")
        given = drawn(recipe, number)
        each = [literal(recipe, given, k) for k in range(K)]
        outputs, *last = (torch.stack(parts) for parts in zip(*each, strict=True))
        expected = quantities(given, outputs, last)
        engines = [loop.unroll]
        if number % (len(recipes) // COMPILED) == 1 and not native.why_not(
            made, torch.float64, "cpu"
        ):
            engines.append(native.unroll)
        for unroll in engines:
            start = tuple(torch.full((K, B, H), 0.3, dtype=torch.float64) for _ in made.state)
            found = quantities(given, *unroll(made, packed(made, given), given["x"], start))
            for ours, reference in zip(found, expected, strict=True):
                assert (ours - reference).abs().max() < 1e-10 * reference.abs().max().clamp(min=1)
