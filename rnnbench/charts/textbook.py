"""The pictures that lectures on recurrent networks draw by hand. Numbers in, a figure out."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from rnnbench.charts.canvas import WIDTH, canvas
from rnnbench.charts.scales import whole
from rnnbench.charts.style import PALETTE


def powers(
    eigenvalues: Mapping[float, np.ndarray], norms: Mapping[float, Sequence[float]]
) -> Figure:
    """Left, the eigenvalues of each matrix; right, the norm of its powers, and ρ^k dashed.

    eigenvalues, norms: by spectral radius ρ; norms: ‖W^k‖ for k = 0, 1, …
    """
    figure, axes = canvas(1, 2, 3.2, width_ratios=(1, 1.5))
    plane, growth = axes[0]
    angle = np.linspace(0, 2 * np.pi, 200)
    plane.plot(np.cos(angle), np.sin(angle), color="black", linewidth=0.8)
    plane.set_aspect("equal")
    plane.set_title("eigenvalues of W", fontsize=10)
    plane.set(xlabel="real part", ylabel="imaginary part")
    for k, (rho, found) in enumerate(norms.items()):
        colour = PALETTE[k % len(PALETTE)]
        plane.scatter(eigenvalues[rho].real, eigenvalues[rho].imag, s=6, color=colour, alpha=0.7)
        steps = np.arange(len(found))
        growth.plot(steps, found, color=colour, label=f"ρ = {rho:g}")
        growth.plot(steps, float(rho) ** steps, color=colour, linestyle="--", linewidth=0.9)
    growth.set_yscale("log")
    growth.set_title("norm of W to the power k (dashed: ρᵏ)", fontsize=10)
    growth.set(xlabel="k: steps back in time", ylabel="norm")
    growth.legend(frameon=False, fontsize=9)
    whole(growth.xaxis)
    return figure


def cliff(
    across: np.ndarray,
    along: np.ndarray,
    errors: np.ndarray,
    paths: Mapping[str, Sequence[tuple[float, float]]],
) -> Figure:
    """Left, the surface; right, from above, where descent goes.

    across: weights (N,); along: biases (M,); errors: (N, M); paths: (w, b) after every update.
    """
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    surface = figure.add_subplot(1, 2, 1, projection="3d")
    w, b = np.meshgrid(across, along, indexing="ij")
    surface.plot_surface(w, b, errors, cmap="viridis", linewidth=0, rcount=90, ccount=90)
    surface.view_init(elev=32, azim=-118)
    surface.set(xlabel="weight w", ylabel="bias b", zlabel="error")
    surface.tick_params(labelsize=7)
    above = figure.add_subplot(1, 2, 2)
    above.contourf(w, b, errors, levels=24, cmap="viridis", alpha=0.75)
    frame = (across[0], across[-1], along[0], along[-1])
    for k, (name, path) in enumerate(paths.items()):
        _walk(above, np.array(path), name, ("white", PALETTE[1])[k % 2], frame)
    above.set(xlim=frame[:2], ylim=frame[2:], xlabel="weight w", ylabel="bias b")
    above.legend(fontsize=8, loc="lower left", facecolor="0.6")
    above.tick_params(labelsize=8)
    return figure


def _walk(axes: object, path: np.ndarray, name: str, colour: str, frame: Sequence[float]) -> None:
    """A path, and in its legend where it ends if that is outside of the picture."""
    low_w, high_w, low_b, high_b = frame
    w, b = path[-1]
    inside = low_w <= w <= high_w and low_b <= b <= high_b
    ending = "" if inside else f": ends at w = {w:.3g}, b = {b:.3g}"
    axes.plot(  # type: ignore[attr-defined]
        path[:, 0],
        path[:, 1],
        color=colour,
        linewidth=1.2,
        marker="o",
        markersize=2.5,
        label=name + ending,
    )


def sensitivity(found: Mapping[str, np.ndarray]) -> Figure:
    """A row of circles for each cell, as dark as the state there depends on the first input; below,
    the same numbers on a log axis.

    found: a cell's name → ‖∂h_t/∂x_1‖ for t = 1, 2, …
    """
    figure, axes = canvas(2, 1, 4.6, height_ratios=(1, 2), sharex=True)
    circles, lines = axes[:, 0]
    for row, (name, norms) in enumerate(found.items()):
        steps = np.arange(1, len(norms) + 1)
        relative = norms / norms.max()
        circles.scatter(
            steps,
            np.full(len(steps), -row),
            c=relative,
            cmap="Greys",
            vmin=0,
            vmax=1,
            s=34,
            edgecolors="0.4",
            linewidths=0.5,
        )
        lines.plot(steps, np.maximum(norms / norms[0], 1e-12), label=name, color=PALETTE[row])
    circles.set_yticks([-row for row in range(len(found))], list(found))
    circles.set_ylim(-len(found) + 0.4, 0.6)
    circles.spines[["left", "bottom"]].set_visible(False)
    lines.set_yscale("log")
    lines.set_ylim(bottom=1e-8)
    lines.set_xlabel("step t")
    lines.set_ylabel(
        "dependence of the state at t\non the first input, relative to t = 1", fontsize=9
    )
    lines.legend(frameon=False, fontsize=8)
    whole(lines.xaxis)
    return figure


def gates(x: np.ndarray, found: Mapping[str, np.ndarray]) -> Figure:
    """The input above, then the gates (filled: open), then the cell state and what is read.

    x: (T, 3), value and the orders to write and to read. found: i, f, o, c, y at every step.
    """
    figure, axes = canvas(3, 1, 4.2, height_ratios=(1, 1.1, 1.2), sharex=True)
    above, between, below = axes[:, 0]
    steps = np.arange(1, len(x) + 1)
    above.bar(steps, x[:, 0], width=0.5, color="0.75")
    for column, word, colour in ((1, "write", PALETTE[0]), (2, "read", PALETTE[1])):
        for step in steps[x[:, column] > 0]:
            above.annotate(
                word, (step, 1.75), ha="center", fontsize=8, color=colour, annotation_clip=False
            )
    above.set_ylim(-1.7, 1.7)
    above.set_ylabel("input", fontsize=9)
    for row, (gate, word) in enumerate(
        (("i", "input gate"), ("f", "forget gate"), ("o", "output gate"))
    ):
        between.scatter(
            steps,
            np.full(len(steps), -row),
            c=found[gate],
            cmap="Greys",
            vmin=0,
            vmax=1,
            s=60,
            edgecolors="0.3",
            linewidths=0.8,
        )
        between.annotate(word, (0.2, -row), ha="right", va="center", fontsize=8)
    between.set(yticks=[], ylim=(-2.6, 0.6))
    between.spines[["left", "bottom"]].set_visible(False)
    between.set_title("filled: open (1), empty: closed (0)", fontsize=8)
    below.step(steps, found["c"], where="mid", color=PALETTE[0], label="cell state c")
    below.bar(steps, found["y"], width=0.5, color=PALETTE[1], label="output y")
    below.axhline(0, color="0.6", linewidth=0.6)
    below.set_xlabel("step")
    below.legend(frameon=False, fontsize=8, loc="upper right")
    whole(below.xaxis)
    return figure
