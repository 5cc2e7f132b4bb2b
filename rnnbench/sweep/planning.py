"""Jobs become frozen settings: each distinct choice of groups is composed once by Hydra, all other values are put in as data.

Hydra needs some 30 ms to compose one configuration; this way thousands of runs are planned in seconds.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from rnnbench.compose import plain, settings_of
from rnnbench.settings import Settings
from rnnbench.sweep.expand import Axis, Choices, axes

Compose = Callable[[Sequence[str]], DictConfig]  # overrides → the whole configuration, Hydra's part included


@dataclass(frozen=True)
class Job:
    """One run of a sweep, and what one would type for it alone."""

    settings: Settings
    overrides: tuple[str, ...]


def jobs_of(arguments: Sequence[str], loader: ConfigLoader, draw: Callable[[Sequence[Axis]], Iterable[Choices]]) -> list[Choices]:
    """What was typed for -m as jobs; draw makes them from the swept keys."""
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
    return list(draw(axes(overrides, lambda key: bool(loader.get_group_options(key)))))


def groups_in(jobs: Sequence[Choices], loader: ConfigLoader) -> set[str]:
    """The keys that Hydra must compose: those that choose files, add or remove keys, or refer to other keys."""
    keys = {key for job in jobs for key in job}
    return {
        key
        for key in keys
        if key[0] in "+~" or key == "cell.step" or loader.get_group_options(key.partition("@")[0]) or any("${" in job.get(key, "") for job in jobs)
    }


def planned(jobs: Sequence[Choices], groups: set[str], compose: Compose) -> list[Job]:
    """The settings of every job. groups: the keys whose values choose files, or change which keys there are.

    Raises UserError, or Hydra's errors, for what cannot be composed.
    """
    bases: dict[tuple[str, ...], tuple[str, dict[str, str]]] = {}
    made = []
    for job in jobs:
        overrides = tuple(f"{key}={value}" for key, value in job.items())
        chosen = tuple(o for o in overrides if o.partition("=")[0] in groups)
        if chosen not in bases:  # composed with the values of its first job, so that Hydra checks every key
            config = compose(overrides)
            bases[chosen] = json.dumps(plain(config)), dict(config.hydra.runtime.choices)
        text, choices = bases[chosen]
        values = json.loads(text)
        for key, value in job.items():
            if key not in groups:
                _put(values, key, _parsed(key, value))
        made.append(Job(settings_of(values, choices), overrides))
    return made


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, name = key.split(".")
    for parent in parents:
        values = values[parent]
    values[name] = value


@lru_cache(maxsize=100_000)
def _parsed(key: str, value: str) -> Any:
    """A value as Hydra reads it."""
    return OverridesParser.create().parse_override(f"{key}={value}").value()
