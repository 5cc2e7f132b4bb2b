"""What is done with trained runs: they open as they ended, score as their records say, write and
play what a loop by hand would, and leave as files that PyTorch or ONNX Runtime alone computes
alike. Broken folders are refused in one line.
"""

import csv
import io
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from rnnbench.catalogue import cells, read, resolve
from rnnbench.charts.trained import LOWEST
from rnnbench.draw import Draw
from rnnbench.engine import loop
from rnnbench.engine.network import Network, stacked
from rnnbench.equations.plan import plan
from rnnbench.errors import Interrupted, UserError
from rnnbench.layers.recurrent import Recurrent
from rnnbench.runs.checksums import check_json, seal_json, seal_yaml
from rnnbench.runs.records import Folder, run_id
from rnnbench.tasks.adding import Adding
from rnnbench.tools import eval, export, kept, music, program, sample, text
from rnnbench.tools.opening import changed, open_run
from rnnbench.training import run as engine_run

TINY = (
    "debug=tiny",
    "train.steps=6",
    "train.eval_every=3",
    "train.eval_limit=null",
    "model.hidden=6",
)
SYNTHETIC = ("task.valid_size=30", "task.test_size=50")
VERSE = (
    "so much depends upon a red wheel barrow glazed with rain water beside the white chickens\n"
    * 12
)


