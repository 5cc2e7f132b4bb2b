"""The verbs beside `train`: what each takes and what it does. Each imports what it needs when it runs, so that help is instant."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

Options = argparse.Namespace
Argument = tuple[tuple[str, ...], dict[str, Any]]  # what argparse's add_argument takes


class Verb(NamedTuple):
    """run(options) returns the exit code; None is 0."""

    name: str
    help: str
    run: Callable[[Options], int | None]
    arguments: tuple[Argument, ...]


def argument(*flags: str, **options: Any) -> Argument:
    return flags, options


def verb(name: str, help: str, run: Callable[[Options], int | None], *arguments: Argument) -> Verb:
    return Verb(name, help, run, arguments)


def listing(options: Options) -> None:
    from rnnbench import showing
    from rnnbench.screen import console

    if options.what == "tasks":
        console.print(showing.list_tasks())
        return
    from rnnbench.compose import compose
    from rnnbench.engine.run import load_task

    settings = compose(options.overrides)
    console.print(showing.list_cells(load_task(settings, print).inputs, settings.model.hidden))


def show(options: Options) -> int:
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
    if options.source:
        print(showing.show_source(cell))
        return 0
    checks = verify(catalogue.resolve(cell.step, "cell.step"), cell.constants) if options.verify else []
    console.print(showing.show_cell(cell, load_task(settings, print).inputs, settings.model.hidden, checks), soft_wrap=False)
    return 1 if any(check.passed is False for check in checks) else 0


def data(options: Options) -> int:
    from rnnbench import data as files
    from rnnbench import screen
    from rnnbench.settings import Paths

    cache = options.data or os.environ.get("RNNBENCH_DATA", "~/.cache/rnnbench")
    paths = Paths(results="", data=cache, mirror=options.mirror or os.environ.get("RNNBENCH_MIRROR"))
    if options.action == "fetch":
        for path in files.fetch_all(options.names or None, paths, screen.say):
            screen.say(str(path))
        return 0
    rows = files.listing(paths) if options.action == "list" else files.check(paths)
    screen.files(rows)
    screen.say(f"cache: {paths.data}   mirror: {paths.mirror or 'none (RNNBENCH_MIRROR)'}")
    return 0 if all(row.state in ("present", "absent", "ok") for row in rows) else 2


def status(options: Options) -> None:
    from rnnbench.sweep import status

    status.show(status.study_folder(options.study, options.results))


def collect(options: Options) -> None:
    from rnnbench.report.collect import collect, restore
    from rnnbench.screen import say
    from rnnbench.sweep.status import study_folder

    if options.restore:
        say(f"{restore(options.study, options.results)} runs put back into {options.results}")
        return
    study = study_folder(options.study, options.results)
    out = options.out or study / "runs.jsonl"
    say(f"{collect(study, out)} runs in {out}")


def report(options: Options) -> None:
    from rnnbench.report.render import write_report
    from rnnbench.screen import say

    say(str(write_report(options.places, Path(options.out) if options.out else None, options.baseline)))


def curves(options: Options) -> None:
    from rnnbench import figures, records
    from rnnbench.screen import say

    found = records.find(options.folder)
    path = Path(options.out) if options.out else Path(options.folder).expanduser() / "curves.png"
    say(f"{len(found)} run{'s' if len(found) > 1 else ''} drawn in {figures.save(figures.learning_curves(found), path)}")


def bench(options: Options) -> None:
    from rnnbench.bench import run

    run(options.cells, options.shapes, options.peers, options.repeats, options.threads, options.out)


def probe(options: Options) -> None:
    from rnnbench.inside.probe import probe

    probe(options.asked, options.multirun, options.out)


def evaluate(options: Options) -> None:
    from rnnbench.trained.scores import run_eval

    run_eval(options.arguments, options.out, options.weights)


def sample(options: Options) -> None:
    from rnnbench.trained.sample import run_sample

    run_sample(options.folder, options.prompt, options.length, options.temperature, options.seed, options.out, options.weights)


def export(options: Options) -> None:
    from rnnbench.trained.export import run_export

    run_export(options.folder, options.to, options.out, options.weights)


RESULTS = argument("--results", default="results/runs", help="paths.results (default: results/runs)")
STUDY = argument("study", help="its name in paths.results, or its folder")
RUN = argument("folder", metavar="RUN_DIR", help="the folder of a run")
WEIGHTS = argument("--weights", metavar="WEIGHTS", choices=["best", "last"], default="best", help="best in validation (default) or last")

VERBS = (
    verb(
        "list",
        "list cells or tasks",
        listing,
        argument("what", metavar="LISTING", choices=["cells", "tasks"], help="cells or tasks"),
        argument("overrides", nargs="*", metavar="key=value", help="sizes for the parameter counts: model.hidden=128 task=adding"),
    ),
    verb(
        "show",
        "a cell's equations, sources and parameters",
        show,
        argument("overrides", nargs="+", metavar="cell=NAME", help="the cell, and any key=value of train"),
        argument("--latex", action="store_true", help="equations as LaTeX"),
        argument("--source", action="store_true", help="the C++ that the native engine compiles for it"),
        argument("--verify", action="store_true", help="check the cell against independent references"),
    ),
    verb(
        "data",
        "data sets: what there is, fetch, check",
        data,
        argument("action", metavar="ACTION", choices=["list", "fetch", "check"], help="list, fetch or check (reads every file)"),
        argument("names", nargs="*", help="files or folders to fetch, as listed; none: all"),
        argument("--mirror", help="folder or URL asked first (RNNBENCH_MIRROR)"),
        argument("--data", help="the cache (RNNBENCH_DATA)"),
    ),
    verb("status", "what has become of every run of a study", status, STUDY, RESULTS),
    verb(
        "collect",
        "a study as one file, to commit, concatenate and carry elsewhere; and back",
        collect,
        argument("study", help="its name in paths.results, or its folder; with --restore: the file"),
        RESULTS,
        argument("--out", help="the file, which is added to if it exists; default: runs.jsonl in the folder"),
        argument("--restore", action="store_true", help="put the runs of the file back into folders; sweeps skip them"),
    ),
    verb(
        "report",
        "tables, figures and a page from finished runs",
        report,
        argument("places", nargs="+", metavar="PLACE", help="folders of runs, or runs.jsonl files"),
        argument("--baseline", metavar="CELL", help="the cell that others are compared with; default: lstm, else the first"),
        argument("--out", metavar="DIR", help="where to write; default: report in the first place"),
    ),
    verb(
        "curves",
        "draw the learning curves of finished runs",
        curves,
        argument("folder", help="a run, or a folder of runs"),
        argument("--out", help="picture to write (.png, .svg, .pdf); default: curves.png in the folder"),
    ),
    verb(
        "bench",
        "how fast one layer is, against PyTorch's own",
        bench,
        argument("cells", nargs="*", help="cells; default: lstm gru"),
        argument("--peers", action="store_true", help="also torch.nn and a loop by hand"),
        argument("--shapes", nargs="*", default=[], metavar="B,T,D,H", help="batch,steps,inputs,units; default: the four of the design"),
        argument("--repeats", type=int, default=15, help="timings of each, in turn (default: 15)"),
        argument("--threads", type=int, nargs="*", default=[1], help="threads (default: 1)"),
        argument("--out", metavar="FILE", help="write the record, as JSON"),
    ),
    verb(
        "probe",
        "look inside: gradients through time, Jacobians, gates, of runs or of cells at their start",
        probe,
        argument("-m", "--multirun", action="store_true", help="every combination of settings, compared"),
        argument("asked", nargs="+", metavar="RUN_DIR|key=value", help="run folders, or what train takes: cell=lstm task=copy"),
        argument("--out", metavar="DIR", help="where to write; default: the run's folder, else results/probes/TASK"),
    ),
    verb(
        "eval",
        "score trained runs on other lengths or data; a curve where one number varies",
        evaluate,
        argument("arguments", nargs="+", metavar="RUN_DIR|key=value", help="folders of runs, and what to change: task.length=50,100,200"),
        argument("--out", help="picture of the curve (.png, .svg, .pdf), numbers beside it; default: eval-KEY.png in the run's folder"),
        WEIGHTS,
    ),
    verb(
        "sample",
        "let a trained run write text, or play music",
        sample,
        RUN,
        argument("--prompt", help="what comes before; music: notes such as 'C3 G3 E4 | D3 A3 F4', a frame each (default: a test piece)"),
        argument("--length", type=int, help="characters (default: 500) or frames (64) to make"),
        argument("--temperature", type=float, default=1.0, help="1: the network's probabilities; less: more predictable; 0: the most probable"),
        argument("--seed", type=int, default=0, help="equal seeds make equal samples (default: 0)"),
        argument("--out", help="music: the MIDI file, a piano-roll beside it; default: sample.mid in the run's folder"),
        WEIGHTS,
    ),
    verb(
        "export",
        "a trained network for PyTorch or ONNX Runtime alone",
        export,
        RUN,
        argument("--to", metavar="FORMAT", choices=["torch", "onnx", "pt2"], required=True, help="torch (weights for nn.LSTM, GRU, RNN), onnx, pt2"),
        argument("--out", metavar="FILE", help="default: model.pt, model.onnx or model.pt2 in the run's folder"),
        WEIGHTS,
    ),
)
