"""What a report is made from: the study as it was selected, and what follows from it, computed once
and handed to every section.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from rnnbench.charts import chart
from rnnbench.charts.chart import Cells, Picked
from rnnbench.charts.probes import Probed, probed
from rnnbench.claims.design import Study
from rnnbench.claims.gates import improving
from rnnbench.claims.judging import Judged, judge
from rnnbench.runs import frame
from rnnbench.stats import axes, compare, ranks, trials
from rnnbench.stats.compare import Comparison, standing
from rnnbench.stats.importance import Importance, importance, searched
from rnnbench.stats.selection import Result, Sample, Selection, Variant


@dataclass(frozen=True)
class Results:
    """known: the studies, as they stand in their YAML, that these runs are for; progress: label of
    a study → its runs that are there, of how many; complete if it is not in there.
    """

    study: Selection
    known: Sequence[Study] = ()
    progress: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @cached_property
    def against_baseline(self) -> list[Comparison]:
        return compare.with_baseline(self.study)

    @cached_property
    def against_best(self) -> dict[Result, Comparison]:
        return {found.x.result: found for found in compare.with_best(self.study)}

    @cached_property
    def winners(self) -> dict[Variant, Sample]:
        """Task → its best cell; a task whose runs have all diverged has none."""
        shown = {found.y.task: found.y for found in self.against_best.values()}
        best = {task: compare.best(self.study.of(task)) for task in self.study.tasks}
        return {task: found for task, one in best.items() if (found := shown.get(task, one))}

    def ordered(self, task: Variant) -> list[Sample]:
        """The cells of a task, the best first."""
        return sorted(self.study.of(task), key=place)

    @cached_property
    def cells(self) -> list[Variant]:
        """All cells by their average rank over the tasks that they have results on."""
        found: dict[Variant, list[float]] = {cell: [] for cell in self.study.cells}
        for task in self.study.tasks:
            members = self.ordered(task)
            for k, sample in enumerate(members):
                found[sample.cell].append(k / len(members))
        average = {cell: np.mean(of) if of else 1.0 for cell, of in found.items()}
        return sorted(average, key=lambda cell: (average[cell], cell))

    @cached_property
    def _looks(self) -> Cells:
        return chart.dressed(self.study.cells)

    def dressed(self, cells: Iterable[Variant]) -> Cells:
        """These cells as they look in every picture of the report."""
        return {cell: self._looks[cell] for cell in cells}

    @cached_property
    def best(self) -> pd.DataFrame:
        """The runs that count."""
        samples = [sample.best for sample in self.study.samples.values()]
        return pd.concat(samples) if samples else self.study.frame.head(0)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The validation curves of the runs that count."""
        return frame.curves(self.best, tuple(sorted(set(self.best["metric"].dropna()))), "valid")

    @cached_property
    def improving(self) -> float:
        """The share of the runs that count that were still improving when they ended."""
        return float(improving(self.best, self.curves).mean())

    def picked(self, task: Variant) -> Picked:
        """What charts of a task draw from."""
        apart = [f.x.cell for f in self.against_baseline if f.x.task == task and f.significant]
        runs = self.study.runs(task)
        own = self.curves[self.curves["id"].isin(runs["id"])]
        first = self.study.baseline
        order = self.ordered(task)
        cells = self.dressed(sample.cell for sample in order)
        return Picked(task, order, runs, own, first, frozenset(apart), self.searched(task), cells)

    @cached_property
    def search_seeds(self) -> frozenset[int]:
        """Of the trials, where a study says which they are."""
        return frozenset[int]().union(*(one.search_seeds for one in self.known))

    @cached_property
    def searches(self) -> dict[Result, pd.DataFrame]:
        """The trials of each cell, of the search alone where a study says which they are."""
        return trials.searches(self.study, self.search_seeds)

    def searched(self, task: Variant) -> dict[Result, pd.DataFrame]:
        """Those of one task."""
        return {one: search for one, search in self.searches.items() if one.task == task}

    @cached_property
    def importances(self) -> dict[Result, Importance]:
        """The analyses of the searches in which two settings or more differ, refused ones too."""
        made = {}
        for result, runs in self.searches.items():
            if len(searched(runs)) > 1:
                made[result] = importance(runs, _generator(result))
        return made

    @cached_property
    def times(self) -> dict[Result, Importance]:
        """The same of training time, of searches in which early stopping ends runs: updates times
        parameters, in 10⁹, since records of all ages have these and a step's arithmetic grows with
        them. Seconds are those of a pack, and say more of its company.
        """
        made = {}
        for result in self.importances if self.search_seeds else ():
            runs = self.searches[result]
            if (runs["steps"] < runs["train.steps"]).any():
                timed = runs.assign(time=runs["steps"] * runs["params"] / 1e9)
                made[result] = importance(timed, _generator(result), of="time")
        return made

    @cached_property
    def ranks(self) -> ranks.Ranks:
        """Of the cells, over the tasks that every one has results on."""
        members = [self.study.of(task) for task in self._complete]
        table = [[standing(sample) for sample in of] for of in members]
        goals = [of[0].goal for of in members]
        return ranks.ranks(np.reshape(table, (len(members), len(self.study.cells))), goals)

    @property
    def _complete(self) -> list[Variant]:
        study = self.study
        return [task for task in study.tasks if len(study.of(task)) == len(study.cells)]

    @cached_property
    def axes(self) -> pd.DataFrame:
        """What cells reached at equal parameters, steps and arithmetic, see `axes.ranked`."""
        return axes.ranked(self.study, self.curves)

    @property
    def incomplete(self) -> dict[str, tuple[int, int]]:
        """Label of a study that lacks runs → how many are there, of how many."""
        return {label: (done, of) for label, (done, of) in self.progress.items() if done < of}

    @cached_property
    def judged(self) -> list[tuple[Study, list[Judged]]]:
        """The claims of each study that has some and is complete."""
        names = {"task": "task.name", "cell": "cell.name"}  # filters know no variants
        plain = self.study.frame.assign(**{of: self.study.frame[by] for of, by in names.items()})
        made = []
        for one in self.known:
            if one.claims and one.label not in self.incomplete:
                runs = plain[plain["study"] == one.label]
                made.append((one, judge(runs.assign(improving=improving(runs)), one)))
        return made

    @cached_property
    def probes(self) -> dict[Result, Probed]:
        """Of each result the run that validation chose if it was probed, else the first one."""
        found = {}
        for (task, cell), runs in self.study.frame.groupby(["task", "cell"], sort=True):
            result = Result(task, cell)
            sample = self.study.samples.get(result)
            one = probed(runs["id"], runs["folder"], sample.chosen if sample else None)
            if one is not None:
                found[result] = one
        return found


def place(sample: Sample) -> tuple[bool, float, Variant]:
    """What cells are ordered by, the best first."""
    reached = standing(sample)
    sign = 1 if sample.goal == "min" else -1
    return not np.isfinite(reached), sign * np.nan_to_num(reached), sample.cell


def _generator(result: Result) -> np.random.Generator:
    return compare.generator("importance", str(result.task), str(result.cell))
