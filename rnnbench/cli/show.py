"""What `rnnbench list` and `rnnbench show` print: cells and tasks in a table, one cell with all
that is known of it.

Everything is read from the configurations, the docstrings and the traced equations; no cell is
known by name.
"""

import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from rnnbench.catalogue import About, about, choices, read, remark, resolve, step
from rnnbench.draw import Draw
from rnnbench.engine.layer import Layer, Place
from rnnbench.engine.native import source
from rnnbench.equations.notation import STYLES, difference, restated
from rnnbench.equations.plan import Plan, plan
from rnnbench.equations.shapes import UNITS, size, written
from rnnbench.equations.text import LEGEND, latex, term
from rnnbench.equations.trace import trace
from rnnbench.errors import UserError
from rnnbench.evidence.verify import Check
from rnnbench.layers import layer_of
from rnnbench.report.sources import family
from rnnbench.runs.made import add_file
from rnnbench.settings import Cell, typed

OWN = "Your own"


def cell_rows(inputs: int, hidden: int, horizon: int | None = 100) -> list[dict[str, Any]]:
    """Every cell of `configs/cell`, by family: its name, what it is, its paper, its size with
    `inputs` inputs and `hidden` units (None where it needs a horizon and there is none); layers of
    other kinds come last, then the place for a cell of the user's own.

    horizon: the longest lag that matters in the task, from which a layer may take its size.
    """
    rows: list[dict[str, Any]] = []
    for name in choices("cell"):
        values = read("cell", name)
        if "step" not in values:
            rows.append({"family": OWN, "cell": name, "summary": "Your own, from a file"})
            continue
        cell = typed(Cell, values | {"name": name}, f"cell={name}")
        said = about_cell(cell, resolve(cell.step, "cell.step").__doc__)
        row = {"family": family(cell.step).partition(", ")[0], "cell": name}
        row |= {"summary": _short(said.summary), "paper": paper(said.source)}
        try:
            size = placed(cell, horizon).count(inputs, hidden)
        except UserError:
            size = None
        rows.append(row | {"parameters": size})
    return sorted(rows, key=_rank)


def _rank(row: Mapping[str, Any]) -> tuple[int, str]:
    """Where a family stands in the list: equations, other layers, the user's own."""
    home = (step(row["cell"]) or "rnnbench.own").split(".")[1]
    return ("cells", "layers", "own").index(home), row["family"]


def placed(cell: Cell, horizon: int | None) -> Layer:
    """The layer of a network of one, for real-valued inputs."""
    return layer_of(cell).at(Place(0, 1, horizon, symbols=False, stops=(0,)))


def list_cells(rows: Iterable[Mapping[str, Any]], inputs: int, hidden: int) -> Table:
    """The same as a table."""
    table = _table("cell", "what it is", "paper")
    table.add_column(f"d={inputs}, n={hidden}", justify="right", no_wrap=True)
    for heading, members in groupby(rows, key=lambda row: row["family"]):
        table.add_section()
        table.add_row("", Text(heading, "bold"), "", "")
        for row in members:
            size = row.get("parameters", "")
            shown = "–" if size is None else f"{size:,}" if size else ""
            table.add_row(row["cell"], row["summary"], row.get("paper", ""), shown)
    return table


def task_rows() -> list[dict[str, Any]]:
    """Every task of `configs/task`: its name, what it is, what is measured, the memoryless
    baseline, the data it needs; of the place for one's own the name and what it is.
    """
    rows: list[dict[str, Any]] = []
    for name in choices("task"):
        values = read("task", name)
        if "type" not in values:
            rows.append({"task": name, "summary": "Your own, from a file"})
            continue
        kind = resolve(values.pop("type"), f"task={name}")
        task = typed(
            kind, {key: value for key, value in values.items() if key != "name"}, f"task={name}"
        ).bound(_refuse)
        row: dict[str, Any] = {"task": name, "summary": _short(about(kind.__doc__).summary)}
        try:
            row["baseline"] = task.baseline[task.metric]
        except (_Wanted, UserError):
            row["baseline"] = None
        try:
            task.batch(Draw(0), 0, 1)
            row["data"] = None
        except _Wanted as wanted:
            row["data"] = str(wanted).split("/")[0]
        except UserError:
            row["data"] = "a file of yours"
        try:
            row |= {"metric": task.metric, "goal": task.goal}
        except UserError:  # what is measured depends on the data
            row |= {"metric": "accuracy or mse", "goal": None}
        rows.append(row)
    return rows


