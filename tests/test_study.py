"""A study is data: what is wrong in its file is said in a line, what is right runs once, anywhere,
and leaves the same bytes.
"""

import csv
import gzip
import json
import os
import signal
from pathlib import Path
from statistics import median

import pytest
import yaml

from rnnbench import cli
from rnnbench.catalogue import choices, config_dir
from rnnbench.claims.design import SCALES, of_label, read
from rnnbench.claims.gates import improving
from rnnbench.claims.judging import judge
from rnnbench.claims.kind import kinds
from rnnbench.compose import compose
from rnnbench.errors import UserError
from rnnbench.runs.frame import load
from rnnbench.runs.made import MANIFEST
from rnnbench.studies import parts
from rnnbench.sweep import estimate
from rnnbench.sweep.backends import BACKENDS
from rnnbench.sweep.work import work

ARCHIVE = Path(__file__).parent.parent / "results" / "archive"
TINY = [
    "task=adding",
    "debug=tiny",
    "task.length={T}",
    "task.valid_size=20",
    "task.test_size=20",
    "train.steps={steps}",
    "train.eval_every=2",
]
CLAIM = {
    "says": "s",
    "source": "greff2017",
    "kind": "better",
    "x": {"cell": "lstm"},
    "y": {"cell": "gru"},
    "margin": "5%",
}


def written(**changes):
    """The study of these tests, as values."""
    return {
        "question": "Which?",
        "sources": ["greff2017"],
        "parts": {
            "grid": {"sweep": ["cell=lstm,gru", *TINY, "seed=range(2)"]},
            "search": {
                "sweep": [
                    "cell=lstm,gru",
                    *TINY,
                    "trials={trials}",
                    "optim.lr=tag(log, interval(1e-3, 1))",
                    "seed=5",
                ]
            },
            "confirm": {"best_of": "search", "sweep": ["seed=range(100,102)"]},
        },
        "scales": {
            "smoke": {"T": 5, "steps": 4, "trials": 3},
            "small": {"T": 6, "steps": 6, "trials": 4},
            "paper": {"T": 7, "steps": 8, "trials": 500},
        },
        "claims": {"A": CLAIM},
    } | changes


@pytest.fixture
def file(tmp_path):
    """file(**changes) → the path of a study, with top keys changed."""

    def made(name="mine", **changes):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(written(**changes), sort_keys=False), "utf-8")
        return str(path)

    return made


@pytest.fixture
def trains(monkeypatch):
    """Workers are this process; the list of packs that they were given."""
    given = []

    def here(packs, workers, orders, cluster):
        for pack in packs:
            given.append(pack)
            yield pack, work(pack, orders)

    monkeypatch.setitem(BACKENDS, "loky", here)
    return given


@pytest.fixture
def study(tmp_path, monkeypatch):
    """study(path, *words) → the exit code, at scale smoke; what runs leave and results stand in the
    test's own folder.
    """
    monkeypatch.chdir(tmp_path)

    def run(path, *words, results="runs"):
        return cli.main(
            [
                "study",
                path,
                "--scale",
                "smoke",
                "engine=loop",
                "workers=1",
                f"paths.results={results}",
                *words,
            ]
        )

    return run


def lines(path="results/mine-smoke/runs.jsonl.gz"):
    return [json.loads(line) for line in gzip.decompress(Path(path).read_bytes()).splitlines()]


def content(folder="results/mine-smoke"):
    """What every file holds. vl-convert numbers what is in a PDF as it likes: of those the length,
    and nothing of the list that has their checksums.
    """
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    whole = [path for path in files if path.suffix != ".pdf" and path.name != MANIFEST]
    lengths = {str(path): path.stat().st_size for path in files if path.suffix == ".pdf"}
    return {str(path): path.read_bytes() for path in whole} | lengths


# The file


