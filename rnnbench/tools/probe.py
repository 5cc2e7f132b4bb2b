"""`rnnbench probe`: look inside runs that were trained, or networks at their start; a table,
probe.json, pictures.
"""

import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.errors import HydraException
from rich import box
from rich.table import Table

from rnnbench import __version__
from rnnbench.board import add_pictures
from rnnbench.charts import dynamics
from rnnbench.charts.probes import SCHEMA, TIMES, pooled, short
from rnnbench.compose import compose
from rnnbench.console import console, number
from rnnbench.console import say as said
from rnnbench.dynamics.gradients import WHOLE
from rnnbench.dynamics.measure import SEQUENCES, Plain, measured
from rnnbench.engine.pack import Pack
from rnnbench.errors import UserError
from rnnbench.formatting import inert, listing
from rnnbench.layers import layer_of
from rnnbench.runs.frame import dotted
from rnnbench.runs.made import add_file
from rnnbench.runs.records import Folder, finite
from rnnbench.settings import Settings
from rnnbench.sweep.expand import axes, grid
from rnnbench.tools.opening import open_run
from rnnbench.tools.replay import replay
from rnnbench.training.run import load_task

Say = Callable[[str], None]
# whose gradient is in the table
LAGS = [lag * 10**power for power in range(4) for lag in (1, 2, 5)]
# the settings that tell networks of one cell apart
TELLING = ("cell", "task", "model", "optim", "train")

MEANING = (
    "horizon    how many steps further back the gradient of the last loss has fallen, for good, to "
    "1/e (37 %) or 1/100 of its norm; “>”: not within the sequence",
    "Lyapunov   the largest Lyapunov exponent: the rate, in nats per step, at which a small "
    "difference between two states grows (above 0) or is forgotten (below 0); at −0.1 a step "
    "leaves exp(−0.1) = 90 % of it",
    "saturated  share of gate values below 0.1 (closed) or above 0.9 (open), where a gate's own "
    "gradient is small",
    "max |state|  the largest absolute value of any unit's state",
)


@dataclass(frozen=True)
class Probe:
    """What was found in one network. label: what tells it from the others.

    home: the run's folder, None if nothing was trained. family: the label of all networks that
    differ from this one in their seed alone; they are one in pictures.
    """

    label: str
    found: Plain
    home: Path | None
    family: str = ""


def probe(
    asked: Sequence[str], many: bool = False, out: str | Path | None = None, say: Say = said
) -> Path:
    """Measure, show, and keep: returns the folder with the pictures. Raises UserError.

    asked: run folders, or what one would type after `rnnbench train`; with `many` (-m), every
        combination. Writes probe.json and pictures into the run's folder, of networks that were not
        trained into `probes` beside the results; `out` says elsewhere.
    """
    places = [text for text in asked if "=" not in text and text[:1] not in "~+"]
    if not asked or (places and len(places) < len(asked)):
        example = (
            "rnnbench probe results/runs/NAME/TASK/CELL/ID, or rnnbench probe cell=lstm task=copy"
        )
        raise UserError(
            f"probe takes run folders or settings{', not both' if asked else ''}: {example}"
        )
    if places and many:
        raise UserError(
            f"-m makes combinations of settings; run folders are compared without it, got "
            f"{', '.join(places)}"
        )
    probes = (
        [of_run(place, say) for place in places]
        if places
        else [of_settings(*one, say) for one in combinations(asked, many)]
    )
    probes = distinct(probes)
    if places:  # a shell lists folders by their hash
        probes = sorted(probes, key=lambda probe: probe.label)
    folder = Path(out).expanduser() if out else _beside(probes)
    kept(probes, folder, apart=out is not None)
    show(probes)
    say(f"saved in   {os.path.relpath(folder)}")
    return folder


def of_run(place: str | Path, say: Say = said) -> Probe:
    """The network of a run at its start and at the step that validation chose (the last one saved,
    where it chose none).
    """
    home = Path(place).expanduser()
    best = (home / "best.pt").exists() or not (home / "last.pt").exists()
    opened = open_run(home, weights="best" if best else "last", say=say)
    pack = Pack([opened.settings], opened.kind, opened.task)
    batch = next(pack.feeder.evaluation("valid", SEQUENCES, 1))
    (initial,), (trained,) = (
        measured(network, batch, pack.task.loss) for network in (pack.network, opened.network)
    )
    again = replay(opened)
    checkpoint = {"file": "best.pt" if best else "last.pt", "step": opened.step}
    settings, about = opened.settings, {"checkpoint": checkpoint, "id": home.resolve().name}
    return Probe(
        settings.cell.name,
        _found(settings, pack, batch, initial, trained, about, again.plain() if again else None),
        home,
    )


