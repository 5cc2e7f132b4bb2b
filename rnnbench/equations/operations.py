"""The language of a step: every operation that a cell may use besides `@`, an entry each.

An entry says how a cell may call the operation, what the loop computes, its derivative, and how it
is written in C++, Unicode and LaTeX. To add an operation, add an entry to `OPERATIONS`; nothing
else in the package lists them. Each acts on numbers one by one, but for the few that are `across`.
"""

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rnnbench.equations.program import Argument, Value
from rnnbench.equations.shapes import Shape, together

# How tightly a term holds together, loosest first. W x stands below the product: R (r ⊙ h) and r ⊙
# (R h) are different cells, so neither is left to the reader's habits.
ANY, SUM, APPLIED, PRODUCT, QUOTIENT, POWER, ATOM = range(7)


@dataclass(frozen=True)
class Form:
    """How an operation is written: a %-template, how tightly the result holds, and how tightly each
    operand must; without `least` the text is a name that stands before its operands in parentheses.
    """

    text: str
    level: int = ATOM
    least: tuple[int, ...] = ()


@dataclass(frozen=True)
class Operation:
    """compute: on tensors and numbers, what the loop calls.

    derivative: (g, y, *arguments) → for each operand g · ∂y/∂operand, where y is the value and g
        the gradient that arrives at it; what belongs to a number is not read.
    cpp: the expression, on vectors of lanes; {0} … are the arguments.
    calls: names by which torch, torch.nn.functional, torch.special or a tensor's methods know it.
    operands: as torch calls them. options: numbers with defaults that follow the operands.
    cheap: rather computed again than kept for the backward pass.
    chooses: its value is a condition, for `where`.
    across: it reads a whole axis, the last or the last two. No C++ for these.
    own: how many of its last axes each operand of a product has to itself; the axes before them
        meet one by one. made: (those axes of each) → the last axes of the result; None: no fit.
    """

    compute: Callable[..., Any]
    derivative: Callable[..., tuple[Argument, ...]]
    cpp: str
    unicode: Form
    latex: Form
    calls: tuple[str, ...]
    operands: tuple[str, ...] = ("input",)
    options: dict[str, float] = field(default_factory=dict)
    cheap: bool = False
    chooses: bool = False
    across: bool = False
    own: tuple[int, ...] = ()
    made: Callable[..., Shape | None] = lambda *_: ()

    def shape(self, given: Sequence[Shape]) -> Shape | None:
        """Of the result, from the shapes of the operands; None if they do not fit."""
        own = self.own or (0,) * len(given)
        if any(len(shape) < last for shape, last in zip(given, own, strict=True)):
            return None
        cuts = [len(shape) - last for shape, last in zip(given, own, strict=True)]
        before = together(shape[:cut] for shape, cut in zip(given, cuts, strict=True))
        after = self.made(*(shape[cut:] for shape, cut in zip(given, cuts, strict=True)))
        return None if before is None or after is None else before + after

    def lacking(self, given: Sequence[Shape]) -> list[tuple[int, int]]:
        """For every operand how many axes it lacks among those that meet one by one, and where."""
        own = self.own or (0,) * len(given)
        cuts = [len(shape) - last for shape, last in zip(given, own, strict=True)]
        return [(max(cuts) - cut, -1 - last) for cut, last in zip(cuts, own, strict=True)]

    @property
    def signature(self) -> Signature:
        kind = Parameter.POSITIONAL_OR_KEYWORD
        operands = [Parameter(name, kind) for name in self.operands]
        options = [Parameter(name, kind, default=value) for name, value in self.options.items()]
        return Signature([*operands, *options])


def larger(a: Any, b: Any) -> Any:
    """torch.maximum that takes a number too; of tensors or of symbols of a trace."""
    return _with_number("maximum", a, b)


def smaller(a: Any, b: Any) -> Any:
    """torch.minimum that takes a number too; of tensors or of symbols of a trace."""
    return _with_number("minimum", a, b)


def _with_number(name: str, a: Any, b: Any) -> Any:
    if isinstance(a, Real):
        a, b = b, a
    if isinstance(b, Real) and isinstance(a, Tensor):
        b = torch.full_like(a, float(b))
    return getattr(a, name)(b) if isinstance(b, Real) else getattr(torch, name)(a, b)


def _where(condition: Value, yes: Argument, no: Argument) -> Value:
    return Value("where", (condition, yes, no))


def _compare(name: str, a: Argument, b: Argument) -> Value:
    return Value(name, (a, b))


def _of(name: str, a: Argument) -> Value:
    return Value(name, (a,))


def _better(name: str) -> Callable[..., tuple[Argument, ...]]:
    """The derivative of a maximum or minimum: a tie is shared, as in torch."""

    def derivative(g: Value, _: Value, a: Argument, b: Argument) -> tuple[Argument, ...]:
        shared = _where(_compare("equal", a, b), g * 0.5, 0.0)
        return _where(_compare(name, a, b), g, shared), _where(_compare(name, b, a), g, shared)

    return derivative


def _power(g: Value, y: Value, a: Argument, b: Argument) -> tuple[Argument, ...]:
    if not isinstance(b, Value):
        lower = {0.0: 0.0, 1.0: 1.0, 2.0: a}.get(b, Value("pow", (a, b - 1)))
        return (g * (lower * b),)
    if not isinstance(a, Value):
        return 0.0, g * y * (math.log(a) if a > 0 else math.nan if a else 0.0)
    of_exponent = _where(_compare("equal", a, 0.0), 0.0, g * y * _of("log", a))
    return g * (b * Value("pow", (a, b - 1))), of_exponent


def _softplus(g: Value, y: Value, a: Value, beta: float, threshold: float) -> tuple[Argument, ...]:
    slope = 1 - _of("exp", -(y * beta))
    return (_where(_compare("greater", a * beta, threshold), g, g * slope),)


def _clamp(g: Value, _: Value, a: Value, low: float, high: float) -> tuple[Argument, ...]:
    below_high = _where(_compare("less_equal", a, high), g, 0.0)
    return (_where(_compare("greater_equal", a, low), below_high, 0.0),)


def _choose(g: Value, _: Value, c: Value, a: Argument, b: Argument) -> tuple[Argument, ...]:
    return 0.0, _where(c, g, 0.0), _where(c, 0.0, g)


def _infix(sign: str, level: int, least: tuple[int, int]) -> Form:
    return Form(f"%s {sign} %s", level, least)


def _named(name: str) -> Form:
    return Form(rf"\operatorname{{{name}}}")


def _comparison(
    sign: str, unicode: str, latex: str, compute: Any, calls: tuple[str, ...]
) -> Operation:
    return Operation(
        compute=compute,
        derivative=lambda g, y, a, b: (0.0, 0.0),
        cpp=f"where({{0}} {sign} {{1}}, fill(1))",
        unicode=_infix(unicode, ANY, (SUM, SUM)),
        latex=_infix(latex, ANY, (SUM, SUM)),
        calls=calls,
        operands=("input", "other"),
        cheap=True,
        chooses=True,
    )


UNITS: dict[str, Any] = {"cpp": "", "options": {"dim": -1.0}, "across": True}


def shares(a: Tensor, dim: float = -1.0) -> Tensor:
    """The softmax over units."""
    return torch.softmax(a, -1)


def total(a: Tensor, dim: float = -1.0) -> Tensor:
    """The sum over units, at each of them: every value is as wide as the cell."""
    return a.sum(-1, keepdim=True).expand_as(a)


def average(a: Tensor, dim: float = -1.0) -> Tensor:
    """The mean over units, at each of them."""
    return a.mean(-1, keepdim=True).expand_as(a)


def length(a: Tensor, dim: float = -1.0) -> Tensor:
    """The Euclidean norm over units, at each of them."""
    found: Tensor = torch.linalg.vector_norm(a, dim=-1, keepdim=True)
    return found.expand_as(a)


def outer(a: Tensor, b: Tensor) -> Tensor:
    """a bᵀ, of the last axes."""
    return a.unsqueeze(-1) * b.unsqueeze(-2)


def rows(M: Tensor, k: Tensor) -> Tensor:
    """M k: every row of the matrix times the vector."""
    return (M * k.unsqueeze(-2)).sum(-1)


def read(w: Tensor, M: Tensor) -> Tensor:
    """Mᵀ w: the rows of the matrix, weighted and summed."""
    return (M * w.unsqueeze(-1)).sum(-2)


def rolled(a: Tensor, shifts: float, dims: float = -1.0) -> Tensor:
    """Every place takes the number `shifts` places before it, the first those of the end."""
    return torch.roll(a, int(shifts), int(dims))


def counted(a: Tensor, dim: float = -1.0) -> Tensor:
    """How many numbers the last axis has."""
    return a.new_full((1,) * (a.dim() - 1), a.shape[-1])


def _product(name: str, a: Argument, b: Argument) -> Value:
    return Value(name, (a, b))


def _of_all(name: str, a: Argument) -> Value:
    return Value(name, (a, -1.0))


OPERATIONS: dict[str, Operation] = {
    "add": Operation(
        compute=operator.add,
        derivative=lambda g, y, a, b: (g, g),
        cpp="{0} + {1}",
        unicode=_infix("+", SUM, (SUM, APPLIED)),
        latex=_infix("+", SUM, (SUM, APPLIED)),
        calls=("add",),
        operands=("input", "other"),
        cheap=True,
    ),
    "sub": Operation(
        compute=operator.sub,
        derivative=lambda g, y, a, b: (g, -g),
        cpp="{0} - {1}",
        unicode=_infix("−", SUM, (SUM, APPLIED)),
        latex=_infix("-", SUM, (SUM, APPLIED)),
        calls=("sub", "subtract"),
        operands=("input", "other"),
        cheap=True,
    ),
    "mul": Operation(
        compute=operator.mul,
        derivative=lambda g, y, a, b: (g * b, g * a),
        cpp="{0} * {1}",
        unicode=_infix("⊙", PRODUCT, (PRODUCT, PRODUCT)),
        latex=_infix(r"\odot", PRODUCT, (PRODUCT, PRODUCT)),
        calls=("mul", "multiply"),
        operands=("input", "other"),
        cheap=True,
    ),
    "div": Operation(
        compute=operator.truediv,
        derivative=lambda g, y, a, b: (g / b, -g * y / b),
        cpp="{0} / {1}",
        unicode=Form("%s/%s", QUOTIENT, (POWER, POWER)),
        latex=Form(r"\frac{%s}{%s}", QUOTIENT, (ANY, ANY)),
        calls=("div", "divide", "true_divide"),
        operands=("input", "other"),
        cheap=True,
    ),
    "neg": Operation(
        compute=operator.neg,
        derivative=lambda g, y, a: (-g,),
        cpp="-{0}",
        unicode=Form("−%s", SUM, (APPLIED,)),
        latex=Form("-%s", SUM, (APPLIED,)),
        calls=("neg", "negative"),
        cheap=True,
    ),
    "pow": Operation(
        compute=operator.pow,
        derivative=_power,
        cpp="v_pow({0}, {1})",
        unicode=Form("%s^%s", POWER, (ATOM, ATOM)),
        latex=Form("{%s}^{%s}", POWER, (ATOM, ANY)),
        calls=("pow",),
        operands=("input", "exponent"),
    ),
    "abs": Operation(
        compute=torch.abs,
        derivative=lambda g, y, a: (
            _where(_compare("greater", a, 0.0), g, _where(_compare("less", a, 0.0), -g, 0.0)),
        ),
        cpp="v_abs({0})",
        unicode=Form("|%s|", ATOM, (ANY,)),
        latex=Form("|%s|", ATOM, (ANY,)),
        calls=("abs", "absolute"),
        cheap=True,
    ),
    "sqrt": Operation(
        compute=torch.sqrt,
        derivative=lambda g, y, a: (g * 0.5 / y,),
        cpp="each(sqrt, {0})",
        unicode=Form("√"),
        latex=Form(r"\sqrt{%s}", ATOM, (ANY,)),
        calls=("sqrt",),
    ),
    "exp": Operation(
        compute=torch.exp,
        derivative=lambda g, y, a: (g * y,),
        cpp="v_exp({0})",
        unicode=Form("exp"),
        latex=Form(r"\exp"),
        calls=("exp",),
    ),
    "log": Operation(
        compute=torch.log,
        derivative=lambda g, y, a: (g / a,),
        cpp="each(log, {0})",
        unicode=Form("log"),
        latex=Form(r"\log"),
        calls=("log",),
    ),
    "sin": Operation(
        compute=torch.sin,
        derivative=lambda g, y, a: (g * _of("cos", a),),
        cpp="each(sin, {0})",
        unicode=Form("sin"),
        latex=Form(r"\sin"),
        calls=("sin",),
    ),
    "cos": Operation(
        compute=torch.cos,
        derivative=lambda g, y, a: (-(g * _of("sin", a)),),
        cpp="each(cos, {0})",
        unicode=Form("cos"),
        latex=Form(r"\cos"),
        calls=("cos",),
    ),
    "sigmoid": Operation(
        compute=torch.sigmoid,
        derivative=lambda g, y, a: (g * y * (1 - y),),
        cpp="v_sigmoid({0})",
        unicode=Form("σ"),
        latex=Form(r"\sigma"),
        calls=("sigmoid", "expit"),
    ),
    "tanh": Operation(
        compute=torch.tanh,
        derivative=lambda g, y, a: (g * (1 - y * y),),
        cpp="v_tanh({0})",
        unicode=Form("tanh"),
        latex=Form(r"\tanh"),
        calls=("tanh",),
    ),
    "relu": Operation(
        compute=torch.relu,
        derivative=lambda g, y, a: (_where(_compare("less_equal", y, 0.0), 0.0, g),),
        cpp="v_relu({0})",
        unicode=Form("ReLU"),
        latex=_named("ReLU"),
        calls=("relu",),
        cheap=True,
    ),
    "logsigmoid": Operation(
        compute=F.logsigmoid,
        derivative=lambda g, y, a: (g * (1 - _of("exp", y)),),
        cpp="v_logsigmoid({0})",
        unicode=Form("log σ", APPLIED),
        latex=Form(r"\log \sigma", APPLIED),
        calls=("logsigmoid",),
    ),
    "softplus": Operation(
        compute=F.softplus,
        derivative=_softplus,
        cpp="({0} * {1} > {2} ? {0} : v_softplus({0} * {1}) / {1})",
        unicode=Form("softplus"),
        latex=_named("softplus"),
        calls=("softplus",),
        options={"beta": 1.0, "threshold": 20.0},
    ),
    "maximum": Operation(
        compute=larger,
        derivative=_better("greater"),
        cpp="v_maximum({0}, {1})",
        unicode=Form("max"),
        latex=Form(r"\max"),
        calls=("maximum",),
        operands=("input", "other"),
        cheap=True,
    ),
    "minimum": Operation(
        compute=smaller,
        derivative=_better("less"),
        cpp="v_minimum({0}, {1})",
        unicode=Form("min"),
        latex=Form(r"\min"),
        calls=("minimum",),
        operands=("input", "other"),
        cheap=True,
    ),
    "clamp": Operation(
        compute=torch.clamp,
        derivative=_clamp,
        cpp="v_minimum(v_maximum({0}, {1}), {2})",
        unicode=Form("clamp"),
        latex=_named("clamp"),
        calls=("clamp", "clip"),
        options={"min": -math.inf, "max": math.inf},
        cheap=True,
    ),
    "where": Operation(
        compute=torch.where,
        derivative=_choose,
        cpp="({0} != 0 ? {1} : {2})",
        unicode=Form("where"),
        latex=_named("where"),
        calls=("where",),
        operands=("condition", "input", "other"),
        cheap=True,
    ),
    "softmax": Operation(
        compute=shares,
        derivative=lambda g, y, a, dim: (y * (g - _of_all("sum", g * y)),),
        unicode=Form("softmax"),
        latex=_named("softmax"),
        calls=("softmax",),
        **UNITS,
    ),
    "sum": Operation(
        compute=total,
        derivative=lambda g, y, a, dim: (_of_all("sum", g),),
        unicode=Form("sum"),
        latex=_named("sum"),
        calls=("sum",),
        **UNITS,
    ),
    "mean": Operation(
        compute=average,
        derivative=lambda g, y, a, dim: (_of_all("mean", g),),
        unicode=Form("mean"),
        latex=_named("mean"),
        calls=("mean",),
        **UNITS,
    ),
    "norm": Operation(
        compute=length,
        derivative=lambda g, y, a, dim: (a / y * _of_all("sum", g),),
        unicode=Form("norm"),
        latex=_named("norm"),
        calls=("norm",),
        **UNITS,
    ),
    "outer": Operation(
        compute=outer,
        derivative=lambda g, y, a, b: (_product("rows", g, b), _product("read", a, g)),
        cpp="",
        unicode=Form("%s %sᵀ", APPLIED, (ATOM, ATOM)),
        latex=Form(r"%s\,{%s}^{\top}", APPLIED, (ATOM, ATOM)),
        calls=("outer",),
        operands=("input", "vec2"),
        across=True,
        own=(1, 1),
        made=lambda a, b: a + b,
    ),
    "rows": Operation(
        compute=rows,
        derivative=lambda g, y, M, k: (_product("outer", g, k), _product("read", g, M)),
        cpp="",
        unicode=Form("%s %s", APPLIED, (ATOM, ATOM)),
        latex=Form("%s %s", APPLIED, (ATOM, ATOM)),
        calls=(),
        operands=("matrix", "vector"),
        across=True,
        own=(2, 1),
        made=lambda M, k: M[:1] if M[1:] == k else None,
    ),
    "read": Operation(
        compute=read,
        derivative=lambda g, y, w, M: (_product("rows", M, g), _product("outer", w, g)),
        cpp="",
        unicode=Form("%sᵀ %s", APPLIED, (ATOM, ATOM)),
        latex=Form(r"{%s}^{\top} %s", APPLIED, (ATOM, ATOM)),
        calls=(),
        operands=("vector", "matrix"),
        across=True,
        own=(1, 2),
        made=lambda w, M: M[1:] if M[:1] == w else None,
    ),
    "roll": Operation(
        compute=rolled,
        derivative=lambda g, y, a, shifts, dims: (Value("roll", (g, -shifts, dims)),),
        cpp="",
        unicode=Form("roll"),
        latex=_named("roll"),
        calls=("roll",),
        options={"shifts": 0.0, "dims": -1.0},
        across=True,
    ),
    "size": Operation(
        compute=counted,
        derivative=lambda g, y, a, dim: (0.0,),
        unicode=Form("size"),
        latex=_named("size"),
        calls=("size",),
        own=(1,),
        **UNITS,
    ),
    "greater": _comparison(">", ">", ">", operator.gt, ("gt", "greater")),
    "greater_equal": _comparison(">=", "≥", r"\ge", operator.ge, ("ge", "greater_equal")),
    "less": _comparison("<", "<", "<", operator.lt, ("lt", "less")),
    "less_equal": _comparison("<=", "≤", r"\le", operator.le, ("le", "less_equal")),
    "equal": _comparison("==", "=", "=", operator.eq, ("eq",)),
}


def gradients(value: Value, gradient: Value) -> Iterator[tuple[Value, Value]]:
    """What arrives at each argument of an operation, where `gradient` arrives at its value."""
    parts = OPERATIONS[value.op].derivative(gradient, value, *value.args)
    for arg, part in zip(value.args, parts, strict=False):  # options have no derivative
        if isinstance(arg, Value) and isinstance(part, Value):
            yield arg, part


def mixes_units(value: Value) -> bool:
    """Whether a value at one unit depends on others within the step."""
    return value.op in OPERATIONS and OPERATIONS[value.op].across
