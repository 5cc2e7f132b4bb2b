"""Hydra at the door: from what was typed to frozen settings, and from Hydra's errors to one helpful
line.
"""

import argparse
import os
import re
import shlex
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NoReturn, cast

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rnnbench import catalogue
from rnnbench.errors import UserError, unknown
from rnnbench.runs.records import checked_label
from rnnbench.settings import Cell, Engine, Model, Optim, Paths, Settings, T, Train, typed

SECTIONS = {
    "cell": Cell,
    "model": Model,
    "optim": Optim,
    "train": Train,
    "engine": Engine,
    "paths": Paths,
}
GROUPS = ("cell", "task", "optim", "engine", "debug")
# dictionaries to which anybody may add a key; whether it exists, the cell or the optimiser knows
OPEN = ("cell.constants.", "cell.options.", "cell.paper.", "optim.constants.")
# path/to/file.py:name as a whole value, in quotes or without; no list of several
FILE = re.compile(r"""'[^']*\.py(:\w*)?'|"[^"]*\.py(:\w*)?"|[^'",()\[\]{}]*\.py(:\w*)?""")
OWN = {  # group → the key that names what is one's own
    "cell": "cell.step",
    "task": "task.type",
    "optim": "optim.name",
    "engine": "engine.name",
}
SWEEP = {
    name: f"hydra.launcher.{name}" for name in ("workers", "backend", "pack", "retry", "fail_fast")
}
SWEEP |= {name: f"hydra.sweeper.{name}" for name in ("trials", "sampler")}
SYNONYMS = {  # what others call our keys, by its last part
    "units": "model.hidden",
    "hidden_size": "model.hidden",
    "num_layers": "model.layers",
    "learning_rate": "optim.lr",
    "batch_size": "train.batch",
    "epochs": "train.epochs",
    "dtype": "model.dtype",
    "results": "paths.results",
}
COMMAND = ContextVar("COMMAND", default="rnnbench train")  # what was typed, whole
# what a sweep hands its runs and options to instead of training them: --plan
PLAN: ContextVar[Callable[[Sequence[Any], Any], None] | None] = ContextVar("PLAN", default=None)
Job = Callable[[Settings, list[str]], Any]
Report = Callable[[list[str], Exception | None], Any]


@dataclass(frozen=True)
class _Rest:
    """What stands at the top of the configuration, beside the sections."""

    task: dict[str, Any]
    seed: int
    study: str


def run(
    arguments: Sequence[str],
    job: Job,
    report: Report,
    check: Callable[[Settings], None] = lambda _: None,
) -> None:
    """`rnnbench train …`: Hydra reads the arguments and calls job(settings, overrides), for -m once
    per combination.

    What a job raises goes to report(overrides, error) and does not keep the others from running;
    None: it is done. check: raises what training would, for --cfg, which trains nothing.
    """

    def task(config: DictConfig) -> Any:
        typed = OmegaConf.to_container(HydraConfig.get().overrides.task)  # ${…} as it is
        overrides = cast(list[str], typed)
        try:
            with environment(HYDRA_FULL_ERROR=before):
                job(translated(partial(settings, config), overrides), overrides)
        except Exception as error:
            return report(overrides, error)
        return report(overrides, None)

    flags, overrides = parted(arguments)
    COMMAND.set(f"rnnbench train {shlex.join(arguments)}")
    before = os.environ.get("HYDRA_FULL_ERROR")
    shown = bool({"--cfg", "-c"} & {flag.partition("=")[0] for flag in flags})
    if "--resolve" in flags and not shown:
        raise UserError("--resolve belongs to --cfg: rnnbench train --cfg job --resolve")
    if {"--shell-completion", "-sc"} & set(flags):
        raise UserError("-sc belongs before the verb: rnnbench -sc install=bash (also zsh, fish)")
    if "--experimental-rerun" in " ".join(flags):
        raise UserError("--experimental-rerun repeats nothing here; use rnnbench repeat RUN_DIR")
    many = bool({"-m", "--multirun"} & set(flags))
    if {"--package", "-p"} & set(flags) and not shown:
        raise UserError("--package belongs to --cfg: rnnbench train --cfg job --package optim")
    if shown and not many:
        check(compose(overrides))
    # Hydra makes a folder for -m and writes into it before we have seen the settings. Runs have
    # their own.
    with tempfile.TemporaryDirectory() as scratch:
        line = [
            "rnnbench train",
            f"hydra.sweep.dir='{scratch}'",
            *completed(swept(overrides, many)),
            *flags,  # the last of which may take a word
        ]
        with (
            environment(HYDRA_FULL_ERROR="1"),
            _typed(line),
        ):  # whole exceptions, not a text and exit code 1
            translated(_hydra(task), overrides)


