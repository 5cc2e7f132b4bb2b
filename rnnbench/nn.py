"""Any cell as a `torch.nn.Module` that takes the place of nn.LSTM or nn.GRU.

A module of ours, a network of K = 1: the equations are traced and planned as for training, and
computed by the native engine on the CPU, elsewhere by the loop. Knows nothing of tasks, runs and
records, and imports the configuration (with what that needs) only when a cell is built.

Axes: T time steps   B batch   I input width   H state width   D directions   L layers
N rows of all sequences, step by step, as in a PackedSequence.
"""

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from rnnbench.engine import library, loop, native
from rnnbench.engine.layer import Unroll
from rnnbench.engine.loop import Params, State
from rnnbench.engine.native.untraced import untraced
from rnnbench.equations.plan import Plan, plan
from rnnbench.errors import UserError

States = Tensor | tuple[Tensor, ...]
ENGINES = ("auto", "native", "torch", "loop")
ACCELERATORS = ("cuda", "xpu", "mps")  # where torch has kernels of its own for its layers
_tracing = threading.RLock()  # one plan and one compilation, however many ask at once
_chosen: dict[tuple[int, str, torch.dtype, str], Unroll] = {}


class Recurrent(nn.Module):
    """Layers of one cell, with the shapes, states and calls of nn.LSTM.

    cell: a name of `rnnbench list cells`, "path/to/file.py:name", "package.module.name", or the
        function itself.
    forget_bias: the bias that keeps the memory, whatever its sign in this cell; for a cell of your
        own say which it is with `forget`: "+f" or "-z". init: as `cell.init=`; None: the cell's.
    constants: the equations' keyword-only arguments. engine: "native" (CPU, float32 and float64),
        "torch" (the kernels of nn.LSTM, nn.GRU and nn.RNN, for cells that they compute; cuDNN on
        CUDA), "loop" (anywhere, twice differentiable), or "auto": native on the CPU, elsewhere
        torch where it computes the cell, else the loop.

    module(input, hx=None) → output, states. input: (T, B, I), with `batch_first` (B, T, I), alone
    (T, I), or a PackedSequence; output: the same with D·H for I. States begin with zeros. They are
    (L·D, B, H) each: a tensor, like nn.GRU's, if the cell has one, else a tuple in the order of
    the cell's arguments, like nn.LSTM's; the first is the output.

    Parameters: `W_l0` (I, blocks·H), `R0_l0`, … (H, blocks·H), a matrix for each operand that is
    multiplied, `p_l0` and `b_l0` (blocks·H); `_reverse` for the other direction; `columns` says
    which blocks. They are drawn from torch's generator.

    Raises UserError for a cell or an option that cannot be, ValueError for an input or a state of
    another shape or type. Inside autocast it computes in the type of its parameters.
    """

    def __init__(
        self,
        cell: str | Callable[..., Any],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        batch_first: bool = False,
        bidirectional: bool = False,
        dropout: float = 0.0,
        forget_bias: float | None = None,
        init: str | None = None,
        *,
        forget: str | None = None,
        constants: Mapping[str, float] | None = None,
        engine: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, size in (
            ("input_size", input_size),
            ("hidden_size", hidden_size),
            ("num_layers", num_layers),
        ):
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise UserError(f"{name} must be a whole number of at least 1, got {size!r}")
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise UserError(f"dropout must be between 0 and 1, got {dropout!r}")
        if dropout and num_layers == 1:
            warnings.warn(
                f"dropout={dropout} acts between layers; with num_layers=1 it has no effect",
                stacklevel=2,
            )
        if engine not in ENGINES:
            raise UserError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.bidirectional, self.dropout = batch_first, bidirectional, dropout
        self.engine = engine
        self.cell = _Cell.named(cell, forget_bias, init, forget, constants)
        self._plan = self.cell.planned()
        for layer, suffix in enumerate(self._suffixes):
            width = input_size if layer < self._directions else hidden_size * self._directions
            for name, shape in self._plan.shapes(width, hidden_size).items():
                tensor = torch.empty(shape, device=device, dtype=dtype)
                self.register_parameter(name + suffix, nn.Parameter(tensor))
        self.register_state_dict_post_hook(_note_columns)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_refuse_other_columns)  # type: ignore[no-untyped-call]
        self.reset_parameters()

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """Which blocks lie beside each other in the tensors of every layer: {"W": ("z", "r")}."""
        groups = {f"R{g}": names for g, (_, names) in enumerate(self._plan.groups)}
        vectors = {family: self._plan.blocks[family] for family in "pb"}
        found = {"W": self._plan.blocks["W"]} | groups | vectors
        return {name: names for name, names in found.items() if names}

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all parameters anew, as `init` and `forget_bias` say."""
        from rnnbench.draw import Draw
        from rnnbench.engine.init import initial

        draw = Draw(int(torch.randint(2**63 - 1, (), device="cpu")))
        settings = self.cell.settings()
        for layer, params in enumerate(self._layers()):
            width = params["W"].shape[0]
            drawn = initial(self._plan, settings, draw, layer, width, self.hidden_size, None)
            for name, values in drawn.items():
                params[name].copy_(torch.from_numpy(values))

    def flatten_parameters(self) -> None:
        """Nothing: for programs that were written for nn.LSTM."""

    def forward(
        self, input: Tensor | PackedSequence, hx: States | None = None
    ) -> tuple[Tensor | PackedSequence, States]:
        """The outputs of the last layer at every step, and the states after the last step."""
        elsewhere = self.engine == "auto" and not cast(Tensor, self.W_l0).is_cpu
        traced = self.engine == "loop" or (elsewhere and library.why_not(self._plan) is not None)
        made: tuple[Tensor | PackedSequence, States]
        made = self._outputs(input, hx) if traced else _untraced_outputs(self, input, hx)
        return made

    def _outputs(
        self, input: Tensor | PackedSequence, hx: States | None
    ) -> tuple[Tensor | PackedSequence, States]:
        if isinstance(input, PackedSequence):
            rows, lengths = input.data, input.batch_sizes.tolist()
            self._check(rows, 2)
            states = self._states(hx, (lengths[0],), rows)
            if input.sorted_indices is not None:
                states = tuple(s.index_select(1, input.sorted_indices) for s in states)
            rows, states = self._compute(rows, lengths, states)
            if input.unsorted_indices is not None:
                states = tuple(s.index_select(1, input.unsorted_indices) for s in states)
            return input._replace(data=rows), self._given_back(states)
        alone = input.dim() == 2
        self._check(input, 2 if alone else 3)
        x = input.unsqueeze(1) if alone else input.transpose(0, 1) if self.batch_first else input
        steps, batch = x.shape[:2]
        if steps == 0:
            raise ValueError("a sequence must have at least one step, got none")
        states = self._states(hx, () if alone else (batch,), x)
        rows, states = self._compute(x.flatten(0, 1), [batch] * steps, states)
        output = rows.unflatten(0, (steps, batch))
        if alone:
            return output.squeeze(1), self._given_back(tuple(s.squeeze(1) for s in states))
        return output.transpose(0, 1) if self.batch_first else output, self._given_back(states)

    def extra_repr(self) -> str:
        shown = [self.cell.name, str(self.input_size), str(self.hidden_size)]
        for name, default in (
            ("num_layers", 1),
            ("batch_first", False),
            ("bidirectional", False),
            ("dropout", 0),
            ("engine", "auto"),
        ):
            if getattr(self, name) != default:
                shown.append(f"{name}={getattr(self, name)}")
        return ", ".join(shown)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_plan"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._plan = self.cell.planned()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _suffixes(self) -> list[str]:
        """Of the names of parameters, for every layer and direction, in the order of states."""
        ways = ("", "_reverse")[: self._directions]
        return [f"_l{layer}{way}" for layer in range(self.num_layers) for way in ways]

    def _layers(self) -> Iterator[Params]:
        """The parameters of every layer and direction by their names in the engine."""
        for suffix in self._suffixes:
            yield {name: getattr(self, name + suffix) for name in self.columns}

    def _check(self, x: Tensor, axes: int) -> None:
        if x.dim() != axes:
            raise ValueError(f"input must have 2 axes (T, I) or 3, got shape {tuple(x.shape)}")
        if x.shape[-1] != self.input_size:
            raise ValueError(
                f"input must have {self.input_size} numbers a step (input_size), got shape "
                f"{tuple(x.shape)}"
            )
        self._check_type("input", x)

    def _check_type(self, name: str, x: Tensor) -> None:
        weight = cast(Tensor, self.W_l0)
        if x.device != weight.device:
            raise ValueError(f"{name} is on {x.device}, the parameters are on {weight.device}")
        mixed = x.is_floating_point() and _mixes(x.device.type)
        if x.dtype != weight.dtype and not mixed:
            raise ValueError(f"{name} must be of {weight.dtype} like the parameters, not {x.dtype}")

    def _states(self, hx: States | None, batch: tuple[int, ...], x: Tensor) -> State:
        """The states before the first step, (L·D, B, H) each; zeros if there are none."""
        names, weight = self._plan.state, cast(Tensor, self.W_l0)
        shape = (len(self._suffixes), *batch, self.hidden_size)
        if hx is None:
            zeros = torch.zeros(shape, dtype=weight.dtype, device=x.device)
            states: tuple[Tensor, ...] = (zeros,) * len(names)
        else:
            states = (hx,) if isinstance(hx, Tensor) else tuple(hx)
            if len(states) != len(names):
                raise ValueError(
                    f"cell {self.cell.name} has the states {', '.join(names)}; got {len(states)}"
                )
            for name, state in zip(names, states, strict=True):
                if state.shape != shape:
                    raise ValueError(
                        f"state {name} must have shape {shape}, got {tuple(state.shape)}"
                    )
                self._check_type(f"state {name}", state)
        return states if batch else tuple(s.unsqueeze(1) for s in states)

    def _given_back(self, states: State) -> States:
        return states[0] if len(states) == 1 else states

    def _compute(
        self, rows: Tensor, lengths: Sequence[int], states: State
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """All layers. rows: (N, I); lengths: sequences at each step; states: (L·D, B, H)."""
        weight, kind = cast(Tensor, self.W_l0), rows.device.type
        with torch.autocast(kind, enabled=False) if _mixes(kind) else nullcontext():
            rows, states = rows.to(weight.dtype), tuple(s.to(weight.dtype) for s in states)
            unroll = _engine(self.engine, self._plan, weight.dtype, kind)
            stretches = _stretches(lengths)
            after: list[State] = []
            made: list[Tensor] = []
            for index, named in enumerate(self._layers()):
                params = {name: tensor.unsqueeze(0) for name, tensor in named.items()}
                step = partial(unroll, self._plan, params)
                state = tuple(s[index] for s in states)
                output, last = _along(step, rows, stretches, state, index % self._directions == 1)
                after.append(last)
                made.append(output)
                if len(made) < self._directions:
                    continue
                rows, made = torch.cat(made, -1) if self.bidirectional else output, []
                if self.dropout and index + 1 < len(self._suffixes):
                    rows = F.dropout(rows, self.dropout, self.training)
            return rows, tuple(torch.stack(parts) for parts in zip(*after, strict=True))


class Predictor(nn.Module):
    """A trained network: layers of one cell and a linear read-out.

    predictor(input, hx=None) → predictions at every step (T, B, C), states. input: numbers
    (T, B, I), or symbols (T, B), which become one-hot vectors.
    """

    def __init__(
        self,
        cell: str | Callable[..., Any],
        constants: Mapping[str, float],
        inputs: int,
        units: int,
        layers: int,
        dropout: float,
        outputs: int,
        symbols: bool,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.symbols, self.inputs = symbols, inputs
        self.layers = Recurrent(
            cell, inputs, units, layers, dropout=dropout, constants=constants, dtype=dtype
        )
        self.readout = nn.Linear(units, outputs, dtype=dtype)

    @torch.no_grad()
    def fill(self, params: Mapping[str, Tensor]) -> None:
        """Take the parameters of a network of the engine, "0.W", …, "readout.W", "readout.b"."""
        for name, tensor in params.items():
            layer, _, kind = name.rpartition(".")
            if layer == "readout":
                target = self.readout.weight if kind == "W" else self.readout.bias
                target.copy_(tensor.T if kind == "W" else tensor)
            else:
                getattr(self.layers, f"{kind}_l{layer}").copy_(tensor)

    def forward(self, input: Tensor, hx: States | None = None) -> tuple[Tensor, States]:
        """Predictions at every step, and the states after the last."""
        if self.symbols:
            input = F.one_hot(input, self.inputs).to(self.readout.weight.dtype)
        output, states = self.layers(input, hx)
        return self.readout(output), states


@untraced
def _untraced_outputs(module: Recurrent, *arguments: Any) -> Any:
    return module._outputs(*arguments)


@dataclass(frozen=True)
class _Cell:
    """Which equations, and how they start, in words that can be pickled.

    function: the cell itself where it has no name that finds it again. digest: of a file.
    """

    name: str
    target: str | None
    function: Callable[..., Any] | None
    digest: str | None
    constants: tuple[tuple[str, float], ...]
    values: tuple[tuple[str, Any], ...]  # of settings.Cell

    @classmethod
    def named(
        cls,
        cell: str | Callable[..., Any],
        forget_bias: float | None,
        init: str | None,
        forget: str | None,
        constants: Mapping[str, float] | None,
    ) -> "_Cell":
        from rnnbench import catalogue

        path, colon, function = cell.rpartition(":") if isinstance(cell, str) else ("", "", "")
        if colon:  # found again wherever this process goes
            cell = f"{Path(path).expanduser().resolve()}:{function}"
        chosen = isinstance(cell, str) and not colon and "." not in cell
        values = catalogue.read("cell", cast(str, cell) if chosen else "own")
        if chosen and "step" not in values:
            raise UserError(
                "cell 'own' is a place for yours: give its file.py:name or the function"
            )
        target = values.pop("step", cell if isinstance(cell, str) else None)
        values |= {"constants": values["constants"] | dict(constants or {})}
        given = {"forget_bias": forget_bias, "init": init, "forget": forget}
        values |= {key: value for key, value in given.items() if value is not None}
        return cls(
            name=cast(str, cell) if chosen else function or _name(cell),
            target=target,
            function=None if target else cast(Callable[..., Any], cell),
            digest=catalogue.file_digest(target, "cell") if target else None,
            constants=tuple(sorted(values["constants"].items())),
            values=tuple(values.items()),
        )

    def settings(self) -> Any:
        """As `rnnbench.settings.Cell`, for `initial`."""
        from rnnbench.settings import Cell, typed

        own = self.digest or ("function" if self.function else None)
        values = dict(self.values) | {"name": self.name, "step": self.target or "", "digest": own}
        return typed(Cell, values, "cell")

    def planned(self) -> Plan:
        """The plan of this cell, one for all modules of it.

        UserError if a file of it has changed since.
        """
        function = self.function
        if self.target:
            from rnnbench import catalogue

            if self.digest != catalogue.file_digest(self.target, "cell"):
                raise UserError(
                    f"cell: {self.target.rpartition(':')[0]} has changed since this module was "
                    f"made; restore it, or make a new module and load its state_dict"
                )
            function = catalogue.resolve(self.target, "cell")
        with _tracing:
            made = _planned(cast(Callable[..., Any], function), self.constants)
        if not made.program.plain:
            raise UserError(
                f"cell: {self.name} has states with shapes or starts of their own, and the states "
                f"of this module are (layers, batch, hidden_size); choose a cell with one number a "
                f"unit"
            )
        return made


def _mixes(device: str) -> bool:
    """Whether autocast is on there."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def _name(cell: Any) -> str:
    return cell.rpartition(".")[2] if isinstance(cell, str) else getattr(cell, "__name__", "cell")


