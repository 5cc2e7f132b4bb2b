"""What keeps the packages apart, beside the contract of import-linter in pyproject.toml."""

import ast
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from rnnbench.catalogue import choices

ROOT = Path(__file__).resolve().parent.parent / "rnnbench"

# cells and tasks that are called like an operation, NumPy, a word or products
HOMONYMS = {"tanh", "relu", "np", "own", "order", "groups", "arrays", "table"}

WITHOUT_TORCH = (
    *("__init__", "errors", "draw", "published", "formatting", "settings", "catalogue", "data"),
    *("runs.*", "console", "compose", "sweep.*", "stats.*", "charts.*", "claims.*", "report.*"),
    *("studies.*", "cli.__init__"),
)

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted(ROOT.rglob("*.py"))
}
READS_EQUATIONS = "charts.cell"  # draws a cell, which PyTorch has traced
LIGHT = [
    name
    for name in FILES
    if any(fnmatch(name, pattern) for pattern in WITHOUT_TORCH) and name != READS_EQUATIONS
]
every_module = pytest.mark.parametrize("name", FILES)


def imported(tree):
    """Every module imported anywhere in the tree, ours without their `rnnbench.`, others by their
    dotted names.
    """
    ours, others = set(), set()
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [
                f"{node.module}.{alias.name}"
                if f"{node.module}.{alias.name}" in modules()
                else node.module
                for alias in node.names
            ]
        for name in names:
            inside = name == "rnnbench" or name.startswith("rnnbench.")
            (ours if inside else others).add(
                known(name.removeprefix("rnnbench").lstrip(".")) if inside else name
            )
    return ours, others


def known(name):
    """The file behind `engine.loop`, `evidence.scalar` (a package) or nothing (the package
    itself).
    """
    return name if name in FILES else f"{name}.__init__".lstrip(".")


def modules():
    return {f"rnnbench.{name}".removesuffix(".__init__") for name in FILES}


def parsed(name):
    return ast.parse(FILES[name].read_text("utf-8"))


def test_an_import_is_found_wherever_it_hides():
    tree = ast.parse(
        "from rnnbench import __version__, data\nfrom rnnbench.engine import loop\ndef f():\n    "
        "import rnnbench.cells.gru, torch.nn\n"
    )
    assert imported(tree) == ({"__init__", "data", "engine.loop", "cells.gru"}, {"torch.nn"})


@pytest.mark.parametrize("name", LIGHT)
def test_no_torch_in_the_text(name):
    _, others = imported(parsed(name))
    assert not {other.partition(".")[0] for other in others} & {
        "torch",
        "torchvision",
        "tensorboard",
    }


def loaded(*names):
    """The modules in memory once a fresh interpreter has imported these."""
    paths = [f"rnnbench.{name}".removesuffix(".__init__") for name in names]
    script = (
        f"import sys, importlib\nfor path in {paths!r}: "
        f"importlib.import_module(path)\nprint(' '.join(sys.modules))"
    )
    return set(
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.split()
    )


def test_no_torch_in_memory():
    assert {"torch", "torchvision", "tensorboard"}.isdisjoint(loaded(*LIGHT))


def test_the_command_line_loads_nothing_before_it_knows_the_verb():
    heavy = {"torch", "hydra", "omegaconf", "numpy", "pandas", "scipy", "matplotlib", "rich"}
    assert heavy.isdisjoint(loaded("cli.__init__"))
    top = [
        node
        for node in parsed("cli.__init__").body
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert imported(ast.Module(top, []))[0] <= {"errors", "cli.verbs", "formatting", "signals"}


# engine.library says which of our cells torch.nn computes
ENGINE = [name for name in FILES if name.startswith("engine.") and name != "engine.library"]


@pytest.mark.parametrize("name", ENGINE)
def test_the_engine_names_no_cell_and_no_task(name):
    tree = parsed(name)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(n.body[0].value)
        for n in ast.walk(tree)
        if isinstance(n, documented) and n.body and isinstance(n.body[0], ast.Expr)
    }
    said = {
        n.value
        for n in ast.walk(tree)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docstrings
    }
    said |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} | {
        n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)
    }
    assert not said & (set(choices("cell")) | set(choices("task"))) - HOMONYMS
    assert not [text for text in said if text.startswith(("rnnbench.cells", "rnnbench.tasks"))]


@every_module
def test_no_module_is_called_what_everything_could_be(name):
    assert not set(name.split(".")) & {"utils", "util", "helpers", "common", "misc"}