def list_tasks(rows: Iterable[Mapping[str, Any]]) -> Table:
    """The same as a table."""
    arrows = {"min": "↓", "max": "↑"}
    table = _table("task", "what it is", "metric")
    table.add_column("baseline", justify="right", no_wrap=True)
    table.add_column("data")
    for row in rows:
        if "metric" not in row:
            table.add_row(row["task"], row["summary"], "", "", "")
            continue
        goal = arrows.get(row["goal"])
        measured = f"{row['metric']} {goal}" if goal else "accuracy ↑, mse ↓"
        baseline = "–" if row["baseline"] is None else f"{row['baseline']:.4g}"
        table.add_row(row["task"], row["summary"], measured, baseline, row["data"] or "–")
    return table


def facts_of(
    cell: Cell,
    inputs: int,
    hidden: int,
    horizon: int | None,
    checks: Iterable[Check],
    notation: str,
) -> dict[str, Any]:
    """All that is known of one cell, for programs."""
    planned = _planned(cell, horizon)
    said = about_cell(cell, planned.program.function.__doc__)
    return {
        "cell": cell.name,
        "summary": said.summary,
        "equations": restated(planned.program, notation).splitlines(),
        "letters": _legend(cell, planned, notation),
        "latex": latex(planned.program),
        "states": list(planned.state),
        "shapes": _shapes(planned),
        "blocks": {family: list(names) for family, names in planned.blocks.items()},
        "constants": dict(cell.constants),
        "init": cell.init,
        "forget": cell.forget,
        "forget_bias": cell.forget_bias,
        "inputs": inputs,
        "hidden": hidden,
        "parameters": planned.count(inputs, hidden),
        "flops": planned.flops(inputs, hidden),
        "reading": said.reading,
        "source": said.source,
        "checks": [vars(check) for check in checks],
    }


def show_cell(
    cell: Cell,
    inputs: int,
    hidden: int,
    horizon: int | None = None,
    checks: Iterable[Check] = (),
    notation: str = "paper",
) -> RenderableType:
    """All that is known of one cell, for a rich console. horizon: of the task, in steps. checks:
    what `verify` found. notation: of the equations, `STYLES`.
    """
    planned = _planned(cell, horizon)
    said = about_cell(cell, planned.program.function.__doc__)
    facts = {
        "forget gate": " ".join(gates(cell)),
        "constants": ", ".join(f"{key} = {value:g}" for key, value in cell.constants.items()),
        "start": _start(cell),
        "parameters": f"{planned.formula} = {planned.count(inputs, hidden):,} with d = {inputs} "
        f"inputs and n = {hidden} units",
        "FLOPs a step": f"{planned.flops_formula} = {planned.flops(inputs, hidden):,} forward, for "
        "one sequence; a multiply-add counts 2, an elementwise operation or function 1",
        "carried": _carried(planned, hidden),
        "shapes": "; ".join(f"{name}: {shape}" for name, shape in _shapes(planned).items()),
        "blocks": "; ".join(
            f"{family}:{_GLUE}{_GLUE.join(names)}"
            for family, names in planned.blocks.items()
            if names
        ),
        "each step": _products(planned),
        "reading": said.reading,
        "source": said.source,
        "checked": "\n".join(
            f"{_MARK[check.passed]} {check.name}: {check.detail}" for check in checks
        ),
    }
    equations = restated(planned.program, notation).splitlines()
    return _page(cell.name, said.summary, equations, _legend(cell, planned, notation), facts)


def _planned(cell: Cell, horizon: int | None) -> Plan:
    made = plan(resolve(cell.step, "cell.step"), cell.constants)
    return made if horizon is None else made.at(horizon)


def _carried(planned: Plan, hidden: int) -> str:
    """What goes from one step to the next."""
    shapes = dict(planned.program.carried)
    formula = planned.formula_of(shapes.values())
    number = "" if "steps" in formula else f" = {sum(size(s, hidden) for s in shapes.values()):,}"
    return f"{formula}{number} numbers a sequence from step to step ({', '.join(shapes)})"


