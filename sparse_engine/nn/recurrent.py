"""Stack of layers that all recurrent networks share: layers, directions and segments."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from sparse_engine.errors import InputError
from sparse_engine.nn._computed import check_plain
from sparse_engine.nn._packed import Packing, Running, checked_lengths, reversal
from sparse_engine.nn._resets import checked_resets, read_backwards, run_by_steps, set_back
from sparse_engine.nn._segments import recomputed
from sparse_engine.nn._step import quick_step
from sparse_engine.nn.cell import Cell
from sparse_engine.nn.options import COUNT, FLAG, FRACTION, Option, optional
from sparse_engine.ops._autocast import asks_for_bfloat16, is_autocast_enabled
from sparse_engine.ops._native import inside_transform


class Recurrent(Cell):
    """Recurrent network of several layers and directions, to which a cell adds the equations.

    A cell is a subclass that makes the parameters for each suffix of :meth:`layers`, and implements
    :meth:`run_layer`, which runs one layer in one direction over a whole sequence. This class adds
    dropout between layers, the order of dimensions, initial states, packed sequences and
    checkpoints.

    Args:
        input_size: number of features of the input.
        hidden_size: number of units of each layer.
        num_layers: number of layers.
        bias: whether units have biases.
        batch_first: input and output are [batch, steps, features] instead of
            [steps, batch, features].
        dropout: fraction of the output of each layer but the last that is dropped in training.
        bidirectional: whether a second network reads each sequence backwards.
        checkpoint_every: number k of steps between checkpoints, for long sequences: training keeps
            the state after every k-th step and computes the other steps again in the backward pass.
            Results are the same; memory falls for the time of one more forward pass. By default
            everything is kept, as it is inside the transforms of ``torch.func``, which do not
            support checkpoints.
        **settings: values of the ``options`` that a subclass adds.

    Raises:
        ValueError: an argument out of range.
        TypeError: an option that the network does not have, or a value of another type: sizes have
            to be ints and flags bools, as in torch.nn.
    """

    input_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    checkpoint_every: int | None

    options: ClassVar[dict[str, Option]] = {
        **dict.fromkeys(("input_size", "hidden_size", "num_layers"), replace(COUNT, in_torch=True)),
        **dict.fromkeys(("bias", "batch_first"), replace(FLAG, in_torch=True)),
        "dropout": replace(FRACTION, in_torch=True),
        "bidirectional": replace(FLAG, in_torch=True),
        "checkpoint_every": Option(optional(COUNT.check)),
    }

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        checkpoint_every: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        foreign = settings.keys() - self.options.keys()
        if foreign:
            raise TypeError(
                f"expected arguments of {type(self).__name__}, found {', '.join(sorted(foreign))}"
            )
        values = {
            "input_size": input_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "bias": bias,
            "batch_first": batch_first,
            "dropout": dropout,
            "bidirectional": bidirectional,
            "checkpoint_every": checkpoint_every,
        } | settings
        for name, option in self.options.items():
            option.check(name, values[name])
            setattr(self, name, values[name])
        self.check_options()
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout is between layers: expected num_layers of at least 2 with it, found "
                f"dropout={dropout} and num_layers=1",
                stacklevel=2,
            )

    def forward(
        self,
        input: Tensor,
        hx: Tensor | tuple[Tensor, ...] | None = None,
        *,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """Run the network over whole sequences.

        Args:
            input: ``[steps, batch, input_size]`` (``[batch, steps, input_size]`` with batch_first),
                or ``[steps, input_size]`` for a single sequence.
            hx: the initial state, ``[num_layers * directions, batch, hidden_size]``, without the
                batch for a single sequence; zeros by default. A network with several ``states``,
                such as an LSTM, takes and returns a tuple of them: ``(h0, c0)``.
            resets: where episodes begin, of the shape of ``input`` without features: bool, or
                floats that are 0 elsewhere. There the state of every layer is zero before the step,
                and no gradient passes to the step before. A layer that reads backwards is set
                back where an episode ends. Not with packed sequences. By default nowhere.

        Returns:
            The last layer's output of every step, ``[steps, batch, directions * hidden_size]`` (or
            as ``input`` is laid out), and every layer's final state, of the shape of ``hx``. Under
            autocast, states of networks in continuous time are not rounded to bfloat16.

        Raises:
            InputError: a shape or dtype does not fit, or there is no step.
            TypeError: an input, a state or resets that are no tensor, or no tuple of several
                states.
        """
        results = self.run(input, *self.states_of(hx), resets=resets)
        return results if len(results) == 2 else (results[0], results[1:])

    def states_of(self, hx: Any) -> tuple[Tensor | None, ...]:
        """Return the initial states in ``hx``, one for each name in ``states``.

        Raises:
            TypeError: a network with several states got something else than a tuple of as many.
        """
        count = len(self.states)
        if count == 1:
            return (hx,)
        if hx is None:
            return (None,) * count
        if not isinstance(hx, tuple | list) or len(hx) != count:
            kind = type(hx).__name__
            found = f"{kind} of {len(hx)}" if isinstance(hx, tuple | list) else kind
            size = "pair" if count == 2 else f"tuple of {count}"
            raise TypeError(f"expected a {size} ({', '.join(self.states)}), found {found}")
        return tuple(hx)

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
        for name, parameter in self._parameters.items():
            if parameter is not None:
                parameter.copy_(self.first_values(name, parameter))

    def flatten_parameters(self) -> None:
        """Do nothing: unlike torch.nn on a GPU, there is no flat copy of the parameters."""

    def step(
        self,
        input: Tensor,
        hx: Tensor | tuple[Tensor, ...] | None = None,
        *,
        resets: Tensor | None = None,
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

        Returns:
            The last layer's output ``[batch, hidden_size]``, and the state for the next step.

        Raises:
            ValueError: a bidirectional network, which needs the whole sequence, or a wrong shape.

        Example:
            >>> state = None
            >>> for x in stream:
            ...     y, state = network.step(x, state)
        """
        if resets is not None:
            self._time_of_step(input)
            hx = set_back(hx, resets, input)
        quick = quick_step(self, input, hx)
        if quick is not None:
            return quick
        time = self._time_of_step(input)
        y, hx = self(input.unsqueeze(time), hx)
        return y.squeeze(time), hx

    def _time_of_step(self, x: Tensor) -> int:
        """Return the dimension of time for a step ``x``, or raise ValueError."""
        if self.bidirectional:
            raise ValueError("expected a network of one direction to step, found a bidirectional")
        _check_tensor("input", x)
        if x.dim() not in (1, 2):
            raise InputError(
                f"expected input of shape [batch, {self.input_size}] or [{self.input_size}], "
                f"found {[*x.shape]}"
            )
        return 1 if self.batch_first and x.dim() == 2 else 0

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def layers(self) -> Iterator[tuple[str, int]]:
        """Yield the suffix and number of inputs of each layer and direction, in torch's order."""
        for layer in range(self.num_layers):
            inputs = self._directions * self.size_of("h0") if layer else self.input_size
            yield f"l{layer}", inputs
            if self.bidirectional:
                yield f"l{layer}_reverse", inputs

    def run(
        self,
        x: Tensor | PackedSequence,
        *initial: Tensor | None,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
        **step_inputs: Tensor,
    ) -> tuple[Any, ...]:
        """Run all layers; the :meth:`forward` of every cell calls this.

        Args:
            x: the input, as in :meth:`forward`.
            *initial: the initial states of all layers for each name in ``states``, or None.
            lengths: number of steps of each sequence, ``[batch]``; by default all steps.
            resets: where episodes begin, as in :meth:`forward`.
            **step_inputs: the cell's ``step_inputs`` by name, in the layout of ``x`` without
                features.

        Returns:
            The outputs of the last layer, then the final states of all layers for each name.
        """
        if resets is not None and (lengths is not None or isinstance(x, PackedSequence)):
            raise InputError(
                "expected sequences of one length beside resets, found a PackedSequence or lengths"
            )
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise ValueError("expected no lengths beside a PackedSequence, found both")
            return self._run_packed(x, initial)
        self._check(x, "[steps, batch, {}] or [steps, {}]", dims=(2, 3))
        if resets is not None:
            step_inputs["resets"] = checked_resets(resets, x)
        single = x.dim() == 2
        batch_first = self.batch_first and not single
        if single and lengths is not None:
            raise InputError("expected no lengths for a single sequence without a batch")
        if single:
            x = x.unsqueeze(1)
        elif batch_first:
            x = x.transpose(0, 1)
        steps, batch = x.shape[:2]
        if steps == 0:
            raise InputError("expected at least one time step, found none")
        if lengths is not None and batch > 0:
            lengths = checked_lengths(lengths, batch, steps)
            packing = Packing.of(lengths, steps).to(x.device)
            packed, *final = self._run_packed(packing.pack(x), initial)
            x = packing.pad(packed)
            return x.transpose(0, 1) if batch_first else x, *final
        starts = [
            self._initial(name, state, batch, single)
            for name, state in zip(self.states, initial, strict=True)
        ]
        self._check_dtypes(initial, x.dtype)
        if step_inputs and single:
            step_inputs = {name: each.unsqueeze(1) for name, each in step_inputs.items()}
        elif step_inputs and batch_first:
            step_inputs = {name: each.transpose(0, 1) for name, each in step_inputs.items()}
        x, *final = self._walk(x, starts, step_inputs)
        if single:
            return x.squeeze(1), *(states.squeeze(1) for states in final)
        return x.transpose(0, 1) if batch_first else x, *final

    def _check(self, x: Tensor, shape: str, *, dims: tuple[int, ...]) -> None:
        """Raise InputError for an input of a wrong shape or dtype."""
        _check_tensor("input", x)
        if x.dim() not in dims or x.shape[-1] != self.input_size:
            expected = shape.replace("{}", str(self.input_size))
            raise InputError(f"expected input of shape {expected}, found {[*x.shape]}")
        by_autocast = x.dtype == torch.bfloat16 and is_autocast_enabled(x.device.type)
        if x.dtype != self.dtype and not by_autocast:
            message = f"expected input of dtype {self.dtype}, found {x.dtype}"
            raise InputError(message.replace("torch.", ""))

    def _check_dtypes(self, initial: tuple[Tensor | None, ...], dtype: torch.dtype) -> None:
        """Raise InputError for a state of another dtype than the input's, unless autocast is on."""
        for name, state in zip(self.states, initial, strict=True):
            if state is None or state.dtype == dtype:
                continue
            if not is_autocast_enabled(state.device.type):
                message = f"expected {name} of dtype {dtype}, found {state.dtype}"
                raise InputError(message.replace("torch.", ""))

    def _run_packed(self, x: PackedSequence, initial: tuple[Tensor | None, ...]) -> tuple[Any, ...]:
        if not self.packable:
            raise TypeError(
                "expected a padded tensor, found a PackedSequence; unpack it with "
                "torch.nn.utils.rnn.pad_packed_sequence"
            )
        data, batch_sizes, in_order, back = x
        self._check(data, "[rows, {}]", dims=(2,))
        batch = int(batch_sizes[0]) if in_order is None else in_order.numel()
        if (
            in_order is None and torch.compiler.is_compiling()
        ):  # a compiled graph does not know the batch
            for state in initial:
                if state is not None and state.dim() == 3:
                    torch._check(state.shape[1] == batch)
        starts = []
        for name, state in zip(self.states, initial, strict=True):
            layers = self._initial(name, state, batch, single=False)
            if state is not None and in_order is not None:
                layers = state.index_select(1, in_order).unbind(0)
            starts.append(layers)
        self._check_dtypes(initial, data.dtype)
        y, *final = self._walk(data, starts, {}, batch_sizes=batch_sizes)
        if back is not None:
            final = [states.index_select(1, back) for states in final]
        return PackedSequence(y, batch_sizes, in_order, back), *final

    def _walk(
        self,
        x: Tensor,
        starts: Sequence[Sequence[Tensor | None]],
        step_inputs: dict[str, Tensor],
        **packing: Tensor,
    ) -> tuple[Tensor, ...]:
        """Run all layers without checks; ``packing`` may hold the ``batch_sizes``."""
        device = x.device.type
        if is_autocast_enabled(device) and not (
            self.keeps_bfloat16(device) and asks_for_bfloat16(device)
        ):
            starts = [[None if s is None else s.to(self.dtype) for s in each] for each in starts]
            with torch.autocast(device, enabled=False):
                return self._walk(x.to(self.dtype), starts, step_inputs, **packing)
        each_way = [step_inputs]
        if self.bidirectional:
            each_way.append(read_backwards(step_inputs))
        ends: list[list[Tensor]] = []
        for layer in range(self.num_layers):
            if layer > 0:
                x = self.to_next_layer(x)
                if self.dropout > 0:
                    x = nn.functional.dropout(x, self.dropout, self.training)
            outputs = []
            for direction, given in enumerate(each_way):
                start = tuple(states[len(ends)] for states in starts)
                output, *end = self._direction(layer, direction, x, start, given, **packing)
                outputs.append(output)
                ends.append(end)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
        return x, *(torch.stack(states) for states in zip(*ends, strict=True))

    def _direction(
        self,
        layer: int,
        direction: int,
        x: Tensor,
        initial: tuple[Tensor | None, ...],
        step_inputs: dict[str, Tensor],
        **packing: Tensor,
    ) -> tuple[Tensor, ...]:
        if not direction:
            return self._segments(f"l{layer}", x, initial, step_inputs, **packing)
        if packing:
            rows = reversal(packing["batch_sizes"]).to(x.device)
            x = x.index_select(0, rows)
        else:
            x = x.flip(0)
        output, *final = self._segments(f"l{layer}_reverse", x, initial, step_inputs, **packing)
        return output.index_select(0, rows) if packing else output.flip(0), *final

    def _segments(
        self,
        name: str,
        x: Tensor,
        state: tuple[Tensor | None, ...],
        step_inputs: dict[str, Tensor],
        **packing: Tensor,
    ) -> tuple[Tensor, ...]:
        """Run one layer, in segments where ``checkpoint_every`` asks for that."""
        every, constants = self.checkpoint_every, self.constants(name, x)
        if every is None or not torch.is_grad_enabled() or inside_transform():
            return self.run_segment(name, x, state, **step_inputs, **constants, **packing)
        batch_sizes = packing.get("batch_sizes")
        steps = x.shape[0] if batch_sizes is None else batch_sizes.numel()
        if every >= steps:
            return self.run_segment(name, x, state, **step_inputs, **constants, **packing)
        if batch_sizes is not None:
            return self._packed_segments(name, x, state, batch_sizes, constants)
        outputs, run = [], recomputed(self, name)
        parts = {key: each.split(every) for key, each in step_inputs.items()}
        for index, segment in enumerate(x.split(every)):
            given = {key: each[index] for key, each in parts.items()}
            output, *ends = run(segment, state, **given, **constants)
            state = tuple(ends)
            outputs.append(output)
        return torch.cat(outputs), *ends

    def run_segment(
        self, name: str, x: Tensor, state: tuple[Tensor | None, ...], **given: Tensor
    ) -> tuple[Tensor, ...]:
        """Run one layer over a part of its sequence: :meth:`run_layer`.

        Where the cell does not take the ``resets`` that are given, this goes step by step.
        """
        if self.resettable or "resets" not in given:
            return self.run_layer(name, x, state, **given)
        resets = given.pop("resets")
        at_steps = {each: given.pop(each) for each in self.step_inputs}
        return run_by_steps(self.run_layer, name, x, state, resets, at_steps, given)

    def _packed_segments(
        self,
        name: str,
        x: Tensor,
        state: tuple[Tensor | None, ...],
        batch_sizes: Tensor,
        constants: dict[str, Tensor],
    ) -> tuple[Tensor, ...]:
        run, outputs = recomputed(self, name), []
        running: Running | None = None
        segments = batch_sizes.split(self.checkpoint_every)
        data = x.split([int(sizes.sum()) for sizes in segments])
        for sizes, rows in zip(segments, data, strict=True):
            if running:
                running.keep(int(sizes[0]))
                state = running.state
            output, *ends = run(rows, state, batch_sizes=sizes, **constants)
            running = running or Running(ends)
            running.state = tuple(ends)
            outputs.append(output)
        assert running is not None
        return torch.cat(outputs), *running.final()

    def _initial(
        self, name: str, state: Tensor | None, batch: int, single: bool
    ) -> Sequence[Tensor | None]:
        layers = self.num_layers * self._directions
        if state is None:
            return [None] * layers
        _check_tensor(name, state)
        size = self.size_of(name)
        expected = [layers, size] if single else [layers, batch, size]
        if [*state.shape] != expected:
            raise InputError(f"expected {name} of shape {expected}, found {[*state.shape]}")
        return (state.unsqueeze(1) if single else state).unbind(0)

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows: the value of each option."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.options)


def _check_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"expected {name} to be a tensor, found {type(value).__name__}")
