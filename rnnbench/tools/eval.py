"""`rnnbench eval`: the scores of trained networks on the test set of other lengths or data; a curve
where one number varies.

The numbers come from the loop that scored the run when it ended: with nothing changed they are
those of its record.
"""

import csv
import io
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from rich import box
from rich.table import Table

from rnnbench.charts import plots
from rnnbench.charts.lines import Curve, generalisation
from rnnbench.console import console, number, say
from rnnbench.errors import UserError
from rnnbench.formatting import inert
from rnnbench.runs.made import add_file
from rnnbench.sweep import expand
from rnnbench.tasks.contract import Split
from rnnbench.tools.opening import Opened, Weights, open_run
from rnnbench.training.loop import Training


@dataclass(frozen=True)
class Scored:
    """Scores under some changed settings. changes: key → value.

    baseline: what a predictor without memory scores there.
    """

    changes: dict[str, Any]
    scores: dict[str, float]
    baseline: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """One run's scores, in the order in which the changes were typed."""

    run: Opened
    points: list[Scored]

    @property
    def metrics(self) -> list[str]:
        """The primary first; the loss is left to the file of numbers."""
        primary = self.run.task.metric
        return sorted(
            (name for name in self.points[0].scores if name != "loss"),
            key=lambda name: name != primary,
        )

    @property
    def varied(self) -> str | None:
        """The key of the one number that varies; None if none does, or more than a number."""
        values = {key: {str(p.changes[key]) for p in self.points} for key in self.points[0].changes}
        keys = [key for key, found in values.items() if len(found) > 1]
        numbers = keys and all(
            isinstance(p.changes[keys[0]], (int, float))
            and not isinstance(p.changes[keys[0]], bool)
            for p in self.points
        )
        return keys[0] if len(keys) == 1 and numbers else None

    def trained(self, key: str) -> Any:
        """What a key was in training."""
        section, _, name = key.rpartition(".")
        settings: Any = self.run.settings
        return (
            getattr(self.run.task, name)
            if section == "task"
            else getattr(getattr(settings, section), name)
            if section
            else getattr(settings, name)
        )

    @property
    def curve(self) -> Curve | None:
        """Primary score against the one number that varies."""
        if (key := self.varied) is None:
            return None
        task, metric = self.run.task, self.run.task.metric
        points = sorted(self.points, key=lambda point: float(point.changes[key]))
        return Curve(
            cell=self.run.settings.cell.name,
            task=self.run.settings.task["name"],
            key=key,
            metric=metric,
            goal=task.goal,
            trained=self.trained(key),
            target=task.threshold,
            at=[point.changes[key] for point in points],
            scores=[point.scores[metric] for point in points],
            baseline=[point.baseline.get(metric) for point in points],
        )


def evaluate(
    place: str | Path,
    overrides: Sequence[str] = (),
    weights: Weights = "best",
    split: Split = "test",
) -> Evaluation:
    """Score the run in a folder under every combination of changes: `["task.length=50,100",
    "train.eval_limit=null"]`. UserError.

    Nothing is scored before every combination is known to be possible.
    """
    run = open_run(place, weights=weights)
    combinations = list(combined(overrides))
    opened = [open_run(place, changes, weights) if changes else run for changes in combinations]
    return Evaluation(
        run,
        [
            Scored(c, score(o, split), o.task.baseline)
            for c, o in zip(combinations, opened, strict=True)
        ],
    )


def score(run: Opened, split: Split = "test") -> dict[str, float]:
    """Loss and metrics on the whole split, or as much of it as train.eval_limit says."""
    try:
        return Training(run.pack(batch=1)).evaluate(split)[0]
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise
        raise UserError(
            f"not enough memory for {run.settings.train.eval_batch} such sequences at once; lower "
            f"train.eval_batch"
        ) from None


