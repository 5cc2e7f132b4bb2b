"""Every cell against the baseline cell, and every cell against the best one: one family of tests
each, corrected together.

The decision rests on Welch's test where no run of the two samples diverged, else on the rank test,
for which diverged runs are worst. Which of the two is fixed by that rule and not by what comes out.
No files, no figures.
"""

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rnnbench.stats.ranks import mann_whitney
from rnnbench.stats.selection import Sample, Study
from rnnbench.stats.statistics import (
    FEWEST,
    Detectable,
    Difference,
    detectable,
    difference,
    holm,
    usable,
)

ALPHA = 0.05


@dataclass(frozen=True)
class Comparison:
    """x against y. p: of the deciding test, p_rank: of the rank test, both corrected by Holm over
    `family` comparisons; NaN: no claim.

    detectable: the smallest difference that the strictest step of the correction would have found
        four times in five.
    """

    x: Sample
    y: Sample
    difference: Difference
    test: str
    p: float
    p_rank: float
    detectable: Detectable
    family: int
    why: str

    @property
    def significant(self) -> bool:
        return self.p < ALPHA

    @property
    def verdict(self) -> str:
        """better, worse, not resolved, or an empty text where nothing is claimed."""
        if math.isnan(self.p):
            return ""
        return ("better" if self.better else "worse") if self.significant else "not resolved"

    @property
    def better(self) -> bool:
        """Whether x has the better runs: by the means, or by the pairs where the rank test
        decides.
        """
        if self.test == "rank":
            return (
                mann_whitney(self.x.scores, self.y.scores, self.x.goal).statistic * 2
                > self.x.scores.size * self.y.scores.size
            )
        return self.difference.difference * (-1 if self.x.goal == "min" else 1) > 0


def with_baseline(study: Study) -> list[Comparison]:
    """Every cell with the baseline on every task: one family."""
    return compare(
        (sample, study.samples[task, study.baseline])
        for task in study.tasks
        if (task, study.baseline) in study.samples
        for sample in study.of(task)
        if sample.cell != study.baseline
    )


def with_best(study: Study) -> list[Comparison]:
    """Every cell with the best one of its task: one family."""
    return compare(
        (sample, top)
        for task in study.tasks
        if (top := best(study.of(task)))
        for sample in study.of(task)
        if sample is not top
    )


def best(samples: Iterable[Sample]) -> Sample | None:
    """The cell with the best test score, as `standing` has it; None if no run has a finite one."""
    ranked = sorted(
        (s for s in samples if math.isfinite(standing(s))),
        key=lambda s: standing(s) if s.goal == "min" else -standing(s),
    )
    return ranked[0] if ranked else None


def standing(sample: Sample) -> float:
    """What a cell reached after the search: the mean over the seeds of its setting, or its best
    trial by validation; NaN if all diverged.
    """
    scores = usable(sample.scores)
    if sample.by == "seeds":
        return float(scores.mean()) if scores.size else math.nan
    diverged = bool(sample.best.loc[sample.best["id"] == sample.chosen, "diverged"].iloc[0])
    return math.nan if diverged else sample.score


def compare(pairs: Iterable[tuple[Sample, Sample]]) -> list[Comparison]:
    """All pairs (x, y), corrected as one family."""
    pairs = list(pairs)
    raw = []
    for x, y in pairs:
        found, rank = difference(x.scores, y.scores), mann_whitney(x.scores, y.scores, x.goal)
        test = "rank" if any(found.excluded) else "Welch"
        raw.append(
            (
                found,
                test,
                rank.p if test == "rank" else found.p,
                rank.p,
                rank.why if test == "rank" else found.why,
            )
        )
    decided, ranked = holm([r[2] for r in raw]), holm([r[3] for r in raw])
    family = int(np.isfinite([r[2] for r in raw]).sum())
    return [
        Comparison(
            x,
            y,
            found,
            test,
            float(p),
            float(p_rank),
            detectable(x.scores, y.scores, ALPHA / max(family, 1)),
            family,
            why,
        )
        for (x, y), (found, test, _, _, why), p, p_rank in zip(
            pairs, raw, decided, ranked, strict=True
        )
    ]


def family_said(comparisons: list[Comparison], against: str) -> str:
    """Which family was corrected, in a sentence."""
    claimed = comparisons[0].family if comparisons else 0
    if not claimed:
        return (
            f"Below {FEWEST} runs a side no significance is claimed, so no difference here is "
            f"called better or worse."
        )
    left = len(comparisons) - claimed
    beside = (
        f" ({left} more had fewer than {FEWEST} runs a side or no spread, and claim nothing)"
        if left
        else ""
    )
    return (
        f"p-values are two-sided and corrected by Holm's step-down over one family: all "
        f"{claimed} comparisons with {against} in this table{beside}."
    )


def generator(*names: str) -> np.random.Generator:
    """The same draws for the same names, whatever else a report holds."""
    return np.random.default_rng([zlib.crc32(name.encode()) for name in ("report", *names)])
