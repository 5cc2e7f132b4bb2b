"""What a record looks like, whoever wrote it: who reads one need not ask again. No torch.

The numbers of a stranger's record may be wrong; that they are numbers, where numbers belong, is
settled here.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], bool]
DEEPEST = 20  # levels of lists and dictionaries
PLAIN = (str, bool, type(None))
LARGEST = 10**18  # of whole numbers: what arrays can hold
SECTIONS = ("cell", "task", "model", "optim", "train")
ENDED = ("finished", "stopped", "diverged")  # these are results; "failed" is none


def is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return abs(value) <= LARGEST
    return isinstance(value, float) and math.isfinite(value)


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def is_each(check: Check) -> Check:
    """A dictionary of such values."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def is_like(form: Mapping[str, Check]) -> Check:
    """A dictionary that has at least these keys, with such values."""
    return lambda value: (
        isinstance(value, dict)
        and all(key in value and check(value[key]) for key, check in form.items())
    )


def is_setting(value: Any) -> bool:
    """A text, a number, null, true or false, or a list or dictionary of such."""
    if not isinstance(value, (dict, list)):
        return type(value) in PLAIN or is_number(value)
    for item in value.values() if isinstance(value, dict) else value:
        if type(item) not in PLAIN and not is_setting(item):  # most are: 74 of a record
            return False
    return True


is_scores = is_each(is_maybe(is_number))
ALWAYS: dict[str, Check] = {
    "id": is_text,
    "study": is_text,
    "cell": is_text,
    "task": is_text,
    "seed": is_count,
    "status": is_text,
    "settings": is_like(
        {
            "cell": is_like({"name": is_text, "step": is_text, "forget_bias": is_maybe(is_number)}),
            "task": is_like({"name": is_text, "type": is_text}),
            "model": is_like({"hidden": is_count, "layers": is_count}),
            "optim": is_like({"lr": is_number}),
            "train": is_like({"steps": is_count, "batch": is_count}),
            "seed": is_count,
        }
    ),
}
OF_RESULTS: dict[str, Check] = {
    "steps": is_count,
    "best": is_maybe(is_like({"step": is_count, "valid": is_scores, "test": is_scores})),
    "final": is_like({"valid": is_scores, "test": is_scores}),
    "primary": is_like(
        {"name": is_text, "goal": ("min", "max").__contains__, "value": is_maybe(is_number)}
    ),
    "baseline": is_scores,
    "target": is_maybe(is_number),
    "solved_at": is_maybe(is_count),
    "seconds": is_each(is_number),
    "hidden": is_count,
    "params": is_count,
    "replicas": lambda value: is_count(value) and value > 0,
    "engine": is_text,
    "provenance": lambda value: (
        isinstance(value, dict) and isinstance(value.get("versions", {}), dict)
    ),
}
IF_THERE: dict[str, Check] = {  # others than results may lack them, or have null
    "reason": is_text,
    "flops": is_count,
    "last_fifth": is_scores,
    "throughput": is_scores,
    "peak_memory_bytes": is_count,
    "checksums": is_each(is_text),
}


def flaw(record: Mapping[str, Any]) -> str:
    """Which part of a record does not look like one; "" for none."""
    wanted = dict(ALWAYS)
    wanted |= {key: is_maybe(check) for key, check in IF_THERE.items() if key in record}
    if record.get("status") in ENDED:
        wanted |= OF_RESULTS
    else:
        wanted |= {key: is_maybe(check) for key, check in OF_RESULTS.items() if key in record}
    for key, check in wanted.items():
        if key not in record:
            return f"it lacks {key}"
        if not check(record[key]) or (key == "settings" and not is_setting(record[key])):
            return f"its {key} is {str(record[key])[:60]}"
    if record.get("status") in ENDED:
        best, name = record["best"], record["primary"]["name"]
        scores = [record["final"]["test"]] if best is None else [best["valid"], best["test"]]
        if not all(name in values for values in scores):
            return f"it has no score '{name}'"
    return ""


def is_shallow(value: Any) -> bool:
    """Whether lists and dictionaries are nested in DEEPEST levels at most, with texts for keys."""
    level = [value]
    for _ in range(DEEPEST):
        inner = [part for part in level if isinstance(part, (dict, list))]
        if not inner:
            return True
        level = [
            item
            for part in inner
            for item in (part.values() if isinstance(part, dict) else part)
            if isinstance(item, (dict, list))
        ]
    return not level
