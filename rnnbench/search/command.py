"""`rnnbench search`: plan, run or replicate searches."""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from rnnbench.console import clock, console, say
from rnnbench.errors import UserError, unknown
from rnnbench.search import proxies, tables
from rnnbench.search.design import METHODS, Search, checked_budget, read
from rnnbench.search.run import RESULTS, Sitting, folder_of
from rnnbench.search.screens import Stage, Stages, composed, drawn, pack_of, seeds_of
from rnnbench.search.starts import start
from rnnbench.search.writing import compiled, function_text

HOW = ("workers", "paths.results")
MEASURED = 3  # updates, to know what one costs


@dataclass(frozen=True)
class Typed:
    """What was typed. budget and methods: None: the search's own. how: key=value."""

    name: str
    methods: str | None
    budget: str | None
    seeds: str
    plan: bool
    replicate: bool
    how: tuple[str, ...]


def search_cells(asked: Typed) -> None:
    """Raises UserError, or Interrupted after the last candidate that ended."""
    search = read(asked.name)
    how = _how(asked.how)
    results = Path(how.get("paths.results", RESULTS)).expanduser()
    if asked.replicate:
        from rnnbench.search.replicate import replicate

        replicate(search, results, how.get("workers"), asked.plan)
        return
    methods = _methods(asked.methods) if asked.methods else search.methods[:1]
    seeds = _seeds(asked.seeds)
    budget = checked_budget(asked.budget, "--budget") if asked.budget else search.budget
    stages = composed(search.screens)
    if asked.plan:
        _show_plan(search, stages, methods, seeds, budget)
        return
    workers = _workers(how)
    if search.recipes is not None:
        made = proxies.measure(search, stages, results / search.name, workers, say)
        say(made.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
        say(f"tables: {results / search.name}")
        return
    for method in methods:
        for seed in seeds:
            again = _again(asked, method, seed)
            sitting = Sitting(
                search, stages, method, seed, folder_of(results, search, method, seed)
            )
            sitting.run(budget, workers, say, again)
    say(f"tables: {tables.write_all(search, results)}")


def _how(words: Sequence[str]) -> Mapping[str, str]:
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise UserError(f"cannot read '{word}': write key=value")
        if key not in HOW:
            raise unknown("key", key, HOW)
        found[key] = value
    return found


def _methods(text: str) -> tuple[str, ...]:
    found = tuple(text.split(","))
    for method in found:
        if method not in METHODS:
            raise unknown("method", method, METHODS)
    return found


def _seeds(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(word.isdigit() for word in words):
        raise UserError(f"--seed must be whole numbers of at least 0, such as 0,1,2, got '{text}'")
    return tuple(map(int, words))


def _workers(how: Mapping[str, str]) -> int:
    from joblib import cpu_count

    text = how.get("workers", str(cpu_count()))
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"workers must be a whole number of at least 1, got '{text}'")
    return int(text)


def _again(asked: Typed, method: str, seed: int) -> str:
    words = ["rnnbench", "search", asked.name, "--method", method, "--seed", str(seed)]
    words += ["--budget", asked.budget] if asked.budget else []
    return shlex.join([*words, *asked.how])


def _show_plan(
    search: Search, stages: Stages, methods: Sequence[str], seeds: Sequence[int], budget: str
) -> None:
    """What a candidate goes through, and what the reference costs there, measured."""
    console.print(search.question, markup=False)
    table = Table("screen", "task", "asks", "settings × seeds", "steps", "engine", "seconds")
    total = 0.0
    for name, stage in stages.items():
        seconds = _measured(search, stage)
        total += seconds
        screen, settings = stage.screen, stage.settings
        table.add_row(
            name,
            settings.task["name"],
            _asks(search, stage),
            f"{screen.settings} of {screen.size} × {screen.seeds}",
            f"{settings.train.steps:,}",
            settings.engine.name,
            f"{seconds:.1f}",
        )
    console.print(table, soft_wrap=False)
    say(
        f"seconds of one process for the {search.relative_to}, measured on {MEASURED} updates; "
        f"{total:.0f} s for a candidate that passes all, less for every other"
    )
    count = len(methods) * len(seeds)
    said = f"{budget} candidates" if budget.isdigit() else clock(float(budget[:-1]) * 3600)
    say(f"{count} search{'es' if count > 1 else ''} ({', '.join(methods)}), {said} each")
    numbers = ",".join(map(str, seeds))
    say(f"  rnnbench search {search.name} --method {','.join(methods)} --seed {numbers}")


def _asks(search: Search, stage: Stage) -> str:
    screen = stage.screen
    sign = "≥" if stage.goal == "max" else "≤"
    asked = [f"{sign} {screen.least:g}"] if screen.least is not None else []
    if screen.share is not None:
        asked.append(f"≥ {screen.share:g} of the {search.relative_to}")
    return ", ".join(asked) or "nothing"


def _measured(search: Search, stage: Stage) -> float:
    """Seconds that this screen takes with the reference, from a few updates."""
    name = search.relative_to
    candidate = start(name, search.references[name])
    function = compiled(function_text(candidate, name, search.inputs), name)
    settings = drawn(stage.screen, 0, "plan", set(), stage.screen.settings)
    training = pack_of(name, function, stage, settings, seeds_of(stage.screen, 0))
    training.update()
    started = time.process_time()
    for _ in range(MEASURED):
        training.update()
    return (time.process_time() - started) / MEASURED * training.pack.steps
