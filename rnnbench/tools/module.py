"""A trained network as a Python file that needs PyTorch and nothing of ours: the step as a straight
line of tensor operations, a loop over time, and the weights as text.
"""

import base64
import re
import textwrap
from string import Template
from typing import Any

from rnnbench.engine.loop import Params, step_of
from rnnbench.equations.plan import Plan
from rnnbench.equations.text import unicode
from rnnbench.errors import UserError
from rnnbench.tools.opening import Opened
from rnnbench.training.run import tensors

PUBLIC = {  # names in the traced step → names in the file
    "torch._C._nn.log_sigmoid": "F.logsigmoid",
    "torch._C._nn.": "F.",
    "rnnbench_equations_operations_": "the_",
}

TEXT = Template('''"""$title

$equations

network = load()
prediction, *states = network(x)           # x: $inputs
prediction, *states = network(x, *states)  # goes on; $states: (batch, units) each
"""

import base64
import io

import torch
from torch import nn
from torch.nn import functional as F

INPUTS, UNITS, LAYERS, OUTPUTS, SYMBOLS, STATES = $sizes
GROUPS, BLOCKS, PARTS, FOLDED = $layout


def the_larger(a, b):
    """torch.maximum, also with a number."""
    a, b = (a, b) if torch.is_tensor(a) else (b, a)
    return torch.maximum(a, torch.as_tensor(b, dtype=a.dtype))


def the_smaller(a, b):
    """torch.minimum, also with a number."""
    a, b = (a, b) if torch.is_tensor(a) else (b, a)
    return torch.minimum(a, torch.as_tensor(b, dtype=a.dtype))


def the_shares(a, _):
    """The softmax over units."""
    return torch.softmax(a, -1)


def the_total(a, _):
    """The sum over units, at each of them."""
    return a.sum(-1, keepdim=True).expand_as(a)


def the_average(a, _):
    """The mean over units, at each of them."""
    return a.mean(-1, keepdim=True).expand_as(a)


def the_length(a, _):
    """The Euclidean norm over units, at each of them."""
    return a.norm(dim=-1, keepdim=True).expand_as(a)


$step


class Layer(nn.Module):
    """W (inputs, blocks · units), R0 … (units, blocks · units), p and b (blocks · units)."""

    def __init__(self, inputs, dtype):
        super().__init__()

        def tensor(*shape):
            return nn.Parameter(torch.zeros(*shape, dtype=dtype))

        self.W = tensor(inputs, len(BLOCKS["W"]) * UNITS)
        for g, count in enumerate(GROUPS):
            self.register_parameter(f"R{g}", tensor(UNITS, count * UNITS))
        for family in "pb":
            if BLOCKS[family]:
                self.register_parameter(family, tensor(len(BLOCKS[family]) * UNITS))

    def vectors(self, family):
        names = BLOCKS[family]
        if not names:
            return {}
        parts = getattr(self, family).view(1, 1, -1).chunk(len(names), -1)
        return dict(zip(names, parts))

    def forward(self, x, state):
        """x: (time, batch, inputs); a state: (batch, units)."""
        p, b = self.vectors("p"), self.vectors("b")
        product = x @ self.W
        if FOLDED:  # biases that ride on the product of the inputs
            zero = torch.zeros_like(next(iter(b.values())))
            riding = [b[FOLDED[n]] if n in FOLDED else zero for n in BLOCKS["W"]]
            product = product + torch.cat(riding, -1)
        products = [getattr(self, f"R{g}").unsqueeze(0) for g in range(len(GROUPS))]
        state = tuple(s.unsqueeze(0) for s in state)
        outputs = []
        for now in product.split(1):
            parts = now.split([count * UNITS for count in PARTS], -1)
            state = step(*parts, *products, p, b, *state)
            outputs.append(state[0])
        return torch.cat(outputs), tuple(s.squeeze(0) for s in state)


class Network(nn.Module):
    """Layers and a linear read-out, at every step."""

    def __init__(self, dtype=$dtype):
        super().__init__()
        widths = [INPUTS] + [UNITS] * (LAYERS - 1)
        self.layers = nn.ModuleList([Layer(width, dtype) for width in widths])
        self.readout = nn.Linear(UNITS, OUTPUTS, dtype=dtype)

    def forward(self, x, *states):
        if SYMBOLS:
            x = F.one_hot(x, INPUTS).to(self.readout.weight.dtype)
        if not states:
            states = [x.new_zeros(x.shape[1], UNITS)] * (LAYERS * STATES)
        after = []
        for index, layer in enumerate(self.layers):
            x, last = layer(x, states[index * STATES : (index + 1) * STATES])
            after += last
        return self.readout(x), *after


def load():
    """The trained network."""
    network = Network()
    weights = torch.load(io.BytesIO(base64.b64decode(WEIGHTS)), weights_only=True)
    network.load_state_dict(weights)
    return network


WEIGHTS = """
$weights
"""
''')


def text(run: Opened, about: dict[str, Any]) -> str:
    """The file: its last lines are the weights in base 64."""
    network, plan = run.network, run.plan
    sizes = (
        *(run.task.inputs, network.hidden, network.layers, run.task.outputs),
        *(run.task.symbols, len(plan.state)),
    )
    layout = (
        tuple(len(names) for _, names in plan.groups),
        {family: plan.blocks[family] for family in "Wpb"},
        tuple(map(len, plan.parts)),
        {block: bias for bias, block in plan.folded.items()},
    )
    weights = base64.b64encode(tensors(_weights(run))).decode()
    title = f"{about['cell']} on {about['task']}, run {about['run']} of rnnbench, in PyTorch alone."
    inputs = "symbols (time, batch)" if run.task.symbols else "(time, batch, inputs)"
    return TEXT.substitute(
        title=title,
        equations=unicode(plan.program),
        inputs=inputs,
        states=about["states"],
        sizes=sizes,
        layout=", ".join(map(repr, layout)),
        step=_step(plan),
        dtype=network.flat.dtype,
        weights="\n".join(textwrap.wrap(weights, 100)),
    )


def _step(plan: Plan) -> str:
    """One step as a function, without what the tracer adds to free memory."""
    code = step_of(plan).code.strip().replace("def forward(self, ", "def step(", 1)
    code = re.sub(r";  [\w = ]+ = None$", "", code, flags=re.MULTILINE)
    for private, public in PUBLIC.items():
        code = code.replace(private, public)
    if found := re.search(r"torch\._[\w.]+|rnnbench\w+", code):
        raise UserError(f"--to module cannot write {found[0]}; use --to pt2")
    return code


def _weights(run: Opened) -> dict[str, Any]:
    def layer(params: Params, index: int) -> dict[str, Any]:
        return {f"layers.{index}.{name}": t[0].detach().clone() for name, t in params.items()}

    found: dict[str, Any] = {}
    for index in range(run.network.layers):
        found |= layer(run.network.layer(index), index)
    readout = {name: run.network.params[f"readout.{name}"][0].detach() for name in "Wb"}
    return found | {
        "readout.weight": readout["W"].T.contiguous(),
        "readout.bias": readout["b"].clone(),
    }
