"""Which cells of a study are one: the same equations under two names (`np` and `lstm`) and the same
start. They are compared and counted once, under the name that stands first.

The same equations with another start (`lstm` and `lstm_b`, `relu` and `irnn`) are cells of their
own: how a network starts is part of what is compared.
"""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pandas as pd

from rnnbench.formatting import listing
from rnnbench.stats.selection import AROUND, Result, Selection, Variant

OURS = "rnnbench.cells."
NAMES = ("cell.name", "cell.step", "cell.digest")
CONSTANTS, PAPER = "cell.constants.", "cell.paper."  # the latter: what init=paper means


def once(study: Selection) -> Selection:
    """The study with one result of each function on a task: runs under a later name of a cell that
    has results there stay in the table, and count for nothing.
    """
    first: dict[Hashable, Variant] = {}
    for cell in study.cells:
        runs = study.frame[study.frame["cell"] == cell]
        first.setdefault((equations(runs), starts(runs)), cell)
    named = {
        cell: first[equations(runs), starts(runs)]
        for cell in study.cells
        for runs in [study.frame[study.frame["cell"] == cell]]
    }
    kept = {
        result: sample
        for result, sample in study.samples.items()
        if (of := named[result.cell]) == result.cell or Result(result.task, of) not in study.samples
    }
    cells = {result.cell for result in kept}
    twice = {result.cell for result in study.samples} - cells
    return replace(study, samples=kept, cells=tuple(c for c in study.cells if c not in twice))


def said(study: Selection) -> str:
    """Which cells are one, and which differ by their start alone, in sentences; empty if none.
    study: after `once`.
    """
    by: dict[str, list[Variant]] = {}
    names = study.frame["cell"].unique()
    for cell in [*study.cells, *sorted(name for name in names if name not in study.cells)]:
        by.setdefault(equations(study.frame[study.frame["cell"] == cell]), []).append(cell)
    one = [
        f"{cell.label} is {cells[0].label}"
        for cells in by.values()
        for cell in cells
        if cell not in study.cells
    ]
    apart = [
        kept for cells in by.values() if len(kept := [c for c in cells if c in study.cells]) > 1
    ]
    told = []
    if one:
        told.append(f"Counted once, for the same equations and the same start: {listing(one)}.")
    if apart:
        pairs = "; ".join(listing([cell.label for cell in cells]) for cells in apart)
        told.append(f"Counted each, as the same equations with another start: {pairs}.")
    return " ".join(told)


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether these runs are of one function under two names."""
    names = {name for runs in (one, other) for name in runs.get("cell.step", [])}
    alike = len(names) > 1 and starts(one) == starts(other)
    return alike and equations(one) == equations(other)


def equations(runs: pd.DataFrame) -> str:
    """The equations of the cell of these runs in canonical form, and what stands around it; of a
    cell that is not ours what names it, since nobody's code is run.
    """
    row: Mapping[str, Any] = {str(key): value for key, value in runs.iloc[0].items()}
    step = str(row.get("cell.step"))
    constants = tuple(
        (key.removeprefix(CONSTANTS), float(value))
        for key, value in sorted(row.items())
        if key.startswith(CONSTANTS) and pd.notna(value)
    )
    around = "".join(
        f" {key}={row[key]}"
        for key, bare in AROUND.items()
        if pd.notna(row.get(key)) and row[key] != bare
    )
    if not step.startswith(OURS):
        return f"{step} {row.get('cell.digest')} {constants}{around}"
    return f"{_canonical(step, constants)}{around}"


@lru_cache(maxsize=256)
def _canonical(step: str, constants: tuple[tuple[str, float], ...]) -> str:
    from rnnbench.catalogue import resolve
    from rnnbench.equations.canonical import canonical
    from rnnbench.equations.trace import trace
    from rnnbench.errors import UserError

    try:
        return canonical(trace(resolve(step, "cell.step"), dict(constants)))
    except UserError:  # of a version that is no more
        return f"{step} {constants}"


def starts(runs: pd.DataFrame) -> frozenset[str]:
    """The settings with which the networks of these runs start, as texts."""
    keys = [
        key
        for key in sorted(map(str, runs))
        if key.startswith("cell.") and key not in NAMES and not key.startswith(CONSTANTS)
    ]
    if "cell.init" in runs and not (runs["cell.init"] == "paper").any():
        keys = [key for key in keys if not key.startswith(PAPER)]
    kept = runs[keys].dropna(axis=1, how="all").map(repr)
    return frozenset(" ".join(row) for row in kept.itertuples(index=False)) | {*kept}