def test_names_become_what_the_scale_says(file):
    path = file(
        claims={
            "A": CLAIM
            | {
                "where": {"task.length": "{T}", "task": "adding"},
                "each": {"seed": ["{T}", 3]},
                "says": "At {T}.",
            }
        }
    )
    small, paper = read(path, "small"), read(path, "paper")
    assert (small.label, paper.label) == ("mine", "mine-paper")
    assert (
        "task.length=6" in small.parts[0].sweeps[0] and "task.length=7" in paper.parts[0].sweeps[0]
    )
    claim = paper.claims[0]
    assert (claim.where, claim.each, claim.says, claim.margin) == (
        {"task.length": 7, "task": "adding"},
        {"seed": (7, 3)},
        "At 7.",
        "5%",
    )
    assert (claim.metric, claim.goal, claim.log, claim.holds, claim.groups, claim.range) == (
        "value",
        None,
        False,
        "all",
        (),
        None,
    )


def test_a_name_for_several_words():
    assert read_words("seed=0", "{T}", "{rule}", T=5, rule=["optim=sgd", "optim.lr=1"]) == (
        "seed=0",
        5,
        "optim=sgd",
        "optim.lr=1",
    )


def test_what_hydra_refers_to_stays():
    assert read_words("train.eval_batch=${train.batch}", "model={hidden:3}") == (
        "train.eval_batch=${train.batch}",
        "model={hidden:3}",
    )


def read_words(*words, **names):
    from rnnbench.claims.checked import Checked

    return tuple(Checked.filled(Checked.__new__(Checked), "", list(words), names))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scales": {"smoke": {}, "small": {}}}, "scales.paper must be a table"),
        (
            {"scales": {"smoke": {"T": 1}, "small": {"T": 1}, "paper": {}}},
            "scales.paper says nothing of 'T'",
        ),
        ({"scales": {s: {} for s in (*SCALES, "large")}}, "scales.large: unknown key 'large'"),
        (
            {"scales": {s: {"T": 1, "steps": 2} for s in SCALES}},
            "parts.search.sweep: unknown name in braces 'trials'",
        ),
        ({"qestion": "x"}, "qestion: unknown key 'qestion'; did you mean 'question'?"),
        ({"question": ""}, "question is missing or empty"),
        ({"parts": {}}, "parts is empty; a study has runs"),
        ({"parts": {"a": {"sweep": "cell=gru"}}}, "parts.a.sweep must be a list"),
        ({"parts": {"a": {"sweep": ["gru"]}}}, "parts.a.sweep must be a list of key=value"),
        (
            {"parts": {"a": {"sweep": ["cell=gru"], "variants": ["seed=1"]}}},
            "parts.a.variants must be a list [a, b], got 'seed=1'",
        ),
        ({"parts": {"a": {"sweep": ["study=x"]}}}, "parts.a.sweep must leave study out"),
        (
            {"parts": {"a": {"sweep": ["seed=1"], "within": {"optim.lr": 1}}}},
            "parts.a.within belongs to a part with best_of",
        ),
        (
            {"parts": {"a": {"sweep": ["seed=1"], "best_of": "b"}, "b": {"sweep": ["seed=1"]}}},
            "parts.a.best_of must name a part before it",
        ),
        (
            {"claims": {"A": CLAIM | {"kind": "beter"}}},
            "claims.A.kind: unknown kind 'beter'; did you mean 'better'?",
        ),
        (
            {"claims": {"A": CLAIM | {"metric": "accuracy", "goal": "max"}}},
            "claims.A.metric must be a column of the table of runs; a score is test.accuracy or "
            "final.accuracy, got accuracy",
        ),
        (
            {"claims": {"A": CLAIM | {"margn": 1}}},
            "claims.A.margn: unknown key of a claim of kind better 'margn'; did you mean 'margin'?",
        ),
        (
            {"claims": {"A": CLAIM | {"key": "optim.lr"}}},
            "claims.A.key: unknown key of a claim of kind better 'key'",
        ),
        ({"claims": {"A": CLAIM | {"margin": -1}}}, "claims.A.margin must be a number above 0"),
        (
            {"claims": {"A": CLAIM | {"x": {"seed": {"most": 3}}}}},
            "claims.A.x.seed must be a value, a list of values or {min: a, max: b}",
        ),
        ({"claims": {"A": CLAIM | {"metric": "test.loss"}}}, "claims.A.goal must be min or max"),
        ({"claims": {"A": CLAIM | {"holds": "most"}}}, "claims.A.holds must be all or any"),
        ({"claims": {"A": CLAIM | {"log": "yes"}}}, "claims.A.log must be true or false"),
        (
            {"claims": {"A": CLAIM | {"kind": "share", "metric": "value"}}},
            "claims.A.metric must be solved or diverged",
        ),
    ],
)
def test_refusals(file, changes, said):
    with pytest.raises(UserError) as refused:
        read(file(**changes), "paper")
    assert f"mine.yaml: {said}" in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", kinds())
