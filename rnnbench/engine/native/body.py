"""The innermost lines of the emitted C++: one vector of lanes of one stage, and the pointers that
it reads and writes through.
"""

from rnnbench.equations.program import GIVEN, Argument, Program, Value

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
# names of values that would hide what the emitted lines use, or that C++ keeps for itself
TAKEN = """
    call work place rows row lane units units_all width groups first count step sums kept ring vec
    real load store fill where prefer filled added partial slopes slope_x slope_out arriving leaving
    vectors ringed LANES
    auto bool case catch char class const constexpr default delete do double enum explicit export
    extern float friend goto inline int long mutable namespace new operator private protected public
    register short signed sizeof static struct switch template this throw try typedef typename union
    unsigned using virtual void volatile and or not xor if else for while return break continue
"""
RESERVED = frozenset(TAKEN.split())


def sloped(program: Program) -> tuple[Value, ...]:
    """Values whose slope comes, at least in part, from a product or from a later stage, and lies in
    a buffer.
    """
    stage = program.stage
    later = {
        a
        for v in program.values
        if v.op != "pre"
        for a in v.inputs
        if a.op not in GIVEN and stage[a] < stage[v]
    }
    return tuple(
        v for v in program.values if v in later or (v in program.operands and v.op != "state")
    )


class Body:
    """The lines for one vector of lanes in one stage, and the pointers that they use."""

    def __init__(self, program: Program, stage: int, back: bool) -> None:
        self.program, self.stage, self.back = program, stage, back
        self.pointers: dict[str, str] = {}
        self.lines: list[str] = []
        self.known: dict[Value, str] = {}

    def pointer(self, name: str, where: str) -> str:
        self.pointers[name] = where
        return name

    def define(self, name: str, value: str) -> str:
        name = name if name not in RESERVED else f"{name}_"
        self.lines.append(f"const vec {name} = {value};")
        return name

    def store(self, pointer: str, value: str, partly: bool = False) -> None:
        self.lines.append(f"store({pointer} + lane, {value}{', units' if partly else ''});")

    def add(self, pointer: str, value: str) -> None:
        self.store(pointer, f"load({pointer} + lane) + ({value})")

    def value(self, v: Argument) -> str:
        """The name of a value; what it needs is read or computed first."""
        if not isinstance(v, Value):
            return f"fill({v!r})"
        if v not in self.known:
            self.known[v] = self.define(v.name, self._read(v) or self._computed(v))
        return self.known[v]

    def _read(self, v: Value) -> str | None:
        program, name = self.program, v.name
        if v.op == "state":
            return f"load({self.pointer(f'all_{name}', f'old_{v.index}(row)')} + lane, units)"
        if v.op in ("p", "b"):
            size = f"{len(program.plan.blocks[v.op])} * units_all"
            where = (
                f"call.{v.op} + place.replica * (call.apart ? call.apart : {size}) + "
                f"{v.index} * units_all"
            )
            return f"load({self.pointer(f'all_{name}', where)} + lane, units)"
        if self.back or program.stage[v] < self.stage:
            if v in program.results:
                index = program.results.index(v)
                return f"load({self.fresh(index)} + lane{', units' if index == 0 else ''})"
            if v in program.kept:
                return f"load({self.kept(v)} + lane)"
        if v.op == "pre":
            place, stage = program.pres[self.stage].index(v), len(program.pres[self.stage])
            summed = self.pointer(
                f"sum_{name}", f"sums + (row * {stage} + {place}) * count * LANES - first * LANES"
            )
            return f"load({summed} + lane)"
        return None

    def kept(self, v: Value) -> str:
        return self.pointer(f"kept_{v.name}", f"kept(row) + {self.program.kept.index(v)} * width")

    def fresh(self, index: int) -> str:
        return self.pointer(f"new_{self.program.plan.state[index]}", f"fresh_{index}(row)")

    def _computed(self, v: Value) -> str:
        args = [self.value(a) for a in v.args]
        if v.op in INFIX:
            return f" {INFIX[v.op]} ".join(args)
        return f"-{args[0]}" if v.op == "neg" else f"v_{v.op}({', '.join(args)})"

    def written(self, loop: str) -> list[str]:
        pointers = [f"real *const {name} = {where};" for name, where in self.pointers.items()]
        return [
            *pointers,
            f"{loop} {{",
            "  const long units = units_all - lane;",
            *(f"  {line}" for line in self.lines),
            "}",
        ]


def title(program: Program, s: int) -> str:
    """The comment above a stage: what it makes, after which products."""
    made = [
        v.name
        for v in program.values
        if program.stage[v] == s
        and (v in program.kept or v in program.results or v in program.buffered)
    ]
    products = [term for p in program.products if p.stage == s for term in p.written]
    return f"// stage {s + 1} of {len(program.pres)}: {', '.join(made)}" + (
        f", after {', '.join(products)}" if products else ""
    )
