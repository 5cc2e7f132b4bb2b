"""What the searches of a YAML have found, as data frames and CSV files.

incumbents: the best fitness after so many candidates and so many seconds. screens: how many passed.
ranks: Kendall's τ of each screen's score with the fitness. methods: each against random search.
cost: seconds, failures included.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from rnnbench.runs.records import write
from rnnbench.search.archive import NEW, Member, SearchArchive, lines
from rnnbench.search.design import Search
from rnnbench.search.pictures import draw
from rnnbench.search.run import passed
from rnnbench.search.screens import Stages, composed
from rnnbench.stats import families

ALPHA = 0.05
FEWEST = 5  # cells for a rank correlation, searches of a method for a test


def journals(search: Search, results: Path) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
    """(method, seed, records) of every search of this YAML."""
    for path in sorted((results / search.name).glob("*/journal.jsonl")):
        header, *records = lines(path)
        if header["digest"] == search.digest:
            yield (
                header["method"],
                header["seed"],
                sorted(records, key=lambda r: (r["round"], r["slot"])),
            )


def incumbents(search: Search, stages: Stages, results: Path) -> pd.DataFrame:
    """A row per candidate: method, seed, cells, settings, seconds of work, fitness of the best."""
    rows = []
    for method, seed, records in journals(search, results):
        archive, seconds, settings = SearchArchive(search, stages), 0.0, 0
        best: tuple[float, Member] | None = None
        for record in records:
            archive.fold(record)
            seconds += record["seconds"]
            settings += sum(len(one["settings"]) for one in record["trained"])
            if search.relative_to not in archive.members:
                continue
            if record["name"] in search.references:  # to which every fitness is relative
                best = _best(archive, archive.members.values())
            else:
                best = _best(
                    archive, [archive.members[record["name"]], *([best[1]] if best else [])]
                )
            rows.append(
                {
                    "method": method,
                    "seed": seed,
                    "cells": archive.count,
                    "settings": settings,
                    "seconds": seconds,
                    "fitness": best[0] if best else None,
                    "cell": best[1].name if best else "",
                }
            )
    return pd.DataFrame(rows)


def _best(archive: SearchArchive, members: Iterable[Member]) -> tuple[float, Member] | None:
    """The best of these with its fitness, references aside."""
    known = [
        (fitness, member)
        for member in members
        if member.name not in archive.search.references
        and (fitness := archive.fitness(member)) is not None
    ]
    return max(known, key=lambda pair: (pair[0], -pair[1].born), default=None)


def screens(search: Search, results: Path) -> pd.DataFrame:
    """A row per search and screen: candidates that came to it and passed it, seconds spent there,
    draws that were no cells, and twins.
    """
    rows = []
    for method, seed, records in journals(search, results):
        fresh = [r for r in records if r["move"] == NEW]
        before = len(fresh)
        for name, count in passed(fresh, search).items():
            trained = [t for r in fresh for t in r["trained"] if t["screen"] == name]
            rows.append(
                {
                    "method": method,
                    "seed": seed,
                    "screen": name,
                    "came": before,
                    "passed": count,
                    "share": count / len(fresh) if fresh else float("nan"),
                    "seconds": sum(t["seconds"] for t in trained),
                }
            )
            before = count
    return pd.DataFrame(rows)


def ranks(search: Search, stages: Stages, results: Path) -> pd.DataFrame:
    """Kendall's τ between what a screen scores and the fitness, over the candidates that went
    through all screens whatever they scored: a sample of the whole range.
    """
    scores: dict[str, list[float]] = {name: [] for name in stages}
    ends: list[float] = []
    for _, _, records in journals(search, results):
        archive = SearchArchive(search, stages)
        for record in records:
            archive.fold(record)
        sampled = [r["name"] for r in records if r["move"] == NEW and r["through"]]
        for name in sampled:
            member = archive.members[name]
            if all(screen in member.tried for screen in stages):
                for screen in stages:
                    scores[screen].append(archive.share(member, screen))
                ends.append(min(archive.share(member, s.name) for s in search.fitness))
    rows = []
    for name, values in scores.items():
        tau = p = float("nan")
        if len(ends) >= FEWEST:
            found = stats.kendalltau(values, ends)
            tau, p = float(found.statistic), float(found.pvalue)
        rows.append({"screen": name, "cells": len(ends), "tau": tau, "p": p})
    return pd.DataFrame(rows)


def methods(made: pd.DataFrame) -> pd.DataFrame:
    """Each method against random search of the same number of candidates: the final fitness of
    repeated searches, two-sided, by the test that reports use.

    made: of `incumbents`. verdict: on "mutation beats random search"; p is NaN, and nothing is
        resolved, for fewer than five searches of either.
    """
    if made.empty:
        return made
    enough = int(made.groupby(["method", "seed"])["cells"].max().min())
    last = made[made["cells"] <= enough].groupby(["method", "seed"], as_index=False).last()
    final = {str(m): rows["fitness"].fillna(0.0).to_numpy() for m, rows in last.groupby("method")}
    rows = []
    for method, ours in final.items():
        theirs = final.get("random")
        if method == "random" or theirs is None:
            continue
        p = math.nan
        if min(len(ours), len(theirs)) >= FEWEST:
            p = float(families.pair(-ours, -theirs, np.random.default_rng(0)).p[0])
        rows.append(
            {
                "method": method,
                "against": "random",
                "cells": enough,
                "searches": f"{len(ours)}, {len(theirs)}",
                "fitness": ours.mean(),
                "of_random": theirs.mean(),
                "difference": ours.mean() - theirs.mean(),
                "p": p,
                "verdict": _verdict(p, ours.mean() - theirs.mean()),
            }
        )
    return pd.DataFrame(rows)


def _verdict(p: float, difference: float) -> str:
    if not p < ALPHA:
        return "not resolved"
    return "reproduced" if difference > 0 else "contradicted"


def cost(search: Search, results: Path) -> pd.DataFrame:
    """A row per search: candidates, refused draws, twins, settings trained, hours of work and of
    waiting.
    """
    rows = []
    for method, seed, records in journals(search, results):
        fresh = [r for r in records if r["move"] == NEW]
        trained = [one for r in records for one in r["trained"]]
        rows.append(
            {
                "method": method,
                "seed": seed,
                "cells": len(fresh),
                "no_cells": sum(r["draws"] for r in fresh),
                "twins": sum(r["twins"] for r in fresh),
                "failed": sum(bool(r["failed"]) for r in fresh),
                "settings": sum(len(one["settings"]) for one in trained),
                "work_hours": sum(r["seconds"] for r in records) / 3600,
                "clock_hours": max((r["clock"] for r in records), default=0.0) / 3600,
            }
        )
    return pd.DataFrame(rows)


def frames(search: Search, results: Path) -> Mapping[str, pd.DataFrame]:
    stages = composed(search.screens)
    made = incumbents(search, stages, results)
    return {
        "incumbents": made,
        "methods": methods(made),
        "screens": screens(search, results),
        "ranks": ranks(search, stages, results),
        "cost": cost(search, results),
    }


def write_all(search: Search, results: Path) -> Path:
    """Every frame as a CSV file, and the picture of the incumbents; the folder."""
    folder, made = results / search.name / "tables", frames(search, results)
    for name, frame in made.items():
        write(folder / f"{name}.csv", frame.to_csv(index=False, float_format="%.6g"))
    draw(made["incumbents"], search.relative_to, folder / "incumbents.svg")
    return folder