@pytest.fixture(autouse=True)
def nowhere_else(monkeypatch):
    for name in ("RNNBENCH_DATA", "RNNBENCH_MIRROR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run_of(settings_for, trained):
    """run_of("cell=gru", "task=adding") → the folder of a run of a few steps."""

    def made(*overrides):
        settings = settings_for(*TINY, *overrides)
        trained(settings)
        return Folder.of(settings).path

    return made


@pytest.fixture
def adding(run_of):
    return run_of("cell=lstm", "task=adding", "task.length=10", *SYNTHETIC)


@pytest.fixture
def writer(run_of, tmp_path):
    """A character model, and the file of its text."""
    corpus = tmp_path / "verse.txt"
    corpus.write_text(VERSE, "utf-8")
    return run_of(
        "cell=gru",
        "task=charlm",
        f"task.corpus={corpus}",
        "task.window=20",
        "train.steps=40",
        "optim.lr=0.02",
    ), corpus


@pytest.fixture
def player(settings_for, trained, tmp_path):
    """A model of chorales, trained on chords that we made up."""
    rng = np.random.default_rng(0)

    def split(count):
        cells = np.empty((1, count), object)
        for k in range(count):
            cells[0, k] = (rng.random((12 + k, 88)) < 0.05).astype(float)
        return cells

    place = tmp_path / "mirror" / "polyphonic" / "JSB_Chorales.mat"
    place.parent.mkdir(parents=True)
    savemat(place, {"traindata": split(8), "validdata": split(3), "testdata": split(3)})
    return place


# Opening


def test_a_run_opens_as_it_ended(adding):
    run = open_run(adding)
    record = check_json(json.loads((adding / "record.json").read_text()))
    best = torch.load(adding / "best.pt", weights_only=True)
    assert run_id(run.settings) == adding.name == record["id"]
    assert run.step == record["best"]["step"] and run.record == record
    assert {name: tuple(view.shape) for name, view in best.items()} == run.network.shapes
    assert all(torch.equal(run.network.params[name][0], tensor) for name, tensor in best.items())


def test_the_last_weights_too(adding):
    saved = torch.load(adding / "last.pt", weights_only=True)
    run = open_run(adding, weights="last")
    assert run.step == saved["step"] == 6
    assert all(
        torch.equal(run.network.params[name][0], tensor)
        for name, tensor in saved["parameters"].items()
    )
    assert kept.checkpoint(run.folder, run.settings.train.steps).keys() == saved.keys()


def test_a_run_that_has_not_ended_opens_at_its_checkpoint(settings_for, trained, silent):
    settings = settings_for(*TINY, "cell=gru", "task=adding", *SYNTHETIC)
    with pytest.raises(Interrupted):
        trained(settings, watch=silent(stop_after=4))
    place = Folder.of(settings).path
    with pytest.raises(UserError, match=r"no best.pt .* has not ended.*--weights last"):
        open_run(place)
    run = open_run(place, weights="last")
    assert (run.step, run.record) == (4, None)


def test_opening_writes_nothing(adding):
    before = {path: path.stat().st_mtime_ns for path in adding.rglob("*")}
    open_run(adding, {"task.length": 20})
    assert {path: path.stat().st_mtime_ns for path in adding.rglob("*")} == before


def test_data_are_where_this_machine_says(adding, monkeypatch, tmp_path):
    monkeypatch.setenv("RNNBENCH_DATA", str(tmp_path / "here"))
    assert open_run(adding).settings.paths.data == str(tmp_path / "here")
    assert open_run(adding, {"paths.data": "there"}).settings.paths.data == "there"


def test_an_engine_that_is_not_here_is_not_needed(adding):
    replaced(adding / "config.yaml", "device: auto", "device: cuda:7")
    replaced(adding / "record.json", '"device": "auto"', '"device": "cuda:7"')
    assert open_run(adding).settings.engine.device == "auto"
    with pytest.raises(UserError, match="CUDA"):
        open_run(adding, {"engine.device": "cuda:7"})


def edit(path, change):
    """As another version might have written it."""
    content = check_json(json.loads(path.read_text()))
    change(content)
    path.write_text(json.dumps(seal_json(content)))


def replaced(path, before, after):
    """As another version might have written it."""
    text = path.read_text()
    if path.suffix == ".yaml":
        path.write_text(seal_yaml(text.partition("\n")[2].replace(before, after)))
    else:
        values = json.loads(text.replace(before, after))
        path.write_text(json.dumps(seal_json({k: v for k, v in values.items() if k != "checksum"})))


def unreadable(place):
    (place / "best.pt").write_bytes((place / "best.pt").read_bytes()[:200])


def foreign(place):
    torch.save({"0.W": torch.zeros(3)}, place / "best.pt")


def other_keys(place):
    for path in (place / "config.yaml", place / "record.json"):
        replaced(path, "eval_batch", "validation_batch")


BROKEN = {
    "no folder": (lambda place: place.rename(place.with_name("gone")), "no folder"),
    "no settings": (lambda place: (place / "config.yaml").unlink(), "is no run: no config.yaml"),
    "torn settings": (
        lambda place: (place / "config.yaml").write_text("cell: {name: [\n"),
        "cannot read .*config.yaml",
    ),
    "foreign settings": (
        lambda place: (place / "config.yaml").write_text("- 1\n"),
        "does not hold the settings",
    ),
    "edited settings": (
        lambda place: (place / "config.yaml").write_text(
            (place / "config.yaml").read_text().replace("length: 10", "length: 20")
        ),
        "edited",
    ),
    "other keys": (other_keys, "config.yaml was written by .*train.validation_batch"),
    "torn record": (
        lambda place: (place / "record.json").write_text('{"schema": 1, '),
        "cannot read .*record.json .*torn",
    ),
    "other schema": (
        lambda place: edit(place / "record.json", lambda record: record.update(schema=99)),
        "is a record of schema 99; .* reads schema 1 to 2",
    ),
    "foreign record": (
        lambda place: (place / "record.json").write_text("[]"),
        "is no record of a run",
    ),
    "no weights": (lambda place: (place / "best.pt").unlink(), "no best.pt .*; train it anew"),
    "torn weights": (unreadable, "best.pt was damaged or edited"),
    "foreign weights": (foreign, "best.pt was damaged or edited"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_folder_is_refused_in_one_line(adding, fault):
    damage, told = BROKEN[fault]
    damage(adding)
    with pytest.raises(UserError, match=told) as refused:
        open_run(adding)
    assert "\n" not in str(refused.value)


def test_a_folder_of_runs_is_no_run(adding):
    with pytest.raises(UserError, match=r"is no run.*1 run lies below it"):
        open_run(adding.parent)


def test_a_torn_checkpoint(adding):
    (adding / "last.pt").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"last.pt was damaged or edited"):
        open_run(adding, weights="last")
    torch.save({"parameters": {}}, adding / "last.pt")
    with pytest.raises(UserError, match=r"is not a checkpoint of this run: it lacks best, "):
        open_run(adding, weights="last")


def test_a_cell_that_was_edited_since(run_of, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import tanh\n\n\ndef mine(W, R, b, x, h):\n    return tanh(W.h @ x + R.h @ h "
        "+ b.h)\n"
    )
    place = run_of(f"cell.step={file}:mine", "cell=own", "task=adding", *SYNTHETIC)
    assert open_run(place).plan.state == ("h",)
    file.write_text(file.read_text().replace("tanh(W", "2 * tanh(W"))
    copied = Folder(Path(place)).source(f"{file}:mine")
    assert open_run(place).settings.cell.step == f"{copied}:mine"  # the run has a copy of its own
    copied.unlink()
    with pytest.raises(
        UserError,
        match=r"mine.py has changed since this run was trained \(SHA-256 .* then, .* now\)",
    ):
        open_run(place)
    file.unlink()
    with pytest.raises(UserError, match="no file"):
        open_run(place)


def test_a_text_that_was_edited_since(writer):
    place, corpus = writer
    corpus.write_text(VERSE.upper(), "utf-8")
    with pytest.raises(UserError, match=r"verse.txt has changed since"):
        open_run(place)


def test_what_was_settled_cannot_change(adding):
    values = kept.config(Folder(adding), None)
    assert (
        changed(values, {"task.length": 20})["task"]["length"] == 20
        and values["task"]["length"] == 10
    )
    for key, told in {
        "model.hidden": "was settled",
        "cell.step": "was settled",
        "task.size": "unknown key 'task.size'",
        "task.type": "unknown key",
    }.items():
        with pytest.raises(UserError, match=told):
            changed(values, {key: 3})
    with pytest.raises(UserError, match=r"task.length must be a whole number"):
        open_run(adding, {"task.length": "long"})
    with pytest.raises(UserError, match="seed must be"):
        open_run(adding, {"seed": -1})


# Scoring


@pytest.mark.parametrize(
    "overrides",
    [
        ("cell=lstm", "task=adding", "seed=3"),
        ("cell=slstm", "task=copy", "task.length=5", "model.layers=2"),
    ],
)
def test_scores_are_those_of_the_record(run_of, overrides):
    place = run_of(*overrides, *SYNTHETIC)
    record = json.loads((place / "record.json").read_text())
    assert eval.evaluate(place).points[0].scores == record["best"]["test"]
    assert eval.evaluate(place, weights="last").points[0].scores == record["final"]["test"]
    assert eval.evaluate(place, split="valid").points[0].scores == record["best"]["valid"]


def test_scores_of_text_are_those_of_the_record(writer):
    record = json.loads((writer[0] / "record.json").read_text())
    assert eval.evaluate(writer[0]).points[0].scores == record["best"]["test"]


def test_another_length_is_another_test_set(adding):
    """Against a loop by hand over nn.LSTM with the weights of the file."""
    got = eval.evaluate(adding, ["task.length=4,10,25"]).points
    run = open_run(adding)
    saved = export.library(run)
    rnn, readout = torch.nn.LSTM(**saved["arguments"]), torch.nn.Linear(6, 1)
    rnn.load_state_dict(saved["rnn"])
    readout.load_state_dict(saved["readout"])
    for point, length in zip(got, (4, 10, 25), strict=True):
        (batch,) = Adding(length=length, test_size=50).evaluation("test", Draw(0), 1000)
        with torch.no_grad():
            error = readout(rnn(torch.from_numpy(batch.x))[0][-1]) - torch.from_numpy(batch.y)
        assert point.changes == {"task.length": length}
        assert point.scores["mse"] == pytest.approx(error.square().mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("task", "key", "values"),
    [
        ("copy", "task.length", "3,6"),
        ("arithmetic", "task.digits", "1,2,4"),
        ("memorize", "task.items", "1,2"),
        ("xml", "task.length", "50,80"),
    ],
)
def test_curves(run_of, task, key, values):
    place = run_of("cell=gru", f"task={task}", "train.steps=3", *SYNTHETIC)
    curve = eval.evaluate(place, [f"{key}={values}"]).curve
    assert curve.at == [int(value) for value in values.split(",")]
    assert curve.trained == open_run(place).settings.task[key.removeprefix("task.")]
    assert np.isfinite([*curve.scores, *curve.baseline]).all()


def test_what_changes_the_shape_is_refused(run_of):
    place = run_of("cell=gru", "task=memorize", "task.alphabet=4", *SYNTHETIC)
    with pytest.raises(
        UserError,
        match=r"task.alphabet=5: the task has 6 symbols and 5 outputs where the trained network "
        r"has 5 and 4; train a run for it",
    ):
        eval.evaluate(place, ["task.alphabet=5"])


def test_another_text_with_other_characters_is_refused(writer, tmp_path):
    other = tmp_path / "other.txt"
    symbols = sorted(set(VERSE))
    other.write_text(VERSE.replace(symbols[-1], "ß"), "utf-8")
    with pytest.raises(UserError, match="other characters"):
        eval.evaluate(writer[0], [f"task.corpus={other}"])
    backwards = tmp_path / "backwards.txt"
    backwards.write_text(VERSE[::-1][:250], "utf-8")  # shorter than a batch of training
    assert eval.evaluate(writer[0], [f"task.corpus={backwards}"]).points[0].scores["bpc"] > 0


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ([], [{}]),
        (["a=1,2", "b=x"], [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}]),
        (["a=range(1,7,2)"], [{"a": 1}, {"a": 3}, {"a": 5}]),
        (
            ["a=true,null", "b=0.5,'x y'"],
            [{"a": a, "b": b} for a in (True, None) for b in (0.5, "x y")],
        ),
    ],
)
def test_combinations(typed, found):
    assert list(eval.combined(typed)) == found


