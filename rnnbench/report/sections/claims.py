"""What papers found, and whether it holds here: how many claims came out how, each with its
verdict, a chart of all cases, and the numbers.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from rnnbench.charts import across
from rnnbench.charts.chart import Chart
from rnnbench.claims.answer import ALPHA, OPEN
from rnnbench.claims.design import Claim
from rnnbench.claims.gates import GAIN, LEARNT, UNDONE
from rnnbench.claims.judging import Case, Judged, counted
from rnnbench.formatting import interval, plural
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.table import (
    PROSE,
    SHIFT,
    TEXT,
    Column,
    P,
    Part,
    Table,
    result_place,
    rounded,
)
from rnnbench.stats.selection import Result
from rnnbench.stats.statistics import FEWEST, Estimate

ROWS = 40  # of a chart


@dataclass(frozen=True)
class _Row:
    """A case of a claim."""

    claim: Claim
    case: Case

    @property
    def name(self) -> str:
        return f"{self.claim.id} {self.case.name}".strip()


def parts(results: Results) -> Iterator[Part]:
    for known in results.known:
        if known.claims and known.label in results.incomplete:
            done, planned = results.incomplete[known.label]
            yield (
                f"{plural(len(known.claims), 'claim')} of {known.label} will be judged when it is "
                f"complete: {done:,} of {planned:,} runs are there."
            )
    runs = results.study.frame
    of = {
        str(run): Result(task, cell)
        for run, task, cell in zip(runs["id"], runs["task"], runs["cell"], strict=True)
    }
    for known, judged in results.judged:
        tail = "" if len(results.known) == 1 else f"-{known.label}"
        yield counted(judged)
        yield claims_table(f"claims{tail}", judged)
        yield from forests(f"claims{tail}", known.label, judged)
        yield cases_table(f"cases{tail}", judged, of)


def _rules(judged: Sequence[Judged]) -> str:
    sizes = [one.family for one in judged]
    return (
        f"Each claim's test, direction and margin were written down before the runs. A claim is a "
        f"family of its own, of {min(sizes)} to {plural(max(sizes), 'case')} with a test: p-values "
        f"are corrected by Holm's step-down over its cases, and so are those of the tests that "
        f"would contradict it. Below {ALPHA:g} a case is decided; otherwise it is not resolved, "
        f"which is no refutation. Below {FEWEST} runs a side nothing is claimed. Whatever was "
        f"decided, a case is not comparable where more than {UNDONE:.0%} of its runs were still "
        f"improving (the last validation the best, or {GAIN:.0%} gained in the last fifth), where "
        f"a chosen learning rate lies at the edge of those tried, or where task or size are others "
        f"than those that the claim is about; and nothing is contradicted by a margin that is not "
        f"below the published effect, nor by a cell none of whose runs, with any rate, came "
        f"{LEARNT:.0%} of the way from the memoryless baseline to the target."
    )


def claims_table(name: str, judged: Sequence[Judged]) -> Table:
    """What each claim says, what became of it, what the paper reports, how conditions differ."""
    columns = [
        Column("claim", lambda one: one.claim.id, TEXT),
        Column("verdict", lambda one: one.verdict, TEXT, bold=lambda one: one.verdict != OPEN),
        Column("says", lambda one: one.claim.says, PROSE),
        Column("found here", lambda one: one.sentence, PROSE, key="sentence", wide=True),
        Column("published", lambda one: one.claim.published, PROSE, wide=True),
        Column("conditions here", lambda one: one.claim.differs, PROSE, key="differs", wide=True),
        Column("source", lambda one: one.claim.source, PROSE),
    ]
    caption = "What papers found, and whether it holds here"
    return Table(name, caption, columns, judged, [_rules(judged)])


def forests(name: str, label: str, judged: Sequence[Judged]) -> Iterator[Chart]:
    """One chart, or several where there are more cases than fit; a claim is never split. Cases
    without an effect are left out.
    """
    pages: list[list[_Row]] = [[]]
    for one in judged:
        rows = [_Row(one.claim, case) for case in one.cases]
        rows = [row for row in rows if math.isfinite(row.case.answer.scaled[0])]
        if pages[-1] and len(pages[-1]) + len(rows) > ROWS:
            pages.append([])
        pages[-1] += rows
    pages = [rows for rows in pages if rows]
    for k, rows in enumerate(pages):
        part = f", part {k + 1} of {len(pages)}" if len(pages) > 1 else ""
        caption = (
            f"Claims of {label}{part}: what was found in each case, in units of the margin that "
            f"was stated beforehand, with 95 % intervals. Blue: where the claim holds; dashed: ± "
            f"the margin (for a range, its ends). The verdict, told by shape and colour, rests on "
            f"corrected tests and not on these intervals. Cases without runs are left out."
        )
        yield across.forest(f"{name}{f'-{k + 1}' if k else ''}", _drawn(rows), caption)


def _drawn(rows: Sequence[_Row]) -> pd.DataFrame:
    made = []
    for row in rows:
        (value, low, high), (start, stop) = row.case.answer.scaled, row.case.answer.region
        found = {"value": value, "low": low, "high": high, "start": start, "stop": stop}
        said = {"case": row.name, "verdict": row.case.verdict, "sentence": row.case.sentence}
        made.append(said | found)
    return pd.DataFrame(made)


def cases_table(name: str, judged: Sequence[Judged], of: dict[str, Result]) -> Table:
    """A row per case of a claim, with its numbers. of: run → its result."""

    def place(row: _Row) -> str:
        found = {of[run] for run in row.case.answer.ids if run in of}
        return result_place(found.pop()) if len(found) == 1 else ""

    columns = [
        Column("case", lambda row: row.name, TEXT),
        Column("verdict", lambda r: r.case.verdict, TEXT, bold=lambda r: r.case.verdict != OPEN),
        Column("effect", _effect, SHIFT, "95 %", link=place),
        Column("of", lambda row: row.case.answer.measure, TEXT, key="measure", wide=True),
        Column("n", lambda row: " / ".join(map(str, row.case.answer.n)), TEXT, link=place),
        Column("test", lambda row: row.case.answer.test, TEXT, wide=True),
        Column("p for", lambda r: r.case.p, P, "Holm", "p", bold=lambda r: r.case.p < ALPHA),
        Column(
            "p against",
            lambda row: row.case.against,
            P,
            "Holm",
            "p_against",
            bold=lambda row: row.case.against < ALPHA,
        ),
        Column("p", lambda row: row.case.answer.p, P, "not corrected", "p_raw", wide=True),
        Column("margin", _margin, TEXT),
        Column("power", lambda r: r.case.power, rounded(2), "at the margin", wide=True),
        Column("detectable", lambda r: r.case.detectable, rounded(3), "4 in 5", wide=True),
        Column("found", lambda row: row.case.sentence, PROSE, key="sentence", wide=True),
    ]
    rows = [_Row(one.claim, case) for one in judged for case in one.cases]
    notes = [
        "Effect: the first side minus the second, in the units of the score; its sign is that of "
        "the numbers, whichever way is better. p for: of the test that would confirm the claim "
        "(or, of a difference, its opposite); p against: of the one that would show that there is "
        "no difference as large as the margin or, where equality is claimed, a larger one. A run "
        "that diverged, or lost twice what the memoryless baseline loses, counts as the worst.",
        "Power: how probably a true difference as large as the margin would have been found, "
        "given this n and spread, at the strictest step of the correction; for claims that "
        "something lies inside a margin or range, how probably that would have been shown if the "
        "truth were in its middle. Detectable: the smallest difference (or margin) with a power of "
        "0.8.",
    ]
    return Table(name, "Claims case by case: effects, tests, power", columns, rows, notes)


def _effect(row: _Row) -> Estimate:
    found = row.case.answer
    return Estimate(found.effect, found.low, found.high, 0)


def _margin(row: _Row) -> str:
    return interval(*row.claim.range) if row.claim.range else str(row.claim.margin)


SECTION = Section("Claims and verdicts", "claims", 10, parts)
