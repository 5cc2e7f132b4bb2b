"""Data and tasks of a user's: what is read, split, scaled and scored, and how what is wrong is
said.
"""

import hashlib
import importlib.metadata
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_squared_error
from statsmodels.datasets import co2

from rnnbench.draw import Draw
from rnnbench.errors import UserError
from rnnbench.sweep.launch import Options, launch
from rnnbench.sweep.planning import Job
from rnnbench.tasks.archive import Archive, _load
from rnnbench.tasks.arrays import Arrays
from rnnbench.tasks.checking import check, watched
from rnnbench.tasks.contract import Batch, Generated
from rnnbench.tasks.table import Table

SPLITS = ("valid", "test")


def machines(count=40, seed=0):
    """Sensors of machines, rows shuffled: a class a machine, sequences of 3 to 8 steps."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "machine": f"m{m:02}",
            "site": f"s{m % 10}",
            "when": f"2026-01-{t + 1:02}",
            "a": rng.normal(50, 9),
            "b": rng.normal(),
            "fault": "bad" if m % 4 == 0 else "ok",
        }
        for m in range(count)
        for t in range(rng.integers(3, 9))
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=seed).reset_index(drop=True)


@pytest.fixture
def csv(tmp_path):
    def written(table, name="sensors.csv"):
        table.to_csv(tmp_path / name, index=False)
        return str(tmp_path / name)

    return written


@pytest.fixture
def table(csv):
    return Table(
        path=csv(machines()), target="fault", sequence="machine", time="when", features=["a", "b"]
    )


def pieces(task, part):
    """The sequences of a part as the task hands them out: [(x (T, I), y)]."""
    batches = (
        [task.batch(Draw(0), step, 1) for step in range(len(task._pieces["train"]))]
        if part == "train"
        else list(task.evaluation(part, Draw(0), 1))
    )
    return [(batch.x[:, 0], batch.y[..., -1] if batch.last else batch.y) for batch in batches]


# Reading


def test_steps_stand_in_the_order_of_time_and_sequences_apart(table, tmp_path):
    frame = pd.read_csv(table.path)
    train = [x.round(4).tolist() for x, _ in pieces(table, "train")]
    rest = [x.round(4).tolist() for part in SPLITS for x, _ in pieces(table, part)]
    mean, deviation = table._scaling
    expected = [
        ((part.sort_values("when")[["a", "b"]].to_numpy() - mean) / deviation)
        .astype(np.float32)
        .round(4)
        .tolist()
        for _, part in frame.groupby("machine")
    ]
    assert sorted(train + rest) == sorted(expected)
    assert len(rest) == 2 * 6  # 15 % of 40, twice


def test_scaling_is_fitted_on_training_data_only(csv, table):
    rows = np.concatenate([x for x, _ in pieces(table, "train")])
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(0), 1, atol=1e-5)
    frame = pd.read_csv(table.path)
    tested = {table._data.where(p.sequence, None) for p in table._pieces["test"]}
    lines = frame.index.map(lambda k: f"sensors.csv row {k + 2}")
    machine = frame["machine"][lines.isin(tested)].iloc[0]
    frame.loc[frame["machine"] == machine, "a"] += 1e6
    changed = replace(table, path=csv(frame))
    np.testing.assert_array_equal(changed._scaling, table._scaling)
    assert max(x.max() for x, _ in pieces(changed, "test")) > 1e4


def test_parts_depend_on_the_split_seed_alone(table):
    def parts(task):
        return {part: sorted(p.sequence for p in ps) for part, ps in task._pieces.items()}

    first = parts(table)
    assert sorted(n for part in first.values() for n in part) == list(range(40))
    assert parts(replace(table)) == first
    assert parts(replace(table, split_seed=1)) != first
    for size in (1, 5):  # nothing depends on a run's seed but the order of training
        whole = [list(table.evaluation("test", Draw(seed), size)) for seed in (0, 1)]
        assert all(np.array_equal(a.x, b.x) for a, b in zip(*whole, strict=True))
    labels = [y.item() for part in SPLITS for _, y in pieces(table, part)]
    assert sorted(labels) == [0] * 4 + [1] * 8  # a quarter is bad, in every part


def test_groups_stay_together(table):
    grouped = replace(table, group="site")
    sites = {}
    for part, found in grouped._pieces.items():
        for piece in found:
            sites.setdefault(grouped._data.groups[piece.sequence], set()).add(part)
    assert len(sites) == 10
    assert all(len(parts) == 1 for parts in sites.values())


def test_another_file_is_tested_on(table, csv):
    task = replace(table, test_path=csv(machines(8, seed=1), "later.csv"))
    assert len(task._pieces["test"]) == 8
    assert len(task._pieces["train"]) + len(task._pieces["valid"]) == 40
    assert "later.csv" in task._data.where(task._pieces["test"][0].sequence, 0)


def test_sequences_of_different_lengths_are_read_at_their_ends(table):
    batch = table.batch(Draw(0), 0, 8)
    lengths = np.array([(~(batch.x[:, b] == 0).all(1)).sum() for b in range(8)])
    assert len(set(lengths)) > 1
    assert np.array_equal(np.argmax(batch.mask, 0), lengths - 1)
    assert (batch.mask.sum(0) == 1).all()


def test_a_forecast_is_of_what_comes_later_and_learns_nothing_of_what_it_is_tested_on(csv):
    steps = np.arange(100.0)
    path = csv(pd.DataFrame({"load": steps, "other": steps[::-1]}))
    task = Table(path=path, target="load", kind="forecast", ahead=3, window=10, scale=False)
    for part in ("train", *SPLITS):
        for x, y in pieces(task, part):
            mean = task._answers[0]
            np.testing.assert_allclose(y[:, 0, 0] + mean, x[:, 0] + 3, rtol=1e-5)
    ends = {part: [y.max() + task._answers[0] for _, y in pieces(task, part)] for part in SPLITS}
    seen = max(x[:, 0].max() for x, _ in pieces(task, "train")) + 3
    assert seen <= min(x[:, 0].min() for x, _ in pieces(task, "valid")) + 1e-3
    assert max(ends["valid"]) <= min(x[:, 0].min() for x, _ in pieces(task, "test")) + 1e-3
    assert task.baseline["mse"] == pytest.approx(9)  # the present value is 3 too small
    assert task.baseline["mae"] == pytest.approx(3)


@pytest.mark.parametrize("missing", ["mean", "previous"])
def test_missing_values_are_filled_as_stated(csv, missing):
    frame = machines()
    frame.loc[frame["when"] == "2026-01-02", "a"] = np.nan
    task = Table(
        path=csv(frame),
        target="fault",
        sequence="machine",
        time="when",
        features=["a"],
        missing=missing,
    )
    for x, _ in pieces(task, "train"):
        assert x[1, 0] == pytest.approx(x[0, 0] if missing == "previous" else 0, abs=1e-6)


# Scores


def test_classes_are_scored_as_scikit_learn_does(table):
    prediction = torch.randn(1, 12, 2)
    y = torch.randint(0, 2, (1, 12))
    scores = {name: (s / n).item() for name, (s, n) in table.score(prediction, y, None).items()}
    probability = prediction[0].double().softmax(-1).numpy()
    assert scores["accuracy"] == pytest.approx(accuracy_score(y[0], probability.argmax(1)))
    assert scores["nats"] == pytest.approx(log_loss(y[0], probability), abs=1e-5)
    assert table.baseline["accuracy"] == 4 / 6 or table.baseline["accuracy"] == 5 / 6


@pytest.mark.parametrize("scale", [True, False])
def test_numbers_are_scored_in_the_units_of_the_file(csv, scale):
    frame = machines()
    frame["wear"] = frame.groupby("machine")["a"].transform("mean") * 100
    task = Table(
        path=csv(frame), target="wear", sequence="machine", features=["a", "b"], scale=scale
    )
    assert (task.loss, task.metric, task.goal, task.outputs) == ("mse", "mse", "min", 1)
    train = np.array([y.item() for _, y in pieces(task, "train")])
    mean, deviation = task._answers
    truth = sorted(frame.groupby("machine")["wear"].first().round(2))
    everything = [y.item() for part in ("train", *SPLITS) for _, y in pieces(task, part)]
    np.testing.assert_allclose(sorted(np.array(everything) * deviation + mean), truth, rtol=1e-4)
    assert train.mean() == pytest.approx(0, abs=1e-3)
    batch = next(task.evaluation("test", Draw(0), 100))
    y = torch.from_numpy(batch.y)[None]
    mask = torch.from_numpy(batch.mask)[None]
    prediction = torch.randn(y.shape)
    scores = {
        n: (s / c.clamp(min=1)).item() for n, (s, c) in task.score(prediction, y, mask).items()
    }
    found = (prediction[mask] * deviation + mean)[:, 0].numpy()
    true = (y[mask] * deviation + mean)[:, 0].numpy()
    assert scores["mse"] == pytest.approx(mean_squared_error(true, found), rel=1e-4)
    assert scores["mae"] == pytest.approx(mean_absolute_error(true, found), rel=1e-4)
    against = ((true - mean) ** 2).mean()
    assert 1 - scores["r2"] == pytest.approx(scores["mse"] / against, rel=1e-4)
    assert task.baseline["r2"] == pytest.approx(0, abs=1e-6)
    assert task.baseline["mse"] == pytest.approx(against, rel=1e-4)


@pytest.mark.parametrize(
    ("labels", "kind", "remarked"),
    [
        (lambda m: int(m % 4 == 0), "auto", True),
        (lambda m: float(m % 20), "auto", True),
        (lambda m: m % 21, "auto", False),  # too many to be classes
        (lambda m: m % 4 / 2, "auto", False),
        (lambda m: "bad" if m % 4 == 0 else "ok", "auto", False),
        (lambda m: int(m % 4 == 0), "regression", False),
        (lambda m: int(m % 4 == 0), "classification", False),
    ],
)
def test_whole_numbers_that_may_be_classes_are_remarked(csv, labels, kind, remarked):
    frame = machines(count=63)
    frame["fault"] = [labels(int(name[1:])) for name in frame["machine"]]
    task = Table(path=csv(frame), target="fault", sequence="machine", features=["a"], kind=kind)
    assert ("task.kind=classification" in task.remark) == remarked


# Arrays and archives


def test_arrays(tmp_path):
    rng = np.random.default_rng(0)
    x, y, lengths = rng.normal(size=(30, 6, 2)), rng.integers(0, 3, 30), rng.integers(1, 7, 30)
    path = str(tmp_path / "a.npz")
    np.savez(path, x=x, y=y, lengths=lengths, x_test=x[:4], y_test=y[:4])
    task = Arrays(path=path, kind="classification", scale=False)
    found = pieces(task, "test")  # lengths_test is not given: whole
    for n, (sequence, label) in enumerate(found):
        np.testing.assert_allclose(sequence, x[n], rtol=1e-6)
        assert label == list(task._classes).index(int(y[n]))
    assert all(
        any(
            np.allclose(s, x[n, : lengths[n]], rtol=1e-5) for n in range(30) if lengths[n] == len(s)
        )
        for s, _ in pieces(task, "train")
    )
    np.savez(path, x=x[:, :, 0])
    forecast = Arrays(path=path, kind="forecast", scale=False)
    for sequence, answer in pieces(forecast, "train"):
        np.testing.assert_allclose(
            answer[:-1, 0, 0] + forecast._answers[0], sequence[1:, 0], rtol=1e-4
        )


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"z": np.zeros(3)}, "no array x"),
        ({"x": np.zeros((3, 2))}, "no y"),
        ({"x": np.zeros(3), "y": np.zeros(3)}, "axes"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(4)}, "y must be"),
        ({"x": np.full((9, 2), np.inf), "y": np.zeros(9)}, r"x\[0, 0, 0\] is infinite"),
        ({"x": np.zeros((9, 2)), "y": np.zeros(9), "lengths": np.full(9, 3)}, "from 1 to 2"),
        ({"x": np.full((9, 2), np.nan), "y": np.zeros(9)}, "no value in the training data"),
    ],
)
def test_arrays_are_refused_by_what_is_wrong(tmp_path, arrays, said):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=said):
        Arrays(path=str(path)).batch(Draw(0), 0, 1)
    path.write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"is not an .npz file"):
        Arrays(path=str(path)).batch(Draw(0), 0, 1)


TS = """@problemName t
@timestamps false
@univariate false
@equalLength false
@classLabel true up down
@data
"""


def test_an_archive_is_read_with_its_test_file(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("TRAIN", 20), ("TEST", 6)):
        cases = [
            f"{','.join(map(str, rng.normal(size=3 + n % 2)))}:{','.join('1' * (3 + n % 2))}:"
            f"{('up', 'down')[n % 2]}"
            for n in range(count)
        ]
        (tmp_path / f"Mine_{part}.ts").write_text(TS + "\n".join(cases))
    task = Archive(path=str(tmp_path / "Mine_TRAIN.ts"))
    assert (task.inputs, task.outputs, task.loss) == (2, 2, "cross_entropy")
    assert len(pieces(task, "test")) == 6
    (tmp_path / "Bad.ts").write_text("nothing")
    with pytest.raises(UserError, match=r"Bad.ts is not a .ts file"):
        Archive(path=str(tmp_path / "Bad.ts")).batch(Draw(0), 0, 1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,2:3,4", r"line 8: the case|line 8: 1 channels|unknown label in .* line 8"),
        ("1,2:3,x:up", r"Bad.ts line 8: channel 2 step 2 is not a number: 'x'"),
        ("1,2:3:up", r"line 8: channels have 1 to 2 steps"),
        ("1,2:3,4:upp", r"unknown label in .*line 8: 'upp'; did you mean 'up'"),
        ("up", r"line 8: a case is values, a colon and a label"),
        ("1,2:?,4:up", r"Bad.ts case 2.*no value|Bad.ts.*task.missing"),
    ],
)
def test_an_archive_is_refused_by_line_and_place(tmp_path, line, said):
    (tmp_path / "Bad.ts").write_text(TS + f"1,2:3,4:up\n{line}\n" + "1,2:3,5:down\n" * 9)
    with pytest.raises(UserError, match=said) as error:
        Archive(path=str(tmp_path / "Bad.ts")).batch(Draw(0), 0, 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TS.replace("@timestamps false", "@timestamps true"), "has time stamps"),
        (TS.replace("@classLabel true up down", "@classLabel false"), "has no labels"),
        (TS.replace("@data\n", ""), "has no line @data|stands before @data"),
        (TS, "holds no cases"),
        (TS.replace("@univariate false", "@dimension 3") + "1:2:up", r"2 channels, @dimension"),
        (
            TS.replace("@equalLength false", "@equalLength true\n@seriesLength 4") + "1,2:3,4:up",
            r"2 steps, @seriesLength says 4",
        ),
    ],
)
def test_an_archive_is_refused_by_what_its_head_says(tmp_path, text, said):
    (tmp_path / "Bad.ts").write_text(text)
    with pytest.raises(UserError, match=said):
        Archive(path=str(tmp_path / "Bad.ts")).batch(Draw(0), 0, 1)


# What aeon 1.6.0 reads in the files that it comes with: cases, SHA-256 of all values in order
BY_AEON = {
    "BasicMotions_TRAIN": (40, "1467d48f605c36dc"),
    "BasicMotions_TEST": (40, "d7c9cecd8fc766c1"),
    "GunPoint_TRAIN": (50, "748a525d588e92ab"),
    "GunPoint_TEST": (150, "51cd476673ce88a6"),
    "JapaneseVowels_TRAIN": (270, "0d4b8547fc22b3c0"),
    "JapaneseVowels_TEST": (370, "d3fea94bcca6cafb"),
    "Covid3Month_TRAIN": (140, "6516f13d9055def3"),
    "Covid3Month_TEST": (61, "8fe707cc0daca6af"),
}


@pytest.fixture(scope="session")
def archive():
    """The data folder of aeon, or another with NAME/NAME_TRAIN.ts, in RNNBENCH_ARCHIVE."""
    if folder := os.environ.get("RNNBENCH_ARCHIVE"):
        return Path(folder)
    try:
        files = importlib.metadata.files("aeon") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs RNNBENCH_ARCHIVE, or the files of aeon (pip install --no-deps aeon)")
    (path,) = (file for file in files if file.name == "GunPoint_TRAIN.ts")
    return Path(path.locate()).parents[1]


@pytest.mark.parametrize("name", BY_AEON)
def test_archives_are_read_as_aeon_reads_them(archive, name):
    cases, labels = _load(archive / name.rpartition("_")[0] / f"{name}.ts")
    values = b"".join(np.ascontiguousarray(case).tobytes() for case in cases)
    assert (len(cases), hashlib.sha256(values).hexdigest()[:16]) == BY_AEON[name]
    assert len(labels) == len(cases)


def test_without_an_extra(monkeypatch, tmp_path):
    def absent(*_):
        raise ImportError("pyarrow")

    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(pd, "read_parquet", absent)
    with pytest.raises(UserError, match="pip install"):
        Table(path=str(tmp_path / "t.parquet"), target="x").batch(Draw(0), 0, 1)


# Data sets that come with statsmodels and scikit-learn


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_real_series_with_time_stamps_and_gaps(tmp_path, kind):
    """Weekly carbon dioxide of Mauna Loa, 59 of 2,284 values missing, forecast."""
    frame = co2.load_pandas().data
    frame.index.name = "date"
    frame = frame.reset_index()
    path = tmp_path / f"co2.{kind}"

    def read(table, **settings):
        table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
        given = {"path": str(path), "target": "co2", "time": "date", "kind": "forecast"}
        return Table(**given, window=52, ahead=4, **settings)

    if kind == "parquet":
        pytest.importorskip("pyarrow")
    gap = frame["co2"].isna().to_numpy().argmax() + 1 + (kind == "csv")  # after its header
    with pytest.raises(UserError, match=rf"co2\.{kind} row {gap}, column 'co2' has no value"):
        read(frame).batch(Draw(0), 0, 8)
    frame["co2"] = frame["co2"].ffill()
    task = read(frame)
    batch = task.batch(Draw(0), 0, 8)
    assert batch.x.shape == (52, 8, 1)
    tested = frame["co2"].to_numpy()[round(0.85 * len(frame)) :]
    ahead = np.square(tested[4:] - tested[:-4]).mean()  # the present value as the forecast
    assert task.baseline["mse"] == pytest.approx(ahead, rel=0.1)


def test_real_images_as_sequences(tmp_path):
    digits = load_digits()
    np.savez(tmp_path / "digits.npz", x=digits.images, y=digits.target)
    task = Arrays(path=str(tmp_path / "digits.npz"), kind="classification")
    assert (task.inputs, task.outputs) == (8, 10)
    counted = sum(len(pieces(task, part)) for part in SPLITS)
    assert counted == pytest.approx(0.3 * len(digits.target), abs=2)


# What is wrong with a table is said with row and column


def edited(**changes):
    frame = machines().astype(object)
    for column, (row, value) in changes.items():
        frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "settings", "said"),
    [
        (
            edited(a=(7, "warm")),
            {},
            r"sensors.csv row 9, column 'a': expected a number, got 'warm'",
        ),
        (edited(a=(7, None)), {}, r"row 9, column 'a' has no value; .* task.missing=mean"),
        (edited(fault=(3, None)), {}, r"row 5, column 'fault' has no value"),
        (edited(machine=(3, None)), {}, r"row 5, column 'machine' has no value"),
        (edited(when=(3, "soon")), {}, r"row 5, column 'when': expected a number or a date"),
        (
            edited(),
            {"target": "fualt"},
            r"unknown column of sensors.csv 'fualt'; did you mean 'fault'",
        ),
        (edited(), {"features": ["a", "c"]}, "unknown column of sensors.csv 'c'"),
        (
            edited(),
            {"sequence": "site", "time": "when"},
            r"rows \d+ and \d+, column 'when': the same",
        ),
        (edited(), {"features": None}, r"row 2, column 'site': expected a number, got 's"),
        (edited().head(0), {}, "no rows"),
        (edited(), {"kind": "regression"}, "needs numbers"),
        (edited(), {"path": "nowhere.csv"}, "no file 'nowhere.csv'"),
        (edited(), {"path": __file__}, "must be a .csv or .parquet"),
        (edited(), {"target": ""}, "needs task.target"),
    ],
)
def test_a_table_is_refused_by_what_is_wrong(csv, frame, settings, said):
    options = {"path": csv(frame), "target": "fault", "sequence": "machine", "time": "when"}
    task = Table(**{**options, "features": ["a", "b"], **settings})
    with pytest.raises(UserError, match=said) as error:
        task.batch(Draw(0), 0, 1)
    assert "\n" not in str(error.value)


def test_a_label_that_only_the_test_has(csv, table):
    late = machines(8, seed=1)
    late["fault"] = late["fault"].replace("bad", "burnt")
    task = replace(table, test_path=csv(late, "later.csv"))
    with pytest.raises(UserError, match=r"later.csv row \d+, column 'fault': the label 'burnt'"):
        list(task.evaluation("test", Draw(0), 100))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "guess"}, "task.kind"),
        ({"valid": 0}, "task.valid"),
        ({"valid": 0.5, "test": 0.5}, "leave something"),
        ({"window": 0}, "task.window"),
        ({"missing": "zero"}, "task.missing"),
        ({"split_seed": -1}, "task.split_seed"),
    ],
)
def test_settings_are_refused_by_name(settings, said):
    with pytest.raises(UserError, match=said):
        Table(path="t.csv", target="y", **settings)


# From the command line


@pytest.fixture
def zeros_and_ones(csv):
    """What is typed to predict labels that may be numbers or classes."""
    frame = machines()
    frame["fault"] = (frame["fault"] == "bad").astype(int)
    chosen = ("task.target=fault", "task.sequence=machine", "task.features=[a,b]")
    return ("task=table", f"task.path={csv(frame)}", *chosen, "train.steps=2", "model.hidden=4")


def test_a_run_says_what_its_user_may_not_expect(settings_for, trained, zeros_and_ones):
    said = []
    trained(settings_for(*zeros_and_ones), say=said.append)
    assert "fault has 2 different values" in said[0]


def test_a_sweep_says_it_once(settings_for, zeros_and_ones, capfd, tmp_path):
    runs = [settings_for(*zeros_and_ones, f"seed={seed}") for seed in range(3)]
    launch([Job(run, ()) for run in runs], Options(workers=2, pack=1), "again")
    assert "".join(capfd.readouterr()).replace("\n", " ").count("has 2 different values") == 1
    assert not [*tmp_path.rglob("going-*")]


def test_a_run_on_a_table_is_its_content(settings_for, trained, csv, tmp_path):
    path = csv(machines())
    typed = (
        "task=table",
        f"task.path={path}",
        "task.target=fault",
        "task.sequence=machine",
        "task.features=[a,b]",
        "train.steps=4",
        "train.eval_every=2",
        "train.batch=5",
        "model.hidden=4",
        "engine=loop",
    )
    settings = settings_for(*typed)
    (record,) = trained(settings)
    assert record["target"] is None
    assert set(record["best"]["test"]) == {"accuracy", "nats", "loss"}
    from rnnbench.runs.records import run_id

    first = run_id(settings)
    moved = tmp_path / "moved.csv"
    moved.write_bytes((tmp_path / "sensors.csv").read_bytes())
    elsewhere = tuple(w.replace(path, str(moved)) for w in typed)
    assert run_id(settings_for(*elsewhere)) == first
    moved.write_text(moved.read_text() + "m99,s1,2026-01-01,1.0,2.0,ok\n")
    assert run_id(settings_for(*elsewhere, "seed=0")) != first


@dataclass(frozen=True)
class Sound(Generated):
    loss, metric, goal = "cross_entropy", "accuracy", "max"
    inputs, outputs = 2, 3
    broken: str = ""

    @property
    def baseline(self):
        return {"accuracy": 1 / 3}

    def sample(self, rng, size):
        x = rng.normal(size=(5, size, 2)).astype(np.float32)
        batch = Batch(x, rng.integers(0, 3, size), last=True)
        return FAULTS[self.broken](batch)


def spoilt(batch):
    batch.x[3, 1, 0] = np.nan
    return batch


FAULTS = {
    "": lambda b: b,
    "axes": lambda b: replace(b, x=b.x.transpose(1, 0, 2)),
    "width": lambda b: replace(b, x=b.x[..., :1]),
    "dtype": lambda b: replace(b, x=b.x.astype(int)),
    "nan": spoilt,
    "range": lambda b: replace(b, y=b.y + 1),
    "float labels": lambda b: replace(b, y=b.y.astype(np.float32)),
    "labels": lambda b: replace(b, y=b.y[:, None]),
    "tensor": lambda b: replace(b, x=torch.from_numpy(b.x)),
    "mask": lambda b: Batch(b.x, np.zeros((5, len(b.y)), int), np.zeros((5, len(b.y)), bool)),
    "none": lambda b: None,
    "random": lambda b: replace(b, x=np.random.default_rng().normal(size=b.x.shape)),
}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("axes", r"Sound.batch\(draw, 0, 7\): x must hold 7 sequences .* time first"),
        ("width", r"x must have the axes \(T, B, 2\), got shape \(5, 7, 1\)"),
        ("dtype", r"x must be float32, got int64"),
        ("nan", r"Sound.batch\(draw, 0, 7\): x is nan in sequence 1 at step 3, column 0"),
        ("range", r"y is 3 in sequence \d; outputs = 3 allows 0 to 2"),
        ("float labels", r"y must be int64, got float32"),
        ("labels", r"y must have shape \(7,\)"),
        ("tensor", "x must be a NumPy array, got Tensor"),
        ("mask", "mask leaves nothing"),
        ("none", "must make a rnnbench.tasks.contract.Batch, got NoneType"),
        ("random", "two calls made two batches"),
    ],
)
def test_what_is_wrong_with_a_batch_is_said_to_its_author(fault, said):
    check(watched(Sound(), __file__), Draw(0), 7)
    with pytest.raises(UserError, match=said):
        check(watched(Sound(broken=fault), __file__), Draw(0), 7)


MINE = """from dataclasses import dataclass
import numpy as np
from rnnbench.tasks.contract import Batch, Generated