@pytest.mark.parametrize(
    "typed", [["a"], ["a=[1,"], ["+a=1"], ["~a"], ["a=1", "a=2"], ["a=interval(0,1)"]]
)
def test_combinations_that_cannot_be_read(typed):
    with pytest.raises(UserError):
        list(eval.combined(typed))


def test_eval_prints_a_table_and_saves_a_curve(adding, run_of, capsys):
    memorize = run_of("cell=gru", "task=memorize", "train.steps=3", *SYNTHETIC)
    before = eval.evaluate(adding).points[0].scores
    eval.run_eval([str(adding), "task.length=5,10"])
    shown = capsys.readouterr().out
    assert "as trained" in shown and "mse without memory" in shown and "0.1667" in shown
    assert (adding / "eval-length.png").read_bytes()[:4] == b"\x89PNG"
    rows = list(csv.DictReader((adding / "eval-length.csv").read_text().splitlines()))
    assert [row["task.length"] for row in rows] == ["5", "10"]
    assert float(rows[1]["mse"]) == before["mse"]
    eval.run_eval(
        [str(adding), str(memorize), "task.length=5,10", "task.items=1,2"],
        out=str(adding / "both.svg"),
    )
    drawn = (adding / "both.svg").read_text()
    assert "dashed: without memory" in drawn and "grey: trained there" in drawn
    assert all(
        f">{word}<" in drawn
        for word in (
            "adding",
            "memorize",
            "task.length",
            "task.items",
            "lstm",
            "gru",
        )
    )
    assert open_run(adding).step is not None  # what eval leaves behind does no harm


