"""What can be set, with types and limits: YAML and overrides go in, frozen values come out.

Configuration ends here: nothing behind this module sees a DictConfig. Every key is consumed or
    refused. No torch.
"""

import dataclasses
import json
import math
import os
import re
import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from rnnbench import catalogue
from rnnbench.errors import UserError, unknown
from rnnbench.formatting import printable

T = TypeVar("T")


@dataclass(frozen=True)
class ForgetGate:
    """The bias that decides what is kept. sign: 1 where raising it keeps the memory, else -1."""

    bias: str
    sign: int


@dataclass(frozen=True)
class Start:
    """How weights start: the name of a scheme, and the number behind its colon."""

    scheme: str
    number: float | None


@dataclass(frozen=True)
class Cell:
    """Which equations, and how their parameters start.

    step: `package.module.function` or `path/to/file.py:function`.
    forget: the bias that keeps the memory when it is raised (+f) or lowered (-z); None: no gate
        does.
    write: the bias of the gate that admits new content, where it is a gate of its own (chrono sets
        it to minus forget).
    paper: family or family.block → rule, what `init=paper` means for this cell.
    constants: numbers, and options: words, that the equations or the layer leave open.
    """

    name: str
    step: str
    forget: str | None
    write: str | None
    init: str
    forget_bias: float | None
    paper: dict[str, str]
    constants: dict[str, float]
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    # SHA-256 of a user's file, filled in; it makes an edited cell another run
    digest: str | None = None

    def __post_init__(self) -> None:
        within("cell", self, forget_bias=(-1e6, 1e6))
        _ = self.start  # is refused here, if at all

    @cached_property
    def forget_gate(self) -> ForgetGate | None:
        """`forget`, read."""
        if self.forget is None:
            return None
        return ForgetGate(self.forget.lstrip("+-"), -1 if self.forget.startswith("-") else 1)

    @cached_property
    def start(self) -> Start:
        """`init`, read."""
        scheme, colon, number = self.init.partition(":")
        if not colon:
            return Start(scheme, None)
        found = _positive(number)
        if found is None:
            raise UserError(
                f"cell.init={self.init}: after the colon stands a positive number, as in "
                f"{scheme}:1, got '{number}'"
            )
        return Start(scheme, found)


BLOCKS = ("plain", "residual")


@dataclass(frozen=True)
class Model:
    """hidden: units per layer. match: 'params:20000' solves the width instead, 'flops:40000' too.

    dropout: between layers. block: residual puts a norm before, a gate behind and a sum around
    every layer. bidirectional: a second set of layers reads the sequence from its end.
    recurrent_dropout: of what recurrent matrices multiply, one mask a sequence; zoneout: of changes
    of the states, at every step.
    """

    hidden: int
    layers: int
    match: str | None
    dropout: float
    dtype: str
    block: str = "plain"
    bidirectional: bool = False
    recurrent_dropout: float = 0.0
    zoneout: float = 0.0

    def __post_init__(self) -> None:
        within("model", self, hidden=(1, None), layers=(1, 1000), dropout=(0, 0.999))
        within("model", self, recurrent_dropout=(0, 0.999), zoneout=(0, 0.999))
        one_of("model.dtype", self.dtype, ("float32", "float64"))
        one_of("model.block", self.block, BLOCKS)
        if self.dropout and self.layers == 1:
            raise UserError(
                "model.dropout acts between layers; with model.layers=1 it has no effect, set it "
                "to 0 or add a layer"
            )
        _ = self.matched  # is refused here, if at all

    @cached_property
    def matched(self) -> "Matched | None":
        """What the network shall come to, whatever its width: `match`, read."""
        return matched(self.match)


