"""The command line: what is common to all verbs, and `train`, whose arguments are Hydra's.

| exit code | meaning |
| --- | --- |
| 0 | done; a run that diverged is a result, too |
| 1 | our own fault: a traceback, and a line that asks to report it |
| 2 | something typed or supplied cannot work: one line, nothing written |
| 3 | some of several runs (`train -m`) failed or were refused; the others are done |
| 130 | interrupted; what was running is saved |
"""

import argparse
import errno
import io
import logging
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from rnnbench.cli.verbs import VERBS
from rnnbench.errors import Interrupted, SomeFailed, UserError, unknown
from rnnbench.formatting import printable
from rnnbench.signals import interrupt, listen, restore

NOT_OURS = (  # what the place that was named causes, not the program
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.ESTALE),
)

EPILOG = """examples:
  rnnbench train cell=gru task=copy                      train one cell on one task
  rnnbench train -m cell=lstm,gru task=adding seed=0,1   train every combination
  rnnbench train --help                                  groups and keys of train
  rnnbench show cell=mut1                                its equations and where they come from
  rnnbench study forgetbias --scale smoke                a question, its runs, verdicts on claims
  rnnbench report results/runs/default                   tables, figures and a page to read
  rnnbench curves results/runs/default                   a picture of learning curves
  eval "$(rnnbench -sc install=bash)"                    tab completion (also zsh, fish)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    logging.raiseExceptions = False  # Hydra logs what is asked for, also into a pipe that is closed
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")  # a terminal without our signs shows ? for them
    before = listen(interrupt)
    try:
        if arguments[:1] in (["-sc"], ["--shell-completion"]):
            return _complete(arguments)
        if arguments[:1] == ["train"]:
            return _train(arguments[1:])
        parser = _parser()
        options, rest = parser.parse_known_args(_with_results(arguments))
        many = options.many  # where words belong that stand behind a flag
        words = [word for word in rest if many and not word.startswith("-")]
        if len(words) < len(rest):
            parser.error(
                f"unrecognized arguments: {' '.join(word for word in rest if word not in words)}"
            )
        if words:
            setattr(options, many, [*getattr(options, many), *words])
        _refuse_long(options)
        return options.verb(options) or 0
    except (KeyboardInterrupt, Interrupted) as stop:
        print(f"rnnbench: interrupted{f'; {stop}' if str(stop) else ''}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _told(error, typed=arguments)
    finally:
        restore(before)


def _with_results(arguments: Sequence[str]) -> list[str]:
    """paths.results=DIR as --results DIR for the verbs that read runs."""
    readers = {v.name for v in VERBS if any("--results" in flags for flags, _ in v.arguments)}
    if not arguments or arguments[0] not in readers:
        return list(arguments)
    given = [word for word in arguments if word.startswith("paths.results=")]
    others = [word for word in arguments if word not in given]
    return [*others, *(f"--results={word.partition('=')[2]}" for word in given)]


def _refuse_long(options: argparse.Namespace) -> None:
    """Refuse paths that cannot be, before anything is computed for them."""
    from rnnbench.settings import refuse_long

    for name, value in vars(options).items():
        if name in ("out", "results", "data", "mirror") and value and "://" not in value:
            refuse_long(f"--{name}", value)


def _told(error: Exception, where: str = "", typed: Sequence[str] = ()) -> int:
    """Say what went wrong; returns the exit code."""
    if isinstance(error, OSError) and error.errno in NOT_OURS and error.filename is not None:
        error = UserError(
            f"cannot use '{str(error.filename)[:200]}': {error.strerror}; make room or "
            f"access there, or name another place"
        )
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # pathlib's words
        paths = [word for word in typed if word.rpartition("=")[2].startswith("~")]
        error = UserError(
            f"a path begins with ~, and that home folder is unknown; write it out, got "
            f"{' '.join(paths or typed)}"
        )
    if isinstance(error, (UserError, SomeFailed)):
        print(f"rnnbench: {printable(f'{where}{error}')}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 3
    traceback.print_exception(error)
    print(
        f"rnnbench: {where}this is a bug in rnnbench; please report the traceback above and your "
        f"command",
        file=sys.stderr,
    )
    return 1


class _Parser(argparse.ArgumentParser):
    """Refuses in one line, with the nearest name."""

    typed: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.typed = args or ()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        told = self.typed and "are required" in message
        got = f", got '{shlex.join(self.typed)}'" if told else ""
        raise UserError(f"{message}{got}; see {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            kind = str(action.metavar).lower() if action.option_strings else action.dest
            raise unknown(kind, value, action.choices)


def _parser() -> argparse.ArgumentParser:
    from rnnbench import __version__

    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        "rnnbench",
        description="Compares recurrent cells fairly.",
        epilog=EPILOG,
        formatter_class=raw,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"rnnbench {__version__}")
    verbs = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", required=True
    )
    verbs.add_parser(
        "train",
        help="train a cell on a task (-m: every combination); see rnnbench train --help",
        add_help=False,
    )

    for verb in VERBS:
        added = verbs.add_parser(verb.name, help=verb.help)
        for flags, options in verb.arguments:
            if options.get("nargs") == "*":  # without a default argparse calls it required
                options = {"default": []} | options
            if "choices" in options:
                options = {"metavar": "|".join(options["choices"])} | options
            added.add_argument(*flags, **options)
        words = [flags[0] for flags, given in verb.arguments if given.get("nargs") in ("*", "+")]
        many = next((name for name in words if not name.startswith("-")), None)
        added.set_defaults(verb=verb.run, many=many)
    return parser


def _train(arguments: list[str]) -> int:
    from rnnbench import compose

    again = f"rnnbench train {shlex.join(arguments)}"
    many = bool({"-m", "--multirun"} & set(arguments))  # as Hydra has it
    codes: list[int] = []
    if "--plan" in arguments:
        from rnnbench.studies.listing import show_sweep

        arguments = [word for word in arguments if word != "--plan"]
        if not many:
            raise UserError(
                "--plan belongs to a sweep (-m); --cfg job shows the settings of a single run"
            )
        compose.PLAN.set(show_sweep)

    def job(settings: Any, overrides: list[str]) -> None:
        from rnnbench.training.train import train

        train(settings, overrides, again)

    def check(settings: Any) -> None:
        from rnnbench.training.run import refuse

        refuse(settings)

    def report(overrides: list[str], error: Exception | None) -> int:
        codes.append(_told(error, f"{shlex.join(overrides)}: " if many else "") if error else 0)
        return codes[-1]

    try:
        compose.run(arguments, job, report, check)
    except SomeFailed:
        if not codes:  # else they know more
            raise
    finally:
        compose.PLAN.set(None)
    if many and any(codes):
        print(
            f"rnnbench: {codes.count(0)} of {len(codes)} runs are done; the errors are listed "
            f"above",
            file=sys.stderr,
        )
    return 3 if len(set(codes)) > 1 else max(codes, default=0)


def _complete(arguments: list[str]) -> int:
    """Tab completion is Hydra's; it knows the keys of train, so the verb is taken out of the line
    that it completes.
    """
    typed = os.environ.get("COMP_LINE", "").split(" ")
    if len(typed) == 2:  # the verb itself
        print(
            " ".join(
                name
                for name in ("train", *(verb.name for verb in VERBS))
                if name.startswith(typed[1])
            )
        )
        return 0
    from rnnbench import compose

    compose.complete(arguments, " ".join([typed[0], *typed[2:]]))
    return 0
