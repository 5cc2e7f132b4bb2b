"""The answer: what is best where, what is tied with it, what cannot be said, and one chart."""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from rnnbench.charts import across
from rnnbench.formatting import plural, score, some
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.table import Part
from rnnbench.stats.compare import EQUAL, SAME, UNDECIDED, standing
from rnnbench.stats.selection import Sample, Variant
from rnnbench.stats.statistics import FEWEST

NAMED = 4  # things that a sentence lists before it counts the rest
PANELS = 4  # tasks up to which the chart shows scores, and beyond which it shows ranks


def parts(results: Results) -> Iterator[Part]:
    if not results.winners:
        yield "No run ended with a score, so nothing is best."
        return
    far = " ".join(unfinished(results))
    yield " ".join(filter(None, (far, best(results), tied(results), unsaid(results))))
    tasks = [task for task in results.study.tasks if len(results.study.of(task)) > 1]
    cells = results.dressed(results.cells)
    if len(tasks) > PANELS:
        yield across.rank_map(_ranks(results, tasks), cells)
    elif tasks:
        yield across.standings([results.picked(task) for task in tasks], cells)


def unfinished(results: Results) -> Iterator[str]:
    """How far a study is that lacks runs."""
    for label, (done, of) in results.incomplete.items():
        yield f"{label} is incomplete, with {done:,} of {of:,} runs, and claims nothing yet."


def best(results: Results) -> str:
    """What is best where."""
    if len(results.study.cells) == 1:
        ((task, sample), *tasks) = results.winners.items()
        elsewhere = f", and on {plural(len(tasks), 'other task')}" if tasks else ""
        return f"Only {sample.cell.label} has runs: {_reached(sample)} on {task.label}{elsewhere}."
    where: dict[Variant, list[Variant]] = {}
    for task, sample in results.winners.items():
        where.setdefault(sample.cell, []).append(task)
    if len(results.winners) == 1:
        ((task, sample),) = results.winners.items()
        return f"Best on {task.label}: {sample.cell.label} ({_reached(sample)})."
    order = sorted(where, key=lambda cell: (-len(where[cell]), cell))
    said = [f"{cell.label} on {_some(where[cell])}" for cell in order[:NAMED]]
    others = len(order) - len(said)
    rest = [f"{plural(others, 'other cell')} elsewhere"] if others > 0 else []
    medians = all(sample.by == "seeds" for sample in results.winners.values())
    return f"Best {'median ' if medians else ''}test score: {'; '.join([*said, *rest])}."


def _reached(sample: Sample) -> str:
    value = f"{sample.metric} {score(standing(sample))}"
    return f"median test {value}" if sample.by == "seeds" else f"test {value} of its best trial"


def tied(results: Results) -> str:
    """Which cells are shown to be as good as the best, which cannot be told from it."""
    pairs = list(results.against_best.values())
    if not any(found.family for found in pairs):
        return ""
    same = [found for found in pairs if found.verdict == SAME]
    undecided = [found for found in pairs if found.verdict == UNDECIDED]
    worse = len([f for f in pairs if f.significant])
    equal = "none is shown to be equal"
    if same:
        names = _some([found.x.cell for found in same])
        equal = f"{names} {'is' if len(same) == 1 else 'are'} equal to within {EQUAL:.0%}"
    decided = f"{worse} {'is' if worse == 1 else 'are'} decided"
    open_ones = f"{len(undecided)} cannot be told from it" if undecided else "all others are worse"
    return (
        f"Of {plural(len(pairs), 'comparison')} with the best, {decided} against the other cell; "
        f"{equal}, {open_ones}."
    )


def unsaid(results: Results) -> str:
    """What cannot be said."""
    reasons = []
    samples = results.study.samples.values()
    if few := [sample for sample in samples if len(sample.best) < FEWEST]:
        many = "everything" if len(few) == len(samples) else plural(len(few), "result")
        reasons.append(f"{many} rests on fewer than {FEWEST} runs")
    if math.isfinite(results.improving) and results.improving >= 0.005:
        reasons.append(
            f"{results.improving:.0%} of the runs were still improving when they ended, so that "
            f"a longer budget may reverse the order"
        )
    lost = sum(int(sample.best["diverged"].sum()) for sample in samples)
    if lost:
        all_runs = sum(len(sample.best) for sample in samples)
        reasons.append(f"{lost} of {all_runs} runs diverged and count as the worst")
    if not reasons:
        return "Nothing here says what other tasks, sizes or budgets would give."
    return f"What cannot be said: {'; '.join(reasons)}."


def _some(found: Sequence[Variant]) -> str:
    """Names, each once, and how many more there are."""
    return some([one.label for one in dict.fromkeys(found)], NAMED)


def _ranks(results: Results, tasks: Sequence[Variant]) -> pd.DataFrame:
    rows = []
    for task in tasks:
        order = results.ordered(task)
        table = pd.Series([standing(sample) for sample in order])
        sign = 1 if order[0].goal == "min" else -1
        places = (sign * table.where(table.abs() < math.inf)).rank(na_option="bottom")
        for sample, value, rank in zip(order, table, places, strict=True):
            row = {"cell": sample.cell.label, "task": task.label, "rank": rank}
            best = results.winners.get(task) is sample
            said = f"{sample.metric} {score(value)}"
            rows.append(row | {"score": said, "n": len(sample.best), "best": best})
    return pd.DataFrame(rows)


SECTION = Section("Answer", "overview", 10, parts)