def test_a_claim_has_what_its_kind_needs(file, kind):
    whole = {
        "x": {"cell": "a"},
        "y": {"cell": "b"},
        "first": {"task": "c"},
        "second": {"task": "d"},
        "margin": 1,
        "metric": "solved",
        "range": [0, 1],
    }
    whole |= {"key": "optim.lr", "groups": [{"seed": 1}, {"seed": 2}], "goal": "min"}
    claim = (
        {key: CLAIM[key] for key in ("says", "source")}
        | {"kind": kind}
        | {key: whole[key] for key in kinds()[kind].needs}
    )
    assert read(file(claims={"A": claim}), "small").claims[0].kind == kind
    for key in kinds()[kind].needs:
        with pytest.raises(
            UserError,
            match=rf"claims.A.{key} is missing or empty; .* the keys of a claim of kind {kind} "
            rf"need",
        ):
            read(file(claims={"A": {k: v for k, v in claim.items() if k != key}}), "small")


def test_broken_yaml_names_its_line(file, tmp_path):
    (tmp_path / "mine.yaml").write_text("question: q\nparts: {a: {sweep: [trials={n}]}}\n")
    with pytest.raises(
        UserError, match=r"mine.yaml: line 2: .*; a text with braces, commas or colons needs quotes"
    ):
        read(str(tmp_path / "mine.yaml"), "small")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", choices("studies"))
def test_every_study_can_be_read(name, scale):
    found = read(name, scale)
    assert of_label(found.label) == found and parts.size(found) > 0


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name != "forgetbias" else ())
        for name in choices("studies")
    ],
)
def test_every_study_can_be_composed(name):
    """And its runs are as many as the listing counts without composing any."""
    found = read(name, "smoke")
    planned = parts.plan(found, [])
    assert sum(len(made.jobs) for made in planned.values()) == parts.size(found)
    assert {job.settings.study for made in planned.values() for job in made.jobs} == {found.label}


@pytest.mark.slow
@pytest.mark.usefixtures("trains")  # new workers for each part would cost more than its runs
@pytest.mark.parametrize("name", choices("studies"))
def test_every_study_goes_from_its_yaml_to_its_verdicts(study, name, mirror, tmp_path):
    """At scale smoke, which is what it is for: all parts, on real data, and a report that judges
    every claim.
    """
    assert study(name, f"paths.mirror={mirror}", f"paths.data={tmp_path}/data") == 0
    rows = Path(f"results/{name}-smoke/tables/claims.csv").read_text("utf-8").splitlines()
    assert len(rows) == 1 + len(read(name, "smoke").claims)
    assert not any("contradicted" in row or "reproduced" in row for row in rows), (
        "two runs a side decide nothing"
    )


def test_the_archive_can_be_read_and_judged_again():
    """Its studies stand beside their runs; one is judged here, the others have the same form."""
    names = {path.parent.name for path in ARCHIVE.glob("*/runs.jsonl.gz")}
    assert names == {"first-forgetbias", "first-jozefowicz2015", "greff2017", "parity"}
    assert sum(path.stat().st_size for path in ARCHIVE.rglob("*")) < 3e6
    for name in names:
        found = read(str(ARCHIVE / name / f"{name}.yaml"), "small")
        assert found.label == name and of_label(name) is None
    found = read(str(ARCHIVE / "first-forgetbias" / "first-forgetbias.yaml"), "small")
    frame = load(str(ARCHIVE / "first-forgetbias"))
    assert set(frame["study"]) == {"first-forgetbias"}
    judged = judge(frame.assign(improving=improving(frame)), found)
    rows = (ARCHIVE / "first-forgetbias" / "claims.csv").read_text("utf-8").splitlines()
    written = {row["claim"]: row["verdict"] for row in csv.DictReader(rows)}
    assert {one.claim.id: one.verdict for one in judged} == written


