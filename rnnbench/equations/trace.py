"""Read a cell's equations: run the function once on symbols and keep what it computed as a program.

Knows nothing of engines, or of any particular cell; `rules` says what a cell may not do, `shapes`
how its signature gives values other widths than the units.
"""

import ast
import inspect
import math
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping
from numbers import Real
from types import FrameType, FunctionType, ModuleType
from typing import Any

import torch

from rnnbench.equations.operations import OPERATIONS, larger, smaller
from rnnbench.equations.program import FAMILIES, FIRST, LEARNT, LEAVES, Program, Value, ordered
from rnnbench.equations.rules import Family, Recorder, Symbol, check_text
from rnnbench.equations.shapes import UNITS, Shape, declared, parse, written
from rnnbench.errors import UserError


def trace(function: FunctionType, constants: Mapping[str, Any] | None = None) -> Program:
    """The equations of `function` as a program, with `constants` in place of its keyword-only
    arguments.

    Raises UserError, with file and line, where the function breaks a rule for cells.
    """
    if not inspect.isfunction(function) or function.__name__ == "<lambda>":
        raise UserError(
            f"{getattr(function, '__name__', function)!r} is not a cell; a cell is a Python "
            f"function: def cell(W, R, b, x, h)"
        )
    source = _Source(function)
    check_text(source.tree, source.first, source.place)
    signature = inspect.signature(function)
    known = [n for n, a in signature.parameters.items() if a.kind is a.KEYWORD_ONLY]
    for name in constants or {}:
        if name not in known:
            raise UserError(
                f"{source.place()}: no constant '{name}'; keyword-only arguments: {known or 'none'}"
            )
    arguments = [n for n in signature.parameters if n not in known]
    state = tuple(a for a in arguments if a not in (*FAMILIES, "x"))
    if not state or "x" not in arguments:
        raise UserError(
            f"{source.place()}: a cell takes x and at least one state: def {function.__name__}(W, "
            f"R, b, x, h)"
        )
    given = {n: signature.parameters[n].default for n in known} | dict(constants or {})
    shapes = _declared(signature, state, given, source.place())
    recorder = Recorder(lambda: source.place(source.line()), source.line, shapes)
    leaves = {name: Symbol(recorder, recorder.leaf("state", name)) for name in state}
    leaves["x"] = Symbol(recorder, recorder.leaf("x"))
    symbols = [Family(recorder, name) if name in FAMILIES else leaves[name] for name in arguments]
    try:
        returned = with_numbers(function)(*symbols, **dict(constants or {}))
    except (UserError, KeyboardInterrupt):
        raise
    # a slip in the user's code; a number where a tensor belongs; what symbols cannot do
    except Exception as error:
        raise UserError(
            f"{source.place(source.failed(error))}: {type(error).__name__}: "
            f"{' '.join(str(error).split())}{_remedy(error)}"
        ) from error
    results = _results(returned, state, recorder, source.place())
    for family, name in shapes:
        if (family, name) not in {(v.op, v.block) for v in recorder.values}:
            raise UserError(
                f"{source.place()}: the signature gives {family}.{name} a shape, and nothing reads "
                f"it; remove it there, or use it"
            )
    needed = set(ordered(results))
    learning = set(ordered(results, _has_gradient))
    for value in recorder.values:
        if value.op in FAMILIES and value not in learning:
            written = f"{value.op}.{value.block}"
            why = "only a comparison reads it" if value in needed else "nothing reads it"
            raise UserError(
                f"{source.place(recorder.lines[value])}: {written} would never learn: {why}; use "
                f"it, or remove it"
            )
    values = tuple(v for v in recorder.values if v in needed)
    if not any(v.op == "W" for v in values):
        raise UserError(f"{source.place()}: x is never used; a cell has at least one W.name @ x")
    names = source.names(recorder) | dict(zip(results, state, strict=True))
    starts = _starts(signature, state, source.place())
    return Program(function, state, values, results, names, recorder.shapes, starts)


def _declared(
    signature: inspect.Signature, state: tuple[str, ...], constants: Mapping[str, Any], at: str
) -> dict[tuple[str, str], Shape]:
    """(family, block) or ("state", name) → the shape that the signature writes for it."""
    found: dict[tuple[str, str], Shape] = {}
    for name in (*FAMILIES, *state):
        argument = signature.parameters.get(name)
        text = (
            "" if argument is None or argument.annotation is argument.empty else argument.annotation
        )
        text = text.strip("'\"") if isinstance(text, str) else ""  # a string within one, at times
        try:
            if text and name in state:
                found["state", name] = parse(text, constants)
            elif text:
                blocks = declared(text, constants)
                found |= {(name, block.rstrip("_")): shape for block, shape in blocks.items()}
        except ValueError as error:
            raise UserError(f"{at}: {name}: '{text}': {error}") from None
    return found


