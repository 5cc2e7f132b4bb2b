"""`logger=`: who else is told of a run, by real clients and their local back ends."""

import csv
import struct

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rnnbench import cli, trackers
from rnnbench.compose import compose
from rnnbench.runs.records import Folder, run_id

TINY = ["train", "cell=tanh", "task=adding", "debug=tiny", "engine=loop", "seed=3"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def trained(*words):
    assert cli.main([*TINY, *words]) == 0
    folder = Folder.of(compose([*TINY[1:], *words]))
    return folder, folder.record()


def of_board(folder):
    events = EventAccumulator(str(folder.board_path))
    events.Reload()
    return {
        (point.step, name): point.value
        for name in events.Tags()["scalars"]
        for point in events.Scalars(name)
    }


def test_a_switch_changes_no_run():
    ids = {
        run_id(compose([*TINY[1:], *words]))
        for words in ([], ["logger=csv"], ["logger=[csv,mlflow]"], ["logger=none"])
    }
    assert len(ids) == 1


def test_csv_has_the_names_and_numbers_of_tensorboard(here):
    folder, record = trained("logger=[tensorboard,csv]")
    with (folder.path / "scalars.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = {(int(row["step"] or 0), row["name"]): float(row["value"]) for row in rows}
    board = of_board(folder)
    assert found.keys() == board.keys()
    for key, value in board.items():
        assert found[key] == pytest.approx(value, rel=1e-6)
    assert found[0, "mse/test"] == record["best"]["test"]["mse"]


def test_none(here):
    folder, record = trained("logger=none")
    assert record["status"] == "finished"
    assert not folder.board_path.exists()


@pytest.mark.filterwarnings("ignore")  # of its own dependencies
def test_mlflow(here):
    mlflow = pytest.importorskip("mlflow")
    folder, record = trained("logger=mlflow", "study=tracked")
    client = mlflow.MlflowClient(f"sqlite:///{here / 'results/runs/mlflow.db'}")
    experiment = client.get_experiment_by_name("tracked")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["rnnbench"] == record["id"]
    assert run.data.params["optim.lr"] == "0.005"
    assert run.data.metrics["mse/test"] == record["best"]["test"]["mse"]
    history = client.get_metric_history(run.info.run_id, "mse/valid")
    assert [(m.step, m.value) for m in history] == [
        (row["step"], row["mse"]) for row in folder.curve() if row["split"] == "valid"
    ]


def records_of(content):
    """The records of a file of wandb: LevelDB's log format, in blocks of 32 KiB after 7 bytes."""
    place, begun = 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        begun += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield begun
            begun = b""


@pytest.mark.filterwarnings("ignore")
def test_wandb(here):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    folder, record = trained("logger=wandb")
    (file,) = here.glob(f"results/runs/wandb/offline-run-*-{record['id']}/*.wandb")
    history, summary = {}, {}
    for data in records_of(file.read_bytes()):
        one = wandb_internal_pb2.Record()
        one.ParseFromString(data)
        values = {i.key or i.nested_key[0]: i.value_json for i in one.history.item}
        if values:
            history[int(values["_step"])] = values
        summary |= {i.key or i.nested_key[0]: i.value_json for i in one.summary.update}
    valid = {row["step"]: row["mse"] for row in folder.curve() if row["split"] == "valid"}
    assert {step: float(v["mse/valid"]) for step, v in history.items()} == valid
    assert float(summary["mse/test"]) == record["best"]["test"]["mse"]


def test_a_client_that_fails_takes_no_run_with_it(here, monkeypatch, capsys):
    class Broken(trackers.Csv):
        def add(self, rows):
            if list(rows):
                raise RuntimeError("no route to host")

    monkeypatch.setitem(trackers.CLIENTS, "csv", Broken)
    _, record = trained("logger=csv")
    assert record["status"] == "finished"
    assert "logger=csv failed and is left out of this run: no route" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("logger=tensorbord", "did you mean 'tensorboard'"),
        ("logger=[csv,3]", "unknown logger"),
        ("logger=3", "a name or a list of names"),
    ],
)
def test_refusals(here, word, said, capsys):
    assert cli.main([*TINY, word]) == 2
    assert said in capsys.readouterr().err


def test_a_client_that_is_not_installed(here, monkeypatch, capsys):
    def missing(folder, settings):
        raise ImportError("no module")

    monkeypatch.setitem(trackers.CLIENTS, "wandb", missing)
    assert cli.main([*TINY, "logger=wandb"]) == 2
    assert "pip install 'rnnbench[wandb]'" in capsys.readouterr().err
