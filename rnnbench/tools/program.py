"""A trained network as a program that needs nothing of ours: for `torch.export` files and ONNX, any
cell, any length and batch.

The loop over time is one `scan`, so that the program is as large as a step, however long the
sequences.

Axes: T time steps   B batch   C outputs   H state width.
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnbench.engine.loop import input_product, step_of, vectors
from rnnbench.errors import UserError
from rnnbench.tools.opening import Opened

LOUD = ("onnxscript", "onnx_ir", "torch.onnx", "torch.export", "torch._export")


class ExportedNetwork(nn.Module):
    """program(x, *states) → (predictions at every step, *states after the last).

    x: (T, B, I) numbers or (T, B) symbols; predictions: (T, B, C); states: (B, H) each, in the
    order of `states`. Sequences begin with zeros.
    """

    def __init__(self, run: Opened) -> None:
        super().__init__()
        network, self.plan = run.network, run.plan
        self.layers = nn.ModuleList()
        for index in range(network.layers):
            own = {name: tensor.detach().cpu() for name, tensor in network.layer(index).items()}
            self.layers.append(_frozen(own))
        self.readout = _frozen(
            {name: network.params[f"readout.{name}"][0].detach().cpu() for name in "Wb"}
        )
        self.states = [
            f"{layer}.{name}" for layer in range(network.layers) for name in run.plan.state
        ]
        self.hidden, self.symbols, self.inputs = network.hidden, network.symbols, run.task.inputs

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        x, after = x.unsqueeze(0), list[Tensor]()
        count = len(self.plan.state)
        for index, params in enumerate(self.layers.children()):
            assert isinstance(params, nn.ParameterDict)
            x, last = self._unroll(
                dict(params.items()), x, states[index * count : (index + 1) * count]
            )
            after += last
        return x[0] @ self.readout["W"] + self.readout["b"], *after

    def _unroll(
        self, params: dict[str, Tensor], x: Tensor, states: tuple[Tensor, ...]
    ) -> tuple[Tensor, list[Tensor]]:
        from torch._higher_order_ops.scan import scan

        plan, one = self.plan, step_of(self.plan)
        products = [params[f"R{g}"] for g in range(len(plan.groups))]
        # scan wants nothing that it reads or makes to be a view of something else: hence the clones
        p, b = (
            {
                name: vector.clone()
                for name, vector in vectors(plan, params, family, self.hidden).items()
            }
            for family in "pb"
        )
        sizes = [len(names) * self.hidden for names in plan.parts]

        def step(state: tuple[Tensor, ...], wx: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
            new = one(*wx.split(sizes, -1), *products, p, b, *state)
            return tuple(s.clone() for s in new), new[0].clone()

        wx_TKBG = input_product(plan, params, x).transpose(0, 1)
        last, outputs = scan(step, tuple(s.unsqueeze(0) for s in states), wx_TKBG)
        return outputs.transpose(0, 1), [s.squeeze(0) for s in last]

    def example(self, steps: int, batch: int, seed: int = 0) -> tuple[Tensor, ...]:
        """Arguments of a call: random inputs, states that are zero."""
        rng = np.random.default_rng(seed)
        dtype = self.readout["b"].dtype
        shape = (steps, batch)
        x = (
            torch.from_numpy(rng.integers(0, self.inputs, shape))
            if self.symbols
            else torch.from_numpy(rng.random((*shape, self.inputs))).to(dtype)
        )
        return x, *(torch.zeros(batch, self.hidden, dtype=dtype) for _ in self.states)


def _frozen(params: dict[str, Tensor]) -> nn.ParameterDict:
    return nn.ParameterDict(
        {name: nn.Parameter(tensor.clone(), requires_grad=False) for name, tensor in params.items()}
    )


def exported(program: ExportedNetwork) -> torch.export.ExportedProgram:
    """Traced; both T and B are free."""
    arguments = program.example(steps=4, batch=3)
    free = torch.export.Dim.DYNAMIC
    if find_spec("torch._higher_order_ops.scan") is None:
        raise UserError(
            f"PyTorch {torch.__version__} cannot export a loop over time; update it, or use --to "
            f"torch"
        )
    with torch.no_grad(), quiet():
        shapes = {"x": {0: free, 1: free}, "states": tuple({0: free} for _ in program.states)}
        return torch.export.export(program, arguments, dynamic_shapes=shapes, strict=False)


def pt2(program: ExportedNetwork, about: dict[str, Any]) -> bytes:
    """A file for `torch.export.load(file).module()(x, *states)`; `about` lies in it as
    rnnbench.json.
    """
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(
            exported(program), buffer, extra_files={"rnnbench.json": json.dumps(about)}
        )
    return buffer.getvalue()


def onnx(program: ExportedNetwork, about: dict[str, Any]) -> bytes:
    """A model with the inputs x, 0.h, … and the outputs prediction, 0.h.next, …; `about` is in its
    metadata.
    """
    runtime()
    with quiet():
        outputs = ["prediction", *(f"{state}.next" for state in program.states)]
        made = torch.onnx.export(
            exported(program),
            (),
            dynamo=True,
            verbose=False,
            input_names=["x", *program.states],
            output_names=outputs,
        )
        assert made is not None
        proto = made.model_proto
    proto.producer_name = "rnnbench"
    for value in (*proto.graph.input, *proto.graph.output):
        for axis, name in zip(
            value.type.tensor_type.shape.dim,
            ("time", "batch") if value.name in ("x", "prediction") else ("batch",),
            strict=False,
        ):
            axis.dim_param = name
    for key, value in about.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
    content: bytes = proto.SerializeToString()
    return content


def runtime() -> Any:
    """onnxruntime. UserError if it, or what writes ONNX, is not installed."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UserError(f"--to onnx needs {', '.join(missing)}: pip install 'rnnbench[onnx]'")
    return import_module("onnxruntime")


@contextmanager
def quiet() -> Iterator[None]:
    """What PyTorch's exporters tell of themselves is nothing for our users."""
    loggers = [logging.getLogger(name) for name in LOUD]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
