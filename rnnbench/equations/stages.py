"""From a plan to a straight line for one pass over memory: stages, pre-activations, what is kept
for the backward pass, and the derivatives.

A pre-activation is the sum of an input product and of all recurrent products that are added to it.
A stage ends where a product needs a whole vector that the step itself computes. Knows no cell by
name, and nothing of the language that is printed from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from rnnbench.equations.operations import OPERATIONS, gradients
from rnnbench.equations.plan import Plan
from rnnbench.equations.program import LEAVES, MATRICES, VECTORS, Argument, Value, ordered

PRE = "pre"  # the operation of a pre-activation: args are the operands of its products


@dataclass(frozen=True)
class Product:
    """An operand times blocks of W or R, added to consecutive pre-activations.

    group: of the weights; W comes after all R. columns: places of the blocks among the `count` of
        the group.
    """

    stage: int
    operand: Value
    group: int
    count: int
    first: int
    columns: tuple[int, ...]
    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Stages:
    """values: in the order of computation. names: of each, all different.

    blocks: pre-activation → what multiplies each of its operands, such as ("R", "z").
    pres: pre-activations by stage. kept: what the backward pass reads, beside all states.
    fixed: what depends on vectors of parameters alone, the same in every step and row.
    """

    plan: Plan
    values: tuple[Value, ...]
    names: dict[Value, str]
    blocks: dict[Value, tuple[tuple[str, str], ...]]
    results: tuple[Value, ...]
    stage: dict[Value, int]
    pres: tuple[tuple[Value, ...], ...]
    products: tuple[Product, ...]
    kept: tuple[Value, ...]
    fixed: tuple[Value, ...]

    @cached_property
    def read(self) -> tuple[Value, ...]:
        """What is fixed and read by what is not."""
        readers = [v for v in self.values if v not in self.fixed]
        return tuple(dict.fromkeys(a for v in readers for a in v.inputs if a in self.fixed))

    @property
    def operands(self) -> tuple[Value, ...]:
        """What is multiplied, beside the inputs."""
        return tuple(dict.fromkeys(p.operand for p in self.products if p.operand.op != "x"))

    @property
    def buffered(self) -> tuple[Value, ...]:
        """Operands that the step computes and that are no new state: they lie in a buffer of one
        step.
        """
        return tuple(v for v in self.operands if v.op != "state" and v not in self.results)

    def index(self, leaf: Value) -> int:
        """The place of a state among the states, of a vector among those of its family."""
        names = self.plan.state if leaf.op == "state" else self.plan.blocks[leaf.op]
        return names.index(leaf.block)

    def written(self, product: Product) -> list[str]:
        operand = self.names[product.operand]
        return [f"{block} @ {operand}" for block in product.blocks]


def staged(plan: Plan) -> Stages:
    lowered = _Lowered(plan)
    results = tuple(lowered.value(v) for v in plan.program.results)
    values = ordered(results)
    stage = _stages(values, results)
    stages = range(max(stage.values()) + 1)

    def neighbours(pre: Value) -> tuple[bool, bool, int]:
        """Sorted by this, those that share an operand are neighbours, as far as that goes."""
        return not _of_inputs(pre), all(a.op != "x" for a in pre.inputs), len(pre.inputs)

    pres = tuple(
        tuple(sorted((v for v in values if v.op == PRE and stage[v] == s), key=neighbours))
        for s in stages
    )
    products = tuple(
        p
        for s, row in enumerate(pres)
        for p in _products(plan, lowered.blocks, s, row, sum(map(len, pres[:s])))
    )
    fixed = _fixed(values, results)
    kept = _kept([v for v in values if v not in fixed], results, stage, fixed)
    names, blocks = lowered.names, lowered.blocks
    return Stages(plan, values, names, blocks, results, stage, pres, products, kept, fixed)


@dataclass
class _Lowered:
    """The program's values with sums taken apart, so that what meets in a sum meets in one
    accumulator, and with equal terms computed once.
    """

    plan: Plan
    names: dict[Value, str] = field(default_factory=dict)
    blocks: dict[Value, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._made: dict[Value, Value] = {}
        self._alike: dict[tuple[str, tuple[Argument, ...]], Value] = {}
        self._users = self.plan.program.users()

    def value(self, source: Value) -> Value:
        if source not in self._made:
            self._made[source] = self._lower(source)
        return self._made[source]

    def _lower(self, source: Value) -> Value:
        if source.op in LEAVES:
            states = f"{source.block}_old" if source.op == "state" else source.op
            vector = f"{source.op}_{source.block}"
            return self._named(source, states if source.op in ("state", "x") else vector)
        if source.op in MATRICES:
            return self._pre([source])
        name = self.plan.program.names.get(source, source.op)
        if source.op == "add":
            return self._sum(source, name)
        key = (source.op, tuple(map(self._argument, source.args)))
        if key not in self._alike:
            self._alike[key] = self._named(Value(*key), name)
        return self._alike[key]

    def _argument(self, term: Argument) -> Argument:
        return self.value(term) if isinstance(term, Value) else term

    def _named(self, value: Value, name: str) -> Value:
        taken, free, k = set(self.names.values()), name, 1
        while free in taken:
            free, k = f"{name}_{k}", k + 1
        self.names[value] = free
        return value

    def _sum(self, source: Value, name: str) -> Value:
        terms = list(self._terms(source))
        absorbed = [
            t
            for t in terms
            if isinstance(t, Value)
            and t.op in MATRICES
            and len(self._users[t]) == 1
            and terms.count(t) == 1
        ]
        parts: list[Argument] = [self._pre(absorbed)] if absorbed else []
        parts += [self._argument(t) for t in terms if t not in absorbed]
        total = parts[0]
        for k, part in enumerate(parts[1:], 2):
            final = name if k == len(parts) else f"{name}_{k - 1}"
            total = self._named(Value("add", (total, part)), final)
        assert isinstance(total, Value), "a sum of numbers is a number"
        return total

    def _terms(self, source: Value) -> Iterator[Argument]:
        """What is added in the sum that ends in this value, through sums that only it reads."""
        for arg in source.args:
            inner = isinstance(arg, Value) and arg.op == "add" and len(self._users[arg]) == 1
            if inner and isinstance(arg, Value) and source.args.count(arg) == 1:
                yield from self._terms(arg)
            else:
                yield arg

    def _pre(self, products: list[Value]) -> Value:
        """What accumulates these products; those of the inputs come first."""
        products = sorted(products, key=lambda product: product.op != "W")
        pre = Value(PRE, tuple(self.value(product.inputs[0]) for product in products))
        self.blocks[pre] = tuple(product.owned for product in products)
        return self._named(pre, f"a_{products[0].block}")


def _stages(values: tuple[Value, ...], results: tuple[Value, ...]) -> dict[Value, int]:
    """As early as possible; what is cheap, as late as possible, so that it need not be carried from
    stage to stage.
    """
    stage: dict[Value, int] = {}
    users: dict[Value, list[Value]] = {v: [] for v in values}
    for v in values:
        ready = [stage[a] for a in v.inputs]
        if v.op == PRE:
            ready = [0 if a.op in LEAVES else stage[a] + 1 for a in v.inputs]
        stage[v] = max(ready, default=0)
        for a in v.inputs:
            users[a].append(v)
    whole = {a for v in values if v.op == PRE for a in v.inputs} | set(results)
    for v in reversed(values):
        cheap = _cheap(v) and all(a.op != PRE or _of_inputs(a) for a in v.inputs)
        if (cheap or _of_inputs(v)) and v not in whole:
            stage[v] = min(stage[u] for u in users[v])
    return stage


def _of_inputs(v: Value) -> bool:
    """Whether a pre-activation waits for nothing."""
    return v.op == PRE and all(a.op == "x" for a in v.inputs)


def _products(
    plan: Plan,
    blocks: dict[Value, tuple[tuple[str, str], ...]],
    stage: int,
    pres: tuple[Value, ...],
    before: int,
) -> Iterator[Product]:
    """The products of a stage; blocks of one operand that go to neighbouring pre-activations are
    one product.
    """
    groups = [[("R", name) for name in names] for _, names in plan.groups]
    groups.append([("W", name) for name in plan.blocks["W"]])
    places = {owned: (g, k) for g, names in enumerate(groups) for k, owned in enumerate(names)}

    def product(operand: Value, run: list[tuple[int, tuple[str, str]]]) -> Product:
        owners, group = [owned for _, owned in run], places[run[0][1]][0]
        columns = tuple(places[owned][1] for owned in owners)
        return Product(
            stage,
            operand,
            group,
            len(groups[group]),
            before + run[0][0],
            columns,
            tuple(map(".".join, owners)),
        )

    for operand in dict.fromkeys(a for pre in pres for a in pre.inputs):
        run: list[tuple[int, tuple[str, str]]] = []  # (pre-activation, block)
        for j, pre in enumerate(pres):
            for a, owned in zip(pre.inputs, blocks[pre], strict=True):
                if a is not operand:
                    continue
                if run and run[-1][0] + 1 != j:
                    yield product(operand, run)
                    run = []
                run.append((j, owned))
        yield product(operand, run)


def _fixed(values: tuple[Value, ...], results: tuple[Value, ...]) -> tuple[Value, ...]:
    """What depends on vectors of parameters alone, but for what must be there in every row: new
    states and what is multiplied.
    """
    whole = {a for v in values if v.op == PRE for a in v.inputs} | set(results)
    found: list[Value] = []
    for v in values:  # arguments first
        alone = all(a.op in VECTORS or a in found for a in v.inputs)
        found += [v] if v.op in OPERATIONS and v.inputs and alone and v not in whole else []
    return tuple(found)


def _kept(
    values: list[Value],
    results: tuple[Value, ...],
    stage: dict[Value, int],
    fixed: tuple[Value, ...],
) -> tuple[Value, ...]:
    """What later stages and derivatives read and cannot cheaply compute from what is in memory
    anyway. values: without what is fixed.
    """
    read = {a for v in values if v.op == PRE for a in v.inputs}
    for v in values:
        read |= {a for a in v.inputs if stage[a] < stage[v] and v.op != PRE}
        if v.op in OPERATIONS:
            arriving = Value("gradient")
            for _, part in gradients(v, arriving):
                read |= {u for u in _read(part, {v, *v.inputs}) if u is not arriving}
    kept: list[Value] = []

    def present(v: Value) -> bool:
        return (
            v.op in LEAVES
            or v in fixed
            or v in results
            or v in kept
            or (_cheap(v) and all(map(present, v.inputs)))
        )

    for v in values:  # arguments first
        kept += [v] if v in read and not present(v) else []
    return tuple(kept)


def _read(expression: Value, known: set[Value]) -> Iterator[Value]:
    """The values of the step that an expression is written in."""
    if expression in known or not expression.args:
        yield expression
    else:
        for arg in expression.inputs:
            yield from _read(arg, known)


def _cheap(v: Value) -> bool:
    """Whether it is rather computed again than kept."""
    return v.op in OPERATIONS and OPERATIONS[v.op].cheap
