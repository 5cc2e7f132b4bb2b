"""What the times of one round mean for each other: ratios of medians, and the quartiles of the
ratios of one turn.
"""

from collections.abc import Mapping
from typing import Any

from rnnbench.bench.rounds import Row, spread

PYTORCH = ("torch.nn", "by hand")
PEERS = {"PyTorch": PYTORCH, "JAX": ("lax.scan",)}


def of_layers(rows: list[Row]) -> list[Row]:
    """The rows of one round, each with how many times as long as native it took, or, if it is
    native on more threads, how many times less than on the first number of them.
    """
    ours = {(r["task"], r["threads"]): r for r in rows if r["way"] == "native"}
    for row in rows:
        top, below = row, ours[row["task"], row["threads"]]
        if row is below:
            top = ours[row["task"], rows[0]["threads"]]
        if top is not below:
            ratio, quartiles = _ratio(top, below)
            row |= {"ratio": ratio, "ratio_quartiles": quartiles}
    return rows


def of_steps(rows: list[Row]) -> list[Row]:
    """The rows of one round, ours with `against`: for PyTorch, for JAX with as many replicas (with
    those that suit it best, where it has not as many) and for ourselves with the fewest replicas,
    how many times as long a run's step took there.
    """
    ours = [row for row in rows if row["way"] == "native"]
    for row in ours:
        row["against"] = {}
        for name, ways in PEERS.items():
            peers = [peer for peer in rows if peer["way"] in ways]
            alike = [peer for peer in peers if peer["replicas"] == row["replicas"]]
            if peers:
                row["against"][name] = _ratio(min(alike or peers, key=a_run), row)
        if row is not ours[0]:
            row["against"]["alone"] = _ratio(ours[0], row)
    return rows


def a_run(row: Mapping[str, Any]) -> float:
    """Seconds of one run's step."""
    return float(row["median"] / row["replicas"])


def _ratio(top: Row, below: Row) -> tuple[float, list[float]]:
    """Of the seconds of a run."""
    runs = below["replicas"] / top["replicas"]
    turns = [a / b * runs for a, b in zip(top["times"], below["times"], strict=True)]
    return top["median"] / below["median"] * runs, spread(turns)
