"""A search: what is wrong in its YAML is said, its list is a function of its seed, it goes on from
wherever it was killed, evolution finds what is planted, and what it finds can be trained.
"""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rnnbench
from rnnbench import cli
from rnnbench.errors import UserError
from rnnbench.search import run, tables
from rnnbench.search.archive import SearchArchive, lines
from rnnbench.search.design import METHODS, read
from rnnbench.search.graph import REFERENCES
from rnnbench.search.methods import Proposals
from rnnbench.search.mutate import Grammar, mutant
from rnnbench.search.pictures import course, draw
from rnnbench.search.replicate import DEFAULTS, chosen, study_of
from rnnbench.search.run import Sitting
from rnnbench.search.screens import Screened, Trained, composed, untrainable
from rnnbench.search.writing import compiled

YAML = """
question: Does it run?
budget: 5
round: 3
through: 4
keep: 5
sample: 2
train: [optim=adam, engine=loop, model.hidden=8, train.batch=8, train.steps=6, train.eval_every=3,
        task.valid_size=50]
draws: {optim.lr: [5e-3, 1e-2, 2e-2], cell.init: ['scaled_uniform:0.7', 'scaled_uniform:1']}
screens:
  memorise: {train: [task=recite, task.items=2, task.alphabet=4], settings: 2, least: 0.15}
  parity: {train: [task=parity, task.length=4], settings: 2, seeds: 2, share: 0.5, fitness: true,
           inherit: 0.5}
"""


@pytest.fixture
def yaml(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(YAML, "utf-8")
    return path


@pytest.fixture
def search(yaml):
    return read(str(yaml))


@pytest.fixture
def stages(search):
    return composed(search.screens)


def listed(folder):
    """What a journal says, without times."""
    kept = [
        {k: v for k, v in line.items() if k not in ("seconds", "clock", "trained")}
        | {"scores": [t["scores"] for t in line["trained"]]}
        for line in list(lines(folder / "journal.jsonl"))[1:]
    ]
    return sorted(kept, key=lambda line: (line["round"], line["slot"]))


def sat(search, stages, folder, method="evolution", seed=0, budget="5", workers=1):
    sitting = Sitting(search, stages, method, seed, folder)
    sitting.run(budget, workers, lambda _: None, "again")
    return sitting.archive


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("round: 3", "rounds: 3", "unknown key 'rounds'; did you mean 'round'?"),
        ("budget: 5", "budget: soon", "number of candidates or of hours, 300 or 2h, got 'soon'"),
        ("settings: 2, least", "settings: 9, least", "9 of a grid of 6"),
        ("optim.lr:", "model.hidden:", "model.hidden cannot differ between the settings"),
        ("fitness: true", "fitness: false", "at least one needs fitness: true"),
        ("keep: 5", "keep: 0", "keep must be a whole number of at least 1, got 0"),
        ("inherit: 0.5", "inherit: 2", "inherit must be between 0 and 1"),
        ("keep: 5", "grammar: {activations: [swish]}", "activations must be tanh or sigmoid or"),
        ("keep: 5", "references: [mut9]", "references must be"),
        ("keep: 5", "references: [gru, gru]", "references: each needs a name of its own, got gru"),
        ("keep: 5", "references: [nowhere.py:mine]", "references: no file 'nowhere.py' in"),
        ("keep: 5", "references: [mine.py:lstm]", "not called like one of ours, got mine.py:lstm"),
        ("keep: 5", "references: []", "references is empty"),
        ("keep: 5", "references: [lstm]", "relative_to must be lstm, got 'gru'"),
    ],
)
def test_what_is_wrong_in_a_yaml_is_said(yaml, old, new, said):
    yaml.write_text(YAML.replace(old, new), "utf-8")
    with pytest.raises(UserError, match=r"^[^\n]+$") as error:
        read(str(yaml))
    assert said in str(error.value)


MINE = """from torch import sigmoid, tanh

def mine(W, R, b, x, h):
    z = sigmoid(W.z @ x + R.z @ h + b.z)
    return (1 - z) * h + z * tanh(W.n @ x + R.n @ h + b.n)
"""


