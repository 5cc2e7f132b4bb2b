"""What probe.json says: read it, and its numbers in short. No torch: the report reads probes, too."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1
TIMES = {"initial": "at the start", "trained": "after training"}


@dataclass(frozen=True)
class Short:
    """A network in a few numbers; of several layers the extreme one, of horizons that of the first layer.

    horizon_e and horizon_100: steps, None where the gradient has not fallen so far within `longest` steps. lyapunov: nats per step,
    None where the tangent vanished or is not finite. saturated: share over all gates, None without gates. largest: |state|, None if
    not finite.
    """

    horizon_e: int | None
    horizon_100: int | None
    longest: int
    lyapunov: float | None
    saturated: float | None
    largest: float | None

    @property
    def horizons(self) -> tuple[str, str]:
        e, hundred = (f"> {self.longest}" if reached is None else str(reached) for reached in (self.horizon_e, self.horizon_100))
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
    return found if isinstance(found, dict) and found.get("schema") == SCHEMA and isinstance(found.get("initial"), dict) else None
