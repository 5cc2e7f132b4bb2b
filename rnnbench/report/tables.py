"""A table as HTML, LaTeX (booktabs), CSV and Markdown: one renderer each, and each escapes what it
must.

The HTML of a table is made here rather than in the template because every other format of it is,
too.
"""

import csv
import io
import re
from collections.abc import Iterator

from markupsafe import Markup, escape

from rnnbench.formatting import inert
from rnnbench.report.document import Column, Entry, Table

NUMERIC = (int, float)


def html(table: Table) -> Markup:
    """A table that scrolls sideways where it is too wide; heads become buttons where
    scripts run.
    """
    heads = Markup("").join(
        Markup('<th scope="col" class="{}">{}{}</th>').format(
            c.align, c.name, Markup(" <small>{}</small>").format(c.unit) if c.unit else ""
        )
        for c in table.columns
    )
    bodies = []
    for group in table.groups:
        rows = [
            Markup("<tr>{}</tr>").format(
                Markup("").join(map(_html_entry, row, table.columns, range(len(row))))
            )
            for row in group.rows
        ]
        if group.heading:
            rows.insert(
                0,
                Markup('<tr class="heading"><th scope="rowgroup" colspan="{}">{}</th></tr>').format(
                    len(table.columns), group.heading
                ),
            )
        bodies.append(
            Markup("<tbody{}>\n{}\n</tbody>").format(
                Markup(' id="{}"').format(group.id) if group.id else "", Markup("\n").join(rows)
            )
        )
    notes = Markup("").join(Markup("<p>{}</p>").format(note) for note in table.notes)
    return Markup(
        '<figure class="table" id="table-{}"><figcaption>{}</figcaption><div class="scroll" '
        'tabindex="0" role="region" aria-label="{}">'
        '<table class="{}">{}\n{}</table></div>{}</figure>'
    ).format(
        table.name,
        table.caption,
        table.caption.split(". ")[0],
        "sortable" if table.sortable else "plain",
        Markup("<thead><tr>{}</tr></thead>").format(heads)
        if any(c.name for c in table.columns)
        else "",
        Markup("\n").join(bodies),
        Markup('<div class="notes">{}</div>').format(notes) if notes else "",
    )


def _html_entry(entry: Entry, column: Column, k: int) -> Markup:
    shown: Markup = escape(entry.text)
    if entry.code:
        shown = Markup("<code>{}</code>").format(shown)
    if entry.bold:
        shown = Markup("<b>{}</b>").format(shown)
    if entry.runs:
        shown = Markup('<a href="#{}">{}</a>').format(entry.runs, shown)
    if entry.mark:
        shown += Markup("<sup>{}</sup>").format(entry.mark)
    if entry.aside:
        shown += Markup(' <span class="aside">{}</span>').format(entry.aside)
    attributes = Markup("")
    if isinstance(entry.value, NUMERIC) and not isinstance(entry.value, bool):
        attributes += Markup(' data-v="{}"').format(
            repr(float(entry.value)).replace("inf", "Infinity")
        )
    if entry.id:
        attributes += Markup(' id="{}"').format(entry.id)
    if k == 0:
        return Markup('<th scope="row" class="{}"{}>{}</th>').format(
            column.align, attributes, shown
        )
    return Markup('<td class="{}"{}>{}</td>').format(
        "prose" if column.prose else column.align, attributes, shown
    )


def markdown(table: Table) -> str:
    """A pipe table, its caption in bold above and its notes below."""
    heads = [markdown_text(f"{c.name} {c.unit}".strip()) for c in table.columns]
    lines = [
        f"| {' | '.join(heads)} |",
        f"| {' | '.join('---:' if c.align == 'right' else ':---' for c in table.columns)} |",
    ]
    for group in table.groups:
        if group.heading:
            lines.append(f"| *{markdown_text(group.heading)}* |{' |' * (len(table.columns) - 1)}")
        lines += [f"| {' | '.join(map(_markdown_entry, row))} |" for row in group.rows]
    notes = [markdown_text(note) for note in table.notes]
    return "\n\n".join([f"**{markdown_text(table.caption)}**", "\n".join(lines), *notes])


