"""Whether what a file holds is a checkpoint that a run can go on from: its parts, kinds, shapes."""

from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from torch import Tensor

from rnnbench.engine.loop import State
from rnnbench.training.loop import RunProgress

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
NUMBERS = (int, float, type(None))
STATUSES = ("running", "diverged", "stopped", "finished")
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
    if not 0 <= saved["summed_steps"] <= saved["step"]:
        return f"its summed_steps {saved['summed_steps']} are none of its {saved['step']} steps"
    seconds = saved["seconds"]
    known = set(seconds) == {"warmup", "train", "eval"}
    if not known or not all(type(taken) in (int, float) for taken in seconds.values()):
        return "its seconds are not warmup, train, eval"
    return _lacking_progress(saved["progress"], saved["step"])


def _lacking_progress(progress: Mapping[str, Any], step: int) -> str:
    """The same of how far a run is: of what kinds its values are, and that they belong together."""
    kinds = get_type_hints(RunProgress)
    if kinds.keys() != progress.keys():
        return f"its progress lacks {', '.join(sorted(map(str, kinds.keys() ^ progress.keys())))}"
    for name, value in vars(RunProgress()).items():
        found = progress[name]
        whole = name in ("best_step", "solved_at") and (found is None or type(found) is int)
        if not whole and type(found) is not type(value):
            return f"its progress.{name} is {found!r}"
    for name in ("steps", "best_step", "solved_at", "since_better"):
        if not 0 <= (progress[name] or 0) <= step:
            return f"its progress.{name} {progress[name]} is none of its {step} steps"
    if progress["status"] not in STATUSES:
        return f"its progress.status is {progress['status']!r}"
    for name in ("valid", "best_valid"):
        if not _are_numbers(progress[name]):
            return f"its progress.{name} holds something else than numbers"
    if (progress["best_step"] is None) != (not progress["best_valid"]):
        return "its progress.best_step and progress.best_valid do not belong together"
    for row in progress["rows"]:
        if not isinstance(row, dict) or not {"step", "split"} <= row.keys():
            return "its progress.rows are no rows of a curve"
        numbers = {key: value for key, value in row.items() if key != "split"}
        if not _are_numbers(numbers) or type(row["step"]) is not int:
            return "its progress.rows hold something else than numbers"
        if row["split"] not in ("train", "valid"):
            return f"its progress.rows have the split {row['split']!r}"
    return ""


def _are_numbers(values: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) and type(v) in NUMBERS for key, v in values.items())


def misfit(
    saved: Mapping[str, Any], fresh: Mapping[str, Any], carried: Sequence[State] | None
) -> str:
    """What tells the tensors of a checkpoint from those of its run at the start; "" for nothing
    but their numbers, which are finite in a run that goes on.

    carried: the states that its next batch starts from, as zeros (1, B, H); None: it carries none.
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
            goes_on = saved["progress"]["status"] == "running" and part in ("parameters", "best")
            if goes_on and not found.isfinite().all():
                return f"its {part}.{name} holds numbers that are not finite"
    if carried is None or not saved["step"]:
        return ""
    states = saved["states"]
    expected = [[s.shape[1:] for s in layer] for layer in carried]
    if not isinstance(states, list) or [len(layer) for layer in expected] != list(
        map(_size, states)
    ):
        return "its states are not those of the network's layers"
    for layer, shapes in zip(states, expected, strict=True):
        for state, shape in zip(layer, shapes, strict=True):
            # a context is empty at the start: an axis of 0
            if not isinstance(state, Tensor) or not _alike(state.shape, shape):
                return f"its states do not have the shape {tuple(shape)}"
    return ""


def _size(layer: Any) -> int:
    return len(layer) if isinstance(layer, (list, tuple)) else -1


def _alike(found: Sequence[int], shape: Sequence[int]) -> bool:
    return len(found) == len(shape) and all(
        n == wanted or not wanted for n, wanted in zip(found, shape, strict=True)
    )
