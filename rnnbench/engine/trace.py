"""Read a cell's equations: run the function once on symbols and keep what it did as a graph.

The rules for authors are enforced here, each with file, line and remedy. Knows nothing of tensors' shapes,
of engines, or of any particular cell.
"""

import ast
import inspect
import operator
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import fx
from torch.nn import functional as F

from rnnbench.errors import UserError

MATRICES, VECTORS = ("W", "R"), ("p", "b")
FAMILIES = MATRICES + VECTORS

# The whole language of a step: what it may do besides `@`, each acting on units one by one.
OPERATIONS: dict[Any, str] = {
    operator.add: "add",
    operator.sub: "sub",
    operator.mul: "mul",
    operator.truediv: "div",
    operator.neg: "neg",
    torch.sigmoid: "sigmoid",
    torch.tanh: "tanh",
    torch.relu: "relu",
    torch.exp: "exp",
    torch.maximum: "maximum",
    torch.minimum: "minimum",
    F.logsigmoid: "logsigmoid",
    F.softplus: "softplus",
}


@dataclass(frozen=True)
class Trace:
    """A cell's equations as a graph.

    graph: nodes are placeholders, reads of a block (`W.z`), `@`, and the operations of `OPERATIONS`.
    state: the names of the states; the first is the output.
    names: node → the name that the equations give its value (`z`, `c`; a returned value has its state's name).
    """

    function: Callable[..., Any]
    graph: fx.Graph
    state: tuple[str, ...]
    names: dict[fx.Node, str]

    @property
    def result(self) -> tuple[fx.Node, ...]:
        """The new states, in the order of `state`."""
        value = next(n for n in self.graph.nodes if n.op == "output").args[0]
        return value if isinstance(value, tuple) else (value,)


def block(node: Any) -> tuple[str, str] | None:
    """("R", "z") if the node reads R.z, else None."""
    if isinstance(node, fx.Node) and node.target is getattr:
        family, name = node.args
        return family.target, name.rstrip("_")  # type: ignore[union-attr]
    return None


