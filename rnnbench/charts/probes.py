"""What probe.json says: read it, and its numbers in short. No torch: the report reads
probes, too.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = 1
TIMES = {"initial": "at the start", "trained": "after training"}


@dataclass(frozen=True)
class Short:
    """A network in a few numbers; of several layers the extreme one, of horizons that of the first
    layer.

    horizon_e and horizon_100: steps, None where the gradient has not fallen so far within `longest`
        steps. lyapunov: nats per step, None where the tangent vanished or is not finite. saturated:
        share over all gates, None without gates. largest: |state|, None if not finite.
    """

    horizon_e: int | None
    horizon_100: int | None
    longest: int
    lyapunov: float | None
    saturated: float | None
    largest: float | None

    @property
    def horizons(self) -> tuple[str, str]:
        e, hundred = (
            f"> {self.longest}" if reached is None else str(reached)
            for reached in (self.horizon_e, self.horizon_100)
        )
        return e, hundred


def short(measured: Mapping[str, Any]) -> Short:
    """measured: the network at one time, as `measure.measured` has it."""
    layers = measured["layers"]
    horizon = layers[0]["horizon"]
    exponents = [layer["lyapunov"]["median"] for layer in layers]
    sizes = [size for layer in layers for size in layer["largest"].values()]
    return Short(
        horizon_e=horizon["e"],
        horizon_100=horizon["hundred"],
        longest=horizon["longest"],
        lyapunov=max((e for e in exponents if e is not None), default=None),
        saturated=measured["saturated"],
        largest=None if None in sizes else max(sizes),
    )


def read(folder: Path) -> dict[str, Any] | None:
    """The probe.json in a folder; None if there is none that this version can read."""
    try:
        found = json.loads((folder / "probe.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return (
        found
        if isinstance(found, dict)
        and found.get("schema") == SCHEMA
        and isinstance(found.get("initial"), dict)
        else None
    )


def pooled(probes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Networks that differ in their seed alone, as one in the picture of gradients: the median of
    their medians, and a band from the lowest lower quartile to the highest upper one, each relative
    to its own lag 1. Of everything else, the first network's.
    """
    made = dict(probes[0])
    for time in TIMES if len(probes) > 1 else ():
        there = [probe[time] for probe in probes if probe.get(time)]
        if there:
            first, *above = there[0]["layers"]
            gradient = {
                state: _pooled([one["layers"][0]["gradient"][state] for one in there])
                for state in first["gradient"]
            }
            made[time] = there[0] | {"layers": [first | {"gradient": gradient}, *above]}
    return made


def _pooled(curves: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    steps = min(len(curve["median"]) for curve in curves)
    values = np.array(
        [[curve[name][:steps] for name in ("low", "median", "high")] for curve in curves], float
    )
    values = values / np.where(values[:, 1:2, 1:2] > 0, values[:, 1:2, 1:2], np.nan)
    low, high = np.fmin.reduce(values[:, 0]), np.fmax.reduce(values[:, 2])
    return {
        "low": low.tolist(),
        "median": np.median(values[:, 1], 0).tolist(),
        "high": high.tolist(),
    }


@dataclass(frozen=True)
class Probed:
    """A run that was probed. found: what its probe.json says."""

    run: str
    found: Mapping[str, Any]

    @property
    def times(self) -> list[str]:
        return [time for time in TIMES if self.found.get(time)]


def probed(runs: Iterable[Any], folders: Iterable[Any], first: str | None) -> Probed | None:
    """The first of these runs that was probed; `first` leads."""
    places = zip(map(str, runs), map(str, folders), strict=True)
    for _, run, folder in sorted((run != first, run, folder) for run, folder in places):
        if (found := read(Path(folder))) is not None:
            return Probed(run, found)
    return None
