"""What was asked and how it was done, said from the settings of the runs alone."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from rnnbench.formatting import count, listing, plural
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.table import PROSE, TEXT, Column, Part, Table
from rnnbench.stats.selection import Sample, Selection, ordering, said, varied

MANY = 6  # values of a setting that are listed one by one
CONTEXT = "{cells} on {task}: no states between windows, the {said} steps before are read again"
LISTED = 5  # cells or tasks that a sentence names


def parts(results: Results) -> Iterator[Part]:
    yield " ".join([*(one.question for one in results.known), question(results.study)])
    yield f"{design(results.study)} {chosen(results.study)}"
    if told := layers(results.study.frame):
        yield told
    budgets = _budgets(results.study.frame)
    if len(budgets) > 1:
        columns = [
            Column("budget", lambda row: row[0], TEXT),
            Column("tasks", lambda row: listing(row[1]), PROSE),
        ]
        yield Table("budgets", "Budgets", columns, list(budgets.items()))


def question(study: Selection) -> str:
    """One sentence: which cells, which tasks, what they are compared with."""
    others = [cell.label for cell in study.cells if cell != study.baseline]
    tasks = _named([task.label for task in study.tasks], "task")
    if not others:
        return f"How well does {study.baseline.label} do on {tasks}?"
    if len(others) == 1:
        return f"How does {others[0]} compare with {study.baseline.label} on {tasks}?"
    names = f" ({listing(others)})" if len(others) <= LISTED else ""
    return (
        f"How do {plural(len(others), 'cell')}{names} compare with {study.baseline.label} on "
        f"{tasks}?"
    )


def _named(names: Sequence[str], noun: str) -> str:
    return listing(names) if len(names) <= LISTED else plural(len(names), noun)


def design(study: Selection) -> str:
    """One sentence: seeds, what varied, budgets."""
    frame = study.frame
    settings = listing([f"{key} {values}" for key, values in _varied(frame).items()])
    budgets = _budgets(frame)
    budget = next(iter(budgets)) if len(budgets) == 1 else "the budgets below"
    return (
        f"Each cell ran with {_seeds(study)}{' and ' if settings else ''}{settings} for {budget}."
    )


def layers(frame: pd.DataFrame) -> str:
    """Of layers that are no cells: their sizes, and what they read in place of states where a
    sequence goes on from window to window; empty where there are none.
    """
    sentences = []
    for column, form in (("layer", "{cells} on {task}: {said}"), ("context", CONTEXT)):
        if column not in frame:
            continue
        known = frame[frame[column].notna()]
        for (task, value), members in known.groupby(["task", column], sort=True):
            cells = listing(sorted(map(str, set(members["cell"]))))
            sentences.append(form.format(cells=cells, task=task, said=said(value)) + ".")
    return " ".join(sentences)


def chosen(study: Selection) -> str:
    """One sentence: what the numbers are of."""
    by = {sample.by for sample in study.samples.values()}
    if "trials" in by:
        of = "the best trials by validation (a tenth; a quarter where a tenth is fewer than five)"
        rule = f"{of} were chosen"
    elif any(sample.tried > 1 for sample in study.samples.values()):
        rule = "the setting with the best mean validation score over its seeds was chosen"
    else:
        rule = "each run's step with the best validation score was chosen"
    if by == {"trials", "seeds"}:
        rule += "; where settings have several seeds, the setting with the best mean over them"
    return f"{rule[0].upper()}{rule[1:]}, and the test score there is reported."


def _seeds(study: Selection) -> str:
    """Seeds; of a random search, whose trials have one each, how many trials, and how many seeds
    those have that were chosen among them.
    """
    samples = [sample for sample in study.samples.values() if _searched(sample)]
    if samples:
        trials = _either(sample.tried for sample in samples)
        chosen = [len(sample.best) for sample in samples if sample.by == "seeds"]
        more = f" (the chosen one {_either(chosen)})" if chosen else ""
        return f"{trials} trials, a seed each{more},"
    seeds = sorted({int(seed) for seed in study.frame["seed"]})
    if len(seeds) == 1:
        return f"one seed ({seeds[0]})"
    if list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]})"
    named = f" ({listing([str(seed) for seed in seeds])})" if len(seeds) <= MANY else ""
    return f"{len(seeds)} seeds{named}"


def _searched(sample: Sample) -> bool:
    """Whether its settings have seeds of their own, rather than all of them the same."""
    seeds = sample.runs["seed"].nunique()
    return sample.by == "trials" or seeds > 2 * sample.best["seed"].nunique()


def _either(numbers: Iterable[int]) -> str:
    return listing([f"{n:,}" for n in sorted(set(numbers))], "or")


def _varied(frame: pd.DataFrame) -> dict[str, str]:
    """setting → its values, for what differs between runs of the same cell and task."""
    groups = frame.groupby(["task", "cell"], sort=True)
    keys = dict.fromkeys(key for _, runs in groups for key in varied(runs))
    return {key: _values(frame[key].dropna().tolist()) for key in keys}


def _values(values: Sequence[Any]) -> str:
    distinct = sorted(set(values), key=ordering)
    if len(distinct) <= MANY:
        return listing([said(value) for value in distinct], "or")
    first, last = (
        f"{value:.3g}" if isinstance(value, float) else said(value)
        for value in (distinct[0], distinct[-1])
    )
    return f"{first} to {last} ({len(distinct):,} values)"


def _budgets(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Budget → the tasks that had it."""
    found: dict[str, list[str]] = {}
    for task, runs in frame.groupby("task", sort=True):
        steps, batch = (sorted(set(runs[f"train.{key}"])) for key in ("steps", "batch"))
        sequences = "sequence" if batch == [1] else "sequences"
        long, wide = (" or ".join(map(count, values)) for values in (steps, batch))
        text = f"{long} steps of {wide} {sequences}"
        found.setdefault(text, []).append(task.label)
    return found


SECTION = Section("Question and design", "overview", 60, parts)