@cache
def _planned(function: Callable[..., Any], constants: tuple[tuple[str, float], ...]) -> Plan:
    return plan(function, dict(constants))


def _engine(name: str, plan: Plan, dtype: torch.dtype, device: str) -> Unroll:
    """What computes this plan here. `_planned` keeps plans, and with them their ids."""
    key = (id(plan), name, dtype, device)
    if key not in _chosen:
        with _tracing:
            _chosen[key] = _choose(name, plan, dtype, device)
    return _chosen[key]


def _choose(name: str, plan: Plan, dtype: torch.dtype, device: str) -> Unroll:
    """The engine of that name, or the fastest one. UserError if it does not compute the cell."""
    if name == "loop":
        return loop.unroll
    if name == "torch" or (name == "auto" and device in ACCELERATORS):
        reason = library.why_not(plan)
        if reason and name == "torch":
            raise UserError(f"engine='torch': {reason}")
        return loop.unroll if reason else library.unroll
    reason = native.why_not(plan, dtype, device)
    if reason and name == "native":
        raise UserError(f"engine='native': {reason}")
    if reason and device == "cpu":
        warnings.warn(f"computed by the loop, which is slower: {reason}", stacklevel=5)
    return loop.unroll if reason else native.unroll


def _stretches(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """Steps of equally many sequences, together: (first row, steps, sequences)."""
    found: list[tuple[int, int, int]] = []
    row = 0
    for batch in lengths:
        if found and found[-1][2] == batch:
            start, steps, _ = found[-1]
            found[-1] = (start, steps + 1, batch)
        else:
            found.append((row, 1, batch))
        row += batch
    return found


def _along(
    unroll: Callable[[Tensor, State], tuple[Tensor, State]],
    rows: Tensor,
    stretches: Sequence[tuple[int, int, int]],
    state: State,
    backwards: bool,
) -> tuple[Tensor, State]:
    """One layer in one direction: its outputs (N, H), and every sequence's state after its last
    step, or backwards after its first.

    Sequences are sorted by length, so that in time they end one by one, and backwards they begin.
    """
    first, running = state, tuple(s[:0] for s in state) if backwards else state
    outputs: list[Tensor] = []
    ended: list[State] = []
    for start, steps, batch in reversed(stretches) if backwards else stretches:
        active = running[0].shape[0]
        if backwards and active < batch:
            joining = (s[active:batch] for s in first)
            running = tuple(map(torch.cat, zip(running, joining, strict=True)))
        elif batch < active:
            ended.append(tuple(s[batch:] for s in running))
            running = tuple(s[:batch] for s in running)
        x = rows[start : start + steps * batch].unflatten(0, (1, steps, batch))
        y, after = unroll(x.flip(1) if backwards else x, tuple(s.unsqueeze(0) for s in running))
        running = tuple(s.squeeze(0) for s in after)
        outputs.append((y.flip(1) if backwards else y).flatten(0, 2))
    outputs = outputs[::-1] if backwards else outputs
    last = zip(running, *reversed(ended), strict=True)
    output = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
    return output, tuple(torch.cat(parts) if len(parts) > 1 else parts[0] for parts in last)


def _note_columns(module: nn.Module, _: Any, prefix: str, metadata: dict[str, Any]) -> None:
    """What the columns of the tensors mean, beside a state dict; its entries stay tensors."""
    assert isinstance(module, Recurrent)
    metadata["columns"] = module.columns


def _refuse_other_columns(
    module: nn.Module,
    state_dict: Mapping[str, Any],
    prefix: str,
    metadata: Mapping[str, Any],
    strict: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    """Tensors of equal shapes may be another cell's."""
    assert isinstance(module, Recurrent)
    columns = metadata.get("columns")
    if columns is not None and columns != module.columns:
        errors.append(
            f"{prefix}: weights of {columns} for cell {module.cell.name}, which has "
            f"{module.columns}"
        )
