"""The report as files: an overview, a page for each task, one for claims, one for runs; Markdown,
tables, figures, BibTeX. Written when all of it is ready.

The pages are a Jinja2 template with escaping on; Markdown and LaTeX escape in `writers`. Nothing
here looks at a clock: equal records make equal bytes (PDF aside, which vl-convert numbers at will).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rnnbench.charts.chart import SHOWN, Chart, Picture, dashes, script
from rnnbench.claims.design import Study, of_label
from rnnbench.errors import UserError
from rnnbench.formatting import inert
from rnnbench.report import writers
from rnnbench.report.bibtex import bibtex
from rnnbench.report.results import Results
from rnnbench.report.section import sections
from rnnbench.report.sections import bibliography
from rnnbench.report.table import Fold, Part, Table, task_place
from rnnbench.report.writers import DIGITS
from rnnbench.runs.frame import load
from rnnbench.runs.made import put_files
from rnnbench.stats.selection import Variant, study
from rnnbench.stats.twins import once

TEMPLATES = Path(__file__).with_name("templates")
Progress = Callable[[Sequence[Study], pd.DataFrame], Mapping[str, tuple[int, int]]]
OVERVIEW, CLAIMS, RUNS = "index.html", "claims.html", "runs.html"


@dataclass(frozen=True)
class Written:
    """A section with its parts. id: what links lead to."""

    id: str
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """file: its name; title: of its link."""

    file: str
    title: str
    sections: Sequence[Written]

    @property
    def charts(self) -> bool:
        return any(isinstance(part, Chart) for one in self.sections for part in one.parts)


def write_report(
    places: Sequence[str],
    out: Path | None = None,
    baseline: str | None = None,
    known: Sequence[Study] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the report of the runs in these places (see `load`); returns the page.

    out: default `report` in the first place, or beside it if that is a file. Files that an earlier
        report wrote there and this one lacks are removed; nothing else is touched.
    baseline: the cell that others are compared with; None: that of the study, if these are the
        runs of one of ours.
    known: the studies whose claims these runs are for; None: those of ours whose label they carry.
    progress: what says how far they are (`studies.progress`); None: they are complete.

    Raises UserError if there is no run, no such baseline cell, no writing there, or a file of
    somebody else's in the way.
    """
    if not places:
        raise UserError("a report needs a place with runs: rnnbench report results/runs/NAME")
    frame = load(*places)
    known = known_studies(frame) if known is None else known
    if baseline is None and len(known) == 1 and known[0].baseline in set(frame["cell"]):
        baseline = known[0].baseline
    searched = {key for one in known for key in one.searched}
    trials = {seed for one in known for seed in one.search_seeds}
    done = progress(known, frame) if progress else {}
    results = Results(once(study(frame, baseline, searched, trials)), known, done)
    first = Path(places[0]).expanduser()
    folder = out.expanduser() if out else (first if first.is_dir() else first.parent) / "report"
    put_files(folder, rendered(results), "report", adopt=is_report(folder))
    return folder / OVERVIEW


def tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The tables of a report that was written, by name: rows by column, None where there is no
    value.
    """
    found = {}
    for path in sorted((folder / "tables").glob("*.csv")):
        frame = pd.read_csv(path).astype(object)
        found[path.stem] = frame.where(frame.notna(), None).to_dict("records")
    return found


def known_studies(frame: pd.DataFrame) -> list[Study]:
    """The studies whose label these runs carry."""
    labels = sorted(set(frame["study"].astype(str)))
    return [found for label in labels if (found := of_label(label)) is not None]


def is_report(folder: Path) -> bool:
    """Whether the page in a folder is one of ours; before there were manifests, nothing else
    told.
    """
    try:
        with (folder / OVERVIEW).open("rb") as page:
            return b"<title>Report: " in page.read(1000)
    except OSError:
        return False


def pages(results: Results) -> list[Page]:
    """Every page that has something to say; sections without parts do not appear."""
    made = [Page(OVERVIEW, "Overview", list(_written("overview", results)))]
    made += [
        Page(task_place(task), task.label, list(_written("task", results, task)))
        for task in results.study.tasks
    ]
    made.append(Page(CLAIMS, "Claims", list(_written("claims", results))))
    made.append(Page(RUNS, "Runs and sources", list(_written("runs", results))))
    return [page for page in made if page.sections or page.file == OVERVIEW]


def _written(page: Any, results: Results, *task: Variant) -> Iterator[Written]:
    for name, section in sections(page):
        if parts := list(section.parts(results, *task)):
            yield Written(name, section.title, parts)


def rendered(results: Results) -> dict[str, bytes]:
    """Path in the folder of the report → content; the overview last, so that what it stands for is
    there when it is.
    """
    made = pages(results)
    files: dict[str, bytes] = {}
    for part in every(made):
        if isinstance(part, (Chart, Picture)):
            for kind in ("svg", "png", "pdf"):
                files[f"figures/{part.name}.{kind}"] = getattr(part, kind)
        elif isinstance(part, Table):
            files[f"tables/{part.name}.tex"] = writers.latex(part).encode()
            files[f"tables/{part.name}.csv"] = writers.csv_text(part).encode()
    frame = results.study.frame
    sources = [row.about.source for row in bibliography.rows(results.study)]
    sources += [source for one in results.known for source in one.sources]
    files["tables/sources.bib"] = bibtex(sources).encode()
    runs = frame.drop(columns="folder")
    for name in runs.select_dtypes(exclude=["number", "bool", "boolean"]):
        runs[name] = runs[name].map(lambda value: inert(_plain(value)))
    text = runs.to_csv(index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")
    files["tables/runs.csv"] = text.encode()
    if any(page.charts for page in made):
        files["vega.js"] = script()
    title = f"Report: {', '.join(sorted(set(frame['study'].astype(str))))}"
    said = [page for page in made if page.file != RUNS]
    plain = _environment(False, table=writers.markdown, text=writers.markdown_text)
    text = plain.get_template("report.md").render(title=title, pages=said).strip() + "\n"
    files["report.md"] = text.encode()
    template = _environment(True, table=writers.html, legend=legend).get_template("page.html")
    for page in reversed(made):
        files[page.file] = template.render(title=title, page=page, pages=made).encode()
    return files


def _environment(escaped: bool, **filters: Any) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=escaped,
    )
    environment.filters |= {"kind": lambda part: type(part).__name__} | filters
    return environment


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Variant) else value


def every(made: Iterable[Page]) -> Iterator[Part]:
    """All parts but the folded ones, whose tables are in tables/runs.csv."""
    parts = (part for page in made for one in page.sections for part in one.parts)
    return (part for part in parts if not isinstance(part, Fold))


def legend(chart: Chart) -> list[dict[str, Any]]:
    """What the page makes a legend of whose entries switch cells."""
    entries = []
    for k, (cell, style) in enumerate(chart.cells.items()):
        dash = " ".join(f"{part:g}" for part in dashes(style))
        look = {"colour": style.colour, "dash": dash, "on": k < SHOWN}
        entries.append({"cell": cell.label, **look})
    return entries
