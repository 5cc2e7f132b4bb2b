"""Pictures of searches: the best fitness against candidates and against seconds, the mean over
repeated searches of a method with its 95 % interval; and what cheap proxies are worth.
"""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from rnnbench.charts.canvas import canvas
from rnnbench.charts.style import PALETTE
from rnnbench.runs.records import write
from rnnbench.search.design import METHODS

POINTS = 60  # of each line
TAUS = (  # columns of a table of proxies: τ and its interval
    ("all recipes", "tau", "low", "high"),
    ("the better half", "better", "better_low", "better_high"),
)
AXES = {"cells": "candidates", "seconds": "seconds of one core"}


def draw(incumbents: pd.DataFrame, relative_to: str, path: Path) -> None:
    """incumbents: of `tables.incumbents`. Writes an SVG; nothing where nothing was found."""
    frame = incumbents.dropna(subset=["fitness"]) if len(incumbents) else incumbents
    if frame.empty:
        return
    figure, axes = canvas(1, 2, 2.8, sharey=True)
    for one, (column, label) in zip(axes.flat, AXES.items(), strict=True):
        for method, members in frame.groupby("method"):
            colour = PALETTE[METHODS.index(str(method))]
            at, mean, low, high = course(members, column)
            one.plot(at, mean, color=colour, label=f"{method}, n={members['seed'].nunique()}")
            one.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
        one.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
        one.set_xlabel(label)
    axes[0, 0].set_ylabel(f"best fitness ({relative_to} = 1)")
    axes[0, 0].legend(frameon=False, fontsize=8)
    _save(figure, path)


def draw_proxies(made: pd.DataFrame, published: pd.Series, ours: pd.Series, path: Path) -> None:
    """Kendall's τ with the published loss against our steps, of all recipes and of the better half;
    and the rank of every recipe by its loss here against that by the published one. Writes an SVG.

    made: of `proxies.correlations`. ours: named as its axis shall be.
    """
    steps = made["proxy"].str.extract(r"^(\d+) steps$")[0].astype(float)
    trained, trivial = made.assign(steps=steps)[steps.notna()], made[steps.isna()]
    figure, axes = canvas(1, 2, 3.2)
    left, right = axes.flat
    for colour, (label, tau, low, high) in zip(PALETTE, TAUS, strict=False):
        left.plot("steps", tau, data=trained, color=colour, marker=".", label=label)
        left.fill_between("steps", low, high, data=trained, color=colour, alpha=0.2, linewidth=0)
    for level in trivial["tau"]:
        left.axhline(level, color="0.6", linewidth=0.8, linestyle="--")
    left.plot([], [], color="0.6", linestyle="--", label=", ".join(trivial["proxy"]))
    left.set(xlabel="steps here", ylabel="Kendall's τ with the published loss")
    left.set_ylim(bottom=trivial["tau"].min() - 0.25)  # room for the legend
    left.legend(frameon=False, fontsize=8, loc="lower left")
    right.plot(published.rank(), ours.rank(), ".", color=PALETTE[0], markersize=4, alpha=0.7)
    right.set(xlabel="rank by the published loss", ylabel=ours.name)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="svg", metadata={"Date": None})
    write(path, picture.getvalue())


def course(
    members: pd.DataFrame, column: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Where, the mean of the incumbents there, and Student's interval; as far as every search of
    the method has come. Before its first survivor a search has none, so that the mean begins where
    each has one.
    """
    searches = [s.sort_values(column) for _, s in members.groupby("seed")]
    at = np.linspace(
        max(s[column].iloc[0] for s in searches),
        max(min(s[column].iloc[-1] for s in searches), max(s[column].iloc[0] for s in searches)),
        POINTS,
    )
    found = np.array(
        [
            s["fitness"].to_numpy()[np.searchsorted(s[column], at, side="right") - 1]
            for s in searches
        ]
    )
    n, mean = len(found), found.mean(0)
    half = np.zeros_like(mean)
    if n > 1:
        half = stats.t.ppf(0.975, n - 1) * found.std(0, ddof=1) / n**0.5
    return at, mean, mean - half, mean + half