def test_labels_that_are_no_study():
    assert (
        of_label("default") is None
        and of_label("default-smoke") is None
        and of_label("smoke") is None
    )


def test_the_folder_of_studies_is_no_group_that_a_setting_is_called_by():
    assert not (config_dir() / "study").exists(), (
        "Hydra would take study=NAME for a choice among its files"
    )


# Plans


def test_a_plan_trains_nothing_and_says_what_would_run(study, file, trains, capsys):
    assert study(file(), "--plan") == 0
    said = capsys.readouterr().out
    rows = {
        line.split()[0]: line.split()
        for line in said.splitlines()
        if line.startswith((" grid", " search", " confirm", " all"))
    }
    assert (
        rows["grid"][1:6] == ["4", "2", "2", "1", "16"]
        and rows["search"][1] == "6"
        and rows["all"][1] == "14"
    )
    assert "(best of search)" in said and "not known yet" in said
    assert "by the speed of the runs in results/ of rnnbench. At most" in said
    assert float(rows["all"][-1]) > 0 and "left: 14 of 14 runs" in said
    assert "--scale smoke engine=loop workers=1 paths.results=runs\n" in said
    assert (
        "backend=submitit workers=100 cluster.slurm_partition=cpu cluster.timeout_min=60 "
        "cluster.mem_gb=4" in said
    )
    assert "rnnbench train -m cell=lstm,gru task=adding debug=tiny task.length=5" in said
    assert not trains and not Path("runs").exists() and not Path("results").exists()