def test_eval_refuses(adding):
    for arguments, out, told in (
        (["task.length=5"], None, "name the folder of a run"),
        ([str(adding)], "curve.txt", "--out names a picture"),
        ([str(adding)], "curve.png", "no curve to draw"),
        ([str(adding), "task.digits=5"], None, "unknown key 'task.digits'"),
        ([str(adding), "task.length=5,1"], None, "task.length must be at least 2"),
    ):
        with pytest.raises(UserError, match=told):
            eval.run_eval(arguments, out)
    assert not list(adding.glob("eval*"))


# Writing


def by_hand(place, prompt, length):
    """The most probable text, by the equations of a GRU alone, in float64."""
    weights = {
        name: tensor.double().numpy()
        for name, tensor in torch.load(place / "best.pt", weights_only=True).items()
    }
    made = open_run(place).plan
    columns = dict(zip(made.blocks["W"], np.split(weights["0.W"], 3, 1), strict=True))
    biases = dict(zip(made.blocks["b"], np.split(weights["0.b"], 3), strict=True))
    recurrent = {}
    for g, (_, names) in enumerate(made.groups):
        recurrent |= dict(zip(names, np.split(weights[f"0.R{g}"], len(names), 1), strict=True))
    symbols, h, written = sorted(set(VERSE)), np.zeros(6), prompt

    def squash(v):
        return 1 / (1 + np.exp(-v))

    for at in range(len(prompt) + length):
        k = symbols.index(written[at])
        r = squash(columns["r"][k] + h @ recurrent["r"] + biases["r"])
        z = squash(columns["z"][k] + h @ recurrent["z"] + biases["z"])
        h = z * h + (1 - z) * np.tanh(columns["n"][k] + (r * h) @ recurrent["n"] + biases["n"])
        if at >= len(prompt) - 1:
            written += symbols[int((h @ weights["readout.W"] + weights["readout.b"]).argmax())]
    return written[len(prompt) :][:length]


