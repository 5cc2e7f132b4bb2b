"""Writes a program as C++: what happens between the products, forward and, by automatic
differentiation, backward; the rest is in .hpp.
"""

from pathlib import Path
from textwrap import dedent

from rnnbench.engine.native.body import Body, sloped, title
from rnnbench.equations.program import LEAVES, VECTORS, Value
from rnnbench.equations.stages import PRE, Stages

EVERY_UNIT = "for (long lane = 0; lane < units_all; lane++)"
ALIKE = {  # for all cells
    name: (Path(__file__).parent / f"{name}.hpp").read_text("utf-8")
    for name in ("kernel", "team", "work", "drive")
}


def source(program: Stages, real: str = "float") -> str:
    """The whole C++ file. real: float or double."""
    own = [*_constants(program), ALIKE["work"], *_own(program)]
    return "\n".join([f"#define REAL {real}", ALIKE["kernel"], ALIKE["team"], *own, ALIKE["drive"]])


def steps(program: Stages) -> str:
    """The part of the file that is this cell's own."""
    return "\n".join([*_constants(program), "", *_own(program), ""])


def _own(program: Stages) -> list[str]:
    parts = _before(program), _before_back(program), _forward(program), _backward(program)
    return [line for part in parts for line in (*part, "")][:-1]


def _constants(program: Stages) -> list[str]:
    plan, pres = program.plan, [len(row) for row in program.pres]
    function = plan.program.function
    numbers = {
        "STATES": len(plan.state),
        "GROUPS": len(plan.groups),
        "DIAGONALS": len(plan.blocks["p"]),
        "VECTORS": len(plan.blocks["p"]) + len(plan.blocks["b"]),
        "KEPT": len(program.kept)
        + len(plan.state)
        - 1,  # the last are the states but the first, which is the output
        "PRES": sum(pres),
        "RING": sum(pres) + len(program.operands),
        "BUFFERS": len(program.buffered),
        "SLOPES": len(sloped(program)),
        "SUMS": sum(len(plan.blocks[family]) for family in VECTORS) + len(program.read),
    }
    rows = []
    for p in program.products:
        operand = "INPUT" if p.operand.op == "x" else program.operands.index(p.operand)
        fields = (p.group, p.count, operand, p.first, len(p.columns), pres[p.stage])
        rows.append(
            f"  {{{', '.join(map(str, fields))}, {{{', '.join(map(str, p.columns))}}}}},  // "
            f"{', '.join(program.written(p))}"
        )
    return [
        f"// {function.__name__}: emitted from the equations in "
        f"{Path(function.__code__.co_filename).name}",
        f"enum : int {{ {', '.join(f'{name} = {number}' for name, number in numbers.items())} }};",
        f"static const long WIDEST = "
        f"std::max({{{', '.join(f'{n} * span({n}, 1)' for n in sorted({1, *pres}))}}});",
        "static const int INPUT = -1;  // as an operand",
        "struct Product { int group, blocks, operand, first, count, pres, columns[PRES + 1]; };",
        "static const std::vector<Product> products = {  // weights, their blocks, operand, "
        "pre-activations from and how many, of the stage, columns",
        *rows,
        "};",
    ]


def _filled(text: str, **parts: list[str]) -> list[str]:
    """The text with the lines of each part, indented, in place of the part's name."""
    lines = []
    for line in dedent(text).strip("\n").split("\n"):
        margin = line[: len(line) - len(line.lstrip())]
        lines += [margin + inner for inner in parts.get(line.strip(), [line.strip()])]
    return lines


def _before(program: Stages) -> list[str]:
    """What depends on the parameters alone, for all steps and rows of a replica."""
    body = Body(program, 0, back=False, before=True)
    for k, v in enumerate(program.read):
        body.store(f"fixed + {k} * width", body.value(v))
    text = """
        // ---- before all steps: what depends on parameters alone ----
        namespace exact {
        static void fixed_values(const Call &call, const Place &place, real *fixed) {
          const long units_all = call.units, width = call.width();
          BODY
        }
        }"""
    begin = f"memset(fixed, 0, {len(program.read)} * width * sizeof(real));"
    lines = [begin, *body.written(EVERY_UNIT)] if program.read else []
    return _filled(text, BODY=lines)


