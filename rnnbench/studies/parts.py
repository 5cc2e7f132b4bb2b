"""From the words of a part to its runs, as `rnnbench train -m` would read them; and from a search
to the settings that it chose.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from math import prod
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.callbacks import Callbacks
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode

from hydra_plugins.rnnbench_plugins import RandomSweeperConf
from rnnbench import catalogue
from rnnbench.claims.design import Filter, Part, Study
from rnnbench.claims.selection import passes
from rnnbench.compose import GROUPS, SWEEP, completed, swept, translated
from rnnbench.errors import UserError, unknown
from rnnbench.runs.frame import dotted, load
from rnnbench.runs.records import run_id
from rnnbench.stats import selection
from rnnbench.sweep.expand import SweptKey, axes, grid, value
from rnnbench.sweep.launch import Options
from rnnbench.sweep.planning import Job, changed

# words that change how, never what
HOW = (*(name for name in SWEEP if SWEEP[name].startswith("hydra.launcher.")), "engine")
HOW_BELOW = ("cluster.", "engine.", "paths.")


@dataclass(frozen=True)
class Runs:
    """What a part comes to.

    Of a best_of part before its search has run: as if the first run of each search were the best.
    search: the part, itself no best_of, whose settings these are. known: whether what a best_of
        part's search chose is known.
    """

    part: Part
    jobs: Sequence[Job]
    options: Options
    search: Part
    known: bool = False


def plan(study: Study, how: Sequence[str]) -> dict[str, Runs]:
    """Every part's runs, by its name. how: words after the study's name.

    UserError if any part cannot be composed.
    """
    for word in how:
        key, equals, _ = word.partition("=")
        if not (equals and (key in HOW or key.startswith(HOW_BELOW))):
            raise UserError(
                f"'{word}' cannot be given to a study, only how it runs: {'=, '.join(HOW)}=, "
                f"{'*=, '.join(HOW_BELOW)}*=; "
                f"for other runs, copy its YAML and run rnnbench study path/to/copy.yaml"
            )
    made: dict[str, Runs] = {}
    for part in study.parts:
        with _of(study, part):
            made[part.name] = (
                composed(study, part, how)
                if part.best_of is None
                else confirmed(part, made[part.best_of], firsts(part, made[part.best_of]))
            )
    return made


@contextmanager
def _of(study: Study, part: Part) -> Iterator[None]:
    """Says which part an error is about."""
    try:
        yield
    except UserError as refused:
        raise UserError(f"{study.name}: parts.{part.name}: {refused}") from None


def composed(study: Study, part: Part, how: Sequence[str]) -> Runs:
    """What `rnnbench train -m` would make of a part's words."""
    with hydra.initialize_config_dir(str(catalogue.config_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        made = [
            translated(partial(_planned, words, loader), words) for words in lines(study, part, how)
        ]
    return Runs(part, [job for jobs, _ in made for job in jobs], made[0][1], part)


def _planned(words: Sequence[str], loader: ConfigLoader) -> tuple[Sequence[Job], Options]:
    config = loader.load_configuration(
        "config", completed(swept(words, many=True)), RunMode.MULTIRUN
    )
    context = HydraContext(config_loader=loader, callbacks=Callbacks(config))
    sweeper: Any = Plugins.instance().instantiate_sweeper(
        config=config, hydra_context=context, task_function=str
    )
    jobs, options = sweeper.launcher.planned(sweeper.jobs(list(config.hydra.overrides.task)))
    return jobs, options


def confirmed(part: Part, searched: Runs, best: Sequence[Job], known: bool = False) -> Runs:
    """Every combination of a best_of part's words on top of each of the best runs of its search;
    nothing else changes.
    """
    for words in part.sweeps:
        if is_random(words) or any(axis.group or axis.key[0] in "+~" for axis in axes_of(words)):
            raise UserError(
                "a best_of part changes values of the chosen settings, as seed=range(10) does; it "
                "chooses no file and draws nothing"
            )
    return Runs(
        part,
        [
            changed(job, values)
            for job in best
            for words in part.sweeps
            for values in grid(axes_of(words))
        ],
        searched.options,
        searched.search,
        known,
    )


def eligible(part: Part, searched: Runs) -> list[Job]:
    """The runs of a search that a best_of part may choose. UserError: `within` names no setting."""
    if not part.within:
        return list(searched.jobs)
    made = [(job, dotted(asdict(job.settings))) for job in searched.jobs]
    known = {key for _, settings in made for key in settings}
    for key in part.within.keys() - known:
        raise unknown("setting", key, known)
    return [
        job
        for job, settings in made
        if all(passes(settings.get(key), wanted) for key, wanted in part.within.items())
    ]


def firsts(part: Part, searched: Runs) -> list[Job]:
    """Those that a best_of part may choose, the first of each set that `apart` keeps apart."""
    found: dict[str, list[Job]] = {}
    for job in eligible(part, searched):
        found.setdefault(apart(searched.search, job), []).append(job)
    return [job for jobs in found.values() for job in jobs[: part.best]]


def chosen(part: Part, searched: Runs, results: Path) -> list[Job]:
    """For a best_of part, of each set that `apart` keeps apart, the run of the setting that
    validation chose; if its `best` is above one, the runs with so many best validation scores, each
    a setting of its own.

    results: a folder or a runs.jsonl. A set without a result has no best setting.
    """
    jobs = {run_id(job.settings): job for job in eligible(part, searched)}
    frame = load(results)
    frame = frame[frame["id"].isin(jobs) & (frame["status"] != "failed")]
    sets = frame["id"].map(lambda run: apart(searched.search, jobs[run]))
    ids: list[str] = []
    for _, members in frame.groupby(sets, sort=False):
        if part.best == 1:
            ids.append(selection.sample(selection.ANY, members).chosen)
        else:
            ids += members["id"][selection.ranked(members).index[: part.best]].tolist()
    return [jobs[run] for run in ids]


def lines(study: Study, part: Part, how: Sequence[str]) -> list[list[str]]:
    """What one would type after `rnnbench train -m` for each variant of a part."""
    return [[*words, f"study={study.label}", *how] for words in part.sweeps]


def apart(part: Part, job: Job) -> str:
    """The set that a run of a search belongs to: a best setting is chosen in each, over seeds."""
    return " ".join(word for word in sorted(job.overrides) if stays(part, word.partition("=")[0]))


@cache
def stays(part: Part, key: str) -> bool:
    """A random search chooses in every combination of what it does not draw, a grid for every
    variant of cell, task and model.
    """
    if any(map(is_random, part.sweeps)):
        return key != "seed" and not any(
            axis.key == key and axis.drawn for words in part.sweeps for axis in axes_of(words)
        )
    return key.lstrip("+~").partition(".")[0] in ("cell", "task", "model")


def size(study: Study) -> int:
    """How many runs, counted without composing any."""
    counts: dict[str, int] = {}
    searches: dict[str, tuple[Part, Filter]] = {}  # whose settings a part has, and within what
    for part in study.parts:
        runs = sum(map(combinations, part.sweeps))
        if part.best_of is None:
            counts[part.name], searches[part.name] = runs, (part, {})
            continue
        search, before = searches[part.best_of]
        within = {**before, **part.within}
        each = counts[part.best_of] // max(_sets(search, before), 1)
        counts[part.name] = runs * min(part.best, each) * _sets(search, within)
        searches[part.name] = search, within
    return sum(counts.values())


def _sets(search: Part, within: Filter) -> int:
    """How many sets `apart` keeps apart among the runs that a best_of part may choose. A setting
    that no word names is thought to pass.
    """
    return sum(
        prod(len(_allowed(axis, within)) for axis in axes_of(words) if stays(search, axis.key))
        for words in search.sweeps
    )


def _allowed(axis: SweptKey, within: Filter) -> Sequence[str]:
    """The values of an axis that pass; of a group a choice is its name."""
    key = f"{axis.key}.name" if axis.group else axis.key
    if key not in within:
        return axis.values
    return [text for text in axis.values if passes(value(text), within[key])]


def combinations(words: tuple[str, ...]) -> int:
    trials = [
        int(word.partition("=")[2])
        for word in swept(words, many=True)
        if word.startswith("hydra.sweeper.trials=")
    ]
    crossed = prod(
        len(axis.values) for axis in axes_of(words) if not (is_random(words) and axis.drawn)
    )
    return crossed * ([RandomSweeperConf().trials, *trials][-1] if is_random(words) else 1)


def is_random(words: Sequence[str]) -> bool:
    return "hydra/sweeper=random" in swept(words, many=True)


@cache
def axes_of(words: tuple[str, ...]) -> list[SweptKey]:
    """The keys of a sweep, those of Hydra left out."""
    ours = [word for word in completed(swept(words, many=True)) if not word.startswith("hydra")]
    return axes(ours, GROUPS.__contains__)
