"""Layers whose links have values of 8 or 16 bits, for inference on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparse_engine import ops
from sparse_engine.nn._weight_state import LoadsWhole
from sparse_engine.nn.cell import multiply
from sparse_engine.nn.cells.gru import SparseGRU
from sparse_engine.nn.cells.lstm import SparseLSTM
from sparse_engine.nn.cells.rnn import SparseRNN
from sparse_engine.nn.from_torch import parameters_of, put, without_weights
from sparse_engine.nn.linear import LinearOf, SparseLinear
from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.nn.sequence import Sequence
from sparse_engine.nn.weight import SparseWeight
from sparse_engine.ops._dispatch.native import native, needs_gradient
from sparse_engine.ops.quantized import QUANTIZED_CELLS, QuantizedLinks


class QuantizedWeight(LoadsWhole):
    """Sparse weight with int8 or bfloat16 values, see :class:`QuantizedLinks`.

    Attributes:
        codes: int8 or bfloat16 ``[slots, 16]``.
        places: uint8 ``[slots, 16]``.
        ends: int32 ``[slices * groups + 1]``.
        scales: float32 ``[out_features]``.
        shape: ``(out_features, in_features)``.
        gates: number of equal blocks of rows.

    The four tensors are buffers. Their dtypes stay where a model is moved to another dtype. Loading
    a state dict checks them completely and takes over any number of links.
    """

    codes: Tensor
    places: Tensor
    ends: Tensor
    scales: Tensor
    #: The dtype of inputs and outputs.
    dtype = torch.float32

    def __init__(self, links: QuantizedLinks, in_features: int, gates: int = 1) -> None:
        super().__init__()
        for name, each in links._asdict().items():
            self.register_buffer(name, each)
        self.shape, self.gates = (links.scales.numel(), in_features), gates

    @classmethod
    def from_sparse(cls, weight: SparseWeight, *, int8: bool = True) -> QuantizedWeight:
        """Make a weight of the links of another, with rounded values.

        Raises:
            ValueError: values not finite, not float32 or not on the CPU, or gates of several sizes.
        """
        if len({*weight.blocks}) > 1:
            raise ValueError(f"expected gates of one size, found blocks of {weight.blocks} rows")
        weight.refresh()
        gates = len(weight.blocks)
        links = ops.quantized.quantize(weight.values, weight.pattern, gates=gates, int8=int8)
        return cls(links, weight.shape[1], gates)

    @property
    def links(self) -> QuantizedLinks:
        """The links in the form that ``sparse_engine.ops`` takes."""
        return QuantizedLinks(self.codes, self.places, self.ends, self.scales)

    @property
    def nbytes(self) -> int:
        """Memory of the weight in bytes."""
        return sum(each.nbytes for each in self.links)

    def to_sparse(self) -> SparseWeight:
        """Return the float32 weight with the same values; links that are 0 are left out."""
        crow, col, values = ops.quantized.dequantize(self.links, self.shape[1], gates=self.gates)
        return SparseWeight.from_csr(crow, col, values, self.shape)

    def to_dense(self) -> Tensor:
        """Return the dense matrix; for tests and small weights only."""
        return self.to_sparse().to_dense().detach()

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return ``x @ W.T + bias``."""
        return ops.quantized.linear(x, self.links, bias, gates=self.gates)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> QuantizedWeight:
        for name, own in self.links._asdict().items():
            moved = fn(own)
            self._buffers[name] = moved if moved.dtype == own.dtype else own.to(moved.device)
        return self

    def _load(self, saved: Mapping[str, Tensor], assign: bool) -> None:
        links = QuantizedLinks(**{name: each.contiguous() for name, each in saved.items()})
        if links.scales.shape != self.scales.shape:
            found = f"expected scales of shape {[*self.scales.shape]}"
            raise ValueError(f"{found}, found {[*links.scales.shape]}")
        links.check(self.shape[1], self.gates)
        for name, each in links._asdict().items():
            self._buffers[name] = each if assign else each.clone().to(self.codes.device)

    def extra_repr(self) -> str:
        """Return what ``print(weight)`` shows."""
        kind = str(self.codes.dtype).replace("torch.", "")
        return "{} x {}, {}, {} bytes".format(*self.shape, kind, self.nbytes)


class QuantizedLinear(LinearOf):
    """:class:`SparseLinear` with a :class:`QuantizedWeight`; make one with :meth:`from_sparse`."""

    sparse_type = SparseLinear

    def __init__(self, weight: QuantizedWeight, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight = weight
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), False)

    @classmethod
    def from_sparse(cls, layer: SparseLinear, *, int8: bool = True) -> QuantizedLinear:
        """Make a layer with rounded values; errors as for :class:`QuantizedWeight`."""
        weight = QuantizedWeight.from_sparse(layer.weight, int8=int8)
        return cls(weight, layer.bias).train(layer.training)


def options_lacking(layer: nn.Module) -> list[str]:
    """Return the options in use that quantized networks lack."""
    return [name for name in ("layer_norm", "proj_size", "zoneout") if getattr(layer, name, False)]


