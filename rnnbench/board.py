"""TensorBoard: a view of a run's curve and record, in one event folder. Losing it loses nothing."""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from rnnbench.runs.made import clear_events
from rnnbench.runs.records import CurveRow


class Board:
    """The event files of one run.

    An earlier attempt's are replaced; `rows` are what it had reached. first: the settings that lead
    in HParams, whose table shows no more than its first columns.
    """

    def __init__(
        self, path: Path, rows: Iterable[CurveRow] = (), first: Iterable[str] = ()
    ) -> None:
        self.first = list(first)
        clear_events(path)
        self.writer = SummaryWriter(str(path))
        self.add(rows)

    def add(self, rows: Iterable[CurveRow]) -> None:
        for row in rows:
            for column, value in row.items():
                if column not in ("step", "split", "seconds"):
                    self.writer.add_scalar(tag(column, row["split"]), value, row["step"])

    def add_look(
        self, step: int, by_lag: Mapping[str, Sequence[float]], spread: Mapping[str, Any]
    ) -> None:
        """What `training.look` saw, as histograms: by_lag has a bar per lag, from lag 1 on;
        spread the distribution of values.
        """
        for name, heights in by_lag.items():
            limits, total = [lag + 0.5 for lag in range(1, len(heights) + 1)], sum(heights)
            first = sum(lag * height for lag, height in enumerate(heights, 1))
            second = sum(lag**2 * height for lag, height in enumerate(heights, 1))
            self.writer.add_histogram_raw(
                f"{name} by lag",
                0.5,
                limits[-1],
                max(total, 1e-30),
                first,
                second,
                limits,
                list(heights),
                step,
            )
        for name, values in spread.items():
            self.writer.add_histogram(name, values, step)

    def close(
        self,
        settings: Mapping[str, Any] | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> None:
        """Flush; with settings and final scores, as one HParams entry in this same run."""
        if settings is not None:
            every = dict(flat(settings))
            ordered = {key: every[key] for key in self.first if key in every} | every
            for part in hparams(ordered, dict(scores or {})):  # type: ignore[no-untyped-call]
                # add_hparams would open a second run
                self.writer._get_file_writer().add_summary(part)
            for name, value in (scores or {}).items():
                self.writer.add_scalar(name, value)
        self.writer.close()


def name_run(events: Path, rate: float, seed: int) -> None:
    """A name for people beside the id: STUDY/tensorboard/TASK/CELL/lr0.01-seed0 is a link to the
    events of a run, so that `tensorboard --logdir STUDY/tensorboard` names runs so. Where another
    run has the name, the id follows.
    """
    run = events.parent
    cell, task, study = run.parent, run.parents[1], run.parents[2]
    place = study / "tensorboard" / task.name / cell.name
    target = os.path.relpath(events, place)
    with suppress(OSError):  # a view, on disks that know links
        place.mkdir(parents=True, exist_ok=True)
        for name in (f"lr{rate:g}-seed{seed}", f"lr{rate:g}-seed{seed}-{run.name}"):
            link = place / name
            if link.is_symlink() and str(link.readlink()) == target:
                return
            if not link.is_symlink() and not link.exists():
                link.symlink_to(target, target_is_directory=True)
                return


def add_pictures(events: Path, pictures: Mapping[str, Path]) -> None:
    """Show pictures (tag → a PNG file) as a run of their own, in the place of earlier ones."""
    clear_events(events)
    writer = SummaryWriter(str(events))
    for name, path in pictures.items():
        pixels = np.asarray(Image.open(path).convert("RGB"))
        writer.add_image(name, pixels, dataformats="HWC")
    writer.close()


def tag(column: str, split: str) -> str:
    """Where a number of the curve is shown: losses and metrics by split, gates by kind."""
    if column in ("lr", "grad_norm"):
        return {"lr": "learning rate", "grad_norm": "gradient norm before clipping"}[column]
    gate, _, kind = column.rpartition(".")
    if "@" in kind:  # 0.gradient@10, of `training.look`
        what, _, at = kind.partition("@")
        return f"{what}/{gate}@{at}"
    return f"gate {kind}/{gate}" if gate else f"{column}/{split}"


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested settings as dotted names; what HParams cannot hold is written out, what is not set is
    left out.
    """
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield (
                f"{prefix}{key}",
                value if isinstance(value, (bool, int, float, str)) else str(value),
            )