def test_a_search_starts_from_a_cell_of_ones_own(yaml, tmp_path, monkeypatch):
    """It is measured and mutated like ours, is no find, and another text is another search."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE, "utf-8")
    yaml.write_text(
        YAML.replace("keep: 5", "keep: 5\nreferences: [mut1, mine.py:mine]\nrelative_to: mine"),
        "utf-8",
    )
    search = read(str(yaml))
    stages = composed(search.screens)
    archive = sat(search, stages, tmp_path / "searches/tiny/random-0", "random")
    assert archive.fitness(archive.members["mine"]) == 1
    parents = {member.parent for member in archive.members.values()} - {""}
    assert parents == {"mut1", "mine"}
    found = chosen(search, stages, tmp_path / "searches", 3)
    assert found and not any("mine" in finalist.name for finalist in found)
    study = study_of(search, DEFAULTS | {"unseen": {}}, found, tmp_path / "finalists.py")
    assert f"{tmp_path}/mine.py:mine" in study["parts"]["tuned"]["sweep"][2]
    Path("mine.py").write_text(MINE.replace("tanh(W", "-tanh(W"), "utf-8")
    assert read(str(yaml)).digest != search.digest


def test_what_cannot_be_trained_is_said_before_anything_is(yaml):
    yaml.write_text(YAML.replace("task=parity", "task=pareety"), "utf-8")
    with pytest.raises(UserError, match=r"screens\.parity: unknown task 'pareety'"):
        composed(read(str(yaml)).screens)


@pytest.mark.parametrize("method", ["evolution", "aging", "random"])
def test_the_list_is_a_function_of_the_seed(search, stages, tmp_path, method):
    sat(search, stages, tmp_path / "one", method)
    sat(search, stages, tmp_path / "two", method)
    sat(search, stages, tmp_path / "other", method, seed=1)
    one, two, other = (listed(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert [r["text"] for r in one[2:]] != [r["text"] for r in other[2:]]
    assert sum(r["move"] == "new" for r in one) == 5
    assert len({r["fingerprint"] for r in one if r["move"] != "again"}) == 7


def test_two_processes_make_the_list_of_one(search, stages, tmp_path):
    sat(search, stages, tmp_path / "one", budget="3")
    sat(search, stages, tmp_path / "two", budget="3", workers=2)
    assert listed(tmp_path / "one") == listed(tmp_path / "two")


@pytest.mark.parametrize("kept", [1, 2, 4, 5.5])
def test_a_search_that_was_killed_goes_on_to_the_same_list(search, stages, tmp_path, kept):
    """Killed before the references, among them, within a round, and while writing a line."""
    sat(search, stages, tmp_path / "whole", "aging")
    text = (tmp_path / "whole" / "journal.jsonl").read_text("utf-8").splitlines(keepends=True)
    broken = tmp_path / "broken"
    broken.mkdir()
    half = text[int(kept)][:40] if kept % 1 else ""
    (broken / "journal.jsonl").write_text("".join(text[: int(kept)]) + half, "utf-8")
    sat(search, stages, broken, "aging")
    assert listed(broken) == listed(tmp_path / "whole")


def test_a_smaller_budget_is_a_beginning_of_the_larger(search, stages, tmp_path):
    sat(search, stages, tmp_path / "runs", "random", budget="2")
    begun = listed(tmp_path / "runs")
    sat(search, stages, tmp_path / "runs", "random", budget="5")
    sat(search, stages, tmp_path / "whole", "random", budget="5")
    whole = listed(tmp_path / "runs")
    assert whole[: len(begun)] == begun and whole == listed(tmp_path / "whole")


def test_a_reference_that_reaches_nothing_is_said(search, stages, tmp_path, monkeypatch):
    def diverged(order, stages):
        trained = [Trained(s, k, (None,) * len(k), 1, 0.0) for s, k in order.settings.items()]
        return Screened(order.name, "", "", tuple(trained), 0.0)

    monkeypatch.setattr(run, "screened", diverged)
    with pytest.raises(UserError, match=r"gru reaches nothing at screens\.memorise"):
        sat(search, stages, tmp_path / "runs")


def test_another_search_is_not_mixed_in(yaml, search, stages, tmp_path):
    sat(search, stages, tmp_path / "runs", budget="1")
    yaml.write_text(YAML.replace("keep: 5", "keep: 6"), "utf-8")
    with pytest.raises(UserError, match="holds a search with another digest"):
        sat(read(str(yaml)), stages, tmp_path / "runs")


# Fitness


def recorded(name, scores, parent="", failed=""):
    """A record of a candidate with these best scores at the screens."""
    known = name if name in REFERENCES else "gru"
    return {
        **{"round": 0, "slot": 0, "move": "reference" if name == known else "new", "name": name},
        **{"parent": parent, "graph": REFERENCES[known].plain(), "text": "", "fingerprint": name},
        **{"known": None, "failed": failed},
        "trained": [
            {"screen": screen, "settings": [0], "scores": [score]}
            for screen, score in scores.items()
        ],
    }


def test_fitness_is_the_smallest_share_of_the_search_tasks(search, stages):
    """The paper's equation 1 with the scores of its MUT2 and GRU."""
    tasks = ("arithmetic", "xml", "text")
    screen = search.screens[1]
    made = replace(search, screens=tuple(replace(screen, name=name) for name in tasks))
    archive = SearchArchive(made, dict.fromkeys(tasks, stages["parity"]))
    archive.fold(recorded("gru", dict(zip(tasks, (0.896, 0.460, 0.0907), strict=True))))
    archive.fold(recorded("cell_1", dict(zip(tasks, (0.92, 0.47, 0.090), strict=True))))
    archive.fold(recorded("cell_2", dict(zip(tasks, (0.92, 0.47, None), strict=True))))
    archive.fold(recorded("cell_3", {"arithmetic": 0.2}, failed="arithmetic"))
    assert archive.fitness(archive.members["gru"]) == 1
    assert archive.fitness(archive.members["cell_1"]) == pytest.approx(0.992, abs=5e-4)
    assert archive.fitness(archive.members["cell_2"]) == 0  # it diverged on one task
    assert archive.fitness(archive.members["cell_3"]) is None
    assert [m.name for _, m in archive.ranked()] == ["gru", "cell_1", "cell_2"]
    assert archive.needed()["xml"] == pytest.approx(0.5 * 0.460)


