"""Does what was found stay better? The finalists of all searches, the cells that people made and
the best of random search as a study: each tuned with the same budget, then trained with new seeds,
at equal parameters, on the search tasks and on tasks that no search saw.

What remains to be done is a study's business (`rnnbench study`): runs, verdicts, report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from rnnbench.catalogue import is_file
from rnnbench.compose import compose
from rnnbench.console import say
from rnnbench.errors import UserError
from rnnbench.runs.frame import load
from rnnbench.runs.records import write
from rnnbench.search.archive import Member, SearchArchive
from rnnbench.search.design import Search
from rnnbench.search.found import about, lineage
from rnnbench.search.screens import Stages, composed
from rnnbench.search.tables import journals
from rnnbench.search.writing import file_text, function_text
from rnnbench.studies.run import run_study

PEOPLE = ("lstm", "lstm_b", "gru", "mut1", "mut2", "mut3")
FILE, FOLDER, RUNS = "finalists.py", "replication", "runs.jsonl.gz"
DEFAULTS: Mapping[str, Any] = {
    "finalists": 3,
    "trials": 20,
    "seeds": 10,
    "first_seed": 10_000,
    "margin": "1%",
    "train": [],
    "unseen": {},
}


@dataclass(frozen=True)
class Finalist:
    """name: of its function. fitness: of the search. why: finalist, random or ablation."""

    name: str
    text: str
    fitness: float | None
    why: str
    method: str
    seed: int


def replicate(search: Search, results: Path, workers: str | None, only_plan: bool) -> None:
    """Write the study of the finalists and run it, or say what it would run.

    UserError where no search has found anything, or the YAML says nothing of a replication.
    """
    asked = _asked(search)
    stages = composed(search.screens)
    finalists = chosen(search, stages, results, asked["finalists"])
    folder = results / search.name / FOLDER
    write(folder / FILE, file_text(f"Finalists of {search.name}.", [f.text for f in finalists]))
    path = folder / f"{search.name}-{FOLDER}.yaml"
    study = study_of(search, asked, finalists, (folder / FILE).resolve())
    write(path, yaml.safe_dump(study, sort_keys=False, allow_unicode=True, width=100))
    how = [f"paths.results={folder / 'runs'}", *([f"workers={workers}"] if workers else [])]
    run_study(str(path), "small", how, str(folder), only_plan)
    if not only_plan:
        made = shrinkage(search, stages, finalists, folder / RUNS)
        write(folder / "shrinkage.csv", made.to_csv(index=False, float_format="%.6g"))
        say(f"from search score to new seeds: {folder / 'shrinkage.csv'}")


def _asked(search: Search) -> dict[str, Any]:
    unknown = [key for key in search.replication if key not in DEFAULTS]
    if unknown:
        raise UserError(
            f"{search.name}: replication.{unknown[0]} is unknown; there are {', '.join(DEFAULTS)}"
        )
    if not search.replication.get("unseen"):
        raise UserError(
            f"{search.name}: replication.unseen is empty; name tasks that the search did not see: "
            f"unseen: {{music: [task=chorales, train.steps=440]}}"
        )
    for screen in search.fitness:
        if screen.name in search.replication["unseen"]:
            raise UserError(
                f"{search.name}: replication.unseen.{screen.name} is called like a screen; give it "
                f"another name"
            )
    return {**DEFAULTS, **search.replication}


def chosen(search: Search, stages: Stages, results: Path, count: int) -> list[Finalist]:
    """The `count` best of the searches with selection, each cell once; the best of random search;
    and what the best one came from, step by step back to a reference.
    """
    found: list[tuple[float, SearchArchive, Member, str, int]] = []
    for method, seed, records in journals(search, results):
        archive = SearchArchive(search, stages)
        for record in records:
            archive.fold(record)
        if search.relative_to not in archive.members:
            continue
        new = [(f, m) for f, m in archive.ranked() if not m.known]
        new = [(f, m) for f, m in new if m.name not in search.references]
        found += [(f, archive, m, method, seed) for f, m in new]
    found.sort(key=lambda one: -one[0])
    made: list[Finalist] = []
    taken: set[str] = set()
    places = {
        "finalist": [one for one in found if one[3] != "random"],
        "random": [one for one in found if one[3] == "random"],
    }
    for why, members in places.items():
        left = count if why == "finalist" else 1
        for fitness, archive, member, method, seed in members:
            if left and member.fingerprint not in taken:
                taken.add(member.fingerprint)
                made.append(_finalist(archive, member, fitness, why, method, seed))
                left -= 1
    if not made:
        raise UserError(
            f"no search of {search.name} in {results} has found a cell that passes all screens; "
            f"run rnnbench search {search.name} first"
        )
    if places["finalist"]:
        _, archive, member, method, seed = places["finalist"][0]
        for ancestor in lineage(archive, member)[1:]:
            if ancestor.name not in search.references and ancestor.fingerprint not in taken:
                taken.add(ancestor.fingerprint)
                fitness_of = archive.fitness(ancestor)
                made.append(_finalist(archive, ancestor, fitness_of, "ablation", method, seed))
    return made


def _finalist(
    archive: SearchArchive, member: Member, fitness: float | None, why: str, method: str, seed: int
) -> Finalist:
    name = f"{method}{seed}_{member.name}"
    told = about(archive, member, method, seed)
    text = function_text(member.graph, name, archive.search.inputs, told)
    return Finalist(name, text, fitness, why, method, seed)


def study_of(
    search: Search, asked: Mapping[str, Any], finalists: Sequence[Finalist], file: Path
) -> dict[str, Any]:
    """The study as its YAML says it."""
    own = [typed for typed in search.references.values() if typed not in PEOPLE]
    own = [str(Path(typed).resolve()) if is_file(typed) else typed for typed in own]
    cells = [*PEOPLE, *own, *(f"{file}:{finalist.name}" for finalist in finalists)]
    draws = search.fitness[0].draws
    searched = [f"{key}=choice({','.join(map(str, values))})" for key, values in draws.items()]
    tasks = [list(screen.train) for screen in search.fitness]
    tasks += [list(words) for words in asked["unseen"].values()]
    common = [
        *("hydra/sweeper=random", f"trials={asked['trials']}", f"cell={','.join(cells)}"),
        *(*searched, *asked["train"], "seed=500"),
    ]
    first = asked["first_seed"]
    return {
        "question": f"{search.question} Replication of what was found.",
        "sources": list(search.sources),
        "baseline": search.relative_to,
        "parts": {
            "tuned": {"sweep": common, "variants": tasks},
            "confirmed": {
                "best_of": "tuned",
                "sweep": [f"seed=range({first},{first + asked['seeds']})"],
            },
        },
        "scales": {"smoke": {}, "small": {}, "paper": {}},
        "claims": {**_claims(search, asked, finalists), **search.claims},
    }


def _claims(
    search: Search, asked: Mapping[str, Any], finalists: Sequence[Finalist]
) -> dict[str, Any]:
    """Of every finalist and of the best of random search, on every task: better than GRU and LSTM
    with forget bias 1 on new seeds.
    """
    made: dict[str, Any] = {}
    for label, which in _tasks(search, asked).items():
        for finalist in finalists:
            if finalist.why == "ablation":
                continue
            for other in (search.relative_to, "lstm_b"):
                made[f"{finalist.name}-{other}-{label}"] = {
                    "says": f"{finalist.name} beats {other} on {label}, with new seeds",
                    "source": f"rnnbench search {search.name}, {finalist.method} "
                    f"{finalist.seed}: fitness {finalist.fitness:.4f}",
                    "kind": "better",
                    "where": {**which, "seed": {"min": asked["first_seed"]}},
                    "x": {"cell": finalist.name},
                    "y": {"cell": other},
                    "margin": asked["margin"],
                }
    return made


def _tasks(search: Search, asked: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Label → what tells the runs of a task from those of all others: its name and, where several
    have it, the settings in which they differ.
    """
    words = {screen.name: screen.train for screen in search.fitness} | asked["unseen"]
    tasks = {label: compose(["cell=gru", *of]).task for label, of in words.items()}
    made: dict[str, dict[str, Any]] = {}
    for label, task in tasks.items():
        alike = [other for other in tasks.values() if other["name"] == task["name"]]
        differ = [key for key in task if any(other[key] != task[key] for other in alike)]
        made[label] = {"task": task["name"], **{f"task.{key}": task[key] for key in differ}}
    return made


