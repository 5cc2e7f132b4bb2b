"""From a plan to a straight-line program for one step: stages, pre-activations, what is kept for
the way back.

A pre-activation is the sum of an input product and of all recurrent products that are added to it.
A stage ends where a product needs a whole vector that the step itself computes. Knows no cell by
name, and nothing of C++.
"""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Union, cast

from torch import fx

from rnnbench.equations.plan import Plan
from rnnbench.equations.rules import OPERATIONS, block
from rnnbench.errors import UserError

# operation → its derivative with respect to each argument, times the slope g; y is its value, a and
# b its arguments
DERIVATIVES: dict[str, tuple[str, ...]] = {
    "add": ("{g}", "{g}"),
    "sub": ("{g}", "-{g}"),
    "mul": ("{g} * {b}", "{g} * {a}"),
    "div": ("{g} / {b}", "-{g} * {y} / {b}"),
    "neg": ("-{g}",),
    "sigmoid": ("{g} * {y} * (1 - {y})",),
    "tanh": ("{g} * (1 - {y} * {y})",),
    "relu": ("where(~({y} <= 0), {g})",),
    "exp": ("{g} * {y}",),
    "maximum": ("prefer({a} > {b}, {a} == {b}, {g})", "prefer({b} > {a}, {a} == {b}, {g})"),
    "minimum": ("prefer({a} < {b}, {a} == {b}, {g})", "prefer({b} < {a}, {a} == {b}, {g})"),
    "logsigmoid": ("{g} * (1 - v_exp({y}))",),
    "softplus": ("{g} * (1 - v_exp(-{y}))",),
}
CHEAP = {
    "add",
    "sub",
    "mul",
    "div",
    "neg",
    "relu",
    "maximum",
    "minimum",
}  # rather computed again than kept
GIVEN = {"state", "x", "p", "b"}  # read from memory, at any time

Argument = Union["Value", float]


@dataclass(frozen=True, eq=False)
class Value:
    """One value of a step.

    op: of OPERATIONS, or x, state, p, b (index: which), or pre (args: the operands of its
    products).
    """

    name: str
    op: str
    args: tuple[Argument, ...] = ()
    index: int = 0
    blocks: tuple[
        tuple[str, str], ...
    ] = ()  # of a pre: what multiplies each operand, such as ("R", "z")

    @property
    def inputs(self) -> tuple["Value", ...]:
        return tuple(a for a in self.args if isinstance(a, Value))


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

    @property
    def written(self) -> list[str]:
        return [f"{block} @ {self.operand.name}" for block in self.blocks]


@dataclass(frozen=True)
class Program:
    """values: in the order of computation. pres: by stage.

    kept: what the way back reads, beside all states.
    """

    plan: Plan
    values: tuple[Value, ...]
    results: tuple[Value, ...]
    stage: dict[Value, int]
    pres: tuple[tuple[Value, ...], ...]
    products: tuple[Product, ...]
    kept: tuple[Value, ...]

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


def lowered(plan: Plan) -> Program:
    results = _Reader(plan).results
    values = tuple(dict.fromkeys(v for result in results for v in _ordered(result)))
    stage = _stages(values, results)
    stages = range(max(stage.values()) + 1)
    pres = tuple(
        tuple(sorted((v for v in values if v.op == "pre" and stage[v] == s), key=_neighbours))
        for s in stages
    )
    products = tuple(
        p for s, row in enumerate(pres) for p in _products(plan, s, row, sum(map(len, pres[:s])))
    )
    return Program(plan, values, results, stage, pres, products, _kept(values, results, stage))


