"""The innermost lines of the emitted C++: one vector of lanes of one stage, and the pointers that
it reads and writes through.
"""

import math

from rnnbench.equations.operations import OPERATIONS, gradients
from rnnbench.equations.program import LEAVES, Argument, Value
from rnnbench.equations.stages import PRE, Stages

# names of values that would hide what the emitted lines use, or that C++ keeps for itself
TAKEN = """
    call work place rows row lane units units_all width groups first count step sums kept ring vec
    real load store fill where filled added partial slopes slope_x slope_out arriving leaving
    vectors ringed fixed replica slope_p slope_b LANES each INFINITY NAN
    auto bool case catch char class const constexpr default delete do double enum explicit export
    extern float friend goto inline int long mutable namespace new operator private protected public
    register short signed sizeof static struct switch template this throw try typedef typename union
    unsigned using virtual void volatile and or not xor if else for while return break continue
"""
RESERVED = frozenset(TAKEN.split())


def number(value: float) -> str:
    if math.isnan(value):
        return "fill(NAN)"
    if math.isinf(value):
        return f"fill({'-' if value < 0 else ''}INFINITY)"
    return f"fill({value!r})"


def sloped(program: Stages) -> tuple[Value, ...]:
    """Values whose slope comes, at least in part, from a product or from a later stage, and lies in
    a buffer.
    """
    stage, arrives = program.stage, Value("gradient")
    reached = {*program.results, *program.operands}
    later = set[Value]()
    for v in reversed(program.values):
        if v.op in OPERATIONS and v in reached and v not in program.fixed:
            for a, _ in gradients(v, arrives):
                reached.add(a)
                if a.op not in LEAVES and a not in program.fixed and stage[a] < stage[v]:
                    later.add(a)
    return tuple(
        v for v in program.values if v in later or (v in program.operands and v.op != "state")
    )


class Body:
    """The lines for one vector of lanes in one stage, and the pointers that they use.

    before: they come before all steps, and compute what is fixed; the others read it.
    """

    def __init__(self, program: Stages, stage: int, back: bool, before: bool = False) -> None:
        self.program, self.stage, self.back, self.before = program, stage, back, before
        self.pointers: dict[str, str] = {}
        self.lines: list[str] = []
        self.known: dict[Value, str] = {}
        self.defined: set[str] = set()

    def pointer(self, name: str, where: str) -> str:
        self.pointers[name] = where
        return name

    def define(self, name: str, value: str) -> str:
        while name in RESERVED or name in OPERATIONS or name in self.defined:
            name += "_"
        self.defined.add(name)
        self.lines.append(f"const vec {name} = {value};")
        return name

    def store(self, pointer: str, value: str, partly: bool = False) -> None:
        self.lines.append(f"store({pointer} + lane, {value}{', units' if partly else ''});")

    def add(self, pointer: str, value: str) -> None:
        self.store(pointer, f"load({pointer} + lane) + ({value})")

    def value(self, v: Argument) -> str:
        """The name of a value; what it needs is read or computed first."""
        if not isinstance(v, Value):
            return number(v)
        if v not in self.known:
            self.known[v] = self.define(self.program.names[v], self._read(v) or self._computed(v))
        return self.known[v]

    def _read(self, v: Value) -> str | None:
        program, name = self.program, self.program.names[v]
        if v.op == "state":
            return (
                f"load({self.pointer(f'all_{name}', f'old_{program.index(v)}(row)')} + lane, units)"
            )
        if v.op in ("p", "b"):
            size = f"{len(program.plan.blocks[v.op])} * units_all"
            where = (
                f"call.{v.op} + place.replica * (call.apart ? call.apart : {size}) + "
                f"{program.index(v)} * units_all"
            )
            return f"load({self.pointer(f'all_{name}', where)} + lane, units)"
        if v in program.fixed:
            if self.before:
                return None
            where = f"work.fixed + {program.read.index(v)} * width"
            return f"load({self.pointer(f'fixed_{name}', where)} + lane)"
        if self.back or program.stage[v] < self.stage:
            if v in program.results:
                index = program.results.index(v)
                return f"load({self.fresh(index)} + lane{', units' if index == 0 else ''})"
            if v in program.kept:
                return f"load({self.kept(v)} + lane)"
        if v.op == PRE:
            place, stage = program.pres[self.stage].index(v), len(program.pres[self.stage])
            summed = self.pointer(
                f"sum_{name}", f"sums + (row * {stage} + {place}) * count * LANES - first * LANES"
            )
            return f"load({summed} + lane)"
        return None

    def kept(self, v: Value) -> str:
        return self.pointer(
            f"kept_{self.program.names[v]}", f"kept(row) + {self.program.kept.index(v)} * width"
        )

    def fresh(self, index: int) -> str:
        return self.pointer(f"new_{self.program.plan.state[index]}", f"fresh_{index}(row)")

    def _computed(self, v: Value) -> str:
        return OPERATIONS[v.op].cpp.format(*map(self.value, v.args))

    def expression(self, v: Argument, gradient: Value, text: str) -> str:
        """A derivative, written in values of the step and in the `gradient`, which is `text`."""
        if not isinstance(v, Value):
            return number(v)
        if v is gradient:
            return text
        if v in self.program.stage:
            return self.value(v)
        args = (self.expression(a, gradient, text) for a in v.args)
        return f"({OPERATIONS[v.op].cpp.format(*args)})"

    def hand_on(self, v: Value, slope: str, found: dict[Value, list[str]]) -> None:
        """Add to the terms of slopes in `found` what v hands on to the values it is made of."""
        arrives = Value("gradient")
        for a, part in gradients(v, arrives):
            found.setdefault(a, []).append(self.expression(part, arrives, slope))

    def written(self, loop: str) -> list[str]:
        pointers = [f"real *const {name} = {where};" for name, where in self.pointers.items()]
        return [
            *pointers,
            f"{loop} {{",
            "  const long units = units_all - lane;",
            *(f"  {line}" for line in self.lines),
            "}",
        ]


def title(program: Stages, s: int) -> str:
    """The comment above a stage: what it makes, after which products."""
    made = [
        program.names[v]
        for v in program.values
        if program.stage[v] == s
        and (v in program.kept or v in program.results or v in program.buffered)
    ]
    products = [term for p in program.products if p.stage == s for term in program.written(p)]
    return f"// stage {s + 1} of {len(program.pres)}: {', '.join(made)}" + (
        f", after {', '.join(products)}" if products else ""
    )
