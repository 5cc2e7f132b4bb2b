"""What the verbs beside `train` do. Each imports what it needs when it runs, so that help is instant."""

import argparse
import os
from pathlib import Path

Options = argparse.Namespace


def listing(options: Options) -> None:
    from rnnbench import showing
    from rnnbench.screen import console

    if options.what == "tasks":
        console.print(showing.list_tasks())
        return
    if options.what == "studies":
        from rnnbench.study.listing import list_studies

        console.print(list_studies(), soft_wrap=False)
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
    from rnnbench import overseeds
    from rnnbench.report.render import write_report
    from rnnbench.screen import say

    say(str(write_report(options.places, Path(options.out) if options.out else None, options.baseline)))
    for folder in map(Path, options.places):
        if folder.is_dir() and not options.out and overseeds.write(folder):
            say(f"mean, low and high over seeds, for TensorBoard: {folder / overseeds.FOLDER}")


def curves(options: Options) -> None:
    from rnnbench import figures, records
    from rnnbench.screen import say

    found = records.find(options.folder)
    path = Path(options.out) if options.out else Path(options.folder).expanduser() / "curves.png"
    say(f"{len(found)} run{'s' if len(found) > 1 else ''} drawn in {figures.save(figures.learning_curves(found), path)}")


def bench(options: Options) -> None:
    from rnnbench.bench.command import run

    run(options.cells, options.shapes, options.peers, options.repeats, options.threads, options.replicas, options.out)


def probe(options: Options) -> None:
    from rnnbench.inside.probe import probe

    probe(options.asked, options.multirun, options.out)


def evaluate(options: Options) -> None:
    from rnnbench.trained.scores import run_eval

    run_eval(options.arguments, options.out, options.weights)


def repeat(options: Options) -> None:
    from rnnbench.trained.repeat import run_repeat

    run_repeat(options.places, options.draw, options.seed)


def sample(options: Options) -> None:
    from rnnbench.trained.sample import run_sample

    run_sample(options.folder, options.prompt, options.length, options.temperature, options.seed, options.out, options.weights)


def export(options: Options) -> None:
    from rnnbench.trained.export import run_export

    run_export(options.folder, options.to, options.out, options.weights)


def study(options: Options) -> None:
    from rnnbench.study.run import run_study

    run_study(options.study, options.scale, options.overrides, options.out, options.plan)
