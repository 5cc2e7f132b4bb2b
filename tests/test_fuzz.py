"""Whatever is typed, and whatever lies in a folder, ends in a result or in one line that names it.

A few hundred cases in `make test`; `make fuzz` tries as many of each as RNNBENCH_FUZZ says.
Training and drawing are left out: what training would refuse is asked of the same code.
"""

import contextlib
import copy
import io
import json
import os
import re
import shutil
import warnings
from pathlib import Path

import pytest
import torch
import yaml
from hydra.errors import HydraException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnbench import data
from rnnbench.bench import command as bench
from rnnbench.charts import plots
from rnnbench.cli import main
from rnnbench.cli.verbs import VERBS
from rnnbench.compose import compose
from rnnbench.errors import Interrupted, SomeFailed, UserError
from rnnbench.formatting import printable
from rnnbench.report import render
from rnnbench.runs.collect import collect
from rnnbench.runs.records import Folder
from rnnbench.sweep import expand, launch
from rnnbench.tools import eval as evaluation
from rnnbench.tools import probe, repeat
from rnnbench.training import train
from rnnbench.training.run import read_tensors, refuse, run_pack, tensors

COUNT = int(os.environ.get("RNNBENCH_FUZZ", "0"))
SHOWN = 30  # letters of a word that a message shows at least
CODES = (0, 2, 3)  # done, theirs, some of several failed; 1 is a bug
WORDS = """debug=tiny task=adding cell=gru model.hidden=2 train.steps=6 train.eval_every=2
train.batch=2 train.eval_limit=1 task.length=5 task.valid_size=4 task.test_size=4 engine=loop
model.dtype=float64 study=one"""
RUN = WORDS.split()
MINE = "import torch\n\ndef mine(W, R, b, x, h):\n    return torch.tanh(W.h @ x + R.h @ h + b.h)\n"


def cases(number: int) -> settings:
    slow = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=COUNT or number,
        derandomize=not COUNT,  # `make test` tries the same cases each time
        suppress_health_check=slow,
    )