def _markdown_entry(entry: Entry) -> str:
    if entry.code:
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
    text = (
        " ".join(text.splitlines()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
    text = re.sub(r"([\\`*\[\]|~$])", r"\\\1", text)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def latex(table: Table) -> str:
    """A tabular with booktabs rules, to \\input into a table; caption and notes as comments."""
    align = "".join("p{0.25\\linewidth}" if c.prose else c.align[0] for c in table.columns)
    heads = [latex_text(f"{c.name} {c.unit}".strip()) for c in table.columns]
    lines = [f"% {' '.join(text.split())}" for text in (table.caption, *table.notes)]
    lines += [
        "% \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{{align}}}",
        "\\toprule",
        f"{' & '.join(heads)} \\\\",
    ]
    for group in table.groups:
        lines.append("\\midrule")
        if group.heading:
            heading = f"\\emph{{{latex_text(group.heading)}}}"
            lines.append(f"\\multicolumn{{{len(table.columns)}}}{{l}}{{{heading}}} \\\\")
        lines += [f"{' & '.join(map(_latex_entry, row))} \\\\" for row in group.rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _latex_entry(entry: Entry) -> str:
    escaped = latex_number if isinstance(entry.value, NUMERIC) else latex_text
    shown = escaped(entry.text)
    shown = f"\\texttt{{{shown}}}" if entry.code else shown
    shown = f"\\textbf{{{shown}}}" if entry.bold else shown
    shown += f"\\textsuperscript{{{latex_text(entry.mark)}}}" if entry.mark else ""
    # A cell that begins with a bracket would be read as the optional argument of the \\ before it.
    shown = "{}" + shown if shown.startswith(("[", "*")) else shown
    return f"{shown} {escaped(entry.aside)}" if entry.aside else shown


LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{
        "\\": "\\textbackslash{}",
        "~": "\\textasciitilde{}",
        "^": "\\textasciicircum{}",
        "<": "\\textless{}",
        ">": "\\textgreater{}",
    },
    **{"|": "\\textbar{}", '"': "''", "`": "\\textasciigrave{}"},
    **{
        "−": "$-$",
        "≈": "$\\approx$",
        "≤": "$\\leq$",
        "≥": "$\\geq$",
        "±": "$\\pm$",
        "×": "$\\times$",
        "∞": "$\\infty$",
        "Δ": "$\\Delta$",
    },
    **{
        "↓": "$\\downarrow$",
        "↑": "$\\uparrow$",
        "–": "--",
        "·": "$\\cdot$",
        "…": "\\dots{}",
        "†": "\\dag{}",
        "✓": "$\\surd$",
        "α": "$\\alpha$",
    },
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
    """Every number in full; bounds in columns of their own; the group first where rows are
    grouped.
    """
    bounded = [
        any(row[k].bounds for group in table.groups for row in group.rows)
        for k in range(len(table.columns))
    ]
    grouped = any(group.heading for group in table.groups)
    heads = [
        name
        for c, more in zip(table.columns, bounded, strict=True)
        for name in ((c.key, f"{c.key}_low", f"{c.key}_high") if more else (c.key,))
    ]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["group", *heads] if grouped else heads)
    for group in table.groups:
        for row in group.rows:
            values = [
                value
                for entry, more in zip(row, bounded, strict=True)
                for value in _csv_values(entry, more)
            ]
            writer.writerow([group.heading, *values] if grouped else values)
    return buffer.getvalue()


def _csv_values(entry: Entry, bounded: bool) -> Iterator[str]:
    yield _csv_value(entry.text if entry.value is None else entry.value)
    if bounded:
        yield from map(_csv_value, entry.bounds or ("", ""))


def _csv_value(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.10g}"
    return "" if value == "–" else str(inert(str(value)))