@dataclass(frozen=True)
class Sensor(Generated):
    length: int = 10
    loss, metric, goal, inputs, outputs = "cross_entropy", "accuracy", "max", 1, 2

    @property
    def baseline(self):
        return {"accuracy": 0.5, "nats": 0.693}

    def sample(self, rng, size):
        x = rng.normal(size=(self.length, size, 1)).astype(np.float32)
        return Batch(x, (x[0, :, 0] > 0).astype(np.int64), last=True)
"""

LATE = """
@dataclass(frozen=True)
class Late(Sensor):
    how: str = ""

    def batch(self, draw, step, size):
        made = super().batch(draw, step, size)
        if step >= 3 and self.how == "input":
            made.x[2, 1, 0] = np.nan
        if step >= 3 and self.how == "class":
            made.y[1] = 2
        if step >= 3 and self.how == "raises":
            raise ZeroDivisionError("by nothing")
        return made

    def evaluation(self, split, draw, size):
        for number, made in enumerate(super().evaluation(split, draw, size)):
            if number >= 5 and self.how == "valid":
                made.x[2, 1, 0] = np.inf
            yield made
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mytask.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return "mytask.py:Sensor"


QUICK = ("train.steps=2", "train.eval_every=2", "train.batch=5", "model.hidden=4", "engine=loop")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("input", r"Late.batch\(draw, 3, 5\): x is nan in sequence 1 at step 2, column 0"),
        ("class", r"Late.batch\(draw, 3, 5\): y is 2 in sequence 1; outputs = 2 allows 0 to 1"),
        ("raises", r"mytask.py:\d+: ZeroDivisionError: by nothing"),
        ("valid", r"Late.evaluation\('valid'\), batch 6: x is inf in sequence 1 at step 2"),
    ],
)
def test_what_is_wrong_later_is_said_too_and_no_run_diverges(mine, trained, how, said):
    from rnnbench.compose import compose

    Path("mytask.py").write_text(MINE + LATE)
    budget = "train.steps=6 train.eval_every=2 train.eval_batch=10 task.valid_size=100"
    settings = compose(["task=mytask.py:Late", *QUICK, *budget.split(), f"task.how={how}"])
    with pytest.raises(UserError, match=said):
        trained(settings)


