"""What a report says of runs that belong to a study of ours: its question, its claims and what
became of them.
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from rnnbench.charts import figures
from rnnbench.charts.picture import Picture
from rnnbench.claims.answer import ALPHA, OPEN
from rnnbench.claims.design import Study as Known
from rnnbench.claims.design import of_label
from rnnbench.claims.gates import GAIN, UNDONE, improving
from rnnbench.claims.judging import Case, Judged, counted, judge
from rnnbench.formatting import anchor, interval, number, plural, probability
from rnnbench.report.document import Column, Entry, Group, Table
from rnnbench.report.forest import forests
from rnnbench.stats.selection import Study
from rnnbench.stats.statistics import FEWEST


def known(frame: pd.DataFrame) -> list[Known]:
    """The studies whose label these runs carry."""
    return [
        found
        for label in sorted(set(frame["study"].astype(str)))
        if (found := of_label(label)) is not None
    ]


def claims(study: Study, known: Sequence[Known]) -> Iterator[str | Table | Picture]:
    """Of each study: how many claims came out how, which, a figure of all cases, and the
    numbers.
    """
    plain = study.frame.assign(
        task=study.frame["task.name"], cell=study.frame["cell.name"]
    )  # filters know no variants
    places = {
        str(run): anchor("runs", task, cell)
        for run, task, cell in zip(
            *(study.frame[key] for key in ("id", "task", "cell")), strict=True
        )
    }
    for one in known:
        if not one.claims:
            continue
        judged = judge(with_gates(plain[plain["study"] == one.label]), one)
        tail = "" if len(known) == 1 else f"-{one.label}"
        yield f"{counted(judged)} {_rules(judged)}"
        yield claims_table(f"claims{tail}", judged)
        drawn = forests(judged)
        for k, figure in enumerate(drawn):
            caption = (
                f"Claims of "
                f"{one.label}{f', part {k + 1} of {len(drawn)}' if len(drawn) > 1 else ''}: what "
                f"was found in each case, in units of the "
                "margin that was stated beforehand, with 95 % intervals. Blue: where the claim "
                "holds; dashed: ± the margin (for a range, its ends). "
                "The verdict, told by shape and colour, rests on corrected tests and not on these "
                "intervals. Cases without runs are left out."
            )
            yield figures.picture(f"claims{tail}{f'-{k + 1}' if k else ''}", figure, caption)
        yield cases_table(f"cases{tail}", judged, places)


def with_gates(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of a study with what its gates ask of their curves."""
    return runs.assign(improving=improving(runs))


def _rules(judged: Sequence[Judged]) -> str:
    sizes = [one.family for one in judged]
    return (
        "Each claim's test, direction and margin were written down before the runs. A claim is a "
        f"family of its own, of {min(sizes)} to {plural(max(sizes), 'case')} with a test: p-values "
        "are corrected by Holm's step-down over its cases, and so are those of the tests that "
        "would contradict it. "
        f"Below {ALPHA:g} a case is decided; otherwise it is not resolved, which is no "
        f"refutation. Below {FEWEST} runs a side nothing is claimed. Whatever was decided, a case "
        f"is not comparable where more than {UNDONE:.0%} of its runs were still improving (the "
        f"last validation the best, or {GAIN:.0%} gained in the last fifth), where a chosen "
        f"learning rate lies at the edge of those tried, or where task or size are others than "
        f"those that the claim is about; and a margin that is not below the published effect "
        f"contradicts nothing."
    )


def claims_table(name: str, judged: Sequence[Judged]) -> Table:
    """A row per claim: what it says, what became of it, what the paper reports, how our conditions
    differ.
    """
    columns = [
        Column("claim", "claim", align="left"),
        Column("verdict", "verdict", align="left"),
        Column("says", "says", align="left", prose=True),
        Column("found here", "sentence", align="left", prose=True),
        Column("published", "published", align="left", prose=True),
        Column("conditions here", "differs", align="left", prose=True),
        Column("source", "source", align="left", prose=True),
    ]
    rows = [
        [
            Entry(one.claim.id),
            Entry(one.verdict, bold=one.verdict != OPEN),
            Entry(one.claim.says),
            Entry(one.sentence),
            Entry(one.claim.published or "–"),
            Entry(one.claim.differs or "–"),
            Entry(one.claim.source),
        ]
        for one in judged
    ]
    return Table(name, "What papers found, and whether it holds here", columns, [Group("", rows)])


def cases_table(name: str, judged: Sequence[Judged], places: dict[str, str]) -> Table:
    """A row per case of a claim, with its numbers. places: run → what a page links to."""
    columns = [
        Column("case", "case", align="left"),
        Column("verdict", "verdict", align="left"),
        Column("found", "sentence", align="left", prose=True),
        Column("effect", "effect", "95 %"),
        Column("of", "measure", align="left"),
        Column("n", "n", "of each side"),
        Column("test", "test", align="left"),
        Column("p for", "p", "Holm"),
        Column("p against", "p_against", "Holm"),
        Column("p", "p_raw", "not corrected"),
        Column("margin", "margin"),
        Column("power", "power", "at the margin"),
        Column("detectable", "detectable", "4 in 5"),
    ]
    groups = [
        Group(
            "",
            [
                [Entry(f"{one.claim.id} {case.name}".strip()), *_numbers(one, case, places)]
                for one in judged
                for case in one.cases
            ],
        )
    ]
    notes = [
        "Effect: the first side minus the second, in the units of the score; its sign is that of "
        "the numbers, whichever way is better. "
        "p for: of the test that would confirm the claim (or, of a difference, its opposite); p "
        "against: of the one that would show that there is no "
        "difference as large as the margin or, where equality is claimed, a larger one. "
        "A run that diverged, or lost twice what the memoryless baseline loses, counts as the "
        "worst.",
        "Power: how probably a true difference as large as the margin would have been found, "
        "given this n and spread, at the strictest step of the "
        "correction; for claims that something lies inside a margin or range, how probably that "
        "would have been shown if the truth were in its "
        "middle. Detectable: the smallest difference (or margin) with a power of 0.8.",
    ]
    return Table(name, "Claims case by case: effects, tests, power", columns, groups, notes)


def _numbers(one: Judged, case: Case, places: dict[str, str]) -> list[Entry]:
    found = case.answer
    groups = {places[run] for run in found.ids if run in places}
    key = groups.pop() if len(groups) == 1 else ""
    n = " / ".join(map(str, found.n))
    margin = interval(*one.claim.range) if one.claim.range else str(one.claim.margin)
    return [
        Entry(case.verdict, bold=case.verdict != OPEN),
        Entry(case.sentence),
        Entry(
            number(found.effect, 3),
            found.effect,
            interval(found.low, found.high),
            (found.low, found.high),
            key,
        ),
        Entry(found.measure or "–"),
        Entry(n or "–", runs=key),
        Entry(found.test or "–"),
        Entry(probability(case.p), case.p, bold=case.p < ALPHA),
        Entry(probability(case.against), case.against, bold=case.against < ALPHA),
        Entry(probability(found.p), found.p),
        Entry(margin),
        Entry(number(case.power, 2), case.power),
        Entry(number(case.detectable, 3), case.detectable),
    ]