def test_core_hours_rest_on_runs_at_hand(study, file, trains, capsys, monkeypatch):
    assert study(file(parts={"grid": written()["parts"]["grid"]})) == 0
    record = lines()[0]
    capsys.readouterr()
    assert (
        study(
            file(
                parts={"grid": {"sweep": [*written()["parts"]["grid"]["sweep"], "train.batch=400"]}}
            ),
            "--plan",
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "4 runs at hand (engine loop)" in said and "left: 4 of 4 runs" in said
    hours = float(next(line for line in said.splitlines() if line.startswith(" all")).split()[-1])
    took = sum(sum(run["seconds"].values()) / run["replicas"] for run in lines())
    settings = record["settings"]
    wider = settings | {"train": settings["train"] | {"batch": 400}}
    more = estimate.seconds(wider) / estimate.seconds(settings)
    assert 1 < more < 400 / settings["train"]["batch"]
    assert hours == pytest.approx(took * more / 3600, rel=0.1)  # cells gain differently
    reasoned = [run | {"engine": "loop (there is no compiler)"} for run in lines()]
    monkeypatch.setattr(estimate, "records", lambda places: reasoned)
    assert estimate.measured([]).engines == ("loop",)


def test_what_is_not_at_hand_takes_as_long_as_what_is_nearest():
    """The pair itself; the cell elsewhere; the task with other cells; all."""
    ratios = {("copy", "gru"): 1.0, ("adding", "gru"): 3.0, ("copy", "tcn"): 9.0, ("xml", "ntm"): 5}
    speed = estimate.Speed(ratios, 4, ("native",))
    wanted = {("copy", "tcn"): 9, ("xml", "gru"): 2, ("copy", "lstm"): 5, ("parity", "lstm"): 4}
    assert {pair: speed.ratio(*pair) for pair in wanted} == wanted
    assert estimate.Speed({}, 0, ()).ratio("copy", "gru") == 1


def test_a_plan_says_what_is_left(study, file, trains, capsys):
    """All of it, then nothing of a study that is done, with the settings that it chose."""
    path = file()
    assert study(path, "--plan") == 0
    assert "confirm: what search will choose is not known yet" in capsys.readouterr().out
    assert study(path) == 0
    capsys.readouterr()
    assert study(path, "--plan") == 0
    said = capsys.readouterr().out
    assert "left: 0 of 14 runs, 0 of" in said and "not known yet" not in said


def test_budgets_in_epochs_are_counted_as_the_data_have_it(mirror, tmp_path):
    """Two passes over 229 chorales in batches of 8, whatever train.steps says."""
    words = ["cell=gru", "task=chorales", "train.epochs=2", "train.batch=8"]
    run = compose([*words, f"paths.mirror={mirror}", f"paths.data={tmp_path}/data"])
    assert estimate.total_steps([run, run]) == 2 * 2 * (229 // 8)
    nowhere = compose([*words, f"paths.mirror={tmp_path}", f"paths.data={tmp_path}/none"])
    assert estimate.budget(nowhere, {}).steps == run.train.steps


def test_the_estimate_fits_the_runs_of_results():
    """Written down as numbers, since `results/` is in no wheel; here it is held to them: of the
    archived runs of each study half take what it says within a factor of 2.5.
    """
    files = sorted(ARCHIVE.glob("*/runs.jsonl.gz"))
    assert files
    for path in files:
        rows = [json.loads(row) for row in gzip.decompress(path.read_bytes()).splitlines()[::20]]
        ratios = [
            sum(row["seconds"].values())
            / row["replicas"]
            / (estimate.seconds(row["settings"]) * row["steps"] / row["settings"]["train"]["steps"])
            for row in rows
            if row["steps"] >= estimate.BRIEF and row["engine"] == "native"
        ]
        if len(ratios) >= 20:
            assert 1 / 2.5 < median(ratios) < 2.5, path


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        (["cell=gru"], "a best_of part changes values of the chosen settings"),
        (
            ["trials=3", "optim.lr=interval(0, 1)"],
            "a best_of part changes values of the chosen settings",
        ),
        (["trian.steps=3"], "unknown key 'trian'; did you mean 'train'?"),
        (["train.stesp=3"], "unknown key 'train.stesp'; did you mean 'train.steps'?"),
        (["train.steps=many"], "train.steps must be a whole number, got 'many'"),
    ],
)
def test_what_a_best_setting_cannot_become(study, file, sweep, said, trains, capsys):
    assert (
        study(file(parts=written()["parts"] | {"confirm": {"best_of": "search", "sweep": sweep}}))
        == 2
    )
    assert f"rnnbench: mine: parts.confirm: {said}" in capsys.readouterr().err
    assert not trains and not Path("runs").exists()


@pytest.mark.parametrize(
    "word",
    [
        "cell=gru",
        "train.steps=3",
        "trials=3",
        "seed=1",
        "study=x",
        "debug=tiny",
        "hydra/launcher=basic",
        "gru",
    ],
)
def test_words_that_would_make_another_study(study, file, word, capsys):
    assert study(file(), word) == 2
    assert (
        f"'{word}' cannot be given to a study, only how it runs: workers="
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["study", "forgetbia"], "unknown study 'forgetbia'; did you mean 'forgetbias'?"),
        (["study", "nowhere.yaml"], "no file 'nowhere.yaml'"),
        (["study", "forgetbias", "--scale", "tiny"], "unknown scale 'tiny'"),
        (["study", "forgetbias", "--plan", "workers=x"], "forgetbias: parts."),
        (
            ["study", "forgetbias", "--plan", "workers=1", "--frob"],
            "unrecognized arguments: --frob",
        ),
    ],
)
def test_one_line_and_exit_code_2(arguments, said, capsys):
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_list(capsys):
    assert cli.main(["list", "studies"]) == 0
    assert "forgetbias" in capsys.readouterr().out


# Runs


def test_a_study_that_is_done_trains_nothing_and_writes_the_same_bytes_anywhere(
    study, file, trains, tmp_path
):
    path = file()
    assert study(path) == 0
    first = content()
    assert trains and len(lines()) == 14 and {run["study"] for run in lines()} == {"mine-smoke"}
    assert {"results/mine-smoke/index.html", "results/mine-smoke/report.md"} <= first.keys()
    assert "Claims and verdicts" in Path("results/mine-smoke/report.md").read_text("utf-8"), (
        "a study of one's own is judged, too"
    )
    trains.clear()
    assert study(path) == 0 and study(path, results="elsewhere") == 0
    assert not trains and content() == first
    assert len(list(Path("elsewhere").rglob("record.json"))) == 14