class _Half:
    """A watcher that stops a run in the middle."""

    def __init__(self, after: int) -> None:
        self.after, self.step = after, 0

    def start(self, pack, step):
        self.step = step

    def stepped(self, step, loss_K):
        self.step = step

    def validated(self, rows):
        pass

    def interrupted(self):
        return self.step >= self.after


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a run that has ended, one that has not, a file of runs, and things of
    somebody's.
    """
    root = tmp_path_factory.mktemp("home")
    with contextlib.chdir(root):
        run_pack([compose(RUN)], [RUN], _Half(99), print)
        with pytest.raises(Interrupted):
            run_pack([compose([*RUN, "study=half"])], [RUN], _Half(4), print)
        collect("results/runs/one", "one.jsonl")
        Path("mine.py").write_text(MINE)
        Path("photo.png").write_bytes(b"a photo")
        Path("table.csv").write_text("a,b\n1,2\n3,nan\n")
    return root


@pytest.fixture(scope="module")
def light():
    """Nothing is trained, measured, drawn or fetched."""

    def no(*_, **__):
        raise SomeFailed("not in this test")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "train", lambda chosen, *_: refuse(chosen))
        patch.setattr(launch, "launch", lambda *_: True)
        patch.setattr(bench, "measured", no)
        patch.setattr(probe, "measured", no)
        patch.setattr(evaluation, "score", no)
        patch.setattr(repeat, "run_pack", lambda runs, *_: refuse(runs[0]) or no())
        patch.setattr(data, "_bring", no)
        patch.setattr(plots, "image", lambda *_: b"")
        yield


def said_by(words) -> tuple[int, str]:
    """Exit code of a command, and what it says; it is no bug, and can be written to a terminal."""
    shown = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    told = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
    with (
        contextlib.redirect_stdout(shown),
        contextlib.redirect_stderr(told),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code or 0
    told.seek(0)
    text = told.read()
    assert code in CODES and "Traceback" not in text, f"{words}: {code}\n{text}"
    assert code != 2 or text.strip().splitlines()[-1].startswith("rnnbench: "), text
    return code, text


# What is typed

KEYS = """
cell cell.forget cell.forget_bias cell.init cell.step cell.constants.x cell.paper.R cell.write task
task.length task.type task.target task.path task.valid_size model model.hidden model.layers
model.match model.dropout model.dtype optim optim.lr optim.eps optim.schedule optim.clip_norm
optim.momentum train train.steps train.batch train.patience train.stop_at_target train.eval_every
train.epochs train.eval_limit engine engine.threads engine.device paths paths.results paths.data
paths.mirror seed study debug hydra hydra.run.dir hydra/launcher lr ~cell ~task +x ++x workers pack
backend trials sampler retry cluster.x
"""
VALUES = """
null true nan -inf inf 1e22 -1 0 1 2 3 0.5 1e-3 lstm gru adam sgd adding copy memorize tiny '' [] {}
[1,2] {a:1} ${x} ${oc.env:X} mine.py:mine mine.py:x a/b .. params:0 params:x params:2000 1_000 0x1
choice(1,2) range(3) range(0,9,0) range(1e9) interval(0,1) interval(1,0) glob(*) cuda:9 float16 ???
a,b 1,2 gru,lstm ~x ~nobody/x paper chrono identity:x orthogonal cosine step float64 native torch
"""
PLACES = """
one half results results/runs results/runs/one one.jsonl nowhere /proc /dev/null /dev/full photo.png
photo.png/x mine.py table.csv . .. /dev ~ ~nobody
"""
LONG = ["a" * 300, "a/" * 3000, "\udcff", "é" * 100, "-1", "--", "1e999", "١", "\n", "=", "a=b=c"]
texts = st.text(st.characters(exclude_characters="\0"), max_size=6)
values = (
    st.sampled_from(VALUES.split())
    | st.sampled_from(PLACES.split())
    | st.sampled_from(LONG)
    | texts
)
settings_typed = st.tuples(st.sampled_from(KEYS.split()), values).map("=".join)
TRAIN_FLAGS = [
    "-m",
    "--multirun",
    "-h",
    "--cfg",
    "job",
    "--resolve",
    "--info",
    "-p",
    "optim",
    "-sc",
]


@st.composite
def commands(draw):
    """A line in the grammar of a verb, or beside it."""
    kind = draw(st.sampled_from(["train", *(verb.name for verb in VERBS)]))
    if kind == "train":
        tiny = draw(st.sampled_from([[], ["debug=tiny"], ["debug=tiny", "train.steps=1"]]))
        flags = draw(st.lists(st.sampled_from(TRAIN_FLAGS), max_size=2))
        return ["train", *flags, *tiny, *draw(st.lists(settings_typed, max_size=4))]
    words = [kind]
    for flags, options in next(verb.arguments for verb in VERBS if verb.name == kind):
        known = [str(choice) for choice in options.get("choices", ())]
        value = st.sampled_from(known) | values if known else values
        if not flags[0].startswith("-"):
            many = options.get("nargs") in ("*", "+")
            one = value if known else st.sampled_from(PLACES.split()) | settings_typed | values
            words += draw(st.lists(one, min_size=not many, max_size=3 if many else 1))
        elif draw(st.booleans()) and draw(st.booleans()):
            taken = [] if options.get("action") else [draw(value)]
            words += [draw(st.sampled_from(flags)), *taken]
    if kind == "study":
        words.append("--plan")
    return words


@cases(60)
@given(commands())
def test_any_line_is_done_or_refused(home, light, words):
    with contextlib.chdir(home), pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "sections", lambda *_: [])
        before = {path: path.read_bytes() for path in kept_files(home)}
        code, text = said_by(words)
        assert code != 2 or named(words, text), f"{words}: {text}"
        assert before == {path: path.read_bytes() for path in before}, words


def named(words, text: str) -> bool:
    """Whether the line that refuses names what it refuses: a word that was typed, or a file below
    it; of key=value both the key, or its last part, and the value, as it was typed or as it was
    read. A key that nothing has is all that is wrong.
    """
    line = text.rstrip("\n").rpartition("\n")[2]
    files = [part.rstrip(":;,") for part in line.split() if "/" in part]
    if words[0] == "judge":  # its cells are words in a word: "NAME key=value"
        words = [*words, *(part for word in words for part in word.split())]
    return any(_stands(word, line) for word in words) or any(Path(f).exists() for f in files)


def _stands(word: str, line: str) -> bool:
    key, equals, value = word.partition("=")
    if printable(word)[:SHOWN] in line:
        return True
    if not equals and printable(word.strip().rstrip("/")) in line:
        return True
    if not equals:
        with contextlib.suppress(RuntimeError):  # nobody's home
            return word.startswith("~") and str(Path(word).expanduser()) in line
        return False
    bare = key.lstrip("+~")
    if key.startswith("~") and key in line:  # its value says nothing
        return True
    if re.search(rf"unknown key '{re.escape(bare)}[.']", line) or f"{bare} has no effect" in line:
        return True
    if re.search(rf"\b{re.escape(bare)}[.\w]* has no value", line):  # what is chosen leaves it open
        return True
    if key.startswith("cell.constants.") and f"no constant '{key.rpartition('.')[2]}'" in line:
        return True
    if value.startswith("glob(") and re.search(rf"{re.escape(bare)}=\w+", line):
        return True  # one of those that it stands for
    return bare.rpartition(".")[2] in line and any(form[:SHOWN] in line for form in _forms(value))


def _forms(value: str) -> list[str]:
    """How a value may be written in a message: as typed or as read, one of several, a name in a
    file.
    """
    forms = [printable(value)]
    if value.partition(":")[0].endswith(".py"):
        forms.append("unknown name in {}: '{}'".format(*value.partition(":")[::2]))
    with contextlib.suppress(UserError, HydraException, ValueError):
        (axis,) = expand.axes([f"key={value}"], lambda _: False)
        forms += axis.values if axis.sweep else ()
    with contextlib.suppress(UserError, HydraException, ValueError):
        read = expand.value(value)
        if isinstance(read, dict) and len(read) == 1:  # stands for key.a=1
            forms += [".{}={}".format(*item) for item in read.items()]
        forms += [str(read), f"{read:g}" if isinstance(read, (int, float)) else repr(read)]
    return forms


def kept_files(root: Path) -> list[Path]:
    """What no command may change: somebody's files, and results."""
    mine = [root / name for name in ("photo.png", "mine.py", "table.csv")]
    return mine + [
        path
        for name in ("record.json", "config.yaml", "curve.csv", "best.pt", "last.pt")
        for path in (root / "results/runs").glob(f"*/*/*/*/{name}")
    ]


