"""Functions that torch.compile calls as they are.

Between two pieces that it can trace it keeps only what the later one reads: memory whose address
alone is handed to C++ would be freed before the call.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

REASON = "a cell of rnnbench is computed by compiled C++; engine='loop' can be traced"


def untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, never looked into by torch.compile.

    torch._dynamo takes seconds to import: it is asked only where it is in use.
    """
    kept: list[Callable[..., Any]] = []

    @wraps(function)
    def call(*arguments: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return function(*arguments)
        if not kept:
            kept.append(torch.compiler.disable(function, reason=REASON))  # type: ignore[no-untyped-call]
        return kept[0](*arguments)

    return call