def of_settings(settings: Settings, overrides: Sequence[str], say: Say = said) -> Probe:
    """A network as it starts. overrides: what tells it from others."""
    pack = Pack([settings], layer_of(settings.cell, settings.model), load_task(settings, say))
    batch = next(pack.feeder.evaluation("valid", SEQUENCES, 1))
    (initial,) = measured(pack.network, batch, pack.task.loss)
    more = [text for text in overrides if not text.startswith(("cell=", "seed="))]
    label = " ".join(
        [
            settings.cell.name,
            *(re.sub(r"^(cell|task|model)\.", "", text).replace("\\", "") for text in more),
        ]
    )
    return Probe(
        label,
        _found(settings, pack, batch, initial, None, {"checkpoint": None, "id": None}, None),
        None,
    )


def combinations(asked: Sequence[str], many: bool) -> list[tuple[Settings, list[str]]]:
    """(settings, the overrides that vary) of every combination; without `many` there is one."""
    if not many:
        return [(compose(asked), [])]
    try:
        found = axes(asked, lambda _: False)
    except HydraException as error:
        raise UserError(
            f"cannot read '{shlex.join(asked)}': {' '.join(str(error).split())[:100]}"
        ) from None
    varying = {axis.key for axis in found if len(axis.values) > 1}
    made = []
    for job in grid(found):
        words = [f"{key}={value}" for key, value in job.items()]
        made.append((compose(words), [word for word in words if word.partition("=")[0] in varying]))
    return made


def _found(
    settings: Settings,
    pack: Pack,
    batch: Any,
    initial: Plain,
    trained: Plain | None,
    about: Plain,
    divergence: Plain | None,
) -> Plain:
    return {
        "schema": SCHEMA,
        "rnnbench": __version__,
        "cell": settings.cell.name,
        "task": settings.task["name"],
        "seed": settings.seed,
        "hidden": pack.hidden,
        "sequences": batch.x.shape[2],
        "steps": batch.x.shape[1],
        **about,
        "settings": asdict(settings),
        "initial": initial,
        "trained": trained,
        "divergence": divergence,
    }


def distinct(probes: Sequence[Probe]) -> list[Probe]:
    """The same with labels of which no two are alike where cells are not enough: by task, by the
    settings that differ, by seed, then by number.
    """
    for telling in (_task, _settings_that_differ, _seed, _place):
        alike: dict[str, list[Probe]] = {}
        for probe in probes:
            alike.setdefault(probe.label, []).append(probe)
        told: dict[int, str] = {}
        for same in alike.values():
            if len(same) > 1:
                told |= zip(map(id, same), telling(same), strict=True)
        named = []
        for probe in probes:
            label = f"{probe.label} {told.get(id(probe), '')}".rstrip()
            family = probe.label if telling is _seed else probe.family
            named.append(replace(probe, label=label, family=family))
        probes = named
    return list(probes)


def _task(probes: Sequence[Probe]) -> list[str]:
    return _unless_all([f"task {p.found['task']}" for p in probes])


def _seed(probes: Sequence[Probe]) -> list[str]:
    return _unless_all([f"seed {p.found['seed']}" for p in probes])


def _place(probes: Sequence[Probe]) -> list[str]:
    return [f"({k + 1})" for k in range(len(probes))]


def _unless_all(words: list[str]) -> list[str]:
    return words if len(set(words)) > 1 else [""] * len(words)


def _settings_that_differ(probes: Sequence[Probe]) -> list[str]:
    """Such as 'forget_bias=1'. What is null, or as with most of them, goes without saying."""
    settings = [{part: probe.found["settings"][part] for part in TELLING} for probe in probes]
    flat = [dotted(one) for one in settings]
    said: list[list[str]] = [[] for _ in probes]
    for key in dict.fromkeys(key for one in flat for key in one):
        values = [str(one.get(key)) for one in flat]
        common, count = Counter(values).most_common(1)[0]
        usual = {"None"} | ({common} if 2 * count > len(values) else set())
        for words, value in zip(said, values, strict=True):
            if value not in usual:
                words.append(f"{key.partition('.')[2]}={value.removesuffix('.0')}")
    return [" ".join(words) for words in said]


def _beside(probes: Sequence[Probe]) -> Path:
    """Where pictures go unless said: below the run, below what the runs have in common, or beside
    the results.
    """
    homes = [p.home.resolve() for p in probes if p.home]
    if homes:
        return Path(os.path.commonpath(homes)) / "probe"
    first = probes[0].found
    tasks = "-".join(sorted({p.found["task"] for p in probes}))
    return Path(first["settings"]["paths"]["results"]).expanduser().parent / "probes" / tasks


