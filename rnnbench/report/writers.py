"""A table as HTML, LaTeX (booktabs), CSV and Markdown: one writer each, and each escapes what it
must. All read the same columns.
"""

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup, escape

from rnnbench.formatting import inert, setting
from rnnbench.report.table import Entry, Line, Table
from rnnbench.stats.selection import Variant

NUMERIC = (int, float)
DIGITS = 10  # of a number that programs read


def html(table: Table) -> Markup:
    """A table that scrolls sideways where it is too wide; heads become buttons where
    scripts run. Rows say which task and cell they are about, for the filters.
    """
    heads = "".join(
        f'<th scope="col" class="{c.format.kind}">{escape(c.head)}'
        f"{f' <small>{escape(c.unit)}</small>' if c.unit else ''}</th>"
        for c in table.columns
    )
    bodies = []
    for heading, found in table.groups:
        lines = [f"<tr{_about(table, line.row)}>{_html_row(line)}</tr>" for line in found]
        if heading:
            span = f'<th scope="rowgroup" colspan="{len(table.columns)}">{escape(heading)}</th>'
            lines.insert(0, f'<tr class="heading">{span}</tr>')
        bodies.append("<tbody>\n" + "\n".join(lines) + "\n</tbody>")
    notes = "".join(f"<p>{escape(note)}</p>" for note in table.notes)
    if notes:
        notes = f'<details class="notes"><summary>How to read this table</summary>{notes}</details>'
    name, body = escape(table.name), "\n".join(bodies)
    return Markup(
        f'<figure class="table" id="table-{name}"><figcaption id="caption-{name}">'
        f'{escape(table.caption)}</figcaption><div class="scroll" tabindex="0" role="region" '
        f'aria-labelledby="caption-{name}"><table aria-labelledby="caption-{name}"><thead><tr>'
        f"{heads}</tr></thead>\n{body}</table></div>{notes}</figure>"
    )


def _about(table: Table, row: Any) -> str:
    """What filters ask of a row."""
    made, settings = "", []
    for kind, of in (("task", table.task), ("cell", table.cell)):
        variant: Variant | None = of(row) if of else None
        if variant is not None:
            made += f' data-{kind}="{escape(variant.label)}"'
            settings += [setting(*pair) for pair in variant.settings]
    return f'{made} data-variant="{escape("; ".join(settings))}"' if settings else made


def _html_row(line: Line) -> str:
    return "".join(_html_entry(entry, k == 0) for k, entry in enumerate(line.entries))


def _html_entry(entry: Entry, first: bool) -> str:
    shown = str(escape(entry.text))
    if entry.kind == "code":
        shown = f"<code>{shown}</code>"
    if entry.bold:
        shown = f"<b>{shown}</b>"
    if entry.link:
        shown = f'<a href="{escape(entry.link)}">{shown}</a>'
    if entry.mark:
        shown += f"<sup>{escape(entry.mark)}</sup>"
    if entry.aside:
        shown += f' <span class="aside">{escape(entry.aside)}</span>'
    attributes = ""
    if isinstance(entry.value, NUMERIC) and not isinstance(entry.value, bool):
        exact = f"{float(entry.value):.{DIGITS}g}".replace("inf", "Infinity")
        attributes += f' data-v="{exact}"'
    if entry.id:
        attributes += f' id="{escape(entry.id)}"'
    if first:
        return f'<th scope="row" class="{entry.kind}"{attributes}>{shown}</th>'
    return f'<td class="{entry.kind}"{attributes}>{shown}</td>'


def markdown(table: Table) -> str:
    """A pipe table, its caption in bold above and its notes below."""
    heads = [markdown_text(f"{c.head} {c.unit}".strip()) for c in table.columns]
    aligned = ["---:" if c.format.kind == "number" else ":---" for c in table.columns]
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join(aligned)} |"]
    for heading, found in table.groups:
        if heading:
            lines.append(f"| *{markdown_text(heading)}* |{' |' * (len(table.columns) - 1)}")
        lines += [f"| {' | '.join(map(_markdown_entry, line.entries))} |" for line in found]
    notes = [markdown_text(note) for note in table.notes]
    return "\n\n".join([f"**{markdown_text(table.caption)}**", "\n".join(lines), *notes])


def _markdown_entry(entry: Entry) -> str:
    if entry.kind == "code" and entry.text:
        code = " ".join(entry.text.splitlines()).replace("|", "\\|")
        code = f" {code} " if code.startswith("`") or code.endswith("`") else code
        fence = "`" * (max(map(len, re.findall(r"`+", code)), default=0) + 1)
        shown = f"{fence}{code}{fence}"
    else:
        shown = markdown_text(entry.text)
    shown = f"**{shown}**" if entry.bold else shown
    return " ".join(filter(None, (shown + markdown_text(entry.mark), markdown_text(entry.aside))))


