"""A search as it stands in its YAML: tasks, screens, mutations, budget, references. No torch.

Screens stand in order of cost. Each trains a candidate with several settings, drawn from a grid,
and several seeds, as one pack; a candidate goes on if its best setting reaches what the screen
asks, an absolute score or a share of what the reference reached with as many settings. Screens of
`fitness` are the paper's search tasks: fitness is the smallest of their shares.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from rnnbench import catalogue
from rnnbench.claims.checked import Checked
from rnnbench.errors import UserError, unknown
from rnnbench.search.graph import ACTIVATIONS, ELEMENTWISE, Limits
from rnnbench.search.mutate import HOW_MANY, Grammar
from rnnbench.search.writing import INPUTS

METHODS = ("evolution", "aging", "random")
HOURS = "h"
FREE = ("optim.", "cell.init", "cell.forget_bias", "train.input_noise")  # differ within a pack


@dataclass(frozen=True)
class Screen:
    """train: what one would type after `rnnbench train`. draws: key → the values of the grid.

    settings: drawn for a candidate. seeds: of each setting. least: the score that is asked for;
        share: the share of the reference's score; None: nothing is asked.
    metric and its goal, max or min: None: the task's own. fitness: whether it counts in it.
    inherit: the share of settings that a child takes from the best of its parent.
    """

    name: str
    train: tuple[str, ...]
    draws: Mapping[str, tuple[Any, ...]]
    settings: int
    seeds: int
    least: float | None
    share: float | None
    metric: str | None
    goal: str | None
    fitness: bool
    inherit: float

    @property
    def size(self) -> int:
        """The settings of the grid."""
        return prod(map(len, self.draws.values()))

    def values(self, index: int) -> dict[str, str]:
        """One setting of the grid, by its number."""
        found = {}
        for key, values in self.draws.items():
            index, place = divmod(index, len(values))
            found[key] = str(values[place])
        return found


@dataclass(frozen=True)
class Search:
    """keep: members of the list (evolution) or the population (aging). sample: how many of them
    compete to be mutated (aging). again: how often a member is looked at again instead of a new
    candidate (evolution). walk: at most so many mutations make a random candidate.
    round: candidates proposed together; the list depends on it, not on the number of workers.
    through: every so many candidates one goes through all screens, whatever it scores, so that
    screens can be compared with the end; 0: none.
    recipes: a file of cells with published losses, in paths.mirror: these are trained in place of
    candidates, and their scores compared with the losses (`proxies`).
    references: name → one of our cells, or path/to/file.py:name, as it was typed.
    relative_to: the reference whose scores are 1. digest: of all that decides the list.
    """

    name: str
    question: str
    sources: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: int
    budget: str
    references: Mapping[str, str]
    relative_to: str
    inputs: str
    grammar: Grammar
    keep: int
    sample: int
    again: float
    walk: int
    round: int
    through: int
    screens: tuple[Screen, ...]
    replication: Mapping[str, Any]
    claims: Mapping[str, Any]
    digest: str
    recipes: str | None = None

    @property
    def fitness(self) -> tuple[Screen, ...]:
        return tuple(screen for screen in self.screens if screen.fitness)


NEEDS = ("question", "screens")
DEFAULTS: dict[str, Any] = {
    "sources": [],
    "methods": list(METHODS),
    "seeds": 5,
    "budget": "200",
    "references": ["lstm", "gru"],
    "relative_to": "gru",
    "grammar": {},
    "keep": 100,
    "sample": 10,
    "again": 0.5,
    "walk": 10,
    "round": 8,
    "through": 25,
    "train": [],
    "draws": {},
    "replication": {},
    "claims": {},
    "recipes": None,
}
APART = ("question", "sources", "methods", "seeds", "budget", "replication", "claims")
GRAMMAR = ("inputs", "mutate", "activations", "elementwise", "nodes", "products")
SCREEN = ("settings", "seeds", "least", "share", "metric", "goal", "fitness", "inherit", "draws")


def path_of(name: str) -> Path:
    """`configs/searches/NAME.yaml`, or a file of one's own. UserError if there is none."""
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise UserError(
                f"no file '{name}' in {Path.cwd()}; paths are relative to the current folder"
            )
        return path
    known = catalogue.choices("searches")
    if name not in known:
        raise unknown("search", name, known)
    return catalogue.config_dir() / "searches" / f"{name}.yaml"


def read(name: str) -> Search:
    """The search of that name, or that of a file. UserError if anything in it is wrong."""
    path = path_of(name)
    file = Checked(path)
    file.keys("", file.values, NEEDS, DEFAULTS)
    values = DEFAULTS | file.values
    number = _Numbers(file)
    grammar = file.table("grammar", values["grammar"])
    file.keys("grammar", grammar, (), GRAMMAR)
    common = file.texts("train", values["train"])
    draws = _draws(file, "draws", values["draws"])
    tables = file.table("screens", values["screens"])
    screens = tuple(
        _screen(file, number, key, table, common, draws) for key, table in tables.items()
    )
    recipes = None if values["recipes"] is None else file.text("recipes", values["recipes"])
    if recipes is not None and len(screens) != 1:
        raise file.wrong("screens: recipes are trained by one, whose evaluations are the budgets")
    if recipes is None and not any(screen.fitness for screen in screens):
        raise file.wrong("screens: at least one needs fitness: true")
    references = _references(file, values["references"])
    decides = {k: v for k, v in values.items() if k not in APART and v is not None}
    decides |= {t: d for t in references.values() if (d := catalogue.file_digest(t, "references"))}
    return Search(
        name=path.stem,
        question=file.text("question", values["question"]),
        sources=file.texts("sources", values["sources"]),
        methods=tuple(file.one_of("methods", m, METHODS) for m in values["methods"]),
        seeds=number.whole("seeds", values["seeds"], 1),
        budget=checked_budget(str(values["budget"]), f"{path.name}: budget"),
        references=references,
        relative_to=file.one_of("relative_to", values["relative_to"], tuple(references)),
        inputs=file.one_of("grammar.inputs", grammar.get("inputs", INPUTS[0]), INPUTS),
        grammar=_grammar(file, number, grammar),
        keep=number.whole("keep", values["keep"], 1),
        sample=number.whole("sample", values["sample"], 1),
        again=number.share("again", values["again"]),
        walk=number.whole("walk", values["walk"], 1),
        round=number.whole("round", values["round"], 1),
        through=number.whole("through", values["through"], 0),
        screens=screens,
        replication=file.table("replication", values["replication"]),
        claims=file.table("claims", values["claims"]),
        digest=hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12],
        recipes=recipes,
    )


