"""Which engine computes a cell's equations, and on which device."""

import os
import re

import torch

from rnnbench import catalogue
from rnnbench.engine.layer import Unroll
from rnnbench.engine.unroller import Unroller
from rnnbench.equations.plan import Plan
from rnnbench.errors import UserError
from rnnbench.settings import Engine


def prepared(engine: Engine) -> str:
    """The device that the settings ask for, with as many threads.

    Raises UserError for an engine, a device or threads that this machine does not have.
    """
    device = engine.device
    if engine.name != "auto":
        catalogue.kind("engine", engine.name)  # is refused here, if at all
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
    if name != "auto":
        asked = catalogue.kind("engine", name)
        if reason := asked.why_not(plan, dtype, device):
            raise UserError(f"engine={name}: {reason}")
        return name, asked.unroll
    ranks = {key: one.rank(device, replicas) for key, one in unrollers().items()}
    reason = None
    for key in sorted((key for key in ranks if ranks[key]), key=lambda key: -ranks[key]):
        one = unrollers()[key]
        refused = one.why_not(plan, dtype, device)
        if not refused:
            return f"{key} ({reason})" if reason else key, one.unroll
        reason = refused
    raise AssertionError("the loop computes everything")


def unrollers() -> dict[str, Unroller]:
    """Every engine that is installed, by its name."""
    return catalogue.kinds("engine")
