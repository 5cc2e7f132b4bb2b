"""How far a run still improved in the last fifth of its training: one that did when it ended tells
what is learned first, not what is learned.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

LAST = 0.2  # of the steps


def last_fifth(steps: Sequence[float], costs: Sequence[float]) -> dict[str, float] | None:
    """improved: the share of the last fifth of training that had passed when validation was best, 1
    where the last validation is; gain: what the cost fell by in it, as a share of the least before.

    steps, costs: of every validation, less is better, inf for no number. None where there are fewer
    than two; no gain where nothing was validated before.
    """
    at, cost = np.asarray(steps, float), np.asarray(costs, float)
    if cost.size < 2:
        return None
    begins = (1 - LAST) * at[-1]
    share = (at[int(cost.argmin())] - begins) / (at[-1] - begins)
    found = {"improved": float(np.clip(share, 0, 1)), "gain": 0.0}
    before = cost[at <= begins]
    earlier = float(before.min()) if before.size else np.inf
    if np.isfinite(earlier):
        found["gain"] = (earlier - float(cost.min())) / (abs(earlier) or 1.0)
    return found


def of_rows(rows: Iterable[Mapping[str, Any]], metric: str, goal: str) -> dict[str, float] | None:
    """The same of a curve."""
    valid = [row for row in rows if row["split"] == "valid"]
    sign = 1.0 if goal == "min" else -1.0
    scores = np.array([row.get(metric, np.nan) for row in valid], float)
    costs = np.where(np.isfinite(scores), sign * scores, np.inf)
    return last_fifth([row["step"] for row in valid], costs.tolist())
