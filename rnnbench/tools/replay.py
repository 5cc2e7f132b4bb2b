"""Go from a diverged run's checkpoint to its divergence once more, and watch.

A diverged run is left as it was: its last.pt holds the parameters that the failing step was
computed with, and its batch, noise and dropout are functions of seed and step. So one step is
enough, on any machine; after a checkpoint made earlier, as many as lie between.
"""

from dataclasses import dataclass
from typing import Any

import torch

from rnnbench.dynamics.recording import record
from rnnbench.engine.loop import State
from rnnbench.errors import UserError
from rnnbench.tools.opening import Opened, checkpoint
from rnnbench.training.checkpoint import misfit
from rnnbench.training.loop import Training


@dataclass(frozen=True)
class Replay:
    """steps: made again; reproduced: whether it diverged at the recorded step; reason: in the words
    of a record.

    growth: per layer the largest |state| at every time step of the failing batch, where it is
        finite.
    """

    steps: int
    reproduced: bool
    reason: str
    growth: list[list[float]]

    def plain(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "reproduced": self.reproduced,
            "reason": self.reason,
            "growth": self.growth,
        }


def replay(opened: Opened) -> Replay | None:
    """None if the run did not diverge, or if its checkpoint is gone."""
    if (
        opened.record is None
        or opened.record["status"] != "diverged"
        or not opened.folder.last_path.exists()
    ):
        return None
    training = Training(opened.pack())
    saved = checkpoint(opened.folder, opened.settings.train.steps)
    if why := misfit(saved, training.checkpoint(0), training.carried(saved["step"])):
        raise UserError(f"{opened.folder.last_path} is not a checkpoint of this run: {why}")
    training.resume([saved])
    progress = training.progress[0]
    # a pack's other runs may have gone on
    training.step, progress.status = (progress.steps, "running")
    before, failed_at = training.step, opened.record["steps"]
    states = training.states
    while training.alive[0] and training.step <= failed_at:
        states = training.states
        training.update()
    failing = training.pack.feeder.training(training.step - 1, training.pack.train.batch)
    start = states if failing.carry else None
    with torch.no_grad():
        network = training.pack.perturbed(training.step - 1)
        run = record(network, failing, training.pack.task.loss, start)
    growth = [[_largest(state) for state in layer.states] for layer in run.layers]
    finite = [[size for size in sizes if size < float("inf")] for sizes in growth]
    diverged = progress.status == "diverged"
    return Replay(
        training.step - before,
        diverged and progress.steps == failed_at,
        progress.reason if diverged else "",
        finite,
    )


def _largest(state: State) -> float:
    """The largest modulus in the states of one layer at one step."""
    return max(part.abs().max().item() for part in state)