@pytest.mark.parametrize("typed", ["task={}", "task.type={}", "task=own task.type={}"])
def test_a_task_of_ones_own(mine, trained, typed):
    from rnnbench.compose import compose

    settings = compose([*typed.format(mine).split(), "task.length=6", *QUICK])
    assert settings.task["name"] == "Sensor"
    assert settings.task["length"] == 6
    assert trained(settings)[0]["task"] == "Sensor"


def test_what_nobody_set_can_change_when_a_run_is_evaluated(mine, trained, capsys):
    from rnnbench.cli import main
    from rnnbench.compose import compose
    from rnnbench.runs.records import Folder

    settings = compose([f"task={mine}", *QUICK, "task.test_size=10", "paths.results=runs"])
    trained(settings)
    run = str(Folder.of(settings).path)
    assert main(["eval", "--trust", run, "--json", "task.length=10,12"]) == 0
    told = capsys.readouterr()
    assert [point["task.length"] for point in json.loads(told.out)] == [10, 12], told
    assert main(["eval", "--trust", run, "task.lenght=10"]) == 2
    assert "did you mean 'task.length'" in capsys.readouterr().err


def test_a_task_of_ones_own_is_its_file(mine, tmp_path):
    from rnnbench.compose import compose
    from rnnbench.runs.records import run_id

    first = run_id(compose([f"task={mine}", *QUICK]))
    (tmp_path / "mytask.py").write_text(MINE + "\n# edited\n")
    assert run_id(compose([f"task={mine}", *QUICK, "seed=0"])) != first