def _hydra(task: Callable[[DictConfig], Any]) -> Callable[[], Any]:
    started: Callable[[], Any] = hydra.main(
        version_base="1.3", config_path=str(catalogue.config_dir()), config_name="config"
    )(task)
    return started


def complete(arguments: Sequence[str], line: str) -> None:
    """Tab completion: Hydra answers how `line` could go on, or prints what the shell has to run
    once.
    """
    try:
        with (
            _typed(["rnnbench", *arguments]),
            environment(COMP_LINE=line, HYDRA_FULL_ERROR="1"),
        ):
            _hydra(lambda _: None)()
    except (ValueError, RuntimeError, HydraException, OmegaConfBaseException) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"cannot complete: {said}; install tab completion with rnnbench -sc install=bash "
            f"(or zsh, fish)"
        ) from None


def compose(overrides: Sequence[str]) -> Settings:
    """The settings that `rnnbench train` would run with these overrides."""

    def composed() -> Settings:
        with hydra.initialize_config_dir(str(catalogue.config_dir()), version_base="1.3"):
            config = hydra.compose("config", completed(overrides), return_hydra_config=True)
            HydraConfig.instance().set_config(config)
            return settings(config)

    return translated(composed, overrides)


def completed(arguments: Sequence[str]) -> list[str]:
    """A cell of one's own (cell=file.py:name, or cell.step=… without cell=…) starts from no other
    cell's settings; new constants may be named.
    """
    step_given = any(a.startswith("cell.step=") for a in arguments)
    own = step_given and not any(a.startswith("cell=") for a in arguments)
    arguments = [_to_the_letter(a) for a in arguments]
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in (*GROUPS, "train") and value in ("null", "[]") and key != "debug":
            raise UserError(
                f"{argument} takes away what every run needs; choose another with {key}=…"
            )
        if value == "???":
            raise UserError(f"{argument} is no value; give it one, or leave it out")
    words: list[str] = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if is_own(key, value):
            words += [f"{k}={v}" for k, v in as_own(key, value).items()]
        else:
            words.append(argument)
    _refuse_two_budgets(words)
    typed_in = any(word.startswith("task.type=") for word in words)
    own_task = typed_in and not any(word.startswith("task=") for word in words)
    open_: tuple[str, ...] = OPEN
    if own_task or any(re.match(r"task=(.*[,\[])?own\b|task=.*\.py", word) for word in words):
        open_ += ("task.",)  # its fields are known when its file is read
    return [
        *(["cell=own"] if own else []),
        *(["task=own"] if own_task else []),
        *(f"++{word}" if word.startswith(open_) else word for word in words),
    ]


def _refuse_two_budgets(words: Sequence[str]) -> None:
    """UserError where both steps and epochs are typed: one would be passed over in silence."""
    budgets = ("train.steps=", "train.epochs=")
    given = [word.lstrip("+") for word in words if word.lstrip("+").startswith(budgets)]
    asked = [word for word in given if not word.endswith("=null")]
    if len({word.partition("=")[0] for word in asked}) > 1:
        raise UserError(
            f"{' and '.join(asked)} both say how long to train: leave one of them out (an epoch is "
            f"one pass over the training data)"
        )


def _to_the_letter(argument: str) -> str:
    """study=2026_11_26 with its value in quotes: Hydra would read a number, 20261126."""
    key, _, value = argument.partition("=")
    if key != "study" or not re.fullmatch(r"[\w.\-+]+(,[\w.\-+]+)*", value):
        return argument
    return "study=" + ",".join(f"'{name}'" for name in value.split(","))


def is_own(key: str, value: str) -> bool:
    """Whether `key=value` chooses one that is not ours: `path/to/file.py:name`, or an optimiser or
    an engine of another package that is installed.
    """
    if key not in OWN:
        return False
    return bool(FILE.fullmatch(value.replace("\\:", ":"))) or value in catalogue.outside(key)


def as_own(key: str, value: str) -> dict[str, str]:
    """What `cell=path/to/file.py:name`, `task=…`, `optim=…` or `engine=…` stands for; Hydra hands
    on the values of lists with backslashes that it does not need.
    """
    return {key: "own", OWN[key]: value.replace("\\:", ":")}


