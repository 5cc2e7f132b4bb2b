"""Names become code, or an error that helps; configurations and code name each other completely."""

import dataclasses
import importlib
import inspect
import io
import pkgutil
import subprocess
import sys

import pytest
from omegaconf import OmegaConf
from rich.console import Console

import rnnbench.cells
from rnnbench.catalogue import (
    About,
    about,
    cells,
    choices,
    config_dir,
    file_digest,
    read,
    remark,
    resolve,
)
from rnnbench.cli.show import (
    cell_rows,
    folded,
    gates,
    list_cells,
    list_tasks,
    paper,
    show_cell,
    show_latex,
    task_rows,
)
from rnnbench.equations.trace import trace
from rnnbench.errors import UserError
from rnnbench.settings import Cell, typed

MINE = '''
from torch import sigmoid, tanh


def mine(W, R, b, x, h):
    """Mine alone."""
    h_new = tanh(W.h @ x + R.h @ h + b.h)
    return h_new
'''

CELLS = cells()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "mine.py").write_text(MINE)
    return tmp_path


def refusal(target):
    with pytest.raises(UserError) as caught:
        resolve(target, "cell.step")
    assert str(caught.value).startswith("cell.step") and "\n" not in str(caught.value)
    return str(caught.value)


def cell(name):
    return typed(Cell, read("cell", name) | {"name": name}, name)


# Names to code


def test_both_forms_resolve(folder):
    assert resolve("rnnbench.cells.gru.gru", "cell.step").__name__ == "gru"
    mine = resolve("cells/mine.py:mine", "cell.step")
    assert "h_new = tanh" in inspect.getsource(mine)
    assert trace(mine).state == ("h",)
    assert resolve(f"{folder}/cells/mine.py:mine", "cell.step") is mine


def test_an_edited_file_is_read_again(folder):
    old = resolve("cells/mine.py:mine", "cell.step")
    before = file_digest("cells/mine.py:mine")
    (folder / "cells" / "mine.py").write_text(MINE.replace("Mine alone", "Mine  anew"))
    new = resolve("cells/mine.py:mine", "cell.step")
    assert (old.__doc__, new.__doc__) == ("Mine alone.", "Mine  anew.")
    assert "anew" in inspect.getsource(new)
    assert before != file_digest("cells/mine.py:mine") and len(before) == 64
    assert not (folder / "cells" / "__pycache__").exists()


def test_files_of_one_name_do_not_meet(folder):
    (folder / "mine.py").write_text(MINE)
    one, two = resolve("mine.py:mine", "cell.step"), resolve("cells/mine.py:mine", "cell.step")
    assert (
        one is not two
        and one.__module__ != two.__module__
        and file_digest("mine.py:mine") == file_digest("cells/mine.py:mine")
    )


def test_a_dataclass_in_a_file_works(folder):
    source = (
        "from __future__ import annotations\nfrom dataclasses import "
        "dataclass\n@dataclass(frozen=True)\nclass Mine:\n    size: int = 3\n"
    )
    (folder / "task.py").write_text(source)
    assert resolve("task.py:Mine", "task.type")() == resolve("task.py:Mine", "task.type")(3)


