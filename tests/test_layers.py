"""Imports point one way: what a module may know is this table. Nothing else is permitted, and nothing is left out."""

import ast
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from rnnbench.catalogue import choices

ROOT = Path(__file__).resolve().parent.parent / "rnnbench"

# module → what it may import of ours. A pattern stands for modules that users and authors add without asking.
PERMITTED = {
    "__init__": "report.frame",  # inside rnnbench.load
    "errors": "",
    "draw": "",
    "published": "",
    "settings": "errors",
    "catalogue": "errors",
    "data": "errors settings",
    "records": "errors settings",
    "figures": "records",
    "board": "records",
    "screen": "data published",
    "compose": "catalogue errors records settings",
    "cells.*": "",
    "tasks.__init__": "",
    "tasks.contract": "draw errors",
    "tasks.symbols": "tasks.contract",
    "tasks.*": "draw errors tasks.contract tasks.symbols",
    "engine.__init__": "",
    "engine.rules": "errors",
    "engine.trace": "engine.rules errors",
    "engine.plan": "engine.rules engine.trace",
    "engine.equations": "engine.rules engine.trace",
    "engine.loop": "engine.plan",
    "engine.network": "engine.loop engine.plan",
    "engine.init": "draw engine.plan errors settings",
    "engine.optimizers": "settings",
    "engine.batches": "draw tasks.contract",
    "engine.native.__init__": "engine.loop engine.plan engine.native.* errors",
    "engine.native.*": "engine.loop engine.plan engine.rules engine.trace engine.native.* errors",
    "engine.pack": "draw engine.batches engine.init engine.loop engine.native.__init__ engine.network engine.optimizers engine.plan errors settings tasks.contract",  # noqa: E501
    "engine.train": "engine.batches engine.loop engine.optimizers engine.pack inside.divergence records tasks.contract",
    "engine.provenance": "__init__",
    "engine.run": "board catalogue data engine.pack engine.provenance engine.train errors inside.during records settings tasks.contract",
    "evidence.__init__": "",
    "evidence.arithmetic": "",
    "evidence.scalar.*": "evidence.arithmetic",
    "evidence.problem": "engine.loop engine.network engine.plan evidence.arithmetic",
    "evidence.verify": "engine.network engine.plan evidence.arithmetic evidence.problem evidence.scalar.__init__",
    "sweep.expand": "errors settings",
    "sweep.work": "claims engine.run errors records sweep.planning training",
    "sweep.launch": "claims errors records settings sweep.*",
    "sweep.manifest": "claims errors records",
    "sweep.*": "compose errors records screen settings sweep.*",
    "inside.__init__": "",
    "inside.found": "",
    "inside.canvas": "figures",
    "inside.pictures": "figures inside.canvas inside.found",
    "inside.recording": "engine.batches engine.loop engine.network engine.plan tasks.contract",
    "inside.gradients": "inside.recording",
    "inside.jacobians": "engine.loop inside.recording",
    "inside.gates": "engine.loop inside.recording",
    "inside.measure": "engine.batches engine.network inside.*",
    "inside.divergence": "engine.batches engine.loop engine.network engine.rules inside.recording",
    "inside.during": "engine.pack inside.gates inside.gradients inside.recording records",
    "inside.replay": "engine.train inside.recording trained.opening",
    "inside.probe": "__init__ catalogue compose engine.pack engine.run errors inside.* records screen settings sweep.expand trained.opening",
    "study.__init__": "",
    "study.checked": "errors",
    "study.design": "catalogue errors study.checked",
    "study.parts": "catalogue compose errors records report.choice report.frame study.design sweep.expand sweep.launch sweep.planning",
    "study.estimate": "catalogue engine.plan errors report.reading settings sweep.planning",
    "study.listing": "catalogue screen study.* sweep.launch sweep.packs",
    "study.run": "errors records report.collect report.render screen study.* sweep.launch",
    "report.*": "catalogue errors figures inside.found inside.pictures published records report.* study.design",
    "showing": "catalogue draw engine.equations engine.native.__init__ engine.plan engine.rules engine.trace errors evidence.verify settings",
    "claims": "errors records",
    "training": "claims engine.run errors records screen settings",
    "trained.__init__": "",
    "trained.kept": "__init__ engine.run errors records",
    "trained.opening": "__init__ catalogue engine.batches engine.network engine.optimizers engine.pack engine.plan engine.run errors records screen settings tasks.contract trained.kept",  # noqa: E501
    "trained.drawing": "figures",
    "trained.scores": "engine.train errors figures records screen tasks.contract trained.drawing trained.opening",
    "trained.repeat": "engine.run errors records report.collect report.reading screen settings trained.opening",
    "trained.text": "draw engine.loop errors tasks.arithmetic tasks.contract tasks.xml trained.opening",
    "trained.music": "draw errors tasks.chorales trained.drawing trained.opening trained.text",
    "trained.sample": "errors figures records screen tasks.chorales trained.*",
    "trained.program": "engine.loop engine.network errors trained.opening",
    "trained.export": "catalogue engine.run errors evidence.verify records screen trained.*",
    "bench.*": "*",  # measures what all of them do
    "actions": "*",  # inside its functions
    "overseeds": "report.choice report.document report.figures report.frame",
    "verbs": "actions",
    "cli": "*",  # inside its verbs
}
TOO_SMALL = {"engine.native.memory", "errors", "draw", "tasks.symbols", "sweep.packs"}  # a concept each that others share; nothing to join them to
HOMONYMS = {"tanh", "relu", "np", "own"}  # cells that are called like an operation, NumPy or a word

