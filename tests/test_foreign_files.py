"""We overwrite and delete only what we wrote; what is in the way is left or refused by name."""

import json
from pathlib import Path

import pytest
from synthetic import make_study

from rnnbench.cli import main
from rnnbench.errors import UserError
from rnnbench.report import render
from rnnbench.runs.collect import collect
from rnnbench.runs.made import MANIFEST, add_file, clear_events, put_files
from rnnbench.runs.records import SCHEMA


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(
        tmp_path_factory.mktemp("runs") / "demo", cells=["gru", "irnn"], seeds=range(2)
    )


def held(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


# Folders


def test_what_we_wrote_is_replaced_and_taken_away(tmp_path):
    put_files(tmp_path, {"a.txt": b"1", "tables/b.tex": b"2"}, "report")
    (tmp_path / "tables" / "mine.tex").write_text("mine")
    put_files(tmp_path, {"a.txt": b"3"}, "report")
    assert held(tmp_path) == {"a.txt": b"3", "tables/mine.tex": b"mine"}


def test_one_verb_does_not_take_away_what_another_made(tmp_path):
    add_file(tmp_path / "curves.png", b"curves")
    add_file(tmp_path / "eval.png", b"eval")
    put_files(tmp_path, {"a.txt": b"1"}, "report")
    put_files(tmp_path, {"b.txt": b"1"}, "report")
    assert set(held(tmp_path)) == {"curves.png", "eval.png", "b.txt"}
    add_file(tmp_path / "curves.png", b"curves anew")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "tables" / "a.tex").write_text("edited"),
        lambda folder: ((folder / "tables" / "a.tex").unlink(), (folder / "tables/a.tex").mkdir()),
        lambda folder: (folder / MANIFEST).write_text("{"),
        lambda folder: (folder / MANIFEST).write_text('{"report": [1]}'),
        lambda folder: (folder / MANIFEST).unlink(),
    ],
)
def test_what_was_edited_since_is_refused_before_anything_is_written(tmp_path, spoil):
    put_files(tmp_path, {"a.txt": b"1", "tables/a.tex": b"1"}, "report")
    spoil(tmp_path)
    before = held(tmp_path)
    with pytest.raises(UserError, match=r"in the way.*tables/a\.tex.*--out"):
        put_files(tmp_path, {"a.txt": b"2", "tables/a.tex": b"2"}, "report")
    assert held(tmp_path) == before


def test_a_folder_is_no_file_and_a_file_no_folder(tmp_path):
    (tmp_path / "tables").write_text("mine")
    with pytest.raises(UserError, match=r"in the way.*tables"):
        put_files(tmp_path, {"a.txt": b"1", "tables/a.tex": b"1"}, "report")
    assert held(tmp_path) == {"tables": b"mine"}


def test_a_killed_writer_is_forgiven(tmp_path, monkeypatch):
    """Whatever it had written is known, so that the next attempt is not refused."""
    put_files(tmp_path, {"a.txt": b"1", "b.txt": b"1"}, "report")
    from rnnbench.runs import made

    real, count = made.write, []

    def killed(path, content):
        count.append(path)
        if len(count) == 3:
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(made, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        put_files(tmp_path, {"a.txt": b"2", "b.txt": b"2"}, "report")
    monkeypatch.setattr(made, "write", real)
    put_files(tmp_path, {"a.txt": b"3", "b.txt": b"3"}, "report")
    assert held(tmp_path) == {"a.txt": b"3", "b.txt": b"3"}


def test_event_files_go_and_nothing_else(tmp_path):
    for name in ("a/events.out.tfevents.1.host", "b/c/events.out.tfevents.2", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    clear_events(tmp_path)
    assert set(held(tmp_path)) == {"b/notes.txt"} and not (tmp_path / "a").exists()


# Verbs


@pytest.fixture
def light(monkeypatch):
    """A report of two files instead of a hundred."""
    monkeypatch.setattr(render, "sections", lambda *_: [])


def test_a_report_leaves_a_paper_alone(study, tmp_path, light, capsys):
    paper = tmp_path / "paper"
    for name in ("figures/photo.png", "tables/mine.tex", "index.html"):
        (paper / name).parent.mkdir(parents=True, exist_ok=True)
        (paper / name).write_text("mine")
    before = held(paper)
    assert main(["report", str(study), "--out", str(paper)]) == 2
    assert "paper/index.html" in capsys.readouterr().err and held(paper) == before
    (paper / "index.html").unlink()
    assert main(["report", str(study), "--out", str(paper)]) == 0
    assert main(["report", str(study), "--out", str(paper)]) == 0
    assert held(paper).items() >= {"figures/photo.png": b"mine", "tables/mine.tex": b"mine"}.items()


def test_a_report_of_an_earlier_version_is_replaced(study, tmp_path, light):
    render.write_report([str(study)], tmp_path)
    (tmp_path / MANIFEST).unlink()
    (tmp_path / "report.md").write_text("# Report: as an earlier version wrote it")
    render.write_report([str(study)], tmp_path)
    assert "earlier version" not in (tmp_path / "report.md").read_text()


def test_a_picture_of_somebody_elses_stays(study, tmp_path, capsys):
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"mine")
    assert main(["curves", str(study), "--out", str(photo)]) == 2
    said = capsys.readouterr().err
    assert str(photo) in said and "--out" in said and photo.read_bytes() == b"mine"
    for _ in range(2):
        assert main(["curves", str(study), "--out", str(tmp_path / "curves.png")]) == 0


# One file of runs


def test_collect_keeps_the_lines_of_a_newer_version(study, tmp_path):
    out = tmp_path / "runs.jsonl"
    collect(study, out)
    first = json.loads(out.read_text().splitlines()[0])
    first.pop("checksum", None)
    newer = [
        json.dumps({"schema": SCHEMA + 1, "id": "0123456789ab", "who": "knows"}),
        json.dumps(first | {"schema": SCHEMA + 1}),  # a run that the folder has, too
    ]
    out.write_text("\n".join(newer) + "\n")
    count = collect(study, out)
    lines = out.read_text().splitlines()
    assert set(newer) < set(lines) and len(lines) == count
    assert [json.loads(line)["id"] for line in lines].count(first["id"]) == 1


def test_collect_keeps_what_it_cannot_read(study, tmp_path):
    out = tmp_path / "runs.jsonl"
    collect(study, out)
    whole = out.read_bytes()
    torn = whole + b'{"schema": 1, "id": "to\n'
    for name in ("runs.jsonl.damaged", "runs.jsonl.damaged-2"):
        out.write_bytes(torn)
        with pytest.warns(UserWarning, match="line 25"), pytest.warns(UserWarning, match=name):
            collect(study, out)
        assert out.read_bytes() == whole and (tmp_path / name).read_bytes() == torn


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0", b"Dear diary,\n", b"[1]\n{}\n"])
def test_collect_refuses_a_file_without_runs(study, tmp_path, content):
    out = tmp_path / "mine"
    out.write_bytes(content)
    with pytest.raises(UserError, match=r"mine is in the way.*--out"):
        collect(study, out)
    assert out.read_bytes() == content and [p.name for p in tmp_path.iterdir()] == ["mine"]
