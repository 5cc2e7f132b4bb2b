"""TensorBoard shows what the curve says: the same numbers at the same steps, one run, one HParams
entry.
"""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from rnnbench.errors import Interrupted
from rnnbench.runs.records import Folder

RUN = (
    "cell=lstm",
    "task=adding",
    "task.length=6",
    "model.hidden=4",
    "model.layers=2",
    "train.batch=4",
    "train.steps=9",
    "train.eval_every=3",
)
RUN = (*RUN, "task.valid_size=20", "task.test_size=20", "task.target=0.01", "cell.forget_bias=2")

# column of the curve and split → what it is called on the board
SHOWN = {
    ("loss", "train"): "loss/train",
    ("loss", "valid"): "loss/valid",
    ("mse", "valid"): "mse/valid",
    ("lr", "train"): "learning rate",
    ("grad_norm", "train"): "gradient norm before clipping",
}
SHOWN |= {
    (f"{layer}.{gate}.{kind}", "valid"): f"gate {kind}/{layer}.{gate}"
    for layer in (0, 1)
    for gate in "ifo"
    for kind in ("mean", "saturated")
}


def scalars(folder):
    board = EventAccumulator(str(folder.board_path), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(event.step, event.value) for event in board.Scalars(tag)]
        for tag in board.Tags()["scalars"]
    }


def hparams(folder):
    """The HParams messages in the event file."""
    (path,) = folder.board_path.iterdir()
    found = []
    for raw in RawEventFileLoader(str(path)).Load():
        shown = [value.metadata.plugin_data for value in Event.FromString(raw).summary.value]
        found += [
            HParamsPluginData.FromString(plugin.content)
            for plugin in shown
            if plugin.plugin_name == "hparams"
        ]
    return found


@pytest.fixture
def finished(settings_for, trained):
    run = settings_for(*RUN)
    (record,) = trained(run)
    return Folder.of(run), record


def test_the_board_is_the_curve(finished):
    folder, record = finished
    shown = scalars(folder)
    for (column, split), tag in SHOWN.items():
        expected = [(row["step"], row[column]) for row in folder.curve() if row["split"] == split]
        assert [step for step, _ in shown[tag]] == [step for step, _ in expected] == [3, 6, 9]
        # the board is float32
        assert [value for _, value in shown[tag]] == pytest.approx(
            [value for _, value in expected], rel=1e-7
        )
    assert {c for row in folder.curve() for c in row} - {"step", "split", "seconds"} == {
        column for column, _ in SHOWN
    }
    tests = {tag: values for tag, values in shown.items() if tag.endswith("/test")}
    assert shown.keys() == set(SHOWN.values()) | tests.keys()
    assert {tag: value for tag, ((_, value),) in tests.items()} == pytest.approx(
        {f"{n}/test": v for n, v in record["best"]["test"].items()}
    )


def test_gates_are_where_their_biases_put_them(finished):
    """The forget gates start near sigmoid(2) = 0.88, the others near ½; the means are no
    placeholders.
    """
    first = next(row for row in finished[0].curve() if row["split"] == "valid")
    assert (
        0.8 < first["0.f.mean"] < 0.95
        and 0.4 < first["0.i.mean"] < 0.6
        and 0.4 < first["1.o.mean"] < 0.6
    )
    assert all(0 <= first[f"{layer}.{gate}.saturated"] <= 1 for layer in (0, 1) for gate in "ifo")


def test_there_is_one_run_with_one_hparams_entry(finished):
    folder, record = finished
    assert len(list(folder.board_path.rglob("*"))) == 1  # one event file, no subfolder
    messages = hparams(folder)
    assert [message.WhichOneof("data") for message in messages] == [
        "experiment",
        "session_start_info",
        "session_end_info",
    ]
    values = messages[1].session_start_info.hparams
    assert values["cell.name"].string_value == "lstm" and values["task.length"].number_value == 6
    assert (
        values["optim.lr"].number_value == record["settings"]["optim"]["lr"]
        and values["seed"].number_value == 0
    )
    assert values["cell.forget_bias"].number_value == 2
    metrics = {info.name.tag for info in messages[0].experiment.metric_infos}
    assert metrics == {"mse/test", "loss/test"} <= scalars(folder).keys()


def test_runs_are_named_for_people(settings_for, trained):
    """Two runs that differ in neither rate nor seed keep apart by their ids."""
    from rnnbench.board import name_run

    runs = [settings_for(*RUN, f"model.hidden={hidden}", "optim.lr=0.02") for hidden in (4, 5)]
    for run in runs:
        trained(run)
    places = [Folder.of(run).board_path for run in runs]
    named = places[0].parents[3] / "tensorboard" / "adding" / "lstm"
    ids = [Folder.of(run).path.name for run in runs]
    assert {path.name for path in named.iterdir()} == {"lr0.02-seed0", f"lr0.02-seed0-{ids[1]}"}
    assert {path.resolve() for path in named.iterdir()} == {path.resolve() for path in places}
    assert EventAccumulator(str(named / "lr0.02-seed0")).Reload().Tags()["scalars"]
    name_run(places[0], 0.02, 0)  # asked again, it stays
    assert len(list(named.iterdir())) == 2


def test_rate_and_seed_lead_in_hparams(finished):
    names = list(hparams(finished[0])[1].session_start_info.hparams)
    infos = [info.name for info in hparams(finished[0])[0].experiment.hparam_infos]
    assert infos[:2] == ["optim.lr", "seed"] and set(infos) == set(names)


def test_pictures_are_a_run_of_their_own(tmp_path):
    from matplotlib.figure import Figure

    from rnnbench.board import add_pictures

    Figure().savefig(tmp_path / "gates.png")
    for _ in range(2):  # the second time in the place of the first
        add_pictures(tmp_path / "events", {"gates": tmp_path / "gates.png"})
    assert len(list((tmp_path / "events").iterdir())) == 1
    board = EventAccumulator(str(tmp_path / "events")).Reload()
    (shown,) = board.Images("gates")
    assert shown.width > 100 and shown.encoded_image_string.startswith(b"\x89PNG")


def test_a_resumed_run_has_every_step_once(settings_for, trained, silent, finished):
    run = settings_for(*RUN, "study=resumed", "train.checkpoint_every=2")
    for stop in (4, 7):
        with pytest.raises(Interrupted):
            trained(run, watch=silent(stop_after=stop))
    trained(run)
    folder = Folder.of(run)
    assert len(list(folder.board_path.rglob("*"))) == 1
    assert scalars(folder) == scalars(finished[0])
    assert [message.WhichOneof("data") for message in hparams(folder)] == [
        "experiment",
        "session_start_info",
        "session_end_info",
    ]


def test_an_interrupted_run_shows_what_it_has_reached(settings_for, trained, silent):
    run = settings_for(*RUN)
    with pytest.raises(Interrupted):
        trained(run, watch=silent(stop_after=7))
    shown = scalars(Folder.of(run))
    assert [step for step, _ in shown["loss/valid"]] == [3, 6] and hparams(Folder.of(run)) == []