def swept(arguments: Sequence[str], many: bool) -> list[str]:
    """The short names of what belongs to a sweep (workers=2, trials=200, cluster.mem_gb=4) as
    Hydra's; trials= asks for a random search.
    """
    names = [a.partition("=")[0] for a in arguments]
    for argument in arguments:
        if re.match(r"[+~]*hydra\.(run|sweep|job|output_subdir|runtime|mode)\b", argument):
            raise UserError(
                f"{argument.lstrip('+~')} has no effect: runs land in "
                f"paths.results/STUDY/TASK/CELL/ID; leave it out"
            )
    short = [name for name in names if name in SWEEP or name.startswith("cluster.")]
    if short and not many:
        raise UserError(f"{short[0]} belongs to a sweep: rnnbench train -m runs every combination")
    random = {"trials", "sampler"} & set(names) and not any(
        name == "hydra/sweeper" for name in names
    )
    full = [
        f"++hydra.launcher.{a}" if n.startswith("cluster.") else f"{SWEEP.get(n, n)}{a[len(n) :]}"
        for n, a in zip(names, arguments, strict=True)
    ]
    return [*full, *(["hydra/sweeper=random"] if random else [])]


def settings(config: DictConfig) -> Settings:
    """A composed configuration as frozen settings. UserError names the key that is wrong."""
    return settings_of(plain(config), HydraConfig.get().runtime.choices)


def settings_of(values: dict[str, Any], chosen: Mapping[str, str]) -> Settings:
    """Plain values, and which file was chosen of each group, as frozen settings."""
    for name in (*SECTIONS, "task", "seed", "study"):
        if name not in values or (name in GROUPS and name not in chosen):
            raise UserError(
                f"~{name} takes away what every run needs; choose another with {name}=…"
            )
    for name in (*SECTIONS, "task"):
        if not isinstance(values[name], dict):
            raise UserError(
                f"{name} holds several settings, got {values[name]}; choose others with "
                f"{name + '=NAME' if name in GROUPS else name + '.key=value'}"
            )
    for key in ("cell.name", "cell.digest", "task.name", "task.digest", "optim.digest"):
        section, _, name = key.partition(".")
        if name in values[section]:
            raise UserError(f"{key} follows from what is chosen; leave it out")
    step = values["cell"].get("step", "???")
    if step == "???" or not isinstance(step, str):
        raise UserError(
            "cell=own needs cell.step=path/to/file.py:function"
            + ("" if step == "???" else f", got {step}")
        )
    values["cell"]["paper"] = _paper(values["cell"], chosen["cell"])
    values["cell"] |= {
        "name": cell_name(chosen["cell"], step),
        "digest": catalogue.file_digest(step, "cell.step"),
    }
    for key, value in values["task"].items():
        if value == "???":
            example = {"type": "path/to/file.py:Class"}.get(key, "…")
            raise UserError(f"task={chosen['task']} needs task.{key}={example}")
    for group in catalogue.KINDS:
        if values[group].get("name") == "???":
            raise UserError(f"{group}=own needs {OWN[group]}=path/to/file.py:NAME")
    values["optim"]["digest"] = catalogue.file_digest(str(values["optim"]["name"]), "optim.name")
    values["task"]["name"] = task_name(chosen["task"], str(values["task"].get("type")))
    if digest := catalogue.task_digest(values["task"]):
        values["task"]["digest"] = digest
    return frozen(values)


def _paper(cell: Mapping[str, Any], chosen: str) -> Any:
    """The rules of init=paper by family or family.block, which Hydra takes apart at the dot.

    UserError for one that was typed and has no effect.
    """
    if not isinstance(cell.get("paper"), dict):
        return cell.get("paper")  # which is refused as what it is
    rules: dict[str, Any] = {}
    for family, rule in cell["paper"].items():
        named = rule if isinstance(rule, dict) and rule else {"": rule}
        rules |= {f"{family}.{block}".rstrip("."): one for block, one in named.items()}
    scheme = str(cell.get("init")).partition(":")[0]
    stated = _stated(chosen)
    used = ("p",) if scheme != "paper" else tuple(rules)  # diagonals start so with any init
    for key, rule in rules.items():
        if key not in used and stated.get(key) != rule:
            raise UserError(
                f"cell.paper.{key}={rule} has no effect with cell.init={cell.get('init')}; add "
                f"cell.init=paper, or leave it out"
            )
    return rules


