"""For TensorBoard: what seeds have in common.

Beside the runs of a study, per task and cell, the runs `mean`, `low` and `high`.

They stand in STUDY/over-seeds/TASK/CELL/, so that `tensorboard --logdir STUDY` shows them with all
others; no torch is needed to write them.
"""

from pathlib import Path

from tensorboard.summary import Writer

from rnnbench.charts.kinds.curves import aligned
from rnnbench.formatting import anchor
from rnnbench.runs.frame import curves, load
from rnnbench.runs.made import clear_events
from rnnbench.stats.selection import Sample, study

FOLDER = "over-seeds"
OVER = {"mean": "mean", "low": "min", "high": "max"}  # name of the run → what it is over the seeds


def write(folder: Path) -> list[Path]:
    """Write them into `folder`/over-seeds, in the place of earlier ones; where a cell's chosen
    setting has two seeds or more.

    folder: of runs. A run that ended early stands as in the report's learning curves. Returns the
        folders of the cells. Raises UserError if there is no run.
    """
    samples = study(load(folder), None).samples.values()
    clear_events(folder / FOLDER)
    several = [sample for sample in samples if sample.by == "seeds" and len(sample.best) > 1]
    return [
        written for sample in several if (written := _write(sample, folder / FOLDER)) is not None
    ]


def _write(sample: Sample, folder: Path) -> Path | None:
    metric = str(sample.best["metric"].iloc[0])
    scores = aligned(sample, curves(sample.best, (metric,), "valid"))
    if scores.empty:
        return None
    place = folder / anchor(sample.task) / anchor(sample.cell)
    for name, statistic in OVER.items():
        writer = Writer(str(place / name))
        for step, value in scores.agg(statistic, axis=1).items():
            writer.add_scalar(f"{metric}/valid", value, step, wall_time=0.0)
        writer.close()
    return place
