"""A results folder that looks as if a search had run: for the tests of whatever reads records.

No torch, no training.

Records have the keys that engine/run.py writes, settings come from `configs/`, ids are those of
`run_id`. What is
invented is the scores: a cell has a skill, a learning rate is more or less well chosen, a seed has
    luck.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from omegaconf import OmegaConf

from rnnbench.catalogue import config_dir, read
from rnnbench.runs.improvement import of_rows
from rnnbench.runs.records import SCHEMA, Folder, finite, run_id
from rnnbench.settings import Cell, Engine, Model, Optim, Paths, Settings, Train, typed

SKILL = {
    "lstm": 0.80,
    "lstm_b": 0.85,
    "gru": 0.85,
    "lstm_vanilla": 0.80,
    "np": 0.80,
    "cifg": 0.80,
    "mut1": 0.88,
    "mut2": 0.85,
    "mut3": 0.86,
}
SKILL |= {
    "nfg": 0.35,
    "lstm_f": 0.35,
    "noaf": 0.45,
    "nig": 0.65,
    "nog": 0.70,
    "niaf": 0.60,
    "tanh": 0.15,
    "relu": 0.10,
    "irnn": 0.55,
}
BLOCKS = {
    "tanh": 1,
    "relu": 1,
    "irnn": 1,
    "indrnn": 1,
    "gru": 3,
    "cifg": 3,
    "nig": 3,
    "nfg": 3,
    "nog": 3,
    "mut1": 3,
    "mut2": 3,
    "mut3": 3,
}
# how likely a high learning rate makes a run diverge; others 0.25
FRAGILE = {"irnn": 0.6, "relu": 0.6, "noaf": 0.5}


@dataclass(frozen=True)
class Scale:
    """A task's metrics (primary first), its goal, what ignorance and perfection score, inputs and
    outputs.
    """

    metrics: tuple[str, ...]
    goal: str
    ignorant: float
    perfect: float
    width: int


SCALES = {
    "adding": Scale(("mse",), "min", 1 / 6, 1e-4, 3),
    "copy": Scale(("recall", "recall_nats", "nats"), "max", 0.125, 1.0, 19),
    "arithmetic": Scale(("accuracy", "nats", "exact"), "max", 0.2, 1.0, 70),
    "xml": Scale(("accuracy", "nats", "closing"), "max", 0.08, 0.65, 60),
    "memorize": Scale(("accuracy", "nats"), "max", 1 / 26, 1.0, 54),
    "charlm": Scale(("bpc", "accuracy"), "min", 4.8, 1.4, 130),
    "smnist": Scale(("accuracy", "nats"), "max", 0.1135, 1.0, 11),
    "chorales": Scale(("nll",), "min", 61.0, 8.0, 176),
}


def make_study(
    path: Path,
    cells: Sequence[str] = ("lstm", "gru", "nfg", "tanh"),
    tasks: Sequence[str] = ("adding", "copy"),
    seeds: Sequence[int] = tuple(range(5)),
    rates: Sequence[float] = (1e-3, 5e-3, 5e-2),
    *,
    rng: np.random.Generator | None = None,
    evaluations: int = 10,
    effect: float = 1.0,
) -> Path:
    """Write one run folder per cell × task × seed × learning rate under `path` (the study is its
    name); returns `path`.

    The same generator gives the same files. effect: 0 makes all cells equally good. Some runs with
    high learning rates diverge, some before their first validation; cells with little skill never
    reach the target.
    """
    rng = rng or np.random.default_rng(0)
    for task in tasks:
        # the data of a seed are the same for every cell
        luck = {seed: rng.normal(0, 0.03) for seed in seeds}
        for cell in cells:
            first = settings(cell, task, path.name, seeds[0], rates[0], evaluations)
            for rate in rates:
                for seed in seeds:
                    run = vary(first, seed, rate)
                    skill = (
                        0.75
                        + effect * (SKILL.get(cell, 0.75) - 0.75)
                        + luck[seed]
                        + rng.normal(0, 0.05)
                    )
                    skill -= 0.2 * math.log10(rate / 5e-3) ** 2
                    record, rows = invent(run, min(max(skill, 0.0), 0.999), rng)
                    leave(path, record, rows)
    return path


@cache
def settings(
    cell: str, task: str, study: str, seed: int, rate: float, evaluations: int
) -> Settings:
    """What `rnnbench train cell=… task=…` would run, shortened to so many validations."""
    common = OmegaConf.to_container(OmegaConf.load(config_dir() / "config.yaml"))
    chosen = OmegaConf.to_container(OmegaConf.load(config_dir() / "task" / f"{task}.yaml"))
    train = read("train", "default") | chosen.get("train", {})
    train["steps"] = train["eval_every"] * evaluations
    return Settings(
        cell=typed(Cell, read("cell", cell) | {"name": cell, "digest": None}, "cell"),
        task={**chosen["task"], "name": task},
        model=typed(Model, common["model"] | {"hidden": 32}, "model"),
        optim=typed(Optim, read("optim", "adam") | {"lr": rate}, "optim"),
        train=typed(Train, train, "train"),
        engine=typed(Engine, read("engine", "auto"), "engine"),
        paths=Paths("results/runs", "~/.cache/rnnbench", None),
        seed=seed,
        study=study,
    )


def vary(run: Settings, seed: int, rate: float) -> Settings:
    return replace(run, seed=seed, optim=replace(run.optim, lr=rate))


def invent(
    run: Settings, skill: float, rng: np.random.Generator
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The record and the curve of a run that closes the share `skill` of the way from ignorance to
    perfection.
    """
    cell, scale, every = run.cell.name, SCALES[run.task["name"]], run.train.eval_every
    diverges = run.optim.lr > 0.02 and rng.random() < FRAGILE.get(cell, 0.25)
    ends = int(rng.integers(1, run.train.steps)) if diverges else run.train.steps
    rows: list[dict[str, Any]] = []
    best: dict[str, Any] | None = None
    last: dict[str, float] = {}
    solved_at = None
    target, sign = run.task.get("target"), 1 if scale.goal == "min" else -1
    for step in range(every, ends + 1, every):
        closed = skill * -math.expm1(-5 * step / run.train.steps)
        last = scores(scale, closed + rng.normal(0, 0.01))
        loss = scores(scale, closed)["loss"]
        rows.append(
            {
                "step": step,
                "split": "train",
                "loss": loss,
                "lr": run.optim.lr,
                "grad_norm": rng.lognormal(),
                "seconds": step * 0.004,
            }
        )
        rows.append(
            {"step": step, "split": "valid"} | last | {"0.f.mean": 0.7, "0.f.saturated": 0.2}
        )
        if best is None or sign * last[scale.metrics[0]] < sign * best["valid"][scale.metrics[0]]:
            best = {
                "step": step,
                "valid": last,
                "test": scores(scale, closed + rng.normal(0, 0.01)),
            }
        if (
            target is not None
            and solved_at is None
            and sign * last[scale.metrics[0]] <= sign * target
        ):
            solved_at = step
    final = scores(scale, skill + rng.normal(0, 0.01))
    if diverges:
        final = dict.fromkeys(final, math.nan)
    hidden, blocks = run.model.hidden, BLOCKS.get(cell, 4)
    rate = 250 * 3 / (blocks + 2) * rng.uniform(0.95, 1.05)
    record = {
        "schema": SCHEMA,
        "id": run_id(run),
        "study": run.study,
        "cell": cell,
        "task": run.task["name"],
        "seed": run.seed,
        "status": "diverged" if diverges else "finished",
        "reason": f"loss not finite at step {ends + 1}; learning rate {run.optim.lr:g}, gradient "
        f"norm one step before 8.1e+03"
        if diverges
        else "",
        "settings": asdict(run),
        "hidden": hidden,
        "params": blocks * hidden * (hidden + scale.width) + hidden,
        "flops": 2 * blocks * hidden * (hidden + scale.width + 5) + 2 * hidden,
        "steps": ends,
        "best": best,
        "final": {"valid": last, "test": final},
        "primary": {
            "name": scale.metrics[0],
            "goal": scale.goal,
            "value": (best["test"] if best else final)[scale.metrics[0]],
        },
        "baseline": {name: value for name, value in scores(scale, 0.0).items() if name != "loss"},
        "target": target,
        "solved_at": solved_at,
        "last_fifth": of_rows(rows, scale.metrics[0], scale.goal),
        "seconds": {"warmup": 0.05, "train": ends / rate, "eval": 0.02 * len(rows)},
        "throughput": {"steps_per_s": rate, "sequences_per_s": rate * run.train.batch},
        "peak_memory_bytes": 273_309_696,
        "replicas": 1,
        "engine": "loop",
        "provenance": {
            "git": "0123abc",
            "versions": {"rnnbench": "0.1.0", "python": "3.11.7", "torch": "2.13.0+cpu"},
            "cpu": "AMD EPYC",
            "device": "cpu",
            "threads": 1,
            "data": {},
        },
    }
    return record, rows


