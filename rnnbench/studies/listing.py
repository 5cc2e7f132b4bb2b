"""What there is to study, and what a study would take: tables, and the commands to type."""

import shlex
from collections.abc import Iterable, Mapping, Sequence, Set
from math import ceil
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from rnnbench.catalogue import choices
from rnnbench.claims.design import SCALES, Study, read
from rnnbench.console import console, say
from rnnbench.runs.reading import FILES
from rnnbench.runs.records import run_id
from rnnbench.settings import Settings
from rnnbench.studies import parts
from rnnbench.studies.parts import Runs
from rnnbench.sweep.estimate import Speed, measured, records, total_steps
from rnnbench.sweep.launch import Options, default_workers
from rnnbench.sweep.packs import Pack, packs
from rnnbench.sweep.planning import Job
from rnnbench.sweep.progress import SweepProgress

AT_ONCE = 100  # workers of the Slurm command


def study_rows() -> list[dict[str, Any]]:
    """Every study of `configs/studies`: its question, its claims, its runs at each scale."""
    rows: list[dict[str, Any]] = []
    for name in choices("studies"):
        studies = [read(name, scale) for scale in SCALES]
        runs = {scale: parts.size(study) for scale, study in zip(SCALES, studies, strict=True)}
        first = studies[0]
        rows.append({"study": name, "question": first.question, "claims": len(first.claims)})
        rows[-1]["runs"] = runs
    return rows


