"""What all recurrent networks share: the walk over layers and directions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import PackedSequence
from torch.utils.checkpoint import checkpoint

from sparse_engine.errors import InputError
from sparse_engine.nn import _init
from sparse_engine.nn._checks import (
    LoadsRealParameters,
    check_flag,
    check_fraction,
    check_integer,
)
from sparse_engine.nn._computed import check_plain
from sparse_engine.nn._packed import Packing, Running, checked_lengths, reversal
from sparse_engine.ops._autocast import asks_for_bfloat16


class Recurrent(LoadsRealParameters):
    """Layers, directions, dropout between layers, batch order and initial states.

    A subclass makes its parameters, one set for each suffix of :meth:`_layers`, and implements
    :meth:`_layer`, which runs one of them over a whole sequence.

    Args:
        input_size: features of the input.
        hidden_size: units of each layer.
        num_layers: layers, stacked.
        bias: whether there are biases.
        batch_first: input and output are [batch, steps, features] instead of
            [steps, batch, features].
        dropout: share of each layer's output (but the last's) that is dropped in training.
        bidirectional: a second network reads each sequence backwards.
        checkpoint_every: for long sequences: training keeps the state after so many steps only, and
            computes the steps between once more in the backward pass.
        **settings: those of a subclass.

    Raises:
        ValueError: an argument out of range.
        TypeError: a setting that the network does not have, or one of another type: sizes are ints,
            and what is on or off is a bool, as in torch.nn.

    Attributes:
        settings: the constructor's arguments that describe the network; each is an attribute.
        states: the names of the initial states that the cell takes.
        narrow: the types of devices on which the cell keeps activations in bfloat16 where autocast
            asks for that. Anywhere else it computes as ever: its inputs become what its parameters
            are.
        packable: whether :meth:`_layer` takes sequences of different lengths, by ``batch_sizes``.
        checkpoint_every: None, or after how many steps training keeps the state. What the backward
            pass needs is then computed again in segments of so many steps: less memory for one
            more forward pass, and the same results.
    """

    settings: tuple[str, ...] = (
        "input_size",
        "hidden_size",
        "num_layers",
        "bias",
        "batch_first",
        "dropout",
        "bidirectional",
    )
    states: tuple[str, ...] = ("h0",)
    narrow: tuple[str, ...] = ()
    packable: bool = False

    checkpoint_every: int | None = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        checkpoint_every: int | None = None,
        **settings: object,
    ) -> None:
        super().__init__()
        foreign = settings.keys() - {*self.settings}
        if foreign:
            raise TypeError(
                f"expected arguments of {type(self).__name__}, found {', '.join(sorted(foreign))}"
            )
        shared = {
            "input_size": input_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "bias": bias,
            "batch_first": batch_first,
            "dropout": dropout,
            "bidirectional": bidirectional,
        }
        self._configure(shared | settings)
        if checkpoint_every is not None:
            check_integer("checkpoint_every", checkpoint_every, least=1)
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout is between layers: expected num_layers of at least 2 with it, found "
                f"dropout={dropout} and num_layers=1",
                stacklevel=2,
            )
        self.checkpoint_every = checkpoint_every

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws all parameters again as the constructor does, in place, for the same links.

        Random numbers come from torch's global generator. An optimizer's state is not touched.

        Raises:
            ValueError: a parametrization computes a parameter.
        """
        check_plain(self)
        for module in self.modules():
            if module is not self and hasattr(module, "reset_parameters"):
                module.reset_parameters()
        for name, parameter in self._parameters.items():
            if parameter is not None:
                parameter.copy_(self._first(name, parameter))

    def flatten_parameters(self) -> None:
        """Does nothing: there is no flat copy of the parameters, as torch.nn has on a GPU."""

    def _first(self, name: str, parameter: Tensor) -> Tensor:
        """The entries that a parameter of this module starts with, on the CPU."""
        entries = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
        return _init.uniform_(entries, self.hidden_size, None)

    def step(
        self, input: Tensor, hx: Tensor | tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]:
        """One time step, for streams: what :meth:`forward` does with a sequence of length 1.

        Args:
            input: ``[batch, input_size]``, or ``[input_size]`` for a single sequence.
            hx: what the step before returned, or an initial state as :meth:`forward` takes it.

        Returns:
            The last layer's output ``[batch, hidden_size]``, and the state for the next step.

        Raises:
            ValueError: a bidirectional network, which needs the whole sequence, or a wrong shape.

        Example:
            >>> state = None
            >>> for x in stream:
            ...     y, state = network.step(x, state)
        """
        time = self._time_of_step(input)
        y, hx = self(input.unsqueeze(time), hx)
        return y.squeeze(time), hx

    def _time_of_step(self, x: Tensor) -> int:
        """The dimension of time in a sequence of which ``x`` is a step; checks both."""
        if self.bidirectional:
            raise ValueError("expected a network of one direction to step, found a bidirectional")
        _check_tensor("input", x)
        if x.dim() not in (1, 2):
            raise InputError(
                f"expected input of shape [batch, {self.input_size}] or [{self.input_size}], "
                f"found {[*x.shape]}"
            )
        return 1 if self.batch_first and x.dim() == 2 else 0

    def _configure(self, settings: Mapping[str, object]) -> None:
        """Checks the settings and keeps them as attributes."""
        for name in ("input_size", "hidden_size", "num_layers"):
            check_integer(name, settings[name], least=1)
        for name in ("bias", "batch_first", "bidirectional"):
            if name in settings:
                check_flag(name, settings[name])
        check_fraction("dropout", settings["dropout"])
        for name in self.settings:
            setattr(self, name, settings[name])

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _layers(self) -> Iterator[tuple[str, int]]:
        """The suffix of each layer and direction, in torch's order, with the inputs it reads."""
        for layer in range(self.num_layers):
            inputs = self._directions * self._size_of("h0") if layer else self.input_size
            yield f"l{layer}", inputs
            if self.bidirectional:
                yield f"l{layer}_reverse", inputs

    @property
    def _dtype(self) -> torch.dtype:
        """Of the inputs, states and outputs."""
        return next(self.parameters()).dtype

    def _layer(
        self, name: str, x: Tensor, initial: tuple[Tensor | None, ...]
    ) -> tuple[Tensor, ...]:
        """All outputs ``[steps, batch, hidden]`` of the layer ``name``, and its final states.

        ``x`` is ``[steps, batch, inputs]`` in the order in which this direction reads it. That of
        a packable network takes ``batch_sizes=``, too: x and the outputs are then ``[rows, ...]``,
        the data of a PackedSequence.
        """
        raise NotImplementedError

    def _run(
        self,
        x: Tensor | PackedSequence,
        *initial: Tensor | None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Tensor | PackedSequence, ...]:
        """The outputs of the last layer, and each of the final states of all layers."""
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise ValueError("expected no lengths beside a PackedSequence, found both")
            return self._run_packed(x, initial)
        self._check(x, "[steps, batch, {}] or [steps, {}]", dims=(2, 3))
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
        x, *final = self._walk(x, starts)
        if single:
            return x.squeeze(1), *(states.squeeze(1) for states in final)
        return x.transpose(0, 1) if batch_first else x, *final

    def _check(self, x: Tensor, shape: str, *, dims: tuple[int, ...]) -> None:
        """Checks the shape and dtype of an input."""
        _check_tensor("input", x)
        if x.dim() not in dims or x.shape[-1] != self.input_size:
            expected = shape.replace("{}", str(self.input_size))
            raise InputError(f"expected input of shape {expected}, found {[*x.shape]}")
        narrow = x.dtype == torch.bfloat16 and torch.is_autocast_enabled(x.device.type)
        if x.dtype != self._dtype and not narrow:
            message = f"expected input of dtype {self._dtype}, found {x.dtype}"
            raise InputError(message.replace("torch.", ""))

    def _check_dtypes(self, initial: tuple[Tensor | None, ...], dtype: torch.dtype) -> None:
        """Checks that each state has the input's dtype, unless autocast is on."""
        for name, state in zip(self.states, initial, strict=True):
            if state is None or state.dtype == dtype:
                continue
            if not torch.is_autocast_enabled(state.device.type):
                message = f"expected {name} of dtype {dtype}, found {state.dtype}"
                raise InputError(message.replace("torch.", ""))

    def _run_packed(
        self, x: PackedSequence, initial: tuple[Tensor | None, ...]
    ) -> tuple[PackedSequence | Tensor, ...]:
        if not self.packable:
            raise TypeError(
                "expected a padded tensor, found a PackedSequence; unpack it with "
                "torch.nn.utils.rnn.pad_packed_sequence"
            )
        data, batch_sizes, in_order, back = x
        self._check(data, "[rows, {}]", dims=(2,))
        batch = int(batch_sizes[0]) if in_order is None else in_order.numel()
        if in_order is None and torch.compiler.is_compiling():  # the batch is not known there
            for state in initial:
                if state is not None and state.dim() == 3:
                    torch._check(state.shape[1] == batch)
        starts = []
        for name, state in zip(self.states, initial, strict=True):
            layers = self._initial(name, state, batch, single=False)
            if state is not None and in_order is not None:
                layers = [layer.index_select(0, in_order) for layer in layers]
            starts.append(layers)
        self._check_dtypes(initial, data.dtype)
        y, *final = self._walk(data, starts, batch_sizes=batch_sizes)
        if back is not None:
            final = [states.index_select(1, back) for states in final]
        return PackedSequence(y, batch_sizes, in_order, back), *final

    def _walk(
        self, x: Tensor, starts: list[Sequence[Tensor | None]], **packing: Tensor
    ) -> tuple[Tensor, ...]:
        """:meth:`_run` on what has been checked; ``packing`` are the batch sizes, if any."""
        device = x.device.type
        narrow = device in self.narrow and asks_for_bfloat16(device)
        if torch.is_autocast_enabled(device) and not narrow:
            starts = [[None if s is None else s.to(self._dtype) for s in each] for each in starts]
            with torch.autocast(device, enabled=False):
                return self._walk(x.to(self._dtype), starts, **packing)
        ends = []
        for layer in range(self.num_layers):
            if layer > 0 and self.dropout > 0:
                x = nn.functional.dropout(x, self.dropout, self.training)
            outputs = []
            for direction in range(self._directions):
                start = tuple(states[len(ends)] for states in starts)
                output, *end = self._direction(layer, direction, x, start, **packing)
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
        **packing: Tensor,
    ) -> tuple[Tensor, ...]:
        if not direction:
            return self._segments(f"l{layer}", x, initial, **packing)
        if packing:
            rows = reversal(packing["batch_sizes"]).to(x.device)
            x = x.index_select(0, rows)
        else:
            x = x.flip(0)
        output, *final = self._segments(f"l{layer}_reverse", x, initial, **packing)
        return output.index_select(0, rows) if packing else output.flip(0), *final

    def _segments(
        self,
        name: str,
        x: Tensor,
        state: tuple[Tensor | None, ...],
        batch_sizes: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """:meth:`_layer`, of which the backward pass keeps only the state between segments."""
        every = self.checkpoint_every
        packing = {} if batch_sizes is None else {"batch_sizes": batch_sizes}
        steps = x.shape[0] if batch_sizes is None else batch_sizes.numel()
        if every is None or every >= steps or not torch.is_grad_enabled():
            return self._layer(name, x, state, **packing)
        if batch_sizes is not None:
            return self._packed_segments(name, x, state, batch_sizes)
        outputs, run = [], self._recomputed(name)
        for segment in x.split(every):
            output, *state = run(segment, state)
            outputs.append(output)
        return torch.cat(outputs), *state

    def _recomputed(self, name: str) -> Callable[..., tuple[Tensor, ...]]:
        """:meth:`_layer` of one layer, which the backward pass computes again."""
        if torch.compiler.is_compiling():
            return partial(checkpoint, self._layer, name, use_reentrant=False)
        # Of a functional_call there is nothing left by then: its parameters have to be kept.
        layer, parameters = _Layer(self, name), dict(self.named_parameters(prefix="network"))
        return partial(checkpoint, partial(_call, layer, parameters), use_reentrant=False)

    def _packed_segments(
        self, name: str, x: Tensor, state: tuple[Tensor | None, ...], batch_sizes: Tensor
    ) -> tuple[Tensor, ...]:
        outputs, running, run = [], None, self._recomputed(name)
        segments = batch_sizes.split(self.checkpoint_every)
        data = x.split([int(sizes.sum()) for sizes in segments])
        for sizes, rows in zip(segments, data, strict=True):
            if running:
                running.keep(int(sizes[0]))
                state = running.state
            output, *state = run(rows, state, batch_sizes=sizes)
            running = running or Running(state)
            running.state = tuple(state)
            outputs.append(output)
        return torch.cat(outputs), *running.final()

    def _size_of(self, state: str) -> int:
        """Features of a state; those of the first are those of the output."""
        return self.hidden_size

    def _initial(
        self, name: str, state: Tensor | None, batch: int, single: bool
    ) -> tuple[Tensor, ...] | list[None]:
        layers = self.num_layers * self._directions
        if state is None:
            return [None] * layers
        _check_tensor(name, state)
        size = self._size_of(name)
        expected = [layers, size] if single else [layers, batch, size]
        if [*state.shape] != expected:
            raise InputError(f"expected {name} of shape {expected}, found {[*state.shape]}")
        return (state.unsqueeze(1) if single else state).unbind(0)

    def _settings(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.settings}

    def extra_repr(self) -> str:
        """What ``print(network)`` shows."""
        return ", ".join(f"{name}={value}" for name, value in self._settings().items())


def _check_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"expected {name} to be a tensor, found {type(value).__name__}")


class _Layer(nn.Module):
    """One layer of a network as a module, which ``functional_call`` wants."""

    def __init__(self, network: Recurrent, name: str) -> None:
        super().__init__()
        self.network, self.name = network, name

    def forward(self, *inputs: object, **packing: Tensor) -> tuple[Tensor, ...]:
        return self.network._layer(self.name, *inputs, **packing)


def _call(
    module: nn.Module, parameters: dict[str, Tensor], *inputs: object, **packing: Tensor
) -> tuple[Tensor, ...]:
    return functional_call(module, parameters, inputs, packing)