WITHOUT_TORCH = ("__init__", "errors", "draw", "published", "settings", "catalogue", "data", "records", "figures", "screen", "compose", "cli")
WITHOUT_TORCH += ("report.*", "study.*", "sweep.*", "inside.canvas", "inside.found", "inside.pictures")

FILES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}
LIGHT = [name for name in FILES if any(fnmatch(name, pattern) for pattern in WITHOUT_TORCH)]
every_module = pytest.mark.parametrize("name", FILES)


def row(name):
    """The row of the table for a module: its own, else that of its package."""
    return name if name in PERMITTED else next((pattern for pattern in PERMITTED if "*" in pattern and fnmatch(name, pattern)), None)


def imported(tree):
    """Every module imported anywhere in the tree, ours without their `rnnbench.`, others by their dotted names."""
    ours, others = set(), set()
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in modules() else node.module for alias in node.names]
        for name in names:
            inside = name == "rnnbench" or name.startswith("rnnbench.")
            (ours if inside else others).add(known(name.removeprefix("rnnbench").lstrip(".")) if inside else name)
    return ours, others


def known(name):
    """The file behind `engine.loop`, `evidence.scalar` (a package) or nothing (the package itself)."""
    return name if name in FILES else f"{name}.__init__".lstrip(".")


def modules():
    return {f"rnnbench.{name}".removesuffix(".__init__") for name in FILES}


def parsed(name):
    return ast.parse(FILES[name].read_text("utf-8"))


@every_module
def test_imports_are_permitted(name):
    assert row(name), f"{name} is not in the table: say what it may import"
    ours, _ = imported(parsed(name))
    forbidden = {other for other in ours if not any(fnmatch(other, permitted) for permitted in PERMITTED[row(name)].split())}
    assert not forbidden, f"{name} must not import {', '.join(sorted(forbidden))}"


def test_the_table_names_no_module_that_is_gone():
    used = {row(name) for name in FILES}
    assert used == PERMITTED.keys()
    named = {name for permitted in PERMITTED.values() for name in permitted.split() if "*" not in name}
    assert named <= FILES.keys()


def test_imports_have_no_circle():
    below = {name: imported(parsed(name))[0] for name in FILES}
    done = set()
    while rest := {name for name, wanted in below.items() if name not in done and wanted <= done}:
        done |= rest
    assert done == FILES.keys(), f"in a circle: {sorted(FILES.keys() - done)}"


def test_an_import_is_found_wherever_it_hides():
    tree = ast.parse("from rnnbench import __version__, data\nfrom rnnbench.engine import loop\ndef f():\n    import rnnbench.cells.gru, torch.nn\n")
    assert imported(tree) == ({"__init__", "data", "engine.loop", "cells.gru"}, {"torch.nn"})


@pytest.mark.parametrize("name", LIGHT)
def test_no_torch_in_the_text(name):
    _, others = imported(parsed(name))
    assert not {other.partition(".")[0] for other in others} & {"torch", "torchvision", "tensorboard"}


def loaded(*names):
    """The modules in memory once a fresh interpreter has imported these."""
    paths = [f"rnnbench.{name}".removesuffix(".__init__") for name in names]
    script = f"import sys, importlib\nfor path in {paths!r}: importlib.import_module(path)\nprint(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split())


def test_no_torch_in_memory():
    assert {"torch", "torchvision", "tensorboard"}.isdisjoint(loaded(*LIGHT))


def test_the_command_line_loads_nothing_before_it_knows_the_verb():
    heavy = {"torch", "hydra", "omegaconf", "numpy", "pandas", "scipy", "matplotlib", "rich"}
    assert heavy.isdisjoint(loaded("cli"))
    top = [node for node in parsed("cli").body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert imported(ast.Module(top, []))[0] <= {"errors", "verbs"}


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("engine.")])
def test_the_engine_names_no_cell_and_no_task(name):
    tree = parsed(name)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, documented) and n.body and isinstance(n.body[0], ast.Expr)}
    said = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docstrings}
    said |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} | {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert not said & (set(choices("cell")) | set(choices("task"))) - HOMONYMS
    assert not [text for text in said if text.startswith(("rnnbench.cells", "rnnbench.tasks"))]


@every_module
def test_a_module_is_of_one_idea_and_one_sitting(name):
    lines = len(FILES[name].read_text("utf-8").splitlines())
    assert lines <= 250, f"{name} has {lines} lines: ask what it is two of"
    short = name.endswith("__init__") or name.startswith("cells.") or name in TOO_SMALL  # a family of cells is as long as its cells
    assert short or lines >= 40, f"{name} has {lines} lines: ask what it is a part of"


@every_module
def test_no_module_is_called_what_everything_could_be(name):
    assert not set(name.split(".")) & {"utils", "util", "helpers", "common", "misc"}
