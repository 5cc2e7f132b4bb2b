"""A study as it stands in its YAML: the question, the parts to run, the claims to judge, at one of
three scales. No Hydra, no torch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rnnbench import catalogue
from rnnbench.claims.checked import Checked
from rnnbench.errors import UserError, unknown
from rnnbench.plugins import found
from rnnbench.runs.columns import COLUMNS

SCALES = ("smoke", "small", "paper")
DRAWN = re.compile(r"=.*\b(choice|interval|range)\(")
OWN_GOAL = ("value", "valid")  # metrics whose goal the record knows
# column of rnnbench.load → a value, a list of values, or {min: a, max: b}
Filter = Mapping[str, Any]


# Fields of every claim, those that it needs and those that it may have; `ClaimKind` adds its own.
NEEDS = ("says", "source", "kind")
MAY = ("published", "effect", "where", "each", "holds", "differs", "comparable", "budget")


@dataclass(frozen=True)
class Part:
    """Runs. sweeps: of each variant, what one would type after `rnnbench train -m`.

    best_of: the part whose chosen settings these words change; itself a best_of where settings are
        halved: many with a small budget, the best of them with a larger one. best: how many
        settings of each search are chosen, the best by validation first. within: which of its runs
        may be chosen; empty: any.
    """

    name: str
    sweeps: tuple[tuple[str, ...], ...]
    best_of: str | None = None
    best: int = 1
    within: Filter = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Claim:
    """What a paper found, and how our runs judge it.

    Its kind says which fields it uses; the others are empty or None. options: what a kind from
    outside needs beside them.

    margin: in units of the metric, or '5%' of what y scores. holds: in `all` cases of `each`, or in
        `any`. effect: what the paper found, in the units of the margin. comparable: the difference
    from the paper's task or size that keeps these runs from speaking about the claim, as a text or
    task → text; empty if there is none. budget: the claim is about what is reached in so many
    steps, so that its runs may end while still improving.
    """

    id: str
    says: str
    source: str
    published: str
    kind: str
    where: Filter
    each: Mapping[str, tuple[Any, ...]]
    x: Filter
    y: Filter
    groups: tuple[Filter, ...]
    first: Filter
    second: Filter
    metric: str
    goal: str | None
    log: bool
    margin: float | str | None
    relative: str | None
    range: tuple[float, float] | None
    key: str | None
    all: bool
    holds: str
    differs: str
    effect: float | str | None = None
    comparable: str | Mapping[str, str] = ""
    budget: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


FIELDS = {one.name for one in fields(Claim)}


@dataclass(frozen=True)
class Study:
    """label: what its runs carry as `study`: the name at scale small, NAME-SCALE at the others."""

    name: str
    scale: str
    label: str
    question: str
    sources: tuple[str, ...]
    baseline: str | None
    parts: tuple[Part, ...]
    claims: tuple[Claim, ...]

    @property
    def searched(self) -> frozenset[str]:
        """Settings that validation chooses: those drawn by choice(…), interval(…) or range(…) and,
        where settings are halved, the budget, which differs from part to part; seeds aside.
        """
        words = {
            word.partition("=")[0]: word
            for part in self.parts
            for words in part.sweeps
            for word in words
            if DRAWN.search(word) or self._halves(part)
        }
        return frozenset(words) - {"seed"}

    @property
    def search_seeds(self) -> frozenset[int]:
        """Seeds of the parts that draw settings at random: what tells a search's trials from the
        runs that repeat what it chose.
        """
        found: set[int] = set()
        for part in self.parts:
            for words in part.sweeps:
                values = dict(word.split("=", 1) for word in words if "=" in word)
                drawn = any(DRAWN.search(word) for word in words if not word.startswith("seed="))
                if part.best_of is None and drawn:
                    found |= _seeds(values.get("seed", "0"))
        return frozenset(found)

    def _halves(self, part: Part) -> bool:
        """Whether a part runs chosen settings again to choose among them."""
        return part.best_of is not None and any(one.best_of == part.name for one in self.parts)


def _seeds(text: str) -> set[int]:
    """`7`, `1,2`, `choice(1,2)`, `range(3)` or `range(3,9)` as numbers."""
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    return set(range(*numbers)) if text.startswith("range(") else set(numbers)


def read(name: str, scale: str) -> Study:
    """The study `configs/studies/NAME.yaml`, or that of a file of one's own, path/to/file.yaml.

    UserError if anything in it is wrong.
    """
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise UserError(
                f"no file '{name}' in {Path.cwd()}; paths are relative to the current folder"
            )
    elif name in catalogue.choices("studies"):
        path = catalogue.config_dir() / "studies" / f"{name}.yaml"
    else:
        raise unknown("study", name, catalogue.choices("studies"), "rnnbench list studies")
    return _study(Checked(path), scale)


def of_label(label: str) -> Study | None:
    """The study whose runs carry this label, at its scale; None if `configs/studies` has none."""
    known = catalogue.choices("studies")
    if label in known:
        return read(label, "small")
    name, _, scale = label.rpartition("-")
    return read(name, scale) if name in known and scale in SCALES else None


def _study(file: Checked, scale: str) -> Study:
    name, values = file.path.stem, dict(file.values)
    file.keys("", values, ("question", "parts", "scales"), ("sources", "baseline", "claims"))
    values = file.filled("", values, _scales(file, values.pop("scales"))[scale])
    parts, claims = (file.table(key, values.get(key) or {}) for key in ("parts", "claims"))
    if not parts:
        raise file.wrong("parts is empty; a study has runs")
    return Study(
        name,
        scale,
        name if scale == "small" else f"{name}-{scale}",
        file.text("question", values["question"]),
        file.texts("sources", values.get("sources") or []),
        None if values.get("baseline") is None else file.text("baseline", values["baseline"]),
        tuple(_part(file, part, values, parts) for part, values in parts.items()),
        tuple(_claim(file, claim, values) for claim, values in claims.items()),
    )


def _scales(file: Checked, values: Any) -> dict[str, dict[str, Any]]:
    """Scale → name → value; every scale has the same names."""
    scales = file.table("scales", values)
    file.keys("scales", scales, (), SCALES)
    scales = {scale: file.table(f"scales.{scale}", scales.get(scale)) for scale in SCALES}
    for scale in SCALES:
        for name in dict.fromkeys(name for of in scales.values() for name in of):
            if name not in scales[scale]:
                raise file.wrong(
                    f"scales.{scale} says nothing of '{name}'; give it a value there, as the "
                    f"other scales do"
                )
            if not isinstance(scales[scale][name], (int, float, str, list)):
                raise file.wrong(
                    f"scales.{scale}.{name} must be a number, a text or a list",
                    repr(scales[scale][name]),
                )
    return scales


def _part(file: Checked, name: str, values: Any, parts: Mapping[str, Any]) -> Part:
    where = f"parts.{name}"
    values = file.table(where, values)
    file.keys(where, values, ("sweep",), ("variants", "best_of", "best", "within"))
    if (searched := values.get("best_of")) is not None:
        earlier = list(parts)[: list(parts).index(name)]
        if searched not in earlier:
            raise file.wrong(
                f"{where}.best_of must name a part before it "
                f"({', '.join(earlier) or 'there is none'})",
                repr(searched),
            )
    best = values.get("best", 1)
    if type(best) is not int or best < 1 or (best > 1 and searched is None):
        raise file.wrong(
            f"{where}.best must be how many settings of best_of are run again, at least 1",
            repr(best),
        )
    within = file.filter(f"{where}.within", values.get("within", {}))
    if within and searched is None:
        raise file.wrong(f"{where}.within belongs to a part with best_of", repr(within))
    common = _words(file, f"{where}.sweep", values["sweep"])
    variants = file.items(f"{where}.variants", values.get("variants", [[]]))
    return Part(
        name,
        tuple((*common, *_words(file, f"{where}.variants", words)) for words in variants),
        searched,
        best,
        within,
    )


def _words(file: Checked, where: str, values: Any) -> tuple[str, ...]:
    words = file.texts(where, values)
    for word in words:
        if word.startswith("study="):
            raise file.wrong(
                f"{where} must leave study out, which follows from file and scale", repr(word)
            )
        if "=" not in word and word[:1] != "~":
            raise file.wrong(
                f"{where} must be a list of key=value, as after rnnbench train -m", repr(word)
            )
    return words


def _claim(file: Checked, name: str, values: Any) -> Claim:
    where = f"claims.{name}"
    values = file.table(where, values)
    known = found("rnnbench.claims.kinds", "KIND")
    if (name_of := values.get("kind")) not in known:
        raise file.wrong(f"{where}.kind: {unknown('kind', str(name_of), known)}")
    kind = known[name_of]
    needs, may = (*NEEDS, *kind.needs), (*MAY, *kind.may)
    file.keys(where, values, needs, may, f" of a claim of kind {name_of}")

    def taken(check: Any, key: str, default: Any) -> Any:
        return check(f"{where}.{key}", values[key]) if values.get(key) is not None else default

    made = Claim(
        id=name,
        kind=name_of,
        says=taken(file.text, "says", ""),
        source=taken(file.text, "source", ""),
        published=taken(file.text, "published", ""),
        where=taken(file.filter, "where", {}),
        each={
            key: tuple(file.items(f"{where}.each.{key}", of))
            for key, of in taken(file.table, "each", {}).items()
        },
        x=taken(file.filter, "x", {}),
        y=taken(file.filter, "y", {}),
        groups=tuple(
            file.filter(f"{where}.groups", group) for group in taken(file.items, "groups", ())
        ),
        first=taken(file.filter, "first", {}),
        second=taken(file.filter, "second", {}),
        metric=taken(file.text, "metric", "value"),
        goal=taken(lambda key, value: file.one_of(key, value, ("min", "max")), "goal", None),
        log=taken(file.flag, "log", False),
        margin=taken(file.margin, "margin", None),
        relative=taken(file.text, "relative", None),
        range=taken(file.span, "range", None),
        key=taken(file.text, "key", None),
        all=taken(file.flag, "all", False),
        holds=taken(lambda key, value: file.one_of(key, value, ("all", "any")), "holds", "all"),
        differs=taken(file.text, "differs", ""),
        effect=taken(file.margin, "effect", None),
        comparable=taken(file.text_or_table, "comparable", ""),
        budget=taken(file.flag, "budget", False),
        options={key: value for key, value in values.items() if key not in FIELDS},
    )
    if made.effect is not None and ("%" in str(made.effect)) != ("%" in str(made.margin)):
        raise file.wrong(
            f"{where}.effect must be in the units of the margin: both numbers, or both shares such "
            f"as '5%'",
            str(made.effect),
        )
    for key, column in (("metric", made.metric), ("relative", made.relative)):
        if column is not None and "." not in column and column not in COLUMNS:
            near = f"; a score is test.{column} or final.{column}"
            raise file.wrong(f"{where}.{key} must be a column of the table of runs{near}", column)
    if wrong := kind.check(made):
        raise file.wrong(f"{where}.{wrong}")
    return made
