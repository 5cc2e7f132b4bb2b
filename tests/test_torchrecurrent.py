"""Cells beside an implementation of other people's: torchrecurrent.

Its LEM reads the old z in the new y, where the paper (and ours) reads the new one; so LEM is held
against the scalar reference alone.
"""

import pytest
import torch
import torchrecurrent

from rnnbench.cells import light, oscillators
from rnnbench.engine import loop
from rnnbench.engine.library import blocks_of
from rnnbench.equations.plan import plan

T, B, I, H = 6, 3, 4, 5  # noqa: E741

# cell → theirs, and of its parameters which blocks of ours they are, in order, and which are zero
THEIRS = {
    oscillators.cornn: (
        lambda: torchrecurrent.coRNNCell(I, H, dt=0.042, gamma=2.7, epsilon=4.7),
        {"weight_ih": "W.z", "weight_hh": "R.y", "weight_ch": "R.z", "bias_ih": "b.z"},
    ),
    oscillators.unicornn: (
        lambda: torchrecurrent.UnICORNNCell(I, H, dt=0.1, alpha=1.0),
        {"weight_ih": "W.z", "weight_hh": "p.y", "weight_ch": "p.s", "bias_ih": "b.z"},
    ),
    light.ligru: (
        lambda: torchrecurrent.LiGRUCell(I, H),
        {"weight_ih": "W.z W.n", "weight_hh": "R.z R.n", "bias_ih": "b.z b.n"},
    ),
    light.star: (
        lambda: torchrecurrent.STARCell(I, H),
        {"weight_ih": "W.z W.k", "weight_hh": "R.k", "bias_ih": "b.z b.k"},
    ),
}


@pytest.mark.parametrize("cell", THEIRS, ids=lambda cell: cell.__name__)
def test_it_computes_what_ours_does(cell):
    make, names = THEIRS[cell]
    made, theirs = plan(cell), make().double()
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(1, *shape, generator=generator, dtype=torch.float64)

    params = {name: normal(*shape) for name, shape in made.shapes(I, H).items()}
    blocks = blocks_of(made, params, 0)
    if "p" in params:
        parts = params["p"][0].chunk(len(made.blocks["p"]))
        blocks |= {f"p.{name}": part for name, part in zip(made.blocks["p"], parts, strict=True)}
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            ours = [blocks[block] for block in names[name].split()] if name in names else []
            parameter.copy_(torch.cat(ours) if ours else torch.zeros_like(parameter))
        x, state = normal(T, B, I), tuple(normal(B, H) for _ in made.state)
        found, _ = loop.unroll(made, params, x, state)
        theirs_now = tuple(s[0] for s in state)
        for t in range(T):
            given = theirs_now if len(theirs_now) > 1 else theirs_now[0]
            new = theirs(x[0, t], given)
            theirs_now = new if isinstance(new, tuple) else (new,)
            torch.testing.assert_close(found[0, t], theirs_now[0])
