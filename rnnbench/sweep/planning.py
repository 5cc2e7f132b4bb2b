"""Jobs become frozen settings: each distinct choice of groups is composed once by Hydra, all other
values are put in as data.

Hydra needs some 30 ms to compose one configuration; this way thousands of runs are planned in
seconds.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from rnnbench.compose import OPEN, OWN, as_own, frozen, is_own, plain, settings_of
from rnnbench.errors import UserError, unknown
from rnnbench.runs.records import Folder
from rnnbench.settings import Cell, Settings
from rnnbench.sweep import expand
from rnnbench.sweep.expand import Choices, SweptKey, axes

NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
# overrides → the whole configuration, Hydra's part included
Compose = Callable[[Sequence[str]], DictConfig]


@dataclass(frozen=True)
class Job:
    """One run of a sweep, and what one would type for it alone."""

    settings: Settings
    overrides: tuple[str, ...]

    @cached_property
    def folder(self) -> Folder:
        """Where it lands: a hash of its settings, which a sweep of thousands asks for often."""
        return Folder.of(self.settings)


def jobs_of(
    arguments: Sequence[str],
    loader: ConfigLoader,
    draw: Callable[[Sequence[SweptKey]], Iterable[Choices]],
) -> list[Choices]:
    """What was typed for -m as jobs; draw makes them from the swept keys."""
    drawn = draw(axes(arguments, partial(is_group, loader), loader))
    return [with_own(job) for job in drawn]


def with_own(job: Choices) -> Choices:
    """The job with what is not ours (`cell=path/to/file.py:name`) in the words that Hydra reads."""
    made: Choices = {}
    for key, value in job.items():
        own = is_own(key, value)
        if own and OWN[key] in job:
            raise UserError(f"{key}={value} says already what {OWN[key]}={job[OWN[key]]} says")
        made |= as_own(key, value) if own else {key: value}
    return made


def typed(job: Choices) -> tuple[str, ...]:
    """A job as overrides; ~key takes a key away and has no value."""
    return tuple(
        key if key[0] == "~" and not value else f"{key}={value}" for key, value in job.items()
    )


@lru_cache(maxsize=1000)  # Hydra looks into folders, and a search has thousands of values a key
def is_group(loader: ConfigLoader, key: str) -> bool:
    """Whether a key chooses among files."""
    return bool(loader.get_group_options(key))


def groups_in(jobs: Sequence[Choices], loader: ConfigLoader) -> set[str]:
    """The keys that Hydra must compose: those that choose files, add, remove or merge keys, or
    refer to other keys.
    """
    added = tuple(f"++{prefix}" for prefix in OPEN)

    def composes(key: str, value: str) -> bool:
        if "${" in value or value.startswith("{"):
            return True
        if key.startswith(("+", "~")) and not key.startswith(added):
            return True
        return key in OWN.values() or is_group(loader, key.partition("@")[0])

    pairs = {pair for job in jobs for pair in job.items()}
    return {key for key, value in pairs if composes(key, value)}


def planned(jobs: Sequence[Choices], groups: set[str], compose: Compose) -> list[Job]:
    """The settings of every job.

    groups: the keys whose values choose files, or change which keys there are.

    Raises UserError, or Hydra's errors, for what cannot be composed.
    """
    bases: dict[tuple[str, ...], tuple[str, dict[str, str], bool]] = {}
    keys = {key for job in jobs for key in job}
    varying = {key for key in keys if len({job.get(key) for job in jobs}) > 1}
    made = []
    for job in jobs:
        chosen = typed({key: value for key, value in job.items() if key in groups})
        if (
            chosen not in bases or bases[chosen][2]
        ):  # with the values of its first job, so that Hydra checks every key
            config = compose(typed(job))
            bases[chosen] = (
                json.dumps(plain(config)),
                dict(config.hydra.runtime.choices),
                _refers(config),
            )
        text, choices, _ = bases[chosen]
        values = json.loads(text)
        for key, value in job.items():
            if key not in groups:
                _put(values, key.lstrip("+"), _parsed(key, value))
        if "study" in job:
            values["study"] = job["study"].strip("'\"")  # to the letter: 1e5 is no number here
        try:
            made.append(Job(settings_of(values, choices), typed(job)))
        except UserError as refused:
            which = " ".join(typed({key: value for key, value in job.items() if key in varying}))
            raise UserError(f"{which}: {refused}" if which else str(refused)) from None
    refuse_two_of_one_name(made)
    return made


def refuse_two_of_one_name(jobs: Iterable[Job]) -> None:
    """Different cells of the user's that would stand in one row, because they are called alike."""
    seen: dict[str, Cell] = {}
    for cell in (job.settings.cell for job in jobs):
        first = seen.setdefault(cell.name, cell)
        if (first.digest or first.step) != (cell.digest or cell.step):
            raise UserError(
                f"{first.step} and {cell.step} are both called '{cell.name}'; give one of the "
                f"functions another name"
            )


def changed(job: Job, values: Choices) -> Job:
    """The run with other values and nothing else: no file is chosen anew.

    UserError for what cannot be.
    """
    settings = asdict(job.settings)
    try:
        for key, value in values.items():
            _put(settings, key, _parsed(key, value))
    except KeyError as missing:
        raise unknown("key", str(missing.args[0]), settings) from None
    words = [word.partition("=") for word in job.overrides]
    given = {key: value for key, _, value in words}
    return Job(frozen(settings), typed(given | values))


def _refers(config: DictConfig) -> bool:
    """Whether a value follows from another key's, so that each job must be composed.

    The environment is the same for all.
    """
    texts = json.dumps(
        OmegaConf.to_container(
            OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]),
            resolve=False,
        )
    )
    return "${" in texts.replace("${oc.env:", "")


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, name = key.split(".")
    for parent in parents:
        values = values[parent]
    values[name] = value


@lru_cache(maxsize=100_000)
def _parsed(key: str, value: str) -> Any:
    """A value as Hydra reads it, whose grammar takes half a millisecond for a number."""
    if NUMBER.fullmatch(value):
        return float(value) if set(value) & set(".eE") else int(value)
    return expand.value(value)