def test_less_is_better_where_the_goal_says_so(search, stages):
    archive = SearchArchive(search, stages | {"parity": stages["parity"]._replace(goal="min")})
    archive.fold(recorded("gru", {"parity": 2.0}))
    archive.fold(recorded("cell_1", {"parity": 1.6}))
    assert archive.fitness(archive.members["cell_1"]) == 2.0 / 1.6
    assert archive.needed()["parity"] == 4.0


# The screen before all others


def cell_of(text):
    return compiled(f"def c(W, R, b, x, h):\n    return {text}\n", "c")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tanh(W.t @ x + R.t @ h + b.t)", ""),
        ("(W.a @ x + b.a) * (R.c @ h + 5) + 3 * h", "after 50 steps"),
        ("tanh(9 + tanh(W.a @ x + R.a @ h + b.a)) * 0 + 0 * h", "no gradient"),
    ],
)
def test_what_cannot_be_trained_at_all(text, why):
    said = untrainable(cell_of(text))
    assert why in said and bool(why) == bool(said)


# Planted: a synthetic fitness that rises as a graph comes near a hidden one


def shape(graph):
    """Every node with what its inputs are."""

    def kind(value):
        node = graph.node(value)
        return f"leaf {value}" if node is None else node.op

    return Counter((node.op, *map(kind, node.inputs)) for node in graph.nodes)


def nearness(hidden, graph):
    common = (shape(hidden) & shape(graph)).total()
    return common / (shape(hidden) | shape(graph)).total()


