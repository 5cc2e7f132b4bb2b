"""The command that repeats a run, from its settings: `rnnbench train` with whatever differs from
what `configs/` says now.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from rnnbench import catalogue

PLAIN = re.compile(r"[A-Za-z_./][\w./:\-]*")  # what Hydra reads as text without quotes
WORDS = ("null", "true", "false", "nan", "inf")
# of cell, task and optimiser: the choice itself, and what is computed from a file
DERIVED = ("name", "digest")


def command(settings: Mapping[str, Any]) -> str:
    """`rnnbench train cell=… task=… …`, ready for a shell.

    settings: as in a record; KeyError or TypeError if they are others.
    """
    cell, task, optim = settings["cell"], settings["task"], settings["optim"]
    known = cell["name"] in catalogue.choices("cell")
    ours = task["name"] in catalogue.choices("task")
    words = [
        f"cell={cell['name']}" if known else f"cell.step={written(cell['step'])}",
        f"task={task['name']}" if ours else f"task.type={written(task['type'])}",
        f"optim={written(optim['name'])}",
    ]
    base = _defaults(cell["name"] if known else "own", task["name"], optim["name"])
    for section, values in base.items():
        mine = dict(settings[section])
        if section != "engine":  # whose name is a setting like others
            mine = {key: value for key, value in mine.items() if key not in DERIVED}
        if section == "optim":  # which has the numbers of other optimisers too, without values
            mine = {key: value for key, value in mine.items() if key in values or value}
        if not known and section == "cell":
            del mine["step"]
        if not ours and section == "task":
            del mine["type"]
        for key, value in mine.items():
            words += _differing(f"{section}.{key}", value, values.get(key, ...))
    words += [f"seed={settings['seed']}", f"study={settings['study']}"]
    return shlex.join(["rnnbench", "train", *words])


def _differing(key: str, value: Any, default: Any) -> Iterator[str]:
    """key=value where value is not the default; `...`: there is none."""
    if isinstance(value, dict) and isinstance(default, dict):
        for name in value:
            yield from _differing(f"{key}.{name}", value[name], default.get(name, ...))
    elif default is ...:
        open_ = key.startswith(("cell.constants.", "cell.paper.", "optim.constants."))
        added = "" if open_ else "+"
        yield f"{added}{key}={written(value)}"
    elif value != default:
        yield f"{key}={written(value)}"


def written(value: Any) -> str:
    """A value as Hydra reads it back: text that could be something else in quotes."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{written(item)}" for key, item in value.items()) + "}"
    text = str(value)
    if PLAIN.fullmatch(text) and text.lower() not in WORDS:
        return text
    # backslashes count before a quote only
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + found[2].replace("'", "\\'"), text)
    return f"'{escaped}'"


@cache
def _defaults(cell: str, task: str, optim: str) -> dict[str, dict[str, Any]]:
    """The sections of the settings as these choices alone would fill them in."""
    common: Any = OmegaConf.to_container(
        OmegaConf.load(catalogue.config_dir() / "config.yaml"), resolve=False
    )
    known = optim in catalogue.choices("optim")
    chosen: Any = {}
    if task in catalogue.choices("task"):
        chosen = OmegaConf.to_container(
            OmegaConf.load(catalogue.config_dir() / "task" / f"{task}.yaml")
        )
    return {
        "cell": catalogue.read("cell", cell),
        "task": chosen.get("task", {}),
        "model": common["model"] | chosen.get("model", {}),
        "optim": catalogue.read("optim", optim if known else "own"),
        "train": catalogue.read("train", "default") | chosen.get("train", {}),
        "engine": {"name": "auto", **common["engine"]},
    }
