"""The module of all recurrent networks: parameters, layers, directions and segments."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from collections.abc import Sequence as Ordered
from contextlib import nullcontext
from dataclasses import fields, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from sparse_engine.nn import _initial, from_torch
from sparse_engine.nn._inputs import (
    check_input,
    check_weight,
    initial_states,
    lengths_of_unfolds,
    states_of,
    time_of_step,
    timespans_of_step,
    warn_of_dense_inputs,
    warn_of_dropout,
)
from sparse_engine.nn._segments import run_segments
from sparse_engine.nn._step import quick_step
from sparse_engine.nn._weight_state import check_plain
from sparse_engine.nn.cell import Cell, Layer, Maker
from sparse_engine.nn.kernel_cell import outside_graphs
from sparse_engine.nn.options import STACK
from sparse_engine.nn.sequence import Layout, Sequence, reset_state
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops._autocast import asks_for_bfloat16, is_autocast_enabled
from sparse_engine.ops._dispatch.private import with_own_code


class Recurrent(nn.Module):
    """Recurrent network of sparse layers; what it computes is its ``cell``, a :class:`Cell`.

    A subclass names a ``cell_type``, whose options are further arguments. Parameters have the names
    of torch.nn: ``weight_ih_l0``, ``weight_hh_l0.values``, ``bias_ih_l0``, ``bias_hh_l0``, ...,
    with ``_reverse`` for the other direction. The gates of a cell are blocks of rows of one weight.
    The weights between layers are sparse, too. For the cells of this package, the forward pass of a
    layer over all time steps is one native operation, and so is its backward pass.

    Args:
        input_size: number of features of the input.
        hidden_size: number of units of each layer.
        num_layers: number of layers.
        bias: whether units have biases.
        batch_first: input and output are [batch, steps, features] instead of
            [steps, batch, features].
        dropout: fraction of the output of each layer but the last that is dropped in training.
        bidirectional: whether a second network reads each sequence backwards.
        device: where the parameters are put.
        dtype: float32 or float64.
        density: fraction of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        input_density: fraction of the input weights of layer 0 that exist; at 1.0 they are dense.
        gain: scale of the initial sparse values, see :meth:`SparseWeight.erdos_renyi`.
        checkpoint_every: number k of steps between checkpoints, for long sequences: training keeps
            the state after every k-th step and computes the other steps again in the backward pass.
            Results are the same; memory falls for the time of one more forward pass. By default
            everything is kept, as it is inside the transforms of ``torch.func``, which do not
            support checkpoints.
        generator: source of randomness on the CPU.
        process_group: ranks of ``torch.distributed``, each of which keeps a part of the units, see
            :func:`sparse_engine.distributed.shard`. Give all the same generator.
        order: the order in which units are shared out among the ranks, see there.
        **options: the options of the cell. They are attributes of the network, too.

    Raises:
        ValueError: an argument out of range.
        TypeError: an option that the network does not have, or a value of another type, as a size
            that is no int.

    Attributes:
        cell: the cell with its options. Setting an option makes another cell.

    Example:
        >>> isinstance(SparseLSTM(3, 64, density=0.1), Recurrent)
        True
    """

    cell_type: ClassVar[type[Cell]] = Cell
    _options: ClassVar[frozenset[str]] = frozenset()
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    checkpoint_every: int | None
    cell: Any
    #: The units of each rank, where :func:`sparse_engine.distributed.shard` has distributed them.
    unit_share: Any = None
    unit_numbers: Tensor | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        # torch.compile counts recompilations by code object, so each class has one of its own.
        super().__init_subclass__(**options)
        cls._options = frozenset(each.name for each in fields(cls.cell_type))
        if "forward" not in cls.__dict__:
            cls.forward = with_own_code(cls.forward)  # type: ignore[method-assign]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        density: float,
        input_density: float = 1.0,
        gain: float = 1.0,
        checkpoint_every: int | None = None,
        generator: torch.Generator | None = None,
        process_group: Any = None,
        order: Any = None,
        **options: Any,
    ) -> None:
        super().__init__()
        removed = {"bias": not bias, "gain": gain != 1}
        foreign = options.keys() - self._options
        foreign |= {name for name in self.cell_type.lacks if removed[name]}
        if foreign:
            kind, found = type(self).__name__, ", ".join(sorted(foreign))
            raise TypeError(f"expected arguments of {kind}, found {found}")
        stack = {
            "input_size": input_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "bias": bias,
            "batch_first": batch_first,
            "dropout": dropout,
            "bidirectional": bidirectional,
            "checkpoint_every": checkpoint_every,
        }
        for name, check in STACK.items():
            check(name, stack[name])
            setattr(self, name, stack[name])
        self.cell = self.cell_type(**options)
        self.cell.check_sizes(hidden_size)
        warn_of_dropout(dropout, num_layers)
        _initial.check_density(density)
        _initial.check_density(input_density, "input_density")
        like = {"device": device, "dtype": dtype}
        maker = Maker(hidden_size, bias, density, input_density, gain, generator, like)
        for name, shared in self.cell.make_shared(maker).items():
            self.register_buffer(name, shared)
        for layer, inputs in self.layers():
            made = self.cell.make(maker, inputs, layer.startswith("l0"))
            self._kinds = tuple(made)
            for kind, value in made.items():
                if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                    self.register_buffer(f"{kind}_{layer}", value)
                else:
                    setattr(self, f"{kind}_{layer}", value)
        warn_of_dense_inputs(self)
        if process_group is not None:
            from sparse_engine.distributed.network import shard

            shard(self, process_group, order=order)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "cell":  # options are attributes of the network, too
            own = {each: getattr(value, each) for each in self._options}
            self.__dict__.update(own, cell=value)
        elif name in self._options:
            self.cell = replace(self.cell, **{name: value})
        else:
            # Mixins set attributes before Module.__init__ has run.
            check_weight(name, self.__dict__.get("_modules", {}).get(name), value)
            super().__setattr__(name, value)
            for weight in value if isinstance(value, nn.ModuleList) else [value]:
                if isinstance(weight, SparseWeight) and weight.shape[0] == sum(self.blocks):
                    weight.blocks = self.blocks

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that describe the network, by name; those of its densities are not kept."""
        own = {each.name: getattr(self.cell, each.name) for each in fields(self.cell)}
        stack = {name: getattr(self, name) for name in STACK if name not in self.cell.lacks}
        return {**stack, **own}

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states that are passed from step to step, ``("h0", "c0")`` of an LSTM."""
        return self.cell.states

    @property
    def blocks(self) -> tuple[int, ...]:
        """Rows of each gate in each weight, see :class:`SparseWeight`."""
        return self.cell.blocks(self.hidden_size)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of inputs, states and outputs."""
        weight: Any = self.weight_hh_l0
        while isinstance(weight, nn.ModuleList):
            weight = weight._modules["0"]
        return weight.dtype

    @property
    def directions(self) -> int:
        """Number of directions in which sequences are read."""
        return 1 + self.bidirectional

    def size_of(self, state: str) -> int:
        """Return the number of features of a state; the first state has those of the output."""
        return self.cell.size_of(state, self.hidden_size)

    def layers(self) -> Iterator[tuple[str, int]]:
        """Yield the suffix and number of inputs of each layer and direction, in torch's order."""
        for layer in range(self.num_layers):
            outputs = self.directions * self.size_of(self.states[0])
            inputs = outputs if layer else self.input_size
            yield f"l{layer}", inputs
            if self.bidirectional:
                yield f"l{layer}_reverse", inputs

    def layer(self, name: str) -> Layer:
        """Return the parameters and modules of a layer by kind, such as ``layer("l0")``."""
        parameters, modules = self._parameters, self._modules
        found: dict[str, Any] = {}
        for kind in self._kinds:
            full = f"{kind}_{name}"
            value: Any = parameters.get(full)
            value = modules.get(full) if value is None else value
            found[kind] = getattr(self, full) if value is None else value  # computed by a hook
        for shared in self.cell.shared:
            found[shared] = getattr(self, shared)
        return found

    def recurrent_weights(self, layer: str) -> list[SparseWeight]:
        """Return the sparse weights by which the units of a layer read each other."""
        return self.cell.recurrent_weights(self.layer(layer))

    def input_weight(self, layer: str) -> SparseWeight | None:
        """Return the sparse weight by which a layer reads its input, or None where it is dense."""
        weight = getattr(self, f"weight_ih_{layer}", None)
        return weight if isinstance(weight, SparseWeight) else None

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Tensor | tuple[Tensor, ...] | None = None,
        *,
        lengths: Tensor | Ordered[int] | None = None,
        resets: Tensor | None = None,
        timespans: Tensor | None = None,
    ) -> tuple[Any, Any]:
        """Run the network over whole sequences.

        Args:
            input: ``[steps, batch, input_size]`` (``[batch, steps, input_size]`` with batch_first),
                or ``[steps, input_size]`` for a single sequence; or a PackedSequence, in whose
                order of sequences the states are.
            hx: the initial state, ``[num_layers * directions, batch, hidden_size]``, without the
                batch for a single sequence; zeros by default. A network with several ``states``,
                such as an LSTM, takes and returns a tuple of them: ``(h0, c0)``. The h0 of an LSTM
                with a projection has proj_size features.
            lengths: number of steps of each sequence, ``[batch]`` integers on the CPU. Later steps
                are not read, and their output is zero. By default all sequences have all steps.
            resets: where episodes begin, of the shape of ``input`` without features: bool, or
                floats that are 0 elsewhere. There the state of every layer is zero before the step,
                and no gradient passes to the step before. A layer that reads backwards is set
                back where an episode ends. Not with a PackedSequence or lengths. By default
                nowhere.
            timespans: for a network in continuous time, the duration of each input, ``[steps]`` or
                of the shape of ``input`` without features, for sequences that are sampled
                irregularly: an unfold takes ``timespan / unfolds``. By default ``dt * unfolds`` for
                all. Differentiable. On a CUDA device the values are not checked, because the host
                would have to wait.

        Returns:
            The last layer's output of every step, ``[steps, batch, directions * hidden_size]`` (or
            as ``input`` is laid out or packed), and every layer's final state, of the shape of
            ``hx``. Under autocast, states of networks in continuous time are not rounded to
            bfloat16.

        Raises:
            InputError: a shape or dtype does not fit, there is no step, or a length is wrong.
            ValueError: a timespan is negative or not finite (unless on a CUDA device).
            TypeError: an input, a state or resets that are no tensor, or no tuple of several
                states; lengths or timespans for a network that does not take them.
        """
        initial = states_of(self, hx)
        check_input(self, input, lengths, timespans)
        given: Any = input
        dt = lengths_of_unfolds(self, given, timespans) if self.cell.timed else None
        layout = Layout.of(input, lengths, batch_first=self.batch_first)
        sequence = layout.read(input, resets, dt)
        starts = initial_states(self, initial, layout, sequence)
        y, *final = self._run(sequence, starts)
        ends = [layout.write_state(each) for each in final]
        return layout.write(y, sequence), ends[0] if len(ends) == 1 else tuple(ends)

    def step(
        self,
        input: Tensor,
        hx: Tensor | tuple[Tensor, ...] | None = None,
        *,
        resets: Tensor | None = None,
        timespans: Tensor | Ordered[float] | float | None = None,
    ) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]:
        """Take one time step, for streams: :meth:`forward` of a sequence of length 1.

        Without gradients, a step of SparseRNN, SparseLSTM, SparseGRU or SparseMGU on the CPU is one
        native operation for all layers. Its results have the bits of :meth:`forward` where all
        weights are sparse; products with a dense input weight may be rounded differently.

        Args:
            input: ``[batch, input_size]``, or ``[input_size]`` for a single sequence.
            hx: the state that the step before returned, or an initial state as in :meth:`forward`.
            resets: which sequences begin an episode, ``[batch]``, or one number for a single
                sequence: their state in ``hx`` counts as zero.
            timespans: for a network in continuous time, the duration of ``input``, one number for
                all sequences or ``[batch]``. By default ``dt * unfolds``. Differentiable.

        Returns:
            The last layer's output ``[batch, hidden_size]``, and the state for the next step.

        Raises:
            ValueError: a bidirectional network, which needs the whole sequence, a wrong shape, or a
                timespan that is negative or not finite.

        Example:
            >>> state = None
            >>> for x in stream:
            ...     y, state = network.step(x, state)
        """
        if resets is not None:
            time_of_step(self, input)
            hx = reset_state(hx, resets, input)
        if timespans is None:
            quick = quick_step(self, input, hx)
            if quick is not None:
                return quick
        time = time_of_step(self, input)
        given = {}
        if timespans is not None:
            given["timespans"] = timespans_of_step(self, input, timespans).unsqueeze(time)
        y, hx = self(input.unsqueeze(time), hx, **given)
        return y.squeeze(time), hx

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all parameters again as the constructor does, in place, for the same links.

        Random numbers come from torch's global generator. An optimizer's state is not touched.

        Raises:
            ValueError: a parameter is computed by a parametrization.
        """
        check_plain(self)
        for module in self.modules():
            reset = getattr(module, "reset_parameters", None)
            if module is not self and reset is not None:
                reset()
        none = sys.float_info.min  # a density of no links
        for layer, inputs in self.layers():
            dense = 1.0 if f"weight_ih_{layer}" in self._parameters else none
            like = {"device": "cpu", "dtype": self.dtype}
            maker = Maker(self.hidden_size, self.bias, none, dense, 1.0, None, like)
            for kind, value in self.cell.make(maker, inputs, layer.startswith("l0")).items():
                own = self._parameters.get(f"{kind}_{layer}")
                if own is not None:
                    own.copy_(value)

    def flatten_parameters(self) -> None:
        """Do nothing: there is no flat copy of the parameters, as torch.nn has on a GPU."""

    from_dense = classmethod(from_torch.from_dense)
    to_dense = from_torch.to_dense

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows: the value of each option, links and memory."""
        hidden = {each.name for each in fields(self.cell) if not each.repr}
        shown = {name: value for name, value in self.options.items() if name not in hidden}
        options = ", ".join(f"{name}={value}" for name, value in shown.items())
        weights = [module for module in self.modules() if isinstance(module, SparseWeight)]
        links = sum(weight.nnz for weight in weights)
        of_links = sum(each.numel() for weight in weights for each in weight.parameters())
        dense = sum(each.numel() for each in self.parameters()) - of_links
        size = sum(each.nbytes for each in (*self.parameters(), *self.buffers()))
        return f"{options}, {links:,} links, {dense:,} dense numbers, {size:,} bytes"

    def _run(
        self, sequence: Sequence, starts: Ordered[Ordered[Tensor | None]]
    ) -> tuple[Tensor, ...]:
        """Run all layers; return the outputs of the last, and the final states of all."""
        if self.unit_share is not None:
            from sparse_engine.distributed.network import run as run_own_units

            return run_own_units(self, sequence, starts)
        device = sequence.x.device.type
        if is_autocast_enabled(device) and not (
            self.keeps_bfloat16(device) and asks_for_bfloat16(device)
        ):
            starts = [[None if s is None else s.to(self.dtype) for s in each] for each in starts]
            with torch.autocast(device, enabled=False):
                return self._run(sequence._replace(x=sequence.x.to(self.dtype)), starts)
        run = self.run_layer
        if self.checkpoint_every is not None and torch.is_grad_enabled():
            run = partial(run_segments, self, self.checkpoint_every)
        directions: dict[str, Any] = {"": None}
        if self.bidirectional:
            directions["_reverse"] = sequence.reversal()
        y: Tensor = sequence.x
        ends: list[list[Tensor]] = []
        for layer in range(self.num_layers):
            if layer > 0:
                x = self.cell.to_next_layer(y)
                if self.dropout > 0:
                    x = nn.functional.dropout(x, self.dropout, self.training)
                sequence = sequence._replace(x=x)
            outputs = []
            for way, turned in directions.items():
                read = sequence if turned is None else sequence.backwards(turned)
                start = tuple(states[len(ends)] for states in starts)
                drawn = self.cell.draw(read, self.hidden_size) if self.training else {}
                output, *end = run(f"l{layer}{way}", read, start, **drawn)
                ends.append(end)
                outputs.append(output if turned is None else turned(output))
            y = torch.cat(outputs, -1) if self.bidirectional else outputs[0]
        return y, *(torch.stack(states) for states in zip(*ends, strict=True))

    def keeps_bfloat16(self, device: str) -> bool:
        """See :meth:`Cell.keeps_bfloat16`."""
        return self.cell.keeps_bfloat16(device)

    def run_layer(
        self, name: str, sequence: Sequence, state: tuple[Tensor | None, ...], **drawn: Tensor
    ) -> tuple[Tensor, ...]:
        """Run one layer in one direction: by the cell's kernel, or step by step."""
        layer, cell = self.layer(name), self.cell
        weights = cell.weights(layer)
        for weight in weights:
            weight.refresh()
        by_steps = cell.zoneout or any(weight.by_steps for weight in weights)
        if not (by_steps or cell.goes_by_steps(layer, sequence)):
            capturing = any(weight.captured is not None for weight in weights)
            run = partial(outside_graphs, cell.run) if capturing else cell.run
            return run(layer, sequence, state, **drawn)
        x, kept = sequence.x, sequence.x.dtype
        rounds = is_autocast_enabled(x.device.type)  # it would round the sums of each step
        if rounds:
            sequence, kept = sequence._replace(x=x.to(self.dtype)), torch.bfloat16
        given = [
            sequence.x.new_zeros(sequence.batch, self.size_of(of)) if each is None else each
            for of, each in zip(self.states, state, strict=True)
        ]
        with torch.autocast(x.device.type, enabled=False) if rounds else nullcontext():
            start = tuple(each.to(sequence.x.dtype) for each in given)
            more = {"training": self.training} if cell.zoneout else {}
            y, last, *others = cell.run_steps(layer, sequence, start, **drawn, **more)
        return y.to(kept), last if cell.timed else last.to(kept), *others


def recurrent_weights(model: nn.Module) -> set[SparseWeight]:
    """Return the recurrent weights of all networks in a model."""
    networks = [module for module in model.modules() if isinstance(module, Recurrent)]
    return {
        weight
        for network in networks
        for layer, _ in network.layers()
        for weight in network.recurrent_weights(layer)
    }