def markdown_text(text: str) -> str:
    """Text in which nothing is markup, not even HTML; an underscore inside a word is none."""
    text = " ".join(text.splitlines())
    for sign, named in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, named)
    text = re.sub(r"([\\`*\[\]|~$])", r"\\\1", text)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def latex(table: Table) -> str:
    """A tabular with booktabs rules, to \\input into a table, narrow enough for a column: without
    the wide columns, intervals below their numbers. Caption and notes as comments.
    """
    columns = [c for c in table.columns if not c.wide]
    align = "".join(
        {"number": "r", "prose": "p{0.3\\linewidth}"}.get(c.format.kind, "l") for c in columns
    )
    heads = [latex_text(f"{c.head} {c.unit}".strip()) for c in columns]
    lines = [f"% {' '.join(text.split())}" for text in (table.caption, *table.notes)]
    lines += [
        "% \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{@{{}}{align}@{{}}}}",
        "\\toprule",
        f"{' & '.join(heads)} \\\\",
    ]
    for heading, found in table.groups:
        lines.append("\\midrule")
        if heading:
            shown = f"\\emph{{{latex_text(heading)}}}"
            lines.append(f"\\multicolumn{{{len(columns)}}}{{l}}{{{shown}}} \\\\")
        for line in found:
            kept = [e for e, c in zip(line.entries, table.columns, strict=True) if not c.wide]
            lines.append(f"{' & '.join(map(_latex_entry, kept))} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _latex_entry(entry: Entry) -> str:
    escaped = latex_number if isinstance(entry.value, NUMERIC) else latex_text
    shown = escaped(entry.text)
    shown = f"\\texttt{{{shown}}}" if entry.kind == "code" else shown
    shown = f"\\textbf{{{shown}}}" if entry.bold else shown
    shown += f"\\textsuperscript{{{latex_text(entry.mark)}}}" if entry.mark else ""
    # A cell that begins with a bracket would be read as the optional argument of the \\ before it.
    shown = "{}" + shown if shown.startswith(("[", "*")) else shown
    return f"{shown} {{\\scriptsize {escaped(entry.aside)}}}" if entry.aside else shown


LATEX = {c: f"\\{c}" for c in "&%$#_{}"}
LATEX |= {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "''",
    "`": "\\textasciigrave{}",
    "−": "$-$",
    "≈": "$\\approx$",
    "≤": "$\\leq$",
    "≥": "$\\geq$",
    "±": "$\\pm$",
    "×": "$\\times$",
    "∞": "$\\infty$",
    "Δ": "$\\Delta$",
    "↓": "$\\downarrow$",
    "↑": "$\\uparrow$",
    "–": "--",
    "·": "$\\cdot$",
    "…": "\\dots{}",
    "†": "\\dag{}",
    "✓": "$\\surd$",
    "α": "$\\alpha$",
}


def latex_text(text: str) -> str:
    """Text as LaTeX prints it; a line break is a space, since an empty line would end a cell."""
    return "".join(LATEX.get(c, c) for c in " ".join(text.splitlines()))


def latex_number(text: str) -> str:
    """The same with 1.2e−5 as a power of ten; for what is known to be numbers."""
    return re.sub(
        r"e(?:\$-\$(\d+)|(\d+))",
        lambda found: f"$\\cdot 10^{{{'-' + found[1] if found[1] else found[2]}}}$",
        latex_text(text),
    )


def csv_text(table: Table) -> str:
    """Numbers to DIGITS digits; bounds in columns of their own; the group first where rows are
    grouped.
    """
    lines = [(heading, line.entries) for heading, found in table.groups for line in found]
    bounded = [any(entries[k].bounds for _, entries in lines) for k in range(len(table.columns))]
    heads = [
        name
        for c, more in zip(table.columns, bounded, strict=True)
        for name in ((c.name, f"{c.name}_low", f"{c.name}_high") if more else (c.name,))
    ]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["group", *heads] if table.group else heads)
    for heading, entries in lines:
        values = [
            value
            for entry, more in zip(entries, bounded, strict=True)
            for value in _csv_values(entry, more)
        ]
        writer.writerow([heading, *values] if table.group else values)
    return buffer.getvalue()


def _csv_values(entry: Entry, bounded: bool) -> Iterator[str]:
    yield _csv_value(entry.text if entry.value is None else entry.value)
    if bounded:
        yield from map(_csv_value, entry.bounds or ("", ""))


def _csv_value(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.{DIGITS}g}"
    return "" if value == "–" else str(inert(str(value)))
