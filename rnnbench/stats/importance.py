"""Which hyperparameters mattered: functional analysis of variance of a search, as in Greff et al.
(2017), section V.B.

Hutter, Hoos & Leyton-Brown (2014), An efficient approach for assessing hyperparameter importance: a
regression forest is fitted to the scores; as a tree is constant on boxes, the mean over all other
settings (a marginal) and the share of the variance that one setting, or a pair beyond its two,
explains are exact sums over its leaves.

The forest is that of Optuna's FanovaImportanceEvaluator, which takes twice the trees; with as many
the shares of single settings are the same to rounding (a test holds them equal). The sums are our
own because Optuna's take forty times as long, give neither pairs nor marginals, and weigh a
learning rate on a linear scale whatever the search did: of [1e-6, 1e-2], nine tenths of the weight
would lie above 1e-3.

Leaves are fitted down to single runs, so luck of the seed shows as interaction: where `r2` is low,
so is what shares mean.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from rnnbench.stats.selection import costs, goal_of, said, varied
from rnnbench.stats.statistics import Floats

FEWEST = 20  # runs
# up to so many distinct values are levels of equal weight, as drawn from a list; more are a range
LEVELS = 12
POINTS = 41  # of a marginal curve over a range
MOST = 1000  # runs per tree: the sums over leaves take time and memory with the square


@dataclass(frozen=True)
class Setting:
    """A setting that was searched, as a coordinate in [0, 1].

    scale: log, linear, complement (the logarithm of one minus the value, as momentum is drawn) or
        levels; values (n) and their coordinates (n).
    """

    name: str
    scale: str
    levels: tuple[Any, ...]
    low: float
    high: float
    coordinates: Floats

    def at(self) -> tuple[Floats, tuple[Any, ...]]:
        """Where to look at a marginal: coordinates, and the values they stand for."""
        if self.scale == "levels":
            return (np.arange(len(self.levels)) + 0.5) / len(self.levels), self.levels
        points = np.linspace(0, 1, POINTS)
        values = self.low + points * (self.high - self.low)
        turned = {"log": 10**values, "complement": 1 - 10**-values, "linear": values}
        return points, tuple(turned[self.scale].tolist())


@dataclass(frozen=True)
class Importance:
    """The analysis of one task and cell, or the reason why there is none.

    Shares are of the variance of the forest's prediction.

    n: runs; replaced: of them, those without a score (diverged) that count as memoryless; r2: of
        the forest, each run predicted by the trees that have not seen it (out of bag): 1 is
        perfect, 0 no better than the mean.
    table: task, cell, parameter, scale, mean, std, n, r2. pairs: task, cell, first, second, mean,
        std, beyond what the two explain
    alone. std: over refits with other seeds, the forest's part of the uncertainty; it does not say
        what other trials would give.
    marginals: task, cell, parameter, scale, x, mean, std: the mean prediction along one parameter,
        and its spread over trees.
    """

    task: str
    cell: str
    n: int
    replaced: int
    reason: str = ""
    r2: float = math.nan
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    pairs: pd.DataFrame = field(default_factory=pd.DataFrame)
    marginals: pd.DataFrame = field(default_factory=pd.DataFrame)


def importance(
    runs: pd.DataFrame,
    rng: np.random.Generator,
    repeats: int = 5,
    trees: int = 32,
    of: str = "value",
) -> Importance:
    """What the settings that differ between these runs, all of one task and cell, did to the test
    score, or to another column: `of="steps"` is training time in updates, which early stopping
    ends. (Seconds are those of a pack, and say more of its company than of a run.)

    A run that diverged, has no finite score, or scores worse than the memoryless baseline counts
    as that (`baseline`; without one, as the worst score): how badly a run diverged is not what a
    search is about, and one huge score would own the variance.
    """
    if runs.empty or len(runs[["task", "cell"]].drop_duplicates()) > 1:
        raise ValueError("importance is of the runs of one task and one cell")
    task, cell = str(runs["task"].iloc[0]), str(runs["cell"].iloc[0])
    label = {"task": task, "cell": cell}
    runs = runs[runs["status"] != "failed"]
    scores = bounded(runs) if of == "value" else runs[of].to_numpy(float)
    replaced = int((runs["diverged"] | ~np.isfinite(runs["value"])).sum())
    settings = [_setting(name, runs[name]) for name in searched(runs)]
    if reason := _refusal(scores, settings):
        return Importance(task, cell, len(runs), replaced, reason)
    inputs = np.column_stack([setting.coordinates for setting in settings])
    seeds = rng.integers(2**31, size=repeats)
    fitted = [_forest(inputs, scores, int(seed), trees) for seed in seeds]
    r2 = float(np.mean([forest.oob_score_ for forest in fitted]))
    forests = [[_leaves(tree) for tree in forest.estimators_] for forest in fitted]
    shares = np.array([_mean_share(forest) for forest in forests])  # (repeats, settings, settings)

    def summary(i: int, j: int) -> dict[str, float]:
        return {"mean": float(shares[:, i, j].mean()), "std": float(shares[:, i, j].std())}

    many = range(len(settings))
    rows = [
        label
        | {"parameter": s.name, "scale": s.scale}
        | summary(i, i)
        | {"n": len(scores), "r2": r2}
        for i, s in enumerate(settings)
    ]
    pairs = [
        label | {"first": settings[i].name, "second": settings[j].name} | summary(i, j)
        for i in many
        for j in many
        if i < j
    ]
    curves = []
    for i, setting in enumerate(settings):
        points, values = setting.at()
        curve = np.array([_marginal(leaves, i, points) for forest in forests for leaves in forest])
        for x, mean, std in zip(values, curve.mean(0).tolist(), curve.std(0).tolist(), strict=True):
            curves.append(
                label
                | {
                    "parameter": setting.name,
                    "scale": setting.scale,
                    "x": x,
                    "mean": mean,
                    "std": std,
                }
            )
    columns = ["task", "cell", "first", "second", "mean", "std"]
    return Importance(
        task,
        cell,
        len(runs),
        replaced,
        "",
        r2,
        pd.DataFrame(rows),
        pd.DataFrame(pairs, columns=columns),
        pd.DataFrame(curves),
    )


def importances(
    frame: pd.DataFrame, rng: np.random.Generator, repeats: int = 5, trees: int = 32
) -> list[Importance]:
    """`importance` of every task and cell in the frame, those refused included."""
    return [importance(runs, rng, repeats, trees) for _, runs in frame.groupby(["task", "cell"])]


def searched(runs: pd.DataFrame) -> list[str]:
    """The settings that differ between these runs; of two that only change together, the first."""
    kept: list[str] = []
    codes = {name: pd.factorize(runs[name].map(repr))[0] for name in varied(runs)}
    for name, code in codes.items():
        # draws that never repeat also look like that
        twins = [other for other in kept if np.array_equal(codes[other], code)]
        if not any(code.max() < LEVELS or _monotone(runs[other], runs[name]) for other in twins):
            kept.append(name)
    return kept


def _monotone(one: "pd.Series[Any]", other: "pd.Series[Any]") -> bool:
    ranks = [pd.to_numeric(values, errors="coerce").rank().to_numpy() for values in (one, other)]
    return np.array_equal(ranks[0], ranks[1]) or np.array_equal(ranks[0], len(one) + 1 - ranks[1])


def bounded(runs: pd.DataFrame) -> Floats:
    """Test scores, with those of diverged runs, and of worse ones, at the memoryless baseline."""
    if runs.empty:
        return np.empty(0)
    goal = goal_of(runs)
    sign = 1.0 if goal == "min" else -1.0
    cost = costs(runs.assign(valid=runs["value"]), goal).to_numpy(float)
    # fmin passes over an unknown baseline
    return sign * np.asarray(np.fmin(cost, sign * runs["baseline"].to_numpy(float)))


def _refusal(scores: Floats, settings: Sequence[Setting]) -> str:
    if len(scores) < FEWEST:
        return f"{len(scores)} runs; variance is attributed from {FEWEST} on"
    if not settings:
        return "no setting differs between these runs"
    if len(settings) == 1:
        return (
            f"only {settings[0].name} differs between these runs; its share of what a model "
            f"can explain is all, whatever it did"
        )
    return "all runs score the same" if np.ptp(scores) == 0 else ""


def _setting(name: str, column: "pd.Series[Any]") -> Setting:
    """Levels, if few or not all numbers; else a range, on the scale (log, linear, complement) on
    which the values lie most evenly.
    """
    distinct = {repr(value): value for value in column}
    numeric = all(
        isinstance(v, (int, float, np.number)) and not isinstance(v, bool) and math.isfinite(v)
        for v in distinct.values()
    )
    if not numeric or len(distinct) <= LEVELS:
        order = sorted(distinct, key=lambda text: distinct[text] if numeric else text)
        levels = tuple(distinct[text] if numeric else said(distinct[text]) for text in order)
        places = column.map(lambda value: order.index(repr(value))).to_numpy(float)
        return Setting(name, "levels", levels, math.nan, math.nan, (places + 0.5) / len(order))
    values = {"linear": column.to_numpy(float)}
    if values["linear"].min() > 0:
        values["log"] = np.log10(values["linear"])
    if values["linear"].min() >= 0 and values["linear"].max() < 1:
        values["complement"] = -np.log10(1 - values["linear"])
    unit = {scale: (v - v.min()) / np.ptp(v) for scale, v in values.items()}
    uneven = {of: stats.ks_1samp(at, stats.uniform.cdf).statistic for of, at in unit.items()}
    if uneven.get("complement", 0.0) > uneven["linear"] / 2:
        del uneven["complement"]  # rare enough that luck must not choose it
    scale = min(uneven, key=uneven.__getitem__)
    return Setting(
        name, scale, (), float(values[scale].min()), float(values[scale].max()), unit[scale]
    )


def _forest(inputs: Floats, scores: Floats, seed: int, trees: int) -> Any:
    from sklearn import config_context  # type: ignore[import-untyped]
    from sklearn.ensemble import RandomForestRegressor  # type: ignore[import-untyped]

    forest = RandomForestRegressor(
        trees,
        max_depth=64,
        random_state=seed,
        max_samples=MOST if len(scores) > MOST else None,
        oob_score=True,
    )
    with config_context(assume_finite=True, skip_parameter_validation=True):
        return forest.fit(inputs, scores)


def _leaves(estimator: Any) -> tuple[Floats, Floats, Floats]:
    """Low and high corners (leaves, settings) of a tree's boxes in the unit cube, and its
    predictions (leaves).
    """
    tree = estimator.tree_
    low = np.zeros((tree.node_count, tree.n_features))
    high = np.ones((tree.node_count, tree.n_features))
    left = tree.children_left
    right = tree.children_right
    features = tree.feature
    thresholds = tree.threshold
    for node in np.flatnonzero(features >= 0):  # parents come before their children
        one, other, feature = left[node], right[node], features[node]
        low[one] = low[other] = low[node]
        high[one] = high[other] = high[node]
        high[one, feature] = low[other, feature] = thresholds[node]
    leaf = features < 0
    return low[leaf], high[leaf], tree.value[leaf, 0, 0]


def _mean_share(forest: Sequence[tuple[Floats, Floats, Floats]]) -> Floats:
    """Shares (settings, settings), mean over trees that are not constant: single settings on the
    diagonal, pairs beside it.
    """
    found = [share for leaves in forest if (share := _shares(*leaves)) is not None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all trees constant: NaN
        return np.asarray(np.mean(found, axis=0))


def _shares(low: Floats, high: Floats, values: Floats) -> Floats | None:
    """∫ f_U² for U = {i} and {i, j}, where f_U sums over leaves the value times the volume in the
    other directions, if U is in the box.
    """
    sides = high - low
    volume = sides.prod(1)
    values = values - values @ volume
    total = values**2 @ volume
    if total <= 0:
        return None
    many = sides.shape[1]
    overlap = [
        np.clip(
            np.minimum(high[:, None, k], high[:, k]) - np.maximum(low[:, None, k], low[:, k]),
            0,
            None,
        )
        for k in range(many)
    ]
    share = np.zeros((many, many))
    for i in range(many):
        weight = values * volume / sides[:, i]
        share[i, i] = weight @ overlap[i] @ weight / total
    for i in range(many):
        for j in range(i):
            weight = values * volume / (sides[:, i] * sides[:, j])
            share[i, j] = share[j, i] = (
                weight @ (overlap[i] * overlap[j]) @ weight / total - share[i, i] - share[j, j]
            )
    return share


def _marginal(leaves: tuple[Floats, Floats, Floats], i: int, points: Floats) -> Floats:
    """The mean prediction over all other settings where setting i is at these points."""
    low, high, values = leaves
    sides = high - low
    inside = (low[:, i] < points[:, None]) & (points[:, None] <= high[:, i]) | (low[:, i] == 0) & (
        points[:, None] == 0
    )
    return np.asarray(inside @ (values * sides.prod(1) / sides[:, i]))