def scores(scale: Scale, closed: float) -> dict[str, float]:
    """Every metric and the loss after closing a share of the way (ratios where less is better;
    where more is, the last errors go first).
    """
    closed, ignorant = min(max(closed, -0.05), 1.0), scale.ignorant
    loss = max(ignorant, 0.5) * (1e-3 / max(ignorant, 0.5)) ** closed
    if scale.goal == "min":
        loss = ignorant * (scale.perfect / ignorant) ** closed
    found = {}
    for name in scale.metrics:
        more = name in ("recall", "accuracy", "exact", "closing")
        if more:
            found[name] = (
                ignorant + (scale.perfect - ignorant) * (1 - (1 - closed) ** 3)
                if scale.goal == "max"
                else 0.6 * closed
            )
        else:
            found[name] = loss
    return found | {"loss": loss}


def leave(study: Path, record: dict[str, Any], rows: list[dict[str, Any]]) -> Folder:
    """The folder that a run leaves, as Folder writes it but without its care for the disk, which
    takes 10 ms a file.
    """
    folder = Folder(study / record["task"] / record["cell"] / record["id"])
    folder.path.mkdir(parents=True, exist_ok=True)
    typed_in = [
        f"cell={record['cell']}",
        f"task={record['task']}",
        "model.hidden=32",
        f"train.steps={record['settings']['train']['steps']}",
    ]
    typed_in += [
        f"optim.lr={record['settings']['optim']['lr']!r}",
        f"seed={record['seed']}",
        f"study={record['study']}",
    ]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    curve = [
        ",".join(columns),
        *(",".join(str(row.get(column, "")) for column in columns) for row in rows),
    ]
    (folder.path / "config.yaml").write_text(
        yaml.dump(record["settings"], Dumper=yaml.CSafeDumper, sort_keys=False), "utf-8"
    )
    (folder.path / "overrides.yaml").write_text(
        yaml.dump(typed_in, Dumper=yaml.CSafeDumper), "utf-8"
    )
    folder.curve_path.write_text("\n".join(curve) + "\n", "utf-8")
    folder.record_path.write_text(
        json.dumps(finite(record), indent=1, ensure_ascii=False) + "\n", "utf-8"
    )
    return folder
