"""From what was typed to jobs, as data: every combination (grid), or trials drawn at random."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from rnnbench.errors import UserError

Swept = ChoiceSweep | RangeSweep | IntervalSweep
Choices = dict[str, str]  # override key → value, as typed


@dataclass(frozen=True)
class Axis:
    """One swept key: its values, or what they are drawn from."""

    key: str
    sweep: Swept | None
    values: tuple[str, ...]  # empty for an interval
    group: bool  # whether the key chooses a file of a group (cell=…)
    drawn: bool  # whether a random search draws it, instead of crossing it


def axes(overrides: Sequence[Override], is_group: Callable[[str], bool]) -> list[Axis]:
    """Every override as an axis. choice(…), range(…) and interval(…) can be drawn from; a plain list a,b is crossed."""
    found = []
    for override in overrides:
        key, value = override.get_key_element(), override.value()
        if not override.is_sweep_override():
            found.append(Axis(key, None, (override.get_value_element_as_str(),), is_group(key), False))
            continue
        discrete = override.is_discrete_sweep()
        values = tuple(override.sweep_string_iterator()) if discrete else ()
        plain = isinstance(value, ChoiceSweep) and value.simple_form
        found.append(Axis(key, cast(Swept, value), values, is_group(key), not (plain or is_group(key))))
    return found


def grid(axes: Sequence[Axis]) -> Iterator[Choices]:
    """Every combination, the last key fastest. UserError for an interval, which has no list of values."""
    for axis in axes:
        if not axis.values:
            raise UserError(f"{axis.key}=interval(…) has no list of values; draw from it with hydra/sweeper=random hydra.sweeper.trials=20")
    keys = [axis.key for axis in axes]
    return (dict(zip(keys, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes)))


def random(axes: Sequence[Axis], trials: int, sampler: str, seed: int) -> Iterator[Choices]:
    """`trials` draws, each crossed with every combination of the keys that are not drawn.

    Trial j has the same draw in every combination, so that cells can be compared trial by trial. sampler: random, or
    quasi-random (Sobol' points, which cover the ranges more evenly).
    """
    drawn, crossed = [a for a in axes if a.drawn], [a for a in axes if not a.drawn]
    draws = list(_draws(drawn, trials, sampler, seed)) if drawn else [{}]
    for combination in grid(crossed):
        for draw in draws:
            yield combination | draw


def _draws(drawn: Sequence[Axis], trials: int, sampler: str, seed: int) -> Iterator[Choices]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = {"random": optuna.samplers.RandomSampler, "quasi": optuna.samplers.QMCSampler}
    if sampler not in samplers:
        raise UserError(f"hydra.sweeper.sampler must be random or quasi, got '{sampler}'")
    options: dict[str, Any] = {"scramble": True, "warn_independent_sampling": False} if sampler == "quasi" else {}
    space = {axis.key: _distribution(axis) for axis in drawn}
    study = optuna.create_study(sampler=samplers[sampler](seed=seed, **options))
    for _ in range(trials):
        trial = study.ask(space)
        # a finished trial is what makes the quasi-random sampler move on to its next point
        study.tell(trial, 0.0)
        yield {key: value if isinstance(value, str) else repr(value) for key, value in trial.params.items()}


def _distribution(axis: Axis) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep = axis.sweep
    if not isinstance(sweep, IntervalSweep):
        return CategoricalDistribution(axis.values)
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    if low is None or high is None or low > high or (log and low <= 0):
        raise UserError(f"{axis.key}: interval({low}, {high}) must go from a smaller to a larger number" + (", both above 0 for log" if log else ""))
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)