def _before_back(program: Stages) -> list[str]:
    """The slopes of these values, summed over steps and rows, handed on to the parameters."""
    body = Body(program, 0, back=True, before=True)
    found = {v: [f"load(fixed + {k} * width + lane)"] for k, v in enumerate(program.read)}
    for v in reversed(program.fixed):
        if terms := found.pop(v, []):  # a comparison has none
            slope = body.define(f"d_{program.names[v]}", " + ".join(terms))
            body.hand_on(v, slope, found)
    for v, terms in found.items():
        to = f"slope_{v.op} + {program.index(v)} * units_all + lane"
        body.lines.append(f"store({to}, load({to}, units) + {' + '.join(terms)}, units);")
    text = """
        // ---- after all steps: the slopes of that, added to those of the parameters ----
        namespace exact {
        static void fixed_slopes(
            const Call &call, const Place &place, const real *fixed, real *slope_p, real *slope_b) {
          const long units_all = call.units, width = call.width();
          BODY
        }
        }"""
    return _filled(text, BODY=body.written(EVERY_UNIT) if program.read else [])


def _places(program: Stages) -> list[str]:
    states = [
        f"const Rows old_{s} = place.old({s}, step), fresh_{s} = place.fresh({s}, step);"
        for s in range(len(program.plan.state))
    ]
    return [*states, "const Rows kept = place.kept(step);"]


def _forward(program: Stages) -> list[str]:
    buffers = [
        f"const Rows buffer_{k} = {{work.buffers + {k} * rows * width, width}};"
        for k in range(len(program.buffered))
    ]
    text = f"""
        // ---- forward: rows of one replica through all of time ----
        static void forward_rows(const Call &call, const Work &work, const Place &place,
                                 long rows) {{
          const long units_all = call.units, width = call.width(), groups = width / LANES;
          BUFFERS
          for (long step = 0, later = 0; step < call.steps; step++, later++) {{
            if (work.ahead && step % work.ahead == 0) {{
              later = 0;
              AHEAD
            }}
            PLACES
            STAGES
          }}
          for (int s = 0; s < {len(program.plan.state)}; s++) {{
            const auto last = place.of(call.last[s]), fresh = place.fresh(s, call.steps - 1);
            for (long row = 0; row < rows; row++)
              memcpy(last(row), fresh(row), units_all * sizeof(real));
          }}
        }}"""
    stages = [line for s in range(len(program.pres)) for line in _forward_stage(program, s)]
    ahead = [line for s in range(len(program.pres)) for line in _ahead(program, s)]
    return _filled(text, BUFFERS=buffers, AHEAD=ahead, PLACES=_places(program), STAGES=stages)


def _forward_stage(program: Stages, s: int) -> list[str]:
    body = Body(program, s, back=False)
    for v in program.values:
        if program.stage[v] == s and v in program.buffered:
            body.store(
                body.pointer(
                    f"whole_{program.names[v]}", f"buffer_{program.buffered.index(v)}(row)"
                ),
                body.value(v),
            )
        if program.stage[v] == s and v in program.kept:
            body.store(body.kept(v), body.value(v))
        for index in range(len(program.results)):
            if program.stage[v] == s and program.results[index] is v:
                body.store(body.fresh(index), body.value(v), partly=index == 0)
    inputs, others = _multiplied(program, s, "rows")
    if inputs:
        inputs = ["if (!work.ahead) {", *(f"  {line}" for line in inputs), "}"]
    text = f"""
        {title(program, s)}
        {_every_group(program, s, "later")}
          INPUTS
          PRODUCTS
          for (long row = 0; row < rows; row++) {{
            BODY
          }}
        }}"""
    lanes = "for (long lane = first * LANES; lane < (first + count) * LANES; lane += LANES)"
    return _filled(text, INPUTS=inputs, PRODUCTS=others, BODY=body.written(lanes))


def _ahead(program: Stages, s: int) -> list[str]:
    """The input products of a stage, for several steps at once."""
    inputs, _ = _multiplied(program, s, "std::min(work.ahead, call.steps - step) * rows")
    text = f"""
        {_every_group(program, s, "0")}
          INPUTS
        }}"""
    return _filled(text, INPUTS=inputs) if inputs else []


def _every_group(program: Stages, s: int, later: str) -> str:
    """The head of a loop over groups of lanes. later: the step, counted from the first of those
    whose sums are in memory.
    """
    pres, before = len(program.pres[s]), sum(map(len, program.pres[:s]))
    return f"""const long wide_{s} = span({pres}, work.rows);
        for (long first = 0; first < groups; first += wide_{s}) {{
          const long count = std::min(wide_{s}, groups - first);
          real *const sums = sums_at(work, {before}, {pres}, first, count, {later});"""


