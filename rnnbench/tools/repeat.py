"""`rnnbench repeat`: retrain finished runs, from their `config.yaml` alone, and see
whether they come to the same numbers.
"""

import random
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from rnnbench.console import RunView, console, number, say
from rnnbench.errors import Interrupted, SomeFailed, UserError
from rnnbench.runs.collect import put_back
from rnnbench.runs.form import ENDED
from rnnbench.runs.reading import EndedRun, gather
from rnnbench.runs.records import Folder, finite
from rnnbench.settings import Settings
from rnnbench.tools.opening import as_trained
from rnnbench.training.run import run_pack

SAME = 1e-4  # relative: what rounding alone may make of a run that another machine trained


class _Quiet(RunView):
    """Validations are no news."""

    def validated(self, rows: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        pass


@dataclass(frozen=True)
class Repeated:
    """A record, and the one that its settings came to when they were trained once more."""

    before: Mapping[str, Any]
    now: Mapping[str, Any]

    @property
    def difference(self) -> float:
        """The largest relative one among the scores on the test set; 0: the same to the bit, inf:
        one is no number.
        """
        return max(
            _apart(value, tested(self.now).get(name)) for name, value in tested(self.before).items()
        )

    @property
    def other(self) -> list[str]:
        """What of the surroundings that may round differently is not as it was."""
        was, now = (
            {
                "engine": r["engine"],
                "cpu": r["provenance"].get("cpu"),
                **r["provenance"].get("versions", {}),
            }
            for r in (self.before, self.now)
        )
        return [
            name
            for name in ("engine", "cpu", "torch", "rnnbench")
            if was.get(name) != now.get(name)
        ]


def tested(record: Mapping[str, Any]) -> dict[str, float | None]:
    """The scores on the test set that are reported."""
    return dict(finite((record["best"] or record["final"])["test"]))


def _apart(before: float | None, now: float | None) -> float:
    if before is None or now is None:
        return 0.0 if before is now else float("inf")
    return abs(before - now) / max(abs(before), abs(now), 1e-300)


def anew(run: EndedRun, scratch: Path) -> Settings:
    """The settings that a run left, for a folder below `scratch`.

    Raises UserError if they cannot be had, or a file of theirs was edited.
    """
    folder = Folder(run.place)
    if run.beside is not None:
        folder = Folder(scratch / "was" / run.record["id"])
        put_back(run, folder)
    try:
        _, settings = as_trained(folder, run.record)
    except UserError as refused:
        if run.beside is None:
            raise
        # a scratch folder is no name for what stands in a file
        named = str(refused).replace(str(folder.path), f"run {run.record['id']} of {run.place}")
        raise UserError(named) from None
    paths = replace(settings.paths, results=str(scratch / "now"), logger="none")
    return replace(settings, paths=paths)


def repeat(run: EndedRun, settings: Settings) -> Repeated:
    """Train a run once more. Raises UserError and Interrupted."""
    with _Quiet() as screen:
        (record,) = run_pack([settings], [run.overrides or []], screen, say)
    return Repeated(run.record, record)


def run_repeat(
    places: Sequence[str], draw: int | None, seed: int, done: list[Repeated] | None = None
) -> None:
    """What `rnnbench repeat` does. done: a list that takes what was repeated.

    Raises SomeFailed if numbers differ by more than rounding, UserError if a run cannot be
    repeated.
    """
    if seed < 0:
        raise UserError(f"--seed must be at least 0, got {seed}")
    runs = [run for run in gather(*places) if run.record["status"] in ENDED]
    if draw is not None and not 1 <= draw <= len(runs):
        raise UserError(
            f"--draw must be between 1 and {len(runs)}, the runs that have ended there, got {draw}"
        )
    drawn = random.Random(seed).sample(runs, draw) if draw is not None else runs
    done = [] if done is None else done
    with tempfile.TemporaryDirectory() as scratch, suppress(Interrupted):
        # nothing is trained before every run is known to be possible
        settings = [anew(run, Path(scratch)) for run in drawn]
        done.extend(map(repeat, drawn, settings))  # what was done before an interruption stays
    if done:
        shown(done)
    if len(done) < len(drawn):
        raise Interrupted(f"{len(done)} of {len(drawn)} runs were repeated")
    if far := [r for r in done if r.difference > SAME]:
        raise SomeFailed(f"{len(far)} of {len(done)} runs gave other numbers")


def rows(done: Sequence[Repeated]) -> list[dict[str, Any]]:
    """A row per run: its test scores as recorded and again."""
    return [
        {key: r.before[key] for key in ("id", "cell", "task", "seed")}
        | {"recorded": tested(r.before), "again": tested(r.now)}
        | {"difference": r.difference, "other": r.other}
        for r in done
    ]


def shown(done: Sequence[Repeated]) -> None:
    """A line per run."""
    lines = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("run", "cell", "task", "seed"):
        lines.add_column(name, no_wrap=name == "run", overflow="fold")
    for name in ("recorded", "again", "difference"):
        lines.add_column(name, justify="right", no_wrap=True)
    for r in done:
        metric = r.before["primary"]["name"]
        scores = (number(tested(record)[metric]) for record in (r.before, r.now))
        lines.add_row(
            *(str(r.before[key]) for key in ("id", "cell", "task", "seed")),
            *scores,
            f"{r.difference:.1g}" if r.difference else "none",
        )
    console.print(lines, soft_wrap=False)
    bits = sum(r.difference == 0 for r in done)
    say(
        f"{bits} of {len(done)} runs gave the same test scores to the bit; "
        f"difference: the largest relative one of all their scores"
    )
    if other := sorted({name for r in done if r.difference for name in r.other}):
        say(f"what is not as it was, where scores differ: {', '.join(other)}")
    if apart := [r for r in done if r.difference]:
        makers = sorted({maker(r.before) for r in apart})
        say(
            f"they were made by {', '.join(makers)}, and now by {maker(apart[0].now)}; what "
            f"changed between stands in CHANGELOG.md under Numbers"
        )


def maker(record: Mapping[str, Any]) -> str:
    """Which rnnbench made a record: version and commit."""
    made = record["provenance"]
    version, commit = made.get("versions", {}).get("rnnbench", "unknown"), made.get("git")
    return f"rnnbench {version}" + (f" (commit {commit})" if commit else "")
