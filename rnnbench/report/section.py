"""A section of the report: a file in `report/sections`, found by being there, or from outside an
entry point of the group `rnnbench.report.sections`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from rnnbench import plugins
from rnnbench.report.table import Part

Page = Literal["overview", "task", "claims", "runs"]


@dataclass(frozen=True)
class Section:
    """page: where it stands; order: its place there. parts: of Results, and on the page of a task
    of Results and the task (a Variant); one without parts does not appear.
    """

    title: str
    page: Page
    order: int
    parts: Callable[..., Iterator[Part]]


def sections(page: Page) -> list[tuple[str, Section]]:
    """The sections of a page with their names, in order."""
    found = plugins.found("rnnbench.report.sections", "SECTION").items()
    here = [(name, section) for name, section in found if section.page == page]
    return sorted(here, key=lambda item: (item[1].order, item[0]))
