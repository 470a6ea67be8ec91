"""What all recurrent networks share: parameters by layer and direction, and the walk over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from sparse_engine.nn import _init
from sparse_engine.nn.weight import SparseWeight


class SparseRecurrent(nn.Module):
    """Layers, directions, dropout, batch order and conversion for a sparse recurrent network.

    A cell is a subclass: ``dense_type`` names its dense counterpart in torch.nn, and ``_cell``
    runs one layer in one direction over a whole sequence.

    Attributes:
        dense_type: the counterpart in torch.nn.
        dense_settings: its constructor's arguments, which are attributes of both.
        gates: blocks of hidden_size rows in each weight.
        states: the names of the initial states that the cell takes.
        most_fused_inputs: a dense input weight with at most this many columns is multiplied inside
            the time loop, which reads it at every step but never stores its product; a wider one
            in one large product up front.
    """

    dense_type: type[nn.RNNBase]
    gates: int = 1
    states: tuple[str, ...] = ("h0",)
    most_fused_inputs: int = 0
    dense_settings: tuple[str, ...] = (
        "input_size",
        "hidden_size",
        "num_layers",
        "bias",
        "batch_first",
        "dropout",
        "bidirectional",
    )

    def __init__(
        self,
        *,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        density: float,
        input_density: float,
        gain: float,
        generator: torch.Generator | None,
        **settings: object,
    ) -> None:
        super().__init__()
        self._configure(settings)
        _init.check_density(density)
        _init.check_density(input_density, "input_density")

        def sparse(out_features: int, in_features: int, share: float) -> SparseWeight:
            return SparseWeight.erdos_renyi(
                out_features,
                in_features,
                density=share,
                gain=gain,
                generator=generator,
                device=device,
                dtype=dtype,
            )

        def dense(*shape: int) -> nn.Parameter:
            values = torch.empty(*shape, dtype=dtype)
            return nn.Parameter(_init.uniform_(values, self.hidden_size, generator).to(device))

        rows = self.gates * self.hidden_size
        for name, layer in self._layers():
            columns = self._directions * self.hidden_size if layer else self.input_size
            share = density if layer else input_density
            make_input = dense if layer == 0 and share == 1 else partial(sparse, share=share)
            setattr(self, f"weight_ih_{name}", make_input(rows, columns))
            setattr(self, f"weight_hh_{name}", sparse(rows, self.hidden_size, density))
            if self.bias:
                setattr(self, f"bias_ih_{name}", dense(rows))
                setattr(self, f"bias_hh_{name}", dense(rows))

    def _configure(self, settings: Mapping[str, object]) -> None:
        """Takes over the constructor arguments that the dense counterpart has too."""
        for name in ("input_size", "hidden_size", "num_layers"):
            if settings[name] < 1:
                raise ValueError(f"expected {name} of at least 1, found {settings[name]}")
        if not 0 <= settings["dropout"] <= 1:
            raise ValueError(f"expected dropout in [0, 1], found {settings['dropout']}")
        for name in self.dense_settings:
            setattr(self, name, settings[name])

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _layers(self) -> Iterator[tuple[str, int]]:
        """The suffix of each layer and direction, in torch's order, with the layer's number."""
        for layer in range(self.num_layers):
            yield f"l{layer}", layer
            if self.bidirectional:
                yield f"l{layer}_reverse", layer

    def _cell(
        self,
        name: str,
        x: Tensor,
        w_input: Tensor | None,
        initial: tuple[Tensor | None, ...],
        bias: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """All outputs ``[steps, batch, hidden]`` of one layer, and its final states.

        ``w_input`` are its dense input weights, or None where ``x`` is the input's contribution.
        """
        raise NotImplementedError

    def _biases(self, name: str) -> tuple[Tensor | None, Tensor | None]:
        """What is added to the input's contribution, and to the recurrent one."""
        if not self.bias:
            return None, None
        return None, getattr(self, f"bias_ih_{name}") + getattr(self, f"bias_hh_{name}")

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
        dtype = self.weight_hh_l0.dtype
        if x.dtype != dtype:
            message = f"expected input of dtype {dtype}, found {x.dtype}"
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
        name = f"l{layer}_reverse" if direction else f"l{layer}"
        weight_ih, weight_hh = (getattr(self, f"weight_{kind}_{name}") for kind in ("ih", "hh"))
        input_bias, bias = self._biases(name)
        if direction:
            x = x.flip(0)
        w_input = None
        if isinstance(weight_ih, SparseWeight):
            x = weight_ih(x, input_bias)
        elif (
            x.shape[1] == 1
            or weight_ih.shape[1] > self.most_fused_inputs
            or weight_hh.factors is not None
        ):
            x = nn.functional.linear(x, weight_ih, input_bias)
        else:
            w_input = weight_ih
        if notes(weight_hh) and not x.requires_grad:
            x = x.detach().requires_grad_()
        output, *final = self._cell(name, x, w_input, initial, bias)
        return output.flip(0) if direction else output, *final

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

    @classmethod
    def from_dense(
        cls,
        dense: nn.RNNBase,
        *,
        density: float | None = None,
        mask: Tensor | Mapping[str, Tensor] | None = None,
        input_density: float = 1.0,
    ) -> SparseRecurrent:
        """The sparse network with some of a dense network's weights, at their values.

        Args:
            dense: the network to copy; its signature is kept.
            density: keeps this share of each sparse weight, the largest by magnitude.
            mask: keeps these entries: a boolean matrix for ``weight_hh_l0`` of a network of one
                layer and direction, or a mapping from parameter names to matrices. Without
                density or mask, the entries that are not 0 are kept.
            input_density: share of layer 0's input weights to keep; 1.0 keeps them dense.

        Raises:
            TypeError: not the dense counterpart of this class.
            ValueError: both density and mask, or a mask that does not fit.
        """
        if type(dense) is not cls.dense_type:
            raise TypeError(
                f"expected a torch.nn.{cls.dense_type.__name__}, found {type(dense).__name__}"
            )
        if density is not None and mask is not None:
            raise ValueError("expected density or mask, found both")
        if isinstance(mask, Tensor):
            mask = {"weight_hh_l0": mask}
        masks = dict(mask or {})
        network = cls.__new__(cls)
        nn.Module.__init__(network)
        network._configure(vars(dense))
        for name, parameter in dense.named_parameters():
            values = parameter.detach()
            first = name.startswith("weight_ih_l0")
            if name.startswith("bias") or (first and input_density == 1 and name not in masks):
                setattr(network, name, nn.Parameter(values.clone()))
                continue
            share = input_density if first else density
            kept = masks.pop(name, None)
            if kept is None and share is not None:
                kept = _largest(values, share)
            setattr(network, name, SparseWeight.from_dense(values, kept))
        if masks:
            raise ValueError(f"expected masks for sparse weights, found {sorted(masks)}")
        return network.train(dense.training)

    def to_dense(self) -> nn.RNNBase:
        """The dense network in torch.nn of the same function."""
        weight = next(self.parameters())
        dense = self.dense_type(**self._settings(), device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            for name, parameter in dense.named_parameters():
                own = getattr(self, name)
                parameter.copy_(own.to_dense() if isinstance(own, SparseWeight) else own)
        return dense.train(self.training)

    def _settings(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.dense_settings}

    def extra_repr(self) -> str:
        """What ``print(network)`` shows."""
        return ", ".join(f"{name}={value}" for name, value in self._settings().items())


def _largest(dense: Tensor, density: float) -> Tensor:
    """A mask of the share ``density`` of the entries that is largest by magnitude."""
    count = _init.density_nnz(*dense.shape, density)
    mask = torch.zeros(dense.numel(), dtype=torch.bool, device=dense.device)
    mask[dense.abs().flatten().topk(count).indices] = True
    return mask.view_as(dense)


def notes(weight: SparseWeight) -> bool:
    """Whether the factors of this use of a weight are wanted."""
    return weight.factors is not None and torch.is_grad_enabled()


def note_recurrence(weight: SparseWeight, h: Tensor, h0: Tensor | None, du: Tensor) -> None:
    """Notes the factors of a recurrent weight: each step's gradient and the state before it."""
    weight.note(h[:-1], du[1:])
    if h0 is not None:
        weight.note(h0, du[0])