NEIGHBOUR = MINE.replace("import numpy as np\n", "import numpy as np\nfrom scales import SCALE\n")
NEIGHBOUR = NEIGHBOUR.replace("x = rng", "x = SCALE * rng")


def test_a_task_imports_its_neighbour_and_takes_it_along(tmp_path, monkeypatch, trained, capsys):
    """The file beside it counts as part of it: in the run's identity, and in the run's folder."""
    from rnnbench import cli
    from rnnbench.compose import compose
    from rnnbench.runs.records import Folder, run_id

    for place, scale in (("one", "from units import SCALE"), ("two", "SCALE = 3.0")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "mytask.py").write_text(NEIGHBOUR)
        (tmp_path / place / "scales.py").write_text(scale + "\n")
    (tmp_path / "one" / "units.py").write_text("SCALE = 2.0\n")
    (tmp_path / "one" / "unread.py").write_text("")
    monkeypatch.chdir(tmp_path)
    made = [
        compose([f"task={place}/mytask.py:Sensor", "task.length=8", *QUICK])
        for place in ("one", "two")
    ]
    assert run_id(made[0]) != run_id(made[1])
    for settings in made:
        assert trained(settings)[0]["status"] == "finished"
    folder = Folder.of(made[0]).path
    kept = {path.name for path in (folder / "source").iterdir()}
    assert kept == {"mytask.py", "scales.py", "units.py"}
    assert "scales" not in sys.modules

    (tmp_path / "elsewhere").mkdir()
    folder.rename(tmp_path / "elsewhere" / "run")
    for path in tmp_path.glob("one/*"):
        path.unlink()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cli.main(["eval", "run", "task.length=10,20", "--trust"]) == 0
    Path("run/source/units.py").write_text("SCALE = 5.0\n")
    capsys.readouterr()
    assert cli.main(["eval", "run", "task.length=10", "--trust"]) == 2
    assert "mytask.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("task=own", "task=own needs task.type="),
        ("task=table", "task=table needs task.path="),
        ("task=copy task.type=mytask.py:Sensor", "would be recorded as task=copy"),
        ("task=mytask.py:Sensors", "did you mean 'Sensor'"),
    ],
)
def test_own_tasks_are_refused_by_what_is_wrong(mine, typed, said, trained):
    from rnnbench.compose import compose

    with pytest.raises(UserError, match=said):
        trained(compose([*typed.split(), *QUICK]))


def test_a_slip_in_a_task_is_said_with_its_line(mine, tmp_path, trained):
    from rnnbench.compose import compose

    (tmp_path / "mytask.py").write_text(MINE.replace("self.length, size", "self.lenth, size"))
    with pytest.raises(UserError, match=r"mytask.py:15: AttributeError: .*lenth"):
        trained(compose([f"task={mine}", *QUICK]))
