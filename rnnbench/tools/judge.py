"""`rnnbench judge`: is this cell better than that one? Pairs of runs are added until a sequential
test decides, or the budget ends.

A question is two cells, a task with its settings, what is equal between them (parameters, units or
seconds) and a margin. Both cells get their rate from the same small search on seeds of its own, and
are compared on other seeds, the same for both (`stats.sequential`); where the first is better,
fresh seeds have to confirm it. Runs are ordinary runs of a study: what has ended is not repeated,
what was interrupted goes on. `judge.json` in the study's folder is the ledger of what was asked.
"""

import hashlib
import json
import math
import re
import shlex
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from rnnbench.claims.gates import UNDONE, improving
from rnnbench.compose import SWEEP, compose
from rnnbench.console import say
from rnnbench.engine.pack import Pack
from rnnbench.errors import UserError
from rnnbench.formatting import interval, number, plural, probability, score
from rnnbench.layers import layer_of
from rnnbench.runs.frame import limit, load
from rnnbench.runs.records import LONGEST, finite, put_aside, run_id, write
from rnnbench.settings import one_of, typed
from rnnbench.stats import compare, ranks, selection, sequential
from rnnbench.stats import statistics as scored
from rnnbench.stats.sequential import BETTER, EQUIVALENT, UNDECIDED, WORSE, Look, looks
from rnnbench.stats.statistics import FEWEST, Estimate, Floats, Goal
from rnnbench.sweep.launch import Options, launch
from rnnbench.sweep.planning import Job, changed, refuse_two_of_one_name
from rnnbench.training.loop import Training
from rnnbench.training.run import check_task, load_task

LEDGER = "judge.json"
BY = ("params", "units", "seconds")
TASK, BUDGET, MARGIN = "adding", 128, "5%"
POWERS = (-1.0, -0.5, 0.0, 0.5)  # of ten: the rates of the search, times optim.lr
WIDER = 2  # rates that are added to either side at most, where one at the edge is best
SEARCHED, FRESH = range(1000, 1002), 2000  # seeds of the search; the first that confirms
CONFIRMED = 0.05  # one-sided p that fresh seeds need
ROUNDS, LASTING = 9, 0.2  # of timing training steps in turn, and seconds of each


@dataclass(frozen=True)
class Rival:
    """One of the two cells. name: with its own settings; base: a run of it, to be given rate and
    seed; pack: that run, built.
    """

    name: str
    base: Job
    pack: Pack

    @property
    def params(self) -> int:
        return self.pack.network.count

    def run(self, rate: float, seed: int) -> Job:
        return changed(self.base, {"optim.lr": repr(rate), "seed": str(seed)})


@dataclass(frozen=True)
class Contest:
    """x against y. rates: of both where they are given, else None; command: asks the same again;
    id: of what is asked, whatever the budget.
    """

    x: Rival
    y: Rival
    by: str
    budget: int
    margin: str
    rates: tuple[float, float] | None
    options: Options
    command: str
    id: str

    @property
    def search_runs(self) -> int:
        """Of a search that is not made wider."""
        return 0 if self.rates else 2 * len(POWERS) * len(SEARCHED)

    @property
    def goal(self) -> Goal:
        return "max" if self.x.pack.task.goal == "max" else "min"

    @property
    def folder(self) -> Path:
        settings = self.x.base.settings
        return Path(settings.paths.results).expanduser() / settings.study

    def train(self, jobs: Sequence[Job], what: str) -> pd.DataFrame:
        """The runs of these jobs, a row each, in their order; those that are missing are trained.

        Raises Interrupted, or SomeFailed where one failed.
        """
        folders = [job.folder for job in jobs]
        records = [folder.record() for folder in folders]
        if not all(record and record["status"] != "failed" for record in records):
            say(what)
            launch(jobs, self.options, self.command)
        frame = load(*(folder.path for folder in folders)).set_index("id", drop=False)
        return frame.loc[[folder.path.name for folder in folders]]


