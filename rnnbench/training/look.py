"""Looking inside while a pack trains (train.probe_every=N): gradient norm by lag and gates, for
TensorBoard and the curve.

Cost: one forward and one backward pass over SEQUENCES validation sequences by the reference loop,
    at those validations whose step is a multiple of N. Measured on two cores of a CPU, LSTM and GRU
    on adding and copy with batches of 50: 0.9 to 1.25 training steps of the same loop, a fifth of a
    validation. Nothing is drawn at random and nothing of training is touched: numbers stay what
    they are without it.
"""

from dataclasses import dataclass

import torch

from rnnbench.dynamics.gates import gates
from rnnbench.dynamics.gradients import HUNDRED, WHOLE, E, curve, gradients, horizon
from rnnbench.dynamics.recording import record
from rnnbench.engine.pack import Pack
from rnnbench.runs.records import CurveRow

SEQUENCES = 20
LAGS = (1, 2, 5)  # times powers of ten: the lags whose gradient has a column


@dataclass(frozen=True)
class Seen:
    """What was seen in one run. row: columns of the curve, shown as scalars.

    by_lag: 'gradient/0' → the median gradient norm at lag 1, 2 …, relative to the largest; a
        histogram with a bar per lag.
    spread: 'gate/0.f' → values whose distribution is shown.
    """

    row: CurveRow
    by_lag: dict[str, list[float]]
    spread: dict[str, torch.Tensor]


def look(pack: Pack) -> list[Seen]:
    """Look into every run of the pack.

    Columns: LAYER.gradient@LAG, LAYER.horizon@e and @100 (the longest lag where it is longer than
    the sequences), LAYER.GATE.closed and .open (shares below 0.1 and above 0.9).
    """
    network = pack.network
    batch = next(pack.feeder.evaluation("valid", SEQUENCES, 1))
    run = record(network, batch, pack.task.loss)
    norms = [layer[WHOLE] for layer in gradients(run).layers]
    acting = [gates(layer) for layer in run.layers]
    looks = []
    for k in range(network.replicas):
        seen = Seen({}, {}, {})
        for index, layer in enumerate(norms):
            median = curve(layer[k])["median"]
            wanted = [
                lag * 10**power
                for power in range(6)
                for lag in LAGS
                if lag * 10**power < len(median)
            ]
            seen.row.update({f"{index}.gradient@{lag}": median[lag] for lag in wanted})
            for name, factor in (("e", E), ("100", HUNDRED)):
                reached = horizon(median, factor)
                seen.row[f"{index}.horizon@{name}"] = (
                    len(median) - 2 if reached is None else reached
                )
            most = max(median[1:], default=0)
            if 0 < most < float("inf"):
                seen.by_lag[f"gradient/{index}"] = [norm / most for norm in median[1:]]
        for index, found in enumerate(acting):
            for name, gate in found.items():
                seen.row[f"{index}.{name}.closed"] = gate.closed[k].mean().item()
                seen.row[f"{index}.{name}.open"] = gate.open[k].mean().item()
                seen.spread[f"gate/{index}.{name}"] = gate.values[k].flatten()
        looks.append(seen)
    return looks
