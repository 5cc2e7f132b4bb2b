"""From what was typed, in Hydra's grammar, to jobs, as data: every combination (grid), or trials
drawn at random. No other module reads that grammar.
"""

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep

from rnnbench.errors import UserError
from rnnbench.settings import one_of, within

Swept = ChoiceSweep | RangeSweep | IntervalSweep
Choices = dict[str, str]  # override key → value, as typed
CROSSED = "crossed"  # seed=tag(crossed, range(3)): every draw of a random search with each of them
MOST = 1_000_000  # runs of one sweep
COMPLEMENT = "complement"  # tag(complement, log, interval(a, b)): one minus the value is drawn


@dataclass(frozen=True)
class SweptKey:
    """One swept key: its values, or what they are drawn from. typed: behind the equals sign."""

    key: str
    typed: str
    sweep: Swept | None
    values: tuple[str, ...]  # empty for an interval, and for a pattern that matches nothing
    group: bool  # whether the key chooses a file of a group (cell=…)
    drawn: bool  # whether a random search draws it, instead of crossing it


def axes(
    words: Sequence[str], is_group: Callable[[str], bool], loader: ConfigLoader | None = None
) -> list[SweptKey]:
    """Every override, as it was typed, as an axis.

    choice(…), range(…) and interval(…) can be drawn from; a plain list a,b is crossed, and so is
    tag(crossed, range(3)). Raises HydraException for what its grammar does not know.
    """
    found = []
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(words)):
        key, value = override.get_key_element(), override.value()
        typed = (override.input_line or "").partition("=")[2]
        if not override.is_sweep_override():
            found.append(SweptKey(key, typed, None, (typed,), is_group(key), False))
            continue
        discrete = override.is_discrete_sweep()
        if isinstance(value, RangeSweep):
            _refuse_many(f"{key}={typed}", _length(value))
        values = tuple(override.sweep_string_iterator()) if discrete else ()
        plain = isinstance(value, ChoiceSweep) and value.simple_form
        crossed = plain or is_group(key) or CROSSED in getattr(value, "tags", ())
        swept = cast(Swept, value)
        found.append(SweptKey(key, typed, swept, values, is_group(key), not crossed))
    return found


def value(text: str) -> Any:
    """One value, as it was typed, as Hydra reads it: a number, a text, a list …"""
    return OverridesParser.create().parse_override(f"key={text}").value()


def grid(axes: Sequence[SweptKey]) -> Iterator[Choices]:
    """Every combination, the last key fastest.

    UserError for an interval, which has no list of values, and for a pattern that matches nothing.
    """
    for axis in axes:
        if not axis.values:
            why = (
                "has no list of values; draw from it with trials=20"
                if isinstance(axis.sweep, IntervalSweep)
                else "matches nothing; write the values with commas"
            )
            raise UserError(f"{axis.key}={axis.typed} {why}")
    _refuse_many("the sweep", math.prod(len(axis.values) for axis in axes))
    keys = [axis.key for axis in axes]
    return (
        dict(zip(keys, values, strict=True))
        for values in itertools.product(*(axis.values for axis in axes))
    )


def _length(values: RangeSweep) -> float:
    try:
        return (float(values.stop or 0) - float(values.start or 0)) / float(values.step)
    except ZeroDivisionError:
        return 0  # Hydra says so
    except OverflowError:
        return math.inf


def _refuse_many(what: str, count: float) -> None:
    if not count <= MOST:
        raise UserError(
            f"{what} has {count:.3g} values, more than the {MOST:,} runs that a sweep can have; "
            f"choose fewer"
        )


@dataclass(frozen=True)
class Draws:
    """How a random search draws: so many trials; sampler random or quasi (Sobol' points, which
    cover ranges more evenly).
    """

    trials: int
    sampler: str
    seed: int

    def __post_init__(self) -> None:
        one_of("sampler", self.sampler, ("random", "quasi"))
        within("hydra.sweeper", self, trials=(1, MOST), seed=(0, 2**32 - 1))


def random(axes: Sequence[SweptKey], draws: Draws) -> Iterator[Choices]:
    """Trials, each crossed with every combination of the keys that are not drawn.

    UserError if nothing is to be drawn.

    Trial j has the same draw in every combination, so that cells can be compared trial by trial.
    """
    drawn, crossed = [a for a in axes if a.drawn], [a for a in axes if not a.drawn]
    if not drawn:
        raise UserError(
            "a random search needs something to draw: key=interval(low, high), key=choice(a, b) "
            "or key=range(low, high)"
        )
    _refuse_many("the sweep", draws.trials * math.prod(len(axis.values) for axis in crossed))
    trials = list(_drawn(drawn, draws))
    return (combination | trial for combination in grid(crossed) for trial in trials)


def _drawn(drawn: Sequence[SweptKey], draws: Draws) -> Iterator[Choices]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = {axis.key: _distribution(axis) for axis in drawn}
    sampler: Any
    with warnings.catch_warnings():
        # said of quasi-random sampling since 2021
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if draws.sampler == "quasi":
            sampler = optuna.samplers.QMCSampler(
                scramble=True, seed=draws.seed, warn_independent_sampling=False
            )
        else:
            sampler = optuna.samplers.RandomSampler(seed=draws.seed)
        study = optuna.create_study(sampler=sampler)
        for _ in range(draws.trials):
            trial = study.ask(space)
            # a finished trial is what makes the quasi-random sampler move on to its next point
            study.tell(trial, 0.0)
            yield {axis.key: _as_typed(axis, trial.params[axis.key]) for axis in drawn}


def _as_typed(axis: SweptKey, value: Any) -> str:
    """What was drawn, as one would type it; with `tag(complement, …)` it is one minus the value."""
    if isinstance(value, str):
        return value
    tags = axis.sweep.tags if isinstance(axis.sweep, IntervalSweep) else ()
    return repr(1 - value if COMPLEMENT in tags else value)


def _distribution(axis: SweptKey) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep = axis.sweep
    if not isinstance(sweep, IntervalSweep):
        return CategoricalDistribution(axis.values)
    low, high, log = sweep.start, sweep.end, "log" in sweep.tags
    if COMPLEMENT in sweep.tags and low is not None and high is not None:
        low, high = float(1 - high), float(1 - low)
    if low is None or high is None or not -math.inf < low <= high < math.inf or (log and low <= 0):
        raise UserError(
            f"{axis.key}: interval({low}, {high}) must go from a smaller to a larger number"
            + (", both above 0 for log" if log else "")
        )
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)
