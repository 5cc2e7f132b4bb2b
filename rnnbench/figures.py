"""Figures from records. Each function takes data and returns a matplotlib figure; `save` writes it."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from rnnbench.records import Folder, write

Found = Sequence[tuple[Folder, dict[str, Any]]]


def learning_curves(found: Found) -> Figure:
    """Validation score against step, a panel per task, a line per run; what ignorance scores is dashed."""
    tasks = sorted({record["task"] for _, record in found})
    cells = sorted({record["cell"] for _, record in found})
    colours = dict(zip(cells, plt.get_cmap("tab20").colors * 2, strict=False))  # type: ignore[attr-defined]
    figure, panels = plt.subplots(1, len(tasks), figsize=(1 + 5 * len(tasks), 3.6), squeeze=False, layout="constrained")
    for task, axes in zip(tasks, panels[0], strict=True):
        members = [(folder, record) for folder, record in found if record["task"] == task]
        metric = members[0][1]["primary"]["name"]
        for folder, record in members:
            rows = [r for r in folder.curve() if r["split"] == "valid" and metric in r]
            axes.plot([r["step"] for r in rows], [r[metric] for r in rows], color=colours[record["cell"]], label=record["cell"], linewidth=1.4)
        first = members[0][1]
        for level, name, style in ((first["baseline"].get(metric), "without memory", "--"), (first["target"], "target", ":")):
            if level is not None:
                axes.axhline(level, color="0.4", linestyle=style, linewidth=1, label=name)
        if first["primary"]["goal"] == "min" and all(r[metric] > 0 for f, _ in members for r in f.curve() if metric in r):
            axes.set_yscale("log")
        axes.set(title=task, xlabel="step", ylabel=f"validation {metric}")
        axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        axes.legend(unique.values(), unique.keys(), frameon=False, fontsize=8)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write as the file's ending says (png, svg, pdf), whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lstrip("."), dpi=150)
    plt.close(figure)
    write(path, buffer.getvalue())
    return path
