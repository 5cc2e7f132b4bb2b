"""Published numbers beside ours: published.csv, a row per number in a paper, mapped to our tasks,
cells and metrics.

The columns up to `source` are what the paper says (`verified` is `yes` where the number was seen,
`no` where it was remembered). The `our_*` columns say what it compares with here: `our_settings`
are the task settings that a run must have (`length=600`), because a number for another length is no
comparison; `our_cell` names the cells that the paper's may be, several where it does not say which;
`our_value` is in our unit. An empty `our_metric` means that nothing here
measures the same thing: another split, a remark, a task that we lack. No torch.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("published.csv")
HIGHER_IS_BETTER = {"accuracy", "recall"}


@dataclass(frozen=True)
class Published:
    """One number. verified: seen in the paper or a direct quotation.

    conditions: what else is known of how it came about.
    """

    value: float
    paper: str
    verified: bool
    conditions: str


@cache
def rows() -> tuple[dict[str, str], ...]:
    """The file as it is."""
    with FILE.open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


def selector(text: str) -> dict[str, Any]:
    """`length=600 variable=false` as a dict: JSON values, or bare words."""
    return {key: parsed(value) for key, _, value in (pair.partition("=") for pair in text.split())}


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def published(task: str, settings: Mapping[str, Any], cell: str, metric: str) -> list[Published]:
    """What papers report for this cell on this very task; `settings` are all settings of the task,
    `corpus` or `length` among them.
    """
    return [
        Published(
            value=float(row["our_value"]),
            paper=row["paper"],
            verified=row["verified"] == "yes",
            conditions="; ".join(
                filter(None, (row["table"], row["hidden_or_params"], row["notes"]))
            ),
        )
        for row in rows()
        if row["our_task"] == task
        and row["our_metric"] == metric
        and cell in row["our_cell"].split()
        if selector(row["our_settings"]).items() <= settings.items()
    ]


def span(
    task: str, settings: Mapping[str, Any], cell: str, metric: str
) -> tuple[float, float, list[str]] | None:
    """(lowest, highest, papers) over the best verified number of each paper; None if there is no
    verified number.

    The best: papers that sweep widths or depths report many, and their worst says nothing of the
        cell.
    """
    best: dict[str, float] = {}
    better = max if metric in HIGHER_IS_BETTER else min
    for found in published(task, settings, cell, metric):
        if found.verified:
            name = found.paper.split(" (")[0]
            best[name] = better(found.value, best.get(name, found.value))
    return (min(best.values()), max(best.values()), sorted(best)) if best else None
