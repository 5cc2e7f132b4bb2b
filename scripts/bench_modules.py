"""`rnnbench.nn.Recurrent` as a module beside nn.LSTM, nn.GRU and the layers of torchrecurrent:
forward and backward, one thread, in turn. Writes results/bench/modules/table.md.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchrecurrent
from torch import nn

from rnnbench.engine.provenance import provenance
from rnnbench.nn import Recurrent

ROOT = Path(__file__).resolve().parents[1]
SHAPES = ((1, 60, 88, 100), (20, 100, 2, 128), (50, 200, 10, 128))  # batch, steps, inputs, units
REPEATS = 9
GROUPS: dict[str, dict[str, Callable[[int, int], nn.Module]]] = {
    "LSTM": {
        "Recurrent('lstm')": lambda i, h: Recurrent("lstm", i, h),
        "nn.LSTM": nn.LSTM,
    },
    "GRU, reset after the product": {
        "Recurrent('gru_reset_after')": lambda i, h: Recurrent("gru_reset_after", i, h),
        "nn.GRU": nn.GRU,
    },
    "MUT1": {
        "Recurrent('mut1')": lambda i, h: Recurrent("mut1", i, h),
        "torchrecurrent.MUT1": torchrecurrent.MUT1,
    },
    "MGU": {
        "Recurrent('mgu')": lambda i, h: Recurrent("mgu", i, h),
        "torchrecurrent.MGU": torchrecurrent.MGU,
    },
}


def once(module: nn.Module, x: torch.Tensor) -> float:
    """Seconds of a forward and a backward pass, all gradients of weights."""
    module.zero_grad()
    begun = time.perf_counter()
    module(x)[0].square().mean().backward()
    return time.perf_counter() - begun


def measured(shape: tuple[int, int, int, int], makers: dict[str, Callable]) -> dict[str, list]:
    batch, steps, inputs, units = shape
    x = torch.randn(steps, batch, inputs)
    modules = {name: make(inputs, units) for name, make in makers.items()}
    for module in modules.values():
        once(module, x)
        once(module, x)
    times: dict[str, list[float]] = {name: [] for name in modules}
    for _ in range(REPEATS):
        for name, module in modules.items():
            times[name].append(once(module, x))
    return times


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    lines = [
        "| what | module | " + " | ".join(",".join(map(str, shape)) for shape in SHAPES) + " |",
        "| --- | --- | " + " | ".join("---:" for _ in SHAPES) + " |",
    ]
    for what, makers in GROUPS.items():
        found = [measured(shape, makers) for shape in SHAPES]
        for name in makers:
            cells = []
            for times in found:
                ours = times[next(iter(makers))]
                ratio = statistics.median(b / a for a, b in zip(ours, times[name], strict=True))
                told = f"{statistics.median(times[name]) * 1e3:.2f} ms"
                cells.append(told if times[name] is ours else f"{told} ({ratio:.1f} ×)")
            lines.append(f"| {what} | `{name}` | {' | '.join(cells)} |")
    made = provenance("cpu", 1)
    head = (
        "Forward, backward and gradients of the weights of one layer as a module, on one thread of "
        f"{made['cpu']}, torch {made['versions']['torch']}; batch, steps, inputs, units. Medians "
        f"of {REPEATS} passes that took turns, after two that were not counted; in parentheses "
        "the median of the ratios to the first of the group. From `scripts/bench_modules.py`.\n"
    )
    folder = ROOT / "results" / "bench" / "modules"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text("\n".join([head, *lines]) + "\n", "utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
