"""Which cells of a study are one: the same equations under two names (`np` and `lstm`) and the same
start. They are ranked and counted once, under the name that stands first.

The same equations with another start (`lstm` and `lstm_b`, `relu` and `irnn`) are cells of their
own: how a network starts is part of what is compared.
"""

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

import pandas as pd

from rnnbench.formatting import listing
from rnnbench.stats.selection import Study, Variant

OURS = "rnnbench.cells."
NAMES = ("cell.name", "cell.step", "cell.digest")
CONSTANTS, PAPER = "cell.constants.", "cell.paper."  # the latter: what init=paper means


def distinct(study: Study) -> list[Variant]:
    """The cells of the study in their order, those that are one under the first of their names."""
    found: dict[Hashable, Variant] = {}
    for cell in study.cells:
        runs = study.frame[study.frame["cell"] == cell]
        found.setdefault((equations(runs), starts(runs)), cell)
    return list(found.values())


def said(study: Study) -> str:
    """Which cells are one, and which differ by their start alone, in sentences; empty if none."""
    kept = distinct(study)
    by: dict[str, list[Variant]] = {}
    for cell in study.cells:
        by.setdefault(equations(study.frame[study.frame["cell"] == cell]), []).append(cell)
    once = [
        f"{cell.label} is {others[0].label}"
        for cells in by.values()
        for cell in cells
        if cell not in kept and (others := [one for one in cells if one in kept])
    ]
    apart = [cells for all_ in by.values() if len(cells := [c for c in all_ if c in kept]) > 1]
    told = []
    if once:
        told.append(f"Ranked once, for the same equations and the same start: {listing(once)}.")
    if apart:
        pairs = "; ".join(listing([cell.label for cell in cells]) for cells in apart)
        told.append(f"Ranked each, as the same equations with another start: {pairs}.")
    return " ".join(told)


def equations(runs: pd.DataFrame) -> str:
    """The equations of the cell of these runs in canonical form; of a cell that is not ours what
    names it, since nobody's code is run.
    """
    row: Mapping[str, Any] = {str(key): value for key, value in runs.iloc[0].items()}
    step = str(row.get("cell.step"))
    constants = tuple(
        (key.removeprefix(CONSTANTS), float(value))
        for key, value in sorted(row.items())
        if key.startswith(CONSTANTS) and pd.notna(value)
    )
    if not step.startswith(OURS):
        return f"{step} {row.get('cell.digest')} {constants}"
    return _canonical(step, constants)


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