def _starts(
    signature: inspect.Signature, state: tuple[str, ...], at: str
) -> dict[str, float | str]:
    """State → its start, where the signature writes one that is not 0."""
    found: dict[str, float | str] = {}
    for name in state:
        start = signature.parameters[name].default
        if start is inspect.Parameter.empty or start == 0:
            continue
        if not (start in (FIRST, LEARNT) or (isinstance(start, Real) and math.isfinite(start))):
            raise UserError(
                f"{at}: {name} starts at {start!r}; a state starts at a number, at '{FIRST}' (1 at "
                f"its first place, else 0) or is '{LEARNT}'"
            )
        found[name] = start if isinstance(start, str) else float(start)
    return found


def _results(
    returned: Any, state: tuple[str, ...], recorder: Recorder, at: str
) -> tuple[Value, ...]:
    """The new states, checked."""
    if isinstance(returned, (list, dict, set)):
        states = ", ".join(state)
        raise UserError(
            f"{at}: returns a {type(returned).__name__}; return the new states with commas "
            f"between them: return {states}"
        )
    symbols = returned if isinstance(returned, tuple) else (returned,)
    if len(symbols) != len(state):
        raise UserError(
            f"{at}: takes states {', '.join(state)} but returns {len(symbols)} values; return the "
            f"new states in that order"
        )
    results = []
    for name, symbol in zip(state, symbols, strict=True):
        if not isinstance(symbol, Symbol):
            what = f"{symbol} as a whole" if isinstance(symbol, Family) else "a constant"
            what = "nothing" if symbol is None else what
            raise UserError(
                f"{at}: returns {what} for {name}; every returned value must be a new state"
            )
        value = recorder.result(symbol, name)
        if not recorder.varies(value):
            raise UserError(f"{at}: the new {name} depends on neither x nor a state")
        asked = recorder.declared.get(("state", name), UNITS)
        if recorder.shapes[value] != asked:
            raise UserError(
                f"{at}: the new {name} has {written(recorder.shapes[value])} numbers, and {name} "
                f"{written(asked)} (n: units); a state keeps its shape"
            )
        results.append(value)
    return tuple(results)


def _remedy(error: Exception) -> str:
    """What to do about a name that the file does not know, where it is one of a cell's own."""
    if not isinstance(error, NameError):
        return ""
    if error.name in (*FAMILIES, "x"):
        return f"; take it as an argument, as in def cell({', '.join(FAMILIES)}, x, h)"
    operations = {call for operation in OPERATIONS.values() for call in operation.calls}
    if error.name in operations and hasattr(torch, error.name):
        return f"; write above the function: from torch import {error.name}"
    return ""


def _has_gradient(value: Value) -> bool:
    """Comparisons have none."""
    return not (value.op in OPERATIONS and OPERATIONS[value.op].chooses)


def with_numbers(function: FunctionType) -> Callable[..., Any]:
    """The function as it is, but with numbers allowed in torch.maximum and torch.minimum, which
    take tensors only; also in the functions of its module that it calls.
    """
    scope = dict(function.__globals__)
    for name, thing in scope.items():
        if isinstance(thing, ModuleType) and thing is torch:
            scope[name] = _Torch()
        elif thing is torch.maximum or thing is torch.minimum:
            scope[name] = larger if thing is torch.maximum else smaller
        elif inspect.isfunction(thing) and thing.__globals__ is function.__globals__:
            scope[name] = _copied(thing, scope)
    return _copied(function, scope)


def _copied(function: FunctionType, scope: dict[str, Any]) -> FunctionType:
    code, closure = function.__code__, function.__closure__
    copy = FunctionType(code, scope, function.__name__, function.__defaults__, closure)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


class _Torch:
    """The module torch, with the maximum and minimum that take numbers."""

    maximum, minimum = staticmethod(larger), staticmethod(smaller)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


class _Source:
    """Where in the source every term stands."""

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        try:
            text, self.first = inspect.getsourcelines(function)
        except OSError:
            raise UserError(
                f"{function.__module__}.{function.__name__} is not a cell: it has no Python "
                f"source to read equations from"
            ) from None
        self.tree = ast.parse(textwrap.dedent("".join(text)))

    def place(self, line: int | None = None) -> str:
        code = self.function.__code__
        return f"{code.co_filename}:{line or self.first} {self.function.__name__}"

    def line(self) -> int:
        """The line of the cell that is being executed."""
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

    def names(self, recorder: Recorder) -> dict[Value, str]:
        """The last value made by each assignment `name = …` is called that name."""
        names = {}
        for statement in ast.walk(self.tree):
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                lines = range(
                    self.first + statement.lineno - 1, self.first + (statement.end_lineno or 0)
                )
                made = [
                    v for v in recorder.values if v.op not in LEAVES and recorder.lines[v] in lines
                ]
                if made:
                    names[made[-1]] = statement.targets[0].id
        return names
