"""Run a pack from settings to records: resume, train, save, conclude.

The only part of the engine that touches files.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import torch

from rnnbench import catalogue, data
from rnnbench.draw import Draw
from rnnbench.engine.pack import Pack, flops, in_steps
from rnnbench.engine.provenance import peak_memory, provenance
from rnnbench.errors import Interrupted, UserError
from rnnbench.layers import layer_of
from rnnbench.layers.checking import check_layer
from rnnbench.runs.checksums import Damaged, check_archive, seal_archive
from rnnbench.runs.improvement import of_rows
from rnnbench.runs.records import SCHEMA, CurveRow, Folder, put_aside, write
from rnnbench.settings import Paths, Settings, typed
from rnnbench.tasks.checking import blamed, check, is_ours, watched
from rnnbench.tasks.contract import Task
from rnnbench.trackers import Trackers
from rnnbench.training.checkpoint import Misfit, lacking, misfit
from rnnbench.training.look import look
from rnnbench.training.loop import Training

Record = dict[str, Any]


class Watcher(Protocol):
    """Who looks on while a pack trains: a screen, a sweep's live view, or nobody."""

    def start(self, pack: Pack, step: int) -> None: ...
    def stepped(self, step: int, loss_K: torch.Tensor) -> None: ...
    def validated(self, rows: Sequence[Sequence[CurveRow]]) -> None: ...
    def interrupted(self) -> bool: ...


class Fetch:
    """The way to data files, which remembers what went through it. used: name → SHA-256."""

    def __init__(self, paths: Paths, say: Callable[[str], None]) -> None:
        self.paths, self.say = paths, say
        self.used: dict[str, str] = {}

    def __call__(self, name: str) -> Path:
        path = data.fetch(name, self.paths, self.say)
        self.used[name] = data.catalogue()[name].sha256
        return path


class Absent(UserError):
    """A data file is not in the cache."""


class Present(Fetch):
    """The way to data files that are here already."""

    def __call__(self, name: str) -> Path:
        if not data.is_here(name, self.paths):
            raise Absent(name)
        return super().__call__(name)


def load_task(settings: Settings, say: Callable[[str], None], way: type[Fetch] = Fetch) -> Task:
    """The task of these settings, able to reach its data by the `way` that is given."""
    fields = {k: v for k, v in settings.task.items() if k not in ("type", "name", "digest")}
    schema = catalogue.resolve(settings.task["type"], "task.type")
    if not (isinstance(schema, type) and issubclass(schema, Task)):
        raise UserError(
            f"task.type={settings.task['type']} is not a task: it must be a dataclass derived "
            f"from rnnbench.tasks.contract.Task"
        )
    task = blamed(lambda: typed(schema, fields, "task"), settings.task["type"])
    bound = task.bound(way(settings.paths, say))
    return bound if is_ours(task) else watched(bound, settings.task["type"])


def check_task(task: Task, settings: Settings) -> None:
    """Look at the batches of a task that is not ours, once, before anything is trained on them."""
    if is_ours(task):
        return
    blamed(lambda: check(task, Draw(settings.seed), settings.train.batch), settings.task["type"])


def refuse(settings: Settings) -> None:
    """Raise what training with these settings would, before its first step; nothing is fetched or
    written. Where data are not here, what depends on them stays unknown.
    """
    try:
        task = load_task(settings, print, Present)
        check_task(task, settings)
        kind = layer_of(settings.cell, settings.model)
        check_layer(kind, task, settings)
        Pack([settings], kind, task)
    except Absent:
        pass


