"""Is a cheap proxy worth anything? Recipes whose loss after 50 epochs is published, trained here
small and short: Kendall's τ of the two, beside proxies that need no training.

`journal.jsonl` has a line a recipe, so that a study that was killed goes on.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from rnnbench.console import clock
from rnnbench.equations.trace import trace
from rnnbench.runs.records import write
from rnnbench.search import recipes
from rnnbench.search.archive import JOURNAL, append, lines
from rnnbench.search.design import Search
from rnnbench.search.identity import depth, products
from rnnbench.search.pictures import draw_proxies
from rnnbench.search.recipes import PublishedRecipe
from rnnbench.search.run import Pool
from rnnbench.search.screens import Assignment, Stages, pack_of, seeds_of
from rnnbench.search.writing import compiled

WORST = 1e9  # a loss that is not finite ranks behind all that are
RESAMPLES = 1000  # of the recipes, for intervals


def measure(
    search: Search, stages: Stages, folder: Path, workers: int, say: Callable[[str], None]
) -> pd.DataFrame:
    """Train every recipe that the journal lacks, and write `recipes.csv`, `proxies.csv` and
    `proxies.svg`.

    UserError if the recipes are not there.
    """
    (stage,) = stages.values()
    known = recipes.read(Path(stage.settings.paths.mirror or "") / str(search.recipes))
    journal = folder / JOURNAL
    done = {line["name"]: line for line in lines(journal) if line["digest"] == search.digest}
    left = [one for one in known if one.name not in done]
    seeds = seeds_of(stage.screen, 0)
    orders = {
        one.name: Assignment(
            name=one.name,
            text=recipes.equations(one.recipe, one.name),
            settings={stage.screen.name: tuple(range(stage.screen.settings))},
            needed={},
            seeds={stage.screen.name: seeds},
        )
        for one in left
    }
    began = time.perf_counter()
    with Pool(stages, workers, curves) as pool:
        for number, (name, curve) in enumerate(pool.work(orders), 1):
            line = {"name": name, "digest": search.digest, **curve}
            append(journal, line)
            done[name] = line
            if number % 10 == 0 or number == len(orders):
                spent = time.perf_counter() - began
                rest = clock(spent / number * (len(orders) - number))
                say(f"{len(done)} of {len(known)} recipes; {rest} left")
    frame = table(known, done)
    write(folder / "recipes.csv", frame.to_csv(index=False, float_format="%.6g"))
    made = correlations(frame)
    write(folder / "proxies.csv", made.to_csv(index=False, float_format="%.4g"))
    longest, columns = list(budgets(frame).items())[-1]
    ours = frame[columns].mean(axis=1).rename(f"rank after {longest}")
    draw_proxies(made, frame["published"], ours, folder / "proxies.svg")
    return made


def curves(order: Assignment, stages: Stages) -> dict[str, Any]:
    """Train a recipe once with each seed; its validation scores at every evaluation."""
    ((name, stage),) = stages.items()
    started = time.perf_counter()
    function = compiled(order.text, order.name)
    training = pack_of(order.name, function, stage, order.settings[name], order.seeds[name])
    steps, every = training.pack.steps, training.pack.eval_every
    metric = stage.screen.metric or training.pack.task.metric
    while training.step < steps and any(training.alive):
        training.update()
        if training.step % every == 0 or training.step == steps:
            training.validate()
    seen: list[dict[str, float | None]] = []
    for progress in training.progress:
        scores = {r["step"]: r[metric] for r in progress.rows if r["split"] == "valid"}
        seen.append({str(k): v if math.isfinite(v) else None for k, v in scores.items()})
    budgets = range(every, steps + 1, every)
    return {
        "scores": {str(b): [one.get(str(b)) for one in seen] for b in budgets},
        "seconds": round(time.perf_counter() - started, 2),
    }


def table(known: Sequence[PublishedRecipe], done: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A row per recipe: published losses, our scores at every budget and seed, trivial proxies."""
    rows = []
    for one in known:
        if one.name not in done:
            continue
        text = recipes.equations(one.recipe, one.name)
        program = trace(compiled(text, one.name))  # type: ignore[arg-type]
        row: dict[str, Any] = {
            "name": one.name,
            "published": one.losses[0],
            "again": one.losses[1] if len(one.losses) > 1 else math.nan,
            "parameters": one.params,
            "depth": depth(program),
            "products": products(program),
        }
        for budget, scores in done[one.name]["scores"].items():
            for seed, score in enumerate(scores):
                row[f"{budget} steps, seed {seed}"] = WORST if score is None else score
        rows.append(row | {"seconds": done[one.name]["seconds"]})
    return pd.DataFrame(rows)


