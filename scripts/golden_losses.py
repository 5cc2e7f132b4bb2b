"""Rewrite tests/golden/losses.txt: the training losses of three tiny runs, step by step.

    python scripts/golden_losses.py

A change of this file is a change of numbers: it needs a reason, and a line under **Numbers** in the
changelog.
"""

from collections.abc import Iterator
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden" / "losses.txt"
STEPS = 20

# Between them: values and symbols, mask and last, one and two layers, dropout, noise, three
# optimisers, three schedules.
RUNS = {
    "vanilla LSTM, adding, Adam": "cell=lstm_vanilla cell.forget_bias=1 task=adding "
    "task.length=10 train.input_noise=0.1 "
    "optim=adam optim.lr=0.003 optim.schedule=cosine",
    "GRU, copy, Nesterov": "cell=gru cell.init=chrono task=copy task.length=5 task.items=3 "
    "optim=nesterov optim.lr=0.1",
    "MUT1, memorize, RMSprop": "cell=mut1 task=memorize model.layers=2 model.dropout=0.2 "
    "optim=rmsprop optim.lr=0.01 optim.schedule=step optim.factor=0.5 optim.every=8",
}
COMMON = (
    f"model.dtype=float64 model.hidden=6 train.batch=4 train.steps={STEPS} seed=1 "
    f"engine=loop engine.device=cpu"
)


def losses(overrides: str) -> list[float]:
    """The losses of the steps of one run."""
    from rnnbench.compose import compose
    from rnnbench.engine.pack import Pack
    from rnnbench.layers import layer_of
    from rnnbench.training.loop import Training
    from rnnbench.training.run import load_task

    settings = compose(f"{overrides} {COMMON}".split())
    training = Training(
        Pack([settings], layer_of(settings.cell, settings.model), load_task(settings, print))
    )
    return [training.update().item() for _ in range(STEPS)]


def lines() -> Iterator[str]:
    for name, overrides in RUNS.items():
        yield f"# {name}: {overrides}"
        yield from (f"{step:2} {loss:.15g}" for step, loss in enumerate(losses(overrides), 1))


if __name__ == "__main__":
    GOLDEN.write_text("\n".join(lines()) + "\n", "utf-8")
    print(f"wrote {len(RUNS)} runs of {STEPS} steps to {GOLDEN}")