@lru_cache(maxsize=1000)  # a sweep asks for each of its runs
def _stated(cell: str) -> dict[str, Any]:
    """The rules of init=paper in the YAML of a cell of ours."""
    known = cell in catalogue.choices("cell")
    return dict(catalogue.read("cell", cell)["paper"]) if known else {}


@lru_cache(maxsize=1000)
def task_name(chosen: str, kind: str) -> str:
    """What a task is called in folders, records and reports; see `cell_name`."""
    if chosen != "own":
        known = catalogue.read("task", chosen) if chosen in catalogue.choices("task") else {}
        if known.get("type", kind) != kind:
            raise UserError(
                f"task.type={kind} would be recorded as task={chosen}; write task={kind}"
            )
        return chosen
    name = re.split(r"[.:]", kind)[-1]
    if name in catalogue.choices("task"):
        raise UserError(f"task.type={kind}: one of our tasks is called '{name}'; rename yours")
    return checked_label(f"task.type={kind}", name)


@lru_cache(maxsize=1000)  # a sweep asks for each of its runs
def cell_name(chosen: str, step: str) -> str:
    """What a cell is called in folders, records and reports; no other cell's equations are called
    like one of ours.
    """
    known = catalogue.step(chosen) if chosen in catalogue.choices("cell") else step
    if chosen != "own" and step != known:
        raise UserError(
            f"cell.step={step} would be recorded as cell={chosen}, whose equations are {known}; "
            f"write cell={step} or, for one that is installed, cell=own cell.step={step}"
        )
    if chosen != "own":
        return chosen
    place, _, name = step.rpartition(":" if ":" in step else ".")
    if name in catalogue.choices("cell") and step != catalogue.step(name):
        name = f"{re.split(r'[./]', place.removesuffix('.py'))[-1]}-{name}"
    return checked_label(f"cell.step={step}", name)


def frozen(values: dict[str, Any]) -> Settings:
    """Plain values, complete, as settings; each of a type and within limits, or a UserError."""
    if "logger" in values:  # like paths, it says nothing of a run's numbers
        values["paths"] = values["paths"] | {"logger": values.pop("logger")}
    parts: dict[str, Any] = {
        name: typed(schema, values.pop(name), name) for name, schema in SECTIONS.items()
    }
    made = typed(_Rest, values, "")
    if made.seed < 0:
        raise UserError(f"seed must be at least 0, got {made.seed}")
    return Settings(
        **parts, task=made.task, seed=made.seed, study=checked_label("study", made.study)
    )


def parted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """(flags and their values, overrides), in whatever order they were typed.

    UserError in place of Hydra's usage.
    """

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; see rnnbench train --help")

    parser: argparse.ArgumentParser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    overrides: list[str] = parser.parse_intermixed_args(arguments).overrides
    for override in overrides:
        if override.startswith("="):
            raise UserError(f"cannot read '{override}': write key=value")
    return [a for a in arguments if a not in overrides], overrides


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """Environment variables while this lasts; None: unset."""
    before = {name: os.environ.pop(name, None) for name in values}
    os.environ |= {name: value for name, value in values.items() if value is not None}
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
        os.environ |= {name: value for name, value in before.items() if value is not None}


@contextmanager
def _typed(arguments: list[str]) -> Iterator[None]:
    """Hydra reads what was typed from sys.argv alone."""
    before, sys.argv = sys.argv, arguments
    try:
        yield
    finally:
        sys.argv = before


def translated(function: Callable[[], T], overrides: Sequence[str]) -> T:
    """What the function returns, or a UserError in place of what Hydra says."""
    try:
        return function()
    except MissingConfigException as error:
        asked = error.missing_cfg_file or ""
        pairs = (word.lstrip("+").partition("=")[::2] for word in overrides)
        meant = next((pair for pair in pairs if "/".join(pair) == asked), None)
        first, _, below = asked.partition("/")
        known = (first, below) if first in GROUPS else asked.rpartition("/")[::2]
        group, name = meant or known
        if error.options is None:
            raise UserError(
                f"no configuration '{name}'; leave --config-name out (--config-dir adds choices "
                f"of yours)"
            ) from None
        raise unknown(
            group,
            name,
            [o for o in error.options if o != "own"],
            f"rnnbench list {group}s" if group in ("cell", "task") else "",
        ) from None
    except OverrideParseException as error:
        raise UserError(_unreadable(error.override)) from None
    except (HydraException, OmegaConfBaseException) as error:
        if found := re.search(r"Ambiguous value for argument '([^']+)'", str(error)):
            raise UserError(
                f"{found[1]} names several values; rnnbench train -m runs every combination"
            ) from None
        if found := re.search(r"Could not override '([^']+)'", str(error)):
            key = found[1]
            if braces := next((o for o in overrides if o.startswith(f"{key}={{")), None):
                raise UserError(
                    f"{braces}: {key} is chosen by a name; its settings are {key}.key=value"
                ) from None
            raise _unknown_key(key, overrides) from None
        if found := re.search(r"Could not delete (?:from config. )?'([^']*)'", str(error)):
            raise UserError(f"~{found[1]}: there is no such key; leave it out") from None
        raise UserError(_named(_line(error), overrides)) from None
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        YAMLError,
    ) as error:
        if not _is_hydras(error):
            raise
        raise UserError(f"cannot read {shlex.join(overrides)}: {_line(error)}") from None
    except RecursionError:
        raise UserError(f"cannot read {shlex.join(overrides)[:80]}…: nested too deeply") from None