class _Reader:
    """Reads the traced graph into values; sums are taken apart, so that what meets in a sum meets
    in one accumulator.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.made, self.taken = plan, dict[fx.Node, Value](), set[str]()
        self.alike: dict[
            tuple[str, tuple[Argument, ...]], Value
        ] = {}  # equal terms are computed once
        self.results = tuple(self.value(node) for node in plan.trace.result)

    def value(self, node: fx.Node) -> Value:
        if node not in self.made:
            self.made[node] = self._read(node)
        return self.made[node]

    def _read(self, node: fx.Node) -> Value:
        plan, name = self.plan, self.plan.trace.names.get(node, node.name)
        if node.op == "placeholder":
            known = str(node.target) in plan.state
            return (
                Value(f"{node.target}_old", "state", index=plan.state.index(str(node.target)))
                if known
                else Value("x", "x")
            )
        if owned := block(node):
            return Value("_".join(owned), owned[0], index=plan.blocks[owned[0]].index(owned[1]))
        if _multiplied(node):
            return self._pre([node])
        if node.target is operator.add:
            return self._sum(node, name)
        if node.kwargs:
            raise UserError(
                f"{plan.trace.function.__name__}: the native engine knows no options of "
                f"{OPERATIONS[node.target]}; use engine=loop"
            )
        key = (OPERATIONS[node.target], tuple(map(self._argument, node.args)))
        if key not in self.alike:
            self.alike[key] = Value(self._name(name), *key)
        return self.alike[key]

    def _argument(self, term: Any) -> Argument:
        return self.value(term) if isinstance(term, fx.Node) else float(term)

    def _name(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def _sum(self, node: fx.Node, name: str) -> Value:
        terms = list(_terms(node))
        absorbed = [
            t for t in terms if _multiplied(t) and len(t.users) == 1 and terms.count(t) == 1
        ]
        parts: list[Argument] = [self._pre(absorbed)] if absorbed else []
        parts += [self._argument(t) for t in terms if t not in absorbed]
        total = parts[0]
        for k, part in enumerate(parts[1:], 2):
            total = Value(
                self._name(name if k == len(parts) else f"{name}_{k - 1}"), "add", (total, part)
            )
        assert isinstance(total, Value), "a sum of numbers is a number"
        return total

    def _pre(self, products: list[fx.Node]) -> Value:
        """What accumulates these products; those of the inputs come first."""
        products = sorted(products, key=lambda t: cast(tuple[str, str], _multiplied(t))[0] != "W")
        blocks = tuple(cast(tuple[str, str], _multiplied(t)) for t in products)
        return Value(
            self._name(f"a_{blocks[0][1]}"),
            "pre",
            tuple(self.value(cast(fx.Node, t.args[1])) for t in products),
            blocks=blocks,
        )


def _multiplied(node: Any) -> tuple[str, str] | None:
    """("R", "z") if the node is R.z @ something."""
    return (
        block(node.args[0])
        if isinstance(node, fx.Node) and node.target is operator.matmul
        else None
    )


def _terms(node: fx.Node) -> Iterator[Any]:
    """What is added in the sum that ends in this node, through sums that nothing else reads."""
    for arg in node.args:
        inner = (
            isinstance(arg, fx.Node)
            and arg.target is operator.add
            and len(arg.users) == 1
            and node.args.count(arg) == 1
        )
        yield from _terms(cast(fx.Node, arg)) if inner else (arg,)


def _ordered(value: Value) -> Iterator[Value]:
    for arg in value.inputs:
        yield from _ordered(arg)
    yield value


def _stages(values: tuple[Value, ...], results: tuple[Value, ...]) -> dict[Value, int]:
    """As early as possible; what is cheap, as late as possible, so that it need not be carried from
    stage to stage.
    """
    stage: dict[Value, int] = {}
    users: dict[Value, list[Value]] = {v: [] for v in values}
    for v in values:
        ready = (
            [0 if a.op in GIVEN else stage[a] + 1 for a in v.inputs]
            if v.op == "pre"
            else [stage[a] for a in v.inputs]
        )
        stage[v] = max(ready, default=0)
        for a in v.inputs:
            users[a].append(v)
    whole = {a for v in values if v.op == "pre" for a in v.inputs} | set(results)
    for v in reversed(values):
        cheap = v.op in CHEAP and all(a.op != "pre" or _of_inputs(a) for a in v.inputs)
        if (cheap or _of_inputs(v)) and v not in whole:
            stage[v] = min(stage[u] for u in users[v])
    return stage


def _of_inputs(v: Value) -> bool:
    """Whether a pre-activation waits for nothing."""
    return v.op == "pre" and all(a.op == "x" for a in v.inputs)


def _neighbours(pre: Value) -> tuple[bool, bool, int]:
    """Sorted by this, pre-activations that share an operand are neighbours, as far as that goes."""
    return not _of_inputs(pre), all(a.op != "x" for a in pre.inputs), len(pre.inputs)


def _products(plan: Plan, stage: int, pres: tuple[Value, ...], before: int) -> Iterator[Product]:
    """The products of a stage; blocks of one operand that go to neighbouring pre-activations are
    one product.
    """
    groups = [[("R", name) for name in names] for _, names in plan.groups] + [
        [("W", name) for name in plan.blocks["W"]]
    ]
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
            for a, owned in zip(pre.inputs, pre.blocks, strict=True):
                if a is not operand:
                    continue
                if run and run[-1][0] + 1 != j:
                    yield product(operand, run)
                    run = []
                run.append((j, owned))
        yield product(operand, run)


def _kept(
    values: tuple[Value, ...], results: tuple[Value, ...], stage: dict[Value, int]
) -> tuple[Value, ...]:
    """What later stages and derivatives read and cannot cheaply compute from what is in memory
    anyway.
    """
    read = {a for v in values if v.op == "pre" for a in v.inputs}
    for v in values:
        read |= {a for a in v.inputs if stage[a] < stage[v] and v.op != "pre"}
        for arg, slope in zip(v.args, DERIVATIVES.get(v.op, ()), strict=v.op in DERIVATIVES):
            if isinstance(arg, Value):
                known = dict(zip("yab", (v, *v.args), strict=False))
                read |= {
                    k
                    for letter, k in known.items()
                    if "{" + letter + "}" in slope and isinstance(k, Value)
                }
    kept: list[Value] = []

    def present(v: Value) -> bool:
        return (
            v.op in GIVEN
            or v in results
            or v in kept
            or (v.op in CHEAP and all(map(present, v.inputs)))
        )

    for v in values:  # arguments first
        kept += [v] if v in read and not present(v) else []
    return tuple(kept)
