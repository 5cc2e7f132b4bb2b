"""What every table of runs has, in this order; `test.…` and `final.…`, the settings and
`provenance.…` follow. No pandas.
"""

from typing import Any

KINDS: dict[str, Any] = {  # as pandas calls them; None: as it finds them
    "study": None,
    "task": None,
    "cell": None,
    "seed": int,
    "id": None,
    "status": None,
    "reason": None,
    "metric": None,
    "goal": None,
    "value": float,
    "valid": float,
    "selected_at": float,
    "solved": "boolean",
    "solved_at": float,
    "diverged": bool,
    "params": float,
    "hidden": float,
    "steps": float,
    "seconds_train": float,
    "seconds_eval": float,
    "steps_per_s": float,
    "peak_memory_bytes": float,
    "engine": None,
    "folder": None,
    "command": None,
    "baseline": float,
    "target": float,
    "seconds_warmup": float,
    "sequences_per_s": float,
    "flops": float,
    "improved": float,
    "gain": float,
    "seconds_own": float,
}
COLUMNS = tuple(KINDS)