def run_pack(
    runs: Sequence[Settings],
    overrides: Sequence[Sequence[str]],
    watch: Watcher,
    say: Callable[[str], None],
) -> list[Record]:
    """Train runs of equal shape that have not ended yet, together; their records, in order.

    Runs that were interrupted go on from their checkpoints. Raises Interrupted after saving, if
    `watch` asks.
    """
    first = runs[0]
    kind, task = layer_of(first.cell, first.model), load_task(first, say)
    check_task(task, first)
    check_layer(kind, task, first)
    if task.remark:
        say(task.remark)
    steps, _ = in_steps(first.train, task)
    runs = [replace(run, train=replace(run.train, steps=steps)) for run in runs]
    saved = [_checkpoint(run, say) for run in runs]
    records: dict[int, Record] = {}
    reached = [found["step"] if found else 0 for found in saved]
    by_step = sorted(range(len(runs)), key=reached.__getitem__)
    groups = [list(members) for _, members in groupby(by_step, key=reached.__getitem__)]
    for group in groups:
        pack = Pack([runs[k] for k in group], kind, task)
        # `loop (reason)` is loop
        began = {
            s["engine"]
            for k in group
            if (s := saved[k]) and s["engine"].split()[0] != pack.engine.split()[0]
        }
        if began:
            say(
                f"began with engine {', '.join(began)}, goes on with {pack.engine}: the same "
                f"numbers up to rounding, not to the bit"
            )
        try:
            made = _train(
                pack,
                [overrides[k] for k in group],
                [s for k in group if (s := saved[k])],
                watch,
                say,
            )
        except Misfit as found:
            for k, why in found.reasons.items():
                saved[group[k]] = None
                _set_aside(Folder.of(runs[group[k]]), why, say)
            anew = [group[k] for k in found.reasons]
            groups += [part for part in (sorted(set(group) - set(anew)), anew) if part]
            continue
        records |= dict(zip(group, made, strict=True))
    return [records[k] for k in range(len(runs))]


def _train(
    pack: Pack,
    overrides: Sequence[Sequence[str]],
    saved: list[dict[str, Any]],
    watch: Watcher,
    say: Callable[[str], None],
) -> list[Record]:
    training = Training(pack)
    if saved:
        carried = training.carried(saved[0]["step"])
        reasons = {k: misfit(one, training.checkpoint(k), carried) for k, one in enumerate(saved)}
        if any(reasons.values()):
            raise Misfit({k: why for k, why in reasons.items() if why})
        training.resume(saved)
    folders = [Folder.of(run) for run in pack.runs]
    for folder, run, typed_in in zip(folders, pack.runs, overrides, strict=True):
        folder.open(run, typed_in)
    boards = [
        Trackers(folder, run, p.rows, words, say)
        for folder, run, p, words in zip(
            folders, pack.runs, training.progress, overrides, strict=True
        )
    ]
    watch.start(pack, training.step)
    try:
        _advance(training, folders, boards, watch)
    except BaseException:
        for board in boards:
            board.close()
        raise
    return [
        _conclude(training, k, result, folders[k], boards[k])
        for k, result in enumerate(training.conclude())
    ]


def _advance(
    training: Training, folders: list[Folder], boards: list[Trackers], watch: Watcher
) -> None:
    """Update, validate and save until every run has ended."""
    pack = training.pack  # whole; training's shrinks
    steps, train = pack.steps, pack.train
    while training.step < steps and any(training.alive):
        if watch.interrupted():
            _save(training, folders)
            raise Interrupted
        watch.stepped(training.step + 1, training.update())
        if (
            training.step % pack.eval_every == 0
            or training.step == steps
            or not any(training.alive)
        ):
            rows = training.validate()
            _look(training, rows, boards)
            for folder, board, progress, fresh in zip(
                folders, boards, training.progress, rows, strict=True
            ):
                board.add(fresh)
                folder.write_curve(progress.rows)
            watch.validated(rows)
        if training.step % train.checkpoint_every == 0:
            _save(training, folders)


def _look(training: Training, rows: list[list[CurveRow]], boards: list[Trackers]) -> None:
    """Look inside every run that was validated, if it is time: into the last of its new rows and on
    its board.
    """
    every = training.pack.train.probe_every
    if every and training.step % every == 0:
        for k, seen in zip(training.present, look(training.pack), strict=True):
            if rows[k]:
                rows[k][-1].update(seen.row)
                boards[k].add_look(training.step, seen.by_lag, seen.spread)


def _save(training: Training, folders: list[Folder]) -> None:
    for k, folder in enumerate(folders):
        write(folder.last_path, tensors(training.checkpoint(k)))


