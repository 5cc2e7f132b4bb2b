"""Whether what a file holds is a checkpoint that a run can go on from: its parts, kinds, shapes."""

from collections.abc import Mapping
from typing import Any, get_type_hints

from torch import Tensor

from rnnbench.training.loop import Progress

PARTS: dict[str, Any] = {
    "step": int,
    "engine": str,
    "parameters": dict,
    "best": dict,
    "optimizer": dict,
    "schedule": dict,
    "states": (list, type(None)),
    "sums": dict,
    "summed_steps": int,
    "progress": dict,
    "seconds": dict,
}
TENSORS = ("parameters", "best", "optimizer", "schedule", "sums")


class Misfit(Exception):
    """Checkpoints that their runs cannot go on from: which of the pack, and why."""

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = dict(reasons)


def lacking(saved: Mapping[str, Any], steps: int) -> str:
    """What is wrong with the parts of a checkpoint of a run of so many steps; "" for nothing."""
    if missing := PARTS.keys() - saved.keys():
        return f"it lacks {', '.join(sorted(missing))}"
    for name, kind in PARTS.items():
        if not isinstance(saved[name], kind) or isinstance(saved[name], bool):
            return f"its {name} is a {type(saved[name]).__name__}"
    if not 0 <= saved["step"] <= steps:
        return f"its step {saved['step']} is none of the run's {steps}"
    kinds, progress = get_type_hints(Progress), saved["progress"]
    if kinds.keys() != progress.keys():
        return f"its progress lacks {', '.join(sorted(kinds.keys() ^ progress.keys()))}"
    for name, value in vars(Progress()).items():
        found = progress[name]
        whole = name in ("best_step", "solved_at") and (found is None or type(found) is int)
        if not whole and type(found) is not type(value):
            return f"its progress.{name} is {found!r}"
    if set(saved["seconds"]) != {"warmup", "train", "eval"}:
        return "its seconds are not warmup, train, eval"
    return ""


def misfit(saved: Mapping[str, Any], fresh: Mapping[str, Any]) -> str:
    """What tells the tensors of a checkpoint from those of its run at the start; "" for nothing
    but their numbers.
    """
    for part in TENSORS:
        if saved[part].keys() != fresh[part].keys():
            odd = sorted(map(str, saved[part].keys() ^ fresh[part].keys()))
            return f"its {part} differ from the network's in {', '.join(odd)}"
        for name, tensor in fresh[part].items():
            found = saved[part][name]
            if not isinstance(found, Tensor) or found.shape != tensor.shape:
                shape = tuple(found.shape) if isinstance(found, Tensor) else found
                return f"its {part}.{name} has the shape {shape}, not {tuple(tensor.shape)}"
            if found.dtype != tensor.dtype:
                return f"its {part}.{name} is of {found.dtype}, not {tensor.dtype}"
    return ""
