"""Records as a table, a row per run, and their curves as another: the doors to the results for
pandas. No torch.
"""

import math
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rnnbench.errors import UserError
from rnnbench.formatting import printable
from rnnbench.runs.columns import COLUMNS, KINDS
from rnnbench.runs.command import command
from rnnbench.runs.reading import EndedRun, gather, lines
from rnnbench.runs.records import CurveRow, filled, own_seconds, upgraded

EXPLODED = 2  # times the loss of the memoryless baseline, from which on a run counts as diverged
# settings that have a column of their own, or that say nothing about the run
ELSEWHERE = ("paths", "study", "seed")


def load(*places: str | Path) -> pd.DataFrame:
    """One row per run in these places: run folders, folders above them such as results/runs/NAME,
    runs.jsonl files.

    A run found twice counts once; torn, truncated and foreign files are skipped with a warning that
    names them. Sorted by study, task, cell, seed and id. Columns, in order:

    study, task, cell, seed, id, status (finished, stopped, diverged, failed), reason; metric: the
    primary one; goal: min or max;
    value: its test score at the selected step, of a run never validated that of its last
        parameters, NaN if that is no number;
    valid: the validation score it was selected by; selected_at: step; solved: whether validation
        reached the target, <NA> where the task has none; solved_at: the step, NaN if not; diverged
        (its value is that of before; see `statistics.judged`); params;
    hidden: units per layer; steps: made; seconds_train, seconds_eval; steps_per_s;
        peak_memory_bytes; engine: the one used;
    folder: the run folder or the runs.jsonl; command: repeats the run; baseline: of a
        predictor without memory, on the metric; target; seconds_warmup; sequences_per_s; flops: of
        the network in one step of one sequence, forward; improved, gain: in the last fifth of
        training (see `runs.improvement`), NaN in records of schema 1; seconds_own: its share of
        the time of its pack, where the other seconds are those of the pack. Of layers of another
        kind than a cell: layer, its sizes in words; context: steps of the window before that are
        read again.
    Then test.METRIC and final.METRIC: all metrics on test data, of the selected and of the last
        parameters; the settings with dots (optim.lr, model.hidden, train.batch, task.length,
        cell.forget_bias …); provenance.git, provenance.versions.torch …. Lists in settings are
        tuples.

    Raises UserError if a place does not exist, or if there is no run.
    """
    rows = []
    foreign = []
    for run in gather(*places):
        try:
            rows.append(_row(run))
        except (KeyError, TypeError, ValueError, AttributeError):
            foreign.append(f"{run.place} ({run.record['id']})")
    if foreign:
        warnings.warn(
            f"skipped records without the fields of a run: {', '.join(foreign)}", stacklevel=2
        )
    return _table(rows)


def _table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    names = dict.fromkeys(name for row in rows for name in row)
    groups = (
        "test.",
        "final.",
        *{
            n.partition(".")[0] + ".": 0
            for n in names
            if "." in n and not n.startswith(("test.", "final.", "provenance."))
        },
    )
    later = [name for group in (*groups, "provenance.") for name in names if name.startswith(group)]
    table = pd.DataFrame({name: [row.get(name) for row in rows] for name in (*COLUMNS, *later)})
    scores = [name for name in later if name.startswith(("test.", "final."))]
    known = {name: kind for name, kind in KINDS.items() if kind is not None}
    return table.astype(known | dict.fromkeys(scores, float))


def _utf8(place: str) -> str:
    """The name of a folder or file, which a column of texts can hold. UserError otherwise."""
    try:
        place.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"cannot read '{printable(place)}': a name that is not UTF-8; rename it"
        ) from None
    return place


def _row(run: EndedRun) -> dict[str, Any]:
    """Raises KeyError, TypeError, ValueError or AttributeError if the record is not what it says it
    is.
    """
    record = upgraded(run.record)
    primary = record.get("primary") or {}
    best, final = record.get("best"), record.get("final") or {}
    selected = best or final
    metric, target = primary.get("name"), record.get("target")
    seconds, speed = record.get("seconds") or {}, record.get("throughput") or {}
    whole = filled(record["settings"])
    settings = {key: value for key, value in whole.items() if key not in ELSEWHERE}
    if run.overrides:
        typed = shlex.join(["rnnbench", "train", *run.overrides])
    else:
        typed = command(record["settings"])
    return {
        **{key: record[key] for key in ("study", "task", "cell", "seed", "id", "status")},
        "reason": reason(record),
        "metric": metric,
        "goal": primary.get("goal"),
        "value": number(primary.get("value")),
        "valid": number((selected.get("valid") or {}).get(metric)),
        "selected_at": number(best["step"]) if best else math.nan,
        "solved": None if target is None else record.get("solved_at") is not None,
        "solved_at": number(record.get("solved_at")),
        "diverged": record["status"] == "diverged" or exploded(record),
        **{
            key: number(record.get(key))
            for key in ("params", "hidden", "steps", "peak_memory_bytes")
        },
        **{f"seconds_{key}": number(seconds.get(key)) for key in ("train", "eval", "warmup")},
        **{key: number(speed.get(key)) for key in ("steps_per_s", "sequences_per_s")},
        "engine": record.get("engine"),
        **{key: record[key] for key in ("layer", "context") if key in record},
        "folder": _utf8(str(run.place)),
        "command": typed.encode("utf-8", "backslashreplace").decode(),
        "baseline": memoryless(record),
        "target": number(target),
        "flops": number(record["flops"]),
        **{key: number((record["last_fifth"] or {}).get(key)) for key in ("improved", "gain")},
        "seconds_own": own_seconds(record),
        **{f"test.{name}": number(score) for name, score in (selected.get("test") or {}).items()},
        **{f"final.{name}": number(score) for name, score in (final.get("test") or {}).items()},
        **dotted(settings),
        **dotted(record.get("provenance") or {}, "provenance."),
    }