class Matched(NamedTuple):
    """kind: params, trainable numbers; flops, a step of one sequence, forward. wanted: so many."""

    kind: str
    wanted: int

    @property
    def parameters(self) -> int:
        """About so many: a weight is a multiplication and an addition."""
        return self.wanted if self.kind == "params" else max(self.wanted // 2, 1)


def matched(match: str | None) -> Matched | None:
    """What `params:N` or `flops:N` asks for. Raises UserError for anything else but None."""
    if match is None:
        return None
    kind, _, number = match.partition(":")
    if kind not in ("params", "flops") or not re.fullmatch(r"0*[1-9][0-9]{,11}", number):
        raise UserError(
            f"model.match must be null, params:N or flops:N with N between 1 and {10**12 - 1:g}, "
            f"got '{match}'"
        )
    return Matched(kind, int(number))


def _positive(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


SCHEDULES = {
    "constant": (),
    "cosine": (),
    "step": ("factor", "every"),
    "plateau": ("factor", "wait"),
}


@dataclass(frozen=True)
class Optim:
    """Optimiser, clipping and the course of the learning rate.

    schedule: constant; cosine: down to zero after the last step; step: times `factor` every `every`
        steps; plateau: times `factor` after each evaluation that is more than `wait` evaluations
        after the last better one. dampen: the rate is times 1 - momentum, so that both can be
        searched for independently (Greff et al., 2017).
    name: of one that is installed, or `path/to/file.py:NAME`. constants: numbers that one from
        outside leaves open. digest: SHA-256 of a user's file, filled in.
    """

    name: str
    lr: float
    clip_norm: float | None
    clip_value: float | None
    schedule: str
    momentum: float | None = None
    dampen: bool | None = None
    decay: float | None = None
    beta1: float | None = None
    beta2: float | None = None
    eps: float | None = None
    factor: float | None = None
    every: int | None = None
    wait: int | None = None
    constants: dict[str, float] = dataclasses.field(default_factory=dict)
    digest: str | None = None

    def __post_init__(self) -> None:
        rule = catalogue.kind("optim", self.name)
        one_of("optim.schedule", self.schedule, SCHEDULES)
        below_one = (0, 1 - 1e-9)
        within(
            "optim",
            self,
            lr=(1e-30, None),
            momentum=below_one,
            decay=below_one,
            beta1=below_one,
            beta2=below_one,
            eps=(0, 1),
        )
        within(
            "optim",
            self,
            clip_norm=(1e-30, None),
            clip_value=(1e-30, None),
            factor=(1e-9, 1),
            every=(1, None),
            wait=(0, None),
        )
        rules = {name: one.numbers for name, one in catalogue.kinds("optim").items()}
        self._complete(f"optim={self.name}", rules, rule.numbers)
        self._complete(f"optim.schedule={self.schedule}", SCHEDULES, SCHEDULES[self.schedule])
        for key in self.constants.keys() - rule.constants.keys():
            raise UserError(
                f"optim.constants.{key} has no effect with optim={self.name}, which has "
                f"{', '.join(rule.constants) or 'none'}; leave it out"
            )

    def _complete(
        self, chosen: str, table: Mapping[str, Sequence[str]], needed: Sequence[str]
    ) -> None:
        for key in sorted({k for keys in table.values() for k in keys}):
            if key in needed and getattr(self, key) is None:
                raise UserError(f"{chosen} needs optim.{key}")
            if key not in needed and getattr(self, key) is not None:
                users = " or ".join(n for n, keys in table.items() if key in keys)
                raise UserError(
                    f"optim.{key} has no effect with {chosen}; remove it or choose {users}"
                )


@dataclass(frozen=True)
class Train:
    """Budget and evaluation schedule, in optimiser steps or, where training data are
    finite, in epochs.

    steps: the budget, unless `epochs` is given. epochs: how often the training data are seen.
    batch and eval_batch: sequences per step, and per batch of validation and test. eval_every:
        steps between validations, or `epoch`. eval_limit: at most so many batches of validation
        and test, for debugging. patience: stop after so many evaluations without a better one.
        stop_at_target: end as soon as validation reaches the task's target. input_noise: standard
        deviation of Gaussian noise on real-valued inputs. checkpoint_every: steps.
    weight_noise: standard deviation of Gaussian noise on every parameter, drawn anew at each step
        for the gradient alone (Graves, 2011, Practical variational inference for neural networks).
    probe_every: look inside (`training.look`) at validations whose step
        is a multiple of it.
    """

    steps: int
    batch: int
    eval_every: int | str
    eval_batch: int
    eval_limit: int | None
    patience: int | None
    stop_at_target: bool
    input_noise: float
    checkpoint_every: int
    probe_every: int | None = None
    epochs: int | None = None
    weight_noise: float = 0.0

    def __post_init__(self) -> None:
        least = {f.name: (1.0, None) for f in dataclasses.fields(self)}
        del least["stop_at_target"]
        if isinstance(self.eval_every, str):
            if self.eval_every != "epoch":
                raise UserError(
                    f"train.eval_every must be a whole number of steps or 'epoch', got "
                    f"'{self.eval_every}'"
                )
            del least["eval_every"]
        within("train", self, **least | {"input_noise": (0, 1e6), "weight_noise": (0, 1e6)})


@dataclass(frozen=True)
class Engine:
    """How the numbers are computed; never what they are.

    threads: null leaves the choice to PyTorch.
    """

    name: str
    device: str
    threads: int | None

    def __post_init__(self) -> None:
        within("engine", self, threads=(1, None))


LOGGERS = ("tensorboard", "csv", "wandb", "mlflow")


@dataclass(frozen=True)
class Paths:
    """results: where runs land. data: the cache of data files.

    mirror: a folder or URL asked before the internet. logger: who is told of a run while it
        trains, one of LOGGERS, a list of them, or none; typed as `logger=`.
    """

    results: str
    data: str
    mirror: str | None
    logger: Any = "tensorboard"

    @property
    def loggers(self) -> tuple[str, ...]:
        """The same as names."""
        if self.logger in (None, "none"):
            return ()
        return (self.logger,) if isinstance(self.logger, str) else tuple(self.logger)

    def __post_init__(self) -> None:
        if self.logger is not None and not isinstance(self.logger, (str, list, tuple)):
            raise UserError(f"logger must be a name or a list of names, got {self.logger}")
        for name in self.loggers:
            one_of("logger", str(name), LOGGERS)
        for key, place in (("results", self.results), ("data", self.data)):
            if not place.strip() or "://" in place or "\0" in place:
                raise UserError(f"paths.{key} must be a folder of this machine, got '{place}'")
            refuse_long(f"paths.{key}", place)
        mirror = self.mirror or ""
        if "\0" in mirror or not re.match(r"https?://|file://|(?!.*://)", mirror):
            raise UserError(
                f"paths.mirror must be null, a folder, or a URL that begins with https://, http:// "
                f"or file://, got '{mirror}'"
            )


@dataclass(frozen=True)
class Settings:
    """One run, completely. task: its `type`, its name and its own fields."""

    cell: Cell
    task: dict[str, Any]
    model: Model
    optim: Optim
    train: Train
    engine: Engine
    paths: Paths
    seed: int
    study: str


# what may differ in a pack, besides the keys below
FREE = {"seed", "optim", "engine", "paths", "study"}
FREE_CELL, FREE_TRAIN = {"init", "forget_bias", "name"}, {"input_noise"}


def shape(settings: Settings) -> dict[str, Any]:
    """What runs must share to be trained as one pack."""
    values = {key: value for key, value in dataclasses.asdict(settings).items() if key not in FREE}
    values["cell"] = {k: v for k, v in values["cell"].items() if k not in FREE_CELL}
    values["train"] = {k: v for k, v in values["train"].items() if k not in FREE_TRAIN}
    return values | {"optimizer": settings.optim.name}


def typed(schema: type[T], values: Any, where: str) -> T:
    """`values` as an instance of the dataclass `schema`.

    UserError, naming `where.key`, if a key or a type is wrong.
    """
    values = (
        OmegaConf.to_container(values, resolve=True) if isinstance(values, DictConfig) else values
    )
    made: T = _typed(cast(Hashable, schema), _Given(json.dumps(values), values), where)
    return made


@dataclass(frozen=True)
class _Given:
    """Values, and the text by which they are known again."""

    text: str
    values: Any = dataclasses.field(compare=False)


@lru_cache(maxsize=10_000)  # a sweep's runs share most of their sections
def _typed(schema: Any, given: _Given, where: str) -> Any:
    values, text = given.values, given.text
    if not isinstance(values, dict):
        raise UserError(f"{where} holds several settings, got {_found(values, '')}; leave it out")
    kinds, prefix = _kinds(schema), f"{where}." if where else ""
    for key in values:
        if key not in kinds:
            raise unknown("key", f"{prefix}{key}", [prefix + name for name in kinds])
        refuse_unusable(f"{prefix}{key}", values[key], kinds[key])
    whole = _required(schema) <= values.keys() <= _given(schema)
    plain = "${" not in text and "???" not in text
    if whole and plain and all(_is(value, kinds[key]) for key, value in values.items()):
        return schema(**values)  # nothing is left to convert, which takes a millisecond
    try:
        made = OmegaConf.merge(OmegaConf.structured(schema), values)
        return OmegaConf.to_object(made)
    except MissingMandatoryValue as error:
        raise UserError(f"{prefix}{error.full_key} has no value; give it one") from None
    except OmegaConfBaseException as error:
        key = error.full_key or ""
        raise UserError(
            f"{prefix}{key} must be {_expected(schema, key)}, got {_found(values, key)}"
        ) from None


def refuse_unusable(key: str, value: Any, kinds: Sequence[Any]) -> None:
    """Refuse numbers that nothing can be done with (nan, inf, whole numbers beyond COUNTABLE) and
    numbers in the place of true and false, at any depth.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            refuse_unusable(f"{key}.{name}", item, ())
    elif isinstance(value, list):
        for item in value:
            refuse_unusable(key, item, ())
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise UserError(f"{key} must be a finite number, got {value}")
        if bool in kinds and not {int, float} & set(kinds):
            raise UserError(f"{key} must be true or false, got {value}")
        if abs(value) > COUNTABLE and (isinstance(value, int) or int in kinds):
            raise UserError(f"{key} must be a whole number up to {COUNTABLE:g}, got {value:g}")
    elif isinstance(value, str) and float in kinds and value.lower().strip("+-.") in ("nan", "inf"):
        raise UserError(f"{key} must be a finite number, got {value}")


@cache
def _kinds(schema: Any) -> dict[str, tuple[Any, ...]]:
    return {key: _options(kind) for key, kind in get_type_hints(schema).items()}


@cache
def _given(schema: Any) -> set[str]:
    """The fields of a dataclass that may be given."""
    return {field.name for field in dataclasses.fields(schema) if field.init}


@cache
def _required(schema: Any) -> set[str]:
    """The fields of a dataclass that have no default."""
    missing = dataclasses.MISSING
    return {
        field.name
        for field in dataclasses.fields(schema)
        if field.default is missing and field.default_factory is missing
    }


def _options(kind: Any) -> tuple[Any, ...]:
    """The types that an annotation allows."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _is(value: Any, kinds: Sequence[Any]) -> bool:
    """Whether a value is of one of these types as it stands: 1 is no float."""
    if Any in kinds or type(value) in kinds:
        return True
    return any(_is_mapping(value, kind) for kind in kinds if get_origin(kind) is dict)


def _is_mapping(value: Any, kind: Any) -> bool:
    """Whether a value is of a type such as dict[str, float]."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        return False
    held = _options(get_args(kind)[1])
    return all(_is(item, held) for item in value.values())


LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes, on Linux; macOS has 255 and 1023
DEEPEST_PATH = 200  # folders: Python makes them by recursion
ROOM = 800  # bytes of a path, for study, task, cell, id and the longest name of a file within
COUNTABLE = 10**15  # more than anybody can count to, and a float can still tell from its neighbours
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _expected(schema: Any, key: str) -> str:
    """In words, what a key of the dataclass holds."""
    options = _kinds(schema)[key.partition(".")[0]]
    if "." in key and get_origin(options[0]) is dict:
        options = get_args(options[0])[1:]
    words = [
        WORDS.get(option, "a dictionary {name: value}")
        for option in options
        if option is not NoneType
    ]
    return " or ".join([*words, *(["null"] if NoneType in options else [])])


def _found(values: Any, key: str) -> str:
    for part in key.split("."):
        values = values[part] if isinstance(values, dict) and part in values else values
    return "null" if values is None else f"'{values}'"


def within(where: str, values: Any, **limits: tuple[float, float | None]) -> None:
    """Refuse numbers outside [least, most] and infinite ones, by name; None passes."""
    for key, (least, most) in limits.items():
        value = getattr(values, key)
        if value is not None and not (
            least <= value <= (sys.float_info.max if most is None else most)
        ):
            finite = " and finite" if value == math.inf else ""
            expected = (
                f"at least {least:g}{finite}" if most is None else f"between {least:g} and {most:g}"
            )
            raise UserError(f"{where}.{key} must be {expected}, got {value}")


def refuse_long(key: str, place: str) -> None:
    """Refuse a path that no file system takes, or that leaves no room for what lies in a run's
    folder.
    """
    try:
        parts = [part for part in place.split("/") if len(os.fsencode(part)) > LONGEST_NAME]
        whole = len(os.fsencode(Path(place).expanduser().absolute()))
    except UnicodeEncodeError:
        raise UserError(
            f"{key} must be a path, got '{printable(place[:40])}': half a character, which no name "
            f"of a file can have"
        ) from None
    except RuntimeError:
        raise UserError(f"{key}={place}: no such home folder; write the path out") from None
    if place.count("/") > DEEPEST_PATH:
        raise UserError(
            f"{key} must be a path of at most {DEEPEST_PATH} folders, got '{place[:40]}…'"
        )
    if parts or whole > LONGEST_PATH - ROOM:
        raise UserError(
            f"{key} must be a path of at most {LONGEST_PATH - ROOM} bytes and {LONGEST_NAME} bytes "
            f"a name, got {whole} bytes: '{place[:40]}…'"
        )


def one_of(key: str, value: str, known: Any) -> None:
    if value not in known:
        raise unknown(key, value, known)