def trace(function: FunctionType, constants: Mapping[str, Any] | None = None) -> Trace:
    """The equations of `function` as a graph, with `constants` in place of its keyword-only arguments.

    Raises UserError, with file and line, where the function breaks a rule for cells.
    """
    if not inspect.isfunction(function) or function.__name__ == "<lambda>":
        raise UserError(f"{getattr(function, '__name__', function)!r} is not a cell; a cell is a Python function: def cell(W, R, b, x, h)")
    reader = _Reader(function)
    reader.check_text()
    signature = inspect.signature(function)
    known = [n for n, a in signature.parameters.items() if a.kind is a.KEYWORD_ONLY]
    for name in constants or {}:
        if name not in known:
            raise UserError(f"{reader.place()}: no constant '{name}'; keyword-only arguments: {known or 'none'}")
    arguments = [n for n in signature.parameters if n not in known]
    state = tuple(a for a in arguments if a not in (*FAMILIES, "x"))
    if not state or "x" not in arguments:
        raise UserError(f"{reader.place()}: a cell takes x and at least one state: def {function.__name__}(W, R, b, x, h)")
    try:
        graph = reader.trace(function, dict.fromkeys(known, fx.PH) | dict(constants or {}))
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:  # a slip in the user's code; a number where a tensor belongs; what symbols cannot do
        raise UserError(f"{reader.place(reader.failed(error))}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    return reader.checked(graph, state)


class _Reader(fx.Tracer):
    """A tracer that knows where in the source every term stands."""

    def __init__(self, function: FunctionType) -> None:
        super().__init__()
        self.function = function
        self.lines: dict[fx.Node, int] = {}
        text, self.first = inspect.getsourcelines(function)
        self.tree = ast.parse(textwrap.dedent("".join(text)))

    def place(self, line: int | None = None) -> str:
        return f"{self.function.__code__.co_filename}:{line or self.first} {self.function.__name__}"

    def trace(self, root: Any, concrete_args: Any = None) -> fx.Graph:
        defaults = {n: a.default for n, a in inspect.signature(root).parameters.items() if a.kind is a.KEYWORD_ONLY}
        constants = {n: defaults[n] if v is fx.PH else v for n, v in (concrete_args or {}).items()}
        positional = [n for n in inspect.signature(root).parameters if n not in defaults]
        # fx wants positional parameters only; constants are bound before it looks.
        scope: dict[str, Any] = {"cell": root, "constants": constants}
        source = f"def bound({', '.join(positional)}): return cell({', '.join(positional)}, **constants)"
        exec(compile(source, "<cell>", "exec"), scope)
        return super().trace(scope["bound"])

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        self.lines[node] = self._line()
        return node

    def _line(self) -> int:
        frame = sys._getframe()
        while frame is not None and frame.f_code is not self.function.__code__:
            frame = frame.f_back  # type: ignore[assignment]
        return frame.f_lineno if frame else self.first

    def failed(self, error: BaseException) -> int | None:
        """The line of the cell that raised the error."""
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.function.__code__.co_filename]
        return lines[-1] if lines else None

    def to_bool(self, obj: fx.Proxy) -> bool:
        raise UserError(f"{self.place(self._line())}: cannot branch on a tensor; use sigmoid, maximum or minimum to choose")

    def iter(self, obj: fx.Proxy) -> Any:
        raise UserError(f"{self.place(self._line())}: cannot loop over or unpack a tensor; write the equation for whole vectors")

    def check_text(self) -> None:
        for node in ast.walk(self.tree):
            target = node.target if isinstance(node, ast.AugAssign) else node
            stored = isinstance(target, (ast.Subscript, ast.Attribute)) and isinstance(target.ctx, ast.Store)
            if stored or isinstance(node, ast.AugAssign):
                written, line = ast.unparse(target), self.first + target.lineno - 1
                name = written.split("[")[0].split(".")[0]
                raise UserError(f"{self.place(line)}: {written} is changed in place; write {name} = … for the new value")

    def checked(self, graph: fx.Graph, state: tuple[str, ...]) -> Trace:
        used: set[tuple[str, str]] = set()
        varying: set[Any] = set()  # what differs between the examples of a batch
        for node in graph.nodes:
            at = self.place(self.lines.get(node))
            if node.target in (*state, "x") or varying.intersection(node.all_input_nodes):
                varying.add(node)
            if node.target is getattr and node.args[0].target not in FAMILIES:
                raise UserError(f"{at}: {self._written(node.args[0])}.{node.args[1]} cannot be read here; only W, R, p and b have names in a cell")
            if owned := block(node):
                self._check_block(node, owned, used, at)
            elif node.target is operator.matmul:
                self._check_product(node, varying, at)
            elif node.op == "call_method":
                self._check_method(node, at)
            elif node.op == "call_function" and node.target not in OPERATIONS:
                module = getattr(node.target, "__module__", None) or ""
                name = f"{module}.{node.target.__name__}" if module.startswith("torch.") else node.target.__name__
                raise UserError(f"{at}: {name} is not an operation of cells; there are @ + - * / and {', '.join(sorted(set(OPERATIONS.values())))}")
            elif node.op == "get_attr":
                raise UserError(f"{at}: a tensor is made here; write a number, or a vector that is learnt: p.name or b.name")
            elif node.op == "placeholder" and node.target in (*FAMILIES, "x"):
                self._check_argument(node)
        result = Trace(self.function, graph, state, {})
        if len(result.result) != len(state):
            raise UserError(
                f"{self.place()}: takes states {', '.join(state)} but returns {len(result.result)} values; return the new states in that order"
            )
        if not all(isinstance(n, fx.Node) for n in result.result):
            raise UserError(f"{self.place()}: returns a constant; every returned value must be a new state")
        for name, node in zip(state, result.result, strict=True):
            if node not in varying:
                raise UserError(f"{self.place()}: the new {name} depends on neither x nor a state")
        result.names.update(self._names(graph) | dict(zip(result.result, state, strict=True)))
        return result

    @staticmethod
    def _check_block(node: fx.Node, owned: tuple[str, str], used: set[tuple[str, str]], at: str) -> None:
        written = ".".join(owned)
        if owned in used:
            raise UserError(f"{at}: {written} is used a second time; give this term a block of its own, or name the product and reuse that")
        used.add(owned)
        for user in node.users:
            if owned[0] in MATRICES and not (user.target is operator.matmul and user.args[0] is node):
                product = f"{written} @ {'x' if owned[0] == 'W' else 'h'}"
                remedy = f"must stand left of @: {product}; after * or / in parentheses, ({product}), because these bind as tightly as @"
                raise UserError(f"{at}: {written} is a matrix and {remedy}")

    def _check_product(self, node: fx.Node, varying: set[Any], at: str) -> None:
        left, right = node.args
        owned = block(left)
        if owned is None or owned[0] not in MATRICES:
            written = ".".join(owned) if owned else self._written(left)
            raise UserError(f"{at}: left of @ must be W.name or R.name, got {written}; use * for vectors")
        if not isinstance(right, fx.Node) or (owned[0] == "W") != (right.target == "x"):
            wrong = self._written(right)
            rule = "W multiplies x" if owned[0] == "W" else "R multiplies a state or a gate"
            raise UserError(f"{at}: {'.'.join(owned)} must not multiply {wrong}: {rule}")
        if right not in varying:
            raise UserError(f"{at}: {'.'.join(owned)} multiplies what depends on neither x nor a state; a bias does the same")

    @staticmethod
    def _written(value: Any) -> str:
        if isinstance(value, fx.Node) and value.target is getattr:
            return f"{_Reader._written(value.args[0])}.{value.args[1]}"
        return str(value.target) if isinstance(value, fx.Node) and value.op == "placeholder" else str(value)

    @staticmethod
    def _check_method(node: fx.Node, at: str) -> None:
        if node.target.endswith("_"):  # type: ignore[union-attr]
            raise UserError(f"{at}: .{node.target}() changes a tensor in place; use the function that returns a new one")
        raise UserError(f"{at}: .{node.target}() is a method; write the function, as in tanh(c), from torch import tanh")

    def _check_argument(self, node: fx.Node) -> None:
        """x and the families, wherever they are used as they stand."""
        for user in node.users:
            at = self.place(self.lines.get(user))
            if node.target == "x" and user.target is not operator.matmul:
                raise UserError(f"{at}: x is used outside W.name @ x; project it, because inputs and states may differ in width")
            if node.target != "x" and user.target is not getattr and user.op != "call_method":
                raise UserError(f"{at}: {node.target} is used as a whole; name the block: {node.target}.z")
        if node.target == "x" and not node.users:
            raise UserError(f"{self.place()}: x is never used; a cell has at least one W.name @ x")

    def _names(self, graph: fx.Graph) -> dict[fx.Node, str]:
        """The last value made by each assignment `name = …` is called that name."""
        names = {}
        for statement in ast.walk(self.tree):
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                lines = range(self.first + statement.lineno - 1, self.first + (statement.end_lineno or 0))
                made = [n for n in graph.nodes if n.op == "call_function" and self.lines[n] in lines]
                if made:
                    names[made[-1]] = statement.targets[0].id
        return names