def test_without_temperature_the_most_probable_is_written(writer):
    run = open_run(writer[0])
    expected = by_hand(writer[0], "so much", 60)
    assert "".join(text.continuation(run, "so much", 60, temperature=0)) == expected
    assert "".join(text.continuation(run, "so much", 60, temperature=1e-9)) == expected


def test_a_seed_writes_one_text(writer):
    run = open_run(writer[0])
    texts = ["".join(text.continuation(run, "so", 80, seed=seed)) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
    assert all(len(t) == 80 and set(t) <= set(VERSE) for t in texts)
    assert "".join(text.continuation(run, "so", 30, seed=0)) == texts[0][:30]


def test_characters_are_drawn_by_their_probabilities():
    logits, rng = np.log([0.1, 0.2, 0.7]), np.random.default_rng(0)
    for temperature in (0.5, 1.0, 2.0):
        expected = np.array([0.1, 0.2, 0.7]) ** (1 / temperature)
        counts = np.bincount(
            [text.drawn(logits, temperature, rng) for _ in range(4000)], minlength=3
        )
        assert np.abs(counts / 4000 - expected / expected.sum()).max() < 0.03


def test_text_goes_to_the_terminal_as_it_is_made(writer, monkeypatch):
    class Terminal(io.StringIO):
        flushed = ()

        def flush(self):
            self.flushed += (self.getvalue(),)

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    sample.run_sample(writer[0], prompt="red", length=5, seed=2)
    whole = terminal.getvalue()
    assert whole.startswith("red") and whole.endswith("\n") and len(whole) == 9
    assert terminal.flushed[:5] == tuple(whole[:k] for k in range(4, 9))


def test_what_cannot_be_written(writer, adding, run_of):
    for arguments, told in (
        (
            {"prompt": "Zoë?"},
            r"'Z' \(LATIN CAPITAL LETTER Z\), 'ë' \(LATIN SMALL LETTER E WITH DIAERESIS\), '\?' "
            r".*it knows",
        ),
        ({"length": 0}, "--length must be at least 1, got 0"),
        ({"temperature": -1.0}, "--temperature must be"),
        ({"temperature": float("nan")}, "--temperature must be"),
        ({"out": "a.txt"}, "> FILE"),
    ):
        with pytest.raises(UserError, match=told):
            sample.run_sample(writer[0], **arguments)
    with pytest.raises(UserError, match="adding is neither text nor music"):
        sample.run_sample(adding)


def test_sums_and_tags_are_text_too(run_of, capsys):
    sums = run_of("cell=gru", "task=arithmetic", "train.steps=3", *SYNTHETIC)
    with pytest.raises(UserError, match="give it a --prompt"):
        sample.run_sample(sums)
    sample.run_sample(sums, prompt="12-7=", length=9)
    answer = capsys.readouterr().out.removeprefix("12-7=").rstrip("\n")
    assert 1 <= len(answer) <= 9 and set(answer) <= set("0123456789-.") and "." not in answer[:-1]
    sample.run_sample(run_of("cell=gru", "task=xml", "train.steps=3", *SYNTHETIC), length=12)
    assert len(capsys.readouterr().out.rstrip("\n")) == 12


# Playing


def test_notes_of_a_roll():
    roll = np.zeros((5, 88), np.uint8)
    roll[0:2, 3] = roll[3:5, 3] = roll[4, 87] = 1
    assert sorted(music.notes(roll)) == [(0, 2, 3), (3, 5, 3), (4, 5, 87)]


def test_chords_by_name():
    roll = music.chords("A0 C4 | - | F#4 Gb4 C8")
    assert [np.flatnonzero(frame).tolist() for frame in roll] == [
        [0, 60 - LOWEST],
        [],
        [66 - LOWEST, 87],
    ]
    for prompt, told in (
        ("H2", "'H2' is not a note"),
        ("C4 |", "empty frame"),
        ("G9", "a piano has no G9"),
        ("do re", "'do' is not a note"),
    ):
        with pytest.raises(UserError, match=told):
            music.chords(prompt)


@pytest.mark.parametrize("frames_per_quarter", [1, 2])
def test_a_midi_file_has_the_notes_of_the_roll(frames_per_quarter):
    mido = pytest.importorskip("mido")
    roll = (np.random.default_rng(1).random((30, 88)) < 0.2).astype(np.uint8)
    roll[-2:] = 0
    file = mido.MidiFile(file=io.BytesIO(music.midi(roll, frames_per_quarter)))
    back, tick, struck = np.zeros_like(roll), 0, {}
    for message in file.tracks[0]:
        tick += message.time
        frame = tick * frames_per_quarter / file.ticks_per_beat
        if message.type == "note_on":
            assert message.note not in struck and message.velocity
            struck[message.note] = int(frame)
        elif message.type == "note_off":
            back[struck.pop(message.note) : int(frame), message.note - 21] = 1
    assert not struck and frame == 30
    assert (back == roll).all()


@pytest.fixture
def played_run(player, settings_for, trained, monkeypatch):
    monkeypatch.setattr(engine_run.Fetch, "__call__", lambda self, name: player)
    settings = settings_for(*TINY, "cell=lstm", "task=chorales", "train.batch=4")
    trained(settings)
    return Folder.of(settings).path


def test_music_is_a_midi_file_and_a_picture(played_run, tmp_path):
    mido = pytest.importorskip("mido")
    sample.run_sample(played_run, length=10, seed=1)
    sample.run_sample(played_run, length=10, seed=1, out=str(tmp_path / "again.mid"))
    assert (played_run / "sample.mid").read_bytes() == (tmp_path / "again.mid").read_bytes()
    assert (played_run / "sample.png").read_bytes()[:4] == b"\x89PNG"
    run = open_run(played_run)
    roll, given = music.played(run, length=10, seed=1)
    assert (len(roll), given) == (18, 8)
    assert any((roll[:8] == sequence[:8]).all() for sequence in run.task.rolls["test"])
    struck = [
        m.note - 21
        for m in mido.MidiFile(played_run / "sample.mid").tracks[0]
        if m.type == "note_on"
    ]
    assert sorted(struck) == sorted(key for _, _, key in music.notes(roll))
    with pytest.raises(UserError, match="--out names a MIDI file"):
        sample.run_sample(played_run, out="song.mp3")


def test_without_temperature_keys_sound_that_are_more_likely_than_not(played_run):
    run = open_run(played_run)
    roll, given = music.played(run, "C4 E4 | G4", length=6, temperature=0)
    x = torch.from_numpy(roll.astype(np.float32))[None, :, None]
    with torch.no_grad():
        logits, _ = run.network(run.unroll, x, run.network.zero_state(1), last=False)
    assert given == 2
    assert (roll[2:] == (logits[0, 1:-1, 0] > 0).numpy()).all()


def test_keys_are_drawn_by_their_probabilities():
    rng, logits = np.random.default_rng(0), np.array([-1.0, 0.0, 2.0])
    share = np.mean([music.sounding(logits, 0.5, rng) for _ in range(4000)], axis=0)
    assert np.abs(share - 1 / (1 + np.exp(-2 * logits))).max() < 0.03


def test_without_mido(monkeypatch):
    monkeypatch.setattr(music, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'rnnbench\[music\]'"):
        music.midi(np.zeros((2, 88)), 1)


# Leaving

TWINS = {"tanh", "relu", "irnn", "lstm", "lstm_b", "np", "gru_reset_after"}


@pytest.mark.parametrize("cell", sorted(TWINS))
@pytest.mark.parametrize(
    "task",
    [("task=adding", "task.length=8"), ("task=copy", "task.length=4", "model.dtype=float64")],
    ids=["numbers", "symbols"],
)
def test_weights_in_torch_nn(run_of, cell, task):
    place = run_of(f"cell={cell}", *task, "model.layers=2", *SYNTHETIC)
    path, error = export.export(place, "torch")
    assert path == place / "model.pt" and error <= 1e-5
    saved = torch.load(path, weights_only=True)
    assert saved["about"]["cell"] == cell
    rnn = getattr(torch.nn, saved["class"])(**saved["arguments"])
    rnn.load_state_dict(saved["rnn"])
    readout = torch.nn.Linear(6, saved["outputs"], dtype=rnn.weight_hh_l0.dtype)
    readout.load_state_dict(saved["readout"])
    run = open_run(place)
    x = next(run.feeder.evaluation("test", 20, 1)).x
    with torch.no_grad():
        expected, _ = run.network(run.unroll, x, run.network.zero_state(x.shape[2]), last=False)
        given = (
            torch.nn.functional.one_hot(x[0], run.task.inputs).double()
            if run.task.symbols
            else x[0]
        )
        got = readout(rnn(given)[0])
    assert (got - expected[0]).abs().max() < 1e-5


def test_cells_that_torch_nn_does_not_have(run_of):
    for cell, why in (("gru", "resets after"), ("lstm_vanilla", "no peepholes")):
        place = run_of(f"cell={cell}", "task=adding", "train.steps=3", *SYNTHETIC)
        with pytest.raises(UserError, match=f"cell={cell}: .*{why}.*lstm.*--to onnx or --to pt2"):
            export.export(place, "torch")
        assert not (place / "model.pt").exists()
    with pytest.raises(UserError, match="unknown format for --to: 'keras'"):
        export.export(place, "keras")


def one_number_a_unit(cell):
    values = read("cell", cell)
    return plan(resolve(values["step"], "cell.step"), values["constants"]).program.plain


@pytest.mark.parametrize("cell", [name for name in cells() if one_number_a_unit(name)])
@pytest.mark.parametrize("symbols", [False, True])
def test_the_program_computes_what_the_network_does(settings_for, monkeypatch, cell, symbols):
    """Every cell, with a plain loop in place of `scan`, which takes seconds to trace."""

    def scan(step, state, xs):
        outputs = []
        for x in xs:
            state, out = step(state, x)
            outputs.append(out)
        return state, torch.stack(outputs)

    monkeypatch.setattr(import_module("torch._higher_order_ops.scan"), "scan", scan)
    made = plan(resolve(settings_for(f"cell={cell}").cell.step, "cell.step"))
    stack = stacked(Recurrent(made), 2, None, symbols)
    network = Network(stack, 1, 3, 5, 4, symbols, torch.float64, "cpu")
    network.flat.copy_(torch.randn(network.flat.shape, generator=torch.Generator().manual_seed(0)))

    class Run:
        task = type("Task", (), {"inputs": 3})

    Run.network, Run.plan = network, made
    copy = program.ExportedNetwork(Run)
    x, *_ = copy.example(6, 2)
    states = [0.2 + torch.rand(2, 5, dtype=torch.float64) for _ in copy.states]
    count = len(made.state)
    layers = [tuple(s[None] for s in states[k * count : (k + 1) * count]) for k in range(2)]
    expected, after = network(loop.unroll, x[None], layers, last=False)
    got = copy(x, *states)
    for value, reference in zip(
        got, (expected, *(s for layer in after for s in layer)), strict=True
    ):
        torch.testing.assert_close(value, reference[0], rtol=1e-12, atol=1e-12)


ALONE = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("rnnbench", "hydra", "hydra_plugins"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nothing())
import numpy as np
path, given, out = sys.argv[1:]
batches = np.load(given)
calls = sorted({key.split("/")[0] for key in batches})
results = {}
if path.endswith("onnx"):
    import onnxruntime
    session = onnxruntime.InferenceSession(path)
    for call in calls:
        feed = {i.name: batches[f"{call}/{k}"] for k, i in enumerate(session.get_inputs())}
        results[call] = session.run(None, feed)
else:
    import torch
    if path.endswith("module"):
        scope = {}
        exec(open(path).read(), scope)
        network = scope["load"]()
    else:
        network = torch.export.load(path).module()
    for call in calls:
        count = sum(key.startswith(call + "/") for key in batches)
        given = (torch.from_numpy(batches[f"{call}/{k}"]) for k in range(count))
        results[call] = [t.detach().numpy() for t in network(*given)]
assert not any(name.split(".")[0] == "rnnbench" for name in sys.modules)
named = ((f"{call}/{k}", value) for call in results for k, value in enumerate(results[call]))
np.savez(out, **dict(named))
"""


@pytest.mark.parametrize(
    ("to", "overrides"),
    [
        ("onnx", ("cell=lstm_vanilla", "task=adding", "task.length=8", "model.layers=2")),
        ("onnx", ("cell=slstm", "task=copy", "task.length=4")),
        ("pt2", ("cell=fgr", "task=adding", "task.length=8")),
        ("pt2", ("cell=gru", "task=copy", "task.length=4")),
        ("module", ("cell=lstm_vanilla", "task=adding", "task.length=8", "model.layers=2")),
        ("module", ("cell=slstm", "task=copy", "task.length=4")),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_files_compute_alike_without_us(run_of, tmp_path, to, overrides):
    """Loaded where there is no rnnbench: predictions and states, other lengths and batches, and on
    from a state.
    """
    if to == "onnx":
        for name in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(name)
    place = run_of(*overrides, *SYNTHETIC)
    path, error = export.export(place, to, out=str(tmp_path / f"net.{to}"))
    assert error <= 1e-5
    run = open_run(place)
    made, given = program.ExportedNetwork(run), {}
    for call, (steps, batch) in {"long": (12, 5), "one": (1, 1), "carried": (9, 2)}.items():
        x, *states = made.example(steps, batch, seed=steps)
        states = [torch.full_like(s, 0.3) for s in states] if call == "carried" else states
        given |= {f"{call}/{k}": value.numpy() for k, value in enumerate((x, *states))}
    np.savez(tmp_path / "given.npz", **given)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        ALONE,
        str(path),
        str(tmp_path / "given.npz"),
        str(tmp_path / "got.npz"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    got = np.load(tmp_path / "got.npz")
    count = len(run.plan.state)
    for call in ("long", "one", "carried"):
        x, *states = (torch.from_numpy(given[f"{call}/{k}"]) for k in range(1 + len(made.states)))
        layers = [
            tuple(s[None] for s in states[k * count : (k + 1) * count])
            for k in range(run.network.layers)
        ]
        with torch.no_grad():
            expected, after = run.network(run.unroll, x[None], layers, last=False)
        for k, reference in enumerate((expected, *(s for layer in after for s in layer))):
            np.testing.assert_allclose(
                got[f"{call}/{k}"], reference[0].numpy(), rtol=1e-5, atol=1e-5
            )


def test_without_onnx(adding, monkeypatch):
    monkeypatch.setattr(
        program, "find_spec", lambda name: None if name == "onnxscript" else object()
    )
    with pytest.raises(
        UserError, match=r"--to onnx needs onnxscript: pip install 'rnnbench\[onnx\]'"
    ):
        export.export(adding, "onnx")
