"""Read a cell's equations: run the function once on symbols and keep what it did as a graph.

Knows nothing of tensors' shapes, of engines, or of any particular cell; `rules` says what a cell
may not do.
"""

import ast
import inspect
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType, FunctionType
from typing import Any

from torch import fx

from rnnbench.equations.rules import FAMILIES, Rules
from rnnbench.errors import UserError


@dataclass(frozen=True)
class Trace:
    """A cell's equations as a graph.

    graph: nodes are placeholders, reads of a block (`W.z`), `@`, and the operations of
        `OPERATIONS`.
    state: the names of the states; the first is the output.
    names: node → the name that the equations give its value (`z`, `c`; a returned value has its
        state's name).
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


def trace(function: FunctionType, constants: Mapping[str, Any] | None = None) -> Trace:
    """The equations of `function` as a graph, with `constants` in place of its keyword-only
    arguments.

    Raises UserError, with file and line, where the function breaks a rule for cells.
    """
    if not inspect.isfunction(function) or function.__name__ == "<lambda>":
        raise UserError(
            f"{getattr(function, '__name__', function)!r} is not a cell; a cell is a Python "
            f"function: def cell(W, R, b, x, h)"
        )
    reader = _Reader(function)
    rules = Rules(reader.place)
    rules.check_text(reader.tree, reader.first)
    signature = inspect.signature(function)
    known = [n for n, a in signature.parameters.items() if a.kind is a.KEYWORD_ONLY]
    for name in constants or {}:
        if name not in known:
            raise UserError(
                f"{reader.place()}: no constant '{name}'; keyword-only arguments: {known or 'none'}"
            )
    arguments = [n for n in signature.parameters if n not in known]
    state = tuple(a for a in arguments if a not in (*FAMILIES, "x"))
    if not state or "x" not in arguments:
        raise UserError(
            f"{reader.place()}: a cell takes x and at least one state: def {function.__name__}(W, "
            f"R, b, x, h)"
        )
    try:
        defaults = {n: signature.parameters[n].default for n in known}
        graph = reader.trace(function, defaults | dict(constants or {}))
    except (UserError, KeyboardInterrupt):
        raise
    # a slip in the user's code; a number where a tensor belongs; what symbols cannot do
    except Exception as error:
        raise UserError(
            f"{reader.place(reader.failed(error))}: {type(error).__name__}: "
            f"{' '.join(str(error).split())}"
        ) from error
    result = Trace(function, graph, state, {})
    rules.check_graph(graph, state, result.result)
    result.names.update(reader.names(graph) | dict(zip(result.result, state, strict=True)))
    return result


class _Reader(fx.Tracer):
    """A tracer that knows where in the source every term stands."""

    def __init__(self, function: FunctionType) -> None:
        super().__init__()
        self.function = function
        self.lines: dict[fx.Node, int] = {}
        try:
            text, self.first = inspect.getsourcelines(function)
        except OSError:
            raise UserError(
                f"{function.__module__}.{function.__name__} is not a cell: it has no Python "
                f"source to read equations from"
            ) from None
        self.tree = ast.parse(textwrap.dedent("".join(text)))

    def place(self, where: fx.Node | int | None = None) -> str:
        line = self.lines.get(where) if isinstance(where, fx.Node) else where
        return f"{self.function.__code__.co_filename}:{line or self.first} {self.function.__name__}"

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        constants = concrete_args or {}
        positional = [n for n in inspect.signature(root).parameters if n not in constants]
        # fx wants positional parameters only; constants are bound before it looks.
        scope: dict[str, Any] = {"cell": root, "constants": constants}
        source = (
            f"def bound({', '.join(positional)}): return cell({', '.join(positional)}, **constants)"
        )
        exec(compile(source, "<cell>", "exec"), scope)
        return super().trace(scope["bound"])

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        self.lines[node] = self._line()
        return node

    def _line(self) -> int:
        frame: FrameType | None = sys._getframe()
        while frame is not None and frame.f_code is not self.function.__code__:
            frame = frame.f_back
        return frame.f_lineno if frame else self.first

    def failed(self, error: BaseException) -> int | None:
        """The line of the cell that raised the error."""
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == self.function.__code__.co_filename
        ]
        return lines[-1] if lines else None

    def to_bool(self, obj: fx.Proxy) -> bool:
        raise UserError(
            f"{self.place(self._line())}: cannot branch on a tensor; use sigmoid, maximum or "
            f"minimum to choose"
        )

    def iter(self, obj: fx.Proxy) -> Any:
        raise UserError(
            f"{self.place(self._line())}: cannot loop over or unpack a tensor; write the equation "
            f"for whole vectors"
        )

    def names(self, graph: fx.Graph) -> dict[fx.Node, str]:
        """The last value made by each assignment `name = …` is called that name."""
        names = {}
        for statement in ast.walk(self.tree):
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                lines = range(
                    self.first + statement.lineno - 1, self.first + (statement.end_lineno or 0)
                )
                made = [
                    n for n in graph.nodes if n.op == "call_function" and self.lines[n] in lines
                ]
                if made:
                    names[made[-1]] = statement.targets[0].id
        return names