@pytest.mark.slow
def test_evolution_finds_what_is_planted_sooner_than_random_search(
    search, stages, tmp_path, monkeypatch
):
    rng = np.random.default_rng(0)
    hidden = REFERENCES["gru"]
    for _ in range(5):
        hidden, _ = mutant(hidden, rng, Grammar(mutate="few"))
    named = {}

    def scored(order, stages):
        score = 0.01 + nearness(hidden, named[order.name])
        trained = [Trained(s, k, (score,) * len(k), 1, 0.0) for s, k in order.settings.items()]
        return Screened(order.name, "", "", tuple(trained), 0.0)

    def order(self, asked, before=Proposals.order):
        named[asked.name] = asked.graph
        return before(self, asked)

    monkeypatch.setattr(run, "screened", scored)
    monkeypatch.setattr(Proposals, "order", order)
    made = replace(
        search, again=0.0, keep=10, sample=5, round=8, grammar=replace(search.grammar, mutate="few")
    )
    best = {
        method: [
            max(
                m.best("parity", "max")
                for m in sat(
                    made, stages, tmp_path / f"{method}{seed}", method, seed, "200"
                ).members.values()
            )
            for seed in range(3)
        ]
        for method in ("evolution", "aging", "random")
    }
    start = 0.01 + max(nearness(hidden, graph) for graph in REFERENCES.values())
    assert min(best["evolution"]) > start
    assert np.mean(best["evolution"]) > np.mean(best["random"]) + 0.05
    assert np.mean(best["aging"]) > np.mean(best["random"])


# From the command line