def _multiplied(program: Stages, s: int, rows: str) -> tuple[list[str], list[str]]:
    """The products of a stage, of the inputs and the others, added up in `sums`: the first sets
    what it reaches, if no other reaches in part the same.
    """
    pres, before = len(program.pres[s]), sum(map(len, program.pres[:s]))
    mine = [
        (k, p, set(range(p.first, p.first + len(p.columns))))
        for k, p in enumerate(program.products)
        if p.stage == s
    ]
    covered, partly = set[int](), False
    inputs, others = list[str](), list[str]()
    for k, p, reached in sorted(mine, key=lambda product: product[1].operand.op != "x"):
        partly |= bool(reached & covered) and not reached <= covered
        if p.operand.op == "x":
            lines, call, operand = inputs, "multiply_inputs", "place, step"
        elif p.operand.op == "state":
            lines, call, operand = others, "multiply", f"old_{program.index(p.operand)}"
        elif p.operand in program.results:
            lines, call = others, "multiply"
            operand = f"fresh_{program.results.index(p.operand)}"
        else:
            lines, call = others, "multiply"
            operand = f"buffer_{program.buffered.index(p.operand)}"
        lines.append(
            f"{call}(call, work, {k}, {operand}, {rows}, first, count, {before}, {pres}, sums, "
            f"{'true' if reached <= covered else 'false'});"
        )
        covered |= reached
    if partly:
        inputs = [line.replace(", false)", ", true)") for line in inputs]
        others = [line.replace(", false)", ", true)") for line in others]
        inputs.insert(0, f"memset(sums, 0, {rows} * {pres} * count * LANES * sizeof(real));")
    return inputs, others


def _backward(program: Stages) -> list[str]:
    states, written = len(program.plan.state), set[str]()
    stages = [
        line
        for s in reversed(range(len(program.pres)))
        for line in _backward_stage(program, s, written)
    ]
    untouched = [
        f"memset(leaving[{s}], 0, rows * width * sizeof(real));"
        for s in range(states)
        if f"leaving[{s}]" not in written
    ]
    add = (
        "for (long i = first_chunk; i < last_chunk; i++) "
        "add_vectors(call, vectors_of(i), partial_of(i));"
    )
    vectors = [add] if any(v.op in ("p", "b") for v in program.values) else []
    text = """
        // ---- backward: the same rows, from the last step to the first ----
        static void backward_rows(const Call &call, const Work &work, const Place &place,
                                  long first_chunk, long last_chunk) {
          const long units_all = call.units, width = call.width();
          const long rows = call.chunk(last_chunk) - place.first;
          // slopes of the new states, of the old ones, of values between
          real *arriving[STATES], *leaving[STATES], *slopes[SLOPES + 1];
          for (int s = 0; s < STATES; s++) {
            arriving[s] = work.slopes + 2 * s * rows * width;
            leaving[s] = arriving[s] + rows * width;
            place.read(call.slope_last[s], arriving[s], rows);
          }
          for (int v = 0; v < SLOPES; v++)
            slopes[v] = work.slopes + (2 * STATES + v) * rows * width;
          auto vectors_of = [&](long i) { return work.vectors + (i - first_chunk) * SUMS * width; };
          auto partial_of = [&](long i) {
            return call.partial + (place.replica * call.chunk_count() + i) * partial_size(call);
          };
          for (long i = first_chunk; i < last_chunk; i++)
            begin_vectors(call, vectors_of(i), partial_of(i));
          long filled = 0;
          bool added = false;
          for (long step = call.steps - 1; step >= 0; step--) {
            real *const ring = work.ring + (work.deep - 1 - filled) * rows * RING * width;
            PLACES
            STAGES
            UNTOUCHED
            VECTORS
            for (int s = 0; s < STATES; s++) std::swap(arriving[s], leaving[s]);
            if (++filled < work.deep && step) continue;
            slopes_of_inputs(call, work, place, step, ring, rows, filled);
            for (long i = first_chunk; i < last_chunk; i++) {
              const long start = call.chunk(i) - place.first, end = call.chunk(i + 1) - place.first;
              gather_products(call, work, place, step, ring, partial_of(i), start, end - start,
                              rows, filled, added);
            }
            filled = 0, added = true;
          }
          for (int s = 0; s < STATES; s++)
            if (call.slope_start[s]) place.write(call.slope_start[s], arriving[s], rows);
        }"""
    places = [*_places(program), "const Rows slope_out = place.slope_out(step);"]
    return _filled(text, PLACES=places, STAGES=stages, UNTOUCHED=untouched, VECTORS=vectors)


