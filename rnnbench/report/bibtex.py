"""The sources of cells, tasks and claims as BibTeX: what their text says, and nothing beyond it."""

import re
from collections.abc import Iterable

from rnnbench.report.writers import latex_text

REFERENCE = re.compile(
    r"(?P<authors>[^()]+?) \((?P<year>\d{4})\)(?:[,.]? (?P<title>[^;]+?))?(?=;|$)"
)


def bibtex(sources: Iterable[str]) -> str:
    """An entry for each reference `Authors (year), title` in these texts, each once."""
    entries: dict[str, tuple[str, str, str]] = {}
    for source in sources:
        for found in REFERENCE.finditer(" ".join(source.split())):
            authors = found["authors"].strip(" ,;.")
            title = (found["title"] or "").strip(" .")
            key = _key(authors, found["year"])
            if len(title) > len(entries.get(key, ("", "", ""))[2]) or key not in entries:
                entries[key] = (authors, found["year"], title)
    return "\n".join(_entry(key, *entries[key]) for key in sorted(entries))


def _key(authors: str, year: str) -> str:
    first = re.split(r",| & | et al", authors)[0]
    return re.sub(r"[^a-z]", "", first.lower().split()[-1]) + year


def _entry(key: str, authors: str, year: str, title: str) -> str:
    names = re.sub(r" et al\.?$", ", others", authors)
    people = " and ".join(part for part in re.split(r", | & ", names) if part)
    lines = [f"  author = {{{latex_text(people)}}}", f"  year = {{{year}}}"]
    if title:
        lines.append(f"  title = {{{{{latex_text(title)}}}}}")
    return f"@misc{{{key},\n" + ",\n".join(lines) + "\n}\n"
