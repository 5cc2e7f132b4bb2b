"""`rnnbench sample`: a trained network writes text to the terminal, or plays music into a MIDI file
and a picture.
"""

import sys
from pathlib import Path

from rnnbench.charts import plots
from rnnbench.charts.trained import piano_roll
from rnnbench.console import say
from rnnbench.errors import UserError
from rnnbench.runs.made import add_file
from rnnbench.tasks.chorales import Chorales
from rnnbench.tools import music, text
from rnnbench.tools.opening import Opened, Weights, open_run

CHARACTERS, FRAMES = 500, 64  # lengths where none is asked for


def run_sample(
    place: str | Path,
    prompt: str | None = None,
    length: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    out: str | None = None,
    weights: Weights = "best",
) -> None:
    """Sample from the run in a folder.

    out: the MIDI file; by default sample.mid in the run's folder. UserError.
    """
    run = open_run(place, {"engine.device": "cpu", "engine.name": "loop"}, weights, say=_aside)
    if isinstance(run.task, Chorales):
        play(
            run,
            prompt,
            FRAMES if length is None else length,
            temperature,
            seed,
            Path(out or run.folder.path / "sample.mid").expanduser(),
        )
    elif text.alphabet(run.task) is None:
        raise UserError(
            f"{run.folder.path}: {run.settings.task['name']} is neither text nor music; choose a "
            f"run of charlm, xml or chorales"
        )
    elif out:
        raise UserError("text goes to the terminal; to keep it: rnnbench sample … > FILE")
    else:
        stream(run, prompt or "", CHARACTERS if length is None else length, temperature, seed)


def stream(run: Opened, prompt: str, length: int, temperature: float, seed: int) -> None:
    """Write the prompt and what follows it, every character when it is made."""
    following = text.continuation(run, prompt, length, temperature, seed)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character
    sys.stdout.write(prompt)
    for mark in following:
        sys.stdout.write(mark)
        sys.stdout.flush()
    sys.stdout.write("\n")


def play(
    run: Opened, prompt: str | None, length: int, temperature: float, seed: int, path: Path
) -> None:
    """Write a MIDI file, and the piano-roll beside it as a picture."""
    assert isinstance(run.task, Chorales)
    if path.suffix not in (".mid", ".midi"):
        raise UserError(f"--out names a MIDI file, which ends in .mid, got '{path}'")
    music.library()
    roll, given = music.played(run, prompt, length, temperature, seed)
    add_file(path, music.midi(roll, music.FRAMES_PER_QUARTER.get(run.task.dataset, 2)))
    title = (
        f"{run.settings.cell.name} on {run.task.dataset}, temperature {temperature:g}, seed {seed}"
    )
    picture = plots.save(piano_roll(roll, given, title), path.with_suffix(".png"))
    say(f"{len(roll)} frames, the first {given} given, {sum(1 for _ in music.notes(roll))} notes")
    say(f"saved in {path} and {picture}")


def _aside(line: str) -> None:
    """What is fetched on the way, kept out of the text."""
    print(line, file=sys.stderr)
