"""What the report says, part by part: prose, tables and pictures from a study.

A part that the runs do not allow says why.

How it looks is decided in `tables` and `render`; what the numbers are, in `statistics` and its
neighbours.
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from rnnbench.charts import figures
from rnnbench.charts.figures import picture
from rnnbench.charts.lengths import by_length
from rnnbench.charts.picture import Picture
from rnnbench.claims.design import Study as Known
from rnnbench.formatting import anchor, listing, number, plural
from rnnbench.report import appendix, attribution, contrasts, design, inside, outcomes, studied
from rnnbench.report.document import Runs, Section, Table
from rnnbench.report.leaderboard import leaderboards, legend
from rnnbench.runs import frame
from rnnbench.stats.compare import family_said, with_baseline
from rnnbench.stats.selection import Study
from rnnbench.stats.statistics import FEWEST

Part = str | Table | Picture | Runs


def sections(study: Study, known: Sequence[Known] = ()) -> list[Section]:
    """Every part, in order; none is empty.

    known: the studies, as they stand in their YAML, that these runs are for.
    """
    made = [
        ("design", "Question and design", about(study, known)),
        *(
            [("claims", "Claims and verdicts", studied.claims(study, known))]
            if any(one.claims for one in known)
            else []
        ),
        ("leaderboard", "Leaderboard", board(study)),
        ("greff", f"Every cell against {study.baseline}", against_baseline(study)),
        ("jozefowicz", "After search, cell by task", after_search(study)),
        ("pairwise", "Every cell against every other", pairwise(study)),
        *([("lengths", "How long a task can be", lengths(study))] if by_length(study) else []),
        ("curves", "Learning curves and learning rates", curves(study)),
        ("importance", "Which settings mattered", settings(study)),
        ("speed", "Speed against accuracy", speed(study)),
        ("outcomes", "What diverged, failed or was never solved", troubles(study)),
        ("published", "Published numbers beside ours", published(study)),
        *(
            [("inside", "Inside the cells", iter(looks))]
            if (looks := list(inside.inside(study)))
            else []
        ),
        ("runs", "Runs and commands", runs(study)),
        ("sources", "Sources", sources(study, known)),
    ]
    return [Section(key, title, list(parts)) for key, title, parts in made]


def about(study: Study, known: Sequence[Known]) -> Iterator[Part]:
    yield from (one.question for one in known)
    yield design.question(study)
    yield design.design(study)
    yield design.facts(study)


def sources(study: Study, known: Sequence[Known]) -> Iterator[Part]:
    if papers := dict.fromkeys(paper for one in known for paper in one.sources):
        yield f"Claims: {' '.join(papers)}"
    yield appendix.bibliography(study)


def board(study: Study) -> Iterator[Part]:
    if not study.samples:
        yield "No run ended as a result, so there is nothing to rank."
        return
    if worst := outcomes.worst_said(study):
        yield worst
    yield from legend(list(study.samples.values()))
    yield from leaderboards(study)


def against_baseline(study: Study) -> Iterator[Part]:
    found = with_baseline(study)
    if not found:
        yield (
            f"There is no other cell with results on a task that {study.baseline} has results "
            f"on, so nothing is compared."
        )
        return
    if any(f.x.by == "trials" for f in found):
        yield (
            "Compared are the best trials of a search, as Greff et al. (2017) do: selection "
            "makes them more alike than new runs would be."
        )
    told = [told for verdict in ("better", "worse") if (told := contrasts.told(found, verdict))]
    if told:
        yield from (f"{verdict}." for verdict in told)
    elif any(f.family for f in found):
        yield f"No cell is told apart from {study.baseline} on any task."
    else:
        yield family_said(found, study.baseline)
    for task in study.tasks:
        runs = study.frame[(study.frame["task"] == task) & (study.frame["status"] != "failed")]
        if runs["cell"].nunique() > 1 and (task, study.baseline) in study.samples:
            marked = {f.x.cell for f in found if f.x.task == task and f.significant}
            caption = (
                f"{task}: test scores of all trials above, of the best by validation below. "
                f"Boxes: quartiles, whiskers: full range, line: median, "
                f"dot: mean; grey bars: mean parameters; blue: significantly different from "
                f"{study.baseline} in the table below, "
                "whose notes say which runs it compares."
            )
            yield picture(
                f"greff-{anchor(task)}", figures.greff(runs, marked, study.baseline), caption
            )
    yield contrasts.greff_table(study, found)


def after_search(study: Study) -> Iterator[Part]:
    if not study.samples:
        yield "No run ended as a result."
    else:
        yield contrasts.jozefowicz_table(study)


def pairwise(study: Study) -> Iterator[Part]:
    tables = contrasts.improvement_tables(study)
    if not tables:
        yield "One cell per task: there are no pairs."
        return
    yield (
        "How probable it is that a new run of one cell would beat a new run of another on the "
        "same task, ties half, diverged runs last. "
        "Brackets: 95 % intervals (Newcombe). One half is a draw. No correction is made: an "
        "interval that excludes one half is a hint, "
        "the test is the part above."
    )
    for task in study.tasks:
        members = study.of(task)
        if len(members) > 1:
            cells = [sample.cell for sample in members]
            wins = [[contrasts.wins(x, y) for y in members] for x in members]
            caption = (
                f"{task}: probability that a run of the row beats a run of the column. "
                f"Blue: the row is better, red: the column is."
            )
            yield picture(
                f"improvement-{anchor(task)}",
                figures.improvement_matrix(pd.DataFrame(wins, cells, cells)),
                caption,
            )
    yield from tables
    found, cells = contrasts.average_ranks(study)
    if found.why:
        yield contrasts.ranks_said(study, found)
        return
    verdict = (
        "agree about the order of the cells"
        if found.p < 0.05
        else "do not agree about the order of the cells beyond chance"
    )
    caption = (
        f"Average ranks over {found.tasks} tasks, 1 is best. Cells joined by a bar are closer "
        f"than the critical difference of Nemenyi "
        f"({number(found.critical_difference, 3)}). "
        f"These tasks {verdict} (Friedman, p = {number(found.p, 2)}). Tasks are a choice and no "
        f"random sample: this says nothing about other tasks, "
        "and ranks forget how large differences are."
    )
    yield picture(
        "critical-difference",
        figures.critical_difference(
            dict(zip(cells, found.average, strict=True)), found.critical_difference
        ),
        caption,
    )


def lengths(study: Study) -> Iterator[Part]:
    look = figures.styles(study.cells)
    for task, lines in by_length(study).items():
        caption = (
            f"{task}: share of runs that reached the target against the length, of the runs that "
            f"the report's numbers rest on. "
            "Bars: 95 % intervals (Clopper and Pearson); cells stand a little beside one another."
        )
        yield picture(
            f"solved-{anchor(task)}", figures.solved_by_length(task, lines, look), caption
        )
        if (times := figures.times_by_length(task, lines, look)) is not None:
            caption = (
                f"{task}: median number of steps until the target is reached, against the length. "
                f"By Kaplan and Meier: runs that never got "
                "there count as needing more than their budget. Bars: 95 % intervals (Brookmeyer "
                "and Crowley), cut at the budget."
            )
            yield picture(f"times-{anchor(task)}", times, caption)


def curves(study: Study) -> Iterator[Part]:
    if not study.samples:
        yield "No run ended as a result, so there are no curves."
        return
    look = figures.styles(study.cells)
    kept = pd.concat([sample.best for sample in study.samples.values()])
    points = frame.curves(kept, columns=tuple(sorted(set(kept["metric"]))), split="valid")
    for task in study.tasks:
        best = [sample.best["id"] for sample in study.of(task)]
        if best and points["id"].isin(pd.concat(best)).any():
            caption = (
                f"{task}: validation score against step, median and quartiles of the runs "
                f"that the report's numbers rest on."
            )
            yield picture(
                f"curves-{anchor(task)}",
                figures.learning_curves(study.frame, points, task, look),
                caption,
            )
        elif best:
            yield f"The curves of {task} cannot be read, so none are drawn."
    without = []
    for task in study.tasks:
        runs = study.frame[(study.frame["task"] == task) & (study.frame["status"] != "failed")]
        if runs["optim.lr"].nunique() < 2:
            without.append(task)
            continue
        caption = (
            f"{task}: test score against learning rate, every run a point, median and "
            f"quartiles per cell; crosses are runs that diverged."
        )
        yield picture(
            f"rates-{anchor(task)}", figures.rate_response(study.frame, task, look), caption
        )
    if without:
        yield f"One learning rate on {listing(without)}: no response to draw."


def settings(study: Study) -> Iterator[Part]:
    look = figures.styles(study.cells)
    analyses = attribution.attributed(study)
    if not analyses:
        yield (
            "No two settings varied together within a cell and a task, so there is no search "
            "whose variance could be attributed."
        )
        return
    for task, found in analyses.items():
        used = [one for one in found if not one.reason]
        if used:
            caption = (
                f"{task}: share of the variance of test scores that each setting explains by "
                f"itself (functional ANOVA over a regression forest). "
                "Error bars: refits of the forest. Where R² on runs it has not seen is low, the "
                "shares mean little. Diverged runs count as ignorance."
            )
            yield picture(
                f"importance-{anchor(task)}",
                figures.importance(pd.concat([one.table for one in used]), known=look),
                caption,
            )
            score = str(study.of(task)[0].runs["metric"].iloc[0])
            caption = (
                f"{task}: predicted test score along each setting, the others averaged "
                f"out. Bands, where drawn: spread over the trees of the forest."
            )
            yield picture(
                f"marginals-{anchor(task)}",
                figures.marginals(
                    pd.concat([one.marginals for one in used]), f"test {score}", look
                ),
                caption,
            )
            yield attribution.importance_table(task, used)
        if refused := attribution.refused_said(task, found):
            yield refused


def speed(study: Study) -> Iterator[Part]:
    look = figures.styles(study.cells)
    drawn = False
    for task in study.tasks:
        if any((~sample.best["diverged"]).any() for sample in study.of(task)):
            drawn = True
            caption = (
                f"{task}: test score against seconds of training, medians and quartiles of the "
                f"runs that the report's numbers rest on. "
                "Grey line: cells that no other cell beats in both."
            )
            yield picture(
                f"speed-{anchor(task)}", figures.speed_accuracy(study.frame, task, look), caption
            )
    if not drawn:
        yield "Every run diverged or failed, so no time is worth comparing."
    else:
        yield (
            "Seconds are wall time of runs as they were made: runs packed together share it, "
            "and other work on the machine adds to it."
        )


def troubles(study: Study) -> Iterator[Part]:
    lost, failed, sentences = (
        outcomes.diverged_table(study),
        outcomes.failed_table(study),
        outcomes.never_solved(study),
    )
    yield lost or "No run diverged."
    yield failed or "No run failed."
    yield from sentences
    if not sentences and any(
        sample.runs["target"].notna().any() for sample in study.samples.values()
    ):
        yield (
            "Every cell reached the target of every task that has one, with some setting and seed."
        )


def published(study: Study) -> Iterator[Part]:
    yield (
        outcomes.published_table(study)
        or "No paper in the data file reports one of these cells on one of these tasks in the "
        "same form (same lengths, same data)."
    )


def runs(study: Study) -> Iterator[Part]:
    yield (
        f"{plural(len(study.frame), 'run')}. The column “counts” says whether the numbers above "
        f"rest on a run (chose: it helped to choose the setting and is in no number); "
        "all that the records hold of each is in tables/runs.csv."
    )
    yield from appendix.runs(study)
    yield (
        appendix.digests(study)
        or "The records hold no checksums of files: the tasks made their data themselves or read "
        "what rnnbench data check verifies."
    )
    small = sorted({sample.cell for sample in study.samples.values() if len(sample.best) < FEWEST})
    if small:
        yield f"Fewer than {FEWEST} runs behind a number: {listing(small)}."