def test_dotted_names_have_no_digest():
    assert file_digest("rnnbench.cells.gru.gru") is None


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("lstm", ["package.module.name or path/to/file.py:name", "'lstm'"]),
        ("cells/mine.py", ["cells/mine.py:name"]),
        ("cells/mine.py:", ["cells/mine.py:name"]),
        ("cells/mein.py:mine", ["no file 'cells/mein.py'", "relative to the current folder"]),
        ("cells:mine", ["cannot read 'cells'"]),
        ("cells/mine.py:mein", ["mine.py", "'mein'", "did you mean 'mine'?", "known: mine)"]),
        (
            "rnnbench.cells.lstm.lsmt",
            ["rnnbench.cells.lstm", "did you mean 'lstm'?", "lstm_peephole_full"],
        ),
        ("rnnbench.cells.lsmt.lstm", ["rnnbench.cells", "did you mean 'lstm'?", "xlstm"]),
        ("rnnbensch_not_there.cell", ["no package 'rnnbensch_not_there'", "path/to/file.py:name"]),
    ],
)
def test_refusals_help(folder, target, parts):
    said = refusal(target)
    for part in parts:
        assert part in said


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("a = 1\ndef broken(:\n    pass\n", ["cells/broken.py:2", "SyntaxError", "def broken(:"]),
        (
            "\nimport not_there_at_all\n",
            ["cells/broken.py:2", "ModuleNotFoundError", "not_there_at_all"],
        ),
        ("def f():\n    return 1 / 0\n\nf()\n", ["cells/broken.py:2", "ZeroDivisionError"]),
        ("raise SystemExit('bye')\n", ["cells/broken.py:1", "SystemExit"]),
    ],
)
def test_a_broken_file_is_the_users_error(folder, source, parts):
    (folder / "cells" / "broken.py").write_text(source)
    modules = set(sys.modules)
    said = refusal("cells/broken.py:cell")
    for part in parts:
        assert part in said
    assert not [name for name in set(sys.modules) - modules if "broken" in name]


# Docstrings and remarks


def test_docstrings_have_a_fixed_form():
    said = about("""What it is: this.

    Source: Somebody (2015),
        in two lines; another.
    Reading: the first,
        not the second.

    Nothing of this.
    """)
    assert said == About(
        "What it is: this.", "Somebody (2015), in two lines; another.", "the first, not the second."
    )
    assert about("One line.") == About("One line.") and about(None) == About("")


@pytest.mark.parametrize(
    ("source", "short"),
    [
        (
            "Greff, Srivastava, Koutník, Steunebrink & Schmidhuber (2017), LSTM: a search space "
            "odyssey, variant V; Graves (2005).",
            "Greff et al. 2017",
        ),
        (
            "Hochreiter & Schmidhuber (1997); forget gate by Gers, Schmidhuber & Cummins (2000).",
            "Hochreiter & Schmidhuber 1997",
        ),
        ("Elman (1990), Finding structure in time.", "Elman 1990"),
        ("Feng et al. (2024), Were RNNs all we needed?", "Feng et al. 2024"),
        ("", ""),
    ],
)
def test_papers_are_shortened(source, short):
    assert paper(source) == short


def test_a_remark_tells_what_a_configuration_changes():
    assert remark("cell", "lstm_b") == About(
        "LSTM-b is the LSTM with a forget bias of 1.", "Jozefowicz et al. (2015)."
    )
    assert remark("cell", "lstm") is None and remark("cell", "no_such_cell") is None


# Configurations and code


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_has_equations_and_a_source(name):
    step = resolve(cell(name).step, f"cell={name}")
    said = about(step.__doc__)
    assert said.summary.endswith(".") and said.source.endswith((".", "?"))
    assert [
        line.split(":")[0] for line in inspect.getdoc(step).splitlines()[2:] if line[:1].strip()
    ] in (["Source"], ["Source", "Reading"])


@pytest.mark.parametrize("name", CELLS)
def test_the_biases_a_cell_names_exist(name):
    chosen = cell(name)
    program = trace(resolve(chosen.step, name), chosen.constants)
    biases = {value.block for value in program.values if value.op == "b"}
    assert chosen.forget is None or (chosen.forget[0] in "+-" and chosen.forget[1:] in biases)
    assert chosen.write is None or (chosen.forget is not None and chosen.write in biases)


def test_every_equation_has_a_configuration():
    modules = [
        importlib.import_module(f"rnnbench.cells.{m.name}")
        for m in pkgutil.iter_modules(rnnbench.cells.__path__)
    ]
    written = {
        f"{module.__name__}.{name}"
        for module in modules
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }
    assert written == {read("cell", name)["step"] for name in CELLS}


