"""What goes on inside the cells, from the probe.json of runs that were probed."""

from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure

from rnnbench.charts import dynamics
from rnnbench.charts.chart import Picture
from rnnbench.charts.probes import TIMES, Probed, Short, short
from rnnbench.formatting import listing, number, plural
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.table import TEXT, Column, Entry, Format, Part, Table, run_place
from rnnbench.stats.selection import Variant


@dataclass(frozen=True)
class _Row:
    """A network at one time."""

    cell: Variant
    run: str
    time: str
    short: Short


def parts(results: Results, task: Variant) -> Iterator[Part]:
    """Gradients through time, gates of each cell, then a table of all."""
    probes = {of.cell: one for of, one in results.probes.items() if of.task == task}
    if not probes:
        return
    yield (
        f"What `rnnbench probe` found in {plural(len(probes), 'run')}, one of each cell: the one "
        f"that validation chose if it was probed, else the first that was. A single run is an "
        f"example, not evidence. L is the loss at the last step T that counts, s a state with all "
        f"its parts."
    )
    found = {cell.label: one.found for cell, one in probes.items()}
    sequences = max(one["sequences"] for one in found.values())
    look = {cell.label: style for cell, style in results.dressed(probes).items()}
    yield _picture(
        f"gradients-{task.slug}",
        dynamics.gradient_norms(found, known=look),
        f"{task.label}: norm of the gradient of the last loss with respect to the state k steps "
        f"before it, relative to k = 1. Median and middle half of "
        f"{plural(sequences, 'validation sequence')}, first layer.",
    )
    yield _picture(
        f"sensitivity-{task.slug}",
        dynamics.sensitivity(found),
        f"{task.label}: influence of every step of one sequence on the loss at its end; the "
        f"darker, the more (three decades, each row by itself).",
    )
    for cell, one in probes.items():
        time = one.times[-1]
        if one.found[time]["shown"]["gates"]:
            yield _picture(
                f"gates-{task.slug}-{cell.slug}",
                dynamics.gate_map(one.found[time]),
                f"{cell.label} on {task.label}, {TIMES[time]}: every gate on one validation "
                f"sequence, units down and time across; dark is open.",
            )
    yield inside_table(task, probes)


def _picture(name: str, figure: Figure, caption: str) -> Picture:
    svg, png, pdf = (dynamics.image(figure, kind) for kind in ("svg", "png", "pdf"))
    return Picture(name, caption, caption.split(". ")[0].rstrip("."), svg, png, pdf)


def inside_table(task: Variant, probes: dict[Variant, Probed]) -> Table:
    rows = [
        _Row(cell, one.run, time, short(one.found[time]))
        for cell, one in probes.items()
        for time in one.times
    ]
    columns = [
        Column("cell", lambda row: row.cell, TEXT, link=lambda row: run_place(row.run)),
        Column("when", lambda row: TIMES[row.time], TEXT, key="time"),
        Column("horizon 1/e", _horizon_e, SAID, "steps", "horizon_e"),
        Column("1/100", _horizon_100, SAID, "steps", "horizon_100"),
        Column("growth", lambda r: _growth(r.short), SAID, "nats per step", "lyapunov"),
        Column("saturated", lambda row: _saturated(row.short), SAID),
        Column("largest |s|", lambda row: _largest(row.short), SAID, key="largest"),
    ]
    notes = [
        "Horizon: steps after which the gradient has fallen to 1/e, or 1/100, for good, counted "
        "from the state that the last step reads; “>”: not within the sequence. Growth: the "
        "largest Lyapunov exponent (Benettin et al., 1980), conditional on the input, over three "
        "quarters of a sequence: below 0 the past is forgotten, above 0 small differences grow. "
        "Saturated: share of gate values below 0.1 or above 0.9."
    ]
    again = [
        f"{cell.label} ({one.found['divergence']['reason']})"
        for cell, one in probes.items()
        if (one.found.get("divergence") or {}).get("reproduced")
    ]
    if again:
        notes.append(
            f"Diverged, and diverged again at the same step when replayed from the checkpoint: "
            f"{listing(again)}."
        )
    caption = f"{task.label}: memory, growth and saturation in the runs that were probed"
    return Table(f"inside-{task.slug}", caption, columns, rows, notes, cell=lambda row: row.cell)


def _horizon_e(row: _Row) -> tuple[str, int | None]:
    return row.short.horizons[0], row.short.horizon_e


def _horizon_100(row: _Row) -> tuple[str, int | None]:
    return row.short.horizons[1], row.short.horizon_100


def _growth(found: Short) -> tuple[str, float | None]:
    return number(found.lyapunov, 3), found.lyapunov


def _saturated(found: Short) -> tuple[str, float | None]:
    if found.saturated is None:
        return "no gates", None
    return f"{100 * found.saturated:.0f} %", found.saturated


def _largest(found: Short) -> tuple[str, float | None]:
    return "not finite" if found.largest is None else number(found.largest, 3), found.largest


SAID = Format(lambda of: Entry(*of))  # (as shown, value)
SECTION = Section("Inside the cells", "task", 70, parts)
