"""The report's part about what goes on inside the cells, from the probe.json of runs that were
probed. Nothing is said without any.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rnnbench.charts import dynamics
from rnnbench.charts.figures import picture
from rnnbench.charts.picture import Picture
from rnnbench.charts.probes import TIMES, Short, read, short
from rnnbench.formatting import anchor, listing, number, plural
from rnnbench.report.document import Column, Entry, Group, Table
from rnnbench.stats.selection import Study

Probes = dict[
    str, dict[str, tuple[str, dict[str, Any]]]
]  # task → cell → (run, what was found in it)


def inside(study: Study) -> Iterator[str | Table | Picture]:
    """Per task the gradients through time of all probed cells, then gates of one, then a table of
    all. Empty if no run was probed.
    """
    known = probes(study)
    if not known:
        return
    count = sum(map(len, known.values()))
    yield (
        f"What `rnnbench probe` found in {plural(count, 'run')}, one of each cell: the one that "
        f"validation chose if it was probed, else the first "
        "that was. A single run is an example, not evidence. L is the loss at the last step T "
        "that counts, s a state with all its parts."
    )
    look = dynamics.styles(study.cells)
    for task, cells in known.items():
        found = {cell: one for cell, (_, one) in cells.items()}
        sequences = max(one["sequences"] for one in found.values())
        caption = (
            f"{task}: norm of the gradient of the last loss with respect to the state k steps "
            f"before it, relative to k = 1. Median and middle half "
            f"of {plural(sequences, 'validation sequence')}, first layer."
        )
        yield picture(
            f"gradients-{anchor(task)}", dynamics.gradient_norms(found, known=look), caption
        )
        caption = (
            f"{task}: influence of every step of one sequence on the loss at its end; the "
            f"darker, the more (three decades, each row by itself)."
        )
        yield picture(f"sensitivity-{anchor(task)}", dynamics.sensitivity(found), caption)
        for cell, one in found.items():
            time = "trained" if one.get("trained") else "initial"
            if one[time]["shown"]["gates"]:
                caption = (
                    f"{cell} on {task}, {TIMES[time]}: every gate on one validation "
                    f"sequence, units down and time across; dark is open."
                )
                yield picture(f"gates-{anchor(task, cell)}", dynamics.gate_map(one[time]), caption)
    yield _table(known)


def probes(study: Study) -> Probes:
    """The runs to show, of those that were probed."""
    found: Probes = {}
    for task in study.tasks:
        for cell in study.cells:
            runs = study.frame[(study.frame["task"] == task) & (study.frame["cell"] == cell)]
            chosen = study.samples[task, cell].chosen if (task, cell) in study.samples else None
            places = zip(map(str, runs["id"]), map(str, runs["folder"]), strict=True)
            for _, run, folder in sorted((run != chosen, run, folder) for run, folder in places):
                if (one := read(Path(folder))) is not None:
                    found.setdefault(task, {})[cell] = (run, one)
                    break
    return found


def _table(known: Probes) -> Table:
    columns = [
        Column("cell", "cell", align="left"),
        Column("when", "time", align="left"),
        Column("horizon 1/e", "horizon_e", "steps"),
        Column("1/100", "horizon_100", "steps"),
        Column("growth", "lyapunov", "nats per step"),
        Column("saturated", "saturated"),
        Column("largest |s|", "largest"),
    ]
    groups = [
        Group(
            task,
            [
                _row(cell, run, time, short(one[time]))
                for cell, (run, one) in cells.items()
                for time in TIMES
                if one.get(time)
            ],
        )
        for task, cells in known.items()
    ]
    notes = [
        "Horizon: steps after which the gradient has fallen to 1/e, or 1/100, for good, counted "
        "from the state that the last step reads; "
        "“>”: not within the sequence. Growth: the largest Lyapunov exponent (Benettin et al., "
        "1980), conditional on the input, over three quarters "
        "of a sequence: below 0 the past is forgotten, above 0 small differences grow. Saturated: "
        "share of gate values below 0.1 or above 0.9.",
        *_divergences(known),
    ]
    return Table(
        "inside",
        "Memory, growth and saturation in the runs that were probed",
        columns,
        groups,
        notes,
    )


def _row(cell: str, run: str, time: str, found: Short) -> list[Entry]:
    saturated = "no gates" if found.saturated is None else f"{100 * found.saturated:.0f} %"
    return [
        Entry(cell, runs=anchor("run", run)),
        Entry(TIMES[time]),
        *(
            Entry(text, value)
            for text, value in zip(
                found.horizons, (found.horizon_e, found.horizon_100), strict=True
            )
        ),
        Entry(number(found.lyapunov, 3), found.lyapunov),
        Entry(saturated, found.saturated),
        Entry("not finite" if found.largest is None else number(found.largest, 3), found.largest),
    ]


def _divergences(known: Mapping[str, Mapping[str, tuple[str, Mapping[str, Any]]]]) -> list[str]:
    every = [(cell, task, one) for task, cells in known.items() for cell, (_, one) in cells.items()]
    told = [
        f"{cell} on {task} ({one['divergence']['reason']})"
        for cell, task, one in every
        if _replayed(one)
    ]
    return (
        [
            f"Diverged, and diverged again at the same step when replayed from the checkpoint: "
            f"{listing(told)}."
        ]
        if told
        else []
    )


def _replayed(one: Mapping[str, Any]) -> bool:
    return bool((one.get("divergence") or {}).get("reproduced"))
