"""What all recurrent networks share: the walk over layers and directions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Recurrent(nn.Module):
    """Layers, directions, dropout between layers, batch order and initial states.

    A subclass makes its parameters, one set for each suffix of :meth:`_layers`, and implements
    :meth:`_layer`, which runs one of them over a whole sequence.

    Attributes:
        settings: the constructor's arguments that describe the network; each is an attribute.
        states: the names of the initial states that the cell takes.
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

    checkpoint_every: int | None = None

    def __init__(self, *, checkpoint_every: int | None = None, **settings: object) -> None:
        super().__init__()
        self._configure(settings)
        if checkpoint_every is not None and checkpoint_every < 1:
            raise ValueError(
                f"expected checkpoint_every of at least 1 step, found {checkpoint_every}"
            )
        self.checkpoint_every = checkpoint_every

    def step(
        self, x: Tensor, state: Tensor | tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]:
        """One time step, for streams: what :meth:`forward` does with a sequence of length 1.

        Args:
            x: ``[batch, input_size]``, or ``[input_size]`` for a single sequence.
            state: what the step before returned, or an initial state as :meth:`forward` takes it.

        Returns:
            The last layer's output ``[batch, hidden_size]``, and the state for the next step.

        Raises:
            ValueError: a bidirectional network, which needs the whole sequence, or a wrong shape.

        Example:
            >>> state = None
            >>> for x in stream:
            ...     y, state = network.step(x, state)
        """
        if self.bidirectional:
            raise ValueError("expected a network of one direction to step, found a bidirectional")
        if x.dim() not in (1, 2):
            raise ValueError(
                f"expected input of shape [batch, {self.input_size}] or [{self.input_size}], "
                f"found {[*x.shape]}"
            )
        time = 1 if self.batch_first and x.dim() == 2 else 0
        y, state = self(x.unsqueeze(time), state)
        return y.squeeze(time), state

    def _configure(self, settings: Mapping[str, object]) -> None:
        """Checks the settings and keeps them as attributes."""
        for name in ("input_size", "hidden_size", "num_layers"):
            if settings[name] < 1:
                raise ValueError(f"expected {name} of at least 1, found {settings[name]}")
        if not 0 <= settings["dropout"] <= 1:
            raise ValueError(f"expected dropout in [0, 1], found {settings['dropout']}")
        for name in self.settings:
            setattr(self, name, settings[name])

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _layers(self) -> Iterator[tuple[str, int]]:
        """The suffix of each layer and direction, in torch's order, with the inputs it reads."""
        for layer in range(self.num_layers):
            inputs = self._directions * self.hidden_size if layer else self.input_size
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

        ``x`` is ``[steps, batch, inputs]`` in the order in which this direction reads it.
        """
        raise NotImplementedError

    def _run(self, x: Tensor, *initial: Tensor | None) -> tuple[Tensor, ...]:
        """The outputs of the last layer, and each of the final states of all layers."""
        if isinstance(x, nn.utils.rnn.PackedSequence):
            raise TypeError(
                "expected a padded tensor, found a PackedSequence; unpack it with "
                "torch.nn.utils.rnn.pad_packed_sequence"
            )
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"expected input of shape [steps, batch, {self.input_size}] or "
                f"[steps, {self.input_size}], found {[*x.shape]}"
            )
        if x.dtype != self._dtype:
            message = f"expected input of dtype {self._dtype}, found {x.dtype}"
            raise ValueError(message.replace("torch.", ""))
        single = x.dim() == 2
        batch_first = self.batch_first and not single
        if single:
            x = x.unsqueeze(1)
        elif batch_first:
            x = x.transpose(0, 1)
        if x.shape[0] == 0:
            raise ValueError("expected at least one time step, found none")
        starts = [
            self._initial(name, state, x.shape[1], single)
            for name, state in zip(self.states, initial, strict=True)
        ]
        ends = []
        for layer in range(self.num_layers):
            if layer > 0 and self.dropout > 0:
                x = nn.functional.dropout(x, self.dropout, self.training)
            outputs = []
            for direction in range(self._directions):
                start = tuple(states[len(ends)] for states in starts)
                output, *end = self._direction(layer, direction, x, start)
                outputs.append(output)
                ends.append(end)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 2)
        final = [torch.stack(states) for states in zip(*ends, strict=True)]
        if single:
            return x.squeeze(1), *(states.squeeze(1) for states in final)
        return x.transpose(0, 1) if batch_first else x, *final

    def _direction(
        self, layer: int, direction: int, x: Tensor, initial: tuple[Tensor | None, ...]
    ) -> tuple[Tensor, ...]:
        if not direction:
            return self._segments(f"l{layer}", x, initial)
        output, *final = self._segments(f"l{layer}_reverse", x.flip(0), initial)
        return output.flip(0), *final

    def _segments(
        self, name: str, x: Tensor, state: tuple[Tensor | None, ...]
    ) -> tuple[Tensor, ...]:
        """:meth:`_layer`, of which the backward pass keeps only the state between segments."""
        every = self.checkpoint_every
        if every is None or every >= x.shape[0] or not torch.is_grad_enabled():
            return self._layer(name, x, state)
        outputs = []
        for segment in x.split(every):
            output, *state = checkpoint(self._layer, name, segment, state, use_reentrant=False)
            outputs.append(output)
        return torch.cat(outputs), *state

    def _initial(
        self, name: str, state: Tensor | None, batch: int, single: bool
    ) -> tuple[Tensor, ...] | list[None]:
        layers = self.num_layers * self._directions
        if state is None:
            return [None] * layers
        expected = [layers, self.hidden_size] if single else [layers, batch, self.hidden_size]
        if [*state.shape] != expected:
            raise ValueError(f"expected {name} of shape {expected}, found {[*state.shape]}")
        return (state.unsqueeze(1) if single else state).unbind(0)

    def _settings(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.settings}

    def extra_repr(self) -> str:
        """What ``print(network)`` shows."""
        return ", ".join(f"{name}={value}" for name, value in self._settings().items())
