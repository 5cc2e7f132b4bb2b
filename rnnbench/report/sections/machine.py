"""What ran, and on what: number of runs, versions, commits, engines, processors."""

from collections.abc import Iterator

import pandas as pd

from rnnbench.formatting import count, listing
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.table import PROSE, TEXT, Column, Part, Table
from rnnbench.stats.selection import Selection, said

STATUS = ("finished", "stopped", "diverged", "failed")


def parts(results: Results) -> Iterator[Part]:
    yield facts(results.study)


def facts(study: Selection) -> Table:
    """What the records say."""
    frame = study.frame
    states = [
        f"{n:,} {status}" for status in STATUS if (n := int((frame["status"] == status).sum()))
    ]
    versions = [str(name) for name in frame if str(name).startswith("provenance.versions.")]
    rows = {
        "runs": f"{len(frame):,} ({listing(states)})",
        "baseline cell": study.baseline.label,
        "parameters": _span(frame["params"]),
        "updates": count(frame["steps"].sum()),
        "time": f"{_duration(frame['seconds_own'].sum())} of training and evaluation, of each run "
        f"its share of its pack",
        "engine": _counted(frame, "engine"),
        "processor": _counted(frame, "provenance.cpu"),
        "device": _counted(frame, "provenance.device"),
        "commit": _counted(frame, "provenance.git"),
        **{name.rpartition(".")[2]: _counted(frame, name) for name in versions},
    }
    columns = [
        Column("what", lambda row: row[0], TEXT),
        Column("value", lambda row: row[1], PROSE),
    ]
    told = [(what, value) for what, value in rows.items() if value]
    return Table("facts", "What ran, and on what", columns, told)


def _counted(frame: pd.DataFrame, column: str) -> str:
    """Each value; how many runs have it where there are several."""
    if column not in frame:
        return ""
    sizes = frame[column].fillna("not recorded").map(said).value_counts()
    named = sorted(sizes.items(), key=lambda item: (-item[1], str(item[0])))
    if len(named) == 1:
        return str(named[0][0])
    return listing([f"{name} ({n:,})" for name, n in named])


def _span(values: "pd.Series[float]") -> str:
    low, high = count(values.min()), count(values.max())
    return low if low == high else f"{low} to {high}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


SECTION = Section("Versions and processors", "runs", 20, parts)