@dataclass(frozen=True)
class Verdict:
    """The answer, as it stands in the ledger.

    verdict: better, worse, equivalent or undecided, of `cell` against `against`. n: seeds of each
    that it rests on. scores: medians of both. effect: the typical difference between a run of
    either, in the units of the metric, with an interval of 95 % that holds wherever one stops.
    noise: what two copies of `against` differ by at most in 95 of 100 studies of that size.
    margin: below which a difference does not matter; within: whether this one is shown to be.
    detectable: what the last look would have found four times in five. fresh: n, effect, low, high
    and p of the seeds that had to confirm. rates: of both cells; tried: by the search. improving:
    how many of the runs still improved at their end. runs: that all this rests on, of `budget`.
    """

    verdict: str
    cell: str
    against: str
    task: str
    by: str
    metric: str
    goal: str
    n: int
    scores: tuple[float, float]
    effect: float
    low: float
    high: float
    noise: float
    margin: float
    within: bool
    detectable: float
    fresh: dict[str, float] | None
    rates: tuple[float, float]
    tried: tuple[float, ...]
    params: tuple[int, int]
    steps: tuple[int, int]
    improving: int
    looks: tuple[dict[str, Any], ...]
    runs: int
    budget: int
    notes: tuple[str, ...]
    folder: str

    def told(self) -> dict[str, Any]:
        """For programs, as in the ledger."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def judge(
    cell: str,
    against: str,
    words: Sequence[str] = (),
    by: str = "params",
    budget: int = BUDGET,
    margin: str = MARGIN,
) -> Verdict:
    """What `rnnbench judge` does.

    cell, against: what stands after cell=, then settings of that cell alone, as in
        "lstm cell.forget_bias=1".
    words: key=value for both, and how runs are made. margin: `5%` or a number.

    Raises UserError for what cannot be asked, before anything is trained; SomeFailed where runs
    failed; Interrupted after saving.
    """
    one_of("--by", by, BY)
    _amount(margin, 1.0)
    flags = ["--by", by, "--budget", str(budget), "--margin", margin]
    command = shlex.join(["rnnbench", "judge", cell, "--against", against, *words, *flags])
    question = _asked((cell, against), words, by, budget, margin, command)
    _note(question, {})  # that it was asked
    rates, tried = _search(question)
    return _decide(question, rates, tried)


# What is asked


def _asked(
    cells: tuple[str, str],
    words: Sequence[str],
    by: str,
    budget: int,
    margin: str,
    command: str,
) -> Contest:
    """Everything that can be known to be wrong is refused here, before anything is written."""
    how = [word for word in words if word.startswith((*(f"{key}=" for key in SWEEP), "cluster."))]
    common = [word for word in words if word not in how]
    for word in common:
        if word.startswith(("cell=", "seed=")):
            raise UserError(
                f"'{word}' follows from the question: rnnbench judge CELL --against CELL chooses "
                f"cells and seeds"
            )
    if not any(word.startswith("task=") for word in common):
        common.append(f"task={TASK}")
    if not any(word.startswith("study=") for word in common):
        common.append(f"study={_label(cells, common)}")
    matched = any(word.startswith("model.match=") for word in common)
    if matched and by != "params":
        raise UserError(f"--by {by} compares equal units; leave model.match out")
    if by == "params" and not matched:
        common.append(f"model.match=params:{_side(cells[1], common).params}")
    x, y = (_side(cell, common) for cell in cells)
    if x.pack.task.remark:
        say(x.pack.task.remark)
    refuse_two_of_one_name(side.base for side in (x, y))
    first, second = x.base.settings, y.base.settings
    if run_id(first) == run_id(second):
        raise UserError(
            f"'{cells[0]}' and '{cells[1]}' are the same cell with the same settings; name "
            f"another, or a setting of one alone, as in 'lstm cell.forget_bias=1'"
        )
    if first.task != second.task:
        raise UserError(f"'{cells[0]}' and '{cells[1]}' need one task; set it for both")
    given = [any(w.startswith("optim.lr=") for w in [*cell.split(), *common]) for cell in cells]
    if given[0] != given[1]:
        raise UserError("optim.lr is either given for both cells or searched for both")
    text = json.dumps([run_id(first), run_id(second), by, margin])
    identity = hashlib.sha256(text.encode()).hexdigest()[:12]
    rates = (first.optim.lr, second.optim.lr) if all(given) else None
    options = typed(Options, OmegaConf.from_dotlist(how), "")
    asked = Contest(x, y, by, budget, margin, rates, options, command, identity)
    if not looks(_affordable(budget, asked.search_runs)):
        search = f"the search takes {asked.search_runs} runs, " if asked.search_runs else ""
        raise UserError(
            f"--budget {budget} is too small for any verdict: {search}{FEWEST} seeds of both cells "
            f"{2 * FEWEST}, and as many again to confirm; give at least "
            f"{asked.search_runs + 4 * FEWEST}"
        )
    return _paced(asked) if by == "seconds" else asked


def _side(cell: str, words: Sequence[str]) -> Rival:
    """A run of this cell, built, so that what is wrong with cell, task or data is known."""
    name, *own = shlex.split(cell) or [""]
    overrides = [f"cell={name}", *words, *own]
    settings = compose(overrides)
    task = load_task(settings, say)
    check_task(task, settings)
    pack = Pack([settings], layer_of(settings.cell, settings.model), task)
    return Rival(" ".join([settings.cell.name, *own]), Job(settings, tuple(overrides)), pack)


def _label(cells: Sequence[str], words: Sequence[str]) -> str:
    """The name of the study, from those of cells and task."""
    task = next(word.partition("=")[2] for word in words if word.startswith("task="))
    names = [cell.split()[0] if cell.split() else "" for cell in (*cells, task)]
    last = [re.split(r"[:/]", name)[-1] for name in names]
    kept = ["".join(c for c in name if c.isalnum() or c in "_.") for name in last]
    return "-".join(["judge", *kept])[:LONGEST]


def _amount(margin: str, of: float) -> float:
    """A margin as a number: `0.01`, or `5%` of something."""
    text = margin.strip()
    share = text.endswith("%")
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UserError(
            f"--margin must be a number above 0 in the units of the score, or a share such as 5% "
            f"of what the second cell scores, got '{margin}'"
        )
    return value / 100 * abs(of) if share else value


def _affordable(budget: int, searched: int) -> int:
    """Seeds of both cells that a budget pays for, with as many to confirm."""
    return max(budget - searched, 0) // 4


def _paced(asked: Contest) -> Contest:
    """The first cell with as many steps as it makes in the time that the second has."""
    y = asked.y.base.settings
    if y.train.epochs is not None:
        raise UserError("--by seconds needs a budget in steps: train.steps=… for train.epochs=…")
    pace = _ledger(asked).get(asked.id, {}).get("pace")
    if not isinstance(pace, float):
        pace = _pace(asked)
        _note(asked, {"pace": pace})
    steps = max(round(y.train.steps / pace), 1)
    base = changed(asked.x.base, {"train.steps": str(steps)})
    return replace(asked, x=replace(asked.x, base=base))


def _pace(asked: Contest) -> float:
    """How many times as long as one of the second cell's a training step of the first takes: the
    median over rounds in which they take turns.
    """
    trainings = [Training(side.pack) for side in (asked.x, asked.y)]
    for training in trainings:
        training.update()  # the first compiles
    found = []
    for _ in range(ROUNDS):
        first, second = (_seconds(training) for training in trainings)
        found.append(first / second)
    return median(found)


def _seconds(training: Training) -> float:
    """Of a training step."""
    started, steps = time.perf_counter(), 0
    while (taken := time.perf_counter() - started) < LASTING or not steps:
        training.update()
        steps += 1
    return taken / steps


# What is trained


def _search(asked: Contest) -> tuple[tuple[float, float], tuple[float, ...]]:
    """The rate of either cell with the best mean validation score, and all that were tried: the
    same for both, and more of them where one at the edge is best for either and the budget allows.
    """
    if asked.rates:
        return asked.rates, ()
    center = asked.y.base.settings.optim.lr
    powers, added = list(POWERS), {-1: 0, 1: 0}
    while True:
        tried = tuple(float(f"{center * 10**power:.2g}") for power in powers)
        rates = _best_rates(asked, tried)
        wider = [
            end
            for end, edge in ((-1, tried[0]), (1, tried[-1]))
            if edge in rates and added[end] < WIDER
        ]
        runs = 2 * len(SEARCHED) * (len(powers) + len(wider))
        if not wider or not looks(_affordable(asked.budget, runs)):
            return rates, tried
        for end in wider:
            added[end] += 1
            powers.append((powers[0] if end < 0 else powers[-1]) + end / 2)
            powers.sort()


def _best_rates(asked: Contest, tried: Sequence[float]) -> tuple[float, float]:
    jobs = [
        side.run(rate, seed) for side in (asked.x, asked.y) for rate in tried for seed in SEARCHED
    ]
    said = ", ".join(f"{rate:g}" for rate in tried)
    frame = asked.train(jobs, f"the rate: {said}, on {len(SEARCHED)} seeds")
    cost = selection.costs(frame, asked.goal)
    half = len(jobs) // 2
    first, second = (
        float(part.groupby(frame.loc[part.index, "optim.lr"]).mean().idxmin())
        for part in (cost.iloc[:half], cost.iloc[half:])
    )
    return first, second


@dataclass(frozen=True)
class Pairs:
    """Runs of both cells with the same seeds. scores: test scores, NaN where one diverged; costs:
    less is better, inf where one diverged; limit: what those cost at least.
    """

    frames: tuple[pd.DataFrame, pd.DataFrame]
    goal: Goal

    @property
    def scores(self) -> tuple[Floats, Floats]:
        x, y = (scored.judged(one["value"], one["diverged"]) for one in self.frames)
        return x, y

    @property
    def costs(self) -> tuple[Floats, Floats]:
        x, y = (scored.costs(one, self.goal) for one in self.scores)
        return x, y

    @property
    def limit(self) -> float:
        return max(limit(one["baseline"], self.goal) for one in self.frames)

    @property
    def paid(self) -> tuple[Floats, Floats]:
        """Costs, diverged runs charged."""
        worst = scored.beyond(self.limit, *self.costs)
        x, y = (scored.charged(one, "min", worst) for one in self.costs)
        return x, y


def _pairs(asked: Contest, rates: tuple[float, float], seeds: range, what: str) -> Pairs:
    """Both cells on these seeds, trained together where they can be."""
    xs = [asked.x.run(rates[0], seed) for seed in seeds]
    ys = [asked.y.run(rates[1], seed) for seed in seeds]
    frame = asked.train([*xs, *ys], what)
    return Pairs((frame.iloc[: len(xs)], frame.iloc[len(xs) :]), asked.goal)


def _decide(asked: Contest, rates: tuple[float, float], tried: tuple[float, ...]) -> Verdict:
    """Look after more and more seeds, until the test decides or the budget ends."""
    searched = 2 * len(tried) * len(SEARCHED)
    margin, seen = math.nan, list[Look]()
    for n in looks(_affordable(asked.budget, searched)):
        made = _pairs(asked, rates, range(n), f"{n} seeds of each")
        if math.isnan(margin):  # set once, by the first look that has a median to take a share of
            amount = _amount(asked.margin, scored.median(made.scores[1], asked.goal).value)
            margin = amount if math.isfinite(amount) else math.nan
        generator = compare.generator("judge", asked.id)
        seen = sequential.judged(*made.costs, margin, generator, made.limit)
        if seen[-1].verdict != UNDECIDED:
            break
    fresh = None
    if seen[-1].verdict == BETTER:
        fresh = _pairs(asked, rates, range(FRESH, FRESH + n), f"ahead; {n} fresh seeds to confirm")
    runs = searched + (4 if fresh else 2) * n
    verdict = _verdict(asked, (rates, tried, margin, runs), made, fresh, seen)
    _note(asked, asdict(verdict))
    return verdict


# What came out


def _verdict(
    asked: Contest,
    chosen: tuple[tuple[float, float], tuple[float, ...], float, int],
    made: Pairs,
    fresh: Pairs | None,
    seen: Sequence[Look],
) -> Verdict:
    """chosen: rates, those tried, margin, runs."""
    rates, tried, margin, runs = chosen
    last = seen[-1]
    settings = asked.x.base.settings
    generator = compare.generator("copies", asked.id)
    a, b = made.paid
    effect, low, high = _in_scores(last.shift, asked.goal)
    word, confirmed = last.verdict, None
    if fresh is not None:
        confirmed = _confirmation(asked, fresh)
        word = BETTER if confirmed["p"] <= CONFIRMED else UNDECIDED
    every = pd.concat([*made.frames, *(fresh.frames if fresh else ())])
    undone = int(improving(every).sum())
    verdict = Verdict(
        verdict=word,
        cell=asked.x.name,
        against=asked.y.name,
        task=settings.task["name"],
        by=asked.by,
        metric=asked.x.pack.task.metric,
        goal=asked.goal,
        n=last.n,
        scores=_medians(made),
        effect=effect,
        low=low,
        high=high,
        noise=sequential.noise(b, last.n, generator),
        margin=margin,
        within=last.within,
        detectable=compare.detectable(a, b, 2 * last.n, (1 - last.level) / 2),
        fresh=confirmed,
        rates=rates,
        tried=tried,
        params=(asked.x.params, asked.y.params),
        steps=(settings.train.steps, asked.y.base.settings.train.steps),
        improving=undone,
        looks=tuple(
            {"n": one.n, "verdict": one.verdict, "lead": one.lead, "needed": one.needed}
            for one in seen
        ),
        runs=runs,
        budget=asked.budget,
        notes=(),
        folder=str(asked.folder),
    )
    return replace(verdict, notes=tuple(_notes(asked, verdict, undone / len(every))))


def _in_scores(found: Estimate, goal: Goal) -> tuple[float, float, float]:
    """A shift of costs and its interval in the units of the scores."""
    if goal == "min":
        return found.value, found.low, found.high
    return -found.value, -found.high, -found.low


def _medians(made: Pairs) -> tuple[float, float]:
    x, y = (scored.median(one, made.goal).value for one in made.scores)
    return x, y


def _confirmation(asked: Contest, fresh: Pairs) -> dict[str, float]:
    a, b = fresh.paid
    p = sequential.confirms(a, b, compare.generator("confirm", asked.id))
    effect, low, high = _in_scores(ranks.shift(a, b), asked.goal)
    return {"n": a.size, "effect": effect, "low": low, "high": high, "p": p}


def _notes(asked: Contest, found: Verdict, undone: float) -> Iterator[str]:
    """What else one has to know to believe the verdict."""
    if found.tried:
        for name, rate in zip((found.cell, found.against), found.rates, strict=True):
            if rate in (found.tried[0], found.tried[-1]):
                yield f"the rate of {name} is the last that was tried, a better one may lie beyond"
    if undone > UNDONE:
        yield (
            f"{found.improving} of the runs were still improving at their end: this is about what "
            f"is learned in {found.steps[1]:,} steps (train.steps=… gives more)"
        )
    others = {key: entry for key, entry in _ledger(asked).items() if key != asked.id}
    if same := sum("verdict" in entry for entry in others.values()):
        yield (
            f"{plural(same, 'other question')} stand{'s' * (same == 1)} in this ledger, and each "
            f"answer may be wrong in 5 of 100"
        )
    if found.verdict == UNDECIDED and found.fresh is not None:
        yield "a larger budget does not change this; another task, or other settings, may"
    elif found.verdict == UNDECIDED:
        runs = (found.runs - 2 * found.n) + 4 * round(found.n * sequential.GROWTH)
        yield f"--budget {runs} adds seeds to these"


def _lines(found: Verdict) -> Iterator[str]:
    """The verdict as a person reads it: a sentence, then what it rests on."""
    x, y, metric = found.cell, found.against, found.metric
    said = {
        BETTER: f"{x} is better than {y}",
        WORSE: f"{x} is worse than {y}",
        EQUIVALENT: f"{x} and {y} are equivalent",
        UNDECIDED: f"{x} and {y}: undecided",
    }[found.verdict]
    slight = found.within and found.verdict in (BETTER, WORSE)
    size = f"{found.params[1]:,} parameters" if found.by == "params" else f"equal {found.by}"
    yield (
        f"{said} on {found.task}, {size}, {found.n} seeds of each"
        f"{', though by less than the margin' * slight}."
    )
    reach = interval(found.low, found.high)
    rows = [
        ("medians", f"{metric} {score(found.scores[0])} against {score(found.scores[1])}"),
        ("effect", f"{metric} {number(found.effect, 3)} {reach}, 95 % whenever one stops"),
        ("margin", f"{number(found.margin, 3)}, a smaller difference does not matter"),
        (
            "noise",
            f"{number(found.noise, 3)}: two copies of {y} differ by less in 95 of 100 such studies",
        ),
    ]
    if found.fresh is not None:
        fresh = found.fresh
        held = "confirmed by" if found.verdict == BETTER else "ahead, but not confirmed by"
        rows.append(
            (
                "fresh",
                f"{held} {fresh['n']:.0f} other seeds: {number(fresh['effect'], 3)} "
                f"{interval(fresh['low'], fresh['high'])}, one-sided p "
                f"{probability(fresh['p'])}",
            )
        )
    elif found.verdict == UNDECIDED:
        rows.append(("seen", f"{number(found.detectable, 3)} would have been found 4 times in 5"))
    tried = f" of {', '.join(f'{rate:g}' for rate in found.tried)}" if found.tried else ""
    rates = f"{found.rates[0]:g} and {found.rates[1]:g}"
    rows += [
        ("rates", f"{rates}{tried}{', chosen on seeds of their own' * bool(tried)}"),
        (
            "size",
            f"{found.params[0]:,} and {found.params[1]:,} parameters, "
            f"{found.steps[0]:,} and {found.steps[1]:,} steps",
        ),
        ("runs", f"{found.runs} of {found.budget}, in {found.folder}"),
    ]
    rows += [("note", note) for note in found.notes]
    for name, text in rows:
        yield from textwrap.wrap(f"  {name:<9}{text}", 100, subsequent_indent=" " * 11)


# The ledger


def _ledger(asked: Contest) -> dict[str, Any]:
    """What was asked in this study: question → what is known of it."""
    path = asked.folder / LEDGER
    try:
        found = json.loads(path.read_text("utf-8"))["questions"]
        if isinstance(found, dict) and all(isinstance(one, dict) for one in found.values()):
            return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    say(f"ignoring {path}: not a ledger of rnnbench; kept as {put_aside(path).name}")
    return {}


def _note(asked: Contest, values: Mapping[str, Any]) -> None:
    """Add to what the ledger says of this question."""
    questions = _ledger(asked)
    known = questions.get(asked.id, {"command": asked.command})
    questions[asked.id] = known | dict(values)
    text = json.dumps(finite({"questions": questions}), indent=1, ensure_ascii=False)
    write(asked.folder / LEDGER, text + "\n")
