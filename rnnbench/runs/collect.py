"""A study in one file, runs.jsonl or runs.jsonl.gz, that can be committed, concatenated and
carried to another machine; and back into run folders.

Curves are the bulk. A curve keeps at most POINTS rows of each split, evenly spaced, with the first,
the last, the selected and the solved one; numbers keep seven significant digits, which is what
float32 has. Records are kept as they are, but for the folders of the machine that they were made
on.
"""

import gzip
import json
import math
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from rnnbench.errors import UserError
from rnnbench.runs.checksums import seal_json
from rnnbench.runs.reading import Contents, EndedRun, columns, contents, gather, rank
from rnnbench.runs.records import CurveRow, Folder, checked_label, finite, put_aside, write

POINTS = 100
# as configs/config.yaml has them
ANYWHERE = {
    "results": "results/runs",
    "data": "~/.cache/rnnbench",
    "mirror": None,
    "logger": "tensorboard",
}


def collect(study_folder: str | Path, out: str | Path, points: int = POINTS) -> int:
    """Put every ended run under a folder into the file `out`, beside what that holds already; the
    number of runs in it.

    One line per run, sorted by id: equal runs make equal bytes. Of a run that both have, a result
        beats a failure and then the folder beats the file. Lines of a newer version stay as they
        are; where a line cannot be read, the file as it was is kept beside it. Raises UserError if
        there is no run, if `out` holds no runs at all, or if the disk refuses.
    """
    out = Path(out).expanduser()
    if out.exists() and not out.is_file():
        raise UserError(f"{out} is in the way: it is no file; choose another with --out")
    found = contents(out) if out.exists() else Contents({}, {}, 0)
    if found.unread and not (found.known or found.newer or out.suffix == ".gz"):
        raise UserError(
            f"{out} is in the way: none of its {found.unread} lines is a run of rnnbench; move it "
            f"away, or choose another file with --out"
        )
    runs = {run.record["id"]: run for run in gather(study_folder, *([out] if found.known else []))}
    made = {
        name: json.dumps(seal_json(line(run, points)), ensure_ascii=False, separators=(",", ":"))
        for name, run in runs.items()
    }
    if found.unread:
        copy = put_aside(out, keep=True)
        warnings.warn(
            f"{out}: {found.unread} lines cannot be read; the file as it was is kept in {copy}",
            stacklevel=2,
        )
    made |= found.newer
    write_lines(out, (made[name] for name in sorted(made)))
    return len(made)


def write_lines(out: Path, lines: Iterable[str]) -> None:
    """Write a runs.jsonl whole or not at all, packed if its name ends in .gz; equal lines make
    equal bytes.
    """
    data = "".join(f"{line}\n" for line in lines).encode()
    write(out, gzip.compress(data, mtime=0) if out.suffix == ".gz" else data)


def line(run: EndedRun, points: int = POINTS) -> dict[str, Any]:
    """What runs.jsonl says of a run: the record, what was typed, the thinned curve (null if there
    is none to read); not where it lay.
    """
    curve = None
    try:
        rows = run.curve()
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        if not (run.beside and run.beside.get("curve") is None):
            warnings.warn(f"{run.place}: no curve to read for run {run.record['id']}", stacklevel=3)
    else:
        marks = ((run.record.get("best") or {}).get("step"), run.record.get("solved_at"))
        curve = columns([rounded(row) for row in rows], thinned(rows, marks, points))
    made = finite({**run.record, **placeless(run), "curve": curve})
    made.pop("checksums", None)  # of files that stay where they are
    return made  # type: ignore[no-any-return]


def placeless(run: EndedRun) -> dict[str, Any]:
    """The settings of a run and what was typed for it, without the folders and loggers of the
    machine: they decide no number.
    """
    settings, typed = run.record.get("settings"), run.overrides
    found: dict[str, Any] = {
        "overrides": typed and [word for word in typed if not word.lstrip("+").startswith("paths.")]
    }
    if isinstance(settings, dict) and isinstance(settings.get("paths"), dict):
        paths = {key: value for key, value in ANYWHERE.items() if key in settings["paths"]}
        found["settings"] = settings | {"paths": paths}
    return found


def thinned(
    rows: Sequence[CurveRow], marks: Sequence[int | None], points: int
) -> dict[str, list[int]]:
    """Of each split, which rows to keep: all, or at most `points` evenly spaced ones and those at
    the steps `marks`.
    """
    steps: dict[str, list[int]] = {}
    for row in rows:
        steps.setdefault(row["split"], []).append(row["step"])
    kept = {}
    for split, values in steps.items():
        special = {values.index(step) for step in marks if step in values}
        even = (
            np.linspace(0, len(values) - 1, max(points - len(special), 2))
            .round()
            .astype(int)
            .tolist()
        )
        kept[split] = (
            sorted(special.union(even)) if len(values) > points else list(range(len(values)))
        )
    return kept


def rounded(row: CurveRow) -> CurveRow:
    return {
        key: float(f"{value:.7g}") if isinstance(value, float) and math.isfinite(value) else value
        for key, value in row.items()
    }


def restore(jsonl: str | Path, results: str | Path) -> int:
    """Put the runs of a runs.jsonl back into folders under `results`, where a sweep finds and skips
    them; how many were written.

    A folder that has ended already is left alone, unless it failed and the file knows the result.
    There are no parameters in the file: best.pt and last.pt do not come back. Raises UserError if
    there is no run in the file, or if the disk refuses.
    """
    count, refused, found = 0, [], gather(jsonl)
    for run in found:
        record = run.record
        try:
            study, task, cell, name = (
                checked_label(key, record[key]) for key in ("study", "task", "cell", "id")
            )
        except UserError:
            refused.append(f"'{record['id']}'")  # its names would lead out of the folder of results
            continue
        folder = Folder(Path(results).expanduser() / study / task / cell / name)
        here = folder.record()
        if here is not None and (rank(here) >= rank(record)):
            continue
        put_back(run, folder)
        count += 1
    if refused and len(refused) == len(found):
        raise UserError(
            f"nothing of {jsonl} can be put back: study, task, cell or id name no folder: "
            f"{', '.join(refused)}"
        )
    if refused:
        warnings.warn(
            f"{jsonl}: skipped runs whose study, task, cell or id names no folder: "
            f"{', '.join(refused)}",
            stacklevel=2,
        )
    return count


def put_back(run: EndedRun, folder: Folder) -> None:
    """A run's settings, what was typed, its curve and its record into its folder, the
    record last.
    """
    folder.write_config(run.record["settings"])
    if run.overrides:
        write(folder.path / "overrides.yaml", OmegaConf.to_yaml(run.overrides))
    with suppress(
        ValueError, TypeError, AttributeError
    ):  # a run without a curve is a result nevertheless
        folder.write_curve(run.curve())
    folder.write_record(run.record)
