"""What was asked and how it was done, said from the settings of the runs alone; and what they ran
on.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from rnnbench.formatting import count, listing, plural
from rnnbench.report.document import Column, Entry, Group, Table
from rnnbench.stats.selection import Study, said, varied

MANY = 6  # values of a setting that are listed one by one
STATUS = ("finished", "stopped", "diverged", "failed")


def question(study: Study) -> str:
    """One sentence: which cells, which tasks, what they are compared with."""
    others = [cell for cell in study.cells if cell != study.baseline]
    tasks = listing(study.tasks)
    if not others:
        return f"How well does {study.baseline} do on {tasks}?"
    if len(others) == 1:
        return f"How does {others[0]} compare with {study.baseline} on {tasks}?"
    return (
        f"How do {plural(len(others), 'cell')} ({listing(others)}) compare with "
        f"{study.baseline} on {tasks}?"
    )


def design(study: Study) -> str:
    """One sentence: seeds, what varied, budgets, how was chosen."""
    frame = study.frame
    seeds = sorted({int(seed) for seed in frame["seed"]})
    parts = [f"each cell ran with {_seeds(seeds)}"]
    settings = _varied(frame)
    if settings:
        parts.append(f"and {listing([f'{key} {values}' for key, values in settings.items()])}")
    parts.append(f"for {_budget(frame)}")
    by = {sample.by for sample in study.samples.values()}
    searched = any(sample.tried > 1 for sample in study.samples.values())
    rules = []
    if "seeds" in by:
        rules.append(
            "the setting with the best mean validation score over its seeds"
            if searched
            else "each run's step with the best validation score"
        )
    if "trials" in by:
        rules.append(
            "the best trials by validation (a tenth; a quarter where a tenth is fewer than five)"
        )
    chosen = f"; {listing(rules)} {'were' if 'trials' in by else 'was'} chosen" if rules else ""
    text = f"{' '.join(parts)}{chosen}, and the test score there is reported."
    return text[0].upper() + text[1:]


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"one seed ({seeds[0]})"
    if list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]})"
    return f"{len(seeds)} seeds" + (
        f" ({listing([str(s) for s in seeds])})" if len(seeds) <= MANY else ""
    )


def _varied(frame: pd.DataFrame) -> dict[str, str]:
    """setting → its values, for what differs between runs of the same cell and task."""
    keys = dict.fromkeys(
        key for _, runs in frame.groupby(["task", "cell"], sort=True) for key in varied(runs)
    )
    return {key: _values(frame[key].dropna().tolist()) for key in keys}


def _values(values: Sequence[Any]) -> str:
    distinct = sorted(
        set(values),
        key=lambda value: (
            isinstance(value, str),
            value if isinstance(value, (int, float)) else str(value),
        ),
    )
    if len(distinct) <= MANY:
        return listing([said(value) for value in distinct], "or")
    first, last = (
        f"{value:.3g}" if isinstance(value, float) else said(value)
        for value in (distinct[0], distinct[-1])
    )
    return f"{first} to {last} ({len(distinct):,} values)"


def _budget(frame: pd.DataFrame) -> str:
    budgets: dict[str, list[str]] = {}
    for task, runs in frame.groupby("task", sort=True):
        steps, batch = (sorted(set(runs[f"train.{key}"])) for key in ("steps", "batch"))
        text = (
            f"{' or '.join(map(count, steps))} steps of {' or '.join(map(count, batch))} sequences"
        )
        budgets.setdefault(text, []).append(str(task))
    if len(budgets) == 1:
        return next(iter(budgets))
    return listing([f"{text} ({listing(tasks)})" for text, tasks in budgets.items()])


def facts(study: Study) -> Table:
    """Number of runs, versions, commits, engines, processors: what the records say."""
    frame = study.frame
    states = [
        f"{n:,} {status}" for status in STATUS if (n := int((frame["status"] == status).sum()))
    ]
    rows = {
        "runs": f"{len(frame):,} ({listing(states)})",
        "baseline cell": study.baseline,
        "parameters": _span(frame["params"]),
        "time": f"{_duration(frame['seconds_train'].sum())} of training, "
        f"{_duration(frame['seconds_eval'].sum())} of evaluation, "
        "summed over runs (packed ones share theirs)",
        "engine": _counted(frame, "engine"),
        "processor": _counted(frame, "provenance.cpu"),
        "device": _counted(frame, "provenance.device"),
        "commit": _counted(frame, "provenance.git"),
        **{
            column.rpartition(".")[2]: _counted(frame, column)
            for column in frame
            if str(column).startswith("provenance.versions.")
        },
    }
    columns = [Column("", "what", align="left"), Column("", "value", align="left", prose=True)]
    return Table(
        "facts",
        "What ran, and on what",
        columns,
        [Group("", [[Entry(key), Entry(value)] for key, value in rows.items() if value])],
        sortable=False,
    )


def _counted(frame: pd.DataFrame, column: str) -> str:
    """Each value; how many runs have it where there are several."""
    if column not in frame:
        return ""
    sizes = frame[column].fillna("not recorded").map(said).value_counts()
    named = sorted(sizes.items(), key=lambda item: (-item[1], str(item[0])))
    return (
        str(named[0][0]) if len(named) == 1 else listing([f"{name} ({n:,})" for name, n in named])
    )


def _span(values: "pd.Series[float]") -> str:
    low, high = count(values.min()), count(values.max())
    return low if low == high else f"{low} to {high}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