def checked_budget(text: str, key: str) -> str:
    """'300' candidates or '2.5h'; UserError otherwise."""
    number = text.removesuffix(HOURS)
    try:
        fine = float(number) > 0 and (text.endswith(HOURS) or number.isdigit())
    except ValueError:
        fine = False
    if not fine:
        raise UserError(
            f"{key} must be a number of candidates or of hours, 300 or 2h, got '{text}'"
        )
    return text


def _references(file: Checked, values: Any) -> dict[str, str]:
    """The name of each reference → what was typed."""
    found: dict[str, str] = {}
    for typed in file.texts("references", values):
        own = catalogue.is_file(typed)
        name = typed.rpartition(":")[2] if own else typed
        if not own:
            file.one_of("references", typed, tuple(catalogue.cells()))
        elif not name.isidentifier() or name in catalogue.choices("cell"):
            raise file.wrong(
                "references: a cell of a file is path/to/file.py:name, and not called like one of "
                "ours",
                typed,
            )
        if name in found or name.startswith("cell_"):
            raise file.wrong("references: each needs a name of its own", typed)
        found[name] = typed
    if not found:
        raise file.wrong("references is empty; name a cell that the search starts from")
    return found


class _Numbers:
    def __init__(self, file: Checked) -> None:
        self.file = file

    def whole(self, key: str, value: Any, least: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.file.wrong(f"{key} must be a whole number of at least {least}", repr(value))
        return value

    def share(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise self.file.wrong(f"{key} must be between 0 and 1", repr(value))
        return float(value)

    def above(self, key: str, value: Any) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise self.file.wrong(f"{key} must be a number above 0", repr(value))
        return float(value)


def _grammar(file: Checked, number: _Numbers, grammar: Mapping[str, Any]) -> Grammar:
    def chosen(key: str, known: tuple[str, ...]) -> tuple[str, ...]:
        listed = file.items(f"grammar.{key}", grammar.get(key, list(known)))
        if not listed:
            raise file.wrong(f"grammar.{key} is empty; choose some of {', '.join(known)}")
        return tuple(file.one_of(f"grammar.{key}", op, known) for op in listed)

    limits = Limits()
    return Grammar(
        activations=chosen("activations", ACTIVATIONS),
        elementwise=chosen("elementwise", ELEMENTWISE),
        mutate=file.one_of("grammar.mutate", grammar.get("mutate", HOW_MANY[0]), HOW_MANY),
        limits=Limits(
            nodes=number.whole("grammar.nodes", grammar.get("nodes", limits.nodes), 1),
            products=number.whole("grammar.products", grammar.get("products", limits.products), 1),
        ),
    )


def _draws(file: Checked, key: str, values: Any) -> dict[str, tuple[Any, ...]]:
    made = {}
    for name, listed in file.table(key, values).items():
        if not name.startswith(FREE):
            raise file.wrong(
                f"{key}.{name} cannot differ between the settings of a candidate, which are one "
                f"pack; {', '.join(f'{free}*' if free[-1] == '.' else free for free in FREE)} can"
            )
        made[name] = tuple(file.items(f"{key}.{name}", listed))
        if not made[name]:
            raise file.wrong(f"{key}.{name} has no value to draw")
    return made


def _screen(
    file: Checked,
    number: _Numbers,
    name: str,
    given: Any,
    common: tuple[str, ...],
    draws: dict[str, tuple[Any, ...]],
) -> Screen:
    where = f"screens.{name}"
    table = file.table(where, given)
    file.keys(where, table, ("train",), SCREEN)
    made = Screen(
        name=name,
        train=(*common, *file.texts(f"{where}.train", table["train"])),
        draws=_draws(file, f"{where}.draws", table["draws"]) if "draws" in table else draws,
        settings=number.whole(f"{where}.settings", table.get("settings", 1), 1),
        seeds=number.whole(f"{where}.seeds", table.get("seeds", 1), 1),
        least=number.above(f"{where}.least", table.get("least")),
        share=number.above(f"{where}.share", table.get("share")),
        metric=None if table.get("metric") is None else str(table["metric"]),
        goal=None
        if table.get("goal") is None
        else file.one_of(f"{where}.goal", table["goal"], ("max", "min")),
        fitness=file.flag(f"{where}.fitness", table.get("fitness", False)),
        inherit=number.share(f"{where}.inherit", table.get("inherit", 0)),
    )
    if (made.metric is None) != (made.goal is None):
        raise file.wrong(f"{where}.metric and {where}.goal (max or min) are given together")
    if made.settings > made.size:
        raise file.wrong(
            f"{where}.settings: {made.settings} of a grid of {made.size}; draw fewer, or give "
            f"draws more values"
        )
    return made
