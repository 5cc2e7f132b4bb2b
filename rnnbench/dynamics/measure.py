"""Everything that is measured inside K networks on one batch, as plain numbers: what probe.json
holds and figures draw.

Axes: K replicas   T time steps   B sequences   D numbers of all states.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from rnnbench.dynamics import recording
from rnnbench.dynamics.gates import Gate, gates, largest
from rnnbench.dynamics.gradients import HUNDRED, WHOLE, E, curve, gradients, horizon
from rnnbench.dynamics.jacobians import (
    jacobian_at,
    lyapunov,
    numbers,
    singular_values,
    spectral_radius,
)
from rnnbench.dynamics.recording import Recorded, Recording
from rnnbench.engine import loop
from rnnbench.engine.batches import Stacked
from rnnbench.engine.network import Network

SEQUENCES = 20  # of the validation data; Jacobians and pictures take the first of them
# Jacobians along a sequence: at most, at least, and the D³ that they may cost together
PLACES, FEWEST, WORK = 48, 6, 4e8
LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)  # quantiles of the singular values
UNITS, STEPS = 48, 400  # of a heat map at most; of more, evenly chosen ones

Plain = dict[str, Any]


def measured(network: Network, batch: Stacked, kind: str) -> list[Plain]:
    """What goes on in every replica: a dictionary each. kind: of the task's loss.

    Computed in float64.

    layers: for each gradient {state: {low, median, high} by lag}, horizon {e, hundred, longest},
        jacobian {steps, all and output: {levels: [quantiles of the singular values] per step,
        radius}}, lyapunov {low, median, high over sequences}, gates {name: {mean, spread, closed,
        open} by step}, largest {state: number}. saturated: share over all gates, None without
        gates.
    shown: the first sequence: symbols (T) or values (I, T); wanted, the classes to answer; steps
        and units of the maps (gate → units × time); influence and memory, the norms of ∂L_T/∂x_t
        and of the gradient of the last layer's states, by step. Where a number is not finite stands
        None.
    """
    run = recording.record(recording.doubled(network), batch, kind)
    found = gradients(run)
    maxima, acting = largest(run), [gates(layer) for layer in run.layers]
    exponents = [lyapunov(layer) for layer in run.layers]
    spectra = [_spectra(layer) for layer in run.layers]
    made = []
    for k in range(network.replicas):
        layers = []
        for index in range(len(run.layers)):
            curves = {name: curve(norms[k]) for name, norms in found.layers[index].items()}
            median = curves[WHOLE]["median"]
            layers.append(
                {
                    "gradient": {name: _rounded(values) for name, values in curves.items()},
                    "horizon": {
                        "e": horizon(median, E),
                        "hundred": horizon(median, HUNDRED),
                        "longest": max(len(median) - 2, 0),
                    },
                    "jacobian": {"steps": places(run.layers[index])}
                    | {part: _levels(*values, k) for part, values in spectra[index].items()},
                    "lyapunov": _rounded(quartiles(exponents[index][k])),
                    "gates": {name: _through_time(gate, k) for name, gate in acting[index].items()},
                    "largest": _rounded(
                        {name: values[k].item() for name, values in maxima[index].items()}
                    ),
                }
            )
        every = [gate.saturated[k].mean().item() for layer in acting for gate in layer.values()]
        saturated = sum(every) / len(every) if every else None
        made.append(
            {
                "layers": layers,
                "saturated": _rounded(saturated),
                "shown": _shown(run, batch, acting, found.inputs, found.layers[-1][WHOLE], k),
            }
        )
    return made


def quartiles(values: Tensor) -> dict[str, float]:
    """low, median, high: a quarter below, half, a quarter above.

    Sorted, not interpolated across -inf.
    """
    ordered, n = values.double().sort().values.tolist(), len(values)
    return {
        "low": ordered[(n - 1) // 4],
        "median": (ordered[(n - 1) // 2] + ordered[n // 2]) / 2,
        "high": ordered[n - 1 - (n - 1) // 4],
    }


def places(layer: Recorded) -> list[int]:
    """The steps at which a layer's Jacobian is taken: as many as its size allows, evenly chosen."""
    D, T = sum(numbers(layer.start)), len(layer.states)
    return spaced(T, int(min(PLACES, max(FEWEST, WORK / D**3))))


def spaced(length: int, most: int) -> list[int]:
    """At most so many of `length` places, evenly chosen, both ends among them."""
    if length <= most:
        return list(range(length))
    return [round(k * (length - 1) / max(most - 1, 1)) for k in range(most)]


def _spectra(layer: Recorded) -> dict[str, tuple[Tensor, Tensor]]:
    """Singular values and spectral radius of the first sequence's Jacobians: (K, places, D) and (K,
    places).
    """
    whole = torch.cat([jacobian_at(layer, t, 1) for t in places(layer)], 1)
    H = loop.units(layer.start)
    parts = {"all": whole} | ({"output": whole[..., :H, :H]} if len(layer.start) > 1 else {})
    return {name: (singular_values(part), spectral_radius(part)) for name, part in parts.items()}


def _levels(values: Tensor, radius: Tensor, k: int) -> Plain:
    levels = torch.tensor(LEVELS, dtype=values.dtype, device=values.device)
    return {
        "levels": _rounded(values[k].quantile(levels, -1).T.tolist()),
        "radius": _rounded(radius[k].tolist()),
    }


def _through_time(gate: Gate, k: int) -> Plain:
    return {
        name: _rounded(getattr(gate, name)[k].tolist())
        for name in ("mean", "spread", "closed", "open")
    }


def _shown(
    run: Recording,
    batch: Stacked,
    acting: Iterable[dict[str, Gate]],
    inputs: Tensor,
    by_lag: Tensor,
    k: int,
) -> Plain:
    """The first sequence, in as many steps and units as a picture can show; gates with one number a
    unit.
    """
    last = int(run.last_KB[k, 0])
    steps = spaced(last + 1, STEPS)
    x = batch.x[k, steps, 0]
    maps = {}
    hidden = loop.units(run.layers[0].start)
    units = spaced(hidden, UNITS)
    for index, layer in enumerate(acting):
        for name, gate in layer.items():
            if gate.values.shape[-1] == hidden:
                maps[f"{index}.{name}"] = gate.values[k, steps, 0][:, units].T.tolist()
    return {
        "steps": steps,
        "units": units if maps else [],
        "symbols": None if x.is_floating_point() else x.tolist(),
        "wanted": _wanted(batch, k, steps),
        "values": _rounded(x.T.tolist(), 3) if x.is_floating_point() else None,
        "gates": _rounded(maps, 3),
        "influence": _rounded(inputs[k, steps, 0].tolist()),
        "memory": _rounded([by_lag[k, last - t, 0].item() for t in steps]),
    }


def _wanted(batch: Stacked, k: int, steps: list[int]) -> list[int | None] | None:
    """The class to answer at each step, None where no answer counts; None where the task asks for
    something else.
    """
    if batch.last or batch.y.is_floating_point():
        return None
    counts = [True] * len(steps) if batch.mask is None else batch.mask[k, steps, 0].tolist()
    return [
        y if here else None for y, here in zip(batch.y[k, steps, 0].tolist(), counts, strict=True)
    ]


def _rounded(value: Any, digits: int = 5) -> Any:
    """So many significant digits, None where there is no finite number."""
    if isinstance(value, dict):
        return {key: _rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item, digits) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value