def test_what_is_found_is_a_file_of_cells(yaml, tmp_path, capsys):
    results = tmp_path / "searches"
    words = [
        str(yaml),
        "--method",
        "random",
        "--seed",
        "3",
        "workers=1",
        f"paths.results={results}",
    ]
    assert cli.main(["search", *words]) == 0
    out = capsys.readouterr().out
    assert "random-3: 5 of 5 cells" in out and "tables" in out
    file = results / "tiny" / "random-3" / "found.py"
    text = file.read_text("utf-8")
    names = [line[4 : line.index("(")] for line in text.splitlines() if line.startswith("def ")]
    assert names and "Lineage: cell_" in text
    assert cli.main(["show", f"cell={file}:{names[0]}"]) == 0
    assert "ₜ₋₁" in capsys.readouterr().out
    run = ["train", f"cell={file}:{names[0]}", "task=parity", "debug=tiny", "engine=loop"]
    assert cli.main([*run, f"paths.results={tmp_path / 'runs'}"]) == 0
    made = tables.cost(read(str(yaml)), results)
    assert made["cells"].tolist() == [5] and made["settings"].item() > 0
    shares = tables.screens(read(str(yaml)), results)
    assert shares["screen"].tolist() == ["finite", "memorise", "parity"]
    assert (shares["came"] >= shares["passed"]).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "unknown search 'nothing'"),
        (["none.yaml"], "no file 'none.yaml'"),
        (["{}", "--method", "genetic"], "unknown method 'genetic' (known: aging, evolution"),
        (["{}", "--seed", "-1"], "--seed"),
        (["{}", "--budget", "many"], "--budget must be a number of candidates or of hours"),
        (["{}", "workers=many"], "workers must be a whole number of at least 1, got 'many'"),
        (["{}", "optim.lr=1"], "unknown key 'optim.lr'"),
    ],
)
def test_what_cannot_be_asked_is_said(yaml, capsys, words, said):
    assert cli.main(["search", *(word.format(yaml) for word in words)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_every_search_of_ours_can_be_planned(mirror, monkeypatch):
    """With the texts that some of their tasks read."""
    from rnnbench.catalogue import choices, config_dir

    monkeypatch.setenv("RNNBENCH_MIRROR", str(mirror))
    for name in choices("searches"):
        made = read(name)
        assert made.name == name
        composed(made.screens)
    assert (config_dir() / "searches").is_dir()


def test_a_journal_is_json_lines(search, stages, tmp_path):
    sat(search, stages, tmp_path / "runs", "random", budget="1")
    for line in Path(tmp_path / "runs" / "journal.jsonl").read_text("utf-8").splitlines():
        json.loads(line)


def course_of(method, seed, level):
    rng = np.random.default_rng((seed, METHODS.index(method)))
    best, rows = level, []
    for cells in range(1, 21):
        best = max(best, level + 0.05 * rng.random())
        rows.append({"method": method, "seed": seed, "cells": cells, "seconds": 3.0 * cells})
        rows[-1] |= {"settings": cells, "fitness": best, "cell": "cell_0001"}
    return rows


def test_methods_are_compared_at_the_candidates_that_all_have(tmp_path):
    """Evolution a little better in each of five searches; one search has come less far."""
    rows = [r for seed in range(5) for r in course_of("random", seed, 1.0)]
    rows += [r for seed in range(5) for r in course_of("evolution", seed, 1.1)]
    made = pd.DataFrame(
        [r for r in rows if (r["method"], r["seed"]) != ("random", 4) or r["cells"] < 9]
    )
    found = tables.methods(made)
    assert found["cells"].item() == 8 and found["searches"].item() == "5, 5"
    assert found["difference"].item() == pytest.approx(0.1, abs=0.03) and found["p"].item() < 0.05
    few = tables.methods(made[made["seed"] < 4])
    assert found["verdict"].item() == "reproduced" and few["verdict"].item() == "not resolved"
    assert np.isnan(few["p"].item())  # four searches a side: nothing is claimed
    draw(made, "gru", tmp_path / "incumbents.svg")
    assert (tmp_path / "incumbents.svg").read_text("utf-8").count("<g id=") > 20
    at, mean, low, high = course(made[made["method"] == "random"], "cells")
    assert at[0] == 1 and at[-1] == 8
    last = made[(made["method"] == "random") & (made["cells"] == 8)]["fitness"]
    assert mean[-1] == pytest.approx(last.mean()) and low[-1] < mean[-1] < high[-1]


REPLICATION = """
replication:
  finalists: 1
  trials: 1
  seeds: 2
  unseen: {other: [task=parity, task.length=5, task.valid_size=50, optim=adam, engine=loop,
                   model.hidden=8, train.batch=8, train.steps=6, train.eval_every=3]}
"""


@pytest.mark.slow
def test_finalists_are_trained_anew_beside_what_people_made(yaml, tmp_path, capsys):
    """The task that the search did not see is the same one with another length, which must not
    count in the shrinkage.
    """
    yaml.write_text(YAML + REPLICATION, "utf-8")
    made, results = read(str(yaml)), tmp_path / "searches"
    for method in ("evolution", "random"):
        folder = results / "tiny" / f"{method}-0"
        sat(made, composed(made.screens), folder, method)
    words = ["search", str(yaml), "--replicate", "workers=1", f"paths.results={results}"]
    assert cli.main(words) == 0
    folder = results / "tiny" / "replication"
    found = pd.read_csv(folder / "shrinkage.csv").set_index("why")
    assert {"finalist", "random"} <= set(found.index)
    runs = rnnbench.load(folder / "runs.jsonl.gz")
    assert {"lstm", "lstm_b", "gru", "mut1", "mut2", "mut3", *found["cell"]} == set(runs["cell"])
    new = runs[(runs["seed"] >= 10_000) & (runs["task.length"] == 4)].groupby("cell")["value"]
    assert (new.size() == 2).all()
    share = new.mean()[found.loc["finalist", "cell"]] / new.mean()["gru"]
    assert found.loc["finalist", "new_seeds"] == pytest.approx(share, rel=1e-4)
    claims = pd.read_csv(folder / "tables" / "claims.csv").set_index("claim")
    for label in ("parity", "other"):
        said = claims["sentence"][f"{found.loc['finalist', 'cell']}-gru-{label}"]
        assert "open" not in said  # the filter leaves one task


def test_a_replication_needs_tasks_that_no_search_saw(yaml, capsys):
    assert cli.main(["search", str(yaml), "--replicate"]) == 2
    assert "replication.unseen is empty" in capsys.readouterr().err
