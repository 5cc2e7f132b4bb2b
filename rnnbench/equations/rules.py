"""The rules for authors of cells. Each breach is a UserError with file, line and remedy."""

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

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


def block(node: Any) -> tuple[str, str] | None:
    """("R", "z") if the node reads R.z, else None."""
    if isinstance(node, fx.Node) and node.target is getattr:
        family, name = node.args
        return str(cast(fx.Node, family).target), str(name).rstrip("_")
    return None


@dataclass(frozen=True)
class Rules:
    """place(where) is "file:line name" of a node, of a line, or (None) of the whole function."""

    place: Callable[..., str]

    def check_text(self, tree: ast.AST, first: int) -> None:
        """What a trace cannot see: assignments in place.

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
                    f"{self.place(line)}: {written} is changed in place; write {name} = … for the "
                    f"new value"
                )

    def check_graph(
        self, graph: fx.Graph, state: tuple[str, ...], results: tuple[Any, ...]
    ) -> None:
        """The blocks, products and operations of the body, and the new states."""
        used: set[tuple[str, str]] = set()
        varying: set[Any] = set()  # what differs between the examples of a batch
        for node in graph.nodes:
            at = self.place(node)
            if node.target in (*state, "x") or varying.intersection(node.all_input_nodes):
                varying.add(node)
            if node.target is getattr and node.args[0].target not in FAMILIES:
                raise UserError(
                    f"{at}: {self._written(node.args[0])}.{node.args[1]} cannot be read here; "
                    f"only W, R, p and b have names in a cell"
                )
            if owned := block(node):
                self._check_block(node, owned, used, at)
            elif node.target is operator.matmul:
                self._check_product(node, varying, at)
            elif node.op == "call_method":
                self._check_method(node, at)
            elif node.op == "call_function" and node.target not in OPERATIONS:
                module = getattr(node.target, "__module__", None) or ""
                name = (
                    f"{module}.{node.target.__name__}"
                    if module.startswith("torch.")
                    else node.target.__name__
                )
                raise UserError(
                    f"{at}: {name} is not an operation of cells; there are @ + - * / and "
                    f"{', '.join(sorted(set(OPERATIONS.values())))}"
                )
            elif node.op == "get_attr":
                raise UserError(
                    f"{at}: a tensor is made here; write a number, or a vector that is learnt: "
                    f"p.name or b.name"
                )
            elif node.op == "placeholder" and node.target in (*FAMILIES, "x"):
                self._check_argument(node)
        self._check_results(results, state, varying)

    @staticmethod
    def _check_block(
        node: fx.Node, owned: tuple[str, str], used: set[tuple[str, str]], at: str
    ) -> None:
        written = ".".join(owned)
        if owned in used:
            raise UserError(
                f"{at}: {written} is used a second time; give this term a block of its own, or "
                f"name the product and reuse that"
            )
        used.add(owned)
        for user in node.users:
            if owned[0] in MATRICES and not (
                user.target is operator.matmul and user.args[0] is node
            ):
                product = f"{written} @ {'x' if owned[0] == 'W' else 'h'}"
                remedy = (
                    f"must stand left of @: {product}; after * or / in parentheses, "
                    f"({product}), because these bind as tightly as @"
                )
                raise UserError(f"{at}: {written} is a matrix and {remedy}")

    def _check_product(self, node: fx.Node, varying: set[Any], at: str) -> None:
        left, right = node.args
        owned = block(left)
        if owned is None or owned[0] not in MATRICES:
            written = ".".join(owned) if owned else self._written(left)
            raise UserError(
                f"{at}: left of @ must be W.name or R.name, got {written}; use * for vectors"
            )
        if not isinstance(right, fx.Node) or (owned[0] == "W") != (right.target == "x"):
            wrong = self._written(right)
            rule = "W multiplies x" if owned[0] == "W" else "R multiplies a state or a gate"
            raise UserError(f"{at}: {'.'.join(owned)} must not multiply {wrong}: {rule}")
        if right not in varying:
            raise UserError(
                f"{at}: {'.'.join(owned)} multiplies what depends on neither x nor a state; a "
                f"bias does the same"
            )

    @staticmethod
    def _written(value: Any) -> str:
        if isinstance(value, fx.Node) and value.target is getattr:
            return f"{Rules._written(value.args[0])}.{value.args[1]}"
        return (
            str(value.target)
            if isinstance(value, fx.Node) and value.op == "placeholder"
            else str(value)
        )

    @staticmethod
    def _check_method(node: fx.Node, at: str) -> None:
        if node.target.endswith("_"):  # type: ignore[union-attr]
            raise UserError(
                f"{at}: .{node.target}() changes a tensor in place; use the function that returns "
                f"a new one"
            )
        raise UserError(
            f"{at}: .{node.target}() is a method; write the function, as in tanh(c), from torch "
            f"import tanh"
        )

    def _check_argument(self, node: fx.Node) -> None:
        """x and the families, wherever they are used as they stand."""
        for user in node.users:
            at = self.place(user)
            if node.target == "x" and user.target is not operator.matmul:
                raise UserError(
                    f"{at}: x is used outside W.name @ x; project it, because inputs and states "
                    f"may differ in width"
                )
            if node.target != "x" and user.target is not getattr and user.op != "call_method":
                raise UserError(
                    f"{at}: {node.target} is used as a whole; name the block: {node.target}.z"
                )
        if node.target == "x" and not node.users:
            raise UserError(f"{self.place()}: x is never used; a cell has at least one W.name @ x")

    def _check_results(
        self, results: tuple[Any, ...], state: tuple[str, ...], varying: set[Any]
    ) -> None:
        if len(results) != len(state):
            raise UserError(
                f"{self.place()}: takes states {', '.join(state)} but returns {len(results)} "
                f"values; return the new states in that order"
            )
        if not all(isinstance(n, fx.Node) for n in results):
            raise UserError(
                f"{self.place()}: returns a constant; every returned value must be a new state"
            )
        for name, node in zip(state, results, strict=True):
            if node not in varying:
                raise UserError(f"{self.place()}: the new {name} depends on neither x nor a state")
