"""What a network played, as a picture."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rnnbench.charts.scales import whole
from rnnbench.charts.style import PALETTE

LOWEST = 21  # the MIDI number of the first of 88 piano keys, A0
OCTAVE = 12


def piano_roll(roll: np.ndarray, given: int, title: str = "") -> Figure:
    """roll: (frames, 88) of 0 and 1; the first `given` frames were the prompt.

    Time to the right, pitch upwards.
    """
    frames = len(roll)
    sounding = np.flatnonzero(roll.any(0))
    # C3 to C6 where there is silence
    low, high = (int(sounding[0]), int(sounding[-1])) if len(sounding) else (27, 63)
    figure, axes = plt.subplots(figsize=(min(14, 3 + frames / 12), 4), layout="constrained")
    for key in range(low, high + 1):
        if (LOWEST + key) % OCTAVE in (1, 3, 6, 8, 10):
            axes.axhspan(key - 0.5, key + 0.5, color="0.95", linewidth=0, zorder=0)  # black keys
    for frame, key in np.argwhere(roll):
        # without a border, so that a held note is one bar
        axes.barh(
            key, 1, 0.8, left=frame, color=PALETTE[1] if frame < given else PALETTE[0], linewidth=0
        )
    cs = [
        key
        for key in range(low - OCTAVE, high + OCTAVE)
        if (LOWEST + key) % OCTAVE == 0 and low <= key <= high
    ]
    axes.set_yticks(cs, [f"C{(LOWEST + key) // OCTAVE - 1}" for key in cs])
    axes.grid(axis="y", color="0.8", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set(
        title=title, xlabel="frame", ylabel="pitch", xlim=(0, frames), ylim=(low - 1, high + 1)
    )
    whole(axes.xaxis)
    axes.spines[["top", "right"]].set_visible(False)
    parts = [(given > 0, PALETTE[1], "prompt"), (given < frames, PALETTE[0], "sampled")]
    legend = [Patch(color=colour, label=label) for present, colour, label in parts if present]
    figure.legend(handles=legend, loc="outside lower center", ncols=2, frameon=False)
    return figure
