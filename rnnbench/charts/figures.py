"""Figures of runs. Rows of `frame.load` (labelled, see `choice.labelled`) in, a Matplotlib figure
out; `save` writes it. All figures of a report can be had here.

`known` are the styles of all cells of a report, see `drawing.styles`: a cell then looks the same in
every figure. Where a figure shows a cell by its best runs, they are those that its numbers rest on
(`choice.sample`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from rnnbench.charts.diagrams import critical_difference, importance, improvement_matrix, marginals
from rnnbench.charts.drawing import (
    GREY,
    PALE,
    WIDTH,
    canvas,
    dressed,
    filled,
    goal_of,
    legend,
    levels,
    mark_levels,
    metric_of,
    name_axes,
    panels,
    results,
)
from rnnbench.charts.lengths import solved_by_length, times_by_length
from rnnbench.charts.picture import Picture
from rnnbench.charts.scales import DOTS, log_ticks, rescale, scale_scores, whole
from rnnbench.charts.style import PALETTE, Style, image, save, styles
from rnnbench.charts.tradeoffs import solved_shares, speed_accuracy
from rnnbench.stats.selection import Sample, best_trials, costs, samples
from rnnbench.stats.statistics import Floats, Goal, judged, usable

__all__ = [
    "critical_difference",
    "greff",
    "image",
    "importance",
    "improvement_matrix",
    "learning_curves",
    "marginals",
    "picture",
    "rate_response",
    "save",
    "solved_by_length",
    "solved_shares",
    "speed_accuracy",
    "styles",
    "times_by_length",
]

Known = Mapping[str, Style] | None
RATES = 12  # learning rates, up to which each has its own median; more are binned, BINS to a decade
BINS = 3


def picture(name: str, figure: Figure, caption: str) -> Picture:
    """A figure as the report holds it; who cannot see it is told the first sentence of the
    caption. The caption ends with what the figure says of itself, in its label.
    """
    alt = caption.split(". ")[0]
    caption = f"{caption} {figure.get_label()}".rstrip()
    svg, png = (image(figure, kind) for kind in ("svg", "png"))
    return Picture(name, caption, alt, svg, png)


def greff(frame_of_task: pd.DataFrame, significant: set[str], baseline: str) -> Figure:
    """Figure 3 of Greff et al. (2017): test scores of all trials of each cell above, of the best by
    validation below.

    Boxes from quartile to quartile, whiskers over the full range, a line for the median, a dot for
    the mean; cells that differ significantly from the baseline, which comes first, are blue. Grey
    bars: mean number of parameters of the trials shown.
    Diverged trials have no score: they are left out of the boxes and counted over them.
    """
    runs = results(frame_of_task)
    cells = sorted(runs["cell"].unique(), key=lambda cell: (cell != baseline, cell))
    of = {cell: runs[runs["cell"] == cell] for cell in cells}
    best = {
        cell: r.loc[costs(r, goal_of(r)).sort_values(kind="stable").index[: best_trials(len(r))]]
        for cell, r in of.items()
    }
    kept, all_of = (sorted({len(r) for r in each.values()}) for each in (best, of))
    figure, axes = canvas(2, 1, height=6.2, width=max(WIDTH, 1.5 + 0.5 * len(cells)), sharex=True)
    titles = (
        f"all trials ({_span(all_of)} a cell)",
        f"best by validation ({_span(kept)} of {_span(all_of)} a cell)",
    )
    for one, shown, title in zip(axes[:, 0], (of, best), titles, strict=True):
        goal = goal_of(runs)
        _boxes(one, list(shown.values()), [cell in significant for cell in cells], goal)
        one.set_title(
            title, fontsize=10, loc="left", pad=14
        )  # under it the counts of diverged trials
        one.set_ylabel(metric_of(runs), fontsize=9)
        _parameter_bars(one, [float(r["params"].mean()) for r in shown.values()])
    many = len(cells) > 6 or max(map(len, cells)) > 10
    axes[1, 0].set_xticks(
        range(len(cells)),
        cells,
        rotation=40 if many else 0,
        ha="right" if many else "center",
        rotation_mode="anchor",
    )
    axes[1, 0].set_xlim(-0.6, len(cells) - 0.4)
    figure.suptitle(str(runs["task"].iloc[0]), fontsize=12)
    return figure


def _boxes(axes: Axes, groups: Sequence[pd.DataFrame], blue: Sequence[bool], goal: Goal) -> None:
    values = [usable(judged(runs["value"], runs["diverged"])) for runs in groups]
    rescale([axes], np.concatenate(values), goal=goal)
    for k, (scores, runs) in enumerate(zip(values, groups, strict=True)):
        colour = PALETTE[0] if blue[k] else "black"
        if scores.size:
            line = {"color": colour, "linewidth": 1.2}
            dot = {
                "marker": "o",
                "markersize": 4.5,
                "markerfacecolor": colour,
                "markeredgecolor": "white",
            }
            face = {
                "facecolor": "#BFDDF0" if blue[k] else "white",
                "edgecolor": colour,
                "linewidth": 1.2,
            }
            drawn: dict[str, Any] = {
                "boxprops": face,
                "medianprops": line | {"linewidth": 2},
                "whiskerprops": line,
                "capprops": line,
                "meanprops": dot,
            }
            axes.boxplot(
                [scores],
                positions=[k],
                widths=0.5,
                whis=(0, 100),
                showmeans=True,
                showfliers=False,
                patch_artist=True,
                manage_ticks=False,
                **drawn,
            )
        if missing := len(runs) - scores.size:
            axes.annotate(
                f"{missing} div.",
                (k, 1),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="bottom",
                fontsize=7,
                color=GREY,
            )


def _parameter_bars(axes: Axes, means: Sequence[float]) -> None:
    behind = axes.twinx()
    behind.bar(
        range(len(means)),
        [0 if np.isnan(mean) else mean for mean in means],
        width=0.82,
        color="0.88",
    )
    behind.set_zorder(axes.get_zorder() - 1)
    axes.patch.set_visible(False)
    behind.spines["top"].set_visible(False)
    behind.tick_params(labelsize=8, colors=GREY)
    behind.yaxis.set_major_formatter(
        FuncFormatter(lambda count, _: f"{count / 1000:g}k" if count >= 1000 else f"{count:g}")
    )
    behind.set_ylabel("mean parameters (bars)", fontsize=9, color=GREY)
    behind.set_ylim(0, 1.25 * max([*means, 1e-9]) if np.isfinite(means).any() else 1)


def learning_curves(
    frame: pd.DataFrame, curves: pd.DataFrame, task: str, known: Known = None
) -> Figure:
    """Validation score against step: the median of each cell's best runs, and a band from quartile
    to quartile.

    curves: as from `frame.curves`. A run that stopped early keeps its last score; one that diverged
        scores what ignorance does from then on (the worst score seen, where that is not known).
    The figure's label says which cells' losses leave the picture, if any do.
    """
    runs = results(frame, task)
    chosen = {cell: sample for (_, cell), sample in samples(runs).items()}
    look = dressed(list(chosen), known)
    figure, spots = panels(list(chosen))
    steps = {cell: aligned(sample, curves) for cell, sample in chosen.items()}
    drawn = {
        cell: (table.index.to_numpy(), *np.percentile(table, (50, 25, 75), axis=1))
        for cell, table in steps.items()
        if table.size
    }
    for axes, members in spots:
        for cell in [c for c in drawn if c not in members]:
            axes.plot(*drawn[cell][:2], color=PALE, linewidth=0.8, zorder=1)
        for cell in [c for c in members if c in drawn]:
            x, middle, low, high = drawn[cell]
            axes.fill_between(x, low, high, color=look[cell].colour, alpha=0.18, linewidth=0)
            axes.plot(
                x,
                middle,
                color=look[cell].colour,
                linestyle=look[cell].dash,
                linewidth=1.8,
                marker=look[cell].marker,
                markersize=4,
                markevery=DOTS,
                label=_label(cell, spots),
            )
        mark_levels(axes, runs)
        whole(axes.xaxis)
    note = scale_scores(
        [axes for axes, _ in spots],
        {cell: np.concatenate(lines) for cell, (_, *lines) in drawn.items()},
        levels(runs),
        runs["baseline"],
        goal_of(runs),
    )
    figure.set_label(note)
    by = {sample.by for sample in chosen.values()}
    over = (
        f"{_span(sorted({table.shape[1] for table in steps.values() if table.size}))} "
        f"{by.pop() if len(by) == 1 else 'runs'}"
    )
    name_axes(
        figure,
        spots,
        f"{task}: best by validation, median and quartiles over {over}",
        "step",
        f"validation {metric_of(runs)}",
    )
    legend(figure)
    return figure


def aligned(sample: Sample, curves: pd.DataFrame) -> pd.DataFrame:
    """Scores of the best runs (steps, runs), every run with a number at every step from its first
    on.
    """
    rows = curves[
        (curves["split"] == "valid")
        & (curves["column"] == sample.best["metric"].iloc[0])
        & curves["id"].isin(sample.best["id"])
    ]
    table = rows.pivot_table(
        index="step", columns="id", values="value", aggfunc="last", dropna=False
    )
    table = table.where(np.isfinite(table))
    if table.empty or table.isna().to_numpy().all():
        return pd.DataFrame()
    worst = table.max().max() if sample.goal == "min" else table.min().min()
    best = sample.best.set_index("id")
    for run in table:
        ended = (
            table.index > table[run].last_valid_index()
            if table[run].notna().any()
            else np.full(len(table), True)
        )
        if best.at[run, "diverged"]:
            ignorance = best.at[run, "baseline"]
            table.loc[ended, run] = ignorance if np.isfinite(ignorance) else worst
    return table.ffill().bfill()


def rate_response(frame: pd.DataFrame, task: str, known: Known = None) -> Figure:
    """Test score against learning rate: every run a point, and per cell the median with a band from
    quartile to quartile.

    Many rates, as random search draws them, are pooled in thirds of a decade. A diverged run is a
    cross where ignorance scores.
    """
    runs = results(frame, task)
    runs = runs[runs["optim.lr"].astype(float) > 0].assign(score=lambda r: filled(r))
    cells = sorted(runs["cell"].unique())
    look, distinct = dressed(cells, known), runs["optim.lr"].nunique()
    figure, spots = panels(cells)
    lost = runs["diverged"].astype(bool) | ~np.isfinite(runs["value"])
    place = np.log10(runs["optim.lr"].astype(float)) * (BINS if distinct > RATES else 1)
    bins = {
        cell: _pooled(
            members, place[members.index] if distinct <= RATES else np.floor(place[members.index])
        )
        for cell, members in runs.groupby("cell")
    }
    room = max(1.15, (runs["optim.lr"].max() / runs["optim.lr"].min()) ** 0.04)
    for axes, members in spots:
        axes.set(xscale="log", xlim=(runs["optim.lr"].min() / room, runs["optim.lr"].max() * room))
        for cell in [c for c in cells if c not in members]:
            axes.plot(*bins[cell][:2], color=PALE, linewidth=0.8, zorder=1)
        for cell in members:
            style, (x, middle, low, high) = look[cell], bins[cell]
            own, gone = runs[(runs["cell"] == cell) & ~lost], runs[(runs["cell"] == cell) & lost]
            axes.scatter(
                own["optim.lr"],
                own["score"],
                s=11,
                color=style.colour,
                marker=style.marker,
                alpha=0.35,
                linewidth=0,
                gid=f"runs {cell}",
            )
            axes.scatter(
                gone["optim.lr"],
                gone["score"],
                s=24,
                color=style.colour,
                marker="x",
                linewidth=1,
                alpha=0.7,
                gid=f"lost {cell}",
            )
            axes.fill_between(x, low, high, color=style.colour, alpha=0.15, linewidth=0)
            mark = style.marker if len(x) <= RATES else None
            axes.plot(
                x,
                middle,
                color=style.colour,
                linestyle=style.dash,
                linewidth=1.8,
                marker=mark,
                markersize=4.5,
                label=_label(cell, spots),
            )
        mark_levels(axes, runs)
        log_ticks(axes, "x")
    rescale([axes for axes, _ in spots], [*runs["score"], *levels(runs)], goal=goal_of(runs))
    name_axes(
        figure,
        spots,
        f"{task}: every run, median and quartiles (×: diverged)",
        "learning rate",
        f"test {metric_of(runs)}",
    )
    legend(figure)
    return figure


def _pooled(runs: pd.DataFrame, places: "pd.Series[float]") -> tuple[Floats, ...]:
    """Geometric mean of the learning rates, median, lower and upper quartile of the scores of each
    place.
    """
    groups = [
        (
            np.exp(np.log(r["optim.lr"].astype(float)).mean()),
            *np.percentile(r["score"], (50, 25, 75)),
        )
        for _, r in runs.groupby(places)
    ]
    return tuple(np.array(groups).T)


def _span(numbers: Sequence[int]) -> str:
    return (
        f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0] if numbers else 0}"
    )


def _label(cell: str, spots: Sequence[Any]) -> str | None:
    return cell if len(spots) == 1 else None  # with a panel each, the title is the label
