"""How axes show scores and steps: on which scale, from where to where, with which ticks. The rules
first; below them how Matplotlib follows them (`chart` says it for Vega-Lite).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import MaxNLocator

from rnnbench.formatting import listing

WIDE = 20  # the largest over the smallest value above which an axis is logarithmic
ENOUGH = 2  # times the memoryless baseline, where a loss is lost and its axis ends
ROOM = 0.05  # of an axis's height, left below the lowest value
DOTS = 0.12  # markers along a curve, as a share of the diagonal of its panel

Values = Iterable[float | None]
Kind = Literal["linear", "log"]


@dataclass(frozen=True)
class Span:
    """An axis of scores. low, high: where it ends, None where the values end; note: what a caption
    has to say of it.
    """

    kind: Kind
    low: float | None = None
    high: float | None = None
    note: str = ""


def finite(values: Values) -> np.ndarray:
    """Those that are numbers."""
    found = np.array([np.nan if value is None else value for value in values], float)
    kept: np.ndarray = found[np.isfinite(found)]
    return kept


def bounded(values: Values, goal: str) -> bool:
    """Whether these are scores such as accuracy: to be raised, and between 0 and 1."""
    found = finite(values)
    return goal == "max" and bool(((found >= 0) & (found <= 1)).all())


def kind(values: Values, goal: str = "min") -> Kind:
    """Logarithmic for values that are all positive and spread over more than a factor of 20, unless
    they are bounded: half of what can be right is then half the axis.
    """
    found = finite(values)
    if not found.size or found.min() <= 0 or bounded(found, goal):
        return "linear"
    return "log" if found.max() > WIDE * found.min() else "linear"


def fit(lines: Mapping[str, Values], levels: Values, baseline: Values, goal: str) -> Span:
    """The axis of curves of scores.

    lines: cell → what is drawn of it. levels: drawn, too, and always seen. baseline: what scores
        without memory. A loss beyond twice the largest baseline is lost, and how far would squeeze
        the other curves into a line: the axis ends there, if any curve is below.
    """
    known, drawn = finite(baseline), {cell: finite(values) for cell, values in lines.items()}
    seen = np.concatenate([finite(levels), *drawn.values()])
    top = ENOUGH * known.max() if goal == "min" and known.size else np.inf
    beyond = [cell for cell, values in drawn.items() if (values > top).any()]
    low = seen.min(initial=np.inf)
    below = any((values < top).any() for values in drawn.values())
    if top <= 0 or not (beyond and below):
        return Span(kind(seen, goal))
    scale = kind(np.minimum(seen, top), goal)
    bottom = low / (top / low) ** ROOM if scale == "log" else low - ROOM * (top - low)
    note = (
        f"The axis ends at twice the memoryless baseline; beyond it at times: "
        f"{listing(sorted(set(beyond)))}."
    )
    return Span(scale, float(bottom), float(top), note)


def whole(axis: Axis, most: int | None = None) -> None:
    """Ticks at whole numbers, `most` of them: no step is half one."""
    count: Any = "auto" if most is None else most
    axis.set_major_locator(MaxNLocator(count, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
