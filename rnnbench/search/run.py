"""Run a search: rounds of moves, worked on by processes of this machine, a record for each.

The list depends on the YAML, the method and the seed; not on workers, interruptions or speed.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from rnnbench.console import clock
from rnnbench.errors import Interrupted, UserError
from rnnbench.runs.records import write
from rnnbench.search.archive import NEW, Header, Journal, Move, SearchArchive
from rnnbench.search.design import HOURS, Search
from rnnbench.search.found import found_text
from rnnbench.search.methods import Proposals
from rnnbench.search.screens import FINITE, Assignment, Screened, Stages, screened
from rnnbench.sweep.backends import ENVIRONMENT
from rnnbench.sweep.work import enlist

FOUND = "found.py"
KEPT = 20  # cells that are written down
RESULTS = "results/searches"


def folder_of(results: Path, search: Search, method: str, seed: int) -> Path:
    return results / search.name / f"{method}-{seed}"


class Sitting:
    """One search: method and seed. archive: what is known, whole rounds and the begun one."""

    def __init__(
        self, search: Search, stages: Stages, method: str, seed: int, folder: Path
    ) -> None:
        self.search, self.stages, self.method, self.seed = search, stages, method, seed
        self.folder = folder
        self.journal = Journal(folder, Header(search.name, method, seed, search.digest))
        self.archive = SearchArchive(search, stages)
        self.proposals = Proposals(self.archive, method, seed)
        self.began = time.perf_counter()
        self.before = self.journal.clock

    @property
    def clock(self) -> float:
        """Seconds of all sittings."""
        return self.before + time.perf_counter() - self.began

    def run(self, budget: str, workers: int, say: Callable[[str], None], again: str) -> None:
        """Go on until the budget is spent. Raises Interrupted where a person or the system stops
        it; nothing that has ended is lost.
        """
        hours = float(budget[:-1]) * 3600 if budget.endswith(HOURS) else None
        cells = None if hours else int(budget)
        with Pool(self.stages, workers, screened) as pool:
            try:
                for number in count():
                    known = self._whole(number)
                    if known is None:
                        asked = self._asked(number, cells)
                        left = [one for one in asked if one.key() not in self.journal.records]
                        if left and hours is not None and self.clock >= hours:
                            break
                        self._work(left, pool)
                    for record in known or [self.journal.records[one.key()] for one in asked]:
                        self.archive.fold(record)
                    if number == 0:
                        self._check_reference()
                    if known is None:
                        say(self._progress(cells, hours))
                    if cells is not None and self.archive.count >= cells:
                        break
            except KeyboardInterrupt:
                raise Interrupted(f"all that has ended is kept; to go on:\n  {again}") from None
            finally:
                if self.archive.members:
                    write(
                        self.folder / FOUND, found_text(self.archive, self.method, self.seed, KEPT)
                    )

    def _check_reference(self) -> None:
        """Scores are shares of the reference's, which must therefore be something."""
        reference = self.archive.members[self.search.relative_to]
        for name, stage in self.stages.items():
            if not reference.best(name, stage.goal):
                raise UserError(
                    f"{reference.name} reaches nothing at screens.{name}, so that nothing can be "
                    f"compared with it: give the screen more steps, or draws that do not diverge"
                )

    def _whole(self, number: int) -> list[dict[str, Any]] | None:
        """The records of a round that has ended, so that it need not be proposed again."""
        size = self.search.round if number else len(self.search.references)
        found = [self.journal.records.get((number, slot)) for slot in range(size)]
        return None if None in found else [record for record in found if record]

    def _asked(self, number: int, cells: int | None) -> list[Move]:
        """The moves of a round; the last one ends where the budget does."""
        asked = self.proposals.references() if number == 0 else self.proposals.round(number)
        if cells is None:
            return asked
        kept, made = [], self.archive.count
        for one in asked:
            if made == cells:
                break
            kept.append(one)
            made += one.move == NEW
        return kept

    def _work(self, left: Sequence[Move], pool: "Pool") -> None:
        by_name = {(one.name, one.slot): one for one in left}
        orders = {key: self.proposals.order(one) for key, one in by_name.items()}
        for key, became in pool.work(orders):
            self.journal.write(by_name[key], became, self.clock)

    def _progress(self, cells: int | None, hours: float | None) -> str:
        """Candidates so far, the share past each screen, the best, the time left."""
        archive = self.archive
        fresh = [r for r in self.journal.records.values() if r["move"] == NEW]
        spent = self.clock
        total = max(len(fresh), 1)
        shares = " → ".join(
            f"{name} {number / total:.0%}" for name, number in passed(fresh, self.search).items()
        )
        if hours is not None:
            left, goal = hours - spent, ""
        else:
            assert cells is not None
            left, goal = spent / total * (cells - archive.count), f" of {cells}"
        ranked = archive.ranked()
        best = (
            f"best {ranked[0][0]:.4f} {told(ranked[0][1].name, ranked[0][1].known)}"
            if ranked
            else "none"
        )
        return (
            f"{self.method}-{self.seed}: {archive.count}{goal} cells; {shares}; {best}; "
            f"{clock(max(left, 0.0))} left"
        )


def told(name: str, known: str | None) -> str:
    return f"{name} (= {known})" if known and known != name else name


def passed(records: Sequence[Mapping[str, Any]], search: Search) -> dict[str, int]:
    """Screen → how many of the candidates have passed it, the grammar's numbers first."""
    names = [FINITE, *(screen.name for screen in search.screens)]
    stopped = [names.index(r["failed"]) if r["failed"] else len(names) for r in records]
    return {name: sum(at > place for at in stopped) for place, name in enumerate(names)}


_stages: Stages = {}


def _ready(stages: Stages, parent: int) -> None:
    global _stages  # of this worker
    _stages = stages
    enlist(parent, Path(os.devnull))  # what goes wrong comes back as an error


def _done(work: Callable[[Assignment, Stages], Any], order: Assignment) -> Any:
    return work(order, _stages)


class Pool:
    """Workers, and what each does with an order. One: this process itself."""

    def __init__(
        self, stages: Stages, workers: int, done: Callable[[Assignment, Stages], Any]
    ) -> None:
        self.stages, self.workers, self.done = stages, workers, done
        self.pool: Any = None

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(kill_workers=True)

    def work(self, orders: Mapping[Any, Assignment]) -> Iterator[tuple[Any, Any]]:
        """Each order's outcome as it ends. One under which a worker dies is worked on again alone;
        if that takes the worker too, the candidate has failed (`Screened`).
        """
        if self.workers == 1:
            yield from ((key, self.done(order, self.stages)) for key, order in orders.items())
            return
        from concurrent.futures import as_completed

        from joblib.externals.loky.process_executor import BrokenProcessPool

        futures = {
            self._started().submit(_done, self.done, order): key for key, order in orders.items()
        }
        lost = []
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool:
                lost.append(futures[future])
        for key in lost:
            self._drop()
            try:
                yield key, self._started().submit(_done, self.done, orders[key]).result()
            except BrokenProcessPool:
                yield key, Screened(orders[key].name, FINITE, "its worker died twice", (), 0.0)
        if lost:
            self._drop()

    def _started(self) -> Any:
        from joblib.externals.loky import ProcessPoolExecutor

        if self.pool is None:
            self.pool = ProcessPoolExecutor(
                self.workers,
                initializer=_ready,
                initargs=(self.stages, os.getpid()),
                env=ENVIRONMENT,
            )
        return self.pool

    def _drop(self) -> None:
        self.pool.shutdown(kill_workers=True)
        self.pool = None
