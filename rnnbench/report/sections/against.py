"""Every cell of a task against the baseline: shifts, wins, p, and what could have been seen."""

from collections.abc import Iterator, Sequence

from rnnbench.formatting import listing
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.table import (
    CHANCE,
    COUNTED,
    ESTIMATE,
    SHIFT,
    TEXT,
    Column,
    P,
    Part,
    Table,
    result_place,
    rounded,
)
from rnnbench.stats.compare import Comparison, family_said
from rnnbench.stats.selection import Sample, Variant
from rnnbench.stats.statistics import FEWEST, Estimate, median

_Row = Sample | Comparison  # the baseline, and what is compared with it


def parts(results: Results, task: Variant) -> Iterator[Part]:
    found = [one for one in results.against_baseline if one.x.task == task]
    if not found:
        return
    baseline = results.study.baseline.label
    said = [_told(found, verdict, baseline) for verdict in ("better", "worse")]
    if any(said):
        yield " ".join(filter(None, said))
    elif any(one.family for one in found):
        yield f"No cell is told apart from {baseline}."
    yield against(task, found, baseline)


def _told(found: Sequence[Comparison], verdict: str, baseline: str) -> str:
    names = [one.x.cell.label for one in found if one.verdict == verdict]
    return f"{verdict.capitalize()} than {baseline}: {listing(names)}." if names else ""


def sample(row: _Row) -> Sample:
    return row if isinstance(row, Sample) else row.x


def against(task: Variant, found: Sequence[Comparison], baseline: str) -> Table:
    """The baseline first."""

    def of(row: _Row) -> str:
        return result_place(sample(row).result)

    def apart(row: _Row) -> bool:
        return isinstance(row, Comparison) and row.significant

    columns = [
        Column("cell", lambda row: sample(row).cell, TEXT, link=of),
        Column("verdict", _verdict, TEXT, bold=apart),
        Column("shift", lambda row: getattr(row, "shift", None), SHIFT, link=of),
        Column("p", lambda row: getattr(row, "p", None), P, "in its task", bold=apart),
        Column("wins", lambda row: getattr(row, "chance", None), CHANCE, "of pairs", link=of),
        Column("median", _median, ESTIMATE, link=of, wide=True),
        Column("n", _n, COUNTED, "runs", link=of),
        Column(
            "detectable", lambda row: getattr(row, "detectable", None), rounded(3), "±", wide=True
        ),
    ]
    notes = [
        family_said(found, baseline),
        f"Shift: the median difference from {baseline} over all pairs of runs (Hodges and "
        f"Lehmann), with the interval that inverts the test of Mann and Whitney. Wins: the share "
        f"of pairs in which the cell is better, with Newcombe's interval. Intervals are of 95 %.",
        "Detectable: the smallest true difference of means that the strictest step of the "
        "correction would have found four times in five, given this n and spread, were scores "
        "normal. Undecided is not equal: a difference smaller than that could be there.",
    ]
    if any(one.x.by == "trials" or one.y.by == "trials" for one in found):
        notes.append(
            "Samples are the best trials of a search, as in Greff et al. (2017): selection makes "
            "their spread too small and these p-values too optimistic."
        )
    if any(one.y.tried > 1 and one.y.by == "seeds" for one in found):
        notes.append(
            "Each cell stands with the setting that validation chose for it, over its seeds; a "
            "seed that took part in choosing is left out where there are enough others."
        )
    caption = f"{task.label}: every cell against {baseline}"
    return Table(
        f"against-{task.slug}",
        caption,
        columns,
        [found[0].y, *found],
        notes,
        cell=lambda row: sample(row).cell,
    )


def _median(row: _Row) -> Estimate:
    return median(sample(row).scores, sample(row).goal)


def _n(row: _Row) -> tuple[int, str]:
    found = median(sample(row).scores, sample(row).goal)
    return found.n, f"{found.excluded} diverged" if found.excluded else ""


def _verdict(row: _Row) -> str:
    if isinstance(row, Sample):
        return "baseline"
    return row.verdict or f"n < {FEWEST}"


SECTION = Section("Against the baseline", "task", 30, parts)
