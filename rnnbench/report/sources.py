"""Where equations and tasks come from: their docstrings, read from the source text, since importing
it would load torch.

Cells stand in families, one file each; the file's first line names the family.
"""

import ast
from functools import cache
from pathlib import Path

from rnnbench.catalogue import About, about, choices, remark

Documented = ast.Module | ast.FunctionDef | ast.ClassDef
PACKAGE = Path(__file__).resolve().parent.parent


@cache
def docstring(target: str) -> str | None:
    """The docstring of `rnnbench.cells.gru.gru`, or of the module without a name behind it; None
    for what is not ours or not there.
    """
    top, _, rest = target.partition(".")
    if top != "rnnbench":
        return None  # a user's file: it may have changed since, and is not ours to read
    parts = rest.split(".")
    for k in range(len(parts), 0, -1):
        file = PACKAGE.joinpath(*parts[:k]).with_suffix(".py")
        if file.is_file():
            found: Documented | None = ast.parse(file.read_text("utf-8"))
            for name in parts[k:]:
                found = _definition(found, name)
            return ast.get_docstring(found) if found else None
    return None


def _definition(within: Documented | None, name: str) -> Documented | None:
    """The function or class of this name in a module or a class."""
    for node in within.body if within else []:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return node
    return None


def of_cell(name: str, step: str) -> About:
    """What is known of a cell: the comment of its configuration first where that has a source of
    its own, as in `rnnbench show`.
    """
    said, own = about(docstring(step)), remark("cell", name) if name in choices("cell") else None
    if own is None or not own.source:
        return said
    source = own.source.rstrip(".")
    return About(
        own.summary,
        said.source if said.source.startswith(source) else f"{source}; {said.source}".strip("; "),
        said.reading,
    )


def of_task(kind: str) -> About:
    """What is known of a task; kind: its class."""
    return about(docstring(kind))


def family(step: str) -> str:
    """The heading that a cell stands under: the first line of the file of its equations, or `Own
    cells`.
    """
    module = step.rpartition(".")[0]
    text = docstring(module) if step.startswith("rnnbench.") else None
    return text.split("\n")[0].split(":")[0].rstrip(".") if text else "Own cells"
