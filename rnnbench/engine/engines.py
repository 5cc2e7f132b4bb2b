"""Which engine computes a cell's equations, and on which device."""

import os
import re

import torch

from rnnbench.engine import library, loop, native
from rnnbench.engine.layer import Unroll
from rnnbench.equations.plan import Plan
from rnnbench.errors import UserError
from rnnbench.settings import Engine, one_of

ENGINES: dict[str, Unroll] = {
    "loop": loop.unroll,
    "native": native.unroll,
    "torch": library.unroll,
}


def prepared(engine: Engine) -> str:
    """The device that the settings ask for, with as many threads.

    Raises UserError for an engine, a device or threads that this machine does not have.
    """
    device = engine.device
    one_of("engine", engine.name, ("auto", *ENGINES))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise UserError(f"engine.device must be auto, cpu, cuda or cuda:N, got '{device}'")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            f"engine.device={device}: this PyTorch ({torch.__version__}) sees no CUDA device; use "
            f"engine.device=cpu"
        )
    if (index := int(device.partition(":")[2] or 0)) and index >= torch.cuda.device_count():
        raise UserError(
            f"engine.device={device}: this machine has CUDA devices 0 to "
            f"{torch.cuda.device_count() - 1}"
        )
    if engine.threads is not None:
        refuse_threads("engine.threads", engine.threads)
        torch.set_num_threads(engine.threads)
    return device


def refuse_threads(key: str, threads: int) -> None:
    """Refuse more threads than two a processor: a machine stands still, or the process dies."""
    processors = os.cpu_count() or 1
    if threads > 2 * processors:
        raise UserError(
            f"{key}={threads}: this machine has {processors} processors; use at most "
            f"{2 * processors} threads"
        )


def chosen(
    name: str, plan: Plan, device: str, dtype: torch.dtype, replicas: int
) -> tuple[str, Unroll]:
    """(engine and, if it is second best, why, its unroll) of a cell, for the engine asked for."""
    if name == "loop":
        return "loop", loop.unroll
    refused = library.why_not(plan)
    if name == "torch" and refused:
        raise UserError(f"engine=torch: {refused}; use engine=auto")
    alone = name == "auto" and device.startswith("cuda") and replicas == 1
    if name == "torch" or (alone and not refused):
        return "torch", library.unroll
    if reason := native.why_not(plan, dtype, device):
        if name == "native":
            raise UserError(f"engine=native: {reason}")
        return f"loop ({reason})", loop.unroll
    return "native", native.unroll
