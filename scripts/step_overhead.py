"""What a training step costs beside forward, backward and optimiser: data, checks, logging, validation.

    python scripts/step_overhead.py [key=value …]      default: cell=lstm task=adding, 128 units, batch 50, 100 steps

Interleaved medians; the share is of the whole step, with validation spread over the steps between two of them.
"""

import statistics
import sys
import time

import torch

from rnnbench.catalogue import resolve
from rnnbench.compose import compose
from rnnbench.engine.pack import Pack
from rnnbench.engine.run import load_task
from rnnbench.engine.train import Training
from rnnbench.tasks.contract import pointwise_loss, summed


def bare(pack: Pack, batch) -> None:
    """Forward, backward, clipping and update on a batch that lies ready."""
    network = pack.network
    prediction, _ = network(pack.unroll, batch.x, network.zero_state(batch.x.shape[2]), batch.last)
    total, count = summed(pointwise_loss(pack.task.loss, prediction, batch.y), batch.mask)
    gradient = network.gradient(total / count)
    pack.optimizer.clip(gradient)
    pack.optimizer.update(network.flat, gradient, torch.tensor([1e-4] * len(pack.runs)))


def timed(function, *arguments) -> float:
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def main(overrides: list[str]) -> None:
    settings = compose(["cell=lstm", "task=adding", "task.length=100", "model.hidden=128", "train.batch=50", *overrides])
    pack = Pack([settings], resolve(settings.cell.step, "cell.step"), load_task(settings, print))
    training, batch = Training(pack), pack.feeder.training(0, settings.train.batch)
    for _ in range(5):
        bare(pack, batch)
        training.update()
    whole, core, valid = [], [], []
    for turn in range(60):
        whole.append(timed(training.update))
        core.append(timed(bare, pack, batch))
        if turn % 20 == 0:
            valid.append(timed(training.validate))
    w, c, v = (statistics.median(times) * 1e3 for times in (whole, core, valid))
    around = statistics.median(a - b for a, b in zip(whole, core, strict=True)) * 1e3
    spread = v / settings.train.eval_every
    print(f"update {w:.2f} ms, forward + backward + optimiser alone {c:.2f} ms (medians of {len(whole)})")
    print(f"around it: {around:.2f} ms, {around / w:.1%} of the step; validation adds {spread:.2f} ms a step every {settings.train.eval_every} steps")


if __name__ == "__main__":
    main(sys.argv[1:])
