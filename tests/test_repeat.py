"""A run that has ended comes to the same numbers again, from its config.yaml alone, whatever
company it was trained in.
"""

import json

import pytest

from rnnbench.cli import main
from rnnbench.runs.checksums import seal_json
from rnnbench.runs.collect import collect

SHORT = (
    "model.hidden=37",
    "train.batch=20",
    "train.steps=12",
    "train.eval_every=4",
    "train.eval_limit=2",
)
TASKS = {
    "adding": ("task=adding", "task.length=15"),
    "copy": ("task=copy", "task.length=5", "task.items=3"),
    "arithmetic": ("task=arithmetic", "task.digits=1"),
}


@pytest.fixture
def runs(settings_for, trained, tmp_path):
    """Three runs on adding, of one pack, as a study's folder."""
    trained(
        *(
            settings_for(*TASKS["adding"], *SHORT, "cell=lstm", "study=three", f"seed={seed}")
            for seed in range(3)
        )
    )
    return tmp_path / "runs" / "three"


def spoiled(folder, name, change):
    """One run's file with its text changed."""
    path = sorted(folder.rglob(name))[0]
    path.write_text(change(path.read_text()))
    return path


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "tanh", "mut1"])
def test_company_changes_no_bit(task, cell, settings_for, trained):
    """Alone, first of two, last of four: the best and the last scores of the native engine are
    those of the run.
    """
    run, *others = [
        settings_for(*TASKS[task], *SHORT, f"cell={cell}", "engine=native", f"seed={seed}")
        for seed in range(4)
    ]
    records = trained(run)[0], trained(run, others[0])[0], trained(*others, run)[-1]
    assert len({json.dumps([record["best"], record["final"]]) for record in records}) == 1


def test_from_folders_and_from_a_file(runs, tmp_path, capsys):
    assert main(["repeat", str(runs)]) == 0
    assert "3 of 3 runs gave the same test scores to the bit" in capsys.readouterr().out
    collect(runs, tmp_path / "runs.jsonl")
    before = sorted(runs.rglob("*"))
    assert main(["repeat", str(tmp_path / "runs.jsonl"), "--draw", "2", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert "2 of 2 runs" in out and out.count("none") == 2
    assert sorted(runs.rglob("*")) == before  # it leaves nothing


def test_other_numbers_are_told(runs, capsys):
    def worse(text):
        record = json.loads(text)
        record["best"]["test"]["mse"] *= 1.5
        record["provenance"] |= {"git": "0123abc", "versions": {"rnnbench": "0.0.7"}}
        del record["checksum"]
        return json.dumps(seal_json(record))

    spoiled(runs, "record.json", worse)
    assert main(["repeat", str(runs)]) == 3
    told = capsys.readouterr()
    assert "2 of 3 runs gave the same test scores" in told.out and "0.3" in told.out
    assert "1 of 3 runs gave other numbers" in told.err
    said = " ".join(told.out.split())
    assert "they were made by rnnbench 0.0.7 (commit 0123abc), and now by rnnbench" in said


def test_what_cannot_be_repeated_is_refused(runs, tmp_path, capsys):
    assert main(["repeat", str(runs), "--draw", "4"]) == 2
    assert "--draw must be between 1 and 3" in capsys.readouterr().err
    assert main(["repeat", str(tmp_path / "nowhere")]) == 2
    spoiled(runs, "config.yaml", lambda text: text.replace("steps: 12", "steps: 13"))
    assert main(["repeat", str(runs)]) == 2
    assert "was damaged or edited" in capsys.readouterr().err
