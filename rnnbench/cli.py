"""The command line. Each verb imports what it needs when it runs, so that `rnnbench --help` is instant.

| exit code | meaning |
| --- | --- |
| 0 | done; a run that diverged is a result, too |
| 1 | our own fault: a traceback, and a line that asks to report it |
| 2 | something typed or supplied cannot work: one line, nothing written |
| 3 | some of several runs (`train -m`) failed or were refused; the others are done |
| 130 | interrupted; what was running is saved |
"""

import argparse
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from rnnbench.errors import Interrupted, SomeFailed, UserError, unknown

EPILOG = """examples:
  rnnbench train cell=gru task=copy                      train one cell on one task
  rnnbench train -m cell=lstm,gru task=adding seed=0,1   train every combination
  rnnbench train --help                                  groups and keys of train
  rnnbench show cell=mut1                                its equations and where they come from
  rnnbench curves results/runs/default                   a picture of learning curves
  eval "$(rnnbench -sc install=bash)"                    tab completion (also zsh, fish)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if arguments[:1] in (["-sc"], ["--shell-completion"]):
            return _complete(arguments)
        if arguments[:1] == ["train"]:
            return _train(arguments[1:])
        options = _parser().parse_args(arguments)
        return options.verb(options) or 0
    except (KeyboardInterrupt, Interrupted) as stop:
        print(f"rnnbench: interrupted{f'; {stop}' if str(stop) else ''}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _told(error)


def _told(error: Exception, where: str = "") -> int:
    """Say what went wrong; returns the exit code."""
    if isinstance(error, (UserError, SomeFailed)):
        print(f"rnnbench: {where}{error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 3
    traceback.print_exception(error)
    print(f"rnnbench: {where}this is a fault of rnnbench; please report it with what stands above and what you typed", file=sys.stderr)
    return 1


class _Parser(argparse.ArgumentParser):
    """Refuses in one line, with the nearest name."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise unknown(action.metavar.lower() if isinstance(action.metavar, str) else action.dest, value, action.choices)


def _parser() -> argparse.ArgumentParser:
    from rnnbench import __version__

    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser("rnnbench", description="Compares recurrent cells fairly.", epilog=EPILOG, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"rnnbench {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    verbs.add_parser("train", help="train a cell on a task (-m: every combination); see rnnbench train --help", add_help=False)

    verb = verbs.add_parser("list", help="list cells or tasks")
    verb.add_argument("what", metavar="LISTING", choices=["cells", "tasks"], help="cells or tasks")
    verb.add_argument("overrides", nargs="*", metavar="key=value", help="sizes for the parameter counts: model.hidden=128 task=adding")
    verb.set_defaults(verb=_list)

    verb = verbs.add_parser("show", help="a cell's equations, sources and parameters")
    verb.add_argument("overrides", nargs="+", metavar="cell=NAME", help="the cell, and any key=value of train")
    verb.add_argument("--latex", action="store_true", help="equations as LaTeX")
    verb.add_argument("--verify", action="store_true", help="check the cell against independent references")
    verb.set_defaults(verb=_show)

    verb = verbs.add_parser("data", help="data sets: what there is, fetch, check")
    verb.add_argument("action", metavar="ACTION", choices=["list", "fetch", "check"], help="list, fetch or check (reads every file)")
    verb.add_argument("names", nargs="*", help="files or folders to fetch, as listed; none: all")
    verb.add_argument("--mirror", default=os.environ.get("RNNBENCH_MIRROR"), help="folder or URL asked first (RNNBENCH_MIRROR)")
    verb.add_argument("--data", default=os.environ.get("RNNBENCH_DATA", "~/.cache/rnnbench"), help="the cache (RNNBENCH_DATA)")
    verb.set_defaults(verb=_data)

    verb = verbs.add_parser("curves", help="draw the learning curves of finished runs")
    verb.add_argument("folder", help="a run, or a folder of runs")
    verb.add_argument("--out", help="picture to write (.png, .svg, .pdf); default: curves.png in the folder")
    verb.set_defaults(verb=_curves)
    return parser


def _train(arguments: list[str]) -> int:
    from rnnbench import compose

    again = f"rnnbench train {shlex.join(arguments)}"
    many = bool({"-m", "--multirun"} & set(arguments))  # as Hydra has it
    codes: list[int] = []

    def job(settings: Any, overrides: list[str]) -> None:
        from rnnbench.training import train

        train(settings, overrides, again)

    def report(overrides: list[str], error: Exception | None) -> None:
        codes.append(_told(error, f"{shlex.join(overrides)}: " if many else "") if error else 0)

    compose.run(arguments, job, report)
    if many and any(codes):
        print(f"rnnbench: {codes.count(0)} of {len(codes)} runs are done; what kept the others from it stands above", file=sys.stderr)
    return 3 if len(set(codes)) > 1 else max(codes, default=0)


def _list(options: argparse.Namespace) -> None:
    from rnnbench import showing
    from rnnbench.screen import console

    if options.what == "tasks":
        console.print(showing.list_tasks())
        return
    from rnnbench.compose import compose
    from rnnbench.engine.run import load_task

    settings = compose(options.overrides)
    console.print(showing.list_cells(load_task(settings, print).inputs, settings.model.hidden))


def _show(options: argparse.Namespace) -> int:
    from rnnbench import catalogue, showing
    from rnnbench.compose import compose
    from rnnbench.engine.run import load_task
    from rnnbench.evidence.verify import verify
    from rnnbench.screen import console

    settings = compose(options.overrides)
    cell = settings.cell
    if options.latex:
        print(showing.show_latex(cell))
        return 0
    checks = verify(catalogue.resolve(cell.step, "cell.step"), cell.constants) if options.verify else []
    console.print(showing.show_cell(cell, load_task(settings, print).inputs, settings.model.hidden, checks), soft_wrap=False)
    return 1 if any(check.passed is False for check in checks) else 0


def _data(options: argparse.Namespace) -> int:
    from rnnbench import data
    from rnnbench.screen import files, say
    from rnnbench.settings import Paths

    paths = Paths(results="", data=options.data, mirror=options.mirror)
    if options.action == "fetch":
        for path in data.fetch_all(options.names or None, paths, say):
            say(str(path))
        return 0
    rows = data.listing(paths) if options.action == "list" else data.check(paths)
    files(rows)
    say(f"cache: {options.data}   mirror: {options.mirror or 'none (RNNBENCH_MIRROR)'}")
    return 0 if all(row.state in ("present", "absent", "ok") for row in rows) else 2


def _curves(options: argparse.Namespace) -> None:
    from pathlib import Path

    from rnnbench import figures, records
    from rnnbench.screen import say

    found = records.find(options.folder)
    path = Path(options.out) if options.out else Path(options.folder).expanduser() / "curves.png"
    say(f"{len(found)} run{'s' if len(found) > 1 else ''} drawn in {figures.save(figures.learning_curves(found), path)}")


def _complete(arguments: list[str]) -> int:
    """Tab completion is Hydra's; it knows the keys of train, so the verb is taken out of the line that it completes."""
    typed = os.environ.get("COMP_LINE", "").split(" ")
    if len(typed) == 2:  # the verb itself
        print(" ".join(verb for verb in ("train", "list", "show", "data", "curves") if verb.startswith(typed[1])))
        return 0
    from rnnbench import compose

    compose.complete(arguments, " ".join([typed[0], *typed[2:]]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
