"""The report as files: one page without network, Markdown, tables, figures, written when all of it
is ready.

The page is a Jinja2 template with escaping on; Markdown and LaTeX escape in `tables`. Nothing here
looks at a clock: equal records make equal bytes.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rnnbench.charts.picture import Picture
from rnnbench.claims.design import Study as Known
from rnnbench.errors import UserError
from rnnbench.formatting import inert
from rnnbench.report import studied, tables
from rnnbench.report.document import Runs, Section, Table
from rnnbench.report.sections import sections
from rnnbench.runs.frame import load
from rnnbench.runs.made import put_files
from rnnbench.stats.selection import Study, study

TEMPLATES = Path(__file__).with_name("templates")


def write_report(
    places: Sequence[str],
    out: Path | None = None,
    baseline: str | None = None,
    known: Sequence[Known] | None = None,
) -> Path:
    """Write the report of the runs in these places (see `load`); returns the page.

    out: default `report` in the first place, or beside it if that is a file. Files that an earlier
        report wrote there and this one lacks are removed; nothing else is touched.
    known: the studies whose claims these runs are for; None: those of ours whose label they carry.

    Raises UserError if there is no run, no such baseline cell, no writing there, or a file of
    somebody else's in the way.
    """
    if not places:
        raise UserError("a report needs a place with runs: rnnbench report results/runs/NAME")
    frame = load(*places)
    known = studied.known(frame) if known is None else known
    asked = study(frame, baseline, {key for one in known for key in one.searched})
    first = Path(places[0]).expanduser()
    folder = out.expanduser() if out else (first if first.is_dir() else first.parent) / "report"
    put_files(folder, rendered(asked, sections(asked, known)), "report", adopt=is_report(folder))
    return folder / "index.html"


def is_report(folder: Path) -> bool:
    """Whether the page in a folder is one of ours; before there were manifests, nothing else
    told.
    """
    try:
        with (folder / "index.html").open("rb") as page:
            return b"<title>Report: " in page.read(1000)
    except OSError:
        return False


def rendered(asked: Study, parts: Sequence[Section]) -> dict[str, bytes]:
    """Path in the folder of the report → content; the page last, so that what it stands for is
    there when it is.
    """
    files: dict[str, bytes] = {}
    for part in every(parts):
        if isinstance(part, Picture):
            files |= {f"figures/{part.name}.svg": part.svg, f"figures/{part.name}.png": part.png}
        elif isinstance(part, Table):
            files |= {
                f"tables/{part.name}.tex": tables.latex(part).encode(),
                f"tables/{part.name}.csv": tables.csv_text(part).encode(),
            }
    runs = asked.frame.drop(columns="folder")
    for name in runs.select_dtypes(exclude=["number", "bool", "boolean"]):
        runs[name] = runs[name].map(inert)
    files["tables/runs.csv"] = runs.to_csv(index=False, lineterminator="\n").encode()
    title = f"Report: {', '.join(sorted(set(asked.frame['study'].astype(str))))}"
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    environment.filters |= {
        "table": tables.html,
        "picture": inline,
        "kind": lambda part: type(part).__name__,
    }
    page = environment.get_template("index.html").render(title=title, sections=parts)
    plain = environment.overlay(autoescape=False)  # type: ignore[no-untyped-call]
    plain.filters |= {"table": tables.markdown, "text": tables.markdown_text}
    files["report.md"] = (
        plain.get_template("report.md").render(title=title, sections=parts).strip() + "\n"
    ).encode()
    files["index.html"] = page.encode()
    return files


def every(parts: Iterable[Section]) -> Iterator[Any]:
    return (part for section in parts for part in section.parts if not isinstance(part, Runs))


def inline(picture: Picture) -> Markup:
    """The SVG as a part of the page: identifiers of its own, a name for who cannot see it, as wide
    as there is room.
    """
    text = picture.svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    head, body = re.match(r"<svg[^>]*>", text), text
    if head is None:
        raise ValueError(f"figure {picture.name} is no SVG")
    box = re.search(r'viewBox="([^"]*)"', head[0])
    width = float(box[1].split()[2]) if box else 468.0
    body = text[head.end() :]
    body = re.sub(r'\bid="', f'id="{picture.name}-', body)
    body = re.sub(r'(?:xlink:)?href="#', f'href="#{picture.name}-', body)
    body = body.replace("url(#", f"url(#{picture.name}-")
    start = Markup('<svg viewBox="{}" role="img" aria-label="{}" style="max-width: {}pt">').format(
        box[1] if box else "", picture.alt, f"{width:g}"
    )
    return start + Markup(body.strip())
