"""Open a run that was trained: its settings, its task, and its network with the weights that were
kept. Writes nothing.

Whatever is wrong with a folder is a UserError of one line: no run, another version's, a cell that
was edited since, a torn file.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

import torch

from rnnbench import __version__, catalogue
from rnnbench.compose import OWN
from rnnbench.console import say as said
from rnnbench.engine.batches import Feeder
from rnnbench.engine.engines import prepared
from rnnbench.engine.layer import Layer, Unroll
from rnnbench.engine.network import Network, stacked
from rnnbench.engine.optimizers import restore
from rnnbench.engine.pack import Pack, context, width
from rnnbench.equations.plan import Plan
from rnnbench.errors import UserError, unknown
from rnnbench.layers import layer_of, still
from rnnbench.runs.collect import ANYWHERE
from rnnbench.runs.records import Folder
from rnnbench.settings import Engine, Settings, typed
from rnnbench.tasks.contract import Task
from rnnbench.tools import kept
from rnnbench.tools.kept import checkpoint as checkpoint  # for who goes on from it
from rnnbench.training.run import load_task

Weights = Literal["best", "last"]
TRUSTED = ContextVar("TRUSTED", default=True)  # who calls from Python runs code already
HOMES = {  # group → where our code lies; of the others, what is installed has a name
    "cell": ("rnnbench.cells.", "rnnbench.layers."),
    "task": ("rnnbench.tasks.",),
}
AFTERWARDS = (
    "seed",
    "train.eval_batch",
    "train.eval_limit",
    "engine.name",
    "engine.device",
    "engine.threads",
    "paths.data",
    "paths.mirror",
)


@dataclass(frozen=True)
class Opened:
    """A run, opened. network: of one replica (K = 1). step: of the weights, where it is known.

    record: None while a run has not ended. horizon: of the task that it was trained on.
    """

    folder: Folder
    settings: Settings
    record: dict[str, Any] | None
    task: Task
    kind: Layer
    network: Network
    unroll: Unroll | None
    step: int | None
    horizon: int | None

    @property
    def plan(self) -> Plan:
        """The equations of its cell. Raises UserError if its layers are of another kind, or its
        states have shapes or starts of their own.
        """
        plan = self.network.plan
        if not plan.program.plain:
            raise UserError(
                f"cell={self.settings.cell.name} has states with shapes or starts of their own, "
                f"which only rnnbench computes; rnnbench.load({str(self.folder)!r}) opens the run "
                f"in Python"
            )
        return plan

    @property
    def name(self) -> str:
        return (
            f"{self.settings.cell.name} on {self.settings.task['name']}, seed {self.settings.seed}"
        )

    @property
    def feeder(self) -> Feeder:
        """Batches for the network, as it was trained on them (or as `changes` have them)."""
        return Feeder(
            self.task, (self.settings.seed,), self.network.flat.dtype, str(self.network.flat.device)
        )

    def pack(self, batch: int | None = None) -> Pack:
        """All that training has, with these weights in its network.

        batch: sequences per training batch, one of which is drawn.
        """
        train = self.settings.train
        pack = Pack(
            [replace(self.settings, train=replace(train, batch=batch or train.batch))],
            layer_of(self.settings.cell, self.settings.model),
            self.task,
            self.horizon,
        )
        pack.network.flat.copy_(self.network.flat)
        return pack


def open_run(
    place: str | Path,
    changes: Mapping[str, Any] | None = None,
    weights: Weights = "best",
    say: Callable[[str], None] = said,
) -> Opened:
    """The run in the folder `place`. Raises UserError.

    changes: what may differ from training, by key: {"task.length": 200}; a task of another shape is
        refused.
    weights: the best in validation, or those after the last step that was saved. say: told what is
        fetched.
    """
    folder = Folder(Path(place).expanduser())
    record = kept.record(folder)
    values, trained = as_trained(folder, record, changes)
    settings = _typed(changed(values, changes)) if changes else trained
    kind, task = layer_of(settings.cell, still(settings.model)), load_task(settings, say)
    before = task
    if any(key.startswith("task.") for key in changes or {}):
        before = load_task(trained, say)
        _refuse_other_shape(before, task, changes or {})
    model = settings.model
    dtype = getattr(torch, model.dtype)
    engine, device, unroll = _here(
        settings.engine, kind, dtype, asked=any(key.startswith("engine.") for key in changes or {})
    )
    stack = stacked(
        kind, model.layers, before.horizon, task.symbols, task.stops, reach=task.horizon
    )
    network = Network(
        stack,
        1,
        task.inputs,
        width(stack, model, task),
        task.outputs,
        task.symbols,
        dtype,
        device,
        context(stack, task),
    )
    step = _fill(network, folder, record, weights, settings.train.steps)
    return Opened(
        folder,
        replace(settings, engine=engine),
        record,
        task,
        kind,
        network,
        unroll,
        step,
        before.horizon,
    )


def as_trained(
    folder: Folder, record: Mapping[str, Any] | None, changes: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], Settings]:
    """The settings that config.yaml holds, plain and checked, with the data's places on this
    machine. UserError if a file of theirs was edited since, unless it is among the `changes`.
    """
    values = kept.config(folder, record)
    values["paths"] = ANYWHERE | _paths_now()  # those of the record are another machine's
    _find_sources(values, folder)
    if not TRUSTED.get():
        _refuse_foreign_code(folder, values)
    trained = _settings(values, folder, record)
    for what, target, then in (
        ("cell.step", trained.cell.step, trained.cell.digest),
        ("optim.name", trained.optim.name, trained.optim.digest),
    ):
        if then:
            now = catalogue.file_digest(target, what)
            _refuse_edited(what, target.rpartition(":")[0], then, now)
    known = trained.task.get("digest")
    if known and not any(f"task.{key}" in (changes or {}) for key in catalogue.TASK_FILES):
        files = catalogue.task_files(trained.task)
        what = f"task.{next(iter(files))}" if len(files) == 1 else "task"
        _refuse_edited(what, ", ".join(files.values()), known, catalogue.task_digest(trained.task))
    return values, trained


@contextmanager
def trusting(trust: bool) -> Iterator[None]:
    """While this lasts, runs whose settings name code that is not rnnbench's are opened, or
    refused.
    """
    token = TRUSTED.set(trust)
    try:
        yield
    finally:
        TRUSTED.reset(token)


def _refuse_foreign_code(folder: Folder, values: Mapping[str, Any]) -> None:
    """Refuse to run what is not rnnbench's. Looks at plain values: settings load what they name."""
    for what in OWN.values():
        group, _, key = what.partition(".")
        homes, held = HOMES.get(group), values.get(group)
        target = str(held.get(key)) if isinstance(held, Mapping) else ""
        if target.startswith(homes) if homes else not catalogue.is_file(target):
            continue
        try:
            digest = catalogue.file_digest(target, what)
        except UserError:
            digest = None
        content = f", SHA-256 {digest[:16]}…" if digest else ""
        raise UserError(
            f"{folder.path} names code that is not rnnbench's and would run with your rights: "
            f"{what}={target}{content}; read it, and add --trust if you trust it"
        )


