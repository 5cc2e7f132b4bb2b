"""What is drawn by Matplotlib: curves of single runs, and all that looks inside a network, where a
picture is a raster or a grid of panels that share an axis with a sequence. Charts of a report are
made by `chart`.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib

matplotlib.use("Agg")
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from rnnbench.charts.scales import DOTS, scale_scores, whole
from rnnbench.charts.style import styles
from rnnbench.errors import UserError
from rnnbench.formatting import label
from rnnbench.runs.form import ENDED
from rnnbench.runs.frame import dotted
from rnnbench.runs.made import add_file
from rnnbench.runs.records import Folder
from rnnbench.stats.selection import VARIANTS, said, varied

Found = Sequence[tuple[Folder, dict[str, Any]]]

LETTERS = 15  # of a note, to an inch
# the same figure makes the same bytes, and its text can be searched
SAME: Any = {"svg.hashsalt": "rnnbench", "svg.fonttype": "none"}


def learning_curves(found: Found) -> Figure:
    """Validation score against step, a panel per task, a line per run; the memoryless baseline is
    dashed. Runs of one cell with other settings have another colour. Where a loss exploded, a line
    under the panels says where the axis ends. Runs that failed have no curve; UserError if there
    is no other.
    """
    found = [(folder, record) for folder, record in found if record["status"] in ENDED]
    if not found:
        raise UserError("there is no curve to draw: every run failed; rnnbench status says why")
    tasks = sorted({record["task"] for _, record in found})
    named = names([record for _, record in found])
    look = styles(named)
    figure, panels = plt.subplots(
        1, len(tasks), figsize=(1 + 5 * len(tasks), 4), squeeze=False, layout="constrained"
    )
    shown: dict[str, Any] = {}
    notes: dict[str, str] = {}
    for task, axes in zip(tasks, panels[0], strict=True):
        members = [
            (name, folder, record)
            for name, (folder, record) in zip(named, found, strict=True)
            if record["task"] == task
        ]
        _, _, first = members[0]
        primary = first["primary"]
        metric = primary["name"]
        scores: dict[str, list[float | None]] = {}
        for name, folder, _ in members:
            rows = [r for r in folder.curve() if r["split"] == "valid" and metric in r]
            line = {
                "color": look[name].colour,
                "linestyle": look[name].dash,
                "marker": look[name].marker,
                "markersize": 4,
                "markevery": DOTS,
                "linewidth": 1.4,
            }
            values = [r[metric] for r in rows]
            scores.setdefault(name, []).extend(values)
            axes.plot([r["step"] for r in rows], values, label=name, **line)
        for level, name, style in (
            (first["baseline"].get(metric), "without memory", "--"),
            (first["target"], "target", ":"),
        ):
            if level is not None:
                axes.axhline(level, color="0.4", linestyle=style, linewidth=1, label=name)
        baseline = [record["baseline"].get(metric) for _, _, record in members]
        levels = [first["target"], *baseline]
        notes[task] = scale_scores([axes], scores, levels, baseline, primary["goal"])
        whole(axes.xaxis)
        axes.set(title=task, xlabel="step", ylabel=f"validation {metric}")
        axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    add_legend(figure, shown, look, len(tasks))
    add_notes(figure, notes)
    return figure


def names(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What to call each run: its cell, with the settings that tell it from others of that cell on
    its task, `tanh, clip norm 1`. What has too many values was searched, and tells nothing.
    """
    table = pd.DataFrame(
        [dotted(r["settings"]) | {"cell": r["cell"], "task": r["task"]} for r in records]
    )
    found = table["cell"].astype(str)
    for _, members in table.groupby(["task", "cell"], sort=False):
        keys = [k for k in varied(members) if members[k].map(repr).nunique() <= VARIANTS]
        for index, values in zip(members.index, members[keys].itertuples(index=False), strict=True):
            told = [(key.partition(".")[2], value) for key, value in zip(keys, values, strict=True)]
            settings = [(key, value) for key, value in told if said(value) != "null"]
            found[index] = label(found[index], settings)
    return list(found)


def add_legend(figure: Figure, shown: Mapping[str, Any], first: Iterable[str], panels: int) -> None:
    """One legend under all panels. shown: label → what was drawn; `first`: the labels that lead."""
    leading = list(first)
    order = [*leading, *(label for label in shown if label not in leading)]
    figure.legend(
        [shown[label] for label in order],
        order,
        loc="outside lower center",
        ncols=min(len(order), 3 + 3 * panels),
        frameon=False,
    )


def add_notes(figure: Figure, notes: Mapping[str, str]) -> None:
    """What has to be said of panels, under all of them. notes: panel → sentence, or nothing."""
    said = [f"{panel}: {note}" if len(notes) > 1 else note for panel, note in notes.items() if note]
    if said:
        letters = round(LETTERS * figure.get_figwidth())
        text = "\n".join(fill(line, letters) for line in said)
        figure.supxlabel(text, fontsize=8, color="0.35")


def save(figure: Figure, path: Path) -> Path:
    """Write as the file's ending says (png, svg, pdf), whole or not at all. UserError for another
    ending, and for a file of somebody else's in the way.
    """
    refuse_ending(path)
    add_file(path, image(figure, path.suffix.lstrip(".")))
    plt.close(figure)
    return path


def refuse_ending(path: Path) -> None:
    """UserError for the name of a file that is no picture."""
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"a picture is a .png, .svg or .pdf, got '{path}'")


def image(figure: Figure, kind: str, dpi: int = 150) -> bytes:
    """The figure as the content of a file (png, svg, pdf): no date in it, so that equal figures are
    equal bytes.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context(SAME):
        figure.savefig(
            buffer,
            format=kind,
            dpi=dpi,
            metadata={"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind),
        )
    return buffer.getvalue()
