"""Group runs into packs: pure functions, tested without a device."""

import json
from collections.abc import Sequence

from rnnbench.settings import shape
from rnnbench.sweep.planning import Job

Pack = tuple[Job, ...]


def packs(jobs: Sequence[Job], limit: int, workers: int) -> list[Pack]:
    """Runs of equal shape together, at most `limit` in a pack, in the order in which they were asked for.

    A shape with fewer runs than `limit` for each worker is dealt evenly to all workers instead of filling one.
    """
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(json.dumps(shape(job.settings), sort_keys=True), []).append(job)
    shapes = len(groups)
    made: list[Pack] = []
    for members in groups.values():
        share = -(-len(members) // workers) if shapes < workers else len(members)  # many shapes keep all workers busy by themselves
        size = min(limit, share)
        count = -(-len(members) // size)
        made += [tuple(members[k::count]) for k in range(count)]
    return made
