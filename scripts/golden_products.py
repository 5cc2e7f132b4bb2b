"""Rewrite tests/golden/products.json: the recurrent products that the planner finds in every cell.

    python scripts/golden_products.py

A cell that needs more products per step is slower in every engine; review a change of this file as
one of speed.
"""

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rnnbench.cells
from rnnbench.equations.plan import plan
from rnnbench.equations.text import term

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden" / "products.json"


def cells() -> dict[str, Callable[..., Any]]:
    """Every function in rnnbench.cells, by name."""
    found: dict[str, Callable[..., Any]] = {}
    for entry in pkgutil.iter_modules(rnnbench.cells.__path__):
        module = importlib.import_module(f"rnnbench.cells.{entry.name}")
        own = {
            n: f
            for n, f in vars(module).items()
            if inspect.isfunction(f) and f.__module__ == module.__name__ and n[0] != "_"
        }
        assert not own.keys() & found.keys(), (
            f"two cells have the same name: {own.keys() & found.keys()}"
        )
        found |= own
    return found


def products(function: Callable[..., Any]) -> list[str]:
    """The products of one step, in order: 'r z on hₜ₋₁', 'n on rₜ ⊙ hₜ₋₁'."""
    made = plan(function)
    return [f"{' '.join(names)} on {term(made.program, on)}" for on, names in made.groups]


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(
        json.dumps({name: products(f) for name, f in cells().items()}, indent=1, ensure_ascii=False)
        + "\n",
        "utf-8",
    )
    print(
        f"wrote {len(cells())} cells to "
        f"{GOLDEN.relative_to(Path.cwd()) if GOLDEN.is_relative_to(Path.cwd()) else GOLDEN}"
    )