# What lies in a folder

odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | st.sampled_from(["", "${x}", "${", "nan", "../x", "\ud800", "\0", "a" * 300, "=1+1", "<b>"])
    | st.sampled_from(["lstm", "rnnbench.cells.rnn.tanh", "os.system", "x.py:y", "params:1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def deep(levels: int):
    made = 0
    for _ in range(levels):
        made = [made]
    return made


@st.composite
def mutations(draw):
    """Changes of a tree: which key at each level, and what becomes of it."""
    path = draw(st.lists(st.integers(0, 40), min_size=1, max_size=4))
    return path, draw(st.sampled_from(["delete", "set", "set", "add"])), draw(odd)


def mutated(tree, changes):
    tree = copy.deepcopy(tree)
    for path, what, value in copy.deepcopy(changes):  # a value is set once, and changed there
        here, parent, key = tree, None, None
        for number in path:
            if isinstance(here, dict) and here:
                parent, key = here, list(here)[number % len(here)]
            elif isinstance(here, list) and here:
                parent, key = here, number % len(here)
            else:
                break
            here = parent[key]
        if parent is None:
            continue
        if what == "delete":
            del parent[key]
        elif what == "set":
            parent[key] = value
        elif isinstance(here, dict):
            here["odd"] = value
    return tree


changed = st.lists(mutations(), min_size=1, max_size=3)
READERS = [
    "status results/runs/one",
    "report results/runs/one --out made",
    "curves results/runs/one --out made.png",
    "collect results/runs/one --out made.jsonl",
    "repeat results/runs/one",
    "probe results/runs/one --out made",
    "eval results/runs/one task.length=6,7 --out made.png",
    "export results/runs/one --to pt2 --out made.pt2",
    "sample results/runs/one",
    "collect --restore one.jsonl --results back",
    "report one.jsonl --out made",
    "repeat one.jsonl",
    "train " + " ".join(RUN),
]


@pytest.fixture
def copied(home, tmp_path):
    """The home, for one test to spoil, and the run in it."""
    shutil.copytree(home, tmp_path / "home")
    root = tmp_path / "home"
    (record,) = (root / "results/runs/one").glob("*/*/*/record.json")
    return root, Folder(record.parent)


def read_by_all(root: Path, readers) -> None:
    with contextlib.chdir(root):
        for line in readers:
            said_by(line.split())


some = st.lists(st.sampled_from(READERS), min_size=1, max_size=2, unique=True)


@cases(25)
@given(changes=changed, readers=some)
def test_any_record_is_read_or_refused(copied, light, changes, readers):
    root, folder = copied
    text = folder.record_path.read_text("utf-8")
    line = (root / "one.jsonl").read_text("utf-8")
    try:
        for path, content in ((folder.record_path, text), (root / "one.jsonl", line)):
            found = json.loads(content)
            found.pop("checksum", None)
            path.write_text(json.dumps(mutated(found, changes)))
        read_by_all(root, readers)
    finally:
        shutil.rmtree(root / "made", ignore_errors=True)
        (root / "made.jsonl").unlink(missing_ok=True)
        folder.record_path.write_text(text, "utf-8")
        (root / "one.jsonl").write_text(line, "utf-8")


@cases(25)
@given(changes=changed, readers=some)
def test_any_settings_are_read_or_refused(copied, light, changes, readers):
    root, folder = copied
    path = folder.path / "config.yaml"
    content = path.read_bytes()
    try:
        found = mutated(yaml.safe_load(content), changes)
        path.write_text(yaml.safe_dump(found, allow_unicode=False), "utf-8")
        read_by_all(root, readers)
    finally:
        path.write_bytes(content)


@cases(25)
@given(changes=changed)
def test_any_checkpoint_is_taken_or_put_aside(copied, changes):
    root, _ = copied
    (path,) = (root / "results/runs/half").glob("*/*/*/last.pt")
    content, whole = path.read_bytes(), read_tensors(path)
    try:
        path.write_bytes(tensors(mutated(whole, changes)))
        with contextlib.chdir(root), contextlib.suppress(Interrupted):
            run_pack([compose([*RUN, "study=half"])], [RUN], _Half(5), lambda _: None)
    finally:
        for left in path.parent.glob("*.damaged*"):
            left.unlink()
        (path.parent / "record.json").unlink(missing_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize("levels", [50, 900, 5000])
def test_deep_nesting_is_no_record(copied, light, levels):
    root, folder = copied
    folder.record_path.write_text("[" * levels + "]" * levels)
    (root / "one.jsonl").write_text('{"a":' * levels + "1" + "}" * levels + "\n")
    (folder.path / "config.yaml").write_text("[" * levels + "]" * levels)
    read_by_all(root, READERS)


def test_a_folder_in_the_place_of_each_file(copied, light):
    root, folder = copied
    for path in sorted(folder.path.iterdir()):
        if path.is_file():
            path.unlink()
        else:
            shutil.rmtree(path)
        (path / ".git").mkdir(parents=True)
        read_by_all(root, READERS)


def test_tensors_that_are_none(copied, light):
    root, folder = copied
    for made in ({}, {"a": torch.zeros(1)}, {"a": 1}, {"readout.W": torch.full((2, 1), torch.nan)}):
        folder.best_path.write_bytes(tensors(made))
        record = json.loads(folder.record_path.read_text())
        for seal in ("checksums", "checksum"):
            record.pop(seal, None)
        folder.record_path.write_text(json.dumps(record))
        read_by_all(root, READERS)
