"""Music that a network plays, frame by frame, as a piano-roll and as a MIDI file."""

import io
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import torch

from rnnbench.charts.trained import LOWEST
from rnnbench.draw import Draw
from rnnbench.errors import UserError
from rnnbench.tasks.chorales import KEYS, Chorales
from rnnbench.tools.opening import Opened
from rnnbench.tools.text import following, refuse_odd

BEGINNING = 8  # frames of a test sequence that are given where no prompt is
# the chorales are sampled at every quarter note, the others at every eighth
FRAMES_PER_QUARTER = {"jsb": 1}
BEATS_PER_MINUTE = 90
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def played(
    run: Opened,
    prompt: str | None = None,
    length: int = 64,
    temperature: float = 1.0,
    seed: int = 0,
) -> tuple[np.ndarray, int]:
    """(roll, given): (frames, 88) of 0 and 1, of which the first `given` are the prompt, then
    `length` new ones. UserError.

    prompt: chords of named notes, a frame each: 'C3 G3 E4 C5 | D3 A3 F4 D5'; a silent frame is '-'.
        None: the beginning of a test sequence that the seed chooses. Keys are drawn independently,
        as the model has them; see `text` for temperature.
    """
    assert isinstance(run.task, Chorales)
    refuse_odd(length, temperature)
    rng = Draw(seed)("sample")
    if prompt is None:
        sequences = run.task.rolls["test"]
        given = sequences[int(rng.integers(len(sequences)))][:BEGINNING]
    else:
        given = chords(prompt)
    frames, states = list(given), run.network.zero_state(1)
    x = torch.from_numpy(np.asarray(given, np.float32)[None, :, None])
    for _ in range(length):
        logits, states = following(run, x.to(run.network.flat.dtype), states)
        frames.append(sounding(logits, temperature, rng))
        x = torch.from_numpy(frames[-1].astype(np.float32)[None, None, None])
    return np.stack(frames).astype(np.uint8), len(given)


def sounding(logits: np.ndarray, temperature: float, rng: np.random.Generator) -> np.ndarray:
    """Which keys sound: each by its own probability at this temperature."""
    if temperature == 0:
        return (logits > 0).astype(np.uint8)
    with np.errstate(over="ignore"):
        return (rng.random(len(logits)) < 1 / (1 + np.exp(-logits / temperature))).astype(np.uint8)


def chords(prompt: str) -> np.ndarray:
    """'C3 E3 G3 | -' as (2, 88). UserError names what is no note of a piano."""
    roll = np.zeros((prompt.count("|") + 1, KEYS), np.uint8)
    for frame, chord in enumerate(prompt.split("|")):
        names = chord.split()
        if not names:
            raise UserError(
                "--prompt has an empty frame; write notes such as C4 F#4 Bb3, frames parted by "
                "'|', and '-' for silence"
            )
        for name in names if names != ["-"] else []:
            roll[frame, _key(name)] = 1
    return roll


def _key(name: str) -> int:
    if not (found := re.fullmatch(r"([A-G])([#b]?)(\d)", name)):
        raise UserError(
            f"--prompt: '{name}' is not a note; write notes such as C4 F#4 Bb3, frames parted by "
            f"'|', and '-' for silence"
        )
    number = 12 * (int(found[3]) + 1) + STEPS[found[1]] + {"": 0, "#": 1, "b": -1}[found[2]]
    if not LOWEST <= number < LOWEST + KEYS:
        raise UserError(f"--prompt: a piano has no {name}; it goes from A0 to C8")
    return number - LOWEST


def notes(roll: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(first frame, frame after the last, key) of every note: a key that sounds in neighbouring
    frames is held.
    """
    padded = np.zeros((len(roll) + 2, roll.shape[1]), np.int8)
    padded[1:-1] = roll
    change = np.diff(padded, axis=0)
    for key in range(roll.shape[1]):
        begins, ends = (np.flatnonzero(change[:, key] == sign) for sign in (1, -1))
        for begin, end in zip(begins, ends, strict=True):
            yield int(begin), int(end), key


def midi(roll: np.ndarray, frames_per_quarter: int) -> bytes:
    """The roll as a MIDI file of one track."""
    mido = library()
    file = mido.MidiFile(ticks_per_beat=480)
    track = file.add_track("rnnbench")
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(BEATS_PER_MINUTE)))
    ticks = file.ticks_per_beat // frames_per_quarter
    events = [
        event for start, stop, key in notes(roll) for event in ((start, 1, key), (stop, 0, key))
    ]
    now = 0
    for frame, on, key in sorted(events):  # a key is let go before another is struck
        track.append(
            mido.Message(
                "note_on" if on else "note_off",
                note=LOWEST + key,
                velocity=80 if on else 0,
                time=(frame - now) * ticks,
            )
        )
        now = frame
    track.append(mido.MetaMessage("end_of_track", time=(len(roll) - now) * ticks))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def library() -> ModuleType:
    """mido. UserError if it is not installed."""
    if find_spec("mido") is None:
        raise UserError("a MIDI file needs mido: pip install 'rnnbench[music]'")
    return import_module("mido")
