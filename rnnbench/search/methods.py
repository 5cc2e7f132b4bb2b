"""How a search goes on from what it knows: a pure function of its seed and of the records so far.

evolution: the list of the best `keep` cells of Jozefowicz et al. (2015); a random member is looked
    at again with settings that it has not had, or mutated.
aging: a population as a queue; the best of `sample` members drawn with replacement is mutated, the
    child joins, the oldest leaves (Real et al., 2019). Members have passed the first screen.
random: search without selection. Every candidate comes from a reference by 1 to `walk` mutations;
    screens, settings and budget are those of the others.
"""

from dataclasses import dataclass

import numpy as np

from rnnbench.draw import Draw
from rnnbench.equations.trace import trace
from rnnbench.errors import UserError
from rnnbench.search.archive import AGAIN, NEW, REFERENCE, Member, Move, SearchArchive
from rnnbench.search.design import Screen
from rnnbench.search.graph import Graph, not_recurrent
from rnnbench.search.identity import fingerprint, known, reads
from rnnbench.search.mutate import TRIES, mutant
from rnnbench.search.screens import Assignment, drawn, seeds_of
from rnnbench.search.starts import start
from rnnbench.search.writing import Idle, compiled, function_text


@dataclass(frozen=True)
class Read:
    """A graph as a cell: its text, what it computes, our cell that computes the same."""

    text: str
    fingerprint: str
    known: str | None


def read(candidate: Graph, name: str, inputs: str) -> Read:
    """Raises Idle or UserError where it is no cell."""
    text = function_text(candidate, name, inputs)
    program = trace(compiled(text, name))  # type: ignore[arg-type]
    if why := not_recurrent(reads(program)):  # what simplifying has taken away
        raise Idle(why)
    found = fingerprint(program)
    return Read(text, found, known().get(found))


class Proposals:
    """The moves of one search, method and seed."""

    def __init__(self, archive: SearchArchive, method: str, seed: int) -> None:
        self.archive, self.search = archive, archive.search
        self.method, self.seed, self.draw = method, seed, Draw(seed)

    def references(self) -> list[Move]:
        """Round 0: the cells that the search starts from."""
        made = []
        for slot, name in enumerate(self.search.references):
            candidate = start(name, self.search.references[name])
            cell = read(candidate, name, self.search.inputs)
            made.append(
                Move(
                    *(0, slot, REFERENCE, name, "", candidate),
                    *(cell.text, cell.fingerprint, cell.known, 0, 0, True),
                )
            )
        return made

    def round(self, number: int) -> list[Move]:
        """The moves of a round, from what was known when it began."""
        taken = set(self.archive.prints)
        listed = [member for _, member in self.archive.ranked()[: self.search.keep]]
        able = [member for member in listed if self._untried(member)]
        made: list[Move] = []
        for slot in range(self.search.round):
            rng = self.draw(f"{self.method} {slot}", number)
            again = self.method == "evolution" and rng.random() < self.search.again
            if again and able:
                made.append(_again(number, slot, able[int(rng.integers(len(able)))]))
            else:
                before = self.archive.count + sum(one.move == NEW for one in made)
                made.append(self._new(number, slot, before + 1, listed, taken, rng))
                taken.add(made[-1].fingerprint)
        return made

    def _untried(self, member: Member) -> bool:
        return any(
            len(member.tried.get(screen.name, ())) < screen.size for screen in self.search.fitness
        )

    def _new(
        self,
        number: int,
        slot: int,
        count: int,
        listed: list[Member],
        taken: set[str],
        rng: np.random.Generator,
    ) -> Move:
        name, draws, twins = f"cell_{count:04}", 0, 0
        for _ in range(TRIES):
            parent, steps = self._parent(listed, rng)
            candidate = parent.graph
            for _ in range(steps):
                candidate, tried = mutant(candidate, rng, self.search.grammar)
                draws += tried - 1
            try:
                cell = read(candidate, name, self.search.inputs)
            except (Idle, UserError):
                draws += 1
                continue
            if cell.fingerprint in taken:
                twins += 1
                continue
            through = bool(self.search.through) and count % self.search.through == 0
            return Move(
                *(number, slot, NEW, name, parent.name, candidate),
                *(cell.text, cell.fingerprint, cell.known, draws, twins, through),
            )
        raise RuntimeError(f"no new cell in {TRIES:,} mutants; the grammar allows too few")

    def _parent(self, listed: list[Member], rng: np.random.Generator) -> tuple[Member, int]:
        """Whom to mutate, and how often."""
        if self.method == "random":
            names = tuple(self.search.references)
            chosen = self.archive.members[names[int(rng.integers(len(names)))]]
            return chosen, int(rng.integers(1, self.search.walk + 1))
        if self.method == "evolution":
            return listed[int(rng.integers(len(listed)))], 1
        living = [m for m in self.archive.members.values() if self.archive.passed(m) > 0]
        queue = sorted(living, key=lambda member: member.born)[-self.search.keep :]
        sample = [queue[int(rng.integers(len(queue)))] for _ in range(self.search.sample)]
        return max(sample, key=self._standing), 1

    def _standing(self, member: Member) -> tuple[int, float, int]:
        return (
            self.archive.passed(member),
            self.archive.fitness(member) or 0.0,
            -member.born,
        )

    def order(self, asked: Move) -> Assignment:
        """What to train for a move."""
        screens = self.search.fitness if asked.move == AGAIN else self.search.screens
        return Assignment(
            name=asked.name,
            text=asked.text,
            settings={screen.name: self._settings(asked, screen) for screen in screens},
            needed={} if asked.move != NEW else self.archive.needed(),
            seeds={screen.name: seeds_of(screen, self.seed) for screen in screens},
            through=asked.through,
        )

    def _settings(self, asked: Move, screen: Screen) -> tuple[int, ...]:
        """Settings of the grid: for a child, some of the parent's best and some at random; for a
        member that is looked at again, such as it has not had.
        """
        before = self.archive.members.get(asked.name)
        tried = set(before.tried.get(screen.name, ())) if before else set()
        chosen: list[int] = []
        parent = self.archive.members.get(asked.parent) if asked.move == NEW else None
        if parent is not None:
            chosen = self._best(parent, screen)[: round(screen.inherit * screen.settings)]
        purpose = f"{self.method} {asked.round} {asked.slot}"
        left = screen.settings - len(chosen)
        return (*chosen, *drawn(screen, self.seed, purpose, tried | set(chosen), left))

    def _best(self, member: Member, screen: Screen) -> list[int]:
        """The settings that were tried on a member, best first, diverged ones left out."""
        goal = self.archive.stages[screen.name].goal
        known = {k: s for k, s in member.tried.get(screen.name, {}).items() if s is not None}
        return sorted(known, key=lambda k: (-known[k] if goal == "max" else known[k], k))


def _again(number: int, slot: int, member: Member) -> Move:
    """A member that is looked at again."""
    return Move(
        *(number, slot, AGAIN, member.name, member.name, member.graph, member.text),
        *(member.fingerprint, member.known, 0, 0, True),
    )