class QuantizedRecurrent(Recurrent):
    """Sparse recurrent network whose weights are :class:`QuantizedWeight`, for inference.

    Make one with :meth:`from_sparse`. Arguments, shapes and results are those of the sparse
    network. Dense input weights stay float32.
    """

    sparse_type: type[Recurrent]

    @classmethod
    def from_sparse(cls, network: Recurrent, *, int8: bool = True) -> QuantizedRecurrent:
        """Make a network with rounded values; ValueError for an option that it would lack."""
        for name in options_lacking(network):
            raise ValueError(f"expected no {name} to quantize, found {getattr(network, name)}")
        return _rebuilt(network, cls, int8)

    def to_sparse(self) -> Recurrent:
        """Return the sparse network with the same values; links that are 0 are left out."""
        return _rebuilt(self, self.sparse_type)

    def to_dense(self) -> nn.RNNBase:
        """Return the network of torch.nn that computes the same."""
        return self.to_sparse().to_dense()

    @property
    def cell_name(self) -> str:
        """The name of the cell for :func:`sparse_engine.ops.quantized.sequence`."""
        return getattr(self.cell, "nonlinearity", self.cell.operation.__name__)

    def keeps_bfloat16(self, device: str) -> bool:
        """Whether activations stay in bfloat16 under autocast: never."""
        return False

    def run_layer(
        self, name: str, sequence: Sequence, state: tuple[Tensor | None, ...], **drawn: Tensor
    ) -> tuple[Tensor, ...]:
        """Multiply by the input weight, and run the cell."""
        layer = self.layer(name)
        b_input, bias = self.cell.biases(layer)
        h, c_n = ops.quantized.sequence(
            self.cell_name,
            multiply(layer["weight_ih"], sequence.x, b_input),
            state[0],
            state[1] if len(state) > 1 else None,
            bias,
            layer["weight_hh"].links,
            in_features=layer["weight_hh"].shape[1],
            batch_sizes=sequence.batch_sizes,
            cell_clip=getattr(self.cell, "cell_clip", None),
            resets=sequence.resets,
        )
        return (h, sequence.last(h), c_n) if len(state) > 1 else (h, sequence.last(h))


def step_of_quantized(network: Any, x: Tensor, states: list[Tensor]) -> list[Tensor] | None:
    """Run one time step of all layers by native operations alone, or return None."""
    if torch.is_grad_enabled() and needs_gradient((x, *states)):
        return None
    if x.dim() not in (1, 2) or x.shape[-1] != network.input_size or x.dtype != torch.float32:
        return None
    shapes = [network.num_layers, *x.shape[:-1], network.hidden_size]
    if any([*each.shape] != shapes for each in states):
        return None
    cell, clip = QUANTIZED_CELLS[network.cell_name][0], getattr(network.cell, "cell_clip", None)
    y, after = x.reshape(-1, x.shape[-1]), []
    for at in range(network.num_layers):
        layer = network.layer(f"l{at}")
        w_input, links = layer["weight_ih"], layer["weight_hh"].links
        b_input, bias = network.cell.biases(layer)
        if isinstance(w_input, QuantizedWeight):
            v = native.quantized_linear(y, [*w_input.links], w_input.gates, b_input)
        else:
            v = nn.functional.linear(y, w_input, b_input)
        h, c = ([each[at].reshape(len(y), -1) for each in states] + [None, None])[:2]
        sizes = network.hidden_size, None, cell, clip, None
        outputs, c_n = native.quantized_sequence(v.unsqueeze(0), h, c, bias, [*links], *sizes)
        y = outputs[0]
        after.append([y, c_n][: len(network.states)])
    ends = [torch.stack(each).reshape(shapes) for each in zip(*after, strict=True)]
    return [y.reshape(shapes[1:]), *ends]


class QuantizedRNN(QuantizedRecurrent, SparseRNN):
    """:class:`SparseRNN` with int8 or bfloat16 values."""

    sparse_type = SparseRNN
    step_kernel = step_of_quantized


class QuantizedLSTM(QuantizedRecurrent, SparseLSTM):
    """:class:`SparseLSTM` with int8 or bfloat16 values."""

    sparse_type = SparseLSTM
    step_kernel = step_of_quantized


class QuantizedGRU(QuantizedRecurrent, SparseGRU):
    """:class:`SparseGRU` with int8 or bfloat16 values."""

    sparse_type = SparseGRU
    step_kernel = step_of_quantized


#: The quantized layer for each sparse one.
QUANTIZED: dict[type[nn.Module], Any] = {
    each.sparse_type: each for each in (QuantizedLinear, QuantizedRNN, QuantizedLSTM, QuantizedGRU)
}


def _rebuilt(network: Recurrent, kind: type[Recurrent], int8: bool = True) -> Any:
    """Return a network of another class with the same options and with converted weights."""
    made = without_weights(kind, network.options)
    for name in parameters_of(network, network):
        value = getattr(network, name)
        if isinstance(value, QuantizedWeight):
            value = value.to_sparse()
        elif isinstance(value, SparseWeight):
            value = QuantizedWeight.from_sparse(value, int8=int8)
        else:
            trained = not issubclass(kind, QuantizedRecurrent)
            value = nn.Parameter(value.detach().clone(), requires_grad=trained)
        put(made, name, value)
    return made.train(network.training)