def combined(overrides: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every combination of what was typed, in Hydra's grammar: `a=1,2` and `b=range(0,3)`
    are six.
    """
    lists: dict[str, list[Any]] = {}
    for text in overrides:
        try:
            (axis,) = expand.axes([text], lambda _: False)
            values = [expand.value(one) for one in axis.values]
        except HydraException:
            raise UserError(
                f"cannot read '{text}': write key=value or key=value,value and quote values with "
                f"spaces or brackets"
            ) from None
        if axis.key.startswith(("+", "~")):
            raise UserError(
                f"cannot read '{text}': keys of a trained run change, none is added or removed; "
                f"write key=value"
            )
        if not values:
            raise UserError(
                f"{axis.key}: an interval has no end of values; list them: {axis.key}=50,100,200"
            )
        if axis.key in lists:
            raise UserError(
                f"{axis.key} is given twice; write its values in one list: {axis.key}=…,…"
            )
        lists[axis.key] = values
    for chosen in itertools.product(*lists.values()):
        yield dict(zip(lists, chosen, strict=True))


def run_eval(
    arguments: Sequence[str], out: str | None = None, weights: Weights = "best"
) -> list[Evaluation]:
    """`rnnbench eval RUN_DIR … key=value …`: score, print a table, and save the curve and its
    numbers where one number varies.

    out: the picture (.png, .svg, .pdf); by default it lies in the run's folder, or in the one that
        holds all of them.
    """
    places = [argument for argument in arguments if "=" not in argument or Path(argument).is_dir()]
    overrides = [argument for argument in arguments if argument not in places]
    if not places:
        raise UserError(
            "name the folder of a run: rnnbench eval results/runs/<study>/<task>/<cell>/<id>"
        )
    if out and Path(out).suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"--out names a picture: .png, .svg or .pdf, got '{out}'")
    evaluations = []
    for place, own in zip(
        places,
        shared_out([open_run(place, weights=weights) for place in places], overrides),
        strict=True,
    ):
        evaluations.append(evaluate(place, own, weights))
        shown(evaluations[-1])
    curves = [curve for evaluation in evaluations if (curve := evaluation.curve)]
    if curves:
        key = "-".join(dict.fromkeys(curve.key.removeprefix("task.") for curve in curves))
        parents = [str(evaluation.run.folder.path.resolve()) for evaluation in evaluations]
        picture = (
            Path(out).expanduser() if out else Path(os.path.commonpath(parents)) / f"eval-{key}.png"
        )
        add_file(picture.with_suffix(".csv"), table(evaluations))
        say(
            f"saved in {plots.save(generalisation(curves), picture)}, numbers in "
            f"{picture.with_suffix('.csv').name}"
        )
    elif out:
        raise UserError(
            "there is no curve to draw: give one key several numbers, as in task.length=50,100,200"
        )
    return evaluations


def shared_out(runs: Sequence[Opened], overrides: Sequence[str]) -> list[list[str]]:
    """For each run what is meant for it: what some tasks have (`task.digits`) goes to those; what
    none has, to all, to be refused.
    """
    known = [{f"task.{key}" for key in run.settings.task} for run in runs]
    names = [override.partition("=")[0] for override in overrides]
    some = {name for name in names if any(name in keys for keys in known)}
    pairs = list(zip(overrides, names, strict=True))
    return [[text for text, name in pairs if name in keys or name not in some] for keys in known]


def shown(evaluation: Evaluation) -> None:
    """A line per combination: what was changed, its scores, the memoryless baseline there."""
    run, primary = evaluation.run, evaluation.run.task.metric
    at = f", weights of step {run.step}" if run.step is not None else ""
    say(f"{run.name}: test scores{at}")
    lines = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in (
        *evaluation.points[0].changes,
        *evaluation.metrics,
        f"{primary} without memory",
        "",
    ):
        lines.add_column(name, justify="right")
    for point in evaluation.points:
        same = bool(point.changes) and all(
            evaluation.trained(key) == value for key, value in point.changes.items()
        )
        scores = [number(point.scores[name]) for name in evaluation.metrics]
        changes = ["null" if value is None else str(value) for value in point.changes.values()]
        lines.add_row(
            *changes,
            *scores,
            number(point.baseline.get(primary)),
            "as trained" if same else "",
            style="bold" if same else "",
        )
    console.print(lines, soft_wrap=False)
    if (limit := run.settings.train.eval_limit) and "train.eval_limit" not in evaluation.points[
        0
    ].changes:
        say(
            f"on the first {limit} batches of the test set, as in training; train.eval_limit=null "
            f"takes it whole"
        )


def rows(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """All numbers: a row per run and combination."""
    lines: list[dict[str, Any]] = []
    for evaluation in evaluations:
        settings = evaluation.run.settings
        same = {
            "task": settings.task["name"],
            "cell": settings.cell.name,
            "seed": settings.seed,
            "run": str(evaluation.run.folder.path),
        }
        for point in evaluation.points:
            baseline = {f"{name} without memory": value for name, value in point.baseline.items()}
            lines.append(same | point.changes | point.scores | baseline)
    return lines


def table(evaluations: Sequence[Evaluation]) -> str:
    """All numbers as CSV: a row per run and combination."""
    lines = rows(evaluations)
    columns = list(dict.fromkeys(column for line in lines for column in line))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: inert(value) for key, value in line.items()} for line in lines)
    return buffer.getvalue()
