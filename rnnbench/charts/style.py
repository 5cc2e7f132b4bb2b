"""Figures from records.

Each function takes data and returns a matplotlib figure; `save` writes it. `report.figures` has the
rest.

Colours are those of Okabe & Ito (2008), Color universal design, without the yellow, which is too
light for a line on white: readers with any common colour blindness tell them apart. Past seven
cells they repeat with another dash and marker.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from rnnbench.errors import UserError
from rnnbench.runs.made import add_file
from rnnbench.runs.records import Folder

Found = Sequence[tuple[Folder, dict[str, Any]]]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SAME: Any = {
    "svg.hashsalt": "rnnbench",
    "svg.fonttype": "none",
}  # the same figure makes the same bytes, and its text can be searched


@dataclass(frozen=True)
class Style:
    """What a cell looks like wherever it is drawn."""

    colour: str
    dash: Any
    marker: str


def styles(cells: Iterable[str]) -> dict[str, Style]:
    """A style for each cell, by alphabetical order: figures that belong together are given the
    styles of all their cells.
    """
    many = len(PALETTE)
    turns = ((k % many, k // many, cell) for k, cell in enumerate(sorted(set(cells))))
    return {
        cell: Style(PALETTE[k], DASHES[turn % len(DASHES)], MARKERS[(k + turn) % len(MARKERS)])
        for k, turn, cell in turns
    }


def learning_curves(found: Found) -> Figure:
    """Validation score against step, a panel per task, a line per run; what ignorance scores is
    dashed.
    """
    tasks = sorted({record["task"] for _, record in found})
    cells = sorted({record["cell"] for _, record in found})
    look = styles(cells)
    figure, panels = plt.subplots(
        1, len(tasks), figsize=(1 + 5 * len(tasks), 4), squeeze=False, layout="constrained"
    )
    shown: dict[str, Any] = {}
    for task, axes in zip(tasks, panels[0], strict=True):
        members = [(folder, record) for folder, record in found if record["task"] == task]
        metric = members[0][1]["primary"]["name"]
        for folder, record in members:
            rows = [r for r in folder.curve() if r["split"] == "valid" and metric in r]
            line = {
                "color": look[record["cell"]].colour,
                "linestyle": look[record["cell"]].dash,
                "linewidth": 1.4,
            }
            axes.plot(
                [r["step"] for r in rows], [r[metric] for r in rows], label=record["cell"], **line
            )
        first = members[0][1]
        for level, name, style in (
            (first["baseline"].get(metric), "without memory", "--"),
            (first["target"], "target", ":"),
        ):
            if level is not None:
                axes.axhline(level, color="0.4", linestyle=style, linewidth=1, label=name)
        values = [value for line in axes.get_lines() for value in line.get_ydata()]
        if min(values) > 0 and max(values) > 20 * min(values):
            axes.set_yscale("log")
        axes.set(title=task, xlabel="step", ylabel=f"validation {metric}")
        axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    order = [*cells, *(label for label in shown if label not in cells)]
    figure.legend(
        [shown[label] for label in order],
        order,
        loc="outside lower center",
        ncols=min(len(order), 3 + 3 * len(tasks)),
        frameon=False,
    )
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write as the file's ending says (png, svg, pdf), whole or not at all. UserError for another
    ending, and for a file of somebody else's in the way.
    """
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"a picture is a .png, .svg or .pdf, got '{path.name}'")
    add_file(path, image(figure, path.suffix.lstrip(".")))
    plt.close(figure)
    return path


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
