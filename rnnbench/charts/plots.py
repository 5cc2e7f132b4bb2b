"""Pictures as files, and what is drawn by Matplotlib: all that looks inside a network, where a
picture is a raster or a grid of panels that share an axis with a sequence. All other charts are
described by `chart`.
"""

import io
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from rnnbench.charts.chart import Chart
from rnnbench.errors import UserError
from rnnbench.runs.made import add_file

# the same figure makes the same bytes, and its text can be searched
SAME: Any = {"svg.hashsalt": "rnnbench", "svg.fonttype": "none"}


def save(figure: Figure | Chart, path: Path) -> Path:
    """Write as the file's ending says (png, svg, pdf), whole or not at all. UserError for another
    ending, and for a file of somebody else's in the way.
    """
    refuse_ending(path)
    kind = path.suffix.lstrip(".")
    if isinstance(figure, Chart):
        add_file(path, getattr(figure, kind))
        return path
    add_file(path, image(figure, kind))
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
