"""What a search knows: a record per candidate, and what follows from all of them.

`journal.jsonl` holds a header and a record a line, appended as they end. Everything else is made of
them, so that a search that was killed anywhere goes on as if it had not been.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.search.design import Search
from rnnbench.search.graph import Graph, graph
from rnnbench.search.screens import Screened, Stages, best_of, reaches

NEW, AGAIN, REFERENCE = "new", "again", "reference"
JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Move:
    """A move of the search before it is made.

    number: of the candidate, in the order of proposals. slot: its place in the round.
    draws: mutants thrown away before it, since they were no cells; twins: since they were known.
    parent: the cell that was mutated, or looked at again.
    """

    round: int
    slot: int
    move: str
    name: str
    parent: str
    graph: Graph
    text: str
    fingerprint: str
    known: str | None
    draws: int
    twins: int
    through: bool

    def key(self) -> tuple[int, int]:
        return self.round, self.slot


@dataclass
class Member:
    """A candidate and all that was tried on it. tried: screen → setting → score."""

    name: str
    graph: Graph
    text: str
    fingerprint: str
    known: str | None
    parent: str
    born: int
    failed: str
    tried: dict[str, dict[int, float | None]] = field(default_factory=dict)

    def best(self, screen: str, goal: str) -> float | None:
        return best_of(list(self.tried.get(screen, {}).values()), goal)


class SearchArchive:
    """The candidates so far, folded from records in the order of rounds and slots.

    Raises UserError where the journal belongs to another search.
    """

    def __init__(self, search: Search, stages: Stages) -> None:
        self.search, self.stages = search, stages
        self.members: dict[str, Member] = {}
        self.prints: dict[str, str] = {}
        self.count = 0  # of new candidates

    def fold(self, record: Mapping[str, Any]) -> None:
        name = record["name"]
        if record["move"] != AGAIN:
            self.members[name] = Member(
                name=name,
                graph=graph(record["graph"]),
                text=record["text"],
                fingerprint=record["fingerprint"],
                known=record["known"],
                parent=record["parent"],
                born=len(self.members),
                failed=record["failed"],
            )
            self.prints.setdefault(record["fingerprint"], name)
            self.count += record["move"] == NEW
        member = self.members[name]
        for trained in record["trained"]:
            scores = zip(trained["settings"], trained["scores"], strict=True)
            member.tried.setdefault(trained["screen"], {}).update(scores)

    def share(self, member: Member, screen: str) -> float:
        """The best score of a member as a share of the reference's: above 1 is better."""
        goal = self.stages[screen].goal
        reference = self.members[self.search.relative_to].best(screen, goal)
        found = member.best(screen, goal)
        if found is None or reference is None:
            return 0.0
        one, other = (found, reference) if goal == "max" else (reference, found)
        return one / other if other else 0.0

    def fitness(self, member: Member) -> float | None:
        """The paper's: the smallest share of the search tasks; None: it did not get so far."""
        tasks = [screen.name for screen in self.search.fitness]
        if member.failed or any(task not in member.tried for task in tasks):
            return None
        return min(self.share(member, task) for task in tasks)

    def ranked(self) -> list[tuple[float, Member]]:
        """Members with a fitness, best first; of equals the older."""
        known = [(f, m) for m in self.members.values() if (f := self.fitness(m)) is not None]
        return sorted(known, key=lambda pair: (-pair[0], pair[1].born))

    def passed(self, member: Member) -> int:
        """How many screens it has passed."""
        names = [screen.name for screen in self.search.screens]
        if not member.failed:
            return len(names)
        return names.index(member.failed) if member.failed in names else -1

    def needed(self) -> dict[str, float]:
        """Screen → the score that a candidate needs there."""
        found = {}
        reference = self.members.get(self.search.relative_to)
        for screen in self.search.screens:
            goal = self.stages[screen.name].goal
            if screen.least is not None:
                found[screen.name] = screen.least
            if screen.share is not None and reference is not None:
                best = reference.best(screen.name, goal)
                if best is not None:
                    asked = best * screen.share if goal == "max" else best / screen.share
                    least = found.get(screen.name)
                    found[screen.name] = (
                        asked if least is None or reaches(asked, least, goal) else least
                    )
        return found


@dataclass(frozen=True)
class Header:
    """What the first line of a journal says."""

    search: str
    method: str
    seed: int
    digest: str


class Journal:
    """The file of one search. clock: seconds that its sittings took, all in all."""

    def __init__(self, folder: Path, header: Header) -> None:
        self.path, self.header = folder / JOURNAL, header
        self.records: dict[tuple[int, int], dict[str, Any]] = {}
        for number, line in enumerate(lines(self.path)):
            if number == 0:
                self._check(line)
            else:
                self.records[line["round"], line["slot"]] = line
        self.clock = max((r["clock"] for r in self.records.values()), default=0.0)
        if not self.path.exists():
            append(self.path, asdict(header))

    def _check(self, found: Mapping[str, Any]) -> None:
        expected = asdict(self.header)
        differ = [key for key in expected if found.get(key) != expected[key]]
        if differ:
            raise UserError(
                f"{self.path.parent} holds a search with another {', '.join(differ)}: its YAML "
                f"has changed since it began; give the YAML another name, or remove the folder"
            )

    def write(self, asked: Move, became: Screened, clock: float) -> dict[str, Any]:
        """Append a record; it is on the disk when this returns."""
        record = asdict(asked) | {
            "graph": asked.graph.plain(),
            "failed": became.failed,
            "why": became.why,
            "trained": [asdict(one) for one in became.trained],
            "seconds": round(became.seconds, 3),
            "clock": round(clock, 1),
        }
        append(self.path, record)
        self.records[asked.key()] = json.loads(json.dumps(record))
        return self.records[asked.key()]


def append(path: Path, values: Mapping[str, Any]) -> None:
    """A line more; it is on the disk when this returns. What a killed process left unfinished
    stays a line of its own, which is no record.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    with path.open("ab") as file:
        text = json.dumps(values, separators=(",", ":"), allow_nan=False)
        file.write(f"{chr(10) if torn else ''}{text}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """What stands in a journal; a line that a killed process left unfinished is no line."""
    if not path.exists():
        return
    for line in path.read_text("utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue
