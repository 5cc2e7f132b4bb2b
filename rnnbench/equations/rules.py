"""What a cell is called with, and the rules for its authors.

W, R, p, b, x and the states are symbols: what the equations do with them is recorded as values.
Each breach of a rule is a UserError with file, line and remedy, raised where the equations commit
it.
"""

import ast
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rnnbench.equations.operations import OPERATIONS
from rnnbench.equations.program import FAMILIES, MATRICES, Argument, Value
from rnnbench.equations.shapes import UNITS, Shape
from rnnbench.equations.shapes import written as sized
from rnnbench.errors import UserError

# What torch's functions take beside their operands, and the only value that it may have here.
IDLE = {"inplace": False, "alpha": 1, "out": None, "rounding_mode": None, "dtype": None}
MIXING = {
    *("log_softmax", "cumsum", "cumprod", "flip", "sort"),
    *("layer_norm", "normalize", "dot", "einsum", "cat", "stack", "std", "var", "max"),
}

LANGUAGE = f"there are @ + - * / ** > >= < <= and {', '.join(sorted(OPERATIONS))}"


def check_text(tree: ast.AST, first: int, place: Callable[[int], str]) -> None:
    """What symbols cannot see: assignments in place.

    first: the line of the file at which the tree begins.
    """
    for node in ast.walk(tree):
        target = node.target if isinstance(node, ast.AugAssign) else node
        stored = isinstance(target, (ast.Subscript, ast.Attribute)) and isinstance(
            target.ctx, ast.Store
        )
        if isinstance(target, ast.expr) and (stored or isinstance(node, ast.AugAssign)):
            written, line = ast.unparse(target), first + target.lineno - 1
            name = written.split("[")[0].split(".")[0]
            raise UserError(
                f"{place(line)}: {written} is changed in place; write {name} = … for the new value"
            )


class Recorder:
    """What the equations have computed so far.

    place: 'file:line cell' of the line that is being executed. lines: value → that line.
    declared: (family, block) or ("state", name) → its shape, where the signature gives one.
    shapes: of the values so far.
    """

    def __init__(
        self,
        place: Callable[[], str],
        line: Callable[[], int],
        declared: dict[tuple[str, str], Shape],
    ) -> None:
        self.place, self.line, self.declared = place, line, declared
        self.shapes: dict[Value, Shape] = {}
        self.values: list[Value] = []
        self.lines: dict[Value, int] = {}
        self._varying: set[Value] = set()  # what differs between the examples of a batch
        self._claimed: set[tuple[str, str]] = set()

    def refuse(self, text: str) -> UserError:
        return UserError(f"{self.place()}: {text}")

    def leaf(self, op: str, block: str = "") -> Value:
        return self._record(Value(op, (), block), self.declared.get((op, block), UNITS))

    def varies(self, value: Value) -> bool:
        """Whether it depends on the input or a state."""
        return value in self._varying

    def _record(self, value: Value, shape: Shape) -> Value:
        self.values.append(value)
        self.shapes[value] = shape
        self.lines[value] = self.line()
        if value.op in ("x", "state") or self._varying.intersection(value.inputs):
            self._varying.add(value)
        return value

    def claim(self, family: str, name: str) -> None:
        """Every block stands once in the equations."""
        if (family, name) in self._claimed:
            raise self.refuse(
                f"{family}.{name} is used a second time; give this term a block of its own, or "
                f"name the product and reuse that"
            )
        self._claimed.add((family, name))

    def product(self, matrix: Any, right: Any) -> "Symbol":
        """matrix @ right; of two values, one of which is a matrix: what `rows` and `read` are."""
        sides = [side for side in (matrix, right) if isinstance(side, Symbol)]
        if len(sides) == 2 and not any(side._value.op == "x" for side in sides):
            name = self._which([self.shapes[side._value] for side in sides])
            if name is not None:
                return self.operation(name, tuple(sides), {})
        if not isinstance(matrix, Matrix):
            self._refuse_whole(matrix)
            if isinstance(right, Matrix):
                raise self.refuse(right._remedy)
            raise self.refuse(
                f"left of @ must be W.name or R.name, got {written(matrix)}; use * for vectors"
            )
        of_input = isinstance(right, Symbol) and right._value.op == "x"
        if not isinstance(right, Symbol) or (matrix._family == "W") != of_input:
            is_input = matrix._family == "W"
            rule = "W multiplies x" if is_input else "R multiplies a state or a gate"
            raise self.refuse(f"{matrix} must not multiply {written(right)}: {rule}")
        operand = right._value
        self._refuse_condition(operand, f"{matrix} @")
        if not self.varies(operand):
            raise self.refuse(
                f"{matrix} multiplies what depends on neither x nor a state; a bias does the same"
            )
        self.claim(matrix._family, matrix._name)
        made = Value(matrix._family, (operand,), matrix._name)
        return Symbol(self, self._record(made, self.declared.get(made.owned, UNITS)))

    def _which(self, shapes: list[Shape]) -> str | None:
        """Whether the left of @ is the matrix, `rows`, or the right, `read`: what fits; if both do
        or none, the one with more axes. None: there is no matrix.
        """
        fitting = [n for n in ("rows", "read") if OPERATIONS[n].shape(shapes) is not None]
        if len(fitting) == 1:
            return fitting[0]
        left, right = map(len, shapes)
        if max(left, right) < 2:
            return None
        return "rows" if left >= right else "read"

    def operation(self, name: str, given: tuple[Any, ...], options: dict[str, Any]) -> "Symbol":
        """An operation of the language, called as torch calls it."""
        entry = OPERATIONS[name]
        asked = {k: v for k, v in options.items() if not (k in IDLE and v == IDLE[k])}
        if entry.across:
            asked.pop("keepdim", None)  # one number stands at every unit either way
            if name == "norm" and asked.get("p") in ("fro", 2):  # the Euclidean one
                del asked["p"]
        try:
            bound = entry.signature.bind(*given, **asked).arguments
        except TypeError as error:
            takes = ", ".join([*entry.operands, *entry.options])
            raise self.refuse(f"{name}({takes}) was called otherwise: {error}") from None
        args: list[Argument] = [self._operand(bound[operand], name) for operand in entry.operands]
        numbers = {
            option: self._number(bound.get(option), name, option, default)
            for option, default in entry.options.items()
        }
        if "dim" in numbers and numbers != entry.options:
            raise self.refuse(f"{name} goes over the last axis, the units of a vector: dim=-1")
        if name == "roll" and numbers["dims"] not in (-1.0, -2.0):
            raise self.refuse("roll goes along a vector, dims=-1, or the rows of a matrix, dims=-2")
        if name == "clamp" and numbers == entry.options:
            raise self.refuse("clamp needs min, max or both: clamp(c, min=-1, max=1)")
        if name == "where":
            self._check_where(args)
        else:
            for arg in args:
                self._refuse_condition(arg, name)
        made = Value(name, (*args, *numbers.values()))
        return Symbol(self, self._record(made, self._shape(made)))

    def call(self, function: Any, given: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """A function of torch that was called on a symbol."""
        if function in (torch.matmul, torch.Tensor.matmul, torch.Tensor.__rmatmul__):
            return self.product(*given)
        if name := FUNCTIONS.get(function):
            return self.operation(name, given, options)
        raise self.unknown(torch.overrides.resolve_name(function) or function.__name__)

    def result(self, symbol: "Symbol", name: str) -> Value:
        """What is returned as a new state."""
        value = self._operand(symbol, "return")
        self._refuse_condition(value, f"the new {name}")
        assert isinstance(value, Value)
        return value

    def unknown(self, name: str) -> UserError:
        last = name.rpartition(".")[2]
        if last.endswith("_"):
            return self.refuse(
                f"{name}() changes a tensor in place; use the function that returns a new one"
            )
        mixes = (
            ", which mixes units while a step acts on each by itself; across units there are "
            "softmax, sum, mean and norm, of states with shapes roll, outer and @"
            if last in MIXING
            else ""
        )
        return self.refuse(f"{name} is not an operation of cells{mixes}; {LANGUAGE}")

    def _shape(self, made: Value) -> Shape:
        """Of the result of an operation."""
        entry, given = OPERATIONS[made.op], [self.shapes[arg] for arg in made.inputs]
        if entry.own and len(given) < len(entry.own):
            raise self.refuse(f"{made.op} takes vectors, got a number")
        least = 2 if made.op == "roll" and made.args[-1] == -2.0 else int(entry.across)
        if not entry.own and any(len(shape) < least for shape in given):
            raise self.refuse(f"{made.op} goes along an axis that {sized(given[0])} does not have")
        shape = entry.shape(given)
        if shape is None:
            raise self.refuse(
                f"{made.op} of {' and '.join(map(sized, given))} numbers does not fit; shapes must "
                f"be equal, or one begin as the other does"
            )
        return shape

    def _operand(self, thing: Any, name: str) -> Argument:
        self._refuse_whole(thing)
        if isinstance(thing, Matrix):
            raise self.refuse(thing._remedy)
        if isinstance(thing, Symbol):
            if thing._value.op == "x":
                raise self.refuse(
                    "x is used outside W.name @ x; project it, because inputs and states may "
                    "differ in width"
                )
            return thing._value
        if isinstance(thing, Real):
            return float(thing)
        if isinstance(thing, Tensor) or type(thing).__module__ == "numpy":
            raise self.refuse(
                "a tensor is made here; write a number, or a vector that is learnt: p.name or "
                "b.name"
            )
        raise self.refuse(
            f"{name} takes vectors and numbers, got {written(thing)} ({type(thing).__name__})"
        )

    def _number(self, given: Any, name: str, option: str, default: float) -> float:
        if given is None:
            return default
        if isinstance(given, Real):
            return float(given)
        raise self.refuse(f"{option} of {name} must be a number, got {written(given)}")

    def _check_where(self, args: list[Argument]) -> None:
        condition, *chosen = args
        if not isinstance(condition, Value) or not _chooses(condition):
            raise self.refuse("where needs a comparison first: where(c > 0, a, b)")
        for arg in chosen:
            self._refuse_condition(arg, "where")
        if not any(isinstance(arg, Value) for arg in chosen):
            raise self.refuse("where chooses between two numbers; one of them must be a vector")

    def _refuse_condition(self, arg: Argument, name: str) -> None:
        if isinstance(arg, Value) and _chooses(arg):
            raise self.refuse(
                f"a comparison is no vector, and {name} takes vectors; choose with it: "
                f"where(c > 0, a, b)"
            )

    def _refuse_whole(self, thing: Any) -> None:
        if isinstance(thing, Family):
            raise self.refuse(f"{thing} is used as a whole; name the block: {thing}.z")


def _chooses(value: Value) -> bool:
    return value.op in OPERATIONS and OPERATIONS[value.op].chooses


class _Operators:
    """What a cell may do with anything that it is given: operators, torch's functions, methods."""

    _recorder: Recorder

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, given: tuple[Any, ...] = (), options: Any = None
    ) -> Any:
        symbol = _first([*given, *(options or {}).values()])
        assert symbol is not None, "torch calls this for the sake of a symbol"
        return symbol._recorder.call(function, given, options or {})

    def __matmul__(self, right: Any) -> "Symbol":
        return self._recorder.product(self, right)

    def __rmatmul__(self, left: Any) -> "Symbol":
        return self._recorder.product(left, self)

    __hash__ = object.__hash__
    __array_ufunc__ = None  # numbers of NumPy leave the operation to us

    def __bool__(self) -> bool:
        raise self._recorder.refuse(
            "cannot branch on a tensor; use where, sigmoid, maximum or minimum to choose"
        )

    def __iter__(self) -> Any:
        raise self._recorder.refuse(
            "cannot loop over or unpack a tensor; write the equation for whole vectors"
        )

    def __repr__(self) -> str:
        return str(self)

    def __len__(self) -> int:
        raise self._recorder.refuse("len is not known here: a cell is written for any width")


def _first(things: Any) -> _Operators | None:
    """The first symbol among the arguments of a function, lists included."""
    for thing in things:
        found = _first(thing) if isinstance(thing, (list, tuple)) else thing
        if isinstance(found, _Operators):
            return found
    return None


class Family(_Operators):
    """W, R, p or b."""

    def __init__(self, recorder: Recorder, name: str) -> None:
        self._recorder, self._name = recorder, name

    def __getattr__(self, block: str) -> Any:
        if block.startswith("__"):
            raise AttributeError(block)
        kind = Matrix if self._name in MATRICES else Vector
        return kind(self._recorder, self._name, block.rstrip("_"))

    def __str__(self) -> str:
        return self._name


class Matrix(_Operators):
    """W.z or R.z."""

    def __init__(self, recorder: Recorder, family: str, name: str) -> None:
        self._recorder, self._family, self._name = recorder, family, name

    @property
    def _remedy(self) -> str:
        product = f"{self} @ {'x' if self._family == 'W' else 'h'}"
        return (
            f"{self} is a matrix and must stand left of @: {product}; after * or / in "
            f"parentheses, ({product}), because these bind as tightly as @"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self._recorder.refuse(self._remedy)

    def __str__(self) -> str:
        return f"{self._family}.{self._name}"


class Symbol(_Operators):
    """A value of the equations."""

    def __init__(self, recorder: Recorder, value: Value | None) -> None:
        self._recorder, self._held = recorder, value

    @property
    def _value(self) -> Value:
        assert self._held is not None, "a symbol has a value"
        return self._held

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in METHODS:
            return lambda *given, **options: self._recorder.operation(
                METHODS[name], (self, *given), options
            )
        if callable(getattr(torch.Tensor, name, None)):
            raise self._recorder.unknown(f".{name}")
        raise self._recorder.refuse(
            f"{self}.{name} cannot be read here; only W, R, p and b have names in a cell"
        )

    def __str__(self) -> str:
        value = self._value
        known = {"x": "x", "state": value.block} | {f: f"{f}.{value.block}" for f in FAMILIES}
        return known.get(value.op, f"a value of {value.op}")

    def __pos__(self) -> "Symbol":
        return self


class Vector(Symbol):
    """p.z or b.z: a block of the cell from its first use on."""

    def __init__(self, recorder: Recorder, family: str, name: str) -> None:
        super().__init__(recorder, None)
        self._family, self._name = family, name

    @property
    def _value(self) -> Value:
        if self._held is None:
            self._recorder.claim(self._family, self._name)
            self._held = self._recorder.leaf(self._family, self._name)
        return self._held

    def __str__(self) -> str:
        return f"{self._family}.{self._name}"


def written(thing: Any) -> str:
    """A thing as messages call it."""
    return str(thing) if isinstance(thing, (_Operators, str)) else repr(thing)


OPERATORS = {
    **{"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "pow": "pow"},
    **{"gt": "greater", "ge": "greater_equal", "lt": "less", "le": "less_equal", "eq": "equal"},
    **{"neg": "neg", "abs": "abs"},
}
REFUSED = {
    **{"mod": "%", "floordiv": "//", "and": "&", "or": "|", "xor": "^", "lshift": "<<"},
    **{"rshift": ">>", "divmod": "divmod", "getitem": "[ ]", "ne": "!=", "invert": "~"},
}


def _operator(name: str, reflected: bool) -> Callable[..., Symbol]:
    def apply(self: _Operators, *others: Any) -> Symbol:
        given = (*others, self) if reflected else (self, *others)
        return self._recorder.operation(name, given, {})

    return apply


def _refused(sign: str) -> Callable[..., None]:
    def refuse(self: _Operators, *_: Any) -> None:
        raise self._recorder.unknown(sign)

    return refuse


def _install() -> None:
    """Python's operators on whatever a cell is given."""
    for word, name in OPERATORS.items():
        entry = OPERATIONS[name]
        setattr(_Operators, f"__{word}__", _operator(name, reflected=False))
        if len(entry.operands) == 2 and not entry.chooses:
            setattr(_Operators, f"__r{word}__", _operator(name, reflected=True))
    for word, sign in REFUSED.items():
        setattr(_Operators, f"__{word}__", _refused(sign))
        setattr(_Operators, f"__r{word}__", _refused(sign))


_install()

# a name of torch → the operation; every function that has it
METHODS = {call: name for name, entry in OPERATIONS.items() for call in entry.calls}
FUNCTIONS = {
    getattr(home, call): name
    for call, name in METHODS.items()
    for home in (torch, F, torch.special, torch.Tensor)
    if hasattr(home, call)
}
FUNCTIONS |= {
    getattr(torch.Tensor, f"__{word}__"): operation for word, operation in OPERATORS.items()
}