def list_studies(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The same as a table."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("study", no_wrap=True)
    table.add_column("question", overflow="fold")
    for column in ("claims", *(f"{scale} runs" for scale in SCALES)):
        table.add_column(column, justify="right")
    for row in rows:
        counts = (f"{runs:,}" for runs in row["runs"].values())
        table.add_row(row["study"], row["question"], str(row["claims"]), *counts)
    return table


def show_plan(
    study: Study, planned: Mapping[str, Runs], how: Sequence[str], folder: Path, command: str
) -> None:
    """Print what a study would run and for how long, what of it is left, what that estimate rests
    on, and the commands. command: without `how`.
    """
    first = next(iter(planned.values())).jobs[0]
    results = Path(first.settings.paths.results).expanduser()
    speed = measured([*sorted(folder.parent.glob("*/runs.jsonl*")), results])
    places = [folder / FILES[0], results / study.label]
    ended = {str(record["id"]) for record in records(places)}
    planned = as_chosen(planned, ended, folder / FILES[0])
    say(study.question)
    console.print(table(planned, speed), soft_wrap=False)
    say(left(planned, speed, ended))
    for name, made in planned.items():
        if made.part.best_of is not None and not made.known:
            say(
                f"{name}: what {made.part.best_of} will choose is not known yet; counted and "
                f"timed as if each search chose its first trial"
            )
    say(basis(speed, (job.settings for made in planned.values() for job in made.jobs)))
    say("here, and on a cluster with Slurm:")
    say(f"  {command} {shlex.join(how or [f'workers={default_workers([first])}'])}")
    say(f"  {command} {shlex.join([*kept(how), *slurm(planned, speed)])}")
    say("the same as sweeps:")
    for made in planned.values():
        for words in parts.lines(study, made.part, how):
            line = f"  rnnbench train -m {shlex.join(words)}"
            say(
                line
                if made.part.best_of is None
                else f"{line}   # with each setting that {made.part.best_of} chose"
            )


def as_chosen(planned: Mapping[str, Runs], ended: Set[str], file: Path) -> dict[str, Runs]:
    """The parts, with what each search that has ended and been collected in `file` chose."""
    made = dict(planned)
    for name, runs in planned.items():
        if runs.part.best_of is None or not file.is_file():
            continue
        searched = made[runs.part.best_of]
        if all(run_id(job.settings) in ended for job in searched.jobs):
            best = parts.chosen(runs.part, searched, file)
            made[name] = parts.confirmed(runs.part, searched, best, known=True)
    return made


def left(planned: Mapping[str, Runs], speed: Speed, ended: Set[str]) -> str:
    """What is still to be done, in a sentence. ended: ids of runs that need not be made."""
    runs = [job.settings for made in planned.values() for job in made.jobs]
    missing = [run for run in runs if run_id(run) not in ended]
    return (
        f"left: {len(missing):,} of {len(runs):,} runs, {speed.hours(missing):,.3g} of "
        f"{speed.hours(runs):,.3g} core-hours"
    )


def table(planned: Mapping[str, Runs], speed: Speed) -> Table:
    """A row per part, and one for all."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("part", "runs", "packs", "cells", "tasks", "steps", "core-hours"):
        shown.add_column(column, justify="left" if column == "part" else "right")
    counts = {name: len(packed(made, made.options.workers)) for name, made in planned.items()}
    for label, names in [*((name, [name]) for name in planned), ("all", list(planned))]:
        runs = [job.settings for name in names for job in planned[name].jobs]
        searched = planned[label].part.best_of if label in planned else None
        shown.add_row(
            f"{label} (best of {searched})" if searched else label,
            f"{len(runs):,}",
            f"{sum(counts[name] for name in names):,}",
            str(len({run.cell.name for run in runs})),
            str(len({run.task["name"] for run in runs})),
            f"{total_steps(runs):,}",
            f"{speed.hours(runs):,.3g}",
        )
    return shown


def show_sweep(jobs: Sequence[Job], options: Options) -> None:
    """Print what `train -m` would train and for how long: a row per task, and what has ended."""
    results = Path(jobs[0].settings.paths.results).expanduser()
    speed = measured([results, *sorted(Path("results").glob("*/runs.jsonl*"))])
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("task", "cells", "runs", "ended", "packs", "steps", "core-hours"):
        shown.add_column(column, justify="left" if column == "task" else "right")
    workers = options.workers or default_workers(jobs)
    unique = {job.folder.path: job for job in jobs}
    ended = SweepProgress(unique, options.retry).ended
    tasks = sorted({job.settings.task["name"] for job in unique.values()})
    for task in [*tasks, *(["all"] if len(tasks) > 1 else [])]:
        members = {
            path: job for path, job in unique.items() if task in ("all", job.settings.task["name"])
        }
        missing = [job for path, job in members.items() if path not in ended]
        left = [job.settings for job in missing]
        shown.add_row(
            task,
            str(len({job.settings.cell.name for job in members.values()})),
            f"{len(members):,}",
            f"{len(members) - len(left):,}",
            f"{len(packs(missing, options.pack, workers)):,}",
            f"{total_steps(left):,}",
            f"{speed.hours(left):,.3g}",
        )
    console.print(shown, soft_wrap=False)
    say("steps and core-hours are of the runs that have not ended")
    say(basis(speed, (job.settings for job in unique.values())))
    say(f"{workers} worker{'s' if workers > 1 else ''}; nothing was trained")


def packed(made: Runs, workers: int | None) -> list[Pack]:
    return packs(made.jobs, made.options.pack, workers or default_workers(made.jobs))


def basis(speed: Speed, runs: Iterable[Settings]) -> str:
    """What the core-hours of these runs rest on."""
    least = "At most: early stopping is not counted"
    if not speed.runs:
        return f"core-hours: by the speed of the runs in results/ of rnnbench. {least}"
    by_task: dict[str, list[float]] = {}
    for task, cell in sorted({(run.task["name"], run.cell.name) for run in runs}):
        by_task.setdefault(task, []).append(speed.ratio(task, cell))
    each = ", ".join(f"{task} {spread(ratios)}" for task, ratios in by_task.items())
    return (
        f"core-hours: by the speed of the runs in results/ of rnnbench, times what {speed.runs:,} "
        f"runs at hand (engine {' and '.join(speed.engines)}) took in comparison: {each}. {least}"
    )


def spread(ratios: Sequence[float]) -> str:
    """From the least to the most."""
    ends = dict.fromkeys(f"{end:.2g}" for end in (min(ratios), max(ratios)))
    return " to ".join(ends)


def slurm(planned: Mapping[str, Runs], speed: Speed) -> list[str]:
    """Words for a cluster.

    What a job may take is twice what its pack is thought to take; a job out of time goes on in
    another.
    """
    together = [pack for made in planned.values() for pack in packed(made, AT_ONCE)]
    hours = max(speed.hours(job.settings for job in pack) for pack in together)
    minutes = 60 * max(1, ceil(2 * hours))
    return [
        "backend=submitit",
        f"workers={AT_ONCE}",
        "cluster.slurm_partition=cpu",
        f"cluster.timeout_min={minutes}",
        "cluster.mem_gb=4",
    ]


def kept(how: Sequence[str]) -> list[str]:
    """What of `how` holds on a cluster, too."""
    return [word for word in how if not word.startswith(("backend=", "workers=", "cluster."))]