def test_the_best_of_a_search_differs_in_what_the_words_change_alone(study, file, trains):
    assert study(file()) == 0
    runs = lines()
    for cell in ("lstm", "gru"):
        search = [run for run in runs if run["cell"] == cell and run["seed"] == 5]
        best = min(search, key=lambda run: run["best"]["valid"]["mse"])
        confirm = [run for run in runs if run["cell"] == cell and run["seed"] >= 100]
        assert [len(search), sorted(run["seed"] for run in confirm)] == [3, [100, 101]]
        for run in confirm:
            assert run["settings"] | {"seed": 5} == best["settings"]
            assert run["overrides"] == [
                f"seed={run['seed']}" if word == "seed=5" else word for word in best["overrides"]
            ]


def test_a_part_chooses_within_what_it_is_told(study, file, trains):
    search = written()["parts"]["search"]["sweep"]
    within = {"cell.name": "gru", "optim.lr": {"max": 0.05}}
    parts_ = {
        "search": {"sweep": [*search, "trials=6"]},
        "low": {"best_of": "search", "within": within, "sweep": ["seed=range(100,102)"]},
    }
    path = file(parts=parts_)
    planned = parts.plan(read(path, "smoke"), [])
    assert [len(made.jobs) for made in planned.values()] == [12, 2]
    assert parts.size(read(path, "smoke")) == 14
    assert study(path) == 0
    rate = {run["id"]: run["settings"]["optim"]["lr"] for run in lines()}
    tried = [run for run in lines() if run["seed"] == 5 and run["cell"] == "gru"]
    assert max(rate[run["id"]] for run in tried) > 0.05
    allowed = [run for run in tried if rate[run["id"]] <= 0.05]
    best = min(allowed, key=lambda run: run["best"]["valid"]["mse"])
    low = [run for run in lines() if run["seed"] >= 100]
    assert [run["cell"] for run in low] == ["gru", "gru"]
    assert {rate[run["id"]] for run in low} == {rate[best["id"]]}


def test_a_part_may_choose_within_a_setting_that_only_some_tasks_have(file, trains):
    search = ["cell=gru", "debug=tiny", "train.steps={steps}", "seed=5"]
    parts_ = {
        "search": {
            "sweep": search,
            "variants": [["task=adding", "task.length=5,6"], ["task=chorales"]],
        },
        "low": {"best_of": "search", "within": {"task.length": 5}, "sweep": ["seed=7"]},
    }
    planned = parts.plan(read(file(parts=parts_), "smoke"), [])
    names = [job.settings.task["name"] for job in planned["search"].jobs]
    assert names == ["adding", "adding", "chorales"]
    assert [job.settings.task["length"] for job in planned["low"].jobs] == [5]


def test_a_part_cannot_choose_by_what_is_no_setting(study, file, trains, capsys):
    confirm = {"best_of": "search", "within": {"optim.rate": 1}, "sweep": ["seed=7"]}
    assert study(file(parts=written()["parts"] | {"confirm": confirm})) == 2
    assert "parts.confirm: unknown setting 'optim.rate'" in capsys.readouterr().err
    assert not trains


def test_settings_can_be_halved(study, file, trains):
    """Six settings a cell, the best two with twice the budget, the better of those with new seeds:
    what is chosen follows from validation alone, and the budget counts as searched.
    """
    search = written()["parts"]["search"]["sweep"]
    parts_ = {
        "short": {"sweep": [*search, "trials=6"]},
        "long": {"best_of": "short", "best": 2, "sweep": ["train.steps=8"]},
        "confirm": {"best_of": "long", "sweep": ["seed=range(100,102)"]},
    }
    path = file(parts=parts_)
    found = read(path, "smoke")
    assert found.searched == {"optim.lr", "train.steps"}
    planned = parts.plan(found, [])
    assert [len(made.jobs) for made in planned.values()] == [12, 4, 4] and parts.size(found) == 20
    assert study(path) == 0
    runs = lines()
    for cell in ("lstm", "gru"):
        short, long, new = (
            [run for run in runs if run["cell"] == cell and chosen(run)]
            for chosen in (
                lambda run: run["seed"] == 5 and run["steps"] == 4,
                lambda run: run["seed"] == 5 and run["steps"] == 8,
                lambda run: run["seed"] >= 100,
            )
        )
        assert [len(short), len(long), len(new)] == [6, 2, 2]

        def rates(of):
            ordered = sorted(of, key=lambda run: run["best"]["valid"]["mse"])
            return [run["settings"]["optim"]["lr"] for run in ordered]

        assert set(rates(long)) == set(rates(short)[:2])
        assert set(rates(new)) == {rates(long)[0]} and {run["steps"] for run in new} == {8}