def exploded(record: Mapping[str, Any]) -> bool:
    """Whether the selected parameters lose EXPLODED times what the memoryless baseline loses, or
    more: diverged in all but a number that is still finite. Scores of which more is better are
    bounded, and never do.
    """
    primary = record.get("primary") or {}
    score = number(primary.get("value"))
    return primary.get("goal") == "min" and score >= EXPLODED * memoryless(record)


def limit(baselines: "pd.Series[float]", goal: str) -> float:
    """The cost (less is better) that a diverged run counts as, given what the memoryless baseline
    scores: where the rule for exploded runs begins; -inf if that is not known.
    """
    known = baselines.dropna()
    if known.empty:
        return -math.inf
    return EXPLODED * float(known.max()) if goal == "min" else -float(known.min())


def memoryless(record: Mapping[str, Any]) -> float:
    """What the memoryless baseline scores on the primary metric; NaN if the record does not say."""
    return number((record.get("baseline") or {}).get((record.get("primary") or {}).get("name")))


def reason(record: Mapping[str, Any]) -> str:
    """Why a run ended before its budget or counts as diverged: by the rule for exploded runs, where
    that alone makes it one, else as recorded.
    """
    if record["status"] == "diverged" or not exploded(record):
        return record.get("reason") or ""
    primary = record["primary"]
    return (
        f"exploded: test {primary['name']} {number(primary['value']):.3g}, at least {EXPLODED} "
        f"times the memoryless baseline of {memoryless(record):.3g}"
    )


def number(value: Any) -> float:
    """As a float; None, and what JSON had no word for, is NaN."""
    return math.nan if value is None else float(value)


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by names with dots; lists as `fixed`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= dotted(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = fixed(value)
    return found


def fixed(value: Any) -> Any:
    """The value as a table can group by it: lists are tuples, what is nested in them a text."""
    if isinstance(value, list):
        return tuple(str(one) if isinstance(one, Mapping) else fixed(one) for one in value)
    return value


def curves(
    frame: pd.DataFrame, columns: Sequence[str] | None = None, split: str | None = None
) -> pd.DataFrame:
    """The curves of the runs in `frame` (from `load`) in long form: id, step, split, column, value.

    columns: only these, such as ("loss", "mse"); split: only train or valid. Both make it faster.
        Rows are in the order of `frame`, then by step; a run whose curve is missing or torn is left
        out with a warning that names it.
    """
    made: dict[str, list[Any]] = {name: [] for name in ("id", "step", "split", "column", "value")}
    missing = []
    read = _readers(frame)
    for run_id, folder in zip(frame["id"], frame["folder"], strict=True):
        try:
            rows = read[run_id].curve()
        except (KeyError, OSError, ValueError, TypeError, AttributeError):
            missing.append(f"{run_id} in {folder}")
            continue
        for step, kind, column, value in _points(rows, columns, split):
            for name, item in zip(made, (run_id, step, kind, column, value), strict=True):
                made[name].append(item)
    if missing:
        warnings.warn(f"no curve to read: {', '.join(missing)}", stacklevel=2)
    return pd.DataFrame(made).astype({"step": int, "value": float})


def _readers(frame: pd.DataFrame) -> dict[str, EndedRun]:
    """id → the run, whose curve is still to be read; each runs.jsonl is opened once."""
    found: dict[str, EndedRun] = {}
    for folder, members in frame.groupby("folder", sort=False)["id"]:
        path, wanted = Path(str(folder)), set(members)
        if path.is_file():
            found |= {
                run.record["id"]: run for run in lines(path, []) if run.record["id"] in wanted
            }
        else:
            found |= {run_id: EndedRun({}, path) for run_id in wanted}
    return found


def _points(
    rows: Sequence[CurveRow], columns: Sequence[str] | None, split: str | None
) -> Iterator[tuple[int, str, str, float]]:
    for row in rows:
        if split is None or row["split"] == split:
            for column, value in row.items():
                if column not in ("step", "split") and (columns is None or column in columns):
                    yield row["step"], row["split"], column, value
