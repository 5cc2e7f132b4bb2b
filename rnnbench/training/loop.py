"""The training loop: K runs of one pack, step by step.

No files, no screen; `run` wraps those around it.

Nothing is reduced over K. A replica whose loss or gradient is not finite, or that stops early,
leaves the arrays before the next step; the others go on as if it had never been there.

Axes: K replicas   T time steps   B batch   P parameters.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rnnbench.dynamics.divergence import first_not_finite
from rnnbench.engine import rows
from rnnbench.engine.batches import Feeder, Stacked
from rnnbench.engine.gradient import Gradient, mean_loss
from rnnbench.engine.loop import State
from rnnbench.engine.network import Network
from rnnbench.engine.optimizers import restore
from rnnbench.engine.pack import Pack
from rnnbench.runs.records import CurveRow
from rnnbench.tasks.contract import Split

GATES_WATCHED = 20  # sequences of the validation data on which gates are measured


@dataclass
class RunProgress:
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
    rows: list[CurveRow] = field(default_factory=list)


class Training:
    """The state of K runs, and what moves it on: `update`, `validate`, `conclude`.

    pack, states, sums: of the runs that are `present`, a row each, in this order. runs, feeder,
        progress, best: of all K. gone: run → the checkpoint with which it left. seconds: of the
        pack; see `seconds_of`.
    """

    def __init__(self, pack: Pack) -> None:
        self.pack, self.step = pack, 0
        self.runs = tuple(pack.runs)
        self.feeder = pack.feeder
        self.present = list(range(len(self.runs)))
        self.gone: dict[int, dict[str, Any]] = {}
        self.best = rows.taken(pack.network.flat.detach(), self.present)
        self.progress = [RunProgress() for _ in self.runs]
        self.states: list[State] | None = None  # carried from batch to batch where the task does
        self.sums = {
            name: torch.zeros(len(self.runs), dtype=torch.float64)
            for name in ("loss", "norm", "norm_before")
        }
        self.summed_steps = 0
        self.seconds = {"warmup": 0.0, "train": 0.0, "eval": 0.0}
        self.shares = dict(self.seconds)  # of a run that is present

    @property
    def alive(self) -> list[bool]:
        return [p.status == "running" for p in self.progress]

    def update(self) -> Tensor:
        """One optimiser step on every living run; returns the losses (K), NaN where there is no
        such run any more.
        """
        started = time.perf_counter()
        self._part()
        pack, network = self.pack, self.pack.perturbed(self.step)
        batch = pack.feeder.training(self.step, pack.train.batch)
        before = self._start(batch, self.states)
        if pack.noisy_states:
            before = pack.thinned(before, batch.x.shape[1], self.step)
        keep = pack.kept((batch.x.shape[1], batch.x.shape[2]), self.step)
        if not pack.task.symbols and any(pack.noise):
            batch = replace(batch, x=pack.noisy(batch.x, self.step))
        rate_K = pack.schedule.rate(self.step)
        loss_K, norm_K, self.states, fine = pack.advance(batch, before, rate_K, keep, network)
        if fine:
            self.sums["norm_before"].copy_(norm_K)
        else:
            self._note_diverged(network, loss_K, norm_K, batch, before, keep)
            self._take_back(before, norm_K, loss_K.isfinite() & norm_K.isfinite())
        self.sums["loss"] += loss_K.cpu()
        self.sums["norm"] += norm_K.cpu()
        self.summed_steps += 1
        self.step += 1
        for k in self.present:
            self.progress[k].steps += self.progress[k].status == "running"
        self._spent("warmup" if self.step == 1 else "train", started, len(self.present))
        return self._of_all(loss_K)

    def _spent(self, what: str, since: float, runs: int) -> None:
        """Time of the pack, to so many runs in equal shares."""
        taken = time.perf_counter() - since
        self.seconds[what] += taken
        self.shares[what] += taken / runs

    def seconds_of(self, k: int) -> dict[str, float]:
        """What run k took: its share of the pack's time while it was there, times the number of
        runs that the pack began with. So it is the pack's time where nobody left before the end.
        """
        if k in self.gone:
            return dict(self.gone[k]["seconds"])
        return {what: share * len(self.runs) for what, share in self.shares.items()}

    def _part(self) -> None:
        """Runs that have ended leave the arrays: a step costs what the living ones cost."""
        staying = [
            row for row, k in enumerate(self.present) if self.progress[k].status == "running"
        ]
        if len(staying) == len(self.present):
            return
        assert staying, "there is no run to go on with"
        for row, k in enumerate(self.present):
            if row not in staying:
                self.gone[k] = self.checkpoint(k)
        self.pack = self.pack.taken(staying)
        self.present = [self.present[row] for row in staying]
        self.sums = {name: tensor[staying] for name, tensor in self.sums.items()}
        if self.states is not None:
            self.states = [tuple(s[staying] for s in state) for state in self.states]

    def _of_all(self, values: Tensor) -> Tensor:
        """One value a present run → one of every run (K), NaN for those that have left."""
        if len(self.present) == len(self.runs):
            return values
        whole = values.new_full((len(self.runs),), math.nan)
        whole[self.present] = values
        return whole

    def _start(self, batch: Stacked, states: list[State] | None) -> list[State]:
        if batch.carry and states is not None:
            return states
        return self.pack.network.zero_state(batch.x.shape[2])

    def _take_back(self, before: list[State], norm_K: Tensor, fine_K: Tensor) -> None:
        """What a diverged run read before its last step stays, so that the step can be replayed."""
        assert self.states is not None
        self.states = [
            tuple(
                torch.where(fine_K.view(-1, *[1] * (new.ndim - 1)), new, old)
                for old, new in zip(was, now, strict=True)
            )
            for was, now in zip(before, self.states, strict=True)
        ]
        fine, norm = fine_K.cpu(), norm_K.cpu().double()
        self.sums["norm_before"] = torch.where(fine, norm, self.sums["norm_before"])

    def _note_diverged(
        self,
        network: Network,
        loss_K: Tensor,
        norm_K: Tensor,
        batch: Stacked,
        states: list[State],
        keep: list[Tensor] | None,
    ) -> None:
        """Say of every run whose loss or gradient is not finite where that began."""
        loss = partial(mean_loss, self.pack.task.loss)
        rate_K = self.pack.schedule.rate(self.step)
        # the parameters have stayed
        _, gradient, _ = self.pack.gradient(batch, states, keep, network)
        for row in (~(loss_K.isfinite() & norm_K.isfinite())).nonzero()[:, 0].tolist():
            what = "loss" if not loss_K[row].isfinite() else _first_bad(gradient, row)
            before = self.sums["norm_before"][row].item()
            kind = self.pack.task.loss
            first = first_not_finite(network, row, batch, kind, loss, states, keep)
            told = (
                f"{what} not finite at step {self.step + 1}; learning rate {rate_K[row]:g}, "
                f"gradient norm one step before {before:.3g}"
            )
            named = f"; first not finite: {first}" if first not in ("", what) else ""
            progress = self.progress[self.present[row]]
            progress.status, progress.reason = "diverged", told + named

    def evaluate(self, split: Split) -> list[dict[str, float]]:
        """Loss and metrics of every present run on the whole split (or its first `eval_limit`
        batches).
        """
        return self._scores(split, self.pack.network, self.pack.feeder)

    @torch.no_grad()
    def _scores(self, split: Split, network: Network, feeder: Feeder) -> list[dict[str, float]]:
        started, pack, states = time.perf_counter(), self.pack, None
        totals: dict[str, list[Tensor]] = {}
        for batch in feeder.evaluation(split, pack.train.eval_batch, pack.train.eval_limit):
            states = (
                states
                if batch.carry and states is not None
                else network.zero_state(batch.x.shape[2])
            )
            prediction, states = network(pack.unroll, batch.x, states, batch.last)
            scores = pack.task.scores(prediction, batch.y, batch.mask)
            for name, (total, count) in scores.items():
                sums = totals.setdefault(name, [torch.zeros((), dtype=torch.float64)] * 2)
                totals[name] = [sums[0] + total.double().cpu(), sums[1] + count.double().cpu()]
        self._spent("eval", started, network.replicas)
        means = {
            name: (total / count.clamp(min=1)).tolist() for name, (total, count) in totals.items()
        }
        return [
            {name: values[k] for name, values in means.items()} for k in range(network.replicas)
        ]

    def validate(self) -> list[list[CurveRow]]:
        """Evaluate on validation data, select the best, stop what should stop; the new rows of
        every run's curve.
        """
        scores, gates = self.evaluate("valid"), self._gates()
        fresh: list[list[CurveRow]] = [[] for _ in self.runs]
        better = []
        rates = self.pack.schedule.rate(max(self.step - 1, 0))
        n = max(self.summed_steps, 1)
        seconds = self.seconds["warmup"] + self.seconds["train"]
        for row, k in enumerate(self.present):
            progress = self.progress[k]
            better.append(progress.status == "running" and self._judge(k, scores[row]))
            if better[row]:
                self.best[k] = self.pack.network.flat[row].detach()
            if progress.status == "diverged" or progress.steps < self.step:
                continue
            train = {
                "loss": self.sums["loss"][row].item() / n,
                "lr": rates[row].item(),
                "grad_norm": self.sums["norm"][row].item() / n,
            }
            fresh[k] = [
                {"step": self.step, "split": "train"} | train | {"seconds": seconds},
                {"step": self.step, "split": "valid"} | scores[row] | gates[row],
            ]
            progress.rows += fresh[k]
        self.pack.schedule.observe(torch.tensor(better))
        for name in ("loss", "norm"):
            self.sums[name].zero_()
        self.summed_steps = 0
        return fresh

    def _judge(self, k: int, scores: dict[str, float]) -> bool:
        """Note a living run's validation; whether it is the best so far.

        Equal metrics are decided by the loss.
        """
        progress, task, train = self.progress[k], self.pack.task, self.pack.train
        sign = 1 if task.goal == "min" else -1

        def rank(values: dict[str, float]) -> tuple[float, float]:
            return sign * values[task.metric], values["loss"]

        progress.valid = scores
        # nothing would ever be better than nan
        finite = math.isfinite(scores[task.metric]) and math.isfinite(scores["loss"])
        better = finite and (progress.best_step is None or rank(scores) < rank(progress.best_valid))
        progress.since_better = 0 if better else progress.since_better + 1
        if better:
            progress.best_step, progress.best_valid = self.step, scores
        if (
            task.threshold is not None
            and progress.solved_at is None
            and sign * scores[task.metric] <= sign * task.threshold
        ):
            progress.solved_at = self.step
        if train.stop_at_target and progress.solved_at is not None:
            progress.status = "stopped"
            progress.reason = f"target {task.threshold:g} reached at step {self.step}"
        elif train.patience is not None and progress.since_better >= train.patience:
            progress.status = "stopped"
            progress.reason = f"no better validation in {train.patience} evaluations"
        return better

    @torch.no_grad()
    def _gates(self) -> list[CurveRow]:
        """Mean activation and saturated share (below 0.1 or above 0.9) of every gate, on some
        validation sequences.
        """
        pack = self.pack
        batch = next(pack.feeder.evaluation("valid", GATES_WATCHED, 1))
        found = pack.network.gates(pack.unroll, batch.x, self._start(batch, None))
        fresh: list[CurveRow] = [{} for _ in pack.runs]
        for name, values in found.items():
            flat = values.flatten(1)
            saturated = ((flat < 0.1) | (flat > 0.9)).double().mean(1)
            for k, row in enumerate(fresh):
                row[f"{name}.mean"] = flat[k].mean().item()
                row[f"{name}.saturated"] = saturated[k].item()
        return fresh

    def conclude(self) -> list[dict[str, Any]]:
        """After the last step: test scores of the best and of the final parameters, per run."""
        for progress in self.progress:
            if progress.status == "running":
                progress.status = "finished"
        final = self._scores("test", self._final(), self.feeder)
        earlier = [k for k, p in enumerate(self.progress) if p.best_step not in (None, p.steps)]
        best = dict(enumerate(final))
        if earlier:
            network = self.pack.network.holding(rows.taken(self.best, earlier))
            scores = self._scores("test", network, self.feeder.of(earlier))
            best |= dict(zip(earlier, scores, strict=True))
        return [
            {
                "best": {"step": p.best_step, "valid": p.best_valid, "test": best[k]}
                if p.best_step is not None
                else None,
                "final": {"valid": p.valid, "test": final[k]},
            }
            for k, p in enumerate(self.progress)
        ]

    def _final(self) -> Network:
        """The networks of all runs as they are, or were when they left."""
        flat = rows.zeros_like(self.best)
        flat[self.present] = self.pack.network.flat.detach()
        network = self.pack.network.holding(flat)
        for k, saved in self.gone.items():
            for name, view in network.params.items():
                view[k] = saved["parameters"][name]
        return network

    def checkpoint(self, k: int) -> dict[str, Any]:
        """Everything that run k needs to go on, in tensors and plain values."""
        if k in self.gone:
            return self.gone[k]
        row, network, pack = self.present.index(k), self.pack.network, self.pack
        states = self.states
        if states is not None:
            states = [tuple(s[row].clone() for s in state) for state in states]
        optimizer, schedule = pack.optimizer.state, pack.schedule.state
        return {
            "step": self.step,
            "engine": pack.engine,
            "parameters": {n: view[row].detach().clone() for n, view in network.params.items()},
            "best": {n: view[k].clone() for n, view in network.views(self.best).items()},
            "optimizer": {name: tensor[row].clone() for name, tensor in optimizer.items()},
            "schedule": {name: tensor[row].clone() for name, tensor in schedule.items()},
            "states": states,
            "sums": {name: tensor[row].clone() for name, tensor in self.sums.items()},
            "summed_steps": self.summed_steps,
            "progress": asdict(self.progress[k]),
            "seconds": self.seconds_of(k),
        }

    def carried(self, step: int) -> list[State] | None:
        """The states that the batch at `step` starts from, as zeros; None where it starts anew."""
        batch = self.pack.feeder.training(step, self.pack.train.batch)
        return self.pack.network.zero_state(batch.x.shape[2]) if batch.carry else None

    def resume(self, saved: list[dict[str, Any]]) -> None:
        """Go on where the checkpoints of all runs, made at the same step, left off."""
        network, pack = self.pack.network, self.pack
        assert len({s["step"] for s in saved}) == 1, "the runs of a pack resume from the same step"
        kept = {
            "parameters": network.views(network.flat),
            "best": network.views(self.best),
            "optimizer": pack.optimizer.state,
            "schedule": pack.schedule.state,
            "sums": self.sums,
        }
        for key, tensors in kept.items():
            stacked = {name: torch.stack([s[key][name] for s in saved]) for name in tensors}
            restore(tensors, stacked)
        carried = [s["states"] for s in saved]
        if self.carried(saved[0]["step"]) and carried[0] is not None:
            layers = zip(*carried, strict=True)
            self.states = [_stacked(layer, network.flat.device) for layer in layers]
        self.step, self.summed_steps = saved[0]["step"], saved[0]["summed_steps"]
        self.progress = [RunProgress(**s["progress"]) for s in saved]
        self.seconds = dict(saved[0]["seconds"])
        self.shares = {what: taken / len(saved) for what, taken in self.seconds.items()}


def _stacked(layer: Sequence[State], device: torch.device) -> State:
    """The states of a layer, those of every run along K."""
    return tuple(torch.stack(rows).to(device) for rows in zip(*layer, strict=True))


def _first_bad(gradient: Gradient, row: int) -> str:
    for name, part in gradient.items():
        if not part[row].isfinite().all():
            return f"gradient of {name}"
    return "gradient norm"