def kept(probes: Sequence[Probe], folder: Path, apart: bool) -> None:
    """Write probe.json of each, pictures, and probes.csv, which has a row per network and time.

    apart: everything into `folder`, nothing into run folders.
    """
    for one in probes:
        own = (
            folder / re.sub(r"[^\w.=-]+", "-", one.label).strip("-") if len(probes) > 1 else folder
        )
        inside = one.home if one.home and not apart else own
        text = json.dumps(finite(one.found), ensure_ascii=False, separators=(",", ":"))
        add_file(inside / "probe.json", text + "\n")
        place = inside / "probe" if one.home and not apart else own
        title = f"{one.label} on {one.found['task']}"
        for time in TIMES:
            if one.found[time] and one.found[time]["shown"]["gates"]:
                dynamics.save(
                    dynamics.gate_map(
                        one.found[time], f"What the gates do: {title}, {TIMES[time]}"
                    ),
                    place / f"gates-{time}.png",
                )
        dynamics.save(
            dynamics.singular_values(
                one.found, f"What one step does to small differences: {title}", label=one.family
            ),
            place / "jacobian.png",
        )
        if one.home and not apart:
            shown = {path.stem: path for path in sorted(place.glob("*.png"))}
            add_pictures(Folder(one.home).board_path / "probe", shown)
    add_file(
        folder / "probes.csv",
        pd.DataFrame(rows(probes)).map(inert).to_csv(index=False, float_format="%.5g"),
    )
    families: dict[str, list[Plain]] = {}
    for one in probes:
        families.setdefault(one.family, []).append(one.found)
    named = {family: pooled(members) for family, members in families.items()}
    tasks = ", ".join(dict.fromkeys(one.found["task"] for one in probes))
    dynamics.save(
        dynamics.gradient_norms(named, title=f"How far back the gradient reaches: {tasks}"),
        folder / "gradients.png",
    )
    dynamics.save(dynamics.sensitivity(named), folder / "sensitivity.png")


def rows(probes: Sequence[Probe]) -> list[dict[str, Any]]:
    """The numbers that `show` shows, and the median gradient at some lags relative to lag 1."""
    made = []
    for one in probes:
        for time in TIMES:
            if one.found[time]:
                median = one.found[time]["layers"][0]["gradient"][WHOLE]["median"]
                known = {
                    f"gradient@{lag}": median[lag] / median[1]
                    for lag in LAGS
                    if lag < len(median) and median[lag] and median[1]
                }
                told = {key: one.found[key] for key in ("task", "cell", "seed", "id")}
                made.append(
                    {
                        "network": one.label,
                        **told,
                        "time": time,
                        **asdict(short(one.found[time])),
                        **known,
                    }
                )
    return made


def show(probes: Sequence[Probe]) -> None:
    """A line per network and time, then what the numbers mean; of several layers the worst number,
    of horizons that of the first layer.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("cell", overflow="fold")
    table.add_column("", no_wrap=True)
    for column in ("horizon\n1/e", "\n1/100", "Lyapunov", "saturated", "max |state|"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in probes:
        for time in TIMES:
            if one.found[time]:
                few = short(one.found[time])
                growth = "–" if few.lyapunov is None else f"{few.lyapunov:+.3f}"
                saturated = "no gates" if few.saturated is None else f"{100 * few.saturated:.0f} %"
                size = "not finite" if few.largest is None else number(few.largest)
                table.add_row(one.label, time, *few.horizons, growth, saturated, size)
    console.print(table, soft_wrap=False)
    for line in (*MEANING, *starts(probes)):
        said(line)
    for one in probes:
        if again := one.found["divergence"]:
            verdict = (
                "replayed from last.pt"
                if again["reproduced"]
                else f"not reproduced in {again['steps']} steps from last.pt"
            )
            said(
                f"{one.label} diverged, {verdict}"
                + (f": {again['reason']}" if again["reason"] else "")
            )


def starts(probes: Sequence[Probe]) -> list[str]:
    """What the start of the weights does to the numbers, of the networks that are there, and what
    to compare with.
    """
    turning, halving, gateless = [], [], []
    for one in probes:
        cell = one.found["settings"]["cell"]
        gated = one.found["initial"]["saturated"] is not None
        biased = cell["forget_bias"] or cell["init"].startswith("chrono")
        if not gated:
            gateless.append(cell["name"])
        if not gated and cell["init"] == "orthogonal" and cell["name"] == "tanh":
            turning.append(cell["name"])
        if gated and cell["forget"] and not biased:
            halving.append(cell["name"])
    told = [
        "initial    how the weights start, which says as much about the start as about the cell:"
    ]
    if turning:
        told.append(
            f"           {_names(turning)}: with init=orthogonal the recurrent matrix keeps "
            f"lengths, so that the gradient neither grows nor shrinks at first but for the slope "
            f"of tanh; with small weights it vanishes (cell.init=scaled:0.7)"
        )
    if halving:
        told.append(
            f"           {_names(halving)}: gates start half open, so that about half of the "
            f"memory goes at each step until training opens them (or cell.forget_bias=1)"
        )
    trained = any(one.found["trained"] for one in probes)
    other = "the line “trained”" if trained else "a trained network (rnnbench probe RUN_DIR)"
    told.append(f"           compare with cell.init=paper, and with {other}")
    if gateless:
        told.append(f"no gates   {_names(gateless)}: no picture of them")
    return told


def _names(cells: Sequence[str]) -> str:
    return listing(list(dict.fromkeys(cells)))
