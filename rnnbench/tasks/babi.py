"""The bAbI question answering tasks, from the published files: stories read word by word."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnbench.draw import Draw
from rnnbench.errors import UserError
from rnnbench.tasks.contract import Batch, Split, Task, at_least
from rnnbench.tasks.lengths import read_at_end

HELD_OUT = 0.1  # of the training questions, the last ones: for validation


class Question(NamedTuple):
    """The words of a story with its question at the end, and the answer."""

    words: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Babi(Task):
    """Answer a question about a story, read word by word, of one of the 20 published bAbI tasks.

    folder: where the published files lie, for example `tasks_1-20_v1-2/en`, or `en-10k` with ten
        times the questions. They are not fetched; `task=babi_own` needs none.
    kind: which of the tasks, 1 to 20.
    sentences: the last so many of a story are read; null: all.

    Source: Weston et al. (2015), Towards AI-complete question answering: a set of prerequisite toy
        tasks; 50 sentences and the held-out tenth as in Sukhbaatar et al. (2015), End-to-end memory
        networks.
    Reading: words are in lower case, marks are words of their own, a list of things is one answer.
        The vocabulary is that of all files of the task. The answer is read at the question mark;
        what stands before it are the statements of the story, not its earlier questions. A pass
        goes through the training questions in an order that the seed draws; what does not fill a
        batch is left out for one pass.
    """

    target: float | None = 0.95
    folder: str | None = None
    kind: int = 1
    sentences: int | None = 50

    loss = "cross_entropy"
    metric = "accuracy"
    goal = "max"
    symbols = True
    per_seed = False

    def __post_init__(self) -> None:
        if not 1 <= self.kind <= 20:
            raise UserError(f"task.kind must be from 1 to 20, got {self.kind}")
        if self.sentences is not None:
            at_least(1, sentences=self.sentences)

    @cached_property
    def questions(self) -> dict[str, list[Question]]:
        """Split → its questions, in the order of the files."""
        published = {part: read_questions(self._file(part), self.sentences) for part in PARTS}
        border = round(len(published["train"]) * (1 - HELD_OUT))
        return {
            "train": published["train"][:border],
            "valid": published["train"][border:],
            "test": published["test"],
        }

    def _file(self, part: str) -> Path:
        if self.folder is None:
            raise UserError(
                "task.folder must name the folder of the published bAbI files, such as"
                " tasks_1-20_v1-2/en; task=babi_own needs no files"
            )
        found = sorted(Path(self.folder).expanduser().glob(f"qa{self.kind}_*_{part}.txt"))
        if len(found) != 1:
            raise UserError(
                f"task.folder={self.folder} must hold one file qa{self.kind}_…_{part}.txt,"
                f" found {len(found)}"
            )
        return found[0]

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        every = [question for split in self.questions.values() for question in split]
        return _numbered(word for question in every for word in question.words)

    @cached_property
    def answers(self) -> dict[str, int]:
        return _numbered(question.answer for split in self.questions.values() for question in split)

    @property
    def inputs(self) -> int:
        return len(self.vocabulary)

    @property
    def outputs(self) -> int:
        return len(self.answers)

    @cached_property
    def longest(self) -> int:
        """Of the training questions: all training batches have its length, whatever the seed."""
        return max(len(question.words) for question in self.questions["train"])

    @property
    def horizon(self) -> int:
        return self.longest

    @property
    def stops(self) -> tuple[int, ...]:
        return (self.vocabulary["."],) if "." in self.vocabulary else ()

    @cached_property
    def baseline(self) -> dict[str, float]:
        """How often each answer is right in training, with one added to each."""
        right = [self.answers[question.answer] for question in self.questions["train"]]
        share = np.bincount(right, minlength=self.outputs) + 1.0
        share /= share.sum()
        tested = np.array([self.answers[question.answer] for question in self.questions["test"]])
        return {
            "accuracy": float((tested == share.argmax()).mean()),
            "nats": float(-np.log(share[tested]).mean()),
        }

    def batch(self, draw: Draw, step: int, size: int) -> Batch:
        questions = self.questions["train"]
        batches = len(questions) // size
        if batches == 0:
            raise UserError(
                f"train.batch must be at most {len(questions)}, the number of training questions,"
                f" got {size}"
            )
        epoch, turn = divmod(step, batches)
        order = draw("train", epoch).permutation(len(questions))[turn * size :][:size]
        return self._padded([questions[k] for k in order], self.longest)

    def evaluation(self, split: Split, draw: Draw, size: int) -> Iterator[Batch]:
        """All questions, neighbours in length side by side."""
        questions = sorted(self.questions[split], key=lambda question: len(question.words))
        for start in range(0, len(questions), size):
            group = questions[start : start + size]
            yield self._padded(group, len(group[-1].words))

    def _padded(self, questions: Sequence[Question], steps: int) -> Batch:
        x = np.zeros((steps, len(questions)), np.int64)
        for column, (words, _) in enumerate(questions):
            x[: len(words), column] = [self.vocabulary[word] for word in words]
        y = np.array([self.answers[question.answer] for question in questions])
        return read_at_end(x, y, np.array([len(question.words) for question in questions]))


PARTS = ("train", "test")
LINE = re.compile(r"(\d+) ([^\t]+)(?:\t([^\t]+)(?:\t[\d ]*)?)?")


def read_questions(path: Path, sentences: int | None = None) -> list[Question]:
    """Every question of a file behind the last `sentences` statements of its story. UserError.

    A line is `number sentence`, or `number question ⟨tab⟩ answer ⟨tab⟩ supporting lines`; with the
    number 1 a story begins.
    """
    found: list[Question] = []
    story: list[list[str]] = []
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
        if not (parts := LINE.fullmatch(line.strip())):
            raise UserError(
                f"{path}:{number} is neither a numbered sentence nor a question: {line!r}"
            )
        place, sentence, answer = parts.groups()
        words = re.findall(r"[\w'-]+|[.?]", sentence.lower())
        if place == "1":
            story = []
        if answer is None:
            story.append(words)
        else:
            before = story if sentences is None else story[-sentences:]
            found.append(Question((*(word for told in before for word in told), *words), answer))
    if len(found) < 2:
        raise UserError(f"{path} holds {len(found)} questions, expected many")
    return found


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(sorted(set(names)))}
