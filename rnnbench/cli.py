"""The command line. Each verb imports what it needs when it runs, so that `rnnbench --help` is instant.

Exit codes: 0 done; 1 our own fault; 2 something typed or supplied cannot work; 130 interrupted, and saved.
"""

import argparse
import os
import sys
from collections.abc import Sequence

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
    if arguments[:1] in (["-sc"], ["--shell-completion"]):
        return _complete(arguments)
    if arguments[:1] == ["train"]:
        return _guarded(_train, arguments[1:])
    options = _parser().parse_args(arguments)
    return _guarded(options.verb, options)


def _parser() -> argparse.ArgumentParser:
    from rnnbench import __version__

    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("rnnbench", description="Compares recurrent cells fairly.", epilog=EPILOG, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"rnnbench {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    verbs.add_parser("train", help="train a cell on a task (-m: every combination); see rnnbench train --help", add_help=False)

    verb = verbs.add_parser("list", help="list cells or tasks")
    verb.add_argument("what", choices=["cells", "tasks"])
    verb.add_argument("overrides", nargs="*", metavar="key=value", help="sizes for the parameter counts: model.hidden=128 task=adding")
    verb.set_defaults(verb=_list)

    verb = verbs.add_parser("show", help="a cell's equations, sources and parameters")
    verb.add_argument("overrides", nargs="+", metavar="cell=NAME", help="the cell, and any key=value of train")
    verb.add_argument("--latex", action="store_true", help="equations as LaTeX")
    verb.add_argument("--verify", action="store_true", help="check the cell against independent references")
    verb.set_defaults(verb=_show)

    verb = verbs.add_parser("data", help="data sets: what there is, fetch, check")
    verb.add_argument("action", choices=["list", "fetch", "check"])
    verb.add_argument("names", nargs="*", help="files or folders to fetch, as listed; none: all")
    verb.add_argument("--mirror", default=os.environ.get("RNNBENCH_MIRROR"), help="folder or URL asked first (RNNBENCH_MIRROR)")
    verb.add_argument("--data", default=os.environ.get("RNNBENCH_DATA", "~/.cache/rnnbench"), help="the cache (RNNBENCH_DATA)")
    verb.set_defaults(verb=_data)

    verb = verbs.add_parser("curves", help="draw the learning curves of finished runs")
    verb.add_argument("folder", help="a run, or a folder of runs")
    verb.add_argument("--out", help="picture to write (.png, .svg, .pdf); default: curves.png in the folder")
    verb.set_defaults(verb=_curves)
    return parser


def _guarded(verb, given) -> int:  # type: ignore[no-untyped-def]
    """Run a verb; a user's error is one line and exit code 2."""
    from rnnbench.errors import UserError

    try:
        return verb(given) or 0
    except UserError as error:
        print(f"rnnbench: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("rnnbench: interrupted", file=sys.stderr)
        return 130


def _train(arguments: list[str]) -> int:
    from rnnbench import compose
    from rnnbench.training import Trainer

    trainer = Trainer(arguments)
    compose.run(arguments, trainer)
    return trainer.exit_code


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
    from rnnbench import showing
    from rnnbench.compose import compose
    from rnnbench.engine.run import load_task

    settings = compose(options.overrides)
    inputs = load_task(settings, print).inputs
    showing.show_cell(settings.cell, inputs, settings.model.hidden, latex=options.latex)
    return showing.verify_cell(settings.cell) if options.verify else 0


def _data(options: argparse.Namespace) -> None:
    from rnnbench import data, showing
    from rnnbench.screen import console, say
    from rnnbench.settings import Paths

    paths = Paths(results="", data=options.data, mirror=options.mirror)
    if options.action == "fetch":
        for path in data.fetch_all(options.names or None, paths, say):
            say(str(path))
        return
    rows = data.listing(paths) if options.action == "list" else data.check(paths)
    console.print(showing.list_data(rows))
    say(f"cache: {options.data}   mirror: {options.mirror or 'none (set RNNBENCH_MIRROR)'}")


def _curves(options: argparse.Namespace) -> None:
    from pathlib import Path

    from rnnbench import figures, records
    from rnnbench.screen import say

    found = records.find(options.folder)
    path = Path(options.out) if options.out else Path(options.folder).expanduser() / "curves.png"
    say(f"{len(found)} run(s) drawn in {figures.save(figures.learning_curves(found), path)}")


def _complete(arguments: list[str]) -> int:
    """Tab completion is Hydra's; it knows the keys of train, so `train` is taken out of the line it completes."""
    if line := os.environ.get("COMP_LINE"):
        os.environ["COMP_LINE"] = line.replace("rnnbench train", "rnnbench", 1)
    from rnnbench import compose

    return _guarded(lambda given: compose.run(given, lambda *_: None), arguments)


if __name__ == "__main__":
    sys.exit(main())
