"""Hydra at the door: from what was typed to frozen settings, and from Hydra's errors to one helpful line."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnnbench import catalogue
from rnnbench.errors import UserError, unknown
from rnnbench.records import checked_label
from rnnbench.settings import Cell, Engine, Model, Optim, Paths, Settings, Train, typed

SECTIONS = {"cell": Cell, "model": Model, "optim": Optim, "train": Train, "engine": Engine, "paths": Paths}
Job = Callable[[Settings, list[str]], Any]


@dataclass(frozen=True)
class _Rest:
    """What stands at the top of the configuration, beside the sections."""

    task: dict[str, Any]
    seed: int
    study: str


def run(arguments: Sequence[str], job: Job) -> None:
    """`rnnbench train …`: Hydra reads the arguments and calls job(settings, overrides), for -m once per combination."""

    def task(config: DictConfig) -> Any:
        return job(settings(config), list(HydraConfig.get().overrides.task))

    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach us whole, instead of a text and exit code 1
    sys.argv = ["rnnbench train", *completed(arguments)]
    _translated(hydra.main(version_base="1.3", config_path=str(catalogue.config_dir()), config_name="config")(task), arguments)


def compose(overrides: Sequence[str]) -> Settings:
    """The settings that `rnnbench train` would run with these overrides."""

    def composed() -> Settings:
        with hydra.initialize_config_dir(str(catalogue.config_dir()), version_base="1.3"):
            config = hydra.compose("config", completed(overrides), return_hydra_config=True)
            HydraConfig.instance().set_config(config)
            return settings(config)

    return _translated(composed, overrides)


def completed(arguments: Sequence[str]) -> list[str]:
    """A cell of one's own (cell.step=…) without cell=… starts from no other cell's settings."""
    own = any(a.startswith("cell.step=") for a in arguments) and not any(a.startswith("cell=") for a in arguments)
    return [*(["cell=own"] if own else []), *arguments]


def settings(config: DictConfig) -> Settings:
    """A composed configuration as frozen settings. UserError names the key that is wrong."""
    values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    values.pop("hydra", None)
    chosen = HydraConfig.get().runtime.choices
    step = values["cell"].get("step", "???")
    if step == "???":
        raise UserError("cell=own needs cell.step=path/to/file.py:function")
    values["cell"] |= {"name": chosen["cell"], "digest": catalogue.file_digest(step)}
    if chosen["cell"] == "own":
        values["cell"]["name"] = checked_label("cell.step", re.split(r"[.:]", step)[-1])
    values["task"]["name"] = chosen["task"]
    if Path(corpus := str(values["task"].get("corpus", ""))).expanduser().is_file():  # a text of the user's is its content
        values["task"]["digest"] = catalogue.file_digest(f"{corpus}:text")
    parts: dict[str, Any] = {name: typed(schema, values.pop(name), name) for name, schema in SECTIONS.items()}
    made = typed(_Rest, values, "the configuration")
    if made.seed < 0:
        raise UserError(f"seed must be at least 0, got {made.seed}")
    return Settings(**parts, task=made.task, seed=made.seed, study=checked_label("study", made.study))


def _translated(function: Callable[[], Any], overrides: Sequence[str]) -> Any:
    try:
        return function()
    except MissingConfigException as error:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        if error.options is None:
            raise UserError(_line(error)) from None
        options = [o for o in error.options if o != "own"]
        raise unknown(group, name, options, f"rnnbench list {group}s" if group in ("cell", "task") else "") from None
    except OverrideParseException as error:
        raise UserError(f"cannot read '{error.override}': write key=value, and quote values with spaces, commas or brackets") from None
    except (HydraException, OmegaConfBaseException) as error:
        found = re.search(r"Could not override '([^']+)'", str(error))
        if found is None:
            raise UserError(_line(error)) from None
        raise unknown("key", found[1], _keys(overrides), "rnnbench train --cfg job") from None


def _keys(overrides: Sequence[str]) -> list[str]:
    """The keys that exist with the groups chosen."""
    GlobalHydra.instance().clear()
    groups = [o for o in completed(overrides) if re.fullmatch(r"(cell|task|optim|engine|debug)=[\w]+", o)]
    with hydra.initialize_config_dir(str(catalogue.config_dir()), version_base="1.3"):
        return list(_flat(OmegaConf.to_container(hydra.compose("config", groups))))


def _flat(values: Any, prefix: str = "") -> Any:
    for key, value in values.items():
        yield from _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [prefix + key]


def _line(error: Exception) -> str:
    return " ".join(str(error if str(error) else error.__cause__).split())
