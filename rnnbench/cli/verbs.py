"""The verbs beside `train`, and what each takes."""

from collections.abc import Callable
from typing import Any, NamedTuple

from rnnbench.cli import actions
from rnnbench.cli.actions import Options

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


RESULTS = argument(
    "--results",
    metavar="DIR",
    default=actions.RESULTS,
    help=f"where studies lie, also written paths.results=DIR (default: {actions.RESULTS})",
)
PLACES = argument(
    "places", nargs="+", metavar="PLACE", help="studies by name, folders of runs, runs.jsonl files"
)
STUDY = argument("study", help="its name in paths.results, or its folder")
RUN = argument("folder", metavar="RUN", help="the folder of a run, or a study that has one run")
WEIGHTS = argument(
    "--weights",
    metavar="WEIGHTS",
    choices=["best", "last"],
    default="best",
    help="best in validation (default) or last",
)

TRUST = argument(
    "--trust",
    action="store_true",
    help="run the code of cells and tasks that the runs name and that is not rnnbench's own",
)
JSON = argument("--json", action="store_true", help="for programs: JSON on standard output")

VERBS = (
    verb(
        "list",
        "list cells, tasks or studies",
        actions.listing,
        JSON,
        argument(
            "listing",
            choices=["cells", "tasks", "studies"],
            help="what to list",
        ),
        argument(
            "overrides",
            nargs="*",
            metavar="key=value",
            help="sizes for the parameter counts: model.hidden=128 task=adding",
        ),
    ),
    verb(
        "show",
        "a cell's equations, sources and parameters",
        actions.show,
        JSON,
        argument(
            "overrides", nargs="+", metavar="cell=NAME", help="the cell, and any key=value of train"
        ),
        argument("--latex", action="store_true", help="equations as LaTeX"),
        argument(
            "--source", action="store_true", help="the C++ that the native engine compiles for it"
        ),
        argument(
            "--verify", action="store_true", help="check the cell against independent references"
        ),
        argument(
            "--notation",
            metavar="NOTATION",
            choices=["paper", "cs231n", "goodfellow", "colah", "pytorch"],
            help="the same equations in the letters of a paper, cs231n, goodfellow, colah or "
            "pytorch, checked to be equal",
        ),
        argument("--diagram", metavar="FILE.svg", help="draw the cell, instead"),
    ),
    verb(
        "data",
        "data sets: what there is, fetch, check",
        actions.data,
        argument(
            "action",
            choices=["list", "fetch", "check"],
            help="list, fetch or check (reads every file)",
        ),
        argument("names", nargs="*", help="files or folders to fetch, as listed; none: all"),
        argument("--mirror", help="folder or URL asked first (RNNBENCH_MIRROR)"),
        argument("--data", help="the cache (RNNBENCH_DATA)"),
    ),
    verb(
        "study",
        "run a study, or what is missing of it, and write its report",
        actions.study,
        argument(
            "study", metavar="NAME", help="one of rnnbench list studies, or path/to/file.yaml"
        ),
        argument(
            "--scale",
            metavar="SCALE",
            choices=["smoke", "small", "paper"],
            default="small",
            help="smoke, small (default) or paper",
        ),
        argument(
            "--plan",
            action="store_true",
            help="train nothing: say what would run, for how long, and the commands",
        ),
        argument(
            "--out",
            metavar="DIR",
            help="where the results stand; default: results/NAME, or results/NAME-SCALE",
        ),
        argument(
            "overrides",
            nargs="*",
            metavar="key=value",
            help="how it runs: workers=2 backend=submitit engine=loop paths.results=DIR",
        ),
    ),
    verb(
        "search",
        "new cells: mutate LSTM and GRU, screen, evolve; and whether what is found replicates",
        actions.search,
        argument("search", metavar="NAME", help="one of configs/searches, or path/to/file.yaml"),
        argument(
            "--method",
            metavar="METHODS",
            help="evolution, aging, random, or several: evolution,random; default: the first of "
            "the search",
        ),
        argument(
            "--budget",
            metavar="CELLS|HOURS",
            help="candidates (300) or hours (2h) of each search; default: the search's",
        ),
        argument("--seed", default="0", help="a search for each: 0,1,2 (default: 0)"),
        argument(
            "--plan",
            action="store_true",
            help="train nothing: say what a candidate goes through, and what that costs",
        ),
        argument(
            "--replicate",
            action="store_true",
            help="train the finalists of all searches anew, beside the cells that people made",
        ),
        argument(
            "overrides",
            nargs="*",
            metavar="key=value",
            help="how it runs: workers=2 paths.results=DIR",
        ),
    ),
    verb("status", "what has become of every run of a study", actions.status, JSON, STUDY, RESULTS),
    verb(
        "collect",
        "a study as one file, to commit, concatenate and carry elsewhere; and back",
        actions.collect,
        argument(
            "study", help="its name in paths.results, or its folder; with --restore: the file"
        ),
        RESULTS,
        argument(
            "--out",
            help="the file, which is added to if it exists; default: runs.jsonl in the folder",
        ),
        argument(
            "--restore",
            action="store_true",
            help="put the runs of the file back into folders; sweeps skip them",
        ),
    ),
    verb(
        "judge",
        "is one cell better than another? adds pairs of runs until a sequential test decides",
        actions.judge,
        argument(
            "cell", metavar="CELL", help='the cell, also path/to/file.py:name, or "NAME key=value"'
        ),
        argument("--against", metavar="CELL", required=True, help="the other cell"),
        argument("--task", metavar="TASK", help="the task (default: adding)"),
        argument(
            "--by",
            metavar="SIZE",
            choices=["params", "units", "seconds"],
            default="params",
            help="what is equal: params (default), units or seconds",
        ),
        argument("--budget", type=int, default=128, help="runs to spend at most (default: 128)"),
        argument(
            "--margin",
            default="5%",
            help="a smaller difference does not matter: a number, or a share of what the second "
            "cell scores (default: 5%%)",
        ),
        JSON,
        argument(
            "overrides",
            nargs="*",
            metavar="key=value",
            help="settings of both cells, and how runs are made: task.length=50 workers=2",
        ),
    ),
    verb(
        "report",
        "tables, figures and a page from finished runs",
        actions.report,
        PLACES,
        RESULTS,
        argument(
            "--baseline",
            metavar="CELL",
            help="the cell that others are compared with; default: lstm, else the first",
        ),
        argument("--out", metavar="DIR", help="where to write; default: report in the first place"),
        JSON,
    ),
    verb(
        "curves",
        "draw the learning curves of finished runs",
        actions.curves,
        argument("folder", metavar="PLACE", help="a study by name, a run, or a folder of runs"),
        RESULTS,
        argument(
            "--out", help="picture to write (.png, .svg, .pdf); default: curves.png in the folder"
        ),
    ),
    verb(
        "bench",
        "how fast one layer and a training step are, against PyTorch's own",
        actions.bench,
        JSON,
        argument(
            "cells",
            nargs="*",
            help="cells, or all; default: lstm gru gru_reset_after, with --steps lstm_vanilla too",
        ),
        argument(
            "--steps",
            action="store_true",
            help="whole training steps, at more batches and sizes, instead of a layer",
        ),
        argument(
            "--peers",
            action="store_true",
            help="also torch.nn, a loop by hand and, if JAX is installed, lax.scan",
        ),
        argument(
            "--shapes",
            nargs="*",
            default=[],
            metavar="B,T,D,H",
            help="batch,steps,inputs,units; with --steps, 2 inputs are the task adding, "
            "88 chorales",
        ),
        argument("--repeats", type=int, default=15, help="timings of each, in turn (default: 15)"),
        argument(
            "--threads",
            type=int,
            nargs="*",
            default=[1],
            help="threads; beyond the first number, native and torch.nn alone (default: 1)",
        ),
        argument(
            "--replicas",
            type=int,
            nargs="*",
            default=[],
            help="networks at once, by our engines (default: 1; with --steps: 1 8 16 64)",
        ),
        argument(
            "--out",
            metavar="DIR",
            help="where to write record.json, table.md, figure.svg and figure.png",
        ),
    ),
    verb(
        "probe",
        "look inside: gradients through time, Jacobians, gates, of runs or of cells at their start",
        actions.probe,
        TRUST,
        argument(
            "-m", "--multirun", action="store_true", help="every combination of settings, compared"
        ),
        argument(
            "asked",
            nargs="+",
            metavar="PLACE|key=value",
            help="runs, as studies or folders, or what train takes: cell=lstm task=copy",
        ),
        RESULTS,
        argument(
            "--out",
            metavar="DIR",
            help="where to write; default: the run's folder, else results/probes/TASK",
        ),
    ),
    verb(
        "eval",
        "score trained runs on other lengths or data; a curve where one number varies",
        actions.evaluate,
        JSON,
        TRUST,
        argument(
            "arguments",
            nargs="+",
            metavar="PLACE|key=value",
            help="runs, as studies or folders, and what to change: task.length=50,100,200",
        ),
        RESULTS,
        argument(
            "--out",
            help="picture of the curve (.png, .svg, .pdf), numbers beside it; default: "
            "eval-KEY.png in the run's folder",
        ),
        WEIGHTS,
    ),
    verb(
        "repeat",
        "train runs again from their config.yaml alone: are the numbers the same?",
        actions.repeat,
        JSON,
        TRUST,
        PLACES,
        RESULTS,
        argument(
            "--draw",
            type=int,
            metavar="N",
            help="only so many of them, drawn at random (default: all)",
        ),
        argument("--seed", type=int, default=0, help="of the draw (default: 0)"),
    ),
    verb(
        "sample",
        "let a trained run write text, or play music",
        actions.sample,
        TRUST,
        RUN,
        RESULTS,
        argument(
            "--prompt",
            help="what comes before; music: notes such as 'C3 G3 E4 | D3 A3 F4', a frame each "
            "(default: a test piece)",
        ),
        argument("--length", type=int, help="characters (default: 500) or frames (64) to make"),
        argument(
            "--temperature",
            type=float,
            default=1.0,
            help="1: the network's probabilities; less: more predictable; 0: the most probable",
        ),
        argument("--seed", type=int, default=0, help="equal seeds make equal samples (default: 0)"),
        argument(
            "--out",
            help="music: the MIDI file, a piano-roll beside it; default: sample.mid in the run's "
            "folder",
        ),
        WEIGHTS,
    ),
    verb(
        "export",
        "a trained network for PyTorch or ONNX Runtime alone",
        actions.export,
        TRUST,
        RUN,
        RESULTS,
        argument(
            "--to",
            metavar="FORMAT",
            choices=["torch", "onnx", "pt2", "module"],
            required=True,
            help="torch (weights for nn.LSTM, GRU, RNN), onnx, pt2, module (a Python file)",
        ),
        argument(
            "--out",
            metavar="FILE",
            help="default: model.pt, model.onnx, model.pt2 or model.py in the run's folder",
        ),
        WEIGHTS,
    ),
    verb(
        "picture",
        "what lectures draw by hand, computed: powers, cliff, sensitivity, gates",
        actions.picture,
        argument(
            "picture",
            choices=["powers", "cliff", "sensitivity", "gates"],
            help="powers of a matrix, the cliff in an error surface, sensitivity to the first "
            "input, gates that write, hold and read",
        ),
        argument(
            "overrides",
            nargs="*",
            metavar="key=value",
            help="its numbers: radius=[0.9,1.1], clip=0.5, steps=30",
        ),
        argument("--out", metavar="FILE", help=".png, .svg or .pdf; default: its name.png, here"),
    ),
)