def budgets(frame: pd.DataFrame) -> dict[str, list[str]]:
    """`100 steps` → the columns of a table of recipes with the scores of every seed there."""
    found: dict[str, list[str]] = {}
    for column in map(str, frame):
        budget, seed, _ = column.partition(", seed ")
        if seed:
            found.setdefault(budget, []).append(column)
    return found


def correlations(frame: pd.DataFrame) -> pd.DataFrame:
    """τ of every proxy with the published loss, positive where the proxy is right, with a 95 %
    interval over the recipes.

    better, better_low, better_high: the same among the half with the smaller published losses,
    since a search wants to tell good cells apart. Three more columns take noise into account. own:
    τ between our seeds at one budget; theirs: τ between published trainings of one recipe. likely:
    what τ would be without either, by the correction for attenuation of the correlations
    sin(π τ / 2).
    """
    published = frame["published"].clip(upper=WORST)
    twice = frame.dropna(subset=["again"])
    theirs = tau(twice["published"].clip(upper=WORST), twice["again"].clip(upper=WORST))
    rows = []
    for budget, trained in budgets(frame).items():
        seeds = [frame[column] for column in trained]
        mean = pd.concat(seeds, axis=1).mean(axis=1)
        own = tau(seeds[0], seeds[1]) if len(seeds) > 1 else math.nan
        rows.append(_row(budget, mean, published, own, theirs, len(seeds)))
    rows += [
        _row(name, -frame[name], published, 1.0, theirs, 0)
        for name in ("parameters", "depth", "products")
    ]
    return pd.DataFrame(rows)


def _row(
    name: str, proxy: pd.Series, published: pd.Series, own: float, theirs: float, seeds: int
) -> dict[str, Any]:
    found, low, high = _bracketed(proxy, published)
    good = published <= published.median()
    better = _bracketed(proxy[good], published[good])
    reliable = math.sin(math.pi * own / 2)
    if seeds > 1 and reliable > 0:  # a mean of k seeds, as Spearman and Brown say
        reliable = seeds * reliable / (1 + (seeds - 1) * reliable)
    noise = math.sqrt(max(reliable * math.sin(math.pi * theirs / 2), 0.0))
    raw = math.sin(math.pi * found / 2)
    likely = 2 / math.pi * math.asin(max(-1.0, min(1.0, raw / noise))) if noise else math.nan
    return {
        **{"proxy": name, "recipes": len(proxy), "tau": found, "low": low, "high": high},
        **dict(zip(("better", "better_low", "better_high"), better, strict=True)),
        **{"own": own, "theirs": theirs, "likely": likely},
    }


def _bracketed(
    proxy: "pd.Series[float]", published: "pd.Series[float]"
) -> tuple[float, float, float]:
    """τ, and its 95 % interval by drawing recipes anew; NaN for fewer than two recipes."""
    if len(proxy) < 2:
        return math.nan, math.nan, math.nan
    rng = np.random.default_rng(0)
    again = []
    for _ in range(RESAMPLES):
        chosen = rng.integers(0, len(proxy), len(proxy))
        again.append(tau(proxy.iloc[chosen], published.iloc[chosen]))
    low, high = np.nanquantile(again, [0.025, 0.975])
    return tau(proxy, published), float(low), float(high)


def tau(x: "pd.Series[float]", y: "pd.Series[float]") -> float:
    """Kendall's τ-b; NaN for fewer than two recipes."""
    return float(stats.kendalltau(x, y).statistic) if len(x) > 1 else math.nan
