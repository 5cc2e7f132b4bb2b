"""Group runs into packs: pure functions, tested without a device."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rnnbench.settings import shape
from rnnbench.sweep.planning import Job

Pack = tuple[Job, ...]


def packs(jobs: Sequence[Job], limit: int, workers: int) -> list[Pack]:
    """Runs of equal shape together, at most `limit` in a pack, in the order in which they were
    asked for.

    Fewer shapes than workers are dealt in as many even parts as keep every worker busy.
    """
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(together(job), []).append(job)
    parts = -(-workers // len(groups)) if groups else 1
    made: list[Pack] = []
    for members in groups.values():
        size = min(limit, -(-len(members) // parts))
        count = -(-len(members) // size)
        made += [tuple(members[k::count]) for k in range(count)]
    return made


def together(job: Job) -> str:
    """What runs of a pack have in common: their shape, and how and from where they are trained."""
    settings = job.settings
    where = {
        "engine": asdict(settings.engine),
        "data": settings.paths.data,
        "mirror": settings.paths.mirror,
    }
    return json.dumps([shape(settings), where], sort_keys=True)
