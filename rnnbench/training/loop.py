"""The training loop: K runs of one pack, step by step.

No files, no screen; `run` wraps those around it.

Nothing is reduced over K. A replica whose loss or gradient is not finite, or that stops early, is
frozen; the others go on as if it were not there.

Axes: K replicas   T time steps   B batch   P parameters.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from rnnbench.dynamics.divergence import first_not_finite
from rnnbench.engine.batches import Stacked
from rnnbench.engine.loop import State
from rnnbench.engine.optimizers import restore
from rnnbench.engine.pack import Pack
from rnnbench.runs.records import Row
from rnnbench.tasks.contract import Split, pointwise_loss, summed

GATES_WATCHED = 20  # sequences of the validation data on which gates are measured


@dataclass
class Progress:
    """How far one run is, in plain numbers: goes into checkpoints and records.

    status: running, diverged, stopped or finished. steps: updates made. best_*: of the best
        validation so far.
    """

    status: str = "running"
    reason: str = ""
    steps: int = 0
    valid: dict[str, float] = field(default_factory=dict)
    best_step: int | None = None
    best_valid: dict[str, float] = field(default_factory=dict)
    since_better: int = 0
    solved_at: int | None = None
    rows: list[Row] = field(default_factory=list)


class Training:
    """The state of K runs, and what moves it on: `update`, `validate`, `conclude`."""

    def __init__(self, pack: Pack) -> None:
        self.pack, self.step = pack, 0
        network = pack.network
        self.best = network.flat.clone()
        self.progress = [Progress() for _ in pack.runs]
        self.states: list[State] | None = None  # carried from batch to batch where the task does
        self.sums = {
            name: torch.zeros(len(pack.runs), dtype=torch.float64)
            for name in ("loss", "norm", "norm_before")
        }
        self.summed_steps = 0
        self.seconds = {"warmup": 0.0, "train": 0.0, "eval": 0.0}

    @property
    def alive(self) -> list[bool]:
        return [p.status == "running" for p in self.progress]

    def update(self) -> Tensor:
        """One optimiser step on every living run; returns their losses (K)."""
        started, pack, network = time.perf_counter(), self.pack, self.pack.network
        batch = pack.feeder.training(self.step, pack.train.batch)
        before = self._start(batch, self.states)
        keep = pack.kept((batch.x.shape[1], batch.x.shape[2]), self.step)
        x = batch.x if pack.task.symbols else pack.noisy(batch.x, self.step)
        prediction, states = network(pack.unroll, x, before, batch.last, keep)
        loss_K = self._loss(prediction, batch)
        gradient_KP = network.gradient(loss_K)
        norm_K = pack.optimizer.clip(gradient_KP)
        loss_K = loss_K.detach()
        self._freeze_diverged(loss_K, norm_K, gradient_KP, replace(batch, x=x), before, keep)
        rate_K = pack.schedule.rate(self.step)
        pack.optimizer.update(
            network.flat,
            gradient_KP,
            rate_K,
            torch.tensor(self.alive) if not all(self.alive) else None,
        )
        self.states = [tuple(s.detach() for s in state) for state in states]
        alive_K = torch.tensor(self.alive, device=loss_K.device)
        if not all(
            self.alive
        ):  # what a frozen run read before its last step stays, so that the step can be replayed
            pairs = (
                zip(old, new, strict=True) for old, new in zip(before, self.states, strict=True)
            )
            self.states = [
                tuple(torch.where(alive_K[:, None, None], s, b) for b, s in pair) for pair in pairs
            ]
        self.step += 1
        for progress in self.progress:
            progress.steps += progress.status == "running"
        self.sums["loss"] += loss_K.cpu()
        self.sums["norm"] += norm_K.cpu()
        self.sums["norm_before"] = torch.where(
            alive_K.cpu(), norm_K.cpu().double(), self.sums["norm_before"]
        )
        self.summed_steps += 1
        self.seconds["warmup" if self.step == 1 else "train"] += time.perf_counter() - started
        return loss_K

    def _start(self, batch: Stacked, states: list[State] | None) -> list[State]:
        return (
            states
            if batch.carry and states is not None
            else self.pack.network.zero_state(batch.x.shape[2])
        )

    def _loss(self, prediction: Tensor, batch: Stacked) -> Tensor:
        total, count = summed(pointwise_loss(self.pack.task.loss, prediction, batch.y), batch.mask)
        return total / count.clamp(min=1)

    def _freeze_diverged(
        self,
        loss_K: Tensor,
        norm_K: Tensor,
        gradient_KP: Tensor,
        batch: Stacked,
        states: list[State],
        keep: list[Tensor] | None,
    ) -> None:
        bad = ~(loss_K.isfinite() & norm_K.isfinite())
        if not bad.any():
            return
        rate_K = self.pack.schedule.rate(self.step)
        for k in bad.nonzero()[:, 0].tolist():
            if self.progress[k].status == "running":
                what = "loss" if not loss_K[k].isfinite() else self._first_bad(gradient_KP, k)
                before = self.sums["norm_before"][k].item()
                first = first_not_finite(
                    self.pack.network, k, batch, self.pack.task.loss, self._loss, states, keep
                )
                told = (
                    f"{what} not finite at step {self.step + 1}; learning rate {rate_K[k]:g}, "
                    f"gradient norm one step before {before:.3g}"
                )
                self.progress[k].status = "diverged"
                self.progress[k].reason = told + (
                    f"; first not finite: {first}" if first not in ("", what) else ""
                )

    def _first_bad(self, gradient_KP: Tensor, k: int) -> str:
        for name, gradient in self.pack.network.views(gradient_KP).items():
            if not gradient[k].isfinite().all():
                return f"gradient of {name}"
        return "gradient norm"

    @torch.no_grad()
    def evaluate(
        self, split: Split, best_of: Sequence[int] | None = None
    ) -> list[dict[str, float]]:
        """Loss and metrics on the whole split (or its first `eval_limit` batches), of every run or
        of the best that some runs had.
        """
        started, pack, states = time.perf_counter(), self.pack, None
        network, feeder = pack.network, pack.feeder
        if best_of is not None:
            network, feeder = network.holding(self.best[best_of]), feeder.of(best_of)
        totals: dict[str, list[Tensor]] = {}
        for batch in feeder.evaluation(split, pack.train.eval_batch, pack.train.eval_limit):
            states = (
                states
                if batch.carry and states is not None
                else network.zero_state(batch.x.shape[2])
            )
            prediction, states = network(pack.unroll, batch.x, states, batch.last)
            scores = pack.task.score(prediction, batch.y, batch.mask)
            scores["loss"] = summed(pointwise_loss(pack.task.loss, prediction, batch.y), batch.mask)
            for name, (total, count) in scores.items():
                sums = totals.setdefault(name, [torch.zeros((), dtype=torch.float64)] * 2)
                totals[name] = [sums[0] + total.double().cpu(), sums[1] + count.double().cpu()]
        self.seconds["eval"] += time.perf_counter() - started
        means = {
            name: (total / count.clamp(min=1)).tolist() for name, (total, count) in totals.items()
        }
        return [
            {name: values[k] for name, values in means.items()} for k in range(network.replicas)
        ]

    def validate(self) -> list[list[Row]]:
        """Evaluate on validation data, select the best, stop what should stop; the new rows of
        every run's curve.
        """
        scores, gates = self.evaluate("valid"), self._gates()
        better = [
            self._judge(k, scores[k]) if alive else False for k, alive in enumerate(self.alive)
        ]
        rows: list[list[Row]] = []
        rates = self.pack.schedule.rate(max(self.step - 1, 0))
        for k, progress in enumerate(self.progress):
            fresh: list[Row] = []
            if progress.status != "diverged" and progress.steps == self.step:
                n = max(self.summed_steps, 1)
                train = {
                    "loss": self.sums["loss"][k].item() / n,
                    "lr": rates[k].item(),
                    "grad_norm": self.sums["norm"][k].item() / n,
                }
                seconds = self.seconds["warmup"] + self.seconds["train"]
                fresh.append({"step": self.step, "split": "train"} | train | {"seconds": seconds})
                fresh.append({"step": self.step, "split": "valid"} | scores[k] | gates[k])
            progress.rows += fresh
            rows.append(fresh)
        self.pack.schedule.observe(torch.tensor(better))
        rows_better = torch.tensor(better, device=self.best.device)
        self.best = torch.where(rows_better[:, None], self.pack.network.flat, self.best)
        for name in ("loss", "norm"):
            self.sums[name].zero_()
        self.summed_steps = 0
        return rows

    def _judge(self, k: int, scores: dict[str, float]) -> bool:
        """Note a living run's validation; whether it is the best so far.

        Equal metrics are decided by the loss.
        """
        progress, task, train = self.progress[k], self.pack.task, self.pack.train
        sign = 1 if task.goal == "min" else -1

        def rank(values: dict[str, float]) -> tuple[float, float]:
            return sign * values[task.metric], values["loss"]

        progress.valid = scores
        finite = math.isfinite(scores[task.metric]) and math.isfinite(
            scores["loss"]
        )  # nothing would ever be better than nan
        better = finite and (progress.best_step is None or rank(scores) < rank(progress.best_valid))
        progress.since_better = 0 if better else progress.since_better + 1
        if better:
            progress.best_step, progress.best_valid = self.step, scores
        if (
            task.target is not None
            and progress.solved_at is None
            and sign * scores[task.metric] <= sign * task.target
        ):
            progress.solved_at = self.step
        if train.stop_at_target and progress.solved_at is not None:
            progress.status, progress.reason = (
                "stopped",
                f"target {task.target:g} reached at step {self.step}",
            )
        elif train.patience is not None and progress.since_better >= train.patience:
            progress.status, progress.reason = (
                "stopped",
                f"no better validation in {train.patience} evaluations",
            )
        return better

    @torch.no_grad()
    def _gates(self) -> list[Row]:
        """Mean activation and saturated share (below 0.1 or above 0.9) of every gate, on some
        validation sequences.
        """
        pack = self.pack
        batch = next(pack.feeder.evaluation("valid", GATES_WATCHED, 1))
        found = pack.network.gates(pack.unroll, batch.x, self._start(batch, None))
        rows: list[Row] = [{} for _ in pack.runs]
        for name, values in found.items():
            flat = values.flatten(1)
            saturated = ((flat < 0.1) | (flat > 0.9)).double().mean(1)
            for k, row in enumerate(rows):
                row[f"{name}.mean"], row[f"{name}.saturated"] = (
                    flat[k].mean().item(),
                    saturated[k].item(),
                )
        return rows

    def conclude(self) -> list[dict[str, Any]]:
        """After the last step: test scores of the best and of the final parameters, per run."""
        for progress in self.progress:
            if progress.status == "running":
                progress.status = "finished"
        final = self.evaluate("test")
        earlier = [k for k, p in enumerate(self.progress) if p.best_step not in (None, self.step)]
        best = dict(enumerate(final)) | (
            dict(zip(earlier, self.evaluate("test", earlier), strict=True)) if earlier else {}
        )
        return [
            {
                "best": {"step": p.best_step, "valid": p.best_valid, "test": best[k]}
                if p.best_step is not None
                else None,
                "final": {"valid": p.valid, "test": final[k]},
            }
            for k, p in enumerate(self.progress)
        ]

    def checkpoint(self, k: int) -> dict[str, Any]:
        """Everything that run k needs to go on, in tensors and plain values."""
        network, pack = self.pack.network, self.pack
        return {
            "step": self.step,
            "engine": pack.engine,
            "parameters": {
                name: view[k].detach().clone() for name, view in network.views(network.flat).items()
            },
            "best": {name: view[k].clone() for name, view in network.views(self.best).items()},
            "optimizer": {name: tensor[k].clone() for name, tensor in pack.optimizer.state.items()},
            "schedule": {name: tensor[k].clone() for name, tensor in pack.schedule.state.items()},
            "states": None
            if self.states is None
            else [[s[k].clone() for s in state] for state in self.states],
            "sums": {name: tensor[k].clone() for name, tensor in self.sums.items()},
            "summed_steps": self.summed_steps,
            "progress": asdict(self.progress[k]),
            "seconds": dict(self.seconds),
        }

    def resume(self, saved: list[dict[str, Any]]) -> None:
        """Go on where the checkpoints of all runs, made at the same step, left off."""
        network, pack = self.pack.network, self.pack
        assert len({s["step"] for s in saved}) == 1, "the runs of a pack resume from the same step"
        for flat, key in ((network.flat, "parameters"), (self.best, "best")):
            restore(
                network.views(flat),
                {name: torch.stack([s[key][name] for s in saved]) for name in network.shapes},
            )
        for state, key in (
            (pack.optimizer.state, "optimizer"),
            (pack.schedule.state, "schedule"),
            (self.sums, "sums"),
        ):
            restore(state, {name: torch.stack([s[key][name] for s in saved]) for name in state})
        carried = [s["states"] for s in saved]
        if carried[0] is not None:
            self.states = [
                tuple(torch.stack(rows).to(network.flat) for rows in zip(*layer, strict=True))
                for layer in zip(*carried, strict=True)
            ]
        self.step, self.summed_steps = saved[0]["step"], saved[0]["summed_steps"]
        self.progress = [Progress(**s["progress"]) for s in saved]
        self.seconds = dict(saved[0]["seconds"])