def _checkpoint(run: Settings, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The checkpoint of an earlier attempt; None if there is none, or none to go on from, which is
    put aside.
    """
    folder = Folder.of(run)
    if not folder.last_path.exists():
        return None
    try:
        found = read_tensors(folder.last_path)
        why = lacking(found, run.train.steps)
        if not why:
            return found
    except Damaged as damaged:
        why = f"damaged: {damaged}"
    except Exception as error:  # whatever a torn or foreign file makes torch.load raise
        why = f"not a checkpoint ({type(error).__name__})"
    _set_aside(folder, why, say)
    return None


def _set_aside(folder: Folder, why: str, say: Callable[[str], None]) -> None:
    copy = put_aside(folder.last_path)
    say(f"ignoring {folder.last_path}: {why}; kept as {copy.name}, starting anew")


def tensors(values: dict[str, Any]) -> bytes:
    """A file that `torch.load(weights_only=True)` reads, with its checksum."""
    buffer = io.BytesIO()
    torch.save(values, buffer)
    return seal_archive(buffer.getvalue())


def read_tensors(path: Path) -> dict[str, Any]:
    """What `tensors` made. Raises Damaged if it is not that any more, OSError, or whatever a
    foreign file makes torch.load raise.
    """
    content = io.BytesIO(check_archive(path.read_bytes()))
    found = torch.load(content, map_location="cpu", weights_only=True)
    if not isinstance(found, dict):
        raise TypeError("it holds no tensors by name")
    return found


def _of_layers(pack: Pack) -> Record:
    """What only a record of layers of another kind than a cell says: their sizes in words, and the
    steps of the window before that they read again in place of states.
    """
    told, context = pack.stack[0].told, pack.network.context
    return ({"layer": told} if told else {}) | ({"context": context} if context else {})


def _conclude(
    training: Training, k: int, result: dict[str, Any], folder: Folder, board: Trackers
) -> Record:
    """Write what run k leaves; the record last."""
    pack, progress = training.pack, training.progress[k]
    run, task = training.runs[k], pack.task
    reported = result["best"] or result["final"]
    value = reported["test"][task.metric]
    seconds = training.seconds_of(k)
    trained = seconds["train"]
    rate = (progress.steps - 1) / trained if trained and progress.steps > 1 else None
    record = {
        "schema": SCHEMA,
        "id": folder.path.name,
        "study": run.study,
        "cell": run.cell.name,
        "task": run.task["name"],
        "seed": run.seed,
        "status": progress.status,
        "reason": progress.reason,
        "settings": asdict(run),
        "hidden": pack.hidden,
        "params": pack.network.count,
        "flops": flops(pack.stack, task, pack.hidden),
        **_of_layers(pack),
        "steps": progress.steps,
        **result,
        "primary": {"name": task.metric, "goal": task.goal, "value": value},
        "baseline": task.baseline,
        "target": task.threshold,
        "solved_at": progress.solved_at,
        "last_fifth": of_rows(progress.rows, task.metric, task.goal),
        "seconds": seconds,
        "throughput": {"steps_per_s": rate, "sequences_per_s": rate and rate * run.train.batch},
        "peak_memory_bytes": peak_memory(pack.device),
        "replicas": len(training.runs),
        "engine": pack.engine,
        "provenance": provenance(pack.device, pack.threads)
        | {"data": getattr(task.fetch, "used", {})},
    }
    named = pack.network.views(training.best)
    if progress.best_step is not None:
        write(folder.best_path, tensors({name: view[k].clone() for name, view in named.items()}))
    write(folder.last_path, tensors(training.checkpoint(k)))
    scores = {f"{name}/test": score for name, score in reported["test"].items()}
    shown = {key: value for key, value in asdict(run).items() if key not in ("paths", "engine")}
    board.close(
        shown
        | {
            "cell": {
                key: value
                for key, value in shown["cell"].items()
                if key not in ("step", "paper", "digest")
            }
        },
        scores,
    )
    folder.write_record(record)
    return record
