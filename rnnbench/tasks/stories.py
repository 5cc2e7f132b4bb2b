"""Questions about stories, read word by word, by a generator of our own after the bAbI tasks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import log

import numpy as np

from rnnbench.errors import UserError
from rnnbench.tasks.contract import Batch, Generated, at_least
from rnnbench.tasks.lengths import read_at_end

PEOPLE = ("daniel", "john", "mary", "sandra")
PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
THINGS = ("apple", "football", "milk")
GO = ("went to", "went back to", "moved to", "journeyed to", "travelled to")
TAKE = ("took", "got", "grabbed", "picked up")
LEAVE = ("left", "dropped", "discarded", "put down")
FEWEST = {1: 2, 2: 4, 3: 8, 6: 2}  # statements among which a question is easily found, by kind
LONGEST = (7, 8)  # words of a statement and of a question, with their marks


def _vocabulary() -> tuple[str, ...]:
    phrases = (*PEOPLE, *PLACES, *THINGS, *GO, *TAKE, *LEAVE, "where is was the before in . ?")
    return tuple(dict.fromkeys(word for phrase in phrases for word in phrase.split()))


VOCABULARY = _vocabulary()
NUMBER = {word: number for number, word in enumerate(VOCABULARY)}


@dataclass(frozen=True)
class BabiOwn(Generated):
    """Answer a question about a story of people, places and things: not the published bAbI data.

    Stories are drawn afresh by rules of our own in the manner of bAbI, so that no published error
    stands beside these numbers. kind, as numbered there: 1 asks for the place of a person, 2 for
    the place of a thing that is carried about, 3 for where a thing was before another place,
    6 whether a person is in a place (yes or no).

    Source: after Weston et al. (2015), Towards AI-complete question answering: a set of
        prerequisite toy tasks.
    Reading: a story has 2 to `statements` statements, those of which nothing can be asked are drawn
        again; people go to places where they are not, take things that nobody has where they
        themselves are, and leave them. The answer is read at the question mark. Stories of
        different lengths stand side by side.
    """

    target: float | None = 0.95
    kind: int = 1
    statements: int = 10

    loss = "cross_entropy"
    metric = "accuracy"
    goal = "max"
    symbols = True
    inputs = len(VOCABULARY)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in FEWEST:
            raise UserError(f"task.kind must be 1, 2, 3 or 6, got {self.kind}")
        at_least(FEWEST[self.kind], statements=self.statements)

    @property
    def answers(self) -> tuple[str, ...]:
        return ("no", "yes") if self.kind == 6 else PLACES

    @property
    def outputs(self) -> int:
        return len(self.answers)

    @property
    def steps(self) -> int:
        return self.statements * LONGEST[0] + LONGEST[1]

    @property
    def horizon(self) -> int:
        return self.steps

    @property
    def stops(self) -> tuple[int, ...]:
        return (NUMBER["."],)

    @property
    def baseline(self) -> dict[str, float]:
        """Places are alike, and so are yes and no."""
        return {"accuracy": 1 / self.outputs, "nats": log(self.outputs)}

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        x, y, lengths = np.zeros((self.steps, size), np.int64), [], []
        chance = _chances(rng)
        for column in range(size):
            words, answer = self._story(chance)
            x[: len(words), column] = [NUMBER[word] for word in words]
            y.append(self.answers.index(answer))
            lengths.append(len(words))
        return read_at_end(x, np.array(y), np.array(lengths))

    def _story(self, chance: Iterator[float]) -> tuple[list[str], str]:
        """The words of a story with its question, and the answer."""
        while True:
            world = World(chance, moves_only=self.kind in (1, 6))
            for _ in range(2 + int(next(chance) * (self.statements - 1))):
                world.go_on()
            if asked := world.ask(self.kind):
                question, answer = asked
                return [*world.words, *question.split()], answer


@dataclass
class World:
    """Who and what is where, as far as it was told. `been`: every place of a thing, in order."""

    chance: Iterator[float]
    moves_only: bool
    place: dict[str, str] = field(default_factory=dict)
    holder: dict[str, str] = field(default_factory=dict)
    been: dict[str, list[str]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    def one_of(self, choices: Sequence[str]) -> str:
        return choices[int(next(self.chance) * len(choices))]

    def go_on(self) -> None:
        """One statement more."""
        person = self.one_of(PEOPLE)
        here = self.place.get(person)
        near = [] if here is None or self.moves_only else self._within_reach(person, here)
        if near and next(self.chance) < 0.5:
            self._handle(person, self.one_of(near))
        else:
            self._move(person, self.one_of([place for place in PLACES if place != here]))

    def _within_reach(self, person: str, here: str) -> list[str]:
        """What a person holds, and what lies here or was never mentioned."""
        held = [thing for thing in THINGS if self.holder.get(thing) == person]
        free = [thing for thing in THINGS if thing not in self.holder]
        return held + [thing for thing in free if self.been.get(thing, [here])[-1] == here]

    def _move(self, person: str, place: str) -> None:
        self.place[person] = place
        for thing, holder in self.holder.items():
            if holder == person:
                self.been[thing].append(place)
        self.words += f"{person} {self.one_of(GO)} the {place} .".split()

    def _handle(self, person: str, thing: str) -> None:
        if self.holder.get(thing) == person:
            del self.holder[thing]
            does = self.one_of(LEAVE)
        else:
            self.holder[thing] = person
            self.been.setdefault(thing, [self.place[person]])
            does = self.one_of(TAKE)
        self.words += f"{person} {does} the {thing} .".split()

    def ask(self, kind: int) -> tuple[str, str] | None:
        """A question and its answer; None if the story holds nothing to ask for."""
        if kind in (1, 6):
            person = self.one_of(list(self.place))
            place = self.place[person]
            if kind == 1:
                return f"where is {person} ?", place
            others = [other for other in PLACES if other != place]
            true = next(self.chance) < 0.5
            asked = place if true else self.one_of(others)
            return f"is {person} in the {asked} ?", "yes" if true else "no"
        enough = [thing for thing, places in self.been.items() if len(places) >= kind - 1]
        if not enough:
            return None
        thing = self.one_of(enough)
        places = self.been[thing]
        if kind == 2:
            return f"where is the {thing} ?", places[-1]
        later = self.one_of(places[1:])
        before = max(step for step, place in enumerate(places) if place == later) - 1
        return f"where was the {thing} before the {later} ?", places[before]


def _chances(rng: np.random.Generator, block: int = 4096) -> Iterator[float]:
    """Uniform numbers without end, drawn in blocks, for speed."""
    while True:
        yield from rng.random(block).tolist()
