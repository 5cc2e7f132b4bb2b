"""The recipes of NAS-Bench-NLP (Klyuchnikov et al., 2020) as cells.

A recipe is a table: node → operation and inputs. Its operations are linear (a matrix for every
input, and a bias), blend (a ⊙ b + (1 - a) ⊙ c), products, sums, tanh, σ and leaky ReLU.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError

Recipe = Mapping[str, Mapping[str, Any]]
LEAKY = 0.01
STATES = 4  # h_new_0 … at most


@dataclass(frozen=True)
class PublishedRecipe:
    """A recipe and what its trainings reached. losses: of each training the lowest validation
    loss, nats a word; infinite where it diverged. params: as published.
    """

    name: str
    recipe: Recipe
    losses: tuple[float, ...]
    params: int


def read(path: Path) -> list[PublishedRecipe]:
    """Every different recipe of the file, in its order. UserError if it is not there."""
    if not path.is_file():
        raise UserError(
            f"no file {path}: it is made of the logs of NAS-Bench-NLP, a JSON object a line with "
            f"recipe, params and valid; set paths.mirror (RNNBENCH_MIRROR) to the folder in which "
            f"nas_bench_nlp/ lies"
        )
    found: dict[str, PublishedRecipe] = {}
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        key = json.dumps(row["recipe"], sort_keys=True)
        name = f"recipe_{hashlib.sha256(key.encode()).hexdigest()[:8]}"
        known = [v for v in row["valid"] if v is not None]
        losses = (min(known, default=float("inf")),)
        before = found[key].losses if key in found else ()
        found[key] = PublishedRecipe(name, row["recipe"], (*before, *losses), row["params"])
    return list(found.values())


def states(recipe: Recipe) -> list[str]:
    return [name for name in (f"h_new_{k}" for k in range(STATES)) if name in recipe]


def ordered(recipe: Recipe) -> list[str]:
    """The nodes that new states depend on, inputs first."""
    found: list[str] = []

    def visit(name: str) -> None:
        if name in recipe and name not in found:
            for other in recipe[name]["input"]:
                visit(other)
            found.append(name)

    for state in states(recipe):
        visit(state)
    return found


def equations(recipe: Recipe, name: str) -> str:
    """The recipe as the text of a cell."""
    lines = [f"    {node} = {_line(recipe, node)}" for node in ordered(recipe)]
    old = ", ".join(state.replace("new", "prev") for state in states(recipe))
    return (
        f"def {name}(W, R, b, x, {old}):\n"
        + "\n".join(lines)
        + f"\n    return {', '.join(states(recipe))}\n"
    )


def _line(recipe: Recipe, name: str) -> str:
    op, inputs = recipe[name]["op"], recipe[name]["input"]
    if op == "linear":
        terms = [
            f"{'W' if read == 'x' else 'R'}.{name}_{k} @ {read}" for k, read in enumerate(inputs)
        ]
        return " + ".join([*terms, f"b.{name}"])
    if op == "blend":
        gate, one, other = inputs
        return f"{gate} * {one} + (1 - {gate}) * {other}"
    if op.startswith("elementwise"):
        return {"prod": " * ", "sum": " + "}[op.rpartition("_")[2]].join(inputs)
    (v,) = inputs
    kinds = {"tanh": f"tanh({v})", "sigm": f"sigmoid({v})"}
    return kinds.get(op.removeprefix("activation_"), f"where({v} > 0, {v}, {LEAKY} * {v})")
