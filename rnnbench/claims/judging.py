"""The claims of a study judged on its runs: a verdict per case, a verdict per claim.

A claim is a family of its own: both tests of a case (see `answer`) are corrected by Holm's
step-down, each over the cases of its claim. The probability that any case of a claim is wrongly
called reproduced is at most ALPHA, and so is that of any being wrongly contradicted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from rnnbench.claims.answer import (
    ALPHA,
    APART,
    CONTRADICTED,
    OPEN,
    REPRODUCED,
    VERDICTS,
    Answer,
)
from rnnbench.claims.design import Claim, Study
from rnnbench.claims.gates import failed, margin_too_wide, unlearnt
from rnnbench.claims.kind import kinds
from rnnbench.claims.selection import Filter, Unanswerable, cases, named
from rnnbench.formatting import listing, p_value, plural
from rnnbench.stats.statistics import holm


@dataclass(frozen=True)
class Case:
    """One case of a claim. name: its values of `each`, or empty.

    p, against: corrected; alpha: of the strictest step of the correction. stopped: the gate that a
    decided case does not pass, or an empty text.
    """

    name: str
    answer: Answer
    p: float
    against: float
    alpha: float
    stopped: str = ""

    @property
    def verdict(self) -> str:
        return APART if self.stopped else self.answer.verdict(self.p, self.against)

    @cached_property
    def power(self) -> float:
        return self.answer.power(self.alpha)

    @cached_property
    def detectable(self) -> float:
        return self.answer.detectable(self.alpha)

    @property
    def sentence(self) -> str:
        """What was found, in plain words with the numbers."""
        answer = self.answer
        if not answer.facts:
            return f"Not resolved: {answer.why}."
        found = self.answer.verdict(self.p, self.against)
        if found == REPRODUCED:
            small = ", though by less than the margin" if self.against < ALPHA else ""
            text = f"{answer.words.claimed}{small}: {answer.facts}, {_p(self.p)}"
        elif found == CONTRADICTED and self.p < ALPHA:
            text = f"{answer.words.opposite}: {answer.facts}, {_p(self.p)}"
        elif found == CONTRADICTED:
            text = f"{answer.words.against}: {answer.facts}, {_p(self.against)}"
        else:
            text = f"{answer.words.open}: {answer.facts}; {answer.why or _p(self.p)}{self._seen()}"
        return f"Not comparable, since {self.stopped}. {text}." if self.stopped else f"{text}."

    def _seen(self) -> str:
        return (
            ""
            if math.isnan(self.power)
            else f"; runs like these would settle it in {self.power:.0%} of studies"
        )


@dataclass(frozen=True)
class Judged:
    """A claim, what each of its cases came to, and what that makes of it.

    family: cases whose tests were corrected together.
    """

    claim: Claim
    cases: tuple[Case, ...]
    verdict: str
    family: int

    @property
    def sentence(self) -> str:
        """Of one case what was found; of several which of them came out how."""
        if len(self.cases) == 1:
            return self.cases[0].sentence
        parts = []
        for verdict in VERDICTS:
            members = [case for case in self.cases if case.verdict == verdict]
            if members:
                whys = [case.stopped or case.answer.why for case in members]
                why = next((f": {text}" for text in whys if text), "")
                parts.append(
                    f"{verdict} in {len(members)} of {len(self.cases)} cases "
                    f"({listing([case.name for case in members])}){why}"
                )
        text = "; ".join(parts)
        return f"{text[0].upper()}{text[1:]}." if text else "There is no case to judge."


def judge(frame: pd.DataFrame, study: Study) -> list[Judged]:
    """Every claim of the study, in its order.

    frame: its runs, as from `load`; what is missing in them leaves a claim not resolved.
    """
    return [judged(frame, claim) for claim in study.claims]


def judged(frame: pd.DataFrame, claim: Claim) -> Judged:
    asked = [(filters, answered(frame, claim, filters)) for filters in cases(claim.each)]
    p = holm([answer.p for _, answer in asked]).tolist()
    against = holm([answer.against for _, answer in asked]).tolist()
    family = int(np.isfinite([answer.p for _, answer in asked]).sum())
    alpha = ALPHA / max(family, 1)
    made = []
    for (filters, answer), one, other in zip(asked, p, against, strict=True):
        gate = stopped(frame, claim, filters, answer.verdict(one, other), one < ALPHA)
        made.append(Case(named(filters), answer, one, other, alpha, gate))
    verdict = together([case.verdict for case in made], claim.holds)
    return Judged(claim, tuple(made), verdict, family)


def stopped(frame: pd.DataFrame, claim: Claim, filters: Filter, verdict: str, differs: bool) -> str:
    """The gate that a case decided so does not pass, or an empty text. differs: whether a
    difference was found, and not the want of one.
    """
    if verdict == OPEN:
        return ""
    gate = failed(frame, claim, filters)
    if gate or verdict == REPRODUCED:
        return gate
    return unlearnt(frame, claim, filters) or ("" if differs else margin_too_wide(claim))


def answered(frame: pd.DataFrame, claim: Claim, filters: Filter) -> Answer:
    try:
        return kinds()[claim.kind].answer(frame, claim, filters)
    except Unanswerable as reason:
        return Answer(why=str(reason), agrees=False)


def together(verdicts: Sequence[str], holds: str) -> str:
    """The verdict of a claim from those of its cases. holds: whether all of them must hold,
    or any.
    """
    first, last = (REPRODUCED, CONTRADICTED) if holds == "any" else (CONTRADICTED, REPRODUCED)
    if first in verdicts:
        return first
    for all_alike in (last, APART):
        if verdicts and all(verdict == all_alike for verdict in verdicts):
            return all_alike
    return OPEN


def counted(judged: Sequence[Judged]) -> str:
    """How many claims came out how, in a sentence."""
    numbers = [f"{sum(one.verdict == verdict for one in judged)} {verdict}" for verdict in VERDICTS]
    return f"Of {plural(len(judged), 'claim')}, {listing(numbers)}."


def _p(p: float) -> str:
    if math.isnan(p):
        return "no test"
    return f"corrected {p_value(p)}"
