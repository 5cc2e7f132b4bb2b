"""Every cell against the baseline cell, and every cell against the best: a family for each task,
decided by `families`. No files, no figures.

What is not decided is undecided. A cell counts as equal to the best only where that is shown: two
one-sided tests with a margin of EQUAL of what the best one scores, corrected over the same family.
"""

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rnnbench.runs import frame
from rnnbench.stats import families, ranks
from rnnbench.stats.families import ALPHA, Decided
from rnnbench.stats.selection import Result, Sample, Selection
from rnnbench.stats.statistics import (
    FEWEST,
    Estimate,
    Floats,
    beyond,
    charged,
    costs,
    holm,
    median,
    too_few,
)

EQUAL = 0.05  # of what the best one scores: a difference that would not matter
BETTER, WORSE, SAME, UNDECIDED = "better", "worse", "equal", "undecided"


@dataclass(frozen=True)
class Comparison:
    """x against y.

    shift: of x from y over all pairs of runs, in the units of the scores; chance: that a run of x
    beats one of y. p: of the deciding test, corrected over `family` comparisons, NaN: no claim, and
    why; equal: p of equality within `margin`, corrected, NaN where nobody asked.
    detectable: with the baseline, the smallest difference in the units of the scores that the
    strictest step of the correction would have found four times in five, were they normal.
    """

    x: Sample
    y: Sample
    shift: Estimate
    chance: Estimate
    p: float
    ahead: bool
    equal: float
    margin: float
    detectable: float
    family: int
    why: str

    @property
    def verdict(self) -> str:
        """better, worse, equal, undecided, or an empty text where nothing is claimed."""
        if math.isnan(self.p):
            return ""
        if self.p <= ALPHA:
            return BETTER if self.ahead else WORSE
        return SAME if self.equal <= ALPHA else UNDECIDED

    @property
    def significant(self) -> bool:
        return self.verdict in (BETTER, WORSE)


def with_baseline(study: Selection) -> list[Comparison]:
    """Every cell with the baseline: a family for each task."""
    made = []
    for task in study.tasks:
        first = study.samples.get(Result(task, study.baseline))
        if first is None:
            continue
        others = [sample for sample in study.of(task) if sample is not first]
        members = [first, *others]
        decided = families.with_baseline(costs_of(members), generator("baseline", str(task)))
        made += _compared(others, [first] * len(others), decided, np.arange(1, len(members)), None)
    return made


def with_best(study: Selection) -> list[Comparison]:
    """Every cell with the best one of its task: a family for each task."""
    made = []
    for task in study.tasks:
        members = study.of(task)
        if not members:
            continue
        decided = families.with_best(costs_of(members), generator("best", str(task)))
        if (top := _best(members, decided)) is None:
            continue
        places = np.array([k for k, sample in enumerate(members) if sample is not top], int)
        others = [members[k] for k in places]
        made += _compared(others, [top] * len(others), decided, places, EQUAL)
    return made


def _best(members: Sequence[Sample], decided: Decided) -> Sample | None:
    """The cell with the best standing among those not shown to be worse than another."""
    left = [s for s, p in zip(members, decided.p, strict=True) if not p <= ALPHA]
    return best(left)


def best(samples: Iterable[Sample]) -> Sample | None:
    """The cell with the best standing; None if all have diverged."""
    ranked = sorted(
        (s for s in samples if math.isfinite(standing(s))),
        key=lambda s: standing(s) if s.goal == "min" else -standing(s),
    )
    return ranked[0] if ranked else None


def standing(sample: Sample) -> float:
    """What a cell reached: the median over the seeds of its setting, or the test score of its best
    trial by validation; not finite where that is a diverged run.
    """
    if sample.by == "seeds":
        return median(sample.scores, sample.goal).value
    lost = bool(sample.best.loc[sample.best["id"] == sample.chosen, "diverged"].iloc[0])
    return math.nan if lost else sample.score


