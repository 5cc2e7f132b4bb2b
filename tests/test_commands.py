"""Every command of the README and of docs/ runs, with a budget that proves nothing else: page by
page, in the order of each, in one folder; what comes down to the same is run once.
"""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from rnnbench import cli
from rnnbench.catalogue import choices
from rnnbench.runs.records import find
from rnnbench.sweep import backends
from rnnbench.sweep.work import work

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALL = {"train.steps": "2", "train.eval_every": "2", "train.batch": "2", "workers": "1"}
SMALL |= {"trials": "2", "seed": "0", "model.match": "params:400"}
DATA = ("chorales", "smnist", "charlm", "memorize=")  # tasks whose files a mirror has
GIVEN = re.compile(r"NAME|PLACE|FOLDER|STUDY|…|CELL\b")  # a place for something


def commands(page):
    """What a page says to type, in its order."""
    found = []
    text = re.sub(r" *\\\n +", " ", page.read_text("utf-8"))
    for block in re.findall(r"```console\n(.*?)```", text, re.S):
        found += [line[2:] for line in block.splitlines() if line.startswith("$ rnnbench ")]
    rest = re.sub(r"```.*?```", "", text, flags=re.S)
    for inline in re.findall(r"`(rnnbench [^`]+)`", rest):
        if " " in inline.removeprefix("rnnbench ") and not GIVEN.search(inline):
            found.append(inline)
    return list(dict.fromkeys(re.sub(r"\s+# .*", "", line) for line in found))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("typed")
    for page in PAGES:  # what a page shows as a file
        for name, code in re.findall(
            r"```python\n# (\w+\.py)\n(.*?)```", page.read_text("utf-8"), re.S
        ):
            (folder / name).write_text(code)
    searches = folder / "results/searches/search2015/evolution-0"  # what a search leaves
    searches.mkdir(parents=True)
    mine = (folder / "mycell.py").read_text()
    for name in set(re.findall(r"found\.py:(\w+)", (ROOT / "docs" / "search.md").read_text())):
        found = mine.replace("def mycell(", f"def {name}(")
        (searches / "found.py").write_text(found)
    random = np.random.default_rng(0)
    lines = ["machine,when,x,y,fault"]
    for machine in range(20):
        for when in range(6):
            x, y = random.normal(size=2)
            lines.append(f"m{machine},{when},{x:.3f},{y:.3f},{'yes' if machine % 2 else 'no'}")
    (folder / "sensors.csv").write_text("\n".join(lines) + "\n")
    hours = "\n".join(f"{k},{np.sin(k / 4):.3f}" for k in range(2000))
    (folder / "load.csv").write_text(f"hour,load\n{hours}\n")
    np.savez(folder / "sensors.npz", x=random.normal(size=(20, 6, 2)), y=np.arange(20) % 2)
    cases = [f"{k % 3}.5,1.0,{k}.0,2.0:{'ab'[k % 2]}" for k in range(20)]
    head = (
        "@problemName x\n@timestamps false\n@missing false\n@univariate true\n@equalLength true\n"
    )
    (folder / "JapaneseVowels_TRAIN.ts").write_text(
        f"{head}@seriesLength 4\n@classLabel true a b\n@data\n" + "\n".join(cases) + "\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "text.txt").write_text("ROMEO: it is the east, and Juliet is the sun.\n" * 200)
        for task in (["task=adding"], ["task=charlm", "task.corpus=text.txt"]):
            tiny = ["train.steps=2", "train.eval_every=2", "debug=tiny", "engine=loop"]
            assert cli.main(["train", "cell=gru_reset_after", *task, *tiny, "study=run"]) == 0
    return folder


def globbed(word):
    """What a shell makes of a word."""
    return [word] if "*" not in word else sorted(map(str, Path().glob(word)))


def few(name, value):
    """Of many choices the first two and the last; all of them must be known."""
    values = [value] if re.search(r"[(\[{]", value) else value.split(",")
    for one in values if name in ("cell", "task") else ():
        assert one in choices(name) or ".py:" in one, f"no {name} {one}"
    return ",".join([*values[:2], *values[2:][-1:]])


def trained(words):
    """A training with a tiny budget, of few combinations."""
    many = "-m" in words
    keep = [w for w in words if not w.startswith(("backend=", "cluster.", "debug=", "engine="))]
    pairs = [w.partition("=") for w in keep]
    changed = [
        w if not equals else f"{name}={SMALL.get(name) or few(name, value)}"
        for w, (name, equals, value) in zip(keep, pairs, strict=True)
    ]
    names = {name for name, _, _ in pairs}
    more = {"train.steps": "2", "train.eval_every": "2", "train.batch": "2"}
    more |= {"workers": "1"} if many else {}
    added = [f"{k}={v}" for k, v in more.items() if k not in names]
    return [*changed, *added, "debug=tiny", "engine=loop"]


def small(line):
    """A command with a tiny budget; what is left of it says no less than before of the words that
    were typed.
    """
    task = "charlm" if " sample " in line else "adding"
    (run,) = Path("results/runs/run").glob(f"{task}/gru_reset_after/*")
    words = shlex.split(line.replace("RUN_DIR", str(run)))[1:]
    words = [made for word in words for made in globbed(word)]
    verb, rest = words[0], words[1:]
    if verb == "train":
        looks = "--plan" in rest or "--cfg" in rest or "--help" in rest
        return words if looks else ["train", *trained(rest)]
    _, more = cli._parser().parse_known_args(words)
    assert all(re.match(r"[\w.]+=", word) for word in more), f"unknown: {more}"
    if verb == "bench":
        cells = [] if rest[:1] and not rest[0].startswith("-") else ["lstm"]
        one = ["--replicas", "1"] if "--steps" in rest else []
        return ["bench", *cells, *rest, "--repeats", "1", "--shapes", "2,3,2,4", *one]
    if verb == "probe" and "=" in line:
        return [*words, "task.length=5"]
    if verb == "report" and len(rest) == 1:
        assert find(rest[0])
        return ["report", str(run)]
    if verb == "picture":
        less = {"cliff": ["updates=3"], "sensitivity": ["steps=3", "units=2"]}
        return [*words, *less.get(rest[0], [])]
    if verb == "repeat":
        return ["repeat", str(run)]
    if verb == "data":
        return ["data", "list"]
    if verb == "search":
        return ["search", "search2015", "--plan"]
    if verb == "judge":
        tiny = ["train.steps=2", "train.eval_every=2", "train.batch=2", "debug=tiny", "workers=1"]
        kept = [word for word in words if not word.startswith("workers=")]
        return [*kept, *tiny, "engine=loop", "optim.lr=0.01", "--budget", "20"]
    if verb == "study":
        assert rest[0] in choices("studies"), f"no study {rest[0]}"
        return ["study", "forgetbias", "--scale", "smoke", "--plan"]
    return words


@pytest.fixture
def no_workers(monkeypatch):
    """Sweeps train in this process, one pack after another."""

    def here(packs, workers, orders, cluster):
        return ((pack, work(pack, orders)) for pack in packs)

    monkeypatch.setitem(backends.BACKENDS, "loky", here)


@pytest.fixture(scope="module")
def done():
    """What has been run already, on whatever page."""
    return set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page, place, done, no_workers, monkeypatch, request, capsys):
    monkeypatch.chdir(place)
    for line in commands(page):
        words = small(line)
        if tuple(words) in done:
            continue
        if any(f"task={name}" in line for name in DATA) or "search search2015" in line:
            monkeypatch.setenv("RNNBENCH_MIRROR", request.getfixturevalue("mirror"))
        try:
            code = cli.main(words)
        except SystemExit as end:  # --help
            code = end.code or 0
        said = capsys.readouterr()
        if "engine.device=cuda" in line and not torch.cuda.is_available():
            assert code == 2 and "cuda" in said.err, line
            continue
        assert code == 0, f"{line}\n{said.err}"
        done.add(tuple(words))