def test_a_grid_chooses_for_each_variant_of_cell_and_task_over_its_seeds(study, file, trains):
    words = [
        "cell=lstm",
        *TINY[:2],
        "task.length=4,5",
        *TINY[3:],
        "cell.forget_bias=0,1",
        "optim.lr=0.001,0.1",
        "seed=range(2)",
    ]
    assert (
        study(
            file(
                parts={
                    "grid": {"sweep": words},
                    "again": {"best_of": "grid", "sweep": ["seed=7,8", "train.steps=6"]},
                }
            )
        )
        == 0
    )
    again = [run["settings"] for run in lines() if run["seed"] > 5]
    for length, bias in ((4, 0), (4, 1), (5, 0), (5, 1)):
        chosen = [
            s for s in again if s["task"]["length"] == length and s["cell"]["forget_bias"] == bias
        ]
        assert (
            len(chosen) == 2
            and len({s["optim"]["lr"] for s in chosen}) == 1
            and {s["train"]["steps"] for s in chosen} == {6}
        )
        means = {}
        for run in lines():
            s = run["settings"]
            if run["seed"] < 5 and (s["task"]["length"], s["cell"]["forget_bias"]) == (
                length,
                bias,
            ):
                means[s["optim"]["lr"]] = (
                    means.get(s["optim"]["lr"], 0) + run["best"]["valid"]["mse"]
                )
        assert chosen[0]["optim"]["lr"] == min(means, key=means.get)


def test_interrupted_it_keeps_what_ended_and_goes_on(study, file, trains, monkeypatch, capsys):
    done = BACKENDS["loky"]

    def stopped(packs, workers, orders, cluster):
        for result in done(packs[:1], workers, orders, cluster):
            os.kill(os.getpid(), signal.SIGINT)
            yield result

    monkeypatch.setitem(BACKENDS, "loky", stopped)
    path = file()
    assert study(path) == 130
    error = capsys.readouterr().err
    assert (
        f"to go on:\n  rnnbench study {path} --scale smoke engine=loop workers=1 "
        f"paths.results=runs\n" in error
    )
    assert len(lines()) == 2 and not Path("results/mine-smoke/index.html").exists()
    monkeypatch.setitem(BACKENDS, "loky", done)
    trains.clear()
    assert study(path, results="another machine") == 0
    assert len(lines()) == 14 and sum(map(len, trains)) == 12


@pytest.mark.filterwarnings("ignore:.*no curve to read")  # which the user is told
def test_what_fails_takes_no_other_part_with_it(study, file, trains, monkeypatch, capsys):
    from rnnbench.training import run as engine

    train = engine.run_pack

    def fails(runs, *rest):
        if any(run.seed == 5 and run.cell.name == "gru" for run in runs):
            raise MemoryError
        return train(runs, *rest)

    monkeypatch.setattr(engine, "run_pack", fails)
    path = file()
    assert study(path) == 3
    assert "search: 3 of 6 runs failed" in capsys.readouterr().err
    assert [run["cell"] for run in lines() if run["seed"] >= 100] == ["lstm"] * 2 and Path(
        "results/mine-smoke/index.html"
    ).exists()
    monkeypatch.undo()


def test_runs_of_an_earlier_design_are_left_out(study, file, trains, capsys):
    assert study(file(parts={"grid": written()["parts"]["grid"]})) == 0
    grid = written()["parts"]["grid"]["sweep"]
    assert study(file(parts={"grid": {"sweep": [*grid[:-1], "seed=range(1,3)"]}})) == 0
    assert sorted(run["seed"] for run in lines()) == [1, 1, 2, 2]
    assert "2 runs under this label are none of the study as it is now" in capsys.readouterr().out