def shrinkage(
    search: Search, stages: Stages, finalists: Sequence[Finalist], runs: Path
) -> pd.DataFrame:
    """A row per finalist: its fitness in the search, the same of test scores over new seeds, and
    what is left of the lead.
    """
    frame = load(runs)
    new = frame[(frame["seed"] >= _asked(search)["first_seed"]) & (frame["status"] != "failed")]
    rows = []
    for finalist in finalists:
        shares = []
        for screen in search.fitness:
            settings, goal = stages[screen.name].settings, stages[screen.name].goal
            task = _of_task(new, settings.task)
            column = f"test.{screen.metric}" if screen.metric else "value"
            ours, theirs = (
                task[task["cell"] == name][column].mean()
                for name in (finalist.name, search.relative_to)
            )
            shares.append(ours / theirs if goal == "max" else theirs / ours)
        again = min(shares) if shares else float("nan")
        found = finalist.fitness if finalist.fitness is not None else float("nan")
        rows.append(
            {
                "cell": finalist.name,
                "why": finalist.why,
                "fitness": found,
                "new_seeds": again,
                "shrinkage": found - again,
            }
        )
    return pd.DataFrame(rows)


def _of_task(frame: pd.DataFrame, task: Mapping[str, Any]) -> pd.DataFrame:
    """The runs of a task with these settings: there may be others, of another text."""
    found = frame[frame["task"] == task["name"]]
    for key, value in task.items():
        column = f"task.{key}"
        if key not in ("name", "type", "digest") and column in found:
            found = found[found[column].map(repr) == repr(value)]
    return found
