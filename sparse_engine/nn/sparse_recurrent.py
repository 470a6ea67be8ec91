"""Recurrent networks of one input and one recurrent weight: parameters by layer and direction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparse_engine.nn import _init
from sparse_engine.nn._packed import last_rows
from sparse_engine.nn.capture import capture, captures, recurrence
from sparse_engine.nn.recurrent import Recurrent
from sparse_engine.nn.weight import SparseWeight


class Ran(NamedTuple):
    """What :meth:`SparseRecurrent.run_cell` returns.

    Attributes:
        outputs: of all steps, ``[steps, batch, hidden]``; ``[rows, hidden]`` of a packed sequence.
        final: the final states, one for each name in ``states``.
        saved: what the operation keeps for its backward pass, where the capture of factors needs
            some of it.
    """

    outputs: Tensor
    final: tuple[Tensor, ...]
    saved: Tensor | None = None


class SparseRecurrent(Recurrent):
    """A recurrent network with torch's names: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0.

    A cell implements :meth:`run_cell`. The weights between layers are sparse, too.
    The arguments up to ``bidirectional``, and ``checkpoint_every``, are those of
    :class:`Recurrent`.

    Args:
        device: where the parameters are put.
        dtype: float32 or float64.
        density: fraction of the recurrent weights that exist, in (0, 1]; also of the weights
            between layers.
        input_density: the same for layer 0's input weights; at 1.0 they are an ordinary dense
            parameter.
        gain: scale of the initial sparse values, see :meth:`SparseWeight.erdos_renyi`.
        generator: source of randomness on the CPU.
        **settings: those of a subclass.

    Raises:
        ValueError: an argument out of range.
        TypeError: a setting that the network does not have, or one of another type.

    Attributes:
        gates: blocks of hidden_size rows in each weight.
        most_fused_inputs: a dense input weight with at most this many columns is multiplied inside
            the time loop, which reads it at every step but never stores its product; a wider one
            in one large product up front.
    """

    gates: int = 1
    most_fused_inputs: int = 0

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
        generator: torch.Generator | None = None,
        checkpoint_every: int | None = None,
        **settings: object,
    ) -> None:
        shared = input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        super().__init__(*shared, checkpoint_every=checkpoint_every, **settings)
        _init.check_density(density)
        _init.check_density(input_density, "input_density")

        def sparse(out_features: int, in_features: int, share: float = density) -> SparseWeight:
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
            values = _init.blank(*shape, dtype=dtype, device=device)
            _init.uniform_(values, hidden_size, generator)
            return nn.Parameter(_init.moved(values, device))

        for name, inputs in self.layers():
            first = name.startswith("l0")
            share = input_density if first else density
            make_input = dense if first and share == 1 else partial(sparse, share=share)
            setattr(self, f"weight_ih_{name}", make_input(self.rows, inputs))
            for kind, weight in self._make_recurrent(sparse).items():
                setattr(self, f"weight_{kind}_{name}", weight)
            for kind, shape in self._bias_shapes.items() if bias else ():
                setattr(self, f"bias_{kind}_{name}", dense(*shape))

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        for weight in value if isinstance(value, nn.ModuleList) else [value]:
            if isinstance(weight, SparseWeight) and weight.shape[0] == self.rows:
                weight.blocks = self.blocks

    @property
    def blocks(self) -> tuple[int, ...]:
        """Rows of each gate in each weight, see :attr:`SparseWeight.blocks`."""
        return (self.hidden_size,) * self.gates

    @property
    def rows(self) -> int:
        """Rows of each weight."""
        return sum(self.blocks)

    @property
    def _bias_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the biases of a layer, by kind."""
        return {"ih": (self.rows,), "hh": (self.rows,)}

    def _make_recurrent(self, sparse: Callable[[int, int], SparseWeight]) -> dict[str, nn.Module]:
        """Make a layer's weights inside the time loop, by kind; ``sparse(out, in)`` makes one."""
        return {"hh": sparse(self.rows, self.size_of("h0"))}

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of inputs, states and outputs."""
        return self.weight_hh_l0.dtype

    def run_cell(
        self,
        layer: str,
        x: Tensor,
        w_input: Tensor | None,
        state: tuple[Tensor | None, ...],
        bias: Tensor | None,
        **given: Tensor,
    ) -> Ran:
        """Run one layer in one direction, like :meth:`run_layer`, which calls this.

        Args:
            layer: the suffix of its parameters.
            x: the input, or what it contributes to the units, where ``w_input`` is None.
            w_input: the layer's dense input weights, or None.
            state: the first states; each None for zeros.
            bias: what is added to the recurrent contribution, or None.
            **given: as for :meth:`run_layer`.
        """
        raise NotImplementedError

    def gradient_of_product(
        self, saved: Tensor | None, batch_sizes: Tensor | None
    ) -> Callable[[Tensor], Tensor] | None:
        """Return what makes the gradient of ``W_hh h`` of that of ``x``; None where they are equal.

        For the capture of factors; ``saved`` is that of :meth:`run_cell`.
        """
        return None

    def _recurrent_weights(self, name: str) -> list[SparseWeight]:
        """Return the weights that are multiplied inside the time loop of one layer."""
        return [getattr(self, f"weight_hh_{name}")]

    def _biases(self, name: str) -> tuple[Tensor | None, Tensor | None]:
        """Return what is added to the input's contribution, and to the recurrent one."""
        if not self.bias:
            return None, None
        return None, getattr(self, f"bias_ih_{name}") + getattr(self, f"bias_hh_{name}")

    def run_layer(
        self, layer: str, x: Tensor, state: tuple[Tensor | None, ...], **given: Tensor
    ) -> tuple[Tensor, ...]:
        """Multiply by the input weights where the time loop does not, and run the cell."""
        weights = self._recurrent_weights(layer)
        for weight in weights:
            weight.refresh()
        weight_ih = getattr(self, f"weight_ih_{layer}")
        capturing = [weight for weight in weights if weight.factors is not None]
        input_bias, bias = self._biases(layer)
        w_input = None
        if isinstance(weight_ih, SparseWeight):
            x = weight_ih(x, input_bias)
        elif (
            weight_ih.shape[1] > self.most_fused_inputs
            or capturing
            or ("batch_sizes" not in given and x.shape[1] == 1)
        ):
            x = dense_product(x, weight_ih, input_bias)
        else:
            w_input = weight_ih
        capturing = capturing and torch.is_grad_enabled()
        if capturing and not x.requires_grad:
            x = x.detach().requires_grad_()
        outputs, final, saved = self.run_cell(layer, x, w_input, state, bias, **given)
        if capturing:
            self._capture(layer, x, outputs, state[0], saved, given.get("batch_sizes"))
        return outputs, *final

    def _capture(
        self,
        layer: str,
        x: Tensor,
        h: Tensor,
        h0: Tensor | None,
        saved: Tensor | None,
        batch_sizes: Tensor | None,
    ) -> None:
        """Capture the factors of the layer's recurrent weights when the gradient of ``x`` comes."""
        weight = getattr(self, f"weight_hh_{layer}")
        if captures(weight):
            to_product = self.gradient_of_product(saved, batch_sizes)
            capture(x, partial(recurrence, weight, h.detach(), h0, batch_sizes, to_product))


def dense_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """:func:`torch.nn.functional.linear`, which takes a weight without data for uninitialised data.

    Raises:
        ValueError: ``x`` or the weight is on the meta device, and the other is not.
    """
    if x.is_meta != weight.is_meta:
        raise ValueError(
            f"expected input and weight on one device, found {x.device} and {weight.device}"
        )
    return nn.functional.linear(x, weight, bias)


def last_states(h: Tensor, batch_sizes: Tensor | None) -> Tensor:
    """Return the last state of each sequence, ``[batch, hidden]``."""
    return h[-1] if batch_sizes is None else h.index_select(0, last_rows(batch_sizes))
