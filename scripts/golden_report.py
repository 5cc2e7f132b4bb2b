"""Rewrite tests/golden/report.md: the report of a small invented study, as Markdown.

    python scripts/golden_report.py

A change of its words is one to read; a change of its numbers needs a reason, and a line under
**Numbers** in the changelog.
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden" / "report.md"
STUDY = {
    "cells": ("lstm", "lstm_b", "lstm_f", "tanh"),
    "tasks": ("adding", "xml"),
    "seeds": range(6),
    "rates": (0.005, 0.05),
}


def write_golden(folder: Path) -> Path:
    """Write the study and its report below `folder`; returns the page, which has the Markdown
    beside it.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    from synthetic import make_study

    from rnnbench.report.render import write_report

    return write_report([str(make_study(folder / "golden", **STUDY))])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        GOLDEN.write_bytes(write_golden(Path(folder)).with_name("report.md").read_bytes())
    print(f"wrote {GOLDEN}")