def _shapes(planned: Plan) -> dict[str, str]:
    """States and blocks that are not one number a unit, and starts that are not 0."""
    program = planned.program
    states = dict(zip(program.state, program.state_shapes, strict=True))
    blocks = {f"{f}.{n}": planned.shape(f, n) for f in "WRpb" for n in planned.blocks[f]}
    found = {n: written(s) for n, s in {**states, **blocks}.items() if s != UNITS}
    for name, start in program.starts.items():
        begins = f"starts at {start:g}" if isinstance(start, float) else f"start: {start}"
        found[name] = f"{found.get(name, 'n')}, {begins}"
    return found


def layer_facts(cell: Cell, inputs: int, hidden: int, horizon: int | None) -> dict[str, Any]:
    """All that is known of a layer that is no cell, for programs."""
    layer = placed(cell, horizon)
    said = about_cell(cell, type(layer).__doc__)
    return {
        "cell": cell.name,
        "summary": said.summary,
        "definition": list(layer.definition),
        "states": list(layer.names),
        "shapes": {name: list(shape) for name, shape in layer.shapes(inputs, hidden).items()},
        "constants": dict(cell.constants),
        "options": dict(cell.options),
        "told": layer.told,
        "multiple": layer.multiple,
        "horizon": horizon,
        "inputs": inputs,
        "hidden": hidden,
        "parameters": layer.count(inputs, hidden),
        "flops": layer.flops(inputs, hidden),
        "carried": layer.carried(inputs, hidden, horizon or 1),
        "reading": said.reading,
        "source": said.source,
    }


def show_layer(cell: Cell, inputs: int, hidden: int, horizon: int | None) -> RenderableType:
    """The same for a rich console: what it computes, in formulas and counts."""
    known = layer_facts(cell, inputs, hidden, horizon)
    numbers = {key: f"{value:g}" for key, value in known["constants"].items()}
    chosen = {**numbers, **known["options"]}
    facts = {
        "settings": ", ".join(f"{key} = {value}" for key, value in chosen.items()),
        "here": f"{known['told']} (horizon of the task: {horizon})" if known["told"] else "",
        "parameters": f"{known['parameters']:,} with d = {inputs} inputs and n = {hidden} units, "
        "one layer",
        "FLOPs a step": f"{known['flops']:,} forward, for one sequence; a multiply-add counts 2",
        "carried": f"{known['carried']:,} numbers a sequence from step to step"
        + (f", {horizon} steps in" if horizon else ""),
        "tensors": ", ".join(
            f"{name} {'×'.join(map(str, shape))}" for name, shape in known["shapes"].items()
        ),
        "units": f"a multiple of {known['multiple']}" if known["multiple"] > 1 else "",
        "state": ", ".join(known["states"])
        or "none: where a text goes on, the window before is read again",
        "reading": known["reading"],
        "source": known["source"],
    }
    return _page(cell.name, known["summary"], known["definition"], "", facts)


def _page(
    name: str, summary: str, formulas: Iterable[str], legend: str, facts: Mapping[str, str]
) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for key, value in facts.items():
        if value:
            grid.add_row(key, Text(value))
    title = Text.assemble((name, "bold"), "  ", summary)
    below: list[RenderableType] = [Text(legend, "dim"), ""] if legend else []
    return Group(title, "", _Equations(formulas), "", *below, grid)


def _legend(cell: Cell, planned: Plan, notation: str) -> str:
    """What the letters mean; of other notations also how far they are from what is computed."""
    if notation == "paper":
        return LEGEND if planned.program.plain else f"{LEGEND}; but for the shapes below"
    far = difference(planned.program, notation, cell.constants)
    if far > 1e-12:
        raise AssertionError(f"{cell.name} in the notation {notation} differs by {far}")
    return (
        f"{STYLES[notation].legend}. Checked at random weights: the new states are those of the "
        f"cell (largest difference {far:.0e})"
    )


