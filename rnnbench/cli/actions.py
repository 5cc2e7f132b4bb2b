"""What the verbs beside `train` do.

Each imports what it needs when it runs, so that help is instant.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Options = argparse.Namespace
RESULTS = "results/runs"  # as config.yaml has it


def listing(options: Options) -> None:
    from rnnbench.cli.remembered import show_remembered

    def show_list() -> None:
        from rnnbench.cli import show
        from rnnbench.compose import compose
        from rnnbench.console import console, put_json
        from rnnbench.errors import UserError
        from rnnbench.training.run import load_task

        if options.listing == "tasks":
            tasks = show.task_rows()
            put_json(tasks) if options.json else console.print(show.list_tasks(tasks))
            return
        if options.listing == "studies":
            from rnnbench.studies.listing import list_studies, study_rows

            studies = study_rows()
            if options.json:
                put_json(studies)
            else:
                console.print(list_studies(studies), soft_wrap=False)
            return
        settings = compose(options.overrides)
        if settings.model.match:
            raise UserError(
                f"model.match={settings.model.match}: the list counts every cell with one number "
                f"of units; for the units of one: rnnbench show cell=NAME model.match=…"
            )
        task, hidden = load_task(settings, print), settings.model.hidden
        inputs = task.inputs
        cells = show.cell_rows(inputs, hidden, task.horizon)
        put_json(cells) if options.json else console.print(show.list_cells(cells, inputs, hidden))

    flags = ["--json"] if options.json else []
    show_remembered(["list", options.listing, *flags, *options.overrides], show_list)


EQUATIONS = ("diagram", "latex", "source", "verify", "notation")  # what `show` knows of cells alone


def show(options: Options) -> int:
    from rnnbench.cli.remembered import show_remembered

    checks: list[Any] = []

    def show_cell() -> None:
        from rnnbench import catalogue
        from rnnbench.cli import show
        from rnnbench.compose import compose
        from rnnbench.console import console, put_json, say
        from rnnbench.engine.network import stacked
        from rnnbench.engine.pack import width
        from rnnbench.errors import UserError
        from rnnbench.layers import is_layer, layer_of, still
        from rnnbench.training.run import load_task

        settings = compose(options.overrides)
        cell = settings.cell
        layer = is_layer(catalogue.resolve(cell.step, "cell.step"))
        asked = [flag for flag in EQUATIONS if getattr(options, flag)]
        if layer and asked:
            raise UserError(
                f"--{asked[0]} is about equations, and cell={cell.name} is a layer of another "
                f"kind: rnnbench show cell={cell.name} prints its formulas and counts"
            )
        if options.diagram:
            say(f"{cell.name} drawn in {show.draw_cell(cell, options.diagram)}")
            return
        if options.latex or options.source:
            text = show.show_latex(cell) if options.latex else show.show_source(cell)
            console.out(text, highlight=False)
            return
        if options.verify:
            from rnnbench.evidence.verify import verify

            checks.extend(verify(catalogue.resolve(cell.step, "cell.step"), cell.constants))
        model, task = settings.model, load_task(settings, print)
        kind = layer_of(cell, still(model))
        stack = stacked(kind, model.layers, task.horizon, task.symbols, task.stops)
        known = (cell, task.inputs, width(stack, model, task), task.horizon)
        if layer:
            if options.json:
                put_json(show.layer_facts(*known))
            else:
                console.print(show.show_layer(*known), soft_wrap=False)
            return
        if options.json:
            put_json(show.facts_of(*known, checks, options.notation or "paper"))
            return
        shown = show.show_cell(*known, checks, options.notation or "paper")
        console.print(shown, soft_wrap=False)

    flags = [
        f"--{name}" for name in ("json", "latex", "source", "verify") if getattr(options, name)
    ]
    flags += [f"--diagram={options.diagram}"] if options.diagram else []  # never remembered
    flags += [f"--notation={options.notation}"] if options.notation else []
    show_remembered(["show", *flags, *options.overrides], show_cell)
    return 1 if any(check.passed is False for check in checks) else 0


def data(options: Options) -> int:
    from rnnbench import console
    from rnnbench import data as files
    from rnnbench.errors import unknown
    from rnnbench.settings import Paths

    cache = options.data or os.environ.get("RNNBENCH_DATA", "~/.cache/rnnbench")
    paths = Paths(
        results=".", data=cache, mirror=options.mirror or os.environ.get("RNNBENCH_MIRROR")
    )
    if options.action == "fetch":
        for path in files.fetch_all(options.names or None, paths, console.say):
            console.say(str(path))
        return 0
    rows = files.listing(paths) if options.action == "list" else files.check(paths)
    for name in options.names:
        if not any(f"{row.name}/".startswith(f"{name}/") for row in rows):
            raise unknown("data file", name, [row.name for row in rows], "rnnbench data list")
    if options.names:
        asked = tuple(f"{name}/" for name in options.names)
        rows = [row for row in rows if f"{row.name}/".startswith(asked)]
    console.files(rows)
    console.say(f"cache: {paths.data}   mirror: {paths.mirror or 'none (RNNBENCH_MIRROR)'}")
    return 0 if all(row.state in ("present", "absent", "ok") for row in rows) else 2


def search(options: Options) -> None:
    from rnnbench.search.command import Typed, search_cells

    search_cells(
        Typed(
            name=options.search,
            methods=options.method,
            budget=options.budget,
            seeds=options.seed,
            plan=options.plan,
            replicate=options.replicate,
            how=tuple(options.overrides),
        )
    )


def status(options: Options) -> None:
    from rnnbench.console import put_json
    from rnnbench.runs.records import located
    from rnnbench.sweep import status

    study = located(options.study, options.results)
    put_json(status.told(study)) if options.json else status.show(study)


def collect(options: Options) -> None:
    from rnnbench.console import say
    from rnnbench.runs.collect import collect, restore
    from rnnbench.runs.records import located

    if options.restore:
        say(f"{restore(options.study, options.results)} runs put back into {options.results}")
        return
    study = located(options.study, options.results)
    out = options.out or study / "runs.jsonl"
    say(f"{collect(study, out)} runs in {out}")


def judge(options: Options) -> None:
    from rnnbench.console import aside, put_json, say
    from rnnbench.tools.judge import judge

    words = [f"task={options.task}"] * bool(options.task) + options.overrides
    asked = (options.cell, options.against, words, options.by, options.budget, options.margin)
    with aside(options.json):
        found = judge(*asked)
    put_json(found.told()) if options.json else say(str(found))


def report(options: Options) -> None:
    from rnnbench.console import aside, put_json, say
    from rnnbench.report.render import tables, write_report
    from rnnbench.runs.records import located
    from rnnbench.studies.progress import progress
    from rnnbench.tools import overseeds

    places = [located(place, options.results) for place in options.places]
    out = Path(options.out).expanduser() if options.out else None
    with aside(options.json):
        texts = [str(place) for place in places]
        page = Path(write_report(texts, out, options.baseline, progress=progress))
        say(str(page))
        for folder in places:
            if folder.is_dir() and not options.out and overseeds.write(folder):
                say(f"mean, low and high over seeds, for TensorBoard: {folder / overseeds.FOLDER}")
    if options.json:
        put_json({"page": str(page), "tables": tables(page.parent)})


def curves(options: Options) -> None:
    from rnnbench.charts import lines, plots
    from rnnbench.console import say
    from rnnbench.runs import records

    folder = records.located(options.folder, options.results)
    path = Path(options.out).expanduser() if options.out else folder / "curves.png"
    plots.refuse_ending(path)
    found = records.find(folder)
    say(
        f"{len(found)} run{'s' if len(found) > 1 else ''} drawn in "
        f"{plots.save(lines.learning(found), path)}"
    )


def bench(options: Options) -> None:
    from rnnbench.bench.command import run
    from rnnbench.console import aside, put_json

    with aside(options.json):
        record = run(
            options.cells,
            options.shapes,
            options.peers,
            options.repeats,
            options.threads,
            options.replicas,
            options.out,
            options.steps,
        )
    if options.json:
        put_json(record)


def _runs(words: Sequence[str], results: str) -> list[str]:
    """Names of studies and folders as folders of runs; words with `=` and such as they are."""
    from rnnbench.runs.records import located, run_folders

    found: list[str] = []
    for word in words:
        place = "=" not in word and word[:1] not in "~+"
        found += map(str, run_folders(located(word, results))) if place else [word]
    return found


def _run(word: str, results: str) -> str:
    """The one run of a name or folder. UserError if it holds several."""
    from rnnbench.errors import UserError

    found = _runs([word], results)
    if len(found) > 1:
        raise UserError(f"'{word}' holds {len(found)} runs; name the folder of one: {found[0]}")
    return found[0]


def probe(options: Options) -> None:
    from rnnbench.tools.opening import trusting
    from rnnbench.tools.probe import probe

    elsewhere = options.results != RESULTS and any("=" in word for word in options.asked)
    asked = [*_runs(options.asked, options.results)]
    if elsewhere:  # settings, one of which is where results land
        asked.append(f"paths.results='{options.results}'")
    with trusting(options.trust):
        probe(asked, options.multirun, options.out)


def evaluate(options: Options) -> None:
    from rnnbench.console import aside, put_json
    from rnnbench.tools.eval import rows, run_eval
    from rnnbench.tools.opening import trusting

    words = _runs(options.arguments, options.results)
    with trusting(options.trust), aside(options.json):
        evaluations = run_eval(words, options.out, options.weights)
    if options.json:
        put_json(rows(evaluations))


def repeat(options: Options) -> None:
    from rnnbench.console import aside, put_json
    from rnnbench.runs.records import located
    from rnnbench.tools.opening import trusting
    from rnnbench.tools.repeat import Repeated, rows, run_repeat

    done: list[Repeated] = []
    places = [str(located(place, options.results)) for place in options.places]
    try:
        with trusting(options.trust), aside(options.json):
            run_repeat(places, options.draw, options.seed, done)
    finally:  # where numbers differ, too
        if options.json and done:
            put_json(rows(done))


def sample(options: Options) -> None:
    from rnnbench.tools.opening import trusting
    from rnnbench.tools.sample import run_sample

    with trusting(options.trust):
        run_sample(
            _run(options.folder, options.results),
            options.prompt,
            options.length,
            options.temperature,
            options.seed,
            options.out,
            options.weights,
        )


def export(options: Options) -> None:
    from rnnbench.tools.export import run_export
    from rnnbench.tools.opening import trusting

    with trusting(options.trust):
        run_export(_run(options.folder, options.results), options.to, options.out, options.weights)


def study(options: Options) -> None:
    from rnnbench.studies.run import run_study

    run_study(options.study, options.scale, options.overrides, options.out, options.plan)


def picture(options: Options) -> None:
    from rnnbench.tools.textbook import picture

    picture(options.picture, options.overrides, options.out)