def _find_sources(values: dict[str, Any], folder: Folder) -> None:
    """Put the copies that the run keeps in the place of files that are not here as they were."""
    for what in OWN.values():
        group, _, key = what.partition(".")
        target, known = str(values[group].get(key)), values[group].get("digest")
        copied = f"{folder.source(target)}:{target.rpartition(':')[2]}"
        found = values[group] | {key: copied}
        missing = known and ":" in target and _digest(what, values[group]) != known
        if missing and _digest(what, found) == known:
            values[group] = found


def _digest(what: str, values: Mapping[str, Any]) -> str | None:
    """Of the files that a setting names, `cell.step`; None where one is missing.

    values: of its group.
    """
    try:
        if what == "task.type":
            return catalogue.task_digest(values)
        return catalogue.file_digest(str(values[what.partition(".")[2]]), what)
    except UserError:
        return None


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as plain values, with some changed.

    UserError for what cannot change any more once a run is trained.
    """
    made = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    known = [f"task.{key}" for key in _task_fields(values["task"])]
    for key, value in changes.items():
        section, _, name = key.partition(".")
        if key not in (*known, *AFTERWARDS):
            there = (
                name in values[section] if isinstance(values.get(section), dict) else key in values
            )
            if there and section != "task":
                raise UserError(
                    f"{key} was settled when this run was trained; what can change now: "
                    f"{', '.join((*known, *AFTERWARDS))}"
                )
            raise unknown("key", key, (*known, *AFTERWARDS))
        if name:
            made[section][name] = value
        else:
            made[key] = value
    if any(f"task.{key}" in changes for key in catalogue.TASK_FILES):
        made["task"].pop("digest", None)
    return made


def _task_fields(task: Mapping[str, Any]) -> list[str]:
    """What a task can be told: its fields, also those of a task of one's own that nobody set."""
    kind = catalogue.resolve(str(task["type"]), "task.type")
    unset = [field.name for field in fields(kind) if field.init] if is_dataclass(kind) else []
    return [key for key in dict.fromkeys((*task, *unset)) if key not in ("type", "name", "digest")]


