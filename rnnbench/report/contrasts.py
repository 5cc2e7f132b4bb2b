"""Cells beside one another: Greff's table, Jozefowicz's table, who beats whom how often, average
ranks.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rnnbench.formatting import (
    anchor,
    by_first,
    count,
    interval,
    number,
    plural,
    probability,
    score,
)
from rnnbench.report.document import Column, Entry, Group, Table
from rnnbench.report.leaderboard import ARROW, score_entry
from rnnbench.report.sources import family
from rnnbench.stats.compare import (
    EQUAL,
    SAME,
    UNDECIDED,
    Comparison,
    family_said,
    standing,
    with_best,
)
from rnnbench.stats.ranks import Ranks, improvement, ranks
from rnnbench.stats.selection import Sample, Study, said
from rnnbench.stats.statistics import FEWEST, costs, median

MARKS = {SAME: "≈", UNDECIDED: "?"}


def told(comparisons: Sequence[Comparison], verdict: str) -> str:
    """Who is better, or worse, than the baseline on what; empty if nobody is."""
    parts = by_first(
        [(found.x.cell, found.x.task) for found in comparisons if found.verdict == verdict]
    )
    return f"{verdict.capitalize()} than {comparisons[0].y.cell}: {parts}" if parts else ""


def greff_table(study: Study, comparisons: Sequence[Comparison]) -> Table:
    """Each cell against the baseline cell: means, differences, effects, p, and what could have been
    seen.
    """
    by_task: dict[str, list[Comparison]] = {}
    for found in comparisons:
        by_task.setdefault(found.x.task, []).append(found)
    columns = [
        Column("cell", "cell", align="left"),
        Column("n", "n", "runs"),
        Column("median", "median"),
        Column("shift", "shift"),
        Column("wins", "wins", "of pairs"),
        Column("p", "p", "in its task"),
        Column("detectable", "detectable", "±"),
        Column("verdict", "verdict", align="left"),
    ]
    groups = []
    for task, members in by_task.items():
        reference, metric = members[0].y, members[0].y.runs["metric"].iloc[0]
        rows = [
            [*_head(reference), *[Entry("–", "")] * 4, Entry("baseline")],
            *([*_head(f.x), *_contrast(f)] for f in members),
        ]
        groups.append(Group(f"{task}: test {metric} {ARROW[reference.goal]}", rows))
    notes = [
        f"{family_said(comparisons, study.baseline)}",
        f"Median: with an interval between two of its scores. Shift: the median difference from "
        f"{study.baseline} over all pairs of runs (Hodges and Lehmann), with the interval that "
        f"inverts the test of Mann and Whitney. Wins: the share of pairs in which the cell is "
        f"better, with Newcombe's interval. Intervals are of 95 %.",
        "Detectable: the smallest true difference of means that the strictest step of the "
        "correction would have found four times in five, given this n and spread, were scores "
        "normal. Undecided is not equal: a difference smaller than that could be there.",
    ]
    if any(f.x.by == "trials" or f.y.by == "trials" for f in comparisons):
        notes.append(
            "Samples are the best trials of a search: selection makes their spread too small and "
            "these p-values too optimistic."
        )
    if any(f.y.tried > 1 and f.y.by == "seeds" for f in comparisons):
        notes.append(
            "Each cell stands with the setting that validation chose for it, over its seeds; a "
            "seed that took part in choosing is left out where there are enough others."
        )
    return Table(
        "greff", f"Every cell against {study.baseline}, task by task", columns, groups, notes
    )


def _head(sample: Sample) -> list[Entry]:
    key = anchor("runs", sample.task, sample.cell)
    found = median(sample.scores, sample.goal)
    aside = f"{found.excluded} diverged" if found.excluded else ""
    return [
        Entry(sample.cell, runs=key),
        Entry(count(found.n), found.n, aside, runs=key),
        score_entry(found, key),
    ]


def _contrast(found: Comparison) -> list[Entry]:
    key = anchor("runs", found.x.task, found.x.cell)
    moved, chance = found.shift, found.chance
    wins = f"[{chance.low:.2f}, {chance.high:.2f}]"
    return [
        Entry(
            number(moved.value, 3),
            moved.value,
            interval(moved.low, moved.high),
            (moved.low, moved.high),
            key,
        ),
        Entry(f"{chance.value:.2f}", chance.value, wins, (chance.low, chance.high), key),
        Entry(probability(found.p), found.p, bold=found.significant, runs=key),
        Entry(number(found.detectable, 3), found.detectable, runs=key),
        Entry(found.verdict or f"n < {FEWEST}", bold=found.significant),
    ]


def jozefowicz_table(study: Study) -> Table:
    """Cells × tasks: test score of what validation chose; families of equations grouped, a cell's
    forget-bias rows beside it.
    """
    comparisons = with_best(study)
    against = {(f.x.task, f.x.cell): f for f in comparisons}
    winners = {f.y.task: f.y.cell for f in comparisons}
    winners |= {
        task: members[0].cell
        for task in study.tasks
        if task not in winners and len(members := study.of(task)) == 1
    }
    ordered = _ordered(study)
    biased = any(facts[2] != "–" for facts in ordered.values())
    columns = [
        Column("cell", "cell", align="left"),
        *[Column("forget bias", "forget_bias")] * biased,
    ]
    for task in study.tasks:
        some = study.of(task)
        columns.append(
            Column(
                task,
                anchor(task),
                f"{some[0].runs['metric'].iloc[0]} {ARROW[some[0].goal]}" if some else "",
            )
        )
    grouped: dict[str, list[list[Entry]]] = {}
    for cell, facts in ordered.items():
        row = [Entry(cell), *[Entry(facts[2])] * biased]
        row += [
            _score(
                study.samples.get((task, cell)),
                winners.get(task) == cell,
                against.get((task, cell)),
            )
            for task in study.tasks
        ]
        grouped.setdefault(facts[0], []).append(row)
    groups = [Group(heading, rows) for heading, rows in grouped.items()]
    notes = [
        f"Bold: the best. ≈: shown to be within {EQUAL:.0%} of the best (two one-sided rank tests, "
        f"corrected by Holm within the task). ?: undecided, neither that nor shown to be worse. "
        f"No mark: worse than the best. {family_said(comparisons, 'the best cell')} That the best "
        f"was found by looking is counted."
    ]
    if all(math.isnan(f.p) for f in comparisons):
        notes = [f"Bold: the best number. {family_said(comparisons, '')}"] if comparisons else []
    notes.append(
        "Each number is the median over the seeds of the setting with the best validation score "
        "(in brackets: quartiles, n), "
        "or, where a search gave each setting one run, the test score of its best trial by "
        "validation."
    )
    caption = (
        "After search: test score of what validation chose, ablations and forget-bias rows "
        "beside the cell they come from"
    )
    return Table("jozefowicz", caption, columns, groups, notes)


def _ordered(study: Study) -> Mapping[str, tuple[str, str, str]]:
    """cell → (family, equations, forget bias), families as files are named, the equations of a
    family together, no bias first.
    """
    facts = {}
    for cell, members in study.frame.groupby("cell", sort=True):
        step, bias = str(members["cell.step"].iloc[0]), members["cell.forget_bias"].iloc[0]
        facts[str(cell)] = (family(step), step, "–" if said(bias) == "null" else said(bias))
    own = {cell for cell, found in facts.items() if found[1].rpartition(".")[2] == str(cell)}
    return dict(
        sorted(
            facts.items(),
            key=lambda item: (
                item[1][1].rpartition(".")[0],
                item[1][1],
                item[0] not in own,
                item[1][2] != "–",
                item[0],
            ),
        )
    )


def _score(sample: Sample | None, winner: bool, found: Comparison | None) -> Entry:
    if sample is None:
        return Entry("–", "")
    value, key = standing(sample), anchor("runs", sample.task, sample.cell)
    scores = costs(sample.scores, sample.goal)
    if sample.by == "trials":
        aside, key = f"(1 of {sample.tried})", anchor("run", sample.chosen)
    elif scores.size > 1:
        low, high = np.quantile(scores, (0.25, 0.75), method="inverted_cdf")
        bounds = (low, high) if sample.goal == "min" else (-high, -low)
        aside = f"({' to '.join(score(bound, 3) for bound in bounds)}, {scores.size})"
    else:
        aside = f"({scores.size})"
    mark = MARKS.get(found.verdict, "") if found else ""
    return Entry(score(value), value, aside, runs=key, bold=winner, mark=mark)


def improvement_tables(study: Study) -> list[Table]:
    """Per task: how probable it is that a run of the row's cell beats one of the column's."""
    tables = []
    for task in study.tasks:
        members = study.of(task)
        if len(members) < 2:
            continue
        columns = [
            Column("cell", "cell", align="left"),
            *(Column(f"> {s.cell}", s.cell) for s in members),
        ]
        rows = [
            [Entry(x.cell, runs=anchor("runs", task, x.cell)), *(_wins(x, y) for y in members)]
            for x in members
        ]
        tables.append(
            Table(
                f"improvement-{anchor(task)}",
                f"{task}. Probability that a run of the row beats a run of the column",
                columns,
                [Group("", rows)],
            )
        )
    return tables


def wins(x: Sample, y: Sample) -> float:
    """How probable it is that a run of x beats one of y; one half for a cell against itself."""
    return 0.5 if x is y else improvement(x.scores, y.scores, x.goal).value


def _wins(x: Sample, y: Sample) -> Entry:
    if x is y:
        return Entry("·", "")
    found = improvement(x.scores, y.scores, x.goal)
    return Entry(
        f"{found.value:.2f}",
        found.value,
        f"[{found.low:.2f}, {found.high:.2f}]",
        (found.low, found.high),
        anchor("runs", x.task, x.cell),
    )


def average_ranks(study: Study) -> tuple[Ranks, list[str]]:
    """Ranks over the tasks that every cell has results on, and the cells in the order of
    the ranks.
    """
    cells = list(study.cells)
    tasks = [task for task in study.tasks if all((task, cell) in study.samples for cell in cells)]
    table = [[standing(study.samples[task, cell]) for cell in cells] for task in tasks]
    return ranks(
        np.reshape(table, (len(tasks), len(cells))),
        [study.samples[task, cells[0]].goal for task in tasks],
    ), cells


def ranks_said(study: Study, found: Ranks) -> str:
    """Why there are no average ranks, in a sentence."""
    return (
        f"Average ranks need at least {FEWEST} tasks and 3 cells with results on all of them; "
        f"here {plural(found.tasks, 'task')} "
        f"and {plural(len(study.cells), 'cell')} have them, so none are given."
    )
