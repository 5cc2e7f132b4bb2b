"""`rnnbench export`: carry a trained network out of here.

What is written is read back and compared before anybody relies on it.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnbench.console import say
from rnnbench.engine.library import blocks_of, twin_of, why_not
from rnnbench.errors import UserError, unknown
from rnnbench.runs.made import add_file
from rnnbench.tools import module, program
from rnnbench.tools.opening import Opened, Weights, open_run
from rnnbench.tools.text import alphabet
from rnnbench.training.run import tensors

FILES = {"torch": "model.pt", "onnx": "model.onnx", "pt2": "model.pt2", "module": "model.py"}
TOLERANCE = 1e-5  # of the largest prediction, or of 1
Network = Callable[..., tuple[Tensor, ...]]


def export(
    place: str | Path, to: str, out: str | None = None, weights: Weights = "best"
) -> tuple[Path, float]:
    """Write the network of the run in a folder to a file; (its path, its largest difference from
    ours). UserError.

    to: torch, a state dict of nn.LSTM, nn.GRU or nn.RNN where the mathematics coincide, and the
        read-out; onnx; pt2; module, a Python file with the weights in it.
    """
    if to not in FILES:
        raise unknown("format for --to:", to, FILES)
    run = open_run(place, {"engine.device": "cpu", "engine.name": "loop"}, weights)
    made, about = program.ExportedNetwork(run), told(run)
    if to == "torch":
        content = tensors(library(run) | {"about": about})
        back = _from_library(content, run)
    elif to == "onnx":
        content = program.onnx(made, about)
        back = _from_onnx(content)
    elif to == "module":
        content = module.text(run, about).encode()
        back = _from_module(content)
    else:
        content = program.pt2(made, about)
        back = _from_pt2(content)
    error = difference(run, made, back)
    assert error <= TOLERANCE, f"the exported network differs from ours by {error:.1e}"
    path = Path(out).expanduser() if out else run.folder.path / FILES[to]
    add_file(path, content)
    return path, error


def run_export(
    place: str | Path, to: str, out: str | None = None, weights: Weights = "best"
) -> None:
    """Write the file, and show how it is used."""
    path, error = export(place, to, out, weights)
    say(f"saved in {path}; read back, it differs from ours by {error:.0e} at most")
    for line in USE[to]:
        say(f"  {line.format(path=path)}")


USE = {
    "torch": (
        "saved = torch.load('{path}', weights_only=True)",
        "rnn = getattr(torch.nn, saved['class'])(**saved['arguments']); "
        "rnn.load_state_dict(saved['rnn'])",
        "readout = torch.nn.Linear(rnn.hidden_size, saved['outputs'], "
        "dtype=rnn.weight_hh_l0.dtype); readout.load_state_dict(saved['readout'])",
        "prediction = readout(rnn.eval()(x)[0])  # x: (time, batch, inputs); symbols as one-hot "
        "vectors",
    ),
    "onnx": (
        "session = onnxruntime.InferenceSession('{path}')",
        "prediction, *states = session.run(None, dict(zip((i.name for i in session.get_inputs()), "
        "(x, *states))))",
        "# x: (time, batch) int64 symbols or (time, batch, inputs); every state: (batch, units), "
        "zeros at the beginning",
    ),
    "pt2": (
        "network = torch.export.load('{path}').module()",
        "prediction, *states = network(x, *states)",
        "# x: (time, batch) int64 symbols or (time, batch, inputs); every state: (batch, units), "
        "zeros at the beginning",
    ),
}


USE |= {
    "module": (
        "import {path.stem}  # from {path.parent}; it needs PyTorch alone",
        "network = {path.stem}.load()",
        "prediction, *states = network(x, *states)  # without states: zeros",
        "# x: (time, batch) int64 symbols or (time, batch, inputs); every state: (batch, units)",
    )
}


def told(run: Opened) -> dict[str, Any]:
    """Where a file comes from, and what its inputs and outputs mean."""
    known = alphabet(run.task)
    layers = range(run.network.layers)
    states = [f"{layer}.{name}" for layer in layers for name in run.plan.state]
    return {
        "run": run.folder.path.resolve().name,
        "cell": run.settings.cell.name,
        "task": run.settings.task["name"],
        "step": run.step if run.step is not None else -1,
        "inputs": f"{run.task.inputs} {'symbols' if run.task.symbols else 'numbers'}",
        "outputs": f"{run.task.outputs} {run.task.loss}",
        "states": " ".join(states),
        "reads": known.reads if known else "",
        "writes": known.writes if known else "",
    }


def library(run: Opened) -> dict[str, Any]:
    """A module of torch.nn: its class, its arguments, its weights; and the read-out's.

    UserError if there is none for this cell.
    """
    twin, model = twin_of(run.plan), run.settings.model
    if twin is None:
        cell = run.settings.cell.name
        raise UserError(f"cell={cell}: {why_not(run.plan)}; for any cell: --to onnx or --to pt2")
    arguments: dict[str, Any] = {
        "input_size": run.task.inputs,
        "hidden_size": run.network.hidden,
        "num_layers": model.layers,
        "dropout": model.dropout,
        "dtype": run.network.flat.dtype,
        **twin.options,
    }
    weights: dict[str, Tensor] = {}
    for layer in range(model.layers):
        blocks = blocks_of(run.plan, run.network.layer(layer), 0)
        for name, values in twin.weights(blocks).items():
            weights[f"{name}_l{layer}"] = values.detach()
    readout = {
        "weight": run.network.params["readout.W"][0].detach().T.contiguous(),
        "bias": run.network.params["readout.b"][0].detach().clone(),
    }
    return {
        "class": twin.module.__name__,
        "arguments": arguments,
        "rnn": weights,
        "outputs": run.task.outputs,
        "readout": readout,
    }


@torch.no_grad()
def difference(run: Opened, made: program.ExportedNetwork, back: Network) -> float:
    """The largest difference between ours and what was read back, over predictions on sequences of
    other lengths than the traced one.
    """
    worst = 0.0
    for steps, batch in ((7, 2), (1, 1)):
        arguments = made.example(steps, batch, seed=steps)
        expected, _ = run.network(
            run.unroll, arguments[0][None], run.network.zero_state(batch), last=False
        )
        got = back(*arguments)[0]
        worst = max(
            worst, ((got - expected[0]).abs().max() / expected.abs().max().clamp(min=1)).item()
        )
    return worst


def _from_library(content: bytes, run: Opened) -> Network:
    saved = torch.load(io.BytesIO(content), weights_only=True)
    rnn = getattr(nn, saved["class"])(**saved["arguments"]).eval()
    rnn.load_state_dict(saved["rnn"])
    readout = nn.Linear(rnn.hidden_size, saved["outputs"], dtype=run.network.flat.dtype)
    readout.load_state_dict(saved["readout"])

    def network(x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        x = F.one_hot(x, run.task.inputs).to(run.network.flat.dtype) if run.task.symbols else x
        return (readout(rnn(x)[0]),)

    return network


def _from_module(content: bytes) -> Network:
    scope: dict[str, Any] = {"__name__": "exported"}
    exec(compile(content, "model.py", "exec", dont_inherit=True), scope)
    network: Network = scope["load"]()
    return network


def _from_pt2(content: bytes) -> Network:
    with program.quiet():
        made: Network = torch.export.load(io.BytesIO(content)).module()
    return made


def _from_onnx(content: bytes) -> Network:
    session = program.runtime().InferenceSession(content)

    def network(*arguments: Tensor) -> tuple[Tensor, ...]:
        given = {i.name: a.numpy() for i, a in zip(session.get_inputs(), arguments, strict=True)}
        return tuple(map(torch.from_numpy, session.run(None, given)))

    return network