def test_read_follows_defaults():
    irnn = read("cell", "irnn")
    assert (
        irnn["step"] == read("cell", "relu")["step"]
        and irnn["paper"]["R"] == "identity 1"
        and irnn["init"] == "paper"
    )
    with pytest.raises(UserError, match="unknown cell 'lsmt'; did you mean 'lstm'"):
        read("cell", "lsmt")


def test_read_is_what_hydra_composes():
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        for name in ("lstm_b", "irnn"):
            composed = OmegaConf.to_container(compose("config", [f"cell={name}"]).cell)
            composed.pop("name", None)
            assert {key: value for key, value in composed.items() if value != "???"} == {
                k: v for k, v in read("cell", name).items() if k != "name"
            }


def test_choosing_does_not_load_torch():
    code = (
        "import sys, rnnbench.catalogue as c; c.choices('cell'), c.read('cell', 'gru'); "
        "print({'torch', 'hydra'} & set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "set()"
    )


# What is shown


def printed(thing, width=80):
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None, legacy_windows=False).print(thing)
    return stream.getvalue().splitlines()


def test_every_cell_is_listed():
    lines = printed(list_cells(cell_rows(2, 64), 2, 64))
    assert all(len(line) <= 80 and "…" not in line for line in lines)
    listed = [line.split()[0] for line in lines[2:] if line[:1].strip()]
    assert sorted(listed) == choices("cell")
    assert listed.index("gru") < listed.index("mut1") < listed.index("tcn") < listed.index("own")
    # 4 (2·64 + 64² + 64)
    assert next(line for line in lines if line.startswith("lstm ")).endswith("17,152")


def test_every_task_is_listed():
    lines = printed(list_tasks(task_rows()))
    assert all(len(line) <= 80 and "…" not in line for line in lines)
    assert [line.split()[0] for line in lines[2:] if line[:1].strip()] == choices("task")


def test_a_cell_is_shown():
    text = "\n".join(printed(show_cell(cell("mut3"), 2, 64)))
    for part in (
        "zₜ = σ(W_z xₜ + R_z tanh(hₜ₋₁) + b_z)",
        "3dn + 3n² + 3n = 12,864",
        "3 recurrent products: R_z on tanh(hₜ₋₁)",
        "b_z lowered",
        "MUT3",
    ):
        assert part in text


def test_long_equations_go_on_in_the_next_line():
    long = "iₜ = σ(W_i xₜ + R_i yₜ₋₁ + R_ii iₜ₋₁ + R_fi fₜ₋₁ + R_oi oₜ₋₁ + p_i ⊙ cₜ₋₁ + b_i)"
    assert f"  {long}" in printed(show_cell(cell("fgr"), 2, 64), width=100)
    narrow = printed(show_cell(cell("fgr"), 2, 64), width=60)
    assert all(len(line) <= 60 for line in narrow) and {
        f"  {part}" for part in folded(long, 58)
    } <= set(narrow)
    for width in (30, 50, 70):
        parts = folded(long, width)
        assert (
            all(len(part) <= width for part in parts)
            and " ".join(part.strip() for part in parts) == long
        )
        assert all(part.strip()[0] in "+−" for part in parts[1:])


def test_latex_is_shown_alone():
    lines = show_latex(cell("fgr")).splitlines()
    assert lines[0] == r"\begin{aligned}" and lines[-1] == r"\end{aligned}" and len(lines) == 8


def test_gates_are_explained():
    assert (
        "b_z lowered" in gates(cell("mut1"))[0]
        and "starts it at −1" in gates(cell("mut1"))[0]
        and "−log U" in gates(cell("mut1"))[1]
    )
    assert "b_f raised" in gates(cell("lstm"))[0] and "b_i = −b_f" in gates(cell("lstm"))[1]
    assert len(gates(cell("tanh"))) == 1 and "do not apply" in gates(cell("tanh"))[0]
    assert gates(dataclasses.replace(cell("lstm"), forget_bias=2.0))[-1] == "Here forget_bias is 2."
