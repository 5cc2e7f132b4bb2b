"""Run a study: what `runs.jsonl.gz` in its folder holds is put back, what is missing is trained
part by part, the report is written.

Results stand in results/LABEL and say nothing of the machine: a study that is done trains nothing
and writes the same bytes anywhere.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from rnnbench.claims.design import Study, read
from rnnbench.console import say
from rnnbench.errors import SomeFailed, UserError
from rnnbench.report.render import write_report
from rnnbench.runs.collect import collect, restore, write_lines
from rnnbench.runs.reading import FILES, contents, raw_lines
from rnnbench.runs.records import Folder
from rnnbench.studies import parts
from rnnbench.studies.listing import show_plan
from rnnbench.sweep.launch import launch

POINTS = 15  # of each curve, in runs.jsonl.gz


def run_study(name: str, scale: str, how: Sequence[str], out: str | None, only_plan: bool) -> None:
    """What `rnnbench study` does. how: words such as workers=2. out: default results/LABEL."""
    study = read(name, scale)
    folder = Path(out).expanduser() if out else Path("results") / study.label
    command = shlex.join(
        ["rnnbench", "study", name, "--scale", scale, *(["--out", out] if out else [])]
    )
    if only_plan:
        show_plan(study, parts.plan(study, how), how, folder, command)
    else:
        run(study, how, folder, f"{command} {shlex.join(how)}".rstrip())


def run(study: Study, how: Sequence[str], folder: Path, command: str) -> None:
    """Train what is missing and write the report into `folder`.

    Raises Interrupted, or SomeFailed once all else is done.
    """
    planned, file = parts.plan(study, how), folder / FILES[0]
    settings = next(iter(planned.values())).jobs[0].settings
    runs = Folder.of(settings).path.parents[2]
    for name in FILES:
        if (folder / name).is_file():
            restore(folder / name, settings.paths.results)
    keep(runs, file)  # what a sitting that was killed has left
    failed = []
    for number, (name, made) in enumerate(planned.items(), 1):
        say(f"{study.label}, part {number} of {len(planned)}: {name}")
        if made.part.best_of is not None:
            searched = planned[made.part.best_of]
            planned[name] = made = parts.confirmed(
                made.part,
                searched,
                parts.chosen(made.part, searched, file) if file.is_file() else [],
            )
        if not made.jobs:
            failed.append(f"{name}: no run of {made.part.best_of} has a result to choose")
            continue
        trained = True  # where it raises, too
        try:
            trained = launch(made.jobs, made.options, command)
        except SomeFailed as error:
            if made.options.fail_fast:
                raise
            failed.append(f"{name}: {error}")
        finally:
            if trained:
                keep(runs, file)
    only(file, {job.folder.path.name for made in planned.values() for job in made.jobs})
    try:
        say(str(write_report([str(file)], folder, study.baseline, [study])))
    except UserError as refused:
        if not failed:
            raise
        say(f"no report: {refused}")
    if failed:
        raise SomeFailed("; ".join(failed))


def keep(runs: Path, file: Path) -> None:
    """Bring `runs.jsonl.gz` up to date, once any run has ended."""
    if next(runs.glob("*/*/*/record.json"), None):
        collect(runs, file, POINTS)


def only(file: Path, ids: set[str]) -> None:
    """Leave in `runs.jsonl.gz` the runs that belong to the study as it is now."""
    others = contents(file).known.keys() - ids if file.is_file() else set()
    if others:
        say(
            f"{len(others)} runs under this label are none of the study as it is now; "
            f"they are left out of {file}"
        )
        lines = [line.decode().rstrip("\n") for line in raw_lines(file)]
        write_lines(file, (line for line in lines if json.loads(line)["id"] not in others))