def draw_cell(cell: Cell, path: str) -> Path:
    """Draw the cell into an SVG file. UserError for another ending, or without igraph."""
    from rnnbench.charts.cell import diagram

    place = Path(path).expanduser()
    if place.suffix != ".svg":
        raise UserError(f"--diagram must end with .svg, got '{path}'")
    found = resolve(cell.step, "cell.step")
    if isinstance(found, type):
        raise UserError(f"{cell.name} is a layer, not equations of one step: nothing to draw")
    program = trace(found, cell.constants)
    return add_file(place, diagram(program, cell.name))


def show_source(cell: Cell) -> str:
    """The C++ that the native engine compiles for the cell."""
    return source(plan(resolve(cell.step, "cell.step"), cell.constants))


def show_latex(cell: Cell) -> str:
    """The equations alone, ready to paste; for print, since a rich console would cut long lines."""
    return latex(trace(resolve(cell.step, "cell.step"), cell.constants))


def gates(cell: Cell) -> list[str]:
    """How `forget_bias` and chrono initialisation act on this cell, a sentence each."""
    keeper = cell.forget_gate
    if keeper is None:
        return [
            "None whose bias could keep the memory: cell.forget_bias and init=chrono do not apply."
        ]
    sign, name = ("−" if keeper.sign < 0 else ""), keeper.bias
    keeps = (
        f"b_{name} {'lowered' if sign else 'raised'} keeps the memory: cell.forget_bias=1 "
        f"starts it at {sign or '+'}1."
    )
    chrono = f"init=chrono draws it from {sign}log U(1, T_max − 1)" + (
        f", b_{cell.write} = −b_{name}." if cell.write else "."
    )
    here = [f"Here forget_bias is {cell.forget_bias:g}."] if cell.forget_bias is not None else []
    return [keeps, chrono, *here]


def paper(source: str) -> str:
    """The first source, short: 'Greff, Srivastava & Koutník (2017), LSTM: …' → 'Greff et
    al. 2017'.
    """
    found = re.match(r"(.+?) \((\d{4})\)", source)
    if not found:
        return source.split(";")[0].rstrip(".")
    authors = re.split(r", | & ", found[1].removesuffix(" et al."))
    several = len(authors) > 2 or found[1].endswith(" et al.")
    return f"{f'{authors[0]} et al.' if several else ' & '.join(authors)} {found[2]}"


_GLUE = "\u00a0"  # a space at which no line is broken
_MARK = {True: "✓", False: "✗", None: "–"}


class _Wanted(Exception):
    """A task asked for this data file."""


def _refuse(name: str) -> Path:
    raise _Wanted(name)


@dataclass(frozen=True)
class _Equations:
    """Equations that are never cut: where they are too wide they go on in the next line."""

    lines: Iterable[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.lines:
            yield from (
                Text("  " + part, no_wrap=True, overflow="ignore")
                for part in folded(line, options.max_width - 2)
            )


def folded(equation: str, width: int) -> list[str]:
    """An equation in lines of at most `width`, broken before + and − only."""
    glued = re.sub(r" (?![+−] )", _GLUE, equation)
    hanging = " " * (equation.find("=") + 2)
    lines = textwrap.wrap(
        glued,
        max(width, 20),
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_GLUE, " ") for line in lines]


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column == columns[0], overflow="fold")
    return table


def about_cell(cell: Cell, docstring: str | None) -> About:
    """The docstring; where a configuration with a source of its own starts the equations otherwise,
    that goes first.
    """
    said, own = about(docstring), remark("cell", cell.name)
    if own is None or not own.source:
        return said
    source = own.source.rstrip(".")
    return About(
        own.summary,
        said.source if said.source.startswith(source) else f"{source}; {said.source}",
        said.reading,
    )


def _short(summary: str) -> str:
    return re.split(r"[:.;] ", summary)[0].rstrip(".")


def _start(cell: Cell) -> str:
    rules = ", ".join(f"{family} {rule}" for family, rule in cell.paper.items())
    return f"init={cell.init}" + (f"; init=paper is {rules}" if rules else "")


def _products(planned: Plan) -> str:
    """The recurrent products of a step: those that share an operand are one."""
    written = [
        f"{', '.join(f'R_{n}' for n in names)} on {term(planned.program, operand)}"
        for operand, names in planned.groups
    ]
    return f"{len(written) or 'no'} recurrent product{'s' if len(written) != 1 else ''}" + (
        f": {'; '.join(written)}" if written else ""
    )