def _summed(program: Stages, v: Value) -> int:
    """The place of a value among those whose slopes are summed over steps and rows: p, b, and what
    is fixed.
    """
    diagonals, biases = (len(program.plan.blocks[family]) for family in VECTORS)
    if v in program.read:
        return diagonals + biases + program.read.index(v)
    return program.index(v) + (diagonals if v.op == "b" else 0)


def _backward_stage(program: Stages, s: int, written: set[str]) -> list[str]:
    """written: what this step has begun to sum up; what comes first sets it, what comes
    later adds.
    """
    with_slope = sloped(program)
    body = Body(program, s, back=True)
    pres = [p for row in program.pres for p in row]
    found: dict[Value, list[str]] = {}  # value → the terms of its slope

    def ring(place: int) -> str:
        return body.pointer("ringed", "ring + row * RING * width") + f" + {place} * width"

    def arriving(v: Value) -> list[str]:
        """Terms of a slope that other stages, other steps and the outputs have left in memory."""
        terms = []
        if v in with_slope:
            slopes = f"slopes[{with_slope.index(v)}] + row * width"
            terms.append(f"load({body.pointer(f'slope_{program.names[v]}', slopes)} + lane)")
        for index, state in enumerate(program.plan.state):
            if program.results[index] is v:
                terms.append(
                    f"load({body.pointer(f'later_{state}', f'arriving[{index}] + row * width')} + "
                    f"lane)"
                )
                if index == 0:
                    terms.append(
                        f"(call.slope_out ? load({body.pointer('slope_output', 'slope_out(row)')} "
                        f"+ lane, units) : vec{{}})"
                    )
        return terms

    def leave(name: str, where: str, key: str, value: str) -> None:
        (body.add if key in written else body.store)(body.pointer(name, where), value)
        written.add(key)

    if s == len(program.pres) - 1:
        for k, v in enumerate(program.operands):
            body.store(ring(len(pres) + k), body.value(v))
    for v in reversed(program.values):
        if program.stage[v] != s or v.op in LEAVES or v in program.fixed:
            continue
        terms = found.pop(v, []) + arriving(v)
        if not terms:  # a comparison, or what only comparisons read
            continue
        slope = body.define(f"d_{program.names[v]}", " + ".join(terms))
        if v.op == PRE:
            body.store(ring(pres.index(v)), slope)
            continue
        body.hand_on(v, slope, found)
    for v in program.values if s == 0 else ():
        if v.op in LEAVES and (terms := arriving(v)):
            found.setdefault(v, []).extend(terms)
    for v, terms in found.items():
        total = " + ".join(terms)
        if v.op == "state":
            leave(
                f"earlier_{v.block}",
                f"leaving[{program.index(v)}] + row * width",
                f"leaving[{program.index(v)}]",
                total,
            )
        elif v.op in LEAVES or v in program.fixed:
            index = _summed(program, v)
            body.add(body.pointer(f"slope_{program.names[v]}", f"vectors + {index} * width"), total)
        else:
            leave(
                f"slope_{program.names[v]}",
                f"slopes[{with_slope.index(v)}] + row * width",
                f"slopes[{with_slope.index(v)}]",
                total,
            )
    lines = []
    for k, p in enumerate(program.products):
        if p.stage == s and p.operand.op != "x":
            to = (
                f"leaving[{program.index(p.operand)}]"
                if p.operand.op == "state"
                else f"slopes[{with_slope.index(p.operand)}]"
            )
            lines.append(
                f"multiply_back(call, work, {k}, ring, rows, {to}, "
                f"{'true' if to in written else 'false'});"
            )
            written.add(to)
    text = f"""
        {title(program, s)}: slopes
        for (long i = first_chunk; i < last_chunk; i++) {{
          real *const vectors = vectors_of(i);
          const long start = call.chunk(i) - place.first, end = call.chunk(i + 1) - place.first;
          for (long row = start; row < end; row++) {{
            BODY
          }}
        }}
        PRODUCTS"""
    return _filled(
        text, BODY=body.written("for (long lane = 0; lane < width; lane += LANES)"), PRODUCTS=lines
    )