def _settings(
    values: Mapping[str, Any], folder: Folder, record: Mapping[str, Any] | None
) -> Settings:
    """What config.yaml holds, as settings.

    A key or a type that this version does not know: the run is of another one.
    """
    try:
        return _typed(values)
    except UserError as error:
        version = ((record or {}).get("provenance") or {}).get("versions", {}).get("rnnbench")
        by = (
            f"rnnbench {version}"
            if version not in (None, __version__)
            else "another version of rnnbench, or edited"
        )
        raise UserError(
            f"{folder.path / 'config.yaml'} was written by {by}; this is {__version__}: {error}"
        ) from None


def _typed(values: Mapping[str, Any]) -> Settings:
    schemas = get_type_hints(Settings)
    if odd := set(values) ^ schemas.keys():
        raise UserError(
            f"{'unknown' if odd & set(values) else 'missing'}: {', '.join(sorted(odd))}"
        )
    made = Settings(
        **{
            key: typed(schemas[key], value, key) if is_dataclass(schemas[key]) else value
            for key, value in values.items()
        }
    )
    if not isinstance(made.seed, int) or made.seed < 0:
        raise UserError(f"seed must be a whole number of at least 0, got {made.seed}")
    return made


def _paths_now() -> dict[str, str]:
    """Where data are is for the machine to say that a run is opened on."""
    places = {"data": os.environ.get("RNNBENCH_DATA"), "mirror": os.environ.get("RNNBENCH_MIRROR")}
    return {key: place for key, place in places.items() if place}


def _refuse_edited(what: str, file: str, known: str, now: str | None) -> None:
    if now != known:
        raise UserError(
            f"{what}: {file} has changed since this run was trained (SHA-256 {known[:12]}… then, "
            f"{now and now[:12]}… now); restore it"
        )


def _here(
    engine: Engine, kind: Layer, dtype: torch.dtype, asked: bool
) -> tuple[Engine, str, Unroll | None]:
    """The run's engine, its device and unroll.

    How numbers are computed is nothing to fail for: where this machine lacks it, and it was not
    `asked` for now, another takes its place.
    """
    try:
        device = prepared(engine)
        _, unroll = kind.chosen(engine.name, device, dtype, replicas=1)
    except UserError:
        if asked:
            raise
        engine = replace(engine, name="auto", device="auto")
        device = prepared(engine)
        _, unroll = kind.chosen(engine.name, device, dtype, replicas=1)
    return engine, device, unroll


def _refuse_other_shape(trained: Task, task: Task, changes: Mapping[str, Any]) -> None:
    said = ", ".join(f"{key}={value}" for key, value in changes.items() if key.startswith("task."))
    before, now = ((t.inputs, t.outputs, t.symbols) for t in (trained, task))
    if before != now:
        kind = "symbols" if trained.symbols else "inputs"
        sizes = (
            f"has {now[0]} {kind} and {now[1]} outputs where the trained network has "
            f"{before[0]} and {before[1]}"
        )
        raise UserError(f"{said}: the task {sizes}; train a run for it")
    old, new = (getattr(getattr(t, "text", None), "symbols", None) for t in (trained, task))
    if old != new:
        raise UserError(
            f"{said}: this text has other characters than the one that the network was trained "
            f"on; train a run for it"
        )


def _fill(
    network: Network,
    folder: Folder,
    record: Mapping[str, Any] | None,
    weights: Weights,
    steps: int,
) -> int | None:
    """Put the weights into the network; the step that they were made at."""
    step: int | None
    if weights == "last":
        saved = checkpoint(folder, steps)
        path, values, step = folder.last_path, saved["parameters"], saved["step"]
    else:
        path = folder.best_path
        values = kept.best(folder, record)
        step = ((record or {}).get("best") or {}).get("step")
    try:
        restore(
            network.views(network.flat),
            {name: tensor.unsqueeze(0) for name, tensor in values.items()},
        )
    except (AssertionError, AttributeError, RuntimeError) as error:
        told = " ".join(str(error).split())
        raise UserError(
            f"{path} does not hold the weights of the network that config.yaml describes: {told}"
        ) from None
    return step