def _is_hydras(error: Exception) -> bool:
    """Whether Hydra or what it reads with raised this, over what was typed."""
    frames = traceback.extract_tb(error.__traceback__)
    parts = Path(frames[-1].filename).parts if frames else ()
    return bool({"hydra", "omegaconf", "antlr4", "yaml"} & set(parts))


def _unreadable(override: str) -> str:
    for group in GROUPS:
        if override in catalogue.choices(group):
            return f"cannot read '{override}': did you mean {group}={override}?"
    return (
        f"cannot read '{override}': write key=value, and quote values with spaces, commas or "
        f"brackets"
    )


def _unknown_key(key: str, overrides: Sequence[str]) -> UserError:
    """The error for a key that the chosen groups do not have; other choices may."""
    if key.startswith("hydra."):
        short = {full: name for name, full in SWEEP.items()}.get(key, key)
        return UserError(
            f"unknown key '{short}' (or it has no effect with the hydra/sweeper and "
            f"hydra/launcher that are chosen)"
        )
    GlobalHydra.instance().clear()
    groups = [o for o in completed(overrides) if re.fullmatch(rf"({'|'.join(GROUPS)})=\w+", o)]
    with hydra.initialize_config_dir(str(catalogue.config_dir()), version_base="1.3"):
        config = hydra.compose("config", groups, return_hydra_config=True)
    group, _, name = key.partition(".")
    users = (
        [c for c in catalogue.choices(group) if name in catalogue.read(group, c)]
        if group in GROUPS and name
        else []
    )
    if users:
        return UserError(
            f"{key} has no effect with {group}={config.hydra.runtime.choices[group]}; it belongs "
            f"to {group}={' or '.join(users)}"
        )
    known = list(_flat(plain(config)))
    if key.lower() in (*GROUPS, "train"):
        raise unknown("key", key, [*GROUPS, "train"])
    last = key.rpartition(".")[2]
    meant = SYNONYMS.get(last) or next((k for k in known if k.rpartition(".")[2] == last), None)
    if meant:
        raise UserError(
            f"unknown key '{key}'; did you mean '{meant}'? ({len(known)} keys: "
            f"rnnbench train --cfg job)"
        )
    return unknown("key", key, known, "rnnbench train --cfg job")


def plain(config: DictConfig) -> dict[str, Any]:
    """Our part of a composed configuration."""
    values: Any = OmegaConf.to_container(
        OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]), resolve=True
    )
    return dict(values)


def _flat(values: Any, prefix: str = "") -> Any:
    for key, value in values.items():
        yield from (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [prefix + key]
        )


def _line(error: Exception) -> str:
    said = str(error if str(error) else error.__cause__)
    return " ".join(said.partition("\n    full_key:")[0].split())  # OmegaConf's place in its tree


def _named(message: str, overrides: Sequence[str]) -> str:
    """The message, and what was typed where it does not name key and value of that."""
    typed = [(override.lstrip("+~").partition("="), override) for override in overrides]
    about = [(value, override) for (key, _, value), override in typed if key and key in message]
    if any(value in message for value, _ in about):
        return message
    unresolved = [override for override in overrides if "${" in override]
    meant = unresolved or [override for _, override in about] or overrides
    return f"{message}, got {shlex.join(meant)}"


def _listed(group: str, column: int) -> str:
    """The choices of a group for a help text: wrapped, the following lines indented to `column`."""
    names = ", ".join(name for name in catalogue.choices(group) if name != "own")
    return textwrap.fill(names, 80 - column).replace("\n", "\n" + " " * column)


OmegaConf.register_new_resolver("choices", _listed, replace=True)