def costs_of(members: Sequence[Sample]) -> list[Floats]:
    """Costs of the runs of each cell of a task, less is better.

    A diverged run costs what the rule of divergence begins at (see `frame.limit`), or as much as
    the worst run of the task where that is more or no memoryless baseline is known.
    """
    turned = [costs(sample.scores, sample.goal) for sample in members]
    worst = beyond(max((limit(sample) for sample in members), default=-math.inf), *turned)
    return [charged(sample.scores, sample.goal, worst) for sample in members]


def limit(sample: Sample) -> float:
    """The cost from which on a run of this sample has diverged, see `frame.limit`."""
    return frame.limit(sample.runs["baseline"], sample.goal)


def _compared(
    xs: Sequence[Sample],
    ys: Sequence[Sample],
    decided: Decided,
    places: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    equal: float | None,
) -> list[Comparison]:
    """places: of the xs in the family; equal: margin as a share of what y scores."""
    p, lead = decided.p[places], decided.lead[places]
    pairs = [costs_of([x, y]) for x, y in zip(xs, ys, strict=True)]
    margins = [math.nan if equal is None else equal * abs(float(np.median(b))) for _, b in pairs]
    shown = [
        ranks.inside(a, b, -margin, margin) if margin > 0 else math.nan
        for (a, b), margin in zip(pairs, margins, strict=True)
    ]
    same = holm(shown)
    runs = sum(a.size for a, _ in pairs) + pairs[0][1].size if pairs else 0
    made = []
    for k, (x, y) in enumerate(zip(xs, ys, strict=True)):
        a, b = pairs[k]
        moved = ranks.shift(a, b)
        if x.goal == "max":
            moved = Estimate(-moved.value, -moved.high, -moved.low, moved.n, why=moved.why)
        made.append(
            Comparison(
                x,
                y,
                moved,
                ranks.improvement(x.scores, y.scores, x.goal),
                float(p[k]),
                bool(lead[k] > 0),
                float(same[k]),
                margins[k],
                detectable(a, b, runs, decided.alpha) if equal is None else math.nan,
                int(np.isfinite(p).sum()),
                too_few(a.size, b.size),
            )
        )
    return made


def detectable(a: Floats, b: Floats, runs: int, alpha: float) -> float:
    """In the units of the costs a and b, by their pooled spread, in a family of so many runs; NaN
    where there is no spread.
    """
    m, n = a.size, b.size
    if min(m, n) < 2:
        return math.nan
    pooled = math.sqrt(((m - 1) * a.var(ddof=1) + (n - 1) * b.var(ddof=1)) / (m + n - 2))
    return families.detectable(m, n, runs - m - n, alpha) * pooled if pooled else math.nan


def family_said(comparisons: Sequence[Comparison], against: str) -> str:
    """Which families were corrected, in a sentence."""
    claimed = sorted({found.family for found in comparisons if found.family})
    if not claimed:
        return (
            f"Below {FEWEST} runs a side no significance is claimed, so no difference here is "
            f"called better or worse."
        )
    sizes = f"{claimed[0]}" if len(claimed) == 1 else f"{claimed[0]} to {claimed[-1]}"
    left = sum(math.isnan(found.p) for found in comparisons)
    beside = f" ({left} more had fewer than {FEWEST} runs a side, and claim nothing)"
    return (
        f"Each task is a family of its own, {sizes} comparisons with {against}{beside * bool(left)}"
        f". p-values are those of a step-down max-T permutation test (Westfall and Young): "
        f"regrouping the runs gives so large a statistic in that share of cases, the statistic "
        f"being the larger of Welch's t of the scores (of losses, their logarithms) and of their "
        f"ranks. Diverged runs count as the worst."
    )


def generator(*names: str) -> np.random.Generator:
    """The same draws for the same names, whatever else a report holds."""
    return np.random.default_rng([zlib.crc32(name.encode()) for name in ("report", *names)])
